//! The deadlines of all connections: a heap with lazy re-arming.
//!
//! A deadline that moves to a later time leaves its entry where it is; when that comes up, the
//! connection is asked for its real deadline and armed again. So a busy connection, whose deadlines
//! move with every byte, touches the heap once per time-out and not once per byte.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ConnectionId;
use crate::clock::Millis;

/// The heap does not bother to become smaller than this.
const CAPACITY_KEPT: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Deadlines(BinaryHeap<Reverse<(Millis, ConnectionId)>>);

impl Deadlines {
    pub(crate) fn push(&mut self, at: Millis, id: ConnectionId) {
        self.0.push(Reverse((at, id)));
    }

    /// The earliest entry, due or not.
    pub(crate) fn next(&self) -> Millis {
        self.0.peek().map_or(Millis::NEVER, |Reverse((at, _))| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<(Millis, ConnectionId)> {
        let Reverse(entry) = *self.0.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.0.pop();
        // After a crowd has come in and said its names, few deadlines are left.
        if self.0.capacity() > CAPACITY_KEPT && self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(2 * self.0.len());
        }
        Some(entry)
    }
}
