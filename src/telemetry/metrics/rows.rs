//! Writes one metric: its description and a row for each set of labels.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// One metric being written.
pub(super) struct Rows<'a, 'b> {
    pub(super) encoder: &'a mut DescriptorEncoder<'b>,
}

impl Rows<'_, '_> {
    pub(super) fn gauges<L: EncodeLabelSet>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (L, f64)>) -> fmt::Result {
        self.plain(name, help, MetricType::Gauge, rows)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn bool(&mut self, name: &str, help: &str, value: bool) -> fmt::Result {
        self.gauge(name, help, f64::from(u8::from(value)))
    }

    /// MetalLB's counters whose name does not end in `_total`: a counter of OpenMetrics would be renamed, and dashboards look for
    /// the name, so their type is told as unknown.
    pub(super) fn untyped<L: EncodeLabelSet>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (L, f64)>) -> fmt::Result {
        self.plain(name, help, MetricType::Unknown, rows)
    }

    fn plain<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        type_: MetricType,
        rows: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.encoder.encode_descriptor(name, help, None, type_)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    pub(super) fn counters<L: EncodeLabelSet>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (L, f64)>) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
        }
        Ok(())
    }
}
