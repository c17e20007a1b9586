//! Documents: what an upstream says of itself in OpenAPI 3.0 or 3.1, as JSON or YAML, becomes
//! operations that can be served.
//!
//! # Promises
//!
//! - An operation that cannot be used costs nothing but itself, and says why.
//! - The same document gives the same operations, with the same names.
//! - No document makes this take much: values, depth, references, time, and what operations may
//!   say of themselves, each and together, have bounds.
//! - Nothing outside of the document is looked at: references and servers lead to no other host.
//! - No upstream's address is in a text of an operation.
//!
//! | module | its secret |
//! |---|---|
//! | `text` | JSON and YAML |
//! | `scrub` | addresses in texts |
//! | `budget` | how long a document may take |
//! | `refs` | what `#/...` means |
//! | `schemas` | converted schemas and their names |
//! | `upgrade` | schemas of 3.0 in the words of 3.1 |
//! | `objects` | an operation's objects without references |
//! | `servers` | what paths begin with |
//! | `names` | what operations are called |
//! | `template` | paths |
//! | `parameters` | what stands in paths, queries and headers |
//! | `body` | what bodies are made of |
//! | `describe` | an operation |
//! | `written` | how documents show it |
//! | `known` | which operation a request means |

mod body;
mod budget;
mod describe;
mod known;
mod names;
mod objects;
mod parameters;
mod refs;
mod schemas;
mod scrub;
mod servers;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod upgrade;
mod written;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use framex_core::route::shape;
use http::Method;
use serde_json::{Map, Value};

use budget::Budget;
use describe::{Entry, MOST_OPERATIONS, Reader};
pub(crate) use known::{Known, Meant};
use refs::{Object, Source};
use scrub::Addresses;

use super::operation::Operation;
use super::upstream::{Site, Upstream};

/// The methods that operations have, as documents write them.
const METHODS: [&str; 9] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace", "query",
];

/// Where a FrameX system runs functions for others: it is called, never published.
const REMOTE: &str = "/api/v1/proxy/remote";

/// What every FrameX has for itself: this one its own.
const PAGES: [&str; 8] = [
    "/api/v1/openapi.json",
    "/api/v1/streams/{}",
    "/health",
    "/metrics",
    "/openapi.json",
    "/ping",
    "/ready",
    "/version",
];

/// How long a document may take to read.
const LONGEST_READING: Duration = Duration::from_secs(30);
/// The most operations of a document, published or not.
const MOST_KNOWN: usize = 50_000;
/// The most operations of a document that are told one by one to be left out.
const MOST_SKIPPED: usize = 1_000;

/// What a document says.
#[derive(Debug)]
pub(crate) struct Imported {
    /// What the service is called.
    pub(crate) title: String,
    /// Its version, in its own words.
    pub(crate) version: String,
    /// Whether it is a FrameX system, whose answers come in envelopes.
    pub(crate) is_framex: bool,
    /// What is published of it.
    pub(crate) operations: Vec<Operation>,
    /// What would be, if it could.
    pub(crate) skipped: Vec<Skipped>,
    /// Every operation of the document, also those that are not published.
    pub(crate) known: Arc<Known>,
}

/// An operation that is not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Which: `GET /x`.
    pub(crate) what: String,
    /// Why.
    pub(crate) reason: String,
}

impl Skipped {
    fn new(what: &str, reason: &str) -> Self {
        Self {
            what: short(what),
            reason: short(reason),
        }
    }
}

/// Why a document says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    /// It is broken, or larger than anybody's.
    #[error("it cannot be read as {format}: {reason}")]
    Unreadable {
        /// What it seemed to be.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It is something else.
    #[error("it is no OpenAPI 3.0 or 3.1 document: {0}")]
    NotOpenApi(String),
    /// It would take too much.
    #[error("it is too large: {0}")]
    TooLarge(String),
}

/// Reads the document `text` of `upstream`; `sites` are those that no text of it may name.
///
/// Operations that came through the bridge `bridge` before are left out, and so are those that
/// came through eight: what others only pass on would otherwise stay for ever.
///
/// # Errors
///
/// For what is no document of OpenAPI 3.0 or 3.1; an operation that cannot be used is
/// [`skipped`](Imported::skipped).
pub(crate) fn import(
    text: &[u8],
    upstream: &Upstream,
    sites: &[Site],
    bridge: &str,
) -> Result<Imported, DocumentError> {
    let budget = Budget::new(LONGEST_READING);
    within(&budget, text, upstream, sites, bridge)
}

