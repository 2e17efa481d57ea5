//! Any BGP message, from a seed: everything the codec can say, and small enough for the shortest limit.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use lanlord::addr::Family;
use lanlord::wire::bgp::{
    AfiSafi, Attributes, Capability, Code, Codec, ExtendedNextHop, Message, NextHop, Nlri, Notification, Open, Origin, Other, Reachable,
    RefreshSubtype, RestartFamily, RouteRefresh, Segment, SegmentKind, Update,
};

pub(crate) struct Any {
    rng: fastrand::Rng,
}

impl Any {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) fn codec(&mut self) -> Codec {
        Codec {
            takes_extended: self.rng.bool(),
            sends_extended: self.rng.bool(),
            four_octet_as: self.rng.u8(..4) > 0,
            extended_next_hop: self.rng.bool(),
            internal: self.rng.bool(),
        }
    }

    pub(crate) fn message(&mut self, codec: &Codec) -> Message {
        match self.rng.u8(..10) {
            0..2 => {
                let open = self.open();
                // One that needs extended parameters.
                let long = (0..self.rng.u8(..4) / 3 * 4).map(|code| Capability::Unknown { code: 200 + code, value: vec![code; 90] });
                Message::Open(Open { capabilities: open.capabilities.iter().cloned().chain(long).collect(), ..open })
            }
            2 => Message::Notification(Notification { code: Code(self.rng.u8(..12), self.rng.u8(..12)), data: self.bytes(40) }),
            3 => Message::Keepalive,
            4 => Message::RouteRefresh(self.refresh()),
            _ => Message::Update(self.update(codec, true)),
        }
    }

    /// Without what netgauze does not know, or writes in another way than it was: reserved codes, RFC 9072, unknown attributes.
    pub(crate) fn plain_message(&mut self, codec: &Codec) -> Message {
        match self.rng.u8(..10) {
            0..2 => Message::Open(self.open()),
            2 => {
                let code = [Code::ADMINISTRATIVE_SHUTDOWN, Code::BAD_PEER_AS, Code::HOLD_TIMER_EXPIRED, Code::UNSUPPORTED_CAPABILITY];
                Message::Notification(code[self.rng.usize(..code.len())].into())
            }
            3 => Message::Keepalive,
            4 => Message::RouteRefresh(RouteRefresh { family: self.family().into(), subtype: RefreshSubtype::Request }),
            _ => Message::Update(self.update(codec, false)),
        }
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.rng.usize(..most)).map(|_| self.rng.u8(..)).collect()
    }

    fn family(&mut self) -> Family {
        if self.rng.bool() { Family::V4 } else { Family::V6 }
    }

    fn refresh(&mut self) -> RouteRefresh {
        let subtypes = [RefreshSubtype::Request, RefreshSubtype::Begin, RefreshSubtype::End, RefreshSubtype::Unknown(9)];
        let family = AfiSafi { afi: self.rng.u16(..3), safi: self.rng.u8(..3) };
        RouteRefresh { family, subtype: subtypes[self.rng.usize(..4)] }
    }

    fn open(&mut self) -> Open {
        let mut capabilities = Vec::new();
        for _ in 0..self.rng.usize(..7) {
            let family = AfiSafi::from(self.family());
            let restart = RestartFamily { family, forwarding: self.rng.bool() };
            capabilities.push(match self.rng.u8(..8) {
                0 => Capability::RouteRefresh,
                1 => Capability::Multiprotocol(family),
                2 => Capability::ExtendedMessage,
                3 => Capability::EnhancedRouteRefresh,
                4 => Capability::FourOctetAs(self.rng.u32(1..)),
                5 => Capability::ExtendedNextHop(vec![ExtendedNextHop { afi: 1, safi: 1, next_hop_afi: 2 }]),
                6 => Capability::Unknown { code: 240, value: self.bytes(9) },
                _ => Capability::GracefulRestart {
                    restarting: self.rng.bool(),
                    notification: self.rng.bool(),
                    restart_time: self.rng.u16(..4096),
                    families: vec![restart; self.rng.usize(..3)],
                },
            });
        }
        let identifier = Ipv4Addr::new(self.rng.u8(1..224), self.rng.u8(..), 0, 1);
        Open { my_as: self.rng.u16(1..), hold_time: self.rng.u16(3..), identifier, capabilities }
    }

    fn update(&mut self, codec: &Codec, others: bool) -> Update {
        let announces = self.rng.bool();
        let nlri = if announces { self.v4() } else { Vec::new() };
        let reachable = if announces && self.rng.bool() { Some(self.reachable(codec)) } else { None };
        let attributes =
            if nlri.is_empty() && reachable.is_none() { Attributes::default() } else { self.attributes(!nlri.is_empty(), codec, others) };
        let unreachable = if self.rng.bool() { Some(self.nlri()) } else { None };
        Update { withdrawn: self.v4(), unreachable, reachable, attributes, nlri }
    }

    fn v4(&mut self) -> Vec<Ipv4Net> {
        let length = |any: &mut Self| if any.rng.bool() { 32 } else { any.rng.u8(..=32) };
        (0..self.rng.usize(..20))
            .map(|_| Ipv4Net::new(self.rng.u32(0x0100_0000..0xe000_0000).into(), length(self)).unwrap().trunc())
            .collect()
    }

    fn nlri(&mut self) -> Nlri {
        if self.rng.bool() {
            return Nlri::V4(self.v4());
        }
        let bits = |any: &mut Self| 0x2001 << 112 | u128::from(any.rng.u64(..)) << 32;
        Nlri::V6((0..self.rng.usize(..20)).map(|_| Ipv6Net::new(bits(self).into(), self.rng.u8(..=128)).unwrap().trunc()).collect())
    }

    fn reachable(&mut self, codec: &Codec) -> Reachable {
        let nlri = self.nlri();
        let (global, link_local) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        let next_hop = match (nlri.family(), self.rng.bool()) {
            (Family::V4, long) if !codec.extended_next_hop || long => NextHop::V4(Ipv4Addr::new(192, 0, 2, 1)),
            (Family::V4, _) | (Family::V6, false) => NextHop::V6(global),
            (Family::V6, true) => NextHop::V6LinkLocal(global, link_local),
        };
        Reachable { next_hop, nlri }
    }

    fn attributes(&mut self, next_hop: bool, codec: &Codec, others: bool) -> Attributes {
        let mut some = |most: usize| self.rng.usize(..most);
        let (communities, large, asns) = (some(70), some(9), some(300));
        let largest = if codec.four_octet_as { u32::MAX } else { 65535 };
        let kinds = [SegmentKind::Sequence, SegmentKind::Set, SegmentKind::ConfedSequence, SegmentKind::ConfedSet];
        let kinds = if codec.internal && others { &kinds[..] } else { &kinds[..2] };
        let path = (0..self.rng.usize(..3)).map(|_| Segment {
            kind: kinds[self.rng.usize(..kinds.len())],
            asns: (0..asns.clamp(1, 255)).map(|_| self.rng.u32(1..=largest)).collect(),
        });
        let as_path = Some(path.collect());
        let other = Other { flags: 0xc0, kind: 200, value: self.bytes(300) };
        Attributes {
            origin: Some([Origin::Igp, Origin::Egp, Origin::Incomplete][self.rng.usize(..3)]),
            as_path,
            next_hop: next_hop.then_some(Ipv4Addr::new(192, 0, 2, 1)),
            med: self.rng.bool().then(|| self.rng.u32(..)),
            local_pref: (codec.internal && self.rng.bool()).then(|| self.rng.u32(..)),
            communities: (0..communities).map(|_| self.rng.u32(..)).collect(),
            large_communities: (0..large).map(|_| (self.rng.u32(..), self.rng.u32(..), self.rng.u32(..))).collect(),
            others: if others && self.rng.bool() { vec![other] } else { Vec::new() },
        }
    }
}
