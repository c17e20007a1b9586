//! Work that keeps a core busy, without keeping anybody waiting.
//!
//! ```text
//! cargo run --example remote_blocking -- run
//! curl "http://127.0.0.1:8080/api/v1/primes?below=5000000"
//! ```
//!
//! A handler shares its thread with others, so it must not compute for long:
//! one that does is named in the log. `#[remote]` gives a function a second
//! form, which runs on the pool for blocking work, several at a time.

use framex::prelude::*;

/// Counts the primes below `limit`.
#[remote]
fn primes(limit: u32) -> usize {
    let limit = limit as usize;
    let mut composite = vec![false; limit];
    let mut count = 0;
    for number in 2..limit {
        if composite[number] {
            continue;
        }
        count += 1;
        for multiple in (number * number..limit).step_by(number) {
            composite[multiple] = true;
        }
    }
    count
}

#[derive(Default)]
struct Maths;

#[on_register(plugin = "maths")]
impl Maths {
    /// How many primes there are below `below`.
    ///
    /// `timeout` bounds the wait. The computation itself cannot be stopped and
    /// runs to its end, so `max_ongoing_requests` bounds how many there are:
    /// one more is refused at once with 503 and `Retry-After`.
    #[on_request(get, "/primes", idempotent, timeout = "30s", max_ongoing_requests = 4)]
    async fn primes(&self, below: u32) -> Result<usize> {
        if below > 100_000_000 {
            return Err(Error::bad_request("`below` is at most 100000000"));
        }
        // Not `primes(below)`: that would block this thread.
        primes::remote(below).await
    }
}

framex::main!(Maths);
