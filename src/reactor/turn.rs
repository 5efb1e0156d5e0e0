//! One turn of the loop.
//!
//! 1. **wait** for readiness: not at all if work is left over, else until the nearest deadline.
//! 2. **note** the whole batch: latch what it says and queue each connection once. No I/O happens
//!    here, so nothing can invalidate an event that has not been looked at yet.
//! 3. **serve** the queued connections: one read each, then it is the next one's turn.
//! 4. **deliver**: the handler publishes what came of it.
//! 5. **flush** everybody who has something to be sent: one write each.
//! 6. **reap** those who are done for. Only here do connections disappear.
//! 7. **accept** new ones, after reaping, so that a freed slot is never reused in the batch that freed it.
//! 8. **expire** all deadlines that are due, in every turn, also under full load.

use std::io::{self, IoSlice, Read};
use std::time::Duration;

use super::acceptor::{ACCEPTS_PER_TURN_MAX, Acceptor, REFUSED_MAX, Trouble};
use super::connection::{Connection, FLUSH_TIME_MAX, Pace, Phase};
use super::feed::{FeedId, Log};
use super::net::UNREAD_REPLIES_MAX;
use super::outbound::SLICES_MAX;
use super::{ConnectionId, Event, Handler, Limits, Loss, Net, Peer, Platform, Socket, Then, TurnedAway};
use crate::clock::Millis;

/// What one peer may be read per turn, in bytes. The buffer of the whole loop has this size.
pub const READ_BYTES_PER_TURN: usize = 64 * 1024;
/// What one peer may be written per turn, in bytes: twice what is read, because the same event may be
/// twice as long in one dialect as in another.
pub const WRITE_BYTES_PER_TURN: usize = 128 * 1024;
/// How long peers may take to close their side once a stopping loop has closed its own.
const STOP_LINGER_TIME_MAX: Duration = Duration::from_millis(200);
/// How many peers one turn gives up at most to get below [`Limits::buffered_bytes_max`].
const VICTIMS_PER_TURN_MAX: usize = 64;

/// A [`Handler`] on a [`Platform`].
#[derive(Debug)]
pub struct Reactor<P: Platform, H> {
    platform: P,
    handler: H,
    net: Net,
    /// The sockets, by the slot of their connection.
    sockets: Vec<Option<P::Socket>>,
    acceptor: Acceptor,
    /// The batch of events of this turn; kept for its memory.
    events: Vec<Event>,
    /// The one buffer everything is read into.
    scratch: Box<[u8]>,
    /// The handler was called after its last chance to publish in this turn.
    has_output: bool,
    /// The loop is stopping, and will not wait longer than this.
    stops_at: Option<Millis>,
    /// It was asked to stop twice.
    stops_now: bool,
}

impl<P: Platform, H: Handler> Reactor<P, H> {
    /// A loop without connections.
    pub fn new(platform: P, handler: H, limits: Limits) -> Self {
        let mut net = Net::new(limits);
        let mut platform = platform;
        net.now = platform.now();
        Self {
            platform,
            handler,
            net,
            sockets: Vec::new(),
            acceptor: Acceptor::default(),
            events: Vec::new(),
            scratch: vec![0; READ_BYTES_PER_TURN].into_boxed_slice(),
            has_output: false,
            stops_at: None,
            stops_now: false,
        }
    }

