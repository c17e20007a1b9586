//! Plain HTTP/1.1, one connection a request.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::process::{PATIENCE, Serving};

impl Serving {
    /// Asks for a path with its query.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Sends any request.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut socket = TcpStream::connect(self.address()).expect("it takes connections");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        socket.write_all(head.as_bytes()).expect("it reads");
        socket.write_all(body).expect("it reads");
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).expect("it answers in time");
        Answer::parse(&bytes)
    }
}

impl Serving {
    /// The first `events` server-sent events at `path`; then the connection is cut.
    pub(crate) fn begin(&self, path: &str, events: usize) -> String {
        let mut socket = TcpStream::connect(self.address()).expect("it takes connections");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("it reads");
        let mut bytes = Vec::new();
        loop {
            let mut more = [0; 4096];
            let read = socket.read(&mut more).expect("it answers in time");
            assert!(read > 0, "it ended early");
            bytes.extend_from_slice(&more[..read]);
            let received = String::from_utf8_lossy(&bytes);
            // Each piece of a chunked body begins with its size, on a line of its own.
            let (_, body) = received.split_once("\r\n\r\n").unwrap_or_default();
            let body: String = body.split("\r\n").skip(1).step_by(2).collect();
            let ends: Vec<_> = body.match_indices("\n\n").map(|(at, _)| at + 2).collect();
            if let Some(end) = ends.get(events - 1) {
                return body[..*end].to_owned();
            }
        }
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let split = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let head = std::str::from_utf8(&bytes[..split]).expect("a head of text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers
            .iter()
            .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = &bytes[split + 4..];
        Self {
            status: status.and_then(|s| s.parse().ok()).expect("a status"),
            body: if chunked {
                unchunked(body)
            } else {
                body.to_vec()
            },
            headers,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The result in the envelope of a success.
    pub(crate) fn data(&self) -> serde_json::Value {
        let mut envelope = self.json();
        assert_eq!(self.status, 200, "{envelope}");
        envelope["data"].take()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes
            .windows(2)
            .position(|window| window == b"\r\n")
            .expect("the size of a chunk");
        let size = std::str::from_utf8(&bytes[..end]).expect("a size of text");
        let size = usize::from_str_radix(size, 16).expect("a size in hexadecimal");
        if size == 0 {
            return body;
        }
        let start = end + 2;
        body.extend_from_slice(&bytes[start..start + size]);
        bytes = &bytes[start + size + 2..];
    }
}
