//! What was written of an operation, and how documents show it.

use std::collections::BTreeSet;

use framex_core::descriptor::ApiDescriptor;
use framex_core::id::ApiId;
use serde_json::{Map, Value, json};

use super::body::essence;
use super::describe::VIA;

/// What an operation is called in the FrameX system that it is from.
const API: &str = "x-framex-api";

/// The media type of streams of events.
pub(super) const EVENTS: &str = "text/event-stream";

/// The objects of an operation.
pub(super) struct Written {
    pub(super) parameters: Vec<Map<String, Value>>,
    pub(super) request_body: Option<Map<String, Value>>,
    pub(super) responses: Map<String, Value>,
    pub(super) refers: BTreeSet<String>,
}

impl Written {
    pub(super) fn size(&self) -> usize {
        let lists = json!([self.parameters, self.request_body, self.responses]);
        lists.to_string().len()
    }

    /// Whether it answers with events.
    pub(super) fn streams(&self) -> bool {
        let good = self
            .responses
            .iter()
            .filter(|(status, _)| status.starts_with('2'));
        let contents = good.filter_map(|(_, response)| response["content"].as_object());
        contents
            .flat_map(Map::keys)
            .any(|name| essence(name) == EVENTS)
    }

    /// The operation as documents show it.
    pub(super) fn operation(
        &self,
        api: &ApiDescriptor,
        own: &Map<String, Value>,
        via: &[String],
    ) -> Value {
        let mut operation = json!({ "tags": api.tags, "responses": self.responses, VIA: via });
        for (key, text) in [("summary", &api.summary), ("description", &api.description)] {
            if !text.is_empty() {
                operation[key] = json!(text);
            }
        }
        if api.deprecated {
            operation["deprecated"] = json!(true);
        }
        if !self.parameters.is_empty() {
            operation["parameters"] = json!(self.parameters);
        }
        if let Some(body) = &self.request_body {
            operation["requestBody"] = json!(body);
        }
        let id = own.get(API).and_then(Value::as_str);
        if let Some(id) = id.filter(|id| ApiId::parse(id).is_ok()) {
            operation[API] = json!(id);
        }
        operation
    }
}
