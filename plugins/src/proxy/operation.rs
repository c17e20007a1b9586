//! Operations: what an upstream's document says of one of its endpoints, as forwarding
//! needs it.

use framex_core::descriptor::ApiDescriptor;
use http::Method;

/// One operation of an upstream, ready to be served.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// As it is published. Its `guarded` is set; `id` is `proxy.<upstream>.<name>`.
    pub(crate) descriptor: ApiDescriptor,
    /// How a call becomes a request.
    pub(crate) shape: Shape,
}

/// How a call with named values becomes a request, and a passed one the same again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    /// The method.
    pub(crate) method: Method,
    /// What a published path begins with and the upstream does not know: the upstream's
    /// `prefix`, often empty.
    pub(crate) prefix: String,
    /// What the upstream's paths begin with and its document leaves out: the path of its
    /// URL, or of the document's `servers`. Begins with `/` and does not end with one, or is empty.
    pub(crate) base: String,
    /// The document's path, a template: `/items/{item_id}`.
    pub(crate) path: String,
    /// The document's parameters, in its order.
    pub(crate) parameters: Vec<Argument>,
    /// The body, if it takes one.
    pub(crate) body: Option<Body>,
    /// Whether its answers are streams of events.
    pub(crate) streams: bool,
}

/// A parameter of an operation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Argument {
    /// Its name, in the document and as a named value.
    pub(crate) name: String,
    /// Where it goes.
    pub(crate) place: Place,
    /// Whether the upstream insists on it.
    pub(crate) required: bool,
    /// How it is written.
    pub(crate) style: Style,
}

/// How a parameter is written, if it is a list or an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Each item, and each member, is a pair of its own: `a=1&a=2`.
    Pairs,
    /// `a=1,2`
    Commas,
    /// `a=1 2`
    Spaces,
    /// `a=1|2`
    Pipes,
    /// Each member is a pair: `a[x]=1&a[y]=2`.
    Deep,
    /// As JSON.
    Json,
    /// In a way that is not known here.
    Other,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

/// What an operation takes as its body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Body {
    /// How named values become it.
    pub(crate) form: Form,
    /// The document's media type.
    pub(crate) media_type: String,
    /// Whether the upstream insists on it.
    pub(crate) required: bool,
}

/// How named values become a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The value called `body`, or the only one that is no parameter, as JSON.
    Json,
    /// The values that are no parameters, as `application/x-www-form-urlencoded`.
    Urlencoded,
    /// The same and the files, as `multipart/form-data`.
    Multipart,
    /// The file called `body`, or a text of that name, as it is.
    Raw,
}
