//! Processes of this package, started for one test and gone with it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use framex_test_support::process::Guarded;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The built example called `name`.
#[allow(dead_code)] // Not every test that has this module starts one.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps");
    let path = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --examples`",
        path.display()
    );
    path
}

/// A process that serves. Killed when it is dropped, or when the test is.
pub(crate) struct Serving {
    process: Guarded,
    /// What it logs, shown if the test fails.
    log: Arc<Mutex<String>>,
    /// The lines that it prints.
    lines: Mutex<mpsc::Receiver<String>>,
    /// What it printed while it started.
    pub(crate) output: String,
}

impl Serving {
    /// Starts `command` in `dir` on free ports and waits until it serves.
    pub(crate) fn start(command: &mut Command, dir: &Path) -> Self {
        command
            .env("SERVER__PORT", "0")
            .env("SERVER__DASHBOARD_PORT", "0");
        let mut serving = Self::spawn(command, dir);
        serving.wait_until_it_serves();
        serving
    }

    /// The process' id.
    #[allow(dead_code)] // Not every test that has this module asks.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// As [`Self::start`], and waits until it is ready, of which processes on NATS
    /// have a line.
    #[allow(dead_code)] // Not every test that has this module has a broker.
    pub(crate) fn start_ready(command: &mut Command, dir: &Path) -> Self {
        let mut serving = Self::start(command, dir);
        serving.wait_until_ready();
        serving
    }

    /// Waits until it is ready.
    #[allow(dead_code)] // As above.
    pub(crate) fn ready(mut self) -> Self {
        self.wait_until_ready();
        self
    }

    /// Starts `command` in `dir` and waits for nothing.
    pub(crate) fn spawn(command: &mut Command, dir: &Path) -> Self {
        command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Guarded::spawn(command, None);
        let stdout = process.child().stdout.take().expect("a pipe");
        let stderr = process.child().stderr.take().expect("a pipe");
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = kept.lock().expect("nothing panics with it");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Read to the end even if nobody listens, so that the pipe never fills.
                let _ = send.send(line);
            }
        });
        Self {
            process,
            log,
            lines: Mutex::new(lines),
            output: String::new(),
        }
    }

    /// Waits until it says that it serves.
    pub(crate) fn wait_until_it_serves(&mut self) {
        self.wait_until("it serves", |line, first| {
            // The last line of a FrameX start; our axum example prints the address only.
            line.starts_with("started in") || (first && line.starts_with("  edge"))
        });
    }

    /// Waits until it says that it can do what it is for.
    #[allow(dead_code)] // As above.
    pub(crate) fn wait_until_ready(&mut self) {
        self.wait_until("it is ready", |line, _| line.starts_with("ready:"));
    }

    /// Waits for a line of its output, of which `done` also knows whether it is the first.
    pub(crate) fn wait_until(&mut self, what: &str, done: impl Fn(&str, bool) -> bool) {
        let end = Instant::now() + PATIENCE;
        let lines = self.lines.get_mut().expect("nothing panics with it");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                panic!("waited until {what}; it printed:\n{}", self.output);
            };
            let done = done(&line, self.output.is_empty());
            self.output.push_str(&line);
            self.output.push('\n');
            if done {
                return;
            }
        }
    }

    /// Where it said that its edge listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.said("  edge ")
            .expect("the output names the edge's address")
    }

    /// Where it said that its dashboard listens, if it has one.
    #[allow(dead_code)] // As above.
    pub(crate) fn dashboard(&self) -> Option<SocketAddr> {
        self.said("  dashboard ")
    }

    fn said(&self, what: &str) -> Option<SocketAddr> {
        let line = self.output.lines().find(|line| line.starts_with(what))?;
        let address = line.split("http://").nth(1)?;
        let end = address.find(['/', ' ']).unwrap_or(address.len());
        address[..end].parse().ok()
    }

    /// Asks it to stop, and waits until it has: gives its exit code.
    #[allow(dead_code)] // As above.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.process.terminate();
        self.process.wait(PATIENCE)?.code()
    }

    /// The process: to be frozen, thawed, killed, or asked to stop.
    #[allow(dead_code)] // As above.
    pub(crate) fn process(&mut self) -> &mut Guarded {
        &mut self.process
    }

    /// What it printed until it served.
    #[allow(dead_code)] // As above.
    pub(crate) fn printed(&self) -> &str {
        &self.output
    }

    /// What it logged so far.
    #[allow(dead_code)] // As above.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("nothing panics with it").clone()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = self.log.lock()
        {
            eprintln!("{}{log}", self.output);
        }
    }
}

/// Runs `command` in `dir` to its end, or for `patience`: exit code, standard output, standard error.
#[allow(dead_code)] // As above.
pub(crate) fn run(
    command: &mut Command,
    dir: &Path,
    patience: Duration,
) -> (Option<i32>, String, String) {
    let mut child = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("a pipe")));
    let stderr = read(Box::new(child.stderr.take().expect("a pipe")));
    let code = wait(&mut child, patience);
    let text = |thread: std::thread::JoinHandle<String>| thread.join().expect("it reads");
    (code, text(stdout), text(stderr))
}

#[allow(dead_code)] // As above.
fn wait(child: &mut Child, patience: Duration) -> Option<i32> {
    let end = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        if Instant::now() > end {
            // Told apart from every exit code.
            let _ = child.kill();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
