//! How an upstream is, for those who operate the process.

use std::sync::atomic::Ordering;

use framex_core::process::Process;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Circuit, Forwarder};

/// What became of an upstream's calls so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Its circuit breaker.
    pub(crate) circuit: Circuit,
    /// Calls that were sent, or tried to.
    pub(crate) requests: u64,
    /// Those of them that brought no answer: refused, broken, too slow.
    pub(crate) failures: u64,
    /// Requests that were sent a second time.
    pub(crate) retries: u64,
    /// Calls that are not answered to their end.
    pub(crate) in_flight: usize,
    /// Streams of events that have begun and not ended.
    pub(crate) streams: usize,
    /// Calls that were refused since too many were, or since the circuit is open.
    pub(crate) refused: u64,
}

impl Forwarder {
    /// What became of the calls so far.
    pub(crate) fn state(&self) -> State {
        let counts = &self.counts;
        State {
            circuit: self.breaker.circuit(),
            requests: counts.requests.load(Ordering::Relaxed),
            failures: counts.failures.load(Ordering::Relaxed),
            retries: counts.retries.load(Ordering::Relaxed),
            in_flight: counts.in_flight.load(Ordering::Relaxed),
            streams: counts.streams.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
        }
    }

    /// When somebody should look whether the upstream answers again, if it is given a rest.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        self.breaker.rests_until()
    }

    /// The circuit breaker, whenever it changes.
    pub(crate) fn circuit(&self) -> watch::Receiver<Circuit> {
        self.breaker.changes()
    }

    /// Says in `/ready` when the upstream is given a rest, for ever.
    pub(crate) async fn tell_circuit(&self, process: &Process) {
        let name = &self.upstream.name;
        let what = format!("circuit of {name}");
        let mut circuit = self.circuit();
        loop {
            let now = *circuit.borrow_and_update();
            match now {
                Circuit::Closed => process.restored(&what),
                Circuit::Open | Circuit::HalfOpen => process.degraded(
                    &what,
                    format!(
                        "upstream `{name}` does not answer: its calls fail at once until it does"
                    ),
                ),
            }
            if circuit.changed().await.is_err() {
                return;
            }
        }
    }
}
