//! Leases: the record of everything that must be agreed on, readable by a person with `kubectl get leases -n lanlord`.
//!
//! `leader`, `node.<node>` and `ip.<address>`. Writes are compare-and-swap on `resourceVersion`; an empty one creates.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, PostParams, Preconditions};
use serde::{Deserialize, Serialize};

use super::{Api, REQUEST_TIMEOUT, WriteError, bounded};
use crate::addr::MacAddr;
use crate::facts::{Claim, Holder, LeaderRecord, Medium, Member, MemberLink, Moved, NodeName, Placement, ServiceKey, Uid};

/// The name of the leader's Lease.
pub const LEADER: &str = "leader";
const MEMBER_PREFIX: &str = "node.";
const CLAIM_PREFIX: &str = "ip.";

const LINKS: &str = "lanlord.dev/links";
const GATEWAYS: &str = "lanlord.dev/gateways";
const CONFIG: &str = "lanlord.dev/config";
const CONFLICTS: &str = "lanlord.dev/conflicts";
const DATAPLANE: &str = "lanlord.dev/dataplane";
const UNHEALTHY: &str = "unhealthy";
pub(super) const SUSPECT: &str = "lanlord.dev/suspect";
const UID: &str = "lanlord.dev/service-uid";
const TERMS: &str = "lanlord.dev/sharing-terms";
const POOL: &str = "lanlord.dev/pool";
const NODE: &str = "lanlord.dev/node";
const GENERATION: &str = "lanlord.dev/node-generation";
const MOVED: &str = "lanlord.dev/moved";
const LAST_HOLDER: &str = "lanlord.dev/last-holder";
const FREED: &str = "lanlord.dev/freed";

/// What one of our Leases says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// `leader`
    Leader(LeaderRecord),
    /// `node.<node>`
    Member(Member),
    /// `ip.<address>`
    Claim(Claim),
}

/// The name of an address's Lease: `ip.192.168.1.240`, and in IPv6 all eight groups, for a name can hold no colon:
/// `ip.fd77-0-0-0-0-0-0-f0`.
pub fn claim_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("{CLAIM_PREFIX}{v4}"),
        IpAddr::V6(v6) => format!("{CLAIM_PREFIX}{}", v6.segments().map(|segment| format!("{segment:x}")).join("-")),
    }
}

/// The name of a member's Lease.
pub(crate) fn member_name(node: &NodeName) -> String {
    format!("{MEMBER_PREFIX}{node}")
}

/// The node whose member Lease has that name.
pub(crate) fn member_of(name: &str) -> Option<&str> {
    name.strip_prefix(MEMBER_PREFIX)
}

/// The address whose Lease has that name.
pub(crate) fn claim_address(name: &str) -> Option<IpAddr> {
    let text = name.strip_prefix(CLAIM_PREFIX)?;
    if !text.contains('-') {
        return text.parse().ok().filter(IpAddr::is_ipv4);
    }
    let groups: Vec<u16> = text.split('-').map(|group| u16::from_str_radix(group, 16)).collect::<Result<_, _>>().ok()?;
    <[u16; 8]>::try_from(groups).ok().map(|groups| IpAddr::V6(Ipv6Addr::from(groups)))
}

/// Reads a Lease.
///
/// # Errors
/// What is wrong with a Lease that somebody edited by hand. `Ok(None)`: not one of ours.
pub fn read(lease: Lease) -> Result<Option<Record>, String> {
    let name = lease.metadata.name.clone().unwrap_or_default();
    if name == LEADER {
        return Ok(Some(Record::Leader(read_leader(lease))));
    }
    if let Some(node) = name.strip_prefix(MEMBER_PREFIX) {
        return read_member(node, lease).map(|member| Some(Record::Member(member)));
    }
    if name.starts_with(CLAIM_PREFIX) {
        let address = claim_address(&name).ok_or_else(|| format!("Lease {name}: the name holds no address"))?;
        return read_claim(address, lease).map(|claim| Some(Record::Claim(claim)));
    }
    Ok(None)
}

fn holder(spec: &LeaseSpec) -> Option<String> {
    spec.holder_identity.clone().filter(|holder| !holder.is_empty())
}

fn number(value: Option<i32>) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0)
}

