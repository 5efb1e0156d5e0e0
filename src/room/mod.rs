//! The chat itself: rooms, members, and what they say to each other.
//!
//! [`Chat`] is a pure state machine. Commands go in, [`Output`]s come out in the order in which they
//! have to be carried out, and time is a parameter. It knows no sockets, no bytes on the wire, no
//! clocks; so it can be driven by a million random steps in a test, and is.

mod body;
mod command;
mod event;
mod name;
#[allow(clippy::module_inception)] // the chat, and one room of it
mod room;

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::rc::Rc;

use slab::Slab;

pub use body::Body;
pub use command::{Command, HistoryQuery};
pub use event::{Bye, ErrorCode, Event, Message, Output, Reference, Refusal, Reply, Why};
pub use name::{NAME_CHARS_MAX, Name, RoomName};

use crate::clock::{Millis, Now};
use name::{Forms, Names};
use room::Room;

/// What the chat grants. `None` turns a limit off.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rooms at once, empty ones that are still remembered included (`--max-rooms`).
    pub rooms_max: Option<usize>,
    /// Messages a room remembers (`--history`).
    pub history_messages_max: Option<usize>,
    /// Bytes of messages a room remembers (`--history-bytes`).
    pub history_bytes_max: Option<usize>,
    /// Bytes of messages that one answer holds; there is more to ask for then.
    pub history_answer_bytes_max: usize,
    /// Messages that whoever comes in is shown (`--history-on-join`).
    pub history_on_join: usize,
    /// Members above which joins and leaves are summed up (`--quiet-above`).
    pub quiet_above: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms_max: Some(64),
            history_messages_max: Some(1000),
            history_bytes_max: Some(1024 * 1024),
            history_answer_bytes_max: 64 * 1024,
            history_on_join: 10,
            quiet_above: Some(256),
        }
    }
}

/// Names a member, for as long as it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberId(NonZeroU32);

// One more than the key in the table of members, so that `Option<MemberId>` has the size of a key: every
// connection holds one.
impl MemberId {
    fn of(key: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(key))
    }

    fn key(self) -> u32 {
        self.0.get() - 1
    }
}

#[derive(Debug)]
struct Member {
    /// What the caller calls it; outputs carry this, because a `MemberId` may be used again.
    tag: u64,
    name: Name,
    room: u32,
    /// Index into the members of the room.
    position: u32,
}

/// All rooms and everybody in them.
#[derive(Debug)]
pub struct Chat {
    limits: Limits,
    rooms: Slab<Room>,
    room_numbers: HashMap<RoomName, u32>,
    members: Slab<Member>,
    names: Names,
    outbox: VecDeque<Output>,
    outbox_bytes: usize,
    /// Not later than the next sum of joins and leaves.
    next_notice: Millis,
    guests: u64,
}

impl Chat {
    /// A chat with nobody in it, and one room: the lobby.
    #[must_use]
    pub fn new(limits: Limits, now: Now) -> Self {
        let mut chat = Self {
            limits,
            rooms: Slab::new(),
            room_numbers: HashMap::new(),
            members: Slab::new(),
            names: Names::default(),
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            next_notice: Millis::NEVER,
            guests: 0,
        };
        chat.make_room(RoomName::lobby(), now);
        chat
    }

    /// Lets somebody in. Its outputs will carry `tag`; its welcome lists at most `names_max` names.
    ///
    /// # Errors
    /// [`ErrorCode::NameTaken`], or [`ErrorCode::Full`] if the room would have to be made and cannot.
    pub fn enter(
        &mut self,
        tag: u64,
        name: Name,
        room: RoomName,
        names_max: usize,
        reference: &Reference,
        now: Now,
    ) -> Result<MemberId, Refusal> {
        let forms = Forms::of(&name);
        self.refuse_taken(&name, &forms, None)?;
        let room = self.find_or_make_room(room, now)?;
        let key = self.members.insert(Member { tag, name, room, position: 0 }) as u32;
        self.names.insert(key, &forms, |key| self.members[key as usize].name.clone());
        self.arrive(key, room, now);
        self.welcome(key, names_max, self.limits.history_on_join, reference, now);
        Ok(MemberId::of(key))
    }

    /// A name nobody has: `guest-1`, `guest-2` …
    pub fn guest_name(&mut self) -> Name {
        loop {
            self.guests += 1;
            if let Ok(name) = Name::parse(&format!("guest-{}", self.guests))
                && self.refuse_taken(&name, &Forms::of(&name), None).is_ok()
            {
                return name;
            }
        }
    }

