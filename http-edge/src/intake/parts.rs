//! The parts of a multipart body, read no faster than they are asked for.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use framex_core::body::ByteStream;
use framex_core::error::Error;
use framex_core::problem::Problem;
use futures_core::Stream;
use multer::{Field, Multipart};

/// The parts of one form.
const MOST_PARTS: usize = 1000;
/// What may come before a part's own bytes: its headers.
const MOST_HEAD: usize = 16 * 1024;

/// The parts of a body, one after the other.
pub(super) struct Parts {
    parts: Multipart<'static>,
    /// The one that is being read.
    part: Option<Field<'static>>,
    gate: Arc<Gate>,
    count: usize,
    /// Bytes that came for the next head, and did not complete it.
    head: usize,
}

/// What is said of a part.
pub(super) struct Head {
    pub(super) name: Option<String>,
    /// Of files only.
    pub(super) filename: Option<String>,
    pub(super) content_type: String,
}

impl Parts {
    pub(super) fn new(body: ByteStream, boundary: String) -> Self {
        let gate = Arc::new(Gate::default());
        let feed = Feed {
            body,
            gate: Arc::clone(&gate),
        };
        Self {
            parts: Multipart::new(feed, boundary),
            part: None,
            gate,
            count: 0,
            head: 0,
        }
    }

    /// The next part. What is left of the one before is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Head>, Error> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    /// The next bytes of the current part; `None` at its end.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// See [`Parts::next`].
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Head>, Error>> {
        while ready!(self.poll_data(cx))?.is_some() {}
        self.part = None;
        loop {
            self.gate.open();
            let polled = self.parts.poll_next_field(cx);
            match polled {
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(Some(part))) => {
                    self.head = 0;
                    self.count += 1;
                    if self.count > MOST_PARTS {
                        let text = format!("the form has more than {MOST_PARTS} parts");
                        return Poll::Ready(Err(refused(text)));
                    }
                    let head = Head {
                        name: part.name().map(str::to_owned),
                        filename: part.file_name().map(str::to_owned),
                        content_type: part.content_type().map_or_else(String::new, |kind| {
                            let kind: &str = kind.as_ref();
                            kind.to_owned()
                        }),
                    };
                    self.part = Some(part);
                    return Poll::Ready(Ok(Some(head)));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.gate.error(&error))),
                Poll::Pending => {
                    let Some(came) = self.gate.came() else {
                        return Poll::Pending;
                    };
                    self.head += came;
                    if self.head > MOST_HEAD {
                        let text = "a part of the form has too many headers";
                        return Poll::Ready(Err(refused(text.to_owned())));
                    }
                }
            }
        }
    }

    /// See [`Parts::data`].
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let Some(part) = &mut self.part else {
            return Poll::Ready(Ok(None));
        };
        loop {
            self.gate.open();
            match Pin::new(&mut *part).poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => {}
                Poll::Ready(Some(Ok(bytes))) => return Poll::Ready(Ok(Some(bytes))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.gate.error(&error))),
                Poll::Ready(None) => {
                    self.part = None;
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending if self.gate.came().is_none() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}

/// Lets one piece of the body through for each step of the parser, which would
/// otherwise take all that is there into its own memory.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    came: AtomicUsize,
    /// The body's own error, which the parser could not carry.
    error: Mutex<Option<Error>>,
}

impl Gate {
    fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// How many bytes went through since it was opened; none if it still is.
    fn came(&self) -> Option<usize> {
        let closed = !self.open.load(Ordering::Relaxed);
        closed.then(|| self.came.load(Ordering::Relaxed))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Error>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parser's error, or the one that it stands for.
    fn error(&self, error: &multer::Error) -> Error {
        let own = self.slot().take();
        own.unwrap_or_else(|| {
            tracing::debug!(%error, "a multipart body cannot be read");
            refused("the body is not valid multipart/form-data".to_owned())
        })
    }
}

fn refused(text: String) -> Error {
    Error::validation(vec![Problem::new(
        "multipart_invalid",
        vec!["body".into()],
        text,
    )])
}

struct Feed {
    body: ByteStream,
    gate: Arc<Gate>,
}

impl Stream for Feed {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.gate.open.load(Ordering::Relaxed) {
            // Whoever opens it asks again.
            return Poll::Pending;
        }
        let item = ready!(Pin::new(&mut self.body).poll_next(cx));
        let came = match &item {
            Some(Ok(piece)) => piece.len(),
            Some(Err(_)) | None => 0,
        };
        self.gate.came.store(came, Ordering::Relaxed);
        self.gate.open.store(false, Ordering::Relaxed);
        Poll::Ready(item.map(|item| {
            item.map_err(|error| {
                *self.gate.slot() = Some(error);
                Broken
            })
        }))
    }
}

/// Stands for the error in the [`Gate`].
#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body broke off")
    }
}

impl std::error::Error for Broken {}
