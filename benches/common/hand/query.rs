//! Query strings, decoded strictly.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::envelope::Failure;

/// The value of the one parameter called `name`.
///
/// # Errors
///
/// A missing or repeated parameter, a `%` that two hexadecimal digits do not follow, bytes that
/// are not UTF-8.
pub(crate) fn single<'q>(query: Option<&'q str>, name: &str) -> Result<Cow<'q, str>, Failure> {
    let mut found = None;
    let mut rest = query.unwrap_or("");
    loop {
        let end = memchr(b'&', rest.as_bytes()).unwrap_or(rest.len());
        let pair = &rest[..end];
        let middle = memchr(b'=', pair.as_bytes()).unwrap_or(end);
        let key = decode(&pair[..middle]).ok_or_else(|| malformed(name))?;
        if key == name
            && found
                .replace(pair.get(middle + 1..).unwrap_or(""))
                .is_some()
        {
            return Err(Failure::detail(
                "repeated",
                &["query", name],
                "Field given more than once",
            ));
        }
        match rest.get(end + 1..) {
            Some(more) => rest = more,
            None => break,
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
    let Some(plain) = memchr2(b'%', b'+', text.as_bytes()) else {
        return Some(Cow::Borrowed(text));
    };
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend_from_slice(&text.as_bytes()[..plain]);
    let mut rest = text[plain..].bytes();
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
