//! The edge inside somebody else's server.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use bytes::Bytes;
use framex::Principal;
use framex::edge::Edge;
use framex_test_support::raw::Ask;
use framex_test_support::{Server, until};
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::zoo::{Zoo, seen};

async fn inside_axum(edge: &Edge) -> SocketAddr {
    let router = Router::new()
        .route("/own", axum::routing::get(async || "axum's"))
        .nest_service("/below", edge.clone())
        .fallback_service(edge.clone())
        .layer(DefaultBodyLimit::max(1 << 30));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn beside_the_routes_of_axum() {
    let server = Server::of::<Zoo>().await;
    let address = inside_axum(server.edge()).await;
    let get = async |target: &str| Ask::new(address, "GET", target).send().await;
    assert_eq!(get("/own").await.text(), "axum's");
    assert_eq!(get("/api/v1/echo?message=in").await.data(), "in");
    assert_eq!(
        get("/below/api/v1/echo?message=below").await.data(),
        "below"
    );
    assert_eq!(get("/api/v1/items/a%2Fb").await.data(), "a/b");
    assert_eq!(get("/below/api/v1/items/a%2Fb").await.data(), "a/b");
    assert_eq!(get("/nowhere").await.json()["status"], 404);
    assert_eq!(get("/below/docs").await.status, 200);
    let stream = get("/api/v1/stream/texts").await;
    assert!(stream.text().ends_with("event: finish\ndata: {}\n\n"));
    let answer = Ask::new(address, "POST", "/api/v1/value")
        .json("[1]")
        .send()
        .await;
    assert_eq!(answer.data()[0], 1);
    let answer = Ask::new(address, "POST", "/api/v1/value")
        .json("1".repeat(5 << 20))
        .send()
        .await;
    assert_eq!(answer.status, 413);
    let answer = Ask::new(address, "HEAD", "/api/v1/echo?message=x")
        .send()
        .await;
    assert_eq!(answer.status, 200);
    // A client that leaves takes its handler along here too.
    let hanging = Ask::new(address, "GET", "/api/v1/hang?key=mounted")
        .start()
        .await;
    until("it runs", || seen("mounted").begun == 1).await;
    drop(hanging);
    until("it is gone", || seen("mounted").gone == 1).await;
}

async fn body_of(
    edge: &Edge,
    request: Request<
        impl http_body::Body<Data = Bytes, Error: Into<framex::BoxError>> + Send + 'static,
    >,
) -> (u16, Value) {
    let response = edge.handle(request).await;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn post(target: &str) -> http::request::Builder {
    Request::post(target.to_owned()).header("content-type", "application/json")
}

/// A body in frames of its own choosing.
struct Frames(Vec<Result<Frame<Bytes>, framex::BoxError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = framex::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = (!self.0.is_empty()).then(|| self.0.remove(0));
        Poll::Ready(next)
    }
}

#[tokio::test]
async fn bodies_of_other_servers() {
    let server = Server::of::<Zoo>().await;
    let edge = server.edge();
    let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
    let frames = vec![
        data(""),
        data("[1,"),
        data(""),
        data("2]"),
        Ok(Frame::trailers(HeaderMap::new())),
    ];
    let request = post("/api/v1/value").body(Frames(frames)).unwrap();
    assert_eq!(body_of(edge, request).await.1["data"][1], 2);
    let frames = vec![data("[1"), Err("gone: password=hunter2".into())];
    let request = post("/api/v1/value").body(Frames(frames)).unwrap();
    let (status, json) = body_of(edge, request).await;
    assert_eq!(status, 400);
    assert!(!json.to_string().contains("hunter2"), "{json}");
    // What another layer refuses as too large is too large.
    let limited = http_body_util::Limited::new(Full::new(Bytes::from_static(b"[1,2,3]")), 3);
    let request = post("/api/v1/value").body(limited).unwrap();
    assert_eq!(body_of(edge, request).await.0, 413);
}

#[tokio::test]
async fn a_principal_of_another_layer() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .rule("/api/v1/unit", &["k"])
        .start()
        .await;
    let mut request = Request::get("/api/v1/who")
        .body(Full::<Bytes>::default())
        .unwrap();
    request.extensions_mut().insert(Principal::new("somebody"));
    let (_, json) = body_of(server.edge(), request).await;
    assert_eq!(json["data"]["principal"], "somebody");
    // It is no key.
    let mut request = Request::get("/api/v1/unit")
        .body(Full::<Bytes>::default())
        .unwrap();
    request.extensions_mut().insert(Principal::new("somebody"));
    assert_eq!(body_of(server.edge(), request).await.0, 401);
}
