//! Every example, run as its readers would run it.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests are tests"
)]

mod answers;
mod client;
mod nats;
#[path = "../process/mod.rs"]
mod process;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use process::{PATIENCE, Serving, example, run};
use serde_json::json;

/// Starts the example `name` with `run`, in an empty directory.
fn start(name: &str) -> (Serving, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(Command::new(example(name)).arg("run"), dir.path());
    (serving, dir)
}

#[test]
fn minimal() {
    let (hello, _dir) = start("minimal");
    answers::hello(&hello);
    assert!(
        hello.output.contains("GET /api/v1/hello"),
        "{}",
        hello.output
    );
    assert_eq!(hello.stop(), Some(0));
}

#[test]
fn two_plugins() {
    let (shop, _dir) = start("two_plugins");
    answers::shop(&shop);
    assert_eq!(shop.stop(), Some(0));
}

#[test]
fn streaming() {
    let (speaker, _dir) = start("streaming");
    answers::words(&speaker);
    assert_eq!(speaker.stop(), Some(0));
}

/// What the page does: it reads some, is cut off, and asks for the rest.
#[test]
fn browser_stream() {
    let (storyteller, _dir) = start("browser_stream");
    let page = storyteller.get("/");
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    for part in [
        "\"/api/v1/story\"",
        "\"Last-Event-ID\"",
        "\"X-FrameX-Stream\"",
    ] {
        assert!(page.text().contains(part), "{part}");
    }
    let begun = storyteller.begin("/api/v1/story?pause_ms=20", 7);
    let words = |events: &str| -> String {
        let data = events
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|json| {
            let data: serde_json::Value = serde_json::from_str(json).unwrap();
            Some(data["content"].as_str()?.to_owned())
        })
        .collect()
    };
    assert_eq!(words(&begun), "Once upon a time there was a ");
    let last = begun
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    let resume = |last: &str| {
        let headers = [("last-event-id", last)];
        storyteller.send("GET", "/api/v1/story", &headers, b"")
    };
    let rest = resume(last);
    assert_eq!(rest.status, 200);
    assert!(words(rest.text()).starts_with("reader who lost the thread"));
    assert!(words(rest.text()).ends_with("It was told only once all the same. "));
    let address = rest.header("x-framex-stream").unwrap();
    let whole = storyteller.get(address);
    assert_eq!(whole.text(), format!("{begun}{}", rest.text()));
    let end = rest
        .text()
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    assert_eq!(resume(end).status, 204);
    assert_eq!(storyteller.send("DELETE", address, &[], b"").status, 204);
    assert_eq!(storyteller.stop(), Some(0));
}

#[test]
fn files() {
    let (files, dir) = start("files");
    answers::files(&files);
    // What is broken off leaves nothing behind, and what was there stays.
    let there = || {
        let entries = std::fs::read_dir(dir.path().join("files")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<String>>()
    };
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "waited until {what}: {:?}", there());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let before = there();
    let mut leaving = TcpStream::connect(files.address()).unwrap();
    let head = "PUT /api/v1/files/a.txt HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    leaving.write_all(head.as_bytes()).unwrap();
    leaving.write_all(&[0; 100_000]).unwrap();
    until("it is being written", &|| there() != before);
    drop(leaving);
    until("it is gone", &|| there() == before);
    let kept = files.get("/api/v1/files/a.txt");
    assert_eq!(kept.header("content-length"), Some("20000000"));
    assert_eq!(files.stop(), Some(0));
}

#[test]
fn typed_config() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("target")).unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/typed_config/config.toml");
    let command = || {
        let mut command = Command::new(example("typed_config"));
        command.arg("run").arg("--config").arg(&config);
        command
    };
    let journal = Serving::start(
        command()
            .env("PLUGINS__JOURNAL__STAMP", "none")
            .env("PLUGINS__JOURNAL__LIMITS__LONGEST_LINE", "5"),
        dir.path(),
    );
    let write = |line| journal.send("POST", &format!("/api/v1/journal?line={line}"), &[], b"");
    assert_eq!(write("hello").status, 200);
    let refused = write("longer");
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["code"], "line_too_long");
    assert_eq!(journal.stop(), Some(0));
    let written = std::fs::read_to_string(dir.path().join("target/journal.txt")).unwrap();
    assert_eq!(written, "hello\nclosed\n");
}

