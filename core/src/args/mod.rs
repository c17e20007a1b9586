//! Arguments: the named values of one call, and how they become typed.
//!
//! A call has one form, a map of named values, and two ways to carry it: as the
//! JSON object that travels on a bus, or still spread over an HTTP request. The
//! second saves the edge from building the first for a handler in its own
//! process. [`Decoder`] reads both with the same rules and the same reports.

mod check;
mod decode;
mod http_args;
mod text;
mod texts;

use bytes::Bytes;
use serde::Serialize;

pub use decode::Decoder;
pub use http_args::{FormField, HttpArgs, HttpBody, PathValues, Upload};

use crate::descriptor::ApiDescriptor;
use crate::error::Error;

/// The arguments of one call.
#[derive(Debug)]
pub struct Args(pub(crate) Repr);

#[derive(Debug)]
pub(crate) enum Repr {
    Map(Bytes),
    Http(HttpArgs),
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
        Self(Repr::Map(object))
    }

    /// Arguments that still lie in an HTTP request.
    #[must_use]
    pub fn from_http(request: HttpArgs) -> Self {
        Self(Repr::Http(request))
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

    /// The arguments as the JSON object that travels on a bus.
    ///
    /// Texts of a request become what `api`'s schemas ask for, as far as they
    /// can be read so; what cannot is left a text, for the handler's side to refuse.
    ///
    /// # Errors
    ///
    /// 400 for a query or path that is not UTF-8, 501 for files and raw
    /// bytes, which no JSON object can carry.
    pub fn to_json(&self, api: &ApiDescriptor) -> Result<Bytes, Error> {
        match &self.0 {
            Repr::Map(object) => Ok(object.clone()),
            Repr::Http(request) => http_args::to_json(request, api),
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
