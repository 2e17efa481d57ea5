//! MetalLB's rules of assignment (reference §2), each as a table of what a person would write and what `lanlord plan` says then. Where
//! MetalLB has a bug or no rule, Lanlord's own stands in the name.

use serde_json::{Value, json};

use crate::scenario::{annotated, assert_assigned, dual, l2, namespace, nodes, pool, service};

const IPS: &str = "metallb.io/loadBalancerIPs";
const OLD_IPS: &str = "metallb.universe.tf/loadBalancerIPs";
const OWN_IPS: &str = "lanlord.dev/loadBalancerIPs";
const POOL: &str = "metallb.io/address-pool";

/// Pool `p` of both families, `q` on request only, `z` for the Services of namespace `zoo`.
fn pools() -> String {
    pool("p", "192.168.1.240-192.168.1.250, 'fd00::240-fd00::250'", "")
        + &pool("q", "192.168.1.100-192.168.1.110", "autoAssign: false")
        + &pool("z", "192.168.1.60/30", "serviceAllocation: {namespaces: [zoo]}")
        + &l2("l", "")
}

/// One Service called `a` with this on it.
fn alone(more: Value) -> Vec<Value> {
    let mut objects = nodes();
    objects.push(service(1, "a", more));
    objects
}

#[test]
fn annotations_2_1_every_spelling_the_newer_prefix_wins_and_a_blank_one_says_nothing() {
    let at = |ip: &str| json!({"spec": {"loadBalancerIP": ip}});
    let both = |annotations: &[(&str, &str)], ip: &str| {
        let mut both = annotated(annotations);
        both["spec"] = at(ip)["spec"].take();
        both
    };
    let table: Vec<(Value, &str)> = vec![
        (annotated(&[(IPS, "192.168.1.245")]), "a 192.168.1.245 p"),
        (annotated(&[(OLD_IPS, "192.168.1.245")]), "a 192.168.1.245 p"),
        (annotated(&[(OWN_IPS, "192.168.1.245")]), "a 192.168.1.245 p"),
        (annotated(&[("kube-vip.io/loadbalancerIPs", "192.168.1.245")]), "a 192.168.1.245 p"),
        (at("192.168.1.245"), "a 192.168.1.245 p"),
        (annotated(&[(IPS, "192.168.1.245"), (OLD_IPS, "192.168.1.246")]), "a 192.168.1.245 p"),
        (annotated(&[(OWN_IPS, " "), (IPS, ""), (OLD_IPS, "192.168.1.246")]), "a 192.168.1.246 p"),
        (annotated(&[(IPS, "192.168.1.245 , 192.168.1.246")]), "a 192.168.1.245,192.168.1.246 p"),
        (annotated(&[(IPS, "192.168.1.246,192.168.1.246")]), "a 192.168.1.246 p"),
        (annotated(&[(POOL, "q")]), "a 192.168.1.100 q"),
        (annotated(&[("metallb.universe.tf/address-pool", "q")]), "a 192.168.1.100 q"),
        (annotated(&[("lanlord.dev/address-pool", " q ")]), "a 192.168.1.100 q"),
        (annotated(&[("lanlord.dev/address-pool", ""), (POOL, "q")]), "a 192.168.1.100 q"),
        (annotated(&[(POOL, "p"), ("metallb.universe.tf/address-pool", "q")]), "a 192.168.1.240 p"),
        (both(&[(POOL, "q")], "192.168.1.105"), "a 192.168.1.105 q"),
        (both(&[(POOL, "q")], "192.168.1.245"), "a - -: 192.168.1.245 was asked for from pool q, but is in pool p; change one of the two"),
        (both(&[(IPS, "192.168.1.245")], "192.168.1.245"), "a 192.168.1.245 p"),
        (
            both(&[(IPS, "192.168.1.245")], "192.168.1.246"),
            "a - -: annotation loadBalancerIPs and spec.loadBalancerIP ask for different addresses; remove one of them",
        ),
    ];
    for (more, expected) in table {
        assert_assigned(&more.to_string(), &pools(), &alone(more), &[expected]);
    }
}

