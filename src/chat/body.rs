//! The text of a message, made safe once, on input, for every reader.

use std::fmt;

/// What somebody said. It holds nothing that could drive a terminal, fake a line or turn the
/// direction of the text around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(Box<str>);

impl Body {
    /// Takes `text` without the characters that may not reach another user; none if nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_end_matches(['\r', '\n']);
        let body = if text.chars().all(is_safe) {
            text.to_owned()
        } else {
            // A line break within a message (JSON and WebSocket can have one) still parts two words.
            text.chars().map(|c| if c == '\n' { ' ' } else { c }).filter(|&c| is_safe(c)).collect()
        };
        (!body.trim().is_empty()).then(|| Self(body.into()))
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

/// Not C0 (tab aside), DEL, C1, one of the 12 bidirectional controls (UAX 9, Bidi_Control), or a line
/// or paragraph separator. By code point, never by byte: in UTF-8, C1 bytes continue ordinary letters.
fn is_safe(c: char) -> bool {
    let is_bidi_control = matches!(c,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    c == '\t' || !(c.is_control() || is_bidi_control || is_separator)
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
            ("a\nb", "a b"),
            ("a\u{2028}b\u{2029}c", "abc"),
            ("\u{202e}evil\u{2066}", "evil"),
            ("à ĀÿＡ 😀 \u{200d}", "à ĀÿＡ 😀 \u{200d}"),
        ];
        for (text, expected) in cases {
            assert_eq!(Body::new(text).unwrap().as_str(), expected, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_not_a_message() {
        for text in ["", "  ", "\u{1b}", "\r", "\n"] {
            assert_eq!(Body::new(text), None, "{text:?}");
        }
    }
}
