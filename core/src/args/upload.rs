//! Files that come with a call.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::StatusCode;

use crate::body::ByteStream;
use crate::error::{Error, Result};

/// An uploaded file, as it comes: a part of a form, or a whole body.
///
/// Its bytes are read in pieces ([`Upload::next`], or as a [`Stream`]) while they
/// arrive, and the sender waits while the handler does not read. Whoever wants them all
/// in memory asks for [`Upload::bytes`].
///
/// An upload that was broken off ends with an `Err`, never as if it were whole. Nothing
/// that was made of the bytes before it should stay.
#[derive(Debug)]
pub struct Upload {
    /// The client's name for it, untrusted; empty if it gave none.
    pub filename: String,
    /// The client's media type for it, untrusted; empty if it gave none.
    pub content_type: String,
    body: ByteStream,
    most: Option<u64>,
}

impl Upload {
    /// A file without a name and a type.
    #[must_use]
    pub fn new(body: impl Into<ByteStream>) -> Self {
        Self {
            filename: String::new(),
            content_type: String::new(),
            body: body.into(),
            most: None,
        }
    }

    /// Sets the name.
    #[must_use]
    pub fn named(mut self, filename: impl Into<String>) -> Self {
        self.filename = filename.into();
        self
    }

    /// Sets the media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Sets how many bytes [`Upload::bytes`] gives at most.
    #[must_use]
    pub(super) fn bounded(mut self, most: Option<u64>) -> Self {
        self.most = most;
        self
    }

    /// How many bytes it has altogether, where that is known before they have come.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.body.size()
    }

    /// The next piece, never empty; `None` after the last.
    ///
    /// # Errors
    ///
    /// 400 `upload_interrupted` if the client broke it off, 413 if it is larger than
    /// allowed, 408 if nothing came for too long; nothing comes after that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        self.body.next().await
    }

    /// All of it, in memory: as much as the API's `max_body_size` allows, or whoever sent it.
    ///
    /// # Errors
    ///
    /// As [`Upload::next`].
    pub async fn bytes(self) -> Result<Bytes> {
        let most = self.most.unwrap_or(u64::MAX);
        let bound = usize::try_from(most).unwrap_or(usize::MAX);
        let bytes = self.body.collect(bound).await;
        bytes.map_err(|error| {
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE && self.most.is_some() {
                let text = format!("a file is larger than the {most} bytes that the API allows");
                return Error::new(StatusCode::PAYLOAD_TOO_LARGE, text);
            }
            error
        })
    }

    /// The bytes alone, as they come.
    #[must_use]
    pub fn into_stream(self) -> ByteStream {
        self.body
    }

    /// The bytes alone, if they all lie here and none was taken.
    #[must_use]
    pub fn as_full(&self) -> Option<&Bytes> {
        self.body.as_full()
    }
}

impl Stream for Upload {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// A file among the arguments of a call, until somebody takes it.
#[derive(Debug)]
pub struct Slot(Mutex<Option<Upload>>);

impl From<Upload> for Slot {
    fn from(upload: Upload) -> Self {
        Self(Mutex::new(Some(upload)))
    }
}

impl Slot {
    /// The file; `None` for all but the first who asks.
    pub(super) fn take(&self) -> Option<Upload> {
        self.with(Option::take)
    }

    /// Waits until the file lies here, if it is no larger than `most`; gives its size.
    pub(super) async fn gather(&self, most: usize) -> Result<usize> {
        let Some(upload) = self.take() else {
            return Ok(0);
        };
        let Upload { body, .. } = upload;
        let bytes = body.collect(most).await?;
        let size = bytes.len();
        let upload = Upload {
            body: ByteStream::full(bytes),
            ..upload
        };
        self.with(|slot| *slot = Some(upload));
        Ok(size)
    }

    /// Lets `look` see what is there.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Option<Upload>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::stream;
    use serde_json::json;

    use super::*;
    use crate::args::{Args, Decoder, FormField, HttpArgs, HttpBody, Message, PathValues};
    use crate::body::Bodies;
    use crate::descriptor::{ApiDescriptor, ApiKind, Location, Parameter};
    use crate::id::ApiId;
    use crate::payload::Payload;

    /// The bodies of a message, as a transport would bring them.
    struct Brought(Vec<Mutex<Option<ByteStream>>>);

    impl Bodies for Brought {
        fn open(&self, number: u32, size: Option<u64>) -> ByteStream {
            let taken = self.0[number as usize].lock().unwrap().take();
            let stream = taken.expect("each body is opened once");
            assert_eq!(stream.size(), size);
            stream
        }
    }

    fn api(location: Location, names: &[&str]) -> ApiDescriptor {
        let mut api = ApiDescriptor::new(ApiId::parse("a.B.c").unwrap(), ApiKind::Http);
        let parameter = |name: &&str| Parameter {
            name: (*name).into(),
            location,
            schema: json!({ "type": "string" }),
            ..Parameter::default()
        };
        api.parameters = names.iter().map(parameter).collect();
        api
    }

    fn by_http(body: HttpBody) -> Args {
        Args::from_http(HttpArgs {
            method: http::Method::GET,
            uri: "/".parse().unwrap(),
            path: PathValues::default(),
            body,
        })
    }

