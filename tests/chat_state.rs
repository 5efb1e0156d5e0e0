//! The chat under random users, against a second, naive account of who is where and who must hear what.
//!
//! `ROOMD_SEED=7 cargo test --test chat_state` runs one seed; `ROOMD_SEEDS` and `ROOMD_STEPS` change how many,
//! and how long. A failure prints what to say to see it again.

use std::collections::{BTreeMap, VecDeque};

use roomd::chat::{
    Body, Chat, Command, Event, Hello, HistoryQuery, Home, MemberId, Message, Name, Output, Reply, Resume,
    RoomName, RoomView, Why,
};
use roomd::clock::{Millis, Now};
use roomd::limits::Limits;
use roomd::reactor::simulated::Rng;
use roomd::store::Memory;
use roomd::wire::json::{self, EventDocument};
use roomd::wire::text;

/// What people call themselves: the name, what it is folded to, and whom one takes its owner for.
const NAMES: [(&str, &str, &str); 20] = [
    ("alice", "alice", "alice"),
    ("ALICE", "alice", "alice"),
    ("ALlCE", "allce", "alice"),
    ("AlicE", "alice", "alice"),
    ("bob", "bob", "bob"),
    ("Bob", "bob", "bob"),
    ("\u{412}\u{41e}\u{412}", "\u{432}\u{43e}\u{432}", "bob"), // Cyrillic letters
    ("mom", "mom", "mom"),
    ("rnom", "rnom", "mom"),
    ("straße", "strasse", "straße"),
    ("STRASSE", "strasse", "straße"),
    ("carol", "carol", "carol"),
    ("dave", "dave", "dave"),
    ("eve", "eve", "eve"),
    ("frank", "frank", "frank"),
    ("guest-2", "guest-2", "guest-2"),
    ("李雷", "李雷", "李雷"),
    ("नमस्ते", "नमस्ते", "नमस्ते"),
    ("x", "x", "x"),
    ("y", "y", "y"),
];

const ROOMS: [&str; 7] = ["lobby", "#Lobby", "dev", "DEV", "games", "music", "#ops"];

/// What a kept message counts besides its text, against `history_bytes` and in an answer.
const MESSAGE_OVERHEAD: usize = 96;

/// So many empty rooms are remembered at most.
const EMPTY_ROOMS_MAX: usize = 1024;

/// How long a name is held for whoever was cut off from it.
const HOLD_MS: u64 = 10_000;

/// How long the joins and leaves of a crowded room are summed up.
const SUM_MS: u64 = 1000;

/// Where the fake clock starts: 2026-01-01 00:00 UTC.
const START_UNIX_MS: u64 = 1_767_225_600_000;

/// The first of all homes is spared by the limits for each.
fn home_of(subscriber: u64) -> Home {
    Home { subscriber, is_exempt: subscriber == 0 }
}

fn at(now: u64) -> Now {
    Now { monotonic: Millis(now), unix_ms: START_UNIX_MS + now }
}

#[derive(Debug)]
struct Person {
    tag: u64,
    id: MemberId,
    home: u64,
    name: String,
    /// The current one is the last, before it is the one that was current before.
    rooms: Vec<String>,
    /// Folded names, and since when.
    ignores: Vec<(String, usize)>,
    /// Folded names that it had, and until when.
    gave_up: Vec<(String, usize)>,
}

impl Person {
    fn room(&self) -> &str {
        self.rooms.last().expect("everybody is in a room")
    }

    fn is_in(&self, room: &str) -> bool {
        self.rooms.iter().any(|joined| joined == room)
    }

    /// The room through which it hears what concerns somebody else: its current one if they share that.
    fn hears_of(&self, other: &Self) -> Option<&String> {
        self.rooms.iter().rev().find(|room| other.is_in(room))
    }

    /// Whether it does not hear what somebody says who is called so, and gave up these names.
    fn is_deaf_to(&self, tag: u64, name: &str, gave_up: &[(String, usize)]) -> bool {
        let is_meant = |(ignored, since): &(String, usize)| {
            *ignored == folded(name) || gave_up.iter().any(|(last, until)| last == ignored && since <= until)
        };
        self.tag != tag && self.ignores.iter().any(is_meant)
    }
}

/// A name that somebody was cut off from.
#[derive(Debug)]
struct Held {
    name: String,
    home: u64,
    until: u64,
}

#[derive(Debug)]
struct Place {
    name: String,
    /// The home of who made it.
    maker: Option<u64>,
    /// What the chat calls it; known when it has said so.
    number: Option<u32>,
    newest: u64,
    /// When it was made.
    epoch: u64,
    kept: Vec<Kept>,
    empty_since: u64,
    /// Deliveries of joins and leaves that were told one by one, since then.
    told: usize,
    told_since: u64,
    joined: u32,
    left: u32,
    /// When the sum of them is told, and how many sums had begun before.
    due: Option<(u64, usize)>,
}

#[derive(Debug)]
struct Kept {
    id: u64,
    bytes: usize,
    /// As it was told.
    line: String,
}

/// The naive account. Everything is a list, and every question walks through it.
struct Shadow {
    limits: Limits,
    people: Vec<Person>,
    /// How often somebody began to ignore somebody.
    ignorings: usize,
    held: Vec<Held>,
    places: Vec<Place>,
    /// How often one of them became empty.
    emptied: u64,
    /// What everybody must hear in this step, in order.
    inbox: BTreeMap<u64, Vec<String>>,
    /// The rooms that have to be made in this step, and those that have to make place for them, in order.
    opens: VecDeque<String>,
    closes: VecDeque<u32>,
    /// How many joins and leaves were summed up.
    sums_begun: usize,
    /// When the sums that are told in this step were due, by room.
    sums: BTreeMap<String, u64>,
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

fn are_alike(one: &str, other: &str) -> bool {
    folded(one) == folded(other) || looks(one) == looks(other)
}

fn room_name(text: &str) -> String {
    text.trim_start_matches('#').to_lowercase()
}

impl Shadow {
    fn new(limits: Limits) -> Self {
        let mut shadow = Self {
            limits,
            people: Vec::new(),
            ignorings: 0,
            held: Vec::new(),
            places: Vec::new(),
            emptied: 0,
            inbox: BTreeMap::new(),
            opens: VecDeque::new(),
            closes: VecDeque::new(),
            sums_begun: 0,
            sums: BTreeMap::new(),
        };
        shadow.make_place("lobby", None, 1);
        shadow
    }

