//! What a person should know and no Service can tell: told once as an Event by the leader, and in its log.
//!
//! What of the configuration has nothing to work on is judged by the members there are. Agents join one after the other, so it is told
//! only when nothing of that has changed for a minute, and a few seconds after an edit: of objects that belong together one is applied
//! before the other.

pub mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::others;
use super::told::Told;
use crate::config::Config;
use crate::facts::{Event, EventKind, Links, Living, MemberLink, NodeName, ObjectKey, Objects, Snapshot, Subject, reason};
use crate::machine::{Instant, earliest};
use crate::plan::kernel::{self, answered_by_kernel};
use crate::plan::survey::{Unmatched, survey};
use crate::plan::{Serving, is_served, servicelb};

/// How long members, their links and Nodes have to stay as they are.
pub const REST: Duration = Duration::from_secs(60);
/// How long the configuration has to stay as it is.
pub const EDITED: Duration = Duration::from_secs(5);

/// Something to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// What it is about: the same is told once, even if the words become others.
    pub about: String,
    /// The object to tell it on; `None`: the configuration is a file, so it is in the log alone.
    pub subject: Option<Subject>,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is so, and why.
    pub what: String,
    /// What to do.
    pub action: String,
}

impl Warning {
    /// In one sentence.
    pub fn message(&self) -> String {
        format!("{}; {}", self.what, self.action)
    }

    /// As an Event.
    pub fn event(&self) -> Option<Event> {
        let (subject, kind) = (self.subject.clone()?, EventKind::Warning);
        Some(Event { subject, kind, reason: self.reason, message: self.message() })
    }
}

/// The objects that a configuration is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources<'a> {
    /// The ConfigMap.
    pub text: Option<&'a Subject>,
    /// The custom resources.
    pub objects: Option<&'a Objects>,
}

impl Sources<'_> {
    /// The custom resource that is `kind` `name`.
    fn object(&self, kind: &str, name: &str) -> Option<Subject> {
        let is_it = |key: &ObjectKey| key.kind == kind && key.name == name;
        let object = self.objects.iter().flat_map(|objects| objects.iter()).find(|(key, _)| is_it(key));
        object.map(|(key, object)| Subject::Object(key.clone(), object.uid.clone()))
    }
}

/// What of the configuration has nothing to work on. That no advertisement reaches a pool may be meant so (`announce: false`), but not
/// where the pool is a custom resource.
pub fn idle(config: &Config, snapshot: &Snapshot, living: &Living, sources: &Sources<'_>) -> Vec<Warning> {
    let is_meant = |unmatched: &Unmatched| match unmatched {
        Unmatched::NoAdvertisement { pool } => sources.object("IPAddressPool", pool.as_str()).is_none(),
        Unmatched::NoNode { .. }
        | Unmatched::NoInterface { .. }
        | Unmatched::NoPeer { .. }
        | Unmatched::NoSession { .. }
        | Unmatched::FamilyNotSpoken { .. }
        | Unmatched::NoNetwork { .. } => false,
    };
    let warning = |unmatched: Unmatched| {
        let (kind, name, about) = match &unmatched {
            Unmatched::NoNode { kind, name, .. } => (*kind, name.as_str(), "nodes"),
            Unmatched::NoInterface { advertisement, interface, .. } => ("L2Advertisement", advertisement.as_str(), interface.as_str()),
            Unmatched::NoAdvertisement { pool } => ("IPAddressPool", pool.as_str(), "advertisement"),
            Unmatched::NoPeer { pool } => ("IPAddressPool", pool.as_str(), "peer"),
            Unmatched::NoSession { pool } => ("IPAddressPool", pool.as_str(), "session"),
            Unmatched::FamilyNotSpoken { pool, .. } => ("IPAddressPool", pool.as_str(), "family"),
            Unmatched::NoNetwork { pool, .. } => ("IPAddressPool", pool.as_str(), "network"),
        };
        let reason = match kind {
            "IPAddressPool" => reason::POOL_NOT_ANNOUNCED,
            "BGPPeer" => reason::PEER_MATCHES_NOTHING,
            _ => reason::ADVERTISEMENT_MATCHES_NOTHING,
        };
        let subject = sources.object(kind, name).or_else(|| sources.text.cloned());
        Warning { about: format!("{kind} {name} {about}"), subject, reason, what: unmatched.what(), action: unmatched.action() }
    };
    survey(config, snapshot, living).into_iter().filter(|unmatched| !is_meant(unmatched)).map(warning).collect()
}

