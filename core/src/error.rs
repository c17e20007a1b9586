//! Errors: what a handler returns, and why a call brought no reply.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use crate::id::ApiId;
use crate::problem::Problem;

/// Any error of somebody else's.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A handler's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call, with the HTTP status that says so.
///
/// Made on purpose ([`Error::not_found`], [`Error::new`]) its message is for
/// the caller and travels through plugins and over the bus. Made by `?` from
/// any other error it is a 500 whose text stays in the log: the caller gets a
/// fixed sentence.
pub struct Error(Box<Inner>);

struct Inner {
    status: StatusCode,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    detail: Option<Value>,
    headers: HeaderMap,
    source: Option<BoxError>,
}

/// What the caller reads when the real reason is only for the log.
pub const INTERNAL_MESSAGE: &str = "Internal Server Error";

impl Error {
    /// An error with `status`, told to the caller as `message`.
    ///
    /// A `status` below 400 is no error and becomes 500.
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let status = if status.as_u16() < 400 {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            status
        };
        Self(Box::new(Inner {
            status,
            code: default_code(status),
            message: message.into(),
            detail: None,
            headers: HeaderMap::new(),
            source: None,
        }))
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: nobody is known to be asking.
    #[must_use]
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 403: this caller may not.
    #[must_use]
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409: it contradicts what is there.
    #[must_use]
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// 500 with a fixed text; `source` goes to the log.
    #[must_use]
    pub fn internal(source: impl Into<BoxError>) -> Self {
        let mut error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_MESSAGE);
        error.0.source = Some(source.into());
        error
    }

    /// 422 with every problem found.
    #[must_use]
    pub fn validation(problems: Vec<Problem>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Request validation failed",
        )
        .with_code("validation_failed")
        .with_detail(serde_json::json!(problems))
    }

    /// Sets the machine-readable code, e.g. `out_of_stock`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = code.into();
        self
    }

    /// Adds details for the caller.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Adds a header of the HTTP answer.
    #[must_use]
    pub fn with_header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// Adds the reason, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The machine-readable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What the caller is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Details for the caller.
    #[must_use]
    pub fn detail(&self) -> Option<&Value> {
        self.0.detail.as_ref()
    }

    /// Headers of the HTTP answer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The reason, for the log only.
    #[must_use]
    pub fn source(&self) -> Option<&BoxError> {
        self.0.source.as_ref()
    }
}

/// A status' own name as a code: 404 is `not_found`.
fn default_code(status: StatusCode) -> Cow<'static, str> {
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => Cow::Borrowed("internal"),
        StatusCode::SERVICE_UNAVAILABLE => Cow::Borrowed("unavailable"),
        other => other.canonical_reason().map_or_else(
            || Cow::Owned(format!("status_{}", other.as_u16())),
            |reason| {
                Cow::Owned(
                    reason
                        .to_ascii_lowercase()
                        .replace([' ', '-'], "_")
                        .replace('\'', ""),
                )
            },
        ),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.0.status.as_u16(),
            self.0.code,
            self.0.message
        )?;
        if let Some(detail) = &self.0.detail {
            write!(f, " {detail}")?;
        }
        let mut source: Option<&dyn std::error::Error> = self.0.source.as_deref().map(|s| s as _);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// So that `?` works on any error. [`Error`] itself is therefore no
/// `std::error::Error`.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        match CallError::downcast(error) {
            Ok(call) => call.into_error(),
            Err(other) => Self::internal(other),
        }
    }
}

/// Why a call brought no reply of the handler's own.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No API has this name, as far as the bus knows.
    #[error("no plugin provides `{target}`")]
    Unknown {
        /// The id or path that was asked for.
        target: String,
    },
    /// A path stands for several APIs.
    #[error("`{target}` is ambiguous: write the method in front, one of {candidates}")]
    Ambiguous {
        /// The path that was asked for.
        target: String,
        /// What it could mean.
        candidates: String,
    },
    /// The API is known, nobody serves it now; no handler ran.
    #[error("no instance serves `{api}` now")]
    NoResponders {
        /// Its id.
        api: ApiId,
    },
    /// The calling plugin did not declare the dependency.
    #[error(
        "plugin `{plugin}` calls `{target}` without declaring it: add \"{target}\" to its `required_remote_apis`"
    )]
    Undeclared {
        /// The calling plugin.
        plugin: String,
        /// What it wanted to call.
        target: String,
    },
    /// As many calls run as the plugin allows; no handler ran.
    #[error("`{api}` is overloaded")]
    Overloaded {
        /// Its id.
        api: ApiId,
    },
    /// The deadline passed; the handler was stopped.
    #[error("`{api}` did not answer within {budget:?}")]
    TimedOut {
        /// Its id.
        api: ApiId,
        /// The time it had.
        budget: Duration,
    },
    /// The handler panicked.
    #[error("`{api}` failed")]
    Panicked {
        /// Its id.
        api: ApiId,
        /// The panic's text, for the log.
        message: String,
    },
    /// Plugins call each other in a circle.
    #[error("`{api}` was called through {hops} plugins: calls go in a circle")]
    Loop {
        /// Its id.
        api: ApiId,
        /// How many calls deep.
        hops: u8,
    },
    /// The process is stopping.
    #[error("`{api}` is stopping")]
    Stopping {
        /// Its id.
        api: ApiId,
    },
    /// There is no connection to the broker; no handler ran.
    #[error("`{api}` cannot be reached: the connection to the broker is down")]
    Disconnected {
        /// Its id.
        api: ApiId,
    },
    /// The call was sent and its answer will not come; the handler may have run.
    #[error("`{api}` was lost on the way: {why}")]
    Lost {
        /// Its id.
        api: ApiId,
        /// What became of it.
        why: &'static str,
    },
    /// The broker's permissions forbid it; no handler ran.
    #[error("the broker does not let this process call `{api}`")]
    Refused {
        /// Its id.
        api: ApiId,
        /// What may not be published to, for the log.
        subject: String,
    },
    /// More bytes than the broker takes in one message.
    #[error("{part} `{api}` would take {size} bytes in one message, the broker allows {most}")]
    TooLarge {
        /// Its id.
        api: ApiId,
        /// Which side sent them.
        part: Part,
        /// How many bytes.
        size: usize,
        /// How many would be taken.
        most: usize,
    },
    /// What came back is no answer.
    #[error("`{api}` gave an answer that cannot be read: {reason}")]
    BadReply {
        /// Its id.
        api: ApiId,
        /// What is wrong with it.
        reason: String,
    },
    /// The handler's own answer is an error.
    #[error("{0}")]
    Handler(Error),
}

