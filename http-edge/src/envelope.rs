//! The envelope around every result and every error.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::body::EdgeBody;

const HEAD: &[u8] = br#"{"status":200,"message":"success","timestamp":""#;
const DATA: &[u8] = br#"","data":"#;

/// From this size on a result is sent from where it lies instead of copied.
const SPLICE_FROM: usize = 16 * 1024;

/// `{"status":200,"message":"success","timestamp":..,"data":<data>}`.
pub(crate) fn success(data: Bytes) -> EdgeBody {
    let large = data.len() >= SPLICE_FROM;
    let room = HEAD.len() + TIMESTAMP_LEN + DATA.len() + if large { 0 } else { data.len() + 1 };
    let mut text = Vec::with_capacity(room);
    text.extend_from_slice(HEAD);
    push_timestamp(&mut text);
    text.extend_from_slice(DATA);
    if large {
        return EdgeBody::around([text.into(), data, Bytes::from_static(b"}")]);
    }
    text.extend_from_slice(&data);
    text.push(b'}');
    EdgeBody::full(text)
}

/// An error's envelope.
#[derive(Debug, Serialize)]
pub(crate) struct Failure<'a> {
    pub(crate) status: u16,
    pub(crate) message: &'a str,
    pub(crate) timestamp: String,
    pub(crate) code: &'a str,
    pub(crate) request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

/// `YYYY-MM-DD HH:MM:SS`, UTC.
const TIMESTAMP_LEN: usize = 19;

/// The time of the envelope, formatted at most once a second and thread.
pub(crate) fn push_timestamp(out: &mut Vec<u8>) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now || text.is_empty() {
            *second = now;
            *text = format(now);
        }
        out.extend_from_slice(text.as_bytes());
    });
}

/// The time of the envelope.
pub(crate) fn timestamp() -> String {
    let mut out = Vec::with_capacity(TIMESTAMP_LEN);
    push_timestamp(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn format(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|s| chrono::DateTime::from_timestamp(s, 0))
        .unwrap_or_default()
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn timestamps_are_utc() {
        assert_eq!(format(1_767_268_800), "2026-01-01 12:00:00");
    }

    #[tokio::test]
    async fn small_and_large_results_read_alike() {
        for size in [1, SPLICE_FROM * 3] {
            let data = format!("\"{}\"", "x".repeat(size));
            let body = success(data.clone().into())
                .collect()
                .await
                .unwrap()
                .to_bytes();
            let value: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                (value["status"].as_u64(), value["message"].as_str()),
                (Some(200), Some("success"))
            );
            assert_eq!(value["data"].as_str().unwrap().len(), size);
            let keys: Vec<_> = value.as_object().unwrap().keys().collect();
            assert_eq!(keys.len(), 4);
        }
    }
}
