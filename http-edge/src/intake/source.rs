//! A request's body, piece by piece, within limits.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::{BoxError, Error};
use futures_core::Stream;
use futures_util::task::AtomicWaker;
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};

use crate::body::within;

/// What the edge's settings say about bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Where the API says nothing, in bytes.
    pub(crate) size: u64,
    /// The most that an API may say.
    pub(crate) upload: u64,
    /// Between two pieces.
    pub(crate) pause: Duration,
}

impl Bounds {
    /// The limits of a body for `api`.
    pub(crate) fn of(&self, api: &ApiDescriptor) -> Limits {
        let (size, said_by) = match api.max_body_size {
            Some(own) if own <= self.upload => (own, "the API's own `max_body_size`"),
            Some(_) => (self.upload, "`server.max_upload_size`"),
            None => (self.size, "`server.max_body_size`"),
        };
        Limits {
            size,
            said_by,
            texts: self.size,
            pause: self.pause,
        }
    }
}

/// Bounds on reading one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// In bytes.
    size: u64,
    said_by: &'static str,
    /// The texts of a form together, which lie in memory.
    pub(super) texts: u64,
    /// Between two pieces.
    pause: Duration,
}

/// Why a body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Cut {
    TooLarge = 1,
    TooSlow = 2,
    Interrupted = 3,
}

impl Limits {
    fn error(&self, cut: Cut) -> Error {
        let error = match cut {
            Cut::TooLarge => Error::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the body is larger than the {} bytes that {} allows",
                    self.size, self.said_by
                ),
            ),
            Cut::TooSlow => Error::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("no more of the body came for {:?}", self.pause),
            ),
            Cut::Interrupted => Error::bad_request("the body broke off before its end")
                .with_code("upload_interrupted"),
        };
        // What is left of the body will not be read.
        error.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// Whether a body is refused for what it says of itself.
    pub(super) fn admit<B: Body>(&self, body: &B) -> Result<(), Error> {
        match body.size_hint().lower() > self.size {
            true => Err(self.error(Cut::TooLarge)),
            false => Ok(()),
        }
    }
}

/// What broke a body off: the client or the connection, or a limit of another
/// server in front, which says so in its own way.
fn cut_by(error: BoxError) -> Cut {
    if error.is::<http_body_util::LengthLimitError>() {
        return Cut::TooLarge;
    }
    tracing::debug!(%error, "a body broke off");
    Cut::Interrupted
}

/// Never more than this is reserved before it has come, in bytes.
const MOST_RESERVED: usize = 4 << 20;

/// Reads all of `body`.
pub(super) async fn read_all<B>(body: B, limits: &Limits) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    limits.admit(&body)?;
    let limit = usize::try_from(limits.size).unwrap_or(usize::MAX);
    let announced = body.size_hint().lower();
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let Some(frame) = within(limits.pause, body.frame())
            .await
            .ok_or_else(|| limits.error(Cut::TooSlow))?
        else {
            break;
        };
        let frame = frame.map_err(|error| limits.error(cut_by(error.into())))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > limit {
            return Err(limits.error(Cut::TooLarge));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            if body.is_end_stream() {
                break;
            }
            continue;
        }
        if all.is_empty() {
            // What is announced may never come.
            let hint = usize::try_from(announced).unwrap_or(limit);
            let hint = hint.min(limit).min(MOST_RESERVED);
            all.reserve(hint.max(first.len() + data.len()));
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A body that is read while its handler runs, as the edge sees it.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<State>);

#[derive(Debug)]
struct State {
    limits: Limits,
    /// All of it was read.
    ended: AtomicBool,
    /// The client is gone.
    left: AtomicBool,
    /// A [`Cut`], or zero.
    cut: AtomicU8,
    /// Who waits for the next piece.
    reader: AtomicWaker,
    /// Who waits for the answer.
    caller: AtomicWaker,
}

impl Progress {
    fn new(limits: Limits) -> Self {
        Self(Arc::new(State {
            limits,
            ended: AtomicBool::new(false),
            left: AtomicBool::new(false),
            cut: AtomicU8::new(0),
            reader: AtomicWaker::new(),
            caller: AtomicWaker::new(),
        }))
    }

    /// Whether there is nothing left to read.
    pub(crate) fn ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// What is left does not matter.
    pub(super) fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
    }

    /// Nothing more will come: the client is gone.
    pub(crate) fn leave(&self) {
        self.0.left.store(true, Ordering::Release);
        self.0.reader.wake();
    }

    /// Whether no more of the body will be read than was; wakes whoever asks when it is so.
    pub(crate) fn poll_cut(&self, cx: &mut Context<'_>) -> bool {
        self.0.caller.register(cx.waker());
        self.0.cut.load(Ordering::Acquire) != 0
    }

    /// Why the body could not be read to its end, if so.
    pub(crate) fn error(&self) -> Option<Error> {
        let cut = match self.0.cut.load(Ordering::Acquire) {
            1 => Cut::TooLarge,
            2 => Cut::TooSlow,
            3 => Cut::Interrupted,
            _ => return None,
        };
        Some(self.0.limits.error(cut))
    }
}

/// The pieces of a body.
pub(super) struct Source<B> {
    /// None once it is over.
    body: Option<Pin<Box<B>>>,
    /// What the client said of its size.
    announced: Option<u64>,
    read: u64,
    /// Runs while somebody waits for a piece.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    progress: Progress,
}

impl<B> Source<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(body: B, limits: Limits) -> Self {
        Self {
            announced: body.size_hint().exact(),
            body: Some(Box::pin(body)),
            read: 0,
            timer: None,
            waiting: false,
            progress: Progress::new(limits),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn fail(&mut self, cut: Cut) -> Poll<Option<Result<Bytes, Error>>> {
        self.body = None;
        let progress = &self.progress;
        progress.0.cut.store(cut as u8, Ordering::Release);
        progress.0.caller.wake();
        Poll::Ready(Some(Err(progress.0.limits.error(cut))))
    }

    /// Counts a piece; false if it is one too many.
    fn count(&mut self, piece: &Bytes) -> bool {
        self.waiting = false;
        self.read += piece.len() as u64;
        if self.announced == Some(self.read) {
            self.progress.end();
        }
        self.read <= self.progress.0.limits.size
    }

    /// Whether nothing came for too long. Only the time counts in which somebody waits.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = || Instant::now() + self.progress.0.limits.pause;
        match &mut self.timer {
            Some(timer) if self.waiting => timer.as_mut().poll(cx),
            Some(timer) => {
                timer.as_mut().reset(until());
                self.waiting = true;
                timer.as_mut().poll(cx)
            }
            none => {
                self.waiting = true;
                let timer = none.insert(Box::pin(tokio::time::sleep_until(until())));
                timer.as_mut().poll(cx)
            }
        }
    }
}

impl<B> Stream for Source<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Some(body) = &mut this.body else {
                return Poll::Ready(None);
            };
            this.progress.0.reader.register(cx.waker());
            if this.progress.0.left.load(Ordering::Acquire) {
                return this.fail(Cut::Interrupted);
            }
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if !this.count(&data) {
                        return this.fail(Cut::TooLarge);
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return this.fail(cut_by(error.into())),
                Poll::Ready(None) => {
                    let short = this.announced.is_some_and(|size| size > this.read);
                    // A server that drops a connection may end its bodies as if they were whole.
                    if short || this.progress.0.left.load(Ordering::Acquire) {
                        return this.fail(Cut::Interrupted);
                    }
                    this.body = None;
                    this.progress.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    ready!(this.poll_patience(cx));
                    return this.fail(Cut::TooSlow);
                }
            }
        }
    }
}
