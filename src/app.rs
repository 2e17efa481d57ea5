//! The wiring diagram: the only module that knows all others. Channels, tasks, the order of shutdown; no decision.
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
//! Shutdown: the plan freezes (what is announced stays announced), leadership is given up, the member Lease is released, the others
//! take over, then layer 2 falls silent and the rest ends. A second signal ends everything at once.

mod figures;
pub mod problems;
pub mod report;
pub mod services;
mod status;
pub mod transitions;

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
use crate::bfd;
use crate::bgp;
use crate::bgp::session::Restart;
use crate::config;
use crate::config::origin::{Origin, Origins};
use crate::config::{Config, Liveness, Settings};
use crate::facts::{
    Answers, ConfigMapSeen, Event, EventKind, Heirs, Link, Links, Living, MemberLink, NodeName, ObjectsSeen, Questions, SecretKey, Secrets,
    Snapshot, Subject, Uid, replace,
};
use crate::l2;
use crate::leader;
use crate::leader::suggest::Prospect;
use crate::machine::Instant;
use crate::membership;
use crate::membership::mesh::Timers;
use crate::membership::own::State as MemberState;
use crate::net;
use crate::plan;
use crate::plan::Planned;
use crate::plan::eligible::may_announce;
use crate::plan::peers::RESTART_TIME;
use crate::telemetry;
use crate::telemetry::guard::Audience;
use crate::telemetry::health::{Health, Heartbeat, Part};
use crate::telemetry::live::Live;
use crate::telemetry::paced::Paced;
use crate::telemetry::server::{Address, Site};

/// How long this node goes on answering after it left, so that the others can take over first.
const HAND_OVER: Duration = Duration::from_secs(1);

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

/// What of the configuration is not in force as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Rejected {
    /// How much is wrong, in all sources together.
    problems: u64,
    /// What was told of it last, or first of several.
    first: Option<String>,
}

/// Every value that more than one task reads.
struct Wires {
    links: watch::Sender<Arc<Links>>,
    snapshot: watch::Sender<Option<Arc<Snapshot>>>,
    api: watch::Sender<api::state::ApiState>,
    config: watch::Sender<Option<Arc<Config>>>,
    edits: watch::Sender<leader::edits::Edits>,
    objects: watch::Sender<ObjectsSeen>,
    rejected: watch::Sender<Rejected>,
    living: watch::Sender<Arc<Living>>,
    member: watch::Sender<MemberState>,
    membership: watch::Sender<Arc<membership::task::Status>>,
    sessions: watch::Sender<Arc<bfd::desired::Desired>>,
    peers: watch::Sender<Option<Arc<plan::Peers>>>,
    secrets: watch::Sender<Arc<Secrets>>,
    sessions_of_peers: watch::Sender<Arc<bfd::desired::Desired>>,
    bgp: watch::Sender<Arc<bgp::status::Status>>,
    bfd: watch::Sender<Arc<bfd::status::Status>>,
    questions: watch::Sender<Arc<Questions>>,
    inquiry: watch::Sender<Arc<Questions>>,
    prospect: watch::Sender<Prospect>,
    answers: watch::Sender<Arc<Answers>>,
    planned: watch::Sender<Option<Arc<Planned>>>,
    l2: watch::Sender<Arc<l2::desired::Desired>>,
    l2_status: watch::Sender<Arc<l2::status::Status>>,
    heirs: watch::Sender<Arc<Heirs>>,
    leading: watch::Sender<bool>,
    moves: watch::Sender<leader::tally::Moves>,
    repairs: watch::Sender<u64>,
    dataplane_unhealthy: watch::Sender<bool>,
    timeline: watch::Sender<transitions::Timeline>,
}

