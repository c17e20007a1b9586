//! Reads an `impl`, and takes our attributes off it.

use proc_macro2::TokenStream;
use syn::{
    Attribute, Error, FnArg, ImplItem, ImplItemFn, ItemImpl, Meta, PathArguments,
    Receiver as SynReceiver, ReceiverKind, Result, Safety, Signature, Type, parse_quote,
};

use crate::api_options::ApiOptions;
use crate::errors::Errors;
use crate::lifecycle::{self, Lifecycle};
use crate::model::{Argument, Form, Handler, Named, Place, Plugin, Receiver};
use crate::plugin_options::PluginOptions;
use crate::{argument, docs, proxy, remote, result, types};

/// Whether `attr` is our `name`, under whatever path.
pub(crate) fn is_ours(attr: &Attribute, name: &str) -> bool {
    attr.path()
        .segments
        .last()
        .is_some_and(|segment| segment.ident == name)
}

/// Reads `item`, which loses our attributes and gains the remote forms of its
/// functions. `None` if it can be no plugin at all, which is noted.
pub(crate) fn plugin(
    options: TokenStream,
    item: &mut ItemImpl,
    errors: &mut Errors,
) -> Option<Plugin> {
    let options = PluginOptions::read(options, errors);
    let mut lifecycle = Lifecycle::default();
    let mut handlers = Vec::new();
    let mut remotes = Vec::new();
    for member in &mut item.items {
        let ImplItem::Fn(method) = member else {
            continue;
        };
        let request = take(method, "on_request");
        let own = argument_attributes(method, request.is_some());
        if let Some(attr) = take(method, "remote") {
            allow(method);
            remotes.extend(remote::of_method(&attr, method, &options.krate, errors));
        }
        if let Some(attr) = take(method, "on_proxy") {
            errors.at(attr, proxy::FREE);
        }
        let Some(request) = request else {
            if lifecycle::RESERVED
                .iter()
                .any(|name| method.sig.ident == name)
            {
                allow(method);
                lifecycle::read(method, &mut lifecycle, errors);
            }
            continue;
        };
        handlers.extend(handler(&request, method, &own, errors));
        allow(method);
    }
    item.items.extend(remotes.into_iter().map(ImplItem::Fn));
    lifecycle::check(&lifecycle, &options, errors);
    let type_name = errors.take(type_name(item))?;
    Some(Plugin {
        options,
        self_ty: (*item.self_ty).clone(),
        type_name,
        docs: docs::text(&item.attrs),
        lifecycle,
        handlers,
    })
}

/// The name of the plugin's type, if the `impl` is one that can be a plugin.
fn type_name(item: &ItemImpl) -> Result<String> {
    if let Some((path, _)) = &item.trait_ {
        let message =
            "`#[on_register]` goes on the type's own `impl Type { .. }`, not on that of a trait";
        return Err(Error::new_spanned(path, message));
    }
    if !item.generics.params.is_empty() {
        let message = "a plugin's type is not generic: its APIs need one name each; choose the type, or use `Box<dyn Trait>`";
        return Err(Error::new_spanned(&item.generics, message));
    }
    if let Some(clause) = &item.generics.where_clause {
        let message = "a plugin's type has no conditions: remove the `where` clause";
        return Err(Error::new_spanned(clause, message));
    }
    let Some(segment) = types::last_segment(&item.self_ty) else {
        let message = "a plugin is a struct or an enum with a name";
        return Err(Error::new_spanned(&item.self_ty, message));
    };
    if !matches!(segment.arguments, PathArguments::None) {
        let message = "a plugin's type is not generic: its APIs need one name each; wrap it, `struct Plugin(Generic<Choice>)`";
        return Err(Error::new_spanned(&segment.arguments, message));
    }
    token(&segment.ident)
}

/// An identifier as a token of an API id.
fn token(ident: &syn::Ident) -> Result<String> {
    use syn::ext::IdentExt;

    let name = ident.unraw().to_string();
    if name.is_ascii() {
        return Ok(name);
    }
    let message = format!("`{name}` becomes part of API ids, which are ASCII: rename it");
    Err(Error::new_spanned(ident, message))
}

fn take(method: &mut ImplItemFn, name: &str) -> Option<Attribute> {
    let index = method.attrs.iter().position(|attr| is_ours(attr, name))?;
    Some(method.attrs.remove(index))
}

/// Allows what the form of our functions demands. The author's own attributes
/// come after it and win.
pub(crate) fn allow(method: &mut ImplItemFn) {
    let allowed = parse_quote!(
        #[allow(
            clippy::needless_pass_by_value,
            clippy::too_many_arguments,
            clippy::unused_async,
            clippy::unused_self
        )]
    );
    method.attrs.insert(0, allowed);
}

/// The attributes of each argument; taken off those of handlers.
fn argument_attributes(method: &mut ImplItemFn, is_handler: bool) -> Vec<Vec<Attribute>> {
    if !is_handler {
        return Vec::new();
    }
    let strip = |input: &mut FnArg| match input {
        FnArg::Typed(argument) => Some(argument::strip(argument)),
        FnArg::Receiver(_) => None,
    };
    method.sig.inputs.iter_mut().filter_map(strip).collect()
}

