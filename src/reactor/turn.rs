//! One turn of the loop.
//!
//! 1. **wait** for readiness: not at all if work is left over, else until the nearest deadline.
//! 2. **note** the whole batch: latch what it says and queue each connection once. No I/O happens
//!    here, so nothing can invalidate an event that has not been looked at yet.
//! 3. **serve** the queued connections: one read each, then it is the next one's turn. What they say is
//!    delivered on the spot: encoded once, and appended to a feed.
//! 4. **flush** everybody who has something to be sent: one write each.
//! 5. **reap** those who are done for. Only here do connections disappear.
//! 6. **accept** new ones, after reaping, so that a freed slot is never reused in the batch that freed it;
//!    and begin the outgoing ones that the handler has asked for.
//! 7. **expire** all deadlines that are due, in every turn, also under full load.
//!
//! Whatever publishes (serve, reap, expire) stops when the turn is full, and goes on in the next one; but the last two
//! see to a few in each.

use std::io::{self, IoSlice, Read};
use std::rc::Rc;
use std::time::Duration;

use super::acceptor::Acceptor;
use super::connection::{
    Connection, Deferred, Drained, FLUSH_TIME_MAX, HANG_UP_TIME_MIN, LINGER_BYTES_MAX, LINGER_TIME_MAX, Life,
    Origin, Reading, Writing,
};
use super::feed::Log;
use super::outbound::SLICES_MAX;
use super::{ConnectionId, Event, Handler, Loss, Net, Platform, Rest, Socket, Then};
use crate::clock::Millis;
use crate::limits::Limits;

/// What one peer may be read per turn, in bytes. The buffer of the whole loop has this size.
pub const READ_BYTES_PER_TURN: usize = 64 * 1024;
/// What one peer may be written per turn, in bytes: twice what is read, because the same event may be
/// twice as long in one encoding as in another.
pub const WRITE_BYTES_PER_TURN: usize = 128 * 1024;
/// A turn that has taken this long leaves the rest of its work to the next one.
const TURN_TIME_MAX: Duration = Duration::from_millis(10);
/// How long peers may take to close their side once a stopping loop has closed its own.
const STOP_LINGER_TIME_MAX: Duration = Duration::from_millis(200);
/// So many ends and deadlines are seen to in each turn, however full it is.
const CARRIED_OUT_MIN: usize = 16;
/// How many peers one turn gives up at most to get below `max_buffered_bytes`.
const VICTIMS_PER_TURN_MAX: usize = 64;
/// What may still be held for one of them, so that it hears why, in bytes.
const VICTIM_BYTES_MAX: usize = 1024;
/// What is read at most of a peer whose unheard input is dropped, to count it, in bytes.
const UNHEARD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A wait that ends this much later than asked for was not a wait: the process was stopped.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// So much of it counts at most.
const PAUSE_COUNTED_MAX: Duration = Duration::from_millis(100);

/// A [`Handler`] on a [`Platform`].
#[derive(Debug)]
pub struct Reactor<P: Platform, H> {
    pub(super) platform: P,
    pub(super) handler: H,
    pub(super) net: Net,
    /// The sockets, by the slot of their connection.
    pub(super) sockets: Vec<Option<P::Socket>>,
    pub(super) acceptor: Acceptor,
    /// The batch of events of this turn; kept for its memory.
    events: Vec<Event>,
    /// The one buffer everything is read into.
    scratch: Box<[u8]>,
    /// How far the loop's clock is behind the platform's: the time in which the process was stopped.
    stopped_time: Duration,
    /// The loop is stopping, and will not wait longer than this.
    stops_at: Option<Millis>,
    /// It was asked to stop twice.
    stops_now: bool,
    /// Another thread has called.
    is_notified: bool,
}

