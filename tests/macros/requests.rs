//! Arguments in, results out.

use std::sync::Arc;

use framex::prelude::*;
use serde_json::json;

use crate::support::value;

#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct EchoModel {
    id: i64,
    #[serde(default = "anonymous")]
    name: String,
}

fn anonymous() -> String {
    "anonymous".to_owned()
}

#[derive(Default)]
struct EchoPlugin;

/// Repeats what it is sent.
#[on_register(plugin = "echo", author = "me", url = "https://example.com",
              required_remote_apis = ["/api/v1/base/version"])]
impl EchoPlugin {
    /// Returns `message` unchanged.
    #[on_request(get, "/echo")]
    async fn echo(&self, message: String) -> String {
        message
    }

    #[on_request(post, "/echo_model")]
    async fn echo_model(&self, message: String, #[body] model: EchoModel) -> Result<EchoModel> {
        if message.is_empty() {
            return Err(Error::not_found("nothing"));
        }
        Ok(model)
    }

    #[on_request(get, "/echo_stream", stream)]
    fn echo_stream(&self, message: String) -> impl Stream<Item = Result<Event>> {
        async_stream::stream! {
            for c in message.chars() {
                yield Ok(Event::text(c.to_string()));
            }
        }
    }

    #[on_request(func)]
    async fn confess(&self, ctx: &Context, message: String) -> Result<String> {
        Ok(format!("{} {message}", ctx.plugin().name))
    }
}

#[tokio::test]
async fn an_argument_comes_back() {
    let plugin = Arc::new(EchoPlugin);
    let result = value(&plugin, "echo", json!({ "message": "hello" })).await;
    assert_eq!(result.unwrap(), "hello");
    let result = value(&plugin, "confess", json!({ "message": "hello" })).await;
    assert_eq!(result.unwrap(), "echo hello");
}