    /// Turns until a signal stops it and everybody has been told.
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
        self.deliver();
        self.flush();
        self.reap();
        self.accept();
        self.expire();
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
        let timeout = match self.next_deadline() {
            Millis::NEVER => None,
            at => Some(at.since(self.platform.now().monotonic)),
        };
        self.net.counters.count_turn(self.platform.busy());
        self.events.clear();
        self.platform.wait(timeout, &mut self.events)?;
        self.net.now = self.platform.now();
        Ok(())
    }

    /// When the next turn has something to do, if no event comes before.
    fn next_deadline(&self) -> Millis {
        let net = &self.net;
        let has_work = self.has_output
            || !(net.ready.is_empty()
                && net.unsent.is_empty()
                && net.dirty.is_empty()
                && net.lost.is_empty()
                && net.gone.is_empty());
        if has_work {
            return Millis(0);
        }
        net.deadlines
            .next()
            .min(self.handler.deadline())
            .min(self.acceptor.deadline(net.now.monotonic))
            .min(self.stops_at.unwrap_or(Millis::NEVER))
    }

    // ---- 2. note

    fn note(&mut self) {
        let events = std::mem::take(&mut self.events);
        for &event in &events {
            match event {
                Event::Connection { id, readable, writable, read_closed, .. } => {
                    let Some(connection) = self.net.get(id) else { continue };
                    connection.readable |= readable || read_closed;
                    connection.read_closed |= read_closed;
                    connection.writable |= writable;
                    if connection.readable {
                        self.net.note_ready(id);
                    }
                    if writable {
                        self.net.note_unsent(id);
                    }
                }
                Event::Listener(listener) => self.acceptor.note(listener),
                Event::Stop => self.stop(),
            }
        }
        self.events = events;
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
        for _ in 0..self.net.ready.len() {
            if self.handler.is_full() {
                break;
            }
            if let Some(id) = self.net.ready.pop_front() {
                self.serve_one(id);
            }
        }
    }

    fn serve_one(&mut self, id: ConnectionId) {
        let now = self.net.now.monotonic;
        let Some(connection) = self.net.get(id) else { return };
        connection.is_queued = false;
        match connection.phase {
            Phase::Open => {}
            Phase::Lingering { .. } => return self.discard(id),
            Phase::Poisoned | Phase::Closing { .. } | Phase::Gone => return,
        }
        let is_paused = connection.resume_at != Millis::NEVER && now < connection.resume_at;
        if is_paused || self.net.must_wait(id) {
            return;
        }
        if self.is_put_off(id) {
            self.hand_over(id, 0);
        }
        if !self.is_put_off(id) {
            self.read(id);
        }
        if let Some(connection) = self.net.get(id)
            && connection.phase == Phase::Open
            && connection.readable
        {
            self.net.note_ready(id);
        }
    }

    fn is_put_off(&mut self, id: ConnectionId) -> bool {
        self.net.get(id).is_some_and(|c| c.is_put_off)
    }

    /// Reads once, and hands over what there is.
    fn read(&mut self, id: ConnectionId) {
        let Some(connection) = self.net.get(id) else { return };
        if connection.phase != Phase::Open || !connection.readable {
            return;
        }
        let is_broken = connection.is_broken;
        let Some(socket) = &mut self.sockets[id.index as usize] else { return };
        match socket.read(&mut self.scratch) {
            Ok(0) => {
                connection.ended = true;
                connection.readable = false;
                self.end(id);
            }
            Ok(count) => {
                // A short read has drained the socket, unless the end has arrived too: then the read
                // that would prove it is still to come.
                connection.readable = count == self.scratch.len() || connection.read_closed;
                self.net.counters.bytes_in += count as u64;
                self.hand_over(id, count);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if !is_broken => connection.readable = false,
                _ => self.net.lose(id, Loss::Broken),
            },
        }
    }

    /// Gives the handler what it has not consumed so far and the first `count` bytes of the buffer.
    fn hand_over(&mut self, id: ConnectionId, count: usize) {
        let Some(connection) = self.net.get(id) else { return };
        connection.is_put_off = false;
        connection.resume_at = Millis::NEVER;
        let mut kept = std::mem::take(&mut connection.input);
        self.net.queued_bytes -= kept.capacity();
        let fresh = &self.scratch[..count];

        let consumed = if kept.is_empty() {
            let consumed = self.handler.received(&mut self.net, id, fresh);
            kept = fresh[consumed.bytes..].to_vec();
            consumed
        } else {
            kept.extend_from_slice(fresh);
            let consumed = self.handler.received(&mut self.net, id, &kept);
            kept.drain(..consumed.bytes);
            if kept.capacity() > 4 * kept.len() {
                kept.shrink_to_fit();
            }
            consumed
        };

        let Some(connection) = self.net.get(id) else { return };
        if connection.phase != Phase::Open {
            return;
        }
        let memory = kept.capacity();
        connection.input = kept;
        connection.is_put_off = consumed.then != Then::Read;
        let has_ended = connection.ended;
        if let Then::Pause(at) = consumed.then {
            connection.resume_at = at;
        }
        self.net.queued_bytes += memory;
        match consumed.then {
            Then::Read if has_ended => self.end(id),
            Then::Read => {}
            Then::Yield => self.net.note_ready(id),
            Then::Pause(_) => {
                self.net.counters.pauses += 1;
                self.net.arm(id);
            }
        }
    }

    /// The peer has said its last, and the handler has heard all of it but an unfinished frame.
    fn end(&mut self, id: ConnectionId) {
        let Some(connection) = self.net.get(id) else { return };
        let rest = std::mem::take(&mut connection.input);
        self.net.queued_bytes -= rest.capacity();
        self.handler.ended(&mut self.net, id, &rest);
        self.net.close(id);
    }

    /// Reads what a lingering peer still sends, and throws it away.
    fn discard(&mut self, id: ConnectionId) {
        let Some(connection) = self.net.get(id) else { return };
        let Phase::Lingering { bytes_left, .. } = &mut connection.phase else { return };
        let Some(socket) = &mut self.sockets[id.index as usize] else { return };
        match socket.read(&mut self.scratch) {
            Ok(count) if count > 0 && (count as u32) < *bytes_left => {
                *bytes_left -= count as u32;
                self.net.note_ready(id);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.net.note_ready(id),
            Ok(_) | Err(_) => self.net.remove(id),
        }
    }

    // ---- 4. deliver

    fn deliver(&mut self) {
        self.has_output = false;
        self.handler.deliver(&mut self.net);
    }

    // ---- 5. flush

    fn flush(&mut self) {
        // What cannot be finished now is put on the list again, for the next turn.
        let count = self.net.unsent.len();
        for feed in std::mem::take(&mut self.net.dirty) {
            self.flush_feed(feed);
        }
        for i in 0..count {
            let id = self.net.unsent[i];
            if let Some(connection) = self.net.get(id) {
                connection.is_unsent = false;
                self.flush_one(id.index);
            }
        }
        self.net.unsent.drain(..count);
        for id in std::mem::take(&mut self.net.broken) {
            self.net.break_off(id);
        }
        self.give_up_the_largest();
    }

    fn flush_feed(&mut self, id: FeedId) {
        let count = self.net.channels.feed(id).subscribers.len();
        let mut oldest = self.net.channels.feed(id).log.end();
        // Nobody leaves the list on the way: a write that fails only marks its connection.
        for position in 0..count {
            let key = self.net.channels.feed(id).subscribers[position];
            self.flush_one(key);
            oldest = oldest.min(self.net.connections[key as usize].outbound.cursor());
        }
        let feed = self.net.channels.feed_mut(id);
        feed.dirty = false;
        feed.trim(oldest);
    }

    /// One write to one connection, if it has something to be sent and its socket has room.
    fn flush_one(&mut self, key: u32) {
        let net = &mut self.net;
        let connection = &mut net.connections[key as usize];
        let Some(socket) = &mut self.sockets[key as usize] else { return };
        if !matches!(connection.phase, Phase::Open | Phase::Closing { .. }) || connection.is_broken {
            // Until it is reaped it is a subscriber like any other, and the feed must not forget its cursor.
            net.update_lag(key);
            return;
        }
        let empty;
        let log = match connection.subscription {
            Some(subscription) => &net.channels.feed(subscription.feed).log,
            None => {
                empty = Log::default();
                &empty
            }
        };
        if connection.writable && !connection.outbound.is_empty(log) {
            let queued = connection.outbound.inserted();
            match write(socket, connection, log) {
                Ok(0) => return self.fail(key),
                Ok(sent) => {
                    connection.outbound.advance(sent);
                    connection.progress_at = net.now.monotonic;
                    net.counters.writes += 1;
                    net.counters.bytes_out += sent as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.writable = false;
                    net.counters.blocked_writes += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.fail(key),
            }
            let left = connection.outbound.inserted();
            net.queued_bytes -= queued - left;
            if queued > UNREAD_REPLIES_MAX && left <= UNREAD_REPLIES_MAX {
                // It was not read while its own replies waited.
                net.note_ready(net.connections[key as usize].id);
            }
        }
        self.after_write(key);
    }

    /// Everything that depends on whether, and how much, a connection has left to be sent.
    fn after_write(&mut self, key: u32) {
        let net = &mut self.net;
        let lag = net.update_lag(key);
        let connection = &mut net.connections[key as usize];
        let id = connection.id;
        let has_more = lag > 0 || connection.outbound.inserted() > 0;
        if !has_more {
            connection.progress_at = Millis::NEVER;
        } else if connection.progress_at == Millis::NEVER {
            connection.progress_at = net.now.monotonic;
        }
        self.sync_interest(key, has_more);

        let net = &mut self.net;
        let connection = &mut net.connections[key as usize];
        if !has_more {
            if connection.pace != Pace::Fresh {
                net.update_pace(id);
            }
            if matches!(net.connections[key as usize].phase, Phase::Closing { .. }) {
                self.shut_down(key);
            }
            return;
        }
        if connection.writable {
            net.note_unsent(id);
        }
        if net.limits.feed_bytes_max.is_some_and(|max| lag > max) {
            net.lose(id, Loss::Slow);
        } else {
            net.update_pace(id);
            net.arm(id);
        }
    }

    /// The only place where interest changes: writability is watched exactly while bytes are left.
    fn sync_interest(&mut self, key: u32, wants_writable: bool) {
        let connection = &mut self.net.connections[key as usize];
        if connection.watches_writable == wants_writable {
            return;
        }
        let Some(socket) = &mut self.sockets[key as usize] else { return };
        connection.watches_writable = wants_writable;
        self.net.counters.interest_changes += 1;
        if self.platform.reregister(socket, connection.id, wants_writable).is_err() {
            let id = connection.id;
            self.net.lose(id, Loss::Broken);
        }
    }

    /// Everything is written: closes our side, and waits for the peer to close its own.
    fn shut_down(&mut self, key: u32) {
        let linger = match self.stops_at {
            None => Connection::linger(self.net.now.monotonic),
            Some(_) => Phase::Lingering {
                until: self.net.now.monotonic.after(STOP_LINGER_TIME_MAX),
                bytes_left: u32::MAX,
            },
        };
        let connection = &mut self.net.connections[key as usize];
        let id = connection.id;
        let Some(socket) = &mut self.sockets[key as usize] else { return };
        if connection.ended || socket.shutdown_write().is_err() {
            return self.net.remove(id);
        }
        connection.phase = linger;
        // A deadline that was armed for *closing* may lie later than the one for lingering.
        self.net.arm(id);
        self.net.note_ready(id);
    }

    /// A write has failed for good.
    fn fail(&mut self, key: u32) {
        let connection = &mut self.net.connections[key as usize];
        let id = connection.id;
        if connection.phase == Phase::Open {
            connection.is_broken = true;
            self.net.broken.push(id);
        } else {
            self.net.remove(id);
        }
    }

    /// Gives up those for whom most is held while all together hold too much.
    fn give_up_the_largest(&mut self) {
        let Some(max) = self.net.limits.buffered_bytes_max else { return };
        let buffered = self.net.buffered_bytes();
        if buffered <= max {
            return;
        }
        let mut held: Vec<_> =
            self.net.connections.iter().map(|(_, c)| (self.net.held_for(c), c.id)).collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let mut excess = buffered - max;
        for (bytes, id) in held.into_iter().take(VICTIMS_PER_TURN_MAX) {
            self.net.lose(id, Loss::Slow);
            if bytes >= excess {
                break;
            }
            excess -= bytes;
        }
    }

    // ---- 6. reap

    fn reap(&mut self) {
        for (id, loss) in std::mem::take(&mut self.net.lost) {
            if self.net.get(id).is_some_and(|c| c.phase == Phase::Poisoned) {
                self.tell_lost(id, loss);
            }
        }
        for id in std::mem::take(&mut self.net.gone) {
            self.forget(id);
        }
    }

    fn tell_lost(&mut self, id: ConnectionId, loss: Loss) {
        self.has_output = true;
        if loss == Loss::Slow {
            self.net.cut(id);
        }
        self.handler.lost(&mut self.net, id, loss);
        self.net.close(id);
    }

    fn forget(&mut self, id: ConnectionId) {
        self.net.abort(id);
        let Some(connection) = self.net.connections.try_remove(id.index as usize) else { return };
        self.net.queued_bytes -= connection.input.capacity() + connection.outbound.inserted();
        if let Some(mut socket) = self.sockets[id.index as usize].take() {
            self.platform.deregister(&mut socket);
        }
        if connection.is_refused {
            self.acceptor.refused -= 1;
        } else {
            self.acceptor.release(connection.counted_as);
        }
    }

    // ---- 7. accept

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some(listener) = self.acceptor.pick() else { return };
            match self.platform.accept(listener) {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) => match Trouble::of(&error) {
                    Trouble::Drained => self.acceptor.drained(listener),
                    Trouble::ThisOne => self.net.counters.accept_errors += 1,
                    Trouble::Exhausted => {
                        log::warn!("accepting rests for a moment: {error}");
                        self.net.counters.accept_errors += 1;
                        self.acceptor.pause(self.net.now.monotonic);
                    }
                },
            }
        }
    }

    fn admit(&mut self, socket: P::Socket, peer: Peer) {
        match self.acceptor.admit(peer, &self.net.limits) {
            Ok(counted_as) => {
                let id = self.net.insert(counted_as);
                if self.install(socket, id) {
                    self.net.counters.accepted += 1;
                    self.has_output = true;
                    self.handler.opened(&mut self.net, id, peer);
                }
            }
            Err(refusal) => self.refuse(socket, peer, refusal),
        }
    }

    /// Tells a peer why it is not let in. It is a connection that closes from the start.
    fn refuse(&mut self, socket: P::Socket, peer: Peer, refusal: TurnedAway) {
        match refusal {
            TurnedAway::Full => self.net.counters.refused_full += 1,
            TurnedAway::PerIp => self.net.counters.refused_per_ip += 1,
        }
        let words = self.handler.refused(peer, refusal);
        if self.acceptor.refused >= REFUSED_MAX {
            let mut socket = socket;
            // Best effort: it may be lost if the peer has spoken already, but nothing is kept for it.
            let _ = socket.send(&[IoSlice::new(&words)]);
            let _ = socket.shutdown_write();
            return;
        }
        self.acceptor.refused += 1;
        let id = self.net.insert(None);
        self.net.connections[id.index as usize].is_refused = true;
        if self.install(socket, id) {
            self.net.send_control(id, &words);
            self.net.close(id);
        }
    }

    /// Gives a connection its socket and begins to watch it.
    fn install(&mut self, mut socket: P::Socket, id: ConnectionId) -> bool {
        let slot = id.index as usize;
        let is_watched = self.platform.register(&mut socket, id).is_ok();
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
        }
        self.sockets[slot] = Some(socket);
        if !is_watched {
            self.net.counters.accept_errors += 1;
            self.net.remove(id);
        }
        is_watched
    }

    // ---- 8. expire

    fn expire(&mut self) {
        let now = self.net.now.monotonic;
        self.acceptor.expire(now);
        while let Some((at, id)) = self.net.deadlines.pop_due(now) {
            let Some(connection) = self.net.get(id) else { continue };
            // An entry that was overtaken by an earlier one says nothing.
            if connection.armed_at == at {
                connection.armed_at = std::mem::replace(&mut connection.armed_behind, Millis::NEVER);
                self.expire_one(id, now);
                self.net.arm(id);
            }
        }
        if self.handler.deadline() <= now {
            self.has_output = true;
            self.handler.expired(&mut self.net);
        }
    }

    /// Whatever is due for one connection. Each case puts its own deadline off, so time moves on.
    fn expire_one(&mut self, id: ConnectionId, now: Millis) {
        let Some(connection) = self.net.connections.get_mut(id.index as usize) else { return };
        match connection.phase {
            Phase::Closing { until } | Phase::Lingering { until, .. } => {
                if until <= now {
                    self.net.remove(id);
                }
                return;
            }
            Phase::Poisoned | Phase::Gone => return,
            Phase::Open => {}
        }
        if connection.stalls_at(&self.net.limits) <= now {
            return self.net.lose(id, Loss::Slow);
        }
        if connection.resume_at <= now {
            connection.resume_at = Millis::NEVER;
            self.net.note_ready(id);
        }
        self.net.update_pace(id);
        if let Some(connection) = self.net.get(id)
            && connection.wake_at <= now
        {
            connection.wake_at = Millis::NEVER;
            self.has_output = true;
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
