//! Figures for a report: where they were taken, their medians, whether they suffice.

use std::fs;
use std::process::Command;
use std::thread;

use chrono::Utc;

use super::load::Sample;

/// Where and when, for whoever compares.
pub(crate) fn heading() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split_once(": "))
        .map_or("an unknown CPU", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let busy = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{cores} cores of {model}, Linux {}, load {} at the start; {}; commit {}",
        kernel.trim(),
        busy.split_whitespace().next().unwrap_or("?"),
        Utc::now().format("%Y-%m-%d %H:%M UTC"),
        commit(),
    )
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(hash) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let dirty = git(&["status", "--porcelain"]).is_some_and(|files| !files.is_empty());
    if dirty {
        format!("{hash} and changes")
    } else {
        hash
    }
}

/// How a bound was met.
pub(crate) fn verdict(holds: bool) -> &'static str {
    if holds { "ok" } else { "**missed**" }
}

/// The samples with the highest rate.
pub(crate) fn fastest<'s>(
    results: impl Iterator<Item = &'s Result<Vec<Sample>, String>>,
) -> Option<&'s [Sample]> {
    let rate = |samples: &[Sample]| median(samples.iter().map(|s| s.rate));
    let measured = results.filter_map(|samples| samples.as_deref().ok());
    measured.max_by(|a, b| rate(a).total_cmp(&rate(b)))
}

/// The median of the rounds' ratios.
pub(crate) fn ratio(samples: &[Sample], baseline: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    median(
        samples
            .iter()
            .zip(baseline)
            .map(|(sample, base)| figure(sample) / figure(base)),
    )
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures = figures.collect::<Vec<_>>();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}