impl Default for Wires {
    fn default() -> Self {
        Self {
            links: watch::Sender::default(),
            snapshot: watch::Sender::default(),
            api: watch::Sender::default(),
            config: watch::Sender::default(),
            edits: watch::Sender::default(),
            objects: watch::Sender::default(),
            rejected: watch::Sender::default(),
            living: watch::Sender::default(),
            member: watch::Sender::new(MemberState::Joining),
            membership: watch::Sender::default(),
            sessions: watch::Sender::default(),
            peers: watch::Sender::default(),
            secrets: watch::Sender::default(),
            sessions_of_peers: watch::Sender::default(),
            bgp: watch::Sender::default(),
            bfd: watch::Sender::default(),
            questions: watch::Sender::default(),
            inquiry: watch::Sender::default(),
            prospect: watch::Sender::new(Prospect::NotYet),
            answers: watch::Sender::default(),
            planned: watch::Sender::default(),
            l2: watch::Sender::default(),
            l2_status: watch::Sender::default(),
            heirs: watch::Sender::default(),
            leading: watch::Sender::default(),
            moves: watch::Sender::default(),
            repairs: watch::Sender::default(),
            dataplane_unhealthy: watch::Sender::default(),
            timeline: watch::Sender::default(),
        }
    }
}

/// The tokens of an orderly shutdown, in the order in which they are cancelled.
#[derive(Default)]
struct Phases {
    planning: CancellationToken,
    routes: CancellationToken,
    leading: CancellationToken,
    membership: CancellationToken,
    rest: CancellationToken,
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
    let wires = Arc::new(Wires::default());
    let phases = Phases::default();
    let mut tasks = JoinSet::new();
    let memory = open_memory(&options);
    start_sources(&mut tasks, &api, memory.clone(), &options, &wires, &phases);
    let feedback = start_watches(&mut tasks, &api, memory.clone(), &wires, &phases);
    start_membership(&mut tasks, &api, &options, &instance, &wires, &phases, &feedback);
    start_leader(&mut tasks, &api, &options, &instance, &wires, &phases, feedback);
    start_counters(&mut tasks, &api, &options, &wires, &phases);
    start_warnings(&mut tasks, &api, &options, &wires, &phases);
    start_suggest(&mut tasks, &options, &wires, &phases);
    start_plan(&mut tasks, &options, &wires, &phases);
    let health = Health::new();
    start_bgp(&mut tasks, &api, &options, &wires, &phases);
    start_l2(&mut tasks, &wires, &phases, health.heartbeat("l2", STUCK))?;
    start_telemetry(&mut tasks, &api, &options, &instance, &wires, &phases, &health);
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

type Tasks = JoinSet<(&'static str, anyhow::Result<()>)>;

fn start_sources(tasks: &mut Tasks, api: &Api, memory: Option<Memory>, options: &Options, wires: &Wires, phases: &Phases) {
    let rest = phases.rest.clone();
    let links = wires.links.clone();
    tasks.spawn(async move { ("net::link", net::link::run(links, rest).await) });
    let (reports, received) = mpsc::unbounded_channel();
    let outlet = config::task::Outlet { config: wires.config.clone(), reports, memory: memory.clone() };
    let objects = start_objects(tasks, api, memory.clone(), options, wires, phases);
    let rest = phases.rest.clone();
    match options.config.text.clone() {
        Some(Origin::Path(path)) => {
            tasks.spawn(async move { ("config", config::task::run_file(path, objects, outlet, rest).await) });
        }
        Some(Origin::ConfigMap { namespace, name }) => {
            let (seen, watched) = watch::channel(ConfigMapSeen::default());
            let (api, of, named, state, until) = (api.clone(), namespace.clone(), name.clone(), wires.api.clone(), rest.clone());
            tasks.spawn(async move { ("api::configmap", api::configmap::run(api, memory, of, named, seen, state, until).await) });
            tasks.spawn(async move { ("config", config::task::run_configmap(&namespace, &name, watched, objects, outlet, rest).await) });
        }
        Some(Origin::Crds(_)) | None => {
            let (source, objects) = (options.config.to_string(), objects.unwrap_or_else(|| wires.objects.subscribe()));
            tasks.spawn(async move { ("config", config::task::run_objects(source, objects, outlet, rest).await) });
        }
    }
    let (edits, rejected, rest) = (wires.edits.clone(), wires.rejected.clone(), phases.rest.clone());
    tasks.spawn(async move { ("config reports", report_edits(received, edits, rejected, rest).await) });
}

/// The custom resources, if they are a source.
fn start_objects(
    tasks: &mut Tasks,
    api: &Api,
    memory: Option<Memory>,
    options: &Options,
    wires: &Wires,
    phases: &Phases,
) -> Option<watch::Receiver<ObjectsSeen>> {
    let namespaces = options.config.namespaces.clone();
    if namespaces.is_empty() {
        return None;
    }
    let (api, seen, state, rest) = (api.clone(), wires.objects.clone(), wires.api.clone(), phases.rest.clone());
    tasks.spawn(async move { ("api::crds", api::crds::run(api, memory, namespaces, seen, state, rest).await) });
    Some(wires.objects.subscribe())
}

/// Turns each edit of the configuration into a log line and what the leader has to tell.
async fn report_edits(
    mut reports: mpsc::UnboundedReceiver<config::task::Report>,
    edits: watch::Sender<leader::edits::Edits>,
    rejected: watch::Sender<Rejected>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let report = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            report = reports.recv() => report.context("nobody follows the configuration")?,
        };
        rejected.send_modify(|known| {
            // Of several sources one may be right and another one still wrong.
            let first = report.outcome.as_ref().err().and_then(|problems| Some(problems.into_iter().next()?.to_string()));
            let first = if report.problems == 0 { None } else { first.or(known.first.take()) };
            *known = Rejected { problems: report.problems as u64, first };
        });
        let (kind, message) = match &report.outcome {
            Ok(accepted) => {
                tracing::info!(source = %report.source, summary = accepted.summary, hash = accepted.config.hash, "configuration loaded");
                for note in &accepted.notes {
                    tracing::info!(%note, "configuration note");
                }
                (EventKind::Normal, accepted.summary.clone())
            }
            Err(problems) => {
                let instead = if report.kept { "the last good one stays in force" } else { "it is left out" };
                for problem in problems {
                    tracing::error!(%problem, "configuration rejected; {instead}");
                }
                let instead = if report.kept { "the last good configuration stays in force" } else { "this is left out" };
                (EventKind::Warning, format!("{instead}: {problems}"))
            }
        };
        if let Some(subject) = report.subject {
            let edit = leader::edits::Edit { subject, gone: report.gone, kind, message, at: net::clock::now() };
            edits.send_modify(|edits| edits.push(edit));
        }
    }
}

