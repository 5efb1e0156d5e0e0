//! Which messages of a room were shown already: nothing is shown twice, nothing silently missed.
//!
//! Ids count 1, 2, 3 … per room, so the seen ones are "all up to `last`" and perhaps a few ahead
//! of it (live messages may overtake the history). Of those that were there before we came, the ones from `first` on were
//! shown, too.

use std::collections::BTreeSet;

/// The seen ids of one room.
#[derive(Debug)]
pub(super) struct Seen {
    first: u64,
    last: u64,
    ahead: BTreeSet<u64>,
}

impl Seen {
    /// Everything up to and including `last` counts as seen, though nothing of it was shown.
    pub(super) fn up_to(last: u64) -> Seen {
        Seen { first: last + 1, last, ahead: BTreeSet::new() }
    }

    /// The id from which on everything was shown.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Notes that older ones were shown, from `first` to `last`. If there is a hole behind them, they do not count.
    pub(super) fn note_older(&mut self, first: u64, last: u64) {
        if last + 1 >= self.first {
            self.first = self.first.min(first);
        }
    }

    /// The id up to which everything was seen.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Notes an id; true if it is new.
    pub(super) fn note(&mut self, id: u64) -> bool {
        if id <= self.last || !self.ahead.insert(id) {
            return false;
        }
        self.close_gap();
        true
    }

    /// Gives up waiting for ids up to `last`.
    pub(super) fn skip_to(&mut self, last: u64) {
        self.last = self.last.max(last);
        self.ahead = self.ahead.split_off(&(self.last + 1));
        self.close_gap();
    }

    fn close_gap(&mut self) {
        while self.ahead.remove(&(self.last + 1)) {
            self.last += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_in_any_order() {
        let mut seen = Seen::up_to(3);
        assert!(!seen.note(3));
        assert!(seen.note(5) && !seen.note(5));
        assert_eq!(seen.last(), 3);
        assert!(seen.note(4));
        assert_eq!(seen.last(), 5);
    }

    #[test]
    fn older_ones_reach_back_as_far_as_there_is_no_hole() {
        let mut seen = Seen::up_to(40);
        for (first, last, expected) in [(31, 40, 31), (10, 20, 31), (25, 35, 25), (5, 24, 5), (38, 40, 5)] {
            seen.note_older(first, last);
            assert_eq!(seen.first(), expected);
        }
    }

    #[test]
    fn a_gap_can_be_given_up() {
        let mut seen = Seen::up_to(0);
        assert!(seen.note(8) && seen.note(10));
        seen.skip_to(7);
        assert_eq!(seen.last(), 8);
        assert!(!seen.note(10) && seen.note(9));
        assert_eq!(seen.last(), 10);
    }
}
