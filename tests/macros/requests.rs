//! Arguments in, results out.

use std::collections::BTreeMap;
use std::sync::Arc;

use framex::Reply;
use framex::prelude::*;
use framex_core::args::{Args, FormField, HttpBody};
use serde_json::{Value, json};

use crate::support::{api, call, http, value};

#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct Item {
    id: i64,
    #[serde(default = "anonymous")]
    name: String,
}

fn anonymous() -> String {
    "anonymous".to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, thiserror::Error)]
#[error("broken")]
struct Broken;

/// An alias that hides a `Result`.
type Fallible<T> = std::result::Result<T, Broken>;

const FEW: u32 = 3;

#[derive(Default)]
struct Things {
    prefix: String,
}

#[on_register(plugin = "things")]
impl Things {
    #[on_request(get, "/scalars")]
    #[expect(clippy::too_many_arguments, reason = "one of each")]
    async fn scalars(
        &self,
        text: String,
        number: i64,
        fraction: f64,
        flag: bool,
        colour: Colour,
        id: Uuid,
        day: NaiveDate,
        at: DateTime<Utc>,
    ) -> Value {
        json!([text, number, fraction, flag, colour, id, day, at])
    }

    #[on_request(get, "/optional")]
    async fn optional(
        &self,
        text: Option<String>,
        #[arg(default = 7)] number: i64,
        #[arg(default = "none")] word: String,
        #[arg(default = Colour::Green)] colour: Colour,
        #[arg(default = FEW + Self::ONE)] limit: u32,
        #[arg(name = "filter[]", default = Vec::new())] filters: Vec<u8>,
        list: Option<Vec<Colour>>,
    ) -> Value {
        json!([text, number, word, colour, limit, filters, list])
    }

    #[on_request(get, delete, "items/{id}/{rest:path}")]
    async fn path(&self, rest: String, #[path] id: u64, r#type: String) -> Value {
        json!([id, rest, r#type])
    }

    #[on_request(post, "/items")]
    async fn body(&self, #[body] item: Item, note: Option<String>) -> Result<Item> {
        match note {
            Some(note) => Err(Error::conflict(note)),
            None => Ok(item),
        }
    }

    #[on_request(put, "/items")]
    async fn maybe_body(&self, #[body] item: Option<Item>) -> Option<Item> {
        item
    }

    #[on_request(post, "/pass")]
    async fn pass(&self, #[body] json: RawJson) -> RawJson {
        json
    }

    #[on_request(post, "/bytes", raw)]
    async fn bytes(&self, #[body] data: Bytes) -> Bytes {
        data
    }

    #[on_request(post, "/upload")]
    async fn upload(
        &self,
        file: Upload,
        thumbnail: Option<Upload>,
        more: Vec<Upload>,
        title: String,
    ) -> Value {
        json!([file.filename, thumbnail.is_some(), more.len(), title])
    }

    #[on_request(get, "/teapot")]
    async fn teapot(&self) -> Response {
        Response::text("short and stout").with_status(StatusCode::IM_A_TEAPOT)
    }

    #[on_request(get, "/moved")]
    async fn moved(&self, to: String) -> Result<Response> {
        Response::redirect(&to)
    }

    #[on_request(func)]
    async fn nothing(&self) {}

    #[on_request(func)]
    async fn nothing_fallible(&self) -> Result<()> {
        Ok(())
    }

    #[on_request(func)]
    async fn aliased(&self, fail: bool) -> Fallible<Vec<Uuid>> {
        if fail { Err(Broken) } else { Ok(Vec::new()) }
    }

    #[on_request(func)]
    async fn shared(self: Arc<Self>, text: String) -> String {
        let this = Arc::clone(&self);
        tokio::spawn(async move { format!("{}{text}", this.prefix) })
            .await
            .unwrap()
    }

    #[on_request(func)]
    async fn borrowed_shared(self: &Arc<Self>, ctx: &Context) -> String {
        format!("{}{}", self.prefix, ctx.plugin().name)
    }

    #[on_request(func)]
    async fn objects(&self, item: Item, map: BTreeMap<String, Vec<Item>>) -> BTreeMap<String, i64> {
        let sum = map
            .into_iter()
            .map(|(k, v)| (k, v.iter().map(|i| i.id).sum()));
        sum.chain([(item.name, item.id)]).collect()
    }

    #[on_request(func)]
    async fn raw_bytes(&self, #[body] data: Bytes) -> usize {
        data.len()
    }

    #[on_request(put, "/whole")]
    async fn whole(&self, #[body] file: Upload) -> Result<Value> {
        let about = (
            file.filename.clone(),
            file.content_type.clone(),
            file.size(),
        );
        Ok(json!([
            about.0,
            about.1,
            about.2,
            file.bytes().await?.len()
        ]))
    }

    /// The file is looked at while others wait: an upload may be shared.
    #[on_request(post, "/shared_upload")]
    async fn shared_upload(&self, file: Upload) -> Result<Download> {
        async fn look(file: &Upload) -> Option<u64> {
            tokio::task::yield_now().await;
            file.size()
        }
        let size = look(&file).await.unwrap_or_default();
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![7; 3])]);
        Ok(Download::new(pieces).with_size(size).named("x"))
    }

    const ONE: u32 = 1;
}

