//! The clients of the torture: they talk, note what they see, and come back when their connection broke.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::PATIENCE;
use crate::rig::Rng;
use crate::wire::{Broken, Dialect, Wire};

/// Nobody has more than so many messages that are not acknowledged.
const AHEAD_MAX: usize = 6;

// ---- what all of them share

/// Tells clients that a daemon is there, and the one who kills it how far they are.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// So many daemons were there.
    run: u32,
    /// This one is not killed: all that is not acknowledged is said again, and nothing new.
    is_last: bool,
    /// What all clients have heard since the last start.
    heard: u64,
    /// Whose sessions are in the file.
    held: Vec<String>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A daemon is there.
    pub(crate) fn begin_run(&self, is_last: bool) {
        let mut state = self.lock();
        (state.run, state.is_last, state.heard) = (state.run + 1, is_last, 0);
        self.changed.notify_all();
    }

    /// Waits until clients have heard so many events, but not for longer than that.
    pub(crate) fn wait_for(&self, heard: u64, time_max: Duration) -> u64 {
        let waited = self.changed.wait_timeout_while(self.lock(), time_max, |state| state.heard < heard);
        waited.unwrap().0.heard
    }

    /// Waits for the next daemon.
    pub(crate) fn next_run(&self, after: u32) -> u32 {
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, |state| state.run <= after);
        let (state, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "no daemon after the {after}th");
        state.run
    }

    pub(crate) fn is_last(&self) -> bool {
        self.lock().is_last
    }

    /// Whose sessions are known to be saved.
    pub(crate) fn held(&self) -> Vec<String> {
        self.lock().held.clone()
    }

    fn count(&self) {
        self.lock().heard += 1;
        self.changed.notify_all();
    }

    fn hold(&self, name: &str) {
        self.lock().held.push(name.to_owned());
    }
}

// ---- one of them

/// A message that somebody saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) room: String,
    /// None for who hears text.
    pub(crate) id: Option<u64>,
    pub(crate) ts: Option<u64>,
    pub(crate) from: String,
    pub(crate) body: String,
}

/// A message that somebody said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) room: String,
    /// What its sender was called.
    pub(crate) from: String,
    pub(crate) body: String,
    is_action: bool,
    /// The id and time of its ack.
    pub(crate) ack: Option<(u64, u64)>,
}

/// What is due on a connection: answers keep the order of the requests.
enum Due {
    Hello,
    /// Of a message of this number.
    Ack(usize),
}

/// How a connection ended.
enum End {
    /// The client has broken it, and may still have it open.
    Left(Wire),
    /// All is said.
    Done,
}

pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) rooms: Vec<&'static str>,
    pub(crate) said: Vec<Said>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) epochs: HashMap<String, u64>,
    session: Option<String>,
    /// Something said in it is acknowledged: so it is in the file.
    is_held: bool,
    /// How often a session was lost that nothing was acknowledged in.
    pub(crate) sessions_lost: u32,
    /// How often a name was, because a session was saved whose `hello` never came.
    pub(crate) names_lost: u32,
    pub(crate) returns: u32,
    rng: Rng,
}

impl Person {
    pub(crate) fn new(name: String, dialect: Dialect, rooms: Vec<&'static str>, rng: Rng) -> Self {
        Self {
            name,
            dialect,
            rooms,
            said: Vec::new(),
            seen: Vec::new(),
            epochs: HashMap::new(),
            session: None,
            is_held: false,
            sessions_lost: 0,
            names_lost: 0,
            returns: 0,
            rng,
        }
    }

    /// Talks until all is over.
    pub(crate) fn live(mut self, hub: &Hub, addr: SocketAddr) -> Self {
        let (mut run, mut other) = (hub.next_run(0), None);
        loop {
            let is_last = hub.is_last();
            let end = if self.dialect == Dialect::Text { self.text(hub, addr) } else { self.json(hub, addr) };
            // A connection that was left open until now was taken over.
            drop(other.take());
            match end {
                Ok(End::Done) => return self,
                Ok(End::Left(wire)) => {
                    other = Some(wire).filter(|_| self.rng.once_in(2));
                }
                Err(Broken) => {
                    assert!(!is_last, "{}: a connection broke, and nobody was killed", self.name);
                    run = hub.next_run(run);
                }
            }
            self.returns += 1;
        }
    }

    /// Something new.
    fn say(&mut self) -> usize {
        let length = if self.rng.once_in(40) { self.rng.below(3500) } else { self.rng.below(120) };
        let filler: String = "é is two bytes, and 🦀 is four; ".chars().cycle().take(length / 2).collect();
        self.said.push(Said {
            room: self.rooms[self.rng.below(self.rooms.len())].to_owned(),
            from: self.name.clone(),
            body: format!("{} {} {filler}.", self.name, self.said.len()),
            is_action: self.rng.once_in(10),
            ack: None,
        });
        self.said.len() - 1
    }

    // ---- in JSON

