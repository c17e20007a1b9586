//! Parts of files, read piece by piece.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::{Error, Result};

/// Read at once, in bytes.
const BLOCK: usize = 128 * 1024;

/// A file that several read and write, each at a place of its own. Closed by the last of them.
#[derive(Clone, Debug)]
pub struct SharedFile(Arc<Mutex<File>>);

impl SharedFile {
    /// Shares `file`.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    /// Writes all of `bytes` at `at`. Blocks the thread.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.lock();
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }

    /// Fills `bytes` from `at`. Blocks the thread.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut file = self.lock();
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a file. One block is read when it is asked for, and none before.
pub(super) struct Region {
    file: SharedFile,
    at: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Region {
    pub(super) fn new(file: SharedFile, at: u64, size: u64) -> Self {
        Self {
            file,
            at,
            left: size,
            reading: None,
        }
    }
}

impl Stream for Region {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            let (file, at) = (this.file.clone(), this.at);
            let count = usize::try_from(this.left).unwrap_or(BLOCK).min(BLOCK);
            spawn_blocking(move || {
                let mut block = BytesMut::zeroed(count);
                file.read_at(at, &mut block)?;
                Ok(block.freeze())
            })
        });
        let read = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        let read = read.map_err(Error::from);
        let block = read.and_then(|block| block.map_err(Error::from));
        match &block {
            Ok(block) => {
                this.at += block.len() as u64;
                this.left -= block.len() as u64;
            }
            Err(_) => this.left = 0,
        }
        Poll::Ready(Some(block))
    }
}

#[cfg(test)]
mod tests {
    use crate::body::{ByteStream, SharedFile};

    #[tokio::test]
    async fn parts_of_a_file_are_read_side_by_side() {
        let file = SharedFile::new(tempfile::tempfile().unwrap());
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        file.write_at(3, &bytes).unwrap();
        let mut first = ByteStream::region(file.clone(), 3, 200_000);
        let second = ByteStream::region(file.clone(), 200_003, 200_000);
        assert_eq!(first.size(), Some(200_000));
        let begin = first.next().await.unwrap().unwrap();
        assert_eq!(begin, bytes[..begin.len()]);
        assert_eq!(second.collect(200_000).await.unwrap(), bytes[200_000..]);
        assert_eq!(
            first.collect(200_000).await.unwrap(),
            bytes[begin.len()..200_000]
        );
        // A file that became shorter is no whole one.
        assert!(
            ByteStream::region(file, 400_000, 4)
                .collect(9)
                .await
                .is_err()
        );
    }
}
