//! Calls between plugins: what travels along, what is refused.

use framex::prelude::*;
use framex_test_support::Server;
use serde_json::{Value, json};

use crate::zoo::{Zoo, describe};

#[derive(Default)]
struct Caller;

#[on_register(plugin = "caller", required_remote_apis = [
    "/api/v1/who", "zoo.Zoo.hidden", "GET /api/v1/items/{id}", "/api/v1/items/{id}", "/api/v1/fail/{kind}",
    "/api/v1/model", "/api/v1/scalars", "/api/v1/response/{kind}", "/api/v1/stream/{kind}", "zoo.Zoo.slow",
])]
impl Caller {
    #[on_request(get, "/call/who", timeout = "5s")]
    async fn who(&self, ctx: &Context) -> Result<Value> {
        let inner: Value = ctx.call_plugin_api("/api/v1/who", args! {}).await?;
        Ok(json!([describe(ctx), inner]))
    }

    #[on_request(post, "/call")]
    async fn call(&self, ctx: &Context, target: String, #[body] args: RawJson) -> Result<Value> {
        ctx.call_plugin_api(&target, args::Args::from_json(args.into_bytes()))
            .await
    }

    #[on_request(get, "/own")]
    async fn own(&self, ctx: &Context) -> Result<u8> {
        ctx.call_plugin_api("caller.Caller.helper", args! {}).await
    }

    #[on_request(func)]
    async fn helper(&self) -> u8 {
        3
    }

    #[on_request(get, "/collect")]
    async fn collect(&self, ctx: &Context, kind: String) -> Result<Vec<Value>> {
        let mut events = ctx.stream("/api/v1/stream/{kind}", args! { kind }).await?;
        let mut all = Vec::new();
        while let Some(event) = futures_util::StreamExt::next(&mut events).await {
            let event = event?;
            all.push(json!([event.name(), event.parse::<Value>()?]));
        }
        Ok(all)
    }

    #[on_request(get, "/circle")]
    async fn circle(&self, ctx: &Context) -> Result<u8> {
        ctx.call_plugin_api("caller.Caller.circle", args! {}).await
    }
}

async fn server() -> Server {
    Server::builder()
        .plugin::<Zoo>()
        .plugin::<Caller>()
        .start()
        .await
}

#[tokio::test]
async fn what_travels_along() {
    let server = Server::builder()
        .plugin::<Zoo>()
        .plugin::<Caller>()
        .rule("/api/v1/call/who", &["k"])
        .start()
        .await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let answer = server
        .get("/api/v1/call/who")
        .header("Authorization", "k")
        .header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"))
        .header("X-Test", "carried")
        .header("X-Request-Id", "my-id")
        .send()
        .await;
    let data = answer.data();
    let (outer, inner) = (&data[0], &data[1]);
    assert_eq!(
        (&outer["plugin"], &inner["plugin"]),
        (&json!("caller"), &json!("zoo"))
    );
    assert_eq!(
        (&outer["caller"], &inner["caller"]),
        (&json!(null), &json!("caller"))
    );
    for both in ["principal", "request_id", "header", "trace_id"] {
        assert_eq!(outer[both], inner[both], "{both}");
    }
    assert_eq!(outer["principal"], "key 8254c329 of /api/v1/call/who");
    assert_eq!(
        (&outer["request_id"], &outer["header"]),
        (&json!("my-id"), &json!("carried"))
    );
    assert_eq!(outer["trace_id"], trace);
    assert_eq!(outer["span_id"], "b7ad6b7169203331");
    assert_ne!(outer["span_id"], inner["span_id"]);
    let left = |who: &Value| who["remaining_ms"].as_u64().unwrap();
    assert!(
        left(inner) <= left(outer) && left(outer) <= 5000 && left(inner) > 4000,
        "{data}"
    );
}

