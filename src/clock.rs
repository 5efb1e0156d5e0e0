//! Time, as every layer passes it around: a parameter, never looked up.
//!
//! The loop reads the clocks once per turn and hands [`Now`] to everything it calls, so the whole
//! server runs under a fake clock in the simulation.

use std::time::Duration;

/// Milliseconds on the daemon's monotonic clock: it starts near 0 with the process and never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// Later than every moment; the value of a deadline that is not set.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `wait` after this one; [`Millis::NEVER`] stays what it is.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// For deadlines and rates.
    pub monotonic: Millis,
    /// For people: milliseconds since 1970-01-01 00:00 UTC.
    pub unix_ms: u64,
}
