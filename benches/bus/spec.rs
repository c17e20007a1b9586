//! What has a turn, and with which knobs: `baseline headers=2 writev=off`.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::common::child;
use crate::common::knob::{number, switch};
use crate::common::threads::Threads;

/// What can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `baseline/`: hyper and async-nats, by hand.
    Baseline,
    /// `framex.rs`: an edge and a worker as users run them.
    Framex,
}

/// Edge and worker, and their knobs.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    text: String,
    pub(crate) kind: Kind,
    /// Of the edge or the caller; the baseline has a connection to the broker for each runtime.
    pub(crate) threads: Threads,
    /// Threads of the baseline's worker, each with a connection of its own.
    pub(crate) workers: usize,
    /// Headers on each of the baseline's requests, up to 3.
    pub(crate) headers: usize,
    /// Whether the baseline's requests have a time limit.
    pub(crate) timeout: bool,
    /// Whether the baseline's answers are sent as vectors; hyper's own choice where `None`.
    pub(crate) writev: Option<bool>,
    /// Another build of this bench to run edge and worker from.
    pub(crate) exe: Option<PathBuf>,
}

impl Spec {
    /// Reads `<baseline|framex> [knob=value ..]`.
    ///
    /// # Errors
    ///
    /// A text that names what is unknown.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let kind = match words.next() {
            Some("baseline") => Kind::Baseline,
            Some("framex") => Kind::Framex,
            other => return Err(format!("nothing to compare: {other:?}")),
        };
        let mut spec = Self {
            text: text.to_owned(),
            kind,
            threads: Threads::new(),
            workers: 1,
            headers: 0,
            timeout: false,
            writev: None,
            exe: None,
        };
        for word in words {
            let (knob, value) = word
                .split_once('=')
                .ok_or(format!("`{word}` has no value"))?;
            if spec.threads.set(knob, value)? {
                continue;
            }
            match knob {
                "workers" => spec.workers = number(value)?,
                "headers" => spec.headers = number(value)?,
                "timeout" => spec.timeout = switch(value)?,
                "writev" => spec.writev = Some(switch(value)?),
                "exe" => spec.exe = Some(value.into()),
                _ => return Err(format!("no such knob: `{knob}`")),
            }
        }
        Ok(spec)
    }

    /// The binary that plays this.
    pub(crate) fn command(&self) -> Command {
        self.exe.as_ref().map_or_else(child::again, Command::new)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
