//! The text of a message, made safe once, on input, for every reader.
//!
//! | removed | because |
//! |---|---|
//! | control characters, line and paragraph separators | they drive terminals and fake lines |
//! | bidirectional controls (UAX 9) | they turn the text around them |
//! | what is invisible (Default_Ignorable_Code_Point), where it has nothing to do | it hides: two texts look the same and are not, or one holds another that nobody sees |
//!
//! Invisible characters have something to do in emoji (👩‍🚀, ❤️, 1️⃣, 🏴󠁧󠁢󠁷󠁬󠁳󠁿), between letters of scripts that join
//! theirs (UAX 31, section 2.3), and behind a few letters that have variants. There they stay.

use std::borrow::Cow;
use std::fmt;

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// A message has at most so many lines: to people each of them is sent with the name in front.
pub const BODY_LINES_MAX: usize = 128;

/// What somebody said: one line or several. It holds nothing that could drive a terminal, fake a line, turn the
/// direction of the text around it, or hide in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(Box<str>);

impl Body {
    /// Takes `text` without the characters that may not reach another user; none if nothing visible is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_safe_already =
            text.bytes().all(is_plain_ascii) || text.chars().all(|c| is_safe(c) && !is_invisible(c));
        let body = if is_safe_already { Cow::Borrowed(text) } else { Cow::Owned(cleaned(text)) };
        let body = body.trim_matches('\n');
        body.contains(|c| !is_blank(c)).then(|| Self(body.into()))
    }

    /// A text that was good when it was saved.
    #[must_use]
    pub fn saved(text: &str) -> Self {
        Self::new(text).unwrap_or_else(|| Self("?".into()))
    }

    /// Its lines; at least one.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.split('\n')
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain_ascii(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n')
}

/// Not C0 (Tab and LF aside), DEL, C1, one of the 12 bidirectional controls (UAX 9, Bidi_Control), or a line
/// or paragraph separator. By code point, never by byte: in UTF-8, C1 bytes continue ordinary letters.
fn is_safe(c: char) -> bool {
    let is_bidi_control = matches!(c,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    c == '\t' || c == '\n' || !(c.is_control() || is_bidi_control || is_separator)
}

/// Default_Ignorable_Code_Point (DerivedCoreProperties.txt, the same since Unicode 9 but for U+180F), and the
/// annotation characters, which hide what they annotate with.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{13430}'..='\u{1343F}' | '\u{16FE4}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// White space, and characters that are drawn as nothing: an empty Braille cell, blank hieroglyphs, an empty note.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{2800}' | '\u{13441}' | '\u{13442}' | '\u{1D159}')
}

/// A text without what is not safe, and without invisible characters where they have nothing to do.
fn cleaned(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{E0020}'..='\u{E007F}' => {}
            _ if !is_safe(c) || is_invisible(c) && !is_useful(c, &clean, rest.as_str()) => {}
            BLACK_FLAG => {
                let tags = flag_tags(rest.as_str());
                clean.push(c);
                clean.push_str(tags);
                rest = rest.as_str()[tags.len()..].chars();
            }
            _ => clean.push(c),
        }
    }
    clean
}

/// Whether an invisible character does something visible behind `before` and in front of `after`.
fn is_useful(c: char, before: &str, after: &str) -> bool {
    let Some(last) = before.chars().next_back() else { return false };
    let next = after.chars().next();
    match c {
        // No reason to remove it otherwise: the emoji may be next only because what was in between is removed.
        ZWJ if next.is_some_and(is_pictographic) && ends_in_emoji(before) => true,
        ZWJ | ZWNJ => is_virama(last) || joins(last) && next.is_some_and(joins),
        // In text or as a picture; and a keycap.
        '\u{FE0E}' | '\u{FE0F}' => is_pictographic(last) || is_key(last) && next == Some('\u{20E3}'),
        '\u{FE00}'..='\u{FE0D}' => has_standard_variants(last),
        '\u{E0100}'..='\u{E01EF}' => is_ideograph(last),
        '\u{180B}'..='\u{180F}' => matches!(last, '\u{1820}'..='\u{18AA}'),
        _ => false,
    }
}

const ZWNJ: char = '\u{200C}';
const ZWJ: char = '\u{200D}';
const BLACK_FLAG: char = '\u{1F3F4}';

