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
    let whole = " ".repeat(16 << 20);
    let upstream = Scripted::answering(answer("200 OK", "", &whole)).await;
    assert_eq!(document(&upstream).await.unwrap().len(), whole.len());
    for large in [
        gzipped(format!("{whole} ").as_bytes()),
        answer("200 OK", "", &format!("{whole} ")),
    ] {
        let upstream = Scripted::answering(large).await;
        let error = document(&upstream).await.unwrap_err().to_string();
        assert!(error.contains("larger than 16 MiB"), "{error}");
    }
    for (coding, told) in [("gzip", "broke off"), ("br", "not asked for")] {
        let coding = format!("content-encoding: {coding}\r\n");
        let upstream = Scripted::answering(answer("200 OK", &coding, "abc")).await;
        let error = document(&upstream).await.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

/// A few bytes for every mebibyte, and it never ends: whoever unpacks all of it is never done.
#[tokio::test]
async fn a_bomb_does_not_go_off() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&vec![0; 1 << 20]).unwrap();
    packed.flush().unwrap();
    // What is flushed ends with a byte, and is of zeros as what was before: it can come again.
    let packed = Bytes::from(packed.get_ref().clone());
    let upstream = Scripted::start(move |mut peer, _| {
        let (head, mebibyte) = (packed.slice(..10), packed.slice(10..));
        async move {
            peer.head().await;
            let coding = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
            peer.send([coding.as_bytes(), &head].concat()).await;
            while peer.stream.write_all(&mebibyte).await.is_ok() {}
        }
    })
    .await;
    let error = document(&upstream).await.unwrap_err().to_string();
    assert!(error.contains("larger than 16 MiB"), "{error}");
}

#[tokio::test]
async fn a_document_does_not_trickle_in_for_ever() {
    let upstream = Scripted::start(|mut peer, _| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\n\r\n").await;
        loop {
            peer.send(" ").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({"timeout": "10m"}));
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = forwarder.fetch("/openapi.json", None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the upstream `up` did not send it within 30s"
    );
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn a_document_that_does_not_begin_is_not_waited_for() {
    let upstream = Scripted::start(|mut peer, _| async move { peer.ended().await }).await;
    let forwarder = upstream.forwarder(json!({"timeout": "50ms"}));
    let error = in_time(forwarder.fetch("/openapi.json", None)).await;
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "the upstream `up` sent nothing for 50ms");
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
    let upstream = Scripted::answering(answer("302 Found", "location: /base/x\r\n", "")).await;
    let error = document(&upstream).await.unwrap_err();
    assert!(error.to_string().contains("another one"), "{error}");
}

#[tokio::test]
async fn no_key_goes_to_another_origin() {
    let other = Scripted::answering(answer("200 OK", "", "{}")).await;
    let theirs = other.address;
    for location in [
        format!("http://{theirs}/base/openapi.json"),
        format!("//{theirs}/base/openapi.json"),
        format!("http://127.0.0.1@{theirs}/base/openapi.json"),
        "https://{own}/base/openapi.json".to_owned(),
        "file:///base/openapi.json".to_owned(),
    ] {
        let upstream = Scripted::start(move |mut peer, _| {
            let location = location.clone();
            async move {
                let own = peer.stream.local_addr().unwrap().to_string();
                let location = format!("location: {}\r\n", location.replace("{own}", &own));
                while let Some(head) = peer.head().await {
                    assert!(head.contains("authorization: key\r\n"), "{head}");
                    peer.send(answer("302 Found", &location, "")).await;
                }
            }
        })
        .await;
        let error = document(&upstream).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Status(StatusCode::FOUND)),
            "{error}"
        );
        assert_eq!(upstream.connections(), 1);
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn each_path_on_the_way_has_its_own_key() {
    let upstream = Scripted::start(|mut peer, _| async move {
        while let Some(head) = peer.head().await {
            let key = head.split("authorization: ").nth(1);
            let key = key.map(|key| key.split('\r').next().unwrap());
            let (expected, next) = match head.split(' ').nth(1).unwrap() {
                "/base/openapi.json?v=1" => (Some("one"), "two/openapi.json"),
                "/base/two/openapi.json" => (Some("two"), "/two/openapi.json?v=2"),
                "/two/openapi.json?v=2" => {
                    let said = key.unwrap_or("none");
                    peer.send(answer("200 OK", "", said)).await;
                    continue;
                }
                other => panic!("{other}"),
            };
            assert_eq!(key, expected, "{head}");
            // Nobody is told who we are on the way.
            assert!(!head.contains("referer"), "{head}");
            let own = peer.stream.local_addr().unwrap();
            let location = match next.starts_with('/') {
                true => format!("location: http://somebody:secret@{own}{next}#x\r\n"),
                false => format!("location: {next}\r\n"),
            };
            peer.send(answer("307 There", &location, "")).await;
        }
    })
    .await;
    let url = format!("http://{}/base/", upstream.address);
    let rules = json!({"/openapi.json": ["one"], "/two/*": ["two"]});
    let forwarder = forwarder(&url, json!({"auth": {"rules": rules}}));
    let found = in_time(forwarder.fetch("/openapi.json?v=1", None)).await;
    let Ok(Fetched::Document { body, .. }) = found else {
        panic!("{found:?}")
    };
    assert_eq!(body, "none");
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
