//! The way to a system over HTTP.

use std::sync::Arc;

use framex_core::context::Context;
use framex_core::error::Result;
use framex_core::reply::RawJson;
use http::Uri;

use super::{RemoteCall, failure};
use crate::proxy::config::ProxyConfig;

/// See the module.
pub(super) struct Http {
    system: String,
    bridge: Arc<str>,
}

impl Http {
    /// The system at `url`, which `uri` is.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn new(
        _uri: &Uri,
        _url: &str,
        system: &str,
        _config: &ProxyConfig,
        bridge: &Arc<str>,
    ) -> Result<Self, String> {
        Ok(Self {
            system: system.to_owned(),
            bridge: Arc::clone(bridge),
        })
    }

    /// See [`System::call`](super::system::System::call).
    pub(super) async fn call(&self, ctx: &Context, call: RemoteCall) -> Result<RawJson> {
        let _ = failure::trail(ctx, &self.bridge, &call.func_name)?;
        Err(failure::unreachable(&self.system, "not yet".into()))
    }
}
