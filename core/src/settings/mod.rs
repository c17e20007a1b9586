//! Settings: from the command line, the environment and files, each value
//! checked, each with its origin.
//!
//! ```no_run
//! use framex_core::settings::{Settings, Sources};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut sources = Sources::of_process()?;
//! sources.overrides.set("--port", "server.port", 9000);
//! let loaded = Settings::load(&sources)?;
//! assert_eq!(loaded.settings.server.port, 9000);
//! # Ok(())
//! # }
//! ```
//!
//! # Variables
//!
//! `SERVER__PORT=9000` sets `server.port`, in any case; `FRAMEX_SERVER__PORT`
//! does too, and wins. Without the prefix, a variable counts only if it has a
//! `__` and begins with one of our tables, or is one of `LOAD_PLUGINS`,
//! `LOAD_BUILTIN_PLUGINS`, `ALLOW_FAILED_PLUGINS`. With the prefix every one
//! counts, but for those that Kubernetes sets for a Service called `framex…`.
//! The key says how to read the text: `1` is a number, a boolean or a text.
//! Lists are JSON, or one word. In `plugins.<name>` a text is JSON if it can
//! be, and keys are lower case.
//!
//! # Mistakes
//!
//! [`SettingsError`] has all of them at once: unknown keys, values of a wrong
//! type or out of bounds, files that cannot be read. A secret is in no error,
//! no `Debug` and nothing that is serialized.
//!
//! # Not here
//!
//! Process-wide state: nothing is read but what [`Sources`] names, and no
//! variable is set.

mod check;
mod dotenv;
pub mod duration;
mod error;
mod files;
mod keys;
mod layers;
mod load;
mod mask;
mod model;
mod nearest;
mod origins;
mod plugin;
mod secret;
mod shape;
mod size;
mod source;
mod tree;
mod variables;

pub use error::{Problem, SettingsError};
pub use keys::{KeyDoc, reference};
pub use load::{Loaded, Overrides, Sources};
pub use model::{Auth, Log, LogFormat, Nats, NatsTls, Server, Settings, Storage, Streams};
pub use nearest::nearest;
pub use origins::{Origin, Origins, Row};
pub use plugin::check_plugin_tables;
pub use secret::Secret;
pub use size::Size;
pub use source::{Place, Source};