/// A half of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What it was sent.
    Arguments,
    /// What it answered; its handler ran.
    Answer,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arguments => "the arguments of",
            Self::Answer => "the answer of",
        })
    }
}

impl CallError {
    fn downcast<E: std::error::Error + Send + Sync + 'static>(error: E) -> Result<Self, E> {
        let mut slot = Some(error);
        let any: &mut dyn std::any::Any = &mut slot;
        match any.downcast_mut::<Option<Self>>().and_then(Option::take) {
            Some(call) => Ok(call),
            None => Err(slot.expect("only a `CallError` was taken out")),
        }
    }

    /// The error as callers see it. The one place where failures of the bus
    /// meet HTTP statuses.
    #[must_use]
    pub fn into_error(self) -> Error {
        let (status, code) = match &self {
            Self::Handler(_) => {
                let Self::Handler(error) = self else {
                    unreachable!("just matched")
                };
                return error;
            }
            Self::Unknown { .. } => (StatusCode::NOT_FOUND, "unknown_api"),
            Self::Ambiguous { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "ambiguous_api"),
            Self::NoResponders { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no_responders"),
            Self::Undeclared { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "undeclared_api"),
            Self::Overloaded { .. } => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
            Self::Panicked { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Loop { .. } => (StatusCode::LOOP_DETECTED, "loop_detected"),
            Self::Stopping { .. } => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Self::Disconnected { .. } => (StatusCode::SERVICE_UNAVAILABLE, "disconnected"),
            Self::Lost { .. } => (StatusCode::BAD_GATEWAY, "call_lost"),
            Self::Refused { .. } => (StatusCode::BAD_GATEWAY, "not_permitted"),
            Self::TooLarge { part, .. } => match part {
                Part::Arguments => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
                Part::Answer => (StatusCode::BAD_GATEWAY, "answer_too_large"),
            },
            Self::BadReply { .. } => (StatusCode::BAD_GATEWAY, "bad_reply"),
        };
        let text = match &self {
            Self::Panicked { .. } => INTERNAL_MESSAGE.to_owned(),
            other => other.to_string(),
        };
        let error = Error::new(status, text).with_code(code);
        let error = match &self {
            Self::Overloaded { .. }
            | Self::NoResponders { .. }
            | Self::Stopping { .. }
            | Self::Disconnected { .. } => {
                error.with_header(http::header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            _ => error,
        };
        match self {
            Self::Panicked { api, message } => {
                error.with_source(format!("`{api}` panicked: {message}"))
            }
            Self::Refused { subject, .. } => {
                error.with_source(format!("no permission to publish to `{subject}`"))
            }
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_errors_stay_in_the_log() {
        let error = Error::from(std::io::Error::other("password=hunter2"));
        assert_eq!(error.status(), 500);
        assert_eq!(error.to_string(), INTERNAL_MESSAGE);
        assert!(format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn call_errors_keep_their_status_through_the_question_mark() {
        let api = ApiId::parse("a.B.c").unwrap();
        let error = Error::from(CallError::Overloaded { api });
        assert_eq!((error.status().as_u16(), error.code()), (503, "overloaded"));
        assert_eq!(error.headers()["retry-after"], "1");
    }

    #[test]
    fn errors_of_the_way_are_gateway_errors() {
        let api = || ApiId::parse("a.B.c").unwrap();
        let large = |part| CallError::TooLarge {
            api: api(),
            part,
            size: 9,
            most: 8,
        };
        let refused = CallError::Refused {
            api: api(),
            subject: "team.a.B.c".into(),
        };
        for (error, status, code) in [
            (CallError::Disconnected { api: api() }, 503, "disconnected"),
            (
                CallError::Lost {
                    api: api(),
                    why: "its worker is gone",
                },
                502,
                "call_lost",
            ),
            (refused, 502, "not_permitted"),
            (large(Part::Arguments), 413, "payload_too_large"),
            (large(Part::Answer), 502, "answer_too_large"),
        ] {
            let error = error.into_error();
            assert_eq!((error.status().as_u16(), error.code()), (status, code));
            assert!(error.message().contains("`a.B.c`"), "{error}");
            assert!(!error.message().contains("team"), "{error}");
        }
    }

    #[test]
    fn headers_of_one_name_are_all_kept() {
        let name = http::header::WWW_AUTHENTICATE;
        let error = Error::unauthorized("x")
            .with_header(name.clone(), HeaderValue::from_static("a"))
            .with_header(name.clone(), HeaderValue::from_static("b"));
        assert_eq!(error.headers().get_all(name).iter().count(), 2);
    }

    #[test]
    fn a_success_is_no_error() {
        assert_eq!(Error::new(StatusCode::OK, "x").status(), 500);
        assert_eq!(Error::not_found("x").code(), "not_found");
    }
}
