//! `run`: ports, report, signals, exit codes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{Place, get};

const ECHO: [&str; 2] = ["--load-builtin-plugins", "echo"];

#[test]
fn it_answers_and_reports() {
    let place = Place::new();
    let server = place.serve(&ECHO);
    let answer = server.get("/api/v1/echo?message=hello");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"data\":\"hello\""), "{answer}");
    let ready = get(&server.address("dashboard"), "/ready");
    assert!(ready.contains("\"ready\""), "{ready}");
    for part in [
        "echo 0.1.0",
        "GET /api/v1/echo ",
        "echo.EchoPlugin.echo\n",
        "bus only",
        "echo.EchoPlugin.confess",
        "(stream)",
        "/docs",
        "/redoc",
        "/api/v1/openapi.json",
        "dashboard",
        "started in ",
    ] {
        assert!(server.report.contains(part), "{part} in {}", server.report);
    }
    server.process.signal("TERM");
    let done = server.process.end();
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn an_interrupt_stops_it_as_well() {
    let place = Place::new();
    let server = place.serve(&ECHO);
    server.process.signal("INT");
    assert_eq!(server.process.end().code, Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = Place::new().env("SERVER__SHUTDOWN_GRACE", "60s");
    let mut server = place.serve(&ECHO);
    // A stream that goes on for minutes holds up the first one.
    let mut stream = TcpStream::connect(server.address("edge")).unwrap();
    let message = "x".repeat(1000);
    write!(
        stream,
        "GET /api/v1/echo_stream?message={message} HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    .unwrap();
    stream.read_exact(&mut [0; 15]).unwrap();
    server.process.signal("TERM");
    server.process.wait_for_error("stopping");
    server.process.signal("TERM");
    assert_eq!(server.process.end().code, Some(143));
}

#[test]
fn a_port_in_use_says_which_and_what_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let place = Place::new();
    for (option, other, key) in [
        ("--port", "--dashboard-port", "server.port"),
        ("--dashboard-port", "--port", "server.dashboard_port"),
    ] {
        let args = [&["run", option, &port, other, "0"], &ECHO[..]].concat();
        let text = place.run(&args).fails(3);
        for part in [&port, option, key, "in use"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn wrong_options_are_usage_errors() {
    let place = Place::new();
    for (args, part) in [
        (
            &["run", "--load-plugins", "a,b"][..],
            "--load-plugins a --load-plugins b",
        ),
        (
            &["run", "--load-builtin-plugins", "a, b"],
            "repeat the option",
        ),
        (&["run", "--prot", "1"], "--port"),
        (&["run", "--port", "x"], "--port"),
        (&["run", "--set", "server.port"], "key=value"),
        (&["rum"], "run"),
    ] {
        let text = place.run(args).fails(2);
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

#[test]
fn without_a_command_it_helps() {
    let place = Place::new();
    let done = place.run(&[]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("Usage: framex <COMMAND>"), "{done:?}");
    assert!(place.run(&["--help"]).ok().contains("completions"));
    assert!(place.run(&["--version"]).ok().starts_with("framex 0."));
    for command in [
        "run",
        "worker",
        "edge",
        "apis",
        "call",
        "config",
        "openapi",
        "completions",
    ] {
        let help = place.run(&[command, "--help"]).ok();
        assert!(help.contains("Examples:"), "{help}");
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}

#[test]
fn unknown_plugins_are_named_with_the_nearest() {
    let place = Place::new();
    for (args, parts) in [
        (
            ["run", "--load-builtin-plugins", "ecko"],
            ["`ecko`", "`echo`"],
        ),
        (
            ["run", "--load-plugins", "echo"],
            ["`echo`", "--load-builtin-plugins echo"],
        ),
        (
            ["run", "--load-plugins", "shop"],
            ["`shop`", "framex::main!"],
        ),
    ] {
        let text = place.run(&args).fails(1);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn switches_can_be_turned_off_again() {
    let place = Place::new();
    let off = [
        "--use-nats",
        "--no-use-nats",
        "--enable-proxy",
        "--no-enable-proxy",
    ];
    let server = place.serve(&off);
    for part in ["(local bus)", "--load-builtin-plugins"] {
        assert!(server.report.contains(part), "{}", server.report);
    }
}

#[test]
fn a_plugin_loaded_twice_is_refused() {
    let place = Place::new().file(
        "config.toml",
        "load_builtin_plugins = [\"echo\", \"echo\"]\n",
    );
    let text = place
        .run(&["run", "--port", "0", "--dashboard-port", "0"])
        .fails(1);
    assert!(text.contains("`echo` is loaded twice"), "{text}");
}

#[test]
fn the_command_line_adds_to_the_plugins_of_a_file() {
    let place = Place::new().file("config.toml", "load_builtin_plugins = [\"echo\"]\n");
    let server = place.serve(&ECHO);
    assert!(server.get("/api/v1/echo?message=x").contains(" 200 "));
}

#[test]
fn a_wrong_log_filter_names_its_key() {
    let place = Place::new().file("config.toml", "[log]\nfilter = \"inof\"\n");
    for command in ["run", "apis", "config"] {
        let text = place.run(&[command]).fails(1);
        for part in ["log.filter", "config.toml", "`info`"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn the_log_is_json_where_no_terminal_is() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.process.signal("TERM");
    let done = server.process.end();
    assert!(!done.err.is_empty());
    for line in done.err.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
    let server = place.serve(&["--set", "log.format=human"]);
    server.process.signal("TERM");
    let done = server.process.end();
    assert!(
        done.err.contains("WARN") && !done.err.contains('\u{1b}'),
        "{done:?}"
    );
}

#[test]
fn the_server_outlives_whoever_read_its_report() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    let (_, port) = address.split_once(':').unwrap();
    drop(free);
    let place = Place::new();
    let args = ["run", "--port", port, "--dashboard-port", "0"];
    let process = place.start_unread(&[&args, &ECHO[..]].concat());
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < until, "{:?}", process.end());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(get(&address, "/api/v1/echo?message=x").contains(" 200 "));
    process.signal("TERM");
    assert_eq!(process.end().code, Some(0));
}
