//! The OpenAPI document: every route of a catalog in one OpenAPI 3.1 description.
//!
//! # Promises
//!
//! - The same catalog and options give the same bytes: no clock, no hash order.
//! - The document is valid whatever the catalog holds. Descriptors come over a
//!   bus, so what OpenAPI cannot say is left out: references that lead nowhere,
//!   malformed schema keywords, unusable paths, unknown methods, the second of
//!   two operations for one method and path. What merely makes no sense, like a
//!   default that its schema refuses, is passed on.
//! - A route that the edge does not publish is not in it, and one that two APIs have
//!   is there as it is served.
//! - Schemas of one name and different meanings are kept apart, see
//!   `schemas.rs`. Names that begin with `FrameX.` are the document's own.
//!
//! # Not here
//!
//! Serving the document, and who may read it. Texts are passed on as the Markdown
//! that their authors wrote, except for what plugins say about themselves, where
//! markup is escaped.

mod bridged;
#[cfg(test)]
mod bridged_tests;
mod failures;
mod paths;
mod schemas;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use framex_bus::{Api, Catalog};
use framex_core::descriptor::{
    ApiDescriptor, ApiKind, Location, Parameter, PluginMetadata, ReplyShape,
};
use framex_core::event::{DEBUG, ERROR, FINISH, MESSAGE_CHUNK};
use framex_core::route::Route;
use http::Method;
use serde_json::{Map, Value, json};
use utoipa::openapi::path::{
    Operation, OperationBuilder, Parameter as ParameterObject, ParameterBuilder, ParameterIn,
    ParameterStyle,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, Content, Deprecated, Info, ObjectBuilder, OpenApiBuilder,
    Required, Response, ResponseBuilder, Schema, SecurityRequirement, Server, Tag,
};

use failures::Failure;
use paths::{PathParameter, Templates};
use schemas::Scope;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";
const BYTES: &str = "application/octet-stream";
const MULTIPART: &str = "multipart/form-data";

/// Marks the parameter that stands for the rest of a path, which OpenAPI has no word for.
const REST: &str = "x-framex-rest";

/// The security scheme's name, as FrameX clients know it.
const API_KEY: &str = "APIKeyHeader";

/// What the document says besides the catalog.
#[derive(Clone)]
pub struct Options<'a> {
    /// The title; `FrameX API` unless told otherwise.
    pub title: String,
    /// The version of the surface described.
    pub version: String,
    /// Where the paths are, as absolute or relative URLs; none for the origin
    /// that the document came from.
    pub servers: Vec<String>,
    /// Which routes need an API key.
    pub protected: &'a dyn Fn(&Route) -> bool,
}

