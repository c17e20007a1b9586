//! What a value may be, and how to read one.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::{Size, duration};

/// No duration in the settings is longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// A duration that may not be zero is at least this long.
const SHORTEST: Duration = Duration::from_millis(1);

/// The shape of one key's value. `Display` is what errors and the reference
/// say is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    Bool,
    /// A whole number within bounds.
    Integer {
        min: u64,
        max: u64,
    },
    Size {
        min: u64,
        max: u64,
    },
    Duration {
        zero: bool,
    },
    Choice(&'static [&'static str]),
    Text(Text),
    List(Text),
    /// A list that may be written as one text; never empty.
    OneOrMore(Text),
    /// `auth.rules`: a list of keys per route.
    Rules,
    /// `plugins`: a table per plugin.
    Plugins,
}

/// What a text may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Text {
    Any,
    Host,
    Path,
    UrlPath,
    BrokerUrl,
    Token,
    /// Tokens with dots between them.
    Subject,
    PluginName,
    Secret,
}

/// What came instead.
pub(crate) struct Mismatch {
    /// After the key: `[2]` in a list.
    pub(crate) at: String,
    pub(crate) got: String,
    pub(crate) allowed: String,
    /// It is no list, and should be: say how lists are written.
    pub(crate) no_list: bool,
}

impl Mismatch {
    fn new(got: impl Into<String>, allowed: impl fmt::Display) -> Self {
        Self {
            at: String::new(),
            got: got.into(),
            allowed: allowed.to_string(),
            no_list: false,
        }
    }

    fn no_list(got: &str, allowed: impl fmt::Display) -> Self {
        let no_list = true;
        Self {
            no_list,
            ..Self::new(got, allowed)
        }
    }
}

/// What kind of thing `value` is. No values, for they may be secret.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(text) if text.is_empty() => "an empty string",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// The kind of `value`; of a number the number.
fn number_or_kind(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("the number {number}"),
        other => kind(other).into(),
    }
}

impl Shape {
    /// Reads a value that has a type: from TOML, JSON or the command line.
    /// What it returns deserializes into the settings' field.
    pub(crate) fn read(self, value: Value) -> Result<Value, Vec<Mismatch>> {
        let wrong = |got: String| vec![Mismatch::new(got, self)];
        match (self, &value) {
            (Self::Bool, Value::Bool(_)) => Ok(value),
            (Self::Integer { min, max }, Value::Number(number)) => match number.as_u64() {
                Some(n) if (min..=max).contains(&n) => Ok(value),
                _ => Err(wrong(number_or_kind(&value))),
            },
            (Self::Size { min, max }, Value::Number(_) | Value::String(_)) => {
                let size = match &value {
                    Value::String(text) => Size::parse(text),
                    number => number.as_u64().map(Size::of_bytes),
                };
                match size {
                    Some(size) if (min..=max).contains(&size.bytes()) => {
                        Ok(size.to_string().into())
                    }
                    Some(size) => Err(wrong(format!("the size {size}"))),
                    None => Err(wrong(number_or_kind(&value))),
                }
            }
            (Self::Duration { zero }, Value::Number(_) | Value::String(_)) => {
                let read = match &value {
                    Value::String(text) => duration::parse(text),
                    number => duration::parse(&number.to_string()),
                };
                match read {
                    Some(d) if d <= LONGEST && (d >= SHORTEST || zero && d.is_zero()) => {
                        Ok(duration::show(d).into())
                    }
                    Some(d) => Err(wrong(format!("the duration {}", duration::show(d)))),
                    None => Err(wrong(number_or_kind(&value))),
                }
            }
            (Self::Choice(choices), Value::String(text)) if choices.contains(&text.as_str()) => {
                Ok(value)
            }
            (Self::Text(rule), Value::String(text)) => match rule.check(text) {
                Ok(()) => Ok(value),
                Err(mismatch) => Err(vec![mismatch]),
            },
            (Self::Text(Text::Secret), _) => Err(wrong(kind(&value).into())),
            (Self::OneOrMore(_), Value::String(_)) => self.read(Value::Array(vec![value])),
            (Self::OneOrMore(_), Value::Array(items)) if items.is_empty() => {
                Err(wrong("an empty list".into()))
            }
            (Self::List(rule) | Self::OneOrMore(rule), Value::Array(items)) => {
                rule.check_all(items)?;
                Ok(value)
            }
            (Self::List(_), Value::String(_)) => Err(vec![Mismatch::no_list(kind(&value), self)]),
            (Self::List(Text::Secret), _) => Err(wrong(kind(&value).into())),
            _ => Err(wrong(number_or_kind(&value))),
        }
    }

