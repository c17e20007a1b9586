//! What an `impl` says, after reading.

use proc_macro2::Ident;
use syn::{Attribute, Expr, Type};

use crate::api_options::{ApiOptions, Kind};
use crate::lifecycle::Lifecycle;
use crate::plugin_options::PluginOptions;
use crate::result::Output;

/// A plugin.
pub(crate) struct Plugin {
    pub(crate) options: PluginOptions,
    /// The type that is a plugin.
    pub(crate) self_ty: Type,
    /// The last segment of its path: the second token of API ids.
    pub(crate) type_name: String,
    /// The doc comment of the `impl`.
    pub(crate) docs: String,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) handlers: Vec<Handler>,
}

/// One API.
pub(crate) struct Handler {
    pub(crate) ident: Ident,
    /// The `cfg` attributes of the method, which go for everything made of it.
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) options: ApiOptions,
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) receiver: Receiver,
    pub(crate) is_async: bool,
    /// In the method's order.
    pub(crate) arguments: Vec<Argument>,
    pub(crate) output: Output,
}

/// How a method takes its plugin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// `&self`
    Borrowed,
    /// `self: Arc<Self>`
    Shared,
    /// `self: &Arc<Self>`
    BorrowedShared,
}

/// One argument of a method.
pub(crate) enum Argument {
    /// `ctx: &Context`
    Context,
    /// A named value of the call.
    Named(Named),
}

/// A named value of the call.
pub(crate) struct Named {
    /// As it is called in the method.
    pub(crate) ident: Ident,
    /// Its name on the wire.
    pub(crate) name: String,
    /// Its whole type.
    pub(crate) ty: Type,
    pub(crate) form: Form,
    pub(crate) place: Place,
    pub(crate) description: String,
    /// What marks it as the body.
    pub(crate) body: Option<Attribute>,
    /// What marks it as part of the path.
    pub(crate) path: Option<Attribute>,
}

/// How an argument is read.
pub(crate) enum Form {
    /// It must be there.
    Required,
    /// `Option` of the type.
    Optional(Type),
    /// It has a default.
    Default(Expr),
    /// The body as bytes.
    Bytes,
    /// A file.
    File,
    /// A file or none.
    OptionalFile,
    /// Any number of files.
    Files,
}

impl Form {
    /// Whether it is made of files.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File | Self::OptionalFile | Self::Files)
    }
}

/// Where the edge finds an argument: `framex_core::descriptor::Location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Query,
    Path,
    Body,
    Raw,
    Upload,
    Form,
    File,
}

impl Named {
    /// Whether it is a part of a multipart body.
    pub(crate) fn is_part(&self) -> bool {
        self.form.is_file() && self.body.is_none()
    }

    /// Whether a call without it is refused. A body that is a file may be empty.
    pub(crate) fn is_required(&self) -> bool {
        match self.form {
            Form::Required => true,
            Form::File => self.body.is_none(),
            _ => false,
        }
    }
}

impl Handler {
    /// Its named arguments, in order.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Named> {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::Named(named) => Some(named),
            Argument::Context => None,
        })
    }

    /// Whether it sees the context, and with it the headers of the HTTP request.
    pub(crate) fn takes_context(&self) -> bool {
        self.arguments
            .iter()
            .any(|argument| matches!(argument, Argument::Context))
    }

    /// Whether it has no route.
    pub(crate) fn is_func(&self) -> bool {
        self.options.kind == Kind::Func
    }
}
