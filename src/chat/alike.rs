//! When two names are the same to a reader.
//!
//! A name is compared in every way that one could take it for another:
//!
//! | way | catches |
//! |---|---|
//! | *folded*: NFKC and case (UAX 15, UAX 31) | `Alice` and `ALICE`, `straße` and `STRASSE` |
//! | what it looks like (the *skeleton* of UTS 39, section 4) in small letters | `roomd` and `roornd` |
//! | what it looks like as it is written | `alice` and `aIice` |
//! | what it looks like in capitals | `alice` and `ALlCE`, `bob` and the Cyrillic `ВОВ` |
//!
//! The skeleton alone knows no case, and the case no looks: `ALlCE` looks like `ALICE`, which is `alice`. So each
//! look is folded and reduced to its skeleton again until nothing changes. Two names are alike if they share the
//! folded form or any look. This is no equivalence, and need not be: a newcomer is compared with everybody.

use std::ops::Range;
use std::sync::LazyLock;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfd_quick};
use unicode_security::skeleton;

use super::name::NAME_CHARS_MAX;

/// Names that would mislead: who says them speaks HTTP, or poses as the server.
const RESERVED: [&str; 13] = [
    "get", "head", "post", "put", "delete", "options", "connect", "trace", "patch", "pri", "server", "roomd",
    "me",
];

/// Folds case and compatibility forms: names that fold alike differ only in how they are written.
pub(super) fn fold(name: &str) -> String {
    if name.is_ascii() { name.to_ascii_lowercase() } else { folded(name.nfkc()).collect() }
}

/// The same for whatever somebody typed; none if it is longer than a name. One letter can become eighteen, so the
/// work ends where a name would.
pub(super) fn fold_typed(text: &str) -> Option<String> {
    if text.is_ascii() {
        return (text.len() <= NAME_CHARS_MAX).then(|| text.to_ascii_lowercase());
    }
    let mut letters = text.nfkc();
    let name: String = letters.by_ref().take(NAME_CHARS_MAX).collect();
    letters.next().is_none().then(|| folded(name.chars()).collect())
}

fn folded(nfkc: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    // Upper case in between: it joins what lower case alone keeps apart, such as ß and ss. But not ẞ, which is a capital.
    nfkc.flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc()
}

/// What a name is compared by.
#[derive(Debug)]
pub(super) struct Forms {
    pub(super) folded: String,
    /// In small letters, as written, in capitals; many names look the same in all of them.
    pub(super) looks: [String; 3],
}

impl Forms {
    pub(super) fn of(name: &str) -> Self {
        let mut looks = [const { String::new() }; 3].map(|_: String| String::with_capacity(2 * name.len()));
        if name.is_ascii() {
            name.chars().for_each(|c| LOOKS.add(c, &mut looks));
        } else {
            name.nfkd().for_each(|c| LOOKS.add(c, &mut looks));
            // Marks that a letter became may stand in another order than those that were written.
            let is_one = looks[0] == looks[1] && looks[0] == looks[2];
            if is_one && is_nfd_quick(looks[0].chars()) != IsNormalized::Yes
                || !is_one && looks.iter().any(|look| is_nfd_quick(look.chars()) != IsNormalized::Yes)
            {
                looks = looks.map(|look| look.nfd().collect());
            }
        }
        Self { folded: fold(name), looks }
    }

    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.folded == other.folded || self.looks.iter().any(|look| other.looks.contains(look))
    }
}

/// The reserved word that a name would be taken for.
pub(super) fn reserved(name: &str) -> Option<&'static str> {
    static FORMS: LazyLock<[Forms; 13]> = LazyLock::new(|| RESERVED.map(Forms::of));
    // No letter looks like nothing: what is longer than the longest look of these words is none of them.
    if name.chars().count() > RESERVED_CHARS_MAX {
        return None;
    }
    let forms = Forms::of(name);
    FORMS.iter().zip(RESERVED).find(|(word, _)| word.is_alike(&forms)).map(|(_, word)| word)
}

