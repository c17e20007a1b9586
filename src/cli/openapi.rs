//! `openapi`: the document that the edge would serve.

use std::path::PathBuf;

use framex_bus::Catalog;

use super::broker::{self, Choice};
use super::failure::{Failure, say};
use super::options::Common;
use super::pretty::pretty;
use super::{nothing_loaded, output, runtime};
use crate::app;
use crate::start::{Definitions, Role};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex openapi --load-builtin-plugins echo
  framex openapi --load-builtin-plugins echo --output openapi.json
  framex openapi --nats-url nats://127.0.0.1:4222

It is the document at /api/v1/openapi.json. The plugins are made, as `run` would, but not started;
no port is opened. On NATS no plugin is loaded: what runs there is described.")]
pub(crate) struct Openapi {
    /// Write to FILE [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    broker: Choice,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(options: &Openapi, definitions: &Definitions) -> Result<(), Failure> {
    let settings = options
        .common
        .load(|overrides| options.broker.overrides(overrides))?;
    let role = broker::role(&settings, &options.common)?;
    let runtime = runtime(1)?;
    let (catalog, document) = runtime.block_on(async {
        let (serving, edge) = app::assemble(definitions, &settings, role)?;
        broker::reach(&serving).await?;
        if serving.bridges() {
            say(
                "note",
                "the bridge is not started: the operations of its upstreams are missing here; a running edge shows them",
            );
        }
        let some = |catalog: &Catalog| catalog.apis().next().is_some();
        let catalog = broker::catalog(&serving, some).await;
        edge.update();
        let described = (catalog, edge.openapi());
        serving.transport.close().await;
        Ok::<_, Failure>(described)
    })?;
    if catalog.apis().next().is_none() {
        let text = match role {
            Role::Client => broker::nobody_there(&settings),
            _ => nothing_loaded(definitions),
        };
        say("note", &text);
    }
    let document = pretty(&document)
        .map_err(|error| Failure::Told(format!("the document is no JSON: {error}")))?;
    let written = match &options.output {
        None => output::print_line(document),
        Some(file) => std::fs::write(file, document + "\n").map_err(|error| {
            Failure::Told(format!("{} cannot be written: {error}", file.display()))
        }),
    };
    runtime.shutdown_background();
    written
}
