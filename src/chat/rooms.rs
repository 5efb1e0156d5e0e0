//! Which rooms there are: who may make one, and which makes place.
//!
//! Rooms are for everybody, and a place in the list is worth as much as a name. So nobody gets one at the expense of
//! others: each [`Home`] has a share, may make so many a minute, and loses its own rooms first.

use std::cmp::Reverse;
use std::time::Duration;

use super::room::{Opening, Room};
use super::{Ask, Chat, ErrorCode, Home, Output, Refusal, RoomName};
use crate::clock::{Millis, Now};

/// So many empty rooms are remembered, whatever `max_rooms` is.
pub const EMPTY_ROOMS_MAX: usize = 1024;
/// A room that was opened for somebody is kept for so long until it comes.
const AWAITED_TIME: Duration = Duration::from_secs(5);
/// What [`Limits::room_rate`](crate::limits::Limits::room_rate) counts in.
const MINUTE: Duration = Duration::from_secs(60);

const HAS_ITS_SHARE: &str = "your address has made as many rooms as it may, and they are in use; see /rooms";

fn full<T>(text: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::Full, text))
}

impl Chat {
    /// The room of this name, which somebody from `home` makes if it is not there, to enter it.
    pub(super) fn find_or_make_room(&mut self, name: RoomName, home: Home, now: Now) -> Result<u32, Refusal> {
        let number = match self.room_number(&name) {
            Some(number) => self.take_over(number, home).map(|()| number)?,
            None => self.make_room_for(name, home, now)?,
        };
        let room = &self.rooms[number as usize];
        if room.opening != Opening::Open {
            let text = format!("{} is being opened; try again", room.name);
            return Err(Refusal::new(ErrorCode::NotSaved, text));
        }
        Ok(number)
    }

    /// Makes a room, if somebody from `home` may.
    pub(super) fn make_room_for(&mut self, name: RoomName, home: Home, now: Now) -> Result<u32, Refusal> {
        let room_rate = self.limits.room_rate.filter(|_| !home.is_exempt);
        if let Some(rate) = room_rate
            && !self.room_allowances.of(home.subscriber, now.monotonic).has_one(
                MINUTE / rate as u32,
                rate,
                now.monotonic,
            )
        {
            return full("your address makes too many new rooms; wait a minute, or see /rooms");
        }
        self.await_no_longer(now.monotonic);
        let has_its_share = self.has_its_share(home);
        let is_full = self.limits.max_rooms.is_some_and(|max| self.rooms.len() >= max);
        if has_its_share && !self.forget_a_room(Some(home)) {
            return full(HAS_ITS_SHARE);
        }
        if is_full && !has_its_share && !self.forget_a_room(None) {
            return full("there is no place for another room; see /rooms");
        }
        if let Some(rate) = room_rate {
            let allowance = self.room_allowances.of(home.subscriber, now.monotonic);
            allowance.reserve(MINUTE / rate as u32, rate, now.monotonic);
        }
        Ok(self.make_room(name, Some(home), now))
    }

    /// Whoever enters a room that others have left keeps it from making place: it counts as if they had made it. Or two
    /// of one address could hold all the rooms that there are.
    fn take_over(&mut self, number: u32, home: Home) -> Result<(), Refusal> {
        let room = &self.rooms[number as usize];
        let maker = room.maker;
        let is_left = room.members.is_empty() && room.name != RoomName::lobby();
        if !is_left || maker.is_some_and(|maker| maker.subscriber == home.subscriber) {
            return Ok(());
        }
        if self.has_its_share(home) && !self.forget_a_room(Some(home)) {
            return full(HAS_ITS_SHARE);
        }
        if let Some(maker) = maker {
            self.count_unmade(maker);
        }
        self.rooms[number as usize].maker = Some(home);
        *self.rooms_made.entry(home.subscriber).or_default() += 1;
        Ok(())
    }

    /// Whether somebody may not make another room.
    fn has_its_share(&self, home: Home) -> bool {
        let made = self.rooms_made.get(&home.subscriber).copied().unwrap_or(0);
        !home.is_exempt && self.limits.max_rooms_per_ip.is_some_and(|max| made >= max)
    }

