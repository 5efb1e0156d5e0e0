//! What one client has to be told, line by line: everything that is published in its rooms, in that order, each line as
//! it has to stand there; and its answers at the place at which they were given.
//!
//! It is in the rooms that it was told it is in. When that changes, everybody in these rooms was told so at one place of
//! the chronicle: what stands before it there has to be heard before the answer, and nothing else.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::chronicle::{Chronicle, What, author_of};
use crate::client::{Client, Told};
use crate::random::{Private, ROOMS};
use crate::setting::JOINED_MAX;

/// A room that the client is in.
#[derive(Debug, Clone)]
struct Joined {
    name: String,
    /// It hears what is published from there on.
    since: usize,
    /// The newest id that it knows of, in a room that nobody observes.
    newest_id: Option<u64>,
}

impl Joined {
    fn is_observed(&self) -> bool {
        ROOMS.contains(&&*self.name)
    }
}

/// A client, while what it was told is gone through.
pub struct Shadow<'a> {
    chronicle: &'a Chronicle,
    privates: &'a [Private],
    who: usize,
    client: &'a Client,
    /// Nothing is summed up: everybody is told of all who come and leave.
    is_exact: bool,
    /// The last that it was told is not the first part of something.
    is_whole: bool,
    /// The current one, the one that was current before it, and so on.
    rooms: Vec<Joined>,
    /// Everything before this place of the chronicle has happened.
    next: usize,
    /// It was in a room that nobody observes, and may have been so behind that place.
    was_aside: bool,
    /// How often it has entered each room, and left it.
    changes: BTreeMap<(String, bool), usize>,
    pongs: usize,
    /// The lines that have to follow at once, of a message of which it has heard the first one.
    rest: VecDeque<String>,
    pub tally: Tally,
}

/// What has to be seen in many runs: what never happens is not tested.
pub const SEEN: [&str; 17] = [
    "all at once",
    "evicted",
    "full",
    "given up in several rooms",
    "in as many rooms as it may",
    "labelled",
    "left another one",
    "left the current one",
    "left the last one",
    "no-such-user",
    "not-here",
    "said in another room than the current one",
    "renamed through another room",
    "several lines",
    "slow in several rooms",
    "throttled",
    "turned",
];

