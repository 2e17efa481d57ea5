//! Other load balancers on the same Services, k3s ServiceLB among them, and kernels that answer for addresses (feature F10): told once,
//! with what to do; on paper too, as far as files show it.

use lanlord::facts::{Link, Links, NodeName, Service, Traces};
use lanlord::leader::left::{event, left};
use lanlord::leader::warnings::{Warning, rivals};
use lanlord::plan::OWN_CLASS;
use serde_json::{Value, json};

use crate::world::{World, config, ip, pool};
use crate::{explain, kubectl, plan_command};

const SERVICELB: &str = "printf 'disable+:\\n  - servicelb\\n' | sudo tee /etc/rancher/k3s/config.yaml.d/90-lanlord.yaml";

/// Two nodes, and `web` has .240.
fn world() -> World {
    let mut world = World::new(2, config(vec![pool("default", &["192.168.1.240-250"])]));
    world.create("web", |_| ());
    world.settle();
    world
}

/// The same with our class: not left to ServiceLB.
fn classed() -> World {
    let mut world = world();
    world.edit("web", |service| service.class = Some(OWN_CLASS.to_owned()));
    world
}

fn mark(service: &mut Service, mark: &str) {
    service.traces = Some(Box::new(Traces { ingress_by: None, later_mark: Some(mark.to_owned()) }));
}

/// The one Event after somebody else wrote `ingress`.
fn overwritten(mut world: World, by: Option<&str>, ingress: &[&str], more: impl FnOnce(&mut Service)) -> String {
    world.edit("web", |service| {
        service.ingress = ingress.iter().map(|text| ip(text)).collect();
        service.traces = Some(Box::new(Traces { ingress_by: by.map(ToOwned::to_owned), later_mark: None }));
        more(service);
    });
    let told: Vec<String> = world.settle().into_iter().filter(|event| event.starts_with("StatusOverwritten")).collect();
    let [event] = &told[..] else { panic!("{told:?}") };
    assert_eq!(world.ingress("web"), ["192.168.1.240"]);
    event.clone()
}

