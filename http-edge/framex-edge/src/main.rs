//! The command `framex edge` as a binary of its own, for those who run edges only.

use framex::cli::{Binary, edge_main};

fn main() -> std::process::ExitCode {
    edge_main(Binary::new(
        Some("framex-edge"),
        Some(env!("CARGO_PKG_VERSION")),
    ))
}
