//! Files of a form that have to wait for the rest of it: the first bytes in memory,
//! the others on disk.

use std::io;

use bytes::BytesMut;
use framex_core::body::{ByteStream, SharedFile};
use framex_core::error::Error;
use tokio::task::spawn_blocking;

use super::parts::Parts;

/// Of all files of a form together, in bytes.
pub(super) const IN_MEMORY: usize = 64 * 1024;
/// Written at once, in bytes.
const BLOCK: usize = 128 * 1024;

/// Where the files of one form wait. All share one file without a name, which goes
/// with the last of them.
pub(super) struct Spool {
    /// Still free, in bytes.
    memory: usize,
    file: Option<SharedFile>,
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
        Ok(match self.file.clone() {
            Some(file) => ByteStream::region(file, from, size),
            None => ByteStream::default(),
        })
    }

    /// Writes `held`, and gives it back empty.
    async fn write(&mut self, mut held: BytesMut) -> Result<BytesMut, Error> {
        let known = self.file.clone();
        let at = self.written;
        self.written += held.len() as u64;
        let work = spawn_blocking(move || {
            let file = match known {
                Some(file) => file,
                None => SharedFile::new(tempfile::tempfile()?),
            };
            file.write_at(at, &held)?;
            held.clear();
            Ok::<_, io::Error>((file, held))
        });
        let (file, held) = work.await??;
        self.file = Some(file);
        Ok(held)
    }
}
