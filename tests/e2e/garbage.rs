//! Requests that nobody thought of: mutated valid ones, the same ones each run.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use framex_test_support::Server;

use crate::zoo::Zoo;

/// Panics on threads of the server that come from no plugin of these tests.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let server = std::thread::current()
                .name()
                .is_some_and(|name| name.starts_with("edge-") || name == "dashboard");
            let ours = info
                .location()
                .is_some_and(|at| at.file().contains("tests/e2e"));
            if server && !ours {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            usual(info);
        }));
    });
}

/// xorshift: no two runs differ.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

const SEEDS: [&[u8]; 8] = [
    b"GET /api/v1/scalars?i=1&u=2&f=3&b=yes&s=%C3%A4 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/v1/model HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n{\"id\":1,\"tags\":[\"a\"],\"name\":\"\\u00e4\",\"x\":1}\n",
    b"POST /api/v1/raw_json HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n[1,2.5e3,null]\n",
    b"POST /api/v1/bytes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: 101\r\n\r\n--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: text/x\r\n\r\nhello\r\n--XX--",
    b"GET /api/v1/stream/texts HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
    b"HEAD /api/v1/items/a%2Fb HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\x01\0\0\0\0",
];

const BITS: [&[u8]; 14] = [
    b"\0",
    b"\r\n",
    b"\n",
    b" ",
    b"%",
    b"%ff",
    b"\"",
    b"{",
    b"[",
    b"&",
    b"=",
    b":",
    b"\xff\xfe",
    b"99999999999999999999",
];

#[tokio::test]
async fn nothing_of_it_harms_the_server() {
    count_panics();
    let server = Server::builder()
        .plugin::<Zoo>()
        .server("header_timeout", "100ms")
        .server("body_timeout", "100ms")
        .server("idle_timeout", "100ms")
        .start()
        .await;
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for round in 0..600 {
        let mut request = SEEDS[round % SEEDS.len()].to_vec();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(request.len());
            match dice.roll(5) {
                0 => request[at] = u8::try_from(dice.roll(256)).unwrap(),
                1 => drop(request.splice(at..at, BITS[dice.roll(BITS.len())].iter().copied())),
                2 => drop(request.drain(at..(at + 1 + dice.roll(8)).min(request.len()))),
                3 => {
                    let end = (at + 1 + dice.roll(30)).min(request.len());
                    request.extend_from_within(at..end);
                }
                _ => request.truncate(at.max(1)),
            }
            if request.is_empty() {
                request.push(b'x');
            }
        }
        let mut connection = server.connect().await;
        let _ = connection.try_send(&request).await;
        if dice.roll(4) > 0 {
            connection.half_close().await;
        }
        // An answer of any kind or none; an end in any case, in time.
        let end = tokio::time::timeout(Duration::from_secs(3), connection.rest()).await;
        let shown = String::from_utf8_lossy(&request);
        let said = end.unwrap_or_else(|_| panic!("round {round}: no end after {shown:?}"));
        let said = String::from_utf8_lossy(&said);
        assert!(
            !said.contains("HTTP/1.1 500"),
            "round {round}: {shown:?}: {said}"
        );
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    let answer = server.get("/api/v1/echo?message=alive").send().await;
    assert_eq!(answer.data(), "alive");
}
