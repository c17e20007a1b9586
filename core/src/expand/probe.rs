//! Asks a type what it can do.

use std::marker::PhantomData;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::schema::{self, Components, Leaf};
use crate::descriptor::ReplyShape;
use crate::error::{BoxError, Error, Result};
use crate::event::Event;
use crate::reply::{Download, RawJson, Reply, Response};

/// A question about `T`, without a `T`.
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Clone for Probe<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Probe<T> {}

impl<T> Probe<T> {
    /// About a named type.
    pub const NEW: Self = Self(PhantomData);

    /// About the type of a value.
    #[must_use]
    pub fn of(_: &T) -> Self {
        Self::NEW
    }
}

// Is it a `Result`? `(&&&&probe).outcome()`

/// What a `Result` holds, under whatever name.
pub trait Outcome {
    /// Of a success.
    type Value;
}

impl<T, E> Outcome for std::result::Result<T, E> {
    type Value = T;
}

/// A `Result` whose error knows its status.
pub trait IsResult {
    /// Its tag.
    fn outcome(&self) -> ResultTag {
        ResultTag
    }
}

impl<T, E: Into<Error>> IsResult for &&&Probe<std::result::Result<T, E>> {}

/// A `Result` with an error that has no type of its own: a text, `Box<dyn Error>`,
/// `anyhow::Error`.
pub trait IsBoxed {
    /// Its tag.
    fn outcome(&self) -> BoxedTag {
        BoxedTag
    }
}

impl<T, E: Into<BoxError>> IsBoxed for &&Probe<std::result::Result<T, E>> {}

/// A `Result` with an error that we cannot return.
pub trait IsUnreturnable {
    /// Its tag.
    fn outcome(&self) -> UnreturnableTag {
        UnreturnableTag
    }
}

impl<T, E> IsUnreturnable for &Probe<std::result::Result<T, E>> {}

/// Anything else.
pub trait IsPlain {
    /// Its tag.
    fn outcome(&self) -> PlainTag {
        PlainTag
    }
}

impl<T> IsPlain for Probe<T> {}

/// See [`IsResult`].
pub struct ResultTag;

impl ResultTag {
    /// What a success holds.
    #[must_use]
    pub fn inner<T, E>(self, _: Probe<std::result::Result<T, E>>) -> Probe<T> {
        Probe::NEW
    }

    /// With the error as ours.
    ///
    /// # Errors
    ///
    /// The handler's.
    pub fn open<T, E: Into<Error>>(self, result: std::result::Result<T, E>) -> Result<T> {
        result.map_err(Into::into)
    }
}

/// See [`IsBoxed`].
pub struct BoxedTag;

impl BoxedTag {
    /// What a success holds.
    #[must_use]
    pub fn inner<T, E>(self, _: Probe<std::result::Result<T, E>>) -> Probe<T> {
        Probe::NEW
    }

    /// With the error as ours: a 500 whose reason is in the log.
    ///
    /// # Errors
    ///
    /// The handler's.
    pub fn open<T, E: Into<BoxError>>(self, result: std::result::Result<T, E>) -> Result<T> {
        result.map_err(Error::internal)
    }
}

/// Never implemented: what stands in the way of an error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned as an error",
    label = "this error cannot become a `framex::Error`",
    note = "return `framex::Result<T>`, or implement `std::error::Error` for the type (callers then see a 500 without details), or `From` it for `framex::Error` to choose status and message"
)]
pub trait HandlerError {}

/// See [`IsUnreturnable`].
pub struct UnreturnableTag;

impl UnreturnableTag {
    /// What a success holds.
    #[must_use]
    pub fn inner<T, E>(self, _: Probe<std::result::Result<T, E>>) -> Probe<T> {
        Probe::NEW
    }

    /// Does not compile.
    ///
    /// # Errors
    ///
    /// None.
    pub fn open<T, E: HandlerError>(self, result: std::result::Result<T, E>) -> Result<T> {
        result.map_err(|_| Error::validation(Vec::new()))
    }
}

/// See [`IsPlain`].
pub struct PlainTag;

impl PlainTag {
    /// Itself.
    #[must_use]
    pub fn inner<T>(self, probe: Probe<T>) -> Probe<T> {
        probe
    }

    /// A success.
    ///
    /// # Errors
    ///
    /// None.
    pub fn open<T>(self, value: T) -> Result<T> {
        Ok(value)
    }
}

// How is it described? `(&&&&probe).argument()`, `.returned()`, `.streamed()`

