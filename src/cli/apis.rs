//! `apis`: what can be called.

use framex_bus::{Api, Catalog};
use serde_json::{Value, json};

use super::broker::{self, Choice};
use super::failure::{Failure, say};
use super::options::Common;
use super::{nothing_loaded, output, runtime};
use crate::start::{Definitions, Role, Serving};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex apis --load-builtin-plugins echo
  framex apis --load-builtin-plugins echo --json | jq '.[].id'
  framex apis --nats-url nats://127.0.0.1:4222

The plugins are made, as `run` would, but not started; no port is opened. On NATS no plugin is
loaded: what runs there is listed.")]
pub(crate) struct Apis {
    /// Print a JSON list, with each API's summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: Choice,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(options: &Apis, definitions: &Definitions) -> Result<(), Failure> {
    let settings = options
        .common
        .load(|overrides| options.broker.overrides(overrides))?;
    let role = broker::role(&settings, &options.common)?;
    let runtime = runtime(1)?;
    let catalog = runtime.block_on(async {
        let serving = Serving::load(definitions, &settings, role)?;
        broker::reach(&serving).await?;
        if serving.bridges() {
            say(
                "note",
                "the bridge is not started: the operations of its upstreams are missing here; a running edge shows them",
            );
        }
        let some = |catalog: &Catalog| catalog.apis().next().is_some();
        let catalog = broker::catalog(&serving, some).await;
        serving.transport.close().await;
        Ok::<_, Failure>(catalog)
    })?;
    if catalog.apis().next().is_none() {
        let text = match role {
            Role::Client => broker::nobody_there(&settings),
            _ => nothing_loaded(definitions),
        };
        say("note", &text);
    }
    let printed = if options.json {
        let all: Vec<Value> = catalog.apis().map(|api| entry(api)).collect();
        output::print_line(format!("{:#}", Value::from(all)))
    } else {
        let headings = ["API", "KIND", "ROUTES", "PLUGIN", "VERSION", "INSTANCES"];
        output::print_table(headings, catalog.apis().map(|api| row(api)))
    };
    runtime.shutdown_background();
    printed
}

fn routes(api: &Api) -> Vec<String> {
    api.descriptor
        .routes
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn row(api: &Api) -> [String; 6] {
    let routes = routes(api);
    [
        api.descriptor.id.to_string(),
        api.descriptor.kind.as_str().to_owned(),
        if routes.is_empty() {
            "-".to_owned()
        } else {
            routes.join(", ")
        },
        api.plugin.name.clone(),
        api.plugin.version.clone(),
        api.instances().to_string(),
    ]
}

fn entry(api: &Api) -> Value {
    json!({
        "id": api.descriptor.id,
        "kind": api.descriptor.kind,
        "routes": routes(api),
        "stream": api.descriptor.streams(),
        "summary": api.descriptor.summary,
        "plugin": api.plugin.name,
        "version": api.plugin.version,
        "instances": api.instances(),
    })
}
