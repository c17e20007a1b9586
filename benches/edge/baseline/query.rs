//! Query strings, decoded strictly.

use std::borrow::Cow;

use super::envelope::Failure;

/// The value of the one parameter called `name`.
///
/// # Errors
///
/// A missing or repeated parameter, a `%` that two hexadecimal digits do not follow, bytes that
/// are not UTF-8.
pub(crate) fn single<'q>(query: Option<&'q str>, name: &str) -> Result<Cow<'q, str>, Failure> {
    let mut found = None;
    for pair in query.unwrap_or("").split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key).ok_or_else(|| malformed(name))?;
        if key == name && found.replace(value).is_some() {
            return Err(Failure::detail(
                "repeated",
                &["query", name],
                "Field given more than once",
            ));
        }
    }
    let value =
        found.ok_or_else(|| Failure::detail("missing", &["query", name], "Field required"))?;
    decode(value).ok_or_else(|| malformed(name))
}

fn malformed(name: &str) -> Failure {
    Failure::detail(
        "string_encoding",
        &["query", name],
        "Not percent-encoded UTF-8",
    )
}

/// Most values need no decoding, and are lent as they are.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