impl<P: Platform, H: Handler> Reactor<P, H> {
    /// A loop without connections.
    pub fn new(mut platform: P, mut handler: H, limits: impl Into<Rc<Limits>>) -> Self {
        let mut net = Net::new(limits.into());
        net.now = platform.now();
        handler.started(&mut net);
        Self {
            platform,
            handler,
            net,
            sockets: Vec::new(),
            acceptor: Acceptor::default(),
            events: Vec::new(),
            scratch: vec![0; READ_BYTES_PER_TURN].into_boxed_slice(),
            stopped_time: Duration::ZERO,
            stops_at: None,
            stops_now: false,
            is_notified: false,
        }
    }

    /// Turns until a signal or the handler stops it and everybody has been told.
    ///
    /// # Errors
    /// The selector is broken.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.is_stopped() {
            self.turn()?;
        }
        Ok(())
    }

    /// One turn; see the [module documentation](self).
    ///
    /// # Errors
    /// The selector is broken.
    pub fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        self.note();
        self.serve();
        self.flush();
        self.reap();
        self.accept();
        self.dial();
        self.expire();
        self.handler.served(&mut self.net);
        Ok(())
    }

    /// Whether the loop was asked to stop and has nothing left to do.
    pub fn is_stopped(&self) -> bool {
        let is_late = self.stops_at.is_some_and(|at| self.net.now.monotonic >= at);
        self.stops_now || is_late || (self.stops_at.is_some() && self.net.connections.is_empty())
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The platform.
    pub fn platform(&mut self) -> &mut P {
        &mut self.platform
    }

    /// The book-keeping of the connections.
    pub fn net(&self) -> &Net {
        &self.net
    }

    // ---- 1. wait

    fn wait(&mut self) -> io::Result<()> {
        let begun = self.platform.now().monotonic;
        let timeout = match self.next_deadline() {
            Millis::NEVER => None,
            at => Some(at.after(self.stopped_time).since(begun)),
        };
        self.net.counters.count_turn(self.platform.busy());
        self.net.spent = 0;
        self.events.clear();
        self.platform.wait(timeout, &mut self.events)?;
        self.read_clock(timeout);
        Ok(())
    }

    /// When the next turn has something to do, if no event comes before.
    fn next_deadline(&self) -> Millis {
        let net = &self.net;
        let is_idle = net.ready.is_empty()
            && net.unsent.is_empty()
            && net.dirty.is_empty()
            && net.ending.is_empty()
            && net.dials.is_empty();
        let must_stop = net.wants_stop && self.stops_at.is_none();
        if !is_idle || must_stop {
            return Millis(0);
        }
        net.deadlines
            .next()
            .min(self.handler.deadline())
            .min(self.acceptor.deadline(net.now.monotonic))
            .min(self.stops_at.unwrap_or(Millis::NEVER))
    }

    /// Time in which the process was stopped does not count: nobody could be heard then, so nobody was silent.
    /// What was to come at the end of such a wait comes a moment later, after everybody was heard.
    fn read_clock(&mut self, timeout: Option<Duration>) {
        let mut now = self.platform.now();
        let last = self.net.now.monotonic.after(self.stopped_time);
        let passed = now.monotonic.since(last);
        if let Some(timeout) = timeout
            && passed > timeout + PAUSE_MIN
        {
            let waited = timeout.saturating_sub(Duration::from_millis(1)).min(PAUSE_COUNTED_MAX);
            self.stopped_time += passed - waited;
        }
        now.monotonic = Millis(0).after(now.monotonic.since(Millis(0).after(self.stopped_time)));
        self.net.now = now;
    }

    // ---- 2. note

    fn note(&mut self) {
        let events = std::mem::take(&mut self.events);
        for &event in &events {
            match event {
                Event::Connection { id, readable, writable, read_closed, broken } => {
                    self.note_readable(id, readable, read_closed);
                    if broken {
                        self.net.note_broken(id);
                    }
                    if writable {
                        self.note_writable(id);
                    }
                }
                Event::Listener(listener) => self.acceptor.note(listener),
                Event::Notified => self.is_notified = true,
                Event::Stop => self.stop(),
            }
        }
        self.events = events;
        if self.net.wants_stop && self.stops_at.is_none() {
            self.stop();
        }
    }

    fn note_readable(&mut self, id: ConnectionId, readable: bool, read_closed: bool) {
        let at = self.net.now.monotonic;
        let Some(connection) = self.net.get(id) else { return };
        connection.reading = match connection.reading {
            Reading::Drained | Reading::Ready if read_closed => Reading::PeerClosed { at },
            Reading::Drained if readable => Reading::Ready,
            known => known,
        };
        if connection.reading != Reading::Drained {
            self.net.note_ready(id);
        }
        if read_closed {
            // What is deferred has a deadline now.
            self.net.arm(id);
        }
    }

    fn note_writable(&mut self, id: ConnectionId) {
        if let Some(connection) = self.net.get(id)
            && connection.writing == Writing::Full
        {
            connection.writing = Writing::Ready;
            match connection.life {
                Life::Connecting { .. } => self.net.note_ready(id),
                _ => self.net.note_unsent(id),
            }
        }
    }

    fn stop(&mut self) {
        if self.stops_at.is_some() {
            self.stops_now = true;
            return;
        }
        self.stops_at = Some(self.net.now.monotonic.after(FLUSH_TIME_MAX));
        self.platform.close_listeners();
        self.acceptor.stop();
        self.handler.stopping(&mut self.net);
    }

    // ---- 3. serve

    fn serve(&mut self) {
        if std::mem::take(&mut self.is_notified) {
            self.handler.notified(&mut self.net);
        }
        for _ in 0..self.net.ready.len() {
            if self.net.is_turn_full() || self.platform.busy() > TURN_TIME_MAX {
                break;
            }
            if let Some(id) = self.net.ready.pop_front() {
                self.serve_one(id);
                self.net.arm(id);
            }
        }
        self.handler.served(&mut self.net);
    }

    fn serve_one(&mut self, id: ConnectionId) {
        let now = self.net.now.monotonic;
        let Some(connection) = self.net.get(id) else { return };
        connection.is_listed_ready = false;
        let deferred = match connection.life {
            Life::Open(_) if connection.drained == Drained::Due => {
                self.tell_drained(id);
                self.net.get(id).map_or(Deferred::No, |c| c.deferred())
            }
            Life::Open(deferred) => deferred,
            Life::Connecting { .. } => return self.finish_connecting(id),
            Life::Lingering { .. } => return self.discard(id),
            Life::Doomed(_) | Life::Closing { .. } | Life::Gone => return,
        };
        let must_wait = match deferred {
            Deferred::Paused { until } => now < until,
            // It is resumed when that is over.
            Deferred::Throttled | Deferred::Awaited => true,
            Deferred::No | Deferred::Yielded => false,
        };
        if must_wait || self.net.must_wait(id) {
            return;
        }
        if !self.is_heard(id) {
            self.hand_over(id, 0);
        }
        if self.is_heard(id) {
            self.read(id);
        }
        if let Some(connection) = self.net.get(id)
            && connection.life == Life::Open(Deferred::No)
            && connection.has_input()
        {
            self.net.note_ready(id);
        }
    }

    /// Everything was sent; if no more was queued since, the handler hears of it.
    fn tell_drained(&mut self, id: ConnectionId) {
        let is_drained = self.net.queued_bytes(id) == 0;
        let Some(connection) = self.net.get(id) else { return };
        connection.drained = if is_drained { Drained::NotAsked } else { Drained::Asked };
        if !is_drained {
            return;
        }
        self.handler.drained(&mut self.net, id);
        if self.net.get(id).is_some_and(|c| c.reading == Reading::Ended) {
            self.close_if_drained(id);
        }
    }

    /// Whether nothing of a connection's input is deferred.
    fn is_heard(&mut self, id: ConnectionId) -> bool {
        self.net.get(id).is_some_and(|c| c.deferred() == Deferred::No)
    }

    /// Reads once, and hands over what there is.
    fn read(&mut self, id: ConnectionId) {
        let Some(connection) = self.net.get(id) else { return };
        if !connection.is_alive() || matches!(connection.reading, Reading::Drained | Reading::Ended) {
            return;
        }
        let Some(socket) = &mut self.sockets[id.index as usize] else { return };
        match socket.read(&mut self.scratch) {
            Ok(0) => self.end(id),
            Ok(count) => {
                // A short read has drained the socket, unless the end has arrived too: then the read
                // that would prove it is still to come.
                if connection.reading == Reading::Ready && count < self.scratch.len() {
                    connection.reading = Reading::Drained;
                }
                self.net.counters.bytes_in += count as u64;
                self.hand_over(id, count);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if connection.reading != Reading::Broken => {
                    connection.reading = Reading::Drained;
                }
                _ => self.net.doom(id, Loss::Broken),
            },
        }
    }

    /// Gives the handler what it has not consumed so far and the first `count` bytes of the buffer.
    fn hand_over(&mut self, id: ConnectionId, count: usize) {
        let mut kept = self.net.take_input(id);
        self.net.set_deferred(id, Deferred::No);
        let fresh = &self.scratch[..count];
        let then = if kept.is_empty() {
            let consumed = self.handler.received(&mut self.net, id, fresh);
            kept.append(&fresh[consumed.bytes..]);
            consumed.then
        } else {
            kept.append(fresh);
            let consumed = self.handler.received(&mut self.net, id, kept.as_slice());
            kept.advance(consumed.bytes);
            consumed.then
        };
        if !self.net.get(id).is_some_and(|c| c.is_alive()) {
            return;
        }
        self.net.set_input(id, kept);
        self.defer(id, then);
    }

    fn defer(&mut self, id: ConnectionId, then: Then) {
        match then {
            Then::Read => return,
            Then::Pause(until) => {
                self.net.counters.pauses += 1;
                self.net.set_deferred(id, Deferred::Paused { until });
            }
            Then::Await => self.net.set_deferred(id, Deferred::Awaited),
            Then::Drop => return self.end_unheard(id),
            Then::Wait(channel) if self.net.defer_if_throttled(id, channel) => {}
            Then::Wait(_) | Then::Yield => {
                self.net.set_deferred(id, Deferred::Yielded);
                return self.net.note_ready(id);
            }
        }
        if self.net.get(id).is_some_and(|c| c.reading == Reading::Broken) {
            self.net.note_broken(id);
        }
    }

    /// The peer has said its last, and the handler has heard all of it but an unfinished frame.
    fn end(&mut self, id: ConnectionId) {
        let rest = self.net.take_input(id);
        self.handler.ended(&mut self.net, id, Rest::Unfinished(rest.as_slice()));
        self.close_if_drained(id);
    }

    /// Its input is at its end: it is closed, unless the handler has more to send when it is drained.
    fn close_if_drained(&mut self, id: ConnectionId) {
        let Some(connection) = self.net.get(id) else { return };
        let has_more = connection.drained != Drained::NotAsked && connection.reading != Reading::Broken;
        connection.reading = Reading::Ended;
        if has_more {
            self.net.set_deferred(id, Deferred::No);
        } else {
            self.net.close(id);
        }
    }

    /// What a peer has said, and the handler was not given, is not heard any more: the handler tells it so.
    pub(super) fn end_unheard(&mut self, id: ConnectionId) {
        let mut rest = self.net.take_input(id);
        if let Some(socket) = &mut self.sockets[id.index as usize] {
            while rest.len() < UNHEARD_BYTES_MAX {
                match socket.read(&mut self.scratch) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                    Ok(count) => rest.append(&self.scratch[..count]),
                }
            }
        }
        self.handler.ended(&mut self.net, id, Rest::Unheard(rest.as_slice()));
        self.close_if_drained(id);
    }

    /// Reads what a lingering peer still sends, and throws it away.
    fn discard(&mut self, id: ConnectionId) {
        let Some(connection) = self.net.get(id) else { return };
        let Life::Lingering { bytes_left, .. } = &mut connection.life else { return };
        let Some(socket) = &mut self.sockets[id.index as usize] else { return };
        match socket.read(&mut self.scratch) {
            Ok(count) if count > 0 && (count as u32) < *bytes_left => {
                *bytes_left -= count as u32;
                self.net.note_ready(id);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.reading = Reading::Drained,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.net.note_ready(id),
            Ok(_) | Err(_) => self.net.remove(id),
        }
    }

    // ---- 4. flush

    fn flush(&mut self) {
        for feed in std::mem::take(&mut self.net.dirty) {
            self.flush_feed(feed);
        }
        // What cannot be finished now is put on the list again, for the next turn.
        for id in std::mem::take(&mut self.net.unsent) {
            if let Some(connection) = self.net.get(id) {
                connection.is_listed_unsent = false;
                self.flush_one(id.index);
            }
        }
        self.trim_feeds();
        self.give_up_the_largest();
    }

    fn flush_feed(&mut self, key: u32) {
        let Some(feed) = self.net.feeds.get(key).filter(|feed| feed.is_dirty) else { return };
        // Nobody leaves the list on the way: a write that fails only marks its connection.
        for position in 0..feed.subscribers.len() {
            let slot = self.net.feeds.feed(key).subscribers[position];
            self.flush_one(slot);
        }
        let feed = self.net.feeds.feed_mut(key);
        (feed.is_dirty, feed.wants_trim) = (false, true);
        self.net.trim(key);
    }

    fn trim_feeds(&mut self) {
        for feed in std::mem::take(&mut self.net.to_trim) {
            self.net.trim(feed);
        }
    }

    /// One write to one connection, if it has something to be sent and its socket has room.
    pub(super) fn flush_one(&mut self, slot: u32) {
        let net = &mut self.net;
        let connection = &mut net.connections[slot as usize];
        let id = connection.id;
        let Some(Some(socket)) = self.sockets.get_mut(slot as usize) else { return };
        if !matches!(connection.life, Life::Open(_) | Life::Closing { .. }) {
            // Until it is reaped it is a reader like any other, and the feed must not forget its cursor.
            net.update_lag(slot);
            return;
        }
        let empty;
        let log = match connection.subscription {
            Some(subscription) => &net.feeds.feed(subscription.feed).log,
            None => {
                empty = Log::default();
                &empty
            }
        };
        let (mut is_full, mut sent) = (connection.writing == Writing::Full, 0);
        match connection.writing {
            Writing::Full => {}
            Writing::Broken => return net.discard_output(id),
            Writing::Idle | Writing::Ready if connection.outbound.is_empty(log) => {}
            Writing::Idle | Writing::Ready => match write(socket, connection, log) {
                Ok(0) => return net.break_output(id),
                Ok(count) => {
                    sent = count;
                    net.sent(id, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    is_full = true;
                    net.counters.blocked_writes += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return net.break_output(id),
            },
        }
        self.after_write(slot, is_full, sent);
    }

    /// Everything that depends on whether, and how much, a connection has left to be sent.
    fn after_write(&mut self, slot: u32, is_full: bool, sent: usize) {
        let lag = self.net.update_lag(slot);
        let now = self.net.now.monotonic;
        let connection = &mut self.net.connections[slot as usize];
        let (id, life) = (connection.id, connection.life);
        if !matches!(life, Life::Open(_)) && lag == 0 {
            self.net.leave_feed_at_end(id);
        }
        let connection = &mut self.net.connections[slot as usize];
        let has_more = lag > 0 || connection.outbound.has_splices();
        self.set_writing(
            slot,
            match (has_more, is_full) {
                (false, _) => Writing::Idle,
                (true, false) => Writing::Ready,
                (true, true) => Writing::Full,
            },
        );
        let connection = &mut self.net.connections[slot as usize];
        if !has_more {
            if connection.progress_at != Millis::NEVER || connection.drained == Drained::Asked {
                self.net.note_drained(id);
            }
            if matches!(life, Life::Closing { .. }) {
                self.shut_down(slot);
            }
            return;
        }
        self.net.note_left(slot, sent);
        let connection = &mut self.net.connections[slot as usize];
        let is_protected = self.net.limits.slowest.is_some() && connection.reader.is_protected(now);
        if connection.writing == Writing::Ready {
            self.net.note_unsent(id);
        }
        if !matches!(life, Life::Open(_)) {
            return;
        }
        let is_behind = self.net.limits.feed_bytes.is_some_and(|max| lag > max as u64);
        if !is_protected && (is_behind || self.net.is_behind_in_followed(id)) {
            self.net.doom(id, Loss::Slow);
        } else {
            self.net.update_throttle(id, lag);
            self.net.arm(id);
        }
    }

    /// The only place where interest changes: writability is watched exactly while bytes are left.
    fn set_writing(&mut self, slot: u32, next: Writing) {
        let connection = &mut self.net.connections[slot as usize];
        let id = connection.id;
        let last = std::mem::replace(&mut connection.writing, next);
        if last.is_watched() == next.is_watched() {
            return;
        }
        let Some(socket) = &mut self.sockets[slot as usize] else { return };
        self.net.counters.interest_changes += 1;
        if self.platform.reregister(socket, id, next.is_watched()).is_err() {
            self.net.doom(id, Loss::Broken);
        }
    }

    /// Everything is written: closes our side, and waits for the peer to close its own.
    fn shut_down(&mut self, slot: u32) {
        let now = self.net.now.monotonic;
        let connection = &mut self.net.connections[slot as usize];
        // Nothing tells what of it the peer has taken; but whoever takes the minimum has done so by then.
        let has_taken_all = now.after(HANG_UP_TIME_MIN).max(connection.reader.protected_until());
        let is_hanging_up = matches!(connection.life, Life::Closing { is_hanging_up: true, .. })
            && self.net.limits.slowest.is_some();
        let (until, bytes_left) = match self.stops_at {
            None if is_hanging_up => (has_taken_all, LINGER_BYTES_MAX),
            None => (now.after(LINGER_TIME_MAX), LINGER_BYTES_MAX),
            Some(_) => (now.after(STOP_LINGER_TIME_MAX), u32::MAX),
        };
        let id = connection.id;
        let Some(socket) = &mut self.sockets[slot as usize] else { return };
        if connection.reading == Reading::Ended || socket.shutdown_write().is_err() {
            return self.net.remove(id);
        }
        connection.life = Life::Lingering { until, bytes_left, is_hanging_up };
        self.net.arm(id);
        self.net.note_ready(id);
    }

    /// Gives up those for whom most is held while all together hold too much.
    fn give_up_the_largest(&mut self) {
        let Some(max) = self.net.limits.max_buffered_bytes else { return };
        for _ in 0..VICTIMS_PER_TURN_MAX {
            if self.net.buffered_bytes() <= max {
                return;
            }
            // Whoever is doomed already, and not told yet, may be the one; but whoever was released holds what is left
            // until it is reaped.
            let is_released = |c: &Connection| matches!(c.life, Life::Doomed(_)) && c.subscription.is_none();
            let holders = self.net.connections.iter().map(|(_, c)| (self.net.held_for(c), c));
            let holders = holders.filter(|(held, c)| *held > 0 && c.life != Life::Gone && !is_released(c));
            let Some((_, id)) = holders.map(|(held, c)| (held, c.id)).max() else { return };
            self.net.doom(id, Loss::Slow);
            self.net.release(id);
            if self.net.get(id).is_some_and(|c| c.outbound.memory() > VICTIM_BYTES_MAX) {
                // It is in the middle of a long frame, which will not be finished.
                self.net.break_output(id);
            }
            self.trim_feeds();
        }
    }

    // ---- 5. reap

    fn reap(&mut self) {
        let mut told = 0..CARRIED_OUT_MIN;
        while let Some(&id) = self.net.ending.front() {
            match self.net.get(id).map(|c| c.life) {
                Some(Life::Doomed(_)) if self.net.is_turn_full() && told.next().is_none() => break,
                Some(Life::Doomed(loss)) => self.tell_lost(id, loss),
                Some(Life::Gone) => self.forget(id),
                Some(
                    Life::Connecting { .. } | Life::Open(_) | Life::Closing { .. } | Life::Lingering { .. },
                )
                | None => {}
            }
            self.net.ending.pop_front();
        }
        self.trim_feeds();
    }

    fn tell_lost(&mut self, id: ConnectionId, loss: Loss) {
        let last_words = self.handler.lost(&mut self.net, id, loss);
        match loss {
            Loss::Slow if self.net.is_writable(id) => self.net.close_behind(id, &last_words),
            Loss::Slow | Loss::Broken | Loss::NotConnected(_) => self.forget(id),
        }
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        let Some(connection) = self.net.forget(id) else { return };
        if let Some(mut socket) = self.sockets.get_mut(id.index as usize).and_then(Option::take) {
            self.platform.deregister(&mut socket);
        }
        match connection.origin {
            Origin::Admitted => self.acceptor.release(connection.peer, &self.net.limits),
            Origin::Refused => self.acceptor.refused -= 1,
            Origin::Outgoing => {}
        }
    }

    // ---- 7. expire

    fn expire(&mut self) {
        let now = self.net.now.monotonic;
        self.acceptor.expire(now);
        let mut expired = 0..CARRIED_OUT_MIN;
        while let Some(slot) = self.net.deadlines.due(now)
            && (!self.net.is_turn_full() || expired.next().is_some())
        {
            let id = self.net.connections[slot as usize].id;
            self.expire_one(id, now);
            self.net.arm(id);
        }
        if self.handler.deadline() <= now {
            self.handler.expired(&mut self.net);
        }
    }

    /// Whatever is due for one connection. Each case puts its own deadline off, so time moves on.
    fn expire_one(&mut self, id: ConnectionId, now: Millis) {
        let limits = Rc::clone(&self.net.limits);
        let Some(connection) = self.net.get(id) else { return };
        match connection.life {
            Life::Connecting { until } if until <= now => {
                return self.net.doom(id, Loss::NotConnected(io::ErrorKind::TimedOut));
            }
            Life::Connecting { .. } | Life::Open(_) => {}
            Life::Doomed(_) | Life::Closing { .. } | Life::Lingering { .. } | Life::Gone => {
                if let Life::Lingering { is_hanging_up: true, .. } = connection.life
                    && let Some(socket) = &mut self.sockets[id.index as usize]
                {
                    socket.reset_on_drop();
                }
                return self.net.remove(id);
            }
        }
        let is_pause_over = matches!(connection.deferred(), Deferred::Paused { until } if until <= now);
        let wants_to_wake = connection.wake_at <= now;
        if wants_to_wake {
            connection.wake_at = Millis::NEVER;
        }
        if connection.unheard_at() <= now {
            return self.end_unheard(id);
        }
        if connection.stalls_at(&limits) <= now {
            return self.net.doom(id, Loss::Slow);
        }
        if is_pause_over {
            self.net.resume(id);
        }
        let lag = self.net.update_lag(id.index);
        self.net.update_throttle(id, lag);
        if wants_to_wake {
            self.handler.woken(&mut self.net, id);
        }
    }
}

/// The next bytes of a connection, with one system call.
fn write<S: Socket>(socket: &mut S, connection: &Connection, log: &Log) -> io::Result<usize> {
    if let Some(bytes) = connection.outbound.contiguous(log) {
        return socket.write(&bytes[..bytes.len().min(WRITE_BYTES_PER_TURN)]);
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let count = connection.outbound.gather(log, WRITE_BYTES_PER_TURN, &mut slices);
    socket.send(&slices[..count])
}
