//! Arguments that travel are read as those that stay.

use std::fmt::Debug;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::descriptor::{ApiKind, Location, Parameter};
use crate::id::ApiId;
use crate::payload;
use crate::problem::Problem;
use crate::reply::RawJson;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, Deserialize)]
struct Id(#[expect(dead_code, reason = "shown")] i64);

fn api(parameters: &[(&str, Location, Value)]) -> ApiDescriptor {
    let mut api = ApiDescriptor::new(ApiId::parse("a.B.c").unwrap(), ApiKind::Http);
    api.components.insert(
        "Colour".into(),
        json!({"type": "string", "enum": ["red", "green"]}),
    );
    api.parameters = parameters
        .iter()
        .map(|(name, location, schema)| Parameter {
            name: (*name).to_owned(),
            location: *location,
            required: true,
            schema: schema.clone(),
            ..Parameter::default()
        })
        .collect();
    api
}

/// One of everything a query can hold, in the order that [`scalars`] reads it.
fn query_api() -> ApiDescriptor {
    let int32 = json!({"type": "integer", "format": "int32", "minimum": 0});
    let schemas = [
        ("s", json!({"type": "string"})),
        ("i", json!({"type": "integer", "format": "int64"})),
        ("u", int32.clone()),
        ("f", json!({"type": "number"})),
        ("b", json!({"type": "boolean"})),
        ("c", json!({"$ref": "#/components/schemas/Colour"})),
        ("l", json!({"type": "array", "items": int32})),
        (
            "m",
            json!({"type": ["array", "null"], "items": {"type": "string"}}),
        ),
        (
            "o",
            json!({"oneOf": [{"type": "null"}, {"type": "integer"}]}),
        ),
        ("v", json!({})),
        ("d", json!({"type": "string", "format": "uuid"})),
        (
            "t",
            json!({"type": "array", "prefixItems": [{"type": "integer"}]}),
        ),
    ];
    let all: Vec<_> = schemas
        .into_iter()
        .map(|(name, schema)| (name, Location::Query, schema))
        .chain([("p", Location::Path, json!({"type": "integer"}))])
        .collect();
    api(&all)
}

fn show<T: Debug>(value: Option<T>) -> String {
    value.map_or_else(|| "refused".into(), |value| format!("{value:?}"))
}

fn required<T: DeserializeOwned + Debug + 'static>(d: &mut Decoder<'_>, index: usize) -> String {
    show(d.required::<T>(index))
}

/// What a handler would be given, and the report.
fn scalars(api: &ApiDescriptor, args: &Args) -> (Vec<String>, Vec<Problem>) {
    let mut d = Decoder::new(api, args);
    let values = vec![
        required::<String>(&mut d, 0),
        required::<i64>(&mut d, 1),
        required::<u8>(&mut d, 2),
        required::<f64>(&mut d, 3),
        required::<bool>(&mut d, 4),
        required::<Colour>(&mut d, 5),
        required::<Vec<u8>>(&mut d, 6),
        show(d.optional::<Vec<String>>(7)),
        show(d.optional::<Id>(8)),
        show(d.or_else(9, || json!("default"))),
        required::<uuid::Uuid>(&mut d, 10),
        show(d.optional::<(i64, i64)>(11)),
        required::<i64>(&mut d, 12),
    ];
    (values, report(d.finish()))
}

fn report(error: Option<Error>) -> Vec<Problem> {
    error.map_or_else(Vec::new, |error| {
        serde_json::from_value(error.detail().unwrap().clone()).unwrap()
    })
}

fn get(query: &str, path: &str) -> Args {
    let path_end = u32::try_from("/x/".len() + path.len()).unwrap();
    Args::from_http(HttpArgs {
        method: http::Method::GET,
        uri: format!("/x/{path}?{query}").parse().unwrap(),
        path: PathValues {
            names: ["p".to_owned()].into(),
            spans: [(3, path_end)].into_iter().collect(),
        },
        body: HttpBody::Empty,
    })
}

/// Numbers that look random, always the same ones.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.throw(all.len())]
    }
}

