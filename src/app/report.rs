//! The status of an agent: what `/status` answers and `lanlord status` prints. Times are RFC 3339, with milliseconds.
//!
//! Fields may be added, none is renamed: people's scripts read them. A field that is missing has its default, so that a newer
//! `lanlord status` understands an older agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::BgpMessages;

/// The status of one agent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Its node.
    pub node: String,
    /// Unique to the process.
    pub instance: String,
    /// Of the program.
    pub version: String,
    /// `Joining`, `Member`, `Left`, or `Superseded` by a newer instance on the node.
    pub membership: String,
    /// `<node>/<instance>` of the leader.
    pub leader: Option<String>,
    /// This agent leads.
    pub leading: bool,
    /// The API server answers; `None`: not asked yet.
    pub api_reachable: Option<bool>,
    /// Since when it answers.
    pub api_reachable_since: Option<String>,
    /// Since when it does not, so that this agent works with what it knows.
    pub detached_since: Option<String>,
    /// What went wrong then.
    pub detached_error: Option<String>,
    /// What is shown was remembered by an earlier instance; the API server was not reached since.
    pub remembered: bool,
    /// Watches that fail, by resource, and why.
    pub api_problems: BTreeMap<String, String>,
    /// Hash of the configuration in force.
    pub configuration: Option<String>,
    /// Problems of a newer configuration, which was rejected.
    pub configuration_problems: u64,
    /// The first of them.
    pub configuration_problem: Option<String>,
    /// Every member Lease.
    pub members: Vec<MemberReport>,
    /// Suspicions, refutations, evictions by this agent since its start.
    pub counts: CountsReport,
    /// BFD sessions: with members, and with BGP peers.
    pub sessions: Vec<SessionReport>,
    /// The BGP peers of this node.
    pub bgp: Vec<PeerReport>,
    /// Addresses and Services that move together, and their owner.
    pub groups: Vec<GroupReport>,
    /// What this node announces.
    pub links: Vec<LinkReport>,
    /// Addresses of pools that other machines of the LAN use: set aside.
    pub conflicts: Vec<ConflictReport>,
    /// What the configuration and this host's links say that something is amiss, which nothing above shows.
    pub findings: Vec<Problem>,
    /// What a person may have to look at, the findings among it.
    pub problems: Vec<Problem>,
    /// When all this was so.
    pub at: String,
    /// The pools of the configuration, in its order.
    pub pools: Vec<PoolReport>,
    /// Every Service of type LoadBalancer.
    pub services: Vec<ServiceReport>,
    /// What happened last, oldest first.
    pub transitions: Vec<TransitionReport>,
}

impl Report {
    /// The same without what changes by itself all the time: the moment, packets counted, timers that run down.
    pub fn without_figures(&self) -> Self {
        let mut report = Self { at: String::new(), ..self.clone() };
        for session in &mut report.sessions {
            (session.sent, session.received, session.discarded) = (0, 0, 0);
        }
        for peer in &mut report.bgp {
            (peer.hold_in_ms, peer.keepalive_in_ms, peer.retry_in_ms) = (None, None, None);
            (peer.sent, peer.received) = (BgpMessages::default(), BgpMessages::default());
        }
        for address in report.links.iter_mut().flat_map(|link| &mut link.addresses) {
            (address.answered, address.announced) = (0, 0);
        }
        report
    }
}

/// A pool.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolReport {
    /// Its name.
    pub name: String,
    /// Its addresses, as ranges.
    pub ranges: Vec<String>,
    /// Services get addresses of it without asking.
    pub auto_assign: bool,
    /// IPv4; `None`: it has none.
    pub v4: Option<UsageReport>,
    /// IPv6; `None`: it has none.
    pub v6: Option<UsageReport>,
}

/// How much of a pool is in use, in one family. More than 2⁶³ − 1 is told as that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageReport {
    /// Addresses that could be assigned if nobody had any.
    pub total: u64,
    /// Those that Services have.
    pub used: u64,
    /// Those that a Service could still get: not those of nodes and gateways, nor what another machine of the LAN uses.
    pub free: u64,
}

