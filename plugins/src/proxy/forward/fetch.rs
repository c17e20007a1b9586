//! Documents of an upstream.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use framex_core::body::ByteStream;
use framex_core::error::{Error, Result};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, ETAG, HOST, IF_NONE_MATCH, LOCATION,
    USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use tokio::time::timeout;

use super::answer::Body;
use super::outgoing::Outgoing;
use super::{Forwarder, headers, target};

/// The largest document, with and without its coding, in bytes.
const MOST: usize = 16 << 20;
/// How long it may take, from the first connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the upstream may send us elsewhere on itself.
const MOST_REDIRECTS: usize = 3;

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

/// Asks for the document at `path`, below the URL of the forwarder's upstream.
pub(super) async fn fetch(
    forwarder: &Forwarder,
    path: &str,
    etag: Option<&HeaderValue>,
) -> Result<Fetched, FetchError> {
    let late = |_| {
        let name = &forwarder.upstream.name;
        let text = format!("the upstream `{name}` did not send it within {PATIENCE:?}");
        let error = Error::new(StatusCode::GATEWAY_TIMEOUT, text);
        FetchError::Failed(error.with_code("upstream_timeout"))
    };
    timeout(PATIENCE, follow(forwarder, path, etag))
        .await
        .map_err(late)?
}

async fn follow(
    forwarder: &Forwarder,
    path: &str,
    etag: Option<&HeaderValue>,
) -> Result<Fetched, FetchError> {
    let upstream = &forwarder.upstream;
    let mut at = path.to_owned();
    for _ in 0..=MOST_REDIRECTS {
        let request = request(forwarder, &at, etag).map_err(FetchError::Failed)?;
        let answered = forwarder.exchange(request).await;
        let (mut head, pieces) =
            answered.map_err(|failure| FetchError::Failed(failure.into_error(&upstream.name)))?;
        forwarder.breaker.alive();
        match head.status {
            StatusCode::OK => {
                let body = ByteStream::new(Body::new(pieces, &upstream.name));
                let body = read(body, &head.headers)
                    .await
                    .map_err(FetchError::Failed)?;
                let etag = head.headers.remove(ETAG);
                return Ok(Fetched::Document { body, etag });
            }
            StatusCode::NOT_MODIFIED => return Ok(Fetched::NotModified),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                let location = head.headers.get(LOCATION);
                let origin = (&upstream.scheme, &upstream.authority);
                let own = location.and_then(|location| {
                    let text = location.to_str().ok()?;
                    // A path is already one of its own.
                    let homeward = target::homeward(location, origin, "", &upstream.path);
                    match (homeward, text.starts_with('/') && !text.starts_with("//")) {
                        (Some(path), _) => path.to_str().ok().map(str::to_owned),
                        (None, true) => Some(text.to_owned()),
                        (None, false) => None,
                    }
                });
                match own {
                    Some(own) => at = own.split('#').next().unwrap_or_default().to_owned(),
                    None => return Err(FetchError::Status(head.status)),
                }
            }
            status => return Err(FetchError::Status(status)),
        }
    }
    let text = "the upstream answers each redirect with another one";
    Err(FetchError::Failed(Error::new(
        StatusCode::BAD_GATEWAY,
        text,
    )))
}

fn request(
    forwarder: &Forwarder,
    path: &str,
    etag: Option<&HeaderValue>,
) -> Result<Request<Outgoing>> {
    let upstream = &forwarder.upstream;
    let mut request = Request::new(Outgoing::empty());
    let whole = format!("{}{path}", upstream.path);
    let whole = PathAndQuery::from_maybe_shared(whole.into_bytes());
    let no_path = |_| Error::bad_request(format!("`{path}` is no path"));
    *request.uri_mut() = whole.map_err(no_path)?.into();
    let said: &mut HeaderMap = request.headers_mut();
    said.insert(HOST, forwarder.host.clone());
    said.insert(USER_AGENT, headers::AGENT);
    let accepted = "application/json, application/yaml;q=0.9, */*;q=0.5";
    said.insert(ACCEPT, HeaderValue::from_static(accepted));
    said.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let document = path.split('?').next().unwrap_or_default();
    if let Some(key) = forwarder.key_for(document)? {
        said.insert(AUTHORIZATION, key);
    }
    if let Some(etag) = etag {
        said.insert(IF_NONE_MATCH, etag.clone());
    }
    Ok(request)
}

async fn read(body: ByteStream, headers: &HeaderMap) -> Result<Bytes> {
    let too_large = || {
        let text = format!("it is larger than {} MiB", MOST >> 20);
        Error::new(StatusCode::BAD_GATEWAY, text)
    };
    let bytes = body.collect(MOST).await;
    let bytes = bytes.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => error,
    })?;
    let coding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    match coding {
        None | Some(b"identity") => return Ok(bytes),
        Some(coding) if coding.eq_ignore_ascii_case(b"gzip") => {}
        Some(_) => {
            let text = "it came in a coding that was not asked for";
            return Err(Error::new(StatusCode::BAD_GATEWAY, text));
        }
    }
    let unpack = move || {
        let mut text = Vec::new();
        let mut plain = MultiGzDecoder::new(&bytes[..]).take(MOST as u64 + 1);
        plain.read_to_end(&mut text).map(|_| text)
    };
    let text = tokio::task::spawn_blocking(unpack).await??;
    match text.len() > MOST {
        true => Err(too_large()),
        false => Ok(text.into()),
    }
}
