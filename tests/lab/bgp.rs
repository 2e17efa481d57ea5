//! BGP on a real LAN: the real task against FRR, BIRD and GoBGP, with what they say of our routes compared exactly.
//!
//! The node is 10.77.0.1, fd77::1 and AS 64600; the router is 10.77.0.2, fd77::2 and AS 64512.

use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::Family;
use lanlord::bfd::status::State as BfdState;
use lanlord::bgp::desired::{Bfd, Desired, Password, RemoteAs, Route, SessionDesired, Transport};
use lanlord::bgp::status::State;
use serde_json::Value;

use crate::support::{BgpAgent, Bird, Frr, GoBgp, Lan, Namespace, eventually, mac_of, now, within};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// An eBGP session of both families.
pub(crate) fn session(remote: &str) -> SessionDesired {
    let transport = Transport {
        remote: remote.parse().unwrap(),
        port: 179,
        link: None,
        local: None,
        vrf: None,
        ttl: 1,
        minimum_ttl: 0,
        password: None,
    };
    SessionDesired {
        transport,
        local_as: 64600,
        remote_as: RemoteAs::Number(64512),
        identifier: "10.77.0.1".parse().unwrap(),
        hold_time: 9,
        keepalive_time: 3,
        connect_retry_time: Some(1),
        families: [Family::V4, Family::V6].into(),
        multiprotocol: true,
        restart_time: None,
    }
}

pub(crate) fn with(session: SessionDesired, routes: &[(&str, &Route)]) -> Desired {
    let routes = routes.iter().map(|(prefix, route)| (prefix.parse().unwrap(), Arc::new((*route).clone()))).collect();
    Desired { session: Some(session), routes: Arc::new(routes), ..Desired::default() }
}

fn transport(session: &SessionDesired, edit: impl FnOnce(&mut Transport)) -> SessionDesired {
    let mut session = session.clone();
    edit(&mut session.transport);
    session
}

fn secret(text: &str) -> Option<Password> {
    Some(Password(text.to_owned()))
}

fn plain() -> Route {
    Route::default()
}

/// With everything a route can have.
fn rich() -> Route {
    Route {
        local_pref: Some(250),
        med: Some(42),
        communities: [(64512 << 16) + 7, 0xffff_ff01].into(),
        large_communities: [(64512, 1, 2)].into(),
        prepend: 1,
        weight: None,
    }
}

/// What stands in FRR's `router bgp`; `ours`: our addresses there, each a neighbour of both families.
pub(crate) fn frr_config(ours: &[&str], remote_as: &str, more: &str) -> String {
    let neighbours: String =
        ours.iter().map(|ours| format!(" neighbor {ours} remote-as {remote_as}\n neighbor {ours} timers 3 9\n")).collect();
    let activate: String = ours.iter().map(|ours| format!("  neighbor {ours} activate\n")).collect();
    format!(
        "router bgp 64512\n bgp router-id 10.77.0.2\n no bgp ebgp-requires-policy\n{neighbours}{more}\n \
         address-family ipv4 unicast\n{activate} exit-address-family\n address-family ipv6 unicast\n{activate} exit-address-family\nexit\n"
    )
}

/// One neighbour in FRR, 10.77.0.1.
fn frr(router: &Namespace, remote_as: &str, more: &str) -> Frr {
    Frr::run(router, &[("bgpd", &frr_config(&["10.77.0.1"], remote_as, more))])
}

/// BIRD's side; `more` stands inside the protocol.
pub(crate) fn bird_config(ours: &str, remote_as: u32, more: &str) -> String {
    format!(
        "protocol kernel k4 {{ ipv4 {{ export all; }}; }} protocol kernel k6 {{ ipv6 {{ export all; }}; }}\n\
         protocol bgp node {{ local as 64512; neighbor {ours} as {remote_as}; hold time 9; connect retry time 1; \
         ipv4 {{ import all; export none; extended next hop on; }}; ipv6 {{ import all; export none; }};\n{more} }}"
    )
}

/// The routes in the router's kernel that came by BGP.
fn in_kernel(router: &Namespace, protocol: &str) -> Vec<String> {
    let lines = ["-4", "-6"].map(|family| router.ip(&format!("{family} route show proto {protocol}")));
    let destinations = lines.iter().flat_map(|lines| lines.lines()).filter(|line| !line.starts_with(char::is_whitespace));
    destinations.filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect()
}

