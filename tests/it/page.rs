//! The status page over real sockets on loopback: what comes with it, who gets it, and the events that keep it up to date.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lanlord::telemetry::guard::Audience;
use lanlord::telemetry::health::Health;
use lanlord::telemetry::live::{Live, State, WATCHERS};
use lanlord::telemetry::metrics::Figures;
use lanlord::telemetry::paced::Paced;
use lanlord::telemetry::page::PAGE;
use lanlord::telemetry::server::{self, Address, Site};
use ring::digest::{SHA256, digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

/// An agent whose status is a number that the test sets, and how often it was computed.
struct Agent {
    address: SocketAddr,
    number: Arc<AtomicU64>,
    computed: Arc<AtomicU64>,
    shutdown: CancellationToken,
}

impl Agent {
    async fn start() -> Agent {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (number, computed, shutdown) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let (shown, count) = (number.clone(), computed.clone());
        let live = Live::new(move || {
            let digest = shown.load(Ordering::Relaxed);
            State { text: format!("{{\"number\":{digest},\"at\":{}}}", count.fetch_add(1, Ordering::Relaxed)), digest }
        });
        let (metrics, status) = (Paced::new(|| Figures::default().text()), Paced::new(|| "{}".to_owned()));
        let site = Site { health: Health::new(), metrics, status, live, audience: Audience::ThisHost };
        tokio::spawn(server::run(Address::Tcp(address), site, shutdown.clone()));
        let up = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.unwrap();
        Agent { address, number, computed, shutdown }
    }

    async fn ask(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer.
    async fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = self.ask(&format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n")).await;
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    async fn watch(&self) -> Watch {
        Watch { stream: self.ask("GET /events HTTP/1.0\r\n\r\n").await, read: String::new() }
    }
}

struct Watch {
    stream: TcpStream,
    read: String,
}

impl Watch {
    /// Reads until it ends with an empty line, and returns what came before that.
    async fn block(&mut self) -> String {
        let reading = async {
            loop {
                let ends = [self.read.find("\n\n"), self.read.find("\r\n\r\n").map(|at| at + 2)];
                if let Some(end) = ends.into_iter().flatten().min() {
                    let rest = self.read.split_off(end + 2);
                    return std::mem::replace(&mut self.read, rest);
                }
                let mut buffer = [0; 4096];
                let count = self.stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "it ended after {:?}", self.read);
                self.read.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap()
    }

    async fn is_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        // A connection that is torn down ends, too.
        let _ = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.unwrap();
        true
    }
}

/// What stands between two marks.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    text.split_once(begin).unwrap().1.split_once(end).unwrap().0
}

#[tokio::test]
async fn the_page_is_one_small_file_whose_policy_lets_nothing_else_in() {
    let agent = Agent::start().await;
    let answer = agent.get("/", "Host: localhost:7475\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for header in [
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert_eq!(body.as_bytes(), &PAGE.0[..]);
    assert!(body.len() < 40_000, "{} bytes", body.len());
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert!(policy.contains("require-trusted-types-for 'script'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
        let content = between(body, &format!("<{element}>"), &format!("</{element}>"));
        let hash = STANDARD.encode(digest(&SHA256, content.as_bytes()));
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "the browser runs this very {element}");
    }
    assert_eq!(body.matches("<script").count() + body.matches("<style").count(), 2);
    let strange =
        ["http://", "https://", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " onclick", " style="];
    let namespaces = body.replace("http://www.w3.org/2000/svg", "");
    assert!(strange.iter().all(|word| !namespaces.contains(word)), "nothing from elsewhere, no text that becomes markup");
    agent.shutdown.cancel();
}

#[tokio::test]
async fn another_name_for_this_host_and_other_sites_are_refused() {
    let agent = Agent::start().await;
    for path in ["/", "/status", "/events"] {
        let rebound = agent.get(path, "Host: rebound.example:7475\r\n").await;
        assert!(rebound.starts_with("HTTP/1.1 403") && rebound.contains("use localhost"), "{path}: {rebound}");
    }
    let embedded = agent.get("/events", "Host: localhost:7475\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n").await;
    assert!(embedded.starts_with("HTTP/1.1 403"), "{embedded}");
    assert!(agent.get("/status", "Host: 127.0.0.1:7475\r\n").await.starts_with("HTTP/1.1 200"));
    assert!(agent.get("/metrics", "Host: node.example:7475\r\n").await.starts_with("HTTP/1.1 200"), "metrics go by any name");
    agent.shutdown.cancel();
}

#[tokio::test]
async fn events_are_whole_states_and_come_when_something_changed_at_most_twice_a_second() {
    let agent = Agent::start().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(agent.computed.load(Ordering::Relaxed), 0, "nobody looks, nothing is computed");
    let (mut first, mut second) = (agent.watch().await, agent.watch().await);
    let head = first.block().await;
    assert!(
        head.starts_with("HTTP/1.0 200") && head.contains("content-type: text/event-stream") && head.contains("cache-control: no-store"),
        "{head}"
    );
    second.block().await;
    assert_eq!(first.block().await, "id: 1\nretry: 1000\nevent: state\ndata: {\"number\":1,\"at\":0}\n\n");
    assert_eq!(
        second.block().await,
        "id: 1\nretry: 1000\nevent: state\ndata: {\"number\":1,\"at\":0}\n\n",
        "both see what was computed once"
    );

    let begun = tokio::time::Instant::now();
    for number in 2..=40 {
        agent.number.store(number, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|event: &String| event.contains("\"number\":40,")) {
        seen.push(first.block().await);
    }
    let computed = agent.computed.load(Ordering::Relaxed);
    assert!(u128::from(computed) <= begun.elapsed().as_millis() / 500 + 2, "{computed} times in {:?}", begun.elapsed());
    assert!(seen.len() < 10, "39 changes are coalesced: {seen:?}");
    // Figures alone: computed again, told to nobody.
    let again = async {
        while agent.computed.load(Ordering::Relaxed) <= computed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it is computed again while somebody looks");
    let silent = tokio::time::timeout(Duration::from_millis(700), first.block()).await;
    assert!(silent.is_err(), "{silent:?}");
    drop((first, second));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let left = agent.computed.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(agent.computed.load(Ordering::Relaxed), left, "nobody looks any more");
    agent.shutdown.cancel();
}

#[tokio::test]
async fn watchers_are_few_leave_room_for_others_and_end_with_the_agent() {
    let agent = Agent::start().await;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut watch = agent.watch().await;
        watch.block().await;
        watch.block().await;
        watchers.push(watch);
    }
    let refused = agent.get("/events", "Host: localhost\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("watching already"), "{refused}");
    assert!(agent.get("/healthz", "Host: localhost\r\n").await.starts_with("HTTP/1.1 200"));
    drop(watchers.pop());
    let seat = async {
        while !agent.watch().await.block().await.starts_with("HTTP/1.0 200") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seat).await.expect("a seat that is left is free again");
    agent.shutdown.cancel();
    for mut watch in watchers {
        assert!(watch.is_ended().await);
    }
}
