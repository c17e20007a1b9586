//! The bytes before the result in an envelope, and its time.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;

const HEAD: &[u8] = br#"{"status":200,"message":"success","timestamp":""#;
const DATA: &[u8] = br#"","data":"#;

/// `YYYY-MM-DD HH:MM:SS`, UTC.
const TIMESTAMP_LEN: usize = 19;

/// How many bytes [`push_success`] writes.
pub const SUCCESS_LEN: usize = HEAD.len() + TIMESTAMP_LEN + DATA.len();

/// Writes `{"status":200,"message":"success","timestamp":..,"data":`; the result and a `}` follow.
pub fn push_success(out: &mut Vec<u8>) {
    out.extend_from_slice(HEAD);
    push_timestamp(out);
    out.extend_from_slice(DATA);
}

/// As [`push_success`], for a success of another status.
pub fn push_success_as(status: StatusCode, out: &mut Vec<u8>) {
    let at = out.len() + br#"{"status":"#.len();
    push_success(out);
    // All statuses have three digits.
    out[at..at + 3].copy_from_slice(status.as_str().as_bytes());
}

/// The time now, as envelopes have it.
#[must_use]
pub fn timestamp() -> String {
    let mut out = Vec::with_capacity(TIMESTAMP_LEN);
    push_timestamp(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Formatted at most once a second and thread.
fn push_timestamp(out: &mut Vec<u8>) {
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
    use super::*;

    #[test]
    fn timestamps_are_utc() {
        assert_eq!(format(1_767_268_800), "2026-01-01 12:00:00");
        let mut head = Vec::new();
        push_success(&mut head);
        assert_eq!(head.len(), SUCCESS_LEN);
        push_success_as(StatusCode::CREATED, &mut head);
        assert!(head[SUCCESS_LEN..].starts_with(br#"{"status":201,"message":"success","#));
    }
}
