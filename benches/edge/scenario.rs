//! The questions that the table answers, and the bounds that FrameX is held to.

use crate::common::workload::Workload;
use crate::spec::Spec;

/// One question: servers under one load.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) workload: Workload,
    pub(crate) connections: usize,
    pub(crate) servers: Vec<Spec>,
    /// So many of the first servers are baselines; the fastest of them is the one that counts.
    pub(crate) baselines: usize,
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
    /// At most so many microseconds more than the baseline's p50.
    Added(f64),
    /// A higher rate than axum.
    AheadOfAxum,
}

/// hyper's own choice sends head and body as a vector, which costs small answers 6 % of their
/// CPU and streams four fifths of their chunks; copying them together costs 100 KB some percent.
const WRITEV: &str = "baseline";
const FLAT: &str = "baseline writev=off";

/// All scenarios, in the table's order.
pub(crate) fn all() -> Vec<Scenario> {
    use Bound::{Added, AheadOfAxum, Cpu, P99, Rate};
    use Workload::{Echo, EchoModel, Events, Raw, Tree};

    let usual = [WRITEV, FLAT, "axum", "framex"];
    let streams = [WRITEV, FLAT, "axum", "framex live=on", "framex"];
    let forward = ["reverse", "bridge"];
    let quick = [FLAT, "axum", "framex"];
    let threads = [
        "baseline threads=1",
        "baseline threads=2",
        "framex threads=1",
        "framex threads=2",
    ];
    let small = [Rate(0.95), Cpu(0.95), P99(1.2), AheadOfAxum];

    let scenario = |name, workload, connections, servers: &[&str], bounds: &[Bound]| {
        let servers = servers
            .iter()
            .map(|text| Spec::parse(text).expect("it is written here"));
        let servers = servers.collect::<Vec<_>>();
        let baselines = servers
            .iter()
            .filter(|spec| spec.kind.is_baseline())
            .count();
        Scenario {
            name,
            workload,
            connections,
            servers,
            baselines,
            bounds: bounds.to_vec(),
        }
    };
    vec![
        // What does the way through FrameX cost, where there is nothing else to do?
        scenario("get_echo", Echo, 64, &usual, &small),
        scenario("post_echo_model", EchoModel, 64, &usual, &small),
        // Do chunks that are ready together leave together?
        // And what does it cost that they can be taken up again, as by default?
        scenario("events", Events, 64, &streams, &[Rate(0.85)]),
        // Is a large body only checked and copied? Is a tree built once?
        scenario("raw_100kb", Raw, 64, &usual, &[Rate(0.85)]),
        scenario("tree_100kb", Tree, 64, &usual, &[Rate(0.95)]),
        // Does the ratio hold for few and for many connections?
        scenario("connections_1", Echo, 1, &quick, &[Rate(0.95)]),
        scenario("connections_8", Echo, 8, &quick, &[Rate(0.95)]),
        scenario("connections_256", Echo, 256, &quick, &[Rate(0.95)]),
        scenario("connections_1024", Echo, 1024, &quick, &[Rate(0.95)]),
        // What does the bridge cost beside a reverse proxy that does only that?
        scenario("forward_get", Echo, 64, &forward, &[Rate(0.85)]),
        scenario("forward_post", EchoModel, 64, &forward, &[Rate(0.85)]),
        scenario("forward_100kb", Raw, 64, &forward, &[Rate(0.85)]),
        scenario("forward_events", Events, 64, &forward, &[Rate(0.85)]),
        // And how much later does a stream's first event come than without it?
        scenario(
            "forward_first",
            Events,
            1,
            &[FLAT, "bridge"],
            &[Added(1000.0)],
        ),
        // How many threads should be the default?
        Scenario {
            baselines: 1,
            ..scenario("threads", Echo, 64, &threads, &[])
        },
    ]
}
