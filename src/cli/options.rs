//! Options that several commands have.

use std::path::PathBuf;

use framex_core::settings::{Loaded, Overrides, Settings, Sources};
use serde_json::Value;

use super::failure::Failure;
use crate::start::StartError;

/// The plugins, and where the settings come from.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Load a plugin of this binary; repeat it for more
    #[arg(
        long,
        value_name = "NAME",
        value_parser = |text: &str| one_name("--load-plugins", text),
        help_heading = "Plugins"
    )]
    load_plugins: Vec<String>,
    /// Load a built-in plugin; repeat it for more
    #[arg(
        long,
        value_name = "NAME",
        value_parser = |text: &str| one_name("--load-builtin-plugins", text),
        help_heading = "Plugins"
    )]
    load_builtin_plugins: Vec<String>,
    #[command(flatten)]
    from: FromWhere,
}

/// Where the settings come from.
#[derive(Debug, clap::Args)]
pub(crate) struct FromWhere {
    /// Read the settings from FILE [default: config.toml, if it is there]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Set any key, e.g. log.filter=debug; repeat it for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, help_heading = "Settings")]
    set: Vec<(String, String)>,
}

impl Common {
    /// Reads all sources. `more` adds the command's own options, which beat `--set`.
    pub(crate) fn load(&self, more: impl FnOnce(&mut Overrides)) -> Result<Loaded, Failure> {
        let lists = [
            ("--load-plugins", "load_plugins", &self.load_plugins),
            (
                "--load-builtin-plugins",
                "load_builtin_plugins",
                &self.load_builtin_plugins,
            ),
        ];
        self.from.load(|overrides| {
            for (option, key, names) in lists {
                if !names.is_empty() {
                    overrides.set(option, key, Value::from(names.clone()));
                }
            }
            more(overrides);
        })
    }

    /// Whether the command line names a plugin.
    pub(crate) fn names_plugins(&self) -> bool {
        !self.load_plugins.is_empty() || !self.load_builtin_plugins.is_empty()
    }
}

impl FromWhere {
    /// Reads all sources. `more` adds the command's own options, which beat `--set`.
    pub(crate) fn load(&self, more: impl FnOnce(&mut Overrides)) -> Result<Loaded, Failure> {
        let mut sources = Sources::of_process().map_err(|source| StartError::System {
            what: "there is no working directory",
            source,
        })?;
        sources.config_file.clone_from(&self.config);
        for (key, value) in &self.set {
            sources.overrides.set_text("--set", key, value);
        }
        more(&mut sources.overrides);
        Ok(Settings::load(&sources).map_err(StartError::from)?)
    }
}

/// A plugin's name: a list with commas is a mistake worth a hint.
fn one_name(option: &str, text: &str) -> Result<String, String> {
    if !text.contains(',') {
        return Ok(text.to_owned());
    }
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let all: Vec<_> = names.map(|name| format!("{option} {name}")).collect();
    Err(format!(
        "one name at a time, repeat the option: {}",
        all.join(" ")
    ))
}

/// `key=value`, cut at the first `=`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected `key=value`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_cut_once() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("=b").is_err());
        assert!(pair("a").is_err());
    }
}
