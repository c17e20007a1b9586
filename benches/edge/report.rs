//! The table, in Markdown.

use crate::common::figures::{fastest, median, ratio, verdict};
use crate::common::load::Sample;
use crate::rounds::Measured;
use crate::scenario::{Bound, Scenario};
use crate::spec::Kind;

/// The head of the first table.
pub(crate) const COLUMNS: &str = "\
| scenario | server | rate /s | ratio | CPU µs | ratio | p50 µs | p99 µs | ratio | RSS MB | bounds |\n\
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|";

/// Prints the rows of a scenario; returns how many bounds were missed.
pub(crate) fn scenario(scenario: &Scenario, results: &[Measured]) -> usize {
    let Some(baseline) = fastest(
        results[..scenario.baselines]
            .iter()
            .map(|result| &result.samples),
    ) else {
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
        let cpu = ratio(samples, baseline, Sample::cpu);
        let p99 = ratio(samples, baseline, |s| s.p99);
        let mut verdicts = Vec::new();
        if result.spec.kind.is_framex() {
            for bound in &scenario.bounds {
                let (holds, text) = match *bound {
                    Bound::Rate(least) => (rate >= least, format!("rate ≥ {least}")),
                    Bound::Cpu(least) => (1.0 / cpu >= least, format!("CPU ≤ 1/{least}")),
                    Bound::P99(most) => (p99 <= most, format!("p99 ≤ {most}")),
                    Bound::Added(most) => {
                        let p50 = |samples: &[Sample]| median(samples.iter().map(|s| s.p50));
                        let added = p50(samples) - p50(baseline);
                        (added <= most, format!("{added:.0} µs added ≤ {most}"))
                    }
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
            of(Sample::cpu),
            of(|s| s.p50),
            of(|s| s.p99),
            of(|s| s.rss),
            verdicts.join(", "),
        );
    }
    missed
}
