//! Whoever waits on a link, and how its place is written into subjects.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_nats::{Message, Subject};
use framex_core::kept::StreamId;

use super::{Link, Slot, lock};
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, Told};

/// One call's place among those that wait. Dropping it gives the place back.
pub(crate) struct Waiter {
    pub(super) link: Arc<Link>,
    pub(super) index: u32,
    pub(super) stamp: u32,
    /// The rest of the id of the stream whose messages come here too.
    pub(super) followed: Option<String>,
    /// Where replies go.
    pub(crate) reply: Subject,
}

impl Waiter {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Lost>> {
        self.link.waiting.poll(self.index, cx)
    }

    pub(crate) async fn next(&mut self) -> Result<Message, Lost> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        self.link.waiting.set_deadline(self.index, deadline);
    }

    /// From now on, whoever says nothing for too long is lost.
    pub(crate) fn expect_beats(&self) {
        self.link.waiting.expect_beats(self.index);
    }

    /// Notes where else messages for this go: a refusal ends it too.
    pub(crate) fn sends_to(&self, subject: &Subject) {
        self.link.waiting.sends_to(self.index, subject);
    }

    /// Whether the other side has said that it works.
    pub(crate) fn is_beating(&self) -> bool {
        self.link.waiting.is_beating(self.index)
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Whoever asks for bodies here asks `other` from now on, which is of the same link.
    pub(crate) fn give_pulls(&self, other: &Self) {
        let to = (other.index, other.stamp);
        self.link.waiting.give_pulls(self.index, to);
    }

    /// From now on, the messages of a stream that was started on this connection come
    /// here too.
    pub(crate) fn follow(&mut self, stream: &StreamId) {
        let (token, rest) = wire::split(stream);
        if token == self.link.token && self.followed.is_none() {
            let mut followed = lock(&self.link.followed);
            let slots = followed.entry(rest.to_owned()).or_default();
            slots.push((self.index, self.stamp));
            self.followed = Some(rest.to_owned());
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(stream) = self.followed.take() {
            let mut followed = lock(&self.link.followed);
            if let Some(slots) = followed.get_mut(&stream) {
                slots.retain(|slot| *slot != (self.index, self.stamp));
                if slots.is_empty() {
                    followed.remove(&stream);
                }
            }
        }
        self.link.waiting.remove(self.index);
    }
}

pub(super) fn reply_subject(inbox: &str, slot: Slot, told: Option<&Told<'_>>) -> Subject {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut number = u64::from(slot.1) << 32 | u64::from(slot.0);
    let mut slot = [b'0'; 16];
    for digit in slot.iter_mut().rev() {
        *digit = HEX[usize::try_from(number & 15).unwrap_or(0)];
        number >>= 4;
    }
    let slot = std::str::from_utf8(&slot).unwrap_or_default();
    let mut text = String::with_capacity(inbox.len() + 64);
    text.push_str(inbox);
    text.push('.');
    text.push_str(slot);
    if let Some(told) = told {
        told.push(&mut text);
    }
    text.into()
}

pub(super) fn read_slot(text: &str) -> Option<Slot> {
    let number = u64::from_str_radix(text, 16).ok()?;
    let index = u32::try_from(number & u64::from(u32::MAX)).ok()?;
    let stamp = u32::try_from(number >> 32).ok()?;
    Some((index, stamp))
}

/// Reads `<slot>-<secret>`.
pub(super) fn read_docked(token: &str) -> Option<(Slot, u128)> {
    let (slot, secret) = token.split_once('-')?;
    Some((read_slot(slot)?, u128::from_str_radix(secret, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_again() {
        let subject = reply_subject("_INBOX.x", (7, 0xdead_beef), None);
        let token = subject.as_str().rsplit('.').next().unwrap();
        assert_eq!(read_slot(wire::slot_of(token)), Some((7, 0xdead_beef)));
        assert_eq!(read_slot("not hex"), None);
        let token = format!("{token}-{:032x}", u128::MAX);
        assert_eq!(read_docked(&token), Some(((7, 0xdead_beef), u128::MAX)));
        assert_eq!(read_docked("00000000deadbeef"), None);
    }
}
