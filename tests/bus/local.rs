//! The bus of one process.

use std::sync::Arc;
use std::time::Duration;

use framex::PluginDefinition;
use framex::bus::{Bus, LocalBus};
use framex_test_support::PATIENCE;
use serde_json::json;
use tokio::time::timeout;

use crate::plugins::Callee;
use crate::suite::stream;
use crate::{Served, Transport, no_settings};

pub(crate) struct InOneProcess;

impl Transport for InOneProcess {
    type Served = Arc<LocalBus>;

    async fn serve(
        &self,
        plugins: &[PluginDefinition],
        timeout: Duration,
    ) -> Result<Self::Served, String> {
        let bus = LocalBus::new(timeout);
        for plugin in plugins {
            bus.add(*plugin).await?;
        }
        Ok(bus)
    }
}

impl Served for Arc<LocalBus> {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(self) as _
    }

    async fn add(&self, plugin: PluginDefinition) -> Result<(), String> {
        let instance = plugin.build(&no_settings()).expect("a plugin");
        let served = self.serve(&instance);
        served.map(drop).map_err(|error| error.to_string())
    }

    async fn withdraw(&self, plugin: &str) {
        LocalBus::withdraw(self, plugin);
    }

    async fn drain(&self, grace: Duration) -> usize {
        LocalBus::drain(self, grace).await
    }
}

/// A stream may be taken along to another runtime. Its time limit cannot, but that ends
/// the stream, and not whoever reads it.
#[test]
fn a_stream_outlives_its_runtime_without_a_panic() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    let first = runtime();
    let mut events = first.block_on(async {
        let served = InOneProcess
            .serve(&[PluginDefinition::of::<Callee>()], PATIENCE)
            .await;
        let bus = served.expect("it serves").bus();
        let mut events = stream(&bus, "callee.Callee.short_stream", json!({"key": "taken"})).await;
        assert!(events.next().await.expect("an item").is_ok());
        let nothing = timeout(Duration::from_millis(10), events.next()).await;
        assert!(nothing.is_err());
        events
    });
    drop(first);
    let error = runtime().block_on(async { events.next().await });
    let error = error.expect("an item").expect_err("it cannot go on");
    assert_eq!(error.status(), 500);
    assert!(runtime().block_on(events.next()).is_none());
}
