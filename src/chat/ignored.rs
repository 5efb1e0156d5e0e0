//! Whom members do not want to hear.
//!
//! A name is ignored, not a member: whoever comes back under it is ignored still, and whoever changes it takes that
//! along.

use std::collections::HashMap;

use super::Name;
use super::alike::fold;

/// A member ignores at most so many names.
pub(super) const IGNORED_MAX: usize = 50;
/// What a name that is ignored takes besides its letters: its places in two tables.
const OVERHEAD_BYTES: usize = 128;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Ignored {
    /// Whom each member ignores.
    names: HashMap<u32, Vec<Name>>,
    /// Which members ignore whoever is called so, folded.
    members: HashMap<String, Vec<u32>>,
}

impl Ignored {
    /// Whom a member ignores, in the order in which it said so.
    pub(super) fn names(&self, key: u32) -> &[Name] {
        self.names.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Which members ignore whoever has this name.
    pub(super) fn members(&self, name: &Name) -> &[u32] {
        // The common case costs nothing.
        if self.members.is_empty() {
            return &[];
        }
        self.members.get(&fold(name.as_str())).map_or(&[], Vec::as_slice)
    }

    /// Lets a member ignore a name; returns whether there was place for it.
    pub(super) fn add(&mut self, key: u32, name: Name) -> bool {
        let members = self.members.entry(fold(name.as_str())).or_default();
        if members.contains(&key) {
            return true;
        }
        let names = self.names.entry(key).or_default();
        let has_place = names.len() < IGNORED_MAX;
        if has_place {
            members.push(key);
            names.push(name);
        } else if members.is_empty() {
            self.members.remove(&fold(name.as_str()));
        }
        has_place
    }

    /// Lets a member hear a name again; returns whether it was ignored.
    pub(super) fn remove(&mut self, key: u32, name: &Name) -> bool {
        let folded = fold(name.as_str());
        let names = self.names.get_mut(&key);
        let Some((names, at)) = names
            .and_then(|names| names.iter().position(|n| fold(n.as_str()) == folded).map(|at| (names, at)))
        else {
            return false;
        };
        names.remove(at);
        if names.is_empty() {
            self.names.remove(&key);
        }
        self.remove_member(key, &folded);
        true
    }

    /// Somebody who has another name now stays ignored, where there is place for it.
    pub(super) fn rename(&mut self, from: &Name, to: &Name) {
        for key in self.members(from).to_vec() {
            self.add(key, to.clone());
        }
    }

    /// A member is gone.
    pub(super) fn forget(&mut self, key: u32) {
        for name in self.names.remove(&key).unwrap_or_default() {
            self.remove_member(key, &fold(name.as_str()));
        }
    }

    /// Memory that is held for a member, in bytes.
    pub(super) fn memory(&self, key: u32) -> usize {
        self.names(key).iter().map(|name| 2 * name.as_str().len() + OVERHEAD_BYTES).sum()
    }

    fn remove_member(&mut self, key: u32, folded: &str) {
        if let Some(members) = self.members.get_mut(folded) {
            members.retain(|&member| member != key);
            if members.is_empty() {
                self.members.remove(folded);
            }
        }
    }

    pub(super) fn check_invariants(&self, is_member: impl Fn(u32) -> bool) {
        let mut of_members = 0;
        for (&key, names) in &self.names {
            assert!(is_member(key) && (1..=IGNORED_MAX).contains(&names.len()));
            assert!(names.iter().all(|name| self.members(name).contains(&key)));
            of_members += names.len();
        }
        assert_eq!(of_members, self.members.values().map(Vec::len).sum::<usize>());
        assert!(self.members.values().all(|members| !members.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_ignored_however_it_is_written_and_whatever_it_becomes() {
        let mut ignored = Ignored::default();
        assert!(ignored.add(1, name("Eve")) && ignored.add(1, name("EVE")) && ignored.add(2, name("eve")));
        assert_eq!(ignored.members(&name("eVe")), [1, 2]);
        assert_eq!(ignored.names(1), [name("Eve")]);
        ignored.rename(&name("eve"), &name("mallory"));
        assert_eq!(ignored.members(&name("mallory")), [1, 2]);
        assert!(ignored.remove(1, &name("MALLORY")) && !ignored.remove(1, &name("mallory")));
        assert_eq!(ignored.members(&name("mallory")), [2]);
        ignored.check_invariants(|key| key <= 2);
        ignored.forget(1);
        ignored.forget(2);
        ignored.check_invariants(|_| false);
        assert!(ignored.members.is_empty());
    }

    #[test]
    fn there_is_a_limit_and_nothing_is_left_of_what_is_over_it() {
        let mut ignored = Ignored::default();
        let names: Vec<Name> = (0..=IGNORED_MAX).map(|i| name(&format!("n{i}"))).collect();
        for (i, name) in names.iter().enumerate() {
            assert_eq!(ignored.add(1, name.clone()), i < IGNORED_MAX);
        }
        ignored.check_invariants(|_| true);
    }
}
