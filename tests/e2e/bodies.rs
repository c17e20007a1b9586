//! JSON and raw bodies.

use std::time::{Duration, Instant};

use framex_test_support::{Answer, Server};
use serde_json::json;

use crate::zoo::Zoo;

async fn post(server: &Server, route: &str, body: impl Into<Vec<u8>>) -> Answer {
    server
        .post(&format!("/api/v1/{route}"))
        .json(body)
        .send()
        .await
}

#[tokio::test]
async fn models() {
    let server = Server::of::<Zoo>().await;
    let answer = post(&server, "model", r#"{"id": 1}"#).await;
    assert_eq!(
        answer.data(),
        json!({"id": 1, "name": "nobody", "tags": null, "inner": null, "alias-ed": null})
    );
    let answer = post(
        &server,
        "model",
        r#"{"id":2,"name":"\u00e4\ud83e\udd80","tags":["a"],"inner":{"when":"2026-01-01T00:00:00Z","colour":"red"},"alias-ed":3,"aliased":9,"unknown":[[]]}"#,
    )
    .await;
    assert_eq!(answer.data()["name"], "ä🦀");
    assert_eq!(answer.data()["alias-ed"], 3);
    // All problems at once.
    let answer = post(
        &server,
        "model",
        r#"{"id":"1","name":null,"tags":["a",1],"inner":{"when":"x","colour":"blue"},"alias-ed":256}"#,
    )
    .await;
    let mut kinds = answer.kinds();
    kinds.sort();
    // `256` is no `u8`, which only the type knows: it is told once the rest is right.
    assert_eq!(kinds.len(), 5, "{kinds:?}");
    for kind in [
        r#"int_type ["body","id"]"#,
        r#"string_type ["body","name"]"#,
        r#"string_type ["body","tags",1]"#,
        r#"datetime_parsing ["body","inner","when"]"#,
        r#"enum ["body","inner","colour"]"#,
    ] {
        assert!(kinds.contains(&kind.to_owned()), "{kind} not in {kinds:?}");
    }
    let answer = post(&server, "model", r#"{"id":1,"alias-ed":256}"#).await;
    assert_eq!(answer.kinds(), [r#"value_error ["body","alias-ed"]"#]);
    let answer = server
        .ask("PUT", "/api/v1/model_and_query?x=a")
        .json("{}")
        .send()
        .await;
    assert_eq!(
        answer.kinds(),
        [
            r#"int_parsing ["query","x"]"#,
            r#"missing ["query","y"]"#,
            r#"missing ["body","id"]"#
        ]
    );
}

#[tokio::test]
async fn wrong_types() {
    let server = Server::of::<Zoo>().await;
    for (body, kind) in [
        ("[]", r#"dict_type ["body"]"#),
        ("null", r#"dict_type ["body"]"#),
        ("1", r#"dict_type ["body"]"#),
        ("\"x\"", r#"dict_type ["body"]"#),
        ("{}", r#"missing ["body","id"]"#),
        (r#"{"id":1.5}"#, r#"int_type ["body","id"]"#),
        (r#"{"id":true}"#, r#"int_type ["body","id"]"#),
        (r#"{"id":null}"#, r#"int_type ["body","id"]"#),
        (r#"{"id":2147483648}"#, r#"int_out_of_range ["body","id"]"#),
        (
            r#"{"id":99999999999999999999999999}"#,
            r#"int_out_of_range ["body","id"]"#,
        ),
        (r#"{"id":1e400}"#, "json_invalid"),
        (r#"{"id":1,"id":2}"#, "duplicate"),
        ("", r#"missing ["body"]"#),
    ] {
        let answer = post(&server, "model", body).await;
        let kinds = answer.kinds();
        assert_eq!(kinds.len(), 1, "{body}: {kinds:?}");
        assert!(kinds[0].starts_with(kind), "{body}: {kinds:?}");
    }
}

/// A report names every problem, but not a million of them.
#[tokio::test]
async fn reports_are_bounded() {
    let server = Server::of::<Zoo>().await;
    let body = format!("{{\"id\":1,\"tags\":[0{}]}}", ",0".repeat(900_000));
    let begun = Instant::now();
    let answer = post(&server, "model", body).await;
    let kinds = answer.kinds();
    assert_eq!(kinds.len(), 101);
    assert_eq!(kinds[99], r#"string_type ["body","tags",99]"#);
    assert_eq!(kinds[100], r#"too_many_problems ["body"]"#);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let query = "xs=x&".repeat(1000);
    let answer = server.get(&format!("/api/v1/lists?{query}")).send().await;
    assert_eq!(answer.kinds().len(), 101);
    let query = "%zz&".repeat(1000);
    let answer = server.get(&format!("/api/v1/lists?{query}")).send().await;
    assert_eq!(answer.kinds().len(), 101);
}

#[tokio::test]
async fn malformed() {
    let server = Server::of::<Zoo>().await;
    for route in ["model", "value", "raw_json", "maybe"] {
        for (body, offset) in [
            (&b"{"[..], 1),
            (b"{\"id\":1", 7),
            (b"{\"id\":1}}", 8),
            (b"{\"id\":1,}", 8),
            (b"{'id':1}", 1),
            (b"{\"id\":NaN}", 6),
            (b"{\"id\":Infinity}", 6),
            (b"\xef\xbb\xbf{\"id\":1}", 0),
            (b"{\"id\":1}\0", 8),
            (b"\0", 0),
            (b"nul", 3),
            (b" ", 1),
        ] {
            let answer = post(&server, route, body).await;
            let shown = String::from_utf8_lossy(body);
            let kinds = answer.kinds();
            assert_eq!(kinds.len(), 1, "{route} {shown:?}");
            assert!(
                kinds[0].starts_with("json_invalid"),
                "{route} {shown:?}: {kinds:?}"
            );
            let at: usize = kinds[0]
                .trim_end_matches(']')
                .rsplit(',')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert!(
                at.abs_diff(offset) <= 1,
                "{route} {shown:?}: {at} is not {offset}"
            );
        }
        for body in [
            &b"{\"id\":1,\"name\":\"\xff\"}"[..],
            b"{\"\xc3\x28\":1,\"id\":1}",
            b"\"\xed\xa0\x80\"",
        ] {
            let answer = post(&server, route, body).await;
            let kinds = answer.kinds();
            assert!(
                kinds.len() == 1
                    && (kinds[0].starts_with("json_invalid")
                        || route == "model"
                        || route == "maybe"),
                "{route} {body:?}: {kinds:?}"
            );
        }
    }
    // A NUL inside a text is a character like others when it is escaped.
    assert_eq!(post(&server, "value", r#""\u0000""#).await.data(), "\0");
    assert!(post(&server, "value", "\"\0\"").await.kinds()[0].starts_with("json_invalid"));
    assert!(post(&server, "value", r#""\ud800""#).await.kinds()[0].starts_with("json_invalid"));
}

#[tokio::test]
async fn nested_too_deeply() {
    let server = Server::of::<Zoo>().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for body in [&deep, &objects, &"[".repeat(100_000)] {
        let answer = post(&server, "value", body.as_str()).await;
        assert!(
            answer.kinds()[0].starts_with("json_invalid"),
            "{:?}",
            answer.kinds()
        );
        assert_eq!(post(&server, "model", body.as_str()).await.status, 422);
        assert_eq!(post(&server, "maybe", body.as_str()).await.status, 422);
        let field = format!("{{\"id\":1,\"unknown\":{body}}}");
        let answer = post(&server, "model", field).await;
        assert!([200, 422].contains(&answer.status), "{}", answer.status);
    }
    // What is only passed on is only checked, at any depth.
    let answer = post(&server, "raw_json", deep.as_str()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with(&format!("{deep}}}")));
    assert_eq!(
        post(&server, "raw_json", "[".repeat(100_000)).await.status,
        422
    );
}

#[tokio::test]
async fn raw_json_is_not_touched() {
    let server = Server::of::<Zoo>().await;
    let body = "{\"a\" : 1.10,\n\"a\":2, \"big\": 123456789012345678901234567890}";
    let answer = post(&server, "raw_json", body).await;
    assert!(
        answer.text().ends_with(&format!("\"data\":{body}}}")),
        "{}",
        answer.text()
    );
    assert_eq!(
        post(&server, "raw_json", "").await.kinds(),
        [r#"missing ["body"]"#]
    );
}

#[tokio::test]
async fn optional_bodies() {
    let server = Server::of::<Zoo>().await;
    for body in ["", "null", " null\n"] {
        let answer = post(&server, "maybe", body).await;
        assert_eq!(answer.data(), json!(null), "{body:?}");
    }
    assert_eq!(
        server.post("/api/v1/maybe").send().await.data(),
        json!(null)
    );
    assert_eq!(post(&server, "maybe", r#"{"id":1}"#).await.data()["id"], 1);
    assert_eq!(
        post(&server, "maybe", "{}").await.kinds(),
        [r#"missing ["body","id"]"#]
    );
}

#[tokio::test]
async fn media_types() {
    let server = Server::of::<Zoo>().await;
    let with = async |kind: &str| {
        server
            .post("/api/v1/model")
            .header("Content-Type", kind)
            .body(r#"{"id":1}"#)
            .send()
            .await
            .status
    };
    for good in [
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/json ;charset=\"utf-8\"",
        "application/vnd.api+json",
    ] {
        assert_eq!(with(good).await, 200, "{good}");
    }
    for bad in [
        "text/json",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "x",
        "",
    ] {
        assert_eq!(with(bad).await, 415, "{bad:?}");
    }
    assert_eq!(
        server
            .post("/api/v1/model")
            .body(r#"{"id":1}"#)
            .send()
            .await
            .status,
        200
    );
    // A packed body is not what it says it is once unpacked.
    let answer = server
        .post("/api/v1/model")
        .header("Content-Encoding", "gzip")
        .json("\x1f\u{8b}")
        .send()
        .await;
    assert_eq!(answer.status, 415);
    assert_eq!(answer.header("accept-encoding"), Some("identity"));
    let answer = server
        .post("/api/v1/model")
        .header("Content-Encoding", "identity")
        .json(r#"{"id":1}"#)
        .send()
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn raw_bytes() {
    let server = Server::of::<Zoo>().await;
    let answer = server
        .post("/api/v1/bytes")
        .body(vec![0, 1, 255])
        .send()
        .await;
    assert_eq!(answer.data(), json!({"length": 3, "first": 0, "last": 255}));
    let answer = server.post("/api/v1/bytes").send().await;
    assert_eq!(answer.data()["length"], 0);
    let answer = server
        .post("/api/v1/bytes")
        .header("Content-Type", "video/mp4")
        .body("x")
        .send()
        .await;
    assert_eq!(answer.data()["length"], 1);
}

#[tokio::test]
async fn bodies_in_pieces() {
    let server = Server::of::<Zoo>().await;
    let mut connection = server.connect().await;
    let head = "POST /api/v1/model HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    connection
        .send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"))
        .await;
    for piece in [
        "1\r\n{\r\n",
        "4;ext=1\r\n\"id\"\r\n",
        "1\r\n:\r\n",
        "2\r\n1}\r\n",
        "0\r\nTrailer: x\r\n\r\n",
    ] {
        connection.send(piece).await;
    }
    assert_eq!(connection.answer().await.data()["id"], 1);
    // The connection goes on.
    connection
        .send(format!(
            "{head}Expect: 100-continue\r\nContent-Length: 8\r\n\r\n"
        ))
        .await;
    assert_eq!(connection.head().await.status, 100);
    connection.send("{\"id\":2}").await;
    assert_eq!(connection.answer().await.data()["id"], 2);
    // Whoever asks before sending too much is told before.
    connection
        .send(format!(
            "{head}Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
        ))
        .await;
    assert_eq!(connection.head().await.status, 413);
}

#[tokio::test]
async fn bodies_that_break_off() {
    let server = Server::of::<Zoo>().await;
    let head = "POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\n";
    for rest in [
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "Content-Length: 10\r\n\r\nabc",
    ] {
        let mut connection = server.connect().await;
        connection.send(format!("{head}{rest}")).await;
        connection.half_close().await;
        // An answer or none, but an end.
        let said = connection.rest().await;
        let said = String::from_utf8_lossy(&said);
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 4"),
            "{rest:?}: {said}"
        );
    }
    assert_eq!(server.get("/health").send().await.status, 200);
}

#[tokio::test]
async fn a_body_that_nobody_wants() {
    let server = Server::of::<Zoo>().await;
    let mut connection = server.connect().await;
    for _ in 0..2 {
        connection
            .send("POST /api/v1/no_body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        assert_eq!(connection.answer().await.data(), 1);
    }
    let answer = server
        .get("/api/v1/echo?message=a")
        .body("surplus")
        .send()
        .await;
    assert_eq!(answer.data(), "a");
}
