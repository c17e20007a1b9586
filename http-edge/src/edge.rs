//! One request's way: route, key, arguments, call, answer.

mod error;
mod pass;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use framex_bus::{Bus, Call, Catalog};
use framex_core::args::{Args, HttpArgs, HttpBody, PathValues};
use framex_core::context::{CallMeta, Principal, Request as CallRequest, RequestId, TRAIL};
use framex_core::error::{BoxError, CallError, Error};
use framex_core::id::ApiId;
use framex_core::reply::Reply;
use framex_core::route::Route;
use framex_core::settings::Settings;
use futures_core::future::BoxFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use tokio_util::task::TaskTracker;
use tracing::Level;

pub use error::EdgeError;
use pass::To;

use crate::answer::{Answer, own, stream_head, value, without_body};
use crate::auth::{AuthError, Rules};
use crate::body::{EdgeBody, Guarded};
use crate::docs::Docs;
use crate::events::Format;
use crate::intake::{self, Bounds, Progress};
use crate::kept;
use crate::passing;
use crate::problem;
use crate::routes::{BodyKind, Entry, Found, Table};
use crate::service::{self, Document};
use crate::status::Status;
use crate::uploading::Uploading;

/// How an edge behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The largest body, where its API says nothing.
    pub max_body_size: u64,
    /// The largest body that an API may allow.
    pub max_upload_size: u64,
    /// The longest pause between two pieces of a body.
    pub body_timeout: Duration,
    /// The pause after which a silent stream sends a comment.
    pub sse_heartbeat: Duration,
    /// Who may call what.
    pub rules: Rules,
    /// Routes come and go, and others make them. A wrong one is left out and
    /// logged then, where it else refuses the start; so is a rule without a
    /// route, see [`Edge::idle_rules`].
    pub open: bool,
    /// Whether clients come to it. What they do not get is no news otherwise.
    pub has_clients: bool,
}

impl From<&Settings> for Options {
    fn from(settings: &Settings) -> Self {
        Self {
            max_body_size: settings.server.max_body_size.bytes(),
            max_upload_size: settings.server.max_upload_size.bytes(),
            body_timeout: settings.server.body_timeout,
            sse_heartbeat: settings.server.sse_heartbeat,
            rules: Rules::new(&settings.auth.rules),
            open: settings.server.use_nats || bridges(settings),
            has_clients: true,
        }
    }
}

/// Whether routes may come of services behind the bridge.
fn bridges(settings: &Settings) -> bool {
    let builtin = &settings.load_builtin_plugins;
    settings.server.enable_proxy || builtin.iter().any(|name| name == "proxy")
}

impl Default for Options {
    fn default() -> Self {
        Self::from(&Settings::default())
    }
}

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

struct Inner {
    bus: Arc<dyn Bus>,
    status: Arc<Status>,
    options: Options,
    table: ArcSwap<Table>,
    document: ArcSwap<Document>,
    docs: Docs,
    bounds: Bounds,
    /// Handlers that read a body, also those whose clients left in the middle of it.
    leaving: TaskTracker,
    /// What is left out of the table and why, as the log has it.
    left_out: Mutex<BTreeSet<String>>,
    /// How answers of the bridge look to what nobody here serves.
    fallback: Arc<Entry>,
}

impl Edge {
    /// The edge of `bus`, with the routes of its catalog as it is now.
    ///
    /// # Errors
    ///
    /// [`EdgeError`] for rules without a route and routes that cannot be served,
    /// unless [`Options::open`].
    pub fn new(
        bus: Arc<dyn Bus>,
        status: Arc<Status>,
        options: Options,
    ) -> Result<Self, EdgeError> {
        let catalog = bus.catalog();
        if !options.open {
            Self::check(&catalog)?;
            if let Some(idle) = options.rules.idle(&paths(&catalog)).next() {
                return Err(idle.into());
            }
        }
        let edge = Self(Arc::new(Inner {
            table: ArcSwap::default(),
            document: ArcSwap::default(),
            docs: Docs::new(service::OPENAPI),
            bounds: Bounds {
                size: options.max_body_size,
                upload: options.max_upload_size,
                pause: options.body_timeout,
            },
            leaving: TaskTracker::new(),
            left_out: Mutex::default(),
            fallback: passing::entry(options.sse_heartbeat),
            bus,
            status,
            options,
        }));
        edge.update();
        Ok(edge)
    }

