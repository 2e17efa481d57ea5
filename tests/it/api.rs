//! The way to the API server in its bad moments. The server is a small one of our own that answers, stalls or dies on command.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lanlord::addr::MacAddr;
use lanlord::api;
use lanlord::api::lease::{claim_lease, leader_lease, member_lease};
use lanlord::api::memory::Memory;
use lanlord::api::state::{ApiState, Contact};
use lanlord::api::watch::Outputs;
use lanlord::api::{Api, WriteError};
use lanlord::facts::{
    Claim, ConfigMapSeen, Counters, Holder, LeaderRecord, Medium, Member, MemberLink, NodeName, Objects, ObjectsSeen, Placement,
    ServiceKey, Snapshot, Uid,
};
use lanlord::net::clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// One request: its method, path and body, and the number of the connection on which it came.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    body: Value,
    connection: usize,
}

/// A server that has one answer for each path. A watch never says anything.
struct Server {
    address: SocketAddr,
    known: Arc<Known>,
    life: JoinHandle<()>,
}

struct Known {
    answers: BTreeMap<&'static str, (u16, Value)>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    /// How long it thinks; for ever (as SIGSTOP does) with `None`.
    delay: watch::Sender<Option<Duration>>,
}

impl Server {
    async fn start(answers: BTreeMap<&'static str, (u16, Value)>) -> Self {
        let known = Known {
            answers,
            asked: Mutex::default(),
            connections: AtomicUsize::default(),
            delay: watch::Sender::new(Some(Duration::ZERO)),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, known) = (listener.local_addr().unwrap(), Arc::new(known));
        Self { address, life: tokio::spawn(accept(listener, known.clone())), known }
    }

    /// A server with nothing in it.
    async fn start_empty() -> Self {
        Self::start_with([const { &[] }; 5]).await
    }

    /// A server with these objects, in the order of [`LISTS`].
    async fn start_with(objects: [&[Value]; 5]) -> Self {
        let list = |items: &[Value]| json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "10"}, "items": items});
        let answers = LISTS.iter().zip(objects).map(|(path, items)| (*path, (200, list(items))));
        let configmaps = list(&[json!({"metadata": {"name": "lanlord", "namespace": "lanlord", "uid": "u-5", "resourceVersion": "5"},
            "data": {"addresses": "192.168.1.240"}})]);
        let more = [("/livez", (200, json!("ok"))), (CONFIGMAPS, (200, configmaps))];
        Self::start(answers.chain(more).collect()).await
    }

    /// All its connections end.
    async fn kill(&mut self) {
        self.life.abort();
        drop((&mut self.life).await);
    }

    async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.life = tokio::spawn(accept(listener, self.known.clone()));
    }

    fn think(&self, delay: Option<Duration>) {
        self.known.delay.send_replace(delay);
    }

    fn config(&self) -> kube::Config {
        kube::Config::new(format!("http://{}", self.address).parse().unwrap())
    }

    fn api(&self) -> Api {
        Api::new(vec![self.config()], "lanlord").unwrap()
    }

    /// A cluster of one node and one Service with its address.
    async fn start_full() -> Self {
        let object =
            |name: &str, version: &str| json!({"name": name, "uid": format!("u-{name}"), "resourceVersion": version, "labels": {"a": "b"}});
        let mut service = object("web", "7");
        service["namespace"] = json!("default");
        let service = json!({"metadata": service, "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9", "fd96::9"],
            "ipFamilies": ["IPv4", "IPv6"], "ports": [{"port": 80, "protocol": "UDP"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.168.1.240", "ipMode": "VIP"}]}}});
        let slice = json!({"metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.1.2"], "nodeName": "pi1", "conditions": {"ready": true}}], "ports": []});
        let node = json!({"metadata": object("pi1", "3"), "status": {"addresses": [{"type": "InternalIP", "address": "192.168.1.11"}]}});
        let namespace = json!({"metadata": object("default", "2")});
        let leader = LeaderRecord {
            holder: Some("pi1/6f2a".into()),
            lease_duration: 30,
            transitions: 2,
            acquired: None,
            resource_version: "9".into(),
        };
        let links = vec![MemberLink {
            name: "eth0".into(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            medium: Medium::Wireless,
            addresses: ["192.168.1.11/24".parse().unwrap(), "fd00::11/64".parse().unwrap()].into(),
        }];
        let member = Member { links, conflicts: [("192.168.1.250".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 9]))].into(), ..member() };
        let holder = Holder { service: ServiceKey::new("default", "web"), uid: "u-web".to_owned().into(), terms: String::new() };
        let claim = Claim {
            moved: None,
            address: "192.168.1.240".parse().unwrap(),
            holders: vec![holder],
            pool: "default".into(),
            placement: Some(Placement { node: "pi1".into(), generation: 3 }),
            last_holder: None,
            freed: None,
            resource_version: "8".into(),
        };
        let now = jiff::Timestamp::UNIX_EPOCH;
        let leases = [leader_lease(&leader, now), member_lease(&member, &"u-pi1".to_owned().into(), now), claim_lease(&claim, now)];
        let leases = leases.map(|lease| serde_json::to_value(lease).unwrap());
        Self::start_with([&[service], &[slice], &[node], &[namespace], &leases]).await
    }

    fn asked(&self) -> Vec<Asked> {
        self.known.asked.lock().unwrap().clone()
    }

    fn heartbeats(&self) -> usize {
        self.asked().iter().filter(|asked| asked.path == "/livez").count()
    }

    fn lists(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| LISTS.contains(&asked.path.as_str())).collect()
    }
}

