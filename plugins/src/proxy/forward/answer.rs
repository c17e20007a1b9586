//! Answers for HTTP clients: as the upstream gives them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use framex_core::body::ByteStream;
use framex_core::context::RequestId;
use framex_core::envelope;
use framex_core::error::{Error, Result};
use framex_core::reply::{Download, Reply, Response};
use futures_core::Stream;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::response::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::exchange::Pieces;
use super::framex;

/// An answer that lies here whole and is no larger goes back in one piece, in bytes.
const SMALL: usize = 64 * 1024;

/// How an answer is passed on.
pub(super) struct Manner<'a> {
    pub(super) upstream: &'a str,
    pub(super) method: Method,
    /// Whether successful JSON is put into the envelope.
    pub(super) envelope: bool,
    /// Whether the upstream is a FrameX.
    pub(super) framex: bool,
    pub(super) request_id: RequestId,
}

/// The answer, for the client. Waits for the first bytes only where they say something of
/// the status.
pub(super) async fn pass(mut head: Parts, pieces: Pieces, manner: Manner<'_>) -> Result<Reply> {
    let announced = length(&head.headers);
    super::headers::clean(&mut head.headers);
    let mut body = Body {
        first: None,
        pieces,
        upstream: manner.upstream.into(),
    };
    let plain = is_json(&head.headers) && !head.headers.contains_key(CONTENT_ENCODING);
    let whole = head.status.is_success() && head.status != StatusCode::PARTIAL_CONTENT;
    let wraps = manner.envelope && !manner.framex && plain && whole && !is_bodiless(head.status);
    if wraps {
        // They are about what is put into it.
        for name in [ETAG, ACCEPT_RANGES] {
            head.headers.remove(name);
        }
    }
    if manner.method == Method::HEAD {
        let announced = announced.filter(|_| !wraps);
        // The connection is free at once.
        let _ = poll_fn(|cx| Poll::Ready(body.poll_next(cx).is_ready())).await;
        let nothing = ByteStream::new(futures_util::stream::empty());
        return Ok(download(
            head,
            match announced {
                Some(size) => nothing.with_size(size),
                None => nothing,
            },
        ));
    }
    if is_events(&head.headers) && !head.headers.contains_key(CONTENT_ENCODING) {
        let events = Events {
            body,
            request_id: manner.request_id,
            last: [0; 3],
            failed: false,
        };
        return Ok(download(head, ByteStream::new(events)));
    }
    if manner.framex && plain && head.status == StatusCode::OK {
        body.peek().await?;
        if let Some(status) = body.first.as_deref().and_then(framex::error_status) {
            head.status = status;
        }
    }
    if wraps {
        return enveloped(head, body).await;
    }
    let size = body.pieces.size();
    // What has come with the head need not be waited for.
    let ready = match body.first.is_some() {
        true => Poll::Ready(None),
        false => poll_fn(|cx| Poll::Ready(body.poll_next(cx))).await,
    };
    match ready {
        Poll::Ready(Some(piece)) => body.first = Some(piece?),
        Poll::Ready(None) | Poll::Pending => {}
    }
    if body.pieces.is_over() {
        let bytes = body.first.take().unwrap_or_default();
        if bytes.len() <= SMALL || is_bodiless(head.status) {
            return Ok(response(head, bytes));
        }
        return Ok(download(head, ByteStream::full(bytes)));
    }
    let stream = ByteStream::new(body);
    Ok(download(
        head,
        match size {
            Some(size) => stream.with_size(size),
            None => stream,
        },
    ))
}

/// `{"status":200,..,"data":<body>}`, as the body comes; nothing is null.
async fn enveloped(head: Parts, mut body: Body) -> Result<Reply> {
    let size = body.pieces.size();
    body.peek().await?;
    let mut text = Vec::with_capacity(envelope::SUCCESS_LEN + 5);
    envelope::push_success_as(head.status, &mut text);
    if body.first.is_none() {
        text.extend_from_slice(b"null}");
        return Ok(response(head, text.into()));
    }
    if body.pieces.is_over() {
        text.extend_from_slice(&body.first.take().unwrap_or_default());
        text.push(b'}');
        return Ok(download(head, ByteStream::full(text)));
    }
    let size = size.map(|size| size + text.len() as u64 + 1);
    let framed = Framed {
        before: Some(text.into()),
        body: Some(body),
    };
    let stream = ByteStream::new(framed);
    Ok(download(
        head,
        match size {
            Some(size) => stream.with_size(size),
            None => stream,
        },
    ))
}