impl<'a> Options<'a> {
    /// `version`, and which routes are `protected`.
    #[must_use]
    pub fn new(version: impl Into<String>, protected: &'a dyn Fn(&Route) -> bool) -> Self {
        Self {
            title: "FrameX API".to_owned(),
            version: version.into(),
            servers: Vec::new(),
            protected,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("title", &self.title)
            .field("version", &self.version)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// The OpenAPI 3.1 document of everything in `catalog` that has a route and is
/// to be seen.
#[must_use]
pub fn document(catalog: &Catalog, options: &Options<'_>) -> Value {
    let mut apis: Vec<&Api> = catalog
        .apis()
        .map(AsRef::as_ref)
        .filter(|api| api.descriptor.kind != ApiKind::Func && api.descriptor.include_in_schema)
        .filter(|api| !api.is_forsaken())
        .collect();
    apis.sort_by_key(|api| api.yields());
    let descriptors: Vec<&ApiDescriptor> = apis.iter().map(|api| &*api.descriptor).collect();
    let scopes = schemas::scopes(&descriptors);
    let mut draft = Draft::default();
    draft.add_streams(&descriptors, options);
    for (api, scope) in apis.into_iter().zip(&scopes) {
        draft.add(api, scope, options);
    }
    draft.finish(&scopes, options)
}

/// The document as far as it is written.
#[derive(Default)]
struct Draft<'a> {
    templates: Templates,
    operation_ids: Unique,
    /// Who uses each tag.
    tags: BTreeMap<String, Vec<&'a PluginMetadata>>,
    /// The shared answers that are referred to.
    failures: BTreeSet<(Failure, bool)>,
    protected: bool,
}

impl<'a> Draft<'a> {
    /// The address of streams that are kept, if any are.
    fn add_streams(&mut self, apis: &[&ApiDescriptor], options: &Options<'_>) {
        let mut routes = apis
            .iter()
            .filter(|api| keeps(api))
            .flat_map(|api| &api.routes);
        let Some(first) = routes.next() else {
            return;
        };
        let protected =
            (options.protected)(first) || routes.any(|route| (options.protected)(route));
        let Some((template, _)) = self.templates.entry(&streams::path()) else {
            return;
        };
        if let Some(place) = template.vacancy(&Method::GET) {
            let id = self.operation_ids.take("framex_stream_follow".into());
            place.insert(json(streams::follow(id, protected)));
        }
        if let Some(place) = template.vacancy(&Method::DELETE) {
            let id = self.operation_ids.take("framex_stream_stop".into());
            place.insert(json(streams::stop(id, protected)));
        }
        for failure in streams::failures(protected) {
            self.failures.extend([(failure, true), (failure, false)]);
        }
    }

    fn add(&mut self, api: &'a Api, scope: &Scope<'_>, options: &Options<'_>) {
        let descriptor = &*api.descriptor;
        let several = descriptor
            .routes
            .iter()
            .any(|route| route.method != descriptor.routes[0].method);
        for route in &descriptor.routes {
            let protected = (options.protected)(route);
            // Neither is in the table of routes.
            if (descriptor.guarded && !protected) || crate::service::reserved(&route.path) {
                continue;
            }
            let Some((template, path_parameters)) = self.templates.entry(&route.path) else {
                continue;
            };
            let Some(place) = template.vacancy(&route.method) else {
                continue;
            };
            let mut wanted = descriptor.id.as_str().replace('.', "_");
            if several {
                wanted = format!("{wanted}_{}", route.method.as_str().to_ascii_lowercase());
            }
            let writer = Writer {
                api: descriptor,
                scope,
                path_parameters: &path_parameters,
                protected,
            };
            let tags = tags(api);
            let id = self.operation_ids.take(wanted);
            let failures = match &descriptor.operation {
                Some(Value::Object(shown)) => {
                    let (operation, failures) = writer.passed_on(shown, id, &tags);
                    place.insert(operation);
                    failures
                }
                _ => {
                    place.insert(json(writer.operation(id, &tags)));
                    writer.failures()
                }
            };

            self.protected |= protected;
            let stream = descriptor.streams();
            self.failures
                .extend(failures.into_iter().map(|failure| (failure, stream)));
            for tag in tags {
                let users = self.tags.entry(tag).or_default();
                // The plugin that passes an operation on says nothing about its service.
                if !descriptor.bridged && users.iter().all(|user| user.name != api.plugin.name) {
                    users.push(&api.plugin);
                }
            }
        }
    }

    fn finish(self, scopes: &[Scope<'_>], options: &Options<'_>) -> Value {
        let servers: Vec<Server> = options.servers.iter().map(Server::new).collect();
        let tags = self.tags.into_iter().map(|(name, users)| {
            TagBuilder::new()
                .name(name)
                .description(present(about_all(&users)))
                .build()
        });
        let document = OpenApiBuilder::new()
            .info(Info::new(&options.title, &options.version))
            .servers((!servers.is_empty()).then_some(servers))
            .tags(Some(tags.collect::<Vec<Tag>>()))
            .components(Some(components(scopes, &self.failures, self.protected)))
            .build();
        let mut document = json(document);
        document["paths"] = self.templates.into_paths().into();
        document["x-framex"] = env!("CARGO_PKG_VERSION").into();
        // For builds in which another crate has asked serde_json to keep the order.
        document.sort_all_objects();
        document
    }
}

/// A part of the document. It has texts for keys and no type that refuses to be written.
fn json(part: impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

/// Everything that operations refer to.
fn components(
    scopes: &[Scope<'_>],
    failures: &BTreeSet<(Failure, bool)>,
    protected: bool,
) -> Components {
    let mut components = ComponentsBuilder::new();
    let mut written = HashSet::new();
    for (name, schema) in scopes.iter().flat_map(Scope::components) {
        if written.insert(name) {
            components = components.schema(name, embed(schema.into()));
        }
    }
    for (name, schema) in failures::schemas() {
        components = components.schema(name, embed(schema));
    }
    // Kept streams have it, and nothing else.
    if failures.contains(&(Failure::Gone, true)) {
        components = components.parameter(streams::LAST_EVENT_ID, streams::last_event_id());
    }
    for (failure, stream) in failures {
        components = components.response(failure.name(*stream), failure.response(*stream));
    }
    if protected {
        let key =
            ApiKeyValue::with_description("Authorization", "The key, or `Bearer` and the key");
        components =
            components.security_scheme(API_KEY, SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
    components.build()
}

/// Writes the operation of one route.
struct Writer<'a> {
    api: &'a ApiDescriptor,
    scope: &'a Scope<'a>,
    path_parameters: &'a [PathParameter],
    protected: bool,
}

impl Writer<'_> {
    fn operation(&self, id: String, tags: &[String]) -> Operation {
        let api = self.api;
        let stream = api.streams();
        let (status, success) = self.success();
        let mut operation = OperationBuilder::new()
            .operation_id(Some(id))
            .tags(Some(tags))
            .summary(present(api.summary.clone()))
            .description(present(api.description.clone()))
            .deprecated(api.deprecated.then_some(Deprecated::True))
            .request_body(self.request_body())
            .response(status, success)
            .extensions(Some(
                [
                    ("x-framex-api", json!(api.id)),
                    ("x-framex-stream", json!(stream)),
                ]
                .into_iter()
                .collect(),
            ));
        for parameter in self.parameters() {
            operation = operation.parameter(parameter);
        }
        if keeps(api) {
            operation = operation
                .parameter_ref(streams::last_event_id_reference())
                .response("204", streams::over());
        }
        for failure in self.failures() {
            operation = operation.response(failure.status(), failure.reference(stream));
        }
        if self.protected {
            operation = operation.security(SecurityRequirement::new(API_KEY, [""; 0]));
        }
        operation.build()
    }

    fn parameters(&self) -> Vec<ParameterObject> {
        let mut written = Vec::new();
        for PathParameter { own, shown, rest } in self.path_parameters {
            let undeclared = Parameter {
                name: own.clone(),
                location: Location::Path,
                schema: json!({ "type": "string" }),
                ..Parameter::default()
            };
            let declared = self.at(&[Location::Path]).find(|p| p.name == *own);
            let parameter = declared.unwrap_or(&undeclared);
            let mut object = self.parameter(parameter, shown, ParameterIn::Path);
            if *rest {
                let rest = [(REST, true)].into_iter().collect();
                object = object.extensions(Some(rest));
            }
            written.push(object.build());
        }
        for parameter in self.at(&[Location::Query]) {
            let mut object = self.parameter(parameter, &parameter.name, ParameterIn::Query);
            if self.scope.allows(&parameter.schema, "array") {
                object = object.style(Some(ParameterStyle::Form)).explode(Some(true));
            }
            written.push(object.build());
        }
        written
    }

    fn parameter(&self, parameter: &Parameter, name: &str, place: ParameterIn) -> ParameterBuilder {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required(parameter.required))
            .description(present(parameter.description.clone()))
            .schema(Some(embed(self.schema(parameter))))
    }

    fn request_body(&self) -> Option<RequestBody> {
        if self.api.multipart() {
            return Some(self.multipart());
        }
        let parameter = self.api.body()?;
        let body = match parameter.location {
            Location::Raw | Location::Upload => {
                RequestBodyBuilder::new().content(BYTES, content(json!({})))
            }
            _ => RequestBodyBuilder::new().content(JSON, content(self.body(parameter))),
        };
        let body = body
            .description(present(parameter.description.clone()))
            .required(Some(required(parameter.required)));
        Some(body.build())
    }

    /// The schema of a body: one that may be left out may be `null` as well.
    fn body(&self, parameter: &Parameter) -> Value {
        let schema = self.schema(parameter);
        let optional = matches!(parameter.default, None | Some(Value::Null));
        if parameter.required || !optional || self.scope.allows(&parameter.schema, "null") {
            return schema;
        }
        json!({ "oneOf": [schema, { "type": "null" }] })
    }

    fn multipart(&self) -> RequestBody {
        let mut properties = Map::new();
        let mut names = Vec::new();
        for field in self.at(&[Location::Form, Location::File]) {
            let mut schema = self.field(field);
            if !field.description.is_empty() {
                schema["description"] = json!(field.description);
            }
            properties.insert(field.name.clone(), schema);
            if field.required {
                names.push(&field.name);
            }
        }
        let schema = json!({ "type": "object", "properties": properties, "required": names });
        RequestBodyBuilder::new()
            .content(MULTIPART, content(schema))
            .required(Some(required(!names.is_empty())))
            .build()
    }

    /// The schema of a multipart body's field.
    fn field(&self, field: &Parameter) -> Value {
        let file = json!({ "type": "string", "contentMediaType": BYTES });
        match field.location {
            Location::File if self.scope.allows(&field.schema, "array") => {
                json!({ "type": "array", "items": file })
            }
            Location::File => file,
            _ => self.schema(field),
        }
    }

    /// What goes well: the status and the answer.
    fn success(&self) -> (&'static str, Response) {
        let answer = ResponseBuilder::new();
        match &self.api.reply {
            ReplyShape::Value { schema } => {
                let data = self.scope.schema(schema).into();
                let body = if self.api.raw { data } else { envelope(data) };
                let answer = answer.description("Success").content(JSON, content(body));
                ("200", answer.build())
            }
            ReplyShape::Response => {
                let answer = answer
                    .description("What the API answers, with status, headers and body of its own.")
                    .content("*/*", content(json!({})));
                ("default", answer.build())
            }
            ReplyShape::Stream { schema } => {
                let data = self.event_data(schema);
                let mut answer = answer
                    .description(events())
                    .content(NDJSON, content(line(&data)))
                    .content(EVENT_STREAM, content(data));
                if keeps(self.api) {
                    let (name, address) = streams::named();
                    answer = answer.header(name, address);
                }
                ("200", answer.build())
            }
        }
    }

    /// The schema of an event's data: text travels as `{"content": text}`.
    fn event_data(&self, schema: &Value) -> Value {
        let data = Value::Object(self.scope.schema(schema));
        if !self.scope.allows(schema, "string") {
            return data;
        }
        json!({
            "type": "object",
            "required": ["content"],
            "properties": { "content": data },
        })
    }

    /// How it can go wrong.
    fn failures(&self) -> Vec<Failure> {
        let api = self.api;
        let reads_body = api.multipart() || api.body().is_some();
        let reads_anything = !api.parameters.is_empty() || !self.path_parameters.is_empty();
        let answers_itself = matches!(api.reply, ReplyShape::Response);
        [
            (Failure::Unauthorized, self.protected),
            (Failure::Forbidden, keeps(api)),
            (Failure::Gone, keeps(api)),
            (Failure::PayloadTooLarge, reads_body),
            (Failure::UnsupportedMediaType, reads_body),
            (Failure::ValidationFailed, reads_anything),
            (Failure::Internal, true),
            (Failure::Unavailable, true),
            (Failure::Timeout, true),
            (Failure::Other, !answers_itself),
        ]
        .into_iter()
        .filter_map(|(failure, possible)| possible.then_some(failure))
        .collect()
    }

    /// The schema of a parameter, with its default.
    fn schema(&self, parameter: &Parameter) -> Value {
        let mut schema = self.scope.schema(&parameter.schema);
        match &parameter.default {
            // `null` says that it may be left out, which `required` says already.
            None | Some(Value::Null) => {}
            Some(default) if !schemas::is_plain(default, schemas::MAX_DEPTH) => {}
            Some(default) => {
                schema.insert("default".to_owned(), default.clone());
            }
        }
        schema.into()
    }

    /// The parameters in any of `places`, each name once.
    fn at(&self, places: &[Location]) -> impl Iterator<Item = &Parameter> {
        let mut seen = HashSet::new();
        self.api.parameters.iter().filter(move |parameter| {
            places.contains(&parameter.location)
                && !parameter.name.is_empty()
                && seen.insert(&parameter.name)
        })
    }
}

/// Whether streams of `api` can be followed again.
fn keeps(api: &ApiDescriptor) -> bool {
    api.streams() && !api.live
}

/// The tags of an API: its own, else its plugin's, else the plugin's name.
fn tags(api: &Api) -> Vec<String> {
    let name = [api.plugin.name.clone()];
    let id = [api.descriptor.id.plugin().to_owned()];
    let mut seen = HashSet::new();
    [&api.descriptor.tags[..], &api.plugin.tags, &name, &id]
        .into_iter()
        .find(|tags| tags.iter().any(|tag| !tag.is_empty()))
        .into_iter()
        .flatten()
        .filter(|tag| !tag.is_empty() && seen.insert(tag.as_str()))
        .cloned()
        .collect()
}

/// What a tag's plugins say about themselves.
fn about_all(plugins: &[&PluginMetadata]) -> String {
    let about = plugins.iter().map(|plugin| match plugins.len() {
        1 => about(plugin),
        _ => format!("**{}**\n\n{}", escape(&plugin.name), about(plugin)),
    });
    about.collect::<Vec<_>>().join("\n\n").trim_end().to_owned()
}

/// Its description, then author, version and link in one line.
fn about(plugin: &PluginMetadata) -> String {
    let mut facts = Vec::new();
    if !plugin.author.is_empty() {
        facts.push(format!("👤 {}", escape(&plugin.author)));
    }
    if !plugin.version.is_empty() {
        facts.push(format!("🧩 v{}", escape(&plugin.version)));
    }
    if is_link(&plugin.url) {
        facts.push(format!("[🔗 Repo]({})", escape_html(&plugin.url)));
    }
    let mut text = escape_html(plugin.description.trim());
    if !facts.is_empty() {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&facts.join(" · "));
    }
    text
}

/// Whether `url` is a web address that can stand in a Markdown link as it is.
fn is_link(url: &str) -> bool {
    let unfit = |c: char| c.is_whitespace() || c.is_control() || "()<>\\\"`".contains(c);
    (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(unfit)
}

/// Markdown without HTML.
fn escape_html(markdown: &str) -> String {
    markdown
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Plain text as one line of Markdown.
fn escape(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '#' | '|' | '~' => {
                markdown.extend(['\\', c]);
            }
            c if c.is_control() => markdown.push(' '),
            c => markdown.push(c),
        }
    }
    escape_html(&markdown)
}

/// The envelope around `data`.
fn envelope(data: Value) -> Value {
    json!({
        "type": "object",
        "required": ["status", "message", "timestamp", "data"],
        "properties": {
            "status": { "type": "integer", "description": "The HTTP status", "examples": [200] },
            "message": { "type": "string", "examples": ["success"] },
            "timestamp": failures::timestamp(),
            "data": data,
        },
    })
}

/// A line of `application/x-ndjson`: an event with its name.
fn line(data: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "id": { "type": "string" },
            "event": { "type": "string" },
            "data": data,
        },
    })
}

