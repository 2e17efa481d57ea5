//! What the person wrote, with places: every door fills the same [`Raw`], and only `resolve` looks at the whole.

use crate::addr::Range;
use crate::facts::{Labels, Selector};

use super::Preferred;
use super::bgp::advertisement::RawRoutes;
use super::bgp::bfd::RawProfile;
use super::bgp::community::RawAlias;
use super::bgp::peer::RawPeer;
use super::problem::{Note, Place, Problem, Problems, nearest};
use super::settings::RawSettings;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// Everything read so far, from all sources.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) pools: Vec<RawPool>,
    pub(crate) advertisements: Vec<RawAdvertisement>,
    pub(crate) peers: Vec<RawPeer>,
    pub(crate) bfd_profiles: Vec<RawProfile>,
    pub(crate) aliases: Vec<RawAlias>,
    /// Our AS, for peers that do not say it.
    pub(crate) asn: Option<At<u32>>,
    pub(crate) settings: RawSettings,
    /// There is an advertisement that could not be read, and the rest goes on without it.
    pub(crate) advertisement_left_out: bool,
}

/// When a pool that no advertisement reaches is announced nevertheless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Implied {
    /// One line and native YAML.
    Always,
    /// MetalLB's documents: while no advertisement is written at all.
    Alone,
    /// Native YAML with `announce: false`.
    Never,
}

/// A pool as written.
#[derive(Debug)]
pub(crate) struct RawPool {
    pub(crate) name: At<String>,
    pub(crate) labels: Labels,
    pub(crate) ranges: Vec<At<RawRange>>,
    /// An address that could not be read was told; the pool is not empty then.
    pub(crate) unreadable: bool,
    pub(crate) auto_assign: bool,
    pub(crate) avoid_buggy_ips: bool,
    pub(crate) share_across_namespaces: bool,
    pub(crate) allocation: Option<super::ServiceAllocation>,
    pub(crate) implied: Implied,
}

/// A range, and how it was written.
#[derive(Clone, Debug)]
pub(crate) struct RawRange {
    pub(crate) range: Range,
    pub(crate) text: String,
}

/// The protocol of an advertisement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Protocol {
    L2,
    Bgp,
}

impl Protocol {
    /// What the advertisement is called.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::L2 => "L2Advertisement",
            Self::Bgp => "BGPAdvertisement",
        }
    }
}

/// An advertisement as written.
#[derive(Debug)]
pub(crate) struct RawAdvertisement {
    pub(crate) protocol: Protocol,
    pub(crate) place: Place,
    pub(crate) name: Option<At<String>>,
    pub(crate) pools: Vec<At<String>>,
    pub(crate) pool_selectors: Vec<At<Selector>>,
    pub(crate) node_selectors: Vec<Selector>,
    pub(crate) interfaces: Vec<String>,
    pub(crate) service_selectors: Vec<Selector>,
    pub(crate) preferred: Vec<Preferred>,
    /// What goes with its routes, on BGP.
    pub(crate) routes: RawRoutes,
}

impl RawAdvertisement {
    /// Of `pools`, without anything else.
    pub(crate) fn of(protocol: Protocol, pools: Vec<At<String>>, place: Place) -> Self {
        Self {
            protocol,
            place,
            name: None,
            pools,
            pool_selectors: Vec::new(),
            node_selectors: Vec::new(),
            interfaces: Vec::new(),
            service_selectors: Vec::new(),
            preferred: Vec::new(),
            routes: RawRoutes::default(),
        }
    }
}

/// More is not kept, as of problems.
const MOST_NOTES: usize = 100;

/// What reading has brought together: handed from reader to reader.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) raw: Raw,
    pub(crate) problems: Problems,
    pub(crate) notes: Vec<Note>,
    /// The text of a ConfigMap's key is being read: there is no ConfigMap inside one.
    pub(crate) inside_configmap: bool,
}

impl Reading {
    /// Something is wrong at `place`.
    pub(crate) fn problem(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { place: place.clone(), message: message.into(), help: help.into() });
    }

    /// Of names that people gave, the one that was probably meant. Nobody reads the hundredth guess, and each one costs time.
    pub(crate) fn guess<'n>(&self, written: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        let told = self.notes.len() < MOST_NOTES && self.problems.len() < MOST_NOTES;
        if told { nearest(written, known) } else { None }
    }

    /// Something is worth saying about `place`.
    pub(crate) fn note(&mut self, place: &Place, message: impl Into<String>) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(Note { place: place.clone(), message: message.into() });
        }
    }
}
