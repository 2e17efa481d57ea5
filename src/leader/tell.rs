//! What a Service's status, annotations and Events say: the one place where assignment and plan become words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::assign::{Assignment, Contested};
use super::refusal::Lost;
use super::reserve::Reserved;
use super::suggest::Prospect;
use crate::addr::MacAddr;
use crate::config::Config;
use crate::facts::{AnnouncedCondition, Event, EventKind, LinkName, Moved, NodeName, Service, ServiceKey, Subject, annotation, reason};
use crate::plan::wishes::mistakes;
use crate::plan::{Announcers, NotAnnounced, OverBgp, Owner};

/// `reason` of the condition: somebody announces the addresses; the message says who, and what is not as asked for.
pub const ANNOUNCING: &str = "Announcing";
/// `reason` of the condition: the Service has no address, though nothing speaks against one: the leader is at it.
pub const NO_ADDRESS: &str = "NoAddress";
/// `reason` of the condition: Lanlord served the Service once, and leaves it alone now.
pub const NOT_SERVED: &str = "NotServed";

/// The moment of a decision. The wall clock is for text only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// RFC 3339, seconds.
    pub text: String,
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nothing has happened for so long that an address may move for evenness alone.
    pub quiet: bool,
    /// Services whose work is being written and not seen yet, with the node that it gives them to: they are left alone, and that node
    /// has one group more, or two Services created together would both be given to the same one.
    pub under_way: BTreeMap<ServiceKey, Option<NodeName>>,
    /// What is known of free addresses, for who has configured none.
    pub prospect: Prospect,
}

/// What one patch of `services/status` writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// `status.loadBalancer.ingress`, whole; `None` leaves it as it is.
    pub ingress: Option<Vec<IpAddr>>,
    /// Annotations to set or (with `None`) remove.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Our condition.
    pub condition: AnnouncedCondition,
}

/// Where the addresses of a Service are announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// On layer 2, or why not there.
    pub owner: Result<Owner, NotAnnounced>,
    /// Over BGP.
    pub bgp: OverBgp,
}

impl Announcement {
    fn on_layer_2(&self, address: IpAddr) -> bool {
        self.owner.as_ref().is_ok_and(|owner| owner.links.contains_key(&address))
    }

    fn over_bgp(&self, address: IpAddr) -> Option<&Announcers> {
        self.bgp.get(&address)?.as_ref().ok()
    }

    fn is_any(&self, addresses: &[IpAddr]) -> bool {
        self.owner.is_ok() || addresses.iter().any(|address| self.over_bgp(*address).is_some())
    }

    /// `192.168.1.240 by pi1 on eth0 (layer2) and to router (bgp)`; of nodes nothing is said of BGP: all that may do, and Services would
    /// be written with every node that comes or goes.
    fn text(&self, addresses: &[IpAddr]) -> String {
        let layer2: Vec<IpAddr> = addresses.iter().filter(|address| self.on_layer_2(**address)).copied().collect();
        let bgp: Vec<IpAddr> = addresses.iter().filter(|address| self.over_bgp(**address).is_some()).copied().collect();
        let by = self.owner.as_ref().ok().filter(|_| !layer2.is_empty() || bgp.is_empty()).map(|owner| by(addresses, owner));
        match by {
            Some(by) if bgp.is_empty() => format!("{} {by}", list(&layer2)),
            Some(by) if bgp == layer2 => format!("{} {by} and {}", list(&bgp), self.to(&bgp)),
            Some(by) => format!("{} {by}; {} {}", list(&layer2), list(&bgp), self.to(&bgp)),
            None => format!("{} {}", list(&bgp), self.to(&bgp)),
        }
    }

    /// `by pi1 on eth0 (layer2) and to router (bgp)`
    fn ways(&self, addresses: &[IpAddr]) -> String {
        let by = self.owner.as_ref().ok().map(|owner| by(addresses, owner));
        let to = addresses.iter().any(|address| self.over_bgp(*address).is_some()).then(|| self.to(addresses));
        by.into_iter().chain(to).collect::<Vec<_>>().join(" and ")
    }

