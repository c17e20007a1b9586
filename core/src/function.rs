//! Functions that run here or on another system, by configuration.

use futures_core::future::BoxFuture;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::error::Result;

/// Knows which functions run on other systems, and calls them there.
pub trait Elsewhere: Send + Sync {
    /// Calls the function called `name` on the system that is configured for it, with
    /// these named arguments; `None` if it runs here.
    fn call(
        &self,
        ctx: &Context,
        name: &str,
        args: Map<String, Value>,
    ) -> Option<BoxFuture<'static, Result<Value>>>;
}
