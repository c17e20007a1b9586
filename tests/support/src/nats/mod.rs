//! Real nats-server processes.
//!
//! - [`NatsServer`]: one, with ports and a JetStream directory of its own;
//! - [`NatsCluster`]: several that are routed together;
//! - [`Tls`]: certificates for them and for their clients;
//! - [`Wire`]: the plain protocol, for what no client library would send.
//!
//! The program is `$NATS_SERVER_BIN`, else `nats-server` of the `PATH` if it is
//! new enough, else one that is installed below the target directory. Where none
//! can be had the test fails, with a hint.

mod binary;
mod cluster;
mod server;
mod tls;
mod wire;

pub use binary::nats_server;
pub use cluster::NatsCluster;
pub use server::{NatsServer, NatsServerBuilder};
pub use tls::Tls;
pub use wire::{Message, Wire};
