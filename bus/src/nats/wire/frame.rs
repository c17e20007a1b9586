//! Bodies: bytes beside a message that travel in numbered frames, as their
//! receiver asks for them.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use framex_core::error::Error;

use super::answer::{Answer, Outgoing, read_failure};
use super::{BODY, END, FRAME, PULL, shortened};

/// How many frames of a body are on their way at most.
pub(crate) const FRAMES: u32 = 16;
/// What a frame holds at most, in bytes. With its headers it fits into the 64 KiB that
/// the broker and its clients read at once, which costs all of them less.
pub(crate) const FRAME_SIZE: usize = 63 * 1024;
/// What of a message is not a frame's bytes, at most.
const FRAME_HEADERS: usize = 64;

/// How large frames are where a message may be so large.
pub(crate) fn frame_size(max_payload: usize) -> usize {
    max_payload
        .saturating_sub(FRAME_HEADERS)
        .clamp(1, FRAME_SIZE)
}

/// Which of the bodies that belong to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The message's own payload.
    Payload,
    /// What its payload names by a number.
    Number(u32),
}

/// What a message says of its payload where that is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) size: Option<u64>,
    /// It is to be handed on as it comes.
    pub(crate) stream: bool,
}

/// A receiver's word to whoever has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pull {
    pub(crate) which: Which,
    /// So many frames (more) may be sent.
    pub(crate) frames: u32,
    /// No more is wanted.
    pub(crate) stop: bool,
}

/// A message that brings a part of a body.
#[derive(Debug)]
pub(crate) enum Frame {
    Piece { number: u64, bytes: Bytes },
    End { frames: u64, bytes: u64 },
    Failed(Error),
}

/// Says in a message's headers what its payload will be.
pub(crate) fn announce(headers: &mut HeaderMap, announced: Announced) {
    let size = announced.size.map(|size| format!("size={size}"));
    let stream = announced.stream.then(|| "stream".to_owned());
    let said: Vec<String> = size.into_iter().chain(stream).collect();
    headers.insert(BODY, said.join(", "));
}

/// What a message announces; nothing if its payload is in it and all there is to it.
pub(crate) fn announced(headers: &HeaderMap) -> Option<Announced> {
    let mut announced = Announced::default();
    for (key, value) in members(headers.get(BODY)?.as_str()) {
        match key {
            "size" => announced.size = value.parse().ok(),
            "stream" => announced.stream = value == "?1",
            _ => {}
        }
    }
    Some(announced)
}

pub(crate) fn pull(pull: Pull) -> HeaderMap {
    let which = match pull.which {
        Which::Payload => "payload".to_owned(),
        Which::Number(number) => format!("body={number}"),
    };
    let what = match pull.stop {
        true => "stop".to_owned(),
        false => format!("frames={}", pull.frames),
    };
    HeaderMap::from_iter([(PULL, format!("{which}, {what}").into())])
}

/// Whether a message asks for a part of a body.
pub(crate) fn is_pull(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    headers.is_some_and(|headers| headers.get(PULL).is_some())
}

pub(crate) fn read_pull(message: &Message) -> Option<Pull> {
    let mut which = None;
    let (mut frames, mut stop) = (0, false);
    for (key, value) in members(message.headers.as_ref()?.get(PULL)?.as_str()) {
        match key {
            "payload" => which = Some(Which::Payload),
            "body" => which = value.parse().ok().map(Which::Number),
            "frames" => frames = value.parse().ok()?,
            "stop" => stop = value == "?1",
            _ => {}
        }
    }
    Some(Pull {
        which: which?,
        frames,
        stop,
    })
}

/// The `number`th part of a body; the first has the number 1.
pub(crate) fn frame(number: u64, bytes: Bytes) -> Outgoing {
    let checksum = crc32fast::hash(&bytes);
    Outgoing {
        headers: Some(HeaderMap::from_iter([(
            FRAME,
            format!("{number} {checksum:08x}").into(),
        )])),
        payload: bytes,
    }
}

