//! `k3s/install.sh`: how k3s was started, in every form there is, and the fix that fits it; what it refuses; that it says first.

use super::{Machine, Outcome};

const RANGE: &str = "192.168.1.240-192.168.1.250";
const UNIT: &str = "[Service]\nEnvironmentFile=-/etc/systemd/system/k3s.service.env\nExecStart=/usr/local/bin/k3s \\\n    server \\\n";
const DROPIN: &str = "/etc/rancher/k3s/config.yaml.d/90-lanlord.yaml";
const MANIFEST: &str = "/var/lib/rancher/k3s/server/manifests/lanlord.yaml";

/// The image that the manifest names.
fn image() -> String {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/k3s/lanlord.yaml")).unwrap();
    manifest.lines().find_map(|line| line.trim().strip_prefix("image: ")).unwrap().to_owned()
}

/// What `kubectl get nodes` prints of a server or agent with these arguments.
fn node(name: &str, host: u8, arguments: &str) -> String {
    format!("{name}|192.168.1.{host}|arm64|{arguments}\n")
}

/// A k3s server pi1 under systemd, with these nodes in its cluster and these Services (as the script's own template prints them).
fn server(nodes: &str, services: &str) -> Machine {
    let machine = Machine::new();
    machine.file("/etc/systemd/system/k3s.service", UNIT).file("/var/lib/rancher/k3s/server/token", "");
    machine.command("uname", "[ \"$1\" != -n ] && exec /bin/uname \"$@\"; echo pi1").command("systemctl", "exit 0");
    machine.answers(
        "ip",
        &[
            ("*addr*", "2: eth0    inet 192.168.1.11/24 brd 192.168.1.255 scope global eth0\n2: eth0    inet6 fd00::11/64 scope global\n"),
            ("*-6*route*", ""),
            ("*route*", "default via 192.168.1.1 dev eth0 proto dhcp src 192.168.1.11\n"),
        ],
    );
    machine.answers("k3s", &[("*get\\ nodes*", nodes), ("*get\\ services*", services), ("*readyz*", "ok")]);
    machine
}

fn one(arguments: &str) -> Machine {
    server(&node("pi1", 11, arguments), "")
}

const ON: &str = r#"["server"]"#;

fn install(machine: &Machine, arguments: &[&str]) -> Outcome {
    let root = machine.path("root");
    machine.run("k3s/install.sh", &[arguments, &["--wait", "1", "--root", root.to_str().unwrap()]].concat(), &[])
}

fn dry(machine: &Machine) -> Outcome {
    install(machine, &[RANGE, "--dry-run"])
}

const TEE: &str =
    "printf 'disable+:\\n  - servicelb\\n' | sudo tee /etc/rancher/k3s/config.yaml.d/90-lanlord.yaml && sudo systemctl restart k3s";

#[test]
fn a_dry_run_says_everything_and_changes_nothing() {
    let machine = one(ON);
    let before = machine.files();
    let outcome = dry(&machine);
    outcome.says(&[
        "started by systemd (k3s)",
        "ServiceLB, is on: pi1",
        "What this will do",
        "1. write /var/lib/rancher/k3s/server/manifests/lanlord.yaml",
    ]);
    outcome.says(&["2. create the ConfigMap lanlord in namespace lanlord: addresses=192.168.1.240", "Nothing was changed"]).only_looked();
    assert_eq!(machine.files(), before);
}

#[test]
fn without_flags_servicelb_is_switched_off_by_a_file_that_adds_to_the_lists_of_others() {
    for config in ["", "disable: traefik\n", "disable: [traefik, metrics-server]\n", "disable:\n  - traefik # servicelb\n"] {
        let machine = one(ON);
        machine.file("/etc/rancher/k3s/config.yaml", config);
        dry(&machine).says(&["pi1 (this server):", TEE, "--disable-servicelb"]);
    }
}

#[test]
fn servicelb_that_the_files_switch_off_needs_only_a_restart() {
    let configs = [
        "disable: servicelb\n",
        "disable: \"traefik,servicelb\"\n",
        "token: x\ndisable: [traefik, 'servicelb'] # both\n",
        "disable: [traefik,\n  servicelb]\n",
        "'disable':\n- traefik\n- \"servicelb\"\nnode-label:\n- servicelb=no\n",
    ];
    for config in configs {
        let machine = one(ON);
        machine.file("/etc/rancher/k3s/config.yaml", config);
        dry(&machine).says(&["its files switch it off already", "sudo systemctl restart k3s"]).is_silent_about("tee");
    }
    let machine = one(ON);
    machine.file("/etc/rancher/k3s/config.yaml", "disable: [traefik]\n").file(DROPIN, "disable+:\n  - servicelb\n");
    dry(&machine).says(&["its files switch it off already"]);
}

