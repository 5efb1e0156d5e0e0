//! Who is let in: the phase *accept*, its errors, and the limits on connections.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::time::Duration;

use super::connection::{Connection, Deferred, Origin, Reading};
use super::outbound::Cause;
use super::{ConnectionId, Handler, Loss, Peer, Platform, Reactor, Socket};
use crate::allowance::Allowances;
use crate::clock::Millis;
use crate::limits::Limits;

/// How many connections one turn accepts; the rest waits for the next turn.
pub(crate) const ACCEPTS_PER_TURN_MAX: usize = 64;
/// How many refused connections may be open at once, for their last line to arrive in peace.
pub(crate) const REFUSED_MAX: usize = 16;
/// File descriptors kept back for everything that is not an admitted connection: standard streams,
/// selector, signals, listeners, and [`REFUSED_MAX`].
pub const DESCRIPTORS_RESERVED: usize = 32;
/// How long accepting rests when the system has no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// `--max-connections` are open.
    Full,
    /// `--max-per-ip` are open from this address.
    PerIp,
    /// `--connect-rate` have come from this address within a second.
    TooOften,
}

/// What an error of `accept(2)` means to the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// Nobody is waiting: the listener will say when somebody is.
    Drained,
    /// That one connection failed before it began; the next one may be fine.
    ThisOne,
    /// The system is out of something. The readiness stays latched: with an edge-triggered selector
    /// nobody would remind us of those who wait already.
    Exhausted,
}

impl AcceptError {
    pub(crate) fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::WouldBlock => Self::Drained,
            // ECONNABORTED, EINTR and what Linux passes on from the new connection (accept(2), "Error
            // handling"): ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, ENETUNREACH.
            Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
            | Kind::TimedOut
            | Kind::PermissionDenied
            | Kind::NotConnected
            | Kind::InvalidInput => Self::ThisOne,
            _ if error.raw_os_error().is_some_and(|errno| OF_THIS_ONE.contains(&errno)) => Self::ThisOne,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else: rest a little, never spin.
            _ => Self::Exhausted,
        }
    }
}

/// ENONET, EPROTO, ENOPROTOOPT, EOPNOTSUPP and EHOSTDOWN on Linux, which `io::ErrorKind` does not know.
const OF_THIS_ONE: [i32; 5] = [64, 71, 92, 95, 112];

/// The gate: which listeners have somebody waiting, and how many are in.
#[derive(Debug, Default)]
pub(crate) struct Acceptor {
    /// Latched readiness per listener.
    waiting: Vec<bool>,
    /// The listener to ask first, so that a busy one does not starve the others.
    next: usize,
    /// Accepting rests until then.
    paused_until: Option<Millis>,
    /// Connections that were let in.
    pub(crate) admitted: usize,
    /// Connections that are only open to be told that there is no room.
    pub(crate) refused: usize,
    per_ip: HashMap<u64, usize>,
    /// How many connections an address may still begin.
    beginnings: Allowances,
}

impl Acceptor {
    pub(crate) fn note(&mut self, listener: usize) {
        if self.waiting.len() <= listener {
            self.waiting.resize(listener + 1, false);
        }
        self.waiting[listener] = true;
    }

    /// The next listener to accept from; none while there is nobody or accepting rests.
    pub(crate) fn pick(&mut self) -> Option<usize> {
        if self.paused_until.is_some() {
            return None;
        }
        let count = self.waiting.len();
        let found = (0..count).map(|i| (self.next + i) % count).find(|&i| self.waiting[i])?;
        self.next = found + 1;
        Some(found)
    }

    pub(crate) fn drained(&mut self, listener: usize) {
        self.waiting[listener] = false;
    }

    pub(crate) fn pause(&mut self, now: Millis) {
        self.paused_until = Some(now.after(PAUSE));
    }

    /// When accepting goes on; now, if somebody is waiting; never, if nobody is.
    pub(crate) fn deadline(&self, now: Millis) -> Millis {
        match self.paused_until {
            Some(until) => until,
            None if self.waiting.contains(&true) => now,
            None => Millis::NEVER,
        }
    }

    /// Ends the rest when it is over.
    pub(crate) fn expire(&mut self, now: Millis) {
        self.paused_until = self.paused_until.filter(|&until| until > now);
    }

    pub(crate) fn stop(&mut self) {
        self.waiting.clear();
        self.paused_until = None;
    }

    /// Counts a connection in, if there is room.
    pub(crate) fn admit(&mut self, peer: Peer, limits: &Limits, now: Millis) -> Result<(), TurnedAway> {
        let counted_as = counted_as(peer, limits);
        let count = counted_as.and_then(|who| self.per_ip.get(&who)).copied().unwrap_or(0);
        if counted_as.is_some() && limits.max_per_ip.is_some_and(|max| count >= max) {
            return Err(TurnedAway::PerIp);
        }
        if limits.max_connections.is_some_and(|max| self.admitted >= max) {
            return Err(TurnedAway::Full);
        }
        if let (Some(who), Some(rate)) = (counted_as, limits.connect_rate) {
            let second = Duration::from_secs(1);
            let allowance = self.beginnings.of(who, now);
            if !allowance.has_one(second / rate as u32, rate, now) {
                return Err(TurnedAway::TooOften);
            }
            allowance.reserve(second / rate as u32, rate, now);
        }
        if let Some(who) = counted_as {
            *self.per_ip.entry(who).or_insert(0) += 1;
        }
        self.admitted += 1;
        Ok(())
    }

