//! The result of a method.

use proc_macro2::Ident;
use syn::{Error, ReturnType, Signature, Type};

use crate::types;

/// What a handler gives back.
pub(crate) enum Output {
    /// One value, or a `Result` of one; nothing if `None`.
    Value(Option<Type>),
    /// An `EventStream`, or a `Result` of one.
    Events,
    /// A stream of items of this type, or a `Result` of one.
    Stream(Item),
}

/// The items of a stream.
pub(crate) enum Item {
    /// Of this type.
    Type(Type),
    /// Of whatever type this stream has.
    Of(Type),
}

/// Reads what `sig` returns; `stream` is the word in `#[on_request]`.
pub(crate) fn read(sig: &Signature, stream: Option<&Ident>) -> syn::Result<Output> {
    let method = &sig.ident;
    let ty = match &sig.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some(&**ty),
    };
    // What a success is.
    let value = ty.map(|ty| types::argument_of(ty, "Result").unwrap_or(ty));
    let events = value.is_some_and(|ty| types::is_called(ty, "EventStream"));
    let streams = value.is_some_and(names_a_stream);
    let Some(stream) = stream else {
        if let Some(ty) = value.filter(|_| events || streams) {
            let message = format!(
                "`{method}` returns a stream: add the word `stream` to its `#[on_request]`"
            );
            return Err(Error::new_spanned(ty, message));
        }
        if sig.asyncness.is_none() {
            let message = format!("`{method}` must be async: write `async fn {method}`");
            return Err(Error::new_spanned(sig.fn_token, message));
        }
        if let Some(Type::ImplTrait(ty)) = value.map(types::bare) {
            let message = format!(
                "`{method}` returns a type without a name: name it, since its schema is part of the API"
            );
            return Err(Error::new_spanned(ty, message));
        }
        return Ok(Output::Value(ty.cloned()));
    };
    let Some(value) = value.filter(|ty| !types::is_unit(ty)) else {
        let message = format!(
            "`{method}` is a `stream` and returns nothing: return `impl Stream<Item = ..>` or `EventStream`"
        );
        return Err(Error::new_spanned(stream, message));
    };
    if events {
        return Ok(Output::Events);
    }
    if let Some(item) = types::stream_item(value) {
        return Ok(Output::Stream(Item::Type(item.clone())));
    }
    if streams {
        let message = "of what? Write `impl Stream<Item = String>`, or another item";
        return Err(Error::new_spanned(value, message));
    }
    if is_no_stream(value) {
        let message = format!(
            "`{method}` is a `stream`, this is none: return `impl Stream<Item = ..>` or `EventStream`, or remove the word `stream`"
        );
        return Err(Error::new_spanned(value, message));
    }
    Ok(Output::Stream(Item::Of(value.clone())))
}

/// `impl Stream<..>`, with or without its item.
fn names_a_stream(ty: &Type) -> bool {
    let Type::ImplTrait(bounds) = types::bare(ty) else {
        return false;
    };
    bounds.bounds.iter().any(|bound| match bound {
        syn::TypeParamBound::Trait(bound) => bound
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Stream"),
        _ => false,
    })
}

/// Types that are certainly no streams.
fn is_no_stream(ty: &Type) -> bool {
    const NEVER: [&str; 18] = [
        "String", "Vec", "Option", "bool", "char", "i8", "i16", "i32", "i64", "u8", "u16", "u32",
        "u64", "f32", "f64", "Value", "Response", "RawJson",
    ];
    match types::bare(ty) {
        Type::Path(_) => NEVER.iter().any(|name| types::is_called(ty, name)),
        Type::ImplTrait(_) | Type::Tuple(_) | Type::Array(_) | Type::Slice(_) => true,
        Type::Reference(_) => true,
        _ => false,
    }
}
