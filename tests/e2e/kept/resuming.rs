//! `Last-Event-ID`: exactly the rest.

use framex_test_support::until;
use serde_json::json;

use super::{NDJSON, SSE, address, asking, blocks, builder, id, server, some};
use crate::zoo::seen;

#[tokio::test]
async fn every_event_has_its_id_and_the_end_its_own() {
    let server = server().await;
    for format in [SSE, NDJSON] {
        let target = format!("/api/v1/kept?key=ids-{format}&count=6");
        let answer = asking(server.get(&target), format, "").send().await;
        let address = address(&answer);
        let stream = address.rsplit('/').next().unwrap();
        let ids: Vec<_> = blocks(answer.text(), format)
            .iter()
            .map(|b| id(b, format))
            .collect();
        let expected = ["1", "2", "3", "4", "5", "6", "end"].map(|n| format!("{stream}.{n}"));
        assert_eq!(ids, expected);
    }
    let answer = server.get("/api/v1/kept?key=ids&count=1").send().await;
    let address = address(&answer);
    let stream = address.rsplit('/').next().unwrap();
    assert_eq!(
        answer.text(),
        format!(
            "id: {stream}.1\nevent: message_chunk\ndata: {{\"content\": \"number 0\"}}\n\n\
             id: {stream}.end\nevent: finish\ndata: {{}}\n\n"
        )
    );
}

/// After the end, from every event, in both formats; whatever the end is.
#[tokio::test]
async fn the_rest_is_what_the_first_would_have_got() {
    let server = server().await;
    for format in [SSE, NDJSON] {
        for last in ["finish", "error", "mine"] {
            let key = format!("rest-{last}-{}", format.len());
            let target = format!("/api/v1/kept?key={key}&count=20&last={last}");
            let ask = || server.get(&target).header("X-Request-Id", "same");
            let whole = asking(ask(), format, "").send().await;
            let events = blocks(whole.text(), format);
            assert_eq!(events.len(), 21);
            for seen in 0..20 {
                let resumed = asking(ask(), format, id(events[seen], format)).send().await;
                assert_eq!(resumed.status, 200);
                assert_eq!(resumed.text(), events[seen + 1..].concat(), "after {seen}");
                assert_eq!(address(&resumed), address(&whole));
            }
            let over = asking(ask(), format, id(events[20], format)).send().await;
            assert_eq!((over.status, over.text()), (204, ""));
            assert_eq!(seen(&key).begun, 1);
        }
    }
}

/// A client that is cut off again and again, in the middle of events too.
#[tokio::test]
async fn cut_anywhere_and_taken_up_while_it_runs() {
    let server = server().await;
    let mut random = 12345_u32;
    for format in [SSE, NDJSON] {
        let key = format!("cuts-{}", format.len());
        let target = format!("/api/v1/kept?key={key}&count=300&ms=1");
        let mut got = String::new();
        let mut last = String::new();
        let mut stream = String::new();
        for _ in 0..500 {
            let ask = asking(server.get(&target), format, &last);
            let (head, mut connection) = ask.open().await;
            if head.status == 204 {
                break;
            }
            assert_eq!(head.status, 200);
            stream = address(&head);
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let events = usize::try_from(random >> 27).unwrap();
            let mut body = some(&mut connection, format, events).await;
            drop(connection);
            body.truncate(body.len() - body.len().min(usize::try_from(random >> 20 & 7).unwrap()));
            while !body.is_char_boundary(body.len()) {
                body.pop();
            }
            for event in blocks(&body, format) {
                got.push_str(event);
                last = id(event, format).to_owned();
            }
            if last.is_empty() {
                // Nothing was seen: the next is another stream.
                last = format!("{}.1", stream.rsplit('/').next().unwrap());
                let again = server.get(&stream).header("Accept", format);
                let (_, mut connection) = again.open().await;
                got = blocks(&some(&mut connection, format, 1).await, format)[0].to_owned();
            }
        }
        let whole = asking(server.get(&stream), format, "").send().await;
        assert_eq!(whole.text(), got);
        assert_eq!(blocks(&got, format).len(), 301);
        assert_eq!((seen(&key).begun, seen(&key).events), (1, 300));
    }
}

