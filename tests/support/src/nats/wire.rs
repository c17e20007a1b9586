//! The plain protocol, byte by byte: a client that sends what it is told and
//! hears what the server thinks of it.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::NatsServer;
use crate::patiently;

/// A connection to a server without TLS.
pub struct Wire {
    stream: TcpStream,
    /// Received, not yet read.
    buffer: Vec<u8>,
    subscriptions: u32,
    /// Came while something else was waited for.
    messages: Vec<Message>,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was sent to.
    pub subject: String,
    /// Where an answer is expected.
    pub reply: Option<String>,
    /// The block of headers, `NATS/1.0` with its status first; empty if there is none.
    pub headers: String,
    /// What it carries.
    pub payload: Vec<u8>,
}

enum Heard {
    Message(Message),
    Error(String),
    Pong,
    Other,
}

impl Message {
    /// Whether the server says that nobody listens where a request was sent to.
    #[must_use]
    pub fn no_responders(&self) -> bool {
        self.headers.starts_with("NATS/1.0 503")
    }
}

impl Wire {
    /// Connects without a name.
    ///
    /// # Panics
    ///
    /// If the server does not take it.
    pub async fn connect(server: &NatsServer) -> Self {
        let wire = Self::open(server.address(), json!({})).await;
        wire.unwrap_or_else(|error| panic!("{} refuses: {error}", server.url()))
    }

    /// Connects as `user`, or tells why the server refuses.
    ///
    /// # Errors
    ///
    /// The server's own words.
    pub async fn login(server: &NatsServer, user: &str, password: &str) -> Result<Self, String> {
        Self::open(server.address(), json!({"user": user, "pass": password})).await
    }

    async fn open(address: SocketAddr, mut options: serde_json::Value) -> Result<Self, String> {
        let stream = patiently("a connection", TcpStream::connect(address)).await;
        let mut wire = Self {
            stream: stream.map_err(|error| error.to_string())?,
            buffer: Vec::new(),
            subscriptions: 0,
            messages: Vec::new(),
        };
        for option in ["headers", "no_responders", "echo"] {
            options[option] = true.into();
        }
        for option in ["verbose", "pedantic"] {
            options[option] = false.into();
        }
        wire.send(format!("CONNECT {options}\r\n")).await;
        match wire.fence().await.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(wire),
        }
    }

    /// Sends bytes.
    ///
    /// # Panics
    ///
    /// If the connection was closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = patiently("bytes to be taken", self.stream.write_all(bytes.as_ref())).await;
        sent.expect("an open connection");
    }

    /// Publishes a message; `headers` are lines `Name: value`.
    pub async fn publish(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: &[&str],
        payload: &[u8],
    ) {
        let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
        let length = payload.len();
        let head = if headers.is_empty() {
            format!("PUB {subject} {reply}{length}\r\n")
        } else {
            let block = format!("NATS/1.0\r\n{}\r\n\r\n", headers.join("\r\n"));
            let (own, all) = (block.len(), block.len() + length);
            format!("HPUB {subject} {reply}{own} {all}\r\n{block}")
        };
        let message = [head.as_bytes(), payload, b"\r\n"].concat();
        self.send(message).await;
    }

    /// Subscribes, as a member of `group` if there is one.
    pub async fn subscribe(&mut self, subject: &str, group: Option<&str>) {
        self.subscriptions += 1;
        let (id, group) = (self.subscriptions, group.unwrap_or_default());
        self.send(format!("SUB {subject} {group} {id}\r\n")).await;
    }

    /// Waits until the server has dealt with all that was sent: what it refused of it.
    pub async fn fence(&mut self) -> Vec<String> {
        self.send("PING\r\n").await;
        let mut errors = Vec::new();
        loop {
            match self.hear().await {
                Some(Heard::Pong) => return errors,
                Some(Heard::Error(error)) => errors.push(error),
                Some(Heard::Message(message)) => self.messages.push(message),
                Some(Heard::Other) => {}
                None => {
                    errors.push("the connection was closed".to_owned());
                    return errors;
                }
            }
        }
    }

    /// The next message.
    ///
    /// # Panics
    ///
    /// If none comes, or an error does.
    pub async fn message(&mut self) -> Message {
        if !self.messages.is_empty() {
            return self.messages.remove(0);
        }
        loop {
            match self.hear().await {
                Some(Heard::Message(message)) => return message,
                Some(Heard::Error(error)) => panic!("an error instead of a message: {error}"),
                Some(_) => {}
                None => panic!("the connection was closed"),
            }
        }
    }

    /// The messages that came before the server answered a ping.
    pub async fn messages(&mut self) -> Vec<Message> {
        let errors = self.fence().await;
        assert_eq!(errors, [""; 0], "errors instead of messages");
        std::mem::take(&mut self.messages)
    }

    /// One thing of the server's; `None` at the end. Its pings are answered.
    async fn hear(&mut self) -> Option<Heard> {
        let line = self.line().await?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "MSG" | "HMSG" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let numbers = if verb == "MSG" { 1 } else { 2 };
                let (names, sizes) = words.split_at(words.len() - numbers);
                let sizes: Vec<usize> = sizes.iter().map(|n| n.parse().expect("a size")).collect();
                let (head, all) = if numbers == 1 {
                    (0, sizes[0])
                } else {
                    (sizes[0], sizes[1])
                };
                while self.buffer.len() < all + 2 {
                    self.more().await.then_some(())?;
                }
                let bytes: Vec<u8> = self.buffer.drain(..all + 2).collect();
                Some(Heard::Message(Message {
                    subject: names[0].to_owned(),
                    reply: names.get(2).map(|&reply| reply.to_owned()),
                    headers: String::from_utf8_lossy(&bytes[..head]).into_owned(),
                    payload: bytes[head..all].to_vec(),
                }))
            }
            "-ERR" => Some(Heard::Error(rest.trim_matches('\'').to_owned())),
            "PONG" => Some(Heard::Pong),
            "PING" => {
                self.send("PONG\r\n").await;
                Some(Heard::Other)
            }
            _ => Some(Heard::Other),
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.more().await.then_some(())?;
        }
    }

    /// Reads something; `false` at the end.
    async fn more(&mut self) -> bool {
        let read = patiently("the server", self.stream.read_buf(&mut self.buffer)).await;
        read.is_ok_and(|count| count > 0)
    }
}
