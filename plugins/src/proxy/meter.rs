//! What the bridge counts, for `/metrics`.

use framex_core::process::{Meter, Metric, MetricKind};

use super::forward::{Circuit, Forwarder};
use super::functions::Functions;
use super::surface::Surface;

impl Meter for Surface {
    fn read(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for watched in self.upstreams() {
            metrics.extend(of(&watched.forwarder));
            metrics.push(Metric {
                name: "framex_upstream_operations",
                help: "Operations that are served",
                kind: MetricKind::Gauge,
                labels: vec![("upstream", watched.upstream.name.clone())],
                value: watched.served().len() as f64,
            });
        }
        metrics
    }
}

/// The systems that are no upstreams besides.
impl Meter for Functions {
    fn read(&self) -> Vec<Metric> {
        self.forwarders().flat_map(|one| of(one)).collect()
    }
}

/// What is counted of whatever requests are sent to.
fn of(forwarder: &Forwarder) -> Vec<Metric> {
    let state = forwarder.state();
    let metric = |name, help, kind, value: f64| Metric {
        name,
        help,
        kind,
        labels: vec![("upstream", forwarder.upstream().name.clone())],
        value,
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
            "Calls refused since too many were waiting, or the circuit was open",
            state.refused,
        ),
    ];
    let gauges = [
        (
            "framex_upstream_in_flight",
            "Calls not answered to their end",
            state.in_flight,
        ),
        (
            "framex_upstream_streams",
            "Streams of events that have begun and not ended",
            state.streams,
        ),
        (
            "framex_upstream_circuit_open",
            "1 while the upstream is given a rest",
            usize::from(state.circuit != Circuit::Closed),
        ),
    ];
    let counters =
        counters.map(|(name, help, value)| metric(name, help, MetricKind::Counter, value as f64));
    let gauges =
        gauges.map(|(name, help, value)| metric(name, help, MetricKind::Gauge, value as f64));
    counters.into_iter().chain(gauges).collect()
}
