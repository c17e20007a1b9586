//! The documents are true: every code block in README.md and docs/*.md is
//! compiled or run.
//!
//! - `rust`: by `cargo test --doc`, through `src/lib.rs`;
//! - `toml`: read as settings;
//! - `sh`: run; `console`: run, and the output compared; `framex` and
//!   `cargo run` are the binary under test, the guide's `cargo` is a real one,
//!   and so is `nats-server`;
//! - `json` in docs/protocol.md: what is really on the wire;
//! - any other kind is an error.
//!
//! They need `sh` and `curl`.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` writes the outputs anew.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests are tests"
)]

mod guide;
mod markdown;
#[path = "../process/mod.rs"]
mod process;
mod protocol;
mod shell;
mod terminals;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use framex::settings::{Settings, Sources, reference};
use framex::{CallError, Error};
use framex_core::error::Part;
use framex_core::kept;

use markdown::{Block, blocks};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and docs/*.md, relative to the root.
fn documents() -> Vec<PathBuf> {
    let mut all = vec![PathBuf::from("README.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            all.push(path.strip_prefix(root()).unwrap().to_owned());
        }
    }
    all.sort();
    all
}

fn read(document: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(document)).unwrap()
}

fn updating() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

/// That `document` says `wanted`; with `UPDATE_DOCS` it does from now on.
fn expect(document: &str, wanted: &str) {
    let is = read(document);
    if is == wanted {
        return;
    }
    if updating() {
        std::fs::write(root().join(document), wanted).unwrap();
        return;
    }
    let differs = is
        .lines()
        .zip(wanted.lines())
        .find(|(is, wanted)| is != wanted);
    let (is, wanted) = differs.unwrap_or(("(more or less lines)", ""));
    panic!(
        "{document} is not up to date:\n  is     {is}\n  wanted {wanted}\nrun `UPDATE_DOCS=1 cargo test --test docs` and look at the difference"
    );
}

#[test]
fn every_block_is_of_a_kind_that_is_checked() {
    let compiled = read("src/lib.rs");
    for document in documents() {
        let name = document.to_str().unwrap();
        for Block { kind, line, .. } in blocks(&read(&document)) {
            let (language, attributes) = kind.split_once(',').unwrap_or((&kind, ""));
            let checked = match language {
                "rust" => {
                    compiled.contains(&format!("include_str!(\"../{name}\")"))
                        && matches!(attributes, "" | "no_run")
                }
                "sh" | "console" => SHELLS.contains(&name) || name == guide::DOCUMENT,
                "toml" => true,
                "json" => name == protocol::DOCUMENT,
                _ => false,
            };
            assert!(checked, "{name}:{line}: nothing checks a block of `{kind}`");
        }
    }
}

#[test]
fn settings_are_read() {
    for document in documents() {
        for block in blocks(&read(&document)).iter().filter(|b| b.kind == "toml") {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("config.toml"), &block.text).unwrap();
            let sources = Sources {
                dir: dir.path().to_owned(),
                ..Sources::default()
            };
            if let Err(error) = Settings::load(&sources) {
                panic!("{}:{}: {error}", document.display(), block.line);
            }
        }
    }
}

/// The documents whose commands run beside a server that they start.
const SHELLS: [&str; 6] = [
    "README.md",
    "docs/bridge.md",
    "docs/cli.md",
    "docs/http.md",
    "docs/operating.md",
    "docs/settings.md",
];

#[test]
fn readme_runs() {
    expect("README.md", &shell::run(&read("README.md")));
}

#[test]
fn cli_runs() {
    expect("docs/cli.md", &shell::run(&read("docs/cli.md")));
}

#[test]
fn bridge_runs() {
    expect("docs/bridge.md", &shell::run(&read("docs/bridge.md")));
}

#[test]
fn http_runs() {
    expect("docs/http.md", &shell::run(&read("docs/http.md")));
}

#[test]
fn operating_runs() {
    expect("docs/operating.md", &shell::run(&read("docs/operating.md")));
}

/// Builds a package of its own, which takes a while the first time.
#[test]
fn guide_runs() {
    expect(guide::DOCUMENT, &guide::follow(&read(guide::DOCUMENT)));
}

#[test]
fn settings_run_and_list_every_key() {
    const BEGIN: &str = "<!-- generated: UPDATE_DOCS=1 cargo test --test docs -->\n";
    const END: &str = "<!-- end -->";
    let text = shell::run(&read("docs/settings.md"));
    let (before, rest) = text.split_once(BEGIN).expect("the begin of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    expect(
        "docs/settings.md",
        &format!("{before}{BEGIN}{}{END}{after}", keys()),
    );
}

/// A section for each table of settings.
fn keys() -> String {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    let all = reference();
    for key in &all {
        let table = key.key.split_once('.').map_or("", |(table, _)| table);
        let default = match &key.default {
            serde_json::Value::Null => "none".to_owned(),
            value => format!("`{value}`"),
        };
        let section = sections.entry(table).or_default();
        let _ = writeln!(
            section,
            "| `{}` | `{}` | {default} | {} | {} |",
            key.key, key.variable, key.allowed, key.doc
        );
    }
    let mut text = String::new();
    for (table, rows) in sections {
        let heading = match table {
            "" => "At the top".to_owned(),
            table => format!("`[{table}]`"),
        };
        let _ = writeln!(
            text,
            "\n### {heading}\n\n| key | variable | default | allowed | meaning |\n|---|---|---|---|---|\n{}",
            rows.trim_end()
        );
    }
    text.push('\n');
    text
}

/// The codes in docs/http.md are those that FrameX sends.
#[test]
fn codes_are_true() {
    let api = framex::id::ApiId::parse("a.B.c").unwrap();
    let target = "x".to_owned();
    let too_large = |part| CallError::TooLarge {
        api: api.clone(),
        part,
        size: 2,
        most: 1,
    };
    let calls = [
        CallError::Unknown {
            target: target.clone(),
        },
        CallError::Ambiguous {
            target: target.clone(),
            candidates: String::new(),
        },
        CallError::NoResponders { api: api.clone() },
        CallError::Undeclared {
            plugin: String::new(),
            target,
        },
        CallError::Overloaded { api: api.clone() },
        CallError::TimedOut {
            api: api.clone(),
            budget: std::time::Duration::ZERO,
        },
        CallError::Loop {
            api: api.clone(),
            hops: 0,
        },
        CallError::Stopping { api: api.clone() },
        CallError::Disconnected { api: api.clone() },
        CallError::Lost {
            api: api.clone(),
            why: "",
        },
        CallError::Refused {
            api: api.clone(),
            subject: String::new(),
        },
        too_large(Part::Arguments),
        too_large(Part::Answer),
        CallError::BadReply {
            api,
            reason: String::new(),
        },
    ];
    let streams = [
        kept::gone(),
        kept::incomplete(),
        kept::interrupted(),
        kept::not_yours(),
        kept::stopped(),
        kept::abandoned(std::time::Duration::ZERO),
    ];
    let calls: Vec<(u16, String)> = calls
        .into_iter()
        .map(CallError::into_error)
        .chain(streams)
        .map(|error| (error.status().as_u16(), error.code().to_owned()))
        .collect();
    let text = read("docs/http.md");
    let rows: Vec<(u16, String)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let status = cells.next()?.parse().ok()?;
            let code = cells.next()?.trim_matches('`').to_owned();
            Some((status, code))
        })
        .collect();
    assert!(rows.len() > 15, "{rows:?}");
    for row in &rows {
        let status = http_status(row.0);
        let own = [
            "validation_failed",
            "unexpected_reply",
            "upload_interrupted",
        ]
        .contains(&row.1.as_str());
        let by_status = Error::new(status, "").code() == row.1;
        assert!(own || by_status || calls.contains(row), "{row:?}");
    }
    for call in &calls {
        assert!(rows.contains(call), "docs/http.md does not list {call:?}");
    }
}

fn http_status(status: u16) -> framex::prelude::StatusCode {
    framex::prelude::StatusCode::from_u16(status).unwrap()
}

/// All Rust of the workspace but its tests.
fn sources() -> String {
    let mut sources = String::new();
    let mut dirs: Vec<PathBuf> = ["src", "core", "bus", "http-edge", "plugins"]
        .map(|dir| root().join(dir))
        .into();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}

/// The lines of the log that docs/operating.md explains are written somewhere.
#[test]
fn log_lines_are_true() {
    let sources = sources();
    let text = read("docs/operating.md");
    let rows = text.lines().filter_map(|line| {
        let line = line
            .strip_prefix("| warn | ")
            .or(line.strip_prefix("| error | "));
        line.and_then(|rest| rest.split(" | ").next())
    });
    let rows: Vec<&str> = rows.collect();
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        for said in row.split('`').skip(1).step_by(2) {
            for part in said.split("..").map(|part| part.trim_matches([' ', ':'])) {
                assert!(sources.contains(part), "no line of the log says `{part}`");
            }
        }
    }
}

/// What ARCHITECTURE.md names by a path is there.
#[test]
fn names_are_true() {
    let sources = sources();
    let there = |name: &str| {
        let kinds = [
            "fn",
            "struct",
            "enum",
            "trait",
            "mod",
            "type",
            "macro_rules!",
        ];
        kinds.iter().any(|kind| {
            let item = format!("{kind} {name}");
            let mut found = sources.split(&item).skip(1);
            found.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    };
    let text = read("ARCHITECTURE.md");
    let spans = text.split('`').skip(1).step_by(2);
    let paths = spans.filter(|span| span.contains("::"));
    for path in paths {
        let path = path.split(['(', '<', '!']).next().unwrap();
        for name in path.split("::").filter(|name| !name.is_empty()) {
            // Crates, and what is not ours.
            if !matches!(
                name,
                "framex" | "core" | "std" | "error" | "Error" | "tower" | "Service"
            ) {
                assert!(there(name), "ARCHITECTURE.md names `{path}`: no `{name}`");
            }
        }
    }
}

/// Links between the documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    let mut all = documents();
    all.extend(["ARCHITECTURE.md", "CHANGELOG.md"].map(PathBuf::from));
    for document in all {
        let text = read(&document);
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => root().join(&document),
                file => root().join(&document).parent().unwrap().join(file),
            };
            assert!(path.exists(), "{}: {target}", document.display());
            if !anchor.is_empty() {
                let headings = std::fs::read_to_string(&path).unwrap();
                let found = headings.lines().any(|line| {
                    let heading = line.trim_start_matches('#');
                    heading.len() < line.len() && markdown::anchor(heading) == anchor
                });
                assert!(found, "{}: {target}", document.display());
            }
        }
    }
}