/// Letters of the longest look of a reserved word.
const RESERVED_CHARS_MAX: usize = 7;

/// Prepares what comparisons need, so that nobody waits for it later.
pub(super) fn prepare() {
    let _ = reserved("");
}

/// The looks of single characters, which those of names are made of.
static LOOKS: LazyLock<Looks> = LazyLock::new(Looks::new);

/// The characters whose looks are kept: all scripts with capitals, which most names that look like others are made of
/// (Latin, Greek, Cyrillic, Armenian; Georgian), and the parts of Hangul syllables, which come in threes.
const KEPT: [Range<u32>; 2] = [0..0x600, 0x10A0..0x1200];

#[derive(Debug)]
struct Looks {
    /// The looks of all kept characters, three each, one after the other.
    text: String,
    /// Where each of them ends.
    ends: Vec<u16>,
}

impl Looks {
    fn new() -> Self {
        let mut all = Self { text: String::new(), ends: vec![0] };
        for c in KEPT.into_iter().flatten() {
            for look in char::from_u32(c).map_or_else(Default::default, looks_of) {
                all.text += &look;
                all.ends.push(all.text.len() as u16);
            }
        }
        all
    }

    /// Appends the looks of a character to those of a name.
    fn add(&self, c: char, to: &mut [String; 3]) {
        let [low, high] = KEPT;
        let code = u32::from(c);
        let place = if low.contains(&code) {
            code as usize
        } else if high.contains(&code) {
            low.len() + (code - high.start) as usize
        } else {
            return to.iter_mut().zip(looks_of(c)).for_each(|(to, look)| *to += &look);
        };
        for (way, to) in to.iter_mut().enumerate() {
            let at = 3 * place + way;
            *to += &self.text[usize::from(self.ends[at])..usize::from(self.ends[at + 1])];
        }
    }
}

fn looks_of(c: char) -> [String; 3] {
    let mut buffer = [0; 4];
    let written: &str = c.encode_utf8(&mut buffer);
    let seen: String = skeleton(written).collect();
    if c.to_uppercase().eq([c]) && c.to_lowercase().eq([c]) {
        // Without case it looks the same in all ways.
        let look = if seen == written { seen } else { settled(seen) };
        return [look.clone(), look.clone(), look];
    }
    let capital: String = c.to_uppercase().collect();
    let capital: String = skeleton(&capital).collect();
    [settled(written.to_owned()), settled(seen), settled(capital)]
}

/// Folds a look and takes its skeleton until nothing changes. Three rounds are enough for every character of
/// Unicode 18; were they not for a later one, names would only be compared by what the fourth gives.
fn settled(mut look: String) -> String {
    for _ in 0..4 {
        let next: String = skeleton(&fold(&look)).collect();
        if next == look {
            break;
        }
        look = next;
    }
    look
}

#[cfg(test)]
mod tests {
    use super::super::name::is_allowed;
    use super::*;

    fn alike(a: &str, b: &str) -> bool {
        Forms::of(a).is_alike(&Forms::of(b))
    }

    #[test]
    fn names_that_a_reader_would_mix_up_are_alike() {
        for (a, b) in [
            ("alice", "ALICE"),
            ("alice", "ALlCE"),
            ("alice", "aIice"),
            ("alice", "AL1CE"),
            ("alice", "Allce"),               // as one would read AlIce
            ("bob", "\u{412}\u{41e}\u{412}"), // Cyrillic
            ("bob", "\u{432}\u{43e}\u{432}"),
            ("bob", "b0b"),
            ("roomd", "roornd"),
            ("ROOMD", "roornd"),
            ("Ivan", "lvan"),
            ("mom", "rnom"),
            ("straße", "STRASSE"),
            ("é", "e\u{301}"),
            ("ΣΑΣ", "σας"),
            ("HEP", "\u{43d}\u{435}\u{440}"), // Cyrillic нер in capitals
            ("김", "\u{1100}\u{1175}\u{11b7}"),
        ] {
            assert!(alike(a, b), "{a} and {b}");
            assert!(alike(b, a), "{b} and {a}");
        }
        for (a, b) in [("alice", "alicia"), ("bob", "rob"), ("李雷", "李蕾"), ("Иван", "Ивана"), ("김", "박")]
        {
            assert!(!alike(a, b), "{a} and {b}");
        }
    }

