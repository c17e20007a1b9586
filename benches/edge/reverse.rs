//! A reverse proxy written by hand: hyper in front, reqwest behind, bodies streamed both ways.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use reqwest::{Body, Client, Url};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::common::hand::{REQUEST_ID, request_id};
use crate::common::threads::{self, Source};
use crate::spec::Spec;

/// What is about one connection.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Serves what `upstream` answers, until the process ends.
pub(crate) fn serve(spec: &Spec, upstream: SocketAddr) {
    threads::run(&spec.threads, move |mut source: Source| async move {
        let client = client();
        while let Some(stream) = source.accept().await {
            let client = client.clone();
            let service = service_fn(move |request| answer(client.clone(), upstream, request));
            tokio::spawn(async move {
                let mut http = http1::Builder::new();
                http.writev(false);
                // A client that goes away is an error here, and no business of the bench.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

/// Passes on what comes as it is: redirects and compressed bodies, too.
fn client() -> Client {
    // It speaks no TLS here, and shall not read the system's certificates for it.
    let provider = Arc::new(ring::default_provider());
    let nobody = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(nobody)
        .redirect(reqwest::redirect::Policy::none())
        .no_gzip()
        .build()
        .expect("a client")
}

async fn answer(
    client: Client,
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let answered = forward(&client, upstream, request).await;
    let mut response = answered.unwrap_or_else(|_| {
        let mut response = Response::new(Body::from("Bad Gateway"));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    });
    response.headers_mut().insert(REQUEST_ID, request_id());
    Ok(response)
}

async fn forward(
    client: &Client,
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut parts, body) = request.into_parts();
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let url = Url::parse(&format!("http://{upstream}{target}"))?;
    clean(&mut parts.headers);
    parts.headers.remove(header::HOST);
    parts.headers.insert(
        "x-forwarded-proto",
        header::HeaderValue::from_static("http"),
    );
    let mut onward = reqwest::Request::new(parts.method, url);
    *onward.headers_mut() = parts.headers;
    if !hyper::body::Body::is_end_stream(&body) {
        *onward.body_mut() = Some(Body::wrap(body));
    }
    let mut response = Response::from(client.execute(onward).await?);
    clean(response.headers_mut());
    Ok(response)
}

fn clean(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
