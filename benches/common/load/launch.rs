//! The generator in a process of its own, as the bench starts it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum as _;

use super::Sample;
use crate::common::child;
use crate::common::workload::Workload;

/// Whom to ask for what, and whose CPU time to watch.
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) workload: Workload,
    pub(crate) connections: usize,
    /// The server first: its memory is the one that is read.
    pub(crate) processes: &'a [u32],
}

impl Load<'_> {
    /// Sends requests for so long, after a warm-up.
    pub(crate) fn run_for(&self, length: Duration) -> Sample {
        self.run(&["--seconds", &length.as_secs_f64().to_string()])
    }

    /// Sends so many requests, however long that takes.
    pub(crate) fn send(&self, requests: u64) -> Sample {
        let requests = requests.to_string();
        let endless = ["--seconds", "3600", "--warm-up", "0"];
        self.run(&[&endless[..], &["--requests", &requests]].concat())
    }

    fn run(&self, more: &[&str]) -> Sample {
        let workload = self.workload.to_possible_value();
        let workload = workload.expect("no workload is hidden");
        let mut command = child::again();
        command
            .arg("load")
            .args(["--address", &self.address.to_string()])
            .args(["--workload", workload.get_name()])
            .args(["--connections", &self.connections.to_string()])
            .args(more)
            .stderr(Stdio::inherit());
        for pid in self.processes {
            command.args(["--pid", &pid.to_string()]);
        }
        let output = command.output().expect("this binary runs");
        assert!(
            output.status.success(),
            "the load generator refused the answers (see above)"
        );
        serde_json::from_slice(&output.stdout).expect("one line of JSON")
    }
}
