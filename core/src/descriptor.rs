//! Descriptors: what a plugin and each of its APIs say about themselves.
//!
//! They are plain data, made once by the macros and sent over a bus as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
            Self::Body | Self::Raw | Self::Form | Self::File => "body",
        }
    }
}

/// One named argument.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

/// What an API answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Its answer.
    pub reply: ReplyShape,
    /// The schemas that `parameters` and `reply` refer to, by name.
    #[serde(default)]
    pub components: BTreeMap<String, Value>,
    /// Whether the answer goes out without the envelope.
    #[serde(default)]
    pub raw: bool,
    /// How long a call may take, in milliseconds; the edge's default if none.
    #[serde(default, rename = "timeout_ms", with = "millis")]
    pub timeout: Option<Duration>,
    /// Whether running it twice does no harm, so that it may be retried.
    #[serde(default)]
    pub idempotent: bool,
    /// How many calls of it one process runs at once.
    #[serde(default)]
    pub max_ongoing_requests: Option<usize>,
}

impl ApiDescriptor {
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
            reply: ReplyShape::Value {
                schema: Value::Object(serde_json::Map::new()),
            },
            components: BTreeMap::new(),
            raw: false,
            timeout: None,
            idempotent: false,
            max_ongoing_requests: None,
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

    /// The argument that is the whole body, if one is.
    #[must_use]
    pub fn body(&self) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|p| matches!(p.location, Location::Body | Location::Raw))
    }
}

fn yes() -> bool {
    true
}

mod millis {
    use std::time::Duration;

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
        Ok(Option::<u64>::deserialize(input)?.map(Duration::from_millis))
    }
}
