//! A gigabyte through a process that stays small.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::depot::{Compared, pattern};
use crate::process::Serving;
use crate::sender::{file_head, text};

/// All that an API may allow, but for what a form adds to it.
const SIZE: u64 = (1 << 30) - 10_000;
/// In bytes.
const MOST: u64 = 64 << 20;

/// The process' memory now, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse::<u64>().unwrap() * 1024
}

/// Sends `size` bytes of the pattern between two texts.
fn send(address: SocketAddr, head: &str, size: u64, (before, after): (&str, &str)) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = size + (before.len() + after.len()) as u64;
    write!(
        stream,
        "{head}Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{before}"
    )
    .unwrap();
    let mut at = 0;
    while at < size {
        let piece = pattern(at, usize::try_from(size - at).unwrap().min(1 << 20));
        stream.write_all(&piece).unwrap();
        at += piece.len() as u64;
    }
    stream.write_all(after.as_bytes()).unwrap();
    stream
}

fn assert_seen(mut stream: TcpStream, size: u64) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let right = format!("\"right\":true,\"size\":{size}");
    assert!(answer.contains(&right), "{answer}");
}

#[test]
fn uploads_and_downloads_need_little() {
    let dir = tempfile::tempdir().unwrap();
    let program = crate::process::example("files_depot");
    let mut serving = Serving::start(Command::new(program).arg("run"), dir.path());
    let address = serving.address();
    let pid = serving.process().id();
    let before = resident(pid);

    let kind = "Content-Type: multipart/form-data; boundary=XX\r\n";
    let post = format!("POST /api/v1/form HTTP/1.1\r\n{kind}");
    let file = file_head("file", "f");
    let put = "PUT /api/v1/raw HTTP/1.1\r\n";
    assert_seen(send(address, put, SIZE, ("", "")), SIZE);
    let note = text("note", "n");
    // As it comes: all else was there before.
    let texts = note.clone() + &text("count", "1");
    let around = (&*(texts + &file), "\r\n--XX--\r\n");
    assert_seen(send(address, &post, SIZE, around), SIZE);
    // By way of the disk: what it waits for comes behind.
    let around = (&*file, &*format!("\r\n{note}--XX--\r\n"));
    assert_seen(send(address, &post, SIZE / 4, around), SIZE / 4);

    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /api/v1/bytes?size={SIZE}&key=k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut compared = Compared::default();
    let mut head = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        if compared.size > 0 {
            compared.take(&buffer[..count]);
            continue;
        }
        head.extend_from_slice(&buffer[..count]);
        if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            compared.take(&head[end + 4..]);
        }
    }
    assert_eq!((compared.size, compared.wrong), (SIZE, false));

    let grown = resident(pid) - before;
    assert!(grown < MOST, "grown by {grown} bytes");
}
