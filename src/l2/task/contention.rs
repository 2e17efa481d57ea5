//! The shell around `conflicts`: what ports were told of goes in, questions and the list in the status come out.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::facts::{Answers, LinkName, Links, Questions, replace};
use crate::l2::conflicts::{Action, Conflicts, Event};
use crate::l2::status::Status;
use crate::machine::{Driver, Input, Instant};
use crate::net::clock;

/// Claims that wait to be looked at; in a flood the rest is lost, and comes again.
const WAITING: usize = 64;

/// The machine and its channels.
pub(super) struct Contention {
    driver: Driver<Conflicts>,
    claims: mpsc::Receiver<Event>,
    answers: watch::Receiver<Arc<Answers>>,
    status: watch::Sender<Arc<Status>>,
}

impl Contention {
    /// Returns also where ports tell of claims.
    pub(super) fn new(answers: watch::Receiver<Arc<Answers>>, status: watch::Sender<Arc<Status>>) -> (Self, mpsc::Sender<Event>) {
        let (sender, claims) = mpsc::channel(WAITING);
        (Self { driver: Driver::new(Conflicts::default()), claims, answers, status }, sender)
    }

    /// Takes in which links there are.
    pub(super) fn set(&mut self, links: &Links) {
        let usable: BTreeSet<LinkName> = links.links.values().filter(|link| super::is_usable(link)).map(|link| link.name.clone()).collect();
        self.step([Input::Set(Arc::new(usable))]);
    }

    /// What is to be asked now.
    pub(super) fn questions(&self) -> Questions {
        self.driver.machine().questions()
    }

    /// Returns when the questions may have changed.
    pub(super) async fn turn(&mut self) {
        loop {
            let changed = tokio::select! {
                Some(claim) = self.claims.recv() => self.step([Input::Event(claim)]),
                Ok(()) = self.answers.changed() => {
                    let asked = self.questions();
                    let answers = Arc::clone(&self.answers.borrow_and_update());
                    let answered = asked.into_iter().filter_map(|question| Some((answers.get(&question).copied()?, question)));
                    self.step(answered.map(|(answer, question)| Input::Event(Event::Answered(question, answer))))
                }
                () = clock::sleep_until(self.driver.poll_timeout()) => self.step([]),
            };
            if changed {
                return;
            }
        }
    }

    /// Whether the questions have changed.
    fn step(&mut self, inputs: impl IntoIterator<Item = Input<BTreeSet<LinkName>, Event>>) -> bool {
        let now: Instant = clock::now();
        let mut changed = false;
        let mut told = false;
        for action in self.driver.step(inputs, now) {
            match action {
                Action::QuestionsChanged => changed = true,
                Action::Listed { address, mac } => {
                    tracing::warn!(%address, %mac, "another machine of the LAN uses this address");
                    told = true;
                }
                Action::Cleared { address, mac } => {
                    tracing::info!(%address, %mac, "the other machine does not use this address any more");
                    told = true;
                }
            }
        }
        if told {
            let listed = self.driver.machine().listed();
            self.status.send_if_modified(|status| {
                let mut known = Status::clone(status);
                known.conflicts = listed;
                replace(status, Arc::new(known))
            });
        }
        changed
    }
}
