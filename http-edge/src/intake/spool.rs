//! Files of a form that have to wait for the rest of it: the first bytes in memory,
//! the others on disk.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use framex_core::body::ByteStream;
use framex_core::error::Error;
use futures_core::Stream;
use tokio::task::{JoinHandle, spawn_blocking};

use super::parts::Parts;

/// Of all files of a form together, in bytes.
pub(super) const IN_MEMORY: usize = 64 * 1024;
/// Written and read at once, in bytes.
const BLOCK: usize = 128 * 1024;

/// Where the files of one form wait. All share one file without a name, which goes
/// with the last of them.
pub(super) struct Spool {
    /// Still free, in bytes.
    memory: usize,
    file: Option<Arc<Mutex<File>>>,
    written: u64,
}

impl Spool {
    pub(super) fn new() -> Self {
        Self {
            memory: IN_MEMORY,
            file: None,
            written: 0,
        }
    }

    /// Takes in what is left of the current part.
    pub(super) async fn take(&mut self, parts: &mut Parts) -> Result<ByteStream, Error> {
        let from = self.written;
        let mut held = BytesMut::new();
        let mut on_disk = false;
        while let Some(piece) = parts.data().await? {
            held.extend_from_slice(&piece);
            on_disk |= held.len() > self.memory;
            if on_disk && held.len() >= BLOCK {
                held = self.write(held).await?;
            }
        }
        if !on_disk {
            self.memory -= held.len();
            return Ok(ByteStream::full(held));
        }
        if !held.is_empty() {
            self.write(held).await?;
        }
        let size = self.written - from;
        let Some(file) = self.file.clone() else {
            return Ok(ByteStream::default());
        };
        let region = Region {
            file,
            at: from,
            left: size,
            reading: None,
        };
        Ok(ByteStream::new(region).with_size(size))
    }

    /// Writes `held`, and gives it back empty.
    async fn write(&mut self, mut held: BytesMut) -> Result<BytesMut, Error> {
        let known = self.file.clone();
        let at = self.written;
        self.written += held.len() as u64;
        let work = spawn_blocking(move || {
            let file = match known {
                Some(file) => file,
                None => Arc::new(Mutex::new(tempfile::tempfile()?)),
            };
            let mut open = file.lock().unwrap_or_else(PoisonError::into_inner);
            open.seek(SeekFrom::Start(at))?;
            open.write_all(&held)?;
            drop(open);
            held.clear();
            Ok::<_, io::Error>((file, held))
        });
        let (file, held) = work.await??;
        self.file = Some(file);
        Ok(held)
    }
}

/// A part of a file.
struct Region {
    file: Arc<Mutex<File>>,
    at: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Stream for Region {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            let (file, at) = (Arc::clone(&this.file), this.at);
            let count = usize::try_from(this.left).unwrap_or(BLOCK).min(BLOCK);
            spawn_blocking(move || {
                let mut block = BytesMut::zeroed(count);
                let mut open = file.lock().unwrap_or_else(PoisonError::into_inner);
                open.seek(SeekFrom::Start(at))?;
                open.read_exact(&mut block)?;
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
