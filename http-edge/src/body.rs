//! Bodies: what the edge sends, and how it reads what it is sent.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use framex_core::error::BoxError;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

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
}

/// No body of the edge fails; the type is there for the trait.
pub type BodyError = std::convert::Infallible;

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
        };
        Poll::Ready(bytes.filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Around(around) => around.1 >= 3,
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

/// Why a request's body could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// More than the limit.
    TooLarge,
    /// Nothing came for too long.
    TooSlow,
    /// The client or the connection broke it off.
    Broken(BoxError),
}

/// Reads all of `body`, at most `limit` bytes, with at most `pause` between two
/// pieces.
pub(crate) async fn read_all<B>(body: B, limit: usize, pause: Duration) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(ReadError::TooLarge);
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let Some(frame) = within(pause, body.frame())
            .await
            .ok_or(ReadError::TooSlow)?
        else {
            break;
        };
        let frame = frame.map_err(|error| {
            let error = error.into();
            // A body of another server's limit layer says so in its own way.
            if error.is::<http_body_util::LengthLimitError>() {
                ReadError::TooLarge
            } else {
                ReadError::Broken(error)
            }
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > limit {
            return Err(ReadError::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            if body.is_end_stream() {
                break;
            }
            continue;
        }
        if all.is_empty() {
            let hint = usize::try_from(announced).unwrap_or(limit).min(limit);
            all.reserve(hint.max(first.len() + data.len()));
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
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