    /// Whether every route of `catalog` can be served.
    ///
    /// # Errors
    ///
    /// The first route that cannot, and why.
    pub fn check(catalog: &Catalog) -> Result<(), EdgeError> {
        let (_, left_out) = Table::new(catalog, &Rules::default(), Duration::ZERO);
        let wrong = |error: &EdgeError| error.level() == Level::ERROR;
        left_out.into_iter().find(wrong).map_or(Ok(()), Err)
    }

    /// The rules that protect no route of the catalog as it is now.
    #[must_use]
    pub fn idle_rules(&self) -> Vec<AuthError> {
        let catalog = self.0.bus.catalog();
        self.0.options.rules.idle(&paths(&catalog)).collect()
    }

    /// Whether requests for `route` come to the API `id`.
    #[must_use]
    pub fn publishes(&self, id: &ApiId, route: &Route) -> bool {
        self.0.table.load().publishes(id, route)
    }

    /// Takes over the routes of the bus' catalog as it is now.
    pub fn update(&self) {
        let Inner {
            bus,
            status,
            options,
            ..
        } = &*self.0;
        // Held all the while, so that of two updates the later catalog stays.
        let mut known = self
            .0
            .left_out
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let catalog = bus.catalog();
        let (table, left_out) = Table::new(&catalog, &options.rules, options.sse_heartbeat);
        let mut now = BTreeSet::new();
        for error in left_out {
            let reason = error.to_string();
            match error.level() {
                _ if known.contains(&reason) => {}
                Level::ERROR => tracing::error!("a route is left out: {reason}"),
                Level::WARN if options.has_clients => tracing::warn!("{reason}"),
                _ => tracing::debug!("{reason}"),
            }
            now.insert(reason);
        }
        *known = now;
        self.0.table.store(Arc::new(table));
        let document = Document::new(catalog, status.version(), options.rules.clone());
        self.0.document.store(Arc::new(document));
    }

    /// Follows the catalog until the bus is gone.
    pub async fn follow(self) {
        let mut changes = self.0.bus.changes();
        loop {
            // At first for what has changed since the edge was made.
            self.update();
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// What the process can do now.
    #[must_use]
    pub fn status(&self) -> &Arc<Status> {
        &self.0.status
    }

    /// The bus behind it.
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.0.bus
    }

    /// Waits for the handlers that read a body, also for those that clean up behind
    /// clients who left.
    pub(crate) async fn left(&self) {
        self.0.leaving.close();
        self.0.leaving.wait().await;
    }

    /// Whether there are handlers that [`Edge::left`] waits for.
    pub(crate) fn uploads(&self) -> bool {
        !self.0.leaving.is_empty()
    }

    /// The routes of `api`, if its streams are kept.
    pub(crate) fn keeping(&self, api: &ApiId) -> Vec<Arc<Entry>> {
        self.0.table.load().keeping(api).to_vec()
    }

    /// The OpenAPI document as it is served.
    #[must_use]
    pub fn openapi(&self) -> Bytes {
        self.0.document.load().bytes()
    }

    /// Answers one request.
    ///
    /// What needs no waiting is done at once; a future that is not polled still
    /// has its place among the calls that run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the body it gave, stops the handler.
    pub fn handle<B>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Response<EdgeBody>> + use<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let answer = self.answer(request, None, ());
        async move {
            let Ok(response) = answer.await;
            response.map(Guarded::into_body)
        }
    }