/// The tags of a flag of a part of a country, at the front of what follows a black flag (UTS 51, ED-14a); nothing if
/// they are none.
fn flag_tags(text: &str) -> &str {
    // Those of RGI_Emoji_Tag_Sequence; as many others as one likes are well-formed, and show nothing.
    const FLAGS: [&str; 3] = ["gbeng", "gbsct", "gbwls"];
    let letters: String =
        text.chars().take(5).filter_map(|tag| char::from_u32((tag as u32).wrapping_sub(0xE0000))).collect();
    let is_flag = FLAGS.contains(&letters.as_str()) && text.chars().nth(5) == Some('\u{E007F}');
    // Each of them has four bytes.
    if is_flag { &text[..24] } else { "" }
}

/// Whether a text ends in an emoji that others can be joined to.
fn ends_in_emoji(text: &str) -> bool {
    let bare = text.strip_suffix('\u{FE0F}').unwrap_or(text);
    bare.chars().next_back().is_some_and(is_pictographic)
}

/// Characters that are or can be emoji, with the blocks that they are in (emoji-data.txt, Extended_Pictographic and
/// Emoji_Modifier); not the ASCII ones.
fn is_pictographic(c: char) -> bool {
    matches!(c,
        '\u{A9}' | '\u{AE}' | '\u{203C}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21FF}'
        | '\u{2300}'..='\u{23FF}' | '\u{2460}'..='\u{24FF}' | '\u{25A0}'..='\u{27BF}' | '\u{2900}'..='\u{297F}'
        | '\u{2B00}'..='\u{2BFF}' | '\u{3030}' | '\u{303D}' | '\u{3297}' | '\u{3299}' | '\u{1F000}'..='\u{1FAFF}')
}

fn is_key(c: char) -> bool {
    matches!(c, '0'..='9' | '#' | '*')
}

/// Letters that a mark without a vowel is behind: a joiner says how they are drawn, also at the end of a word.
fn is_virama(c: char) -> bool {
    canonical_combining_class(c) == 9
}

/// Letters and marks of scripts whose letters take other shapes beside others (ArabicShaping.txt), or form clusters
/// (IndicSyllabicCategory.txt). By block: messages are full of them, and a table of scripts would cost more than all
/// the rest.
fn joins(c: char) -> bool {
    let is_of_such_a_script = matches!(c,
        '\u{600}'..='\u{74F}' // Arabic, Syriac
        | '\u{750}'..='\u{77F}' | '\u{7C0}'..='\u{7FF}' // Arabic, NKo
        | '\u{840}'..='\u{DFF}' // Mandaic, Syriac, Arabic; Devanagari to Sinhala
        | '\u{F00}'..='\u{109F}' // Tibetan, Myanmar
        | '\u{1780}'..='\u{18AF}' // Khmer, Mongolian
        | '\u{1B00}'..='\u{1BBF}' | '\u{1CD0}'..='\u{1CFF}' // Balinese, Sundanese; Vedic signs
        | '\u{A840}'..='\u{A87F}' | '\u{A8E0}'..='\u{A8FF}' // Phags-pa, Devanagari
        | '\u{A980}'..='\u{A9FF}' | '\u{AA60}'..='\u{AA7F}' // Javanese, Myanmar
        | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFE}' // Arabic in its shapes
        | '\u{10AC0}'..='\u{10BAF}' | '\u{10D00}'..='\u{10FDF}' // Manichaean to Psalter Pahlavi; Rohingya to Chorasmian
        | '\u{11000}'..='\u{114DF}' | '\u{1E900}'..='\u{1E95F}'); // Brahmi to Tirhuta; Adlam
    is_of_such_a_script && (c.is_alphanumeric() || is_combining_mark(c)) && !is_invisible(c)
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFD}')
}

