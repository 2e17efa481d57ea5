//! Addresses of Services for which this host's kernel answers ARP by itself, whoever announces them.
//!
//! An address on any link of a host is the host's: with `arp_ignore` 0, the default, its kernel answers for it on every link (RFC 1122's
//! weak host model). kube-proxy in IPVS mode puts the addresses of all Services on `kube-ipvs0` of every node, so that all nodes answer at
//! once, unless its `strictARP` sets `arp_ignore`. NDP asks one link only, so IPv6 is not concerned.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::facts::{LinkName, Links, NodeName, Snapshot};

/// The link on which kube-proxy in IPVS mode keeps addresses.
const IPVS: &str = "kube-ipvs0";

/// Assigned addresses for which the kernel answers, by the link they are on.
pub fn answered_by_kernel(snapshot: &Snapshot, links: &Links) -> BTreeMap<LinkName, Vec<IpAddr>> {
    if !links.answers_for_all {
        return BTreeMap::new();
    }
    let assigned = |address: &IpAddr| snapshot.claims.get(address).is_some_and(|claim| !claim.holders.is_empty());
    let here = links.links.values().map(|link| {
        let addresses = link.addresses.iter().map(ipnet::IpNet::addr).filter(|address| address.is_ipv4() && assigned(address));
        (link.name.clone(), addresses.collect::<Vec<_>>())
    });
    here.filter(|(_, addresses)| !addresses.is_empty()).collect()
}

/// What is so, and what to do, where the kernel of `node` answers for `addresses` on `link`.
pub fn told(node: &NodeName, link: &LinkName, addresses: &[IpAddr]) -> (String, String) {
    let some: Vec<String> = addresses.iter().take(3).map(ToString::to_string).collect();
    let more = addresses.len().saturating_sub(some.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let which = format!("the kernel of {node} answers ARP for {}{more}, whoever announces it: ", some.join(", "));
    if link.as_str() == IPVS {
        return (
            format!("{which}kube-proxy runs in IPVS mode without strictARP, and has it on {link} of every node"),
            "kubectl get configmap kube-proxy -n kube-system -o yaml | sed 's/strictARP: false/strictARP: true/' | kubectl apply -f - && \
             kubectl rollout restart daemonset kube-proxy -n kube-system (k3s: start it with --kube-proxy-arg=ipvs-strict-arp=true)"
                .to_owned(),
        );
    }
    let first = some.first().map_or("ADDRESS", String::as_str);
    (
        format!("{which}it is on link {link} there"),
        format!(
            "see who put it there, and on {node}, with the prefix that \"ip address show to {first}\" tells: ip address del {first}/PREFIX dev {link}"
        ),
    )
}
