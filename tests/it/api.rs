//! The way to the API server in its bad moments. The server is a small one of our own that answers, stalls or dies on command.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lanlord::api::{Api, WriteError};
use lanlord::facts::Member;
use lanlord::net::clock;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What the server was asked: method, path, body.
type Asked = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// A server that has one answer for each path.
struct Server {
    address: SocketAddr,
    asked: Asked,
    stalled: watch::Sender<bool>,
    answers: Arc<BTreeMap<&'static str, (u16, Value)>>,
    life: Option<AbortHandle>,
}

impl Server {
    async fn start(answers: BTreeMap<&'static str, (u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server =
            Self { address, asked: Arc::default(), stalled: watch::Sender::new(false), answers: Arc::new(answers), life: None };
        server.live(listener);
        server
    }

    fn live(&mut self, listener: TcpListener) {
        let (asked, stalled, answers) = (self.asked.clone(), self.stalled.subscribe(), self.answers.clone());
        let accept = async move {
            // Dropped with the server: killing it closes its connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, asked.clone(), stalled.clone(), answers.clone()));
            }
        };
        self.life = Some(tokio::spawn(accept).abort_handle());
    }

    /// As SIGSTOP does: connections are accepted, nothing is answered.
    fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    fn config(&self) -> kube::Config {
        kube::Config::new(format!("http://{}", self.address).parse().unwrap())
    }

    fn api(&self) -> Api {
        Api::new(vec![self.config()], "lanlord").unwrap()
    }

    fn asked(&self, method: &Method) -> Vec<(String, Value)> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(of, ..)| of == method).map(|(_, path, body)| (path.clone(), body.clone())).collect()
    }
}

async fn serve(stream: TcpStream, asked: Asked, stalled: watch::Receiver<bool>, answers: Arc<BTreeMap<&'static str, (u16, Value)>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (asked, mut stalled, answers) = (asked.clone(), stalled.clone(), answers.clone());
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            asked.lock().unwrap().push((method, path.clone(), serde_json::from_slice(&body).unwrap_or_default()));
            stalled.wait_for(|stalled| !stalled).await.unwrap();
            let absent = (404, json!({"kind": "Status", "code": 404, "reason": "NotFound", "status": "Failure", "message": "none"}));
            let (status, body) = answers.get(path.as_str()).unwrap_or(&absent);
            let answer = Response::builder().status(StatusCode::from_u16(*status).unwrap());
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body.to_string()))).unwrap())
        }
    });
    // A client that goes away in the middle is none of the server's trouble.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/lanlord/leases/node.pi1";

fn lease(holder: Option<&str>, suspect: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "node.pi1", "namespace": "lanlord", "resourceVersion": "8", "annotations": {"lanlord.dev/suspect": suspect}},
        "spec": {"holderIdentity": holder, "leaseTransitions": 3},
    })
}

fn member() -> Member {
    Member { node: "pi1".into(), instance: Some("6f2a".to_owned()), generation: 3, resource_version: "7".to_owned(), ..Member::default() }
}

#[tokio::test]
async fn an_eviction_names_only_what_it_changes_and_the_version_it_saw() {
    let server = Server::start([(LEASE, (200, lease(Some("pi1/6f2a"), "pi2/91c0")))].into()).await;
    let suspected = server.api().suspect(&member(), "pi2/91c0").await.unwrap();
    assert_eq!(suspected.suspect.as_deref(), Some("pi2/91c0"));
    assert_eq!((suspected.resource_version.as_str(), suspected.generation), ("8", 3));
    server.api().clear(&suspected).await.unwrap();
    let suspect = json!({"metadata": {"resourceVersion": "7", "annotations": {"lanlord.dev/suspect": "pi2/91c0"}}});
    let clear = json!({
        "metadata": {"resourceVersion": "8", "annotations": {"lanlord.dev/suspect": null}},
        "spec": {"holderIdentity": null, "acquireTime": null},
    });
    assert_eq!(server.asked(&Method::PATCH), [(LEASE.to_owned(), suspect), (LEASE.to_owned(), clear)]);
}

#[tokio::test]
async fn an_eviction_is_not_retried_and_has_half_a_second_also_while_another_request_hangs() {
    let server = Server::start([(LEASE, (200, lease(None, "")))].into()).await;
    server.stall(true);
    let api = server.api();
    let hanging = tokio::spawn({
        let api = api.clone();
        async move { api.write_member(&member(), &Default::default()).await }
    });
    let begun = clock::now();
    assert_eq!(api.suspect(&member(), "pi2/91c0").await, Err(WriteError::Timeout));
    let took = clock::now().since(begun);
    assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(1500), "{took:?}");
    server.stall(false);
    assert_eq!(server.asked(&Method::PATCH).len(), 1);
    assert_eq!(api.clear(&member()).await.unwrap().instance, None);
    drop(hanging.await);
}
