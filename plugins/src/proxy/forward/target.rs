//! Paths on their way to an upstream, and back.

use framex_core::error::{Error, Result};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::proxy::rules::bare;

/// `target`, as a client sent it, as the upstream knows it: without `prefix` and below
/// `base`. Nothing else of it changes.
///
/// # Errors
///
/// 400 if it cannot be sent.
pub(super) fn onward(target: &str, prefix: &str, base: &str) -> Result<Uri> {
    let own = own(target, prefix);
    let slash = match own.starts_with('/') || !base.is_empty() {
        true => "",
        false => "/",
    };
    let whole = format!("{base}{slash}{own}");
    let whole = PathAndQuery::from_maybe_shared(whole.into_bytes());
    match whole {
        Ok(whole) => Ok(whole.into()),
        Err(_) => Err(Error::bad_request("the path cannot be sent")),
    }
}

/// `target` without `prefix`.
pub(super) fn own<'a>(target: &'a str, prefix: &str) -> &'a str {
    match target.strip_prefix(prefix) {
        Some(own) if own.is_empty() || own.starts_with(['/', '?']) => own,
        _ => target,
    }
}

/// How an upstream may read `path` that takes encoded slashes for slashes, if it has any.
///
/// # Errors
///
/// 400 if it might be led to another path altogether: dot segments and backslashes, encoded or
/// not, and segments of nothing but encoded slashes.
pub(super) fn other_reading(path: &str) -> Result<Option<String>> {
    let mut slashes = false;
    for segment in path.split('/') {
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        slashes |= decoded.contains(&b'/');
        let reason = if decoded.contains(&b'\\') {
            "a backslash"
        } else if decoded.split(|b| *b == b'/').any(is_dots) {
            "a dot segment"
        } else if decoded.contains(&b'/') && decoded.split(|b| *b == b'/').any(<[u8]>::is_empty) {
            "an encoded slash beside a slash"
        } else {
            continue;
        };
        return Err(ambiguous(reason));
    }
    Ok(slashes.then(|| percent_decode_str(path).decode_utf8_lossy().into_owned()))
}

/// 400 for a path that is not the same to everybody.
pub(super) fn ambiguous(what: &str) -> Error {
    let text = format!("the path has {what}, which could lead to another one");
    Error::bad_request(text).with_code("ambiguous_path")
}

/// Whether a segment leads elsewhere. Some servers cut `;…` off first.
fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|b| *b == b';').next();
    matches!(name, Some(b"." | b".."))
}

/// What a FrameX is asked by other systems, never by their clients.
const BETWEEN_SYSTEMS: [&str; 2] = ["/api/v1/proxy/remote", "/api/v1/proxy/refresh"];

/// Whether `path`, the whole of it, may be read as one of those at which FrameX systems ask
/// each other, wherever the system itself begins.
pub(super) fn is_between_systems(path: &str) -> bool {
    let bare = bare(&percent_decode_str(path).decode_utf8_lossy());
    BETWEEN_SYSTEMS.iter().any(|asked| {
        let end = bare.len().checked_sub(asked.len());
        let end = end.and_then(|start| bare.as_bytes().get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(asked.as_bytes()))
    })
}

