//! HTTP to NATS.

use std::convert::Infallible;
use std::fmt::Write as _;

use async_nats::{Client, HeaderMap, Request as Call};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::net::TcpStream;

use super::stream::Chunks;
use super::{ECHO, RAW, arguments, connect};
use crate::common::hand::body::collect_json;
use crate::common::hand::envelope::{self, Failure};
use crate::common::hand::{JSON, REQUEST_ID, query, request_id};
use crate::common::threads::{self, Source};
use crate::disk;
use crate::spec::Spec;

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Serves until the process ends.
pub(super) fn serve(spec: &Spec, url: &str) {
    let (shared, url) = (spec.clone(), url.to_owned());
    threads::run(&spec.threads, move |mut source: Source| {
        let (spec, url) = (shared.clone(), url.clone());
        async move {
            let client = connect(&spec, &url).await;
            while let Some(stream) = source.accept().await {
                tokio::spawn(connection(stream, client.clone(), spec.clone()));
            }
        }
    });
}

async fn connection(stream: TcpStream, client: Client, spec: Spec) {
    let headers = spec.headers;
    let service = service_fn(move |request| {
        let client = client.clone();
        async move { answer(request, &client, headers).await }
    });
    let mut builder = http1::Builder::new();
    if let Some(writev) = spec.writev {
        builder.writev(writev);
    }
    // A client that goes away is an error here, and no business of the bench.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    client: &Client,
    headers: usize,
) -> Result<Response<Either<Full<Bytes>, Chunks>>, Infallible> {
    let (parts, body) = request.into_parts();
    let id = request_id();
    if matches!(parts.uri.path(), "/api/v1/live" | "/api/v1/kept") {
        let n = query::single(parts.uri.query(), "n").map(|n| n.parse());
        if let Ok(Ok(n)) = n {
            let mut response = Response::new(Either::Right(Chunks::ask(client, n).await));
            response.headers_mut().insert(CONTENT_TYPE, EVENTS);
            response.headers_mut().insert(REQUEST_ID, id);
            return Ok(response);
        }
    }
    if (&parts.method, parts.uri.path()) == (&Method::PUT, "/api/v1/upload") {
        let stored = disk::store(body.into_data_stream()).await;
        let size = stored.expect("the client sends all of it");
        let mut response = Response::new(Either::Left(Full::new(envelope::success(&size, 16))));
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        return Ok(response);
    }
    let asked = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/api/v1/echo") => {
            query::single(parts.uri.query(), "message").map(|text| (ECHO, arguments(&text)))
        }
        (&Method::POST, "/api/v1/raw") => match collect_json(&parts.headers, body).await {
            Ok(body) => document(&body).map(|arguments| (RAW, arguments)),
            Err(failure) => Err(failure),
        },
        _ => Err(Failure::status(StatusCode::NOT_FOUND)),
    };
    let result = match asked {
        Ok((subject, arguments)) => {
            let mut call = Call::new().payload(arguments.into());
            if headers > 0 {
                call = call.headers(call_headers(headers, id.to_str().expect("digits")));
            }
            call_worker(client, subject, call).await
        }
        Err(failure) => Err(failure),
    };

    let (status, bytes) = match result {
        Ok(bytes) => (StatusCode::OK, bytes),
        Err(failure) => failure.into_envelope(),
    };
    let mut response = Response::new(Either::Left(Full::new(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

async fn call_worker(client: &Client, subject: &'static str, call: Call) -> Result<Bytes, Failure> {
    match client.send_request(subject, call).await {
        Ok(reply) if reply.headers.is_none() => Ok(envelope::spliced(&reply.payload)),
        Ok(_) => Err(Failure::status(StatusCode::INTERNAL_SERVER_ERROR)),
        Err(_) => Err(Failure::status(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

/// `{"document":..}`, once the body is known to be JSON.
fn document(body: &[u8]) -> Result<Vec<u8>, Failure> {
    let value: &RawValue = serde_json::from_slice(body).map_err(|error| Failure::json(&error))?;
    let mut json = Vec::with_capacity(body.len() + 16);
    json.extend_from_slice(br#"{"document":"#);
    json.extend_from_slice(value.get().as_bytes());
    json.push(b'}');
    Ok(json)
}

/// What a protocol with headers sends along: the time that is left, who calls, the trace.
fn call_headers(count: usize, id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut call = String::with_capacity(64);
    write!(call, r#"timeout=59999, id="{id}", beats"#).expect("a String grows");
    headers.insert("Framex-Call", call);
    if count > 1 {
        let trace = format!("00-{id}{id}-{id}-01");
        headers.insert("traceparent", trace);
    }
    if count > 2 {
        headers.insert("Framex-Caller", "edge");
    }
    headers
}
