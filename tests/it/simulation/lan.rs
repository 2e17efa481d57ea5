//! The LAN: who hears whom, how late, and which kernels answer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::machine::Instant;

pub(super) struct Lan {
    nodes: usize,
    /// Somebody answers for 192.168.1.1.
    gateway: bool,
    rng: fastrand::Rng,
    pub(super) powered: Vec<bool>,
    /// The first is not heard by the second.
    pub(super) deaf: BTreeSet<(usize, usize)>,
    /// Cut off from the rest, gateway and API server included.
    pub(super) split: BTreeSet<usize>,
    /// UDP goes neither in nor out.
    pub(super) filtered: BTreeSet<usize>,
    /// No way to the API server.
    pub(super) cut_off: BTreeSet<usize>,
    /// Percent.
    pub(super) loss: u32,
    /// Since when a node has power, reaches the API server and somebody who can prove its link.
    pub(super) well_since: Vec<Option<Instant>>,
}

impl Lan {
    pub(super) fn new(nodes: usize, gateway: bool, rng: fastrand::Rng) -> Self {
        Self {
            nodes,
            gateway,
            rng,
            powered: vec![true; nodes],
            deaf: BTreeSet::new(),
            split: BTreeSet::new(),
            filtered: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            loss: 0,
            well_since: vec![None; nodes],
        }
    }

    pub(super) fn mend(&mut self) {
        self.deaf.clear();
        self.split.clear();
        self.filtered.clear();
        self.cut_off.clear();
        self.loss = 0;
    }

    pub(super) fn address(node: usize) -> IpAddr {
        super::address(11 + node)
    }

    pub(super) fn mac(node: usize) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, u8::try_from(node + 1).expect("a few")])
    }

    pub(super) fn node_of(&self, address: IpAddr) -> Option<usize> {
        (0..self.nodes).find(|node| Self::address(*node) == address)
    }

    pub(super) fn hears(&self, from: usize, to: usize) -> bool {
        let apart = self.split.contains(&from) != self.split.contains(&to);
        self.powered[from] && self.powered[to] && !apart && !self.deaf.contains(&(from, to))
    }

    /// When a packet arrives: not at all, once, or seldom twice.
    pub(super) fn carry(&mut self, from: usize, to: usize) -> Vec<Duration> {
        if !self.hears(from, to) || self.rng.u32(..100) < self.loss {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.rng.u32(..200) == 0);
        (0..copies).map(|_| Duration::from_micros(100 + self.rng.u64(..900))).collect()
    }

    pub(super) fn carry_udp(&mut self, from: usize, to: usize) -> Vec<Duration> {
        if self.filtered.contains(&from) || self.filtered.contains(&to) { Vec::new() } else { self.carry(from, to) }
    }

    /// The answer of a kernel or the gateway.
    pub(super) fn ask(&mut self, from: usize, address: IpAddr) -> Option<(Duration, MacAddr)> {
        if address == super::address(1) {
            let answers = self.gateway && self.powered[from] && !self.split.contains(&from) && self.rng.u32(..100) >= self.loss;
            return answers.then_some((Duration::from_micros(500), MacAddr([2, 0, 0, 0, 1, 1])));
        }
        let to = self.node_of(address)?;
        let there = self.carry(from, to).first().copied()?;
        let back = self.carry(to, from).first().copied()?;
        Some((there + back, Self::mac(to)))
    }

    /// Who a node hears and is heard by.
    fn reaches(&self, a: usize, b: usize) -> bool {
        self.hears(a, b) && self.hears(b, a)
    }

    /// Whether a node can prove itself: somebody on the LAN reaches it.
    pub(super) fn is_well(&self, node: usize) -> bool {
        let others = (0..self.nodes).any(|other| other != node && self.reaches(node, other));
        self.powered[node] && self.loss == 0 && (others || self.gateway) && !self.split.contains(&node)
    }

    pub(super) fn all_is_well(&self) -> bool {
        self.deaf.is_empty() && self.split.is_empty() && self.filtered.is_empty() && self.cut_off.is_empty() && self.loss == 0
    }

    /// The parts into which the LAN has fallen: nodes that reach each other, if by others.
    pub(super) fn parts(&self) -> Vec<BTreeSet<usize>> {
        let mut parts: Vec<BTreeSet<usize>> = Vec::new();
        for node in (0..self.nodes).filter(|node| self.powered[*node]) {
            let (mut joined, rest): (Vec<_>, Vec<_>) =
                parts.into_iter().partition(|part| part.iter().any(|other| self.reaches(node, *other)));
            joined.push(BTreeSet::from([node]));
            parts = rest;
            parts.push(joined.into_iter().flatten().collect());
        }
        parts
    }

    /// Whether all of a part reach each other directly.
    pub(super) fn is_whole(&self, part: &BTreeSet<usize>) -> bool {
        part.iter().all(|a| part.iter().all(|b| a == b || self.reaches(*a, *b)))
    }
}
