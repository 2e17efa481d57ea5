//! From wanted routes to UPDATEs, through one session: grouping, packing, attributes, next hops, slow peers, refreshes, End-of-RIB.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use lanlord::addr::Family;
use lanlord::bgp::desired::{Desired, Route, SessionDesired};
use lanlord::bgp::session::{Event, NextHops};
use lanlord::bgp::status::State::{Established, OpenConfirm};
use lanlord::wire::bgp::{Capability, ExtendedNextHop, GRACEFUL_SHUTDOWN, Message, NextHop, Open, RefreshSubtype, RouteRefresh, Update};

use crate::bgp_session::{SECOND, World, capabilities, desired, many, parameters, prefix, request, restart, routes, their_open};
use crate::bgp_wire::end_of_rib;

fn plain() -> Route {
    Route::default()
}

fn marked() -> Route {
    Route { communities: [0xffff_ff01].into(), med: Some(5), ..Route::default() }
}

#[test]
fn equal_routes_share_an_update_and_withdrawals_go_first() {
    let routes_1 = routes([("203.0.113.1/32", plain()), ("203.0.113.2/32", marked()), ("203.0.113.3/32", plain())]);
    let mut world = World::at(OpenConfirm, Desired { routes: routes_1, ..desired(parameters()) });
    world.receives(Message::Keepalive);
    let updates = world.updates();
    let nlri = |update: &Update| update.nlri.iter().map(|net| net.addr().octets()[3]).collect::<Vec<_>>();
    assert_eq!(updates.iter().map(nlri).collect::<Vec<_>>(), [vec![1, 3], vec![2]]);
    let first = &updates[0].attributes;
    assert_eq!((first.next_hop, first.local_pref, first.med), (Some(Ipv4Addr::new(192, 0, 2, 11)), None, None));
    assert_eq!(first.as_path.as_ref().unwrap()[0].asns, [64600]);
    assert_eq!((updates[1].attributes.med, &updates[1].attributes.communities[..]), (Some(5), &[0xffff_ff01][..]));
    assert_eq!((world.status().announced, world.status().pending), (3, 0));
    world.writable();
    // One changes, one goes, one comes, one stays.
    let routes_2 = routes([("203.0.113.1/32", plain()), ("203.0.113.2/32", plain()), ("203.0.113.4/32", plain())]);
    world.set(|desired| desired.routes = routes_2);
    let updates = world.updates();
    assert_eq!(updates.len(), 2);
    assert_eq!(updates[0], Update { withdrawn: vec!["203.0.113.3/32".parse().unwrap()], ..Update::default() });
    assert_eq!(nlri(&updates[1]), [2, 4]);
    world.writable();
    world.set(|_| {});
    assert_eq!(world.done(), "");
}

#[test]
fn attributes_are_those_of_the_peers_as() {
    let route = Route { local_pref: Some(200), prepend: 2, large_communities: [(1, 2, 3)].into(), ..marked() };
    let attributes = |local_as: u32, graceful_shutdown: bool, route: &Route| {
        let session = SessionDesired { local_as, ..parameters() };
        let routes = routes([("203.0.113.1/32", route.clone())]);
        let mut world = World::at(OpenConfirm, Desired { routes, graceful_shutdown, ..desired(session) });
        world.receives(Message::Keepalive);
        world.updates().remove(0).attributes
    };
    let external = attributes(64600, false, &route);
    assert_eq!((external.local_pref, external.med), (None, Some(5)));
    assert_eq!(external.as_path.unwrap()[0].asns, [64600; 3]);
    assert_eq!(external.large_communities, [(1, 2, 3)]);
    let internal = attributes(64512, false, &route);
    assert_eq!((internal.local_pref, internal.med, internal.as_path), (Some(200), Some(5), Some(vec![])));
    assert_eq!(attributes(64512, false, &plain()).local_pref, Some(100));
    // A Gbit/s for each endpoint, as IEEE 754 in octets; AS_TRANS stands for an AS of four.
    let weighed = attributes(64600, false, &Route { weight: Some(3), ..plain() }).others;
    assert_eq!(weighed[0].value, [[0x40, 0x04, 0xfc, 0x58], 375e6_f32.to_be_bytes()].concat());
    assert_eq!((weighed[0].kind, weighed[0].flags, weighed.len()), (16, 0xc0, 1));
    assert_eq!(attributes(4_200_000_000, false, &Route { weight: Some(1), ..plain() }).others[0].value[2..4], [0x5b, 0xa0]);
    // RFC 8326 §4.2.
    let leaving = attributes(64512, true, &route);
    assert_eq!((leaving.local_pref, &leaving.communities[..]), (Some(0), &[GRACEFUL_SHUTDOWN, 0xffff_ff01][..]));
    assert!(attributes(64600, true, &plain()).communities.contains(&GRACEFUL_SHUTDOWN));
}

