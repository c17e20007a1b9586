use serde_json::{Value, json};

use super::*;

fn all(config: Value) -> Result<Vec<Arc<Upstream>>, String> {
    let config: ProxyConfig = serde_json::from_value(config).map_err(|e| e.to_string())?;
    Upstream::all(&config).map_err(|error| error.to_string())
}

#[test]
fn a_list_takes_the_white_list() {
    let found = all(json!({
        "proxy_urls": ["http://127.0.0.1:9000/"],
        "force_stream_apis": ["/api/v1/chat/stream"],
        "white_list": ["/*"],
        "timeout": 600,
    }))
    .unwrap();
    let [one] = &found[..] else { panic!() };
    assert_eq!((one.authority.as_str(), &*one.path), ("127.0.0.1:9000", ""));
    assert_eq!(one.docs, ["/api/v1/openapi.json", "/openapi.json"]);
    assert_eq!(one.name, "upstream_1");
    assert!(one.published.contains("/x") && one.streams.contains("/api/v1/chat/stream"));
    assert_eq!(one.timeout, Duration::from_secs(600));
    let bare = all(json!({"proxy_urls": ["http://a"]})).unwrap();
    assert!(
        !bare[0].published.contains("/x"),
        "nothing is published unasked"
    );
}

#[test]
fn what_is_enabled_where_nobody_says() {
    let url = "http://a";
    for (config, published) in [
        (json!({"proxy_urls": [url]}), false),
        (json!({"proxy_urls": {url: {}}}), true),
        (json!({"proxy_urls": {url: {"enable": []}}}), false),
        (json!({"proxy_urls": {url: {}}, "white_list": []}), false),
        (
            json!({"proxy_urls": {url: {}}, "white_list": ["/y"]}),
            false,
        ),
        (json!({"proxy_urls": [url], "white_list": ["/x"]}), true),
    ] {
        let found = all(config.clone()).unwrap();
        assert_eq!(found[0].published.contains("/x"), published, "{config}");
    }
}

#[test]
fn what_is_meant_for_others_is_accepted() {
    let config = json!({"ingress_config": {
        "max_ongoing_requests": 60, "num_replicas": 2, "autoscaling_config": {"min_replicas": 1},
    }});
    let config: ProxyConfig = serde_json::from_value(config).unwrap();
    assert_eq!(config.ingress_config.max_ongoing_requests, 60);
    let others: Vec<_> = config.ingress_config.others.into_keys().collect();
    assert_eq!(others, ["autoscaling_config", "num_replicas"]);
}

#[test]
fn a_table_says_more_of_each() {
    let found = all(json!({
        "proxy_urls": {
            "https://b:1/svc/": {"name": "b", "enable": ["/a/*"], "disable": ["/a/b"],
                "docs_path": "/docs.yaml", "public": ["/a/c"], "prefix": "/b/", "timeout": "5s"},
            "http://a:2": {"enable": ["*"]},
        },
        "white_list": [],
        "auth": {"rules": {"/a/*": ["k"]}},
    }))
    .unwrap();
    let b = &found[1];
    assert_eq!((&*b.name, &*b.path, &*b.prefix), ("b", "/svc", "/b"));
    assert_eq!(b.docs, ["/docs.yaml"]);
    assert!(b.published.contains("/a/x") && !b.published.contains("/a/b"));
    assert!(b.keys.key_for("/a/x").is_some() && b.public.contains("/a/c"));
    assert_eq!(b.timeout, Duration::from_secs(5));
    assert_eq!((b.own_path("/b/x"), b.own_path("/bx")), (Some("/x"), None));
}

#[test]
fn names_are_numbers_in_the_order_of_urls() {
    let config: ProxyConfig = serde_json::from_value(json!({
        "proxy_urls": {"http://c": {}, "http://a": {}, "http://b": {"name": "b"}},
        "proxy_functions": {"http://c/": ["f"], "nats://u:s3cret@d:1/?namespace=x": ["g"]},
    }))
    .unwrap();
    let all = Upstream::all(&config).unwrap();
    let names: Vec<&str> = all.iter().map(|upstream| &*upstream.name).collect();
    assert_eq!(names, ["upstream_1", "b", "upstream_3"]);
    let sites = Site::all(&all, &config).split_off(3);
    let sites = sites
        .iter()
        .map(|place| (place.authority.host(), &*place.name));
    assert_eq!(
        sites.collect::<Vec<_>>(),
        [("c", "upstream_3"), ("d", "upstream_5")]
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (config, named) in [
        (
            json!({"proxy_urls": ["ftp://a"]}),
            "proxy_urls.\"ftp://a\": write `http",
        ),
        (
            json!({"proxy_urls": ["http://u:secret@a"]}),
            "proxy_urls.\"http://…@a\"",
        ),
        (json!({"proxy_urls": ["http://a?b"]}), "a query"),
        (
            json!({"proxy_urls": {"http://a": {"name": "A b"}}}),
            ".name: `A b`",
        ),
        (
            json!({"proxy_urls": {"http://a": {"enable": ["/x*"]}}}),
            ".enable: `/x*`",
        ),
        (
            json!({"proxy_urls": {"http://a": {"disable": ["/x*"]}}}),
            ".disable: `/x*`",
        ),
        (
            json!({"proxy_urls": ["http://a"], "white_list": ["/x*"]}),
            "`white_list`: `/x*`",
        ),
        (
            json!({"proxy_urls": {"http://a": {"prefix": "x"}}}),
            ".prefix: `x`",
        ),
        (
            json!({"proxy_urls": {"http://a": {"docs_path": "x"}}}),
            ".docs_path: `x`",
        ),
        (
            json!({"proxy_urls": {"http://a": {"enabled": []}}}),
            "unknown field `enabled`",
        ),
        (json!({"proxy_urls": 1}), "a list of URLs"),
        (json!({"proxy_urls": ["http://a/#x"]}), "fragment"),
        (json!({"proxy_urls": ["http://a:99999"]}), "its port"),
        (json!({"proxy_urls": ["http://a:0"]}), "its port"),
        (json!({"proxy_urls": ["http://a:"]}), "its port"),
        (json!({"timeout": 0}), "timeout: 0"),
        (json!({"refresh": "0s"}), "refresh: 0"),
        (
            json!({"ingress_config": {"max_ongoing_requests": 0}}),
            "ingress_config.max_ongoing_requests: 0",
        ),
        (
            json!({"proxy_urls": {"http://a": {"timeout": 0}}}),
            "proxy_urls.\"http://a\".timeout: 0",
        ),
        (
            json!({"proxy_urls": {"http://a": {"max_ongoing_requests": 0}}}),
            ".max_ongoing_requests: 0",
        ),
        (
            json!({"proxy_urls": {"http://a": {"docs_path": "/a/../b"}}}),
            ".docs_path: `/a/../b`",
        ),
        (
            json!({"proxy_urls": {"http://a": {"prefix": "/docs"}}}),
            ".prefix: `/docs` is a path of the edge's own",
        ),
        (
            json!({"proxy_urls": ["http://a"], "auth": {"rules": {"/x": ["fine", "secret\n"]}}}),
            ".auth.rules: a key of `/x` has",
        ),
        (
            json!({"proxy_urls": {"http://a": {"name": "x"}, "http://b": {"name": "x"}}}),
            "the name of another",
        ),
    ] {
        let reason = all(config.clone()).unwrap_err();
        assert!(reason.contains(named), "{config}: {reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }
}