    fn make_place(&mut self, name: &str, maker: Option<u64>, now: u64) {
        let name = name.to_owned();
        self.opens.push_back(name.clone());
        let place = Place {
            name,
            maker,
            number: None,
            newest: 0,
            epoch: START_UNIX_MS + now,
            kept: Vec::new(),
            empty_since: 0,
            told: 0,
            told_since: 0,
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
        self.people.iter().filter(|person| person.is_in(room)).count()
    }

    fn who(&self, room: &str) -> Vec<&str> {
        let here = self.people.iter().filter(|person| person.is_in(room));
        let mut names: Vec<&str> = here.map(|person| person.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    fn tell(&mut self, tag: u64, line: String) {
        self.inbox.entry(tag).or_default().push(line);
    }

    fn tell_room(&mut self, room: &str, line: &str) {
        let tags: Vec<u64> = self.people.iter().filter(|p| p.is_in(room)).map(|p| p.tag).collect();
        tags.into_iter().for_each(|tag| self.tell(tag, format!("#{room} {line}")));
    }

    fn is_taken(&self, name: &str, except: Option<u64>, home: u64, now: u64) -> bool {
        let mut others = self.people.iter().filter(|person| Some(person.tag) != except);
        let mut held = self.held.iter().filter(|held| held.home != home && held.until > now);
        others.any(|person| are_alike(&person.name, name)) || held.any(|held| are_alike(&held.name, name))
    }

    fn take_back(&mut self, name: &str, home: u64) {
        self.held.retain(|held| held.home != home || !are_alike(&held.name, name));
    }

    /// Gives up an empty room, of those that somebody has made.
    fn make_way(&mut self, maker: Option<u64>) -> bool {
        let made_by = |home| self.places.iter().filter(|place| place.maker == Some(home)).count();
        let is_free = |place: &&Place| place.name != "lobby" && self.members(&place.name) == 0;
        let free = self.places.iter().filter(is_free).filter(|place| maker.is_none() || place.maker == maker);
        let made = |place: &Place| place.maker.map_or(0, made_by);
        let Some(first) = free.min_by_key(|p| (p.newest > 0, usize::MAX - made(p), p.empty_since)) else {
            return false;
        };
        let number = first.number.expect("a room that is empty was opened before");
        self.closes.push_back(number);
        self.places.retain(|place| place.number != Some(number));
        true
    }

    /// Whether there is a room of this name, or can be.
    fn has_place(&mut self, room: &str, home: u64, now: u64) -> bool {
        let made_by = |shadow: &Self| shadow.places.iter().filter(|place| place.maker == Some(home)).count();
        let has_its_share = home != 0 && self.limits.max_rooms_per_ip.is_some_and(|max| made_by(self) >= max);
        if let Some(place) = self.places.iter().find(|place| place.name == room) {
            // Whoever enters an empty room has made it, so to say.
            let is_others = place.maker.is_some_and(|maker| maker != home);
            if is_others && self.members(room) == 0 {
                if has_its_share && !self.make_way(Some(home)) {
                    return false;
                }
                self.place(room).maker = Some(home);
            }
            return true;
        }
        if (has_its_share || self.limits.max_rooms.is_some_and(|max| self.places.len() >= max))
            && !self.make_way(has_its_share.then_some(home))
        {
            return false;
        }
        self.make_place(room, Some(home), now);
        true
    }

    fn arrive(&mut self, tag: u64, room: &str, is_current: bool, now: u64) {
        let total = self.members(room) + 1;
        let name = self.person(tag).name.clone();
        if self.is_summed_up(room, total - 1, now) {
            self.place(room).joined += 1;
        } else {
            self.tell_room(room, &format!("joined {name} {total}"));
        }
        let rooms = &mut self.person(tag).rooms;
        rooms.insert(if is_current { rooms.len() } else { 0 }, room.to_owned());
    }

    fn depart(&mut self, tag: u64, room: &str, why: Option<&str>, now: u64) {
        let person = self.person(tag);
        person.rooms.retain(|joined| joined != room);
        let name = person.name.clone();
        let total = self.members(room);
        if total == 0 {
            self.emptied += 1;
            self.place(room).empty_since = self.emptied;
        }
        if self.is_summed_up(room, total, now) {
            self.place(room).left += 1;
        } else {
            self.tell_room(room, &format!("left {name} {total} {why:?}"));
        }
    }

    fn leave_server(&mut self, place: usize, why: Option<&str>, now: u64) -> Person {
        let (tag, rooms) = (self.people[place].tag, self.people[place].rooms.clone());
        // Nobody who is gone is in the others still, when one room is told.
        self.person(tag).rooms.clear();
        for room in rooms.iter().rev() {
            self.depart(tag, room, why, now);
        }
        self.people.remove(place)
    }

    /// Whether a join or leave beside so many others is in a sum: they are too many, or what a second delivers is.
    fn is_summed_up(&mut self, room: &str, others: usize, now: u64) -> bool {
        let (quiet_above, order) = (self.limits.quiet_above, self.sums_begun);
        if others == 0 {
            return false;
        }
        let place = self.place(room);
        if now >= place.told_since + SUM_MS {
            (place.told, place.told_since) = (0, now);
        }
        let is_crowded = |max| 1 + others > max || place.told + others > 16 * max;
        if place.due.is_some() || quiet_above.is_some_and(is_crowded) {
            place.due.get_or_insert((now + SUM_MS, order));
            self.sums_begun += 1;
            return true;
        }
        place.told += others;
        false
    }

    fn person(&mut self, tag: u64) -> &mut Person {
        self.people.iter_mut().find(|person| person.tag == tag).expect("somebody who is here")
    }

    fn welcome(&mut self, tag: u64, history: Option<usize>, reference: Option<&str>) {
        let person = self.person(tag);
        let (name, room) = (person.name.clone(), person.room().to_owned());
        let query = HistoryQuery { limit: history.unwrap_or(0), ..HistoryQuery::default() };
        let (kept, _) = self.remembered(&room, query);
        let place = self.place(&room);
        let (newest, epoch) = (place.newest, place.epoch);
        let users = self.who(&room).join(",");
        self.tell(tag, format!("welcome {name} {room} {newest} {epoch} [{users}] {kept:?} {reference:?}"));
    }

    fn ack(&mut self, tag: u64, id: Option<u64>, reference: Option<&str>) {
        if let Some(reference) = reference {
            self.tell(tag, format!("ack {id:?} {reference}"));
        }
    }

    /// Says something in a room, or does it.
    fn say(
        &mut self,
        tag: u64,
        room: Option<&String>,
        text: &str,
        is_action: bool,
        now: u64,
        reference: Option<&str>,
    ) -> Result<(), &'static str> {
        let limits = self.limits.clone();
        let room = self.meant(tag, room)?;
        let Person { name, gave_up, .. } = self.person(tag);
        let (name, gave_up) = (name.clone(), gave_up.clone());
        let place = self.place(&room);
        place.newest += 1;
        let id = place.newest;
        let line = format!("said {id} {} {name} {is_action} {text}", at(now).unix_ms);
        place.kept.push(Kept { id, bytes: text.len() + MESSAGE_OVERHEAD, line: line.clone() });
        while limits.history.is_some_and(|max| place.kept.len() > max)
            || limits.history_bytes.is_some_and(|max| place.kept.iter().map(|m| m.bytes).sum::<usize>() > max)
        {
            place.kept.remove(0);
        }
        for listener in self.people.iter().filter(|p| p.is_in(&room) && !p.is_deaf_to(tag, &name, &gave_up)) {
            self.inbox.entry(listener.tag).or_default().push(format!("#{room} {line}"));
        }
        self.ack(tag, Some(id), reference);
        Ok(())
    }

    /// Which room somebody means who names one, or none.
    fn meant(&mut self, tag: u64, room: Option<&String>) -> Result<String, &'static str> {
        let person = self.person(tag);
        match room {
            None => Ok(person.room().to_owned()),
            Some(room) if person.is_in(room) => Ok(room.clone()),
            Some(_) => Err("not-here"),
        }
    }

    fn tell_one(
        &mut self,
        tag: u64,
        to: &str,
        text: &str,
        reference: Option<&str>,
    ) -> Result<(), &'static str> {
        let Some(other) = self.people.iter().find(|person| folded(&person.name) == folded(to)) else {
            return Err("no-such-user");
        };
        let (other, to) = (other.tag, other.name.clone());
        let from = self.person(tag).name.clone();
        let gave_up = self.person(tag).gave_up.clone();
        if !self.person(other).is_deaf_to(tag, &from, &gave_up) {
            self.tell(other, format!("private {from} {to} {text}"));
        }
        if other != tag {
            self.tell(tag, format!("sent {from} {to} {text}"));
        }
        self.ack(tag, None, reference);
        Ok(())
    }