#[test]
fn requests_2_3_that_cannot_be_met_are_told_and_fall_back_to_nothing_else() {
    let table = [
        (annotated(&[(IPS, "10.0.0.1")]), "10.0.0.1 was asked for, but is in no pool; add it to one, or ask for another address"),
        (annotated(&[(IPS, "192.168.1.245,10.0.0.1")]), "10.0.0.1 was asked for, but is in no pool"),
        (annotated(&[(IPS, "192.168.1.0/24")]), "\"192.168.1.0/24\" in annotation loadBalancerIPs is not an IP address"),
        (annotated(&[(IPS, "192.168.1.240-192.168.1.245")]), "\"192.168.1.240-192.168.1.245\" in annotation loadBalancerIPs is not"),
        (annotated(&[(IPS, "fd00::245")]), "fd00::245 was asked for, but the Service has no IPv6 cluster IP"),
        (annotated(&[(IPS, "192.168.1.245,fd00::245")]), "fd00::245 was asked for, but the Service has no IPv6 cluster IP"),
        (annotated(&[(IPS, "192.168.1.61")]), "pool z is not for this Service (its serviceAllocation)"),
        (annotated(&[(POOL, "z")]), "pool z is not for this Service (its serviceAllocation)"),
        (annotated(&[(POOL, "none")]), "pool none was asked for, but there is only z, p, q"),
        (json!({"spec": {"clusterIPs": ["None"]}}), "the Service has no cluster IP (clusterIP: None)"),
        (json!({"spec": {"clusterIPs": []}}), "the Service has no cluster IP"),
    ];
    for (more, expected) in table {
        assert_assigned(&more.to_string(), &pools(), &alone(more), &[&format!("a - -: {expected}")]);
    }
}

#[test]
fn spec_fields_2_2_types_and_classes_that_are_not_ours_are_left_alone() {
    let table: [(Value, &[&str]); 9] = [
        (json!({"spec": {"type": "ClusterIP"}}), &[]),
        (json!({"spec": {"type": "NodePort"}}), &[]),
        (json!({"spec": {"loadBalancerClass": "metallb"}}), &[]),
        (json!({"spec": {"loadBalancerClass": "lanlord.dev/lb"}}), &["a 192.168.1.240 p"]),
        (annotated(&[("lanlord.dev/ignore", "true")]), &[]),
        (annotated(&[("lanlord.dev/ignore", "True")]), &[]),
        (annotated(&[("lanlord.dev/ignore", "false")]), &["a 192.168.1.240 p"]),
        (json!({"metadata": {"deletionTimestamp": "2026-01-02T00:00:00Z"}}), &[]),
        (json!({"spec": {"clusterIPs": null, "clusterIP": "10.96.0.9"}}), &["a 192.168.1.240 p"]),
    ];
    for (more, expected) in table {
        assert_assigned(&more.to_string(), &pools(), &alone(more), expected);
    }
}

#[test]
fn a_manifest_without_a_namespace_is_of_the_one_called_default() {
    let mut bare = service(1, "a", Value::Null);
    bare["metadata"].as_object_mut().unwrap().remove("namespace");
    let config = pool("d", "192.168.1.240/32", "serviceAllocation: {namespaces: [default]}");
    assert_assigned("bare", &config, &[nodes(), vec![bare]].concat(), &["a 192.168.1.240 d"]);
}