async fn accept(listener: TcpListener, known: Arc<Known>) {
    // Dropped with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = known.connections.fetch_add(1, Ordering::Relaxed);
        let known = known.clone();
        let service = service_fn(move |request| answer(request, number, known.clone()));
        connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, connection: usize, known: Arc<Known>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if watches {
        return std::future::pending().await;
    }
    let body = serde_json::from_slice(&body).unwrap_or_default();
    known.asked.lock().unwrap().push(Asked { method, path: path.clone(), body, connection });
    let delay = known.delay.subscribe().wait_for(Option::is_some).await.unwrap().unwrap_or_default();
    tokio::time::sleep(delay).await;
    let absent = (404, json!({"kind": "Status", "code": 404, "reason": "NotFound", "status": "Failure", "message": "none"}));
    let (status, body) = known.answers.get(path.as_str()).unwrap_or(&absent);
    let answer = Response::builder().status(StatusCode::from_u16(*status).unwrap());
    Ok(answer.body(Full::new(Bytes::from(body.to_string()))).unwrap())
}

/// What the agent knows of the API server.
struct Agent {
    state: watch::Receiver<ApiState>,
    snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl Agent {
    fn start(api: &Api) -> Self {
        Self::start_with(api, None)
    }

    fn start_with(api: &Api, memory: Option<Memory>) -> Self {
        let outputs = Outputs { snapshot: watch::Sender::default(), state: watch::Sender::default() };
        let agent = Self { state: outputs.state.subscribe(), snapshot: outputs.snapshot.subscribe() };
        let (feedback, answers) = mpsc::channel(1);
        let api = api.clone();
        tokio::spawn(async move {
            let _feedback = feedback;
            api::watch::run(api, memory, answers, outputs, CancellationToken::new()).await
        });
        agent
    }

    /// Waits until the state is so; how long that took.
    async fn until(&mut self, limit: Duration, holds: fn(&Contact) -> bool) -> Duration {
        let begun = clock::now();
        let reached = self.state.wait_for(|state| holds(&state.contact));
        tokio::time::timeout(limit, reached).await.expect("in time").unwrap();
        clock::now().since(begun)
    }

    /// Waits for the first Snapshot.
    async fn complete(&mut self) -> Arc<Snapshot> {
        let snapshot = tokio::time::timeout(PATIENCE, self.snapshot.wait_for(Option::is_some)).await.expect("in time").unwrap();
        snapshot.clone().unwrap()
    }
}

/// Waits until the condition holds.
async fn until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = clock::now();
    while !holds() {
        assert!(clock::now().since(begun) < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn reachable(contact: &Contact) -> bool {
    matches!(contact, Contact::Reachable { .. })
}

const PATIENCE: Duration = Duration::from_secs(10);

const CONFIGMAPS: &str = "/api/v1/namespaces/lanlord/configmaps";

const LISTS: [&str; 5] = [
    "/api/v1/services",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/api/v1/nodes",
    "/api/v1/namespaces",
    "/apis/coordination.k8s.io/v1/namespaces/lanlord/leases",
];

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/lanlord/leases/node.pi1";

fn lease(holder: Option<&str>, suspect: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "node.pi1", "namespace": "lanlord", "resourceVersion": "8", "annotations": {"lanlord.dev/suspect": suspect}},
        "spec": {"holderIdentity": holder, "leaseTransitions": 3},
    })
}

