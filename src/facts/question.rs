//! Questions to the LAN: who answers for an address? Asked by ARP or Neighbor Solicitation, of the kernel of a node or a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::LinkName;
use crate::addr::MacAddr;

/// One question.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Question {
    /// Where to ask.
    pub link: LinkName,
    /// For which address.
    pub address: IpAddr,
    /// Whom to ask, if known: a unicast question disturbs nobody else, and no proxy answers in its place.
    pub mac: Option<MacAddr>,
}

/// What came of a question so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// Requests in a row that were not answered in time, up to now.
    pub unanswered: u32,
    /// Who answered last; `None`: nobody yet.
    pub mac: Option<MacAddr>,
}

/// All questions that stand. One that stands is asked again and again.
pub type Questions = BTreeSet<Question>;

/// What came of those that stand.
pub type Answers = BTreeMap<Question, Answer>;
