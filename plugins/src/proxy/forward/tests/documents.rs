//! Documents of upstreams.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::proxy::forward::{FetchError, Fetched};

async fn document(upstream: &Scripted) -> Result<String, FetchError> {
    let url = format!("http://{}/base", upstream.address);
    let settings = json!({"auth": {"rules": {"/openapi.json": ["key"]}}});
    let forwarder = forwarder(&url, settings);
    match in_time(forwarder.fetch("/openapi.json", None)).await? {
        Fetched::Document { body, .. } => Ok(String::from_utf8(body.to_vec()).unwrap()),
        Fetched::NotModified => panic!(),
    }
}

fn gzipped(text: &[u8]) -> Bytes {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text).unwrap();
    let packed = packed.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    );
    [head.as_bytes(), &packed].concat().into()
}

#[tokio::test]
async fn a_document_is_asked_for_with_its_key_and_version() {
    let upstream = Scripted::start(|mut peer, _| async move {
        while let Some(head) = peer.head().await {
            assert!(
                head.starts_with("GET /base/openapi.json HTTP/1.1\r\n"),
                "{head}"
            );
            assert!(head.contains("authorization: key\r\n"), "{head}");
            match head.contains("if-none-match: \"v1\"\r\n") {
                true => peer.send("HTTP/1.1 304 Same\r\n\r\n").await,
                false => peer.send(answer("200 OK", "etag: \"v1\"\r\n", "{}")).await,
            }
        }
    })
    .await;
    let url = format!("http://{}/base", upstream.address);
    let forwarder = forwarder(&url, json!({"auth": {"rules": {"*": ["key"]}}}));
    let first = in_time(forwarder.fetch("/openapi.json", None))
        .await
        .unwrap();
    let Fetched::Document { body, etag } = first else {
        panic!()
    };
    assert_eq!(body, "{}");
    let second = in_time(forwarder.fetch("/openapi.json", etag.as_ref()))
        .await
        .unwrap();
    assert!(matches!(second, Fetched::NotModified));
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_document_is_unpacked_within_a_bound() {
    let upstream = Scripted::answering(gzipped(b"openapi: 3.1.0")).await;
    assert_eq!(document(&upstream).await.unwrap(), "openapi: 3.1.0");
    for large in [
        gzipped(&vec![b' '; (16 << 20) + 1]),
        answer("200 OK", "", &" ".repeat((16 << 20) + 1)),
    ] {
        let upstream = Scripted::answering(large).await;
        let error = document(&upstream).await.unwrap_err().to_string();
        assert!(error.contains("larger than 16 MiB"), "{error}");
    }
    let damaged = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc";
    let upstream = Scripted::answering(damaged).await;
    document(&upstream).await.unwrap_err();
}

#[tokio::test]
async fn redirects_are_followed_on_the_upstream_alone() {
    let upstream = Scripted::start(|mut peer, _| async move {
        while let Some(head) = peer.head().await {
            let host = head
                .split("host: ")
                .nth(1)
                .unwrap()
                .split('\r')
                .next()
                .unwrap();
            let target = head.split(' ').nth(1).unwrap();
            let location = match target {
                "/base/openapi.json" => format!("http://{host}/base/a"),
                "/base/a" => "/base/b".into(),
                "/base/b" => format!("//{host}/base/c"),
                _ => {
                    peer.send(answer("200 OK", "", target)).await;
                    continue;
                }
            };
            let location = format!("location: {location}\r\n");
            peer.send(answer("302 Found", &location, "")).await;
        }
    })
    .await;
    assert_eq!(document(&upstream).await.unwrap(), "/base/c");
    let elsewhere = answer("302 Found", "location: http://127.0.0.2/x\r\n", "");
    let upstream = Scripted::answering(elsewhere).await;
    let error = document(&upstream).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Status(StatusCode::FOUND)),
        "{error}"
    );
    let upstream = Scripted::answering(answer("302 Found", "location: /base/x\r\n", "")).await;
    let error = document(&upstream).await.unwrap_err();
    assert!(error.to_string().contains("another one"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let upstream = Scripted::answering(answer("404 None", "", "")).await;
    let error = document(&upstream).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Status(StatusCode::NOT_FOUND)),
        "{error}"
    );
    let address = upstream.address;
    drop(upstream);
    let forwarder = forwarder(&format!("http://{address}"), json!({}));
    let error = in_time(forwarder.fetch("/openapi.json", None))
        .await
        .unwrap_err();
    assert!(
        !error.to_string().contains(&address.port().to_string()),
        "{error}"
    );
    // Documents have no part in the circuit breaker's count.
    assert_eq!(forwarder.state().requests, 0);
}
