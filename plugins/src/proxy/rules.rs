//! Rules about paths: `/x` is that path, `/x/*` what is below it, `/*` and `*` everything.
//!
//! A rule about an operation is one about the template that its document writes, whatever its
//! parameters are called. Requests that no template stands for are held against the rules in
//! every way in which an upstream may read their path.

use std::borrow::Cow;

use framex_core::settings::Secret;
use percent_encoding::{CONTROLS, percent_decode_str, utf8_percent_encode};

use super::config::Keys;

#[cfg(test)]
mod tests;

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

    /// The same, less `paths` too.
    pub(crate) fn less(mut self, paths: &[String]) -> Self {
        self.disable
            .extend(paths.iter().map(|path| comparable(path)));
        self
    }

    /// Whether the path of a request is allowed, which no template of a document stands for.
    ///
    /// One that upstreams may read in different ways is not: see [`is_plain`]. A template of a
    /// rule stands for any path that fits.
    pub(crate) fn contains_raw(&self, path: &str) -> bool {
        let allowed =
            |path: &str| covered(&self.enable, path) || self.enable.iter().any(|r| fits(r, path));
        let refused = |path: &Cow<'_, str>| self.disable.iter().any(|rule| fits(rule, path));
        is_plain(path)
            && allowed(path)
            && allowed(&decoded(path))
            && !self.excludes(path)
            && !readings(path).iter().any(refused)
    }

    /// Whether `disable` names the path of a request, in some way of reading it. A template
    /// such as `/{section}/users` may stand for what is disabled as `/admin/*`.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        if self.disable.is_empty() {
            return false;
        }
        let mut readings = readings(path).into_iter();
        readings.any(|path| covered(&self.disable, &path))
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

    /// The key for the path of a request: of the first way of reading it that has one.
    pub(crate) fn key_for_request(&self, path: &str) -> Option<&Secret> {
        if self.0.is_empty() {
            return None;
        }
        readings(path).iter().find_map(|path| self.key_for(path))
    }
}

/// The ways in which an upstream may read `path`, first as it lies: decoded, and without what
/// some servers drop, which is `;…` at the end of segments and empty segments. A slash at the
/// end is none to many.
pub(crate) fn readings(path: &str) -> Vec<Cow<'_, str>> {
    let decoded = decoded(path);
    let bare = bare(&decoded);
    let slashed = format!("{}/", bare.trim_end_matches('/'));
    let mut all = vec![Cow::Borrowed(path)];
    for reading in [decoded, bare.into(), slashed.into()] {
        if !all.contains(&reading) {
            all.push(reading);
        }
    }
    all
}

/// A decoded path without what some servers drop, as [`readings`] has it.
pub(crate) fn bare(decoded: &str) -> String {
    let names = decoded.split('/').map(|segment| {
        let name = segment.split(';').next();
        name.unwrap_or_default()
    });
    let mut bare = String::with_capacity(decoded.len() + 1);
    for name in names.filter(|name| !name.is_empty()) {
        bare.push('/');
        bare.push_str(name);
    }
    if bare.is_empty() {
        bare.push('/');
    }
    bare
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
    let mut nameless = String::with_capacity(path.len());
    let mut left = path;
    while let Some((text, behind)) = left.split_once('{') {
        let Some((name, rest)) = behind.split_once('}') else {
            break;
        };
        nameless.push_str(text);
        nameless.push_str(if name.starts_with('*') { "{*}" } else { "{}" });
        left = rest;
    }
    nameless.push_str(left);
    utf8_percent_encode(&nameless, CONTROLS).to_string()
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

/// Whether the template or prefix `rule` stands for the path of a request.
fn fits(rule: &str, path: &str) -> bool {
    if !rule.contains('{') {
        return false;
    }
    let (rule, below) = match rule.strip_suffix("/*") {
        Some(rule) => (rule, true),
        None => (rule, false),
    };
    let path = comparable(path);
    let mut segments = path.split('/');
    let stand = rule.split('/').all(|name| {
        let has = |segment: &str| match (name.split_once('{'), name.rsplit_once('}')) {
            (Some((before, _)), Some((_, behind))) => {
                segment.len() > before.len() + behind.len()
                    && segment.starts_with(before)
                    && segment.ends_with(behind)
            }
            _ => name == segment,
        };
        segments.next().is_some_and(has)
    });
    let rest = segments.next();
    stand
        && match below {
            true => rest.is_some_and(|rest| !rest.is_empty()),
            false => rest.is_none(),
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
