//! The signatures of functions that run elsewhere than where they are called: they own what
//! they take and give.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Attribute, Error, Pat, PatType, Path, Result, ReturnType, Safety, Signature, Type};

use crate::errors::Errors;
use crate::expand::Support;
use crate::types;

/// An argument: a name and an owned type.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
}

/// What a function gives.
pub(crate) struct Returned {
    /// The type of a success.
    pub(crate) value: TokenStream,
    /// Whether it is in a `Result`.
    pub(crate) fallible: bool,
}

/// Notes what no such function can be. `what` is what it is called in messages, with its
/// article.
pub(crate) fn check(what: &str, sig: &Signature, errors: &mut Errors) {
    if !sig.generics.params.is_empty() {
        errors.at(
            &sig.generics,
            format!(
                "{what} cannot be generic: write one that calls `{}` with the types you need",
                sig.ident
            ),
        );
    }
    if let Safety::Unsafe(token) = &sig.safety {
        let message = format!("{what} cannot be unsafe: wrap it in a safe one");
        errors.at(token, message);
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic, format!("{what} has a fixed list of arguments"));
    }
}

/// The attributes that say whether the function is there at all.
pub(crate) fn cfgs(attrs: &[Attribute]) -> Vec<&Attribute> {
    attrs.iter().filter(|a| a.path().is_ident("cfg")).collect()
}

/// Reads an argument.
pub(crate) fn argument(what: &str, argument: &PatType) -> Result<Argument> {
    let (pattern, ty) = (&*argument.pat, &*argument.ty);
    let Pat::Ident(name) = pattern else {
        let message = format!(
            "an argument of {what} has a name: write `name: Type` and take it apart in the body"
        );
        return Err(Error::new_spanned(pattern, message));
    };
    let written = |ty: &Type| quote!(#ty).to_string().replace(' ', "");
    let message = match types::bare(ty) {
        Type::Reference(reference) => {
            let owned = match types::bare(&reference.elem) {
                inner if types::is_called(inner, "str") => "String".to_owned(),
                Type::Slice(slice) => format!("Vec<{}>", written(&slice.elem)),
                inner => written(inner),
            };
            let mutable = if reference.mutability.is_some() {
                "&mut "
            } else {
                "&"
            };
            format!(
                "`{}` takes `{mutable}{}`; {what} owns its arguments: use `{owned}`",
                name.ident,
                written(&reference.elem)
            )
        }
        Type::ImplTrait(_) => format!("an argument of {what} has one type: name it"),
        _ => {
            return Ok(Argument {
                ident: name.ident.clone(),
                ty: ty.clone(),
            });
        }
    };
    Err(Error::new_spanned(ty, message))
}

/// Reads what a function gives.
pub(crate) fn result(what: &str, output: &ReturnType, krate: &Path) -> Result<Returned> {
    let returned = |value, fallible| Ok(Returned { value, fallible });
    let ReturnType::Type(_, ty) = output else {
        return returned(quote!(()), false);
    };
    let value = types::argument_of(ty, "Result").unwrap_or(ty);
    match types::bare(value) {
        Type::Reference(reference)
            if reference
                .lifetime
                .as_ref()
                .is_none_or(|l| l.ident != "static") =>
        {
            let message = format!("{what} owns its result: return an owned type such as `String`");
            return Err(Error::new_spanned(reference, message));
        }
        Type::ImplTrait(opaque) => {
            let message = format!("{what}'s result has one type: name it");
            return Err(Error::new_spanned(opaque, message));
        }
        _ => {}
    }
    if types::argument_of(ty, "Result").is_some() {
        return returned(quote!(#value), true);
    }
    if types::is_called(ty, "Result") {
        // An alias without arguments, e.g. `std::fmt::Result`.
        let private = Support::of(krate).private;
        return returned(quote!(<#ty as #private::Outcome>::Value), true);
    }
    returned(quote!(#ty), false)
}
