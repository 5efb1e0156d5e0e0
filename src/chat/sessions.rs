//! Sessions: who comes back after a connection broke, and what it has said before.
//!
//! A program that says `hello` is given a session. When its connection breaks, the session waits for it: its name is
//! nobody else's meanwhile, and what it says again with the same `ref` is not said twice. Who has no session is held
//! for its [`Home`] only: see [`super::holds`].

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use slab::Slab;

use super::alike::Forms;
use super::ask::{MARKS_MAX, Mark, Marked, SESSION_TIME_MS, SessionId};
use super::names::Names;
use super::{Ask, Chat, Hello, Home, Member, MemberId, Name, Output, Reply, Resume};
use crate::clock::{Millis, Now};

/// For so long a session waits.
const SESSION_TIME: Duration = Duration::from_millis(SESSION_TIME_MS);
/// For so long one that is being saved waits for whoever is to be in it, and so many do.
const RESERVED_TIME: Duration = Duration::from_secs(60);
const RESERVED_MAX: usize = 4096;
/// So many wait; then the oldest end earlier.
pub(super) const WAITING_MAX: usize = 16 * 1024;
/// So many of them of one home: nobody can end those of others by breaking many.
const WAITING_PER_HOME_MAX: u32 = 64;
/// So many marks are known of all sessions together; then whoever puts on another one loses its own oldest, but for
/// the last few: nobody makes others forget what is on its way.
const ALL_MARKS_MAX: usize = 2_000_000;
const FEW_MARKS: usize = 64;

/// What was answered to a request with a `ref`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    /// Of the message; 0 if it made none.
    pub(super) id: u64,
    /// In Unix milliseconds.
    pub(super) at_ms: u64,
}

/// Whether a session's marks are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    Known,
    /// They are in the store, from before roomd began.
    Saved,
    /// The store was asked for them.
    Asked,
    /// It could not read them, and nobody was told so far.
    Unreadable,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    name: Name,
    home: Home,
    /// Who continues it; if nobody does, it ends then.
    member: Result<u32, Millis>,
    marks: Marks,
    /// Of the next mark.
    next_number: u64,
    /// Of the one behind the last that is saved.
    saved_number: u64,
    /// The hashes of the last references, and what was answered.
    hashes: VecDeque<u64>,
    acks: VecDeque<Ack>,
}

fn new_id() -> Option<SessionId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).ok()?;
    Some(SessionId(id))
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: Slab<Session>,
    by_id: HashMap<SessionId, u32>,
    /// Those that nobody is in so far: until when, and whether they are saved.
    reserved: HashMap<SessionId, (Millis, bool)>,
    by_member: HashMap<u32, u32>,
    /// Those that nobody continues, by when they end.
    waiting: BTreeSet<(Millis, u32)>,
    waiting_of: HashMap<u64, u32>,
    /// The names of those.
    names: Names,
    marks: usize,
    hasher: RandomState,
}

impl Sessions {
    /// Begins a session for a member, the one that is `reserved` if it is; none if the system has no random numbers for it.
    pub(super) fn begin(
        &mut self,
        member: u32,
        name: Name,
        home: Home,
        reserved: Option<SessionId>,
    ) -> Option<SessionId> {
        let id = match reserved.filter(|id| self.reserved.remove(id).is_some()) {
            Some(id) => id,
            None => new_id()?,
        };
        let key = self.insert(id, name, home, Ok(member), Marks::Known);
        self.by_member.insert(member, key);
        Some(id)
    }

    /// A session for somebody who will come in when it is saved.
    pub(super) fn reserve(&mut self, now: Millis) -> Option<SessionId> {
        if self.reserved.len() >= RESERVED_MAX {
            self.reserved.retain(|_, (until, _)| *until > now);
        }
        let id = new_id().filter(|_| self.reserved.len() < RESERVED_MAX)?;
        self.reserved.insert(id, (now.after(RESERVED_TIME), false));
        Some(id)
    }

    /// Whether a session that is reserved is saved.
    pub(super) fn is_reserved(&self, id: SessionId) -> Option<bool> {
        self.reserved.get(&id).map(|&(_, is_saved)| is_saved)
    }

    /// A session that is reserved is saved, or cannot be.
    pub(super) fn reserved_may_begin(&mut self, id: SessionId) {
        if let Some((_, is_saved)) = self.reserved.get_mut(&id) {
            *is_saved = true;
        }
    }

