//! The task of one API: takes requests, polls what they start, sends answers.
//!
//! Most handlers finish in their first poll, here, without a task or an
//! allocation of their own. Answers are sent at the end of a turn: sending wakes
//! the connection's task to run next in this thread, where a handler that blocks
//! would hold it up. For the same reason, an API whose handler has blocked, or
//! that is new, runs each call in a task of its own that says that it may block.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::task::coop::has_budget_remaining;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::{Answer, Begun, Service, Work};
use super::{OfferedApi, leave};
use crate::nats::link::Link;

/// Answers that are sent together.
const MOST_TOGETHER: usize = 128;

/// Between the news that the plugin leaves and its leaving: in a cluster, callers
/// of other nodes hear it before those nodes do.
const NEWS_TRAVEL: Duration = Duration::from_millis(50);
/// The same where only this API goes: others have to ask what is left.
const CHANGES_TRAVEL: Duration = Duration::from_millis(500);

/// How often a call of its own task is polled with care, whatever its API.
const CAREFUL_POLLS: u32 = 3;

/// What a turn came to.
enum Turn {
    /// There are answers to send.
    Answers,
    /// Something is to change.
    Word(Word),
    /// Everything that was sent to it has arrived.
    Arrived,
    /// And has been taken.
    Left,
    /// Nothing comes any more, nothing runs.
    Over,
}

