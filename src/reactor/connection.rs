//! What the loop knows about one connection, apart from its socket.
//!
//! There is no I/O here: [`Connection`] is plain book-keeping, so that nothing a handler calls can
//! block, write or close anything. The sockets lie beside it, in [`Reactor`](super::Reactor).

use std::time::Duration;

use super::backpressure::Reader;
use super::outbound::Outbound;
use super::{ConnectionId, Loss, Peer};
use crate::buffer::Buffer;
use crate::clock::Millis;
use crate::limits::Limits;

/// How long what is queued may take to be written once the handler has closed a connection.
pub(crate) const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a peer may take to close its side after we have closed ours.
pub(crate) const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// The same at least if it has said good-bye itself: it reads the last words in that time, and is reset then.
pub(crate) const HANG_UP_TIME_MIN: Duration = Duration::from_millis(500);
/// How many bytes of a lingering peer are read and thrown away.
pub(crate) const LINGER_BYTES_MAX: u32 = 256 * 1024;
/// How long a peer that has closed its side, while its input was deferred, is still listened to.
pub(crate) const LAST_INPUT_TIME_MAX: Duration = Duration::from_secs(5);
/// Own replies a peer may leave unread before its requests are no longer read, in bytes.
pub(crate) const UNREAD_REPLIES_MAX: usize = 64 * 1024;

/// Where a connection is in its life. It only moves downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is outgoing and not connected yet: there is nothing to read or to write.
    Connecting { until: Millis },
    /// The handler hears what it says, unless that is deferred.
    Open(Deferred),
    /// The loop has given it up. Nothing is queued for it until [`reap`](super::turn) has told the handler,
    /// which may say the last words then.
    Doomed(Loss),
    /// The handler is done with it: what is queued is still written, until the deadline.
    Closing { until: Millis, is_hanging_up: bool },
    /// Everything is written and our side is shut down. What the peer still sends is read and thrown
    /// away: closing a socket with unread input would reset the connection and destroy our last words.
    Lingering { until: Millis, bytes_left: u32, is_hanging_up: bool },
    /// Nothing is left to do but to remove it.
    Gone,
}

/// What is known of the direction from the peer to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A read has drained the socket; an event will say when there is more.
    Drained,
    /// An event has said that there is more, and no read has drained the socket since.
    Ready,
    /// As `Ready`, and the peer has closed its side, as an event said at that time; only a read of zero bytes
    /// proves it, so until then a short read drains nothing.
    PeerClosed { at: Millis },
    /// As `PeerClosed`, and the connection is broken: nobody will hear an answer.
    Broken,
    /// A read has returned zero bytes.
    Ended,
}

/// What is known of the direction from us to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// The last write left nothing: the next bytes are tried at once.
    Idle,
    /// Bytes are left, and the socket may have room for them: they are tried in each turn.
    Ready,
    /// Bytes are left, and the last write met a full socket: an event will say when there is room.
    Full,
    /// A write has failed. What is queued is thrown away; the peer can still be read to its end.
    Broken,
}

impl Writing {
    /// Whether the selector watches for writability.
    pub(crate) fn is_watched(self) -> bool {
        matches!(self, Self::Ready | Self::Full)
    }
}

/// Why the handler is not given the peer's input for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deferred {
    /// It is: if any is kept, it is not a whole frame.
    No,
    /// This turn has done enough: the next one goes on.
    Yielded,
    /// The peer has said too much: at that time.
    Paused { until: Millis },
    /// A channel is throttled: when it no longer is.
    Throttled,
    /// The handler waits for something else: when it says so.
    Awaited,
}

impl Deferred {
    /// Whether it is for longer than the next turn.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self, Self::Paused { .. } | Self::Throttled | Self::Awaited)
    }
}

/// Whose wish a connection was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The peer's, and it was let in.
    Admitted,
    /// The peer's, and it is only open to be told why it is not let in.
    Refused,
    /// Ours.
    Outgoing,
}

