//! Upstreams that do not answer, or not properly.

use std::time::Instant;

use super::*;
use crate::proxy::forward::Circuit;

fn told(error: &framex_core::error::Error) -> (u16, &str) {
    (error.status().as_u16(), error.code())
}

#[tokio::test]
async fn what_is_no_answer_is_told_by_name() {
    for (first, reset, told_as) in [
        ("", true, (502, "upstream_broken")),
        ("", false, (502, "upstream_broken")),
        ("HTTP/1.1 200 O", true, (502, "upstream_broken")),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n",
            false,
            (502, "upstream_broken"),
        ),
        (
            "220 mail.example ESMTP\r\n",
            false,
            (502, "upstream_broken"),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            false,
            (502, "upstream_broken"),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            false,
            (502, "upstream_broken"),
        ),
        (
            "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            false,
            (502, "upstream_broken"),
        ),
    ] {
        let upstream = Scripted::start(move |mut peer, _| async move {
            peer.head().await;
            peer.send(first).await;
            // What was sent is to arrive before the reset does.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if reset {
                peer.reset();
            }
        })
        .await;
        let forwarder = upstream.forwarder(json!({}));
        let error = pass(&forwarder, "GET /x").await.unwrap_err();
        assert_eq!(told(&error), told_as, "{first:?}");
        assert!(error.message().contains("`up`"), "{error}");
        let port = upstream.address.port().to_string();
        assert!(!error.message().contains(&port), "{error}");
        assert!(error.source().is_some(), "the log says why");
        // A new connection was not an old one that had died: nothing is tried again.
        assert_eq!(upstream.connections(), 1, "{first:?}");
        let state = forwarder.state();
        assert_eq!(
            (
                state.requests,
                state.failures,
                state.retries,
                state.in_flight
            ),
            (1, 1, 0, 0)
        );
    }
}

#[tokio::test]
async fn who_is_not_there_is_told_apart() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    for url in [
        format!("http://{address}"),
        "http://no-such-host.invalid".into(),
    ] {
        let forwarder = forwarder(&url, json!({}));
        let error = pass(&forwarder, "POST /x").await.unwrap_err();
        assert_eq!(told(&error), (502, "upstream_unreachable"));
        assert!(!error.message().contains("127") && !error.message().contains("invalid"));
    }
}