/// The end of a body.
pub(crate) fn end_of_body(frames: u64, bytes: u64) -> Outgoing {
    Outgoing {
        headers: Some(HeaderMap::from_iter([(
            END,
            format!("{frames} {bytes}").into(),
        )])),
        payload: Bytes::new(),
    }
}

/// Reads a part of a body; the error says what is wrong with it.
pub(crate) fn read_frame(message: Message) -> Result<Frame, String> {
    let text = |name| {
        let headers = message.headers.as_ref()?;
        headers
            .get(name)
            .map(|value: &async_nats::HeaderValue| value.as_str())
    };
    if let Some(said) = text(FRAME) {
        let read = said.split_once(' ').and_then(|(number, checksum)| {
            let checksum = u32::from_str_radix(checksum, 16).ok()?;
            Some((number.parse().ok()?, checksum))
        });
        let Some((number, checksum)) = read else {
            return Err(format!("`{}` is no frame's header", shortened(said)));
        };
        let bytes = message.payload;
        if crc32fast::hash(&bytes) != checksum {
            return Err(format!("frame {number} has another checksum than it says"));
        }
        return Ok(Frame::Piece { number, bytes });
    }
    if let Some(said) = text(END) {
        let read = said
            .split_once(' ')
            .and_then(|(frames, bytes)| Some((frames.parse().ok()?, bytes.parse().ok()?)));
        let Some((frames, bytes)) = read else {
            return Err(format!("`{}` is no end of a body", shortened(said)));
        };
        return Ok(Frame::End { frames, bytes });
    }
    match read_failure(&message) {
        Some(Answer::Failed { error, .. }) => Ok(Frame::Failed(error)),
        _ => Err("a message that is no part of a body".to_owned()),
    }
}

/// The members of a dictionary as RFC 9651 has it; one without a value is true.
fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').map(|member| {
        let member = member.trim();
        member.split_once('=').unwrap_or((member, "?1"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(out: Outgoing) -> Message {
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

    #[test]
    fn pulls_and_announcements_come_out_as_they_went_in() {
        for sent in [
            Pull {
                which: Which::Payload,
                frames: 16,
                stop: false,
            },
            Pull {
                which: Which::Number(3),
                frames: 0,
                stop: true,
            },
        ] {
            let message = message(Outgoing {
                headers: Some(pull(sent)),
                payload: Bytes::new(),
            });
            assert!(is_pull(&message));
            assert_eq!(read_pull(&message), Some(sent));
        }
        for sent in [
            Announced {
                size: Some(1 << 40),
                stream: false,
            },
            Announced {
                size: None,
                stream: true,
            },
        ] {
            let mut headers = HeaderMap::new();
            announce(&mut headers, sent);
            assert_eq!(announced(&headers), Some(sent));
        }
    }

    #[test]
    fn a_frame_that_changed_on_its_way_is_noticed() {
        let sent = frame(7, Bytes::from_static(b"abc"));
        let read = read_frame(message(sent.clone()));
        assert!(
            matches!(read, Ok(Frame::Piece { number: 7, ref bytes }) if bytes == "abc"),
            "{read:?}"
        );
        let changed = Outgoing {
            payload: Bytes::from_static(b"abd"),
            ..sent
        };
        assert!(read_frame(message(changed)).is_err());
        assert!(read_frame(message(Outgoing::bare("abc"))).is_err());
        let end = read_frame(message(end_of_body(2, 70_000)));
        assert!(matches!(
            end,
            Ok(Frame::End {
                frames: 2,
                bytes: 70_000
            })
        ));
    }

    #[test]
    fn frames_fit_the_broker() {
        assert_eq!(frame_size(1 << 20), FRAME_SIZE);
        let small = frame_size(1024);
        let largest = frame(u64::MAX, Bytes::from(vec![0; small]));
        let headers = super::super::size_of_headers(largest.headers.as_ref().unwrap());
        assert!(headers + small <= 1024 && small > 900, "{headers}");
        assert_eq!(frame_size(10), 1);
    }
}
