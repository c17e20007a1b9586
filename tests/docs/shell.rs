//! Runs the commands of a document, with `framex` on the path and the ports of
//! the server that the document starts.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::markdown::{Block, rewrite};
use crate::process::{self, PATIENCE, Serving};

/// The binary under test.
const FRAMEX: &str = env!("CARGO_BIN_EXE_framex");

/// Commands that are shown and cannot be run here, since they run this.
const NOT_HERE: [&str; 1] = ["cargo test --workspace"];

/// Runs every command of `document`; gives it with the outputs as they are.
pub(crate) fn run(document: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    std::os::unix::fs::symlink(FRAMEX, bin.join("framex")).expect("a link");
    let work = dir.path().join("work");
    std::fs::create_dir(&work).expect("a directory");
    let mut shell = Shell {
        path: format!(
            "{}:{}",
            bin.display(),
            std::env::var("PATH").unwrap_or_default()
        ),
        work: &work,
        serving: None,
    };
    rewrite(document, |block| shell.block(block))
}

struct Shell<'a> {
    path: String,
    work: &'a Path,
    serving: Option<Serving>,
}

impl Shell<'_> {
    /// The new text of a block whose output is shown.
    fn block(&mut self, block: &Block) -> Option<String> {
        match block.kind.as_str() {
            "sh" => {
                for command in block.text.lines() {
                    self.command(command, block);
                }
                None
            }
            "console" => {
                let commands = block.text.lines().filter_map(|l| l.strip_prefix("$ "));
                let mut text = String::new();
                for command in commands {
                    let (_, output) = self.run(command);
                    text.push_str(&format!("$ {command}\n{output}"));
                }
                Some(text)
            }
            _ => None,
        }
    }

    fn command(&mut self, command: &str, block: &Block) {
        if NOT_HERE.contains(&command) {
            return;
        }
        let words: Vec<&str> = command.split(' ').collect();
        let serve = match &words[..] {
            ["cargo", "run", "--", rest @ ..] | ["framex", rest @ ..] => {
                (rest.first() == Some(&"run")).then_some(rest)
            }
            _ => None,
        };
        if let Some(arguments) = serve {
            let mut command = Command::new(FRAMEX);
            self.serving = Some(Serving::start(command.args(arguments), self.work));
            return;
        }
        let (succeeded, output) = self.run(command);
        assert!(succeeded, "line {}: `{command}`: {output}", block.line);
    }

    /// Runs one line. Gives whether it succeeded and what it printed, as it would
    /// be on the usual ports and on a certain day.
    fn run(&self, command: &str) -> (bool, String) {
        let mut line = command.to_owned();
        if let Some(rest) = line.strip_prefix("curl ") {
            line = format!("curl --silent --show-error --max-time 30 {rest}");
        }
        for (usual, real) in self.ports() {
            line = line.replace(usual, &real.to_string());
        }
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("{line} 2>&1"))
            .env("PATH", &self.path)
            .env("NO_COLOR", "1");
        let (code, mut text, _) = process::run(&mut shell, self.work, PATIENCE);
        for (usual, real) in self.ports() {
            text = text.replace(&real.to_string(), usual);
        }
        let mut text = normalised(&text);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        (code == Some(0), text)
    }

    fn ports(&self) -> Vec<(&'static str, SocketAddr)> {
        let Some(serving) = &self.serving else {
            return Vec::new();
        };
        let dashboard = serving
            .dashboard()
            .map(|address| ("127.0.0.1:8260", address));
        let edge = ("127.0.0.1:8080", serving.address());
        dashboard.into_iter().chain([edge]).collect()
    }
}

/// What differs from run to run, made the same.
pub(crate) fn normalised(text: &str) -> String {
    let text = text.replace('\r', "");
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.trim_end().to_owned();
        for (before, after, fixed) in [
            ("\"timestamp\":\"", "\"", "2026-01-01 12:00:00"),
            ("\"request_id\":\"", "\"", "5f0c1d9a3be27400000000a1"),
            ("\"request_id\": \"", "\"", "5f0c1d9a3be27400000000a1"),
            ("x-request-id: ", "", "5f0c1d9a3be27400000000a1"),
            ("date: ", "", "Thu, 01 Jan 2026 12:00:00 GMT"),
            ("\"uptime_seconds\":", "}", "7"),
            ("started in ", " ms", "3.1"),
        ] {
            line = fix(&line, before, after, fixed);
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// `line` with `fixed` between `before` and `after`, unless a client chose what is there.
fn fix(line: &str, before: &str, after: &str, fixed: &str) -> String {
    let Some(start) = line.find(before).map(|at| at + before.len()) else {
        return line.to_owned();
    };
    let rest = &line[start..];
    let end = match after {
        "" => rest.len(),
        after => rest.find(after).unwrap_or(rest.len()),
    };
    if rest[..end].starts_with("order-") {
        return line.to_owned();
    }
    format!("{}{fixed}{}", &line[..start], &rest[end..])
}
