//! Names of users and rooms: what may be one, and when two are the same.
//!
//! A [`Name`] that exists is a good one: 1 to 32 characters in NFC, letters and digits of any script
//! and `_ - .`. Two names are the same person to a reader if they fold to the same string (NFKC and
//! case, Unicode TR 31 and UAX 15) or look alike (the *skeleton* of UTS 39, section 4); the chat lets
//! in only one of them.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use hashbrown::HashTable;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::{GeneralSecurityProfile, skeleton};

use super::{ErrorCode, Refusal};

/// A name has at most this many characters.
pub const NAME_CHARS_MAX: usize = 32;

/// No way of writing a name has more bytes: 4 for each character, each with as many combining marks as make one.
const FORM_BYTES_MAX: usize = 16 * NAME_CHARS_MAX;

/// Names that would mislead: who says them speaks HTTP, or poses as the server.
const RESERVED: [&str; 13] = [
    "get", "head", "post", "put", "delete", "options", "connect", "trace", "patch", "pri", "server", "roomd",
    "me",
];

/// The name of a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Rc<str>);

impl Name {
    /// Takes `text` as a name, without the white space around it.
    ///
    /// # Errors
    /// [`ErrorCode::NameBad`], with a sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let name = checked(text, "name")?;
        if RESERVED.contains(&fold(&name).as_str()) {
            return Err(Refusal::new(ErrorCode::NameBad, format!("{name} is a reserved word")));
        }
        Ok(Self(name.into()))
    }

    /// The name as its owner wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a room, folded: `#Dev` and `dev` are one room. Written without `#` inside the program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Rc<str>);

impl RoomName {
    /// Takes `text` as the name of a room, with or without a leading `#`.
    ///
    /// # Errors
    /// [`ErrorCode::BadArgument`], with a sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let name = checked(text.strip_prefix('#').unwrap_or(text), "room name")
            .map_err(|refusal| Refusal::new(ErrorCode::BadArgument, refusal.text))?;
        Ok(Self(fold(&name).into()))
    }

    /// The room everybody enters first.
    #[must_use]
    pub fn lobby() -> Self {
        Self("lobby".into())
    }

    /// The name, without `#`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

fn checked(text: &str, what: &str) -> Result<String, Refusal> {
    // NFC neither adds nor removes many characters: what is far too long need not be looked at.
    let name: String = text.trim().chars().take(4 * NAME_CHARS_MAX).nfc().collect();
    // What is invisible, or looks like a sign, is not allowed in identifiers (UTS 39, section 3.1).
    let is_good = |c: char| (c.is_alphanumeric() && c.identifier_allowed()) || "_-.".contains(c);
    let count = name.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&count)
        && name.chars().all(is_good)
        && !name.starts_with(is_combining_mark)
    {
        return Ok(name);
    }
    let text = format!("a {what} has 1 to {NAME_CHARS_MAX} characters: letters, digits, _ - .");
    Err(Refusal::new(ErrorCode::NameBad, text))
}

/// Folds case and compatibility forms: names that fold alike differ only in how they are written.
fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Upper case first: it joins what lower case alone keeps apart, such as ß and ss.
    name.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect()
}

/// What a name is compared by.
#[derive(Debug)]
pub(super) struct Forms {
    folded: String,
    skeleton: String,
}

impl Forms {
    pub(super) fn of(name: &Name) -> Self {
        Self { folded: fold(&name.0), skeleton: skeleton(&name.0).collect() }
    }
}

/// A name in use, and the hashes it is found by: so that no name is folded again when the tables grow.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) name: Name,
    folded_hash: u32,
    skeleton_hash: u32,
}

/// The names in use, and whose they are.
///
/// The tables hold nothing but members' keys; `called` tells what a key is called. What a name folds to is
/// computed when it is compared, which is rare, rather than kept for everybody.
#[derive(Debug, Default)]
pub(super) struct Names {
    folded: HashTable<u32>,
    skeletons: HashTable<u32>,
    hasher: RandomState,
}

impl Names {
    /// A name with the hashes it is found by.
    pub(super) fn called(&self, name: Name, forms: &Forms) -> Called {
        Called { name, folded_hash: self.hash(&forms.folded), skeleton_hash: self.hash(&forms.skeleton) }
    }

    fn hash(&self, form: &str) -> u32 {
        self.hasher.hash_one(form) as u32
    }

