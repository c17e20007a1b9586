//! The table of all keys: what may be there, and what to say about it. The
//! structs in `model` hold the defaults; a test keeps the two in step.

use serde::Serialize;
use serde_json::Value;

use super::Settings;
use super::mask;
use super::nearest::nearest;
use super::shape::{Shape, Text};

pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, doc }
}

const PORT: Shape = Shape::Integer { min: 0, max: 65535 };
const TIMEOUT: Shape = Shape::Duration { zero: false };

#[rustfmt::skip] // one row per key
pub(crate) const KEYS: &[Key] = &[
    key("server.host", Shape::Text(Text::Host), "Address to listen on."),
    key("server.port", PORT, "Port to listen on; 0 takes a free one."),
    key("server.dashboard_host", Shape::Text(Text::Host), "Address of the dashboard."),
    key("server.dashboard_port", PORT, "Port of the dashboard; 0 takes a free one."),
    key("server.num_cpus", Shape::Integer { min: 1, max: 1024 }, "Threads of the edge; not set means one less than there are CPUs."),
    key("server.enable_proxy", Shape::Bool, "Give what no plugin answers to the bridge."),
    key("server.use_nats", Shape::Bool, "Use the broker instead of the bus in this process."),
    key("server.excluded_log_paths", Shape::List(Text::UrlPath), "Paths whose requests are not logged."),
    key("server.max_body_size", Shape::Size { min: 1, max: 4 << 30 }, "Largest request body; 413 above it."),
    key("server.max_upload_size", Shape::Size { min: 1, max: 1 << 40 }, "Largest request body that an API's own `max_body_size` may allow; 413 above it."),
    key("server.max_header_size", Shape::Size { min: 1 << 10, max: 16 << 20 }, "Largest request head; 431 above it."),
    key("server.max_connections", Shape::Integer { min: 1, max: 1_000_000 }, "Connections open at the same time."),
    key("server.header_timeout", TIMEOUT, "Time a client has to send a request's head."),
    key("server.body_timeout", TIMEOUT, "Time a request's body may make no progress."),
    key("server.request_timeout", TIMEOUT, "Time a call has to answer, where its API says nothing else."),
    key("server.idle_timeout", TIMEOUT, "Time a kept-alive connection may be idle."),
    key("server.shutdown_grace", Shape::Duration { zero: true }, "Time that calls in flight have to finish at shutdown."),
    key("server.sse_heartbeat", TIMEOUT, "Time between two heartbeats of a silent event stream."),
    key("nats.url", Shape::OneOrMore(Text::BrokerUrl), "Brokers to connect to."),
    key("nats.creds", Shape::Text(Text::Path), "Credentials file, as nsc writes it."),
    key("nats.user", Shape::Text(Text::Any), "User at the broker."),
    key("nats.password", Shape::Text(Text::Secret), "Password of the user."),
    key("nats.token", Shape::Text(Text::Secret), "Token for the broker."),
    key("nats.nkey", Shape::Text(Text::Path), "File with an nkey seed."),
    key("nats.tls.ca", Shape::Text(Text::Path), "Authorities to trust besides the system's, PEM."),
    key("nats.tls.cert", Shape::Text(Text::Path), "This process' certificate, PEM, where the broker asks for one."),
    key("nats.tls.key", Shape::Text(Text::Path), "Key of the certificate, PEM."),
    key("nats.tls.required", Shape::Bool, "Refuse a broker without TLS."),
    key("nats.tls.first", Shape::Bool, "Begin with TLS, before the broker's greeting."),
    key("nats.namespace", Shape::Text(Text::Token), "First token of every subject, to keep teams on one broker apart."),
    key("nats.inbox_prefix", Shape::Text(Text::Subject), "First tokens of the subjects that replies come to; not set means `_INBOX.<user>`, or `_INBOX` without a user."),
    key("nats.prefer_local", Shape::Bool, "Call a plugin of this process directly, not through the broker."),
    key("streams.grace", Shape::Duration { zero: true }, "Time a stream goes on with nobody following it."),
    key("streams.replay_buffer", Shape::Size { min: 4 << 10, max: 1 << 30 }, "What a process keeps of one stream."),
    key("streams.replay_memory", Shape::Size { min: 0, max: 1 << 40 }, "What a process keeps of all streams before it keeps less of each."),
    key("streams.max_age", TIMEOUT, "Time a stream is kept when it has ended."),
    key("streams.jetstream", Shape::Bool, "Keep streams in JetStream, where the broker has it."),
    key("streams.name", Shape::Text(Text::Token), "JetStream stream that they are kept in."),
    key("streams.storage", Shape::Choice(&["file", "memory"]), "Where JetStream keeps it."),
    key("streams.max_bytes", Shape::Size { min: 1 << 20, max: 1 << 50 }, "How large it may grow; the oldest goes first."),
    key("streams.replicas", Shape::Integer { min: 1, max: 5 }, "On how many brokers of a cluster it is."),
    key("load_plugins", Shape::List(Text::PluginName), "Plugins to load; the command line adds to it."),
    key("load_builtin_plugins", Shape::List(Text::PluginName), "Built-in plugins to load; the command line adds to it."),
    key("allow_failed_plugins", Shape::Bool, "Start without the plugins that fail to."),
    key("plugins", Shape::Plugins, "Configuration of each plugin, as the plugin defines it."),
    key("auth.rules", Shape::Rules, "Keys that open a route (`/api/v1/x`) or a prefix (`/api/v1/*`)."),
    key("log.filter", Shape::Text(Text::Any), "What to log: `info`, or `warn,framex=debug`."),
    key("log.format", Shape::Choice(&["auto", "human", "json"]), "How to log; auto is human on a terminal, else json."),
];

