//! What one connection has still to be sent: a cursor into its feed, and splices.
//!
//! The stream a peer sees is its feed with small corrections: "at feed offset X, insert these
//! bytes" (a private message, an error, a pong) and "at X, skip N bytes" (netcat users do not get
//! their own line back). A peer that needs no correction costs a cursor and an empty pointer.
//!
//! Who follows other feeds besides its own has their frames as splices, too: "at X, this frame". So all that is
//! published stands in the order in which it was, and a frame is there once, however many follow its feed.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use super::feed::{Frame, Log};
use crate::buffer::Buffer;

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
    /// The feeds that it follows besides its own; none for most.
    follows: Option<Box<Follows>>,
}

/// Behind one pointer, because hardly anybody has any.
#[derive(Debug, Default)]
struct Follows(Vec<Follow>);

/// A feed that is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follow {
    /// The key of the feed.
    pub(crate) feed: u32,
    /// Index into the feed's list of followers.
    pub(crate) position: u32,
    /// Bytes of it that are waiting.
    pub(crate) waiting: u32,
    /// Its channel waits for this connection.
    pub(crate) is_waited_for: bool,
}

#[derive(Debug, Default)]
struct Splices {
    list: VecDeque<Splice>,
    /// What the feed carries from this offset on is not for this connection, which is closing.
    stops_at: Option<u64>,
    /// The bytes of all inserts in `list`, end to end.
    inserted: Buffer,
    /// How many of them the connection has caused itself.
    own: usize,
    /// The first insert or frame in `list` has been sent in part.
    first_begun: bool,
    /// Bytes of all frames in `list`.
    framed: usize,
}

#[derive(Debug)]
struct Splice {
    /// Feed offset at which it takes effect; never falls along the list.
    at: u64,
    action: Action,
}

impl Splice {
    /// How many bytes of a feed that is followed wait here.
    fn waits_of(&self, of: u32) -> u32 {
        match &self.action {
            Action::Frame { frame, sent, feed } if *feed == of => frame.bytes().len() as u32 - sent,
            _ => 0,
        }
    }
}

#[derive(Debug)]
enum Action {
    /// Send the next `len` bytes of `inserted`.
    Insert { len: u32, cause: Cause },
    /// Send this frame of a feed that is followed, but for its first `sent` bytes.
    Frame { frame: Rc<Frame>, sent: u32, feed: u32 },
    /// Move the cursor by `.0` without sending.
    Skip(u32),
}

/// Who has caused what is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The connection itself: an answer. It asks for no more while it leaves too many of these unread.
    Own,
    /// Somebody else: a private message. It never stops the connection's own input.
    Others,
}

impl Outbound {
    /// Feed offset of the next byte to send.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// How many bytes of the feed are left to send.
    pub(crate) fn lag(&self, log: &Log) -> u64 {
        self.end(log) - self.cursor
    }

    /// Bytes left to send.
    pub(crate) fn queued(&self, log: &Log) -> usize {
        let mut bytes = 0;
        self.pieces(log, &mut |piece, _| {
            bytes += piece.len();
            true
        });
        bytes
    }

    /// Bytes waiting in inserts.
    pub(crate) fn inserted(&self) -> usize {
        self.splices.as_ref().map_or(0, |s| s.inserted.len())
    }

    /// Whether anything waits that is not in its own feed.
    pub(crate) fn has_splices(&self) -> bool {
        self.inserted() > 0 || self.framed() > 0
    }

    /// Bytes waiting in frames of feeds that are followed.
    fn framed(&self) -> usize {
        self.splices.as_ref().map_or(0, |s| s.framed)
    }

    /// Bytes waiting in inserts that the connection has caused itself.
    pub(crate) fn own(&self) -> usize {
        self.splices.as_ref().map_or(0, |s| s.own)
    }

    /// Bytes waiting in inserts that others have caused.
    pub(crate) fn of_others(&self) -> usize {
        self.inserted() - self.own()
    }

