//! The chat itself: rooms, members, and what they say to each other.
//!
//! [`Chat`] is a pure state machine. Commands go in, [`Output`]s come out in the order in which they
//! have to be carried out, and time is a parameter. It knows no sockets, no bytes on the wire, no
//! clocks; so it can be driven by a million random steps in a test, and is.

mod alike;
mod ask;
mod body;
mod command;
mod event;
mod holds;
mod ignored;
mod letter;
mod name;
mod names;
mod places;
mod room;
mod rooms;
mod saving;
mod sessions;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

pub use ask::{Answer, Ask, MARKS_MAX, Mark, Marked, Restored, SESSION_TIME_MS, SessionId, Ticket};
pub use body::{BODY_LINES_MAX, Body};
pub use command::{Command, Hello, HistoryQuery, Resume};
pub use event::{Bye, ErrorCode, Event, Message, Output, Reference, Refusal, Reply, Why};
pub use holds::Home;
pub use name::{NAME_CHARS_MAX, Name, RoomName};
pub use room::Page;
pub use rooms::EMPTY_ROOMS_MAX;

use crate::allowance::Allowances;
use crate::clock::{Millis, Now};
use crate::limits::Limits;
use alike::Forms;
use holds::Holds;
use ignored::{IGNORED_MAX, Ignored};
use names::Names;
use places::Place;
use room::{Notice, Opening, Room};
use saving::Unanswered;
use sessions::{Ack, Sessions};

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
    home: Home,
    name: Name,
    /// In its current room.
    place: Place,
}

/// All rooms and everybody in them.
#[derive(Debug)]
pub struct Chat {
    limits: Rc<Limits>,
    rooms: Slab<Room>,
    room_numbers: HashMap<RoomName, u32>,
    /// The rooms with nobody in them, but for the lobby, in the order in which they make place for others.
    empty_rooms: BTreeMap<u64, u32>,
    /// How many rooms there are that each subscriber has made.
    rooms_made: HashMap<u64, usize>,
    /// How many rooms each may still make.
    room_allowances: Allowances,
    /// The rooms that were opened for somebody, and until when they wait for it.
    awaited_rooms: VecDeque<(Millis, u32)>,
    /// How often a room has become empty.
    emptied: u64,
    /// The rooms that will tell a sum of joins and leaves, in the order in which they do.
    crowded_rooms: VecDeque<u32>,
    members: Slab<Member>,
    /// Where members are besides their current rooms: only those who are.
    other_places: HashMap<u32, Vec<Place>>,
    names: Names,
    holds: Holds,
    ignored: Ignored,
    sessions: Sessions,
    /// What members wait for: only those who do.
    unanswered: HashMap<u32, Unanswered>,
    /// What of it will be told to rooms, about, in bytes of a feed.
    unanswered_bytes: usize,
    /// The store keeps rooms for longer than we do: it is asked before somebody enters one.
    is_lasting: bool,
    outputs: VecDeque<Output>,
    guests: u64,
}

/// A room as others see it.
#[derive(Debug, Clone, Copy)]
pub struct RoomView<'a> {
    number: u32,
    room: &'a Room,
    members: &'a Slab<Member>,
}

impl<'a> RoomView<'a> {
    /// What events call it.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'a RoomName {
        &self.room.name
    }

    /// The id of its newest message; 0 if there is none.
    #[must_use]
    pub fn newest_id(&self) -> u64 {
        self.room.newest_id
    }

    /// When it began to count, in Unix milliseconds: ids of another epoch mean nothing here.
    #[must_use]
    pub fn epoch_ms(&self) -> u64 {
        self.room.epoch_ms
    }

    /// How many are here.
    #[must_use]
    pub fn total(&self) -> usize {
        self.room.members.len()
    }

    /// Who is here, in no order.
    pub fn users(&self) -> impl Iterator<Item = &'a Name> {
        let members = self.members;
        self.room.members.iter().map(|&key| &members[key as usize].name)
    }

    /// How many messages are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.room.history.len()
    }

    /// The messages asked for, as far as they are in memory.
    #[must_use]
    pub fn history(&self, query: HistoryQuery) -> Page {
        self.room.history.look_up(query, self.room.newest_id).0
    }
}

impl Chat {
    /// A chat with nobody in it, and one room: the lobby.
    #[must_use]
    pub fn new(limits: impl Into<Rc<Limits>>, now: Now) -> Self {
        let mut chat = Self::without_rooms(limits.into(), false);
        chat.make_room(RoomName::lobby(), None, now);
        chat
    }