/// What a client has to know about streams.
fn events() -> String {
    format!(
        "A stream of events. The schema is that of a `{MESSAGE_CHUNK}` event's data; text comes as \
         `{{\"content\": \"..\"}}`. `{FINISH}`, with `{{}}`, ends a stream that went well, `{ERROR}`, with a \
         `FrameX.ErrorEvent`, one that did not. `{DEBUG}` events are for developers. With \
         `Accept: {NDJSON}` each event is a line `{{\"event\": \"..\", \"data\": ..}}`."
    )
}

/// `schema`, any JSON Schema, as one of utoipa's.
///
/// Its own types know a part of JSON Schema only; what an object's extensions
/// hold is written beside its keywords, whatever it is.
fn embed(schema: Value) -> Schema {
    let Value::Object(keywords) = schema else {
        return embed(json!({}));
    };
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .extensions(Some(keywords.into_iter().collect()))
        .into()
}

fn content(schema: Value) -> Content {
    Content::new(Some(embed(schema)))
}

fn required(yes: bool) -> Required {
    if yes { Required::True } else { Required::False }
}

/// `text`, if there is any.
fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Names that were given out, each once.
#[derive(Default)]
struct Unique(HashSet<String>);

impl Unique {
    /// `wanted`, with a number behind it if it is taken.
    fn take(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut number = 1;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        name
    }
}
