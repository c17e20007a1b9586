//! Bodies: what the edge sends.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

pub use crate::download::BodyError;
use crate::download::DownloadBody;
use crate::events::EventBody;

/// The body of an answer.
#[derive(Debug, Default)]
pub struct EdgeBody(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Empty,
    /// No bytes in place of nobody knows how many: HEAD on a stream.
    Unsent,
    Full(Bytes),
    /// The envelope around a large result: nothing is copied.
    Around(Box<([Bytes; 3], u8)>),
    Events(Box<EventBody>),
    Download(Box<DownloadBody>),
}

impl EdgeBody {
    /// No bytes at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// No bytes, and no word about how many there would be.
    pub(crate) fn unsent() -> Self {
        Self(Kind::Unsent)
    }

    /// All bytes at once.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(bytes.into()))
    }

    pub(crate) fn around(parts: [Bytes; 3]) -> Self {
        Self(Kind::Around(Box::new((parts, 0))))
    }

    pub(crate) fn events(events: EventBody) -> Self {
        Self(Kind::Events(Box::new(events)))
    }

    pub(crate) fn download(download: DownloadBody) -> Self {
        Self(Kind::Download(Box::new(download)))
    }
}

impl Body for EdgeBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let bytes = match &mut self.0 {
            Kind::Empty | Kind::Unsent => None,
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Some(bytes)
            }
            Kind::Around(around) => {
                let (parts, sent) = &mut **around;
                let bytes = parts.get_mut(usize::from(*sent)).map(std::mem::take);
                *sent += 1;
                bytes
            }
            Kind::Events(events) => {
                return events.poll_bytes(cx).map(|b| b.map(|b| Ok(Frame::data(b))));
            }
            Kind::Download(download) => {
                let bytes = download.poll_bytes(cx);
                return bytes.map(|b| b.map(|b| b.map(Frame::data)));
            }
        };
        Poll::Ready(bytes.filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Around(around) => around.1 >= 3,
            Kind::Download(download) => download.is_over(),
            Kind::Unsent | Kind::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Around(around) => {
                SizeHint::with_exact(around.0.iter().map(|p| p.len() as u64).sum())
            }
            Kind::Download(download) => download
                .size()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Unsent | Kind::Events(_) => SizeHint::default(),
        }
    }
}

/// A body with something that lives as long as it is being sent.
#[derive(Debug)]
pub(crate) struct Guarded<G> {
    body: EdgeBody,
    #[expect(dead_code, reason = "there for its drop")]
    guard: G,
}

impl<G> Guarded<G> {
    pub(crate) fn new(body: EdgeBody, guard: G) -> Self {
        Self { body, guard }
    }

    pub(crate) fn into_body(self) -> EdgeBody {
        self.body
    }
}

impl<G: Unpin> Body for Guarded<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Awaits `future` for at most `limit`. The timer starts only when there is
/// something to wait for.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = None;
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}
