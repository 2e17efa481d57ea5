//! TCP as BGP needs it: connections that we dial, with the options that routers insist on.
//!
//! Nothing blocks and nothing waits: [`Connection::poll_ready`] wakes, the `try_…` functions do what can be done now. All options are set
//! before the first SYN, for a SYN without the right MD5 signature (RFC 2385) or TTL (RFC 5082) is dropped without an answer; so what a
//! wrong one looks like is that nobody answers.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::facts::LinkName;

/// Class selector 6, network control (RFC 4594 §3.1).
const CS6: u32 = 0xc0;
/// What is sent and not acknowledged for so long ends the connection; longer than hold times, which end it sooner where there are any.
const USER_TIMEOUT: Duration = Duration::from_secs(480);
/// After so long without anything from the peer the kernel asks whether it still knows the connection. Without hold time (RFC 4271 §4.4)
/// nobody else does, and a router that was switched off and on would never be dialled again.
const IDLE: Duration = Duration::from_secs(20);
/// `TCP_MD5SIG_MAXKEYLEN`
const LONGEST_KEY: usize = 80;

/// Whom to dial, and how. No `Debug`: it holds the password.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it holds the password")]
pub struct Dial<'a> {
    /// The peer.
    pub remote: IpAddr,
    /// Its port.
    pub port: u16,
    /// The link of a link-local `remote`.
    pub link: Option<&'a LinkName>,
    /// Our address; `None`: the kernel chooses.
    pub local: Option<IpAddr>,
    /// The device to bind to, such as a VRF.
    pub device: Option<&'a LinkName>,
    /// TTL or hop limit of what we send.
    pub ttl: u8,
    /// What arrives with less is dropped; 0: nothing is.
    pub minimum_ttl: u8,
    /// The key of TCP MD5, at most `LONGEST_KEY` octets.
    pub key: Option<&'a [u8]>,
}

/// A connection, or one that is being made.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Begins to connect. To be called within a tokio runtime.
    ///
    /// # Errors
    /// What is amiss on our side: no such link, an address that is not ours, a key that is too long, no route.
    pub fn dial(dial: &Dial<'_>) -> io::Result<Self> {
        let scope = match dial.link {
            Some(link) => if_nametoindex(link.as_str()).map_err(|error| said(&error.into(), || format!("link {link}")))?,
            None => 0,
        };
        let remote = scoped(dial.remote, dial.port, scope);
        let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(IDLE))?;
        set_ttl(&socket, dial)?;
        if let Some(device) = dial.device {
            socket.bind_device(Some(device.as_str().as_bytes())).map_err(|error| said(&error, || format!("device {device}")))?;
        }
        if let Some(key) = dial.key {
            set_md5_key(&socket, dial.remote, key)?;
        }
        if let Some(local) = dial.local {
            socket.bind(&scoped(local, 0, scope).into()).map_err(|error| said(&error, || format!("source address {local}")))?;
        }
        match socket.connect(&remote.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Self { stream: TcpStream::from_std(socket.into())? })
    }

    /// Ready once something may be read, or the other end has closed; with `writable` also once something may be written, which is how the
    /// end of dialling shows.
    pub fn poll_ready(&self, context: &mut Context<'_>, writable: bool) -> Poll<()> {
        let readable = self.stream.poll_read_ready(context).is_ready();
        let writable = writable && self.stream.poll_write_ready(context).is_ready();
        if readable || writable { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Our address, once connected; `WouldBlock` before.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn try_connected(&self) -> io::Result<IpAddr> {
        self.stream.try_io(Interest::WRITABLE, || {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Ok(_) => Ok(self.stream.local_addr()?.ip()),
                Err(error) if error.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
                Err(error) => Err(error),
            }
        })
    }

    /// Reads what is there; 0: the peer has closed.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is; others end the connection.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut receive = || Ok(recv(self.stream.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?);
        // As for datagrams: the first makes tokio forget what is not so any more, the second sees what tokio has not seen yet, for before a
        // timer fires everything has to be heard.
        match self.stream.try_io(Interest::READABLE, &mut receive) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => receive(),
            read => read,
        }
    }

    /// Writes what the kernel takes.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing; others end the connection.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.try_write(bytes)
    }

    /// Tells the peer that nothing more comes. What it still sends can be read.
    pub fn finish(&self) {
        // Who has closed already needs not be told.
        drop(SockRef::from(&self.stream).shutdown(Shutdown::Write));
    }
}

/// The kernel's words, without the number.
pub fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().to_owned())
}

fn said(error: &io::Error, what: impl FnOnce() -> String) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {}", what(), plain(error)))
}

fn scoped(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, scope).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(address, port),
    }
}

fn set_ttl(socket: &Socket, dial: &Dial<'_>) -> io::Result<()> {
    let minimum = libc::c_int::from(dial.minimum_ttl);
    match dial.remote {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(dial.ttl.into())?;
            socket.set_tos_v4(CS6)?;
            if minimum > 0 {
                set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &minimum)?;
            }
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(dial.ttl.into())?;
            socket.set_tclass_v6(CS6)?;
            if minimum > 0 {
                set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &minimum)?;
            }
        }
    }
    Ok(())
}

/// `struct tcp_md5sig` of linux/tcp.h, which libc lacks.
#[derive(Clone, Copy)]
#[repr(C)]
struct TcpMd5Sig {
    /// A `sockaddr_storage`; the port is 0.
    address: [u8; 128],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    index: libc::c_int,
    key: [u8; LONGEST_KEY],
}

const _: () = assert!(size_of::<TcpMd5Sig>() == 216, "the kernel takes no other size");

fn set_md5_key(socket: &Socket, remote: IpAddr, key: &[u8]) -> io::Result<()> {
    let refuse = || io::Error::new(ErrorKind::InvalidInput, format!("a password has at least one octet and at most {LONGEST_KEY}"));
    let mut signature = TcpMd5Sig { address: sockaddr(remote), flags: 0, prefix_length: 0, key_length: 0, index: 0, key: [0; LONGEST_KEY] };
    signature.key.get_mut(..key.len()).filter(|place| !place.is_empty()).ok_or_else(refuse)?.copy_from_slice(key);
    signature.key_length = u16::try_from(key.len()).map_err(|_| refuse())?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &signature).map_err(|error| said(&error, || "TCP MD5".to_owned()))
}

/// `sockaddr_in` or `sockaddr_in6` without port, as bytes.
fn sockaddr(address: IpAddr) -> [u8; 128] {
    let mut bytes = [0; 128];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    match address {
        IpAddr::V4(v4) => {
            put(0, &family(libc::AF_INET));
            put(4, &Ipv4Addr::octets(&v4));
        }
        IpAddr::V6(v6) => {
            put(0, &family(libc::AF_INET6));
            put(8, &Ipv6Addr::octets(&v6));
        }
    }
    bytes
}

fn family(family: libc::c_int) -> [u8; 2] {
    u16::try_from(family).expect("both are small").to_ne_bytes()
}

#[expect(unsafe_code, reason = "options that socket2 has no function for")]
fn set<T: Copy>(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    // SAFETY: the kernel reads `length` bytes of `value`, which outlives the call and has no padding: an integer, or `TcpMd5Sig`.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
