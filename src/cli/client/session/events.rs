//! In the room: what every event means once we are in.

use std::time::Instant;

use super::phrases::{as_request, as_typed, crowd, good_bye, here, message_of, shortened};
use super::{Mode, OWN_REF, PAGE, Phase, Session};
use crate::cli::client::display::Line;
use crate::cli::client::outbox::Entry;
use crate::cli::client::protocol::{Event, Message, Request};
use crate::cli::counted;

impl Session {
    /// An event once we are in. While we catch up, what happens in the room has to wait.
    pub(super) fn event(&mut self, now: Instant, event: Event) {
        if let Some(event) = self.reply(now, event) {
            match &mut self.phase {
                Phase::CatchingUp(catch_up) => catch_up.held.push(event),
                _ => self.happening(event),
            }
        }
    }

    /// Takes in an answer; gives back an event that is none.
    fn reply(&mut self, now: Instant, event: Event) -> Option<Event> {
        match event {
            Event::Ack { reference, ts, id } => self.acked(now, reference.as_deref(), ts, id),
            Event::Error { code, text, reference } => {
                self.refused(now, &code, &text, reference.as_deref());
            }
            Event::History { events, more, reference, .. } => match reference.as_deref() {
                Some(OWN_REF) => self.fetched(now, events, more),
                reference => self.older(now, events, more, reference),
            },
            Event::Users { users, total, reference, .. } => {
                self.names.extend(users.iter().cloned());
                self.answered(now, reference.as_deref());
                self.answer(here(&users.into_iter().collect(), total));
            }
            Event::Rooms { rooms, reference, .. } => {
                self.answered(now, reference.as_deref());
                let rooms = rooms.iter().map(|room| format!("#{} ({})", room.name, room.members));
                self.answer(format!("rooms: {}", rooms.collect::<Vec<_>>().join(", ")));
            }
            Event::Pong { reference, .. } => {
                let entry = self.answered(now, reference.as_deref());
                if let Some(sent_at) = entry.and_then(|entry| entry.sent_at) {
                    let far = now.saturating_duration_since(sent_at).as_secs_f64() * 1000.0;
                    self.answer(format!("pong after {far:.1} ms"));
                }
            }
            Event::Hello { .. } => self.welcome(now, event),
            Event::Bye { why } => self.bye(now, &why),
            event => return Some(event),
        }
        None
    }

    /// Something said or done in the room, or a private message.
    pub(super) fn happening(&mut self, event: Event) {
        let is_own = |name: &String| Some(name) == self.name.as_ref();
        match event {
            Event::Public(message) => self.live(message, false),
            Event::Action(message) => self.live(message, true),
            Event::Private { ts, from, to, body, .. } => self.private(ts, from, to, body),
            Event::Join { ts, name, .. } => {
                if !is_own(&name) {
                    self.happened(ts, format!("{name} joined"));
                }
                self.names.insert(name);
            }
            Event::Leave { ts, name, why, .. } => {
                self.names.remove(&name);
                if !is_own(&name) {
                    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                    self.happened(ts, format!("{name} left{why}"));
                }
            }
            Event::Nick { ts, from, name, .. } => self.renamed(ts, &from, name),
            Event::Presence { ts, joined, left, total, .. } => {
                self.happened(ts, crowd(joined, left, total));
            }
            _ => {}
        }
    }

    /// Somebody said something just now.
    pub(super) fn live(&mut self, message: Message, action: bool) {
        let id = message.id;
        if self.seen.note(id) {
            if Some(&message.from) == self.name.as_ref() {
                self.outbox.heard(&as_request(&message, action));
            }
            self.show_said(message, action, false);
        }
        self.seen.skip_to(id);
    }

    pub(super) fn private(&mut self, ts: u64, from: String, to: String, body: String) {
        let own = Some(&from) == self.name.as_ref();
        if own {
            let said = Request::Private { to: to.clone(), body: body.clone() };
            if let Some(shown) = self.echoes.iter().position(|echo| *echo == said) {
                self.echoes.remove(shown);
                return;
            }
            self.outbox.heard(&said);
        }
        if own || !self.ignores(&from) {
            self.show(Line::Private { ts, from, to, body, own });
        }
    }

