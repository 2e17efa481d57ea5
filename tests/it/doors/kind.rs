//! `kind/quickstart.sh`: what it finds with docker, podman and nerdctl, which addresses it takes, and what it says before it begins.

use super::{Machine, Outcome};

const DOCKER: &str = r#"[{"Name": "kind", "IPAM": {"Driver": "default", "Config": [
    {"Subnet": "fc00:f853:ccd:e793::/64", "Gateway": "fc00:f853:ccd:e793::1"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]},
    "Containers": {"8f": {"Name": "kind-control-plane", "MacAddress": "02:42:ac:12:00:02", "IPv4Address": "172.18.0.2/16",
    "IPv6Address": "fc00:f853:ccd:e793::2/64"}}, "Options": {"com.docker.network.driver.mtu": "1500"}}]"#;

const PODMAN: &str = r#"[{"name": "kind", "driver": "bridge", "network_interface": "podman1", "subnets": [
    {"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}, {"subnet": "fc00:f853:ccd:e793::/64", "gateway": "fc00:f853:ccd:e793::1"}],
    "ipv6_enabled": true, "containers": {"8f": {"name": "kind-control-plane", "interfaces": {"eth0": {"subnets": [{"ipnet": "10.89.0.2/24"}]}}}}}]"#;

const NERDCTL: &str =
    r#"[{"Name": "kind", "Id": "4f", "IPAM": {"Config": [{"Subnet": "10.4.1.0/24", "Gateway": "10.4.1.1"}]}, "Labels": {}}]"#;

/// A machine with one kind cluster in this engine, whose network looks like this.
fn machine(engine: &str, network: &str, about: &str) -> Machine {
    let machine = Machine::new();
    machine
        .answers(engine, &[("network\\ inspect\\ kind", network), ("info*OperatingSystem*", about), ("ps*", ""), ("image\\ inspect*", "")]);
    machine.answers("kind", &[("get\\ clusters", "kind\n")]);
    machine
}

fn quickstart(machine: &Machine, arguments: &[&str]) -> Outcome {
    machine.run("kind/quickstart.sh", &[arguments, &["--wait", "1"]].concat(), &[])
}

/// The addresses it would give Lanlord.
#[track_caller]
fn ranges(outcome: &Outcome) -> String {
    outcome.says(&["give Lanlord free addresses of the network: "]);
    let line = outcome.said.lines().find(|line| line.contains("free addresses")).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn docker_podman_and_nerdctl_are_read_each_in_its_own_words() {
    for (engine, network, v4, v6) in [
        ("docker", DOCKER, "172.18.255.", "fc00:f853:ccd:e793::ffff:"),
        ("podman", PODMAN, "10.89.0.", "fc00:f853:ccd:e793::ffff:"),
        ("nerdctl", NERDCTL, "10.4.1.", ""),
    ] {
        let outcome = quickstart(&machine(engine, network, ""), &["--dry-run"]);
        outcome.says(&[&format!("With {engine}, in kind cluster \"kind\""), "Nothing was changed"]).only_looked();
        let ranges = ranges(&outcome);
        let (first, second) = ranges.split_once(',').unwrap_or((&ranges, ""));
        let upper = v4.trim_end_matches("255.");
        assert!(first.starts_with(upper), "{engine}: {ranges}");
        assert!(if v6.is_empty() { second.is_empty() } else { second.starts_with(v6) }, "{engine}: {ranges}");
        assert_eq!(outcome.said.contains("no IPv6"), v6.is_empty(), "{}", outcome.said);
    }
}

/// First and last of an IPv4 range.
fn bounds(ranges: &str) -> [u32; 2] {
    let (first, last) = ranges.split(',').next().unwrap().split_once('-').unwrap();
    [first, last].map(|address| address.parse::<std::net::Ipv4Addr>().unwrap().to_bits())
}

#[test]
fn a_cluster_gets_the_same_part_again_and_another_cluster_another_one() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("kind", &[("get\\ clusters", "a\nb\nc\nd\n")]);
    machine.answers("kubectl", &[]);
    let of = |name: &str| ranges(&quickstart(&machine, &["--dry-run", "--name", name]));
    let parts: Vec<String> = ["a", "b", "c", "d"].map(of).into();
    assert_eq!(parts[0], of("a"));
    for (at, part) in parts.iter().enumerate() {
        let [first, last] = bounds(part);
        assert!(first < last && last < 0xac12_ffff && first >= 0xac12_f000, "{part} is not at the upper end");
        assert!(parts[..at].iter().all(|other| other != part), "{parts:?}");
    }
    // What another cluster has, in whatever form, and what a container has, is left alone.
    let [first, last] = bounds(&parts[0]);
    let taken = format!("{}-{}", std::net::Ipv4Addr::from_bits(first + 3), std::net::Ipv4Addr::from_bits(first + 4));
    for taken in [
        taken,
        format!("{}/30", std::net::Ipv4Addr::from_bits(last - 3)),
        format!("{}-{}", std::net::Ipv4Addr::from_bits(first), last & 0xff),
    ] {
        machine.answers("kubectl", &[("*kind-b*", &taken)]);
        let [other, _] = bounds(&of("a"));
        assert!(other > last || other < first, "{taken} is another cluster's");
    }
    machine.answers("kubectl", &[]);
    let network = DOCKER.replace("172.18.0.2/16", &format!("{}/16", std::net::Ipv4Addr::from_bits(last)));
    machine.answers("docker", &[("network\\ inspect*", &network), ("ps*", ""), ("info*", ""), ("image*", "")]);
    let [other, _] = bounds(&of("a"));
    assert!(other > last || other < first, "a container has the last one");
}

