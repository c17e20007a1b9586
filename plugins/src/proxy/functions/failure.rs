//! What callers are told if a function that runs on another system gives no result: never an
//! address, and never a text in the place of a result.

use framex_core::error::{BoxError, CallError, Error};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;

/// Set where an error is the function's own, and not that of the way to it.
pub(super) const OWN: HeaderName = HeaderName::from_static("x-framex-function");
/// The code of a function that the other system does not have.
pub(super) const UNKNOWN: &str = "unknown_function";

/// An error as another system tells it.
#[derive(Debug, Deserialize)]
struct Told {
    message: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    detail: Option<Value>,
    /// Reports of arguments are in here.
    #[serde(default)]
    data: Option<Value>,
}

/// Marks an error as the function's own.
pub(super) fn of_function(error: Error) -> Error {
    if error.headers().contains_key(OWN) {
        return error;
    }
    error.with_header(OWN, HeaderValue::from_static("1"))
}

/// An answer that is no success, as the caller of a function on `upstream` sees it.
pub(super) fn answered(
    upstream: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Error {
    let told: Option<Told> = serde_json::from_slice(body).ok();
    let Some(told) = told.filter(|_| status.as_u16() >= 400) else {
        return broken(
            upstream,
            format!("it answered {status} with no error of ours").into(),
        );
    };
    let own = headers.contains_key(OWN) || told.code.as_deref() == Some(UNKNOWN);
    // Whoever called the function is not to be told that he may not what only this system
    // may not.
    let refused = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
    );
    if refused && !own {
        let text = format!("the upstream `{upstream}` runs no functions for this one");
        return Error::new(StatusCode::BAD_GATEWAY, text)
            .with_code("upstream_refused")
            .with_source(format!("it answered {status}: {}", told.message));
    }
    let mut detail = told.detail;
    if detail.is_none()
        && let Some(Value::Object(mut data)) = told.data
    {
        detail = data.remove("detail");
    }
    let error = Error::new(status, told.message);
    let error = match told.code {
        Some(code) => error.with_code(code),
        None => error,
    };
    let error = match detail {
        Some(detail) => error.with_detail(detail),
        None => error,
    };
    match headers.get(RETRY_AFTER) {
        Some(after) => error.with_header(RETRY_AFTER, after.clone()),
        None => error,
    }
}

/// A call over a broker that brought no result, as the caller of a function on `upstream` sees it.
pub(super) fn lost(upstream: &str, error: CallError) -> Error {
    match error {
        CallError::Handler(error) => passed_on(&error),
        CallError::TimedOut { budget, .. } => {
            let text = format!("the upstream `{upstream}` did not answer within {budget:?}");
            Error::new(StatusCode::GATEWAY_TIMEOUT, text).with_code("upstream_timeout")
        }
        CallError::Unknown { .. } | CallError::NoResponders { .. } => {
            let reason = "nobody there serves `proxy.ProxyPlugin.remote`";
            unreachable(upstream, reason.into())
        }
        CallError::Disconnected { .. } => unreachable(upstream, "the broker is gone".into()),
        CallError::Refused { subject, .. } => {
            let text = format!("the upstream `{upstream}` runs no functions for this one");
            Error::new(StatusCode::BAD_GATEWAY, text)
                .with_code("upstream_refused")
                .with_source(format!("no permission to publish to `{subject}`"))
        }
        CallError::Lost { why, .. } => broken(upstream, why.into()),
        CallError::BadReply { reason, .. } => broken(upstream, reason.into()),
        other => other.into_error(),
    }
}

/// The error of a function, without what was for this system alone.
fn passed_on(error: &Error) -> Error {
    let copy = Error::new(error.status(), error.message().to_owned());
    let copy = copy.with_code(error.code().to_owned());
    let copy = match error.detail() {
        Some(detail) => copy.with_detail(detail.clone()),
        None => copy,
    };
    match error.headers().get(RETRY_AFTER) {
        Some(after) => copy.with_header(RETRY_AFTER, after.clone()),
        None => copy,
    }
}

/// 502: nothing was run.
pub(super) fn unreachable(upstream: &str, source: BoxError) -> Error {
    let text = format!("the upstream `{upstream}` cannot be reached");
    Error::new(StatusCode::BAD_GATEWAY, text)
        .with_code("upstream_unreachable")
        .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
        .with_source(source)
}

/// 502: the function may have run.
pub(super) fn broken(upstream: &str, source: BoxError) -> Error {
    let text = format!("the answer of the upstream `{upstream}` broke off or is none");
    Error::new(StatusCode::BAD_GATEWAY, text)
        .with_code("upstream_broken")
        .with_source(source)
}
