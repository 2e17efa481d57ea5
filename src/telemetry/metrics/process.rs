//! The process: memory and CPU time, read from `/proc`.

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
    Ok(())
}

/// In bytes.
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// `utime` and `stime` of proc_pid_stat(5), in ticks of 1/100 s on every Linux architecture we build for.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may contain anything; the fields after it are the 3rd and on.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / 100.0)
}
