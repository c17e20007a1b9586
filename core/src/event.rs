//! Events and streams of them.

use std::any::Any;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use bytestring::ByteString;
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::kept::{Position, StreamId};

/// The name of an ordinary event.
pub const MESSAGE_CHUNK: &str = "message_chunk";
/// The name of the event that ends a stream well; the edge adds it.
pub const FINISH: &str = "finish";
/// The name of the event that ends a stream badly; the edge adds it.
pub const ERROR: &str = "error";
/// The name of an event for developers.
pub const DEBUG: &str = "debug";

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    name: Cow<'static, str>,
    data: Data,
    position: Option<Position>,
}

/// What an event carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Text; on the wire `{"content": text}`.
    Text(ByteString),
    /// Any JSON value, sent as it is.
    Json(Bytes),
}

impl Event {
    /// A `message_chunk` of text.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::message(Data::Text(match text.into() {
            Cow::Borrowed(text) => ByteString::from_static(text),
            Cow::Owned(text) => text.into(),
        }))
    }

    /// A `message_chunk` that carries `data`.
    #[must_use]
    pub fn message(data: Data) -> Self {
        Self {
            name: Cow::Borrowed(MESSAGE_CHUNK),
            data,
            position: None,
        }
    }

    /// A `message_chunk` with `value` as its data; a text becomes `{"content": text}`.
    ///
    /// # Errors
    ///
    /// A 500 if `value` cannot be JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let json = serde_json::to_vec(value).map_err(Error::internal)?;
        let data = if json.first() == Some(&b'"') {
            let text: String = serde_json::from_slice(&json).map_err(Error::internal)?;
            Data::Text(text.into())
        } else {
            Data::Json(json.into())
        };
        Ok(Self::message(data))
    }

    /// An event called `name`. A line break in it becomes a space.
    #[must_use]
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        let mut name = name.into();
        if name.contains(['\n', '\r']) {
            name = Cow::Owned(name.replace(['\n', '\r'], " "));
        }
        Self { name, ..self }
    }

    /// A `debug` event.
    #[must_use]
    pub fn debug(text: impl Into<Cow<'static, str>>) -> Self {
        Self::text(text).named(DEBUG)
    }

    /// The same event, at its place in a kept stream.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self {
            position: Some(position),
            ..self
        }
    }

    /// Its place, if its stream is kept.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it carries.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The text of a text event.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            Data::Json(_) => None,
        }
    }

    /// Reads the data into a type; a text reads as a JSON string.
    ///
    /// # Errors
    ///
    /// A 502 that names the mismatch: the stream sent something else.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match &self.data {
            Data::Text(text) => T::deserialize(serde::de::value::CowStrDeserializer::<
                serde_json::Error,
            >::new(Cow::Borrowed(&**text))),
            Data::Json(json) => serde_json::from_slice(json),
        }
        .map_err(|error| {
            Error::new(
                http::StatusCode::BAD_GATEWAY,
                format!("an event `{}` is not of the expected type", self.name),
            )
            .with_source(error)
        })
    }
}

impl From<String> for Event {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&'static str> for Event {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

/// How many events a handler's stream is polled for before they move on.
const BATCH: usize = 128;

/// The events of one call. Dropping it stops the handler.
///
/// An `Err` is its last item.
pub struct EventStream {
    ready: VecDeque<Result<Event, Error>>,
    source: Source,
    kept: Option<StreamId>,
}

enum Source {
    Stream(Pin<Box<dyn Stream<Item = Result<Event, Error>> + Send>>),
    Driver {
        driver: Pin<Box<dyn Future<Output = ()> + Send>>,
        handed: Arc<Handover>,
    },
    /// It panicked: the panic goes on once what it gave before is taken.
    Panicked(Option<Box<dyn Any + Send>>),
    Ended,
}

#[derive(Default)]
struct Handover(Mutex<VecDeque<Result<Event, Error>>>);

impl EventStream {
    /// A stream of any kind that owns what it needs.
    pub fn new(stream: impl Stream<Item = Result<Event, Error>> + Send + 'static) -> Self {
        Self {
            ready: VecDeque::new(),
            source: Source::Stream(Box::pin(stream)),
            kept: None,
        }
    }

    /// A stream made by a future that owns what the stream borrows, and hands
    /// its events to the [`Sink`] it is given.
    pub fn drive<F>(make: impl FnOnce(Sink) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handed = Arc::new(Handover::default());
        Self {
            ready: VecDeque::new(),
            source: Source::Driver {
                driver: Box::pin(make(Sink(Arc::clone(&handed)))),
                handed,
            },
            kept: None,
        }
    }

