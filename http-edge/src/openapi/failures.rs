//! Failures: the answers that every API shares.

use serde_json::{Value, json};
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::{Ref, Response, ResponseBuilder};

use super::{EVENT_STREAM, JSON, NDJSON, content, embed, line};

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    Unauthorized,
    Forbidden,
    Gone,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
    Internal,
    BadGateway,
    Unavailable,
    Timeout,
    Other,
}

impl Failure {
    /// Its key among an operation's responses.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Unauthorized => "401",
            Self::Forbidden => "403",
            Self::Gone => "410",
            Self::PayloadTooLarge => "413",
            Self::UnsupportedMediaType => "415",
            Self::ValidationFailed => "422",
            Self::Internal => "500",
            Self::BadGateway => "502",
            Self::Unavailable => "503",
            Self::Timeout => "504",
            Self::Other => "default",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Unauthorized => "The API key is missing or wrong.",
            Self::Forbidden => "The stream is somebody else's.",
            Self::Gone => "The stream is not known, or no longer kept.",
            Self::PayloadTooLarge => "The body is larger than this server allows.",
            Self::UnsupportedMediaType => "The body is of a media type that the API does not read.",
            Self::ValidationFailed => "The arguments are not valid; every problem is listed.",
            Self::Internal => "The API failed; the log has the reason under the request id.",
            Self::BadGateway => "The service behind this route cannot be reached.",
            Self::Unavailable => "Nobody can serve the API now. Try again later.",
            Self::Timeout => "The API did not answer in time.",
            Self::Other => "Any other failure.",
        }
    }

    /// Its name among the document's responses; streams have their own.
    pub(super) fn name(self, stream: bool) -> String {
        let suffix = if stream { ".Stream" } else { "" };
        format!("FrameX.{self:?}{suffix}")
    }

    pub(super) fn reference(self, stream: bool) -> Ref {
        Ref::from_response_name(self.name(stream))
    }

    /// The answer itself.
    pub(super) fn response(self, stream: bool) -> Response {
        let schema = match self {
            Self::ValidationFailed => "FrameX.ValidationError",
            _ => "FrameX.Error",
        };
        let mut response = ResponseBuilder::new()
            .description(self.description())
            .content(JSON, content(reference(schema)));
        if stream {
            let event = reference("FrameX.ErrorEvent");
            response = response
                .content(NDJSON, content(line(&event)))
                .content(EVENT_STREAM, content(event));
        }
        match self {
            Self::Unauthorized => response.header("WWW-Authenticate", header("string", "")),
            Self::Unavailable => {
                response.header("Retry-After", header("integer", "Seconds to wait."))
            }
            _ => response,
        }
        .build()
    }
}

pub(super) fn header(kind: &str, description: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(embed(json!({ "type": kind }))))
        .description((!description.is_empty()).then_some(description))
        .build()
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The schema of the envelope's `timestamp`.
pub(super) fn timestamp() -> Value {
    json!({
        "type": "string",
        "description": "UTC, `YYYY-MM-DD HH:MM:SS`",
        "examples": ["2026-01-01 12:00:00"],
    })
}

/// The schemas of failures, by name.
pub(super) fn schemas() -> [(&'static str, Value); 4] {
    let status = json!({ "type": "integer", "description": "The HTTP status" });
    let message = json!({ "type": "string", "description": "For people" });
    let code = json!({ "type": "string", "description": "For machines" });
    let request_id = json!({ "type": "string", "description": "What the log calls this request" });
    let detail = json!({ "description": "What the API adds for its callers" });
    let error = json!({
        "type": "object",
        "required": ["status", "message", "timestamp"],
        "properties": {
            "status": status,
            "message": message,
            "timestamp": timestamp(),
            "code": code,
            "request_id": request_id,
            "detail": detail,
            "error": {},
            "data": { "type": ["object", "null"] },
        },
    });
    let event = json!({
        "type": "object",
        "description": "The data of an `error` event",
        "required": ["status", "message"],
        "properties": {
            "status": status,
            "message": message,
            "code": code,
            "request_id": request_id,
            "detail": detail,
        },
    });
    let invalid = json!({
        "type": "object",
        "required": ["status", "message", "timestamp", "data"],
        "properties": {
            "status": status,
            "message": message,
            "timestamp": timestamp(),
            "code": code,
            "request_id": request_id,
            "data": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": { "type": "array", "items": reference("FrameX.Problem") },
                },
            },
        },
    });
    let problem = json!({
        "type": "object",
        "description": "One thing that is wrong with a request",
        "required": ["type", "loc", "msg"],
        "properties": {
            "type": { "type": "string", "description": "For machines, e.g. `missing`" },
            "loc": {
                "type": "array",
                "description": "Where it is: `query`, `path` or `body`, then names and indexes",
                "items": { "type": ["string", "integer"] },
            },
            "msg": { "type": "string", "description": "For people" },
        },
    });
    [
        ("FrameX.Error", error),
        ("FrameX.ErrorEvent", event),
        ("FrameX.Problem", problem),
        ("FrameX.ValidationError", invalid),
    ]
}
