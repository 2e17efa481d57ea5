//! Raising CAP_NET_RAW (capabilities(7)).
//!
//! An image that is not run as root carries the file capability `cap_net_raw+p`: permitted, not effective, because an executable with
//! `+ep` cannot even start where NET_RAW is not granted. So the process raises it itself.

use std::io;

const VERSION_3: u32 = 0x2008_0522;
const CAP_NET_RAW: u32 = 13;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes CAP_NET_RAW effective if it is permitted; returns whether it is effective. Capabilities belong to a thread and its
/// children: call it before any other thread starts.
#[expect(unsafe_code, reason = "neither libc nor nix wraps capget and capset")]
pub fn raise_net_raw() -> io::Result<bool> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: version 3 reads one header and writes two sets; both live on this stack.
    if unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let bit = 1 << CAP_NET_RAW;
    if sets[0].effective & bit == 0 && sets[0].permitted & bit != 0 {
        sets[0].effective |= bit;
        // SAFETY: as above, and capset only reads.
        if unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(sets[0].effective & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    #[test]
    fn a_permitted_capability_is_effective_afterwards_and_raw_sockets_can_be_opened() {
        let raised = raise_net_raw().unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap();
        assert_eq!(raised, u64::from_str_radix(permitted.trim(), 16).unwrap() >> CAP_NET_RAW & 1 == 1);
        assert_eq!(raised, Socket::new(Domain::PACKET, Type::RAW, None).is_ok());
    }
}