    fn rename(&mut self, tag: u64, to: &str, now: u64, reference: Option<&str>) -> Result<(), &'static str> {
        let home = self.person(tag).home;
        if self.is_taken(to, Some(tag), home, now) {
            return Err("name-taken");
        }
        if self.person(tag).name != to {
            self.take_back(to, home);
        }
        let from = std::mem::replace(&mut self.person(tag).name, to.to_owned());
        if from != to {
            let clock = self.ignorings;
            self.person(tag).gave_up.push((folded(&from), clock));
            let person = self.people.iter().find(|person| person.tag == tag).expect("somebody who is here");
            // Everybody who shares a room is told once.
            let told: Vec<(u64, String)> = (self.people.iter())
                .filter_map(|other| {
                    Some((other.tag, format!("#{} renamed {from} {to}", other.hears_of(person)?)))
                })
                .collect();
            told.into_iter().for_each(|(tag, line)| self.tell(tag, line));
        }
        self.ack(tag, None, reference);
        Ok(())
    }

    /// Enters a room, or turns to it; returns whether it was entered.
    fn go(&mut self, tag: u64, room: &str, now: u64) -> Result<bool, &'static str> {
        let home = self.person(tag).home;
        if self.person(tag).is_in(room) {
            let rooms = &mut self.person(tag).rooms;
            rooms.retain(|joined| joined != room);
            rooms.push(room.to_owned());
            return Ok(false);
        }
        if !self.has_place(room, home, now) {
            return Err("full");
        }
        self.arrive(tag, room, true, now);
        Ok(true)
    }

    fn join(&mut self, tag: u64, room: &str, now: u64, reference: Option<&str>) -> Result<(), &'static str> {
        let joined = self.person(tag).rooms.len() + usize::from(!self.person(tag).is_in(room));
        if self.limits.max_joined.is_some_and(|max| joined > max) {
            return Err("full");
        }
        let is_new = self.go(tag, room, now)?;
        self.welcome(tag, self.limits.history_on_join.filter(|_| is_new), reference);
        Ok(())
    }

    fn leave_room(
        &mut self,
        tag: u64,
        room: Option<&String>,
        now: u64,
        reference: Option<&str>,
    ) -> Result<(), &'static str> {
        let left = self.meant(tag, room)?;
        let (is_current, is_last) = (self.person(tag).room() == left, self.person(tag).rooms.len() == 1);
        if is_last && left == "lobby" {
            return Err("bad-argument");
        }
        if is_last {
            self.go(tag, "lobby", now)?;
        }
        self.depart(tag, &left, None, now);
        let (name, total) = (self.person(tag).name.clone(), self.members(&left));
        self.tell(tag, format!("you left {name} {left} {total} {reference:?}"));
        if is_current {
            self.welcome(tag, self.limits.history_on_join.filter(|_| is_last), None);
        }
        Ok(())
    }

    /// The rooms of an introduction but the first, which is current already: those that it does not name are left.
    fn settle(
        &mut self,
        tag: u64,
        rooms: &[String],
        lists_rooms: bool,
        history: Option<usize>,
        now: u64,
        reference: Option<&str>,
    ) {
        let (home, mut refused) = (self.person(tag).home, Vec::new());
        for (index, room) in rooms.iter().enumerate().skip(1) {
            if self.limits.max_joined.is_some_and(|max| index - refused.len() >= max) {
                refused.push(room);
            } else if self.person(tag).is_in(room) {
            } else if self.has_place(room, home, now) {
                self.arrive(tag, room, false, now);
            } else {
                refused.push(room);
            }
        }
        let joined = self.person(tag).rooms.clone();
        let is_wanted = |room: &String| rooms.contains(room) && !refused.contains(&room);
        for room in joined.iter().rev().filter(|room| !rooms.is_empty() && !is_wanted(room)) {
            self.depart(tag, room, None, now);
        }
        self.welcome(tag, history, reference);
        let joined = self.person(tag).rooms.clone();
        for room in joined.iter().rev().filter(|_| lists_rooms) {
            let count = joined.len();
            self.tell(tag, format!("room {room} of {count}"));
        }
        for room in refused {
            self.tell(tag, format!("no room {room} full"));
        }
    }

    /// What one is shown of a room, and whether there is more of what one asked for.
    fn remembered(&mut self, room: &str, query: HistoryQuery) -> (Vec<String>, bool) {
        let wanted = |id: u64| query.before.is_none_or(|b| id < b) && query.after.is_none_or(|a| id > a);
        let mut all: Vec<&Kept> = self.place(room).kept.iter().filter(|m| wanted(m.id)).collect();
        // The nearest to where one is come first.
        let is_backwards = query.after.is_none();
        if is_backwards {
            all.reverse();
        }
        let count = query.limit.min(all.len());
        let mut lines: Vec<String> = all[..count].iter().map(|m| m.line.clone()).collect();
        if is_backwards {
            lines.reverse();
        }
        (lines, count < all.len())
    }

    fn history(
        &mut self,
        tag: u64,
        room: Option<&String>,
        query: HistoryQuery,
        reference: Option<&str>,
    ) -> Result<(), &'static str> {
        let room = self.meant(tag, room)?;
        let (lines, more) = self.remembered(&room, query);
        self.tell(tag, format!("history {room} {lines:?} {more} {reference:?}"));
        Ok(())
    }

    /// When the next sum is due.
    fn due(&self) -> Option<u64> {
        self.places.iter().filter_map(|place| place.due).min().map(|(due, _)| due)
    }

    fn expire(&mut self, now: u64) {
        let next = |shadow: &Self| shadow.places.iter().filter_map(|place| place.due).min();
        while let Some(first) = next(self).filter(|(due, _)| *due <= now) {
            let place = self.places.iter_mut().find(|place| place.due == Some(first)).expect("the first");
            place.due = None;
            let (joined, left) = (std::mem::take(&mut place.joined), std::mem::take(&mut place.left));
            let room = place.name.clone();
            self.sums.insert(room.clone(), first.0);
            let total = self.members(&room);
            self.tell_room(&room, &format!("crowd {joined} {left} {total}"));
        }
    }
}

