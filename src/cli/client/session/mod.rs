//! The session: what the client does, without a socket, a terminal, a clock or chance.
//!
//! Inputs (what the server sent, what was typed, that time has passed) go into
//! [`Session::handle`] together with the time; outputs (what to show, what to send, when to
//! connect) are taken from [`Session::next_output`] until there are none. [`Session::deadline`]
//! says when [`Input::Tick`] is due. The shells around it, `terminal` and `filter`, only move bytes.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::backoff::{self, Backoff};
use super::display::Line;
use super::outbox::{Outbox, Until};
use super::protocol::{self, Event, Message, Request};
use super::rooms::Rooms;
use crate::cli::counted;
use crate::limits::Limits;

#[cfg(test)]
#[path = "../../../../tests/against_server/mod.rs"]
mod against_server;
mod catch_up;
mod events;
mod greeting;
mod phrases;
#[cfg(test)]
mod several;
#[cfg(test)]
mod tests;
mod typing;

use phrases::{as_typed, mentions};

/// How long a server may take to answer the `hello`.
pub(super) const GREETING_WAIT: Duration = Duration::from_secs(10);
/// How long the server may be silent before it is asked whether it is there.
pub(super) const IDLE_BEFORE_PING: Duration = Duration::from_secs(30);
/// How long it may then stay silent before the connection counts as broken.
pub(super) const PING_WAIT: Duration = Duration::from_secs(15);
/// How long leaving may take: answers still expected, the server's `bye`.
pub(super) const LEAVE_WAIT: Duration = Duration::from_secs(2);
/// How long a filter that is told to leave looks for lines behind that, if the input does not end.
pub(super) const LOOK_AHEAD: Duration = Duration::from_millis(500);
/// How long a filter that has something to send waits for progress before it gives up.
pub(super) const FILTER_PATIENCE: Duration = Duration::from_secs(30);
/// How many older lines are shown on entering a room.
const OLD_LINES: usize = 10;
/// How many messages one request for missed ones asks for (the most the protocol allows).
const PAGE: usize = 1000;
/// The `ref` of requests the client makes by itself and whose answers it expects.
const OWN_REF: &str = "self";
/// The `ref` of the ping that finds out whether the server is there.
const KEEPALIVE_REF: &str = "alive";

/// How the session is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Somebody sits there: names can be asked for, older lines are welcome.
    Person,
    /// Lines are read from a pipe and sent; when all are answered, that was it.
    Sender,
    /// Everything heard is printed until the end.
    Receiver,
}

/// What the shell tells the session.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    /// The connection asked for by [`Output::Connect`] is there.
    Connected,
    /// It could not be made; a sentence says why.
    Failed(String),
    /// The server sent a line.
    Received(String),
    /// The connection is gone; half a sentence says why ("the server closed it").
    Lost(String),
    /// A line was typed, or a name if that was asked for.
    Typed(String),
    /// There was something that is no line; a sentence says why.
    Unreadable(String),
    /// The room at this place, in the order in which they were joined, is to be the current one.
    TurnTo(usize),
    /// The next room is.
    TurnOn,
    /// So many of the messages before those that were shown are asked for.
    PageUp(usize),
    /// Nothing more will be typed.
    Ended,
    /// Time has passed.
    Tick,
}

/// What the session wants from the shell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// Make a connection (the one before is dropped).
    Connect,
    /// Drop the connection; nothing more of it is to be reported.
    Disconnect,
    /// Send these bytes.
    Send(String),
    /// Show this.
    Show(Line),
    /// Somebody may type now.
    Prompt(Prompt),
    /// That was it. `Err` is the sentence that says what went wrong; `Ok(false)` means that something
    /// did, and was said.
    Leave(Result<bool, String>),
}

/// What is to be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// A name for the newcomer.
    Name,
    /// Anything.
    Chat,
}

/// Where the session stands.
#[derive(Debug)]
enum Phase {
    /// No name yet, or not a usable one; no connection.
    Nameless,
    /// No connection; the next attempt is at this time.
    Waiting(Instant),
    /// A connection is being made.
    Connecting,
    /// `hello` was sent; to be answered by this time.
    Greeting(Instant),
    /// Let in, fetching what was missed or what is older; live events are held back.
    CatchingUp(CatchUp),
    /// In all our rooms.
    Here,
    /// `quit` was sent; at this time we go anyhow.
    Leaving(Instant),
    /// Gone.
    Left,
}

/// The fetching of what rooms heard without us, of one after the other.
#[derive(Debug, Default)]
struct CatchUp {
    fetches: Vec<Fetch>,
    /// So many of them are done.
    done: usize,
    /// The next one was asked for.
    is_asking: bool,
    /// What arrived live meanwhile, in all rooms.
    held: Vec<Event>,
}

