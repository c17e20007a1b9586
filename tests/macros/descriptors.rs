//! What an API says of itself.

use std::collections::HashMap;
use std::time::Duration;

use framex::descriptor::{ApiDescriptor, ApiKind, Location, ReplyShape};
use framex::prelude::*;
use framex_core::expand::check;
use serde_json::{Value, json};

use crate::support::api;

#[derive(Deserialize, Serialize, ToSchema)]
struct Order {
    id: Uuid,
    lines: Vec<Line>,
    at: DateTime<Utc>,
}

#[derive(Deserialize, Serialize, ToSchema)]
struct Line {
    count: u32,
    colour: Option<Colour>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ToSchema)]
enum Colour {
    Red,
    Green,
}

#[derive(Deserialize, Serialize, ToSchema)]
struct Number(u32);

#[derive(Deserialize, Serialize, ToSchema)]
struct Nested {
    colours: HashMap<String, Vec<Colour>>,
    orders: Option<Box<Order>>,
}

/// An alias of a container, which the macro cannot see through.
type Ids = Vec<Option<Uuid>>;

#[derive(Deserialize, Serialize, ToSchema)]
struct Tree {
    #[schema(no_recursion)]
    children: Vec<Tree>,
}

#[derive(Default)]
struct Shop;

/// Sells things.
///
/// All kinds.
#[on_register(
    plugin = "shop",
    version = "1.2.3",
    author = concat!("me", "!"),
    url = "https://example.com",
    required_remote_apis = ["/api/v1/base/version", "a.B.c"],
    priority = -10,
    tags = ["trade"],
    max_ongoing_requests = 64
)]
impl Shop {
    /// Finds
    /// an order.
    ///
    /// It must *exist*.
    ///
    ///     code
    #[on_request(
        get, head, "/orders/{id}",
        tags = ["a", "b"], timeout = "90s", max_ongoing_requests = 8, idempotent, deprecated
    )]
    async fn find(
        &self,
        /// Its number.
        id: Uuid,
        #[arg(description = "How many lines.", default = 10)] limit: u8,
        colour: Option<Colour>,
        ids: Option<Vec<Uuid>>,
        number: Number,
    ) -> Result<Option<Order>> {
        let _ = (id, limit, colour, ids, number);
        Ok(None)
    }

    #[on_request(
        all,
        post,
        "/plain",
        api_prefix = false,
        include_in_schema = false,
        raw,
        summary = "S",
        description = "D"
    )]
    async fn plain(&self, #[body] order: Order) -> Vec<Order> {
        vec![order]
    }

    #[on_request(post, "files", timeout = "500ms")]
    async fn files(&self, files: Vec<Upload>, file: Upload, note: Option<String>) -> Response {
        let _ = (files, file, note);
        Response::default()
    }

    #[on_request(put, "whole", max_body_size = "1GiB")]
    async fn whole(&self, #[body] file: Upload) -> Result<Download> {
        Ok(Download::from(file.into_stream()))
    }

    #[on_request(put, "bounded", max_body_size = 2048)]
    async fn bounded(&self, file: Upload, #[arg(default = "x")] name: String) {
        let _ = (file, name);
    }

    #[on_request(func, max_body_size = "2 mb")]
    async fn bounded_on_the_bus(&self, text: String) -> String {
        text
    }

    #[on_request(post, "raw", timeout = "2m")]
    async fn raw(&self, #[body] data: Bytes) -> RawJson {
        RawJson::new(data).unwrap()
    }

    #[on_request(func)]
    #[expect(clippy::too_many_arguments, reason = "one of each")]
    async fn types(
        &self,
        a: i8,
        b: u16,
        c: i32,
        d: u32,
        e: u64,
        f: f32,
        g: bool,
        h: NaiveDate,
        i: Value,
        j: RawJson,
        k: HashMap<String, Order>,
        l: Box<Order>,
        m: Vec<Option<Uuid>>,
        n: Order,
    ) -> HashMap<String, Uuid> {
        let _ = (a, b, c, d, e, f, g, h, i, j, k, l, m, n);
        HashMap::new()
    }

    /// Containers that the macro does not know.
    #[on_request(func)]
    async fn containers(
        &self,
        a: std::collections::BTreeSet<Colour>,
        b: (Line, Colour),
        c: [Line; 2],
        d: Nested,
        e: Ids,
        f: Tree,
    ) -> Result<std::collections::VecDeque<Line>> {
        let _ = (a, b, c, d, e, f);
        Err(Error::not_found("nothing"))
    }

    #[on_request(get, "/s1", stream)]
    fn events(&self) -> impl Stream<Item = Event> {
        futures_util::stream::empty()
    }

    #[on_request(get, "/s2", stream)]
    fn texts(&self) -> impl Stream<Item = Result<String>> {
        futures_util::stream::empty()
    }

    #[on_request(get, "/s3", stream)]
    fn orders(&self) -> impl Stream<Item = Order> {
        futures_util::stream::empty()
    }

    #[on_request(get, "/s4", stream)]
    async fn either(&self) -> Result<EventStream> {
        Err(Error::not_found("nothing"))
    }

    #[on_request(get, "/s5", stream)]
    fn boxed(&self) -> std::pin::Pin<Box<dyn Stream<Item = Result<Line>> + Send>> {
        Box::pin(futures_util::stream::empty())
    }

    #[cfg(any())]
    #[on_request(get, "/never")]
    async fn never(&self) -> NoSuchType {}
}

