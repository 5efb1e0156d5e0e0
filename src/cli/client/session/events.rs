//! In the room: what every event means once we are in.

use std::time::Instant;

use super::phrases::{as_typed, crowd, good_bye, here, message_of, page_in_words, shortened};
use super::{CatchUp, Mode, OWN_REF, PAGE, Phase, Session, When};
use crate::cli::client::display::Line;
use crate::cli::client::outbox::{Entry, Until};
use crate::cli::client::protocol::{Event, Message, Request, room_of};
use crate::cli::client::rooms::LOBBY;
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
            Event::Ack { reference, ts, .. } => self.acked(now, reference.as_deref(), ts),
            Event::Error { code, text, room: Some(room), .. }
                if self.rooms.get(&room).is_some_and(|room| !room.is_here) =>
            {
                self.not_had(now, &room, if text.is_empty() { &code } else { &text });
            }
            Event::Error { code, text, reference, .. } => {
                self.refused(now, &code, &text, reference.as_deref());
            }
            Event::History { events, more, reference, .. } => match reference.as_deref() {
                Some(OWN_REF) => self.fetched(now, events, more),
                reference => self.older(now, events, more, reference),
            },
            Event::Users { room, users, total, reference, .. } => {
                self.answered(now, reference.as_deref());
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.names.extend(users.iter().cloned());
                }
                self.show_of(&room, Line::Answer(here(&users.into_iter().collect(), total)));
            }
            Event::Rooms { rooms, reference, .. } => {
                self.answered(now, reference.as_deref());
                let listed = rooms.iter().map(|room| {
                    let mark = match self.rooms.get(&room.name) {
                        None => "",
                        Some(_) if room.name == self.rooms.current() => ", current",
                        Some(_) => ", joined",
                    };
                    format!("#{} ({}{mark})", room.name, room.members)
                });
                let listed = listed.collect::<Vec<_>>().join(", ");
                self.known_rooms.extend(rooms.into_iter().map(|room| room.name));
                self.answer(format!("rooms: {listed}"));
            }
            Event::Pong { reference, .. } => {
                let entry = self.answered(now, reference.as_deref());
                if let Some(sent_at) = entry.and_then(|entry| entry.sent_at) {
                    let far = now.saturating_duration_since(sent_at).as_secs_f64() * 1000.0;
                    self.answer(format!("pong after {far:.1} ms"));
                }
            }
            Event::Hello { .. } => self.welcome(now, event),
            Event::Room { room, id, epoch, users, total, .. } => {
                self.enter(room, id, users, total, epoch);
                self.fetch_on(now);
            }
            Event::Leave { room, reference: Some(reference), .. } => {
                self.answered(now, Some(&reference));
                self.left(&room);
            }
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
            Event::Join { ts, room, name, .. } => {
                let Some(known) = self.rooms.get_mut(&room) else { return };
                known.names.insert(name.clone());
                if !is_own(&name) {
                    self.happened(&room, ts, format!("{name} joined"));
                }
            }
            Event::Leave { ts, room, name, why, .. } => {
                let Some(known) = self.rooms.get_mut(&room) else { return };
                known.names.remove(&name);
                if !is_own(&name) {
                    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                    self.happened(&room, ts, format!("{name} left{why}"));
                }
            }
            Event::Nick { ts, room, from, name } => self.renamed(ts, &room, &from, name),
            Event::Presence { ts, room, joined, left, total } if self.rooms.get(&room).is_some() => {
                self.happened(&room, ts, crowd(joined, left, total));
            }
            _ => {}
        }
    }

    fn happened(&mut self, room: &str, ts: u64, text: String) {
        self.show_of(room, Line::Happened { ts, text });
    }

    /// We have left a room because we wanted to. From the last one we are put into the lobby, which is said next: there is
    /// nothing to be done before that.
    fn left(&mut self, room: &str) {
        if self.rooms.remove(room) && self.mode == Mode::Person {
            self.answer(format!("you left #{room}"));
        }
        if self.rooms.iter().next().is_none() {
            self.rooms.get_or_ask(LOBBY);
            self.phase = Phase::CatchingUp(CatchUp::default());
        }
    }

    /// We do not come into a room in which we are not yet, unless that was asked for once more.
    fn not_coming(&mut self, room: &str) {
        if self.rooms.get(room).is_none() && !self.outbox.joins(room) {
            self.rooms.give_up(room);
        }
    }

    /// Somebody said something just now.
    pub(super) fn live(&mut self, message: Message, action: bool) {
        let (id, name) = (message.id, message.room.clone());
        let Some(room) = self.rooms.get_mut(&name) else { return };
        let is_new = room.seen.note(id);
        room.seen.skip_to(id);
        if is_new {
            if Some(&message.from) == self.name.as_ref() {
                self.outbox.shown(&name);
            }
            self.show_said(message, action, When::Live);
        }
    }

    /// What we said ourselves was shown at its `ack`, or will be: only that comes again after a break.
    pub(super) fn private(&mut self, ts: u64, from: String, to: String, body: String) {
        if Some(&from) != self.name.as_ref() && !self.ignores(&from) {
            self.show(Line::Private { ts, from, to, body, own: false });
        }
    }

    /// Told once, through `room`, whatever rooms we share.
    pub(super) fn renamed(&mut self, ts: u64, room: &str, from: &str, name: String) {
        let is_current = self.names().contains(from);
        for known in self.rooms.iter_mut() {
            if known.names.remove(from) || known.name == room {
                known.names.insert(name.clone());
            }
        }
        if self.ignores(from) {
            self.ignored.insert(name.to_lowercase());
        }
        if Some(from) == self.name.as_deref() {
            self.outbox.renamed();
            self.show(Line::Happened { ts, text: format!("you are now {name}") });
            self.name = Some(name);
        } else {
            let room = if is_current { self.rooms.current().to_owned() } else { room.to_owned() };
            self.happened(&room, ts, format!("{from} is now {name}"));
        }
    }

    fn acked(&mut self, now: Instant, reference: Option<&str>, ts: u64) {
        let request = self.answered(now, reference).map(|entry| entry.request);
        if let (Some(Request::Private { to, body }), Some(from)) = (request, self.name.clone()) {
            self.show(Line::Private { ts, from, to, body, own: true });
        }
    }

    pub(super) fn refused(&mut self, now: Instant, code: &str, text: &str, reference: Option<&str>) {
        let entry = match reference {
            Some(OWN_REF) => {
                // No history, then.
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
                let typed = as_typed(&entry.request, self.rooms.current());
                match &entry.request {
                    Request::Join { room } => self.not_coming(room),
                    Request::Leave { room: Some(room) } if code == "not-here" => {
                        self.rooms.remove(room);
                    }
                    Request::Leave { room: Some(room) } => {
                        self.rooms.keep(room);
                        // If it is the last one, we are not put there.
                        self.not_coming(LOBBY);
                    }
                    _ => {}
                }
                self.trouble(format!("{text} – not done: {}", shortened(&typed)));
            }
            None => self.trouble(text.to_owned()),
        }
    }

    /// The answer to `/history` or PgUp, or a part of it: then the rest is asked for.
    pub(super) fn older(&mut self, now: Instant, events: Vec<Event>, more: bool, reference: Option<&str>) {
        let mut events: Vec<_> = events.into_iter().filter_map(message_of).collect();
        let Some(Entry { request, until, newer, .. }) = self.answered(now, reference) else { return };
        let room = room_of(&request).unwrap_or_default().to_owned();
        let first = events.first().map(|(message, _)| message.id);
        if let Request::History { limit: Some(limit), .. } = request {
            let left = limit.saturating_sub(events.len());
            events.extend(newer);
            if let Some(before) = first.filter(|_| more && left > 0) {
                let (room, limit, before) = (Some(room), Some(left), Some(before));
                return self.outbox.ask_on(
                    Request::History { room, limit, before, after: None },
                    until,
                    events,
                );
            }
        }
        let text = match until {
            Some(Until::Shown) => {
                // A `/history` may have shown some of them meanwhile.
                let first = self.rooms.get(&room).map_or(1, |room| room.seen.first());
                events.retain(|(message, _)| message.id < first);
                let first = events.first().map_or(first, |(message, _)| message.id);
                page_in_words(&room, events.len(), first, more)
            }
            _ => {
                let but = if let Some(Until::Newest(skip)) = until {
                    format!(" but for {skip}")
                } else {
                    String::new()
                };
                let hint = if more && events.len() < PAGE { " (/history N shows more)" } else { "" };
                format!("the last {}{but}{hint}:", counted(events.len(), "message"))
            }
        };
        self.show_of(&room, Line::Answer(text));
        self.show_older(&room, events);
    }

    pub(super) fn bye(&mut self, now: Instant, why: &str) {
        match why {
            _ if matches!(self.phase, Phase::Leaving(_)) => self.leave_with_status(),
            "taken-over" if self.ghosts == 0 => {
                self.failed = true;
                self.trouble("this session goes on elsewhere, and ends here".into());
                self.leave_with_status();
            }
            // By ourselves, so we come back.
            "taken-over" => {
                self.ghosts -= 1;
                self.wait(now, &good_bye(why));
            }
            _ if self.mode == Mode::Receiver => {
                self.status(good_bye(why));
                self.leave_with_status();
            }
            // What waited for somebody too slow was thrown away, answers too: that is like a break.
            "slow" => self.wait(now, &good_bye(why)),
            _ => {
                self.outbox.ended();
                self.wait(now, &good_bye(why));
            }
        }
    }

    pub(super) fn answered(&mut self, now: Instant, reference: Option<&str>) -> Option<Entry> {
        self.progress_at = now;
        self.outbox.answered(reference?)
    }
}
