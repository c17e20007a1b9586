//! What is larger than the broker's messages: bodies, in frames.
//!
//! A body is a sequence of bytes beside a message. Its receiver asks for it and
//! grants how much of it may be on its way; each frame has a number and a
//! checksum, so that nothing is lost, repeated or changed without notice.
//!
//! | module | its secret |
//! |---|---|
//! | `send` | from a stream of bytes to frames, no more at a time than were granted |
//! | `receive` | from frames to a stream of bytes, or to all of them; more are granted as they are taken |
//! | `caller` | the bodies that go with a request, and that of its answer |
//! | `server` | the same from the other side |
//!
//! Memory: a body has [`FRAMES`] times [`FRAME_SIZE`] on its way at most, 1 MiB, which lies
//! with its sender, the broker or its receiver.
//!
//! [`FRAMES`]: super::wire::FRAMES
//! [`FRAME_SIZE`]: super::wire::FRAME_SIZE

pub(super) mod caller;
pub(super) mod receive;
mod send;
pub(super) mod server;

use std::time::Duration;

/// Whoever has leave to send and sends nothing for so long is gone.
const SILENT: Duration = Duration::from_secs(30);
/// Whoever has nothing to send says so with an empty frame.
const STILL_THERE: Duration = Duration::from_secs(10);
/// What is put together in memory is never more, in bytes.
pub(super) const MOST_IN_MEMORY: u64 = 1 << 30;
