//! `worker`, `edge`, and the other commands on NATS: options, errors, and a
//! broker that is not there.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::{Place, Server, get};

const ECHO: [&str; 2] = ["--load-builtin-plugins", "echo"];

/// A URL where nobody listens.
fn nowhere() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("nats://{}", free.local_addr().unwrap())
}

/// Waits until `/ready` of the dashboard says this.
#[track_caller]
fn wait_until_ready_says(server: &Server, part: &str) -> String {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let ready = get(&server.address("dashboard"), "/ready");
        if ready.contains(part) {
            return ready;
        }
        assert!(Instant::now() < until, "no {part} in {ready}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_question_to_a_broker_that_is_not_there_fails_in_time() {
    let place = Place::new();
    let broker = nowhere();
    for command in [
        &["apis"][..],
        &["openapi"],
        &["call", "echo.EchoPlugin.echo", "message=hi"],
    ] {
        let begun = Instant::now();
        let args = [command, &["--nats-url", &broker]].concat();
        let text = place.run(&args).fails(1);
        assert!(text.contains(&broker), "{text}");
        // One message, nothing of the log.
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(begun.elapsed() < Duration::from_secs(9), "{args:?}");
    }
}

#[test]
fn a_question_to_a_broker_loads_no_plugins() {
    let place = Place::new();
    let broker = nowhere();
    let done = place.run(&[&["apis", "--nats-url", &broker], &ECHO[..]].concat());
    assert!(done.err.contains("note: no plugin is loaded"), "{done:?}");
    let args = ["apis", "--nats-url", &broker, "--no-use-nats"];
    let table = place.run(&[&args, &ECHO[..]].concat()).ok();
    assert!(table.contains("echo.EchoPlugin.echo"), "{table}");
}

#[test]
fn a_worker_without_plugins_is_refused() {
    let text = Place::new().run(&["worker"]).fails(1);
    assert!(text.contains("--load-builtin-plugins echo"), "{text}");
    let text = Place::new()
        .run(&["worker", "--load-builtin-plugins", "ecko"])
        .fails(1);
    assert!(text.contains("`echo`"), "{text}");
}

#[test]
fn a_worker_waits_for_its_broker_without_a_port() {
    let place = Place::new();
    let broker = nowhere();
    let args = [&["worker", "--nats-url", &broker], &ECHO[..]].concat();
    let mut worker = place.report(&args);
    for part in [
        "worker (NATS at nats://127.0.0.1:",
        "echo 0.1.0",
        "echo.EchoPlugin.confess",
    ] {
        assert!(worker.report.contains(part), "{}", worker.report);
    }
    assert!(!worker.report.contains("http://"), "{}", worker.report);
    worker.process.wait_for_error("not connected to NATS");
    worker.process.signal("TERM");
    let done = worker.process.end();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!done.out.contains("ready"), "{done:?}");
}

#[test]
fn a_worker_with_a_dashboard_can_be_probed() {
    let place = Place::new().env("SERVER__DASHBOARD_PORT", "0");
    let broker = nowhere();
    let args = [&["worker", "--nats-url", &broker], &ECHO[..]].concat();
    let worker = place.report(&args);
    let board = worker.address("dashboard");
    assert!(get(&board, "/health").contains(" 200 "));
    let ready = wait_until_ready_says(&worker, &broker);
    assert!(
        ready.contains(" 503 ") && ready.contains("\"unready\""),
        "{ready}"
    );
}

#[test]
fn an_edge_takes_the_settings_of_a_process_with_plugins() {
    let place = Place::new().file(
        "config.toml",
        "load_plugins = [\"shop\"]\n[plugins.shop]\nsize = 1\n[auth.rules]\n\"/api/v1/shop\" = [\"k\"]\n",
    );
    let broker = nowhere();
    let args = [
        "edge",
        "--port",
        "0",
        "--dashboard-port",
        "0",
        "--nats-url",
        &broker,
    ];
    let edge = place.report(&args);
    assert!(edge.report.contains("edge (NATS at "), "{}", edge.report);
    assert!(edge.get("/health").contains(" 200 "));
    assert!(edge.get("/api/v1/shop").contains(" 404 "));
    wait_until_ready_says(&edge, &broker);
    edge.process.signal("TERM");
    let done = edge.process.end();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("an edge loads no plugins"), "{done:?}");
    // What is left to the workers is no option of an edge.
    let text = place.run(&["edge", "--load-plugins", "shop"]).fails(2);
    assert!(text.contains("--load-plugins"), "{text}");
}

#[test]
fn a_process_with_plugins_serves_them_without_its_broker() {
    let place = Place::new();
    let broker = nowhere();
    let server = place.serve(&[&["--nats-url", &broker], &ECHO[..]].concat());
    assert!(server.report.contains("(NATS at "), "{}", server.report);
    let answer = server.get("/api/v1/echo?message=hello");
    assert!(answer.contains("\"data\":\"hello\""), "{answer}");
}

#[test]
fn options_that_can_never_work_are_told_at_once() {
    let place = Place::new();
    for (options, code, parts) in [
        (
            &["--nats-creds", "no.creds"][..],
            1,
            &["nats.creds", "no.creds"][..],
        ),
        (&["--nats-tls-ca", "no.pem"], 1, &["nats.tls.ca", "no.pem"]),
        (
            &["--nats-url", "nats://a,nats://b"],
            1,
            &["--nats-url", "repeat the option: --nats-url a --nats-url b"],
        ),
        (&["--nats-url", "http://a"], 1, &["nats.url", "nats://"]),
        (&["--nats-namespace", "a.b"], 1, &["nats.namespace"]),
        (&["--nats-password", "secret"], 2, &["--nats-password"]),
    ] {
        for command in [
            &["worker", "--load-builtin-plugins", "echo"][..],
            &["edge", "--port", "0", "--dashboard-port", "0"],
            &["apis"],
        ] {
            let text = place.run(&[command, options].concat()).fails(code);
            for part in parts {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
    }
}