fn within(
    budget: &Budget,
    text: &[u8],
    upstream: &Upstream,
    sites: &[Site],
    bridge: &str,
) -> Result<Imported, DocumentError> {
    let mut root = text::read(text)?;
    Addresses::new(upstream, sites).scrub(&mut root);
    let old = is_3_0(&root)?;
    let info = &root["info"];
    let title = text_of(&info["title"]);
    let is_framex = title == "FrameX API" || root.get("x-framex").is_some();
    let mut imported = Imported {
        version: text_of(&info["version"]),
        is_framex,
        operations: Vec::new(),
        skipped: Vec::new(),
        known: Arc::default(),
        title,
    };

    let source = Source {
        root: &root,
        budget,
    };
    let items = items(source, upstream, &mut imported.skipped);
    let found = entries(&items);
    if found.len() > MOST_KNOWN {
        let reason = format!("it has more than {MOST_KNOWN} operations");
        return Err(DocumentError::TooLarge(reason));
    }
    let named: Vec<_> = found
        .iter()
        .map(|(path, method, operation)| {
            let id = operation.get("operationId").and_then(Value::as_str);
            (method.to_string(), *path, id)
        })
        .collect();
    let names = names::names(&named);

    let mut reader = Reader::new(source, old, upstream, bridge, &imported, found.len());
    let mut known = Known::default();
    let mut taken: HashMap<(Method, String), String> = HashMap::new();
    for ((path, method, operation), name) in found.into_iter().zip(names) {
        if budget.is_over() {
            let reason = format!("it takes longer than {LONGEST_READING:?} to read");
            return Err(DocumentError::TooLarge(reason));
        }
        let entry = Entry {
            path,
            method,
            name,
            item: &items[path],
            operation,
        };
        reader.tell(&entry, &mut known);
        if !upstream.published.contains(path) || (is_framex && is_page(path)) {
            continue;
        }
        let what = format!("{} {path}", entry.method);
        if imported.operations.len() == MOST_OPERATIONS {
            let reason = format!("there are {MOST_OPERATIONS} operations before it");
            imported.skipped.push(Skipped::new(&what, &reason));
            continue;
        }
        let read = reader.operation(entry).and_then(|operation| {
            let route = &operation.descriptor.routes[0];
            let place = (route.method.clone(), shape(&route.path));
            match taken.get(&place) {
                Some(first) => Err(format!("`{first}` is the same route")),
                None => {
                    taken.insert(place, what.clone());
                    Ok(operation)
                }
            }
        });
        match read {
            Ok(operation) => imported.operations.push(operation),
            Err(reason) => imported.skipped.push(Skipped::new(&what, &reason)),
        }
    }
    imported.known = Arc::new(known);
    let more = imported.skipped.len().saturating_sub(MOST_SKIPPED);
    if more > 0 {
        imported.skipped.truncate(MOST_SKIPPED);
        let reason = "there are too many to tell them all";
        let rest = Skipped::new(&format!("{more} others"), reason);
        imported.skipped.push(rest);
    }
    Ok(imported)
}

/// Whether `path` is one of [`PAGES`], or one that shows documents.
fn is_page(path: &str) -> bool {
    let shows = |page: &str| path == page || path.starts_with(&format!("{page}/"));
    PAGES.contains(&&*shape(path)) || shows("/docs") || shows("/redoc")
}

/// Whether the document is OpenAPI 3.0, not 3.1.
fn is_3_0(root: &Value) -> Result<bool, DocumentError> {
    let refuse = |what: String| Err(DocumentError::NotOpenApi(what));
    if !root.is_object() {
        return refuse("it is no object".into());
    }
    let version = text_of(&root["openapi"]);
    let of = |minor: &str| version == minor || version.starts_with(&format!("{minor}."));
    match (of("3.0"), of("3.1")) {
        (old, new) if old || new => {}
        _ if !version.is_empty() => return refuse(format!("its version is {version}")),
        _ => match text_of(&root["swagger"]) {
            swagger if swagger.is_empty() => return refuse("it has no `openapi`".into()),
            swagger => return refuse(format!("it is Swagger {swagger}; convert it to OpenAPI")),
        },
    }
    match &root["paths"] {
        Value::Object(_) | Value::Null => Ok(of("3.0")),
        _ => refuse("its `paths` are no object".into()),
    }
}

/// The paths of the document, with their references followed.
fn items<'a>(
    source: Source<'a>,
    upstream: &Upstream,
    skipped: &mut Vec<Skipped>,
) -> BTreeMap<&'a str, Object<'a>> {
    let paths = source.root["paths"].as_object().into_iter().flatten();
    let paths = paths.filter(|(path, _)| !path.starts_with("x-"));
    let mut items = BTreeMap::new();
    for (path, item) in paths {
        match source.object(item, |_| true) {
            Ok(item) => {
                items.insert(path.as_str(), item);
            }
            Err(reason) if upstream.published.contains(path) => {
                skipped.push(Skipped::new(path, &reason));
            }
            Err(_) => {}
        }
    }
    items
}

type Found<'i> = (&'i str, Method, &'i Map<String, Value>);

/// Every operation, in the order of paths and methods.
fn entries<'i>(items: &'i BTreeMap<&'i str, Object<'i>>) -> Vec<Found<'i>> {
    let of_path = |(path, item): (&&'i str, &'i Object<'i>)| {
        let path = *path;
        METHODS.into_iter().filter_map(move |name| {
            let method = Method::from_bytes(name.to_ascii_uppercase().as_bytes()).ok()?;
            Some((path, method, item.get(name)?.as_object()?))
        })
    };
    items.iter().flat_map(of_path).collect()
}

/// The longest text of a document that stands in ours, or in the log.
const LONGEST_TEXT: usize = 200;

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text or a number, as documents in YAML mix them up.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => short(text.trim()),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}
