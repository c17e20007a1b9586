//! The bus of a process: the local one, or NATS with the local one inside.

use std::sync::Arc;
use std::time::Duration;

use framex_bus::nats::{self, NatsBus};
use framex_bus::{Bus, KeepOptions, LocalBus, ServeError};
use framex_core::context::Scope;
use framex_core::id::is_token;
use framex_core::plugin::PluginInstance;
use framex_core::settings::{Nats, Secret, Settings, Storage};

use crate::bridge;
use crate::start::{Role, StartError};

/// How calls travel in this process.
pub(crate) struct Transport {
    local: Arc<LocalBus>,
    nats: Option<Arc<NatsBus>>,
}

impl Transport {
    /// The bus that `settings` ask for. NATS connects in the background, within
    /// the current runtime.
    pub(crate) fn start(settings: &Settings, role: Role) -> Result<Self, StartError> {
        let local = LocalBus::keeping(settings.server.request_timeout, keeping(settings));
        let nats = match settings.server.use_nats {
            true => Some(NatsBus::start(options(settings, role), Arc::clone(&local))?),
            false => None,
        };
        Ok(Self { local, nats })
    }

    /// For calls to everybody.
    pub(crate) fn bus(&self) -> Arc<dyn Bus> {
        match &self.nats {
            Some(nats) => Arc::clone(nats) as _,
            None => Arc::clone(&self.local) as _,
        }
    }

    /// What this process serves itself.
    pub(crate) fn own(&self) -> &LocalBus {
        &self.local
    }

    pub(crate) fn nats(&self) -> Option<&Arc<NatsBus>> {
        self.nats.as_ref()
    }

    /// Puts `plugin` on the local bus; others do not see it yet.
    pub(crate) fn serve(&self, plugin: &PluginInstance) -> Result<Arc<Scope>, ServeError> {
        match &self.nats {
            Some(nats) => nats.serve(plugin),
            None => self.local.serve(plugin),
        }
    }

    /// Others may call `plugin` from now on.
    pub(crate) fn offer(&self, plugin: &str) {
        if let Some(nats) = &self.nats {
            nats.offer(plugin);
        }
    }

    /// Nobody may call `plugin` any more.
    pub(crate) async fn withdraw(&self, plugin: &str) {
        match &self.nats {
            Some(nats) => nats.withdraw(plugin).await,
            None => self.local.withdraw(plugin),
        }
    }

    /// Takes no new calls and waits up to `grace` for those that run. Gives the
    /// number of calls that still do.
    pub(crate) async fn drain(&self, grace: Duration) -> usize {
        match &self.nats {
            Some(nats) => nats.drain(grace).await,
            None => self.local.drain(grace).await,
        }
    }

    /// Leaves the broker.
    pub(crate) async fn close(&self) {
        if let Some(nats) = &self.nats {
            nats.close().await;
        }
    }
}

fn keeping(settings: &Settings) -> KeepOptions {
    let streams = &settings.streams;
    KeepOptions {
        grace: streams.grace,
        replay_buffer: streams.replay_buffer.as_usize(),
        replay_memory: streams.replay_memory.as_usize(),
        max_age: streams.max_age,
    }
}

fn options(settings: &Settings, role: Role) -> nats::Options {
    let broker = &settings.nats;
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
    nats::Options {
        urls: broker.url.clone(),
        auth: nats::Auth {
            creds: broker.creds.clone(),
            user: broker.user.clone(),
            password: secret(&broker.password),
            token: secret(&broker.token),
            nkey: broker.nkey.clone(),
        },
        tls: nats::Tls {
            ca: broker.tls.ca.clone(),
            cert: broker.tls.cert.clone(),
            key: broker.tls.key.clone(),
            required: broker.tls.required,
            first: broker.tls.first,
        },
        namespace: broker.namespace.clone(),
        prefer_local: broker.prefer_local,
        inbox_prefix: inbox_prefix(broker),
        default_timeout: settings.server.request_timeout,
        streams: match role {
            Role::Whole | Role::Edge => stream_store(settings),
            Role::Worker | Role::Client => None,
        },
        follow: match role {
            Role::Worker => nats::Follow::Declared,
            Role::Whole | Role::Edge | Role::Client => nats::Follow::All,
        },
        follow_also: match settings.server.enable_proxy {
            true => vec![bridge::PLUGIN.to_owned()],
            false => Vec::new(),
        },
        name: format!("framex {}", role.as_str()),
    }
}

fn stream_store(settings: &Settings) -> Option<nats::StreamStore> {
    let streams = &settings.streams;
    streams.jetstream.then(|| nats::StreamStore {
        name: streams.name.clone(),
        in_memory: streams.storage == Storage::Memory,
        max_age: streams.max_age,
        max_bytes: streams.max_bytes.as_usize() as u64,
        replicas: streams.replicas,
        grace: streams.grace,
    })
}

/// A user's own inbox is what a broker lets that user listen on, if it lets nobody
/// listen on others' (nats.conf).
fn inbox_prefix(broker: &Nats) -> String {
    match (&broker.inbox_prefix, &broker.user) {
        (Some(prefix), _) => prefix.clone(),
        (None, Some(user)) if is_token(user) => format!("_INBOX.{user}"),
        (None, _) => "_INBOX".to_owned(),
    }
}