/// What one of the rooms heard without us.
#[derive(Debug)]
struct Fetch {
    room: String,
    /// We were away; ids after this one were missed. `None` if we have just entered: a few older lines.
    after: Option<u64>,
    /// The room's newest id when we came.
    newest: u64,
    /// What to ask for next.
    next: Option<Request>,
    /// What was fetched.
    fetched: Vec<(Message, bool)>,
}

/// When something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Just now.
    Live,
    /// While we were away.
    Missed,
    /// Before we came.
    Before,
}

/// The client's state. See the module for its use.
#[derive(Debug)]
pub(super) struct Session {
    mode: Mode,
    /// Names the server in sentences.
    address: String,
    name: Option<String>,
    /// What the server calls this session, to continue it on the next connection.
    session: Option<String>,
    /// How many connections were given up before their `hello` was answered. It may arrive yet, and take over the next one.
    ghosts: usize,
    rooms: Rooms,
    phase: Phase,
    /// True once the server has let us in.
    welcomed: bool,
    /// Rooms that there are or were, for completion.
    known_rooms: BTreeSet<String>,
    /// Whose messages are not shown, in lower case.
    ignored: BTreeSet<String>,
    /// How many bytes a message may have.
    pub(super) bytes_max: usize,
    outbox: Outbox,
    backoff: Backoff,
    /// Since when there is a connection, if there is one.
    connected_at: Instant,
    /// When the connection broke, until we are back.
    lost_at: Option<Instant>,
    /// When the server last sent something.
    heard_at: Instant,
    /// When the last answer came or the first line was sent; measures a filter's patience.
    progress_at: Instant,
    pinged: bool,
    /// Nothing more will be typed; leave when all is answered.
    ending: bool,
    /// By when, for a person.
    ending_by: Option<Instant>,
    /// Until when a filter that was told to leave waits for the end of its input.
    look_ahead_until: Option<Instant>,
    /// The input is at its end.
    input_ended: bool,
    /// How many lines came after a `/quit`.
    unheeded: usize,
    /// Something was refused or may be lost.
    failed: bool,
    /// How many lines were typed so far.
    pub(super) typed_lines: usize,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session with the server called `address`. `seed` is its chance.
    pub(super) fn new(
        mode: Mode,
        address: String,
        name: Option<String>,
        rooms: &[String],
        seed: u64,
        now: Instant,
    ) -> Session {
        let mut session = Session {
            mode,
            address,
            name,
            session: None,
            ghosts: 0,
            rooms: Rooms::asked(rooms),
            phase: Phase::Nameless,
            welcomed: false,
            known_rooms: BTreeSet::new(),
            ignored: BTreeSet::new(),
            bytes_max: Limits::default().max_line_bytes,
            outbox: Outbox::default(),
            backoff: Backoff::new(seed),
            connected_at: now,
            lost_at: None,
            heard_at: now,
            progress_at: now,
            pinged: false,
            ending: false,
            ending_by: None,
            look_ahead_until: None,
            input_ended: false,
            unheeded: 0,
            failed: false,
            typed_lines: 0,
            outputs: VecDeque::new(),
        };
        if session.name.is_some() {
            session.connect();
        } else {
            session.output(Output::Prompt(Prompt::Name));
        }
        session
    }

