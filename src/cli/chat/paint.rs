//! Lines as text: time, name and body, for a terminal or for a log.
//!
//! On a terminal a line is `09:41     alice  hello`: local time, the name right-aligned by display
//! width (so `ユキ` takes four columns) and in a colour that is the same for a name everywhere and
//! always. Without colours (`NO_COLOR`, a pipe) everything can still be told apart by its text. In a
//! log a line is that of the text dialect behind its full time in UTC.

use time::{Date, OffsetDateTime, UtcOffset};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::line::Line;

/// Columns the names are right-aligned in; longer names push the text to the right.
const NAME_COLUMNS: usize = 12;

/// Colours (of 256) of medium brightness, legible on black and on white.
const NAME_COLOURS: [u8; 12] = [167, 172, 142, 107, 71, 73, 74, 68, 104, 134, 168, 131];

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const GREY: &str = "\x1b[90m";
const RED: &str = "\x1b[31m";
const MAGENTA: &str = "\x1b[35m";
const HIGHLIGHT: &str = "\x1b[1;33m";
const BELL: &str = "\x07";

/// How lines look.
#[derive(Debug)]
pub struct Painter {
    /// For a terminal rather than for a log.
    terminal: bool,
    colours: bool,
    offset: UtcOffset,
    /// The day of the line painted last; a new one is announced.
    day: Option<Date>,
}

impl Painter {
    /// For somebody who reads along, with times at this offset from UTC.
    pub fn terminal(colours: bool, offset: UtcOffset) -> Painter {
        Painter { terminal: true, colours, offset, day: None }
    }

    /// For a file or the next program.
    pub fn log() -> Painter {
        Painter { terminal: false, colours: false, offset: UtcOffset::UTC, day: None }
    }

    /// Which times are shown, in words.
    pub fn times(&self) -> String {
        if self.offset.is_utc() {
            return "UTC".into();
        }
        let (hours, minutes, _) = self.offset.as_hms();
        let sign = if self.offset.is_negative() { '-' } else { '+' };
        format!("local (UTC{sign}{:02}:{:02})", hours.abs(), minutes.abs())
    }

    /// The line as text ending in a newline. `now` (Unix milliseconds) is the time of what has none.
    pub fn paint(&mut self, line: &Line, now: i64) -> String {
        let ts = match line {
            Line::Said { message, .. } => message.ts,
            Line::Private { ts, .. } | Line::Happened { ts, .. } => *ts,
            Line::Answer(_) | Line::Status(_) | Line::Trouble(_) => now,
        };
        let at = moment(if ts == 0 { now } else { ts }, self.offset);
        if !self.terminal {
            return format!("{} {}\n", full_time(at), plain(line));
        }
        let today = *self.day.get_or_insert(moment(now, self.offset).date());
        let mut text = String::new();
        if at.date() != today {
            self.day = Some(at.date());
            text = self.wrap(DIM, &format!("      -- {} --", at.date())) + "\n";
        }
        text + &self.columns(line, at) + "\n"
    }

    /// What was typed and is not confirmed, cut to one row of a terminal with so many columns.
    pub fn unconfirmed(&self, typed: &str, columns: usize) -> String {
        let row = format!("      {:>NAME_COLUMNS$}  {typed}", "…");
        self.wrap(GREY, &cut(&row, columns.saturating_sub(1)))
    }

    /// A prompt; dimmed it says that nobody is listening.
    pub fn prompt(&self, prompt: &str, connected: bool) -> String {
        if connected { prompt.to_owned() } else { self.wrap(GREY, prompt) }
    }

