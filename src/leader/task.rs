//! Stands for election and, while leading, writes what `decide` says.
//!
//! ```text
//!  Planned ─► decide ─► ≤ 16 writes in flight ─► API server ─► api::watch ─► Snapshot ─► plan
//!                              └── answers ─► api::watch (read your writes)
//! ```
//!
//! One Service is never worked on twice at a time, nor again before the Snapshot has what was written last.

mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::decide::{Decision, Tend, Work, decide};
use super::edits::Edits;
use super::election::{Action, Desired, Elector, Event as ElectionEvent, heard_by_all, observed, stands};
use super::news::News;
use super::quiet::{Quiet, evened_out};
use super::suggest::Prospect;
use super::tally::{Moves, Tally};
use super::tell::Now;
use crate::api::events::Recorder;
use crate::api::watch::Feedback;
use crate::api::{Api, WriteError};
use crate::config::Config;
use crate::facts::{Event, EventKind, LeaderRecord, Living, NodeName, ServiceKey, Snapshot};
use crate::machine::{Driver, Input, Instant, earliest};
use crate::net::clock;
use crate::plan::Planned;
use work::Written;

/// Writes in flight at once: enough to keep an API server busy, few enough to be polite.
const IN_FLIGHT: usize = 16;
/// Longest wait for a Snapshot that has what was written.
const SETTLE: Duration = Duration::from_secs(5);
/// First wait after a failed write; most failures are lost races, over when the watch has caught up.
const RETRY: Duration = Duration::from_millis(100);
/// First wait before a status that someone else changed is written back again.
const REPAIR: Duration = Duration::from_secs(1);

/// What the task reads.
#[derive(Debug)]
pub struct Inputs {
    /// The configuration in force.
    pub config: watch::Receiver<Option<Arc<Config>>>,
    /// What the API server says.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Who may own addresses.
    pub living: watch::Receiver<Arc<Living>>,
    /// The plan, and the facts it was made from: what is decided rests on these, not on newer ones.
    pub planned: watch::Receiver<Option<Arc<Planned>>>,
    /// Whether this agent is a member: only members lead.
    pub stand: watch::Receiver<bool>,
    /// Edits of the configuration, to be told as Events on what was edited.
    pub edits: watch::Receiver<Edits>,
    /// Members whose kernel answers this node and whose liveness packets do not come through.
    pub blocked: watch::Receiver<BTreeSet<NodeName>>,
    /// What is known of free addresses, for who has configured none.
    pub prospect: watch::Receiver<Prospect>,
}

/// What the task tells.
#[derive(Debug)]
pub struct Outputs {
    /// Whether this agent leads.
    pub leading: watch::Sender<bool>,
    /// Addresses that moved while this agent led.
    pub moves: watch::Sender<Moves>,
    /// Times that a status which something else had changed was written back, since the start.
    pub repairs: watch::Sender<u64>,
    /// Answers to our writes. An mpsc, for none may be lost: what is decided next rests on it.
    pub feedback: mpsc::Sender<Feedback>,
}

/// What came of a piece of work.
enum Done {
    Leader(Result<LeaderRecord, WriteError>),
    Work(ServiceKey, Vec<IpAddr>, Written, Result<(), WriteError>),
    Tend(IpAddr, Written, Result<(), WriteError>),
    Told,
}

/// Runs until `resign`, then gives leadership up.
///
/// # Errors
/// None: the API server's weather is waited out.
pub async fn run(
    api: Api,
    node: NodeName,
    instance: String,
    seed: u64,
    mut inputs: Inputs,
    outputs: Outputs,
    resign: CancellationToken,
) -> anyhow::Result<()> {
    let identity = format!("{node}/{instance}");
    let elector = Elector::new(identity, fastrand::Rng::with_seed(seed));
    let recorder = Arc::new(Recorder::new(api.clone(), node.as_str()));
    let mut leader = Leader {
        api,
        node,
        recorder,
        elector: Driver::new(elector),
        outputs,
        jobs: JoinSet::new(),
        busy: BTreeMap::new(),
        given: BTreeMap::new(),
        addresses: BTreeMap::new(),
        failures: Backoff::new(RETRY),
        repairs: Backoff::new(REPAIR),
        queue: Decision::default(),
        decided: None,
        prospect: Prospect::NotYet,
        decide_after: Instant::default(),
        quiet: Quiet::default(),
        news: News::default(),
        tally: Tally::default(),
    };
    loop {
        let world = World::of(&mut inputs);
        leader.elect(&world);
        let wake = leader.lead(&world);
        tokio::select! {
            biased;
            () = resign.cancelled() => break,
            Some(done) = leader.jobs.join_next() => {
                leader.finished(done?);
                while let Some(done) = leader.jobs.try_join_next() {
                    leader.finished(done?);
                }
            }
            changed = changed(&mut inputs) => changed?,
            () = clock::sleep_until_boottime(leader.elector.poll_timeout()) => {}
            () = clock::sleep_until(wake) => leader.decided = None,
        }
    }
    leader.resign().await;
    Ok(())
}

