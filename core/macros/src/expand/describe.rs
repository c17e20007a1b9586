//! The descriptor of one API.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::Type;

use super::{Support, at, plugin};
use crate::api_options::Kind;
use crate::model::{Form, Handler, Named, Place, Plugin};
use crate::result::{Item, Output};
use crate::types::{self, Peeled};

/// Which question a type is asked about its description.
#[derive(Clone, Copy)]
enum Role {
    Argument,
    Returned,
    Streamed,
}

/// An expression that builds the descriptor.
pub(super) fn descriptor(plugin: &Plugin, handler: &Handler, support: &Support) -> TokenStream {
    let private = &support.private;
    let options = &handler.options;
    let id = plugin::api_id(plugin, handler);
    let kind = format_ident!(
        "{}",
        match options.kind {
            Kind::Http => "Http",
            Kind::Func => "Func",
            Kind::All => "All",
        }
    );
    let routes = options.routes.iter().flat_map(|routes| {
        routes.methods.iter().map(|method| {
            let method = method.to_string().to_ascii_uppercase();
            let path = &routes.path;
            let prefix = options.api_prefix;
            code!(api.route(#method, #path, #prefix);)
        })
    });
    let (summary, description) = (&handler.summary, &handler.description);
    let tags = tags(plugin, handler);
    let deprecated = options.deprecated.then(|| code!(api.deprecated();));
    let unlisted = (!options.include_in_schema).then(|| code!(api.unlisted();));
    let raw = options.raw.then(|| code!(api.raw();));
    let guarded = options.guarded.then(|| code!(api.guarded();));
    let idempotent = options.idempotent.then(|| code!(api.idempotent();));
    let live = options.live.then(|| code!(api.live();));
    let headers = handler.takes_context().then(|| code!(api.headers();));
    let timeout = options
        .timeout_ms
        .map(|millis| code!(api.timeout(#millis);));
    let limit = options
        .max_ongoing_requests
        .map(|limit| code!(api.max_ongoing_requests(#limit);));
    let size = options.max_body_size.as_ref();
    let size = size.map(|(_, bytes)| code!(api.max_body_size(#bytes);));
    let parameters = handler
        .named()
        .map(|named| parameter(plugin, named, support));
    let reply = reply(plugin, handler, support);
    code! {{
        let mut api = #private::Described::new(#id, #private::ApiKind::#kind);
        #(#routes)*
        api.texts(#summary, #description, &[#(#tags),*]);
        #deprecated
        #unlisted
        #raw
        #guarded
        #idempotent
        #live
        #headers
        #timeout
        #limit
        #size
        #(#parameters)*
        #reply
        api.finish()
    }}
}

/// Its own tags, else the plugin's, else the plugin's name.
fn tags(plugin: &Plugin, handler: &Handler) -> Vec<String> {
    let texts = |tags: &[syn::LitStr]| tags.iter().map(syn::LitStr::value).collect::<Vec<_>>();
    if !handler.options.tags.is_empty() {
        texts(&handler.options.tags)
    } else if !plugin.options.tags.is_empty() {
        texts(&plugin.options.tags)
    } else {
        vec![plugin::name(plugin)]
    }
}

fn parameter(plugin: &Plugin, named: &Named, support: &Support) -> TokenStream {
    let private = &support.private;
    let name = &named.name;
    let location = location(named.place);
    let required = named.is_required();
    let description = &named.description;
    let about = code! {
        #private::Named {
            name: #name,
            location: #private::Location::#location,
            required: #required,
            description: #description,
        }
    };
    let none = code!(#private::core::option::Option::None);
    let (ty, default) = match &named.form {
        Form::Bytes | Form::File | Form::OptionalFile => {
            return code!(api.binary(#about, false););
        }
        Form::Files => return code!(api.binary(#about, true);),
        Form::Required => (&named.ty, none),
        Form::Optional(inner) => (inner, none),
        Form::Default(_) => {
            let ty = types::without_self(&named.ty, &plugin.self_ty);
            let default = super::run::default(plugin, named, support);
            let shown = code! {{
                let default: #ty = #default;
                (&&#private::Probe::of(&default)).shown(&default)
            }};
            (&named.ty, shown)
        }
    };
    let schema = schema(plugin, ty, Role::Argument, support);
    code! {{
        let schema = {
            let components = api.components();
            #schema
        };
        api.parameter(#about, #default, schema);
    }}
}

fn location(place: Place) -> Ident {
    let name = match place {
        Place::Query => "Query",
        Place::Path => "Path",
        Place::Body => "Body",
        Place::Raw => "Raw",
        Place::Upload => "Upload",
        Place::Form => "Form",
        Place::File => "File",
    };
    Ident::new(name, Span::call_site())
}

/// A statement that sets what the API answers.
fn reply(plugin: &Plugin, handler: &Handler, support: &Support) -> TokenStream {
    let private = &support.private;
    let stream = |schema: TokenStream| {
        code! {
            let schema = {
                let components = api.components();
                #schema
            };
            api.reply(#private::ReplyShape::Stream { schema });
        }
    };
    match &handler.output {
        Output::Value(ty) => {
            let unit = unit();
            let shape = shape(plugin, ty.as_ref().unwrap_or(&unit), support);
            code! {
                let shape = {
                    let components = api.components();
                    #shape
                };
                api.reply(shape);
            }
        }
        Output::Events => code!(api.reply(#private::ReplyShape::Stream {
            schema: #private::anything(),
        });),
        Output::Stream(Item::Type(ty)) => stream(schema(plugin, ty, Role::Streamed, support)),
        Output::Stream(Item::Of(ty)) => {
            let item: Type = syn::parse_quote!(<#ty as #private::Stream>::Item);
            stream(schema(plugin, &item, Role::Streamed, support))
        }
    }
}

/// An expression for the schema of `ty`; `components` takes what it refers to.
fn schema(plugin: &Plugin, ty: &Type, role: Role, support: &Support) -> TokenStream {
    let private = &support.private;
    let inner = |ty: &Type| schema(plugin, ty, role, support);
    match types::peel(ty) {
        Peeled::Nullable(ty) => {
            let inner = inner(ty);
            code!(#private::nullable(#inner))
        }
        Peeled::List(ty) => {
            let inner = inner(ty);
            code!(#private::list(#inner))
        }
        Peeled::Map(ty) => {
            let inner = inner(ty);
            code!(#private::map(#inner))
        }
        Peeled::Set(ty) => {
            let inner = inner(ty);
            code!(#private::set(#inner))
        }
        Peeled::Array(ty, length) => {
            let inner = inner(ty);
            code!(#private::array(#inner, #length))
        }
        Peeled::Tuple(types) => {
            let inner = types.into_iter().map(inner);
            code!(#private::tuple([#(#inner),*]))
        }
        Peeled::Nothing(ty) => inner(ty),
        Peeled::Core(ty) => {
            let span = at(ty);
            let question = Ident::new(
                match role {
                    Role::Argument => "argument",
                    Role::Returned => "returned",
                    Role::Streamed => "streamed",
                },
                span,
            );
            asked(
                plugin,
                ty,
                role,
                &quote_spanned!(span=> #question().schema),
                support,
            )
        }
    }
}

/// An expression for the `ReplyShape` of a handler that returns `ty`.
fn shape(plugin: &Plugin, ty: &Type, support: &Support) -> TokenStream {
    let private = &support.private;
    let value = types::argument_of(ty, "Result").unwrap_or(ty);
    match types::peel(value) {
        Peeled::Core(value) => {
            let method = quote_spanned!(at(value)=> returned().shape);
            asked(plugin, value, Role::Returned, &method, support)
        }
        _ => {
            let schema = schema(plugin, value, Role::Returned, support);
            code!(#private::ReplyShape::Value { schema: #schema })
        }
    }
}

/// Asks a type that is no known container.
fn asked(
    plugin: &Plugin,
    ty: &Type,
    role: Role,
    method: &TokenStream,
    support: &Support,
) -> TokenStream {
    let private = &support.private;
    let span = at(ty);
    let ty = match role {
        // `Result<T>` is described as its `T`; one with another name is seen
        // through below.
        Role::Streamed => types::argument_of(ty, "Result").unwrap_or(ty),
        Role::Argument | Role::Returned => ty,
    };
    if !matches!(types::peel(ty), Peeled::Core(_)) {
        return schema(plugin, ty, role, support);
    }
    let ty = types::without_self(ty, &plugin.self_ty);
    match role {
        Role::Argument => quote_spanned! {span=>
            (&&&&#private::Probe::<#ty>::NEW)
                .#method::<#ty>(#private::Probe::NEW, components)
        },
        Role::Returned | Role::Streamed => quote_spanned! {span=> {
            let probe = (&&&&#private::Probe::<#ty>::NEW)
                .outcome()
                .inner(#private::Probe::<#ty>::NEW);
            (&&&&probe).#method(probe, components)
        }},
    }
}

fn unit() -> Type {
    syn::parse_quote!(())
}
