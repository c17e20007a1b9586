//! What does a call cost on its way over NATS, beside a hand-written gateway and worker?
//!
//! ```text
//! cargo bench --bench bus                              # the whole table
//! cargo bench --bench bus -- --quick                   # the same, rough
//! cargo bench --bench bus -- --only echo               # the scenarios whose name starts so
//! cargo bench --bench bus -- --compare "baseline" "baseline headers=2" --only echo
//! ```
//!
//! The table goes to stdout as Markdown, progress to stderr. The nats-server is the one that the tests
//! use: `$NATS_SERVER_BIN`, the `PATH`'s, or one that is fetched.
//!
//! # How it measures
//!
//! As `benches/edge` does: processes of their own, turns of a few seconds, ratios to the baseline
//! of the same round. A turn has a broker, a worker and an edge of its own, all fresh, and the load
//! generator. CPU is that of edge, broker and worker, each from the kernel's accounting.
//!
//! # Not here
//!
//! What failures cost: `tests/failures` counts that.

// The report is this program's output; counts become ratios, and ratios may be rounded.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod baseline;
mod calls;
mod catalog;
// Each bench of whole servers uses its part of these.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod framex;
mod report;
mod rounds;
mod scenario;
mod spec;
mod streams;
mod system;
mod uploads;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::common::{child, figures, load};
use crate::spec::Spec;

/// The speed of calls over NATS, as ratios to baselines of the same run.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
struct Options {
    /// Rounds; in each, everything that a scenario compares has one turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn, after its warm-up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only the scenarios whose names start with one of these.
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// Three rounds of half a second.
    #[arg(long)]
    quick: bool,
    /// What to set against the first of them, each as `<baseline|framex> [knob=value ..]`.
    #[arg(long, num_args = 1.., value_parser = Spec::parse)]
    compare: Vec<Spec>,
    /// Exits with 1 when FrameX misses a bound.
    #[arg(long)]
    check: bool,
    /// Given by `cargo bench`; without it (`cargo test --all-targets`) nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a child process of the bench is.
#[derive(Subcommand)]
enum Role {
    /// The hand-written gateway, worker or caller, until stdin closes.
    #[command(hide = true)]
    Baseline(baseline::Options),
    /// Many instances of plugins, until stdin closes.
    #[command(hide = true)]
    Instances { count: usize, url: String },
    /// Loads a server and prints one line of JSON.
    #[command(hide = true)]
    Load(load::Options),
}

fn main() -> ExitCode {
    if let Some(code) = framex::child() {
        return code;
    }
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Baseline(options)) => {
            child::exit_with_parent();
            baseline::run(&options);
        }
        Some(Role::Instances { count, url }) => {
            child::exit_with_parent();
            framex::instances::serve(count, &url);
        }
        Some(Role::Load(options)) => {
            let sample = load::run(&options);
            println!(
                "{}",
                serde_json::to_string(&sample).expect("numbers are JSON")
            );
        }
        None if cli.options.bench => return bench(cli.options),
        None => println!("nothing is measured without `cargo bench`"),
    }
    ExitCode::SUCCESS
}

fn bench(mut options: Options) -> ExitCode {
    if options.quick {
        options.rounds = options.rounds.min(3);
        options.seconds = options.seconds.min(0.5);
    }
    let wanted = |name: &str| {
        options.only.is_empty() || options.only.iter().any(|only| name.starts_with(only))
    };
    let turn = rounds::Turn {
        rounds: options.rounds,
        length: Duration::from_secs_f64(options.seconds),
    };

    println!("{}; {}\n", figures::heading(), system::broker_version());
    println!("Ratios are medians over {} rounds.\n", turn.rounds);
    println!("{}", report::COLUMNS);
    let mut missed = 0;
    for mut scenario in scenario::all().into_iter().filter(|s| wanted(s.name)) {
        if !options.compare.is_empty() {
            scenario.compared.clone_from(&options.compare);
            scenario.baselines = 1;
            scenario.bounds.clear();
        }
        let results = rounds::run(&scenario, &turn);
        missed += report::scenario(&scenario, &results);
    }
    if options.compare.is_empty() && wanted("catalog") {
        missed += catalog::run();
    }
    if options.compare.is_empty() && wanted("streams") {
        missed += streams::run();
    }
    if options.compare.is_empty() && wanted("uploads") {
        missed += uploads::run();
    }
    if options.check && missed > 0 {
        eprintln!("{missed} bounds missed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