#[test]
fn any_query_is_read_the_same_here_and_there() {
    let names = [
        "s", "i", "u", "f", "b", "c", "l", "m", "o", "v", "d", "t", "%73", "more",
    ];
    let texts = [
        "",
        "x",
        "a+b%20%22%5C%0A",
        "%C3%A4",
        "ä",
        "0",
        "-0",
        "+5",
        "007",
        "255",
        "256",
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        "-99999999999999999999",
        "1.0",
        "1.50",
        ".5",
        "1e3",
        "1E400",
        "-inf",
        "nan",
        "true",
        "Yes",
        "off",
        "null",
        "red",
        "blue",
        "[1]",
        "{}",
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "%",
        "%zz",
        "%ff",
        "a%C3",
        "1%2C2",
        "%E2%82%AC",
    ];
    let api = query_api();
    let mut dice = Dice(1);
    let mut unsent = 0;
    for round in 0..4_000 {
        let pairs: Vec<String> = (0..dice.throw(8))
            .map(|_| format!("{}={}", dice.one_of(&names), dice.one_of(&texts)))
            .collect();
        let query = pairs.join("&");
        let path = dice.one_of(&["1", "x", "%31", "%2F", "-0", "1%zz"]);
        let here = get(&query, path);
        let (values, problems) = scalars(&api, &here);
        match here.to_payload(&api) {
            Ok(payload) => {
                let packed = payload::to_message_pack(payload.bytes()).unwrap();
                for payload in [payload, Payload::MessagePack(packed)] {
                    let there = Args::from_payload(payload.clone()).made_of_http(true);
                    let what = format!("{round}: {path}?{query} as {payload:?}");
                    assert_eq!(
                        scalars(&api, &there),
                        (values.clone(), problems.clone()),
                        "{what}"
                    );
                }
            }
            // What no handler could read is known before one is asked.
            Err(error) => {
                let found = report(Some(error));
                assert!(!found.is_empty());
                assert!(
                    found.iter().all(|problem| problems.contains(problem)),
                    "{query}"
                );
                unsent += 1;
            }
        }
    }
    assert!((200..2_000).contains(&unsent), "{unsent}");
}

#[test]
fn texts_travel_as_what_their_schemas_ask_for() {
    let api = query_api();
    let payload = get(
        "s=1&i=-7&u=300&f=1.50&b=on&c=blue&l=1&l=x&m=1&o=3&more=1",
        "007",
    )
    .to_payload(&api)
    .unwrap();
    let expected = br#"{"s":"1","i":-7,"u":300,"f":1.50,"b":true,"c":"blue","l":[1,"x"],"m":["1"],"o":3,"p":7}"#;
    assert_eq!(payload, Payload::Json(Bytes::from_static(expected)));
    let payload = get("i=9223372036854775808&f=nan", "x")
        .to_payload(&api)
        .unwrap();
    let expected = br#"{"i":9223372036854775808,"f":"nan","p":"x"}"#;
    assert_eq!(payload, Payload::Json(Bytes::from_static(expected)));
}

fn post(body: HttpBody) -> Args {
    Args::from_http(HttpArgs {
        method: http::Method::GET,
        uri: "/x?q=1".parse().unwrap(),
        path: PathValues::default(),
        body,
    })
}

#[test]
fn a_body_is_checked_and_spliced() {
    let api = api(&[
        ("q", Location::Query, json!({"type": "integer"})),
        (
            "item",
            Location::Body,
            json!({"type": "object", "required": ["id"]}),
        ),
    ]);
    let body = |text: &'static [u8]| post(HttpBody::Json(Bytes::from_static(text)));
    let sent = |text| body(text).to_payload(&api);
    let untouched = sent(b" {\"id\" : [1e2, 1.0],\n\"id\":2} ").unwrap();
    assert_eq!(
        untouched.bytes(),
        &b"{\"q\":1,\"item\": {\"id\" : [1e2, 1.0],\n\"id\":2} }"[..]
    );
    let there = Args::from_payload(untouched.clone()).made_of_http(true);
    let mut decoder = Decoder::new(&api, &there);
    let raw: RawJson = decoder.required(1).unwrap();
    assert_eq!(raw.as_bytes(), &b"{\"id\" : [1e2, 1.0],\n\"id\":2}"[..]);
    // No copy of it was made.
    let payload = untouched.bytes();
    assert!(payload.as_ptr_range().contains(&raw.as_bytes().as_ptr()));

    assert_eq!(
        post(HttpBody::Empty).to_payload(&api).unwrap().bytes(),
        "{\"q\":1}"
    );
    for bad in [
        &b"{"[..],
        b"  ",
        b"\"\xff\"",
        b"[1,]",
        b"1 2",
        b"{\"q\":1}}",
    ] {
        let here = body(bad);
        let mut decoder = Decoder::new(&api, &here);
        assert!(decoder.required::<Value>(1).is_none());
        let local = report(decoder.finish());
        assert_eq!(local[0].kind, "json_invalid");
        assert_eq!(report(sent(bad).err()), local, "{bad:?}");
    }
    // Of another type: found by the handler's side, in the same words.
    for wrong in [&b"[]"[..], b"{}", b"{\"id\":\"\\ud800\"}"] {
        let read = |args: &Args| {
            let mut decoder = Decoder::new(&api, args);
            let value = decoder.required::<std::collections::BTreeMap<String, u8>>(1);
            assert!(value.is_none_or(|map| map.is_empty()));
            report(decoder.finish())
        };
        let there = Args::from_payload(sent(wrong).unwrap()).made_of_http(true);
        assert_eq!(read(&there), read(&body(wrong)), "{wrong:?}");
    }
}