fn start_watches(
    tasks: &mut Tasks,
    api: &Api,
    memory: Option<Memory>,
    wires: &Wires,
    phases: &Phases,
) -> mpsc::Sender<api::watch::Feedback> {
    let (feedback, answers) = mpsc::channel(1024);
    let outputs = api::watch::Outputs { snapshot: wires.snapshot.clone(), state: wires.api.clone() };
    let (api, rest) = (api.clone(), phases.rest.clone());
    if let Some(memory) = memory.clone() {
        let (seen, rest) = (wires.snapshot.subscribe(), phases.rest.clone());
        tasks.spawn(async move { ("api::memory", api::memory::keep(memory, seen, rest).await) });
    }
    tasks.spawn(async move { ("api::watch", api::watch::run(api, memory, answers, outputs, rest).await) });
    feedback
}

fn start_membership(
    tasks: &mut Tasks,
    api: &Api,
    options: &Options,
    instance: &str,
    wires: &Arc<Wires>,
    phases: &Phases,
    feedback: &mpsc::Sender<api::watch::Feedback>,
) {
    let config = derive(tasks, phases, (wires.config.subscribe(), wires.rejected.subscribe()), |config, rejected| {
        (config.is_some() || rejected.problems > 0, config.clone())
    });
    let conflicts = derive(tasks, phases, (wires.l2_status.subscribe(), wires.l2_status.subscribe()), |status, _| status.conflicts.clone());
    let (dataplane, rest) = (wires.dataplane_unhealthy.clone(), phases.rest.clone());
    tasks.spawn(async move { ("kube-proxy", api::kube_proxy::run(dataplane, rest).await) });
    let seen =
        derive(tasks, phases, (conflicts, wires.dataplane_unhealthy.subscribe()), |conflicts, unhealthy| (conflicts.clone(), *unhealthy));
    let host = derive(tasks, phases, (wires.links.subscribe(), seen), |links, seen| (links.clone(), seen.clone()));
    let wanted = derive(tasks, phases, (config, wires.heirs.subscribe()), |config, heirs| (config.clone(), heirs.clone()));
    let desired = derive(tasks, phases, (host, wanted), |(links, (conflicts, unhealthy)), ((judged, config), heirs)| {
        // Every host has a loopback link.
        let known = *judged && !links.links.is_empty();
        let (conflicts, dataplane_unhealthy) = (conflicts.clone(), *unhealthy);
        let own = membership::own::Desired { conflicts, dataplane_unhealthy, ..lease_text(known, links, config.as_deref()) };
        Arc::new(membership_desired(own, links, config.as_deref(), heirs))
    });
    let inputs = membership::task::Inputs {
        snapshot: wires.snapshot.subscribe(),
        api: wires.api.subscribe(),
        desired,
        sessions: wires.bfd.subscribe(),
        answers: wires.answers.subscribe(),
        claims: derive(tasks, phases, (wires.l2_status.subscribe(), wires.l2_status.subscribe()), |status, _| claims(status)),
    };
    let outputs = membership::task::Outputs {
        living: wires.living.clone(),
        state: wires.member.clone(),
        sessions: wires.sessions.clone(),
        questions: wires.questions.clone(),
        status: wires.membership.clone(),
        feedback: feedback.clone(),
    };
    let (api, node, instance, leave) = (api.clone(), options.node.clone(), instance.to_owned(), phases.membership.clone());
    tasks.spawn(async move { ("membership", membership::task::run(api, node, instance, fastrand::u64(..), inputs, outputs, leave).await) });
}

