//! A binary of `framex::main!` with plugins of its own.

use serde_json::json;

use crate::support::{Place, own_binary};

fn own() -> Place {
    Place::of(own_binary())
}

#[test]
fn it_loads_its_own_plugins_unless_told_otherwise() {
    let place = own();
    let ids = |args: &[&str]| {
        let apis = place.run(&[&["apis", "--json"], args].concat()).json();
        let mut plugins: Vec<String> = apis
            .as_array()
            .unwrap()
            .iter()
            .map(|api| {
                format!(
                    "{} {}",
                    api["plugin"].as_str().unwrap(),
                    api["version"].as_str().unwrap()
                )
            })
            .collect();
        plugins.dedup();
        plugins
    };
    assert_eq!(ids(&[]), ["clock 0.1.0", "courier 0.1.0", "shop 2.1.0"]);
    assert_eq!(ids(&["--load-plugins", "shop"]), ["shop 2.1.0"]);
    assert_eq!(ids(&["--load-builtin-plugins", "echo"]), ["echo 0.1.0"]);
    let both = ["--load-plugins", "clock", "--load-builtin-plugins", "echo"];
    assert_eq!(ids(&both), ["clock 0.1.0", "echo 0.1.0"]);
    let text = place.run(&["run", "--load-plugins", "shpo"]).fails(1);
    assert!(text.contains("did you mean `shop`"), "{text}");
    let help = place.run(&["--help"]).ok();
    assert!(
        help.contains("cli_own_binary run") && help.contains("clock, courier, shop"),
        "{help}"
    );
    assert!(
        place
            .run(&["run", "--help"])
            .ok()
            .contains("\n  cli_own_binary run ")
    );
    assert!(
        place
            .run(&["--version"])
            .ok()
            .starts_with("cli_own_binary ")
    );
}

#[test]
fn typed_values_repeated_keys_and_configuration() {
    let place = own().file("config.toml", "[plugins.shop]\nmotto = \"cheap\"\n");
    let args = [
        "call",
        "GET",
        "/api/v1/order",
        "amount=3",
        "size=large",
        "tags=a",
        "tags=b",
        "gift=yes",
    ];
    let result = place.run(&args).ok();
    let expected =
        json!({"amount": 3, "size": "large", "tags": ["a", "b"], "gift": true, "motto": "cheap"});
    let read: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(read, expected);
    // In the order of the type, indented.
    assert!(
        result.starts_with("{\n  \"amount\": 3,\n  \"size\": \"large\""),
        "{result}"
    );

    let text = place
        .run(&[
            "call",
            "GET",
            "/api/v1/order",
            "amount=300",
            "size=huge",
            "size=x",
        ])
        .fails(1);
    assert!(text.contains("  size: expected one value, got 2"), "{text}");
    let text = place
        .run(&["call", "GET", "/api/v1/order", "amount=300", "size=huge"])
        .fails(1);
    assert!(
        text.contains("  amount: ") && text.contains("`small`, `large`"),
        "{text}"
    );
    let text = place.run(&["call", "/api/v1/order"]).fails(1);
    assert!(text.contains("`POST /api/v1/order`"), "{text}");
}

#[test]
fn failures_of_a_call() {
    let place = own();
    let text = place.run(&["call", "shop.Shop.refuse"]).fails(1);
    assert!(
        text.contains("error: 409 out_of_stock: sold out\n"),
        "{text}"
    );
    let text = place
        .run(&["call", "shop.Shop.hang", "--timeout", "200ms"])
        .fails(1);
    assert!(
        text.contains("504 deadline_exceeded") && text.contains("200ms"),
        "{text}"
    );
    let done = place.run(&["call", "shop.Shop.teapot"]);
    assert_eq!(done.out, "short and stout");
    assert!(done.fails(1).contains("418"));
    assert_eq!(place.run(&["call", "shop.Shop.text"]).ok(), "plain text");
}

