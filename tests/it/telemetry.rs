//! Health, metrics and status over real sockets on loopback and a unix socket in a directory of the test's own.

use std::net::SocketAddr;
use std::path::Path;

use std::time::Duration;

use lanlord::telemetry::guard::Audience;
use lanlord::telemetry::health::{Health, Probe, ProbeError, ask};
use lanlord::telemetry::live::{Live, State};
use lanlord::telemetry::metrics::Figures;
use lanlord::telemetry::paced::Paced;
use lanlord::telemetry::server::{self, Address, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

fn site() -> Site {
    let (metrics, status) = (Paced::new(|| Figures::default().text()), Paced::new(|| "{\"leader\":\"pi1\"}".to_owned()));
    Site { health: Health::new(), metrics, status, live: Live::new(State::default), audience: Audience::ThisHost }
}

/// The answer, or `None` while nobody listens.
async fn get(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().ok()?;
    Some(answer)
}

async fn patiently_get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let answered = async {
        loop {
            match get(address, &request).await {
                Some(answer) if !answer.is_empty() => return answer,
                Some(_) | None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap()
}

#[tokio::test]
async fn a_taken_port_is_waited_for_and_then_serves_everything() {
    let predecessor = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = predecessor.local_addr().unwrap();
    let site = site();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(server::run(Address::Tcp(address), site.clone(), shutdown.clone()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!running.is_finished(), "a taken port does not end the process");
    drop(predecessor);

    assert!(patiently_get(address, "/healthz").await.ends_with("\r\n\r\nok\n"));
    let part = site.health.part("configuration");
    let answer = patiently_get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.0 503") && answer.ends_with("configuration is not ready\n"), "{answer}");
    part.set(true);
    assert!(patiently_get(address, "/readyz").await.starts_with("HTTP/1.0 200"));
    let answer = patiently_get(address, "/metrics").await;
    assert!(answer.contains("application/openmetrics-text") && answer.ends_with("# EOF\n"), "{answer}");
    assert!(patiently_get(address, "/status").await.ends_with("{\"leader\":\"pi1\"}"));
    assert!(patiently_get(address, "/elsewhere").await.starts_with("HTTP/1.0 404"));
    assert!(get(address, "POST /status HTTP/1.0\r\n\r\n").await.unwrap().starts_with("HTTP/1.0 405"));
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    assert_eq!(get(address, "GET / HTTP/1.0\r\n\r\n").await, None, "stopped");
}

#[tokio::test]
async fn connections_that_say_nothing_do_not_keep_others_out_for_long() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let site = site();
    let shutdown = CancellationToken::new();
    tokio::spawn(server::run(Address::Tcp(free), site, shutdown.clone()));
    patiently_get(free, "/healthz").await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(free).await.unwrap());
    }
    assert!(patiently_get(free, "/healthz").await.contains("200 OK"));
    drop(silent);
    shutdown.cancel();
}

async fn probe(socket: &Path, probe: Probe) -> Result<(), ProbeError> {
    let socket = socket.to_owned();
    tokio::task::spawn_blocking(move || ask(&socket, probe, PATIENCE)).await.unwrap()
}

#[tokio::test]
async fn probes_ask_the_instance_that_came_last_at_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("health.sock");
    assert!(matches!(probe(&socket, Probe::Live).await, Err(ProbeError::Silent { .. })));

    let old = site();
    let old_end = CancellationToken::new();
    let old_running = tokio::spawn(server::run(Address::Unix(socket.clone()), old.clone(), old_end.clone()));
    let answered = async {
        while probe(&socket, Probe::Live).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
    old_end.cancel();
    old_running.await.unwrap().unwrap();
    assert!(socket.exists(), "a stale socket stays behind, as after a crash");

    let new = site();
    let part = new.health.part("sockets");
    let stuck = new.health.heartbeat("l2", Duration::ZERO);
    tokio::spawn(server::run(Address::Unix(socket.clone()), new, CancellationToken::new()));
    let told = async {
        loop {
            match probe(&socket, Probe::Ready).await {
                Err(ProbeError::Unhealthy(text)) => return text,
                Ok(()) | Err(ProbeError::Silent { .. }) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, told).await.unwrap(), "sockets is not ready");
    part.set(true);
    assert!(probe(&socket, Probe::Ready).await.is_ok());
    assert!(matches!(probe(&socket, Probe::Live).await, Err(ProbeError::Unhealthy(text)) if text.contains("l2 is stuck")));
    drop(stuck);
    assert!(probe(&socket, Probe::Live).await.is_ok());
}
