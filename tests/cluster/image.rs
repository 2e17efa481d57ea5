//! The image as nodes run it: packed by `scripts/image.sh`, imported by containerd, started by runc with the security context, the
//! arguments, environment and mounts of `manifests/lanlord.yaml`, on a node's network.
//!
//! What the kubelet and containerd derive from a manifest is derived here in their way. Only the cgroup (the memory limit) is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::cluster::result;
use crate::support::{Cluster, Options};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a command prints, or a failed test with its complaint.
#[track_caller]
fn output(command: &mut Command) -> String {
    result(&command.stdin(Stdio::null()).output().expect("it is installed")).unwrap_or_else(|complaint| panic!("{command:?}: {complaint}"))
}

/// `scripts/image.sh` for this machine: its lines, a sum and a file each.
fn pack(out: &Path) -> Vec<(String, PathBuf)> {
    let mut command = Command::new(format!("{ROOT}/scripts/image.sh"));
    command.args(["--profile", "fast", "--out"]).arg(out);
    if let Ok(binary) = std::env::var("LANLORD_BIN") {
        command.args(["--binary", &binary]);
    }
    let sums = output(&mut command);
    let line = |line: &str| line.split_once("  ").map(|(sum, file)| (sum.to_owned(), PathBuf::from(file))).expect("a sum and a file");
    sums.lines().map(line).collect()
}

/// The DaemonSet that users apply.
fn daemon_set() -> Value {
    let text = fs::read_to_string(format!("{ROOT}/manifests/lanlord.yaml")).expect("the manifest");
    let documents = serde_yaml::Deserializer::from_str(&text).map(|one| Value::deserialize(one).expect("YAML"));
    documents.into_iter().find(|one| one["kind"] == "DaemonSet").expect("there is one")
}

/// containerd with nothing in it, and no more of it when the test ends.
struct Containerd {
    child: Child,
    socket: PathBuf,
}

