//! Whom members do not want to hear.
//!
//! A name is ignored, and nobody else is for it: whoever comes under it is not heard, and whoever was ignored under it and
//! takes another one is not heard either, as long as it stays. So a member that was ignored has *aliases*, the names that it
//! gave up; nothing that it does changes the lists of others.

use std::collections::{HashMap, VecDeque};

use super::Name;
use super::alike::fold;

/// A member ignores at most so many names.
pub(super) const IGNORED_MAX: usize = 50;
/// So many of the names that a member gave up are remembered, if it was ignored under them.
const ALIASES_MAX: usize = 64;
/// What a name that is ignored takes besides its letters: its places in two tables, in bytes.
const OVERHEAD_BYTES: usize = 192;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Ignored {
    /// Whom each member ignores.
    names: HashMap<u32, Vec<Name>>,
    /// Which members ignore whoever is called so, folded, and since when.
    members: HashMap<String, HashMap<u32, u64>>,
    /// The names that each member gave up, folded, and when.
    aliases: HashMap<u32, VecDeque<(String, u64)>>,
    /// How often somebody began to ignore somebody: a clock.
    clock: u64,
}

impl Ignored {
    /// Whom a member ignores, in the order in which it said so.
    pub(super) fn names(&self, key: u32) -> &[Name] {
        self.names.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Which members do not hear the one with this key and name.
    pub(super) fn deaf_to(&self, key: u32, name: &Name) -> Vec<u32> {
        // The common case costs nothing.
        if self.members.is_empty() {
            return Vec::new();
        }
        let now = (fold(name.as_str()), u64::MAX);
        let mut deaf: Vec<u32> = self
            .aliases
            .get(&key)
            .into_iter()
            .flatten()
            .chain([&now])
            .filter_map(|(name, until)| Some((self.members.get(name)?, until)))
            .flat_map(|(members, until)| {
                members.iter().filter(move |(_, since)| *since <= until).map(|(&by, _)| by)
            })
            .filter(|&by| by != key)
            .collect();
        deaf.sort_unstable();
        deaf.dedup();
        deaf
    }

    /// Lets a member ignore a name; returns whether there was place for it.
    pub(super) fn add(&mut self, key: u32, name: Name) -> bool {
        let folded = fold(name.as_str());
        if self.members.get(&folded).is_some_and(|members| members.contains_key(&key)) {
            return true;
        }
        if self.names(key).len() >= IGNORED_MAX {
            return false;
        }
        self.clock += 1;
        self.members.entry(folded).or_default().insert(key, self.clock);
        self.names.entry(key).or_default().push(name);
        true
    }

    /// Lets a member hear a name again; returns whether it was ignored.
    pub(super) fn remove(&mut self, key: u32, name: &Name) -> bool {
        let folded = fold(name.as_str());
        let Some(names) = self.names.get_mut(&key) else { return false };
        let Some(at) = names.iter().position(|n| fold(n.as_str()) == folded) else { return false };
        names.remove(at);
        if names.is_empty() {
            self.names.remove(&key);
        }
        self.remove_member(key, &folded);
        true
    }

    /// A member has given up a name.
    pub(super) fn rename(&mut self, key: u32, from: &Name) {
        if self.members.is_empty() {
            return;
        }
        let folded = fold(from.as_str());
        if self.members.contains_key(&folded) {
            let aliases = self.aliases.entry(key).or_default();
            aliases.retain(|(name, _)| *name != folded);
            aliases.push_back((folded, self.clock));
            if aliases.len() > ALIASES_MAX {
                aliases.pop_front();
            }
        }
    }

    /// A member is gone.
    pub(super) fn forget(&mut self, key: u32) {
        self.aliases.remove(&key);
        for name in self.names.remove(&key).unwrap_or_default() {
            self.remove_member(key, &fold(name.as_str()));
        }
        if self.members.is_empty() {
            // The memory is given back.
            *self = Self { clock: self.clock, ..Self::default() };
        }
    }

    /// Memory that is held for a member, in bytes.
    pub(super) fn memory(&self, key: u32) -> usize {
        self.names(key).iter().map(|name| 2 * name.as_str().len() + OVERHEAD_BYTES).sum()
    }

    fn remove_member(&mut self, key: u32, folded: &str) {
        if let Some(members) = self.members.get_mut(folded) {
            members.remove(&key);
            if members.is_empty() {
                self.members.remove(folded);
            }
        }
    }

    pub(super) fn check_invariants(&self, is_member: impl Fn(u32) -> bool) {
        let mut of_members = 0;
        for (&key, names) in &self.names {
            assert!(is_member(key) && (1..=IGNORED_MAX).contains(&names.len()));
            assert!(names.iter().all(|name| self.members[&fold(name.as_str())].contains_key(&key)));
            of_members += names.len();
        }
        assert_eq!(of_members, self.members.values().map(HashMap::len).sum::<usize>());
        assert!(self.members.values().all(|members| !members.is_empty()));
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
        assert!(ignored.add(1, name("Eve")) && ignored.add(1, name("EVE")) && ignored.add(2, name("eve")));
        assert_eq!(ignored.deaf_to(EVE, &name("eVe")), [1, 2]);
        assert_eq!(ignored.names(1), [name("Eve")]);
        ignored.rename(EVE, &name("eve"));
        assert_eq!(ignored.deaf_to(EVE, &name("mallory")), [1, 2]);
        assert_eq!(ignored.names(1), [name("Eve")], "what others do changes no list");
        assert_eq!(ignored.deaf_to(5, &name("mallory")), [0; 0], "somebody else of that name is heard");
        assert!(ignored.remove(1, &name("EVE")) && !ignored.remove(1, &name("eve")));
        assert_eq!(ignored.deaf_to(EVE, &name("mallory")), [2]);
        // Whoever is ignored under a name only now is not the one who gave it up before.
        assert!(ignored.add(3, name("eve")));
        assert_eq!(ignored.deaf_to(EVE, &name("mallory")), [2]);
        ignored.check_invariants(|_| true);
        ignored.forget(EVE);
        assert_eq!(ignored.deaf_to(EVE, &name("mallory")), [0; 0]);
        for key in 1..4 {
            ignored.forget(key);
        }
        ignored.check_invariants(|_| false);
        assert!(ignored.members.is_empty() && ignored.aliases.is_empty());
    }

    #[test]
    fn there_is_a_limit_and_nothing_is_left_of_what_is_over_it() {
        let mut ignored = Ignored::default();
        let names: Vec<Name> = (0..=IGNORED_MAX).map(|i| name(&format!("n{i}"))).collect();
        for (i, name) in names.iter().enumerate() {
            assert_eq!(ignored.add(1, name.clone()), i < IGNORED_MAX);
        }
        for name in &names {
            ignored.rename(EVE, name);
        }
        ignored.check_invariants(|_| true);
    }
}
