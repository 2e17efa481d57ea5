//! `kubectl lanlord`, with a stand-in for kubectl that records each call, what it was sent, and answers with the exit code it was told.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// n2 is in the middle of an update, n4's pod is going.
const PODS: &str =
    "n3 lanlord-c True \nn1 lanlord-a True \nn2 lanlord-old False \nn2 lanlord-b True \nn4 lanlord-d True 2026-11-22T00:00:00Z\n";

const STAND_IN: &str = r#"#!/bin/sh
here=$(dirname "$0")
for argument in "$@"; do printf '[%s]' "$argument"; done >>"$here/calls"
echo >>"$here/calls"
case " $* " in
*" get pods "*) cat "$here/pods" ;;
*" exec "*)
    case " $* " in *" -i "*) cat >"$here/sent" ;; esac
    for pod in lanlord-a lanlord-b lanlord-c; do
        case " $* " in *" $pod "*) echo "said by $pod" && exit "$(cat "$here/$pod" 2>/dev/null || echo 0)" ;; esac
    done
    ;;
esac
"#;

struct Desk(tempfile::TempDir);

/// What came of a call.
struct Outcome {
    code: i32,
    out: String,
    err: String,
    /// The calls of kubectl but the one that lists the pods.
    calls: Vec<String>,
}

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.put("kubectl", STAND_IN);
        fs::set_permissions(desk.path().join("kubectl"), fs::Permissions::from_mode(0o755)).unwrap();
        desk.put("pods", PODS);
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    fn sent(&self) -> String {
        fs::read_to_string(self.path().join("sent")).unwrap_or_default()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Outcome {
        drop(fs::remove_file(self.path().join("calls")));
        drop(fs::remove_file(self.path().join("sent")));
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kubectl-lanlord");
        let mut child = Command::new("sh")
            .arg(plugin)
            .args(arguments)
            .env("PATH", format!("{}:{}", self.path().display(), std::env::var("PATH").unwrap()))
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Nobody may want it.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let calls = fs::read_to_string(self.path().join("calls")).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome {
            code: output.status.code().unwrap(),
            out: text(&output.stdout),
            err: text(&output.stderr),
            calls: calls.lines().filter(|line| !line.contains("[get][pods]")).map(str::to_owned).collect(),
        }
    }
}

#[test]
fn a_verb_runs_in_one_pod_with_its_arguments_and_its_exit_code() {
    let desk = Desk::new();
    desk.put("lanlord-a", "1");
    let did = desk.run(&["--context", "my home", "explain", "web", "-n", "media"], "");
    assert_eq!(did.calls, ["[--context=my home][exec][-n][lanlord][lanlord-a][-c][lanlord][--][/lanlord][explain][web][-n][media]"]);
    assert_eq!((did.code, did.out.as_str(), did.err.as_str()), (1, "said by lanlord-a\n", ""));
    let did = desk.run(&["-n", "net", "--kubeconfig=x", "suggest", "--node", "n2", "--count", "30"], "");
    assert_eq!(did.calls, ["[--kubeconfig=x][exec][-n][net][lanlord-b][-c][lanlord][--][/lanlord][suggest][--count][30]"]);
    assert_eq!(did.code, 0);
}

#[test]
fn status_probe_and_links_run_on_every_node_under_its_name_and_the_worst_exit_code_counts() {
    let desk = Desk::new();
    desk.put("lanlord-b", "1");
    let did = desk.run(&["status"], "");
    assert_eq!(did.out, "== n1\nsaid by lanlord-a\n\n== n2\nsaid by lanlord-b\n\n== n3\nsaid by lanlord-c\n\n");
    assert_eq!((did.code, did.calls.len()), (1, 3));
    let did = desk.run(&["status", "--node=n3", "bgp"], "");
    assert_eq!((did.code, did.out.as_str()), (0, "said by lanlord-c\n"));
    assert!(did.calls[0].ends_with("[/lanlord][status][bgp]"), "{:?}", did.calls);
    assert_eq!(desk.run(&["links", "--help"], "").calls.len(), 1, "help is the same everywhere");
}

#[test]
fn a_probe_ends_with_what_all_nodes_saw_and_nodes_of_other_networks_do_not_count() {
    let desk = Desk::new();
    desk.put("lanlord-c", "2");
    let did = desk.run(&["probe", "192.168.1.240"], "");
    assert_eq!(did.code, 0);
    assert!(did.out.ends_with("\nAs it should be, seen from: n1 n2\nCould not ask: n3\n"), "{}", did.out);
    desk.put("lanlord-a", "1");
    let did = desk.run(&["probe", "192.168.1.240"], "");
    assert_eq!(did.code, 1);
    assert!(did.out.ends_with("\nAs it should be, seen from: n2\nSomething to look at, seen from: n1\nCould not ask: n3\n"), "{}", did.out);
    for pod in ["lanlord-a", "lanlord-b"] {
        desk.put(pod, "2");
    }
    assert_eq!(desk.run(&["probe", "192.168.1.240"], "").code, 2);
}