fn member() -> Member {
    Member { node: "pi1".into(), instance: Some("6f2a".to_owned()), generation: 3, resource_version: "7".to_owned(), ..Member::default() }
}

#[tokio::test]
async fn an_eviction_names_only_what_it_changes_and_the_version_it_saw() {
    let server = Server::start([(LEASE, (200, lease(Some("pi1/6f2a"), "pi2/91c0")))].into()).await;
    let suspected = server.api().suspect(&member(), "pi2/91c0").await.unwrap();
    assert_eq!(suspected.suspect.as_deref(), Some("pi2/91c0"));
    assert_eq!((suspected.resource_version.as_str(), suspected.generation), ("8", 3));
    server.api().clear(&suspected).await.unwrap();
    let suspect = json!({"metadata": {"resourceVersion": "7", "annotations": {"lanlord.dev/suspect": "pi2/91c0"}}});
    let clear = json!({
        "metadata": {"resourceVersion": "8", "annotations": {"lanlord.dev/suspect": null}},
        "spec": {"holderIdentity": null, "acquireTime": null},
    });
    let asked: Vec<_> = server.asked().into_iter().map(|asked| (asked.method, asked.path, asked.body)).collect();
    assert_eq!(asked, [suspect, clear].map(|body| (Method::PATCH, LEASE.to_owned(), body)));
}

#[tokio::test]
async fn an_eviction_is_not_retried_and_has_half_a_second_also_while_another_request_hangs() {
    let server = Server::start([(LEASE, (200, lease(None, "")))].into()).await;
    server.think(None);
    let api = server.api();
    let hanging = tokio::spawn({
        let api = api.clone();
        async move { api.write_member(&member(), &Default::default()).await }
    });
    let begun = clock::now();
    assert_eq!(api.suspect(&member(), "pi2/91c0").await, Err(WriteError::Timeout));
    let took = clock::now().since(begun);
    assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(1500), "{took:?}");
    server.think(Some(Duration::ZERO));
    assert_eq!(server.asked().iter().filter(|asked| asked.method == Method::PATCH).count(), 1);
    assert_eq!(api.clear(&member()).await.unwrap().instance, None);
    drop(hanging.await);
}

