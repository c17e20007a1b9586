//! Requests whose arguments come after them, and answers that are no one message.

use std::sync::Arc;

use async_nats::Subject;
use bytes::Bytes;
use framex_core::body::{Bodies, ByteStream};
use framex_core::context::{CallMeta, Request};
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::{CallError, Error, Part};
use framex_core::reply::{Download, Response};
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use super::answer::{Service, Task};
use super::log;
use crate::call::{LocalCall, to_the_millisecond};
use crate::local::deadline;
use crate::nats::large::MOST_IN_MEMORY;
use crate::nats::large::receive::Broken;
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, Announced, Form, Outgoing};

/// What of a call's arguments is not its body, at most, in bytes.
const ROOM_FOR_THE_REST: u64 = 64 * 1024;

/// A request whose arguments are still to come.
pub(super) struct Awaited {
    size: u64,
    form: Form,
    meta: CallMeta,
    bodies: Option<Arc<dyn Bodies>>,
    /// Room for them among all that come at the same time.
    _room: OwnedSemaphorePermit,
}

/// An answer that is no one message.
pub(super) struct Large {
    /// Its headers.
    head: Outgoing,
    announced: Announced,
    source: ByteStream,
}

impl Large {
    /// A message that is larger than the broker takes.
    pub(super) fn of(out: Outgoing) -> Self {
        let announced = Announced {
            size: Some(out.payload.len() as u64),
            stream: false,
        };
        Self {
            head: Outgoing {
                headers: out.headers,
                payload: Bytes::new(),
            },
            announced,
            source: ByteStream::full(out.payload),
        }
    }

    /// Bytes that come in pieces.
    pub(super) fn download(download: Download) -> Self {
        let Download {
            status,
            headers,
            body,
        } = download;
        let announced = Announced {
            size: body.size(),
            stream: true,
        };
        Self {
            head: wire::response(Response {
                status,
                headers,
                body: Bytes::new(),
            }),
            announced,
            source: body,
        }
    }
}

impl Service {
    /// The bodies beside a request's map; they end with the call, when the token is
    /// cancelled.
    pub(super) fn bodies(
        &self,
        caller: &Subject,
        form: Form,
    ) -> Option<(Arc<dyn Bodies>, CancellationToken)> {
        if !form.may_name_bodies() {
            return None;
        }
        let over = CancellationToken::new();
        let bodies = self
            .dock
            .bodies(caller.clone(), self.id().clone(), over.clone());
        Some((bodies, over))
    }

    /// Whether arguments of `size` bytes that are still to come may come.
    pub(super) fn await_arguments(
        &self,
        size: u64,
        form: Form,
        meta: CallMeta,
        bodies: Option<Arc<dyn Bodies>>,
    ) -> Result<Awaited, CallError> {
        let most = most_arguments(&self.api.descriptor);
        if size > most {
            return Err(CallError::Handler(self.larger_than(size, most)));
        }
        let overloaded = || CallError::Overloaded {
            api: self.id().clone(),
        };
        if self.api.local.is_full() || self.runs_too_many() {
            return Err(overloaded());
        }
        let room = self.shared.offers.room.now_for(size);
        let room = room.ok_or_else(overloaded)?;
        Ok(Awaited {
            size,
            form,
            meta,
            bodies,
            _room: room,
        })
    }

    fn larger_than(&self, size: u64, most: u64) -> Error {
        let text = format!(
            "the arguments of `{}` are {size} bytes, it takes at most {most}",
            self.id()
        );
        Error::new(StatusCode::PAYLOAD_TOO_LARGE, text).with_code("payload_too_large")
    }

