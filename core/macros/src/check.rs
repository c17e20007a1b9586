//! Contradictions between the parts of an API, and between APIs.

use std::collections::HashMap;

use crate::errors::Errors;
use crate::model::{Form, Handler, Named, Place, Plugin};

/// Checks the arguments of one API against each other and against its route.
pub(crate) fn arguments(handler: &Handler, errors: &mut Errors) {
    names(handler, errors);
    body(handler, errors);
    size(handler, errors);
    path(handler, errors);
}

fn names(handler: &Handler, errors: &mut Errors) {
    let mut seen: HashMap<&str, &Named> = HashMap::new();
    for named in handler.named() {
        if seen.insert(&named.name, named).is_some() {
            errors.at(
                &named.ident,
                format!("a second argument called `{}`: rename one", named.name),
            );
        }
    }
}

/// That there is a body where its size is limited. A `func` API has arguments, which
/// are limited alike.
fn size(handler: &Handler, errors: &mut Errors) {
    let in_body = |named: &Named| !matches!(named.place, Place::Query | Place::Path);
    if let Some((word, _)) = &handler.options.max_body_size
        && !handler.is_func()
        && !handler.named().any(in_body)
    {
        let message = "`max_body_size` limits a body, and the API reads none: remove it, or mark an argument `#[body]`";
        errors.at(word, message);
    }
}

fn body(handler: &Handler, errors: &mut Errors) {
    let files: Vec<_> = handler.named().filter(|n| n.form.is_file()).collect();
    if handler.is_func() {
        for file in files {
            errors.at(
                &file.ty,
                "a file comes with an HTTP request only: give the API a route, e.g. `post, \"/upload\"`, or take the bytes as `#[body] data: Bytes`",
            );
        }
        return;
    }
    let mut bodies = handler.named().filter(|named| named.body.is_some());
    let Some(first) = bodies.next() else {
        return;
    };
    for second in bodies {
        errors.at(
            &second.ident,
            format!(
                "a second body beside `{}`: a request has one; put both into one struct, or remove a `#[body]`",
                first.ident
            ),
        );
    }
    if matches!(first.form, Form::OptionalFile | Form::Files) {
        errors.at(
            &first.ty,
            "a body is one file, and empty when there is none: write `Upload`, or remove `#[body]` to take files from a form",
        );
    } else if let Some(file) = files.iter().find(|file| file.is_part()) {
        errors.at(
            &first.body,
            format!(
                "`{}` is a file, so the body is multipart: remove `#[body]` to take `{}` from a field of the form",
                file.ident, first.ident
            ),
        );
    }
    let mut methods = handler.options.routes.iter().flat_map(|r| &r.methods);
    if let Some(method) = methods.find(|method| *method == "get" || *method == "head") {
        errors.at(
            &first.body,
            format!(
                "a `{method}` request has no body: use `post`, or take the fields as arguments"
            ),
        );
    }
}

fn path(handler: &Handler, errors: &mut Errors) {
    let Some(routes) = &handler.options.routes else {
        for named in handler.named() {
            if let Some(attr) = &named.path {
                errors.at(attr, "a `func` API has no path: remove `#[path]`");
            }
        }
        return;
    };
    let names = &routes.template.names;
    for name in names {
        let Some(named) = handler.named().find(|named| named.name == *name) else {
            errors.at(
                &routes.path,
                format!(
                    "`{{{name}}}` has no argument: add `{name}: String` to `{}`, or another type",
                    handler.ident
                ),
            );
            continue;
        };
        let problem = match (&named.form, named.place) {
            (_, Place::Body | Place::Raw | Place::Upload) => {
                "it cannot be the body too: rename one"
            }
            (Form::Optional(_), _) => "it is always there: write it without `Option`",
            (Form::Default(_), _) => "it is always there: remove the default",
            (Form::Required, _) if crate::types::is_called(&named.ty, "Vec") => {
                "it is one value: write it without `Vec`, or take the list from the query"
            }
            (Form::File | Form::OptionalFile | Form::Files, _) => {
                "it cannot be a file too: rename one"
            }
            (Form::Required | Form::Bytes, _) => continue,
        };
        errors.at(
            &named.ty,
            format!(
                "`{name}` is part of the path `{}`, {problem}",
                routes.path.value()
            ),
        );
    }
    for named in handler.named() {
        if let Some(attr) = &named.path
            && !names.contains(&named.name)
        {
            errors.at(
                attr,
                format!(
                    "`{}` is not in the path `{}`: add `{{{}}}` to it, or remove `#[path]`",
                    named.name,
                    routes.path.value(),
                    named.name
                ),
            );
        }
    }
}

/// Checks the APIs of one plugin against each other. That no two of them have
/// one name is the compiler's to say.
pub(crate) fn apis(plugin: &Plugin, errors: &mut Errors) {
    let mut routes: HashMap<(String, &str), &Handler> = HashMap::new();
    for handler in &plugin.handlers {
        // Of two that exclude each other by `cfg`, only one is there.
        let conditional = |other: &Handler| !handler.cfgs.is_empty() && !other.cfgs.is_empty();
        let Some(found) = &handler.options.routes else {
            continue;
        };
        for method in &found.methods {
            let key = (method.to_string(), found.template.shape.as_str());
            if let Some(first) = routes.insert(key, handler)
                && !conditional(first)
            {
                errors.at(
                    &found.path,
                    format!(
                        "`{}` answers `{} {}` already: give `{}` another path or method",
                        first.ident,
                        method.to_string().to_uppercase(),
                        found.path.value(),
                        handler.ident
                    ),
                );
            }
        }
    }
}