/// What other members announced last of that which this node announces.
fn claims(status: &l2::status::Status) -> membership::task::Claims {
    let addresses = status.links.values().flat_map(|link| &link.addresses);
    addresses.filter_map(|(address, status)| status.member.map(|member| (*address, (member.mac, member.at)))).collect()
}

/// What membership works with.
fn membership_desired(
    own: membership::own::Desired,
    links: &Arc<Links>,
    config: Option<&Config>,
    heirs: &Arc<Heirs>,
) -> membership::machine::Desired {
    let settings = config.map_or_else(Settings::default, |config| config.settings.clone());
    let Liveness { wired, wireless, port } = settings.liveness;
    membership::machine::Desired {
        own,
        links: links.clone(),
        timers: Timers { wired: (wired.interval, wired.multiplier), wireless: (wireless.interval, wireless.multiplier), port },
        restart_hold: settings.restart_hold,
        heirs: heirs.clone(),
    }
}

/// What this node's Lease tells the others of its links: none without a configuration, for nothing can be announced without one.
fn lease_text(known: bool, links: &Links, config: Option<&Config>) -> membership::own::Desired {
    let may = |link: &&Link| config.is_some_and(|config| may_announce(config, link));
    membership::own::Desired {
        known,
        links: links.links.values().filter(may).filter_map(MemberLink::of).collect(),
        gateways: links.gateways.iter().copied().collect::<BTreeSet<_>>(),
        config: config.map(|config| config.hash.clone()),
        leave: false,
        ..membership::own::Desired::default()
    }
}

fn start_leader(
    tasks: &mut Tasks,
    api: &Api,
    options: &Options,
    instance: &str,
    wires: &Wires,
    phases: &Phases,
    feedback: mpsc::Sender<api::watch::Feedback>,
) {
    let stand = derive(tasks, phases, (wires.member.subscribe(), wires.member.subscribe()), |state, _| *state == MemberState::Member);
    let membership = (wires.membership.subscribe(), wires.membership.subscribe());
    let blocked = derive(tasks, phases, membership, |status, _| status.blocked.clone());
    let inputs = leader::task::Inputs {
        config: wires.config.subscribe(),
        snapshot: wires.snapshot.subscribe(),
        living: wires.living.subscribe(),
        planned: wires.planned.subscribe(),
        stand,
        edits: wires.edits.subscribe(),
        blocked,
        prospect: wires.prospect.subscribe(),
    };
    let (leading, moves, repairs) = (wires.leading.clone(), wires.moves.clone(), wires.repairs.clone());
    let outputs = leader::task::Outputs { leading, moves, repairs, feedback };
    let (api, node, instance, resign) = (api.clone(), options.node.clone(), instance.to_owned(), phases.leading.clone());
    tasks.spawn(async move { ("leader", leader::task::run(api, node, instance, fastrand::u64(..), inputs, outputs, resign).await) });
}

