//! The envelope, written straight into the bytes that are sent.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use chrono::DateTime;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

const BEFORE: &[u8] = br#"{"status":200,"message":"success","timestamp":""#;
const AFTER: &[u8] = br#"","data":"#;
/// `2026-01-01 12:00:00`
const STAMP: usize = 19;

/// `data` in the envelope of a success; `hint` is about how many bytes of JSON it makes.
pub(crate) fn success(data: &impl Serialize, hint: usize) -> Bytes {
    let mut bytes = begin(hint);
    serde_json::to_writer(&mut bytes, data).expect("these types are JSON");
    bytes.push(b'}');
    bytes.into()
}

/// The same for `data` that is JSON already.
pub(crate) fn spliced(data: &[u8]) -> Bytes {
    let mut bytes = begin(data.len());
    bytes.extend_from_slice(data);
    bytes.push(b'}');
    bytes.into()
}

fn begin(hint: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BEFORE.len() + STAMP + AFTER.len() + hint + 8);
    bytes.extend_from_slice(BEFORE);
    with_timestamp(|stamp| bytes.extend_from_slice(stamp.as_bytes()));
    bytes.extend_from_slice(AFTER);
    bytes
}

/// The time in UTC, formatted once a second and thread.
fn with_timestamp<T>(use_it: impl FnOnce(&str) -> T) -> T {
    thread_local! {
        static STAMP: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    STAMP.with_borrow_mut(|(second, text)| {
        if *second != now {
            let time = DateTime::from_timestamp(now.cast_signed(), 0).unwrap_or_default();
            *text = time.format("%Y-%m-%d %H:%M:%S").to_string();
            *second = now;
        }
        use_it(text)
    })
}

/// A reply that is not a success.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    data: Value,
}

impl Failure {
    /// Nothing to say but the status.
    pub(crate) fn status(status: StatusCode) -> Self {
        Self {
            status,
            data: Value::Null,
        }
    }

    /// One thing wrong with the input.
    pub(crate) fn detail(kind: &str, loc: &[&str], msg: &str) -> Self {
        let data = json!({ "detail": [{ "type": kind, "loc": loc, "msg": msg }] });
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            data,
        }
    }

    /// A body that is not the JSON that was asked for.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        Self::detail("json_invalid", &["body"], &error.to_string())
    }

    /// The status and the body.
    pub(crate) fn into_envelope(self) -> (StatusCode, Bytes) {
        let message = self.status.canonical_reason().unwrap_or_default();
        let body = with_timestamp(|timestamp| {
            json!({
                "status": self.status.as_u16(),
                "message": message,
                "timestamp": timestamp,
                "data": self.data,
            })
        });
        (self.status, body.to_string().into())
    }
}
