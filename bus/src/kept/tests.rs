//! What whoever follows gets, and what becomes of the handler.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use framex_core::error::{CallError, Error};
use framex_core::event::{Event, EventStream};
use framex_core::id::ApiId;
use framex_core::kept::{Position, StreamId};
use futures_util::stream;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::timeout;

use super::stream::PATIENCE;
use super::{KeepOptions, Keeper, KeptStream, STREAM};

const SOON: Duration = Duration::from_secs(5);

fn keeper(options: KeepOptions) -> Arc<Keeper> {
    Keeper::new(options)
}

fn api() -> ApiId {
    ApiId::parse("plugin.Plugin.stream").unwrap()
}

/// A handler that makes what it is told to, and says when it is dropped.
struct Source {
    tell: UnboundedSender<Result<Event, Error>>,
    gone: Arc<AtomicUsize>,
}

struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Source {
    fn new() -> (Self, EventStream) {
        let (tell, told) = mpsc::unbounded_channel();
        let gone = Arc::new(AtomicUsize::new(0));
        let guard = Gone(Arc::clone(&gone));
        let events = stream::unfold((told, guard), |(mut told, guard)| async move {
            let event = told.recv().await?;
            Some((event, (told, guard)))
        });
        (Self { tell, gone }, EventStream::new(events))
    }

    fn text(&self, text: &str) {
        self.tell.send(Ok(Event::text(text.to_owned()))).unwrap();
    }

    async fn gone(&self) {
        let gone = async {
            while self.gone.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, gone).await.expect("the handler is dropped");
    }
}

/// A handler that never waits, and counts what it makes.
fn endless(size: usize) -> (EventStream, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let events = stream::repeat_with(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Ok(Event::text(format!("{number:0size$}")))
    });
    (EventStream::new(events), made)
}

fn find(keeper: &Keeper, events: &EventStream) -> Arc<dyn KeptStream> {
    keeper.find(events.kept().unwrap()).unwrap()
}

async fn next(events: &mut EventStream) -> Option<String> {
    let item = timeout(SOON, events.next()).await.expect("an item soon");
    item.map(|item| match item {
        Ok(event) => format!("{} {}", event.position().unwrap(), event.as_text().unwrap()),
        Err(error) => format!("! {}", error.code()),
    })
}

async fn rest(events: &mut EventStream) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(item) = next(events).await {
        all.push(item);
    }
    all
}

async fn follow(kept: &dyn KeptStream, after: u64) -> Result<EventStream, String> {
    match kept.follow(Position::new(after, 0)).await {
        Ok(events) => Ok(events),
        Err(CallError::Handler(error)) => Err(error.code().to_owned()),
        Err(other) => Err(other.to_string()),
    }
}

#[tokio::test]
async fn the_rest_is_there_while_it_runs_and_after_it_ended() {
    let keeper = keeper(KeepOptions::default());
    let (source, events) = Source::new();
    let mut first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    for text in ["a", "b", "c"] {
        source.text(text);
    }
    assert_eq!(next(&mut first).await.unwrap(), "1 a");
    drop(first);
    let mut second = follow(&*kept, 1).await.unwrap();
    assert_eq!(next(&mut second).await.unwrap(), "2 b");
    source.text("d");
    source.tell.send(Err(Error::conflict("over"))).unwrap();
    let tail = ["3 c", "4 d", "! conflict"];
    assert_eq!(rest(&mut second).await, tail);
    for after in 0..=4 {
        let mut again = follow(&*kept, after).await.unwrap();
        let all = ["1 a", "2 b", "3 c", "4 d", "! conflict"];
        assert_eq!(
            rest(&mut again).await,
            all[usize::try_from(after).unwrap()..]
        );
    }
    // What never came is nobody's place.
    assert_eq!(follow(&*kept, 5).await.unwrap_err(), "stream_gone");
    let inside = kept.follow(Position::new(1, 1)).await;
    assert!(matches!(inside, Err(CallError::Handler(e)) if e.status() == 410));
    assert_eq!(source.gone.load(Ordering::SeqCst), 1);
    assert!(keeper.find(&StreamId::generate()).is_none());
}

