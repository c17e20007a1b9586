//! One call site whose work is done here or on another system, as the settings say.
//!
//! Alone it does the work itself:
//!
//! ```text
//! cargo run --example proxy_functions -- run
//! curl "http://127.0.0.1:8080/api/v1/primes?below=5000000"
//! ```
//!
//! Beside a system with better machines it leaves the work to that one. The code is the same;
//! `process` in the answers tells who did it:
//!
//! ```text
//! cargo run --example proxy_functions -- run --config examples/proxy_functions/far.toml
//! cargo run --example proxy_functions -- run --config examples/proxy_functions/near.toml
//! curl "http://127.0.0.1:8080/api/v1/primes?below=5000000"
//! ```

use framex::prelude::*;

/// What both systems have to understand: plain data, by name.
#[derive(Serialize, Deserialize, ToSchema)]
struct Primes {
    count: usize,
    /// The largest of them.
    last: Option<usize>,
    /// Who has counted.
    process: u32,
}

/// The primes below `limit`.
// Every binary that contains it can run it for others, once its bridge and a rule allow it.
#[on_proxy(name = "maths.primes")]
async fn primes(limit: u32) -> Result<Primes> {
    if limit > 100_000_000 {
        return Err(Error::bad_request("the limit is at most 100000000").with_code("too_many"));
    }
    // It computes for long, so it leaves the thread to others.
    let all = sieve::remote(limit).await?;
    Ok(Primes {
        count: all.len(),
        last: all.last().copied(),
        process: std::process::id(),
    })
}

#[remote]
fn sieve(limit: u32) -> Vec<usize> {
    let limit = limit as usize;
    let mut composite = vec![false; limit];
    let mut found = Vec::new();
    for number in 2..limit {
        if !composite[number] {
            found.push(number);
            for multiple in (number * number..limit).step_by(number) {
                composite[multiple] = true;
            }
        }
    }
    found
}

#[derive(Default)]
struct Maths;

#[on_register(plugin = "maths")]
impl Maths {
    /// How many primes there are below `below`.
    #[on_request(get, "/primes", idempotent, timeout = "30s", max_ongoing_requests = 4)]
    async fn primes(&self, ctx: &Context, below: u32) -> Result<Primes> {
        // `primes(below)` is always here, `proxy` is where the settings say. An error there,
        // such as the one above, is the same error here.
        primes::proxy(ctx, below).await
    }
}

framex::main!(Maths);
