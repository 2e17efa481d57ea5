//! MetalLB's rules of layer 2 (reference §3, scenarios §7.1), each as a table of what a person would write and who announces then, by
//! `lanlord plan`. Where MetalLB has a bug or no rule, Lanlord's own stands in the name.

use serde_json::{Value, json};

use crate::scenario::{annotated, assert_announced, candidates, dual, endpoints, l2, member, node, nodes, pool, service};

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const TWO: &str = "metallb.io/loadBalancerIPs";

fn pools() -> String {
    pool("p", "192.168.1.240-192.168.1.250, 'fd00::240-fd00::250'", "")
}

fn host(name: &str) -> String {
    format!("{{matchLabels: {{kubernetes.io/hostname: {name}}}}}")
}

fn zone(name: &str) -> String {
    format!("{{matchLabels: {{zone: {name}}}}}")
}

/// n1 and n3 in zone a, n2 in zone b; n3 has an ssd.
fn zoned() -> Vec<Value> {
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let of = [("n1", json!({"zone": "a"})), ("n2", json!({"zone": "b"})), ("n3", json!({"zone": "a", "disk": "ssd"}))];
    of.into_iter().map(|(name, it)| node(name, labels(it))).collect()
}

/// All have eth0 in the network of the pool, n1 and n2 eth1 without an address, n2 wlan0 in the network as well.
fn members() -> Vec<Value> {
    vec![
        member("n1", &[("eth0", &["192.168.1.11/24", "fd00::11/64"]), ("eth1", &[])]),
        member("n2", &[("wlan0", &["192.168.1.112/24"]), ("eth0", &["192.168.1.12/24", "fd00::12/64"]), ("eth1", &[])]),
        member("n3", &[("eth0", &["192.168.1.13/24", "fd00::13/64"])]),
    ]
}

/// Service `a` with endpoints everywhere, and `more` on it.
fn served(more: Value) -> Vec<Value> {
    vec![service(1, "a", more), endpoints("a", &["n1", "n2", "n3"], &json!({"ready": true}))]
}

fn all(advertisements: &[String]) -> String {
    pools() + &advertisements.concat()
}

/// `192.168.1.240` of Service `a` on these nodes.
fn who(advertisements: &[String], nodes: Vec<Value>) -> String {
    candidates(&all(advertisements), &[nodes, members(), served(Value::Null)].concat(), "192.168.1.240")
}

#[test]
fn endpoints_3_1_that_can_serve_are_ready_or_not_said_or_serving_while_they_end() {
    let none = "a -: not announced: the Service has endpoints, but none is ready";
    let local = "a -: not announced: externalTrafficPolicy is Local and the nodes with ready pods";
    let table: [(&str, &str, Vec<Value>, &str); 12] = [
        ("no slice", "Cluster", vec![], "a -: not announced: the Service has no EndpointSlice yet"),
        ("an empty slice", "Cluster", vec![endpoints("a", &[], &json!({}))], "a -: not announced: the Service has no endpoints"),
        ("nothing said", "Cluster", vec![endpoints("a", &["n2"], &json!({}))], "a n1"),
        ("null", "Cluster", vec![endpoints("a", &["n2"], &json!({"ready": null}))], "a n1"),
        ("not ready", "Cluster", vec![endpoints("a", &["n2"], &json!({"ready": false}))], none),
        ("not serving", "Cluster", vec![endpoints("a", &["n2"], &json!({"ready": false, "serving": false, "terminating": true}))], none),
        ("ending", "Cluster", vec![endpoints("a", &["n2"], &json!({"ready": false, "serving": true, "terminating": true}))], "a n1"),
        // `publishNotReadyAddresses` makes them ready in the slice.
        ("published", "Cluster", vec![endpoints("a", &["n2"], &json!({"ready": true, "serving": false}))], "a n1"),
        ("local", "Local", vec![endpoints("a", &["n3"], &json!({}))], "a n3"),
        (
            "local, of two slices",
            "Local",
            vec![endpoints("a", &["n3"], &json!({"ready": false})), endpoints("a", &["n2"], &json!({}))],
            "a n2",
        ),
        ("local, elsewhere", "Local", vec![endpoints("a", &["n9"], &json!({}))], local),
        ("local, ending", "Local", vec![endpoints("a", &["n2"], &json!({"ready": false, "serving": true}))], "a n2"),
    ];
    for (what, policy, slices, expected) in table {
        let services = vec![service(1, "a", json!({"spec": {"externalTrafficPolicy": policy}}))];
        assert_announced(what, &all(&[l2("l", "")]), &[nodes(), services, slices].concat(), &[expected]);
    }
    let mut nowhere = endpoints("a", &["n1"], &json!({}));
    nowhere["endpoints"][0].as_object_mut().unwrap().remove("nodeName");
    for (policy, expected) in
        [("Cluster", "a n1"), ("Local", "a -: not announced: externalTrafficPolicy is Local and no endpoint has a node")]
    {
        let services = vec![service(1, "a", json!({"spec": {"externalTrafficPolicy": policy}})), nowhere.clone()];
        assert_announced("no node", &all(&[l2("l", "")]), &[nodes(), services].concat(), &[expected]);
    }
}

