//! Server-sent events, all of them ready at once.

use bytes::Bytes;
use serde::Serialize;

const CHUNK: &[u8] = b"event: message_chunk\ndata: {\"content\": \"chunk\"}\n\n";
const FINISH: &[u8] = b"event: finish\ndata: {}\n\n";

/// `count` chunks and the finish.
pub(super) struct Events {
    left: u32,
    finished: bool,
    constant: bool,
}

impl Events {
    /// `constant` sends a constant instead of encoding each chunk: what the writer alone can do.
    pub(super) fn new(count: u32, constant: bool) -> Self {
        Self {
            left: count,
            finished: false,
            constant,
        }
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.left > 0 {
            self.left -= 1;
            return Some(if self.constant {
                Bytes::from_static(CHUNK)
            } else {
                chunk("chunk")
            });
        }
        (!std::mem::replace(&mut self.finished, true)).then(|| Bytes::from_static(FINISH))
    }
}

/// A chunk of text as it goes over the wire.
fn chunk(content: &str) -> Bytes {
    let mut event = Vec::with_capacity(64);
    event.extend_from_slice(b"event: message_chunk\ndata: {\"content\": ");
    let mut json = serde_json::Serializer::new(&mut event);
    content
        .serialize(&mut json)
        .expect("text is JSON, and memory does not fail");
    event.extend_from_slice(b"}\n\n");
    event.into()
}
