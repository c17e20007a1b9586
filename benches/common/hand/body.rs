//! A request's body, read whole and within the limit.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};

use super::envelope::Failure;

/// Bytes of a request's body.
const LIMIT: usize = 4 << 20;

/// The body of a JSON request.
pub(crate) async fn collect_json(
    headers: &HeaderMap,
    mut body: Incoming,
) -> Result<Bytes, Failure> {
    let media_type = headers
        .get(CONTENT_TYPE)
        .map_or("", |value| value.to_str().unwrap_or(""));
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Failure::status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > LIMIT) {
        return Err(Failure::status(StatusCode::PAYLOAD_TOO_LARGE));
    }

    let Some(first) = next(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(first.len()));
    whole.extend_from_slice(&first);
    while let Some(more) = next(&mut body).await? {
        if whole.len() + more.len() > LIMIT {
            return Err(Failure::status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    match body.frame().await {
        None => Ok(None),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(_)) => Err(Failure::status(StatusCode::BAD_REQUEST)),
    }
}
