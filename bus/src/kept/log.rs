//! What came of a stream, packed: a few bytes more than the events' own.

use std::collections::VecDeque;

use bytes::Bytes;
use bytestring::ByteString;
use framex_core::event::{Data, Event, MESSAGE_CHUNK};
use framex_core::kept::Position;

/// What an event of its own memory costs besides that, about.
const EVENT: usize = 128;
/// What is read at once, in bytes.
const READ: usize = 16 * 1024;

/// The latest events of a stream. The oldest go in pieces.
pub(super) struct Log {
    pieces: VecDeque<Piece>,
    /// The size of a piece.
    piece: usize,
    /// How many events have come.
    count: u64,
    /// How many bytes have come, as they are counted here.
    came: u64,
    /// How many of them are held.
    held: usize,
}

struct Piece {
    /// The number of its first event, and what had come before it.
    first: Cursor,
    events: Events,
}

enum Events {
    /// Many small ones, each a [`Head`] with its name and data behind it.
    Packed(Vec<u8>),
    /// A large one, sharing its memory.
    Whole(Event),
}

/// A place between two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The event behind it, from 1.
    pub(super) number: u64,
    /// The bytes before it.
    pub(super) offset: u64,
}

impl Cursor {
    pub(super) const START: Self = Self {
        number: 1,
        offset: 0,
    };
}

/// How an event is packed: what kind it is, the length of its name, and of its data.
#[derive(Clone, Copy)]
struct Head {
    json: bool,
    /// 0: the name that most have.
    name: u8,
    data: u16,
}

impl Head {
    const LEN: usize = 4;

    fn of(event: &Event, bytes: &[u8], most: usize) -> Option<Self> {
        let name = match event.name() {
            MESSAGE_CHUNK => 0,
            "" => return None,
            name => name.len(),
        };
        let fits = bytes.len() + name <= most;
        Some(Self {
            json: matches!(event.data(), Data::Json(_)),
            name: u8::try_from(name).ok()?,
            data: u16::try_from(bytes.len()).ok().filter(|_| fits)?,
        })
    }

    fn to_bytes(self) -> [u8; Self::LEN] {
        let [low, high] = self.data.to_le_bytes();
        [u8::from(self.json), self.name, low, high]
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let &[json, name, low, high] = bytes.first_chunk::<{ Self::LEN }>()?;
        Some(Self {
            json: json == 1,
            name,
            data: u16::from_le_bytes([low, high]),
        })
    }

    /// With everything behind it.
    fn len(self) -> usize {
        Self::LEN + usize::from(self.name) + usize::from(self.data)
    }
}

impl Log {
    /// For about `size` bytes altogether.
    pub(super) fn new(size: usize) -> Self {
        Self {
            pieces: VecDeque::new(),
            piece: (size / 16).clamp(256, 16 * 1024),
            count: 0,
            came: 0,
            held: 0,
        }
    }

    /// How many events have come.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes have come.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    /// How many bytes are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Behind the last event.
    pub(super) fn end(&self) -> Cursor {
        Cursor {
            number: self.count + 1,
            offset: self.came,
        }
    }

    pub(super) fn push(&mut self, event: &Event) {
        let bytes: &[u8] = match event.data() {
            Data::Text(text) => text.as_bytes(),
            Data::Json(json) => json,
        };
        let cost = match Head::of(event, bytes, self.piece / 4) {
            Some(head) => {
                let (first, mut piece) = self.packed(head.len());
                piece.extend_from_slice(&head.to_bytes());
                if head.name > 0 {
                    piece.extend_from_slice(event.name().as_bytes());
                }
                piece.extend_from_slice(bytes);
                let events = Events::Packed(piece);
                self.pieces.push_back(Piece { first, events });
                head.len()
            }
            None => {
                let first = self.end();
                let events = Events::Whole(event.clone());
                self.pieces.push_back(Piece { first, events });
                bytes.len() + event.name().len() + EVENT
            }
        };
        self.count += 1;
        self.came += cost as u64;
        self.held += cost;
    }

    /// The last piece, taken out, if it has room for `more` bytes; else a new one.
    fn packed(&mut self, more: usize) -> (Cursor, Vec<u8>) {
        // A stream that has filled one piece fills the next one too.
        let capacity = if self.pieces.is_empty() {
            0
        } else {
            self.piece
        };
        match self.pieces.pop_back() {
            Some(Piece {
                first,
                events: Events::Packed(bytes),
            }) if bytes.len() + more <= self.piece => (first, bytes),
            last => {
                self.pieces.extend(last);
                (self.end(), Vec::with_capacity(capacity))
            }
        }
    }

    /// Drops the oldest pieces above `most` bytes, but nothing behind `needed`.
    pub(super) fn shrink(&mut self, most: usize, needed: Cursor) {
        while self.held > most {
            let Some(next) = self.pieces.get(1).map(|piece| piece.first) else {
                return;
            };
            let Some(oldest) = self.pieces.front() else {
                return;
            };
            if next.number > needed.number {
                return;
            }
            let freed = next.offset - oldest.first.offset;
            self.held -= usize::try_from(freed).unwrap_or(self.held);
            self.pieces.pop_front();
        }
    }

