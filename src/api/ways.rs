//! The ways to the API server, and the client over the one in use.
//!
//! A client keeps its connections. After an outage they may lead nowhere (no packet ever told that the other end is gone), so
//! whoever finds the server again does it with a fresh client, and that one replaces the old one for everybody.
//!
//! On k3s each node has a balancer at 127.0.0.1:6444 that knows which servers live, while the Service `kubernetes` leads to dead
//! ones for many seconds. In a pod it is tried beside the Service; TLS proves that it leads to our API server.

use anyhow::Context;
use hyper::Uri;
use hyper::header::{HeaderValue, USER_AGENT};
use tokio::sync::{Notify, watch};

use super::REQUEST_TIMEOUT;

const BALANCER: &str = "https://127.0.0.1:6444/";

/// A client and the way it goes.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) client: kube::Client,
    config: kube::Config,
}

impl Route {
    /// A client without connections.
    fn fresh(config: &kube::Config) -> Result<Self, kube::Error> {
        Ok(Self { client: kube::Client::try_from(config.clone())?, config: config.clone() })
    }
}

/// All ways, the best one first, and the route that is in use.
pub(super) struct Ways {
    configs: Vec<kube::Config>,
    route: watch::Sender<Route>,
    doubt: Notify,
}

impl Ways {
    /// Finds the API server in kube's usual order: `KUBECONFIG` or `~/.kube/config`, else the pod's service account.
    pub(super) async fn discover() -> anyhow::Result<Self> {
        let config = kube::Config::infer()
            .await
            .context("no way to the Kubernetes API: set KUBECONFIG to a kubeconfig file, or run in a pod with a service account")?;
        let balancer = balancer(&config);
        let mut ways: Vec<kube::Config> = balancer.into_iter().chain([config]).collect();
        // Where nothing listens, the way in use at the start is the ordinary one.
        if ways.len() > 1 && tokio::net::TcpStream::connect(("127.0.0.1", 6444)).await.is_err() {
            ways.reverse();
        }
        Self::new(ways)
    }

    /// With these ways, of which there is at least one.
    pub(super) fn new(mut configs: Vec<kube::Config>) -> anyhow::Result<Self> {
        let agent = format!("lanlord/{}", env!("CARGO_PKG_VERSION"));
        for config in &mut configs {
            config.default_retry = false;
            config.connect_timeout = Some(REQUEST_TIMEOUT);
            config.headers.push((USER_AGENT, HeaderValue::from_str(&agent).context("user agent")?));
        }
        let first = configs.first().context("no way to the Kubernetes API")?;
        let route = Route::fresh(first).context("the Kubernetes client could not be set up")?;
        Ok(Self { configs, route: watch::Sender::new(route), doubt: Notify::new() })
    }

    /// The client in use.
    pub(super) fn client(&self) -> kube::Client {
        self.route.borrow().client.clone()
    }

    /// Tells each time when another client comes into use.
    pub(super) fn follow(&self) -> watch::Receiver<Route> {
        self.route.subscribe()
    }

    /// A client of one's own over the way in use: no other request is in front of it, no old connection is tried.
    pub(super) fn own(&self) -> Result<kube::Client, kube::Error> {
        let config = self.route.borrow().config.clone();
        kube::Client::try_from(config)
    }

    /// Clients without connections, over all ways.
    pub(super) fn fresh(&self) -> impl Iterator<Item = Result<Route, kube::Error>> {
        self.configs.iter().map(Route::fresh)
    }

    /// From now on all requests take this one; watches begin anew.
    pub(super) fn adopt(&self, route: Route) {
        self.route.send_replace(route);
    }

    /// Somebody wants to know whether the API server answers.
    pub(super) fn poke(&self) {
        self.doubt.notify_one();
    }

    /// Waits until [`Ways::poke`] is called, or was since the last time.
    pub(super) async fn poked(&self) {
        self.doubt.notified().await;
    }
}

/// Only in a pod: a kubeconfig says which server is meant.
fn balancer(config: &kube::Config) -> Option<kube::Config> {
    config.root_cert_file.as_ref()?;
    let name = config.cluster_url.host()?.trim_matches(['[', ']']).to_owned();
    let mut balancer = config.clone();
    balancer.cluster_url = Uri::from_static(BALANCER);
    balancer.tls_server_name = Some(name);
    balancer.proxy_url = None;
    Some(balancer)
}
