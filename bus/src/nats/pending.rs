//! A call that was sent and waits for its answer.

use std::future::poll_fn;
use std::task::{Context, Poll};

use async_nats::{Message, Subject};

use super::large::caller::Feeder;
use super::link::Waiter;
use super::waiting::Lost;
use super::wire::Control;

/// See the module. If it goes before its answer has come, whoever runs it is told.
pub(super) struct Pending {
    pub(super) waiter: Waiter,
    /// Where they are told; nowhere for foreign services.
    pub(super) control: Option<Subject>,
    /// It is one of those who follow a stream that need not end with it.
    pub(super) kept: bool,
    /// The answer has come, or never will.
    pub(super) over: bool,
    /// What goes after the request, where anything does.
    pub(super) feeder: Option<Box<Feeder>>,
}

impl Pending {
    /// The next message of the answer; meanwhile, the request's bodies go out.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Lost>> {
        match &mut self.feeder {
            None => self.waiter.poll_next(cx),
            Some(feeder) => feeder.poll_next(&mut self.waiter, cx),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Message, Lost> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Gives whether it is on its way.
    pub(super) fn tell(&self, cancel: bool, credit: Option<u32>) -> bool {
        let Some(control) = &self.control else {
            return true;
        };
        let message = Control {
            call: self.waiter.reply.to_string(),
            cancel,
            credit,
            ..Control::default()
        };
        let link = self.waiter.link();
        link.send_later(control.clone(), message.payload())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let (false, true, Some(control)) = (self.over, self.kept, &self.control) {
            let message = Control {
                call: self.waiter.reply.to_string(),
                leave: true,
                ..Control::default()
            };
            let link = self.waiter.link();
            link.send_surely(control.clone(), message.payload());
        } else if !self.over {
            // Untold, it ends at its deadline, or when nobody takes its beats.
            self.tell(true, None);
        }
    }
}
