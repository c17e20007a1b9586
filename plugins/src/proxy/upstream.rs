//! Upstreams: the services behind the bridge, as their settings describe them.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

use super::config::{ProxyConfig, Seconds, UpstreamConfig};
use super::fall_back::is_the_edges;
use super::rules::{KeyRules, PathRules, is_plain};

#[cfg(test)]
mod tests;

/// One upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// In API ids, errors and logs; never its address.
    pub(crate) name: String,
    /// `http` or `https`.
    pub(crate) scheme: Scheme,
    /// Host and port.
    pub(crate) authority: Authority,
    /// The path of its URL, without a slash at the end; often empty.
    pub(crate) path: String,
    /// Where its document may be: paths below its URL, in the order in which they are tried.
    pub(crate) docs: Vec<String>,
    /// What is put before its paths where they are published; often empty.
    pub(crate) prefix: String,
    /// What is published of it.
    pub(crate) published: PathRules,
    /// What is published though it asks for a key.
    pub(crate) public: PathRules,
    /// What streams though its document does not say so.
    pub(crate) streams: PathRules,
    /// The keys that it is sent.
    pub(crate) keys: KeyRules,
    /// How long it may take to begin its answer.
    pub(crate) timeout: Duration,
    /// Whether its successes go into the envelope.
    pub(crate) envelope: bool,
    /// Whether the client's `Authorization` goes there.
    pub(crate) forward_authorization: bool,
    /// How many calls may wait for it at once.
    pub(crate) max_ongoing: usize,
}

/// What is wrong with limits of nothing.
const NOT_ZERO: &str = "0 leaves nothing; leave the key out, or write more";

/// Where somebody is, and what is said in place of that.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) authority: Authority,
    pub(crate) name: String,
}

impl Site {
    /// The sites of all `upstreams`, and of the systems of `config` that run functions.
    pub(crate) fn all(upstreams: &[Arc<Upstream>], config: &ProxyConfig) -> Vec<Self> {
        let upstreams = upstreams.iter().map(|upstream| Self {
            authority: upstream.authority.clone(),
            name: upstream.name.clone(),
        });
        let systems = config.proxy_functions.keys().filter_map(|url| {
            let uri: Uri = url.parse().ok()?;
            Some(Self {
                authority: uri.into_parts().authority?,
                name: nameless(url, config),
            })
        });
        upstreams.chain(systems).collect()
    }
}

/// Where a document is, if nobody says.
const DOCS: [&str; 2] = ["/api/v1/openapi.json", "/openapi.json"];

/// Why an upstream cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {reason}")]
pub(crate) struct UpstreamError {
    /// The key, and that of the upstream if it is about one.
    at: String,
    /// What would be right.
    pub(crate) reason: String,
}

impl Upstream {
    /// The upstreams of `config`, in the order of their URLs.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, where, and what would be right.
    pub(crate) fn all(config: &ProxyConfig) -> Result<Vec<Arc<Self>>, UpstreamError> {
        for (key, zero) in [
            ("timeout", config.timeout.is_zero()),
            ("refresh", config.refresh.is_zero()),
            (
                "ingress_config.max_ongoing_requests",
                config.ingress_config.max_ongoing_requests == 0,
            ),
        ] {
            if zero {
                return Err(UpstreamError {
                    at: key.to_owned(),
                    reason: NOT_ZERO.to_owned(),
                });
            }
        }
        let mut all: Vec<Arc<Self>> = Vec::new();
        for (url, own) in &config.proxy_urls.0 {
            let upstream = Self::read(url, own, config)?;
            if let Some(first) = all.iter().find(|first| first.name == upstream.name) {
                let reason = format!(
                    "`{}` is the name of another upstream ({}); give one of them another",
                    first.name, first.authority
                );
                return Err(wrong(url, ".name")(reason));
            }
            all.push(Arc::new(upstream));
        }
        Ok(all)
    }

