//! The bodies that come with a request, and that of its answer, as those see them
//! who run it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_nats::{Message, Subject};
use bytes::Bytes;
use framex_core::body::{Bodies, ByteStream};
use framex_core::error::{CallError, Error};
use framex_core::id::ApiId;
use futures_core::Stream;
use smallvec::SmallVec;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::MOST_IN_MEMORY;
use super::receive::{Broken, Inflow, Sender};
use super::send::{Credit, send};
use crate::nats::link::{self, Link, Outgoing, Waiter, publish};
use crate::nats::peers::ms_of;
use crate::nats::waiting::{Expect, Lost};
use crate::nats::wire::{self, Announced, FRAMES, Pull, Which};

/// How long a caller who is not heard otherwise may grant nothing.
const LEASE: Duration = Duration::from_secs(60);

/// Where the bodies of one plugin's calls come to.
#[derive(Clone)]
pub(in crate::nats) struct Dock {
    pub(in crate::nats) link: Arc<Link>,
    /// The subject, without a slot.
    pub(in crate::nats) subject: Arc<str>,
}

impl Dock {
    /// A place for messages about a body that goes to or comes from `caller`.
    fn expect(&self, caller: &Subject) -> Waiter {
        let expect = Expect {
            deadline: None,
            instance: None,
            subject: caller.clone(),
            sends: None,
            since: ms_of(Instant::now()),
        };
        self.link.expect_at(&self.subject, expect, None)
    }

    /// The payload of a request, of which `caller` has said how large it is.
    pub(in crate::nats) async fn payload(
        &self,
        caller: &Subject,
        size: u64,
    ) -> Result<Bytes, Broken> {
        let sender = Asker::new(self, caller, Which::Payload);
        let mut inflow = Inflow::new(sender, Some(size), false);
        inflow.collect(MOST_IN_MEMORY).await
    }

    /// The bodies beside the map of `caller`'s request to `api`, until it is `over`.
    pub(in crate::nats) fn bodies(
        &self,
        caller: Subject,
        api: ApiId,
        over: CancellationToken,
    ) -> Arc<dyn Bodies> {
        Arc::new(Beside {
            dock: self.clone(),
            caller,
            api,
            over,
            opened: Mutex::default(),
        })
    }

    /// Sends an answer whose payload is `source`. `heard`: that the caller is gone is
    /// known otherwise.
    pub(in crate::nats) async fn answer(
        &self,
        caller: &Subject,
        head: wire::Outgoing,
        announced: Announced,
        source: ByteStream,
        heard: bool,
    ) -> Result<(), Lost> {
        let client = self.link.client().ok_or(Lost::Disconnected)?;
        let mut slot = self.expect(caller);
        let mut headers = head.headers.unwrap_or_default();
        wire::announce(&mut headers, announced);
        let back = Some(slot.reply.clone());
        publish(client, caller.clone(), back, Some(headers), Bytes::new()).await?;
        let credit = Credit::new(FRAMES);
        let patience = (!heard).then_some(LEASE);
        let mut sending = pin!(send(client, caller, source, &credit, patience));
        poll_fn(|cx| {
            loop {
                match slot.poll_next(cx) {
                    Poll::Ready(Ok(message)) => match wire::read_pull(&message) {
                        Some(pull) if pull.stop => return Poll::Ready(Ok(())),
                        Some(pull) => credit.add(pull),
                        None => {}
                    },
                    Poll::Ready(Err(lost)) => return Poll::Ready(Err(lost)),
                    Poll::Pending => return sending.as_mut().poll(cx),
                }
            }
        })
        .await
    }
}

/// See [`Dock::bodies`].
struct Beside {
    dock: Dock,
    caller: Subject,
    api: ApiId,
    over: CancellationToken,
    opened: Mutex<SmallVec<[u32; 4]>>,
}

