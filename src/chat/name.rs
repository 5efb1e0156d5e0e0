//! Names of users and rooms: what may be one.
//!
//! A [`Name`] that exists is a good one: 1 to 32 characters in NFC, and `_ - .`, or letters, marks and digits that
//! UTS 39 recommends for identifiers (section 3.1), of scripts that people write together (section 5.2, *Highly
//! Restrictive*). Which names are the same to a reader, `alike` tells; the chat lets in only one of them.

use std::fmt;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;
use unicode_security::general_security_profile::IdentifierType;
use unicode_security::mixed_script::AugmentedScriptSet;
use unicode_security::{GeneralSecurityProfile, RestrictionLevel, RestrictionLevelDetection};

use super::alike::{fold, reserved};
use super::letter::{is_normal, letter};
use super::{ErrorCode, Refusal};

/// A name has at most this many characters.
pub const NAME_CHARS_MAX: usize = 32;

/// No way of writing a name has more bytes: 4 for each character, each with as many combining marks as make one.
/// What is longer is not looked at.
pub(super) const WRITTEN_BYTES_MAX: usize = 16 * NAME_CHARS_MAX;

/// A letter has at most so many marks (UTS 39, section 5.4).
const MARKS_MAX: usize = 4;

/// The name of a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Takes `text` as a name, without the white space around it.
    ///
    /// # Errors
    /// [`ErrorCode::NameBad`], with a sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let name = checked(text, "name")?;
        match reserved(&name) {
            None => Ok(Self(name.into())),
            Some(word) => {
                let text = if fold(&name) == word {
                    format!("{name} is a reserved word")
                } else {
                    format!("{name} looks like {word}, which is a reserved word")
                };
                Err(Refusal::new(ErrorCode::NameBad, text))
            }
        }
    }

    /// A name that was good when it was saved.
    #[must_use]
    pub fn saved(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self("?".into()))
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
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Takes `text` as the name of a room, with or without a leading `#`.
    ///
    /// # Errors
    /// [`ErrorCode::BadArgument`], with a sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        // Folded, a good name can be none: too long (ß is ss), or with a dot that hides on an i (İ is i̇).
        let folded = checked(text.strip_prefix('#').unwrap_or(text), "room name")
            .and_then(|name| checked(&fold(&name), "room name"))
            .map_err(|refusal| Refusal::new(ErrorCode::BadArgument, refusal.text))?;
        Ok(Self(folded.into()))
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
    let bad = |text| Refusal::new(ErrorCode::NameBad, text);
    let rule = || bad(format!("a {what} has 1 to {NAME_CHARS_MAX} characters: letters, digits, _ - ."));
    let text = text.trim();
    if text.is_empty() || text.len() > WRITTEN_BYTES_MAX {
        return Err(rule());
    }
    let name: String = if is_normal(text) { text.into() } else { text.nfc().collect() };
    let letters = || name.chars().map(letter);
    if name.chars().nth(NAME_CHARS_MAX).is_some() || !letters().all(|letter| letter.scripts.is_some()) {
        return Err(rule());
    }
    if !name.is_ascii() {
        let mut common = AugmentedScriptSet::default();
        letters().filter_map(|letter| letter.scripts).for_each(|scripts| common.intersect_with(scripts));
        if common.is_empty() && !name.check_restriction_level(RestrictionLevel::HighlyRestrictive) {
            return Err(bad(mixed(&name, what)));
        }
        if letters().any(|letter| letter.is_mark) && !are_marks_good(&name) {
            return Err(bad(format!(
                "a {what} has marks on letters only, each once, and {MARKS_MAX} at most"
            )));
        }
    }
    Ok(name)
}

/// Whether a character may be in a name. Those of type *Recommended* (UTS 39, section 3.1) are all letters, marks
/// and digits (UAX 31, XID_Continue), and none of them is invisible, historic, or stands for another.
pub(super) fn is_allowed(c: char) -> bool {
    match c {
        '_' | '-' | '.' => true,
        _ if c.is_ascii() => c.is_ascii_alphanumeric(),
        _ => c.identifier_type() == Some(IdentifierType::Recommended),
    }
}

/// Says which scripts a name mixes that nobody writes together: one of them could hide among the other's letters.
fn mixed(name: &str, what: &str) -> String {
    let scripts = || {
        let sets = name.chars().map(AugmentedScriptSet::for_char).filter(|set| !set.is_all());
        sets.filter_map(|set| set.base.iter().next())
    };
    let names = scripts().next().and_then(|first| Some((first, scripts().find(|&other| other != first)?)));
    let (first, other) = names.map_or(("several", "other"), |(a, b)| (a.full_name(), b.full_name()));
    format!("a {what} is written in one script; {name} has {first} and {other} letters")
}

