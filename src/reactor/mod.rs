//! The loop: readiness in, bytes out, and no idea what they mean.
//!
//! A [`Reactor`] runs a [`Handler`] on a [`Platform`]. The handler is the protocol (a chat server, an
//! echo server); the platform is the operating system, or the scripted one of the tests. What the loop
//! does in one turn stands in [`turn`], and the order of its phases is the design.
//!
//! | concept | where |
//! |---|---|
//! | one turn of the loop | [`turn`] |
//! | what a handler may ask for | [`Net`] |
//! | one log, many cursors | [`feed`], [`outbound`] |
//! | several channels for one connection | [`following`] |
//! | who is waited for, and for how long | [`backpressure`] |
//! | the life of a connection | [`connection`] |
//! | who is let in | [`acceptor`] |
//! | whom we call ourselves | [`dial`] |
//! | time-outs | [`deadlines`] |
//! | epoll, sockets, signals, calls of other threads | [`epoll`], behind [`platform`] |
//! | the same without a system, for tests | [`simulated`] |

pub mod acceptor;
pub(crate) mod backpressure;
pub(crate) mod connection;
mod counters;
pub(crate) mod deadlines;
pub(crate) mod dial;
pub mod epoll;
pub mod feed;
pub(crate) mod following;
mod invariants;
pub(crate) mod net;
pub(crate) mod outbound;
pub mod platform;
pub mod simulated;
pub mod turn;

pub use acceptor::TurnedAway;
pub use counters::{Counters, TURN_TIME_BOUNDS_US};
pub use feed::ChannelId;
pub use net::{Net, QueueFull};
pub use platform::{Event, Peer, Platform, Socket, subscriber_address};
pub use turn::Reactor;

use std::io;

use crate::clock::Millis;

/// Names one connection for as long as it lives, and never another one.
///
/// Slots of the connection table are reused, last freed first; the generation tells the tenants of
/// one slot apart, so that an event for a connection that is gone reaches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// The slot in the connection table. Small and dense: a handler may index a `Vec` with it.
    pub index: u32,
    /// Which tenant of that slot; never 0.
    pub generation: u32,
}

impl ConnectionId {
    /// The id in one number, for where there is place for nothing else.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The id whose [`ConnectionId::to_bits`] these are.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Why the loop has given up a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It fell too far behind, or accepted nothing for too long.
    Slow,
    /// The system reported an error: reset, timed out.
    Broken,
    /// It is one that [`Net::connect`] asked for, and was never connected: refused, unreachable, too late.
    NotConnected(io::ErrorKind),
}

/// What a handler has done with the input it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumed {
    /// So many bytes, from the front, are dealt with. The rest is given again, with more behind it.
    pub bytes: usize,
    /// When to give the rest.
    pub then: Then,
}

impl Consumed {
    /// Lets `take` have the first thing in what is left of `input`, again and again: it returns the
    /// length of that, or none if it is not there yet.
    pub fn each(input: &[u8], mut take: impl FnMut(&[u8]) -> Option<usize>) -> Self {
        let mut bytes = 0;
        while bytes < input.len()
            && let Some(length) = take(&input[bytes..])
        {
            bytes += length;
        }
        Self { bytes, then: Then::Read }
    }
}

/// See [`Consumed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// When more has arrived: what is left is not a whole frame.
    Read,
    /// In the next turn: [`Net::is_turn_full`].
    Yield,
    /// At that time, which may be never, or at [`Net::resume`]: the peer has to be slowed down. It is not read
    /// meanwhile, so nothing is lost.
    Pause(Millis),
    /// Never: the peer has said far more than it may, for too long. It is closed, after [`Handler::ended`].
    Drop,
    /// When that channel is no longer throttled: [`Net::is_throttled`]. It is not read meanwhile either.
    Wait(ChannelId),
    /// At [`Net::resume`]: the handler waits for something that the peer has no part in, another thread say. So this has
    /// no end of its own, and what the peer has said before it closed its side is listened to however long it takes.
    Await,
}

/// What is left of the input of a connection that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest<'a> {
    /// The handler was given everything; this is what it never consumed.
    Unfinished(&'a [u8]),
    /// This was deferred, and part of it the handler was never given. There was no time for it, so it is
    /// dropped: what the peer had said before it closed its side is listened to for 5 s.
    Unheard(&'a [u8]),
}

/// What the loop serves.
///
/// A connection is `opened` (or `connected`, if it is outgoing), then `received`s, and ends in exactly one of two ways:
/// the handler calls [`Net::close`] (at the latest when it has `ended` and is `drained`: the loop closes the connection
/// then), or the loop calls [`Handler::lost`].
pub trait Handler {
    /// The loop is about to begin ([`Reactor::new`]): nobody is there yet.
    fn started(&mut self, _net: &mut Net) {}

    /// A connection was let in.
    fn opened(&mut self, _net: &mut Net, _id: ConnectionId, _peer: Peer) {}

    /// [`Net::connect`] has succeeded.
    fn connected(&mut self, _net: &mut Net, _id: ConnectionId) {}

    /// A connection has said something. `input` is what it has not consumed so far and what is new.
    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed;

    /// A connection has said its last. It is closed when everything queued for it is written; or, if
    /// [`Net::when_drained`] was asked for, when [`Handler::drained`] does not ask again.
    fn ended(&mut self, net: &mut Net, id: ConnectionId, rest: Rest<'_>);

    /// Asked for by [`Net::when_drained`]: everything that was queued for a connection is sent, and it is open.
    fn drained(&mut self, _net: &mut Net, _id: ConnectionId) {}

    /// The time asked for by [`Net::wake_at`] has come.
    fn woken(&mut self, _net: &mut Net, _id: ConnectionId) {}

    /// The loop has given up a connection; what is it told at last, if it can be? That follows the end of a whole
    /// frame.
    fn lost(&mut self, net: &mut Net, id: ConnectionId, loss: Loss) -> Vec<u8>;

    /// Another thread has called [`Platform::waker`] since this was called last; perhaps several times, perhaps not at
    /// all. Whoever has more to do than a turn should ([`Net::is_turn_full`]) calls it again itself.
    fn notified(&mut self, _net: &mut Net) {}

    /// This turn has nothing more to be heard: what was said to others can be sent on. Called before the peers are written
    /// to, and once more at the end of the turn.
    fn served(&mut self, _net: &mut Net) {}

    /// When [`Handler::expired`] is next due.
    fn deadline(&self) -> Millis {
        Millis::NEVER
    }

    /// The time of [`Handler::deadline`] has come.
    fn expired(&mut self, _net: &mut Net) {}

    /// A connection is refused; what is it told? Nothing of it will be heard again.
    fn refused(&mut self, _net: &mut Net, _peer: Peer, _why: TurnedAway) -> Vec<u8> {
        Vec::new()
    }

    /// The loop is about to stop, because of a signal or [`Net::stop`]: time to say good-bye and to close
    /// everything.
    fn stopping(&mut self, net: &mut Net) {
        net.close_all();
    }
}