    /// `to router1 and router2 (bgp)`
    fn to(&self, addresses: &[IpAddr]) -> String {
        format!("to {} (bgp)", self.peers(addresses))
    }

    fn peers(&self, addresses: &[IpAddr]) -> String {
        const SHOWN: usize = 4;
        let peers: BTreeSet<&str> =
            addresses.iter().filter_map(|address| self.over_bgp(*address)).flat_map(|it| &it.peers).map(String::as_str).collect();
        let shown: Vec<&str> = peers.iter().copied().take(SHOWN).collect();
        let more = peers.len() - shown.len();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{}{more}", shown.join(if more.is_empty() { " and " } else { ", " }))
    }

    /// What of `addresses` nobody announces, and why.
    fn silent(&self, addresses: &[IpAddr]) -> String {
        let silent: Vec<IpAddr> =
            addresses.iter().filter(|address| !self.on_layer_2(**address) && self.over_bgp(**address).is_none()).copied().collect();
        let over_bgp = silent.iter().find_map(|address| self.bgp.get(address)?.as_ref().err());
        match (&self.owner, over_bgp) {
            _ if silent.is_empty() => String::new(),
            (Ok(_), None | Some(NotAnnounced::NoAdvertisement { .. })) => format!("; {} is on none of its networks", list(&silent)),
            (Ok(_), Some(why)) | (Err(NotAnnounced::OverBgp { .. }), Some(why)) => format!("; {} not announced: {why}", list(&silent)),
            (Err(why), _) => format!("; {} not announced: {why}", list(&silent)),
        }
    }
}

/// The status `service` should have.
pub fn publish(config: &Config, service: &Service, assignment: &Assignment, announcement: &Announcement, now: &Now) -> Publish {
    let addresses = &assignment.addresses;
    let (announced, reason, message) = condition_text(assignment, announcement, &mistakes(config, service));
    let before = service.condition.as_ref().filter(|before| before.announced == announced);
    let since = before.map_or_else(|| now.text.clone(), |before| before.since.clone());
    let condition = AnnouncedCondition { announced, reason: reason.to_owned(), message, since };
    let pools: BTreeSet<String> =
        addresses.iter().filter_map(|address| config.pool_of(*address)).map(|pool| pool.name.to_string()).collect();
    let pools = (!pools.is_empty()).then(|| pools.into_iter().collect::<Vec<_>>().join(","));
    let where_ = (announcement.is_any(addresses) && !addresses.is_empty()).then(|| {
        let text = format!("{} since ", announcement.text(addresses));
        let kept = service.annotations.get(annotation::ANNOUNCED).filter(|before| before.starts_with(&text));
        kept.cloned().unwrap_or_else(|| text + &now.text)
    });
    let annotations = [(annotation::ANNOUNCED, where_), (annotation::POOL, pools)].map(|(key, value)| (key.to_owned(), value)).into();
    Publish { ingress: ingress(service, assignment), annotations, condition }
}

/// The last word on a Service that is to be left alone from now on: `released` says what it had.
pub fn farewell(service: &Service, released: String, now: &Now) -> Publish {
    let before = service.condition.as_ref().filter(|before| !before.announced);
    let since = before.map_or_else(|| now.text.clone(), |before| before.since.clone());
    let message =
        "Lanlord leaves this Service alone (for its class, the annotation lanlord.dev/ignore, or k3s ServiceLB, which is on)".to_owned();
    let condition = AnnouncedCondition { announced: false, reason: NOT_SERVED.to_owned(), message, since };
    let annotations = [(annotation::ANNOUNCED, None), (annotation::POOL, None), (annotation::RELEASED, Some(released))]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
    Publish { ingress: None, annotations, condition }
}

