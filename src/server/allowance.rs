//! How much a client may say.

use crate::clock::Millis;

/// How much a client may say: the generic cell rate algorithm (ITU-T I.371), a leaky bucket in one number.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// When the bucket will have run empty, in microseconds.
    empty_at_us: u64,
}

impl Allowance {
    /// Whether one more line of `burst` fits into the bucket; if not, when it will.
    pub(super) fn check(&self, rate: usize, burst: usize, now: Millis) -> Result<(), Millis> {
        let interval_us = 1_000_000 / rate.max(1) as u64;
        let room_us = interval_us * burst.saturating_sub(1) as u64;
        let free_at_us = self.empty_at_us.saturating_sub(room_us);
        if free_at_us <= now.0 * 1000 { Ok(()) } else { Err(Millis(free_at_us.div_ceil(1000))) }
    }

    pub(super) fn spend(&mut self, rate: usize, now: Millis) {
        self.empty_at_us = self.empty_at_us.max(now.0 * 1000) + 1_000_000 / rate.max(1) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let (mut allowance, mut now, mut passed) = (Allowance::default(), Millis(1000), Vec::new());
        while passed.len() < 14 {
            match allowance.check(5, 10, now) {
                Ok(()) => {
                    allowance.spend(5, now);
                    passed.push(now.0);
                }
                Err(at) => now = at,
            }
        }
        assert_eq!(passed[..10], [1000; 10]);
        assert_eq!(passed[10..], [1200, 1400, 1600, 1800]);
    }
}
