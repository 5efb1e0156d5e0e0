//! Names that were just left by a connection that failed: their owners get them back, nobody else does.
//!
//! Who makes somebody's connection fail, or waits for it, could be them a moment later, and be told what was meant
//! for them. There are no accounts: the owner is whoever comes from the same [`Home`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::Name;
use super::alike::Forms;
use super::names::Names;
use crate::clock::Millis;

/// How long a name is held.
pub(super) const HOLD_TIME: Duration = Duration::from_secs(10);
/// So many names are held; then the oldest are free earlier.
const HOLDS_MAX: usize = 4096;
/// So many of them for one home: nobody can end the holds of others by making many.
const HOLDS_PER_HOME_MAX: usize = 16;

/// Where somebody comes from: the same for all that one subscriber opens. What it means is up to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Home {
    /// Another number for each subscriber.
    pub subscriber: u64,
    /// Spared by what is limited for each.
    pub is_exempt: bool,
}

#[derive(Debug)]
struct Held {
    name: Name,
    home: Home,
    until: Millis,
}

/// The names that are held.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// By rising key, oldest first.
    held: BTreeMap<u32, Held>,
    next_key: u32,
    names: Names,
}

impl Holds {
    /// Holds a name for those from `home`.
    pub(super) fn hold(&mut self, name: Name, home: Home, now: Millis) {
        self.expire(now);
        let of_home = || self.held.iter().filter(|(_, held)| held.home == home).map(|(&key, _)| key);
        if of_home().count() >= HOLDS_PER_HOME_MAX {
            self.end(of_home().next());
        }
        if self.held.len() >= HOLDS_MAX {
            self.end(self.held.keys().next().copied());
        }
        let key = self.next_key;
        self.next_key = key.wrapping_add(1);
        self.names.insert(key, &Forms::of(name.as_str()));
        self.held.insert(key, Held { name, home, until: now.after(HOLD_TIME) });
    }

    /// The held name that keeps somebody from `home` from being called so, and until when.
    pub(super) fn find(&self, forms: &Forms, home: Home, now: Millis) -> Option<(&Name, Millis)> {
        let key = self.find_where(forms, |held| held.home != home && held.until > now)?;
        self.held.get(&key).map(|held| (&held.name, held.until))
    }

    /// Somebody from `home` is called so now: when they leave, others need not wait for what was before.
    pub(super) fn take_back(&mut self, forms: &Forms, home: Home) {
        while let Some(key) = self.find_where(forms, |held| held.home == home) {
            self.end(Some(key));
        }
    }

    fn find_where(&self, forms: &Forms, counts: impl Fn(&Held) -> bool) -> Option<u32> {
        if self.held.is_empty() {
            return None;
        }
        self.names.find_alike(forms, |key| counts(&self.held[&key]), |key| &self.held[&key].name)
    }

    fn end(&mut self, key: Option<u32>) {
        if let Some((key, held)) = key.and_then(|key| self.held.remove_entry(&key)) {
            self.names.remove(key, &held.name);
        }
    }

    /// Forgets those whose time is over.
    fn expire(&mut self, now: Millis) {
        while let Some((&key, _)) = self.held.first_key_value().filter(|(_, held)| held.until <= now) {
            self.end(Some(key));
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.held.len() <= HOLDS_MAX);
        assert_eq!(self.names.len(), self.held.len(), "every name that is held is found");
        assert!(self.held.values().is_sorted_by_key(|held| held.until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn home(subscriber: u64) -> Home {
        Home { subscriber, is_exempt: false }
    }

    fn is_held(holds: &Holds, name: &str, home: u64, now: u64) -> bool {
        holds.find(&Forms::of(name), self::home(home), Millis(now)).is_some()
    }

    #[test]
    fn a_held_name_and_what_looks_like_it_are_free_to_its_home_only() {
        let mut holds = Holds::default();
        holds.hold(name("alice"), home(1), Millis(5));
        for alike in ["alice", "ALICE", "ALlCE"] {
            assert!(is_held(&holds, alike, 2, 5) && is_held(&holds, alike, 2, 10_004), "{alike}");
            assert!(!is_held(&holds, alike, 1, 5) && !is_held(&holds, alike, 2, 10_005), "{alike}");
        }
        assert!(!is_held(&holds, "bob", 2, 5));
        holds.take_back(&Forms::of("Alice"), home(2));
        assert!(is_held(&holds, "alice", 2, 5));
        holds.take_back(&Forms::of("Alice"), home(1));
        assert!(!is_held(&holds, "alice", 2, 5));
        holds.check_invariants();
    }

    #[test]
    fn holds_are_bounded_in_all_and_for_each_home() {
        let mut holds = Holds::default();
        holds.hold(name("alice"), home(1), Millis(0));
        for i in 0..100 {
            holds.hold(name(&format!("x{i}")), home(2), Millis(1));
        }
        assert!(is_held(&holds, "alice", 3, 1), "one home does not end the holds of another");
        assert!(!is_held(&holds, "x83", 3, 1) && is_held(&holds, "x84", 3, 1), "its oldest go first");
        for i in 0..HOLDS_MAX as u64 {
            holds.hold(name(&format!("y{i}")), home(i + 4), Millis(2));
        }
        holds.check_invariants();
        assert!(!is_held(&holds, "alice", 3, 2) && is_held(&holds, "y5", 3, 2));
        holds.hold(name("bob"), home(1), Millis(20_000));
        assert_eq!(holds.held.len(), 1, "what is over is forgotten");
    }
}
