//! What was typed and is not answered yet, in order, and how a broken connection is survived.
//!
//! Everything typed goes through here, so that what is typed while there is no connection is sent,
//! once, when there is one again. A request is *waiting*, then *sent*, then answered (by its
//! `ref`) and forgotten.
//!
//! # A connection that broke between a request and its answer
//!
//! Had the server read it? It knows, as long as our session goes on there ("Coming back" in `PROTOCOL.md`): all of it
//! is sent again with the same `ref`s, and what was carried out is answered and not carried out again. If the session
//! is over, because we were away for too long or the server has begun anew without a file, nobody can tell: messages are
//! *not* sent again, and the user is told; all else (`/who` …, `/nick`, `/join` and `/leave`) is simply asked again.
//!
//! After an orderly `bye` there is no doubt: all answers came before it, the rest was not read. Only to those
//! who are too slow the answers that waited are not sent.

use std::collections::VecDeque;
use std::time::Instant;

use super::protocol::{Message, Request, room_of};

/// How many requests may be unanswered at once: enough to hide the distance to the server, few
/// enough that a broken connection leaves little in doubt.
const WINDOW: usize = 32;

/// Where the history that is asked for ends. Which message that is, is known when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Before so many of the newest.
    Newest(u64),
    /// Before all that was shown.
    Shown,
}

/// A request that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The `ref` its answer carries.
    pub(super) reference: String,
    /// What is asked.
    pub(super) request: Request,
    /// When it was sent, if it was.
    pub(super) sent_at: Option<Instant>,
    /// Its room has heard it, and only the `ack` is missing: it is shown already.
    pub(super) is_shown: bool,
    /// A connection broke that it had been sent on: it may have been carried out.
    in_doubt: bool,
    /// Where the history ends that it asks for; `None` is after the newest message.
    pub(super) until: Option<Until>,
    /// It asks for what is older than these, which were asked for together with it: an answer has its limits.
    pub(super) newer: Vec<(Message, bool)>,
}

impl Entry {
    /// True if it would be noticed if it were carried out twice.
    fn is_message(&self) -> bool {
        matches!(self.request, Request::Public { .. } | Request::Action { .. } | Request::Private { .. })
    }

