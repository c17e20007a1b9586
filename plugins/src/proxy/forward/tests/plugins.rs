//! What plugins send and get.

use framex_core::args::Named;
use framex_core::context::CallMeta;
use framex_core::plugin::Handler;

use super::*;
use crate::proxy::operation::{Argument, Body, Form, Place, Style};

/// An operation `POST /items/{id}` that takes a JSON body.
fn item(forwarder: &Arc<Forwarder>) -> Arc<dyn Handler> {
    let id = ApiId::parse("proxy.up.item").unwrap();
    let mut descriptor = ApiDescriptor::new(id, ApiKind::Http);
    descriptor.bridged = true;
    let shape = Shape {
        method: Method::POST,
        prefix: "/up".into(),
        base: "/v1".into(),
        path: "/items/{id}".into(),
        parameters: vec![Argument {
            name: "id".into(),
            place: Place::Path,
            required: true,
            style: Style::Commas,
        }],
        body: Some(Body {
            form: Form::Json,
            media_type: "application/json".into(),
            required: false,
        }),
        streams: false,
    };
    forwarder.operation(descriptor.into(), shape.into())
}

async fn call(forwarder: &Arc<Forwarder>, values: Value) -> Result<Reply> {
    let args = Args::from_json(values.to_string().into());
    let headers = [
        ("accept-encoding", "gzip"),
        ("if-none-match", "\"x\""),
        ("cookie", "a=1"),
        ("authorization", "client"),
        ("accept-language", "fr"),
    ];
    in_time(item(forwarder).call(context(&headers), args)).await
}