fn handler(
    request: &Attribute,
    method: &ImplItemFn,
    own: &[Vec<Attribute>],
    errors: &mut Errors,
) -> Option<Handler> {
    let sig = &method.sig;
    let before = errors.len();
    if lifecycle::RESERVED.iter().any(|name| sig.ident == name) {
        let name = &sig.ident;
        errors.at(
            name,
            format!("`{name}` is reserved: FrameX calls it itself; rename the API"),
        );
        return None;
    }
    errors.take(token(&sig.ident));
    let tokens = match &request.meta {
        Meta::Path(_) => TokenStream::new(),
        Meta::List(list) => list.tokens.clone(),
        Meta::NameValue(pair) => {
            errors.at(pair, "write `#[on_request(..)]`");
            return None;
        }
    };
    let options = ApiOptions::read(tokens, &sig.ident, errors);
    errors.take(check_signature(sig));
    let receiver = errors.take(receiver(sig));
    let stream = options.as_ref().and_then(|options| options.stream.clone());
    let output = match &options {
        // Without its options, whether it streams is not known.
        None => None,
        Some(_) => errors.take(result::read(sig, stream.as_ref())),
    };
    let typed = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    });
    let mut arguments: Vec<Argument> = Vec::new();
    for (input, attrs) in typed.zip(own) {
        arguments.extend(argument::read(input, attrs, errors));
    }
    let (options, receiver, output) = (options?, receiver?, output?);
    let (mut summary, mut description) = docs::summary_and_description(&docs::text(&method.attrs));
    if let Some(text) = &options.summary {
        summary = text.value();
    }
    if let Some(text) = &options.description {
        description = text.value();
    }
    let mut handler = Handler {
        ident: sig.ident.clone(),
        cfgs: method
            .attrs
            .iter()
            .filter(|attr| attr.path().is_ident("cfg"))
            .cloned()
            .collect(),
        options,
        summary,
        description,
        receiver,
        is_async: sig.asyncness.is_some(),
        arguments,
        output,
    };
    place(&mut handler);
    crate::check::arguments(&handler, errors);
    (errors.len() == before).then_some(handler)
}

/// Decides where each argument comes from.
fn place(handler: &mut Handler) {
    let func = handler.is_func();
    let multipart = !func && handler.named().any(Named::is_part);
    let template = handler
        .options
        .routes
        .as_ref()
        .map(|routes| &routes.template);
    for argument in &mut handler.arguments {
        let Argument::Named(named) = argument else {
            continue;
        };
        let in_path = template.is_some_and(|template| template.names.contains(&named.name));
        named.place = match &named.form {
            Form::Bytes => Place::Raw,
            form if form.is_file() && named.body.is_some() => Place::Upload,
            form if form.is_file() => Place::File,
            _ if func => Place::Query,
            _ if named.body.is_some() => Place::Body,
            _ if in_path => Place::Path,
            _ if multipart => Place::Form,
            _ => Place::Query,
        };
    }
}

fn check_signature(sig: &Signature) -> Result<()> {
    if !sig.generics.params.is_empty() {
        let message = format!(
            "`{}` cannot be generic: an API has one type for each argument, which callers can know",
            sig.ident
        );
        return Err(Error::new_spanned(&sig.generics, message));
    }
    if let Safety::Unsafe(token) = &sig.safety {
        let message = "an API is open to everyone and cannot be unsafe: remove `unsafe`";
        return Err(Error::new_spanned(token, message));
    }
    Ok(())
}

/// `&self`, nothing more.
pub(crate) fn is_plain_borrow(receiver: &SynReceiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, None) => true,
        ReceiverKind::Typed(_, ty) => {
            matches!(types::bare(ty), Type::Reference(r) if r.mutability.is_none() && types::is_called(&r.elem, "Self"))
        }
        _ => false,
    }
}

fn receiver(sig: &Signature) -> Result<Receiver> {
    let method = &sig.ident;
    let Some(receiver) = sig.receiver() else {
        let message =
            format!("`{method}` does not take its plugin: write `async fn {method}(&self, ..)`");
        return Err(Error::new_spanned(method, message));
    };
    if is_plain_borrow(receiver) {
        return Ok(Receiver::Borrowed);
    }
    let arc_of_self = |ty: &Type| {
        types::argument_of(ty, "Arc").is_some_and(|inner| types::is_called(inner, "Self"))
    };
    match &receiver.kind {
        ReceiverKind::Typed(_, ty) if arc_of_self(ty) => Ok(Receiver::Shared),
        ReceiverKind::Typed(_, ty) => match types::bare(ty) {
            Type::Reference(reference)
                if reference.mutability.is_none() && arc_of_self(&reference.elem) =>
            {
                Ok(Receiver::BorrowedShared)
            }
            _ => Err(Error::new_spanned(
                receiver,
                "write `&self`, or `self: Arc<Self>` for what outlives the call",
            )),
        },
        ReceiverKind::Reference(_, _, Some(_)) => Err(Error::new_spanned(
            receiver,
            "calls run at the same time and share the plugin: write `&self`, and keep what changes in a `Mutex` or an atomic",
        )),
        _ => Err(Error::new_spanned(
            receiver,
            "the plugin outlives the call: write `&self`",
        )),
    }
}
