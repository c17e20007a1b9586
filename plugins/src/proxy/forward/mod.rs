//! Forwarding: from a call to a request, and from its answer to a reply.
//!
//! A [`Forwarder`] is all that calls of one upstream share: its connections, its circuit
//! breaker, its limit and its counters. What comes from an HTTP client ([`Passed`]) is sent
//! on as it came and answered as the upstream answers; what a plugin names ([`Named`]) is
//! made a request, and its answer a value, a stream of events, or an error.

mod breaker;
mod failure;
mod fetch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use framex_core::args::{Args, Named, Passed};
use framex_core::context::Context;
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::{Error, Result};
use framex_core::plugin::Handler;
use framex_core::reply::Reply;
use futures_core::future::BoxFuture;
use http::HeaderValue;
use tokio::sync::watch;

use super::operation::Shape;
use super::upstream::Upstream;
pub(crate) use breaker::Circuit;
pub(crate) use fetch::{FetchError, Fetched};

/// See the module.
pub(crate) struct Forwarder {
    upstream: Arc<Upstream>,
    /// This process' bridge, as trails name it.
    bridge: Arc<str>,
    /// Whether the upstream is a FrameX: its envelopes are opened then.
    framex: AtomicBool,
    circuit: watch::Sender<Circuit>,
}

/// What became of an upstream's calls so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Its circuit breaker.
    pub(crate) circuit: Circuit,
    /// Calls that were sent, or tried to.
    pub(crate) requests: u64,
    /// Those of them that brought no answer: refused, broken, too slow.
    pub(crate) failures: u64,
    /// Requests that were sent a second time.
    pub(crate) retries: u64,
    /// Calls that are not answered to their end.
    pub(crate) in_flight: usize,
    /// Calls that were refused since too many were.
    pub(crate) refused: u64,
}

impl Forwarder {
    /// The forwarder to `upstream`, of the process that trails call `bridge`.
    ///
    /// # Errors
    ///
    /// 500 if the upstream speaks TLS and no root certificates can be read.
    pub(crate) fn new(upstream: Arc<Upstream>, bridge: Arc<str>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            upstream,
            bridge,
            framex: AtomicBool::new(false),
            circuit: watch::Sender::new(Circuit::Closed),
        }))
    }

    /// Says whether the upstream is a FrameX, as its document tells.
    pub(crate) fn set_framex(&self, framex: bool) {
        self.framex.store(framex, Ordering::Relaxed);
    }

    /// What runs the API that stands for an operation of `shape`.
    pub(crate) fn operation(
        self: &Arc<Self>,
        descriptor: Arc<ApiDescriptor>,
        shape: Arc<Shape>,
    ) -> Arc<dyn Handler> {
        Arc::new(Operation {
            forwarder: Arc::clone(self),
            descriptor,
            shape,
        })
    }

    /// Passes on a client's request for which there is no operation. Whether its path may
    /// be asked for is the caller's business.
    ///
    /// # Errors
    ///
    /// Those of forwarding; an upstream's own errors are replies.
    pub(crate) async fn pass(self: &Arc<Self>, ctx: &Context, passed: Passed) -> Result<Reply> {
        let _ = (ctx, passed, &self.upstream, &self.bridge);
        Err(Error::unavailable("not yet"))
    }

    /// Calls `target` for a plugin, for which there is no operation: `GET /x`, or a path alone.
    /// Without a method it is `GET` if nothing is named, else `POST`. The values become the query
    /// of methods that have no body, else a JSON object, or a form if there are files.
    ///
    /// # Errors
    ///
    /// Those of forwarding, and the upstream's own.
    pub(crate) async fn call(
        self: &Arc<Self>,
        ctx: &Context,
        target: &str,
        named: Named,
    ) -> Result<Reply> {
        let _ = (ctx, target, named);
        Err(Error::unavailable("not yet"))
    }

    /// Asks for a document at `path`, which is below the upstream's URL.
    ///
    /// # Errors
    ///
    /// [`FetchError`], whose text names no address.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        etag: Option<&HeaderValue>,
    ) -> Result<Fetched, FetchError> {
        let _ = (path, etag);
        Err(FetchError::Failed(Error::unavailable("not yet")))
    }

    /// The circuit breaker, whenever it changes.
    pub(crate) fn circuit(&self) -> watch::Receiver<Circuit> {
        self.circuit.subscribe()
    }

    /// What became of the calls so far.
    pub(crate) fn state(&self) -> State {
        State {
            circuit: *self.circuit.borrow(),
            requests: 0,
            failures: 0,
            retries: 0,
            in_flight: 0,
            refused: 0,
        }
    }
}

/// Runs an API that stands for an operation.
struct Operation {
    forwarder: Arc<Forwarder>,
    descriptor: Arc<ApiDescriptor>,
    shape: Arc<Shape>,
}

impl Handler for Operation {
    fn call(&self, ctx: Context, args: Args) -> BoxFuture<'static, Result<Reply>> {
        let forwarder = Arc::clone(&self.forwarder);
        let (descriptor, shape) = (Arc::clone(&self.descriptor), Arc::clone(&self.shape));
        Box::pin(async move {
            let _ = (args, descriptor, shape, &forwarder.framex);
            forwarder.call(&ctx, "", Named::default()).await
        })
    }
}
