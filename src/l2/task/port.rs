//! One open link for one protocol: the socket, the machines, and what is told about them.
//!
//! Input is drained before timers fire. A port asks and answers through one socket; what a question hears is what the machine that
//! answers hears, too.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::{Key, Shell, Wanted, empty};
use crate::addr::{Family, MacAddr};
use crate::facts::{LinkName, Question, Questions};
use crate::l2::asker::{self, Asker};
use crate::l2::desired::LinkDesired;
use crate::l2::status::{AddressStatus, Claimant, LinkStatus};
use crate::l2::{Action, Protocol, Purpose, Reason, State};
use crate::machine::{Driver, Input, Instant, earliest};
use crate::net::clock;
use crate::net::multicast::Groups;
use crate::net::packet::{self, PacketSocket};

/// Counters are published at most this often, and only when they moved.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// Frames taken from a socket before answers go out and other ports have their turn.
const BATCH: usize = 64;

/// An open link.
pub(super) struct Port<P: Protocol> {
    link: LinkName,
    socket: PacketSocket,
    groups: Groups,
    driver: Driver<P>,
    asker: Driver<Asker>,
    wanted: Arc<Wanted>,
    status: LinkStatus,
    /// When the counters are published; `None` while they are as published.
    publish_timer: Option<Instant>,
    /// Empty between two steps.
    actions: Vec<Action<P::Packet>>,
    /// One buffer for every frame sent.
    frame: Vec<u8>,
    all_multicast: bool,
    promiscuous: bool,
}

impl<P: Protocol> Port<P> {
    pub(super) fn open(key: &Key, wanted: &Arc<Wanted>, seed: u64) -> io::Result<Self> {
        let protocol = match P::FAMILY {
            Family::V4 => packet::Protocol::Arp,
            Family::V6 => packet::Protocol::Ndp,
        };
        Ok(Self {
            link: key.0.clone(),
            socket: PacketSocket::open(wanted.link.index, protocol)?,
            groups: Groups::new(wanted.link.index),
            driver: Driver::new(P::new(seed ^ u64::from(wanted.link.index))),
            asker: Driver::new(Asker::default()),
            wanted: Arc::clone(wanted),
            status: empty(&wanted.link),
            publish_timer: None,
            actions: Vec::new(),
            frame: Vec::with_capacity(128),
            all_multicast: false,
            promiscuous: false,
        })
    }

    /// `Ok`: nothing is wanted any more, or shutdown. `Err`: the link failed.
    pub(super) async fn serve(&mut self, shell: &mut Shell) -> io::Result<()> {
        self.set(Arc::clone(&self.wanted), shell);
        loop {
            tokio::select! {
                biased;
                () = shell.shutdown.cancelled() => break,
                changed = shell.wanted.changed() => {
                    let Ok(()) = changed else { break };
                    let wanted = Arc::clone(&shell.wanted.borrow_and_update());
                    self.set(wanted, shell);
                }
                ready = self.socket.readable() => {
                    ready?;
                    if self.receive(shell) == BATCH {
                        // A flood must not keep other ports of this thread from their turn.
                        tokio::task::yield_now().await;
                    }
                }
                () = clock::sleep_until(self.next_timer()) => drop(self.receive(shell)),
            }
            if self.is_done() {
                return Ok(());
            }
            if self.publish_timer.is_some_and(|due| due <= clock::now()) {
                self.publish(shell);
            }
        }
        let silent = LinkDesired { addresses: BTreeMap::new(), successors: Arc::default(), ..self.wanted.link.clone() };
        self.set(Arc::new(Wanted { link: silent, questions: Arc::default(), own: self.wanted.own.clone() }), shell);
        Ok(())
    }

    /// Nothing is wanted here, and what was has been handed over.
    fn is_done(&self) -> bool {
        !self.wanted.is_something(P::FAMILY) && self.driver.machine().is_silent()
    }

    fn next_timer(&self) -> Option<Instant> {
        earliest([self.driver.poll_timeout(), self.asker.poll_timeout(), self.publish_timer])
    }

    fn set(&mut self, wanted: Arc<Wanted>, shell: &Shell) {
        self.status.mac = wanted.link.mac;
        for (address, service) in &wanted.link.addresses {
            if let Some(status) = self.status.addresses.get_mut(address) {
                status.service = Arc::clone(service);
            }
        }
        self.wanted = wanted;
        self.be_promiscuous();
        self.ask([Input::Set(Arc::clone(&self.wanted.questions))], shell);
        self.actions.extend(self.driver.step([Input::Set(Arc::new(self.wanted.link.clone()))], clock::now()));
        self.carry_out(shell);
        self.publish(shell);
    }

    /// Takes what waits in the socket, then fires what is due. Returns how many frames it took.
    fn receive(&mut self, shell: &Shell) -> usize {
        let now = clock::now();
        let (socket, mut received, mut invalid) = (&mut self.socket, 0, 0);
        let (asking, own, mut heard) = (!self.asker.machine().is_idle(), self.wanted.link.mac, Vec::new());
        let frames = std::iter::from_fn(|| socket.receive(P::decode)).take(BATCH);
        let events = frames.filter_map(|event| {
            received += 1;
            invalid += u64::from(event.is_none());
            let event = event?;
            heard.extend(P::speaker(&event).filter(|(_, mac)| asking && *mac != own));
            Some(Input::Event(event))
        });
        self.actions.extend(self.driver.step(events, now));
        self.status.counters.received += received;
        self.status.counters.invalid += invalid;
        self.publish_timer.get_or_insert(now + PUBLISH_INTERVAL);
        self.ask(heard.into_iter().map(|(address, mac)| Input::Event(asker::Event::Heard { address, mac })), shell);
        if self.carry_out(shell) {
            self.publish(shell);
        }
        usize::try_from(received).unwrap_or(BATCH)
    }

