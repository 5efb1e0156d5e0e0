//! What was typed and is not answered yet, in order, and how a broken connection is survived.
//!
//! Everything typed goes through here, so that what is typed while there is no connection is sent,
//! once, when there is one again. A request is *waiting*, then *sent*, then answered (by its
//! `ref`) and forgotten. The server serves the requests of a connection in order; that is what
//! makes the doubtful ones decidable.
//!
//! # A connection that broke between a request and its answer
//!
//! Had the server read it? After reconnecting, the client fetches what each room heard since the
//! last id it knows; once the name is ours again the server is done with the old connection.
//!
//! * A message that is in there under our name arrived.
//! * A message that is not in there was not read, or was refused and the answer lost: it is sent again. If the
//!   room began anew (a restart), its new record is what counts: a message that is not in it is sent again.
//! * A private message leaves no record, and what was sent after it says only that it was read, not that there
//!   was somebody to tell: it is *not* sent again, and the user is told.
//! * If the room has dropped part of what was missed, or we are back under another name (the server may not be done
//!   with the old connection), the same is true for messages.
//! * After an orderly `bye` there is no doubt: all answers came before it, the rest was not read. Only to those
//!   who are too slow the answers that waited are not sent.
//! * Questions (`/who` …), `/nick`, `/join` and `/leave` are simply asked again.

use std::collections::VecDeque;
use std::time::Instant;

use super::protocol::{Message, Request, room_of};

/// How many requests may be unanswered at once: enough to hide the distance to the server, few
/// enough that a broken connection leaves little in doubt.
const WINDOW: usize = 32;

/// A request that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The `ref` its answer carries.
    pub(super) reference: String,
    /// What is asked.
    pub(super) request: Request,
    /// When it was sent, if it was.
    pub(super) sent_at: Option<Instant>,
    /// The room's event for it has been shown, only the `ack` is missing.
    pub(super) heard: bool,
    /// What it asks for is older than so many of the newest messages.
    pub(super) skip: Option<u64>,
    /// It asks for what is older than these, which were asked for together with it: an answer has its limits.
    pub(super) newer: Vec<(Message, bool)>,
}

impl Entry {
    /// True if the room hears it: such a message has an id and is found in the history.
    fn is_message(&self) -> bool {
        matches!(self.request, Request::Public { .. } | Request::Action { .. })
    }

    /// True if nothing may be sent behind it until it is answered, because it changes who speaks
    /// or where.
    fn is_turning_point(&self) -> bool {
        matches!(self.request, Request::Nick { .. } | Request::Join { .. } | Request::Leave { .. })
    }

    /// True if `said` is what a room hears of this request. The server may trim a body.
    fn says(&self, said: &Request) -> bool {
        match (&self.request, said) {
            (Request::Public { body: a, .. }, Request::Public { body: b, .. })
            | (Request::Action { body: a, .. }, Request::Action { body: b, .. }) => {
                room_of(&self.request) == room_of(said) && a.trim() == b.trim()
            }
            (Request::Private { to, body: a }, Request::Private { to: other, body: b }) => {
                to.to_lowercase() == other.to_lowercase() && a.trim() == b.trim()
            }
            _ => false,
        }
    }
}

/// The unanswered requests, oldest first: the sent ones, then the waiting ones.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: VecDeque<Entry>,
    sent: usize,
    numbered: u64,
}

impl Outbox {
    /// Adds a request at the end.
    pub(super) fn push(&mut self, request: Request, skip: Option<u64>) {
        self.insert(self.entries.len(), request, skip, Vec::new());
    }

    /// Adds a request for what is older than `newer`, to be sent next.
    pub(super) fn ask_on(&mut self, request: Request, skip: Option<u64>, newer: Vec<(Message, bool)>) {
        self.insert(self.sent, request, skip, newer);
    }

    fn insert(&mut self, at: usize, request: Request, skip: Option<u64>, newer: Vec<(Message, bool)>) {
        self.numbered += 1;
        let reference = format!("c{}", self.numbered);
        self.entries.insert(at, Entry { reference, request, sent_at: None, heard: false, skip, newer });
    }