#[test]
fn typed_config_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |config: &str| {
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        let mut command = Command::new(example("typed_config"));
        let (code, _, stderr) = run(command.arg("run"), dir.path(), PATIENCE);
        assert_eq!(code, Some(1), "{stderr}");
        stderr
    };
    let typo = refused("[plugins.journal]\npath = \"x\"\nstanp = \"none\"\n");
    for part in [
        "config.toml:3",
        "plugins.journal.stanp",
        "plugins.journal.stamp",
    ] {
        assert!(typo.contains(part), "{typo}");
    }
    let missing = refused("");
    assert!(
        missing.contains("`plugins.journal.path` is missing"),
        "{missing}"
    );
    let by_new = refused("[plugins.journal]\npath = \"x\"\nlimits.longest_line = 0\n");
    assert!(
        by_new.contains("plugin `journal`") && by_new.contains("is 0"),
        "{by_new}"
    );
    let by_start = refused("[plugins.journal]\npath = \"no/such/directory\"\n");
    assert!(
        by_start.contains("plugin `journal` cannot start"),
        "{by_start}"
    );
}

#[test]
fn embedded_axum() {
    let dir = tempfile::tempdir().unwrap();
    let both = Serving::start(&mut Command::new(example("embedded_axum")), dir.path());
    assert_eq!(both.get("/").text(), "axum's own page");
    assert_eq!(both.get("/api/v1/hello?name=you").data(), "hello you");
    assert_eq!(both.get("/api/v1/hello").status, 422);
    let lost = both.get("/nowhere");
    assert_eq!(lost.status, 404);
    assert_eq!(lost.json()["code"], "not_found");
    assert_eq!(both.get("/health").text(), "\"ok\"");
    assert_eq!(both.stop(), Some(0));
}

#[test]
fn remote_blocking() {
    let (maths, _dir) = start("remote_blocking");
    answers::primes(&maths);
    assert_eq!(maths.stop(), Some(0));
}

/// Alone, and as two systems of which one does the other's work.
#[test]
fn proxy_functions() {
    let primes = |system: &Serving| {
        let answer = system.get("/api/v1/primes?below=100");
        let data = answer.data();
        assert_eq!((&data["count"], &data["last"]), (&json!(25), &json!(97)));
        data["process"].clone()
    };
    let (alone, _dir) = start("proxy_functions");
    assert_eq!(primes(&alone), alone.id());
    assert_eq!(alone.stop(), Some(0));

    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/proxy_functions");
    let dir = tempfile::tempdir().unwrap();
    let system = |config: &Path| {
        let mut command = Command::new(example("proxy_functions"));
        command.arg("run").arg("--config").arg(config);
        Serving::start(&mut command, dir.path())
    };
    let far = system(&files.join("far.toml"));
    assert_eq!(far.get("/api/v1/primes?below=100").status, 404);
    // The far system is on a free port instead of its own.
    let near = std::fs::read_to_string(files.join("near.toml")).unwrap();
    let near = near.replace("127.0.0.1:8081", &far.address().to_string());
    let config = dir.path().join("near.toml");
    std::fs::write(&config, near).unwrap();
    let near = system(&config);
    assert_eq!(primes(&near), far.id());
    let far_off = near.get("/api/v1/primes?below=100000001");
    assert_eq!(
        (far_off.status, far_off.json()["code"].clone()),
        (400, json!("too_many"))
    );
    assert_eq!(far.stop(), Some(0));
    let gone = near.get("/api/v1/primes?below=100");
    assert_eq!(
        (gone.status, gone.json()["code"].clone()),
        (502, json!("upstream_unreachable"))
    );
    assert_eq!(near.stop(), Some(0));
}
