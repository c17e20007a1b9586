//! Names of operations: the same document gives the same ones, whatever is published of it.

use std::collections::{HashMap, HashSet};

/// The longest name.
const LONGEST: usize = 120;

/// Names for operations, each given by its method, its path and its `operationId`.
///
/// An id that several operations have names none of them: those, and operations without one,
/// are named by method and path.
pub(super) fn names(operations: &[(String, &str, Option<&str>)]) -> Vec<String> {
    let ids: Vec<Option<String>> = operations
        .iter()
        .map(|(_, _, id)| id.map(identifier).filter(|id| !id.is_empty()))
        .collect();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for id in ids.iter().flatten() {
        *uses.entry(id).or_default() += 1;
    }
    let own = |id: &Option<String>| id.clone().filter(|id| uses[id.as_str()] == 1);
    let own: Vec<Option<String>> = ids.iter().map(own).collect();
    let mut taken: HashSet<String> = own.iter().flatten().cloned().collect();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let named = operations.iter().zip(own).map(|((method, path, _), own)| {
        own.unwrap_or_else(|| {
            let wanted = plain(&format!("{}_{path}", method.to_ascii_lowercase()));
            let mut name = wanted.clone();
            let number = numbers.entry(wanted.clone()).or_insert(1);
            while !taken.insert(name.clone()) {
                *number += 1;
                name = format!("{wanted}_{number}");
            }
            name
        })
    });
    named.collect()
}

/// An `operationId` as it stands, if it can.
fn identifier(id: &str) -> String {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match id.len() <= LONGEST && id.bytes().all(letter) {
        true => id.to_owned(),
        false => plain(id),
    }
}

/// `text` in letters, digits and single `_`.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            plain.push(c);
        } else if !plain.ends_with('_') {
            plain.push('_');
        }
        if plain.len() == LONGEST {
            break;
        }
    }
    plain.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_no_identifiers_name_nothing() {
        let operations = [
            ("GET", "/a", Some("list-users")),
            ("GET", "/b", Some("many")),
            ("POST", "/b", Some("many")),
            ("GET", "/items/{item_id}", None),
            ("GET", "/items/{item-id}", Some("列表")),
            ("GET", "/", None),
            ("PUT", "/c", Some("get_b")),
            ("GET", "/d", Some("fetch_response")),
            ("GET", "/e", Some("read_e__get")),
        ];
        let operations: Vec<_> = operations
            .into_iter()
            .map(|(method, path, id)| (method.to_owned(), path, id))
            .collect();
        assert_eq!(
            names(&operations),
            [
                "list_users",
                "get_b_2",
                "post_b",
                "get_items_item_id",
                "get_items_item_id_2",
                "get",
                "get_b",
                "fetch_response",
                "read_e__get",
            ]
        );
    }

    #[test]
    fn long_names_stay_apart() {
        let long = "x".repeat(500);
        let (a, b) = (format!("{long}a"), format!("{long}b"));
        let operations = [
            ("GET".to_owned(), "/a", Some(&*a)),
            ("GET".to_owned(), "/b", Some(&*b)),
        ];
        assert_eq!(names(&operations), ["get_a", "get_b"]);
    }
}
