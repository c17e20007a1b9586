//! Handlers that are never made to wait: others get their turn all the same.

use std::time::{Duration, Instant};

use framex::prelude::*;
use framex_test_support::Server;
use serde_json::json;

#[derive(Deserialize, Serialize, ToSchema)]
enum Either {
    Left(u8),
    Right { a: bool },
}

#[derive(Default)]
struct Restless;

#[on_register(plugin = "restless", required_remote_apis = ["*"])]
impl Restless {
    #[on_request(get, "/numbers", stream)]
    fn numbers(&self) -> impl Stream<Item = u64> {
        futures_util::stream::iter(0..)
    }

    #[on_request(func)]
    async fn one(&self) -> u8 {
        1
    }

    #[on_request(get, "/events", timeout = "300ms")]
    async fn events(&self, ctx: &Context) -> Result<u64> {
        let mut count = 0;
        let mut numbers = ctx.stream("/api/v1/numbers", args! {}).await?;
        while let Some(event) = futures_util::StreamExt::next(&mut numbers).await {
            event?;
            count += 1;
        }
        Ok(count)
    }

    #[on_request(get, "/calls", timeout = "300ms")]
    async fn calls(&self, ctx: &Context) -> Result<u64> {
        loop {
            ctx.call_plugin_api::<u8>("restless.Restless.one", args! {})
                .await?;
        }
    }

    #[on_request(put, "/either")]
    async fn either(&self, #[body] either: Either) -> Either {
        either
    }

    #[on_request(patch, "/either")]
    async fn perhaps(&self, #[body] either: Option<Either>) -> Option<Either> {
        either
    }
}

#[tokio::test]
async fn endless_loops_over_ready_events_and_calls_end_in_time() {
    let server = Server::of::<Restless>().await;
    for path in ["/api/v1/events", "/api/v1/calls"] {
        let begun = Instant::now();
        let answer = server.get(path).send().await;
        assert_eq!(answer.status, 504, "{path}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{path}");
    }
}

/// To serde_json a number in place of an enum is a syntax error.
#[tokio::test]
async fn an_enum_that_is_something_else_is_json_all_the_same() {
    let server = Server::of::<Restless>().await;
    for body in ["1", "[]", "true"] {
        let ask = server.ask("PUT", "/api/v1/either");
        let answer = ask.json(body).send().await;
        assert_eq!(answer.status, 422, "{body}");
        let kinds = answer.kinds();
        assert!(!kinds[0].starts_with("json_invalid"), "{body}: {kinds:?}");
    }
    let ask = server.ask("PATCH", "/api/v1/either").json("null");
    assert_eq!(ask.send().await.data(), json!(null));
    let document = server.get("/api/v1/openapi.json").send().await.json();
    let body = &document["paths"]["/api/v1/either"]["patch"]["requestBody"];
    assert_eq!(
        body["content"]["application/json"]["schema"]["oneOf"][1],
        json!({ "type": "null" })
    );
}
