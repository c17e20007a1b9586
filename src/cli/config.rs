//! `config`: what counts, and who said so.

use std::collections::BTreeMap;

use super::failure::Failure;
use super::options::Common;
use super::output;
use crate::log;
use crate::start::Definitions;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex config
  SERVER__PORT=9000 framex config
  framex config --json | jq '.\"server.port\"'

Strongest first: the command line, environment variables (SERVER__PORT, FRAMEX_SERVER__PORT),
.env.prod, .env, config.toml, [tool.framex] in pyproject.toml, [package.metadata.framex] and
[workspace.metadata.framex] in Cargo.toml, the defaults. Secrets are shown as ********.

What would keep `run` from starting is told on standard error, with exit code 1.")]
pub(crate) struct Config {
    /// Print a JSON object: {\"server.port\": {\"value\": 8080, \"source\": \"default\"}, ..}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(options: &Config, definitions: &Definitions) -> Result<(), Failure> {
    let settings = options.common.load(|_| ())?;
    if options.json {
        let all: BTreeMap<_, _> = settings.origins.iter().collect();
        // Texts and JSON values always serialize.
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        output::print_line(text)?;
    } else {
        let rows = settings.table().into_iter();
        let rows = rows.map(|row| [row.key, row.value, row.source]);
        output::print_table(["KEY", "VALUE", "SOURCE"], rows)?;
    }
    log::check(&settings)?;
    definitions.check(&settings)?;
    Ok(())
}