/// Keys for what is to come. They must not work by accident before.
const RESERVED: &[&str] = &["auth.oauth", "cache", "telemetry"];

/// Keys of FrameX's that nothing here listens to, and why.
const IGNORED: &[(&str, &str)] = &[(
    "server.legal_proxy_code",
    "whether a call has failed is told by its HTTP status, which upstreams' answers keep",
)];

/// Lists that the command line adds to.
pub(crate) const ADDING: [&str; 2] = ["load_plugins", "load_builtin_plugins"];

/// What is at a path.
pub(crate) enum Found {
    Table,
    Key(&'static Key),
    Reserved,
    /// Why nothing listens to it.
    Ignored(&'static str),
    Unknown,
}

pub(crate) fn find(path: &[String]) -> Found {
    if let Some(key) = KEYS.iter().find(|key| key.name.split('.').eq(path)) {
        Found::Key(key)
    } else if RESERVED.iter().any(|name| name.split('.').eq(path)) {
        Found::Reserved
    } else if let Some((_, why)) = IGNORED.iter().find(|(name, _)| name.split('.').eq(path)) {
        Found::Ignored(why)
    } else if !path.is_empty() && KEYS.iter().any(|key| below(key.name, path).is_some()) {
        Found::Table
    } else {
        Found::Unknown
    }
}

/// Whether `name` is a table at the top.
pub(crate) fn is_top_table(name: &str) -> bool {
    let names = KEYS
        .iter()
        .map(|key| key.name)
        .chain(RESERVED.iter().copied());
    let nested = names
        .clone()
        .any(|key| key.split_once('.').is_some_and(|(first, _)| first == name));
    nested || matches!(name, "plugins" | "cache" | "telemetry")
}

/// Whether `name` is a value at the top.
pub(crate) fn is_top_value(name: &str) -> bool {
    KEYS.iter()
        .any(|key| key.name == name && key.shape != Shape::Plugins)
}

/// The key in full that `path` may have been meant for.
pub(crate) fn nearest_key(path: &[String]) -> Option<String> {
    let (last, parent) = path.split_last()?;
    let siblings = KEYS.iter().filter_map(|key| below(key.name, parent));
    if let Some(name) = nearest(last, siblings) {
        let prefix = parent.iter().map(|segment| format!("{segment}."));
        return Some(prefix.chain([name.to_owned()]).collect());
    }
    let elsewhere = || KEYS.iter().map(|key| key.name);
    elsewhere()
        .find(|name| name.rsplit('.').next() == Some(last))
        .or_else(|| nearest(&path.join("."), elsewhere()))
        .map(str::to_owned)
}

/// `path` as TOML writes it: segments that are no bare keys are quoted. Passwords in them are
/// hidden.
pub(crate) fn dotted(path: &[String]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let segments: Vec<_> = path
        .iter()
        .map(
            |segment| match !segment.is_empty() && segment.chars().all(bare) {
                true => segment.clone(),
                false => format!("{:?}", mask::key(segment)),
            },
        )
        .collect();
    segments.join(".")
}

/// A key in the table at `path`.
pub(crate) fn example_below(path: &[String]) -> Option<&'static str> {
    KEYS.iter().find_map(|key| below(key.name, path))
}

/// The segment of `name` after `path`, if it is below it.
fn below<'a>(name: &'a str, path: &[String]) -> Option<&'a str> {
    let mut segments = name.split('.');
    path.iter()
        .all(|segment| segments.next() == Some(segment))
        .then(|| segments.next())?
}

