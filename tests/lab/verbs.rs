//! `lanlord probe` and `lanlord suggest` between namespaces: what they hear, whatever the kernel believes to know.

use std::process::Command;

use serde_json::Value;

use crate::support::{Lan, Namespace, mac_of};

/// Runs a verb in a namespace, without a cluster: exit code and JSON.
fn verb(namespace: &Namespace, arguments: &[&str]) -> (i32, Value) {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace.name(), "env", "KUBECONFIG=/nowhere", env!("CARGO_BIN_EXE_lanlord")])
        .args(arguments)
        .args(["-o", "json"])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

fn macs(report: &Value, index: usize) -> Vec<String> {
    let answers = report["addresses"][index]["answers"].as_array().unwrap().iter();
    answers.map(|answer| answer["mac"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_probe_hears_everybody_who_answers_and_nobody_who_is_only_remembered() {
    let lan = Lan::new();
    let (asking, _two) = (lan.host(1), lan.host(2));
    let twin = Namespace::new("twin");
    lan.attach(&twin, "eth0", mac_of(9));
    twin.ip("addr add 10.77.0.2/24 dev eth0");
    asking.ip("neigh replace 10.77.0.77 lladdr 02:00:00:00:00:4d dev eth0 nud permanent");
    let (code, said) = verb(&asking, &["probe", "10.77.0.2", "10.77.0.77", "fd77::2"]);
    assert_eq!(macs(&said, 0), [mac_of(2).to_string(), mac_of(9).to_string()]);
    assert!(said["addresses"][0]["means"].as_str().unwrap().starts_with("several machines answer"), "{said}");
    assert!(macs(&said, 1).is_empty(), "what the kernel remembers is no answer: {said}");
    assert_eq!(macs(&said, 2), [mac_of(2).to_string()], "{said}");
    assert_eq!(code, 1);
    assert!(said["notes"][0].as_str().unwrap().starts_with("of the cluster nothing is known"), "{said}");
    let (code, said) = verb(&asking, &["probe", "10.88.0.2"]);
    assert_eq!((code, &said["addresses"][0]["well"]), (2, &Value::Null), "{said}");
    let (code, said) = verb(&asking, &["probe", "10.88.0.2", "--link", "eth0"]);
    assert_eq!((code, &said["addresses"][0]["asked"][0]), (0, &"eth0".into()), "{said}");
}

#[test]
fn a_suggestion_steps_over_who_answers_and_leaves_no_trace_in_their_caches() {
    let lan = Lan::new();
    let (asking, other) = (lan.host(1), lan.host(245));
    other.ip("addr add fd77::fff3/64 dev eth0 nodad");
    let (code, said) = verb(&asking, &["suggest"]);
    let [v4, v6] = [0, 1].map(|index| &said["networks"][index]);
    assert_eq!((&v4["network"], &v4["range"]), (&"10.77.0.0/24".into(), &"10.77.0.234-10.77.0.244".into()), "{said}");
    assert_eq!(v4["answered"][0]["mac"], mac_of(245).to_string(), "{said}");
    assert_eq!((&v6["network"], &v6["range"]), (&"fd77::/64".into(), &"fd77::fff4-fd77::fffe".into()), "{said}");
    let command = "kubectl create configmap lanlord -n lanlord --from-literal addresses=10.77.0.234-10.77.0.244";
    assert_eq!((code, &said["command"]), (0, &command.into()), "{said}");
    assert_eq!(other.neighbour("eth0", "10.77.0.1".parse().unwrap()), None, "a probe comes from nobody");
    let (_, said) = verb(&asking, &["suggest", "--count", "3"]);
    assert_eq!(said["networks"][0]["range"], "10.77.0.240-10.77.0.242", "{said}");
}
