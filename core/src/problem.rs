//! Problems: one line each of a validation report.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One thing that is wrong with a request.
///
/// `msg` names the kind of what came and what is allowed, never the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For machines: `missing`, `int_parsing`, `enum`, `json_invalid` ...
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// Where it is: the location (`query`, `path`, `body`), then names and indexes.
    pub loc: Vec<Loc>,
    /// For people.
    pub msg: String,
}

/// One step of a [`Problem`]'s place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Loc {
    /// An index, or an offset in bytes for malformed JSON.
    Index(u64),
    /// A name.
    Name(Cow<'static, str>),
}

impl From<&'static str> for Loc {
    fn from(name: &'static str) -> Self {
        Self::Name(Cow::Borrowed(name))
    }
}

impl From<String> for Loc {
    fn from(name: String) -> Self {
        Self::Name(Cow::Owned(name))
    }
}

impl From<usize> for Loc {
    fn from(index: usize) -> Self {
        Self::Index(index as u64)
    }
}

impl Problem {
    /// A problem at `loc`.
    #[must_use]
    pub fn new(kind: impl Into<Cow<'static, str>>, loc: Vec<Loc>, msg: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            loc,
            msg: msg.into(),
        }
    }
}
