//! What this process serves on the broker.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use framex_core::descriptor::{ApiDescriptor, PluginMetadata};
use tokio::sync::watch;

use super::Shared;
use super::link::Link;
use crate::local::LocalApi;

/// A plugin that others may call.
pub(crate) struct Offer {
    pub(crate) plugin: Arc<PluginMetadata>,
    pub(crate) apis: Vec<OfferedApi>,
    pub(crate) state: watch::Sender<OfferState>,
}

/// How far an offer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferState {
    /// The broker does not have its subscriptions yet.
    Starting,
    /// Others may call it.
    Ready,
    /// It takes what is on its way, and nothing that starts now.
    Draining,
    /// It is gone.
    Stopped,
}

/// An API of an offer.
pub(crate) struct OfferedApi {
    pub(crate) descriptor: Arc<ApiDescriptor>,
    pub(crate) local: Arc<LocalApi>,
    pub(crate) stats: Stats,
}

/// What `$SRV.STATS` tells of an API.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) requests: AtomicU64,
    pub(crate) errors: AtomicU64,
    /// In nanoseconds, altogether.
    pub(crate) time: AtomicU64,
    pub(crate) last_error: Mutex<String>,
}

/// Everything this process offers.
pub(crate) struct Offers {
    all: Mutex<Vec<Arc<Offer>>>,
    /// Counts changes of offers and of their states.
    pub(crate) changes: watch::Sender<u64>,
}
