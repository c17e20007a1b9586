//! How much is put together in memory at the same time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MOST_IN_MEMORY;

/// See the module: [`MOST_IN_MEMORY`]. Counts in KiB.
pub(in crate::nats) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(kib(MOST_IN_MEMORY) as usize)))
    }
}

impl Room {
    /// Room for `size` bytes, if there is any now.
    pub(in crate::nats) fn now_for(&self, size: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_many_owned(kib(size)).ok()
    }

    /// Room for `size` bytes, as soon as there is; none if there never will be.
    pub(in crate::nats) async fn soon_for(&self, size: u64) -> Option<OwnedSemaphorePermit> {
        if size > MOST_IN_MEMORY {
            return None;
        }
        let room = Arc::clone(&self.0).acquire_many_owned(kib(size));
        room.await.ok()
    }
}

/// In whole KiB, at least one.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(u32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn there_is_room_for_so_much_and_for_more_when_that_is_gone() {
        let room = Room::default();
        assert!(room.now_for(MOST_IN_MEMORY + 1).is_none());
        assert!(matches!(
            room.soon_for(MOST_IN_MEMORY + 1).now_or_never(),
            Some(None)
        ));
        let nearly = room.now_for(MOST_IN_MEMORY - 1024);
        let rest = room.now_for(0);
        assert!(nearly.is_some() && rest.is_some() && room.now_for(1).is_none());
        assert!(room.soon_for(1025).now_or_never().is_none());
        drop(rest);
        assert!(room.now_for(1025).is_none() && room.now_for(1024).is_some());
        drop(nearly);
        assert!(matches!(
            room.soon_for(MOST_IN_MEMORY).now_or_never(),
            Some(Some(_))
        ));
    }
}
