//! Long lines on a terminal: broken between words and indented, so that the column of names stays
//! free. Widths are columns, not characters.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A terminal with less room than this for text wraps by itself.
const ROOM_MIN: usize = 20;
/// Joins emoji into one.
const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// `text`, which begins in column `indent`, with line breaks where it would exceed `columns`. A
/// word that is longer than a row (an address to be clicked on, say) stays whole.
pub fn fold(text: &str, indent: usize, columns: usize) -> String {
    // The last column stays empty: terminals differ in what they do there.
    let end = columns.saturating_sub(1);
    if end < indent + ROOM_MIN || indent + text.width() <= end {
        return text.to_owned();
    }
    let mut folded = String::with_capacity(text.len() + text.len() / 4);
    let mut at = indent;
    for piece in pieces(text) {
        let word = piece.trim_start_matches(' ');
        let spaces = piece.len() - word.len();
        if at > indent && at + spaces + word.width() > end {
            folded.push('\n');
            folded.push_str(&" ".repeat(indent));
            folded.push_str(word);
            at = indent + word.width();
        } else {
            folded.push_str(piece);
            at += spaces + word.width();
        }
    }
    folded
}

/// Words with the spaces before them. A wide character is a word: such scripts break anywhere.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut before = None;
    for (at, c) in text.char_indices() {
        let wide = |c: char| c.width() == Some(2);
        let breaks = match (before, c) {
            (None | Some(' ' | ZERO_WIDTH_JOINER), _) => false,
            (Some(_), ' ') => true,
            (Some(before), c) => c.width() > Some(0) && (wide(before) || wide(c)),
        };
        if breaks {
            pieces.push(&text[start..at]);
            start = at;
        }
        before = Some(c);
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_to_the_next_row_and_are_indented() {
        let folded = fold("the quick brown fox jumps over", 4, 26);
        assert_eq!(folded, "the quick brown fox\n    jumps over");
        assert_eq!(fold("short", 4, 26), "short");
    }

    #[test]
    fn wide_characters_break_anywhere_and_joined_ones_nowhere() {
        let folded = fold(&"漢字".repeat(10), 4, 27);
        assert!(folded.split('\n').all(|row| row.trim().width() <= 22), "{folded}");
        assert_eq!(folded.matches('\n').count(), 1);
        assert_eq!(pieces("a 👩‍👧漢b c"), ["a", " 👩‍👧", "漢", "b", " c"]);
    }

    #[test]
    fn nothing_is_lost_and_a_long_word_stays_whole() {
        let link = "https://example.org/a/very/long/path/that/fits/nowhere";
        let folded = fold(&format!("see {link} please"), 4, 30);
        assert_eq!(folded, format!("see\n    {link}\n    please"));
    }

    #[test]
    fn a_narrow_terminal_is_left_alone() {
        assert_eq!(fold("one two three four five six", 10, 25), "one two three four five six");
    }
}
