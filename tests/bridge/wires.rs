//! What is below a request: connections, TLS, HTTP/2, and upstreams that break the rules.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use framex_test_support::h2::Client;
use framex_test_support::nats::Tls;
use framex_test_support::patiently;
use framex_test_support::raw::Ask;
use framex_test_support::upstream::Upstream;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::process::Serving;
use crate::site::{bridge, front, imported, programs, sources, until};

/// A client of HTTP/2 sees the same.
#[tokio::test]
async fn http2() {
    let mut client = Client::open(front().address()).await;
    for (method, target, body, status) in [
        ("GET", "/items/7", "", 200),
        ("POST", "/json/any", "[1, null]", 200),
        ("GET", "/fail/409", "", 409),
        ("GET", "/sse", "", 200),
        ("GET", "/large?size=1000000", "", 200),
        ("DELETE", "/items/7", "", 204),
        ("HEAD", "/download", "", 200),
        ("GET", "/many-headers", "", 200),
    ] {
        let response = client.send(method, target, body).await;
        assert_eq!(response.status(), status, "{target}");
        patiently("the body", response.into_body().collect())
            .await
            .unwrap();
    }
    let response = client.send("GET", "/cut", "").await;
    assert!(
        response.into_body().collect().await.is_err(),
        "half of it is no whole"
    );
    let mirror = client.send("GET", "/mirror/x?a=1&a=2", "").await;
    let mirror = mirror.into_body().collect().await.unwrap().to_bytes();
    let mirror: Value = serde_json::from_slice(&mirror).unwrap();
    assert_eq!(mirror["query"], "a=1&a=2");
    let headers = mirror["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-forwarded-proto", "http"])));
    assert!(headers.contains(&json!(["x-forwarded-host", front().address().to_string()])));
}

/// Requests one after the other need one connection, not one each.
#[tokio::test]
async fn connections_are_kept() {
    let mut clients = HashSet::new();
    for _ in 0..20 {
        let mirror = front().get("/mirror/x").send().await.json();
        clients.insert(mirror["client"].as_u64().unwrap());
    }
    // Other tests use some of them meanwhile.
    assert!(clients.len() < 12, "{clients:?}");
}

/// An upstream with a certificate is believed if its authority is.
#[tokio::test]
async fn certificates() {
    let tls = Tls::generate();
    let options = vec![
        "--ssl-certfile".into(),
        tls.server_cert().into(),
        "--ssl-keyfile".into(),
        tls.server_key().into(),
    ];
    let upstream = Upstream::asgi_with(programs(), &sources(), "clash:app", options).started();
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "load_builtin_plugins = [\"proxy\"]\n[plugins.proxy]\nrefresh = \"300ms\"\n\
         [plugins.proxy.proxy_urls.\"https://{}\"]\nname = \"orders\"\nenable = [\"/*\"]\n",
        upstream.address()
    );
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    let start = |authority: &Tls| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_framex"));
        command.arg("run").env("SSL_CERT_FILE", authority.ca());
        Serving::start(&mut command, dir.path())
    };
    let trusting = start(&tls);
    until("it is read", async || {
        let answer = Ask::new(trusting.address(), "GET", "/orders").send().await;
        (answer.status == 200).then_some(())
    })
    .await;
    let doubting = start(&Tls::generate());
    let ready = Ask::new(doubting.address(), "GET", "/ready")
        .send()
        .await
        .json();
    assert_eq!(ready["status"], "degraded", "{ready}");
    assert!(ready.to_string().contains("orders"), "{ready}");
    assert!(!ready.to_string().contains("127.0.0.1"), "{ready}");
    let answer = Ask::new(doubting.address(), "GET", "/orders").send().await;
    assert_eq!(answer.status, 404);
}

/// A server that serves a document and answers everything else by a script.
async fn scripted() -> SocketAddr {
    const DOCUMENT: &str = r#"{"openapi": "3.1.0", "info": {"title": "Odd", "version": "1"}, "paths": {
        "/{script}": {"parameters": [{"name": "script", "in": "path", "required": true, "schema": {}}],
            "get": {"responses": {}}, "post": {"responses": {}}}}}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // The other side may leave at any time.
                let _ = answer(stream, DOCUMENT).await;
            });
        }
    });
    address
}

async fn answer(mut stream: TcpStream, document: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
    match path {
        "/openapi.json" => {
            let length = document.len();
            let answer = format!("{head}content-length: {length}\r\n\r\n{document}");
            stream.write_all(answer.as_bytes()).await?;
        }
        "/nothing" => {}
        "/garbage" => stream.write_all(b"220 smtp.example.com ESMTP\r\n").await?,
        "/half-a-head" => stream.write_all(b"HTTP/1.1 200 OK\r\nx-hal").await?,
        "/short" => {
            let answer = format!("{head}content-length: 10\r\n\r\nshort");
            stream.write_all(answer.as_bytes()).await?;
        }
        "/both-lengths" => {
            let answer = format!("{head}content-length: 3\r\ncontent-length: 5\r\n\r\n12345");
            stream.write_all(answer.as_bytes()).await?;
        }
        "/bad-chunk" => {
            let answer = format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
            stream.write_all(answer.as_bytes()).await?;
        }
        "/trickle" => {
            for byte in format!("{head}content-length: 5\r\n\r\nhello").bytes() {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        "/endless" => {
            stream.write_all(format!("{head}\r\n").as_bytes()).await?;
            loop {
                stream.write_all(&[b'e'; 8192]).await?;
            }
        }
        "/flood-of-headers" => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream
                    .write_all(b"x-flood: 0123456789012345678901234567890123456789\r\n")
                    .await?;
            }
        }
        _ => {
            stream
                .write_all(format!("{head}\r\nplain").as_bytes())
                .await?;
        }
    }
    stream.shutdown().await
}

/// Each is a failure with a name, or a connection that breaks, or simply passed on.
#[tokio::test]
async fn upstreams_that_break_the_rules() {
    let address = scripted().await;
    let server = bridge(json!({ "proxy_urls": { format!("http://{address}"): {
        "name": "odd", "enable": ["/*"], "timeout": "2s",
    }}}));
    let server = server.start().await;
    imported(&server, "odd").await;
    for (target, code) in [
        ("/nothing", "upstream_broken"),
        ("/garbage", "upstream_broken"),
        ("/half-a-head", "upstream_broken"),
        ("/both-lengths", "upstream_broken"),
        ("/flood-of-headers", "upstream_headers"),
    ] {
        // Now and then a good answer, or the circuit opens.
        assert_eq!(server.get("/plain").send().await.text(), "plain");
        let answer = server.get(target).send().await;
        assert_eq!(answer.status, 502, "{target}: {}", answer.lossy());
        let body = answer.json();
        assert_eq!(body["code"], code, "{target}: {body}");
        assert!(body["message"].as_str().unwrap().contains("odd"), "{body}");
    }
    for target in ["/short", "/bad-chunk"] {
        let (head, mut connection) = server.get(target).open().await;
        assert_eq!(head.status, 200, "{target}");
        let rest = patiently("the end", connection.rest()).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{target}: it looks whole");
    }
    assert_eq!(server.get("/trickle").send().await.text(), "hello");
    let (head, mut endless) = server.get("/endless").open().await;
    assert_eq!(head.status, 200);
    for _ in 0..20 {
        assert!(endless.chunk().await.is_some());
    }
    drop(endless);
    assert_eq!(server.get("/plain").send().await.text(), "plain");
    server.stop().await;
}