#[test]
fn servicelb_runs_without_the_cloud_controller_too() {
    let machine = one(r#"["server","--disable-cloud-controller"]"#);
    machine.file("/etc/systemd/system/k3s.service", &format!("{UNIT}\t'--disable-cloud-controller' \\\n"));
    dry(&machine).says(&["pi1 (this server):", TEE]);
    let machine = one(ON);
    machine.file("/etc/rancher/k3s/config.yaml", "disable-cloud-controller: true\n");
    dry(&machine).says(&["pi1 (this server):", TEE]);
}

#[test]
fn who_may_not_read_what_k3s_keeps_to_root_is_told_to_use_sudo() {
    for file in ["/etc/rancher/k3s/k3s.yaml", "/etc/rancher/k3s/config.yaml", "/etc/systemd/system/k3s.service.env"] {
        let machine = one(ON);
        machine.file(file, "disable: [servicelb]\n");
        machine.command("cat", &format!("case \"$*\" in *{file}) exit 1 ;; esac\nexec /usr/bin/cat \"$@\""));
        dry(&machine).refuses(&format!("{file} cannot be read: this needs root, --dry-run, too. Run it with sudo"));
    }
}

#[test]
fn a_later_file_that_replaces_the_list_is_found_before_anything_is_touched() {
    let machine = one(ON);
    machine.file(DROPIN, "disable+: [servicelb]\n").file("/etc/rancher/k3s/config.yaml.d/95-mine.yml", "disable: [traefik]\n");
    dry(&machine).says(&["pi1 (this server):", TEE]);
    let before = machine.files();
    let outcome = install(&machine, &["--disable-servicelb"]);
    outcome.refuses("/etc/rancher/k3s/config.yaml.d/95-mine.yml says \"disable:\", which takes the place of all before it").only_looked();
    assert_eq!(machine.files(), before);
}

#[test]
fn flags_in_the_service_file_are_where_the_fix_belongs() {
    for flags in [
        "'--disable' \\\n\t'traefik' \\\n",
        "--disable=traefik,metrics-server\n",
        "--disable traefik --tls-san pi1\n",
        "--no-deploy traefik\n",
    ] {
        let machine = one(r#"["server","--disable","traefik"]"#);
        machine.file("/etc/systemd/system/k3s.service", &format!("{UNIT}\t{flags}"));
        let fix =
            ["k3s is started with --disable in /etc/systemd/system/k3s.service", "systemctl daemon-reload && sudo systemctl restart k3s"];
        dry(&machine).says(&fix).is_silent_about("tee");
    }
    let machine = one(r#"["server","--disable","servicelb"]"#);
    machine.file("/etc/systemd/system/k3s.service", &format!("{UNIT}\t'--disable=servicelb' \\\n"));
    dry(&machine).says(&["ServiceLB, is off on every server (pi1)"]);
}

#[test]
fn flags_in_a_file_of_variables_or_of_openrc_are_found_there() {
    let machine = one(ON);
    machine.file("/etc/systemd/system/k3s.service.env", "K3S_TOKEN=secret\nK3S_ARGS='--disable traefik'\n");
    dry(&machine).says(&["with --disable in /etc/systemd/system/k3s.service.env"]).is_silent_about("secret");

    let machine = one(ON);
    std::fs::remove_file(machine.path("root/etc/systemd/system/k3s.service")).unwrap();
    machine.command("rc-service", "exit 0");
    let script = "#!/sbin/openrc-run\nname=k3s\ncommand=\"/usr/local/bin/k3s\"\ncommand_args=\"server ";
    machine.file("/etc/init.d/k3s", &format!("{script}>>/var/log/k3s.log 2>&1\"\n"));
    dry(&machine).says(&["started by openrc (k3s)", "90-lanlord.yaml && sudo rc-service k3s restart"]);
    machine.file("/etc/init.d/k3s", &format!("{script}'--disable' 'traefik' >>/var/log/k3s.log 2>&1\"\n"));
    dry(&machine).says(&["with --disable in /etc/init.d/k3s", "sudo rc-service k3s restart"]).is_silent_about("daemon-reload");
}

#[test]
fn arguments_of_the_running_process_count() {
    let machine = one(ON);
    machine.file("/proc/7/cmdline", "/usr/local/bin/k3s\0server\0--disable=traefik,servicelb\0");
    machine.file("/proc/8/cmdline", "grep\0k3s\0--disable\0lanlord\0");
    dry(&machine).says(&["its files switch it off already"]);
}

#[test]
fn another_configuration_file_has_its_drop_ins_beside_it() {
    let machine = one(ON);
    machine.file("/etc/systemd/system/k3s.service.env", "K3S_CONFIG_FILE=/srv/k3s.yaml\n").file("/srv/k3s.yaml", "disable: [servicelb]\n");
    dry(&machine).says(&["its files switch it off already"]);
    machine.file("/srv/k3s.yaml", "data-dir: /srv/k3s\n").file("/srv/k3s/server/token", "");
    dry(&machine).says(&["sudo tee /srv/k3s.yaml.d/90-lanlord.yaml", "1. write /srv/k3s/server/manifests/lanlord.yaml"]);
}

#[test]
fn every_server_gets_its_own_line_by_name() {
    let nodes = [
        node("pi1", 11, r#"["server","--disable","servicelb"]"#),
        node("pi2", 12, r#"["server","--server","https://pi1:6443","--disable","traefik"]"#),
        node("pi3", 13, r#"["server","--server","https://pi1:6443","--disable",""]"#),
        node("pi4", 14, r#"["agent"]"#),
    ];
    let machine = server(&nodes.concat(), "");
    machine.file("/etc/rancher/k3s/config.yaml", "disable: [servicelb]\n");
    let outcome = dry(&machine);
    outcome.says(&[
        "k3s servers: pi1 pi2 pi3; this one is pi1",
        "ServiceLB, is on: pi2 pi3.",
        "pi2:  scp ",
        "192.168.1.12:/tmp/",
        "--disable-servicelb",
    ]);
    outcome.says(&["pi3:  scp ", "192.168.1.13", "All servers must agree", "The manifest belongs on one server only", "pi2 pi3"]);
    outcome.is_silent_about("192.168.1.14").is_silent_about("pi1 (this server)");
}

#[test]
fn the_switch_is_a_file_and_a_restart_and_can_be_taken_back() {
    let machine = one(ON);
    machine.file("/etc/rancher/k3s/config.yaml", "disable: [traefik]\n");
    let before = machine.files();
    let outcome = install(&machine, &["--disable-servicelb"]);
    outcome.says(&["1. write /etc/rancher/k3s/config.yaml.d/90-lanlord.yaml", "2. restart k3s on this server", "$ systemctl restart k3s"]);
    outcome.called("systemctl restart k3s");
    assert!(machine.read(DROPIN).unwrap().ends_with("disable+:\n  - servicelb\n"));
    assert!(machine.read(MANIFEST).is_none(), "this alone was asked for");
    install(&machine, &["--uninstall", "--disable-servicelb", "--dry-run"])
        .says(&["remove /etc/rancher/k3s/config.yaml.d/90-lanlord.yaml"]);
    machine.command("k3s", "case $* in *'get nodes'*) echo 'pi1|192.168.1.11|arm64|[\"server\"]' ;; *get*crd*) exit 1 ;; esac");
    install(&machine, &["--uninstall"]).says(&["ServiceLB stays off", "Lanlord is gone"]);
    install(&machine, &["--uninstall", "--disable-servicelb"]).says(&["Lanlord is gone"]).called("systemctl restart k3s");
    assert_eq!(machine.files(), before);
}

#[test]
fn a_service_file_is_changed_in_one_word_and_comes_back_as_it_was() {
    for flags in
        ["'--disable' \\\n\t'traefik' \\\n", "--disable=traefik\n", "--tls-san a --disable traefik\n", "\"--disable\" \"traefik\"\n"]
    {
        let machine = one(r#"["server","--disable","traefik"]"#);
        let unit = format!("{UNIT}\t{flags}");
        machine.file("/etc/systemd/system/k3s.service", &unit);
        let before = machine.files();
        install(&machine, &["--disable-servicelb"])
            .says(&["write --disable=servicelb into /etc/systemd/system/k3s.service", "as it was it stays in"]);
        let changed = machine.read("/etc/systemd/system/k3s.service").unwrap();
        assert_eq!(changed.len() - unit.len(), "--disable=servicelb ".len() + if flags.starts_with('-') { 0 } else { 2 }, "{changed}");
        let undo =
            changed.replace("'--disable=servicelb' ", "").replace("\"--disable=servicelb\" ", "").replace("--disable=servicelb ", "");
        assert_eq!(undo, unit);
        dry(&machine).says(&["its files switch it off already"]);
        machine.command("k3s", "case $* in *'get nodes'*) echo 'pi1|192.168.1.11|arm64|[\"server\"]' ;; *get*crd*) exit 1 ;; esac");
        install(&machine, &["--uninstall", "--disable-servicelb"]).says(&["Lanlord is gone"]);
        assert_eq!(machine.files(), before);
    }
    let machine = one(ON);
    machine.file("/etc/systemd/system/k3s.service.env", "K3S_ARGS=\"--disable traefik\"\n");
    install(&machine, &["--disable-servicelb"]).says(&["ServiceLB is off"]);
    assert_eq!(machine.read("/etc/systemd/system/k3s.service.env").unwrap(), "K3S_ARGS=\"--disable=servicelb --disable traefik\"\n");
}

#[test]
fn a_full_disk_leaves_the_service_file_as_it_was_and_k3s_running() {
    let unit = format!("{UNIT}\t'--disable' 'traefik'\n");
    for (command, writes) in
        [("cp", "*before-lanlord*"), ("cp", "*/.lanlord.*/new"), ("cat", "*/flagged"), ("awk", "*quote*"), ("mv", "*/k3s.service")]
    {
        let machine = one(ON);
        machine.file("/etc/systemd/system/k3s.service", &unit).file("/var/lib/rancher/k3s/server/manifests/traefik.yaml", "");
        let nodes = node("pi1", 11, r#"["server","--disable","traefik"]"#);
        let answers = [("*get\\ nodes*", &*nodes), ("*get\\ daemonset\\ *", &*image()), ("*get\\ configmap*", ""), ("*", "")];
        machine.answers("k3s", &answers);
        machine.command(command, &format!("case \"$*\" in {writes}) exit 1 ;; esac\nexec /usr/bin/{command} \"$@\""));
        let outcome = install(&machine, &[RANGE, "--disable-servicelb"]);
        outcome.refuses("Is the disk full?");
        assert!(outcome.calls.iter().any(|call| call.contains("rollout status")), "it came to the switch: {}", outcome.said);
        assert!(!outcome.calls.iter().any(|call| call.contains("systemctl restart")), "{command}: {}", outcome.said);
        assert_eq!(machine.read("/etc/systemd/system/k3s.service").unwrap(), unit, "{command} fails");
        assert_eq!(std::fs::read_dir(machine.path("root/etc/systemd")).unwrap().count(), 1, "nothing is left lying about");
    }
}

#[test]
fn the_service_file_keeps_its_mode_and_a_link_stays_a_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let machine = one(r#"["server","--disable","traefik"]"#);
    machine.file("/srv/k3s/k3s.service", &format!("{UNIT}\t--disable traefik\n"));
    let (real, link) = (machine.path("root/srv/k3s/k3s.service"), machine.path("root/etc/systemd/system/k3s.service"));
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::remove_file(&link).unwrap();
    symlink(&real, &link).unwrap();
    install(&machine, &["--disable-servicelb"]).says(&["ServiceLB is off"]).called("systemctl restart k3s");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(std::fs::read_to_string(&real).unwrap().contains("--disable=servicelb --disable traefik"));
}

#[test]
fn a_switch_that_k3s_did_not_heed_is_told() {
    let machine = one(ON);
    machine.file("/var/lib/rancher/k3s/server/etc/cloud-config.yaml", "{\"lbEnabled\":true}");
    install(&machine, &["--disable-servicelb"]).refuses("k3s still starts ServiceLB");
}

#[test]
fn ranges_are_looked_at_before_anything_is_done() {
    let refused = [
        "192.168.1.300-192.168.1.310",
        "hello",
        "192.168.1.250-192.168.1.240",
        "fd00::1-192.168.1.9",
        "192.168.1.0/x",
        ",",
        "fd00:::1",
        "1-2-3",
    ];
    for range in refused {
        let outcome = install(&one(ON), &[range]);
        assert!(!outcome.succeeded, "{range} was taken:\n{}", outcome.said);
        outcome.only_looked();
    }
    for range in [RANGE, "192.168.1.240-250", "192.168.1.240/28", "192.168.1.240", "192.168.1.240-192.168.1.245,fd00::240-fd00::24f"] {
        install(&one(ON), &[range, "--dry-run"]).says(&["addresses="]).is_silent_about("Note:");
    }
    let notes = [
        ("192.168.1.1-192.168.1.10", "the address of your router: 192.168.1.1"),
        ("192.168.1.8/29", "an address of this server: 192.168.1.11"),
        ("fd00::10-fd00::20", "an address of this server: fd00::11"),
    ];
    for (range, note) in notes {
        install(&one(ON), &[range, "--dry-run"]).says(&["Note: ", note]);
    }
    for range in ["10.0.0.1-10.0.0.9", "192.168.1.250-192.168.2.5", "192.168.1.240,10.0.0.1"] {
        let outcome = install(&one(ON), &[range]);
        outcome.refuses("is not in the network of this server, 192.168.1.0/24. Choose free addresses").tells(&["--routed"]).only_looked();
        install(&one(ON), &[range, "--routed", "--dry-run"]).says(&["addresses="]);
    }
    install(&one(ON), &["fd01::1"]).refuses("is not in the network of this server, fd00::11/64");
    install(&one(ON), &[]).refuses("free addresses of 192.168.1.0/24");
    let machine = server(&(node("pi1", 11, ON) + &node("pi5", 245, r#"["agent"]"#)), "");
    dry(&machine).says(&["contains the address of a node: 192.168.1.245"]);
}

#[test]
fn machines_that_are_no_k3s_server_are_refused() {
    let machine = one(ON);
    std::fs::remove_file(machine.path("bin/k3s")).unwrap();
    dry(&machine).refuses("there is no command k3s on the path of this shell (PATH=");
    let machine = server(&node("pi1", 11, r#"["agent"]"#), "");
    dry(&machine).refuses("this is an agent, pi1");
    let machine = one(ON);
    std::fs::remove_dir_all(machine.path("root/var")).unwrap();
    dry(&machine).refuses("there is no /var/lib/rancher/k3s/server");
    let machine = one(ON);
    machine.command("systemctl", "exit 3");
    dry(&machine).refuses("k3s is not running here");
    let machine = one(ON);
    machine.command("k3s", "exit 1");
    dry(&machine).refuses("the API server does not answer");
}

#[test]
fn what_it_would_overwrite_or_could_not_do_is_refused_with_what_to_do() {
    install(&one(ON), &[]).refuses("RANGE is missing");
    install(&one(ON), &[RANGE, "192.168.1.9"]).refuses("one RANGE, please");
    install(&one(ON), &["--keep-config"]).refuses("there is no ConfigMap lanlord/lanlord yet");
    install(&one(ON), &[RANGE, "--manifest", "/nowhere.yaml"]).refuses("there is no file /nowhere.yaml");
    install(&one(ON), &[RANGE, "--image", "/nowhere.tar"]).refuses("there is no file /nowhere.tar");
    let machine = one(ON);
    machine.file("lanlord-0.1.0-amd64.docker.tar", "");
    let image = machine.path("root/lanlord-0.1.0-amd64.docker.tar");
    install(&machine, &[RANGE, "--image", image.to_str().unwrap()]).refuses("needs lanlord-0.1.0-arm64.docker.tar");
    let machine = one(ON);
    machine.file(&format!("{MANIFEST}.skip"), "");
    dry(&machine).refuses("tells k3s to ignore Lanlord's manifest");
    let machine = one(ON);
    machine.file("/etc/rancher/k3s/config.yaml", "disable: [lanlord]\n");
    dry(&machine).refuses("k3s is told to --disable lanlord");

    let machine = one(ON);
    let nodes = node("pi1", 11, ON);
    let config = |keys: &'static str, addresses: &'static str| {
        let answers = [("*get\\ nodes*", &*nodes), ("*configmap*go-template*", keys), ("*configmap*", addresses), ("*get\\ services*", "")];
        machine.answers("k3s", &answers);
        dry(&machine)
    };
    config("config.yaml\n", "").refuses("does not overwrite it. Change it yourself: sudo k3s kubectl edit configmap lanlord -n lanlord");
    config("addresses\nrebalance\n", RANGE).says(&["leave the ConfigMap lanlord/lanlord as it is"]);
    config("addresses\n", "192.168.1.9")
        .says(&["change addresses in the ConfigMap lanlord/lanlord from \"192.168.1.9\" to \"192.168.1.240"]);
    config("config.yaml\n", "");
    install(&machine, &["--keep-config", "--dry-run"]).says(&["leave the ConfigMap lanlord/lanlord as it is"]);
}

#[test]
fn other_nodes_get_the_image_by_a_command_each() {
    let machine = server(&(node("pi1", 11, ON) + "nuc|192.168.1.20|amd64|[\"agent\"]\nold|192.168.1.21|arm|[\"agent\"]\n"), "");
    machine.file("lanlord-0.1.0-arm64.docker.tar", "");
    let image = machine.path("root/lanlord-0.1.0-arm64.docker.tar");
    let outcome = install(&machine, &[RANGE, "--dry-run", "--image", image.to_str().unwrap()]);
    outcome.says(&["1. copy", "/agent/images/lanlord.tar", "k3s ctr images import", "Every node needs the image", "nuc:  scp"]);
    outcome.says(&["lanlord-0.1.0-amd64.docker.tar 192.168.1.20:/tmp/lanlord.tar", "lanlord-0.1.0-armv7.docker.tar 192.168.1.21:/tmp/"]);
}

#[test]
fn traefiks_move_is_told_before_it_happens() {
    let machine =
        server(&node("pi1", 11, ON), "kube-system traefik - - service.kubernetes.io/load-balancer-cleanup,- - 192.168.1.11 192.168.1.12\n");
    let outcome = dry(&machine);
    outcome.says(&[
        "Traefik",
        "192.168.1.11 192.168.1.12 now",
        "port forwards",
        "kind: HelmChartConfig",
        "lanlord.dev/loadBalancerIPs: \"192.168.1.240\"",
        "What this will do",
    ]);
    outcome.is_silent_about("being deleted");
    let services = "kube-system traefik - - service.kubernetes.io/load-balancer-cleanup,- True- 192.168.1.240\n";
    dry(&server(&node("pi1", 11, r#"["server","--disable","servicelb"]"#), services)).is_silent_about("Traefik");
}

#[test]
fn a_service_that_servicelb_holds_back_gets_its_command_and_nothing_more() {
    let services = "default old - 2026-11-20T00:00:00Z service.kubernetes.io/load-balancer-cleanup,- -\n";
    let outcome = dry(&server(&node("pi1", 11, ON), services));
    outcome.says(&["sudo k3s kubectl patch service old -n default --type merge -p '{\"metadata\":{\"finalizers\":null}}'"]).only_looked();
}

#[test]
fn taking_it_off_leaves_the_addresses_that_another_load_balancer_gave() {
    let machine = one(ON);
    let told = "default mine served\ndefault theirs left\ndefault old marked\n";
    let nodes = node("pi1", 11, ON);
    machine.answers("k3s", &[("*get\\ nodes*", &*nodes), ("*get\\ services*\\$mark*", told), ("*", "")]);
    let outcome = install(&machine, &["--uninstall"]);
    outcome.says(&["Lanlord is gone"]);
    let patch = |service: &str| {
        outcome.calls.iter().find(|call| call.contains(&format!("patch service {service} "))).unwrap_or_else(|| panic!("{}", outcome.said))
    };
    let seen = ["mine", "theirs", "old"]
        .map(|service| (patch(service).contains("\"ingress\":null"), patch(service).contains("\"$patch\":\"delete\"")));
    assert_eq!(seen, [(true, true), (false, true), (false, false)]);
    let template = outcome.calls.iter().find(|call| call.contains("$mark")).unwrap();
    assert!(template.contains("if eq .reason \"NotServed\""), "{template}");
}

#[test]
fn only_the_cluster_of_this_server_is_asked() {
    let machine = one(ON);
    let own = "*'get nodes'*) echo 'pi1|192.168.1.11|arm64|[\"server\"]' ;;";
    let answer = format!("case $KUBECONFIG$* in */cloud*) echo 'cloud-a|203.0.113.5|amd64|' ;; {own} esac");
    machine.command("k3s", &answer);
    let root = machine.path("root");
    let arguments = ["--uninstall", "--dry-run", "--root", root.to_str().unwrap()];
    machine.run("k3s/install.sh", &arguments, &[("KUBECONFIG", "/cloud")]).says(&["k3s servers: pi1; this one is pi1"]);

    let machine = server("cloud-a|203.0.113.5|amd64|\ncloud-b|203.0.113.6|amd64|\n", "");
    let outcome = install(&machine, &["--uninstall"]);
    outcome.refuses("has no node pi1, but: cloud-a cloud-b. If this server has another name there, say it: --node NAME").only_looked();
}

#[test]
fn a_server_is_found_by_each_name_it_may_have() {
    let named = |name: &str| server(&(node("pi2", 12, ON) + &format!("{name}|10.9.9.9|arm64|{ON}\n")), "");
    let machine = named("rpi-one");
    machine.file("/etc/systemd/system/k3s.service.env", "K3S_NODE_NAME=rpi-one\n");
    dry(&machine).says(&["k3s servers: pi2 rpi-one; this one is rpi-one"]);
    let machine = named("rpi-one");
    machine.file("/etc/systemd/system/k3s.service", &format!("{UNIT}\t'--node-name' \\\n\t'rpi-one' \\\n"));
    dry(&machine).says(&["this one is rpi-one"]);
    install(&named("rpi-one"), &[RANGE, "--dry-run", "--node", "rpi-one"]).says(&["this one is rpi-one"]);
    // --with-node-id: its addresses tell.
    let nodes = node("pi2", 12, ON) + &format!("pi1-3f2a|10.9.9.9 192.168.1.11|arm64|{ON}\n");
    dry(&server(&nodes, "")).says(&["k3s servers: pi2 pi1-3f2a; this one is pi1-3f2a"]);
    let machine = server(&node("pi2", 12, ON), "");
    machine.file("/etc/rancher/k3s/config.yaml", "disable-agent: true\n");
    dry(&machine).says(&["k3s servers: pi2 pi1; this one is pi1", "ServiceLB, is on: pi2 pi1."]);
}

#[test]
fn flags_of_other_programs_in_a_unit_are_not_those_of_k3s() {
    let wait = "ExecStartPre=/bin/sh -c \"until ping -c 1 nas; do sleep 1; done\"\nExecStartPre=/bin/sh -c \"[ -d /mnt/ssd ]\"\n";
    let before = "ExecStartPre=/usr/bin/nodectl --disable servicelb -c /srv/other.yaml\n";
    let machine = one(ON);
    machine.file("/etc/systemd/system/k3s.service.d/wait.conf", &format!("[Service]\n{wait}{before}"));
    machine.file("/proc/7/cmdline", "/usr/local/bin/k3s\0kubectl\0exec\0-c\0/srv/pod.yaml\0");
    dry(&machine).says(&["pi1 (this server):", TEE, "1. write /var/lib/rancher/k3s/server/manifests/lanlord.yaml"]);
    machine
        .file("/etc/systemd/system/k3s.service.d/wrap.conf", "[Service]\nExecStart=\nExecStart=/bin/wrap -c /srv/wrap.conf k3s server\n");
    machine.file("/etc/default/k3s", "PROBE='sh -c until'\n");
    dry(&machine).says(&["pi1 (this server):", TEE]);
    // Its own flags still count, wherever they stand.
    machine.file(
        "/etc/systemd/system/k3s.service.d/own.conf",
        "[Service]\nExecStart=\nExecStart=/bin/sh -c 'exec k3s server -c /srv/own.yaml'\n",
    );
    dry(&machine).says(&["sudo tee /srv/own.yaml.d/90-lanlord.yaml"]);

    let machine = one(ON);
    std::fs::remove_file(machine.path("root/etc/systemd/system/k3s.service")).unwrap();
    let script =
        "#!/sbin/openrc-run\nstart_pre() {\n    [ -d /mnt/ssd ] && checkpath -c /tmp/x\n}\ncommand_args=\"server\n  --disable traefik\"\n";
    machine.file("/etc/init.d/k3s", script).command("rc-service", "exit 0");
    dry(&machine).says(&["with --disable in /etc/init.d/k3s", "1. write /var/lib/rancher/k3s/server/manifests/lanlord.yaml"]);
}

#[test]
fn a_list_in_a_file_counts_beside_one_among_the_flags_only_where_k3s_heeds_it() {
    let machine = one(r#"["server","--disable","servicelb","--disable","traefik"]"#);
    let cloud = |says: &str| machine.file("/var/lib/rancher/k3s/server/etc/cloud-config.yaml", says);
    machine
        .file("/etc/systemd/system/k3s.service", &format!("{UNIT}\t'--disable' \\\n\t'traefik' \\\n"))
        .file(DROPIN, "disable+: [servicelb]\n");
    cloud("{\"lbEnabled\":false}");
    let outcome = install(&machine, &["--disable-servicelb"]);
    outcome.says(&["ServiceLB, is off on every server (pi1)", "Nothing: ServiceLB is off"]).only_looked();
    cloud("{\"lbEnabled\":true}");
    dry(&machine).says(&["ServiceLB, is on: pi1", "k3s is started with --disable in /etc/systemd/system/k3s.service"]);
    // The way out of it: the flag.
    machine.command(
        "systemctl",
        &format!(
            "[ $1 != restart ] || echo '{{\"lbEnabled\":false}}' >{}",
            machine.path("root/var/lib/rancher/k3s/server/etc/cloud-config.yaml").display()
        ),
    );
    install(&machine, &["--disable-servicelb"])
        .says(&["1. write --disable=servicelb into /etc/systemd/system/k3s.service", "ServiceLB is off on this server"])
        .called("systemctl restart k3s");
    install(&machine, &["--disable-servicelb"]).says(&["Nothing: ServiceLB is off"]).only_looked();
}

#[test]
fn what_sudo_leaves_out_of_the_path_is_found_and_hints_say_where() {
    let services = "default old - 2026-11-20T00:00:00Z service.kubernetes.io/load-balancer-cleanup,- -\n";
    let machine = server(&node("pi1", 11, ON), services);
    std::fs::create_dir_all(machine.path("root/usr/local/bin")).unwrap();
    std::fs::rename(machine.path("bin/k3s"), machine.path("root/usr/local/bin/k3s")).unwrap();
    let k3s = machine.path("root/usr/local/bin/k3s");
    dry(&machine).says(&["this one is pi1", &format!("sudo {} kubectl patch", k3s.display()), "What this will do"]);
}

#[test]
fn the_command_to_try_it_fits_whether_servicelb_is_on() {
    let tried = |arguments: &str| {
        let machine = one(arguments);
        let nodes = node("pi1", 11, arguments);
        let answers = [("*get\\ nodes*", &*nodes), ("*get\\ daemonset\\ *", &*image()), ("*get\\ configmap*", ""), ("*", "")];
        machine.answers("k3s", &answers);
        machine.file("/var/lib/rancher/k3s/server/manifests/traefik.yaml", "");
        install(&machine, &[RANGE])
    };
    let class = r#"--overrides='{"spec":{"loadBalancerClass":"lanlord.dev/lb"}}'"#;
    let expose = "sudo k3s kubectl expose deployment hello --port=80 --type=LoadBalancer";
    tried(ON).says(&[&format!("{expose} {class}\n"), "sudo k3s kubectl edit configmap"]);
    tried(r#"["server","--disable","servicelb"]"#).says(&[&format!("{expose}\n")]);
}

#[test]
fn taking_it_off_leaves_no_image_and_no_policy() {
    let machine = one(ON);
    let nodes = node("pi1", 11, ON) + &node("pi2", 12, r#"["agent"]"#);
    machine.answers("k3s", &[("*get\\ nodes*", &*nodes), ("*", "")]);
    let image = "/var/lib/rancher/k3s/agent/images/lanlord.tar";
    machine.file(image, "an image").file("/var/lib/rancher/k3s/agent/images/mine.tar", "another");
    let outcome = install(&machine, &["--uninstall"]);
    outcome.says(&[
        &format!("remove {image}, the image"),
        "rights, policies and namespace",
        &format!("copied to other nodes (pi2), remove it there, too: sudo rm -f {image}"),
        "Lanlord is gone",
    ]);
    outcome.called(
        "k3s kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy -l app.kubernetes.io/name=lanlord --ignore-not-found",
    );
    assert!(machine.read(image).is_none());
    assert!(machine.read("/var/lib/rancher/k3s/agent/images/mine.tar").is_some());
}

#[test]
fn printed_commands_are_good_for_ipv6_and_for_spaces() {
    let machine = server(&(node("pi1", 11, ON) + &format!("pi2|fd00::12|arm64|{ON}\n")), "");
    machine.file("/it's mine/lanlord-0.1.0-arm64.docker.tar", "");
    let image = machine.path("root/it's mine/lanlord-0.1.0-arm64.docker.tar");
    let said = install(&machine, &[RANGE, "--dry-run", "--image", image.to_str().unwrap()]).said;
    let lines: Vec<&str> = said.lines().filter_map(|line| line.trim().strip_prefix("pi2:  ")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    // A shell takes the words as they are meant.
    machine.command("scp", "[ -f \"$1\" ] && echo \"to $2\"").command("ssh", "echo \"on $2: $3 ($#)\"");
    let typed = |line: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", line]).current_dir(env!("CARGO_MANIFEST_DIR")).env("CALLS", machine.path("calls"));
        command.env("PATH", format!("{}:/usr/bin:/bin", machine.path("bin").display()));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(typed(lines[0]), "to [fd00::12]:/tmp/install.sh\non fd00::12: sudo sh /tmp/install.sh --disable-servicelb (3)\n");
    let copied = typed(lines[1]);
    assert!(
        copied.starts_with("to [fd00::12]:/tmp/lanlord.tar\non fd00::12: sudo mkdir -p /var/lib/rancher/k3s/agent/images && "),
        "{copied}"
    );
}
