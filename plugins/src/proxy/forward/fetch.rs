//! Documents of upstreams.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use framex_core::error::{Error, Result};
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Request, Response, Url};
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use super::connect::Connector;
use super::failure::Failure;
use super::{Forwarder, headers};
use crate::proxy::upstream::Upstream;

/// The largest document, with its coding undone, in bytes.
const MOST: usize = 16 << 20;
/// How long it may take, from the first connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the upstream may send us elsewhere on itself.
const MOST_REDIRECTS: usize = 3;
/// How long a connection is kept: for the next redirect or the next path, and not for the next
/// look, for it could be dead by then.
const IDLE: Duration = Duration::from_secs(1);

/// What came of asking for a document.
#[derive(Clone, Debug)]
pub(crate) enum Fetched {
    /// It is what it was.
    NotModified,
    /// It is this.
    Document {
        /// Its bytes, as they are without any coding.
        body: Bytes,
        /// Its version, to ask with the next time.
        etag: Option<HeaderValue>,
    },
}

/// Why there is no document. The text names no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The upstream answered, and not with a document.
    #[error("the upstream answered {0}")]
    Status(StatusCode),
    /// The way there, or the document itself. `source()` of the error is for the log.
    #[error("{0}")]
    Failed(Error),
}

/// What asks `upstream` for documents, trusting whom `connector` does.
pub(super) fn client(upstream: &Upstream, connector: &Connector) -> reqwest::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(connector.trust())
        .no_proxy()
        // Each path has its own key: see `follow`.
        .redirect(Policy::none())
        .connect_timeout(connector.patience)
        .read_timeout(upstream.timeout)
        .pool_idle_timeout(IDLE)
        .build()
}

/// Asks for the document at `path`, below the URL of the forwarder's upstream.
pub(super) async fn fetch(
    forwarder: &Forwarder,
    path: &str,
    etag: Option<&HeaderValue>,
) -> Result<Fetched, FetchError> {
    let name = &forwarder.upstream.name;
    let fetched = timeout(PATIENCE, follow(forwarder, path, etag));
    let fetched = fetched.await.unwrap_or_else(|_| {
        let text = format!("the upstream `{name}` did not send it within {PATIENCE:?}");
        let error = Error::new(StatusCode::GATEWAY_TIMEOUT, text);
        Err(FetchError::Failed(error.with_code("upstream_timeout")))
    });
    if let Err(FetchError::Failed(error)) = &fetched {
        tracing::debug!(upstream = name, path, ?error, "no document");
    }
    fetched
}

/// Asks, and where the upstream sends us elsewhere on itself, there: each time with the key for
/// that path, and none of them goes to another origin.
async fn follow(
    forwarder: &Forwarder,
    path: &str,
    etag: Option<&HeaderValue>,
) -> Result<Fetched, FetchError> {
    let upstream = &forwarder.upstream;
    let failed = |error| failed(error, upstream);
    let mut url = url(upstream, path).map_err(FetchError::Failed)?;
    for _ in 0..=MOST_REDIRECTS {
        let request = request(forwarder, url.clone(), etag).map_err(FetchError::Failed)?;
        let answer = forwarder.documents.execute(request).await.map_err(failed)?;
        forwarder.breaker.alive();
        match answer.status() {
            StatusCode::OK => {
                let etag = answer.headers().get(ETAG).cloned();
                let body = read(answer, upstream).await?;
                return Ok(Fetched::Document { body, etag });
            }
            StatusCode::NOT_MODIFIED => return Ok(Fetched::NotModified),
            status @ (StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT) => {
                let next = onward(&url, answer.headers());
                url = next.ok_or(FetchError::Status(status))?;
            }
            status => return Err(FetchError::Status(status)),
        }
    }
    Err(bad("the upstream answers each redirect with another one"))
}

fn url(upstream: &Upstream, path: &str) -> Result<Url> {
    let (scheme, authority, base) = (&upstream.scheme, &upstream.authority, &upstream.path);
    let url = Url::parse(&format!("{scheme}://{authority}{base}{path}"));
    let unusable = |error| {
        let text = format!("`{path}` cannot be asked for");
        Error::bad_request(text).with_source(error)
    };
    url.map_err(unusable)
}

/// Where the answer of `url` leads, unless that is somebody else. It is the same origin whatever
/// is in it: of the new URL only the path and the query are taken.
fn onward(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let next = url.join(location).ok()?;
    if next.origin() != url.origin() {
        return None;
    }
    let mut own = url.clone();
    own.set_path(next.path());
    own.set_query(next.query());
    Some(own)
}

fn request(forwarder: &Forwarder, url: Url, etag: Option<&HeaderValue>) -> Result<Request> {
    // Keys are for what is below the upstream's URL.
    let base = self::url(&forwarder.upstream, "")?;
    let own = url.path().strip_prefix(base.path().trim_end_matches('/'));
    let key = match own.filter(|own| own.starts_with('/')) {
        Some(own) => forwarder.key_for(own)?,
        None => None,
    };
    let mut request = Request::new(Method::GET, url);
    let said = request.headers_mut();
    said.insert(USER_AGENT, headers::AGENT);
    let accepted = "application/json, application/yaml;q=0.9, */*;q=0.5";
    said.insert(ACCEPT, HeaderValue::from_static(accepted));
    if let Some(key) = key {
        said.insert(AUTHORIZATION, key);
    }
    if let Some(etag) = etag {
        said.insert(IF_NONE_MATCH, etag.clone());
    }
    Ok(request)
}

/// The body, which is unpacked piece by piece: what is too large is never whole in memory.
async fn read(mut answer: Response, upstream: &Upstream) -> Result<Bytes, FetchError> {
    // A coding that was undone is not told any more.
    let coding = answer.headers().get(CONTENT_ENCODING);
    if coding.is_some_and(|coding| coding != "identity") {
        return Err(bad("it came in a coding that was not asked for"));
    }
    let mut document = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|e| failed(e, upstream))? {
        if piece.len() > MOST - document.len() {
            return Err(bad(format!("it is larger than {} MiB", MOST >> 20)));
        }
        document.extend_from_slice(&piece);
        // A little that came may be a lot to unpack, and this is not the only task here.
        consume_budget().await;
    }
    Ok(document.into_boxed_slice().into())
}

fn bad(text: impl Into<Cow<'static, str>>) -> FetchError {
    FetchError::Failed(Error::new(StatusCode::BAD_GATEWAY, text))
}

fn failed(error: reqwest::Error, upstream: &Upstream) -> FetchError {
    let (connecting, late) = (error.is_connect(), error.is_timeout());
    let source = error.without_url();
    let failure = match (connecting, late) {
        (true, _) => Failure::Unreachable(source.into()),
        (false, true) => Failure::TimedOut(upstream.timeout),
        (false, false) => Failure::Broken(source.into()),
    };
    FetchError::Failed(failure.into_error(&upstream.name))
}
