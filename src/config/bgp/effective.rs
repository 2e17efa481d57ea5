//! What is said about BGP in the words of native YAML, every default written out. Lists that are empty are left out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{BfdProfile, Bgp, BgpAdvertisement, BgpPeer, Community, Neighbor, PeerPassword, RemoteAs};
use crate::config::PoolName;
use crate::config::effective::{EffectiveSelector, selectors};
use crate::facts::LinkName;

/// The four lists.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EffectiveBgp<'c> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bgp_peers: Vec<EffectivePeer<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bgp_advertisements: Vec<EffectiveRoutes<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bfd_profiles: Vec<EffectiveProfile<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    communities: Vec<EffectiveCommunity<'c>>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "camelCase")]
struct EffectivePeer<'c> {
    name: &'c str,
    #[serde(rename = "myASN")]
    my_asn: u32,
    #[serde(rename = "localASN", skip_serializing_if = "Option::is_none")]
    local_asn: Option<u32>,
    #[serde(rename = "peerASN", skip_serializing_if = "Option::is_none")]
    peer_asn: Option<u32>,
    #[serde(rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    dynamic_asn: Option<&'static str>,
    peer_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'c str>,
    peer_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_address: Option<String>,
    hold_time: String,
    keepalive_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_time: Option<String>,
    #[serde(rename = "routerID", skip_serializing_if = "Option::is_none")]
    router_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_selectors: Vec<EffectiveSelector<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_secret: Option<EffectiveSecret<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bfd_profile: Option<&'c str>,
    enable_graceful_restart: bool,
    ebgp_multi_hop: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_security_hops: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vrf: Option<&'c str>,
    #[serde(rename = "disableMP")]
    disable_mp: bool,
    dual_stack_address_family: bool,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct EffectiveSecret<'c> {
    name: &'c str,
    key: &'c str,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "camelCase")]
struct EffectiveRoutes<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    ip_address_pools: Vec<&'c str>,
    aggregation_length: u8,
    aggregation_length_v6: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_pref: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    communities: Vec<String>,
    as_path_prepend: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<&'c str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_selectors: Vec<EffectiveSelector<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_selectors: Vec<EffectiveSelector<'c>>,
}

/// Intervals in milliseconds.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct EffectiveProfile<'c> {
    name: &'c str,
    receive_interval: u64,
    transmit_interval: u64,
    detect_multiplier: u8,
    passive_mode: bool,
    minimum_ttl: u8,
}

#[derive(Serialize, Debug)]
struct EffectiveCommunity<'c> {
    name: &'c str,
    value: String,
}

impl<'c> EffectiveBgp<'c> {
    /// Advertisements that reach no pool do nothing and are left out.
    pub(crate) fn new(bgp: &'c Bgp) -> Self {
        Self {
            bgp_peers: bgp.peers.iter().map(peer).collect(),
            bgp_advertisements: bgp.advertisements.iter().filter(|routes| !routes.pools.is_empty()).map(advertisement).collect(),
            bfd_profiles: profiles(&bgp.bfd_profiles),
            communities: communities(&bgp.communities),
        }
    }

    /// Without what means nothing (orders, the names of advertisements and communities), and without passwords: a hash that everybody
    /// may see must not be one to guess them by.
    pub(crate) fn for_hash(mut self) -> Self {
        for peer in &mut self.bgp_peers {
            peer.password = peer.password.map(|_| "");
        }
        for routes in &mut self.bgp_advertisements {
            routes.name = None;
        }
        self.bgp_peers.sort();
        self.bgp_advertisements.sort();
        self.communities.clear();
        self
    }
}

fn peer(peer: &BgpPeer) -> EffectivePeer<'_> {
    let (peer_asn, dynamic_asn) = match peer.remote_as {
        RemoteAs::Number(number) => (Some(number), None),
        RemoteAs::Internal => (None, Some("internal")),
        RemoteAs::External => (None, Some("external")),
    };
    let (peer_address, interface) = match &peer.neighbor {
        Neighbor::Address(address) => (address.to_string(), None),
        Neighbor::LinkLocal(address, link) => (address.to_string(), Some(link.as_str())),
    };
    let (password, password_secret) = match &peer.password {
        None => (None, None),
        Some(PeerPassword::Text(password)) => (Some(password.0.as_str()), None),
        Some(PeerPassword::Secret { name, key }) => (None, Some(EffectiveSecret { name, key })),
    };
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    EffectivePeer {
        name: &peer.name,
        my_asn: peer.my_asn,
        local_asn: peer.local_asn,
        peer_asn,
        dynamic_asn,
        peer_address,
        interface,
        peer_port: peer.peer_port,
        source_address: peer.source_address.map(|address| address.to_string()),
        hold_time: seconds(peer.hold_time),
        keepalive_time: seconds(peer.keepalive_time),
        connect_time: peer.connect_time.map(seconds),
        router_id: peer.router_id.map(|id| id.to_string()),
        node_selectors: selectors(&peer.node_selectors),
        password,
        password_secret,
        bfd_profile: peer.bfd_profile.as_deref(),
        enable_graceful_restart: peer.graceful_restart,
        ebgp_multi_hop: peer.ebgp_multi_hop,
        ttl_security_hops: peer.ttl_security_hops,
        vrf: peer.vrf.as_ref().map(LinkName::as_str),
        disable_mp: peer.disable_mp,
        dual_stack_address_family: peer.dual_stack,
    }
}

fn advertisement(routes: &BgpAdvertisement) -> EffectiveRoutes<'_> {
    EffectiveRoutes {
        name: routes.name.as_deref(),
        ip_address_pools: routes.pools.iter().map(PoolName::as_str).collect(),
        aggregation_length: routes.aggregation_length,
        aggregation_length_v6: routes.aggregation_length_v6,
        local_pref: routes.local_pref,
        communities: routes.communities.iter().map(ToString::to_string).collect(),
        as_path_prepend: routes.as_path_prepend,
        peers: routes.peers.iter().map(String::as_str).collect(),
        node_selectors: selectors(&routes.node_selectors),
        service_selectors: selectors(&routes.service_selectors),
    }
}

fn profiles(profiles: &BTreeMap<String, BfdProfile>) -> Vec<EffectiveProfile<'_>> {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).expect("a minute at most");
    profiles
        .iter()
        .map(|(name, profile)| EffectiveProfile {
            name,
            receive_interval: milliseconds(profile.receive_interval),
            transmit_interval: milliseconds(profile.transmit_interval),
            detect_multiplier: profile.detect_multiplier,
            passive_mode: profile.passive_mode,
            minimum_ttl: profile.minimum_ttl,
        })
        .collect()
}

fn communities(communities: &BTreeMap<String, Community>) -> Vec<EffectiveCommunity<'_>> {
    communities.iter().map(|(name, value)| EffectiveCommunity { name, value: value.to_string() }).collect()
}
