//! Beginning to follow a stream, and following it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, Subject, Subscriber};
use framex_core::error::{CallError, Error};
use framex_core::id::ApiId;
use framex_core::kept::{StreamId, incomplete};
use futures_util::future::join_all;
use http::StatusCode;

use super::store;
use crate::nats::Shared;
use crate::nats::link::Link;
use crate::nats::peers::{Instance, ms_of};
use crate::nats::pending::Pending;
use crate::nats::waiting::{Expect, Lost};
use crate::nats::wire::{self, Control, Followed, WINDOW};

/// For the instance's word on a stream.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// The same of one that has been silent.
const SILENT_LIMIT: Duration = Duration::from_millis(250);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// The instance may be back so much later than this process, after the broker was gone.
const BACK_LIMIT: Duration = Duration::from_secs(5);
/// An instance that others still see is asked again for so long.
const SEEN_LIMIT: Duration = Duration::from_millis(500);
/// Messages that are fetched at the same time.
const PIPELINE: u64 = 32;
/// A replica may be behind: what should be there is asked for again.
const ASK_AGAIN: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(40),
    Duration::from_millis(150),
    Duration::from_millis(400),
];

/// A stream, and who runs it.
pub(super) struct Source {
    pub(super) id: StreamId,
    pub(super) api: ApiId,
    /// The instance that runs it, or ran it.
    pub(super) instance: String,
    /// Subjects of its messages, without their numbers.
    pub(super) subject: String,
}

/// How messages come as they are sent.
pub(super) struct Live {
    pub(super) pending: Pending,
    /// Of a stream that another connection started.
    pub(super) others: Option<Subscriber>,
}

/// What following began with.
pub(super) struct Attached {
    /// None: nothing comes any more, the rest is stored.
    pub(super) live: Option<Live>,
    pub(super) followed: Followed,
}

/// Why following begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody asked for the stream.
    Asked,
    /// A message did not come.
    Gap,
    Lost(Lost),
}

impl Source {
    pub(super) fn new(shared: &Shared, id: StreamId, api: ApiId, instance: String) -> Self {
        Self {
            subject: shared.names.stream(&id),
            id,
            api,
            instance,
        }
    }

    /// The number of one of its messages.
    pub(super) fn number(&self, subject: &str) -> Option<u64> {
        let number = subject.strip_prefix(&self.subject)?.strip_prefix('.')?;
        number.parse().ok()
    }

    pub(super) fn control(&self, shared: &Shared) -> Subject {
        let plugin = self.api.plugin();
        shared.names.control(plugin, Some(&self.instance)).into()
    }

    pub(super) fn lost(&self, why: &'static str) -> CallError {
        CallError::Lost {
            api: self.api.clone(),
            why,
        }
    }

    /// The instance, as far as it is known to serve.
    fn known(&self, shared: &Shared) -> Option<Arc<Instance>> {
        if *self.instance == *shared.id {
            return Some(shared.durable.own(self.api.plugin(), &shared.id));
        }
        let catalog = shared.directory.catalog();
        let remote = catalog.get(self.api.as_str())?.remote.clone()?;
        let endpoints = remote.endpoints.load();
        let mut instances = endpoints.iter().map(|endpoint| &endpoint.instance);
        instances.find(|i| *i.id == *self.instance).cloned()
    }
}

