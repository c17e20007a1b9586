//! Bytes that need not lie in memory all at once: uploads and downloads.

mod file;

use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::StatusCode;
use tokio::task::coop::poll_proceed;

use crate::error::{Error, Result};
pub use file::SharedFile;

/// Never more than this is reserved before it has come, in bytes.
const MOST_RESERVED: usize = 1 << 20;

/// Bytes that come in pieces, or lie there already.
///
/// Whoever makes them waits until they are taken. An `Err` is the last item: the
/// bytes before it are not all.
pub struct ByteStream {
    size: Option<u64>,
    source: Source,
}

enum Source {
    Full(Bytes),
    /// Never locked, only reached through `&mut`: so that the whole may be shared
    /// by reference, as handlers do that look at an upload while they wait.
    Stream(Mutex<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>>),
    Ended,
}

impl ByteStream {
    /// All of them at once.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            size: Some(bytes.len() as u64),
            source: Source::Full(bytes),
        }
    }

    /// As they come.
    pub fn new(stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self {
            size: None,
            source: Source::Stream(Mutex::new(Box::pin(stream))),
        }
    }

    /// A file from its beginning, read on the blocking pool while it is asked for.
    ///
    /// # Errors
    ///
    /// The system's, if it does not tell the file's size.
    pub fn file(file: File) -> std::io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::region(SharedFile::new(file), 0, size))
    }

    /// `size` bytes of a file, from `at`.
    #[must_use]
    pub fn region(file: SharedFile, at: u64, size: u64) -> Self {
        Self::new(file::Region::new(file, at, size)).with_size(size)
    }

    /// Says how many bytes will come. Nobody checks it here.
    #[must_use]
    pub fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// How many bytes there are altogether, where that is known beforehand.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The bytes, if they all lie here and none was taken.
    #[must_use]
    pub fn as_full(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Full(bytes) => Some(bytes),
            Source::Stream(_) | Source::Ended => None,
        }
    }

    /// The next piece, never empty; `None` after the last.
    ///
    /// # Errors
    ///
    /// What broke it off; nothing comes after that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// All bytes in one piece, at most `most`.
    ///
    /// # Errors
    ///
    /// 413 if there are more; what broke it off.
    pub async fn collect(mut self, most: usize) -> Result<Bytes> {
        let too_large = || {
            let text = format!("more than {most} bytes");
            Error::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        let announced = self
            .size
            .map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if announced.is_some_and(|size| size > most) {
            return Err(too_large());
        }
        let Some(first) = self.next().await.transpose()? else {
            return Ok(Bytes::new());
        };
        let Some(mut next) = self.next().await.transpose()? else {
            return match first.len() > most {
                true => Err(too_large()),
                false => Ok(first),
            };
        };
        // What is announced may be a lie.
        let room = announced.unwrap_or_default().min(MOST_RESERVED);
        let mut all = BytesMut::with_capacity(room.max(first.len() + next.len()));
        all.extend_from_slice(&first);
        loop {
            if all.len() + next.len() > most {
                return Err(too_large());
            }
            all.extend_from_slice(&next);
            match self.next().await.transpose()? {
                Some(more) => next = more,
                None => return Ok(all.freeze()),
            }
        }
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.source {
                Source::Full(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.source = Source::Ended;
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Source::Stream(stream) => {
                    let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
                    // Whoever reads what is always ready still lets others have a turn.
                    let turn = ready!(poll_proceed(cx));
                    let item = ready!(stream.as_mut().poll_next(cx));
                    turn.made_progress();
                    match &item {
                        Some(Ok(bytes)) if bytes.is_empty() => continue,
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => self.source = Source::Ended,
                    }
                    return Poll::Ready(item);
                }
                Source::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl From<Bytes> for ByteStream {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl Default for ByteStream {
    fn default() -> Self {
        Self::full(Bytes::new())
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            Some(size) => write!(f, "ByteStream({size} bytes)"),
            None => f.write_str("ByteStream"),
        }
    }
}

/// The bodies that travel beside the map of a call's arguments, by their number.
pub trait Bodies: Send + Sync {
    /// The body with this number; its first piece is asked for when it is first
    /// polled. One that is not there, or was taken, gives an error.
    fn open(&self, number: u32, size: Option<u64>) -> ByteStream;
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn pieces(pieces: &[&'static str]) -> ByteStream {
        let pieces: Vec<Result<Bytes>> = pieces.iter().map(|p| Ok(Bytes::from(*p))).collect();
        ByteStream::new(stream::iter(pieces))
    }

    #[tokio::test]
    async fn pieces_are_collected_within_a_bound() {
        for (stream, most, all) in [
            (pieces(&["ab", "", "c"]), 3, Some("abc")),
            (pieces(&["ab", "c"]), 2, None),
            (pieces(&["abc"]), 2, None),
            (pieces(&[]), 0, Some("")),
            (ByteStream::full("abc"), 3, Some("abc")),
            (ByteStream::full("abc"), 2, None),
        ] {
            let collected = stream.collect(most).await;
            match all {
                Some(all) => assert_eq!(collected.unwrap(), all),
                None => assert_eq!(collected.unwrap_err().status(), 413),
            }
        }
    }

    #[tokio::test]
    async fn an_error_is_the_last_item() {
        let items = vec![
            Ok(Bytes::from("a")),
            Err(Error::bad_request("broken")),
            Ok(Bytes::from("b")),
        ];
        let mut stream = ByteStream::new(stream::iter(items));
        assert_eq!(stream.next().await.unwrap().unwrap(), "a");
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }
}
