//! What a person does with Lanlord, from one line of configuration to an address that answers on the LAN, and what moves it.

use std::net::IpAddr;

use serde_json::json;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::place::Node;
use crate::support::service::url;

const LINE: &str = "10.77.0.240-10.77.0.250, fd77::240-fd77::24f";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn journey_from_one_line_of_configuration_to_an_address_that_answers() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2"]);
    cluster.configure("addresses", LINE);
    cluster.agents_start();
    for (name, families) in [
        ("web", "ipFamilyPolicy: SingleStack"),
        ("web6", "ipFamilyPolicy: SingleStack, ipFamilies: [IPv6]"),
        ("both", "ipFamilyPolicy: RequireDualStack"),
    ] {
        cluster.load_balancer(name, families);
        cluster.wait_announced(name);
    }
    let ingress = |name: &str| cluster.json(&["get", "service", name])["status"]["loadBalancer"].clone();
    assert_eq!(ingress("web"), json!({"ingress": [{"ip": "10.77.0.240", "ipMode": "VIP"}]}));
    assert_eq!(ingress("web6"), json!({"ingress": [{"ip": "fd77::240", "ipMode": "VIP"}]}));
    let two = [json!({"ip": "10.77.0.241", "ipMode": "VIP"}), json!({"ip": "fd77::241", "ipMode": "VIP"})];
    assert_eq!(ingress("both"), json!({ "ingress": two }));
    for name in ["web", "web6", "both"] {
        let owner = cluster.wait_owner(name, "what is said is what the LAN hears", |_| true);
        for address in cluster.addresses_of(name) {
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
    let events = cluster.events("default", "Service", "web");
    assert!(cluster.told("web", &["IPAllocated", "assigned 10.77.0.240 from pool default"]), "{events}");
    assert!(events.contains(&format!("announced by {owner} on eth0")) || events.contains(&format!("node \"{owner}\"")), "{events}");

    let leases = cluster.kubectl(&["get", "leases", "-n", "lanlord"]);
    let lease = leases.lines().find(|line| line.starts_with("ip.10.77.0.240 ")).unwrap_or_else(|| panic!("{leases}"));
    assert_eq!(lease.split_whitespace().nth(1), Some("default/web"));

    let node = cluster.node(&owner);
    let metrics = node.metrics().expect("metrics are served");
    let pools = |node: &Node<'_>| {
        let line = "metallb_allocator_addresses_in_use_total{pool=\"default\"} 4.0";
        node.metrics().is_ok_and(|metrics| metrics.lines().any(|it| it == line))
    };
    let leader = cluster.leader().expect("one leads");
    let tell: Vec<&str> = cluster.nodes().filter(pools).map(|node| node.name).collect();
    assert_eq!(tell, [leader.split('/').next().expect("node/instance")], "the leader alone tells of pools");
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

#[test]
fn journey_of_a_service_that_was_there_before_the_configuration_and_of_its_owner_leaving_in_order() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.agents_start();
    cluster.load_balancer("web", "ipFamilyPolicy: RequireDualStack");
    let remedy = "create configmap lanlord -n lanlord --from-literal addresses=";
    cluster.wait_until(10, "an Event says what to do", || {
        cluster.told("web", &["AllocationFailed", &format!("kubectl {remedy}10.77.0.240-10.77.0.250,fd77::fff0-fd77::fffa")])
    });
    assert_eq!(cluster.condition("web")[..2], ["False", "AllocationFailed"]);
    cluster.kubectl(&format!("{remedy}{LINE}").splitn(7, ' ').collect::<Vec<_>>());
    cluster.wait_announced("web");
    let first = cluster.wait_owner("web", "the Service is announced", |_| true);
    let told = format!("Normal IPAllocated assigned 10.77.0.240 and fd77::240 from pool default, announced by {first} on eth0 (layer2)");
    assert!(cluster.told("web", &[&told]), "{told} in {}", cluster.events("default", "Service", "web"));
    cluster.wait_reachable("web");

    cluster.node(&first).agent_stop();
    let old = cluster.node(&first).mac("eth0");
    // The client asks nobody: it is told.
    let known = |ip: &IpAddr| cluster.client.run(&["ip", "neigh", "show", "to", &ip.to_string(), "dev", "eth0"]).expect("ip neigh show");
    cluster.wait_until(5, "the client's entries have moved without a question", || {
        cluster.addresses_of("web").iter().map(known).all(|entry| entry.contains("lladdr 02:77:") && !entry.contains(&old))
    });
    cluster.wait_reachable("web");
    let second = cluster.wait_owner("web", "another node announces it", |node| node != first);
    cluster.wait_until(10, "an Event names the node", || cluster.told("web", &["nodeAssigned", &format!("node \"{second}\"")]));
    let log = cluster.node(&first).log();
    assert!(log.contains("msg=\"lanlord has left\""), "{log}");
    assert!(!log.contains("another machine claims this address"), "its successor is no conflict: {log}");

    cluster.node(&first).agent_start("configmap:lanlord/lanlord");
    cluster.wait_until(10, "the others know it is back", || {
        cluster.node(&second).metrics().is_ok_and(|metrics| metrics.contains("lanlord_members 3"))
    });
    // The next Service goes to the node that has nothing: everybody counts with it again, and web stays.
    cluster.load_balancer("next", "ipFamilyPolicy: RequireDualStack");
    cluster.wait_owner("next", "another Service is announced, by a node without one", |node| node != second);
    cluster.wait_owner("web", "it stays where it is", |node| node == second);
    let events = cluster.events("default", "Service", "web");
    assert_eq!(events.matches("nodeAssigned").count(), 1, "{events}");

    let holder = cluster.leader().expect("one of them leads");
    let leader = holder.split('/').next().expect("node/instance");
    cluster.node(leader).agent_stop();
    cluster.load_balancer("last", "ipFamilyPolicy: RequireDualStack");
    for service in ["last", "next", "web"] {
        cluster.wait_owner(service, "a new leader assigns and places", |node| node != leader);
        cluster.wait_reachable(service);
    }
}

