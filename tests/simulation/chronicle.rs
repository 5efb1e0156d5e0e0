//! What was published in all rooms that are observed, in that order: what the observer was told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::client::{Client, Told};

/// Something that a room was told.
pub struct Event {
    pub room: String,
    /// Whom it is about; none if it sums up.
    pub who: Option<usize>,
    pub what: What,
    /// As people are told in their current room, in one line or several, and as programs are.
    text: String,
    document: String,
}

#[derive(Debug, PartialEq, Eq)]
pub enum What {
    Said,
    Joined,
    Left {
        why: Option<String>,
    },
    /// In these rooms, of those that are observed.
    Renamed {
        rooms: BTreeSet<String>,
    },
    Summed,
}

impl Event {
    /// How it is told to somebody through a room: to people with its name in front, if it is not their current one.
    pub fn told(&self, is_program: bool, room: &str, is_current: bool) -> String {
        match (is_program, is_current) {
            (true, _) => {
                let own = format!(r#""room":"{}""#, self.room);
                self.document.replacen(&own, &format!(r#""room":"{room}""#), 1)
            }
            (false, true) => self.text.clone(),
            (false, false) => {
                let lines: Vec<String> = self.text.lines().map(|line| format!("#{room} {line}")).collect();
                lines.join("\n")
            }
        }
    }
}

/// The number of the client that is called so.
pub fn number_of(name: &str) -> Option<usize> {
    name.strip_prefix('c')?.split('v').next()?.parse().ok()
}

/// Who has said a message, and the number of it.
pub fn author_of(body: &str) -> Option<(usize, usize)> {
    let mut parts = body.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Everything that the observer was told.
#[derive(Default)]
pub struct Chronicle {
    pub events: Vec<Event>,
    is_exact: bool,
    /// Where the message with a number of a client is.
    said: BTreeMap<(usize, usize), usize>,
    /// Where the messages of a room are, by rising id.
    messages: BTreeMap<String, Vec<usize>>,
    /// Where it is told that a client came into a room.
    joined: BTreeMap<(usize, String), Vec<usize>>,
    /// Where it is told that it left it.
    left: BTreeMap<(usize, String), Vec<usize>>,
    /// How many are in a room, by adding up who came and who left.
    pub totals: BTreeMap<String, i64>,
    /// Who is in a room, if it is not summed up who comes and leaves.
    pub members: BTreeMap<String, BTreeSet<usize>>,
}

impl Chronicle {
    /// What an observer of these rooms was told; it `is_exact` if nothing is summed up.
    pub fn of(observer: &Client, rooms: &[&str], is_exact: bool) -> Self {
        let mut chronicle = Self { is_exact, ..Self::default() };
        for room in rooms {
            chronicle.totals.insert((*room).into(), 1);
        }
        for told in &observer.told {
            if let Told::Heard(document) = told {
                chronicle.note(document);
            }
        }
        chronicle
    }

    fn note(&mut self, document: &str) {
        let value: Value = serde_json::from_str(document).unwrap();
        let field = |name: &str| value[name].as_str().unwrap_or_default();
        let number = |name: &str| value[name].as_i64().unwrap_or_default();
        let (kind, room, at) = (field("type"), field("room").to_owned(), self.events.len());
        let name = field(if matches!(kind, "public" | "nick") { "from" } else { "name" });
        let who = number_of(name);
        let key = (who.unwrap_or(usize::MAX), room.clone());
        let (what, text, change) = match kind {
            "public" => {
                let messages = self.messages.entry(room.clone()).or_default();
                messages.push(at);
                assert_eq!(number("id"), messages.len() as i64, "ids count 1, 2, 3 …");
                let body = field("body");
                let author = author_of(body).expect("somebody has said it");
                assert_eq!((Some(author.0), self.said.insert(author, at)), (who, None), "{body} was doubled");
                let lines: Vec<String> = body.lines().map(|line| format!("{name}: {line}")).collect();
                (What::Said, lines.join("\n"), 0)
            }
            "join" => {
                self.joined.entry(key).or_default().push(at);
                let is_new = who.is_some_and(|who| self.members.entry(room.clone()).or_default().insert(who));
                assert!(is_new || !self.is_exact, "{name} came to {room} twice");
                (What::Joined, format!("* {name} joined"), 1)
            }
            "leave" => {
                self.left.entry(key).or_default().push(at);
                let members = self.members.entry(room.clone()).or_default();
                let was_here = who.is_some_and(|who| members.remove(&who));
                assert!(was_here || !self.is_exact, "{name} left {room}, and was not there");
                let why = value["why"].as_str();
                let shown = why.map(|why| format!(" ({why})")).unwrap_or_default();
                (What::Left { why: why.map(Into::into) }, format!("* {name} left{shown}"), -1)
            }
            "nick" => {
                let is_here = |(room, members): (&String, &BTreeSet<usize>)| {
                    who.filter(|who| members.contains(who)).map(|_| room.clone())
                };
                let rooms = self.members.iter().filter_map(is_here).collect();
                assert_eq!(number_of(field("name")), who, "somebody has the name of somebody else");
                (What::Renamed { rooms }, format!("* {name} is now {}", field("name")), 0)
            }
            _ => (What::Summed, String::new(), number("joined") - number("left")),
        };
        *self.totals.entry(room.clone()).or_default() += change;
        self.events.push(Event { room, who, what, text, document: document.into() });
    }

    /// Where a message is.
    pub fn message(&self, author: usize, number: usize) -> Option<usize> {
        self.said.get(&(author, number)).copied()
    }

    /// The numbers of the messages of a client, with where they are.
    pub fn said_by(&self, author: usize) -> impl DoubleEndedIterator<Item = (usize, usize)> {
        self.said.range((author, 0)..(author + 1, 0)).map(|(&(_, number), &at)| (number, at))
    }

    /// Behind the last message that a client had said, and before the next one, after it had said so many.
    pub fn between_messages(&self, author: usize, said_before: usize) -> (usize, usize) {
        let last = self.said.range((author, 0)..(author, said_before)).next_back();
        let next = self.said.range((author, said_before)..(author + 1, 0)).next();
        (last.map_or(0, |(_, &at)| at + 1), next.map_or(usize::MAX, |(_, &at)| at))
    }

    /// Behind the message of a room with this id, and before the next one.
    pub fn between_ids(&self, room: &str, id: u64) -> (usize, usize) {
        let messages = self.messages.get(room).map_or(&[][..], Vec::as_slice);
        let last = (id as usize).checked_sub(1).map_or(0, |last| messages[last] + 1);
        (last, messages.get(id as usize).copied().unwrap_or(usize::MAX))
    }

    /// The messages of a room up to an id.
    pub fn messages_to(&self, room: &str, id: u64) -> &[usize] {
        self.messages.get(room).map_or(&[], |messages| &messages[..id as usize])
    }

    /// The id that a message has in its room.
    pub fn id_of(&self, at: usize) -> u64 {
        self.messages[&self.events[at].room].partition_point(|&message| message <= at) as u64
    }

    /// Where it is told that a client has come into a room (or left it) for the time with a number.
    pub fn change(&self, who: usize, room: &str, is_joined: bool, time: usize) -> Option<usize> {
        let changes = if is_joined { &self.joined } else { &self.left };
        changes.get(&(who, room.to_owned()))?.get(time).copied()
    }

    /// Where it is told that a client was given up as slow, silent or broken, and why.
    pub fn given_up(&self, who: usize) -> Vec<(usize, &str)> {
        let mut given_up = Vec::new();
        for (at, event) in self.events.iter().enumerate().filter(|(_, event)| event.who == Some(who)) {
            if let What::Left { why: Some(why) } = &event.what {
                given_up.push((at, why.as_str()));
            }
        }
        given_up
    }
}
