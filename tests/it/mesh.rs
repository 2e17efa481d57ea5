//! Who watches whom: sessions between pairs of links, the same at both ends; everybody up to 32 members, few above that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::bfd::desired::{SessionDesired, SessionKey};
use lanlord::facts::{FULL_MESH, Heirs, LeaderRecord, Link, Links, Medium, MemberLink, Question, Role};
use lanlord::membership::mesh::{Timers, View};

use crate::world::{World, config, ip, pool};

pub(crate) fn world(members: u8) -> World {
    World::new(members, config(vec![pool("default", &["192.168.1.240-192.168.1.254", "fd00::240-fd00::254"])]))
}

/// The links of `me` as its own host has them; those that `down` names are down.
pub(crate) fn links(world: &World, me: &str, down: &str) -> Links {
    let link = |(index, told): (u32, &MemberLink)| {
        let (name, mac, medium, addresses) = (told.name.clone(), told.mac, told.medium, told.addresses.clone());
        let up = name.as_str() != down;
        (name.clone(), Link { index, name, mac, up, role: Role::Own, medium, addresses })
    };
    let links = (2..).zip(&world.snapshot.members[me].links).map(link).collect();
    Links { links, gateways: [ip("192.168.1.1"), ip("10.9.9.9")].into(), ..Links::default() }
}

