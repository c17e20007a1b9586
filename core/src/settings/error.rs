use std::fmt;

use super::source::{Place, Source};

/// Everything that is wrong with the settings, all sources together.
///
/// `Display` is for the operator: one line per problem, each naming the place,
/// the key and what is allowed. No secret's value is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// At least one.
    pub(crate) problems: Vec<Problem>,
}

impl SettingsError {
    /// `Err` if there are any.
    pub(crate) fn from_all(problems: Vec<Problem>) -> Result<(), Self> {
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Self { problems }),
        }
    }

    /// The problems; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [only] => write!(f, "{only}"),
            all => {
                write!(f, "{} problems in the settings:", all.len())?;
                all.iter().try_for_each(|one| write!(f, "\n  - {one}"))
            }
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing has this key.
    #[error("{}unknown key `{key}`{}", At(place), DidYouMean(nearest))]
    UnknownKey {
        /// Where it is written.
        place: Place,
        /// In full, with dots.
        key: String,
        /// The key that may have been meant, in full.
        nearest: Option<String>,
    },
    /// The key exists, its value cannot be that.
    #[error("{}`{key}` is {got}, allowed is {allowed}{}", At(place), Hint(hint))]
    WrongValue {
        /// Where it is written.
        place: Place,
        /// In full, with dots.
        key: String,
        /// What came: its kind, and its value only where it is a number.
        got: String,
        /// What may come.
        allowed: String,
        /// How to write it.
        hint: Option<String>,
    },
    /// A plugin's configuration lacks a field.
    #[error("{}`{key}` is missing", At(place))]
    Missing {
        /// Where its table is written.
        place: Place,
        /// In full, with dots.
        key: String,
    },
    /// A plugin's own type refused its configuration.
    #[error("{}`{key}` is refused: {reason}", At(place))]
    Refused {
        /// Where it is written.
        place: Place,
        /// In full, with dots.
        key: String,
        /// The plugin's words, without the values it was given.
        reason: String,
    },
    /// The key is reserved for something to come.
    #[error("{place}: `{key}` is not available yet, it comes with a later version")]
    NotYet {
        /// Where it is written.
        place: Place,
        /// In full, with dots.
        key: String,
    },
    /// The key is one of FrameX's, and means nothing here: no mistake.
    #[error("{place}: `{key}` is ignored: {reason}")]
    Ignored {
        /// Where it is written.
        place: Place,
        /// In full, with dots.
        key: String,
        /// Why.
        reason: &'static str,
    },
    /// Two keys that do not go together.
    #[error("`{first}` ({first_place}) and `{second}` ({second_place}) {reason}")]
    Conflict {
        /// One key.
        first: String,
        /// Where it is written.
        first_place: Place,
        /// The other key.
        second: String,
        /// Where it is written.
        second_place: Place,
        /// What is wrong with the pair.
        reason: String,
    },
    /// There is a table for a plugin that is not loaded.
    #[error(
        "{place}: `plugins.{name}` configures a plugin that is not loaded{}",
        DidYouMean(nearest)
    )]
    UnknownPlugin {
        /// Where it is written.
        place: Place,
        /// The plugin that is not there.
        name: String,
        /// The loaded plugin that may have been meant.
        nearest: Option<String>,
    },
    /// A file that is not TOML, or a line that is no variable.
    #[error("{file}:{line}:{column}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// A file that is not text.
    #[error("{file}:{line}: the file is not UTF-8")]
    NotUtf8 {
        /// The file.
        file: String,
        /// The line of the first wrong byte, counted from 1.
        line: usize,
    },
    /// A file that cannot be read.
    #[error("{file}: cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's words.
        reason: String,
    },
}

impl Problem {
    /// Where the mistake is written, if it is one in a key.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::UnknownKey { place, .. }
            | Self::WrongValue { place, .. }
            | Self::Missing { place, .. }
            | Self::Refused { place, .. }
            | Self::NotYet { place, .. }
            | Self::Ignored { place, .. }
            | Self::UnknownPlugin { place, .. }
            | Self::Conflict {
                first_place: place, ..
            } => Some(place),
            Self::Syntax { .. } | Self::NotUtf8 { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// For machines; it never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => "unknown_key",
            Self::WrongValue { .. } => "wrong_value",
            Self::Missing { .. } => "missing",
            Self::Refused { .. } => "refused",
            Self::NotYet { .. } => "not_yet",
            Self::Ignored { .. } => "ignored",
            Self::Conflict { .. } => "conflict",
            Self::UnknownPlugin { .. } => "unknown_plugin",
            Self::Syntax { .. } => "syntax",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

/// Where, unless that is nowhere.
struct At<'a>(&'a Place);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source {
            Source::Default => Ok(()),
            _ => write!(f, "{}: ", self.0),
        }
    }
}

struct DidYouMean<'a>(&'a Option<String>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|name| write!(f, ", did you mean `{name}`?"))
    }
}

struct Hint<'a>(&'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}