    /// Reads the text of a variable. Its key says what it means: `1` is a
    /// number, a boolean or a text.
    pub(crate) fn read_text(self, text: &str) -> Result<Value, Vec<Mismatch>> {
        let trimmed = text.trim();
        match self {
            Self::Bool => match trimmed.to_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true.into()),
                "false" | "0" | "no" | "off" => Ok(false.into()),
                _ => self.read(text.into()),
            },
            Self::Integer { .. } => match trimmed.parse::<serde_json::Number>() {
                Ok(number) => self.read(number.into()),
                Err(_) => self.read(text.into()),
            },
            Self::Choice(_) => self.read(trimmed.to_lowercase().into()),
            Self::List(_) | Self::OneOrMore(_) if trimmed.starts_with('[') => {
                match serde_json::from_str(trimmed) {
                    Ok(list) => self.read(list),
                    Err(_) => Err(vec![Mismatch::no_list("text that is not JSON", self)]),
                }
            }
            Self::List(_) | Self::OneOrMore(_) if trimmed.contains(',') => {
                Err(vec![Mismatch::no_list("a text with commas", self)])
            }
            Self::List(_) | Self::OneOrMore(_) if trimmed.is_empty() => {
                Err(vec![Mismatch::no_list("an empty text", self)])
            }
            Self::List(_) | Self::OneOrMore(_) => self.read(Value::Array(vec![trimmed.into()])),
            _ => self.read(text.into()),
        }
    }
}

impl Text {
    fn check(self, text: &str) -> Result<(), Mismatch> {
        let ok = match self {
            _ if text.is_empty() => return Err(Mismatch::new("an empty string", self)),
            Self::Any | Self::Path => !text.contains('\0'),
            Self::Secret => true,
            Self::Host => is_host(text),
            Self::UrlPath => text.starts_with('/') && !text.contains(char::is_whitespace),
            Self::BrokerUrl if text.contains(',') => {
                return Err(Mismatch::no_list("a string with commas", self));
            }
            Self::BrokerUrl => is_broker_url(text),
            Self::Token => is_token(text),
            Self::Subject => text.split('.').all(is_token),
            Self::PluginName if text.contains(',') => {
                return Err(Mismatch::no_list("a string with commas", self));
            }
            Self::PluginName => !text.contains(|c: char| c.is_whitespace() || c.is_control()),
        };
        match ok {
            true => Ok(()),
            false => Err(Mismatch::new("a string of another form", self)),
        }
    }

    fn check_all(self, items: &[Value]) -> Result<(), Vec<Mismatch>> {
        let check = |(index, item): (usize, &Value)| {
            let mismatch = match item {
                Value::String(text) => self.check(text).err()?,
                other => Mismatch::new(kind(other), self),
            };
            let at = format!("[{index}]");
            Some(Mismatch { at, ..mismatch })
        };
        let wrong: Vec<_> = items.iter().enumerate().filter_map(check).collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(wrong),
        }
    }
}

fn is_token(text: &str) -> bool {
    let of_token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.bytes().all(of_token)
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = text.rsplit('.').next().unwrap_or(text);
    let like_an_address = last.bytes().all(|b| b.is_ascii_digit());
    text.parse::<IpAddr>().is_ok()
        || text.len() <= 253 && !like_an_address && text.split('.').all(label)
}

fn is_broker_url(text: &str) -> bool {
    let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    ["nats", "tls", "ws", "wss"].contains(&scheme)
        && !host.is_empty()
        && !host.starts_with(':')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bool => f.write_str("true or false"),
            Self::Integer { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Size { min, max } => {
                let (min, max) = (Size::of_bytes(min), Size::of_bytes(max));
                write!(f, "a size from {min} to {max}, like \"4 MiB\"")
            }
            Self::Duration { zero } => {
                let from = if zero { "0s" } else { "1ms" };
                write!(f, "a duration from {from} to 24h, like \"30s\"")
            }
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::Text(text) => write!(f, "{text}"),
            Self::List(text) => write!(f, "a list, each {text}"),
            Self::OneOrMore(text) => write!(f, "{text}, or a list of such"),
            Self::Rules => f.write_str("a table of routes, each with a list of keys"),
            Self::Plugins => f.write_str("a table of plugins, each a table"),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any | Self::Secret => "a string that is not empty",
            Self::Host => "an IP address or a host name, without a port",
            Self::Path => "a path to a file",
            Self::UrlPath => "a path that begins with `/`",
            Self::BrokerUrl => "a URL like \"nats://host:4222\" (or tls, ws, wss)",
            Self::Token => "a string of letters, digits, `-` and `_`",
            Self::Subject => {
                "letters, digits, `-` and `_`, with dots between, like \"_INBOX.edge\""
            }
            Self::PluginName => "a plugin name without spaces or commas",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for host in [
            "127.0.0.1",
            "::",
            "::1",
            "localhost",
            "a.b-c.example",
            "0.0.0.0",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "localhost:80",
            "[::1]",
            "999.1.1.1",
            "1.2.3",
            "-a",
            "a..b",
            "a b",
            "http://x",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn broker_urls() {
        for url in [
            "nats://h:4222",
            "tls://u:p@h",
            "wss://h/path",
            "h:4222",
            "h",
        ] {
            assert!(is_broker_url(url), "{url}");
        }
        for url in ["http://h", "nats://", "nats://:4222", "nats://u@", "a b"] {
            assert!(!is_broker_url(url), "{url}");
        }
    }
}
