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

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_security::skeleton;

use super::letter::{are_separate, is_in_order, is_normal, letter};
use super::name::NAME_CHARS_MAX;

/// Names that would mislead: who says them speaks HTTP, or poses as the server.
const RESERVED: [&str; 13] = [
    "get", "head", "post", "put", "delete", "options", "connect", "trace", "patch", "pri", "server", "roomd",
    "me",
];

/// Folds case and compatibility forms: names that fold alike differ only in how they are written.
pub(super) fn fold(name: &str) -> String {
    if is_normal(name) { fold_letters(name) } else { fold_letters(&name.nfkc().collect::<String>()) }
}

/// The same for whatever somebody typed; none if it is longer than a name. One letter can become eighteen, so the
/// work ends where a name would.
pub(super) fn fold_typed(text: &str) -> Option<String> {
    if is_normal(text) {
        return text.chars().nth(NAME_CHARS_MAX).is_none().then(|| fold_letters(text));
    }
    let mut letters = text.nfkc();
    let name: String = letters.by_ref().take(NAME_CHARS_MAX).collect();
    letters.next().is_none().then(|| fold_letters(&name))
}

/// Folds case, letter by letter, of what is in NFKC.
fn fold_letters(nfkc: &str) -> String {
    if nfkc.is_ascii() {
        return nfkc.to_ascii_lowercase();
    }
    let mut all = String::with_capacity(nfkc.len());
    for c in nfkc.chars() {
        match &letter(c).forms {
            Some(forms) => all += &forms.folded,
            None => all.push(c),
        }
    }
    // Letters and marks may be one in small letters only.
    if is_normal(&all) { all } else { all.nfkc().collect() }
}

/// What letters are folded to: computed, for each once.
fn folded(nfkc: impl Iterator<Item = char>) -> String {
    // Upper case in between: it joins what lower case alone keeps apart, such as ß and ss. But not ẞ, which is a
    // capital.
    nfkc.flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkc()
        .collect()
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
        let mut looks = [(); 3].map(|()| String::with_capacity(name.len()));
        if are_separate(name) {
            name.chars().for_each(|c| add_looks(c, &mut looks));
        } else {
            name.nfkd().for_each(|c| add_looks(c, &mut looks));
            // Marks that a letter became may stand in another order than those that were written.
            let is_one = looks[0] == looks[1] && looks[0] == looks[2];
            if !looks[..if is_one { 1 } else { 3 }].iter().all(|look| is_in_order(look)) {
                looks = looks.map(|look| look.nfd().collect());
            }
        }
        Self { folded: fold(name), looks }
    }

    /// What a letter is compared by: computed, for each once.
    pub(super) fn of_letter(c: char) -> Self {
        let text = c.to_string();
        let mut looks = [const { String::new() }; 3];
        if text.nfkd().eq([c]) {
            looks = looks_of(c);
        } else {
            text.nfkd().for_each(|c| add_looks(c, &mut looks));
            looks = looks.map(|look| look.nfd().collect());
        }
        Self { folded: folded(text.nfkc()), looks }
    }

    pub(super) fn all(&self) -> [&str; 4] {
        let [small, written, capital] = &self.looks;
        [&self.folded, small, written, capital]
    }

    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.folded == other.folded || self.looks.iter().any(|look| other.looks.contains(look))
    }
}

/// Appends the looks of a letter to those of a name.
fn add_looks(c: char, to: &mut [String; 3]) {
    match &letter(c).forms {
        Some(forms) => to.iter_mut().zip(&forms.looks).for_each(|(to, look)| *to += look),
        None => to.iter_mut().for_each(|to| to.push(c)),
    }
}

/// The reserved word that a name would be taken for.
pub(super) fn reserved(name: &str) -> Option<&'static str> {
    static FORMS: LazyLock<[Forms; 13]> = LazyLock::new(|| RESERVED.map(Forms::of));
    let name = name.trim_matches(['_', '-', '.']);
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

/// The looks of a letter that cannot be decomposed.
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
        let next: String = skeleton(&folded(look.nfkc())).collect();
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
    fn looks_settle_for_every_letter() {
        // Names are decomposed before.
        for c in ('\0'..='\u{20000}').filter(|c| c.to_string().nfkd().eq([*c])) {
            for look in looks_of(c) {
                let once_more: String = skeleton(&folded(look.nfkc())).collect();
                assert_eq!(look, once_more, "{c:?}");
                assert!(!look.is_empty() || !is_allowed(c), "{c:?}");
            }
        }
    }

    /// What a name is compared by, computed from Unicode's tables only, as a whole.
    fn computed(name: &str) -> [String; 4] {
        let mut looks = [const { String::new() }; 3];
        for c in name.nfkd() {
            looks.iter_mut().zip(looks_of(c)).for_each(|(to, look)| *to += &look);
        }
        let [small, written, capital] = looks.map(|look| look.nfd().collect());
        [folded(name.nfkc()), small, written, capital]
    }

    #[test]
    fn forms_put_together_from_letters_are_those_computed() {
        let seed = std::env::var("ALIKE_SEED").ok().and_then(|seed| seed.parse().ok());
        let mut random = seed.unwrap_or(1_u64);
        println!("ALIKE_SEED={random}");
        let mut below = |end: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % end
        };
        let check = |text: &str| {
            assert_eq!(Forms::of(text).all(), computed(text).each_ref().map(|form| &**form), "{text:?}");
            assert_eq!(fold(text), folded(text.nfkc()), "{text:?}");
            let letters = text.nfkc().take(NAME_CHARS_MAX);
            let typed = (text.nfkc().count() <= NAME_CHARS_MAX).then(|| folded(letters));
            assert_eq!(fold_typed(text), typed, "{text:?}");
        };
        let all: Vec<char> = ('\0'..=char::MAX).filter(|&c| is_allowed(c)).collect();
        all.iter().for_each(|c| check(&c.to_string()));
        let bases: Vec<char> = all.iter().copied().filter(|&c| !letter(c).is_mark).collect();
        let marks: Vec<char> = all.iter().copied().filter(|&c| letter(c).is_mark).collect();
        for _ in 0..20_000 {
            // Most letters are Han or Hangul: so from all over, or neighbors, which are of one script.
            let (around, is_mixed) = (below(bases.len()), below(2) == 0);
            let near = |i: usize| bases[(around + i) % bases.len()];
            let name: String = (0..=below(NAME_CHARS_MAX))
                .map(|_| match below(4) {
                    0 => marks[below(marks.len())],
                    1 if is_mixed => bases[below(bases.len())],
                    2 => bases[below(1500)],
                    _ => near(below(30)),
                })
                .collect();
            check(&name);
            let normal: String = name.nfc().collect();
            check(&normal);
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
