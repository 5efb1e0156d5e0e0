//! A queue of bytes that knows what memory it holds.

use bytes::{Buf, BytesMut};

/// The least that is allocated, in bytes.
const ALLOCATION_MIN: usize = 64;

/// Bytes that are appended at the end and taken from the front.
///
/// `BytesMut` forgets how much it has allocated once something was taken from its front, and what is held is
/// what counts against a limit. So it never grows on its own here: when it is full, what is left moves
/// to a new allocation of known size.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: BytesMut,
    /// What was allocated for `bytes`.
    allocated: usize,
}

impl Buffer {
    pub(crate) fn append(&mut self, more: &[u8]) {
        let needed = self.bytes.len() + more.len();
        if self.bytes.capacity() < needed {
            // Twice as much, so that appending costs a constant time per byte.
            self.move_to((2 * self.bytes.len()).max(needed).max(ALLOCATION_MIN));
        }
        self.bytes.extend_from_slice(more);
    }

    /// Takes `count` bytes from the front. An empty buffer holds no memory, and no buffer much more than it needs.
    pub(crate) fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if self.bytes.is_empty() {
            *self = Self::default();
        } else if self.allocated > ALLOCATION_MIN.max(4 * self.bytes.len()) {
            self.move_to(self.bytes.len());
        }
    }

    fn move_to(&mut self, capacity: usize) {
        let mut bytes = BytesMut::with_capacity(capacity);
        bytes.extend_from_slice(&self.bytes);
        self.allocated = bytes.capacity();
        self.bytes = bytes;
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Memory it holds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.allocated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_what_was_appended_and_memory_stays_in_proportion() {
        let (mut buffer, mut expected, mut next) = (Buffer::default(), 0_u8, 0_u8);
        for round in 0..2000_usize {
            let more: Vec<u8> = (0..round % 97).map(|i| next.wrapping_add(i as u8)).collect();
            next = next.wrapping_add(more.len() as u8);
            buffer.append(&more);
            let taken = buffer.len().min(round % 89);
            for &byte in &buffer.as_slice()[..taken] {
                assert_eq!(byte, expected);
                expected = expected.wrapping_add(1);
            }
            buffer.advance(taken);
            assert!(buffer.memory() >= buffer.len());
        }
        assert!(buffer.memory() <= 4 * (buffer.len() + 97), "{} for {}", buffer.memory(), buffer.len());
        buffer.advance(buffer.len());
        assert_eq!(buffer.memory(), 0);
    }
}
