//! Descriptors: what a plugin and each of its APIs say about themselves.
//!
//! They are plain data, made once by the macros and sent over a bus as JSON. What
//! authors in other languages write by hand may leave out whatever has a default.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::id::ApiId;
use crate::route::Route;

/// A plugin's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PluginMetadata {
    /// The first token of the plugin's API ids, and its name in settings.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// What the plugin is for, in Markdown.
    pub description: String,
    /// Who answers for it.
    pub author: String,
    /// Where its source or home page is.
    pub url: String,
    /// What it may call: API ids, paths (`/api/v1/echo`, or `GET /api/v1/echo`
    /// where a path has several methods), or `*` for everything.
    pub required_remote_apis: Vec<String>,
    /// Plugins start in descending priority and stop in ascending.
    pub priority: i32,
    /// OpenAPI tags of its APIs that name none; the plugin's name if empty.
    pub tags: Vec<String>,
    /// How many calls it runs at once, over all its APIs.
    pub max_ongoing_requests: Option<usize>,
}

/// How an API can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiKind {
    /// By its route; plugins call it by path or id.
    #[default]
    Http,
    /// On the bus only.
    Func,
    /// Both, on purpose.
    All,
}

impl ApiKind {
    /// The name in settings, catalogs and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Func => "func",
            Self::All => "all",
        }
    }
}

/// Where the edge finds an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Location {
    /// In the query string; lists are repeated keys.
    #[default]
    Query,
    /// In the path.
    Path,
    /// The whole body, as JSON.
    Body,
    /// The whole body, as bytes.
    Raw,
    /// The whole body, as a file that is read while it comes.
    Upload,
    /// A text field of a multipart body.
    Form,
    /// A file of a multipart body.
    File,
}

impl Location {
    /// The first element of `loc` in a validation report.
    #[must_use]
    pub fn loc(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Path => "path",
            Self::Body | Self::Raw | Self::Upload | Self::Form | Self::File => "body",
        }
    }

    /// Whether it is all of a request's body.
    #[must_use]
    pub fn is_whole_body(self) -> bool {
        matches!(self, Self::Body | Self::Raw | Self::Upload)
    }
}

/// One named argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// The name on the wire.
    pub name: String,
    /// Where the edge finds it.
    pub location: Location,
    /// Whether a call without it is refused.
    pub required: bool,
    /// What it is when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Its JSON Schema (2020-12); references point to `#/components/schemas/`.
    pub schema: Value,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Default for Parameter {
    fn default() -> Self {
        Self {
            name: String::new(),
            location: Location::default(),
            required: false,
            default: None,
            schema: anything(),
            description: String::new(),
        }
    }
}

impl Parameter {
    /// Whether it takes any number of values, or of files.
    #[must_use]
    pub fn is_list(&self) -> bool {
        match &self.schema["type"] {
            Value::Array(types) => types.iter().any(|name| name == "array"),
            name => name == "array",
        }
    }
}

/// What an API answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ReplyShape {
    /// One JSON value of this schema.
    Value {
        /// JSON Schema; `{}` allows anything.
        schema: Value,
    },
    /// Status, headers and bytes of the handler's own.
    #[default]
    Response,
    /// A stream of events.
    Stream {
        /// JSON Schema of each event's data.
        schema: Value,
    },
}

/// A type that is left out is a value's, a schema that is left out allows anything.
impl<'de> Deserialize<'de> for ReplyShape {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Type {
            #[default]
            Value,
            Response,
            Stream,
        }

        #[derive(Deserialize)]
        struct Shape {
            #[serde(default, rename = "type")]
            kind: Type,
            #[serde(default = "anything")]
            schema: Value,
        }

        let Shape { kind, schema } = Shape::deserialize(input)?;
        Ok(match kind {
            Type::Value => Self::Value { schema },
            Type::Response => Self::Response,
            Type::Stream => Self::Stream { schema },
        })
    }
}

/// The schema of any value.
fn anything() -> Value {
    Value::Object(Map::new())
}

fn any_value() -> ReplyShape {
    ReplyShape::Value { schema: anything() }
}

