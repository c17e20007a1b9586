//! What a document knows: every operation of it, published or not, by the requests that mean it.
//!
//! A template such as `/items/{id}` stands for `/items/secret` as well, which the document may
//! describe as another operation. Requests are held against all of them, as the least strict
//! upstream would read them: without regard to upper and lower case, what is behind `;` in a
//! segment, and a slash at the end.

use std::collections::HashMap;

use http::Method;
use percent_encoding::percent_decode_str;

/// The longest path that is looked at, in segments.
pub(super) const DEEPEST: usize = 64;

/// The operations of a document.
#[derive(Debug, Default)]
pub(crate) struct Known {
    root: Node,
}

/// An operation that a request means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    /// Its path, as [`Shape::path`](crate::proxy::operation::Shape::path) has it.
    pub(crate) template: String,
    /// Whether it is only for those who have a key.
    pub(crate) guarded: bool,
    /// Whether it is published at all.
    pub(crate) published: bool,
}

/// Everything below one beginning of paths.
#[derive(Debug, Default)]
struct Node {
    /// By the segment in lower case; those that differ in case only are one list.
    literals: HashMap<String, Vec<(String, Node)>>,
    /// Segments that are partly parameters, such as `{name}.json`: those that say more first.
    mixed: Vec<(Vec<String>, Node)>,
    parameter: Option<Box<Node>>,
    /// What takes all of the rest.
    rest: HashMap<Method, Meant>,
    /// What ends here.
    here: HashMap<Method, Meant>,
}

impl Known {
    /// Adds an operation at `path`, as templates of documents are written; with `rest` its last
    /// parameter takes all segments that are left. Of two that mean the same requests the first
    /// counts, and whether either is guarded.
    pub(super) fn add(&mut self, method: Method, path: &str, rest: bool, meant: Meant) {
        let mut segments: Vec<&str> = path.split('/').skip(1).collect();
        if segments.len() > DEEPEST {
            return;
        }
        if rest {
            segments.pop();
        }
        let node = segments
            .into_iter()
            .fold(&mut self.root, |node, segment| node.below(segment));
        let place = if rest { &mut node.rest } else { &mut node.here };
        let guarded = meant.guarded;
        place.entry(method).or_insert(meant).guarded |= guarded;
    }

    /// The operation that a request with `method` and the decoded path `path` means: of all
    /// whose templates stand for it, the most precise one. `HEAD` means `GET` where there is
    /// no other.
    pub(crate) fn meant(&self, method: &Method, path: &str) -> Option<&Meant> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        self.root.find(method, &segments)
    }
}

impl Node {
    fn below(&mut self, segment: &str) -> &mut Node {
        if !segment.contains('{') {
            let text = percent_decode_str(segment).decode_utf8_lossy();
            let alike = self.literals.entry(text.to_lowercase()).or_default();
            let at = alike.iter().position(|(own, _)| *own == text);
            let at = at.unwrap_or_else(|| {
                alike.push((text.into_owned(), Node::default()));
                alike.len() - 1
            });
            return &mut alike[at].1;
        }
        let texts = texts(segment);
        if texts.iter().all(String::is_empty) {
            return self.parameter.get_or_insert_default();
        }
        let length = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let at = self.mixed.iter().position(|(own, _)| *own == texts);
        let at = at.unwrap_or_else(|| {
            let more = |(own, _): &(Vec<String>, Node)| length(own) >= length(&texts);
            let at = self.mixed.partition_point(more);
            self.mixed.insert(at, (texts, Node::default()));
            at
        });
        &mut self.mixed[at].1
    }

    /// No deeper than the templates are, and nowhere twice.
    fn find(&self, method: &Method, segments: &[&str]) -> Option<&Meant> {
        let Some((segment, left)) = segments.split_first() else {
            return with(&self.here, method).or_else(|| {
                let (_, slash) = self.literals.get("")?.first()?;
                with(&slash.here, method)
            });
        };
        let name = segment.split(';').next().unwrap_or_default();
        self.alike(segment)
            .chain(self.alike(name).filter(|_| name.len() < segment.len()))
            .chain(self.mixed.iter().filter_map(|(texts, node)| {
                let low = segment.to_lowercase();
                (is_made_of(&low, texts) || is_made_of(&name.to_lowercase(), texts)).then_some(node)
            }))
            .chain(self.parameter.as_deref().filter(|_| !segment.is_empty()))
            .find_map(|node| node.find(method, left))
            .or_else(|| {
                let at_end = segments == [""];
                with(&self.here, method).filter(|_| at_end)
            })
            .or_else(|| with(&self.rest, method))
    }

    /// Below `segment`, and below those that differ from it in case only.
    fn alike(&self, segment: &str) -> impl Iterator<Item = &Node> {
        let alike = self.literals.get(&segment.to_lowercase());
        let all = alike.into_iter().flatten();
        let own = all.clone().filter(move |(text, _)| text == segment);
        let others = all.filter(move |(text, _)| text != segment);
        own.chain(others).map(|(_, node)| node)
    }
}