fn response(head: Parts, body: Bytes) -> Reply {
    Reply::Response(Response {
        status: head.status,
        headers: head.headers,
        body,
    })
}

fn download(head: Parts, body: ByteStream) -> Reply {
    Reply::Download(Download {
        status: head.status,
        headers: head.headers,
        body,
    })
}

/// Whether an answer of this status has no body.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The media type, without its parameters.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Whether the body is one JSON value.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = media_type(headers).to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// Whether the body is a stream of events.
pub(super) fn is_events(headers: &HeaderMap) -> bool {
    media_type(headers).eq_ignore_ascii_case("text/event-stream")
}

/// The bytes of a body, with errors for callers.
pub(super) struct Body {
    /// What was looked at.
    first: Option<Bytes>,
    pieces: Pieces,
    upstream: Box<str>,
}

impl Body {
    pub(super) fn new(pieces: Pieces, upstream: &str) -> Self {
        Self {
            first: None,
            pieces,
            upstream: upstream.into(),
        }
    }

    /// Waits for the first piece.
    async fn peek(&mut self) -> Result<()> {
        if self.first.is_none() {
            self.first = poll_fn(|cx| self.poll_next(cx)).await.transpose()?;
        }
        Ok(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let item = ready!(Pin::new(&mut self.pieces).poll_next(cx));
        let told = |failure: super::failure::Failure| failure.into_error(&self.upstream);
        Poll::Ready(item.map(|item| item.map_err(told)))
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Body::poll_next(&mut self, cx)
    }
}

/// A body between two texts.
struct Framed {
    before: Option<Bytes>,
    /// None at the end.
    body: Option<Body>,
}

impl Stream for Framed {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(before)));
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let item = ready!(body.poll_next(cx));
        if item.is_none() {
            self.body = None;
        }
        Poll::Ready(Some(item.unwrap_or(Ok(Bytes::from_static(b"}")))))
    }
}

/// A stream of events, byte by byte; one that breaks off ends with an event that says so. Within
/// an event nothing can be said that does not complete it: it breaks off for the client, too.
struct Events {
    body: Body,
    request_id: RequestId,
    /// The last bytes that went on; 0 is none.
    last: [u8; 3],
    failed: bool,
}

impl Stream for Events {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let item = ready!(self.body.poll_next(cx));
        Poll::Ready(match item {
            Some(Err(error)) => {
                self.failed = true;
                let id = &self.request_id;
                tracing::warn!(request_id = %id, ?error, "an upstream's stream broke off");
                Some(match is_between(self.last) {
                    true => Ok(error_event(&error, id)),
                    false => Err(error),
                })
            }
            Some(Ok(piece)) => {
                for byte in &piece[piece.len().saturating_sub(3)..] {
                    self.last = [self.last[1], self.last[2], *byte];
                }
                Some(Ok(piece))
            }
            None => None,
        })
    }
}

/// Whether what ends with these bytes ends with an empty line, or is nothing.
fn is_between(last: [u8; 3]) -> bool {
    matches!(
        last,
        [0, 0, 0]
            | [_, b'\n', b'\n']
            | [_, b'\r', b'\r']
            | [_, b'\n', b'\r']
            | [b'\n' | b'\r', b'\r', b'\n']
    )
}

fn error_event(error: &Error, id: &RequestId) -> Bytes {
    let text = |text: &str| Value::from(text).to_string();
    // The spaces are those that clients know.
    format!(
        "event: error\ndata: {{\"status\": {}, \"message\": {}, \"code\": {}, \"request_id\": {}}}\n\n",
        error.status().as_u16(),
        text(error.message()),
        text(error.code()),
        text(id.as_str()),
    )
    .into()
}