#[tokio::test]
async fn a_flood_of_headers_is_bounded() {
    let upstream = Scripted::start(|mut peer, _| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\n").await;
        for number in 0..1_000_000 {
            if peer
                .stream
                .write_all(format!("x-{number}: {number}\r\n").as_bytes())
                .await
                .is_err()
            {
                return;
            }
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    for _ in 0..6 {
        let error = pass(&forwarder, "GET /x").await.unwrap_err();
        assert_eq!(told(&error), (502, "upstream_headers"));
    }
    // It answers, whatever it says.
    assert_eq!(forwarder.state().circuit, Circuit::Closed);
}

#[tokio::test]
async fn many_headers_are_no_flood() {
    let lines: String = (0..500).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let upstream = Scripted::answering(answer("200 OK", &lines, "all")).await;
    let got = pass(&upstream.forwarder(json!({})), "GET /x").await;
    let got = got.unwrap();
    assert_eq!(
        (&got.headers["x-499"], got.text()),
        (&"499".parse().unwrap(), "all")
    );
}

/// What a client is told whose upstream says that it is at work, again and again: as often
/// as it is read, or with pauses.
async fn at_work(pause: Option<Duration>) -> framex_core::error::Error {
    let upstream = Scripted::start(move |mut peer, _| async move {
        peer.head().await;
        let lines = match pause {
            Some(_) => 1,
            None => 1000,
        };
        let said = "HTTP/1.1 102 Processing\r\n\r\n".repeat(lines);
        while peer.stream.write_all(said.as_bytes()).await.is_ok() {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({"timeout": "300ms"}));
    pass(&forwarder, "GET /x").await.unwrap_err()
}

#[tokio::test]
async fn who_is_always_at_work_is_not_waited_for() {
    let error = at_work(Some(Duration::from_millis(20))).await;
    assert_eq!(told(&error), (504, "upstream_timeout"));
    let error = at_work(None).await;
    assert_eq!(told(&error), (502, "upstream_broken"));
}

#[tokio::test]
async fn who_is_slow_has_a_limit() {
    let upstream = Scripted::start(|mut peer, _| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200").await;
        peer.ended().await;
    })
    .await;
    let forwarder = upstream.forwarder(json!({"timeout": "200ms"}));
    let began = Instant::now();
    let error = pass(&forwarder, "GET /x").await.unwrap_err();
    assert_eq!(told(&error), (504, "upstream_timeout"));
    assert!(
        began.elapsed() >= Duration::from_millis(200),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn who_sends_slowly_has_the_time_that_it_takes() {
    let upstream = Scripted::start(|mut peer, _| async move {
        peer.head().await;
        peer.bytes(6).await;
        peer.send(answer("200 OK", "", "all")).await;
    })
    .await;
    let forwarder = upstream.forwarder(json!({"timeout": "100ms"}));
    let trickle = |pause: u64| {
        let stream = futures_util::stream::unfold(0, move |n| async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            (n < 6).then(|| (Ok(Bytes::from("x")), n + 1))
        });
        Upload::new(ByteStream::new(stream).with_size(6))
    };
    for pause in [10, 250] {
        let got = pass_with(&forwarder, "PUT /x", &[], Some(trickle(pause)));
        assert_eq!(got.await.unwrap().text(), "all");
    }
    assert_eq!(forwarder.state().failures, 0);
}

#[tokio::test]
async fn who_takes_nothing_has_a_limit() {
    let upstream = Scripted::start(|mut peer, number| async move {
        peer.head().await;
        if number > 0 {
            // All of it, and then nothing more is said.
            peer.bytes(6).await;
        }
        tokio::time::sleep(LIMIT).await;
    })
    .await;
    let forwarder = upstream.forwarder(json!({"timeout": "200ms"}));
    let piece = Bytes::from_static(&[b'x'; 1 << 16]);
    let endless = futures_util::stream::repeat_with(move || Ok(piece.clone()));
    let whole = futures_util::stream::iter(["abc", "def"].map(|piece| Ok(Bytes::from(piece))));
    for body in [ByteStream::new(endless), ByteStream::new(whole)] {
        let body = Some(Upload::new(body));
        let error = pass_with(&forwarder, "PUT /x", &[], body).await;
        assert_eq!(told(&error.unwrap_err()), (504, "upstream_timeout"));
    }
    assert_eq!(forwarder.state().failures, 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_fault_of_the_upstream() {
    let upstream = Scripted::start(|mut peer, _| async move { peer.ended().await }).await;
    let forwarder = upstream.forwarder(json!({}));
    for _ in 0..7 {
        let pieces = [
            Ok(Bytes::from("x")),
            Err(framex_core::error::Error::bad_request("cut")),
        ];
        let body = Upload::new(ByteStream::new(futures_util::stream::iter(pieces)));
        let error = pass_with(&forwarder, "POST /x", &[], Some(body))
            .await
            .unwrap_err();
        assert_eq!((error.status().as_u16(), error.message()), (400, "cut"));
    }
    assert_eq!(forwarder.state().circuit, Circuit::Closed);
}

/// What becomes of the second request on a connection that the upstream closes: `before` it, or
/// once it has come.
async fn second(
    method: &'static str,
    before: bool,
    always: bool,
) -> (Result<Got>, Arc<Forwarder>, usize) {
    let upstream = Scripted::start(move |mut peer, number| async move {
        peer.head().await;
        if number > 0 && always {
            return;
        }
        peer.send(answer("200 OK", "", "ok")).await;
        if number > 0 {
            peer.ended().await;
        } else if !before {
            peer.head().await;
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    pass(&forwarder, "GET /x").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let got = pass(&forwarder, &format!("{method} /x")).await;
    let connections = upstream.connections();
    (got, forwarder, connections)
}

#[tokio::test]
async fn an_old_connection_that_died_is_replaced() {
    // Closed while nobody used it: nothing was sent, so anything goes to a new one.
    for method in ["GET", "POST"] {
        let (got, forwarder, connections) = second(method, true, false).await;
        assert_eq!(got.unwrap().text(), "ok");
        assert_eq!((connections, forwarder.state().retries), (2, 0));
    }
    // Closed with the request in hand: only what does no harm is sent again, and once.
    let (got, forwarder, connections) = second("GET", false, false).await;
    assert_eq!(got.unwrap().text(), "ok");
    assert_eq!((connections, forwarder.state().retries), (2, 1));
    let (got, forwarder, connections) = second("POST", false, false).await;
    assert_eq!(told(&got.unwrap_err()), (502, "upstream_broken"));
    assert_eq!((connections, forwarder.state().retries), (1, 0));
    let (got, forwarder, connections) = second("GET", false, true).await;
    assert_eq!(told(&got.unwrap_err()), (502, "upstream_broken"));
    assert_eq!((connections, forwarder.state().retries), (2, 1));
}

#[tokio::test]
async fn who_never_answers_is_given_a_rest() {
    let upstream = Scripted::start(|mut peer, number| async move {
        peer.head().await;
        if number >= 5 {
            peer.send(json_answer("503 Busy", "{}")).await;
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    let mut circuit = forwarder.circuit();
    for _ in 0..5 {
        let error = pass(&forwarder, "GET /x").await.unwrap_err();
        assert_eq!(error.code(), "upstream_broken");
    }
    assert_eq!(*circuit.borrow_and_update(), Circuit::Open);
    let error = pass(&forwarder, "GET /x").await.unwrap_err();
    assert_eq!(told(&error), (502, "upstream_down"));
    assert_eq!(error.headers()["retry-after"], "1");
    assert_eq!((upstream.connections(), forwarder.state().refused), (5, 1));
    tokio::time::sleep(Duration::from_millis(1010)).await;
    // An answer is an answer, whatever it says.
    assert_eq!(pass(&forwarder, "GET /x").await.unwrap().status, 503);
    assert_eq!(forwarder.state().circuit, Circuit::Closed);
}

#[tokio::test]
async fn more_than_may_wait_are_refused() {
    let upstream = Scripted::start(|mut peer, _| async move {
        while peer.head().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na")
                .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            peer.send("b").await;
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({"max_ongoing_requests": 1}));
    let first = operation(&forwarder, "/x").call(context(&[]), args("GET", "/x", None));
    let first = first.await.unwrap();
    // It is not answered to its end.
    let error = pass(&forwarder, "GET /x").await.unwrap_err();
    assert_eq!(told(&error), (503, "overloaded"));
    assert_eq!(error.headers()["retry-after"], "1");
    assert_eq!(got(first).await.unwrap().text(), "ab");
    assert_eq!(forwarder.state().in_flight, 0);
    assert_eq!(pass(&forwarder, "GET /x").await.unwrap().text(), "ab");
}

/// Streams of events may be open for days.
#[tokio::test]
async fn streams_that_have_begun_keep_nobody_out() {
    let upstream = Scripted::start(|mut peer, _| async move {
        peer.head().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")
            .await;
        peer.ended().await;
    })
    .await;
    let forwarder = upstream.forwarder(json!({"max_ongoing_requests": 1}));
    let call = || operation(&forwarder, "/x").call(context(&[]), args("GET", "/x", None));
    let counts = || (forwarder.state().in_flight, forwarder.state().streams);
    let first = tokio::spawn(call());
    until(|| counts() == (1, 0)).await;
    let error = pass(&forwarder, "GET /x").await.unwrap_err();
    assert_eq!(told(&error), (503, "overloaded"));
    let first = in_time(first).await.unwrap().unwrap();
    let second = in_time(call()).await.unwrap();
    assert_eq!(counts(), (0, 2));
    drop((first, second));
    assert_eq!(counts(), (0, 0));
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_connection_along() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let upstream = Scripted::start(move |mut peer, number| {
        let count = Arc::clone(&count);
        async move {
            peer.head().await;
            if number > 0 {
                peer.send("HTTP/1.1 200 OK\r\n\r\nsome").await;
            }
            peer.ended().await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    let forwarder = upstream.forwarder(json!({}));
    let call = || operation(&forwarder, "/x").call(context(&[]), args("GET", "/x", None));
    let waiting = tokio::time::timeout(Duration::from_millis(100), call());
    assert!(waiting.await.is_err());
    until(|| ended.load(Ordering::Relaxed) == 1).await;
    let Reply::Download(mut download) = call().await.unwrap() else {
        panic!()
    };
    assert_eq!(download.body.next().await.unwrap().unwrap(), "some");
    drop(download);
    until(|| ended.load(Ordering::Relaxed) == 2).await;
    assert_eq!(forwarder.state().in_flight, 0);
    assert_eq!(forwarder.state().failures, 0);
}
