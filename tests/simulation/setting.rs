//! What is drawn for each seed: limits, and how the world is.

use std::time::Duration;

use roomd::limits::Limits;

use roomd::reactor::simulated::Rng;

use crate::random::ROOMS;

/// In so many rooms a client is at once, at most.
pub const JOINED_MAX: usize = 6;

/// How one run is.
#[derive(Debug, Clone)]
pub struct Setting {
    pub limits: Limits,
    /// A step takes up to so long.
    pub tick_ms: usize,
    /// How often a system call is interrupted or cut short, in percent.
    pub fault_percent: usize,
    /// What the sockets of healthy clients hold.
    pub healthy_capacity: usize,
    /// Some clients go to rooms that nobody observes, and that make place for others.
    pub has_side_rooms: bool,
    /// The process is stopped now and then.
    pub has_pauses: bool,
    /// It ends with a shutdown, and not when everybody has left.
    pub ends_by_stop: bool,
    /// Rooms are kept in a store that answers late.
    pub has_disk: bool,
}

impl Setting {
    pub fn draw(rng: &mut Rng) -> Self {
        let tick_ms = [30, 60][rng.below(2)];
        let is_small = rng.chance(50);
        let healthy_capacity = if is_small { 200 + rng.below(600) } else { 1 << 20 };
        let feed_bytes = [4, 16][rng.below(2)] * 1024;
        let mut limits =
            Limits { feed_bytes: Some(feed_bytes), max_line_bytes: 512, rate: None, ..Limits::default() };
        // Whoever takes all that there is in each step takes far more than this, whatever the faults.
        let slowest =
            if is_small { healthy_capacity * 1000 / tick_ms / 8 } else { [2, 64][rng.below(2)] * 1024 };
        limits.slowest = Some(slowest);
        let catch_up = Duration::from_millis((feed_bytes * 1000 / slowest) as u64);
        limits.ping_after = rng.chance(60).then(|| Duration::from_millis(500 + rng.below(1500) as u64));
        // A ping waits behind what is to be read before it.
        limits.dead_after = limits.ping_after.map(|after| after + catch_up + Duration::from_secs(1));
        if rng.chance(50) {
            limits.rate = Some(3 + rng.below(30));
            limits.burst = 1 + rng.below(20);
        }
        limits.quiet_above = rng.chance(40).then(|| 3 + rng.below(6));
        limits.stall = Some(Duration::from_secs([2, 10][rng.below(2)]));
        let has_side_rooms = rng.chance(50);
        limits.max_joined = Some(JOINED_MAX);
        limits.max_rooms = Some(if has_side_rooms { ROOMS.len() + 2 } else { 64 });
        let mut fault_percent = rng.below(30);
        limits.max_buffered_bytes = None;
        if !is_small && rng.chance(40) {
            // Without faults a healthy client is never behind, and never the one for whom most is held.
            limits.max_buffered_bytes = Some(4096 + feed_bytes / 2 + rng.below(2 * feed_bytes));
            fault_percent = 0;
        }
        let (has_pauses, ends_by_stop) = (rng.chance(40), rng.chance(50));
        if has_pauses {
            // What was sent during a pause has arrived by its end.
            fault_percent = 0;
        }
        let has_disk = rng.chance(50);
        Self {
            limits,
            tick_ms,
            fault_percent,
            healthy_capacity,
            has_side_rooms,
            has_pauses,
            ends_by_stop,
            has_disk,
        }
    }
}
