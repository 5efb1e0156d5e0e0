//! The room under random users, against a second, naive account of who is where and who must hear what.
//!
//! `ROOMD_SEED=7 cargo test --test room` runs one seed; `ROOMD_SEEDS` and `ROOMD_STEPS` change how many,
//! and how long. A failure prints what to say to see it again.

mod sim;

use std::collections::BTreeMap;

use roomd::clock::{Millis, Now};
use roomd::room::{
    Body, Chat, Command, Event, HistoryQuery, Limits, MemberId, Message, Name, Output, Reply, RoomName, Why,
};
use sim::Rng;

/// What people call themselves: the name, what it is folded to, and what it looks like.
const NAMES: [(&str, &str, &str); 18] = [
    ("alice", "alice", "alice"),
    ("ALICE", "alice", "ALICE"),
    ("al\u{456}ce", "al\u{456}ce", "alice"), // a Cyrillic letter
    ("\u{ff41}lice", "alice", "alice"),      // a wide one
    ("bob", "bob", "bob"),
    ("Bob", "bob", "Bob"),
    ("mom", "mom", "mom"),
    ("rnom", "rnom", "mom"),
    ("straße", "strasse", "straße"),
    ("STRASSE", "strasse", "STRASSE"),
    ("carol", "carol", "carol"),
    ("dave", "dave", "dave"),
    ("eve", "eve", "eve"),
    ("frank", "frank", "frank"),
    ("guest-2", "guest-2", "guest-2"),
    ("李雷", "李雷", "李雷"),
    ("x", "x", "x"),
    ("y", "y", "y"),
];

const ROOMS: [&str; 7] = ["lobby", "#Lobby", "dev", "DEV", "games", "music", "#ops"];

/// What a kept message counts besides its text, against `history_bytes_max`.
const MESSAGE_OVERHEAD: usize = 96;

/// Where the fake clock starts: 2026-01-01 00:00 UTC.
const START_UNIX_MS: u64 = 1_767_225_600_000;

fn at(now: u64) -> Now {
    Now { monotonic: Millis(now), unix_ms: START_UNIX_MS + now }
}

#[derive(Debug)]
struct Person {
    tag: u64,
    id: MemberId,
    name: String,
    room: String,
}

#[derive(Debug)]
struct Place {
    name: String,
    newest: u64,
    /// When it was made.
    epoch: u64,
    /// Id, author, text, and the line as it was told.
    kept: Vec<(u64, usize, String)>,
    empty_since: u64,
    joined: u32,
    left: u32,
    /// When the sum of them is told.
    due: Option<u64>,
}

/// The naive account. Everything is a list, and every question walks through it.
struct Shadow {
    limits: Limits,
    people: Vec<Person>,
    places: Vec<Place>,
    /// What everybody must hear in this step, in order.
    inbox: BTreeMap<u64, Vec<String>>,
    /// A room had to be made, and one had to make place for it.
    opened: Option<String>,
    closes_one: bool,
}

fn folded(name: &str) -> String {
    NAMES
        .iter()
        .find(|(text, ..)| *text == name)
        .map_or(name.to_lowercase(), |(_, fold, _)| (*fold).to_owned())
}

fn looks(name: &str) -> &str {
    NAMES.iter().find(|(text, ..)| *text == name).map_or(name, |(.., look)| look)
}

fn room_name(text: &str) -> String {
    text.trim_start_matches('#').to_lowercase()
}

impl Shadow {
    fn new(limits: Limits) -> Self {
        let mut shadow = Self {
            limits,
            people: Vec::new(),
            places: Vec::new(),
            inbox: BTreeMap::new(),
            opened: None,
            closes_one: false,
        };
        shadow.make_place("lobby", 1);
        shadow
    }

    fn make_place(&mut self, name: &str, now: u64) {
        let name = name.to_owned();
        self.opened = Some(name.clone());
        let place = Place {
            name,
            newest: 0,
            epoch: START_UNIX_MS + now,
            kept: Vec::new(),
            empty_since: now,
            joined: 0,
            left: 0,
            due: None,
        };
        self.places.push(place);
    }

    fn place(&mut self, name: &str) -> &mut Place {
        self.places.iter_mut().find(|place| place.name == name).expect("a room that is there")
    }

