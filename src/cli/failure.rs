//! Why a command failed, told once.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::output::lines_escaped;
use crate::start::StartError;

/// A command that did not do what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong, or asks for help.
    Usage(clap::Error),
    /// Settings, plugins or ports.
    Start(StartError),
    /// Anything else, in words.
    Told(String),
    /// The command line fits no API; exit code 2.
    Wrong(String),
    /// As `Told`, and told already.
    AlreadyTold,
    /// Nobody reads what is printed any more.
    Closed,
    /// A signal came; the value is its exit code.
    Signal(u8),
}

impl Failure {
    /// A failure to write what was asked for.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Told(format!("cannot write to standard output: {error}")),
        }
    }

    /// Says it on standard error.
    pub(crate) fn tell(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(error) => {
                // Nothing can be said about a terminal that is gone.
                let _ = error.print();
                let code = u8::try_from(error.exit_code()).unwrap_or(2);
                return ExitCode::from(code);
            }
            Self::Start(error) => (error.to_string(), error.exit_code()),
            Self::Told(text) => (text, 1),
            Self::Wrong(text) => (text, 2),
            Self::AlreadyTold => return ExitCode::FAILURE,
            Self::Closed => return ExitCode::SUCCESS,
            Self::Signal(code) => return ExitCode::from(code),
        };
        say("error", &text);
        ExitCode::from(code)
    }
}

/// One message on standard error.
pub(crate) fn say(kind: &str, text: &str) {
    // Nobody is there to be told that this failed.
    let _ = writeln!(io::stderr().lock(), "{kind}: {}", lines_escaped(text));
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}
