//! One connection to the broker.
//!
//! A link belongs to the runtime in which it runs ([`Link::run`]): an edge
//! thread's own, the plugins', or discovery's. It connects and goes on trying,
//! knows whether the broker is there, and brings replies to whoever waits. When
//! the connection goes, everything that waits on it fails at once.

mod waiter;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_nats::client::PublishErrorKind;
use async_nats::{Client, Event, HeaderMap, Message, ServerError, Subject, Subscriber};
use bytes::Bytes;
use futures_core::Stream;
use smallvec::SmallVec;
use tokio::sync::{Notify, mpsc, watch};

pub(crate) use waiter::Waiter;
use waiter::{read_docked, read_slot, reply_subject};

use super::peers::ms_of;
use super::waiting::{Expect, Lost, Waiting};
use super::wire::{Control, Told};
use super::{Options, Shared, wire};

/// How often overdue calls are looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(10);
/// Without calls, the looking stops after this many rounds.
const SWEEPS_WHEN_IDLE: u32 = 100;
/// How long a new call waits for a connection that has just gone.
const RECONNECT_PATIENCE: Duration = Duration::from_millis(200);
/// The pause before the first attempt to connect is repeated; doubles up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Messages that are sent on behalf of calls that are gone.
const OUTBOX: usize = 4096;
/// Refusals that are remembered.
const MOST_REFUSALS: usize = 256;
/// The role of discovery's link.
pub(crate) const CONTROL: &str = "control";
/// The role of an edge thread's own link.
pub(crate) const EDGE: &str = "edge";
/// What a fence asks: nobody listens there, and the broker says so.
pub(crate) const FENCE: &str = "_framex.fence";

/// See the module.
pub(crate) struct Link {
    role: &'static str,
    /// Replies come to `<inbox>.<slot>`.
    inbox: String,
    /// The first part of the ids of streams that are started here.
    token: String,
    /// The subjects of those streams begin so; none where there are none.
    streams: Option<String>,
    /// Who waits for the messages of a stream, by the rest of its id.
    followed: Mutex<HashMap<String, SmallVec<[Slot; 1]>>>,
    client: OnceLock<Client>,
    up: AtomicBool,
    phase: watch::Sender<Phase>,
    pub(crate) waiting: Waiting,
    /// Somebody waits, and nobody looks whether it is overdue.
    asleep: AtomicBool,
    wake: Notify,
    outbox: mpsc::Sender<Outgoing>,
    outgoing: Mutex<Option<mpsc::Receiver<Outgoing>>>,
    refusals: Mutex<VecDeque<Refusal>>,
}

/// A place among those that wait: its number and its stamp.
type Slot = (u32, u32);

/// Whether a link is up, and how often it has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) up: bool,
    /// Counts connects.
    pub(crate) connects: u64,
    /// Why it is down.
    pub(crate) trouble: Option<String>,
}

/// What the broker did not let this process do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) publish: bool,
    pub(crate) subject: String,
}

/// A message that nobody waits for.
pub(crate) struct Outgoing {
    pub(crate) subject: Subject,
    pub(crate) reply: Option<Subject>,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
}

