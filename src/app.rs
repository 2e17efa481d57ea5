//! The wiring diagram: the only module that knows all others. Channels and tasks; no decision.
//!
//! ```text
//!   net::link ─links─┬───────────────────────────► plan ─► l2 (a thread and runtime of its own)
//!   membership, leader::suggest ─questions─► l2 ─answers, conflicts─► both;  leader::suggest ─prospect─► leader
//!   api::watch ─snapshot─┬─► membership ─living─┬─►  │ ─heirs─► membership
//!   config ─config───────┴──────────────────────┘    ├─planned─► leader ─► api ─► API server ─► api::watch
//!   api::secrets ─passwords──────────────────────────┴─peers─► bgp ─sessions─► bfd ─status─► bgp, membership
//!   every task ─status─► telemetry
//! ```
//!
//! Each `start_*` connects one part; `shutdown` ends them in order.

mod edits;
mod figures;
mod member;
pub mod problems;
pub mod report;
pub mod services;
mod shutdown;
mod status;
pub mod transitions;
mod wires;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::api::Api;
use crate::api::memory::Memory;
use crate::api::watch::Feedback;
use crate::bfd;
use crate::bgp;
use crate::bgp::session::Restart;
use crate::config;
use crate::config::origin::{Origin, Origins};
use crate::facts::{ConfigMapSeen, Event, NodeName, ObjectsSeen, Questions, SecretKey, Subject, Uid, replace};
use crate::l2;
use crate::leader;
use crate::machine::Instant;
use crate::membership;
use crate::membership::own::State as MemberState;
use crate::net;
use crate::plan;
use crate::plan::peers::RESTART_TIME;
use crate::telemetry::guard::Audience;
use crate::telemetry::health::{Health, Heartbeat, Part};
use crate::telemetry::live::Live;
use crate::telemetry::paced::Paced;
use crate::telemetry::server::{self, Address, Site};
use shutdown::{Tasks, supervise};
use wires::{Phases, Wires};

/// A loop that has not turned for so long is stuck.
const STUCK: Duration = Duration::from_secs(20);

/// What an agent has to know to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The name of the Node it runs on.
    pub node: NodeName,
    /// Where the configuration comes from.
    pub config: Origins,
    /// The namespace of the Leases.
    pub namespace: String,
    /// Where health, metrics and status are served.
    pub http: SocketAddr,
    /// Who may see the status page, `/status` and `/events`.
    pub audience: Audience,
    /// A socket for the probes of this very instance; two run side by side during an update.
    pub health: Option<PathBuf>,
    /// Where the last Snapshot and the configuration are remembered; see [`api::memory`].
    pub state: PathBuf,
}

/// An agent while it is put together.
struct Agent {
    options: Options,
    instance: String,
    api: Api,
    memory: Option<Memory>,
    wires: Arc<Wires>,
    phases: Phases,
    health: Health,
    tasks: Tasks,
}

/// Runs an agent until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting (no way to the API, no right to raw sockets), or the first task that ended unasked.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let raised = net::capability::raise_net_raw().context("raising CAP_NET_RAW")?;
    anyhow::ensure!(raised, "CAP_NET_RAW is missing: run as root, or give the binary the capability (setcap cap_net_raw+p lanlord)");
    let api = Api::discover(&options.namespace).await?;
    let instance = format!("{:08x}", fastrand::u32(..));
    tracing::info!(node = %options.node, instance, version = env!("CARGO_PKG_VERSION"), config = %options.config, "lanlord starts");
    let (memory, wires, phases) = (open_memory(&options), Arc::default(), Phases::default());
    let mut agent = Agent { options, instance, api, memory, wires, phases, health: Health::new(), tasks: JoinSet::new() };
    agent.start_sources();
    let feedback = agent.start_watches();
    agent.start_membership(feedback.clone());
    agent.start_leader(feedback);
    agent.start_counters();
    agent.start_warnings();
    agent.start_suggest();
    agent.start_plan();
    agent.start_bgp();
    agent.start_l2()?;
    agent.start_telemetry();
    let Agent { memory, wires, phases, tasks, .. } = agent;
    supervise(tasks, &wires, &phases).await?;
    if *wires.member.borrow() == MemberState::Left
        && let Some(memory) = memory
    {
        memory.forget();
    }
    Ok(())
}

