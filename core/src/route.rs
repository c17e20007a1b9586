//! Routes: where an API stands on the HTTP edge.

use http::Method;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Every route of a plugin starts with this, unless it says `api_prefix = false`.
pub const API_PREFIX: &str = "/api/v1";

/// A method and a path template, e.g. `GET /api/v1/items/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The HTTP method.
    #[serde(serialize_with = "write_method")]
    pub method: Method,
    /// The whole path with its prefix. `{name}` stands for one segment,
    /// `{*name}` for the rest of the path.
    pub path: String,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// Why a path template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the route `{path}` is not valid: {reason}")]
pub struct InvalidRoute {
    /// The template as it was written.
    pub path: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

/// The whole path of a route that an author wrote as `path`.
///
/// `echo`, `/echo` and `/api/v1/echo` all mean `/api/v1/echo`; with `prefix`
/// off the path stays as it is. `{name:path}` is read as `{*name}`.
///
/// # Errors
///
/// [`InvalidRoute`] for an empty path, an empty segment, a `/` at the end, an unbalanced or
/// empty brace, a name used twice, or a rest parameter that is not the last segment.
pub fn full_path(path: &str, prefix: bool) -> Result<String, InvalidRoute> {
    let invalid = |reason: String| InvalidRoute {
        path: path.to_owned(),
        reason,
    };
    if path.is_empty() || path == "/" && prefix {
        return Err(invalid("it is empty; write e.g. `/echo`".into()));
    }
    let rooted = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let prefixed = rooted == API_PREFIX
        || rooted
            .strip_prefix(API_PREFIX)
            .is_some_and(|rest| rest.starts_with('/'));
    let full = if prefix && !prefixed {
        format!("{API_PREFIX}{rooted}")
    } else {
        rooted
    };
    let full = normalise_rest(&full);
    if full.len() > 1 && full.ends_with('/') {
        return Err(invalid("it has a `/` at its end".into()));
    }
    parameters(&full).map_err(invalid)?;
    Ok(full)
}

/// The names of a template's parameters, in order. It may end in `/`, as paths of other
/// services do.
///
/// # Errors
///
/// What is wrong with the template.
pub fn parameters(path: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        if segment.is_empty() && !last {
            return Err("it has an empty segment (`//`)".into());
        }
        if segment
            .bytes()
            .any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || matches!(b, b'?' | b'#'))
        {
            return Err("it has a space, `?` or `#`".into());
        }
        let Some(inner) = segment.strip_prefix('{') else {
            if segment.contains(['{', '}']) {
                return Err(format!(
                    "`{segment}` mixes text and a parameter; a parameter is a whole segment: `{{name}}`"
                ));
            }
            continue;
        };
        let Some(name) = inner.strip_suffix('}') else {
            return Err(format!("`{segment}` has no closing brace at its end"));
        };
        let (name, rest) = match name.strip_prefix('*') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if !valid {
            return Err(format!(
                "`{segment}` does not name a parameter; write e.g. `{{id}}`"
            ));
        }
        if rest && !last {
            return Err(format!(
                "`{segment}` takes the rest of the path, so it must come last"
            ));
        }
        if names.iter().any(|seen| seen == name) {
            return Err(format!("the parameter `{name}` appears twice"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// `{name:path}`, FrameX's spelling, becomes `{*name}`.
fn normalise_rest(path: &str) -> String {
    path.split('/')
        .map(|segment| {
            segment
                .strip_prefix('{')
                .and_then(|s| s.strip_suffix(":path}"))
                .map_or_else(|| segment.to_owned(), |name| format!("{{*{name}}}"))
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn write_method<S: Serializer>(method: &Method, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(method.as_str())
}

/// From `{"method": "GET", "path": "/x"}`, or `GET /x` as one text.
impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a route: `GET /api/v1/echo`, or an object with `method` and `path`"
        )]
        enum Written {
            Text(String),
            Parts { method: String, path: String },
        }

        let (method, path) = match Written::deserialize(input)? {
            Written::Parts { method, path } => (method, path),
            Written::Text(text) => match text.split_once(' ') {
                Some((method, path)) if path.starts_with('/') => {
                    (method.to_owned(), path.to_owned())
                }
                _ => {
                    return Err(de::Error::custom(format_args!(
                        "`{text}` is no route; write e.g. `GET /api/v1/echo`"
                    )));
                }
            },
        };
        let method = method
            .parse()
            .map_err(|_| de::Error::custom(format_args!("`{method}` is no HTTP method")))?;
        Ok(Self { method, path })
    }
}

/// The template `path` without the names of its parameters: two templates of one
/// shape mean the same requests.
#[must_use]
pub fn shape(path: &str) -> String {
    path.split('/').map(kind).collect::<Vec<_>>().join("/")
}

/// Whether two templates have the same [`shape`].
#[must_use]
pub fn same_shape(one: &str, other: &str) -> bool {
    one.split('/').map(kind).eq(other.split('/').map(kind))
}

/// A segment without the name of its parameter.
fn kind(segment: &str) -> &str {
    match segment.strip_prefix('{') {
        Some(rest) if rest.starts_with('*') => "{*}",
        Some(_) => "{}",
        None => segment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_added_once() {
        for path in ["echo", "/echo", "/api/v1/echo"] {
            assert_eq!(full_path(path, true).unwrap(), "/api/v1/echo");
        }
        assert_eq!(full_path("/api/v1x", true).unwrap(), "/api/v1/api/v1x");
        assert_eq!(full_path("/plain", false).unwrap(), "/plain");
        assert_eq!(full_path("/", false).unwrap(), "/");
    }

    #[test]
    fn parameters_are_named_in_order() {
        assert_eq!(
            parameters("/a/{b}/c/{*d}").unwrap(),
            ["b".to_owned(), "d".to_owned()]
        );
        assert_eq!(full_path("/f/{p:path}", true).unwrap(), "/api/v1/f/{*p}");
    }

    #[test]
    fn unusable_templates_are_refused() {
        for path in [
            "", "/", "//", "/a//b", "/a/", "/{}", "/{a", "/a}", "/x{a}", "/{a}/{a}", "/{*a}/b",
            "/a b", "/{1a}",
        ] {
            assert!(full_path(path, true).is_err(), "{path}");
        }
        for path in ["/a//b", "//", "/{a", "/{*a}/"] {
            assert!(parameters(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_slash_at_the_end_is_for_others() {
        assert!(full_path("/users/", false).is_err());
        assert_eq!(parameters("/users/{id}/").unwrap(), ["id".to_owned()]);
        assert_ne!(shape("/users/"), shape("/users"));
    }

    #[test]
    fn a_shape_has_no_names() {
        assert_eq!(shape("/a/{b}/{*c}"), "/a/{}/{*}");
        assert_eq!(shape("/a/{x}/b"), shape("/a/{y}/b"));
    }
}
