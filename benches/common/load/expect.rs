//! Is an answer right? A server that is fast because it answers something else wins nothing.

use serde_json::Value;

use crate::common::workload::Expected;

/// Compares a whole answer, head included.
///
/// # Panics
///
/// With the difference.
pub(super) fn check(answer: &[u8], expected: &Expected) {
    let mut headers = [httparse::EMPTY_HEADER; 24];
    let mut head = httparse::Response::new(&mut headers);
    let length = head.parse(answer).expect("it parsed before").unwrap();
    let header = |name: &str| {
        let header = head
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name));
        header.map_or("", |h| std::str::from_utf8(h.value).expect("ASCII headers"))
    };
    let body = if header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        unchunk(&answer[length..])
    } else {
        answer[length..].to_vec()
    };
    let body = String::from_utf8(body).expect("bodies are UTF-8");

    let id = header("x-request-id");
    assert!((16..=36).contains(&id.len()), "x-request-id: {id:?}");
    match expected {
        Expected::Data(data) => {
            assert_eq!(header("content-type"), "application/json");
            check_envelope(&body, data);
        }
        Expected::Chunks(count, text) => {
            assert!(header("content-type").starts_with("text/event-stream"));
            check_events(&body, *count, text);
        }
    }
}

/// The envelope's keys in their order, the time's form, the data by value.
fn check_envelope(body: &str, data: &Value) {
    let start = r#"{"status":200,"message":"success","timestamp":""#;
    let rest = body
        .strip_prefix(start)
        .unwrap_or_else(|| panic!("no such envelope: {body:.200}"));
    let (timestamp, rest) = rest
        .split_once(r#"","data":"#)
        .expect("data after the timestamp");
    let digits = timestamp.replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(digits, "0000-00-00 00:00:00", "the timestamp {timestamp}");
    let found = rest.strip_suffix('}').expect("the envelope's end");
    let found: Value = serde_json::from_str(found).expect("data is JSON");
    assert_eq!(&found, data);
}

/// Events with their names and data; ids and comments may be among them.
fn check_events(body: &str, count: u32, text: &str) {
    let events = body
        .strip_suffix("\n\n")
        .expect("the last event is complete")
        .split("\n\n");
    let events = events
        .map(|event| {
            let counts = |line: &&str| !line.starts_with("id:") && !line.starts_with(':');
            event.lines().filter(counts).collect::<Vec<_>>()
        })
        .collect::<Vec<_>>();
    let (finish, chunks) = events.split_last().expect("there are events");
    assert_eq!(finish, &["event: finish", "data: {}"]);
    assert_eq!(chunks.len(), count as usize);
    let data = format!(r#"data: {{"content": "{text}"}}"#);
    for chunk in chunks {
        assert_eq!(chunk, &["event: message_chunk", &data]);
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = memchr::memchr(b'\r', body).expect("a chunk's size");
        let size = std::str::from_utf8(&body[..line]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        if size == 0 {
            return whole;
        }
        let chunk = &body[line + 2..];
        whole.extend_from_slice(&chunk[..size]);
        body = &chunk[size + 2..];
    }
}
