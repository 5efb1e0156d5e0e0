//! A queue of bytes that knows what memory it holds, and gives it back.
//!
//! What peers make the daemon hold comes in a flood and goes at once. An allocator keeps what was freed in the middle
//! of its heap, and the daemon would stay as large as it ever was; so what is long lives in pages of its own, which
//! the system has back when it is dropped.

use bytes::{Buf, BytesMut};
use memmap2::MmapMut;

/// The least that is allocated, in bytes.
const ALLOCATION_MIN: usize = 64;
/// What is longer than this lives in whole pages, and so does this.
const PAGE: usize = 4096;

/// Bytes that are appended at the end and taken from the front.
///
/// `BytesMut` forgets how much it has allocated once something was taken from its front, and what is held is
/// what counts against a limit. So it never grows on its own here: when it is full, what is left moves
/// to a new allocation of known size.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    store: Store,
    /// Memory of `store`, in bytes.
    allocated: usize,
}

#[derive(Debug)]
enum Store {
    Heap(BytesMut),
    /// The bytes from `start` to `end` of these pages.
    Pages {
        pages: MmapMut,
        start: usize,
        end: usize,
    },
}

impl Default for Store {
    fn default() -> Self {
        Self::Heap(BytesMut::new())
    }
}

impl Store {
    /// An empty one with place for so many bytes, and how many there are.
    fn with_capacity(bytes: usize) -> (Self, usize) {
        let rounded = bytes.next_multiple_of(PAGE);
        // Pages have to be had from the system one by one; if it has none to give, the heap may still.
        if bytes > PAGE
            && let Ok(pages) = MmapMut::map_anon(rounded)
        {
            return (Self::Pages { pages, start: 0, end: 0 }, rounded);
        }
        let heap = BytesMut::with_capacity(bytes);
        let capacity = heap.capacity();
        (Self::Heap(heap), capacity)
    }

    /// How many bytes fit behind those that are there.
    fn place(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity() - bytes.len(),
            Self::Pages { pages, end, .. } => pages.len() - end,
        }
    }

    fn append(&mut self, more: &[u8]) {
        match self {
            Self::Heap(bytes) => bytes.extend_from_slice(more),
            Self::Pages { pages, end, .. } => {
                pages[*end..*end + more.len()].copy_from_slice(more);
                *end += more.len();
            }
        }
    }
}

impl Buffer {
    pub(crate) fn append(&mut self, more: &[u8]) {
        if self.store.place() < more.len() {
            // Twice as much, so that appending costs a constant time per byte.
            let needed = self.len() + more.len();
            self.move_to((2 * self.len()).max(needed).max(ALLOCATION_MIN));
        }
        self.store.append(more);
    }

    /// Takes `count` bytes from the front. An empty buffer holds no memory, and no buffer much more than it needs.
    pub(crate) fn advance(&mut self, count: usize) {
        match &mut self.store {
            Store::Heap(bytes) => bytes.advance(count),
            Store::Pages { start, .. } => *start += count,
        }
        if self.is_empty() {
            *self = Self::default();
        } else if self.allocated > ALLOCATION_MIN.max(4 * self.len()) {
            self.move_to(self.len());
        }
    }

    fn move_to(&mut self, capacity: usize) {
        let (mut store, allocated) = Store::with_capacity(capacity);
        store.append(self.as_slice());
        *self = Self { store, allocated };
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.store {
            Store::Heap(bytes) => bytes,
            Store::Pages { pages, start, end } => &pages[*start..*end],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
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
        assert!(
            buffer.memory() <= 4 * (buffer.len() + 97).next_multiple_of(PAGE),
            "{} for {}",
            buffer.memory(),
            buffer.len()
        );
        buffer.advance(buffer.len());
        assert_eq!(buffer.memory(), 0);
    }
}
