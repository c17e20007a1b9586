//! How fast is the edge, beside a hand-written hyper handler and beside axum? And the bridge,
//! beside a reverse proxy?
//!
//! ```text
//! cargo bench --bench edge                                    # the whole table, ten minutes
//! cargo bench --bench edge -- --quick                         # the same, rough, two minutes
//! cargo bench --bench edge -- --only get_echo                 # the scenarios whose name starts so
//! cargo bench --bench edge -- --compare "baseline" "baseline header_timeout=30" --only get_echo
//! ```
//!
//! The table goes to stdout as Markdown, progress to stderr.
//!
//! # How it measures
//!
//! Every server and the load generator run in processes of their own, which are this binary again
//! (`serve ..`, `load ..`). The servers of a scenario take turns for a few seconds each, A B C A B C,
//! and a figure is the median over the rounds of the ratio to the baseline *of the same round*: what
//! a busy machine does to one, it does to the other. CPU comes from the kernel's accounting of the
//! server's process, and is the steadiest of the figures.
//!
//! # Not here
//!
//! Single functions (`benches/instructions.rs`), and NATS.

// The report is this program's output; counts become ratios, and ratios may be rounded.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod axum_server;
mod baseline;
// Each bench of whole servers uses its part of these.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;
mod framex;
mod life;
mod report;
mod reverse;
mod rounds;
mod scenario;
mod spec;

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::common::{child, figures, load};
use crate::spec::{Kind, Spec};

/// The speed of the edge, as ratios to baselines of the same run.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
struct Options {
    /// Rounds; in each, every server of a scenario has one turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn, after its warm-up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only the scenarios whose names start with one of these.
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// Threads of each server, where the scenario does not say.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Three rounds of half a second, and a tenth of the calls for the memory figures.
    #[arg(long)]
    quick: bool,
    /// Servers to set against the first of them, each as `<server> [knob=value ..]`.
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
    /// Serves until stdin closes; prints the address.
    #[command(hide = true)]
    Serve { spec: Vec<String> },
    /// Loads a server and prints one line of JSON.
    #[command(hide = true)]
    Load(load::Options),
}

fn main() {
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Serve { spec }) => {
            let spec = Spec::parse(&spec.join(" ")).expect("the parent writes it well");
            child::exit_with_parent();
            match spec.kind {
                Kind::Baseline => baseline::serve(&spec),
                Kind::Axum => axum_server::serve(&spec),
                Kind::Framex => framex::serve(&spec),
                Kind::Reverse => {
                    let upstream = upstream();
                    reverse::serve(&spec, upstream.address);
                }
                Kind::Bridge => {
                    let upstream = upstream();
                    framex::bridge(&spec, upstream.address);
                }
            }
        }
        Some(Role::Load(options)) => {
            let sample = load::run(&options);
            println!(
                "{}",
                serde_json::to_string(&sample).expect("numbers are JSON")
            );
        }
        None if cli.options.bench => bench(cli.options),
        None => println!("nothing is measured without `cargo bench`"),
    }
}

/// What a reverse proxy stands in front of.
fn upstream() -> child::Server {
    let upstream = Spec::parse("baseline writev=off").expect("it is written here");
    upstream
        .start()
        .unwrap_or_else(|why| panic!("no upstream: {why}"))
}

fn bench(mut options: Options) {
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
        threads: options.threads,
    };

    println!("{}\n", figures::heading());
    let mut missed = 0;

    println!(
        "Rates and CPU of `events` are those of a chunk. Ratios are medians over {} rounds.\n",
        turn.rounds
    );
    println!("{}", report::COLUMNS);
    for mut scenario in scenario::all().into_iter().filter(|s| wanted(s.name)) {
        if !options.compare.is_empty() {
            scenario.servers.clone_from(&options.compare);
            scenario.baselines = 1;
            scenario.bounds.clear();
        }
        let results = rounds::run(&scenario, &turn);
        missed += report::scenario(&scenario, &results);
    }
    if options.compare.is_empty() && wanted("life") {
        let calls = if options.quick { 100_000 } else { 1_000_000 };
        missed += life::run(calls);
    }
    if options.check && missed > 0 {
        eprintln!("{missed} bounds missed");
        std::process::exit(1);
    }
}
