//! Every example, run as its readers would run it.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests are tests"
)]

mod client;
mod nats;
#[path = "../process/mod.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use process::{PATIENCE, Serving, run};

/// The built example called `name`.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps");
    let path = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --examples`",
        path.display()
    );
    path
}

/// Starts the example `name` with `run`, in an empty directory.
fn start(name: &str) -> (Serving, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(Command::new(example(name)).arg("run"), dir.path());
    (serving, dir)
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[test]
fn minimal() {
    let (hello, _dir) = start("minimal");
    let answer = hello.get("/api/v1/hello?name=you");
    let body = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(body["message"], "success");
    assert_eq!(body["data"], "hello you");
    assert_eq!(hello.get("/api/v1/hello").data(), "hello world");
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
    let order = |item: &str, count: u32| {
        let body = json!({ "item": item, "count": count }).to_string();
        shop.send("POST", "/api/v1/orders", &JSON, body.as_bytes())
    };
    assert_eq!(order("tea", 2).data(), json!({ "number": 1, "left": 3 }));
    assert_eq!(order("tea", 1).data(), json!({ "number": 2, "left": 2 }));
    assert_eq!(
        shop.get("/api/v1/stock/tea").data(),
        json!({ "item": "tea", "left": 2, "sold": 3 })
    );

    // The errors of `stock` reach the client of `orders`.
    let refused = order("cake", 2);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["code"], "out_of_stock");
    assert_eq!(refused.json()["message"], "only 1 of `cake` left");
    assert_eq!(order("moon", 1).status, 404);
    assert_eq!(shop.stop(), Some(0));
}

#[test]
fn streaming() {
    let (speaker, _dir) = start("streaming");
    let answer = speaker.get("/api/v1/words?text=one+two&pause_ms=1");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(
        answer.text(),
        concat!(
            "event: message_chunk\ndata: {\"content\": \"one\"}\n\n",
            "event: message_chunk\ndata: {\"content\": \"two\"}\n\n",
            "event: finish\ndata: {}\n\n",
        )
    );
    assert_eq!(
        speaker.get("/api/v1/loud?text=one").text(),
        concat!(
            "event: message_chunk\ndata: {\"content\": \"ONE\"}\n\n",
            "event: remark\ndata: {\"content\": \"the end\"}\n\n",
            "event: finish\ndata: {}\n\n",
        )
    );
    assert_eq!(
        speaker.get("/api/v1/count?text=one+two+three").data(),
        json!({ "words": 3, "letters": 11 })
    );

    let lines = [("accept", "application/x-ndjson")];
    let answer = speaker.send("GET", "/api/v1/words?text=one", &lines, b"");
    assert_eq!(
        answer.text(),
        concat!(
            "{\"event\": \"message_chunk\", \"data\": {\"content\": \"one\"}}\n",
            "{\"event\": \"finish\", \"data\": {}}\n",
        )
    );

    // Before the first event an error has its own status, through two plugins too.
    for path in ["/api/v1/words?text=", "/api/v1/loud?text="] {
        let answer = speaker.get(path);
        assert_eq!(answer.status, 400);
        assert!(
            answer
                .text()
                .starts_with("event: error\ndata: {\"status\": 400")
        );
    }
    assert_eq!(speaker.get("/api/v1/count?text=").status, 400);
    assert_eq!(speaker.stop(), Some(0));
}

#[test]
fn files() {
    let (files, _dir) = start("files");
    let form = concat!(
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n",
        "content-type: text/plain\r\n\r\nfirst\r\n",
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"b.bin\"\r\n\r\n",
        "\0\u{1}\r\n",
        "--x\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nboth\r\n--x--\r\n",
    );
    let multipart = [("content-type", "multipart/form-data; boundary=x")];
    let stored = files.send("POST", "/api/v1/files", &multipart, form.as_bytes());
    assert_eq!(
        stored.data(),
        json!([
            { "name": "a.txt", "size": 5, "note": "both" },
            { "name": "b.bin", "size": 2, "note": "both" },
        ])
    );

    let download = files.get("/api/v1/files/a.txt");
    assert_eq!(download.text(), "first");
    assert_eq!(
        download.header("content-disposition"),
        Some("attachment; filename=\"a.txt\"")
    );
    assert_eq!(files.get("/api/v1/files/b.bin").body, b"\0\x01");

    let replaced = files.send("PUT", "/api/v1/files/c", &[], b"\xff\xfe");
    assert_eq!(replaced.status, 201);
    assert_eq!(
        replaced.json(),
        json!({ "name": "c", "size": 2, "note": null })
    );
    assert_eq!(files.get("/api/v1/files/c").body, b"\xff\xfe");
    assert_eq!(files.get("/api/v1/files/d").status, 404);
    assert_eq!(
        files.get("/api/v1/files").data().as_array().unwrap().len(),
        3
    );
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
    assert_eq!(maths.get("/api/v1/primes?below=100").data(), 25);
    assert_eq!(maths.get("/api/v1/primes?below=4000000000").status, 400);

    // While two of them compute, others are answered.
    std::thread::scope(|scope| {
        let heavy = || maths.get("/api/v1/primes?below=3000000").data();
        let (one, two) = (scope.spawn(heavy), scope.spawn(heavy));
        assert_eq!(maths.get("/health").status, 200);
        assert_eq!(one.join().unwrap(), 216_816);
        assert_eq!(two.join().unwrap(), 216_816);
    });
    assert_eq!(maths.stop(), Some(0));
}
