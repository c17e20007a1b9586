//! What a handler makes while it is sent.

use std::time::Duration;

use framex_test_support::h2::Client;
use framex_test_support::{Answer, Connection, Server, until};
use http_body_util::BodyExt;

use crate::depot::{Compared, Depot, seen};

const MIB: u64 = 1 << 20;

async fn open(server: &Server, target: &str) -> (Answer, Connection) {
    server.get(&format!("/api/v1/{target}")).open().await
}

fn whole(body: &[u8], size: u64) {
    let mut compared = Compared::default();
    compared.take(body);
    assert_eq!((compared.size, compared.wrong), (size, false));
}

#[tokio::test]
async fn of_any_size_known_or_not() {
    let server = Server::of::<Depot>().await;
    for size in [0, 1, 60_000, 65_537, MIB, 64 * MIB] {
        for known in [true, false] {
            let target = format!("/api/v1/bytes?size={size}&key=any&known={known}");
            let answer = server.get(&target).send().await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some("application/x-pattern"));
            let disposition = answer.header("content-disposition");
            assert_eq!(disposition, Some("attachment; filename=\"b.bin\""));
            assert!(answer.header("x-request-id").is_some());
            let length = answer.header("content-length");
            assert_eq!(length, known.then(|| size.to_string()).as_deref());
            let chunked = answer.header("transfer-encoding");
            assert_eq!(chunked, (!known).then_some("chunked"));
            whole(&answer.body, size);
        }
    }
}

#[tokio::test]
async fn a_head_makes_nothing() {
    let server = Server::of::<Depot>().await;
    for (known, length) in [(true, Some("5000")), (false, None)] {
        let target = format!("/api/v1/bytes?size=5000&key=head&known={known}");
        let answer = server.ask("HEAD", &target).send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), length);
        assert_eq!(answer.header("content-type"), Some("application/x-pattern"));
    }
    assert_eq!(seen("head").bytes, 0);
    assert!(seen("head").gone);
}

#[tokio::test]
async fn other_statuses_and_sizes() {
    let server = Server::of::<Depot>().await;
    for (how, status, body) in [
        ("empty", 200, 0),
        ("no_content", 204, 0),
        ("teapot", 418, 10),
        ("full", 200, 9),
    ] {
        let answer = server.get(&format!("/api/v1/broken/{how}")).send().await;
        assert_eq!((answer.status, answer.body.len()), (status, body), "{how}");
    }
    let full = server.get("/api/v1/broken/full").send().await;
    assert_eq!(full.header("content-length"), Some("9"));
    assert_eq!(full.text(), "all of it");
}

#[tokio::test]
async fn what_breaks_off_breaks_the_connection() {
    let server = Server::of::<Depot>().await;
    // Before the first byte it is an error like any other.
    let answer = server.get("/api/v1/broken/at_once").send().await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["message"], "out of bytes");
    assert_eq!(server.get("/api/v1/broken/none").send().await.status, 500);
    for how in ["later", "panic"] {
        let (head, mut connection) = open(&server, &format!("broken/{how}")).await;
        assert_eq!(head.header("transfer-encoding"), Some("chunked"), "{how}");
        while let Ok(chunk) = connection.try_chunk().await {
            assert!(chunk.is_some(), "{how} ended as if it were whole");
        }
    }
    for (how, length) in [
        ("later_known", 200_000),
        ("short", 200_001),
        ("long", 199_999),
    ] {
        let (head, mut connection) = open(&server, &format!("broken/{how}")).await;
        assert_eq!(
            head.header("content-length"),
            Some(&*length.to_string()),
            "{how}"
        );
        let came = connection.rest().await.len();
        assert!(came < length, "{how}: {came}");
    }
    // The server is none the worse for it.
    let (head, _) = open(&server, "broken/teapot").await;
    assert_eq!(head.status, 418);
}

#[tokio::test]
async fn http2_streams_are_reset() {
    let server = Server::of::<Depot>().await;
    let mut client = Client::open(server.address()).await;
    for how in ["later", "later_known", "short", "long"] {
        let response = client
            .send("GET", &format!("/api/v1/broken/{how}"), "")
            .await;
        assert!(response.into_body().collect().await.is_err(), "{how}");
    }
    let response = client
        .send("GET", "/api/v1/bytes?size=3000000&key=h2", "")
        .await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    whole(&body, 3_000_000);
}

#[tokio::test]
async fn a_slow_reader_holds_the_handler_back() {
    let server = Server::of::<Depot>().await;
    let size = 1 << 30;
    let (head, mut connection) = open(&server, &format!("bytes?size={size}&key=slow")).await;
    assert_eq!(head.status, 200);
    // Until the buffers of both sockets are full.
    let mut made = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if std::mem::replace(&mut made, seen("slow").bytes) == made {
            break;
        }
    }
    assert!(made < 16 * MIB, "{made} bytes lie around");
    assert!(!seen("slow").gone);
    connection.half_close().await;
    drop(connection);
    until("it is gone", || seen("slow").gone).await;
}
