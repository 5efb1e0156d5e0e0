//! What has to be true when the torture is over.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::common::Daemon;
use crate::person::{Person, string};
use crate::rig::Reader;
use crate::wire::Dialect;

/// A message as it is kept.
struct Kept {
    ts: u64,
    from: String,
    body: String,
}

/// All rooms, from 1 on without a hole.
struct Rooms(HashMap<String, Vec<Kept>>);

/// Looks whether what people saw, and were promised, is there, and nothing else.
pub(crate) fn prove(daemon: &Daemon, people: &[Person]) {
    let rooms = Rooms::fetch(daemon, people);
    rooms.hold_what_was_seen(people);
    rooms.hold_what_was_said_once(people);
    let count = |of: fn(&Person) -> usize| people.iter().map(of).sum::<usize>();
    println!(
        "{} messages kept, {} acknowledged, {} sightings, {} returns, \
         before anything was saved: {} sessions lost, {} names",
        rooms.0.values().map(Vec::len).sum::<usize>(),
        count(|person| person.said.iter().filter(|said| said.ack.is_some()).count()),
        count(|person| person.seen.len()),
        count(|person| person.returns as usize),
        count(|person| person.sessions_lost as usize),
        count(|person| person.names_lost as usize),
    );
}

impl Rooms {
    fn fetch(daemon: &Daemon, people: &[Person]) -> Self {
        let names: HashSet<&str> = people.iter().flat_map(|person| person.rooms.iter().copied()).collect();
        let rooms = names.into_iter().map(|name| {
            let (mut reader, epoch, newest) = Reader::enter(daemon, &format!("reader-of-{name}"), name);
            for person in people {
                let known = person.epochs.get(name);
                assert!(known.is_none_or(|known| *known == epoch), "#{name} has another epoch");
            }
            let kept: Vec<Kept> = reader.all(name).iter().zip(1..).map(kept).collect();
            assert_eq!(kept.len() as u64, newest, "#{name}");
            (name.to_owned(), kept)
        });
        Self(rooms.collect())
    }

    fn get(&self, room: &str, id: u64) -> &Kept {
        let kept = id.checked_sub(1).and_then(|index| self.0[room].get(index as usize));
        kept.unwrap_or_else(|| panic!("#{room} has no {id}"))
    }

    /// Who heard JSON knows under which id, who heard text does not.
    fn hold_what_was_seen(&self, people: &[Person]) {
        let said: HashSet<(&str, &str, &str)> = self
            .0
            .iter()
            .flat_map(|(room, all)| all.iter().map(|kept| (&room[..], &kept.from[..], &kept.body[..])))
            .collect();
        for seen in people.iter().flat_map(|person| &person.seen) {
            let Some(id) = seen.id else {
                assert!(
                    said.contains(&(&seen.room, &seen.from, &seen.body)),
                    "it was seen, and is lost: {seen:?}"
                );
                continue;
            };
            let kept = self.get(&seen.room, id);
            assert_eq!(
                (&kept.from, &kept.body, Some(kept.ts)),
                (&seen.from, &seen.body, seen.ts),
                "it was seen, and is another: {seen:?}"
            );
        }
    }

    /// Each message is there once, under the id of its ack if it has one; nothing else is, and each sender's are in the
    /// order in which it said them.
    fn hold_what_was_said_once(&self, people: &[Person]) {
        let mut places: HashMap<(&str, &str, &str), u64> = HashMap::new();
        for (room, all) in &self.0 {
            for (kept, id) in all.iter().zip(1..) {
                let twice = places.insert((room, &kept.from, &kept.body), id);
                assert_eq!(twice, None, "it was said twice: {} in #{room}, as {id}, too", kept.body);
            }
        }
        for person in people {
            let mut newest: HashMap<&str, u64> = HashMap::new();
            for said in &person.said {
                let place = places.remove(&(&said.room, &said.from, &said.body));
                if person.dialect != Dialect::Text {
                    let (id, ts) = said.ack.unwrap_or_else(|| panic!("it has no ack: {said:?}"));
                    assert_eq!(
                        (place, self.get(&said.room, id).ts),
                        (Some(id), ts),
                        "{}: {said:?}",
                        person.name
                    );
                }
                let Some(id) = place else { continue };
                let before = newest.insert(&said.room, id);
                assert!(before < Some(id), "{}: out of order: {said:?}", person.name);
            }
        }
        assert_eq!(places.into_iter().next(), None, "nobody has said that");
    }
}

fn kept((event, id): (&Value, u64)) -> Kept {
    assert_eq!(event["id"], id, "a hole before {event}");
    Kept { ts: event["ts"].as_u64().unwrap(), from: string(event, "from"), body: string(event, "body") }
}
