//! The shell of layer 2: one task per link and family that has addresses or questions, each with a socket and machines of its own.
//!
//! ```text
//!  plan ───────watch<Desired>────┐                                              ┌──► watch<Status>
//!  membership ─watch<Questions>──┼─► run ──watch<Wanted>──► port (link, family) ┴──► watch<Answers>
//!  net::link ──watch<Links>──────┘                           ▲│
//!                                                  frames    ││ frames, group membership
//!                                                         net::packet
//! ```
//!
//! A port whose link fails (down, gone) is opened again with growing pauses and then tells the LAN anew; it never ends the process.

mod contention;
mod port;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Protocol;
use super::arp::Arp;
use super::conflicts;
use super::desired::{Desired, LinkDesired};
use super::ndp::Ndp;
use super::status::{LinkStatus, Status};
use crate::addr::{Family, MacAddr};
use crate::facts::{Answer, Answers, Link, LinkName, Links, Question, Questions, Role, replace};
use crate::net::clock;
use contention::Contention;
use port::Port;

/// Pauses before a failed link is opened again: the first, doubled up to the last.
const REOPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

type Key = (LinkName, Family);

/// What the task reads.
#[derive(Debug)]
pub struct Inputs {
    /// The addresses to answer for.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// What to ask the LAN.
    pub questions: watch::Receiver<Arc<Questions>>,
    /// This host's links: whence to ask.
    pub links: watch::Receiver<Arc<Links>>,
}

/// What the task tells.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// What is answered for, and how it goes.
    pub status: watch::Sender<Arc<Status>>,
    /// What came of the questions that can be asked, layer 2's own among them: one on a link that is down or gone is not listed.
    pub answers: watch::Sender<Arc<Answers>>,
}