fn with<'m>(operations: &'m HashMap<Method, Meant>, method: &Method) -> Option<&'m Meant> {
    let get = || operations.get(&Method::GET);
    let found = operations.get(method);
    found.or_else(|| get().filter(|_| method == Method::HEAD))
}

/// What stands before, between and behind the parameters of a segment, in lower case.
fn texts(segment: &str) -> Vec<String> {
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    let mut texts = Vec::new();
    let mut left = &*decoded;
    while let Some((text, behind)) = left.split_once('{') {
        texts.push(text.to_lowercase());
        left = behind.split_once('}').map_or("", |(_, left)| left);
    }
    texts.push(left.to_lowercase());
    texts
}

/// Whether there is something between `texts` in `segment` wherever a parameter is.
fn is_made_of(segment: &str, texts: &[String]) -> bool {
    let Some(([first, between @ ..], last)) = texts.split_last().map(|(last, all)| (all, last))
    else {
        return false;
    };
    let Some(mut left) = segment.strip_prefix(&**first) else {
        return false;
    };
    for text in between {
        let mut behind = left.chars();
        behind.next();
        let Some((_, next)) = behind.as_str().split_once(&**text) else {
            return false;
        };
        left = next;
    }
    left.len() > last.len() && left.ends_with(&**last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(paths: &[&str]) -> Known {
        let mut known = Known::default();
        for path in paths {
            let (method, path) = path.split_once(' ').unwrap();
            let meant = Meant {
                template: path.to_owned(),
                guarded: false,
                published: true,
            };
            let rest = path.ends_with("rest}");
            known.add(method.parse().unwrap(), path, rest, meant);
        }
        known
    }

    #[test]
    fn the_most_precise_of_all_templates_counts() {
        let known = known(&[
            "GET /",
            "GET /items/{id}",
            "GET /items/secret",
            "POST /items/Report",
            "GET /items/{id}/parts",
            "GET /items/secret/{part}",
            "GET /items/{name}.json",
            "GET /items/{name}.tar.json",
            "GET /items/{a}-{b}",
            "GET /caf%C3%A9/{id}",
            "GET /users/",
            "GET /Users/{id}",
            "GET /a/B",
            "GET /a/b",
            "GET /files/{rest}",
            "GET /files/private/{x}",
            "GET /{x}/y/z",
        ]);
        for (request, template) in [
            ("GET /", "/"),
            ("GET /items/1", "/items/{id}"),
            ("GET /items/secret", "/items/secret"),
            ("HEAD /items/secret", "/items/secret"),
            ("GET /items/SECRET", "/items/secret"),
            ("GET /items/secret;v=1", "/items/secret"),
            ("GET /items/secret/", "/items/secret"),
            ("GET /Items/Secret;a/;b", "/items/secret/{part}"),
            ("GET /items/report", "/items/{id}"),
            ("POST /items/report", "/items/Report"),
            // The more precise one leads nowhere.
            ("GET /items/secret/parts", "/items/secret/{part}"),
            ("GET /items/1/parts", "/items/{id}/parts"),
            ("GET /items/y/z", "/{x}/y/z"),
            ("GET /files/y/z", "/files/{rest}"),
            ("GET /other/y/z", "/{x}/y/z"),
            ("GET /items/a.json", "/items/{name}.json"),
            ("GET /items/a.TAR.json", "/items/{name}.tar.json"),
            ("GET /items/.json", "/items/{id}"),
            ("GET /items/a-b", "/items/{a}-{b}"),
            ("GET /items/a-", "/items/{id}"),
            ("GET /café/1", "/caf%C3%A9/{id}"),
            ("GET /users", "/users/"),
            ("GET /users/7", "/Users/{id}"),
            ("GET /a/b", "/a/b"),
            ("GET /a/B", "/a/B"),
            ("GET /files/a/b/c", "/files/{rest}"),
            ("GET /files/private/x", "/files/private/{x}"),
            ("GET /files/private/x/y", "/files/{rest}"),
            ("DELETE /items/secret", ""),
            ("GET /items//", ""),
            ("GET /nowhere", ""),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            let meant = known.meant(&method.parse().unwrap(), path);
            let found = meant.map_or("", |meant| &meant.template);
            assert_eq!(found, template, "{request}");
        }
    }

    #[test]
    fn of_two_that_are_the_same_either_may_guard() {
        let mut known = known(&["GET /a/{x}"]);
        let meant = Meant {
            template: "/a/{y}".into(),
            guarded: true,
            published: true,
        };
        known.add(Method::GET, "/a/{y}", false, meant);
        let meant = known.meant(&Method::GET, "/a/1").unwrap();
        assert_eq!((&*meant.template, meant.guarded), ("/a/{x}", true));
    }

    #[test]
    fn endless_paths_are_nobodys() {
        let long = "/a".repeat(100_000);
        let known = known(&[&format!("GET {long}"), "GET /a/a"]);
        assert_eq!(known.meant(&Method::GET, &long), None);
        assert_eq!(known.root.literals["a"][0].1.literals.len(), 1);
    }
}