#[test]
fn what_a_status_says_2_3_and_2_7_is_kept_as_far_as_pools_and_wishes_allow_and_the_older_one_wins() {
    let shows = |ips: &[&str]| json!({"status": {"loadBalancer": {"ingress": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()}}});
    let shows_and = |ips: &[&str], mut more: Value| {
        more["status"] = shows(ips)["status"].take();
        more
    };
    let table: Vec<(&str, Vec<Value>, &[&str])> = vec![
        ("kept", vec![shows(&["192.168.1.245"])], &["a 192.168.1.245 p"]),
        ("kept although the pool is on request only", vec![shows(&["192.168.1.105"])], &["a 192.168.1.105 q"]),
        ("in no pool", vec![shows(&["10.0.0.1"])], &["a 192.168.1.240 p"]),
        ("in a pool for others", vec![shows(&["192.168.1.61"])], &["a 192.168.1.240 p"]),
        ("of the wrong family", vec![shows(&["fd00::245"])], &["a 192.168.1.240 p"]),
        ("two of one family", vec![shows(&["192.168.1.245", "192.168.1.246"])], &["a 192.168.1.245 p"]),
        ("a host name only", vec![json!({"status": {"loadBalancer": {"ingress": [{"hostname": "x.org"}]}}})], &["a 192.168.1.240 p"]),
        ("another one asked for", vec![shows_and(&["192.168.1.245"], annotated(&[(IPS, "192.168.1.246")]))], &["a 192.168.1.246 p"]),
        ("another pool asked for", vec![shows_and(&["192.168.1.245"], annotated(&[(POOL, "q")]))], &["a 192.168.1.100 q"]),
        ("two show the same", vec![shows(&["192.168.1.245"]), shows(&["192.168.1.245"])], &["a 192.168.1.245 p", "b 192.168.1.240 p"]),
        (
            "who shows it goes before who asks for it",
            vec![annotated(&[(IPS, "192.168.1.245")]), shows(&["192.168.1.245"])],
            &["a - -: 192.168.1.245 was asked for, but belongs to Service default/b", "b 192.168.1.245 p"],
        ),
        (
            "who asks goes before who takes what comes",
            vec![Value::Null, annotated(&[(IPS, "192.168.1.240")])],
            &["a 192.168.1.241 p", "b 192.168.1.240 p"],
        ),
        (
            "one of two families is completed",
            vec![shows_and(&["fd00::245"], dual("RequireDualStack", Value::Null))],
            &["a 192.168.1.240,fd00::245 p"],
        ),
    ];
    for (what, services, expected) in table {
        let services = services.into_iter().zip(1..).map(|(more, number)| service(number, ["a", "b"][number as usize - 1], more));
        assert_assigned(what, &pools(), &[nodes(), services.collect()].concat(), expected);
    }
}

#[test]
fn sharing_2_4_key_ports_policy_selector_and_pool_and_never_without_a_key() {
    let shared = |port: u16, protocol: &str, annotations: &[(&str, &str)], policy: Value| {
        let mut more = annotated(annotations);
        more["metadata"]["annotations"][IPS] = json!("192.168.1.245");
        more["spec"] = json!({"ports": [{"port": port, "protocol": protocol}]});
        more["spec"].as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
        more
    };
    let (key, old, own) = ("metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip", "lanlord.dev/allow-shared-ip");
    let (cluster, local) = (json!({}), json!({"externalTrafficPolicy": "Local", "selector": {"app": "x"}}));
    let bare = json!({"externalTrafficPolicy": "Local", "selector": null});
    let other = json!({"externalTrafficPolicy": "Local", "selector": {"app": "y"}});
    let first = || shared(80, "TCP", &[(key, "k")], cluster.clone());
    let no = "b - -: 192.168.1.245 was asked for, but";
    let table = [
        ("other port", first(), shared(81, "TCP", &[(key, "k")], cluster.clone()), "b 192.168.1.245 p".to_owned()),
        ("other protocol", first(), shared(80, "UDP", &[(key, "k")], cluster.clone()), "b 192.168.1.245 p".to_owned()),
        ("sctp is one, too", first(), shared(80, "SCTP", &[(old, "k")], cluster.clone()), "b 192.168.1.245 p".to_owned()),
        ("keys under any prefix", first(), shared(81, "TCP", &[(own, "k")], cluster.clone()), "b 192.168.1.245 p".to_owned()),
        ("same port", first(), first(), format!("{no} cannot be shared with Service default/a: both have port TCP 80")),
        (
            "other key",
            first(),
            shared(81, "TCP", &[(key, "K")], cluster.clone()),
            format!("{no} cannot be shared with Service default/a: their annotations"),
        ),
        ("blank key", first(), shared(81, "TCP", &[(key, "")], cluster.clone()), format!("{no} belongs to Service default/a")),
        (
            "no key there",
            shared(80, "TCP", &[], cluster.clone()),
            shared(81, "TCP", &[(key, "k")], cluster.clone()),
            format!("{no} cannot be shared with Service default/a: that Service has no annotation"),
        ),
        (
            "local and cluster",
            first(),
            shared(81, "TCP", &[(key, "k")], local.clone()),
            format!("{no} cannot be shared with Service default/a: one has externalTrafficPolicy Local"),
        ),
        (
            "local alike",
            shared(80, "TCP", &[(key, "k")], local.clone()),
            shared(81, "TCP", &[(key, "k")], local.clone()),
            "b 192.168.1.245 p".to_owned(),
        ),
        (
            "local and unlike",
            shared(80, "TCP", &[(key, "k")], local.clone()),
            shared(81, "TCP", &[(key, "k")], other),
            format!("{no} cannot be shared with Service default/a: both have externalTrafficPolicy Local"),
        ),
        ("local without selector and cluster", first(), shared(81, "TCP", &[(key, "k")], bare.clone()), "b 192.168.1.245 p".to_owned()),
        (
            "local without selector and with",
            shared(80, "TCP", &[(key, "k")], local),
            shared(81, "TCP", &[(key, "k")], bare),
            format!("{no} cannot be shared with Service default/a: both have externalTrafficPolicy Local"),
        ),
    ];
    for (what, one, two, expected) in table {
        let services = vec![service(1, "a", one), service(2, "b", two)];
        assert_assigned(what, &pools(), &[nodes(), services].concat(), &["a 192.168.1.245 p", &expected]);
    }
}