/// Whether marks are where they can be seen (UTS 39, section 5.4): on a letter, few, and each once. The dot of an
/// `i` hides another.
fn are_marks_good(name: &str) -> bool {
    let (mut base, mut marks) = (None, Vec::new());
    for c in name.nfd() {
        if !letter(c).is_mark {
            base = letter(c).is_alphabetic.then_some(c);
            marks.clear();
            continue;
        }
        let is_hidden = c == '\u{307}' && base.is_some_and(|base| SOFT_DOTTED.contains(base));
        if base.is_none() || marks.len() == MARKS_MAX || marks.contains(&c) || is_hidden {
            return false;
        }
        marks.push(c);
    }
    true
}

/// Decomposed letters with a dot that a mark above takes the place of (Soft_Dotted), of those that may be in names.
const SOFT_DOTTED: &str = "ij\u{268}\u{456}\u{458}";

#[cfg(test)]
mod tests {
    use super::*;

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
            "alice\u{13441}", // a blank hieroglyph
            "bob\u{a4fd}",    // a letter that looks like a colon
            "a\u{200d}b",
            "क\u{94d}\u{200d}ष",
            "\u{301}a",
            "_\u{332}a",
            "e\u{302}\u{302}",
            "i\u{307}a",
            "a\u{300}\u{304}\u{308}\u{30a}\u{30c}\u{331}",
            "\u{fdfa}",
            "\u{ff21}lice",
            "roornd",
            "ME",
            "\u{41c}\u{435}", // Cyrillic
            long.as_str(),
        ] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
        let long = "é".repeat(32);
        for good in [
            "a",
            "Zoë",
            "李雷",
            "محمد",
            "a_b-c.d",
            "x2",
            "निशा",
            long.as_str(),
            " trimmed ",
            "田中さん",
            "Łukasz",
            "Αλέξης",
            "Иван",
            "김철수",
            "नमस्ते",
            "தமிழ்",
            "Bob李",
            "ユーザー2",
            "শ্রী",
            "Adébáyọ̀",
            "മലയാളം",
            "မြန်မာ",
            "ไทยนี้",
            "ខ្មែរ",
            "Ժան",
            "ኢትዮ",
            "Nguyễn",
            "שרה",
        ] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good.trim());
        }
    }

    #[test]
    fn scripts_that_nobody_writes_together_are_not_in_one_name() {
        for (name, first, other) in [
            ("s\u{435}rver", "Latin", "Cyrillic"),
            ("r\u{43e}\u{43e}md", "Latin", "Cyrillic"),
            ("\u{410}lice", "Cyrillic", "Latin"),
            ("b\u{3bf}b", "Latin", "Greek"),
            ("मa", "Devanagari", "Latin"),
        ] {
            let refusal = Name::parse(name).unwrap_err();
            let text = format!("a name is written in one script; {name} has {first} and {other} letters");
            assert_eq!((refusal.code, &*refusal.text), (ErrorCode::NameBad, &*text));
            assert_eq!(RoomName::parse(name).unwrap_err().code, ErrorCode::BadArgument);
        }
    }

    #[test]
    fn what_follows_the_longest_way_of_writing_a_name_is_not_cut_off() {
        let longest = "o\u{323}\u{302}".repeat(NAME_CHARS_MAX);
        assert_eq!(Name::parse(&longest).unwrap().as_str(), "ộ".repeat(NAME_CHARS_MAX));
        assert!(Name::parse(&(longest + "x")).is_err());
    }

    #[test]
    fn letters_that_are_no_marks_have_good_ones() {
        for c in ('\0'..=char::MAX).filter(|&c| is_allowed(c) && !letter(c).is_mark) {
            assert!(are_marks_good(&c.to_string()), "{c:?}");
        }
    }

    #[test]
    fn room_names_are_folded_and_may_begin_with_a_hash() {
        assert_eq!(RoomName::parse("#Dev").unwrap(), RoomName::parse(" dev ").unwrap());
        assert_eq!(RoomName::parse("Lobby").unwrap(), RoomName::lobby());
        assert_eq!(RoomName::parse("a b").unwrap_err().code, ErrorCode::BadArgument);
    }

    #[test]
    fn a_room_is_entered_by_the_name_that_it_is_shown_under() {
        for name in ["Straße", "STRAẞE", &"ß".repeat(16), "ΑΛΈΞΗΣ", "ΐ"] {
            let room = RoomName::parse(name).unwrap();
            assert_eq!(RoomName::parse(&room.to_string()), Ok(room), "{name}");
        }
        for name in ["İ", &"ß".repeat(17)] {
            assert_eq!(RoomName::parse(name).unwrap_err().code, ErrorCode::BadArgument, "{name}");
        }
    }
}