async fn changed(inputs: &mut Inputs) -> Result<(), watch::error::RecvError> {
    tokio::select! {
        changed = inputs.config.changed() => changed,
        changed = inputs.snapshot.changed() => changed,
        changed = inputs.living.changed() => changed,
        changed = inputs.planned.changed() => changed,
        changed = inputs.stand.changed() => changed,
        changed = inputs.edits.changed() => changed,
        changed = inputs.blocked.changed() => changed,
        changed = inputs.prospect.changed() => changed,
    }
}

/// What the leader acts on, at one moment.
struct World {
    config: Option<Arc<Config>>,
    snapshot: Option<Arc<Snapshot>>,
    living: Arc<Living>,
    planned: Option<Arc<Planned>>,
    stand: bool,
    edits: Edits,
    blocked: BTreeSet<NodeName>,
    prospect: Prospect,
}

impl World {
    fn of(inputs: &mut Inputs) -> Self {
        Self {
            config: inputs.config.borrow_and_update().clone(),
            snapshot: inputs.snapshot.borrow_and_update().clone(),
            living: inputs.living.borrow_and_update().clone(),
            planned: inputs.planned.borrow_and_update().clone(),
            stand: *inputs.stand.borrow_and_update(),
            edits: inputs.edits.borrow_and_update().clone(),
            blocked: inputs.blocked.borrow_and_update().clone(),
            prospect: inputs.prospect.borrow_and_update().clone(),
        }
    }

    /// The leader's Lease, and what is known of its holder.
    fn leader(&self) -> Option<ElectionEvent> {
        self.snapshot.as_ref().map(|snapshot| observed(snapshot, &self.living))
    }
}

/// Who holds a key busy: a job, or the wait for its traces.
enum Busy {
    Working,
    Settling { written: Written, until: Instant },
}

struct Leader {
    api: Api,
    node: NodeName,
    recorder: Arc<Recorder>,
    elector: Driver<Elector>,
    outputs: Outputs,
    jobs: JoinSet<Done>,
    busy: BTreeMap<ServiceKey, Busy>,
    /// To which node the work of a busy Service gives it.
    given: BTreeMap<ServiceKey, NodeName>,
    addresses: BTreeMap<IpAddr, Busy>,
    failures: Backoff<String>,
    repairs: Backoff<ServiceKey>,
    /// What was decided and not begun yet, in reverse order.
    queue: Decision,
    /// What was decided on last; `None`: to be decided again, also on the same facts.
    decided: Option<Arc<Planned>>,
    /// With what was known of free addresses.
    prospect: Prospect,
    /// A burst of changes costs at most a tenth of one core.
    decide_after: Instant,
    /// For `rebalance: true`.
    quiet: Quiet,
    news: News,
    tally: Tally,
}

impl Leader {
    fn elect(&mut self, world: &World) {
        let stands = world.snapshot.as_ref().is_some_and(|snapshot| stands(world.stand, world.config.is_some(), snapshot));
        let desired =
            Desired { stand: stands, heard_by_all: world.snapshot.as_ref().is_some_and(|snapshot| heard_by_all(snapshot, &world.living)) };
        let inputs = std::iter::once(Input::Set(Arc::new(desired))).chain(world.leader().map(Input::Event));
        self.step(inputs.collect());
    }

