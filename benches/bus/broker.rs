//! A nats-server of one's own: ports that were free, gone when dropped.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::common::child::Process;

/// A broker in a process of its own.
pub(crate) struct Broker {
    process: Process,
    url: String,
}

impl Broker {
    /// Starts it and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// What it said last, if it ended before.
    pub(crate) fn start() -> Result<Self, String> {
        let mut command = Command::new(binary());
        command.args(["-a", "127.0.0.1", "-p", "-1"]);
        let (process, url) = Process::spawn(command, |line| {
            let (_, address) = line.split_once("Listening for client connections on ")?;
            Some(format!("nats://{}", address.trim()))
        })?;
        Ok(Self { process, url })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// What the broker calls itself.
pub(crate) fn version() -> String {
    let output = Command::new(binary()).arg("--version").output();
    output.map_or_else(
        |error| format!("{} does not run: {error}", binary().display()),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn binary() -> PathBuf {
    env::var_os("FRAMEX_NATS_SERVER").map_or_else(|| "nats-server".into(), PathBuf::from)
}
