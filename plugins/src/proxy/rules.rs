//! Rules about paths: `/x` is that path, `/x/*` what is below it, `/*` and `*` everything.
//!
//! A rule about an operation is one about the template that its document writes, whatever its
//! parameters are called. Requests that no template stands for are held against the rules in
//! every way in which an upstream may read their path.

use std::borrow::Cow;

use framex_core::route::shape;
use framex_core::settings::Secret;
use percent_encoding::{CONTROLS, percent_decode_str, utf8_percent_encode};

use super::config::Keys;

/// What is allowed, less what is not. By default nothing is.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathRules {
    enable: Vec<String>,
    disable: Vec<String>,
}

/// Which key goes where.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRules(Vec<(String, Option<Secret>)>);

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}` is no rule: {reason}")]
pub(crate) struct RuleError {
    /// The rule.
    pub(crate) rule: String,
    /// What is wrong with it, and what would be right.
    pub(crate) reason: &'static str,
}

impl PathRules {
    /// What `enable` allows, less what `disable` does not.
    ///
    /// # Errors
    ///
    /// The first rule of another form than the module's.
    pub(crate) fn parse(enable: &[String], disable: &[String]) -> Result<Self, RuleError> {
        let read = |rules: &[String]| -> Result<Vec<String>, RuleError> {
            rules.iter().map(|rule| read(rule)).collect()
        };
        Ok(Self {
            enable: read(enable)?,
            disable: read(disable)?,
        })
    }

    /// Whether nothing is allowed.
    pub(crate) fn is_empty(&self) -> bool {
        self.enable.is_empty()
    }

    /// Whether `path`, as a document writes it, is allowed.
    pub(crate) fn contains(&self, path: &str) -> bool {
        covered(&self.enable, path) && !covered(&self.disable, path)
    }

    /// Whether the path of a request is allowed, which no template of a document stands for.
    ///
    /// One that upstreams may read in different ways is not: see [`is_plain`].
    pub(crate) fn contains_raw(&self, path: &str) -> bool {
        let allowed = |path: &str| covered(&self.enable, path);
        is_plain(path) && allowed(path) && allowed(&decoded(path)) && !self.excludes(path)
    }

    /// Whether `disable` names the path of a request, in some way of reading it. A template
    /// such as `/{section}/users` may stand for what is disabled as `/admin/*`.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        if self.disable.is_empty() {
            return false;
        }
        let decoded = decoded(path);
        // Some servers drop `;…` at the end of segments, and slashes at the end of paths.
        let bare: Vec<&str> = decoded
            .split('/')
            .map(|segment| segment.split_once(';').map_or(segment, |(name, _)| name))
            .collect();
        let bare = bare.join("/");
        [path, &decoded, &bare, bare.trim_end_matches('/')]
            .into_iter()
            .any(|path| covered(&self.disable, path))
    }
}

impl KeyRules {
    /// The rules of the settings. The first key of a rule counts; one without keys says that
    /// none is sent.
    ///
    /// # Errors
    ///
    /// The first rule of another form than the module's.
    pub(crate) fn parse(keys: &Keys) -> Result<Self, RuleError> {
        let rules = keys
            .rules
            .iter()
            .map(|(rule, keys)| Ok((read(rule)?, keys.first().cloned())));
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// The key for `path`: of the exact rule, else of the longest prefix.
    pub(crate) fn key_for(&self, path: &str) -> Option<&Secret> {
        let path = comparable(path);
        let covering = self.0.iter().filter(|(rule, _)| covers(rule, &path));
        let best = covering.max_by_key(|(rule, _)| (*rule == path, rule.len()));
        best.and_then(|(_, key)| key.as_ref())
    }
}

/// Whether every server reads `path` alike: it begins with `/` and has neither dot segments nor
/// empty ones, no backslashes, encoded slashes or control characters, and nothing that is encoded
/// twice. A slash at its end is fine.
pub(crate) fn is_plain(path: &str) -> bool {
    let decoded = decoded(path);
    let Some(segments) = decoded.strip_prefix('/') else {
        return false;
    };
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    let slashes = |text: &str| text.bytes().filter(|b| *b == b'/').count();
    path.starts_with('/')
        && slashes(path) == slashes(&decoded)
        && !decoded.contains(|c: char| c == '\\' || c.is_control())
        && !decoded.contains(char::REPLACEMENT_CHARACTER)
        && decoded == self::decoded(&decoded)
        && (decoded == "/"
            || segments.split('/').all(|segment| {
                let name = segment.split(';').next().unwrap_or_default();
                !matches!(name, "" | "." | "..")
            }))
}

fn decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// A path or a rule without the names of its parameters, and as requests write it.
fn comparable(path: &str) -> String {
    utf8_percent_encode(&shape(path), CONTROLS).to_string()
}

fn covered(rules: &[String], path: &str) -> bool {
    let path = comparable(path);
    rules.iter().any(|rule| covers(rule, &path))
}

/// Both have been made [`comparable`].
fn covers(rule: &str, path: &str) -> bool {
    match rule.strip_suffix('*') {
        Some("" | "/") => true,
        Some(prefix) => path.len() > prefix.len() && path.starts_with(prefix),
        None => rule == path,
    }
}

fn read(rule: &str) -> Result<String, RuleError> {
    let refuse = |reason| {
        Err(RuleError {
            rule: rule.to_owned(),
            reason,
        })
    };
    if rule == "*" {
        return Ok(rule.to_owned());
    }
    let path = rule.strip_suffix("/*").unwrap_or(rule);
    let rooted = rule.starts_with('/');
    if rule.contains("://") {
        return refuse("a rule is a path without a host, e.g. `/users/*`");
    }
    if !rooted {
        return refuse("paths begin with `/`, e.g. `/users/*`; `*` alone is everything");
    }
    if path.contains('*') {
        return refuse("`*` stands only for a whole rest, at the end behind a `/`: `/users/*`");
    }
    if path.contains(['?', '#', '\\']) || path.contains(char::is_whitespace) {
        return refuse("a rule is about a path alone, without a query, spaces or backslashes");
    }
    if path.contains("//") || path.split('/').any(|s| matches!(s, "." | "..")) {
        return refuse("it has an empty or a dot segment, which no path has that is published");
    }
    Ok(comparable(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rules: &[&str]) -> Vec<String> {
        rules.iter().map(|rule| (*rule).to_owned()).collect()
    }

    fn rules(enable: &[&str], disable: &[&str]) -> PathRules {
        PathRules::parse(&list(enable), &list(disable)).unwrap()
    }

    fn keys(rules: &[(&str, &[&str])]) -> Result<KeyRules, RuleError> {
        let secrets = |keys: &[&str]| keys.iter().map(|key| Secret::new(*key)).collect();
        KeyRules::parse(&Keys {
            rules: rules
                .iter()
                .map(|(rule, keys)| ((*rule).to_owned(), secrets(keys)))
                .collect(),
        })
    }

    #[test]
    fn each_form_covers_what_it_says() {
        for (rule, inside, outside) in [
            ("/x", &["/x"][..], &["/x/", "/x/y", "/xy", "/"][..]),
            ("/x/*", &["/x/y", "/x/y/z"], &["/x", "/x/", "/xy"]),
            ("/*", &["/", "/x", "/x/y"], &[]),
            ("*", &["/", "/x", "/x/y"], &[]),
            ("/", &["/"], &["/x"]),
            ("/x/{id}", &["/x/{id}", "/x/{item-id}"], &["/x/1"]),
            ("/x/{id}/*", &["/x/{other}/y"], &["/x/{id}"]),
            ("/café", &["/café", "/caf%C3%A9"], &["/cafe"]),
        ] {
            let rules = rules(&[rule], &[]);
            for path in inside {
                assert!(rules.contains(path), "{rule} {path}");
            }
            for path in outside {
                assert!(!rules.contains(path), "{rule} {path}");
            }
        }
        assert!(!PathRules::default().contains("/x"));
    }

    #[test]
    fn what_is_disabled_stays_so() {
        let rules = rules(&["*", "/admin/users"], &["/admin/*", "/secret"]);
        assert!(rules.contains("/users"));
        assert!(!rules.contains("/admin/users"));
        assert!(!rules.contains("/secret"));
        for path in [
            "/admin/users",
            "/%61dmin/users",
            "/admin;x=1/users",
            "/secret",
            "/secret/",
            "/secret;a",
            "/secre%74",
        ] {
            assert!(rules.excludes(path), "{path}");
            assert!(!rules.contains_raw(path), "{path}");
        }
        assert!(!rules.excludes("/public/admin"));
    }

    #[test]
    fn other_forms_are_refused_by_name() {
        for (rule, why) in [
            ("", "begin with `/`"),
            ("x", "begin with `/`"),
            ("x/*", "begin with `/`"),
            ("**", "begin with `/`"),
            ("http://a/x", "without a host"),
            ("/x*", "`/users/*`"),
            ("/*/x", "`/users/*`"),
            ("/x/**", "`/users/*`"),
            ("/x/*/*", "`/users/*`"),
            ("/x?y=1", "without a query"),
            ("/x y", "without a query"),
            ("/x//y", "empty"),
            ("/x/../y", "dot segment"),
        ] {
            let enable = PathRules::parse(&list(&["/a", rule]), &[]).unwrap_err();
            assert_eq!(enable.rule, rule);
            let text = enable.to_string();
            assert!(text.contains(&format!("`{rule}`")), "{text}");
            assert!(text.contains(why), "{text}");
            assert_eq!(PathRules::parse(&[], &list(&[rule])).unwrap_err(), enable);
            assert_eq!(keys(&[(rule, &[])]).unwrap_err(), enable);
        }
    }

    #[test]
    fn requests_without_a_template_are_read_in_every_way() {
        let all = rules(&["/*"], &[]);
        for path in [
            "/",
            "/x",
            "/x/",
            "/x/y.html",
            "/caf%C3%A9",
            "/a%20b",
            "/a;v=1/b",
            "/...",
            "/100%25",
        ] {
            assert!(all.contains_raw(path), "{path}");
        }
        for path in [
            "",
            "x",
            "*",
            "//",
            "//x",
            "/x//y",
            "/x//",
            "/.",
            "/..",
            "/x/../y",
            "/x/./y",
            "/x/..",
            "/%2e%2e/y",
            "/x/.%2E/y",
            "/x/%2e",
            "/x%2fy",
            "/x%2F..%2Fy",
            "/x\\y",
            "/x%5Cy",
            "/x%00",
            "/x%0ay",
            "/x%7f",
            "/%252e%252e/y",
            "/x%252fy",
            "/x/..;/y",
            "/x/;a/y",
            "/%ff",
        ] {
            assert!(!all.contains_raw(path), "{path}");
        }
        let some = rules(&["/public/*"], &[]);
        assert!(some.contains_raw("/public/x"));
        assert!(!some.contains_raw("/%70ublic/x"));
        assert!(!some.contains_raw("/public/%2e%2e/x"));
        assert!(!some.contains_raw("/other"));
    }

    #[test]
    fn the_exact_key_wins_then_the_longest_prefix() {
        let keys = keys(&[
            ("*", &["all"]),
            ("/a/*", &["a", "second"]),
            ("/a/b/*", &["ab"]),
            ("/a/b/c", &["abc"]),
            ("/a/b/none", &[]),
        ])
        .unwrap();
        let key = |path: &str| keys.key_for(path).map(Secret::expose);
        assert_eq!(key("/x"), Some("all"));
        assert_eq!(key("/a"), Some("all"));
        assert_eq!(key("/a/x"), Some("a"));
        assert_eq!(key("/a/b/x"), Some("ab"));
        assert_eq!(key("/a/b/c"), Some("abc"));
        assert_eq!(key("/a/b/none"), None);
        assert_eq!(KeyRules::default().key_for("/x").map(Secret::expose), None);
    }
}