#[test]
fn files_up_and_down() {
    let place = own();
    std::fs::write(place.path("a.bin"), vec![7; 100_000]).unwrap();
    std::fs::write(place.path("b.bin"), "b").unwrap();
    let take = ["call", "PUT", "/api/v1/goods/{name}", "name=x"];
    let taken = place.run(&[&take[..], &["file=@a.bin"]].concat()).ok();
    assert_eq!(taken, "\"x: a.bin of 100000 bytes\"\n");
    let more = [
        "call",
        "/api/v1/goods",
        "file=@a.bin",
        "note=n",
        "file=@b.bin",
    ];
    let more = place.run(&more).json();
    assert_eq!(more, serde_json::json!(["a.bin", "b.bin", "n"]));
    let missing = place.run(&[&take[..], &["file=@c.bin"]].concat()).fails(1);
    assert!(
        missing.contains("`file`: c.bin cannot be read"),
        "{missing}"
    );
    let text = place.run(&[&take[..], &["file=c.bin"]].concat()).fails(2);
    assert!(text.contains("write `file=@path`"), "{text}");

    let film = place.run(&["call", "/api/v1/film", "fail=false"]).ok();
    assert_eq!(film, "\u{1}\u{1}\u{2}\u{2}\u{3}\u{3}");
    let broken = place.run(&["call", "/api/v1/film", "fail=true"]);
    assert_eq!(broken.out, film);
    assert!(broken.fails(1).contains("409 conflict: the film broke"));
}

#[test]
fn a_panic_is_a_failed_call_and_a_line_of_the_log() {
    let done = own().run(&["call", "shop.Shop.break_down"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.err
            .contains("error: 500 internal: Internal Server Error\n"),
        "{done:?}"
    );
    assert!(
        done.err
            .contains("because: `shop.Shop.break_down` panicked: the till"),
        "{done:?}"
    );
    let line = done
        .err
        .lines()
        .find(|line| line.contains("\"panic\""))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["fields"]["message"], "the till\nis stuck");
    assert!(
        line["fields"]["place"]
            .as_str()
            .unwrap()
            .contains("own_binary.rs")
    );
}

#[test]
fn a_call_starts_and_stops_the_plugins() {
    let place = own();
    let done = place.run(&["call", "clock.Clock.tick"]);
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("1\n", "shop opens\nshop closes\n")
    );
    let done = place.run(&["apis"]);
    assert_eq!(done.err, "");

    let mut running = place.start(&["call", "shop.Shop.hang"]);
    running.wait_for_error("shop opens");
    running.signal("INT");
    running.wait_for_error("shop closes");
    assert_eq!(running.end().code, Some(130));
}

#[test]
fn plugins_that_fail() {
    let place = own().file("config.toml", "[plugins.shop]\nmotto = \"fail\"\n");
    let text = place.run(&["run"]).fails(1);
    assert!(
        text.contains("`shop`") && text.contains("closed for good"),
        "{text}"
    );
    let server = place.serve(&["--allow-failed-plugins"]);
    let report = &server.report;
    assert!(
        report.contains("clock") && !report.contains("shop.Shop"),
        "{report}"
    );
    assert!(report.contains("closed for good"), "{report}");

    let place = own().file("config.toml", "[plugins.shop]\nmoto = \"x\"\n");
    let text = place.run(&["run"]).fails(1);
    for part in ["config.toml:2", "`plugins.shop.moto`", "motto"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_stop_runs_on_stop() {
    let mut server = own().serve(&[]);
    server.process.signal("TERM");
    server.process.wait_for_error("shop closes");
    assert_eq!(server.process.end().code, Some(0));
}

#[test]
fn a_port_in_use_stops_the_plugins_again() {
    let place = own();
    let server = place.serve(&[]);
    let port = server.port();
    let done = place.run(&["run", "--port", &port, "--dashboard-port", "0"]);
    assert!(done.err.contains("shop closes"), "{done:?}");
    done.fails(3);
}
