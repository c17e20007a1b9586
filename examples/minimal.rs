//! The smallest plugin, with a binary of its own.
//!
//! ```text
//! cargo run --example minimal -- run
//! curl "http://127.0.0.1:8080/api/v1/hello?name=you"
//! ```
//!
//! Without arguments the binary lists its commands: `run` is one of them,
//! `apis`, `call` and `config` are others.

use framex::prelude::*;

#[derive(Default)]
struct Hello;

/// Greets people.
#[on_register(plugin = "hello")]
impl Hello {
    /// Greets `name`, or everybody.
    #[on_request(get, "/hello", idempotent)]
    async fn hello(&self, #[arg(default = "world")] name: String) -> String {
        format!("hello {name}")
    }
}

framex::main!(Hello);
