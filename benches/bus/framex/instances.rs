//! Many instances in one process, each with a bus of its own: what a large site looks like to an edge.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use framex::bus::LocalBus;
use framex::bus::nats::{Auth, Follow, NatsBus, Options, Tls};
use framex::descriptor::{ApiDescriptor, ApiKind, Location, Parameter, PluginMetadata, ReplyShape};
use framex::id::ApiId;
use framex::route::Route;
use framex::settings::{Settings, Sources};
use framex::{PluginDefinition, Reply, Result};
use framex_core::plugin::{Api, Plugin};
use http::Method;
use serde_json::json;

/// Plugins of different names; instances share them evenly.
pub(crate) const PLUGINS: usize = 20;
/// APIs of each.
pub(crate) const APIS: usize = 20;

/// The path of an API, which answers [`ANSWER`].
pub(crate) fn path(plugin: usize, api: usize) -> String {
    format!("/api/v1/site{plugin}/{api}/items")
}

/// A result, as JSON.
pub(crate) const ANSWER: &str = r#""here""#;

/// Serves `count` instances until the process ends.
pub(crate) fn serve(count: usize, url: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let settings = Settings::load(&Sources::default()).expect("there is nothing in them");
        let mut instances = Vec::new();
        for definition in definitions().into_iter().cycle().take(count) {
            let plugin = definition.build(&settings).expect("it has no settings");
            let local = LocalBus::new(Duration::from_secs(60));
            let bus = NatsBus::start(options(url), local).expect("a broker's address");
            bus.serve(&plugin).expect("nothing else is there");
            bus.offer(&plugin.metadata().name);
            instances.push((bus, plugin));
        }
        for (bus, plugin) in &instances {
            if let Err(error) = bus.ready(Duration::from_secs(30)).await {
                panic!("{}: {error}", plugin.metadata().name);
            }
        }
        println!("ready");
        std::future::pending::<()>().await;
    });
}

fn options(url: &str) -> Options {
    Options {
        follow: Follow::Declared,
        follow_also: Vec::new(),
        urls: vec![url.to_owned()],
        auth: Auth::default(),
        tls: Tls::default(),
        namespace: None,
        prefer_local: true,
        inbox_prefix: "_INBOX".to_owned(),
        streams: None,
        default_timeout: Duration::from_secs(60),
        name: "bench".to_owned(),
    }
}

fn definitions() -> [PluginDefinition; PLUGINS] {
    macro_rules! sites {
        ($($number:literal)*) => { [$(PluginDefinition::of::<Site<$number>>()),*] };
    }
    sites![0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19]
}

struct Site<const N: usize>;

impl<const N: usize> Plugin for Site<N> {
    type Config = BTreeMap<String, serde_json::Value>;

    fn metadata() -> &'static PluginMetadata {
        static ALL: [OnceLock<PluginMetadata>; PLUGINS] = [const { OnceLock::new() }; PLUGINS];
        ALL[N].get_or_init(|| PluginMetadata {
            name: format!("site{N}"),
            version: "1.0.0".to_owned(),
            description: "One of many.".to_owned(),
            ..PluginMetadata::default()
        })
    }

    fn apis() -> Vec<Api<Self>> {
        static ALL: [OnceLock<Vec<ApiDescriptor>>; PLUGINS] = [const { OnceLock::new() }; PLUGINS];
        let apis = ALL[N].get_or_init(|| (0..APIS).map(|api| descriptor(N, api)).collect());
        apis.iter()
            .map(|descriptor| Api {
                descriptor,
                run: |_, _, _, _| Box::pin(async { Ok(Reply::Value(ANSWER.into())) }),
            })
            .collect()
    }

    fn create(_: Self::Config) -> Result<Self> {
        Ok(Self)
    }
}

/// As a macro writes it for a method with a few arguments and a model: about 3 KB of JSON.
fn descriptor(plugin: usize, number: usize) -> ApiDescriptor {
    let id = ApiId::parse(&format!("site{plugin}.Site.items{number}")).expect("an id");
    let mut api = ApiDescriptor::new(id, ApiKind::Http);
    api.routes.push(Route {
        method: Method::GET,
        path: path(plugin, number),
    });
    api.summary = format!("Items of shelf {number}.");
    for (name, schema) in [
        ("page", json!({"type": "integer", "minimum": 0})),
        (
            "size",
            json!({"type": "integer", "minimum": 1, "maximum": 100}),
        ),
        ("filter", json!({"type": ["string", "null"]})),
    ] {
        api.parameters.push(Parameter {
            name: name.to_owned(),
            location: Location::Query,
            schema,
            description: "Which of the items, in the order of their names.".to_owned(),
            ..Parameter::default()
        });
    }
    let fields = (0..20).map(|field| {
        let schema = json!({
            "type": "string",
            "description": "What is known of this side of the item, in a few words.",
        });
        (format!("field_{field}"), schema)
    });
    let item = json!({
        "type": "object",
        "properties": fields.collect::<serde_json::Map<_, _>>(),
    });
    api.components.insert(format!("Item{plugin}"), item);
    api.reply = ReplyShape::Value {
        schema: json!({"type": "array", "items": {"$ref": format!("#/components/schemas/Item{plugin}")}}),
    };
    api
}