impl Containerd {
    fn start(cluster: &Cluster) -> Containerd {
        let [home, socket] = ["containerd", "containerd/socket"].map(|name| cluster.path(name));
        fs::create_dir_all(&home).expect("the cluster's directory");
        let config = home.join("config.toml");
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {socket:?}\n",
            home.join("root"),
            home.join("state")
        );
        fs::write(&config, text).expect("the cluster's directory");
        let log = fs::File::create(cluster.path("log/containerd.log")).expect("the cluster's directory");
        let child = Command::new("containerd").arg("-c").arg(&config).stderr(log).stdin(Stdio::null()).spawn();
        let containerd = Containerd { child: child.expect("containerd is installed"), socket };
        cluster.wait_until(20, "containerd answers", || containerd.ctr().arg("version").output().is_ok_and(|said| said.status.success()));
        containerd
    }

    /// ctr in the namespace of Kubernetes.
    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(&self.socket).args(["-n", "k8s.io"]);
        command
    }

    /// What containerd would run by itself: the image's program, user and environment, and its default seccomp profile for a container
    /// without capabilities.
    fn container(&self, image: &str) -> Value {
        let mut command = self.ctr();
        command.args(["containers", "create", "--snapshotter", "native", "--seccomp"]);
        // Docker's default set, which ctr begins with.
        for name in
            "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
                .split(' ')
        {
            command.args(["--cap-drop", &format!("CAP_{name}")]);
        }
        output(command.args([image, "lanlord"]));
        let shown: Value = serde_json::from_str(&output(self.ctr().args(["containers", "info", "lanlord"]))).expect("JSON");
        shown["Spec"].clone()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Best effort: the test may have failed because it ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Appends to a list in JSON.
fn append(list: &mut Value, more: impl IntoIterator<Item = Value>) {
    list.as_array_mut().expect("a list").extend(more);
}

/// What the kubelet and containerd make of the manifest for this node: the configuration of an OCI runtime.
fn configure(spec: &mut Value, pod: &Value, cluster: &Cluster, node: &str, rootfs: &Path) {
    let (container, user) = (&pod["containers"][0], &pod["securityContext"]);
    let rights = &container["securityContext"];
    assert_eq!(rights["capabilities"]["drop"], json!(["ALL"]));
    let added = rights["capabilities"]["add"].as_array().expect("a list");
    let capabilities: Vec<_> = added.iter().map(|name| format!("CAP_{}", name.as_str().expect("a name"))).collect();

    let process = &mut spec["process"];
    process["user"] = json!({"uid": user["runAsUser"], "gid": user["runAsGroup"]});
    process["noNewPrivileges"] = json!(rights["allowPrivilegeEscalation"] == false);
    // Kubernetes has no ambient capabilities, and containerd makes none inheritable.
    process["capabilities"] = json!({"bounding": capabilities, "permitted": capabilities, "effective": capabilities});
    append(&mut process["args"], container["args"].as_array().expect("a list").clone());
    for variable in container["env"].as_array().expect("a list") {
        assert_eq!(variable["valueFrom"]["fieldRef"]["fieldPath"], "spec.nodeName", "the only kind that is filled in here");
        append(&mut process["env"], [json!(format!("{}={node}", variable["name"].as_str().expect("a name")))]);
    }
    append(&mut process["env"], [json!("KUBERNETES_SERVICE_HOST=10.96.0.1"), json!("KUBERNETES_SERVICE_PORT=443")]);

    spec["root"] = json!({"path": rootfs, "readonly": rights["readOnlyRootFilesystem"]});
    for mount in container["volumeMounts"].as_array().expect("a list") {
        let volume = pod["volumes"].as_array().expect("a list").iter().find(|volume| volume["name"] == mount["name"]).expect("it is there");
        assert_eq!(volume["emptyDir"]["medium"], "Memory", "the only kind that is mounted here");
        let size = volume["emptyDir"]["sizeLimit"].as_str().expect("it has one").replace("Mi", "m");
        let options = ["nosuid", "nodev", "mode=0777", &format!("size={size}")];
        append(&mut spec["mounts"], [json!({"destination": mount["mountPath"], "type": "tmpfs", "source": "tmpfs", "options": options})]);
    }
    assert_eq!(pod["automountServiceAccountToken"], true);
    let account = "run/secrets/kubernetes.io/serviceaccount";
    let token = cluster.path("agent").join(node).join(account);
    let options = json!(["rbind", "rprivate", "ro"]);
    append(&mut spec["mounts"], [json!({"destination": format!("/var/{account}"), "type": "bind", "source": token, "options": options})]);

    assert_eq!(user["seccompProfile"]["type"], "RuntimeDefault");
    assert!(spec["linux"]["seccomp"].is_object(), "containerd's own profile: {spec}");
    assert_eq!(pod["hostNetwork"], true);
    let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "network");
    spec["linux"]["resources"] = json!({});
}

/// The agent of a node, out of the image.
struct Container<'a> {
    cluster: &'a Cluster,
    node: &'a str,
    containerd: Containerd,
    image: String,
}

