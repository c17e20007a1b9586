//! Time, without what the machine takes for itself.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a thread slept that wanted to sleep less.
static STALLED_MS: AtomicU64 = AtomicU64::new(0);

/// Measures from its making on, and leaves out the time in which this machine,
/// which others use too, let nobody here run.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch {
    begun: Instant,
    stalled: u64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        static METER: Once = Once::new();
        METER.call_once(|| {
            std::thread::spawn(|| {
                loop {
                    let begun = Instant::now();
                    std::thread::sleep(Duration::from_millis(10));
                    let late = begun.elapsed().as_millis().saturating_sub(20);
                    let late = u64::try_from(late).unwrap_or(u64::MAX);
                    STALLED_MS.fetch_add(late, Ordering::Relaxed);
                }
            });
        });
        Self {
            begun: Instant::now(),
            stalled: STALLED_MS.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    pub(crate) fn elapsed(&self) -> Duration {
        let stalled = STALLED_MS.load(Ordering::Relaxed) - self.stalled;
        let elapsed = self.begun.elapsed();
        elapsed.saturating_sub(Duration::from_millis(stalled))
    }

    /// Asks again and again until `holds`, which has to be within `limit`.
    #[track_caller]
    pub(crate) fn within<'a, F, T>(
        self,
        limit: Duration,
        what: &'a str,
        mut holds: F,
    ) -> impl Future<Output = T> + use<'a, F, T>
    where
        F: AsyncFnMut() -> Option<T> + 'a,
        T: 'a,
    {
        let place = std::panic::Location::caller();
        async move {
            loop {
                if let Some(found) = holds().await {
                    let took = self.elapsed();
                    eprintln!("{what}: {took:?} ({place})");
                    assert!(took < limit, "{what} took {took:?} of {limit:?} ({place})");
                    return found;
                }
                // Late is better than never, for whoever has to find out why.
                let took = self.elapsed();
                assert!(
                    took < limit * 2 + Duration::from_secs(5),
                    "{what}: not even after {took:?}, {limit:?} allowed ({place})"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
