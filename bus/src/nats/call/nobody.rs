//! APIs that nobody serves now: the bridge's turn, where there is one.

use std::sync::Arc;

use framex_core::args::Args;
use framex_core::context::Request;
use framex_core::error::CallError;

use super::Journey;
use crate::fallback::{self, is_bridge};
use crate::nats::Shared;
use crate::nats::wire::Origin;
use crate::{Api, Bus as _, Call, Fallback, Outcome};

pub(super) fn nobody_serves(api: &Api) -> CallError {
    CallError::NoResponders {
        api: api.descriptor.id.clone(),
    }
}

/// Who takes the calls of `api` if nobody serves it.
pub(super) fn bridge_for<'a>(shared: &'a Shared, api: &Api) -> Option<&'a Arc<dyn Fallback>> {
    let fallback = shared.local.fallback()?;
    (!is_bridge(api.descriptor.id.as_str())).then_some(fallback)
}

/// Gives a call of `api` to the bridge: of its route, if it has one.
pub(super) fn give(fallback: &Arc<dyn Fallback>, api: &Api, request: Request) -> Call {
    let route = api.descriptor.routes.first().map(ToString::to_string);
    let target = route.unwrap_or_else(|| api.descriptor.id.to_string());
    let known = Some(&*api.descriptor);
    fallback::give(fallback, &target, known, request, nobody_serves(api))
}

impl Journey {
    /// All were tried.
    pub(super) async fn nobody(&self) -> Outcome {
        let Some(fallback) = bridge_for(&self.shared, &self.api) else {
            return Err(nobody_serves(&self.api));
        };
        let args = match (self.again.as_ref().and_then(Args::again), self.origin) {
            (Some(args), _) => args,
            // The bridge trusts plugins with what they name. A client's request it has to see
            // as it came, and of this one a part was read.
            (None, Origin::Http) => return Err(nobody_serves(&self.api)),
            (None, Origin::Bus) => {
                let payload = self.luggage.payload().clone();
                Args::from_message(payload, Arc::clone(&self.luggage) as _)
            }
        };
        let meta = self.meta.clone();
        give(fallback, &self.api, Request { args, meta }).await
    }
}
