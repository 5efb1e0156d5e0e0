//! What waits for the store: append, then deliver, then acknowledge.
//!
//! A message that somebody says is given to the store, and nobody sees it before the store has answered. What one member
//! says at once goes to the store without waiting for the answers; everything else that it asks for, and its leaving, waits for
//! them, so that nobody leaves before its last words. So there are two steps to a command: [`Chat::prepare`] says
//! whether it can be carried out now, and asks the store for what is missing; [`Chat::command`] carries it out.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::alike::Forms;
use super::room::{Opening, Room};
use super::sessions::{Ack, Marks};
use super::{
    Answer, Ask, Body, Chat, Command, ErrorCode, Event, Hello, HistoryQuery, Home, MemberId, Message, Output,
    Page, Reference, Refusal, Reply, Resume, RoomName, Ticket, Why,
};
use crate::clock::Now;
use crate::limits::Limits;

/// A room that could not be opened is tried again after this time, if nobody was told so far.
const FAILED_TIME_MAX: Duration = Duration::from_secs(1);

/// What a member has asked for, and the store has not answered.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// What it has said, in order.
    said: VecDeque<Said>,
    /// What it wants to read.
    page: Option<Reading>,
    /// It waits for the answers.
    is_awaited: bool,
    /// It is gone, and leaves when all is answered.
    leaves: Option<Option<Why>>,
}

#[derive(Debug)]
struct Said {
    room: u32,
    bytes: usize,
    reference: Reference,
    /// The number of its mark.
    number: Option<u64>,
}

/// A page of a room's history that is older than what is in memory.
#[derive(Debug)]
enum Reading {
    /// What is in memory belongs to it, and so many messages of this room at most.
    Asked(Page, usize, u32),
    Found(Result<Page, Box<str>>),
}

impl Unanswered {
    fn is_pending(&self) -> bool {
        !self.said.is_empty() || matches!(self.page, Some(Reading::Asked(..)))
    }
}

fn not_saved(trouble: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::NotSaved, trouble.into())
}

impl Chat {
    // ---- before a command

    /// Whether a member's command can be carried out now. If not, what is missing is asked of the store, and it is to be
    /// tried again later: after [`Output::Settled`], or when something else was answered.
    ///
    /// # Errors
    /// Why it cannot be carried out: something could not be read, or made.
    pub fn prepare(
        &mut self,
        id: MemberId,
        command: &mut Command,
        reference: &Reference,
        now: Now,
    ) -> Result<bool, Refusal> {
        let key = id.key();
        if let Command::Say { room, body } | Command::Act { room, body } = command {
            return Ok(self.may_speak_now(key, room.as_ref(), body, reference));
        }
        if self.awaits_answers(id) {
            return Ok(false);
        }
        let home = self.members[key as usize].home;
        match command {
            Command::Join(room) => self.prepare_rooms(std::slice::from_ref(room), home, now),
            Command::Leave { .. } => self.prepare_rooms(&[RoomName::lobby()], home, now),
            Command::Hello(hello) => self.prepare_hello(Some(id), hello, home, now),
            Command::History { room, query } => Ok(self.prepare_history(key, room.as_ref(), *query, now)),
            _ => Ok(true),
        }
    }

    /// The same for an introduction, of a member or of somebody from `home` who is about to [`enter`](Chat::enter).
    ///
    /// # Errors
    /// As [`Chat::prepare`].
    pub fn prepare_hello(
        &mut self,
        member: Option<MemberId>,
        hello: &mut Hello,
        home: Home,
        now: Now,
    ) -> Result<bool, Refusal> {
        let lobby = [RoomName::lobby()];
        let rooms = if hello.rooms.is_empty() { &lobby[..] } else { &hello.rooms };
        let joined_max = self.limits.max_joined.unwrap_or(usize::MAX);
        let is_open = self.prepare_rooms(&rooms[..rooms.len().min(joined_max)], home, now)?;
        Ok(self.prepare_session(member.map(MemberId::key), hello, home, now)? && is_open)
    }

