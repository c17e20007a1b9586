//! The envelope around every result and every error.

use bytes::Bytes;
use framex_core::envelope::{SUCCESS_LEN, push_success};
use serde::Serialize;
use serde_json::Value;

use crate::body::EdgeBody;

/// From this size on a result is sent from where it lies instead of copied.
const SPLICE_FROM: usize = 16 * 1024;

/// `{"status":200,"message":"success","timestamp":..,"data":<data>}`.
pub(crate) fn success(data: Bytes) -> EdgeBody {
    let large = data.len() >= SPLICE_FROM;
    let room = SUCCESS_LEN + if large { 0 } else { data.len() + 1 };
    let mut text = Vec::with_capacity(room);
    push_success(&mut text);
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

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
