//! Framing by length: before each frame stands the number of its bytes, in four bytes, big-endian.
//!
//! It is the other answer to a byte stream that splits and glues what was written: nothing has to be searched, and a
//! frame may hold newlines. As [`Lines`](super::line::Lines), [`Lengths`] keeps no bytes, and says the same of them; as
//! with lines, what is too long is refused when it begins, and dropped as it arrives.

use std::borrow::Cow;

use super::line::{FLOOD_BYTES, Found};

/// The bytes of a length.
pub const LENGTH_BYTES: usize = 4;

/// The framing state of one connection.
#[derive(Debug, Clone, Default)]
pub struct Lengths {
    /// So many bytes of a frame that is too long are still to be dropped.
    to_drop: u32,
}

impl Lengths {
    /// Looks for the next frame at the front of `input`, which is what has not been consumed.
    pub fn next<'a>(&mut self, input: &'a [u8], max_bytes: usize) -> Found<'a> {
        let dropped = input.len().min(self.to_drop as usize);
        self.to_drop -= dropped as u32;
        let Some((length, payload)) = length(&input[dropped..]) else { return Found::Nothing(dropped) };
        let used = dropped + LENGTH_BYTES;
        if length > FLOOD_BYTES.max(max_bytes) {
            return Found::Flood;
        }
        if length > max_bytes {
            self.to_drop = length as u32;
            return Found::TooLong(used);
        }
        match payload.get(..length) {
            Some(frame) => Found::Line(Cow::Borrowed(frame), used + length),
            None => Found::Nothing(dropped),
        }
    }

    /// What has arrived of an unfinished frame.
    #[must_use]
    pub fn unfinished<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        length(input).map_or(&[], |(_, payload)| payload)
    }
}

/// The length at the front of `input`, and what is behind it.
fn length(input: &[u8]) -> Option<(usize, &[u8])> {
    let (length, payload) = input.split_first_chunk::<LENGTH_BYTES>()?;
    Some((u32::from_be_bytes(*length) as usize, payload))
}

/// Appends a frame that holds `content` to `out`.
pub fn frame(out: &mut Vec<u8>, content: &[u8]) {
    // What the server says is far shorter than 4 GiB.
    out.extend_from_slice(&(content.len() as u32).to_be_bytes());
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    // What any split gives is in `tests/fuzz/lines.rs`.

    #[test]
    fn a_length_is_refused_before_its_bytes_arrive() {
        let next = |input: [u8; 4], max_bytes| format!("{:?}", Lengths::default().next(&input, max_bytes));
        assert_eq!(next([0, 0, 0, 6], 5), "TooLong(4)");
        assert_eq!(next([0, 1, 0, 1], 5), "Flood");
        assert_eq!(next([0xff; 4], 5), "Flood");
        assert_eq!(next([0, 1, 0, 1], 65537), "Nothing(0)");
    }
}
