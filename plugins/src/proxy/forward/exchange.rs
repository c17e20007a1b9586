//! One request and its answer on one connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use framex_core::error::BoxError;
use futures_core::Stream;
use http::response::Parts;
use http::{Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::failure::Failure;
use super::outgoing::{Outgoing, Progress};
use super::pool::{Connection, Pool};
use super::send::Place;

/// How much may come before the head of an answer: more than the longest head, for some say
/// first that they are at work.
const MOST_BEFORE: u64 = 256 * 1024;

/// Why a request brought no answer on this connection.
pub(super) enum Lost {
    /// It was not sent, and here it is.
    Unsent(Box<Request<Outgoing>>),
    /// The connection went before anything was heard.
    Silent(Failure),
    /// Anything else.
    Other(Failure),
}

/// The head of an answer, and the rest as it comes.
pub(super) struct Answer {
    pub(super) head: Parts,
    pub(super) body: Incoming,
    connection: Connection,
}

/// Sends `request` and waits for the head of its answer: no longer than `limit` after the
/// last piece of its body has moved. Waiting for the next piece does not count.
pub(super) async fn exchange(
    mut connection: Connection,
    request: Request<Outgoing>,
    limit: Duration,
) -> Result<Answer, Lost> {
    let progress = request.body().progress();
    let mut answer = pin!(connection.sender.try_send_request(request));
    let mut late = Late::new(limit, progress.clone());
    let answered = poll_fn(|cx| {
        connection.drive(cx);
        match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            // Of what was read so far, the answer has not begun.
            Poll::Pending if connection.heard() > MOST_BEFORE => {
                let reason = "it says for ever that it has not begun to answer";
                Poll::Ready(Err(Failure::Broken(reason.into())))
            }
            Poll::Pending => late.poll(cx).map(|()| Err(Failure::TimedOut(limit))),
        }
    });
    let own = |failure| match progress.as_ref().and_then(|progress| progress.broken()) {
        Some(error) => Failure::Request(error),
        None => failure,
    };
    let mut error = match answered.await {
        Ok(Ok(answer)) => {
            let (head, body) = answer.into_parts();
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                let reason = "it answered 101 to a request that asked for no other protocol";
                return Err(Lost::Other(Failure::Broken(reason.into())));
            }
            return Ok(Answer {
                head,
                body,
                connection,
            });
        }
        Err(failure) => return Err(Lost::Other(own(failure))),
        Ok(Err(error)) => error,
    };
    if let Some(request) = error.take_message() {
        return Err(Lost::Unsent(Box::new(request)));
    }
    let error = error.into_error();
    let failure = own(match error.is_parse_too_large() {
        true => Failure::TooLarge(error.into()),
        false => Failure::Broken(error.into()),
    });
    Err(match failure {
        Failure::Broken(_) if connection.heard() == 0 => Lost::Silent(failure),
        _ => Lost::Other(failure),
    })
}

/// A time limit that is counted anew while a body moves.
struct Late {
    limit: Duration,
    began: Instant,
    progress: Option<Arc<Progress>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Late {
    fn new(limit: Duration, progress: Option<Arc<Progress>>) -> Self {
        Self {
            limit,
            began: Instant::now(),
            progress,
            timer: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let progress = self.progress.as_ref();
        if progress.is_some_and(|progress| progress.is_awaited()) {
            return Poll::Pending;
        }
        let moved = progress.map(|progress| progress.last());
        let due = moved.map_or(self.began, |moved| moved.max(self.began)) + self.limit;
        poll_timer(&mut self.timer, due, cx)
    }
}

/// Ready at `due`, which may be later each time. A timer that was set earlier is only moved
/// when it goes off.
fn poll_timer(timer: &mut Option<Pin<Box<Sleep>>>, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
    // Where a task has read all that it may at once, its timers say nothing.
    if Instant::now() >= due {
        return Poll::Ready(());
    }
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
    while timer.deadline() < due {
        ready!(timer.as_mut().poll(cx));
        timer.as_mut().reset(due);
    }
    timer.as_mut().poll(cx)
}

/// The bytes of an answer, as they are asked for. At their end the connection goes back.
pub(super) struct Pieces {
    body: Incoming,
    /// None once there is nothing more to come.
    connection: Option<Connection>,
    pool: Arc<Pool>,
    /// Of the call, until the end.
    place: Option<Place>,
    /// How long the next piece may take.
    limit: Duration,
    /// Since when somebody waits for a piece.
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    /// The head, and the body's bytes; between two pieces may be `limit`.
    pub(super) fn into_parts(self, pool: &Arc<Pool>, limit: Duration) -> (Parts, Pieces) {
        let pieces = Pieces {
            body: self.body,
            connection: Some(self.connection),
            pool: Arc::clone(pool),
            place: None,
            limit,
            waiting: None,
            timer: None,
        };
        (self.head, pieces)
    }
}

impl Pieces {
    /// The same, which keep `place` until their end.
    pub(super) fn holding(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// How many bytes will come, if the upstream says.
    pub(super) fn size(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Whether all have been taken.
    pub(super) fn is_over(&self) -> bool {
        self.connection.is_none()
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // Who asks for more is heard first, then the connection reads it.
                    if let Some(connection) = &mut self.connection {
                        connection.drive(cx);
                    }
                    ready!(Pin::new(&mut self.body).poll_frame(cx))
                }
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let waiting = *self.waiting.get_or_insert_with(Instant::now);
        poll_timer(&mut self.timer, waiting + self.limit, cx).map(|()| self.limit)
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.connection.is_none() {
            return Poll::Ready(None);
        }
        let item = match this.poll_body(cx) {
            Poll::Ready(item) => item,
            Poll::Pending => {
                let limit = ready!(this.poll_late(cx));
                this.connection = None;
                this.place = None;
                return Poll::Ready(Some(Err(Failure::TimedOut(limit))));
            }
        };
        this.waiting = None;
        let over = !matches!(item, Some(Ok(_))) || this.body.is_end_stream();
        if over && let Some(connection) = this.connection.take() {
            if !matches!(item, Some(Err(_))) {
                this.pool.put(connection, cx);
            }
            this.timer = None;
            this.place = None;
        }
        Poll::Ready(item.map(|item| item.map_err(Failure::Broken)))
    }
}
