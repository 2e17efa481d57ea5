//! What a newcomer is told who has configured nothing, and the verbs that look at the LAN from a node.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Cluster;
use crate::support::Options;
use crate::support::place::lanlord;

/// Runs a verb on a node as `kubectl exec` does, with the rights of the pod: its exit code, and what it prints.
fn verb(cluster: &Cluster, node: &str, arguments: &[&str]) -> (i32, String) {
    let kubeconfig = format!("KUBECONFIG={}", cluster.path(&format!("agent/{node}/kubeconfig")).display());
    let rights =
        ["--reuid", "65532", "--regid", "65532", "--clear-groups", "--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw"];
    let output = Command::new("ip")
        .args(["netns", "exec", &cluster.namespace(node), "setpriv"])
        .args(rights)
        .args(["--bounding-set", "-all,+net_raw", "env", &kubeconfig])
        .arg(cluster.path("lanlord"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ip runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("it was not killed"), text)
}

/// Runs the command that an Event of the Service ends with, as a person would who copies it.
fn obey(cluster: &Cluster, service: &str) {
    let events = cluster.events("default", "Service", service);
    let command = events.lines().rev().find_map(|line| Some(line.split_once(", run: ")?.1.to_owned()));
    let command = command.unwrap_or_else(|| panic!("no command in {events}"));
    cluster.script(&["exec"], &["cl", "bash", "-c", &command]);
}

/// Waits until an Event says so, no longer than five seconds from when the Service was created.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a person's patience is real time")]
fn told_within_five_seconds(cluster: &Cluster, service: &str, words: &[&str]) {
    let begun = Instant::now();
    cluster.load_balancer(service, "ipFamilyPolicy: SingleStack");
    while !cluster.told(service, words) {
        let so_far = cluster.events("default", "Service", service);
        assert!(begun.elapsed() < Duration::from_secs(5), "not told within five seconds: {words:?}, but {so_far}");
        thread::sleep(Duration::from_millis(100));
    }
    println!("told {:.1} s after the Service was created", begun.elapsed().as_secs_f64());
}

#[test]
fn without_addresses_a_service_is_told_a_free_range_and_the_command_and_the_verbs_see_what_the_lan_does() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2"]);
    cluster.client.run(&["ip", "addr", "add", "10.77.0.245/24", "dev", "eth0"]).expect("ip addr add");
    cluster.agents_start();
    // The user of the container owns nothing here.
    fs::copy(lanlord(), cluster.path("lanlord")).expect("the binary is there");
    cluster.script(&["exec"], &["cl", "chmod", "-R", "a+rX", &cluster.directory.to_string_lossy()]);

    let range = "nobody answers for 10.77.0.234-10.77.0.244 on eth0 (10.77.0.0/24): if your router's DHCP range leaves them out, run: ";
    told_within_five_seconds(&cluster, "web", &["AllocationFailed", range, "kubectl create configmap lanlord -n lanlord"]);
    assert!(cluster.condition("web")[2].contains(range), "{:?}", cluster.condition("web"));
    let events = cluster.events("default", "Service", "web");
    assert_eq!(events.matches("AllocationFailed").count(), 1, "it is told once: {events}");

    let (code, said) = verb(&cluster, "n2", &["suggest"]);
    let client = cluster.client.run(&["cat", "/sys/class/net/eth0/address"]).expect("a client has eth0");
    for words in
        ["10.77.0.0/24", "10.77.0.234-10.77.0.244", "fd77::fff0-fd77::fffa", &format!("10.77.0.245 by {client}"), "does not answer"]
    {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert_eq!(code, 0, "{said}");

    obey(&cluster, "web");
    cluster.wait_announced("web");
    let owner = cluster.wait_owner("web", "the command of the Event is all it took", |_| true);
    cluster.wait_reachable("web");
    assert_eq!(cluster.addresses_of("web"), ["10.77.0.234".parse::<std::net::IpAddr>().expect("an address")]);
    what_the_verbs_see(&cluster, &owner);
    a_configmap_without_addresses(&cluster);
}

fn what_the_verbs_see(cluster: &Cluster, owner: &str) {
    let other = cluster.nodes().map(|node| node.name).find(|node| *node != owner).expect("there are three");
    let expect = |node: &str, address: &str, code: i32, words: &[&str]| {
        let (ended, said) = verb(cluster, node, &["probe", address]);
        assert!(
            ended == code && words.iter().all(|words| said.contains(words)),
            "probe {address} on {node}, {ended}: {words:?} in\n{said}"
        );
    };
    expect(other, "10.77.0.234", 0, &[&format!("node {owner}"), &format!("{owner} answers, which announces it for default/web")]);
    expect(owner, "10.77.0.234", 0, &["this very node announces it for default/web"]);
    expect(other, "10.77.0.245", 0, &["no part of this cluster uses it"]);
    expect(other, "10.77.0.240", 0, &["nobody answers: it is in pool default"]);
    expect(other, "10.88.0.1", 2, &["it is on no network of this host (10.77.0.0/24 on eth0"]);
    // An address of the pool that no Service has yet.
    cluster.client.run(&["ip", "addr", "add", "10.77.0.244/24", "dev", "eth0"]).expect("ip addr add");
    expect(other, "10.77.0.244", 1, &["another machine", "although it is in pool default", "DHCP"]);

    let (code, said) = verb(cluster, other, &["links"]);
    let eth0 = said.lines().find(|line| line.starts_with("eth0 ")).unwrap_or_else(|| panic!("{said}"));
    assert!(code == 0 && eth0.contains("10.77.0.234-10.77.0.244") && eth0.ends_with("yes"), "{said}");
    let (code, said) = verb(cluster, other, &["metrics", "--filter", "lanlord_members"]);
    assert!(code == 0 && said.contains("lanlord_members 3"), "{said}");
}

/// The ConfigMap is there and holds nothing: then another command is right.
fn a_configmap_without_addresses(cluster: &Cluster) {
    cluster.kubectl(&["delete", "service", "web"]);
    cluster.kubectl(&[
        "patch",
        "configmap",
        "lanlord",
        "-n",
        "lanlord",
        "--type",
        "json",
        "-p",
        r#"[{"op":"remove","path":"/data/addresses"}]"#,
    ]);
    told_within_five_seconds(
        cluster,
        "next",
        &["AllocationFailed", "10.77.0.233-10.77.0.243", "kubectl patch configmap lanlord -n lanlord"],
    );
    obey(cluster, "next");
    cluster.wait_announced("next");
    cluster.wait_reachable("next");
}
