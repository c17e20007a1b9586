//! Calls that nobody on the bus answers.

use std::sync::Arc;

use framex_core::context::Request;
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::CallError;

use crate::Call;

/// Where calls go that nobody on the bus answers: the bridge.
pub trait Fallback: Send + Sync {
    /// Calls `target`: an API id, a path, or a method and a path. `known` is the API that it is
    /// of, where there is one that nobody serves now: then only what is the same API elsewhere
    /// may take the call.
    fn call(&self, target: &str, known: Option<&ApiDescriptor>, request: Request) -> Call;
}

/// What the ids of the bridge's own APIs begin with. Where nobody answers those, there
/// is no bridge to turn to.
const BRIDGE: &str = "proxy.ProxyPlugin.";

/// What the bridge says of a target that it has not heard of.
const UNHEARD: &str = "unknown_api";

/// What becomes of a call for whose target the catalog has no API, as `error` says; `shown`
/// is what the caller hears of it if nobody else does either.
pub(crate) fn unresolved(
    fallback: Option<&Arc<dyn Fallback>>,
    target: &str,
    request: Request,
    error: CallError,
    shown: impl FnOnce(CallError) -> CallError,
) -> Call {
    let unknown = matches!(error, CallError::Unknown { .. });
    match fallback.filter(|_| unknown && !is_bridge(target)) {
        Some(fallback) => give(fallback, target, None, request, shown(error)),
        None => Call::failed(shown(error)),
    }
}

/// Whether `id` is an API of the bridge itself.
pub(crate) fn is_bridge(id: &str) -> bool {
    id.starts_with(BRIDGE)
}

/// Gives a call to the bridge. If that is not there either, `error` is what counts.
pub(crate) fn give(
    fallback: &Arc<dyn Fallback>,
    target: &str,
    known: Option<&ApiDescriptor>,
    request: Request,
    error: CallError,
) -> Call {
    let call = fallback.call(target, known, request);
    Call::remote(Box::pin(async move {
        match call.await {
            Err(CallError::NoResponders { api }) if is_bridge(api.as_str()) => Err(error),
            Err(CallError::Unknown { target }) if is_bridge(&target) => Err(error),
            // Nor has it heard of what is away for a moment.
            Err(CallError::Handler(unheard))
                if unheard.code() == UNHEARD && matches!(error, CallError::NoResponders { .. }) =>
            {
                Err(error)
            }
            outcome => outcome,
        }
    }))
}
