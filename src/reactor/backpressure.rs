//! Backpressure: *a room waits for every reader who takes at least `slowest` bytes per second, and for
//! nobody who takes less.*
//!
//! A reader that is more than the *high watermark* behind in its feed throttles the feed's channel: the
//! producers are not read, so the kernel slows them down, until the reader is less than the *low watermark*
//! behind. It keeps this right by what it takes. Every byte that the kernel takes for it buys it
//! 1/`slowest` of a second, so whoever takes `slowest` bytes in each second is waited for as long as it
//! needs, and whoever takes less runs out of time, however it goes about it. Time passes for all readers that
//! have something to take at once, so they cannot take turns in holding the room: together they slow it down
//! as one of them could.
//!
//! The kernel takes bytes in lumps: a good part of its send buffer at a time, when the peer's window opens. So a reader
//! may be ahead by as many bytes as such a buffer holds, or by a second, and it may be [`LATE_MAX`] late.

use std::time::Duration;

use super::connection::{Deferred, Reading, UNREAD_REPLIES_MAX};
use super::net::find;
use super::outbound::Follow;
use super::{ChannelId, ConnectionId, Net};
use crate::clock::Millis;

/// What the kernel may take at once, in bytes: twice the default of `send_buffer_bytes`, as Linux doubles it
/// (socket(7)). With less, a reader of exactly 64 KiB/s on the loopback device, whose segments have 64 KiB, is cut.
const LUMP_BYTES_MAX: u64 = 256 * 1024;
/// How late a reader may be with what it takes.
const LATE_MAX: Duration = Duration::from_millis(500);

/// What a reader has bought by taking bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reader {
    /// It has taken enough until then, in nanoseconds of the loop's clock.
    paid_until_ns: u64,
}

const LATE_MAX_NS: u64 = LATE_MAX.as_nanos() as u64;
const SECOND_NS: u64 = 1_000_000_000;

impl Reader {
    /// Something begins to wait for it, after nothing did.
    pub(crate) fn begin(&mut self, now: Millis) {
        self.paid_until_ns = self.paid_until_ns.max(ns(now));
    }

    /// It has taken `bytes`; `slowest` is what it has to take per second.
    pub(crate) fn took(&mut self, bytes: usize, slowest: usize, now: Millis) {
        let (now, slowest) = (ns(now), slowest as u64);
        let bought = bytes as u64 * SECOND_NS / slowest;
        let ahead_max = SECOND_NS.max(LUMP_BYTES_MAX * SECOND_NS / slowest);
        // What it owes is owed until it has caught up, or many could buy a little time each, one after the other.
        self.paid_until_ns = (self.paid_until_ns + bought).min(now + ahead_max);
    }

    /// Until when it is protected if it takes nothing more.
    pub(crate) fn protected_until(&self) -> Millis {
        Millis(self.paid_until_ns.saturating_add(LATE_MAX_NS).div_ceil(1_000_000))
    }

    pub(crate) fn is_protected(&self, now: Millis) -> bool {
        now < self.protected_until()
    }

    /// Whether its channel has to wait for it, now that it is `lag` bytes behind in a feed that keeps
    /// `feed_bytes`; it may do so already.
    pub(crate) fn must_be_waited_for(
        &self,
        is_waited_for: bool,
        lag: u64,
        feed_bytes: u64,
        now: Millis,
    ) -> bool {
        let watermark = if is_waited_for { feed_bytes / 4 } else { feed_bytes / 2 };
        lag > watermark && self.is_protected(now)
    }
}

fn ns(at: Millis) -> u64 {
    at.0.saturating_mul(1_000_000)
}

/// Who is waited for in a channel, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// How many readers are waited for.
    pub(crate) waited_for: u32,
    /// Producers that were ready meanwhile, to be served when nobody is waited for any more.
    pub(crate) deferred: Vec<ConnectionId>,
}

impl Net {
    /// Whether a channel waits for a reader that is behind. Its subscribers are not read meanwhile; for others
    /// who want to publish there is [`Then::Wait`](super::Then::Wait).
    pub fn is_throttled(&mut self, channel: ChannelId) -> bool {
        self.feeds.channel(channel).is_some_and(|channel| channel.throttle.waited_for > 0)
    }

    /// Brings up to date whether the channel of a reader, `lag` bytes behind, has to wait for it.
    pub(super) fn update_throttle(&mut self, id: ConnectionId, lag: u64) {
        let (Some(feed_bytes), Some(_)) = (self.limits.feed_bytes, self.limits.slowest) else { return };
        let now = self.now.monotonic;
        if let Some(connection) = find(&mut self.connections, id) {
            let is_waited_for =
                connection.reader.must_be_waited_for(connection.is_waited_for, lag, feed_bytes as u64, now);
            self.set_waited_for(id, is_waited_for);
        }
        for index in 0..self.peek(id).map_or(0, |c| c.outbound.follows().len()) {
            let Some(connection) = self.peek(id) else { return };
            let Follow { feed, waiting, is_waited_for, .. } = connection.outbound.follows()[index];
            let is_waited_for =
                connection.reader.must_be_waited_for(is_waited_for, waiting.into(), feed_bytes as u64, now);
            self.set_followed_waits(id, feed, is_waited_for);
        }
    }

