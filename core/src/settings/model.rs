use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Secret, Size, duration, mask};

/// All settings of a process.
///
/// [`Settings::load`] is the way to get them: it knows every source, checks
/// every value and tells where each came from. Deserializing them directly
/// checks names and types only.
///
/// `Debug` and `Serialize` are for showing: secrets come out as `********`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The HTTP edge.
    pub server: Server,
    /// The broker.
    pub nats: Nats,
    /// Streams that can be followed again.
    pub streams: Streams,
    /// Plugins to load, besides the built-in ones.
    pub load_plugins: Vec<String>,
    /// Built-in plugins to load.
    pub load_builtin_plugins: Vec<String>,
    /// Start without the plugins that fail to.
    pub allow_failed_plugins: bool,
    /// One table per plugin, checked by the plugin's own type:
    /// [`Loaded::plugin_config`](super::Loaded::plugin_config).
    #[serde(serialize_with = "masked_tables")]
    pub plugins: BTreeMap<String, Value>,
    /// Who may call what.
    pub auth: Auth,
    /// The log.
    pub log: Log,
}

/// `[server]`: the HTTP edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address to listen on: an IP address or a host name.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Address of the dashboard.
    pub dashboard_host: String,
    /// Port of the dashboard; 0 takes a free one.
    pub dashboard_port: u16,
    /// Threads of the edge; `None` means one less than there are CPUs.
    pub num_cpus: Option<usize>,
    /// Give what no plugin answers to the bridge.
    pub enable_proxy: bool,
    /// Use the broker in `[nats]` instead of the bus in this process.
    pub use_nats: bool,
    /// Paths whose requests are not logged.
    pub excluded_log_paths: Vec<String>,
    /// Largest request body, in bytes.
    pub max_body_size: Size,
    /// Largest request body that an API's own limit may allow, in bytes.
    pub max_upload_size: Size,
    /// Largest request head, in bytes.
    pub max_header_size: Size,
    /// Connections open at the same time.
    pub max_connections: usize,
    /// Time a client has to send a request's head.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// Time a request's body may make no progress.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// Time a call has to answer, where its API says nothing else.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// Time a kept-alive connection may be idle.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Time that calls in flight have to finish at shutdown.
    #[serde(with = "duration")]
    pub shutdown_grace: Duration,
    /// Time between two heartbeats of a silent event stream.
    #[serde(with = "duration")]
    pub sse_heartbeat: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            dashboard_host: "127.0.0.1".into(),
            dashboard_port: 8260,
            num_cpus: None,
            enable_proxy: false,
            use_nats: false,
            excluded_log_paths: Vec::new(),
            max_body_size: Size::of_bytes(4 << 20),
            max_upload_size: Size::of_bytes(1 << 30),
            max_header_size: Size::of_bytes(16 << 10),
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(75),
            shutdown_grace: Duration::from_secs(10),
            sse_heartbeat: Duration::from_secs(15),
        }
    }
}

/// `[nats]`: the broker.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// Servers to connect to; at least one. A URL may hold a password: it is
    /// masked in `Debug` and `Serialize`, not here.
    #[serde(deserialize_with = "one_or_many", serialize_with = "masked_urls")]
    pub url: Vec<String>,
    /// A credentials file, as `nsc` writes it.
    pub creds: Option<PathBuf>,
    /// A user.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Secret>,
    /// A token.
    pub token: Option<Secret>,
    /// A file with an nkey seed.
    pub nkey: Option<PathBuf>,
    /// How connections are encrypted.
    pub tls: NatsTls,
    /// First token of every subject, to keep teams on one broker apart.
    pub namespace: Option<String>,
    /// First tokens of the subjects that replies come to: what the broker lets
    /// this user subscribe to.
    pub inbox_prefix: Option<String>,
    /// Call a plugin of this process directly, not through the broker.
    pub prefer_local: bool,
}

