//! Finds handlers that block a runtime thread.
//!
//! Every thread that polls handlers notes which one it is in. Whoever watches
//! ([`Watch::look`]) compares two looks: a thread that is still in the same
//! poll is blocked. The notes cost two relaxed stores a poll.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::id::ApiId;

/// An API's number in the notes of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiNumber(u32);

/// Every API that ever had a number, and the numbers.
#[derive(Default)]
struct Apis {
    ids: Vec<ApiId>,
    numbers: HashMap<ApiId, ApiNumber>,
}

static APIS: LazyLock<Mutex<Apis>> = LazyLock::new(Mutex::default);
static THREADS: Mutex<Vec<Weak<Note>>> = Mutex::new(Vec::new());

#[derive(Default)]
struct Note {
    thread: String,
    /// 0 outside of handlers, else the API's number.
    api: AtomicU32,
    polls: AtomicU32,
}

thread_local! {
    static NOTE: OnceCell<Arc<Note>> = const { OnceCell::new() };
}

/// Gives `api` its number, the same one each time.
#[must_use]
pub fn register(api: &ApiId) -> ApiNumber {
    let mut apis = APIS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = apis.numbers.get(api) {
        return *number;
    }
    apis.ids.push(api.clone());
    let number = ApiNumber(u32::try_from(apis.ids.len()).unwrap_or(u32::MAX));
    apis.numbers.insert(api.clone(), number);
    number
}

/// Runs `poll`, one poll of a handler of `api`, with a note of it.
pub fn noted<R>(api: ApiNumber, poll: impl FnOnce() -> R) -> R {
    struct Restore<'a>(&'a Note, u32);

    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            self.0.api.store(self.1, Ordering::Relaxed);
        }
    }

    NOTE.with(|cell| {
        let note = cell.get_or_init(new_note);
        let outer = note.api.load(Ordering::Relaxed);
        let polls = note.polls.load(Ordering::Relaxed);
        note.polls.store(polls.wrapping_add(1), Ordering::Relaxed);
        note.api.store(api.0, Ordering::Relaxed);
        let _restore = Restore(note, outer);
        poll()
    })
}

fn new_note() -> Arc<Note> {
    let note = Arc::new(Note {
        thread: std::thread::current()
            .name()
            .unwrap_or("unnamed")
            .to_owned(),
        ..Note::default()
    });
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    threads.retain(|thread| thread.strong_count() > 0);
    threads.push(Arc::downgrade(&note));
    note
}

/// A thread that a handler blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The thread's name.
    pub thread: String,
    /// The API whose handler does not give the thread back.
    pub api: ApiId,
    /// For how long at least.
    pub since: Duration,
    /// Whether an earlier look found the same.
    pub reported: bool,
}

/// Remembers what earlier looks saw.
#[derive(Default)]
pub struct Watch {
    seen: Vec<Seen>,
}

struct Seen {
    note: Arc<Note>,
    polls: u32,
    first: Instant,
    reported: bool,
}

impl Watch {
    /// Every thread that has been in one poll for `limit` or longer.
    pub fn look(&mut self, limit: Duration) -> Vec<Blocked> {
        let now = Instant::now();
        let threads: Vec<Arc<Note>> = {
            let threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
            threads.iter().filter_map(Weak::upgrade).collect()
        };
        let mut seen = Vec::with_capacity(threads.len());
        let mut blocked = Vec::new();
        for note in threads {
            let api = note.api.load(Ordering::Relaxed);
            let polls = note.polls.load(Ordering::Relaxed);
            if api == 0 {
                continue;
            }
            let before = self
                .seen
                .iter()
                .find(|s| Arc::ptr_eq(&s.note, &note) && s.polls == polls);
            let first = before.map_or(now, |s| s.first);
            let mut reported = before.is_some_and(|s| s.reported);
            let since = now.duration_since(first);
            if since >= limit {
                let apis = APIS.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(id) = apis.ids.get(api as usize - 1) {
                    blocked.push(Blocked {
                        thread: note.thread.clone(),
                        api: id.clone(),
                        since,
                        reported,
                    });
                    reported = true;
                }
            }
            seen.push(Seen {
                note,
                polls,
                first,
                reported,
            });
        }
        self.seen = seen;
        blocked
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_stays_in_one_poll_is_named() {
        let api = ApiId::parse("watch.Test.blocks").unwrap();
        let number = register(&api);
        let (release, wait) = mpsc::channel::<()>();
        let (entered, ready) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("blocked-one".into())
            .spawn(move || {
                noted(number, || {
                    entered.send(()).unwrap();
                    wait.recv().unwrap();
                });
                entered.send(()).unwrap();
                wait.recv().unwrap();
            })
            .unwrap();
        ready.recv().unwrap();
        let mine = |found: Vec<Blocked>| found.into_iter().find(|b| b.thread == "blocked-one");
        let mut watch = Watch::default();
        assert_eq!(mine(watch.look(Duration::from_nanos(1))), None);
        let found = mine(watch.look(Duration::from_nanos(1))).unwrap();
        assert_eq!((found.api, found.reported), (api, false));
        assert!(mine(watch.look(Duration::from_nanos(1))).unwrap().reported);
        release.send(()).unwrap();
        ready.recv().unwrap();
        assert_eq!(mine(watch.look(Duration::ZERO)), None);
        release.send(()).unwrap();
        thread.join().unwrap();
    }
}