/// The real chat, and what its caller has to keep to carry out what it wants.
struct Run {
    rng: Rng,
    chat: Chat,
    store: Memory,
    shadow: Shadow,
    now: u64,
    next_tag: u64,
    /// A text has so many bytes at most.
    text_bytes_max: usize,
    /// So many rooms there were at once.
    rooms_max: usize,
    /// The names of the rooms by their numbers, and who listens to which, the current one last.
    numbers: BTreeMap<u32, String>,
    listening: BTreeMap<u64, Vec<u32>>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let some = |rng: &mut Rng, least: usize, most: usize| {
            rng.chance(70).then(|| least + rng.below(most - least + 1))
        };
        // With long texts the bounds of a whole answer matter, with short ones those of `feed_bytes`.
        let scale = if rng.chance(10) { 500 } else { 1 };
        let limits = Limits {
            max_rooms: some(&mut rng, 1, 5),
            max_rooms_per_ip: some(&mut rng, 1, 3),
            room_rate: None,
            max_line_bytes: 64 * 1024,
            history: some(&mut rng, 1, 20),
            history_bytes: some(&mut rng, 100 * scale, 2000 * scale),
            history_on_join: some(&mut rng, 1, 4),
            max_joined: some(&mut rng, 1, 4),
            quiet_above: some(&mut rng, 1, 8),
            feed_bytes: some(&mut rng, 100 * scale, 8000 * scale),
            ..Limits::default()
        };
        Self {
            rng,
            chat: Chat::new(limits.clone(), at(1)),
            store: Memory::default(),
            shadow: Shadow::new(limits),
            now: 1,
            next_tag: 0,
            text_bytes_max: 40 * scale,
            rooms_max: 0,
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
        let length = 1 + self.rng.below(self.text_bytes_max);
        "0123456789".chars().cycle().skip(self.rng.below(10)).take(length).collect()
    }

