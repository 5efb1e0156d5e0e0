//! The deadlines of all connections: a heap that knows where everybody is in it.
//!
//! A connection has at most one entry, and [`Deadlines::set`] moves it; so there is nothing to remember in
//! the connection, nothing stale to skip, and the next deadline is the next deadline.

use crate::clock::Millis;

/// In `places`: this slot has no deadline.
const NOWHERE: u32 = u32::MAX;
/// The heap does not bother to become smaller than this.
const CAPACITY_KEPT: usize = 256;

/// A binary heap, the earliest deadline first, and the place of each slot in it.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(Millis, u32)>,
    /// By slot.
    places: Vec<u32>,
}

impl Deadlines {
    /// Sets the deadline of the connection in `slot`, or takes it away with [`Millis::NEVER`].
    pub(crate) fn set(&mut self, slot: u32, at: Millis) {
        let place = self.places.get(slot as usize).copied().unwrap_or(NOWHERE);
        match (place, at) {
            (NOWHERE, Millis::NEVER) => {}
            (NOWHERE, _) => {
                if self.places.len() <= slot as usize {
                    self.places.resize(slot as usize + 1, NOWHERE);
                }
                self.heap.push((at, slot));
                self.rise(self.heap.len() - 1);
            }
            (place, Millis::NEVER) => self.remove(place as usize),
            (place, _) if self.heap[place as usize].0 == at => {}
            (place, _) => {
                self.heap[place as usize].0 = at;
                let place = self.rise(place as usize);
                self.sink(place);
            }
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Millis {
        self.heap.first().map_or(Millis::NEVER, |&(at, _)| at)
    }

    /// Whose deadline is the earliest, if it has come; it stays until it is set anew.
    pub(crate) fn due(&self, now: Millis) -> Option<u32> {
        self.heap.first().filter(|(at, _)| *at <= now).map(|&(_, slot)| slot)
    }

    /// The deadline of a slot, for checks.
    pub(crate) fn get(&self, slot: u32) -> Millis {
        match self.places.get(slot as usize) {
            None | Some(&NOWHERE) => Millis::NEVER,
            Some(&place) => self.heap[place as usize].0,
        }
    }

    fn remove(&mut self, place: usize) {
        self.places[self.heap[place].1 as usize] = NOWHERE;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            let place = self.rise(place);
            self.sink(place);
        }
        // After a crowd has come in and said its names, few deadlines are left.
        if self.heap.capacity() > CAPACITY_KEPT && self.heap.len() < self.heap.capacity() / 8 {
            self.heap.shrink_to(2 * self.heap.len());
        }
    }

    /// Moves an entry up to where it belongs; returns its place.
    fn rise(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        while place > 0 && entry < self.heap[(place - 1) / 2] {
            self.put(place, self.heap[(place - 1) / 2]);
            place = (place - 1) / 2;
        }
        self.put(place, entry);
        place
    }

    /// Moves an entry down to where it belongs.
    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let child =
                if right < self.heap.len() && self.heap[right] < self.heap[left] { right } else { left };
            match self.heap.get(child) {
                Some(&earlier) if earlier < entry => self.put(place, earlier),
                _ => break,
            }
            place = child;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: (Millis, u32)) {
        self.heap[place] = entry;
        self.places[entry.1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Against a table in which the earliest is searched.
    #[test]
    fn the_earliest_comes_first_however_the_deadlines_move() {
        let (mut deadlines, mut naive) = (Deadlines::default(), BTreeMap::new());
        let mut random = 1_u64;
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (slot, at) = ((random >> 33) as u32 % 300, Millis((random >> 45) % 1000));
            if step % 3 == 0 {
                deadlines.set(slot, Millis::NEVER);
                naive.remove(&slot);
            } else {
                deadlines.set(slot, at);
                naive.insert(slot, at);
            }
            let earliest = naive.values().min().copied().unwrap_or(Millis::NEVER);
            assert_eq!(deadlines.next(), earliest);
            assert!(naive.iter().all(|(&slot, &at)| deadlines.get(slot) == at));
            let due = deadlines.due(Millis(500));
            assert_eq!(due.map(|slot| naive[&slot]), Some(earliest).filter(|&at| at <= Millis(500)));
        }
    }
}
