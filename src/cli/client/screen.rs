//! The terminal's last rows: what has been said above, what is unconfirmed in grey, what is typed.
//!
//! There is one writer at any time, that is why nothing is ever torn. While a line is edited it is
//! the line editor: [`Screen::draw`] is called by it whenever it paints its prompt, with the
//! cursor at the beginning of the prompt's row, and what it returns is painted in front of the
//! prompt. While nothing is edited the program writes the same text itself. Either way the escape
//! sequences are relative to the prompt's row, so it does not matter where on the screen that is.
//!
//! Pure: text in, text out.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Unconfirmed lines shown at most; of more, the number is.
pub(super) const UNCONFIRMED_MAX: usize = 5;

/// What is to be painted next.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// Lines to add above, each with its newline.
    above: String,
    /// The unconfirmed rows that should be on the screen.
    unconfirmed: Vec<String>,
    /// Those that are.
    painted: Vec<String>,
    /// Rows of a typed line between them and the cursor, to be wiped out.
    typed_rows: usize,
}

impl Screen {
    /// Adds text, lines with their newlines, to what stands above.
    pub(super) fn add(&mut self, text: &str) {
        self.above.push_str(text);
    }

    /// Says which rows are unconfirmed now.
    pub(super) fn set_unconfirmed(&mut self, rows: Vec<String>) {
        self.unconfirmed = rows;
    }

    /// A line was typed at a prompt of this text and the cursor is in the row below it. The line
    /// appears again when it is unconfirmed or confirmed, so it is wiped out here.
    pub(super) fn wipe_typed(&mut self, prompt: &str, line: &str, columns: usize) {
        self.typed_rows += rows(prompt, line, columns);
    }

    /// True if [`draw`](Self::draw) would change anything.
    pub(super) fn is_stale(&self) -> bool {
        !self.above.is_empty() || self.unconfirmed != self.painted || self.typed_rows > 0
    }

    /// What to write with the cursor at the beginning of the prompt's row, which is empty.
    pub(super) fn draw(&mut self) -> String {
        if !self.is_stale() {
            return String::new();
        }
        let mut text = String::from("\r");
        let up = self.painted.len() + self.typed_rows;
        if up > 0 {
            text.push_str(&format!("\x1b[{up}A"));
        }
        text.push_str("\x1b[J");
        text.push_str(&std::mem::take(&mut self.above));
        for row in &self.unconfirmed {
            text.push_str(row);
            text.push('\n');
        }
        self.painted.clone_from(&self.unconfirmed);
        self.typed_rows = 0;
        text
    }
}

/// How many rows a prompt and a line typed behind it take, as the line editor counts them.
fn rows(prompt: &str, line: &str, columns: usize) -> usize {
    const TAB: usize = 8;
    let columns = columns.max(1);
    let (mut rows, mut column) = (1, prompt.width());
    for c in line.chars() {
        let width = match c {
            '\n' => {
                (rows, column) = (rows + 1, 0);
                continue;
            }
            '\t' => TAB - column % TAB,
            c => c.width().unwrap_or(0),
        };
        column += width;
        if column > columns {
            (rows, column) = (rows + 1, width);
        }
    }
    if column == columns { rows + 1 } else { rows }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    /// A terminal that shows what the screen draws, with a prompt behind it.
    struct Shown {
        parser: vt100::Parser,
        screen: Screen,
    }

    impl Shown {
        fn new() -> Shown {
            let size = |n| NonZero::new(n).unwrap();
            let parser = vt100::Parser::new(size(12), size(20), 0);
            Shown { parser, screen: Screen::default() }
        }

        /// What a line editor does: clear its row, draw, paint prompt and line again.
        fn paint(&mut self, typed: &str) -> String {
            let text = format!("\r\x1b[K{}> {typed}", self.screen.draw());
            self.parser.process(text.replace('\n', "\r\n").as_bytes());
            self.parser.screen().contents()
        }

        fn enter(&mut self, typed: &str) {
            self.parser.process(b"\r\n");
            self.screen.wipe_typed("> ", typed, 20);
        }
    }

    #[test]
    fn what_arrives_stands_above_what_is_typed() {
        let mut shown = Shown::new();
        shown.paint("hel");
        shown.screen.add("bob: hi\n");
        assert_eq!(shown.paint("hel"), "bob: hi\n> hel");
        shown.screen.add("bob: ho\n");
        assert_eq!(shown.paint("hello"), "bob: hi\nbob: ho\n> hello");
    }

    #[test]
    fn a_typed_line_turns_grey_and_then_into_a_message() {
        let mut shown = Shown::new();
        shown.paint("hello");
        shown.enter("hello");
        shown.screen.set_unconfirmed(vec!["… hello".into()]);
        assert_eq!(shown.paint(""), "… hello\n> ");
        shown.screen.add("bob: first\n");
        assert_eq!(shown.paint(""), "bob: first\n… hello\n> ");
        shown.screen.add("al: hello\n");
        shown.screen.set_unconfirmed(Vec::new());
        assert_eq!(shown.paint(""), "bob: first\nal: hello\n> ");
    }

    #[test]
    fn a_typed_line_of_several_rows_is_wiped_out_whole() {
        for length in [17, 18, 19, 38, 40, 57] {
            let mut shown = Shown::new();
            shown.screen.add("before\n");
            let line = "x".repeat(length);
            shown.paint(&line);
            // A line editor goes to a new row when the last one is full.
            if (length + 2) % 20 == 0 {
                shown.parser.process(b"\r\n");
            }
            shown.enter(&line);
            assert_eq!(shown.paint(""), "before\n> ", "{length}");
        }
    }

    #[test]
    fn rows_are_counted_in_columns() {
        assert_eq!(rows("> ", "", 20), 1);
        assert_eq!(rows("> ", &"ユ".repeat(8), 20), 1);
        assert_eq!(rows("> ", &"ユ".repeat(9), 20), 2);
        assert_eq!(rows("> ", "a\nb", 20), 2);
    }
}