/// Without a memory an agent works all the same, until it is restarted while the API server is down.
fn open_memory(options: &Options) -> Option<Memory> {
    let directory = &options.state;
    match Memory::open(directory, &options.node) {
        Ok(memory) => Some(memory),
        Err(error) => {
            tracing::warn!(path = %directory.display(), %error, "nothing will be remembered: give --state a directory that can be written");
            None
        }
    }
}

impl Agent {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// What ends with the last phase.
    fn rest(&self) -> CancellationToken {
        self.phases.rest.clone()
    }

    fn start_sources(&mut self) {
        let wires = self.wires.clone();
        self.spawn("net::link", net::link::run(wires.links.clone(), self.rest()));
        let (reports, received) = mpsc::unbounded_channel();
        let outlet = config::task::Outlet { config: wires.config.clone(), reports, memory: self.memory.clone() };
        let (objects, rest) = (self.start_objects(), self.rest());
        match self.options.config.text.clone() {
            Some(Origin::Path(path)) => self.spawn("config", config::task::run_file(path, objects, outlet, rest)),
            Some(Origin::ConfigMap { namespace, name }) => {
                let (seen, watched) = watch::channel(ConfigMapSeen::default());
                let (api, memory, of, named) = (self.api.clone(), self.memory.clone(), namespace.clone(), name.clone());
                self.spawn("api::configmap", api::configmap::run(api, memory, of, named, seen, wires.api.clone(), rest.clone()));
                self.spawn("config", async move { config::task::run_configmap(&namespace, &name, watched, objects, outlet, rest).await });
            }
            Some(Origin::Crds(_)) | None => {
                let (source, objects) = (self.options.config.to_string(), objects.unwrap_or_else(|| wires.objects.subscribe()));
                self.spawn("config", config::task::run_objects(source, objects, outlet, rest));
            }
        }
        self.spawn("config reports", edits::follow(received, wires.edits.clone(), wires.rejected.clone(), self.rest()));
    }

    /// The custom resources, if they are a source.
    fn start_objects(&mut self) -> Option<watch::Receiver<ObjectsSeen>> {
        let (wires, namespaces) = (self.wires.clone(), self.options.config.namespaces.clone());
        if namespaces.is_empty() {
            return None;
        }
        let (api, memory, seen, state) = (self.api.clone(), self.memory.clone(), wires.objects.clone(), wires.api.clone());
        self.spawn("api::crds", api::crds::run(api, memory, namespaces, seen, state, self.rest()));
        Some(wires.objects.subscribe())
    }

    fn start_watches(&mut self) -> mpsc::Sender<Feedback> {
        let (feedback, answers) = mpsc::channel(1024);
        let outputs = api::watch::Outputs { snapshot: self.wires.snapshot.clone(), state: self.wires.api.clone() };
        if let Some(memory) = self.memory.clone() {
            self.spawn("api::memory", api::memory::keep(memory, self.wires.snapshot.subscribe(), self.rest()));
        }
        self.spawn("api::watch", api::watch::run(self.api.clone(), self.memory.clone(), answers, outputs, self.rest()));
        feedback
    }

    fn start_membership(&mut self, feedback: mpsc::Sender<Feedback>) {
        let wires = self.wires.clone();
        self.spawn("kube-proxy", api::kube_proxy::run(wires.dataplane_unhealthy.clone(), self.rest()));
        let config = self.derive_both(wires.config.subscribe(), wires.rejected.subscribe(), |config, rejected| {
            (config.is_some() || rejected.problems > 0, config.clone())
        });
        let conflicts = self.derive(wires.l2_status.subscribe(), |status| status.conflicts.clone());
        let seen =
            self.derive_both(conflicts, wires.dataplane_unhealthy.subscribe(), |conflicts, unhealthy| (conflicts.clone(), *unhealthy));
        let host = self.derive_both(wires.links.subscribe(), seen, |links, seen| (links.clone(), seen.clone()));
        let wanted = self.derive_both(config, wires.heirs.subscribe(), |config, heirs| (config.clone(), heirs.clone()));
        let desired = self.derive_both(host, wanted, |(links, (conflicts, unhealthy)), ((judged, config), heirs)| {
            // Every host has a loopback link.
            let known = *judged && !links.links.is_empty();
            let (conflicts, dataplane_unhealthy) = (conflicts.clone(), *unhealthy);
            let own = membership::own::Desired { conflicts, dataplane_unhealthy, ..member::lease_text(known, links, config.as_deref()) };
            Arc::new(member::desired(own, links, config.as_deref(), heirs))
        });
        let inputs = membership::task::Inputs {
            snapshot: wires.snapshot.subscribe(),
            api: wires.api.subscribe(),
            desired,
            sessions: wires.bfd.subscribe(),
            answers: wires.answers.subscribe(),
            claims: self.derive(wires.l2_status.subscribe(), |status| member::claims(status)),
        };
        let outputs = membership::task::Outputs {
            living: wires.living.clone(),
            state: wires.member.clone(),
            sessions: wires.sessions.clone(),
            questions: wires.questions.clone(),
            status: wires.membership.clone(),
            feedback,
        };
        let (api, node, instance, leave) =
            (self.api.clone(), self.options.node.clone(), self.instance.clone(), self.phases.membership.clone());
        self.spawn("membership", membership::task::run(api, node, instance, fastrand::u64(..), inputs, outputs, leave));
    }

