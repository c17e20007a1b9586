//! Arguments out of the texts of a command line.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Args, check};
use crate::descriptor::{ApiDescriptor, Location, Parameter};
use crate::error::Error;
use crate::problem::Problem;
use crate::settings::nearest;

impl Args {
    /// The arguments that names and texts stand for, as `api`'s schemas see
    /// them, on top of those in `given`.
    ///
    /// A name that is repeated makes a list. Where a list, an object or any
    /// value may be, a text may also be its JSON. A text that is not what the
    /// schema asks for is left one, for the handler's side to refuse.
    ///
    /// What another service has ([`ApiDescriptor::bridged`]) may take names that its descriptor
    /// does not list, its body under any name: what is given goes there, and is checked there.
    ///
    /// # Errors
    ///
    /// 422 with every name that `api` has no argument for, every one that is
    /// repeated and no list, and every object that is no JSON.
    pub fn from_texts(
        api: &ApiDescriptor,
        mut given: Map<String, Value>,
        texts: &[(String, String)],
    ) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, text) in texts {
            by_name.entry(name).or_default().push(text);
        }
        let names = given.keys().map(String::as_str);
        for name in names.chain(by_name.keys().copied()) {
            if parameter(api, name).is_none() && !api.bridged {
                problems.push(unknown(api, name));
            }
        }
        for (name, texts) in by_name {
            let Some(parameter) = parameter(api, name).or_else(|| body(api, &given, &texts)) else {
                if api.bridged {
                    given.insert(name.to_owned(), guessed(&texts));
                }
                continue;
            };
            match value(api, parameter, &texts) {
                Ok(value) => {
                    given.insert(name.to_owned(), value);
                }
                Err(_) if api.bridged => {
                    given.insert(name.to_owned(), guessed(&texts));
                }
                Err((kind, msg)) => {
                    let loc = vec![parameter.location.loc().into(), name.to_owned().into()];
                    problems.push(Problem::new(kind, loc, msg));
                }
            }
        }
        if problems.is_empty() {
            Self::new(&given)
        } else {
            Err(Error::validation(problems))
        }
    }
}

fn parameter<'a>(api: &'a ApiDescriptor, name: &str) -> Option<&'a Parameter> {
    api.parameters.iter().find(|p| p.name == name)
}

/// What a name may stand for that another service's operation does not list: its body.
fn body<'a>(
    api: &'a ApiDescriptor,
    given: &Map<String, Value>,
    texts: &[&str],
) -> Option<&'a Parameter> {
    let mut bodies = api.parameters.iter();
    let body = bodies.find(|p| p.location == Location::Body)?;
    (api.bridged && texts.len() == 1 && !given.contains_key(&body.name)).then_some(body)
}

/// Texts about which nothing is known: objects and lists if they are written as such.
fn guessed(texts: &[&str]) -> Value {
    let read = |text: &str| {
        let structured = text.starts_with(['{', '[']);
        let json = structured.then(|| serde_json::from_str(text).ok());
        json.flatten().unwrap_or_else(|| Value::from(text))
    };
    match texts {
        [text] => read(text),
        texts => texts.iter().map(|text| read(text)).collect(),
    }
}

fn unknown(api: &ApiDescriptor, name: &str) -> Problem {
    let names = || api.parameters.iter().map(|p| p.name.as_str());
    let hint = if let Some(nearest) = nearest(name, names()) {
        format!("did you mean `{nearest}`?")
    } else if api.parameters.is_empty() {
        format!("`{}` takes none", api.id)
    } else {
        let all: Vec<_> = names().map(|name| format!("`{name}`")).collect();
        format!("there are {}", all.join(", "))
    };
    let loc = vec!["arguments".into(), name.to_owned().into()];
    Problem::new("unknown_argument", loc, format!("unknown argument; {hint}"))
}