/// Only where pools are custom resources is there a status to write.
fn start_counters(tasks: &mut Tasks, api: &Api, options: &Options, wires: &Wires, phases: &Phases) {
    if options.config.namespaces.is_empty() {
        return;
    }
    let inputs = leader::counters::task::Inputs {
        leading: wires.leading.subscribe(),
        config: wires.config.subscribe(),
        snapshot: wires.snapshot.subscribe(),
        objects: wires.objects.subscribe(),
    };
    let (to, rest) = (api.clone(), phases.rest.clone());
    tasks.spawn(async move { ("leader::counters", leader::counters::task::run(to, inputs, rest).await) });
}

fn start_warnings(tasks: &mut Tasks, api: &Api, options: &Options, wires: &Wires, phases: &Phases) {
    let inputs = leader::warnings::task::Inputs {
        leading: wires.leading.subscribe(),
        config: wires.config.subscribe(),
        snapshot: wires.snapshot.subscribe(),
        living: wires.living.subscribe(),
        links: wires.links.subscribe(),
        edits: wires.edits.subscribe(),
        objects: wires.objects.subscribe(),
    };
    let (to, node, rest) = (api.clone(), options.node.clone(), phases.rest.clone());
    tasks.spawn(async move { ("leader::warnings", leader::warnings::task::run(to, node, inputs, rest).await) });
}

/// Where no addresses are configured, the LAN is asked for free ones.
fn start_suggest(tasks: &mut Tasks, options: &Options, wires: &Wires, phases: &Phases) {
    let inputs = leader::suggest::task::Inputs {
        origins: options.config.clone(),
        leading: wires.leading.subscribe(),
        config: wires.config.subscribe(),
        snapshot: wires.snapshot.subscribe(),
        links: wires.links.subscribe(),
        edits: wires.edits.subscribe(),
        answers: wires.answers.subscribe(),
    };
    let outputs = leader::suggest::task::Outputs { questions: wires.inquiry.clone(), prospect: wires.prospect.clone() };
    let rest = phases.rest.clone();
    tasks.spawn(async move { ("leader::suggest", leader::suggest::task::run(inputs, outputs, rest).await) });
}

fn start_plan(tasks: &mut Tasks, options: &Options, wires: &Wires, phases: &Phases) {
    let member = (wires.member.subscribe(), wires.member.subscribe());
    let (state, contact) = (wires.member.subscribe(), wires.api.subscribe());
    let inputs = plan::task::Inputs {
        speaks: derive(tasks, phases, (state, contact), |state, api| *state != MemberState::Joining || api.contact.is_unreachable()),
        superseded: derive(tasks, phases, member, |state, _| *state == MemberState::Superseded),
        config: wires.config.subscribe(),
        snapshot: wires.snapshot.subscribe(),
        living: wires.living.subscribe(),
        links: wires.links.subscribe(),
    };
    let (planned, l2, heirs, peers) = (wires.planned.clone(), wires.l2.clone(), wires.heirs.clone(), wires.peers.clone());
    let outputs = plan::task::Outputs { planned, l2, heirs, peers };
    let (node, planning) = (options.node.clone(), phases.planning.clone());
    tasks.spawn(async move { ("plan", plan::task::run(node, inputs, outputs, planning).await) });
}

fn start_bgp(tasks: &mut Tasks, api: &Api, options: &Options, wires: &Wires, phases: &Phases) {
    let named = derive(tasks, phases, (wires.peers.subscribe(), wires.peers.subscribe()), |peers, _| {
        peers.iter().flat_map(|peers| peers.values()).filter_map(|peer| peer.secret.clone()).collect::<BTreeSet<SecretKey>>()
    });
    let (from, secrets, rest) = (api.clone(), wires.secrets.clone(), phases.rest.clone());
    tasks.spawn(async move { ("api::secrets", api::secrets::run(from, named, secrets, rest).await) });
    let member = (wires.member.subscribe(), wires.member.subscribe());
    let inputs = bgp::task::Inputs {
        desired: derive(tasks, phases, (wires.peers.subscribe(), wires.secrets.subscribe()), |peers, secrets| {
            let peers = peers.iter().flat_map(|peers| peers.iter());
            Arc::new(peers.map(|(key, peer)| (key.clone(), peer.with_password(secrets))).collect())
        }),
        superseded: derive(tasks, phases, member, |state, _| *state == MemberState::Superseded),
        links: wires.links.subscribe(),
        bfd: wires.bfd.subscribe(),
    };
    let (diary, entries) = mpsc::unbounded_channel();
    let outputs = bgp::task::Outputs { status: wires.bgp.clone(), bfd: wires.sessions_of_peers.clone(), diary };
    // Whether another process spoke before nobody knows; where none did, nothing comes of saying so. One that spoke before this host was
    // booted is forgotten by now, or the host was just booted and has forwarded nothing in between.
    let up = net::clock::boottime().since(Instant::from_nanos(0));
    let restart = Restart { forwarding: up > Duration::from_secs(RESTART_TIME.into()) };
    let (leave, rest) = (phases.routes.clone(), phases.rest.clone());
    tasks.spawn(async move { ("bgp", bgp::task::run(inputs, outputs, Some(restart), fastrand::u64(..), leave, rest).await) });
    let (api, node, rest) = (api.clone(), options.node.clone(), phases.rest.clone());
    tasks.spawn(async move { ("bgp events", tell_of_peers(api, node, entries, rest).await) });
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
        let event = Event { subject: Subject::Node(node.clone(), Uid::default()), kind, reason, message };
        if let Err(error) = recorder.publish(&event).await {
            tracing::debug!(reason, %error, "Event dropped");
        }
    }
    shutdown.cancelled().await;
    Ok(())
}

