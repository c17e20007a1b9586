//! Child processes that cannot outlive the test, however it ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A child process with a guard: a shell that waits for our end and then kills
/// it, for a test that is itself killed drops nothing.
///
/// It runs in a process group of its own, so that Ctrl-C reaches the test alone.
/// Dropping it kills it and waits for it.
pub struct Guarded {
    child: Child,
    guard: Child,
}

impl Guarded {
    /// Starts `command`. The guard also removes `scratch`, if it has to act.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn spawn(command: &mut Command, scratch: Option<&Path>) -> Self {
        use std::os::unix::process::CommandExt as _;

        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        // `read` ends when the other end of its standard input is closed, and
        // nobody but this process has that.
        let mut guard = Command::new("sh");
        guard
            .args(["-c", r#"read -r _; kill -9 "$1"; rm -rf "${2:-}""#, "guard"])
            .arg(child.id().to_string())
            .args(scratch)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let guard = guard.spawn().expect("a shell");
        Self { child, guard }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    ///
    /// If the system does not know the child.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for its end for at most `patience`.
    ///
    /// # Panics
    ///
    /// If the system does not know the child.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() > end {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&self) {
        signal(self.id(), "TERM");
    }

    /// Stops it in the middle of whatever it does (SIGSTOP); its sockets stay open.
    pub fn freeze(&self) {
        signal(self.id(), "STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        signal(self.id(), "CONT");
    }

    /// Kills it (SIGKILL), frozen or not, and waits until it is gone.
    pub fn kill(&mut self) {
        // Before the child is waited for: from then on its id may be another's.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends the signal `name` (`STOP`, `USR2`) to a process that has not been waited for.
///
/// # Panics
///
/// If there is no such process.
pub fn signal(id: u32, name: &str) {
    let id = id.to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status();
    assert!(
        sent.expect("the program `kill`").success(),
        "SIG{name} does not reach process {id}"
    );
}

/// The example `name` of the package in `manifest_dir`, beside its program `built`.
/// `cargo test` built it, but `cargo test --test x` did not: this does, if need be.
///
/// # Panics
///
/// If it cannot be built.
#[must_use]
pub fn example(name: &str, built: &Path, manifest_dir: &str) -> PathBuf {
    let dir = built.parent().expect("target/<profile>");
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test about its package: build scripts that look at it would run
    // again, and half of everything be built anew.
    for (key, _) in std::env::vars_os() {
        let told = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_PRIMARY_",
        ];
        let key = key.to_string_lossy();
        if told.iter().any(|start| key.starts_with(start)) {
            cargo.env_remove(&*key);
        }
    }
    let status = cargo
        .args(["build", "--quiet", "--offline", "--example", name])
        .args(["--profile", profile, "--target-dir"])
        .args(dir.parent())
        .current_dir(manifest_dir)
        .status();
    assert!(
        status.expect("cargo").success(),
        "the example {name} is not built"
    );
    dir.join("examples").join(name)
}
