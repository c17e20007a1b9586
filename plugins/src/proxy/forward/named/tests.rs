use serde_json::json;

use framex_core::args::Upload;
use framex_core::body::ByteStream;

use super::*;

fn argument(name: &str, place: Place, required: bool, explode: bool) -> Argument {
    Argument {
        name: name.into(),
        place,
        required,
        style: match explode {
            true => Style::Pairs,
            false => Style::Commas,
        },
    }
}

fn shape(form: Option<Form>) -> Shape {
    Shape {
        method: Method::POST,
        prefix: "/up".into(),
        base: "/v1".into(),
        path: "/items/{item_id}/x".into(),
        parameters: vec![
            argument("item_id", Place::Path, true, false),
            argument("q", Place::Query, false, true),
            argument("flat", Place::Query, false, false),
            argument("x-trace", Place::Header, true, false),
            argument("session", Place::Cookie, false, false),
            argument("lang", Place::Cookie, false, false),
        ],
        body: form.map(|form| Body {
            form,
            media_type: "application/vnd.a+json".into(),
            required: true,
        }),
        streams: false,
    }
}

fn named(values: Value) -> Named {
    let Value::Object(values) = values else {
        panic!("{values}")
    };
    Named {
        values,
        ..Named::default()
    }
}

async fn bytes(body: Outgoing) -> String {
    use http_body::Body as _;
    let mut body = body;
    let mut all = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        all.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn values_go_where_the_document_says() {
    let made = make(
        &shape(Some(Form::Json)),
        named(json!({
            "item_id": "a b/ä".replace('/', "-"), "q": ["1&2", 3], "flat": [true, "x"],
            "x-trace": 5, "session": "s;1", "lang": null, "body": [1, null],
        })),
    )
    .unwrap();
    assert_eq!(
        made.uri.to_string(),
        "/v1/items/a%20b-%C3%A4/x?q=1%262&q=3&flat=true%2Cx"
    );
    assert_eq!(made.headers["x-trace"], "5");
    assert_eq!(made.headers["cookie"], "session=s%3B1");
    assert_eq!(made.headers["content-type"], "application/vnd.a+json");
    assert_eq!(bytes(made.body).await, "[1,null]");
}

#[tokio::test]
async fn a_body_is_what_is_left() {
    for (form, rest, sent) in [
        (Form::Json, json!({"item": {"a": 1}}), "{\"a\":1}"),
        (Form::Json, json!({"body": null}), "null"),
        (
            Form::Urlencoded,
            json!({"a": "x y", "b": [1, 2], "c": null}),
            "a=x%20y&b=1&b=2",
        ),
        (Form::Raw, json!({"body": "as it is"}), "as it is"),
    ] {
        let mut values = json!({"item_id": 1, "x-trace": "t"});
        let all = values.as_object_mut().unwrap();
        all.extend(rest.as_object().unwrap().clone());
        let made = make(&shape(Some(form)), named(values)).unwrap();
        assert_eq!(bytes(made.body).await, sent);
    }
    let mut both = named(json!({
        "item_id": 1, "x-trace": "t", "note": "n", "who": {"a": [1]}, "all": [1, {"b": 2}],
    }));
    let file = Upload::new(ByteStream::full("bytes")).named("f.bin");
    both.files.push(("file".into(), file));
    let made = make(&shape(Some(Form::Multipart)), both).unwrap();
    let kind = made.headers["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("multipart/form-data; boundary="));
    let text = bytes(made.body).await;
    assert!(text.contains("name=\"note\"\r\n\r\nn\r\n"), "{text}");
    let json = "\r\ncontent-type: application/json\r\n\r\n";
    for part in [
        format!("name=\"who\"{json}{{\"a\":[1]}}\r\n"),
        "name=\"all\"\r\n\r\n1\r\n".to_owned(),
        format!("name=\"all\"{json}{{\"b\":2}}\r\n"),
    ] {
        assert!(text.contains(&part), "{text}");
    }
    assert!(text.contains("filename=\"f.bin\""), "{text}");
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    for (form, values, wrong) in [
        (
            None,
            json!({"more": 1}),
            &["item_id", "x-trace", "more"][..],
        ),
        (
            Some(Form::Json),
            json!({"a": 1, "b": 2}),
            &["item_id", "x-trace", "a", "b", "body"],
        ),
        (
            Some(Form::Raw),
            json!({"item_id": "..", "x-trace": "a\nb"}),
            &["item_id", "x-trace", "body"],
        ),
        (
            None,
            json!({"item_id": "a//b", "x-trace": "t"}),
            &["item_id"],
        ),
        (None, json!({"item_id": "", "x-trace": "t"}), &["item_id"]),
    ] {
        let error = make(&shape(form), named(values)).unwrap_err();
        assert_eq!(error.code(), "validation_failed");
        let detail = error.detail().unwrap().as_array().unwrap();
        let named: Vec<_> = detail
            .iter()
            .map(|problem| {
                problem["loc"]
                    .as_array()
                    .unwrap()
                    .last()
                    .unwrap()
                    .as_str()
                    .unwrap()
            })
            .collect();
        assert_eq!(named, wrong);
    }
}

#[test]
fn what_cannot_be_written_as_the_document_says_is_refused_by_name() {
    for (place, style, value) in [
        (Place::Query, Style::Pairs, json!({"a": {"b": 1}})),
        (Place::Query, Style::Deep, json!({"a": [1]})),
        (Place::Header, Style::Commas, json!([[1]])),
        (Place::Cookie, Style::Pairs, json!({"a": 1})),
        (Place::Path, Style::Other, json!(1)),
    ] {
        let mut shape = shape(None);
        shape.parameters = vec![Argument {
            style,
            ..argument("item_id", place, true, false)
        }];
        let error = make(&shape, named(json!({"item_id": value}))).unwrap_err();
        assert_eq!(error.code(), "validation_failed", "{place:?} {style:?}");
        assert_eq!(error.detail().unwrap()[0]["loc"][1], "item_id");
    }
    let error = make(
        &shape(Some(Form::Urlencoded)),
        named(json!({"item_id": 1, "x-trace": "t", "a": [{}]})),
    );
    let detail = error.unwrap_err().detail().unwrap().clone();
    assert_eq!(detail[0]["loc"], json!(["body", "a"]));
}

#[test]
fn headers_of_the_way_are_not_arguments() {
    let mut shape = shape(None);
    for name in [
        "host",
        "Content-Length",
        "transfer-encoding",
        "x-framex-trail",
        "a b",
    ] {
        shape.parameters[3].name = name.into();
        let error = make(&shape, named(json!({"item_id": 1, name: "1"}))).unwrap_err();
        assert_eq!(error.code(), "validation_failed", "{name}");
    }
}

#[tokio::test]
async fn what_no_document_describes_is_asked_for_as_usual() {
    for (target, values, method, uri, sent) in [
        ("/x", json!({}), "GET", "/b/x", ""),
        ("/x", json!({"a": 1}), "POST", "/b/x", "{\"a\":1}"),
        (
            "GET /x?y=1",
            json!({"a": [1, 2]}),
            "GET",
            "/b/x?y=1&a=1&a=2",
            "",
        ),
        (
            "PUT /ä b",
            json!({"body": 1}),
            "PUT",
            "/b/%C3%A4%20b",
            "{\"body\":1}",
        ),
    ] {
        let made = undescribed(target, "/b", named(values)).unwrap();
        assert_eq!(
            (made.method.as_str(), &*made.uri.to_string()),
            (method, uri)
        );
        assert_eq!(bytes(made.body).await, sent);
    }
    for target in ["", "x", "GET x", "/a/../b", "/a%2fb"] {
        assert_eq!(
            undescribed(target, "", Named::default())
                .unwrap_err()
                .status(),
            400
        );
    }
}