#[test]
fn journey_with_external_traffic_policy_local() {
    let cluster = Cluster::start(&Options::default());
    cluster.configure("addresses", LINE);
    for node in ["n2", "n3"] {
        cluster.node(node).agent_start("configmap:lanlord/lanlord");
    }
    cluster.backend("web", &["n1"]);
    cluster.load_balancer("web", "externalTrafficPolicy: Local, ipFamilyPolicy: RequireDualStack");
    let silent_because = |reason: &str, words: &str| {
        cluster.wait_until(10, &format!("not announced: {reason}, {words}"), || {
            let [status, why, message] = cluster.condition("web");
            (status.as_str(), why.as_str()) == ("False", reason) && message.contains(words)
        });
        cluster.wait_until(5, "nobody answers", || cluster.addresses_of("web").iter().all(|ip| cluster.client.owner_of(*ip).is_none()));
        assert!(cluster.announcer("web").is_none());
    };
    silent_because("NoLocalEndpoint", "the nodes with ready pods (n1) cannot announce");
    let client_is_seen = |owner: &str| {
        for (ip, client) in cluster.addresses_of("web").into_iter().zip(["10.77.0.100", "fd77::100"]) {
            let expected = format!("pod=web-{owner} node={owner} client={client}");
            cluster.wait_until(10, &expected, || cluster.client.http(&url(ip)).as_ref() == Ok(&expected));
        }
    };
    for (from, to) in [("n1", "n2"), ("n2", "n3")] {
        cluster.backend("web", &[to]);
        cluster.kubectl(&["delete", "pod", &format!("web-{from}"), "--wait=false"]);
        cluster.wait_owner("web", "the owner is where the endpoint is", |node| node == to);
        client_is_seen(to);
    }
    cluster.kubectl(&["delete", "pod", "web-n3"]);
    silent_because("NoServingEndpoint", "the Service has no endpoints; check that its selector matches running pods");
    cluster.backend("web", &["n2"]);
    cluster.wait_announced("web");
    client_is_seen("n2");
}

