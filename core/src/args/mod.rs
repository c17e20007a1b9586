//! Arguments: the named values of one call, and how they become typed.
//!
//! A call has one form, a map of named values, and two ways to carry it: as the
//! [`Payload`] that travels on a bus, or still spread over an HTTP request. The
//! second saves the edge from building the first for a handler in its own
//! process. [`Decoder`] reads both with the same rules and the same reports.

mod binary;
mod check;
mod decode;
mod encode;
mod http_args;
mod passed;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod texts;
mod upload;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

pub(crate) use check::shorten;
pub use decode::Decoder;
pub(crate) use decode::by_type;
pub use http_args::{FormField, HttpArgs, HttpBody, PathValues};
pub use passed::{Aim, Named, Passed};
pub use upload::{Slot, Upload};

use crate::body::{Bodies, ByteStream};
use crate::descriptor::ApiDescriptor;
use crate::error::Error;
use crate::payload::Payload;

/// The arguments of one call.
#[derive(Debug)]
pub struct Args {
    repr: Repr,
    /// Whether they were an HTTP request's before they were a payload.
    by_http: bool,
    /// Files that somebody added.
    files: Vec<(String, Slot)>,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a box would cost every HTTP request an allocation"
)]
enum Repr {
    Payload(Payload, Option<Beside>),
    Http(HttpArgs),
}

/// The bodies that a payload came with.
struct Beside(Arc<dyn Bodies>);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bodies")
    }
}

/// The arguments of a call as they travel: one map, and beside it what is too large for
/// that, or not there yet.
#[derive(Debug)]
pub struct Message {
    /// The map.
    pub payload: Payload,
    /// In the map's place of each stands its number, its place in this list.
    pub bodies: Vec<ByteStream>,
}

impl Default for Args {
    fn default() -> Self {
        Self::from_json(Bytes::from_static(b"{}"))
    }
}

impl Args {
    /// Arguments as a JSON object. Whether it is one is found out when they are read.
    #[must_use]
    pub fn from_json(object: Bytes) -> Self {
        Self::from_payload(Payload::Json(object))
    }

    /// Arguments as they travel on a bus: one map, or nothing where there are none.
    /// Whether it is one is found out when they are read.
    ///
    /// Bytes and files are MessagePack's bin; JSON has a list of numbers for them.
    #[must_use]
    pub fn from_payload(payload: Payload) -> Self {
        Self {
            repr: Repr::Payload(payload, None),
            by_http: false,
            files: Vec::new(),
        }
    }

    /// As [`Args::from_payload`]; files of which the map has only a number
    /// ([`Args::to_message`]) are opened in `bodies`, when the handler's arguments are read.
    #[must_use]
    pub fn from_message(payload: Payload, bodies: Arc<dyn Bodies>) -> Self {
        Self {
            repr: Repr::Payload(payload, Some(Beside(bodies))),
            by_http: false,
            files: Vec::new(),
        }
    }

    /// Arguments that still lie in an HTTP request.
    #[must_use]
    pub fn from_http(request: HttpArgs) -> Self {
        Self {
            repr: Repr::Http(request),
            by_http: true,
            files: Vec::new(),
        }
    }

    /// Adds a file under the name of an argument, beside others of that name.
    #[must_use]
    pub fn with_file(mut self, name: impl Into<String>, file: Upload) -> Self {
        self.files.push((name.into(), file.into()));
        self
    }

    /// Says whether a payload was made of an HTTP request. If so, what lay in its
    /// URL or form is read as a text, and reports are those that the request itself
    /// would have had.
    #[must_use]
    pub fn made_of_http(mut self, yes: bool) -> Self {
        self.by_http = yes || matches!(self.repr, Repr::Http(_));
        self
    }

    /// Whether they are an HTTP request's, here or where the call began; a transport
    /// takes the answer along for [`Args::made_of_http`].
    #[must_use]
    pub fn by_http(&self) -> bool {
        self.by_http
    }