#[test]
fn leaving_marks_every_route_again() {
    let mut world = World::at(Established, Desired { routes: many(5, &plain()), ..desired(parameters()) });
    world.writable();
    world.set(|desired| desired.graceful_shutdown = true);
    let updates = world.updates();
    assert_eq!((updates.len(), updates[0].nlri.len()), (1, 5));
    assert_eq!(updates[0].attributes.communities, [GRACEFUL_SHUTDOWN]);
}

#[test]
fn updates_are_packed_and_never_above_the_limit() {
    for extended in [false, true] {
        let more = extended.then_some(Capability::ExtendedMessage);
        let open = Open { capabilities: capabilities().into_iter().chain(more).collect(), ..their_open() };
        let mut world = World::brought(OpenConfirm, Desired { routes: many(30_000, &marked()), ..desired(parameters()) }, open);
        world.receives(Message::Keepalive);
        let (mut told, mut updates) = (0, 0);
        loop {
            let sent = world.updates();
            if sent.is_empty() {
                break;
            }
            let codec = world.session.codec();
            let lengths: Vec<usize> = sent.iter().map(|update| Message::Update(update.clone()).encode(&codec).unwrap().len()).collect();
            assert!(lengths.iter().sum::<usize>() < 130 << 10, "at most the budget and one message are on their way");
            told += sent.iter().map(|update| update.nlri.len()).sum::<usize>();
            updates += sent.len();
            // Nothing more before that is written.
            world.set(|desired| desired.graceful_shutdown ^= false);
            world.receives(Message::Keepalive);
            assert!(world.updates().is_empty());
            world.writable();
        }
        assert_eq!(told, 30_000);
        assert_eq!(updates, if extended { 3 } else { 38 });
        world.set(|desired| desired.routes = Arc::default());
        let mut withdrawn = 0;
        while world.status().pending > 0 || !world.out.is_empty() {
            withdrawn += world.updates().iter().map(|update| update.withdrawn.len()).sum::<usize>();
            world.writable();
        }
        assert_eq!((withdrawn, world.status().announced), (30_000, 0));
    }
}

#[test]
fn changes_that_wait_behind_a_slow_peer_become_one() {
    let mut world = World::at(Established, Desired { routes: many(1, &plain()), ..desired(parameters()) });
    world.writable();
    world.set(|desired| desired.routes = many(2, &plain()));
    assert_eq!(world.updates().len(), 1);
    // Not written yet: ten thousand come, change and go.
    world.set(|desired| desired.routes = many(10_000, &plain()));
    world.set(|desired| desired.routes = many(10_000, &marked()));
    world.set(|desired| desired.routes = many(1, &plain()));
    assert_eq!((world.updates().len(), world.status().pending), (0, 1));
    world.writable();
    let updates = world.updates();
    assert_eq!((updates.len(), updates[0].withdrawn.len()), (1, 1));
}

