//! What comes after the head, in both directions.

use futures_util::{StreamExt as _, stream};

use super::*;

async fn one(answer: impl Into<Bytes>, settings: Value, request: &str) -> (Result<Got>, Scripted) {
    let answer = answer.into();
    let upstream = Scripted::start(move |mut peer, _| {
        let answer = answer.clone();
        async move {
            while peer.head().await.is_some() {
                peer.send(&answer).await;
                // Without a length, the end of the connection is the end of the body.
                let text = String::from_utf8_lossy(&answer).to_lowercase();
                if !text.contains("content-length: 3") && !text.contains("chunked") {
                    return;
                }
            }
        }
    })
    .await;
    let forwarder = upstream.forwarder(settings);
    (pass(&forwarder, request).await, upstream)
}

#[tokio::test]
async fn bodies_come_as_they_are() {
    for (answer, body, size) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"[..], &b"abc"[..], Some(3)),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n1\r\na\r\n2;e=1\r\nbc\r\n0\r\nx: 1\r\n\r\n", b"abc", None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 203 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc", Some(3)),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n\"\xff\"", b"\"\xff\"", Some(3)),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08", b"\x1f\x8b\x08", Some(3)),
        (b"HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nabc", b"abc", Some(3)),
        (b"HTTP/1.1 204 None\r\ncontent-length: 3\r\n\r\n", b"", Some(0)),
        (b"HTTP/1.1 304 Same\r\netag: \"x\"\r\n\r\n", b"", Some(0)),
    ] {
        let (got, _upstream) = one(answer, json!({}), "GET /x").await;
        let got = got.unwrap();
        assert_eq!((&got.body[..], &got.broken), (body, &None));
        assert!(got.size.is_none() || got.size == size || size.is_none(), "{got:?}");
        let wire = String::from_utf8_lossy(answer);
        assert!(wire.contains(&format!(" {} ", got.status)) || got.status == 203, "{got:?}");
        assert_eq!(got.headers.contains_key("content-encoding"), wire.contains("gzip"));
    }
}

#[tokio::test]
async fn a_head_keeps_its_length() {
    for (length, size) in [("content-length: 300000\r\n", Some(300_000)), ("", None)] {
        let answer = format!("HTTP/1.1 200 OK\r\n{length}etag: \"e\"\r\n\r\n");
        let upstream = Scripted::answering(answer).await;
        let forwarder = upstream.forwarder(json!({}));
        for _ in 0..2 {
            let got = pass(&forwarder, "HEAD /x").await.unwrap();
            assert_eq!((got.size, got.body.len()), (size, 0));
            assert_eq!(got.headers["etag"], "\"e\"");
        }
        assert_eq!(
            (upstream.connections(), forwarder.state().in_flight),
            (1, 0)
        );
    }
}

#[tokio::test]
async fn what_breaks_off_is_never_taken_for_the_whole() {
    for (answer, body) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc"[..],
            "abc",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", ""),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
            "abc",
        ),
    ] {
        let (got, _upstream) = one(answer, json!({}), "GET /x").await;
        match got {
            Ok(got) => {
                assert_eq!(got.text(), body);
                assert_eq!(got.broken.as_deref(), Some("502 upstream_broken"));
            }
            // It had come before anything was passed on.
            Err(error) => assert_eq!(error.code(), "upstream_broken"),
        }
    }
    // Too long: what is announced is passed on, and nothing else is read from there.
    let (got, upstream) = one(
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\nforged",
        json!({}),
        "GET /x",
    )
    .await;
    assert_eq!(got.unwrap().text(), "abc");
    let forwarder = upstream.forwarder(json!({}));
    for _ in 0..3 {
        assert_eq!(pass(&forwarder, "GET /x").await.unwrap().text(), "abc");
    }
}

