//! What is typed, and the end of it.

use std::time::Instant;

use super::phrases::listed;
use super::{LEAVE_WAIT, LOOK_AHEAD, Mode, Output, PAGE, Phase, Prompt, Session};
use crate::chat::RoomName;
use crate::cli::client::command::{self, COMMANDS, Command};
use crate::cli::client::outbox::Until;
use crate::cli::client::protocol::{Request, room_mut};
use crate::cli::client::rooms::LOBBY;
use crate::cli::client::sanitize::clean;

impl Session {
    pub(super) fn typed(&mut self, now: Instant, text: &str) {
        if !self.welcomed && matches!(self.phase, Phase::Nameless) {
            self.name_typed(text);
            return;
        }
        if self.outbox.is_empty() {
            self.progress_at = now;
        }
        self.typed_lines += 1;
        // Nothing is sent after a /quit, also if it was read ahead.
        if !self.ending {
            self.carry_out(now, text);
        } else if !text.trim().is_empty() {
            self.unheeded += 1;
        }
        if self.mode == Mode::Person && !self.ending {
            self.output(Output::Prompt(Prompt::Chat));
        }
    }

    fn carry_out(&mut self, now: Instant, text: &str) {
        match command::parse(text) {
            Ok(None) => {}
            Ok(Some(Command::Help)) => self.help(),
            Ok(Some(Command::Quit)) => self.quit(now),
            Ok(Some(Command::Join(room))) => self.named(Some(&room), Session::join),
            Ok(Some(Command::Leave(room))) => self.named(room.as_deref(), Session::leave_room),
            Ok(Some(Command::Ignore(None))) => self.answer(listed("ignored", &self.ignored)),
            Ok(Some(Command::Ignore(Some(name)))) => {
                self.answer(format!("{name} is ignored until you leave or say /unignore {name}"));
                self.ignored.insert(name.to_lowercase());
            }
            Ok(Some(Command::Unignore(name))) => {
                let was = if self.ignored.remove(&name.to_lowercase()) { "no longer" } else { "not" };
                self.answer(format!("{name} is {was} ignored"));
            }
            Ok(Some(Command::Ask(Request::Nick { name }, _))) if matches!(self.phase, Phase::Nameless) => {
                self.connect_as(name);
            }
            Ok(Some(Command::Ask(request, skip))) => self.ask(request, skip.map(Until::Newest)),
            Err(sentence) => self.not_done(sentence),
        }
    }

    /// Does something with the room of this name, or else the current one.
    fn named(&mut self, room: Option<&str>, act: impl FnOnce(&mut Session, String)) {
        match room.map(RoomName::parse) {
            Some(Err(refusal)) => self.not_done(refusal.text.into_owned()),
            Some(Ok(room)) => act(self, room.as_str().to_owned()),
            None => act(self, self.rooms.current().to_owned()),
        }
    }

    /// Asks the server. The room it is about is settled now, whatever is the current one when it is sent.
    fn ask(&mut self, mut request: Request, until: Option<Until>) {
        let Some(room) = room_mut(&mut request).map(Option::take) else {
            return self.outbox.push(request, until);
        };
        self.named(room.as_deref(), |session, room| {
            room_mut(&mut request).map(|field| field.replace(room));
            session.outbox.push(request, until);
        });
    }

    /// Asks for so many of the messages before those that were shown of the current room. One page at a time: where the
    /// next one ends is known when this one is there.
    pub(super) fn page_up(&mut self, count: usize) {
        let name = self.rooms.current().to_owned();
        let is_known = self.rooms.get(&name).is_some_and(|room| !room.is_new);
        if is_known && !self.outbox.iter().any(|entry| entry.until == Some(Until::Shown)) {
            let (room, limit) = (Some(name), Some(count.clamp(1, PAGE)));
            let request = Request::History { room, limit, before: None, after: None };
            self.outbox.push(request, Some(Until::Shown));
        }
    }

    /// Enters one more room, and makes it the current one at once: what is typed next is for that.
    fn join(&mut self, room: String) {
        let is_new = !self.rooms.wants(&room);
        self.rooms.turn_to(&room);
        if is_new {
            self.outbox.push(Request::Join { room }, None);
        } else if self.mode == Mode::Person {
            self.answer(format!("#{room} is the current room"));
        }
    }

    fn leave_room(&mut self, room: String) {
        if !self.rooms.wants(&room) {
            self.not_done(format!("you are not in #{room}"));
        } else if room == LOBBY && self.rooms.wants_only(LOBBY) {
            self.not_done("you are in the lobby; /quit leaves".into());
        } else {
            self.rooms.give_up(&room);
            self.outbox.push(Request::Leave { room: Some(room) }, None);
        }
    }

    /// Something was asked for that is not done, and never reached the server.
    fn not_done(&mut self, sentence: String) {
        self.failed = true;
        self.trouble(sentence);
    }

    /// There is a line that nobody can read, or there are no more.
    pub(super) fn unreadable(&mut self, sentence: String) {
        self.typed_lines += 1;
        if self.ending {
            self.unheeded += 1;
        } else {
            self.not_done(sentence);
        }
    }

    pub(super) fn help(&mut self) {
        for (name, takes, does) in COMMANDS {
            let usage = format!("{name} {takes}");
            self.answer(format!("{usage:<16} {does}"));
        }
    }

    pub(super) fn name_typed(&mut self, line: &str) {
        let name = clean(line).trim().to_owned();
        match name.as_str() {
            "" => self.output(Output::Prompt(Prompt::Name)),
            "/quit" => self.leave(Ok(true)),
            _ => self.connect_as(name),
        }
    }

    fn connect_as(&mut self, name: String) {
        self.name = Some(name);
        self.connect();
    }

    /// Leaves because somebody said so. A filter looks first whether there is more: it would be lost silently.
    fn quit(&mut self, now: Instant) {
        self.end(now);
        if self.mode == Mode::Sender {
            self.look_ahead_until = Some(now + LOOK_AHEAD);
        }
    }

    /// The input is at its end.
    pub(super) fn ended(&mut self, now: Instant) {
        self.look_ahead_until = None;
        self.input_ended = true;
        self.end(now);
    }

    fn end(&mut self, now: Instant) {
        self.ending = true;
        match self.phase {
            _ if self.mode != Mode::Person => {}
            Phase::Nameless | Phase::Waiting(_) | Phase::Connecting => self.leave_with_status(),
            _ => self.ending_by = Some(now + LEAVE_WAIT),
        }
    }
}
