//! Notices that the API server does not answer: TCP alone would hide a stalled or vanished server for minutes.
//!
//! A small GET every 3 s (a read; nothing is written), with a deadline. Any answer below 500 means the server is there: whoever is
//! refused has reached it.

use std::time::Duration;

use hyper::Request;
use jiff::Timestamp;
use tokio::sync::watch;

use super::watch::{ApiState, Contact};
use super::{Api, WriteError, bounded};

const PERIOD: Duration = Duration::from_secs(3);

/// While the server does not answer it is asked more often, and with a connection made anew each time.
const PERIOD_UNREACHABLE: Duration = Duration::from_secs(1);

const DEADLINE: Duration = Duration::from_secs(3);

/// Runs until dropped.
pub(super) async fn run(api: &Api, state: &watch::Sender<ApiState>) {
    loop {
        let answer = beat(api).await;
        state.send_if_modified(|state| note(&mut state.contact, &answer));
        tokio::time::sleep(if answer.is_ok() { PERIOD } else { PERIOD_UNREACHABLE }).await;
    }
}

async fn beat(api: &Api) -> Result<(), String> {
    // /livez and not /readyz: a server that shuts down in good order still serves.
    let request = Request::get("/livez").body(Vec::new()).expect("a constant request is well-formed");
    match bounded(DEADLINE, api.client().request_text(request)).await {
        Ok(_) | Err(WriteError::Forbidden(_) | WriteError::NotFound | WriteError::Invalid(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether `contact` changed; said once each way.
fn note(contact: &mut Contact, answer: &Result<(), String>) -> bool {
    match (answer, &*contact) {
        (Ok(()), Contact::Reachable { .. }) | (Err(_), Contact::Unreachable { .. }) => return false,
        (Ok(()), Contact::Unknown | Contact::Unreachable { .. }) => {
            tracing::info!("API server reachable");
            *contact = Contact::Reachable { since: Timestamp::now() };
        }
        (Err(error), Contact::Unknown | Contact::Reachable { .. }) => {
            tracing::warn!(%error, "API server unreachable: what is announced stays, nothing new is assigned");
            *contact = Contact::Unreachable { since: Timestamp::now(), error: error.clone() };
        }
    }
    true
}