/// One key, for documentation and `framex config`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeyDoc {
    /// In full, with dots: `server.port`.
    pub key: &'static str,
    /// The variable that sets it: `SERVER__PORT`, also with `FRAMEX_` in front.
    pub variable: String,
    /// What may be there, in words.
    pub allowed: String,
    /// The value when nobody says anything; null where there is none.
    pub default: Value,
    /// One line.
    pub doc: &'static str,
}

/// All keys there are.
pub fn reference() -> Vec<KeyDoc> {
    let defaults = shown(&Settings::default());
    KEYS.iter()
        .map(|key| KeyDoc {
            key: key.name,
            variable: match key.shape {
                Shape::Plugins => "PLUGINS__<PLUGIN>__<KEY>".into(),
                _ => key.name.to_uppercase().replace('.', "__"),
            },
            allowed: key.shape.to_string(),
            default: value_at(&defaults, key.name),
            doc: key.doc,
        })
        .collect()
}

/// `settings` as they may be shown, as JSON.
pub(crate) fn shown(settings: &Settings) -> Value {
    // Texts, numbers, booleans, and maps with text keys always serialize.
    serde_json::to_value(settings).unwrap_or_default()
}

pub(crate) fn value_at(settings: &Value, name: &str) -> Value {
    let pointer = format!("/{}", name.replace('.', "/"));
    settings.pointer(&pointer).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> Vec<String> {
        key.split('.').map(str::to_owned).collect()
    }

    /// Every field of the structs has a row, and every row a field.
    #[test]
    fn the_table_agrees_with_the_structs() {
        fn leaves(value: &Value, prefix: &str, names: &mut Vec<String>) {
            for (key, value) in value.as_object().unwrap() {
                let name = format!("{prefix}{key}");
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        leaves(value, &format!("{name}."), names);
                    }
                    _ => names.push(name),
                }
            }
        }
        let mut fields = Vec::new();
        leaves(&shown(&Settings::default()), "", &mut fields);
        fields.sort();
        let mut rows: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        rows.sort();
        assert_eq!(fields, rows);
    }

    #[test]
    fn every_default_is_allowed() {
        for key in KEYS {
            let default = value_at(&shown(&Settings::default()), key.name);
            let free = matches!(key.shape, Shape::Rules | Shape::Plugins);
            if !default.is_null() && !free {
                assert!(key.shape.read(default).is_ok(), "{}", key.name);
            }
        }
    }

    #[test]
    fn reference_says_everything() {
        let port = reference().remove(1);
        assert_eq!(port.key, "server.port");
        assert_eq!(port.variable, "SERVER__PORT");
        assert_eq!(port.default, 8080);
        assert_eq!(port.allowed, "an integer from 0 to 65535");
        assert!(reference().iter().all(|key| key.doc.ends_with('.')));
    }

    #[test]
    fn nearest_keys() {
        for (key, found) in [
            ("server.potr", Some("server.port")),
            ("servre", Some("server")),
            ("port", Some("server.port")),
            ("nats.port", Some("server.port")),
            ("load_plugin", Some("load_plugins")),
            ("server.zzz", None),
            ("weather", None),
        ] {
            assert_eq!(nearest_key(&path(key)).as_deref(), found, "{key}");
        }
    }
}
