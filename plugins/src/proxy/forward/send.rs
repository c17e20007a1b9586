//! Whether a request is sent at all, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use framex_core::error::Result;
use http::response::Parts;
use http::{Method, Request};

use super::exchange::{self, Lost, Pieces};
use super::failure::Failure;
use super::outgoing::Outgoing;
use super::{Forwarder, answer};

/// How long a stream of events may say nothing: long, for some have little to say, and an
/// upstream that is gone without a word is noticed at last.
const SILENCE: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) in_flight: AtomicUsize,
    pub(super) streams: AtomicUsize,
}

/// A call among those that are not answered to their end.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<Counts>,
    /// Whether it is a stream of events that has begun.
    streams: bool,
}

impl Place {
    /// The place of another call, and whether it is one of the first `most`.
    fn take(counts: &Arc<Counts>, most: usize) -> (Self, bool) {
        let before = counts.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Self {
            counts: Arc::clone(counts),
            streams: false,
        };
        (place, before < most)
    }

    /// The same among the streams, which may be as long as they like: it is free for another.
    fn among_streams(mut self) -> Self {
        self.counts.streams.fetch_add(1, Ordering::Relaxed);
        self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.streams = true;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let count = match self.streams {
            true => &self.counts.streams,
            false => &self.counts.in_flight,
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Forwarder {
    /// Sends a request, if there is room and the upstream is thought to be there, and waits
    /// for the head of its answer.
    pub(super) async fn send(&self, request: Request<Outgoing>) -> Result<(Parts, Pieces)> {
        let counts = &self.counts;
        let answered = self.try_send(request).await;
        answered.map_err(|failure| {
            match &failure {
                Failure::Overloaded | Failure::Down(_) => &counts.refused,
                _ => &counts.failures,
            }
            .fetch_add(1, Ordering::Relaxed);
            failure.into_error(&self.upstream.name)
        })
    }

    async fn try_send(&self, request: Request<Outgoing>) -> Result<(Parts, Pieces), Failure> {
        let (place, fits) = Place::take(&self.counts, self.upstream.max_ongoing);
        if !fits {
            return Err(Failure::Overloaded);
        }
        let leave = self.breaker.admit().map_err(Failure::Down)?;
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        match self.exchange(request).await {
            Ok((head, pieces)) => {
                leave.answered();
                let place = match answer::is_events(&head.headers) {
                    true => place.among_streams(),
                    false => place,
                };
                Ok((head, pieces.holding(place)))
            }
            Err(failure) => {
                if failure.is_upstreams() {
                    leave.failed();
                }
                Err(failure)
            }
        }
    }

    /// Sends a request. One that can do no harm is sent once more if its connection was an old
    /// one and died in silence.
    async fn exchange(&self, mut request: Request<Outgoing>) -> Result<(Parts, Pieces), Failure> {
        let mut again = is_safe(request.method()) && request.body().is_empty();
        let mut fresh = false;
        loop {
            let waiting = match fresh {
                true => None,
                false => self.pool.take(),
            };
            let connection = match waiting {
                Some(connection) => connection,
                None => self.pool.connect().await?,
            };
            let reused = connection.reused;
            let spare = (again && reused).then(|| copy(&request));
            let limit = self.upstream.timeout;
            request = match exchange::exchange(connection, request, limit).await {
                Ok(answer) => {
                    let pause = match answer::is_events(&answer.head.headers) {
                        true => SILENCE,
                        false => limit,
                    };
                    return Ok(answer.into_parts(&self.pool, pause));
                }
                Err(Lost::Unsent(request)) if reused => *request,
                Err(Lost::Unsent(_)) => {
                    let reason = "the connection was closed before the request was sent";
                    return Err(Failure::Unreachable(reason.into()));
                }
                Err(Lost::Silent(failure)) => match spare {
                    Some(request) => {
                        self.counts.retries.fetch_add(1, Ordering::Relaxed);
                        again = false;
                        request
                    }
                    None => return Err(failure),
                },
                Err(Lost::Other(failure)) => return Err(failure),
            };
            // Where one old connection died, others may have, too.
            fresh = true;
        }
    }
}

/// Whether asking twice is as good as asking once (RFC 9110).
fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

/// The same request, which has no body.
fn copy(request: &Request<Outgoing>) -> Request<Outgoing> {
    let mut copy = Request::new(Outgoing::empty());
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    copy
}
