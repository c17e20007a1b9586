//! Streams that are kept: how they are followed again and stopped.

use serde_json::{Value, json};
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{
    Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::{Ref, Required, Response, ResponseBuilder, SecurityRequirement};

use super::failures::{Failure, header};
use super::{API_KEY, EVENT_STREAM, NDJSON, content, embed, line};
use crate::service::STREAMS;

/// The path of a stream's own address.
pub(super) fn path() -> String {
    format!("{STREAMS}{{stream}}")
}

/// What the operations of a kept stream have in common.
const FAILURES: [Failure; 5] = [
    Failure::Forbidden,
    Failure::Gone,
    Failure::Unavailable,
    Failure::Timeout,
    Failure::Other,
];

/// The ways in which an operation at the address may fail.
pub(super) fn failures(protected: bool) -> impl Iterator<Item = Failure> {
    let key = protected.then_some(Failure::Unauthorized);
    key.into_iter().chain(FAILURES)
}

/// Follows a stream.
pub(super) fn follow(id: String, protected: bool) -> Operation {
    let description = format!(
        "Its events from the beginning, or behind `Last-Event-ID`; each with its `id`. Several \
         clients may follow one stream. With `Accept: {NDJSON}` each event is a line."
    );
    let success = ResponseBuilder::new()
        .description("The events of the API that the stream is of.")
        .content(NDJSON, content(line(&json!({}))))
        .content(EVENT_STREAM, content(json!({})))
        .header(NAME, address());
    operation(id, "Follow a stream", &description, protected, true)
        .parameter_ref(last_event_id_reference())
        .response("200", success.build())
        .response("204", over())
        .build()
}

/// Stops one.
pub(super) fn stop(id: String, protected: bool) -> Operation {
    let description = "Whoever follows it gets an `error` event with the code `stream_stopped`. \
                       One that has ended stays as it is.";
    let success = ResponseBuilder::new().description("Its handler is stopped.");
    operation(id, "Stop a stream", description, protected, false)
        .response("204", success.build())
        .build()
}

fn operation(
    id: String,
    summary: &str,
    description: &str,
    protected: bool,
    stream: bool,
) -> OperationBuilder {
    let name = ParameterBuilder::new()
        .name("stream")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Its id: the last part of `X-FrameX-Stream`"))
        .schema(Some(embed(text())));
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .tags(Some(["streams"]))
        .summary(Some(summary))
        .description(Some(description))
        .parameter(name.build());
    for failure in failures(protected) {
        operation = operation.response(failure.status(), failure.reference(stream));
    }
    if protected {
        // Some streams are of routes that ask for no key.
        operation = operation
            .security(SecurityRequirement::default())
            .security(SecurityRequirement::new(API_KEY, [""; 0]));
    }
    operation
}

const NAME: &str = "X-FrameX-Stream";

/// The header with a stream's address.
pub(super) fn named() -> (&'static str, Header) {
    (NAME, address())
}

fn address() -> Header {
    header(
        "string",
        "The stream's own address: GET follows it, DELETE stops it.",
    )
}

/// What [`last_event_id`] is called among the components.
pub(super) const LAST_EVENT_ID: &str = "FrameX.LastEventId";

/// `Last-Event-ID`, as operations have it. They refer to it, for the proxy of the earlier framework
/// ends its import at a header parameter whose name is no identifier, and steps over references.
pub(super) fn last_event_id_reference() -> Ref {
    Ref::new(format!("#/components/parameters/{LAST_EVENT_ID}"))
}

/// `Last-Event-ID`.
pub(super) fn last_event_id() -> Parameter {
    ParameterBuilder::new()
        .name("Last-Event-ID")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The `id` of the last event that was seen: the answer is the rest of its stream",
        ))
        .schema(Some(embed(text())))
        .build()
}

/// The answer to `Last-Event-ID` with the id of an end.
pub(super) fn over() -> Response {
    let description = "The stream has ended, and its end was seen.";
    ResponseBuilder::new().description(description).build()
}

fn text() -> Value {
    json!({ "type": "string" })
}