#[test]
fn a_peer_that_does_not_read_is_dropped_after_the_send_hold_time() {
    let mut world = World::at(Established, Desired { routes: many(1, &plain()), ..desired(parameters()) });
    for _ in 0..47 {
        world.passes(SECOND * 10);
        world.receives(Message::Keepalive);
    }
    assert_eq!(world.session.state(), Established);
    world.out.clear();
    world.passes(SECOND * 11);
    assert_eq!(world.status().last_failure.unwrap().to_string(), "the peer reads nothing any more: sent Send Hold Timer Expired");
}

#[test]
fn a_route_that_fits_into_no_message_is_left_out_and_shown() {
    let communities: BTreeSet<u32> = (0..1100).collect();
    let long = Route { communities: communities.clone(), ..plain() };
    let mut world = World::at(Established, Desired { routes: routes([("203.0.113.1/32", plain())]), ..desired(parameters()) });
    world.writable();
    world.set(|desired| desired.routes = routes([("203.0.113.1/32", long.clone()), ("203.0.113.2/32", plain())]));
    let updates = world.updates();
    assert_eq!(updates[0].withdrawn.len(), 1, "what was told before is not true any more");
    assert_eq!((updates.len(), updates[1].nlri.len()), (2, 1));
    assert_eq!(world.status().too_long, [prefix("203.0.113.1/32")].into());
    let fits = Route { communities: communities.into_iter().take(950).collect(), ..plain() };
    world.writable();
    world.set(|desired| desired.routes = routes([("203.0.113.1/32", fits)]));
    assert!(world.status().too_long.is_empty());
}

fn refresh_of(family: Family, subtype: RefreshSubtype) -> Message {
    Message::RouteRefresh(RouteRefresh { family: family.into(), subtype })
}

#[test]
fn a_route_refresh_tells_everything_again_between_its_marks() {
    let mut world = World::at(Established, Desired { routes: many(3, &plain()), ..desired(parameters()) });
    world.writable();
    world.receives(Message::RouteRefresh(request(Family::V4)));
    let messages = world.messages();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0], refresh_of(Family::V4, RefreshSubtype::Begin));
    assert!(matches!(&messages[1], Message::Update(update) if update.nlri.len() == 3));
    assert_eq!(messages[2], refresh_of(Family::V4, RefreshSubtype::End));
    world.writable();
    // Of a family that was not agreed on, and what no router should send us: nothing.
    world.receives(Message::RouteRefresh(request(Family::V6)));
    for subtype in [RefreshSubtype::Begin, RefreshSubtype::End, RefreshSubtype::Unknown(9)] {
        world.receives(refresh_of(Family::V4, subtype));
    }
    assert_eq!(world.done(), "");
    // It was told again, and that is that.
    world.set(|desired| desired.routes = many(4, &plain()));
    let updates = world.updates();
    assert_eq!((updates.len(), updates[0].nlri.len()), (1, 1));
    // Without the enhancement there are no marks; without the capability nobody asks, but who does is answered.
    let open = Open { capabilities: vec![Capability::RouteRefresh], ..their_open() };
    let mut world = World::brought(Established, Desired { routes: many(3, &plain()), ..desired(parameters()) }, open);
    world.writable();
    world.receives(Message::RouteRefresh(request(Family::V4)));
    assert_eq!(world.done(), "UPDATE");
}