    /// Gives back memory that nothing will come into.
    pub(super) fn close(&mut self) {
        if let Some(Piece {
            events: Events::Packed(bytes),
            ..
        }) = self.pieces.back_mut()
        {
            bytes.shrink_to_fit();
        }
    }

    /// The place before event `number`; `None` if that is not held any more, or has
    /// not come and is not the next to come.
    pub(super) fn seek(&self, number: u64) -> Option<Cursor> {
        if number == self.count + 1 {
            return Some(self.end());
        }
        let (piece, at) = self.find(number)?;
        Some(Cursor {
            number,
            offset: self.pieces.get(piece)?.first.offset + at as u64,
        })
    }

    /// The piece that event `number` is in, and where in it.
    fn find(&self, number: u64) -> Option<(usize, usize)> {
        if number > self.count {
            return None;
        }
        let after = self
            .pieces
            .partition_point(|piece| piece.first.number <= number);
        let found = after.checked_sub(1)?;
        let piece = self.pieces.get(found)?;
        let mut at = 0;
        if let Events::Packed(bytes) = &piece.events {
            for _ in piece.first.number..number {
                at += Head::read(bytes.get(at..)?)?.len();
            }
        }
        Some((found, at))
    }

    /// Reads some events from `cursor` on, and moves it behind them.
    pub(super) fn read(&self, cursor: &mut Cursor, out: &mut VecDeque<Event>) {
        let Some((found, from)) = self.find(cursor.number) else {
            return;
        };
        let bytes = match &self.pieces[found].events {
            Events::Whole(event) => {
                out.push_back(placed(event.clone(), cursor.number));
                let next = self.pieces.get(found + 1);
                *cursor = next.map_or(self.end(), |next| next.first);
                return;
            }
            Events::Packed(bytes) => &bytes[from..],
        };
        // Copied once for all of them: the log goes on while they are sent.
        let mut run = 0;
        while run < READ {
            let Some(head) = Head::read(&bytes[run..]) else {
                break;
            };
            run += head.len();
        }
        let run = Bytes::copy_from_slice(&bytes[..run.min(bytes.len())]);
        let mut at = 0;
        while let Some(head) = Head::read(&run[at..]) {
            let name = at + Head::LEN;
            let data = name + usize::from(head.name);
            at += head.len();
            let event = unpack(head, run.slice(name..data), run.slice(data..at));
            out.push_back(placed(event, cursor.number));
            cursor.number += 1;
            cursor.offset += head.len() as u64;
        }
    }
}

fn unpack(head: Head, name: Bytes, data: Bytes) -> Event {
    let data = match head.json {
        true => Data::Json(data),
        // It was text when it was packed.
        false => Data::Text(ByteString::try_from(data).unwrap_or_default()),
    };
    let event = Event::message(data);
    match head.name {
        0 => event,
        _ => event.named(String::from_utf8_lossy(&name).into_owned()),
    }
}

/// `event` as number `number` of its stream.
pub(super) fn placed(event: Event, number: u64) -> Event {
    match Position::new(number, 0) {
        Some(position) => event.at(position),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let long = "x".repeat(700);
        (0..500)
            .map(|n| match n % 5 {
                0 => Event::text(format!("text {n}")),
                1 => Event::json(&[n]).unwrap(),
                2 => Event::text("").named("mine"),
                3 => Event::text(long.clone()).named(format!("event {n}")),
                _ => Event::json(&serde_json::json!({ "n": n }))
                    .unwrap()
                    .named(""),
            })
            .collect()
    }

    fn rest(log: &Log, from: u64) -> Vec<Event> {
        let mut cursor = log.seek(from).unwrap();
        let mut out = VecDeque::new();
        while cursor.number <= log.count() {
            log.read(&mut cursor, &mut out);
        }
        assert_eq!(cursor, log.end());
        out.into()
    }

    #[test]
    fn events_come_back_as_they_went_from_every_place() {
        let mut log = Log::new(8 * 1024);
        let events = events();
        for event in &events {
            log.push(event);
        }
        for from in 1..=501 {
            let expected: Vec<_> = events[from - 1..]
                .iter()
                .zip(from as u64..)
                .map(|(event, number)| placed(event.clone(), number))
                .collect();
            assert_eq!(rest(&log, from as u64), expected, "from {from}");
        }
        assert_eq!(log.seek(502), None);
    }

    #[test]
    fn the_oldest_go_first_and_nothing_that_is_needed() {
        let mut log = Log::new(8 * 1024);
        for event in &events() {
            log.push(event);
            let needed = log.seek(log.count().min(100)).unwrap();
            log.shrink(8 * 1024, needed);
        }
        assert!(log.seek(100).is_some() && log.held() > 8 * 1024);
        log.shrink(8 * 1024, log.end());
        assert!(log.held() <= 8 * 1024, "{}", log.held());
        assert_eq!(log.seek(100), None);
        let oldest = (1..).find(|n| log.seek(*n).is_some()).unwrap();
        assert_eq!(rest(&log, oldest).len() as u64, 501 - oldest);
    }
}