    /// Starts a call once its arguments have come.
    pub(super) async fn arrived(
        &self,
        awaited: Awaited,
        task: &Task,
    ) -> Result<LocalCall, CallError> {
        let default_timeout = self.shared.options.default_timeout;
        let descriptor = &self.api.descriptor;
        let (until, _) = deadline(
            descriptor,
            awaited.meta.deadline,
            task.began,
            default_timeout,
        );
        let payload = self.dock.payload(&task.reply, awaited.size);
        let payload = timeout_at(until.into(), payload).await;
        let payload = payload.map_err(|_| CallError::TimedOut {
            api: self.id().clone(),
            budget: to_the_millisecond(until.saturating_duration_since(task.began)),
        })?;
        let lost = |why| CallError::Lost {
            api: self.id().clone(),
            why,
        };
        let payload = payload.map_err(|broken| match broken {
            Broken::Lost(why) => {
                tracing::info!(api = %self.id(), ?why, "a call's arguments did not come");
                lost("its arguments did not come")
            }
            Broken::Silent => lost("the rest of its arguments did not come"),
            Broken::Gap(gap) => {
                tracing::warn!(api = %self.id(), gap, "a call's arguments are not whole");
                lost("a part of its arguments did not arrive")
            }
            Broken::Failed(error) => CallError::Handler(error),
            Broken::TooLarge => CallError::Handler(self.larger_than(awaited.size, awaited.size)),
        })?;
        let args = awaited.form.read(payload, awaited.bodies);
        self.start(Request {
            args,
            meta: awaited.meta,
        })
    }

    /// Sends an answer that is no one message.
    pub(super) async fn send_large(&self, large: Large, task: &Task) {
        let Large {
            head,
            announced,
            source,
        } = large;
        // What is still made keeps its call's place by itself.
        let _held = (!announced.stream).then(|| self.shared.local.hold());
        if !task.asked.frames {
            return self.send_whole(head, source, task).await;
        }
        let size = announced.size;
        let heard = task.asked.beats;
        let sent = self
            .dock
            .answer(&task.reply, head, announced, source, heard);
        match sent.await {
            Ok(()) => {}
            Err(Lost::TooLarge) => self.refuse(size.unwrap_or_default(), task).await,
            Err(lost) => {
                tracing::info!(api = %self.id(), ?lost, ?size, "nobody takes the answer any more");
            }
        }
    }

    /// Sends bytes that come in pieces to whoever wants one message.
    async fn send_whole(&self, head: Outgoing, source: ByteStream, task: &Task) {
        let most = self.client.max_payload();
        let size = source.size();
        let out = match source.collect(most).await {
            Ok(payload) => Outgoing { payload, ..head },
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return self.refuse(size.unwrap_or(most as u64 + 1), task).await;
            }
            Err(error) => {
                log::error_of(&error, self.id(), &task.id);
                self.api.record.stats.count_error(&error);
                wire::error(&error, true)
            }
        };
        match self.too_large(&out) {
            None => self.send(&task.reply, out).await,
            Some(_) => self.refuse(out.payload.len() as u64, task).await,
        }
    }

    async fn refuse(&self, size: u64, task: &Task) {
        let error = CallError::TooLarge {
            api: self.id().clone(),
            part: Part::Answer,
            size: usize::try_from(size).unwrap_or(usize::MAX),
            most: self.client.max_payload(),
        };
        log::failure(&error, self.id(), &task.id);
        let error = error.into_error();
        self.api.record.stats.count_error(&error);
        self.send(&task.reply, wire::error(&error, true)).await;
    }
}

/// How many bytes of arguments an API takes. Its own limit is for a request's body,
/// and forms may be longer as JSON.
fn most_arguments(api: &ApiDescriptor) -> u64 {
    let most = api.max_body_size.unwrap_or(MOST_IN_MEMORY);
    most.saturating_mul(2)
        .saturating_add(ROOM_FOR_THE_REST)
        .min(MOST_IN_MEMORY)
}

#[cfg(test)]
mod tests {
    use framex_core::descriptor::ApiKind;
    use framex_core::id::ApiId;

    use super::*;

    #[test]
    fn arguments_are_bounded_by_the_api_and_by_memory() {
        let mut api = ApiDescriptor::new(ApiId::parse("a.B.c").unwrap(), ApiKind::Func);
        assert_eq!(most_arguments(&api), MOST_IN_MEMORY);
        api.max_body_size = Some(0);
        assert_eq!(most_arguments(&api), ROOM_FOR_THE_REST);
        api.max_body_size = Some(u64::MAX);
        assert_eq!(most_arguments(&api), MOST_IN_MEMORY);
    }
}
