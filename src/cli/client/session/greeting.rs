//! Being let in: the answer to `hello`, also when it is none.

use std::time::Instant;

use super::phrases::here;
use super::{Mode, NAME_ATTEMPTS, Output, Phase, Prompt, Seen, Session, Why};
use crate::cli::client::protocol::Event;
use crate::cli::client::sanitize::clean;
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
        if self.lost.is_some() && !(about_name && self.name_refused >= NAME_ATTEMPTS) {
            // A full server may have room again; and it may not have noticed yet that the
            // connection that holds our name is gone.
            self.name_refused += u32::from(about_name);
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

    /// We are in a room: for the first time, again, or in another one.
    pub(super) fn welcome(&mut self, now: Instant, event: Event) {
        let Event::Hello { name, room, id, users, total, epoch, limit, reference, .. } = event else {
            return;
        };
        self.bytes_max = limit.unwrap_or(Limits::default().max_line_bytes);
        if let Some(reference) = reference {
            self.outbox.answered(&reference);
        }
        let same_room = self.room.as_ref().is_none_or(|r| *r == room);
        // By a restart of the server, or because an empty room was forgotten and made again.
        let anew = self.epoch != epoch || id < self.seen.last();
        let why = match self.lost.take() {
            Some(mut lost) if same_room => {
                if anew {
                    self.seen = Seen::default();
                    lost.anew = true;
                }
                Why::Missed { lost, after: self.seen.last() }
            }
            lost => {
                if lost.is_some() {
                    self.judge(&[], false);
                }
                self.seen = Seen::up_to(id);
                if self.mode == Mode::Person {
                    let here = here(&users.iter().cloned().collect(), total);
                    self.answer(format!("you are {name} in #{room}, {here}"));
                }
                Why::Entered
            }
        };
        if !self.welcomed && self.mode == Mode::Person {
            self.output(Output::Prompt(Prompt::Chat));
        }
        self.welcomed = true;
        self.name_refused = 0;
        self.progress_at = now;
        self.epoch = epoch;
        self.names = users.into_iter().collect();
        self.name = Some(name);
        self.room = Some(room);
        self.catch_up(now, why, id);
    }
}
