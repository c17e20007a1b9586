//! `call`: targets, arguments, results, failures.

use std::time::Instant;

use serde_json::json;

use crate::support::{Done, Place};

fn call(place: &Place, args: &[&str]) -> Done {
    place.run(&[&["call", "--load-builtin-plugins", "echo"], args].concat())
}

#[test]
fn by_id_by_path_and_by_method() {
    let place = Place::new();
    for target in [
        &["echo.EchoPlugin.echo"][..],
        &["/api/v1/echo"],
        &["GET /api/v1/echo"],
        &["GET", "/api/v1/echo"],
        &["get", "/api/v1/echo"],
    ] {
        let result = call(&place, &[target, &["message=a=b c"]].concat()).ok();
        assert_eq!(result, "\"a=b c\"\n", "{target:?}");
    }
}

#[test]
fn an_unknown_target_gets_the_nearest() {
    let place = Place::new();
    let text = call(&place, &["echo.EchoPlugin.ecko"]).fails(1);
    assert!(
        text.contains("did you mean `echo.EchoPlugin.echo`"),
        "{text}"
    );
    let text = call(&place, &["/api/v1/ecko", "message=x"]).fails(1);
    assert!(text.contains("did you mean `/api/v1/echo`"), "{text}");
    let text = call(&place, &["weather"]).fails(1);
    assert!(text.contains("`apis`"), "{text}");
}

#[test]
fn values_have_the_type_that_the_schema_asks_for() {
    let place = Place::new();
    // A number where a text is wanted stays a text.
    assert_eq!(
        call(&place, &["/api/v1/echo", "message=12"]).json(),
        json!("12")
    );
    let result = call(
        &place,
        &["/api/v1/echo_model", "message=hi", "model={\"id\": 7}"],
    )
    .json();
    assert_eq!(
        result,
        json!({"message": "hi", "model": {"id": 7, "name": "echo"}})
    );
}

#[test]
fn arguments_as_json() {
    let place = Place::new().file("arguments.json", "{\"message\": \"from a file\"}");
    let echo = |args: &[&str]| call(&place, &[&["/api/v1/echo"], args].concat());
    assert_eq!(echo(&["--json", "{\"message\": \"x\"}"]).json(), json!("x"));
    assert_eq!(
        echo(&["--json", "{\"message\": \"x\"}", "message=y"]).json(),
        json!("y")
    );
    assert_eq!(
        echo(&["--json", "@arguments.json"]).json(),
        json!("from a file")
    );
    let args = [
        "call",
        "--load-builtin-plugins",
        "echo",
        "/api/v1/echo",
        "--json",
        "-",
    ];
    let piped = place.run_with(&args, "{\"message\": \"piped\"}");
    assert_eq!(piped.json(), json!("piped"));
    for (json, code) in [("[1]", 2), ("{", 2), ("@none.json", 1)] {
        let text = echo(&["--json", json]).fails(code);
        assert!(text.contains("--json"), "{text}");
    }
}

#[test]
fn a_stream_comes_event_by_event() {
    let place = Place::new();
    let begun = Instant::now();
    let mut running = place.start(&[
        "call",
        "--load-builtin-plugins",
        "echo",
        "/api/v1/echo_stream",
        "message=x",
    ]);
    let first: serde_json::Value = serde_json::from_str(&running.line().unwrap()).unwrap();
    let first_after = begun.elapsed();
    assert_eq!(
        first,
        json!({"event": "message_chunk", "data": {"content": "T"}})
    );
    let mut text = "T".to_owned();
    while let Some(line) = running.line() {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        text.push_str(event["data"]["content"].as_str().unwrap());
    }
    assert_eq!(text, "This message is being streamed., x");
    // 33 pauses of 0.1 s come after the first event.
    assert!(first_after + std::time::Duration::from_secs(2) < begun.elapsed());
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn confess_calls_back() {
    let place = Place::new();
    let args = [
        "echo.EchoPlugin.confess",
        "message=hi",
        "call_back=echo.EchoPlugin.echo",
    ];
    let result = call(&place, &args).json();
    assert_eq!(
        result,
        json!("I am calling with message=hi,call_back_result=hi")
    );
}

#[test]
fn unknown_arguments_get_the_nearest() {
    let text = call(&Place::new(), &["/api/v1/echo", "mesage=x"]).fails(1);
    for part in [
        "422",
        "mesage",
        "did you mean `message`",
        "message=<string>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn unknown_arguments_in_json_too() {
    let args = ["/api/v1/echo", "--json", "{\"mesage\": 1}", "massage=2"];
    let text = call(&Place::new(), &args).fails(1);
    assert_eq!(text.matches("did you mean `message`").count(), 2, "{text}");
}

#[test]
fn every_problem_is_on_a_line() {
    let args = ["/api/v1/echo_model", "model={\"id\": \"x\", \"name\": 1}"];
    let text = call(&Place::new(), &args).fails(1);
    assert!(text.starts_with("error: 422 validation_failed: "), "{text}");
    for start in ["  message: ", "  model.id: ", "  model.name: "] {
        assert!(
            text.lines().any(|line| line.starts_with(start)),
            "{start} in {text}"
        );
    }
}

#[test]
fn words_that_are_no_pairs() {
    for args in [
        &["/api/v1/echo", "hello"][..],
        &["/api/v1/echo", "/x"],
        &["/api/v1/echo", "=x"],
    ] {
        let text = call(&Place::new(), args).fails(2);
        assert!(text.contains("key=value"), "{text}");
    }
}
