//! Foreign messages on our subjects: each gets a clear error or a line in the
//! log, and the process goes on.

use std::time::Duration;

use framex_test_support::nats::{Message, NatsServer, Wire};

use crate::process::Serving;
use crate::site::Site;
use crate::stopwatch::Stopwatch;

const API: &str = "work.Work.slow";
const INBOX: &str = "_INBOX.here";

/// The value of a header.
fn header(message: &Message, name: &str) -> String {
    let lines = message.headers.split("\r\n");
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values.next().unwrap_or_default().to_owned()
}

/// Sends a request; gives the error's status (empty if there is none) and the text.
async fn ask(wire: &mut Wire, headers: &[&str], payload: &[u8]) -> (String, String) {
    wire.publish(API, Some(INBOX), headers, payload).await;
    let answer = wire.message().await;
    let text = String::from_utf8_lossy(&answer.payload).into_owned();
    (header(&answer, "Nats-Service-Error-Code"), text)
}

/// That it answers, and is still the process that it was.
async fn goes_on(wire: &mut Wire, worker: &Serving) {
    assert_eq!(
        ask(wire, &[], br#"{"ms":0}"#).await,
        (String::new(), "\"a\"".to_owned()),
        "{}",
        worker.log()
    );
    assert!(!worker.log().contains("panicked"), "{}", worker.log());
}

async fn logged(serving: &Serving, part: &str) {
    let logged = async || serving.log().contains(part).then_some(());
    let watch = Stopwatch::start();
    watch.within(Duration::from_secs(3), part, logged).await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_told_so() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let worker = site.worker("a");
    let mut wire = Wire::connect(&broker).await;
    wire.subscribe(INBOX, None).await;
    goes_on(&mut wire, &worker).await;

    let long = format!("Framex-Principal: {}", "x".repeat(60_000));
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    let packed = "Content-Type: application/msgpack";
    let nobody = "Framex-Headers: {\"a b\": 1, \"c\": [2, null, {}]}";
    let cases: &[(&[&str], &[u8], &[&str])] = &[
        (&[], b"\x00\xff\xfe", &["422"]),
        (&[], b"{\"ms\":", &["422"]),
        (&[], b"{\"ms\":1}}", &["422"]),
        (&[], b"[1]", &["422"]),
        (&[], b"\"ms\"", &["422"]),
        (&[], b"null", &["422"]),
        (&[], deep.as_bytes(), &["422"]),
        (&[], b"{\"ms\":\"soon\"}", &["422"]),
        (&[], b"{}", &["422"]),
        (&[packed], b"\xc1", &["422"]),
        (&[packed], b"\x93\x01\x02\x03", &["422"]),
        // A map that promises four thousand million entries, and a text as long.
        (&[packed], b"\xdf\xff\xff\xff\xff", &["422"]),
        (&[packed], b"\x81\xa2ms\xdb\xff\xff\xff\xff", &["422"]),
        (&["Content-Type: text/plain"], b"{\"ms\":0}", &["415"]),
        (&["Accept: image/png"], b"{\"ms\":0}", &["406", "415"]),
        (&["Framex-Call: hops=9999"], b"{\"ms\":0}", &["508"]),
        (&["Framex-Call: timeout=0"], b"{\"ms\":0}", &["504"]),
        (
            &["Framex-Call: timeout=-1, id=\"\x01\", ,,=\"\",beats=?9"],
            b"{\"ms\":0}",
            &[""],
        ),
        (
            &["Framex-Call: timeout=99999999999999999999"],
            b"{\"ms\":0}",
            &[""],
        ),
        (
            &["Framex-Call: timeout=18446744073709551615"],
            b"{\"ms\":0}",
            &[""],
        ),
        (&["traceparent: 00-nonsense"], b"{\"ms\":0}", &[""]),
        (&[nobody, "Framex-Headers: [", &long], b"{\"ms\":0}", &[""]),
    ];
    for (headers, payload, expected) in cases {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(40)]);
        let first = headers
            .first()
            .map(|header| &header[..header.len().min(60)]);
        let (code, text) = ask(&mut wire, headers, payload).await;
        assert!(
            expected.contains(&&*code),
            "{code} {text} for {first:?} {shown:?}"
        );
        if !code.is_empty() {
            assert!(
                text.contains("\"message\":"),
                "{text} for {first:?} {shown:?}"
            );
        }
        goes_on(&mut wire, &worker).await;
    }
}

#[tokio::test]
async fn a_request_without_a_reply_subject_runs_nothing() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let chain = site.start_plugin("third", &[]).ready();
    let mut wire = Wire::connect(&broker).await;
    for _ in 0..100 {
        wire.publish("third.Third.go", None, &[], br#"{"key":"x"}"#)
            .await;
    }
    logged(&chain, "without a reply subject").await;
    assert!(chain.log().contains("third.Third.go"), "{}", chain.log());
    let lines = chain.log().matches("without a reply subject").count();
    assert!(lines < 5, "{lines} lines");
    assert_eq!(site.notes(), "");
}

