//! What a handler gives, taken some at a time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use framex_core::error::Error;
use framex_core::event::{Data, Event, EventStream};
use futures_core::Stream;

use super::log::placed;

/// How many events are taken from the handler at a time, and about how many bytes.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 16 * 1024;

/// How far the source was polled.
pub(super) enum Polled {
    /// There may be more at once.
    More,
    Waiting,
    Over(Result<(), Error>),
}

/// Takes what is ready into `out`, numbered from `first` on.
pub(super) fn poll_source(
    events: &mut EventStream,
    first: u64,
    out: &mut VecDeque<Event>,
    cx: &mut Context<'_>,
) -> Polled {
    let mut bytes = 0;
    let mut number = first;
    while out.len() < BATCH && bytes < BATCH_BYTES {
        match Pin::new(&mut *events).poll_next(cx) {
            Poll::Ready(Some(Ok(event))) => {
                bytes += match event.data() {
                    Data::Text(text) => text.len(),
                    Data::Json(json) => json.len(),
                };
                out.push_back(placed(event, number));
                number += 1;
            }
            Poll::Ready(Some(Err(error))) => return Polled::Over(Err(error)),
            Poll::Ready(None) => return Polled::Over(Ok(())),
            Poll::Pending => return Polled::Waiting,
        }
    }
    Polled::More
}

/// The same error for one more: the reason behind it is for the log, once.
pub(super) fn without_source(error: &Error) -> Error {
    let mut copy = Error::new(error.status(), error.message().to_owned());
    copy = copy.with_code(error.code().to_owned());
    if let Some(detail) = error.detail() {
        copy = copy.with_detail(detail.clone());
    }
    for (name, value) in error.headers() {
        copy = copy.with_header(name.clone(), value.clone());
    }
    copy
}
