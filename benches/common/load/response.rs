//! Just enough of HTTP/1.1 to know where an answer ends.

use memchr::memchr_iter;

use super::expect;
use crate::common::workload::Workload;

/// An answer that is being received.
pub(super) struct Response {
    workload: Workload,
    /// The head, as far as it came, while it is incomplete.
    head: Vec<u8>,
    /// What follows the head, once that is complete.
    body: Option<Body>,
    /// All of the answer, while it is the first of its connection.
    kept: Option<Vec<u8>>,
}

impl Response {
    /// The first of a connection, to be compared with what is expected.
    pub(super) fn first(workload: Workload) -> Self {
        Self {
            workload,
            head: Vec::new(),
            body: None,
            kept: Some(Vec::new()),
        }
    }

    /// Takes bytes as they came. Whether the answer is complete; then it is ready for the next.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
        if let Some(body) = &mut self.body {
            return body.feed(bytes) && self.complete();
        }
        if self.head.is_empty() {
            return self.begin(bytes);
        }
        let mut joined = std::mem::take(&mut self.head);
        joined.extend_from_slice(bytes);
        self.begin(&joined)
    }

    /// Whether the first event of a stream has come.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.body, Some(Body::Chunked { events, .. }) if events > 0)
    }

    fn begin(&mut self, bytes: &[u8]) -> bool {
        let Some((mut body, head)) = parse_head(bytes) else {
            self.head = bytes.to_vec();
            return false;
        };
        let complete = body.feed(&bytes[head..]);
        self.body = Some(body);
        complete && self.complete()
    }

    fn complete(&mut self) -> bool {
        if let (Some(chunks), Some(Body::Chunked { events, .. })) =
            (self.workload.chunks(), &self.body)
        {
            assert_eq!(*events, chunks as usize + 1, "events of a stream");
        }
        if let Some(answer) = self.kept.take() {
            expect::check(&answer, &self.workload.expected());
        }
        self.body = None;
        true
    }
}

/// What is known of a body that is being received.
enum Body {
    /// So many bytes are to come.
    Length(usize),
    /// Ends with an empty chunk.
    Chunked {
        /// The last bytes that came, as many as [`Body::END`] has.
        tail: Vec<u8>,
        /// Empty lines, each the end of an event.
        events: usize,
    },
}

impl Body {
    /// The end of the last chunk, and the empty one.
    const END: &[u8] = b"\r\n0\r\n\r\n";

    /// Whether the body is complete.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Length(left) => {
                *left = left
                    .checked_sub(bytes.len())
                    .expect("nothing behind the answer");
                *left == 0
            }
            Self::Chunked { tail, events } => {
                *events += pairs(bytes);
                if tail.ends_with(b"\n") && bytes.starts_with(b"\n") {
                    *events += 1;
                }
                tail.extend_from_slice(&bytes[bytes.len().saturating_sub(Self::END.len())..]);
                tail.drain(..tail.len().saturating_sub(Self::END.len()));
                tail == Self::END
            }
        }
    }
}

/// How often `\n\n` occurs.
fn pairs(bytes: &[u8]) -> usize {
    let mut last = usize::MAX - 1;
    memchr_iter(b'\n', bytes)
        .filter(|&at| std::mem::replace(&mut last, at) + 1 == at)
        .count()
}

/// The body that the head announces, and the head's length; `None` while it is incomplete.
fn parse_head(bytes: &[u8]) -> Option<(Body, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 24];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(bytes).expect("the server speaks HTTP") {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return None,
    };
    let whole = || String::from_utf8_lossy(bytes);
    assert_eq!(head.code, Some(200), "an answer: {}", whole());

    let announced = head
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let body = match announced {
        Some(header) => {
            let length = std::str::from_utf8(header.value)
                .ok()
                .and_then(|value| value.parse().ok());
            Body::Length(length.unwrap_or_else(|| panic!("a length that is none: {}", whole())))
        }
        None => Body::Chunked {
            tail: Vec::new(),
            events: 0,
        },
    };
    Some((body, length))
}