#[tokio::test]
async fn a_stall_is_noticed_and_at_its_end_every_watch_begins_anew_over_a_new_connection() {
    let server = Server::start_empty().await;
    let mut agent = Agent::start(&server.api());
    agent.complete().await;
    agent.until(PATIENCE, reachable).await;
    server.think(None);
    let noticed = agent.until(PATIENCE, Contact::is_unreachable).await;
    assert!(noticed < Duration::from_secs(6), "{noticed:?}");
    let before = server.known.connections.load(Ordering::Relaxed);
    // An outage in which somebody has been waiting for seconds.
    until(PATIENCE, "it is asked more often", || server.known.connections.load(Ordering::Relaxed) > before + 4).await;
    let asked = server.asked().len();
    server.think(Some(Duration::ZERO));
    let seen = agent.until(PATIENCE, reachable).await;
    assert!(seen < Duration::from_secs(2), "{seen:?}");
    let anew = || server.lists().len() == 2 * LISTS.len();
    until(Duration::from_secs(2), "every list is asked for again", anew).await;
    let lists = server.asked().split_off(asked).into_iter().filter(|asked| LISTS.contains(&asked.path.as_str()));
    assert!(lists.clone().count() == LISTS.len() && lists.clone().all(|asked| asked.connection >= before), "{lists:?}");
}

#[tokio::test]
async fn the_death_of_the_server_is_noticed_at_once_and_so_is_its_return() {
    let mut server = Server::start_empty().await;
    let mut agent = Agent::start(&server.api());
    agent.complete().await;
    agent.until(PATIENCE, reachable).await;
    server.kill().await;
    let noticed = agent.until(PATIENCE, Contact::is_unreachable).await;
    assert!(noticed < Duration::from_millis(1500), "no heartbeat was due so soon: {noticed:?}");
    server.start_again().await;
    let seen = agent.until(PATIENCE, reachable).await;
    assert!(seen < Duration::from_secs(2), "{seen:?}");
    until(Duration::from_secs(2), "every list is asked for again", || server.lists().len() == 2 * LISTS.len()).await;
}

#[tokio::test]
async fn when_one_way_is_a_dead_end_everything_moves_to_the_other_without_an_outage() {
    let (first, second) = (Server::start_empty().await, Server::start_empty().await);
    let api = Api::new(vec![first.config(), second.config()], "lanlord").unwrap();
    let mut agent = Agent::start(&api);
    agent.complete().await;
    agent.until(PATIENCE, reachable).await;
    assert_eq!(second.asked().len(), 0, "the first way is the one in use");
    let before = agent.state.borrow().contact.clone();
    first.think(None);
    let begun = clock::now();
    let writing = tokio::spawn(async move { api.write_member(&member(), &Uid::default()).await });
    until(PATIENCE, "the lists are asked for on the other way", || second.lists().len() == LISTS.len()).await;
    assert_eq!(writing.await.unwrap(), Err(WriteError::Timeout), "it may have been written or not");
    assert!(clock::now().since(begun) < Duration::from_millis(4900), "the write did not wait for its own end");
    assert_eq!(agent.state.borrow().contact, before, "reachable since the same moment");
}

#[tokio::test]
async fn a_slow_server_is_no_reason_to_begin_anew_and_a_poke_does_not_wait() {
    let server = Server::start_empty().await;
    let api = server.api();
    let mut agent = Agent::start(&api);
    agent.complete().await;
    server.think(Some(Duration::from_millis(900)));
    let beats = server.heartbeats();
    api.poke();
    until(Duration::from_millis(1500), "a heartbeat before its time", || server.heartbeats() > beats).await;
    until(PATIENCE, "two slow heartbeats, each hedged", || server.heartbeats() >= beats + 4).await;
    assert!(reachable(&agent.state.borrow().contact));
    assert_eq!(server.lists().len(), LISTS.len(), "the watches of before go on");
}

fn memory(directory: &Path, node: &str) -> Memory {
    Memory::open(directory, &NodeName::new(node)).unwrap()
}

/// What an agent with this memory makes of the ConfigMap.
fn configuration(api: &Api, memory: Option<Memory>, state: watch::Sender<ApiState>) -> watch::Receiver<ConfigMapSeen> {
    let (seen, received) = watch::channel(ConfigMapSeen::NotYet);
    let (namespace, name) = ("lanlord".to_owned(), "lanlord".to_owned());
    tokio::spawn(api::configmap::run(api.clone(), memory, namespace, name, seen, state, CancellationToken::new()));
    received
}

