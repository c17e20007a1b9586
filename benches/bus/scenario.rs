//! The questions that the table answers, and the bounds that FrameX is held to.

use crate::common::workload::Workload;
use crate::spec::{Kind, Spec};

/// One question: several answers to one load.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) question: Question,
    /// Requests or calls at once.
    pub(crate) concurrency: usize,
    pub(crate) compared: Vec<Spec>,
    /// So many of the first are baselines; the fastest of them is the one that counts.
    pub(crate) baselines: usize,
    pub(crate) bounds: Vec<Bound>,
}

/// What is done over and over.
#[derive(Clone, Copy)]
pub(crate) enum Question {
    /// HTTP requests to an edge that a worker answers.
    Http(Workload),
    /// Calls from a plugin of one process to a plugin of another.
    Calls,
}

/// What FrameX must reach, as a ratio to the baseline's figure of the same round.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// At least so much of the baseline's rate.
    Rate(f64),
    /// At least so much of the baseline's efficiency: its CPU for each, over FrameX's.
    Cpu(f64),
    /// At most so much of the baseline's p50.
    P50(f64),
}

/// See `benches/edge/scenario.rs`: either may be the faster baseline, by the size of the answer.
const WRITEV: &str = "baseline";
const FLAT: &str = "baseline writev=off";

/// All scenarios, in the table's order.
pub(crate) fn all() -> Vec<Scenario> {
    use Bound::{Cpu, P50, Rate};
    use Question::{Calls, Http};
    use Workload::{Echo, Kept, Live, Raw};

    let scenario = |name, question, concurrency, compared: &[&str], bounds: &[Bound]| {
        let compared = compared
            .iter()
            .map(|text| Spec::parse(text).expect("it is written here"));
        let compared = compared.collect::<Vec<_>>();
        let baselines = compared
            .iter()
            .filter(|spec| spec.kind == Kind::Baseline)
            .count();
        Scenario {
            name,
            question,
            concurrency,
            compared,
            baselines,
            bounds: bounds.to_vec(),
        }
    };
    let echo = |name, connections, bounds: &[Bound]| {
        scenario(name, Http(Echo), connections, &[FLAT, "framex"], bounds)
    };
    let raw = [WRITEV, FLAT, "framex"];
    let streams = |name, workload, connections, bounds: &[Bound]| {
        scenario(
            name,
            Http(workload),
            connections,
            &[WRITEV, "framex"],
            bounds,
        )
    };
    vec![
        // What does the way through edge, broker and worker cost, where there is nothing else to do?
        echo("echo", 64, &[Rate(0.95), Cpu(0.95)]),
        // How long is that way?
        echo("connections_1", 1, &[Rate(0.95), P50(1.10)]),
        // Does the ratio hold for few and for many connections?
        echo("connections_8", 8, &[Rate(0.95)]),
        echo("connections_256", 256, &[Rate(0.95)]),
        echo("connections_1024", 1024, &[Rate(0.95)]),
        // Is a large body only checked and copied?
        scenario("raw_100kb", Http(Raw), 64, &raw, &[Rate(0.90)]),
        // What does a call cost that one plugin makes to another?
        scenario("calls", Calls, 64, &[WRITEV, "framex"], &[Rate(0.90)]),
        // What does a chunk of a stream cost? The p50 is that of the first chunk.
        streams("live_1", Live, 1, &[]),
        streams("live_64", Live, 64, &[Rate(0.8)]),
        streams("live_1000", Live, 1000, &[]),
        // And one that can be taken up again?
        streams("kept_1", Kept, 1, &[]),
        streams("kept_64", Kept, 64, &[Rate(0.6)]),
        streams("kept_1000", Kept, 1000, &[]),
        // Is the baseline at its best with one thread for each of its processes?
        Scenario {
            baselines: 1,
            ..scenario("threads", Http(Echo), 64, &THREADS, &[])
        },
        Scenario {
            baselines: 1,
            ..scenario("callers", Calls, 64, &CALLERS, &[])
        },
        // What do headers on each request cost?
        Scenario {
            baselines: 1,
            ..scenario("headers", Http(Echo), 64, &HEADERS, &[])
        },
    ]
}

const THREADS: [&str; 5] = [
    FLAT,
    "baseline writev=off threads=2",
    "baseline writev=off threads=2 accept=multi",
    "baseline writev=off workers=2",
    "baseline writev=off timeout=on",
];

const CALLERS: [&str; 3] = [
    WRITEV,
    "baseline threads=2 accept=multi",
    "baseline workers=2",
];

const HEADERS: [&str; 4] = [
    FLAT,
    "baseline writev=off headers=1",
    "baseline writev=off headers=2",
    "baseline writev=off headers=3",
];