    fn start_leader(&mut self, feedback: mpsc::Sender<Feedback>) {
        let wires = self.wires.clone();
        let inputs = leader::task::Inputs {
            config: wires.config.subscribe(),
            snapshot: wires.snapshot.subscribe(),
            living: wires.living.subscribe(),
            planned: wires.planned.subscribe(),
            stand: self.derive(wires.member.subscribe(), |state| *state == MemberState::Member),
            edits: wires.edits.subscribe(),
            blocked: self.derive(wires.membership.subscribe(), |status| status.blocked.clone()),
            prospect: wires.prospect.subscribe(),
        };
        let (leading, moves, repairs) = (wires.leading.clone(), wires.moves.clone(), wires.repairs.clone());
        let outputs = leader::task::Outputs { leading, moves, repairs, feedback };
        let (api, node, instance, resign) =
            (self.api.clone(), self.options.node.clone(), self.instance.clone(), self.phases.leading.clone());
        self.spawn("leader", leader::task::run(api, node, instance, fastrand::u64(..), inputs, outputs, resign));
    }

    /// Only where pools are custom resources is there a status to write.
    fn start_counters(&mut self) {
        if self.options.config.namespaces.is_empty() {
            return;
        }
        let inputs = leader::counters::task::Inputs {
            leading: self.wires.leading.subscribe(),
            config: self.wires.config.subscribe(),
            snapshot: self.wires.snapshot.subscribe(),
            objects: self.wires.objects.subscribe(),
        };
        self.spawn("leader::counters", leader::counters::task::run(self.api.clone(), inputs, self.rest()));
    }

    fn start_warnings(&mut self) {
        let inputs = leader::warnings::task::Inputs {
            leading: self.wires.leading.subscribe(),
            config: self.wires.config.subscribe(),
            snapshot: self.wires.snapshot.subscribe(),
            living: self.wires.living.subscribe(),
            links: self.wires.links.subscribe(),
            edits: self.wires.edits.subscribe(),
            objects: self.wires.objects.subscribe(),
        };
        self.spawn("leader::warnings", leader::warnings::task::run(self.api.clone(), self.options.node.clone(), inputs, self.rest()));
    }

    /// Where no addresses are configured, the LAN is asked for free ones.
    fn start_suggest(&mut self) {
        let inputs = leader::suggest::task::Inputs {
            origins: self.options.config.clone(),
            leading: self.wires.leading.subscribe(),
            config: self.wires.config.subscribe(),
            snapshot: self.wires.snapshot.subscribe(),
            links: self.wires.links.subscribe(),
            edits: self.wires.edits.subscribe(),
            answers: self.wires.answers.subscribe(),
        };
        let outputs = leader::suggest::task::Outputs { questions: self.wires.inquiry.clone(), prospect: self.wires.prospect.clone() };
        self.spawn("leader::suggest", leader::suggest::task::run(inputs, outputs, self.rest()));
    }

    /// A newer instance on this node has taken over.
    fn superseded(&mut self) -> watch::Receiver<bool> {
        self.derive(self.wires.member.subscribe(), |state| *state == MemberState::Superseded)
    }

