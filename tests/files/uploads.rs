//! What comes is what was sent, whichever way it takes.

use framex_test_support::Server;
use framex_test_support::until;
use serde_json::{Value, json};

use crate::depot::{Depot, seen};
use crate::sender::{Framing, Part, Sender, assert_whole, end, file, file_head, post, put, text};

const MIB: u64 = 1 << 20;
/// Around what stays in memory, and what the edge and the parser read at once.
const SIZES: [u64; 9] = [
    0,
    1,
    65_535,
    65_536,
    65_537,
    131_072,
    MIB - 1,
    MIB + 1,
    20 * MIB,
];

#[tokio::test]
async fn whole_bodies() {
    let server = Server::of::<Depot>().await;
    for size in SIZES {
        for framing in [Framing::Length, Framing::Chunked] {
            let answer = put(&server, "/api/v1/raw", size, framing).await;
            let seen = answer.data();
            assert_whole(&seen, size);
            // Without a length nobody knows it before the end.
            let known = matches!(framing, Framing::Length);
            assert_eq!(seen["known"], json!(known.then_some(size)), "{framing:?}");
        }
    }
    let large = put(&server, "/api/v1/raw", 64 * MIB, Framing::Chunked).await;
    assert_whole(&large.data(), 64 * MIB);
}

#[tokio::test]
async fn a_body_may_have_a_name() {
    let server = Server::of::<Depot>().await;
    let answer = server
        .ask("PUT", "/api/v1/raw")
        .header("Content-Disposition", "attachment; filename=\"a b.txt\"")
        .header("Content-Type", "text/x")
        .body("")
        .send()
        .await;
    let seen = answer.data();
    assert_eq!(
        (&seen["name"], &seen["type"]),
        (&json!("a b.txt"), &json!("text/x"))
    );
    let seen = server.ask("PUT", "/api/v1/raw").send().await.data();
    assert_eq!((&seen["name"], &seen["size"]), (&json!(""), &json!(0)));
}

#[tokio::test]
async fn files_of_forms_in_every_order() {
    let server = Server::of::<Depot>().await;
    for size in SIZES {
        for framing in [Framing::Length, Framing::Chunked] {
            let texts = || Part::Text(text("note", "ä") + &text("count", "7"));
            let mut behind = vec![texts()];
            behind.extend(file("file", "f", size));
            behind.push(end());
            let mut before: Vec<Part> = file("file", "f", size).into();
            before.extend([texts(), end()]);
            let mut between = vec![Part::Text(text("note", "ä"))];
            between.extend(file("file", "f", size));
            between.extend([Part::Text(text("count", "7")), end()]);
            for parts in [behind, before, between] {
                let answer = post(&server, "/api/v1/form", &parts, framing).await;
                let seen = answer.data();
                assert_whole(&seen, size);
                assert_eq!(seen["note"], json!(["ä", 7]));
                assert_eq!(
                    (&seen["name"], &seen["type"]),
                    (&json!("f"), &json!("application/x-pattern"))
                );
            }
        }
    }
}

#[tokio::test]
async fn many_files_wait_on_disk() {
    let server = Server::of::<Depot>().await;
    let sizes = [3 * MIB, 0, 1, 40_000, 5 * MIB, 40_000, 70_000];
    let mut parts: Vec<Part> = Vec::new();
    for size in sizes {
        parts.extend(file("more", &size.to_string(), size));
    }
    parts.extend(file("nobody_asked", "x", 2 * MIB));
    parts.extend(file("first", "first", MIB));
    parts.push(end());
    let answer = post(&server, "/api/v1/many", &parts, Framing::Length).await;
    let seen: Vec<Value> = serde_json::from_value(answer.data()).unwrap();
    assert_eq!(seen.len(), sizes.len() + 1);
    for (seen, size) in seen.iter().zip(sizes.into_iter().rev()) {
        assert_whole(seen, size);
        assert_eq!(seen["name"], size.to_string());
        assert_eq!(seen["known"], size);
    }
    assert_whole(&seen[sizes.len()], MIB);
}