    /// No channel waits for a connection any more.
    pub(super) fn stop_waiting_for(&mut self, id: ConnectionId) {
        self.set_waited_for(id, false);
        for index in 0..self.peek(id).map_or(0, |c| c.outbound.follows().len()) {
            if let Some(&Follow { feed, .. }) = self.peek(id).and_then(|c| c.outbound.follows().get(index)) {
                self.set_followed_waits(id, feed, false);
            }
        }
    }

    /// Changes whether the channel of a reader waits for it. When it waits for nobody any more, the producers go on.
    pub(super) fn set_waited_for(&mut self, id: ConnectionId, is_waited_for: bool) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let was_waited_for = std::mem::replace(&mut connection.is_waited_for, is_waited_for);
        let channel = connection.subscription.and_then(|s| self.feeds.feed(s.feed).channel);
        if let Some(channel) = channel.filter(|_| was_waited_for != is_waited_for) {
            self.count_waited_for(channel, is_waited_for);
        }
    }

    /// A channel waits for one reader more, or one less.
    pub(super) fn count_waited_for(&mut self, channel: ChannelId, is_waited_for: bool) {
        let Some(channel) = self.feeds.channel(channel) else { return };
        let throttle = &mut channel.throttle;
        if is_waited_for {
            self.counters.throttles += u64::from(throttle.waited_for == 0);
            throttle.waited_for += 1;
            return;
        }
        throttle.waited_for -= 1;
        if throttle.waited_for == 0 {
            for id in std::mem::take(&mut throttle.deferred) {
                self.resume(id);
            }
        }
    }

    /// Whether a connection has to be left unread for now, for the sake of its readers or its own. It is queued
    /// again when that is over.
    pub(super) fn must_wait(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = find(&mut self.connections, id) else { return true };
        if connection.outbound.own() > UNREAD_REPLIES_MAX {
            // Its own replies wait: flushing them queues it again.
            return true;
        }
        if connection.reading == Reading::Broken {
            // Nobody is there any more who could be slowed down.
            return false;
        }
        let channel = connection.subscription.and_then(|s| self.feeds.feed(s.feed).channel);
        channel.is_some_and(|channel| self.defer_if_throttled(id, channel))
    }

    /// Defers a connection's input until `channel` is no longer throttled; false if it is not.
    pub(super) fn defer_if_throttled(&mut self, id: ConnectionId, channel: ChannelId) -> bool {
        let Some(channel) = self.feeds.channel(channel).filter(|c| c.throttle.waited_for > 0) else {
            return false;
        };
        if find(&mut self.connections, id).is_some_and(|c| c.deferred() != Deferred::Throttled) {
            channel.throttle.deferred.push(id);
            self.set_deferred(id, Deferred::Throttled);
        }
        true
    }

    /// Goes on with a connection whose input was deferred, in the next turn: see [`Then`](super::Then).
    pub fn resume(&mut self, id: ConnectionId) {
        if find(&mut self.connections, id).is_some_and(|c| c.deferred() != Deferred::No) {
            self.set_deferred(id, Deferred::Yielded);
            self.note_ready(id);
            self.arm(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOWEST: usize = 64 * 1024;

    /// Takes `lump` bytes whenever it has read as many at `rate`, for a minute; when it was unprotected first.
    fn unprotected_after(rate: usize, lump: usize) -> Option<Millis> {
        let (mut reader, mut taken) = (Reader::default(), 0);
        reader.begin(Millis(0));
        reader.took(lump, SLOWEST, Millis(0));
        (0..60_000).map(Millis).find(|&now| {
            while (now.0 as usize * rate / 1000 - taken) >= lump {
                taken += lump;
                reader.took(lump, SLOWEST, now);
            }
            !reader.is_protected(now)
        })
    }

    #[test]
    fn whoever_takes_the_minimum_is_protected_in_whatever_lumps() {
        for lump in [1, 10, 1500, 64 * 1024, 85 * 1024, 128 * 1024, 200 * 1024] {
            for rate in [SLOWEST, 2 * SLOWEST, 20 * SLOWEST] {
                assert_eq!(unprotected_after(rate, lump), None, "{lump} at {rate}");
            }
            let late = unprotected_after(SLOWEST * 9 / 10, lump).expect("too slow");
            assert!(late < Millis(55_000), "{lump}: {late:?}");
        }
    }

    #[test]
    fn whoever_takes_nothing_loses_its_protection_and_what_it_took_before_does_not_save_it() {
        let mut reader = Reader::default();
        reader.begin(Millis(0));
        assert!(reader.is_protected(Millis(499)) && !reader.is_protected(Millis(500)));
        for now in 0..10_000 {
            reader.took(1 << 20, SLOWEST, Millis(now));
        }
        // What it may be ahead, and what it may be late.
        assert_eq!(reader.protected_until(), Millis(9_999 + 4_000 + 500));
    }

    #[test]
    fn watermarks_are_a_half_and_a_quarter() {
        let reader = Reader::default();
        assert!(!reader.must_be_waited_for(false, 50, 100, Millis(0)));
        assert!(reader.must_be_waited_for(false, 51, 100, Millis(0)));
        assert!(reader.must_be_waited_for(true, 26, 100, Millis(0)));
        assert!(!reader.must_be_waited_for(true, 25, 100, Millis(0)));
        assert!(!reader.must_be_waited_for(true, 51, 100, Millis(1000)), "it took nothing");
    }
}
