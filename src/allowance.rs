//! How much somebody may do in a time: lines, connections, new rooms.
//!
//! It belongs to the subscriber, not to a connection: whoever connects again has no more of it.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Millis;

/// At most so many subscribers are told apart; the others share one allowance.
const SUBSCRIBERS_MAX: usize = 64 * 1024;
/// Whose that is.
const OTHERS: u64 = 0;
/// How often those are forgotten whose allowance has refilled.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How much may be done: the generic cell rate algorithm (ITU-T I.371), a leaky bucket in one number.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    /// When the bucket will have run empty, in microseconds.
    empty_at_us: u64,
}

impl Allowance {
    /// Spends one; returns from when on it may be used, which is now unless `burst` of them are spent. There is another
    /// one each `interval`. Those who
    /// have to wait are served in the order in which they asked, so all get the same share.
    pub(crate) fn reserve(&mut self, interval: Duration, burst: usize, now: Millis) -> Millis {
        let interval_us = interval.as_micros() as u64;
        let free_at_us = self.empty_at_us.saturating_sub(interval_us * burst.saturating_sub(1) as u64);
        self.empty_at_us = self.empty_at_us.max(now.0 * 1000) + interval_us;
        Millis(free_at_us.div_ceil(1000)).max(now)
    }

    /// Gives one back that was not used.
    pub(crate) fn refund(&mut self, interval: Duration) {
        self.empty_at_us = self.empty_at_us.saturating_sub(interval.as_micros() as u64);
    }

    /// Whether one may be used now.
    pub(crate) fn has_one(&self, interval: Duration, burst: usize, now: Millis) -> bool {
        self.empty_at_us <= now.0 * 1000 + interval.as_micros() as u64 * burst.saturating_sub(1) as u64
    }
}

/// The allowances of all subscribers. One that has refilled is as good as none, and is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    by_subscriber: HashMap<u64, Allowance>,
    swept_at: Millis,
}

impl Allowances {
    /// The allowance of a subscriber.
    pub(crate) fn of(&mut self, subscriber: u64, now: Millis) -> &mut Allowance {
        if now.since(self.swept_at) >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.by_subscriber.retain(|_, allowance| allowance.empty_at_us > now.0 * 1000);
            self.by_subscriber.shrink_to(2 * self.by_subscriber.len());
        }
        let is_full =
            self.by_subscriber.len() >= SUBSCRIBERS_MAX && !self.by_subscriber.contains_key(&subscriber);
        self.by_subscriber.entry(if is_full { OTHERS } else { subscriber }).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIFTH: Duration = Duration::from_millis(200);

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let mut allowance = Allowance::default();
        let at: Vec<u64> = (0..14).map(|_| allowance.reserve(FIFTH, 10, Millis(1000)).0).collect();
        assert_eq!(at[..10], [1000; 10]);
        assert_eq!(at[10..], [1200, 1400, 1600, 1800]);
        allowance.refund(FIFTH);
        assert_eq!(allowance.reserve(FIFTH, 10, Millis(1100)), Millis(1800));
        assert!(!allowance.has_one(FIFTH, 10, Millis(1999)) && allowance.has_one(FIFTH, 10, Millis(2000)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_when_it_has_refilled() {
        let mut allowances = Allowances::default();
        for subscriber in 1..100_000 {
            allowances.of(subscriber, Millis(1)).reserve(SWEEP_INTERVAL, 1, Millis(1));
        }
        assert!(allowances.by_subscriber.len() <= SUBSCRIBERS_MAX + 1);
        assert!(
            !allowances.of(1, Millis(1)).has_one(SWEEP_INTERVAL, 1, Millis(1)),
            "kept until it has refilled"
        );
        allowances.of(1, Millis(70_000));
        assert!(allowances.by_subscriber.capacity() < 100);
    }
}
