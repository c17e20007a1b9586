//! The least that an HTTP server can do for these routes: hyper, and a handler written by hand.
//!
//! It answers byte for byte what FrameX answers (but for the request id and the second), with the
//! same checks: percent-encoding, UTF-8, presence, body limit, media type, JSON. It has no route
//! table, no plugins, no middleware: what FrameX costs beyond it is the price of those.

mod events;
mod reply;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use self::events::Events;
use self::reply::Reply;
use crate::common::hand::body::collect_json;
use crate::common::hand::envelope::{self, Failure};
use crate::common::hand::query;
use crate::common::hand::{JSON, REQUEST_ID, request_id};
use crate::common::threads::{self, Source};
use crate::spec::Spec;

/// What a bridge needs to know.
const DOCUMENT: &[u8] = br#"{
    "openapi": "3.1.0",
    "info": {"title": "bench", "version": "1"},
    "paths": {
        "/api/v1/echo": {"get": {"responses": {"200": {"description": "x"}}}},
        "/api/v1/events": {"get": {"responses": {"200": {"description": "x"}}}},
        "/api/v1/echo_model": {"post": {"responses": {"200": {"description": "x"}}}},
        "/api/v1/raw": {"post": {"responses": {"200": {"description": "x"}}}}
    }
}"#;

/// Serves until the process ends.
pub(crate) fn serve(spec: &Spec) {
    let shared = spec.clone();
    threads::run(&spec.threads, move |mut source: Source| {
        let spec = shared.clone();
        async move {
            while let Some(stream) = source.accept().await {
                tokio::spawn(connection(stream, spec.clone()));
            }
        }
    });
}

/// Two types with the same methods.
macro_rules! set_knobs {
    ($builder:expr, $spec:expr) => {{
        let http1 = &mut $builder;
        if let Some(seconds) = $spec.header_timeout {
            http1
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(seconds));
        }
        if let Some(writev) = $spec.writev {
            http1.writev(writev);
        }
        if let Some(size) = $spec.max_buf {
            http1.max_buf_size(size);
        }
        if let Some(flush) = $spec.pipeline_flush {
            http1.pipeline_flush(flush);
        }
    }};
}

/// One connection, by the builder and the settings under test.
async fn connection(stream: TcpStream, spec: Spec) {
    let io = TokioIo::new(stream);
    let constant = spec.constant_chunks;
    let requests = Arc::new(AtomicU64::new(0));
    let counted = requests.clone();
    let service = service_fn(move |request| {
        counted.fetch_add(1, Relaxed);
        answer(request, constant)
    });

    // A client that goes away is an error here, and no business of the bench.
    if spec.auto {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        set_knobs!(builder.http1(), spec);
        let _ = builder.serve_connection(io, service).await;
    } else {
        let mut builder = http1::Builder::new();
        set_knobs!(builder, spec);
        let connection = builder.serve_connection(io, service);
        match spec.idle_timeout {
            Some(seconds) => unless_idle(connection, Duration::from_secs(seconds), &requests).await,
            None => drop(connection.await),
        }
    }
}

/// Drives a connection, and drops it when between one and two `limit`s passed without a request.
///
/// About what hyper's `header_read_timeout` does, with a timer that is set once in a `limit`
/// instead of once in a request.
async fn unless_idle(connection: impl Future, limit: Duration, requests: &AtomicU64) {
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep(limit));
    let mut seen = 0;
    poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = requests.load(Relaxed);
            if now == seen {
                return Poll::Ready(());
            }
            seen = now;
            timer.as_mut().reset(Instant::now() + limit);
        }
        Poll::Pending
    })
    .await;
}

async fn answer(request: Request<Incoming>, constant: bool) -> Result<Response<Reply>, Infallible> {
    let (parts, body) = request.into_parts();
    let result = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/api/v1/echo") => echo(parts.uri.query()),
        (&Method::GET, "/openapi.json") => Ok(Bytes::from_static(DOCUMENT)),
        (&Method::GET, "/api/v1/events") => return Ok(events(parts.uri.query(), constant)),
        (&Method::POST, "/api/v1/echo_model") => match collect_json(&parts.headers, body).await {
            Ok(body) => echo_model(parts.uri.query(), &body),
            Err(failure) => Err(failure),
        },
        (&Method::POST, "/api/v1/raw") => match collect_json(&parts.headers, body).await {
            Ok(body) => raw(&body),
            Err(failure) => Err(failure),
        },
        (&Method::POST, "/api/v1/tree") => match collect_json(&parts.headers, body).await {
            Ok(body) => tree(&body),
            Err(failure) => Err(failure),
        },
        _ => Err(Failure::status(StatusCode::NOT_FOUND)),
    };
    let (status, bytes) = match result {
        Ok(bytes) => (StatusCode::OK, bytes),
        Err(failure) => failure.into_envelope(),
    };
    let mut response = Response::new(Reply::Whole(Some(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(REQUEST_ID, request_id());
    Ok(response)
}

fn echo(query: Option<&str>) -> Result<Bytes, Failure> {
    let message = query::single(query, "message")?;
    Ok(envelope::success(&message, message.len()))
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
struct Echoed<'a> {
    message: &'a str,
    model: EchoModel,
}

fn echo_model(query: Option<&str>, body: &[u8]) -> Result<Bytes, Failure> {
    let message = query::single(query, "message")?;
    let model = serde_json::from_slice(body).map_err(|error| Failure::json(&error))?;
    Ok(envelope::success(
        &Echoed {
            message: &message,
            model,
        },
        128,
    ))
}

/// Reading a [`RawValue`] checks JSON and UTF-8, and keeps the text as it is.
fn raw(body: &[u8]) -> Result<Bytes, Failure> {
    let value: &RawValue = serde_json::from_slice(body).map_err(|error| Failure::json(&error))?;
    Ok(envelope::spliced(value.get().as_bytes()))
}

fn tree(body: &[u8]) -> Result<Bytes, Failure> {
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| Failure::json(&error))?;
    Ok(envelope::success(&value, body.len()))
}

fn events(query: Option<&str>, constant: bool) -> Response<Reply> {
    let count = query::single(query, "n")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200);
    let mut response = Response::new(Reply::Events(Events::new(count, constant)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache"));
    headers.insert(REQUEST_ID, request_id());
    response
}
