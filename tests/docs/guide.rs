//! The guide, followed from nothing by a real cargo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::markdown::{Block, rewrite};
use crate::process::{self, PATIENCE};
use crate::root;
use crate::shell::{normalised, settled};
use crate::terminals::Terminals;

pub(crate) const DOCUMENT: &str = "docs/guide.md";

/// How long a build may take, the first one included.
const BUILD: Duration = Duration::from_secs(570);

/// So that the package shares what the workspace has built.
const PROFILE: &str = "
[profile.dev]
debug = \"line-tables-only\"

[profile.dev.package.\"*\"]
debug = false
";

/// Makes the package that `document` tells to make, and does with it what it
/// says; gives the document with the outputs as they are.
pub(crate) fn follow(document: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let mut reader = Reader {
        dir: dir.path().to_owned(),
        terminals: Terminals::of(document, dir.path()),
    };
    rewrite(document, |block| reader.block(block))
}

struct Reader {
    dir: PathBuf,
    terminals: Terminals,
}

impl Reader {
    fn block(&mut self, block: &Block) -> Option<String> {
        match block.kind.as_str() {
            "sh" => {
                for command in block.text.lines() {
                    self.command(command);
                }
                None
            }
            "console" => Some(settled(block, self.terminals.may_settle(), |command| {
                self.ask(command)
            })),
            kind if kind.starts_with("rust") => {
                let file = block.text.lines().next()?.strip_prefix("// ")?;
                if Path::new(file).extension().is_some_and(|e| e == "rs") {
                    std::fs::write(self.dir.join(file), &block.text).expect("a file is written");
                }
                None
            }
            _ => None,
        }
    }

    fn command(&mut self, command: &str) {
        if let Some(dir) = command.strip_prefix("cd ") {
            self.dir.push(dir);
            // The same versions as here, without asking a registry.
            let lock = self.dir.join("Cargo.lock");
            std::fs::copy(root().join("Cargo.lock"), lock).expect("a lock file");
            let manifest = self.dir.join("Cargo.toml");
            let text = std::fs::read_to_string(&manifest).expect("a manifest");
            std::fs::write(manifest, text + PROFILE).expect("a file is written");
            return;
        }
        let binary = self.target().join("debug/greeter");
        if self.terminals.start(command, &binary) {
            return;
        }
        let here = format!("--path {}", root().display());
        let command = command.replace("--path ../framex", &here);
        let arguments = command.strip_prefix("cargo ").expect("cargo's");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(arguments.split(' '))
            .envs(self.terminals.variables())
            .env("CARGO_TARGET_DIR", self.target())
            .env("CARGO_NET_OFFLINE", "true");
        // What this process got from its own cargo is not for that one.
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_") {
                cargo.env_remove(name);
            }
        }
        let (code, stdout, stderr) = process::run(&mut cargo, &self.dir, BUILD);
        assert_eq!(code, Some(0), "{command}:\n{stdout}{stderr}");
    }

    /// Where this test was built.
    fn target(&self) -> PathBuf {
        let test = std::env::current_exe().expect("a test has a path");
        let target = test.ancestors().nth(3).expect("target/<profile>/deps");
        target.join("guide")
    }

    fn ask(&self, command: &str) -> String {
        let curl = command.strip_prefix("curl ").expect("curl");
        let line = self.terminals.real(&format!("curl --silent {curl}"));
        let mut shell = Command::new("sh");
        let (_, stdout, _) = process::run(shell.arg("-c").arg(line), &self.dir, PATIENCE);
        normalised(&self.terminals.usual(&stdout))
    }
}
