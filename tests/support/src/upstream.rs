//! Services that others might have written: child processes on ports that stay theirs.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::port::Port;
use crate::process::Guarded;
use crate::raw::Ask;

/// How long an interpreter may take to start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A service whose address is known before it runs and while it is down.
///
/// Dropping it kills it. What it printed is shown if the test fails.
pub struct Upstream {
    port: Port,
    process: Option<Guarded>,
    printed: NamedTempFile,
    command: Box<dyn Fn(SocketAddr) -> Command + Send + Sync>,
}

impl Upstream {
    /// A service that `command` starts on the address that it is given; not running yet.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn new(command: impl Fn(SocketAddr) -> Command + Send + Sync + 'static) -> Self {
        Self {
            port: Port::reserve(),
            process: None,
            printed: NamedTempFile::new().expect("a temporary file"),
            command: Box::new(command),
        }
    }

    /// An ASGI application (`module:app`) of the directory `dir`, which the uvicorn beside
    /// `python`'s programs serves; not running yet.
    #[must_use]
    pub fn asgi(programs: &Path, dir: &Path, app: &str) -> Self {
        Self::asgi_with(programs, dir, app, Vec::new())
    }

    /// As [`Upstream::asgi`], with more options for uvicorn.
    #[must_use]
    pub fn asgi_with(programs: &Path, dir: &Path, app: &str, options: Vec<OsString>) -> Self {
        let (python, dir, app) = (programs.join("python"), dir.to_owned(), app.to_owned());
        Self::new(move |address| {
            let mut command = Command::new(&python);
            command
                .args([
                    "-B",
                    "-m",
                    "uvicorn",
                    "--no-access-log",
                    "--no-proxy-headers",
                ])
                .args([
                    "--log-level",
                    "warning",
                    "--timeout-graceful-shutdown",
                    "1",
                    "--host",
                ])
                .arg(address.ip().to_string())
                .args(["--port", &address.port().to_string(), "--app-dir"])
                .arg(&dir)
                .args(&options)
                .arg(&app);
            command
        })
    }

    /// Starts it and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If it does not come, with what it printed.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// As [`Upstream::started`], for one that was stopped.
    ///
    /// # Panics
    ///
    /// If it runs, or does not come.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let output = || {
            let file = OpenOptions::new().append(true).open(self.printed.path());
            file.expect("a temporary file")
        };
        let mut command = (self.command)(self.address());
        command
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output());
        let mut process = Guarded::spawn(&mut command, None);
        let begun = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            let gone = process.ended().is_some();
            if gone || begun.elapsed() > START {
                panic!("{command:?} does not serve:\n{}", self.printed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
    }

    /// Kills it; its address refuses connections until it is started again.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// The process, to be frozen or thawed.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn process(&self) -> &Guarded {
        self.process.as_ref().expect("it runs")
    }

    /// Where it is, or will be.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// `http://127.0.0.1:9000`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A request to it, past every bridge.
    pub fn ask(&self, method: &str, target: &str) -> Ask {
        Ask::new(self.address(), method, target)
    }

    /// What it printed so far, in all its lives.
    #[must_use]
    pub fn printed(&self) -> String {
        let printed = std::fs::read(self.printed.path()).unwrap_or_default();
        String::from_utf8_lossy(&printed).into_owned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "shown with the failure of the test")]
            {
                eprintln!("{} printed:\n{}", self.address(), self.printed());
            }
        }
    }
}
