//! The table, in Markdown.

use crate::common::figures::{fastest, median, ratio, verdict};
use crate::common::load::Sample;
use crate::rounds::Measured;
use crate::scenario::{Bound, Scenario};
use crate::spec::Kind;

/// The head of the table. CPU is for each request or call: the edge's (or the caller's), the
/// broker's, the worker's.
pub(crate) const COLUMNS: &str = "\
| scenario | | rate /s | ratio | CPU µs | ratio | edge | broker | worker | p50 µs | ratio | p99 µs | RSS MB | bounds |\n\
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|";

/// Prints the rows of a scenario; returns how many bounds were missed.
pub(crate) fn scenario(scenario: &Scenario, results: &[Measured]) -> usize {
    let baselines = &results[..scenario.baselines];
    let Some(baseline) = fastest(baselines.iter().map(|baseline| &baseline.samples)) else {
        println!("| {} | no baseline | {} |", scenario.name, why(baselines));
        return 0;
    };
    let mut missed = 0;
    for result in results {
        let name = format!("| {} | {} |", scenario.name, result.spec);
        let samples = match &result.samples {
            Ok(samples) => samples,
            Err(why) => {
                println!("{name} {why} |");
                if result.spec.kind == Kind::Framex {
                    missed += scenario.bounds.len();
                }
                continue;
            }
        };
        let rate = ratio(samples, baseline, |s| s.rate);
        let cpu = ratio(samples, baseline, Sample::cpu);
        let p50 = ratio(samples, baseline, |s| s.p50);
        let mut verdicts = Vec::new();
        if result.spec.kind == Kind::Framex {
            for bound in &scenario.bounds {
                let (holds, text) = match *bound {
                    Bound::Rate(least) => (rate >= least, format!("rate ≥ {least}")),
                    Bound::Cpu(least) => (1.0 / cpu >= least, format!("CPU ≤ 1/{least}")),
                    Bound::P50(most) => (p50 <= most, format!("p50 ≤ {most}")),
                };
                missed += usize::from(!holds);
                verdicts.push(format!("{text} {}", verdict(holds)));
            }
        }
        let of = |figure: &dyn Fn(&Sample) -> f64| median(samples.iter().map(figure));
        println!(
            "{name} {:.0} | {rate:.3} | {:.2} | {cpu:.3} | {:.2} | {:.2} | {:.2} | {:.0} | {p50:.3} | {} | {:.1} | {} |",
            of(&|s| s.rate),
            of(&Sample::cpu),
            of(&|s| s.cpus[0]),
            of(&|s| s.cpus[1]),
            of(&|s| s.cpus[2]),
            of(&|s| s.p50),
            known(of(&|s| s.p99)),
            of(&|s| s.rss),
            verdicts.join(", "),
        );
    }
    missed
}

/// A figure in whole numbers; a dash where there is none.
fn known(figure: f64) -> String {
    if figure.is_nan() {
        "–".to_owned()
    } else {
        format!("{figure:.0}")
    }
}

fn why(baselines: &[Measured]) -> String {
    let reasons = baselines
        .iter()
        .filter_map(|baseline| baseline.samples.as_ref().err().cloned());
    reasons.collect::<Vec<_>>().join("; ")
}