    /// Takes up a session from before roomd began, which ends then.
    pub(super) fn restore(&mut self, id: SessionId, name: Option<Name>, ends_at: Millis) {
        let Some(name) = name else {
            self.reserved.insert(id, (ends_at, true));
            return;
        };
        let key =
            self.insert(id, name, Home { is_exempt: true, ..Home::default() }, Err(ends_at), Marks::Saved);
        self.wait(key, ends_at);
    }

    fn insert(
        &mut self,
        id: SessionId,
        name: Name,
        home: Home,
        member: Result<u32, Millis>,
        marks: Marks,
    ) -> u32 {
        let (hashes, acks) = (VecDeque::new(), VecDeque::new());
        let key = self.sessions.insert(Session {
            id,
            name,
            home,
            member,
            marks,
            next_number: 0,
            saved_number: 0,
            hashes,
            acks,
        }) as u32;
        self.by_id.insert(id, key);
        key
    }

    /// A session that can be continued.
    pub(super) fn find(&self, id: SessionId, now: Millis) -> Option<u32> {
        let key = *self.by_id.get(&id)?;
        let is_there = self.sessions[key as usize].member.is_err_and(|ends_at| ends_at <= now);
        (!is_there).then_some(key)
    }

    /// Who continues a session.
    pub(super) fn member_of(&self, key: u32) -> Option<u32> {
        self.sessions[key as usize].member.ok()
    }

    /// The session of a member.
    pub(super) fn id_of(&self, member: u32) -> Option<SessionId> {
        Some(self.sessions[self.key_of(member)? as usize].id)
    }

    fn key_of(&self, member: u32) -> Option<u32> {
        self.by_member.get(&member).copied()
    }

    fn of(&mut self, member: u32) -> Option<&mut Session> {
        let key = self.key_of(member)?;
        self.sessions.get_mut(key as usize)
    }

    pub(super) fn marks_of(&self, key: u32) -> Marks {
        self.sessions[key as usize].marks
    }

    pub(super) fn set_marks(&mut self, key: u32, marks: Marks) {
        self.sessions[key as usize].marks = marks;
    }

    /// The marks of a session that were saved; none if they could not be read.
    pub(super) fn recall(&mut self, id: SessionId, saved: Option<Vec<Marked>>) {
        let Some(&key) = self.by_id.get(&id) else { return };
        let session = &mut self.sessions[key as usize];
        let Some(saved) = saved else {
            session.marks = Marks::Unreadable;
            return;
        };
        session.marks = Marks::Known;
        for Marked { number, reference, id, at_ms } in saved {
            session.next_number = session.next_number.max(number + 1);
            session.saved_number = session.next_number;
            session.hashes.push_back(self.hasher.hash_one(&*reference));
            session.acks.push_back(Ack { id, at_ms });
            self.marks += 1;
        }
    }

    /// A member continues a session that nobody continues.
    pub(super) fn resume(&mut self, key: u32, member: u32, home: Home) {
        self.wait_no_more(key);
        let session = &mut self.sessions[key as usize];
        (session.member, session.home) = (Ok(member), home);
        self.by_member.insert(member, key);
    }

    /// The member of a session has another name.
    pub(super) fn rename(&mut self, member: u32, name: &Name) -> Option<SessionId> {
        let session = self.of(member)?;
        session.name = name.clone();
        Some(session.id)
    }

    /// The connection of a session's member broke: it waits to be continued. Returns which that is, and which have to
    /// end for it.
    pub(super) fn suspend(&mut self, member: u32, now: Millis) -> Option<(SessionId, Vec<SessionId>)> {
        let mut ended = self.expire(now);
        let key = self.by_member.remove(&member)?;
        let Session { id, home, .. } = self.sessions[key as usize];
        let of_home = |sessions: &Slab<Session>, key: u32| sessions[key as usize].home == home;
        if !home.is_exempt
            && self.waiting_of.get(&home.subscriber).is_some_and(|&n| n >= WAITING_PER_HOME_MAX)
        {
            let oldest =
                self.waiting.iter().find(|(_, key)| of_home(&self.sessions, *key)).map(|&(_, key)| key);
            ended.extend(oldest.map(|key| self.remove(key)));
        }
        if self.waiting.len() >= WAITING_MAX {
            let oldest = self.waiting.first().map(|&(_, key)| key);
            ended.extend(oldest.map(|key| self.remove(key)));
        }
        self.wait(key, now.after(SESSION_TIME));
        Some((id, ended))
    }