#[tokio::test]
async fn a_plugin_asks_for_itself() {
    let upstream = Scripted::start(|mut peer, _| async move {
        while let Some(head) = peer.head().await {
            let length = head.split("content-length: ").nth(1).unwrap_or("0\r");
            let length = length.split('\r').next().unwrap().parse().unwrap();
            let body = String::from_utf8(peer.bytes(length).await).unwrap();
            let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
            lines.retain(|line| !line.starts_with("host"));
            let echo = json!({"head": lines, "body": body});
            peer.send(json_answer("200 OK", &echo.to_string())).await;
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    let Reply::Value(json) = call(&forwarder, json!({"id": "a b", "item": {"n": 1}}))
        .await
        .unwrap()
    else {
        panic!()
    };
    let echo: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(echo["body"], "{\"n\":1}");
    assert_eq!(
        echo["head"],
        json!([
            "POST /v1/items/a%20b HTTP/1.1",
            "accept-language: fr",
            "accept: application/json, text/event-stream, */*;q=0.5",
            concat!("user-agent: framex/", env!("CARGO_PKG_VERSION")),
            "x-framex-trail: bridge-1",
            "x-request-id: r-1",
            "content-type: application/json",
            "content-length: 7",
        ])
    );
    let error = call(&forwarder, json!({"item": 1, "more": 2}))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "validation_failed");
    // What no document describes.
    let mut named = Named::default();
    named.values.insert("q".into(), json!(["a", 1]));
    let reply = forwarder
        .call(&context(&[]), "DELETE /y?z", named)
        .await
        .unwrap();
    let Reply::Value(json) = reply else { panic!() };
    let echo: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(echo["head"][0], "DELETE /y?z&q=a&q=1 HTTP/1.1");
    let meta = CallMeta {
        trail: Some("bridge-1".into()),
        ..CallMeta::default()
    };
    let error = forwarder
        .call(&context_of(meta), "/y", Named::default())
        .await
        .unwrap_err();
    assert_eq!(error.status(), 508);
}

/// What a plugin gets for `answer`.
async fn reply(answer: Bytes, framex: bool) -> Result<Reply> {
    let upstream = Scripted::answering(answer).await;
    let forwarder = upstream.forwarder(json!({}));
    forwarder.set_framex(framex);
    let reply = call(&forwarder, json!({"id": 1})).await;
    if let Ok(Reply::Value(_)) = &reply {
        assert_eq!(forwarder.state().in_flight, 0);
    }
    reply
}

#[tokio::test]
async fn successes_are_values() {
    let envelope = r#"{"status":200,"message":"success","timestamp":"t","data":[1.50]}"#;
    let empty = r#"{"status":200,"message":"success","timestamp":"t"}"#;
    for (answer, framex, value) in [
        (json_answer("200 OK", " {\"a\": 1} "), false, " {\"a\": 1} "),
        (json_answer("201 OK", "5"), false, "5"),
        (json_answer("200 OK", ""), false, "null"),
        (
            answer(
                "200 OK",
                "content-type: application/problem+json\r\n",
                "\"ä\"",
            ),
            false,
            "\"ä\"",
        ),
        ("HTTP/1.1 204 No\r\n\r\n".into(), false, "null"),
        (json_answer("200 OK", envelope), true, "[1.50]"),
        (json_answer("200 OK", empty), true, "null"),
        (json_answer("200 OK", envelope), false, envelope),
        (json_answer("200 OK", "[2]"), true, "[2]"),
    ] {
        let Reply::Value(found) = reply(answer, framex).await.unwrap() else {
            panic!("{value}")
        };
        assert_eq!(found, value);
    }
    let text = answer(
        "203 Text",
        "content-type: text/plain\r\nset-cookie: a=1\r\n",
        "some",
    );
    let got = got(reply(text, false).await.unwrap()).await.unwrap();
    assert_eq!((got.status, got.text(), got.size), (203, "some", Some(4)));
    assert_eq!(got.headers["set-cookie"], "a=1");
}

#[tokio::test]
async fn errors_are_errors_with_the_upstreams_words() {
    let framex = r#"{"status":409,"message":"taken","timestamp":"t","data":{"detail":[1]}}"#;
    for (answer, is_framex, status, said, detail) in [
        (
            json_answer("404 None", "{\"detail\":\"no item\"}"),
            false,
            404,
            ": no item",
            json!({"upstream": "up"}),
        ),
        (
            json_answer("422 Bad", "{\"detail\":[{\"loc\":[\"q\"]}]}"),
            false,
            422,
            "Unprocessable Entity",
            json!({"upstream": "up", "detail": [{"loc": ["q"]}]}),
        ),
        (
            answer("503 Busy", "retry-after: 7\r\n", "<html>"),
            false,
            503,
            "Unavailable",
            json!({"upstream": "up"}),
        ),
        (
            json_answer("200 OK", framex),
            true,
            409,
            ": taken",
            json!({"upstream": "up", "detail": [1]}),
        ),
    ] {
        let error = reply(answer, is_framex).await.unwrap_err();
        assert_eq!(
            (error.status().as_u16(), error.code()),
            (status, "upstream_error")
        );
        assert!(
            error.message().starts_with("the upstream `up` answered "),
            "{error}"
        );
        assert!(error.message().ends_with(said), "{error}");
        assert_eq!(error.detail(), Some(&detail));
        assert_eq!(error.headers().contains_key("retry-after"), status == 503);
    }
}

#[tokio::test]
async fn what_leads_elsewhere_is_no_result() {
    for (location, told) in [
        ("/items/?secret=1", "307 Temporary Redirect to `/items/`,"),
        ("http://10.0.0.5:8000/items/", " to `/items/`,"),
        ("", "307 Temporary Redirect, which"),
    ] {
        let answer = answer("307 Go", &format!("location: {location}\r\n"), "");
        let error = reply(answer, false).await.unwrap_err();
        let found = (error.status().as_u16(), error.code());
        assert_eq!(found, (502, "unexpected_reply"));
        assert!(error.message().contains(told), "{error}");
        assert!(!error.message().contains("10.0") && !error.message().contains("secret"));
    }
}

#[tokio::test]
async fn what_is_no_json_is_no_value() {
    let upstream = Scripted::start(|mut peer, number| async move {
        peer.head().await;
        let bodies: [&[u8]; 3] = [b"{\"a\":", b"\"\xff\"", b"1 2"];
        let body = bodies[number];
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        peer.send(head).await;
        peer.send(body).await;
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    for _ in 0..3 {
        let error = call(&forwarder, json!({"id": 1})).await.unwrap_err();
        assert_eq!(
            (error.status().as_u16(), error.code()),
            (502, "upstream_broken")
        );
    }
}

#[tokio::test]
async fn events_come_while_they_are_sent() {
    let upstream = Scripted::start(|mut peer, _| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: one\n\n")
            .await;
        let mut go = [0; 1];
        // Until the test has seen it.
        let _ = tokio::time::timeout(Duration::from_millis(100), peer.stream.read(&mut go)).await;
        peer.send("event: x\r\ndata: {\"n\": 2}\r\n\r\ndata: lo")
            .await;
        peer.reset();
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    let Reply::Stream(mut events) = call(&forwarder, json!({"id": 1})).await.unwrap() else {
        panic!()
    };
    let mut next = async || in_time(events.next()).await;
    assert_eq!(next().await.unwrap().unwrap().as_text(), Some("one"));
    let second = next().await.unwrap().unwrap();
    assert_eq!(
        (second.name(), second.parse::<Value>().unwrap()),
        ("x", json!({"n": 2}))
    );
    assert_eq!(next().await.unwrap().unwrap_err().code(), "upstream_broken");
    assert!(next().await.is_none());
}
