//! Server processes: started, found by the address they print, killed when dropped.

use std::env;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::spec::Spec;

/// A server that has not told its address by then never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server in a process of its own, gone when this is dropped.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
}

struct Process(Child);

impl Server {
    /// Starts the server that `spec` describes, from this very binary.
    ///
    /// # Errors
    ///
    /// What the process said, if it ended without an address.
    pub(crate) fn start(spec: &Spec) -> Result<Self, String> {
        let exe = match &spec.exe {
            Some(exe) => exe.clone(),
            None => env::current_exe().expect("Linux tells"),
        };
        let mut command = Command::new(exe);
        command.arg("serve").args(
            spec.to_string()
                .split_whitespace()
                .filter(|w| !w.starts_with("exe=")),
        );
        Self::spawn(command)
    }

    /// Starts the program that users run.
    ///
    /// # Errors
    ///
    /// What the process said, if it ended without an address.
    pub(crate) fn start_framex_binary() -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_framex"));
        command.args([
            "run",
            "--load-builtin-plugins",
            "echo",
            "--port",
            "0",
            "--dashboard-port",
            "0",
        ]);
        Self::spawn(command)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    fn spawn(mut command: Command) -> Result<Self, String> {
        // One pipe for both: wherever the address is printed, it is seen.
        let (output, input) = io::pipe().expect("a pipe");
        command
            .stdin(Stdio::piped())
            .stderr(input.try_clone().expect("a pipe"))
            .stdout(input);
        let process = Process(command.spawn().expect("the program was just built"));
        drop(command); // and with it our writing end, so that an early exit is seen as the end

        // Read to the end, or a server that logs would one day wait for us.
        let (found, address) = mpsc::channel();
        thread::spawn(move || {
            let mut last = "it ended without a word".to_owned();
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(address) = edge_address(&line) {
                    // Nobody asks for a second one.
                    let _ = found.send(Ok(address));
                }
                if !line.trim().is_empty() {
                    last = line;
                }
            }
            let _ = found.send(Err(last));
        });
        let silent = |_| Err(format!("it told no address for {PATIENCE:?}"));
        let address = address.recv_timeout(PATIENCE).unwrap_or_else(silent)?;
        Ok(Self { process, address })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have died already, which the load generator has then reported.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The edge's address, if this line of a server's output tells it.
///
/// The bench's own servers print `listening on http://127.0.0.1:1234`. The `framex` binary prints
/// more than one URL; the first that is not the dashboard's is taken.
fn edge_address(line: &str) -> Option<SocketAddr> {
    if line.to_ascii_lowercase().contains("dashboard") {
        return None;
    }
    let (_, rest) = line.split_once("http://")?;
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .unwrap_or(rest.len());
    rest[..end].trim_end_matches(['.', ':']).parse().ok()
}

/// In the child: tells the parent where to connect.
pub(crate) fn announce(address: SocketAddr) {
    println!("listening on http://{address}");
}

/// In the child: ends this process when its parent does, however that ends.
pub(crate) fn exit_with_parent() {
    thread::spawn(|| {
        let mut end = Vec::new();
        let _ = io::stdin().read_to_end(&mut end);
        process::exit(0);
    });
}