/// What else is at work on our Services, or answers for their addresses. Of the links only those of the leader's own host, `me`, are known.
pub fn rivals(config: &Config, snapshot: &Snapshot, me: &NodeName, links: &Links) -> Vec<Warning> {
    let on_node = |name: &NodeName| snapshot.nodes.get(name).map(|node| Subject::Node(name.clone(), node.uid.clone()));
    let ours = snapshot.services.values().find(|service| is_served(config, snapshot, service) == Serving::Ours);
    let servers = servicelb(snapshot);
    let beside = servers.first().zip(ours).map(|(server, service)| {
        let (what, action) = others::two_balancers(servers.clone(), &service.key);
        Warning { about: "ServiceLB".to_owned(), subject: on_node(server), reason: reason::SERVICELB_ACTIVE, what, action }
    });
    let marked = others::marked(config, snapshot).into_iter().filter_map(|(other, services)| {
        let service = snapshot.services.get(services.first()?)?;
        let subject = Some(Subject::Service(service.key.clone(), service.uid.clone()));
        let action = other.action(&service.key);
        Some(Warning {
            about: other.to_string(),
            subject,
            reason: reason::OTHER_LOAD_BALANCER,
            what: others::at_work(&other, &services),
            action,
        })
    });
    let kernel = answered_by_kernel(snapshot, links).into_iter().map(|(link, addresses)| {
        let (what, action) = kernel::told(me, &link, &addresses);
        Warning { about: format!("link {link}"), subject: on_node(me), reason: reason::KERNEL_ANSWERS_ARP, what, action }
    });
    beside.into_iter().chain(marked).chain(kernel).collect()
}

/// What the survey rests on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Ground {
    nodes: BTreeSet<NodeName>,
    members: BTreeMap<NodeName, Vec<MemberLink>>,
}

/// What was told, and what has to come to rest first.
#[derive(Debug, Default)]
pub struct Diary {
    ground: Option<Ground>,
    hash: String,
    until: Instant,
    told: Told<String>,
    so: BTreeSet<String>,
}

impl Diary {
    /// Whether what the survey rests on has stayed as it is for long enough.
    pub fn at_rest(&mut self, config: &Config, snapshot: &Snapshot, living: &Living, now: Instant) -> bool {
        let members = living.members.iter().map(|(node, member)| (node.clone(), member.links.clone())).collect();
        let ground = Ground { nodes: snapshot.nodes.keys().cloned().collect(), members };
        if self.ground.as_ref() != Some(&ground) {
            (self.ground, self.until) = (Some(ground), self.until.max(now + REST));
        }
        if self.hash != config.hash {
            (self.hash, self.until) = (config.hash.clone(), self.until.max(now + EDITED));
        }
        self.until <= now
    }

    /// Those of `warnings`, all there are at rest, that are to be told now.
    pub fn due(&mut self, warnings: Vec<Warning>, now: Instant) -> Vec<Warning> {
        self.so = warnings.iter().map(|warning| warning.about.clone()).collect();
        self.told.forget_all_but(&self.so);
        let due: BTreeSet<String> = self.told.due(&self.so, now).into_iter().collect();
        warnings.into_iter().filter(|warning| due.contains(&warning.about)).collect()
    }

    /// When to look again even if nothing happens.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        earliest([Some(self.until).filter(|until| *until > now), self.told.next(&self.so)])
    }
}
