//! What the plugins of one process share, whichever bus they are on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::function::Elsewhere;

/// See the module. A bus has one.
#[derive(Default)]
pub struct Process {
    conditions: Mutex<BTreeMap<String, String>>,
    meters: Mutex<Vec<Arc<dyn Meter>>>,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
}

/// Something that counts or measures, asked whenever metrics are.
pub trait Meter: Send + Sync {
    /// What it has now.
    fn read(&self) -> Vec<Metric>;
}

/// One number, in the terms of Prometheus.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name, with its unit at the end, without `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether it only ever grows.
    pub kind: MetricKind,
    /// Bounded: no value of a request's.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: f64,
}

/// How a [`Metric`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Process {
    /// Says that something is not as it should be, though the rest works: `/ready` tells,
    /// until it is said that it is over. `what` names it, `how` is for people.
    pub fn degraded(&self, what: impl Into<String>, how: impl Into<String>) {
        self.conditions().insert(what.into(), how.into());
    }

    /// Says that it is over.
    pub fn restored(&self, what: &str) {
        self.conditions().remove(what);
    }

    /// What is not as it should be now.
    #[must_use]
    pub fn degradations(&self) -> Vec<String> {
        self.conditions().values().cloned().collect()
    }

    /// Adds something that counts or measures, for good.
    pub fn add_meter(&self, meter: Arc<dyn Meter>) {
        self.meters().push(meter);
    }

    /// Every number that there is now.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let meters = self.meters().clone();
        meters.iter().flat_map(|meter| meter.read()).collect()
    }

    /// Says which functions run elsewhere. The first to say so stays.
    pub fn set_elsewhere(&self, elsewhere: Arc<dyn Elsewhere>) {
        let _ = self.elsewhere.set(elsewhere);
    }

    /// Who knows which functions run elsewhere.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&Arc<dyn Elsewhere>> {
        self.elsewhere.get()
    }

    fn conditions(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn meters(&self) -> std::sync::MutexGuard<'_, Vec<Arc<dyn Meter>>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("conditions", &self.degradations())
            .finish_non_exhaustive()
    }
}