/// What `of` sees of the mesh as `me`.
fn seen<T>(world: &World, heirs: &Heirs, me: &str, of: impl FnOnce(View<'_>) -> T) -> T {
    seen_without(world, heirs, me, "", of)
}

fn seen_without<T>(world: &World, heirs: &Heirs, me: &str, down: &str, of: impl FnOnce(View<'_>) -> T) -> T {
    let (links, own) = (links(world, me, down), &world.snapshot.members[me].links);
    of(View { me: &me.into(), snapshot: &world.snapshot, links: &links, own, heirs })
}

fn sessions(world: &World, heirs: &Heirs, me: &str) -> BTreeMap<SessionKey, SessionDesired> {
    seen(world, heirs, me, |view| view.sessions(&Timers::default(), false).sessions)
}

/// `eth0 192.168.1.11 > 192.168.1.12 every 100 ms`
fn told(sessions: &BTreeMap<SessionKey, SessionDesired>) -> Vec<String> {
    let tell = |(key, session): (&SessionKey, &SessionDesired)| {
        assert_eq!((key.port, session.minimum_ttl, session.passive, session.desired_min_tx), (7474, 255, false, session.required_min_rx));
        format!("{} {} > {} every {} ms × {}", key.link, session.local, key.peer, session.desired_min_tx.as_millis(), session.detect_mult)
    };
    sessions.iter().map(tell).collect()
}

fn of_n1(world: &World) -> Vec<String> {
    told(&sessions(world, &Heirs::new(), "n1"))
}

fn link(name: &str, medium: Medium, nets: &[&str]) -> MemberLink {
    let mac = MacAddr([2, 0, 0, 0, 9, 9]);
    MemberLink { name: name.into(), mac, medium, addresses: nets.iter().map(|net| net.parse().unwrap()).collect() }
}

fn with_links(links_of: &[(&str, &[MemberLink])]) -> World {
    let mut world = world(2);
    for (node, links) in links_of {
        world.member(node, |member| member.links = links.to_vec());
    }
    world
}

#[test]
fn members_in_one_network_have_a_session_over_ipv4_or_ipv6_if_they_share_no_other() {
    let mut world = world(2);
    assert_eq!(of_n1(&world), ["eth0 192.168.1.11 > 192.168.1.12 every 100 ms × 4"]);
    world.member("n2", |member| member.links[0].addresses = ["fd00::12/64".parse().unwrap()].into());
    assert_eq!(of_n1(&world), ["eth0 fd00::11 > fd00::12 every 100 ms × 4"]);
}

#[test]
fn links_that_share_no_network_have_no_session_and_neither_has_a_link_that_is_down() {
    let wired = |net: &str| link("eth0", Medium::Wired, &[net]);
    for (a, b) in [
        ("192.168.1.11/24", "192.168.2.12/24"),
        ("192.168.1.11/32", "192.168.1.12/24"),
        ("192.168.1.11/24", "192.168.1.11/24"),
        ("192.168.1.11/24", "192.168.9.12/16"),
    ] {
        let world = with_links(&[("n1", &[wired(a)]), ("n2", &[wired(b)])]);
        assert_eq!(of_n1(&world), [""; 0], "{a} {b}");
        let members = seen(&world, &Heirs::new(), "n1", |view| view.members(&Timers::default()));
        assert_eq!((members.len(), members["n2"].sessions.len(), members["n2"].questions.len()), (1, 0, 0), "{a} {b}");
    }
    let down = seen_without(&world(2), &Heirs::new(), "n1", "eth0", |view| view.sessions(&Timers::default(), false));
    assert_eq!(down.sessions, BTreeMap::new());
}

#[test]
fn a_member_is_remote_where_nobody_shares_a_network_with_it_and_that_is_not_for_a_broken_link_of_ours() {
    let wired = |net: &str| [link("eth0", Medium::Wired, &[net])];
    let remote = |world: &World, down: &str| {
        seen_without(world, &Heirs::new(), "n1", down, |view| {
            let members = view.members(&Timers::default()).into_iter();
            members.filter(|(_, watched)| watched.remote).map(|(node, _)| node.to_string()).collect::<Vec<_>>()
        })
    };
    let mut racks = world(3);
    for (node, net) in [("n1", "192.168.1.11/24"), ("n2", "192.168.2.12/24"), ("n3", "192.168.3.13/24")] {
        racks.member(node, |member| member.links = wired(net).to_vec());
    }
    assert_eq!(remote(&racks, ""), ["n2", "n3"]);
    assert_eq!(remote(&racks, "eth0"), [""; 0], "our own link is down");
    racks.member("n3", |member| member.links = wired("192.168.2.13/24").to_vec());
    assert_eq!(remote(&racks, ""), [""; 0], "n2 and n3 hear each other");
    racks.member("n3", |member| member.links.clear());
    assert_eq!(remote(&racks, ""), ["n2"], "n3 has no link that works");
    assert_eq!(remote(&with_links(&[("n1", &wired("10.0.0.1/32")), ("n2", &wired("10.0.0.2/32"))]), ""), ["n2"]);
    assert_eq!(remote(&with_links(&[("n1", &wired("10.0.0.1/32")), ("n2", &wired("10.0.0.2/24"))]), ""), [""; 0], "in doubt it is near");
    let down = seen_without(&world(2), &Heirs::new(), "n1", "eth0", |view| view.sessions(&Timers::default(), false));
    assert_eq!(down.sessions, BTreeMap::new());
}

#[test]
fn each_pair_of_links_in_one_network_has_a_session_slow_where_either_end_is_wireless() {
    let two = |number: u8| {
        let net = |low: u8| format!("192.168.1.{}/24", low + number);
        [link("eth0", Medium::Wired, &[&net(10)]), link("wlan0", Medium::Wireless, &[&net(20)])]
    };
    let world = with_links(&[("n1", &two(1)), ("n2", &two(2))]);
    assert_eq!(
        of_n1(&world),
        [
            "eth0 192.168.1.11 > 192.168.1.12 every 100 ms × 4",
            "eth0 192.168.1.11 > 192.168.1.22 every 500 ms × 8",
            "wlan0 192.168.1.21 > 192.168.1.12 every 500 ms × 8",
            "wlan0 192.168.1.21 > 192.168.1.22 every 500 ms × 8",
        ]
    );
}

#[test]
fn a_member_is_asked_for_where_its_sessions_run_and_gateways_only_on_their_network() {
    let world = world(3);
    let question = |last: u8, mac| Question { link: "eth0".into(), address: ip(&format!("192.168.1.{last}")), mac };
    seen(&world, &Heirs::new(), "n2", |view| {
        let members = view.members(&Timers::default());
        assert_eq!(members["n3"].questions, [question(13, Some(MacAddr([2, 0, 0, 0, 0, 3])))].into());
        assert_eq!(view.witnesses(), [question(1, None)].into(), "the other gateway is on no link of ours");
        assert_eq!(view.place(), 1);
        let all: BTreeSet<SessionKey> = members.values().flat_map(|watched| watched.sessions.clone()).collect();
        assert!(all.iter().eq(view.sessions(&Timers::default(), false).sessions.keys()), "what the judge listens to is what is desired");
    });
}

#[test]
fn who_does_not_reach_the_api_server_says_so_in_every_session() {
    let said = |detached| seen(&world(3), &Heirs::new(), "n1", |view| view.sessions(&Timers::default(), detached));
    assert!(said(true).sessions.values().all(|session| session.concatenated_path_down));
    assert!(!said(false).sessions.values().any(|session| session.concatenated_path_down));
}

/// Every session as each member computes its own: address of this end and of the other, interval and multiplier.
pub(crate) type Ends = BTreeSet<(IpAddr, IpAddr, Duration, u8)>;

pub(crate) fn all_ends(world: &World, heirs: &Heirs) -> Ends {
    let members = world.snapshot.members.values().filter(|member| member.instance.is_some());
    let ends = members.flat_map(|member| {
        sessions(world, heirs, member.node.as_str())
            .into_iter()
            .map(|(key, session)| (session.local, key.peer, session.desired_min_tx, session.detect_mult))
    });
    ends.collect()
}

pub(crate) fn assert_both_ends_agree(ends: &Ends) {
    for (local, peer, interval, mult) in ends {
        assert!(ends.contains(&(*peer, *local, *interval, *mult)), "{peer} knows nothing of the session with {local}");
    }
}

#[test]
fn both_ends_compute_the_same_sessions_whatever_their_links_are() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = world(4);
        for number in 1..=4_u8 {
            let mut net = |place: usize| {
                // Nested and disjoint networks; each address is used once.
                let last = 4 * u8::try_from(place).unwrap() + number;
                let nets =
                    [format!("10.0.0.{last}/24"), format!("10.0.0.{last}/16"), format!("10.0.1.{last}/24"), format!("fd00::{last:x}/64")];
                nets[rng.usize(..4)].parse().unwrap()
            };
            let media = [Medium::Wired, Medium::Wireless];
            let links = (0..3).map(|place| MemberLink {
                addresses: [net(3 * place), net(3 * place + 1), net(3 * place + 2)].into(),
                ..link(&format!("eth{place}"), media[usize::from(seed % 2 == 0 && place == 1)], &[])
            });
            let links = links.collect();
            world.member(&format!("n{number}"), |member| member.links = links);
        }
        assert_both_ends_agree(&all_ends(&world, &Heirs::new()));
    }
}