    fn ask(&mut self, inputs: impl IntoIterator<Item = Input<Questions, asker::Event>>, shell: &Shell) {
        let mut changed = false;
        let actions: Vec<asker::Action> = self.asker.step(inputs, clock::now()).collect();
        for action in actions {
            match action {
                asker::Action::Ask(question) => self.send_question(&question),
                asker::Action::AnswersChanged => changed = true,
            }
        }
        if changed {
            shell.tell_answers(self.asker.machine().answers());
        }
    }

    fn send_question(&mut self, question: &Question) {
        let Some((to, packet)) = P::question(self.wanted.link.mac, &self.wanted.own, question.address, question.mac) else { return };
        self.send(question.address, Purpose::Question, to, &packet);
    }

    /// Returns whether something happened that people should see at once.
    fn carry_out(&mut self, shell: &Shell) -> bool {
        let mut told = false;
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { address, purpose, to, packet } => self.send(address, purpose, to, &packet),
                Action::JoinGroup(group) => self.join(group),
                Action::LeaveGroup(group) => self.leave(group),
                Action::StateChanged { address, from: _, to, reason } => {
                    self.state_changed(address, to, reason);
                    told = true;
                }
                Action::Conflict { address, mac } => {
                    self.conflict(address, mac);
                    shell.tell_claim(address, mac);
                    told = true;
                }
                Action::MemberClaim { address, mac } => {
                    self.member_claim(address, mac);
                    told = true;
                }
                Action::Sighted { address, mac } => shell.tell_claim(address, mac),
            }
        }
        self.actions = actions;
        told
    }

    fn join(&mut self, group: Ipv6Addr) {
        if let Err(error) = self.groups.join(group) {
            self.fall_back_to_all_multicast(&error);
        }
    }

    fn leave(&mut self, group: Ipv6Addr) {
        if let Err(error) = self.groups.leave(group) {
            tracing::debug!(link = %self.link, %group, "cannot leave the group: {error}");
        }
    }

    fn send(&mut self, address: IpAddr, purpose: Purpose, to: MacAddr, packet: &P::Packet) {
        self.frame.clear();
        P::encode(packet, self.wanted.link.mac, to, &mut self.frame);
        let counters = &mut self.status.counters;
        if let Err(error) = self.socket.send(&self.frame) {
            counters.unsent += 1;
            tracing::trace!(link = %self.link, %address, "cannot send: {error}");
            return;
        }
        let status = self.status.addresses.get_mut(&address);
        let (of_link, of_address) = match purpose {
            Purpose::Answer => (&mut counters.answered, status.map(|status| &mut status.answered)),
            Purpose::Question | Purpose::Probe => (&mut counters.asked, None),
            Purpose::Announcement => (&mut counters.announced, status.map(|status| &mut status.announced)),
        };
        *of_link += 1;
        if let Some(of_address) = of_address {
            *of_address += 1;
        }
    }

    /// Where a group cannot be joined (IPv6 is switched off on the link), hear all of them; a switch that snoops may still hold them back.
    fn fall_back_to_all_multicast(&mut self, error: &io::Error) {
        if std::mem::replace(&mut self.all_multicast, true) {
            return;
        }
        tracing::warn!(link = %self.link, "cannot join IPv6 groups ({error}): receiving all of them instead");
        if let Err(error) = self.socket.all_multicast() {
            tracing::warn!(link = %self.link, "cannot receive all IPv6 groups: {error}");
        }
    }

    fn be_promiscuous(&mut self) {
        let wanted = self.wanted.link.promiscuous;
        if std::mem::replace(&mut self.promiscuous, wanted) == wanted {
            return;
        }
        match self.socket.promiscuous(wanted) {
            Ok(()) => tracing::info!(link = %self.link, promiscuous = wanted, "promiscuous mode"),
            Err(error) => tracing::warn!(link = %self.link, "cannot change promiscuous mode: {error}"),
        }
    }

    fn state_changed(&mut self, address: IpAddr, to: State, reason: Reason) {
        let (link, mac) = (&self.link, self.wanted.link.mac);
        match to {
            State::Announcing => {
                let service = self.wanted.link.addresses.get(&address).cloned().unwrap_or_else(|| "".into());
                tracing::info!(%address, %service, %link, %mac, ?reason, "announcing");
                let fresh = AddressStatus { service, since: clock::wall(), answered: 0, announced: 0, conflict: None, member: None };
                self.status.addresses.entry(address).or_insert(fresh);
            }
            State::Yielding | State::Silent => {
                if let Some(AddressStatus { service, .. }) = self.status.addresses.remove(&address) {
                    tracing::info!(%address, %service, %link, answered_on = to == State::Yielding, "withdrawn");
                } else {
                    tracing::debug!(%address, %link, ?reason, "not answered any more");
                }
            }
        }
    }

    fn conflict(&mut self, address: IpAddr, mac: MacAddr) {
        self.status.counters.conflicts += 1;
        if let Some(status) = self.status.addresses.get_mut(&address) {
            status.conflict = Some(Claimant { mac, at: clock::wall() });
            tracing::warn!(%address, service = %status.service, link = %self.link, %mac, "another machine claims this address");
        }
    }

    fn member_claim(&mut self, address: IpAddr, mac: MacAddr) {
        if let Some(status) = self.status.addresses.get_mut(&address) {
            status.member = Some(Claimant { mac, at: clock::wall() });
            tracing::debug!(%address, service = %status.service, link = %self.link, %mac, "a member announces this address, too");
        }
    }

    fn publish(&mut self, shell: &Shell) {
        self.status.counters.dropped += self.socket.dropped().unwrap_or(0);
        self.publish_timer = None;
        shell.publish(self.status.clone());
    }
}
