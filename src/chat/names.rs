//! The names in use, and whose they are.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::Name;
use super::alike::{Forms, fold, fold_typed};
use super::name::WRITTEN_BYTES_MAX;

/// A table of names.
///
/// It holds nothing but the keys of those who have them; `name_of` tells what a key is called. What a name is compared
/// by is computed when it is compared, which is rare, rather than kept for everybody.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// As many entries for a name as it has forms, one for most, each with its hash: so that no name is folded again
    /// when the table grows.
    entries: HashTable<(u32, u32)>,
    names: usize,
    hasher: RandomState,
}

impl Names {
    /// The hashes of what a name is compared by, each once.
    fn hashes(&self, forms: &Forms) -> impl Iterator<Item = u32> + use<> {
        let (all, mut hashes) = (forms.all(), [0; 4]);
        for (i, form) in all.into_iter().enumerate() {
            // Most names have the same form several times.
            hashes[i] = all[..i]
                .iter()
                .position(|&same| same == form)
                .map_or_else(|| self.hash(form), |same| hashes[same]);
        }
        (0..hashes.len()).filter(move |&i| !hashes[..i].contains(&hashes[i])).map(move |i| hashes[i])
    }

    fn hash(&self, form: &str) -> u32 {
        self.hasher.hash_one(form) as u32
    }

    /// Whose name this is, in whatever way it is written.
    pub(super) fn find<'a>(&self, text: &str, name_of: impl Fn(u32) -> &'a Name) -> Option<u32> {
        let text = text.trim();
        // What is longer than any way of writing a name is not folded.
        if text.len() > WRITTEN_BYTES_MAX {
            return None;
        }
        let folded = fold_typed(text)?;
        self.find_by(self.hash(&folded), |key| fold(name_of(key).as_str()) == folded)
    }

    /// Whose name, among those that `counts` is true of, is the same as one with these forms, or looks the same.
    pub(super) fn find_alike<'a>(
        &self,
        forms: &Forms,
        counts: impl Fn(u32) -> bool,
        name_of: impl Fn(u32) -> &'a Name,
    ) -> Option<u32> {
        let is_alike = |key| counts(key) && forms.is_alike(&Forms::of(name_of(key).as_str()));
        self.hashes(forms).find_map(|hash| self.find_by(hash, is_alike))
    }

    fn find_by(&self, wanted: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let found = self.entries.find(spread(wanted), |&(key, hash)| hash == wanted && is_it(key));
        found.map(|&(key, _)| key)
    }

    /// Takes up the name of a key, which has none yet.
    pub(super) fn insert(&mut self, key: u32, forms: &Forms) {
        for hash in self.hashes(forms) {
            self.entries.insert_unique(spread(hash), (key, hash), |&(_, hash)| spread(hash));
        }
        self.names += 1;
    }

    /// Gives the name of a key free.
    pub(super) fn remove(&mut self, key: u32, name: &Name) {
        for hash in self.hashes(&Forms::of(name.as_str())) {
            if let Ok(entry) = self.entries.find_entry(spread(hash), |&entry| entry == (key, hash)) {
                entry.remove();
            }
        }
        self.names -= 1;
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.names
    }
}

/// The table looks at the upper bits of a hash, too.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