fn descriptor(method: &str) -> &'static ApiDescriptor {
    api::<Shop>(method).descriptor
}

fn schema<'a>(api: &'a ApiDescriptor, name: &str) -> &'a Value {
    let parameter = api.parameters.iter().find(|p| p.name == name);
    &parameter.unwrap().schema
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[test]
fn metadata_is_what_the_author_wrote() {
    let metadata = Shop::metadata();
    assert_eq!(metadata.name, "shop");
    assert_eq!(metadata.version, "1.2.3");
    assert_eq!(metadata.description, "Sells things.\n\nAll kinds.");
    assert_eq!(metadata.author, "me!");
    assert_eq!(metadata.url, "https://example.com");
    assert_eq!(
        metadata.required_remote_apis,
        ["/api/v1/base/version", "a.B.c"]
    );
    assert_eq!(metadata.priority, -10);
    assert_eq!(metadata.tags, ["trade"]);
    assert_eq!(metadata.max_ongoing_requests, Some(64));
}

#[test]
fn an_api_says_how_it_is_reached_and_limited() {
    let find = descriptor("find");
    assert_eq!(find.id.as_str(), "shop.Shop.find");
    assert_eq!(find.kind, ApiKind::Http);
    let routes: Vec<String> = find.routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        ["GET /api/v1/orders/{id}", "HEAD /api/v1/orders/{id}"]
    );
    assert_eq!(find.summary, "Finds an order");
    assert_eq!(find.description, "It must *exist*.\n\n    code");
    assert_eq!(find.tags, ["a", "b"]);
    assert_eq!(find.timeout, Some(Duration::from_secs(90)));
    assert_eq!(find.max_ongoing_requests, Some(8));
    assert!(find.idempotent && find.deprecated && find.include_in_schema && !find.raw);

    let plain = descriptor("plain");
    assert_eq!(plain.kind, ApiKind::All);
    assert_eq!(plain.routes[0].to_string(), "POST /plain");
    assert_eq!(
        (plain.summary.as_str(), plain.description.as_str()),
        ("S", "D")
    );
    assert!(plain.raw && !plain.include_in_schema && !plain.deprecated && !plain.idempotent);
    assert_eq!(plain.tags, ["trade"]);

    assert_eq!(
        descriptor("files").timeout,
        Some(Duration::from_millis(500))
    );
    assert_eq!(descriptor("raw").timeout, Some(Duration::from_secs(120)));
    assert_eq!(descriptor("types").kind, ApiKind::Func);
    assert!(descriptor("types").routes.is_empty());
}

#[derive(Default)]
struct Curious;

#[on_register(plugin = "curious")]
impl Curious {
    #[on_request(get, "/agent")]
    async fn agent(&self, ctx: &Context) -> Option<String> {
        ctx.header("user-agent").map(str::to_owned)
    }

    #[on_request(get, "/agents", stream)]
    fn agents(&self, count: u8, ctx: &Context) -> impl Stream<Item = String> {
        let agent = ctx.header("user-agent").unwrap_or_default().to_owned();
        futures_util::stream::iter(vec![agent; count.into()])
    }
}

