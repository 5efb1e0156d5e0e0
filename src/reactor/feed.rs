//! Feeds: one log, many cursors.
//!
//! A *channel* is one stream of events (a chat room, say). It has a *feed* for each encoding of them that
//! somebody reads, and none for the others. A feed is an append-only byte log and the list of its
//! subscribers; each subscriber is a cursor into the log, kept in its
//! [`Outbound`](super::outbound::Outbound). Broadcasting appends once, whatever the number of
//! subscribers, and a subscriber that has stalled costs nothing per message: it is an old cursor.
//!
//! Offsets into a log are absolute: they count every byte the feed ever carried and never go back.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use slab::Slab;

use super::backpressure::Throttle;
use crate::buffer::Buffer;

/// Names one stream of events; from [`Net::open_channel`](super::Net::open_channel).
pub type ChannelId = u32;

/// The bytes of a feed that somebody has still to be sent, and where its frames end.
///
/// The log always begins at the start of a frame, so that a subscriber that has to be cut off can
/// be given the rest of the frame it is in the middle of.
#[derive(Debug, Default)]
pub(crate) struct Log {
    bytes: Buffer,
    /// Absolute offset of the first of `bytes`.
    base: u64,
    /// Absolute offset of the end of each kept frame, its low 32 bits: the log is far shorter than 4 GiB.
    frame_ends: VecDeque<u32>,
}

impl Log {
    /// Absolute offset one past the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The bytes from one absolute offset to another.
    pub(crate) fn between(&self, from: u64, to: u64) -> &[u8] {
        if from == to { &[] } else { &self.bytes.as_slice()[self.index(from)..self.index(to)] }
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
        self.bytes.memory() + self.frame_ends.capacity() * size_of::<u32>()
    }

    fn append(&mut self, frame: &[u8]) {
        self.bytes.append(frame);
        // Only the low 32 bits are kept, on purpose.
        self.frame_ends.push_back(self.end() as u32);
    }

    /// Forgets the frames that lie wholly before `oldest`, the smallest cursor.
    fn trim(&mut self, oldest: u64) {
        if oldest == self.end() {
            // Nobody needs anything: the memory is given back.
            *self = Self { base: self.end(), ..Self::default() };
            return;
        }
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
    /// None once the channel is closed: then it is only read to its end.
    pub(crate) channel: Option<ChannelId>,
    pub(crate) log: Log,
    /// Slots of those who get what is published, in no order.
    pub(crate) subscribers: Vec<u32>,
    /// Slots of those who are closing: they get what was published before.
    pub(crate) leaving: Vec<u32>,
    /// Slots of those who follow this feed besides the one that they are subscribed to, in no order.
    pub(crate) followers: Vec<u32>,
    /// How many of both had bytes left after they were last flushed.
    pub(crate) behind: u32,
    /// Something was appended since the last flush; the feed is on the loop's list.
    pub(crate) is_dirty: bool,
    /// Somebody who was behind has left; the feed is on the loop's list of those to trim.
    pub(crate) wants_trim: bool,
}

impl Feed {
    /// The list in which a subscriber, or one that is leaving, has its position.
    pub(crate) fn list(&mut self, is_leaving: bool) -> &mut Vec<u32> {
        if is_leaving { &mut self.leaving } else { &mut self.subscribers }
    }

    /// Slots of everybody who may need a part of the log.
    pub(crate) fn readers(&self) -> impl Iterator<Item = u32> {
        self.subscribers.iter().chain(&self.leaving).copied()
    }
}

#[cfg(test)]
impl Feed {
    pub(crate) fn append(&mut self, frame: &[u8]) {
        self.log.append(frame);
    }
}

/// A frame of a feed as those have it who follow it besides their own: kept once for all of them, until the last of
/// them has sent it.
#[derive(Debug)]
pub(crate) struct Frame {
    bytes: Box<[u8]>,
    /// What all frames hold together, in bytes.
    total: Rc<Cell<usize>>,
}

impl Frame {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Memory it holds, in bytes: itself, its bytes, and the two counters beside it.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + 2 * size_of::<usize>()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.total.set(self.total.get() - self.memory());
    }
}

/// One stream of events.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// Its feeds, by encoding: only those that somebody reads.
    feeds: Vec<(u8, u32)>,
    pub(crate) throttle: Throttle,
}

/// All channels and feeds.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    channels: Slab<Channel>,
    feeds: Slab<Feed>,
    /// What all logs hold together, in bytes.
    memory: usize,
    /// What all [`Frame`]s hold together, in bytes.
    frames: Rc<Cell<usize>>,
}

impl Feeds {
    pub(crate) fn open_channel(&mut self) -> ChannelId {
        self.channels.insert(Channel::default()) as ChannelId
    }

