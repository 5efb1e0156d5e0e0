//! Feeds: one log, many cursors.
//!
//! A *channel* is one stream of events (a chat room, say). It has up to [`VARIANTS`] *feeds*: the
//! same events, each in one encoding. A feed is an append-only byte log and the list of its
//! subscribers; each subscriber is a cursor into the log, kept in its
//! [`Outbound`](super::outbound::Outbound). Broadcasting appends once, whatever the number of
//! subscribers, and a subscriber that has stalled costs nothing per message: it is an old cursor.
//!
//! Offsets into a log are absolute: they count every byte the feed ever carried and never go back.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use slab::Slab;

use super::ConnectionId;

/// How many encodings of its events a channel may have.
pub const VARIANTS: usize = 4;

/// Names one feed: a channel, and which of its encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeedId {
    /// The channel's key, from [`Net::open_channel`](super::Net::open_channel).
    pub channel: u32,
    /// Which encoding, below [`VARIANTS`].
    pub variant: u8,
}

/// The bytes of a feed that somebody has still to be sent, and where its frames end.
///
/// The log always begins at the start of a frame, so that a subscriber that has to be cut off can
/// be given the rest of the frame it is in the middle of.
#[derive(Debug, Default)]
pub(crate) struct Log {
    bytes: BytesMut,
    /// Absolute offset of `bytes[0]`.
    base: u64,
    /// Absolute offset of the end of each kept frame, its low 32 bits: the log is far shorter than 4 GiB.
    frame_ends: VecDeque<u32>,
}

impl Log {
    /// Absolute offset one past the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Everything from the absolute offset `from` to the end.
    pub(crate) fn since(&self, from: u64) -> &[u8] {
        &self.bytes[self.index(from)..]
    }

    /// Where the frame that holds the byte at `offset` ends; `offset` itself if a frame begins there.
    pub(crate) fn frame_end(&self, offset: u64) -> u64 {
        let index = self.index(offset);
        if index == 0 {
            return offset;
        }
        let at = self.frame_ends.partition_point(|&end| self.relative(end) < index);
        self.frame_ends.get(at).map_or(offset, |&end| self.base + self.relative(end) as u64)
    }

    /// Memory this log holds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.len() + self.frame_ends.len() * size_of::<u32>()
    }

    fn append(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        // Only the low 32 bits are kept, on purpose.
        self.frame_ends.push_back(self.end() as u32);
    }

    /// Forgets the frames that lie wholly before `oldest`, the smallest cursor.
    fn trim(&mut self, oldest: u64) {
        let keep_from = self.index(oldest);
        let mut cut = 0;
        while let Some(&end) = self.frame_ends.front() {
            let end = self.relative(end);
            if end > keep_from {
                break;
            }
            cut = end;
            self.frame_ends.pop_front();
            // `relative` counts from `base`, which moves once, after the loop.
        }
        self.bytes.advance(cut);
        self.base += cut as u64;
    }

    /// Forgets everything and gives the memory back.
    fn clear(&mut self) {
        *self = Self { base: self.end(), ..Self::default() };
    }

    fn index(&self, offset: u64) -> usize {
        debug_assert!(offset >= self.base && offset <= self.end(), "cursor outside its log");
        (offset - self.base) as usize
    }

    fn relative(&self, end: u32) -> usize {
        end.wrapping_sub(self.base as u32) as usize
    }
}

/// One encoding of a channel's events: the log and who reads it.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub(crate) log: Log,
    /// Slab keys of the subscribers, in no order.
    pub(crate) subscribers: Vec<u32>,
    /// How many subscribers had bytes left after they were last flushed.
    pub(crate) behind: u32,
    /// Something was appended since the last flush; the feed is on the loop's list.
    pub(crate) dirty: bool,
}

impl Feed {
    pub(crate) fn append(&mut self, frame: &[u8]) {
        self.log.append(frame);
    }

    /// Gives back what nobody needs, where `oldest` is the smallest cursor of all subscribers.
    pub(crate) fn trim(&mut self, oldest: u64) {
        if self.behind == 0 {
            self.log.clear();
        } else {
            self.log.trim(oldest);
        }
    }

    /// One subscriber fewer is behind; the last of them takes the log with it.
    pub(crate) fn one_caught_up(&mut self) {
        self.behind -= 1;
        if self.behind == 0 && !self.dirty {
            self.log.clear();
        }
    }
}

/// One stream of events with its encodings, and the pacing of those who produce it.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    pub(crate) feeds: [Feed; VARIANTS],
    /// How many subscribers ask for the producers not to be read (see [`Pace`](super::connection::Pace)).
    pub(crate) holders: u32,
    /// Producers that were ready while the channel was held; queued again when it is let go.
    pub(crate) parked: Vec<ConnectionId>,
}

/// All channels.
#[derive(Debug, Default)]
pub(crate) struct Channels(Slab<Channel>);

impl Channels {
    pub(crate) fn open(&mut self) -> u32 {
        self.0.insert(Channel::default()) as u32
    }

    /// Removes a channel.
    ///
    /// # Panics
    /// If it still has a subscriber: the handler has to move them first.
    pub(crate) fn close(&mut self, channel: u32) {
        let channel = self.0.remove(channel as usize);
        assert!(channel.feeds.iter().all(|feed| feed.subscribers.is_empty()), "channel in use");
    }

    pub(crate) fn channel(&mut self, channel: u32) -> &mut Channel {
        &mut self.0[channel as usize]
    }

    pub(crate) fn feed(&self, id: FeedId) -> &Feed {
        &self.0[id.channel as usize].feeds[id.variant as usize]
    }

    pub(crate) fn feed_mut(&mut self, id: FeedId) -> &mut Feed {
        &mut self.0[id.channel as usize].feeds[id.variant as usize]
    }

    /// Memory all logs hold together, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.0.iter().flat_map(|(_, c)| &c.feeds).map(|feed| feed.log.memory()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(frames: &[&str]) -> Log {
        let mut log = Log::default();
        for frame in frames {
            log.append(frame.as_bytes());
        }
        log
    }

    #[test]
    fn offsets_stay_absolute_when_the_tail_is_trimmed() {
        let mut log = log(&["one\n", "two\n", "three\n"]);
        log.trim(5); // in the middle of "two"
        assert_eq!(log.since(5), b"wo\nthree\n");
        assert_eq!(log.since(4), b"two\nthree\n", "the frame that is under way is kept whole");
        assert_eq!(log.end(), 14);
    }

    #[test]
    fn frame_ends_are_found_from_any_offset() {
        let mut log = log(&["one\n", "two\n", "three\n"]);
        for trimmed in [0, 4, 8] {
            log.trim(trimmed);
            assert_eq!(log.frame_end(8), 8);
            assert_eq!(log.frame_end(9), 14);
            assert_eq!(log.frame_end(14), 14);
        }
    }

    #[test]
    fn frame_ends_survive_the_wrap_of_their_32_bits() {
        let mut log = Log { base: u64::from(u32::MAX) - 2, ..Log::default() };
        let start = log.end();
        log.append(b"abcd");
        log.append(b"efgh");
        assert_eq!(log.frame_end(start + 1), start + 4);
        assert_eq!(log.frame_end(start + 5), start + 8);
        log.trim(start + 6);
        assert_eq!(log.since(start + 4), b"efgh");
    }

    #[test]
    fn a_cleared_log_holds_no_memory_and_goes_on_counting() {
        let mut log = log(&["one\n"]);
        log.clear();
        assert_eq!((log.memory(), log.end(), log.bytes.capacity()), (0, 4, 0));
    }
}