/// A Service.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceReport {
    /// `namespace/name`.
    pub service: String,
    /// `announced`; `pending`: it has no address, or nobody announces it, see `why`; `new`: the leader has not come to it yet;
    /// `foreign`: left alone; `deleting`.
    pub state: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// The pools they are from.
    pub pools: Vec<String>,
    /// `TCP 80`.
    pub ports: Vec<String>,
    /// `externalTrafficPolicy` is Local: only nodes with a Pod of it forward.
    pub local: bool,
    /// Who announces it on layer 2.
    pub owner: Option<String>,
    /// Who announces it over BGP.
    pub over_bgp: Vec<String>,
    /// Since when it is announced, by whatever node.
    pub since: Option<String>,
    /// Who announced it before, and why it moved.
    pub moved: Option<String>,
    /// What of it is not as it should be and why; then `; ` and what to do.
    pub why: Option<String>,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransitionReport {
    /// Counted from 1 since the start of the agent: a gap says that more happened than is kept.
    pub number: u64,
    /// When this agent saw it.
    pub at: String,
    /// `started`, `configuration`, `rejected`, `leader`, `joined`, `restarted`, `suspected`, `refuted`, `lost`, `left`, `node`, `assigned`,
    /// `released`, `announcing`, `owner`, `withdrawn`, `pending`, `peer-up`, `peer-down`.
    pub kind: String,
    /// What happened, as a sentence.
    pub text: String,
    /// The address.
    pub address: Option<String>,
    /// Its Services.
    pub services: Vec<String>,
    /// The node it is about.
    pub node: Option<String>,
    /// The node that had it before.
    pub from: Option<String>,
    /// The node that has it now.
    pub to: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberReport {
    /// Its node.
    pub node: String,
    /// `self`, `unheard`, `up`, `asking`, `holding`, `suspected`, `refuted`, `remote`; `left`: it holds no Lease.
    pub state: String,
    /// The same in words.
    pub taken_for: String,
    /// Since when, as far as this agent knows.
    pub since: Option<String>,
    /// It may own addresses.
    pub living: bool,
    /// What speaks against it.
    pub evidence: Option<String>,
    /// Of the Lease.
    pub instance: Option<String>,
    /// Of the Lease.
    pub generation: u32,
    /// Links it may announce on.
    pub links: Vec<String>,
    /// Their addresses, with prefix lengths.
    pub addresses: Vec<String>,
    /// One of them is wireless.
    pub wireless: bool,
    /// Next hops of its default routes.
    pub gateways: Vec<String>,
    /// Hash of the configuration it runs.
    pub configuration: Option<String>,
    /// Its Node is cordoned.
    pub cordoned: bool,
    /// A session with it is up.
    pub heard: bool,
    /// It says that it does not reach the API server.
    pub detached: bool,
    /// Its kernel answers and its liveness packets do not come through.
    pub blocked: bool,
    /// Its kube-proxy fails its health check.
    pub dataplane_unhealthy: bool,
    /// Its Node is Ready; `None`: there is no such Node.
    pub node_ready: Option<bool>,
    /// Who takes it for dead, as its Lease says.
    pub suspected_by: Option<String>,
}

/// Events of membership since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CountsReport {
    /// Members suspected.
    pub suspicions: u64,
    /// Suspicions that the member removed itself.
    pub refutations: u64,
    /// Leases cleared.
    pub evictions: u64,
}

/// A liveness session.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionReport {
    /// The member, if it is one.
    pub node: Option<String>,
    /// Its address.
    pub peer: String,
    /// Our link.
    pub link: String,
    /// UDP destination port.
    pub port: u16,
    /// `AdminDown`, `Down`, `Init`, `Up`.
    pub state: String,
    /// Since when.
    pub since: Option<String>,
    /// The detection time in force, in milliseconds.
    pub detection_time_ms: u64,
    /// It went Down because nothing was heard, and has not been Up since.
    pub expired: bool,
    /// Control packets.
    pub sent: u64,
    /// Control packets.
    pub received: u64,
    /// Control packets that a rule of reception discards.
    pub discarded: u64,
    /// Times it came Up.
    pub ups: u64,
    /// Times it went from Up to another state.
    pub downs: u64,
    /// Why no packet can be sent or taken.
    pub error: Option<String>,
}