    fn step(&mut self) {
        self.now += if self.rng.chance(30) { self.rng.below(700) as u64 } else { 0 };
        let due = self.shadow.due();
        assert_eq!(self.chat.deadline(), due.map_or(Millis::NEVER, Millis), "when a sum is told");
        // Too early is no harm.
        if due.is_some_and(|due| due <= self.now) || self.rng.chance(5) {
            self.chat.expire(self.now());
            self.shadow.expire(self.now);
            self.compare();
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
        self.check_state();
    }

    fn check_state(&self) {
        self.chat.check_invariants();
        assert_eq!(self.chat.members(), self.shadow.people.len());
        for person in &self.shadow.people {
            assert_eq!(self.chat.name(person.id).as_str(), person.name);
            let found = self.chat.find(&person.name).map(|(tag, name)| (tag, name.as_str()));
            assert_eq!(found, Some((person.tag, person.name.as_str())));
            // One room and no list of names cost nothing.
            let (others, memory) = (person.rooms.len() - 1, self.chat.memory_of(person.id));
            let has_none = others == 0 && person.ignores.is_empty() && person.gave_up.is_empty();
            assert!(!has_none || memory == 0, "{memory} B for {person:?}");
            assert!(others == 0 || memory >= others * size_of::<u64>() + size_of::<Vec<u64>>(), "{memory} B");
        }
        assert_eq!(self.chat.rooms().len(), self.shadow.places.len());
        for Place { name, number, newest, epoch, .. } in &self.shadow.places {
            let number = number.expect("a room that was opened");
            assert_eq!(self.chat.room_number(&RoomName::parse(name).expect("a good name")), Some(number));
            let room = self.chat.room(number);
            assert_eq!((room.name().as_str(), room.newest_id(), room.epoch_ms()), (&**name, *newest, *epoch));
            assert_eq!(users(room), self.shadow.who(name));
        }
    }

    fn enters(&mut self) {
        let text = self.a_name();
        let home = self.rng.below(3) as u64;
        let name = if self.rng.chance(15) {
            let guest = self.chat.guest_name(home_of(home), self.now());
            assert!(!self.shadow.is_taken(guest.as_str(), None, home, self.now), "{guest} is in use");
            guest
        } else {
            Name::parse(text).expect("a good name")
        };
        let (rooms, parsed_rooms) = self.some_rooms(0);
        let lists_rooms = self.rng.chance(50);
        let reference = self.rng.chance(30).then_some("r");
        let (tag, now, text) = (self.next_tag, self.now, name.as_str().to_owned());
        self.next_tag += 1;
        let reference_boxed = reference.map(Into::into);
        let hello = Hello { name, rooms: parsed_rooms, lists_rooms, resume: Resume::No };
        let entered = self.chat.enter(tag, home_of(home), hello, &reference_boxed, self.now());
        let rooms = if rooms.is_empty() { vec!["lobby".to_owned()] } else { rooms };
        let expected = if self.shadow.is_taken(&text, None, home, now) {
            Err("name-taken")
        } else if !self.shadow.has_place(&rooms[0], home, now) {
            Err("full")
        } else {
            Ok(())
        };
        match (entered, expected) {
            (Ok(id), Ok(())) => {
                self.shadow.take_back(&text, home);
                self.shadow.people.push(Person {
                    tag,
                    id,
                    home,
                    name: text,
                    rooms: Vec::new(),
                    ignores: Vec::new(),
                    gave_up: Vec::new(),
                });
                self.shadow.arrive(tag, &rooms[0], true, now);
                let history = self.shadow.limits.history_on_join;
                self.shadow.settle(tag, &rooms, lists_rooms, history, now, reference);
            }
            (Err(refusal), Err(code)) => assert_eq!(refusal.code.as_str(), code, "{text} into {rooms:?}"),
            (entered, expected) => panic!("{text} into {rooms:?}: {entered:?}, but {expected:?}"),
        }
    }

    /// Some rooms, each once, as they are called and as they are asked for.
    fn some_rooms(&mut self, least: usize) -> (Vec<String>, Vec<RoomName>) {
        let (mut rooms, mut parsed_rooms) = (Vec::new(), Vec::new());
        for _ in 0..least + self.rng.below(4) {
            let room = ROOMS[self.rng.below(ROOMS.len())];
            if !rooms.contains(&room_name(room)) {
                rooms.push(room_name(room));
                parsed_rooms.push(RoomName::parse(room).expect("a good name"));
            }
        }
        (rooms, parsed_rooms)
    }

    fn leaves(&mut self) {
        let place = self.rng.below(self.shadow.people.len());
        let Person { tag, id, .. } = self.shadow.people[place];
        let why = [None, Some(Why::Timeout), Some(Why::Slow), Some(Why::Reset)][self.rng.below(4)];
        self.chat.leave(id, why, self.now());
        self.listening.remove(&tag);
        let told = why.as_ref().map(ToString::to_string);
        let Person { name, home, .. } = self.shadow.leave_server(place, told.as_deref(), self.now);
        if why.is_some() {
            self.shadow.held.push(Held { name, home, until: self.now + HOLD_MS });
        }
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
        let is_named = self.rng.chance(50);
        let (named, parsed_named) = (is_named.then(|| room.clone()), is_named.then(|| parsed_room.clone()));
        let (hello_rooms, parsed_hello_rooms) = self.some_rooms(0);
        let now = self.now;
        let shadow = &mut self.shadow;
        let (command, expected) = match self.rng.below(20) {
            0..4 => {
                let expected = shadow.say(tag, named.as_ref(), &text, false, now, reference);
                (Command::Say { room: parsed_named, body }, expected)
            }
            4 => {
                let expected = shadow.say(tag, named.as_ref(), &text, true, now, reference);
                (Command::Act { room: parsed_named, body }, expected)
            }
            5 | 6 => {
                let expected = shadow.tell_one(tag, name, &text, reference);
                (Command::Tell { to: name.into(), body }, expected)
            }
            7 | 8 if shadow.person(tag).name == name => (Command::Nick(parsed), Err("bad-argument")),
            7 | 8 => (Command::Nick(parsed), shadow.rename(tag, name, now, reference)),
            9 => {
                // The name and the first room: both or neither.
                let lists_rooms = self.rng.chance(50);
                let home = shadow.person(tag).home;
                let first = hello_rooms.first().cloned();
                let expected = if shadow.is_taken(name, Some(tag), home, now) {
                    Err("name-taken")
                } else if !first.as_ref().is_none_or(|room| shadow.has_place(room, home, now)) {
                    Err("full")
                } else {
                    shadow.rename(tag, name, now, None).expect("a free name");
                    let is_new = first.is_some_and(|room| shadow.go(tag, &room, now) == Ok(true));
                    let history = shadow.limits.history_on_join.filter(|_| is_new);
                    shadow.settle(tag, &hello_rooms, lists_rooms, history, now, reference);
                    Ok(())
                };
                let (name, rooms) = (parsed, parsed_hello_rooms);
                (Command::Hello(Hello { name, rooms, lists_rooms, resume: Resume::No }), expected)
            }
            10 | 11 => (Command::Join(parsed_room), shadow.join(tag, &room, now, reference)),
            15 => {
                let expected = shadow.leave_room(tag, named.as_ref(), now, reference);
                (Command::Leave { room: parsed_named }, expected)
            }
            16..19 => {
                let (clock, is_to) = (shadow.ignorings + 1, self.rng.chance(60));
                let person = shadow.person(tag);
                let had = person.ignores.iter().any(|(ignored, _)| *ignored == folded(name));
                let expected = match is_to {
                    true if folded(&person.name) == folded(name) => Err("bad-argument"),
                    false if !had => Err("bad-argument"),
                    _ => {
                        person.ignores.retain(|(ignored, _)| is_to || *ignored != folded(name));
                        person.ignores.extend((is_to && !had).then(|| (folded(name), clock)));
                        let count = person.ignores.len();
                        shadow.ignorings += usize::from(is_to && !had);
                        shadow.tell(tag, format!("ignored {count} {reference:?}"));
                        Ok(())
                    }
                };
                (if is_to { Command::Ignore(parsed) } else { Command::Unignore(parsed) }, expected)
            }
            12 => {
                let expected = shadow.meant(tag, named.as_ref()).map(|room| {
                    let users = shadow.who(&room).join(",");
                    shadow.tell(tag, format!("users {room} [{users}] {reference:?}"));
                });
                (Command::Who { room: parsed_named }, expected)
            }
            13 => {
                let mut rooms: Vec<(String, usize)> =
                    shadow.places.iter().map(|p| (p.name.clone(), shadow.members(&p.name))).collect();
                rooms.sort();
                let joined: Vec<&String> = shadow.person(tag).rooms.iter().rev().collect();
                let line = format!("rooms {rooms:?} {joined:?} {reference:?}");
                shadow.tell(tag, line);
                (Command::Rooms, Ok(()))
            }
            _ => {
                let newest = shadow.person(tag).room().to_owned();
                let newest = shadow.place(&newest).newest as usize;
                let mut an_id = || self.rng.chance(40).then(|| self.rng.below(newest + 3) as u64);
                let (before, after) = (an_id(), an_id());
                let query = HistoryQuery { limit: 1 + self.rng.below(12), before, after, skip: 0 };
                let expected = shadow.history(tag, named.as_ref(), query, reference);
                (Command::History { room: parsed_named, query }, expected)
            }
        };
        let shown = format!("{command:?}");
        let done = self.chat.command(id, command, &reference.map(Into::into), self.now());
        assert_eq!(done.map_err(|refusal| refusal.code.as_str()), expected, "{shown}");
    }

    /// Carries out what the chat wants done, and compares who heard what.
    fn compare(&mut self) {
        let mut heard: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut last_due = 0;
        while let Some(output) = self.store.poll_output(&mut self.chat, at(self.now)) {
            match output {
                Output::RoomOpened { room } => {
                    let name = self.shadow.opens.pop_front().expect("a room that is asked for");
                    self.shadow.place(&name).number = Some(room);
                    assert_eq!(self.numbers.insert(room, name), None, "a number that is free");
                    self.rooms_max = self.rooms_max.max(self.numbers.len());
                    assert!((room as usize) < self.rooms_max, "numbers are dense");
                }
                Output::RoomClosed { room } => {
                    let name = self.numbers.remove(&room).expect("a room that is open");
                    let expected = self.shadow.closes.pop_front();
                    assert_eq!(Some(room), expected, "{name} was not the one to make place");
                    assert!(!self.listening.values().any(|rooms| rooms.contains(&room)), "{name} is in use");
                }
                Output::Entered { tag, room, is_current } => {
                    assert!(self.numbers.contains_key(&room));
                    let rooms = self.listening.entry(tag).or_default();
                    assert!(!rooms.contains(&room));
                    rooms.insert(if is_current { rooms.len() } else { 0 }, room);
                }
                Output::Turned { tag, room } => {
                    let rooms = self.listening.get_mut(&tag).expect("somebody who is here");
                    let place =
                        rooms.iter().position(|&joined| joined == room).expect("a room that it is in");
                    let room = rooms.remove(place);
                    rooms.push(room);
                }
                Output::Left { tag, room } => {
                    let rooms = self.listening.get_mut(&tag).expect("somebody who is here");
                    assert_ne!(rooms.last(), Some(&room), "it has another current room before");
                    rooms.retain(|&joined| joined != room);
                }
                Output::ToRoom { room, event, author, except } => {
                    let name = &self.numbers[&room];
                    assert_eq!(author, self.author(&event));
                    let line = event_line(&event);
                    let listeners = self.listening.iter().filter(|(_, rooms)| rooms.contains(&room));
                    for (&tag, _) in listeners.clone().filter(|(tag, _)| !except.contains(tag)) {
                        heard.entry(tag).or_default().push(format!("#{name} {line}"));
                    }
                    match event {
                        Event::Left { .. } => assert!(listeners.count() > 0, "who hears {line} in {name}?"),
                        Event::Crowd { .. } => {
                            let due = self.shadow.sums[name];
                            assert!(due >= std::mem::replace(&mut last_due, due), "{name} is told too late");
                        }
                        _ => {}
                    }
                }
                Output::Ask(_) | Output::Settled { .. } | Output::TakenOver { .. } => {
                    panic!("{output:?}: this store answers at once, and nobody has a session")
                }
                Output::ToMember { tag, reply, reference } => {
                    let here = &self.listening[&tag];
                    let line = reply_line(&reply, reference.as_deref(), &self.chat, here);
                    heard.entry(tag).or_default().push(line);
                }
            }
        }
        assert_eq!(heard, std::mem::take(&mut self.shadow.inbox));
        self.shadow.sums.clear();
        assert!(self.shadow.opens.is_empty(), "a room was to be made");
        assert!(self.shadow.closes.is_empty(), "a room was to make place");
        assert_eq!(self.listening.len(), self.shadow.people.len());
        for person in &self.shadow.people {
            let rooms = self.listening[&person.tag].iter().map(|room| &self.numbers[room]);
            assert!(rooms.eq(&person.rooms), "{} listens to the wrong rooms", person.name);
        }
    }

    /// Whose doing an event is: messages have an author, nothing else.
    fn author(&self, event: &Event) -> Option<u64> {
        let Event::Message(message) = event else { return None };
        let author = self.shadow.people.iter().find(|person| person.name == message.from.as_str());
        Some(author.expect("somebody who is here").tag)
    }
}

fn said(message: &Message) -> String {
    let Message { id, at_ms, from, is_action, body } = message;
    format!("said {id} {at_ms} {from} {is_action} {body}")
}

/// Who is in a room, in the order of the names.
fn users(room: RoomView<'_>) -> Vec<&str> {
    let mut names: Vec<&str> = room.users().map(Name::as_str).collect();
    assert_eq!(names.len(), room.total());
    names.sort_unstable();
    names
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

/// What a member is told that is in the rooms `here`. The rest of it is read in the chat now.
fn reply_line(reply: &Reply, reference: Option<&str>, chat: &Chat, here: &[u32]) -> String {
    match reply {
        Reply::Welcome { name, room, history, session } => {
            assert_eq!(*session, None, "nobody asked for one");
            assert_eq!(Some(room), here.last());
            let room = chat.room(*room);
            let kept: Vec<String> = room.history(*history).messages.iter().map(|m| said(m)).collect();
            let (users, room, newest, epoch) =
                (users(room).join(","), room.name().as_str(), room.newest_id(), room.epoch_ms());
            format!("welcome {name} {room} {newest} {epoch} [{users}] {kept:?} {reference:?}")
        }
        Reply::Private { from, to, body } => {
            assert_eq!(reference, None);
            format!("private {from} {to} {body}")
        }
        Reply::PrivateSent { from, to, body } => {
            assert_eq!(reference, None);
            format!("sent {from} {to} {body}")
        }
        Reply::Ignored { names } => format!("ignored {} {reference:?}", names.len()),
        Reply::Ack { id, .. } => format!("ack {id:?} {}", reference.expect("an ack has a mark")),
        Reply::Room { room, rooms, .. } => {
            assert!(here.contains(room) && *rooms == here.len());
            format!("room {} of {rooms}", chat.room(*room).name().as_str())
        }
        Reply::NoRoom { room, refusal } => format!("no room {} {}", room.as_str(), refusal.code.as_str()),
        Reply::Left { name, room } => {
            assert!(!here.contains(room));
            let room = chat.room(*room);
            format!("you left {name} {} {} {reference:?}", room.name().as_str(), room.total())
        }
        Reply::Users { room } => {
            assert!(here.contains(room));
            let room = chat.room(*room);
            format!("users {} [{}] {reference:?}", room.name().as_str(), users(room).join(","))
        }
        Reply::Rooms { joined } => {
            let joined: Vec<&str> = joined.iter().map(|&room| chat.room(room).name().as_str()).collect();
            let mut rooms: Vec<(&str, usize)> =
                chat.rooms().map(|room| (room.name().as_str(), room.total())).collect();
            rooms.sort_unstable();
            format!("rooms {rooms:?} {joined:?} {reference:?}")
        }
        Reply::NotSaved { refusal } => panic!("{refusal:?}: everything is saved"),
        Reply::History { room, page, .. } => {
            assert!(here.contains(room));
            let room = chat.room(*room);
            let (messages, has_more) = (&page.messages, page.more);
            let lines: Vec<String> = messages.iter().map(|m| said(m)).collect();
            format!("history {} {lines:?} {has_more} {reference:?}", room.name().as_str())
        }
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
                run.check_state();
            }
        });
        assert!(
            outcome.is_ok(),
            "failed: ROOMD_SEED={seed} ROOMD_STEPS={steps} cargo test --test chat_state"
        );
    }
}