/// How far the way out is.
enum Stage {
    /// Until there is a word.
    Serving(BoxFuture<'static, Word>),
    /// Until the broker has ended the subscriptions.
    Leaving(BoxFuture<'static, ()>),
    /// Until what it sent before is taken.
    Emptying,
    Left,
}

/// What a receiver is told while it serves.
enum Word {
    /// The API is described in another way.
    Become(Arc<OfferedApi>, Orders),
    /// It is to be withdrawn.
    Leave,
}

/// Where the words come from.
pub(super) struct Orders {
    pub(super) changes: watch::Receiver<Arc<OfferedApi>>,
    /// The whole plugin leaves.
    pub(super) plugin: CancellationToken,
    /// Only this API does.
    pub(super) own: CancellationToken,
}

impl Orders {
    async fn next(mut self) -> Word {
        let removed = async {
            self.own.cancelled().await;
            tokio::time::sleep(CHANGES_TRAVEL).await;
        };
        let withdrawn = async {
            self.plugin.cancelled().await;
            tokio::time::sleep(NEWS_TRAVEL).await;
        };
        tokio::select! {
            () = removed => Word::Leave,
            () = withdrawn => Word::Leave,
            Ok(()) = self.changes.changed() => {
                let api = Arc::clone(&self.changes.borrow_and_update());
                Word::Become(api, self)
            }
        }
    }
}

/// Held for as long as requests may come.
pub(super) struct Serving {
    _serving: mpsc::Sender<()>,
    _left: DropGuard,
}

impl Serving {
    /// Cancels `left` when it goes.
    pub(super) fn new(serving: mpsc::Sender<()>, left: CancellationToken) -> Self {
        Self {
            _serving: serving,
            _left: left.drop_guard(),
        }
    }
}

/// See the module.
pub(super) struct Receiver {
    service: Arc<Service>,
    link: Arc<Link>,
    subscribers: Vec<Subscriber>,
    /// Whose turn it is.
    next: usize,
    /// Taken, and not started yet.
    ahead: Option<Message>,
    stage: Stage,
    running: FuturesUnordered<Work>,
    answers: Vec<Answer>,
    /// Dropped when no more requests will come.
    serving: Option<Serving>,
}

impl Receiver {
    pub(super) fn new(
        service: Arc<Service>,
        link: Arc<Link>,
        subscribers: Vec<Subscriber>,
        orders: Orders,
        serving: Serving,
    ) -> Self {
        Self {
            service,
            link,
            subscribers,
            next: 0,
            ahead: None,
            stage: Stage::Serving(Box::pin(orders.next())),
            running: FuturesUnordered::new(),
            answers: Vec::new(),
            serving: Some(serving),
        }
    }

    /// Serves until it is withdrawn, and until what runs then is done.
    pub(super) async fn run(mut self) {
        loop {
            match poll_fn(|cx| self.poll_guarded(cx)).await {
                Turn::Answers => {
                    let mut answers = std::mem::take(&mut self.answers);
                    for Answer { reply, out } in answers.drain(..) {
                        self.service.send(&reply, out).await;
                    }
                    self.answers = answers;
                    self.service
                        .api
                        .record
                        .answering
                        .fetch_sub(1, Ordering::SeqCst);
                    if poll_fn(|cx| Poll::Ready(self.has_more(cx))).await {
                        // The connection first: it would wait for the next handlers.
                        tokio::task::yield_now().await;
                    }
                }
                Turn::Word(Word::Become(api, orders)) => {
                    self.service = Arc::new(self.service.become_another(api));
                    self.stage = Stage::Serving(Box::pin(orders.next()));
                }
                Turn::Word(Word::Leave) => {
                    for subscriber in &mut self.subscribers {
                        leave::end(subscriber).await;
                    }
                    let arrived = leave::everything_arrived(Arc::clone(&self.link));
                    self.stage = Stage::Leaving(Box::pin(arrived));
                }
                Turn::Arrived => self.stage = Stage::Emptying,
                Turn::Left => self.left(),
                Turn::Over => return,
            }
        }
    }

    fn left(&mut self) {
        self.stage = Stage::Left;
        self.subscribers.clear();
        self.serving = None;
    }

    /// [`Receiver::poll_turn`], also where what a handler leaves behind panics as
    /// it is dropped: that call is not answered, the others go on.
    fn poll_guarded(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        catch_unwind(AssertUnwindSafe(|| self.poll_turn(cx))).unwrap_or_else(|_| {
            tracing::error!(api = %self.service.id(), "a panic while a call was dropped; it is not answered");
            cx.waker().wake_by_ref();
            match self.answers.is_empty() {
                false => Poll::Ready(Turn::Answers),
                true => {
                    let answering = &self.service.api.record.answering;
                    answering.fetch_sub(1, Ordering::SeqCst);
                    Poll::Pending
                }
            }
        })
    }

    /// Runs handlers until there is something to wait for, or to send. With
    /// [`Turn::Answers`], `answering` stays raised until they are sent.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let answering = &Arc::clone(&self.service).api.record.answering;
        answering.fetch_add(1, Ordering::SeqCst);
        self.finish_some(cx);
        let before = self.running.len();
        let came = self.take_some(cx);
        if self.running.len() > before {
            self.finish_some(cx);
        }
        if !self.answers.is_empty() {
            return Poll::Ready(Turn::Answers);
        }
        answering.fetch_sub(1, Ordering::SeqCst);
        if ready!(came) {
            self.left();
        }
        self.poll_stage(cx)
    }

    /// Polls the calls that wait.
    fn finish_some(&mut self, cx: &mut Context<'_>) {
        if self.running.is_empty() {
            return;
        }
        let Self {
            running, answers, ..
        } = self;
        let mut poll = || {
            while !running.is_empty() && answers.len() < MOST_TOGETHER {
                match Pin::new(&mut *running).poll_next(cx) {
                    Poll::Ready(Some(answer)) => answers.extend(answer),
                    Poll::Ready(None) | Poll::Pending => return,
                }
            }
        };
        match self.service.is_heavy() {
            false => poll(),
            true => self.service.in_place(poll),
        }
    }

    /// Starts calls. Ready with `false` if nothing lies there now, with `true` if
    /// nothing ever will; pending if this has to go on before anybody waits.
    fn take_some(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let service = Arc::clone(&self.service);
        let mut clock: Option<Instant> = None;
        while self.answers.len() < MOST_TOGETHER {
            let message = match self.poll_message(cx) {
                Poll::Ready(Some(message)) => message,
                Poll::Ready(None) => return Poll::Ready(!matches!(self.stage, Stage::Left)),
                Poll::Pending if has_budget_remaining() => return Poll::Ready(false),
                // There may be more; the turn is over, and another is asked for.
                Poll::Pending => return Poll::Pending,
            };
            let clock = clock.get_or_insert_with(Instant::now);
            match service.begin(message, clock, cx) {
                Begun::Nothing => {}
                Begun::Answered(answer) => self.answers.push(answer),
                Begun::Running(work) => self.running.push(work),
                Begun::Apart(work) => spawn(&service, work),
            }
        }
        Poll::Pending
    }

    /// Whether handlers could be polled right now, as far as that is known.
    fn has_more(&mut self, cx: &mut Context<'_>) -> bool {
        if let Poll::Ready(Some(message)) = self.poll_message(cx) {
            self.ahead = Some(message);
        }
        self.ahead.is_some() || !self.running.is_empty()
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        if let Some(message) = self.ahead.take() {
            return Poll::Ready(Some(message));
        }
        let mut waits = false;
        for _ in 0..self.subscribers.len() {
            let subscriber = &mut self.subscribers[self.next];
            match Pin::new(subscriber).poll_next(cx) {
                Poll::Ready(Some(message)) => return Poll::Ready(Some(message)),
                Poll::Ready(None) => {}
                Poll::Pending => waits = true,
            }
            self.next = (self.next + 1) % self.subscribers.len();
        }
        match waits {
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    }

    /// With nothing to take: the way out goes on.
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let turn = match &mut self.stage {
            Stage::Serving(word) => Turn::Word(ready!(word.as_mut().poll(cx))),
            Stage::Leaving(arrived) => {
                ready!(arrived.as_mut().poll(cx));
                // Since it was looked for messages, the last ones may have come.
                Turn::Arrived
            }
            Stage::Emptying => Turn::Left,
            Stage::Left if self.running.is_empty() => Turn::Over,
            Stage::Left => return Poll::Pending,
        };
        Poll::Ready(turn)
    }
}

/// Runs a call in a task of its own, where it may block.
fn spawn(service: &Arc<Service>, mut work: Work) {
    let service = Arc::clone(service);
    let stop = service.shared.stop.clone();
    let apart = async move {
        let mut polls = 0;
        let poll = poll_fn(|cx| {
            // Before the poll: a call that ends in it is never without notice.
            let answering = service.answering();
            polls += 1;
            let answer = match polls <= CAREFUL_POLLS || service.is_heavy() {
                true => service.in_place(|| work.as_mut().poll(cx)),
                false => work.as_mut().poll(cx),
            };
            answer.map(|answer| (answer, answering))
        });
        let (answer, _answering) = poll.await;
        if let Some(Answer { reply, out }) = answer {
            service.send(&reply, out).await;
        }
    };
    tokio::spawn(async move {
        let mut apart = pin!(apart);
        stop.run_until_cancelled(apart.as_mut()).await;
    });
}