/// MetalLB's documents: one pool for everybody on n1, one for who asks for it on nodes of a rack.
fn metallb(interface: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: lan, namespace: metallb-system}}\n\
         spec: {{addresses: [10.77.0.240-10.77.0.245, 'fd77::240-fd77::245']}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: rack, namespace: metallb-system}}\n\
         spec: {{addresses: [10.77.0.250/32], autoAssign: false}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: lan, namespace: metallb-system}}\n\
         spec: {{ipAddressPools: [lan], interfaces: [{interface}], nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: n1}}}}]}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: rack, namespace: metallb-system}}\n\
         spec: {{ipAddressPools: [rack], nodeSelectors: [{{matchExpressions: [{{key: rack, operator: In, values: [nine]}}]}}]}}\n"
    )
}

#[test]
fn journey_with_the_documents_of_metallb_on_chosen_nodes() {
    let cluster = Cluster::start(&Options { proxy_mode_of: vec![("n1", "iptables")], ..Options::default() });
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.configure("metallb.yaml", &metallb("eth0"));
    for node in cluster.nodes() {
        node.agent_start_in_cluster("configmap:lanlord/lanlord");
    }
    cluster.load_balancer("web", "ipFamilyPolicy: RequireDualStack");
    cluster.load_balancer("asks", "ipFamilyPolicy: SingleStack");
    cluster.kubectl(&["annotate", "service", "asks", "metallb.io/address-pool=rack"]);
    cluster.wait_owner("web", "the node of the selector announces it, through kube-proxy in iptables mode", |node| node == "n1");
    cluster.wait_reachable("web");
    let asks_says = |reason: &str, words: &str| {
        cluster.wait_until(10, &format!("asks: {reason}, {words}"), || {
            let [status, why, message] = cluster.condition("asks");
            (status.as_str(), why.as_str()) == ("False", reason) && message.contains(words)
        });
    };
    asks_says("NoNodeMatch", "no running node matches the nodeSelectors for pool rack (rack=nine)");
    assert_eq!(cluster.addresses_of("asks"), [address("10.77.0.250")]);
    assert_eq!(cluster.client.owner_of(address("10.77.0.250")), None);
    cluster.kubectl(&["label", "node", "n2", "rack=nine"]);
    cluster.wait_owner("asks", "the node with the label announces it", |node| node == "n2");
    cluster.wait_reachable("asks");

    cluster.configure("metallb.yaml", &metallb("eth7"));
    cluster.wait_until(10, "an interface that no node has", || cluster.condition("web")[1] == "NoInterface");
    assert!(cluster.condition("web")[2].contains("eth7"), "{:?}", cluster.condition("web"));
    cluster.wait_until(5, "nobody answers", || cluster.addresses_of("web").iter().all(|ip| cluster.client.owner_of(*ip).is_none()));
}

#[test]
fn journey_away_from_a_node_that_is_out_of_service_and_from_one_that_is_deleted() {
    let cluster = Cluster::start(&Options::default());
    cluster.configure("addresses", LINE);
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.agents_start();
    cluster.load_balancer("web", "ipFamilyPolicy: RequireDualStack");
    let first = cluster.wait_owner("web", "it is announced", |_| true);
    // As of a node that is switched off: nobody there hears of the taint.
    cluster.node(&first).agent_pause();
    cluster.kubectl(&["taint", "node", &first, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"]);
    let second = cluster.wait_owner("web", "it is announced by a node in service", |node| node != first);
    cluster.wait_reachable("web");
    cluster.node(&second).agent_pause();
    cluster.kubectl(&["delete", "node", &second]);
    cluster.wait_owner("web", "it is announced by the node that is left", |node| node != first && node != second);
    cluster.wait_reachable("web");
}