/// Layer 2 answers within microseconds; decoding a thousand Services must not stand in its way.
fn start_l2(tasks: &mut Tasks, wires: &Wires, phases: &Phases, heartbeat: Heartbeat) -> anyhow::Result<()> {
    let (ended, end) = oneshot::channel();
    let questions = derive(tasks, phases, (wires.questions.subscribe(), wires.inquiry.subscribe()), |of_members, of_addresses| {
        Arc::new(of_members.union(of_addresses).cloned().collect::<Questions>())
    });
    let inputs = l2::task::Inputs { desired: wires.l2.subscribe(), questions, links: wires.links.subscribe() };
    let outputs = l2::task::Outputs { status: wires.l2_status.clone(), answers: wires.answers.clone() };
    let sessions = derive(tasks, phases, (wires.sessions.subscribe(), wires.sessions_of_peers.subscribe()), |of_members, of_peers| {
        Arc::new(of_members.with(of_peers))
    });
    let bfd_status = wires.bfd.clone();
    let rest = phases.rest.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime for layer 2")?;
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
    tasks.spawn(async move { ("l2", end.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread of layer 2 panicked")))) });
    Ok(())
}

/// Shows that this runtime's loop turns.
async fn beat(heartbeat: Heartbeat) {
    loop {
        heartbeat.beat();
        tokio::time::sleep(STUCK / 10).await;
    }
}

fn start_telemetry(tasks: &mut Tasks, api: &Api, options: &Options, instance: &str, wires: &Arc<Wires>, phases: &Phases, health: &Health) {
    let (node, known, api) = (options.node.clone(), wires.clone(), api.clone());
    let metrics = Paced::new(move || figures::figures(&known, &node, &api).text());
    let view = status::View { wires: wires.clone(), options: options.clone(), instance: instance.to_owned() };
    let view_too = view.clone();
    let live = Live::new(move || view_too.state());
    let status = Paced::new(move || view.json());
    let site = Site { health: health.clone(), metrics, status, live, audience: options.audience };
    let (http, site_too, rest) = (options.http, site.clone(), phases.rest.clone());
    tasks.spawn(async move { ("telemetry", telemetry::server::run(Address::Tcp(http), site_too, rest).await) });
    if let Some(path) = options.health.clone() {
        let rest = phases.rest.clone();
        tasks.spawn(async move { ("health", telemetry::server::run(Address::Unix(path), site, rest).await) });
    }
    let (node, known, rest) = (options.node.clone(), wires.clone(), phases.rest.clone());
    tasks.spawn(async move { ("timeline", rest.run_until_cancelled(status::follow(&known, &node)).await.unwrap_or(Ok(()))) });
    let heartbeat = health.heartbeat("main loop", STUCK);
    let rest = phases.rest.clone();
    tasks.spawn(async move { ("heartbeat", rest.run_until_cancelled(beat(heartbeat)).await.map_or(Ok(()), Ok)) });
    report_part(tasks, phases, wires.snapshot.subscribe(), health.part("the first complete answer of the API server"), |snapshot| {
        snapshot.as_ref().is_some_and(|snapshot| !snapshot.remembered)
    });
    report_part(tasks, phases, wires.member.subscribe(), health.part("the member Lease of this node"), |state| {
        *state != MemberState::Joining
    });
}

/// Keeps one part of readiness up to date.
fn report_part<T: Send + Sync + 'static>(
    tasks: &mut Tasks,
    phases: &Phases,
    mut from: watch::Receiver<T>,
    part: Part,
    is_ready: fn(&T) -> bool,
) {
    let rest = phases.rest.clone();
    tasks.spawn(async move {
        loop {
            part.set(is_ready(&from.borrow_and_update()));
            tokio::select! {
                () = rest.cancelled() => return ("readiness", Ok(())),
                changed = from.changed() => if let Err(error) = changed { return ("readiness", Err(error.into())) },
            }
        }
    });
}

/// Keeps a value that is computed from two others.
fn derive<A, B, T>(
    tasks: &mut Tasks,
    phases: &Phases,
    from: (watch::Receiver<A>, watch::Receiver<B>),
    compute: fn(&A, &B) -> T,
) -> watch::Receiver<T>
where
    A: Send + Sync + 'static,
    B: Send + Sync + 'static,
    T: PartialEq + Send + Sync + 'static,
{
    let (mut a, mut b) = from;
    let first = compute(&a.borrow_and_update(), &b.borrow_and_update());
    let (sender, receiver) = watch::channel(first);
    let rest = phases.rest.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = rest.cancelled() => return ("derived value", Ok(())),
                changed = a.changed() => if let Err(error) = changed { return ("derived value", Err(error.into())) },
                changed = b.changed() => if let Err(error) = changed { return ("derived value", Err(error.into())) },
            }
            let value = compute(&a.borrow_and_update(), &b.borrow_and_update());
            sender.send_if_modified(|known| replace(known, value));
        }
    });
    receiver
}

