//! Sends bodies of any size, made while they are sent.

use framex_test_support::{Answer, Connection, Server};
use serde_json::Value;

use crate::depot::pattern;

/// One piece that is sent.
const PIECE: usize = 256 * 1024;

pub(super) const BOUNDARY: &str = "XX";

/// How a body is framed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    Length,
    Chunked,
}

/// The head of a request for `target`.
pub(super) fn head(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n")
}

/// A part of a form before its bytes.
pub(super) fn file_head(name: &str, filename: &str) -> String {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\nContent-Type: application/x-pattern\r\n\r\n"
    )
}

/// A text of a form.
pub(super) fn text(name: &str, value: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// What a body is made of.
pub(super) enum Part {
    Text(String),
    Pattern(u64),
}

/// Sends `parts` as one body.
pub(super) struct Sender {
    pub(super) connection: Connection,
    framing: Framing,
}

impl Sender {
    /// Sends the head.
    pub(super) async fn start(
        server: &Server,
        method: &str,
        target: &str,
        headers: &str,
        framing: Framing,
        size: u64,
    ) -> Self {
        let mut connection = server.connect().await;
        let length = match framing {
            Framing::Length => format!("Content-Length: {size}\r\n"),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        let head = head(method, target, &format!("{headers}{length}"));
        connection.send(head).await;
        Self {
            connection,
            framing,
        }
    }

    /// Sends bytes of the body; false if the other side takes no more.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        if let Framing::Chunked = self.framing {
            let size = format!("{:x}\r\n", bytes.len());
            if self.connection.try_send(size).await.is_err() {
                return false;
            }
        }
        if self.connection.try_send(bytes).await.is_err() {
            return false;
        }
        match self.framing {
            Framing::Chunked => self.connection.try_send("\r\n").await.is_ok(),
            Framing::Length => true,
        }
    }

    /// Sends a part of the body.
    pub(super) async fn part(&mut self, part: &Part) -> bool {
        match part {
            Part::Text(text) => self.send(text.as_bytes()).await,
            Part::Pattern(size) => {
                let mut at = 0;
                while at < *size {
                    let left = usize::try_from(size - at).unwrap();
                    let piece = pattern(at, left.min(PIECE));
                    at += piece.len() as u64;
                    if !self.send(&piece).await {
                        return false;
                    }
                }
                true
            }
        }
    }

    /// Ends the body, and gives the answer.
    pub(super) async fn answer(mut self) -> Answer {
        if let Framing::Chunked = self.framing {
            let _ = self.connection.try_send("0\r\n\r\n").await;
        }
        self.connection.answer().await
    }
}

fn size(parts: &[Part]) -> u64 {
    let size = |part: &Part| match part {
        Part::Text(text) => text.len() as u64,
        Part::Pattern(size) => *size,
    };
    parts.iter().map(size).sum()
}

/// Puts a body of the pattern.
pub(super) async fn put(server: &Server, target: &str, size: u64, framing: Framing) -> Answer {
    let mut sender = Sender::start(server, "PUT", target, "", framing, size).await;
    sender.part(&Part::Pattern(size)).await;
    sender.answer().await
}

/// Posts a form.
pub(super) async fn post(
    server: &Server,
    target: &str,
    parts: &[Part],
    framing: Framing,
) -> Answer {
    let kind = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n");
    let mut sender = Sender::start(server, "POST", target, &kind, framing, size(parts)).await;
    for part in parts {
        if !sender.part(part).await {
            break;
        }
    }
    sender.answer().await
}

/// A file of a form.
pub(super) fn file(name: &str, filename: &str, size: u64) -> [Part; 3] {
    [
        Part::Text(file_head(name, filename)),
        Part::Pattern(size),
        Part::Text("\r\n".into()),
    ]
}

pub(super) fn end() -> Part {
    Part::Text(format!("--{BOUNDARY}--\r\n"))
}

/// That `seen` is the pattern, of that size.
pub(super) fn assert_whole(seen: &Value, size: u64) {
    assert_eq!(seen["size"], size, "{seen}");
    assert_eq!(seen["right"], true, "{seen}");
}
