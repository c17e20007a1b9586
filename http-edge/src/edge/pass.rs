//! Requests that go on as they came: to another service behind the bridge, or to whoever takes
//! what nobody here answers.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use framex_bus::{Api, Call};
use framex_core::args::PathValues;
use framex_core::context::{Principal, Request as CallRequest, RequestId};
use framex_core::error::{BoxError, CallError};
use http::request::Parts;
use http_body::Body;

use super::{Begun, Edge};
use crate::answer::Answer;
use crate::passing;
use crate::problem;
use crate::routes::{Entry, Found};

/// Who gets a request.
pub(super) enum To {
    /// The API at its route.
    Api,
    /// Whoever takes what nobody answers: this API, or none if the path has none.
    Fallback(Option<Arc<Api>>),
}

impl Edge {
    /// Whether the path of a request leads to another route than `entry` once it is decoded.
    pub(super) fn is_ambiguous(&self, parts: &Parts, entry: &Arc<Entry>) -> bool {
        let path = parts.uri.path();
        if !path.contains('%') {
            return false;
        }
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        match self.0.table.load().find(&parts.method, &decoded) {
            Found::Route(other, _) => !Arc::ptr_eq(&other, entry),
            Found::OtherMethods(..) | Found::Nothing => false,
        }
    }

    /// Gives a request to the bridge, since nobody on the bus answers it. A rule for the path
    /// counts as it does for routes, and for the path's template if it has one.
    pub(super) fn pass_on<B>(
        &self,
        entry: Arc<Entry>,
        mut parts: Parts,
        peer: Option<IpAddr>,
        body: B,
        id: &RequestId,
    ) -> Begun
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let keys = entry.keys.clone();
        let answer = Answer {
            entry: Arc::clone(&self.0.fallback),
            format: None,
            errors: None,
        };
        let keys = keys.or_else(|| self.0.options.rules.of_request(parts.uri.path()));
        let principal = match keys.map(|keys| keys.check(&parts.headers)) {
            None => parts.extensions.remove::<Principal>(),
            Some(Ok(principal)) => Some(principal),
            Some(Err(error)) => return Begun::Done(answer.failed(&error, id)),
        };
        passing::tell_upstream(&mut parts, peer);
        let path = PathValues::default();
        let known = entry.api.is_forsaken().then(|| Arc::clone(&entry.api));
        self.call(
            To::Fallback(known),
            answer,
            parts,
            path,
            principal,
            body,
            id,
        )
    }

    /// Gives OPTIONS, which carries no key, to the service that has the path.
    pub(super) fn preflight<B>(
        &self,
        entry: Arc<Entry>,
        mut parts: Parts,
        peer: Option<IpAddr>,
        body: B,
        id: &RequestId,
    ) -> Begun
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let answer = Answer {
            entry,
            format: None,
            errors: None,
        };
        passing::tell_upstream(&mut parts, peer);
        let path = PathValues::default();
        self.call(To::Api, answer, parts, path, None, body, id)
    }

    pub(super) fn start(&self, to: To, entry: &Entry, request: CallRequest) -> Call {
        let bus = &self.0.bus;
        let known = match to {
            To::Api => return bus.call(&entry.api, request),
            To::Fallback(known) => known,
        };
        let nobody = match &known {
            Some(api) => CallError::NoResponders {
                api: api.descriptor.id.clone(),
            },
            None => CallError::Handler(problem::not_found(false)),
        };
        let Some(fallback) = bus.fallback() else {
            return Call::failed(nobody);
        };
        let target = request.args.target().unwrap_or_default();
        let descriptor = known.as_ref().map(|api| &*api.descriptor);
        let call = fallback.call(&target, descriptor, request);
        let known = known.is_some();
        Call::remote(Box::pin(async move {
            match call.await {
                // Nor is there a bridge.
                Err(CallError::Unknown { .. } | CallError::NoResponders { .. }) => Err(nobody),
                // An API that is known, and away, is no unknown path.
                Err(CallError::Handler(error)) if known && error.code() == "unknown_api" => {
                    Err(nobody)
                }
                outcome => outcome,
            }
        }))
    }

    /// Whether somebody takes what nobody on the bus answers.
    pub(super) fn falls_back(&self) -> bool {
        self.0.bus.fallback().is_some()
    }
}
