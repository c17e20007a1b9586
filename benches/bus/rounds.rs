//! Turns: all that a scenario compares, again and again, one after the other.

use std::time::Duration;

use crate::calls;
use crate::common::load::{Load, Sample};
use crate::scenario::{Question, Scenario};
use crate::spec::Spec;
use crate::system::System;

/// The least for a thousand streams.
const SLOW: Duration = Duration::from_secs(5);

/// How long and how often.
pub(crate) struct Turn {
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

/// Samples of one that is compared, one a round; or why there are none.
pub(crate) struct Measured {
    pub(crate) spec: Spec,
    pub(crate) samples: Result<Vec<Sample>, String>,
}

/// Runs a scenario.
pub(crate) fn run(scenario: &Scenario, turn: &Turn) -> Vec<Measured> {
    let mut results = scenario
        .compared
        .iter()
        .map(|spec| Measured {
            spec: spec.clone(),
            samples: Ok(Vec::new()),
        })
        .collect::<Vec<_>>();
    for round in 1..=turn.rounds {
        eprintln!("{} round {round} of {}", scenario.name, turn.rounds);
        // There and back, so that a machine that gets busier favours nobody.
        if round > 1 {
            results.reverse();
        }
        for result in &mut results {
            let Ok(samples) = &mut result.samples else {
                continue;
            };
            match measure(&result.spec, scenario, turn.length) {
                Ok(sample) => samples.push(sample),
                Err(why) => result.samples = Err(why),
            }
        }
    }
    if turn.rounds.is_multiple_of(2) {
        results.reverse();
    }
    results
}

fn measure(spec: &Spec, scenario: &Scenario, length: Duration) -> Result<Sample, String> {
    match scenario.question {
        Question::Http(workload) => {
            let system = System::start(spec, workload)?;
            let load = Load {
                address: system.edge.address,
                workload,
                connections: scenario.concurrency,
                processes: &system.serving.pids(system.edge.pid()),
            };
            // A thousand streams at once take a while to end for the first time.
            let slow = workload.chunks().is_some() && scenario.concurrency >= 1000;
            Ok(load.run_for(if slow { length.max(SLOW) } else { length }))
        }
        Question::Calls => calls::measure(spec, scenario.concurrency, length),
    }
}
