//! What the lab tests stand on: namespaces, a LAN, the real tasks of layer 2, BFD and BGP inside a namespace, a prober, other people's
//! routers, and waiting for conditions.

mod agent;
mod bfd;
mod bgp;
mod namespace;
mod prober;
mod routers;

use std::time::{Duration, Instant};

pub(crate) use agent::{Agent, wanted};
pub(crate) use bfd::BfdAgent;
pub(crate) use bgp::BgpAgent;
pub(crate) use namespace::{Lan, Namespace, mac_of};
pub(crate) use prober::{Prober, SILENCE};
pub(crate) use routers::{Bird, Frr, GoBgp};

/// The clock of the tests themselves.
#[expect(clippy::disallowed_methods, reason = "tests measure real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until `condition` holds; fails after 10 s.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(Duration::from_secs(10), what, condition);
}

/// Waits until `condition` holds; fails after `limit`. Returns how long it took.
#[track_caller]
pub(crate) fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}
