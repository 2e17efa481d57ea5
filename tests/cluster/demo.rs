//! What a newcomer sees first: `scripts/demo.sh`, from its first line to the empty machine it leaves.
//!
//! It starts a cluster of its own and bounds all of its waits.

use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_demo_tells_its_whole_story_and_cleans_up() {
    let demo = Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo.sh"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash runs");
    // Its process id is in the names of its namespaces.
    let namespaces = format!("demo{}-", demo.id());
    let output = demo.wait_with_output().expect("it was started");
    let story = String::from_utf8_lossy(&output.stdout);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story}\n{progress}");
    let mut rest = &*story;
    for line in [
        "It takes about ",
        "$ kubectl apply -f manifests/lanlord.yaml",
        "$ kubectl create configmap lanlord -n lanlord --from-literal addresses=10.77.0.240-10.77.0.250",
        "The address is 10.77.0.240.",
        "hello   LoadBalancer",
        "$ curl -s http://10.77.0.240/",
        "pod=hello-",
        "reply from 10.77.0.240",
        "lanlord.dev/announced: 10.77.0.240 by n",
        "ip.10.77.0.240   default/hello",
        "longest time between two answers",
        "answers for 10.77.0.240.",
        "pod=hello-",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("the story lacks {line:?} here:\n{story}\n{progress}"));
        rest = &rest[at + line.len()..];
    }
    let left = Command::new("ip").args(["netns", "list"]).output().expect("ip runs");
    assert!(!String::from_utf8_lossy(&left.stdout).contains(&namespaces), "namespaces are left");
}
