//! Being let in: the answer to `hello`, also when it is none.

use std::time::Instant;

use super::phrases::{as_typed, here};
use super::{Mode, Output, Phase, Prompt, Session};
use crate::cli::client::protocol::Event;
use crate::cli::client::rooms::LOBBY;
use crate::cli::client::sanitize::clean;
use crate::cli::client::seen::Seen;
use crate::limits::Limits;

impl Session {
    /// The answer to `hello`.
    pub(super) fn greeted(&mut self, now: Instant, event: Event) {
        match event {
            Event::Hello { .. } => self.welcome(now, event),
            Event::Error { code, text, .. } => self.not_let_in(now, &code, &text),
            Event::Bye { why } if self.welcomed => self.wait(now, &why),
            Event::Bye { why } => self.leave(Err(self.refusal(&why))),
            _ => {}
        }
    }

    /// An answer that is not JSON: of a port for text only, a refusal, or not of a roomd at all.
    pub(super) fn greeted_strangely(&mut self, line: &str) {
        let line = clean(line);
        if line.is_empty() {
            return;
        }
        let address = &self.address;
        let start: String = line.chars().take(60).collect();
        let sentence = match line.strip_prefix("! ") {
            Some(why) => self.refusal(why),
            None if line.starts_with("* roomd ") => {
                format!("{address} is for text only: use nc, or another port")
            }
            None => format!("{address} is not a roomd: it answered “{start}”"),
        };
        if self.welcomed {
            self.output(Output::Disconnect);
            self.trouble(sentence);
            self.phase = Phase::Waiting(self.heard_at + self.backoff.next_wait());
        } else {
            self.leave(Err(sentence));
        }
    }

    fn refusal(&self, why: &str) -> String {
        format!("{} does not let you in: {why}", self.address)
    }

    pub(super) fn not_let_in(&mut self, now: Instant, code: &str, text: &str) {
        let name = self.name.clone().unwrap_or_default();
        let sentence = match code {
            "name-taken" => format!("the name {name} is taken"),
            "name-bad" => format!("{name} cannot be a name: {text}"),
            _ if text.is_empty() => code.to_owned(),
            _ => text.to_owned(),
        };
        self.output(Output::Disconnect);
        let about_name = matches!(code, "name-taken" | "name-bad");
        if self.lost_at.is_some() && !about_name {
            // A full server may have room again.
            self.phase = Phase::Waiting(now + self.backoff.next_wait());
        } else if !about_name {
            self.leave(Err(self.refusal(&sentence)));
        } else if self.mode != Mode::Person {
            self.leave(Err(sentence));
        } else {
            self.phase = Phase::Nameless;
            if self.welcomed {
                self.trouble(format!("{sentence}; /nick NAME takes another"));
            } else {
                self.trouble(sentence);
                self.output(Output::Prompt(Prompt::Name));
            }
        }
    }

    /// We are in a room: for the first time, again, or in one more.
    pub(super) fn welcome(&mut self, now: Instant, event: Event) {
        let Event::Hello { name, room, id, users, total, epoch, session, limit, reference, .. } = event
        else {
            return;
        };
        self.bytes_max = limit.unwrap_or(Limits::default().max_line_bytes);
        if let Some(reference) = reference {
            self.outbox.answered(&reference);
        }
        if matches!(self.phase, Phase::Greeting(_)) {
            self.resume(session);
            if self.rooms.get(&room).is_none() {
                // Where we did not ask for anything, or not for this.
                let asked = self.rooms.to_ask().first().map_or(LOBBY, String::as_str).to_owned();
                self.rooms.replace(&asked, &room);
            }
        }
        self.name = Some(name);
        self.enter(room, id, users, total, epoch);
        if !self.welcomed && self.mode == Mode::Person {
            self.output(Output::Prompt(Prompt::Chat));
        }
        self.welcomed = true;
        self.progress_at = now;
        self.fetch_on(now);
    }

    /// The server goes on with the session that we asked for, and knows what it has carried out; or it has begun another
    /// one, and does not.
    fn resume(&mut self, session: Option<String>) {
        let goes_on = session.is_some() && session == self.session;
        self.session = session;
        if goes_on {
            return;
        }
        self.ghosts = 0;
        for entry in self.outbox.forgotten() {
            self.failed = true;
            let typed = as_typed(&entry.request, self.rooms.current());
            self.trouble(format!("the connection broke, this may not have arrived: {typed}"));
        }
    }

    /// The server says that we are in this room.
    pub(super) fn enter(&mut self, name: String, newest: u64, users: Vec<String>, total: usize, epoch: u64) {
        let room = self.rooms.get_or_ask(&name);
        if room.is_here {
            // It is only said again, as the one that is current for the server.
            return;
        }
        room.is_here = true;
        let is_new = std::mem::take(&mut room.is_new);
        if is_new {
            room.seen = Seen::up_to(newest);
        } else if room.epoch != epoch || newest < room.seen.last() {
            // By a restart of the server, or because an empty room was forgotten and made again.
            room.seen = Seen::up_to(0);
            room.is_anew = true;
        }
        let after = (!is_new).then(|| room.seen.last());
        room.epoch = epoch;
        room.names = users.into_iter().collect();
        if is_new && self.mode == Mode::Person {
            let here = here(&room.names, total);
            let own = self.name.as_deref().unwrap_or_default();
            self.answer(format!("you are {own} in #{name}, {here}"));
        }
        self.known_rooms.insert(name.clone());
        self.catch_up(name, after, newest);
    }

    /// One of the rooms that we asked for cannot be had.
    pub(super) fn not_had(&mut self, now: Instant, room: &str, text: &str) {
        self.failed = true;
        let is_new = self.rooms.get(room).is_some_and(|room| room.is_new);
        let more = if is_new { "" } else { " any more" };
        self.rooms.remove(room);
        self.rooms.give_up(room);
        self.trouble(format!("you are not in #{room}{more}: {text}"));
        self.fetch_on(now);
    }
}
