//! Requests that are passed on as they came: what the edge adds, and which it keeps.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use framex_bus::{Api, Catalog};
use framex_core::descriptor::{ApiDescriptor, ApiKind, PluginMetadata};
use framex_core::id::ApiId;
use http::header::{CONNECTION, FORWARDED, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};

use crate::routes::Entry;
use crate::service;

/// Takes what nobody on the bus answers.
const FALLBACK: &str = "proxy.ProxyPlugin.fall_back";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How answers of the bridge look, where no route of a plugin's says so.
pub(crate) fn entry(heartbeat: Duration) -> Arc<Entry> {
    let id = ApiId::parse(FALLBACK).unwrap_or_else(|_| unreachable!("a valid id"));
    let mut descriptor = ApiDescriptor::new(id, ApiKind::Func);
    descriptor.bridged = true;
    descriptor.raw = true;
    descriptor.max_body_size = Some(u64::MAX);
    let catalog = Catalog::from_descriptors([(PluginMetadata::default(), descriptor)]);
    let api: Option<&Arc<Api>> = catalog.apis().next();
    let api = api.unwrap_or_else(|| unreachable!("the one that was put there"));
    Arc::new(Entry::of_fallback(api, heartbeat))
}

/// Whether a request without a route may be passed on: not to a path of the edge's own, and
/// only what has a path.
pub(crate) fn may(parts: &Parts) -> bool {
    let path = parts.uri.path();
    parts.method != Method::CONNECT && path.starts_with('/') && !service::reserved(path)
}

/// Says who asks, and where, in the headers that others know for it. What the client says of
/// that is not believed. `peer` is whose connection it came on, where that is known.
pub(crate) fn tell_upstream(parts: &mut Parts, peer: Option<IpAddr>) {
    let headers = &mut parts.headers;
    // What the client's connection is about ends here, before anything of ours is said.
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
    for name in [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_REAL_IP] {
        headers.remove(name);
    }
    let authority = parts.uri.authority().map(|a| a.as_str().to_owned());
    let host = authority.and_then(|host| HeaderValue::try_from(host).ok());
    if let Some(host) = host.or_else(|| headers.get(HOST).cloned()) {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if let Some(Ok(address)) = peer.map(|peer| HeaderValue::try_from(peer.to_string())) {
        headers.insert(X_FORWARDED_FOR, address);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
}
