//! Tools written in Python, each in an environment of its own below the target
//! directory: installed by the first test that wants it, kept for the next run.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to do when a tool cannot be had.
const HINT: &str = "the test needs `python3` with `venv` and `pip`, and a package index that \
    `pip` reaches (PIP_INDEX_URL)";

/// The directory with the programs of `requirement`, e.g. `openapi-spec-validator==0.9.0`.
///
/// # Panics
///
/// If it cannot be installed, with a hint: a test that cannot check is a failure.
#[must_use]
pub fn python_tool(requirement: &str) -> PathBuf {
    install(requirement).unwrap_or_else(|failure| panic!("{failure}"))
}

/// As [`python_tool`], for those who have something to add to the failure.
///
/// # Errors
///
/// What failed, with a hint.
///
/// # Panics
///
/// If the target directory cannot be written.
pub fn install(requirement: &str) -> Result<PathBuf, String> {
    let name = requirement.replace(['=', '<', '>', '[', ']', ' '], "_");
    environment(&name, |pip| pip.arg(requirement))
}

/// The directory with `python` and the programs of everything that the file `requirements`
/// lists; another one if that changes.
///
/// # Panics
///
/// As [`python_tool`].
#[must_use]
pub fn python_with(requirements: &Path) -> PathBuf {
    let listed = std::fs::read(requirements).expect("a list of requirements");
    let mut hasher = DefaultHasher::new();
    listed.hash(&mut hasher);
    let name = format!("listed_{:016x}", hasher.finish());
    let installed = environment(&name, |pip| pip.arg("--requirement").arg(requirements));
    installed.unwrap_or_else(|failure| panic!("{failure}"))
}

/// The programs of the environment `name`, made where it is not there yet.
fn environment(
    name: &str,
    what: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<PathBuf, String> {
    let home = target().join("python");
    let at = home.join(name);
    let done = at.join("installed");
    std::fs::create_dir_all(&home).expect("a directory below the target directory");
    let lock = File::create(at.with_extension("lock")).expect("a file below the target directory");
    // Other tests may want it too, in this process and in others.
    lock.lock().expect("a lock");
    if !done.exists() {
        // What an interrupted installation left would not work.
        let _ = std::fs::remove_dir_all(&at);
        try_run(Command::new("python3").args(["-m", "venv"]).arg(&at))?;
        let mut pip = Command::new(at.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet"]);
        try_run(what(pip.arg("--disable-pip-version-check")))?;
        File::create(&done).expect("a file below the target directory");
    }
    Ok(at.join("bin"))
}

/// Runs `command` to its end.
///
/// # Panics
///
/// If it fails, with all that it said.
pub fn run(command: &mut Command) -> String {
    try_run(command).unwrap_or_else(|failure| panic!("{failure}"))
}

fn try_run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}; {HINT}"))?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if output.status.success() {
        return Ok(said);
    }
    let status = output.status;
    Err(format!("{command:?} failed ({status}); {HINT}\n{said}"))
}

/// The target directory: the test's own program lies in `<target>/<profile>/deps`.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a path of this program");
    program
        .ancestors()
        .find(|path| path.join("CACHEDIR.TAG").exists())
        .map_or_else(|| std::env::temp_dir().join("framex-tests"), Path::to_owned)
}
