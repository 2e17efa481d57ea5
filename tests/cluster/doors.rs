//! The two doors, from the first line to a Service that answers and back to nothing, in front of the real API server. Docker, kind and
//! k3s are stand-ins; kubectl, curl, the scripts and Lanlord are the genuine ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::cluster::result;

const NETWORK: &str = r#"[{"Name": "kind", "IPAM": {"Config": [{"Subnet": "fd77::/64"}, {"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}]},
    "Containers": {"1": {"IPv4Address": "10.77.0.11/24", "IPv6Address": "fd77::11/64"}, "2": {"IPv4Address": "10.77.0.100/24"}}}]"#;

/// The commands beside the script, and where it runs.
struct Stage<'a> {
    cluster: &'a Cluster,
    folder: PathBuf,
}

impl Stage<'_> {
    fn new(cluster: &Cluster) -> Stage<'_> {
        let folder = cluster.path("stage");
        fs::create_dir_all(folder.join("bin")).expect("a folder of ours");
        fs::create_dir_all(folder.join("root/var/lib/rancher/k3s/server/manifests")).expect("a folder of ours");
        // The context of a kind cluster.
        let kubeconfig = fs::read_to_string(cluster.path("kubeconfig")).expect("the cluster has one");
        let kubeconfig = kubeconfig
            .replace("current-context: lab", "current-context: kind-lab")
            .replace("name: lab, context", "name: kind-lab, context");
        fs::write(folder.join("kubeconfig"), kubeconfig).expect("a file of ours");
        Stage { cluster, folder }
    }

    fn command(&self, name: &str, body: &str) {
        let path = self.folder.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >>\"$CALLS\"\n{body}\n")).expect("a file of ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    }

    /// What a script says, as a person at this place sees it; and what it called.
    #[track_caller]
    fn run(&self, place: &str, script: &str, arguments: &[&str]) -> (String, String) {
        let calls = self.folder.join("calls");
        let _ = fs::remove_file(&calls);
        let done = AtomicBool::new(false);
        let outcome = thread::scope(|scope| {
            scope.spawn(|| self.machinery(&done));
            let mut command = self.cluster.command(&["exec"]);
            command.args([place, "env"]).arg(format!("CALLS={}", calls.display()));
            command.arg(format!("KUBECONFIG={}", self.folder.join("kubeconfig").display()));
            command.args(["sh", "-c", "PATH=$1:$PATH && shift && exec sh \"$@\"", "-"]).arg(self.folder.join("bin"));
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).args(arguments).args(["--wait", "60"]);
            let output = command.stdin(Stdio::null()).output();
            done.store(true, Ordering::Relaxed);
            output.expect("sh runs")
        });
        let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
        if let Err(complaint) = result(&outcome) {
            panic!("{script} {}: {said}\n{complaint}", arguments.join(" "));
        }
        (said, fs::read_to_string(calls).expect("it called something"))
    }

    /// What k3s and the kubelets do by themselves: apply a new manifest, start the container of a new Pod.
    fn machinery(&self, done: &AtomicBool) {
        let manifest = self.folder.join("root/var/lib/rancher/k3s/server/manifests/lanlord.yaml");
        let read = || fs::read_to_string(&manifest).unwrap_or_default();
        // What is there already was applied before: k3s does not do it again while something is removed.
        let (mut applied, mut started) = (read(), self.pods());
        while !done.load(Ordering::Relaxed) {
            let text = read();
            if text != applied && !text.is_empty() {
                self.cluster.apply(&text);
            }
            applied = text;
            let pods = self.pods();
            if pods.len() == 3 && pods != started {
                self.cluster.nodes().for_each(|node| node.agent_start("configmap:lanlord/lanlord"));
                started = pods;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Pods of the DaemonSet that are there to stay.
    fn pods(&self) -> Vec<String> {
        let template = "{{range .items}}{{if and .spec.nodeName (not .metadata.deletionTimestamp)}}{{.metadata.name}} {{end}}{{end}}";
        let names =
            self.cluster.try_kubectl(&["get", "pods", "-n", "lanlord", "-l", "app=lanlord", "-o", &format!("go-template={template}")]);
        names.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// Nothing of Lanlord is in the API any more, and Services say nothing of it.
    #[track_caller]
    fn assert_gone(&self) {
        let kinds = self.cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"]).replace('\n', ",");
        let all = self.cluster.kubectl(&["get", &kinds, "-A", "-o", "name"]);
        let left: Vec<&str> = all.lines().filter(|name| name.contains("lanlord")).collect();
        assert!(left.is_empty(), "left: {left:?}");
        let web = self.cluster.json(&["get", "service", "web"]);
        assert!(!web.to_string().contains("lanlord"), "left in the Service: {web}");
        assert_eq!(web["status"]["loadBalancer"], json!({}));
    }
}

#[track_caller]
fn tells(said: &str, lines: &[&str]) {
    let mut rest = said;
    for line in lines {
        let at = rest.find(line).unwrap_or_else(|| panic!("not said, or not here: {line:?}\n{said}"));
        rest = &rest[at + line.len()..];
    }
}

#[test]
fn doors_lead_to_a_service_that_answers_and_back_to_nothing() {
    let cluster = Cluster::bare(&Options::default());
    cluster.backend("web", &["n1", "n2"]);
    cluster.load_balancer("web", "ipFamilyPolicy: SingleStack");
    let stage = Stage::new(&cluster);
    kind(&stage);
    k3s(&stage);
}

fn kind(stage: &Stage<'_>) {
    let docker = |about: &str| {
        let body =
            "ps*format*) echo kindest/node:v1.36.4 ;;\nps*) ;;\nimage*) ;;\nsave*) : >\"$3\" ;;\nrun*) shift 7 && exec curl \"$@\" ;;";
        stage
            .command("docker", &format!("case $* in\ninfo*) echo '{about}' ;;\nnetwork*) echo '{NETWORK}' ;;\n{body}\n*) exit 1 ;;\nesac"));
    };
    stage.command("kind", "case $* in 'get clusters') echo lab ;; load*) ;; *) exit 1 ;; esac");
    docker("Debian GNU/Linux 13 [name=seccomp]");
    let (said, calls) = stage.run("cl", "kind/quickstart.sh", &[]);
    tells(&said, &["give Lanlord free addresses of the network: 10.77.0.", ",fd77::ffff:", "$ kind load image-archive"]);
    tells(&said, &["$ curl -fsS --max-time 3 http://10.77.0.", "pod=hello-", "That was the name of the pod"]);
    assert!(calls.contains("--name lab"), "{calls}");
    // While it waits it may ask from a container too; a user on Linux is shown the way from this machine alone.
    assert!(!said.contains("docker run"), "{said}");

    // Again, as if in a virtual machine: the same addresses, and a container asks.
    docker("Docker Desktop [name=seccomp]");
    let (again, calls) = stage.run("cl", "kind/quickstart.sh", &[]);
    tells(
        &again,
        &[
            "keep the configuration that is there: 10.77.0.",
            "Before you start: Docker Desktop",
            "==> Installing",
            "$ docker run --rm --network kind",
        ],
    );
    tells(&again, &["pod=hello-", "docker run -d --rm --name lanlord-port"]);
    assert!(calls.contains("docker run --rm --network kind --entrypoint curl kindest/node:v1.36.4 -fsS"), "{calls}");
    let address = |said: &str| said.split("The address is ").nth(1).and_then(|rest| rest.lines().next()).map(str::to_owned);
    assert_eq!(address(&said), address(&again));

    let (said, _) = stage.run("cl", "kind/quickstart.sh", &["--uninstall"]);
    tells(&said, &["delete the application", "Lanlord is gone"]);
    stage.assert_gone();
    stage.run("cl", "kind/quickstart.sh", &["--uninstall"]);
}

fn k3s(stage: &Stage<'_>) {
    let cluster = stage.cluster;
    for (node, arguments) in [("n1", r#"["server","--disable","servicelb"]"#), ("n2", r#"["agent"]"#), ("n3", r#"["agent"]"#)] {
        cluster.kubectl(&["annotate", "node", node, &format!("k3s.io/node-args={arguments}")]);
    }
    // As k3s does, it knows the file of its own cluster; the script does not heed KUBECONFIG.
    let kubeconfig = stage.folder.join("kubeconfig").display().to_string();
    let kubectl = format!("shift && exec kubectl --kubeconfig {kubeconfig} \"$@\"");
    stage.command("k3s", &format!("case $1 in kubectl) {kubectl} ;; ctr) ;; *) exit 1 ;; esac"));
    stage.command("uname", "[ \"$1\" != -n ] && exec /bin/uname \"$@\"; echo n1");
    fs::write(stage.folder.join("lanlord.tar"), "an image").expect("a file of ours");
    let root = stage.folder.join("root").display().to_string();
    let image = stage.folder.join("lanlord.tar").display().to_string();
    let range = "10.77.0.240-10.77.0.250";

    let (said, calls) = stage.run("n1", "k3s/install.sh", &[range, "--image", &image, "--root", &root]);
    tells(
        &said,
        &["ServiceLB, is off on every server (n1)", "1. copy", "2. write", "3. create the ConfigMap", "n2:  scp", "==> Installing"],
    );
    tells(&said, &["$ k3s kubectl create configmap lanlord", "==> Waiting for addresses", "web", "10.77.0.240"]);
    assert!(!said.contains("Note:"), "{said}");
    assert!(calls.contains("k3s ctr images import"), "{calls}");
    assert_eq!(fs::read_to_string(format!("{root}/var/lib/rancher/k3s/agent/images/lanlord.tar")).expect("it is there"), "an image");
    cluster.wait_reachable("web");

    let (again, _) = stage.run("n1", "k3s/install.sh", &[range, "--root", &root]);
    tells(&again, &["leave the ConfigMap lanlord/lanlord as it is", "web", "10.77.0.240"]);

    let (said, _) = stage.run("n1", "k3s/install.sh", &["--uninstall", "--root", &root]);
    tells(&said, &["remove /var/lib/rancher/k3s/server/manifests/lanlord.yaml", "Lanlord is gone"]);
    stage.assert_gone();
    assert!(!Path::new(&format!("{root}/var/lib/rancher/k3s/server/manifests/lanlord.yaml")).exists());
    stage.run("n1", "k3s/install.sh", &["--uninstall", "--root", &root]);
}