/// The ingress to write. What was put there by someone else is not wiped for a Service we have nothing for.
fn ingress(service: &Service, assignment: &Assignment) -> Option<Vec<IpAddr>> {
    let ours = !assignment.addresses.is_empty() || !assignment.lost.is_empty() || service.annotations.contains_key(annotation::POOL);
    let differs = service.ingress != assignment.addresses || service.foreign_ingress;
    (ours && differs).then(|| assignment.addresses.clone())
}

/// `by pi1 on eth0 (layer2)`
fn by(addresses: &[IpAddr], owner: &Owner) -> String {
    format!("by {} on {} (layer2)", owner.node, links(addresses, owner))
}

fn links(addresses: &[IpAddr], owner: &Owner) -> String {
    let links: BTreeSet<&str> = addresses.iter().filter_map(|address| owner.links.get(address)).flatten().map(LinkName::as_str).collect();
    links.into_iter().collect::<Vec<_>>().join(" and ")
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn condition_text(assignment: &Assignment, announcement: &Announcement, mistakes: &[String]) -> (bool, &'static str, String) {
    let addresses = &assignment.addresses;
    let contested = assignment.contested.iter().map(|contested| format!("; but {}", contested_text(contested)));
    let refused = assignment.refusal.iter().map(ToString::to_string).chain(mistakes.iter().cloned());
    let unmet: String = contested.chain(refused.map(|why| format!("; but {why}"))).collect();
    match (&announcement.owner, &assignment.refusal) {
        (_, Some(refusal)) if addresses.is_empty() => (false, reason::ALLOCATION_FAILED, refusal.to_string()),
        (_, None) if addresses.is_empty() => (false, NO_ADDRESS, "no address is assigned".to_owned()),
        (Err(why), _) if !announcement.is_any(addresses) => {
            (false, why.reason(), format!("{} not announced: {why}{unmet}", list(addresses)))
        }
        (Ok(_) | Err(_), _) => (true, ANNOUNCING, format!("{}{}{unmet}", announcement.text(addresses), announcement.silent(addresses))),
    }
}

/// An address that is kept although another machine uses it: which, who, why, and what to do.
pub fn contested_text(contested: &Contested) -> String {
    let Contested { address, mac, asked } = contested;
    let (why, otherwise) = if *asked {
        ("it is kept, for the Service asks for it", "ask for another one")
    } else {
        ("it is kept, for no other address is free", "add addresses to the configuration")
    };
    format!("{address} is used by another machine of the LAN, too ({mac}); {why}; give that machine another address, or {otherwise}")
}

/// An address that was given up for another machine's sake: which, who, and what to do.
fn taken_text(address: IpAddr, mac: MacAddr) -> String {
    format!(
        "{address} is released, for another machine of the LAN uses it ({mac}); give that machine another address, or take {address} out of the pool"
    )
}

/// `; moved from "pi1": it is cordoned` when the announcement named another node before.
fn moved_from(service: &Service, owner: &Owner, moved: Option<&Moved>) -> String {
    let before = service.annotations.get(annotation::ANNOUNCED).and_then(|text| text.split_once(" by ")?.1.split(' ').next());
    let Some(before) = before.filter(|before| *before != owner.node.as_str()) else { return String::new() };
    let why = moved.filter(|moved| moved.from.as_str() == before).map(|moved| format!(": {}", moved.why)).unwrap_or_default();
    format!("; moved from {before:?}{why}")
}

/// The Events for the step from what the Service says now to `publish`: none at rest, one for a plain assignment.
pub fn events(
    config: &Config,
    service: &Service,
    assignment: &Assignment,
    announcement: &Announcement,
    publish: &Publish,
    repaired: Option<String>,
    moved: Option<&Moved>,
) -> Vec<Event> {
    let event =
        |kind, reason, message| Event { subject: Subject::Service(service.key.clone(), service.uid.clone()), kind, reason, message };
    let condition = &publish.condition;
    let before = service.condition.as_ref();
    let changed = before.is_none_or(|before| {
        (before.announced, &before.reason, &before.message) != (condition.announced, &condition.reason, &condition.message)
    });
    // Where it is announced is no news when something else is.
    let still = before.is_some_and(|before| before.announced)
        && service.annotations.get(annotation::ANNOUNCED) == publish.annotations.get(annotation::ANNOUNCED).and_then(Option::as_ref);
    let known = |text: &String| before.is_some_and(|before| before.message.contains(text));
    let mut events = Vec::new();
    let repair = repaired.is_some();
    events.extend(repaired.map(|message| event(EventKind::Warning, reason::STATUS_OVERWRITTEN, message)));
    let mut taken = Vec::new();
    for (address, why) in &assignment.lost {
        if let Lost::Reserved(Reserved::Conflict(mac)) = why {
            taken.push(taken_text(*address, *mac));
        } else {
            events.push(event(EventKind::Normal, reason::CLEAR_ASSIGNMENT, format!("{address} is released: it {why}")));
        }
    }
    let contested: Vec<String> = assignment.contested.iter().map(contested_text).filter(|text| !known(text)).collect();
    let new: Vec<IpAddr> = assignment.addresses.iter().filter(|address| !service.ingress.contains(address)).copied().collect();
    let adopted = !service.annotations.contains_key(annotation::POOL) && new.is_empty() && !assignment.addresses.is_empty();
    if adopted || (!new.is_empty() && !repair) {
        let pools: BTreeSet<&str> =
            assignment.addresses.iter().filter_map(|address| config.pool_of(*address)).map(|pool| pool.name.as_str()).collect();
        let pools = pools.into_iter().collect::<Vec<_>>().join(" and ");
        let (verb, which) = if adopted { ("kept", &assignment.addresses) } else { ("assigned", &new) };
        let (kind, announced) = match &announcement.owner {
            Err(why) if !announcement.is_any(&assignment.addresses) && why.is_passing() => (EventKind::Normal, String::new()),
            Err(why) if !announcement.is_any(&assignment.addresses) => (EventKind::Warning, format!(", not announced yet: {why}")),
            Ok(_) | Err(_) => (EventKind::Normal, format!(", announced {}", announcement.ways(&assignment.addresses))),
        };
        let message = format!("{verb} {} from pool {pools}{announced}", list(which));
        if taken.is_empty() {
            events.push(event(kind, reason::IP_ALLOCATED, message));
        } else {
            events.push(event(EventKind::Warning, reason::ADDRESS_IN_USE, format!("{message}; {}", taken.join("; "))));
        }
    } else if !contested.is_empty() {
        events.push(event(EventKind::Warning, reason::ADDRESS_IN_USE, contested.join("; ")));
    } else if changed && condition.announced && !still {
        // MetalLB's words, which people search for, and more.
        let addresses = list(&assignment.addresses);
        let bgp = announcement.peers(&assignment.addresses);
        let message = match &announcement.owner {
            Ok(owner) => {
                let (links, node) = (links(&assignment.addresses, owner), owner.node.as_str());
                let (to, from) =
                    (if bgp.is_empty() { bgp } else { format!(", with protocol \"bgp\" to {bgp}") }, moved_from(service, owner, moved));
                format!("announcing from node {node:?} with protocol \"layer2\" on {links}{to}: {addresses}{from}")
            }
            Err(_) => format!("announcing with protocol \"bgp\" to {bgp}: {addresses}"),
        };
        events.push(event(EventKind::Normal, reason::NODE_ASSIGNED, message));
    } else if changed && !condition.announced && !assignment.addresses.is_empty() {
        events.push(event(EventKind::Warning, reason::NOT_ANNOUNCED, condition.message.clone()));
    }
    if let Some(refusal) = assignment.refusal.as_ref().map(ToString::to_string).filter(|text| !known(text)) {
        events.push(event(EventKind::Warning, reason::ALLOCATION_FAILED, refusal));
    }
    let new = mistakes(config, service).into_iter().filter(|text| !known(text));
    events.extend(new.map(|text| event(EventKind::Warning, reason::INVALID_ANNOTATION, text)));
    events
}
