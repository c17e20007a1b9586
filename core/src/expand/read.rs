//! Reads arguments: the methods of [`Decoder`], with our words for types that
//! cannot be read.

use serde::de::DeserializeOwned;

use crate::args::Decoder;

/// A type that can be read from JSON and from a text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an API: it cannot be read",
    label = "not deserialisable",
    note = "derive it, where the type is yours: `#[derive(serde::Deserialize)]`"
)]
pub trait Readable: DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + 'static> Readable for T {}

/// See [`Decoder::required`].
#[inline]
pub fn required<T: Readable>(decoder: &mut Decoder<'_>, index: usize) -> Option<T> {
    decoder.required(index)
}

/// See [`Decoder::optional`].
#[inline]
pub fn optional<T: Readable>(decoder: &mut Decoder<'_>, index: usize) -> Option<Option<T>> {
    decoder.optional(index)
}

/// See [`Decoder::or_else`].
#[inline]
pub fn or_else<T: Readable>(
    decoder: &mut Decoder<'_>,
    index: usize,
    default: impl FnOnce() -> T,
) -> Option<T> {
    decoder.or_else(index, default)
}
