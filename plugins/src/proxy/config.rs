//! `[plugins.proxy]`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use framex_core::settings::{Secret, duration};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// What `[plugins.proxy]` holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// The upstreams: a list of URLs, or a table of URLs with what is said of each.
    pub proxy_urls: Upstreams,
    /// Paths that are published of every upstream that has no `enable` of its own. Without it,
    /// those of a list publish nothing and those of a table everything, as in FrameX.
    pub white_list: Option<Vec<String>>,
    /// Paths whose answers are streams, though the document does not say so.
    pub force_stream_apis: Vec<String>,
    /// Time an upstream has to begin its answer, once it has the whole request.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Time between two looks at each upstream's document.
    #[serde(with = "duration")]
    pub refresh: Duration,
    /// Put successful JSON answers into the envelope.
    pub envelope: bool,
    /// Send the client's `Authorization` to the upstream, where no key of ours goes there.
    pub forward_authorization: bool,
    /// Keys for upstreams.
    pub auth: Keys,
    /// Functions that run on other systems: names, by the URL of the system.
    pub proxy_functions: BTreeMap<String, Vec<String>>,
    /// How much goes through the bridge at once.
    pub ingress_config: Ingress,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            proxy_urls: Upstreams::default(),
            white_list: None,
            force_stream_apis: Vec::new(),
            timeout: Duration::from_secs(600),
            refresh: Duration::from_secs(60),
            envelope: false,
            forward_authorization: false,
            auth: Keys::default(),
            proxy_functions: BTreeMap::new(),
            ingress_config: Ingress::default(),
        }
    }
}

/// Keys for upstreams, by path: exact, or a prefix that ends in `/*`. The exact rule wins, then
/// the longest prefix; its first key is sent as the `Authorization` header, as it stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// See the type.
    pub rules: BTreeMap<String, Vec<Secret>>,
}

/// How much goes through the bridge at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Ingress {
    /// Calls of one upstream that wait for its answer; more are refused with 503.
    pub max_ongoing_requests: usize,
    /// What FrameX gives to Ray, and means nothing here.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            max_ongoing_requests: 1000,
            others: BTreeMap::new(),
        }
    }
}

/// What is said of one upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// What it is called in API ids, errors and logs: `[a-z0-9_]`. Without it,
    /// `upstream_` and its number in the order of URLs.
    pub name: Option<String>,
    /// Whether it stands in a list: its URL, and nothing else of it.
    #[serde(skip)]
    pub listed: bool,
    /// Paths that are published: exact, `/*` or `*` for all, `/prefix/*`. `white_list` if none.
    pub enable: Option<Vec<String>>,
    /// Paths that are not, whatever `enable` says.
    pub disable: Vec<String>,
    /// Paths that are published though the upstream asks for a key, and no rule here does.
    pub public: Vec<String>,
    /// Where its OpenAPI document is; else `/api/v1/openapi.json`, then `/openapi.json`.
    pub docs_path: Option<String>,
    /// Put before its paths where they are published.
    pub prefix: Option<String>,
    /// As [`ProxyConfig::force_stream_apis`], of this one.
    pub force_stream_apis: Vec<String>,
    /// As [`ProxyConfig::timeout`], for this one.
    pub timeout: Option<Seconds>,
    /// As [`ProxyConfig::envelope`], for this one.
    pub envelope: Option<bool>,
    /// As [`ProxyConfig::forward_authorization`], for this one.
    pub forward_authorization: Option<bool>,
    /// As [`ProxyConfig::auth`], in place of it.
    pub auth: Option<Keys>,
    /// As [`Ingress::max_ongoing_requests`], for this one.
    pub max_ongoing_requests: Option<usize>,
}

/// A duration that may be left out.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Seconds(#[serde(with = "duration")] pub Duration);

/// Upstreams by URL.
#[derive(Clone, Debug, Default)]
pub struct Upstreams(pub BTreeMap<String, UpstreamConfig>);

impl<'de> Deserialize<'de> for Upstreams {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Urls;

        impl<'de> Visitor<'de> for Urls {
            type Value = Upstreams;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of URLs, or a table of URLs with their rules")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Upstreams, A::Error> {
                let mut upstreams = BTreeMap::new();
                while let Some(url) = list.next_element::<String>()? {
                    let listed = UpstreamConfig {
                        listed: true,
                        ..UpstreamConfig::default()
                    };
                    upstreams.insert(url, listed);
                }
                Ok(Upstreams(upstreams))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Upstreams, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(table)).map(Upstreams)
            }
        }

        input.deserialize_any(Urls)
    }
}