type Mistake = (&'static str, String);

fn value(api: &ApiDescriptor, parameter: &Parameter, texts: &[&str]) -> Result<Value, Mistake> {
    let components = &api.components;
    let schema = check::resolve(&parameter.schema, components);
    if parameter.location == Location::Raw {
        let bytes = texts.iter().flat_map(|text| text.bytes());
        return Ok(bytes.map(Value::from).collect());
    }
    if let (Location::Upload, true, [text]) = (parameter.location, api.bridged, texts) {
        return Ok(Value::from(*text));
    }
    if check::is_list(schema) {
        if let [text] = texts
            && text.starts_with('[')
            && let Ok(list @ Value::Array(_)) = serde_json::from_str(text)
        {
            return Ok(list);
        }
        let items = check::items(schema);
        let read = |text: &&str| check::read_text(items, components, text);
        return Ok(texts.iter().map(read).collect());
    }
    let [text] = texts else {
        return Err((
            "repeated",
            format!("expected one value, got {}", texts.len()),
        ));
    };
    let read = check::read_text(schema, components, text);
    if !read.is_string() {
        return Ok(read);
    }
    match check::structured(schema, components) {
        check::Structured::No => Ok(read),
        check::Structured::Maybe => Ok(serde_json::from_str(text).unwrap_or(read)),
        check::Structured::Yes => serde_json::from_str(text).map_err(|error| {
            let msg = format!("expected JSON like `{{\"key\": \"value\"}}`: {error}");
            ("json_invalid", msg)
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::descriptor::ApiKind;
    use crate::id::ApiId;

    fn api() -> ApiDescriptor {
        let mut api = ApiDescriptor::new(ApiId::parse("a.B.c").unwrap(), ApiKind::Func);
        let parameter = |name: &str, location, schema| Parameter {
            name: name.into(),
            location,
            schema,
            ..Parameter::default()
        };
        api.components
            .insert("Item".into(), json!({"type": "object"}));
        let item = json!({"$ref": "#/components/schemas/Item"});
        api.parameters = vec![
            parameter("limit", Location::Query, json!({"type": "integer"})),
            parameter("text", Location::Query, json!({"type": "string"})),
            parameter(
                "tags",
                Location::Query,
                json!({"type": ["array", "null"], "items": {"type": "integer"}}),
            ),
            parameter("item", Location::Body, item.clone()),
            parameter(
                "maybe",
                Location::Query,
                json!({"oneOf": [{"type": "null"}, item]}),
            ),
            parameter("any", Location::Query, json!({})),
            parameter("bytes", Location::Raw, json!({"type": "string"})),
        ];
        api
    }

    fn read(texts: &[(&str, &str)]) -> Result<Value, Vec<String>> {
        let texts: Vec<_> = texts
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        let api = api();
        match Args::from_texts(&api, Map::new(), &texts) {
            Ok(args) => Ok(serde_json::from_slice(args.to_payload(&api).unwrap().bytes()).unwrap()),
            Err(error) => {
                let problems: Vec<Problem> =
                    serde_json::from_value(error.detail().unwrap().clone()).unwrap();
                Err(problems
                    .into_iter()
                    .map(|p| format!("{} {}", p.kind, p.msg))
                    .collect())
            }
        }
    }

    #[test]
    fn the_schema_says_how_to_read_a_text() {
        for (name, text, value) in [
            ("limit", "3", json!(3)),
            ("limit", "x", json!("x")),
            ("text", "3", json!("3")),
            ("text", "{\"a\":1}", json!("{\"a\":1}")),
            ("tags", "3", json!([3])),
            ("tags", "[3, 4]", json!([3, 4])),
            ("item", "{\"a\":1}", json!({"a": 1})),
            ("maybe", "{\"a\":1}", json!({"a": 1})),
            ("maybe", "null", json!(null)),
            ("any", "{\"a\":1}", json!({"a": 1})),
            ("any", "plain", json!("plain")),
            ("bytes", "ab", json!([97, 98])),
        ] {
            assert_eq!(read(&[(name, text)]).unwrap()[name], value, "{name}={text}");
        }
        let repeated = read(&[("tags", "1"), ("tags", "2")]).unwrap();
        assert_eq!(repeated["tags"], json!([1, 2]));
    }

    #[test]
    fn another_service_checks_what_it_gets() {
        let mut api = api();
        api.bridged = true;
        let read = |api: &ApiDescriptor, texts: &[(&str, &str)]| -> Value {
            let texts: Vec<_> = texts
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect();
            let args = Args::from_texts(api, Map::new(), &texts).unwrap();
            serde_json::from_slice(args.to_payload(api).unwrap().bytes()).unwrap()
        };
        for (name, text, value) in [
            ("limit", "3", json!(3)),
            ("x-trace", "t", json!("t")),
            ("other", "{\"a\":1}", json!({"a": 1})),
            ("item", "no JSON", json!("no JSON")),
        ] {
            assert_eq!(read(&api, &[(name, text)])[name], value, "{name}={text}");
        }
        let repeated = [("text", "a"), ("text", "b")];
        assert_eq!(read(&api, &repeated)["text"], json!(["a", "b"]));
        // What is no parameter is read as the body is, if that is not there under its name.
        api.parameters.retain(|p| p.location == Location::Body);
        api.parameters[0].schema = json!({"type": "integer"});
        assert_eq!(read(&api, &[("any", "7")])["any"], 7);
        let both = read(&api, &[("item", "7"), ("trace", "8")]);
        assert_eq!((&both["item"], &both["trace"]), (&json!(7), &json!("8")));
    }

    #[test]
    fn every_mistake_is_named() {
        let found = read(&[
            ("limt", "1"),
            ("zzz", "1"),
            ("text", "a"),
            ("text", "b"),
            ("item", "{"),
        ])
        .unwrap_err();
        assert_eq!(found.len(), 4);
        assert!(found[0].ends_with("did you mean `limit`?"), "{found:?}");
        assert!(found[1].contains("there are `limit`, `text`"), "{found:?}");
        assert!(found[2].starts_with("json_invalid"), "{found:?}");
        assert_eq!(found[3], "repeated expected one value, got 2");
    }
}