    /// Whether the session that somebody wants to be in can be continued now. A new one is saved first: nobody is told of
    /// one that might be forgotten.
    fn prepare_session(
        &mut self,
        member: Option<u32>,
        hello: &mut Hello,
        home: Home,
        now: Now,
    ) -> Result<bool, Refusal> {
        let wanted = match hello.resume {
            Resume::No => return Ok(true),
            Resume::Anew => None,
            Resume::Session(id) => match self.sessions.is_reserved(id) {
                Some(is_saved) => return Ok(is_saved),
                None => self.sessions.find(id, now.monotonic).map(|session| (id, session)),
            },
        };
        let Some((id, session)) = wanted else {
            let has_one = member.is_some_and(|member| self.sessions.id_of(member).is_some());
            let forms = Forms::of(hello.name.as_str());
            if self.is_lasting
                && !has_one
                && self.refuse_taken(&hello.name, &forms, member, None, home, now).is_ok()
                && let Some(session) = self.sessions.reserve(now.monotonic)
            {
                hello.resume = Resume::Session(session);
                let (ticket, left_ms) = (Some(Ticket::Session(session)), Some(now.unix_ms));
                self.outputs.push_back(Output::Ask(Ask::Keep { ticket, session, name: None, left_ms }));
                return Ok(false);
            }
            return Ok(true);
        };
        if let Some(member) = self.sessions.member_of(session)
            && self.awaits_answers(MemberId::of(member))
        {
            // What it has said belongs to the session.
            return Ok(false);
        }
        match self.sessions.marks_of(session) {
            Marks::Known => return Ok(true),
            Marks::Asked => {}
            Marks::Saved => {
                self.sessions.set_marks(session, Marks::Asked);
                let ask = Ask::Recall { ticket: Ticket::Session(id), session: id };
                self.outputs.push_back(Output::Ask(ask));
            }
            Marks::Unreadable => {
                self.sessions.set_marks(session, Marks::Saved);
                return Err(not_saved("what this session has said before cannot be read; try again later"));
            }
        }
        Ok(false)
    }

    /// Whether a member has said something that is not answered. [`Output::Settled`] tells when it is.
    pub fn awaits_answers(&mut self, id: MemberId) -> bool {
        let unanswered = self.unanswered.get_mut(&id.key()).filter(|unanswered| unanswered.is_pending());
        unanswered.map(|unanswered| unanswered.is_awaited = true).is_some()
    }

    fn may_speak_now(
        &mut self,
        key: u32,
        room: Option<&RoomName>,
        body: &Body,
        reference: &Reference,
    ) -> bool {
        let Some(unanswered) = self.unanswered.get(&key).filter(|unanswered| unanswered.is_pending()) else {
            return self.meant(key, room).is_err() || self.may_say_more(body);
        };
        // What is answered at once may not overtake what is not.
        let is_same = |said: &Said| reference.is_some() && said.reference == *reference;
        let is_known = |reference: &str| self.sessions.ack(key, reference).is_some();
        let is_answered_at_once = unanswered.said.iter().any(is_same)
            || reference.as_deref().is_some_and(is_known)
            || self.check_length(key, body).is_err();
        match self.meant(key, room) {
            Ok(_) if !is_answered_at_once => self.may_say_more(body),
            _ => !self.awaits_answers(MemberId::of(key)),
        }
    }

    /// Whether so much more may be on its way. Readers are waited for when they are behind, and this will be told
    /// whatever they are then: to one who is in all rooms, all of it.
    fn may_say_more(&self, body: &Body) -> bool {
        let bytes = self.unanswered_bytes;
        bytes == 0 || self.limits.feed_bytes.is_none_or(|max| bytes + cost(body) <= max / 8)
    }

