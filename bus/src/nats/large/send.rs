//! From a stream of bytes to frames.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_nats::{Client, Subject};
use bytes::{Bytes, BytesMut};
use framex_core::body::ByteStream;
use framex_core::error::{Error, Result};
use futures_core::Stream;
use futures_util::task::AtomicWaker;
use tokio::time::timeout;

use super::STILL_THERE;
use crate::nats::link::publish;
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, Outgoing, Pull, frame_size};

/// A smaller piece waits for what else is there.
const WORTH_A_FRAME: usize = 16 * 1024;

/// What the receiver of a body has granted.
pub(super) struct Credit {
    /// Frames, since the beginning.
    granted: AtomicU64,
    stopped: AtomicBool,
    waker: AtomicWaker,
}

impl Credit {
    pub(super) fn new(frames: u32) -> Self {
        Self {
            granted: AtomicU64::new(frames.into()),
            stopped: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// As the receiver says.
    pub(super) fn add(&self, pull: Pull) {
        let more = |granted: u64| Some(granted.saturating_add(pull.frames.into()));
        // The closure never says no.
        let _ = self
            .granted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        if pull.stop {
            self.stopped.store(true, Ordering::Release);
        }
        self.waker.wake();
    }

    /// `sending`, until nobody wants it any more; then it is dropped at once.
    pub(super) async fn unless_stopped<T>(&self, sending: impl Future<Output = T>) -> Option<T> {
        let mut sending = pin!(sending);
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            match self.stopped.load(Ordering::Acquire) {
                true => Poll::Ready(None),
                false => sending.as_mut().poll(cx).map(Some),
            }
        })
        .await
    }

    /// Waits until frame `number` may be sent.
    async fn reaches(&self, number: u64) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            match self.granted.load(Ordering::Acquire) >= number {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// Sends the whole of a body, as `credit` allows; what breaks it off is told to the
/// receiver as its end.
pub(super) async fn send(
    client: &Client,
    to: &Subject,
    source: ByteStream,
    credit: &Credit,
    patience: Option<Duration>,
) -> Result<(), Lost> {
    let mut cutter = Cutter::new(source, frame_size(client.max_payload()));
    let (mut frames, mut bytes) = (0_u64, 0_u64);
    let publish =
        async |out: Outgoing| publish(client, to.clone(), None, out.headers, out.payload).await;
    loop {
        let granted = credit.reaches(frames + 1);
        match patience {
            Some(patience) => timeout(patience, granted).await.map_err(|_| Lost::Gone)?,
            None => granted.await,
        }
        let piece = match timeout(STILL_THERE, cutter.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => return publish(wire::end_of_body(frames, bytes)).await,
            Ok(Some(Err(error))) => {
                return match publish(wire::error(&error, true)).await {
                    Err(Lost::TooLarge) => {
                        let short = Error::new(error.status(), "the body broke off")
                            .with_code(error.code().to_owned());
                        publish(wire::error(&short, true)).await
                    }
                    sent => sent,
                };
            }
            Err(_) => Bytes::new(),
        };
        frames += 1;
        bytes += piece.len() as u64;
        publish(wire::frame(frames, piece)).await?;
    }
}

/// Cuts what comes into frames, and puts small pieces together that lie there at
/// the same time. Larger ones are not copied.
struct Cutter {
    source: ByteStream,
    most: usize,
    rest: Bytes,
    /// What came behind `rest`: the end, or an error.
    behind: Option<Option<Error>>,
}

impl Cutter {
    fn new(source: ByteStream, most: usize) -> Self {
        Self {
            source,
            most,
            rest: Bytes::new(),
            behind: None,
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.rest.is_empty() && !ready!(self.poll_more(cx)) {
            return Poll::Ready(match &mut self.behind {
                Some(error) => error.take().map(Err),
                None => None,
            });
        }
        if self.rest.len() >= WORTH_A_FRAME.min(self.most) || self.behind.is_some() {
            let most = self.most.min(self.rest.len());
            return Poll::Ready(Some(Ok(self.rest.split_to(most))));
        }
        let mut together = BytesMut::from(&std::mem::take(&mut self.rest)[..]);
        while together.len() < self.most && self.poll_more(cx).is_ready() {
            let room = (self.most - together.len()).min(self.rest.len());
            together.extend_from_slice(&self.rest.split_to(room));
            if self.behind.is_some() {
                break;
            }
        }
        Poll::Ready(Some(Ok(together.freeze())))
    }

    /// Fills `rest`, which is empty; gives whether there was something.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.behind.is_some() {
            return Poll::Ready(false);
        }
        Poll::Ready(match ready!(Pin::new(&mut self.source).poll_next(cx)) {
            Some(Ok(bytes)) => {
                self.rest = bytes;
                true
            }
            Some(Err(error)) => {
                self.behind = Some(Some(error));
                false
            }
            None => {
                self.behind = Some(None);
                false
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    async fn cut(source: ByteStream, most: usize) -> (Vec<usize>, Vec<u8>, Option<Error>) {
        let mut cutter = Cutter::new(source, most);
        let (mut sizes, mut all) = (Vec::new(), Vec::new());
        while let Some(piece) = cutter.next().await {
            match piece {
                Ok(piece) => {
                    sizes.push(piece.len());
                    all.extend_from_slice(&piece);
                }
                Err(error) => {
                    assert!(cutter.next().await.is_none());
                    return (sizes, all, Some(error));
                }
            }
        }
        (sizes, all, None)
    }

    fn pieces(sizes: &[usize], error: bool) -> (ByteStream, Vec<u8>) {
        let mut n = 0_u8;
        let pieces: Vec<Vec<u8>> = sizes
            .iter()
            .map(|size| {
                n += 1;
                vec![n; *size]
            })
            .collect();
        let all = pieces.concat();
        let mut items: Vec<Result<Bytes>> = pieces.into_iter().map(|p| Ok(p.into())).collect();
        if error {
            items.push(Err(Error::bad_request("broken")));
        }
        (ByteStream::new(stream::iter(items)), all)
    }

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in_whatever_their_pieces() {
        const K: usize = 1024;
        for (sizes, most, expected) in [
            (&[1, 2, 3][..], 64 * K, &[6][..]),
            (&[100 * K], 64 * K, &[64 * K, 36 * K]),
            (&[20 * K, 20 * K], 64 * K, &[20 * K, 20 * K]),
            (&[10 * K, 60 * K, 1], 64 * K, &[64 * K, 6 * K + 1]),
            (&[64 * K, 64 * K], 64 * K, &[64 * K, 64 * K]),
            (&[5, 5], 4, &[4, 4, 2]),
            (&[], 4, &[]),
        ] {
            for error in [false, true] {
                let (source, all) = pieces(sizes, error);
                let (sizes, bytes, ended) = cut(source, most).await;
                assert_eq!(sizes, expected);
                assert_eq!(bytes, all);
                assert_eq!(ended.is_some(), error);
            }
        }
        let (sizes, ..) = cut(ByteStream::full(vec![0; 9]), 4).await;
        assert_eq!(sizes, [4, 4, 1]);
    }

    #[tokio::test]
    async fn what_is_there_does_not_wait_for_more() {
        let (first, _) = pieces(&[3], false);
        let source = ByteStream::new(futures_util::StreamExt::chain(first, stream::pending()));
        let mut cutter = Cutter::new(source, 64);
        assert_eq!(cutter.next().await.unwrap().unwrap().len(), 3);
    }
}