/// A type that we describe ourselves.
pub trait IsLeaf {
    /// Its tag as an argument.
    fn argument(&self) -> LeafTag {
        LeafTag
    }
    /// Its tag as a result.
    fn returned(&self) -> LeafTag {
        LeafTag
    }
    /// Its tag as an item of a stream.
    fn streamed(&self) -> LeafTag {
        LeafTag
    }
}

impl<T: Leaf> IsLeaf for &&Probe<T> {}

/// A type that describes itself to `utoipa`.
pub trait IsDescribed {
    /// Its tag as an argument.
    fn argument(&self) -> SchemaTag {
        SchemaTag
    }
    /// Its tag as a result.
    fn returned(&self) -> SchemaTag {
        SchemaTag
    }
    /// Its tag as an item of a stream.
    fn streamed(&self) -> SchemaTag {
        SchemaTag
    }
}

impl<T: ToSchema> IsDescribed for &Probe<T> {}

/// A type that nobody describes.
pub trait IsUndescribed {
    /// Its tag as an argument.
    fn argument(&self) -> NoArgumentTag {
        NoArgumentTag
    }
    /// Its tag as a result.
    fn returned(&self) -> NoResultTag {
        NoResultTag
    }
    /// Its tag as an item of a stream.
    fn streamed(&self) -> NoResultTag {
        NoResultTag
    }
}

impl<T> IsUndescribed for Probe<T> {}

/// A result with a form of its own: an `Answer`.
pub trait IsAnswer {
    /// Its tag as a result.
    fn returned(&self) -> AnswerTag {
        AnswerTag
    }
    /// How it is sent.
    fn answer(&self) -> AnswerTag {
        AnswerTag
    }
}

impl<T: Answer> IsAnswer for &&&Probe<T> {}

/// A result that becomes JSON.
pub trait IsValue {
    /// How it is sent.
    fn answer(&self) -> ValueTag {
        ValueTag
    }
}

impl<T> IsValue for Probe<T> {}

/// An item of a stream with a form of its own: an `Item`.
pub trait IsItem {
    /// Its tag as an item of a stream.
    fn streamed(&self) -> ItemTag {
        ItemTag
    }
    /// How it is sent.
    fn event(&self) -> ItemTag {
        ItemTag
    }
}

impl<T: Item> IsItem for &&&Probe<T> {}

/// An item that becomes JSON.
pub trait IsItemValue {
    /// How it is sent.
    fn event(&self) -> ValueItemTag {
        ValueItemTag
    }
}

impl<T> IsItemValue for Probe<T> {}

/// Never implemented: what stands in the way of an argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an API: it has no schema",
    label = "no schema for this type",
    note = "derive it, where the type is yours: `#[derive(serde::Deserialize, utoipa::ToSchema)]`",
    note = "for JSON of any shape use `serde_json::Value` or `framex::RawJson`"
)]
pub trait Argument {}

/// Never implemented: what stands in the way of a result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of an API: it has no schema",
    label = "no schema for this type",
    note = "derive it, where the type is yours: `#[derive(serde::Serialize, utoipa::ToSchema)]`",
    note = "for JSON of any shape use `serde_json::Value` or `framex::RawJson`; for other bytes `framex::Response`"
)]
pub trait Returned {}

/// See [`IsLeaf`].
pub struct LeafTag;

impl LeafTag {
    /// The schema.
    #[must_use]
    pub fn schema<T: Leaf>(self, _: Probe<T>, _: &mut Components) -> Value {
        T::schema()
    }

    /// What the descriptor says of the result.
    #[must_use]
    pub fn shape<T: Leaf>(self, _: Probe<T>, _: &mut Components) -> ReplyShape {
        let schema = T::schema();
        ReplyShape::Value { schema }
    }
}

/// See [`IsDescribed`].
pub struct SchemaTag;

impl SchemaTag {
    /// The schema.
    pub fn schema<T: ToSchema>(self, _: Probe<T>, components: &mut Components) -> Value {
        schema::of::<T>(components)
    }

    /// What the descriptor says of the result.
    pub fn shape<T: ToSchema>(self, _: Probe<T>, components: &mut Components) -> ReplyShape {
        let schema = schema::of::<T>(components);
        ReplyShape::Value { schema }
    }
}

/// See [`IsUndescribed`].
pub struct NoArgumentTag;

impl NoArgumentTag {
    /// Does not compile.
    #[must_use]
    pub fn schema<T: Argument>(self, _: Probe<T>, _: &mut Components) -> Value {
        Value::Null
    }
}

/// See [`IsUndescribed`].
pub struct NoResultTag;