    fn wait(&mut self, key: u32, ends_at: Millis) {
        let Session { name, home, member, .. } = &mut self.sessions[key as usize];
        *member = Err(ends_at);
        *self.waiting_of.entry(home.subscriber).or_default() += 1;
        self.names.insert(key, &Forms::of(name.as_str()));
        self.waiting.insert((ends_at, key));
    }

    fn wait_no_more(&mut self, key: u32) {
        let Session { name, home, member, .. } = &self.sessions[key as usize];
        let &Err(ends_at) = member else { return };
        self.waiting.remove(&(ends_at, key));
        self.names.remove(key, name);
        if let Some(waiting) = self.waiting_of.get_mut(&home.subscriber) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting_of.remove(&home.subscriber);
            }
        }
    }

    /// The session of a member is over.
    pub(super) fn end(&mut self, member: u32) -> Option<SessionId> {
        let key = self.by_member.remove(&member)?;
        Some(self.remove(key))
    }

    fn remove(&mut self, key: u32) -> SessionId {
        self.wait_no_more(key);
        let session = self.sessions.remove(key as usize);
        self.by_id.remove(&session.id);
        self.marks -= session.hashes.len();
        session.id
    }

    fn expire(&mut self, now: Millis) -> Vec<SessionId> {
        let mut ended = Vec::new();
        while let Some(&(_, key)) = self.waiting.first().filter(|(ends_at, _)| *ends_at <= now) {
            ended.push(self.remove(key));
        }
        ended
    }

    /// The name that is kept for a session, other than `except`, that looks like one with these forms, and until when.
    pub(super) fn find_name(
        &self,
        forms: &Forms,
        except: Option<u32>,
        now: Millis,
    ) -> Option<(&Name, Millis)> {
        if self.waiting.is_empty() {
            return None;
        }
        let counts = |key| {
            Some(key) != except && self.sessions[key as usize].member.is_err_and(|ends_at| ends_at > now)
        };
        let key = self.names.find_alike(forms, counts, |key| &self.sessions[key as usize].name)?;
        let session = &self.sessions[key as usize];
        Some((&session.name, session.member.err()?))
    }

    // ---- marks

    /// What was answered to the request that this session's member has made before with this `ref`.
    pub(super) fn ack(&self, member: u32, reference: &str) -> Option<Ack> {
        let session = &self.sessions[self.key_of(member)? as usize];
        if session.hashes.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(reference);
        let index = session.hashes.iter().position(|&known| known == hash)?;
        session.acks.get(index).copied()
    }

    /// The mark of what a member is about to say.
    pub(super) fn mark(&mut self, member: u32, reference: &str) -> Option<Mark> {
        let session = self.of(member)?;
        let number = session.next_number;
        session.next_number += 1;
        Some(Mark { session: session.id, number, reference: reference.into() })
    }

    /// What has this mark is saved.
    pub(super) fn marked(&mut self, member: u32, number: u64) {
        if let Some(session) = self.of(member) {
            session.saved_number = number + 1;
        }
    }

    /// What has this mark is not saved, and nothing else is on its way: the next one has the number. Of numbers in a row the
    /// store knows the last ones.
    pub(super) fn unmark(&mut self, member: u32, number: u64) {
        if let Some(session) = self.of(member) {
            session.next_number = session.saved_number.min(number);
        }
    }

    /// What a member asked for with this `ref` was done.
    pub(super) fn note(&mut self, member: u32, reference: &str, ack: Ack) {
        let hash = self.hasher.hash_one(reference);
        let max = if self.marks >= ALL_MARKS_MAX { FEW_MARKS } else { MARKS_MAX as usize };
        let Some(session) = self.of(member) else { return };
        session.hashes.push_back(hash);
        session.acks.push_back(ack);
        if session.hashes.len() > max {
            session.hashes.pop_front();
            session.acks.pop_front();
        } else {
            self.marks += 1;
        }
    }

    pub(super) fn check_invariants(&self, is_member: impl Fn(u32) -> bool) {
        assert_eq!(self.by_id.len(), self.sessions.len());
        assert_eq!(self.sessions.len(), self.by_member.len() + self.waiting.len());
        assert!(self.by_member.iter().all(|(&member, &key)| {
            is_member(member) && self.sessions[key as usize].member == Ok(member)
        }));
        assert_eq!(self.names.len(), self.waiting.len(), "every name that is kept is found");
        assert_eq!(self.waiting_of.values().sum::<u32>() as usize, self.waiting.len());
        let marks = self.sessions.iter().map(|(_, session)| session.hashes.len()).sum::<usize>();
        assert_eq!(self.marks, marks);
    }
}

