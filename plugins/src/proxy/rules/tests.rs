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
        ("/x/{id}.a", &["/x/{n}.a"], &["/x/{id}", "/x/{id}.b"]),
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
    let rules = rules.less(&list(&["/openapi.json", "/{a}|"]));
    assert!(!rules.contains("/openapi.json") && rules.excludes("/openapi%2ejson/"));
}

#[test]
fn a_template_that_is_disabled_is_no_path_of_a_request() {
    let rules = rules(&["*"], &["/users/{id}", "/a/{b}/*", "/f/{n}.key"]);
    for (path, allowed) in [
        ("/users", true),
        ("/users/5", false),
        ("/users/5/", false),
        ("/%75sers/5", false),
        ("/users/5;x", false),
        ("/users/5/x", true),
        ("/a/b", true),
        ("/a/b/c", false),
        ("/a/b/c/d", false),
        ("/f/x.key", false),
        ("/f/x.json", true),
    ] {
        assert_eq!(rules.contains_raw(path), allowed, "{path}");
        assert!(!rules.excludes(path), "another template may have {path}");
    }
}

#[test]
fn a_template_that_is_enabled_is_all_its_paths() {
    let rules = rules(&["/users/{id}", "/a/{b}/*"], &["/users/me"]);
    for (path, allowed) in [
        ("/users", false),
        ("/users/5", true),
        ("/users/me", false),
        ("/users/%6de", false),
        ("/users/5/x", false),
        ("/a/b", false),
        ("/a/b/c/d", true),
    ] {
        assert_eq!(rules.contains_raw(path), allowed, "{path}");
    }
}

#[test]
fn a_path_is_read_in_the_ways_of_servers() {
    for (path, read) in [
        ("/a/b", &["/a/b", "/a/b/"][..]),
        ("/a/", &["/a/", "/a"]),
        ("/", &["/"]),
        (
            "/%61;x=1/b/",
            &["/%61;x=1/b/", "/a;x=1/b/", "/a/b", "/a/b/"],
        ),
        ("/a//b", &["/a//b", "/a/b", "/a/b/"]),
    ] {
        assert_eq!(readings(path), read, "{path}");
    }
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
    let some = self::keys(&[("/a/b", &["ab"])]).unwrap();
    for path in ["/a/b", "/a/b/", "/a/b;x", "/%61/b", "/a/%62;x/"] {
        let key = some.key_for_request(path).map(Secret::expose);
        assert_eq!(key, Some("ab"), "{path}");
    }
    assert!(some.key_for_request("/a/b/c").is_none());
}