    pub(super) fn renamed(&mut self, ts: u64, from: &str, name: String) {
        self.names.remove(from);
        self.names.insert(name.clone());
        if self.ignores(from) {
            self.ignored.insert(name.to_lowercase());
        }
        if Some(from) == self.name.as_deref() {
            self.name = Some(name.clone());
            self.happened(ts, format!("you are now {name}"));
        } else {
            self.happened(ts, format!("{from} is now {name}"));
        }
    }

    pub(super) fn acked(&mut self, now: Instant, reference: Option<&str>, ts: u64, id: Option<u64>) {
        let entry = self.answered(now, reference).filter(|entry| !entry.heard);
        let (Some(entry), Some(from)) = (entry, self.name.clone()) else {
            return;
        };
        // The ack overtook the event: show it now, and not again.
        let action = matches!(entry.request, Request::Action { .. });
        match (entry.request, id) {
            (Request::Public { body } | Request::Action { body }, Some(id)) if self.seen.note(id) => {
                let room = self.room.clone().unwrap_or_default();
                self.show_said(Message { id, ts, room, from, body }, action, false);
            }
            (Request::Private { to, body }, _) => {
                self.echoes.push(Request::Private { to: to.clone(), body: body.clone() });
                self.show(Line::Private { ts, from, to, body, own: true });
            }
            _ => {}
        }
    }

    pub(super) fn refused(&mut self, now: Instant, code: &str, text: &str, reference: Option<&str>) {
        let entry = match reference {
            Some(OWN_REF) => {
                // No history, then. What was in doubt stays undecided.
                if matches!(self.phase, Phase::CatchingUp(_)) {
                    self.fetched(now, Vec::new(), false);
                }
                return;
            }
            Some(_) => self.answered(now, reference),
            None if matches!(code, "too-long" | "bad-utf8") => self.outbox.refused_unread(),
            None => None,
        };
        self.failed = true;
        let text = if text.is_empty() { code } else { text };
        match entry {
            Some(entry) => {
                let typed = as_typed(&entry.request);
                self.trouble(format!("{text} – not done: {}", shortened(&typed)));
            }
            None => self.trouble(text.to_owned()),
        }
    }

    /// The answer to `/history`, or a part of it: then the rest is asked for.
    pub(super) fn older(&mut self, now: Instant, events: Vec<Event>, more: bool, reference: Option<&str>) {
        let mut events: Vec<_> = events.into_iter().filter_map(message_of).collect();
        if let Some(Entry { request: Request::History { limit: Some(limit), .. }, newer, .. }) =
            self.answered(now, reference)
        {
            let left = limit.saturating_sub(events.len());
            let first = events.first().map(|(message, _)| message.id);
            events.extend(newer);
            if let Some(before) = first.filter(|_| more && left > 0) {
                let older = Request::History { limit: Some(left), before: Some(before), after: None };
                return self.outbox.ask_on(older, events);
            }
        }
        let hint = if more && events.len() < PAGE { " (/history N shows more)" } else { "" };
        self.answer(format!("the last {}{hint}:", counted(events.len(), "message")));
        for (message, action) in events {
            self.show_said(message, action, true);
        }
    }

    pub(super) fn bye(&mut self, now: Instant, why: &str) {
        if matches!(self.phase, Phase::Leaving(_)) {
            self.leave_with_status();
        } else if self.mode == Mode::Receiver {
            self.status(good_bye(why));
            self.leave_with_status();
        } else {
            // What waited for somebody too slow was thrown away, answers too: that is like a break.
            if matches!(self.phase, Phase::Here) && why != "slow" {
                self.outbox.ended();
            }
            self.wait(now, &good_bye(why));
        }
    }

    pub(super) fn answered(&mut self, now: Instant, reference: Option<&str>) -> Option<Entry> {
        self.progress_at = now;
        self.outbox.answered(reference?)
    }
}