    /// Counts a connection out that was let in.
    pub(crate) fn release(&mut self, peer: Peer, limits: &Limits) {
        self.admitted -= 1;
        if let Some(who) = counted_as(peer, limits)
            && let Some(count) = self.per_ip.get_mut(&who)
        {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&who);
            }
        }
    }
}

/// The subscriber under whom a peer counts against `max_per_ip`; none if it is exempt.
pub(crate) fn counted_as(peer: Peer, limits: &Limits) -> Option<u64> {
    peer.ip.filter(|&ip| !limits.is_exempt(ip)).map(|_| peer.subscriber())
}

/// The phase *accept*.
impl<P: Platform, H: Handler> Reactor<P, H> {
    /// Accepts those who wait.
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some(listener) = self.acceptor.pick() else { return };
            match self.platform.accept(listener) {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) => match AcceptError::of(&error) {
                    AcceptError::Drained => self.acceptor.drained(listener),
                    AcceptError::ThisOne => self.net.counters.accept_errors += 1,
                    AcceptError::Exhausted => {
                        log::warn!("accepting rests for a moment: {error}");
                        self.net.counters.accept_errors += 1;
                        self.acceptor.pause(self.net.now.monotonic);
                    }
                },
            }
        }
    }

    fn admit(&mut self, socket: P::Socket, peer: Peer) {
        let now = self.net.now.monotonic;
        let mut admitted = self.acceptor.admit(peer, &self.net.limits, now);
        // For its own address first, then for all.
        for _ in 0..2 {
            if let Err(why) = admitted
                && self.make_place(peer, why)
            {
                admitted = self.acceptor.admit(peer, &self.net.limits, now);
            }
        }
        match admitted {
            Ok(()) => {
                let id = self.net.open(peer, Origin::Admitted);
                if self.take_in(socket, id) {
                    self.net.counters.accepted += 1;
                    self.handler.opened(&mut self.net, id, peer);
                }
            }
            Err(why) => self.refuse(socket, peer, why),
        }
    }

    /// Whoever has gone, and is only here because its input is deferred, makes place for others; so does
    /// whoever says far more than it may. Returns whether somebody did.
    fn make_place(&mut self, peer: Peer, why: TurnedAway) -> bool {
        if self.net.waiting == 0 || why == TurnedAway::TooOften {
            return false;
        }
        let limits = &self.net.limits;
        let address = counted_as(peer, limits);
        let candidates = self.net.connections.iter().map(|(_, c)| c).filter(|c| {
            let may_go = match (c.deferred(), c.reading) {
                (Deferred::Paused { .. }, _) | (Deferred::Throttled, Reading::PeerClosed { .. }) => true,
                (Deferred::No | Deferred::Yielded | Deferred::Throttled | Deferred::Awaited, _) => false,
            };
            may_go
                && c.origin == Origin::Admitted
                && (why == TurnedAway::Full || counted_as(c.peer, limits) == address)
        });
        let rank = |c: &Connection| (matches!(c.reading, Reading::PeerClosed { .. }), c.input_bytes());
        let Some(id) = candidates.max_by_key(|c| rank(c)).map(|c| c.id) else { return false };
        self.end_unheard(id);
        if self.net.is_open(id) {
            // It was being sent a long answer, whose rest it does not get.
            self.handler.lost(&mut self.net, id, Loss::Slow);
        }
        // Its last words have this one chance.
        self.flush_one(id.index);
        self.forget(id);
        true
    }

    /// Tells a peer why it is not let in. It is a connection that closes from the start.
    fn refuse(&mut self, mut socket: P::Socket, peer: Peer, why: TurnedAway) {
        match why {
            TurnedAway::Full => self.net.counters.refused_full += 1,
            TurnedAway::PerIp => self.net.counters.refused_per_ip += 1,
            TurnedAway::TooOften => self.net.counters.refused_too_often += 1,
        }
        let words = self.handler.refused(&mut self.net, peer, why);
        if self.acceptor.refused >= REFUSED_MAX {
            // Best effort: it may be lost if the peer has spoken already, but nothing is kept for it.
            let _ = socket.send(&[IoSlice::new(&words)]);
            let _ = socket.shutdown_write();
            return;
        }
        self.acceptor.refused += 1;
        let id = self.net.open(peer, Origin::Refused);
        if self.take_in(socket, id) {
            self.net.insert(id, &words, Cause::Own);
            self.net.close(id);
        }
    }

    fn take_in(&mut self, mut socket: P::Socket, id: ConnectionId) -> bool {
        let is_watched = self.platform.register(&mut socket, id).is_ok();
        self.install(socket, id);
        if !is_watched {
            self.net.counters.accept_errors += 1;
            self.net.remove(id);
        }
        is_watched
    }

    /// Gives a connection its socket.
    pub(super) fn install(&mut self, socket: P::Socket, id: ConnectionId) {
        let slot = id.index as usize;
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
        }
        self.sockets[slot] = Some(socket);
    }
}
