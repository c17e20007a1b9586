//! What the bridge counts, for `/metrics`.

use framex_core::process::{Meter, Metric, MetricKind};

use super::forward::Circuit;
use super::surface::Surface;

impl Meter for Surface {
    fn read(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for watched in self.upstreams() {
            let state = watched.forwarder.state();
            let mut tell = |name, help, kind, value: f64| {
                metrics.push(Metric {
                    name,
                    help,
                    kind,
                    labels: vec![("upstream", watched.upstream.name.clone())],
                    value,
                });
            };
            let counters = [
                (
                    "framex_upstream_requests",
                    "Requests sent to an upstream",
                    state.requests,
                ),
                (
                    "framex_upstream_failures",
                    "Requests that brought no answer",
                    state.failures,
                ),
                (
                    "framex_upstream_retries",
                    "Requests sent a second time",
                    state.retries,
                ),
                (
                    "framex_upstream_refused",
                    "Calls refused since too many were waiting",
                    state.refused,
                ),
            ];
            for (name, help, value) in counters {
                tell(name, help, MetricKind::Counter, value as f64);
            }
            let gauges = [
                (
                    "framex_upstream_in_flight",
                    "Calls not answered to their end",
                    state.in_flight,
                ),
                (
                    "framex_upstream_operations",
                    "Operations that are served",
                    watched.served().len(),
                ),
                (
                    "framex_upstream_circuit_open",
                    "1 while calls fail at once",
                    usize::from(state.circuit == Circuit::Open),
                ),
            ];
            for (name, help, value) in gauges {
                tell(name, help, MetricKind::Gauge, value as f64);
            }
        }
        metrics
    }
}
