//! Queries: every type, every mistake.

use framex_test_support::Server;
use serde_json::json;

use crate::zoo::Zoo;

#[tokio::test]
async fn scalars() {
    let server = Server::of::<Zoo>().await;
    let get = async |query: &str| server.get(&format!("/api/v1/scalars?{query}")).send().await;
    assert_eq!(
        get("i=-7&u=255&f=1e3&b=yes&s=a+b%20c%2B").await.data(),
        json!([-7, 255, 1000.0, true, "a b c+"])
    );
    // The last one wins, what nobody knows is ignored.
    assert_eq!(
        get("i=1&u=1&f=1&b=0&s=a&i=2&s=b&more=1&&=&x").await.data(),
        json!([2, 1, 1.0, false, "b"])
    );
    // All problems at once, in order.
    assert_eq!(
        get("i=x&u=256&f=nan&b=maybe").await.kinds(),
        [
            r#"int_parsing ["query","i"]"#,
            r#"int_out_of_range ["query","u"]"#,
            r#"finite_number ["query","f"]"#,
            r#"bool_parsing ["query","b"]"#,
            r#"missing ["query","s"]"#,
        ]
    );
    for (query, kind) in [
        ("i=1.0", "int_parsing"),
        ("i=0x1", "int_parsing"),
        ("i=9223372036854775808", "int_out_of_range"),
        ("i=-99999999999999999999999999", "int_out_of_range"),
        ("i=1_0", "int_parsing"),
        ("i=%201", "int_parsing"),
        ("i=", "int_parsing"),
        ("i", "int_parsing"),
        ("i=%D9%A3", "int_parsing"),
    ] {
        let problems = get(&format!("{query}&u=1&f=1&b=1&s=")).await.problems();
        assert_eq!(problems.len(), 1, "{query}: {problems:?}");
        assert_eq!(problems[0].0, kind, "{query}");
    }
    for (query, kind) in [
        ("u=-1", "int_out_of_range"),
        ("u=1e2", "int_parsing"),
        ("f=Infinity", "finite_number"),
        ("f=-inf", "finite_number"),
        ("f=1e999", "finite_number"),
        ("f=1,5", "float_parsing"),
        ("b=", "bool_parsing"),
        ("b=2", "bool_parsing"),
    ] {
        let base = "i=1&u=1&f=1&b=1&s=";
        let problems = get(&format!("{base}&{query}")).await.problems();
        assert_eq!(problems.len(), 1, "{query}: {problems:?}");
        assert_eq!(problems[0].0, kind, "{query}");
        // What is allowed is named, what came is not repeated.
        let value = query.split('=').nth(1).unwrap();
        assert!(problems[0].2.contains("expected"), "{problems:?}");
        assert!(
            value.len() < 3 || !problems[0].2.contains(value),
            "{problems:?}"
        );
    }
    for yes in ["true", "TRUE", "1", "on", "Yes", "t", "y"] {
        assert_eq!(
            get(&format!("i=1&u=1&f=1&b={yes}&s=")).await.data()[3],
            true
        );
    }
    for no in ["false", "0", "off", "No", "f", "n"] {
        assert_eq!(
            get(&format!("i=1&u=1&f=1&b={no}&s=")).await.data()[3],
            false
        );
    }
}