/// A welcome lists some of the names; whoever reads it is on it, and all are counted.
#[test]
fn a_short_list_of_names_has_the_newcomer_on_it() {
    const IN_TEXT_MAX: usize = 20;
    const IN_JSON_MAX: usize = 1000;
    let now = at(1);
    let mut chat = Chat::new(Limits { quiet_above: Some(1), ..Limits::default() }, now);
    for count in 1..=IN_JSON_MAX + 10 {
        // The names rise and fall, so that the newcomer is anywhere among them.
        let name = Name::parse(&format!("user-{}", count * 7919 % 1999)).expect("a good name");
        let hello = Hello::new(name.clone(), None);
        chat.enter(count as u64, home_of(0), hello, &None, now).expect("there is room");
        let mut is_welcome = false;
        while let Some(output) = chat.poll_output() {
            let Output::ToMember { reply, .. } = output else { continue };
            assert!(matches!(reply, Reply::Welcome { .. }));
            is_welcome = true;
            assert_eq!(users(chat.room(0)).len(), count);

            let mut lines = Vec::new();
            text::reply(now.unix_ms, &reply, &chat, &mut |line: &str| lines.push(line.to_owned()));
            let [line] = &lines[..] else { panic!("one line, not {lines:?}") };
            let list = line.strip_prefix(&format!("* welcome {name} - #lobby, {count} here: "));
            let (list, more) = list.expect("a welcome").split_once(" and ").map_or_else(
                || (list.expect("a welcome"), None),
                |(list, more)| (list, Some(more.to_owned())),
            );
            let names: Vec<&str> = list.split(", ").collect();
            assert_eq!(names.len(), count.min(IN_TEXT_MAX));
            assert_eq!(more, (count > IN_TEXT_MAX).then(|| format!("{} more", count - IN_TEXT_MAX)));
            assert!(names.contains(&name.as_str()) && names.is_sorted());

            // All of them take long.
            if count % 100 == 0 || count > IN_JSON_MAX - 5 {
                let document = json::reply(now.unix_ms, &reply, &None, &chat);
                let event = serde_json::from_str(&document).expect("an event");
                let EventDocument::<String>::Hello { users, total, .. } = event else { panic!("{document}") };
                assert_eq!((users.len(), total), (count.min(IN_JSON_MAX), count));
                assert!(users.contains(&name.to_string()) && users.is_sorted());
            }
        }
        assert!(is_welcome);
    }
}

