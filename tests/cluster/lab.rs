//! The laboratory itself, without Lanlord: what the other tests take for granted. When one of these fails, the others mean
//! nothing.

use std::net::IpAddr;
use std::process::Command;

use crate::support::Cluster;
use crate::support::Options;

const ADDRESSES: [&str; 2] = ["10.77.0.240", "fd77::240"];

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn url(address: &str) -> String {
    if address.contains(':') { format!("http://[{address}]/") } else { format!("http://{address}/") }
}

/// A dual-stack Service whose status is written by hand.
fn service(cluster: &Cluster, policy: &str) {
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{type: LoadBalancer, selector: {{app: web}}, \
         externalTrafficPolicy: {policy}, ipFamilyPolicy: RequireDualStack, ports: [{{port: 80}}]}}}}"
    ));
    let ingress = ADDRESSES.map(|ip| format!(r#"{{"ip":"{ip}","ipMode":"VIP"}}"#)).join(",");
    let patch = format!(r#"{{"status":{{"loadBalancer":{{"ingress":[{ingress}]}}}}}}"#);
    cluster.kubectl(&["patch", "service", "web", "--subresource=status", "-p", &patch]);
}

#[test]
fn lab_itself_carries_traffic() {
    let links = || Command::new("ip").args(["-br", "link"]).output().unwrap().stdout;
    let before = links();
    let cluster = Cluster::bare(&Options { proxy_mode_of: vec![("n3", "iptables")], ..Options::default() });
    assert_eq!(before, links(), "nothing of it shows in the machine's own namespace");

    cluster.backend("web", &["n1", "n2"]);
    service(&cluster, "Cluster");
    cluster.wait_until(10, "two endpoints in each family", || {
        let path = "jsonpath={range .items[*].endpoints[*]}{.nodeName}={.conditions.ready} {end}";
        let found = cluster.kubectl(&["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", path]);
        found.matches("n1=true").count() == 2 && found.matches("n2=true").count() == 2
    });
    assert!(cluster.node("n1").run(&["nft", "list", "tables"]).contains("kube-proxy"));
    assert!(!cluster.node("n3").run(&["nft", "list", "tables"]).contains("kube-proxy"));
    assert!(cluster.node("n3").run(&["iptables-save", "-t", "nat"]).contains("KUBE-SERVICES"));

    for ip in ADDRESSES {
        for node in cluster.nodes() {
            cluster.client.neighbour(address(ip), &node.mac("eth0"));
            cluster.wait_until(10, &format!("{ip} answers through {}", node.name), || {
                cluster.client.http(&url(ip)).is_ok_and(|body| body.starts_with("pod=web-n"))
            });
        }
    }
    service(&cluster, "Local");
    for (ip, seen) in ADDRESSES.into_iter().zip(["10.77.0.100", "fd77::100"]) {
        cluster.client.neighbour(address(ip), &cluster.node("n2").mac("eth0"));
        cluster.wait_until(10, &format!("the Pod on n2 sees the client itself behind {ip}"), || {
            cluster.client.http(&url(ip)) == Ok(format!("pod=web-n2 node=n2 client={seen}"))
        });
    }
    for (ip, [n1, n2]) in ADDRESSES.into_iter().zip([["10.77.0.11", "10.77.0.12"], ["fd77::11", "fd77::12"]]) {
        let ways = format!("ip route add {ip} proto bgp nexthop via {n1} nexthop via {n2}");
        cluster.script(&["exec"], &["gw", "sh", "-c", &ways]);
        assert_eq!(cluster.ways("gw", address(ip)), ["n1", "n2"].map(str::to_owned).into());
        let (shares, answers) = cluster.shares(|| cluster.ask_afar(100, address(ip)));
        assert_eq!(answers.len(), 100);
        let of = |node: &str| shares[node][0];
        assert!(of("n1") > 25 && of("n2") > 25 && of("n1") + of("n2") == 100, "the router spreads what is for {ip}: {shares:?}");
    }
    assert_eq!(cluster.client.owner_of(address("10.77.0.12")).as_deref(), Some("n2"), "the client asks the LAN");
    assert_eq!(cluster.client.owner_of(address("fd77::13")).as_deref(), Some("n3"));
    assert_eq!(cluster.client.owner_of(address("10.77.0.250")), None);
}

#[test]
fn nodes_and_pods_come_and_go_as_with_a_kubelet() {
    let cluster = Cluster::bare(&Options { nodes: 2, grace: 2, ..Options::default() });
    let ready = |node: &str| cluster.kubectl(&["get", "node", node, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"]);
    assert_eq!(ready("n2"), "True");
    cluster.node("n2").kubelet("pause");
    cluster.wait_until(15, "silent n2 is not Ready", || ready("n2") == "Unknown");
    cluster.node("n2").kubelet("resume");
    cluster.wait_until(15, "n2 is Ready again", || ready("n2") == "True");

    cluster.kubectl(&["create", "deployment", "nginx", "--image=nginx", "--replicas=2"]);
    cluster.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=20s"]);
    cluster.kubectl(&["drain", "n1", "--timeout=20s"]);
    cluster.wait_until(10, "both Pods run on n2", || {
        cluster.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"]) == "n2 n2"
            && cluster.kubectl(&["get", "deployment", "nginx", "-o", "jsonpath={.status.readyReplicas}"]) == "2"
    });

    cluster.control_plane("stop");
    assert!(cluster.try_kubectl(&["get", "nodes", "--request-timeout=2s"]).is_err());
    cluster.control_plane("start");
    assert_eq!(cluster.kubectl(&["get", "deployment", "nginx", "-o", "jsonpath={.spec.replicas}"]), "2", "etcd keeps what it stored");
}

#[test]
fn an_agent_has_the_rights_of_the_manifest_and_no_more() {
    let cluster = Cluster::start(&Options { nodes: 1, ..Options::default() });
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let ask = |path: &str| format!("curl -sk -o /dev/null -w '%{{http_code}} ' -H \"Authorization: Bearer $(cat {token})\" $API{path}");
    let script = format!(
        "API=https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT; {}; {}; echo on $NODE_NAME; exec sleep 1000",
        ask("/api/v1/services"),
        ask("/api/v1/secrets")
    );
    cluster.node("n1").agent_command(&["sh", "-c", &script], &["--in-cluster"]);
    cluster.wait_until(10, "Services are readable, Secrets are not", || cluster.log("n1").contains("200 403 on n1"));
    cluster.kubectl(&["rollout", "status", "daemonset/lanlord", "-n", "lanlord", "--timeout=20s"]);
    cluster.node("n1").agent_kill();
    cluster.wait_until(10, "the Pod of a killed agent is not Ready", || {
        cluster.kubectl(&["get", "daemonset", "lanlord", "-n", "lanlord", "-o", "jsonpath={.status.numberReady}"]) == "0"
    });
    cluster.control_plane("stop");
    cluster.node("n1").agent_command(&["sleep", "1000"], &[]);
}
