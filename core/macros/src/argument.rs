//! The arguments of a method.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::{Attribute, Error, Expr, Meta, Pat, PatType, Type};

use crate::docs;
use crate::errors::Errors;
use crate::keys::{self, Entry};
use crate::model::{Argument, Form, Named, Place};
use crate::types;

/// The attributes of arguments that are ours.
const OURS: [&str; 4] = ["arg", "body", "path", "doc"];

/// Takes our attributes off an argument, so that the compiler never sees them.
pub(crate) fn strip(argument: &mut PatType) -> Vec<Attribute> {
    let (ours, others) = std::mem::take(&mut argument.attrs)
        .into_iter()
        .partition(|attr| OURS.iter().any(|name| attr.path().is_ident(name)));
    argument.attrs = others;
    ours
}

/// Reads one argument; `None` if it cannot be one, which is noted.
pub(crate) fn read(
    argument: &PatType,
    attrs: &[Attribute],
    errors: &mut Errors,
) -> Option<Argument> {
    if is_context(&argument.ty) {
        return Some(Argument::Context);
    }
    errors.take(check_type(&argument.ty));
    let Pat::Ident(pattern) = &*argument.pat else {
        errors.at(
            &argument.pat,
            "an argument of an API has a name, which callers use: write `name: Type` and take it apart in the body",
        );
        return None;
    };
    if let Some(by_ref) = &pattern.by_ref {
        errors.at(
            by_ref,
            "an argument of an API is a plain name: remove `ref`",
        );
        return None;
    }
    let ident = pattern.ident.clone();
    let mut named = Named {
        name: ident.unraw().to_string(),
        ident,
        ty: (*argument.ty).clone(),
        form: Form::Required,
        place: Place::Query,
        description: docs::text(attrs),
        body: None,
        path: None,
    };
    let mut default = None;
    for attr in attrs {
        if attr.path().is_ident("body") {
            errors.take(plain(attr));
            named.body = Some(attr.clone());
        } else if attr.path().is_ident("path") {
            errors.take(plain(attr));
            named.path = Some(attr.clone());
        } else if attr.path().is_ident("arg") {
            let tokens = match &attr.meta {
                Meta::List(list) => list.tokens.clone(),
                _ => TokenStream::new(),
            };
            set(&mut named, &mut default, tokens, errors);
        }
    }
    named.form = errors.take(form(&named, default))?;
    Some(Argument::Named(named))
}

fn plain(attr: &Attribute) -> syn::Result<()> {
    attr.meta.require_path_only().map(drop).map_err(|_| {
        Error::new_spanned(
            attr,
            "takes no value; a description or a name goes into `#[arg(..)]`",
        )
    })
}

fn set(named: &mut Named, default: &mut Option<Expr>, tokens: TokenStream, errors: &mut Errors) {
    for entry in keys::entries(tokens, errors) {
        let key = match entry {
            Entry::Text(text) => {
                errors.at(text, "a text without a key: write `description = \"..\"`");
                continue;
            }
            Entry::Key(key) => key,
        };
        match key.name().as_str() {
            "default" => *default = errors.take(key.expression()),
            "description" => {
                if let Some(text) = errors.take(key.text()) {
                    named.description = text.value();
                }
            }
            "name" => {
                if let Some(text) = errors.take(key.text()) {
                    let name = text.value();
                    if name.is_empty() || name.chars().any(char::is_control) {
                        errors.at(
                            text,
                            "a name on the wire is not empty and has no control characters",
                        );
                    } else {
                        named.name = name;
                    }
                }
            }
            _ => errors.push(key.unknown("key", &["default", "description", "name"])),
        }
    }
}

/// How the argument is read.
fn form(named: &Named, default: Option<Expr>) -> syn::Result<Form> {
    let ty = &named.ty;
    let ident = &named.ident;
    let optional = types::argument_of(ty, "Option");
    let holds_file = |ty: Option<&Type>| ty.is_some_and(|ty| types::is_called(ty, "Upload"));
    let file = if types::is_called(ty, "Upload") {
        Some(Form::File)
    } else if holds_file(optional) {
        Some(Form::OptionalFile)
    } else if holds_file(types::argument_of(ty, "Vec")) {
        Some(Form::Files)
    } else {
        None
    };
    if let Some(default) = default {
        if file.is_some() || types::is_called(ty, "Bytes") {
            let message = format!("`{ident}` cannot have a default: write `Option<Upload>`");
            return Err(Error::new_spanned(default, message));
        }
        if let Some(inner) = optional {
            let inner = quote::quote!(#inner).to_string().replace(' ', "");
            let message =
                format!("`{ident}` has a default, so it is never `None`: write `{ident}: {inner}`");
            return Err(Error::new_spanned(ty, message));
        }
        return Ok(Form::Default(default));
    }
    if let Some(file) = file {
        return Ok(file);
    }
    if types::is_called(ty, "Bytes") {
        if named.body.is_none() {
            let message = format!(
                "bytes are the whole body: write `#[body] {ident}: Bytes`, or `Upload` for a file"
            );
            return Err(Error::new_spanned(ty, message));
        }
        return Ok(Form::Bytes);
    }
    if optional.is_some_and(|ty| types::is_called(ty, "Bytes")) {
        let message = "bytes are empty when there is no body: write `Bytes`";
        return Err(Error::new_spanned(ty, message));
    }
    Ok(match optional {
        Some(inner) => Form::Optional(inner.clone()),
        None => Form::Required,
    })
}

/// `&Context`, wherever it lives.
pub(crate) fn is_context(ty: &Type) -> bool {
    match types::bare(ty) {
        Type::Reference(reference) => {
            reference.mutability.is_none() && types::is_called(&reference.elem, "Context")
        }
        _ => false,
    }
}

/// That a value of the type can come from a call.
fn check_type(ty: &Type) -> syn::Result<()> {
    let message = match types::bare(ty) {
        Type::Reference(reference) => match types::bare(&reference.elem) {
            inner if types::is_called(inner, "Context") => {
                "the context is shared: write `&Context`".to_owned()
            }
            inner if types::is_called(inner, "str") => {
                "an API owns its arguments: write `String` instead of `&str`".to_owned()
            }
            Type::Slice(slice) => {
                let elem = &slice.elem;
                format!(
                    "an API owns its arguments: write `Vec<{}>`",
                    quote::quote!(#elem)
                )
            }
            inner => format!(
                "an API owns its arguments: write `{}` without `&`",
                quote::quote!(#inner)
            ),
        },
        Type::ImplTrait(_) => {
            "an argument of an API has one type, which callers can know: name it".to_owned()
        }
        _ if types::is_called(ty, "Context") => {
            "the context is borrowed: write `&Context`".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Error::new_spanned(ty, message))
}