#[tokio::test]
async fn targets() {
    let server = server().await;
    let call = async |target: &str, args: Value| {
        let target = target.replace(' ', "%20");
        let ask = server.post(&format!("/api/v1/call?target={target}"));
        ask.json(args.to_string()).send().await
    };
    assert_eq!(call("zoo.Zoo.hidden", json!({})).await.data(), 1);
    assert_eq!(
        call("GET /api/v1/items/{id}", json!({"id": "a/b"}))
            .await
            .data(),
        "a/b"
    );
    assert_eq!(server.get("/api/v1/own").send().await.data(), 3);

    let answer = call("/api/v1/items/{id}", json!({"id": "5"})).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (500, &json!("ambiguous_api"))
    );
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("`GET /api/v1/items/{id}`")
            && message.contains("`DELETE /api/v1/items/{id}`"),
        "{message}"
    );

    for undeclared in [
        "/api/v1/echo",
        "zoo.Zoo.echo",
        "DELETE /api/v1/items/{id}",
        "no.such.Api",
    ] {
        let answer = call(undeclared, json!({})).await;
        if undeclared.starts_with("DELETE") {
            // The path is declared, so all its methods are.
            assert_eq!(answer.status, 422);
            continue;
        }
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (500, &json!("undeclared_api"))
        );
        assert_eq!(
            answer.json()["message"],
            format!(
                "plugin `caller` calls `{undeclared}` without declaring it: add \"{undeclared}\" to its `required_remote_apis`"
            )
        );
    }
}

#[tokio::test]
async fn results_and_errors() {
    let server = server().await;
    let call = async |target: &str, args: &str| {
        let ask = server.post(&format!("/api/v1/call?target={target}"));
        ask.json(args).send().await
    };
    let answer = call("/api/v1/fail/%7Bkind%7D", r#"{"kind":"conflict"}"#).await;
    assert_eq!((answer.status, answer.header("x-more")), (409, Some("1")));
    assert_eq!(answer.json()["code"], "name_taken");
    assert_eq!(answer.json()["detail"], json!({"name": "x"}));
    for kind in ["io", "panic"] {
        let answer = call(
            "/api/v1/fail/%7Bkind%7D",
            &format!(r#"{{"kind":"{kind}"}}"#),
        )
        .await;
        assert_eq!(answer.status, 500);
        assert_eq!(answer.json()["message"], "Internal Server Error");
        assert!(!answer.text().contains("hunter2"));
    }
    // One validation for all callers.
    let answer = call("/api/v1/scalars", r#"{"i":"5","u":300,"f":1,"b":"yes"}"#).await;
    assert_eq!(
        answer.kinds(),
        [
            r#"int_type ["query","i"]"#,
            r#"int_out_of_range ["query","u"]"#,
            r#"bool_type ["query","b"]"#,
            r#"missing ["query","s"]"#
        ]
    );
    let answer = call("/api/v1/model", r#"{"model":{"id":"x"}}"#).await;
    assert_eq!(answer.kinds(), [r#"int_type ["body","model","id"]"#]);
    let answer = call("/api/v1/model", r#"{"model":{"id":3}}"#).await;
    assert_eq!(answer.data()["name"], "nobody");
    assert_eq!(
        call("/api/v1/model", "[]").await.kinds()[0],
        r#"dict_type ["body"]"#
    );
    let answer = call("/api/v1/response/%7Bkind%7D", r#"{"kind":"created"}"#).await;
    assert_eq!(answer.data(), json!({"id": 1}));
    let answer = call("/api/v1/response/%7Bkind%7D", r#"{"kind":"teapot"}"#).await;
    assert_eq!(answer.status, 418);
    let answer = call("/api/v1/stream/%7Bkind%7D", r#"{"kind":"texts"}"#).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (502, &json!("unexpected_reply"))
    );
    let answer = call("zoo.Zoo.slow", r#"{"key":"nested-slow"}"#).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (504, &json!("deadline_exceeded"))
    );
}

#[tokio::test]
async fn streams_of_others() {
    let server = server().await;
    let collect = async |kind: &str| {
        server
            .get(&format!("/api/v1/collect?kind={kind}"))
            .send()
            .await
    };
    assert_eq!(
        collect("objects").await.data(),
        json!([["message_chunk", {"n": 1}], ["message_chunk", [1, 2]], ["debug", "why"], ["mine", "x"]])
    );
    let answer = collect("mid").await;
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (409, &json!("mid boom"))
    );
    let answer = collect("early").await;
    assert_eq!((answer.status, answer.header("x-more")), (409, Some("1")));
}

#[tokio::test]
async fn a_circle_ends() {
    let server = server().await;
    let answer = server.get("/api/v1/circle").send().await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (508, &json!("loop_detected"))
    );
}
