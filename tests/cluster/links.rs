//! Links while the agent runs: two of them in one subnet, a switch that snoops on MLD, links that appear, vanish, lose their carrier,
//! change their hardware address. The API server stays in reach over eth0; what is announced is on eth1.

use std::net::IpAddr;

use crate::support::Cluster;
use crate::support::Options;

/// One pool of both families; `advertisement` is the spec of its only L2Advertisement.
fn configure(cluster: &Cluster, advertisement: &str) {
    let object = |kind: &str, spec: &str| {
        format!("apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{name: lan, namespace: metallb-system}}\nspec: {{{spec}}}\n")
    };
    let pool = object("IPAddressPool", "addresses: [10.77.0.240-10.77.0.250, 'fd77::240-fd77::24f']");
    cluster.configure("metallb.yaml", &format!("{pool}---\n{}", object("L2Advertisement", advertisement)));
}

/// Waits until the switch hears exactly this port answer for each address of the Service.
fn wait_port(cluster: &Cluster, service: &str, port: &str) {
    cluster.wait_until(10, &format!("{port} answers, and no other"), || {
        let addresses = cluster.addresses_of(service);
        !addresses.is_empty() && addresses.iter().all(|address| cluster.answering_ports(*address) == [port])
    });
    cluster.wait_reachable(service);
}

/// The hardware address the client has for an address, without asking.
fn known(cluster: &Cluster, address: IpAddr) -> String {
    let shown = cluster.client.run(&["ip", "neigh", "show", "to", &address.to_string(), "dev", "eth0"]).expect("ip neigh show");
    shown.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap_or_default().to_owned()
}

#[test]
fn links_two_in_one_subnet_behind_a_switch_that_snoops_and_only_one_answers() {
    let options = Options { nodes: 2, two_links: vec!["n1", "n2"], mld_snooping: true, ..Options::default() };
    let cluster = Cluster::start(&options);
    cluster.backend("web", &["n1", "n2"]);
    configure(&cluster, "ipAddressPools: [lan]");
    cluster.agents_start();
    cluster.load_balancer("web", "ipFamilyPolicy: RequireDualStack");
    cluster.wait_announced("web");
    let owner = cluster.wait_owner("web", "it is announced", |_| true);
    wait_port(&cluster, "web", &format!("{owner}-eth0"));
    let groups = || {
        let shown = cluster.switch(&["bridge", "mdb", "show", "dev", "br0"]);
        let of_it = shown.lines().filter(|line| line.contains(" grp ff02::1:ff00:240 "));
        of_it.filter_map(|line| line.split_once(" port ")?.1.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    cluster.wait_until(5, "the switch knows who wants questions for fd77::240", || groups() == [format!("{owner}-eth0")]);

    configure(&cluster, "ipAddressPools: [lan], interfaces: [eth0, eth1]");
    cluster.wait_until(10, "both links, where both are named", || {
        let ports = |address: IpAddr| cluster.answering_ports(address).len();
        cluster.addresses_of("web").into_iter().all(|address| ports(address) == 2)
    });
}

#[test]
fn links_that_appear_vanish_lose_their_carrier_and_change_their_address() {
    let cluster = Cluster::start(&Options { two_links: vec!["n1"], ..Options::default() });
    cluster.backend("web", &["n2", "n3"]);
    configure(&cluster, "ipAddressPools: [lan], interfaces: [eth1]");
    cluster.agents_start();
    cluster.load_balancer("web", "ipFamilyPolicy: RequireDualStack");
    cluster.wait_announced("web");
    wait_port(&cluster, "web", "n1-eth1");
    let addresses = cluster.addresses_of("web");

    let new = "02:77:00:00:07:6f";
    cluster.node("n1").run(&["ip", "link", "set", "eth1", "address", new]);
    cluster.wait_until(5, "the client is told of the new hardware address", || addresses.iter().all(|ip| known(&cluster, *ip) == new));
    cluster.wait_until(5, "answers carry it", || addresses.iter().all(|ip| cluster.client.mac_of(*ip).as_deref() == Some(new)));
    cluster.wait_reachable("web");

    cluster.node("n2").link("add", "eth1");
    // The news has to be with all before the other link goes, or nobody could take over at once.
    cluster.wait_until(10, "n2 tells of its new link", || {
        cluster.kubectl(&["get", "lease", "node.n2", "-n", "lanlord", "-o", "jsonpath={.metadata.annotations}"]).contains("eth1")
    });
    cluster.wait_owner("web", "an owner keeps what it has", |node| node == "n1");
    cluster.node("n1").link("down", "eth1");
    cluster.wait_until(5, "the client is told without asking", || {
        addresses.iter().all(|ip| known(&cluster, *ip) == cluster.node("n2").mac("eth1"))
    });
    wait_port(&cluster, "web", "n2-eth1");

    cluster.node("n1").link("up", "eth1");
    cluster.wait_until(10, "n1 tells of its link again", || {
        cluster.kubectl(&["get", "lease", "node.n1", "-n", "lanlord", "-o", "jsonpath={.metadata.annotations}"]).contains("eth1")
    });
    cluster.wait_owner("web", "it does not move back", |node| node == "n2");
    cluster.node("n2").link("delete", "eth1");
    wait_port(&cluster, "web", "n1-eth1");

    cluster.node("n1").link("delete", "eth1");
    cluster.wait_until(10, "the reason is told", || cluster.condition("web")[..2] == ["False", "NoInterface"]);
    cluster.node("n3").link("add", "eth1");
    cluster.wait_announced("web");
    wait_port(&cluster, "web", "n3-eth1");
}
