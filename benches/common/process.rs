//! What Linux knows about a process: CPU time and memory.

use std::fs;
use std::time::Duration;

/// CPU time of all living threads of `pid`, user and system, to the nanosecond.
///
/// (`/proc/PID/stat` counts in hundredths of a second.)
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let nanos = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos)
}

/// Memory of `pid` that is in RAM, in MB.
pub(crate) fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("Linux tells");
    let kilobytes: f64 = line
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number");
    kilobytes / 1024.0
}