    /// There is one room less that somebody has made.
    fn count_unmade(&mut self, maker: Home) {
        if let Some(made) = self.rooms_made.get_mut(&maker.subscriber) {
            *made -= 1;
            if *made == 0 {
                self.rooms_made.remove(&maker.subscriber);
            }
        }
    }

    pub(super) fn make_room(&mut self, name: RoomName, maker: Option<Home>, now: Now) -> u32 {
        let room = self.rooms.insert(Room::new(name.clone(), maker, now)) as u32;
        self.room_numbers.insert(name, room);
        if let Some(maker) = maker {
            *self.rooms_made.entry(maker.subscriber).or_default() += 1;
        }
        self.outputs.push_back(Output::RoomOpened { room });
        self.open_room(room, now);
        self.note_if_empty(room);
        room
    }

    /// Takes up a room that is in the store, and is not opened before somebody comes.
    pub(super) fn remember_room(&mut self, name: RoomName, epoch_ms: u64, newest_id: u64, now: Now) {
        let mut room = Room::new(name.clone(), None, now);
        (room.epoch_ms, room.newest_id) = (epoch_ms, newest_id);
        let number = self.rooms.insert(room) as u32;
        self.room_numbers.insert(name, number);
        self.outputs.push_back(Output::RoomOpened { room: number });
        self.note_if_empty(number);
    }

    /// A room is open: whoever has asked for it has a moment to come.
    pub(super) fn await_somebody(&mut self, number: u32, now: Now) {
        let room = &mut self.rooms[number as usize];
        if room.members.is_empty() && !room.is_awaited && room.name != RoomName::lobby() {
            room.is_awaited = true;
            self.awaited_rooms.push_back((now.monotonic.after(AWAITED_TIME), number));
        }
        if let Some(place) = room.emptied_as.take_if(|_| room.is_awaited) {
            self.empty_rooms.remove(&place);
        }
    }

    /// Nobody has come to rooms that were opened some time ago.
    fn await_no_longer(&mut self, now: Millis) {
        while let Some((_, number)) = self.awaited_rooms.pop_front_if(|(until, _)| *until <= now) {
            if let Some(room) = self.rooms.get_mut(number as usize) {
                room.is_awaited = false;
                self.note_if_empty(number);
            }
        }
    }

    /// A room that nobody is in makes place for others, when it is not being opened.
    pub(super) fn note_if_empty(&mut self, number: u32) {
        let room = &mut self.rooms[number as usize];
        if room.is_empty() && room.emptied_as.is_none() {
            // Not by the clock: the room that was just left is never the next to go.
            self.emptied += 1;
            room.emptied_as = Some(self.emptied);
            self.empty_rooms.insert(self.emptied, number);
        }
    }

    /// Gives up an empty room, of those that somebody from `maker` has made: first those in which nothing was said,
    /// then those of whoever has made most; of these, the one that has been empty for longest.
    pub(super) fn forget_a_room(&mut self, maker: Option<Home>) -> bool {
        let made_by = |number: u32| self.rooms[number as usize].maker.map_or(0, |maker| maker.subscriber);
        let candidates = self.empty_rooms.iter().map(|(&place, &number)| (place, number));
        let candidates =
            candidates.filter(|&(_, number)| maker.is_none_or(|m| made_by(number) == m.subscriber));
        let rank = |&(place, number): &(u64, u32)| {
            let has_messages = self.rooms[number as usize].newest_id > 0;
            (has_messages, Reverse(self.rooms_made.get(&made_by(number))), place)
        };
        let Some((place, number)) = candidates.min_by_key(rank) else { return false };
        self.empty_rooms.remove(&place);
        let room = self.rooms.remove(number as usize);
        self.room_numbers.remove(&room.name);
        self.crowded_rooms.retain(|&crowded| crowded != number);
        if let Some(maker) = room.maker {
            self.count_unmade(maker);
        }
        if room.opening == Opening::Open {
            self.outputs.push_back(Output::Ask(Ask::Close { room: number }));
        }
        self.outputs.push_back(Output::RoomClosed { room: number });
        true
    }
}
