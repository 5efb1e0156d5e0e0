//! Repeatable choices: the same seed makes the same members slow.

/// SplitMix64: a counter, scrambled. Good enough to choose with, and short.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The sequence that `seed` begins.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// `chosen` of `total` places are true.
    pub(super) fn choose(&mut self, chosen: usize, total: usize) -> Vec<bool> {
        let mut places: Vec<bool> = (0..total).map(|place| place < chosen).collect();
        for place in (1..total).rev() {
            places.swap(place, self.below(place + 1));
        }
        places
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_wanted_are_chosen_and_again_the_same() {
        let chosen = Random::new(7).choose(5, 100);
        assert_eq!(chosen.iter().filter(|chosen| **chosen).count(), 5);
        assert_eq!(chosen, Random::new(7).choose(5, 100));
        assert_ne!(chosen, Random::new(8).choose(5, 100));
    }
}