    fn step(&mut self, inputs: Vec<Input<Desired, ElectionEvent>>) {
        for action in self.elector.step(inputs, clock::boottime()) {
            match action {
                Action::Write(record) => {
                    let api = self.api.clone();
                    self.jobs.spawn(async move { Done::Leader(api.write_leader(&record).await) });
                }
                Action::StateChanged { leading, reason } => {
                    tracing::info!(leader = leading, reason, "leadership");
                    self.outputs.leading.send_replace(leading);
                }
            }
        }
    }

    /// Starts what is to be done; returns when to look again even if nothing happens.
    fn lead(&mut self, world: &World) -> Option<Instant> {
        let now = clock::now();
        let (true, Some(snapshot)) = (self.elector.machine().leads(), &world.snapshot) else {
            // What a former term decided was decided on older facts.
            self.queue = Decision::default();
            self.decided = None;
            self.tally.pause();
            return None;
        };
        // Also those that left everybody without a configuration, and so without a plan.
        let news = self.news.of_edits(&world.edits, world.config.as_deref(), snapshot, now);
        self.tell(news);
        let planned = world.planned.as_ref()?;
        let Planned { config, snapshot, living, plan } = &**planned;
        let news = self.news.of_cluster(&self.node, &world.blocked, world.edits.text(), config, snapshot, now);
        self.tell(news);
        if let Some(moves) = self.tally.observe(snapshot) {
            self.outputs.moves.send_replace(moves.clone());
        }
        self.busy.retain(|_, busy| is_busy(busy, snapshot, now));
        self.addresses.retain(|_, busy| is_busy(busy, snapshot, now));
        self.given.retain(|service, _| self.busy.contains_key(service));
        if self.prospect != world.prospect {
            self.prospect.clone_from(&world.prospect);
            self.decided = None;
        }
        let decided = self.decided.as_ref().is_some_and(|decided| Arc::ptr_eq(decided, planned));
        if self.queue == Decision::default() && !decided {
            if now < self.decide_after {
                return Some(self.decide_after);
            }
            let quiet = self.quiet.observe(snapshot, living, now) && config.settings.rebalance;
            let under_way = self.busy.keys().map(|service| (service.clone(), self.given.get(service).cloned())).collect();
            self.queue = decide(config, snapshot, living, plan, &moment(quiet, under_way, world.prospect.clone()));
            self.queue.work.reverse();
            self.queue.tend.reverse();
            if quiet && self.queue.tend.iter().any(|tend| evened_out(tend.claim())) {
                self.quiet.moving(now);
            }
            self.decided = Some(planned.clone());
            self.decide_after = now + clock::now().since(now) * 9;
        }
        self.start(now);
        let settling = self.busy.values().chain(self.addresses.values()).filter_map(|busy| match busy {
            Busy::Settling { until, .. } => Some(*until),
            Busy::Working => None,
        });
        let quiet = self.quiet.until(now).filter(|_| config.settings.rebalance);
        earliest([settling.min(), self.failures.next(now), self.repairs.next(now), quiet, self.news.next(&world.blocked)])
    }

    /// Begins as much of the queue as may be in flight. What has to wait is dropped: it is decided again, on newer facts.
    fn start(&mut self, now: Instant) {
        while self.jobs.len() < IN_FLIGHT {
            if let Some(work) = self.queue.work.pop() {
                self.start_work(work, now);
            } else if let Some(tend) = self.queue.tend.pop() {
                self.start_tend(tend, now);
            } else {
                return;
            }
        }
    }

    fn start_work(&mut self, mut work: Work, now: Instant) {
        let key = work.service.key.clone();
        let addresses: Vec<IpAddr> = work.take.iter().chain(&work.release).map(|claim| claim.address).collect();
        let free = !self.busy.contains_key(&key) && !addresses.iter().any(|address| self.addresses.contains_key(address));
        if !free || !self.failures.is_ready(&key.to_string(), now) || (work.repair && !self.repairs.is_ready(&key, now)) {
            return;
        }
        if work.repair && !self.repairs.attempted(&key, now) {
            work.events.retain(|event| event.kind == EventKind::Normal);
        }
        if work.repair {
            self.outputs.repairs.send_modify(|repairs| *repairs += 1);
        }
        self.busy.insert(key.clone(), Busy::Working);
        let placement = work.take.iter().find_map(|claim| claim.placement.as_ref());
        self.given.extend(placement.map(|placement| (key.clone(), placement.node.clone())));
        self.addresses.extend(addresses.iter().map(|address| (*address, Busy::Working)));
        let (api, recorder, feedback) = (self.api.clone(), self.recorder.clone(), self.outputs.feedback.clone());
        self.jobs.spawn(async move {
            let mut written = Written::default();
            let result = work::carry_out(&api, &recorder, &feedback, work, &mut written).await;
            Done::Work(key, addresses, written, result)
        });
    }

