//! Forwarding: from a call to a request, and from its answer to a reply.
//!
//! A [`Forwarder`] is all that calls of one upstream share: its connections, its circuit
//! breaker, its limit and its counters. What comes from an HTTP client ([`Passed`]) is sent
//! on as it came and answered as the upstream answers; what a plugin names ([`Named`]) is
//! made a request, and its answer a value, a stream of events, or an error.
//!
//! | module | its secret |
//! |---|---|
//! | `admit` | which requests are sent at all, and with which key |
//! | `target`, `headers` | what of a request goes on, and what of an answer comes back |
//! | `named` | how named values become a request |
//! | `send` | whether a request is sent at all, and how often |
//! | `outgoing`, `exchange` | one request on one connection, and how long it may take |
//! | `pool`, `connect`, `wire` | where connections come from |
//! | `breaker`, `failure` | upstreams that do not answer |
//! | `state` | how an upstream is, in `/ready` and `/metrics` |
//! | `answer` | what HTTP clients get |
//! | `value`, `sse`, `framex` | what plugins get |
//! | `fetch` | documents |
//! | `post` | calls of functions |

mod admit;
mod answer;
mod breaker;
mod connect;
mod exchange;
mod failure;
mod fetch;
mod framex;
mod headers;
mod named;
mod outgoing;
mod pool;
mod post;
mod send;
mod sse;
mod state;
mod target;
#[cfg(test)]
mod tests;
mod value;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use framex_core::args::{Args, Named, Passed};
use framex_core::context::Context;
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::{Error, Result};
use framex_core::plugin::Handler;
use framex_core::reply::Reply;
use futures_core::future::BoxFuture;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, LOCATION, TRANSFER_ENCODING,
};
use http::{HeaderValue, Method, Request};

use super::document::Known;
use super::operation::Shape;
use super::upstream::Upstream;
use admit::By;
use answer::Manner;
use breaker::Breaker;
pub(crate) use breaker::{Circuit, LONGEST_REST};
use connect::Connector;
pub(crate) use failure::trail;
pub(crate) use fetch::{FetchError, Fetched};
use headers::Told;
use outgoing::Outgoing;
use pool::Pool;
use send::Counts;

/// See the module.
pub(crate) struct Forwarder {
    upstream: Arc<Upstream>,
    /// This process' bridge, as trails name it.
    bridge: Arc<str>,
    /// What `Host` says.
    host: HeaderValue,
    /// Whether the upstream is a FrameX: its envelopes are opened then.
    framex: AtomicBool,
    /// What the upstream's document says of itself, published or not.
    known: ArcSwap<Known>,
    pool: Arc<Pool>,
    /// Asks for documents.
    documents: reqwest::Client,
    breaker: Arc<Breaker>,
    counts: Arc<Counts>,
}

impl Forwarder {
    /// The forwarder to `upstream`, of the process that trails call `bridge`.
    ///
    /// # Errors
    ///
    /// 500 if the upstream speaks TLS and no root certificates can be read.
    pub(crate) fn new(upstream: Arc<Upstream>, bridge: Arc<str>) -> Result<Arc<Self>> {
        let connector = Connector::new(&upstream).map_err(Error::internal)?;
        Self::with_connector(upstream, bridge, connector)
    }

