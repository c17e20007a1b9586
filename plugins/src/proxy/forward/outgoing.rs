//! The body of a request, as it goes out.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use framex_core::body::ByteStream;
use framex_core::error::Error;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// None, or all of it.
    Full(Bytes),
    /// It is still coming.
    Coming {
        body: ByteStream,
        left: Option<u64>,
        progress: Arc<Progress>,
    },
}

/// How far a body has come that is sent while it comes.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// In milliseconds after that.
    moved: AtomicU64,
    /// Whether the next piece is asked for, and has not come.
    awaited: AtomicBool,
    /// What broke it off.
    broken: Mutex<Option<Error>>,
}

/// A body broke off; [`Progress::broken`] says why.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request broke off")]
pub(super) struct Interrupted;

impl Outgoing {
    pub(super) fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Full(bytes) if bytes.is_empty())
    }

    /// Whether it is not known how long it is.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Coming { left: None, .. })
    }

    /// Who knows how far it has come; nobody if it lies here.
    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Full(_) => None,
            Self::Coming { progress, .. } => Some(Arc::clone(progress)),
        }
    }
}

impl From<ByteStream> for Outgoing {
    fn from(body: ByteStream) -> Self {
        if let Some(bytes) = body.as_full() {
            return Self::Full(bytes.clone());
        }
        let progress = Progress {
            began: Instant::now(),
            moved: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
            broken: Mutex::new(None),
        };
        Self::Coming {
            left: body.size(),
            body,
            progress: Arc::new(progress),
        }
    }
}

impl Progress {
    /// When a piece of it moved last.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    /// Whether the connection would take the next piece, and there is none yet.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// What broke it off, for the first who asks.
    pub(super) fn broken(&self) -> Option<Error> {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.take()
    }

    fn note(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Ordering::Relaxed);
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        match &mut *self {
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Coming {
                body,
                left,
                progress,
            } => {
                let piece = Pin::new(body).poll_next(cx);
                progress
                    .awaited
                    .store(piece.is_pending(), Ordering::Relaxed);
                let piece = ready!(piece);
                progress.note();
                let fail = |error| {
                    let mut broken = progress
                        .broken
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    *broken = Some(error);
                    Poll::Ready(Some(Err(Interrupted)))
                };
                let Some(piece) = piece else {
                    return match left {
                        Some(1..) => fail(Error::bad_request("the body is shorter than announced")),
                        _ => Poll::Ready(None),
                    };
                };
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => return fail(error),
                };
                if let Some(left) = left {
                    match left.checked_sub(piece.len() as u64) {
                        Some(less) => *left = less,
                        None => {
                            return fail(Error::bad_request("the body is longer than announced"));
                        }
                    }
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Coming { left, .. } => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Coming {
                left: Some(left), ..
            } => SizeHint::with_exact(*left),
            Self::Coming { left: None, .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use framex_core::error::Result;
    use futures_util::stream;
    use std::future::poll_fn;

    use super::*;

    fn coming(pieces: &'static [&'static str], size: Option<u64>) -> Outgoing {
        let items = pieces.iter().map(|piece| match *piece {
            "!" => Err(Error::bad_request("cut")),
            piece => Ok(Bytes::from(piece)),
        });
        let items: Vec<Result<Bytes>> = items.collect();
        let body = ByteStream::new(stream::iter(items));
        Outgoing::from(match size {
            Some(size) => body.with_size(size),
            None => body,
        })
    }

    /// What comes of it, and what the callers are told if it breaks off.
    async fn sent(mut body: Outgoing) -> (String, Option<String>) {
        let progress = body.progress();
        let mut all = String::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(frame) = frame else {
                return (all, Some(progress.unwrap().broken().unwrap().to_string()));
            };
            all.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
        assert!(progress.is_none_or(|progress| progress.broken().is_none()));
        (all, None)
    }

    #[tokio::test]
    async fn a_body_is_as_long_as_it_says() {
        for (pieces, size, told) in [
            (&["ab", "c"][..], None, None),
            (&["ab", "c"], Some(3), None),
            (&["ab"], Some(3), Some("shorter")),
            (&["ab", "cd"], Some(3), Some("longer")),
            (&["ab", "!"], None, Some("cut")),
        ] {
            let (all, broken) = sent(coming(pieces, size)).await;
            assert!(all.starts_with("ab"));
            assert_eq!(broken.is_some(), told.is_some());
            assert!(
                broken
                    .unwrap_or_default()
                    .contains(told.unwrap_or_default())
            );
        }
        let full = Outgoing::from(ByteStream::full("abc"));
        assert!(full.progress().is_none() && !full.is_empty());
        assert_eq!(sent(full).await.0, "abc");
    }
}