    /// Memory the splices hold, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let follows =
            self.follows.as_ref().map_or(0, |f| size_of::<Follows>() + f.0.capacity() * size_of::<Follow>());
        let splices = self.splices.as_ref().map_or(0, |s| {
            size_of::<Splices>() + s.list.capacity() * size_of::<Splice>() + s.inserted.memory()
        });
        follows + splices
    }

    /// The feeds that it follows.
    pub(crate) fn follows(&self) -> &[Follow] {
        self.follows.as_ref().map_or(&[], |follows| &follows.0)
    }

    /// What is known of a feed that it follows.
    pub(crate) fn follow_of(&mut self, feed: u32) -> Option<&mut Follow> {
        find(&mut self.follows, feed)
    }

    /// Begins to follow a feed.
    pub(crate) fn follow(&mut self, feed: u32, position: u32) {
        // It may have followed it before.
        let list = self.splices.iter().flat_map(|splices| &splices.list);
        let waiting = list.map(|splice| splice.waits_of(feed)).sum();
        let follow = Follow { feed, position, waiting, is_waited_for: false };
        let Follows(follows) = &mut **self.follows.get_or_insert_default();
        // They are few, and stay for long.
        follows.reserve_exact(1);
        follows.push(follow);
    }

    /// Follows a feed no more. What is waiting of it is still sent.
    pub(crate) fn unfollow(&mut self, feed: u32) -> Option<Follow> {
        let follows = &mut self.follows.as_mut()?.0;
        let follow = follows.swap_remove(follows.iter().position(|follow| follow.feed == feed)?);
        if follows.is_empty() {
            self.follows = None;
        }
        Some(follow)
    }

    /// Queues a frame of a feed that it follows behind everything that is queued.
    pub(crate) fn add_frame(&mut self, log: &Log, feed: u32, frame: Rc<Frame>) {
        let (at, length) = (self.end(log), frame.bytes().len());
        if let Some(follow) = self.follow_of(feed) {
            follow.waiting += length as u32;
        }
        let splices = self.splices.get_or_insert_default();
        splices.framed += length;
        splices.list.push_back(Splice { at, action: Action::Frame { frame, sent: 0, feed } });
    }

    /// Whether anything is left to send.
    pub(crate) fn is_empty(&self, log: &Log) -> bool {
        self.splices.as_ref().is_none_or(|s| s.list.is_empty()) && self.lag(log) == 0
    }

    /// Queues `bytes` behind everything that is queued.
    pub(crate) fn insert(&mut self, log: &Log, bytes: &[u8], cause: Cause) {
        if bytes.is_empty() {
            return;
        }
        let end = self.end(log);
        let splices = self.splices.get_or_insert_default();
        splices.inserted.append(bytes);
        splices.own += if cause == Cause::Own { bytes.len() } else { 0 };
        let is_first_begun = splices.first_begun && splices.list.len() == 1;
        if let Some(Splice { at, action: Action::Insert { len, cause: last } }) = splices.list.back_mut()
            && (*at, *last) == (end, cause)
            && !is_first_begun
            && *len < MERGED_BYTES_MAX
        {
            *len += bytes.len() as u32;
        } else {
            let action = Action::Insert { len: bytes.len() as u32, cause };
            splices.list.push_back(Splice { at: end, action });
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
        self.pieces(log, &mut |piece, _| {
            let piece = &piece[..piece.len().min(left)];
            if !piece.is_empty() && count < SLICES_MAX {
                slices[count] = IoSlice::new(piece);
                count += 1;
                left -= piece.len();
            }
            left > 0 && count < SLICES_MAX
        });
        count
    }

    /// Calls `put` with every piece of what is left, in order, until it has enough.
    fn pieces<'a>(&'a self, log: &'a Log, put: &mut impl FnMut(&'a [u8], Cause) -> bool) {
        let mut cursor = self.cursor;
        if let Some(splices) = &self.splices {
            let mut inserted = splices.inserted.as_slice();
            for splice in &splices.list {
                if !put(log.between(cursor, splice.at), Cause::Own) {
                    return;
                }
                cursor = splice.at;
                match &splice.action {
                    Action::Insert { len, cause } => {
                        let (piece, rest) = inserted.split_at(*len as usize);
                        inserted = rest;
                        if !put(piece, *cause) {
                            return;
                        }
                    }
                    Action::Frame { frame, sent, .. } => {
                        if !put(&frame.bytes()[*sent as usize..], Cause::Others) {
                            return;
                        }
                    }
                    Action::Skip(len) => cursor += u64::from(*len),
                }
            }
        }
        put(log.between(cursor, self.end(log)), Cause::Own);
    }

    /// The one contiguous piece to send, if there is nothing to correct: the common case.
    pub(crate) fn contiguous<'a>(&self, log: &'a Log) -> Option<&'a [u8]> {
        self.splices.is_none().then(|| log.between(self.cursor, log.end()))
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
            let (piece, is_done) = match action {
                Action::Insert { len, cause } => {
                    let piece = (*len as usize).min(sent);
                    splices.inserted.advance(piece);
                    *len -= piece as u32;
                    splices.own -= if *cause == Cause::Own { piece } else { 0 };
                    (piece, *len == 0)
                }
                Action::Frame { frame, sent: begun, feed } => {
                    let piece = (frame.bytes().len() - *begun as usize).min(sent);
                    *begun += piece as u32;
                    splices.framed -= piece;
                    if let Some(follow) = find(&mut self.follows, *feed) {
                        follow.waiting -= piece as u32;
                    }
                    (piece, *begun as usize == frame.bytes().len())
                }
                Action::Skip(_) => (0, false),
            };
            sent -= piece;
            splices.first_begun = !is_done && (splices.first_begun || piece > 0);
            if is_done {
                splices.list.pop_front();
            }
            self.settle();
        }
        self.cursor += sent as u64;
    }

    /// Takes the skips the cursor has arrived at, and drops the splices when nothing is left to correct.
    fn settle(&mut self) {
        let Some(splices) = &mut self.splices else { return };
        while let Some(Splice { at, action: Action::Skip(len) }) = splices.list.front()
            && *at == self.cursor
        {
            self.cursor += u64::from(*len);
            splices.list.pop_front();
        }
        if splices.list.is_empty() && splices.stops_at.is_none() {
            self.splices = None;
        }
    }

    /// What is published from now on is not for this connection any more.
    pub(crate) fn stop_at_end(&mut self, log: &Log) {
        let end = self.end(log);
        self.splices.get_or_insert_default().stops_at = Some(end);
    }

    /// Leaves out everything that is queued.
    pub(crate) fn skip_all(&mut self, log: &Log) {
        self.cursor = self.end(log);
        if let Some(splices) = &mut self.splices {
            **splices = Splices { stops_at: splices.stops_at, ..Splices::default() };
            self.settle();
        }
        self.follows.iter_mut().flat_map(|follows| &mut follows.0).for_each(|follow| follow.waiting = 0);
    }

    /// Makes what is left independent of its feed, `log`, and goes on at offset `at` of another one.
    pub(crate) fn move_to(&mut self, log: &Log, at: u64) {
        let mut rest = Splices { first_begun: self.is_inside_frame(log), ..Splices::default() };
        let copy = |rest: &mut Splices, piece: &[u8], cause| {
            if !piece.is_empty() {
                rest.inserted.append(piece);
                rest.own += if cause == Cause::Own { piece.len() } else { 0 };
                rest.list.push_back(Splice { at, action: Action::Insert { len: piece.len() as u32, cause } });
            }
        };
        let (mut cursor, end) = (self.cursor, self.end(log));
        let mut last = self.splices.take().map_or_else(Splices::default, |splices| *splices);
        rest.framed = last.framed;
        for splice in last.list {
            copy(&mut rest, log.between(cursor, splice.at), Cause::Own);
            cursor = splice.at;
            match splice.action {
                Action::Insert { len, cause } => {
                    copy(&mut rest, &last.inserted.as_slice()[..len as usize], cause);
                    last.inserted.advance(len as usize);
                }
                Action::Skip(len) => cursor += u64::from(len),
                action @ Action::Frame { .. } => rest.list.push_back(Splice { at, action }),
            }
        }
        copy(&mut rest, log.between(cursor, end), Cause::Own);
        self.cursor = at;
        self.splices = (!rest.list.is_empty()).then(|| Box::new(rest));
    }

    /// Keeps the rest of a frame that has been sent in part, and drops everything behind it; the
    /// cursor is then that of a connection without a feed.
    pub(crate) fn cut(&mut self, log: &Log) {
        let mut rest = Vec::new();
        if self.is_inside_frame(log) {
            let in_feed = (log.frame_end(self.cursor) - self.cursor) as usize;
            self.pieces(log, &mut |piece, _| {
                let is_inserted = self.splices.as_ref().is_some_and(|s| s.first_begun);
                rest.extend_from_slice(if is_inserted { piece } else { &piece[..in_feed] });
                // The piece of the feed in front of the first insert may be empty.
                rest.is_empty()
            });
        }
        *self = Self::default();
        self.insert(&Log::default(), &rest, Cause::Own);
        if let Some(splices) = &mut self.splices {
            splices.first_begun = true;
        }
    }

    fn is_inside_frame(&self, log: &Log) -> bool {
        self.splices.as_ref().is_some_and(|s| s.first_begun) || log.frame_end(self.cursor) != self.cursor
    }

    /// The feed offset at which everything queued ends.
    fn end(&self, log: &Log) -> u64 {
        let stops_at = self.splices.as_ref().and_then(|splices| splices.stops_at);
        stops_at.unwrap_or(log.end())
    }
}

