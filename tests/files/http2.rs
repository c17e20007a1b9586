//! Uploads beside others on one connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use framex::prelude::*;
use framex_test_support::{Server, until};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::depot::{Depot, pattern, seen};
use crate::sender::assert_whole;

/// A body that a test feeds.
struct Fed(Receiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

struct Client(SendRequest<Fed>);

impl Client {
    async fn open(server: &Server) -> Self {
        let stream = tokio::net::TcpStream::connect(server.address())
            .await
            .unwrap();
        let connected = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = connected.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Begins a request whose body is what is sent to the other end.
    fn put(
        &mut self,
        target: &str,
    ) -> (
        Sender<Bytes>,
        impl Future<Output = hyper::Result<hyper::Response<hyper::body::Incoming>>> + use<>,
    ) {
        let (feed, body) = channel(1);
        let request = hyper::Request::put(format!("http://x{target}")).body(Fed(body));
        (feed, self.0.send_request(request.unwrap()))
    }
}

async fn data(response: hyper::Response<hyper::body::Incoming>) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let mut envelope: Value = serde_json::from_slice(&body).unwrap();
    envelope["data"].take()
}

#[tokio::test]
async fn they_stream_side_by_side() {
    let server = Server::of::<Depot>().await;
    let mut client = Client::open(&server).await;
    let (one, first) = client.put("/api/v1/raw");
    let (two, second) = client.put("/api/v1/raw");
    let (first, second) = (tokio::spawn(first), tokio::spawn(second));
    let size = 4_000_000;
    for at in (0..size).step_by(100_000) {
        one.send(pattern(at, 100_000)).await.unwrap();
        two.send(pattern(at, 100_000)).await.unwrap();
    }
    drop((one, two));
    for answer in [first, second] {
        assert_whole(&data(answer.await.unwrap().unwrap()).await, size);
    }
}

#[tokio::test]
async fn one_that_is_reset_is_interrupted() {
    let server = Server::of::<Depot>().await;
    let mut client = Client::open(&server).await;
    let (feed, answer) = client.put("/api/v1/watched?key=reset");
    let answer = tokio::spawn(answer);
    feed.send(pattern(0, 100_000)).await.unwrap();
    until("it is there", || seen("reset").bytes == 100_000).await;
    answer.abort();
    until("it is gone", || seen("reset").gone).await;
    assert_eq!(seen("reset").end.as_deref(), Some("upload_interrupted"));
    // The connection goes on.
    let (feed, answer) = client.put("/api/v1/raw");
    drop(feed);
    assert_whole(&data(answer.await.unwrap()).await, 0);
}

#[tokio::test]
async fn one_that_nobody_reads_is_answered() {
    let server = Server::of::<Depot>().await;
    let mut client = Client::open(&server).await;
    let (_feed, answer) = client.put("/api/v1/ignored");
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(data(answer).await, Value::Null);
}