/// Whether the handler wants to be told when everything that is queued is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    NotAsked,
    Asked,
    /// It is: the connection is on the list of those to serve.
    Due,
    /// No; and it closes the connection itself, whatever has ended.
    Held,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) peer: Peer,
    pub(crate) origin: Origin,
    pub(crate) life: Life,
    pub(crate) reading: Reading,
    pub(crate) writing: Writing,
    pub(crate) drained: Drained,
    /// It is on the list of connections to serve.
    pub(crate) is_listed_ready: bool,
    /// It is on the list of connections to flush.
    pub(crate) is_listed_unsent: bool,
    /// What the handler has not consumed: a frame that is not complete, or input that is deferred.
    pub(crate) input: Option<Box<Buffer>>,
    /// What the handler itself keeps of the peer's input, in bytes.
    pub(crate) kept_bytes: u32,
    pub(crate) outbound: Outbound,
    pub(crate) subscription: Option<Subscription>,
    pub(crate) reader: Reader,
    /// The channel waits for it.
    pub(crate) is_waited_for: bool,
    /// When the peer last accepted a byte, or began to have bytes to accept; NEVER if none wait.
    pub(crate) progress_at: Millis,
    /// When the handler wants to be woken.
    pub(crate) wake_at: Millis,
}

/// A connection's place in a feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    /// The key of the feed.
    pub(crate) feed: u32,
    /// Index into the feed's list of subscribers, or of those who are leaving.
    pub(crate) position: u32,
    /// It is closing: what is published from now on is not for it.
    pub(crate) is_leaving: bool,
    /// Counted in the feed's `behind`.
    pub(crate) is_behind: bool,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, peer: Peer, origin: Origin) -> Self {
        Self {
            id,
            peer,
            origin,
            life: Life::Open(Deferred::No),
            reading: Reading::Drained,
            writing: Writing::Idle,
            drained: Drained::NotAsked,
            is_listed_ready: false,
            is_listed_unsent: false,
            input: None,
            kept_bytes: 0,
            outbound: Outbound::default(),
            subscription: None,
            reader: Reader::default(),
            is_waited_for: false,
            progress_at: Millis::NEVER,
            wake_at: Millis::NEVER,
        }
    }

    /// The next moment at which something is due if nothing happens.
    pub(crate) fn deadline(&self, limits: &Limits) -> Millis {
        match self.life {
            Life::Open(deferred) => {
                let pause = if let Deferred::Paused { until } = deferred { until } else { Millis::NEVER };
                let is_waited_for =
                    self.is_waited_for || self.outbound.follows().iter().any(|f| f.is_waited_for);
                let waited_for = is_waited_for.then(|| self.reader.protected_until());
                self.wake_at
                    .min(pause)
                    .min(waited_for.unwrap_or(Millis::NEVER))
                    .min(self.stalls_at(limits))
                    .min(self.unheard_at())
            }
            Life::Connecting { until } => until.min(self.wake_at),
            Life::Closing { until, .. } | Life::Lingering { until, .. } => until,
            Life::Doomed(_) | Life::Gone => Millis::NEVER,
        }
    }

    /// Whether it is neither given up nor closing.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.life, Life::Open(_))
    }

    /// Why its input is deferred.
    pub(crate) fn deferred(&self) -> Deferred {
        if let Life::Open(deferred) = self.life { deferred } else { Deferred::No }
    }

    /// When the peer has accepted nothing for the stall time.
    pub(crate) fn stalls_at(&self, limits: &Limits) -> Millis {
        limits.stall.map_or(Millis::NEVER, |wait| self.progress_at.after(wait))
    }

    /// When what is left of the input of a peer that has closed its side is dropped.
    pub(crate) fn unheard_at(&self) -> Millis {
        match (self.reading, self.deferred()) {
            (Reading::PeerClosed { at }, Deferred::Paused { .. } | Deferred::Throttled) => {
                at.after(LAST_INPUT_TIME_MAX)
            }
            _ => Millis::NEVER,
        }
    }

    /// Whether there is something to read or to hand over.
    pub(crate) fn has_input(&self) -> bool {
        self.deferred() != Deferred::No || !matches!(self.reading, Reading::Drained | Reading::Ended)
    }

    /// Whether the handler can still send to it.
    pub(crate) fn is_open(&self) -> bool {
        self.is_alive() && self.writing != Writing::Broken
    }

    /// How many bytes of its input are kept.
    pub(crate) fn input_bytes(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.len())
    }

    /// What keeping them takes, in bytes.
    pub(crate) fn input_memory(&self) -> usize {
        self.input.as_ref().map_or(0, |input| size_of::<Buffer>() + input.memory())
    }

    /// Memory that is held for it alone, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.input_memory() + self.kept_bytes as usize + self.outbound.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most are idle, and there are tens of thousands: what hardly anybody needs is behind a pointer.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 152, "{}", size_of::<Connection>());
    }
}
