//! What must not be shown, in values whose shape nobody declared.

use std::borrow::Cow;

use serde_json::Value;

/// Stands for a hidden value.
pub(crate) const MASK: &str = "********";

/// Parts of a key that mark its value as a secret.
const TELLTALES: [&str; 6] = ["key", "secret", "token", "password", "passwd", "credential"];

/// Whether a value under `key` must stay hidden.
pub(crate) fn hides(key: &str) -> bool {
    let key = key.to_lowercase();
    TELLTALES.iter().any(|telltale| key.contains(telltale))
}

/// `value` without its secrets: values whose key [`hides`], at any depth, lists of keys in an
/// `auth.rules`, and the user information of URLs, which keys may be too.
pub(crate) fn masked(value: &Value) -> Value {
    match value {
        Value::Object(table) => table
            .iter()
            .map(|(key, value)| {
                let shown = match (value, value.get("rules")) {
                    (Value::Null, _) => Value::Null,
                    _ if hides(key) => Value::from(MASK),
                    (_, Some(Value::Object(rules))) if key == "auth" => {
                        let mut shown = masked(value);
                        let rules = rules.keys().map(|rule| (rule.clone(), MASK.into()));
                        shown["rules"] = Value::Object(rules.collect());
                        shown
                    }
                    _ => masked(value),
                };
                (self::key(key).into_owned(), shown)
            })
            .collect(),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::String(text) if text.contains("://") => Value::from(urls(text)),
        other => other.clone(),
    }
}

/// The name of a value: that of a table of URLs may hold a password.
pub(crate) fn key(name: &str) -> Cow<'_, str> {
    match name.contains("://") {
        true => Cow::Owned(urls(name)),
        false => Cow::Borrowed(name),
    }
}

/// `text` with the passwords of all URLs in it hidden.
fn urls(text: &str) -> String {
    // First as one, for a password may hold a comma.
    url(text)
        .split_inclusive([',', ';', ' ', '\n'])
        .map(|piece| match piece.contains("://") {
            true => url(piece),
            false => Cow::Borrowed(piece),
        })
        .collect()
}

/// `url` without the user and what else comes before the host.
pub(crate) fn without_user(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let host = rest.rsplit('@').next().unwrap_or(rest);
    scheme + host
}

/// `url` with the password hidden. A lone user name is hidden too: NATS reads
/// it as a token.
pub(crate) fn url(url: &str) -> Cow<'_, str> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    // An unescaped `/` in a password ends the authority early. What follows the
    // colon is then no port.
    let authority = &url[start..end];
    let cut = authority
        .split_once(':')
        .is_some_and(|(_, port)| port.contains(|c: char| !c.is_ascii_digit()));
    let end = match cut && !authority.contains('@') {
        true => url.len(),
        false => end,
    };
    let Some(at) = url[start..end].rfind('@').map(|at| start + at) else {
        return Cow::Borrowed(url);
    };
    let keep = url[start..at]
        .find(':')
        .map_or(start, |colon| start + colon + 1);
    Cow::Owned(format!("{}{MASK}{}", &url[..keep], &url[at..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn urls_lose_their_password_only() {
        assert_eq!(without_user("nats://u:p@ss@host:4222"), "nats://host:4222");
        assert_eq!(without_user("tls://host"), "tls://host");
        assert_eq!(without_user("tok@host"), "host");
        assert_eq!(url("nats://host:4222"), "nats://host:4222");
        assert_eq!(url("nats://u:p@host:4222"), "nats://u:********@host:4222");
        assert_eq!(url("nats://tok@host"), "nats://********@host");
        assert_eq!(url("u:p@host"), "u:********@host");
        assert_eq!(url("nats://u:p@ss@host/x"), "nats://u:********@host/x");
        assert_eq!(url("nats://u:p/q@host"), "nats://u:********@host");
        assert_eq!(url("https://h:80/@me"), "https://h:80/@me");
        assert_eq!(
            urls("nats://u:p@a, nats://u:q@b"),
            "nats://u:********@a, nats://u:********@b"
        );
        assert_eq!(urls("nats://u:p,w@a"), "nats://u:********@a");
    }

    #[test]
    fn secrets_are_found_in_keys() {
        let value = json!({"functions": {"nats://u:p@h": ["a"]}});
        let shown = json!({"functions": {"nats://u:********@h": ["a"]}});
        assert_eq!(masked(&value), shown);
    }

    #[test]
    fn secrets_are_found_at_any_depth() {
        let value = json!({
            "ApiKey": "a", "deep": {"list": [{"db_password": "b", "size": 3}]},
            "credentials": {"x": "c"}, "token": null, "url": "https://u:d@h/",
            "auth": {"rules": {"/x/*": ["e"]}, "y": 1}, "calls": {"nats://u:f@h": ["g"]},
        });
        assert_eq!(
            masked(&value),
            json!({
                "ApiKey": MASK, "deep": {"list": [{"db_password": MASK, "size": 3}]},
                "credentials": MASK, "token": null, "url": "https://u:********@h/",
                "auth": {"rules": {"/x/*": MASK}, "y": 1},
                "calls": {"nats://u:********@h": ["g"]},
            })
        );
    }
}