    /// The one at `url`, of which `own` is said, and `all` of every one.
    ///
    /// # Errors
    ///
    /// As [`Upstream::all`].
    pub(crate) fn read(
        url: &str,
        own: &UpstreamConfig,
        all: &ProxyConfig,
    ) -> Result<Self, UpstreamError> {
        let about_url = wrong(url, "");
        let uri: Uri = url
            .parse()
            .map_err(|error| about_url(format!("no URL: {error}")))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::HTTP,
            Some("https") => Scheme::HTTPS,
            _ => return Err(about_url("write `http://host:port` or `https://…`".into())),
        };
        let Some(authority) = uri.authority().cloned() else {
            return Err(about_url("it names no host".into()));
        };
        if authority.as_str().contains('@') {
            let reason = "a user and a password have no place here; write a key in `auth.rules`";
            return Err(about_url(reason.into()));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(about_url("a query or a fragment has no place here".into()));
        }
        let port = authority.as_str().strip_prefix(authority.host());
        if port.is_some_and(|port| !port.is_empty()) && authority.port_u16().is_none_or(|p| p == 0)
        {
            return Err(about_url(
                "its port is none; write one from 1 to 65535".into(),
            ));
        }
        let name = own.name.clone().unwrap_or_else(|| nameless(url, all));
        let valid = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if name.is_empty() || !name.bytes().all(valid) {
            let reason = format!("`{name}` is no name; write `[a-z0-9_]+`");
            return Err(wrong(url, ".name")(reason));
        }
        let rules = |key, enable: &[String], disable: &[String]| {
            let rules = PathRules::parse(enable, disable);
            rules.map_err(|error| wrong(url, key)(error.to_string()))
        };
        let everything = || vec!["*".to_owned()];
        let (enable_is, enable) = match (&own.enable, &all.white_list) {
            (Some(enable), _) => (".enable", enable.clone()),
            (None, Some(white_list)) => (" takes `white_list`", white_list.clone()),
            // What is said in detail is said to be published.
            (None, None) if !own.listed => (".enable", everything()),
            (None, None) => (".enable", Vec::new()),
        };
        rules(".disable", &own.disable, &[])?;
        let keys = own.auth.as_ref().unwrap_or(&all.auth);
        for (rule, keys) in &keys.rules {
            if keys
                .iter()
                .any(|key| HeaderValue::from_str(key.expose()).is_err())
            {
                let reason = format!("a key of `{rule}` has characters that no header can have");
                return Err(wrong(url, ".auth.rules")(reason));
            }
        }
        let keys = KeyRules::parse(keys);
        let timeout = own.timeout.map_or(all.timeout, |Seconds(timeout)| timeout);
        let max_ongoing = own.max_ongoing_requests;
        let max_ongoing = max_ongoing.unwrap_or(all.ingress_config.max_ongoing_requests);
        for (key, zero) in [
            (".timeout", timeout.is_zero()),
            (".max_ongoing_requests", max_ongoing == 0),
        ] {
            if zero {
                return Err(wrong(url, key)(NOT_ZERO.to_owned()));
            }
        }
        let streams = [&all.force_stream_apis[..], &own.force_stream_apis].concat();
        let docs = match &own.docs_path {
            Some(path) => vec![path.clone()],
            None => DOCS.map(str::to_owned).into(),
        };
        for path in &docs {
            let plain = is_plain(path.split('?').next().unwrap_or_default());
            if !plain || path.contains('#') || path.parse::<PathAndQuery>().is_err() {
                let reason = format!("`{path}` is no path; write `/openapi.json`");
                return Err(wrong(url, ".docs_path")(reason));
            }
        }
        // They say where things are, and what is held back.
        let documents = docs.iter().map(String::as_str).chain(DOCS);
        let documents = documents.filter_map(|path| path.split('?').next());
        let documents: Vec<String> = documents.map(str::to_owned).collect();
        Ok(Self {
            scheme,
            authority,
            path: uri.path().trim_end_matches('/').to_owned(),
            docs,
            prefix: prefix(own.prefix.as_deref().unwrap_or_default())
                .map_err(wrong(url, ".prefix"))?,
            published: rules(enable_is, &enable, &own.disable)?.less(&documents),
            public: rules(".public", &own.public, &[])?,
            streams: rules(".force_stream_apis", &streams, &[])?,
            keys: keys.map_err(|error| wrong(url, ".auth.rules")(error.to_string()))?,
            timeout,
            envelope: own.envelope.unwrap_or(all.envelope),
            forward_authorization: own
                .forward_authorization
                .unwrap_or(all.forward_authorization),
            max_ongoing,
            name,
        })
    }

    /// The published path of a request as the document of this upstream would have it; `None`
    /// if it is below another prefix.
    pub(crate) fn own_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        let own = path.strip_prefix(&*self.prefix)?;
        own.starts_with('/').then_some(own)
    }
}

fn wrong(url: &str, key: &'static str) -> impl Fn(String) -> UpstreamError {
    let url = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}…@{}", &url[..scheme + 3], &url[at + 1..])
        }
        _ => url.to_owned(),
    };
    move |reason| UpstreamError {
        at: format!("proxy_urls.\"{url}\"{key}"),
        reason,
    }
}

/// A name that tells nothing of where it is: `upstream_` and its number among all the URLs of
/// `config`, first those of upstreams, in their order.
pub(crate) fn nameless(url: &str, config: &ProxyConfig) -> String {
    let same = |other: &str| other.trim_end_matches('/') == url.trim_end_matches('/');
    let upstreams = config.proxy_urls.0.keys();
    let mut all = upstreams.chain(config.proxy_functions.keys());
    let number = all.position(|other| same(other)).unwrap_or_default() + 1;
    format!("upstream_{number}")
}

fn prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    if is_the_edges(prefix) || is_the_edges(&format!("{prefix}/")) {
        return Err(format!("`{text}` is a path of the edge's own"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    if prefix.is_empty() || (is_plain(prefix) && prefix.chars().all(plain)) {
        return Ok(prefix.to_owned());
    }
    Err(format!(
        "`{text}` is no prefix of paths; write `/users` or `/api/v1/users`"
    ))
}
