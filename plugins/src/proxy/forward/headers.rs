//! Which headers go to an upstream, and which of its answers come back.
//!
//! | header | to the upstream | to the client |
//! |---|---|---|
//! | `Connection` and what it lists, `Keep-Alive`, `Proxy-*`, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade` | never: they are about one connection | never |
//! | `Host` | the upstream's | |
//! | `Expect` | never: the edge has answered it | |
//! | `Content-Length` | as the body is | as the body is |
//! | `Content-Type` | as the body's | as it is |
//! | `Authorization` | our key for the path; else the client's, if `forward_authorization` says so | |
//! | `Cookie` | without those called `framex*` | |
//! | `Authorization`, `Cookie`, our key of a `TRACE` | never: servers send it back | |
//! | `X-Forwarded-For`, `-Host`, `-Proto` | as the edge says, whatever `Connection` lists | as they are |
//! | other `X-Forwarded-*`, `X-Original-*`, `X-Rewrite-*`, `Proxy` | never: some servers believe them more than the request | as they are |
//! | names that are one of these but for a `_` in place of a `-` | never: to some they are the same | as they are |
//! | `Set-Cookie` | | as it is |
//! | `x-request-id`, `traceparent` | the call's | the edge's |
//! | `x-framex-trail` | the call's, and this bridge | never |
//! | other `x-framex-*` | never | never |
//! | `Alt-Svc` | | never: it speaks of another server |
//! | `Location`, `Content-Location` | | the upstream's own become paths of ours |
//! | all others | as they are, all of a name | as they are, all of a name |
//!
//! What a plugin asks has of the headers of the HTTP request at the beginning only those that
//! are about who asks: see [`FROM_THE_BEGINNING`].

use framex_core::context::{Context, TRAIL};
use http::header::{
    ACCEPT, ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, Entry,
    FORWARDED, HOST, HeaderName, TRAILER, TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Of a plugin's call, which headers of the HTTP request at the beginning are sent.
const FROM_THE_BEGINNING: [HeaderName; 6] = [
    http::header::ACCEPT_LANGUAGE,
    FORWARDED,
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// What we call ourselves, where no client says what it is.
pub(super) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("framex/", env!("CARGO_PKG_VERSION")));

/// What is said to an upstream besides what the client says.
pub(super) struct Told<'a> {
    pub(super) host: &'a HeaderValue,
    /// Our key for the path.
    pub(super) key: Option<HeaderValue>,
    /// Whether the client's may go there, if there is none.
    pub(super) forward_authorization: bool,
    pub(super) trail: HeaderValue,
}

impl Told<'_> {
    /// The same, as far as a request of `method` may say it: the answer to a `TRACE` is the
    /// request.
    fn to(mut self, method: &Method) -> Self {
        if *method == Method::TRACE {
            (self.key, self.forward_authorization) = (None, false);
        }
        self
    }
}

/// Of a client's request.
pub(super) fn passed(
    ctx: &Context,
    told: Told<'_>,
    method: &Method,
    content_type: &str,
) -> HeaderMap {
    let from = ctx.headers();
    let mut to = HeaderMap::with_capacity(from.len() + 6);
    let listed = Listed::of(from);
    let mut cookies = Vec::new();
    for (name, value) in from {
        if stays(name) || listed.has(name) && !is_the_edges(name.as_str()) {
            continue;
        }
        if *name == COOKIE {
            // HTTP/2 has them in several fields, HTTP/1.1 in one.
            if *method != Method::TRACE {
                cookies.extend(foreign_cookies(value));
            }
            continue;
        }
        to.append(name.clone(), value.clone());
    }
    let cookies: Vec<&[u8]> = cookies.iter().map(HeaderValue::as_bytes).collect();
    if let Ok(cookies) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
        && !cookies.is_empty()
    {
        to.insert(COOKIE, cookies);
    }
    // Over a bus it travels with the body.
    if let Ok(value) = HeaderValue::from_str(content_type)
        && !value.is_empty()
    {
        to.insert(CONTENT_TYPE, value);
    }
    tell(&mut to, ctx, told.to(method));
    to
}

/// Of what a plugin asks.
pub(super) fn named(ctx: &Context, told: Told<'_>, method: &Method) -> HeaderMap {
    let from = ctx.headers();
    let mut to = HeaderMap::with_capacity(8);
    for name in FROM_THE_BEGINNING {
        for value in from.get_all(&name) {
            to.append(name.clone(), value.clone());
        }
    }
    let accepted = "application/json, text/event-stream, */*;q=0.5";
    to.insert(ACCEPT, HeaderValue::from_static(accepted));
    to.insert(USER_AGENT, AGENT);
    tell(&mut to, ctx, told.to(method));
    to
}