    fn coming(pieces: &[&'static str]) -> ByteStream {
        let pieces: Vec<Result<Bytes>> = pieces.iter().map(|p| Ok(Bytes::from(*p))).collect();
        ByteStream::new(stream::iter(pieces))
    }

    fn there(message: Message) -> Args {
        let bodies = message.bodies.into_iter();
        let bodies = bodies.map(|body| Mutex::new(Some(body))).collect();
        Args::from_message(message.payload, Arc::new(Brought(bodies))).made_of_http(true)
    }

    #[tokio::test]
    async fn what_is_large_or_still_coming_travels_beside_the_map() {
        let api = api(Location::File, &["file"]);
        for (body, inline, beside) in [
            (ByteStream::full("abc"), 3, false),
            (ByteStream::full("abc"), 2, true),
            (ByteStream::full(""), 0, false),
            (coming(&["a", "bc"]), 3, true),
            (coming(&["a", "bc"]).with_size(3), usize::MAX, true),
        ] {
            let (size, full) = (body.size(), body.as_full().is_some());
            let file = Upload::new(body).named("n").with_content_type("t");
            let fields = vec![("file".to_owned(), FormField::File(file.into()))];
            let args = by_http(HttpBody::Form(fields));
            assert_eq!(args.to_payload(&api).is_ok(), full);
            let message = args.to_message(&api, inline).unwrap();
            assert!(matches!(message.payload, Payload::MessagePack(_)));
            assert_eq!(message.bodies.len(), usize::from(beside));
            if beside {
                assert!(args.to_message(&api, inline).is_err(), "taken already");
            }
            let args = there(message);
            let mut decoder = Decoder::new(&api, &args);
            let file = decoder.file(0).unwrap();
            assert_eq!((&*file.filename, &*file.content_type), ("n", "t"));
            assert_eq!(file.size(), size);
            let all = if size == Some(0) { "" } else { "abc" };
            assert_eq!(file.bytes().await.unwrap(), all);
        }
    }

    #[tokio::test]
    async fn a_whole_body_is_a_file_too() {
        let api = api(Location::Upload, &["data"]);
        let upload = Upload::new(coming(&["a", "b"])).named("n");
        let args = by_http(HttpBody::Upload(upload.into()));
        let args = there(args.to_message(&api, 10).unwrap());
        let file = Decoder::new(&api, &args).file(0).unwrap();
        assert_eq!(file.filename, "n");
        assert_eq!(file.bytes().await.unwrap(), "ab");
        // No body is an empty one, here and there.
        let args = by_http(HttpBody::Empty);
        let sent = there(args.to_message(&api, 10).unwrap());
        for args in [args, sent] {
            let file = Decoder::new(&api, &args).file(0).unwrap();
            assert_eq!(file.size(), Some(0));
        }
    }

    #[tokio::test]
    async fn files_are_added_to_what_a_caller_has() {
        let mut api = api(Location::File, &["file", "more", "text"]);
        api.parameters[2].location = Location::Form;
        let json = || Args::from_json(Bytes::from_static(br#"{"text":"t"}"#));
        let packed = || {
            let map = Bytes::from_static(b"\x81\xa4text\xa1t");
            Args::from_payload(Payload::MessagePack(map))
        };
        for args in [json(), packed()] {
            let plain = args.to_message(&api, 1).unwrap();
            assert_eq!(plain.payload, args.to_payload(&api).unwrap());
        }
        for (args, travels) in [(json(), false), (json(), true), (packed(), true)] {
            let mut args = args
                .with_file("file", Upload::new(coming(&["a", "b"])))
                .with_file("more", Upload::new(ByteStream::full("1")))
                .with_file("more", Upload::new(ByteStream::full("22")));
            if travels {
                let message = args.to_message(&api, 1).unwrap();
                assert_eq!(message.bodies.len(), 2);
                args = there(message).made_of_http(false);
            }
            let mut decoder = Decoder::new(&api, &args);
            let file = decoder.file(0).unwrap();
            assert_eq!(file.bytes().await.unwrap(), "ab");
            let more = decoder.files(1).unwrap();
            let sizes: Vec<_> = more.iter().map(Upload::size).collect();
            assert_eq!(sizes, [Some(1), Some(2)]);
            assert_eq!(decoder.required::<String>(2).unwrap(), "t");
            assert!(decoder.finish().is_none());
        }
    }

    #[test]
    fn a_number_without_bodies_is_no_file() {
        let api = api(Location::File, &["file"]);
        let args = Args::from_json(Bytes::from_static(br#"{"file":{"body":0}}"#));
        let mut decoder = Decoder::new(&api, &args);
        assert!(decoder.file(0).is_none());
        assert_eq!(decoder.into_error().status(), 422);
    }

    #[tokio::test]
    async fn the_api_bounds_what_lies_in_memory() {
        let mut api = api(Location::File, &["file"]);
        api.max_body_size = Some(2);
        let fields = vec![(
            "file".to_owned(),
            FormField::File(Upload::new(coming(&["ab", "c"])).into()),
        )];
        let args = by_http(HttpBody::Form(fields));
        let file = Decoder::new(&api, &args).file(0).unwrap();
        let error = file.bytes().await.unwrap_err();
        assert_eq!(error.status(), 413);
        assert!(error.message().contains("2 bytes"), "{error}");
    }
}