impl Bodies for Beside {
    fn open(&self, number: u32, size: Option<u64>) -> ByteStream {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.contains(&number) {
            let twice = Error::internal(format!("body {number} of a request is taken twice"));
            return ByteStream::new(futures_util::stream::iter([Err(twice)]));
        }
        opened.push(number);
        let body = ByteStream::new(Arriving {
            dock: self.dock.clone(),
            caller: self.caller.clone(),
            api: self.api.clone(),
            number,
            size,
            over: Box::pin(self.over.clone().cancelled_owned()),
            inflow: None,
        });
        match size {
            Some(size) => body.with_size(size),
            None => body,
        }
    }
}

/// A body beside a request's map. Nothing is asked for before it is polled.
struct Arriving {
    dock: Dock,
    caller: Subject,
    api: ApiId,
    number: u32,
    size: Option<u64>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    inflow: Option<Inflow<Asker>>,
}

impl Arriving {
    /// What breaks it off, as the handler sees it.
    fn error(&self, broken: Broken) -> Error {
        let interrupted = |why| {
            let text = format!("an upload for `{}` broke off: {why}", self.api);
            Error::bad_request(text).with_code("upload_interrupted")
        };
        let lost = |why| {
            let api = self.api.clone();
            CallError::Lost { api, why }.into_error()
        };
        match broken {
            Broken::Failed(error) => error,
            Broken::Lost(Lost::NoResponders | Lost::Gone) => interrupted("its caller is gone"),
            Broken::Lost(Lost::Denied) => lost("the broker does not let this process ask for it"),
            Broken::Lost(_) => lost("the connection to the broker went"),
            Broken::Silent => lost("the rest of an upload did not come"),
            Broken::Gap(gap) => {
                tracing::warn!(api = %self.api, gap, "an upload is not whole");
                lost("a part of an upload did not arrive")
            }
            Broken::TooLarge => lost("an upload is larger than it said"),
        }
    }
}

impl Stream for Arriving {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over.as_mut().poll(cx).is_ready() {
            this.inflow = None;
            let text = format!(
                "the call of `{}` that this upload came with is over",
                this.api
            );
            return Poll::Ready(Some(Err(Error::internal(text))));
        }
        let inflow = this.inflow.get_or_insert_with(|| {
            let asker = Asker::new(&this.dock, &this.caller, Which::Number(this.number));
            Inflow::new(asker, this.size, false)
        });
        let next = ready!(inflow.poll_next(cx));
        Poll::Ready(next.map(|piece| piece.map_err(|broken| this.error(broken))))
    }
}

/// A caller, as the sender of one body.
struct Asker {
    waiter: Waiter,
    caller: Subject,
    which: Which,
    begun: bool,
    over: bool,
}

impl Asker {
    fn new(dock: &Dock, caller: &Subject, which: Which) -> Self {
        Self {
            waiter: dock.expect(caller),
            caller: caller.clone(),
            which,
            begun: false,
            over: false,
        }
    }

    fn pull(&self, frames: u32, stop: bool) -> bool {
        let pull = Pull {
            which: self.which,
            frames,
            stop,
        };
        self.waiter.link().send_all_later(Outgoing {
            subject: self.caller.clone(),
            // Also where the broker says that there is no such caller any more.
            reply: Some(self.waiter.reply.clone()),
            headers: Some(wire::pull(pull)),
            payload: Bytes::new(),
        })
    }
}

impl Sender for Asker {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Lost>> {
        self.waiter.poll_next(cx)
    }

    fn grant(&mut self, frames: u32) -> bool {
        let sent = self.pull(frames.min(FRAMES), false);
        self.begun |= sent;
        sent
    }

    fn ended(&mut self) {
        self.over = true;
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if self.begun && !self.over {
            // Untold, it stops with the call.
            self.pull(0, true);
        }
    }
}

/// Hears of the bodies of a plugin's calls, for as long as the future is polled.
pub(in crate::nats) async fn listen(link: Arc<Link>, mut subscriber: async_nats::Subscriber) {
    while let Some(message) = link::next(&mut subscriber).await {
        link.dispatch(message);
    }
}
