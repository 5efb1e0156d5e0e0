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
    use super::*;

    #[test]
    fn rows_are_counted_in_columns() {
        for (length, count) in [(0, 1), (17, 1), (18, 2), (19, 2), (37, 2), (38, 3), (57, 3)] {
            assert_eq!(rows("> ", &"x".repeat(length), 20), count, "{length}");
        }
        assert_eq!(rows("> ", &"ユ".repeat(8), 20), 1);
        assert_eq!(rows("> ", &"ユ".repeat(9), 20), 2);
        assert_eq!(rows("> ", "a\nb", 20), 2);
    }
}
