//! The command line of the `framex` binary and of every binary like it.
//!
//! [`main!`](crate::main) makes one out of plugins:
//!
//! ```no_run
//! mod greeter {
//!     use framex::prelude::*;
//!
//!     #[derive(Default)]
//!     pub struct Greeter;
//!
//!     #[on_register(plugin = "greeter")]
//!     impl Greeter {
//!         #[on_request(get, "/greet")]
//!         async fn greet(&self, name: String) -> String {
//!             format!("hello {name}")
//!         }
//!     }
//! }
//!
//! framex::main!(greeter::Greeter);
//! ```
//!
//! # Exit codes
//!
//! 0, also when a signal asked for the stop; 1 for settings, plugins and calls
//! that fail; 2 for options that do not exist; 3 for a port that is in use.
//! After a second signal, 128 and its number.

mod apis;
mod broker;
mod call;
mod completions;
mod config;
mod edge;
mod failure;
mod listen;
mod openapi;
mod options;
mod output;
mod pretty;
mod run;
mod signals;
mod worker;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args as _, CommandFactory, FromArgMatches};
use framex_core::plugin::PluginDefinition;

use crate::start::{Definitions, StartError};
use failure::Failure;
pub(crate) use output::escaped;

/// What a binary is called.
#[derive(Clone, Copy, Debug)]
pub struct Binary {
    /// Its file's name.
    pub name: &'static str,
    /// Its crate's version.
    pub version: &'static str,
}

impl Binary {
    /// As Cargo tells it; without Cargo, this crate's.
    #[must_use]
    pub const fn new(name: Option<&'static str>, version: Option<&'static str>) -> Self {
        Self {
            name: match name {
                Some(name) => name,
                None => "framex",
            },
            version: match version {
                Some(version) => version,
                None => env!("CARGO_PKG_VERSION"),
            },
        }
    }
}

/// The `main` function of a binary with these plugins: `framex::main!(Foo, Bar);`.
///
/// Without `--load-plugins` and `--load-builtin-plugins`, and with neither in the
/// settings, it loads all of them.
#[macro_export]
macro_rules! main {
    ($($plugin:ty),* $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::cli::main(
                $crate::cli::Binary::new(
                    ::core::option_env!("CARGO_BIN_NAME"),
                    ::core::option_env!("CARGO_PKG_VERSION"),
                ),
                [$($crate::PluginDefinition::of::<$plugin>()),*],
            )
        }
    };
}

