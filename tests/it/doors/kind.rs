//! `kind/quickstart.sh`: what it finds with docker, podman and nerdctl, which addresses it takes, and what it says before it begins.

use std::fs;
use std::path::Path;

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
    fs::remove_file(machine.path("bin/kind")).unwrap();
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

/// Where a call that begins so stands among the calls.
#[track_caller]
fn at(outcome: &Outcome, begin: &str) -> usize {
    outcome.calls.iter().position(|call| call.starts_with(begin)).unwrap_or_else(|| panic!("no call {begin:?}\n{}", outcome.said))
}

/// A copy of what the script needs, without what somebody may have built beside it; the machine has this processor and system.
fn copy(machine: &Machine, system: &str) -> String {
    for file in ["kind/quickstart.sh", "kind/cluster.yaml", "kind/demo.yaml", "manifests/lanlord.yaml"] {
        let to = machine.path("project").join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), to).unwrap();
    }
    machine.command("uname", &format!("case $1 in -m) echo x86_64 ;; *) echo {system} ;; esac"));
    machine.path("project/kind/quickstart.sh").display().to_string()
}

#[test]
fn without_an_image_nothing_is_made_and_it_says_how_to_make_one() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("docker", &[("network*", DOCKER), ("info*", ""), ("ps*", "")]);
    machine.answers("kind", &[("get\\ clusters", "")]);
    machine.command("cargo", "");
    for (system, end) in [("Linux", "scripts/image.sh --arch amd64\n"), ("Darwin", "scripts/image.sh --arch amd64 --docker\n")] {
        let outcome = machine.run(&copy(&machine, system), &[], &[]);
        outcome.refuses("there is no image ghcr.io/lanlord/lanlord:").tells(&["1. pull the image", "2. make the cluster", end]);
        at(&outcome, "docker pull ghcr.io/lanlord/lanlord:");
        assert!(!outcome.calls.iter().any(|call| call.starts_with("kind create")), "{}", outcome.said);
    }
}

#[test]
fn an_archive_of_another_version_is_not_taken_and_it_says_so() {
    let machine = machine("docker", DOCKER, "");
    let (script, archive) = (copy(&machine, "Linux"), |version: &str| format!("lanlord-{version}-amd64.docker.tar"));
    let (old, new) = (archive("0.0.9"), archive(env!("CARGO_PKG_VERSION")));
    fs::write(machine.path("project/kind").join(&old), "").unwrap();
    let outcome = machine.run(&script, &["--dry-run"], &[]);
    outcome.says(&["load the image ghcr.io/lanlord/lanlord:", &format!("{old}: it is of another version than lanlord.yaml names")]);
    fs::write(machine.path("project/kind").join(&new), "").unwrap();
    let outcome = machine.run(&script, &["--dry-run"], &[]);
    outcome.says(&[&format!("kind/{new} into the nodes")]).is_silent_about(&old);
}

#[test]
fn a_cluster_that_kubectl_does_not_know_is_looked_at_with_kinds_own_file_and_made_known_before_anything_else() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("docker", &[("network*", DOCKER), ("info*", ""), ("ps*", ""), ("image\\ inspect*", ""), ("save*", "")]);
    machine.answers("kind", &[("get\\ clusters", "kind\n"), ("get\\ kubeconfig*", ""), ("export*", ""), ("load*", "")]);
    machine.command(
        "kubectl",
        "case $* in *get-contexts*) exit 1 ;; --kubeconfig=*configmap*) echo 172.18.255.0/28 ;; *--request-timeout*) exit 1 ;; esac",
    );
    let plan = ["kubectl has no context kind-kind", "keep the configuration that is there: 172.18.255.0/28"];
    quickstart(&machine, &["--dry-run"]).says(&plan).only_looked();
    let outcome = quickstart(&machine, &[]);
    outcome.tells(&plan);
    assert!(at(&outcome, "kind export kubeconfig --name kind") < at(&outcome, "kubectl --context kind-kind apply"));
    let outcome = quickstart(&machine, &["--uninstall"]);
    outcome.says(&["kubectl has no context kind-kind", "Lanlord is gone"]);
    assert!(at(&outcome, "kind export kubeconfig --name kind") < at(&outcome, "kubectl --context kind-kind delete"));
}

#[test]
fn a_configuration_that_is_there_in_the_end_is_kept() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("docker", &[("network*", DOCKER), ("info*", ""), ("ps*", ""), ("image\\ inspect*", ""), ("save*", "")]);
    machine.answers("kind", &[("get\\ clusters", "kind\n"), ("load*", "")]);
    for (there, creates) in [("", false), ("exit 1", true)] {
        machine.command("kubectl", &format!("case $* in *request-timeout*) exit 1 ;; *'get configmap'*) {there} ;; esac"));
        let outcome = quickstart(&machine, &[]);
        at(&outcome, "kubectl --context kind-kind apply");
        assert_eq!(outcome.calls.iter().any(|call| call.contains("create configmap")), creates, "{}", outcome.said);
    }
}

#[test]
fn docker_that_refuses_this_user_is_not_called_missing() {
    let machine = Machine::new();
    for (says, advice) in [
        ("permission denied while trying to connect to the Docker daemon socket", "in the group docker: https://docs.docker.com/"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "Start one, or install it"),
    ] {
        machine.command("docker", &format!("echo '{says}' >&2\nexit 1"));
        quickstart(&machine, &[]).refuses("neither docker nor podman nor nerdctl works here").tells(&["docker says: ", says, advice]);
    }
}

#[test]
fn the_container_that_publishes_a_port_goes_with_the_rest() {
    let machine = machine("docker", DOCKER, "");
    machine.answers("kubectl", &[("*", "")]);
    machine.answers("kind", &[("get\\ clusters", "kind\n"), ("delete*", "")]);
    let ends = |outcome: &Outcome| outcome.calls.iter().any(|call| call == "docker rm -f lanlord-port");
    assert!(!ends(quickstart(&machine, &["--uninstall"]).says(&["Lanlord is gone"])));
    machine.answers("docker", &[("ps*", ""), ("info*", ""), ("container\\ inspect\\ lanlord-port", ""), ("rm*", "")]);
    quickstart(&machine, &["--uninstall", "--dry-run"]).says(&["1. remove the container lanlord-port"]).only_looked();
    assert!(ends(quickstart(&machine, &["--uninstall"]).says(&["Lanlord is gone"])));
    assert!(ends(quickstart(&machine, &["--uninstall", "--delete-cluster"]).says(&["kind delete cluster"])));
}

#[test]
fn the_policies_of_the_overlay_hardened_go_with_the_rest_and_nothing_is_asked_of_a_kubernetes_without_such() {
    let machine = machine("docker", DOCKER, "");
    let policies = "validatingadmissionpolicy,validatingadmissionpolicybinding -l app.kubernetes.io/name=lanlord";
    for (there, deletes) in [("echo validatingadmissionpolicy.admissionregistration.k8s.io/lanlord-leases", true), ("exit 1", false)] {
        machine.command("kubectl", &format!("case $* in *'get validating'*) {there} ;; esac"));
        let outcome = quickstart(&machine, &["--uninstall"]);
        outcome.says(&["Lanlord is gone"]).called(
            "kubectl --context kind-kind delete clusterrole,clusterrolebinding -l \
            app.kubernetes.io/name=lanlord --ignore-not-found",
        );
        let delete = format!("kubectl --context kind-kind delete {policies}");
        assert_eq!(outcome.calls.contains(&delete), deletes, "{}", outcome.said);
    }
}
