//! `/api/v1/streams/{id}`: followed by anybody who knows it, and stopped.

use std::time::Duration;

use framex::prelude::*;
use framex_test_support::{Server, until};
use serde_json::json;

use super::{NDJSON, SSE, address, all, asking, blocks, builder, id, server, some};
use crate::zoo::seen;

#[tokio::test]
async fn several_follow_one_stream() {
    let server = server().await;
    let ask = server.get("/api/v1/kept?key=several&count=60&ms=5");
    let (head, mut first) = ask.open().await;
    let target = address(&head);
    let begin = some(&mut first, SSE, 5).await;
    let after = id(blocks(&begin, SSE)[2], SSE).to_owned();
    let (_, mut whole) = server.get(&target).open().await;
    let (_, mut later) = asking(server.get(&target), SSE, &after).open().await;
    let lines = asking(server.get(&target), NDJSON, "").send();
    let (rest, whole, later, lines) =
        tokio::join!(all(&mut first), all(&mut whole), all(&mut later), lines);
    assert_eq!(begin + &rest, whole);
    assert_eq!(later, blocks(&whole, SSE)[3..].concat());
    assert_eq!(blocks(lines.text(), NDJSON).len(), 61);
    assert_eq!((seen("several").begun, seen("several").events), (1, 60));
}

/// One that does not read holds the handler, and all others, but nothing else.
#[tokio::test]
async fn the_slowest_sets_the_pace() {
    let streams = json!({ "replay_buffer": "16MiB" });
    let server = builder().set("streams", streams).start().await;
    let (head, mut slow) = server.post("/api/v1/kept/flood?key=pace-kept").open().await;
    let (_, mut fast) = server.get(&address(&head)).open().await;
    let reading = tokio::spawn(async move { while fast.chunk().await.is_some() {} });
    let mut last = 0;
    until("the handler waits", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = seen("pace-kept").events;
        std::mem::replace(&mut last, now) == now
    })
    .await;
    // Half of what is kept of a stream, and what lies in sockets.
    assert!((1..25_000).contains(&last), "{last} events of a kilobyte");
    for _ in 0..200 {
        slow.chunk().await.unwrap();
    }
    until("it goes on", || seen("pace-kept").events > last).await;
    assert_eq!(server.get("/health").send().await.status, 200);
    drop(slow);
    let before = seen("pace-kept").events;
    until("nobody holds it", || {
        seen("pace-kept").events > before + 10_000
    })
    .await;
    reading.abort();
    let stopped = server.ask("DELETE", &address(&head)).send().await;
    assert_eq!(stopped.status, 204);
    until("it is gone", || seen("pace-kept").gone == 1).await;
}

#[tokio::test]
async fn a_stream_is_stopped_for_all() {
    let server = server().await;
    let (head, mut first) = server.get("/api/v1/kept?key=stop&ms=10").open().await;
    let target = address(&head);
    let (_, mut second) = server.get(&target).open().await;
    some(&mut first, SSE, 3).await;
    let stopped = server.ask("DELETE", &target).send().await;
    assert_eq!((stopped.status, stopped.text()), (204, ""));
    let gone = until("it is gone", || seen("stop").gone == 1).await;
    assert!(gone < Duration::from_secs(1));
    for connection in [&mut first, &mut second] {
        let rest = all(connection).await;
        let last = *blocks(&rest, SSE).last().unwrap();
        assert!(id(last, SSE).ends_with(".end"), "{last}");
        assert!(
            last.contains("\nevent: error\ndata: {\"status\": 410, "),
            "{last}"
        );
        assert!(last.contains("\"code\": \"stream_stopped\""), "{last}");
    }
    // Stopping again changes nothing; what came before is still there.
    assert_eq!(server.ask("DELETE", &target).send().await.status, 204);
    let again = server.get(&target).send().await;
    assert!(blocks(again.text(), SSE).len() >= 4);
    assert_eq!(seen("stop").begun, 1);
}

#[tokio::test]
async fn methods_and_unknown_names() {
    let server = server().await;
    let begun = server.get("/api/v1/kept?key=methods&count=1").send().await;
    let target = address(&begun);
    let mut connection = server.ask("HEAD", &target).start().await;
    let head = connection.answer_to_head().await;
    assert_eq!((head.status, head.header("content-length")), (200, None));
    assert_eq!(head.header("content-type"), begun.header("content-type"));
    assert_eq!(address(&head), target);
    let allowed = "DELETE, GET, HEAD, OPTIONS";
    let options = server.ask("OPTIONS", &target).send().await;
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some(allowed))
    );
    for method in ["POST", "PUT", "PATCH"] {
        let refused = server.ask(method, &target).send().await;
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some(allowed))
        );
    }
    for (stream, status) in [
        ("0123456789abcdef0123456789abcdef", 410),
        ("x", 410),
        ("%2e%2e", 410),
        ("UPPERCASE-IS-NOT-IT", 410),
        ("", 404),
        ("0123456789abcdef/more", 404),
    ] {
        for method in ["GET", "DELETE"] {
            let target = format!("/api/v1/streams/{stream}");
            let answer = server.ask(method, &target).send().await;
            assert_eq!(answer.status, status, "{method} {target}");
        }
    }
    // Another stream's event, or what is none.
    for last in ["0123456789abcdef.1", "nonsense", "0123456789abcdef.end"] {
        let answer = asking(server.get(&target), SSE, last).send().await;
        assert_eq!(answer.status, 400, "{last}");
    }
    let last = id(blocks(begun.text(), SSE)[1], SSE).to_owned();
    assert_eq!(
        asking(server.get(&target), SSE, &last).send().await.status,
        204
    );
    // A route that covers the address does not get it, but all others.
    assert_eq!(server.get("/api/v1/more/x").send().await.data(), "more x");
}

/// A stream whose end is known, but not who may see it.
#[derive(Default)]
struct Greedy;

#[on_register(plugin = "greedy")]
impl Greedy {
    #[on_request(get, "/streams/{id}")]
    async fn one(&self, id: String) -> String {
        id
    }
}

#[tokio::test]
async fn the_addresses_are_the_edges_own() {
    let refused = Server::builder().plugin::<Greedy>().try_start().await;
    let error = refused.err().expect("no start").to_string();
    assert!(
        error.contains("`/api/v1/streams/{id}`, which the edge answers itself"),
        "{error}"
    );
    let rule = builder()
        .rule("/api/v1/streams/*", &["key"])
        .try_start()
        .await;
    assert!(
        rule.err()
            .expect("no start")
            .to_string()
            .contains("matches no route")
    );
}
