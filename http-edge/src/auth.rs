//! Keys: which routes ask for one, and whether it is right.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use framex_core::context::Principal;
use framex_core::error::Error;
use framex_core::settings::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// `auth.rules`: route templates, or prefixes that end in `/*`, with their keys.
///
/// The exact rule wins, then the longest prefix. `/x/*` covers what is below
/// `/x`, not `/x` itself. An empty list of keys lets nobody in.
#[derive(Clone, Debug, Default)]
pub struct Rules(BTreeMap<String, Arc<Keys>>);

/// The keys of one rule.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: Vec<(Secret, Principal)>,
}

/// Why rules are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A rule protects nothing.
    #[error(
        "auth.rules: `{rule}` matches no route; routes are written as templates, e.g. `/api/v1/items/{{id}}`, prefixes as `/api/v1/*`"
    )]
    NoRoute {
        /// The rule.
        rule: String,
    },
}

impl Rules {
    /// Rules as they stand in the settings.
    #[must_use]
    pub fn new(rules: &BTreeMap<String, Vec<Secret>>) -> Self {
        let named = |rule: &String, keys: &Vec<Secret>| {
            let keys = keys
                .iter()
                .map(|key| (key.clone(), principal(key, rule)))
                .collect();
            (rule.clone(), Arc::new(Keys { keys }))
        };
        Self(rules.iter().map(|(rule, keys)| named(rule, keys)).collect())
    }

    /// The rule for the route template `path`.
    pub(crate) fn of(&self, path: &str) -> Option<Arc<Keys>> {
        if let Some(keys) = self.0.get(path) {
            return Some(Arc::clone(keys));
        }
        self.0
            .iter()
            .filter(|(rule, _)| covers(rule, path))
            .max_by_key(|(rule, _)| rule.len())
            .map(|(_, keys)| Arc::clone(keys))
    }

    /// The rule for the path of a request that is passed on: as it lies, or in any other way in
    /// which an upstream may read it, without what follows `;` and slashes at its end.
    pub(crate) fn of_request(&self, path: &str) -> Option<Arc<Keys>> {
        if self.0.is_empty() {
            return None;
        }
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let names = decoded
            .split('/')
            .map(|segment| segment.split_once(';').map_or(segment, |(name, _)| name));
        let bare = names.collect::<Vec<_>>().join("/");
        let readings = [bare.trim_end_matches('/'), &bare, &decoded, path];
        let by_template = |path: &str| {
            let rules = self.0.iter();
            let mut standing = rules.filter(|(rule, _)| stands_for(rule, path));
            standing.next().map(|(_, keys)| Arc::clone(keys))
        };
        readings
            .into_iter()
            .find_map(|path| self.0.get(path).cloned().or_else(|| by_template(path)))
            .or_else(|| readings.into_iter().find_map(|path| self.of(path)))
    }

    /// The rules that protect none of `paths`.
    pub(crate) fn idle<'a>(&'a self, paths: &'a [&str]) -> impl Iterator<Item = AuthError> + 'a {
        let protects = |rule: &str, path: &str| rule == path || covers(rule, path);
        self.0
            .keys()
            .filter(move |rule| !paths.iter().any(|path| protects(rule, path)))
            .map(|rule| AuthError::NoRoute { rule: rule.clone() })
    }
}

