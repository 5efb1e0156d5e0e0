//! What the loop counts.

use std::time::Duration;

/// What the loop has counted since it started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Connections accepted and let in.
    pub accepted: u64,
    /// Connections refused for `max_connections`.
    pub refused_full: u64,
    /// Connections refused for `max_per_ip`.
    pub refused_per_ip: u64,
    /// Connections refused for `connect_rate`.
    pub refused_too_often: u64,
    /// Errors of `accept(2)`, those included that concern one connection only.
    pub accept_errors: u64,
    /// Bytes read from peers.
    pub bytes_in: u64,
    /// Bytes written to peers.
    pub bytes_out: u64,
    /// Writes that moved at least one byte.
    pub writes: u64,
    /// Writes that met a full socket.
    pub blocked_writes: u64,
    /// Changes of interest: `epoll_ctl(2)` after the first registration.
    pub interest_changes: u64,
    /// Frames published, counted once per subscriber they were meant for.
    pub deliveries: u64,
    /// Peers given up for being slow.
    pub lost_slow: u64,
    /// Peers whose connection broke.
    pub lost_broken: u64,
    /// Times that a channel was throttled for a reader that was behind.
    pub throttles: u64,
    /// Times that a peer's input was deferred for its rate.
    pub pauses: u64,
    /// Turns of the loop that are over.
    pub turns: u64,
    /// What they took, without waiting, in microseconds.
    pub busy_us: u64,
    /// How many took at most as long as each of [`TURN_TIME_BOUNDS_US`], and longer than the one before.
    pub turn_times: [u64; TURN_TIME_BOUNDS_US.len()],
}

/// Upper bounds of the histogram of turn times, in microseconds.
pub const TURN_TIME_BOUNDS_US: [u64; 10] =
    [50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000];

impl Counters {
    pub(super) fn count_turn(&mut self, busy: Duration) {
        let busy_us = busy.as_micros() as u64;
        self.turns += 1;
        self.busy_us += busy_us;
        if let Some(bucket) = TURN_TIME_BOUNDS_US.iter().position(|&bound| busy_us <= bound) {
            self.turn_times[bucket] += 1;
        }
    }
}
