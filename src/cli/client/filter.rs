//! The session as a Unix filter: lines from the standard input are sent, what is heard is printed.
//!
//! What the room says goes to the standard output, a line at a time; how the connection is doing
//! and what was refused goes to the standard error. A broken pipe ends it quietly.

use std::io::{self, BufRead};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::address::Address;
use super::connection::quit_now;
use super::display::Line;
use super::event_loop::{EventLoop, Face, Outcome, Wakeup, wall_clock, write_now};
use super::paint::Painter;
use super::sanitize::escape_json;
use super::session::{Input, Mode, Prompt, Session};

/// How many lines are read ahead of the server's answers.
const READ_AHEAD: usize = 256;

/// Runs the session as a filter; `json` prints events as they come.
pub(super) fn run(
    session: Session,
    address: Address,
    (mode, json, painter): (Mode, bool, Painter),
) -> Outcome {
    let (event_loop, wakeups) = EventLoop::new(session, address);
    let (credits, credit) = mpsc::channel();
    if mode == Mode::Sender {
        let typed = event_loop.inbox.clone();
        thread::spawn(move || read_lines(&credit, &typed));
    }
    quit_on_signals().map_err(|error| error.to_string())?;
    let mut face = Filter { mode, json, painter, credits, given: 0 };
    event_loop.run(&wakeups, &mut face)
}

/// Says good-bye when a signal ends the program, which it does all the same.
fn quit_on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        for signal in &mut signals {
            quit_now();
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

/// Reads a line for each credit, so that a long input is not read into memory.
fn read_lines(credit: &Receiver<()>, typed: &Sender<Wakeup>) {
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    let mut number = 0;
    let send = |input| typed.send(Wakeup::Typed(input)).is_ok();
    while credit.recv().is_ok() {
        line.clear();
        number += 1;
        let input = match stdin.read_until(b'\n', &mut line) {
            Ok(0) => Input::Ended,
            // With replacement characters it would not be what was meant.
            Ok(_) => match str::from_utf8(&line) {
                Ok(line) => Input::Typed(line.to_owned()),
                Err(_) => Input::Unreadable(format!("line {number} is not UTF-8: not sent")),
            },
            Err(error) => {
                send(Input::Unreadable(format!("cannot read the input: {error}")));
                Input::Ended
            }
        };
        let ended = input == Input::Ended;
        if !send(input) || ended {
            return;
        }
    }
}

/// The face of the session as a filter.
struct Filter {
    mode: Mode,
    json: bool,
    painter: Painter,
    /// Lets the input's thread read a line.
    credits: Sender<()>,
    /// How many lines it was let read so far.
    given: usize,
}

impl Face for Filter {
    fn show(&mut self, line: &Line) -> io::Result<()> {
        match line.bare() {
            Line::Status(text) | Line::Trouble(text) => {
                eprintln!("roomd: {text}");
                return Ok(());
            }
            _ if self.json => return Ok(()),
            // Whoever piped it in knows it.
            Line::Said { own: true, old: false, .. } | Line::Private { own: true, .. } => return Ok(()),
            // A one-way pipe is not told who comes and goes.
            Line::Happened { .. } if self.mode == Mode::Sender => return Ok(()),
            _ => {}
        }
        write_now(&self.painter.paint(line, wall_clock()))
    }

    fn raw(&mut self, line: &str) -> io::Result<()> {
        if self.json && line.starts_with('{') { write_now(&(escape_json(line) + "\n")) } else { Ok(()) }
    }

    fn settle(&mut self, session: &Session, _: Option<Prompt>) -> io::Result<()> {
        // Empty lines and local commands are answered by not being in the outbox.
        let on_their_way = self.given.saturating_sub(session.typed_lines);
        let free = READ_AHEAD.saturating_sub(session.unanswered() + on_their_way);
        for _ in 0..free {
            self.given += 1;
            // The thread is gone at the end of the input.
            let _ = self.credits.send(());
        }
        Ok(())
    }
}