/// One life of an agent, until it has a Snapshot and the configuration and has written what it remembers of them.
async fn live(server: &Server, memory: &Memory, file: &Path) -> (Arc<Snapshot>, ConfigMapSeen) {
    let api = server.api();
    let mut agent = Agent::start_with(&api, Some(memory.clone()));
    let keeping = tokio::spawn(api::memory::keep(memory.clone(), agent.snapshot.clone(), CancellationToken::new()));
    let mut seen = configuration(&api, Some(memory.clone()), watch::Sender::default());
    let snapshot = agent.complete().await;
    let seen = seen.wait_for(|seen| *seen != ConfigMapSeen::NotYet).await.unwrap().clone();
    until(PATIENCE, "the Snapshot is written", || file.exists()).await;
    keeping.abort();
    (snapshot, seen)
}

#[tokio::test]
async fn a_restart_without_the_api_server_goes_on_with_what_was_seen_before_and_its_first_answer_replaces_that() {
    let directory = tempfile::tempdir().unwrap();
    let (state, mut server) = (directory.path().join("state"), Server::start_full().await);
    let (memory, file) = (memory(&state, "pi1"), state.join("snapshot.json"));
    let (snapshot, configured) = live(&server, &memory, &file).await;
    assert_eq!((snapshot.services.len(), snapshot.endpoints.len(), snapshot.claims.len(), snapshot.members.len()), (1, 1, 1, 1));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&state)), (0o600, 0o700));

    server.kill().await;
    let api = server.api();
    let mut agent = Agent::start_with(&api, Some(memory.clone()));
    let state = watch::Sender::new(ApiState::default());
    let mut seen = configuration(&api, Some(memory), state.clone());
    let remembered = agent.complete().await;
    assert_eq!(*remembered, Snapshot { remembered: true, ..Snapshot::clone(&snapshot) });
    state.send_replace(agent.state.borrow().clone());
    assert_eq!(*seen.wait_for(|seen| *seen != ConfigMapSeen::NotYet).await.unwrap(), configured);

    server.start_again().await;
    let real = agent.snapshot.wait_for(|snapshot| snapshot.as_ref().is_some_and(|snapshot| !snapshot.remembered));
    assert_eq!(*tokio::time::timeout(PATIENCE, real).await.expect("in time").unwrap(), Some(snapshot));
}

#[tokio::test]
async fn memory_is_not_used_when_the_server_answers_nor_when_it_is_foreign_broken_or_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let (file, mut server) = (directory.path().join("snapshot.json"), Server::start_full().await);
    live(&server, &memory(directory.path(), "pi1"), &file).await;
    server.kill().await;

    let empty = Server::start_empty().await;
    let snapshot = Agent::start_with(&empty.api(), Some(memory(directory.path(), "pi1"))).complete().await;
    assert_eq!(*snapshot, Snapshot::default());

    let forgets = async |what: &str, node: &str| {
        let mut agent = Agent::start_with(&server.api(), Some(memory(directory.path(), node)));
        agent.until(PATIENCE, Contact::is_unreachable).await;
        let used = tokio::time::timeout(Duration::from_millis(1500), agent.snapshot.wait_for(Option::is_some)).await;
        assert!(used.is_err(), "{what}");
    };
    forgets("of another node", "pi2").await;
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"format\":2", "\"format\":1", 1)).unwrap();
    forgets("of another version", "pi1").await;
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    forgets("half a file", "pi1").await;
    std::fs::write(&file, text).unwrap();
    memory(directory.path(), "pi1").forget();
    forgets("after an orderly leave", "pi1").await;
}

