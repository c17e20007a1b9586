//! Which server a child process runs, and how: `baseline threads=2 writev=off`.
//!
//! Those that stand in front of another one start it, as a process of their own: its time and
//! memory are not theirs.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::common::child::{self, Server};
use crate::common::knob::{number, switch};
use crate::common::threads::Threads;

/// The servers that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `baseline/`: hyper and a hand-written handler.
    Baseline,
    /// `axum_server.rs`: the same routes as an axum user writes them.
    Axum,
    /// `framex.rs`: the same routes as a plugin.
    Framex,
    /// `reverse.rs`: a reverse proxy in front of a baseline, by hand.
    Reverse,
    /// `framex.rs`: the bridge in front of a baseline.
    Bridge,
}

impl Kind {
    /// Whether it is what others are measured against.
    pub(crate) fn is_baseline(self) -> bool {
        matches!(self, Self::Baseline | Self::Reverse)
    }

    /// Whether it is what is held to the bounds.
    pub(crate) fn is_framex(self) -> bool {
        matches!(self, Self::Framex | Self::Bridge)
    }
}

/// A server and its knobs. What is `None` is left as hyper or tokio have it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    text: String,
    pub(crate) kind: Kind,
    pub(crate) threads: Threads,
    /// Seconds; with it, hyper gets a timer.
    pub(crate) header_timeout: Option<u64>,
    /// Seconds; the same end with a timer that is rarely set.
    pub(crate) idle_timeout: Option<u64>,
    /// `hyper_util`'s builder that detects HTTP/2, instead of plain HTTP/1.
    pub(crate) auto: bool,
    pub(crate) writev: Option<bool>,
    pub(crate) max_buf: Option<usize>,
    pub(crate) pipeline_flush: Option<bool>,
    /// Stream chunks from a constant, instead of encoding each.
    pub(crate) constant_chunks: bool,
    /// FrameX's streams end with their client, as the others' do, and are not kept.
    pub(crate) live: bool,
    /// Another build of this bench to run the server from: an older commit, another allocator.
    pub(crate) exe: Option<PathBuf>,
}

impl Spec {
    /// Reads `<server> [knob=value ..]`.
    ///
    /// # Errors
    ///
    /// A text that names the server, knob or value that is unknown.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let kind = match words.next() {
            Some("baseline") => Kind::Baseline,
            Some("axum") => Kind::Axum,
            Some("framex") => Kind::Framex,
            Some("reverse") => Kind::Reverse,
            Some("bridge") => Kind::Bridge,
            other => return Err(format!("no such server: {other:?}")),
        };
        let mut spec = Self {
            text: text.to_owned(),
            kind,
            threads: Threads::new(),
            header_timeout: None,
            idle_timeout: None,
            auto: false,
            writev: None,
            max_buf: None,
            pipeline_flush: None,
            constant_chunks: false,
            live: false,
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
                "header_timeout" => spec.header_timeout = Some(number(value)?),
                "idle_timeout" => spec.idle_timeout = Some(number(value)?),
                "auto" => spec.auto = switch(value)?,
                "writev" => spec.writev = Some(switch(value)?),
                "max_buf" => spec.max_buf = Some(number(value)?),
                "pipeline_flush" => spec.pipeline_flush = Some(switch(value)?),
                "constant_chunks" => spec.constant_chunks = switch(value)?,
                "live" => spec.live = switch(value)?,
                "exe" => spec.exe = Some(value.into()),
                _ => return Err(format!("no such knob: `{knob}`")),
            }
        }
        Ok(spec)
    }

    /// The same with `threads`, unless it says itself.
    pub(crate) fn with_threads(&self, threads: usize) -> Self {
        let mut spec = self.clone();
        if spec.threads.count.is_none() {
            spec.threads.count = Some(threads);
            spec.text = format!("{} threads={threads}", self.text);
        }
        spec
    }

    /// Starts the server in a process of its own.
    ///
    /// # Errors
    ///
    /// What the process said, if it ended without an address.
    pub(crate) fn start(&self) -> Result<Server, String> {
        let mut command = match &self.exe {
            Some(exe) => Command::new(exe),
            None => child::again(),
        };
        let words = self.text.split_whitespace();
        command
            .arg("serve")
            .args(words.filter(|word| !word.starts_with("exe=")));
        Server::spawn(command)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
