//! Systems that run functions for this one: which a URL means, and the way there.

use std::sync::Arc;

use framex_core::context::Context;
use framex_core::error::Result;
use framex_core::process::Process;
use framex_core::reply::RawJson;
use http::Uri;

use super::broker::Broker;
use super::http::Http;
use super::{FunctionsError, RemoteCall};
use crate::proxy::config::ProxyConfig;
use crate::proxy::forward::Forwarder;
use crate::proxy::upstream::nameless;

/// Another system.
pub(super) struct System {
    shown: String,
    way: Way,
}

enum Way {
    Http(Http),
    Broker(Box<Broker>),
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
        known: &[Arc<Forwarder>],
    ) -> Result<Self, FunctionsError> {
        let shown = shown(url);
        let wrong = |reason: String| FunctionsError::System {
            url: shown.clone(),
            reason,
        };
        let uri: Uri = url
            .parse()
            .map_err(|error| wrong(format!("no URL: {error}")))?;
        let way = match uri.scheme_str() {
            Some("http" | "https") => Http::new(url, config, bridge, known).map(Way::Http),
            Some("nats" | "tls") => Broker::new(&uri, &nameless(url, config), config, bridge)
                .map(|broker| Way::Broker(Box::new(broker))),
            _ => Err("write `http://host:port`, `https://…`, `nats://…` or `tls://…`".to_owned()),
        };
        let way = way.map_err(wrong)?;
        Ok(Self { shown, way })
    }

    /// In errors; tells nothing of where it is.
    pub(super) fn name(&self) -> &str {
        match &self.way {
            Way::Http(http) => http.name(),
            Way::Broker(broker) => broker.name(),
        }
    }

    /// Its URL, without secrets: for the log.
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

    /// Says in `/ready` when it does not answer, for ever.
    pub(super) async fn watch(&self, process: &Process) {
        match &self.way {
            Way::Http(http) => {
                if let Some(forwarder) = http.own_forwarder() {
                    forwarder.tell_circuit(process).await;
                }
            }
            Way::Broker(broker) => broker.tell_connection(process).await,
        }
    }

    /// What goes there over HTTP, if that is for functions alone.
    pub(super) fn own_forwarder(&self) -> Option<&Arc<Forwarder>> {
        match &self.way {
            Way::Http(http) => http.own_forwarder(),
            Way::Broker(_) => None,
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

/// `scheme://host/path`: neither who logs in, nor what is behind a `?`.
fn shown(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}{}", &url[..scheme + 3], &url[at + 1..])
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let url = "nats://me:s3cret@a:1/?namespace=blue";
        assert_eq!(shown(url), "nats://a:1/");
        assert_eq!(shown("http://a/b"), "http://a/b");
    }
}
