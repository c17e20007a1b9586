use std::fmt;

/// Where a value came from. `Display` is what `framex config` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A TOML file.
    File {
        /// As the user would name it: `config.toml`.
        name: String,
        /// The table that is ours, in a file that is not: `tool.framex`.
        section: Option<&'static str>,
    },
    /// A file of variables.
    DotEnv {
        /// `.env` or `.env.prod`.
        name: String,
        /// The variable as it was spelled.
        variable: String,
    },
    /// A variable of the process.
    Environment {
        /// The variable as it was spelled.
        variable: String,
    },
    /// The command line.
    CommandLine {
        /// The option, `--port`, where the caller said which.
        option: Option<String>,
    },
    /// A list of two sources.
    Both(Box<Self>, Box<Self>),
}

impl Source {
    /// This and `other`, unless that is in it already.
    pub(crate) fn and(self, other: Self) -> Self {
        match self.includes(&other) {
            true => self,
            false => Self::Both(Box::new(self), Box::new(other)),
        }
    }

    fn includes(&self, other: &Self) -> bool {
        match self {
            Self::Both(first, second) => first.includes(other) || second.includes(other),
            one => one == other,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File {
                name,
                section: None,
            } => f.write_str(name),
            Self::File {
                name,
                section: Some(section),
            } => write!(f, "{name} [{section}]"),
            Self::DotEnv { name, .. } => f.write_str(name),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::CommandLine { option: None } => f.write_str("command line"),
            Self::CommandLine {
                option: Some(option),
            } => write!(f, "command line {option}"),
            Self::Both(first, second) => write!(f, "{first} + {second}"),
        }
    }
}

/// A source and, where its reader knows it, the line. `Display` is what
/// errors begin with: `config.toml:12`, `.env:3 (SERVER__PORT)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub source: Source,
    /// Counted from 1.
    pub line: Option<usize>,
}

impl From<Source> for Place {
    fn from(source: Source) -> Self {
        Self { source, line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, self.line) {
            (Source::File { name, .. }, Some(line)) => write!(f, "{name}:{line}"),
            (Source::DotEnv { name, variable }, Some(line)) => {
                write!(f, "{name}:{line} ({variable})")
            }
            (source, _) => write!(f, "{source}"),
        }
    }
}
