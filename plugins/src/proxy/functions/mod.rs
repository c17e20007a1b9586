//! Functions that run on another system, and those that other systems run here.
//!
//! `[plugins.proxy] proxy_functions` says which function runs where. A system is another
//! FrameX: over HTTP at its `POST /api/v1/proxy/remote`, or on a NATS cluster or account that
//! this one need not know, as the API `proxy.ProxyPlugin.remote`.
//!
//! | module | its secret |
//! |---|---|
//! | `system` | which system a URL means |
//! | `http`, `broker` | the ways there |
//! | `serve` | what other systems ask for |
//! | `failure` | what callers are told if there is no result |

mod broker;
mod failure;
mod http;
mod serve;
mod system;

use std::collections::BTreeMap;
use std::sync::Arc;

use framex_core::context::Context;
use framex_core::error::{Error, Result};
use framex_core::function::{self, Duplicate, Elsewhere};
use framex_core::process::Process;
use framex_core::reply::RawJson;
use futures_core::future::BoxFuture;
use futures_util::future::join_all;

use super::config::ProxyConfig;
use super::forward::Forwarder;
pub(crate) use serve::{RemoteCall, run};
use system::System;

/// Where a system is asked to run a function.
const PATH: &str = "/api/v1/proxy/remote";

/// Which functions run on other systems, and the ways there.
pub(crate) struct Functions {
    systems: Vec<Arc<System>>,
    places: BTreeMap<String, Arc<System>>,
}

/// Why `proxy_functions` cannot be used. No text has a user or a password in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FunctionsError {
    /// Two functions of this binary have one name.
    #[error(transparent)]
    Duplicate(#[from] Duplicate),
    /// A system that cannot be.
    #[error("proxy_functions.\"{url}\": {reason}")]
    System {
        /// Without user and password.
        url: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A function cannot run on two systems.
    #[error("proxy_functions: `{name}` is named under \"{first}\" and \"{second}\": remove one")]
    Twice {
        /// The function.
        name: String,
        /// A system, without user and password.
        first: String,
        /// The other one.
        second: String,
    },
}

impl Functions {
    /// The functions of `config`, for the process that trails call `bridge` and that forwards
    /// to its upstreams through `known`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the settings, or with the functions of this binary.
    pub(crate) fn new(
        config: &ProxyConfig,
        bridge: &Arc<str>,
        known: &[Arc<Forwarder>],
    ) -> Result<Arc<Self>, FunctionsError> {
        let functions = function::all()?;
        let mut systems = Vec::new();
        let mut places: BTreeMap<String, Arc<System>> = BTreeMap::new();
        for (url, names) in &config.proxy_functions {
            let system = Arc::new(System::new(url, config, bridge, known)?);
            for name in names {
                if !functions.contains_key(name.as_str()) {
                    // One file of settings may be for several binaries.
                    tracing::warn!(
                        "proxy_functions: this binary has no function `{name}`, so nothing here calls it"
                    );
                }
                if let Some(first) = places.insert(name.clone(), Arc::clone(&system)) {
                    return Err(FunctionsError::Twice {
                        name: name.clone(),
                        first: first.shown().to_owned(),
                        second: system.shown().to_owned(),
                    });
                }
            }
            systems.push(system);
        }
        Ok(Arc::new(Self { systems, places }))
    }

    /// Begins to connect to the brokers among the systems, in the current runtime.
    ///
    /// # Errors
    ///
    /// What can never be connected to.
    pub(crate) fn start(&self) -> Result<(), FunctionsError> {
        for system in &self.systems {
            system.start()?;
            tracing::info!(
                system = system.name(),
                "functions run on {}",
                system.shown()
            );
        }
        Ok(())
    }

    /// Says in `/ready` which systems do not answer, for ever.
    pub(crate) async fn watch(self: Arc<Self>, process: Arc<Process>) {
        join_all(self.systems.iter().map(|system| system.watch(&process))).await;
    }

    /// What goes to other systems, and to no upstream besides.
    pub(crate) fn forwarders(&self) -> impl Iterator<Item = &Arc<Forwarder>> {
        self.systems
            .iter()
            .filter_map(|system| system.own_forwarder())
    }

    /// Leaves the brokers. Calls on their way there fail.
    pub(crate) async fn stop(&self) {
        for system in &self.systems {
            system.stop().await;
        }
    }
}

impl Elsewhere for Functions {
    fn runs(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn call(
        &self,
        ctx: &Context,
        name: &str,
        args: RawJson,
    ) -> BoxFuture<'static, Result<RawJson>> {
        let Some(system) = self.places.get(name) else {
            let reason = format!("`{name}` runs here, nobody else is configured");
            return Box::pin(std::future::ready(Err(Error::internal(reason))));
        };
        let (system, ctx, call) = (Arc::clone(system), ctx.clone(), RemoteCall::new(name, args));
        Box::pin(async move { system.call(&ctx, call).await })
    }
}