#[test]
fn bytes_travel_as_they_are() {
    let api = api(&[
        ("q", Location::Query, json!({"type": "integer"})),
        (
            "data",
            Location::Raw,
            json!({"type": "string", "format": "binary"}),
        ),
    ]);
    for bytes in [&b""[..], b"\0\xff", &[7; 70_000]] {
        let body = Bytes::from_static(b"").slice(..);
        let body = if bytes.is_empty() {
            body
        } else {
            Bytes::copy_from_slice(bytes)
        };
        let payload = post(HttpBody::Raw(body)).to_payload(&api).unwrap();
        assert!(matches!(payload, Payload::MessagePack(_)));
        let args = Args::from_payload(payload.clone()).made_of_http(true);
        let mut decoder = Decoder::new(&api, &args);
        assert_eq!(decoder.required::<i64>(0), Some(1));
        let data = decoder.raw(1).unwrap();
        assert_eq!(data, bytes);
        assert!(bytes.is_empty() || payload.bytes().as_ptr_range().contains(&data.as_ptr()));
    }
    // Others may write a list of numbers.
    let list = Payload::Json(Bytes::from_static(br#"{"data":[0,255]}"#));
    let packed = Payload::MessagePack(payload::to_message_pack(list.bytes()).unwrap());
    for payload in [list, packed] {
        let args = Args::from_payload(payload);
        assert_eq!(Decoder::new(&api, &args).raw(1).unwrap(), &b"\0\xff"[..]);
    }
    for wrong in [
        Payload::Json(Bytes::from_static(br#"{"data":"x"}"#)),
        Payload::MessagePack(Bytes::from_static(b"\x81\xa4data\xa1x")),
        Payload::MessagePack(Bytes::from_static(b"\x81\xa4data\x91\xcd\x01\x00")),
    ] {
        let args = Args::from_payload(wrong);
        let mut decoder = Decoder::new(&api, &args);
        assert!(decoder.raw(1).is_none());
        assert_eq!(report(decoder.finish())[0].kind, "bytes_type");
    }
}

fn form_api() -> ApiDescriptor {
    let file = json!({"type": "string", "format": "binary"});
    api(&[
        ("file", Location::File, file.clone()),
        (
            "more",
            Location::File,
            json!({"type": "array", "items": file}),
        ),
        ("title", Location::Form, json!({"type": "string"})),
        ("count", Location::Form, json!({"type": "integer"})),
        (
            "tags",
            Location::Form,
            json!({"type": "array", "items": {"type": "string"}}),
        ),
    ])
}

fn form(args: &Args) -> (Vec<String>, Vec<Problem>) {
    let api = form_api();
    let mut d = Decoder::new(&api, args);
    let told = |file: Upload| {
        let bytes = file.as_full().cloned();
        (file.filename, file.content_type, bytes)
    };
    let values = vec![
        show(d.file(0).map(told)),
        show(
            d.files(1)
                .map(|files| files.into_iter().map(told).collect::<Vec<_>>()),
        ),
        required::<String>(&mut d, 2),
        required::<u8>(&mut d, 3),
        show(d.optional::<Vec<String>>(4)),
    ];
    (values, report(d.finish()))
}

#[test]
fn any_form_is_read_the_same_here_and_there() {
    let mut dice = Dice(2);
    let long = "x".repeat(300);
    for _ in 0..1_000 {
        let fields: Vec<(String, FormField)> = (0..dice.throw(7))
            .map(|_| {
                let name = dice.one_of(&["file", "more", "title", "count", "tags", "else"]);
                let text = dice.one_of(&["", "1", "256", "ä\"\n", "[1]", &long]);
                let file = match name {
                    "file" | "more" => dice.throw(10) > 0,
                    _ => dice.throw(10) == 0,
                };
                let field = if file {
                    let upload = Upload::new(Bytes::from(text.repeat(dice.throw(3)))).named(text);
                    FormField::File(upload.with_content_type("text/plain").into())
                } else {
                    FormField::Text(text.to_owned())
                };
                (name.to_owned(), field)
            })
            .collect();
        let here = post(HttpBody::Form(fields));
        let payload = here.to_payload(&form_api()).unwrap();
        let there = Args::from_payload(payload).made_of_http(true);
        assert_eq!(form(&there), form(&here), "{here:?}");
    }
}

#[test]
fn files_come_from_any_client() {
    let title = r#""title":"t","count":1"#;
    let json = |members: &str| Args::from_json(format!("{{{title}{members}}}").into());
    let (values, problems) = form(&json(
        r#","file":{"bytes":[104,105],"filename":null,"size":2},"more":[{"filename":"b","bytes":[]}]"#,
    ));
    assert_eq!(problems, []);
    assert!(
        values[0].contains("(\"\", \"\", Some(b\"hi\"))"),
        "{values:?}"
    );
    assert!(values[1].contains("(\"b\", "), "{values:?}");

    // {"file": bin, "more": {"bytes": bin, "size": 2}, "title": "t", "count": 1}
    let packed = b"\x84\xa4file\xc4\x02hi\xa4more\x82\xa5bytes\xc4\x01!\xa4size\x02\xa5title\xa1t\xa5count\x01";
    let args = Args::from_payload(Payload::MessagePack(Bytes::from_static(packed)));
    let (values, problems) = form(&args);
    assert_eq!(problems, []);
    assert!(
        values[0].contains("b\"hi\"") && values[1].contains("b\"!\""),
        "{values:?}"
    );

    for (members, kinds) in [
        ("", &["missing"][..]),
        (r#","file":null"#, &["missing"]),
        (r#","file":"text""#, &["file_type"]),
        (r#","file":{"filename":"x"}"#, &["file_type"]),
        (r#","file":{"bytes":[256]}"#, &["file_type"]),
        (r#","file":[],"more":1"#, &["missing", "file_type"]),
    ] {
        let (_, problems) = form(&json(members));
        let found: Vec<_> = problems.iter().map(|p| &*p.kind).collect();
        assert_eq!(found, kinds, "{members}");
    }
}

#[test]
fn what_is_no_map_of_arguments_is_refused() {
    let api = query_api();
    let problems = |payload| {
        let args = Args::from_payload(payload);
        report(Decoder::new(&api, &args).finish())
    };
    for (json, kind) in [
        ("[1]", "dict_type"),
        ("null", "dict_type"),
        ("\"x\"", "dict_type"),
        ("{", "json_invalid"),
        ("{\"a\"}", "json_invalid"),
        ("{} {}", "json_invalid"),
        ("garbage", "json_invalid"),
        ("{1:2}", "json_invalid"),
    ] {
        let found = problems(Payload::Json(Bytes::from_static(json.as_bytes())));
        assert_eq!(found.len(), 1, "{json}");
        assert_eq!(found[0].kind, kind, "{json}");
    }
    let found = problems(Payload::Json(Bytes::from_static(b"{\"s\":\"\xff\"}")));
    assert!(found[0].msg.contains("not UTF-8"), "{found:?}");
    for (packed, kind) in [
        (&b"\x91\x01"[..], "dict_type"),
        (b"\xc0", "dict_type"),
        (b"\x81\xa1s", "msgpack_invalid"),
        (b"\x81\x01\x01", "msgpack_invalid"),
        (b"\x80\x80", "msgpack_invalid"),
        (b"\xdf\xff\xff\xff\xff", "msgpack_invalid"),
        (b"\xc1", "msgpack_invalid"),
    ] {
        let found = problems(Payload::MessagePack(Bytes::from_static(packed)));
        assert_eq!(found.len(), 1, "{packed:x?}");
        assert_eq!(found[0].kind, kind, "{packed:x?}");
    }
    // Nothing at all are no arguments, not wrong ones.
    for none in ["", " \n", "{}"] {
        assert_eq!(
            problems(Payload::Json(Bytes::from_static(none.as_bytes()))),
            []
        );
    }
    assert_eq!(problems(Payload::MessagePack(Bytes::new())), []);

    // A member may be nested as deep as in JSON; one that JSON cannot say spoils all.
    let member = |value: &[u8]| [&b"\x81\xa1v"[..], value].concat();
    let lists = |depth| [b"\x91".repeat(depth - 1), b"\x90".to_vec()].concat();
    let args = |packed: Vec<u8>| Args::from_payload(Payload::MessagePack(packed.into()));
    let deep = args(member(&lists(payload::MAX_DEPTH)));
    assert!(Decoder::new(&api, &deep).required::<Value>(9).is_some());
    let extension = b"\xd4\x01\x00";
    for refused in [
        &lists(payload::MAX_DEPTH + 1),
        &lists(1_000_000),
        &extension[..],
    ] {
        let args = args(member(refused));
        let found = report(Decoder::new(&api, &args).finish());
        assert_eq!(found[0].kind, "msgpack_invalid");
        assert_eq!(found[0].loc, ["body".into()]);
    }
    // What nobody asks for is read over.
    let more = [b"\x82\xa1i\x07\xa5other".as_slice(), extension].concat();
    assert_eq!(Decoder::new(&api, &args(more)).required(1), Some(7));
}

#[test]
fn a_packed_file_that_is_none_spoils_no_other_argument() {
    for (file, kinds) in [
        (&b"\xc0"[..], &["missing"][..]),
        (b"\x90", &["missing"]),
        (b"\x92\xc4\x01a\x81\xa5bytes\x91\x07", &[]),
        (b"\xa1t", &["file_type"]),
        (b"\x92\x01\x02", &["file_type"]),
        (b"\x91\xc0", &["file_type"]),
        (b"\x81\xa8filename\xa1x", &["file_type"]),
        (b"\x81\xa5bytes\xa1x", &["file_type"]),
        (b"\x81\xa5bytes\x92\x01\xcd\x01\x00", &["file_type"]),
        (b"\x81\x01\xd4\x01\x00", &["file_type"]),
        (b"\xd4\x01\x00", &["file_type"]),
    ] {
        let packed = [&b"\x83\xa4file"[..], file, b"\xa5title\xa1t\xa5count\x01"].concat();
        let args = Args::from_payload(Payload::MessagePack(packed.into()));
        let (values, problems) = form(&args);
        let found: Vec<_> = problems.iter().map(|p| &*p.kind).collect();
        assert_eq!(found, kinds, "{file:x?}");
        assert!(
            values[2].contains('t') && values[3].contains('1'),
            "{values:?}"
        );
    }
}

#[test]
fn damaged_files_never_panic() {
    let whole =
        b"\x84\xa4file\x81\xa5bytes\xc4\x02hi\xa4more\x91\xc4\x01!\xa5title\xa1t\xa5count\x01";
    for at in 0..whole.len() {
        let mut damaged = whole.to_vec();
        for byte in 0..=255 {
            damaged[at] = byte;
            let args = Args::from_payload(Payload::MessagePack(Bytes::copy_from_slice(&damaged)));
            form(&args);
        }
    }
    let deep = [&b"\x81\xa4file"[..], &b"\x91".repeat(1_000_000)].concat();
    let (_, problems) = form(&Args::from_payload(Payload::MessagePack(deep.into())));
    assert_eq!(problems[0].kind, "msgpack_invalid");
}

#[test]
fn a_call_of_a_plugins_own_is_no_request() {
    let api = query_api();
    // A plugin that sends a text for a number is wrong; an edge had nothing else.
    let sent = || Args::from_json(Bytes::from_static(br#"{"i":"7"}"#));
    assert_eq!(Decoder::new(&api, &sent()).required::<i64>(1), None);
    let from_edge = sent().made_of_http(true);
    assert_eq!(Decoder::new(&api, &from_edge).required(1), Some(7));
    assert!(from_edge.by_http() && !sent().by_http() && get("", "1").by_http());
    assert!(get("", "1").made_of_http(false).by_http());
}
