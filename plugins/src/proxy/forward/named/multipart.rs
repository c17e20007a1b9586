//! `multipart/form-data`, written while its files are read.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use framex_core::args::Upload;
use framex_core::body::ByteStream;
use framex_core::error::Result;
use futures_core::Stream;
use serde_json::Value;

/// A form that is being put together.
pub(super) struct Form {
    boundary: String,
    pieces: VecDeque<ByteStream>,
    /// Unknown if that of a file is.
    size: Option<u64>,
}

impl Form {
    pub(super) fn new() -> Self {
        Self {
            boundary: uuid::Uuid::new_v4().simple().to_string(),
            pieces: VecDeque::new(),
            size: Some(0),
        }
    }

    /// What the request says of its body.
    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    fn text(&mut self, name: &str, value: &str) {
        let text = format!("{}\r\n\r\n{value}\r\n", self.head(name));
        self.push(ByteStream::full(text));
    }

    /// A value as it is; what has parts of its own as JSON.
    pub(super) fn value(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) => self.text(name, text),
            Value::Array(_) | Value::Object(_) => {
                let kind = "content-type: application/json";
                let text = format!("{}\r\n{kind}\r\n\r\n{value}\r\n", self.head(name));
                self.push(ByteStream::full(text));
            }
            value => self.text(name, &value.to_string()),
        }
    }

    pub(super) fn file(&mut self, name: &str, file: Upload) {
        let mut head = self.head(name);
        let filename = match &*file.filename {
            "" => name,
            filename => filename,
        };
        let content_type = match &*file.content_type {
            kind if is_media_type(kind) => kind,
            _ => "application/octet-stream",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            head,
            "; filename=\"{}\"\r\ncontent-type: {content_type}\r\n\r\n",
            quoted(filename)
        );
        self.push(ByteStream::full(head));
        self.push(file.into_stream());
        self.push(ByteStream::full("\r\n"));
    }

    /// All of it.
    pub(super) fn into_body(mut self) -> ByteStream {
        let end = format!("--{}--\r\n", self.boundary);
        self.push(ByteStream::full(end));
        let size = self.size;
        let body = ByteStream::new(Pieces(self.pieces));
        match size {
            Some(size) => body.with_size(size),
            None => body,
        }
    }

    fn head(&self, name: &str) -> String {
        let boundary = &self.boundary;
        let name = quoted(name);
        format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"")
    }

    fn push(&mut self, piece: ByteStream) {
        let sizes = self.size.zip(piece.size());
        self.size = sizes.map(|(all, piece)| all + piece);
        self.pieces.push_back(piece);
    }
}

/// As browsers write names.
fn quoted(name: &str) -> String {
    name.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn is_media_type(text: &str) -> bool {
    text.contains('/') && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

struct Pieces(VecDeque<ByteStream>);

impl Stream for Pieces {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(first) = self.0.front_mut() {
            if let Some(item) = ready!(Pin::new(first).poll_next(cx)) {
                return Poll::Ready(Some(item));
            }
            self.0.pop_front();
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn parts_come_one_after_the_other() {
        let mut form = Form::new();
        form.text("a\"b", "1\r\n2");
        let pieces = ["x", "yz"].map(|piece| Ok(Bytes::from(piece)));
        let stream = ByteStream::new(stream::iter(pieces)).with_size(3);
        form.file(
            "f",
            Upload::new(stream)
                .named("n\n.txt")
                .with_content_type("text/x"),
        );
        form.file(
            "g",
            Upload::new(ByteStream::full("")).with_content_type("bad\r\nx: y"),
        );
        let boundary = form.content_type().split_once('=').unwrap().1.to_owned();
        let body = form.into_body();
        let size = body.size().unwrap();
        let all = body.collect(1000).await.unwrap();
        assert_eq!(all.len() as u64, size);
        let expected = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"a%22b\"\r\n\r\n1\r\n2\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"f\"; filename=\"n%0A.txt\"\r\n\
             content-type: text/x\r\n\r\nxyz\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"g\"; filename=\"g\"\r\n\
             content-type: application/octet-stream\r\n\r\n\r\n--{boundary}--\r\n"
        );
        assert_eq!(std::str::from_utf8(&all).unwrap(), expected);
    }
}