#[test]
fn addresses_of_both_families_are_valid_whatever_the_name() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("kubectl", &[]);
    for name in ["kind", "local", "prod", "lab", "dev", "test"] {
        machine.answers("kind", &[("get\\ clusters", name)]);
        let ranges = ranges(&quickstart(&machine, &["--dry-run"]));
        let (_, v6) = ranges.split_once(',').unwrap();
        let (first, last) = v6.split_once('-').unwrap();
        let bits = |address: &str| address.parse::<std::net::Ipv6Addr>().map(std::net::Ipv6Addr::to_bits);
        let (Ok(first), Ok(last)) = (bits(first), bits(last)) else { panic!("{name}: {v6} is no range") };
        assert_eq!((first & 0xf, last - first), (0, 15), "{name}: {v6}");
    }
}

#[test]
fn a_network_of_any_size_gives_a_part_of_its_upper_half() {
    for (bits, size) in [(6, 4), (8, 16), (10, 64), (11, 64), (12, 64), (20, 64)] {
        let network = NERDCTL.replace("10.4.1.0/24", &format!("10.16.0.0/{}", 32 - bits));
        for name in ["kind", "lab", "one-more", "zz"] {
            let machine = machine("docker", &network, "");
            machine.answers("kind", &[("get\\ clusters", name)]);
            let [first, last] = bounds(&ranges(&quickstart(&machine, &["--dry-run"])));
            let (base, end) = (0x0a10_0000, 0x0a10_0000 + (1 << bits) - 1);
            assert!(first >= base + (1 << (bits - 1)) && last < end && last > first, "{first:x}-{last:x} in /{}", 32 - bits);
            assert!(last - first < size, "{} addresses of /{}", last - first + 1, 32 - bits);
        }
    }
    let small = NERDCTL.replace("10.4.1.0/24", "10.16.0.0/27");
    quickstart(&machine("docker", &small, ""), &["--dry-run"]).refuses("network kind (10.16.0.0/27) is too small to share");
}