    /// The next request to send, now marked as sent; `None` if all are or too many are unanswered.
    pub(super) fn send_next(&mut self, now: Instant) -> Option<&mut Entry> {
        let turning = |entry: &Entry| entry.is_turning_point();
        if self.sent >= WINDOW || self.entries.iter().take(self.sent).any(turning) {
            return None;
        }
        if self.sent > 0 && self.entries.get(self.sent).is_some_and(turning) {
            return None;
        }
        let entry = self.entries.get_mut(self.sent)?;
        entry.sent_at = Some(now);
        self.sent += 1;
        Some(entry)
    }

    /// Takes out the request that an answer belongs to.
    pub(super) fn answered(&mut self, reference: &str) -> Option<Entry> {
        let mut sent = self.entries.iter().take(self.sent);
        let index = sent.position(|e| e.reference == reference)?;
        self.sent -= 1;
        self.entries.remove(index)
    }

    /// Takes out the request that a refusal without a `ref` belongs to. Only a line the server
    /// could not read has none, so it is the longest one.
    pub(super) fn refused_unread(&mut self) -> Option<Entry> {
        let sent = self.entries.iter().take(self.sent);
        let longest = sent.max_by_key(|e| e.request.to_line(Some(&e.reference)).len())?;
        let reference = longest.reference.clone();
        self.answered(&reference)
    }

    /// Notes that we were heard saying `said`: the first sent message like it needs no mark any more.
    pub(super) fn heard(&mut self, said: &Request) {
        let mut sent = self.entries.iter_mut().take(self.sent);
        if let Some(entry) = sent.find(|entry| !entry.heard && entry.says(said)) {
            entry.heard = true;
        }
    }

    /// The connection is gone after an orderly `bye`: what has no answer was not read.
    pub(super) fn ended(&mut self) {
        self.entries.retain(|entry| !entry.heard);
        self.send_all_again();
    }

    /// Decides about the sent requests of a connection that broke. `said` is everything that rooms heard
    /// from us since, in order; `complete` are those rooms that have not dropped some of it. Returns those
    /// requests of which nobody can tell; they are not sent again.
    pub(super) fn decide(&mut self, said: &[Request], complete: &[String]) -> Vec<Entry> {
        let mut doubtful: Vec<Entry> = self.entries.drain(..self.sent).filter(|e| !e.heard).collect();
        for message in said {
            if let Some(index) = doubtful.iter().position(|entry| entry.says(message)) {
                doubtful.remove(index);
            }
        }
        let is_private = |entry: &Entry| matches!(entry.request, Request::Private { .. });
        let is_complete =
            |entry: &Entry| room_of(&entry.request).is_some_and(|room| complete.iter().any(|r| r == room));
        let decidable = |entry: &Entry| !is_private(entry) && (is_complete(entry) || !entry.is_message());
        let (again, unknown): (Vec<_>, Vec<_>) = doubtful.into_iter().partition(decidable);
        for entry in again.into_iter().rev() {
            self.entries.push_front(entry);
        }
        self.send_all_again();
        unknown
    }

    /// True if this room is asked for and the server has not answered yet.
    pub(super) fn joins(&self, name: &str) -> bool {
        self.iter().any(|entry| matches!(&entry.request, Request::Join { room } if room == name))
    }

