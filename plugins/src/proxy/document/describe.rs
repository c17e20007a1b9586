//! An operation: from what the document says to what is published.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use framex_core::descriptor::{ApiDescriptor, ApiKind, ReplyShape};
use framex_core::expand::check;
use framex_core::id::ApiId;
use framex_core::route::Route;
use http::Method;
use serde_json::{Map, Value, json};

use super::body::{self, essence, is_json};
use super::objects::Objects;
use super::parameters::{arguments, merged, ordered, takes_rest};
use super::refs::{Object, Source};
use super::schemas::{Schemas, references};
use super::template::{self, Template};
use super::written::{EVENTS, Written};
use super::{Imported, Known, Meant, REMOTE, is_page, servers};
use crate::proxy::operation::{Operation, Shape};
use crate::proxy::upstream::Upstream;

/// The bridges that an operation came through.
pub(super) const VIA: &str = "x-framex-via";
const MOST_BRIDGES: usize = 8;

/// How much a descriptor may say, in bytes of JSON: what goes over every bus.
const ROOM: usize = 160 * 1024;
/// What the schemas of all operations together may take.
const ROOM_FOR_SCHEMAS: usize = 24 * 1024 * 1024;

/// What all operations may take together.
const ROOM_FOR_ALL: usize = 32 * 1024 * 1024;
/// The most operations that are published of one document.
pub(super) const MOST_OPERATIONS: usize = 4_000;

/// How long a call may take that has a body to send.
const UPLOADING: Duration = Duration::from_secs(60 * 60);

/// Titles that frameworks give to services whose authors gave none.
const NO_TITLES: [&str; 7] = [
    "",
    "api",
    "fastapi",
    "framex api",
    "openapi definition",
    "swagger ui",
    "api documentation",
];

/// Reads the operations of one document.
pub(super) struct Reader<'a> {
    source: Source<'a>,
    schemas: Schemas<'a>,
    upstream: &'a Upstream,
    bridge: &'a str,
    is_framex: bool,
    tag: String,
    /// What the schemas of one operation may take.
    share: usize,
    /// What is left for operations to take.
    left: usize,
}