#[test]
fn families_2_5_from_one_pool_else_from_two_and_the_second_from_the_pool_of_the_first() {
    let (four, six) = (pool("four", "192.168.1.240-192.168.1.250", ""), pool("six", "'fd00::240-fd00::250'", ""));
    let both = pool("both", "192.168.1.100-192.168.1.110, 'fd00::100-fd00::110'", "");
    let own = pool("own", "192.168.1.60-192.168.1.69, 'fd00::60-fd00::69'", "autoAssign: false");
    let has = |ip: &str, mut more: Value| {
        more["status"] = json!({"loadBalancer": {"ingress": [{"ip": ip}]}});
        more
    };
    let (prefer, require) = ("PreferDualStack", "RequireDualStack");
    let six_first = json!({"spec": {"clusterIPs": ["fd96::9", "10.96.0.9"]}});
    let table: Vec<(&str, Vec<&str>, Value, &str)> = vec![
        ("single IPv4", vec![&six, &four], Value::Null, "192.168.1.240 four"),
        ("single IPv6", vec![&four, &six], json!({"spec": {"clusterIPs": ["fd96::9"]}}), "fd00::240 six"),
        ("single IPv6, none there", vec![&four], json!({"spec": {"clusterIPs": ["fd96::9"]}}), "- -: no pool has IPv6 addresses"),
        ("require, one pool has both", vec![&four, &six, &both], dual(require, Value::Null), "192.168.1.100,fd00::100 both"),
        ("require, from two", vec![&six, &four], dual(require, Value::Null), "192.168.1.240,fd00::240 four,six"),
        ("require, one is missing", vec![&four], dual(require, Value::Null), "- -: no pool has IPv6 addresses"),
        (
            "require, one cluster IP",
            vec![&both],
            json!({"spec": {"ipFamilyPolicy": require}}),
            "- -: the Service requires dual stack, but has an IPv4 cluster IP only",
        ),
        ("prefer, one cluster IP", vec![&both], json!({"spec": {"ipFamilyPolicy": prefer}}), "192.168.1.100 both"),
        ("prefer, one pool has both", vec![&four, &both], dual(prefer, Value::Null), "192.168.1.100,fd00::100 both"),
        ("prefer, IPv4 only", vec![&four], dual(prefer, Value::Null), "192.168.1.240 four"),
        ("prefer, IPv6 first", vec![&four, &six], dual(prefer, six_first.clone()), "fd00::240,192.168.1.240 four,six"),
        ("prefer, IPv6 only", vec![&six], dual(prefer, six_first), "fd00::240 six"),
        (
            "the second from the pool of the first",
            vec![&six, &both],
            has("192.168.1.105", dual(prefer, Value::Null)),
            "192.168.1.105,fd00::100 both",
        ),
        ("it does not jump", vec![&both, &four], has("192.168.1.245", dual(prefer, Value::Null)), "192.168.1.245,fd00::100 both,four"),
        (
            "prefer, IPv4 pinned: MetalLB refuses it",
            vec![&four, &six],
            dual(prefer, annotated(&[(IPS, "192.168.1.245")])),
            "192.168.1.245,fd00::240 four,six",
        ),
        (
            "prefer, IPv4 pinned in a pool on request",
            vec![&both, &own],
            dual(prefer, annotated(&[(IPS, "192.168.1.65")])),
            "192.168.1.65,fd00::60 own",
        ),
        (
            "require, IPv4 pinned",
            vec![&four, &six],
            dual(require, annotated(&[(IPS, "192.168.1.245")])),
            "- -: the Service requires dual stack, but an address of only one family was asked for",
        ),
        (
            "require, both pinned in two pools: MetalLB refuses it",
            vec![&four, &six],
            dual(require, annotated(&[(IPS, "fd00::245,192.168.1.245")])),
            "192.168.1.245,fd00::245 four,six",
        ),
        (
            "require, a pool of one family named",
            vec![&four, &six],
            dual(require, annotated(&[(POOL, "four")])),
            "- -: no IPv6 addresses are in four, and this Service may use no other pool",
        ),
        ("prefer, a pool of one family named", vec![&four, &six], dual(prefer, annotated(&[(POOL, "four")])), "192.168.1.240 four"),
    ];
    for (what, pools, more, expected) in table {
        assert_assigned(what, &pools.concat(), &alone(more), &[&format!("a {expected}")]);
    }
}

