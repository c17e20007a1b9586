//! The questions that the table answers, and the bounds that FrameX is held to.

use crate::spec::Spec;
use crate::workload::Workload;

/// One question: servers under one load.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) workload: Workload,
    pub(crate) connections: usize,
    /// The baseline first. Where several baselines are given, the faster is the one that counts.
    pub(crate) servers: Vec<Spec>,
    pub(crate) bounds: Vec<Bound>,
}

/// What FrameX must reach, as a ratio to the baseline's figure of the same round.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// At least so much of the baseline's rate.
    Rate(f64),
    /// At least so much of the baseline's efficiency: its CPU for each, over FrameX's.
    Cpu(f64),
    /// At most so much of the baseline's p99.
    P99(f64),
    /// A higher rate than axum.
    AheadOfAxum,
}

/// Chunks that are ready together leave in one write.
const BEST_STREAM: &str = "baseline writev=off";

/// All scenarios, in the table's order.
pub(crate) fn all() -> Vec<Scenario> {
    use Bound::{AheadOfAxum, Cpu, P99, Rate};
    use Workload::{Echo, EchoModel, Events, Raw, Tree};

    let usual = ["baseline", "axum", "framex"];
    let small = [Rate(0.95), Cpu(0.95), P99(1.2), AheadOfAxum];
    let scenario = |name, workload, connections, servers: &[&str], bounds: &[Bound]| Scenario {
        name,
        workload,
        connections,
        servers: servers
            .iter()
            .map(|s| Spec::parse(s).expect("it is written here"))
            .collect(),
        bounds: bounds.to_vec(),
    };
    vec![
        // What does the way through FrameX cost, where there is nothing else to do?
        scenario("get_echo", Echo, 64, &usual, &small),
        scenario("post_echo_model", EchoModel, 64, &usual, &small),
        // Do chunks that are ready together leave together?
        scenario(
            "events",
            Events,
            64,
            &["baseline", BEST_STREAM, "axum", "framex"],
            &[Rate(0.85)],
        ),
        // Is a large body only checked and copied? Is a tree built once?
        scenario("raw_100kb", Raw, 64, &usual, &[Rate(0.85)]),
        scenario("tree_100kb", Tree, 64, &usual, &[Rate(0.95)]),
        // Does the ratio hold for few and for many connections?
        scenario("connections_1", Echo, 1, &usual, &[Rate(0.95)]),
        scenario("connections_8", Echo, 8, &usual, &[Rate(0.95)]),
        scenario("connections_256", Echo, 256, &usual, &[Rate(0.95)]),
        scenario("connections_1024", Echo, 1024, &usual, &[Rate(0.95)]),
        // How many threads should be the default?
        scenario(
            "threads",
            Echo,
            64,
            &[
                "baseline threads=1",
                "baseline threads=2",
                "framex threads=1",
                "framex threads=2",
            ],
            &[],
        ),
    ]
}
