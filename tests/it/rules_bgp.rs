//! MetalLB's rules of BGP (reference §1.3, §4.1, §4.2, scenarios §7.2), each as a table of what a person would write and what the routers
//! are told then, by `lanlord plan`. Where MetalLB has a bug or no rule, Lanlord's own stands in the name.

use serde_json::{Value, json};

use crate::scenario::{
    annotated, assert_announced, assert_assigned, document, dual, endpoints, l2, member, node, nodes, plan, pool, service,
};

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

fn bgp(name: &str, spec: &str) -> String {
    document("BGPAdvertisement", name, spec)
}

/// A router of another AS at 192.168.1.1, unless `more` says otherwise.
fn peer(name: &str, more: &str) -> String {
    let address = if more.contains("peerAddress") { "" } else { "peerAddress: 192.168.1.1, " };
    let asn = if more.contains("peerASN") { "" } else { "peerASN: 64512, " };
    document("BGPPeer", name, &format!("myASN: 64513, {asn}{address}{more}"))
}

/// A router of our own AS at 192.168.1.2: what it is told of local preference is seen.
fn inside(name: &str) -> String {
    peer(name, "peerASN: 64513, peerAddress: 192.168.1.2")
}

fn pools() -> String {
    pool("p", "10.1.0.0/24, 'fd01::/112'", "")
}

/// One router of each kind.
fn routers() -> String {
    peer("ex", "") + &inside("in")
}

fn host(name: &str) -> String {
    format!("nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: {name}}}}}]")
}

fn app(name: &str) -> String {
    format!("serviceSelectors: [{{matchLabels: {{app: {name}}}}}]")
}

fn members() -> Vec<Value> {
    let of = |number: u8| {
        let addresses = [format!("192.168.1.1{number}/24"), format!("fd00::1{number}/64")];
        member(&format!("n{number}"), &[("eth0", &addresses.iter().map(String::as_str).collect::<Vec<_>>())])
    };
    (1..=3).map(of).collect()
}

fn cluster(services: Vec<Value>) -> Vec<Value> {
    [nodes(), members(), services].concat()
}

/// Service `name` with endpoints on all nodes, and `more` on it.
fn served(number: u32, name: &str, more: Value) -> Vec<Value> {
    vec![service(number, name, more), endpoints(name, &["n1", "n2", "n3"], &json!({"ready": true}))]
}

fn labelled(number: u32, name: &str, label: &str) -> Vec<Value> {
    served(number, name, json!({"metadata": {"labels": {"app": label}}}))
}

/// `peer@node prefix attributes`, a line for each route; an attribute that has its default is not shown.
fn told(config: &str, objects: &[Value]) -> Vec<String> {
    let report = plan(config, objects);
    let mut lines = Vec::new();
    for peer in report["peers"].as_array().unwrap() {
        for route in peer["routes"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let mut line = format!("{}@{} {}", text(&peer["name"]), text(&peer["node"]), text(&route["prefix"]));
            let defaults = [
                ("pref", "localPref", json!(100)),
                ("med", "med", Value::Null),
                ("prepend", "prepend", json!(0)),
                ("weight", "weight", Value::Null),
            ];
            for (name, field, default) in defaults {
                if !route[field].is_null() && route[field] != default {
                    line += &format!(" {name}={}", route[field]);
                }
            }
            for community in route["communities"].as_array().unwrap() {
                line += &format!(" {}", text(community));
            }
            lines.push(line);
        }
    }
    lines
}

fn assert_lines(what: &str, is: &[String], expected: &[&str]) {
    assert!(is == expected, "{what}\n--- expected\n{}\n--- is\n{}", expected.join("\n"), is.join("\n"));
}

fn assert_told(what: &str, config: &str, objects: &[Value], expected: &[&str]) {
    assert_lines(what, &told(config, objects), expected);
}

/// What n1 tells the routers, without its name.
fn assert_n1(what: &str, config: &str, objects: &[Value], expected: &[&str]) {
    let of_n1: Vec<String> = told(config, objects).into_iter().filter(|it| it.contains("@n1 ")).map(|it| it.replace("@n1", "")).collect();
    assert_lines(what, &of_n1, expected);
}

