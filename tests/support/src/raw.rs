//! An HTTP/1.1 client that does what it is told, however wrong.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{PATIENCE, patiently};

/// A connection whose bytes the test chooses.
pub struct Connection {
    stream: TcpStream,
    /// Received, not yet read.
    buffer: Vec<u8>,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `HTTP/1.1`.
    pub version: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, chunks put together.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON; the message shows it.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.lossy()))
    }

    /// `data` of a success.
    ///
    /// # Panics
    ///
    /// If it is no success in the envelope.
    #[must_use]
    pub fn data(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.lossy());
        self.json()["data"].take()
    }

    /// `(type, loc, msg)` of each problem of a 422.
    ///
    /// # Panics
    ///
    /// If it is no 422 with a report.
    #[must_use]
    pub fn problems(&self) -> Vec<(String, String, String)> {
        assert_eq!(self.status, 422, "{}", self.lossy());
        let json = self.json();
        let problems = json["data"]["detail"].as_array().expect("data.detail[]");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        problems
            .iter()
            .map(|p| (text(&p["type"]), p["loc"].to_string(), text(&p["msg"])))
            .collect()
    }

    /// `type loc` of each problem of a 422: enough for most tests.
    #[must_use]
    pub fn kinds(&self) -> Vec<String> {
        self.problems()
            .into_iter()
            .map(|(kind, loc, _)| format!("{kind} {loc}"))
            .collect()
    }

    /// The body for a panic's text.
    #[must_use]
    pub fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens.
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.expect("somebody listens")
    }

    /// Connects, or not.
    ///
    /// # Errors
    ///
    /// The system's.
    pub async fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = patiently("a connection", TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends bytes.
    ///
    /// # Panics
    ///
    /// If the other side has closed the connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).await.expect("an open connection");
        self
    }

    /// Sends bytes, if the other side still takes them.
    ///
    /// # Errors
    ///
    /// The system's.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        patiently("bytes to be taken", self.stream.write_all(bytes.as_ref())).await
    }

    /// Sends bytes one by one with a pause before each; stops when nobody takes
    /// them any more. Gives how many were sent.
    pub async fn trickle(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> usize {
        for (sent, byte) in bytes.as_ref().iter().enumerate() {
            tokio::time::sleep(pause).await;
            if self.try_send([*byte]).await.is_err() {
                return sent;
            }
        }
        bytes.as_ref().len()
    }

    /// Says that nothing more will be sent; still reads.
    pub async fn half_close(&mut self) {
        // The other side may be gone already.
        let _ = self.stream.shutdown().await;
    }

    /// An answer to anything but HEAD.
    pub async fn answer(&mut self) -> Answer {
        self.read_answer(false).await
    }

    /// An answer that has no body whatever its headers say.
    pub async fn answer_to_head(&mut self) -> Answer {
        self.read_answer(true).await
    }

    async fn read_answer(&mut self, head: bool) -> Answer {
        let mut answer = self.head().await;
        while answer.status == 100 {
            answer = self.head().await;
        }
        if head || matches!(answer.status, 204 | 304) {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                answer.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().expect("a length");
            while self.buffer.len() < length {
                assert!(self.more().await, "closed within a body: {answer:?}");
            }
            answer.body = self.buffer.drain(..length).collect();
        } else {
            answer.body = self.rest().await;
        }
        answer
    }

    /// Status and headers of an answer whose body is read by [`Connection::chunk`].
    ///
    /// # Panics
    ///
    /// If something else comes.
    pub async fn head(&mut self) -> Answer {
        let end = self.find(b"\r\n\r\n").await;
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        // Bytes that are no UTF-8 are letters of Latin-1, as HTTP once had it.
        let text = String::from_utf8(head)
            .unwrap_or_else(|head| head.as_bytes().iter().copied().map(char::from).collect());
        let mut lines = text.trim_end().split("\r\n");
        let mut status_line = lines.next().unwrap_or_default().splitn(3, ' ');
        let version = status_line.next().unwrap_or_default().to_owned();
        let status = status_line
            .next()
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| panic!("no status in {text:?}"));
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a header");
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Answer {
            status,
            version,
            headers,
            body: Vec::new(),
        }
    }

    /// The next chunk of a chunked body; `None` after the last.
    ///
    /// # Panics
    ///
    /// If the body breaks off: its end must be said.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        match self.try_chunk().await {
            Ok(chunk) => chunk,
            Err(()) => panic!("closed within a chunked body: {:?}", self.received()),
        }
    }

    /// As [`Connection::chunk`]; an error if the body breaks off.
    ///
    /// # Errors
    ///
    /// Nothing more will come.
    pub async fn try_chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let line = loop {
            if let Some(at) = position(&self.buffer, b"\r\n") {
                break at;
            }
            if !self.more().await {
                return Err(());
            }
        };
        let size = std::str::from_utf8(&self.buffer[..line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a hexadecimal size");
        while self.buffer.len() < line + 2 + size + 2 {
            if !self.more().await {
                return Err(());
            }
        }
        let chunk = self.buffer[line + 2..line + 2 + size].to_vec();
        self.buffer.drain(..line + 2 + size + 2);
        Ok((size > 0).then_some(chunk))
    }

    /// Everything up to the other side's end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the other side ends the connection, with nothing more to say,
    /// within `limit`.
    pub async fn closes_within(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, async { while self.more().await {} })
            .await
            .is_ok()
            && self.buffer.is_empty()
    }

    /// What was received and not yet read.
    #[must_use]
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    async fn find(&mut self, what: &[u8]) -> usize {
        loop {
            if let Some(at) = position(&self.buffer, what) {
                return at;
            }
            assert!(
                self.more().await,
                "the connection was closed, received: {:?}",
                self.received()
            );
        }
    }

    /// Reads something; `false` at the end.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        match read {
            Ok(Ok(count)) => count > 0,
            // A reset is an end too.
            Ok(Err(_)) => false,
            Err(_) => panic!("waited {PATIENCE:?} for more than {:?}", self.received()),
        }
    }
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

/// One request on a connection of its own.
#[must_use = "a request does nothing until `send`"]
pub struct Ask {
    address: SocketAddr,
    head: String,
    headers: Vec<String>,
    body: Option<Vec<u8>>,
    to_head: bool,
}

impl Ask {
    /// A request to `address`.
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            head: format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n"),
            headers: Vec::new(),
            body: None,
            to_head: method == "HEAD",
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}\r\n"));
        self
    }

    /// Sets the body, with its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body of these bytes.
    pub fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("Content-Type", "application/json").body(body)
    }

    /// The bytes that will be sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        for header in &self.headers {
            bytes.push_str(header);
        }
        if let Some(body) = &self.body {
            bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Answer {
        let mut connection = Connection::open(self.address).await;
        // An answer may come before the whole body is taken.
        let _ = connection.try_send(self.bytes()).await;
        connection.read_answer(self.to_head).await
    }

    /// Sends it and reads the head; the connection gives the rest.
    pub async fn open(self) -> (Answer, Connection) {
        let mut connection = self.start().await;
        let head = connection.head().await;
        (head, connection)
    }

    /// Sends it and waits for nothing.
    pub async fn start(self) -> Connection {
        let mut connection = Connection::open(self.address).await;
        connection.send(self.bytes()).await;
        connection
    }
}
