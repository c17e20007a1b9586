//! Path templates, as far as a macro can check them.
//!
//! `framex_core::route` has the same rules and the last word, when the process
//! starts; the macro does not depend on it, which would make every build wait.

const API_PREFIX: &str = "/api/v1";

/// A path template that was read.
pub(crate) struct Template {
    /// The whole path, with `{}` in place of the parameters' names: equal for
    /// routes that answer the same requests.
    pub(crate) shape: String,
    /// The parameters' names, in order.
    pub(crate) names: Vec<String>,
}

/// Reads the route that an author wrote as `path`.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn read(path: &str, prefix: bool) -> Result<Template, String> {
    if path.is_empty() || path == "/" && prefix {
        return Err("it is empty; write e.g. `/echo`".into());
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
    let mut names: Vec<String> = Vec::new();
    let mut shape = String::new();
    let segments: Vec<&str> = full.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        if segment.is_empty() && segments.len() > 1 {
            return Err("it has an empty segment (`//` or a `/` at the end)".into());
        }
        if segment
            .bytes()
            .any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || matches!(b, b'?' | b'#'))
        {
            return Err("it has a space, `?` or `#`".into());
        }
        shape.push('/');
        let Some(inner) = segment.strip_prefix('{') else {
            if segment.contains(['{', '}']) {
                return Err(format!(
                    "`{segment}` mixes text and a parameter; a parameter is a whole segment: `{{name}}`"
                ));
            }
            shape.push_str(segment);
            continue;
        };
        let Some(name) = inner.strip_suffix('}') else {
            return Err(format!("`{segment}` has no closing brace at its end"));
        };
        let (name, rest) = match (name.strip_prefix('*'), name.strip_suffix(":path")) {
            (Some(name), _) | (None, Some(name)) => (name, true),
            (None, None) => (name, false),
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
        shape.push_str(if rest { "{*}" } else { "{}" });
        names.push(name.to_owned());
    }
    Ok(Template { shape, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_answer_the_same_have_one_shape() {
        let shape = |path| read(path, true).unwrap().shape;
        assert_eq!(shape("items/{id}"), "/api/v1/items/{}");
        assert_eq!(shape("/items/{id}"), shape("/api/v1/items/{other}"));
        assert_eq!(shape("/f/{p:path}"), shape("/f/{*q}"));
        assert_eq!(read("/", false).unwrap().shape, "/");
    }

    #[test]
    fn unusable_templates_are_refused() {
        for path in [
            "", "/", "//", "/a//b", "/a/", "/{}", "/{a", "/a}", "/x{a}", "/{a}/{a}", "/{*a}/b",
            "/a b", "/{1a}", "/{:path}",
        ] {
            assert!(read(path, true).is_err(), "{path}");
        }
    }
}
