//! What the loop knows about one connection, apart from its socket.
//!
//! There is no I/O here: [`Connection`] is plain book-keeping, so that nothing a handler calls can
//! block, write or close anything. The sockets lie beside it, in [`Reactor`](super::Reactor).

use std::net::IpAddr;
use std::time::Duration;

use super::feed::FeedId;
use super::outbound::Outbound;
use super::{ConnectionId, Limits};
use crate::clock::Millis;

/// How long what is queued may take to be written once the handler has closed a connection.
pub(crate) const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a peer may take to close its side after we have closed ours.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// How many bytes of a lingering peer are read and thrown away.
const LINGER_BYTES_MAX: u32 = 256 * 1024;
/// How long producers wait for a reader that is behind but reads, in one episode.
const HOLD_TIME_MAX: Duration = Duration::from_millis(250);
/// A reader that has accepted nothing for this long is not making progress.
const PROGRESS_TIME_MAX: Duration = Duration::from_millis(100);

/// Where a connection is in its life. It moves downwards, but for the one step back from `Poisoned` in which
/// the handler says its last words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The handler hears what it says.
    Open,
    /// It has lost more than it may; nothing is queued for it until [`reap`](super::turn) has told the handler.
    Poisoned,
    /// The handler is done with it: what is queued is still written, until the deadline.
    Closing { until: Millis },
    /// Everything is written and our side is shut down. What the peer still sends is read and thrown
    /// away: closing a socket with unread input would reset the connection and destroy our last words.
    Lingering { until: Millis, bytes_left: u32 },
    /// Nothing is left to do but to remove it.
    Gone,
}

/// Whether a reader that is far behind may hold its producers back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It may: it has caught up since the last time.
    Fresh,
    /// It does, until then at the latest.
    Holding { until: Millis },
    /// It has used up its time and is unprotected until it has caught up once.
    Spent,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) phase: Phase,

    /// Latched: an event said readable and no read has drained the socket since.
    pub(crate) readable: bool,
    /// Latched: no write has met a full socket since an event said writable.
    pub(crate) writable: bool,
    /// An event said that the peer has closed its side; only a read of zero bytes proves it.
    pub(crate) read_closed: bool,
    /// A read has returned zero bytes.
    pub(crate) ended: bool,
    /// It is on the list of connections to serve.
    pub(crate) is_queued: bool,
    /// It is on the list of connections to flush.
    pub(crate) is_unsent: bool,
    /// The selector watches for writability.
    pub(crate) watches_writable: bool,
    /// It was never let in: it is only open to be told why.
    pub(crate) is_refused: bool,
    /// A write has failed. It can still be read to its end.
    pub(crate) is_broken: bool,
    /// `input` holds work that the handler has put off; nothing is read before it is done.
    pub(crate) is_put_off: bool,

    /// What the handler has not consumed: a frame that is not complete, or work it has put off.
    pub(crate) input: Vec<u8>,
    pub(crate) outbound: Outbound,
    pub(crate) subscription: Option<Subscription>,
    pub(crate) pace: Pace,
    /// When the peer last accepted a byte, or began to have bytes to accept; NEVER if none wait.
    pub(crate) progress_at: Millis,
    /// When the handler wants to be woken.
    pub(crate) wake_at: Millis,
    /// When the handler wants the input that it has put off.
    pub(crate) resume_at: Millis,
    /// The earliest entry for this connection among the deadlines.
    pub(crate) armed_at: Millis,
    /// The one behind it, which was the earliest before. Without it, every short pause would leave
    /// another entry for the same far deadline behind.
    pub(crate) armed_behind: Millis,
    /// What counts against `--max-per-ip`; none for peers that are exempt.
    pub(crate) counted_as: Option<IpAddr>,
}

/// A connection's place in a feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) feed: FeedId,
    /// Index into the feed's subscribers.
    pub(crate) position: u32,
    /// Counted in the feed's `behind`.
    pub(crate) is_behind: bool,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, counted_as: Option<IpAddr>) -> Self {
        Self {
            id,
            phase: Phase::Open,
            readable: false,
            writable: true,
            read_closed: false,
            ended: false,
            is_queued: false,
            is_unsent: false,
            watches_writable: false,
            is_refused: false,
            is_broken: false,
            is_put_off: false,
            input: Vec::new(),
            outbound: Outbound::default(),
            subscription: None,
            pace: Pace::Fresh,
            progress_at: Millis::NEVER,
            wake_at: Millis::NEVER,
            resume_at: Millis::NEVER,
            armed_at: Millis::NEVER,
            armed_behind: Millis::NEVER,
            counted_as,
        }
    }

    /// The next moment at which something is due if nothing happens.
    pub(crate) fn deadline(&self, limits: &Limits) -> Millis {
        match self.phase {
            Phase::Open => {
                let hold = match self.pace {
                    Pace::Holding { until } => until.min(self.progress_at.after(PROGRESS_TIME_MAX)),
                    Pace::Fresh | Pace::Spent => Millis::NEVER,
                };
                self.wake_at.min(self.resume_at).min(self.stalls_at(limits)).min(hold)
            }
            Phase::Closing { until } | Phase::Lingering { until, .. } => until,
            Phase::Poisoned | Phase::Gone => Millis::NEVER,
        }
    }

    /// When the peer has accepted nothing for the stall time.
    pub(crate) fn stalls_at(&self, limits: &Limits) -> Millis {
        limits.stall_time_max.map_or(Millis::NEVER, |wait| self.progress_at.after(wait))
    }

    /// The pace of a reader that is `lag` bytes behind in a feed that keeps `limit` bytes.
    pub(crate) fn next_pace(&self, lag: u64, limit: u64, now: Millis) -> Pace {
        let is_progressing = now < self.progress_at.after(PROGRESS_TIME_MAX);
        match self.pace {
            _ if lag == 0 => Pace::Fresh,
            Pace::Fresh if lag > limit / 2 && is_progressing => {
                Pace::Holding { until: now.after(HOLD_TIME_MAX) }
            }
            // It had its chance: it cannot choose later when to hold.
            Pace::Fresh if lag > limit / 2 => Pace::Spent,
            Pace::Holding { until } if now >= until || !is_progressing => Pace::Spent,
            // Half caught up: the producers go on, and what is left of the time is not saved up.
            Pace::Holding { .. } if lag <= limit / 2 => Pace::Spent,
            pace => pace,
        }
    }

    /// The phase that follows when everything is written and our side is shut down.
    pub(crate) fn linger(now: Millis) -> Phase {
        Phase::Lingering { until: now.after(LINGER_TIME_MAX), bytes_left: LINGER_BYTES_MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    }
}
