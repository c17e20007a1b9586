//! How many instructions do the hot pieces take?
//!
//! Wall time on a shared machine moves by a tenth from run to run; these counts move by a
//! thousandth, so that two commits can be compared:
//!
//! ```text
//! cargo bench --bench instructions -- --save before.tsv
//! cargo bench --bench instructions -- --against before.tsv
//! ```
//!
//! Needs valgrind. This binary runs again under callgrind, once with N repetitions of a piece and
//! once with 2N; the difference, by N, is the piece without start-up and end.

// The table is this program's output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

// The other benches have more in these than is used here.
#[allow(dead_code)]
#[path = "common/hand/envelope.rs"]
mod envelope;
#[allow(dead_code)]
#[path = "common/hand/query.rs"]
mod query;

use std::collections::HashMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use framex::Reply;
use framex::args::{Args, Decoder, HttpArgs, HttpBody, PathValues};
use framex::bus::Catalog;
use framex::descriptor::{ApiDescriptor, ApiKind, Parameter, PluginMetadata};
use framex::edge::measured::{self, Routes};
use framex::id::ApiId;
use framex::route::Route;
use http::{Method, Uri};

/// Something that happens on every request.
struct Piece {
    name: &'static str,
    /// Does it once. What it needs is made here, outside of the count.
    make: fn() -> Box<dyn FnMut()>,
}

/// An API with the argument `message`.
fn descriptor(id: &str, path: &str) -> ApiDescriptor {
    let mut api = ApiDescriptor::new(ApiId::parse(id).expect("an id"), ApiKind::Http);
    api.routes.push(Route {
        method: Method::GET,
        path: path.to_owned(),
    });
    api.parameters.push(Parameter {
        name: "message".to_owned(),
        required: true,
        schema: serde_json::json!({"type": "string"}),
        ..Parameter::default()
    });
    api
}

/// Fifty routes, two of which are asked for.
fn catalog() -> Catalog {
    let others =
        (0..48).map(|n| descriptor(&format!("many.Many.m{n}"), &format!("/api/v1/many/{n}")));
    let asked = [
        descriptor("echo.Echo.echo", "/api/v1/echo"),
        descriptor("items.Items.item", "/api/v1/items/{id}"),
    ];
    Catalog::from_descriptors(
        others
            .chain(asked)
            .map(|api| (PluginMetadata::default(), api)),
    )
}

/// All pieces, in the table's order.
fn pieces() -> Vec<Piece> {
    vec![
        Piece {
            name: "baseline/query",
            make: || {
                Box::new(|| {
                    let query = black_box(Some("message=hello%20framex"));
                    black_box(query::single(query, "message")).expect("it is well-formed");
                })
            },
        },
        Piece {
            name: "baseline/envelope",
            make: || {
                Box::new(|| {
                    let message = black_box("hello framex");
                    black_box(envelope::success(&message, message.len()));
                })
            },
        },
        Piece {
            name: "framex/route",
            make: || {
                let routes = Routes::new(&catalog());
                Box::new(move || {
                    assert!(routes.find(black_box("/api/v1/echo")));
                })
            },
        },
        Piece {
            name: "framex/route with a parameter",
            make: || {
                let routes = Routes::new(&catalog());
                Box::new(move || {
                    assert!(routes.find(black_box("/api/v1/items/42")));
                })
            },
        },
        Piece {
            name: "framex/arguments",
            make: || {
                let echo = descriptor("echo.Echo.echo", "/api/v1/echo");
                Box::new(move || {
                    let args = Args::from_http(HttpArgs {
                        method: Method::GET,
                        uri: Uri::from_static("/api/v1/echo?message=hello%20framex"),
                        path: PathValues::default(),
                        body: HttpBody::Empty,
                    });
                    let message: Option<String> = Decoder::new(&echo, &args).required(0);
                    black_box(message).expect("it is well-formed");
                })
            },
        },
        Piece {
            name: "framex/envelope",
            make: || {
                Box::new(|| {
                    let Ok(Reply::Value(data)) = Reply::value(black_box("hello framex")) else {
                        unreachable!("a text is a value")
                    };
                    black_box(measured::envelope(data));
                })
            },
        },
    ]
}

/// Instruction counts of the hot pieces.
#[derive(Parser)]
struct Options {
    /// Only the pieces whose names start with one of these.
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// Keeps the counts in a file.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Shows the change from the counts in a file.
    #[arg(long)]
    against: Option<PathBuf>,
    /// In the child: the piece and how often it runs.
    #[arg(long, hide = true, num_args = 2)]
    repeat: Vec<String>,
    /// Given by `cargo bench`; without it (`cargo test --all-targets`) nothing is counted.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let [name, times] = options.repeat.as_slice() {
        repeat(name, times.parse().expect("the parent writes it well"));
    } else if options.bench {
        return report(&options);
    } else {
        println!("nothing is counted without `cargo bench`");
    }
    ExitCode::SUCCESS
}

/// Under callgrind.
fn repeat(name: &str, times: u64) {
    let piece = pieces()
        .into_iter()
        .find(|piece| piece.name == name)
        .expect("the parent knows them");
    let mut once = (piece.make)();
    for _ in 0..times {
        once();
    }
}

fn report(options: &Options) -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!(
            "valgrind is needed: `apt install valgrind`, `dnf install valgrind` or `pacman -S valgrind`"
        );
        return ExitCode::FAILURE;
    }
    let before = options.against.as_ref().map(|file| {
        let text =
            fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, count)| (name.to_owned(), count.parse::<f64>().expect("a count")))
            .collect::<HashMap<_, _>>()
    });

    println!("| piece | instructions | change |\n|---|--:|--:|");
    let mut kept = String::new();
    for piece in pieces() {
        if !options.only.is_empty() && !options.only.iter().any(|only| piece.name.starts_with(only))
        {
            continue;
        }
        let count = instructions(piece.name);
        let change = before.as_ref().and_then(|before| before.get(piece.name));
        let change = change.map_or(String::new(), |old| {
            format!("{:+.1} %", (count / old - 1.0) * 100.0)
        });
        println!("| {} | {count:.1} | {change} |", piece.name);
        writeln!(kept, "{}\t{count:.1}", piece.name).expect("a String grows");
    }
    if let Some(file) = &options.save {
        fs::write(file, kept).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    ExitCode::SUCCESS
}

/// Instructions that one repetition of a piece takes.
fn instructions(name: &str) -> f64 {
    const TIMES: u32 = 2_000;
    let (once, twice) = (collected(name, TIMES), collected(name, 2 * TIMES));
    (twice - once) / f64::from(TIMES)
}

/// Instructions of a whole process that repeats a piece.
fn collected(name: &str, times: u32) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("Linux tells"))
        .args(["--repeat", name, &times.to_string()])
        .output()
        .expect("valgrind was just there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} under valgrind: {said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = line.unwrap_or_else(|| panic!("no count in valgrind's words: {said}"));
    count.trim().parse().expect("a count")
}
