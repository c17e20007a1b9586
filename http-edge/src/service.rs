//! The edge's own paths: documents, health, version.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use framex_bus::Catalog;
use framex_core::error::Error;
use framex_core::route::Route;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::auth::Rules;
use crate::body::EdgeBody;
use crate::docs::Docs;
use crate::metrics;
use crate::openapi;
use crate::problem::{self, JSON};
use crate::status::Status;

/// Where the OpenAPI document is.
pub(crate) const OPENAPI: &str = "/api/v1/openapi.json";

/// The paths that no plugin can have.
pub(crate) const PATHS: [&str; 8] = [
    "/health", "/ready", "/ping", "/version", "/metrics", "/docs", "/redoc", OPENAPI,
];

/// What can be done with them.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Below it are the streams that are kept.
pub(crate) const STREAMS: &str = "/api/v1/streams/";

/// Whether the edge answers `path` itself.
pub(crate) fn reserved(path: &str) -> bool {
    let below = ["/docs/", "/redoc/", STREAMS];
    PATHS.contains(&path) || below.into_iter().any(|prefix| path.starts_with(prefix))
}

/// Whether `path` leads to something of ours now.
pub(crate) fn is_ours(path: &str, docs: &Docs, headers: &HeaderMap) -> bool {
    PATHS.contains(&path) || docs.get(path, headers).is_some()
}

/// The OpenAPI document of one catalog, written when it is first asked for.
#[derive(Default)]
pub(crate) struct Document {
    catalog: Arc<Catalog>,
    version: String,
    rules: Rules,
    bytes: OnceLock<Bytes>,
}

impl Document {
    pub(crate) fn new(catalog: Arc<Catalog>, version: &str, rules: Rules) -> Self {
        Self {
            catalog,
            version: version.to_owned(),
            rules,
            bytes: OnceLock::new(),
        }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let write = || {
            let protected = |route: &Route| self.rules.of(&route.path).is_some();
            let options = openapi::Options::new(self.version.clone(), &protected);
            let document = openapi::document(&self.catalog, &options);
            serde_json::to_vec(&document).unwrap_or_default().into()
        };
        self.bytes.get_or_init(write).clone()
    }
}

/// The answer of a path of ours; `None` elsewhere.
pub(crate) fn answer(
    parts: &http::request::Parts,
    status: &Status,
    docs: &Docs,
    openapi: impl FnOnce() -> Bytes,
) -> Option<Result<Response<EdgeBody>, Error>> {
    let path = parts.uri.path();
    if path == "*" && parts.method == Method::OPTIONS {
        // The server as a whole (RFC 9110, 9.3.7).
        return Some(Ok(allow(&METHODS)));
    }
    if !reserved(path) {
        return None;
    }
    let page = docs.get(path, &parts.headers);
    if !PATHS.contains(&path) && page.is_none() {
        return None;
    }
    match parts.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Some(Ok(allow(&METHODS))),
        _ => return Some(Err(problem::method_not_allowed(&METHODS))),
    }
    if let Some(page) = page {
        return Some(Ok(page.map(EdgeBody::full)));
    }
    let mut response = match path {
        "/health" => json_answer(StatusCode::OK, &json!("ok")),
        "/ping" => json_answer(StatusCode::OK, &json!("pong")),
        "/version" => json_answer(StatusCode::OK, &json!(status.version())),
        "/ready" => {
            let (code, readiness) = status.readiness();
            json_answer(code, &json!(readiness))
        }
        "/metrics" => metrics_answer(status),
        _ => {
            let mut response = Response::new(EdgeBody::full(openapi()));
            response.headers_mut().insert(CONTENT_TYPE, JSON);
            response
        }
    };
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Some(Ok(response))
}

pub(crate) fn metrics_answer(status: &Status) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::full(metrics::page(status.process())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, metrics::CONTENT_TYPE);
    response
}

/// The answer to OPTIONS.
pub(crate) fn allow(methods: &HeaderValue) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, methods.clone());
    response
}

pub(crate) fn json_answer(code: StatusCode, value: &serde_json::Value) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::full(value.to_string()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
