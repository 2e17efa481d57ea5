//! `scripts/image.sh`: that it packs what it has built just now, and nothing else.

use super::Machine;

#[test]
fn a_build_in_docker_that_fails_packs_nothing_that_an_earlier_one_left() {
    for build in ["exit 1", "exit 0"] {
        let machine = Machine::new();
        machine.file("out/amd64/lanlord", "an earlier build");
        machine.command("docker", build).command("python3", "exit 0");
        let out = machine.path("root/out");
        let outcome = machine.run("scripts/image.sh", &["--docker", "--arch", "amd64", "--out", out.to_str().unwrap()], &[]);
        assert!(!outcome.succeeded, "{}", outcome.said);
        assert!(outcome.calls.iter().any(|call| call.starts_with("docker build")), "{}", outcome.said);
        assert!(!outcome.calls.iter().any(|call| call.starts_with("python3")), "packed: {:?}", outcome.calls);
    }
}
