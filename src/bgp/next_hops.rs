//! Our addresses on the way to a peer: what it is told as next hop of both families (RFC 4271 §5.1.3, RFC 2545 §3).
//!
//! A next hop has to be an address that the router reaches through the link the session runs over. For the family of the connection that
//! is its own end; for the other one an address of the link towards the peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::addr::{v4, v6};
use crate::facts::{Link, LinkName, Links, Role};
use crate::wire::bgp::NextHop;

/// Our own addresses on the link of the connection, of both families.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NextHops {
    /// The address of an IPv4 connection, else one of the link.
    pub v4: Option<Ipv4Addr>,
    /// The address of an IPv6 connection, else one of the link. May be link-local if there is no other.
    pub v6: Option<Ipv6Addr>,
    /// The link-local one beside it, for a peer on the link (RFC 2545 §3).
    pub v6_link_local: Option<Ipv6Addr>,
}

impl NextHops {
    /// Of a connection from `local` to `remote`; `link` is what [`link_towards`] says.
    pub fn of(local: IpAddr, remote: IpAddr, link: Option<&Link>) -> Self {
        let on_link = is_link_local(remote) || link.is_some_and(|link| link.on_link(remote));
        let addresses = || link.into_iter().flat_map(usable);
        // Through 127.0.0.1 nobody gets anywhere.
        let local = Some(local).filter(|local| !local.is_loopback());
        let v4 = local.and_then(v4).or_else(|| addresses().find_map(v4));
        let global = |v6: &Ipv6Addr| !v6.is_unicast_link_local();
        let own = local.and_then(v6).filter(global);
        // The link-local address of the connection itself, before another one of the link.
        let link_locals = local.into_iter().chain(addresses()).filter_map(v6).filter(Ipv6Addr::is_unicast_link_local);
        Self { v4, v6: own.or_else(|| addresses().filter_map(v6).find(global)), v6_link_local: { link_locals }.next().filter(|_| on_link) }
    }

    pub(super) fn v6(&self) -> Option<NextHop> {
        let v6 = self.v6.or(self.v6_link_local)?;
        Some(match self.v6_link_local.filter(|link_local| *link_local != v6) {
            Some(link_local) => NextHop::V6LinkLocal(v6, link_local),
            None => NextHop::V6(v6),
        })
    }
}

/// The link that a connection from `local` to `remote` runs over: that of a link-local peer, else the one whose network the peer is on,
/// else the one that has our address. Where both ends are on several links, the one that has our address. For a router on this very host
/// the link with the default gateway, or the first one: that is where the routes have to lead to.
pub fn link_towards<'l>(links: &'l Links, local: IpAddr, remote: IpAddr, of_peer: Option<&LinkName>) -> Option<&'l Link> {
    if let Some(link) = of_peer {
        return links.links.get(link);
    }
    if remote.is_loopback() {
        let own = || links.links.values().filter(|link| link.up && link.role == Role::Own && !usable(link).is_empty());
        let outward = own().find(|link| links.gateways.iter().any(|gateway| link.on_link(*gateway)));
        return outward.or_else(|| own().next());
    }
    let has = |link: &&Link| link.addresses.iter().any(|net| net.addr() == local);
    let near = |link: &&Link| link.on_link(remote);
    let all = || links.links.values();
    all().find(|link| near(link) && has(link)).or_else(|| all().find(near)).or_else(|| all().find(has))
}

/// The addresses of a link that others can reach, those with a network first: one that stands alone may be anything's.
fn usable(link: &Link) -> Vec<IpAddr> {
    let alone = |net: &&IpNet| net.prefix_len() == net.max_prefix_len();
    let (alone, others): (Vec<&IpNet>, Vec<&IpNet>) = link.addresses.iter().filter(|net| !net.addr().is_loopback()).partition(alone);
    others.into_iter().chain(alone).map(IpNet::addr).collect()
}

fn is_link_local(address: IpAddr) -> bool {
    v6(address).is_some_and(|v6| v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::MacAddr;
    use crate::facts::Medium;

    fn link(index: u32, name: &str, addresses: &[&str]) -> (LinkName, Link) {
        let addresses = addresses.iter().map(|net| net.parse().unwrap()).collect();
        let link = Link { index, name: name.into(), mac: MacAddr::ZERO, up: true, role: Role::Own, medium: Medium::Wired, addresses };
        (name.into(), link)
    }

    fn hops(local: &str, remote: &str, of_peer: Option<&str>) -> (Option<String>, [Option<IpAddr>; 3]) {
        let eth0 = ["10.0.0.1/24", "10.0.0.9/32", "fd00::1/64", "fe80::1/64"];
        let links = Links {
            links: [link(1, "lo", &["192.0.2.1/32", "::1/128"]), link(2, "eth0", &eth0), link(3, "eth1", &["10.1.0.1/24", "fe80::2/64"])]
                .into(),
            gateways: ["10.1.0.254".parse().unwrap()].into(),
            ..Links::default()
        };
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        let link = link_towards(&links, local, remote, of_peer.map(LinkName::new).as_ref());
        let NextHops { v4, v6, v6_link_local } = NextHops::of(local, remote, link);
        (link.map(|link| link.name.to_string()), [v4.map(IpAddr::V4), v6.map(IpAddr::V6), v6_link_local.map(IpAddr::V6)])
    }

    fn expect(link: &str, addresses: [&str; 3]) -> (Option<String>, [Option<IpAddr>; 3]) {
        (Some(link).filter(|link| !link.is_empty()).map(ToOwned::to_owned), addresses.map(|text| text.parse().ok()))
    }

    #[test]
    fn next_hops_are_the_addresses_of_the_link_towards_the_peer() {
        assert_eq!(hops("10.0.0.1", "10.0.0.254", None), expect("eth0", ["10.0.0.1", "fd00::1", "fe80::1"]));
        assert_eq!(hops("fd00::1", "fd00::fe", None), expect("eth0", ["10.0.0.1", "fd00::1", "fe80::1"]));
        assert_eq!(hops("10.1.0.1", "10.1.0.254", None), expect("eth1", ["10.1.0.1", "", "fe80::2"]), "no other IPv6 there");
        assert_eq!(hops("fe80::2", "fe80::fe", Some("eth1")), expect("eth1", ["10.1.0.1", "", "fe80::2"]));
    }

    #[test]
    fn a_peer_behind_a_router_gets_no_link_local_next_hop() {
        assert_eq!(hops("10.0.0.1", "198.51.100.1", None), expect("eth0", ["10.0.0.1", "fd00::1", ""]));
        assert_eq!(hops("192.0.2.1", "198.51.100.1", None), expect("lo", ["192.0.2.1", "", ""]));
    }

    #[test]
    fn a_router_on_this_host_is_told_where_the_host_is_reached() {
        assert_eq!(hops("127.0.0.1", "127.0.0.1", None), expect("eth1", ["10.1.0.1", "", ""]), "the gateway is there");
        assert_eq!(hops("::1", "::1", None), expect("eth1", ["10.1.0.1", "", ""]));
    }

    #[test]
    fn a_source_address_of_another_link_is_the_next_hop_of_its_own_family_only() {
        assert_eq!(hops("192.0.2.1", "10.0.0.254", None), expect("eth0", ["192.0.2.1", "fd00::1", "fe80::1"]));
        assert_eq!(hops("192.0.2.77", "198.51.100.1", None), expect("", ["192.0.2.77", "", ""]), "an address of nobody");
    }
}
