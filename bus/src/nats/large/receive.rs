//! From frames to a stream of bytes.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_nats::Message;
use bytes::{Bytes, BytesMut};
use framex_core::error::Error;
use tokio::time::{Instant, Sleep, sleep_until};

use super::SILENT;
use crate::nats::waiting::Lost;
use crate::nats::wire::{self, FRAMES, Frame};

/// Not more than this is set aside before anything has come, in bytes.
const ON_TRUST: u64 = 4 << 20;

/// Where a body comes from.
pub(super) trait Sender {
    /// The next message of its.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Lost>>;

    /// Grants frames. Gives whether the word is on its way.
    fn grant(&mut self, frames: u32) -> bool;

    /// It has said its last word.
    fn ended(&mut self);
}

/// Why a body ended before its end.
#[derive(Debug)]
pub(in crate::nats) enum Broken {
    /// Nothing comes any more.
    Lost(Lost),
    /// Nothing came for too long.
    Silent,
    /// Something is missing, or there twice, or not what it was.
    Gap(String),
    /// The sender's own account.
    Failed(Error),
    /// It is larger than it may be.
    TooLarge,
}

/// A body on its way here.
pub(super) struct Inflow<S> {
    sender: S,
    sequence: Sequence,
    /// What may come and was not said to the sender yet, in frames.
    ungranted: u32,
    /// When it was first waited for what comes next.
    waits: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl<S: Sender> Inflow<S> {
    /// A body of `size` bytes, if that is known. `granted`: the sender knows that a
    /// whole window may be on its way.
    pub(super) fn new(sender: S, size: Option<u64>, granted: bool) -> Self {
        Self {
            sender,
            sequence: Sequence {
                size,
                frames: 0,
                bytes: 0,
            },
            ungranted: if granted { 0 } else { FRAMES },
            waits: None,
            timer: None,
            over: false,
        }
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let ended = loop {
            self.grant(cx);
            let frame = match self.sender.poll_message(cx) {
                Poll::Pending => match self.is_silent(cx) {
                    false => return Poll::Pending,
                    true => break Some(Broken::Silent),
                },
                Poll::Ready(Ok(message)) => wire::read_frame(message),
                Poll::Ready(Err(lost)) => break Some(Broken::Lost(lost)),
            };
            self.waits = None;
            match frame.and_then(|frame| self.sequence.take(frame)) {
                Ok(Next::Piece(bytes)) => {
                    self.ungranted += 1;
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Ok(Next::End) => {
                    self.sender.ended();
                    break None;
                }
                Ok(Next::Failed(error)) => {
                    self.sender.ended();
                    break Some(Broken::Failed(error));
                }
                Err(gap) => break Some(Broken::Gap(gap)),
            }
        };
        self.over = true;
        Poll::Ready(ended.map(Err))
    }

    /// Lets more come, once enough was taken. What cannot be said now is said soon:
    /// without it the sender would wait for ever.
    fn grant(&mut self, cx: &mut Context<'_>) {
        if self.ungranted < FRAMES / 2 {
            return;
        }
        match self.sender.grant(self.ungranted) {
            true => self.ungranted = 0,
            false => cx.waker().wake_by_ref(),
        }
    }

    fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let since = *self.waits.get_or_insert_with(Instant::now);
        let until = since + SILENT;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return true;
            }
            timer.as_mut().reset(until);
        }
        false
    }

    /// All of it, if it is no more than `most`.
    pub(super) async fn collect(&mut self, most: u64) -> Result<Bytes, Broken> {
        let announced = self.sequence.size.unwrap_or_default();
        if announced > most {
            return Err(Broken::TooLarge);
        }
        let room = usize::try_from(announced.min(ON_TRUST)).unwrap_or_default();
        let mut all = BytesMut::with_capacity(room);
        while let Some(piece) = poll_fn(|cx| self.poll_next(cx)).await {
            all.extend_from_slice(&piece?);
            if all.len() as u64 > most {
                return Err(Broken::TooLarge);
            }
        }
        Ok(all.freeze())
    }
}

/// What came of a body.
struct Sequence {
    size: Option<u64>,
    frames: u64,
    bytes: u64,
}

#[derive(Debug)]
enum Next {
    Piece(Bytes),
    End,
    Failed(Error),
}

