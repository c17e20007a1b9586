use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::check::{check, relations};
use super::error::{Problem, SettingsError};
use super::layers::Layers;
use super::origins::{Origins, Row};
use super::source::{Place, Source};
use super::tree::{Body, Node, Table};
use super::{Settings, files, plugin, variables};

const CONFIG: &str = "config.toml";

/// Where to look for settings.
///
/// No `Debug`: it would show secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The directory with the files; paths in it are relative to this. Empty,
    /// as it is by default, no file is looked for.
    pub dir: PathBuf,
    /// Read this instead of `config.toml`; then it must exist.
    pub config_file: Option<PathBuf>,
    /// The variables of the process.
    pub env: Vec<(String, String)>,
    /// The command line.
    pub overrides: Overrides,
}

impl Sources {
    /// The working directory and the variables of this process.
    ///
    /// Bytes of a variable that are not UTF-8 become `\u{fffd}`.
    ///
    /// # Errors
    ///
    /// There is no working directory any more.
    pub fn of_process() -> io::Result<Self> {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Ok(Self {
            dir: std::env::current_dir()?,
            env: std::env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            ..Self::default()
        })
    }
}

/// What the command line says. Lists of plugins add to those of the other
/// sources; anything else replaces it.
#[derive(Clone, Default)]
pub struct Overrides(Vec<Override>);

#[derive(Clone)]
struct Override {
    option: Option<String>,
    /// Empty: the value is a table of everything.
    path: Vec<String>,
    value: Given,
}

#[derive(Clone)]
enum Given {
    Value(Value),
    Text(String),
}

impl Overrides {
    /// `option` (`--port`) gives `key` (`server.port`) this value. Null says
    /// nothing, so an option that was not given may be passed on.
    pub fn set(&mut self, option: &str, key: &str, value: impl Into<Value>) -> &mut Self {
        self.push(option, key, Given::Value(value.into()))
    }

    /// As [`set`](Self::set), with a text that is read as a variable's would
    /// be: `--set server.port=9000`.
    pub fn set_text(&mut self, option: &str, key: &str, text: impl Into<String>) -> &mut Self {
        self.push(option, key, Given::Text(text.into()))
    }

    fn push(&mut self, option: &str, key: &str, value: Given) -> &mut Self {
        self.0.push(Override {
            option: Some(option.into()),
            path: key.split('.').map(str::to_owned).collect(),
            value,
        });
        self
    }

    fn layers(self) -> impl Iterator<Item = Table> {
        self.0.into_iter().filter_map(|one| {
            let option = one.option;
            let place = Place::from(Source::CommandLine { option });
            let node = match one.value {
                Given::Value(Value::Null) => return None,
                Given::Value(value) => Node::from_json(&place, value),
                Given::Text(text) => {
                    let body = Body::Text(text);
                    Node { place, body }
                }
            };
            node.nested(&one.path).into_table()
        })
    }
}

/// Nested tables, as `{"server": {"port": 9000}}`; no option is named.
impl From<serde_json::Map<String, Value>> for Overrides {
    fn from(map: serde_json::Map<String, Value>) -> Self {
        Self(vec![Override {
            option: None,
            path: Vec::new(),
            value: Given::Value(map.into()),
        }])
    }
}

/// Settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each came from.
    pub origins: Origins,
    /// Keys that nothing listens to, each with the reason, for the log.
    pub ignored: Vec<Problem>,
}

impl Loaded {
    /// Every effective value, sorted by key, secrets masked.
    pub fn table(&self) -> Vec<Row> {
        self.origins.rows()
    }

    /// The configuration of the plugin `name`, as the plugin's own type. A
    /// table that is not there is an empty one.
    ///
    /// # Errors
    ///
    /// `T` refused it; the error names the key, where it was written and, for
    /// an unknown field, the nearest that `T` has.
    pub fn plugin_config<T: DeserializeOwned>(&self, name: &str) -> Result<T, SettingsError> {
        plugin::config(&self.settings, Some(&self.origins), name)
    }
}

impl Settings {
    /// Reads all of `sources`, strongest first: the command line, variables of
    /// the process, `.env.prod`, `.env`, `config.toml`, `[tool.framex]` in
    /// `pyproject.toml`, `[package.metadata.framex]` and
    /// `[workspace.metadata.framex]` in `Cargo.toml`, the defaults. Tables
    /// merge field by field.
    ///
    /// Blocks on the file system.
    ///
    /// # Errors
    ///
    /// All mistakes of all sources, also in values that a stronger source
    /// replaces; or, if there are none, keys that do not go together.
    pub fn load(sources: &Sources) -> Result<Loaded, SettingsError> {
        let mut problems = Vec::new();
        let mut layers = Layers::default();
        for layer in below_the_command_line(sources, &mut problems) {
            layers.merge(check(layer, &mut problems));
        }
        for layer in sources.overrides.clone().layers() {
            layers.add(check(layer, &mut problems));
        }
        let (ignored, problems) = problems
            .into_iter()
            .partition(|problem| matches!(problem, Problem::Ignored { .. }));
        SettingsError::from_all(problems)?;

        let (settings, places) = layers.extract()?;
        let origins = Origins::new(&settings, places);
        let place = |key: &str| {
            let path: Vec<_> = key.split('.').map(str::to_owned).collect();
            origins.exact(&path)
        };
        SettingsError::from_all(relations(&settings.server, place))?;
        Ok(Loaded {
            settings,
            origins,
            ignored,
        })
    }

    /// As [`Loaded::plugin_config`], without places in the errors.
    ///
    /// # Errors
    ///
    /// `T` refused it.
    pub fn plugin_config<T: DeserializeOwned>(&self, name: &str) -> Result<T, SettingsError> {
        plugin::config(self, None, name)
    }
}

/// One table per source, weakest first.
fn below_the_command_line(sources: &Sources, problems: &mut Vec<Problem>) -> Vec<Table> {
    let dir = &sources.dir;
    let mut layers = Vec::new();

    let config = match &sources.config_file {
        Some(path) => path.display().to_string(),
        None => CONFIG.into(),
    };
    let files: [(&str, bool, &[&'static str]); 3] = [
        (
            "Cargo.toml",
            false,
            &["workspace.metadata.framex", "package.metadata.framex"],
        ),
        ("pyproject.toml", false, &["tool.framex"]),
        (&config, sources.config_file.is_some(), &[""]),
    ];
    for (name, must_exist, sections) in files {
        if let Some(text) = files::text(dir, name, must_exist, problems) {
            layers.extend(files::toml(name, &text, sections, problems));
        }
    }

    for name in [".env", ".env.prod"] {
        // A directory called `.env` is somebody's Python.
        if dir.join(name).is_dir() {
            continue;
        }
        if let Some(text) = files::text(dir, name, false, problems) {
            layers.extend(files::dotenv(name, &text, problems));
        }
    }

    let mut env = sources.env.clone();
    env.sort();
    layers.extend(variables::layers(env.into_iter().map(|(name, text)| {
        let variable = name.clone();
        (name, text, Source::Environment { variable }.into())
    })));
    layers
}
