//! A plugin with a configuration of its own type, and something to open and
//! close.
//!
//! ```text
//! cargo run --example typed_config -- run --config examples/typed_config/config.toml
//! curl -X POST "http://127.0.0.1:8080/api/v1/journal?line=hello"
//! ```
//!
//! A variable sets one key: `PLUGINS__JOURNAL__STAMP=none`. `framex config`
//! shows what counts and where it came from. A typo stops the start with its
//! file, its line and the key that was probably meant.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use framex::prelude::*;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

/// `[plugins.journal]`. With `deny_unknown_fields`, a typo is an error.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where the lines go. It has no default, so it must be there.
    path: PathBuf,
    #[serde(default)]
    stamp: Stamp,
    #[serde(default)]
    limits: Limits,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stamp {
    #[default]
    None,
    Seconds,
}

#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    longest_line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { longest_line: 80 }
    }
}

/// Writes lines into a file.
struct Journal {
    config: Config,
    /// There between `on_start` and `on_stop`.
    file: Mutex<Option<File>>,
}

#[on_register(plugin = "journal", config = Config)]
impl Journal {
    /// Makes the plugin. Nothing is opened yet; refuse here what makes no sense.
    fn new(config: Config) -> Result<Self> {
        if config.limits.longest_line == 0 {
            return Err(Error::bad_request("`limits.longest_line` is 0"));
        }
        let file = Mutex::new(None);
        Ok(Self { config, file })
    }

    /// Runs before the first call. If it fails, the process does not start, and
    /// says which plugin and why.
    async fn on_start(&self) -> Result<()> {
        let mut options = File::options();
        let file = options.create(true).append(true);
        let file = file.open(&self.config.path).await?;
        *self.file.lock().await = Some(file);
        Ok(())
    }

    /// Runs after the last call.
    async fn on_stop(&self) -> Result<()> {
        if let Some(mut file) = self.file.lock().await.take() {
            file.write_all(b"closed\n").await?;
            file.flush().await?;
        }
        Ok(())
    }

    /// Adds a line.
    #[on_request(post, "/journal")]
    async fn write(&self, line: String) -> Result<()> {
        let longest = self.config.limits.longest_line;
        if line.chars().count() > longest {
            let message = format!("a line has at most {longest} characters");
            return Err(Error::bad_request(message).with_code("line_too_long"));
        }
        let line = match self.config.stamp {
            Stamp::None => format!("{line}\n"),
            Stamp::Seconds => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                format!("{now} {line}\n")
            }
        };
        let mut file = self.file.lock().await;
        let file = file
            .as_mut()
            .ok_or_else(|| Error::unavailable("the journal is closed"))?;
        // `?` on an `io::Error` makes a 500 whose reason is only in the log.
        file.write_all(line.as_bytes()).await?;
        Ok(file.flush().await?)
    }
}

framex::main!(Journal);
