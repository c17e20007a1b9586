//! The way from a call that nobody answers to the bridge.

use std::sync::{Arc, Weak};

use framex_bus::{Bus, Call, Fallback};
use framex_core::context::Request;
use framex_core::error::CallError;

/// The built-in plugin that takes such calls.
pub(crate) const PLUGIN: &str = "proxy";

/// The API of the built-in plugin `proxy` that takes such calls, wherever it runs.
const FALL_BACK: &str = "proxy.ProxyPlugin.fall_back";

/// See the module.
pub(crate) struct Bridge {
    bus: Weak<dyn Bus>,
}

impl Bridge {
    /// Gives what nobody on `bus` answers to the bridge on that bus.
    pub(crate) fn attach(bus: &Arc<dyn Bus>) {
        let bridge = Self {
            bus: Arc::downgrade(bus),
        };
        bus.set_fallback(Arc::new(bridge));
    }
}

impl Fallback for Bridge {
    fn call(&self, target: &str, request: Request) -> Call {
        let unknown = || CallError::Unknown {
            target: FALL_BACK.to_owned(),
        };
        let Some(bus) = self.bus.upgrade() else {
            return Call::failed(unknown());
        };
        let Some(api) = bus.catalog().get(FALL_BACK).cloned() else {
            return Call::failed(unknown());
        };
        let Request { args, meta } = request;
        match args.aimed_at(target) {
            Ok(args) => bus.call(&api, Request { args, meta }),
            Err(error) => Call::failed(CallError::Handler(error)),
        }
    }
}
