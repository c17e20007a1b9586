//! Builds the descriptor of one API.

use std::time::Duration;

use serde_json::Value;

use super::schema::{self, Components};
use crate::descriptor::{ApiDescriptor, ApiKind, Location, Parameter, ReplyShape};
use crate::id::ApiId;
use crate::route::{Route, full_path};

/// A descriptor in the making.
pub struct Described(ApiDescriptor);

/// What the macro knows of an argument, besides its schema.
pub struct Named {
    /// The name on the wire.
    pub name: &'static str,
    /// Where it comes from.
    pub location: Location,
    /// Whether a call without it is refused.
    pub required: bool,
    /// From its doc comment.
    pub description: &'static str,
}

impl Described {
    /// The API called `id`.
    ///
    /// # Panics
    ///
    /// If `id` is not valid; the macro has seen to that.
    #[must_use]
    pub fn new(id: &str, kind: ApiKind) -> Self {
        let id = ApiId::parse(id).unwrap_or_else(|error| panic!("{error}"));
        Self(ApiDescriptor::new(id, kind))
    }

    /// Where schemas find room for their references.
    pub fn components(&mut self) -> &mut Components {
        &mut self.0.components
    }

    /// Adds a route.
    pub fn route(&mut self, method: &str, path: &str, prefix: bool) {
        // A path that is not valid stays as it is, for `check` to tell.
        let path = full_path(path, prefix).unwrap_or_else(|_| path.to_owned());
        if let Ok(method) = method.parse() {
            self.0.routes.push(Route { method, path });
        }
    }

    /// Sets the texts.
    pub fn texts(&mut self, summary: &str, description: &str, tags: &[&str]) {
        summary.clone_into(&mut self.0.summary);
        description.clone_into(&mut self.0.description);
        self.0.tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    }

    /// Sets `deprecated`.
    pub fn deprecated(&mut self) {
        self.0.deprecated = true;
    }

    /// Clears `include_in_schema`.
    pub fn unlisted(&mut self) {
        self.0.include_in_schema = false;
    }

    /// Sets `raw`.
    pub fn raw(&mut self) {
        self.0.raw = true;
    }

    /// Sets `guarded`.
    pub fn guarded(&mut self) {
        self.0.guarded = true;
    }

    /// Sets `idempotent`.
    pub fn idempotent(&mut self) {
        self.0.idempotent = true;
    }

    /// Sets `live`.
    pub fn live(&mut self) {
        self.0.live = true;
    }

    /// Sets `headers`.
    pub fn headers(&mut self) {
        self.0.headers = true;
    }

    /// Sets `timeout`.
    pub fn timeout(&mut self, millis: u64) {
        self.0.timeout = Some(Duration::from_millis(millis));
    }

    /// Sets `max_ongoing_requests`.
    pub fn max_ongoing_requests(&mut self, limit: usize) {
        self.0.max_ongoing_requests = Some(limit);
    }

    /// Sets `max_body_size`.
    pub fn max_body_size(&mut self, bytes: u64) {
        self.0.max_body_size = Some(bytes);
    }

    /// Adds an argument.
    pub fn parameter(&mut self, named: Named, default: Option<Value>, schema: Value) {
        self.0.parameters.push(Parameter {
            name: named.name.to_owned(),
            location: named.location,
            required: named.required,
            default,
            schema,
            description: named.description.to_owned(),
        });
    }

    /// Adds an argument that is bytes: a file, several, or the whole body.
    pub fn binary(&mut self, named: Named, several: bool) {
        let one = schema::binary();
        let schema = if several { schema::list(one) } else { one };
        self.parameter(named, None, schema);
    }

    /// Sets what it answers.
    pub fn reply(&mut self, shape: ReplyShape) {
        self.0.reply = shape;
    }

    /// The descriptor.
    #[must_use]
    pub fn finish(self) -> ApiDescriptor {
        self.0
    }
}
