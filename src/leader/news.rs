//! What the leader tells besides its work on Services, each thing once: edits of the configuration, members that are not heard, the label
//! that keeps nodes from announcing on all of them, Services that are left to ServiceLB.

use std::collections::BTreeSet;

use super::blocked;
use super::edits::{Edit, Edits};
use super::excluded;
use super::left;
use super::reserve::{left_out, reserved};
use super::told::Told;
use crate::config::Config;
use crate::facts::{Event, EventKind, NodeName, ServiceKey, Snapshot, Subject, Uid, reason};
use crate::machine::Instant;

/// What was told already.
#[derive(Debug, Default)]
pub struct News {
    /// How many edits were told, or passed over.
    edits: u64,
    blocked: Told<NodeName>,
    excluded: bool,
    left: BTreeSet<(ServiceKey, Uid)>,
}

impl News {
    /// Confirms or refuses edits of the configuration on what was edited. `config` is `None` if none was ever accepted.
    pub fn of_edits(&mut self, edits: &Edits, config: Option<&Config>, snapshot: &Snapshot, now: Instant) -> Vec<Event> {
        let news = edits.since(self.edits, now).map(|edit| of_edit(edit, config, snapshot)).collect();
        self.edits = edits.count();
        news
    }

    /// What is new in the cluster. `me` does not hear the nodes `blocked`; `text` is the ConfigMap, if there is one.
    pub fn of_cluster(
        &mut self,
        me: &NodeName,
        blocked: &BTreeSet<NodeName>,
        text: Option<&Subject>,
        config: &Config,
        snapshot: &Snapshot,
        now: Instant,
    ) -> Vec<Event> {
        let mut news = blocked::events(snapshot, me, &self.blocked.due(blocked, now), config.settings.liveness.port, text);
        let excluded = excluded::event(snapshot, text);
        if !std::mem::replace(&mut self.excluded, excluded.is_some()) {
            news.extend(excluded);
        }
        let left = left::left(config, snapshot);
        news.extend(left.difference(&self.left).map(|(service, uid)| left::event(snapshot, service.clone(), uid.clone())));
        self.left = left;
        news
    }

    /// When something that lasts is to be told again.
    pub fn next(&self, blocked: &BTreeSet<NodeName>) -> Option<Instant> {
        self.blocked.next(blocked)
    }
}

fn of_edit(edit: &Edit, config: Option<&Config>, snapshot: &Snapshot) -> Event {
    let mut message = edit.message.clone();
    if let (EventKind::Normal, Some(config)) = (edit.kind, config) {
        let left: Vec<String> =
            left_out(config, &reserved(snapshot)).iter().take(8).map(|(address, why)| format!("{address} {why}")).collect();
        if !left.is_empty() {
            message = format!("{message} (left out: {})", left.join(", "));
        }
    }
    let reason = if edit.kind == EventKind::Normal { reason::CONFIG_LOADED } else { reason::CONFIG_REJECTED };
    Event { subject: edit.subject.clone(), kind: edit.kind, reason, message }
}
