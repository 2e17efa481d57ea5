//! What a person does with Lanlord, from one line of configuration to an address that answers on the LAN, and what moves it.

use std::net::IpAddr;

use serde_json::json;

use crate::support::Cluster;
use crate::support::Options;

const LINE: &str = "10.77.0.240-10.77.0.250, fd77::240-fd77::24f";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn journey_from_one_line_of_configuration_to_an_address_that_answers() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2"]);
    cluster.configure("addresses", LINE);
    cluster.start_agents();
    for (name, families) in [
        ("web", "ipFamilyPolicy: SingleStack"),
        ("web6", "ipFamilyPolicy: SingleStack, ipFamilies: [IPv6]"),
        ("both", "ipFamilyPolicy: RequireDualStack"),
    ] {
        cluster.load_balancer(name, families);
        cluster.wait_announced(name);
    }
    let ingress = |name: &str| cluster.service(name)["status"]["loadBalancer"].clone();
    assert_eq!(ingress("web"), json!({"ingress": [{"ip": "10.77.0.240", "ipMode": "VIP"}]}));
    assert_eq!(ingress("web6"), json!({"ingress": [{"ip": "fd77::240", "ipMode": "VIP"}]}));
    let two = [json!({"ip": "10.77.0.241", "ipMode": "VIP"}), json!({"ip": "fd77::241", "ipMode": "VIP"})];
    assert_eq!(ingress("both"), json!({ "ingress": two }));
    for name in ["web", "web6", "both"] {
        let owner = cluster.wait_owner(name, "what is said is what the LAN hears", |_| true);
        for address in cluster.addresses(name) {
            assert_eq!(cluster.client.mac_of(address), Some(cluster.node(&owner).mac("eth0")));
            assert_eq!(cluster.answering_ports(address), [format!("{owner}-eth0")], "who answers for {address}");
        }
        cluster.wait_reachable(name);
    }
    what_is_said_of_it(&cluster);
    cluster.kubectl(&["delete", "service", "web"]);
    cluster.wait_until(10, "a deleted Service is not answered for", || cluster.client.owner_of(address("10.77.0.240")).is_none());
    cluster.wait_until(10, "the log says so", || cluster.nodes().any(|node| node.log().contains("msg=withdrawn address=10.77.0.240")));
}

fn what_is_said_of_it(cluster: &Cluster) {
    let owner = cluster.announcer("web").expect("it is announced");
    let [status, reason, message] = cluster.condition("web");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Announcing"));
    assert_eq!(message, format!("10.77.0.240 by {owner} on eth0 (layer2)"));
    let events = cluster.events("web");
    assert!(events.iter().any(|event| event.starts_with("IPAllocated: assigned 10.77.0.240 from pool default, ")), "{events:?}");
    let names_node =
        |event: &String| event.contains(&format!("announced by {owner} on eth0")) || event.contains(&format!("node \"{owner}\""));
    assert!(events.iter().any(names_node), "{events:?}");

    let leases = cluster.kubectl(&["get", "leases", "-n", "lanlord"]);
    let lease = leases.lines().find(|line| line.starts_with("ip.10.77.0.240 ")).unwrap_or_else(|| panic!("{leases}"));
    assert_eq!(lease.split_whitespace().nth(1), Some("default/web"));

    let node = cluster.node(&owner);
    let metrics = node.metrics().expect("metrics are served");
    let line = |start: &str, end: &str| metrics.lines().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(line("metallb_allocator_addresses_in_use_total{pool=\"default\"}", " 4.0"), "{metrics}");
    let announced = metrics.lines().find(|line| line.starts_with("metallb_speaker_announced{") && line.contains("10.77.0.240"));
    let announced = announced.unwrap_or_else(|| panic!("{metrics}"));
    for label in ["service=\"default/web\"", "protocol=\"layer2\"", &format!("node=\"{owner}\"")] {
        assert!(announced.contains(label), "{label} in {announced}");
    }
    for (node, question) in cluster.nodes().flat_map(|node| ["live", "ready"].map(|question| (node, question))) {
        assert_eq!(node.health(question), Ok(String::new()), "{question} on {}", node.name);
    }
    assert!(node.log().contains("msg=announcing address=10.77.0.240 service=default/web link=eth0"), "{}", node.log());
    let assigned = cluster.nodes().filter(|node| node.log().contains("msg=assigned address=10.77.0.240 service=default/web")).count();
    assert_eq!(assigned, 1, "one of them leads");
}