    /// Whether all these rooms are open; those that are not are asked for, and made if somebody from `home` may. Those
    /// that cannot be had are left to the command.
    ///
    /// # Errors
    /// One of them could not be opened.
    pub fn prepare_rooms(&mut self, rooms: &[RoomName], home: Home, now: Now) -> Result<bool, Refusal> {
        if !self.is_lasting {
            return Ok(true);
        }
        // None of them makes place for another one of them.
        for number in rooms.iter().filter_map(|name| self.room_number(name)).collect::<Vec<u32>>() {
            self.await_somebody(number, now);
        }
        let mut are_open = true;
        for (index, name) in rooms.iter().enumerate() {
            let found = match self.room_number(name) {
                Some(number) => Ok(number),
                None => self.make_room_for(name.clone(), home, now),
            };
            let Ok(number) = found else { continue };
            let room = &mut self.rooms[number as usize];
            match &mut room.opening {
                Opening::Open => continue,
                Opening::Asked => {}
                Opening::Failed { trouble, at } => {
                    let (trouble, is_news) =
                        (std::mem::take(trouble), now.monotonic.since(*at) < FAILED_TIME_MAX);
                    room.opening = Opening::Closed;
                    match (is_news, index) {
                        (true, 0) => return Err(not_saved(trouble)),
                        // That is said of it alone.
                        (true, _) => continue,
                        (false, _) => self.open_room(number, now),
                    }
                }
                Opening::Closed => self.open_room(number, now),
            }
            are_open = false;
        }
        Ok(are_open)
    }

    /// Asks the store for a room. It stays until that has answered.
    pub(super) fn open_room(&mut self, number: u32, now: Now) {
        let newest = self.limits.history_on_join.unwrap_or(0).max(OPENED_MESSAGES);
        let newest = newest.min(self.limits.history.unwrap_or(usize::MAX));
        let room = &mut self.rooms[number as usize];
        room.opening = if self.is_lasting { Opening::Asked } else { Opening::Open };
        let ticket = Ticket::Room(number);
        let ask = Ask::Open { ticket, room: number, name: room.name.clone(), newest, now_ms: now.unix_ms };
        if let Some(place) = self.rooms[number as usize].emptied_as.take_if(|_| self.is_lasting) {
            self.empty_rooms.remove(&place);
        }
        self.outputs.push_back(Output::Ask(ask));
    }

    // ---- history

    fn prepare_history(&mut self, key: u32, room: Option<&RoomName>, query: HistoryQuery, now: Now) -> bool {
        if self.unanswered.contains_key(&key) || !self.is_lasting {
            return true;
        }
        let Ok(number) = self.meant(key, room) else { return true };
        let (page, missing) = self.look_up(number, query, now);
        let Some(missing) = missing else { return true };
        let page = Some(Reading::Asked(page, query.limit, number));
        self.unanswered.insert(key, Unanswered { page, is_awaited: true, ..Unanswered::default() });
        let (ticket, bytes_max) = (Ticket::Member(key), self.limits.answer_bytes_max());
        let since_ms = self.limits.keeps_since_ms(now.unix_ms);
        let ask = Ask::Read { ticket, room: number, query: missing, since_ms, bytes_max };
        self.outputs.push_back(Output::Ask(ask));
        false
    }

    fn look_up(&mut self, number: u32, query: HistoryQuery, now: Now) -> (Page, Option<HistoryQuery>) {
        let room = &mut self.rooms[number as usize];
        room.history.expire(&self.limits, now.unix_ms);
        let forgotten_id = forgotten_id(&self.limits, room);
        let after = query.after.map(|after| after.max(forgotten_id));
        let (page, missing) = room.history.look_up(HistoryQuery { after, ..query }, room.newest_id);
        // Nothing is asked for that is older than it may be.
        let first_id = missing.and_then(|missing| missing.before).unwrap_or(0);
        (page, missing.filter(|_| first_id > forgotten_id + 1))
    }

