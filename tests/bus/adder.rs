//! A plugin that adds APIs while it runs, as the bridge does.

use std::sync::Arc;
use std::time::Duration;

use framex::Reply;
use framex::args::Args;
use framex::descriptor::ApiDescriptor;
use framex::id::ApiId;
use framex::prelude::*;
use framex_core::plugin::{AddedApi, Handler};
use futures_core::future::BoxFuture;
use serde_json::{Value, json};

/// Adds what it is told to.
#[derive(Default)]
pub(crate) struct Adder;

#[on_register(plugin = "adder")]
impl Adder {
    /// Serves APIs in place of those before: descriptors with their ids, and the tag that
    /// their handlers answer with. Gives what was refused.
    #[on_request(func)]
    async fn set(&self, ctx: &Context, tag: String, apis: Vec<Value>) -> Result<Vec<Value>> {
        let added = apis.into_iter().map(|mut api| {
            let id = api["id"].take();
            let id = ApiId::parse(id.as_str().expect("an id")).expect("an id");
            api.as_object_mut().expect("an object").remove("id");
            let descriptor = ApiDescriptor::read(&id, api.to_string().as_bytes());
            let descriptor = Arc::new(descriptor.expect("a descriptor"));
            let tag = tag.clone();
            AddedApi {
                handler: Arc::new(Tell {
                    tag,
                    descriptor: Arc::clone(&descriptor),
                }),
                descriptor,
            }
        });
        let refused = ctx.add_apis(added.collect())?;
        let refused = refused.into_iter();
        Ok(refused
            .map(|refused| json!([refused.api.as_str(), refused.reason]))
            .collect())
    }

    #[on_request(get, "/adder/own")]
    async fn own(&self) -> u8 {
        1
    }

    #[on_request(func)]
    async fn trail(&self, ctx: &Context) -> Option<String> {
        ctx.trail().map(str::to_owned)
    }

    /// Calls another one, and tells what kind of answer it got.
    #[on_request(func)]
    async fn ask(&self, ctx: &Context, id: String) -> Result<Value> {
        Ok(match ctx.call(&id, framex::args! { n: 7 }).await? {
            Reply::Value(json) => serde_json::from_slice(&json)?,
            Reply::Stream(mut events) => {
                let mut texts = Vec::new();
                while let Some(event) = events.next().await {
                    texts.push(event?.as_text().map(str::to_owned));
                }
                json!(texts)
            }
            other => json!(format!("{other:?}")),
        })
    }
}

/// Tells what it was called with.
struct Tell {
    tag: String,
    descriptor: Arc<ApiDescriptor>,
}

impl Handler for Tell {
    fn call(&self, ctx: Context, args: Args) -> BoxFuture<'static, Result<Reply>> {
        let (tag, api) = (self.tag.clone(), Arc::clone(&self.descriptor));
        Box::pin(async move {
            if let Some(passed) = args.passed()? {
                return turn(&ctx, &tag, passed);
            }
            let named = args.named(&api)?;
            let ms = named.values.get("ms").and_then(Value::as_u64);
            let pause = Duration::from_millis(ms.unwrap_or(0));
            if api.summary == "streams" {
                let events = futures_util::stream::iter(["a", "b", "c"]);
                let events = futures_util::StreamExt::then(events, move |text| async move {
                    if text != "a" {
                        tokio::time::sleep(pause).await;
                    }
                    Ok(Event::text(text))
                });
                return Ok(Reply::Stream(EventStream::new(Box::pin(events))));
            }
            tokio::time::sleep(pause).await;
            Reply::value(&json!({
                "tag": tag,
                "values": named.values,
                "target": named.target,
                "trail": ctx.trail(),
            }))
        })
    }
}

/// Gives a body back as it comes.
fn turn(ctx: &Context, tag: &str, passed: args::Passed) -> Result<Reply> {
    let line = format!("{tag} {} {}", passed.method, passed.target);
    let header = |text: &str| HeaderValue::from_str(text).expect("a header");
    let kind = |body: &Upload| header(&body.content_type);
    let mut download = match passed.body {
        Some(body) => {
            let kind = kind(&body);
            let download = Download::new(body.into_stream());
            download.with_header(HeaderName::from_static("x-kind"), kind)
        }
        None => Download::from(ByteStream::full("nothing")),
    };
    download = download
        .with_status(StatusCode::IM_A_TEAPOT)
        .with_header(HeaderName::from_static("x-line"), header(&line))
        .with_header(
            HeaderName::from_static("x-trail"),
            header(ctx.trail().unwrap_or_default()),
        );
    for name in ["x-many", "x-bytes", "content-encoding"] {
        let name = HeaderName::from_static(name);
        for value in ctx.headers().get_all(&name) {
            download = download.with_header(name.clone(), value.clone());
        }
    }
    Ok(Reply::Download(download))
}
