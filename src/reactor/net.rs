//! What a handler may ask of the loop.
//!
//! [`Net`] holds the book-keeping of all connections and no socket: each method only takes note.
//! Bytes are written, and connections removed, in the phases that follow (see [`super::turn`]), so a
//! handler may call anything at any time, and an error of one peer never surfaces in the handling of
//! another.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use slab::Slab;

use super::connection::{Connection, FLUSH_TIME_MAX, Pace, Phase, Subscription};
use super::deadlines::Deadlines;
use super::feed::{Channels, FeedId, Log};
use super::outbound::Outbound;
use super::{ConnectionId, Loss};
use crate::clock::{Millis, Now};

/// Own replies a peer may leave unread before its requests are no longer read, in bytes.
pub(super) const UNREAD_REPLIES_MAX: usize = 64 * 1024;

/// What the loop grants to its peers. `None` turns a limit off.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once (`--max-connections`).
    pub connections_max: Option<usize>,
    /// Connections open at once from one address (`--max-per-ip`).
    pub per_ip_max: Option<usize>,
    /// Addresses that `per_ip_max` does not count, and that a handler may spare too (`--exempt`).
    pub exempt: Vec<IpNet>,
    /// Bytes that a feed keeps for those who are behind, and bytes that one connection may have
    /// waiting besides its feed (`--feed-bytes`).
    pub feed_bytes_max: Option<u64>,
    /// Bytes that all feeds and queues hold together (`--max-buffered-bytes`).
    pub buffered_bytes_max: Option<usize>,
    /// How long a peer may accept nothing while something waits for it (`--stall`).
    pub stall_time_max: Option<Duration>,
}

impl Default for Limits {
    /// No limits, apart from what slow peers may cost: 256 KiB and 10 s each, and 64 MiB together.
    fn default() -> Self {
        Self {
            connections_max: None,
            per_ip_max: None,
            exempt: Vec::new(),
            feed_bytes_max: Some(256 * 1024),
            buffered_bytes_max: Some(64 * 1024 * 1024),
            stall_time_max: Some(Duration::from_secs(10)),
        }
    }
}

impl Limits {
    /// Whether `ip` is on the list of those who are spared.
    #[must_use]
    pub fn is_exempt(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.exempt.iter().any(|net| net.contains(&ip))
    }
}

/// What the loop has counted since it started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Connections accepted and let in.
    pub accepted: u64,
    /// Connections refused for `connections_max`.
    pub refused_full: u64,
    /// Connections refused for `per_ip_max`.
    pub refused_per_ip: u64,
    /// Errors of `accept(2)`, those included that concern one connection only.
    pub accept_errors: u64,
    /// Bytes read from peers.
    pub bytes_in: u64,
    /// Bytes written to peers.
    pub bytes_out: u64,
    /// Writes that moved at least one byte.
    pub writes: u64,
    /// Writes that met a full socket.
    pub blocked_writes: u64,
    /// Changes of interest: `epoll_ctl(2)` after the first registration.
    pub interest_changes: u64,
    /// Frames published, counted once per subscriber they were meant for.
    pub deliveries: u64,
    /// Peers given up for being slow.
    pub lost_slow: u64,
    /// Peers whose connection broke.
    pub lost_broken: u64,
    /// Times that producers were held for a reader that was behind.
    pub holds: u64,
    /// Times that a peer's input was put off for its rate.
    pub pauses: u64,
    /// Turns of the loop that are over.
    pub turns: u64,
    /// What they took, without waiting, in microseconds.
    pub busy_us: u64,
    /// How many took at most as long as each of [`TURN_TIME_BOUNDS_US`], and longer than the one before.
    pub turn_times: [u64; TURN_TIME_BOUNDS_US.len()],
}

/// Upper bounds of the histogram of turn times, in microseconds.
pub const TURN_TIME_BOUNDS_US: [u64; 10] =
    [50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000];

