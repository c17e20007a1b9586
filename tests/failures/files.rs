//! Files of any size on their way when something on it ends.

use std::time::{Duration, Instant};

use framex_test_support::nats::NatsServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::depot::{Compared, pattern};
use crate::process::Serving;
use crate::site::Site;
use crate::stopwatch::Stopwatch;

/// Unoptimised, everything takes several times as long.
const SIZE: u64 = if cfg!(debug_assertions) {
    256 << 20
} else {
    (1 << 30) - 1
};
/// What a process may grow by, in bytes.
const MOST: u64 = 64 << 20;
/// After which everybody knows that somebody is gone.
const OVER: Duration = Duration::from_millis(3_500);
const PIECE: u64 = 1 << 20;

/// The most memory that a process had, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse::<u64>().unwrap() * 1024
}

/// A request on a connection of its own, of which no more than the head was sent.
async fn begin(edge: &Serving, request: &str, length: u64) -> TcpStream {
    let mut stream = TcpStream::connect(edge.address()).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Sends the pattern from `at` to `end`; false if nobody takes it.
async fn send(stream: &mut TcpStream, mut at: u64, end: u64) -> bool {
    while at < end {
        let piece = pattern(at, usize::try_from((end - at).min(PIECE)).unwrap());
        at += piece.len() as u64;
        if stream.write_all(&piece).await.is_err() {
            return false;
        }
    }
    true
}

/// The status and the body of an answer.
async fn answer(stream: &mut TcpStream) -> (u16, Value) {
    let mut all = Vec::new();
    // An error after the answer's last byte is the other side's impatience.
    let _ = stream.read_to_end(&mut all).await;
    let text = String::from_utf8_lossy(&all);
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (
        status.unwrap_or_default(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

/// Reads a download of the pattern until it ends or breaks.
async fn drink(stream: &mut TcpStream) -> Compared {
    let mut compared = Compared::default();
    let mut head = Vec::new();
    let mut buffer = vec![0; 1 << 18];
    let mut body = false;
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if body {
            compared.take(&buffer[..count]);
            continue;
        }
        head.extend_from_slice(&buffer[..count]);
        if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            compared.take(&head[end + 4..]);
            body = true;
        }
    }
    compared
}

/// What the worker has noted of an upload, as soon as `wanted` holds.
async fn noted(edge: &Serving, key: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/api/v1/watched/{key}");
    let look = async || {
        let got = edge.get(&path).await;
        let seen = got.body["data"].clone();
        wanted(&seen).then_some(seen)
    };
    Stopwatch::start().within(OVER, key, look).await
}

/// That files pass as if nothing had been.
async fn passes(edge: &Serving) {
    let size = 5 * PIECE + 7;
    let mut stream = begin(edge, "PUT /api/v1/raw", size).await;
    assert!(send(&mut stream, 0, size).await);
    let (status, body) = answer(&mut stream).await;
    assert_eq!(
        (status, &body["data"]["right"]),
        (200, &true.into()),
        "{body}"
    );
    let mut stream = begin(
        edge,
        &format!("GET /api/v1/bytes?size={size}&key=passes"),
        0,
    )
    .await;
    let compared = drink(&mut stream).await;
    assert_eq!((compared.size, compared.wrong), (size, false));
}

#[tokio::test]
async fn large_files_pass_through_small_processes() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let mut worker = site.depot();
    let mut edge = site.edge();
    let pids = [edge.process().id(), broker.id(), worker.process().id()];
    let before = pids.map(resident);

    let began = Instant::now();
    let mut stream = begin(&edge, "PUT /api/v1/raw", SIZE).await;
    assert!(send(&mut stream, 0, SIZE).await);
    let (status, body) = answer(&mut stream).await;
    assert_eq!(
        (status, &body["data"]["right"]),
        (200, &true.into()),
        "{body}"
    );
    assert_eq!(body["data"]["size"], SIZE);
    let up = began.elapsed();
    let began = Instant::now();
    let mut stream = begin(
        &edge,
        &format!("GET /api/v1/bytes?size={SIZE}&key=large"),
        0,
    )
    .await;
    let compared = drink(&mut stream).await;
    assert_eq!((compared.size, compared.wrong), (SIZE, false));
    let down = began.elapsed();

    let after = pids.map(resident);
    let grown: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let shown: Vec<u64> = grown.iter().map(|bytes| bytes >> 10).collect();
    eprintln!(
        "{} MiB: up in {up:?}, down in {down:?}; edge, broker and worker grew by {shown:?} KiB",
        SIZE >> 20
    );
    assert!(grown.iter().all(|bytes| *bytes < MOST), "{shown:?} KiB");
}

#[tokio::test]
async fn a_client_or_an_edge_that_goes_ends_the_upload() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _worker = site.depot();
    let (mut goes, stays) = (site.edge(), site.edge());
    // The client first, then the edge.
    for key in ["client", "edge"] {
        let target = format!("PUT /api/v1/watched?key={key}");
        let mut stream = begin(&goes, &target, 100 * PIECE).await;
        assert!(send(&mut stream, 0, 10 * PIECE).await);
        noted(&stays, key, |seen| seen["bytes"].as_u64() > Some(5 * PIECE)).await;
        match key {
            "edge" => goes.process().kill(),
            _ => drop(stream),
        }
        let seen = noted(&stays, key, |seen| seen["gone"] == true).await;
        if key == "client" {
            assert_eq!(seen["end"], "upload_interrupted", "{seen}");
        }
        assert!(seen["bytes"].as_u64() <= Some(10 * PIECE), "{seen}");
    }
    passes(&stays).await;
}