#[test]
fn a_file_of_this_machine_reaches_the_pod_as_standard_input() {
    let desk = Desk::new();
    desk.put("my config.yaml", "addresses: 192.168.1.240-192.168.1.250\n");
    desk.put("web", "a file that is called as a Service is");
    for arguments in [
        &["check", "my config.yaml"][..],
        &["check", "-o", "json", "my config.yaml"],
        &["convert", "--to", "metallb", "my config.yaml"],
        &["plan", "--config", "my config.yaml"],
        &["plan", "--against=my config.yaml", "--drain", "n1"],
        &["explain", "web", "--config", "my config.yaml"],
    ] {
        let did = desk.run(arguments, "");
        let expected: String = arguments.iter().map(|it| format!("[{}]", it.replace("my config.yaml", "-"))).collect();
        assert!(did.calls[0].contains("[exec][-i]") && did.calls[0].ends_with(&expected), "{:?}{}", did.calls, did.err);
        assert_eq!(desk.sent(), "addresses: 192.168.1.240-192.168.1.250\n", "{arguments:?}");
    }
    let did = desk.run(&["check", "-"], "addresses: 10.0.0.9\n");
    assert_eq!((did.code, desk.sent().as_str()), (0, "addresses: 10.0.0.9\n"));
    let did = desk.run(&["explain", "web", "--config", "configmap:lanlord/lanlord"], "not sent");
    assert!(did.calls[0].ends_with("[explain][web][--config][configmap:lanlord/lanlord]") && desk.sent().is_empty(), "{:?}", did.calls);
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let desk = Desk::new();
    desk.put("a.yaml", "");
    desk.put("b.yaml", "");
    for (arguments, words) in [
        (&["check", "nowhere.yaml"][..], "nowhere.yaml is not a file here"),
        (&["check", "a.yaml", "b.yaml"], "only one file can be sent"),
        (&["status", "--node", "n9"], "no pod of Lanlord runs on node n9; it runs on: n1 n2 n3"),
        (&["--color", "status"], "stand behind it"),
        (&["--context"], "wants a value"),
    ] {
        let did = desk.run(arguments, "");
        assert!(did.code == 2 && did.err.contains(words) && did.calls.is_empty(), "{arguments:?}: {} {}", did.code, did.err);
    }
    desk.put("pods", "");
    let did = desk.run(&["status"], "");
    assert!(did.code == 2 && did.err.ends_with("kubectl get pods -n lanlord -o wide\n"), "{}", did.err);
    let did = desk.run(&["-n", "media", "explain", "jellyfin"], "");
    assert!(did.code == 2 && did.err.contains("a Service's stands behind it: explain jellyfin -n media"), "{}", did.err);
    let did = desk.run(&["--help"], "");
    assert!(did.code == 0 && did.out.contains("/usr/local/bin"), "{}", did.out);
    assert_eq!(desk.run(&[], "").code, 2);
}

#[test]
fn a_watch_on_a_terminal_has_the_terminal_in_the_pod_so_that_ctrl_c_ends_it_there() {
    let desk = Desk::new();
    let did = desk.run(&["watch", "--last", "3"], "");
    assert_eq!(did.calls, ["[exec][-n][lanlord][lanlord-a][-c][lanlord][--][/lanlord][watch][--last][3]"]);
    // `script` gives what it runs a terminal.
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kubectl-lanlord");
    for (verb, flags) in [("watch", "[exec][-i][-t]"), ("suggest", "[exec][-n]")] {
        drop(fs::remove_file(desk.path().join("calls")));
        let output = Command::new("script")
            .args(["-qec", &format!("sh {} {verb}", plugin.display()), "/dev/null"])
            .env("PATH", format!("{}:{}", desk.path().display(), std::env::var("PATH").unwrap()))
            .stdin(Stdio::null())
            .output()
            .expect("script (of Debian's bsdutils) runs");
        let calls = fs::read_to_string(desk.path().join("calls")).unwrap_or_default();
        let exec = calls.lines().find(|call| call.contains("[exec]"));
        assert!(exec.is_some_and(|call| call.starts_with(flags)), "{calls}{output:?}");
    }
}

#[test]
fn the_status_page_is_forwarded_to_this_machine() {
    let did = Desk::new().run(&["page", "--port", "8080", "--node", "n3"], "");
    assert_eq!(did.calls, ["[port-forward][-n][lanlord][pod/lanlord-c][8080:7475]"]);
    assert!(did.out.contains("on n3: http://127.0.0.1:8080/"), "{}", did.out);
}
