//! Servers: what an upstream's paths begin with. Their hosts are not followed.

use serde_json::Value;

use crate::proxy::rules::is_plain;

/// The longest URL of a server, its variables replaced.
const LONGEST: usize = 2048;

/// The path of the first server that one of `owners`, the nearest first, names; `usual` if
/// none does, or if its path is `/`.
pub(super) fn base(owners: [Option<&Value>; 3], usual: &str) -> Result<String, String> {
    let servers = owners.into_iter().flatten();
    let first = servers.filter_map(|servers| servers.get(0)).next();
    let url = match first {
        Some(server) => url(server)?,
        None => return Ok(usual.to_owned()),
    };
    let path = path(&url, usual);
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Ok(usual.to_owned());
    }
    let shown = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"{}<>\"^`|".contains(&b));
    if shown && is_plain(path) {
        Ok(path.to_owned())
    } else {
        Err(format!("`{path}`, the path of its server, is not valid"))
    }
}

/// A server's URL with the defaults of its variables, which are not looked for in each other.
fn url(server: &Value) -> Result<String, String> {
    let mut left = server["url"].as_str().unwrap_or_default();
    let mut url = String::new();
    while let Some((text, behind)) = left.split_once('{') {
        url.push_str(text);
        let variable = behind.split_once('}').and_then(|(name, behind)| {
            let default = match &server["variables"][name]["default"] {
                Value::Null => return None,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some((default, behind))
        });
        match variable {
            Some((default, behind)) => {
                url.push_str(&default);
                left = behind;
            }
            None => {
                url.push('{');
                left = behind;
            }
        }
        if url.len() > LONGEST {
            break;
        }
    }
    url.push_str(left);
    match url.len() > LONGEST {
        true => Err(format!(
            "the URL of its server has more than {LONGEST} bytes"
        )),
        false => Ok(url),
    }
}

fn path(url: &str, usual: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let behind_host = url
        .split_once("//")
        .filter(|(scheme, _)| scheme.is_empty() || scheme.ends_with(':') && !scheme.contains('/'));
    if let Some((_, rest)) = behind_host {
        return rest.find('/').map_or("", |at| &rest[at..]).to_owned();
    }
    if url.starts_with('/') {
        return url.to_owned();
    }
    let mut segments: Vec<&str> = usual.split('/').collect();
    for segment in url.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                if segments.len() > 1 {
                    segments.pop();
                }
            }
            segment => segments.push(segment),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_path_of_the_nearest_first_server() {
        let of = |url: &str| base([None, None, Some(&json!([{ "url": url }]))], "/usual");
        for (url, path) in [
            ("/", "/usual"),
            ("", "/usual"),
            ("https://example.com", "/usual"),
            ("https://example.com/", "/usual"),
            ("https://example.com/v2/", "/v2"),
            ("https://example.com:8443/a/b", "/a/b"),
            ("//example.com/v2?x=1#y", "/v2"),
            ("/v2", "/v2"),
            ("v2", "/usual/v2"),
            ("./v2/", "/usual/v2"),
            ("../v2", "/v2"),
            ("../../../v2", "/v2"),
            (".", "/usual"),
        ] {
            assert_eq!(of(url).as_deref(), Ok(path), "{url}");
        }
        for url in [
            "/{stage}/x",
            "/a//b",
            "/a/../b",
            "/a b",
            "https://h/%2e%2e/x",
        ] {
            assert!(of(url).unwrap_err().contains("not valid"), "{url}");
        }
        let near = json!([{"url": "/near"}, {"url": "/second"}]);
        let far = json!([{"url": "/far"}]);
        let empty = json!([]);
        assert_eq!(base([Some(&near), None, Some(&far)], "").unwrap(), "/near");
        assert_eq!(base([Some(&empty), None, Some(&far)], "").unwrap(), "/far");
        assert_eq!(base([None, None, None], "").unwrap(), "");
    }

    #[test]
    fn variables_have_their_defaults() {
        let servers = json!([{
            "url": "https://{host}:{port}/{stage}/v{major}",
            "variables": {
                "host": {"default": "example.com"},
                "port": {"default": "8443"},
                "stage": {"default": "live", "enum": ["live", "test"]},
                "major": {"default": 2},
            },
        }]);
        assert_eq!(base([None, None, Some(&servers)], "").unwrap(), "/live/v2");
    }

    #[test]
    fn variables_are_not_looked_for_in_each_other() {
        let of = |url: &str, variables: &Value| {
            let servers = json!([{"url": url, "variables": variables}]);
            base([None, None, Some(&servers)], "/usual")
        };
        let twice = |number: usize| format!("{{v{n}}}{{v{n}}}", n = number + 1);
        let bomb = (0..40).map(|number| (format!("v{number}"), json!({"default": twice(number)})));
        let bomb = Value::Object(bomb.collect());
        assert!(of("/{v0}", &bomb).unwrap_err().contains("{v1}{v1}"));
        let long = json!({"v": {"default": "x".repeat(100)}});
        assert_eq!(of("/{v}", &long).unwrap().len(), 101);
        assert!(
            of(&"/{v}".repeat(1_000), &long)
                .unwrap_err()
                .contains("2048")
        );
        assert!(of(&"/x".repeat(2_000), &long).unwrap_err().contains("2048"));
        for url in ["/{", "/{v", "/}{", "/{w}", "/{{v}}"] {
            assert!(of(url, &long).unwrap_err().contains("not valid"), "{url}");
        }
    }
}