/// The nodes that tell `ex` of the first address, with `more` on Service `a`.
fn who(advertisements: &[String], objects: &[Value]) -> String {
    let lines = told(&(pools() + &routers() + &advertisements.concat()), objects);
    let nodes = lines.iter().filter_map(|line| line.strip_prefix("ex@")?.strip_suffix(" 10.1.0.0/32"));
    nodes.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_node_4_1_tells_every_peer_of_every_address_and_no_layer_2_is_needed() {
    let config = pool("p", "10.1.0.0/24", "") + &routers() + &bgp("r", "");
    let objects = cluster([served(1, "a", Value::Null), served(2, "b", Value::Null)].concat());
    let each = ["ex@n1", "ex@n2", "ex@n3", "in@n1", "in@n2", "in@n3"].map(|it| [format!("{it} 10.1.0.0/32"), format!("{it} 10.1.0.1/32")]);
    let each = each.concat();
    assert_told("all", &config, &objects, &each.iter().map(String::as_str).collect::<Vec<_>>());
    assert_announced("nothing is amiss", &config, &objects, &["a -", "b -"]);
    let report = plan(&config, &objects);
    assert_eq!((&report["addresses"][0]["bgp"], &report["addresses"][0]["candidates"]), (&json!(["n1", "n2", "n3"]), &json!([])));
    assert_eq!(report["peers"][0]["routes"][0]["nextHop"], "192.168.1.11");
    assert_eq!(report["problems"], json!([]), "an address on nobody's network is reached through a router");
}

#[test]
fn node_selectors_1_3_of_advertisements_unite_and_those_of_peers_limit_who_speaks() {
    let objects = cluster(served(1, "a", Value::Null));
    let table = [
        (vec![bgp("r", &host("n2"))], "n2"),
        (vec![bgp("r", &host("n2")), bgp("s", &host("n3"))], "n2 n3"),
        (
            vec![bgp("r", "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}, {matchLabels: {kubernetes.io/hostname: n3}}]")],
            "n1 n3",
        ),
        (vec![bgp("r", "nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [n1]}]}]")], "n2 n3"),
        (vec![bgp("r", "nodeSelectors: [{}]")], "n1 n2 n3"),
        (vec![bgp("r", &host("n1")), bgp("s", "")], "n1 n2 n3"),
        (vec![bgp("r", &host("n9"))], ""),
    ];
    for (advertisements, expected) in table {
        assert_eq!(who(&advertisements, &objects), expected, "{advertisements:?}");
    }
    let config = pools() + &peer("near", &host("n1")) + &peer("far", &format!("peerAddress: 192.168.1.3, {}", host("n2"))) + &bgp("r", "");
    assert_told("each node its router", &config, &objects, &["far@n2 10.1.0.0/32", "near@n1 10.1.0.0/32"]);
    let report = plan(&config, &objects);
    let sessions: Vec<String> = report["peers"].as_array().unwrap().iter().map(|it| format!("{}{}", it["name"], it["node"])).collect();
    assert_eq!(sessions, ["\"far\"\"n2\"", "\"near\"\"n1\""], "n3 speaks with nobody");
}

#[test]
fn peers_1_3_are_all_unless_named_and_a_name_that_nobody_has_is_no_one() {
    let objects = cluster(served(1, "a", Value::Null));
    let table: [(&[String], &[&str]); 6] = [
        (&[bgp("r", "")], &["ex 10.1.0.0/32", "in 10.1.0.0/32"]),
        (&[bgp("r", "peers: [in]")], &["in 10.1.0.0/32"]),
        (&[bgp("r", "peers: [in, ex]")], &["ex 10.1.0.0/32", "in 10.1.0.0/32"]),
        (&[bgp("r", "peers: [in]"), bgp("s", "peers: [ex], communities: ['1:1']")], &["ex 10.1.0.0/32 1:1", "in 10.1.0.0/32"]),
        (&[bgp("r", "peers: [in]"), bgp("s", "communities: ['1:1']")], &["ex 10.1.0.0/32 1:1", "in 10.1.0.0/32 1:1"]),
        (&[bgp("r", "peers: [nobody]")], &[]),
    ];
    for (advertisements, expected) in table {
        assert_n1(&advertisements.concat(), &(pools() + &routers() + &advertisements.concat()), &objects, expected);
    }
}

#[test]
fn service_selectors_1_3_and_pools_by_name_or_label_say_what_is_announced() {
    let objects = cluster([labelled(1, "a", "web"), labelled(2, "b", "db")].concat());
    let with =
        |advertisements: &[String]| pools().replace("name: p", "name: p, labels: {team: red}") + &routers() + &advertisements.concat();
    let (a, b) = ("ex 10.1.0.0/32", "ex 10.1.0.1/32");
    let table: [(&str, Vec<&str>); 8] = [
        (&app("web"), vec![a]),
        ("serviceSelectors: [{matchLabels: {app: web}}, {matchLabels: {app: db}}]", vec![a, b]),
        (&app("none"), vec![]),
        ("ipAddressPools: [p]", vec![a, b]),
        ("ipAddressPools: [q]", vec![]),
        ("ipAddressPoolSelectors: [{matchLabels: {team: red}}]", vec![a, b]),
        ("ipAddressPoolSelectors: [{matchLabels: {team: blue}}]", vec![]),
        ("ipAddressPools: [q], ipAddressPoolSelectors: [{matchLabels: {team: red}}]", vec![a, b]),
    ];
    for (spec, expected) in table {
        assert_n1(spec, &with(&[bgp("r", &format!("peers: [ex], {spec}"))]), &objects, &expected);
    }
    let two = [bgp("r", &format!("peers: [ex], communities: ['1:1'], {}", app("web"))), bgp("s", "peers: [ex], communities: ['2:2']")];
    assert_n1("both apply to one Service", &with(&two), &objects, &["ex 10.1.0.0/32 1:1 2:2", "ex 10.1.0.1/32 2:2"]);
}

#[test]
fn aggregates_1_3_stand_while_any_address_inside_is_announced_and_beside_other_lengths() {
    let dual = |number, name: &str| served(number, name, dual("RequireDualStack", Value::Null));
    let objects = cluster([dual(1, "a"), dual(2, "b")].concat());
    let router = peer("ex", "dualStackAddressFamily: true");
    let table: [(&[String], &[&str]); 4] = [
        (&[bgp("r", "")], &["ex 10.1.0.0/32", "ex 10.1.0.1/32", "ex fd01::/128", "ex fd01::1/128"]),
        (&[bgp("r", "aggregationLength: 24, aggregationLengthV6: 120")], &["ex 10.1.0.0/24", "ex fd01::/120"]),
        (&[bgp("r", "aggregationLength: 31")], &["ex 10.1.0.0/31", "ex fd01::/128", "ex fd01::1/128"]),
        (
            &[bgp("r", "aggregationLength: 24, aggregationLengthV6: 112"), bgp("s", "communities: [no-advertise]")],
            &[
                "ex 10.1.0.0/24",
                "ex 10.1.0.0/32 65535:65282",
                "ex 10.1.0.1/32 65535:65282",
                "ex fd01::/112",
                "ex fd01::/128 65535:65282",
                "ex fd01::1/128 65535:65282",
            ],
        ),
    ];
    for (advertisements, expected) in table {
        assert_n1(&advertisements.concat(), &(pools() + &router + &advertisements.concat()), &objects, expected);
    }
    let config = pools() + &router + &bgp("r", "aggregationLength: 24");
    let idle = |name: &str| endpoints(name, &["n1"], &json!({"ready": false}));
    let (a, b) = (service(1, "a", Value::Null), service(2, "b", Value::Null));
    let one = cluster(vec![a.clone(), b.clone(), idle("a"), endpoints("b", &["n1"], &json!({}))]);
    assert_n1("one of two is served", &config, &one, &["ex 10.1.0.0/24"]);
    assert_n1("none is", &config, &cluster(vec![a, b, idle("a"), idle("b")]), &[]);
}

#[test]
fn routes_4_2_that_meet_on_one_prefix_unite_their_communities_and_a_value_goes_before_none() {
    let shared = |port: u16, label: &str| {
        let mut more = annotated(&[("metallb.io/loadBalancerIPs", "10.1.0.5"), ("metallb.io/allow-shared-ip", "k")]);
        more["metadata"]["labels"] = json!({"app": label});
        more["spec"] = json!({"ports": [{"port": port, "protocol": "TCP"}]});
        more
    };
    let objects = cluster([served(1, "a", shared(80, "web")), served(2, "b", shared(81, "db"))].concat());
    let selected = |name: &str, label: &str, spec: &str| bgp(name, &format!("{}, {spec}", app(label)));
    let table: [(&str, &[String], &[&str]); 5] = [
        (
            "communities",
            &[selected("r", "web", "communities: ['1:1', 'large:1:2:3']"), selected("s", "db", "communities: ['2:2', '1:1']")],
            &["ex 10.1.0.5/32 1:1 2:2 large:1:2:3", "in 10.1.0.5/32 1:1 2:2 large:1:2:3"],
        ),
        (
            "MetalLB announces it no more: the greater local preference",
            &[selected("r", "web", "localPref: 200"), selected("s", "db", "localPref: 300")],
            &["ex 10.1.0.5/32", "in 10.1.0.5/32 pref=300"],
        ),
        ("one has none", &[selected("r", "web", "localPref: 50"), bgp("s", "")], &["ex 10.1.0.5/32", "in 10.1.0.5/32 pref=50"]),
        (
            "the shorter path",
            &[selected("r", "web", "asPathPrepend: 4"), selected("s", "db", "asPathPrepend: 2"), bgp("t", "")],
            &["ex 10.1.0.5/32 prepend=2", "in 10.1.0.5/32"],
        ),
        ("one of the two Services", &[selected("r", "db", "localPref: 7")], &["ex 10.1.0.5/32", "in 10.1.0.5/32 pref=7"]),
    ];
    for (what, advertisements, expected) in table {
        assert_n1(what, &(pools() + &routers() + &advertisements.concat()), &objects, expected);
    }
}

#[test]
fn attributes_1_3_local_preference_stays_within_the_as_and_the_path_grows_outside_only() {
    let objects = cluster(served(1, "a", Value::Null));
    let community = document("Community", "names", "communities: [{name: vpn, value: '64512:9'}, {name: big, value: 'large:1:2:3'}]");
    let table = [
        ("localPref: 250", vec!["ex 10.1.0.0/32", "in 10.1.0.0/32 pref=250"]),
        ("localPref: 0", vec!["ex 10.1.0.0/32", "in 10.1.0.0/32"]),
        ("asPathPrepend: 3", vec!["ex 10.1.0.0/32 prepend=3", "in 10.1.0.0/32"]),
        (
            "communities: [vpn, big, no-export, '64512:100', 'large:4200000000:0:1']",
            vec![
                "ex 10.1.0.0/32 64512:9 64512:100 65535:65281 large:1:2:3 large:4200000000:0:1",
                "in 10.1.0.0/32 64512:9 64512:100 65535:65281 large:1:2:3 large:4200000000:0:1",
            ],
        ),
    ];
    for (spec, expected) in table {
        assert_n1(spec, &(pools() + &routers() + &community + &bgp("r", spec)), &objects, &expected);
    }
    let seen_as = pools() + &peer("ex", "peerASN: 64600, localASN: 64600") + &bgp("r", "localPref: 9, asPathPrepend: 2");
    assert_n1("it is of the AS it sees us in", &seen_as, &objects, &["ex 10.1.0.0/32 pref=9"]);
}

#[test]
fn endpoints_4_1_cluster_needs_any_that_serves_and_local_one_on_the_node() {
    let table: [(&str, &str, Vec<Value>, &str); 11] = [
        ("no slice", "Cluster", vec![], ""),
        ("an empty slice", "Cluster", vec![endpoints("a", &[], &json!({}))], ""),
        ("nothing said", "Cluster", vec![endpoints("a", &["n2"], &json!({}))], "n1 n2 n3"),
        ("not ready", "Cluster", vec![endpoints("a", &["n2"], &json!({"ready": false}))], ""),
        ("ending", "Cluster", vec![endpoints("a", &["n2"], &json!({"ready": false, "serving": true, "terminating": true}))], "n1 n2 n3"),
        ("published", "Cluster", vec![endpoints("a", &["n2"], &json!({"ready": true, "serving": false}))], "n1 n2 n3"),
        ("on no member", "Cluster", vec![endpoints("a", &["n9"], &json!({}))], "n1 n2 n3"),
        ("local", "Local", vec![endpoints("a", &["n1", "n3"], &json!({}))], "n1 n3"),
        (
            "local, of two slices",
            "Local",
            vec![endpoints("a", &["n3"], &json!({"ready": false})), endpoints("a", &["n2"], &json!({}))],
            "n2",
        ),
        ("local, ending", "Local", vec![endpoints("a", &["n2"], &json!({"ready": false, "serving": true}))], "n2"),
        ("local, elsewhere", "Local", vec![endpoints("a", &["n9"], &json!({}))], ""),
    ];
    for (what, policy, slices, expected) in table {
        let services = [vec![service(1, "a", json!({"spec": {"externalTrafficPolicy": policy}}))], slices].concat();
        assert_eq!(who(&[bgp("r", "")], &cluster(services)), expected, "{what}");
    }
    let mut nowhere = endpoints("a", &["n1"], &json!({}));
    nowhere["endpoints"][0].as_object_mut().unwrap().remove("nodeName");
    for (policy, expected) in [("Cluster", "n1 n2 n3"), ("Local", "")] {
        let services = vec![service(1, "a", json!({"spec": {"externalTrafficPolicy": policy}})), nowhere.clone()];
        assert_eq!(who(&[bgp("r", "")], &cluster(services)), expected, "no node, {policy}");
    }
}

#[test]
fn nodes_4_1_excluded_unavailable_or_without_an_agent_tell_nothing_and_excluded_ones_when_there_is_no_other() {
    let excluded = |name: &str| node(name, json!({"metadata": {"labels": {EXCLUDED: ""}}}));
    let conditions = |ready: &str, unavailable: &str| json!({"status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "NetworkUnavailable", "status": unavailable}]}});
    let status = |name: &str, ready: &str, unavailable: &str| node(name, conditions(ready, unavailable));
    let tainted = |key: &str| node("n1", json!({"spec": {"taints": [{"key": key, "effect": "NoExecute"}]}}));
    let cordoned = |name: &str| node(name, json!({"spec": {"unschedulable": true}}));
    let plain = |name: &str| node(name, Value::Null);
    let all = || vec![bgp("r", "")];
    let table = [
        ("excluded", vec![excluded("n1"), plain("n2"), plain("n3")], all(), "n2 n3"),
        ("all are excluded: MetalLB announces nothing", vec![excluded("n1"), excluded("n2"), excluded("n3")], all(), "n1 n2 n3"),
        ("those that are let are excluded", vec![excluded("n1"), plain("n2"), plain("n3")], vec![bgp("r", &host("n1"))], "n1"),
        ("unavailable", vec![status("n1", "True", "True"), plain("n2"), status("n3", "True", "Unknown")], all(), "n2 n3"),
        ("excluded, others unavailable", vec![excluded("n1"), status("n2", "True", "True"), status("n3", "True", "True")], all(), "n1"),
        ("not Ready, cordoned", vec![status("n1", "False", "False"), cordoned("n2"), plain("n3")], all(), "n1 n2 n3"),
        ("out of service: MetalLB goes on", vec![tainted("node.kubernetes.io/out-of-service"), plain("n2"), plain("n3")], all(), "n2 n3"),
        ("another taint", vec![tainted("node.kubernetes.io/unreachable"), plain("n2"), plain("n3")], all(), "n1 n2 n3"),
        ("without a Node object", vec![plain("n2"), plain("n3")], all(), "n2 n3"),
    ];
    for (what, nodes, advertisements, expected) in table {
        let objects = [nodes, members(), served(1, "a", Value::Null)].concat();
        assert_eq!(who(&advertisements, &objects), expected, "{what}");
    }
    let objects = [nodes(), members()[..2].to_vec(), served(1, "a", Value::Null)].concat();
    assert_eq!(who(&all(), &objects), "n1 n2", "no agent on n3");
}

#[test]
fn services_2_2_of_another_class_ignored_or_being_deleted_are_withdrawn() {
    let had = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.1.0.0", "ipMode": "VIP"}]}}});
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "ip.10.1.0.0", "namespace": "lanlord", "resourceVersion": "7",
            "annotations": {"lanlord.dev/service-uid": "default-a", "lanlord.dev/pool": "p"}},
        "spec": {"holderIdentity": "default/a"}});
    let with = |more: Value| {
        let mut service = served(1, "a", had.clone());
        for (key, value) in more.as_object().unwrap() {
            for (field, value) in value.as_object().unwrap() {
                service[0][key][field] = value.clone();
            }
        }
        cluster([service, vec![lease.clone()]].concat())
    };
    let table = [
        ("ours", json!({}), "n1 n2 n3"),
        ("our class", json!({"spec": {"loadBalancerClass": "lanlord.dev/lb"}}), "n1 n2 n3"),
        ("another class", json!({"spec": {"loadBalancerClass": "example.com/other"}}), ""),
        ("ignored", json!({"metadata": {"annotations": {"lanlord.dev/ignore": "true"}}}), ""),
        (
            "being deleted, with a finalizer",
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/linger"]}}),
            "",
        ),
    ];
    for (what, more, expected) in table {
        assert_eq!(who(&[bgp("r", "")], &with(more)), expected, "{what}");
    }
}