fn signed(value: u32) -> Option<i32> {
    Some(i32::try_from(value).unwrap_or(i32::MAX))
}

fn read_leader(lease: Lease) -> LeaderRecord {
    let spec = lease.spec.unwrap_or_default();
    LeaderRecord {
        holder: holder(&spec),
        lease_duration: number(spec.lease_duration_seconds),
        transitions: number(spec.lease_transitions),
        acquired: spec.acquire_time.map(|time| time.0.to_string()),
        resource_version: lease.metadata.resource_version.unwrap_or_default(),
    }
}

fn read_member(node: &str, lease: Lease) -> Result<Member, String> {
    let spec = lease.spec.unwrap_or_default();
    let mut annotations = lease.metadata.annotations.unwrap_or_default();
    let instance = match holder(&spec) {
        None => None,
        Some(holder) => match holder.rsplit_once('/') {
            Some((of, instance)) if of == node => Some(instance.to_owned()),
            Some(_) | None => return Err(format!("Lease {MEMBER_PREFIX}{node}: holderIdentity {holder:?} is not {node}/<instance>")),
        },
    };
    let links = annotations.remove(LINKS).unwrap_or_else(|| "[]".to_owned());
    let links: Vec<LinkText> =
        serde_json::from_str(&links).map_err(|error| format!("Lease {MEMBER_PREFIX}{node}: annotation {LINKS}: {error}"))?;
    let gateways = annotations.remove(GATEWAYS).unwrap_or_default();
    Ok(Member {
        node: NodeName::new(node),
        instance,
        generation: number(spec.lease_transitions),
        links: links
            .into_iter()
            .map(LinkText::read)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("Lease {MEMBER_PREFIX}{node}: {error}"))?,
        gateways: gateways.split(',').filter_map(|gateway| gateway.trim().parse().ok()).collect(),
        config: annotations.remove(CONFIG).filter(|hash| !hash.is_empty()),
        conflicts: annotations.remove(CONFLICTS).unwrap_or_default().split(',').filter_map(read_conflict).collect(),
        dataplane_unhealthy: annotations.remove(DATAPLANE).is_some_and(|state| state == UNHEALTHY),
        suspect: annotations.remove(SUSPECT).filter(|by| !by.is_empty()),
        resource_version: lease.metadata.resource_version.unwrap_or_default(),
    })
}

/// `192.168.1.240=02:00:00:00:00:01`; what cannot be read was edited by hand and counts for nothing.
fn read_conflict(text: &str) -> Option<(IpAddr, MacAddr)> {
    let (address, mac) = text.trim().split_once('=')?;
    Some((address.parse().ok()?, mac.parse().ok()?))
}

/// `from pi1: it is cordoned`
fn read_moved(text: &str) -> Option<Moved> {
    let (from, why) = text.strip_prefix("from ")?.split_once(": ")?;
    Some(Moved { from: NodeName::new(from), why: why.to_owned() })
}

fn read_claim(address: IpAddr, lease: Lease) -> Result<Claim, String> {
    let spec = lease.spec.unwrap_or_default();
    let mut annotations = lease.metadata.annotations.unwrap_or_default();
    let uids = annotations.remove(UID).unwrap_or_default();
    let terms = annotations.remove(TERMS).unwrap_or_default();
    let holders = holder(&spec).unwrap_or_default();
    let holders: Vec<Holder> = holders
        .split_whitespace()
        .zip(uids.split_whitespace().chain(std::iter::repeat("")))
        .zip(terms.split(' ').chain(std::iter::repeat("")))
        .map(|((key, uid), terms)| {
            let service = ServiceKey::parse(key)
                .ok_or_else(|| format!("Lease {}: holderIdentity {key:?} is not namespace/name", claim_name(address)))?;
            Ok(Holder { service, uid: Uid(uid.into()), terms: terms.to_owned() })
        })
        .collect::<Result<_, String>>()?;
    let node = annotations.remove(NODE).filter(|node| !node.is_empty());
    let generation = annotations.remove(GENERATION).and_then(|generation| generation.parse().ok()).unwrap_or(0);
    Ok(Claim {
        address,
        holders,
        pool: annotations.remove(POOL).unwrap_or_default(),
        placement: node.map(|node| Placement { node: NodeName::new(&node), generation }),
        moved: annotations.remove(MOVED).as_deref().and_then(read_moved),
        last_holder: annotations.remove(LAST_HOLDER).and_then(|holder| ServiceKey::parse(&holder)),
        freed: annotations.remove(FREED).and_then(|time| time.parse::<Timestamp>().ok()).map(Timestamp::as_second),
        resource_version: lease.metadata.resource_version.unwrap_or_default(),
    })
}

