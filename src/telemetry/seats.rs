//! Who is connected. From each address of the LAN, and from all of them together, so few that there is room for others and for this host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::guard::Peer;

/// Connections from one address of the LAN: a browser with the page open twice, and Prometheus on the same host.
const EACH: usize = 16;
/// From the LAN altogether.
const REMOTE: usize = 48;
/// From this host.
const LOCAL: usize = 48;

/// The seats of one listener.
#[derive(Default)]
pub(super) struct Seats(Arc<Mutex<BTreeMap<Option<IpAddr>, usize>>>);

/// One that is taken; free again when dropped.
pub(super) struct Seat {
    taken: Arc<Mutex<BTreeMap<Option<IpAddr>, usize>>>,
    of: Option<IpAddr>,
}

impl Seats {
    /// A seat for `peer`; `None`: it has enough, or all of its kind together.
    pub(super) fn take(&self, peer: Peer) -> Option<Seat> {
        let of = if let Peer::Remote(ip) = peer { Some(ip) } else { None };
        let mut taken = lock(&self.0);
        let own = taken.get(&of).copied().unwrap_or(0);
        let remote: usize = taken.iter().filter(|(of, _)| of.is_some()).map(|(_, count)| count).sum();
        let free = if of.is_some() { own < EACH && remote < REMOTE } else { own < LOCAL };
        free.then(|| {
            taken.insert(of, own + 1);
            Seat { taken: self.0.clone(), of }
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
        }
        taken.retain(|_, count| *count > 0);
    }
}

fn lock(taken: &Mutex<BTreeMap<Option<IpAddr>, usize>>) -> MutexGuard<'_, BTreeMap<Option<IpAddr>, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_seats_nor_the_lan_those_of_this_host() {
        let seats = Seats::default();
        let of = |last: u8| seats.take(Peer::Remote(IpAddr::from([192, 168, 1, last])));
        let mut first: Vec<Seat> = std::iter::from_fn(|| of(1)).take(1000).collect();
        assert_eq!(first.len(), EACH);
        let others: Vec<Seat> = (2..=200).flat_map(of).collect();
        assert_eq!(first.len() + others.len(), REMOTE);
        let local: Vec<Seat> = std::iter::from_fn(|| seats.take(Peer::Loopback)).take(1000).collect();
        assert_eq!(local.len(), LOCAL);
        first.pop();
        assert!(of(1).is_some() && seats.take(Peer::Socket).is_none());
    }
}
