//! UDP on one link: datagrams with the TTL they arrived with, and datagrams sent with TTL 255 (GTSM, RFC 5082).
//!
//! Sockets are bound to the link by its number and share their port with nobody: two processes never split what arrives. The TTL is
//! read from the control message, because the kernel heeds `IP_MINTTL` and `IPV6_MINHOPCOUNT` on TCP only.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::addr::Family;

/// Longer datagrams are cut off: who reads them sees that their own length does not fit.
const LONGEST: usize = 128;
/// What may wait for a stalled process; the kernel caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Class selector 6, network control (RFC 4594 §3.1): before other traffic, also on wireless links.
const CS6: u32 = 0xc0;
/// What no router lets through.
const TTL: u32 = 255;

/// What arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// From whom.
    pub source: IpAddr,
    /// With which TTL or hop limit; 0 if the kernel did not say.
    pub ttl: u8,
    /// The bytes, at most 128.
    pub payload: &'a [u8],
}

/// Receives what comes through one link to one port, whatever the local address.
#[derive(Debug)]
pub struct Receiver {
    socket: UdpSocket,
    control: Vec<u8>,
}

impl Receiver {
    /// Opens a socket on the link with that index. To be called within a tokio runtime.
    ///
    /// # Errors
    /// `AddrInUse` while another process has the port on that link.
    pub fn open(index: u32, family: Family, port: u16) -> io::Result<Self> {
        let any: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = open(index, any, port)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        match family {
            Family::V4 => setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?,
            Family::V6 => setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?,
        }
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, control: nix::cmsg_space!(libc::c_int) })
    }

    /// Ready once a datagram may wait.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(context)
    }

    /// Hands the next waiting datagram to `read`; `None` if none waits. Never blocks.
    pub fn receive<T>(&mut self, read: impl FnOnce(Datagram<'_>) -> T) -> Option<T> {
        let mut buffer = [0; LONGEST];
        let Self { socket, control } = self;
        let mut receive = || receive(socket, &mut buffer, control);
        // The first finds out what tokio knows and makes it forget that something waits when nothing does; the second also sees what
        // came since tokio last looked: before a timer fires, everything has to be heard.
        let received = socket.try_io(Interest::READABLE, &mut receive);
        let received = match received {
            Err(error) if error.kind() == ErrorKind::WouldBlock => receive(),
            received => received,
        };
        let (length, source, ttl) = received.ok()?;
        Some(read(Datagram { source, ttl, payload: &buffer[..length] }))
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8], control: &mut [u8]) -> io::Result<(usize, IpAddr, u8)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let source = message.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    });
    let ttl = message.cmsgs()?.find_map(|message| {
        let (ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl)) = message else { return None };
        u8::try_from(ttl).ok()
    });
    let source = source.ok_or_else(|| io::Error::other("a datagram without a source"))?;
    Ok((message.bytes, source, ttl.unwrap_or(0)))
}

/// Sends through one link, from one address and port, with TTL 255.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    index: u32,
}

impl Sender {
    /// Opens a socket on the link with that index.
    ///
    /// # Errors
    /// `AddrInUse` while another socket has the port; `AddrNotAvailable` while the address is not this host's.
    pub fn open(index: u32, local: IpAddr, port: u16) -> io::Result<Self> {
        let socket = open(index, local, port)?;
        match local {
            IpAddr::V4(_) => {
                socket.set_ttl_v4(TTL)?;
                socket.set_tos_v4(CS6)?;
            }
            IpAddr::V6(_) => {
                socket.set_unicast_hops_v6(TTL)?;
                socket.set_tclass_v6(CS6)?;
            }
        }
        // Nothing is read here; what somebody sends to this port must not pile up.
        socket.set_recv_buffer_size(0)?;
        Ok(Self { socket, index })
    }

    /// Sends a datagram, now or not at all.
    pub fn send(&self, payload: &[u8], to: IpAddr, port: u16) -> io::Result<()> {
        self.socket.send_to(payload, &on_link(self.index, to, port).into()).map(drop)
    }
}

fn open(index: u32, local: IpAddr, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(local, port)), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    let link = NonZeroU32::new(index).ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
    match local {
        IpAddr::V4(_) => socket.bind_device_by_index_v4(Some(link))?,
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.bind_device_by_index_v6(Some(link))?;
        }
    }
    socket.bind(&on_link(index, local, port).into())?;
    Ok(socket)
}

/// Link-local addresses mean something on their link only.
fn on_link(index: u32, address: IpAddr, port: u16) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, index).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(address, port),
    }
}
