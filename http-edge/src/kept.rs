//! Streams that are followed again: with `Last-Event-ID` where they began, and at an
//! address of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use framex_bus::KeptStream;
use framex_core::context::{Principal, RequestId};
use framex_core::error::{CallError, Error};
use framex_core::event::EventStream;
use framex_core::kept::{EventId, NoEventId, StreamId, gone, not_yours};
use futures_core::future::BoxFuture;
use http::header::CONTENT_LOCATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::Edge;
use crate::answer::Answer;
use crate::body::{EdgeBody, within};
use crate::events::Format;
use crate::problem;
use crate::routes::Entry;
use crate::service::{self, STREAMS};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) const X_FRAMEX_STREAM: HeaderName = HeaderName::from_static("x-framex-stream");

const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS");

/// How long a stream is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client says that it has seen last, if it says so.
pub(crate) fn last_seen(headers: &HeaderMap) -> Option<Result<EventId, NoEventId>> {
    let value = headers.get(LAST_EVENT_ID).filter(|v| !v.is_empty())?;
    Some(value.to_str().map_or(Err(NoEventId), str::parse))
}

/// The stream whose address `path` is; an address may be of none.
pub(crate) fn at(path: &str) -> Option<Option<StreamId>> {
    let stream = path.strip_prefix(STREAMS)?;
    (!stream.is_empty() && !stream.contains('/')).then(|| StreamId::parse(stream))
}

/// Says in an answer's head where its stream is.
pub(crate) fn name(headers: &mut HeaderMap, stream: &StreamId) {
    if let Ok(address) = HeaderValue::try_from(format!("{STREAMS}{stream}")) {
        headers.insert(X_FRAMEX_STREAM, address.clone());
        headers.insert(CONTENT_LOCATION, address);
    }
}

/// The rest of a stream, on the route where it began. No handler is called.
pub(crate) fn resume(
    edge: &Edge,
    answer: Answer,
    last: Result<EventId, NoEventId>,
    principal: Option<Principal>,
    id: RequestId,
    head: bool,
) -> BoxFuture<'static, Response<EdgeBody>> {
    let edge = edge.clone();
    Box::pin(async move {
        let found = async {
            let last = last.map_err(|_| gone())?;
            let Some(position) = last.position else {
                return Ok(None);
            };
            let stream = find(&edge, &last.stream).await?;
            if *stream.api() != answer.entry.api.descriptor.id {
                return Err(gone());
            }
            if stream.principal() != principal.as_ref().map(Principal::name) {
                return Err(not_yours());
            }
            Ok(Some((stream, last.stream, position)))
        };
        match found.await {
            Ok(None) => nothing(&id),
            Ok(Some((stream, name, position))) => {
                let events = in_time(stream.follow(Some(position))).await;
                rest(&answer, events, (head, &name), &id)
            }
            Err(error) => answer.failed(&error, &id),
        }
    })
}

/// What comes behind what was seen: to the client it is one stream, and an error in it an event.
fn rest(
    answer: &Answer,
    events: Result<EventStream, Error>,
    (head, name): (bool, &StreamId),
    id: &RequestId,
) -> Response<EdgeBody> {
    match events {
        Ok(_) if head => answer.head(name, id),
        Ok(events) => answer.events(None, events, id),
        Err(error) => answer.failed(&error, id),
    }
}

/// What is asked at a stream's own address.
pub(crate) fn answer(
    edge: &Edge,
    stream: Option<StreamId>,
    parts: Parts,
    id: RequestId,
) -> BoxFuture<'static, Response<EdgeBody>> {
    let edge = edge.clone();
    Box::pin(async move {
        let errors = match parts.method {
            Method::GET | Method::HEAD => Format::of_errors(&parts.headers),
            Method::DELETE => None,
            Method::OPTIONS => {
                let mut response = service::allow(&METHODS);
                problem::finish(response.headers_mut(), &id);
                return response;
            }
            _ => return problem::answer(&problem::method_not_allowed(&METHODS), &id),
        };
        let failed = |error: &Error| {
            problem::log(error, "a kept stream", &id);
            match errors {
                Some(format) => problem::stream_answer(error, &id, format),
                None => problem::answer(error, &id),
            }
        };
        let found = async {
            let name = stream.ok_or_else(gone)?;
            let after = match last_seen(&parts.headers) {
                Some(Ok(last)) if last.stream == name => Some(last.position),
                Some(_) if parts.method != Method::DELETE => {
                    let text = "`Last-Event-ID` is not of this stream";
                    return Err(Error::bad_request(text));
                }
                _ => None,
            };
            let stream = find(&edge, &name).await?;
            let entry = allowed(&edge, &*stream, &parts)?;
            Ok((stream, entry, name, after))
        };
        let (stream, entry, name, after) = match found.await {
            Ok(found) => found,
            Err(error) => return failed(&error),
        };
        let answer = Answer {
            entry,
            format: Some(Format::asked(&parts.headers)),
            errors,
        };
        match (parts.method, after) {
            (Method::DELETE, _) => match in_time(stream.stop()).await {
                Ok(()) => nothing(&id),
                Err(error) => answer.failed(&error, &id),
            },
            (_, Some(None)) => nothing(&id),
            (method, after) => {
                let events = in_time(stream.follow(after.flatten())).await;
                match (events, after) {
                    (Ok(events), None) if method != Method::HEAD => {
                        answer.stream(events, &id).await
                    }
                    (events, _) => {
                        let head = method == Method::HEAD;
                        rest(&answer, events, (head, &name), &id)
                    }
                }
            }
        }
    })
}

/// The route of `stream`'s API whose key was offered, by who began it.
fn allowed(edge: &Edge, stream: &dyn KeptStream, parts: &Parts) -> Result<Arc<Entry>, Error> {
    let mut refused = None;
    let mut somebody = false;
    for entry in edge.keeping(stream.api()) {
        let principal = match &entry.keys {
            None => parts.extensions.get::<Principal>().cloned(),
            Some(keys) => match keys.check(&parts.headers) {
                Ok(principal) => Some(principal),
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            },
        };
        if principal.as_ref().map(Principal::name) == stream.principal() {
            return Ok(entry);
        }
        somebody = true;
    }
    Err(match refused {
        Some(error) if !somebody => error,
        _ if somebody => not_yours(),
        // Its routes are gone, and with them who may know of it.
        _ => gone(),
    })
}

async fn find(edge: &Edge, stream: &StreamId) -> Result<Arc<dyn KeptStream>, Error> {
    in_time(edge.bus().find_stream(stream)).await
}

async fn in_time<T>(asked: impl Future<Output = Result<T, CallError>>) -> Result<T, Error> {
    let answered = within(PATIENCE, asked).await.ok_or_else(|| {
        Error::new(
            StatusCode::GATEWAY_TIMEOUT,
            "who keeps the stream did not answer in time",
        )
        .with_code("deadline_exceeded")
    })?;
    answered.map_err(CallError::into_error)
}

/// 204: nothing comes any more, and a browser does not ask again.
fn nothing(id: &RequestId) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    problem::finish(response.headers_mut(), id);
    response
}
