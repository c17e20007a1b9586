//! What the process can do now, for `/health`, `/ready` and the dashboard.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use http::StatusCode;
use serde::Serialize;

/// A process' state. Shared by the edge, the dashboard and whoever runs it.
#[derive(Debug)]
pub struct Status {
    phase: AtomicU8,
    started: Instant,
    reasons: Mutex<Vec<String>>,
    version: String,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

/// What `/ready` answers.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// `ready`, `degraded`, `starting` or `stopping`.
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
        Self {
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

    /// Something is missing that does not keep the rest from working.
    pub fn degraded(&self, reason: String) {
        self.reasons
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(reason);
    }

    /// The version of what runs.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What can be done now, and the HTTP status that says so.
    #[must_use]
    pub fn readiness(&self) -> (StatusCode, Readiness) {
        let reasons = self
            .reasons
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let (code, status) = match self.phase.load(Ordering::Acquire) {
            STARTING => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            STOPPING => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            _ if reasons.is_empty() => (StatusCode::OK, "ready"),
            _ => (StatusCode::OK, "degraded"),
        };
        let readiness = Readiness {
            status,
            reasons,
            uptime_seconds: self.started.elapsed().as_secs(),
        };
        (code, readiness)
    }
}