/// Runs the command line of this process for a binary that holds `plugins`.
pub fn main(binary: Binary, plugins: impl IntoIterator<Item = PluginDefinition>) -> ExitCode {
    let begun = Instant::now();
    let mut definitions = Definitions::with_builtin();
    for plugin in plugins {
        definitions.add_own(plugin);
    }
    let mut command = command(binary, &definitions);
    let parsed = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let done = match parsed {
        Ok(cli) => cli.command.run(&definitions, command, begun),
        Err(error) => Err(Failure::Usage(error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// Runs the command line of a binary that is `edge` and nothing else.
pub fn edge_main(binary: Binary) -> ExitCode {
    let begun = Instant::now();
    let mut command = edge_command(binary);
    let parsed = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| edge::Edge::from_arg_matches(&matches));
    let done = match parsed {
        Ok(options) => edge::run(&options, begun),
        Err(error) => Err(Failure::Usage(error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn edge_command(binary: Binary) -> clap::Command {
    let name = binary.name;
    let command = edge::Edge::augment_args(clap::Command::new(name));
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default().replace("framex edge", name);
    command
        .about("Serves the plugins of a NATS broker over HTTP")
        .version(version(binary))
        .max_term_width(WIDEST)
        .after_help(help)
}

/// Columns of help.
const WIDEST: usize = 100;

#[derive(Debug, clap::Parser)]
#[command(
    about = "Runs plugins: their APIs on a bus, and on HTTP",
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = WIDEST
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve plugins over HTTP until SIGINT or SIGTERM
    Run(run::Run),
    /// Serve plugins on a NATS broker, without HTTP
    Worker(worker::Worker),
    /// Serve the plugins of a NATS broker over HTTP
    Edge(edge::Edge),
    /// List the APIs of the plugins
    Apis(apis::Apis),
    /// Call an API and print its result
    Call(call::Call),
    /// Show every setting and where it comes from
    Config(config::Config),
    /// Print the OpenAPI document of the plugins
    Openapi(openapi::Openapi),
    /// Print a script that completes commands and options in a shell
    Completions(completions::Completions),
}

impl Command {
    fn run(
        self,
        definitions: &Definitions,
        command: clap::Command,
        begun: Instant,
    ) -> Result<(), Failure> {
        match self {
            Self::Run(options) => run::run(&options, definitions, begun),
            Self::Worker(options) => worker::run(&options, definitions, begun),
            Self::Edge(options) => edge::run(&options, begun),
            Self::Apis(options) => apis::run(&options, definitions),
            Self::Call(options) => call::run(options, definitions),
            Self::Config(options) => config::run(&options, definitions),
            Self::Openapi(options) => openapi::run(&options, definitions),
            Self::Completions(options) => completions::run(&options, command),
        }
    }
}

/// The commands, with what this binary is called and holds.
fn command(binary: Binary, definitions: &Definitions) -> clap::Command {
    let list = |names: Vec<&str>| match names.is_empty() {
        true => "none; `framex::main!(YourPlugin)` makes a binary with yours".to_owned(),
        false => names.join(", "),
    };
    let own = list(definitions.own.keys().map(String::as_str).collect());
    let builtin = list(definitions.builtin.keys().map(String::as_str).collect());
    let plugins =
        format!("Plugins for --load-plugins: {own}\nPlugins for --load-builtin-plugins: {builtin}");
    let name = binary.name;
    let example = match definitions.own.is_empty() {
        true => format!("{name} run --load-builtin-plugins echo"),
        false => format!("{name} run"),
    };
    let in_its_name = |command: clap::Command| match command.get_after_help() {
        Some(help) => {
            let help = help.to_string().replace("framex ", &format!("{name} "));
            command.after_help(help)
        }
        None => command,
    };
    Cli::command()
        .mut_subcommands(in_its_name)
        .name(name)
        .bin_name(name)
        .version(version(binary))
        .after_help(format!(
            "{plugins}\n\nStart with:\n  {example}\n  {name} <COMMAND> --help"
        ))
}

fn version(binary: Binary) -> String {
    let framex = env!("CARGO_PKG_VERSION");
    match (binary.name, binary.version) {
        ("framex", version) if version == framex => framex.to_owned(),
        (_, version) => format!("{version} (FrameX {framex})"),
    }
}

/// The runtime of a process' plugins, away from the edge's threads: what a
/// plugin spawns in `on_start` lives here.
fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("framex-main")
        .enable_all()
        .build()
        .map_err(|source| StartError::System {
            what: "a thread cannot be started",
            source,
        })
}

/// What to do when a process has no plugins.
fn nothing_loaded(definitions: &Definitions) -> String {
    let mut text = "no plugin is loaded; name one with --load-builtin-plugins echo".to_owned();
    if !definitions.own.is_empty() {
        let names: Vec<_> = definitions.own.keys().map(String::as_str).collect();
        text += &format!(", or --load-plugins {}", names.join(" --load-plugins "));
    }
    text + ", or in config.toml"
}

#[cfg(test)]
mod tests {
    use framex_core::settings::{Settings, reference};

    use super::*;

    fn framex() -> clap::Command {
        command(Binary::new(None, None), &Definitions::with_builtin())
    }

    #[test]
    fn the_commands_are_consistent() {
        framex().debug_assert();
    }

    #[test]
    fn help_tells_the_defaults_of_the_settings() {
        let mut framex = framex();
        let run = framex.find_subcommand_mut("run").unwrap();
        let help = run.render_long_help().to_string();
        let server = Settings::default().server;
        for default in [
            format!("[default: {}]", server.host),
            format!("[default: {}]", server.port),
            format!("[default: {}]", server.dashboard_port),
        ] {
            assert!(help.contains(&default), "{default} in {help}");
        }
    }

    #[test]
    fn every_option_of_a_server_is_a_key() {
        let mut framex = framex();
        let keys: Vec<_> = reference().iter().map(|key| key.key).collect();
        for command in ["run", "worker", "edge"] {
            let command = framex.find_subcommand_mut(command).unwrap();
            for option in command.get_arguments() {
                let name = option.get_id().as_str();
                let name = name.strip_prefix("no_").unwrap_or(name);
                let known = keys.iter().any(|key| {
                    key.rsplit('.').next() == Some(name) || key.replace('.', "_") == name
                });
                assert!(known || matches!(name, "config" | "set" | "help"), "{name}");
            }
        }
    }

    #[test]
    fn an_edge_of_its_own_has_the_options_of_the_command() {
        let edge = edge_command(Binary::new(Some("framex-edge"), None));
        edge.clone().debug_assert();
        let help = edge.clone().render_long_help().to_string();
        assert!(help.contains("\n  framex-edge --host"), "{help}");
        assert!(!help.contains("framex edge"), "{help}");
        let options = |command: &clap::Command| {
            let names = command.get_arguments().map(|o| o.get_id().to_string());
            names.collect::<Vec<_>>()
        };
        let mut framex = framex();
        let command = framex.find_subcommand_mut("edge").unwrap();
        assert_eq!(options(&edge), options(command));
    }
}