/// Every NATS client drops its connection on such a message. What was on its way is
/// lost; everybody comes back.
#[tokio::test]
async fn headers_that_break_the_connection_break_nothing_else() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let worker = site.worker("a");
    let edge = site.edge();
    let mut wire = Wire::connect(&broker).await;
    let utf8 = b"NATS/1.0\r\nFramex-Principal: \xff\xfe\r\n\r\n";
    let colon = b"NATS/1.0\r\nno colon at all\r\n\r\n";
    let version = b"HATS/9.9 \r\n\r\n";
    let name = b"NATS/1.0\r\n: no name\r\n\r\n";
    for block in [&utf8[..], colon, version, name] {
        for subject in [API, "work._control", "$SRV.PING", "_framex.announce.work.x"] {
            let head = format!("HPUB {subject} {INBOX} {} {0}\r\n", block.len());
            wire.send([head.as_bytes(), block, b"\r\n"].concat()).await;
        }
        assert_eq!(wire.fence().await, [""; 0]);
        let answers = async || (edge.get("/api/v1/slow?ms=0").await.status == 200).then_some(());
        let watch = Stopwatch::start();
        watch
            .within(Duration::from_secs(3), "it is back", answers)
            .await;
    }
    for serving in [&worker, &edge] {
        assert!(!serving.log().contains("panicked"), "{}", serving.log());
    }
}

#[tokio::test]
async fn messages_to_control_and_discovery_that_make_no_sense() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let worker = site.worker("a");
    let edge = site.edge();
    let mut wire = Wire::connect(&broker).await;
    wire.subscribe(INBOX, None).await;
    goes_on(&mut wire, &worker).await;

    let garbage: &[&[u8]] = &[
        b"",
        b"\x00\xff",
        b"[]",
        b"{}",
        b"{\"call\":1}",
        b"{\"call\":\"\",\"cancel\":true}",
        b"{\"call\":\"_INBOX.x\",\"cancel\":true}",
        b"{\"call\":\"_INBOX.x\",\"credit\":-1}",
        b"{\"call\":\"_INBOX.x\",\"credit\":99999999999}",
        br#"{"type":"io.framex.v1.announcement"}"#,
        br#"{"type":"io.framex.v1.announcement","name":"","id":"","state":"ready"}"#,
        br#"{"type":"io.framex.v1.announcement","name":"a b","id":">","state":"ready","digest":"1"}"#,
        br#"{"type":"io.framex.v1.announcement","name":"work","id":"nobody","state":"ready","digest":"1","ongoing":-3}"#,
        br#"{"type":"io.framex.v1.announcement","name":"ghost","id":"ghost","state":"ready","digest":"1","beat":1}"#,
        br#"{"type":"io.framex.v1.announcement","name":"ghost","id":"ghost","state":"??","digest":"1"}"#,
        br#"{"type":"io.nats.micro.v1.ping_response"}"#,
        br#"{"type":"io.nats.micro.v1.ping_response","name":"ghost","id":"x","version":7,"metadata":[]}"#,
    ];
    let subjects = [
        "work._control",
        "_framex.announce.work.x",
        "_framex.announce.ghost.ghost",
        "$SRV.PING",
        "$SRV.INFO.work",
        "$SRV.STATS",
    ];
    for payload in garbage {
        for subject in subjects {
            wire.publish(subject, None, &[], payload).await;
        }
    }
    // Questions are answered whatever they carry; all others had no reply subject.
    wire.publish("$SRV.PING", Some(INBOX), &[], b"\xff").await;
    let pong = wire.message().await;
    let pong: serde_json::Value = serde_json::from_slice(&pong.payload).unwrap();
    assert_eq!(pong["name"], "work");
    // To whoever describes: what it does not know it says.
    let describe = pong["metadata"]["framex.describe"].as_str().unwrap();
    for payload in [
        &b"\xff"[..],
        b"[]",
        b"{\"api\":\"work.Work.nothing\"}",
        b"{\"api\":7}",
    ] {
        wire.publish(describe, Some(INBOX), &[], payload).await;
        let code = header(&wire.message().await, "Nats-Service-Error-Code");
        assert!(["400", "404"].contains(&&*code), "{code}");
    }
    goes_on(&mut wire, &worker).await;
    // Long enough for a ghost to be asked about.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let got = edge.get("/api/v1/quick").await;
    assert_eq!((got.status, got.said()), (200, "a"), "{got:?}");
    for serving in [&worker, &edge] {
        assert!(!serving.log().contains("panicked"), "{}", serving.log());
    }
    let ready = crate::load::once(edge.board(), "GET /ready").await;
    assert_eq!(ready.status, 200, "{ready:?}");
}