impl Outbound {
    /// Panics if its sums are wrong; notes the memory of each frame that it holds, by its address.
    pub(crate) fn check_invariants(&self, frames: &mut std::collections::BTreeMap<usize, usize>) {
        let Some(splices) = &self.splices else {
            return assert!(self.follows().iter().all(|follow| follow.waiting == 0));
        };
        assert!(!splices.list.is_empty() || splices.stops_at.is_some(), "nothing is corrected");
        let mut framed = 0;
        for splice in &splices.list {
            if let Action::Frame { frame, feed, .. } = &splice.action {
                frames.insert(Rc::as_ptr(frame) as usize, frame.memory());
                framed += splice.waits_of(*feed) as usize;
            }
        }
        assert_eq!(splices.framed, framed);
        for follow in self.follows() {
            let waiting = splices.list.iter().map(|splice| splice.waits_of(follow.feed)).sum::<u32>();
            assert_eq!(follow.waiting, waiting);
        }
    }
}

fn find(follows: &mut Option<Box<Follows>>, feed: u32) -> Option<&mut Follow> {
    follows.as_mut()?.0.iter_mut().find(|follow| follow.feed == feed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::feed::Feed;

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
            outbound.insert(&feed.log, b"@bob: psst\n", Cause::Own);
            outbound.insert(&feed.log, b"! error\n", Cause::Own);
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
        outbound.insert(&old.log, b"(psst)\n", Cause::Own);
        publish(&mut old, "two\n");
        outbound.advance(2);
        outbound.move_to(&old.log, 0);
        outbound.move_to(&Log::default(), new.log.end());
        outbound.insert(&new.log, b"welcome\n", Cause::Own);
        publish(&mut new, "three\n");
        assert_eq!(drain(&mut outbound, &new.log, 3), "e\n(psst)\ntwo\nwelcome\nthree\n");
    }

    #[test]
    fn what_is_published_after_the_stop_is_not_sent_but_what_is_said_is() {
        for step in 1..20 {
            let mut feed = Feed::default();
            let mut outbound = Outbound::default();
            publish(&mut feed, "one\n");
            outbound.stop_at_end(&feed.log);
            outbound.insert(&feed.log, b"bye\n", Cause::Own);
            publish(&mut feed, "two\n");
            assert_eq!(drain(&mut outbound, &feed.log, step), "one\nbye\n");
            publish(&mut feed, "three\n");
            assert!(outbound.is_empty(&feed.log));
            outbound.skip_all(&feed.log);
            assert_eq!(outbound.lag(&feed.log), 0, "to throw all away does not undo the stop");
            outbound.move_to(&feed.log, 0);
            assert!(outbound.splices.is_none(), "who has left the feed has nothing to correct");
        }
    }

    /// With the place in the feed's list, it is at most 48 bytes for each feed that is followed.
    #[test]
    fn to_follow_takes_little_and_nothing_when_it_is_over() {
        let mut outbound = Outbound::default();
        for feed in 0..10 {
            outbound.follow(feed, 0);
            assert_eq!(outbound.memory(), 24 + 16 * (feed as usize + 1));
        }
        assert!((0..10).all(|feed| outbound.unfollow(feed).is_some()));
        assert_eq!(outbound.memory(), 0);
    }

    #[test]
    fn a_cut_ends_at_a_frame_boundary() {
        for sent in 0..=10 {
            let mut feed = Feed::default();
            let mut outbound = Outbound::default();
            publish(&mut feed, "one\n");
            outbound.insert(&feed.log, b"psst\n", Cause::Own);
            publish(&mut feed, "two\n");
            outbound.advance(sent);
            outbound.cut(&feed.log);
            outbound.cut(&Log::default()); // again: nothing more is lost
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