    fn start_plan(&mut self) {
        let wires = self.wires.clone();
        let inputs = plan::task::Inputs {
            speaks: self.derive_both(wires.member.subscribe(), wires.api.subscribe(), |state, api| {
                *state != MemberState::Joining || api.contact.is_unreachable()
            }),
            superseded: self.superseded(),
            config: wires.config.subscribe(),
            snapshot: wires.snapshot.subscribe(),
            living: wires.living.subscribe(),
            links: wires.links.subscribe(),
        };
        let (planned, l2, heirs, peers) = (wires.planned.clone(), wires.l2.clone(), wires.heirs.clone(), wires.peers.clone());
        let outputs = plan::task::Outputs { planned, l2, heirs, peers };
        self.spawn("plan", plan::task::run(self.options.node.clone(), inputs, outputs, self.phases.planning.clone()));
    }

    fn start_bgp(&mut self) {
        let wires = self.wires.clone();
        let named = self.derive(wires.peers.subscribe(), |peers| {
            peers.iter().flat_map(|peers| peers.values()).filter_map(|peer| peer.secret.clone()).collect::<BTreeSet<SecretKey>>()
        });
        self.spawn("api::secrets", api::secrets::run(self.api.clone(), named, wires.secrets.clone(), self.rest()));
        let inputs = bgp::task::Inputs {
            desired: self.derive_both(wires.peers.subscribe(), wires.secrets.subscribe(), |peers, secrets| {
                let peers = peers.iter().flat_map(|peers| peers.iter());
                Arc::new(peers.map(|(key, peer)| (key.clone(), peer.with_password(secrets))).collect())
            }),
            superseded: self.superseded(),
            links: wires.links.subscribe(),
            bfd: wires.bfd.subscribe(),
        };
        let (diary, entries) = mpsc::unbounded_channel();
        let outputs = bgp::task::Outputs { status: wires.bgp.clone(), bfd: wires.sessions_of_peers.clone(), diary };
        // Whether another process spoke before nobody knows; where none did, nothing comes of saying so. One that spoke before this host
        // was booted is forgotten by now, or the host was just booted and has forwarded nothing in between.
        let up = net::clock::boottime().since(Instant::from_nanos(0));
        let restart = Restart { forwarding: up > Duration::from_secs(RESTART_TIME.into()) };
        let leave = self.phases.routes.clone();
        self.spawn("bgp", bgp::task::run(inputs, outputs, Some(restart), fastrand::u64(..), leave, self.rest()));
        self.spawn("bgp events", tell_of_peers(self.api.clone(), self.options.node.clone(), entries, self.rest()));
    }