    /// As [`Edge::handle`], in the form that hyper asks for; `guard` lives until
    /// the last byte of the answer's body. `peer` is whose connection it came on.
    pub(crate) fn answer<B, G>(
        &self,
        request: Request<B>,
        peer: Option<IpAddr>,
        guard: G,
    ) -> impl Future<Output = Result<Response<Guarded<G>>, Infallible>> + use<B, G>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let id = parts
            .headers
            .get(problem::X_REQUEST_ID)
            .and_then(RequestId::accept)
            .unwrap_or_else(RequestId::generate);
        let head = parts.method == Method::HEAD;
        let found = self.0.table.load().find(&parts.method, parts.uri.path());
        let begun = match found {
            Found::Route(entry, _) if self.falls_back() && entry.api.is_forsaken() => {
                self.pass_on(entry, parts, peer, body, &id)
            }
            Found::Route(entry, path) => self.begin(entry, parts, path, peer, body, &id, head),
            // Whether other origins may ask is for that service to say.
            Found::OtherMethods(_, Some(entry)) if parts.method == Method::OPTIONS => {
                self.preflight(entry, parts, peer, body, &id)
            }
            Found::OtherMethods(allow, None) if parts.method == Method::OPTIONS => {
                let mut response = service::allow(&allow);
                problem::finish(response.headers_mut(), &id);
                Begun::Done(response)
            }
            Found::OtherMethods(allow, _) => {
                Begun::Done(problem::answer(&problem::method_not_allowed(&allow), &id))
            }
            Found::Nothing => match kept::at(parts.uri.path()) {
                Some(stream) => Begun::Finding(kept::answer(self, stream, parts, id.clone())),
                None if self.falls_back() && passing::may(&parts) => {
                    let entry = Arc::clone(&self.0.fallback);
                    self.pass_on(entry, parts, peer, body, &id)
                }
                None => Begun::Done(self.service(&parts, &id)),
            },
        };
        async move {
            let mut coming = None;
            let (answer, outcome) = match begun {
                Begun::Done(mut response) => {
                    if head {
                        without_body(&mut response);
                    }
                    return Ok(response.map(|body| Guarded::new(body, guard)));
                }
                Begun::Finding(answer) => {
                    let mut response = answer.await;
                    if head {
                        without_body(&mut response);
                    }
                    return Ok(response.map(|body| Guarded::new(body, guard)));
                }
                Begun::Calling(call, answer) => (answer, call.await),
                Begun::Reading(call, answer) => match call.await {
                    Ok(Started::Whole(call)) => (answer, call.await),
                    Ok(Started::Coming(call, progress)) => {
                        coming = Some(progress);
                        (answer, call.await)
                    }
                    Err(error) => (answer, Err(CallError::Handler(error))),
                },
            };
            let mut response = match outcome {
                Ok(Reply::Value(data)) => value(answer.entry.raw, data, &id),
                Ok(Reply::Response(reply)) => match own(reply, head, &id) {
                    Ok(response) => response,
                    Err(error) => answer.failed(&error, &id),
                },
                Ok(Reply::Download(download)) => {
                    Box::pin(answer.download(download, head, &id)).await
                }
                Ok(Reply::Stream(events)) => Box::pin(answer.stream(events, &id)).await,
                Err(error) => answer.failed(&error.into_error(), &id),
            };
            if head {
                without_body(&mut response);
            }
            if coming.is_some_and(|progress| !progress.ended()) {
                // What is left of the body will not be read.
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response.map(|body| Guarded::new(body, guard)))
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of one request, each used once"
    )]
    fn begin<B>(
        &self,
        entry: Arc<Entry>,
        mut parts: http::request::Parts,
        path: PathValues,
        peer: Option<IpAddr>,
        body: B,
        id: &RequestId,
        head: bool,
    ) -> Begun
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let errors = entry
            .streams
            .then(|| Format::of_errors(&parts.headers))
            .flatten();
        let format = entry.streams.then(|| Format::asked(&parts.headers));
        let passed = entry.body == BodyKind::Passed;
        if passed && self.is_ambiguous(&parts, &entry) {
            let error = Error::bad_request(
                "the path means another route once it is decoded; write it as it is meant",
            );
            let error = error.with_code("ambiguous_path");
            return Begun::Done(problem::answer(&error, id));
        }
        // Another service may read the path in its own way.
        let by_path = match (passed, &entry.keys) {
            (true, None) => self.0.options.rules.of_request(parts.uri.path()),
            _ => None,
        };
        let principal = match entry.keys.as_ref().or(by_path.as_ref()) {
            None if parts.extensions.is_empty() => None,
            None => parts.extensions.remove::<Principal>(),
            Some(keys) => match keys.check(&parts.headers) {
                Ok(principal) => Some(principal),
                Err(error) => {
                    return Begun::Done(
                        Answer {
                            entry,
                            format,
                            errors,
                        }
                        .failed(&error, id),
                    );
                }
            },
        };
        let answer = Answer {
            entry,
            format,
            errors,
        };
        if answer.entry.keeps
            && let Some(last) = kept::last_seen(&parts.headers)
        {
            let resuming = kept::resume(self, answer, last, principal, id.clone(), head);
            return Begun::Finding(resuming);
        }
        if let (true, Some(format), false) = (head, format, passed) {
            // A stream is not started to be thrown away.
            let mut response = stream_head(format, id);
            *response.body_mut() = EdgeBody::unsent();
            return Begun::Done(response);
        }
        if passed {
            passing::tell_upstream(&mut parts, peer);
        }
        self.call(To::Api, answer, parts, path, principal, body, id)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of one request, each used once"
    )]
    fn call<B>(
        &self,
        to: To,
        answer: Answer,
        parts: http::request::Parts,
        path: PathValues,
        principal: Option<Principal>,
        body: B,
        id: &RequestId,
    ) -> Begun
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let reads = answer.entry.body;
        let keep = answer.entry.keeps;
        if reads == BodyKind::None || (reads == BodyKind::Passed && body.is_end_stream()) {
            let request = request(parts, path, HttpBody::Empty, principal, keep, id);
            return Begun::Calling(self.start(to, &answer.entry, request), answer);
        }
        let edge = self.clone();
        let entry = Arc::clone(&answer.entry);
        let id = id.clone();
        // In a box of its own: calls without a body need not carry its size along.
        let call = Box::pin(async move {
            let api = &entry.api.descriptor;
            let limits = edge.0.bounds.of(api);
            let read = intake::read(reads, api, &parts.headers, body, limits);
            let (body, coming) = read.await?;
            let request = request(parts, path, body, principal, keep, &id);
            let call = edge.start(to, &entry, request);
            Ok(match coming {
                None => Started::Whole(call),
                Some(progress) => {
                    let uploading = Uploading::new(call, progress.clone(), &edge.0.leaving);
                    Started::Coming(Box::new(uploading), progress)
                }
            })
        });
        Begun::Reading(call, answer)
    }

    /// What is no plugin's: documents, health, and everything that is nowhere.
    fn service(&self, parts: &http::request::Parts, id: &RequestId) -> Response<EdgeBody> {
        let path = parts.uri.path();
        if let Some(rule) = service::is_ours(path, &self.0.docs, &parts.headers)
            .then(|| self.0.options.rules.of(path))
            .flatten()
            && let Err(error) = rule.check(&parts.headers)
        {
            return problem::answer(&error, id);
        }
        let answered = service::answer(parts, &self.0.status, &self.0.docs, || self.openapi());
        match answered {
            Some(Err(error)) => problem::answer(&error, id),
            Some(Ok(mut response)) => {
                problem::finish(response.headers_mut(), id);
                response
            }
            None => {
                let slash = path.len() > 1
                    && path.strip_suffix('/').is_some_and(|bare| {
                        self.0.table.load().has(bare) || service::reserved(bare)
                    });
                problem::answer(&problem::not_found(slash), id)
            }
        }
    }
}

