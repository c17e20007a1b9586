//! Calls and streams between plugins.
//!
//! A [`Bus`] knows who is there ([`Catalog`]) and brings a call to one of them.
//! [`LocalBus`] is the bus of one process: a call is a function call, bounded by
//! a deadline and the plugin's limits, that may fail without taking anybody
//! along. [`nats::NatsBus`] holds a `LocalBus` for what its own process serves,
//! and reaches everything else through a broker.
//!
//! # Delivery
//!
//! At most once. A call that timed out was stopped at its next `.await`; what it
//! had done by then stays done.
//!
//! # Not here
//!
//! HTTP. This crate moves arguments and replies; `framex-http-edge` gives them
//! statuses and envelopes.

mod call;
mod catalog;
mod claims;
mod fallback;
mod kept;
mod local;
pub mod nats;

use std::sync::Arc;

#[cfg(doc)]
use framex_core::context::CallMeta;
use framex_core::context::{Caller, Request};
use framex_core::error::CallError;
use framex_core::kept::{StreamId, gone};
use futures_core::future::BoxFuture;
use tokio::sync::watch;

pub use call::Call;
pub use catalog::{Api, Catalog, PluginEntry};
pub use fallback::Fallback;
pub use kept::{KeepOptions, KeptStream};
pub use local::{LocalBus, ServeError};

/// Brings calls to whoever serves them.
pub trait Bus: Caller + Send + Sync + 'static {
    /// Everything that can be called now.
    fn catalog(&self) -> Arc<Catalog>;

    /// Counts the catalog's changes; wakes whoever waits for the next one.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Starts a call to `api`, an entry of this bus' catalog.
    ///
    /// The reply comes at the earlier of `request`'s deadline and the API's own
    /// timeout at the latest. A stream is bounded in time if the API or the
    /// request says so; else only its first event has to come in time.
    ///
    /// # Errors
    ///
    /// The future gives [`CallError::NoResponders`], [`CallError::Overloaded`]
    /// and [`CallError::Stopping`] at once and without running anything;
    /// [`CallError::TimedOut`] at the deadline; [`CallError::Panicked`] and
    /// [`CallError::Handler`] when the handler fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the stream it gave, stops the handler.
    fn call(&self, api: &Arc<Api>, request: Request) -> Call;

    /// Finds a stream that is kept: one whose call said so ([`CallMeta::keep`]). A bus
    /// may keep none.
    ///
    /// # Errors
    ///
    /// [`kept::gone`](framex_core::kept::gone) if it is not known or no longer
    /// kept; [`CallError::Disconnected`] if nobody can tell now.
    fn find_stream(
        &self,
        id: &StreamId,
    ) -> BoxFuture<'static, Result<Arc<dyn KeptStream>, CallError>> {
        let _ = id;
        Box::pin(std::future::ready(Err(CallError::Handler(gone()))))
    }

    /// What a thread with a single-threaded runtime of its own, that will make
    /// many calls, runs beside its work: a transport may give it a connection of
    /// its own. None where there is nothing to do.
    fn attend(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// Gives the calls that nobody answers to `fallback`: unknown targets, and APIs
    /// without an instance, by their route where they have one. Not those of the bridge's
    /// own APIs (`proxy.ProxyPlugin.*`). The first one stays.
    fn set_fallback(&self, fallback: Arc<dyn Fallback>);

    /// Where such calls go, if anywhere.
    fn fallback(&self) -> Option<&Arc<dyn Fallback>>;

    /// Resolves `target`, an API id, a path or a method and a path, and calls it.
    ///
    /// # Errors
    ///
    /// [`CallError::Unknown`] and [`CallError::Ambiguous`], and as [`Bus::call`].
    fn call_target(&self, target: &str, request: Request) -> Call {
        match self.catalog().resolve(target) {
            Ok(api) => self.call(&api, request),
            Err(error) => fallback::unresolved(self.fallback(), target, request, error, |e| e),
        }
    }
}

/// The outcome of one call.
type Outcome = Result<framex_core::reply::Reply, CallError>;
