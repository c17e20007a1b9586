//! Runs the commands of a document, with `framex` on the path, beside the
//! servers that the document starts.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::markdown::{Block, rewrite};
use crate::process::{self, PATIENCE};
use crate::terminals::Terminals;

/// The binary under test.
const FRAMEX: &str = env!("CARGO_BIN_EXE_framex");

/// Commands that are shown and not run here: one that runs this, and one that
/// would change the machine (what it installs is there all the same).
const NOT_HERE: [&str; 2] = ["cargo test --workspace", "pip install nats-py"];

/// What a file begins with that the commands after it run with.
const CONFIG: &str = "# config.toml";

/// How long it may take until everybody knows what has just changed.
const SETTLED: Duration = Duration::from_secs(5);

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
        terminals: Terminals::of(document, &work),
    };
    rewrite(document, |block| shell.block(block))
}

struct Shell<'a> {
    path: String,
    work: &'a Path,
    terminals: Terminals,
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
            "toml" if block.text.starts_with(CONFIG) => {
                let text = self.terminals.real(&block.text);
                std::fs::write(self.work.join("config.toml"), text).expect("a file");
                None
            }
            "console" => Some(settled(block, self.terminals.may_settle(), |command| {
                self.run(command).1
            })),
            _ => None,
        }
    }

    fn command(&mut self, command: &str, block: &Block) {
        if NOT_HERE.contains(&command) || self.terminals.start(command, Path::new(FRAMEX)) {
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
        let line = self.terminals.real(&line);
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("{line} 2>&1"))
            .envs(self.terminals.variables())
            .env("PATH", &self.path)
            .env("NO_COLOR", "1");
        let (code, text, _) = process::run(&mut shell, self.work, PATIENCE);
        let mut text = normalised(&self.terminals.usual(&text));
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        (code == Some(0), text)
    }
}

/// The commands of a `console` block with what they print. Where servers tell each
/// other what they know, a command is run again until it prints what the document
/// says, for a while.
pub(crate) fn settled(block: &Block, may_settle: bool, run: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    for (command, shown) in block.commands() {
        let end = Instant::now() + SETTLED;
        let mut printed = run(command);
        while may_settle && printed != shown && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
            printed = run(command);
        }
        text.push_str(&format!("$ {command}\n{printed}"));
    }
    text
}

/// A stream's id.
const STREAM: &str = "1f0c1d9a3be27400000000a1b2c3d4e5";

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
            ("x-framex-stream: /api/v1/streams/", "", STREAM),
            ("content-location: /api/v1/streams/", "", STREAM),
            ("{\"id\": \"", ".", STREAM),
        ] {
            line = fix(&line, before, after, fixed);
        }
        if line.starts_with("id: ") {
            line = fix(&line, "id: ", ".", STREAM);
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
