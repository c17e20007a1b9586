//! What the hand-written servers have in common: the least that answers as FrameX does.

pub(crate) mod body;
pub(crate) mod envelope;
pub(crate) mod query;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hyper::header::{HeaderName, HeaderValue};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// 16 digits that no other request of this process has.
pub(crate) fn request_id() -> HeaderValue {
    thread_local! {
        // Threads are far apart, so that their numbers never meet.
        static NEXT: Cell<u64> = Cell::new(u64::from(std::process::id()) << 48 | thread_number() << 40);
    }
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let number = NEXT.get();
    NEXT.set(number + 1);
    let mut id = [0; 16];
    for (index, digit) in id.iter_mut().enumerate() {
        *digit = DIGITS[(number >> (60 - 4 * index) & 15) as usize];
    }
    HeaderValue::from_bytes(&id).expect("digits are a header value")
}

fn thread_number() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    THREADS.fetch_add(1, Relaxed)
}
