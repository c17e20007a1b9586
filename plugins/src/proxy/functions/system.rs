//! Systems that run functions for this one: which a URL means, and the way there.

use std::fmt::Write as _;
use std::sync::Arc;

use framex_core::context::Context;
use framex_core::error::Result;
use framex_core::reply::RawJson;
use http::Uri;
use sha2::{Digest as _, Sha256};

use super::broker::Broker;
use super::http::Http;
use super::{FunctionsError, RemoteCall};
use crate::proxy::config::ProxyConfig;

/// Another system.
pub(super) struct System {
    name: String,
    shown: String,
    way: Way,
}

enum Way {
    Http(Http),
    Broker(Broker),
}

impl System {
    /// The system at `url`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// Another URL than `http`, `https`, `nats` and `tls` have, and settings about it that
    /// are wrong.
    pub(super) fn new(
        url: &str,
        config: &ProxyConfig,
        bridge: &Arc<str>,
    ) -> Result<Self, FunctionsError> {
        let shown = without_user(url);
        let wrong = |reason: String| FunctionsError::System {
            url: shown.clone(),
            reason,
        };
        let uri: Uri = url
            .parse()
            .map_err(|error| wrong(format!("no URL: {error}")))?;
        let named = config
            .proxy_urls
            .0
            .get(url)
            .and_then(|own| own.name.clone());
        let name = named.unwrap_or_else(|| nameless(&shown));
        let way = match uri.scheme_str() {
            Some("http" | "https") => Http::new(&uri, url, &name, config, bridge).map(Way::Http),
            Some("nats" | "tls") => Broker::new(&uri, &name, config, bridge).map(Way::Broker),
            _ => Err("write `http://host:port`, `https://…`, `nats://…` or `tls://…`".to_owned()),
        };
        let way = way.map_err(wrong)?;
        Ok(Self { name, shown, way })
    }

    /// In errors; tells nothing of where it is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, without user and password: for the log.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Begins to connect, where there is a connection to keep.
    ///
    /// # Errors
    ///
    /// What can never be connected to.
    pub(super) fn start(&self) -> Result<(), FunctionsError> {
        let Way::Broker(broker) = &self.way else {
            return Ok(());
        };
        broker.start().map_err(|error| FunctionsError::System {
            url: self.shown.clone(),
            reason: error.to_string(),
        })
    }

    /// Ends what [`System::start`] has begun.
    pub(super) async fn stop(&self) {
        if let Way::Broker(broker) = &self.way {
            broker.stop().await;
        }
    }

    /// Has a function run there, once.
    ///
    /// # Errors
    ///
    /// The function's own, with its status; 502 `upstream_unreachable`, `upstream_broken` and
    /// `upstream_refused`, 504 `upstream_timeout`, 508 `loop_detected`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the function at its next `.await`.
    pub(super) async fn call(&self, ctx: &Context, call: RemoteCall) -> Result<RawJson> {
        match &self.way {
            Way::Http(http) => http.call(ctx, call).await,
            Way::Broker(broker) => broker.call(ctx, call).await,
        }
    }
}

/// `nats://user:secret@host` without what is before the `@`.
fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}{}", &url[..scheme + 3], &url[at + 1..])
        }
        _ => url.to_owned(),
    }
}

/// A name that tells nothing of where it is, and is the same in every process.
fn nameless(url: &str) -> String {
    let digest = Sha256::digest(url.trim_end_matches('/').as_bytes());
    let mut name = "system_".to_owned();
    for byte in &digest[..3] {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}
