//! Turns: every server of a scenario, again and again, one after the other.

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::child::Server;
use crate::load::Sample;
use crate::scenario::Scenario;
use crate::spec::Spec;
use crate::workload::Workload;

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
            match Server::start(&result.spec.with_threads(turn.threads)) {
                Ok(server) => samples.push(load(
                    &server,
                    scenario.workload,
                    scenario.connections,
                    turn.length,
                )),
                Err(why) => result.samples = Err(why),
            }
        }
    }
    results
}

fn load(server: &Server, workload: Workload, connections: usize, length: Duration) -> Sample {
    run_load(
        server,
        workload,
        connections,
        &["--seconds", &length.as_secs_f64().to_string()],
    )
}

/// Sends so many requests, however long that takes.
pub(crate) fn calls(
    server: &Server,
    workload: Workload,
    connections: usize,
    requests: u64,
) -> Sample {
    let requests = requests.to_string();
    run_load(
        server,
        workload,
        connections,
        &[
            "--seconds",
            "3600",
            "--warm-up",
            "0",
            "--requests",
            &requests,
        ],
    )
}

fn run_load(server: &Server, workload: Workload, connections: usize, more: &[&str]) -> Sample {
    use clap::ValueEnum as _;
    let workload = workload.to_possible_value().expect("no workload is hidden");
    let output = Command::new(env::current_exe().expect("Linux tells"))
        .arg("load")
        .args(["--address", &server.address.to_string()])
        .args(["--pid", &server.pid().to_string()])
        .args(["--workload", workload.get_name()])
        .args(["--connections", &connections.to_string()])
        .args(more)
        .stderr(Stdio::inherit())
        .output()
        .expect("this binary runs");
    assert!(
        output.status.success(),
        "the load generator refused the answers (see above)"
    );
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}