    fn columns(&self, line: &Line, at: OffsetDateTime) -> String {
        let time = format!("{:02}:{:02}", at.hour(), at.minute());
        match line {
            Line::Said { message, action, own, mention, old } => {
                let (name, body) = (message.from.as_str(), message.body.as_str());
                let style = name_style(name);
                let named = self.wrap(&style, name);
                let body = match mention {
                    true => self.wrap(HIGHLIGHT, body),
                    false => body.to_owned(),
                };
                let bell = if *mention && !*old { BELL } else { "" };
                if *old {
                    // Without colours a mark says what dimming says with them.
                    let mark = if self.colours { " " } else { "~" };
                    let text = if *action {
                        format!("{time}{mark}{}  {name} {}", column("*"), message.body)
                    } else {
                        format!("{time}{mark}{}  {}", column(name), message.body)
                    };
                    return self.wrap(DIM, &text);
                }
                let time = self.wrap(DIM, &time);
                if *action {
                    return format!("{bell}{time} {}  {named} {body}", column("*"));
                }
                let padding = padding(name);
                let named = if *own { self.wrap(&format!("\x1b[1m{style}"), name) } else { named };
                format!("{bell}{time} {padding}{named}  {body}")
            }
            Line::Private { from, to, body, own, .. } => {
                let who = if *own { format!("you → {to}") } else { format!("{from} → you") };
                let bell = if *own { "" } else { BELL };
                let text = self.wrap(MAGENTA, &format!("{}  {body}", column(&who)));
                format!("{bell}{} {text}", self.wrap(DIM, &time))
            }
            Line::Happened { text, .. } | Line::Status(text) => {
                self.wrap(DIM, &format!("{time} {}  {text}", column("*")))
            }
            Line::Answer(text) => {
                format!("{} {}  {text}", self.wrap(DIM, &time), column("·"))
            }
            Line::Trouble(text) => {
                let text = self.wrap(RED, &format!("{}  {text}", column("!")));
                format!("{} {text}", self.wrap(DIM, &time))
            }
        }
    }

    fn wrap(&self, style: &str, text: &str) -> String {
        if self.colours { format!("{style}{text}{RESET}") } else { text.to_owned() }
    }
}

/// The line as the text dialect writes it.
fn plain(line: &Line) -> String {
    match line {
        Line::Said { message, action: false, .. } => format!("{}: {}", message.from, message.body),
        Line::Said { message, action: true, .. } => format!("* {} {}", message.from, message.body),
        Line::Private { from, body, own: false, .. } => format!("@{from}: {body}"),
        Line::Private { to, body, own: true, .. } => format!("→{to}: {body}"),
        Line::Happened { text, .. } | Line::Answer(text) | Line::Status(text) => {
            format!("* {text}")
        }
        Line::Trouble(text) => format!("! {text}"),
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

fn padding(name: &str) -> String {
    " ".repeat(NAME_COLUMNS.saturating_sub(name.width()))
}

fn column(name: &str) -> String {
    padding(name) + name
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

fn moment(ts: i64, offset: UtcOffset) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(ts.div_euclid(1000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .checked_to_offset(offset)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn full_time(at: OffsetDateTime) -> String {
    format!("{}T{:02}:{:02}:{:02}Z", at.date(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::chat::protocol::Message;

    /// 2026-01-02 03:04:05 UTC.
    const NOW: i64 = 1_767_323_045_000;

    fn said(from: &str, body: &str) -> Line {
        let (from, body) = (from.to_owned(), body.to_owned());
        let message = Message { id: 1, ts: NOW, from, body };
        Line::Said { message, action: false, own: false, mention: false, old: false }
    }

    fn colourless() -> Painter {
        Painter::terminal(false, UtcOffset::UTC)
    }

    #[test]
    fn bodies_stand_in_one_column_whatever_the_names_are_written_in() {
        let mut painter = colourless();
        for name in ["al", "ユキ", "Владимир"] {
            let text = painter.paint(&said(name, "🎉 hi"), NOW);
            let (before, _) = text.split_once("🎉").unwrap();
            assert_eq!(before.width(), 5 + 1 + NAME_COLUMNS + 2, "{text}");
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
        assert!(!painter.unconfirmed("hi", 80).contains('\x1b'));
    }

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(name_style("alice"), name_style("Alice"));
        assert_ne!(name_style("alice"), name_style("bob"));
    }

    #[test]
    fn a_log_has_the_whole_time_in_utc() {
        let text = Painter::log().paint(&said("bob", "hi"), NOW);
        assert_eq!(text, "2026-01-02T03:04:05Z bob: hi\n");
    }

    #[test]
    fn a_new_day_is_announced() {
        let mut painter = colourless();
        painter.paint(&said("bob", "hi"), NOW);
        let Line::Said { mut message, .. } = said("bob", "hi") else { unreachable!() };
        message.ts += 24 * 3600 * 1000;
        let (action, own, mention, old) = (false, false, false, false);
        let text = painter.paint(&Line::Said { message, action, own, mention, old }, NOW);
        assert!(text.starts_with("      -- 2026-01-03 --\n03:04"), "{text}");
    }

    #[test]
    fn an_unconfirmed_line_is_one_row() {
        let text = colourless().unconfirmed(&"ユ".repeat(100), 40);
        assert!(text.width() < 40 && text.ends_with('…'), "{text}");
    }
}