#[test]
fn a_flood_of_requests_costs_little_more_than_one() {
    let mut world = World::at(Established, Desired { routes: many(20_000, &plain()), ..desired(parameters()) });
    while world.status().pending > 0 {
        world.writable();
    }
    world.writable();
    world.out.clear();
    #[expect(clippy::disallowed_methods, reason = "this measures how long a peer can keep the task busy")]
    let start = std::time::Instant::now();
    // As many as one read holds.
    for _ in 0..2800 {
        world.receives(Message::RouteRefresh(request(Family::V4)));
    }
    let took = start.elapsed();
    assert!(took < SECOND * 5, "{took:?}: the other peers wait all the time");
    let mut messages = world.messages();
    while messages.last() != Some(&refresh_of(Family::V4, RefreshSubtype::End)) {
        world.writable();
        let more = world.messages();
        assert!(!more.is_empty(), "the end is never told");
        messages.extend(more);
    }
    let last = messages.iter().rposition(|message| *message == refresh_of(Family::V4, RefreshSubtype::Begin)).unwrap();
    let told = |message: &Message| if let Message::Update(update) = message { update.nlri.len() } else { 0 };
    assert_eq!(messages[last..].iter().map(told).sum::<usize>(), 20_000, "all of them after the last request");
    assert!(messages.iter().map(told).sum::<usize>() <= 40_000);
}

#[test]
fn a_prefix_that_replaces_another_is_told_before_that_goes() {
    let hosts = || routes([("203.0.113.1/32", plain()), ("203.0.113.2/32", plain()), ("198.51.100.1/32", plain())]);
    let aggregate = || routes([("203.0.113.0/24", plain())]);
    let words = |world: &mut World| {
        let list = |sign: &str, nets: &[ipnet::Ipv4Net]| nets.iter().map(|net| format!("{sign}{net}")).collect::<Vec<_>>();
        world.updates().iter().flat_map(|it| [list("-", &it.withdrawn), list("+", &it.nlri)].concat()).collect::<Vec<_>>().join(" ")
    };
    let mut world = World::at(Established, Desired { routes: hosts(), ..desired(parameters()) });
    world.writable();
    world.set(|desired| desired.routes = aggregate());
    assert_eq!(words(&mut world), "-198.51.100.1/32 +203.0.113.0/24 -203.0.113.1/32 -203.0.113.2/32");
    world.writable();
    world.set(|desired| desired.routes = hosts());
    assert_eq!(words(&mut world), "+198.51.100.1/32 +203.0.113.1/32 +203.0.113.2/32 -203.0.113.0/24");
    world.writable();
    assert_eq!((world.done(), world.status().announced, world.status().pending), (String::new(), 3, 0));
}

#[test]
fn ipv4_routes_without_a_next_hop_are_withdrawn_where_a_peer_without_rfc_4760_sees_it() {
    let open = Open { capabilities: vec![], ..their_open() };
    let routes = routes([("203.0.113.1/32", plain())]);
    let mut world = World::brought(Established, Desired { routes, ..desired(parameters()) }, open);
    world.writable();
    // A session over IPv6, whose link loses its IPv4 address.
    world.handle(Event::NextHopsChanged { connection: world.connection, next_hops: NextHops::default() });
    let updates = world.updates();
    assert_eq!((updates.len(), updates[0].withdrawn.len(), &updates[0].unreachable), (1, 1, &None));
}

#[test]
fn a_refresh_does_not_forget_what_is_still_to_be_withdrawn() {
    let mut world = World::at(Established, Desired { routes: many(3, &plain()), ..desired(parameters()) });
    // Still unwritten: two go, and the peer asks for all.
    world.set(|desired| desired.routes = many(1, &plain()));
    world.receives(Message::RouteRefresh(request(Family::V4)));
    world.out.clear();
    world.writable();
    let updates = world.updates();
    assert_eq!((updates[0].withdrawn.len(), updates[1].nlri.len()), (2, 1));
}

#[test]
fn end_of_rib_is_sent_after_all_routes_to_whoever_knows_it() {
    let graceful = || {
        let session = SessionDesired { restart_time: Some(120), families: [Family::V4, Family::V6].into(), ..parameters() };
        Desired { routes: many(2, &plain()), ..desired(session) }
    };
    let with = |capability: Option<Capability>| {
        let open = Open { capabilities: capabilities().into_iter().chain(capability).collect(), ..their_open() };
        let mut world = World::brought(OpenConfirm, graceful(), open);
        world.receives(Message::Keepalive);
        world.updates()
    };
    let updates = with(Some(restart(true)));
    assert_eq!(updates.len(), 3);
    assert_eq!(updates[0].nlri.len(), 2);
    assert_eq!([end_of_rib(&updates[1]), end_of_rib(&updates[2])], [Some(Family::V4), Some(Family::V6)]);
    assert_eq!(with(None).len(), 1);
}

