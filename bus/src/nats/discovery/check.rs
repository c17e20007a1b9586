//! Whether to believe what a service says of its APIs.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use framex_core::descriptor::{ApiDescriptor, ApiKind, PluginMetadata, ReplyShape};
use framex_core::id::ApiId;
use framex_core::route::API_PREFIX;
use serde_json::Value;

use super::digest;

/// The longest name and the longest version.
pub(super) const LONGEST_NAME: usize = 128;
/// The most APIs of one plugin.
pub(super) const MOST_APIS: usize = 4096;
/// The largest description of an API or a plugin, in bytes of JSON.
const LARGEST: usize = 256 * 1024;
/// All descriptors that are known at one time, in bytes of JSON.
const ALL_TOGETHER: usize = 64 * 1024 * 1024;
const MOST_ROUTES: usize = 16;
const MOST_PARAMETERS: usize = 256;
const LONGEST_PATH: usize = 1024;
/// No call takes longer, whatever its API says.
const LONGEST_CALL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// An API as somebody describes it, found to make sense.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) descriptor: Arc<ApiDescriptor>,
    /// Tells it from other descriptions of the same API.
    pub(super) digest: String,
    weight: usize,
    total: Rc<Cell<usize>>,
}

impl Drop for Described {
    fn drop(&mut self) {
        self.total.set(self.total.get().saturating_sub(self.weight));
    }
}

/// Descriptions by API and digest: each is asked for once, and forgotten when
/// nobody serves it any more.
#[derive(Default)]
pub(super) struct Shelf {
    known: RefCell<HashMap<(ApiId, String), Weak<Described>>>,
    total: Rc<Cell<usize>>,
}

impl Shelf {
    pub(super) fn get(&self, api: &ApiId, digest: &str) -> Option<Rc<Described>> {
        let known = self.known.borrow();
        known.get(&(api.clone(), digest.to_owned()))?.upgrade()
    }

    /// Reads and checks what a service says of its API `api`. Whoever `announced`
    /// a digest is held to it: it counts for others too.
    pub(super) fn put(
        &self,
        api: &ApiId,
        json: &[u8],
        announced: Option<&str>,
        extra: &Extra<'_>,
    ) -> Result<Rc<Described>, String> {
        if announced.is_some_and(|announced| announced != digest(json)) {
            return Err("what it describes is not what its digest announces".into());
        }
        let total = self.total.get() + json.len();
        if total > ALL_TOGETHER {
            return Err(format!(
                "the descriptions of all APIs together have more than {ALL_TOGETHER} bytes"
            ));
        }
        let descriptor = descriptor(api, json, extra)?;
        let digest = match announced {
            Some(announced) => announced.to_owned(),
            None => digest(&serde_json::to_vec(&descriptor).unwrap_or_default()),
        };
        if let Some(known) = self.get(api, &digest) {
            return Ok(known);
        }
        self.total.set(total);
        let described = Rc::new(Described {
            descriptor: Arc::new(descriptor),
            digest: digest.clone(),
            weight: json.len(),
            total: Rc::clone(&self.total),
        });
        let mut known = self.known.borrow_mut();
        if known.len() == known.capacity() {
            known.retain(|_, described| described.strong_count() > 0);
        }
        known.insert((api.clone(), digest), Rc::downgrade(&described));
        Ok(described)
    }
}

/// What is known of an API besides its description.
#[derive(Debug, Default)]
pub(super) struct Extra<'a> {
    /// It is of our own kind: its author had the macros' checks.
    pub(super) native: bool,
    /// Its routes, if the description names none.
    pub(super) routes: Option<&'a str>,
    /// Its kind, if the description has no routes either.
    pub(super) kind: Option<&'a str>,
}

fn descriptor(api: &ApiId, json: &[u8], extra: &Extra<'_>) -> Result<ApiDescriptor, String> {
    if json.len() > LARGEST {
        return Err(format!(
            "its description has {} bytes, more than {LARGEST}",
            json.len()
        ));
    }
    let read = |error: serde_json::Error| format!("its description cannot be read: {error}");
    let mut api = ApiDescriptor::read(api, json).map_err(read)?;
    if let (true, Some(routes)) = (api.routes.is_empty(), extra.routes) {
        let routes = routes.split(',').map(|route| Value::from(route.trim()));
        api.routes = serde_json::from_value(routes.collect()).map_err(read)?;
    }
    if api.routes.is_empty() {
        api.kind = ApiKind::Func;
    } else if api.kind == ApiKind::Func && extra.kind == Some("func") {
        return Err("it is `func`, for the bus only, and names a route".into());
    } else if api.kind == ApiKind::Func {
        api.kind = ApiKind::All;
    }
    api.timeout = api.timeout.map(|timeout| timeout.min(LONGEST_CALL));
    routes(&api, extra.native)?;
    parameters(&api)?;
    framex_core::expand::check(&api)?;
    Ok(api)
}

fn routes(api: &ApiDescriptor, native: bool) -> Result<(), String> {
    if api.routes.len() > MOST_ROUTES {
        return Err(format!("it has more than {MOST_ROUTES} routes"));
    }
    for route in &api.routes {
        if route.path.len() > LONGEST_PATH {
            return Err(format!("its path has more than {LONGEST_PATH} bytes"));
        }
        // What its upstream knows, a bridged one may know too.
        if !api.bridged && !METHODS.contains(&route.method.as_str()) {
            return Err(format!(
                "its route `{route}` has another method than {}",
                METHODS.join(", ")
            ));
        }
        // Authors in Rust may leave the prefix out, and mean it. Which paths are
        // an edge's own, the edge knows.
        let prefixed = route
            .path
            .strip_prefix(API_PREFIX)
            .is_some_and(|rest| rest.starts_with('/'));
        if !prefixed && !native || !route.path.starts_with('/') {
            return Err(format!(
                "its route `{route}` does not begin with {API_PREFIX}/"
            ));
        }
    }
    Ok(())
}

