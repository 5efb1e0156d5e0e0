//! What one connection has still to be sent: a cursor into its feed, and splices.
//!
//! The stream a peer sees is its feed with small corrections: "at feed offset X, insert these
//! bytes" (a private message, an error, a pong) and "at X, skip N bytes" (netcat users do not get
//! their own line back). A peer that needs no correction costs a cursor and an empty pointer.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BytesMut};

use super::feed::Log;

/// At most this many pieces go into one vectored write.
pub(crate) const SLICES_MAX: usize = 64;

/// Inserts at one place are merged up to about this size: a flood of small ones is few pieces.
const MERGED_BYTES_MAX: u32 = 64 * 1024;

/// The outgoing bytes of one connection. Every method takes the log of the feed it is subscribed
/// to; a connection without a feed passes an empty log and has splices only.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// Absolute offset in the feed of the next byte to send.
    cursor: u64,
    /// None while there is nothing to correct, which is almost always.
    splices: Option<Box<Splices>>,
}

#[derive(Debug, Default)]
struct Splices {
    list: VecDeque<Splice>,
    /// The bytes of all inserts in `list`, end to end.
    inserted: BytesMut,
    /// The first insert in `list` has been sent in part.
    first_begun: bool,
}

#[derive(Debug, Clone, Copy)]
struct Splice {
    /// Feed offset at which it takes effect; never falls along the list.
    at: u64,
    action: Action,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    /// Send the next `.0` bytes of `inserted`.
    Insert(u32),
    /// Move the cursor by `.0` without sending.
    Skip(u32),
}

impl Outbound {
    /// Feed offset of the next byte to send.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Bytes waiting in inserts.
    pub(crate) fn inserted(&self) -> usize {
        self.splices.as_ref().map_or(0, |s| s.inserted.len())
    }

    /// Whether anything is left to send.
    pub(crate) fn is_empty(&self, log: &Log) -> bool {
        self.cursor == log.end() && self.splices.is_none()
    }

    /// Queues `bytes` behind everything that is queued.
    pub(crate) fn insert(&mut self, log: &Log, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let splices = self.splices.get_or_insert_default();
        splices.inserted.extend_from_slice(bytes);
        let is_first_begun = splices.first_begun && splices.list.len() == 1;
        if let Some(Splice { at, action: Action::Insert(len) }) = splices.list.back_mut()
            && *at == log.end()
            && !is_first_begun
            && *len < MERGED_BYTES_MAX
        {
            *len += bytes.len() as u32;
        } else {
            splices.list.push_back(Splice { at: log.end(), action: Action::Insert(bytes.len() as u32) });
        }
    }

    /// Leaves out the last `len` bytes of the log.
    pub(crate) fn skip_last(&mut self, log: &Log, len: usize) {
        let at = log.end() - len as u64;
        let list = &mut self.splices.get_or_insert_default().list;
        if let Some(Splice { at: last_at, action: Action::Skip(last_len) }) = list.back_mut()
            && *last_at + u64::from(*last_len) == at
        {
            *last_len += len as u32;
        } else {
            list.push_back(Splice { at, action: Action::Skip(len as u32) });
        }
        self.settle();
    }

