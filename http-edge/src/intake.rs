//! A request's parts as the arguments of a call.

use std::time::Duration;

use bytes::Bytes;
use framex_core::args::{FormField, HttpBody, Upload};
use framex_core::error::{BoxError, Error};
use framex_core::problem::Problem;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body;

use crate::body::{ReadError, read_all};
use crate::routes::BodyKind;

/// Bounds on reading a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// In bytes.
    pub(crate) size: usize,
    /// Between two pieces.
    pub(crate) pause: Duration,
}

/// Reads what the route wants of the body.
pub(crate) async fn read<B>(
    kind: BodyKind,
    headers: &HeaderMap,
    body: B,
    limits: Limits,
) -> Result<HttpBody, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    if kind != BodyKind::None && kind != BodyKind::Raw {
        check_encoding(headers)?;
    }
    match kind {
        BodyKind::None => Ok(HttpBody::Empty),
        BodyKind::Json => {
            check_json(headers)?;
            let bytes = bytes(body, limits).await?;
            Ok(if bytes.is_empty() {
                HttpBody::Empty
            } else {
                HttpBody::Json(bytes)
            })
        }
        BodyKind::Raw => bytes(body, limits).await.map(HttpBody::Raw),
        BodyKind::Form => {
            let boundary = boundary(headers)?;
            let bytes = bytes(body, limits).await?;
            // Large and rare: the way of a small body should not carry it along.
            Box::pin(form(bytes, boundary)).await
        }
    }
}

async fn bytes<B>(body: B, limits: Limits) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    read_all(body, limits.size, limits.pause)
        .await
        .map_err(|error| match error {
            ReadError::TooLarge => closing(Error::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the body is larger than the {} bytes that `server.max_body_size` allows",
                    limits.size
                ),
            )),
            ReadError::TooSlow => closing(Error::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("no more of the body came for {:?}", limits.pause),
            )),
            ReadError::Broken(error) => {
                tracing::debug!(%error, "a body broke off");
                closing(Error::bad_request("the body broke off before its end"))
            }
        })
}

/// What is left of the body will not be read.
fn closing(error: Error) -> Error {
    error.with_header(CONNECTION, HeaderValue::from_static("close"))
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

async fn form(bytes: Bytes, boundary: Option<String>) -> Result<HttpBody, Error> {
    let Some(boundary) = boundary else {
        if bytes.is_empty() {
            return Ok(HttpBody::Form(Vec::new()));
        }
        return Err(unsupported("multipart/form-data; boundary=..."));
    };
    let once = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut parts = multer::Multipart::new(once, boundary);
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(malformed)? {
        let Some(name) = part.name().map(str::to_owned) else {
            continue;
        };
        let field = match part.file_name().map(str::to_owned) {
            Some(filename) => {
                let content_type = part.content_type().map(ToString::to_string);
                let bytes = part.bytes().await.map_err(malformed)?;
                let upload = Upload::new(bytes).named(filename);
                FormField::File(
                    upload
                        .with_content_type(content_type.unwrap_or_default())
                        .into(),
                )
            }
            None => {
                let bytes = part.bytes().await.map_err(malformed)?;
                let text = String::from_utf8(bytes.into()).map_err(|_| {
                    let loc = vec!["body".into(), name.clone().into()];
                    Error::validation(vec![Problem::new("string_unicode", loc, "expected UTF-8")])
                })?;
                FormField::Text(text)
            }
        };
        fields.push((name, field));
    }
    Ok(HttpBody::Form(fields))
}

fn malformed(error: multer::Error) -> Error {
    tracing::debug!(%error, "a multipart body cannot be read");
    Error::validation(vec![Problem::new(
        "multipart_invalid",
        vec!["body".into()],
        "the body is not valid multipart/form-data",
    )])
}
