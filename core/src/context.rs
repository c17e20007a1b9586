//! The context of a call: who asks, until when, and the way to other plugins.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::task::{self, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use tokio::task::coop::{cooperative, poll_proceed};

use crate::args::Args;
use crate::descriptor::{ApiDescriptor, PluginMetadata};
use crate::error::{CallError, Error, Result};
use crate::event::{Event, EventStream};
use crate::plugin::{AddedApi, Refused};
use crate::process::Process;
use crate::reply::Reply;

/// How many plugins deep calls may nest before they are taken for a circle.
pub const MAX_HOPS: u8 = 32;
/// A download larger than this is not read as one value, in bytes.
const MOST_COLLECTED: usize = 64 << 20;

/// One call on its way: what is asked, and on whose behalf.
#[derive(Debug, Default)]
pub struct Request {
    /// The named arguments.
    pub args: Args,
    /// Everything else.
    pub meta: CallMeta,
}

/// What travels with a call besides its arguments.
#[derive(Debug, Clone, Default)]
pub struct CallMeta {
    /// Names the request in logs and error answers.
    pub request_id: RequestId,
    /// When the answer is no longer wanted. The API's own timeout may come earlier.
    pub deadline: Option<Instant>,
    /// The plugin that calls; none for the edge and the command line.
    pub caller: Option<Arc<str>>,
    /// Who is asking, where the edge knows.
    pub principal: Option<Principal>,
    /// The headers of the HTTP request at the beginning. Between processes only
    /// APIs that say so ([`ApiDescriptor::headers`]) are sent them.
    pub headers: HeaderMap,
    /// The W3C trace that the call belongs to; none: as `headers` say.
    pub trace: Option<Box<TraceContext>>,
    /// How many plugins the call has come through.
    pub hops: u8,
    /// Whether its stream is to be kept, so that it can be followed again
    /// ([`kept`](crate::kept)). Not for calls that plugins make.
    pub keep: bool,
    /// The bridges that it has come through on its way between systems, as their header
    /// says ([`TRAIL`]); none for most.
    pub trail: Option<Arc<str>>,
}

/// The HTTP header in which bridges tell each other where a call has been: ids, separated
/// by commas.
pub const TRAIL: HeaderName = HeaderName::from_static("x-framex-trail");