#[test]
fn candidates_3_2_without_excluded_and_unavailable_nodes_and_excluded_ones_when_there_is_no_other() {
    let labelled = |name: &str, value: &str| node(name, json!({"metadata": {"labels": {EXCLUDED: value}}}));
    let status = |name: &str, ready: &str, unavailable: &str| {
        let conditions = json!([{"type": "Ready", "status": ready}, {"type": "NetworkUnavailable", "status": unavailable}]);
        node(name, json!({"status": {"conditions": conditions}}))
    };
    let cordoned = |name: &str| node(name, json!({"spec": {"unschedulable": true}}));
    let tainted = |key: &str| node("n1", json!({"spec": {"taints": [{"key": key, "effect": "NoExecute"}]}}));
    let plain = |name: &str| node(name, Value::Null);
    let table = [
        ("all", nodes(), "n1 n2 n3"),
        ("excluded", vec![labelled("n1", ""), plain("n2"), plain("n3")], "n2 n3"),
        ("excluded by any value", vec![labelled("n1", "false"), plain("n2"), labelled("n3", "x")], "n2"),
        ("all are excluded: MetalLB announces nothing", vec![labelled("n1", ""), labelled("n2", ""), labelled("n3", "")], "n1 n2 n3"),
        ("unavailable", vec![status("n1", "True", "True"), plain("n2"), status("n3", "True", "Unknown")], "n2 n3"),
        (
            "excluded, and the others unavailable",
            vec![labelled("n1", ""), status("n2", "True", "True"), status("n3", "True", "True")],
            "n1",
        ),
        ("not ready is a preference", vec![status("n1", "False", "False"), plain("n2"), status("n3", "Unknown", "False")], "n1 n2 n3"),
        ("cordoned is a preference", vec![cordoned("n1"), plain("n2"), plain("n3")], "n1 n2 n3"),
        ("out of service: MetalLB goes on", vec![tainted("node.kubernetes.io/out-of-service"), plain("n2"), plain("n3")], "n2 n3"),
        ("another taint", vec![tainted("node.kubernetes.io/unreachable"), plain("n2"), plain("n3")], "n1 n2 n3"),
        ("without a Node object", vec![plain("n2"), plain("n3")], "n2 n3"),
    ];
    for (what, nodes, expected) in table {
        assert_eq!(who(&[l2("l", "")], nodes), expected, "{what}");
    }
    let objects = [vec![status("n1", "True", "True")], members(), served(Value::Null)].concat();
    let why = "a -: not announced: every node that could announce it has the condition NetworkUnavailable";
    assert_announced("all unavailable", &all(&[l2("l", "")]), &objects, &[why]);
}

#[test]
fn node_selectors_1_2_any_of_several_of_any_advertisement_and_a_hard_limit() {
    let table = [
        (vec![l2("l", &format!("nodeSelectors: [{}]", host("n2")))], "n2"),
        (vec![l2("l", &format!("nodeSelectors: [{}, {}]", host("n2"), zone("a")))], "n1 n2 n3"),
        (vec![l2("l", "nodeSelectors: [{matchLabels: {zone: a, disk: ssd}}]")], "n3"),
        (vec![l2("l", "nodeSelectors: [{matchExpressions: [{key: disk, operator: DoesNotExist}]}]")], "n1 n2"),
        (vec![l2("l", "nodeSelectors: [{matchExpressions: [{key: zone, operator: NotIn, values: [a, c]}]}]")], "n2"),
        (vec![l2("l", "nodeSelectors: [{}]")], "n1 n2 n3"),
        (vec![l2("l", &format!("nodeSelectors: [{}]", host("n1"))), l2("m", &format!("nodeSelectors: [{}]", host("n3")))], "n1 n3"),
        (
            vec![
                l2("l", &format!("nodeSelectors: [{}]", host("n1"))),
                l2("m", &format!("ipAddressPools: [none], nodeSelectors: [{}]", host("n3"))),
            ],
            "n1",
        ),
    ];
    for (advertisements, expected) in table {
        assert_eq!(who(&advertisements, zoned()), expected, "{advertisements:?}");
    }
    let objects = [zoned(), members(), served(Value::Null)].concat();
    let why = "a -: not announced: no running node matches the nodeSelectors for pool p (zone=c); label a node or change the selectors";
    assert_announced("none", &all(&[l2("l", &format!("nodeSelectors: [{}]", zone("c")))]), &objects, &[why]);
}