    /// Whatever letters are changed in case, and whatever the result is then taken for.
    #[test]
    fn any_case_of_a_name_and_what_that_looks_like_are_alike() {
        let name = "ilium";
        for capitals in 0..1 << name.len() {
            let cased: String = { name.char_indices() }
                .map(|(i, c)| if capitals >> i & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect();
            let seen: String = skeleton(&cased).collect();
            for other in [cased, seen.clone(), seen.replace('l', "1"), seen.replace('l', "I")] {
                assert!(alike(name, &other), "{name} and {other}");
            }
        }
    }

    #[test]
    fn reserved_words_are_known_in_disguise() {
        for (name, word) in [
            ("roornd", "roomd"),
            ("SERVER", "server"),
            ("rne", "me"),
            ("\u{41c}\u{415}", "me"),
            ("\u{420}\u{410}\u{422}\u{421}\u{41d}", "patch"),
            ("0pti0ns", "options"),
            ("PR1", "pri"),
        ] {
            assert_eq!(reserved(name), Some(word), "{name}");
        }
        let longest = RESERVED.iter().flat_map(|word| Forms::of(word).looks).map(|look| look.chars().count());
        assert_eq!(longest.max(), Some(RESERVED_CHARS_MAX));
        for name in ["merve", "servers", "Geta", "李雷"] {
            assert_eq!(reserved(name), None, "{name}");
        }
    }

    #[test]
    fn looks_settle_for_every_letter_and_kept_ones_are_those_computed() {
        // Names are decomposed before.
        for c in ('\0'..='\u{20000}').filter(|c| c.to_string().nfkd().eq([*c])) {
            for look in looks_of(c) {
                let once_more: String = skeleton(&fold(&look)).collect();
                assert_eq!(look, once_more, "{c:?}");
            }
            let mut kept = [const { String::new() }; 3];
            LOOKS.add(c, &mut kept);
            assert_eq!(kept, looks_of(c), "{c:?}");
            assert!(kept.iter().all(|look| !look.is_empty()) || !is_allowed(c), "{c:?}");
        }
    }

    /// Otherwise a name is not found that was typed as it is folded, or in capitals.
    #[test]
    fn what_is_folded_stays_as_it_is() {
        for c in ('\0'..=char::MAX).filter(|&c| is_allowed(c)) {
            let folded = fold(&c.to_string());
            assert_eq!(fold(&folded), folded, "{c:?}");
            assert_eq!(fold(&folded.to_uppercase()), folded, "{c:?}");
        }
        assert_eq!(["STRAẞE", "STRASSE", "straße"].map(fold), ["strasse"; 3]);
    }

    #[test]
    fn what_no_name_folds_to_is_not_folded_to_its_end() {
        assert_eq!(fold_typed(&"\u{fdfa}".repeat(100)), None);
        assert_eq!(fold_typed(&"x".repeat(100)), None);
        assert_eq!(fold_typed("\u{ff21}lice").as_deref(), Some("alice"));
        assert_eq!(fold_typed(&"ΐ".repeat(32)).as_deref(), Some(&*"ΐ".repeat(32)));
        assert_eq!(fold_typed(&"o\u{323}\u{302}".repeat(32)).as_deref(), Some(&*"ộ".repeat(32)));
        assert_eq!(fold_typed(&"ΐ".repeat(33)), None);
    }
}
