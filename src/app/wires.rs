//! What runs between the tasks: every value that more than one of them reads, and the tokens that end them.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::transitions;
use crate::api;
use crate::bfd;
use crate::bgp;
use crate::config::Config;
use crate::facts::{Answers, Heirs, Links, Living, ObjectsSeen, Questions, Secrets, Snapshot};
use crate::l2;
use crate::leader;
use crate::leader::suggest::Prospect;
use crate::membership;
use crate::membership::own::State as MemberState;
use crate::plan;
use crate::plan::Planned;

/// What of the configuration is not in force as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Rejected {
    /// How much is wrong, in all sources together.
    pub(super) problems: u64,
    /// The first of it.
    pub(super) first: Option<String>,
}

/// Every value that more than one task reads.
#[derive(Default)]
pub(super) struct Wires {
    pub(super) links: watch::Sender<Arc<Links>>,
    pub(super) snapshot: watch::Sender<Option<Arc<Snapshot>>>,
    pub(super) api: watch::Sender<api::state::ApiState>,
    pub(super) config: watch::Sender<Option<Arc<Config>>>,
    pub(super) edits: watch::Sender<leader::edits::Edits>,
    pub(super) objects: watch::Sender<ObjectsSeen>,
    pub(super) rejected: watch::Sender<Rejected>,
    pub(super) living: watch::Sender<Arc<Living>>,
    pub(super) member: watch::Sender<MemberState>,
    pub(super) membership: watch::Sender<Arc<membership::task::Status>>,
    pub(super) sessions: watch::Sender<Arc<bfd::desired::Desired>>,
    pub(super) peers: watch::Sender<Option<Arc<plan::Peers>>>,
    pub(super) secrets: watch::Sender<Arc<Secrets>>,
    pub(super) sessions_of_peers: watch::Sender<Arc<bfd::desired::Desired>>,
    pub(super) bgp: watch::Sender<Arc<bgp::status::Status>>,
    pub(super) bfd: watch::Sender<Arc<bfd::status::Status>>,
    pub(super) questions: watch::Sender<Arc<Questions>>,
    pub(super) inquiry: watch::Sender<Arc<Questions>>,
    pub(super) prospect: watch::Sender<Prospect>,
    pub(super) answers: watch::Sender<Arc<Answers>>,
    pub(super) planned: watch::Sender<Option<Arc<Planned>>>,
    pub(super) l2: watch::Sender<Arc<l2::desired::Desired>>,
    pub(super) l2_status: watch::Sender<Arc<l2::status::Status>>,
    pub(super) heirs: watch::Sender<Arc<Heirs>>,
    pub(super) leading: watch::Sender<bool>,
    pub(super) moves: watch::Sender<leader::tally::Moves>,
    pub(super) repairs: watch::Sender<u64>,
    pub(super) dataplane_unhealthy: watch::Sender<bool>,
    pub(super) timeline: watch::Sender<transitions::Timeline>,
}

/// The tokens of an orderly shutdown, in the order in which they are cancelled.
#[derive(Default)]
pub(super) struct Phases {
    pub(super) planning: CancellationToken,
    pub(super) routes: CancellationToken,
    pub(super) leading: CancellationToken,
    pub(super) membership: CancellationToken,
    pub(super) rest: CancellationToken,
}