/// Characters with variants of their own (StandardizedVariants.txt): mathematical signs, full-width punctuation,
/// Myanmar and ʼPhags-pa letters, and ideographs.
fn has_standard_variants(c: char) -> bool {
    matches!(c,
        '\u{2200}'..='\u{22FF}' | '\u{2A00}'..='\u{2AFF}' | '\u{3001}'..='\u{3002}' | '\u{FF01}'..='\u{FF1F}'
        | '\u{1000}'..='\u{109F}' | '\u{AA60}'..='\u{AA7F}' | '\u{A840}'..='\u{A87F}')
        || is_ideograph(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_drive_a_terminal_or_fake_a_line_is_removed() {
        let cases = [
            ("plain", "plain"),
            ("tab\tstays", "tab\tstays"),
            ("\u{1b}[31mred", "[31mred"),
            ("bell\u{7}del\u{7f}", "belldel"),
            ("c1\u{9b}31m", "c131m"),
            ("a\rb", "ab"),
            ("  a\r\n\n\tb\n", "  a\n\n\tb"),
            ("\n\n  a", "  a"),
            ("a\u{2028}b\u{2029}c", "abc"),
            ("\u{202e}evil\u{2066}", "evil"),
            ("à ĀÿＡ 😀", "à ĀÿＡ 😀"),
        ];
        for (text, expected) in cases {
            assert_eq!(Body::new(text).unwrap().as_str(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_invisible_does_not_pass_where_it_hides() {
        let hidden = [
            '\u{AD}',
            '\u{34F}',
            '\u{115F}',
            '\u{1160}',
            '\u{180E}',
            '\u{200B}',
            ZWNJ,
            ZWJ,
            '\u{2060}',
            '\u{2064}',
            '\u{3164}',
            '\u{FE00}',
            '\u{FE0F}',
            '\u{FEFF}',
            '\u{FFA0}',
            '\u{FFF9}',
            '\u{1D173}',
            '\u{E0001}',
            '\u{E0041}',
            '\u{E007F}',
            '\u{E0100}',
            '\u{E01EF}',
        ];
        for c in hidden {
            for text in ["ab", "éé", "иван", "1", "김", "あ", "a😀"] {
                let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
                for with in
                    [format!("{first}{c}{rest}"), format!("{c}{text}"), format!("{first}{c}{c}{rest}")]
                {
                    assert_eq!(Body::new(&with).unwrap().as_str(), text, "{with:?}");
                }
            }
        }
        for (text, expected) in [
            ("👩\u{200d}", "👩"),
            ("👩\u{200d}\u{200d}🚀", "👩\u{200d}🚀"),
            ("a\u{200d}🚀", "a🚀"),
            ("😀\u{fe0f}\u{fe0f}", "😀\u{fe0f}"),
            ("😀\u{e0067}\u{e007f}", "😀"),
            ("\u{1f3f4}\u{e0067}\u{e0062}x", "\u{1f3f4}x"),
            ("\u{1f3f4}\u{e0068}\u{e0065}\u{e006c}\u{e006c}\u{e006f}\u{e0021}\u{e007f}", "\u{1f3f4}"),
            ("葛\u{e0100}\u{e0101}", "葛\u{e0100}"),
            ("م\u{200c}\u{200c}ی", "م\u{200c}ی"),
            ("م\u{200c}", "م"),
        ] {
            assert_eq!(Body::new(text).unwrap().as_str(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_invisible_stays_where_it_does_something() {
        for text in [
            "👩\u{200d}🚀",
            "👩🏽\u{200d}❤\u{fe0f}\u{200d}💋\u{200d}👨🏻",
            "🏃🏽\u{200d}♀\u{fe0f}\u{200d}➡\u{fe0f}",
            "🏳\u{fe0f}\u{200d}🌈 🏴\u{200d}☠\u{fe0f}",
            "❤\u{fe0f} ☎\u{fe0e} ©\u{fe0f}",
            "1\u{fe0f}\u{20e3} #\u{fe0f}\u{20e3}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}!",
            "می\u{200c}خواهم",
            "مُ\u{200d}ن",
            "क\u{94d}\u{200d}ष क\u{94d}\u{200c}ष",
            "ක\u{dca}\u{200d}ර",
            "ന\u{d4d}\u{200d} അവന\u{d4d}\u{200d}",
            "ক\u{9cd}\u{200d}",
            "葛\u{e0100}城",
            "ᠠ\u{180b} ᠠ\u{180e}ᠠ",
            "≨\u{fe00}",
            "🇩🇪👍🏽",
        ] {
            assert_eq!(Body::new(text).unwrap().as_str(), text, "{text:?}");
        }
    }

    #[test]
    fn a_message_that_was_made_safe_stays_as_it_is() {
        for text in [
            "\u{94d}\u{200d}\u{202e}🚀",
            "ر\u{200c}\u{202e}ر",
            "👩\u{200d}\u{200b}🚀",
            "1\u{fe0f}\u{200b}\u{20e3}",
        ] {
            let body = Body::new(text).unwrap();
            assert_eq!(Body::new(body.as_str()), Some(body), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_not_a_message() {
        for text in [
            "",
            "  ",
            "\u{1b}",
            "\r",
            "\n",
            "\u{200b}",
            "\u{3164}",
            "\u{2800}",
            "\u{ad}\u{2060} \u{fe0f}",
            "\u{200d}\u{200c}",
            "\u{e0041}\u{e007f}",
            "\u{13441}",
            "\u{a0}\u{3000}\u{2003}",
        ] {
            assert_eq!(Body::new(text), None, "{text:?}");
        }
    }
}
