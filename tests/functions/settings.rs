//! Settings that cannot be, and functions that are found.

use serde_json::{Value, json};

use crate::desk::system;

async fn refused(proxy: Value) -> String {
    match system(proxy).try_start().await {
        Ok(_) => panic!("it has started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_is_wrong_stops_the_start() {
    let twice = json!({"http://u:s3cret@a:1": ["unit"], "nats://u:s3cret@b:1": ["unit"]});
    for (functions, told) in [
        (twice, "a:1"),
        (
            json!({"ftp://u:s3cret@a": ["unit"]}),
            "\"ftp://a\": write `http://",
        ),
        (json!({"http://a:1?b=s3cret": ["unit"]}), "a query"),
        (
            json!({"nats://u:s3cret@a:1/path": ["unit"]}),
            "\"nats://a:1/path\": a broker has no path",
        ),
        (
            json!({"nats://a:1": ["unit"], "http://a:1": ["ping", "unit"]}),
            "`unit` is named under",
        ),
        (
            json!({"nats://a?ca=/nonexistent/ca.pem": ["unit"]}),
            "/nonexistent/ca.pem",
        ),
        (json!({"http://a": "unit"}), "proxy_functions"),
    ] {
        let text = refused(json!({"proxy_functions": functions})).await;
        assert!(text.contains(told) && !text.contains("s3cret"), "{text}");
    }
}

/// Nothing but the linker knows of this one.
#[test]
fn functions_of_other_crates_are_found() {
    use framex_test_renamed as _;

    let functions = framex_core::function::all().unwrap();
    let place = functions["renamed.half"].place();
    assert!(place.starts_with("framex_test_renamed::half ("), "{place}");
    assert!(functions.contains_key("desk.echo"));
}