fn things() -> Arc<Things> {
    Arc::new(Things {
        prefix: "> ".into(),
    })
}

/// Calls with an HTTP request's arguments, and once more with the payload that is
/// made of them: nothing may tell the two apart.
async fn by_http(method: &str, args: Args) -> Result<Value> {
    let read = async |args| match call(&things(), method, args).await? {
        Reply::Value(json) => Ok(serde_json::from_slice::<Value>(&json).unwrap()),
        other => panic!("not a value: {other:?}"),
    };
    let payload = args.to_payload(api::<Things>(method).descriptor).unwrap();
    let here = read(args).await;
    let there = read(Args::from_payload(payload).made_of_http(true)).await;
    assert_eq!(format!("{here:?}"), format!("{there:?}"));
    here
}

fn problems(error: &Error) -> Vec<String> {
    let detail = error.detail().and_then(Value::as_array).unwrap();
    let line = |problem: &Value| format!("{} {}", problem["type"], problem["loc"]);
    detail
        .iter()
        .map(line)
        .map(|l| l.replace('"', ""))
        .collect()
}

#[tokio::test]
async fn scalars_are_read_from_a_query_and_from_json() {
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let expected = json!([
        "a b",
        -7,
        1.5,
        true,
        "green",
        id,
        "2026-01-02",
        "2026-01-02T03:04:05Z"
    ]);
    let query = format!(
        "/x?text=a+b&number=-7&fraction=1.5&flag=yes&colour=green&id={id}&day=2026-01-02&at=2026-01-02T03:04:05Z"
    );
    let result = by_http("scalars", http(&query, &[], HttpBody::Empty)).await;
    assert_eq!(result.unwrap(), expected);
    let args = json!({
        "text": "a b", "number": -7, "fraction": 1.5, "flag": true, "colour": "green",
        "id": id, "day": "2026-01-02", "at": "2026-01-02T03:04:05Z",
    });
    assert_eq!(value(&things(), "scalars", args).await.unwrap(), expected);
}

#[tokio::test]
async fn every_problem_is_reported_at_once() {
    let query = "/x?number=x&colour=blue&flag=&day=2026-01-02&at=2026-01-02T03:04:05Z&fraction=1";
    let error = by_http("scalars", http(query, &[], HttpBody::Empty))
        .await
        .unwrap_err();
    assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        problems(&error),
        [
            "missing [query,text]",
            "int_parsing [query,number]",
            "bool_parsing [query,flag]",
            "enum [query,colour]",
            "missing [query,id]",
        ]
    );
}

#[tokio::test]
async fn what_is_left_out_has_its_default() {
    let result = by_http("optional", http("/x", &[], HttpBody::Empty)).await;
    assert_eq!(
        result.unwrap(),
        json!([null, 7, "none", "green", 4, [], null])
    );
    let query = "/x?text=t&number=1&word=w&colour=red&limit=9&filter%5B%5D=1&filter[]=2&list=red";
    let result = by_http("optional", http(query, &[], HttpBody::Empty)).await;
    assert_eq!(
        result.unwrap(),
        json!(["t", 1, "w", "red", 9, [1, 2], ["red"]])
    );
}

#[tokio::test]
async fn path_parameters_are_typed() {
    let path = [("id", "42"), ("rest", "a/b")];
    let result = by_http("path", http("/items/42/a/b?type=z", &path, HttpBody::Empty)).await;
    assert_eq!(result.unwrap(), json!([42, "a/b", "z"]));
    let path = [("id", "x"), ("rest", "y")];
    let error = by_http("path", http("/items/x/y?type=z", &path, HttpBody::Empty)).await;
    assert_eq!(problems(&error.unwrap_err()), ["int_parsing [path,id]"]);
}

