//! What is asked of a server, and what it must answer.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde_json::{Value, json};

/// One kind of request, sent over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// A parameter comes back.
    Echo,
    /// A parameter and a small model come back.
    EchoModel,
    /// 200 chunks, as fast as they go.
    Events,
    /// 1,000 chunks of 50 bytes, as fast as they go.
    Live,
    /// The same, of a stream that can be taken up again.
    Kept,
    /// 100 KB of JSON that the handler takes as text.
    Raw,
    /// 100 KB of JSON that the handler takes as a tree.
    Tree,
}

/// What a right answer holds.
pub(crate) enum Expected {
    /// The envelope of a success with this data.
    Data(Value),
    /// So many chunks of this text, and the finish.
    Chunks(u32, &'static str),
}

/// Chunks of [`Workload::Events`].
const EVENTS: u32 = 200;
/// Chunks of [`Workload::Live`] and [`Workload::Kept`].
const STREAM: u32 = 1000;

/// 50 bytes.
pub(crate) const CHUNK: &str = "Fifty bytes of text, as long as a rather long word";

/// Holds characters that need decoding, as messages of people do.
const MESSAGE: &str = "hello framex";

impl Workload {
    /// The bytes of the request.
    pub(crate) fn request(self) -> Vec<u8> {
        match self {
            Self::Echo => get("/api/v1/echo?message=hello%20framex"),
            Self::EchoModel => post(
                "/api/v1/echo_model?message=hello%20framex",
                r#"{"id":1,"name":"x"}"#,
            ),
            Self::Events => get(&format!("/api/v1/events?n={EVENTS}")),
            Self::Live => get(&format!("/api/v1/live?n={STREAM}")),
            Self::Kept => get(&format!("/api/v1/kept?n={STREAM}")),
            Self::Raw => post("/api/v1/raw", &document()),
            Self::Tree => post("/api/v1/tree", &document()),
        }
    }

    /// How many chunks an answer has, if it is a stream.
    pub(crate) fn chunks(self) -> Option<u32> {
        match self {
            Self::Events => Some(EVENTS),
            Self::Live | Self::Kept => Some(STREAM),
            Self::Echo | Self::EchoModel | Self::Raw | Self::Tree => None,
        }
    }

    pub(crate) fn expected(self) -> Expected {
        Expected::Data(match self {
            Self::Echo => json!(MESSAGE),
            Self::EchoModel => json!({ "message": MESSAGE, "model": { "id": 1, "name": "x" } }),
            Self::Events => return Expected::Chunks(EVENTS, "chunk"),
            Self::Live | Self::Kept => return Expected::Chunks(STREAM, CHUNK),
            Self::Raw | Self::Tree => serde_json::from_str(&document()).expect("it is JSON"),
        })
    }
}

// The headers that curl sends, and `Accept` as a browser's fetch.
fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: framex-bench\r\nAccept: */*\r\n\r\n").into()
}

fn post(target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: framex-bench\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into()
}

/// About 100 KB as services send them: a list of records with text, numbers, flags and lists.
fn document() -> String {
    let mut text = String::from(r#"{"items":["#);
    for id in 0.. {
        if id > 0 {
            text.push(',');
        }
        let price = f64::from(id) * 1.25;
        let last = id % 7 == 0;
        write!(
            text,
            r#"{{"id":{id},"name":"Record number {id}","note":"a \"quoted\" word, an accent: é\n","price":{price},"active":{last},"tags":["alpha","beta"],"parent":null,"size":{{"width":{id},"height":20}}}}"#
        )
        .expect("a String grows");
        if text.len() > 100_000 {
            break;
        }
    }
    text.push_str("]}");
    text
}
