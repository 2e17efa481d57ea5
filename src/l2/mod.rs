//! Layer 2: answering for addresses by ARP and NDP, and telling the LAN when they move.
//!
//! `arp` and `ndp` are machines, one of each per link. `task` owns the sockets of all announcing links.

pub mod desired;
