//! A request's parts as the arguments of a call.

mod form;
mod name;
mod parts;
mod source;
mod spool;

use bytes::Bytes;
use framex_core::args::{HttpBody, Upload};
use framex_core::body::ByteStream;
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::{BoxError, Error};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body;

use crate::routes::BodyKind;
pub(crate) use source::{Bounds, Limits, Progress};
use source::{Source, read_all};
use spool::IN_MEMORY;

/// What a call is given of a body, and how far it has come if it is still coming.
pub(crate) type Read = (HttpBody, Option<Progress>);

/// Reads what `api` wants of the body: all of it, but for files that the handler reads
/// itself while they come.
pub(crate) async fn read<B>(
    kind: BodyKind,
    api: &ApiDescriptor,
    headers: &HeaderMap,
    body: B,
    limits: Limits,
) -> Result<Read, Error>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if matches!(kind, BodyKind::Json | BodyKind::Form) {
        check_encoding(headers)?;
    }
    let body = match kind {
        BodyKind::None => HttpBody::Empty,
        BodyKind::Json => {
            check_json(headers)?;
            let bytes = read_all(body, &limits).await?;
            if bytes.is_empty() {
                HttpBody::Empty
            } else {
                HttpBody::Json(bytes)
            }
        }
        BodyKind::Raw => HttpBody::Raw(read_all(body, &limits).await?),
        BodyKind::Upload | BodyKind::Passed => {
            let (stream, progress) = pieces(body, limits).await?;
            let text = |value: Option<&HeaderValue>| {
                let value = value.and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let upload = Upload::new(stream)
                .named(name::of(headers))
                .with_content_type(text(headers.get(CONTENT_TYPE)));
            return Ok((HttpBody::Upload(upload.into()), progress));
        }
        BodyKind::Form => {
            let boundary = boundary(headers)?;
            let (stream, progress) = pieces(body, limits).await?;
            // Large and rare: the way of a small body should not carry it along.
            return Box::pin(form::read(stream, progress, boundary, api, limits)).await;
        }
    };
    Ok((body, None))
}

/// The body as it comes; one that is known to be small is read at once.
async fn pieces<B>(body: B, limits: Limits) -> Result<(ByteStream, Option<Progress>), Error>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    limits.admit(&body)?;
    let size = body.size_hint().exact();
    if size.is_some_and(|size| size <= IN_MEMORY as u64) {
        let bytes = read_all(body, &limits).await?;
        return Ok((ByteStream::full(bytes), None));
    }
    let source = Source::new(body, limits);
    let progress = source.progress();
    let stream = ByteStream::new(source);
    let stream = match size {
        Some(size) => stream.with_size(size),
        None => stream,
    };
    Ok((stream, Some(progress)))
}

/// JSON, or no word about the type.
fn check_json(headers: &HeaderMap) -> Result<(), Error> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = value
        .as_bytes()
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let json = kind.eq_ignore_ascii_case(b"application/json")
        || kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case(b"+json");
    if json {
        return Ok(());
    }
    Err(unsupported("application/json"))
}

/// Packed bodies are not unpacked; whoever takes raw bytes may do that.
fn check_encoding(headers: &HeaderMap) -> Result<(), Error> {
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Ok(());
    }
    let error = Error::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body must be sent without a `Content-Encoding`",
    );
    Err(error.with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

fn unsupported(wanted: &'static str) -> Error {
    Error::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("the body must be sent as `Content-Type: {wanted}`"),
    )
    .with_header(ACCEPT, HeaderValue::from_static(wanted))
}

fn boundary(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    multer::parse_boundary(text)
        .map(Some)
        .map_err(|_| unsupported("multipart/form-data; boundary=..."))
}