    /// Any value that serialises to a JSON object.
    ///
    /// # Errors
    ///
    /// A 500 if it cannot be JSON.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Ok(Self::from_json(
            serde_json::to_vec(value).map_err(Error::internal)?.into(),
        ))
    }

    /// The arguments as the map that travels on a bus: JSON, but for files and raw
    /// bytes, which only MessagePack carries as they are.
    ///
    /// Texts of a request become what `api`'s schemas ask for, as far as they
    /// can be read so; what cannot is left a text, for the handler's side to refuse.
    ///
    /// # Errors
    ///
    /// 422 for what no handler could read: a URL that is not percent-encoded UTF-8,
    /// a body that is not JSON. 500 for a file that is still coming, which only
    /// [`Args::to_message`] can send.
    pub fn to_payload(&self, api: &ApiDescriptor) -> Result<Payload, Error> {
        self.encode(api, None).map(|message| message.payload)
    }

    /// Waits until every file lies here: for transports that carry nothing in pieces.
    ///
    /// # Errors
    ///
    /// 413 if they are more than `most` bytes altogether; what broke one off.
    pub async fn gather(&self, most: usize) -> Result<(), Error> {
        let mut left = most;
        let slots = match &self.repr {
            Repr::Payload(..) => Vec::new(),
            Repr::Http(request) => request.body.slots(),
        };
        let added = self.files.iter().map(|(_, slot)| slot);
        for slot in slots.into_iter().chain(added) {
            left -= slot.gather(left).await?;
        }
        Ok(())
    }

    /// As [`Args::to_payload`], without files of more than `inline` bytes and without those
    /// that are still coming: they are taken out, and in the map stands
    /// `{"filename": .., "content_type": .., "body": <number>, "size": <bytes>}` for each,
    /// `size` if it is known. A whole body that is no file ([`Location::Raw`]) is in the map
    /// whatever its size.
    ///
    /// What was taken out is there no more: whoever asks twice keeps the message.
    ///
    /// [`Location::Raw`]: crate::descriptor::Location::Raw
    ///
    /// # Errors
    ///
    /// 422 as [`Args::to_payload`]; 500 for a file that was taken already.
    pub fn to_message(&self, api: &ApiDescriptor, inline: usize) -> Result<Message, Error> {
        self.encode(api, Some(inline))
    }

    fn encode(&self, api: &ApiDescriptor, inline: Option<usize>) -> Result<Message, Error> {
        match &self.repr {
            Repr::Payload(payload, _) => encode::with_files(payload, &self.files, inline),
            Repr::Http(request) if api.bridged => passed::message(request, inline),
            Repr::Http(request) => encode::message(request, &self.files, api, inline),
        }
    }
}

/// Builds [`Args`] one value after the other; [`args!`](crate::args) writes it.
#[derive(Debug)]
pub struct ArgsBuilder {
    object: Vec<u8>,
    failed: Option<serde_json::Error>,
}

impl Default for ArgsBuilder {
    fn default() -> Self {
        Self {
            object: vec![b'{'],
            failed: None,
        }
    }
}

impl ArgsBuilder {
    /// Adds a value. One that cannot be JSON fails the call that gets the arguments.
    #[must_use]
    pub fn with<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        if self.object.len() > 1 {
            self.object.push(b',');
        }
        let written = serde_json::to_writer(&mut self.object, name).and_then(|()| {
            self.object.push(b':');
            serde_json::to_writer(&mut self.object, value)
        });
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
        self
    }

    /// The finished arguments.
    #[must_use]
    pub fn build(mut self) -> Args {
        if let Some(error) = self.failed {
            // Not an object, so the call is refused with this text as its reason.
            let text = serde_json::json!(format!("an argument cannot be JSON: {error}"));
            return Args::from_json(text.to_string().into());
        }
        self.object.push(b'}');
        Args::from_json(self.object.into())
    }
}

/// Named arguments for a call: `args! { message, limit: 3 }`.
///
/// A bare name stands for the variable of that name. Values are anything that
/// serialises.
#[macro_export]
macro_rules! args {
    (@build $builder:expr $(,)?) => { $builder };
    (@build $builder:expr, $name:ident : $value:expr $(, $($rest:tt)*)?) => {
        $crate::args!(@build $builder.with(::core::stringify!($name), &$value) $(, $($rest)*)?)
    };
    (@build $builder:expr, $name:ident $(, $($rest:tt)*)?) => {
        $crate::args!(@build $builder.with(::core::stringify!($name), &$name) $(, $($rest)*)?)
    };
    ($($rest:tt)*) => {
        $crate::args!(@build <$crate::args::ArgsBuilder as ::core::default::Default>::default(), $($rest)*).build()
    };
}
