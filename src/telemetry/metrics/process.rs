//! The process: memory, CPU time and when it started, read from `/proc`.

use std::fmt;

use super::rows::Rows;

/// Under the names every Prometheus client has for them.
pub(super) fn write(rows: &mut Rows<'_, '_>) -> fmt::Result {
    if let Some(bytes) = resident_memory() {
        rows.gauge("process_resident_memory_bytes", "Resident memory (VmRSS)", bytes as f64)?;
    }
    if let Some(seconds) = cpu_seconds() {
        rows.counter("process_cpu_seconds", "CPU time, user and system", seconds)?;
    }
    if let Some(seconds) = start_seconds() {
        rows.gauge("process_start_time_seconds", "When the process started, since the epoch", seconds)?;
    }
    Ok(())
}

/// In bytes.
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Clock ticks a second in `/proc`, on every Linux architecture we build for.
const TICKS: f64 = 100.0;

/// Field `number` of proc_pid_stat(5), in ticks; `number` > 2.
fn ticks(number: usize) -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may contain anything; the fields after it are the 3rd and on.
    stat.rsplit_once(')')?.1.split_whitespace().nth(number - 3)?.parse().ok()
}

/// `utime` and `stime`.
fn cpu_seconds() -> Option<f64> {
    Some((ticks(14)? + ticks(15)?) as f64 / TICKS)
}

/// `starttime`, which counts from the boot.
fn start_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + ticks(22)? as f64 / TICKS)
}
