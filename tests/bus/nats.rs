//! The bus over NATS: whoever serves and whoever calls have nothing in common
//! but the broker.

use std::sync::Arc;
use std::time::Duration;

use framex::PluginDefinition;
use framex::bus::nats::{Auth, Follow, NatsBus, Options, Tls};
use framex::bus::{Bus, LocalBus};
use framex_test_support::nats::{NatsCluster, NatsServer};

use crate::{Served, Transport, no_settings};

/// Both sides at one broker.
pub(crate) struct OneServer;

/// Each side at a node of its own.
pub(crate) struct ThreeNodes;

/// A worker, a caller, and the brokers between them.
pub(crate) struct Apart<B> {
    worker: Arc<NatsBus>,
    caller: Arc<NatsBus>,
    _brokers: B,
}

const SOON: Duration = Duration::from_secs(10);

pub(crate) fn options(url: String, timeout: Duration) -> Options {
    Options {
        urls: vec![url],
        auth: Auth::default(),
        tls: Tls::default(),
        namespace: None,
        prefer_local: true,
        inbox_prefix: "_INBOX".into(),
        default_timeout: timeout,
        follow: Follow::All,
        follow_also: Vec::new(),
        streams: None,
        name: "test".into(),
    }
}

pub(crate) fn connect(url: String, timeout: Duration) -> Arc<NatsBus> {
    NatsBus::start(options(url, timeout), LocalBus::new(timeout)).expect("options that can work")
}

impl Transport for OneServer {
    type Served = Apart<NatsServer>;

    async fn serve(
        &self,
        plugins: &[PluginDefinition],
        timeout: Duration,
    ) -> Result<Self::Served, String> {
        let server = NatsServer::start().await;
        let (worker, caller) = (server.url(), server.url());
        Apart::new(server, worker, caller, plugins, timeout).await
    }
}

impl Transport for ThreeNodes {
    type Served = Apart<NatsCluster>;

    async fn serve(
        &self,
        plugins: &[PluginDefinition],
        timeout: Duration,
    ) -> Result<Self::Served, String> {
        let cluster = NatsCluster::start(3).await;
        let (worker, caller) = (cluster.node(1).url(), cluster.node(2).url());
        Apart::new(cluster, worker, caller, plugins, timeout).await
    }
}

impl<B> Apart<B> {
    async fn new(
        brokers: B,
        worker: String,
        caller: String,
        plugins: &[PluginDefinition],
        timeout: Duration,
    ) -> Result<Self, String> {
        let apart = Self {
            worker: connect(worker, timeout),
            caller: connect(caller, timeout),
            _brokers: brokers,
        };
        apart.caller.ready(SOON).await.expect("the caller is ready");
        for plugin in plugins {
            apart.add(*plugin).await?;
        }
        Ok(apart)
    }
}

impl<B> Served for Apart<B> {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.caller) as _
    }

    async fn add(&self, plugin: PluginDefinition) -> Result<(), String> {
        let instance = plugin.build(&no_settings()).expect("a plugin");
        self.worker
            .serve(&instance)
            .map_err(|error| error.to_string())?;
        let name = &plugin.metadata().name;
        self.worker.offer(name);
        self.worker.ready(SOON).await.expect("the worker is ready");
        let any = &instance.apis()[0].0.id;
        let there = || self.caller.catalog().get(any.as_str()).is_some();
        framex_test_support::until("the caller knows it", there).await;
        Ok(())
    }

    async fn withdraw(&self, plugin: &str) {
        self.worker.withdraw(plugin).await;
    }

    async fn drain(&self, grace: Duration) -> usize {
        self.worker.drain(grace).await
    }
}
