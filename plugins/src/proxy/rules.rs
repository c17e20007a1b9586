//! Rules about paths: `/x` is that path, `/x/*` what is below it, `/*` and `*` everything.

use framex_core::settings::Secret;

/// What is allowed, less what is not. By default nothing is.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathRules {
    enable: Vec<String>,
    disable: Vec<String>,
}

/// Which key goes where.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRules(Vec<(String, Option<Secret>)>);

impl PathRules {
    /// Whether `path` is allowed.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let among = |rules: &[String]| rules.iter().any(|rule| covers(rule, path));
        among(&self.enable) && !among(&self.disable)
    }
}

impl KeyRules {
    /// The key for `path`: of the exact rule, else of the longest prefix.
    pub(crate) fn key_for(&self, path: &str) -> Option<&Secret> {
        let covering = self.0.iter().filter(|(rule, _)| covers(rule, path));
        let best = covering.max_by_key(|(rule, _)| (rule == path, rule.len()));
        best.and_then(|(_, key)| key.as_ref())
    }
}

fn covers(rule: &str, path: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(prefix) => {
            let below = path.len() > prefix.len() && path.starts_with(prefix);
            prefix.is_empty() || prefix == "/" || below
        }
        None => rule == path,
    }
}
