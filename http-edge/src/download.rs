//! The bytes of a download, on their way to the client.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use framex_core::body::ByteStream;
use framex_core::context::RequestId;
use framex_core::error::Error;
use framex_core::id::ApiId;
use framex_core::reply::{self, Download};
use futures_core::Stream;
use http::Response;

use crate::answer::{is_events, own};
use crate::body::{EdgeBody, within};
use crate::events::Format;

const SHORT: &str = "it ended before the size that was announced";

/// The answer that `download` is; of its bytes nothing but their number if `head`.
///
/// Waits for the first piece, so that a failure before it is an answer of its own, but no
/// longer than `patience`.
pub(crate) async fn answer(
    download: Download,
    head: bool,
    patience: Duration,
    api: &ApiId,
    id: &RequestId,
) -> Result<Response<EdgeBody>, Error> {
    let Download {
        status,
        headers,
        mut body,
    } = download;
    let bare = reply::Response {
        status,
        headers,
        body: Bytes::new(),
    };
    let mut response = own(bare, head, id)?;
    if crate::answer::bodiless(status) {
        return Ok(response);
    }
    let size = body.size();
    let first = match head {
        true => None,
        false => {
            let first = within(patience, poll_fn(|cx| Pin::new(&mut body).poll_next(cx))).await;
            match first {
                Some(Some(piece)) => Some(piece?),
                Some(None) if size.is_some_and(|size| size > 0) => {
                    return Err(Error::internal(SHORT));
                }
                Some(None) | None => None,
            }
        }
    };
    let events = is_events(response.headers()) && size.is_none();
    *response.body_mut() = EdgeBody::download(DownloadBody {
        between_events: events,
        events,
        first,
        body,
        size,
        made: 0,
        held: None,
        failed: false,
        over: false,
        api: api.clone(),
        id: id.clone(),
    });
    Ok(response)
}

/// What was announced and what came differ, or it broke off: the connection is closed, or the
/// stream reset, so that nobody takes a part for the whole.
#[derive(Debug)]
pub struct BodyError(());

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of an answer broke off")
    }
}

impl std::error::Error for BodyError {}

/// The body of a download.
#[derive(Debug)]
pub(crate) struct DownloadBody {
    /// The piece that was waited for.
    first: Option<Bytes>,
    body: ByteStream,
    /// As announced.
    size: Option<u64>,
    made: u64,
    /// The last piece of the announced size, until it is known to be the last: without it
    /// the client knows that something is wrong.
    held: Option<Bytes>,
    failed: bool,
    over: bool,
    /// It is a stream of events, in another service's words, and what went out ends with a whole
    /// one.
    events: bool,
    between_events: bool,
    api: ApiId,
    id: RequestId,
}

impl DownloadBody {
    /// How many bytes go out altogether, if that is known.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.failed {
            self.over = true;
            return Poll::Ready(Some(Err(BodyError(()))));
        }
        loop {
            let piece = match self.first.take() {
                Some(piece) => piece,
                None => match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                    Some(Ok(piece)) => piece,
                    Some(Err(error)) if self.between_events => return self.end_events(&error),
                    Some(Err(error)) => return self.fail(cx, &error),
                    None if self.size.is_some_and(|size| size > self.made) => {
                        return self.fail(cx, &SHORT);
                    }
                    None => {
                        self.over = true;
                        return Poll::Ready(self.held.take().map(Ok));
                    }
                },
            };
            self.made += piece.len() as u64;
            if self.events {
                self.between_events = piece.ends_with(b"\n\n") || piece.ends_with(b"\r\n\r\n");
            }
            match self.size {
                Some(size) if self.made > size => {
                    return self.fail(cx, &"it is larger than the size that was announced");
                }
                Some(size) if self.made == size => self.held = Some(piece),
                _ => return Poll::Ready(Some(Ok(piece))),
            }
        }
    }

    /// Ends a stream of events with one that says why.
    fn end_events(&mut self, error: &Error) -> Poll<Option<Result<Bytes, BodyError>>> {
        let (api, id) = (&self.api, &self.id);
        tracing::warn!(%api, request_id = %id, reason = %error, sent = self.made, "a stream broke off");
        self.over = true;
        self.body = ByteStream::default();
        let mut event = Vec::new();
        Format::Sse.push_error(&mut event, None, error, id);
        Poll::Ready(Some(Ok(event.into())))
    }

    /// The error, one turn later: what was made before it is on its way then, and the client
    /// sees where it broke off.
    fn fail(
        &mut self,
        cx: &mut Context<'_>,
        reason: &dyn fmt::Display,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let (api, id) = (&self.api, &self.id);
        tracing::warn!(%api, request_id = %id, %reason, sent = self.made, "a download broke off");
        self.failed = true;
        self.body = ByteStream::default();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