#[derive(Serialize, Deserialize)]
struct LinkText {
    name: String,
    mac: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    wireless: bool,
    #[serde(default)]
    addresses: Vec<String>,
}

impl LinkText {
    fn read(self) -> Result<MemberLink, String> {
        Ok(MemberLink {
            mac: self.mac.parse().map_err(|error| format!("link {}: {error}", self.name))?,
            medium: if self.wireless { Medium::Wireless } else { Medium::Wired },
            addresses: self
                .addresses
                .iter()
                .map(|net| net.parse().map_err(|_| format!("link {}: {net:?} is not an address with a prefix length", self.name)))
                .collect::<Result<_, _>>()?,
            name: self.name.as_str().into(),
        })
    }

    fn of(link: &MemberLink) -> Self {
        Self {
            name: link.name.to_string(),
            mac: link.mac.to_string(),
            wireless: link.medium == Medium::Wireless,
            addresses: link.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

fn object(name: String, resource_version: &str, annotations: BTreeMap<String, String>, spec: LeaseSpec) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name),
            resource_version: (!resource_version.is_empty()).then(|| resource_version.to_owned()),
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), "lanlord".to_owned())].into()),
            annotations: Some(annotations.into_iter().filter(|(_, value)| !value.is_empty()).collect()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    }
}

/// The Lease of the leader. `now` stamps the renewal, for people and for clients that compare clocks; we do not.
pub fn leader_lease(record: &LeaderRecord, now: Timestamp) -> Lease {
    let acquired = record.acquired.as_ref().and_then(|time| time.parse().ok()).unwrap_or(now);
    let spec = LeaseSpec {
        holder_identity: record.holder.clone(),
        lease_duration_seconds: signed(record.lease_duration),
        lease_transitions: signed(record.transitions),
        acquire_time: record.holder.as_ref().map(|_| MicroTime(acquired)),
        renew_time: record.holder.as_ref().map(|_| MicroTime(now)),
        ..LeaseSpec::default()
    };
    object(LEADER.to_owned(), &record.resource_version, BTreeMap::new(), spec)
}

/// The Lease of a member; its Node (by uid) owns it, so that it goes with the Node.
pub fn member_lease(member: &Member, node_uid: &Uid, now: Timestamp) -> Lease {
    let links: Vec<LinkText> = member.links.iter().map(LinkText::of).collect();
    let annotations = BTreeMap::from([
        (LINKS.to_owned(), serde_json::to_string(&links).unwrap_or_default()),
        (GATEWAYS.to_owned(), member.gateways.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        (CONFIG.to_owned(), member.config.clone().unwrap_or_default()),
        (CONFLICTS.to_owned(), member.conflicts.iter().map(|(address, mac)| format!("{address}={mac}")).collect::<Vec<_>>().join(",")),
        (DATAPLANE.to_owned(), if member.dataplane_unhealthy { UNHEALTHY.to_owned() } else { String::new() }),
        (SUSPECT.to_owned(), member.suspect.clone().unwrap_or_default()),
    ]);
    let spec = LeaseSpec {
        holder_identity: member.instance.as_ref().map(|instance| format!("{}/{instance}", member.node)),
        lease_transitions: signed(member.generation),
        acquire_time: member.instance.as_ref().map(|_| MicroTime(now)),
        ..LeaseSpec::default()
    };
    let mut lease = object(member_name(&member.node), &member.resource_version, annotations, spec);
    lease.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: member.node.to_string(),
        uid: node_uid.to_string(),
        ..OwnerReference::default()
    }]);
    lease
}

