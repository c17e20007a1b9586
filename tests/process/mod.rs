//! Processes of this package, started for one test and gone with it, and a
//! client for them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The built example called `name`.
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

/// A process that serves. Killed when it is dropped.
pub(crate) struct Serving {
    child: Child,
    /// What it logs, shown if the test fails.
    log: Arc<Mutex<String>>,
    /// What it printed while it started.
    pub(crate) output: String,
}

impl Serving {
    /// Starts `command` in `dir` on free ports and waits until it serves.
    pub(crate) fn start(command: &mut Command, dir: &Path) -> Self {
        let mut child = prepare(command, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
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
        let mut serving = Self {
            child,
            log,
            output: String::new(),
        };
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                panic!("it does not serve; it printed:\n{}", serving.output);
            };
            serving.output.push_str(&line);
            serving.output.push('\n');
            // The last line of a FrameX start; our axum example prints the address only.
            let alone = line.starts_with("  edge") && serving.output.lines().count() == 1;
            if line.starts_with("started in") || alone {
                return serving;
            }
        }
    }

    /// Where it said that its edge listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.said("  edge ")
            .expect("the output names the edge's address")
    }

    /// Where it said that its dashboard listens, if it has one.
    #[allow(dead_code)] // Not every test that has this module asks.
    pub(crate) fn dashboard(&self) -> Option<SocketAddr> {
        self.said("  dashboard ")
    }

    fn said(&self, what: &str) -> Option<SocketAddr> {
        let line = self.output.lines().find(|line| line.starts_with(what))?;
        let address = line.split("http://").nth(1)?;
        let end = address.find(['/', ' ']).unwrap_or(address.len());
        address[..end].parse().ok()
    }

    /// Asks for a path with its query.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Sends any request.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut socket = TcpStream::connect(self.address()).expect("it takes connections");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        socket.write_all(head.as_bytes()).expect("it reads");
        socket.write_all(body).expect("it reads");
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).expect("it answers in time");
        Answer::parse(&bytes)
    }

    /// Asks it to stop, and waits until it has: gives its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let kill = format!("kill -TERM {}", self.child.id());
        let asked = Command::new("sh").arg("-c").arg(kill).status();
        assert!(asked.expect("a shell").success());
        wait(&mut self.child)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = self.log.lock()
        {
            eprintln!("{}{log}", self.output);
        }
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` in `dir` to its end: exit code, standard output, standard error.
pub(crate) fn run(command: &mut Command, dir: &Path) -> (Option<i32>, String, String) {
    let mut child = prepare(command, dir)
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
    let code = wait(&mut child);
    let text = |thread: std::thread::JoinHandle<String>| thread.join().expect("it reads");
    (code, text(stdout), text(stderr))
}

/// No settings but those of the test.
fn prepare<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    command
        .current_dir(dir)
        .env("SERVER__PORT", "0")
        .env("SERVER__DASHBOARD_PORT", "0")
        .stdin(Stdio::null())
}

fn wait(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + PATIENCE;
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

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let split = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let head = std::str::from_utf8(&bytes[..split]).expect("a head of text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers
            .iter()
            .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = &bytes[split + 4..];
        Self {
            status: status.and_then(|s| s.parse().ok()).expect("a status"),
            body: if chunked {
                unchunked(body)
            } else {
                body.to_vec()
            },
            headers,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The result in the envelope of a success.
    pub(crate) fn data(&self) -> serde_json::Value {
        let mut envelope = self.json();
        assert_eq!(self.status, 200, "{envelope}");
        envelope["data"].take()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes
            .windows(2)
            .position(|window| window == b"\r\n")
            .expect("the size of a chunk");
        let size = std::str::from_utf8(&bytes[..end]).expect("a size of text");
        let size = usize::from_str_radix(size, 16).expect("a size in hexadecimal");
        if size == 0 {
            return body;
        }
        let start = end + 2;
        body.extend_from_slice(&bytes[start..start + size]);
        bytes = &bytes[start + size + 2..];
    }
}