#[test]
fn interfaces_1_2_and_3_4_are_united_over_what_applies_to_the_node_and_decide_before_the_owner() {
    let on = |interfaces: &str, node: &str| format!("interfaces: [{interfaces}], nodeSelectors: [{}]", host(node));
    let table: Vec<(&str, Vec<String>, &str, &str)> = vec![
        ("none named: the wired one of the network", vec![l2("l", &format!("nodeSelectors: [{}]", host("n2")))], "n2", "a n2/eth0"),
        ("one named", vec![l2("l", "interfaces: [eth1]")], "n1 n2", "a n1/eth1"),
        ("one that only one node has: MetalLB elects any node", vec![l2("l", "interfaces: [wlan0]")], "n2", "a n2/wlan0"),
        ("several named", vec![l2("l", &on("wlan0, eth0, eth7", "n2"))], "n2", "a n2/wlan0+eth0"),
        ("two advertisements", vec![l2("l", &on("eth0", "n2")), l2("m", "interfaces: [eth1]")], "n1 n2", "a n1/eth1"),
        ("two for one node", vec![l2("l", &on("eth0", "n2")), l2("m", &on("eth1", "n2"))], "n2", "a n2/eth0+eth1"),
        (
            "one names, one does not",
            vec![l2("l", &on("eth1", "n1")), l2("m", &format!("nodeSelectors: [{}]", host("n1")))],
            "n1",
            "a n1/eth0+eth1",
        ),
        ("each node its own", vec![l2("l", &on("eth1", "n1")), l2("m", &on("eth0", "n3"))], "n1 n3", "a n1/eth1"),
        ("of another pool", vec![l2("l", "interfaces: [eth1], ipAddressPools: [none]"), l2("m", &on("eth0", "n3"))], "n3", "a n3/eth0"),
    ];
    let objects = [zoned(), members(), served(Value::Null)].concat();
    for (what, advertisements, expected, owner) in table {
        assert_eq!(candidates(&all(&advertisements), &objects, "192.168.1.240"), expected, "{what}");
        assert_announced(what, &all(&advertisements), &objects, &[owner]);
    }
    for (spec, why) in [
        ("interfaces: [eth7]".to_owned(), "no node has interface eth7 up; correct `interfaces` in the advertisement or connect it"),
        (on("eth1", "n3"), "no node has interface eth1 up"),
    ] {
        assert_announced(&spec, &all(&[l2("l", &spec)]), &objects, &[&format!("a -: not announced: {why}")]);
    }
}

#[test]
fn an_address_outside_all_networks_is_announced_on_named_interfaces_only_and_excluded_ones_count_only_when_named() {
    let on_docker = vec![node("n1", Value::Null), member("n1", &[("docker0", &["172.17.0.1/16"]), ("eth0", &["192.168.1.11/24"])])];
    let bare = vec![node("n1", Value::Null), member("n1", &[("docker0", &["172.17.0.1/16"])])];
    let slice = endpoints("a", &["n1"], &json!({}));
    let table = [
        (
            "10.9.9.9/32",
            "",
            &on_docker,
            "a -: not announced: 10.9.9.9 is on no node's network (192.168.1.0/24); use a pool inside one of them",
        ),
        ("10.9.9.9/32", "interfaces: [eth0]", &on_docker, "a n1/eth0"),
        ("172.17.0.9/32", "", &on_docker, "a -: not announced: 172.17.0.9 is on no node's network"),
        (
            "172.17.0.9/32",
            "",
            &bare,
            "a -: not announced: 172.17.0.9 is on no node's network: the nodes have no IPv4 network (excludeInterfaces aside)",
        ),
        ("172.17.0.9/32", "interfaces: [docker0]", &on_docker, "a n1/docker0"),
    ];
    for (addresses, spec, cluster, expected) in table {
        let config = pool("p", addresses, "") + &l2("l", spec);
        let objects = [cluster.clone(), vec![service(1, "a", Value::Null), slice.clone()]].concat();
        assert_announced(&format!("{addresses} {spec}"), &config, &objects, &[expected]);
    }
}

