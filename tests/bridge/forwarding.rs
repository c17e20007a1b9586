//! Requests and answers are the same with the bridge and without it.

use framex_test_support::raw::Ask;
use framex_test_support::{Answer, Connection};
use serde_json::json;

use crate::site::{bridge_to, everything, front, imported};

/// Headers of an answer that are each server's own.
const OWN: [&str; 5] = ["date", "server", "connection", "x-request-id", "keep-alive"];

/// The same request to the upstream and to the bridge.
pub(crate) struct Both {
    pub(crate) direct: Answer,
    pub(crate) bridged: Answer,
}

impl Both {
    pub(crate) async fn ask(method: &str, target: &str, more: impl Fn(Ask) -> Ask) -> Self {
        let (direct, bridged) = tokio::join!(
            more(everything().ask(method, target)).send(),
            more(front().ask(method, target)).send(),
        );
        Self { direct, bridged }
    }

    /// That status, headers and body are the same.
    #[track_caller]
    pub(crate) fn same(self, what: &str) -> Answer {
        let Self { direct, bridged } = self;
        assert_eq!(bridged.status, direct.status, "{what}: {}", bridged.lossy());
        assert_eq!(headers(&bridged), headers(&direct), "{what}");
        assert!(
            bridged.body == direct.body,
            "{what}: {:?} is not {:?}",
            bridged.lossy(),
            direct.lossy()
        );
        bridged
    }
}

/// The headers that have to be the same, in an order of their own.
fn headers(answer: &Answer) -> Vec<(String, String)> {
    let all = answer.headers.iter();
    let theirs = all.filter(|(name, _)| {
        !OWN.contains(&&**name) && !name.starts_with("x-framex-") && name != "transfer-encoding"
    });
    let mut headers: Vec<_> = theirs.cloned().collect();
    headers.sort();
    headers
}

async fn get(target: &str) -> Answer {
    Both::ask("GET", target, |ask| ask).await.same(target)
}

#[tokio::test]
async fn arguments() {
    for (target, status) in [
        ("/query?count_of=1&from=a", 200),
        (
            "/query?count_of=1&from=a&page-size=3&tags=a&tags=b&tags=a&n=1&n=2&colour=green",
            200,
        ),
        (
            "/query?from=%C3%A4%2F%26+x%20y&count_of=-7&q=%22&exact=true",
            200,
        ),
        ("/query?count_of=1&from=%zz&from=b", 200),
        ("/query?count_of=1&from=a&unknown=1&&=&x", 200),
        ("/query?count_of=one&page-size=0", 422),
        ("/query", 422),
        ("/items/5", 200),
        ("/items/x", 422),
        ("/items/special/first", 200),
        ("/places/d%C3%A4/a%20b", 200),
        ("/places/'a';b/@c:d$e", 200),
        ("/users", 200),
        ("/traced", 422),
    ] {
        assert_eq!(get(target).await.status, status, "{target}");
    }
    let traced = |ask: Ask| {
        let ask = ask.header("X-Trace", "ä b").header("x-many", "1");
        ask.header("X-Many", "2").header("User-Agent", "mine/1.0")
    };
    let traced = Both::ask("GET", "/traced", traced).await.same("traced");
    assert_eq!(traced.json()["x-many"], json!(["1", "2"]));
    assert_eq!(traced.json()["user-agent"], "mine/1.0");
    let cookies = |ask: Ask| ask.header("Cookie", "session=old; other=\"x\"");
    let cookies = Both::ask("GET", "/cookies", cookies).await.same("cookies");
    assert_eq!(cookies.json(), "old");
    let set = cookies.headers.iter().filter(|(n, _)| n == "set-cookie");
    assert_eq!(set.count(), 2);
}

