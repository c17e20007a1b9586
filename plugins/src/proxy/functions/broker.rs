//! The way to a system on a NATS cluster or account of its own: as one of its clients, which
//! serves nothing there.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use framex_bus::nats::{Auth, Follow, NatsBus, NatsError, Options, Tls};
use framex_bus::{Bus, LocalBus};
use framex_core::args::Args;
use framex_core::context::{CallMeta, Context, Request};
use framex_core::error::Result;
use framex_core::id::is_token;
use framex_core::process::Process;
use framex_core::reply::{RawJson, Reply};
use http::Uri;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::time::timeout;

use super::{RemoteCall, failure};
use crate::proxy::config::ProxyConfig;
use crate::proxy::forward;

/// The API that runs functions.
const API: &str = "proxy.ProxyPlugin.remote";
/// Its plugin.
const PLUGIN: &str = "proxy";
/// How long a call waits for the first news of who is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a URL may say behind its `?`.
const KEYS: &str = "`namespace`, `creds` and `ca`";

/// See the module.
pub(super) struct Broker {
    name: String,
    bridge: Arc<str>,
    timeout: Duration,
    options: Options,
    bus: OnceLock<Arc<NatsBus>>,
}

impl Broker {
    /// The broker at `uri`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn new(
        uri: &Uri,
        name: &str,
        config: &ProxyConfig,
        bridge: &Arc<str>,
    ) -> Result<Self, String> {
        Ok(Self {
            name: name.to_owned(),
            bridge: Arc::clone(bridge),
            timeout: config.timeout,
            options: options(uri, config.timeout)?,
            bus: OnceLock::new(),
        })
    }

    /// In errors; tells nothing of where it is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Connects in the background, in the current runtime.
    ///
    /// # Errors
    ///
    /// What can never be connected to.
    pub(super) fn start(&self) -> Result<(), NatsError> {
        if self.bus.get().is_none() {
            let bus = NatsBus::start(self.options.clone(), LocalBus::new(self.timeout))?;
            let _ = self.bus.set(bus);
        }
        Ok(())
    }

    /// Says in `/ready` when the broker is not there, for ever.
    pub(super) async fn tell_connection(&self, process: &Process) {
        let Some(bus) = self.bus.get() else { return };
        let name = &self.name;
        let what = format!("broker of {name}");
        let mut state = bus.state();
        loop {
            let (connected, known) = {
                let state = state.borrow_and_update();
                (state.connected, state.connected || state.trouble.is_some())
            };
            match connected {
                true => process.restored(&what),
                // Before it was tried there is nothing to tell.
                false if !known => {}
                false => process.degraded(
                    &what,
                    format!("the broker of `{name}` is not connected: functions cannot run there"),
                ),
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    }

    /// Leaves the broker.
    pub(super) async fn stop(&self) {
        if let Some(bus) = self.bus.get() {
            bus.close().await;
        }
    }

    /// See [`System::call`](super::system::System::call).
    pub(super) async fn call(&self, ctx: &Context, call: RemoteCall) -> Result<RawJson> {
        let trail = forward::trail(ctx, &self.bridge, &call.func_name)?;
        let bus = self.connected().await?;
        let latest = Instant::now() + self.timeout;
        let meta = CallMeta {
            request_id: ctx.request_id().clone(),
            deadline: Some(ctx.deadline().map_or(latest, |end| end.min(latest))),
            trace: ctx.known_trace().map(|trace| Box::new(trace.child())),
            trail: Some(trail.into()),
            ..CallMeta::default()
        };
        let args = Args::new(&Arguments { call })?;
        let reply = bus.call_target(API, Request { args, meta }).await;
        let lost = |error| failure::lost(&self.name, error);
        match reply.map_err(lost)? {
            Reply::Value(json) => self.result(json),
            _ => Err(failure::broken(&self.name, "it is no value".into())),
        }
    }

    /// The bus, once it has heard who is there; at once if the broker is not.
    async fn connected(&self) -> Result<&Arc<NatsBus>> {
        let unreachable = |why: String| failure::unreachable(&self.name, why.into());
        let Some(bus) = self.bus.get() else {
            return Err(unreachable("the plugin has not started".into()));
        };
        let mut state = bus.state();
        let heard = state.wait_for(|state| state.discovered || state.trouble.is_some());
        // Whatever comes of it, what is known by then counts.
        let _ = timeout(PATIENCE, heard).await;
        let state = bus.state().borrow().clone();
        match (state.connected, state.trouble) {
            (true, _) => Ok(bus),
            (false, why) => Err(unreachable(
                why.unwrap_or_else(|| "the broker does not answer".into()),
            )),
        }
    }

    fn result(&self, json: Bytes) -> Result<RawJson> {
        RawJson::new(json).map_err(|error| failure::broken(&self.name, error.into()))
    }
}

/// The arguments of [`API`].
#[derive(Serialize)]
struct Arguments {
    call: RemoteCall,
}

/// How to reach the broker at `uri`.
fn options(uri: &Uri, limit: Duration) -> Result<Options, String> {
    let Some(authority) = uri.authority() else {
        return Err("it names no host".into());
    };
    if !matches!(uri.path(), "" | "/") {
        return Err("a broker has no path".into());
    }
    let (auth, host) = match authority.as_str().rsplit_once('@') {
        Some((who, host)) => (credentials(who)?, host),
        None => (Auth::default(), authority.as_str()),
    };
    let scheme = uri.scheme_str().unwrap_or("nats");
    let own = auth.user.as_deref().filter(|user| is_token(user));
    let mut options = Options {
        urls: vec![format!("{scheme}://{host}")],
        tls: Tls {
            required: scheme == "tls",
            ..Tls::default()
        },
        namespace: None,
        prefer_local: false,
        inbox_prefix: own.map_or_else(|| "_INBOX".to_owned(), |user| format!("_INBOX.{user}")),
        default_timeout: limit,
        follow: Follow::Declared,
        follow_also: vec![PLUGIN.into()],
        streams: None,
        name: "framex functions".into(),
        auth,
    };
    for pair in uri.query().into_iter().flat_map(|query| query.split('&')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?;
        if value.is_empty() {
            return Err(format!("`{key}` has no value"));
        }
        match key {
            "namespace" if is_token(&value) => options.namespace = Some(value),
            "namespace" => return Err("a namespace has no dots and no spaces".into()),
            "creds" => options.auth.creds = Some(value.into()),
            "ca" => options.tls.ca = Some(value.into()),
            _ => return Err(format!("`{key}` is not known; there are {KEYS}")),
        }
    }
    Ok(options)
}

/// `user:password`, or a token.
fn credentials(text: &str) -> Result<Auth, String> {
    Ok(match text.split_once(':') {
        Some((user, password)) => Auth {
            user: Some(decoded(user)?),
            password: Some(decoded(password)?),
            ..Auth::default()
        },
        None => Auth {
            token: Some(decoded(text)?),
            ..Auth::default()
        },
    })
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| "it is not percent-encoded UTF-8".to_owned())?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Options, String> {
        options(&url.parse().unwrap(), Duration::from_secs(1))
    }

    #[test]
    fn a_url_says_where_and_who() {
        let plain = read("nats://a:4222").unwrap();
        assert_eq!(
            (&*plain.urls[0], &*plain.inbox_prefix),
            ("nats://a:4222", "_INBOX")
        );
        let full = read("tls://me:p%40w%3A@a:1/?namespace=blue&ca=/c.pem&creds=/x%20y").unwrap();
        assert_eq!(full.urls, ["tls://a:1"]);
        assert_eq!(full.inbox_prefix, "_INBOX.me");
        assert_eq!(full.auth.password.as_deref(), Some("p@w:"));
        assert_eq!(full.namespace.as_deref(), Some("blue"));
        assert!(full.tls.required && full.tls.ca.is_some());
        assert_eq!(full.auth.creds, Some("/x y".into()));
        assert_eq!(
            read("nats://s3cret@a").unwrap().auth.token.as_deref(),
            Some("s3cret")
        );
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_its_secrets() {
        for (url, told) in [
            ("nats://u:s3cret@a/path", "no path"),
            ("nats://u:s3cret@a?nmespace=x", "`nmespace` is not known"),
            ("nats://u:s3cret@a?namespace=", "`namespace` has no value"),
            ("nats://u:s3cret@a?namespace=a.b", "no dots"),
            ("nats://u:s3cret%ff@a", "percent-encoded"),
        ] {
            let error = read(url).unwrap_err();
            assert!(
                error.contains(told) && !error.contains("s3cret"),
                "{url}: {error}"
            );
        }
    }
}