    fn members(&self, room: &str) -> usize {
        self.people.iter().filter(|person| person.room == room).count()
    }

    fn who(&self, room: &str) -> Vec<&str> {
        let here = self.people.iter().filter(|person| person.room == room);
        let mut names: Vec<&str> = here.map(|person| person.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    fn tell(&mut self, tag: u64, line: String) {
        self.inbox.entry(tag).or_default().push(line);
    }

    fn tell_room(&mut self, room: &str, line: &str) {
        let tags: Vec<u64> = self.people.iter().filter(|p| p.room == room).map(|p| p.tag).collect();
        tags.into_iter().for_each(|tag| self.tell(tag, line.to_owned()));
    }

    fn is_taken(&self, name: &str, except: Option<u64>) -> bool {
        let others = self.people.iter().filter(|person| Some(person.tag) != except);
        let alike =
            |person: &Person| folded(&person.name) == folded(name) || looks(&person.name) == looks(name);
        // One's own name found first is no obstacle, whatever else looks alike.
        let own = self.people.iter().find(|person| Some(person.tag) == except);
        let is_own = own.is_some_and(|person| folded(&person.name) == folded(name));
        !is_own && { others }.any(alike)
    }

    /// Whether there is a room of this name, or can be.
    fn has_place(&mut self, room: &str, now: u64) -> bool {
        if self.places.iter().any(|place| place.name == room) {
            return true;
        }
        if self.limits.rooms_max.is_some_and(|max| self.places.len() >= max) {
            let is_free = |place: &Place| place.name != "lobby" && self.members(&place.name) == 0;
            if !self.places.iter().any(is_free) {
                return false;
            }
            self.closes_one = true;
        }
        self.make_place(room, now);
        true
    }

    fn arrive(&mut self, tag: u64, room: &str, now: u64) {
        let total = self.members(room) + 1;
        let name = self.person(tag).name.clone();
        if self.limits.quiet_above.is_some_and(|max| total > max) {
            let place = self.place(room);
            place.joined += 1;
            place.due.get_or_insert(now + 1000);
        } else {
            self.tell_room(room, &format!("joined {name} {total}"));
        }
        self.person(tag).room = room.to_owned();
    }

    fn depart(&mut self, tag: u64, why: Option<&str>, now: u64) {
        let person = self.person(tag);
        let (room, name) = (std::mem::take(&mut person.room), person.name.clone());
        let total = self.members(&room);
        if total == 0 {
            self.place(&room).empty_since = now;
        }
        if self.limits.quiet_above.is_some_and(|max| total >= max) {
            let place = self.place(&room);
            place.left += 1;
            place.due.get_or_insert(now + 1000);
        } else {
            self.tell_room(&room, &format!("left {name} {total} {why:?}"));
        }
    }

    fn person(&mut self, tag: u64) -> &mut Person {
        self.people.iter_mut().find(|person| person.tag == tag).expect("somebody who is here")
    }

    fn welcome(&mut self, tag: u64, history: usize, reference: Option<&str>) {
        let Person { name, room, .. } = self.person(tag);
        let (name, room) = (name.clone(), room.clone());
        let place = self.place(&room);
        let from = place.kept.len().saturating_sub(history);
        let kept: Vec<String> = place.kept[from..].iter().map(|(.., line)| line.clone()).collect();
        let (newest, epoch) = (place.newest, place.epoch);
        let users = self.who(&room).join(",");
        self.tell(tag, format!("welcome {name} {room} {newest} {epoch} [{users}] {kept:?} {reference:?}"));
    }

    fn ack(&mut self, tag: u64, id: Option<u64>, reference: Option<&str>) {
        if let Some(reference) = reference {
            self.tell(tag, format!("ack {id:?} {reference}"));
        }
    }

    fn say(&mut self, tag: u64, text: &str, is_action: bool, reference: Option<&str>) {
        let limits = self.limits;
        let Person { name, room, .. } = self.person(tag);
        let (name, room) = (name.clone(), room.clone());
        let place = self.place(&room);
        place.newest += 1;
        let id = place.newest;
        let line = format!("said {id} {name} {is_action} {text}");
        place.kept.push((id, text.len() + MESSAGE_OVERHEAD, line.clone()));
        while limits.history_messages_max.is_some_and(|max| place.kept.len() > max)
            || limits.history_bytes_max.is_some_and(|max| place.kept.iter().map(|m| m.1).sum::<usize>() > max)
        {
            place.kept.remove(0);
        }
        self.tell_room(&room, &line);
        self.ack(tag, Some(id), reference);
    }

    fn tell_one(&mut self, tag: u64, to: &str, text: &str, reference: Option<&str>) {
        let Some(other) = self.people.iter().find(|person| folded(&person.name) == folded(to)) else {
            return self.refuse(tag, "no-such-user", reference);
        };
        let (other, to) = (other.tag, other.name.clone());
        let from = self.person(tag).name.clone();
        self.tell(other, format!("private {from} {to} {text}"));
        if other != tag {
            self.tell(tag, format!("sent {from} {to} {text}"));
        }
        self.ack(tag, None, reference);
    }

    fn rename(&mut self, tag: u64, to: &str, reference: Option<&str>) -> Result<(), &'static str> {
        if self.is_taken(to, Some(tag)) {
            return Err("name-taken");
        }
        let person = self.person(tag);
        let (from, room) = (std::mem::replace(&mut person.name, to.to_owned()), person.room.clone());
        if from != to {
            self.tell_room(&room, &format!("renamed {from} {to}"));
        }
        self.ack(tag, None, reference);
        Ok(())
    }

    fn go(&mut self, tag: u64, room: &str, now: u64, reference: Option<&str>) -> Result<(), &'static str> {
        if !self.has_place(room, now) {
            return Err("full");
        }
        if self.person(tag).room == room {
            self.welcome(tag, 0, reference);
        } else {
            self.depart(tag, Some(&format!("room {room}")), now);
            self.arrive(tag, room, now);
            self.welcome(tag, self.limits.history_on_join, reference);
        }
        Ok(())
    }