/// One API: everything that callers, the edge and the documents need to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiDescriptor {
    /// Its name, and its subject on the bus.
    pub id: ApiId,
    /// How it can be reached.
    #[serde(default)]
    pub kind: ApiKind,
    /// Its routes: one path, one or more methods. None for `func`.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// One line.
    #[serde(default)]
    pub summary: String,
    /// Markdown.
    #[serde(default)]
    pub description: String,
    /// OpenAPI tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether the documents mark it so.
    #[serde(default)]
    pub deprecated: bool,
    /// Whether it appears in the OpenAPI document.
    #[serde(default = "yes")]
    pub include_in_schema: bool,
    /// Its arguments.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Its answer; a value of any shape where a foreign service does not say.
    #[serde(default = "any_value")]
    pub reply: ReplyShape,
    /// The schemas that `parameters` and `reply` refer to, by name.
    #[serde(default)]
    pub components: BTreeMap<String, Value>,
    /// Whether the answer goes out without the envelope.
    #[serde(default)]
    pub raw: bool,
    /// How long a call may take, as milliseconds or as a text like `30s`; the
    /// edge's default if none.
    #[serde(default, rename = "timeout_ms", with = "millis")]
    pub timeout: Option<Duration>,
    /// Whether running it twice does no harm, so that it may be retried.
    #[serde(default)]
    pub idempotent: bool,
    /// How many calls of it one process runs at once.
    #[serde(default)]
    pub max_ongoing_requests: Option<usize>,
    /// Whether its handler reads the headers of the HTTP request.
    #[serde(default)]
    pub headers: bool,
    /// Whether its stream ends with its client, where others are kept for a while
    /// to be taken up again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// The largest request body that it takes, in bytes; the edge's default if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<u64>,
    /// Whether it stands for an operation of another HTTP service: its handler gets the
    /// request as it came ([`Args::passed`](crate::args::Args::passed)), and its route yields
    /// to that of an API which does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bridged: bool,
    /// Whether only those edges publish its routes whose `auth.rules` protect them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guarded: bool,
    /// The OpenAPI 3.1 operation that documents show in place of one made of
    /// `parameters` and `reply`; it refers to nothing but `#/components/schemas/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Value>,
}

impl ApiDescriptor {
    /// Reads what a service says of its API `id`.
    ///
    /// `null` anywhere but in schemas means that nothing is said, and so may the
    /// id itself be left out.
    ///
    /// # Errors
    ///
    /// What is wrong, and a description of another API than `id`.
    pub fn read(id: &ApiId, json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut said: Map<String, Value> = serde_json::from_slice(json)?;
        let parameters = said.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            if let Value::Object(parameter) = parameter {
                parameter.retain(|_, value| !value.is_null());
            }
        }
        said.retain(|_, value| !value.is_null());
        let own = said
            .entry("id")
            .or_insert_with(|| Value::from(id.as_str()))
            .clone();
        if own != id.as_str() {
            return Err(serde::de::Error::custom(format_args!(
                "`{id}` describes itself as {own}"
            )));
        }
        serde_json::from_value(Value::Object(said))
    }

    /// A descriptor of `kind` with nothing but its id.
    #[must_use]
    pub fn new(id: ApiId, kind: ApiKind) -> Self {
        Self {
            id,
            kind,
            routes: Vec::new(),
            summary: String::new(),
            description: String::new(),
            tags: Vec::new(),
            deprecated: false,
            include_in_schema: true,
            parameters: Vec::new(),
            reply: any_value(),
            components: BTreeMap::new(),
            raw: false,
            timeout: None,
            idempotent: false,
            max_ongoing_requests: None,
            headers: false,
            live: false,
            max_body_size: None,
            bridged: false,
            guarded: false,
            operation: None,
        }
    }

    /// Whether it answers with a stream.
    #[must_use]
    pub fn streams(&self) -> bool {
        matches!(self.reply, ReplyShape::Stream { .. })
    }

    /// Whether its body is multipart.
    #[must_use]
    pub fn multipart(&self) -> bool {
        self.parameters
            .iter()
            .any(|p| matches!(p.location, Location::File | Location::Form))
    }

    /// Whether it takes files, which come while its handler runs.
    #[must_use]
    pub fn takes_files(&self) -> bool {
        self.parameters
            .iter()
            .any(|p| matches!(p.location, Location::File | Location::Upload))
    }

    /// The argument that is the whole body, if one is.
    #[must_use]
    pub fn body(&self) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.location.is_whole_body())
    }
}