impl Sequence {
    /// Takes what comes next; the error says in which way it does not.
    fn take(&mut self, frame: Frame) -> Result<Next, String> {
        match frame {
            Frame::Piece { number, bytes } => {
                let next = self.frames + 1;
                if number != next {
                    return Err(format!("frame {number} came in place of frame {next}"));
                }
                self.frames = next;
                self.bytes += bytes.len() as u64;
                match self.size {
                    Some(size) if self.bytes > size => {
                        Err(format!("it said {size} bytes, and more came"))
                    }
                    _ => Ok(Next::Piece(bytes)),
                }
            }
            Frame::End { frames, bytes } => {
                if (frames, bytes) != (self.frames, self.bytes) {
                    return Err(format!(
                        "it ended after {frames} frames and {bytes} bytes, of which {} and {} came",
                        self.frames, self.bytes
                    ));
                }
                match self.size {
                    Some(size) if bytes != size => {
                        Err(format!("it said {size} bytes, and {bytes} came"))
                    }
                    _ => Ok(Next::End),
                }
            }
            Frame::Failed(error) => Ok(Next::Failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Sends what it was given, then nothing.
    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<Played>>);

    #[derive(Default)]
    struct Played {
        messages: VecDeque<Message>,
        granted: Vec<u32>,
        ended: bool,
    }

    impl Script {
        fn say(&self, out: wire::Outgoing) {
            self.0.lock().unwrap().messages.push_back(message(out));
        }
    }

    impl Sender for Script {
        fn poll_message(&mut self, _: &mut Context<'_>) -> Poll<Result<Message, Lost>> {
            match self.0.lock().unwrap().messages.pop_front() {
                Some(message) => Poll::Ready(Ok(message)),
                None => Poll::Pending,
            }
        }

        fn grant(&mut self, frames: u32) -> bool {
            self.0.lock().unwrap().granted.push(frames);
            true
        }

        fn ended(&mut self) {
            self.0.lock().unwrap().ended = true;
        }
    }

    fn message(out: wire::Outgoing) -> Message {
        Message {
            subject: "a".into(),
            reply: None,
            payload: out.payload,
            headers: out.headers,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn script(messages: Vec<wire::Outgoing>) -> Script {
        let script = Script::default();
        script.0.lock().unwrap().messages = messages.into_iter().map(message).collect();
        script
    }

    fn frame(number: u64) -> wire::Outgoing {
        wire::frame(number, Bytes::from_static(b"ab"))
    }

    #[tokio::test]
    async fn what_is_taken_is_granted_again() {
        let mut messages: Vec<_> = (1..=20).map(frame).collect();
        messages.push(wire::end_of_body(20, 40));
        let script = script(messages);
        let mut inflow = Inflow::new(script.clone(), Some(40), false);
        let all = inflow.collect(40).await.unwrap();
        assert_eq!(all.len(), 40);
        let played = script.0.lock().unwrap();
        assert_eq!((&played.granted[..], played.ended), (&[16, 8, 8][..], true));
    }

    #[tokio::test]
    async fn gaps_repetitions_and_wrong_ends_break_it_off() {
        let lie = |bytes| wire::end_of_body(1, bytes);
        for (messages, size) in [
            (vec![frame(2)], None),
            (vec![frame(1), frame(1)], None),
            (vec![frame(1), frame(3)], None),
            (vec![frame(1), lie(3)], None),
            (vec![frame(1), wire::end_of_body(2, 2)], None),
            (vec![frame(1), lie(2)], Some(3)),
            (vec![frame(1)], Some(1)),
            (vec![wire::value("1".into(), wire::Asked::default())], None),
        ] {
            let mut inflow = Inflow::new(script(messages.clone()), size, true);
            let broken = inflow.collect(1000).await;
            assert!(matches!(broken, Err(Broken::Gap(_))), "{messages:?}");
            assert!(poll_fn(|cx| inflow.poll_next(cx)).await.is_none());
        }
    }

    #[tokio::test]
    async fn its_own_end_and_bounds_are_told_apart() {
        let error = wire::error(&Error::conflict("taken"), true);
        let mut inflow = Inflow::new(script(vec![frame(1), error]), None, true);
        let broken = inflow.collect(1000).await;
        assert!(matches!(broken, Err(Broken::Failed(error)) if error.status() == 409));
        let mut inflow = Inflow::new(script(vec![]), Some(9), true);
        assert!(matches!(inflow.collect(8).await, Err(Broken::TooLarge)));
        let mut inflow = Inflow::new(script(vec![frame(1), frame(2)]), None, true);
        assert!(matches!(inflow.collect(3).await, Err(Broken::TooLarge)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_bounded_and_a_slow_taker_is_none() {
        let script = script(vec![frame(1)]);
        let mut inflow = Inflow::new(script.clone(), None, true);
        let next = poll_fn(|cx| inflow.poll_next(cx)).await;
        assert!(matches!(next, Some(Ok(_))));
        // Nobody waits: nothing is overdue.
        tokio::time::sleep(SILENT * 3).await;
        script.say(frame(2));
        let next = poll_fn(|cx| inflow.poll_next(cx)).await;
        assert!(matches!(next, Some(Ok(_))));
        let waits = Instant::now();
        let next = poll_fn(|cx| inflow.poll_next(cx)).await;
        assert!(matches!(next, Some(Err(Broken::Silent))));
        assert!(waits.elapsed() >= SILENT && waits.elapsed() < SILENT * 2);
    }
}