/// An operation as the document has it.
pub(super) struct Entry<'i> {
    pub(super) path: &'i str,
    pub(super) method: Method,
    /// Its name among the upstream's.
    pub(super) name: String,
    pub(super) item: &'i Map<String, Value>,
    pub(super) operation: &'i Map<String, Value>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        source: Source<'a>,
        old: bool,
        upstream: &'a Upstream,
        bridge: &'a str,
        document: &Imported,
        operations: usize,
    ) -> Self {
        let title = document.title.as_str();
        let untitled = NO_TITLES.contains(&title.to_lowercase().as_str());
        Self {
            source,
            schemas: Schemas::new(source, old),
            upstream,
            bridge,
            is_framex: document.is_framex,
            tag: if untitled { &upstream.name } else { title }.to_owned(),
            share: ROOM_FOR_SCHEMAS / operations.clamp(1, MOST_OPERATIONS),
            left: ROOM_FOR_ALL,
        }
    }

    /// Tells `known` of `entry`, whether it is published or not.
    pub(super) fn tell(&self, entry: &Entry<'_>, known: &mut Known) {
        self.source.budget.renew();
        let template = template::read(entry.path).ok();
        let own = entry.operation.get("parameters");
        let rest = template.as_ref().is_some_and(|template| {
            let declared = merged(self.source, entry.item.get("parameters"), own);
            declared.is_ok_and(|declared| takes_rest(&declared, template))
        });
        let meant = Meant {
            template: template.map_or_else(|| entry.path.to_owned(), |template| template.path),
            guarded: self.guarded(entry),
            published: self.upstream.published.contains(entry.path)
                && !(self.is_framex && (entry.path == REMOTE || is_page(entry.path))),
        };
        known.add(entry.method.clone(), entry.path, rest, meant);
    }

    /// Whether it is for those only who have a key.
    fn guarded(&self, entry: &Entry<'_>) -> bool {
        let upstream = self.upstream;
        let asks =
            upstream.keys.key_for(entry.path).is_some() || self.asks_for_a_key(entry.operation);
        asks && !upstream.public.contains(entry.path)
    }

    /// What `entry` is published as.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub(super) fn operation(&mut self, entry: Entry<'_>) -> Result<Operation, String> {
        let upstream = self.upstream;
        if self.is_framex && entry.path == REMOTE {
            return Err("functions for other systems are called, not passed on".into());
        }
        self.source.budget.renew();
        let via = self.via(entry.operation)?;
        let template = template::read(entry.path)?;
        let own = entry.operation.get("parameters");
        let declared = merged(self.source, entry.item.get("parameters"), own)?;
        let path = match takes_rest(&declared, &template) {
            true => template.with_rest(),
            false => template.path.clone(),
        };
        let published = format!("{}{path}", upstream.prefix);
        framex_core::route::parameters(&published)?;
        let base = servers::base(
            [
                entry.operation.get("servers"),
                entry.item.get("servers"),
                self.source.root.get("servers"),
            ],
            &upstream.path,
        )?;

        let mut objects = self.objects(&entry, &declared, &template, true)?;
        if objects.size() > ROOM / 2 {
            objects = self.objects(&entry, &declared, &template, false)?;
        }
        let id = format!("proxy.{}.{}", upstream.name, entry.name);
        let id = ApiId::parse(&id).map_err(|error| error.to_string())?;
        let mut api = ApiDescriptor::new(id, ApiKind::Http);
        api.routes = vec![Route {
            method: entry.method.clone(),
            path: published,
        }];
        let text = |key: &str| {
            let texts = [entry.operation.get(key), entry.item.get(key)];
            let text = texts.into_iter().flatten().find_map(Value::as_str);
            text.unwrap_or_default().trim().to_owned()
        };
        api.summary = text("summary");
        api.description = text("description");
        api.deprecated = entry.operation.get("deprecated") == Some(&Value::Bool(true));
        api.tags = vec![self.tag.clone()];
        let streams = objects.streams()
            || entry.operation.get("x-framex-stream") == Some(&Value::Bool(true))
            || upstream.streams.contains(entry.path);
        api.reply = self.reply(&objects.responses, streams);
        let (arguments, mut parameters) = arguments(&objects.parameters);
        let body = objects.request_body.as_ref().map(|object| {
            let (body, fields) = body::read(object, &mut self.schemas);
            parameters.extend(fields);
            body
        });
        let mut seen = HashSet::new();
        parameters.retain(|parameter| seen.insert(parameter.name.clone()));
        api.parameters = parameters;
        self.settings(&mut api, &entry, body.is_some());
        api.operation = Some(objects.operation(&api, entry.operation, &via));
        self.components(&mut api, objects.refers)?;
        Ok(Operation {
            descriptor: api,
            shape: Shape {
                method: entry.method,
                prefix: upstream.prefix.clone(),
                base,
                path: template.path,
                parameters: arguments,
                body,
                streams,
            },
        })
    }

    /// The bridges that it came through, ours added.
    fn via(&self, operation: &Map<String, Value>) -> Result<Vec<String>, String> {
        let via = operation.get(VIA).and_then(Value::as_array);
        let via = via.into_iter().flatten().filter_map(Value::as_str);
        let mut via: Vec<String> = via.map(str::to_owned).collect();
        if via.iter().any(|bridge| bridge == self.bridge) {
            return Err("it is passed on to this bridge by itself".into());
        }
        if via.len() >= MOST_BRIDGES {
            return Err(format!("it came through {} bridges already", via.len()));
        }
        via.push(self.bridge.to_owned());
        Ok(via)
    }

    fn objects(
        &mut self,
        entry: &Entry<'_>,
        declared: &[Object<'_>],
        template: &Template,
        examples: bool,
    ) -> Result<Written, String> {
        let mut objects = Objects {
            source: self.source,
            schemas: &mut self.schemas,
            refers: BTreeSet::new(),
            examples,
        };
        let mut parameters = Vec::new();
        for parameter in declared {
            parameters.push(objects.parameter(parameter)?);
        }
        let request_body = match entry.operation.get("requestBody") {
            None | Some(Value::Null) => None,
            Some(body) => Some(objects.request_body(body)?),
        };
        let responses = objects.responses(entry.operation.get("responses"))?;
        Ok(Written {
            parameters: ordered(parameters, template)?,
            request_body,
            responses,
            refers: objects.refers,
        })
    }

    /// What is answered: for the plugins that call it, without a FrameX system's envelope.
    fn reply(&mut self, responses: &Map<String, Value>, streams: bool) -> ReplyShape {
        let any = || json!({});
        let contents = |response: &Value, wanted: &dyn Fn(&str) -> bool| {
            let mut content = response["content"].as_object()?.iter();
            let (_, media) = content.find(|(name, _)| wanted(&essence(name)))?;
            Some(media.get("schema").cloned().unwrap_or_else(any))
        };
        let good = responses
            .iter()
            .filter(|(status, _)| status.starts_with('2'));
        let mut good = good.map(|(status, response)| (status.as_str(), response));
        if streams {
            let schema = good.find_map(|(_, response)| contents(response, &|name| name == EVENTS));
            return ReplyShape::Stream {
                schema: schema.unwrap_or_else(any),
            };
        }
        let Some((status, response)) = good.next() else {
            return ReplyShape::Response;
        };
        let json = contents(response, &|name| is_json(name) || name == "*/*");
        match json {
            Some(schema) if self.is_framex => ReplyShape::Value {
                schema: self.without_envelope(schema),
            },
            Some(schema) => ReplyShape::Value { schema },
            None if response.get("content").is_some() => ReplyShape::Response,
            None if matches!(status, "204" | "205") => ReplyShape::Value {
                schema: json!({ "type": "null" }),
            },
            None => ReplyShape::Value { schema: any() },
        }
    }

    fn without_envelope(&mut self, schema: Value) -> Value {
        let name = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        let described = name.and_then(|name| self.schemas.get(name).cloned());
        let properties = &described.as_ref().unwrap_or(&schema)["properties"];
        let enveloped = ["status", "message", "timestamp"]
            .iter()
            .all(|name| properties.get(name).is_some());
        match properties.get("data") {
            Some(data) if enveloped => data.clone(),
            _ => schema,
        }
    }

    /// What does not come from the document alone.
    fn settings(&self, api: &mut ApiDescriptor, entry: &Entry<'_>, has_body: bool) {
        let upstream = self.upstream;
        // Many documents do not mention the bodies of these.
        let uploads = has_body || ["POST", "PUT", "PATCH"].contains(&entry.method.as_str());
        // Who gives up first is who knows why.
        let usual = Duration::from_secs(upstream.timeout.as_secs() + 1);
        api.timeout = Some(if uploads { usual.max(UPLOADING) } else { usual });
        api.max_body_size = uploads.then_some(u64::MAX);
        api.idempotent = entry.method.is_safe();
        api.raw = !upstream.envelope;
        api.headers = true;
        api.live = true;
        api.bridged = true;
        api.guarded = self.guarded(entry);
    }

    /// Whether nobody is served without a key of some kind.
    fn asks_for_a_key(&self, operation: &Map<String, Value>) -> bool {
        let own = operation.get("security");
        match own.or_else(|| self.source.root.get("security")) {
            None | Some(Value::Null) => false,
            Some(Value::Array(ways)) => {
                let free = |way: &Value| way.as_object().is_some_and(Map::is_empty);
                !ways.is_empty() && !ways.iter().any(free)
            }
            Some(_) => true,
        }
    }

    /// Gives `api` the schemas that it needs.
    fn components(
        &mut self,
        api: &mut ApiDescriptor,
        mut refers: BTreeSet<String>,
    ) -> Result<(), String> {
        for parameter in &api.parameters {
            references(&parameter.schema, &mut refers);
        }
        if let ReplyShape::Value { schema } | ReplyShape::Stream { schema } = &api.reply {
            references(schema, &mut refers);
        }
        let said = serde_json::to_vec(api).map_or(usize::MAX, |json| json.len());
        let Some(left) = ROOM.checked_sub(said) else {
            return Err(format!("its description is larger than {ROOM} bytes"));
        };
        api.components = self.schemas.components(&refers, left.min(self.share))?;
        let components = serde_json::to_vec(&api.components).map_or(usize::MAX, |json| json.len());
        check(api)?;
        let left = self.left.checked_sub(said.saturating_add(components));
        self.left = left.ok_or(NO_ROOM)?;
        Ok(())
    }
}

/// Why an operation is left out that is too much beside the others.
const NO_ROOM: &str = "the document's operations are too large together";