    /// Removes a channel. Its feeds live on until their last reader has left.
    pub(crate) fn close_channel(&mut self, channel: ChannelId) -> Channel {
        let channel = self.channels.remove(channel as usize);
        for &(_, feed) in &channel.feeds {
            self.feeds[feed as usize].channel = None;
        }
        channel
    }

    pub(crate) fn channel(&mut self, channel: ChannelId) -> Option<&mut Channel> {
        self.channels.get_mut(channel as usize)
    }

    /// The feed of a channel in one encoding, made if nobody has read it so far.
    pub(crate) fn open_feed(&mut self, id: ChannelId, variant: u8) -> u32 {
        let channel = &mut self.channels[id as usize];
        if let Some(&(_, key)) = channel.feeds.iter().find(|(v, _)| *v == variant) {
            return key;
        }
        let key = self.feeds.insert(Feed { channel: Some(id), ..Feed::default() }) as u32;
        channel.feeds.push((variant, key));
        key
    }

    /// The feeds of a channel: encoding and key.
    pub(crate) fn of_channel(&self, channel: ChannelId) -> &[(u8, u32)] {
        &self.channels[channel as usize].feeds
    }

    /// Removes a feed that nobody reads any more.
    pub(crate) fn close_if_unread(&mut self, key: u32) {
        let feed = &self.feeds[key as usize];
        if !feed.subscribers.is_empty() || !feed.leaving.is_empty() || !feed.followers.is_empty() {
            return;
        }
        if let Some(channel) = feed.channel {
            self.channels[channel as usize].feeds.retain(|(_, k)| *k != key);
        }
        self.memory -= feed.log.memory();
        self.feeds.remove(key as usize);
    }

    pub(crate) fn get(&self, key: u32) -> Option<&Feed> {
        self.feeds.get(key as usize)
    }

    pub(crate) fn feed(&self, key: u32) -> &Feed {
        &self.feeds[key as usize]
    }

    /// A feed, for everything but its log.
    pub(crate) fn feed_mut(&mut self, key: u32) -> &mut Feed {
        &mut self.feeds[key as usize]
    }

    pub(crate) fn append(&mut self, key: u32, frame: &[u8]) {
        self.change_log(key, |log| log.append(frame));
    }

    /// Gives back what nobody needs, where `oldest` is the smallest cursor of all readers.
    pub(crate) fn trim(&mut self, key: u32, oldest: u64) {
        self.change_log(key, |log| log.trim(oldest));
    }

    /// A frame for those who follow a feed.
    pub(crate) fn frame(&self, bytes: &[u8]) -> Rc<Frame> {
        let frame = Frame { bytes: bytes.into(), total: Rc::clone(&self.frames) };
        self.frames.set(self.frames.get() + frame.memory());
        Rc::new(frame)
    }

    fn change_log(&mut self, key: u32, change: impl FnOnce(&mut Log)) {
        let log = &mut self.feeds[key as usize].log;
        self.memory -= log.memory();
        change(log);
        self.memory += log.memory();
    }

    /// Memory all logs hold together, and the frames of those who follow, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory + self.frames.get()
    }

    /// The throttle of a channel, for checks.
    pub(crate) fn throttle(&self, channel: ChannelId) -> &Throttle {
        &self.channels[channel as usize].throttle
    }

    /// All feeds, for checks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Feed)> {
        self.feeds.iter().map(|(key, feed)| (key as u32, feed))
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
        assert_eq!(log.between(5, 14), b"wo\nthree\n");
        assert_eq!(log.between(4, 8), b"two\n", "the frame that is under way is kept whole");
        assert_eq!(log.end(), 14);
        log.trim(14);
        assert_eq!((log.end(), log.memory()), (14, 0), "what nobody needs holds no memory");
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
        let mut log = Log { base: u64::from(u32::MAX) - 5, ..Log::default() };
        log.append(b"one\n");
        log.append(b"two\n");
        let base = u64::from(u32::MAX) - 5;
        assert_eq!(log.frame_end(base + 1), base + 4);
        assert_eq!(log.frame_end(base + 5), base + 8);
        log.trim(base + 4);
        assert_eq!(log.between(base + 4, base + 8), b"two\n");
        assert_eq!(log.frame_end(base + 6), base + 8);
    }

    #[test]
    fn an_encoding_that_nobody_reads_does_not_exist() {
        let mut feeds = Feeds::default();
        let channel = feeds.open_channel();
        let key = feeds.open_feed(channel, 3);
        assert_eq!(feeds.open_feed(channel, 3), key);
        feeds.append(key, b"hello\n");
        assert!(feeds.memory() >= 6);
        feeds.close_if_unread(key);
        assert!(feeds.of_channel(channel).is_empty());
        assert_eq!(feeds.memory(), 0);
    }
}