impl Link {
    /// A link that does nothing until it is run.
    pub(crate) fn new(shared: &Shared, role: &'static str) -> Arc<Self> {
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let token = wire::random(wire::TOKEN);
        let starts = shared.durable.is_wanted() && role != CONTROL;
        let link = Arc::new(Self {
            role,
            inbox: format!("{}.{}", shared.options.inbox_prefix, &unique[..22]),
            streams: starts.then(|| shared.names.streams_of(&token)),
            followed: Mutex::default(),
            token,
            client: OnceLock::new(),
            up: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::default()),
            waiting: Waiting::default(),
            asleep: AtomicBool::new(true),
            wake: Notify::new(),
            outbox,
            outgoing: Mutex::new(Some(outgoing)),
            refusals: Mutex::default(),
        });
        let mut links = shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        link
    }

    /// Connects and serves the link, for as long as the future is polled. What
    /// waits when it is dropped fails.
    pub(crate) async fn run(self: Arc<Self>, options: Options, id: Arc<str>) {
        struct Down(Arc<Link>);
        impl Drop for Down {
            fn drop(&mut self) {
                self.0.down(None);
            }
        }
        let _down = Down(Arc::clone(&self));
        let outgoing = lock(&self.outgoing).take();
        let Some(mut outgoing) = outgoing else {
            return;
        };
        let name = format!("{} {id} {}", options.name, self.role);
        let client = self.connect(&options, &name).await;
        let mut inbox = match client.subscribe(format!("{}.*", self.inbox)).await {
            Ok(inbox) => inbox,
            Err(error) => {
                tracing::error!(%error, "the inbox cannot be subscribed");
                return;
            }
        };
        let mut streams = match &self.streams {
            None => None,
            Some(streams) => match client.subscribe(format!("{streams}>")).await {
                Ok(streams) => Some(streams),
                Err(error) => {
                    tracing::error!(%error, "streams cannot be followed");
                    return;
                }
            },
        };
        let _ = self.client.set(client.clone());
        self.come_up(&client);
        let dispatch = async {
            while let Some(message) = next(&mut inbox).await {
                self.dispatch(message);
            }
        };
        let follow = async {
            match &mut streams {
                Some(streams) => {
                    while let Some(message) = next(streams).await {
                        self.bring(&message);
                    }
                }
                None => std::future::pending().await,
            }
        };
        let send = async {
            while let Some(out) = outgoing.recv().await {
                // A broker that is away needs no cancellations: it forgets the calls.
                let _ = publish(&client, out.subject, out.reply, out.headers, out.payload).await;
            }
        };
        tokio::select! {
            // Before the beats, which say what should have come.
            biased;
            () = follow => {}
            () = dispatch => {}
            () = send => {}
            () = self.sweep() => {}
        }
    }

    async fn connect(self: &Arc<Self>, options: &Options, name: &str) -> Client {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_connect(options, name).await {
                Ok(client) => return client,
                Err(trouble) => {
                    let trouble = format!("{} ({})", trouble, options.shown());
                    let news = self.phase.send_if_modified(|phase| {
                        let news = phase.trouble.as_ref() != Some(&trouble);
                        phase.trouble = Some(trouble.clone());
                        news
                    });
                    if news {
                        self.complain(&trouble);
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn try_connect(
        self: &Arc<Self>,
        options: &Options,
        name: &str,
    ) -> Result<Client, String> {
        let servers = options.servers().map_err(|error| error.to_string())?;
        let link = Arc::downgrade(self);
        let connect = options
            .connect_options(name.to_owned())
            .map_err(|error| error.to_string())?
            .event_callback(move |event| {
                if let Some(link) = link.upgrade() {
                    link.happened(event);
                }
                std::future::ready(())
            });
        connect
            .connect(servers)
            .await
            .map_err(|error| explained(in_full(&error)))
    }

    fn happened(&self, event: Event) {
        match event {
            Event::Connected => {
                if let Some(client) = self.client.get() {
                    self.come_up(client);
                }
            }
            Event::Disconnected | Event::Closed => {
                if self.up.load(Ordering::Acquire) {
                    tracing::debug!(link = self.role, "the connection to the broker went");
                }
                self.down(Some("the connection went"));
            }
            Event::ServerError(error) => self.refused(&error),
            Event::SlowConsumer(_) => {
                tracing::error!(
                    link = self.role,
                    "messages came faster than they were taken, and some were dropped"
                );
            }
            Event::LameDuckMode => {
                tracing::info!(
                    link = self.role,
                    "the broker is about to stop; another one takes over"
                );
            }
            Event::ClientError(error) => {
                let trouble = error.to_string();
                self.phase.send_if_modified(|phase| {
                    let news = !phase.up && phase.trouble.as_ref() != Some(&trouble);
                    if news {
                        self.complain(&trouble);
                        phase.trouble = Some(trouble.clone());
                    }
                    news
                });
            }
            Event::Draining => {}
        }
    }

    /// Once for all links of the process: they have one broker.
    fn complain(&self, trouble: &str) {
        let text = format!("no connection to the broker: {trouble}; trying again");
        match self.role == CONTROL {
            true => tracing::warn!("{text}"),
            false => tracing::debug!(link = self.role, "{text}"),
        }
    }

    fn come_up(&self, client: &Client) {
        self.up.store(true, Ordering::Release);
        let news = self.phase.send_if_modified(|phase| {
            let news = !phase.up;
            if news {
                phase.up = true;
                phase.connects += 1;
                phase.trouble = None;
            }
            news
        });
        if news {
            // What was refused may be allowed now; if not, it is refused again.
            lock(&self.refusals).clear();
            let server = client.server_info();
            tracing::debug!(
                link = self.role,
                broker = server.server_name,
                version = server.version,
                "connected to the broker"
            );
        }
    }

    fn down(&self, trouble: Option<&str>) {
        self.up.store(false, Ordering::Release);
        self.phase.send_if_modified(|phase| {
            let news = phase.up;
            if news {
                phase.up = false;
                phase.trouble = trouble.map(str::to_owned);
            }
            news
        });
        self.waiting.fail(Lost::Disconnected, |_| true);
    }

    fn refused(&self, error: &ServerError) {
        let ServerError::Other(text) = error else {
            tracing::error!(link = self.role, "the broker says: {error}");
            return;
        };
        let Some(refusal) = refusal(text) else {
            tracing::error!(link = self.role, "the broker says: {text}");
            return;
        };
        let action = if refusal.publish {
            "publish to"
        } else {
            "subscribe to"
        };
        let news = self.remember(&refusal);
        if news && refusal.subject != FENCE {
            tracing::error!(
                link = self.role,
                "the broker does not let this process {action} `{}`: its user needs the permission",
                refusal.subject
            );
        }
        if refusal.publish {
            self.waiting.fail(Lost::Denied, |expect| {
                let sends = expect.sends.as_ref();
                expect.subject.as_str() == refusal.subject
                    || sends.is_some_and(|sends| sends.as_str() == refusal.subject)
            });
        }
    }

    /// Gives whether it was not known.
    fn remember(&self, refusal: &Refusal) -> bool {
        let mut refusals = lock(&self.refusals);
        if refusals.contains(refusal) {
            return false;
        }
        if refusals.len() >= MOST_REFUSALS {
            refusals.pop_front();
        }
        refusals.push_back(refusal.clone());
        true
    }

    /// Whether the broker has refused a subscription to `subject`.
    pub(crate) fn may_not_subscribe(&self, subject: &str) -> bool {
        let refusals = lock(&self.refusals);
        refusals.iter().any(|r| !r.publish && r.subject == subject)
    }

    /// Whether the broker has refused to take messages to `subject`.
    pub(crate) fn may_not_publish(&self, subject: &str) -> bool {
        let refusals = lock(&self.refusals);
        refusals.iter().any(|r| r.publish && r.subject == subject)
    }

    /// Whether it belongs to a thread of an edge.
    pub(crate) fn is_edges(&self) -> bool {
        self.role == EDGE
    }

    /// Whether the broker is there now.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Follows the connection's comings and goings.
    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The connection, once it has been up. It may be down again.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    /// Waits until the broker is there.
    pub(crate) async fn wait_up(&self) -> Option<&Client> {
        let mut phase = self.phase.subscribe();
        phase.wait_for(|phase| phase.up).await.ok()?;
        self.client.get()
    }

    /// The connection, if it is there now.
    pub(crate) fn now_up(&self) -> Option<&Client> {
        self.client.get().filter(|_| self.is_up())
    }

    /// The connection, if it is there or comes back in a moment.
    pub(crate) async fn soon_up(&self, deadline: Option<Instant>) -> Result<&Client, Lost> {
        if let Some(client) = self.now_up() {
            return Ok(client);
        }
        let now = Instant::now();
        let until = deadline.map_or(now + RECONNECT_PATIENCE, |d| {
            d.min(now + RECONNECT_PATIENCE)
        });
        match tokio::time::timeout_at(until.into(), self.wait_up()).await {
            Ok(Some(client)) => Ok(client),
            Ok(None) | Err(_) => Err(Lost::Disconnected),
        }
    }

    /// A place for replies. Publish with [`Waiter::reply`] as the reply subject.
    pub(crate) fn expect(self: &Arc<Self>, expect: Expect, told: Option<&Told<'_>>) -> Waiter {
        let slot = self.waiting.insert(expect, None);
        self.waiter(slot, reply_subject(&self.inbox, slot, told))
    }

    /// A place for messages to `<prefix>.<slot>-<secret>`, of which [`Link::dock`]
    /// hears. Others may publish there, and cannot know the secret.
    pub(crate) fn expect_at(self: &Arc<Self>, prefix: &str, expect: Expect) -> Waiter {
        let secret = uuid::Uuid::new_v4().as_u128();
        let slot = self.waiting.insert(expect, Some(secret));
        let reply = reply_subject(prefix, slot, None);
        self.waiter(slot, format!("{reply}-{secret:032x}").into())
    }

    fn waiter(self: &Arc<Self>, (index, stamp): Slot, reply: Subject) -> Waiter {
        if self.asleep.load(Ordering::Relaxed) {
            self.asleep.store(false, Ordering::Relaxed);
            self.wake.notify_one();
        }
        Waiter {
            link: Arc::clone(self),
            index,
            stamp,
            followed: None,
            reply,
        }
    }

    /// Sends without waiting; what there is no room for is sent later.
    pub(crate) fn send_surely(&self, subject: Subject, payload: Bytes) {
        let out = Outgoing {
            subject,
            reply: None,
            headers: None,
            payload,
        };
        if let Err(mpsc::error::TrySendError::Full(out)) = self.outbox.try_send(out)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let outbox = self.outbox.clone();
            // Ends with the link: nobody takes what is in the box then.
            runtime.spawn(async move { outbox.send(out).await });
        }
    }

    /// Sends without waiting. Gives whether there was room; else nothing is sent.
    pub(crate) fn send_later(&self, subject: Subject, payload: Bytes) -> bool {
        self.send_all_later(Outgoing {
            subject,
            reply: None,
            headers: None,
            payload,
        })
    }

    /// As [`Link::send_later`], with all that a message may have.
    pub(crate) fn send_all_later(&self, out: Outgoing) -> bool {
        self.outbox.try_send(out).is_ok()
    }

    /// One question, one answer, within `limit`.
    pub(crate) async fn request(
        self: &Arc<Self>,
        subject: Subject,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, Lost> {
        let now = Instant::now();
        let deadline = now + limit;
        let client = self.soon_up(Some(deadline)).await?;
        let expect = Expect {
            deadline: Some(deadline),
            instance: None,
            subject: subject.clone(),
            sends: None,
            since: ms_of(now),
        };
        let mut waiter = self.expect(expect, None);
        publish(client, subject, Some(waiter.reply.clone()), None, payload).await?;
        waiter.next().await
    }

    /// Waits until the broker has done everything that was sent before: one
    /// round trip. A flush would only prove that it was sent.
    pub(crate) async fn fence(self: &Arc<Self>, limit: Duration) -> Result<(), Lost> {
        match self.request(FENCE.into(), Bytes::new(), limit).await {
            // Nobody answers; that the broker says so is the answer.
            Ok(_) | Err(Lost::NoResponders | Lost::Denied) => Ok(()),
            Err(lost) => Err(lost),
        }
    }

    /// Brings a message to whoever waits for it.
    pub(crate) fn dispatch(&self, message: Message) {
        let token = message.subject.as_str().rsplit('.').next();
        if let Some(slot) = token.and_then(|token| read_slot(wire::slot_of(token))) {
            let nobodys = self.waiting.deliver(slot, None, message);
            if let Some(control) = nobodys.as_ref().and_then(wire::beat_of_kept) {
                // A follower that has left, whose word was lost: the stream waits for it.
                let message = Control {
                    call: nobodys.map_or_else(String::new, |m| m.subject.to_string()),
                    leave: true,
                    ..Control::default()
                };
                self.send_later(control, message.payload());
            }
        }
    }

    /// Brings a message to whoever waits for it at [`Link::expect_at`].
    pub(crate) fn dock(&self, message: Message) {
        let token = message.subject.as_str().rsplit('.').next();
        if let Some((slot, secret)) = token.and_then(read_docked) {
            self.waiting.deliver(slot, Some(secret), message);
        }
    }

    /// Hands a message of a stream to all who follow it on this connection.
    fn bring(&self, message: &Message) {
        let before = self.streams.as_ref().map_or(0, String::len);
        let rest = message.subject.as_str().get(before..).unwrap_or_default();
        let stream = rest.split('.').next().unwrap_or_default();
        let slots = match lock(&self.followed).get(stream) {
            Some(slots) => slots.clone(),
            None => return,
        };
        for slot in slots {
            self.waiting.deliver(slot, None, message.clone());
        }
    }

    /// Whether streams can be started here whose messages come by their own subjects.
    pub(crate) fn starts_streams(&self) -> bool {
        let streams = self.streams.as_ref();
        streams.is_some_and(|streams| !self.may_not_subscribe(&format!("{streams}>")))
    }

    /// The first part of the ids of streams that are started here.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Looks for overdue calls while there are calls.
    async fn sweep(&self) {
        loop {
            let woken = self.wake.notified();
            self.asleep.store(true, Ordering::Relaxed);
            if !self.waiting.sweep() {
                woken.await;
            }
            self.asleep.store(false, Ordering::Relaxed);
            let mut idle = 0;
            while idle < SWEEPS_WHEN_IDLE {
                tokio::time::sleep(SWEEP_EVERY).await;
                idle = if self.waiting.sweep() { 0 } else { idle + 1 };
            }
        }
    }
}

/// Publishes on a connection; what cannot be sent is told as a loss.
pub(crate) async fn publish(
    client: &Client,
    subject: Subject,
    reply: Option<Subject>,
    headers: Option<HeaderMap>,
    payload: Bytes,
) -> Result<(), Lost> {
    let sent = match (reply, headers) {
        (None, None) => client.publish(subject, payload).await,
        (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
        (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
        (Some(reply), Some(headers)) => {
            client
                .publish_with_reply_and_headers(subject, reply, headers, payload)
                .await
        }
    };
    sent.map_err(|error| match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => Lost::TooLarge,
        _ => Lost::Disconnected,
    })
}

pub(crate) async fn next(subscriber: &mut Subscriber) -> Option<Message> {
    poll_fn(|cx| Pin::new(&mut *subscriber).poll_next(cx)).await
}

/// Reads `Permissions Violation for Publish to "a.b"`.
fn refusal(text: &str) -> Option<Refusal> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find("permissions violation for ")?;
    let what = &lower[at + "permissions violation for ".len()..];
    let publish = what.starts_with("publish");
    let subject = text.split('"').nth(1)?;
    Some(Refusal {
        publish,
        subject: subject.to_owned(),
    })
}

/// An error with all its sources.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

/// TLS says of an answer without it what nobody understands.
fn explained(trouble: String) -> String {
    match trouble.contains("InvalidContentType") {
        true => format!("it does not speak TLS: {trouble}"),
        false => trouble,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read() {
        let text =
            "nats: Permissions Violation for Subscription to \"other.>\" using queue \"echo\"";
        let read = refusal(text).unwrap();
        assert_eq!((read.publish, &*read.subject), (false, "other.>"));
        let read = refusal("Permissions Violation for Publish to \"a.B.c\"").unwrap();
        assert!(read.publish);
        assert_eq!(refusal("maximum connections exceeded"), None);
    }
}
