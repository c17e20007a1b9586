//! What goes to an upstream, and what of its head comes back.

use std::sync::Mutex;

use super::*;
use framex_core::context::TraceContext;

/// An upstream that remembers the heads of its requests.
pub(super) async fn listening() -> (Scripted, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heads);
    let upstream = Scripted::start(move |mut peer, _| {
        let log = Arc::clone(&log);
        async move {
            while let Some(head) = peer.head().await {
                log.lock().unwrap().push(head);
                peer.send(answer("200 OK", "", "ok")).await;
            }
        }
    })
    .await;
    (upstream, heads)
}

fn lines(head: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    lines[1..].sort_unstable();
    lines
}

#[tokio::test]
async fn a_request_goes_on_as_it_came() {
    let (upstream, heads) = listening().await;
    let url = format!("http://{}/base/", upstream.address);
    let forwarder = forwarder(&url, json!({"prefix": "/up"}));
    let sent = [
        ("host", "edge.example"),
        ("accept", "a/b"),
        ("accept", "c/d;q=0.1"),
        ("accept-encoding", "br, gzip"),
        ("cookie", "a=1; framex_session=s; b=2"),
        ("cookie", "framex-kit=1"),
        ("cookie", "c=3"),
        ("authorization", "Bearer client"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("upgrade", "websocket"),
        ("proxy-authorization", "p"),
        ("expect", "100-continue"),
        ("content-length", "7"),
        ("x-framex-key", "1"),
        ("x-framex-trail", "forged"),
        ("x-forwarded-for", "10.0.0.1"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let target = "/up/items/a%20b?x=1&x='2'&&y=%2F..%2F";
    let got = pass_with(&forwarder, &format!("DELETE {target}"), &sent, None).await;
    assert_eq!(got.unwrap().text(), "ok");
    let heads = heads.lock().unwrap();
    let mut lines = lines(&heads[0]);
    let trace = lines
        .iter()
        .position(|line| line.starts_with("traceparent: "));
    let trace = TraceContext::parse(&lines.remove(trace.unwrap())[13..]).unwrap();
    assert_eq!(trace.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(
        lines,
        [
            "DELETE /base/items/a%20b?x=1&x='2'&&y=%2F..%2F HTTP/1.1",
            "accept-encoding: br, gzip",
            "accept: a/b",
            "accept: c/d;q=0.1",
            "cookie: a=1; b=2; c=3",
            &format!("host: {}", upstream.address),
            "x-forwarded-for: 10.0.0.1",
            "x-framex-trail: bridge-1",
            "x-request-id: r-1",
        ]
    );
}

#[tokio::test]
async fn keys_are_ours_before_they_are_the_clients() {
    let (upstream, heads) = listening().await;
    let client = [("authorization", "Bearer client")];
    for (settings, path, key) in [
        (json!({}), "/x", None),
        (
            json!({"forward_authorization": true}),
            "/x",
            Some("Bearer client"),
        ),
        (
            json!({"auth": {"rules": {"/x": ["Our key"]}}, "forward_authorization": true}),
            "/x",
            Some("Our key"),
        ),
        (json!({"auth": {"rules": {"/y/*": ["other"]}}}), "/x", None),
    ] {
        let forwarder = upstream.forwarder(settings);
        pass_with(&forwarder, &format!("GET {path}"), &client, None)
            .await
            .unwrap();
        let head = heads.lock().unwrap().pop().unwrap();
        let found = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("authorization: "));
        assert_eq!(found, key);
    }
}

#[tokio::test]
async fn bodies_are_announced_as_they_are() {
    let (upstream, heads) = listening().await;
    let forwarder = upstream.forwarder(json!({}));
    let coming = |size: Option<u64>| {
        let stream = ByteStream::new(futures_util::stream::iter([Ok(Bytes::from("abc"))]));
        Upload::new(match size {
            Some(size) => stream.with_size(size),
            None => stream,
        })
    };
    for (method, body, framing) in [
        (
            "POST",
            Some(Upload::new(ByteStream::full("abc")).with_content_type("t/x")),
            "content-length: 3",
        ),
        ("POST", Some(coming(Some(3))), "content-length: 3"),
        ("POST", Some(coming(None)), "transfer-encoding: chunked"),
        ("GET", Some(coming(None)), "transfer-encoding: chunked"),
        (
            "PUT",
            Some(Upload::new(ByteStream::default())),
            "content-length: 0",
        ),
        ("OPTIONS", None, ""),
    ] {
        let typed = body
            .as_ref()
            .is_some_and(|body| !body.content_type.is_empty());
        let fresh = upstream.forwarder(json!({}));
        pass_with(&fresh, &format!("{method} /x"), &[], body)
            .await
            .unwrap();
        let head = heads.lock().unwrap().remove(0);
        heads.lock().unwrap().clear();
        let found: Vec<_> = lines(&head)
            .into_iter()
            .filter(|line| line.starts_with("content-l") || line.starts_with("transfer"))
            .collect();
        assert_eq!(found.join(""), framing, "{method}");
        assert_eq!(head.contains("content-type: t/x"), typed);
    }
    drop(forwarder);
}

/// What the answer may repeat has no secrets, and what clients say of themselves stays here.
#[tokio::test]
async fn what_nobody_is_to_see_or_believe_stays() {
    let (upstream, heads) = listening().await;
    let settings = json!({"auth": {"rules": {"/x": ["our-key"]}}});
    let keyed = upstream.forwarder(settings);
    let open = upstream.forwarder(json!({"forward_authorization": true}));
    let sent = [("cookie", "a=1"), ("authorization", "Bearer client")];
    for forwarder in [&keyed, &open] {
        pass_with(forwarder, "TRACE /x", &sent, None).await.unwrap();
        let head = heads.lock().unwrap().pop().unwrap();
        assert!(!head.contains("cookie") && !head.contains("auth"), "{head}");
    }
    let sent = [
        ("connection", "x-forwarded-for, x-hop, cookie"),
        ("x-hop", "1"),
        ("cookie", "a=1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_for", "6.6.6.6"),
        ("x_forwarded-host", "evil"),
        ("x_framex_trail", "forged"),
        ("content_length", "7"),
        ("proxy", "evil"),
        ("x-forwarded-prefix", "/evil"),
        ("x-original-url", "/admin"),
        ("x_original_url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-own_name", "1"),
    ];
    pass_with(&open, "GET /x", &sent, None).await.unwrap();
    let head = heads.lock().unwrap().pop().unwrap();
    let own = lines(&head)
        .into_iter()
        .filter(|line| line.starts_with("x"));
    assert_eq!(
        own.collect::<Vec<_>>(),
        [
            "x-forwarded-for: 10.0.0.1",
            "x-framex-trail: bridge-1",
            "x-own_name: 1",
            "x-request-id: r-1",
        ]
    );
    for word in ["evil", "cookie", "content_length"] {
        assert!(!head.contains(word), "{head}");
    }
}

#[tokio::test]
async fn of_an_answers_head_all_comes_back_but_what_is_the_connections() {
    let upstream = Scripted::start(|mut peer, _| async move {
        while let Some(head) = peer.head().await {
            let host = head
                .split("host: ")
                .nth(1)
                .unwrap()
                .split('\r')
                .next()
                .unwrap();
            let answer = answer(
                "307 Somewhere",
                &format!(
                    "Set-Cookie: a=1\r\nset-cookie: b=2\r\nConnection: x-hop\r\nx-hop: 1\r\n\
                     Keep-Alive: timeout=5\r\nX-FrameX-Cache: HIT\r\nalt-svc: h3\r\n\
                     x-request-id: theirs\r\nServer: theirs\r\n\
                     Location: http://{host}/base/next?x=%2f\r\nContent-Location: /base/\r\n"
                ),
                "gone",
            );
            peer.send(answer).await;
        }
    })
    .await;
    let url = format!("http://{}/base", upstream.address);
    let forwarder = forwarder(&url, json!({"prefix": "/up"}));
    let got = pass(&forwarder, "GET /up/x").await.unwrap();
    assert_eq!((got.status, got.text()), (307, "gone"));
    let mut headers: Vec<String> = got
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            "content-location: /up/",
            "location: /up/next?x=%2f",
            "server: theirs",
            "set-cookie: a=1",
            "set-cookie: b=2",
        ]
    );
    // A redirect that leads to itself is the client's to notice.
    for _ in 0..3 {
        assert_eq!(pass(&forwarder, "GET /up/next").await.unwrap().status, 307);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_call_that_comes_back_is_refused() {
    let (upstream, heads) = listening().await;
    let forwarder = upstream.forwarder(json!({}));
    let call = |trail: &str| {
        let meta = CallMeta {
            trail: Some(trail.into()),
            ..CallMeta::default()
        };
        operation(&forwarder, "/x").call(context_of(meta), args("GET", "/x?y", None))
    };
    let full = (0..8)
        .map(|n| format!("b{n}"))
        .collect::<Vec<_>>()
        .join(",");
    for trail in ["other, bridge-1", &full] {
        let error = call(trail).await.unwrap_err();
        assert_eq!(
            (error.status().as_u16(), error.code()),
            (508, "loop_detected")
        );
        let detail = error.detail().unwrap();
        assert_eq!(
            (&detail["path"], &detail["trail"]),
            (&json!("/x"), &json!(trail))
        );
    }
    assert!(heads.lock().unwrap().is_empty());
    call("other").await.unwrap();
    let head = heads.lock().unwrap().pop().unwrap();
    assert!(
        head.contains("x-framex-trail: other, bridge-1\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn what_no_document_describes_is_passed_below_its_prefix() {
    let (upstream, heads) = listening().await;
    let url = format!("http://{}/base", upstream.address);
    let forwarder = forwarder(
        &url,
        json!({"prefix": "/up", "auth": {"rules": {"/a/*": ["k"]}}}),
    );
    let passed = || args("PATCH", "/up/a/b?c", None).passed().unwrap().unwrap();
    in_time(forwarder.pass(&context(&[]), passed()))
        .await
        .unwrap();
    let head = heads.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("PATCH /base/a/b?c HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: k\r\n"), "{head}");
}