impl From<Ack> for Reply {
    fn from(ack: Ack) -> Self {
        Self::Ack { id: Some(ack.id).filter(|&id| id > 0), at_ms: ack.at_ms }
    }
}

impl Chat {
    /// The session that somebody who introduces itself continues.
    pub(super) fn continued(&self, hello: &Hello, now: Now) -> Option<u32> {
        let Resume::Session(id) = hello.resume else { return None };
        let session = self.sessions.find(id, now.monotonic)?;
        let is_prepared = self.sessions.marks_of(session) == Marks::Known
            && self.sessions.member_of(session).is_none_or(|member| !self.is_unanswered(member));
        is_prepared.then_some(session)
    }

    /// If a member has a session that another connection continues, that member is gone.
    pub(super) fn take_over_session(&mut self, session: Option<u32>, now: Now) {
        if let Some(member) = session.and_then(|session| self.sessions.member_of(session)) {
            self.outputs.push_back(Output::TakenOver { tag: self.members[member as usize].tag });
            self.leave_now(member, None, now);
        }
    }

    /// A member continues a session, or begins one if it wants to, and has none.
    pub(super) fn begin_session(&mut self, key: u32, resume: Resume, continued: Option<u32>) {
        let Member { name, home, .. } = &self.members[key as usize];
        let (name, home) = (name.clone(), *home);
        match continued {
            _ if resume == Resume::No => return,
            Some(session) => {
                self.end_session(MemberId::of(key));
                self.sessions.resume(session, key, home);
            }
            None if self.sessions.id_of(key).is_some() => return,
            None => {
                let reserved = if let Resume::Session(id) = resume { Some(id) } else { None };
                self.sessions.begin(key, name.clone(), home, reserved);
            }
        }
        if let Some(session) = self.sessions.rename(key, &name) {
            self.outputs.push_back(Output::Ask(Ask::keep(session, name, None)));
        }
    }

