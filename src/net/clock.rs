//! The only clocks.
//!
//! CLOCK_MONOTONIC times protocols: it stands still while a laptop sleeps, so nobody is declared dead for it. CLOCK_BOOTTIME times
//! the validity of Leases: it runs on, as the API server's world does. The wall clock decides nothing; it is printed.

use std::time::Duration;

use crate::machine::Instant;

/// How late a deadline on CLOCK_BOOTTIME may be noticed after the machine slept: tokio's timers stand still meanwhile.
const RESUME_LATENCY: Duration = Duration::from_secs(1);

/// CLOCK_MONOTONIC: for protocols.
pub fn now() -> Instant {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME: for Leases. Not comparable with [`now`].
pub fn boottime() -> Instant {
    read(libc::CLOCK_BOOTTIME)
}

/// The wall clock, for people.
pub fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Returns once [`now`] has reached `deadline`; never for `None`.
pub async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(now())).await,
        None => std::future::pending().await,
    }
}

/// Returns once [`boottime`] has reached `deadline`; never for `None`.
pub async fn sleep_until_boottime(deadline: Option<Instant>) {
    let Some(deadline) = deadline else { return std::future::pending().await };
    while boottime() < deadline {
        tokio::time::sleep(deadline.since(boottime()).min(RESUME_LATENCY)).await;
    }
}

#[expect(unsafe_code, reason = "clock_gettime, for an origin and a clock that std does not offer")]
fn read(clock: libc::clockid_t) -> Instant {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which lives on this stack.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    // Time since boot is not negative; the fields have 32 bits on some platforms.
    let nanos = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    Instant::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_forward() {
        let (monotonic, boot) = (now(), boottime());
        assert!(now() >= monotonic && boottime() >= boot);
        assert!(boot.as_nanos() >= monotonic.as_nanos(), "boottime includes sleep");
    }

    #[test]
    fn sleeping_until_a_deadline_reaches_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let deadline = now() + Duration::from_millis(3);
        runtime.block_on(sleep_until(Some(deadline)));
        assert!(now() >= deadline);
        let deadline = boottime() + Duration::from_millis(3);
        runtime.block_on(sleep_until_boottime(Some(deadline)));
        assert!(boottime() >= deadline);
    }
}
