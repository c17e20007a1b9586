//! The messages of discovery: the answers of the NATS services protocol (ADR-32),
//! and announcements.
//!
//! What is written follows the protocol to the letter. What is read may come from
//! anybody: a field of the wrong type counts as left out, and nothing more than a
//! name and an id is asked for.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The types of answers.
pub(super) const PING: &str = "io.nats.micro.v1.ping_response";
pub(super) const INFO: &str = "io.nats.micro.v1.info_response";
pub(super) const STATS: &str = "io.nats.micro.v1.stats_response";
/// The type of announcements.
pub(super) const ANNOUNCEMENT: &str = "io.framex.v1.announcement";

/// The version of docs/protocol.md that this is.
pub(super) const PROTOCOL: &str = "1";

/// Keys of a service's metadata and of its endpoints'.
pub(super) mod key {
    pub(crate) const PROTOCOL: &str = "framex.protocol";
    pub(crate) const STATE: &str = "framex.state";
    pub(crate) const DIGEST: &str = "framex.digest";
    pub(crate) const NAMESPACE: &str = "framex.namespace";
    pub(crate) const DESCRIBE: &str = "framex.describe";
    pub(crate) const STARTED: &str = "framex.started";
    pub(crate) const CONNECTS: &str = "framex.connects";
    pub(crate) const KIND: &str = "framex.kind";
    pub(crate) const ROUTE: &str = "framex.route";
    pub(crate) const FLAGS: &str = "framex.flags";
    pub(crate) const APIS: &str = "framex.apis";
    pub(crate) const DESCRIPTOR: &str = "framex.descriptor";
}

/// What every answer begins with.
#[derive(Debug, Serialize)]
pub(super) struct Identity<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    pub(super) id: &'a str,
    pub(super) version: &'a str,
    pub(super) metadata: BTreeMap<&'static str, String>,
}

/// The answer to INFO.
#[derive(Debug, Serialize)]
pub(super) struct Info<'a> {
    #[serde(flatten)]
    pub(super) identity: Identity<'a>,
    pub(super) description: &'a str,
    pub(super) endpoints: Vec<InfoEndpoint<'a>>,
}

/// One endpoint in an INFO.
#[derive(Debug, Serialize)]
pub(super) struct InfoEndpoint<'a> {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) queue_group: &'a str,
    pub(super) metadata: BTreeMap<&'static str, String>,
}

/// The answer to STATS.
#[derive(Debug, Serialize)]
pub(super) struct Stats<'a> {
    #[serde(flatten)]
    pub(super) identity: Identity<'a>,
    /// RFC 3339.
    pub(super) started: &'a str,
    pub(super) endpoints: Vec<StatsEndpoint<'a>>,
}

/// One endpoint in a STATS. Times are nanoseconds.
#[derive(Debug, Serialize)]
pub(super) struct StatsEndpoint<'a> {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) queue_group: &'a str,
    pub(super) num_requests: u64,
    pub(super) num_errors: u64,
    pub(super) last_error: String,
    pub(super) processing_time: u64,
    pub(super) average_processing_time: u64,
    /// Nothing; nats-py does not read an endpoint without it.
    pub(super) data: Option<()>,
}

/// How far an instance is, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    Ready,
    Draining,
    Stopped,
}

impl Stage {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    /// What metadata say; whoever says nothing is ready.
    pub(super) fn read(text: Option<&str>) -> Self {
        match text {
            Some("draining") => Self::Draining,
            Some("stopped") => Self::Stopped,
            _ => Self::Ready,
        }
    }
}

/// What an instance says unasked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Announcement {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) version: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) digest: String,
    pub(super) state: Stage,
    /// Calls that its process runs.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) ongoing: u32,
    /// How often it has connected to a broker: when that changes, what was on its way
    /// may be lost.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) connects: u64,
    /// Says so again after this many milliseconds; never, if 0.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) beat: u32,
}

/// Texts by their names; other values are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metadata(BTreeMap<String, String>);

