//! The same routes as a user of axum writes them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{DefaultBodyLimit, Query, Request};
use axum::http::HeaderValue;
use axum::middleware::{self, Next};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use axum::{Json, Router};
use chrono::Utc;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::common::threads::{self, Source};
use crate::spec::Spec;

/// Serves until the process ends.
pub(crate) fn serve(spec: &Spec) {
    let app = Router::new()
        .route("/api/v1/echo", get(echo))
        .route("/api/v1/echo_model", post(echo_model))
        .route("/api/v1/events", get(events))
        .route("/api/v1/raw", post(raw))
        .route("/api/v1/tree", post(tree))
        .layer(middleware::from_fn(request_id))
        .layer(DefaultBodyLimit::max(4 << 20));
    threads::run(&spec.threads, move |source| {
        let app = app.clone();
        async move { axum::serve(source, app).await.expect("it never ends") }
    });
}

impl Listener for Source {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let stream = self.accept().await.expect("the threads never end");
        let peer = stream
            .peer_addr()
            .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Listener(listener) => listener.local_addr(),
            Self::Dealt(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

async fn request_id(request: Request, next: Next) -> Response {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut response = next.run(request).await;
    let id = format!("{:016x}", NEXT.fetch_add(1, Ordering::Relaxed));
    let id = HeaderValue::try_from(id).expect("digits are a header value");
    response.headers_mut().insert("x-request-id", id);
    response
}

#[derive(Serialize)]
struct Envelope<T> {
    status: u16,
    message: &'static str,
    timestamp: String,
    data: T,
}

fn success<T: Serialize>(data: T) -> Json<Envelope<T>> {
    let timestamp = Utc::now().format("%Y-%m-%d %H:%M:%S").to_string();
    Json(Envelope {
        status: 200,
        message: "success",
        timestamp,
        data,
    })
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

async fn echo(Query(query): Query<Message>) -> impl IntoResponse {
    success(query.message)
}

#[derive(Deserialize, Serialize)]
struct EchoModel {
    id: i64,
    #[serde(default = "anonymous")]
    name: String,
}

fn anonymous() -> String {
    "echo".to_owned()
}

#[derive(Serialize)]
struct Echoed {
    message: String,
    model: EchoModel,
}

async fn echo_model(
    Query(query): Query<Message>,
    Json(model): Json<EchoModel>,
) -> impl IntoResponse {
    success(Echoed {
        message: query.message,
        model,
    })
}

async fn raw(Json(value): Json<Box<RawValue>>) -> impl IntoResponse {
    success(value)
}

async fn tree(Json(value): Json<Value>) -> impl IntoResponse {
    success(value)
}

#[derive(Deserialize)]
struct Count {
    n: usize,
}

async fn events(Query(count): Query<Count>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let chunk = || {
        Event::default()
            .event("message_chunk")
            .data(r#"{"content": "chunk"}"#)
    };
    let finish = Event::default().event("finish").data(json!({}).to_string());
    let events = std::iter::repeat_with(chunk).take(count.n).chain([finish]);
    Sse::new(stream::iter(events.map(Ok)))
}