#[test]
fn pool_order_2_6_by_priority_then_as_written_spilling_over_and_never_at_random() {
    let of = |name: &str, third: u8, more: &str| pool(name, &format!("192.168.{third}.10-192.168.{third}.20"), more);
    let allocation = |what: &str| format!("serviceAllocation: {{{what}}}");
    let table: Vec<(&str, Vec<String>, &str)> = vec![
        ("as written", vec![of("z", 2, ""), of("a", 3, "")], "192.168.2.10 z"),
        ("priority", vec![of("z", 2, &allocation("priority: 20")), of("a", 3, &allocation("priority: 10"))], "192.168.3.10 a"),
        ("0 and none are last", vec![of("z", 2, &allocation("priority: 0")), of("b", 3, &allocation("priority: 100"))], "192.168.3.10 b"),
        ("a tie: as written", vec![of("z", 2, &allocation("priority: 5")), of("a", 3, &allocation("priority: 5"))], "192.168.2.10 z"),
        ("for some before for all", vec![of("a", 2, ""), of("z", 3, &allocation("namespaces: [default]"))], "192.168.3.10 z"),
        ("a priority alone counts", vec![of("a", 2, ""), of("z", 3, &allocation("priority: 100"))], "192.168.3.10 z"),
        ("on request only", vec![of("a", 2, "autoAssign: false"), of("z", 3, "")], "192.168.3.10 z"),
        ("on request only, nothing else", vec![of("a", 2, "autoAssign: false")], "- -: no pool is used unasked for this Service"),
        (
            "all on request, though meant for it",
            vec![of("a", 2, &format!("autoAssign: false, {}", allocation("namespaces: [default]"))), of("z", 3, "")],
            "192.168.3.10 z",
        ),
        ("buggy ones left out", vec![pool("a", "192.168.2.255-192.168.3.1", "avoidBuggyIPs: true")], "192.168.3.1 a"),
        ("ranges as written", vec![pool("a", "192.168.9.5/32, 192.168.2.5/32", "")], "192.168.9.5 a"),
    ];
    for (what, pools, expected) in table {
        assert_assigned(what, &pools.concat(), &alone(Value::Null), &[&format!("a {expected}")]);
    }
    let full = pool("small", "192.168.2.10/32", &allocation("namespaces: [default]")) + &of("rest", 3, "");
    let services = vec![service(1, "a", Value::Null), service(2, "b", Value::Null)];
    assert_assigned("spills", &full, &[nodes(), services].concat(), &["a 192.168.2.10 small", "b 192.168.3.10 rest"]);
}

