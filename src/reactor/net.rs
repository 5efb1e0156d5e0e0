//! What a handler may ask of the loop.
//!
//! [`Net`] holds the book-keeping of all connections and no socket: each method only takes note.
//! Bytes are written, and connections removed, in the phases that follow (see [`super::turn`]), so a
//! handler may call anything at any time, and an error of one peer never surfaces in the handling of
//! another.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use slab::Slab;

use super::connection::{
    Connection, Deferred, Drained, FLUSH_TIME_MAX, Life, Origin, Reading, Subscription, UNREAD_REPLIES_MAX,
    Writing,
};
use super::counters::Counters;
use super::deadlines::Deadlines;
use super::feed::{ChannelId, Feeds, Log};
use super::outbound::{Cause, Follow, Outbound};
use super::{ConnectionId, Loss, Peer};
use crate::buffer::Buffer;
use crate::clock::{Millis, Now};
use crate::limits::Limits;

/// One turn publishes and answers no more than about so many bytes before the loop reads somebody else, and no
/// more than a quarter of what a feed keeps: so no turn takes a feed from its high watermark to its end.
const SPENT_PER_TURN_MAX: usize = 64 * 1024;

/// A queue is full: its owner has not read the last ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Net {
    pub(super) now: Now,
    pub(super) limits: Rc<Limits>,
    pub(super) counters: Counters,
    pub(super) connections: Slab<Connection>,
    pub(super) feeds: Feeds,
    pub(super) deadlines: Deadlines,
    /// Connections to serve, in order.
    pub(super) ready: VecDeque<ConnectionId>,
    /// Connections that have something to send besides their feed, or that can be sent to again.
    pub(super) unsent: Vec<ConnectionId>,
    /// Feeds that have grown since they were last flushed.
    pub(super) dirty: Vec<u32>,
    /// Feeds that somebody has left who was behind.
    pub(super) to_trim: Vec<u32>,
    /// Connections that are doomed or gone, for *reap*.
    pub(super) ending: VecDeque<ConnectionId>,
    /// Whom *accept* begins to connect to.
    pub(super) dials: Vec<(ConnectionId, SocketAddr)>,
    /// The handler wants the loop to stop.
    pub(super) wants_stop: bool,
    /// How many connections wait to be heard: for their rate, or for a channel.
    pub(super) waiting: usize,
    /// Memory held for single connections, in bytes; the feeds count their own.
    pub(super) memory: usize,
    /// So many bytes this turn has published and answered already.
    pub(super) spent: usize,
    next_generation: u32,
    /// Where frames are encoded; kept for its memory.
    frame: Vec<u8>,
    /// Who is left out of what is published; kept for its memory.
    except: Vec<ConnectionId>,
}

impl Net {
    pub(super) fn new(limits: Rc<Limits>) -> Self {
        Self {
            now: Now::default(),
            limits,
            counters: Counters::default(),
            connections: Slab::new(),
            feeds: Feeds::default(),
            deadlines: Deadlines::default(),
            ready: VecDeque::new(),
            unsent: Vec::new(),
            dirty: Vec::new(),
            to_trim: Vec::new(),
            ending: VecDeque::new(),
            dials: Vec::new(),
            wants_stop: false,
            waiting: 0,
            memory: 0,
            spent: 0,
            next_generation: 0,
            frame: Vec::new(),
            except: Vec::new(),
        }
    }