/// The Lease of an address.
pub fn claim_lease(claim: &Claim, now: Timestamp) -> Lease {
    let join = |texts: Vec<String>| texts.join(" ");
    let freed = claim.freed.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let annotations = BTreeMap::from([
        (UID.to_owned(), join(claim.holders.iter().map(|holder| holder.uid.to_string()).collect())),
        (TERMS.to_owned(), join(claim.holders.iter().map(|holder| holder.terms.clone()).collect()).trim_end().to_owned()),
        (POOL.to_owned(), claim.pool.clone()),
        (NODE.to_owned(), claim.placement.as_ref().map(|placement| placement.node.to_string()).unwrap_or_default()),
        (GENERATION.to_owned(), claim.placement.as_ref().map(|placement| placement.generation.to_string()).unwrap_or_default()),
        (MOVED.to_owned(), claim.moved.as_ref().map(|moved| format!("from {}: {}", moved.from, moved.why)).unwrap_or_default()),
        (LAST_HOLDER.to_owned(), claim.last_holder.as_ref().map(ToString::to_string).unwrap_or_default()),
        (FREED.to_owned(), freed.map(|time| time.to_string()).unwrap_or_default()),
    ]);
    let held = !claim.holders.is_empty();
    let spec = LeaseSpec {
        holder_identity: held.then(|| join(claim.holders.iter().map(|holder| holder.service.to_string()).collect())),
        acquire_time: held.then_some(MicroTime(now)),
        ..LeaseSpec::default()
    };
    object(claim_name(claim.address), &claim.resource_version, annotations, spec)
}

impl Api {
    fn leases(&self) -> kube::Api<Lease> {
        kube::Api::namespaced(self.client(), &self.namespace)
    }

    async fn write_lease(&self, lease: Lease) -> Result<Record, WriteError> {
        let params = PostParams::default();
        let name = lease.metadata.name.clone().unwrap_or_default();
        let written = if lease.metadata.resource_version.is_some() {
            self.write("update", "leases", self.leases().replace(&name, &params, &lease)).await?
        } else {
            self.write("create", "leases", self.leases().create(&params, &lease)).await?
        };
        read(written).map_err(WriteError::Invalid)?.ok_or_else(|| WriteError::Invalid(format!("{name} is no Lease of ours")))
    }

    /// Creates or replaces an address Lease.
    ///
    /// # Errors
    /// `Conflict`, `AlreadyExists` or `NotFound`: somebody was faster.
    pub async fn write_claim(&self, claim: &Claim) -> Result<Claim, WriteError> {
        match self.write_lease(claim_lease(claim, Timestamp::now())).await? {
            Record::Claim(claim) => Ok(claim),
            Record::Leader(_) | Record::Member(_) => Err(WriteError::Invalid("another Lease came back".to_owned())),
        }
    }