    fn start_tend(&mut self, tend: Tend, now: Instant) {
        let address = tend.claim().address;
        if self.addresses.contains_key(&address) || !self.failures.is_ready(&address.to_string(), now) {
            return;
        }
        self.addresses.insert(address, Busy::Working);
        let (api, feedback) = (self.api.clone(), self.outputs.feedback.clone());
        self.jobs.spawn(async move {
            let mut written = Written::default();
            let result = work::care(&api, &feedback, tend, &mut written).await;
            Done::Tend(address, written, result)
        });
    }

    fn finished(&mut self, done: Done) {
        let now = clock::now();
        self.decided = None;
        match done {
            Done::Told => {}
            Done::Leader(Ok(record)) => {
                // A full queue means that the watch task is far behind; it will hear of this Lease from the API server.
                drop(self.outputs.feedback.try_send(Feedback::Leader(record.clone())));
                self.step(vec![Input::Event(ElectionEvent::Written(record))]);
            }
            Done::Leader(Err(error)) => {
                tracing::debug!(%error, "the leader's Lease was not written");
                self.step(vec![Input::Event(ElectionEvent::Failed)]);
            }
            Done::Work(key, addresses, written, result) => {
                self.result(&key.to_string(), &result, now);
                for address in addresses {
                    self.addresses.insert(address, Busy::Settling { written: written.clone(), until: now + SETTLE });
                }
                self.busy.insert(key, Busy::Settling { written, until: now + SETTLE });
            }
            Done::Tend(address, written, result) => {
                self.result(&address.to_string(), &result, now);
                self.addresses.insert(address, Busy::Settling { written, until: now + SETTLE });
            }
        }
    }

    fn result(&mut self, what: &str, result: &Result<(), WriteError>, now: Instant) {
        let what = what.to_owned();
        match result {
            Ok(()) => self.failures.clear(&what),
            // Somebody was faster: the watch tells what there is now.
            Err(error @ (WriteError::Conflict | WriteError::AlreadyExists | WriteError::NotFound)) => {
                tracing::debug!(what, %error, "seen too late, looking again");
                self.failures.attempted(&what, now);
            }
            Err(error) => {
                if self.failures.attempted(&what, now) {
                    tracing::warn!(what, %error, "could not be written; trying again");
                }
            }
        }
    }

    fn tell(&mut self, news: Vec<Event>) {
        for event in news {
            let recorder = self.recorder.clone();
            self.jobs.spawn(async move {
                recorder.publish(&event).await;
                Done::Told
            });
        }
    }

    async fn resign(mut self) {
        self.step(vec![Input::Set(Arc::new(Desired { stand: false, heard_by_all: false }))]);
        // What is under way is finished: each write is safe, and half a piece of work is more work for the next leader.
        let all = async {
            while let Some(done) = self.jobs.join_next().await {
                if let Ok(done) = done {
                    self.finished(done);
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(2), all).await.is_err() {
            tracing::warn!("the API server did not answer in time: work is left to the next leader");
        }
    }
}

fn moment(quiet: bool, under_way: BTreeMap<ServiceKey, Option<NodeName>>, prospect: Prospect) -> Now {
    let wall = clock::wall();
    let seconds = wall.as_second();
    let text = jiff::Timestamp::from_second(seconds).unwrap_or(wall).to_string();
    Now { text, seconds, quiet, under_way, prospect }
}

fn is_busy(busy: &Busy, snapshot: &Snapshot, now: Instant) -> bool {
    match busy {
        Busy::Working => true,
        Busy::Settling { written, until } => now < *until && !written.is_in(snapshot),
    }
}
