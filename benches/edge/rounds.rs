//! Turns: every server of a scenario, again and again, one after the other.

use std::time::Duration;

use crate::common::load::{Load, Sample};
use crate::scenario::Scenario;
use crate::spec::Spec;

/// How long and how often.
pub(crate) struct Turn {
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    pub(crate) threads: usize,
}

/// One server's samples, one a round; or why there are none.
pub(crate) struct Measured {
    pub(crate) spec: Spec,
    pub(crate) samples: Result<Vec<Sample>, String>,
}

/// Runs a scenario.
pub(crate) fn run(scenario: &Scenario, turn: &Turn) -> Vec<Measured> {
    let mut results = scenario
        .servers
        .iter()
        .map(|spec| Measured {
            spec: spec.clone(),
            samples: Ok(Vec::new()),
        })
        .collect::<Vec<_>>();
    for round in 1..=turn.rounds {
        eprintln!("{} round {round} of {}", scenario.name, turn.rounds);
        for result in &mut results {
            let Ok(samples) = &mut result.samples else {
                continue;
            };
            // A fresh process each time: where its memory happens to lie is part of the noise.
            match result.spec.with_threads(turn.threads).start() {
                Ok(server) => {
                    let load = Load {
                        address: server.address,
                        workload: scenario.workload,
                        connections: scenario.connections,
                        processes: &[server.pid()],
                    };
                    samples.push(load.run_for(turn.length));
                }
                Err(why) => result.samples = Err(why),
            }
        }
    }
    results
}
