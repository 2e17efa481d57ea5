//! A receive ring shared with the kernel (packet(7), `PACKET_RX_RING`, `TPACKET_V2`).
//!
//! A socket's ordinary queue is bounded by `net.core.rmem_max` (208 KiB by default, some 500 small frames): a thread that is not
//! scheduled for 25 ms loses answers at 20,000 requests a second. A ring is not bounded by it, needs no further privilege, and is
//! read without a system call. Version 2, not 3: version 3 holds frames back until a block is full or a timer fires.
//!
//! Invariant: a frame is touched only while its status says it is ours, and given back before the next one is looked at.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::Socket;

/// Allocation unit of the kernel: a multiple of every page size Linux has.
const BLOCK_SIZE: usize = 64 * 1024;
/// Size of the whole ring: what 200 ms at 20,000 ARP requests a second need.
const RING_SIZE: usize = 8 * BLOCK_SIZE;

/// Sets one option.
#[expect(unsafe_code, reason = "socket2 and nix do not know the options of AF_PACKET")]
pub(super) fn set_packet_option<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("an option is a few bytes long");
    // SAFETY: `value` is a live C structure of exactly `length` bytes, which the kernel only reads.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The ring of one socket.
#[derive(Debug)]
pub(super) struct Ring {
    memory: NonNull<u8>,
    frame_size: usize,
    next: usize,
}

#[expect(unsafe_code, reason = "memory shared with the kernel")]
// SAFETY: the mapping belongs to this value alone and is not bound to a thread.
unsafe impl Send for Ring {}

#[expect(unsafe_code, reason = "memory shared with the kernel")]
// SAFETY: through `&Ring` only atomic statuses are read.
unsafe impl Sync for Ring {}

impl Ring {
    /// Gives `socket` a ring of frames of `frame_size` bytes (a power of two; headers of the kernel take 66 of them).
    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    pub(super) fn attach(socket: &Socket, frame_size: usize) -> io::Result<Self> {
        assert!(frame_size.is_power_of_two() && (128..=BLOCK_SIZE).contains(&frame_size), "frames must fill blocks");
        #[expect(clippy::cast_possible_truncation, reason = "all sizes are far below 4 GiB")]
        let request = libc::tpacket_req {
            tp_block_size: BLOCK_SIZE as u32,
            tp_block_nr: (RING_SIZE / BLOCK_SIZE) as u32,
            tp_frame_size: frame_size as u32,
            tp_frame_nr: (RING_SIZE / frame_size) as u32,
        };
        set_packet_option(socket, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V2 as libc::c_int))?;
        set_packet_option(socket, libc::PACKET_RX_RING, &request)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; it overlaps nothing of ours.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), RING_SIZE, access, libc::MAP_SHARED, socket.as_raw_fd(), 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).expect("a successful mmap is not null");
        Ok(Self { memory, frame_size, next: 0 })
    }

    /// Whether a frame waits.
    pub(super) fn is_ready(&self) -> bool {
        self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// Hands the next waiting frame to `read` and gives it back to the kernel.
    pub(super) fn receive<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if !self.is_ready() {
            return None;
        }
        let result = read(self.frame());
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % (RING_SIZE / self.frame_size);
        Some(result)
    }

    fn header(&self) -> *mut libc::tpacket2_hdr {
        self.memory.as_ptr().wrapping_add(self.next * self.frame_size).cast()
    }

    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    fn status(&self) -> &AtomicU32 {
        // SAFETY: `header` lies inside the mapping and is aligned to `frame_size`; both sides access this word atomically.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.header()).tp_status) }
    }

    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    fn frame(&self) -> &[u8] {
        // SAFETY: the status (read with Acquire) says the kernel has finished writing this frame.
        let (offset, length) = unsafe { (usize::from((*self.header()).tp_mac), (*self.header()).tp_snaplen as usize) };
        let offset = offset.min(self.frame_size);
        let start = self.header().cast::<u8>().wrapping_add(offset);
        // SAFETY: clamped to this frame, inside the mapping, and the kernel leaves it alone until the status changes.
        unsafe { std::slice::from_raw_parts(start, length.min(self.frame_size - offset)) }
    }
}

impl Drop for Ring {
    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `attach`; no reference into it outlives `self`.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), RING_SIZE) };
    }
}
