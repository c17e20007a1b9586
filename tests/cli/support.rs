//! Runs the binary, waits for it with a limit, and kills what is left of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use framex_test_support::process::example;
use tempfile::TempDir;

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(30);

/// A working directory and an environment.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    binary: PathBuf,
    env: Vec<(String, String)>,
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// The error, which is one message.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        let told = self.err.lines().filter(|l| l.starts_with("error: "));
        assert_eq!(told.count(), 1, "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        self.err
    }

    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::of(env!("CARGO_BIN_EXE_framex").into())
    }

    pub(crate) fn of(binary: PathBuf) -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            binary,
            env: Vec::new(),
        }
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.start(args).end()
    }

    /// Runs a command to its end, with this on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Done {
        let mut command = self.command(args);
        let mut running = Running::new(command.stdin(Stdio::piped()));
        let mut stdin = running.child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        running.end()
    }

    /// Starts a command.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::new(&mut self.command(args))
    }

    /// Starts a command whose output nobody reads.
    pub(crate) fn start_unread(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).spawn().unwrap();
        drop(child.stdout.take());
        let err = lines(child.stderr.take().unwrap());
        let out = mpsc::channel().1;
        Running { child, out, err }
    }

    /// Starts `run` on free ports and waits for its report.
    pub(crate) fn serve(&self, args: &[&str]) -> Server {
        self.report(&[&["run", "--port", "0", "--dashboard-port", "0"], args].concat())
    }

    /// Starts a command that serves and waits for its report.
    pub(crate) fn report(&self, args: &[&str]) -> Server {
        let mut process = self.start(args);
        let mut report = String::new();
        while !report.contains("started in ") {
            let Some(line) = process.line() else {
                panic!("no report: {:?}", process.end());
            };
            report.push_str(&line);
        }
        Server { process, report }
    }
}

/// A process that is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    out: mpsc::Receiver<String>,
    err: mpsc::Receiver<String>,
}

impl Running {
    fn new(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// The next line of its output; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        match self.out.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no output for {LIMIT:?}"),
        }
    }

    /// Waits for a line on standard error with this in it.
    pub(crate) fn wait_for_error(&mut self, part: &str) {
        let until = Instant::now() + LIMIT;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            let line = self.err.recv_timeout(rest).unwrap();
            if line.contains(part) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Done {
        let until = Instant::now() + LIMIT;
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < until, "still running after {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        Done {
            code,
            out: self.out.iter().collect(),
            err: self.err.iter().collect(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `run` that has opened its ports.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) report: String,
}

impl Server {
    /// The address on the report's line that begins with `name`.
    pub(crate) fn address(&self, name: &str) -> String {
        let line = self
            .report
            .lines()
            .find(|l| l.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {}", self.report));
        let (_, url) = line.split_once("http://").unwrap();
        url.split(['/', ' ']).next().unwrap().to_owned()
    }

    /// The port of the edge.
    pub(crate) fn port(&self) -> String {
        self.address("edge").rsplit(':').next().unwrap().to_owned()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        get(&self.address("edge"), path)
    }
}

/// Status line, headers and body.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn lines(source: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = String::new();
        while source.read_line(&mut line).is_ok_and(|n| n > 0) {
            if tell.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    told
}

/// A user's binary, built.
pub(crate) fn own_binary() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_framex"));
        example("cli_own_binary", built, env!("CARGO_MANIFEST_DIR"))
    });
    BUILT.clone()
}