#[tokio::test]
async fn a_silent_body_has_a_limit_and_a_trickle_none() {
    let upstream = Scripted::start(|mut peer, _| async move {
        let head = peer.head().await.unwrap();
        let pause = if head.contains("trickle") { 80 } else { 60_000 };
        peer.send("HTTP/1.1 200 OK\r\n\r\na").await;
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            peer.send("b").await;
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({"timeout": "250ms"}));
    let got = pass(&forwarder, "GET /trickle").await.unwrap();
    assert_eq!((got.text(), &got.broken), ("abbbbbb", &None));
    let got = pass(&forwarder, "GET /silent").await.unwrap();
    assert_eq!(
        (got.text(), got.broken.as_deref()),
        ("a", Some("504 upstream_timeout"))
    );
}

#[tokio::test]
async fn an_endless_answer_waits_for_its_reader() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let upstream = Scripted::start(move |mut peer, _| {
        let count = Arc::clone(&count);
        async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            let mut chunk = b"10000\r\n".to_vec();
            chunk.resize(chunk.len() + 0x10000, b'x');
            chunk.extend_from_slice(b"\r\n");
            while peer.stream.write_all(&chunk).await.is_ok() {
                count.fetch_add(0x10000, Ordering::Relaxed);
            }
            count.fetch_add(usize::MAX / 2, Ordering::Relaxed);
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    let call = operation(&forwarder, "/x").call(context(&[]), args("GET", "/x", None));
    let Reply::Download(mut download) = call.await.unwrap() else {
        panic!()
    };
    let mut taken = 0;
    while taken < 100_000_000 {
        let piece = in_time(download.body.next()).await.unwrap().unwrap();
        assert!(piece.len() <= 128 * 1024, "{}", piece.len());
        taken += piece.len();
    }
    // Nobody reads: what is on its way fills what the system holds, and no more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ahead = sent.load(Ordering::Relaxed) - taken;
    assert!(ahead < 16_000_000, "{ahead} bytes ahead");
    drop(download);
    until(|| sent.load(Ordering::Relaxed) > usize::MAX / 2).await;
}

#[tokio::test]
async fn an_upload_waits_for_the_upstream() {
    const SIZE: usize = 100_000_000;
    let upstream = Scripted::start(|mut peer, _| async move {
        let head = peer.head().await.unwrap();
        assert!(head.contains(&format!("content-length: {SIZE}\r\n")));
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut left = SIZE - peer.read.len();
        let mut sink = vec![0; 1 << 16];
        while left > 0 {
            left -= peer.stream.read(&mut sink).await.unwrap();
        }
        peer.send(answer("201 Made", "", "all")).await;
        peer.ended().await;
    })
    .await;
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let piece = Bytes::from(vec![b'x'; 100_000]);
    let body = stream::iter(0..SIZE / 100_000).map(move |_| {
        count.fetch_add(100_000, Ordering::Relaxed);
        Ok(piece.clone())
    });
    let body = Upload::new(ByteStream::new(body).with_size(SIZE as u64));
    let forwarder = upstream.forwarder(json!({}));
    let call = pass_with(&forwarder, "PUT /x", &[], Some(body));
    let mut call = std::pin::pin!(call);
    let early = tokio::time::timeout(Duration::from_millis(150), &mut call).await;
    assert!(early.is_err());
    let ahead = made.load(Ordering::Relaxed);
    assert!(ahead < 16_000_000, "{ahead} bytes ahead");
    let got = call.await.unwrap();
    assert_eq!((got.status, got.text()), (201, "all"));
}

#[tokio::test]
async fn an_answer_may_come_before_the_upload_has_gone() {
    let upstream = Scripted::start(|mut peer, _| async move {
        peer.head().await;
        peer.send(json_answer("413 Too Large", "{}")).await;
        peer.ended().await;
    })
    .await;
    let body = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok(Bytes::from("x")), ()))
    });
    let forwarder = upstream.forwarder(json!({}));
    let body = Upload::new(ByteStream::new(body));
    let got = pass_with(&forwarder, "PUT /x", &[], Some(body))
        .await
        .unwrap();
    assert_eq!((got.status, got.text()), (413, "{}"));
    // The rest of the upload has no place on a connection of others.
    assert_eq!(pass(&forwarder, "GET /x").await.unwrap().status, 413);
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_event() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let whole = format!("{head}b\r\ndata: a\r\n\r\n\r\n0\r\n\r\n");
    let (got, _upstream) = one(whole, json!({}), "GET /x").await;
    assert_eq!(got.unwrap().text(), "data: a\r\n\r\n");
    let upstream = Scripted::start(move |mut peer, number| async move {
        peer.head().await;
        let more = ["", "8\r\ndata: ha\r\n", "9\r\ndata: hb\n\r\n"][number];
        peer.send(format!("{head}8\r\ndata: a\n\r\n1\r\n\n\r\n{more}"))
            .await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.reset();
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    let got = pass(&forwarder, "GET /x").await.unwrap();
    let (before, event) = got.text().split_once("event: error\ndata: ").unwrap();
    assert_eq!(before, "data: a\n\n");
    assert!(
        event.starts_with("{\"status\": 502, \"message\": \""),
        "{event}"
    );
    let data: Value = serde_json::from_str(event.strip_suffix("\n\n").unwrap()).unwrap();
    assert_eq!(
        (&data["status"], &data["code"]),
        (&json!(502), &json!("upstream_broken"))
    );
    assert_eq!(data["request_id"], "r-1");
    assert!(
        !event.contains(&upstream.address.port().to_string()),
        "{event}"
    );
    assert_eq!(got.broken, None, "the client reads it to its end");
    // A part of an event is not made a whole one.
    for part in ["data: ha", "data: hb\n"] {
        let got = pass(&forwarder, "GET /x").await.unwrap();
        assert_eq!(got.text(), format!("data: a\n\n{part}"));
        assert_eq!(got.broken.as_deref(), Some("502 upstream_broken"));
    }
}

#[tokio::test]
async fn successes_go_into_the_envelope_where_that_is_set() {
    let long = format!("[\"{}\"]", "x".repeat(200_000));
    for (answer, data) in [
        (
            json_answer("201 Made", "{\"a\": 1.50}"),
            Some("{\"a\": 1.50}"),
        ),
        (
            answer(
                "200 OK",
                "content-type: application/json\r\netag: \"1\"\r\naccept-ranges: bytes\r\n",
                "5",
            ),
            Some("5"),
        ),
        (json_answer("200 OK", &long), Some(&*long)),
        (json_answer("200 OK", ""), Some("null")),
        (json_answer("404 None", "{\"detail\":\"x\"}"), None),
        (
            answer("200 OK", "content-type: text/plain\r\n", "text"),
            None,
        ),
        (
            answer(
                "200 OK",
                "content-type: application/json\r\ncontent-encoding: br\r\n",
                "x",
            ),
            None,
        ),
        (json_answer("206 Part", "\"x"), None),
    ] {
        let upstream = Scripted::answering(answer.clone()).await;
        let forwarder = upstream.forwarder(json!({"envelope": true}));
        let got = pass(&forwarder, "GET /x").await.unwrap();
        let own = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        match data {
            Some(data) => {
                let head = format!(
                    "{{\"status\":{},\"message\":\"success\",\"timestamp\":\"",
                    got.status
                );
                assert!(got.text().starts_with(&head), "{}", got.text());
                assert!(got.text().ends_with(&format!("\",\"data\":{data}}}")));
                assert!(got.size.is_none_or(|size| size == got.body.len() as u64));
            }
            None => assert_eq!(got.body, answer[own..]),
        }
        let head = pass(&forwarder, "HEAD /x").await.unwrap();
        assert_eq!((head.status, &head.headers), (got.status, &got.headers));
        let length = data.is_none().then(|| answer.len() as u64 - own as u64);
        assert_eq!(head.size, length, "{answer:?}");
    }
}

#[tokio::test]
async fn errors_of_a_framex_have_their_status() {
    let error = "{\"status\":404,\"message\":\"Not Found\",\"timestamp\":\"t\"}";
    for (body, framex, status) in [
        (error, true, 404),
        (error, false, 200),
        (
            "{\"status\":200,\"message\":\"success\",\"data\":1}",
            true,
            200,
        ),
        ("[]", true, 200),
        ("", true, 200),
    ] {
        let upstream = Scripted::answering(json_answer("200 OK", body)).await;
        let forwarder = upstream.forwarder(json!({}));
        forwarder.set_framex(framex);
        let got = pass(&forwarder, "GET /x").await.unwrap();
        assert_eq!((got.status, got.text()), (status, body));
    }
}