#[test]
fn what_is_to_be_told_again_and_goes_before_that_is_withdrawn() {
    let open = Open { capabilities: vec![Capability::RouteRefresh], ..their_open() };
    let mut world = World::brought(Established, Desired { routes: many(3, &plain()), ..desired(parameters()) }, open);
    // Nothing is written yet; the peer has no marks to notice by what it was not told again.
    world.receives(Message::RouteRefresh(request(Family::V4)));
    world.set(|desired| desired.routes = many(1, &plain()));
    world.out.clear();
    world.writable();
    let updates = world.updates();
    assert_eq!((updates.len(), updates[0].withdrawn.len(), updates[1].nlri.len()), (2, 2, 1));
    world.writable();
    assert_eq!(world.done(), "");
}

/// RFC 7313 §4.1. The peer asks while the first 64 KiB are on their way.
#[test]
fn who_asks_before_the_end_of_rib_is_answered_after_it() {
    let session = SessionDesired { restart_time: Some(120), ..parameters() };
    let open = Open { capabilities: capabilities().into_iter().chain([restart(true)]).collect(), ..their_open() };
    let mut world = World::brought(Established, Desired { routes: many(20_000, &plain()), ..desired(session) }, open);
    world.receives(Message::RouteRefresh(request(Family::V4)));
    let (mut marks, mut told) = (Vec::new(), 0);
    while world.status().pending > 0 || !world.out.is_empty() {
        for message in world.messages() {
            match message {
                Message::RouteRefresh(refresh) => marks.push(format!("{:?} after {told}", refresh.subtype)),
                Message::Update(update) if end_of_rib(&update).is_some() => marks.push(format!("End-of-RIB after {told}")),
                Message::Update(update) => told += update.nlri.len(),
                Message::Open(_) | Message::Keepalive | Message::Notification(_) => {}
            }
        }
        world.writable();
    }
    // What went out before the question is not counted here.
    let first = 20_000 - (told - 20_000);
    assert_eq!(
        marks,
        [format!("End-of-RIB after {}", 20_000 - first), format!("Begin after {}", 20_000 - first), format!("End after {told}")]
    );
}

