//! What is known of single characters, which names are made of.
//!
//! Most of it takes a microsecond to find out, and a name has up to 32 of them. So it is found out when a character is
//! first seen, and kept. The table is only in memory as far as characters were seen: some megabytes if all were.

use std::sync::OnceLock;

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use unicode_security::mixed_script::AugmentedScriptSet;

use super::alike::Forms;
use super::name::is_allowed;

#[derive(Debug)]
pub(super) struct Letter {
    /// The scripts that it belongs to; none if no name may have it.
    pub(super) scripts: Option<AugmentedScriptSet>,
    pub(super) is_alphabetic: bool,
    pub(super) is_mark: bool,
    /// Whether it stays what it is in NFKC, whatever is before it, if marks are in order.
    is_normal: bool,
    /// Whether it begins with no mark, however it is written: what is before it does not change what it looks like.
    pub(super) is_separate: bool,
    /// What it is compared by, unless that is only itself.
    pub(super) forms: Option<Box<Forms>>,
}

/// What nothing is kept of: characters that are rare, many, and in no name.
static OTHER: Letter = Letter {
    scripts: None,
    is_alphabetic: false,
    is_mark: false,
    is_normal: false,
    is_separate: false,
    forms: None,
};

/// Of 256 characters that follow each other.
type Block = Box<[OnceLock<Letter>]>;

/// By the upper bits of a character: one by one in the program they would be most of it.
static BLOCKS: [OnceLock<Block>; 0x300] = [const { OnceLock::new() }; 0x300];

/// What is known of a character; of those behind the first 65 536, if a name may have it.
pub(super) fn letter(c: char) -> &'static Letter {
    let (upper, lower) = (c as usize >> 8, c as usize & 0xff);
    let Some(block) = BLOCKS.get(upper) else { return &OTHER };
    match block.get().and_then(|block| block[lower].get()) {
        Some(letter) => letter,
        None if c < '\u{10000}' || is_allowed(c) => {
            let block = block.get_or_init(|| (0..0x100).map(|_| OnceLock::new()).collect());
            block[lower].get_or_init(|| Letter::new(c))
        }
        None => &OTHER,
    }
}

/// Whether a text looks like its letters, one after the other.
pub(super) fn are_separate(text: &str) -> bool {
    text.chars().all(|c| letter(c).is_separate)
}

/// Whether a text is in NFKC, as far as one sees without normalizing it.
pub(super) fn is_normal(text: &str) -> bool {
    text.is_ascii() || text.chars().all(|c| letter(c).is_normal) && is_in_order(text)
}

/// Whether all marks are in the order in which normalizing puts them.
pub(super) fn is_in_order(text: &str) -> bool {
    text.chars().map(canonical_combining_class).is_sorted_by(|&last, &next| next == 0 || last <= next)
}

impl Letter {
    fn new(c: char) -> Self {
        let text = &*c.to_string();
        let forms = Forms::of_letter(c);
        let begins_anew = |text: &str| text.nfkd().take(1).all(|c| canonical_combining_class(c) == 0);
        Self {
            scripts: is_allowed(c).then(|| c.into()),
            is_alphabetic: c.is_alphabetic(),
            is_mark: is_combining_mark(c),
            is_normal: is_nfkc_quick(text.chars()) == IsNormalized::Yes,
            is_separate: begins_anew(text) && forms.all().into_iter().all(begins_anew),
            forms: (forms.all() != [text; 4]).then(|| forms.into()),
        }
    }
}