/// `[nats.tls]`: how connections to the broker are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsTls {
    /// Certificates of authorities to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// This process' certificate, where the broker asks for one.
    pub cert: Option<PathBuf>,
    /// The key of `cert`.
    pub key: Option<PathBuf>,
    /// Refuse a broker without TLS.
    pub required: bool,
    /// Begin with TLS, before the broker's greeting.
    pub first: bool,
}

impl Nats {
    /// The servers, as they may be shown: without users, passwords and tokens.
    #[must_use]
    pub fn shown(&self) -> String {
        let urls: Vec<_> = self.url.iter().map(|url| mask::without_user(url)).collect();
        urls.join(", ")
    }
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: vec!["nats://127.0.0.1:4222".into()],
            creds: None,
            user: None,
            password: None,
            token: None,
            nkey: None,
            tls: NatsTls::default(),
            namespace: None,
            inbox_prefix: None,
            prefer_local: true,
        }
    }
}

/// `[streams]`: streams that can be followed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// Time a stream goes on with nobody following it.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// What a process keeps of one stream, in bytes.
    pub replay_buffer: Size,
    /// What a process keeps of all streams before it keeps less of each, in bytes.
    pub replay_memory: Size,
    /// Time a stream is kept when it has ended.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// Keep streams in JetStream, where the broker has it.
    pub jetstream: bool,
    /// The JetStream stream that they are kept in.
    pub name: String,
    /// Where JetStream keeps it.
    pub storage: Storage,
    /// How large it may grow, in bytes.
    pub max_bytes: Size,
    /// On how many brokers of a cluster it is.
    pub replicas: usize,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            replay_buffer: Size::of_bytes(1 << 20),
            replay_memory: Size::of_bytes(64 << 20),
            max_age: Duration::from_secs(10 * 60),
            jetstream: true,
            name: "FRAMEX_STREAMS".into(),
            storage: Storage::File,
            max_bytes: Size::of_bytes(1 << 30),
            replicas: 1,
        }
    }
}

/// Where JetStream keeps streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On the brokers' disks.
    #[default]
    File,
    /// In the brokers' memory.
    Memory,
}

/// `[auth]`: who may call what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Keys that open a route. A route is a template (`/api/v1/items/{id}`) or
    /// a prefix (`/api/v1/*`); an empty list locks everybody out.
    pub rules: BTreeMap<String, Vec<Secret>>,
}

/// `[log]`: the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What to log: `info`, or `warn,framex=debug`.
    pub filter: String,
    /// How to write it.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".into(),
            format: LogFormat::Auto,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Human` on a terminal, else `Json`.
    #[default]
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugins: BTreeMap<_, _> = masked_pairs(&self.plugins).collect();
        f.debug_struct("Settings")
            .field("server", &self.server)
            .field("nats", &self.nats)
            .field("streams", &self.streams)
            .field("load_plugins", &self.load_plugins)
            .field("load_builtin_plugins", &self.load_builtin_plugins)
            .field("allow_failed_plugins", &self.allow_failed_plugins)
            .field("plugins", &plugins)
            .field("auth", &self.auth)
            .field("log", &self.log)
            .finish()
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url: Vec<_> = self.url.iter().map(|url| mask::url(url)).collect();
        f.debug_struct("Nats")
            .field("url", &url)
            .field("creds", &self.creds)
            .field("user", &self.user)
            .field("password", &self.password)
            .field("token", &self.token)
            .field("nkey", &self.nkey)
            .field("tls", &self.tls)
            .field("namespace", &self.namespace)
            .field("inbox_prefix", &self.inbox_prefix)
            .field("prefer_local", &self.prefer_local)
            .finish()
    }
}

fn masked_pairs(plugins: &BTreeMap<String, Value>) -> impl Iterator<Item = (&String, Value)> {
    plugins
        .iter()
        .map(|(name, table)| (name, mask::masked(table)))
}

fn masked_tables<S: Serializer>(
    plugins: &BTreeMap<String, Value>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(masked_pairs(plugins))
}

fn masked_urls<S: Serializer>(urls: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(urls.iter().map(|url| mask::url(url)))
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