/// Field manager, ingress, what else it left; who it is, what to do.
type Case = (Option<&'static str>, &'static [&'static str], fn(&mut Service), &'static str, &'static str);

#[test]
fn who_overwrote_a_status_is_named_with_the_command_that_stops_it() {
    let metallb =
        |service: &mut Service| drop(service.annotations.insert("metallb.io/ip-allocated-from-pool".to_owned(), "first".to_owned()));
    let plain = |_: &mut Service| ();
    let nodes: &'static [&'static str] = &["192.168.1.11", "192.168.1.12"];
    let table: [Case; 11] = [
        (Some("k3s"), nodes, plain, "k3s ServiceLB changed the status to 192.168.1.11 and 192.168.1.12", SERVICELB),
        (
            Some("controller"),
            &["10.0.0.1"],
            metallb,
            "MetalLB changed the status to 10.0.0.1",
            "kubectl delete deployment,daemonset --all -n metallb-system --cascade=foreground",
        ),
        (Some("kube-vip-cloud-provider"), &["10.0.0.1"], plain, "kube-vip changed", "kubectl delete deployment kube-vip-cloud-provider"),
        (
            Some("cilium-operator-generic"),
            &["10.0.0.1"],
            plain,
            "Cilium's LB IPAM changed",
            "kubectl delete ciliumloadbalancerippools --all",
        ),
        (Some("cloud-provider-kind"), &["10.0.0.1"], plain, "cloud-provider-kind changed", "end the program"),
        (Some("cloud-controller-manager"), &["10.0.0.1"], plain, "the cloud controller manager changed", "service-lb-controller"),
        (
            Some("kubectl-edit"),
            &["10.0.0.1"],
            plain,
            "somebody with kubectl-edit changed",
            "kubectl annotate service -n default web lanlord.dev/loadBalancerIPs=ADDRESS",
        ),
        (Some("controller"), &["10.0.0.1"], plain, "another program (controller) changed", "lanlord.dev/ignore=true"),
        (None, &["10.0.0.1"], plain, "something else changed the status to 10.0.0.1", "--show-managed-fields"),
        (None, nodes, plain, "something else changed the status to 192.168.1.11", "--show-managed-fields"),
        (None, &[], plain, "something else changed the status to nothing", "--show-managed-fields"),
    ];
    for (by, ingress, more, what, action) in table {
        let event = overwritten(world(), by, ingress, more);
        assert!(event.contains(what) && event.contains("; 192.168.1.240 written back; ") && event.contains(action), "{by:?}: {event}");
    }
}

#[test]
fn on_k3s_node_addresses_and_an_emptied_status_are_the_work_of_servicelb_where_it_is_on() {
    for ingress in [&["192.168.1.11", "192.168.1.12"][..], &[]] {
        let mut world = classed();
        world.node("n1", |node| node.servicelb = true);
        let event = overwritten(world, None, ingress, |_| ());
        assert!(event.contains("k3s ServiceLB changed the status") && event.contains("switch it off on n1: sudo mkdir"), "{event}");
    }
    let mut world = classed();
    world.node("n1", |node| node.servicelb = true);
    let event = overwritten(world, None, &["10.0.0.1"], |_| ());
    assert!(event.contains("something else"), "no node has that address: {event}");
}

fn leader(world: &World, links: &Links) -> Vec<Warning> {
    rivals(&world.config, &world.snapshot, &NodeName::new("n2"), links)
}

#[test]
fn servicelb_that_is_on_is_told_once_with_all_servers_and_only_where_there_are_services_of_ours() {
    let mut world = classed();
    assert_eq!(leader(&world, &Links::default()), []);
    for node in ["n1", "n2"] {
        world.node(node, |node| node.servicelb = true);
    }
    let told = leader(&world, &Links::default());
    let [warning] = &told[..] else { panic!("{told:?}") };
    assert_eq!(warning.reason, "ServiceLBActive");
    let message = warning.message();
    assert!(message.starts_with("k3s ServiceLB is on (n1, n2)") && message.contains("switch it off on n1, n2: sudo mkdir"), "{message}");
    world.edit("web", |service| service.class = Some("example.com/other".to_owned()));
    assert_eq!(leader(&world, &Links::default()), []);
}

/// Reason and text of what is told of Services that are left to ServiceLB.
fn left_to_servicelb(world: &World) -> Vec<String> {
    let events = left(&world.config, &world.snapshot).into_iter().map(|(service, uid)| event(&world.snapshot, service, uid));
    events.map(|event| format!("{} {}", event.reason, event.message)).collect()
}

#[test]
fn a_service_without_a_class_is_left_to_servicelb_while_that_is_on_and_the_event_says_how_to_switch() {
    let mut world = World::new(2, config(vec![pool("default", &["192.168.1.240-250"])]));
    world.node("n2", |node| node.servicelb = true);
    world.create("web", |_| ());
    world.create("ours", |service| service.class = Some(OWN_CLASS.to_owned()));
    world.settle();
    assert!(world.ingress("web").is_empty(), "both would write its status");
    assert_eq!(world.ingress("ours"), ["192.168.1.240"], "its class says whose it is");
    let told = left_to_servicelb(&world);
    let [text] = &told[..] else { panic!("{told:?}") };
    let words = [
        "LeftToServiceLB k3s ServiceLB is on (n2)",
        "switch it off on n2: sudo mkdir",
        "restart k3s (where k3s has no --disable among its flags",
        "loadBalancerClass: lanlord.dev/lb",
    ];
    assert!(words.iter().all(|word| text.contains(word)), "{text}");

    world.node("n2", |node| node.servicelb = false);
    world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.241"], "ServiceLB is off: it is ours");
    assert!(left_to_servicelb(&world).is_empty());
}

#[test]
fn where_servicelb_is_switched_on_later_the_address_is_given_back_once_the_status_shows_node_addresses() {
    let mut world = world();
    world.node("n1", |node| node.servicelb = true);
    world.settle();
    assert!(world.snapshot.claims[&ip("192.168.1.240")].freed.is_none(), "its status still shows it");
    world.edit("web", |service| service.ingress = vec![ip("192.168.1.11")]);
    world.settle();
    assert!(world.snapshot.claims[&ip("192.168.1.240")].freed.is_some());
    assert_eq!(world.ingress("web"), ["192.168.1.11"], "what ServiceLB wrote is left alone");
}

#[test]
fn another_load_balancer_that_marks_services_after_us_is_told_once_for_all_of_them() {
    let mut world = world();
    for number in 0..5 {
        world.create(&format!("app{number}"), |service| mark(service, "metallb.io/ip-allocated-from-pool"));
    }
    world.edit("web", |service| mark(service, "cilium.io/IPAMRequestSatisfied"));
    let told: Vec<String> = leader(&world, &Links::default()).iter().map(Warning::message).collect();
    assert_eq!(
        told,
        [
            "MetalLB is at work on default/app0, default/app1, default/app2 and 2 more, too: it wrote there after Lanlord did; take its \
             programs out, its custom resources may stay: kubectl delete deployment,daemonset --all -n metallb-system --cascade=foreground",
            "Cilium's LB IPAM is at work on default/web, too: it wrote there after Lanlord did; delete its pools, it sleeps without: kubectl \
             delete ciliumloadbalancerippools --all",
        ]
    );
}

/// A link without a MAC, with `address` on it.
fn links(name: &str, address: &str, answers_for_all: bool) -> Links {
    let link = Link {
        index: 7,
        name: name.into(),
        mac: Default::default(),
        up: false,
        role: lanlord::facts::Role::NoArp,
        medium: Default::default(),
        addresses: [format!("{address}/32").parse().unwrap()].into(),
    };
    Links { links: [(name.into(), link)].into(), answers_for_all, ..Links::default() }
}

#[test]
fn ipvs_without_strict_arp_is_seen_by_the_addresses_on_its_link_and_told_with_the_command() {
    let world = world();
    let told = leader(&world, &links("kube-ipvs0", "192.168.1.240", true));
    let [warning] = &told[..] else { panic!("{told:?}") };
    assert_eq!(warning.reason, "KernelAnswersARP");
    assert_eq!(
        warning.message(),
        "the kernel of n2 answers ARP for 192.168.1.240, whoever announces it: kube-proxy runs in IPVS mode without strictARP, and has it on \
         kube-ipvs0 of every node; kubectl get configmap kube-proxy -n kube-system -o yaml | sed 's/strictARP: false/strictARP: true/' | \
         kubectl apply -f - && kubectl rollout restart daemonset kube-proxy -n kube-system (k3s: start it with \
         --kube-proxy-arg=ipvs-strict-arp=true)"
    );
    assert_eq!(leader(&world, &links("kube-ipvs0", "192.168.1.240", false)), [], "strictARP");
    assert_eq!(leader(&world, &links("kube-ipvs0", "10.96.0.1", true)), [], "a cluster IP is nobody's on the LAN");
    let left = leader(&world, &links("lo", "192.168.1.240", true));
    assert!(left[0].message().ends_with("it is on link lo there; see who put it there, and on n2, with the prefix that \"ip address show to 192.168.1.240\" tells: ip address del 192.168.1.240/PREFIX dev lo"));
}

/// The files of a cluster whose `web` was overwritten, with what kubectl prints of managed fields and k3s's arguments.
fn files(directory: &std::path::Path, mut world: World, marked: bool) -> [String; 2] {
    if !marked {
        world.edit("web", |service| service.ingress = vec![ip("192.168.1.11")]);
    }
    let mut list = kubectl::list(&world.snapshot);
    for item in list["items"].as_array_mut().unwrap() {
        if item["kind"] == "Node" && item["metadata"]["name"] == "n1" {
            item["metadata"]["annotations"] = json!({"k3s.io/node-args": "[\"server\",\"--disable\",\"traefik\"]"});
        }
        if marked && item["kind"] == "Service" {
            let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
            item["metadata"]["managedFields"] = json!([
                entry("lanlord", "2026-01-01T00:00:00Z", json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}})),
                entry(
                    "controller",
                    "2026-01-01T00:00:09Z",
                    json!({"f:metadata": {"f:annotations": {"f:metallb.io/ip-allocated-from-pool": {}}}})
                ),
            ]);
        }
    }
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    [write("config.yaml", "addresses: 192.168.1.240-250\n"), write("cluster.json", &list.to_string())]
}

