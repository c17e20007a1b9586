//! Answers: what the bus gave back, as HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use framex_core::context::RequestId;
use framex_core::error::Error;
use framex_core::event::{Event, EventStream};
use framex_core::kept::StreamId;
use framex_core::reply::{self, Download};
use futures_core::Stream;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;

use crate::body::{EdgeBody, within};
use crate::events::{EventBody, Format};
use crate::problem::{self, JSON};
use crate::routes::Entry;
use crate::{download, envelope, kept};

/// How long the head of another service's answer waits for its first bytes, to go out with them.
const TOGETHER: Duration = Duration::from_millis(20);

/// How a route answers.
pub(crate) struct Answer {
    pub(crate) entry: Arc<Entry>,
    /// Of a stream.
    pub(crate) format: Option<Format>,
    /// Of an error before a stream's first event; the envelope if none.
    pub(crate) errors: Option<Format>,
}

impl Answer {
    pub(crate) fn failed(&self, error: &Error, id: &RequestId) -> Response<EdgeBody> {
        problem::log(error, self.entry.api.descriptor.id.as_str(), id);
        match self.errors {
            Some(format) => problem::stream_answer(error, id, format),
            None => problem::answer(error, id),
        }
    }

    pub(crate) async fn download(
        &self,
        download: Download,
        head: bool,
        id: &RequestId,
    ) -> Response<EdgeBody> {
        let api = &self.entry.api.descriptor;
        let patience = match api.bridged {
            // Its head has come; whoever waits for it sees it now.
            true if is_events(&download.headers) => Duration::ZERO,
            true => TOGETHER,
            false => self.entry.heartbeat,
        };
        let answered = download::answer(download, head, patience, &api.id, id).await;
        answered.unwrap_or_else(|error| self.failed(&error, id))
    }

    /// Waits for the first event, so that a failure before it is an answer of its
    /// own; but not longer than a silent stream may be.
    pub(crate) async fn stream(
        &self,
        mut events: EventStream,
        id: &RequestId,
    ) -> Response<EdgeBody> {
        let first = std::future::poll_fn(|cx| Pin::new(&mut events).poll_next(cx));
        match within(self.entry.heartbeat, first).await {
            Some(Some(Ok(event))) => self.events(Some(event), events, id),
            Some(Some(Err(error))) => self.failed(&error, id),
            Some(None) | None => self.events(None, events, id),
        }
    }

    /// `events`, with `first` before them.
    pub(crate) fn events(
        &self,
        first: Option<Event>,
        events: EventStream,
        id: &RequestId,
    ) -> Response<EdgeBody> {
        let format = self.format.unwrap_or(Format::Sse);
        let heartbeat = self.entry.heartbeat;
        let mut response = stream_head(format, id);
        if let Some(stream) = events.kept() {
            kept::name(response.headers_mut(), stream);
        }
        let api = self.entry.api.descriptor.id.clone();
        let body = EventBody::new(first, events, format, heartbeat, id.clone(), api);
        *response.body_mut() = EdgeBody::events(body);
        response
    }

    /// The head of a stream whose events are not asked for.
    pub(crate) fn head(&self, stream: &StreamId, id: &RequestId) -> Response<EdgeBody> {
        let mut response = stream_head(self.format.unwrap_or(Format::Sse), id);
        kept::name(response.headers_mut(), stream);
        *response.body_mut() = EdgeBody::unsent();
        response
    }
}

/// An answer of the handler's own; its framing is the server's business.
/// To HEAD, without a body, it may say how long that would be.
pub(crate) fn own(
    mut reply: reply::Response,
    head: bool,
    id: &RequestId,
) -> Result<Response<EdgeBody>, Error> {
    if reply.status.is_informational() {
        let reason = format!("a handler answered with the status {}", reply.status);
        return Err(Error::internal(reason));
    }
    let length = reply.headers.get(CONTENT_LENGTH).cloned();
    for name in problem::FRAMING {
        reply.headers.remove(name);
    }
    if head && reply.body.is_empty() {
        reply
            .headers
            .extend(length.map(|length| (CONTENT_LENGTH, length)));
    }
    let mut response = Response::new(if bodiless(reply.status) {
        EdgeBody::empty()
    } else {
        EdgeBody::full(reply.body)
    });
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    problem::finish(response.headers_mut(), id);
    Ok(response)
}

pub(crate) fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"))
}

/// Whether an answer of this status has no body, not even an empty one.
pub(crate) fn bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

pub(crate) fn value(raw: bool, data: Bytes, id: &RequestId) -> Response<EdgeBody> {
    let mut response = Response::new(if raw {
        EdgeBody::full(data)
    } else {
        envelope::success(data)
    });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    problem::finish(headers, id);
    response
}

pub(crate) fn stream_head(format: Format, id: &RequestId) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, format.content_type());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that collect answers (nginx) would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    problem::finish(headers, id);
    response
}

/// HEAD: the same answer, its length if it has one, and nothing of its body.
pub(crate) fn without_body(response: &mut Response<EdgeBody>) {
    let Some(length) = response.body().size_hint().exact() else {
        *response.body_mut() = EdgeBody::unsent();
        return;
    };
    if !response.headers().contains_key(CONTENT_LENGTH)
        && response.status() != StatusCode::NO_CONTENT
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = EdgeBody::empty();
}
