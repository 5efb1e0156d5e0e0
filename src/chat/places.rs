//! Who is in which rooms.
//!
//! Being a member and being in a room are two things: a member has a [`Place`] in each of its rooms. The one in its
//! current room is kept with it, as most have no other; the others are kept aside, the one that was current last at
//! the end.
//!
//! | to | is |
//! |---|---|
//! | enter one more room, or turn to one | `go`: `arrive` or `turn_to` |
//! | leave a room that is not the only one | `quit_room` |
//! | leave all of them | `quit_all` |
//! | be in just these | `settle` |
//!
//! Below that, `take_place` and `give_place` keep both sides in step, and tell nobody.

use super::{Chat, ErrorCode, Hello, Member, Output, Reference, Refusal, Reply, Resume, RoomName, Why};
use crate::clock::Now;

/// Where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The room.
    pub(super) room: u32,
    /// Index into the members of the room.
    pub(super) position: u32,
}

impl Chat {
    /// The rooms of a member: the current one, then the one that was current before it, and so on.
    pub(super) fn rooms_of(&self, key: u32) -> impl Iterator<Item = u32> + Clone + '_ {
        let others = self.other_places.get(&key).map_or(&[][..], Vec::as_slice);
        let places = std::iter::once(&self.members[key as usize].place).chain(others.iter().rev());
        places.map(|place| place.room)
    }

    pub(super) fn is_in(&self, key: u32, room: u32) -> bool {
        self.rooms_of(key).any(|of_member| of_member == room)
    }

    /// The room that a member means: one that it is in, or its current one.
    pub(super) fn meant(&self, key: u32, room: Option<&RoomName>) -> Result<u32, Refusal> {
        let Some(name) = room else { return Ok(self.members[key as usize].place.room) };
        let number = self.room_number(name).filter(|&number| self.is_in(key, number));
        number.ok_or_else(|| Refusal::new(ErrorCode::NotHere, format!("you are not in {name}")))
    }

    /// Does what an introduction says of rooms, of which the first is current now: enters the others, and leaves those
    /// that it does not name. Tells what became of it.
    pub(super) fn settle(
        &mut self,
        key: u32,
        hello: &Hello,
        history: Option<usize>,
        reference: &Reference,
        now: Now,
    ) {
        let Member { home, place, .. } = &self.members[key as usize];
        let (home, mut wanted, mut refused) = (*home, vec![place.room], Vec::new());
        for room in hello.rooms.iter().skip(1) {
            let may_join = self.check_joined(wanted.len() + 1);
            match may_join.and_then(|()| self.find_or_make_room(room.clone(), home, now)) {
                Ok(number) => {
                    wanted.push(number);
                    if !self.is_in(key, number) {
                        self.arrive(key, number, false, now);
                    }
                }
                Err(refusal) => refused.push((room.clone(), refusal)),
            }
        }
        let others = self.rooms_of(key).filter(|number| !hello.rooms.is_empty() && !wanted.contains(number));
        for number in others.collect::<Vec<u32>>() {
            self.quit_room(key, number, now);
        }
        let session = self.sessions.id_of(key).filter(|_| hello.resume != Resume::No);
        self.welcome(key, history, session, reference);
        if hello.lists_rooms {
            let name = self.name_of(key).clone();
            let all: Vec<u32> = self.rooms_of(key).collect();
            for &room in &all {
                self.reply(key, Reply::Room { name: name.clone(), room, rooms: all.len() }, &None);
            }
        }
        for (room, refusal) in refused {
            self.reply(key, Reply::NoRoom { room, refusal }, &None);
        }
    }

    /// Enters a room or turns to it. Returns whether the member was not in it before.
    pub(super) fn go(&mut self, key: u32, room: RoomName, now: Now) -> Result<bool, Refusal> {
        let number = match self.meant(key, Some(&room)) {
            Ok(number) => number,
            Err(_) => self.find_or_make_room(room, self.members[key as usize].home, now)?,
        };
        Ok(self.go_to(key, number, now))
    }

    /// The same, of a room that is there, and that the member may enter.
    pub(super) fn go_to(&mut self, key: u32, number: u32, now: Now) -> bool {
        let is_new = !self.is_in(key, number);
        if is_new {
            self.arrive(key, number, true, now);
        } else {
            self.turn_to(key, number);
        }
        is_new
    }

    /// Puts a member into one more room, and tells those who were there.
    pub(super) fn arrive(&mut self, key: u32, number: u32, is_current: bool, now: Now) {
        let place = self.take_place(key, number);
        let others = self.other_places.entry(key).or_default();
        // They are few, and stay for long.
        others.reserve_exact(1);
        if is_current {
            others.push(std::mem::replace(&mut self.members[key as usize].place, place));
        } else {
            others.insert(0, place);
        }
        self.tell_arrived(key, number, is_current, now);
    }

    /// Takes a place in a room for a member.
    pub(super) fn take_place(&mut self, key: u32, number: u32) -> Place {
        let room = &mut self.rooms[number as usize];
        if let Some(number) = room.emptied_as.take() {
            self.empty_rooms.remove(&number);
        }
        room.is_awaited = false;
        let position = room.members.len() as u32;
        room.members.push(key);
        Place { room: number, position }
    }

    /// Takes a member out of a room, unless it has no other, and tells those who are there. If it was the current one, the
    /// one that was current before is so again.
    pub(super) fn quit_room(&mut self, key: u32, number: u32, now: Now) {
        if let Some(&last) = self.other_places.get(&key).and_then(|others| others.last())
            && self.members[key as usize].place.room == number
        {
            self.turn_to(key, last.room);
        }
        let Some(others) = self.other_places.get_mut(&key) else { return };
        let Some(index) = others.iter().position(|place| place.room == number) else { return };
        let place = others.remove(index);
        if others.is_empty() {
            self.other_places.remove(&key);
        }
        self.give_place(place);
        let Self { members, outputs, .. } = self;
        outputs.push_back(Output::Left { tag: members[key as usize].tag, room: number });
        let name = self.name_of(key).clone();
        self.tell_left(number, name, None, now);
    }

    /// Takes a member that is gone out of all rooms, and tells those who are there.
    pub(super) fn quit_all(&mut self, key: u32, why: Option<Why>, now: Now) {
        let member = self.members.remove(key as usize);
        let others = self.other_places.remove(&key).unwrap_or_default();
        let places = std::iter::once(member.place).chain(others.into_iter().rev());
        for place in places {
            self.give_place(place);
            self.tell_left(place.room, member.name.clone(), why, now);
        }
        self.names.remove(key, &member.name);
    }

    /// Gives the place of somebody in a room away.
    fn give_place(&mut self, Place { room: number, position }: Place) {
        let room = &mut self.rooms[number as usize];
        room.members.swap_remove(position as usize);
        let moved = room.members.get(position as usize).copied();
        self.note_if_empty(number);
        if let Some(moved) = moved {
            let places = std::iter::once(&mut self.members[moved as usize].place)
                .chain(self.other_places.get_mut(&moved).into_iter().flatten());
            places.filter(|place| place.room == number).for_each(|place| place.position = position);
        }
    }

    /// Makes a room that a member is in its current one.
    fn turn_to(&mut self, key: u32, number: u32) {
        let member = &mut self.members[key as usize];
        let Some(others) = self.other_places.get_mut(&key) else { return };
        let Some(index) = others.iter().position(|place| place.room == number) else { return };
        let place = others.remove(index);
        others.push(std::mem::replace(&mut member.place, place));
        self.outputs.push_back(Output::Turned { tag: member.tag, room: number });
    }

    /// Those in a room of a member who hear it through another one that they share, too: everybody hears what concerns
    /// the member once, in the current room if it is there.
    pub(super) fn told_elsewhere(&self, key: u32, room: u32) -> Vec<u64> {
        if !self.other_places.contains_key(&key) {
            return Vec::new();
        }
        let mut shared: Vec<u32> = self.rooms_of(key).collect();
        shared.sort_unstable();
        let told_in = |other| self.rooms_of(other).find(|room| shared.binary_search(room).is_ok());
        let members = self.rooms[room as usize].members.iter();
        let elsewhere = members.filter(|&&other| told_in(other) != Some(room));
        elsewhere.map(|&other| self.members[other as usize].tag).collect()
    }

    pub(super) fn check_places(&self) {
        let mut seen = 0;
        for (number, room) in &self.rooms {
            seen += room.members.len();
            for (position, &key) in room.members.iter().enumerate() {
                let place = Place { room: number as u32, position: position as u32 };
                let mut others = self.other_places.get(&key).into_iter().flatten();
                assert!(self.members[key as usize].place == place || others.any(|other| *other == place));
            }
        }
        let others: usize = self.other_places.values().map(Vec::len).sum();
        assert_eq!(seen, self.members.len() + others, "every place is in a room, once");
        assert!(self.other_places.values().all(|others| !others.is_empty()));
        for (key, _) in &self.members {
            assert!(self.limits.max_joined.is_none_or(|max| self.rooms_of(key as u32).count() <= max));
        }
    }
}