/// Answers, announces and asks until `shutdown`. Belongs on a thread of its own: nothing else may delay an answer. `seed` jitters
/// announcements.
///
/// # Errors
/// Only if a task panicked.
pub async fn run(mut inputs: Inputs, outputs: Outputs, seed: u64, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tasks: JoinSet<Key> = JoinSet::new();
    let (mut contention, claims) = Contention::new(outputs.answers.subscribe(), outputs.status.clone());
    // A port without a sender is ending; one of the same key starts when it has ended.
    let mut ports: BTreeMap<Key, Option<watch::Sender<Arc<Wanted>>>> = BTreeMap::new();
    loop {
        let links = Arc::clone(&inputs.links.borrow_and_update());
        contention.set(&links);
        let questions = inputs.questions.borrow_and_update().union(&contention.questions()).cloned().collect();
        let wanted = by_port(&inputs.desired.borrow_and_update(), &questions, &links);
        for (key, port) in &mut ports {
            port.take_if(|sender| wanted.get(key).is_none_or(|wanted| wanted.link.index != sender.borrow().link.index));
        }
        for (key, wanted) in wanted {
            match ports.get(&key) {
                Some(Some(sender)) => drop(sender.send_if_modified(|known| replace(known, Arc::new(wanted)))),
                Some(None) => {}
                None if !wanted.is_something(key.1) => {}
                None => {
                    let (sender, wanted) = watch::channel(Arc::new(wanted));
                    let shell = Shell {
                        key: key.clone(),
                        wanted,
                        outputs: outputs.clone(),
                        claims: claims.clone(),
                        seed,
                        shutdown: shutdown.clone(),
                    };
                    match key.1 {
                        Family::V4 => tasks.spawn(shell.run::<Arp>()),
                        Family::V6 => tasks.spawn(shell.run::<Ndp>()),
                    };
                    ports.insert(key, Some(sender));
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = changed(&mut inputs) => if changed.is_err() {
                // Nobody plans any more; what is announced stays until the process ends.
                shutdown.cancelled().await;
            },
            () = contention.turn() => {}
            Some(ended) = tasks.join_next() => drop(ports.remove(&ended?)),
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

async fn changed(inputs: &mut Inputs) -> Result<(), watch::error::RecvError> {
    tokio::select! {
        changed = inputs.desired.changed() => changed,
        changed = inputs.questions.changed() => changed,
        changed = inputs.links.changed() => changed,
    }
}

/// What is wanted of one port.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    /// The addresses to answer for; none where there are only questions.
    link: LinkDesired,
    questions: Arc<Questions>,
    /// The link's own addresses, to ask from.
    own: BTreeSet<IpNet>,
}

impl Wanted {
    /// Whether there is anything to do for a port of that family that has nothing to hand over.
    fn is_something(&self, family: Family) -> bool {
        self.link.has(family) || !self.questions.is_empty()
    }
}

/// What is wanted of each port there could be.
fn by_port(desired: &Desired, questions: &Questions, links: &Links) -> BTreeMap<Key, Wanted> {
    let usable = |name: &LinkName| links.links.get(name).is_some_and(is_usable);
    let mut asked: BTreeMap<Key, Questions> = BTreeMap::new();
    for question in questions.iter().filter(|question| usable(&question.link)) {
        asked.entry((question.link.clone(), Family::of(question.address))).or_default().insert(question.clone());
    }
    let answering = desired.links.keys().flat_map(|name| [Family::V4, Family::V6].map(|family| (name.clone(), family)));
    let keys: BTreeSet<Key> = answering.chain(asked.keys().cloned()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let found = links.links.get(&key.0);
            let link = desired.links.get(&key.0).cloned().or_else(|| found.map(only_questions))?;
            let questions = Arc::new(asked.remove(&key).unwrap_or_default());
            // Nothing to ask: the link's own addresses may come and go.
            let own = found.filter(|_| !questions.is_empty()).map(|link| link.addresses.clone()).unwrap_or_default();
            Some((key, Wanted { link, questions, own }))
        })
        .collect()
}

/// Whether anything can be asked there.
fn is_usable(link: &Link) -> bool {
    link.up && link.role == Role::Own
}

fn only_questions(link: &Link) -> LinkDesired {
    LinkDesired { index: link.index, mac: link.mac, ..LinkDesired::default() }
}

/// What a port has while its link comes and goes.
struct Shell {
    key: Key,
    wanted: watch::Receiver<Arc<Wanted>>,
    outputs: Outputs,
    claims: mpsc::Sender<conflicts::Event>,
    seed: u64,
    shutdown: CancellationToken,
}

impl Shell {
    async fn run<P: Protocol>(mut self) -> Key {
        let mut pause = REOPEN.0;
        let mut last_error = String::new();
        loop {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            if !wanted.is_something(self.key.1) {
                break;
            }
            let opened = clock::now();
            let error = match Port::<P>::open(&self.key, &wanted, self.seed) {
                Ok(mut port) => match port.serve(&mut self).await {
                    Ok(()) => break,
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            if clock::now().since(opened) > REOPEN.1 {
                (pause, last_error) = (REOPEN.0, String::new());
            }
            if replace(&mut last_error, error) {
                tracing::warn!(link = %self.key.0, family = %self.key.1, "cannot announce: {last_error}");
            }
            self.publish(LinkStatus { error: Some(last_error.clone()), ..empty(&wanted.link) });
            self.tell_answers([].into_iter());
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                // Something else is wanted of the same link: it may work now. No sender: not wanted any more.
                changed = self.wanted.changed() => if changed.is_err() { break },
            }
            pause = (pause * 2).min(REOPEN.1);
        }
        self.outputs.status.send_modify(|status| drop(Arc::make_mut(status).links.remove(&self.key)));
        self.tell_answers([].into_iter());
        self.key
    }

    fn publish(&self, link: LinkStatus) {
        self.outputs.status.send_modify(|status| drop(Arc::make_mut(status).links.insert(self.key.clone(), Arc::new(link))));
    }

    /// Has it looked at that `mac` claims `address`.
    fn tell_claim(&self, address: IpAddr, mac: MacAddr) {
        // Where the queue is full, it comes again.
        drop(self.claims.try_send(conflicts::Event::Claimed { link: self.key.0.clone(), address, mac }));
    }

    /// Replaces what came of the questions of this port.
    fn tell_answers<'a>(&self, answers: impl Iterator<Item = (&'a Question, Answer)>) {
        let (link, family) = &self.key;
        self.outputs.answers.send_if_modified(|known| {
            let is_mine = |question: &Question| question.link == *link && Family::of(question.address) == *family;
            let others = known.iter().filter(|(question, _)| !is_mine(question)).map(|(question, answer)| (question.clone(), *answer));
            replace(known, Arc::new(others.chain(answers.map(|(question, answer)| (question.clone(), answer))).collect()))
        });
    }
}

fn empty(desired: &LinkDesired) -> LinkStatus {
    LinkStatus { index: desired.index, mac: desired.mac, error: None, counters: Default::default(), addresses: BTreeMap::new() }
}