fn tell(to: &mut HeaderMap, ctx: &Context, told: Told<'_>) {
    to.insert(HOST, told.host.clone());
    to.insert(TRAIL, told.trail);
    to.insert(X_REQUEST_ID, ctx.request_id().header().clone());
    if let Some(trace) = ctx.known_trace()
        && let Ok(value) = HeaderValue::from_str(&trace.child().to_string())
    {
        to.insert(TRACEPARENT, value);
    }
    let sent = ctx.headers().get(AUTHORIZATION);
    let sent = sent.filter(|_| told.forward_authorization).cloned();
    if let Some(mut key) = told.key.or(sent) {
        key.set_sensitive(true);
        to.insert(AUTHORIZATION, key);
    }
}

/// What is never sent on as a client said it; see the table.
pub(super) fn stays(name: &HeaderName) -> bool {
    let name = name.as_str();
    if name.contains('_') {
        let same = name.replace('_', "-");
        return keeps(&same) || is_the_edges(&same) || same == CONTENT_TYPE.as_str();
    }
    keeps(name)
}

fn keeps(name: &str) -> bool {
    is_hop_by_hop(name)
        || is_ours(name)
        || name.starts_with("x-forwarded-") && !is_the_edges(name)
        || name.starts_with("x-original-")
        || name.starts_with("x-rewrite-")
        || matches!(
            name,
            "host"
                | "expect"
                | "content-length"
                | "authorization"
                | "x-request-id"
                | "traceparent"
                | "x-real-ip"
        )
}

/// What the edge says in place of the client.
fn is_the_edges(name: &str) -> bool {
    matches!(
        name,
        "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto"
    )
}

/// Takes out of an answer's headers what is not for the client.
pub(super) fn clean(headers: &mut HeaderMap) {
    let listed = Listed::of(headers);
    let gone = |name: &HeaderName| {
        is_hop_by_hop(name.as_str()) || is_ours(name.as_str()) || listed.has(name)
    };
    // Few have any but these.
    for name in [
        CONNECTION,
        TRANSFER_ENCODING,
        CONTENT_LENGTH,
        TRAILER,
        ALT_SVC,
        X_REQUEST_ID,
    ] {
        headers.remove(name);
    }
    if headers.keys().any(gone) {
        let names: Vec<HeaderName> = headers.keys().filter(|name| gone(name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade"
    ) || name == "proxy"
        || name.starts_with("proxy-")
}

fn is_ours(name: &str) -> bool {
    name.starts_with("x-framex-")
}

/// What `Connection` lists.
struct Listed(Vec<String>);

impl Listed {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(CONNECTION).into_iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let names = texts.flat_map(|text| text.split(',')).map(str::trim);
        let usual = |name: &&str| {
            name.is_empty()
                || name.eq_ignore_ascii_case("keep-alive")
                || name.eq_ignore_ascii_case("close")
        };
        Self(
            names
                .filter(|name| !usual(name))
                .map(str::to_ascii_lowercase)
                .collect(),
        )
    }

    fn has(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|listed| listed == name.as_str())
    }
}

/// The cookies that are not ours; none if all are.
fn foreign_cookies(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = value.as_bytes();
    let ours = |cookie: &&[u8]| cookie.trim_ascii_start().starts_with(b"framex");
    let mut cookies = bytes.split(|b| *b == b';');
    if !cookies.clone().any(|cookie| ours(&cookie)) {
        return Some(value.clone());
    }
    let mut left = Vec::with_capacity(bytes.len());
    for cookie in cookies.by_ref().filter(|cookie| !ours(cookie)) {
        if !left.is_empty() {
            left.extend_from_slice(b"; ");
        }
        left.extend_from_slice(cookie.trim_ascii());
    }
    let left = (!left.is_empty()).then_some(left)?;
    HeaderValue::from_bytes(&left).ok()
}

/// Adds a cookie to those that are there.
pub(super) fn add_cookie(headers: &mut HeaderMap, cookie: &str) -> bool {
    let text = match headers.get(COOKIE).and_then(|value| value.to_str().ok()) {
        Some(cookies) => format!("{cookies}; {cookie}"),
        None => cookie.to_owned(),
    };
    let Ok(value) = HeaderValue::from_str(&text) else {
        return false;
    };
    match headers.entry(COOKIE) {
        Entry::Occupied(mut there) => drop(there.insert(value)),
        Entry::Vacant(free) => drop(free.insert(value)),
    }
    true
}