/// A command of the binary, whose kubeconfig leads to `server`.
async fn command(server: &Server, args: &[&str]) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let (path, address) = (dir.path().join("kubeconfig"), server.address);
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [],
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "nobody"}}]});
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lanlord"));
    command.args(args).env("KUBECONFIG", &path);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn plan_and_explain_see_the_cluster_live_with_the_agents_configuration() {
    let mut server = Server::start_full().await;
    let (code, out, err) = command(&server, &["explain", "web"]).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("addresses  192.168.1.240\n") && out.contains("owner      pi1\n"), "{out}");
    let (code, out, err) = command(&server, &["plan", "-o", "json"]).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["addresses"][0]["owner"], "pi1", "{out}");
    server.kill().await;
    let (code, out, err) = command(&server, &["explain", "web"]).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("lanlord: the API server gave no complete answer within"), "{err}");
}

/// What an agent with this memory makes of the custom resources of namespace lanlord.
fn objects(api: &Api, memory: Option<Memory>, state: &watch::Sender<ApiState>) -> watch::Receiver<ObjectsSeen> {
    let (seen, received) = watch::channel(ObjectsSeen::NotYet);
    tokio::spawn(api::crds::run(api.clone(), memory, vec!["lanlord".to_owned()], seen, state.clone(), CancellationToken::new()));
    received
}

async fn present(seen: &mut watch::Receiver<ObjectsSeen>) -> Arc<Objects> {
    let present = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| *seen != ObjectsSeen::NotYet)).await;
    match present.expect("in time").unwrap().clone() {
        ObjectsSeen::Present(objects) => objects,
        ObjectsSeen::NotYet => unreachable!("it was awaited"),
    }
}

#[tokio::test]
async fn custom_resources_are_complete_also_where_kinds_are_not_served_and_are_remembered() {
    let pool = json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": "first", "namespace": "lanlord",
        "uid": "u-1", "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"}, "managedFields": []},
        "spec": {"addresses": ["192.168.1.240/32"]},
        "status": {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 0, "availableIPv6": 0}});
    let list =
        json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPoolList", "metadata": {"resourceVersion": "10"}, "items": [pool]});
    let path = "/apis/metallb.io/v1beta1/namespaces/lanlord/ipaddresspools";
    // The API server's answer where it does not know the group.
    let unknown = ("/apis/metallb.io/v1beta2/namespaces/lanlord/bgppeers", (404, json!("404 page not found")));
    let mut server = Server::start([(path, (200, list)), unknown, ("/livez", (200, json!("ok")))].into()).await;
    let directory = tempfile::tempdir().unwrap();
    let (memory, state) = (memory(directory.path(), "pi1"), watch::Sender::new(ApiState::default()));
    let mut seen = objects(&server.api(), Some(memory.clone()), &state);
    let known = present(&mut seen).await;
    let (key, object) = known.first_key_value().unwrap();
    assert_eq!((known.len(), key.to_string().as_str()), (1, "IPAddressPool lanlord/first"));
    assert_eq!((object.uid.to_string().as_str(), object.created.as_str()), ("u-1", "2026-01-01T00:00:00Z"));
    assert_eq!(object.counters, Some(Counters { assigned_ipv4: 1, ..Counters::default() }));
    assert!(object.text.contains("192.168.1.240/32") && object.text.contains("\"a\": \"b\""), "{}", object.text);
    assert!(["status", "managedFields", "uid"].iter().all(|word| !object.text.contains(word)), "{}", object.text);
    assert!(state.borrow().failing.is_empty(), "a kind that is not served is no failure");

    // A server that is away is not one without objects, neither now nor at the next start.
    server.kill().await;
    until(PATIENCE, "its end is seen", || !state.borrow().failing.is_empty()).await;
    assert!(!seen.has_changed().unwrap());
    let api = server.api();
    let mut agent = Agent::start(&api);
    agent.until(PATIENCE, Contact::is_unreachable).await;
    let later = watch::Sender::new(agent.state.borrow().clone());
    assert_eq!(present(&mut objects(&api, Some(memory), &later)).await, known);
}
