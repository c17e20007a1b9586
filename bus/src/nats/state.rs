//! What a bus can do now, for readiness.

use std::collections::BTreeMap;

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
    /// What the operator should know: refused subscriptions, instances that
    /// lie, versions that do not fit together.
    pub problems: Vec<String>,
    /// The same, by who found them.
    found: BTreeMap<String, Vec<String>>,
}

impl State {
    /// Replaces what `finder` has found; gives what is new of it.
    fn find(&mut self, finder: &str, mut problems: Vec<String>) -> Vec<String> {
        let more = problems.len().saturating_sub(MOST_PROBLEMS);
        if more > 0 {
            problems.truncate(MOST_PROBLEMS);
            problems.push(format!("and {more} problems more"));
        }
        let known = self.found.get(finder);
        let is_new = |problem: &&String| known.is_none_or(|known| !known.contains(problem));
        let news = problems.iter().filter(is_new).cloned().collect();
        if let Some(known) = known {
            self.problems.retain(|problem| !known.contains(problem));
        }
        self.problems.extend(problems.iter().cloned());
        if problems.is_empty() {
            self.found.remove(finder);
        } else {
            self.found.insert(finder.to_owned(), problems);
        }
        news
    }
}

impl Shared {
    /// Replaces the problems that `finder` has told of; none: all is well. What is
    /// new is logged.
    pub(crate) fn report(&self, finder: &str, problems: Vec<String>) {
        self.state.send_if_modified(|state| {
            let known = state.found.get(finder).map_or(&[][..], Vec::as_slice);
            if *known == problems[..] {
                return false;
            }
            for problem in state.find(finder, problems) {
                tracing::warn!("{problem}");
            }
            true
        });
    }
}
