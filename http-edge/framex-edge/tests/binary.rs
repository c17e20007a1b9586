//! The binary, as a process.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(20);

fn command(args: &[&str], dir: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framex-edge"));
    command.args(args).env_clear().current_dir(dir.path());
    command
}

fn run(args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    command(args, &dir).output().unwrap()
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn its_options_are_at_the_top() {
    let help = run(&["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    for part in ["Usage: framex-edge [OPTIONS]", "--nats-url", "--port"] {
        assert!(help.contains(part), "{part} in {help}");
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert!(version.starts_with("framex-edge 0."), "{version}");
    let wrong = run(&["--load-plugins", "echo"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

#[test]
fn it_lives_without_a_broker_and_says_so() {
    // Nobody listens where this was.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = format!("nats://{}", free.local_addr().unwrap());
    drop(free);
    // The settings of a process with plugins do for an edge as well.
    let dir = tempfile::tempdir().unwrap();
    let config = "load_plugins = [\"shop\"]\n[plugins.shop]\nsize = 3\n";
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    let args = [
        "--port",
        "0",
        "--dashboard-port",
        "0",
        "--nats-url",
        &broker,
    ];
    let child = command(&args, &dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut running = Running(child.unwrap());
    let mut report = BufReader::new(running.0.stdout.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(report.read_line(&mut line).unwrap() > 0, "no report");
        if let Some((_, address)) = line.split_once("edge       http://") {
            break address.trim().to_owned();
        }
    };
    assert!(get(&address, "/health").starts_with("HTTP/1.1 200"));
    let until = Instant::now() + LIMIT;
    loop {
        let ready = get(&address, "/ready");
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        if ready.contains("not connected to NATS") && ready.contains(&broker) {
            break;
        }
        assert!(Instant::now() < until, "{ready}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = running.0.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
    let until = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until, "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}
