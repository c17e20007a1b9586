//! `apis`, `openapi`, `completions`.

use crate::support::Place;

const ECHO: [&str; 2] = ["--load-builtin-plugins", "echo"];

#[test]
fn apis_as_a_table() {
    let table = Place::new().run(&[&["apis"], &ECHO[..]].concat()).ok();
    let row = |id: &str| {
        let line = table
            .lines()
            .find(|line| line.starts_with(&format!("{id} ")));
        let line = line.unwrap_or_else(|| panic!("no {id} in {table}"));
        line.split("  ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        row("API"),
        ["API", "KIND", "ROUTES", "PLUGIN", "VERSION", "INSTANCES"]
    );
    assert_eq!(
        row("echo.EchoPlugin.echo"),
        [
            "echo.EchoPlugin.echo",
            "http",
            "GET /api/v1/echo",
            "echo",
            "0.1.0",
            "1"
        ]
    );
    assert_eq!(row("echo.EchoPlugin.confess")[1..3], ["func", "-"]);
}

#[test]
fn apis_as_json() {
    let apis = Place::new()
        .run(&[&["apis", "--json"], &ECHO[..]].concat())
        .json();
    let echo = apis
        .as_array()
        .unwrap()
        .iter()
        .find(|api| api["id"] == "echo.EchoPlugin.echo");
    let echo = echo.unwrap();
    assert_eq!(echo["routes"][0], "GET /api/v1/echo");
    assert_eq!(echo["kind"], "http");
    assert_eq!(echo["plugin"], "echo");
    assert_eq!(echo["instances"], 1);
    assert_eq!(echo["summary"], "Returns `message` unchanged");
}

#[test]
fn nothing_loaded_says_what_to_do() {
    let place = Place::new();
    let done = place.run(&["apis", "--json"]);
    assert!(done.err.contains("--load-builtin-plugins echo"), "{done:?}");
    assert_eq!(done.json(), serde_json::json!([]));
    assert!(
        place
            .run(&["openapi"])
            .err
            .contains("--load-builtin-plugins echo")
    );
    let text = place.run(&["call", "echo.EchoPlugin.echo"]).fails(1);
    assert!(text.contains("--load-builtin-plugins echo"), "{text}");
}

#[test]
fn the_openapi_document() {
    let place = Place::new();
    let args = [&["openapi"], &ECHO[..]].concat();
    let document = place.run(&args).json();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{document}"
    );
    assert!(
        document["paths"]["/api/v1/echo"]["get"].is_object(),
        "{document}"
    );

    let written = place.run(&[&args[..], &["--output", "api.json"]].concat());
    assert_eq!(written.ok(), "");
    let file = std::fs::read_to_string(place.path("api.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["paths"], document["paths"]);

    let text = place
        .run(&[&args[..], &["--output", "no/such/dir"]].concat())
        .fails(1);
    assert!(text.contains("no/such/dir"), "{text}");
}

#[test]
fn the_document_is_the_one_that_is_served() {
    let place = Place::new();
    let server = place.serve(&ECHO);
    let served = server.get("/api/v1/openapi.json");
    let (_, served) = served.split_once("\r\n\r\n").unwrap();
    let served: serde_json::Value = serde_json::from_str(served).unwrap();
    let printed = place.run(&[&["openapi"], &ECHO[..]].concat()).json();
    assert_eq!(served["paths"], printed["paths"]);
}

#[test]
fn completions_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).ok();
        assert!(script.contains("load-builtin-plugins"), "{shell}: {script}");
    }
    place.run(&["completions", "none"]).fails(2);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let framex = env!("CARGO_BIN_EXE_framex");
    let script = format!("{framex} completions bash | true; echo ${{PIPESTATUS[0]}}");
    let shell = Place::of("/bin/bash".into()).env("PATH", "/usr/bin:/bin");
    let done = shell.run(&["-c", &script]);
    assert_eq!((done.out.trim(), done.err.as_str()), ("0", ""));
}

#[test]
fn a_full_disk_is_an_error() {
    let framex = env!("CARGO_BIN_EXE_framex");
    let shell = Place::of("/bin/bash".into());
    let done = shell.run(&["-c", &format!("{framex} config > /dev/full")]);
    let text = done.fails(1);
    assert!(text.contains("standard output"), "{text}");
}
