//! Writes JSON, piece by piece.

/// Bytes of a text that JSON writes otherwise than they are.
const ESCAPED: [bool; 256] = special(b"");

/// A table of what [`ESCAPED`] has and `more`.
pub(crate) const fn special(more: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = true;
        control += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    let mut index = 0;
    while index < more.len() {
        table[more[index] as usize] = true;
        index += 1;
    }
    table
}

/// A text with its quotes.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    // Most are plain words, and found to be so many bytes at a time.
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let mut rest = text.as_bytes();
    while copy_until(out, &mut rest, &ESCAPED) {
        escaped(out, rest[0]);
        rest = &rest[1..];
    }
    out.push(b'"');
}

/// Moves `rest` up to its first byte that is in `table`, if it has one.
pub(crate) fn copy_until(out: &mut Vec<u8>, rest: &mut &[u8], table: &[bool; 256]) -> bool {
    let found = rest.iter().position(|byte| table[usize::from(*byte)]);
    let (before, after) = rest.split_at(found.unwrap_or(rest.len()));
    out.extend_from_slice(before);
    *rest = after;
    found.is_some()
}

/// One byte of a text.
pub(crate) fn escaped(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..0x20 => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
        _ => out.push(byte),
    }
}

/// A number, a boolean, bytes as a list of numbers; `null` for what is no number.
pub(crate) fn value<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Neither writing to memory nor such values can fail.
    let _ = serde_json::to_writer(out, value);
}
