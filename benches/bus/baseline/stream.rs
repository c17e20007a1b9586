//! Messages to server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::Stream as _;
use hyper::body::{Body, Frame};

use super::STREAM;

/// Chunks that are ready together leave in one piece of about this many bytes.
const PIECE: usize = 32 << 10;

/// The body of a streaming answer.
pub(super) struct Chunks {
    messages: Option<Subscriber>,
}

impl Chunks {
    /// Asks the worker for `n` chunks.
    pub(super) async fn ask(client: &Client, n: usize) -> Self {
        let inbox = client.new_inbox();
        let messages = client.subscribe(inbox.clone()).await;
        let messages = messages.expect("the client is connected");
        let arguments = format!(r#"{{"n":{n}}}"#);
        let asked = client.publish_with_reply(STREAM, inbox, arguments.into());
        asked.await.expect("the client is connected");
        Self {
            messages: Some(messages),
        }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        let mut out = Vec::with_capacity(PIECE + 1024);
        while out.len() < PIECE {
            match Pin::new(&mut *messages).poll_next(cx) {
                Poll::Ready(Some(message)) if !message.payload.is_empty() => {
                    out.extend_from_slice(b"event: message_chunk\ndata: {\"content\": ");
                    out.extend_from_slice(&message.payload);
                    out.extend_from_slice(b"}\n\n");
                }
                Poll::Ready(_) => {
                    out.extend_from_slice(b"event: finish\ndata: {}\n\n");
                    self.messages = None;
                    break;
                }
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }
}