    /// A chat whose store has kept something from the last time, and keeps what is said from now on.
    #[must_use]
    pub fn restored(limits: impl Into<Rc<Limits>>, restored: Restored, now: Now) -> Self {
        let mut chat = Self::without_rooms(limits.into(), true);
        chat.make_room(RoomName::lobby(), None, now);
        let max = chat.limits.max_rooms.unwrap_or(EMPTY_ROOMS_MAX);
        // The room that was used last is the last to make place.
        let others = restored.rooms.into_iter().filter(|(name, ..)| *name != RoomName::lobby());
        let others: Vec<_> = others.take(max.saturating_sub(1)).collect();
        for (name, epoch_ms, newest_id) in others.into_iter().rev() {
            chat.remember_room(name, epoch_ms, newest_id, now);
        }
        for (id, name, left_ms) in restored.sessions {
            let waited = Duration::from_millis(now.unix_ms.saturating_sub(left_ms));
            let left = Duration::from_millis(SESSION_TIME_MS).saturating_sub(waited);
            chat.sessions.restore(id, name, now.monotonic.after(left));
        }
        chat
    }

    fn without_rooms(limits: Rc<Limits>, is_lasting: bool) -> Self {
        alike::prepare();
        Self {
            limits,
            rooms: Slab::new(),
            room_numbers: HashMap::new(),
            empty_rooms: BTreeMap::new(),
            rooms_made: HashMap::new(),
            room_allowances: Allowances::default(),
            awaited_rooms: VecDeque::new(),
            emptied: 0,
            crowded_rooms: VecDeque::new(),
            members: Slab::new(),
            other_places: HashMap::new(),
            names: Names::default(),
            holds: Holds::default(),
            ignored: Ignored::default(),
            sessions: Sessions::default(),
            unanswered: HashMap::new(),
            unanswered_bytes: 0,
            is_lasting,
            outputs: VecDeque::new(),
            guests: 0,
        }
    }

    /// Lets somebody from `home` in, into the lobby if it names no room. Its outputs will carry `tag`.
    ///
    /// # Errors
    /// [`ErrorCode::NameTaken`], or [`ErrorCode::Full`] if the first room would have to be made and cannot.
    pub fn enter(
        &mut self,
        tag: u64,
        home: Home,
        mut hello: Hello,
        reference: &Reference,
        now: Now,
    ) -> Result<MemberId, Refusal> {
        let forms = Forms::of(hello.name.as_str());
        let continued = self.continued(&hello, now);
        self.refuse_taken(&hello.name, &forms, None, continued, home, now)?;
        if hello.rooms.is_empty() {
            hello.rooms.push(RoomName::lobby());
        }
        let room = self.find_or_make_room(hello.rooms[0].clone(), home, now)?;
        self.take_over_session(continued, now);
        self.holds.take_back(&forms, home);
        let key = self.members.vacant_key() as u32;
        let place = self.take_place(key, room);
        self.members.insert(Member { tag, home, name: hello.name.clone(), place });
        self.names.insert(key, &forms);
        self.tell_arrived(key, room, true, now);
        self.begin_session(key, hello.resume, continued);
        self.settle(key, &hello, self.limits.history_on_join, reference, now);
        Ok(MemberId::of(key))
    }

    /// A name nobody has, for somebody from `home`: `guest-1`, `guest-2` …
    pub fn guest_name(&mut self, home: Home, now: Now) -> Name {
        loop {
            self.guests += 1;
            if let Ok(name) = Name::parse(&format!("guest-{}", self.guests))
                && self.check_free(&name, home, now).is_ok()
            {
                return name;
            }
        }
    }

    /// Whether somebody from `home` could be called so.
    ///
    /// # Errors
    /// [`ErrorCode::NameTaken`], with whose name it is, or was a moment ago.
    pub fn check_free(&self, name: &Name, home: Home, now: Now) -> Result<(), Refusal> {
        self.refuse_taken(name, &Forms::of(name.as_str()), None, None, home, now)
    }

    /// Keeps the name of a member who is about to be taken out for whoever comes from the same home, for a moment.
    /// Whoever has a session gets it back by that.
    pub fn hold_name(&mut self, id: MemberId, now: Now) {
        if self.sessions.id_of(id.key()).is_none() {
            let Member { name, home, .. } = &self.members[id.key() as usize];
            self.holds.hold(name.clone(), *home, now.monotonic);
        }
    }