#[tokio::test]
async fn answers() {
    for (target, status) in [
        ("/text", 200),
        ("/html", 200),
        ("/null", 200),
        ("/bytes/gzip", 200),
        ("/bytes/wrong-text", 200),
        ("/bytes/empty", 200),
        ("/bytes/untyped", 200),
        ("/bytes/binary", 200),
        ("/unchanged", 200),
        ("/lines", 200),
        ("/large?size=300000", 200),
        ("/large?size=300000&known=true", 200),
        ("/download", 200),
        ("/fail/400", 400),
        ("/fail/401", 401),
        ("/fail/404", 404),
        ("/fail/409", 409),
        ("/fail/418", 418),
        ("/fail/429", 429),
        ("/fail/500", 500),
        ("/fail/502", 502),
        ("/fail/503", 503),
        ("/fail-html", 503),
        ("/crash", 500),
        ("/sse", 200),
        ("/sse-unsaid", 200),
        ("/redirect/301", 301),
        ("/redirect/302?to=elsewhere", 302),
        ("/redirect/307?to=itself", 307),
    ] {
        assert_eq!(get(target).await.status, status, "{target}");
    }
    let headers = get("/many-headers").await;
    assert_eq!(headers.header("x-latin"), Some("ä"));
    assert_eq!(headers.header("via"), Some("1.1 upstream"));
    for gone in ["x-framex-mine", "keep-alive"] {
        assert_eq!(headers.header(gone), None);
    }
    assert_eq!(
        Both::ask("POST", "/created", |ask| ask)
            .await
            .same("created")
            .status,
        201
    );
    assert_eq!(
        Both::ask("POST", "/nothing", |ask| ask)
            .await
            .same("nothing")
            .status,
        204
    );
    let redirect = Both::ask("POST", "/redirect/308", |ask| ask.body("x")).await;
    let redirect = redirect.same("308");
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (308, Some("/items/1?a=1"))
    );
}

/// Where an answer leads is where it is for the client.
#[tokio::test]
async fn addresses_of_the_upstream_are_paths() {
    let answer = front().get("/redirect/303?to=absolute").send().await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/items/1"))
    );
    let prefixed = bridge_to(everything(), "below", json!({ "prefix": "/below" }));
    let prefixed = prefixed.start().await;
    imported(&prefixed, "below").await;
    let answer = prefixed.get("/below/redirect/303?to=absolute").send().await;
    assert_eq!(answer.header("location"), Some("/below/items/1"));
    let answer = prefixed
        .get("/below/redirect/303?to=elsewhere")
        .send()
        .await;
    assert_eq!(answer.header("location"), Some("https://example.com/x"));
    assert_eq!(prefixed.get("/items/1").send().await.status, 404);
    let mirror = prefixed
        .get("/below/mirror/a%20b?x='1'")
        .send()
        .await
        .json();
    assert_eq!(
        (&mirror["path"], &mirror["query"]),
        (&json!("/mirror/a%20b"), &json!("x='1'"))
    );
    prefixed.stop().await;
}

/// What clients say of the answer that they want.
#[tokio::test]
async fn conditions_and_ranges() {
    let etag = |ask: Ask| ask.header("If-None-Match", "\"v1\"");
    let unchanged = Both::ask("GET", "/unchanged", etag).await.same("etag");
    assert_eq!(
        (unchanged.status, unchanged.header("etag")),
        (304, Some("\"v1\""))
    );
    let range = |ask: Ask| ask.header("Range", "bytes=3-9");
    let part = Both::ask("GET", "/download", range).await.same("range");
    assert_eq!((part.status, part.body.len()), (206, 7));
    assert!(
        part.header("content-disposition")
            .unwrap()
            .contains("%C3%BCber")
    );
    let ranges = |ask: Ask| ask.header("Range", "bytes=999999999-");
    let none = Both::ask("GET", "/download", ranges).await.same("ranges");
    assert_eq!(none.status, 416);
}

/// Methods that the document names reach the upstream, and so does HEAD where GET is named.
#[tokio::test]
async fn methods() {
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
        let both = Both::ask(method, "/mirror/x?y=1", |ask| match method {
            "GET" | "TRACE" | "OPTIONS" => ask,
            _ => ask.header("Content-Type", "text/plain").body("hello"),
        });
        let Both { direct, bridged } = both.await;
        let (direct, bridged) = (direct.json(), bridged.json());
        assert_eq!(bridged["method"], method, "{bridged}");
        for part in ["method", "path", "query", "body"] {
            assert_eq!(bridged[part], direct[part], "{method}: {part}");
        }
    }
    for (target, status) in [("/download", 200), ("/mirror/x", 200), ("/text", 405)] {
        let both = Both::ask("HEAD", target, |ask| ask).await;
        if target == "/mirror/x" {
            assert_eq!(both.bridged.status, status);
            continue;
        }
        assert_eq!(both.same(target).status, status, "{target}");
    }
    // What neither the document nor the upstream knows.
    let refused = front().ask("PUT", "/text").send().await;
    assert_eq!(refused.status, 405, "{}", refused.lossy());
}

