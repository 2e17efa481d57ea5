//! The HTTP server: `/healthz`, `/readyz`, `/metrics`; and the page, `/status` and `/events` for those who may see them.
//!
//! Nobody on the LAN can hold it up: connections are few from each address, short, headers have a deadline, and no answer is computed
//! more often than the agent has time for. A taken port is waited for, because the instance before us has it until it ends (rolling
//! update), and is never a reason to stop working.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::X_CONTENT_TYPE_OPTIONS;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::errno::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::guard::{Audience, Peer, refusal, refusal_of_metrics};
use super::health::Health;
use super::live::{Live, WATCHERS};
use super::metrics;
use super::paced::Paced;
use super::page::PAGE;
use super::seats::Seats;

/// For the headers of a request, and between two requests.
const HEADERS: Duration = Duration::from_secs(5);

/// For a connection altogether; one over which events flow has as long after each.
const LIFETIME: Duration = Duration::from_secs(60);

/// Between attempts to get a taken port.
const RETRY: Duration = Duration::from_millis(500);

/// What is served.
#[derive(Clone)]
pub struct Site {
    /// `/healthz` and `/readyz`.
    pub health: Health,
    /// `/metrics`.
    pub metrics: Paced,
    /// `/status`: the text of a JSON object.
    pub status: Paced,
    /// `/events`.
    pub live: Live,
    /// Who may see the last two, and the page.
    pub audience: Audience,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Serves `site` at `address` until `shutdown`.
pub async fn run(address: Address, site: Site, shutdown: CancellationToken) -> anyhow::Result<()> {
    let serving = async {
        let listener = address.bind_patiently().await;
        serve(&listener, &site).await;
    };
    shutdown.run_until_cancelled(serving).await;
    Ok(())
}

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A unix socket. One that is there is replaced: it is our predecessor's.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Address {
    /// Binds as soon as that is possible; says so once if it has to wait.
    async fn bind_patiently(&self) -> Listener {
        let mut waiting = false;
        loop {
            match self.bind().await {
                Ok(listener) => {
                    tracing::info!(address = %self, "health and metrics served");
                    return listener;
                }
                Err(error) if !waiting => tracing::warn!(address = %self, %error, "health and metrics not served yet, trying on"),
                Err(_) => {}
            }
            waiting = true;
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn bind(&self) -> io::Result<Listener> {
        match self {
            Self::Tcp(address) => match TcpListener::bind(address).await {
                Err(error) if let Some(other) = without_ipv6(*address, &error) => TcpListener::bind(other).await.map(Listener::Tcp),
                bound => bound.map(Listener::Tcp),
            },
            Self::Unix(path) => replace(path).map(Listener::Unix),
        }
    }
}

/// What to listen at instead on a host that has no IPv6 at all (`ipv6.disable=1`), where `[::]` stands for every address.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let unsupported = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL].iter().any(|errno| error.raw_os_error() == Some(*errno as i32));
    (unsupported && address.is_ipv6() && address.ip().is_unspecified()).then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

/// Binds beside `path` and renames: at every moment a probe finds one of the two instances.
fn replace(path: &Path) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    if let Err(error) = std::fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(&beside)?;
    std::fs::rename(&beside, path)?;
    Ok(listener)
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let ip = peer.ip().to_canonical();
                Ok((Box::new(stream), if ip.is_loopback() { Peer::Loopback } else { Peer::Remote(ip) }))
            }
            Self::Unix(listener) => Ok((Box::new(listener.accept().await?.0), Peer::Socket)),
        }
    }
}

async fn serve(listener: &Listener, site: &Site) {
    let seats = Seats::default();
    // Connections end with the server.
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                // Who has enough is hung up on.
                let Some(seat) = seats.take(peer) else { continue };
                let site = site.clone();
                connections.spawn(async move {
                    connection(stream, peer, &site).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn connection(stream: Box<dyn Stream>, peer: Peer, site: &Site) {
    let (pulse, mut pulses) = watch::channel(());
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, peer, site, &pulse))));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // Nobody who stopped reading keeps a seat: what is not taken has no successor, and the pulse ceases.
    let silence = async { while tokio::time::timeout(LIFETIME, pulses.changed()).await.is_ok() {} };
    tokio::select! {
        // A client that goes away is no event.
        _ = serving => {}
        () = silence => {}
    }
}

fn answer(request: &Request<Incoming>, peer: Peer, site: &Site, pulse: &watch::Sender<()>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let refused = || refusal(site.audience, peer, request.headers());
    match request.uri().path() {
        "/healthz" | "/livez" => verdict(site.health.live()),
        "/readyz" => verdict(site.health.ready()),
        "/metrics" => match refusal_of_metrics(request.headers()) {
            Some(why) => text(StatusCode::FORBIDDEN, why),
            None => with_type(text(StatusCode::OK, site.metrics.text()), metrics::CONTENT_TYPE),
        },
        "/" | "/status" | "/events" => match (refused(), request.uri().path()) {
            (Some(why), _) => text(StatusCode::FORBIDDEN, why),
            (None, "/") => page(),
            (None, "/status") => with_type(text(StatusCode::OK, site.status.text()), "application/json"),
            (None, _) => events(&site.live, pulse),
        },
        _ => text(StatusCode::NOT_FOUND, "here are / /status /events /healthz /readyz /metrics\n"),
    }
}

fn page() -> Answer {
    let (html, policy) = &*PAGE;
    let mut response = with_type(text(StatusCode::OK, html.clone()), "text/html; charset=utf-8");
    let policy = HeaderValue::from_str(policy).expect("a policy is plain ASCII");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn events(live: &Live, pulse: &watch::Sender<()>) -> Answer {
    let Some(events) = live.watch(pulse.clone()) else {
        let mut response = text(StatusCode::SERVICE_UNAVAILABLE, format!("{WATCHERS} are watching already; close one of them\n"));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    };
    with_type(answered(StatusCode::OK, StreamBody::new(events).boxed_unsync()), "text/event-stream")
}

fn verdict(health: Result<(), String>) -> Answer {
    match health {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(answered(status, Full::new(body.into()).boxed_unsync()), "text/plain; charset=utf-8")
}

/// What every answer has: it is of this moment, of this type and nobody else's.
fn answered(status: StatusCode, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

fn with_type(mut response: Answer, type_: &'static str) -> Answer {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(type_));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_ipv6_is_listened_at_over_ipv4() {
        let error = io::Error::from_raw_os_error(Errno::EAFNOSUPPORT as i32);
        let other = |address: &str| without_ipv6(address.parse().unwrap(), &error).map(|other| other.to_string());
        assert_eq!(other("[::]:7475").as_deref(), Some("0.0.0.0:7475"));
        assert_eq!((other("[fd00::1]:7475"), other("0.0.0.0:7475")), (None, None));
        assert_eq!(without_ipv6("[::]:7475".parse().unwrap(), &io::Error::from_raw_os_error(Errno::EADDRINUSE as i32)), None);
    }
}