    fn json(&mut self, hub: &Hub, addr: SocketAddr) -> Result<End, Broken> {
        let wire = Wire::connect(addr, self.dialect)?;
        let ahead_max = 1 + self.rng.below(AHEAD_MAX);
        Connection { person: self, hub, wire, due: VecDeque::new(), newest: HashMap::new() }.run(ahead_max)
    }

    /// Notes the epoch of a room: it never changes.
    fn note_epoch(&mut self, document: &Value) {
        let (room, epoch) = (string(document, "room"), document["epoch"].as_u64().unwrap());
        let known = *self.epochs.entry(room).or_insert(epoch);
        assert_eq!(known, epoch, "{}: another epoch: {document}", self.name);
    }

    fn note_session(&mut self, document: &Value) {
        let session = document["session"].as_str().expect("a session");
        if let Some(known) = self.session.as_deref().filter(|known| *known != session) {
            assert!(!self.is_held, "{}: the session {known} was saved, and is lost: {document}", self.name);
            self.sessions_lost += 1;
        }
        self.session = Some(session.to_owned());
    }

    fn note_ack(&mut self, hub: &Hub, index: usize, document: &Value) {
        let ack = (document["id"].as_u64().expect("an id"), document["ts"].as_u64().expect("a time"));
        let first = *self.said[index].ack.get_or_insert(ack);
        assert_eq!(ack, first, "{}: another ack: {document}", self.name);
        if !self.is_held {
            self.is_held = true;
            hub.hold(&self.name);
        }
    }

    // ---- in text

    /// Listens, and says something now and then. Nothing of it is acknowledged.
    fn text(&mut self, hub: &Hub, addr: SocketAddr) -> Result<End, Broken> {
        let mut wire = Wire::connect(addr, self.dialect)?;
        wire.send(&self.name)?;
        self.rooms.iter().skip(1).try_for_each(|room| wire.send(&format!("/join {room}")))?;
        let last_room = self.rooms[self.rooms.len() - 1];
        if hub.is_last() {
            wire.send("/ping")?;
        }
        let mut current = self.rooms[0].to_owned();
        loop {
            let line = wire.hear()?;
            hub.count();
            if line == "* pong" {
                return Ok(End::Done);
            }
            assert!(!line.starts_with("! "), "{}: {line}", self.name);
            if line.starts_with("* bye") {
                return Err(Broken);
            }
            if let Some((_, room)) = line.split_once(" - #").filter(|_| line.starts_with("* welcome ")) {
                current = room.split(',').next().unwrap().to_owned();
            }
            if let Some(seen) = read_line(&line, &current) {
                self.seen.push(seen);
            }
            if self.rng.once_in(10) && !hub.is_last() {
                let new = self.say();
                let Said { room, body, .. } = &mut self.said[new];
                // What it types is said in its current room.
                *room = last_room.to_owned();
                wire.send(body)?;
            }
        }
    }
}

/// A connection that speaks JSON.
struct Connection<'a> {
    person: &'a mut Person,
    hub: &'a Hub,
    wire: Wire,
    due: VecDeque<Due>,
    /// By room, the last id that was seen here.
    newest: HashMap<String, u64>,
}

