//! Lines as text: time, name and body, for a terminal or for a log.
//!
//! On a terminal a line is `09:41     alice  hello`: local time, the name right-aligned by display
//! width (so `ユキ` takes four columns) and in a colour that is the same for a name everywhere and
//! always. Without colours (`NO_COLOR`, a pipe) everything can still be told apart by its text. In a
//! log a line is that of the text dialect behind its full time in UTC.
//!
//! A message may have several lines, and a long one takes several rows. Nobody can say a row that looks like somebody
//! else's: only the first row of a message begins in the first column, and in a log every line has its name.

use std::borrow::Cow;
use std::iter;

use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter};
use time::{Date, OffsetDateTime, UtcOffset};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::display::Line;
use super::sanitize::in_one_line;

/// Columns the names are right-aligned in; longer names push the text to the right.
const NAME_COLUMNS: usize = 12;
/// With less room than this for text beside the names, further rows begin below them instead.
const TEXT_COLUMNS_MIN: usize = 20;
/// Further rows are indented at least so far.
const INDENT_MIN: usize = 2;
/// Tabs are drawn as spaces up to a multiple of this.
const TAB_COLUMNS: usize = 4;
/// Joins emoji into one.
const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// Colours (of 256) of medium brightness, legible on black and on white.
const NAME_COLOURS: [u8; 12] = [167, 172, 142, 107, 71, 73, 74, 68, 104, 134, 168, 131];

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const GREY: &str = "\x1b[90m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const MAGENTA: &str = "\x1b[35m";
const HIGHLIGHT: &str = "\x1b[1;33m";
const BELL: &str = "\x07";

/// How lines look.
#[derive(Debug)]
pub(super) struct Painter {
    /// For a terminal rather than for a log.
    terminal: bool,
    colours: bool,
    offset: UtcOffset,
    /// The width of the terminal; 0 breaks no lines.
    columns: usize,
    /// The day of the line painted last; a new one is announced.
    day: Option<Date>,
}

impl Painter {
    /// For somebody who reads along, with times at this offset from UTC.
    pub(super) fn terminal(colours: bool, offset: UtcOffset) -> Painter {
        Painter { terminal: true, colours, offset, columns: 0, day: None }
    }

    /// For a file or the next program.
    pub(super) fn log() -> Painter {
        Painter { terminal: false, colours: false, offset: UtcOffset::UTC, columns: 0, day: None }
    }

    /// Breaks long lines for a terminal of this width.
    pub(super) fn set_columns(&mut self, columns: usize) {
        self.columns = columns;
    }

    /// Which times are shown, in words.
    pub(super) fn times(&self) -> String {
        if self.offset.is_utc() {
            return "UTC".into();
        }
        let (hours, minutes, _) = self.offset.as_hms();
        let sign = if self.offset.is_negative() { '-' } else { '+' };
        format!("local (UTC{sign}{:02}:{:02})", hours.abs(), minutes.abs())
    }

    /// The line as text ending in a newline. `now` (Unix milliseconds) is the time of what has none.
    pub(super) fn paint(&mut self, line: &Line, now: u64) -> String {
        let ts = match line.bare() {
            Line::Said { message, .. } => message.ts,
            Line::Private { ts, .. } | Line::Happened { ts, .. } => *ts,
            _ => now,
        };
        let at = moment(if ts == 0 { now } else { ts }, self.offset);
        if !self.terminal {
            let Row { label, log, body, .. } = Row::new(line);
            let (hour, minute, second) = at.to_hms();
            let before = format!("{}T{hour:02}:{minute:02}:{second:02}Z {label}{log}", at.date());
            return body.split('\n').map(|line| format!("{before}{line}\n")).collect();
        }
        let today = *self.day.get_or_insert(moment(now, self.offset).date());
        let mut text = String::new();
        if at.date() != today {
            self.day = Some(at.date());
            text = self.wrap(DIM, &format!("      -- {} --", at.date())) + "\n";
        }
        text + &self.row(line, at) + "\n"
    }

    /// What was typed and is not confirmed, cut to one row of the terminal.
    pub(super) fn unconfirmed(&self, typed: &str) -> String {
        let row = format!("      {:>NAME_COLUMNS$}  {}", "…", in_one_line(typed));
        self.wrap(GREY, &cut(&row, self.columns.saturating_sub(1)))
    }

    /// Where one is and what is unread elsewhere, cut to one row of the terminal.
    pub(super) fn bar(&self, bar: &str) -> String {
        self.wrap(DIM, &cut(bar, self.columns.saturating_sub(1)))
    }

    /// A prompt; dimmed it says that nobody is listening.
    pub(super) fn prompt(&self, prompt: &str, connected: bool) -> String {
        if connected { prompt.to_owned() } else { self.wrap(GREY, prompt) }
    }

    fn row(&self, line: &Line, at: OffsetDateTime) -> String {
        let row = Row::new(line);
        let time = format!("{:02}:{:02}", at.hour(), at.minute());
        // Without colours a mark says what dimming says with them.
        let mark = if row.old && !self.colours { '~' } else { ' ' };
        let who_columns = row.label.width() + row.who.width();
        let padding = " ".repeat(NAME_COLUMNS.saturating_sub(who_columns));
        let before = time.len() + 1 + padding.len() + who_columns + 2;
        let label = &row.label;
        let body = fold(row.body, before + row.actor.width(), before, self.columns);
        let actor = &row.actor;
        if row.dim {
            return self.wrap(DIM, &format!("{time}{mark}{padding}{label}{}  {actor}{body}", row.who));
        }
        let (time, label) = (self.wrap(DIM, &time), self.wrap(DIM, label));
        let who = self.wrap(&row.who_style, &row.who);
        let (actor, body) = (self.wrap(&row.who_style, actor), self.wrap(row.body_style, &body));
        let bell = if row.bell { BELL } else { "" };
        format!("{bell}{time}{mark}{padding}{label}{who}  {actor}{body}")
    }

    fn wrap(&self, style: &str, text: &str) -> String {
        if self.colours && !style.is_empty() && !text.is_empty() {
            format!("{style}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }
}

/// A line in its parts.
#[derive(Default)]
struct Row<'a> {
    /// The room in which it is, if that is not the current one. No name has a `#`, so nobody can fake one.
    label: String,
    /// What stands before the body in a log, as in the text dialect.
    log: String,
    /// What stands in the column of names on a terminal.
    who: Cow<'a, str>,
    who_style: String,
    /// Who does it, at the beginning of the text and in the style of `who`.
    actor: String,
    body: &'a str,
    body_style: &'static str,
    /// All of it is dimmed.
    dim: bool,
    /// From before, or from while we were away.
    old: bool,
    bell: bool,
}

impl<'a> Row<'a> {
    fn new(line: &'a Line) -> Row<'a> {
        match line {
            Line::Said { message, action, own, mention, old } => {
                let from = message.from.as_str();
                let (log, who, actor) = match action {
                    // Two, so that nobody can fake what the server says happened.
                    true => (format!("** {from} "), "**", format!("{from} ")),
                    false => (format!("{from}: "), from, String::new()),
                };
                Row {
                    label: String::new(),
                    log,
                    who: who.into(),
                    who_style: format!("{}{}", if *own { BOLD } else { "" }, name_style(from)),
                    actor,
                    body: &message.body,
                    body_style: if *mention { HIGHLIGHT } else { "" },
                    dim: *old,
                    old: *old,
                    bell: *mention && !*old,
                }
            }
            Line::Private { from, to, body, own, .. } => {
                let (log, who) = match own {
                    true => (format!("→{to}: "), format!("you → {to}")),
                    false => (format!("@{from}: "), format!("{from} → you")),
                };
                let row = Row { log, who: who.into(), body, bell: !*own, ..Row::default() };
                Row { who_style: MAGENTA.into(), body_style: MAGENTA, ..row }
            }
            Line::Happened { text, .. } | Line::Status(text) => {
                Row { dim: true, ..Row::note("*", "*", text) }
            }
            Line::Elsewhere(room, line) => Row { label: format!("#{room} "), ..Row::new(line) },
            Line::Answer(text) => Row::note("*", "·", text),
            Line::Trouble(text) => {
                Row { who_style: RED.into(), body_style: RED, ..Row::note("!", "!", text) }
            }
        }
    }

    fn note(log: &str, who: &'a str, body: &'a str) -> Row<'a> {
        Row { log: format!("{log} "), who: who.into(), body, ..Row::default() }
    }
}

/// The escape sequence of a name's colour.
fn name_style(name: &str) -> String {
    // FNV-1a: the same on every machine and in every version.
    let hash = name
        .to_lowercase()
        .bytes()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let colour = NAME_COLOURS[hash as usize % NAME_COLOURS.len()];
    format!("\x1b[38;5;{colour}m")
}

/// The lines of `text`, which begins in column `start`, broken where they would exceed `columns`, and all further rows
/// from column `indent`. Widths are columns, not characters.
fn fold(text: &str, start: usize, indent: usize, columns: usize) -> String {
    // The last column stays empty: terminals differ in what they do there.
    let end = if columns == 0 { usize::MAX } else { columns - 1 };
    let indent = if end < indent + TEXT_COLUMNS_MIN { INDENT_MIN } else { indent };
    let starts = iter::once(start).chain(iter::repeat(indent));
    let rows: Vec<_> =
        text.split('\n').zip(starts).map(|(line, start)| fold_line(line, start, indent, end)).collect();
    rows.join(&format!("\n{}", " ".repeat(indent)))
}

fn fold_line(line: &str, start: usize, indent: usize, end: usize) -> String {
    let text = expanded(line);
    if start + text.width() <= end {
        return text;
    }
    let before = " ".repeat(start - indent);
    let options = Options::new(end - indent)
        .initial_indent(&before)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .word_separator(WordSeparator::Custom(words));
    let rows = textwrap::wrap(&text, options).join(&format!("\n{}", " ".repeat(indent)));
    rows.strip_prefix(&before).unwrap_or(&rows).to_owned()
}

/// A line without tabs.
fn expanded(line: &str) -> String {
    line.split_inclusive('\t').fold(String::new(), |before, part| match part.strip_suffix('\t') {
        Some(text) => {
            let text = before + text;
            let spaces = TAB_COLUMNS - text.width() % TAB_COLUMNS;
            text + &" ".repeat(spaces)
        }
        None => before + part,
    })
}

/// What may stand in a row of its own: a word (an address to be clicked on stays whole), and a wide
/// character, because such scripts break anywhere. Of what stays whole and is too long for its row the terminal puts
/// the rest in the first column; so there is no other kind of blank in it, which could make that look like a line.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let ends = line.char_indices().zip(line.chars().skip(1)).filter(|&((_, c), next)| match (c, next) {
        (ZERO_WIDTH_JOINER, _) | (_, ' ') => false,
        (' ', _) => true,
        _ => {
            let is_wide = c.width() == Some(2) || next.width() == Some(2);
            next.width() > Some(0)
                && (is_wide || c.width() > Some(0) && !c.is_ascii() && !c.is_alphanumeric())
        }
    });
    let ends = ends.map(|((at, c), _)| at + c.len_utf8()).chain([line.len()]);
    Box::new(ends.scan(0, |start, end| Some(Word::from(&line[std::mem::replace(start, end)..end]))))
}

