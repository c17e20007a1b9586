//! The same routes as a FrameX plugin: the one file of this bench that knows FrameX.
//!
//! What it must serve, on `127.0.0.1` and a free port, with [`Spec::threads`] threads:
//!
//! | route | answer |
//! |---|---|
//! | `GET /api/v1/echo?message=..` | envelope, data = the message |
//! | `POST /api/v1/echo_model?message=..`, body `{"id":1,"name":"x"}` | envelope, data = `{"message":..,"model":{"id":..,"name":..}}`, `name` defaulting to `echo` |
//! | `GET /api/v1/events?n=200` | server-sent events: `n` times `message_chunk` with `{"content": "chunk"}`, then `finish` with `{}`, no pause |
//! | `POST /api/v1/raw`, any JSON | envelope, data = the body as it came (a handler that takes raw JSON) |
//! | `POST /api/v1/tree`, any JSON | envelope, data = the body (a handler that takes a `serde_json::Value`) |
//!
//! Then it calls [`announce`](crate::child::announce) with the address. The load generator refuses
//! an answer that differs (`load/expect.rs`).

use crate::spec::Spec;

/// Serves until the process ends.
pub(crate) fn serve(_spec: &Spec) {
    println!("not available: FrameX is not plugged in yet");
}