impl Counters {
    pub(super) fn count_turn(&mut self, busy: Duration) {
        let busy_us = busy.as_micros() as u64;
        self.turns += 1;
        self.busy_us += busy_us;
        if let Some(bucket) = TURN_TIME_BOUNDS_US.iter().position(|&bound| busy_us <= bound) {
            self.turn_times[bucket] += 1;
        }
    }
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Net {
    pub(super) now: Now,
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    pub(super) connections: Slab<Connection>,
    pub(super) channels: Channels,
    pub(super) deadlines: Deadlines,
    /// Connections to serve, in order.
    pub(super) ready: VecDeque<ConnectionId>,
    /// Connections that have something to send besides their feed, or that can be sent to again.
    pub(super) unsent: Vec<ConnectionId>,
    /// Feeds that have grown since they were last flushed.
    pub(super) dirty: Vec<FeedId>,
    /// Connections the loop has given up, for *reap* to tell the handler.
    pub(super) lost: Vec<(ConnectionId, Loss)>,
    /// Connections that could no longer be written to.
    pub(super) broken: Vec<ConnectionId>,
    /// Connections to remove.
    pub(super) gone: Vec<ConnectionId>,
    /// Bytes waiting in inserts and inputs of all connections; the feeds count their own.
    pub(super) queued_bytes: usize,
    next_generation: u32,
}

impl Net {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            now: Now::default(),
            limits,
            counters: Counters::default(),
            connections: Slab::new(),
            channels: Channels::default(),
            deadlines: Deadlines::default(),
            ready: VecDeque::new(),
            unsent: Vec::new(),
            dirty: Vec::new(),
            lost: Vec::new(),
            broken: Vec::new(),
            gone: Vec::new(),
            queued_bytes: 0,
            next_generation: 0,
        }
    }

    /// The time of this turn.
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

    /// Bytes held for peers that have not taken them yet: all feeds and queues.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.queued_bytes + self.channels.memory()
    }

    /// Bytes held in all feeds.
    #[must_use]
    pub fn feed_bytes(&self) -> usize {
        self.channels.memory()
    }

    /// Connections that are open, those included that are closing.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Opens a channel with empty feeds.
    pub fn open_channel(&mut self) -> u32 {
        self.channels.open()
    }

    /// Closes a channel that nobody is subscribed to.
    ///
    /// # Panics
    /// If somebody is.
    pub fn close_channel(&mut self, channel: u32) {
        self.channels.close(channel);
        self.dirty.retain(|feed| feed.channel != channel);
    }

    /// Whether anybody reads `feed`; if not, there is no need to encode anything for it.
    #[must_use]
    pub fn has_subscribers(&self, feed: FeedId) -> bool {
        !self.channels.feed(feed).subscribers.is_empty()
    }

    /// Sends `frame` to all subscribers of `feed`.
    pub fn publish(&mut self, feed: FeedId, frame: &[u8]) {
        self.publish_except(feed, frame, None);
    }

    /// Sends `frame`, one whole frame of the feed's encoding, to all subscribers of `feed` but `except`.
    pub fn publish_except(&mut self, id: FeedId, frame: &[u8], except: Option<ConnectionId>) {
        let feed = self.channels.feed_mut(id);
        if feed.subscribers.is_empty() || frame.is_empty() {
            return;
        }
        self.counters.deliveries += feed.subscribers.len() as u64;
        feed.append(frame);
        if !feed.dirty {
            feed.dirty = true;
            self.dirty.push(id);
        }
        if let Some(except) = except
            && let Some(connection) = find(&mut self.connections, except)
            && connection.subscription.is_some_and(|s| s.feed == id)
        {
            self.counters.deliveries -= 1;
            connection.outbound.skip_last(&feed.log, frame.len());
        }
    }

    /// Sends `bytes`, one or more whole frames, to one connection. Does nothing if it is no longer open.
    ///
    /// A connection that has more than `feed_bytes_max` waiting already is given up as slow.
    pub fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        let limit = self.limits.feed_bytes_max.unwrap_or(u64::MAX);
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.phase == Phase::Open && connection.outbound.inserted() as u64 > limit {
            self.lose(id, Loss::Slow);
        } else {
            self.send_control(id, bytes);
        }
    }

    /// As [`Net::send`], beyond any limit: for control frames, and for the reason of a close.
    pub fn send_control(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.phase != Phase::Open || connection.is_broken {
            return;
        }
        match connection.subscription {
            Some(s) => connection.outbound.insert(&self.channels.feed(s.feed).log, bytes),
            None => connection.outbound.insert(&Log::default(), bytes),
        }
        self.queued_bytes += bytes.len();
        self.note_unsent(id);
    }

    /// Moves a connection to `feed`: it gets what is published from now on, after what it was still
    /// to be sent from its last feed.
    pub fn subscribe(&mut self, id: ConnectionId, feed: FeedId) {
        self.unsubscribe(id);
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.phase != Phase::Open || connection.is_broken {
            return;
        }
        let subscribers = &mut self.channels.feed_mut(feed).subscribers;
        let position = subscribers.len() as u32;
        subscribers.push(id.index);
        connection.subscription = Some(Subscription { feed, position, is_behind: false });
        connection.outbound.attach(&self.channels.feed(feed).log);
    }

    /// Whether a connection can still be sent to.
    #[must_use]
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.connections
            .get(id.index as usize)
            .is_some_and(|c| c.id == id && c.phase == Phase::Open && !c.is_broken)
    }

    /// Takes a connection off its feed; what it was still to be sent from it stays queued.
    pub fn unsubscribe(&mut self, id: ConnectionId) {
        if find(&mut self.connections, id).is_some_and(|c| c.subscription.is_some()) {
            self.leave_feed(id, |outbound, log| outbound.detach(log, 0));
        }
    }

    /// Closes a connection when all that is queued for it has been written. The handler hears nothing
    /// of it any more.
    pub fn close(&mut self, id: ConnectionId) {
        match find(&mut self.connections, id).map(|c| c.phase) {
            Some(Phase::Open) => self.unsubscribe(id),
            // It leaves its feed at once: the handler may close the channel before *reap* comes.
            Some(Phase::Poisoned) => return self.abort(id),
            Some(Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Gone) | None => return,
        }
        let until = self.now.monotonic.after(FLUSH_TIME_MAX);
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.is_broken {
            return self.remove(id);
        }
        connection.phase = Phase::Closing { until };
        self.queued_bytes -= connection.input.capacity();
        connection.input = Vec::new();
        self.note_unsent(id);
        self.arm(id);
    }

    /// Closes a connection at once, whatever is queued for it. The handler hears nothing of it any more.
    pub fn abort(&mut self, id: ConnectionId) {
        self.leave_feed(id, |outbound, _| *outbound = Outbound::default());
        self.remove(id);
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

    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        find(&mut self.connections, id)
    }

    pub(super) fn insert(&mut self, counted_as: Option<IpAddr>) -> ConnectionId {
        // Generation 0 belongs to the tokens that are not connections.
        self.next_generation = self.next_generation.wrapping_add(1).max(1);
        let entry = self.connections.vacant_entry();
        let id = ConnectionId { index: entry.key() as u32, generation: self.next_generation };
        entry.insert(Connection::new(id, counted_as));
        id
    }

    /// Queues a connection for the phase *serve*, once.
    pub(super) fn note_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.ready.push_back(id);
        }
    }

    /// Queues a connection for the phase *flush*, once.
    pub(super) fn note_unsent(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id)
            && !connection.is_unsent
        {
            connection.is_unsent = true;
            self.unsent.push(id);
        }
    }

    /// Sees to it that the next deadline of a connection is among the deadlines.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let at = connection.deadline(&self.limits);
        if at < connection.armed_at {
            connection.armed_behind = connection.armed_at;
            connection.armed_at = at;
            self.deadlines.push(at, id);
        }
    }

    /// Gives up a connection: nothing is queued for it from here on, and *reap* tells the handler.
    pub(super) fn lose(&mut self, id: ConnectionId, loss: Loss) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        match connection.phase {
            Phase::Open => {
                connection.phase = Phase::Poisoned;
                self.lost.push((id, loss));
                match loss {
                    Loss::Slow => self.counters.lost_slow += 1,
                    Loss::Broken => self.counters.lost_broken += 1,
                }
            }
            Phase::Poisoned => {}
            Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Gone => self.remove(id),
        }
    }

    /// Lets *reap* remove a connection.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id)
            && connection.phase != Phase::Gone
        {
            connection.phase = Phase::Gone;
            self.gone.push(id);
        }
    }

    /// Drops all that is queued but the rest of a frame that has been sent in part, so that last words
    /// can follow; the connection is open again for them.
    pub(super) fn cut(&mut self, id: ConnectionId) {
        self.leave_feed(id, Outbound::cut);
        if let Some(connection) = find(&mut self.connections, id) {
            connection.phase = Phase::Open;
        }
    }

    /// How many bytes a connection is behind in its feed; the feed counts those who are.
    pub(super) fn update_lag(&mut self, key: u32) -> u64 {
        let connection = &mut self.connections[key as usize];
        let Some(subscription) = &mut connection.subscription else { return 0 };
        let feed = self.channels.feed_mut(subscription.feed);
        let lag = feed.log.end() - connection.outbound.cursor();
        match (std::mem::replace(&mut subscription.is_behind, lag > 0), lag > 0) {
            (false, true) => feed.behind += 1,
            (true, false) => feed.one_caught_up(),
            _ => {}
        }
        lag
    }

    /// Bytes held for one connection: its own queues, and its share of what its feed keeps for those
    /// who are behind.
    pub(super) fn held_for(&self, connection: &Connection) -> usize {
        let lag = connection.subscription.map_or(0, |subscription| {
            let feed = self.channels.feed(subscription.feed);
            (feed.log.end() - connection.outbound.cursor()) / u64::from(feed.behind.max(1))
        });
        lag as usize + connection.outbound.inserted() + connection.input.capacity()
    }

    /// Takes note that the peer can no longer be written to. It is read to its end all the same: what
    /// it said before it went away counts.
    pub(super) fn break_off(&mut self, id: ConnectionId) {
        self.leave_feed(id, |outbound, _| *outbound = Outbound::default());
        if let Some(connection) = find(&mut self.connections, id) {
            connection.readable = true;
            connection.read_closed = true;
        }
        self.note_ready(id);
    }

    /// Brings the pace of a reader up to date; see [`Pace`].
    pub(super) fn update_pace(&mut self, id: ConnectionId) {
        let Some(limit) = self.limits.feed_bytes_max else { return };
        let Some(connection) = find(&mut self.connections, id) else { return };
        let Some(subscription) = connection.subscription else { return };
        let lag = self.channels.feed(subscription.feed).log.end() - connection.outbound.cursor();
        let next = connection.next_pace(lag, limit, self.now.monotonic);
        self.set_pace(id, next);
    }

    fn set_pace(&mut self, id: ConnectionId, next: Pace) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let Some(subscription) = connection.subscription else { return };
        let was_holding = matches!(connection.pace, Pace::Holding { .. });
        let is_holding = matches!(next, Pace::Holding { .. });
        connection.pace = next;
        let channel = self.channels.channel(subscription.feed.channel);
        if is_holding && !was_holding {
            channel.holders += 1;
            self.counters.holds += 1;
        }
        if was_holding && !is_holding {
            channel.holders -= 1;
            if channel.holders == 0 {
                for id in std::mem::take(&mut channel.parked) {
                    self.note_ready(id);
                }
            }
        }
    }

    /// Takes a connection off its feed, if it has one; `part` decides what becomes of the queued bytes.
    fn leave_feed(&mut self, id: ConnectionId, part: impl FnOnce(&mut Outbound, &Log)) {
        self.set_pace(id, Pace::Fresh);
        let Some(connection) = find(&mut self.connections, id) else { return };
        self.queued_bytes -= connection.outbound.inserted();
        match connection.subscription.take() {
            None => part(&mut connection.outbound, &Log::default()),
            Some(Subscription { feed: feed_id, position, is_behind }) => {
                let feed = self.channels.feed_mut(feed_id);
                part(&mut connection.outbound, &feed.log);
                if is_behind {
                    feed.one_caught_up();
                }
                feed.subscribers.swap_remove(position as usize);
                if let Some(&moved) = feed.subscribers.get(position as usize)
                    && let Some(subscription) = &mut self.connections[moved as usize].subscription
                {
                    subscription.position = position;
                }
            }
        }
        self.queued_bytes += find(&mut self.connections, id).map_or(0, |c| c.outbound.inserted());
        self.note_unsent(id);
    }

    /// Whether `connection` has to be left unread for now, for the sake of its readers or its own.
    pub(super) fn must_wait(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = find(&mut self.connections, id) else { return true };
        if connection.outbound.inserted() > UNREAD_REPLIES_MAX {
            // Its own replies wait: flushing them queues it again.
            return true;
        }
        let Some(subscription) = connection.subscription else { return false };
        let channel = self.channels.channel(subscription.feed.channel);
        let is_held = channel.holders > 0;
        if is_held {
            channel.parked.push(id);
        }
        is_held
    }
}

