//! Nothing a server sends may drive the terminal it is shown on.
//!
//! The daemon removes such characters on input already; a client that shows other people's text
//! does not rely on it. [`clean`] is applied to every string of every event before anything else
//! sees it (see [`read`](super::protocol::read)), [`clean_body`] to what may have several lines, also
//! when it is typed, so that a sent body equals the body that comes back.

/// True for C0, C1 and DEL, the bidi controls, and the line and paragraph separators.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}')
}

/// The text without what could drive a terminal or fake a line: white space among it becomes a
/// space, the rest disappears.
pub(super) fn clean(text: &str) -> String {
    clean_body(text).replace(['\t', '\n'], " ")
}

/// The same for what may have several lines, and tabs: whoever shows it has to see to them.
pub(super) fn clean_body(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\t' | '\n' => Some(c),
            '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
            c if is_unsafe(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Something of several lines in one.
pub(super) fn in_one_line(text: &str) -> String {
    text.replace('\n', " ⏎ ").replace('\t', " ")
}

/// A line of JSON with every such character escaped by its four hex digits: the same value, harmless to
/// look at. In valid JSON they can only stand inside strings.
pub(super) fn escape_json(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if is_unsafe(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_teeth() {
        assert_eq!(clean("\u{1b}[31mred\u{7}\u{9b}2J"), "[31mred2J");
        assert_eq!(clean("a\nb\tc\u{2028}d"), "a b c d");
        assert_eq!(clean_body("a\nb\tc\u{2028}d"), "a\nb\tc d");
        assert_eq!(clean("\u{202e}evil\u{2066}"), "evil");
    }

    #[test]
    fn ordinary_text_of_any_script_stays() {
        let text = "ユキ: 👩‍👩‍👧 naïve — שלום";
        assert_eq!(clean(text), text);
    }

    #[test]
    fn json_keeps_its_value() {
        let raw = "{\"body\":\"a\u{202e}b\u{85}\"}";
        let escaped = escape_json(raw);
        assert_eq!(escaped, r#"{"body":"a\u202eb\u0085"}"#);
        let (a, b): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(raw).unwrap(), serde_json::from_str(&escaped).unwrap());
        assert_eq!(a, b);
    }
}