// ---- many rooms

/// Members who go from room to room together, and what must come of it.
struct Travel {
    chat: Chat,
    travellers: Vec<MemberId>,
    /// How many are in the rooms there are, by number.
    members: BTreeMap<u32, usize>,
    /// Since when rooms but the lobby are empty.
    /// By the order in which they became empty.
    empty: BTreeMap<usize, u32>,
    moves: usize,
    /// When the sums of rooms are due.
    due: BTreeMap<u32, u64>,
}

impl Travel {
    fn new(travellers: u64, max_rooms: Option<usize>) -> Self {
        // Two are a crowd.
        let limits = Limits { max_rooms, quiet_above: Some(1), max_per_ip: None, ..Limits::default() };
        let mut chat = Chat::new(limits, at(1));
        let mut enter = |tag: u64| {
            let name = Name::parse(&format!("traveller-{tag}")).expect("a good name");
            let hello = Hello::new(name, None);
            let id = chat.enter(tag, home_of(0), hello, &None, at(1)).expect("there is room");
            while chat.poll_output().is_some() {}
            id
        };
        let travellers: Vec<MemberId> = (0..travellers).map(&mut enter).collect();
        let lobby = chat.room_number(&RoomName::lobby()).expect("the lobby");
        let members = BTreeMap::from([(lobby, travellers.len())]);
        let due = if travellers.len() > 1 { BTreeMap::from([(lobby, 1 + SUM_MS)]) } else { BTreeMap::new() };
        Self { chat, travellers, members, empty: BTreeMap::new(), moves: 0, due }
    }

    fn go(&mut self, traveller: usize, from: &RoomName, to: &RoomName, now: u64) {
        let from = self.chat.room_number(from).expect("a room that somebody is in");
        let id = self.travellers[traveller];
        let hello = Hello::new(self.chat.name(id).clone(), Some(to.clone()));
        self.chat.command(id, Command::Hello(hello), &None, at(now)).expect("there is room");
        let (mut opened, mut closed, mut entered) = (None, None, None);
        while let Some(output) = self.chat.poll_output() {
            match output {
                Output::RoomOpened { room } => assert_eq!(opened.replace(room), None),
                Output::RoomClosed { room } => assert_eq!(closed.replace(room), None),
                Output::Entered { tag, room, is_current: true } => {
                    assert_eq!(tag, traveller as u64);
                    entered = Some(room);
                }
                Output::Turned { .. } | Output::Left { .. } | Output::Ask(_) => {}
                Output::ToRoom { event: Event::Joined { total, .. }, .. } => assert_eq!(total, 1),
                Output::ToMember { tag, reply: Reply::Welcome { room, .. }, .. } => {
                    assert_eq!((tag, Some(room)), (traveller as u64, entered));
                }
                other => panic!("{other:?}"),
            }
        }
        let here = entered.expect("a room that was entered");
        assert_eq!(self.chat.room(here).name(), to);
        // The lobby, one for each of them, and those that are empty.
        let rooms_max = 1 + self.travellers.len() + EMPTY_ROOMS_MAX;
        assert!(here as usize <= rooms_max, "numbers are dense");

        // The same by the rules.
        if let Some(room) = opened {
            assert_eq!((room, self.members.insert(room, 0)), (here, None), "a room that is not there yet");
        }
        self.moves += 1;
        self.empty.retain(|_, room| *room != here);
        *self.members.get_mut(&here).expect("a room that is there") += 1;
        if self.members[&here] > 1 {
            self.due.entry(here).or_insert(now + SUM_MS);
        }
        *self.members.get_mut(&from).expect("a room that is there") -= 1;
        let lobby = self.chat.room_number(&RoomName::lobby()).expect("the lobby");
        match self.members[&from] {
            0 if from == lobby => {}
            0 => drop(self.empty.insert(self.moves, from)),
            _ => drop(self.due.entry(from).or_insert(now + SUM_MS)),
        }
        let forgotten = if self.empty.len() > EMPTY_ROOMS_MAX { self.empty.pop_first() } else { None };
        if let Some((_, room)) = forgotten {
            self.members.remove(&room);
            self.due.remove(&room);
        }
        assert_eq!(
            closed,
            forgotten.map(|(_, room)| room),
            "the room that is empty for longest is forgotten"
        );
        assert_eq!(self.chat.rooms().len(), self.members.len());
        assert!(self.members.len() <= rooms_max);
    }

