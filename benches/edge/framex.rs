//! The same routes as a FrameX plugin: the one file of this bench that knows FrameX.

use std::net::SocketAddr;

use framex::prelude::*;
use futures_util::stream;
use serde_json::json;

use crate::spec::Spec;

#[derive(Default)]
struct Bench;

#[derive(Serialize, Deserialize, ToSchema)]
struct EchoModel {
    id: i64,
    #[serde(default = "default_name")]
    name: String,
}

#[derive(Serialize, ToSchema)]
struct Echoed {
    message: String,
    model: EchoModel,
}

fn default_name() -> String {
    "echo".to_owned()
}

/// What the benches ask for.
#[on_register(plugin = "bench")]
impl Bench {
    #[on_request(get, "/echo")]
    async fn echo(&self, message: String) -> String {
        message
    }

    #[on_request(post, "/echo_model")]
    async fn echo_model(&self, message: String, #[body] model: EchoModel) -> Echoed {
        Echoed { message, model }
    }

    #[on_request(get, "/events", stream)]
    fn events(&self, n: usize) -> impl Stream<Item = Event> {
        stream::iter((0..n).map(|_| Event::text("chunk")))
    }

    #[on_request(post, "/raw")]
    async fn raw(&self, #[body] document: RawJson) -> RawJson {
        document
    }

    #[on_request(post, "/tree")]
    async fn tree(&self, #[body] document: serde_json::Value) -> serde_json::Value {
        document
    }
}

#[derive(Default)]
struct Live;

/// A stream that ends with its client.
#[on_register(plugin = "live")]
impl Live {
    #[on_request(get, "/events", stream = live)]
    fn events(&self, n: usize) -> impl Stream<Item = Event> {
        stream::iter((0..n).map(|_| Event::text("chunk")))
    }
}

/// Serves until the process ends.
pub(crate) fn serve(spec: &Spec) {
    let app = framex::App::builder();
    run(
        spec,
        match spec.live {
            true => app.plugin::<Live>(),
            false => app.plugin::<Bench>(),
        },
    );
}

/// Serves what `upstream` answers, until the process ends.
pub(crate) fn bridge(spec: &Spec, upstream: SocketAddr) {
    let urls = json!({ format!("http://{upstream}"): { "name": "up", "enable": ["/*"] } });
    let app = framex::App::builder()
        .set("load_builtin_plugins", json!(["proxy"]))
        .set("plugins.proxy", json!({ "proxy_urls": urls }));
    run(spec, app);
}

fn run(spec: &Spec, app: framex::AppBuilder) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut app = app.set("server.port", 0).set("server.dashboard_port", 0);
        if let Some(threads) = spec.threads.count {
            app = app.set("server.num_cpus", threads);
        }
        let app = app.start().await.unwrap_or_else(|error| panic!("{error}"));
        let listening = app.listen().unwrap_or_else(|error| panic!("{error}"));
        crate::common::child::announce(listening.address());
        std::future::pending::<()>().await;
    });
}
