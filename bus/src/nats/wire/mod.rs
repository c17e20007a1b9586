//! Messages: how calls and their answers look on the wire.
//!
//! The one place that names headers; docs/protocol.md describes them.

mod answer;
mod chunk;
mod frame;
mod headers;
mod kept;
mod names;
mod request;

use async_nats::header::HeaderName;

pub(crate) use answer::*;
pub(crate) use chunk::*;
pub(crate) use frame::*;
pub(crate) use kept::*;
pub(crate) use names::{Control, Names, is_subject};
use request::shortened;
pub(crate) use request::*;

/// How many chunks of a stream are on their way at most.
pub(crate) const WINDOW: u32 = 256;

const CALL: HeaderName = HeaderName::from_static("Framex-Call");
const PRINCIPAL: HeaderName = HeaderName::from_static("Framex-Principal");
const TRACE: HeaderName = HeaderName::from_static("traceparent");
const HEADERS: HeaderName = HeaderName::from_static("Framex-Headers");
const TRAIL: HeaderName = HeaderName::from_static("Framex-Trail");
const STATUS: HeaderName = HeaderName::from_static("Framex-Status");
const BEAT: HeaderName = HeaderName::from_static("Framex-Beat");
const STREAM: HeaderName = HeaderName::from_static("Framex-Stream");
const CHUNK: HeaderName = HeaderName::from_static("Framex-Chunk");
const EVENT: HeaderName = HeaderName::from_static("Framex-Event");
const END: HeaderName = HeaderName::from_static("Framex-End");
const BODY: HeaderName = HeaderName::from_static("Framex-Body");
const PULL: HeaderName = HeaderName::from_static("Framex-Pull");
const FRAME: HeaderName = HeaderName::from_static("Framex-Frame");
const ERROR: HeaderName = HeaderName::from_static("Nats-Service-Error");
const ERROR_CODE: HeaderName = HeaderName::from_static("Nats-Service-Error-Code");
/// A PING that those who announce themselves need not answer.
const POLL: HeaderName = HeaderName::from_static("Framex-Poll");
const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");
const ACCEPT: HeaderName = HeaderName::from_static("Accept");
