//! The commands with a real broker: workers, edges and questions that meet on it.

use std::time::{Duration, Instant};

use framex_test_support::nats::NatsServer;

use crate::support::{Place, Running, Server, get, own_binary};

const ECHO: [&str; 2] = ["--load-builtin-plugins", "echo"];
/// What a change may take to be seen everywhere, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

fn own() -> Place {
    Place::of(own_binary())
}

fn worker(place: &Place, broker: &NatsServer, more: &[&str]) -> Server {
    let url = broker.url();
    let args = ["worker", "--dashboard-port", "0", "--nats-url", &url];
    place.report(&[&args[..], more].concat())
}

fn edge(place: &Place, broker: &NatsServer) -> Server {
    let url = broker.url();
    let args = ["edge", "--port", "0", "--dashboard-port", "0"];
    place.report(&[&args[..], &["--nats-url", &url]].concat())
}

/// The line that begins with `ready:`.
fn ready(server: &mut Server) -> String {
    let line = server.process.line().expect("a line that says ready");
    assert!(line.starts_with("ready: "), "{line}");
    line
}

fn ended(process: Running) {
    process.signal("TERM");
    let done = process.end();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!done.err.contains("panicked"), "{done:?}");
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_an_edge_meet_on_the_broker() {
    let broker = NatsServer::start().await;
    let place = Place::new();
    let mut edge = edge(&place, &broker);
    let nothing = format!("ready: 0 APIs of 0 plugins on {}\n", broker.url());
    assert_eq!(ready(&mut edge), nothing);
    let echo = |message: &str| edge.get(&format!("/api/v1/echo?message={message}"));
    assert!(echo("early").contains(" 404 "));

    let mut first = worker(&place, &broker, &ECHO);
    let serving = format!("ready: serving echo on {}\n", broker.url());
    assert_eq!(ready(&mut first), serving);
    until("the route", || echo("hello").contains("\"data\":\"hello\""));
    assert!(edge.get("/api/v1/openapi.json").contains("/api/v1/echo"));
    assert!(get(&first.address("dashboard"), "/ready").contains(" 200 "));

    let mut second = worker(&place, &broker, &ECHO);
    assert_eq!(ready(&mut second), serving);
    let instances = || {
        let catalog = get(&edge.address("dashboard"), "/catalog");
        let (_, catalog) = catalog.split_once("\r\n\r\n").unwrap();
        let catalog: serde_json::Value = serde_json::from_str(catalog).unwrap();
        catalog["apis"][0]["instances"].clone()
    };
    until("both instances", || instances() == 2);

    ended(first.process);
    until("one instance", || instances() == 1);
    assert!(echo("still").contains("\"data\":\"still\""));
    ended(second.process);
    until("no route", || echo("late").contains(" 404 "));
    ended(edge.process);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_to_the_broker() {
    let broker = NatsServer::start().await;
    let url = broker.url();
    let place = Place::new();
    let ask = |args: &[&str]| place.run(&[args, &["--nats-url", &url]].concat());
    let done = ask(&["apis", "--json"]);
    assert!(done.err.contains("no plugin is on NATS"), "{done:?}");
    assert_eq!(done.json(), serde_json::json!([]));

    let mut worker = worker(&place, &broker, &ECHO);
    ready(&mut worker);
    let table = ask(&["apis"]).ok();
    let row = table
        .lines()
        .find(|l| l.starts_with("echo.EchoPlugin.echo "));
    let row = row.unwrap_or_else(|| panic!("{table}"));
    for part in ["GET /api/v1/echo", "0.1.0", "1"] {
        assert!(row.contains(part), "{row}");
    }
    let said = ask(&["call", "GET", "/api/v1/echo", "message=hello"]).ok();
    assert_eq!(said, "\"hello\"\n");
    let text = ask(&[
        "call",
        "/api/v1/echo_model",
        "message=x",
        "model={\"id\": \"x\"}",
    ])
    .fails(1);
    assert!(text.contains("model.id: expected an integer"), "{text}");
    let text = ask(&["call", "/api/v1/ekho"]).fails(1);
    assert!(text.contains("did you mean `/api/v1/echo`"), "{text}");
    let events = ask(&["call", "/api/v1/echo_stream", "message=x"]).ok();
    let last = events.lines().last().unwrap();
    assert_eq!(last, r#"{"event":"message_chunk","data":{"content":"x"}}"#);
    let document = ask(&["openapi"]).json();
    assert!(document["paths"]["/api/v1/echo"]["get"].is_object());
    ended(worker.process);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_says_when_its_broker_goes_and_comes() {
    let broker = NatsServer::start().await;
    let place = Place::new();
    let mut worker = worker(&place, &broker, &ECHO);
    ready(&mut worker);
    let mut edge = edge(&place, &broker);
    ready(&mut edge);
    let echo = || edge.get("/api/v1/echo?message=hello");
    until("the route", || echo().contains("\"data\":\"hello\""));
    broker.kill();
    for process in [&edge, &worker] {
        let board = process.address("dashboard");
        until("unready", || get(&board, "/ready").contains(" 503 "));
        assert!(get(&board, "/ready").contains("not connected to NATS"));
        assert!(get(&board, "/health").contains(" 200 "));
    }
    let begun = Instant::now();
    assert!(echo().contains(" 503 "), "{}", echo());
    assert!(begun.elapsed() < Duration::from_secs(3));
    broker.restart().await;
    for process in [&edge, &worker] {
        let board = process.address("dashboard");
        until("ready", || get(&board, "/ready").contains(" 200 "));
    }
    until("an answer", || echo().contains("\"data\":\"hello\""));
    ended(edge.process);
    ended(worker.process);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_listed_until_it_is_there() {
    let broker = NatsServer::start().await;
    let place = own();
    let mut courier = worker(&place, &broker, &["--load-plugins", "courier"]);
    ready(&mut courier);
    let board = courier.address("dashboard");
    let missing = "nobody serves `GET /api/v1/order`, required by plugin `courier`";
    until("the reason", || get(&board, "/ready").contains(missing));
    let status = get(&board, "/ready");
    assert!(
        status.contains(" 200 ") && status.contains("\"degraded\""),
        "{status}"
    );
    let url = broker.url();
    let deliver = || place.run(&["call", "/api/v1/deliver", "amount=2", "--nats-url", &url]);
    let text = deliver().fails(1);
    assert!(text.contains("`GET /api/v1/order`"), "{text}");

    let mut shop = worker(&place, &broker, &["--load-plugins", "shop"]);
    ready(&mut shop);
    until("no reason", || get(&board, "/ready").contains("\"ready\""));
    assert_eq!(deliver().json()["amount"], 2);
    ended(shop.process);
    until("the reason again", || {
        get(&board, "/ready").contains(missing)
    });
    ended(courier.process);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_runs() {
    let broker = NatsServer::start().await;
    let place = Place::new();
    let mut worker = worker(&place, &broker, &ECHO);
    ready(&mut worker);
    let url = broker.url();
    // A tenth of a second for each character.
    let message = "message=xxxxxxxxxx";
    let mut call = place.start(&["call", "/api/v1/echo_stream", message, "--nats-url", &url]);
    assert!(call.line().expect("an event").contains("message_chunk"));
    worker.process.signal("TERM");
    let done = call.end();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.out.matches(":\"x\"").count(), 10, "{done:?}");
    let done = worker.process.end();
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_wrong_passwords() {
    let broker = NatsServer::with_config(
        "authorization { users: [{ user: team, password: \"correct horse\" }] }",
    )
    .await;
    let url = broker.url();
    let args = ["apis", "--nats-user", "team", "--nats-url", &url];
    let with = |password: &str| Place::new().env("NATS__PASSWORD", password).run(&args);
    let done = with("correct horse");
    assert!(done.err.contains("no plugin is on NATS"), "{done:?}");
    assert_eq!(done.code, Some(0));
    let text = with("wrong horse").fails(1).to_lowercase();
    assert!(text.contains("authoriz"), "{text}");
    assert!(!text.contains("horse"), "{text}");
}