    /// The next pieces to send, at most `budget` bytes of them; returns how many `slices` were filled.
    pub(crate) fn gather<'a>(
        &'a self,
        log: &'a Log,
        budget: usize,
        slices: &mut [IoSlice<'a>; SLICES_MAX],
    ) -> usize {
        let (mut count, mut left) = (0, budget);
        let mut put = |piece: &'a [u8]| {
            if !piece.is_empty() && left > 0 && count < SLICES_MAX {
                let piece = &piece[..piece.len().min(left)];
                slices[count] = IoSlice::new(piece);
                count += 1;
                left -= piece.len();
            }
        };
        self.pieces(log, &mut put);
        count
    }

    /// Calls `put` with every piece of what is left, in order.
    fn pieces<'a>(&'a self, log: &'a Log, put: &mut impl FnMut(&'a [u8])) {
        let mut cursor = self.cursor;
        if let Some(splices) = &self.splices {
            let mut inserted = &splices.inserted[..];
            for splice in &splices.list {
                put(&log.since(cursor)[..(splice.at - cursor) as usize]);
                cursor = splice.at;
                match splice.action {
                    Action::Insert(len) => {
                        let (piece, rest) = inserted.split_at(len as usize);
                        put(piece);
                        inserted = rest;
                    }
                    Action::Skip(len) => cursor += u64::from(len),
                }
            }
        }
        put(log.since(cursor));
    }

    /// The one contiguous piece to send, if there are no splices: the common case.
    pub(crate) fn contiguous<'a>(&self, log: &'a Log) -> Option<&'a [u8]> {
        self.splices.is_none().then(|| log.since(self.cursor))
    }

    /// Takes note that the next `sent` bytes have been sent.
    pub(crate) fn advance(&mut self, mut sent: usize) {
        while sent > 0
            && let Some(splices) = &mut self.splices
            && let Some(Splice { at, action }) = splices.list.front_mut()
        {
            let before = ((*at - self.cursor) as usize).min(sent);
            self.cursor += before as u64;
            sent -= before;
            if let Action::Insert(len) = action {
                let piece = (*len as usize).min(sent);
                splices.inserted.advance(piece);
                *len -= piece as u32;
                sent -= piece;
                splices.first_begun |= piece > 0;
                if *len == 0 {
                    splices.first_begun = false;
                    splices.list.pop_front();
                }
            }
            self.settle();
        }
        self.cursor += sent as u64;
    }

    /// Takes the skips the cursor has arrived at, and drops the splices when there are none left.
    fn settle(&mut self) {
        let Some(splices) = &mut self.splices else { return };
        while let Some(&Splice { at, action: Action::Skip(len) }) = splices.list.front()
            && at == self.cursor
        {
            self.cursor += u64::from(len);
            splices.list.pop_front();
        }
        if splices.list.is_empty() {
            self.splices = None;
        }
    }

    /// Makes what is left independent of the feed, and sets the cursor to `at` in another one.
    pub(crate) fn detach(&mut self, log: &Log, at: u64) {
        let mut rest = Splices::default();
        self.pieces(log, &mut |piece| {
            if !piece.is_empty() {
                rest.inserted.extend_from_slice(piece);
                rest.list.push_back(Splice { at, action: Action::Insert(piece.len() as u32) });
            }
        });
        rest.first_begun = self.is_inside_frame(log);
        *self = Self { cursor: at, splices: (!rest.list.is_empty()).then(|| Box::new(rest)) };
    }

    /// Keeps the rest of a frame that has been sent in part, and drops everything behind it; the
    /// cursor is then that of a connection without a feed.
    pub(crate) fn cut(&mut self, log: &Log) {
        let rest = match &self.splices {
            Some(splices) if splices.first_begun => {
                let Some(Splice { action: Action::Insert(len), .. }) = splices.list.front() else {
                    unreachable!("only an insert can have begun");
                };
                splices.inserted[..*len as usize].to_vec()
            }
            _ => {
                let end = log.frame_end(self.cursor);
                log.since(self.cursor)[..(end - self.cursor) as usize].to_vec()
            }
        };
        *self = Self::default();
        self.insert(&Log::default(), &rest);
    }

    fn is_inside_frame(&self, log: &Log) -> bool {
        self.splices.as_ref().is_some_and(|s| s.first_begun) || log.frame_end(self.cursor) != self.cursor
    }

    /// Starts at the end of `log`; what was queued before stays in front.
    pub(crate) fn attach(&mut self, log: &Log) {
        self.detach(&Log::default(), log.end());
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::Feed;
    use super::*;

    /// Sends everything in steps of `step` bytes and returns it.
    fn drain(outbound: &mut Outbound, log: &Log, step: usize) -> String {
        let mut sent = Vec::new();
        while !outbound.is_empty(log) {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = outbound.gather(log, step, &mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            assert!(!bytes.is_empty(), "something is left but nothing is offered");
            outbound.advance(bytes.len());
            sent.extend(bytes);
        }
        String::from_utf8(sent).unwrap()
    }

    fn publish(feed: &mut Feed, frame: &str) {
        feed.append(frame.as_bytes());
    }

    #[test]
    fn inserts_and_skips_take_effect_where_they_were_made_whatever_the_write_size() {
        for step in 1..40 {
            let mut feed = Feed::default();
            let mut outbound = Outbound::default();
            publish(&mut feed, "a\n");
            publish(&mut feed, "mine\n");
            outbound.skip_last(&feed.log, 5);
            publish(&mut feed, "mine too\n");
            outbound.skip_last(&feed.log, 9);
            outbound.insert(&feed.log, b"@bob: psst\n");
            outbound.insert(&feed.log, b"! error\n");
            publish(&mut feed, "b\n");
            publish(&mut feed, "mine\n");
            outbound.skip_last(&feed.log, 5);
            assert_eq!(drain(&mut outbound, &feed.log, step), "a\n@bob: psst\n! error\nb\n");
            assert!(outbound.splices.is_none(), "splices are freed when they are done");
        }
    }

    #[test]
    fn a_skip_at_the_cursor_leaves_nothing_to_send() {
        let mut feed = Feed::default();
        let mut outbound = Outbound::default();
        publish(&mut feed, "mine\n");
        outbound.skip_last(&feed.log, 5);
        assert!(outbound.is_empty(&feed.log));
    }

    #[test]
    fn moving_to_another_feed_keeps_what_was_queued() {
        let (mut old, mut new) = (Feed::default(), Feed::default());
        let mut outbound = Outbound::default();
        publish(&mut new, "not seen\n");
        publish(&mut old, "one\n");
        outbound.insert(&old.log, b"(psst)\n");
        publish(&mut old, "two\n");
        outbound.advance(2);
        outbound.detach(&old.log, 0);
        outbound.attach(&new.log);
        outbound.insert(&new.log, b"welcome\n");
        publish(&mut new, "three\n");
        assert_eq!(drain(&mut outbound, &new.log, 3), "e\n(psst)\ntwo\nwelcome\nthree\n");
    }

    #[test]
    fn a_cut_ends_at_a_frame_boundary() {
        for sent in 0..=10 {
            let mut feed = Feed::default();
            let mut outbound = Outbound::default();
            publish(&mut feed, "one\n");
            outbound.insert(&feed.log, b"psst\n");
            publish(&mut feed, "two\n");
            outbound.advance(sent);
            outbound.cut(&feed.log);
            let rest = drain(&mut outbound, &Log::default(), 100);
            let expected = match sent {
                0..4 => &"one\n"[sent % 4..],
                4..9 => &"psst\n"[sent - 4..],
                _ => &"two\n"[sent - 9..],
            };
            let expected = if [0, 4, 9].contains(&sent) { "" } else { expected };
            assert_eq!(rest, expected, "after {sent} bytes");
        }
    }
}
