//! The shell of layer 2: one task per link and family that has addresses, each with a socket and a machine of its own.
//!
//! ```text
//!  plan ──watch<Desired>──► run ──watch<LinkDesired>──► port (link, family) ──► watch<Status>
//!                                                        ▲│
//!                                              frames    ││ frames, group membership
//!                                                     net::packet
//! ```
//!
//! A port whose link fails (down, gone) is opened again with growing pauses and then tells the LAN anew; it never ends the process.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::arp::Arp;
use super::desired::{Desired, LinkDesired};
use super::ndp::Ndp;
use super::status::{AddressStatus, Conflict, LinkStatus, Status};
use super::{Action, Protocol, Purpose, Reason, State};
use crate::addr::{Family, MacAddr};
use crate::facts::LinkName;
use crate::machine::{Driver, Input, Instant, earliest};
use crate::net::clock;
use crate::net::multicast::Groups;
use crate::net::packet::{self, PacketSocket};

/// Pauses before a failed link is opened again: the first, doubled up to the last.
const REOPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Counters are published at most this often, and only when they moved.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// Frames taken from a socket before answers go out and other ports have their turn.
const BATCH: usize = 64;

type Key = (LinkName, Family);

/// Answers and announces what is `desired` until `shutdown`. Belongs on a thread of its own: nothing else may delay an answer. `seed`
/// jitters announcements.
pub async fn run(
    mut desired: watch::Receiver<Arc<Desired>>,
    status: watch::Sender<Arc<Status>>,
    seed: u64,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut tasks: JoinSet<Key> = JoinSet::new();
    // A port without a sender is ending; one of the same key starts when it has ended.
    let mut ports: BTreeMap<Key, Option<watch::Sender<Arc<LinkDesired>>>> = BTreeMap::new();
    loop {
        let wanted = by_port(&desired.borrow_and_update());
        for (key, port) in &mut ports {
            port.take_if(|sender| wanted.get(key).is_none_or(|wanted| wanted.index != sender.borrow().index));
        }
        for (key, wanted) in wanted {
            match ports.get(&key) {
                Some(Some(sender)) => drop(sender.send_if_modified(|known| replace(known, wanted))),
                Some(None) => {}
                None => {
                    let (sender, receiver) = watch::channel(wanted);
                    let shell = Shell { key: key.clone(), desired: receiver, status: status.clone(), seed, shutdown: shutdown.clone() };
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
            changed = desired.changed() => if changed.is_err() {
                // Nobody plans any more; what is announced stays until the process ends.
                shutdown.cancelled().await;
            },
            Some(ended) = tasks.join_next() => drop(ports.remove(&ended?)),
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

fn by_port(desired: &Desired) -> BTreeMap<Key, Arc<LinkDesired>> {
    let mut ports = BTreeMap::new();
    for (name, link) in &desired.links {
        let link = Arc::new(link.clone());
        for family in [Family::V4, Family::V6].into_iter().filter(|family| link.has(*family)) {
            ports.insert((name.clone(), family), Arc::clone(&link));
        }
    }
    ports
}

fn replace<T: PartialEq>(known: &mut T, new: T) -> bool {
    let changed = *known != new;
    if changed {
        *known = new;
    }
    changed
}

/// What a port has while its link comes and goes.
struct Shell {
    key: Key,
    desired: watch::Receiver<Arc<LinkDesired>>,
    status: watch::Sender<Arc<Status>>,
    seed: u64,
    shutdown: CancellationToken,
}

impl Shell {
    async fn run<P: Protocol>(mut self) -> Key {
        let mut pause = REOPEN.0;
        let mut last_error = String::new();
        loop {
            let desired = Arc::clone(&self.desired.borrow_and_update());
            let opened = clock::now();
            let error = match Port::<P>::open(&self.key, &desired, self.seed) {
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
            self.publish(LinkStatus { error: Some(last_error.clone()), ..empty(&desired) });
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                // Another desired set of the same link: it may work now. No sender: not wanted any more.
                changed = self.desired.changed() => if changed.is_err() { break },
            }
            pause = (pause * 2).min(REOPEN.1);
        }
        self.status.send_modify(|status| drop(Arc::make_mut(status).links.remove(&self.key)));
        self.key
    }

    fn publish(&self, link: LinkStatus) {
        self.status.send_modify(|status| drop(Arc::make_mut(status).links.insert(self.key.clone(), Arc::new(link))));
    }
}

fn empty(desired: &LinkDesired) -> LinkStatus {
    LinkStatus { index: desired.index, mac: desired.mac, error: None, counters: Default::default(), addresses: BTreeMap::new() }
}

/// An open link: socket, groups, machine, and what is told about them.
struct Port<P: Protocol> {
    link: LinkName,
    socket: PacketSocket,
    groups: Groups,
    driver: Driver<P>,
    desired: Arc<LinkDesired>,
    status: LinkStatus,
    /// When the counters are published; `None` while they are as published.
    publish_timer: Option<Instant>,
    /// Empty between two steps.
    actions: Vec<Action<P::Packet>>,
    /// One buffer for every frame sent.
    frame: Vec<u8>,
    all_multicast: bool,
}

impl<P: Protocol> Port<P> {
    fn open(key: &Key, desired: &Arc<LinkDesired>, seed: u64) -> io::Result<Self> {
        let protocol = match P::FAMILY {
            Family::V4 => packet::Protocol::Arp,
            Family::V6 => packet::Protocol::Ndp,
        };
        Ok(Self {
            link: key.0.clone(),
            socket: PacketSocket::open(desired.index, protocol)?,
            groups: Groups::new(desired.index),
            driver: Driver::new(P::new(seed ^ u64::from(desired.index))),
            desired: Arc::clone(desired),
            status: empty(desired),
            publish_timer: None,
            actions: Vec::new(),
            frame: Vec::with_capacity(128),
            all_multicast: false,
        })
    }

    /// `Ok`: not wanted any more, or shutdown. `Err`: the link failed.
    async fn serve(&mut self, shell: &mut Shell) -> io::Result<()> {
        self.set(Arc::clone(&self.desired), shell);
        loop {
            tokio::select! {
                biased;
                () = shell.shutdown.cancelled() => break,
                changed = shell.desired.changed() => {
                    let Ok(()) = changed else { break };
                    let desired = Arc::clone(&shell.desired.borrow_and_update());
                    self.set(desired, shell);
                }
                ready = self.socket.readable() => {
                    ready?;
                    if self.receive(shell) == BATCH {
                        // A flood must not keep other ports of this thread from their turn.
                        tokio::task::yield_now().await;
                    }
                }
                () = clock::sleep_until(earliest([self.driver.poll_timeout(), self.publish_timer])) => drop(self.receive(shell)),
            }
            if self.publish_timer.is_some_and(|due| due <= clock::now()) {
                self.publish(shell);
            }
        }
        let silent = LinkDesired { addresses: BTreeMap::new(), ..(*self.desired).clone() };
        self.set(Arc::new(silent), shell);
        Ok(())
    }

    fn set(&mut self, desired: Arc<LinkDesired>, shell: &Shell) {
        self.status.mac = desired.mac;
        for (address, service) in &desired.addresses {
            if let Some(status) = self.status.addresses.get_mut(address) {
                status.service = Arc::clone(service);
            }
        }
        self.desired = Arc::clone(&desired);
        self.actions.extend(self.driver.step([Input::Set(desired)], clock::now()));
        self.carry_out();
        self.publish(shell);
    }

    /// Takes what waits in the socket, then fires what is due. Returns how many frames it took.
    fn receive(&mut self, shell: &Shell) -> usize {
        let now = clock::now();
        let (socket, mut received, mut invalid) = (&mut self.socket, 0, 0);
        let frames = std::iter::from_fn(|| socket.receive(P::decode)).take(BATCH);
        let events = frames.filter_map(|event| {
            received += 1;
            invalid += u64::from(event.is_none());
            event.map(Input::Event)
        });
        self.actions.extend(self.driver.step(events, now));
        self.status.counters.received += received;
        self.status.counters.invalid += invalid;
        self.publish_timer.get_or_insert(now + PUBLISH_INTERVAL);
        if self.carry_out() {
            self.publish(shell);
        }
        usize::try_from(received).unwrap_or(BATCH)
    }

    /// Returns whether something happened that people should see at once.
    fn carry_out(&mut self) -> bool {
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
                    told = true;
                }
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
        P::encode(packet, self.desired.mac, to, &mut self.frame);
        let counters = &mut self.status.counters;
        if let Err(error) = self.socket.send(&self.frame) {
            counters.unsent += 1;
            tracing::trace!(link = %self.link, %address, "cannot send: {error}");
            return;
        }
        let status = self.status.addresses.get_mut(&address);
        let (of_link, of_address) = match purpose {
            Purpose::Answer => (&mut counters.answered, status.map(|status| &mut status.answered)),
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

    fn state_changed(&mut self, address: IpAddr, to: State, reason: Reason) {
        let (link, mac) = (&self.link, self.desired.mac);
        match to {
            State::Announcing => {
                let service = self.desired.addresses.get(&address).cloned().unwrap_or_else(|| "".into());
                tracing::info!(%address, %service, %link, %mac, ?reason, "announcing");
                let fresh = AddressStatus { service, since: clock::wall(), answered: 0, announced: 0, conflict: None };
                self.status.addresses.entry(address).or_insert(fresh);
            }
            State::Silent => {
                let status = self.status.addresses.remove(&address);
                let service = status.map_or_else(|| "".into(), |status| status.service);
                tracing::info!(%address, %service, %link, "withdrawn");
            }
        }
    }

    fn conflict(&mut self, address: IpAddr, mac: MacAddr) {
        self.status.counters.conflicts += 1;
        if let Some(status) = self.status.addresses.get_mut(&address) {
            status.conflict = Some(Conflict { mac, at: clock::wall() });
            tracing::warn!(%address, service = %status.service, link = %self.link, %mac, "another machine claims this address");
        }
    }

    fn publish(&mut self, shell: &Shell) {
        self.status.counters.dropped += self.socket.dropped().unwrap_or(0);
        self.publish_timer = None;
        shell.publish(self.status.clone());
    }
}