/// Names one request in logs and answers (`x-request-id`).
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The longest id that is taken from a client, in bytes.
    pub const MAX_LEN: usize = 128;

    /// A new id, unique among all processes in all likelihood.
    #[must_use]
    pub fn generate() -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        /// 14 digits of the process; 10 of the count follow.
        static PROCESS: LazyLock<[u8; 14]> = LazyLock::new(|| {
            let random = uuid::Uuid::new_v4().simple().to_string();
            let mut digits = [b'0'; 14];
            digits.copy_from_slice(&random.as_bytes()[18..]);
            digits
        });
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let mut number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut text = [b'0'; 24];
        text[..14].copy_from_slice(&*PROCESS);
        for digit in text[14..].iter_mut().rev() {
            if number == 0 {
                break;
            }
            *digit = HEX[(number & 15) as usize];
            number >>= 4;
        }
        let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text));
        Self(value.unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }

    /// A client's own id, if it is short and made of visible ASCII.
    #[must_use]
    pub fn accept(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let fits = !bytes.is_empty() && bytes.len() <= Self::MAX_LEN;
        (fits && bytes.iter().all(u8::is_ascii_graphic)).then(|| Self(value.clone()))
    }

    /// The id as a header value.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::generate()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who is asking: the name of a key or a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The principal called `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A W3C trace context (`traceparent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole trace.
    pub trace_id: u128,
    /// The span that calls.
    pub span_id: u64,
    /// Bit 0: sampled.
    pub flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` header; `None` if it is not valid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower_hex = |part: &str, len| {
            part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let shaped = lower_hex(version, 2)
            && version != "ff"
            && lower_hex(trace, 32)
            && lower_hex(span, 16)
            && lower_hex(flags, 2)
            && (version != "00" || parts.next().is_none());
        let context = Self {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        (shaped && context.trace_id != 0 && context.span_id != 0).then_some(context)
    }

    /// The start of a new trace.
    #[must_use]
    pub fn generate() -> Self {
        let trace_id = uuid::Uuid::new_v4().as_u128();
        Self {
            trace_id,
            span_id: Self::new_span(),
            flags: 0,
        }
    }

    /// The same trace, called from a new span.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span_id: Self::new_span(),
            ..self
        }
    }

    fn new_span() -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().0 | 1
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

/// The way from a plugin to the APIs of others. A bus implements it.
pub trait Caller: Send + Sync {
    /// Calls `target`, an API id or a path, on behalf of `scope`'s plugin.
    fn call_from(
        &self,
        scope: &Scope,
        target: &str,
        request: Request,
    ) -> BoxFuture<'static, Result<Reply, CallError>>;

    /// Serves `apis` in the name of `scope`'s plugin, in place of those that it added
    /// before. Gives those that cannot be.
    fn add_apis(&self, scope: &Scope, apis: Vec<AddedApi>) -> Vec<Refused>;

    /// What the plugins of this process share.
    fn process(&self) -> &Arc<Process>;
}

/// A plugin's place in a process: its own description, and the bus.
#[derive(Clone)]
pub struct Scope {
    plugin: &'static PluginMetadata,
    name: Arc<str>,
    bus: Weak<dyn Caller>,
}

impl Scope {
    /// The place of `plugin` on `bus`.
    #[must_use]
    pub fn new(plugin: &'static PluginMetadata, bus: Weak<dyn Caller>) -> Self {
        Self {
            plugin,
            name: plugin.name.as_str().into(),
            bus,
        }
    }

    /// The plugin's description.
    #[must_use]
    pub fn plugin(&self) -> &'static PluginMetadata {
        self.plugin
    }

    /// Whether the plugin may call `target`, which resolves to `api` if it is known.
    ///
    /// Its own APIs it may always call.
    #[must_use]
    pub fn may_call(&self, target: &str, api: Option<&ApiDescriptor>) -> bool {
        let own = api.is_some_and(|api| api.id.plugin() == self.plugin.name);
        own || self.plugin.required_remote_apis.iter().any(|declared| {
            declared == "*"
                || declared == target
                || api.is_some_and(|api| {
                    declared == api.id.as_str()
                        || api
                            .routes
                            .iter()
                            .any(|route| *declared == route.path || *declared == route.to_string())
                })
        })
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.name)
    }
}

/// What a handler knows of its call, and its way to other plugins.
///
/// Cheap to clone; a clone in a spawned task keeps the call's deadline.
#[derive(Clone, Debug)]
pub struct Context {
    scope: Arc<Scope>,
    meta: CallMeta,
    /// Boxed: most calls never ask.
    trace: OnceLock<Box<TraceContext>>,
}

impl Context {
    /// The context of one call to `scope`'s plugin.
    #[must_use]
    pub fn new(scope: Arc<Scope>, meta: CallMeta) -> Self {
        Self {
            scope,
            meta,
            trace: OnceLock::new(),
        }
    }

    /// Calls an API by its id or path and reads the result as a `T`.
    ///
    /// With `serde_json::Value` as `T` the result stays untyped. The nested call
    /// carries this call's deadline, principal and headers, and its trace if it has
    /// one.
    ///
    /// # Errors
    ///
    /// - the callee's own error, with its status;
    /// - 500 `undeclared_api` if `target` is not in `required_remote_apis`;
    /// - 404 `unknown_api`, 503 `no_responders`, 503 `overloaded`, 504
    ///   `deadline_exceeded` as their names say;
    /// - 502 if the result is no `T`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the callee.
    pub async fn call_plugin_api<T: DeserializeOwned>(
        &self,
        target: &str,
        args: Args,
    ) -> Result<T> {
        let reply = self.call(target, args).await?;
        let json = match reply {
            Reply::Value(json) => json,
            Reply::Response(response) if response.status.is_success() => response.body,
            Reply::Response(response) => return Err(answered(target, response.status)),
            Reply::Download(download) if download.status.is_success() => {
                let collected = download.body.collect(MOST_COLLECTED).await;
                collected.map_err(|error| match error.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => {
                        unexpected(target, "a large download, ask for it with `ctx.call`")
                    }
                    _ => error,
                })?
            }
            Reply::Download(download) => return Err(answered(target, download.status)),
            Reply::Stream(_) => {
                return Err(unexpected(target, "a stream, ask for it with `ctx.stream`"));
            }
        };
        let json = if json.is_empty() {
            Bytes::from_static(b"null")
        } else {
            json
        };
        serde_json::from_slice(&json)
            .map_err(|error| unexpected(target, "a result of another type").with_source(error))
    }

    /// Calls a streaming API and gives its events as they come.
    ///
    /// # Errors
    ///
    /// As [`Context::call_plugin_api`]; 502 if the API does not stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the stream stops the callee.
    pub async fn stream(&self, target: &str, args: Args) -> Result<EventStream> {
        match self.call(target, args).await? {
            Reply::Stream(events) => Ok(EventStream::new(InTurn(events))),
            Reply::Value(_) | Reply::Response(_) | Reply::Download(_) => Err(unexpected(
                target,
                "one value, ask for it with `ctx.call_plugin_api`",
            )),
        }
    }

    /// Calls an API and gives whatever it answers.
    ///
    /// # Errors
    ///
    /// As [`Context::call_plugin_api`].
    pub async fn call(&self, target: &str, args: Args) -> Result<Reply> {
        let bus = self.bus()?;
        let meta = CallMeta {
            caller: Some(Arc::clone(&self.scope.name)),
            trace: self.known_trace().map(|trace| Box::new(trace.child())),
            hops: self.meta.hops + 1,
            keep: false,
            ..self.meta.clone()
        };
        let call = bus.call_from(&self.scope, target, Request { args, meta });
        drop(bus);
        // A loop over calls that are answered at once lets others have a turn.
        Ok(cooperative(call).await?)
    }

    /// Serves `apis` beside those of the plugin's own methods, in place of those that were
    /// added before. They are callable at once in this process, and soon by others.
    ///
    /// Gives those that cannot be, each with the reason; the others are served.
    ///
    /// # Errors
    ///
    /// 503 if the process is stopping.
    pub fn add_apis(&self, apis: Vec<AddedApi>) -> Result<Vec<Refused>> {
        Ok(self.bus()?.add_apis(&self.scope, apis))
    }

    /// What the plugins of this process share.
    ///
    /// # Errors
    ///
    /// 503 if the process is stopping.
    pub fn process(&self) -> Result<Arc<Process>> {
        Ok(Arc::clone(self.bus()?.process()))
    }

    fn bus(&self) -> Result<Arc<dyn Caller>> {
        let stopping = || Error::unavailable("the process is stopping");
        self.scope.bus.upgrade().ok_or_else(stopping)
    }

    /// The bridges that the call has come through ([`CallMeta::trail`]).
    #[must_use]
    pub fn trail(&self) -> Option<&str> {
        self.meta.trail.as_deref()
    }

    /// Names the request in logs and answers.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.meta.request_id
    }

    /// When the answer is no longer wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.meta.deadline
    }

    /// How long the answer is still wanted.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.meta
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The plugin that calls; `None` if the call comes from the edge or the command line.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.meta.caller.as_deref()
    }

    /// Who is asking, where the edge knows.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.meta.principal.as_ref()
    }

    /// The headers of the HTTP request at the beginning; empty if there was none.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.meta.headers
    }

    /// One of those headers, if it is there and visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.meta.headers.get(name)?.to_str().ok()
    }

    /// The trace that the call belongs to; a new one if it came with none.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        **self.trace.get_or_init(|| {
            let known = self.sent_trace();
            Box::new(known.unwrap_or_else(TraceContext::generate))
        })
    }

    /// The trace, if the call came with one or somebody has asked for it. None is
    /// made up for calls that nobody traces.
    #[must_use]
    pub fn known_trace(&self) -> Option<TraceContext> {
        let asked = self.trace.get().map(|trace| **trace);
        asked.or_else(|| self.sent_trace())
    }

    fn sent_trace(&self) -> Option<TraceContext> {
        let sent = || TraceContext::parse(self.header("traceparent")?);
        self.meta.trace.as_deref().copied().or_else(sent)
    }

    /// The plugin whose handler runs.
    #[must_use]
    pub fn plugin(&self) -> &'static PluginMetadata {
        self.scope.plugin
    }
}

fn answered(target: &str, status: StatusCode) -> Error {
    Error::new(status, format!("`{target}` answered {status}"))
}

fn unexpected(target: &str, what: &str) -> Error {
    Error::new(
        StatusCode::BAD_GATEWAY,
        format!("`{target}` answered with {what}"),
    )
    .with_code("unexpected_reply")
}

/// Events that are always ready: whoever reads them all still lets others have a
/// turn, so that its deadline and its client's leaving are noticed.
struct InTurn(EventStream);

impl Stream for InTurn {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let turn = ready!(poll_proceed(cx));
        let item = ready!(Pin::new(&mut self.0).poll_next(cx));
        turn.made_progress();
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_read_strictly() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceContext::parse(text).unwrap().to_string(), text);
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn request_ids_differ_and_clients_may_bring_their_own() {
        assert_ne!(RequestId::generate(), RequestId::generate());
        assert_eq!(RequestId::generate().as_str().len(), 24);
        assert!(RequestId::accept(&HeaderValue::from_static("abc-1")).is_some());
        assert!(RequestId::accept(&HeaderValue::from_static("a b")).is_none());
        assert!(RequestId::accept(&HeaderValue::from_str(&"x".repeat(129)).unwrap()).is_none());
    }
}
