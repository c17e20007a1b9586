//! Streams that can be followed again.

mod follower;
mod keeper;
mod log;
mod source;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

use framex_core::descriptor::ApiDescriptor;
use framex_core::error::CallError;
use framex_core::event::EventStream;
use framex_core::id::ApiId;
use framex_core::kept::Position;
use futures_core::future::BoxFuture;

pub(crate) use keeper::Keeper;

/// Whether streams of `api` can be kept: whoever follows a bridged one again asks whoever
/// has its events.
pub(crate) fn is_kept(api: &ApiDescriptor) -> bool {
    api.streams() && !api.live && !api.bridged
}

/// What a stream counts besides its events, in bytes.
const STREAM: usize = 1024;

/// How a process keeps streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepOptions {
    /// How long a stream goes on with nobody following it.
    pub grace: Duration,
    /// How much of one stream is kept, in bytes. At most half of that are events
    /// that not all who follow have taken.
    pub replay_buffer: usize,
    /// How much of all streams is kept, in bytes, with 1 KiB for each. Above it streams that have ended
    /// go, the oldest first, and of those that run a sixteenth of `replay_buffer` is kept.
    pub replay_memory: usize,
    /// How long a stream that has ended is kept.
    pub max_age: Duration,
}

impl Default for KeepOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            replay_buffer: 1 << 20,
            replay_memory: 64 << 20,
            max_age: Duration::from_secs(10 * 60),
        }
    }
}

/// A stream that is kept, as [`Bus::find_stream`](crate::Bus::find_stream) finds it.
pub trait KeptStream: Send + Sync {
    /// Whose stream it is.
    fn api(&self) -> &ApiId;

    /// Who started it, where that was known. Whoever asks for the stream has to be
    /// the same; the asker checks.
    fn principal(&self) -> Option<&str>;

    /// Its events behind `after`, or from the beginning: first those that came
    /// already, then the rest as it comes. Each has its position.
    ///
    /// Several may follow at the same time: the stream goes as fast as the slowest of
    /// them. Who takes nothing for a minute while others wait for it follows no more: its
    /// last event is [`kept::interrupted`](framex_core::kept::interrupted).
    ///
    /// # Errors
    ///
    /// [`kept::incomplete`](framex_core::kept::incomplete) if not all of that is
    /// there any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the events leaves the stream: once nobody has followed it for the grace
    /// period, its handler is stopped.
    fn follow(&self, after: Option<Position>)
    -> BoxFuture<'static, Result<EventStream, CallError>>;

    /// Stops the handler. Whoever follows gets
    /// [`kept::stopped`](framex_core::kept::stopped). One that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// [`CallError::Disconnected`] if nobody could be told.
    fn stop(&self) -> BoxFuture<'static, Result<(), CallError>>;
}