#[tokio::test]
async fn encodings() {
    let server = Server::of::<Zoo>().await;
    let get = async |query: &str| server.get(&format!("/api/v1/echo?{query}")).send().await;
    assert_eq!(get("message=").await.data(), "");
    assert_eq!(get("message").await.data(), "");
    assert_eq!(get("message=a=b").await.data(), "a=b");
    assert_eq!(get("mess%61ge=x").await.data(), "x");
    assert_eq!(get("message=%00%0A%0D").await.data(), "\0\n\r");
    assert_eq!(get("message=%F0%9F%A6%80").await.data(), "🦀");
    assert_eq!(
        get("message=%f").await.kinds(),
        [r#"percent_encoding ["query","message"]"#]
    );
    assert_eq!(
        get("message=100%").await.kinds(),
        [r#"percent_encoding ["query","message"]"#]
    );
    assert_eq!(
        get("message=%ff").await.kinds(),
        [r#"string_unicode ["query","message"]"#]
    );
    // Overlong, and half of a pair: not UTF-8.
    assert_eq!(
        get("message=%c0%80").await.kinds(),
        [r#"string_unicode ["query","message"]"#]
    );
    assert_eq!(
        get("message=%ed%a0%80").await.kinds(),
        [r#"string_unicode ["query","message"]"#]
    );
    // A name that cannot be read might have been the one.
    assert_eq!(
        get("message=x&%zz=1").await.kinds(),
        [r#"percent_encoding ["query"]"#]
    );
}

#[tokio::test]
async fn optional_and_defaults() {
    let server = Server::of::<Zoo>().await;
    let get = async |query: &str| server.get(&format!("/api/v1/optional{query}")).send().await;
    assert_eq!(get("").await.data(), json!([null, 7, "dflt"]));
    assert_eq!(get("?x=1&y=2&s=").await.data(), json!([1, 2, ""]));
    assert_eq!(
        get("?x=&y=z").await.kinds(),
        [
            r#"int_parsing ["query","x"]"#,
            r#"int_parsing ["query","y"]"#
        ]
    );
    let renamed = server.get("/api/v1/renamed?page-size=3").send().await;
    assert_eq!(renamed.data(), 3);
    let renamed = server.get("/api/v1/renamed?size=3").send().await;
    assert_eq!(renamed.kinds(), [r#"missing ["query","page-size"]"#]);
}

#[tokio::test]
async fn lists() {
    let server = Server::of::<Zoo>().await;
    let get = async |query: &str| server.get(&format!("/api/v1/lists{query}")).send().await;
    assert_eq!(
        get("?xs=1&names=a&xs=2&names=b%2Cc").await.data(),
        json!([[1, 2], ["a", "b,c"]])
    );
    assert_eq!(get("?xs=1").await.data(), json!([[1], null]));
    assert_eq!(get("").await.kinds(), [r#"missing ["query","xs"]"#]);
    assert_eq!(
        get("?xs=1&xs=b&xs=3&xs=").await.kinds(),
        [
            r#"int_type ["query","xs",1]"#,
            r#"int_type ["query","xs",3]"#
        ]
    );
    assert_eq!(
        get("?xs=1,2").await.kinds(),
        [r#"int_type ["query","xs",0]"#]
    );
    assert_eq!(
        get("?xs=2147483648").await.kinds(),
        [r#"int_out_of_range ["query","xs",0]"#]
    );
    let many: Vec<_> = (0..1000).map(|n| format!("xs={n}")).collect();
    let answer = get(&format!("?{}", many.join("&"))).await;
    assert_eq!(answer.data()[0].as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn enums_times_and_ids() {
    let server = Server::of::<Zoo>().await;
    let get = async |query: &str| server.get(&format!("/api/v1/kinds?{query}")).send().await;
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    assert_eq!(
        get(&format!(
            "colour=green&when=2026-01-01T13:00:00%2B01:00&day=2026-02-28&id={id}"
        ))
        .await
        .data(),
        json!(["green", "2026-01-01T12:00:00Z", "2026-02-28", id])
    );
    assert_eq!(
        get("colour=blue&when=yesterday&day=2026-02-30&id=nope")
            .await
            .kinds(),
        [
            r#"enum ["query","colour"]"#,
            r#"datetime_parsing ["query","when"]"#,
            r#"date_parsing ["query","day"]"#,
            r#"uuid_parsing ["query","id"]"#,
        ]
    );
    let (_, _, msg) = &get("colour=blue").await.problems()[0];
    assert!(
        msg.contains("`red`") && msg.contains("`green`") && !msg.contains("blue"),
        "{msg}"
    );
    assert_eq!(
        get("colour=Green").await.kinds(),
        [r#"enum ["query","colour"]"#]
    );
    assert_eq!(
        get("when=").await.kinds(),
        [r#"datetime_parsing ["query","when"]"#]
    );
}