    /// The next thing to do, `None` if all is done.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When time alone will change something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Waiting(at) | Phase::Greeting(at) | Phase::Leaving(at) => Some(at),
            Phase::CatchingUp(_) | Phase::Here if self.pinged => {
                Some(self.heard_at + IDLE_BEFORE_PING + PING_WAIT)
            }
            Phase::CatchingUp(_) | Phase::Here => Some(self.heard_at + IDLE_BEFORE_PING),
            Phase::Nameless | Phase::Connecting | Phase::Left => None,
        };
        let patience = self.patience_ends();
        [phase, patience, self.ending_by, self.look_ahead_until].into_iter().flatten().min()
    }

    /// What was typed and is not confirmed, oldest first, as it was typed.
    pub(super) fn unconfirmed(&self) -> impl Iterator<Item = String> {
        let entries = self.outbox.iter().filter(|entry| !entry.is_shown && entry.until != Some(Until::Shown));
        entries.map(|entry| as_typed(&entry.request, self.rooms.current()))
    }

    /// Who is in the current room, as far as known.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        static NOBODY: BTreeSet<String> = BTreeSet::new();
        self.rooms.get(self.rooms.current()).map_or(&NOBODY, |room| &room.names)
    }

    /// Rooms that one could want to join or leave.
    pub(super) fn known_rooms(&self) -> &BTreeSet<String> {
        &self.known_rooms
    }

    /// Where one is and where something is unread, if one is in several rooms.
    pub(super) fn bar(&self) -> Option<String> {
        self.rooms.bar().filter(|_| self.welcomed)
    }

    /// True while what is typed is sent at once.
    pub(super) fn is_here(&self) -> bool {
        matches!(self.phase, Phase::Here | Phase::CatchingUp(_) | Phase::Leaving(_) | Phase::Left)
    }

    /// How many requests are unanswered; a filter reads no further while they are many.
    pub(super) fn unanswered(&self) -> usize {
        self.outbox.len()
    }

    /// Takes in what happened.
    pub(super) fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Connected => self.connected(now),
            Input::Failed(why) if self.welcomed => self.wait(now, &why),
            Input::Failed(why) => self.leave(Err(why)),
            Input::Received(line) => self.received(now, &line),
            Input::Lost(why) => self.lost(now, &why),
            Input::Typed(line) => self.typed(now, &line),
            Input::Unreadable(sentence) => self.unreadable(sentence),
            Input::TurnTo(place) => self.rooms.turn_to_place(place),
            Input::TurnOn => self.rooms.turn_on(),
            Input::PageUp(count) => self.page_up(count),
            Input::Ended => self.ended(now),
            Input::Tick => {}
        }
        self.tick(now);
        self.send_waiting(now);
        self.leave_if_done(now);
    }

    fn connect(&mut self) {
        self.phase = Phase::Connecting;
        self.output(Output::Connect);
    }

    fn connected(&mut self, now: Instant) {
        if let (Some(name), Phase::Connecting) = (self.name.clone(), &self.phase) {
            (self.connected_at, self.heard_at) = (now, now);
            self.pinged = false;
            self.phase = Phase::Greeting(now + GREETING_WAIT);
            self.rooms.are_away();
            let rooms = self.rooms.to_ask();
            let room = rooms.first().cloned();
            let rooms = Some(rooms).filter(|rooms| rooms.len() > 1);
            let session = self.session.clone();
            self.send(&Request::Hello { name, room, rooms, session }, OWN_REF);
        }
    }

    fn lost(&mut self, now: Instant, why: &str) {
        match self.phase {
            Phase::Leaving(_) => self.leave_with_status(),
            Phase::Nameless | Phase::Waiting(_) | Phase::Left => {}
            _ if !self.welcomed => {
                let address = &self.address;
                self.leave(Err(format!("{address} does not answer like a roomd: {why}")));
            }
            _ => self.wait(now, why),
        }
    }

    /// Lets some time pass before the next attempt to connect. More of it each time, until a connection has
    /// lasted for a while: to be let in proves nothing, one may be thrown out at once.
    fn wait(&mut self, now: Instant, why: &str) {
        if self.is_here() && now.saturating_duration_since(self.connected_at) >= backoff::LONGEST {
            self.backoff.reset();
        }
        self.ghosts += usize::from(matches!(self.phase, Phase::Greeting(_)));
        let next = Phase::Waiting(now + self.backoff.next_wait());
        let phase = std::mem::replace(&mut self.phase, next);
        self.output(Output::Disconnect);
        self.outbox.broke();
        if let Phase::CatchingUp(CatchUp { mut held, .. }) = phase {
            // A later history will bring the messages again.
            held.retain(|event| !matches!(event, Event::Public(_) | Event::Action(_)));
            held.into_iter().for_each(|event| self.happening(event));
        }
        if self.lost_at.is_none() {
            self.lost_at = Some(now);
            self.progress_at = now;
            self.status(format!("connection lost ({why}), reconnecting …"));
        }
        if self.ending && self.mode == Mode::Person {
            self.leave_with_status();
        }
    }

    fn tick(&mut self, now: Instant) {
        match self.phase {
            Phase::Waiting(at) if at <= now => self.connect(),
            Phase::Greeting(at) if at <= now => {
                self.output(Output::Disconnect);
                self.lost(now, &format!("nothing came within {} s", GREETING_WAIT.as_secs()));
            }
            Phase::Leaving(at) if at <= now => self.leave_with_status(),
            Phase::CatchingUp(_) | Phase::Here => self.check_alive(now),
            _ => {}
        }
        if self.patience_ends().is_some_and(|at| at <= now) {
            let (address, seconds) = (&self.address, FILTER_PATIENCE.as_secs());
            let count = self.outbox.len();
            let waited_for = if count == 0 { "anything".into() } else { counted(count, "line") };
            self.leave(Err(format!("{address} has not confirmed {waited_for} within {seconds} s")));
        }
        if self.look_ahead_until.is_some_and(|at| at <= now) {
            self.look_ahead_until = None;
        }
        if self.ending_by.is_some_and(|at| at <= now) {
            self.leave_with_status();
        }
    }

    fn check_alive(&mut self, now: Instant) {
        let silent = now.saturating_duration_since(self.heard_at);
        if silent >= IDLE_BEFORE_PING + PING_WAIT {
            self.wait(now, &format!("nothing heard for {} s", silent.as_secs()));
        } else if silent >= IDLE_BEFORE_PING && !self.pinged {
            self.pinged = true;
            self.send(&Request::Ping, KEEPALIVE_REF);
        }
    }

    /// When a filter that has something to send gives up.
    fn patience_ends(&self) -> Option<Instant> {
        let impatient = self.mode == Mode::Sender
            && !matches!(self.phase, Phase::Left | Phase::Leaving(_))
            && (!self.outbox.is_empty() || self.lost_at.is_some());
        impatient.then(|| self.progress_at + FILTER_PATIENCE)
    }

    fn received(&mut self, now: Instant, line: &str) {
        self.heard_at = now;
        self.pinged = false;
        match (protocol::read(line), &self.phase) {
            (Some(event), Phase::Greeting(_)) => self.greeted(now, event),
            (Some(event), Phase::CatchingUp(_) | Phase::Here | Phase::Leaving(_)) => {
                self.event(now, event);
            }
            (None, Phase::Greeting(_)) => self.greeted_strangely(line),
            _ => {}
        }
    }

    fn send_waiting(&mut self, now: Instant) {
        while matches!(self.phase, Phase::Here)
            && let Some(entry) = self.outbox.send_next(now)
        {
            if let Request::History { room: Some(room), before, .. } = &mut entry.request
                && let (Some(until), Some(room), None) = (entry.until, self.rooms.get(room), *before)
            {
                *before = Some(match until {
                    Until::Newest(count) => (room.seen.last() + 1).saturating_sub(count).max(1),
                    Until::Shown => room.seen.first(),
                });
            }
            let line = entry.request.to_line(Some(&entry.reference));
            self.outputs.push_back(Output::Send(line));
        }
    }

    fn send(&mut self, request: &Request, reference: &str) {
        self.output(Output::Send(request.to_line(Some(reference))));
    }

    fn leave_if_done(&mut self, now: Instant) {
        let is_ending = self.ending && self.look_ahead_until.is_none();
        if is_ending && self.outbox.is_empty() && matches!(self.phase, Phase::Here) {
            self.phase = Phase::Leaving(now + LEAVE_WAIT);
            self.ending_by = None;
            self.send(&Request::Quit, OWN_REF);
        }
    }

    fn leave_with_status(&mut self) {
        if !self.outbox.is_empty() {
            self.failed = true;
            let count = counted(self.outbox.len(), "line");
            self.trouble(format!("{count} not confirmed"));
        }
        if self.unheeded > 0 && self.mode == Mode::Sender {
            self.failed = true;
            let least = if self.input_ended { "" } else { "at least " };
            let count = counted(self.unheeded, "line");
            let were = if self.unheeded == 1 { "was" } else { "were" };
            self.trouble(format!("{least}{count} after /quit {were} not carried out"));
        }
        // What a person mistyped was said and is no failure of the program.
        let failed = if self.mode == Mode::Person { !self.outbox.is_empty() } else { self.failed };
        self.leave(Ok(!failed));
    }

    fn leave(&mut self, outcome: Result<bool, String>) {
        if !matches!(self.phase, Phase::Left) {
            self.phase = Phase::Left;
            self.ending_by = None;
            self.output(Output::Leave(outcome));
        }
    }

    fn show_said(&mut self, message: Message, action: bool, when: When) {
        let own = Some(&message.from) == self.name.as_ref();
        if !own && self.ignores(&message.from) {
            return;
        }
        let name = self.name.as_deref().unwrap_or_default();
        let mention = !own && mentions(&message.body, name);
        let is_elsewhere = message.room != self.rooms.current();
        if let Some(room) = self.rooms.get_mut(&message.room) {
            if when == When::Live {
                room.names.insert(message.from.clone());
            }
            if is_elsewhere && !own && when != When::Before {
                room.count(mention);
            }
        }
        let (room, old) = (message.room.clone(), when != When::Live);
        self.show_of(&room, Line::Said { message, action, own, mention, old });
    }

    fn ignores(&self, name: &str) -> bool {
        self.ignored.contains(&name.to_lowercase())
    }

    /// Shows what is about a room, which is named if that is not the current one.
    fn show_of(&mut self, room: &str, line: Line) {
        let is_elsewhere = room != self.rooms.current();
        self.show(if is_elsewhere { Line::Elsewhere(room.to_owned(), Box::new(line)) } else { line });
    }

    fn answer(&mut self, text: String) {
        self.show(Line::Answer(text));
    }

    fn status(&mut self, text: String) {
        self.show(Line::Status(text));
    }

    fn trouble(&mut self, text: String) {
        self.show(Line::Trouble(text));
    }

    fn show(&mut self, line: Line) {
        self.output(Output::Show(line));
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}
