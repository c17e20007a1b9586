//! Paths on their way to an upstream, and back.

use framex_core::error::{Error, Result};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// `target`, as a client sent it, as the upstream knows it: without `prefix` and below
/// `base`. Nothing else of it changes.
///
/// # Errors
///
/// 400 if the upstream might read its path as another one's: dot segments, backslashes and
/// slashes, encoded or not, within a segment.
pub(super) fn onward(target: &str, prefix: &str, base: &str) -> Result<Uri> {
    let own = match target.strip_prefix(prefix) {
        Some(own) if own.is_empty() || own.starts_with(['/', '?']) => own,
        _ => target,
    };
    let path = own.split('?').next().unwrap_or_default();
    if let Some(reason) = path.split('/').find_map(astray) {
        let text = format!("the path has {reason}, which could lead to another one");
        return Err(Error::bad_request(text).with_code("ambiguous_path"));
    }
    let slash = if path.is_empty() && base.is_empty() {
        "/"
    } else {
        ""
    };
    let whole = format!("{base}{slash}{own}");
    let whole = PathAndQuery::from_maybe_shared(whole.into_bytes());
    match whole {
        Ok(whole) => Ok(whole.into()),
        Err(_) => Err(Error::bad_request("the path cannot be sent")),
    }
}

/// Why an upstream might not read `segment` as one segment of this name.
pub(super) fn astray(segment: &str) -> Option<&'static str> {
    let decoded: Vec<u8> = percent_decode_str(segment).collect();
    // Some servers cut `;…` off first.
    let name = decoded.split(|b| *b == b';').next().unwrap_or_default();
    match name {
        b"." | b".." => Some("a dot segment"),
        _ if decoded.contains(&b'\\') => Some("a backslash"),
        _ if decoded.contains(&b'/') => Some("an encoded slash"),
        _ => None,
    }
}

/// A `Location` of an answer, as clients can use it: what points at the upstream itself becomes
/// a path of ours. None: it can stay as it is.
pub(super) fn homeward(
    location: &HeaderValue,
    (scheme, authority): (&Scheme, &Authority),
    prefix: &str,
    base: &str,
) -> Option<HeaderValue> {
    let text = location.to_str().ok()?;
    let below = |rest: &'_ str| -> Option<HeaderValue> {
        let own = match rest.strip_prefix(base) {
            Some(own) if own.is_empty() || own.starts_with(['/', '?', '#']) => own,
            _ => rest,
        };
        let slash = if own.starts_with('/') { "" } else { "/" };
        HeaderValue::from_str(&format!("{prefix}{slash}{own}")).ok()
    };
    let (said, rest) = match text.find("//") {
        Some(0) => (scheme.as_str(), &text[2..]),
        Some(at) if text[..at].ends_with(':') && !text[..at].contains(['/', '?', '#']) => {
            (&text[..at - 1], &text[at + 2..])
        }
        _ if text.starts_with('/') => {
            let same = prefix.is_empty() && base.is_empty();
            return if same { None } else { below(text) };
        }
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let host: Authority = host.parse().ok()?;
    let port = |authority: &Authority, scheme: &str| match authority.port_u16() {
        Some(port) => port,
        None if scheme.eq_ignore_ascii_case("https") => 443,
        None => 80,
    };
    // Another port of its host is another service, and an address all the same; it stays,
    // since a client may well be meant to go there.
    let own = host.host().eq_ignore_ascii_case(authority.host())
        && port(&host, said) == port(authority, scheme.as_str());
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
            "/a%2fb",
            "/a/..%2Fb",
            "/a/..;x/b",
            "/%2e%2e%2fa",
        ] {
            let error = onward(path, "", "/base").unwrap_err();
            assert_eq!(error.status(), 400, "{path}");
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
    }
}
