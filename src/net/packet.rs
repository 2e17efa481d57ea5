//! Whole Ethernet frames of one protocol on one link (packet(7), AF_PACKET).
//!
//! A filter in the kernel lets only well-formed ARP, or neighbour discovery with hop limit 255, that is meant for this host pass: other
//! traffic, tagged frames of VLANs without a link and frames for other hosts never wake us. NDP is received here and not by a raw
//! ICMPv6 socket, because a unicast probe (RFC 4861 §7.3) for an address that no interface has is not "local" to the kernel.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ring::{Ring, set_packet_option};

/// What is received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// ARP for IPv4 over Ethernet.
    Arp,
    /// Neighbor Solicitations and Advertisements.
    Ndp,
}

impl Protocol {
    fn ethertype(self) -> u16 {
        match self {
            Self::Arp => 0x0806,
            Self::Ndp => 0x86dd,
        }
    }

    /// Bytes of a ring frame: 66 for the kernel's header, the rest for ours. Solicitations signed by SEND do not fit; nobody sends them.
    fn frame_size(self) -> usize {
        match self {
            Self::Arp => 128,
            Self::Ndp => 512,
        }
    }

    /// Classic BPF: the comparisons a frame has to pass, each a load and the values allowed.
    fn filter(self) -> Vec<SockFilter> {
        match self {
            Self::Arp => program(&[(LD_H, 12, &[0x0806]), (LD_W, 14, &[0x0001_0800]), (LD_H, 18, &[0x0604])], 14 + 28),
            Self::Ndp => program(&[(LD_H, 12, &[0x86dd]), (LD_B, 20, &[58]), (LD_B, 21, &[255]), (LD_B, 54, &[135, 136])], 512 - 66),
        }
    }
}

const LD_W: u16 = 0x20;
const LD_H: u16 = 0x28;
const LD_B: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const RETURN: u16 = 0x06;

/// Passes frames for this host, for all, or for a group, that meet every one of `conditions`; keeps `snap` bytes of them.
fn program(conditions: &[(u16, u32, &[u32])], snap: u32) -> Vec<SockFilter> {
    // `pkttype`: 0 host, 1 broadcast, 2 multicast; 3 other host (also: a VLAN no link stands for), 4 outgoing.
    #[expect(clippy::cast_sign_loss, reason = "BPF addresses ancillary data by negative offsets")]
    let pkttype = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
    let mut code = vec![SockFilter::new(LD_B, 0, 0, pkttype), SockFilter::new(JUMP_IF_GREATER, 0, 1, 2), SockFilter::new(RETURN, 0, 0, 0)];
    for (load, offset, allowed) in conditions {
        code.push(SockFilter::new(*load, 0, 0, *offset));
        for (i, value) in allowed.iter().enumerate() {
            let over_the_rest = u8::try_from(allowed.len() - i).expect("a handful of values");
            code.push(SockFilter::new(JUMP_IF_EQUAL, over_the_rest, 0, *value));
        }
        code.push(SockFilter::new(RETURN, 0, 0, 0));
    }
    code.push(SockFilter::new(RETURN, 0, 0, snap));
    code
}

#[derive(Debug)]
struct Inner {
    socket: Socket,
    ring: Ring,
}

impl AsRawFd for Inner {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// An open socket. Needs CAP_NET_RAW to open, nothing afterwards.
#[derive(Debug)]
pub struct PacketSocket {
    inner: AsyncFd<Inner>,
    index: u32,
}

impl PacketSocket {
    /// Opens a socket on the link with that index. To be called within a tokio runtime.
    #[expect(unsafe_code, reason = "tokio cannot see that `Inner` keeps its descriptor")]
    pub fn open(index: u32, protocol: Protocol) -> io::Result<Self> {
        // Protocol 0 until bound: nothing slips in before the filter and the ring are there.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&protocol.filter())?;
        // A burst of announcements must not fail on a slow link; the kernel caps this at `net.core.wmem_max`.
        socket.set_send_buffer_size(1 << 20)?;
        let ring = Ring::attach(&socket, protocol.frame_size())?;
        socket.bind(&link_address(index, protocol.ethertype()))?;
        if let Some(error) = socket.take_error()? {
            return Err(error); // the link is down
        }
        // SAFETY: `Inner` owns its socket, never replaces it, and is owned by the `AsyncFd`.
        let inner = unsafe { AsyncFd::register_with_interest(Inner { socket, ring }, Interest::READABLE | Interest::ERROR) }?;
        Ok(Self { inner, index })
    }

    /// Returns once a frame waits; fails when the link has gone down or away.
    pub async fn readable(&self) -> io::Result<()> {
        loop {
            let mut guard = self.inner.ready(Interest::READABLE | Interest::ERROR).await?;
            if self.inner.get_ref().ring.is_ready() {
                return Ok(());
            }
            if let Some(error) = self.inner.get_ref().socket.take_error()? {
                return Err(error);
            }
            guard.clear_ready();
        }
    }

    /// Hands the next waiting frame to `read`; `None` if none waits. Never blocks.
    pub fn receive<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.inner.get_mut().ring.receive(read)
    }

    /// Sends a whole frame, now or not at all.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.inner.get_ref().socket.send(frame).map(drop)
    }

    /// How many frames the kernel dropped since the last call because the ring was full.
    #[expect(unsafe_code, reason = "socket2 and nix do not know the options of AF_PACKET")]
    pub fn dropped(&self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = libc::socklen_t::try_from(size_of::<libc::tpacket_stats>()).expect("a few bytes");
        let fd = self.inner.as_raw_fd();
        let into = (&raw mut statistics).cast();
        // SAFETY: the kernel writes at most `length` bytes, the size of the structure `into` points to.
        let result = unsafe { libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, into, &raw mut length) };
        if result == 0 { Ok(u64::from(statistics.tp_drops)) } else { Err(io::Error::last_os_error()) }
    }

    /// Receives every multicast frame of the link while this socket is open.
    pub fn all_multicast(&self) -> io::Result<()> {
        self.membership(libc::PACKET_ADD_MEMBERSHIP, libc::PACKET_MR_ALLMULTI)
    }

    /// Receives every frame of the link, or no longer, while this socket is open. The link counts who wants it.
    pub fn promiscuous(&self, wanted: bool) -> io::Result<()> {
        let option = if wanted { libc::PACKET_ADD_MEMBERSHIP } else { libc::PACKET_DROP_MEMBERSHIP };
        self.membership(option, libc::PACKET_MR_PROMISC)
    }

    fn membership(&self, option: libc::c_int, mr_type: libc::c_int) -> io::Result<()> {
        let index = i32::try_from(self.index).map_err(io::Error::other)?;
        let mr_type = u16::try_from(mr_type).expect("a small constant");
        let request = libc::packet_mreq { mr_ifindex: index, mr_type, mr_alen: 0, mr_address: [0; 8] };
        set_packet_option(&self.inner.get_ref().socket, option, &request)
    }
}

/// A link and a protocol as bind(2) wants them.
#[expect(unsafe_code, reason = "socket2 has no constructor for addresses of AF_PACKET")]
fn link_address(index: u32, ethertype: u16) -> SockAddr {
    // SAFETY: an all-zero sockaddr_ll is a valid one.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("a small constant");
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = i32::try_from(index).expect("the kernel counts links in an int");
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("a few bytes");
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is larger than and aligned for any socket address.
    unsafe { *storage.view_as() = address };
    // SAFETY: the storage holds a sockaddr_ll of `length` bytes.
    unsafe { SockAddr::new(storage, length) }
}