/// Waits for a signal, then ends the phases one after the other; a task that ends unasked ends everything with its error.
async fn supervise(mut tasks: Tasks, wires: &Wires, phases: &Phases) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).context("SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = tasks.join_next() => return Err(unasked(ended)),
    }
    tracing::info!("lanlord leaves");
    tokio::select! {
        result = leave(&mut tasks, wires, phases) => result,
        _ = terminate.recv() => anyhow::bail!("ended by a second signal"),
        _ = interrupt.recv() => anyhow::bail!("ended by a second signal"),
    }
}

async fn leave(tasks: &mut Tasks, wires: &Wires, phases: &Phases) -> anyhow::Result<()> {
    phases.planning.cancel();
    wait_for(tasks, "plan").await?;
    // From here on whoever takes over is not to be outshouted.
    wires.l2.send_modify(|desired| *desired = Arc::new(desired.leaving()));
    phases.leading.cancel();
    wait_for(tasks, "leader").await?;
    phases.membership.cancel();
    wait_for(tasks, "membership").await?;
    phases.routes.cancel();
    wait_for(tasks, "bgp").await?;
    let announcing = wires.l2.borrow().links.values().any(|link| !link.addresses.is_empty());
    if *wires.member.borrow() == MemberState::Left && announcing {
        tracing::info!(answering_for = ?HAND_OVER, "the others take over");
        tokio::time::sleep(HAND_OVER).await;
    }
    phases.rest.cancel();
    while let Some(ended) = tasks.join_next().await {
        // All end at once, so some find that the other end of a channel is gone already.
        if let (name, Err(error)) = ended.context("a task panicked")? {
            tracing::debug!(task = name, error = format!("{error:#}"), "ended");
        }
    }
    tracing::info!("lanlord has left");
    Ok(())
}

async fn wait_for(tasks: &mut Tasks, name: &str) -> anyhow::Result<()> {
    match tasks.join_next().await {
        Some(Ok((ended, result))) if ended == name => result.with_context(|| format!("{name} while leaving")),
        ended => Err(unasked(ended)),
    }
}

fn unasked(ended: Option<Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok((name, Err(error)))) => error.context(format!("{name} ended")),
        Some(Ok((name, Ok(())))) => anyhow::anyhow!("{name} ended unasked"),
        Some(Err(error)) => anyhow::Error::from(error).context("a task panicked"),
        None => anyhow::anyhow!("no task runs"),
    }
}