    /// The page of a room's history that a member has asked for.
    pub(super) fn page(
        &mut self,
        key: u32,
        number: u32,
        query: HistoryQuery,
        now: Now,
    ) -> Result<Page, Refusal> {
        match self.unanswered.remove(&key) {
            Some(Unanswered { page: Some(Reading::Found(page)), .. }) => page.map_err(not_saved),
            _ => Ok(self.look_up(number, query, now).0),
        }
    }

    // ---- saying something

    pub(super) fn speak(
        &mut self,
        key: u32,
        room: Option<RoomName>,
        body: Body,
        is_action: bool,
        reference: &Reference,
        now: Now,
    ) -> Result<(), Refusal> {
        let number = self.meant(key, room.as_ref())?;
        self.check_length(key, &body)?;
        let mark = reference.as_deref().and_then(|reference| self.sessions.mark(key, reference));
        let bytes = cost(&body);
        let from = self.name_of(key).clone();
        let message = Message { id: 0, at_ms: now.unix_ms, from, is_action, body };
        self.unanswered_bytes += bytes;
        let marked = mark.as_ref().map(|mark| mark.number);
        let said = Said { room: number, bytes, reference: reference.clone(), number: marked };
        self.unanswered.entry(key).or_default().said.push_back(said);
        let ask = Ask::Append { ticket: Ticket::Member(key), room: number, message, mark };
        self.outputs.push_back(Output::Ask(ask));
        Ok(())
    }

    // ---- answers

    /// Takes what the store has answered to an [`Output::Ask`].
    pub fn answer(&mut self, answer: Answer, now: Now) {
        match answer {
            Answer::Appended { ticket: Ticket::Member(key), message } => self.appended(key, message, now),
            Answer::Opened { ticket: Ticket::Room(number), epoch_ms, newest_id, messages } => {
                let room = &mut self.rooms[number as usize];
                (room.epoch_ms, room.newest_id, room.opening) = (epoch_ms, newest_id, Opening::Open);
                for message in messages {
                    room.history.push(Rc::new(message), &self.limits, now.unix_ms);
                }
                if self.is_lasting {
                    self.await_somebody(number, now);
                }
            }
            Answer::Found { ticket: Ticket::Member(key), messages, more } => {
                self.found(key, Ok((messages, more)), now);
            }
            Answer::Recalled { ticket: Ticket::Session(id), marks } => self.sessions.recall(id, Some(marks)),
            Answer::Kept { ticket: Ticket::Session(id) } => self.sessions.reserved_may_begin(id),
            Answer::Refused { ticket: Ticket::Session(id), .. } => {
                self.sessions.reserved_may_begin(id);
                self.sessions.recall(id, None);
            }
            Answer::Refused { ticket: Ticket::Room(number), trouble } => {
                self.rooms[number as usize].opening = Opening::Failed { trouble, at: now.monotonic };
                self.note_if_empty(number);
            }
            Answer::Refused { ticket: Ticket::Member(key), trouble } => {
                let Some(said) = self.next_said(key) else { return self.found(key, Err(trouble), now) };
                if let Some(number) = said.number.filter(|_| !self.is_unanswered(key)) {
                    self.sessions.unmark(key, number);
                }
                let refusal = not_saved(trouble);
                self.reply(key, Reply::NotSaved { refusal }, &said.reference);
                self.settle_answers(key, now);
            }
            // About nothing that was asked.
            _ => {}
        }
    }

    /// What this member said is saved, so it is told now.
    fn appended(&mut self, key: u32, message: Message, now: Now) {
        let Some(Said { room: number, reference, number: mark, .. }) = self.next_said(key) else { return };
        if let Some(mark) = mark {
            self.sessions.marked(key, mark);
        }
        let tag = self.members[key as usize].tag;
        let (id, at_ms) = (message.id, message.at_ms);
        let message = Rc::new(message);
        let room = &mut self.rooms[number as usize];
        room.newest_id = id;
        room.history.push(Rc::clone(&message), &self.limits, now.unix_ms);
        let deaf = self.ignored.deaf_to(key, self.name_of(key));
        let except = deaf.into_iter().map(|key| self.members[key as usize].tag).collect();
        let event = Event::Message(message);
        self.outputs.push_back(Output::ToRoom { room: number, event, author: Some(tag), except });
        self.acknowledge(key, Ack { id, at_ms }, &reference);
        self.settle_answers(key, now);
    }