#[tokio::test]
async fn handlers_start_before_the_end() {
    let server = Server::of::<Depot>().await;
    for (target, key, before) in [
        ("/api/v1/watched?key=raw-early", "raw-early", String::new()),
        (
            "/api/v1/watched_form",
            "form-early",
            text("key", "form-early") + &file_head("file", "f"),
        ),
    ] {
        let (method, kind, after) = match before.is_empty() {
            true => ("PUT", "", ""),
            false => (
                "POST",
                "Content-Type: multipart/form-data; boundary=XX\r\n",
                "\r\n--XX--\r\n",
            ),
        };
        let half = 200_000;
        let size = (before.len() + after.len()) as u64 + 2 * half;
        let mut sender = Sender::start(&server, method, target, kind, Framing::Length, size).await;
        if !before.is_empty() {
            assert!(sender.send(before.as_bytes()).await);
        }
        sender.part(&Part::Pattern(half)).await;
        // All but what could be the beginning of a boundary.
        until("half of it is there", || seen(key).bytes >= half - 100).await;
        assert_eq!(seen(key).end, None);
        sender.part(&Part::Pattern(half)).await;
        sender.send(after.as_bytes()).await;
        assert_eq!(sender.answer().await.data(), 2 * half);
        assert_eq!(seen(key).end.as_deref(), Some("ok"));
    }
}

#[tokio::test]
async fn a_handler_that_waits_holds_its_client_back() {
    let server = Server::builder()
        .plugin::<Depot>()
        .server("body_timeout", "300ms")
        .start()
        .await;
    let size = 30 * MIB;
    let target = "/api/v1/late?ms=900";
    let mut sender = Sender::start(&server, "PUT", target, "", Framing::Length, size).await;
    let begun = std::time::Instant::now();
    sender.part(&Part::Pattern(size)).await;
    // More than the buffers of two sockets waits for the handler.
    assert!(begun.elapsed().as_millis() >= 700, "{:?}", begun.elapsed());
    // The pause was the handler's, not the client's.
    assert_eq!(sender.answer().await.data(), size);
}

#[tokio::test]
async fn what_comes_behind_a_file_that_is_read_already() {
    let server = Server::of::<Depot>().await;
    let size = 100_000;
    let with = |behind: &[Part]| {
        let mut parts: Vec<Part> = file("file", "f", size).into();
        for part in behind {
            parts.push(match part {
                Part::Text(text) => Part::Text(text.clone()),
                Part::Pattern(size) => Part::Pattern(*size),
            });
        }
        parts
    };
    let other = with(&[Part::Text(text("other", "x")), end()]);
    let seen = post(&server, "/api/v1/one", &other, Framing::Length)
        .await
        .data();
    assert_whole(&seen, size);
    let again = with(&[Part::Text(text("file", "x")), end()]);
    let answer = post(&server, "/api/v1/one", &again, Framing::Length).await;
    assert_eq!(answer.kinds(), [r#"repeated ["body","file"]"#]);
    // A form without its end is not whole.
    let answer = post(&server, "/api/v1/one", &with(&[]), Framing::Length).await;
    assert_eq!(answer.kinds(), [r#"multipart_invalid ["body"]"#]);
    let none = [Part::Text(text("other", "x").repeat(900)), end()];
    let answer = post(&server, "/api/v1/one", &none, Framing::Length).await;
    assert_eq!(answer.data(), Value::Null);
}

#[tokio::test]
async fn an_upload_may_go_straight_back() {
    let server = Server::of::<Depot>().await;
    let size = 3 * MIB;
    let mut sender =
        Sender::start(&server, "PUT", "/api/v1/back", "", Framing::Chunked, size).await;
    sender.part(&Part::Pattern(100_000)).await;
    let head = sender.connection.head().await;
    assert_eq!(head.status, 200);
    let mut compared = crate::depot::Compared::default();
    let mut sent = 100_000;
    while compared.size < size {
        if sent < size {
            let piece =
                crate::depot::pattern(sent, 100_000.min(usize::try_from(size - sent).unwrap()));
            sent += piece.len() as u64;
            assert!(sender.send(&piece).await);
            if sent == size {
                sender.connection.send("0\r\n\r\n").await;
            }
        }
        compared.take(&sender.connection.chunk().await.unwrap());
    }
    assert!(!compared.wrong);
    assert_eq!(sender.connection.chunk().await, None);
}