    /// True if nothing may be sent behind it until it is answered, because it changes who speaks
    /// or where.
    fn is_turning_point(&self) -> bool {
        matches!(self.request, Request::Nick { .. } | Request::Join { .. } | Request::Leave { .. })
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
    pub(super) fn push(&mut self, request: Request, until: Option<Until>) {
        self.insert(self.entries.len(), request, until, Vec::new());
    }

    /// Adds a request for what is older than `newer`, to be sent next.
    pub(super) fn ask_on(&mut self, request: Request, until: Option<Until>, newer: Vec<(Message, bool)>) {
        self.insert(self.sent, request, until, newer);
    }

    fn insert(&mut self, at: usize, request: Request, until: Option<Until>, newer: Vec<(Message, bool)>) {
        let reference = next_reference(&mut self.numbered);
        let entry =
            Entry { reference, request, sent_at: None, is_shown: false, in_doubt: false, until, newer };
        self.entries.insert(at, entry);
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

    /// A room has heard us: the oldest that we sent there, because the server keeps the order.
    pub(super) fn shown(&mut self, room: &str) {
        let said = |entry: &&mut Entry| {
            matches!(entry.request, Request::Public { .. } | Request::Action { .. })
                && room_of(&entry.request) == Some(room)
                && !entry.is_shown
        };
        if let Some(entry) = self.entries.iter_mut().take(self.sent).find(said) {
            entry.is_shown = true;
        }
    }

    /// We have the name that we asked for; a `hello` with it says so, too, whatever becomes of the `ack`.
    pub(super) fn renamed(&mut self) {
        if self.sent > 0 && matches!(self.entries[0].request, Request::Nick { .. }) {
            self.entries.pop_front();
            self.sent -= 1;
        }
    }

    /// The connection is gone after an orderly `bye`: what has no answer was not read.
    pub(super) fn ended(&mut self) {
        self.sent = 0;
        for Entry { reference, request, sent_at, is_shown, newer, .. } in &mut self.entries {
            (*sent_at, *is_shown) = (None, false);
            match request {
                // The ids may have begun anew.
                Request::History { limit: Some(limit), before, .. } => {
                    (*limit, *before) = (*limit + newer.len(), None);
                    newer.clear();
                }
                // The `hello` says the old name, which undoes this.
                Request::Nick { .. } => *reference = next_reference(&mut self.numbered),
                _ => {}
            }
        }
    }

    /// The connection broke: what has no answer may have been read.
    pub(super) fn broke(&mut self) {
        self.entries.iter_mut().take(self.sent).for_each(|entry| entry.in_doubt = true);
        self.ended();
    }

    /// The server knows nothing of what was sent on connections that broke. Returns the messages among that, which are
    /// not sent again.
    pub(super) fn forgotten(&mut self) -> Vec<Entry> {
        let is_lost = |entry: &Entry| entry.in_doubt && entry.is_message();
        let (lost, kept): (Vec<_>, Vec<_>) = self.entries.drain(..).partition(is_lost);
        self.entries = kept.into();
        self.entries.iter_mut().for_each(|entry| entry.in_doubt = false);
        lost
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
}

fn next_reference(numbered: &mut u64) -> String {
    *numbered += 1;
    format!("c{numbered}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Request = Request::Users { room: None };

    fn say(body: &str) -> Request {
        Request::Public { body: body.into(), room: Some("lobby".into()) }
    }

    fn tell(body: &str) -> Request {
        Request::Private { to: "bob".into(), body: body.into() }
    }

    fn nick(name: &str) -> Request {
        Request::Nick { name: name.into() }
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

    /// All that can be sent now, by their `ref`s.
    fn send_all(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.send_next(Instant::now()).map(|entry| entry.reference.clone())).collect()
    }

    #[test]
    fn after_a_break_everything_is_sent_again_as_it_was() {
        let mut outbox = outbox(&[say("1"), tell("2"), WHO], &[say("3")]);
        outbox.answered("c1").unwrap();
        outbox.broke();
        assert_eq!(send_all(&mut outbox), ["c2", "c3", "c4"]);
    }

    /// In the session before it, too: it may have broken again before anything was sent.
    #[test]
    fn a_server_that_has_forgotten_what_was_said_is_told_nothing_twice() {
        let mut outbox = outbox(&[say("1"), WHO, tell("2")], &[say("3")]);
        outbox.broke();
        outbox.broke();
        assert_eq!(requests(&outbox.forgotten()), [say("1"), tell("2")]);
        assert_eq!(requests(outbox.iter()), [WHO, say("3")]);
        send_all(&mut outbox);
        outbox.ended();
        assert_eq!(requests(&outbox.forgotten()), [], "it was sent to this one, which did not read it");
    }

    #[test]
    fn a_bye_leaves_in_doubt_what_was_so_before() {
        let mut outbox = outbox(&[say("1")], &[say("2")]);
        outbox.broke();
        send_all(&mut outbox);
        outbox.ended();
        assert_eq!(requests(&outbox.forgotten()), [say("1")]);
        assert_eq!(requests(outbox.iter()), [say("2")]);
    }

    /// The `hello` says the old name; the server would not carry out the same request again.
    #[test]
    fn a_name_is_asked_for_anew_unless_we_have_it() {
        let mut unknown = outbox(&[nick("al")], &[say("1")]);
        unknown.broke();
        assert_eq!(send_all(&mut unknown), ["c3"]);
        let mut told = outbox(&[nick("al")], &[nick("ali")]);
        told.renamed();
        assert_eq!(requests(told.iter()), [nick("ali")]);
        told.renamed();
        assert_eq!(told.len(), 1, "that was not sent yet");
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