    fn with_connector(
        upstream: Arc<Upstream>,
        bridge: Arc<str>,
        connector: Connector,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            host: HeaderValue::from_str(upstream.authority.as_str())?,
            framex: AtomicBool::new(false),
            known: ArcSwap::default(),
            documents: fetch::client(&upstream, &connector)?,
            pool: Pool::new(connector),
            breaker: Breaker::new(&upstream.name),
            counts: Arc::default(),
            upstream,
            bridge,
        }))
    }

    /// Says whether the upstream is a FrameX, as its document tells.
    pub(crate) fn set_framex(&self, framex: bool) {
        self.framex.store(framex, Ordering::Relaxed);
    }

    /// Says which operations the upstream has, published or not.
    pub(crate) fn set_known(&self, known: Arc<Known>) {
        self.known.store(known);
    }

    /// Which operations the upstream has, published or not, as its document tells.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.known.load_full()
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
    pub(crate) async fn pass(&self, ctx: &Context, passed: Passed) -> Result<Reply> {
        let upstream = &self.upstream;
        let path = passed.target.split('?').next().unwrap_or_default();
        let own = upstream.own_path(path).unwrap_or(path);
        if target::other_reading(own)?.is_some() {
            return Err(target::ambiguous("an encoded slash"));
        }
        let key = self.admit_undescribed(own)?;
        self.pass_on(ctx, passed, &upstream.prefix, &upstream.path, key)
            .await
    }

    /// Calls `target` for a plugin, for which there is no operation: `GET /x`, or a path alone.
    /// Without a method it is `GET` if nothing is named, else `POST`. The values become the query
    /// of methods that have no body, else a JSON object, or a form if there are files.
    ///
    /// # Errors
    ///
    /// Those of forwarding, and the upstream's own.
    pub(crate) async fn call(&self, ctx: &Context, target: &str, named: Named) -> Result<Reply> {
        let upstream = &self.upstream;
        let (method, path) = match target.split_once(' ') {
            Some((method, path)) => (Some(method), path.trim()),
            None => (None, target),
        };
        let path = upstream.own_path(path).unwrap_or(path);
        let own = match method {
            Some(method) => format!("{method} {path}"),
            None => path.to_owned(),
        };
        let made = named::undescribed(&own, &upstream.path, named)?;
        let key = self.admit_undescribed(path.split('?').next().unwrap_or_default())?;
        self.ask(ctx, made, key).await
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
        fetch::fetch(self, path, etag).await
    }

    /// What it forwards to.
    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// A client's request, sent on as it came, and its answer.
    async fn pass_on(
        &self,
        ctx: &Context,
        passed: Passed,
        prefix: &str,
        base: &str,
        key: Option<HeaderValue>,
    ) -> Result<Reply> {
        let Passed {
            method,
            target,
            body,
        } = passed;
        let path = target.split('?').next().unwrap_or_default();
        let trail = trail(ctx, &self.bridge, path)?;
        let uri = target::onward(&target, prefix, base)?;
        let content_type = body.as_ref().map(|body| body.content_type.clone());
        let mut headers = headers::passed(
            ctx,
            self.told(key, &trail)?,
            &method,
            &content_type.unwrap_or_default(),
        );
        let framex = self.framex.load(Ordering::Relaxed);
        if self.upstream.envelope {
            // What is compressed cannot be put into anything.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let has_body = body.is_some();
        let body = match body {
            Some(body) => Outgoing::from(body.into_stream()),
            None => Outgoing::empty(),
        };
        if body.is_open() {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        } else if has_body && body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let (mut head, pieces) = self.send(request).await?;
        if head.headers.contains_key("x-framex-stream") {
            // Where that system keeps it is no address here.
            head.headers.remove(CONTENT_LOCATION);
        }
        let origin = (&self.upstream.scheme, &self.upstream.authority);
        for name in [LOCATION, CONTENT_LOCATION] {
            let location = head.headers.get(&name);
            let own = location.and_then(|value| target::homeward(value, origin, prefix, base));
            if let Some(own) = own {
                head.headers.insert(name, own);
            }
        }
        let manner = Manner {
            upstream: &self.upstream.name,
            method,
            envelope: self.upstream.envelope,
            framex,
            request_id: ctx.request_id().clone(),
        };
        answer::pass(head, pieces, manner).await
    }

    /// A plugin's request, and its answer.
    async fn ask(
        &self,
        ctx: &Context,
        made: named::Made,
        key: Option<HeaderValue>,
    ) -> Result<Reply> {
        let trail = trail(ctx, &self.bridge, made.uri.path())?;
        let mut headers = headers::named(ctx, self.told(key, &trail)?, &made.method);
        headers.extend(made.headers);
        let bodied = matches!(made.method, Method::POST | Method::PUT | Method::PATCH);
        if made.body.is_open() {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        } else if bodied && made.body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut request = Request::new(made.body);
        *request.method_mut() = made.method;
        *request.uri_mut() = made.uri;
        *request.headers_mut() = headers;
        let (head, pieces) = self.send(request).await?;
        let framex = self.framex.load(Ordering::Relaxed);
        value::read(head, pieces, &self.upstream.name, framex).await
    }

    fn told(&self, key: Option<HeaderValue>, trail: &str) -> Result<Told<'_>> {
        Ok(Told {
            host: &self.host,
            key,
            forward_authorization: self.upstream.forward_authorization,
            trail: HeaderValue::from_str(trail)?,
        })
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
            match args.passed()? {
                Some(passed) => {
                    let path = passed.target.split('?').next().unwrap_or_default();
                    let path = target::own(path, &shape.prefix);
                    let key = forwarder.admit(&passed.method, path, &shape, By::Client)?;
                    // What browsers ask beforehand has no key of theirs, and none of ours.
                    let beforehand =
                        passed.method == Method::OPTIONS && shape.method != passed.method;
                    let key = key.filter(|_| !beforehand);
                    let (prefix, base) = (&shape.prefix, &shape.base);
                    forwarder.pass_on(&ctx, passed, prefix, base, key).await
                }
                None => {
                    let made = named::make(&shape, args.named(&descriptor)?)?;
                    let path = target::own(made.uri.path(), &shape.base);
                    let key = forwarder.admit(&made.method, path, &shape, By::Plugin)?;
                    forwarder.ask(&ctx, made, key).await
                }
            }
        })
    }
}
