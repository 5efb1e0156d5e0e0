//! Somebody with `roomd chat`. Whatever its session shows is checked as it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Instant;

use super::link::{End, Link};
use crate::cli::client::display::Line;
use crate::cli::client::protocol::{self, Event, Message};
use crate::cli::client::session::{Input, Mode, Output, Phase, Session};

/// What has happened.
#[derive(Default)]
pub(super) struct Record {
    /// What everybody in a room heard, once, by room and epoch; the place of a message is its id less one.
    pub(super) rooms: BTreeMap<(String, u64), Vec<Said>>,
    /// How many servers there have been.
    pub(super) servers: usize,
}

pub(super) struct Said {
    /// Its place among all that was said.
    pub(super) order: usize,
    pub(super) message: Message,
    pub(super) action: bool,
}

impl Record {
    pub(super) fn add(&mut self, at: &(String, u64), message: Message, action: bool) {
        let order = self.rooms.values().map(Vec::len).sum();
        let room = self.rooms.entry(at.clone()).or_default();
        assert_eq!(message.id, room.len() as u64 + 1, "the observer missed something");
        room.push(Said { order, message, action });
    }

    pub(super) fn newest(&self, at: &(String, u64)) -> u64 {
        self.rooms.get(at).map_or(0, |said| said.len() as u64)
    }
}

/// A line that was typed and has a word of its own: `2.17` is the 17th of person 2.
pub(super) struct Typed {
    pub(super) word: String,
    /// The room that was the current one.
    pub(super) room: String,
    /// Whom it was told, and how often that one's connection was in danger before; `None` while it is.
    pub(super) private: Option<(usize, Option<usize>)>,
    /// The session said that it may not have arrived.
    pub(super) unknown: bool,
    /// The session said that it was not done.
    pub(super) refused: bool,
}

/// That somebody is in a room, and which message comes next. Ids that are skipped have to be accounted for.
#[derive(Default)]
pub(super) struct Stay {
    pub(super) epoch: u64,
    /// `None` before the first one: it may be an older one, but not newer than this.
    pub(super) next: Option<u64>,
    newest_on_entering: u64,
    /// So many ids were said to be kept no longer.
    pub(super) gone: u64,
    /// From this id on everything was shown.
    first: u64,
}

impl Stay {
    pub(super) fn next(&self) -> u64 {
        self.next.unwrap_or(self.newest_on_entering + 1)
    }
}

/// Somebody with `roomd chat`.
pub(super) struct Person {
    pub(super) number: usize,
    pub(super) session: Session,
    pub(super) connecting: bool,
    pub(super) link: Option<Link>,
    /// What it dropped, and what is still on its way there.
    pub(super) dropped: Vec<Link>,
    /// How often its connection was cut, or dropped.
    pub(super) dangers: usize,
    pub(super) typed: Vec<Typed>,
    /// By room.
    pub(super) stays: BTreeMap<String, Stay>,
    /// Ids of the newest messages of rooms, by the last that told of them.
    newest: BTreeMap<String, u64>,
    /// So many of the next lines were asked for by `/history`; the id of the first one.
    asked_for: (usize, Option<u64>),
    /// The ids of the next lines, which PgUp has asked for.
    page: Range<u64>,
    /// What reached it of private messages.
    pub(super) told: Vec<String>,
    /// Those that were shown.
    pub(super) privates: BTreeSet<String>,
    /// The server that keeps its session.
    server: usize,
    pub(super) outcome: Option<Result<bool, String>>,
}

impl Person {
    pub(super) fn new(number: usize, seed: u64, now: Instant) -> Person {
        let name = Some(format!("p{number}"));
        let session = Session::new(Mode::Person, "host:1".into(), name, &[], seed, now);
        Person {
            number,
            session,
            connecting: false,
            link: None,
            dropped: Vec::new(),
            dangers: 0,
            typed: Vec::new(),
            stays: BTreeMap::new(),
            newest: BTreeMap::new(),
            asked_for: (0, None),
            page: 0..0,
            told: Vec::new(),
            privates: BTreeSet::new(),
            server: 0,
            outcome: None,
        }
    }

    pub(super) fn is_nameless(&self) -> bool {
        matches!(self.session.phase, Phase::Nameless)
    }

    /// Since when this room counts.
    fn epoch(&self, room: &str) -> u64 {
        self.session.rooms.get(room).expect("a room").epoch
    }

    fn drop_link(&mut self) {
        self.connecting = false;
        if let Some(mut link) = self.link.take() {
            link.up_end.get_or_insert(End::Close);
            self.dropped.push(link);
            self.dangers += 1;
        }
    }

    pub(super) fn input(&mut self, now: Instant, input: Input, record: &Record, history: u64) {
        if let Input::Received(line) = &input {
            match protocol::read(line) {
                Some(Event::Hello { room, id, .. } | Event::Room { room, id, .. }) => {
                    self.newest.insert(room, id);
                }
                Some(Event::Private { body, .. }) if !self.is_own(&body) => {
                    self.told.push(word_of(&body).to_owned());
                }
                _ => {}
            }
        }
        let server = self.link.as_ref().map(|link| link.server);
        self.session.handle(now, input);
        while let Some(output) = self.session.next_output() {
            match output {
                Output::Connect => {
                    self.drop_link();
                    self.connecting = true;
                }
                Output::Disconnect => self.drop_link(),
                Output::Send(line) => {
                    if let Some(link) = &mut self.link {
                        link.send(line.as_bytes());
                    }
                }
                Output::Show(line) => self.shown(line, record, history),
                Output::Prompt(_) => {}
                Output::Leave(outcome) => {
                    self.drop_link();
                    self.outcome = Some(outcome);
                }
            }
        }
        if let (Phase::Here | Phase::CatchingUp(_), Some(server)) = (&self.session.phase, server) {
            self.server = server;
        }
    }