pub(crate) fn lead(world: &mut World, node: Option<&str>) {
    let holder = node.map(|node| format!("{node}/1"));
    let record = LeaderRecord { holder, lease_duration: 30, transitions: 0, acquired: None, resource_version: "1".to_owned() };
    world.snapshot.leader = Some(record);
}

#[test]
fn up_to_32_members_everybody_watches_everybody() {
    for members in [1_u8, 2, 7, 32] {
        let world = world(members);
        for number in 1..=members {
            assert_eq!(sessions(&world, &Heirs::new(), &format!("n{number}")).len(), usize::from(members) - 1);
        }
    }
    assert_eq!(FULL_MESH, 32);
}

#[test]
fn who_lost_its_lease_is_spoken_to_and_not_watched() {
    let mut world = world(3);
    let before = sessions(&world, &Heirs::new(), "n1");
    world.leave("n3");
    assert_eq!(sessions(&world, &Heirs::new(), "n1"), before, "it may not know it yet");
    let members = seen(&world, &Heirs::new(), "n1", |view| view.members(&Timers::default()));
    assert_eq!(members.into_keys().collect::<Vec<_>>(), ["n2".into()]);
}

#[test]
fn above_32_members_the_leader_watches_all_everybody_is_watched_by_four_and_the_sessions_grow_with_the_members() {
    for members in [33_u8, 64, 200] {
        for leader in [Some("n20"), Some("gone"), None] {
            let mut world = world(members);
            lead(&mut world, leader);
            let ends = all_ends(&world, &Heirs::new());
            assert_both_ends_agree(&ends);
            let watchers = |address: IpAddr| ends.iter().filter(|(_, peer, ..)| *peer == address).count();
            for number in 1..=members {
                let watchers = watchers(ip(&format!("192.168.1.{}", 10 + number)));
                let expected =
                    if leader == Some("n20") && number == 20 { usize::from(members) - 1..=usize::from(members) - 1 } else { 4..=5 };
                assert!(expected.contains(&watchers), "{watchers} watch n{number} of {members}");
            }
            assert!(ends.len() <= 6 * usize::from(members), "{} ends with {members} members", ends.len());
        }
    }
}