    /// Says that the stream is kept, and under which id: each of its events has a
    /// [position](Event::position).
    #[must_use]
    pub fn kept_as(mut self, id: StreamId) -> Self {
        self.kept = Some(id);
        self
    }

    /// Its id, if it is kept.
    #[must_use]
    pub fn kept(&self) -> Option<&StreamId> {
        self.kept.as_ref()
    }

    /// The next event; `None` after the last.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl EventStream {
    /// The next event, if the handler has made it already.
    pub fn take_ready(&mut self) -> Option<Event> {
        match self.ready.pop_front()? {
            Ok(event) => Some(event),
            Err(error) => {
                self.ready.push_front(Err(error));
                None
            }
        }
    }
}

/// Where a driven stream's events go.
#[derive(Clone)]
pub struct Sink(Arc<Handover>);

impl Sink {
    /// Hands over all of `stream`, each item made an event by `convert`, up to
    /// its end or first error.
    pub async fn forward<S: Stream>(
        self,
        stream: S,
        mut convert: impl FnMut(S::Item) -> Result<Event, Error>,
    ) {
        let mut stream = pin!(stream);
        poll_fn(|cx| {
            // The consumer polls only when it has taken everything, so what
            // lies here now was put here by this very poll.
            let mut batch = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            while batch.len() < BATCH {
                match stream.as_mut().poll_next(cx) {
                    Poll::Ready(Some(item)) => {
                        let event = convert(item);
                        let failed = event.is_err();
                        batch.push_back(event);
                        if failed {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Hands over an error, the stream's last item.
    pub fn fail(self, error: Error) {
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(Err(error));
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(item) = this.ready.pop_front() {
                if item.is_err() {
                    this.ready.clear();
                    this.source = Source::Ended;
                }
                return Poll::Ready(Some(item));
            }
            match &mut this.source {
                Source::Stream(stream) => {
                    let item = ready!(stream.as_mut().poll_next(cx));
                    if !matches!(item, Some(Ok(_))) {
                        this.source = Source::Ended;
                    }
                    return Poll::Ready(item);
                }
                Source::Driver { driver, handed } => {
                    let polled = catch_unwind(AssertUnwindSafe(|| driver.as_mut().poll(cx)));
                    {
                        let mut batch = handed.0.lock().unwrap_or_else(PoisonError::into_inner);
                        std::mem::swap(&mut *batch, &mut this.ready);
                    }
                    match polled {
                        Ok(Poll::Ready(())) => this.source = Source::Ended,
                        Ok(Poll::Pending) if this.ready.is_empty() => return Poll::Pending,
                        Ok(Poll::Pending) => {}
                        Err(panic) => this.source = Source::Panicked(Some(panic)),
                    }
                }
                Source::Panicked(panic) => match panic.take() {
                    Some(panic) => {
                        this.source = Source::Ended;
                        resume_unwind(panic);
                    }
                    None => return Poll::Ready(None),
                },
                Source::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    fn texts(events: Vec<Result<Event, Error>>) -> Vec<String> {
        events
            .into_iter()
            .map(|e| e.map_or_else(|e| format!("!{e}"), |e| e.as_text().unwrap().to_owned()))
            .collect()
    }

    #[tokio::test]
    async fn a_driven_stream_gives_everything_in_order() {
        let n = BATCH * 3 + 7;
        let events = EventStream::drive(|sink| {
            let owned: Vec<String> = (0..n).map(|i| i.to_string()).collect();
            async move {
                let borrowing = stream::iter(owned.iter());
                sink.forward(borrowing, |s| Ok(Event::text(s.clone())))
                    .await;
            }
        });
        let all: Vec<_> = events.collect().await;
        assert_eq!(
            texts(all),
            (0..n).map(|i| i.to_string()).collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn an_error_is_the_last_item() {
        let items = vec![
            Ok(Event::text("a")),
            Err(Error::conflict("b")),
            Ok(Event::text("c")),
        ];
        let driven = EventStream::drive(|sink| sink.forward(stream::iter(items), |item| item));
        assert_eq!(texts(driven.collect().await), ["a", "!b"]);
        let items = vec![Err(Error::conflict("b")), Ok(Event::text("c"))];
        assert_eq!(
            texts(EventStream::new(stream::iter(items)).collect().await),
            ["!b"]
        );
    }

    #[test]
    fn a_json_text_is_content() {
        assert_eq!(Event::json("x").unwrap(), Event::text("x"));
        assert_eq!(Event::text("x").parse::<String>().unwrap(), "x");
    }
}