    fn history(&mut self, tag: u64, query: HistoryQuery, reference: Option<&str>) {
        let room = self.person(tag).room.clone();
        let wanted = |id: u64| query.before.is_none_or(|b| id < b) && query.after.is_none_or(|a| id > a);
        let all: Vec<String> = self
            .place(&room)
            .kept
            .iter()
            .filter(|(id, ..)| wanted(*id))
            .map(|(.., line)| line.clone())
            .collect();
        let count = query.limit.min(all.len());
        let part = if query.after.is_some() { &all[..count] } else { &all[all.len() - count..] };
        let more = count < all.len();
        self.tell(tag, format!("history {part:?} {more} {reference:?}"));
    }

    fn expire(&mut self, now: u64) {
        for i in 0..self.places.len() {
            let place = &mut self.places[i];
            if place.due.is_some_and(|due| due <= now) {
                let (joined, left) = (std::mem::take(&mut place.joined), std::mem::take(&mut place.left));
                place.due = None;
                let room = place.name.clone();
                let total = self.members(&room);
                self.tell_room(&room, &format!("crowd {joined} {left} {total}"));
            }
        }
    }

    fn refuse(&mut self, tag: u64, code: &str, reference: Option<&str>) {
        self.tell(tag, format!("refused {code} {reference:?}"));
    }
}

/// The real chat, and what its caller has to keep to carry out what it wants.
struct Run {
    rng: Rng,
    chat: Chat,
    shadow: Shadow,
    now: u64,
    next_tag: u64,
    /// The names of the rooms by their numbers, and who listens to which.
    numbers: BTreeMap<u32, String>,
    listening: BTreeMap<u64, u32>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let some = |rng: &mut Rng, least: usize, most: usize| {
            rng.chance(70).then(|| least + rng.below(most - least + 1))
        };
        let limits = Limits {
            history_answer_bytes_max: usize::MAX,
            rooms_max: some(&mut rng, 1, 5),
            history_messages_max: some(&mut rng, 1, 20),
            history_bytes_max: some(&mut rng, 100, 2000),
            history_on_join: rng.below(5),
            quiet_above: some(&mut rng, 1, 8),
        };
        Self {
            rng,
            chat: Chat::new(limits, at(1)),
            shadow: Shadow::new(limits),
            now: 1,
            next_tag: 0,
            numbers: BTreeMap::new(),
            listening: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        at(self.now)
    }

