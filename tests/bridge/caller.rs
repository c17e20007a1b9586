//! A plugin that calls what it is told to.

use framex::Reply;
use framex::args::Args;
use framex::prelude::*;
use framex_core::event::Data;
use serde_json::{Value, json};

/// Its name and what it carries.
fn shown(event: &Event) -> Result<Value> {
    let data = match event.data() {
        Data::Text(text) => json!({ "content": &**text }),
        Data::Json(json) => serde_json::from_slice(json)?,
    };
    Ok(json!([event.name(), data]))
}

/// Calls on behalf of tests.
#[derive(Default)]
pub(crate) struct Caller;

#[on_register(plugin = "caller", required_remote_apis = ["*"])]
impl Caller {
    /// Calls `target` with `values`; fails as that does.
    #[on_request(post, "/call")]
    async fn call(&self, ctx: &Context, target: String, #[body] values: Value) -> Result<Value> {
        ctx.call_plugin_api(&target, Args::from_json(values.to_string().into()))
            .await
    }

    /// As `call`, and has little time.
    #[on_request(post, "/impatient", timeout = "400ms")]
    async fn impatient(
        &self,
        ctx: &Context,
        target: String,
        #[body] values: Value,
    ) -> Result<Value> {
        self.call(ctx, target, values).await
    }

    /// Calls `target` with `values` and a file called `field` for each of the names, and
    /// says what kind of reply came.
    #[on_request(post, "/call-files")]
    async fn call_files(
        &self,
        ctx: &Context,
        target: String,
        field: String,
        names: Vec<String>,
        #[body] values: Value,
    ) -> Result<Value> {
        let mut args = Args::from_json(values.to_string().into());
        for name in names {
            let file = Upload::new(Bytes::from(format!("this is {name}")));
            args = args.with_file(&field, file.named(name));
        }
        ctx.call_plugin_api(&target, args).await
    }

    /// What kind of reply `target` gives, and what is in it.
    #[on_request(post, "/reply")]
    async fn reply(&self, ctx: &Context, target: String, #[body] values: Value) -> Result<Value> {
        let args = Args::from_json(values.to_string().into());
        Ok(match ctx.call(&target, args).await? {
            Reply::Value(json) => json!({ "value": serde_json::from_slice::<Value>(&json)? }),
            Reply::Response(response) => json!({
                "response": response.status.as_u16(), "size": response.body.len(),
            }),
            Reply::Download(download) => {
                let status = download.status.as_u16();
                let body = download.body.collect(1 << 20).await?;
                json!({ "response": status, "size": body.len() })
            }
            Reply::Stream(mut events) => {
                let mut all = Vec::new();
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => all.push(shown(&event)?),
                        Err(error) => all.push(json!({ "error": error.status().as_u16() })),
                    }
                }
                json!({ "stream": all })
            }
        })
    }
}
