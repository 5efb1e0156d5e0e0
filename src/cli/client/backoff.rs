//! How long to wait before the next attempt to connect.
//!
//! The wait doubles from a quarter of a second to [`LONGEST`], and each is drawn at random from
//! its upper half, so that the clients of a restarted daemon do not come back in one moment. Chance is a
//! parameter (the seed), so tests know what happens.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(250);
/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(15);

/// The waits of one client.
#[derive(Debug)]
pub(super) struct Backoff {
    attempt: u32,
    chance: fastrand::Rng,
}

impl Backoff {
    /// A fresh one; clients with different seeds wait differently.
    pub(super) fn new(seed: u64) -> Backoff {
        Backoff { attempt: 0, chance: fastrand::Rng::with_seed(seed) }
    }

    /// The wait before the next attempt.
    pub(super) fn next_wait(&mut self) -> Duration {
        let full = LONGEST.min(SHORTEST.saturating_mul(1 << self.attempt.min(16)));
        self.attempt += 1;
        full.mul_f64(0.5 + self.chance.f64() / 2.0)
    }

    /// To be called when a connection has worked for a while.
    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_stay_in_their_upper_half() {
        let mut backoff = Backoff::new(7);
        for attempt in 0..20 {
            let full = LONGEST.min(SHORTEST * (1 << attempt.min(10)));
            let wait = backoff.next_wait();
            assert!(full / 2 <= wait && wait <= full, "{attempt}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= SHORTEST);
    }

    #[test]
    fn two_clients_do_not_come_back_together() {
        assert_ne!(Backoff::new(1).next_wait(), Backoff::new(2).next_wait());
    }
}
