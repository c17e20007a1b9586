//! API ids: the names that callers depend on.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of one API, `<plugin>.<Type>.<method>`: its address on the bus.
///
/// Parsed once, valid ever after. Each of the three tokens is made of ASCII
/// letters, digits, `_` and `-`, so that an id is a NATS subject as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiId(Arc<str>);

/// Why a text is no API id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an API id: write `<plugin>.<Type>.<method>`, e.g. `echo.EchoPlugin.confess`")]
pub struct InvalidApiId(pub String);

impl ApiId {
    /// Reads an id.
    ///
    /// # Errors
    ///
    /// [`InvalidApiId`] if it is not made of three valid tokens.
    pub fn parse(text: &str) -> Result<Self, InvalidApiId> {
        let mut tokens = 0;
        for token in text.split('.') {
            tokens += 1;
            if !is_token(token) {
                return Err(InvalidApiId(text.to_owned()));
            }
        }
        if tokens == 3 {
            Ok(Self(text.into()))
        } else {
            Err(InvalidApiId(text.to_owned()))
        }
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The plugin's name, the first token.
    #[must_use]
    pub fn plugin(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// The method's name, the last token.
    #[must_use]
    pub fn method(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }
}

/// Whether `text` can be a plugin's name or another token of an id.
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl fmt::Display for ApiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ApiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for ApiId {
    type Error = InvalidApiId;

    fn try_from(text: String) -> Result<Self, InvalidApiId> {
        Self::parse(&text)
    }
}

impl From<ApiId> for String {
    fn from(id: ApiId) -> Self {
        id.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_tokens_make_an_id() {
        let id = ApiId::parse("echo.EchoPlugin.confess").unwrap();
        assert_eq!(
            (id.plugin(), id.method(), id.as_str()),
            ("echo", "confess", "echo.EchoPlugin.confess")
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", "echo", "a.b", "a.b.c.d", "a..c", "a.b.", "a.b c.d", "a.*.c", "a.b.>", "é.b.c",
        ] {
            assert_eq!(ApiId::parse(text), Err(InvalidApiId(text.to_owned())));
        }
    }
}