#[test]
fn who_takes_the_context_reads_headers() {
    for method in ["agent", "agents"] {
        assert!(api::<Curious>(method).descriptor.headers, "{method}");
    }
    for method in ["find", "events", "either"] {
        assert!(!descriptor(method).headers, "{method}");
    }
}

#[test]
fn arguments_are_described() {
    let find = descriptor("find");
    let lines: Vec<_> = find
        .parameters
        .iter()
        .map(|p| (p.name.as_str(), p.location, p.required, p.default.clone()))
        .collect();
    assert_eq!(
        lines,
        [
            ("id", Location::Path, true, None),
            ("limit", Location::Query, false, Some(json!(10))),
            ("colour", Location::Query, false, None),
            ("ids", Location::Query, false, None),
            ("number", Location::Query, true, None),
        ]
    );
    assert_eq!(find.parameters[0].description, "Its number.");
    assert_eq!(find.parameters[1].description, "How many lines.");
    assert_eq!(
        schema(find, "id"),
        &json!({ "type": "string", "format": "uuid" })
    );
    assert_eq!(schema(find, "limit")["maximum"], 255);
    assert_eq!(schema(find, "colour"), &reference("Colour"));
    assert_eq!(find.components["Colour"]["enum"], json!(["Red", "Green"]));
    assert_eq!(
        schema(find, "ids"),
        &json!({ "type": "array", "items": { "type": "string", "format": "uuid" } })
    );
    // A newtype is what it wraps, not worth a name.
    assert_eq!(schema(find, "number")["type"], "integer");

    let files = descriptor("files");
    let places: Vec<_> = files
        .parameters
        .iter()
        .map(|p| (p.location, p.required))
        .collect();
    assert_eq!(
        places,
        [
            (Location::File, false),
            (Location::File, true),
            (Location::Form, false)
        ]
    );
    assert_eq!(schema(files, "files")["items"]["format"], "binary");
    assert_eq!(descriptor("raw").parameters[0].location, Location::Raw);
    let whole = descriptor("whole");
    let file = &whole.parameters[0];
    // Without a body it is empty.
    assert_eq!((file.location, file.required), (Location::Upload, false));
    assert!(!whole.multipart());
    assert_eq!(whole.reply, ReplyShape::Response);
    for (api, bytes) in [
        ("whole", Some(1 << 30)),
        ("bounded", Some(2048)),
        ("bounded_on_the_bus", Some(2_000_000)),
        ("raw", None),
    ] {
        assert_eq!(descriptor(api).max_body_size, bytes, "{api}");
    }
    assert_eq!(descriptor("plain").parameters[0].location, Location::Body);
}

#[test]
fn types_have_their_true_schemas() {
    let types = descriptor("types");
    let uuid = json!({ "type": "string", "format": "uuid" });
    assert_eq!(
        schema(types, "a"),
        &json!({ "type": "integer", "format": "int32", "minimum": -128, "maximum": 127 })
    );
    assert_eq!(schema(types, "b")["maximum"], 65_535);
    assert_eq!(schema(types, "c")["format"], "int32");
    assert_eq!(schema(types, "d")["maximum"], u32::MAX);
    assert_eq!(
        schema(types, "e"),
        &json!({ "type": "integer", "format": "int64", "minimum": 0 })
    );
    assert_eq!(schema(types, "f")["type"], "number");
    assert_eq!(schema(types, "g")["type"], "boolean");
    assert_eq!(schema(types, "h")["format"], "date");
    assert_eq!(schema(types, "i"), &json!({}));
    assert_eq!(schema(types, "j"), &json!({}));
    assert_eq!(
        schema(types, "k"),
        &json!({ "type": "object", "additionalProperties": reference("Order") })
    );
    assert_eq!(schema(types, "l"), &reference("Order"));
    assert_eq!(
        schema(types, "m")["items"],
        json!({ "type": ["string", "null"], "format": "uuid" })
    );
    assert_eq!(schema(types, "n"), &reference("Order"));
    let names: Vec<_> = types.components.keys().collect();
    assert_eq!(names, ["Colour", "Line", "Order"]);
    let ReplyShape::Value { schema } = &types.reply else {
        panic!("{:?}", types.reply);
    };
    assert_eq!(schema["additionalProperties"], uuid);
}