    /// The time of this turn. Time in which the whole process was stopped does not count as monotonic time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The limits the loop was made with.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes of memory held for peers that have not taken them, or not said the rest, yet: all feeds and queues.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.memory + self.feeds.memory()
    }

    /// Bytes of memory held in all feeds.
    #[must_use]
    pub fn feed_bytes(&self) -> usize {
        self.feeds.memory()
    }

    /// Connections that are open, those included that are closing.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Opens a channel.
    pub fn open_channel(&mut self) -> ChannelId {
        self.feeds.open_channel()
    }

    /// Closes a channel. Those who are still subscribed get what was published before; nobody follows it any more.
    pub fn close_channel(&mut self, channel: ChannelId) {
        for index in (0..self.feeds.of_channel(channel).len()).rev() {
            let (_, key) = self.feeds.of_channel(channel)[index];
            while let Some(&slot) = self.feeds.feed(key).followers.last() {
                self.unfollow_feed(slot, key);
            }
            self.feeds.close_if_unread(key);
        }
        for id in self.feeds.close_channel(channel).throttle.deferred {
            self.resume(id);
        }
    }

    /// Publishes one event to all subscribers of a channel but those in `except`, each named once. `encode` appends it,
    /// as one or more whole frames, in the encoding that it is asked for; it is asked for each that somebody reads,
    /// once.
    pub fn publish(
        &mut self,
        channel: ChannelId,
        except: impl IntoIterator<Item = ConnectionId>,
        mut encode: impl FnMut(u8, &mut Vec<u8>),
    ) {
        let (mut frame, mut sorted) = (std::mem::take(&mut self.frame), std::mem::take(&mut self.except));
        sorted.clear();
        sorted.extend(except);
        sorted.sort_unstable();
        let mut longest = 0;
        for index in 0..self.feeds.of_channel(channel).len() {
            let (variant, key) = self.feeds.of_channel(channel)[index];
            let feed = self.feeds.feed(key);
            if feed.subscribers.is_empty() && feed.followers.is_empty() {
                continue;
            }
            frame.clear();
            encode(variant, &mut frame);
            longest = longest.max(frame.len());
            self.append(key, &frame, &sorted);
        }
        (self.frame, self.except) = (frame, sorted);
        self.spent += longest;
    }

    /// Appends a frame to a feed, but for those in `except`, which is sorted.
    fn append(&mut self, key: u32, frame: &[u8], except: &[ConnectionId]) {
        if frame.is_empty() {
            return;
        }
        self.append_to_followers(key, frame, except);
        if self.feeds.feed(key).subscribers.is_empty() {
            return;
        }
        self.feeds.append(key, frame);
        let feed = self.feeds.feed_mut(key);
        self.counters.deliveries += feed.subscribers.len() as u64;
        if !std::mem::replace(&mut feed.is_dirty, true) {
            self.dirty.push(key);
        }
        for &id in except {
            let subscription = self.peek(id).and_then(|c| c.subscription);
            if subscription.is_some_and(|s| s.feed == key && !s.is_leaving) {
                self.counters.deliveries -= 1;
                self.change_outbound(id, |outbound, log| outbound.skip_last(log, frame.len()));
            }
        }
    }

    /// Sends `bytes`, one or more whole frames, to one connection, as the answer to what it said. Does nothing if
    /// it is no longer open. It is not read while it leaves more than 64 KiB of its answers unread. A long answer is
    /// sent in pieces, the next one when the last is [`drained`](Net::when_drained): what is queued at once counts
    /// against `max_buffered_bytes`, and whoever it is held for may be closed for it.
    pub fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        if self.is_open(id) {
            self.insert(id, bytes, Cause::Own);
        }
    }

    /// Sends `bytes`, one or more whole frames, to one connection because somebody else wants it.
    ///
    /// # Errors
    /// It has not read the last ones: at least `feed_bytes` of them are waiting.
    pub fn try_send(&mut self, id: ConnectionId, bytes: &[u8]) -> Result<(), QueueFull> {
        if self.is_queue_full(id) {
            return Err(QueueFull);
        }
        if self.is_open(id) {
            self.insert(id, bytes, Cause::Others);
        }
        Ok(())
    }

    /// Whether [`Net::try_send`] would refuse.
    #[must_use]
    pub fn is_queue_full(&self, id: ConnectionId) -> bool {
        let waiting = self.peek(id).map_or(0, |c| c.outbound.of_others());
        self.limits.feed_bytes.is_some_and(|max| waiting >= max)
    }

    /// Queues `bytes`, also behind the last words of a connection that is closing.
    pub(super) fn insert(&mut self, id: ConnectionId, bytes: &[u8], cause: Cause) {
        self.spent += bytes.len();
        self.change_outbound(id, |outbound, log| outbound.insert(log, bytes, cause));
        self.note_unsent(id);
    }

    /// Changes what a connection is still to be sent, given the log of its feed.
    pub(super) fn change_outbound(&mut self, id: ConnectionId, change: impl FnOnce(&mut Outbound, &Log)) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        self.memory -= connection.outbound.memory();
        match connection.subscription {
            Some(s) => change(&mut connection.outbound, &self.feeds.feed(s.feed).log),
            None => change(&mut connection.outbound, &Log::default()),
        }
        self.memory += connection.outbound.memory();
    }

    /// Says how many bytes of a connection's input the handler keeps itself, so that they are counted.
    pub fn keeps(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(connection) = find(&mut self.connections, id) {
            self.memory -= connection.kept_bytes as usize;
            connection.kept_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.memory += connection.kept_bytes as usize;
        }
    }

    /// As much was published and answered as one turn should: whoever has more to say does so in the next one.
    #[must_use]
    pub fn is_turn_full(&self) -> bool {
        let quarter = self.limits.feed_bytes.map_or(usize::MAX, |max| max / 4);
        // A turn that has spent nothing is not full, or no turn would ever read anything.
        self.spent >= SPENT_PER_TURN_MAX.min(quarter).max(1)
    }

    /// How many bytes are queued for a connection and not taken by the system.
    #[must_use]
    pub fn queued_bytes(&self, id: ConnectionId) -> usize {
        let Some(connection) = self.peek(id) else { return 0 };
        match connection.subscription {
            Some(s) => connection.outbound.queued(&self.feeds.feed(s.feed).log),
            None => connection.outbound.queued(&Log::default()),
        }
    }

    /// Asks for [`Handler::drained`](super::Handler::drained), once, when the system has taken all that is queued for a
    /// connection; soon, if nothing is.
    pub fn when_drained(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id).filter(|c| c.is_open()) {
            connection.drained = Drained::Asked;
            self.note_unsent(id);
        }
    }

    /// Keeps a connection open whose peer says no more, until [`Net::close`]: there is more to send, and it will come when
    /// it comes. To be called in [`Handler::ended`](super::Handler::ended).
    pub fn hold_open(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id).filter(|c| c.is_open()) {
            connection.drained = Drained::Held;
        }
    }

    /// Stops the loop, as a signal does: [`Handler::stopping`](super::Handler::stopping) follows in the next turn.
    pub fn stop(&mut self) {
        self.wants_stop = true;
    }

    /// Moves a connection to a channel, in one encoding of its events: it gets what is published from now on,
    /// after what it was still to be sent from its last one.
    pub fn subscribe(&mut self, id: ConnectionId, channel: ChannelId, variant: u8) {
        if !self.is_open(id) {
            return;
        }
        let key = self.feeds.open_feed(channel, variant);
        if find(&mut self.connections, id).and_then(|c| c.subscription).is_some_and(|s| s.feed == key) {
            return;
        }
        let end = self.feeds.feed(key).log.end();
        self.spend_on_queue(id);
        self.leave_feed(id, |outbound, log| outbound.move_to(log, end));
        if self.peek(id).is_some_and(|c| c.outbound.has_splices()) {
            // What was published in this turn is not in its feed any more when that is flushed.
            self.note_unsent(id);
        }
        let feed = self.feeds.feed_mut(key);
        let position = feed.subscribers.len() as u32;
        feed.subscribers.push(id.index);
        if let Some(connection) = find(&mut self.connections, id) {
            connection.subscription =
                Some(Subscription { feed: key, position, is_leaving: false, is_behind: false });
        }
    }

    /// What is queued for a connection is gone through: that is as much work as to say it, and counts as such.
    pub(super) fn spend_on_queue(&mut self, id: ConnectionId) {
        self.spent += self.peek(id).map_or(0, |c| c.outbound.memory());
    }

    /// Who is at the other end of a connection.
    #[must_use]
    pub fn peer(&self, id: ConnectionId) -> Option<Peer> {
        self.peek(id).map(|c| c.peer)
    }

    /// Whether a connection can still be sent to.
    #[must_use]
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.peek(id).is_some_and(Connection::is_open)
    }

    /// Whether a connection has said something that the handler was not given so far.
    #[must_use]
    pub fn has_input(&self, id: ConnectionId) -> bool {
        self.peek(id).is_some_and(Connection::has_input)
    }

    /// Closes a connection when all that is queued for it has been written. The handler hears nothing
    /// of it any more.
    pub fn close(&mut self, id: ConnectionId) {
        self.end(id, false);
    }

    /// As [`Net::close`], for a person who has said good-bye. If the peer has not closed its side half a second after
    /// ours was closed, it is reset: `nc` ends then, which otherwise stays until it is given another line to send. What
    /// was sent before is not lost to whoever takes `slowest` bytes per second: it has the time for that.
    pub fn hang_up(&mut self, id: ConnectionId) {
        self.end(id, true);
    }

    fn end(&mut self, id: ConnectionId, is_hanging_up: bool) {
        let until = self.now.monotonic.after(FLUSH_TIME_MAX);
        let Some(connection) = find(&mut self.connections, id) else { return };
        match connection.life {
            Life::Open(_) if connection.writing != Writing::Broken => {
                self.set_life(id, Life::Closing { until, is_hanging_up });
                self.drop_input(id);
                self.stop_at_end(id);
                self.note_unsent(id);
                self.arm(id);
            }
            Life::Connecting { .. } | Life::Open(_) | Life::Doomed(_) => self.remove(id),
            Life::Closing { .. } | Life::Lingering { .. } | Life::Gone => {}
        }
    }

    /// Closes all connections, as [`Net::close`] does.
    pub fn close_all(&mut self) {
        let open: Vec<ConnectionId> = self.connections.iter().map(|(_, c)| c.id).collect();
        open.into_iter().for_each(|id| self.close(id));
    }

    /// Whether there is more in a connection's socket than was read.
    #[must_use]
    pub fn is_unread(&self, id: ConnectionId) -> bool {
        self.peek(id).is_some_and(|c| !matches!(c.reading, Reading::Drained | Reading::Ended))
    }

    /// Asks for [`Handler::woken`](super::Handler::woken) at `at`, or at the next tick of the clock if
    /// that is past; replaces what was asked for before.
    pub fn wake_at(&mut self, id: ConnectionId, at: Millis) {
        // Strictly later, or a handler that asks for "now" when it is woken would keep the loop in its place.
        let at = at.max(Millis(self.now.monotonic.0 + 1));
        if let Some(connection) = find(&mut self.connections, id) {
            connection.wake_at = at;
            self.arm(id);
        }
    }

    // What follows is for the loop itself.

    pub(super) fn peek(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id.index as usize).filter(|c| c.id == id)
    }

    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        find(&mut self.connections, id)
    }

    pub(super) fn open(&mut self, peer: Peer, origin: Origin) -> ConnectionId {
        // Generation 0 belongs to the tokens that are not connections.
        self.next_generation = self.next_generation.wrapping_add(1).max(1);
        let entry = self.connections.vacant_entry();
        let id = ConnectionId { index: entry.key() as u32, generation: self.next_generation };
        entry.insert(Connection::new(id, peer, origin));
        id
    }

    /// Queues a connection for the phase *serve*, once.
    pub(super) fn note_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id)
            && !std::mem::replace(&mut connection.is_listed_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Queues a connection for the phase *flush*, once.
    pub(super) fn note_unsent(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id)
            && !std::mem::replace(&mut connection.is_listed_unsent, true)
        {
            self.unsent.push(id);
        }
    }

    /// Sets the deadline of a connection, after something was changed that it depends on.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id) {
            let at = connection.deadline(&self.limits);
            self.deadlines.set(id.index, at);
        }
    }

    /// Gives up a connection: nothing is queued for it from here on, and *reap* tells the handler.
    pub(super) fn doom(&mut self, id: ConnectionId, loss: Loss) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        match connection.life {
            Life::Connecting { .. } | Life::Open(_) => {
                self.set_life(id, Life::Doomed(loss));
                self.ending.push_back(id);
                match loss {
                    Loss::Slow => self.counters.lost_slow += 1,
                    Loss::Broken => self.counters.lost_broken += 1,
                    Loss::NotConnected(_) => {}
                }
                self.stop_waiting_for(id);
                self.arm(id);
            }
            Life::Closing { .. } | Life::Lingering { .. } => self.remove(id),
            Life::Doomed(_) | Life::Gone => {}
        }
    }

    /// Lets *reap* remove a connection.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id)
            && connection.life != Life::Gone
        {
            if !matches!(connection.life, Life::Doomed(_)) {
                self.ending.push_back(id);
            }
            self.set_life(id, Life::Gone);
            self.arm(id);
        }
    }

    /// The last of a connection: whatever was held for it is given back.
    pub(super) fn forget(&mut self, id: ConnectionId) -> Option<Connection> {
        self.drop_input(id);
        self.keeps(id, 0);
        self.unfollow_all(id);
        self.leave_feed(id, |outbound, _| *outbound = Outbound::default());
        self.deadlines.set(id.index, Millis::NEVER);
        find(&mut self.connections, id)?;
        self.connections.try_remove(id.index as usize)
    }

    /// Drops all that is queued but the rest of a frame that has been sent in part, and closes the connection
    /// behind `last_words`.
    pub(super) fn close_behind(&mut self, id: ConnectionId, last_words: &[u8]) {
        self.release(id);
        let until = self.now.monotonic.after(FLUSH_TIME_MAX);
        self.set_life(id, Life::Closing { until, is_hanging_up: false });
        self.insert(id, last_words, Cause::Own);
        self.note_unsent(id);
        self.arm(id);
    }

    /// The peer can no longer be written to. It is read to its end all the same: what it said before it
    /// went away counts. What is queued for it is thrown away, in each *flush* again.
    pub(super) fn break_output(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if let Life::Closing { .. } | Life::Lingering { .. } = connection.life {
            return self.remove(id);
        }
        connection.writing = Writing::Broken;
        connection.progress_at = Millis::NEVER;
        self.discard_output(id);
        self.note_broken(id);
    }

    /// Whether a connection can still hear something, now or after what was held for it.
    pub(super) fn is_writable(&mut self, id: ConnectionId) -> bool {
        find(&mut self.connections, id).is_some_and(|c| c.writing != Writing::Broken)
    }

    /// The connection is broken. What has arrived is still read, if the peer has not said more than it may.
    pub(super) fn note_broken(&mut self, id: ConnectionId) {
        let at = self.now.monotonic;
        self.stop_waiting_for(id);
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.is_alive() && connection.reading == Reading::Ended {
            // All of it was heard, and nobody hears the rest of the answer.
            return self.doom(id, Loss::Broken);
        }
        connection.reading = Reading::Broken;
        match connection.deferred() {
            Deferred::Paused { .. } => self.doom(id, Loss::Broken),
            // It waits for others, not for itself: for as long as anybody who has closed its side.
            Deferred::Throttled => connection.reading = Reading::PeerClosed { at },
            // The handler does not wait for anybody here.
            Deferred::Awaited => {}
            Deferred::No | Deferred::Yielded => self.note_ready(id),
        }
        self.arm(id);
    }

    /// Throws away what is queued for a connection.
    pub(super) fn discard_output(&mut self, id: ConnectionId) {
        self.change_outbound(id, Outbound::skip_all);
        self.update_lag(id.index);
    }

    /// The peer has taken the next `count` bytes.
    pub(super) fn sent(&mut self, id: ConnectionId, count: usize) {
        let mut is_readable_again = false;
        self.change_outbound(id, |outbound, _| {
            let was_choked = outbound.own() > UNREAD_REPLIES_MAX;
            outbound.advance(count);
            is_readable_again = was_choked && outbound.own() <= UNREAD_REPLIES_MAX;
        });
        if let (Some(connection), Some(slowest)) = (find(&mut self.connections, id), self.limits.slowest) {
            if connection.progress_at == Millis::NEVER {
                connection.reader.begin(self.now.monotonic);
            }
            connection.reader.took(count, slowest, self.now.monotonic);
        }
        self.counters.writes += 1;
        self.counters.bytes_out += count as u64;
        if is_readable_again {
            // It was not read while its own replies waited.
            self.note_ready(id);
        }
    }

    /// Takes note that something is left for a peer to take, after it has taken `count` bytes.
    pub(super) fn note_left(&mut self, slot: u32, count: usize) {
        let now = self.now.monotonic;
        let connection = &mut self.connections[slot as usize];
        if connection.progress_at == Millis::NEVER {
            connection.reader.begin(now);
        }
        if connection.progress_at == Millis::NEVER || count > 0 {
            connection.progress_at = now;
        }
    }

    /// Takes note that a peer, for whom something was left or whose handler wants to know, has taken everything.
    pub(super) fn note_drained(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.progress_at = Millis::NEVER;
        if connection.drained == Drained::Asked {
            connection.drained = Drained::Due;
            self.note_ready(id);
        }
        self.update_throttle(id, 0);
        self.arm(id);
    }

    /// Gives back what is held for a connection that was given up; what it hears last follows the frame that has
    /// been sent in part.
    pub(super) fn release(&mut self, id: ConnectionId) {
        self.unfollow_all(id);
        self.leave_feed(id, Outbound::cut);
        self.drop_input(id);
    }

    /// Changes why the input of a connection that is open is deferred.
    pub(super) fn set_deferred(&mut self, id: ConnectionId, next: Deferred) {
        if find(&mut self.connections, id).is_some_and(|c| c.is_alive()) {
            self.set_life(id, Life::Open(next));
        }
    }

    fn set_life(&mut self, id: ConnectionId, next: Life) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let waits = |life| usize::from(matches!(life, Life::Open(deferred) if deferred.is_waiting()));
        self.waiting = self.waiting + waits(next) - waits(connection.life);
        connection.life = next;
    }

    /// Keeps `input` until the handler takes it.
    pub(super) fn set_input(&mut self, id: ConnectionId, input: Buffer) {
        if let Some(connection) = find(&mut self.connections, id) {
            self.memory -= connection.input_memory();
            connection.input = (!input.is_empty()).then(|| Box::new(input));
            self.memory += connection.input_memory();
        }
    }

    /// Takes what was kept of a connection's input.
    pub(super) fn take_input(&mut self, id: ConnectionId) -> Buffer {
        let Some(connection) = find(&mut self.connections, id) else { return Buffer::default() };
        self.memory -= connection.input_memory();
        connection.input.take().map_or_else(Buffer::default, |input| *input)
    }

    fn drop_input(&mut self, id: ConnectionId) {
        self.take_input(id);
    }

    /// How many bytes a connection is behind in its feed; the feed counts those who are.
    pub(super) fn update_lag(&mut self, slot: u32) -> u64 {
        let connection = &mut self.connections[slot as usize];
        let Some(subscription) = &mut connection.subscription else { return 0 };
        let feed = self.feeds.feed_mut(subscription.feed);
        let lag = connection.outbound.lag(&feed.log);
        feed.behind = feed.behind + u32::from(lag > 0) - u32::from(subscription.is_behind);
        if subscription.is_behind && lag == 0 && !std::mem::replace(&mut feed.wants_trim, true) {
            self.to_trim.push(subscription.feed);
        }
        subscription.is_behind = lag > 0;
        lag
    }

    /// What is published from now on is not for this connection any more.
    fn stop_at_end(&mut self, id: ConnectionId) {
        self.set_waited_for(id, false);
        self.unfollow_all(id);
        if find(&mut self.connections, id).is_none() || self.update_lag(id.index) == 0 {
            return self.leave_feed_at_end(id);
        }
        self.change_outbound(id, Outbound::stop_at_end);
        let Some(subscription) = self.leave_list(id) else { return };
        let leaving = &mut self.feeds.feed_mut(subscription.feed).leaving;
        let position = leaving.len() as u32;
        leaving.push(id.index);
        if let Some(connection) = find(&mut self.connections, id) {
            connection.subscription = Some(Subscription { position, is_leaving: true, ..subscription });
        }
    }

    /// Takes a connection off its feed; what it was still to be sent stays queued.
    pub(super) fn leave_feed_at_end(&mut self, id: ConnectionId) {
        self.leave_feed(id, |outbound, log| outbound.move_to(log, 0));
    }

    /// Takes a connection off its feed, if it has one; `part` decides what becomes of the queued bytes.
    fn leave_feed(&mut self, id: ConnectionId, part: impl FnOnce(&mut Outbound, &Log)) {
        self.set_waited_for(id, false);
        self.change_outbound(id, part);
        let Some(subscription) = self.leave_list(id) else { return };
        let feed = self.feeds.feed_mut(subscription.feed);
        if subscription.is_behind {
            feed.behind -= 1;
            self.to_trim
                .extend((!std::mem::replace(&mut feed.wants_trim, true)).then_some(subscription.feed));
        }
        self.feeds.close_if_unread(subscription.feed);
    }

    /// Takes a connection off the list of its feed that it is on.
    fn leave_list(&mut self, id: ConnectionId) -> Option<Subscription> {
        let subscription = find(&mut self.connections, id)?.subscription.take()?;
        let list = self.feeds.feed_mut(subscription.feed).list(subscription.is_leaving);
        list.swap_remove(subscription.position as usize);
        if let Some(&moved) = list.get(subscription.position as usize)
            && let Some(moved) = &mut self.connections[moved as usize].subscription
        {
            moved.position = subscription.position;
        }
        Some(subscription)
    }

    /// Gives back what nobody needs of a feed.
    pub(super) fn trim(&mut self, key: u32) {
        let Some(feed) = self.feeds.get(key).filter(|feed| feed.wants_trim) else { return };
        let oldest = if feed.behind == 0 && !feed.is_dirty {
            feed.log.end()
        } else {
            let cursors = feed.readers().map(|slot| self.connections[slot as usize].outbound.cursor());
            cursors.min().unwrap_or(feed.log.end())
        };
        self.feeds.feed_mut(key).wants_trim = false;
        self.feeds.trim(key, oldest);
    }

    /// Bytes that giving up a connection would free: what is held for it alone, and its share of what feeds keep for
    /// those who are behind.
    pub(super) fn held_for(&self, connection: &Connection) -> usize {
        let lag = connection.subscription.map_or(0, |subscription| {
            let feed = self.feeds.feed(subscription.feed);
            connection.outbound.lag(&feed.log) / u64::from(feed.behind.max(1))
        });
        let follows = connection.outbound.follows().iter();
        let share =
            |follow: &Follow| follow.waiting as usize / self.feeds.feed(follow.feed).followers.len().max(1);
        let followed = follows.map(share).sum::<usize>();
        lag as usize + followed + connection.memory()
    }
}

pub(super) fn find(connections: &mut Slab<Connection>, id: ConnectionId) -> Option<&mut Connection> {
    connections.get_mut(id.index as usize).filter(|c| c.id.generation == id.generation)
}