    /// Takes somebody out.
    pub fn leave(&mut self, id: MemberId, why: Option<Why>, now: Now) {
        let key = id.key();
        let room = self.depart(key, now);
        let member = self.members.remove(key as usize);
        self.names.remove(key, &member.name);
        self.tell_left(room, member.name, why, now);
    }

    /// Carries out a command, or answers why not.
    pub fn command(&mut self, id: MemberId, command: Command, reference: &Reference, now: Now) {
        let key = id.key();
        let outcome = match command {
            Command::Say(body) => self.speak(key, body, false, reference, now),
            Command::Act(body) => self.speak(key, body, true, reference, now),
            Command::Tell { to, body } => self.tell(key, &to, body, reference, now),
            Command::Nick(name) => self.rename(key, name, reference, now),
            Command::Hello { name, room, names_max } => {
                let room = room.unwrap_or_else(|| self.room_of(key).name.clone());
                // Both or neither: nothing may be in the way of the room when the name changes.
                self.refuse_taken(&name, &Forms::of(&name), Some(key))
                    .and_then(|()| self.find_or_make_room(room.clone(), now))
                    .and_then(|_| self.rename(key, name, &None, now))
                    .and_then(|()| self.go(key, room, names_max, reference, now))
            }
            Command::Join { room, names_max } => self.go(key, room, names_max, reference, now),
            Command::Who { names_max } => {
                let room = self.room_of(key);
                let (users, total) = (self.users(room, None, names_max), room.members.len());
                let reply = Reply::Users { room: room.name.clone(), users, total };
                self.reply(key, reply, reference, now);
                Ok(())
            }
            Command::Rooms => {
                let mut rooms: Vec<_> =
                    self.rooms.iter().map(|(_, room)| (room.name.clone(), room.members.len())).collect();
                rooms.sort();
                self.reply(key, Reply::Rooms(rooms), reference, now);
                Ok(())
            }
            Command::History(query) => {
                let room = self.room_of(key);
                let (messages, has_more) = room.history.get(query, self.limits.history_answer_bytes_max);
                let reply = Reply::History { room: room.name.clone(), messages, has_more };
                self.reply(key, reply, reference, now);
                Ok(())
            }
            Command::Ping => {
                self.reply(key, Reply::Pong, reference, now);
                Ok(())
            }
            Command::Help => {
                self.reply(key, Reply::Help, reference, now);
                Ok(())
            }
            Command::Quit => Ok(()),
        };
        if let Err(refusal) = outcome {
            self.refuse(id, refusal, reference, now);
        }
    }

    /// Answers a request that could not even be understood.
    pub fn refuse(&mut self, id: MemberId, refusal: Refusal, reference: &Reference, now: Now) {
        let key = id.key();
        self.reply(key, Reply::Refused(refusal), reference, now);
    }

