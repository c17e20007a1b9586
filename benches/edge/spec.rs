//! Which server a child process runs, and how: `baseline threads=2 writev=off`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The servers that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `baseline/`: hyper and a hand-written handler.
    Baseline,
    /// `axum_server.rs`: the same routes as an axum user writes them.
    Axum,
    /// `framex.rs`: the same routes as a plugin.
    Framex,
}

/// How connections reach the threads of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// A single-threaded runtime per thread, each with a listener of its own (`SO_REUSEPORT`).
    Reuseport,
    /// A single-threaded runtime per thread, connections dealt to them in turn.
    Deal,
    /// One work-stealing runtime with that many workers.
    Multi,
}

/// A server and its knobs. What is `None` is left as hyper or tokio have it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    text: String,
    pub(crate) kind: Kind,
    /// `None` where the scenario or the command line decides.
    pub(crate) threads: Option<usize>,
    pub(crate) accept: Accept,
    /// Seconds; with it, hyper gets a timer.
    pub(crate) header_timeout: Option<u64>,
    /// Seconds; the same end with a timer that is rarely set.
    pub(crate) idle_timeout: Option<u64>,
    /// `hyper_util`'s builder that detects HTTP/2, instead of plain HTTP/1.
    pub(crate) auto: bool,
    pub(crate) writev: Option<bool>,
    pub(crate) max_buf: Option<usize>,
    pub(crate) pipeline_flush: Option<bool>,
    pub(crate) event_interval: Option<u32>,
    pub(crate) global_queue_interval: Option<u32>,
    /// Stream chunks from a constant, instead of encoding each.
    pub(crate) constant_chunks: bool,
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
            other => return Err(format!("no such server: {other:?}")),
        };
        let mut spec = Self {
            text: text.to_owned(),
            kind,
            threads: None,
            accept: Accept::Reuseport,
            header_timeout: None,
            idle_timeout: None,
            auto: false,
            writev: None,
            max_buf: None,
            pipeline_flush: None,
            event_interval: None,
            global_queue_interval: None,
            constant_chunks: false,
            exe: None,
        };
        for word in words {
            let (knob, value) = word
                .split_once('=')
                .ok_or(format!("`{word}` has no value"))?;
            match knob {
                "threads" => spec.threads = Some(number(value)?),
                "accept" => spec.accept = accept(value)?,
                "header_timeout" => spec.header_timeout = Some(number(value)?),
                "idle_timeout" => spec.idle_timeout = Some(number(value)?),
                "auto" => spec.auto = switch(value)?,
                "writev" => spec.writev = Some(switch(value)?),
                "max_buf" => spec.max_buf = Some(number(value)?),
                "pipeline_flush" => spec.pipeline_flush = Some(switch(value)?),
                "event_interval" => spec.event_interval = Some(number(value)?),
                "global_queue_interval" => spec.global_queue_interval = Some(number(value)?),
                "constant_chunks" => spec.constant_chunks = switch(value)?,
                "exe" => spec.exe = Some(value.into()),
                _ => return Err(format!("no such knob: `{knob}`")),
            }
        }
        Ok(spec)
    }

    /// The same with `threads`, unless it says itself.
    pub(crate) fn with_threads(&self, threads: usize) -> Self {
        let mut spec = self.clone();
        if spec.threads.is_none() {
            spec.threads = Some(threads);
            spec.text = format!("{} threads={threads}", self.text);
        }
        spec
    }

    /// Threads to run, one where nothing was said.
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or(1)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn number<N: FromStr>(value: &str) -> Result<N, String> {
    value
        .parse()
        .map_err(|_| format!("`{value}` is not such a number"))
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{value}` is neither `on` nor `off`")),
    }
}

fn accept(value: &str) -> Result<Accept, String> {
    match value {
        "reuseport" => Ok(Accept::Reuseport),
        "deal" => Ok(Accept::Deal),
        "multi" => Ok(Accept::Multi),
        _ => Err(format!("`{value}` is not one of reuseport, deal, multi")),
    }
}
