//! The plugin that repeats what it is sent: an example, and a way to try a system out.

use std::time::Duration;

use framex_core::args;
use framex_core::context::Context;
use framex_core::error::Result;
use framex_core::event::Event;
use framex_macros::on_register;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Between two events of `echo_stream`.
const PACE: Duration = Duration::from_millis(100);

/// The built-in plugin `echo`.
#[derive(Debug, Default)]
pub struct EchoPlugin;

/// What `echo_model` takes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EchoModel {
    /// Any number.
    pub id: i64,
    /// Any name.
    #[serde(default = "default_name")]
    #[schema(default = default_name)]
    pub name: String,
}

/// What `echo_model` answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Echoed {
    /// As it came.
    pub message: String,
    /// As it came, with its defaults.
    pub model: EchoModel,
}

fn default_name() -> String {
    "echo".to_owned()
}

/// Repeats what it is sent.
// `*`: `confess` calls whatever it is told to.
#[on_register(
    crate = crate::framex,
    plugin = "echo",
    author = "the FrameX authors",
    required_remote_apis = ["*"]
)]
impl EchoPlugin {
    /// Returns `message` unchanged.
    #[on_request(get, "/echo", idempotent)]
    async fn echo(&self, message: String) -> String {
        message
    }

    /// Returns a message and a model.
    #[on_request(post, "/echo_model", idempotent)]
    async fn echo_model(&self, message: String, #[body] model: EchoModel) -> Echoed {
        Echoed { message, model }
    }

    /// Streams a sentence, one event per character.
    ///
    /// The sentence is `This message is being streamed., {message}`; events are 0.1 s apart.
    #[on_request(get, "/echo_stream", stream)]
    fn echo_stream(&self, message: String) -> impl Stream<Item = Event> {
        let text: Vec<char> = format!("This message is being streamed., {message}")
            .chars()
            .collect();
        futures_util::stream::unfold(
            (text.into_iter(), false),
            |(mut rest, started)| async move {
                let next = rest.next()?;
                if started {
                    tokio::time::sleep(PACE).await;
                }
                Some((Event::text(next.to_string()), (rest, true)))
            },
        )
    }

    /// Calls the API named by `call_back` with `message` and reports its result.
    #[on_request(func)]
    async fn confess(
        &self,
        ctx: &Context,
        message: String,
        call_back: Option<String>,
    ) -> Result<String> {
        let result = match call_back {
            Some(target) => {
                ctx.call_plugin_api(&target, args! { message: message })
                    .await?
            }
            None => Value::Null,
        };
        Ok(format!(
            "I am calling with message={message},call_back_result={}",
            plain(&result)
        ))
    }
}

/// A text without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