#[test]
fn plan_and_explain_say_who_else_is_at_work_as_far_as_the_files_show_it() {
    let directory = tempfile::tempdir().unwrap();
    for (marked, expected) in
        [(false, "k3s ServiceLB changed the status to 192.168.1.11"), (true, "MetalLB is at work on default/web, too")]
    {
        let [config, cluster] = files(directory.path(), classed(), marked);
        let args = ["--config", &config, "--cluster", &cluster, "-o", "json"];
        let outcome = plan_command::run(&args, "");
        let plan: Value = serde_json::from_str(&outcome.out).unwrap_or_else(|_| panic!("{}", outcome.err));
        let service = plan["services"][0]["problems"].to_string();
        assert!(service.contains(expected), "{service}");
        assert!(plan["problems"].to_string().contains("k3s ServiceLB is on (n1)"), "{plan}");
        assert_eq!((outcome.code, &plan["services"][0]["addresses"]), (1, &json!(["192.168.1.240"])));
        let words: Vec<String> = std::iter::once("web").chain(args).map(ToOwned::to_owned).collect();
        let explained: Value = serde_json::from_str(&explain::run(&words).out).unwrap();
        assert_eq!(explained["problems"], plan["services"][0]["problems"]);
    }
}

#[test]
fn plan_and_explain_say_what_is_left_to_servicelb_and_how_to_switch() {
    let directory = tempfile::tempdir().unwrap();
    let [config, cluster] = files(directory.path(), world(), false);
    let args = ["--config", &config, "--cluster", &cluster, "-o", "json"];
    let plan: Value = serde_json::from_str(&plan_command::run(&args, "").out).unwrap();
    assert_eq!(plan["services"], json!([]));
    let left = "k3s ServiceLB is on (n1) and serves Services without a class, so Lanlord leaves this one to it";
    assert!(plan["notes"].to_string().contains(&format!("default/web: {left}")), "{plan}");
    let words: Vec<String> = std::iter::once("web").chain(args).map(ToOwned::to_owned).collect();
    let explained: Value = serde_json::from_str(&explain::run(&words).out).unwrap();
    let problems = explained["problems"].to_string();
    assert!(problems.contains(left) && problems.contains("loadBalancerClass: lanlord.dev/lb"), "{explained}");
}