impl NoResultTag {
    /// Does not compile.
    #[must_use]
    pub fn schema<T: Returned>(self, _: Probe<T>, _: &mut Components) -> Value {
        Value::Null
    }

    /// Does not compile.
    #[must_use]
    pub fn shape<T: Returned>(self, _: Probe<T>, _: &mut Components) -> ReplyShape {
        ReplyShape::Response
    }
}

/// A result with a form of its own.
pub trait Answer {
    /// What the descriptor says.
    fn shape() -> ReplyShape;
    /// The reply.
    fn into_reply(self) -> Reply;
}

impl Answer for Response {
    fn shape() -> ReplyShape {
        ReplyShape::Response
    }

    fn into_reply(self) -> Reply {
        Reply::Response(self)
    }
}

impl Answer for Download {
    fn shape() -> ReplyShape {
        ReplyShape::Response
    }

    fn into_reply(self) -> Reply {
        Reply::Download(self)
    }
}

impl Answer for bytes::Bytes {
    fn shape() -> ReplyShape {
        ReplyShape::Response
    }

    fn into_reply(self) -> Reply {
        Reply::Response(Response::bytes("application/octet-stream", self))
    }
}

impl Answer for RawJson {
    fn shape() -> ReplyShape {
        ReplyShape::Value {
            schema: schema::anything(),
        }
    }

    fn into_reply(self) -> Reply {
        Reply::Value(self.into_bytes())
    }
}

/// See [`IsAnswer`].
pub struct AnswerTag;

impl AnswerTag {
    /// What the descriptor says of the result.
    #[must_use]
    pub fn shape<T: Answer>(self, _: Probe<T>, _: &mut Components) -> ReplyShape {
        T::shape()
    }

    /// The reply.
    ///
    /// # Errors
    ///
    /// None.
    pub fn reply<T: Answer>(self, value: T) -> Result<Reply> {
        Ok(value.into_reply())
    }
}

/// A result that can be written as JSON.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of an API: it cannot be written as JSON",
    label = "not serialisable",
    note = "derive it, where the type is yours: `#[derive(serde::Serialize)]`"
)]
pub trait Writable: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Writable for T {}

/// See [`IsValue`].
pub struct ValueTag;

impl ValueTag {
    /// The reply.
    ///
    /// # Errors
    ///
    /// A 500 if `value` cannot be JSON.
    pub fn reply<T: Writable>(self, value: T) -> Result<Reply> {
        Reply::value(&value)
    }
}

/// An item of a stream with a form of its own.
pub trait Item {
    /// The schema of an event's data.
    fn schema() -> Value;
    /// The event.
    fn into_event(self) -> Event;
}

impl Item for Event {
    fn schema() -> Value {
        schema::anything()
    }

    fn into_event(self) -> Event {
        self
    }
}

impl Item for String {
    fn schema() -> Value {
        schema::content()
    }

    fn into_event(self) -> Event {
        Event::text(self)
    }
}

impl Item for &str {
    fn schema() -> Value {
        schema::content()
    }

    fn into_event(self) -> Event {
        Event::text(self.to_owned())
    }
}

/// See [`IsItem`].
pub struct ItemTag;

impl ItemTag {
    /// The schema of an event's data.
    #[must_use]
    pub fn schema<T: Item>(self, _: Probe<T>, _: &mut Components) -> Value {
        T::schema()
    }

    /// The event.
    ///
    /// # Errors
    ///
    /// None.
    pub fn event<T: Item>(self, item: T) -> Result<Event> {
        Ok(item.into_event())
    }
}

/// See [`IsItemValue`].
pub struct ValueItemTag;

impl ValueItemTag {
    /// The event.
    ///
    /// # Errors
    ///
    /// A 500 if `item` cannot be JSON.
    pub fn event<T: Writable>(self, item: T) -> Result<Event> {
        Event::json(&item)
    }
}

// Can it be shown as a default? `(&&probe).shown(&value)`

/// A type that can be shown.
pub trait IsShown<T> {
    /// Its JSON.
    fn shown(&self, value: &T) -> Option<Value>;
}

impl<T: Serialize> IsShown<T> for &Probe<T> {
    fn shown(&self, value: &T) -> Option<Value> {
        serde_json::to_value(value).ok()
    }
}

/// A type that cannot.
pub trait IsHidden<T> {
    /// Nothing.
    fn shown(&self, value: &T) -> Option<Value>;
}

impl<T> IsHidden<T> for Probe<T> {
    fn shown(&self, _: &T) -> Option<Value> {
        None
    }
}
