//! `openapi`: the document that the edge would serve.

use std::path::PathBuf;

use super::failure::{Failure, say};
use super::options::Common;
use super::pretty::pretty;
use super::{nothing_loaded, output, runtime};
use crate::app;
use crate::log;
use crate::start::Definitions;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex openapi --load-builtin-plugins echo
  framex openapi --load-builtin-plugins echo --output openapi.json

It is the document at /api/v1/openapi.json. The plugins are made, as `run` would, but not started;
no port is opened.")]
pub(crate) struct Openapi {
    /// Write to FILE [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(options: &Openapi, definitions: &Definitions) -> Result<(), Failure> {
    let settings = options.common.load(|_| ())?;
    log::start(&settings, log::Default::Warnings)?;
    let runtime = runtime()?;
    let (serving, edge) = runtime.block_on(async { app::assemble(definitions, &settings) })?;
    if serving.plugins().next().is_none() {
        say("note", &nothing_loaded(definitions));
    }
    let document = pretty(&edge.openapi())
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