    /// Deletes an address Lease if it is still as it was read.
    ///
    /// # Errors
    /// As [`Api::write_claim`].
    pub async fn delete_claim(&self, claim: &Claim) -> Result<(), WriteError> {
        let preconditions = Preconditions { resource_version: Some(claim.resource_version.clone()), uid: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.write("delete", "leases", self.leases().delete(&claim_name(claim.address), &params)).await.map(drop)
    }

    /// Creates or replaces the member Lease of our own node, owned by the Node of `node_uid`. One that exists but cannot be read
    /// (a Snapshot does not have it) is written anew.
    ///
    /// # Errors
    /// As [`Api::write_claim`].
    pub async fn write_member(&self, member: &Member, node_uid: &Uid) -> Result<Member, WriteError> {
        let mut lease = member_lease(member, node_uid, Timestamp::now());
        let mut written = self.write_lease(lease.clone()).await;
        if written == Err(WriteError::AlreadyExists) {
            let there = bounded(REQUEST_TIMEOUT, self.leases().get(&member_name(&member.node))).await?;
            lease.metadata.resource_version = there.metadata.resource_version.clone();
            if read(there).is_err() {
                written = self.write_lease(lease).await;
            }
        }
        match written? {
            Record::Member(member) => Ok(member),
            Record::Leader(_) | Record::Claim(_) => Err(WriteError::Invalid("another Lease came back".to_owned())),
        }
    }

    /// Creates or replaces the leader's Lease.
    ///
    /// # Errors
    /// As [`Api::write_claim`].
    pub async fn write_leader(&self, record: &LeaderRecord) -> Result<LeaderRecord, WriteError> {
        match self.write_lease(leader_lease(record, Timestamp::now())).await? {
            Record::Leader(record) => Ok(record),
            Record::Member(_) | Record::Claim(_) => Err(WriteError::Invalid("another Lease came back".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(lease: &Lease) -> Record {
        // Through JSON, as the API server sees it.
        let json = serde_json::to_string(lease).unwrap();
        read(serde_json::from_str(&json).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn claims_survive_the_way_through_a_lease() {
        for address in ["192.168.1.240", "fd77::f0", "::1", "2001:db8:1:2:3:4:5:6"] {
            let claim = Claim {
                address: address.parse().unwrap(),
                holders: ["", "5e", "77"]
                    .map(|terms| Holder {
                        service: ServiceKey::new("default", &format!("web{terms}")),
                        uid: Uid("u-1".into()),
                        terms: terms.to_owned(),
                    })
                    .into(),
                pool: "default".to_owned(),
                placement: Some(Placement { node: "pi1".into(), generation: 3 }),
                moved: Some(Moved { from: "pi2.lan".into(), why: "it is cordoned".to_owned() }),
                last_holder: None,
                freed: None,
                resource_version: "12".to_owned(),
            };
            assert_eq!(again(&claim_lease(&claim, Timestamp::UNIX_EPOCH)), Record::Claim(claim.clone()));
            let free = Claim {
                holders: Vec::new(),
                placement: None,
                moved: None,
                last_holder: Some(ServiceKey::new("a", "b")),
                freed: Some(99),
                ..claim
            };
            assert_eq!(again(&claim_lease(&free, Timestamp::UNIX_EPOCH)), Record::Claim(free));
        }
    }

    #[test]
    fn names_are_readable_and_legal() {
        assert_eq!(claim_name("fd77::f0".parse().unwrap()), "ip.fd77-0-0-0-0-0-0-f0");
        assert_eq!(claim_name("192.168.1.240".parse().unwrap()), "ip.192.168.1.240");
    }

    #[test]
    fn members_survive_the_way_through_a_lease() {
        let link = MemberLink {
            name: "wlan0".into(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            medium: Medium::Wireless,
            addresses: ["192.168.1.11/24".parse().unwrap(), "fd00::11/64".parse().unwrap()].into(),
        };
        let member = Member {
            node: "pi1.lan".into(),
            instance: Some("6f2a".to_owned()),
            generation: 2,
            links: vec![link],
            gateways: ["192.168.1.1".parse().unwrap()].into(),
            config: Some("00ff".to_owned()),
            conflicts: [("192.168.1.240".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 9]))].into(),
            dataplane_unhealthy: true,
            suspect: Some("pi2/91c0".to_owned()),
            resource_version: "5".to_owned(),
        };
        let lease = member_lease(&member, &Uid("n".into()), Timestamp::UNIX_EPOCH);
        assert_eq!(lease.spec.as_ref().unwrap().holder_identity.as_deref(), Some("pi1.lan/6f2a"));
        assert_eq!(again(&lease), Record::Member(member.clone()));
        let left = Member { instance: None, config: None, suspect: None, ..member };
        assert_eq!(again(&member_lease(&left, &Uid("n".into()), Timestamp::UNIX_EPOCH)), Record::Member(left));
    }

    #[test]
    fn a_lease_edited_by_hand_is_told_and_left_out() {
        let lease = |name: &str, holder: &str| {
            serde_json::from_value::<Lease>(serde_json::json!({"metadata": {"name": name}, "spec": {"holderIdentity": holder}})).unwrap()
        };
        assert_eq!(read(lease("ip.300.1.1.1", "a/b")).unwrap_err(), "Lease ip.300.1.1.1: the name holds no address");
        assert_eq!(read(lease("ip.10.0.0.1", "oops")).unwrap_err(), "Lease ip.10.0.0.1: holderIdentity \"oops\" is not namespace/name");
        assert_eq!(read(lease("node.n1", "n2/x")).unwrap_err(), "Lease node.n1: holderIdentity \"n2/x\" is not n1/<instance>");
        assert_eq!(read(lease("something-else", "x")), Ok(None));
    }
}
