//! Types as the macros see them: as text.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{AssocType, Expr, GenericArgument, PathArguments, PathSegment, Type, TypeParamBound};

/// The last segment of a path type: `Option<T>` of `std::option::Option<T>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match bare(ty) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// Whether the type is called `name`, wherever it lives.
pub(crate) fn is_called(ty: &Type, name: &str) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == name)
}

/// `T` of `name<T, ..>`.
pub(crate) fn argument_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let segment = last_segment(ty)?;
    if segment.ident != name {
        return None;
    }
    type_arguments(segment).next()
}

/// The type arguments of a segment.
pub(crate) fn type_arguments(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    arguments
        .into_iter()
        .flatten()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}

/// What a container of the standard library holds, and how that is described.
pub(crate) enum Peeled<'a> {
    /// `Option<T>`
    Nullable(&'a Type),
    /// `Vec<T>`
    List(&'a Type),
    /// `HashSet<T>`
    Set(&'a Type),
    /// `[T; length]`
    Array(&'a Type, &'a Expr),
    /// `(A, B)`
    Tuple(Vec<&'a Type>),
    /// `HashMap<_, T>`
    Map(&'a Type),
    /// `Box<T>`: as if it were not there.
    Nothing(&'a Type),
    /// No container.
    Core(&'a Type),
}

/// Looks into one container.
pub(crate) fn peel(ty: &Type) -> Peeled<'_> {
    let Some(segment) = last_segment(ty) else {
        return match bare(ty) {
            Type::Array(array) => Peeled::Array(&array.elem, &array.len),
            Type::Tuple(tuple) if !tuple.elems.is_empty() => {
                Peeled::Tuple(tuple.elems.iter().collect())
            }
            _ => Peeled::Core(ty),
        };
    };
    let mut arguments = type_arguments(segment);
    let (first, second) = (arguments.next(), arguments.next());
    match (segment.ident.to_string().as_str(), first, second) {
        ("Option", Some(inner), None) => Peeled::Nullable(inner),
        ("Vec" | "VecDeque", Some(inner), None) => Peeled::List(inner),
        ("HashSet" | "BTreeSet", Some(inner), None) => Peeled::Set(inner),
        ("Box" | "Arc", Some(inner), None) => Peeled::Nothing(inner),
        ("HashMap" | "BTreeMap", Some(_), Some(inner)) => Peeled::Map(inner),
        _ => Peeled::Core(ty),
    }
}

/// Without the invisible groups and parentheses around it.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Whether it is the unit type.
pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(bare(ty), Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// `X` of `impl Stream<Item = X>`.
pub(crate) fn stream_item(ty: &Type) -> Option<&Type> {
    let Type::ImplTrait(bounds) = bare(ty) else {
        return None;
    };
    let stream = bounds.bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound
            .path
            .segments
            .last()
            .filter(|segment| segment.ident == "Stream"),
        _ => None,
    })?;
    let PathArguments::AngleBracketed(arguments) = &stream.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(AssocType { ident, ty, .. }) if ident == "Item" => Some(ty),
        _ => None,
    })
}

/// The tokens of `code` with `Self` written out, for use outside of the `impl`.
pub(crate) fn without_self(code: impl ToTokens, self_ty: &Type) -> TokenStream {
    fn replace(tokens: TokenStream, self_ty: &TokenStream) -> TokenStream {
        tokens
            .into_iter()
            .flat_map(|token| match token {
                TokenTree::Ident(ident) if ident == "Self" => self_ty.clone(),
                TokenTree::Group(group) => {
                    let mut inner = Group::new(group.delimiter(), replace(group.stream(), self_ty));
                    inner.set_span(group.span());
                    TokenTree::Group(inner).into()
                }
                other => other.into(),
            })
            .collect()
    }
    replace(code.to_token_stream(), &self_ty.to_token_stream())
}
