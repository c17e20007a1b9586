//! The bus of one process.

use std::sync::Arc;
use std::time::Duration;

use framex::PluginDefinition;
use framex::bus::{Bus, LocalBus};

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
