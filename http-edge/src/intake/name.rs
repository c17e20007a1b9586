//! What a client calls the file that its body is.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::CONTENT_DISPOSITION;
use percent_encoding::percent_decode_str;

/// The file name of `Content-Disposition` (RFC 6266); empty if there is none.
pub(super) fn of(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_DISPOSITION);
    // Browsers and curl send UTF-8 where the standard has ASCII.
    let text = value.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let mut plain = None;
    let mut rest = text.unwrap_or_default();
    while let Some((name, value, behind)) = parameter(rest) {
        if name.eq_ignore_ascii_case("filename*") {
            let encoded = value.split_once("''").map(|(_, encoded)| encoded);
            let decoded = encoded.and_then(|text| percent_decode_str(text).decode_utf8().ok());
            if let Some(name) = decoded {
                return name.into_owned();
            }
        } else if name.eq_ignore_ascii_case("filename") {
            plain = Some(value.into_owned());
        }
        rest = behind;
    }
    plain.unwrap_or_default()
}

/// The first parameter behind a `;`: its name, its value, and what follows.
fn parameter(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let (_, text) = text.split_once(';')?;
    let (name, value) = text.split_once('=')?;
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find(';').unwrap_or(value.len());
        return Some((name.trim(), value[..end].trim().into(), &value[end..]));
    };
    let mut unquoted = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((name.trim(), unquoted.into(), &quoted[at + 1..])),
            '\\' => unquoted.extend(letters.next().map(|(_, letter)| letter)),
            letter => unquoted.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn names_are_read_in_every_form() {
        for (value, name) in [
            ("attachment; filename=\"a b.txt\"", "a b.txt"),
            ("attachment; filename=a.txt; x=y", "a.txt"),
            ("attachment; filename=\"a \\\"b\\\"; c\"; x=1", "a \"b\"; c"),
            (
                "attachment; filename=\"_\"; filename*=UTF-8''%C3%BC.txt",
                "ü.txt",
            ),
            ("attachment; filename*=UTF-8'de'%C3%BC.txt; filename=u", "u"),
            ("attachment; FileName=\"übung\"", "übung"),
            ("attachment; filename=\"open", ""),
            ("attachment", ""),
            ("", ""),
            (";;;===", ""),
        ] {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.insert(CONTENT_DISPOSITION, value);
            assert_eq!(of(&headers), name);
        }
        assert_eq!(of(&HeaderMap::new()), "");
    }
}
