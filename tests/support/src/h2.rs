//! An HTTP/2 client without TLS that knows what it talks to ("prior knowledge").

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::patiently;

/// One connection, many requests. Dropping it closes the connection.
pub struct Client {
    address: SocketAddr,
    sender: http2::SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens, or not in HTTP/2.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        let connection = tokio::spawn(async move {
            // The requests see what went wrong.
            let _ = connection.await;
        });
        Self {
            address,
            sender,
            connection,
        }
    }

    /// Sends a request; its body is read by the test.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    pub async fn send(&mut self, method: &str, target: &str, body: &str) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.address))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_owned())))
            .expect("a valid request");
        patiently("an answer", self.sender.send_request(request))
            .await
            .expect("an answer")
    }

    /// Whether the other side has ended the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.connection.is_finished()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
