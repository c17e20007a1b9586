//! The way to a system over HTTP.

use std::sync::Arc;

use framex_core::context::Context;
use framex_core::error::Result;
use framex_core::reply::RawJson;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{PATH, RemoteCall, failure};
use crate::proxy::config::ProxyConfig;
use crate::proxy::forward::Forwarder;
use crate::proxy::upstream::Upstream;

/// See the module.
pub(super) struct Http {
    forwarder: Arc<Forwarder>,
    /// Whether it is an upstream's, too.
    shared: bool,
}

/// A success, as every FrameX answers it.
#[derive(Deserialize)]
struct Success<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Http {
    /// The system at `url`: what `proxy_urls` say of it is true here as well, and if it is one
    /// of `known` it is forwarded to as ever.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn new(
        url: &str,
        config: &ProxyConfig,
        bridge: &Arc<str>,
        known: &[Arc<Forwarder>],
    ) -> Result<Self, String> {
        let own = config.proxy_urls.0.get(url).cloned().unwrap_or_default();
        let upstream = Upstream::read(url, &own, config).map_err(|error| error.reason)?;
        let same = known
            .iter()
            .find(|one| one.upstream().name == upstream.name);
        if let Some(forwarder) = same {
            return Ok(Self {
                forwarder: Arc::clone(forwarder),
                shared: true,
            });
        }
        let forwarder = Forwarder::new(Arc::new(upstream), Arc::clone(bridge));
        let forwarder = forwarder.map_err(|error| match error.source() {
            Some(source) => source.to_string(),
            None => error.to_string(),
        })?;
        Ok(Self {
            forwarder,
            shared: false,
        })
    }

    /// What goes there, if that is for functions alone.
    pub(super) fn own_forwarder(&self) -> Option<&Arc<Forwarder>> {
        (!self.shared).then_some(&self.forwarder)
    }

    /// In errors; tells nothing of where it is.
    pub(super) fn name(&self) -> &str {
        &self.forwarder.upstream().name
    }

    /// See [`System::call`](super::system::System::call).
    pub(super) async fn call(&self, ctx: &Context, call: RemoteCall) -> Result<RawJson> {
        let json = serde_json::to_vec(&call)?.into();
        let answer = self
            .forwarder
            .post(ctx, PATH, json, &call.func_name)
            .await?;
        if answer.status != StatusCode::OK {
            let (status, headers) = (answer.status, &answer.headers);
            return Err(failure::answered(
                self.name(),
                status,
                headers,
                &answer.body,
            ));
        }
        let broken = |error: serde_json::Error| failure::broken(self.name(), error.into());
        // All of it was read, so all of it is JSON.
        let success: Success<'_> = serde_json::from_slice(&answer.body).map_err(broken)?;
        let data = answer.body.slice_ref(success.data.get().as_bytes());
        RawJson::new(data).map_err(broken)
    }
}
