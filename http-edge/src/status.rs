//! What the process can do now, for `/health`, `/ready` and the dashboard.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use framex_core::process::Process;
use http::StatusCode;
use serde::Serialize;

/// A process' state. Shared by the edge, the dashboard and whoever runs it.
#[derive(Debug)]
pub struct Status {
    phase: AtomicU8,
    started: Instant,
    reasons: Mutex<Reasons>,
    version: String,
    process: Arc<Process>,
}

#[derive(Debug, Default)]
struct Reasons {
    /// For good.
    lasting: Vec<String>,
    /// For now, by who said it.
    passing: BTreeMap<&'static str, Vec<Condition>>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Requests had better go elsewhere until it is over: `/ready` answers 503.
    Unready(String),
    /// Something is missing that does not keep the rest from working.
    Degraded(String),
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

/// What `/ready` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// `ready`, `degraded`, `unready`, `starting` or `stopping`.
    pub status: &'static str,
    /// What is missing.
    pub reasons: Vec<String>,
    /// Since the process began.
    pub uptime_seconds: u64,
}

impl Status {
    /// A process that starts, of this version.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self::of(version, Arc::default())
    }

    /// As [`Status::new`], with what the plugins of `process` say.
    #[must_use]
    pub fn of(version: &str, process: Arc<Process>) -> Self {
        Self {
            process,
            phase: AtomicU8::new(STARTING),
            started: Instant::now(),
            reasons: Mutex::default(),
            version: version.to_owned(),
        }
    }

    /// Every plugin that should has started.
    pub fn ready(&self) {
        self.phase.store(READY, Ordering::Release);
    }

    /// The process takes no new calls.
    pub fn stopping(&self) {
        self.phase.store(STOPPING, Ordering::Release);
    }

    /// Something is missing for good that does not keep the rest from working.
    pub fn degraded(&self, reason: String) {
        self.reasons().lasting.push(reason);
    }

    /// What `who` has to say now, in place of what it said before.
    pub fn set(&self, who: &'static str, conditions: Vec<Condition>) {
        self.reasons().passing.insert(who, conditions);
    }

    /// What is missing for good.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.reasons().lasting.clone()
    }

    /// The version of what runs.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What its plugins share.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// What can be done now, and the HTTP status that says so.
    #[must_use]
    pub fn readiness(&self) -> (StatusCode, Readiness) {
        // What matters most comes first.
        let mut unready = Vec::new();
        let mut degraded = Vec::new();
        {
            let reasons = self.reasons();
            for condition in reasons.passing.values().flatten() {
                match condition {
                    Condition::Unready(reason) => unready.push(reason.clone()),
                    Condition::Degraded(reason) => degraded.push(reason.clone()),
                }
            }
            degraded.extend(reasons.lasting.iter().cloned());
        }
        degraded.extend(self.process.degradations());
        let (code, status) = match self.phase.load(Ordering::Acquire) {
            STARTING => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            STOPPING => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            _ if !unready.is_empty() => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
            _ if !degraded.is_empty() => (StatusCode::OK, "degraded"),
            _ => (StatusCode::OK, "ready"),
        };
        unready.append(&mut degraded);
        let readiness = Readiness {
            status,
            reasons: unready,
            uptime_seconds: self.started.elapsed().as_secs(),
        };
        (code, readiness)
    }

    fn reasons(&self) -> std::sync::MutexGuard<'_, Reasons> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_come_and_go() {
        let status = Status::new("1.0.0");
        let seen = || {
            let (code, readiness) = status.readiness();
            (code.as_u16(), readiness.status, readiness.reasons)
        };
        let of = |reasons: &[&str]| reasons.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>();
        assert_eq!(seen(), (503, "starting", of(&[])));
        status.ready();
        assert_eq!(seen(), (200, "ready", of(&[])));
        status.set("dependencies", vec![Condition::Degraded("a".into())]);
        status.degraded("for good".into());
        status.set("broker", vec![Condition::Unready("gone".into())]);
        assert_eq!(seen(), (503, "unready", of(&["gone", "a", "for good"])));
        status.set("broker", Vec::new());
        assert_eq!(seen(), (200, "degraded", of(&["a", "for good"])));
        status.set("dependencies", Vec::new());
        assert_eq!(seen(), (200, "degraded", of(&["for good"])));
        status.stopping();
        assert_eq!(seen().0, 503);
    }
}
