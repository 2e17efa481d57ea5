//! The real task over loopback against routers that are a few lines of a test: what no real router does on purpose.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::bfd;
use lanlord::bgp::desired::{Bfd, Desired, PeerKey, PeersDesired, Route, SessionDesired};
use lanlord::bgp::status::State::Established;
use lanlord::bgp::status::{PeerStatus, Status};
use lanlord::bgp::task::{self, Inputs, Outputs};
use lanlord::facts::{Link, Links, Medium, Role};
use lanlord::wire::bgp::{Code, Codec, Message, Notification};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::bgp_session::{SECOND, desired, many, parameters, their_open};

const MS: Duration = Duration::from_millis(1);

/// The task; ends without a word when dropped.
struct Agent {
    desired: watch::Sender<Arc<PeersDesired>>,
    links: watch::Sender<Arc<Links>>,
    status: watch::Receiver<Arc<Status>>,
    bfd: watch::Receiver<Arc<bfd::desired::Desired>>,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(links: Links) -> Self {
        let (desired, desired_in) = watch::channel(Arc::default());
        let (links, links_in) = watch::channel(Arc::new(links));
        let (status_out, status) = watch::channel(Arc::default());
        let (bfd_out, bfd) = watch::channel(Arc::default());
        let shutdown = CancellationToken::new();
        let end = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let ((_superseded, superseded), (_sessions, bfd)) = (watch::channel(false), watch::channel(Arc::default()));
            let (diary, _entries) = mpsc::unbounded_channel();
            let inputs = Inputs { desired: desired_in, superseded, links: links_in, bfd };
            let outputs = Outputs { status: status_out, bfd: bfd_out, diary };
            runtime.block_on(task::run(inputs, outputs, None, 1, CancellationToken::new(), end)).unwrap();
        });
        Self { desired, links, status, bfd, shutdown, thread: Some(thread) }
    }

    fn want(&self, peer: Desired) {
        self.desired.send_replace(Arc::new([(PeerKey::from("router"), peer)].into()));
    }

    fn peer(&self) -> PeerStatus {
        self.status.borrow().peers.get("router").cloned().unwrap_or_default()
    }

    fn failure(&self) -> String {
        self.peer().session.last_failure.map(|failure| failure.to_string()).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!failed || std::thread::panicking(), "the task failed");
    }
}

/// A host: routers on itself are told where it is reached.
fn host() -> Links {
    let link = |index, name: &str, role, nets: &[&str]| {
        let addresses = nets.iter().map(|net| net.parse().unwrap()).collect();
        (name.into(), Link { index, name: name.into(), mac: MacAddr::ZERO, up: true, role, medium: Medium::Wired, addresses })
    };
    let lo = link(1, "lo", Role::NoArp, &["127.0.0.1/8", "::1/128"]);
    Links { links: [lo, link(2, "eth0", Role::Own, &["10.77.0.9/24", "fd77::9/64"])].into(), ..Links::default() }
}

fn towards(router: SocketAddr) -> SessionDesired {
    let mut session = parameters();
    (session.transport.remote, session.transport.port) = (router.ip(), router.port());
    session
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    (listener, address)
}

/// The next connection, if one comes in time.
fn accept(listener: &TcpListener, within: Duration) -> Option<TcpStream> {
    for _ in 0..within.as_millis() / 5 {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(SECOND * 20)).unwrap();
                return Some(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(MS * 5),
            Err(error) => panic!("{error}"),
        }
    }
    None
}

fn say(stream: &mut TcpStream, message: &Message) {
    stream.write_all(&message.encode(&Codec::default()).unwrap()).unwrap();
}

/// A session that the router takes.
fn established(listener: &TcpListener) -> TcpStream {
    let mut stream = accept(listener, SECOND * 20).unwrap();
    say(&mut stream, &Message::Open(their_open()));
    say(&mut stream, &Message::Keepalive);
    // OPEN, and KEEPALIVE.
    let mut header = [0; 19];
    for _ in 0..2 {
        stream.read_exact(&mut header).unwrap();
        let rest = usize::from(u16::from_be_bytes([header[16], header[17]])) - header.len();
        stream.read_exact(&mut vec![0; rest]).unwrap();
    }
    stream
}

#[track_caller]
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if is() {
            return;
        }
        std::thread::sleep(MS * 5);
    }
    panic!("{what}: not within 20 s");
}

#[test]
fn a_router_that_hangs_up_while_it_is_told_routes_is_heard_out() {
    let (listener, address) = listen();
    let agent = Agent::start(host());
    agent.want(desired(towards(address)));
    let mut router = established(&listener);
    eventually("the session is up", || agent.peer().session.state == Established);
    agent.want(Desired { routes: many(100_000, &Route::default()), ..desired(towards(address)) });
    // It reads the first octet only: what is left unread when it closes makes the kernel reset the connection.
    router.read_exact(&mut [0]).unwrap();
    say(&mut router, &Message::Notification(Notification::from(Code::MAXIMUM_NUMBER_OF_PREFIXES_REACHED)));
    drop(router);
    eventually("the session is lost", || agent.peer().session.lost == 1);
    assert_eq!(agent.failure(), "the peer sent Cease/Maximum Number of Prefixes Reached");
}

#[test]
fn nobody_is_dialled_before_the_links_are_known() {
    let (listener, address) = listen();
    let agent = Agent::start(Links::default());
    agent.want(desired(towards(address)));
    assert!(accept(&listener, MS * 500).is_none(), "without next hops it would tell End-of-RIB for routes that it left out");
    agent.links.send_replace(Arc::new(host()));
    established(&listener);
}

#[test]
fn bfd_watches_nobody_from_an_address_of_another_peer() {
    let (listener, address) = listen();
    let agent = Agent::start(host());
    let profile = Bfd { desired_min_tx: MS * 300, required_min_rx: MS * 300, detect_mult: 3, passive: false, minimum_ttl: 254 };
    let peer = |session: SessionDesired| Desired { bfd: Some(profile.clone()), ..desired(session) };
    agent.want(peer(towards(address)));
    let _router = established(&listener);
    eventually("BFD watches", || agent.bfd.borrow().sessions.keys().any(|key| key.peer == Ipv4Addr::LOCALHOST));
    // The peer has another address now, of the other family, and nobody answers there.
    let nobody = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port());
    agent.want(peer(towards(nobody)));
    eventually("it is dialled", || agent.peer().remote == Some(nobody) && !agent.failure().is_empty());
    let sessions = agent.bfd.borrow().sessions.clone();
    assert!(sessions.is_empty(), "{sessions:?}");
}