#[test]
fn buggy_addresses_1_1_are_refused_by_name_where_the_pool_avoids_them_in_ipv4_only() {
    let config = pool("p", "192.168.2.0/24, 'fd00::/120'", "avoidBuggyIPs: true") + &pool("q", "192.168.3.0/24", "");
    let six = |ip: &str| json!({"spec": {"clusterIPs": ["fd96::9"], "loadBalancerIP": ip}});
    let four = |ip: &str| json!({"spec": {"loadBalancerIP": ip}});
    let table = [
        (four("192.168.2.0"), "- -: 192.168.2.0 was asked for, but pool p avoids addresses that end in .0 or .255"),
        (four("192.168.2.255"), "- -: 192.168.2.255 was asked for, but pool p avoids addresses that end in .0 or .255"),
        (four("192.168.2.1"), "192.168.2.1 p"),
        (four("192.168.3.0"), "192.168.3.0 q"),
        (six("fd00::ff"), "fd00::ff p"),
        (Value::Null, "192.168.2.1 p"),
    ];
    for (more, expected) in table {
        assert_assigned(&more.to_string(), &config, &alone(more), &[&format!("a {expected}")]);
    }
}

#[test]
fn service_allocation_1_1_namespaces_by_name_or_label_and_services_by_label_and_what_matches_nothing_is_for_nobody() {
    let team = |value: &str| format!("{{matchLabels: {{team: {value}}}}}");
    let app = |value: &str| format!("{{matchLabels: {{app: {value}}}}}");
    let not = "{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}";
    let mine = "192.168.2.10";
    // Who gets an address of the pool: a Service of `default` (team red) with app=web, one there without, one of `zoo` (team blue) with.
    let table: [(String, [bool; 3]); 12] = [
        ("{}".to_owned(), [true, true, true]),
        ("{namespaces: [zoo]}".to_owned(), [false, false, true]),
        (format!("{{namespaceSelectors: [{}]}}", team("red")), [true, true, false]),
        (format!("{{namespaceSelectors: [{}, {}]}}", team("red"), team("blue")), [true, true, true]),
        (format!("{{namespaces: [zoo], namespaceSelectors: [{}]}}", team("red")), [true, true, true]),
        (format!("{{serviceSelectors: [{}]}}", app("web")), [true, false, true]),
        (format!("{{serviceSelectors: [{}, {}]}}", app("db"), app("web")), [true, false, true]),
        (format!("{{serviceSelectors: [{not}]}}"), [false, true, false]),
        (format!("{{namespaces: [zoo], serviceSelectors: [{}]}}", app("web")), [false, false, true]),
        (format!("{{namespaceSelectors: [{}], serviceSelectors: [{}]}}", team("red"), app("web")), [true, false, false]),
        (format!("{{namespaceSelectors: [{}]}}", team("green")), [false, false, false]),
        (format!("{{namespaceSelectors: [{}], serviceSelectors: [{}]}}", team("green"), app("web")), [false, false, false]),
    ];
    for (allocation, expected) in table {
        let config = pool("rest", "192.168.3.0/24", "avoidBuggyIPs: true")
            + &pool("mine", "192.168.2.10/24", &format!("avoidBuggyIPs: true, serviceAllocation: {allocation}"));
        let web = json!({"metadata": {"labels": {"app": "web"}}});
        for ((name, labels), is_mine) in [("a", web.clone()), ("a", Value::Null), ("zoo/a", web.clone())].into_iter().zip(expected) {
            let around = vec![namespace("default", "team", "red"), namespace("zoo", "team", "blue")];
            let plain = service(1, name, labels.clone());
            let pool = if is_mine { "192.168.2.1 mine" } else { "192.168.3.1 rest" };
            assert_assigned(&allocation, &config, &[nodes(), around.clone(), vec![plain]].concat(), &[&format!("{name} {pool}")]);
            // By name it is no other than unasked.
            for (asked, address) in [(json!({"spec": {"loadBalancerIP": mine}}), mine), (annotated(&[(POOL, "mine")]), "192.168.2.1")] {
                let mut asking = service(1, name, asked);
                asking["metadata"]["labels"] = labels["metadata"]["labels"].clone();
                let expected =
                    if is_mine { format!("{name} {address} mine") } else { format!("{name} - -: pool mine is not for this Service") };
                assert_assigned(&allocation, &config, &[nodes(), around.clone(), vec![asking]].concat(), &[&expected]);
            }
        }
    }
}