    /// What a member has said, that is answered now.
    fn next_said(&mut self, key: u32) -> Option<Said> {
        let said = self.unanswered.get_mut(&key)?.said.pop_front()?;
        self.unanswered_bytes -= said.bytes;
        Some(said)
    }

    /// What a member wants to read was found, and whether there is more; or could not be read.
    fn found(&mut self, key: u32, found: Result<(Vec<Message>, bool), Box<str>>, now: Now) {
        let Some(unanswered) = self.unanswered.get_mut(&key) else { return };
        let Some(Reading::Asked(mut page, limit, room)) = unanswered.page.take() else { return };
        let forgotten_id = forgotten_id(&self.limits, &self.rooms[room as usize]);
        unanswered.page = Some(Reading::Found(found.map(|(mut messages, more)| {
            // The file may have them a while longer.
            messages.retain(|message| message.id > forgotten_id);
            let is_oldest = messages.first().is_none_or(|oldest| oldest.id == forgotten_id + 1);
            page.extend_back(messages, more && (page.is_forward || !is_oldest), limit);
            page
        })));
        self.settle_answers(key, now);
    }

    /// If everything that a member has said is answered, whoever waits for that goes on, and who is gone leaves.
    fn settle_answers(&mut self, key: u32, now: Now) {
        let Some(unanswered) = self.unanswered.get(&key).filter(|unanswered| !unanswered.is_pending()) else {
            return;
        };
        let Unanswered { is_awaited, leaves, ref page, .. } = *unanswered;
        if is_awaited {
            self.outputs.push_back(Output::Settled { tag: self.members[key as usize].tag });
        }
        // A page stays until it is asked for again.
        if page.is_none() || leaves.is_some() {
            self.unanswered.remove(&key);
        }
        if let Some(why) = leaves {
            self.leave_now(key, why, now);
        }
    }

    /// Whether a member has to stay until what it has said is answered; it leaves then.
    pub(super) fn leaves_later(&mut self, key: u32, why: Option<Why>) -> bool {
        match self.unanswered.get_mut(&key).filter(|unanswered| unanswered.is_pending()) {
            Some(unanswered) => unanswered.leaves = Some(why),
            None => {
                self.unanswered.remove(&key);
                return false;
            }
        }
        true
    }

    /// Whether something of a member is not answered.
    pub(super) fn is_unanswered(&self, key: u32) -> bool {
        self.unanswered.get(&key).is_some_and(Unanswered::is_pending)
    }

    /// Whether somebody is gone, and only its last words are not told.
    pub(super) fn is_leaving(&self, key: u32) -> bool {
        self.unanswered.get(&key).is_some_and(|unanswered| unanswered.leaves.is_some())
    }
}

impl Chat {
    pub(super) fn check_unanswered(&self) {
        let said = self.unanswered.values().flat_map(|unanswered| &unanswered.said);
        assert_eq!(self.unanswered_bytes, said.map(|said| said.bytes).sum::<usize>());
        for (&key, unanswered) in &self.unanswered {
            assert!(self.members.contains(key as usize));
            assert!(unanswered.is_pending() || unanswered.page.is_some(), "nobody waits for nothing");
        }
    }
}

/// The id of the newest message of a room that is not kept any more.
fn forgotten_id(limits: &Limits, room: &Room) -> u64 {
    limits.keep_messages.map_or(0, |max| room.newest_id.saturating_sub(max as u64))
}

/// Of a room without anybody in it, so many messages are read when somebody comes.
const OPENED_MESSAGES: usize = 50;

/// What delivering a message may take, about, in bytes of a feed.
fn cost(body: &Body) -> usize {
    2 * body.as_str().len() + 256
}
