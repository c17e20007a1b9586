//! Stand-in for the bus over NATS: it never finds a broker.

mod options;
mod state;

use std::sync::Arc;
use std::time::Duration;

use framex_core::context::{Caller, Request, Scope};
use framex_core::error::CallError;
use framex_core::plugin::PluginInstance;
use framex_core::reply::Reply;
use futures_core::future::BoxFuture;
use tokio::sync::watch;

use crate::{Api, Bus, Call, Catalog, LocalBus, ServeError};
pub use options::{Auth, NatsError, Options, Tls};
pub use state::State;

/// Calls plugins of this process.
pub struct NatsBus {
    local: Arc<LocalBus>,
    state: watch::Sender<State>,
    shown: String,
}

impl NatsBus {
    /// Starts.
    pub fn start(options: Options, local: Arc<LocalBus>) -> Result<Arc<Self>, NatsError> {
        for (key, path) in [
            ("nats.creds", &options.auth.creds),
            ("nats.tls.ca", &options.tls.ca),
        ] {
            if let Some(path) = path {
                std::fs::read(path).map_err(|error| NatsError::File {
                    key,
                    path: path.display().to_string(),
                    reason: error.to_string(),
                })?;
            }
        }
        let state = State {
            trouble: Some("connection refused".into()),
            ..State::default()
        };
        let urls: Vec<_> = options
            .urls
            .iter()
            .map(|u| options::without_password(u))
            .collect();
        Ok(Arc::new(Self {
            local,
            state: watch::Sender::new(state),
            shown: urls.join(", "),
        }))
    }
    /// Serves.
    pub fn serve(&self, plugin: &PluginInstance) -> Result<Arc<Scope>, ServeError> {
        self.local.serve(plugin)
    }
    /// Offers.
    pub fn offer(&self, _plugin: &str) {}
    /// Withdraws.
    pub async fn withdraw(&self, plugin: &str) {
        self.local.withdraw(plugin);
    }
    /// Ready.
    pub async fn ready(&self, limit: Duration) -> Result<(), NatsError> {
        tokio::time::sleep(limit).await;
        Err(NatsError::NotReady(format!(
            "not connected to NATS ({}): connection refused",
            self.shown
        )))
    }
    /// State.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }
    /// Drains.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.local.drain(grace).await
    }
    /// Closes.
    pub async fn close(&self) {}
}

impl Bus for NatsBus {
    fn catalog(&self) -> Arc<Catalog> {
        self.local.catalog()
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.local.changes()
    }
    fn call(&self, api: &Arc<Api>, request: Request) -> Call {
        self.local.call(api, request)
    }
}

impl Caller for NatsBus {
    fn call_from(
        &self,
        scope: &Scope,
        target: &str,
        request: Request,
    ) -> BoxFuture<'static, Result<Reply, CallError>> {
        self.local.call_from(scope, target, request)
    }
}