fn find(connections: &mut Slab<Connection>, id: ConnectionId) -> Option<&mut Connection> {
    connections.get_mut(id.index as usize).filter(|c| c.id.generation == id.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It used to stay a subscriber until it was reaped, and closing its room crashed the daemon.
    #[test]
    fn whoever_is_closed_after_it_was_given_up_leaves_its_feed_at_once() {
        let mut net = Net::new(Limits::default());
        let channel = net.open_channel();
        let id = net.insert(None);
        net.subscribe(id, FeedId { channel, variant: 0 });
        net.lose(id, Loss::Slow);
        net.close(id);
        net.close_channel(channel);
    }

    /// It used to leave an entry behind for the far deadline, each time.
    #[test]
    fn many_short_pauses_leave_few_deadlines() {
        let mut net = Net::new(Limits::default());
        let id = net.insert(None);
        net.wake_at(id, Millis(60_000));
        for pause in 1..1000 {
            net.now.monotonic = Millis(pause);
            net.connections[id.index as usize].resume_at = Millis(pause + 1);
            net.arm(id);
            while let Some((at, id)) = net.deadlines.pop_due(Millis(pause + 1)) {
                let connection = net.get(id).unwrap();
                assert_eq!(connection.armed_at, at);
                connection.armed_at = std::mem::replace(&mut connection.armed_behind, Millis::NEVER);
                connection.resume_at = Millis::NEVER;
                net.arm(id);
            }
        }
        let mut left = 0;
        while net.deadlines.pop_due(Millis::NEVER).is_some() {
            left += 1;
        }
        assert_eq!(left, 1);
    }
}