    /// The next thing to do; none when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outbox.pop_front();
        if output.is_none() {
            self.outbox_bytes = 0;
        }
        output
    }

    /// How many bytes the outputs that wait will be on the wire, roughly.
    #[must_use]
    pub fn outbox_bytes(&self) -> usize {
        self.outbox_bytes
    }

    /// When [`Chat::expire`] is next due.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        self.next_notice
    }

    /// Tells the sums of joins and leaves that are due.
    pub fn expire(&mut self, now: Now) {
        self.next_notice = Millis::NEVER;
        for number in 0..self.rooms.capacity() as u32 {
            let Some(room) = self.rooms.get_mut(number as usize) else { continue };
            if room.crowd.due() > now.monotonic {
                self.next_notice = self.next_notice.min(room.crowd.due());
                continue;
            }
            let crowd = std::mem::take(&mut room.crowd);
            let total = room.members.len();
            self.announce(number, Event::Crowd { joined: crowd.joined, left: crowd.left, total }, None, now);
        }
    }

    /// The name of a member.
    #[must_use]
    pub fn name(&self, id: MemberId) -> &Name {
        let key = id.key();
        &self.members[key as usize].name
    }

    /// How many members there are, in all rooms.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// How many rooms there are, remembered empty ones included.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    // ---- what the commands do

    fn speak(
        &mut self,
        key: u32,
        body: Body,
        is_action: bool,
        reference: &Reference,
        now: Now,
    ) -> Result<(), Refusal> {
        let member = &self.members[key as usize];
        let (number, tag) = (member.room, member.tag);
        let room = &mut self.rooms[number as usize];
        room.newest_id += 1;
        let id = room.newest_id;
        let message = Message { id, at_ms: now.unix_ms, from: member.name.clone(), is_action, body };
        let message = Rc::new(message);
        room.history.push(Rc::clone(&message), &self.limits);
        self.announce(number, Event::Message(message), Some(tag), now);
        self.acknowledge(key, Some(id), reference, now);
        Ok(())
    }

    fn tell(
        &mut self,
        key: u32,
        to: &str,
        body: Body,
        reference: &Reference,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(to_key) = self.names.find(to, |key| self.members[key as usize].name.clone()) else {
            let to: String = Body::new(to).map_or(String::new(), |to| to.as_str().chars().take(40).collect());
            return Err(Refusal::new(ErrorCode::NoSuchUser, format!("nobody here is called {to}")));
        };
        let from = self.members[key as usize].name.clone();
        let to = self.members[to_key as usize].name.clone();
        let told = Reply::Private { from: from.clone(), to: to.clone(), body: body.clone() };
        self.reply(to_key, told, &None, now);
        if to_key != key {
            self.reply(key, Reply::PrivateSent { from, to, body }, &None, now);
        }
        self.acknowledge(key, None, reference, now);
        Ok(())
    }

    fn rename(&mut self, key: u32, to: Name, reference: &Reference, now: Now) -> Result<(), Refusal> {
        let forms = Forms::of(&to);
        self.refuse_taken(&to, &forms, Some(key))?;
        let from = self.members[key as usize].name.clone();
        if from != to {
            self.names.remove(key, &from);
            self.members[key as usize].name = to.clone();
            self.names.insert(key, &forms, |key| self.members[key as usize].name.clone());
            let room = self.members[key as usize].room;
            self.announce(room, Event::Renamed { from, to }, None, now);
        }
        self.acknowledge(key, None, reference, now);
        Ok(())
    }

    fn go(
        &mut self,
        key: u32,
        room: RoomName,
        names_max: usize,
        reference: &Reference,
        now: Now,
    ) -> Result<(), Refusal> {
        let number = self.find_or_make_room(room.clone(), now)?;
        let is_elsewhere = self.members[key as usize].room != number;
        if is_elsewhere {
            let left = self.depart(key, now);
            self.arrive(key, number, now);
            // Only now: whoever goes does not hear it.
            self.tell_left(left, self.members[key as usize].name.clone(), Some(Why::Moved(room)), now);
        }
        let history = if is_elsewhere { self.limits.history_on_join } else { 0 };
        self.welcome(key, names_max, history, reference, now);
        Ok(())
    }

    // ---- the parts they are made of

    fn room_of(&self, key: u32) -> &Room {
        &self.rooms[self.members[key as usize].room as usize]
    }

    fn refuse_taken(&self, name: &Name, forms: &Forms, except: Option<u32>) -> Result<(), Refusal> {
        let holder = self.names.find_alike(forms, |key| self.members[key as usize].name.clone());
        match holder {
            Some(key) if Some(key) != except => {
                let holder = &self.members[key as usize].name;
                let text = if holder == name {
                    format!("{name} is in use")
                } else {
                    format!("{name} looks like {holder}, who is here")
                };
                Err(Refusal::new(ErrorCode::NameTaken, text))
            }
            _ => Ok(()),
        }
    }

    fn find_or_make_room(&mut self, name: RoomName, now: Now) -> Result<u32, Refusal> {
        if let Some(&number) = self.room_numbers.get(&name) {
            return Ok(number);
        }
        if self.limits.rooms_max.is_some_and(|max| self.rooms.len() >= max) && !self.forget_a_room() {
            return Err(Refusal::new(ErrorCode::Full, "there is no place for another room; see /rooms"));
        }
        Ok(self.make_room(name, now))
    }

    fn make_room(&mut self, name: RoomName, now: Now) -> u32 {
        let room = self.rooms.insert(Room::new(name.clone(), now)) as u32;
        self.room_numbers.insert(name, room);
        self.outbox.push_back(Output::RoomOpened { room });
        room
    }

    /// Gives up the room that has been empty for longest; the lobby stays.
    fn forget_a_room(&mut self) -> bool {
        let empty = self.rooms.iter().filter(|(_, room)| room.members.is_empty());
        let longest = empty
            .filter(|(_, room)| room.name != RoomName::lobby())
            .min_by_key(|(number, room)| (room.empty_since, *number));
        let Some((number, _)) = longest else { return false };
        let room = self.rooms.remove(number);
        self.room_numbers.remove(&room.name);
        self.outbox.push_back(Output::RoomClosed { room: number as u32 });
        true
    }

    /// Puts a member into a room, and tells those who were there.
    fn arrive(&mut self, key: u32, number: u32, now: Now) {
        let room = &mut self.rooms[number as usize];
        let member = &mut self.members[key as usize];
        member.room = number;
        member.position = room.members.len() as u32;
        room.members.push(key);
        let (tag, name, total) = (member.tag, member.name.clone(), room.members.len());
        if self.limits.quiet_above.is_some_and(|max| total > max) {
            room.crowd.note_joined(now.monotonic);
            self.next_notice = self.next_notice.min(room.crowd.due());
        } else {
            self.announce(number, Event::Joined { name, total }, None, now);
        }
        self.outbox.push_back(Output::Entered { tag, room: number });
    }

    /// Takes a member out of its room; returns which one.
    fn depart(&mut self, key: u32, now: Now) -> u32 {
        let Member { room: number, position, .. } = self.members[key as usize];
        let room = &mut self.rooms[number as usize];
        room.members.swap_remove(position as usize);
        if let Some(&moved) = room.members.get(position as usize) {
            self.members[moved as usize].position = position;
        }
        if room.members.is_empty() {
            room.empty_since = now.monotonic;
        }
        number
    }

    /// Tells those who have stayed in a room.
    fn tell_left(&mut self, number: u32, name: Name, why: Option<Why>, now: Now) {
        let room = &mut self.rooms[number as usize];
        let total = room.members.len();
        if self.limits.quiet_above.is_some_and(|max| total >= max) {
            room.crowd.note_left(now.monotonic);
            self.next_notice = self.next_notice.min(room.crowd.due());
        } else {
            self.announce(number, Event::Left { name, total, why }, None, now);
        }
    }

    fn welcome(&mut self, key: u32, names_max: usize, history: usize, reference: &Reference, now: Now) {
        let Member { room, ref name, .. } = self.members[key as usize];
        let room = &self.rooms[room as usize];
        let query = HistoryQuery { limit: history, before: None, after: None };
        let reply = Reply::Welcome {
            name: name.clone(),
            room: room.name.clone(),
            newest_id: room.newest_id,
            epoch_ms: room.epoch_ms,
            users: self.users(room, Some(key), names_max),
            total: room.members.len(),
            history: room.history.get(query, self.limits.history_answer_bytes_max).0,
        };
        self.reply(key, reply, reference, now);
    }

    /// At most `max` names of those in a room, in alphabetic order; `always` is among them.
    fn users(&self, room: &Room, always: Option<u32>, max: usize) -> Vec<Name> {
        let others = room.members.iter().copied().filter(|&key| Some(key) != always);
        let keys = always.into_iter().chain(others).take(max);
        let mut users: Vec<_> = keys.map(|key| self.members[key as usize].name.clone()).collect();
        users.sort();
        users
    }

    fn announce(&mut self, room: u32, event: Event, author: Option<u64>, now: Now) {
        let name = self.rooms[room as usize].name.clone();
        let text = match &event {
            Event::Message(message) => message.body.as_str().len() + message.from.as_str().len(),
            _ => 0,
        };
        self.outbox_bytes += text + event::FRAME_OVERHEAD_BYTES;
        self.outbox.push_back(Output::ToRoom { room, name, at_ms: now.unix_ms, event, author });
    }

    fn acknowledge(&mut self, key: u32, id: Option<u64>, reference: &Reference, now: Now) {
        if reference.is_some() {
            self.reply(key, Reply::Ack { id }, reference, now);
        }
    }

    fn reply(&mut self, key: u32, reply: Reply, reference: &Reference, now: Now) {
        let tag = self.members[key as usize].tag;
        self.outbox_bytes += reply.size();
        let reference = reference.clone();
        self.outbox.push_back(Output::ToMember { tag, at_ms: now.unix_ms, reply, reference });
    }

    /// Panics if the state contradicts itself; for tests.
    ///
    /// # Panics
    /// See above.
    pub fn check_invariants(&self) {
        let mut seen = 0;
        for (number, room) in &self.rooms {
            for (position, &key) in room.members.iter().enumerate() {
                let member = &self.members[key as usize];
                assert_eq!((member.room, member.position), (number as u32, position as u32));
                seen += 1;
            }
            room.history.check_invariants(room.newest_id);
            assert_eq!(self.room_numbers[&room.name], number as u32);
            assert!(room.crowd.due() >= self.next_notice, "a notice would be late");
        }
        assert_eq!(seen, self.members.len(), "everybody is in exactly one room");
        assert_eq!(self.names.len(), self.members.len(), "everybody has exactly one name");
        assert_eq!(self.room_numbers.len(), self.rooms.len());
        assert!(self.limits.rooms_max.is_none_or(|max| self.rooms.len() <= max));
        for (key, member) in &self.members {
            let found = self.names.find(member.name.as_str(), |k| self.members[k as usize].name.clone());
            assert_eq!(found, Some(key as u32), "{} cannot be found", member.name);
        }
    }
}
