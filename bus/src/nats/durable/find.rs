//! A stream's id is all that is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use framex_core::error::CallError;
use framex_core::event::EventStream;
use framex_core::id::ApiId;
use framex_core::kept::{Position, StreamId, gone};
use futures_core::future::BoxFuture;

use super::attach::{Source, not_now};
use super::reader::Reader;
use super::store;
use crate::KeptStream;
use crate::nats::Shared;
use crate::nats::waiting::Lost;
use crate::nats::wire::{Control, Head};

/// A store that does not answer is asked again for so long.
const FIND_LIMIT: Duration = Duration::from_secs(5);
/// For the answer of the instance that is to stop a stream.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// A stream that has just begun may not be stored yet, or not on every replica.
const ASK_AGAIN: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(300),
];

/// A stream that is in the store.
struct Stored {
    shared: Arc<Shared>,
    source: Arc<Source>,
    principal: Option<String>,
}

/// Finds the stream in the store.
///
/// # Errors
///
/// [`gone`] if it is not there; a 503 if the store does not answer.
pub(crate) async fn find(
    shared: Arc<Shared>,
    id: StreamId,
) -> Result<Arc<dyn KeptStream>, CallError> {
    if !shared.durable.is_wanted() {
        return Err(CallError::Handler(gone()));
    }
    let not_now = || CallError::Handler(not_now());
    let link = shared.link().ok_or_else(not_now)?;
    let until = Instant::now() + FIND_LIMIT;
    link.soon_up(Some(until)).await.map_err(|_| not_now())?;
    let subject = format!("{}.0", shared.names.stream(&id));
    let mut pauses = ASK_AGAIN.iter();
    let head = loop {
        match store::get(&shared, &link, &subject).await {
            Ok(Some(head)) => break head,
            Ok(None) => match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(CallError::Handler(gone())),
            },
            // Busy, or electing.
            Err(Lost::TimedOut | Lost::NoResponders) if Instant::now() < until => {
                tokio::time::sleep(ASK_AGAIN[0]).await;
            }
            Err(_) => return Err(not_now()),
        }
    };
    let head = Head::read(&head.payload);
    let found = head.and_then(|head| Some((ApiId::parse(&head.api).ok()?, head)));
    let Some((api, head)) = found else {
        return Err(CallError::Handler(gone()));
    };
    Ok(Arc::new(Stored {
        source: Arc::new(Source::new(&shared, id, api, head.instance)),
        shared,
        principal: head.principal,
    }))
}

impl KeptStream for Stored {
    fn api(&self) -> &ApiId {
        &self.source.api
    }

    fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    fn follow(
        &self,
        after: Option<Position>,
    ) -> BoxFuture<'static, Result<EventStream, CallError>> {
        let (shared, source) = (Arc::clone(&self.shared), Arc::clone(&self.source));
        Box::pin(Reader::follow(shared, source, after))
    }

    fn stop(&self) -> BoxFuture<'static, Result<(), CallError>> {
        let (shared, source) = (Arc::clone(&self.shared), Arc::clone(&self.source));
        Box::pin(async move {
            let unreachable = || CallError::Disconnected {
                api: source.api.clone(),
            };
            let link = shared.link().ok_or_else(unreachable)?;
            let question = Control {
                stop: Some(source.id.to_string()),
                ..Control::default()
            };
            let to = source.control(&shared);
            match link.request(to, question.payload(), STOP_LIMIT).await {
                // What has ended, with its instance or before, stays as it is.
                Ok(_) | Err(Lost::NoResponders) => Ok(()),
                Err(_) => Err(unreachable()),
            }
        })
    }
}