/// Follows a stream from now on; `old` is how it was followed so far.
///
/// # Errors
///
/// [`CallError::Lost`] after `until`.
///
/// # Cancel safety
///
/// The instance is told that nobody follows after all.
pub(super) async fn attach(
    shared: Arc<Shared>,
    source: Arc<Source>,
    mut old: Option<Live>,
    why: Why,
    until: Instant,
) -> Result<Attached, CallError> {
    let stored_only = Attached {
        live: None,
        followed: Followed::default(),
    };
    let mut asked_since = Instant::now();
    let patience = match why {
        Why::Lost(Lost::Disconnected) => BACK_LIMIT,
        _ => SEEN_LIMIT,
    };
    loop {
        let Some(link) = shared.link() else {
            return Err(source.lost("the connection to the broker went"));
        };
        if !link.is_up() {
            let up = tokio::time::timeout_at(until.into(), link.wait_up()).await;
            if !matches!(up, Ok(Some(_))) {
                return Err(source.lost("the connection to the broker went"));
            }
            asked_since = Instant::now();
        }
        let known = source.known(&shared);
        let live = begin(&shared, &source, &link, known.clone()).await;
        let Ok(live) = live else {
            return Err(source.lost("the connection to the broker went"));
        };
        let question = Control {
            call: live.pending.waiter.reply.to_string(),
            follow: Some(source.id.to_string()),
            window: Some(WINDOW),
            instead: old.as_ref().map(|old| old.pending.waiter.reply.to_string()),
            ..Control::default()
        };
        let limit = match why {
            Why::Lost(Lost::Gone) => SILENT_LIMIT,
            _ => ASK_LIMIT,
        };
        let answer = link.request(source.control(&shared), question.payload(), limit);
        let lost = match answer.await {
            Ok(answer) => {
                let followed = serde_json::from_slice(&answer.payload).unwrap_or(Followed {
                    unknown: true,
                    ..Followed::default()
                });
                if let Some(old) = &mut old {
                    old.pending.over = true;
                }
                if followed.unknown {
                    let mut live = live;
                    live.pending.over = true;
                    return Ok(stored_only);
                }
                live.pending.waiter.expect_beats();
                return Ok(Attached {
                    live: Some(live),
                    followed,
                });
            }
            Err(lost) => lost,
        };
        let mut live = live;
        match lost {
            // Nobody is there who could be told that this one leaves.
            Lost::NoResponders => live.pending.over = true,
            Lost::Denied => {
                return Err(CallError::Refused {
                    api: source.api.clone(),
                    subject: source.control(&shared).to_string(),
                });
            }
            _ => {}
        }
        drop(live);
        let silent = why == Why::Lost(Lost::Gone) || (why == Why::Asked && known.is_none());
        let still = asked_since.elapsed() < patience;
        if lost != Lost::Disconnected && (silent || !still) {
            // One that is only silent hears, when it wakes, that nobody follows.
            return Ok(stored_only);
        }
        if Instant::now() >= until {
            return Err(source.lost("the connection to the broker went"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Somewhere for messages to come to.
async fn begin(
    shared: &Shared,
    source: &Source,
    link: &Arc<Link>,
    instance: Option<Arc<Instance>>,
) -> Result<Live, Lost> {
    let control = source.control(shared);
    let expect = Expect {
        deadline: None,
        instance,
        subject: control.clone(),
        sends: None,
        since: ms_of(Instant::now()),
    };
    let mut waiter = link.expect(expect, None);
    let others = match wire::split(&source.id).0 == link.token() {
        true => {
            waiter.follow(&source.id);
            None
        }
        false => {
            let client = link.client().ok_or(Lost::Disconnected)?;
            let messages = client.subscribe(format!("{}.*", source.subject)).await;
            Some(messages.map_err(|_| Lost::Disconnected)?)
        }
    };
    Ok(Live {
        pending: Pending {
            waiter,
            control: Some(control),
            kept: true,
            over: false,
            feeder: None,
        },
        others,
    })
}

/// Why messages cannot be had from the store.
#[derive(Debug)]
pub(super) enum Missing {
    /// This one, which comes next, is not there.
    Message(Error),
    /// Nobody answers now.
    NotNow,
}

/// The next messages out of the store, from number `from` on: one at least, up to `to` or
/// to the end of the stream, and no more than fit into memory well.
pub(super) async fn fetch(
    shared: Arc<Shared>,
    source: Arc<Source>,
    from: u64,
    to: Option<u64>,
) -> Result<Vec<Message>, Missing> {
    let link = shared.link().ok_or(Missing::NotNow)?;
    let until = Some(Instant::now() + ASK_LIMIT);
    link.soon_up(until).await.map_err(|_| Missing::NotNow)?;
    let count = to.map_or(PIPELINE, |to| PIPELINE.min(to.saturating_sub(from) + 1));
    let get = |number: u64| {
        let (shared, source, link) = (&shared, &source, &link);
        async move { store::get(shared, link, &format!("{}.{number}", source.subject)).await }
    };
    let mut messages = Vec::new();
    let mut first = Ok(None);
    for got in join_all((from..from + count).map(get)).await {
        match got {
            Ok(Some(message)) => {
                let end = wire::is_end(&message);
                messages.push(message);
                if end {
                    break;
                }
            }
            other => {
                first = other;
                break;
            }
        }
    }
    if !messages.is_empty() {
        return Ok(messages);
    }
    let patience = match to {
        Some(_) => &ASK_AGAIN[..],
        // Of a stream that is not running it is no wonder.
        None => &ASK_AGAIN[..3],
    };
    for pause in patience {
        if first.is_err() {
            return Err(Missing::NotNow);
        }
        tokio::time::sleep(*pause).await;
        first = get(from).await;
        if let Ok(Some(message)) = first {
            return Ok(vec![message]);
        }
    }
    if first.is_err() {
        return Err(Missing::NotNow);
    }
    let after = match to {
        Some(_) => true,
        None => matches!(get(from + 1).await, Ok(Some(_))),
    };
    Err(Missing::Message(match after {
        true => incomplete(),
        false => source.lost("the instance that ran it is gone").into_error(),
    }))
}

/// 503: nobody can tell now what became of a stream.
pub(super) fn not_now() -> Error {
    let text = "the broker cannot be asked for the stream now";
    Error::new(StatusCode::SERVICE_UNAVAILABLE, text)
        .with_code("disconnected")
        .with_header(
            http::header::RETRY_AFTER,
            http::HeaderValue::from_static("1"),
        )
}