    /// Whose name this is, in whatever way it is written.
    pub(super) fn find<'a>(&self, text: &str, called: impl Fn(u32) -> &'a Called) -> Option<u32> {
        let text = text.trim();
        // What is longer than any way of writing a name is not folded.
        if text.len() > FORM_BYTES_MAX { None } else { self.find_folded(&fold(text), None, &called) }
    }

    fn find_folded<'a>(
        &self,
        folded: &str,
        except: Option<u32>,
        called: &impl Fn(u32) -> &'a Called,
    ) -> Option<u32> {
        let hash = self.hash(folded);
        let is_same = |&key: &u32| {
            Some(key) != except && called(key).folded_hash == hash && fold(&called(key).name.0) == folded
        };
        self.folded.find(spread(hash), is_same).copied()
    }

    /// Whose name, `except`'s aside, is the same as one with these forms, or looks the same.
    pub(super) fn find_alike<'a>(
        &self,
        forms: &Forms,
        except: Option<u32>,
        called: impl Fn(u32) -> &'a Called,
    ) -> Option<u32> {
        let hash = self.hash(&forms.skeleton);
        let is_alike = |&key: &u32| {
            Some(key) != except
                && called(key).skeleton_hash == hash
                && Forms::of(&called(key).name).skeleton == forms.skeleton
        };
        let found = self.find_folded(&forms.folded, except, &called);
        found.or_else(|| self.skeletons.find(spread(hash), is_alike).copied())
    }

    /// Takes up the name of a member; it must not be in use.
    pub(super) fn insert<'a>(&mut self, key: u32, called: impl Fn(u32) -> &'a Called) {
        let (folded, skeleton) = (called(key).folded_hash, called(key).skeleton_hash);
        self.folded.insert_unique(spread(folded), key, |&key| spread(called(key).folded_hash));
        self.skeletons.insert_unique(spread(skeleton), key, |&key| spread(called(key).skeleton_hash));
    }

    /// Gives the name of a member free.
    pub(super) fn remove(&mut self, key: u32, called: &Called) {
        for (table, hash) in
            [(&mut self.folded, called.folded_hash), (&mut self.skeletons, called.skeleton_hash)]
        {
            if let Ok(entry) = table.find_entry(spread(hash), |&k| k == key) {
                entry.remove();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.folded.len(), self.skeletons.len());
        self.folded.len()
    }
}

/// The table looks at the upper bits of a hash, too.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(a: &str, b: &str) -> bool {
        let (a, b) = (Name::parse(a).unwrap(), Name::parse(b).unwrap());
        let mut names = Names::default();
        let called = names.called(a.clone(), &Forms::of(&a));
        names.insert(0, |_| &called);
        names.find_alike(&Forms::of(&b), None, |_| &called).is_some()
    }

    #[test]
    fn names_that_a_reader_would_mix_up_are_the_same() {
        for (a, b) in [
            ("alice", "ALICE"),
            ("paypal", "p\u{430}yp\u{430}l"), // Cyrillic a
            ("Ivan", "lvan"),
            ("mom", "rnom"),
            ("straße", "STRASSE"),
            ("é", "e\u{301}"),
            ("ΣΑΣ", "σας"),
        ] {
            assert!(alike(a, b), "{a} and {b}");
        }
        assert!(!alike("alice", "alicia"));
        assert!(!alike("bob", "rob"));
    }

    #[test]
    fn what_may_be_a_name() {
        let long = "x".repeat(33);
        for bad in [
            "",
            " ",
            "a b",
            "GET",
            "Post",
            "server",
            "roomd",
            "me",
            "a:b",
            "@bob",
            "a\u{202e}b",
            "a\u{200b}b",
            "\u{3164}",
            "a\tb",
            "a\u{7}",
            "#x",
            "alice\u{2d0}",
            "\u{301}a",
            long.as_str(),
        ] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
        let long = "é".repeat(32);
        for good in ["a", "Zoë", "李雷", "محمد", "a_b-c.d", "x2", "निशा", long.as_str(), " trimmed "]
        {
            assert_eq!(Name::parse(good).unwrap().as_str(), good.trim());
        }
    }

    #[test]
    fn room_names_are_folded_and_may_begin_with_a_hash() {
        assert_eq!(RoomName::parse("#Dev").unwrap(), RoomName::parse(" dev ").unwrap());
        assert_eq!(RoomName::parse("Lobby").unwrap(), RoomName::lobby());
        assert_eq!(RoomName::parse("a b").unwrap_err().code, ErrorCode::BadArgument);
    }
}