/// The longest start of `text` that fits into so many columns.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

fn moment(ts: u64, offset: UtcOffset) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp((ts / 1000) as i64)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .checked_to_offset(offset)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::protocol::Message;

    /// 2026-01-02 03:04:05 UTC.
    const NOW: u64 = 1_767_323_045_000;

    fn said(from: &str, body: &str) -> Line {
        spoken(from, body, false, NOW)
    }

    fn spoken(from: &str, body: &str, action: bool, ts: u64) -> Line {
        let message = Message { id: 1, ts, room: String::new(), from: from.into(), body: body.into() };
        Line::Said { message, action, own: false, mention: false, old: false }
    }

    fn colourless() -> Painter {
        Painter::terminal(false, UtcOffset::UTC)
    }

    #[test]
    fn a_long_body_is_indented_below_its_beginning() {
        let mut painter = colourless();
        painter.set_columns(60);
        let text = painter.paint(&said("bob", "the quick brown fox jumps over the lazy dog"), NOW);
        let indent = " ".repeat(5 + 1 + NAME_COLUMNS + 2);
        assert_eq!(
            text,
            format!("03:04          bob  the quick brown fox jumps over the lazy\n{indent}dog\n")
        );
    }

    #[test]
    fn wide_characters_break_anywhere_and_joined_ones_nowhere() {
        let folded = fold(&"漢字".repeat(10), 4, 4, 27);
        assert!(folded.split('\n').all(|row| row.trim().width() <= 22), "{folded}");
        assert_eq!(folded.matches('\n').count(), 1);
        let family = "👩‍👧".repeat(30);
        assert_eq!(fold(&family, 4, 4, 40).replace("\n    ", ""), family);
    }

    #[test]
    fn an_address_stays_whole_and_nothing_is_lost() {
        let link = "https://example.org/a/very/long/path/that/fits/nowhere";
        let folded = fold(&format!("see {link} please"), 4, 4, 30);
        assert_eq!(folded, format!("see\n    {link}\n    please"));
    }

    #[test]
    fn in_a_narrow_terminal_further_rows_begin_below_the_names() {
        assert_eq!(fold("one two three four five six", 10, 10, 25), "one two three\n  four five six");
        assert_eq!(fold("one\ntwo", 20, 20, 6), "one\n  two");
    }

    /// The rows of a terminal of so many columns.
    fn rows_of(text: &str, columns: u16) -> Vec<String> {
        let size = |n| std::num::NonZero::new(n).unwrap();
        let mut parser = vt100::Parser::new(size(40), size(columns), 0);
        parser.process(text.replace('\n', "\r\n").as_bytes());
        parser.screen().rows(0, columns).filter(|row| !row.is_empty()).collect()
    }

    #[test]
    fn nobody_can_fake_the_line_of_another() {
        let fakes = ["\n", " ", "\u{a0}", "\t", "\u{2800}"].map(|blank| {
            let line = "09:41        alice  I quit".replace(' ', if blank == "\n" { " " } else { blank });
            format!("x{blank}{line}{blank}").repeat(9) + &line
        });
        for (body, columns) in fakes.iter().flat_map(|body| [30, 41, 60, 80].map(|columns| (body, columns))) {
            let mut painter = colourless();
            painter.set_columns(columns.into());
            let elsewhere = Line::Elsewhere("dev".into(), Box::new(said("bob", body)));
            for line in [said("bob", body), spoken("bob", body, true, NOW), elsewhere] {
                let rows = rows_of(&painter.paint(&line, NOW), columns);
                assert!(rows.len() > 2 && rows[0].contains("bob"), "{rows:#?}");
                assert!(rows[1..].iter().all(|row| row.starts_with("  ")), "{columns}: {rows:#?}");
            }
            let log = Painter::log().paint(&said("bob", body), NOW);
            assert!(log.lines().all(|line| line.starts_with("2026-01-02T03:04:05Z bob: ")), "{log}");
        }
    }

    #[test]
    fn several_lines_keep_their_indentation() {
        let mut painter = colourless();
        painter.set_columns(60);
        let text = painter.paint(&said("bob", "if x:\n\ty\n\n  a\tb"), NOW);
        let indent = " ".repeat(20);
        assert_eq!(text, format!("03:04          bob  if x:\n{indent}    y\n{indent}\n{indent}  a b\n"));
    }

    #[test]
    fn a_long_name_that_does_something_is_painted_whole() {
        let name = "漢".repeat(24);
        for body in ["", " ", "does something that takes more than a row", &"漢".repeat(50)] {
            let mut painter = Painter::terminal(true, UtcOffset::UTC);
            painter.set_columns(45);
            let text = painter.paint(&spoken(&name, body, true, NOW), NOW);
            assert!(text.contains(&name), "{text}");
        }
    }

    #[test]
    fn without_colours_there_is_no_escape_sequence() {
        let mut painter = colourless();
        let private =
            Line::Private { ts: NOW, from: "bob".into(), to: "al".into(), body: "psst".into(), own: true };
        for line in [said("bob", "hi"), private, Line::Trouble("no".into())] {
            assert!(!painter.paint(&line, NOW).contains('\x1b'));
        }
        assert!(!painter.unconfirmed("hi").contains('\x1b'));
    }

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(name_style("alice"), name_style("Alice"));
        assert_ne!(name_style("alice"), name_style("bob"));
    }

    #[test]
    fn nobody_can_fake_what_happens() {
        let action = spoken("bob", "left", true, NOW);
        let happened = Line::Happened { ts: NOW, text: "bob left".into() };
        for mut painter in [colourless(), Painter::log()] {
            assert_ne!(painter.paint(&action, NOW), painter.paint(&happened, NOW));
        }
    }

    #[test]
    fn what_is_elsewhere_has_its_room_in_front() {
        let lines = [said("bob", "hi\nal"), spoken("bob", "waves", true, NOW), Line::Answer("yes".into())];
        let lines = lines.map(|line| Line::Elsewhere("dev".into(), Box::new(line)));
        let rows = lines.each_ref().map(|line| colourless().paint(line, NOW));
        let indent = " ".repeat(20);
        assert_eq!(rows[0], format!("03:04     #dev bob  hi\n{indent}al\n"));
        assert_eq!(rows[1], "03:04      #dev **  bob waves\n");
        assert_eq!(rows[2], "03:04       #dev ·  yes\n");
        let logged = lines.map(|line| Painter::log().paint(&line, NOW).replace("2026-01-02T03:04:05Z ", ""));
        assert_eq!(logged, ["#dev bob: hi\n#dev bob: al\n", "#dev ** bob waves\n", "#dev * yes\n"]);
    }

    #[test]
    fn where_one_is_is_one_row() {
        let mut painter = colourless();
        painter.set_columns(20);
        assert_eq!(painter.bar("#dev [#lobby 3]"), "#dev [#lobby 3]");
        assert_eq!(painter.bar("#dev [#lobby 3 #ops 1!]"), "#dev [#lobby 3 #op…");
    }

    #[test]
    fn a_new_day_is_announced() {
        let mut painter = colourless();
        painter.paint(&said("bob", "hi"), NOW);
        let text = painter.paint(&spoken("bob", "hi", false, NOW + 24 * 3600 * 1000), NOW);
        assert!(text.starts_with("      -- 2026-01-03 --\n03:04"), "{text}");
    }

    #[test]
    fn an_unconfirmed_line_is_one_row() {
        let mut painter = colourless();
        painter.set_columns(40);
        let text = painter.unconfirmed(&"ユ".repeat(100));
        assert!(text.width() < 40 && text.ends_with('…'), "{text}");
    }
}