impl Container<'_> {
    fn import<'a>(cluster: &'a Cluster, archive: &Path, node: &'a str) -> Container<'a> {
        let pod = &daemon_set()["spec"]["template"]["spec"];
        let image = pod["containers"][0]["image"].as_str().expect("a name").to_owned();
        let containerd = Containerd::start(cluster);
        output(containerd.ctr().args(["images", "import", "--snapshotter", "native"]).arg(archive));
        let mut spec = containerd.container(&image);
        let bundle = cluster.path("bundle");
        fs::create_dir_all(bundle.join("rootfs")).expect("the cluster's directory");
        configure(&mut spec, pod, cluster, node, &bundle.join("rootfs"));
        fs::write(bundle.join("config.json"), spec.to_string()).expect("the cluster's directory");
        Container { cluster, node, containerd, image }
    }

    /// In the agent's place. The image is mounted where nobody else sees it, so that the mount ends with the container; with the
    /// mounts of this process around it, because a node here has a /sys without cgroups.
    fn start(&self) {
        let script = "ctr -a \"$1\" -n k8s.io images mount --rw --snapshotter native \"$2\" \"$3/rootfs\" && \
                      exec runc --root \"$4\" run --bundle \"$3\" lanlord";
        let mounts = format!("--mount=/proc/{}/ns/mnt", std::process::id());
        let [socket, bundle, state] = [self.containerd.socket.clone(), self.cluster.path("bundle"), self.cluster.path("runc")]
            .map(|path| path.to_str().expect("UTF-8").to_owned());
        let command = ["nsenter", &mounts, "unshare", "--mount", "sh", "-c", script, "-", &socket, &self.image, &bundle, &state];
        self.cluster.node(self.node).agent_command(&command, &[]);
    }

    /// On the node's network, as containerd is.
    fn runc(&self, arguments: &[&str]) -> Result<String, String> {
        let network = format!("--net=/run/netns/{}", self.cluster.namespace(self.node));
        let mut command = Command::new("nsenter");
        command.args([&network, "runc", "--root"]).arg(self.cluster.path("runc")).args(arguments);
        result(&command.stdin(Stdio::null()).output().expect("nsenter is installed"))
    }

    /// As `kubectl exec`.
    fn exec(&self, command: &[&str]) -> Result<String, String> {
        self.runc(&[&["exec", "lanlord"], command].concat())
    }

    /// A line of what the kernel says of the running agent.
    fn kernel_says(&self, key: &str) -> String {
        let state: Value = serde_json::from_str(&self.runc(&["state", "lanlord"]).expect("it runs")).expect("JSON");
        let status = fs::read_to_string(format!("/proc/{}/status", state["pid"])).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{key} in {status}")).split_whitespace().next().expect("a value").to_owned()
    }
}

#[test]
fn the_image_does_its_work_in_containerd_and_runc_with_the_rights_of_the_manifest_and_no_more() {
    let cluster = Cluster::start(&Options::default());
    let packed = pack(&cluster.path("image"));
    let sums = |packed: &[(String, PathBuf)]| packed.iter().map(|(sum, _)| sum.clone()).collect::<Vec<_>>();
    assert_eq!(sums(&packed), sums(&pack(&cluster.path("again"))), "the same program gives the same image");

    cluster.configure("addresses", "10.77.0.240-10.77.0.250");
    cluster.backend("web", &["n1"]);
    let container = Container::import(&cluster, &packed[0].1, "n1");
    container.start();
    for node in ["n2", "n3"] {
        cluster.node(node).agent_start("configmap:lanlord/lanlord");
    }
    cluster.wait_until(20, "the startup probe passes", || container.exec(&["/lanlord", "health", "live"]).is_ok());
    cluster.wait_until(20, "the readiness probe passes", || container.exec(&["/lanlord", "health", "ready"]).is_ok());
    cluster.load_balancer("web", "externalTrafficPolicy: Local");
    cluster.wait_owner("web", "the only node with a Pod announces it, out of the image", |node| node == "n1");
    cluster.wait_reachable("web");
    let status = container.exec(&["lanlord", "status"]).expect("the program is on the path");
    assert!(status.contains("10.77.0.240"), "{status}");

    let net_raw = "0000000000002000";
    let rights = ["Uid", "Gid", "NoNewPrivs", "Seccomp", "CapBnd", "CapPrm", "CapAmb", "CapInh"].map(|key| container.kernel_says(key));
    let none = "0000000000000000";
    assert_eq!(rights, ["65532", "65532", "1", "2", net_raw, net_raw, none, none]);

    cluster.backend("web", &["n2"]);
    cluster.node("n1").agent_stop();
    cluster.wait_owner("web", "it left in order, and the other node with a Pod took over", |node| node == "n2");
    let holder = cluster.kubectl(&["get", "lease", "-n", "lanlord", "node.n1", "-o", "jsonpath={.spec.holderIdentity}"]);
    assert_eq!(holder, "", "the Lease of the node that left");
    assert!(container.runc(&["state", "lanlord"]).is_err(), "the container is gone");
}