#[tokio::test]
async fn a_worker_that_goes_ends_what_it_takes_and_gives() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let mut goes = site.depot();
    let edge = site.edge();
    let mut upload = begin(&edge, "PUT /api/v1/watched?key=w", 100 * PIECE).await;
    assert!(send(&mut upload, 0, 10 * PIECE).await);
    noted(&edge, "w", |seen| seen["bytes"].as_u64() > Some(5 * PIECE)).await;
    let size = 1_u64 << 30;
    let mut download = begin(&edge, &format!("GET /api/v1/bytes?size={size}&key=d"), 0).await;
    let mut some = vec![0; 1 << 20];
    download.read_exact(&mut some).await.unwrap();
    // Small replies pass by.
    assert_eq!(edge.get("/api/v1/watched/w").await.status, 200);

    goes.process().kill();
    let watch = Stopwatch::start();
    let (status, body) = answer(&mut upload).await;
    assert_eq!(
        (status, &body["code"]),
        (502, &"call_lost".into()),
        "{body}"
    );
    let mut rest = Vec::new();
    let end = download.read_to_end(&mut rest).await;
    assert!((rest.len() as u64) < size / 2, "{end:?}");
    let stalled = watch.begun().elapsed().saturating_sub(watch.elapsed());
    assert!(
        watch.begun().elapsed() < OVER + stalled,
        "{:?}",
        watch.elapsed()
    );
    let _another = site.depot();
    let back = async || (edge.get("/api/v1/watched/w").await.status == 200).then_some(());
    Stopwatch::start().within(OVER, "another one", back).await;
    passes(&edge).await;
}

#[tokio::test]
async fn a_broker_that_restarts_ends_what_passes_and_no_more() {
    let broker = NatsServer::start().await;
    let site = Site::of(&broker);
    let _worker = site.depot();
    let edge = site.edge();
    let mut upload = begin(&edge, "PUT /api/v1/watched?key=b", 100 * PIECE).await;
    assert!(send(&mut upload, 0, 10 * PIECE).await);
    noted(&edge, "b", |seen| seen["bytes"].as_u64() > Some(5 * PIECE)).await;
    broker.restart().await;
    let (status, body) = answer(&mut upload).await;
    assert_eq!(
        (status, &body["code"]),
        (502, &"call_lost".into()),
        "{body}"
    );
    let gone = |seen: &Value| seen["gone"] == true;
    let seen = noted(&edge, "b", gone).await;
    assert!(seen["bytes"].as_u64() <= Some(10 * PIECE), "{seen}");
    passes(&edge).await;
}
