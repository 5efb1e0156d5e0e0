//! Whom members do not want to hear.
//!
//! A name is ignored, and nobody else is for it: whoever comes under it is not heard, and whoever was ignored under it
//! and takes another one is not heard either, as long as it stays. So a member that was ignored has *aliases*, the
//! names that it gave up; nothing that it does changes the lists of others.
//!
//! Names are looked up by the hash of what they fold to, with a key that nobody knows. So nobody can look for two names
//! that share one; and among a million names that are ignored, a name is taken for one of them by chance once in ten
//! million million.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::Name;
use super::alike::fold;

/// A member ignores at most so many names.
pub(super) const IGNORED_MAX: usize = 20;
/// So many of the names that a member gave up are remembered, if it was ignored under them.
const ALIASES_MAX: usize = 64;
/// What a name takes besides its letters, in bytes: a place in a tree that may be half empty.
const PLACE_BYTES: usize = 2 * size_of::<((Hash, u32), u64)>();

/// The keyed hash of a folded name.
type Hash = u64;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Ignored {
    /// Whom each member ignores: names, with a newline behind each. One piece of memory is less than many small ones.
    names: BTreeMap<u32, String>,
    /// Under which name somebody is ignored, by which member, and since when.
    since: BTreeMap<(Hash, u32), u64>,
    /// The names that each member gave up, and when.
    aliases: BTreeMap<u32, VecDeque<(Hash, u64)>>,
    hasher: RandomState,
    /// How often somebody began to ignore somebody: a clock.
    clock: u64,
}

impl Ignored {
    /// Whom a member ignores, in the order in which it said so.
    pub(super) fn names(&self, key: u32) -> Vec<Name> {
        self.lines(key).filter_map(|name| Name::parse(name).ok()).collect()
    }

    fn lines(&self, key: u32) -> impl Iterator<Item = &str> {
        self.names.get(&key).into_iter().flat_map(|names| names.lines())
    }

    /// Which members do not hear the one with this key and name.
    pub(super) fn deaf_to(&self, key: u32, name: &Name) -> Vec<u32> {
        // The common case costs nothing.
        if self.since.is_empty() {
            return Vec::new();
        }
        let now = (self.hash(name.as_str()), u64::MAX);
        let mut deaf: Vec<u32> = self
            .aliases
            .get(&key)
            .into_iter()
            .flatten()
            .chain([&now])
            .flat_map(|&(name, until)| self.ignoring(name).filter(move |(_, since)| *since <= until))
            .map(|(by, _)| by)
            .filter(|&by| by != key)
            .collect();
        deaf.sort_unstable();
        deaf.dedup();
        deaf
    }

    /// Lets a member ignore a name; returns whether there was place for it.
    pub(super) fn add(&mut self, key: u32, name: &Name) -> bool {
        let place = (self.hash(name.as_str()), key);
        if self.since.contains_key(&place) {
            return true;
        }
        if self.lines(key).count() >= IGNORED_MAX {
            return false;
        }
        self.clock += 1;
        self.since.insert(place, self.clock);
        let names = self.names.entry(key).or_default();
        names.push_str(name.as_str());
        names.push('\n');
        true
    }

    /// Lets a member hear a name again; returns whether it was ignored.
    pub(super) fn remove(&mut self, key: u32, name: &Name) -> bool {
        let hash = self.hash(name.as_str());
        if self.since.remove(&(hash, key)).is_none() {
            return false;
        }
        let others = self.lines(key).filter(|name| self.hash(name) != hash);
        let others: String = others.flat_map(|name| [name, "\n"]).collect();
        if others.is_empty() {
            self.names.remove(&key);
        } else {
            self.names.insert(key, others);
        }
        true
    }

    /// A member has given up a name.
    pub(super) fn rename(&mut self, key: u32, from: &Name) {
        if self.since.is_empty() {
            return;
        }
        let hash = self.hash(from.as_str());
        if self.ignoring(hash).next().is_some() {
            let aliases = self.aliases.entry(key).or_default();
            aliases.retain(|(name, _)| *name != hash);
            aliases.push_back((hash, self.clock));
            if aliases.len() > ALIASES_MAX {
                aliases.pop_front();
            }
        }
    }