#[test]
fn containers_name_what_they_hold() {
    let containers = descriptor("containers");
    let names: Vec<_> = containers.components.keys().collect();
    assert_eq!(names, ["Colour", "Line", "Nested", "Order", "Tree"]);
    assert_eq!(
        schema(containers, "a"),
        &json!({ "type": "array", "items": reference("Colour"), "uniqueItems": true })
    );
    assert_eq!(
        schema(containers, "b")["prefixItems"],
        json!([reference("Line"), reference("Colour")])
    );
    assert_eq!(schema(containers, "c")["maxItems"], 2);
    assert_eq!(schema(containers, "d"), &reference("Nested"));
    assert_eq!(
        schema(containers, "e")["items"],
        json!({ "type": ["string", "null"], "format": "uuid" })
    );
}

#[test]
fn replies_have_their_shapes() {
    let value = |schema: Value| ReplyShape::Value { schema };
    let stream = |schema: Value| ReplyShape::Stream { schema };
    let text = json!({
        "type": "object",
        "properties": { "content": { "type": "string" } },
        "required": ["content"],
    });
    assert_eq!(
        descriptor("find").reply,
        value(json!({ "oneOf": [reference("Order"), { "type": "null" }] }))
    );
    assert_eq!(
        descriptor("plain").reply,
        value(json!({ "type": "array", "items": reference("Order") }))
    );
    assert_eq!(descriptor("files").reply, ReplyShape::Response);
    assert_eq!(descriptor("raw").reply, value(json!({})));
    assert_eq!(descriptor("events").reply, stream(json!({})));
    assert_eq!(descriptor("texts").reply, stream(text));
    assert_eq!(descriptor("orders").reply, stream(reference("Order")));
    assert!(descriptor("orders").components.contains_key("Line"));
    assert_eq!(descriptor("either").reply, stream(json!({})));
    assert_eq!(descriptor("boxed").reply, stream(reference("Line")));
}

#[test]
fn every_api_is_there_once_and_passes_the_check() {
    let apis = Shop::apis();
    assert_eq!(apis.len(), 14);
    for api in apis {
        check(api.descriptor).unwrap();
        assert!(std::ptr::eq(
            api.descriptor,
            descriptor(api.descriptor.id.method())
        ));
    }
}

mod other {
    use super::*;

    /// Shares its name with another type.
    #[derive(Deserialize, Serialize, ToSchema)]
    pub(super) struct Line {
        text: String,
    }
}

#[derive(Default)]
struct Wrong;

#[on_register(plugin = "wrong")]
impl Wrong {
    #[on_request(get, "/a")]
    async fn object_in_query(&self, model: Order) {
        let _ = model;
    }

    #[on_request(get, "/b/{list}")]
    async fn list_in_path(&self, list: std::collections::BTreeSet<String>) {
        let _ = list;
    }

    #[on_request(post, "/c")]
    async fn object_in_form(&self, file: Upload, model: HashMap<String, String>) {
        let _ = (file, model);
    }

    #[on_request(func)]
    async fn two_of_a_name(&self, a: Line, b: other::Line) {
        let _ = (a, b);
    }
}

#[test]
fn what_a_macro_cannot_see_is_found_before_the_start() {
    for (method, reason) in [
        (
            "object_in_query",
            "argument `model` of `wrong.Wrong.object_in_query` is an object, which the query cannot hold: mark it `#[body]`, or take its fields one by one",
        ),
        (
            "list_in_path",
            "argument `list` of `wrong.Wrong.list_in_path` is a list, which the path cannot hold: take it from the query",
        ),
        (
            "object_in_form",
            "argument `model` of `wrong.Wrong.object_in_form` is an object, which a form field cannot hold: take its fields one by one",
        ),
        (
            "two_of_a_name",
            "`wrong.Wrong.two_of_a_name` uses two types called `Line`: rename one of them in the documents with `#[schema(as = ..)]`",
        ),
    ] {
        let found = check(api::<Wrong>(method).descriptor);
        assert_eq!(found.unwrap_err(), reason);
    }
}