    /// Somebody says good-bye: when it leaves, it does not come back.
    pub fn end_session(&mut self, id: MemberId) {
        if let Some(session) = self.sessions.end(id.key()) {
            self.outputs.push_back(Output::Ask(Ask::Forget { session }));
        }
    }

    /// Takes somebody out, when everything that it has said is answered. Who has not said good-bye may come back: for a
    /// moment nobody else gets the name, and for longer if it has a session.
    pub fn leave(&mut self, id: MemberId, why: Option<Why>, now: Now) {
        if !self.leaves_later(id.key(), why) {
            self.leave_now(id.key(), why, now);
        }
    }

    fn leave_now(&mut self, key: u32, why: Option<Why>, now: Now) {
        if matches!(why, Some(Why::Timeout | Why::Slow | Why::Reset)) {
            self.hold_name(MemberId::of(key), now);
        }
        self.suspend_session(key, now);
        self.unanswered.remove(&key);
        self.ignored.forget(key);
        self.quit_all(key, why, now);
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// Why it was not carried out; nothing has changed then.
    pub fn command(
        &mut self,
        id: MemberId,
        command: Command,
        reference: &Reference,
        now: Now,
    ) -> Result<(), Refusal> {
        let key = id.key();
        let is_once = matches!(
            command,
            Command::Say { .. } | Command::Act { .. } | Command::Tell { .. } | Command::Nick(_)
        );
        if is_once
            && let Some(said_with) = reference.as_deref()
            && let Some(ack) = self.sessions.ack(key, said_with)
        {
            self.reply(key, ack.into(), reference);
            return Ok(());
        }
        match command {
            Command::Say { room, body } => return self.speak(key, room, body, false, reference, now),
            Command::Act { room, body } => return self.speak(key, room, body, true, reference, now),
            Command::Tell { to, body } => return self.tell(key, &to, body, reference, now),
            Command::Nick(name) if name == *self.name_of(key) => {
                return Err(Refusal::new(ErrorCode::BadArgument, format!("you are called {name} already")));
            }
            Command::Nick(name) => {
                let forms = self.check_rename(key, &name, None, now)?;
                self.rename(key, name, &forms);
                self.acknowledge(key, Ack { id: 0, at_ms: now.unix_ms }, reference);
            }
            Command::Hello(hello) => {
                // All or nothing: nothing may be in the way of the first room when the name changes.
                let continued = self.continued(&hello, now);
                let forms = self.check_rename(key, &hello.name, continued, now)?;
                let home = self.members[key as usize].home;
                let first = hello.rooms.first().cloned();
                let first = first.map(|room| self.find_or_make_room(room, home, now)).transpose()?;
                if continued.and_then(|session| self.sessions.member_of(session)) != Some(key) {
                    self.take_over_session(continued, now);
                    self.begin_session(key, hello.resume, continued);
                }
                self.rename(key, hello.name.clone(), &forms);
                let has_entered = first.is_some_and(|number| self.go_to(key, number, now));
                let history = self.limits.history_on_join.filter(|_| has_entered);
                self.settle(key, &hello, history, reference, now);
            }
            Command::Join(room) => {
                let is_new = self.meant(key, Some(&room)).is_err();
                if is_new {
                    self.check_joined(self.rooms_of(key).count() + 1)?;
                }
                self.go(key, room, now)?;
                self.welcome(key, self.limits.history_on_join.filter(|_| is_new), None, reference);
            }
            Command::Leave { room } => return self.leave_room(key, room.as_ref(), reference, now),
            Command::Ignore(name) => self.ignore(key, name, reference)?,
            Command::Unignore(name) => {
                if !self.ignored.remove(key, &name) {
                    let text = format!("you do not ignore {name}");
                    return Err(Refusal::new(ErrorCode::BadArgument, text));
                }
                self.tell_ignored(key, reference);
            }
            Command::Ignored => self.tell_ignored(key, reference),
            Command::Who { room } => {
                let room = self.meant(key, room.as_ref())?;
                self.reply(key, Reply::Users { room }, reference);
            }
            Command::Rooms => {
                let joined = self.rooms_of(key).collect();
                self.reply(key, Reply::Rooms { joined }, reference);
            }
            Command::History { room, query } => {
                let room = self.meant(key, room.as_ref())?;
                let page = self.page(key, room, query, now)?;
                self.reply(key, Reply::History { room, query, page }, reference);
            }
        }
        Ok(())
    }

    /// The next thing to do; none when all is done. To be called after everything that changes something.
    pub fn poll_output(&mut self) -> Option<Output> {
        // Only when all is done: what is still to be told may be about the room.
        if self.outputs.is_empty() && self.empty_rooms.len() > EMPTY_ROOMS_MAX {
            self.forget_a_room(None);
        }
        self.outputs.pop_front()
    }

    /// When [`Chat::expire`] is next due.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        self.crowded_rooms.front().map_or(Millis::NEVER, |&room| self.rooms[room as usize].crowd.due())
    }