#[tokio::test]
async fn what_is_not_there_is_gone_and_runs_nothing() {
    let server = server().await;
    let other = server
        .get("/api/v1/kept?key=gone-other&count=1")
        .send()
        .await;
    let other = id(blocks(other.text(), SSE)[0], SSE).to_owned();
    let beyond = other.replace(".1", ".7");
    let place = other.replace(".1", ".1.1");
    for (target, last) in [
        ("/api/v1/kept", "nonsense"),
        ("/api/v1/kept", "0123456789abcdef0123456789abcdef.1"),
        ("/api/v1/kept", "0123456789abcdef.x"),
        ("/api/v1/kept", &beyond),
        ("/api/v1/kept", &place),
        ("/api/v1/kept/silence", &other),
    ] {
        let target = format!("{target}?key=gone&count=1");
        let answer = asking(server.get(&target), "*/*", last).send().await;
        assert_eq!(answer.status, 410, "{last}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/event-stream; charset=utf-8")
        );
        let text = answer.text();
        assert!(
            text.starts_with("event: error\ndata: {\"status\": 410, "),
            "{text}"
        );
        let answer = asking(server.get(&target), "application/json", last)
            .send()
            .await;
        assert_eq!(answer.status, 410);
        assert_eq!(answer.json()["code"], "stream_gone");
    }
    // Another route's, with a body that nobody reads.
    let ask = server.post("/api/v1/kept/flood?key=gone").body("x");
    assert_eq!(asking(ask, "*/*", &other).send().await.status, 410);
    assert_eq!(seen("gone").begun, 0);
    // An end is an end, wherever it comes from.
    let ended = asking(
        server.get("/api/v1/kept?key=gone"),
        SSE,
        "0123456789abcdef.end",
    );
    assert_eq!(ended.send().await.status, 204);
    // Nothing was seen, nothing is resumed.
    let empty = server
        .get("/api/v1/kept?key=gone&count=1")
        .header("Last-Event-ID", "");
    assert_eq!(empty.send().await.status, 200);
    assert_eq!(seen("gone").begun, 1);
}

#[tokio::test]
async fn live_streams_have_no_ids_and_know_none() {
    let server = server().await;
    for last in ["", "nonsense", "0123456789abcdef.end"] {
        let ask = asking(server.get("/api/v1/kept/live?key=live"), SSE, last);
        let answer = ask.send().await;
        assert_eq!(answer.header("x-framex-stream"), None);
        assert_eq!(
            answer.text(),
            "event: message_chunk\ndata: {\"content\": \"a\"}\n\n\
             event: message_chunk\ndata: {\"content\": \"b\"}\n\n\
             event: finish\ndata: {}\n\n"
        );
    }
    assert_eq!(seen("live").begun, 3);
}

#[tokio::test]
async fn only_who_began_it_goes_on() {
    let server = builder()
        .rule("/api/v1/kept", &["one", "other"])
        .start()
        .await;
    let with = |target: &str, key: &str, last: &str| {
        let ask = asking(server.get(target), "application/json", last);
        ask.header("Authorization", key).send()
    };
    let begun = with("/api/v1/kept?key=mine&count=2", "one", "").await;
    let event = id(blocks(begun.text(), SSE)[0], SSE).to_owned();
    let target = address(&begun);
    for target in ["/api/v1/kept?key=mine", &target] {
        assert_eq!(with(target, "one", &event).await.status, 200);
        let refused = with(target, "other", &event).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (403, &json!("not_your_stream"))
        );
        assert_eq!(with(target, "wrong", &event).await.status, 401);
    }
    let stop = |key: &str| {
        server
            .ask("DELETE", &target)
            .header("Authorization", key)
            .send()
    };
    assert_eq!(stop("other").await.status, 403);
    assert_eq!(stop("").await.status, 401);
    assert_eq!(stop("one").await.status, 204);
    assert_eq!(seen("mine").begun, 1);
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_said() {
    let streams = json!({ "replay_buffer": "16KiB", "replay_memory": "1MiB" });
    let server = builder().set("streams", streams).start().await;
    let answer = server
        .post("/api/v1/kept/flood?key=over&count=100")
        .send()
        .await;
    let target = address(&answer);
    let events = blocks(answer.text(), SSE);
    let gone = asking(server.get(&target), "application/json", id(events[10], SSE))
        .send()
        .await;
    assert_eq!(
        (gone.status, &gone.json()["code"]),
        (410, &json!("stream_incomplete"))
    );
    assert_eq!(server.get(&target).send().await.status, 410);
    let rest = asking(server.get(&target), SSE, id(events[95], SSE))
        .send()
        .await;
    assert_eq!(rest.text(), events[96..].concat());
}

/// Memory for what has ended is bounded: the oldest goes.
#[tokio::test]
async fn old_streams_make_room_for_new_ones() {
    let streams = json!({ "replay_memory": "256KiB", "max_age": "1s" });
    let server = builder().set("streams", streams).start().await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let answer = server
            .post("/api/v1/kept/flood?key=room&count=100")
            .send()
            .await;
        streams.push(address(&answer));
    }
    let mut there = Vec::new();
    for stream in &streams {
        there.push(server.get(stream).send().await.status);
    }
    assert_eq!(there, [410, 410, 200, 200]);
    let begun = std::time::Instant::now();
    while server.get(&streams[3]).send().await.status == 200 {
        assert!(begun.elapsed() < framex_test_support::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    until("all ended", || seen("room").gone == 4).await;
}