impl Metadata {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Only this.
    pub(super) fn only(key: &str, value: String) -> Self {
        Self(BTreeMap::from([(key.to_owned(), value)]))
    }

    /// Whether anything of it is meant for us.
    pub(super) fn is_ours(&self) -> bool {
        self.0.keys().any(|key| key.starts_with("framex."))
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let all: BTreeMap<String, Value> = lenient(input)?;
        let texts = all.into_iter().filter_map(|(key, value)| match value {
            Value::String(text) => Some((key, text)),
            _ => None,
        });
        Ok(Self(texts.collect()))
    }
}

/// An answer as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(rename = "type", default, deserialize_with = "lenient")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) version: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) description: String,
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) endpoints: Vec<SaidEndpoint>,
}

impl Said {
    /// Reads an answer of type `kind`, or none if it is something else.
    pub(super) fn read(kind: &str, payload: &[u8]) -> Option<Self> {
        let said: Self = serde_json::from_slice(payload).ok()?;
        (said.kind == kind).then_some(said)
    }

    /// Whether it speaks all of our protocol.
    pub(super) fn is_native(&self) -> bool {
        self.metadata.get(key::PROTOCOL).is_some()
    }
}

/// A part of the ids and digests of all APIs, where they are too many for an INFO.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    /// That of the whole service: pages with another one do not belong together.
    pub(super) digest: String,
    pub(super) apis: BTreeMap<String, String>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<usize>,
}

/// An endpoint as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SaidEndpoint {
    #[serde(deserialize_with = "lenient")]
    pub(super) subject: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) queue_group: Option<String>,
    pub(super) metadata: Metadata,
}

/// Anything that is not a `T` is as good as nothing.
fn lenient<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(input)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_nats_py_are_read() {
        // As nats-py 2.16 writes them: nothing said is null.
        let info = br#"{"name":"weather","id":"dYkq","version":"1.0.0","description":null,
            "metadata":null,"type":"io.nats.micro.v1.info_response","endpoints":[
            {"name":"a","subject":"weather.Weather.a","queue_group":"q","metadata":null},
            {"name":"b","subject":"weather.Weather.b","queue_group":null,
             "metadata":{"framex.descriptor":"{}","other":7}}]}"#;
        let said = Said::read(INFO, info).unwrap();
        assert_eq!((&*said.name, &*said.description), ("weather", ""));
        let [a, b] = &said.endpoints[..] else {
            panic!("{said:?}");
        };
        let group = a.queue_group.as_deref();
        assert_eq!((group, a.metadata.is_ours()), (Some("q"), false));
        assert_eq!(b.metadata.get(key::DESCRIPTOR), Some("{}"));
        assert_eq!(b.metadata.get("other"), None);
    }

    #[test]
    fn what_has_no_name_is_nothing() {
        for garbage in [
            "",
            "null",
            "[]",
            "{}",
            "\u{0}",
            "{\"name\":1,\"id\":2}",
            r#"{"type":"io.nats.micro.v1.ping_response","name":"a"}"#,
            r#"{"name":"a","id":"b"}"#,
            r#"{"type":"io.nats.micro.v1.stats_response","name":"a","id":"b"}"#,
        ] {
            assert!(Said::read(PING, garbage.as_bytes()).is_none(), "{garbage}");
        }
        let deep = "[".repeat(100_000);
        assert!(Said::read(PING, deep.as_bytes()).is_none());
    }

    #[test]
    fn fields_of_the_wrong_type_are_left_out() {
        let said = r#"{"type":"io.nats.micro.v1.info_response","name":"a","id":"b","version":7,
            "metadata":[1],"endpoints":[{"subject":"x"}]}"#;
        let said = Said::read(INFO, said.as_bytes()).unwrap();
        assert_eq!((&*said.version, said.endpoints.len()), ("", 1));
        let said =
            r#"{"type":"io.nats.micro.v1.info_response","name":"a","id":"b","endpoints":{"x":1}}"#;
        let said = Said::read(INFO, said.as_bytes()).unwrap();
        assert!(said.endpoints.is_empty());
    }
}