    /// Tells the sums of joins and leaves that are due.
    pub fn expire(&mut self, now: Now) {
        while self.deadline() <= now.monotonic
            && let Some(number) = self.crowded_rooms.pop_front()
        {
            let room = &mut self.rooms[number as usize];
            let (total, (joined, left)) = (room.members.len(), room.crowd.take());
            self.announce(number, Event::Crowd { joined, left, total });
        }
    }

    /// The member with a name, written in whatever way: its tag, and the name as its owner writes it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(u64, &Name)> {
        let key = self.names.find(name, |key| self.name_of(key))?;
        Some((self.members[key as usize].tag, self.name_of(key)))
    }

    /// A room that is there.
    #[must_use]
    pub fn room(&self, number: u32) -> RoomView<'_> {
        RoomView { number, room: &self.rooms[number as usize], members: &self.members }
    }

    /// The number of a room.
    #[must_use]
    pub fn room_number(&self, name: &RoomName) -> Option<u32> {
        self.room_numbers.get(name).copied()
    }

    /// The limits that it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// All rooms, remembered empty ones included, in no order.
    pub fn rooms(&self) -> impl ExactSizeIterator<Item = RoomView<'_>> {
        let view = |(number, room)| RoomView { number: number as u32, room, members: &self.members };
        self.rooms.iter().map(view)
    }

    /// The rooms of a member, the current one first.
    pub fn rooms_joined(&self, id: MemberId) -> impl Iterator<Item = u32> + Clone + '_ {
        self.rooms_of(id.key())
    }

    /// Memory that is held for a member, besides its name, in bytes.
    #[must_use]
    pub fn memory_of(&self, id: MemberId) -> usize {
        let places = self
            .other_places
            .get(&id.key())
            .map_or(0, |others| size_of::<(u32, Vec<Place>)>() + others.capacity() * size_of::<Place>());
        self.ignored.memory(id.key()) + places
    }

    /// The name of a member.
    #[must_use]
    pub fn name(&self, id: MemberId) -> &Name {
        self.name_of(id.key())
    }

    /// How many members there are, in all rooms.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.len()
    }

    // ---- what the commands do

    /// The limit is the same in every dialect: one of what is said, not of what is around it.
    fn check_length(&self, key: u32, body: &Body) -> Result<(), Refusal> {
        let max = self.limits.max_line_bytes;
        let too_long = |text: String| Err(Refusal::new(ErrorCode::TooLong, text));
        if body.as_str().len() > max {
            return too_long(format!("a message has at most {max} bytes; yours was dropped"));
        }
        let lines = body.lines().count();
        // To people each line has the name in front, and all of them have to fit into half of what a feed keeps.
        let bytes = body.as_str().len() + lines * (self.name_of(key).as_str().len() + 4);
        let is_too_much = lines > 1 && self.limits.feed_bytes.is_some_and(|max| bytes > max / 2);
        if lines > BODY_LINES_MAX || is_too_much {
            return too_long(format!("a message has at most {BODY_LINES_MAX} lines; yours was dropped"));
        }
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
        let found = self.names.find(to, |key| self.name_of(key));
        let Some(to_key) = found.filter(|&key| !self.is_leaving(key)) else {
            let to: String = Body::new(to).map_or(String::new(), |to| to.as_str().chars().take(40).collect());
            return Err(Refusal::new(ErrorCode::NoSuchUser, format!("nobody here is called {to}")));
        };
        self.check_length(key, &body)?;
        let from = self.name_of(key).clone();
        let to = self.name_of(to_key).clone();
        // Whoever is ignored is not told.
        if !self.ignored.deaf_to(key, &from).contains(&to_key) {
            let reply = Reply::Private { from: from.clone(), to: to.clone(), body: body.clone() };
            self.reply(to_key, reply, &None);
        }
        if to_key != key {
            self.reply(key, Reply::PrivateSent { from, to, body }, &None);
        }
        self.acknowledge(key, Ack { id: 0, at_ms: now.unix_ms }, reference);
        Ok(())
    }

    /// Whether a member may be called so; returns what the name is compared by.
    fn check_rename(&self, key: u32, to: &Name, continued: Option<u32>, now: Now) -> Result<Forms, Refusal> {
        let forms = Forms::of(to.as_str());
        self.refuse_taken(to, &forms, Some(key), continued, self.members[key as usize].home, now)?;
        Ok(forms)
    }

    /// Gives a member a name that it may have.
    fn rename(&mut self, key: u32, to: Name, forms: &Forms) {
        if *self.name_of(key) == to {
            return;
        }
        self.holds.take_back(forms, self.members[key as usize].home);
        let last = std::mem::replace(&mut self.members[key as usize].name, to.clone());
        self.names.remove(key, &last);
        self.names.insert(key, forms);
        self.ignored.rename(key, &last);
        if let Some(session) = self.sessions.rename(key, &to) {
            self.outputs.push_back(Output::Ask(Ask::keep(session, to.clone(), None)));
        }
        let rooms: Vec<u32> = self.rooms_of(key).collect();
        for room in rooms {
            let except = self.told_elsewhere(key, room);
            let event = Event::Renamed { from: last.clone(), to: to.clone() };
            self.outputs.push_back(Output::ToRoom { room, event, author: None, except });
        }
    }

    /// Leaves a room; the last one for the lobby.
    fn leave_room(
        &mut self,
        key: u32,
        room: Option<&RoomName>,
        reference: &Reference,
        now: Now,
    ) -> Result<(), Refusal> {
        let number = self.meant(key, room)?;
        let was_current = self.members[key as usize].place.room == number;
        let is_last = !self.other_places.contains_key(&key);
        if is_last && self.rooms[number as usize].name == RoomName::lobby() {
            let text = "you are in the lobby; /quit leaves it, and the server";
            return Err(Refusal::new(ErrorCode::BadArgument, text));
        }
        if is_last {
            self.go(key, RoomName::lobby(), now)?;
        }
        self.quit_room(key, number, now);
        self.reply(key, Reply::Left { name: self.name_of(key).clone(), room: number }, reference);
        if was_current {
            self.welcome(key, self.limits.history_on_join.filter(|_| is_last), None, &None);
        }
        Ok(())
    }

    /// Whether a member may be in so many rooms.
    fn check_joined(&self, count: usize) -> Result<(), Refusal> {
        match self.limits.max_joined {
            Some(max) if count > max => {
                let text = match max {
                    1 => "one is in one room at most".into(),
                    max => format!("one is in {max} rooms at most; leave another one first"),
                };
                Err(Refusal::new(ErrorCode::Full, text))
            }
            _ => Ok(()),
        }
    }

    fn ignore(&mut self, key: u32, name: Name, reference: &Reference) -> Result<(), Refusal> {
        if self.names.find(name.as_str(), |key| self.name_of(key)) == Some(key) {
            return Err(Refusal::new(ErrorCode::BadArgument, "that is you"));
        }
        if !self.ignored.add(key, &name) {
            let text = format!("you ignore {IGNORED_MAX} names already; /unignore one of them");
            return Err(Refusal::new(ErrorCode::Full, text));
        }
        self.tell_ignored(key, reference);
        Ok(())
    }

    fn tell_ignored(&mut self, key: u32, reference: &Reference) {
        let names = self.ignored.names(key);
        self.reply(key, Reply::Ignored { names }, reference);
    }

    // ---- the parts they are made of

    fn name_of(&self, key: u32) -> &Name {
        &self.members[key as usize].name
    }

    /// Refuses a name to somebody from `home` if it is somebody's, or is held, or looks like one. What is the name of
    /// the member `except`, or belongs to the session that is `continued`, is no reason.
    fn refuse_taken(
        &self,
        name: &Name,
        forms: &Forms,
        except: Option<u32>,
        continued: Option<u32>,
        home: Home,
        now: Now,
    ) -> Result<(), Refusal> {
        let taken_over = continued.and_then(|session| self.sessions.member_of(session));
        let is_other = |key| Some(key) != except && Some(key) != taken_over;
        let holder = self.names.find_alike(forms, is_other, |key| self.name_of(key));
        let text = if let Some(holder) = holder.map(|key| self.name_of(key)) {
            if holder == name {
                format!("{name} is in use")
            } else {
                format!("{name} looks like {holder}, who is here")
            }
        } else if let Some((held, until)) = self
            .holds
            .find(forms, home, now.monotonic)
            .or_else(|| self.sessions.find_name(forms, continued, now.monotonic))
        {
            let looks_like = if held == name { String::new() } else { format!("{name} looks like {held}; ") };
            let seconds = until.since(now.monotonic).as_millis().div_ceil(1000);
            format!(
                "{looks_like}{held} was just left by a connection that broke; it is free to others in {seconds} s"
            )
        } else {
            return Ok(());
        };
        Err(Refusal::new(ErrorCode::NameTaken, text))
    }

    /// Tells those in a room, and the member itself, that it is there, too.
    fn tell_arrived(&mut self, key: u32, number: u32, is_current: bool, now: Now) {
        let Member { tag, name, .. } = &self.members[key as usize];
        let (tag, name, room) = (*tag, name.clone(), &mut self.rooms[number as usize]);
        let total = room.members.len();
        room.history.expire(&self.limits, now.unix_ms);
        if self.is_told_now(number, true, total - 1, now) {
            self.announce(number, Event::Joined { name, total });
        }
        self.outputs.push_back(Output::Entered { tag, room: number, is_current });
    }

    /// Tells those who have stayed in a room.
    fn tell_left(&mut self, number: u32, name: Name, why: Option<Why>, now: Now) {
        let total = self.rooms[number as usize].members.len();
        if self.is_told_now(number, false, total, now) && total > 0 {
            self.announce(number, Event::Left { name, total, why });
        }
    }

    /// Whether a join or leave beside so many others is told now; else it is counted and told later.
    fn is_told_now(&mut self, number: u32, has_joined: bool, others: usize, now: Now) -> bool {
        let crowd = &mut self.rooms[number as usize].crowd;
        let notice = crowd.note(has_joined, others, self.limits.quiet_above, now.monotonic);
        if notice == Notice::Begins {
            self.crowded_rooms.push_back(number);
        }
        notice == Notice::Now
    }

    fn welcome(
        &mut self,
        key: u32,
        history: Option<usize>,
        session: Option<SessionId>,
        reference: &Reference,
    ) {
        let history = HistoryQuery { limit: history.unwrap_or(0), ..HistoryQuery::default() };
        let (name, room) = (self.name_of(key).clone(), self.members[key as usize].place.room);
        self.reply(key, Reply::Welcome { name, room, history, session }, reference);
    }

    fn announce(&mut self, room: u32, event: Event) {
        self.outputs.push_back(Output::ToRoom { room, event, author: None, except: Vec::new() });
    }

    fn acknowledge(&mut self, key: u32, ack: Ack, reference: &Reference) {
        if let Some(said_with) = reference.as_deref() {
            self.sessions.note(key, said_with, ack);
            self.reply(key, ack.into(), reference);
        }
    }

    fn reply(&mut self, key: u32, reply: Reply, reference: &Reference) {
        let tag = self.members[key as usize].tag;
        self.outputs.push_back(Output::ToMember { tag, reply, reference: reference.clone() });
    }

    /// Panics if the state contradicts itself; for tests.
    ///
    /// # Panics
    /// See above.
    pub fn check_invariants(&self) {
        self.check_places();
        for (number, room) in &self.rooms {
            room.history.check_invariants(room.newest_id);
            assert_eq!(self.room_numbers[&room.name], number as u32);
            assert_eq!(self.crowded_rooms.contains(&(number as u32)), room.crowd.due() != Millis::NEVER);
            let is_listed = room.emptied_as.is_some_and(|p| self.empty_rooms[&p] == number as u32);
            assert_eq!(is_listed, room.is_empty());
            assert!(room.members.is_empty() || room.opening == Opening::Open);
        }
        assert!(self.empty_rooms.len() <= self.rooms.len());
        assert_eq!(
            self.rooms_made.values().sum::<usize>(),
            self.rooms.iter().filter(|(_, room)| room.maker.is_some()).count(),
            "everything made is there"
        );
        assert_eq!(self.names.len(), self.members.len(), "everybody has exactly one name");
        assert_eq!(self.room_numbers.len(), self.rooms.len());
        assert!(self.limits.max_rooms.is_none_or(|max| self.rooms.len() <= max));
        for (key, member) in &self.members {
            let found = self.names.find(member.name.as_str(), |key| self.name_of(key));
            assert_eq!(found, Some(key as u32), "{} cannot be found", member.name);
        }
        self.holds.check_invariants();
        self.sessions.check_invariants(|key| self.members.contains(key as usize));
        self.check_unanswered();
        self.ignored.check_invariants(|key| self.members.contains(key as usize));
        assert!(self.outputs.is_empty(), "something was left undone");
    }
}