/// What was seen how often.
#[derive(Debug, Default)]
pub struct Tally(pub BTreeMap<&'static str, usize>);

impl Tally {
    pub fn count(&mut self, what: &'static str, count: usize) {
        *self.0.entry(what).or_default() += count;
    }
}

impl<'a> Shadow<'a> {
    pub fn new(
        chronicle: &'a Chronicle,
        privates: &'a [Private],
        who: usize,
        client: &'a Client,
        is_exact: bool,
        is_whole: bool,
    ) -> Self {
        let (rooms, changes, tally) = (Vec::new(), BTreeMap::new(), Tally::default());
        Self {
            chronicle,
            privates,
            who,
            client,
            is_exact,
            is_whole,
            rooms,
            next: 0,
            was_aside: false,
            changes,
            pongs: 0,
            rest: VecDeque::new(),
            tally,
        }
    }

    /// Goes through everything that the client was told.
    pub fn follow(&mut self) {
        let told = &self.client.told;
        for (index, one) in told.iter().enumerate() {
            let rest = &told[index + 1..];
            let is_line = matches!(one, Told::Heard(_));
            assert!(is_line || self.rest.is_empty() || *one == Told::Bye("slow"), "{}: {one:?}", self.who);
            // Whoever leaves the last room is in the lobby in the same moment.
            let has_left_last = index > 0
                && matches!(&told[index - 1], Told::Left(room) if self.rooms.iter().all(|r| r.name == *room));
            match one {
                Told::Welcome { room, newest_id, is_all } => {
                    self.welcome(room, *newest_id, *is_all || has_left_last, rest);
                }
                Told::Left(room) => self.leave(room, rest),
                Told::Also { .. } | Told::Older(_) => {
                    let last = index.checked_sub(1).map(|last| &told[last]);
                    let is_listed = matches!(
                        (last, one),
                        (Some(Told::Welcome { .. } | Told::Also { .. }), Told::Also { .. })
                            | (Some(Told::Welcome { .. } | Told::Older(_)), Told::Older(_))
                    );
                    assert!(is_listed, "{} was told out of the blue of {one:?}", self.who);
                }
                Told::Heard(line) => self.hear(line),
                Told::Private(body) => {
                    let number: usize = body.strip_prefix("psst-").unwrap().parse().unwrap();
                    let Private { from, said_before, .. } = self.privates[number];
                    self.is_between(self.chronicle.between_messages(from, said_before), body);
                }
                Told::Pong => {
                    let said_before = self.client.pings[self.pongs];
                    self.pongs += 1;
                    self.is_between(self.chronicle.between_messages(self.who, said_before), "pong");
                }
                Told::Done(reference) => {
                    let (_, number) = author_of(reference).unwrap();
                    if let Some(at) = self.chronicle.message(self.who, number) {
                        assert_eq!(self.next, at + 1, "{} was answered elsewhere than {reference}", self.who);
                    }
                }
                Told::Refused { text, reference } => self.refused(text, reference),
                Told::Bye(why) => {
                    let is_last = rest.iter().all(|told| *told == Told::Other);
                    assert!(is_last, "{} was told something after its end: {rest:?}", self.who);
                    if ["quit", "timeout"].contains(why) {
                        self.end();
                    }
                }
                Told::Other => {}
            }
        }
    }

    /// It is still there: it has heard everything.
    pub fn stay(&mut self) {
        self.is_between((self.chronicle.events.len(), usize::MAX), "the end");
    }

    /// It has left in good order: it has heard everything that was published before.
    pub fn end(&mut self) {
        self.change_rooms(Vec::new(), &[]);
    }

    fn is_aside(&self) -> bool {
        self.was_aside || self.rooms.iter().any(|room| !room.is_observed())
    }

    /// It is exactly at this place.
    fn is_at(&mut self, next: usize) {
        (self.next, self.was_aside) = (next, false);
    }

    /// How it has to be told something; none if it must not hear that.
    fn due(&self, at: usize) -> Option<String> {
        let event = &self.chronicle.events[at];
        let is_program = self.client.is_json();
        let through = match &event.what {
            What::Said if !self.client.echoes() && event.who == Some(self.who) => None,
            // Told through the first room that is shared, and it is not known who is in rooms that nobody observes.
            What::Renamed { rooms } if self.is_exact && !self.is_aside() => {
                self.rooms.iter().position(|room| rooms.contains(&room.name))
            }
            What::Said => self.rooms.iter().position(|room| room.name == event.room),
            What::Joined | What::Left { .. } if self.is_exact => {
                self.rooms.iter().position(|room| room.name == event.room)
            }
            _ => None,
        };
        let index = through.filter(|&index| self.rooms[index].since <= at)?;
        Some(event.told(is_program, &self.rooms[index].name, index == 0))
    }

    /// Whether a change of a name may be told so, to somebody of whose rooms some are not observed.
    fn may_be_told(&self, at: usize, line: &str) -> bool {
        let event = &self.chronicle.events[at];
        let is_it = |(index, room): (usize, &Joined)| {
            event.told(self.client.is_json(), &room.name, index == 0) == line
        };
        matches!(event.what, What::Renamed { .. })
            && self.is_aside()
            && self.rooms.iter().enumerate().any(is_it)
    }

    /// What it is told now happened between two places of the chronicle: what stands before them was heard.
    fn is_between(&mut self, (first, last): (usize, usize), what: &str) {
        for at in self.next..first {
            let due = self.due(at);
            assert_eq!(due, None, "{} did not hear this before {what}, in {:?}", self.who, self.rooms);
        }
        self.next = self.next.max(first);
        let late = || self.chronicle.events[self.next - 1].told(true, "", true);
        assert!(self.next <= last, "{} heard {} before {what}", self.who, late());
    }

    fn hear(&mut self, line: &str) {
        if let Some(next) = self.rest.pop_front() {
            self.tally.count("several lines", 1);
            return assert_eq!(line, next, "{}", self.who);
        }
        let (room, id, body) = self.parse(line);
        let Some(index) = self.rooms.iter().position(|joined| joined.name == room) else {
            panic!("{} heard this through the wall: {line}", self.who);
        };
        let is_labelled = !self.client.is_json() && index > 0;
        self.tally.count("labelled", usize::from(is_labelled));
        self.tally
            .count("renamed through another room", usize::from(is_labelled && line.contains(" is now ")));
        if let Some(body) = &body
            && let Some((author, number)) = author_of(body)
            && author == self.who
        {
            assert!(self.client.echoes(), "{} got its own line {body}", self.who);
            let named = self.client.said[number].as_deref().unwrap_or(&self.rooms[0].name);
            assert_eq!(named, room, "{} said {body} elsewhere", self.who);
            self.tally.count("said in another room than the current one", usize::from(index > 0));
        }
        let joined = &mut self.rooms[index];
        if !joined.is_observed() {
            // In rooms that come and go ids count without a hole, from the one that it was told when it came.
            if id.is_some() {
                assert!(joined.newest_id.is_none_or(|newest| Some(newest + 1) == id), "{}: {line}", self.who);
                joined.newest_id = id;
            }
            return;
        }
        if !self.is_exact && body.is_none() {
            return;
        }
        for at in self.next..self.chronicle.events.len() {
            let due = self.due(at);
            if due.is_some() || self.may_be_told(at, line) {
                let mut lines = due.as_deref().unwrap_or(line).lines();
                assert_eq!(lines.next(), Some(line), "{} in {:?}", self.who, self.rooms);
                self.rest = lines.map(Into::into).collect();
                return self.is_at(at + 1);
            }
        }
        panic!("{} heard what was not said, or was said before: {line}", self.who);
    }

    /// The room of a line or a document, its id if that is known, and its body if it is a message.
    fn parse(&self, line: &str) -> (String, Option<u64>, Option<String>) {
        if self.client.is_json() {
            let value: Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| value[field].as_str().map(ToOwned::to_owned);
            return (text("room").unwrap(), value["id"].as_u64(), text("body"));
        }
        let (room, line) = match line.strip_prefix('#').and_then(|rest| rest.split_once(' ')) {
            Some((room, line)) => {
                assert_ne!(
                    self.rooms.first().map(|r| &*r.name),
                    Some(room),
                    "{}: the label of its current room: {line}",
                    self.who
                );
                (room, line)
            }
            None => (self.rooms.first().map_or("", |room| &room.name), line),
        };
        let body = line.split_once(": ").filter(|_| !line.starts_with('*')).map(|(_, body)| body.to_owned());
        (room.to_owned(), None, body)
    }

    /// It is in a room, which is its current one; or in those that are listed in the `rest`, and no others.
    fn welcome(&mut self, room: &str, newest_id: Option<u64>, is_all: bool, rest: &[Told]) {
        let is_new = self.rooms.iter().all(|joined| joined.name != room);
        self.tally.count("turned", usize::from(!is_new && self.rooms[0].name != room));
        let mut newest = Vec::new();
        match newest_id {
            Some(id) => newest.push((room, id)),
            None => newest.extend(self.newest_shown(room, is_new, rest).map(|id| (room, id))),
        }
        let mut names = vec![room.to_owned()];
        if is_all {
            let also = rest.iter().map_while(|told| match told {
                Told::Also { room, newest_id } => Some((room.as_str(), newest_id.unwrap())),
                _ => None,
            });
            let also: Vec<(&str, u64)> = also.collect();
            if also.len() == rest.len() && !self.is_whole {
                return;
            }
            assert!(also.first().is_none_or(|(first, _)| *first == room), "the current one comes first");
            names.extend(also.iter().skip(1).map(|(name, _)| (*name).to_owned()));
            // Those that it was in are as they were, in front of those that are new.
            let last = self.rooms.iter().map(|joined| &joined.name);
            let kept: Vec<_> = last.filter(|name| *name != room && names.contains(name)).collect();
            assert!(names.iter().skip(1).take(kept.len()).eq(kept), "{}: {names:?}", self.who);
            newest.extend(also.iter().skip(1));
            self.tally.count("all at once", 1);
        } else {
            names.extend(self.rooms.iter().map(|joined| joined.name.clone()).filter(|name| name != room));
        }
        assert!(names.len() <= JOINED_MAX, "{} is in too many rooms: {names:?}", self.who);
        self.tally.count("in as many rooms as it may", usize::from(names.len() == JOINED_MAX));
        for (room, id) in newest.iter().filter(|(room, _)| ROOMS.contains(room)) {
            self.is_between(self.chronicle.between_ids(room, *id), room);
        }
        self.change_rooms(names, &newest);
    }

    /// The id of the newest message of a room, by the older lines that are shown to whoever enters it.
    fn newest_shown(&self, room: &str, is_new: bool, rest: &[Told]) -> Option<u64> {
        let older = rest.iter().map_while(|told| match told {
            Told::Older(body) => Some(body),
            _ => None,
        });
        let older: Vec<&String> = older.collect();
        assert!(is_new || older.is_empty(), "{}: history of a room that it was in", self.who);
        let is_cut = older.len() == rest.len() && !self.is_whole;
        if !is_new || is_cut || !ROOMS.contains(&room) {
            return None;
        }
        let place = |body: &&String| {
            let (author, number) = author_of(body).unwrap();
            self.chronicle.message(author, number).expect("it was said here")
        };
        let mut places: Vec<usize> = older.iter().map(place).collect();
        places.dedup();
        let newest = places.last().map_or(0, |&at| self.chronicle.id_of(at));
        let messages = self.chronicle.messages_to(room, newest);
        assert_eq!(places, messages[messages.len() - places.len()..], "{}: not the last of {room}", self.who);
        Some(newest)
    }

    fn leave(&mut self, room: &str, rest: &[Told]) {
        assert!(self.rooms.iter().any(|joined| joined.name == room), "{} was not in {room}", self.who);
        let is_current = self.rooms[0].name == room;
        let names = self.rooms.iter().map(|joined| joined.name.clone());
        let names: Vec<String> = names.filter(|name| name != room).collect();
        let current = names.first().map_or(ROOMS[0], String::as_str);
        let is_told = match rest.first() {
            Some(Told::Welcome { room, .. }) => room == current,
            next => next.is_none(),
        };
        assert!(is_told || !is_current, "{} was not told where it is now: {rest:?}", self.who);
        self.tally.count(if is_current { "left the current one" } else { "left another one" }, 1);
        if names.is_empty() {
            self.tally.count("left the last one", 1);
        } else {
            self.change_rooms(names, &[]);
        }
    }

    /// From here on it is in these rooms. All of them were told so at once.
    fn change_rooms(&mut self, names: Vec<String>, newest: &[(&str, u64)]) {
        let left = self.rooms.iter().map(|room| &room.name).filter(|name| !names.contains(name));
        let entered = names.iter().filter(|name| self.rooms.iter().all(|room| room.name != **name));
        let changes: Vec<(String, bool)> =
            left.map(|name| (name.clone(), false)).chain(entered.map(|name| (name.clone(), true))).collect();
        let mut places = Vec::new();
        for change in changes.into_iter().filter(|(name, _)| ROOMS.contains(&&**name)) {
            let time = self.changes.entry(change.clone()).or_default();
            let place = self.chronicle.change(self.who, &change.0, change.1, *time);
            assert!(place.is_some() || !self.is_exact, "{}: nobody was told of {change:?}", self.who);
            *time += 1;
            places.extend(place);
        }
        places.sort_unstable();
        if self.is_exact
            && let (Some(&first), Some(&last)) = (places.first(), places.last())
        {
            self.is_between((first, first), "its rooms");
            let between = &self.chronicle.events[first..=last];
            assert!(between.iter().all(|event| event.who == Some(self.who)), "{} took its time", self.who);
            self.is_at(last + 1);
        } else {
            self.was_aside = self.is_aside();
        }
        let room = |name: String| {
            let last = self.rooms.iter().find(|room| room.name == name).cloned();
            let newest_id = newest.iter().find(|(room, _)| **room == name).map(|(_, id)| *id);
            let by_id = newest_id.filter(|_| ROOMS.contains(&&*name));
            let since = by_id.map_or(0, |id| self.chronicle.between_ids(&name, id).0);
            last.unwrap_or(Joined {
                name,
                since: since.max(if self.is_exact { self.next } else { 0 }),
                newest_id,
            })
        };
        self.rooms = names.into_iter().map(room).collect();
    }

    fn refused(&mut self, text: &str, reference: &str) {
        let count = |tally: &mut Tally, what| tally.count(what, usize::from(text.starts_with(what)));
        ["not-here", "full", "no-such-user"].iter().for_each(|what| count(&mut self.tally, what));
        if let Some((_, number)) = author_of(reference) {
            assert!(text.starts_with("not-here"), "{}: {text}", self.who);
            let room = self.client.said[number].as_ref().expect("its current one is never refused");
            let is_here = self.rooms.iter().any(|joined| joined.name == *room);
            assert!(!is_here, "{} is in {room}: {text}", self.who);
        }
        let is_too_many = text.starts_with("full: one is in") && reference.is_empty();
        assert!(!is_too_many || self.rooms.len() == JOINED_MAX, "{} {:?}: {text}", self.who, self.rooms);
    }
}
