//! The bodies that go with a request, and that of its answer, as the caller sees
//! them.

use std::borrow::BorrowMut;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use framex_core::body::{Bodies, ByteStream};
use framex_core::error::{CallError, Error};
use framex_core::id::ApiId;
use framex_core::payload::Payload;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use smallvec::SmallVec;

use super::MOST_IN_MEMORY;
use super::receive::{Broken, Inflow, Sender};
use super::send::{Credit, send};
use crate::nats::link::{Outgoing, Waiter};
use crate::nats::pending::Pending;
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, Announced, FRAMES, Pull, Which};

/// What a call sends, over all its attempts.
pub(in crate::nats) struct Luggage {
    payload: Payload,
    bodies: Mutex<Vec<Option<ByteStream>>>,
    /// Something was asked for.
    asked: AtomicBool,
    /// Something was given away that cannot be given twice.
    touched: AtomicBool,
}

impl Luggage {
    pub(in crate::nats) fn new(payload: Payload, bodies: Vec<ByteStream>) -> Arc<Self> {
        Arc::new(Self {
            payload,
            bodies: Mutex::new(bodies.into_iter().map(Some).collect()),
            asked: AtomicBool::new(false),
            touched: AtomicBool::new(false),
        })
    }

    pub(in crate::nats) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Whether anything was given away that cannot be given twice.
    pub(in crate::nats) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Acquire)
    }

    /// Whether somebody who runs the call has asked for anything.
    pub(in crate::nats) fn is_asked_for(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// How many bytes it is altogether, as far as that is known.
    pub(in crate::nats) fn size(&self) -> usize {
        let bodies = self.lock();
        let sizes = bodies.iter().flatten().filter_map(ByteStream::size);
        let bodies = usize::try_from(sizes.sum::<u64>()).unwrap_or(usize::MAX);
        self.payload.bytes().len().saturating_add(bodies)
    }

    /// Whether there is more than the payload.
    pub(in crate::nats) fn has_bodies(&self) -> bool {
        !self.lock().is_empty()
    }

    fn take(&self, which: Which) -> Option<ByteStream> {
        self.asked.store(true, Ordering::Release);
        match which {
            Which::Payload => Some(ByteStream::full(self.payload.bytes().clone())),
            Which::Number(number) => {
                let body = self.lock().get_mut(number as usize)?.take()?;
                self.touched.store(true, Ordering::Release);
                Some(body)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<ByteStream>>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the call stays in this process after all.
impl Bodies for Luggage {
    fn open(&self, number: u32, _: Option<u64>) -> ByteStream {
        self.take(Which::Number(number)).unwrap_or_else(gone)
    }
}

fn gone() -> ByteStream {
    let gone = Error::internal("this body was taken already, or never there");
    ByteStream::new(futures_util::stream::iter([Err(gone)]))
}

/// Sends the bodies of a request to whoever runs it, as they are asked for.
pub(in crate::nats) struct Feeder {
    luggage: Arc<Luggage>,
    client: Client,
    feeds: FuturesUnordered<BoxFuture<'static, ()>>,
    credits: SmallVec<[(Which, Arc<Credit>); 1]>,
}

impl Feeder {
    pub(in crate::nats) fn new(luggage: &Arc<Luggage>, client: &Client) -> Box<Self> {
        Box::new(Self {
            luggage: Arc::clone(luggage),
            client: client.clone(),
            feeds: FuturesUnordered::new(),
            credits: SmallVec::new(),
        })
    }

    /// The next message that is for the call itself.
    pub(in crate::nats) fn poll_next(
        &mut self,
        waiter: &mut Waiter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Message, Lost>> {
        loop {
            match waiter.poll_next(cx) {
                Poll::Ready(Ok(message)) if wire::is_pull(&message) => self.pulled(message, waiter),
                Poll::Ready(came) => return Poll::Ready(came),
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.feeds).poll_next(cx) {}
        Poll::Pending
    }

    fn pulled(&mut self, message: Message, waiter: &Waiter) {
        let Some(pull) = wire::read_pull(&message) else {
            return;
        };
        if let Some((_, credit)) = self.credits.iter().find(|(which, _)| *which == pull.which) {
            credit.add(pull);
            return;
        }
        let Some(to) = message.reply.filter(|_| !pull.stop) else {
            return;
        };
        let source = self.luggage.take(pull.which).unwrap_or_else(gone);
        waiter.sends_to(&to);
        let credit = Arc::new(Credit::new(pull.frames));
        self.credits.push((pull.which, Arc::clone(&credit)));
        let client = self.client.clone();
        self.feeds.push(Box::pin(async move {
            let sending = send(&client, &to, source, &credit, None);
            // A connection that is lost ends the call as well.
            let _ = credit.unless_stopped(sending).await;
        }));
    }
}

/// All bytes of the answer that `pending` waits for.
pub(in crate::nats) async fn collect(
    pending: &mut Pending,
    announced: Announced,
    back: Subject,
) -> Result<Bytes, Broken> {
    pending.waiter.sends_to(&back);
    let sender = Answerer { pending, back };
    let mut inflow = Inflow::new(sender, announced.size, true);
    inflow.collect(MOST_IN_MEMORY).await
}

/// The bytes of a download that `pending` waits for, as they come: for as long as
/// there is progress.
pub(in crate::nats) fn download(
    pending: Pending,
    announced: Announced,
    back: Subject,
    api: ApiId,
) -> ByteStream {
    pending.waiter.set_deadline(None);
    pending.waiter.sends_to(&back);
    let sender = Answerer { pending, back };
    let body = ByteStream::new(Downloading {
        inflow: Inflow::new(sender, announced.size, true),
        api,
    });
    match announced.size {
        Some(size) => body.with_size(size),
        None => body,
    }
}

/// Why an answer is not whole; nothing if that is the other side's own error.
pub(in crate::nats) fn why(broken: &Broken, api: &ApiId) -> Option<&'static str> {
    Some(match broken {
        Broken::Failed(_) => return None,
        Broken::Lost(Lost::Disconnected) => "the connection to the broker went",
        Broken::Lost(Lost::Denied) => "the broker does not let this process ask for the rest",
        Broken::Lost(_) => "the instance that ran it is gone",
        Broken::Silent => "the rest of its answer did not come",
        Broken::Gap(gap) => {
            tracing::warn!(%api, gap, "an answer in frames is not whole");
            "a part of its answer did not arrive"
        }
        Broken::TooLarge => "its answer is larger than it said",
    })
}

/// See [`download`].
struct Downloading {
    inflow: Inflow<Answerer<Pending>>,
    api: ApiId,
}

impl Stream for Downloading {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = ready!(this.inflow.poll_next(cx));
        Poll::Ready(next.map(|piece| {
            piece.map_err(|broken| match (why(&broken, &this.api), broken) {
                (None, Broken::Failed(error)) => error,
                (why, _) => CallError::Lost {
                    api: this.api.clone(),
                    why: why.unwrap_or("it broke off"),
                }
                .into_error(),
            })
        }))
    }
}

/// Whoever answers a call with a body.
struct Answerer<P> {
    pending: P,
    /// Where it hears that more may come.
    back: Subject,
}

impl<P: BorrowMut<Pending>> Sender for Answerer<P> {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Lost>> {
        self.pending.borrow_mut().poll_next(cx)
    }

    fn grant(&mut self, frames: u32) -> bool {
        let pull = Pull {
            which: Which::Payload,
            frames: frames.min(FRAMES),
            stop: false,
        };
        let link = self.pending.borrow().waiter.link();
        link.send_all_later(Outgoing {
            subject: self.back.clone(),
            reply: None,
            headers: Some(wire::pull(pull)),
            payload: Bytes::new(),
        })
    }

    fn ended(&mut self) {
        self.pending.borrow_mut().over = true;
    }
}
