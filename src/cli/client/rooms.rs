//! The rooms one is in: who is there, what was seen of each and what is unread, and which one is the current one.

use std::collections::BTreeSet;

use super::seen::Seen;

/// Where one is without saying a room.
pub(super) const LOBBY: &str = "lobby";

/// One of them.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: String,
    /// Its ids count since then.
    pub(super) epoch: u64,
    /// The server has said so, on this connection.
    pub(super) is_here: bool,
    /// We have never been there yet.
    pub(super) is_new: bool,
    /// Its ids count from 1 again since the connection broke.
    pub(super) is_anew: bool,
    /// Who is there, as far as known.
    pub(super) names: BTreeSet<String>,
    pub(super) seen: Seen,
    unread: usize,
    is_mentioned: bool,
}

impl Room {
    /// A room that we ask for.
    fn asked(name: &str) -> Room {
        Room {
            name: name.to_owned(),
            epoch: 0,
            is_here: false,
            is_new: true,
            is_anew: false,
            names: BTreeSet::new(),
            seen: Seen::up_to(0),
            unread: 0,
            is_mentioned: false,
        }
    }

    /// Counts what was said here while another room was the current one.
    pub(super) fn count(&mut self, mention: bool) {
        self.unread += 1;
        self.is_mentioned |= mention;
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Rooms {
    /// In the order in which they were joined.
    list: Vec<Room>,
    /// Those we shall be in once everything typed is answered; the last one is the current one, in front of it the one
    /// that was that before.
    wanted: Vec<String>,
}

impl Rooms {
    /// Those to be entered first; the first one is to be the current one.
    pub(super) fn asked(names: &[String]) -> Rooms {
        let mut rooms = Rooms { list: Vec::new(), wanted: Vec::new() };
        for name in names {
            if rooms.get(name).is_none() {
                rooms.list.push(Room::asked(name));
                rooms.wanted.insert(0, name.clone());
            }
        }
        if names.is_empty() {
            rooms.turn_to(LOBBY);
        }
        rooms
    }

    /// Where what is typed goes.
    pub(super) fn current(&self) -> &str {
        self.wanted.last().map_or(LOBBY, String::as_str)
    }

    /// Those there are, in the order in which they were joined.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Room> {
        self.list.iter()
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Room> {
        self.list.iter_mut()
    }

    /// The room of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Room> {
        self.list.iter().find(|room| room.name == name)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Room> {
        self.list.iter_mut().find(|room| room.name == name)
    }

    /// The room of this name; asked for if it is a new one.
    pub(super) fn get_or_ask(&mut self, name: &str) -> &mut Room {
        let place = self.list.iter().position(|room| room.name == name).unwrap_or_else(|| {
            self.list.push(Room::asked(name));
            self.list.len() - 1
        });
        &mut self.list[place]
    }

    /// What a `hello` asks for: the current room, if we were there, and then the others.
    pub(super) fn to_ask(&self) -> Vec<String> {
        let mut names: Vec<_> = self.list.iter().map(|room| room.name.clone()).collect();
        let first = self.wanted.iter().rev().find_map(|name| names.iter().position(|known| known == name));
        if let Some(first) = first {
            names[..=first].rotate_right(1);
        }
        names
    }

    /// The server has forgotten us.
    pub(super) fn are_away(&mut self) {
        self.list.iter_mut().for_each(|room| room.is_here = false);
    }

    /// True if the server has told of all of them.
    pub(super) fn are_here(&self) -> bool {
        self.list.iter().all(|room| room.is_here)
    }

    /// True if we shall be in it once everything typed is answered.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted == name)
    }

    /// True if we shall be in no other.
    pub(super) fn wants_only(&self, name: &str) -> bool {
        self.wanted.iter().all(|wanted| wanted == name)
    }

    /// Makes it the current one. It is asked for elsewhere if it is a new one.
    pub(super) fn turn_to(&mut self, name: &str) {
        self.wanted.retain(|wanted| wanted != name);
        self.wanted.push(name.to_owned());
        if let Some(room) = self.get_mut(name) {
            (room.unread, room.is_mentioned) = (0, false);
        }
    }

    /// Makes the one at this place the current one, if there is one.
    pub(super) fn turn_to_place(&mut self, place: usize) {
        if let Some(name) = self.list.get(place).map(|room| room.name.clone()).filter(|name| self.wants(name))
        {
            self.turn_to(&name);
        }
    }

    /// Makes the one behind the current one that.
    pub(super) fn turn_on(&mut self) {
        let place = self.list.iter().position(|room| room.name == self.current());
        let behind = place.map_or(0, |place| place + 1);
        let mut places = (behind..self.list.len()).chain(0..behind);
        if let Some(next) = places.find(|&place| self.wants(&self.list[place].name)) {
            self.turn_to_place(next);
        }
    }

    /// We shall not be in it. From the last one one goes to the lobby.
    pub(super) fn give_up(&mut self, name: &str) {
        self.wanted.retain(|wanted| wanted != name);
        let next = self.wanted.last().map_or(LOBBY, String::as_str).to_owned();
        self.turn_to(&next);
    }

    /// We stay in it.
    pub(super) fn keep(&mut self, name: &str) {
        if !self.wants(name) {
            self.wanted.insert(0, name.to_owned());
        }
    }

    /// We are not in it any more; false if we were not anyhow.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let count = self.list.len();
        self.list.retain(|room| room.name != name);
        self.list.len() < count
    }

    /// Somebody who asked for the one is in the other.
    pub(super) fn replace(&mut self, asked: &str, given: &str) {
        self.remove(asked);
        self.wanted.iter_mut().filter(|wanted| *wanted == asked).for_each(|wanted| given.clone_into(wanted));
    }

    /// The current room, and the others in which something is unread: `#dev [#lobby 3 #ops 1!]`. Nothing if there are no
    /// others.
    pub(super) fn bar(&self) -> Option<String> {
        if self.list.len() < 2 {
            return None;
        }
        let unread = self.list.iter().filter(|room| room.unread > 0).map(|room| {
            format!("#{} {}{}", room.name, room.unread, if room.is_mentioned { "!" } else { "" })
        });
        let unread = unread.collect::<Vec<_>>().join(" ");
        let unread = if unread.is_empty() { unread } else { format!(" [{unread}]") };
        Some(format!("#{}{unread}", self.current()))
    }
}
