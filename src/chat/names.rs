//! The names in use, and whose they are.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::Name;
use super::alike::{Forms, fold, fold_typed};
use super::name::WRITTEN_BYTES_MAX;

/// A name in use, and the hashes it is found by: so that no name is folded again when the tables grow.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) name: Name,
    folded_hash: u32,
    /// Of its looks; some may be the same.
    look_hashes: [u32; 3],
}

impl Called {
    /// The hashes of its looks, each once.
    fn looks(&self) -> impl Iterator<Item = u32> {
        let hashes = self.look_hashes;
        (0..hashes.len()).filter(move |&i| !hashes[..i].contains(&hashes[i])).map(move |i| hashes[i])
    }
}

/// A table of names.
///
/// It holds nothing but the keys of those who have them; `called` tells what a key is called. What a name folds to
/// is computed when it is compared, which is rare, rather than kept for everybody.
#[derive(Debug, Default)]
pub(super) struct Names {
    folded: HashTable<u32>,
    /// As many entries for a name as it has looks, each with its hash: the key alone would not tell which it is.
    looks: HashTable<(u32, u32)>,
    hasher: RandomState,
}

impl Names {
    /// An empty table that takes what `other` has made [`Called`].
    pub(super) fn beside(other: &Self) -> Self {
        Self { hasher: other.hasher.clone(), ..Self::default() }
    }

    /// A name with the hashes it is found by.
    pub(super) fn called(&self, name: Name, forms: &Forms) -> Called {
        let look_hashes = forms.looks.each_ref().map(|look| self.hash(look));
        Called { name, folded_hash: self.hash(&forms.folded), look_hashes }
    }

    fn hash(&self, form: &str) -> u32 {
        self.hasher.hash_one(form) as u32
    }

    /// Whose name this is, in whatever way it is written.
    pub(super) fn find<'a>(&self, text: &str, called: impl Fn(u32) -> &'a Called) -> Option<u32> {
        let text = text.trim();
        // What is longer than any way of writing a name is not folded.
        if text.len() > WRITTEN_BYTES_MAX {
            return None;
        }
        self.find_folded(&fold_typed(text)?, &|_| true, &called)
    }

    fn find_folded<'a>(
        &self,
        folded: &str,
        counts: &impl Fn(u32) -> bool,
        called: &impl Fn(u32) -> &'a Called,
    ) -> Option<u32> {
        let hash = self.hash(folded);
        let is_same = |&key: &u32| {
            counts(key) && called(key).folded_hash == hash && fold(called(key).name.as_str()) == folded
        };
        self.folded.find(spread(hash), is_same).copied()
    }

    /// Whose name, among those that `counts` is true of, is the same as one with these forms, or looks the same.
    pub(super) fn find_alike<'a>(
        &self,
        forms: &Forms,
        counts: impl Fn(u32) -> bool,
        called: impl Fn(u32) -> &'a Called,
    ) -> Option<u32> {
        let found = self.find_folded(&forms.folded, &counts, &called);
        found.or_else(|| {
            forms.looks.iter().find_map(|look| {
                let wanted = self.hash(look);
                let is_alike = |&(key, hash): &(u32, u32)| {
                    hash == wanted && counts(key) && Forms::of(called(key).name.as_str()).looks.contains(look)
                };
                self.looks.find(spread(wanted), is_alike).map(|&(key, _)| key)
            })
        })
    }

    /// Takes up the name of a key; it must not be in use.
    pub(super) fn insert<'a>(&mut self, key: u32, called: impl Fn(u32) -> &'a Called) {
        self.folded
            .insert_unique(spread(called(key).folded_hash), key, |&key| spread(called(key).folded_hash));
        for hash in called(key).looks() {
            self.looks.insert_unique(spread(hash), (key, hash), |&(_, hash)| spread(hash));
        }
    }

    /// Gives the name of a key free.
    pub(super) fn remove(&mut self, key: u32, called: &Called) {
        if let Ok(entry) = self.folded.find_entry(spread(called.folded_hash), |&k| k == key) {
            entry.remove();
        }
        for hash in called.looks() {
            if let Ok(entry) = self.looks.find_entry(spread(hash), |&entry| entry == (key, hash)) {
                entry.remove();
            }
        }
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.folded.len()
    }
}

/// The table looks at the upper bits of a hash, too.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
