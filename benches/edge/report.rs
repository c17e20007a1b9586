//! The table, in Markdown.

use std::fs;
use std::process::Command;
use std::thread;

use chrono::Utc;

use crate::load::Sample;
use crate::rounds::Measured;
use crate::scenario::{Bound, Scenario};
use crate::spec::Kind;

/// The head of the first table.
pub(crate) const COLUMNS: &str = "\
| scenario | server | rate /s | ratio | CPU µs | ratio | p50 µs | p99 µs | ratio | RSS MB | bounds |\n\
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|";

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

/// Prints the rows of a scenario; returns how many bounds were missed.
pub(crate) fn scenario(scenario: &Scenario, results: &[Measured]) -> usize {
    let Some(baseline) = fastest(&results[..scenario.baselines]) else {
        println!("| {} | no baseline | | | | | | | | | |", scenario.name);
        return 0;
    };
    let axum = results
        .iter()
        .find(|r| r.spec.kind == Kind::Axum)
        .and_then(|r| r.samples.as_ref().ok());
    let mut missed = 0;
    for result in results {
        let name = format!("| {} | {} |", scenario.name, result.spec);
        let samples = match &result.samples {
            Ok(samples) => samples,
            Err(why) => {
                println!("{name} {why} | | | | | | | | |");
                continue;
            }
        };
        let rate = ratio(samples, baseline, |s| s.rate);
        let cpu = ratio(samples, baseline, |s| s.cpu);
        let p99 = ratio(samples, baseline, |s| s.p99);
        let mut verdicts = Vec::new();
        if result.spec.kind == Kind::Framex {
            for bound in &scenario.bounds {
                let (holds, text) = match *bound {
                    Bound::Rate(least) => (rate >= least, format!("rate ≥ {least}")),
                    Bound::Cpu(least) => (1.0 / cpu >= least, format!("CPU ≤ 1/{least}")),
                    Bound::P99(most) => (p99 <= most, format!("p99 ≤ {most}")),
                    Bound::AheadOfAxum => {
                        let Some(axum) = axum else { continue };
                        let ahead = ratio(samples, axum, |s| s.rate);
                        (ahead > 1.0, format!("{ahead:.2} of axum's rate"))
                    }
                };
                missed += usize::from(!holds);
                verdicts.push(format!("{text} {}", verdict(holds)));
            }
        }
        let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
        println!(
            "{name} {:.0} | {rate:.3} | {:.2} | {cpu:.3} | {:.0} | {:.0} | {p99:.2} | {:.1} | {} |",
            of(|s| s.rate),
            of(|s| s.cpu),
            of(|s| s.p50),
            of(|s| s.p99),
            of(|s| s.rss),
            verdicts.join(", "),
        );
    }
    missed
}

/// How a bound was met.
pub(crate) fn verdict(holds: bool) -> &'static str {
    if holds { "ok" } else { "**missed**" }
}

fn fastest(results: &[Measured]) -> Option<&Vec<Sample>> {
    let rate = |samples: &Vec<Sample>| median(samples.iter().map(|s| s.rate));
    let measured = results
        .iter()
        .filter_map(|result| result.samples.as_ref().ok());
    measured.max_by(|a, b| rate(a).total_cmp(&rate(b)))
}

/// The median of the rounds' ratios.
fn ratio(samples: &[Sample], baseline: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
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
