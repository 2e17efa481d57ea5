//! Notices that the API server does not answer, and that it answers again: TCP alone would hide a stalled or vanished server for
//! minutes.
//!
//! A small GET every 2 s (a read; nothing is written), or at once when somebody asks for it. Any answer below 500 means the server
//! is there: whoever is refused has reached it. When the connections in use are silent, fresh ones are tried; if only those are
//! answered, a balancer on the way holds us to a server that is gone, and all requests move over.

use std::pin::pin;
use std::time::Duration;

use futures::future::select_ok;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hyper::Request;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::state::{ApiState, Contact};
use super::ways::Route;
use super::{Api, WriteError, chain};

/// With [`DEADLINE`] it bounds how long a stall goes unnoticed: 4 s.
const PERIOD: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(2);

/// The same for the first answer: whoever starts while the server is stalled must not wait long before it does without.
const FIRST_DEADLINE: Duration = Duration::from_secs(1);

/// So long the connections in use may be silent before fresh ones are tried beside them.
const HEDGE: Duration = Duration::from_millis(500);

/// How often a lost server is looked for. Each attempt has its own [`DEADLINE`], so some are under way at a time.
const PERIOD_LOST: Duration = Duration::from_millis(500);

/// Whoever pokes does not make us ask more often than this.
const GAP: Duration = Duration::from_millis(100);

/// Runs until dropped.
pub(super) async fn run(api: &Api, state: &watch::Sender<ApiState>) {
    let mut limit = FIRST_DEADLINE;
    loop {
        match beat(api, limit).await {
            Ok(over) => {
                over.into_iter().for_each(|route| api.ways.adopt(route));
                reached(state);
            }
            Err(error) => {
                lost(state, &error);
                let route = find(api).await;
                api.ways.adopt(route);
                reached(state);
            }
        }
        limit = DEADLINE;
        sleep(GAP).await;
        tokio::select! {
            () = sleep(PERIOD - GAP) => {}
            () = api.ways.poked() => {}
        }
    }
}

/// Whether the server answers; the route if it answers over fresh connections only.
async fn beat(api: &Api, limit: Duration) -> Result<Option<Route>, String> {
    loop {
        let begun = Instant::now();
        let answer = beat_once(api, limit).await;
        // When it was this process that was late, the answer may be waiting.
        if answer.is_ok() || begun.elapsed() < limit + HEDGE {
            return answer;
        }
    }
}

async fn beat_once(api: &Api, limit: Duration) -> Result<Option<Route>, String> {
    let mut used = pin!(timeout(limit, ask(api.client())));
    let mut fresh = pin!(async {
        sleep(HEDGE).await;
        attempt(api, limit - HEDGE).await
    });
    tokio::select! {
        answer = &mut used => match answer {
            Ok(Ok(())) => Ok(None),
            Ok(Err(_)) => attempt(api, limit).await.map(Some),
            Err(_) => fresh.await.map(Some),
        },
        // A server that is slow, but answers, is no reason for all watches to begin anew.
        found = &mut fresh => match used.await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(_)) | Err(_) => found.map(Some),
        },
    }
}

/// The route on which the server answers again.
async fn find(api: &Api) -> Route {
    let mut attempts = FuturesUnordered::new();
    loop {
        attempts.push(attempt(api, DEADLINE));
        let next = Instant::now() + PERIOD_LOST;
        loop {
            tokio::select! {
                Some(found) = attempts.next() => if let Ok(route) = found { return route },
                () = sleep_until(next) => break,
                () = async { sleep(GAP).await; api.ways.poked().await } => break,
            }
        }
    }
}

/// Asks over fresh connections, all ways at once.
async fn attempt(api: &Api, limit: Duration) -> Result<Route, String> {
    let asked = api.ways.fresh().map(|route| {
        async move {
            let route = route.map_err(|error| chain(&error))?;
            ask(route.client.clone()).await.map(|()| route)
        }
        .boxed()
    });
    match timeout(limit, select_ok(asked)).await {
        Ok(found) => found.map(|(route, _)| route),
        Err(_) => Err(WriteError::Timeout.to_string()),
    }
}

async fn ask(client: kube::Client) -> Result<(), String> {
    // /livez and not /readyz: a server that shuts down in good order still serves.
    let request = Request::get("/livez").body(Vec::new()).expect("a constant request is well-formed");
    match client.request_text(request).await.map_err(WriteError::from) {
        Err(error) if error.is_outage() => Err(error.to_string()),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn reached(state: &watch::Sender<ApiState>) {
    state.send_if_modified(|state| {
        let changed = !matches!(state.contact, Contact::Reachable { .. });
        if changed {
            tracing::info!("API server reachable");
            state.contact = Contact::Reachable { since: Timestamp::now() };
        }
        changed
    });
}

fn lost(state: &watch::Sender<ApiState>, error: &str) {
    tracing::warn!(error, "API server unreachable: what is announced stays, nothing new is assigned");
    state.send_modify(|state| state.contact = Contact::Unreachable { since: Timestamp::now(), error: error.to_owned() });
}