#[tokio::test]
async fn paths_and_queries_are_not_rewritten() {
    for target in [
        "/mirror/a%2Fb",
        "/mirror/%61%C3%A4%20",
        "/mirror/a+b;c=d,e'f!(g)*~",
        "/mirror/x?a=1&a=2&b&c=&&%20=+",
        "/mirror/x?q='a'|{b}^`c",
        "/mirror/x?",
        "/mirror/a%2Fb",
        "/mirror/x?a=%ff%00",
    ] {
        let Both { direct, bridged } = Both::ask("GET", target, |ask| ask).await;
        let (direct, bridged) = (direct.json(), bridged.json());
        for part in ["path", "query"] {
            assert_eq!(bridged[part], direct[part], "{target}");
        }
    }
    for target in [
        "/mirror/%2e%2e",
        "/places/%2E%2e/x",
        "/mirror/..",
        "/mirror/a%5c",
        "/mirror/%2E%2E%2fsecure/data",
    ] {
        let answer = front().get(target).send().await;
        assert!(
            matches!(answer.status, 400 | 404),
            "{target}: {}",
            answer.lossy()
        );
    }
}

/// The rule about headers, on a request with everything that is its business.
#[tokio::test]
async fn headers_by_the_rule() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let answer = front()
        .get("/mirror/x")
        .header("Accept", "text/x")
        .header("Accept-Encoding", "br;q=0.5")
        .header("X-Two", "a")
        .header("X-Two", "b")
        .header("Cookie", "a=1; framex_token=mine; b=2")
        .header("Authorization", "the client's")
        .header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"))
        .header("tracestate", "x=1")
        .header("X-Request-Id", "my-id")
        .header("X-Forwarded-For", "1.2.3.4")
        .header("X-Forwarded-Proto", "https")
        .header("X-Framex-Cache", "use")
        .header("Connection", "x-hop")
        .header("X-Hop", "1")
        .header("TE", "trailers")
        .header("Keep-Alive", "timeout=1")
        .header("Proxy-Authorization", "p")
        .header("Proxy-Connection", "keep-alive")
        .header("Upgrade", "h2c")
        .send()
        .await;
    let seen = answer.json();
    let all = |name: &str| -> Vec<String> {
        let headers = seen["headers"].as_array().unwrap().iter();
        let values = headers.filter(|pair| pair[0] == name);
        values
            .map(|pair| pair[1].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(all("accept"), ["text/x"]);
    assert_eq!(all("accept-encoding"), ["br;q=0.5"]);
    assert_eq!(all("x-two"), ["a", "b"]);
    assert_eq!(all("cookie"), ["a=1; b=2"]);
    assert_eq!(all("x-request-id"), ["my-id"]);
    assert_eq!(answer.header("x-request-id"), Some("my-id"));
    assert_eq!(all("host"), [everything().address().to_string()]);
    assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(all("x-forwarded-host"), [front().address().to_string()]);
    let sent = &all("traceparent")[0];
    assert!(
        sent.contains(trace) && !sent.contains("b7ad6b7169203331"),
        "{sent}"
    );
    assert_eq!(all("x-framex-trail").len(), 1);
    for gone in [
        "authorization",
        "x-framex-cache",
        "x-hop",
        "te",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
        "content-length",
        "transfer-encoding",
        "forwarded",
    ] {
        assert!(all(gone).is_empty(), "{gone}: {:?}", all(gone));
    }
}

#[tokio::test]
async fn the_clients_key_goes_along_where_it_is_told_to() {
    let told = bridge_to(
        everything(),
        "told",
        json!({ "forward_authorization": true }),
    );
    let told = told.start().await;
    imported(&told, "told").await;
    let mirror = told.get("/mirror/x").header("Authorization", "Bearer mine");
    let mirror = mirror.send().await.json();
    let headers = mirror["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["authorization", "Bearer mine"])));
    told.stop().await;
}

/// The client of one connection asks again and again.
#[tokio::test]
async fn one_connection_many_requests() {
    let mut connection = Connection::open(front().address()).await;
    for (target, status) in [
        ("/text", 200),
        ("/fail/404", 404),
        ("/sse", 200),
        ("/unchanged", 200),
        ("/nowhere", 404),
        ("/lines", 200),
        ("/redirect/302", 302),
        ("/text", 200),
    ] {
        connection
            .send(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await;
        assert_eq!(connection.answer().await.status, status, "{target}");
    }
}