/// A BGP peer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerReport {
    /// As in the configuration.
    pub name: String,
    /// Its address and port; `None`: there is to be no session.
    pub remote: Option<String>,
    /// `Idle`, `Connect`, `Active`, `OpenSent`, `OpenConfirm`, `Established`.
    pub state: String,
    /// Since when.
    pub since: Option<String>,
    /// Our address on the last connection.
    pub local: Option<String>,
    /// Its link.
    pub link: Option<String>,
    /// Next hops of the routes, of both families as far as there are any.
    pub next_hops: Vec<String>,
    /// The peer's AS.
    pub remote_as: Option<u32>,
    /// The peer's BGP Identifier.
    pub identifier: Option<String>,
    /// `IPv4`, `IPv6`: families that were agreed on.
    pub families: Vec<String>,
    /// Hold time in force, seconds.
    pub hold_time: Option<u64>,
    /// Time between KEEPALIVEs, seconds.
    pub keepalive_time: Option<u64>,
    /// The peer keeps the routes while the agent restarts (RFC 4724).
    pub graceful_restart: bool,
    /// Until the peer counts as lost, milliseconds.
    pub hold_in_ms: Option<u64>,
    /// Until our next KEEPALIVE, milliseconds.
    pub keepalive_in_ms: Option<u64>,
    /// Until the next attempt, milliseconds.
    pub retry_in_ms: Option<u64>,
    /// Routes that the peer was told.
    pub announced: usize,
    /// Routes that it is still to be told of.
    pub pending: usize,
    /// Messages.
    pub sent: BgpMessages,
    /// Messages.
    pub received: BgpMessages,
    /// Errors in UPDATEs that the session survived (RFC 7606).
    pub faults: u64,
    /// Times the session came up.
    pub established: u64,
    /// Times it was lost or ended.
    pub lost: u64,
    /// What went wrong last, however long ago.
    pub last_failure: Option<String>,
    /// State of its BFD session (`AdminDown`, `Down`, `Init`, `Up`), if there is to be one and there was a connection.
    pub bfd: Option<String>,
    /// What is amiss now.
    pub troubles: Vec<Problem>,
}

/// A group of addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupReport {
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its Services.
    pub services: Vec<String>,
    /// Who announces it on layer 2.
    pub owner: Option<String>,
    /// Who announces some of it over BGP.
    pub over_bgp: Vec<String>,
    /// Why nobody does.
    pub not_announced: Option<String>,
}

/// ARP or NDP of one link.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinkReport {
    /// Its name.
    pub link: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// The MAC in every answer.
    pub mac: String,
    /// Why nothing can be sent or received.
    pub error: Option<String>,
    /// What is announced there.
    pub addresses: Vec<AddressReport>,
}

/// An announced address.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AddressReport {
    /// The address.
    pub address: String,
    /// For whom; several are separated by commas.
    pub service: String,
    /// Announced since.
    pub since: String,
    /// Answers sent.
    pub answered: u64,
    /// Announcements sent.
    pub announced: u64,
    /// MAC of another machine that claimed it last.
    pub conflict: Option<String>,
}

/// An address that another machine uses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConflictReport {
    /// The address.
    pub address: String,
    /// That machine's MAC.
    pub mac: String,
    /// The members that saw it.
    pub seen_by: Vec<String>,
    /// The Services that keep it all the same: they asked for it, or there is no other.
    pub services: Vec<String>,
}

/// Something to look at.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Problem {
    /// What is so, and what it means.
    pub what: String,
    /// What to do about it.
    pub action: String,
}

/// A time of a report in whole seconds, for people.
pub fn whole_seconds(at: &str) -> String {
    at.split_once('.').map_or_else(|| at.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}