#[test]
fn where_addresses_are_out_of_reach_it_says_so_before_it_begins() {
    for (about, reason) in [
        ("Docker Desktop [name=seccomp]", "Docker Desktop runs its containers in a virtual machine"),
        ("Debian GNU/Linux 13 [name=seccomp,profile=builtin name=rootless]", "docker runs without root here"),
    ] {
        let machine = machine("docker", DOCKER, about);
        machine.answers("kubectl", &[("*get-contexts*", "")]);
        let outcome = quickstart(&machine, &[]);
        outcome.tells(&["Before you start: ", reason, "NOT be reachable from this machine", "publishes a port", "==> Installing"]);
    }
    let machine = machine("docker", DOCKER, "Debian GNU/Linux 13 [name=seccomp]");
    quickstart(&machine, &["--dry-run"]).is_silent_about("Before you start");
    machine
        .run("kind/quickstart.sh", &["--dry-run"], &[("DOCKER_HOST", "ssh://nas")])
        .says(&["docker runs on another machine (ssh://nas)"]);
    machine.command("uname", "[ \"$1\" = -s ] && echo Darwin || /bin/uname \"$@\"");
    quickstart(&machine, &["--dry-run"]).says(&["Before you start: on Darwin docker runs its containers in a virtual machine"]);
}

#[test]
fn rootless_podman_is_out_of_reach_too() {
    let machine = machine("podman", PODMAN, "");
    machine.answers(
        "podman",
        &[
            ("network*", PODMAN),
            ("info*OperatingSystem*Security*x*", ""),
            ("info*Rootless*", "linux rootless=true"),
            ("ps*", ""),
            ("image*", ""),
        ],
    );
    quickstart(&machine, &["--dry-run"]).says(&["podman runs without root here"]);
}

#[test]
fn of_several_clusters_one_must_be_named() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("kind", &[("get\\ clusters", "one\ntwo\n")]);
    quickstart(&machine, &[]).refuses("there are several kind clusters: one two. Say which: --name CLUSTER").only_looked();
    quickstart(&machine, &["--name", "two", "--dry-run"]).says(&["in kind cluster \"two\", on network"]);
}

#[test]
fn without_a_cluster_it_says_that_it_makes_one() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("kind", &[("get\\ clusters", "")]);
    let outcome = quickstart(&machine, &["--dry-run"]);
    outcome
        .says(&["\"kind\", which is not there yet", "1. make the cluster", "kind/cluster.yaml", "once the network is there"])
        .only_looked();
    quickstart(&machine, &["--uninstall"]).refuses("there is no kind cluster \"kind\"");
}

#[test]
fn other_contexts_and_machines_without_the_tools_are_refused() {
    quickstart(&machine("docker", DOCKER, ""), &["--context", "production"]).refuses("context production is no kind cluster");
    let machine = Machine::new();
    quickstart(&machine, &[]).refuses("neither docker nor podman nor nerdctl works here");
    std::fs::remove_file(machine.path("bin/kind")).unwrap();
    quickstart(&machine, &[]).refuses("there is no command kind");
    let outcome = machine.run("kind/quickstart.sh", &[], &[("KIND_EXPERIMENTAL_PROVIDER", "lxc")]);
    assert!(!outcome.succeeded);
}

#[test]
fn a_network_of_another_name_is_the_one_that_is_read() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("docker", &[("network\\ inspect\\ lab", NERDCTL), ("ps*", ""), ("info*", ""), ("image*", "")]);
    let outcome = machine.run("kind/quickstart.sh", &["--dry-run"], &[("KIND_EXPERIMENTAL_DOCKER_NETWORK", "lab")]);
    outcome.says(&["on network \"lab\"", "10.4.1."]);
}

#[test]
fn taking_it_off_leaves_the_addresses_that_another_load_balancer_gave() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("kubectl", &[("*get\\ services*", "default mine served\ndefault theirs left\ndefault old marked\n"), ("*", "")]);
    let outcome = quickstart(&machine, &["--uninstall"]);
    outcome.says(&["Lanlord is gone"]);
    let patch = |service: &str| {
        outcome.calls.iter().find(|call| call.contains(&format!("patch service {service} "))).unwrap_or_else(|| panic!("{}", outcome.said))
    };
    let seen = ["mine", "theirs", "old"]
        .map(|service| (patch(service).contains("\"ingress\":null"), patch(service).contains("\"$patch\":\"delete\"")));
    assert_eq!(seen, [(true, true), (false, true), (false, false)]);
    let template = outcome.calls.iter().find(|call| call.contains("get services -A")).unwrap();
    assert!(template.contains("if eq .reason \"NotServed\""), "{template}");
}