#[test]
fn families_1_4_go_over_the_session_of_their_address_or_over_both_and_what_is_left_out_is_told() {
    let objects = cluster(served(1, "a", dual("RequireDualStack", Value::Null)));
    let v6 = "peerAddress: 'fd00::1'";
    let table: [(&[String], &[&str]); 5] = [
        (&[peer("ex", "")], &["ex 10.1.0.0/32"]),
        (&[peer("ex", v6)], &["ex fd01::/128"]),
        (&[peer("ex", ""), peer("six", v6)], &["ex 10.1.0.0/32", "six fd01::/128"]),
        (&[peer("ex", "dualStackAddressFamily: true")], &["ex 10.1.0.0/32", "ex fd01::/128"]),
        (&[peer("six", &format!("{v6}, dualStackAddressFamily: true"))], &["six 10.1.0.0/32", "six fd01::/128"]),
    ];
    for (routers, expected) in table {
        assert_n1(&routers.concat(), &(pools() + &routers.concat() + &bgp("r", "")), &objects, expected);
    }
    let config = pools() + &peer("ex", "") + &bgp("r", "");
    let why = "a -: fd01:: not announced: no session that it could go to carries IPv6; set dualStackAddressFamily: true on a peer";
    assert_announced("MetalLB tells nobody", &config, &objects, &[why]);
    let problem = "nobody can announce the IPv6 addresses of pool p: no session with a router carries that family; set dualStackAddressFamily: true on a peer, or add one at an IPv6 address";
    assert_eq!(plan(&config, &objects)["problems"], json!([problem]));
    let both = pools() + &peer("six", &format!("{v6}, dualStackAddressFamily: true")) + &bgp("r", "");
    let report = plan(&both, &objects);
    let next_hops: Vec<&Value> = report["peers"][0]["routes"].as_array().unwrap().iter().map(|route| &route["nextHop"]).collect();
    assert_eq!(next_hops, [&json!("192.168.1.11"), &json!("fd00::11")]);
}

