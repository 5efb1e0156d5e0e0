//! The loop around the session: waits for whatever comes first, feeds it in, does what comes out.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::address::Address;
use super::connection::{Connection, quit_now};
use super::display::Line;
use super::session::{Input, Output, Prompt, Session};

/// What wakes the loop.
#[derive(Debug)]
pub(super) enum Wakeup {
    /// From the terminal or the standard input.
    Typed(Input),
    /// From the connection of this number; those before the current one are not listened to.
    Wire(u64, Input),
}

/// What the session shows itself with: a terminal, or a filter's standard output.
pub(super) trait Face {
    /// Shows a line.
    ///
    /// # Errors
    /// If there is nobody to show it to any more.
    fn show(&mut self, line: &Line) -> io::Result<()>;

    /// A line as the server sent it.
    fn raw(&mut self, _line: &str) -> io::Result<()> {
        Ok(())
    }

    /// All that has come so far has been shown; `prompt` if something may be typed now.
    fn settle(&mut self, session: &Session, prompt: Option<Prompt>) -> io::Result<()>;
}

/// At most so many wakeups are handled between two looks at the screen.
const BATCH: usize = 1024;

/// How the program ends: `Ok(false)` is a failure that was said already, `Err` is the sentence.
pub(super) type Outcome = Result<bool, String>;

/// The session with its connection.
#[derive(Debug)]
pub(super) struct EventLoop {
    session: Session,
    address: Address,
    /// Where whatever wakes the loop is put.
    pub(super) inbox: Sender<Wakeup>,
    connection: Option<Connection>,
    /// The number of the connection that is listened to.
    number: u64,
    /// What may be typed once all is shown.
    prompt: Option<Prompt>,
}

impl EventLoop {
    /// The loop, and the end of its inbox that [`run`](Self::run) reads.
    pub(super) fn new(session: Session, address: Address) -> (EventLoop, Receiver<Wakeup>) {
        let (inbox, wakeups) = mpsc::channel();
        (EventLoop { session, address, inbox, connection: None, number: 0, prompt: None }, wakeups)
    }

    /// Runs the session to its end.
    pub(super) fn run(mut self, wakeups: &Receiver<Wakeup>, face: &mut impl Face) -> Outcome {
        // An error of the face is a broken pipe: whoever read us has seen enough.
        let has_seen_enough = |_| {
            quit_now();
            Some(Ok(true))
        };
        let mut end = self.perform(face).unwrap_or_else(has_seen_enough);
        while end.is_none() {
            end = self.turn(wakeups, face).unwrap_or_else(has_seen_enough);
        }
        let _ = face.settle(&self.session, None);
        end.unwrap_or(Ok(true))
    }

    /// Shows where things stand, waits, handles what has come.
    fn turn(&mut self, wakeups: &Receiver<Wakeup>, face: &mut impl Face) -> io::Result<Option<Outcome>> {
        face.settle(&self.session, self.prompt.take())?;
        // None if the session's deadline comes first; disconnected cannot be, `inbox` is a sender.
        let first = match self.session.deadline() {
            None => wakeups.recv().ok(),
            Some(at) => wakeups.recv_timeout(at.saturating_duration_since(Instant::now())).ok(),
        };
        let Some(first) = first else {
            return self.handle(Input::Tick, face);
        };
        for wakeup in std::iter::once(first).chain(wakeups.try_iter().take(BATCH)) {
            let input = match wakeup {
                Wakeup::Typed(input) => input,
                Wakeup::Wire(from, input) if from == self.number => input,
                Wakeup::Wire(..) => continue,
            };
            if let Input::Received(line) = &input {
                face.raw(line)?;
            }
            let end = self.handle(input, face)?;
            if end.is_some() {
                return Ok(end);
            }
        }
        Ok(None)
    }

    fn handle(&mut self, input: Input, face: &mut impl Face) -> io::Result<Option<Outcome>> {
        self.session.handle(Instant::now(), input);
        self.perform(face)
    }

    /// Does what the session wants done.
    fn perform(&mut self, face: &mut impl Face) -> io::Result<Option<Outcome>> {
        while let Some(output) = self.session.next_output() {
            match output {
                Output::Connect => {
                    self.number += 1;
                    let (address, inbox) = (self.address.clone(), self.inbox.clone());
                    self.connection = Some(Connection::open(address, self.number, inbox));
                }
                Output::Disconnect => {
                    self.number += 1;
                    self.connection = None;
                }
                Output::Send(line) => {
                    if let Some(connection) = &self.connection {
                        connection.send(line);
                    }
                }
                Output::Show(line) => face.show(&line)?,
                Output::Prompt(prompt) => self.prompt = Some(prompt),
                Output::Leave(outcome) => return Ok(Some(outcome)),
            }
        }
        Ok(None)
    }
}

/// Writes to the standard output, at once.
pub(super) fn write_now(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Unix milliseconds.
pub(super) fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