    /// Lets the session of a member that is about to be gone wait for it.
    pub(super) fn suspend_session(&mut self, key: u32, now: Now) {
        let Some((session, ended)) = self.sessions.suspend(key, now.monotonic) else { return };
        let (name, left_ms) = (self.name_of(key).clone(), Some(now.unix_ms));
        self.outputs.push_back(Output::Ask(Ask::keep(session, name, left_ms)));
        self.outputs.extend(ended.into_iter().map(|session| Output::Ask(Ask::Forget { session })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn home(subscriber: u64) -> Home {
        Home { subscriber, is_exempt: false }
    }

    #[test]
    fn a_session_waits_for_ten_minutes_and_its_name_is_nobody_elses() {
        let mut sessions = Sessions::default();
        let id = sessions.begin(7, name("alice"), home(1), None).unwrap();
        let is_kept =
            |sessions: &Sessions, now| sessions.find_name(&Forms::of("ALlCE"), None, Millis(now)).is_some();
        assert!(!is_kept(&sessions, 0), "she is here");
        assert_eq!(sessions.suspend(7, Millis(5)), Some((id, Vec::new())));
        let key = sessions.find(id, Millis(600_004)).unwrap();
        assert!(is_kept(&sessions, 600_004));
        assert_eq!(sessions.find_name(&Forms::of("alice"), Some(key), Millis(6)), None, "it is hers");
        assert!(!is_kept(&sessions, 600_005) && sessions.find(id, Millis(600_005)).is_none());
        sessions.resume(key, 9, home(2));
        assert!(!is_kept(&sessions, 6));
        assert_eq!((sessions.id_of(9), sessions.id_of(7)), (Some(id), None));
        sessions.check_invariants(|member| member == 9);
        assert_eq!(sessions.end(9), Some(id));
        assert_eq!(sessions.find(id, Millis(6)), None);
        sessions.check_invariants(|_| false);
    }

    #[test]
    fn the_last_thousand_marks_are_known() {
        let mut sessions = Sessions::default();
        sessions.begin(1, name("bot"), home(1), None).unwrap();
        for id in 0..1001 {
            assert_eq!(sessions.mark(1, &format!("r{id}")).unwrap().number, id);
            sessions.note(1, &format!("r{id}"), Ack { id: id + 1, at_ms: 7 });
        }
        assert_eq!(sessions.ack(1, "r0"), None);
        assert_eq!(sessions.ack(1, "r1"), Some(Ack { id: 2, at_ms: 7 }));
        assert_eq!(sessions.ack(1, "r1000"), Some(Ack { id: 1001, at_ms: 7 }));
        assert_eq!(sessions.ack(2, "r1"), None, "of this session only");
        sessions.check_invariants(|_| true);
    }

    #[test]
    fn nobody_makes_others_forget_what_is_on_its_way() {
        let mut sessions = Sessions::default();
        for member in 0..2001 {
            sessions.begin(member, name(&format!("x{member}")), home(1), None).unwrap();
        }
        let ack = Ack { id: 1, at_ms: 1 };
        for member in 0..2000 {
            (0..MARKS_MAX).for_each(|n| sessions.note(member, &n.to_string(), ack));
        }
        assert_eq!(sessions.marks, ALL_MARKS_MAX);
        (0..100).for_each(|n| sessions.note(2000, &n.to_string(), ack));
        assert_eq!(sessions.ack(2000, "35"), None);
        assert!((36..100).all(|n| sessions.ack(2000, &n.to_string()).is_some()));
        sessions.note(0, "one more", ack);
        assert_eq!((sessions.ack(0, "0"), sessions.ack(0, "1")), (None, Some(ack)), "of its own");
        sessions.check_invariants(|_| true);
    }

    #[test]
    fn one_home_does_not_end_the_sessions_of_others() {
        let mut sessions = Sessions::default();
        let alice = sessions.begin(0, name("alice"), home(1), None).unwrap();
        sessions.suspend(0, Millis(0));
        let of_other: Vec<SessionId> = (1..=100)
            .map(|i| {
                let id = sessions.begin(i, name(&format!("x{i}")), home(2), None).unwrap();
                sessions.suspend(i, Millis(i.into()));
                id
            })
            .collect();
        sessions.check_invariants(|_| false);
        assert!(sessions.find(alice, Millis(2)).is_some());
        let left: Vec<bool> = of_other.iter().map(|&id| sessions.find(id, Millis(200)).is_some()).collect();
        assert_eq!(left, (1..=100).map(|i| i > 36).collect::<Vec<bool>>(), "its oldest go first");
        for i in 0..WAITING_MAX as u32 {
            sessions.begin(i, name(&format!("y{i}")), home(u64::from(i) + 3), None).unwrap();
            sessions.suspend(i, Millis(300));
        }
        assert_eq!(sessions.waiting.len(), WAITING_MAX);
        assert!(sessions.find(alice, Millis(300)).is_none(), "there is an end to it");
        sessions.begin(1, name("z"), home(1), None).unwrap();
        assert_eq!(sessions.suspend(1, Millis(700_000)).map(|(_, ended)| ended.len()), Some(WAITING_MAX));
        sessions.check_invariants(|_| false);
    }

    #[test]
    fn what_was_saved_goes_on() {
        let (mut sessions, id) = (Sessions::default(), SessionId([7; 16]));
        sessions.restore(id, Some(name("alice")), Millis(1000));
        let key = sessions.find(id, Millis(0)).unwrap();
        assert_eq!(sessions.marks_of(key), Marks::Saved);
        sessions.recall(id, None);
        assert_eq!(sessions.marks_of(key), Marks::Unreadable);
        let marked = |number: u64| Marked { number, reference: format!("r{number}").into(), id: 3, at_ms: 4 };
        sessions.recall(id, Some(vec![marked(5), marked(7)]));
        assert_eq!(sessions.marks_of(key), Marks::Known);
        sessions.resume(key, 1, home(1));
        assert_eq!(sessions.ack(1, "r7"), Some(Ack { id: 3, at_ms: 4 }));
        assert_eq!(sessions.mark(1, "r8").unwrap().number, 8);
        sessions.check_invariants(|_| true);
    }
}
