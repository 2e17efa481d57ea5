//! Membership of IPv6 multicast groups on one link, for real: the kernel programs the network card's filter *and* sends MLD reports
//! (RFC 3810), without which a switch that snoops sends us no Neighbor Solicitations.
//!
//! A socket can hold only so many memberships (`net.core.optmem_max`: 2,340 with 128 KiB, a few hundred on older kernels), so there
//! are as many sockets as it takes. Closing them leaves the groups.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv6Addr;

use socket2::{Domain, Socket, Type};

/// The groups joined on one link. Needs no privilege.
#[derive(Debug)]
pub struct Groups {
    index: u32,
    sockets: Vec<Socket>,
    /// Group → position of its socket.
    joined: BTreeMap<Ipv6Addr, usize>,
}

impl Groups {
    /// None yet, on the link with that index.
    pub fn new(index: u32) -> Self {
        Self { index, sockets: Vec::new(), joined: BTreeMap::new() }
    }

    /// Joins; joining twice is once.
    pub fn join(&mut self, group: Ipv6Addr) -> io::Result<()> {
        if self.joined.contains_key(&group) {
            return Ok(());
        }
        // A freed place in an earlier socket is not searched for: they come back when all its groups are left.
        let full = match self.sockets.last().map(|socket| socket.join_multicast_v6(&group, self.index)) {
            Some(Ok(())) => false,
            None => true,
            Some(Err(error)) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS)) => true,
            Some(Err(error)) => return Err(error),
        };
        if full {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
            socket.join_multicast_v6(&group, self.index)?;
            self.sockets.push(socket);
        }
        self.joined.insert(group, self.sockets.len() - 1);
        Ok(())
    }

    /// Leaves; leaving a group that was not joined is nothing.
    pub fn leave(&mut self, group: Ipv6Addr) -> io::Result<()> {
        match self.joined.remove(&group) {
            Some(position) => self.sockets[position].leave_multicast_v6(&group, self.index),
            None => Ok(()),
        }
    }
}
