//! Latencies in buckets whose width is below a hundredth of their value.

use std::time::Duration;

/// Buckets for each doubling.
const FINE: u64 = 128;

/// How often each latency occurred.
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![0; index(u64::MAX) + 1],
            count: 0,
        }
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).expect("within centuries");
        self.buckets[index(nanos)] += 1;
        self.count += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The latency that this share of all did not exceed.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let rank = self.count as f64 * share;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen as f64 >= rank && seen > 0 {
                return Duration::from_nanos(value(index as u64));
            }
        }
        Duration::ZERO
    }
}

/// Values below 256 have a bucket each; from there on, each doubling has 128.
fn index(value: u64) -> usize {
    let shift = u64::from((value / FINE).checked_ilog2().unwrap_or(0));
    let index = shift * FINE + (value >> shift);
    usize::try_from(index).expect("below 64 * 128")
}

/// The least value of a bucket.
fn value(index: u64) -> u64 {
    let shift = (index / FINE).saturating_sub(1);
    (index - shift * FINE) << shift
}