#[test]
fn service_selectors_1_2_any_of_several_and_together_with_the_nodes_of_the_same_advertisement() {
    let app = |name: &str| format!("{{matchLabels: {{app: {name}}}}}");
    let advertisements = [
        l2("one", &format!("serviceSelectors: [{}], nodeSelectors: [{}]", app("a"), host("n1"))),
        l2("two", &format!("serviceSelectors: [{}, {}], nodeSelectors: [{}]", app("b"), app("both"), host("n2"))),
        l2("three", &format!("serviceSelectors: [{}], nodeSelectors: [{}]", app("both"), host("n3"))),
        l2("four", &format!("serviceSelectors: [{}], nodeSelectors: [{}]", app("c"), zone("nowhere"))),
    ];
    let why = "the serviceSelectors of every advertisement of pool p leave this Service out; change its labels or the selectors";
    let table = [
        ("a", "a n1/eth0".to_owned()),
        ("b", "a n2/eth0".to_owned()),
        ("both", "a n3/eth0".to_owned()),
        ("c", "a -: not announced: no running node matches the nodeSelectors for pool p (zone=nowhere)".to_owned()),
        ("d", format!("a -: not announced: {why}")),
    ];
    for (label, expected) in table {
        let objects = [zoned(), members(), served(json!({"metadata": {"labels": {"app": label}}}))].concat();
        assert_announced(label, &all(&advertisements), &objects, &[&expected]);
    }
    let labelled = [zoned(), members(), served(json!({"metadata": {"labels": {"app": "both"}}}))].concat();
    assert_eq!(candidates(&all(&advertisements), &labelled, "192.168.1.240"), "n2 n3", "one of both announces it");
}

#[test]
fn preferred_node_selectors_1_2_weights_add_up_over_advertisements_that_reach_node_and_service_and_limit_nothing() {
    let prefer = |weight: u8, selector: &str| format!("{{weight: {weight}, preference: {selector}}}");
    let preferring = |entries: &[String]| format!("preferredNodeSelectors: [{}]", entries.join(", "));
    let ssd = "{matchLabels: {disk: ssd}}";
    let table: Vec<(&str, Vec<String>, &str)> = vec![
        ("one", vec![l2("l", &preferring(&[prefer(1, &zone("b"))]))], "n2"),
        ("the heavier", vec![l2("l", &preferring(&[prefer(10, &zone("b")), prefer(20, ssd)]))], "n3"),
        ("the sum", vec![l2("l", &preferring(&[prefer(30, &zone("b")), prefer(20, ssd), prefer(11, &zone("a"))]))], "n3"),
        (
            "the sum over several",
            vec![
                l2("l", &preferring(&[prefer(50, &zone("b"))])),
                l2("m", &preferring(&[prefer(30, &zone("a"))])),
                l2("n", &preferring(&[prefer(21, ssd)])),
            ],
            "n3",
        ),
        (
            "two alike stack",
            vec![
                l2("l", &preferring(&[prefer(50, ssd)])),
                l2("m", &preferring(&[prefer(30, &zone("b"))])),
                l2("n", &preferring(&[prefer(30, &zone("b"))])),
            ],
            "n2",
        ),
        ("nobody matches", vec![l2("l", &preferring(&[prefer(100, &zone("c"))]))], "n1"),
        ("all match", vec![l2("l", &preferring(&[prefer(100, "{}")]))], "n1"),
        (
            "the hard limit wins",
            vec![l2("l", &format!("nodeSelectors: [{}], {}", host("n1"), preferring(&[prefer(100, &zone("b"))])))],
            "n1",
        ),
        (
            "an advertisement scores its own nodes only",
            vec![l2("l", &format!("nodeSelectors: [{}], {}", zone("b"), preferring(&[prefer(100, ssd)]))), l2("m", "")],
            "n1",
        ),
        (
            "and its own Services only",
            vec![l2("l", &format!("serviceSelectors: [{{matchLabels: {{app: x}}}}], {}", preferring(&[prefer(100, ssd)]))), l2("m", "")],
            "n1",
        ),
        ("of another pool", vec![l2("l", &format!("ipAddressPools: [none], {}", preferring(&[prefer(100, ssd)]))), l2("m", "")], "n1"),
    ];
    let objects = [zoned(), members(), served(Value::Null)].concat();
    for (what, advertisements, expected) in table {
        assert_announced(what, &all(&advertisements), &objects, &[&format!("a {expected}/eth0")]);
    }
    let advertisements = [l2("l", &preferring(&[prefer(100, &zone("b"))]))];
    let gone: Vec<Value> = zoned().into_iter().filter(|node| node["metadata"]["name"] != "n2").collect();
    assert_announced("it is gone", &all(&advertisements), &[gone, members(), served(Value::Null)].concat(), &["a n1/eth0"]);
    let local = served(json!({"spec": {"externalTrafficPolicy": "Local"}}));
    let local = vec![local[0].clone(), endpoints("a", &["n1"], &json!({}))];
    assert_announced("no pod there", &all(&advertisements), &[zoned(), members(), local].concat(), &["a n1/eth0"]);
}