/// Every path of `catalog` and of the edge's own.
fn paths(catalog: &Catalog) -> Vec<&str> {
    let of_apis = catalog.apis().flat_map(|api| &api.descriptor.routes);
    let of_apis = of_apis.map(|route| route.path.as_str());
    of_apis.chain(service::PATHS).collect()
}

/// How far a request has come without waiting.
enum Begun {
    Done(Response<EdgeBody>),
    /// A stream that was begun by another request is looked for.
    Finding(BoxFuture<'static, Response<EdgeBody>>),
    Calling(Call, Answer),
    /// The body is still to be read.
    Reading(BoxFuture<'static, Result<Started, Error>>, Answer),
}

/// A call whose body was read, or is read by its handler.
enum Started {
    Whole(Call),
    Coming(Box<Uploading>, Progress),
}

fn request(
    parts: http::request::Parts,
    path: PathValues,
    body: HttpBody,
    principal: Option<Principal>,
    keep: bool,
    id: &RequestId,
) -> CallRequest {
    let uri = parts.uri;
    let trail = parts.headers.get(TRAIL).and_then(|t| t.to_str().ok());
    let trail = trail.map(Arc::from);
    CallRequest {
        args: Args::from_http(HttpArgs {
            method: parts.method,
            uri,
            path,
            body,
        }),
        meta: CallMeta {
            request_id: id.clone(),
            deadline: None,
            caller: None,
            principal,
            headers: parts.headers,
            trace: None,
            hops: 0,
            keep,
            trail,
        },
    }
}

impl<B> tower_service::Service<Request<B>> for Edge
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<EdgeBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = self.handle(request);
        Box::pin(async move { Ok(answer.await) })
    }
}