    /// A member is gone.
    pub(super) fn forget(&mut self, key: u32) {
        self.aliases.remove(&key);
        for name in self.names.remove(&key).unwrap_or_default().lines() {
            self.since.remove(&(self.hash(name), key));
        }
    }

    /// Memory that is held for a member, in bytes.
    pub(super) fn memory(&self, key: u32) -> usize {
        let names = self.names.get(&key).map_or(0, String::capacity);
        let places = self.lines(key).count() * PLACE_BYTES;
        let aliases = self.aliases.get(&key).map_or(0, VecDeque::capacity) * size_of::<(Hash, u64)>();
        names + places + aliases
    }

    fn hash(&self, name: &str) -> Hash {
        self.hasher.hash_one(fold(name))
    }

    /// Which members ignore whoever is called so, and since when.
    fn ignoring(&self, name: Hash) -> impl Iterator<Item = (u32, u64)> {
        self.since.range((name, 0)..=(name, u32::MAX)).map(|(&(_, by), &since)| (by, since))
    }

    pub(super) fn check_invariants(&self, is_member: impl Fn(u32) -> bool) {
        let mut places = 0;
        for &key in self.names.keys() {
            let names = self.names(key);
            assert!(is_member(key) && (1..=IGNORED_MAX).contains(&names.len()));
            assert!(names.iter().all(|name| self.since.contains_key(&(self.hash(name.as_str()), key))));
            places += names.len();
        }
        assert_eq!(places, self.since.len());
        assert!(self.aliases.iter().all(|(&key, names)| is_member(key) && names.len() <= ALIASES_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    const EVE: u32 = 9;

    #[test]
    fn a_name_is_ignored_however_it_is_written_and_whatever_it_becomes() {
        let mut ignored = Ignored::default();
        assert!(ignored.add(1, &name("Eve")) && ignored.add(1, &name("EVE")) && ignored.add(2, &name("eve")));
        assert_eq!(ignored.deaf_to(EVE, &name("eVe")), [1, 2]);
        assert_eq!(ignored.names(1), [name("Eve")]);
        ignored.rename(EVE, &name("eve"));
        assert_eq!(ignored.deaf_to(EVE, &name("mallory")), [1, 2]);
        assert_eq!(ignored.names(1), [name("Eve")], "what others do changes no list");
        assert_eq!(ignored.deaf_to(5, &name("mallory")), [0; 0], "somebody else of that name is heard");
        assert!(ignored.remove(1, &name("EVE")) && !ignored.remove(1, &name("eve")));
        assert_eq!(ignored.deaf_to(EVE, &name("mallory")), [2]);
        // Whoever is ignored under a name only now is not the one who gave it up before.
        assert!(ignored.add(3, &name("eve")));
        assert_eq!(ignored.deaf_to(EVE, &name("mallory")), [2]);
        ignored.check_invariants(|_| true);
        ignored.forget(EVE);
        assert_eq!(ignored.deaf_to(EVE, &name("mallory")), [0; 0]);
        for key in 1..4 {
            ignored.forget(key);
        }
        ignored.check_invariants(|_| false);
        assert!(ignored.since.is_empty() && ignored.aliases.is_empty());
        assert!((1..10).all(|key| ignored.memory(key) == 0));
    }

    #[test]
    fn there_is_a_limit_and_nothing_is_left_of_what_is_over_it() {
        let mut ignored = Ignored::default();
        let names: Vec<Name> = (0..=IGNORED_MAX).map(|i| name(&format!("n{i}"))).collect();
        for (i, name) in names.iter().enumerate() {
            assert_eq!(ignored.add(1, name), i < IGNORED_MAX);
        }
        for name in &names {
            ignored.rename(EVE, name);
        }
        ignored.check_invariants(|_| true);
        assert!((1000..2000).contains(&ignored.memory(1)), "{} bytes", ignored.memory(1));
        assert!((1..1500).contains(&ignored.memory(EVE)), "{} bytes", ignored.memory(EVE));
    }
}