#[tokio::test]
async fn all_who_follow_get_all() {
    let keeper = keeper(KeepOptions::default());
    let (source, events) = Source::new();
    let first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    let mut readers = vec![tokio::spawn(async move { rest(&mut { first }).await })];
    for _ in 0..5 {
        let mut more = kept.follow(None).await.unwrap();
        readers.push(tokio::spawn(async move { rest(&mut more).await }));
    }
    for number in 0..1000 {
        source.text(&number.to_string());
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
        if number == 300 {
            // One that goes may be the one that the others rely on.
            readers.pop().unwrap().abort();
            readers.remove(0).abort();
        }
    }
    drop(source);
    let all: Vec<_> = (0..1000).map(|n| format!("{} {n}", n + 1)).collect();
    assert_eq!(readers.len(), 4);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), all);
    }
}

/// On several threads, coming and going all the time: nobody waits for ever, and nobody
/// misses anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn followers_come_and_go() {
    const EVENTS: u64 = 3000;
    let keeper = keeper(KeepOptions {
        replay_buffer: 1 << 20,
        ..KeepOptions::default()
    });
    let (source, events) = Source::new();
    let first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    drop(first);
    let followers: Vec<_> = (0..12_u64)
        .map(|follower| {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut random = follower.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                let mut seen = 0;
                loop {
                    let mut events = match seen {
                        0 => kept.follow(None).await.unwrap(),
                        _ => follow(&*kept, seen).await.unwrap(),
                    };
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    for _ in 0..random >> 57 {
                        let Some(event) = next(&mut events).await else {
                            return seen;
                        };
                        seen += 1;
                        assert_eq!(event, format!("{seen} {}", seen - 1));
                    }
                }
            })
        })
        .collect();
    for number in 0..EVENTS {
        source.text(&number.to_string());
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    drop(source);
    for follower in followers {
        assert_eq!(follower.await.unwrap(), EVENTS);
    }
}

#[tokio::test]
async fn without_a_grace_period_it_ends_with_its_last_follower() {
    let keeper = keeper(KeepOptions {
        grace: Duration::ZERO,
        ..KeepOptions::default()
    });
    let (source, events) = Source::new();
    let first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    let second = kept.follow(None).await.unwrap();
    drop(first);
    assert_eq!(source.gone.load(Ordering::SeqCst), 0);
    drop(second);
    assert_eq!(source.gone.load(Ordering::SeqCst), 1);
}