    /// Layer 2 answers within microseconds; decoding a thousand Services must not stand in its way.
    fn start_l2(&mut self) -> anyhow::Result<()> {
        let wires = self.wires.clone();
        let questions = self.derive_both(wires.questions.subscribe(), wires.inquiry.subscribe(), |of_members, of_addresses| {
            Arc::new(of_members.union(of_addresses).cloned().collect::<Questions>())
        });
        let sessions = self.derive_both(wires.sessions.subscribe(), wires.sessions_of_peers.subscribe(), |of_members, of_peers| {
            Arc::new(of_members.with(of_peers))
        });
        let inputs = l2::task::Inputs { desired: wires.l2.subscribe(), questions, links: wires.links.subscribe() };
        let outputs = l2::task::Outputs { status: wires.l2_status.clone(), answers: wires.answers.clone() };
        let (bfd_status, heartbeat, rest) = (wires.bfd.clone(), self.health.heartbeat("l2", STUCK), self.rest());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime for layer 2")?;
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new()
            .name("l2".to_owned())
            .spawn(move || {
                let result = runtime.block_on(async {
                    tokio::select! {
                        result = l2::task::run(inputs, outputs, fastrand::u64(..), rest.clone()) => result,
                        result = bfd::task::run(sessions, bfd_status, fastrand::u64(..), rest) => result,
                        () = beat(heartbeat) => Ok(()),
                    }
                });
                // Nobody listens only when the process is ending anyway.
                drop(ended.send(result));
            })
            .context("a thread for layer 2")?;
        self.spawn("l2", async move { end.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread of layer 2 panicked"))) });
        Ok(())
    }

    fn start_telemetry(&mut self) {
        let (known, node, api) = (self.wires.clone(), self.options.node.clone(), self.api.clone());
        let metrics = Paced::new(move || figures::figures(&known, &node, &api).text());
        let view = status::View { wires: self.wires.clone(), options: self.options.clone(), instance: self.instance.clone() };
        let view_too = view.clone();
        let (live, status) = (Live::new(move || view_too.state()), Paced::new(move || view.json()));
        let site = Site { health: self.health.clone(), metrics, status, live, audience: self.options.audience };
        self.spawn("telemetry", server::run(Address::Tcp(self.options.http), site.clone(), self.rest()));
        if let Some(path) = self.options.health.clone() {
            self.spawn("health", server::run(Address::Unix(path), site, self.rest()));
        }
        let (known, node, rest) = (self.wires.clone(), self.options.node.clone(), self.rest());
        self.spawn("timeline", async move { rest.run_until_cancelled(status::follow(&known, &node)).await.unwrap_or(Ok(())) });
        let (heartbeat, rest) = (self.health.heartbeat("main loop", STUCK), self.rest());
        self.spawn("heartbeat", async move { rest.run_until_cancelled(beat(heartbeat)).await.map_or(Ok(()), Ok) });
        let part = self.health.part("the first complete answer of the API server");
        self.spawn(
            "readiness",
            report_part(self.wires.snapshot.subscribe(), part, self.rest(), |snapshot| {
                snapshot.as_ref().is_some_and(|snapshot| !snapshot.remembered)
            }),
        );
        let part = self.health.part("the member Lease of this node");
        self.spawn("readiness", report_part(self.wires.member.subscribe(), part, self.rest(), |state| *state != MemberState::Joining));
    }

    /// Keeps a value that is computed from another one.
    fn derive<A, T>(&mut self, mut from: watch::Receiver<A>, compute: fn(&A) -> T) -> watch::Receiver<T>
    where
        A: Send + Sync + 'static,
        T: PartialEq + Send + Sync + 'static,
    {
        let (sender, receiver) = watch::channel(compute(&from.borrow_and_update()));
        let rest = self.rest();
        self.spawn("derived value", async move {
            while let Some(changed) = rest.run_until_cancelled(from.changed()).await {
                changed?;
                let value = compute(&from.borrow_and_update());
                sender.send_if_modified(|known| replace(known, value));
            }
            Ok(())
        });
        receiver
    }

    /// Keeps a value that is computed from two others.
    fn derive_both<A, B, T>(&mut self, mut a: watch::Receiver<A>, mut b: watch::Receiver<B>, compute: fn(&A, &B) -> T) -> watch::Receiver<T>
    where
        A: Send + Sync + 'static,
        B: Send + Sync + 'static,
        T: PartialEq + Send + Sync + 'static,
    {
        let (sender, receiver) = watch::channel(compute(&a.borrow_and_update(), &b.borrow_and_update()));
        let rest = self.rest();
        self.spawn("derived value", async move {
            loop {
                tokio::select! {
                    () = rest.cancelled() => return Ok(()),
                    changed = a.changed() => changed?,
                    changed = b.changed() => changed?,
                }
                let value = compute(&a.borrow_and_update(), &b.borrow_and_update());
                sender.send_if_modified(|known| replace(known, value));
            }
        });
        receiver
    }
}

/// Turns what is told of BGP peers into Events of this Node.
async fn tell_of_peers(
    api: Api,
    node: NodeName,
    mut entries: mpsc::UnboundedReceiver<bgp::diary::Entry>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let recorder = api::events::Recorder::new(api, node.as_str());
    while let Some(Some(entry)) = shutdown.run_until_cancelled(entries.recv()).await {
        let bgp::diary::Entry { kind, reason, message } = entry;
        recorder.publish(&Event { subject: Subject::Node(node.clone(), Uid::default()), kind, reason, message }).await;
    }
    shutdown.cancelled().await;
    Ok(())
}

/// Shows that this runtime's loop turns.
async fn beat(heartbeat: Heartbeat) {
    loop {
        heartbeat.beat();
        tokio::time::sleep(STUCK / 10).await;
    }
}

/// Keeps one part of readiness up to date.
async fn report_part<T>(mut from: watch::Receiver<T>, part: Part, rest: CancellationToken, is_ready: fn(&T) -> bool) -> anyhow::Result<()> {
    loop {
        part.set(is_ready(&from.borrow_and_update()));
        let Some(changed) = rest.run_until_cancelled(from.changed()).await else { return Ok(()) };
        changed?;
    }
}