#[tokio::test]
async fn one_argument_is_the_body() {
    let body = |text: &'static str| HttpBody::Json(Bytes::from_static(text.as_bytes()));
    let result = by_http("body", http("/items", &[], body(r#"{"id":1}"#))).await;
    assert_eq!(result.unwrap(), json!({ "id": 1, "name": "anonymous" }));
    let error = by_http("body", http("/items?note=no", &[], body(r#"{"id":1}"#))).await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (StatusCode::CONFLICT, "no")
    );
    let error = by_http("body", http("/items", &[], body(r#"{"id":"x"}"#))).await;
    assert_eq!(problems(&error.unwrap_err()), ["int_type [body,id]"]);
    let error = by_http("body", http("/items", &[], HttpBody::Empty)).await;
    assert_eq!(problems(&error.unwrap_err()), ["missing [body]"]);
    let result = by_http("maybe_body", http("/items", &[], HttpBody::Empty)).await;
    assert_eq!(result.unwrap(), Value::Null);
    let result = by_http("maybe_body", http("/items", &[], body(r#"{"id":1}"#))).await;
    assert_eq!(result.unwrap()["id"], 1);
}

#[tokio::test]
async fn raw_json_and_bytes_pass_untouched() {
    let text = Bytes::from_static(b"{ \"a\" : [1e2] }");
    let args = http("/pass", &[], HttpBody::Json(text.clone()));
    let Reply::Value(reply) = call(&things(), "pass", args).await.unwrap() else {
        panic!("not a value");
    };
    assert_eq!(reply.as_ptr(), text.as_ptr());
    let args = http("/bytes", &[], HttpBody::Raw(Bytes::from_static(b"\xff\0")));
    let Reply::Response(reply) = call(&things(), "bytes", args).await.unwrap() else {
        panic!("not a response");
    };
    assert_eq!(&reply.body[..], b"\xff\0");
    let result = value(&things(), "raw_bytes", json!({ "data": [1, 2, 255] })).await;
    assert_eq!(result.unwrap(), 3);
}

#[tokio::test]
async fn files_come_with_the_fields_of_their_form() {
    let file = |name: &str| FormField::File(Upload::new(Bytes::new()).named(name).into());
    let fields = vec![
        ("file".to_owned(), file("a.txt")),
        ("more".to_owned(), file("b.txt")),
        ("more".to_owned(), file("c.txt")),
        ("title".to_owned(), FormField::Text("T".into())),
    ];
    let result = by_http("upload", http("/upload", &[], HttpBody::Form(fields))).await;
    assert_eq!(result.unwrap(), json!(["a.txt", false, 2, "T"]));
    let error = by_http("upload", http("/upload", &[], HttpBody::Form(vec![]))).await;
    assert_eq!(
        problems(&error.unwrap_err()),
        ["missing [body,file]", "missing [body,title]"]
    );
}

#[tokio::test]
async fn a_whole_body_is_a_file() {
    let file = Upload::new(Bytes::from_static(b"abc"))
        .named("n")
        .with_content_type("t");
    let args = http("/whole", &[], HttpBody::Upload(file.into()));
    assert_eq!(
        by_http("whole", args).await.unwrap(),
        json!(["n", "t", 3, 3])
    );
    let none = by_http("whole", http("/whole", &[], HttpBody::Empty)).await;
    assert_eq!(none.unwrap(), json!(["", "", 0, 0]));
    let sent = json!({ "file": { "filename": "n", "bytes": [1, 2] } });
    let result = value(&things(), "whole", sent).await;
    assert_eq!(result.unwrap(), json!(["n", "", 2, 2]));
}

#[tokio::test]
async fn a_download_is_the_handlers_own() {
    let file = Upload::new(Bytes::from_static(b"abc"));
    let form = vec![("file".to_owned(), FormField::File(file.into()))];
    let args = http("/shared_upload", &[], HttpBody::Form(form));
    let Reply::Download(download) = call(&things(), "shared_upload", args).await.unwrap() else {
        panic!("not a download");
    };
    assert_eq!(download.body.size(), Some(3));
    assert_eq!(
        download.headers["content-disposition"],
        "attachment; filename=\"x\""
    );
    assert_eq!(download.body.collect(3).await.unwrap(), vec![7; 3]);
}

#[tokio::test]
async fn a_response_is_the_handlers_own() {
    let teapot = call(&things(), "teapot", Args::default()).await.unwrap();
    assert!(matches!(teapot, Reply::Response(r) if r.status == StatusCode::IM_A_TEAPOT));
    let args = Args::from_json(r#"{"to":"/there"}"#.into());
    let moved = call(&things(), "moved", args).await.unwrap();
    assert!(matches!(moved, Reply::Response(r) if r.headers["location"] == "/there"));
}

#[tokio::test]
async fn results_of_every_kind() {
    let things = things();
    for method in ["nothing", "nothing_fallible"] {
        assert_eq!(
            value(&things, method, json!({})).await.unwrap(),
            Value::Null
        );
    }
    let result = value(&things, "aliased", json!({ "fail": false })).await;
    assert_eq!(result.unwrap(), json!([]));
    let error = value(&things, "aliased", json!({ "fail": true }))
        .await
        .unwrap_err();
    assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(error.source().unwrap().to_string(), "broken");
    let result = value(&things, "shared", json!({ "text": "x" })).await;
    assert_eq!(result.unwrap(), "> x");
    let result = value(&things, "borrowed_shared", json!({})).await;
    assert_eq!(result.unwrap(), "> things");
    let args = json!({
        "item": { "id": 1, "name": "one" },
        "map": { "a": [{ "id": 2 }, { "id": 3 }] },
    });
    let result = value(&things, "objects", args).await;
    assert_eq!(result.unwrap(), json!({ "one": 1, "a": 5 }));
}

#[tokio::test]
async fn arguments_that_are_no_object_are_refused() {
    for (args, kind) in [("[1]", "dict_type"), ("{", "json_invalid")] {
        let error = call(&things(), "nothing", Args::from_json(args.into())).await;
        let found = problems(&error.unwrap_err());
        assert!(found[0].starts_with(kind), "{found:?}");
    }
}
