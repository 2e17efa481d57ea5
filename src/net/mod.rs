//! The kernel: clocks, links, raw packets, UDP, TCP, group membership. The only place for `unsafe`, and for socket options.
//!
//! Nothing here decides anything: bytes come in, bytes go out, facts are told.

pub mod capability;
pub mod clock;
pub mod link;
pub mod multicast;
pub mod packet;
mod ring;
pub mod tcp;
pub mod udp;