fn yes() -> bool {
    true
}

mod millis {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
            .serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected milliseconds, or a text like `30s`")]
        enum Written {
            Millis(u64),
            /// How some languages write whole numbers.
            Fraction(f64),
            Text(String),
        }

        let Some(written) = Option::<Written>::deserialize(input)? else {
            return Ok(None);
        };
        match written {
            Written::Millis(millis) => Ok(Duration::from_millis(millis)),
            Written::Fraction(millis) => {
                Duration::try_from_secs_f64(millis / 1000.0).map_err(Error::custom)
            }
            Written::Text(text) => humantime::parse_duration(&text).map_err(Error::custom),
        }
        .map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(description: &Value) -> Result<ApiDescriptor, String> {
        let id = ApiId::parse("a.B.c").unwrap();
        ApiDescriptor::read(&id, description.to_string().as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_description_comes_back_as_it_was() {
        let mut api = ApiDescriptor::new(ApiId::parse("a.B.c").unwrap(), ApiKind::All);
        api.routes = vec![Route {
            method: http::Method::GET,
            path: "/api/v1/c".into(),
        }];
        api.parameters = vec![Parameter {
            name: "x".into(),
            default: Some(json!(1)),
            ..Parameter::default()
        }];
        api.timeout = Some(Duration::from_secs(3));
        api.headers = true;
        api.live = true;
        api.max_body_size = Some(1 << 30);
        api.bridged = true;
        api.guarded = true;
        api.operation = Some(json!({"responses": {}}));
        for reply in [
            any_value(),
            ReplyShape::Response,
            ReplyShape::Stream {
                schema: json!({"type": "string"}),
            },
        ] {
            api.reply = reply;
            let sent = serde_json::to_vec(&api).unwrap();
            assert_eq!(ApiDescriptor::read(&api.id, &sent).unwrap(), api);
            assert_eq!(serde_json::from_slice::<ApiDescriptor>(&sent).unwrap(), api);
        }
    }

    #[test]
    fn a_description_by_hand_may_leave_out_most() {
        let bare = read(&json!({})).unwrap();
        assert_eq!(
            bare,
            ApiDescriptor::new(ApiId::parse("a.B.c").unwrap(), ApiKind::Http)
        );
        let some = read(&json!({
            "routes": ["GET /api/v1/c", {"method": "POST", "path": "/api/v1/c"}],
            "summary": null,
            "parameters": [{"name": "x", "schema": null, "description": null}],
            "reply": {"schema": {"type": "string"}},
            "timeout_ms": "1m 30s",
            "of the future": {"a": 1},
        }))
        .unwrap();
        assert_eq!(some.routes[0].to_string(), "GET /api/v1/c");
        assert_eq!(some.routes[1].to_string(), "POST /api/v1/c");
        assert_eq!(some.parameters[0].schema, json!({}));
        assert_eq!(some.timeout, Some(Duration::from_secs(90)));
        assert_eq!(
            some.reply,
            ReplyShape::Value {
                schema: json!({"type": "string"})
            }
        );
        for (written, timeout) in [(json!(1500), 1500), (json!(1500.0), 1500)] {
            let api = read(&json!({"timeout_ms": written})).unwrap();
            assert_eq!(api.timeout, Some(Duration::from_millis(timeout)));
        }
        let stream = read(&json!({"reply": {"type": "stream"}})).unwrap();
        assert!(stream.streams());
    }

    #[test]
    fn a_description_that_cannot_be_is_refused_by_name() {
        for (description, why) in [
            (json!([]), "invalid type"),
            (json!({"id": "a.B.d"}), "`a.B.c` describes itself as"),
            (json!({"routes": ["/api/v1/c"]}), "GET /api/v1/echo"),
            (json!({"routes": ["G T /x"]}), "GET /api/v1/echo"),
            (json!({"reply": {"type": "strem"}}), "strem"),
            (json!({"timeout_ms": -1}), "negative"),
            (json!({"timeout_ms": 1e300}), "too big"),
            (json!({"timeout_ms": "soon"}), "number"),
            (json!({"timeout_ms": []}), "like `30s`"),
        ] {
            let error = read(&description).unwrap_err();
            assert!(error.contains(why), "{description}: {error}");
        }
    }
}