/// A `Location` of an answer, as clients can use it: what points at the upstream itself becomes
/// a path of ours. None: it can stay as it is.
pub(super) fn homeward(
    location: &HeaderValue,
    (scheme, authority): (&Scheme, &Authority),
    prefix: &str,
    base: &str,
) -> Option<HeaderValue> {
    // Whatever it is written in: its bytes stay.
    let text = location.as_bytes();
    let below = |rest: &[u8]| -> Option<HeaderValue> {
        let own = match rest.strip_prefix(base.as_bytes()) {
            Some(own) if matches!(own.first(), None | Some(b'/' | b'?' | b'#')) => own,
            _ => rest,
        };
        // Browsers read `//x` and `/\x` as a host.
        let led = own.iter().take_while(|b| b"/\\\t".contains(b)).count();
        let whole = [prefix.as_bytes(), b"/", &own[led..]].concat();
        HeaderValue::from_bytes(&whole).ok()
    };
    let is_end = |b: &u8| b"/\\?#".contains(b);
    let (said, rest) = match text.windows(2).position(|two| two == b"//") {
        Some(0) => (scheme.as_str().as_bytes(), &text[2..]),
        Some(at) if text[..at].ends_with(b":") && !text[..at].iter().any(is_end) => {
            (&text[..at - 1], &text[at + 2..])
        }
        _ if text.starts_with(b"/") => {
            let same = prefix.is_empty() && base.is_empty();
            return if same { None } else { below(text) };
        }
        _ => return None,
    };
    let end = rest.iter().position(is_end).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let host = Authority::try_from(host).ok()?;
    let port = |authority: &Authority, scheme: &[u8]| match authority.port_u16() {
        Some(port) => port,
        None if scheme.eq_ignore_ascii_case(b"https") => 443,
        None => 80,
    };
    // Another port of its host is another service, and an address all the same; it stays,
    // since a client may well be meant to go there.
    let own = host.host().eq_ignore_ascii_case(authority.host())
        && port(&host, said) == port(authority, scheme.as_str().as_bytes());
    if own { below(rest) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_changes_its_prefix_and_nothing_else() {
        for (target, prefix, base, there) in [
            ("/x", "", "", "/x"),
            (
                "/up/x/%C3%A4?a=1&a='2'&&b",
                "/up",
                "/v1",
                "/v1/x/%C3%A4?a=1&a='2'&&b",
            ),
            ("/up?x", "/up", "", "/?x"),
            ("/up", "/up", "/v1", "/v1"),
            ("/upper", "/up", "/v1", "/v1/upper"),
            (
                "/a%20b/%2e%2e./x;y?p=../%2f",
                "",
                "",
                "/a%20b/%2e%2e./x;y?p=../%2f",
            ),
            ("/100%25//x/", "", "", "/100%25//x/"),
            ("/%zz/{a}|'", "", "", "/%zz/{a}|'"),
        ] {
            assert_eq!(onward(target, prefix, base).unwrap().to_string(), there);
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for path in [
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/.%2E",
            "/./a",
            "/a/%2e",
            "/a\\b",
            "/a%5cb",
            "/a%5C..%5cb",
            "/a/..%2Fb",
            "/a%2f%2e%2e",
            "/a/..;x/b",
            "/%2e%2e%2fa",
            "/a%2f%2Fb",
            "/a/%2Fb",
        ] {
            let error = other_reading(path).unwrap_err();
            assert_eq!(error.status(), 400, "{path}");
        }
        for (path, other) in [
            ("/a//b/%20;x", None),
            ("/a/...", None),
            ("/a/b%2Fc%20d", Some("/a/b/c d")),
        ] {
            assert_eq!(other_reading(path).unwrap().as_deref(), other, "{path}");
        }
    }

    #[test]
    fn locations_of_the_upstream_become_ours() {
        let scheme = Scheme::HTTP;
        let authority = Authority::from_static("inner:8000");
        for (location, prefix, base, ours) in [
            (
                "http://inner:8000/v1/items/?q=1",
                "/up",
                "/v1",
                Some("/up/items/?q=1"),
            ),
            ("HTTP://INNER:8000/x#f", "", "", Some("/x#f")),
            ("https://inner:8000", "/up", "/v1", Some("/up/")),
            ("http://inner:8000/v1?x", "/up", "/v1", Some("/up/?x")),
            ("http://inner:8000/v12", "/up", "/v1", Some("/up/v12")),
            ("//inner:8000/v1/x", "/up", "/v1", Some("/up/x")),
            ("/v1/x", "/up", "/v1", Some("/up/x")),
            ("/x?next=http://inner:8000/", "", "", None),
            ("http://inner:8000//evil.com/x", "", "", Some("/evil.com/x")),
            ("//inner:8000/\\evil.com", "", "", Some("/evil.com")),
            ("http://inner:8000\\x", "", "", Some("/x")),
            ("http://inner:8000/v1/\t/x", "", "/v1", Some("/x")),
            ("/v1//evil.com", "", "/v1", Some("/evil.com")),
            ("/v1//evil.com", "/up", "/v1", Some("/up/evil.com")),
            ("x/y", "/up", "/v1", None),
            ("http://other:8000/x", "", "", None),
            ("http://inner/x", "", "", None),
            ("mailto:a@b", "", "", None),
        ] {
            let value = HeaderValue::from_static(location);
            let found = homeward(&value, (&scheme, &authority), prefix, base);
            let found = found.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(found, ours, "{location}");
        }
        let latin = HeaderValue::from_bytes(b"http://inner:8000/v1/caf\xe9").unwrap();
        let found = homeward(&latin, (&scheme, &authority), "/up", "/v1");
        assert_eq!(found.unwrap().as_bytes(), b"/up/caf\xe9");
    }

    #[test]
    fn what_systems_ask_each_other_is_known_by_any_spelling() {
        for (path, between) in [
            ("/api/v1/proxy/remote", true),
            ("/api/v1/proxy/refresh/", true),
            ("/mounted/API/v1/%70roxy/Remote;x=1", true),
            ("/api/v1;a/proxy/remote//", true),
            ("/api/v1/proxy/remotes", false),
            ("/proxy/remote", false),
        ] {
            assert_eq!(is_between_systems(path), between, "{path}");
        }
    }
}