    fn a_name(&mut self) -> &'static str {
        NAMES[self.rng.below(NAMES.len())].0
    }

    fn a_text(&mut self) -> String {
        let length = 1 + self.rng.below(40);
        "0123456789".chars().cycle().skip(self.rng.below(10)).take(length).collect()
    }

    fn step(&mut self) {
        self.now += if self.rng.chance(30) { self.rng.below(700) as u64 } else { 0 };
        if self.chat.deadline() <= Millis(self.now) {
            self.chat.expire(self.now());
            self.shadow.expire(self.now);
            self.compare();
        } else {
            let due = self.shadow.places.iter().filter_map(|place| place.due).min();
            assert!(due.is_none_or(|due| Millis(due) > Millis(self.now)), "a sum is late");
        }
        // More come than go, until the house is full.
        let crowd = self.shadow.people.len();
        match self.rng.below(10) {
            0 | 1 if crowd < 14 => self.enters(),
            2 if crowd > 4 && self.rng.chance(60) => self.leaves(),
            _ if crowd == 0 => self.enters(),
            _ => self.commands(),
        }
        self.compare();
        self.chat.check_invariants();
        assert_eq!(self.chat.members(), self.shadow.people.len());
        assert_eq!(self.chat.rooms(), self.shadow.places.len());
        for person in &self.shadow.people {
            assert_eq!(self.chat.name(person.id).as_str(), person.name);
        }
    }

    fn enters(&mut self) {
        let text = self.a_name();
        let name = if self.rng.chance(15) {
            self.chat.guest_name()
        } else {
            Name::parse(text).expect("a good name")
        };
        let room = ROOMS[self.rng.below(ROOMS.len())];
        let reference = self.rng.chance(30).then_some("r");
        let (tag, now, text) = (self.next_tag, self.now, name.as_str().to_owned());
        self.next_tag += 1;
        let room_parsed = RoomName::parse(room).expect("a good name");
        let entered = self.chat.enter(tag, name, room_parsed, 1000, &reference.map(Into::into), self.now());
        let room = room_name(room);
        let expected = if self.shadow.is_taken(&text, None) {
            Err("name-taken")
        } else if !self.shadow.has_place(&room, now) {
            Err("full")
        } else {
            Ok(())
        };
        match (entered, expected) {
            (Ok(id), Ok(())) => {
                self.shadow.people.push(Person { tag, id, name: text, room: String::new() });
                self.shadow.arrive(tag, &room, now);
                self.shadow.welcome(tag, self.shadow.limits.history_on_join, reference);
            }
            (Err(refusal), Err(code)) => assert_eq!(refusal.code.as_str(), code, "{text} into {room}"),
            (entered, expected) => panic!("{text} into {room}: {entered:?}, but {expected:?}"),
        }
    }

    fn leaves(&mut self) {
        let place = self.rng.below(self.shadow.people.len());
        let Person { tag, id, .. } = self.shadow.people[place];
        let why = [None, Some(Why::Timeout), Some(Why::Slow), Some(Why::Reset)][self.rng.below(4)].clone();
        self.chat.leave(id, why.clone(), self.now());
        self.listening.remove(&tag);
        self.shadow.depart(tag, why.map(|why| why.to_string()).as_deref(), self.now);
        self.shadow.people.remove(place);
    }

    fn commands(&mut self) {
        let place = self.rng.below(self.shadow.people.len());
        let Person { tag, id, .. } = self.shadow.people[place];
        let reference = self.rng.chance(30).then_some("r");
        let (text, name) = (self.a_text(), self.a_name());
        let body = Body::new(&text).expect("a text");
        let parsed = Name::parse(name).expect("a good name");
        let room = ROOMS[self.rng.below(ROOMS.len())];
        let (room, parsed_room) = (room_name(room), RoomName::parse(room).expect("a good name"));
        let names_max = 1000;
        let now = self.now;
        let shadow = &mut self.shadow;
        let command = match self.rng.below(16) {
            0..4 => {
                shadow.say(tag, &text, false, reference);
                Command::Say(body)
            }
            4 => {
                shadow.say(tag, &text, true, reference);
                Command::Act(body)
            }
            5 | 6 => {
                shadow.tell_one(tag, name, &text, reference);
                Command::Tell { to: name.into(), body }
            }
            7 | 8 => {
                if let Err(code) = shadow.rename(tag, name, reference) {
                    shadow.refuse(tag, code, reference);
                }
                Command::Nick(parsed)
            }
            9 => {
                let is_moving = self.rng.chance(50);
                let here = shadow.person(tag).room.clone();
                let to = if is_moving { room } else { here };
                // Both or neither.
                let outcome = if shadow.is_taken(name, Some(tag)) {
                    Err("name-taken")
                } else if !shadow.has_place(&to, now) {
                    Err("full")
                } else {
                    shadow.rename(tag, name, None).and_then(|()| shadow.go(tag, &to, now, reference))
                };
                if let Err(code) = outcome {
                    shadow.refuse(tag, code, reference);
                }
                Command::Hello { name: parsed, room: is_moving.then_some(parsed_room), names_max }
            }
            10 | 11 => {
                if let Err(code) = shadow.go(tag, &room, now, reference) {
                    shadow.refuse(tag, code, reference);
                }
                Command::Join { room: parsed_room, names_max }
            }
            12 => {
                let room = shadow.person(tag).room.clone();
                let users = shadow.who(&room).join(",");
                shadow.tell(tag, format!("users {room} [{users}] {reference:?}"));
                Command::Who { names_max }
            }
            13 => {
                let mut rooms: Vec<(String, usize)> =
                    shadow.places.iter().map(|p| (p.name.clone(), shadow.members(&p.name))).collect();
                rooms.sort();
                shadow.tell(tag, format!("rooms {rooms:?} {reference:?}"));
                Command::Rooms
            }
            14 => {
                let newest = shadow.person(tag).room.clone();
                let newest = shadow.place(&newest).newest as usize;
                let mut an_id = || self.rng.chance(40).then(|| self.rng.below(newest + 3) as u64);
                let (before, after) = (an_id(), an_id());
                let query = HistoryQuery { limit: 1 + self.rng.below(12), before, after };
                shadow.history(tag, query, reference);
                Command::History(query)
            }
            _ => {
                shadow.tell(tag, format!("pong {reference:?}"));
                Command::Ping
            }
        };
        self.chat.command(id, command, &reference.map(Into::into), self.now());
    }

    /// Carries out what the chat wants done, and compares who heard what.
    fn compare(&mut self) {
        let mut heard: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        while let Some(output) = self.chat.poll_output() {
            match output {
                Output::RoomOpened { room } => {
                    let name = self.shadow.opened.take().expect("a room that is asked for");
                    assert_eq!(self.numbers.insert(room, name), None, "a number that is free");
                }
                Output::RoomClosed { room } => self.closes(room),
                Output::Entered { tag, room } => {
                    assert!(self.numbers.contains_key(&room));
                    self.listening.insert(tag, room);
                }
                Output::ToRoom { room, name, event, at_ms, .. } => {
                    assert_eq!(self.numbers[&room], name.as_str());
                    assert_eq!(at_ms, self.now().unix_ms);
                    let line = event_line(&event);
                    for (&tag, _) in self.listening.iter().filter(|(_, at)| **at == room) {
                        heard.entry(tag).or_default().push(line.clone());
                    }
                }
                Output::ToMember { tag, reply, reference, .. } => {
                    heard.entry(tag).or_default().push(reply_line(&reply, reference.as_deref()));
                }
            }
        }
        assert_eq!(self.chat.outbox_bytes(), 0, "all is said");
        assert_eq!(heard, std::mem::take(&mut self.shadow.inbox));
        assert!(self.shadow.opened.is_none() && !self.shadow.closes_one, "a room was to be made");
        for person in &self.shadow.people {
            let room = &self.numbers[&self.listening[&person.tag]];
            assert_eq!(*room, person.room, "{} listens to the wrong room", person.name);
        }
    }

    /// A room made place for another: it must be empty, and must have been for longest.
    fn closes(&mut self, room: u32) {
        let name = self.numbers.remove(&room).expect("a room that is open");
        assert!(std::mem::take(&mut self.shadow.closes_one), "{name} was closed without need");
        assert!(name != "lobby" && !self.listening.values().any(|&at| at == room), "{name} is in use");
        let opened = self.shadow.opened.clone();
        let empty: Vec<&Place> = self
            .shadow
            .places
            .iter()
            .filter(|place| place.name != "lobby" && Some(&place.name) != opened.as_ref())
            .filter(|place| !self.numbers_in_use().contains(&place.name))
            .collect();
        let longest = empty.iter().map(|place| place.empty_since).min();
        let closed = empty.iter().find(|place| place.name == name).map(|place| place.empty_since);
        assert_eq!(closed, longest, "{name} has not been empty for longest");
        self.shadow.places.retain(|place| place.name != name);
    }

    /// The rooms that somebody listened to when this step began.
    fn numbers_in_use(&self) -> Vec<String> {
        self.listening.values().filter_map(|room| self.numbers.get(room)).cloned().collect()
    }
}

