//! What a bus can do now, for readiness.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Shared;

/// The most problems that are told at one time.
const MOST_PROBLEMS: usize = 100;

/// How a [`NatsBus`](super::NatsBus) stands with its broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether the broker is there now.
    pub connected: bool,
    /// Why not, in words for the operator; without secrets.
    pub trouble: Option<String>,
    /// Name and version of the broker.
    pub broker: Option<String>,
    /// Whether those who serve have been asked for, once at least since the start.
    pub discovered: bool,
    /// Whether everything that this process offers is there for others: the
    /// broker has its subscriptions and refused none.
    pub offered: bool,
    /// Where the streams are kept that this process starts.
    pub streams: Keeping,
    /// What the operator should know: refused subscriptions, instances that
    /// lie, versions that do not fit together.
    pub problems: Vec<String>,
}

/// Where streams are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeping {
    /// In this process.
    #[default]
    InProcess,
    /// The broker is being asked whether it has JetStream.
    Unknown,
    /// In JetStream.
    InStore,
}

/// Problems by who found them.
#[derive(Debug, Default)]
pub(crate) struct Found(Mutex<BTreeMap<String, Vec<String>>>);

impl Shared {
    /// Replaces the problems that `finder` has told of; none: all is well. What is
    /// new is logged.
    pub(crate) fn report(&self, finder: &str, mut problems: Vec<String>) {
        let more = problems.len().saturating_sub(MOST_PROBLEMS);
        if more > 0 {
            problems.truncate(MOST_PROBLEMS);
            problems.push(format!("and {more} problems more"));
        }
        let mut found = self.found.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = found.get(finder).map_or(&[][..], Vec::as_slice);
        if *known == problems[..] {
            return;
        }
        for problem in problems.iter().filter(|p| !known.contains(p)) {
            tracing::warn!("{problem}");
        }
        if problems.is_empty() {
            found.remove(finder);
        } else {
            found.insert(finder.to_owned(), problems);
        }
        let all = found.values().flatten().cloned().collect();
        self.state.send_modify(|state| state.problems = all);
    }
}
