//! Asks one link who has an address (ARP request, RFC 826; Neighbor Solicitation, RFC 4861 §7.2.2), as long as a question stands.
//!
//! The kernel of a node answers for the node's address whether or not an agent runs there, and a gateway answers whoever reaches it:
//! so failover waits for this machine, and what it learns is told the moment an answer comes or its time is over. It knows no packet:
//! `arp` and `ndp` make the requests and read who speaks.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::MacAddr;
use crate::facts::{Answer, Question, Questions};
use crate::machine::{Instant, Machine, earliest};

/// Requests that a new question sends at once: one may be lost.
const ASK_NUM: u8 = 3;
/// Time between those.
const ASK_STEP: Duration = Duration::from_millis(40);
/// Time between requests after that.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// An answer that took longer is none yet. A kernel answers within a millisecond by cable, within 20 ms through a busy access point.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(50);

/// What the link tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A packet came from `mac` that gives `address` as its sender's.
    Heard {
        /// The sender's address.
        address: IpAddr,
        /// The sender.
        mac: MacAddr,
    },
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send a request.
    Ask(Question),
    /// [`Asker::answers`] has changed.
    AnswersChanged,
}

/// One question on its way.
#[derive(Debug)]
struct Asked {
    answer: Answer,
    /// Of the first [`ASK_NUM`] requests, those still to come.
    remaining: u8,
    ask_timer: Instant,
    /// When each request under way counts as unanswered, earliest first.
    deadlines: VecDeque<Instant>,
}

/// The machine. `Desired` are the questions of this link and protocol.
#[derive(Debug, Default)]
pub struct Asker {
    questions: BTreeMap<Question, Asked>,
}

impl Asker {
    /// Every question that stands, and what came of it.
    pub fn answers(&self) -> impl Iterator<Item = (&Question, Answer)> {
        self.questions.iter().map(|(question, asked)| (question, asked.answer))
    }

    /// Whether no question stands.
    pub fn is_idle(&self) -> bool {
        self.questions.is_empty()
    }
}

impl Asked {
    fn new(now: Instant) -> Self {
        Self { answer: Answer::default(), remaining: ASK_NUM, ask_timer: now, deadlines: VecDeque::new() }
    }

    /// Counts what was not answered in time; whether there was anything.
    fn expire(&mut self, now: Instant) -> bool {
        let before = self.answer.unanswered;
        while self.deadlines.front().is_some_and(|deadline| *deadline <= now) {
            self.deadlines.pop_front();
            self.answer.unanswered = self.answer.unanswered.saturating_add(1);
        }
        self.answer.unanswered != before
    }

    /// Whether a request is due; the next one is counted from now, so that a late wake-up does not ask in bursts.
    fn ask_if_due(&mut self, now: Instant) -> bool {
        let due = self.ask_timer <= now;
        if due {
            self.remaining = self.remaining.saturating_sub(1);
            self.ask_timer = now + if self.remaining > 0 { ASK_STEP } else { ASK_INTERVAL };
            self.deadlines.push_back(now + ANSWER_TIMEOUT);
        }
        due
    }
}

impl Machine for Asker {
    type Desired = Questions;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<Questions>, now: Instant, out: &mut Vec<Action>) {
        if self.questions.keys().eq(desired.iter()) {
            return;
        }
        self.questions.retain(|question, _| desired.contains(question));
        for question in desired.iter() {
            self.questions.entry(question.clone()).or_insert_with(|| Asked::new(now));
        }
        out.push(Action::AnswersChanged);
        self.handle_timeout(now, out);
    }

    fn handle(&mut self, event: Event, _now: Instant, out: &mut Vec<Action>) {
        let Event::Heard { address, mac } = event;
        let mut changed = false;
        for (question, asked) in &mut self.questions {
            if question.address == address && question.mac.is_none_or(|whom| whom == mac) {
                asked.deadlines.clear();
                let answer = Answer { unanswered: 0, mac: Some(mac) };
                changed |= std::mem::replace(&mut asked.answer, answer) != answer;
            }
        }
        if changed {
            out.push(Action::AnswersChanged);
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        let mut changed = false;
        for (question, asked) in &mut self.questions {
            changed |= asked.expire(now);
            if asked.ask_if_due(now) {
                out.push(Action::Ask(question.clone()));
            }
        }
        if changed {
            out.push(Action::AnswersChanged);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.questions.values().flat_map(|asked| [Some(asked.ask_timer), asked.deadlines.front().copied()]))
    }
}
