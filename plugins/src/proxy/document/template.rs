//! Templates: paths of documents as routes are written.

use framex_core::route;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::proxy::rules::is_plain;

/// Requests have everything else encoded.
const NOT_ASCII: &AsciiSet = CONTROLS;

/// The path of a document, with names of parameters that routes can have.
#[derive(Debug, PartialEq)]
pub(super) struct Template {
    pub(super) path: String,
    /// The parameters: what the document calls them, and what they are called here.
    pub(super) names: Vec<(String, String)>,
}

impl Template {
    /// The path, whose last parameter takes the rest of it if it stands at the end.
    pub(super) fn with_rest(&self) -> String {
        match self.names.last() {
            Some((_, name)) => match self.path.strip_suffix(&format!("{{{name}}}")) {
                Some(start) => format!("{start}{{*{name}}}"),
                None => self.path.clone(),
            },
            None => self.path.clone(),
        }
    }
}

/// Reads `path`.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn read(path: &str) -> Result<Template, String> {
    if !is_plain(path) {
        return Err("its path does not begin with `/`, or has segments that change it".into());
    }
    let mut names = Vec::new();
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| {
            let inner = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            match inner.filter(|name| !name.is_empty() && !name.contains(['{', '}'])) {
                Some(name) => {
                    let shown = identifier(name);
                    let segment = format!("{{{shown}}}");
                    names.push((name.to_owned(), shown));
                    segment
                }
                None => utf8_percent_encode(segment, NOT_ASCII).to_string(),
            }
        })
        .collect();
    let path = segments.join("/");
    route::parameters(&path)?;
    Ok(Template { path, names })
}

/// `name` in the characters that a route's parameters have.
fn identifier(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if shown.starts_with(|c: char| c.is_ascii_digit()) {
        shown.insert(0, '_');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_get_names_that_routes_can_have() {
        for (path, shown) in [
            ("/", "/"),
            ("/users/", "/users/"),
            ("/items/{item_id}", "/items/{item_id}"),
            ("/items/{item-id}/{1}", "/items/{item_id}/{_1}"),
            ("/café/{user.id}", "/caf%C3%A9/{user_id}"),
            ("/a:b/c.json", "/a:b/c.json"),
        ] {
            assert_eq!(read(path).unwrap().path, shown);
        }
        let rest = |path: &str| read(path).unwrap().with_rest();
        assert_eq!(rest("/a/{b}/{c-d}"), "/a/{b}/{*c_d}");
        assert_eq!(rest("/a/{b}/c"), "/a/{b}/c");
        assert_eq!(rest("/a"), "/a");
        let names = read("/items/{item-id}").unwrap().names;
        assert_eq!(names, [("item-id".to_owned(), "item_id".to_owned())]);
    }

    #[test]
    fn others_are_refused() {
        for path in [
            "",
            "x",
            "//",
            "/a//b",
            "/../a",
            "/a?b=1",
            "/a#b",
            "/a b",
            "/{}",
            "/{a",
            "/{a}.json",
            "/{a}-{b}",
            "/{a}/{a}",
            "/x/{a-b}/{a_b}",
            "/a%2fb",
        ] {
            assert!(read(path).is_err(), "{path}");
        }
    }
}