    fn shown(&mut self, line: Line, record: &Record, history: u64) {
        let current = self.session.rooms.current().to_owned();
        let (room, line) = match line {
            Line::Elsewhere(room, line) => {
                assert_ne!(room, current);
                (room, *line)
            }
            line => (current, line),
        };
        match line {
            Line::Elsewhere(..) => panic!("two rooms"),
            Line::Said { message, action, old, .. } => {
                assert_eq!(message.room, room, "{message:?} has a wrong label, or none");
                self.said(&message, action, old, record, history);
            }
            Line::Private { from, body, own, .. } => {
                assert_eq!(own, self.is_own(&body), "{from} told {body}");
                let word = word_of(&body);
                assert!(self.privates.insert(word.to_owned()), "{word} was shown twice");
            }
            Line::Answer(text) => self.answered(&room, &text),
            Line::Status(text) if text.starts_with("back as ") => self.came_back(&text),
            Line::Status(_) | Line::Happened { .. } => {}
            Line::Trouble(text) => self.told_trouble(&text),
        }
    }

    fn is_own(&self, body: &str) -> bool {
        word_of(body).starts_with(&format!("{}.", self.number))
    }

    fn said(&mut self, message: &Message, action: bool, old: bool, record: &Record, history: u64) {
        let at = (message.room.clone(), self.epoch(&message.room));
        let said = record.rooms.get(&at).and_then(|said| said.get(message.id as usize - 1));
        let said = said.unwrap_or_else(|| panic!("{at:?} never heard {message:?}"));
        assert_eq!((&message.from, &message.body), (&said.message.from, &said.message.body));
        assert_eq!(action, said.action);
        let stay = self.stays.get_mut(&at.0).expect("it did not say that it was there");
        if let Some(id) = self.page.next() {
            assert!(old && message.id == id, "{message:?} instead of {id}");
            return;
        }
        if let (left @ 1.., first) = &mut self.asked_for {
            *left -= 1;
            let first = *first.get_or_insert(message.id);
            if *left == 0 && message.id + 1 >= stay.first {
                stay.first = stay.first.min(first);
            }
            return;
        }
        assert_eq!(at.1, stay.epoch, "it did not say that the room began anew");
        let next = match stay.next {
            None if old && message.id <= stay.newest_on_entering => {
                stay.first = message.id;
                message.id
            }
            _ => stay.next(),
        };
        let skipped =
            message.id.checked_sub(next).unwrap_or_else(|| panic!("{message:?} comes after {next}"));
        assert!(skipped <= stay.gone, "{message:?} was shown, and {next} never");
        assert!(skipped == 0 || message.id - 1 + history <= record.newest(&at), "{next} was still kept");
        stay.gone -= skipped;
        stay.next = Some(message.id + 1);
    }

    fn answered(&mut self, room: &str, text: &str) {
        if text.starts_with("you are ") {
            let room = room_in(text);
            let (epoch, newest_on_entering) = (self.epoch(&room), self.newest[&room]);
            let first = newest_on_entering + 1;
            let stay = Stay { epoch, newest_on_entering, first, ..Stay::default() };
            assert!(self.stays.insert(room, stay).is_none(), "{text}, and was there already");
        } else if let Some(room) = text.strip_prefix("you left #") {
            let stay = self.stays.remove(room);
            assert_eq!(stay.map(|stay| stay.gone), Some(0), "{text}");
        } else if let Some(count) = text.strip_prefix("the last ") {
            self.asked_for = (number_in(count), None);
        } else if ["from before", "is the beginning", "no longer kept"].iter().any(|end| text.contains(end)) {
            let stay = self.stays.get_mut(room).expect("a page of a room that it is in");
            let first = self.session.rooms.get(room).expect("a room").seen.first();
            self.page = first..std::mem::replace(&mut stay.first, first);
            assert_eq!(text.contains("is the beginning"), first == 1, "{text}");
        }
    }

    fn came_back(&mut self, text: &str) {
        let room = room_in(text);
        let epoch = self.epoch(&room);
        let stay = self.stays.get_mut(&room).expect("a room that it was in");
        assert_eq!(stay.gone, 0, "{} are missing still", stay.gone);
        if text.contains("began anew") {
            *stay = Stay { epoch, first: 1, ..Stay::default() };
        }
        stay.next = Some(stay.next());
        stay.gone = text.split_once(" (").map_or(0, |(_, gone)| number_in(gone) as u64);
    }

    fn told_trouble(&mut self, text: &str) {
        let typed = self.typed.iter_mut().find(|typed| text.split(' ').any(|word| word == typed.word));
        let Some(typed) = typed else { return };
        if text.contains("this may not have arrived") {
            let server = self.link.as_ref().map(|link| link.server);
            assert!(server > Some(self.server), "{text}: {server:?} knows");
            typed.unknown = true;
        } else {
            assert!(text.contains("not done"), "{text}");
            typed.refused = true;
        }
    }
}

/// The room that `… in #ROOM, …` names.
fn room_in(text: &str) -> String {
    let (_, room) = text.split_once(" in #").unwrap_or_else(|| panic!("{text}"));
    room.split([' ', ',']).next().unwrap_or_default().to_owned()
}

pub(super) fn word_of(body: &str) -> &str {
    body.split(' ').next().unwrap_or_default()
}

fn number_in(text: &str) -> usize {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}