fn said(message: &Message) -> String {
    format!("said {} {} {} {}", message.id, message.from, message.is_action, message.body)
}

fn names(users: &[Name]) -> String {
    users.iter().map(Name::as_str).collect::<Vec<_>>().join(",")
}

fn event_line(event: &Event) -> String {
    match event {
        Event::Message(message) => said(message),
        Event::Joined { name, total } => format!("joined {name} {total}"),
        Event::Left { name, total, why } => {
            format!("left {name} {total} {:?}", why.as_ref().map(ToString::to_string))
        }
        Event::Renamed { from, to } => format!("renamed {from} {to}"),
        Event::Crowd { joined, left, total } => format!("crowd {joined} {left} {total}"),
    }
}

fn reply_line(reply: &Reply, reference: Option<&str>) -> String {
    match reply {
        Reply::Welcome { name, room, newest_id, epoch_ms, users, total, history } => {
            assert_eq!(users.len(), *total);
            let (room, users) = (room.as_str(), names(users));
            let kept: Vec<String> = history.iter().map(|message| said(message)).collect();
            format!("welcome {name} {room} {newest_id} {epoch_ms} [{users}] {kept:?} {reference:?}")
        }
        Reply::Private { from, to, body } => format!("private {from} {to} {body}"),
        Reply::PrivateSent { from, to, body } => format!("sent {from} {to} {body}"),
        Reply::Ack { id } => format!("ack {id:?} {}", reference.expect("an ack has a mark")),
        Reply::Users { room, users, total } => {
            assert_eq!(users.len(), *total);
            format!("users {} [{}] {reference:?}", room.as_str(), names(users))
        }
        Reply::Rooms(rooms) => {
            let rooms: Vec<(String, usize)> =
                rooms.iter().map(|(name, members)| (name.as_str().to_owned(), *members)).collect();
            format!("rooms {rooms:?} {reference:?}")
        }
        Reply::History { messages, has_more, .. } => {
            let lines: Vec<String> = messages.iter().map(|message| said(message)).collect();
            format!("history {lines:?} {has_more} {reference:?}")
        }
        Reply::Pong => format!("pong {reference:?}"),
        Reply::Refused(refusal) => format!("refused {} {reference:?}", refusal.code.as_str()),
        Reply::Help | Reply::Bye(_) => panic!("nobody asked for {reply:?}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_users_hear_what_the_shadow_says_they_must() {
    let seeds = match number("ROOMD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROOMD_SEEDS").unwrap_or(300),
    };
    let steps = number("ROOMD_STEPS").unwrap_or(300);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            run.compare(); // the lobby opens
            (0..steps).for_each(|_| run.step());
            while !run.shadow.people.is_empty() {
                run.leaves();
                run.compare();
                run.chat.check_invariants();
            }
        });
        assert!(outcome.is_ok(), "failed: ROOMD_SEED={seed} ROOMD_STEPS={steps} cargo test --test room");
    }
}

/// A list of names may be asked to be short; whoever asked is on it.
#[test]
fn a_short_list_of_names_has_the_newcomer_on_it() {
    let now = at(1);
    let mut chat = Chat::new(Limits::default(), now);
    for i in 0..30 {
        let name = Name::parse(&format!("user-{i}")).expect("a good name");
        chat.enter(i, name.clone(), RoomName::lobby(), 5, &None, now).expect("there is room");
        let mut is_welcome = false;
        while let Some(output) = chat.poll_output() {
            if let Output::ToMember { reply: Reply::Welcome { users, total, .. }, .. } = output {
                assert_eq!((users.len(), total as u64), (5.min(i as usize + 1), i + 1));
                assert!(users.contains(&name) && users.is_sorted());
                is_welcome = true;
            }
        }
        assert!(is_welcome);
    }
}