impl Connection<'_> {
    fn run(mut self, ahead_max: usize) -> Result<End, Broken> {
        self.say_hello()?;
        // What is said before one knows that one's session is saved, and in another one than it, would be said twice.
        if !self.person.is_held || self.person.rng.once_in(2) {
            self.hear_until_welcome()?;
        }
        // Whatever was not acknowledged is said again, as it was.
        let open = self.person.said.iter().enumerate().filter(|(_, said)| said.ack.is_none());
        for index in open.map(|(index, _)| index).collect::<Vec<usize>>() {
            self.send(index)?;
        }
        loop {
            let is_last = self.hub.is_last();
            if is_last && self.due.is_empty() {
                let open = self.person.said.iter().find(|said| said.ack.is_none());
                assert!(open.is_none(), "{}: it was never answered: {open:?}", self.person.name);
                return Ok(End::Done);
            }
            while self.due.len() < ahead_max && !is_last {
                self.send_something()?;
            }
            self.hear()?;
            if !is_last && self.person.rng.once_in(500) {
                return Ok(End::Left(self.wire));
            }
        }
    }

    fn say_hello(&mut self) -> Result<(), Broken> {
        let Person { name, rooms, session, .. } = &*self.person;
        let mut hello = json!({"type": "hello", "name": name, "rooms": rooms, "ref": "hello"});
        if let Some(session) = session {
            hello["session"] = session.as_str().into();
        }
        self.due.push_back(Due::Hello);
        self.wire.send(&hello.to_string())
    }

    fn hear_until_welcome(&mut self) -> Result<(), Broken> {
        while !self.due.is_empty() {
            self.hear()?;
        }
        Ok(())
    }

    /// Something new, or something old again, which is not said again.
    fn send_something(&mut self) -> Result<(), Broken> {
        let Person { said, rng, .. } = &mut *self.person;
        let recent = said.len().saturating_sub(500);
        if rng.once_in(30)
            && let Some(old) = said[recent..].iter().position(|said| said.ack.is_some())
        {
            return self.send(recent + old);
        }
        let new = self.person.say();
        self.send(new)
    }

    fn send(&mut self, index: usize) -> Result<(), Broken> {
        let said = &mut self.person.said[index];
        said.from.clone_from(&self.person.name);
        let Said { room, body, is_action, .. } = &*said;
        let kind = if *is_action { "action" } else { "public" };
        let request = json!({"type": kind, "room": room, "body": body, "ref": index.to_string()});
        self.due.push_back(Due::Ack(index));
        self.wire.send(&request.to_string())
    }

    fn hear(&mut self) -> Result<(), Broken> {
        let text = self.wire.hear()?;
        self.hub.count();
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let name = &self.person.name;
        match document["type"].as_str().unwrap() {
            "hello" => {
                let due = self.due.pop_front();
                assert!(
                    matches!(due, Some(Due::Hello)) && document["name"] == name.as_str(),
                    "{name}: {text}"
                );
                self.person.note_session(&document);
                self.enter(&document);
            }
            "room" => self.enter(&document),
            "public" | "action" => self.see(&document),
            "ack" => {
                let due = self.due.pop_front();
                let Some(Due::Ack(index)) = due else { panic!("{name}: nothing was asked: {text}") };
                assert_eq!(document["ref"], index.to_string(), "{name}: answers are out of order: {text}");
                self.person.note_ack(self.hub, index, &document);
                let newest = self.newest.get(&self.person.said[index].room);
                assert!(newest >= document["id"].as_u64().as_ref(), "{}: not seen: {text}", self.person.name);
            }
            "join" | "leave" | "presence" => {}
            // The connection is closed next.
            "bye" if document["why"] == "shutdown" => {}
            "error" if document["code"] == "name-taken" && !self.person.is_held => {
                self.person.names_lost += 1;
                self.person.name += "x";
                self.due.pop_front();
                return self.say_hello();
            }
            _ => panic!("{name}: {text}"),
        }
        Ok(())
    }

    fn enter(&mut self, document: &Value) {
        self.person.note_epoch(document);
        let (room, newest) = (string(document, "room"), document["id"].as_u64().unwrap());
        let known = self.newest.insert(room, newest);
        assert!(known.is_none_or(|known| known == newest), "{}: {document}", self.person.name);
    }

    /// Ids rise without a hole, in each room.
    fn see(&mut self, document: &Value) {
        let (room, id) = (string(document, "room"), document["id"].as_u64().unwrap());
        let newest = self.newest.get_mut(&room).unwrap_or_else(|| panic!("not a room of ours: {document}"));
        assert_eq!(id, *newest + 1, "{}: a hole before {document}", self.person.name);
        *newest = id;
        self.person.seen.push(Seen {
            room,
            id: Some(id),
            ts: document["ts"].as_u64(),
            from: string(document, "from"),
            body: string(document, "body"),
        });
    }
}

pub(crate) fn string(document: &Value, field: &str) -> String {
    document[field].as_str().unwrap_or_else(|| panic!("no {field} in {document}")).to_owned()
}

/// What was said, of a line of text: `bob: hello`, `#dev bob: hello`, `** bob waves`, `~ 09:41 bob: hello`.
fn read_line(line: &str, current: &str) -> Option<Seen> {
    let rest = match line.strip_prefix("~ ") {
        Some(older) => older.split_once(' ')?.1,
        None => line,
    };
    let (room, rest) = match rest.strip_prefix('#') {
        Some(elsewhere) => elsewhere.split_once(' ')?,
        None => (current, rest),
    };
    let (from, body) = match rest.strip_prefix("** ") {
        Some(action) => action.split_once(' ')?,
        None if rest.starts_with('*') => return None,
        None => rest.split_once(": ")?,
    };
    let (from, body) = (from.to_owned(), body.to_owned());
    Some(Seen { room: room.to_owned(), id: None, ts: None, from, body })
}

/// Somebody who wants the names of others while they are away.
pub(crate) fn intrude(hub: &Hub, addr: SocketAddr, mut rng: Rng) -> u32 {
    let (mut run, mut tries) = (0, 0);
    loop {
        run = hub.next_run(run);
        let is_last = hub.is_last();
        let mut held = hub.held();
        while held.len() > 5 && !is_last {
            held.swap_remove(rng.below(held.len()));
        }
        let end = Wire::connect(addr, Dialect::Lines).and_then(|mut wire| {
            for name in &held {
                wire.send(&json!({"type": "hello", "name": name, "ref": name}).to_string())?;
            }
            for name in &held {
                let answer = wire.hear()?;
                assert!(answer.contains(r#""code":"name-taken""#), "{name} was to be had: {answer}");
                tries += 1;
            }
            Ok(())
        });
        if is_last {
            end.unwrap();
            return tries;
        }
    }
}