/// Whoever waits is woken by others' going, not only by events.
#[tokio::test]
async fn who_drove_may_leave() {
    let keeper = keeper(KeepOptions::default());
    let (source, events) = Source::new();
    let mut first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    let mut second = kept.follow(None).await.unwrap();
    let waiting = tokio::spawn(async move { second.next().await });
    tokio::task::yield_now().await;
    // Now the first is the last that polled the handler.
    assert!(
        timeout(Duration::from_millis(20), first.next())
            .await
            .is_err()
    );
    drop(first);
    source.text("a");
    let event = timeout(SOON, waiting).await.expect("it is woken").unwrap();
    assert_eq!(event.unwrap().unwrap().as_text(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_alone_for_a_while() {
    let keeper = keeper(KeepOptions {
        grace: Duration::from_millis(300),
        ..KeepOptions::default()
    });
    let (source, events) = Source::new();
    let mut first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    source.text("a");
    assert_eq!(next(&mut first).await.unwrap(), "1 a");
    drop(first);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut second = follow(&*kept, 1).await.unwrap();
    // Whoever comes starts the time anew.
    tokio::time::sleep(Duration::from_millis(200)).await;
    source.text("b");
    assert_eq!(next(&mut second).await.unwrap(), "2 b");
    drop(second);
    source.text("c");
    source.gone().await;
    let mut last = follow(&*kept, 2).await.unwrap();
    assert_eq!(rest(&mut last).await, ["3 c", "! stream_abandoned"]);
}

#[tokio::test]
async fn a_stop_is_for_all() {
    let keeper = keeper(KeepOptions::default());
    let (source, events) = Source::new();
    let mut first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    let mut second = kept.follow(None).await.unwrap();
    source.text("a");
    assert_eq!(next(&mut first).await.unwrap(), "1 a");
    let waiting = tokio::spawn(async move { rest(&mut first).await });
    tokio::task::yield_now().await;
    kept.stop().await.unwrap();
    assert_eq!(source.gone.load(Ordering::SeqCst), 1);
    assert_eq!(waiting.await.unwrap(), ["! stream_stopped"]);
    assert_eq!(rest(&mut second).await, ["1 a", "! stream_stopped"]);
    kept.stop().await.unwrap();
    let mut late = kept.follow(None).await.unwrap();
    assert_eq!(rest(&mut late).await, ["1 a", "! stream_stopped"]);
}

#[tokio::test]
async fn the_slowest_holds_the_others_and_the_handler() {
    let keeper = keeper(KeepOptions {
        replay_buffer: 64 << 10,
        ..KeepOptions::default()
    });
    let (events, made) = endless(100);
    let mut fast = keeper.keep(events, api(), None);
    let kept = find(&keeper, &fast);
    let mut slow = kept.follow(None).await.unwrap();
    let taken = Arc::new(Mutex::new(0));
    let count = Arc::clone(&taken);
    let reader = tokio::spawn(async move {
        while let Some(Ok(_)) = fast.next().await {
            *count.lock().unwrap() += 1;
            tokio::task::yield_now().await;
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Half of the buffer, and what is handed over at a time.
    let ahead = made.load(Ordering::SeqCst);
    assert!((200..500).contains(&ahead), "{ahead} events");
    assert_eq!(*taken.lock().unwrap(), ahead);
    for number in 0..2000 {
        let expected = format!("{} {number:0100}", number + 1);
        assert_eq!(next(&mut slow).await.unwrap(), expected);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!((2200..2700).contains(&made.load(Ordering::SeqCst)));
    drop(slow);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(made.load(Ordering::SeqCst) > 2700);
    reader.abort();
}

#[tokio::test]
async fn nobody_there_fills_half_of_the_buffer() {
    let keeper = keeper(KeepOptions {
        replay_buffer: 64 << 10,
        ..KeepOptions::default()
    });
    let (events, made) = endless(100);
    let mut first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    for _ in 0..1000 {
        next(&mut first).await.unwrap();
    }
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ahead = made.load(Ordering::SeqCst) - 1000;
    assert!((200..500).contains(&ahead), "{ahead} events");
    // What the last one had not got through is still there, the beginning is not.
    let mut second = follow(&*kept, 850).await.unwrap();
    assert!(next(&mut second).await.unwrap().starts_with("851 "));
    for after in [0, 100] {
        assert_eq!(
            follow(&*kept, after).await.unwrap_err(),
            "stream_incomplete"
        );
    }
}

#[tokio::test]
async fn streams_that_ended_make_room() {
    let keeper = keeper(KeepOptions {
        replay_memory: 34_000,
        max_age: Duration::from_millis(300),
        ..KeepOptions::default()
    });
    let mut ids = Vec::new();
    for _ in 0..5 {
        let events = stream::iter((0..100).map(|_| Ok(Event::text("x".repeat(96)))));
        let mut events = keeper.keep(EventStream::new(events), api(), None);
        ids.push(events.kept().unwrap().clone());
        assert_eq!(rest(&mut events).await.len(), 100);
    }
    let there: Vec<_> = ids.iter().map(|id| keeper.find(id).is_some()).collect();
    assert_eq!(there, [false, false, true, true, true]);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(ids.iter().all(|id| keeper.find(id).is_none()));
}

/// Each of them costs something, also without an event.
#[tokio::test]
async fn streams_of_nothing_are_bounded_too() {
    let keeper = keeper(KeepOptions {
        replay_memory: 10 * STREAM,
        ..KeepOptions::default()
    });
    let mut ids = Vec::new();
    for _ in 0..100 {
        let mut events = keeper.keep(EventStream::new(stream::empty()), api(), None);
        ids.push(events.kept().unwrap().clone());
        assert_eq!(next(&mut events).await, None);
    }
    let there = ids.iter().map(|id| keeper.find(id).is_some());
    assert_eq!(there.filter(|there| *there).count(), 10);
    assert!(keeper.find(&ids[90]).is_some());
}

/// Nobody has to ask for that.
#[tokio::test(start_paused = true)]
async fn what_has_ended_goes_by_itself() {
    let keeper = keeper(KeepOptions::default());
    for round in 0..2 {
        let (source, events) = Source::new();
        let mut first = keeper.keep(events, api(), None);
        source.text("a");
        drop(source);
        assert_eq!(rest(&mut first).await, ["1 a"], "{round}");
        drop(first);
        tokio::time::sleep(Duration::from_secs(9 * 60)).await;
        assert!(keeper.usage.held.load(Ordering::SeqCst) > STREAM);
        tokio::time::sleep(Duration::from_secs(2 * 60)).await;
        assert_eq!(keeper.usage.held.load(Ordering::SeqCst), 0);
    }
}

/// Its client may say nothing, and have no room for more.
#[tokio::test(start_paused = true)]
async fn who_takes_nothing_holds_the_others_for_a_while() {
    let keeper = keeper(KeepOptions {
        replay_buffer: 64 << 10,
        ..KeepOptions::default()
    });
    let (events, made) = endless(100);
    let mut fast = keeper.keep(events, api(), None);
    let kept = find(&keeper, &fast);
    let mut slow = kept.follow(None).await.unwrap();
    let mut stuck = kept.follow(None).await.unwrap();
    assert!(next(&mut stuck).await.unwrap().starts_with("1 "));
    let reader = tokio::spawn(async move {
        while let Some(Ok(_)) = fast.next().await {
            tokio::task::yield_now().await;
        }
    });
    let mut number = 0;
    for round in 0..5 {
        // A little now and then is enough.
        tokio::time::sleep(PATIENCE * 2 / 5).await;
        let held = made.load(Ordering::SeqCst);
        assert_eq!(held < 500, round < 3, "{held} in round {round}");
        for _ in 0..60 {
            number += 1;
            assert!(
                next(&mut slow)
                    .await
                    .unwrap()
                    .starts_with(&format!("{number} "))
            );
        }
    }
    // The one went on, the other did not.
    let ahead = made.load(Ordering::SeqCst);
    assert!((600..1000).contains(&ahead), "{ahead} events");
    let mut last = rest(&mut stuck).await;
    assert_eq!(last.pop().unwrap(), "! stream_interrupted");
    assert!(last.len() < 500, "{}", last.len());
    // Alone it may take its time.
    reader.abort();
    tokio::time::sleep(PATIENCE * 3).await;
    for _ in 0..2000 {
        number += 1;
        assert!(
            next(&mut slow)
                .await
                .unwrap()
                .starts_with(&format!("{number} "))
        );
    }
}

/// Whoever polled the handler last may have no room for what it gives.
#[tokio::test]
async fn who_drove_may_be_busy() {
    let keeper = keeper(KeepOptions::default());
    let (source, events) = Source::new();
    let mut first = keeper.keep(events, api(), None);
    let kept = find(&keeper, &first);
    let mut second = kept.follow(None).await.unwrap();
    let waiting = tokio::spawn(async move { second.next().await });
    tokio::task::yield_now().await;
    assert!(
        timeout(Duration::from_millis(20), first.next())
            .await
            .is_err()
    );
    source.text("a");
    let event = timeout(SOON, waiting).await.expect("it is woken").unwrap();
    assert_eq!(event.unwrap().unwrap().as_text(), Some("a"));
    assert_eq!(next(&mut first).await.unwrap(), "1 a");
}

#[tokio::test]
async fn a_process_that_stops_waits_for_nobody() {
    let keeper = keeper(KeepOptions::default());
    let (left, events) = Source::new();
    let first = keeper.keep(events, api(), None);
    drop(first);
    let (followed, events) = Source::new();
    let mut second = keeper.keep(events, api(), None);
    keeper.stop_waiting();
    left.gone().await;
    followed.text("a");
    assert_eq!(next(&mut second).await.unwrap(), "1 a");
    drop(second);
    assert_eq!(followed.gone.load(Ordering::SeqCst), 1);
}

/// Outside of any runtime there is nothing that could go on.
#[test]
fn without_a_runtime_it_ends_at_once() {
    let keeper = keeper(KeepOptions::default());
    let (source, events) = Source::new();
    drop(keeper.keep(events, api(), None));
    assert_eq!(source.gone.load(Ordering::SeqCst), 1);
}

/// The task that drives on is gone with its runtime.
#[test]
fn its_runtime_may_go() {
    let keeper = keeper(KeepOptions::default());
    let (source, events) = Source::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let entered = runtime.enter();
    drop(keeper.keep(events, api(), None));
    drop(entered);
    assert_eq!(source.gone.load(Ordering::SeqCst), 0);
    drop(runtime);
    assert_eq!(source.gone.load(Ordering::SeqCst), 1);
}