/// Names the key, wherever it stands in its rule and on whichever edge, and not so that
/// it could be told from its name: 32 bits of its digest.
fn principal(key: &Secret, rule: &str) -> Principal {
    let digest = Sha256::digest(key.expose().as_bytes());
    let mut name = "key ".to_owned();
    for byte in &digest[..4] {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    Principal::new(&format!("{name} of {rule}"))
}

/// Whether `rule` is a template that a path could be one of.
fn stands_for(rule: &str, path: &str) -> bool {
    let (mut names, mut segments) = (rule.split('/'), path.split('/'));
    loop {
        match (names.next(), segments.next()) {
            (None, None) => return true,
            (Some(name), Some(_)) if name.starts_with("{*") => return true,
            (Some(name), Some(segment)) if name == segment || name.starts_with('{') => {}
            _ => return false,
        }
    }
}

fn covers(rule: &str, path: &str) -> bool {
    rule.strip_suffix('*').is_some_and(|prefix| {
        prefix.ends_with('/') && path.len() > prefix.len() && path.starts_with(prefix)
    })
}

impl Keys {
    /// Who is asking, by the `Authorization` header: `<key>` or `Bearer <key>`.
    ///
    /// # Errors
    ///
    /// 401; the offered key appears nowhere.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<Principal, Error> {
        let offered = headers
            .get(AUTHORIZATION)
            .map_or(&b""[..], |value| value.as_bytes());
        let bare = match offered.get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"bearer ") => offered[7..].trim_ascii(),
            _ => offered,
        };
        let mut found = None;
        // Every key is compared, so that time tells nothing about which.
        for (key, principal) in &self.keys {
            let key = key.expose().as_bytes();
            if bool::from(key.ct_eq(bare) | key.ct_eq(offered)) {
                found = Some(principal);
            }
        }
        found.cloned().ok_or_else(|| {
            Error::unauthorized(if offered.is_empty() {
                "an API key is required: send it as `Authorization: Bearer <key>`"
            } else {
                "the API key is not valid for this route"
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, &[&str])]) -> Rules {
        let rules = rules
            .iter()
            .map(|(rule, keys)| {
                (
                    (*rule).to_owned(),
                    keys.iter().map(|k| Secret::new(*k)).collect(),
                )
            })
            .collect();
        Rules::new(&rules)
    }

    fn offering(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn exact_beats_the_longest_prefix() {
        let rules = rules(&[("/a/*", &["1"]), ("/a/b/*", &["2"]), ("/a/b/c", &["3"])]);
        let opens = |path: &str, key: &str| {
            rules
                .of(path)
                .map(|keys| keys.check(&offering(key)).is_ok())
        };
        assert_eq!(opens("/a/b/c", "3"), Some(true));
        assert_eq!(opens("/a/b/c", "2"), Some(false));
        assert_eq!(opens("/a/b/d", "2"), Some(true));
        assert_eq!(opens("/a/x", "1"), Some(true));
        assert_eq!(opens("/a", "1"), None);
        assert_eq!(opens("/ab", "1"), None);
    }

    #[test]
    fn a_request_is_read_in_every_way() {
        let rules = rules(&[("/a/b", &["1"]), ("/c/*", &["2"]), ("/d/{x}/e", &["3"])]);
        for path in [
            "/d/5/e", "/d/5/e/", "/a/b", "/a/b/", "/a/b;x", "/a;y/%62", "/c/d", "/%63/d//",
        ] {
            assert!(rules.of_request(path).is_some(), "{path}");
        }
        for path in ["/a", "/a/bc", "/A/b", "/c", "/d/5", "/d/5/f"] {
            assert!(rules.of_request(path).is_none(), "{path}");
        }
    }

    #[test]
    fn keys_bare_and_bearer() {
        let keys = rules(&[("/a", &["secret", "other"])]).of("/a").unwrap();
        assert_eq!(
            keys.check(&offering("secret")).unwrap().name(),
            "key 2bb80d53 of /a"
        );
        assert_eq!(
            keys.check(&offering("Bearer other")).unwrap().name(),
            "key d9298a10 of /a"
        );
        assert!(keys.check(&offering("bearer secret")).is_ok());
        let refused = keys.check(&offering("secret2")).unwrap_err();
        assert_eq!(refused.status(), 401);
        assert!(!refused.message().contains("secret2"));
        assert!(keys.check(&HeaderMap::new()).is_err());
        let nobody = rules(&[("/a", &[])]).of("/a").unwrap();
        assert!(nobody.check(&offering("")).is_err());
    }

    #[test]
    fn a_rule_without_a_route_is_found() {
        let rules = rules(&[("/a/*", &[]), ("/b", &[])]);
        assert_eq!(rules.idle(&["/a/x", "/b"]).next(), None);
        let idle: Vec<_> = rules.idle(&["/a", "/b"]).collect();
        let rule = "/a/*".into();
        assert_eq!(idle, [AuthError::NoRoute { rule }]);
    }
}