    /// Tells the sums that are due, and no others, in the order in which they are.
    fn expire(&mut self, now: u64) {
        let next = self.due.values().min().map_or(Millis::NEVER, |&due| Millis(due));
        assert_eq!(self.chat.deadline(), next);
        self.chat.expire(at(now));
        let mut last = 0;
        while let Some(output) = self.chat.poll_output() {
            let Output::ToRoom { room, event: Event::Crowd { total, .. }, .. } = output else {
                panic!("{output:?}")
            };
            assert_eq!(total, self.members[&room]);
            let due = self.due.remove(&room).expect("a sum that is to be told");
            assert!((last..=now).contains(&due), "due at {due}, told at {now} after that of {last}");
            last = due;
        }
        assert!(self.due.values().all(|&due| due > now), "a sum was not told");
    }
}

/// Members go to each of so many rooms, and again from the first until they have seen 3000.
fn travel(travellers: u64, max_rooms: Option<usize>, rooms: usize, pace: impl Fn(usize) -> u64) {
    let mut travel = Travel::new(travellers, max_rooms);
    let (mut now, mut here) = (1, RoomName::lobby());
    for visit in 0..3000 {
        now += pace(visit);
        travel.expire(now);
        let there = RoomName::parse(&format!("room-{}", visit % rooms)).expect("a good name");
        (0..travellers as usize).for_each(|traveller| travel.go(traveller, &here, &there, now));
        if visit % 50 == 0 {
            travel.chat.check_invariants();
        }
        here = there;
    }
    assert_eq!(travel.empty.len(), EMPTY_ROOMS_MAX.min(rooms - 1));
    travel.expire(now + SUM_MS);
    assert_eq!(travel.chat.deadline(), Millis::NEVER);
    travel.chat.check_invariants();
}

/// However many rooms there may be and however fast they are made.
#[test]
fn at_most_1024_empty_rooms_are_remembered() {
    for max_rooms in [None, Some(2000)] {
        travel(1, max_rooms, 3000, |_| 1);
        travel(1, max_rooms, 3000, |_| 0);
        travel(1, max_rooms, 3000, |visit| u64::from(visit % 7 == 0));
    }
    travel(1, None, 1000, |_| 1);
}

/// Nor do those who disconnect leave more behind.
#[test]
fn at_most_1024_rooms_are_remembered_of_those_who_are_gone() {
    let mut chat = Chat::new(Limits { max_rooms: None, ..Limits::default() }, at(1));
    let room = |visit: usize| RoomName::parse(&format!("room-{visit}")).expect("a good name");
    for visit in 0..3000 {
        let now = at(visit as u64);
        let name = chat.guest_name(home_of(0), now);
        let id = chat
            .enter(visit as u64, home_of(0), Hello::new(name, Some(room(visit))), &None, now)
            .expect("there is room");
        chat.leave(id, None, now);
        while chat.poll_output().is_some() {}
        let visits = visit + 1;
        assert_eq!(chat.rooms().len(), 1 + visits.min(EMPTY_ROOMS_MAX));
        let is_remembered = |visit: usize| chat.room_number(&room(visit)).is_some();
        let oldest = visits.saturating_sub(EMPTY_ROOMS_MAX);
        assert!(is_remembered(visit) && is_remembered(oldest));
        assert!(oldest.checked_sub(1).is_none_or(|forgotten| !is_remembered(forgotten)));
    }
    chat.check_invariants();
}

/// Rooms that are forgotten in between tell nothing.
#[test]
fn sums_of_joins_and_leaves_are_told_in_the_order_in_which_they_are_due() {
    // All of them at the end; each in its time; many at once.
    travel(2, None, 3000, |_| 0);
    travel(2, None, 3000, |_| 1);
    travel(3, None, 3000, |visit| if visit % 700 == 0 { 900 } else { 0 });
    travel(2, None, 500, |visit| if visit % 10 == 0 { 30 } else { 0 });
}

/// All rooms but one's own are remembered, and one goes back to the next that would be forgotten.
#[test]
fn one_can_go_back_to_the_room_that_has_been_empty_for_longest() {
    travel(1, None, EMPTY_ROOMS_MAX + 1, |_| 1);
    travel(1, None, EMPTY_ROOMS_MAX + 1, |_| 0);
    travel(2, None, EMPTY_ROOMS_MAX + 1, |_| 1);
}

/// A room that is left and renamed in by its last member was told so when it was no more, and the daemon died of it.
#[test]
fn nothing_is_told_to_a_room_that_is_forgotten() {
    let limits = Limits { max_rooms: None, ..Limits::default() };
    let mut chat = Chat::new(limits, at(1));
    let name = |name: &str| Name::parse(name).expect("a good name");
    let room = |number: usize| RoomName::parse(&format!("r{number}")).expect("a good name");
    let mut enter = |tag, who, number| {
        let hello = Hello::new(name(who), Some(room(number)));
        chat.enter(tag, home_of(0), hello, &None, at(1)).expect("there is room")
    };
    let (bob, alice) = (enter(1, "bob", 9999), enter(2, "alice", 0));
    for number in 1..=EMPTY_ROOMS_MAX {
        let hello = Hello::new(name("alice"), Some(room(number)));
        chat.command(alice, Command::Hello(hello), &None, at(1)).expect("there is room");
        while chat.poll_output().is_some() {}
    }
    let hello = Hello::new(name("rob"), Some(RoomName::lobby()));
    chat.command(bob, Command::Hello(hello), &None, at(1)).expect("there is room");
    while let Some(output) = chat.poll_output() {
        if let Output::ToRoom { room, .. } = output {
            assert!(chat.room(room).total() < 3, "a room that is there");
        }
    }
    chat.check_invariants();
}

/// Otherwise each newcomer to a room that is just not crowded costs as many deliveries as it has members.
#[test]
fn a_storm_of_joins_is_summed_up_below_the_limit_too() {
    let limits = Limits { quiet_above: Some(256), ..Limits::default() };
    let mut chat = Chat::new(limits, at(1));
    let mut enter = |i: u64, stays: bool, now: u64| {
        let name = Name::parse(&format!("user-{i}")).expect("a good name");
        let hello = Hello::new(name, None);
        let id = chat.enter(i, Home::default(), hello, &None, at(now)).expect("there is room");
        if !stays {
            chat.leave(id, None, at(now));
        }
        chat.expire(at(now));
        let outputs = std::iter::from_fn(|| chat.poll_output());
        outputs.filter(|o| matches!(o, Output::ToRoom { event: Event::Joined { .. }, .. })).count()
    };
    for i in 0..200 {
        enter(i, true, 1 + i * 2000);
    }
    let told: usize = (0..1000).map(|i| enter(1000 + i, false, 1_000_000 + i / 2)).sum();
    assert!((5..=20).contains(&told), "{told} of 1000 joins were told to 200 members one by one");
    let told: usize = (0..10).map(|i| enter(5000 + i, false, 2_000_000 + i * 2000)).sum();
    assert!(told >= 9, "the storm is over, and {told} of 10 were told");
}
