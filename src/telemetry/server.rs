//! The HTTP server: `/healthz`, `/readyz`, `/metrics`, and `/status` for loopback and unix sockets only.
//!
//! Nobody on the LAN can hold it up: connections are few, short, and headers have a deadline. A taken port is waited for, because
//! the instance before us has it until it ends (rolling update), and is never a reason to stop working.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::health::Health;
use super::metrics::{self, Metrics};

/// Connections at once.
const CONNECTIONS: usize = 64;

/// For the headers of a request, and between two requests.
const HEADERS: Duration = Duration::from_secs(5);

/// For a connection altogether.
const LIFETIME: Duration = Duration::from_secs(60);

/// Between attempts to get a taken port.
const RETRY: Duration = Duration::from_millis(500);

/// What is served.
#[derive(Clone)]
pub struct Site {
    /// `/healthz` and `/readyz`.
    pub health: Health,
    /// `/metrics`.
    pub metrics: Metrics,
    /// `/status`: the text of a JSON object.
    pub status: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// A process of this host.
    Local,
    /// Anybody else.
    Remote,
}

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
            Self::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            Self::Unix(path) => replace(path).map(Listener::Unix),
        }
    }
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
                Ok((Box::new(stream), if peer.ip().to_canonical().is_loopback() { Peer::Local } else { Peer::Remote }))
            }
            Self::Unix(listener) => Ok((Box::new(listener.accept().await?.0), Peer::Local)),
        }
    }
}

async fn serve(listener: &Listener, site: &Site) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    // Connections end with the server.
    let mut connections = JoinSet::new();
    loop {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let site = site.clone();
                connections.spawn(async move {
                    // A client that goes away is no event.
                    let _ = tokio::time::timeout(LIFETIME, connection(stream, peer, &site)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn connection(stream: Box<dyn Stream>, peer: Peer, site: &Site) -> hyper::Result<()> {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, peer, site))));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, peer: Peer, site: &Site) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" | "/livez" => verdict(site.health.live()),
        "/readyz" => verdict(site.health.ready()),
        "/metrics" => with_type(text(StatusCode::OK, site.metrics.text()), metrics::CONTENT_TYPE),
        "/status" if peer == Peer::Local => with_type(text(StatusCode::OK, (site.status)()), "application/json"),
        "/status" => text(StatusCode::FORBIDDEN, "only from this host\n".to_owned()),
        _ => text(StatusCode::NOT_FOUND, "here are /healthz /readyz /metrics /status\n".to_owned()),
    }
}

fn verdict(health: Result<(), String>) -> Response<Full<Bytes>> {
    match health {
        Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    with_type(response, "text/plain; charset=utf-8")
}

fn with_type(mut response: Response<Full<Bytes>>, type_: &'static str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(type_));
    response
}
