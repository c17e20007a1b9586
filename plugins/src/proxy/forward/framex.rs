//! Answers of a FrameX: `{"status":..,"message":..,"timestamp":..,"data":..}`.
//!
//! FrameX of Python's kind says in the body that something went wrong, and 200 in the status line.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Such an answer.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    status: u16,
    /// Always there, where it is an envelope.
    #[serde(rename = "message")]
    _message: IgnoredAny,
    #[serde(rename = "timestamp")]
    _timestamp: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// `body`, if it is one.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The result in it.
    pub(super) fn data(&self, body: &Bytes) -> Bytes {
        match self.data {
            Some(data) => body.slice_ref(data.get().as_bytes()),
            None => Bytes::from_static(b"null"),
        }
    }

    /// What went wrong, if something did.
    pub(super) fn error(&self) -> Option<StatusCode> {
        failed(self.status)
    }
}

/// The real status of an answer that begins with `first`, if that is an error.
pub(super) fn error_status(first: &[u8]) -> Option<StatusCode> {
    let rest = token(first, b"{")?;
    let rest = token(token(rest, b"\"status\"")?, b":")?.trim_ascii_start();
    let (digits, rest) = rest.split_at_checked(3)?;
    token(token(token(rest, b",")?, b"\"message\"")?, b":")?;
    let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    failed(status)
}

fn failed(status: u16) -> Option<StatusCode> {
    let error = (400..600).contains(&status);
    error.then(|| StatusCode::from_u16(status).ok())?
}

fn token<'a>(text: &'a [u8], token: &[u8]) -> Option<&'a [u8]> {
    text.trim_ascii_start().strip_prefix(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_in_the_first_bytes() {
        for (body, status) in [
            (
                r#"{"status":404,"message":"Not Found","timestamp":"x"}"#,
                Some(404),
            ),
            ("{ \"status\" : 503 ,\n\"message\": \"", Some(503)),
            (r#"{"status":200,"message":"success"}"#, None),
            (r#"{"status":404}"#, None),
            (r#"{"status":4040,"message":""#, None),
            (r#"{"status":"404","message":""#, None),
            (r#"{"code":1}"#, None),
            ("", None),
        ] {
            let found = error_status(body.as_bytes()).map(|status| status.as_u16());
            assert_eq!(found, status, "{body}");
        }
    }

    #[test]
    fn the_result_is_cut_out_as_it_lies() {
        let body = Bytes::from_static(
            br#"{"status":200,"message":"success","timestamp":"t","data": {"a": 1.50} }"#,
        );
        let envelope = Envelope::read(&body).unwrap();
        assert!(envelope.error().is_none());
        assert_eq!(envelope.data(&body), r#"{"a": 1.50}"#);
        let none = Bytes::from_static(br#"{"status":409,"message":"m","timestamp":"t"}"#);
        let envelope = Envelope::read(&none).unwrap();
        assert_eq!(
            (
                envelope.error().unwrap().as_u16(),
                &envelope.data(&none)[..]
            ),
            (409, &b"null"[..])
        );
        assert!(Envelope::read(br#"{"status":200,"data":1}"#).is_none());
    }
}
