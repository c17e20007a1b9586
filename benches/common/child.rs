//! Server processes: started, found by the address they print, killed when dropped.

use std::env;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A process that has not said what is waited for by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the bench's own, gone when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command` and waits until `find` makes something of a line of its output.
    ///
    /// # Errors
    ///
    /// What the process said last, if it ended before.
    pub(crate) fn spawn<T: Send + 'static>(
        mut command: Command,
        find: impl Fn(&str) -> Option<T> + Send + 'static,
    ) -> Result<(Self, T), String> {
        // One pipe for both: wherever the line is printed, it is seen.
        let (output, input) = io::pipe().expect("a pipe");
        command
            .stdin(Stdio::piped())
            .stderr(input.try_clone().expect("a pipe"))
            .stdout(input);
        let process = Self(command.spawn().expect("the program is there"));
        drop(command); // and with it our writing end, so that an early exit is seen as the end

        // Read to the end, or a server that logs would one day wait for us.
        let (tell, found) = mpsc::channel();
        thread::spawn(move || {
            let mut last = "it ended without a word".to_owned();
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(found) = find(&line) {
                    // Nobody asks for a second one.
                    let _ = tell.send(Ok(found));
                }
                if !line.trim().is_empty() {
                    last = line;
                }
            }
            let _ = tell.send(Err(last));
        });
        let silent = |_| Err(format!("it was silent for {PATIENCE:?}"));
        let found = found.recv_timeout(PATIENCE).unwrap_or_else(silent)?;
        Ok((process, found))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have died already, which the load generator has then reported.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that serves HTTP.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `command` and waits for the address that it tells.
    ///
    /// # Errors
    ///
    /// What the process said, if it ended without an address.
    pub(crate) fn spawn(command: Command) -> Result<Self, String> {
        let (process, address) = Process::spawn(command, edge_address)?;
        Ok(Self { process, address })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// This very binary, to play another role.
pub(crate) fn again() -> Command {
    Command::new(env::current_exe().expect("Linux tells"))
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