pub(crate) fn two() -> (Lan, Namespace, Namespace) {
    let lan = Lan::new();
    let (node, router) = (lan.host(1), lan.host(2));
    (lan, node, router)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// What FRR has of a path: AS path, origin, MED, local preference, communities, large communities, next hops.
fn attributes(path: &Value) -> [String; 7] {
    let hops = path["nexthops"].as_array().map(Vec::as_slice).unwrap_or_default();
    let hops: Vec<String> = hops.iter().map(|hop| text(&hop["ip"])).collect();
    [
        text(&path["aspath"]["string"]),
        text(&path["origin"]),
        text(&path["metric"]),
        text(&path["locPrf"]),
        text(&path["community"]["string"]),
        text(&path["largeCommunity"]["string"]),
        hops.join(" "),
    ]
}

fn link_local(namespace: &Namespace) -> String {
    let line = namespace.ip("-6 -o addr show dev eth0 scope link");
    line.split_whitespace().find(|word| word.starts_with("fe80")).unwrap().split('/').next().unwrap().to_owned()
}

#[test]
fn frr_has_exactly_our_attributes_from_sessions_over_either_family() {
    let (_lan, node, router) = two();
    let frr = Frr::run(&router, &[("bgpd", &frr_config(&["10.77.0.1", "fd77::1"], "64600", ""))]);
    let agent = BgpAgent::start(&node);
    let (plain, rich) = (plain(), rich());
    let over_v4 = [("203.0.113.4/32", &rich), ("2001:db8::4/128", &rich), ("203.0.113.0/28", &plain)];
    let over_v6 = [("203.0.113.6/32", &rich), ("2001:db8::6/128", &rich)];
    agent.want([("four", with(session("10.77.0.2"), &over_v4)), ("six", with(session("fd77::2"), &over_v6))]);
    agent.comes_up("four");
    agent.comes_up("six");
    let v6_hops = format!("fd77::1 {}", link_local(&node));
    for (prefix, hops) in [
        ("203.0.113.4/32", "10.77.0.1"),
        ("203.0.113.6/32", "10.77.0.1"),
        ("2001:db8::4/128", v6_hops.as_str()),
        ("2001:db8::6/128", v6_hops.as_str()),
    ] {
        eventually(&format!("FRR has {prefix}"), || !frr.path(prefix).is_null());
        let expected = ["64600 64600", "IGP", "42", "null", "64512:7 no-export", "64512:1:2", hops];
        assert_eq!(attributes(&frr.path(prefix)), expected, "{prefix}");
    }
    eventually("FRR has the aggregate", || !frr.path("203.0.113.0/28").is_null());
    assert_eq!(attributes(&frr.path("203.0.113.0/28")), ["64600", "IGP", "null", "null", "null", "null", "10.77.0.1"]);
    eventually("the kernel has all", || in_kernel(&router, "bgp").len() == 5);
    eventually("it is shown", || agent.peer("four").session.announced == 3 && agent.peer("six").session.announced == 2);
    let peer = agent.peer("six");
    assert_eq!((peer.local, peer.link.unwrap().as_str()), (Some("fd77::1".parse().unwrap()), "eth0"));

    agent.want([("four", with(session("10.77.0.2"), &[("203.0.113.4/32", &plain)])), ("six", with(session("fd77::2"), &over_v6))]);
    eventually("attributes change", || attributes(&frr.path("203.0.113.4/32"))[0] == "64600");
    eventually("routes go", || frr.path("2001:db8::4/128").is_null() && frr.path("203.0.113.0/28").is_null());
    assert!(!frr.path("2001:db8::6/128").is_null(), "those of the other session stay");
    agent.want([("six", with(session("fd77::2"), &over_v6))]);
    eventually("FRR is told why a session ends", || {
        text(&frr.neighbour("10.77.0.1", "lastNotificationReason")) == "Cease/Peer De-configured"
    });
    eventually("its routes go", || frr.path("203.0.113.4/32").is_null());
    assert_eq!((agent.peer("four").remote, agent.state("six")), (None, State::Established));
}

#[test]
fn ibgp_has_local_preference_and_no_as_path() {
    let (_lan, node, router) = two();
    let frr = frr(&router, "internal", "");
    let agent = BgpAgent::start(&node);
    let internal = SessionDesired { local_as: 64512, remote_as: RemoteAs::Internal, ..session("10.77.0.2") };
    // A device to bind to need not be a VRF.
    let internal = transport(&internal, |transport| (transport.ttl, transport.vrf) = (64, Some("eth0".into())));
    agent.want([("frr", with(internal, &[("203.0.113.1/32", &rich()), ("2001:db8::1/128", &plain())]))]);
    agent.comes_up("frr");
    eventually("FRR has both", || !frr.path("203.0.113.1/32").is_null() && !frr.path("2001:db8::1/128").is_null());
    let expected = ["Local", "IGP", "42", "250", "64512:7 no-export", "64512:1:2", "10.77.0.1"];
    assert_eq!(attributes(&frr.path("203.0.113.1/32")), expected);
    let hops = format!("fd77::1 {}", link_local(&node));
    assert_eq!(attributes(&frr.path("2001:db8::1/128")), ["Local", "IGP", "null", "100", "null", "null", &hops]);
}

#[test]
fn a_router_spreads_flows_by_the_weights_that_the_nodes_tell() {
    let lan = Lan::new();
    let (router, nodes) = (lan.host(2), [lan.host(1), lan.host(3)]);
    let _frr = Frr::run(&router, &[("bgpd", &frr_config(&["10.77.0.1", "10.77.0.3"], "64600", ""))]);
    let agents = nodes.each_ref().map(BgpAgent::start);
    for (agent, weight) in agents.iter().zip([3, 1]) {
        let route = Route { weight: Some(weight), ..plain() };
        agent.want([("frr", with(session("10.77.0.2"), &[("203.0.113.1/32", &route)]))]);
        agent.comes_up("frr");
    }
    let ways = || router.ip("-4 route show 203.0.113.1");
    let weight = |hop: &str| {
        let words: Vec<String> = ways().lines().find(|line| line.contains(hop))?.split_whitespace().map(ToOwned::to_owned).collect();
        words.iter().skip_while(|word| *word != "weight").nth(1)?.parse::<u32>().ok()
    };
    let told = || weight("via 10.77.0.1 ").zip(weight("via 10.77.0.3 "));
    within(10 * SECOND, "the kernel sends three flows here for one there", || {
        told().is_some_and(|(one, other)| one > 2 * other && one < 4 * other)
    });
}

#[test]
fn bird_has_exactly_our_attributes() {
    let (_lan, node, router) = two();
    let bird = Bird::run(&router, &bird_config("10.77.0.1", 64600, ""));
    let agent = BgpAgent::start(&node);
    agent.want([("bird", with(session("10.77.0.2"), &[("203.0.113.1/32", &rich()), ("2001:db8::1/128", &rich())]))]);
    agent.comes_up("bird");
    let expected = |hops: &str| {
        let before = ["origin: IGP", "as_path: 64600 64600", hops, "med: 42", "local_pref: 100"];
        let all = [&before[..], &["community: (64512,7) (65535,65281)", "large_community: (64512, 1, 2)"]].concat();
        all.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    eventually("BIRD has the IPv4 route", || bird.attributes("203.0.113.1/32") == expected("next_hop: 10.77.0.1"));
    let hops = format!("next_hop: fd77::1 {}", link_local(&node));
    eventually("BIRD has the IPv6 route", || bird.attributes("2001:db8::1/128") == expected(&hops));
    eventually("the kernel has both", || in_kernel(&router, "bird").len() == 2);
    agent.want([("bird", with(session("10.77.0.2"), &[]))]);
    eventually("both are withdrawn", || in_kernel(&router, "bird").is_empty());
    assert_eq!(agent.state("bird"), State::Established);
    // A router that asks for everything again gets it.
    agent.want([("bird", with(session("10.77.0.2"), &[("203.0.113.1/32", &plain())]))]);
    eventually("it is back", || in_kernel(&router, "bird").len() == 1);
    let sent = agent.peer("bird").session.sent.updates;
    assert!(bird.ask("reload in node").contains("reloading"));
    eventually("it is told again", || agent.peer("bird").session.sent.updates > sent);
}

#[test]
fn a_link_local_peer_gets_ipv4_routes_through_ipv6() {
    let (_lan, node, router) = two();
    node.ip("addr del 10.77.0.1/24 dev eth0");
    node.ip("addr del fd77::1/64 dev eth0");
    let (ours, theirs) = (link_local(&node), link_local(&router));
    let bird = Bird::run(&router, &bird_config(&format!("{ours}%eth0"), 64600, ""));
    let agent = BgpAgent::start(&node);
    let session = transport(&session(&theirs), |transport| transport.link = Some("eth0".into()));
    agent.want([("bird", with(session, &[("203.0.113.1/32", &plain()), ("2001:db8::1/128", &plain())]))]);
    agent.comes_up("bird");
    eventually("the kernel has both", || in_kernel(&router, "bird").len() == 2);
    let hop = |prefix: &str| bird.attributes(prefix).into_iter().find(|line| line.starts_with("next_hop")).unwrap_or_default();
    assert!(hop("203.0.113.1/32").contains(&ours), "{}", hop("203.0.113.1/32"));
    assert!(hop("2001:db8::1/128").contains(&ours), "{}", hop("2001:db8::1/128"));
}

#[test]
fn gobgp_has_exactly_our_attributes() {
    let (_lan, node, router) = two();
    let families = ["ipv4-unicast", "ipv6-unicast"];
    let families: String =
        families.iter().map(|f| format!("[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{f}\"\n")).collect();
    let gobgp = GoBgp::run(
        &router,
        &format!(
            "[global.config]\nas = 64512\nrouter-id = \"10.77.0.2\"\n[[neighbors]]\n[neighbors.config]\nneighbor-address = \"10.77.0.1\"\n\
             peer-as = 64600\n[neighbors.transport.config]\npassive-mode = true\n{families}"
        ),
    );
    let agent = BgpAgent::start(&node);
    agent.want([("gobgp", with(session("10.77.0.2"), &[("203.0.113.1/32", &rich()), ("2001:db8::1/128", &rich())]))]);
    agent.comes_up("gobgp");
    for (prefix, hop) in [("203.0.113.1/32", "10.77.0.1"), ("2001:db8::1/128", "fd77::1")] {
        eventually(&format!("GoBGP has {prefix}"), || !gobgp.route(prefix).is_empty());
        let words = gobgp.route(prefix);
        assert_eq!(words[..3], [hop, "64600", "64600"], "{words:?}");
        let attributes = words[4..].join(" ");
        let expected = ["{Origin: i}", "{Med: 42}", "{Communities: 64512:7, no-export}", "{LargeCommunity: [ 64512:1:2]}"];
        assert_eq!(attributes, format!("[{}]", expected.join(" ")));
    }
    agent.want([("gobgp", with(session("10.77.0.2"), &[]))]);
    eventually("both are withdrawn", || gobgp.route("203.0.113.1/32").is_empty() && gobgp.route("2001:db8::1/128").is_empty());
}

#[test]
fn a_password_has_to_be_the_routers_and_changes_at_run_time() {
    let (_lan, node, router) = two();
    let ours = ["10.77.0.1", "fd77::1"];
    let passwords: String = ours.iter().map(|ours| format!(" neighbor {ours} password s3cret\n")).collect();
    let frr = Frr::run(&router, &[("bgpd", &frr_config(&ours, "64600", &passwords))]);
    let agent = BgpAgent::start(&node);
    let want = |key: Option<&str>| {
        let peer = |remote| with(transport(&session(remote), |transport| transport.password = key.and_then(secret)), &[]);
        agent.want([("four", peer("10.77.0.2")), ("six", peer("fd77::2"))]);
    };
    want(Some("wrong"));
    within(20 * SECOND, "the kernel drops what is signed in another way", || counter(&netstat(&router), "TCPMD5Failure") > 2);
    for peer in ["four", "six"] {
        within(20 * SECOND, "it is said", || agent.failure(peer) == "the peer does not answer");
        assert_eq!(agent.state(peer), State::Connect);
        agent.tells(&format!("BGP peer {peer} "), "a wrong password looks the same");
    }
    want(Some("s3cret"));
    agent.comes_up("four");
    agent.comes_up("six");
    frr.change(&["router bgp 64512", "neighbor 10.77.0.1 password another", "neighbor fd77::1 password another"]);
    want(Some("another"));
    agent.comes_up("four");
    agent.comes_up("six");
    eventually("FRR says so, too", || text(&frr.neighbour("fd77::1", "bgpState")) == "Established");
    frr.change(&["router bgp 64512", "no neighbor 10.77.0.1 password another"]);
    eventually("FRR wants none", || agent.state("four") != State::Established);
    want(None);
    agent.comes_up("four");
}

fn netstat(namespace: &Namespace) -> String {
    namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap())
}

/// A counter of `/proc/net/netstat`: a line of names above a line of values.
fn counter(netstat: &str, name: &str) -> u64 {
    let lines: Vec<&str> = netstat.lines().collect();
    let found = lines.chunks(2).find_map(|pair| {
        let at = pair[0].split_whitespace().position(|word| word == name)?;
        pair[1].split_whitespace().nth(at)?.parse().ok()
    });
    found.unwrap_or_default()
}

#[test]
fn ttl_security_is_met_and_asked_for() {
    let (_lan, node, router) = two();
    let ours = ["10.77.0.1", "fd77::1"];
    let security: String = ours.iter().map(|ours| format!(" neighbor {ours} ttl-security hops 1\n")).collect();
    let frr = Frr::run(&router, &[("bgpd", &frr_config(&ours, "64600", &security))]);
    let agent = BgpAgent::start(&node);
    let want = |ttl: u8, minimum_ttl: u8| {
        let edit = |transport: &mut Transport| (transport.ttl, transport.minimum_ttl) = (ttl, minimum_ttl);
        let peer = |remote| with(transport(&session(remote), edit), &[]);
        agent.want([("four", peer("10.77.0.2")), ("six", peer("fd77::2"))]);
    };
    want(64, 0);
    let dropped = || counter(&netstat(&router), "TCPMinTTLDrop");
    within(20 * SECOND, "the router's kernel drops what may come from far away", || dropped() > 4);
    let up = |ours: &str| text(&frr.neighbour(ours, "bgpState")) == "Established";
    assert!(!ours.iter().any(|ours| up(ours)), "it never hears our KEEPALIVE");
    want(255, 255);
    agent.comes_up("four");
    agent.comes_up("six");
    eventually("FRR says so, too", || ours.iter().all(|ours| up(ours)));
    frr.change(&["router bgp 64512", "no neighbor 10.77.0.1 ttl-security hops 1"]);
    within(20 * SECOND, "what comes with a TTL of 1 is not heard any more", || agent.state("four") != State::Established);
}

#[test]
fn a_peer_behind_another_router_is_reached_from_the_source_address() {
    let lan = Lan::new();
    let (node, middle, router) = (lan.host(1), lan.host(3), Namespace::new("far"));
    middle.ip(&format!("link add far type veth peer name eth0 netns {}", router.name()));
    for line in ["addr add 10.78.0.3/24 dev far", "link set far up"] {
        middle.ip(line);
    }
    for line in ["addr add 10.78.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.78.0.3"] {
        router.ip(line);
    }
    middle.sysctl("net/ipv4/ip_forward", "1");
    node.ip("addr add 192.0.2.1/32 dev lo");
    node.ip("route add 10.78.0.0/24 via 10.77.0.3");
    middle.ip("route add 192.0.2.1/32 via 10.77.0.1");
    let config = frr_config(&["192.0.2.1"], "64600", " neighbor 192.0.2.1 ebgp-multihop 2\n").replace("10.77.0.2", "10.78.0.2");
    let frr = Frr::run(&router, &[("bgpd", &config)]);
    let agent = BgpAgent::start(&node);
    let edit = |transport: &mut Transport| (transport.ttl, transport.local) = (2, Some("192.0.2.1".parse().unwrap()));
    agent.want([("far", with(transport(&session("10.78.0.2"), edit), &[("203.0.113.1/32", &plain())]))]);
    agent.comes_up("far");
    eventually("it has the route", || attributes(&frr.path("203.0.113.1/32"))[6] == "192.0.2.1");
    assert_eq!(agent.peer("far").local, Some("192.0.2.1".parse().unwrap()));
    let peer = agent.peer("far");
    assert_eq!(peer.session.without_next_hop, [Family::V6].into(), "no IPv6 on the way");
}

#[test]
fn refusals_are_told_in_the_routers_words() {
    let (_lan, node, router) = two();
    let agent = BgpAgent::start(&node);
    let routes = [("203.0.113.1/32", &plain()), ("203.0.113.2/32", &plain()), ("203.0.113.3/32", &plain())];
    let peer = with(session("10.77.0.2"), &routes);
    agent.want([("frr", peer.clone())]);
    let says = |what: &str| {
        let told = || agent.failure("frr").contains(what);
        let start = now();
        while !told() {
            assert!(start.elapsed() < 20 * SECOND, "{what:?} was expected, {:?} is told", agent.failure("frr"));
            std::thread::sleep(10 * MS);
        }
    };
    says("the peer refuses connections");
    agent.tells("BGPSessionRefused: BGP peer frr (10.77.0.2): the peer refuses connections", "on TCP port 179");
    let frr = frr(&router, "64999", "");
    says("the peer sent OPEN Message Error/Bad Peer AS");
    frr.change(&["router bgp 64512", "neighbor 10.77.0.1 remote-as 64600"]);
    agent.comes_up("frr");
    agent.tells("BGPSessionUp: ", "is up");

    let wrong = SessionDesired { remote_as: RemoteAs::Number(64513), ..session("10.77.0.2") };
    agent.want([("frr", with(wrong, &routes))]);
    says("the peer is of AS 64512, 64513 is configured: sent OPEN Message Error/Bad Peer AS");
    agent.tells("BGPSessionRefused: BGP peer frr (10.77.0.2): the peer is of AS 64512", "set `peerASN`");
    agent.want([("frr", peer.clone())]);
    agent.comes_up("frr");

    frr.change(&["router bgp 64512", "neighbor 10.77.0.1 shutdown message the cellar is flooded"]);
    says("the peer sent Cease/Administrative Shutdown (\"the cellar is flooded\")");
    agent.tells("BGPSessionDown: BGP peer frr (10.77.0.2): the session is lost: the peer sent Cease", "switch it on there");
    frr.change(&["router bgp 64512", "no neighbor 10.77.0.1 shutdown"]);
    agent.comes_up("frr");
    frr.change(&["router bgp 64512", "address-family ipv4 unicast", "neighbor 10.77.0.1 maximum-prefix 2"]);
    says("the peer sent Cease/Maximum Number of Prefixes Reached");
    frr.change(&["router bgp 64512", "address-family ipv4 unicast", "no neighbor 10.77.0.1 maximum-prefix 2"]);
    frr.show("clear bgp *");
    agent.comes_up("frr");
    frr.change(&["router bgp 64512", "no neighbor 10.77.0.1"]);
    says("the peer sent Cease/Peer De-configured");
    drop(frr);

    // A link that is missing, an address that is not ours, no route.
    let with_transport = |edit: fn(&mut Transport)| agent.want([("frr", with(transport(&session("10.77.0.2"), edit), &routes))]);
    with_transport(|transport| transport.local = Some("10.77.0.99".parse().unwrap()));
    says("source address 10.77.0.99: Cannot assign requested address");
    with_transport(|transport| transport.vrf = Some("red".into()));
    says("device red: No such device");
    with_transport(|transport| transport.remote = "198.51.100.1".parse().unwrap());
    says("there is no route to the peer");
    with_transport(|transport| transport.remote = "10.77.0.77".parse().unwrap());
    says("nobody has the peer's address on the link");
    with_transport(|transport| transport.password = Some(Password("x".repeat(81))));
    says("a password has at least one octet and at most 80");
}

/// What a restart in place is for a router, and what an end is.
fn restarts(name: &str, protocol: &str, node: &Namespace, router: &Namespace) {
    let routes = [("203.0.113.1/32", &plain()), ("203.0.113.2/32", &plain()), ("2001:db8::1/128", &plain())];
    let graceful = SessionDesired { restart_time: Some(4), ..session("10.77.0.2") };
    let mut agent = BgpAgent::start(node);
    agent.want([(name, with(graceful.clone(), &routes))]);
    agent.comes_up(name);
    eventually("the routes are there", || in_kernel(router, protocol).len() == 3);
    for round in 0..3 {
        if round == 2 {
            // Two at once, as in a rolling update: the old one hears of the new one and is silent.
            let new = BgpAgent::start(node);
            agent.superseded();
            new.want([(name, with(graceful.clone(), &routes))]);
            agent = new;
        } else {
            drop(agent);
            std::thread::sleep(SECOND);
            assert_eq!(in_kernel(router, protocol).len(), 3, "{name} keeps them while nobody speaks");
            agent = BgpAgent::start(node);
            agent.want([(name, with(graceful.clone(), &routes))]);
        }
        let start = now();
        while agent.state(name) != State::Established || start.elapsed() < 2 * SECOND {
            assert_eq!(in_kernel(router, protocol).len(), 3, "{name}, round {round}: {}", agent.failure(name));
            assert!(start.elapsed() < 10 * SECOND, "{name}, round {round}: {}", agent.failure(name));
            std::thread::sleep(5 * MS);
        }
    }
    // What the new process does not want told goes when it has told the rest.
    drop(agent);
    agent = BgpAgent::start(node);
    agent.want([(name, with(graceful, &routes[..2]))]);
    eventually("one is gone", || in_kernel(router, protocol).len() == 2);
    assert!(!in_kernel(router, protocol).iter().any(|route| route.contains(':')));
    agent.comes_up(name);
    drop(agent);
    let took = within(15 * SECOND, "nobody comes back", || in_kernel(router, protocol).is_empty());
    assert!(took > 3 * SECOND, "{name} kept them for {took:?} only");
}

#[test]
fn frr_keeps_the_routes_while_the_process_restarts_and_not_for_ever() {
    let (_lan, node, router) = two();
    let _frr = frr(&router, "64600", "");
    restarts("frr", "bgp", &node, &router);
}

#[test]
fn bird_keeps_the_routes_while_the_process_restarts_and_not_for_ever() {
    let (_lan, node, router) = two();
    let _bird = Bird::run(&router, &bird_config("10.77.0.1", 64600, "graceful restart on;"));
    restarts("bird", "bird", &node, &router);
}

#[test]
fn who_leaves_says_so_takes_its_routes_back_and_then_ends_the_session() {
    let (_lan, node, router) = two();
    let frr = frr(&router, "64600", " bgp graceful-restart\n");
    let agent = BgpAgent::start(&node);
    let graceful = SessionDesired { restart_time: Some(120), ..session("10.77.0.2") };
    agent.want([("frr", with(graceful, &[("203.0.113.1/32", &plain())]))]);
    agent.comes_up("frr");
    eventually("the route is there", || in_kernel(&router, "bgp").len() == 1);
    let start = now();
    std::thread::scope(|scope| {
        let leaving = scope.spawn(|| agent.leave());
        eventually("RFC 8326", || text(&frr.path("203.0.113.1/32")["community"]["string"]).contains("graceful-shutdown"));
        assert_eq!(in_kernel(&router, "bgp").len(), 1, "it still works");
        eventually("it is gone", || in_kernel(&router, "bgp").is_empty());
        leaving.join().unwrap();
    });
    let took = start.elapsed();
    assert!(took > 2 * SECOND && took < 6 * SECOND, "{took:?}");
    let reason = || text(&frr.neighbour("10.77.0.1", "lastNotificationReason"));
    eventually("FRR is told why", || reason().contains("Hard Reset") || reason().contains("Administrative Shutdown"));
}

#[test]
fn who_leaves_ends_even_if_the_router_dies_meanwhile() {
    let (_lan, node, router) = two();
    let mut frr = frr(&router, "64600", "");
    let agent = BgpAgent::start(&node);
    agent.want([("frr", with(session("10.77.0.2"), &[("203.0.113.1/32", &plain())]))]);
    agent.comes_up("frr");
    eventually("the route is there", || in_kernel(&router, "bgp").len() == 1);
    let leaving = std::thread::spawn(|| agent.leave());
    eventually("RFC 8326", || text(&frr.path("203.0.113.1/32")["community"]["string"]).contains("graceful-shutdown"));
    frr.kill("bgpd");
    eventually("nobody is waited for any more", || leaving.is_finished());
    leaving.join().unwrap();
}

#[test]
fn a_router_that_restarts_and_a_link_that_is_cut_come_back_with_all_routes() {
    let lan = Lan::new();
    let ((node, port), router) = (lan.host_and_port(1), lan.host(2));
    let mut frr = frr(&router, "64600", "");
    let agent = BgpAgent::start(&node);
    let quick = SessionDesired { hold_time: 3, keepalive_time: 1, ..session("10.77.0.2") };
    agent.want([("frr", with(quick, &[("203.0.113.1/32", &plain()), ("2001:db8::1/128", &plain())]))]);
    agent.comes_up("frr");
    eventually("the routes are there", || in_kernel(&router, "bgp").len() == 2);
    frr.restart(&router, "bgpd");
    eventually("the session is lost", || agent.peer("frr").session.lost == 1);
    agent.comes_up("frr");
    eventually("the routes are back", || in_kernel(&router, "bgp").len() == 2);
    lan.cut(&port, true);
    let took = within(10 * SECOND, "the hold time passes", || agent.state("frr") != State::Established);
    assert!(took > 1500 * MS, "{took:?}");
    assert!(agent.failure("frr").starts_with("nothing came within the hold time"), "{}", agent.failure("frr"));
    eventually("FRR notices, too", || in_kernel(&router, "bgp").is_empty());
    lan.cut(&port, false);
    agent.comes_up("frr");
    eventually("the routes are back again", || in_kernel(&router, "bgp").len() == 2);
    assert_eq!(agent.peer("frr").session.established, 3);
}

#[test]
fn bfd_ends_a_session_at_once_and_a_bfd_that_never_came_up_is_shown() {
    let lan = Lan::new();
    let ((node, port), router) = (lan.host_and_port(1), lan.host(2));
    let fast = "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n  detect-multiplier 3\n exit\nexit\n";
    let config = frr_config(&["10.77.0.1"], "64600", " neighbor 10.77.0.1 bfd profile fast\n");
    let frr = Frr::run(&router, &[("bfdd", fast), ("bgpd", &config)]);
    let agent = BgpAgent::start(&node);
    let bfd = Bfd { desired_min_tx: 50 * MS, required_min_rx: 50 * MS, detect_mult: 3, passive: false, minimum_ttl: 254 };
    let graceful = SessionDesired { restart_time: Some(120), ..session("10.77.0.2") };
    let peer = Desired { bfd: Some(bfd.clone()), ..with(graceful, &[("203.0.113.1/32", &plain())]) };
    agent.want([("frr", peer.clone())]);
    agent.comes_up("frr");
    eventually("BFD is up", || agent.peer("frr").bfd.is_some_and(|bfd| bfd.ups == 1));
    eventually("FRR says so, too", || frr.peer("10.77.0.1".parse().unwrap(), "status") == "up");
    eventually("the timers are negotiated", || agent.peer("frr").bfd.is_some_and(|bfd| bfd.detection_time == 150 * MS));
    eventually("the route is there", || in_kernel(&router, "bgp").len() == 1);
    lan.cut(&port, true);
    let ours = within(3 * SECOND, "we notice", || agent.state("frr") != State::Established);
    let theirs = within(3 * SECOND, "FRR notices, graceful restart or not", || in_kernel(&router, "bgp").is_empty());
    assert!(ours < SECOND && theirs < 2 * SECOND, "{ours:?}, {theirs:?}");
    assert!(agent.failure("frr").starts_with("BFD has lost the peer: sent Cease/BFD Down"), "{}", agent.failure("frr"));
    lan.cut(&port, false);
    agent.comes_up("frr");
    eventually("BFD is up again", || agent.peer("frr").bfd.is_some_and(|bfd| bfd.ups == 2));
    eventually("the route is back", || in_kernel(&router, "bgp").len() == 1);

    // Without the other side's BFD the session lives, and the status says that nothing watches it.
    frr.change(&["router bgp 64512", "no neighbor 10.77.0.1 bfd"]);
    agent.want([]);
    eventually("nothing is wanted", || agent.peer("frr").remote.is_none());
    agent.want([("frr", peer)]);
    agent.comes_up("frr");
    agent.tells("BGPWithoutBFD: BGP peer frr (10.77.0.2): BFD never came up", "switch BFD on for 10.77.0.1 at the router");
    assert_eq!(agent.peer("frr").bfd.map(|bfd| bfd.ups), Some(0));
    assert_eq!(agent.state("frr"), State::Established);
}

#[test]
fn bfd_goes_on_where_our_own_address_or_link_goes_and_all_comes_back_with_it() {
    let lan = Lan::new();
    let (node, router) = (lan.host(1), lan.host(2));
    let fast = "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n  detect-multiplier 3\n exit\nexit\n";
    let config = frr_config(&["10.77.0.1"], "64600", " neighbor 10.77.0.1 bfd profile fast\n");
    let _frr = Frr::run(&router, &[("bfdd", fast), ("bgpd", &config)]);
    let agent = BgpAgent::start(&node);
    let bfd = Bfd { desired_min_tx: 50 * MS, required_min_rx: 50 * MS, detect_mult: 3, passive: false, minimum_ttl: 254 };
    let patient = SessionDesired { hold_time: 90, keepalive_time: 30, ..session("10.77.0.2") };
    agent.want([("frr", Desired { bfd: Some(bfd), ..with(patient, &[("203.0.113.1/32", &plain())]) })]);
    let up = || agent.state("frr") == State::Established && agent.peer("frr").bfd.is_some_and(|bfd| bfd.state == BfdState::Up);
    within(20 * SECOND, "all is up", up);
    for round in ["address", "link"] {
        match round {
            "address" => node.ip("addr del 10.77.0.1/24 dev eth0"),
            _ => node.ip("link del eth0"),
        };
        let took = within(3 * SECOND, "we notice, long before the hold time is over", || agent.state("frr") != State::Established);
        assert!(took < SECOND, "{round}: {took:?}");
        match round {
            "address" => drop(node.ip("addr add 10.77.0.1/24 dev eth0")),
            _ => {
                lan.attach(&node, "eth0", mac_of(1));
                node.ip("addr add 10.77.0.1/24 dev eth0");
            }
        }
        within(20 * SECOND, "all is up again", up);
        eventually("the route is back", || in_kernel(&router, "bgp").len() == 1);
    }
}

#[test]
fn without_hold_time_a_router_that_was_switched_off_and_on_is_dialled_again() {
    let lan = Lan::new();
    let ((node, port), router) = (lan.host_and_port(1), lan.host(2));
    // What it had open it forgets, as if it had been booted.
    router.sysctl("net/ipv4/tcp_orphan_retries", "1");
    let mut frr = frr(&router, "64600", "");
    let agent = BgpAgent::start(&node);
    let patient = SessionDesired { hold_time: 0, keepalive_time: 0, ..session("10.77.0.2") };
    agent.want([("frr", with(patient, &[("203.0.113.1/32", &plain())]))]);
    agent.comes_up("frr");
    assert_eq!(agent.peer("frr").session.agreed.and_then(|agreed| agreed.hold_time), None);
    // Nothing is on its way that would be sent again.
    eventually("all is acknowledged", || sockets(&node, "dport").split_whitespace().nth(2) == Some("0"));
    lan.cut(&port, true);
    frr.restart(&router, "bgpd");
    within(20 * SECOND, "the old connection is forgotten", || sockets(&router, "sport").is_empty());
    lan.cut(&port, false);
    within(60 * SECOND, "the kernel asks whether the connection still is", || agent.peer("frr").session.established == 2);
}

/// The connections, and what is left of those that were closed, whose `side` is port 179: state, Recv-Q, Send-Q, …
fn sockets(namespace: &Namespace, side: &str) -> String {
    let output = namespace.enter(|| {
        std::process::Command::new("ss").args(["-Htan", "state", "all", "exclude", "listening", side, "=", ":179"]).output().unwrap()
    });
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_restart_keeps_the_routes_beside_bfd_where_the_router_asks_for_the_control_plane() {
    let (_lan, node, router) = two();
    let fast = "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n  detect-multiplier 3\n exit\nexit\n";
    let watch = " neighbor 10.77.0.1 bfd profile fast\n neighbor 10.77.0.1 bfd check-control-plane-failure\n";
    let frr = Frr::run(&router, &[("bfdd", fast), ("bgpd", &frr_config(&["10.77.0.1"], "64600", watch))]);
    let bfd = Bfd { desired_min_tx: 50 * MS, required_min_rx: 50 * MS, detect_mult: 3, passive: false, minimum_ttl: 254 };
    let graceful = SessionDesired { restart_time: Some(20), ..session("10.77.0.2") };
    let peer = Desired { bfd: Some(bfd), ..with(graceful, &[("203.0.113.1/32", &plain())]) };
    let mut agent = BgpAgent::start(&node);
    for round in 0..3 {
        agent.want([("frr", peer.clone())]);
        let start = now();
        let watched = || agent.peer("frr").bfd.is_some_and(|bfd| bfd.ups == 1) && agent.state("frr") == State::Established;
        while !watched() || start.elapsed() < 2 * SECOND {
            assert!(round == 0 || in_kernel(&router, "bgp").len() == 1, "round {round}: {}", agent.failure("frr"));
            assert!(start.elapsed() < 20 * SECOND, "round {round}: {}", agent.failure("frr"));
            std::thread::sleep(5 * MS);
        }
        drop(agent);
        eventually("FRR's BFD notices", || frr.peer("10.77.0.1".parse().unwrap(), "status") == "down");
        assert_eq!(in_kernel(&router, "bgp").len(), 1, "round {round}: and keeps the route");
        agent = BgpAgent::start(&node);
    }
}

#[test]
fn next_hops_follow_the_addresses_of_the_link() {
    let (_lan, node, router) = two();
    node.ip("addr del fd77::1/64 dev eth0");
    node.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1");
    let frr = frr(&router, "64600", "");
    let agent = BgpAgent::start(&node);
    agent.want([("frr", with(session("10.77.0.2"), &[("203.0.113.1/32", &plain()), ("2001:db8::1/128", &plain())]))]);
    agent.comes_up("frr");
    eventually("what has no next hop is shown", || agent.peer("frr").session.without_next_hop == [Family::V6].into());
    eventually("the other family is told", || !frr.path("203.0.113.1/32").is_null());
    assert!(frr.path("2001:db8::1/128").is_null());
    node.sysctl("net/ipv6/conf/eth0/disable_ipv6", "0");
    node.ip("addr add fd77::11/64 dev eth0 nodad");
    let hop = || attributes(&frr.path("2001:db8::1/128"))[6].split(' ').next().unwrap().to_owned();
    eventually("through the address that came", || hop() == "fd77::11");
    node.ip("addr add fd77::5/64 dev eth0 nodad");
    node.ip("addr del fd77::11/64 dev eth0");
    eventually("and through another one", || hop() == "fd77::5");
    assert_eq!(agent.peer("frr").session.established, 1, "all in one session");
}

#[test]
#[expect(clippy::print_stdout, reason = "times are for people: `cargo test --test lab bgp -- --nocapture`")]
fn ten_thousand_routes_are_told_and_taken_back() {
    let (_lan, node, router) = two();
    let bird = Bird::run(&router, &bird_config("10.77.0.1", 64600, "").replace("export all", "export none"));
    let agent = BgpAgent::start(&node);
    let route = Arc::new(rich());
    let routes = (0..10_000_u32).map(|n| (format!("100.64.{}.{}/32", n >> 8, n & 255).parse().unwrap(), Arc::clone(&route)));
    let all = Desired { routes: Arc::new(routes.collect()), ..with(session("10.77.0.2"), &[]) };
    agent.want([("bird", with(session("10.77.0.2"), &[]))]);
    agent.comes_up("bird");
    let count = || {
        let answer = bird.ask("show route count");
        answer.lines().find_map(|line| line.split_once(" of ")?.0.rsplit(' ').next()?.parse::<u32>().ok()).unwrap_or_default()
    };
    agent.want([("bird", all)]);
    let told = within(10 * SECOND, "all are told", || agent.peer("bird").session.announced == 10_000);
    let has = within(10 * SECOND, "BIRD has them", || count() == 10_000);
    agent.want([("bird", with(session("10.77.0.2"), &[]))]);
    let gone = within(10 * SECOND, "they are gone", || count() == 0);
    assert_eq!(agent.state("bird"), State::Established);
    std::thread::sleep(5 * SECOND);
    let cpu = agent.end();
    println!("10,000 routes: told within {told:?}, there {has:?} later; gone within {gone:?}; {cpu:?} of processor time");
    assert!(cpu < 2 * SECOND, "nothing turns while nothing happens: {cpu:?}");
}