    /// Unanswered requests, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many requests are unanswered.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if everything was answered.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn send_all_again(&mut self) {
        self.sent = 0;
        for Entry { request, sent_at, newer, .. } in &mut self.entries {
            *sent_at = None;
            // The ids may have begun anew.
            if let Request::History { limit: Some(limit), before, .. } = request {
                (*limit, *before) = (*limit + newer.len(), None);
                newer.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Request = Request::Users { room: None };

    fn say(body: &str) -> Request {
        say_in("lobby", body)
    }

    fn say_in(room: &str, body: &str) -> Request {
        Request::Public { body: body.into(), room: Some(room.into()) }
    }

    /// Nothing that the lobby heard is lost.
    fn complete() -> [String; 1] {
        ["lobby".into()]
    }

    fn tell(body: &str) -> Request {
        let to = "bob".into();
        Request::Private { to, body: body.into() }
    }

    /// An outbox whose `sent` are on their way and whose `waiting` are not.
    fn outbox(sent: &[Request], waiting: &[Request]) -> Outbox {
        let mut outbox = Outbox::default();
        for request in sent {
            outbox.push(request.clone(), None);
            assert!(outbox.send_next(Instant::now()).is_some());
        }
        for request in waiting {
            outbox.push(request.clone(), None);
        }
        outbox
    }

    fn requests<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Request> {
        entries.into_iter().map(|e| e.request.clone()).collect()
    }

    #[test]
    fn the_same_words_twice_are_two_messages() {
        let mut outbox = outbox(&[say("hi"), say("hi")], &[]);
        outbox.decide(&[say("hi")], &complete());
        assert_eq!(requests(outbox.iter()), [say("hi")]);
    }

    #[test]
    fn each_room_decides_about_what_was_said_there() {
        let sent = [say("hi"), say_in("dev", "hi"), say_in("ops", "hi")];
        let mut outbox = outbox(&sent, &[]);
        assert_eq!(requests(&outbox.decide(&[say_in("dev", "hi")], &complete())), [say_in("ops", "hi")]);
        assert_eq!(requests(outbox.iter()), [say("hi")]);
    }

    /// Nobody of that name may have been there, and the refusal was lost with the connection.
    #[test]
    fn what_came_after_a_private_message_does_not_prove_that_somebody_was_told() {
        let mut outbox = outbox(&[tell("a"), say("1"), tell("b")], &[]);
        assert_eq!(requests(&outbox.decide(&[say("1")], &complete())), [tell("a"), tell("b")]);
        assert!(outbox.is_empty());
    }

    /// It was too long, for example. It used to count as said, silently.
    #[test]
    fn a_message_that_the_room_did_not_hear_is_sent_again_whatever_came_after_it() {
        let mut outbox = outbox(&[say("refused"), WHO, say("1")], &[]);
        assert_eq!(requests(&outbox.decide(&[say("1")], &complete())), []);
        assert_eq!(requests(outbox.iter()), [say("refused"), WHO]);
    }

    #[test]
    fn without_a_complete_record_nothing_is_said_twice() {
        let mut outbox = outbox(&[say("1"), WHO], &[say("2")]);
        assert_eq!(requests(&outbox.decide(&[], &[])), [say("1")]);
        assert_eq!(requests(outbox.iter()), [WHO, say("2")]);
    }

    #[test]
    fn an_event_without_its_ack_is_proof_enough() {
        let mut outbox = outbox(&[tell("a"), say("1"), say("2")], &[]);
        outbox.heard(&say("1"));
        outbox.decide(&[], &complete());
        assert_eq!(requests(outbox.iter()), [say("2")]);
    }

    #[test]
    fn nothing_overtakes_a_change_of_name_or_room() {
        let join = Request::Join { room: "dev".into() };
        let mut outbox = outbox(&[say("1")], &[join, say("2")]);
        assert!(outbox.send_next(Instant::now()).is_none(), "1 is unanswered");
        outbox.answered("c1").unwrap();
        assert_eq!(outbox.send_next(Instant::now()).unwrap().reference, "c2");
        assert!(outbox.send_next(Instant::now()).is_none(), "the join is unanswered");
        outbox.answered("c2").unwrap();
        assert_eq!(outbox.send_next(Instant::now()).unwrap().request, say("2"));
    }

    #[test]
    fn a_refusal_without_a_ref_is_about_the_longest_line() {
        let mut outbox = outbox(&[say("short"), say(&"long".repeat(9)), say("x")], &[]);
        let refused = outbox.refused_unread().unwrap();
        assert_eq!(refused.reference, "c2");
        assert_eq!(outbox.len(), 2);
    }
}