#[test]
fn next_hops_are_of_the_connection_and_cross_families_only_by_agreement() {
    let (global, link_local) = ("2001:db8::11".parse().unwrap(), "fe80::11".parse().unwrap());
    let both = routes([("203.0.113.1/32", plain()), ("2001:db8:1::1/128", plain())]);
    let crossing = Capability::ExtendedNextHop(vec![ExtendedNextHop { afi: 1, safi: 1, next_hop_afi: 2 }]);
    let told = |next_hops: NextHops, capability: Option<&Capability>| {
        let session = SessionDesired { families: [Family::V4, Family::V6].into(), ..parameters() };
        let mut world = World::new(Desired { routes: Arc::clone(&both), ..desired(session) });
        world.connects_with(next_hops);
        let open = Open { capabilities: capabilities().into_iter().chain(capability.cloned()).collect(), ..their_open() };
        world.receives(Message::Open(open));
        world.out.clear();
        world.receives(Message::Keepalive);
        let updates = world.updates();
        let plain = updates.iter().find_map(|update| update.attributes.next_hop);
        let of = |family| {
            let reachable = updates.iter().filter_map(|update| update.reachable.as_ref());
            reachable.filter(|reachable| reachable.nlri.family() == family).map(|reachable| reachable.next_hop).next()
        };
        world.writable();
        world.set(|desired| desired.routes = Arc::default());
        let withdrawn = world.updates();
        assert_eq!(withdrawn.len(), updates.len());
        let multiprotocol = |family| withdrawn.iter().any(|update| update.unreachable.as_ref().is_some_and(|nlri| nlri.family() == family));
        assert_eq!(multiprotocol(Family::V4), of(Family::V4).is_some(), "withdrawn as it was announced");
        (plain, of(Family::V4), of(Family::V6), world.status().without_next_hop)
    };
    let v4 = Ipv4Addr::new(192, 0, 2, 11);
    let none = BTreeSet::new();
    let dual = NextHops { v4: Some(v4), v6: Some(global), v6_link_local: Some(link_local) };
    assert_eq!(told(dual, Some(&crossing)), (Some(v4), None, Some(NextHop::V6LinkLocal(global, link_local)), none.clone()));
    let v6_only = NextHops { v6: Some(global), ..NextHops::default() };
    assert_eq!(told(v6_only, Some(&crossing)), (None, Some(NextHop::V6(global)), Some(NextHop::V6(global)), none.clone()));
    assert_eq!(told(v6_only, None), (None, None, Some(NextHop::V6(global)), [Family::V4].into()));
    let local = NextHops { v6: Some(link_local), v6_link_local: Some(link_local), ..NextHops::default() };
    assert_eq!(told(local, None).2, Some(NextHop::V6(link_local)));
    let v4_only = NextHops { v4: Some(v4), ..NextHops::default() };
    assert_eq!(told(v4_only, None), (Some(v4), None, None, [Family::V6].into()));
}

#[test]
fn other_addresses_on_the_link_are_other_next_hops_of_every_route() {
    let both = SessionDesired { families: [Family::V4, Family::V6].into(), ..parameters() };
    let routes = routes([("203.0.113.1/32", plain()), ("203.0.113.2/32", marked()), ("2001:db8::1/128", plain())]);
    let mut world = World::at(OpenConfirm, Desired { routes, ..desired(both) });
    world.receives(Message::Keepalive);
    assert_eq!(world.updates().len(), 2, "there is no IPv6 address");
    assert_eq!(world.status().without_next_hop, [Family::V6].into());
    world.writable();
    let v4 = Some(Ipv4Addr::new(192, 0, 2, 11));
    let (one, two) = (Some("fd00::1".parse().unwrap()), Some("fd00::2".parse().unwrap()));
    let mut changes = |next_hops: NextHops| {
        let connection = world.connection;
        world.handle(Event::NextHopsChanged { connection, next_hops });
        let updates = world.updates();
        world.writable();
        assert_eq!(world.status().pending, 0);
        updates
    };
    let v6_hop = |update: &Update| update.reachable.as_ref().map(|reachable| reachable.next_hop);
    let added = changes(NextHops { v4, v6: one, v6_link_local: None });
    assert_eq!(added.iter().map(v6_hop).collect::<Vec<_>>(), [Some(NextHop::V6(one.unwrap()))]);
    assert!(changes(NextHops { v4, v6: one, v6_link_local: None }).is_empty(), "the same again is nothing new");
    let replaced = changes(NextHops { v4, v6: two, v6_link_local: None });
    assert_eq!(replaced.iter().map(v6_hop).collect::<Vec<_>>(), [Some(NextHop::V6(two.unwrap()))]);
    let removed = changes(NextHops { v4, ..NextHops::default() });
    assert_eq!(removed.len(), 1);
    assert!(removed[0].unreachable.is_some());
    let moved = changes(NextHops { v4: Some(Ipv4Addr::new(192, 0, 2, 12)), ..NextHops::default() });
    assert_eq!(moved.iter().map(|update| update.attributes.next_hop).collect::<Vec<_>>(), [Some(Ipv4Addr::new(192, 0, 2, 12)); 2]);
}
