//! Which addresses of the LAN other machines use: a machine that believes nobody before it has asked.
//!
//! A claim (RFC 5227 §2.4, or a watched address seen in traffic) is only a reason to ask the one who claims; an answer proves it, so one
//! forged packet takes no address away from anybody. What is proven is listed, asked again every [`ASK_AGAIN`], and taken off the list
//! after [`SILENT_NUM`] rounds without an answer and [`SILENT_TIME`] without any sign. Bounded, whatever the LAN sends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::MacAddr;
use crate::facts::{Answer, LinkName, Question, Questions};
use crate::machine::{Instant, Machine, earliest};

/// Time between two rounds of questions about a listed address.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Requests without an answer that make a round silent.
const UNANSWERED: u32 = 3;
/// Silent rounds, and …
const SILENT_NUM: u8 = 3;
/// … time without a sign, after which the address is free again.
const SILENT_TIME: Duration = Duration::from_secs(60);
/// At most so many addresses are listed: they are written to a Lease.
const LISTED_MAX: usize = 256;
/// At most so many claims are asked for at a time.
const CLAIMS_MAX: usize = 16;

/// What the machine is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A machine that is no member gives `address` as its own.
    Claimed {
        /// Where.
        link: LinkName,
        /// Which address.
        address: IpAddr,
        /// Who.
        mac: MacAddr,
    },
    /// What came of a question so far.
    Answered(Question, Answer),
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// [`Conflicts::questions`].
    QuestionsChanged,
    /// [`Conflicts::listed`]: an answer proved that `mac` uses the address.
    Listed {
        /// Which address.
        address: IpAddr,
        /// Who.
        mac: MacAddr,
    },
    /// [`Conflicts::listed`]: nobody uses the address any more, or its link is gone.
    Cleared {
        /// Which address.
        address: IpAddr,
        /// Who used it.
        mac: MacAddr,
    },
}

/// Somebody's claim on an address.
#[derive(Debug)]
struct Claim {
    mac: MacAddr,
    /// It was proven.
    listed: bool,
    /// A round of questions is under way.
    asking: bool,
    /// Rounds in a row without an answer.
    silent: u8,
    last_heard: Instant,
    /// When the next round begins.
    ask_timer: Option<Instant>,
}

/// The machine. `Desired` are the links that can be asked on: what was seen on others is forgotten.
#[derive(Debug, Default)]
pub struct Conflicts {
    links: Arc<BTreeSet<LinkName>>,
    claims: BTreeMap<(LinkName, IpAddr), Claim>,
}

impl Conflicts {
    /// The addresses that other machines use, with their MACs.
    pub fn listed(&self) -> BTreeMap<IpAddr, MacAddr> {
        self.claims.iter().filter(|(_, claim)| claim.listed).map(|((_, address), claim)| (*address, claim.mac)).collect()
    }

    /// What is to be asked now.
    pub fn questions(&self) -> Questions {
        let asking = self.claims.iter().filter(|(_, claim)| claim.asking);
        asking.map(|((link, address), claim)| Question { link: link.clone(), address: *address, mac: Some(claim.mac) }).collect()
    }

    fn claimed(&mut self, link: LinkName, address: IpAddr, mac: MacAddr, now: Instant, out: &mut Vec<Action>) {
        let key = (link, address);
        if let Some(claim) = self.claims.get_mut(&key) {
            if claim.mac == mac && claim.listed {
                (claim.last_heard, claim.silent) = (now, 0);
            }
            return;
        }
        let unproven = self.claims.values().filter(|claim| !claim.listed).count();
        if self.links.contains(&key.0) && unproven < CLAIMS_MAX && self.claims.len() < LISTED_MAX {
            self.claims.insert(key, Claim { mac, listed: false, asking: true, silent: 0, last_heard: now, ask_timer: None });
            out.push(Action::QuestionsChanged);
        }
    }

    fn answered(&mut self, question: Question, answer: Answer, now: Instant, out: &mut Vec<Action>) {
        let (address, mac) = (question.address, question.mac);
        let key = (question.link, address);
        let Some(claim) = self.claims.get_mut(&key).filter(|claim| claim.asking && Some(claim.mac) == mac) else { return };
        let heard = answer.unanswered == 0 && answer.mac.is_some();
        if !heard && answer.unanswered < UNANSWERED {
            return;
        }
        out.push(Action::QuestionsChanged);
        (claim.asking, claim.ask_timer) = (false, Some(now + ASK_AGAIN));
        if heard {
            (claim.last_heard, claim.silent) = (now, 0);
            if !std::mem::replace(&mut claim.listed, true) {
                out.push(Action::Listed { address, mac: claim.mac });
            }
            return;
        }
        claim.silent = claim.silent.saturating_add(1);
        let (listed, mac) = (claim.listed, claim.mac);
        if !listed || (claim.silent >= SILENT_NUM && now.since(claim.last_heard) >= SILENT_TIME) {
            self.claims.remove(&key);
            out.extend(listed.then_some(Action::Cleared { address, mac }));
        }
    }
}

impl Machine for Conflicts {
    type Desired = BTreeSet<LinkName>;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, links: Arc<BTreeSet<LinkName>>, _now: Instant, out: &mut Vec<Action>) {
        self.links = links;
        let gone: Vec<_> = self.claims.keys().filter(|(link, _)| !self.links.contains(link)).cloned().collect();
        for key in gone {
            out.push(Action::QuestionsChanged);
            let claim = self.claims.remove(&key).filter(|claim| claim.listed);
            out.extend(claim.map(|claim| Action::Cleared { address: key.1, mac: claim.mac }));
        }
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Claimed { link, address, mac } => self.claimed(link, address, mac, now, out),
            Event::Answered(question, answer) => self.answered(question, answer, now, out),
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        for claim in self.claims.values_mut() {
            if claim.ask_timer.take_if(|due| *due <= now).is_some() {
                claim.asking = true;
                out.push(Action::QuestionsChanged);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.claims.values().map(|claim| claim.ask_timer))
    }
}