fn parameters(api: &ApiDescriptor) -> Result<(), String> {
    if api.parameters.len() > MOST_PARAMETERS {
        return Err(format!("it has more than {MOST_PARAMETERS} parameters"));
    }
    let mut names = BTreeSet::new();
    for parameter in &api.parameters {
        let name = &parameter.name;
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err("one of its parameters has no name that could be used".into());
        }
        if !names.insert(name) {
            return Err(format!("it has two parameters called `{name}`"));
        }
        if !is_schema(&parameter.schema) {
            return Err(format!("the schema of its parameter `{name}` is none"));
        }
    }
    let bodies = api
        .parameters
        .iter()
        .filter(|parameter| parameter.location.is_whole_body());
    let bodies = bodies.count();
    if bodies > 1 || bodies == 1 && api.multipart() {
        return Err("it has more than one body".into());
    }
    let answer = match &api.reply {
        ReplyShape::Value { schema } | ReplyShape::Stream { schema } => Some(schema),
        ReplyShape::Response => None,
    };
    let mut others = answer.into_iter().chain(api.components.values());
    if others.any(|schema| !is_schema(schema)) {
        return Err("one of its schemas is none".into());
    }
    if api.operation.as_ref().is_some_and(|o| !o.is_object()) {
        return Err("its operation is none".into());
    }
    Ok(())
}

fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

/// Reads what the plugin `name` says of itself.
pub(super) fn plugin(name: &str, json: &[u8]) -> Result<PluginMetadata, String> {
    if json.len() > LARGEST {
        return Err(format!("its description has more than {LARGEST} bytes"));
    }
    let plugin: PluginMetadata = serde_json::from_slice(json)
        .map_err(|error| format!("its description cannot be read: {error}"))?;
    if plugin.name != name {
        return Err("it describes another plugin than itself".into());
    }
    Ok(plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, native: bool) -> Result<ApiDescriptor, String> {
        let extra = Extra {
            native,
            ..Extra::default()
        };
        descriptor(&ApiId::parse("a.B.c").unwrap(), json.as_bytes(), &extra)
    }

    #[test]
    fn lies_are_refused_with_the_reason() {
        let long = format!(r#"{{"summary":"{}"}}"#, "x".repeat(LARGEST));
        let deep = format!(r#"{{"parameters":{}"#, "[".repeat(100_000));
        for (json, reason) in [
            ("", "cannot be read"),
            ("[]", "cannot be read"),
            (&*deep, "cannot be read"),
            (r#"{"id":"x.Y.z"}"#, "describes itself as"),
            (r#"{"routes":["GET /health"]}"#, "/api/v1/"),
            (r#"{"routes":["GET /api/v1x"]}"#, "/api/v1/"),
            (r#"{"routes":["GET /api/v1/a//b"]}"#, "empty segment"),
            (r#"{"routes":["GET /api/v1/{x}"]}"#, "do not agree"),
            (r#"{"routes":["BREW /api/v1/x"]}"#, "another method"),
            (
                r##"{"reply":{"schema":{"$ref":"#/components/schemas/X"}}}"##,
                "nothing describes",
            ),
            (r#"{"reply":{"schema":7}}"#, "schemas is none"),
            (r#"{"operation":[]}"#, "operation is none"),
            (
                r#"{"parameters":[{"name":"x"},{"name":"x"}]}"#,
                "two parameters",
            ),
            (r#"{"parameters":[{"name":""}]}"#, "no name"),
            (
                r#"{"parameters":[{"name":"x","schema":"string"}]}"#,
                "schema of its parameter",
            ),
            (&*long, "more than"),
        ] {
            let refused = read(json, false).expect_err(json);
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_meaning() {
        let func = read("{}", false).unwrap();
        assert_eq!((func.kind, func.routes.len()), (ApiKind::Func, 0));
        let extra = Extra {
            routes: Some("GET /api/v1/c, POST /api/v1/c"),
            ..Extra::default()
        };
        let id = ApiId::parse("a.B.c").unwrap();
        let named = descriptor(&id, b"{}", &extra).unwrap();
        assert_eq!(named.routes[1].to_string(), "POST /api/v1/c");
        assert!(read(r#"{"routes":["GET /plain"]}"#, true).is_ok());
        // What its upstream takes in a URL is not ours to say.
        let bridged = r#"{"bridged":true,"routes":["QUERY /x"],
            "parameters":[{"name":"a","schema":{"type":"object"}}]}"#;
        assert!(read(bridged, true).is_ok());
    }

    #[test]
    fn a_time_limit_cannot_break_the_clock() {
        let api = read(r#"{"timeout_ms":18446744073709551615}"#, false).unwrap();
        assert_eq!(api.timeout, Some(LONGEST_CALL));
    }

    #[test]
    fn a_digest_is_a_promise() {
        let shelf = Shelf::default();
        let id = ApiId::parse("a.B.c").unwrap();
        let extra = Extra::default();
        assert!(shelf.put(&id, b"{}", Some("0"), &extra).is_err());
        let right = digest(b"{}");
        let first = shelf.put(&id, b"{}", Some(&right), &extra).unwrap();
        assert!(Rc::ptr_eq(&first, &shelf.get(&id, &right).unwrap()));
        assert_eq!(shelf.total.get(), 2);
        drop(first);
        assert!(shelf.get(&id, &right).is_none());
        assert_eq!(shelf.total.get(), 0);
    }
}