#[test]
fn advertisements_1_2_reach_pools_by_name_or_label_and_forgotten_ones_are_told() {
    let config = |spec: &str| {
        pools().replace("name: p", "name: p, labels: {team: red}") + &pool("q", "192.168.1.200/32", "autoAssign: false") + &l2("l", spec)
    };
    let none = "a -: not announced: no advertisement reaches pool p; add an L2Advertisement for it, or one without ipAddressPools, which means all";
    let table = [
        ("", "a n1/eth0"),
        ("ipAddressPools: [p]", "a n1/eth0"),
        ("ipAddressPools: [q]", none),
        ("ipAddressPools: [gone]", none),
        ("ipAddressPoolSelectors: [{matchLabels: {team: red}}]", "a n1/eth0"),
        ("ipAddressPoolSelectors: [{matchLabels: {team: blue}}]", none),
        ("ipAddressPools: [q], ipAddressPoolSelectors: [{matchLabels: {team: blue}}]", none),
        ("ipAddressPools: [q], ipAddressPoolSelectors: [{matchLabels: {team: blue}}, {matchLabels: {team: red}}]", "a n1/eth0"),
        ("ipAddressPools: [p], ipAddressPoolSelectors: [{matchLabels: {team: red}}]", "a n1/eth0"),
    ];
    let objects = [zoned(), members(), served(Value::Null)].concat();
    for (spec, expected) in table {
        assert_announced(spec, &config(spec), &objects, &[expected]);
    }
    assert_announced("none at all: MetalLB announces nothing", &pools(), &objects, &["a n1/eth0"]);
}

#[test]
fn sharers_and_both_families_7_1_are_announced_by_one_node_also_under_service_selectors() {
    let shared = |port: u16, label: &str| {
        let mut more = annotated(&[(TWO, "192.168.1.245"), ("metallb.io/allow-shared-ip", "k")]);
        more["metadata"]["labels"] = json!({"app": label});
        more["spec"] = json!({"ports": [{"port": port, "protocol": "TCP"}]});
        more
    };
    let pair = vec![service(1, "a", shared(80, "a")), service(2, "b", shared(81, "b"))];
    let slices = vec![endpoints("a", &["n1"], &json!({})), endpoints("b", &["n3"], &json!({}))];
    let only_a = l2("l", &format!("serviceSelectors: [{{matchLabels: {{app: a}}}}], nodeSelectors: [{}]", host("n3")));
    let objects = [zoned(), members(), pair, slices].concat();
    assert_announced("MetalLB announces neither", &all(&[only_a]), &objects, &["a n3/eth0", "b n3/eth0"]);
    let some = vec![
        member("n1", &[("eth0", &["192.168.1.11/24"])]),
        member("n2", &[("eth0", &["192.168.1.12/24", "fd00::12/64"])]),
        member("n3", &[("eth0", &["fd00::13/64"])]),
    ];
    let dual = served(dual("RequireDualStack", Value::Null));
    let objects = [zoned(), some, dual.clone()].concat();
    assert_announced("who has both networks", &all(&[l2("l", "")]), &objects, &["a n2/eth0"]);
    let apart = vec![member("n1", &[("eth0", &["192.168.1.11/24"])]), member("n3", &[("eth0", &["fd00::13/64"])])];
    let half = "a n1/eth0: fd00::240 not announced: it is on none of the networks of n1";
    assert_announced("nobody has both", &all(&[l2("l", "")]), &[zoned(), apart, dual].concat(), &[half]);
}