#[test]
fn a_service_s_own_wishes_are_put_on_its_addresses_but_not_on_aggregates() {
    let wishing = |annotations: &[(&str, &str)]| cluster([served(1, "a", annotated(annotations)), served(2, "b", Value::Null)].concat());
    let community = document("Community", "names", "communities: [{name: vpn, value: '64512:9'}]");
    let config = |spec: &str| pools() + &routers() + &community + &bgp("r", spec);
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);
    let table: [Row; 6] = [
        (&[("lanlord.dev/bgp-weight", "endpoints")], "peers: [ex]", &["ex 10.1.0.0/32 weight=1", "ex 10.1.0.1/32"]),
        (
            &[("lanlord.dev/bgp-communities", "vpn, no-export,large:1:2:3")],
            "peers: [ex], communities: ['1:1']",
            &["ex 10.1.0.0/32 1:1 64512:9 65535:65281 large:1:2:3", "ex 10.1.0.1/32 1:1"],
        ),
        (&[("lanlord.dev/bgp-med", "50")], "", &["ex 10.1.0.0/32 med=50", "ex 10.1.0.1/32", "in 10.1.0.0/32 med=50", "in 10.1.0.1/32"]),
        (&[("lanlord.dev/bgp-prepend", "2")], "peers: [ex], asPathPrepend: 5", &["ex 10.1.0.0/32 prepend=2", "ex 10.1.0.1/32 prepend=5"]),
        (&[("lanlord.dev/bgp-prepend", "0")], "peers: [ex], asPathPrepend: 5", &["ex 10.1.0.0/32", "ex 10.1.0.1/32 prepend=5"]),
        (
            &[
                ("lanlord.dev/bgp-med", "50"),
                ("lanlord.dev/bgp-communities", "1:1"),
                ("lanlord.dev/bgp-prepend", "2"),
                ("lanlord.dev/bgp-weight", "endpoints"),
            ],
            "peers: [ex], aggregationLength: 24",
            &["ex 10.1.0.0/24"],
        ),
    ];
    for (annotations, spec, expected) in table {
        assert_n1(&format!("{annotations:?} {spec}"), &config(spec), &wishing(annotations), expected);
    }
    for (annotation, value, why) in [
        ("bgp-communities", "1:1,nonsense", "annotation bgp-communities: \"nonsense\" is no community"),
        ("bgp-med", "-1", "annotation bgp-med: \"-1\" is no number from 0 to 4294967295"),
        ("bgp-prepend", "11", "annotation bgp-prepend: \"11\" is no number from 0 to 10"),
        ("bgp-weight", "5", "annotation bgp-weight: \"5\" is no weight; write `endpoints`"),
    ] {
        let objects = wishing(&[(&format!("lanlord.dev/{annotation}"), value)]);
        assert_announced(annotation, &config(""), &objects, &[&format!("a -: {why}"), "b -"]);
        let expected: &[&str] = if annotation == "bgp-communities" { &["ex 10.1.0.0/32 1:1"] } else { &["ex 10.1.0.0/32"] };
        let first = told(&config("peers: [ex]"), &objects)
            .into_iter()
            .filter(|it| it.starts_with("ex@n1 10.1.0.0/"))
            .map(|it| it.replace("@n1", ""));
        assert_lines("the rest counts", &first.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn why_nobody_announces_is_told_in_the_order_in_which_a_person_would_put_it_right() {
    let objects = cluster(served(1, "a", Value::Null));
    let local = cluster(vec![service(1, "a", json!({"spec": {"externalTrafficPolicy": "Local"}})), endpoints("a", &["n9"], &json!({}))]);
    let table = [
        (l2("l", "ipAddressPools: [none]") + &peer("ex", ""), &objects, "no advertisement reaches pool p"),
        (bgp("r", &app("x")) + &peer("ex", ""), &objects, "the serviceSelectors of every advertisement of pool p leave this Service out"),
        (bgp("r", ""), &objects, "no BGPPeer is there that a BGPAdvertisement of pool p is for; add one"),
        (bgp("r", "peers: [other]") + &peer("ex", ""), &objects, "no BGPPeer is there that a BGPAdvertisement of pool p is for"),
        (
            bgp("r", &host("n9")) + &peer("ex", ""),
            &objects,
            "no running node matches the nodeSelectors for pool p (kubernetes.io/hostname=n9)",
        ),
        (
            bgp("r", &host("n1")) + &peer("ex", &host("n2")),
            &objects,
            "no running node that may announce pool p speaks with a peer that it is for; bring the nodeSelectors of",
        ),
        (
            bgp("r", "") + &peer("ex", "peerAddress: 'fd00::1'"),
            &objects,
            "no session that it could go to carries IPv4; set dualStackAddressFamily: true on a peer",
        ),
        (bgp("r", "") + &peer("ex", ""), &local, "externalTrafficPolicy is Local and the nodes with ready pods (n9) cannot announce"),
    ];
    for (config, objects, why) in table {
        assert_announced(why, &(pools() + &config), objects, &[&format!("a -: not announced: {why}")]);
    }
}

#[test]
fn what_of_the_configuration_has_nothing_to_work_on_is_told_of_bgp_too() {
    let objects = cluster(vec![]);
    let table = [
        (bgp("r", "") + &peer("ex", "") + &inside("in"), vec!["nobody can announce the IPv6 addresses of pool p"]),
        (
            bgp("r", "peers: [other]") + &peer("ex", ""),
            vec!["nobody can announce pool p: its BGPAdvertisements are for no peer that there is"],
        ),
        (
            bgp("r", &host("n9")) + &peer("ex", ""),
            vec!["BGPAdvertisement r matches no node: no node has the label kubernetes.io/hostname=n9"],
        ),
        (bgp("r", "") + &peer("ex", &host("n9")), vec!["BGPPeer ex matches no node: no node has the label kubernetes.io/hostname=n9"]),
        (
            bgp("r", &host("n1")) + &peer("ex", &host("n2")),
            vec!["nobody can announce pool p: no node that its BGPAdvertisements match speaks"],
        ),
        (bgp("r", "") + &peer("ex", "dualStackAddressFamily: true"), vec![]),
        (bgp("r", "") + &peer("ex", "") + &l2("l", ""), vec![]),
        (l2("l", "") + &peer("ex", ""), vec!["nobody can announce pool p: 10.1.0.0-10.1.0.255, fd01::-fd01::ffff is on no node's network"]),
    ];
    for (config, expected) in table {
        let report = plan(&(pools() + &config), &objects);
        let problems: Vec<&str> = report["problems"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let fit = problems.len() == expected.len() && problems.iter().zip(&expected).all(|(is, expected)| is.starts_with(expected));
        assert!(fit, "{config}\n{problems:#?}");
    }
}

#[test]
fn an_address_that_only_routers_can_be_told_of_is_as_good_as_one_of_the_network() {
    let far_first = pool("p", "10.9.9.9/32, 192.168.1.240/32", "");
    let objects = cluster(served(1, "a", Value::Null));
    let table = [
        ("layer 2 only: the one on the network", l2("l", ""), "a 192.168.1.240 p"),
        ("BGP too", l2("l", "") + &bgp("r", "") + &peer("ex", ""), "a 10.9.9.9 p"),
        ("but no peer", l2("l", "") + &bgp("r", "peers: [other]") + &peer("ex", ""), "a 192.168.1.240 p"),
        ("or of no node", l2("l", "") + &bgp("r", "") + &peer("ex", &host("n9")), "a 192.168.1.240 p"),
        ("or of the other family", l2("l", "") + &bgp("r", "") + &peer("ex", "peerAddress: 'fd00::1'"), "a 192.168.1.240 p"),
    ];
    for (what, config, expected) in table {
        assert_assigned(what, &(far_first.clone() + &config), &objects, &[expected]);
    }
}

#[test]
fn pools_without_advertisement_go_both_ways_and_layer_2_and_bgp_do_not_hinder_each_other() {
    let near = pool("p", "192.168.1.240/32", "");
    let objects = cluster(served(1, "a", Value::Null));
    let config = near.clone() + &peer("ex", "");
    assert_announced("layer 2", &config, &objects, &["a n1/eth0"]);
    assert_told("BGP", &config, &objects, &["ex@n1 192.168.1.240/32", "ex@n2 192.168.1.240/32", "ex@n3 192.168.1.240/32"]);
    let config = pools() + &peer("ex", "") + &bgp("r", "") + &l2("l", "");
    assert_announced("outside all networks it goes over BGP, and all is well", &config, &objects, &["a -"]);
    let config = near + &peer("ex", "") + &bgp("r", &host("n9")) + &l2("l", "");
    assert_announced("BGP goes nowhere", &config, &objects, &["a n1/eth0"]);
}
