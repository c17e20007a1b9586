//! Ship service capabilities in parallel: plugins, one bus, one HTTP surface.

mod app;
mod bridge;
pub mod cli;
mod follow;
mod log;
mod report;
mod start;
pub mod testing;
mod transport;

pub use app::{App, AppBuilder, Listening};
pub use framex_bus as bus;
pub use framex_core::args;
pub use framex_core::context::{Context, Principal, RequestId, TraceContext};
pub use framex_core::error::{BoxError, CallError, Error, Result};
pub use framex_core::event::{Event, EventStream};
pub use framex_core::plugin::{Plugin, PluginDefinition};
pub use framex_core::reply::{RawJson, Reply, Response};
pub use framex_core::{descriptor, id, problem, route, settings};
pub use framex_http_edge as edge;
pub use framex_macros::{on_proxy, on_register, on_request, remote};
pub use start::{Definitions, MissingApi, StartError};

/// Everything that a plugin's module needs.
pub mod prelude {
    pub use bytes::Bytes;
    pub use chrono::{DateTime, NaiveDate, Utc};
    pub use framex_core::args;
    pub use framex_core::args::Upload;
    pub use framex_core::body::ByteStream;
    pub use framex_core::context::{Context, Principal};
    pub use framex_core::error::{Error, Result};
    pub use framex_core::event::{Event, EventStream};
    pub use framex_core::plugin::Plugin;
    pub use framex_core::reply::{Download, RawJson, Response};
    pub use framex_macros::{on_proxy, on_register, on_request, remote};
    pub use futures_core::Stream;
    pub use http::{HeaderName, HeaderValue, StatusCode};
    pub use serde::{Deserialize, Serialize};
    pub use utoipa::{self, ToSchema};
    pub use uuid::Uuid;
}

/// What the macros' output refers to.
#[doc(hidden)]
pub mod __private {
    pub use framex_core::expand::*;
}

/// Compiles and runs the Rust in the documents.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/bridge.md")]
    mod bridge {}
    #[doc = include_str!("../docs/guide.md")]
    mod guide {}
}
