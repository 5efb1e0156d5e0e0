//! Catching up: a few older lines on entering a room, everything missed on coming back.

use std::time::Instant;

use super::phrases::{as_request, as_typed, message_of};
use super::{CatchUp, Lost, Mode, OLD_LINES, OWN_REF, PAGE, Phase, Session, Why};
use crate::cli::client::protocol::{Event, Request};
use crate::cli::counted;

impl Session {
    /// Fetches what there is to fetch.
    pub(super) fn catch_up(&mut self, now: Instant, why: Why, newest: u64) {
        let request = match why {
            Why::Entered if newest > 0 && self.mode == Mode::Person => {
                Some(Request::History { limit: Some(OLD_LINES), before: Some(newest + 1), after: None })
            }
            Why::Missed { after, .. } if newest > after => Some(page_after(after)),
            _ => None,
        };
        let catch_up = CatchUp { why, newest, fetched: Vec::new(), held: Vec::new() };
        match request {
            Some(request) => {
                self.phase = Phase::CatchingUp(catch_up);
                self.send(&request, OWN_REF);
            }
            None => self.caught_up(now, catch_up),
        }
    }

    /// A page of what was asked for.
    pub(super) fn fetched(&mut self, now: Instant, events: Vec<Event>, more: bool) {
        let mut catch_up = match std::mem::replace(&mut self.phase, Phase::Here) {
            Phase::CatchingUp(catch_up) => catch_up,
            phase => return self.phase = phase,
        };
        catch_up.fetched.extend(events.into_iter().filter_map(message_of));
        let last = catch_up.fetched.last().map_or(0, |(message, _)| message.id);
        let missed = matches!(catch_up.why, Why::Missed { .. });
        if missed && more && last < catch_up.newest && last > 0 {
            self.phase = Phase::CatchingUp(catch_up);
            self.send(&page_after(last), OWN_REF);
        } else {
            self.caught_up(now, catch_up);
        }
    }

    /// Shows what was fetched, decides about what was in doubt, then goes on where we stopped.
    pub(super) fn caught_up(&mut self, now: Instant, catch_up: CatchUp) {
        self.phase = Phase::Here;
        let CatchUp { why, newest, mut fetched, held } = catch_up;
        match why {
            Why::Entered => {
                for (message, action) in fetched {
                    self.show_said(message, action, true);
                }
            }
            Why::Missed { lost, after } => {
                // What is newer was heard live as well, and has its place there.
                fetched.retain(|(message, _)| message.id <= newest);
                let gone = newest.saturating_sub(after).saturating_sub(fetched.len() as u64);
                fetched.retain(|(message, _)| self.seen.note(message.id));
                let (ours, others): (Vec<_>, Vec<_>) =
                    fetched.iter().partition(|(message, _)| message.from == lost.name);
                let said: Vec<_> =
                    ours.iter().map(|(message, action)| as_request(message, *action)).collect();
                self.status(self.back(now, &lost, others.len(), gone));
                for (message, action) in fetched {
                    self.show_said(message, action, true);
                }
                // Under another name we are here while the old connection may still have something to say.
                let is_over = Some(&lost.name) == self.name.as_ref();
                self.judge(&said, is_over && gone == 0);
            }
        }
        self.seen.skip_to(newest);
        held.into_iter().for_each(|event| self.happening(event));
    }

    /// That we are back, and what we missed, in words.
    fn back(&self, now: Instant, lost: &Lost, missed: usize, gone: u64) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        let room = self.room.as_deref().unwrap_or_default();
        let away = now.saturating_duration_since(lost.at).as_secs_f64();
        let anew = if lost.anew { ", the room began anew" } else { "" };
        let missed = if missed == 0 { "nothing".into() } else { counted(missed, "message") };
        let kept = if gone == 0 { String::new() } else { format!(" ({gone} more are no longer kept)") };
        format!("back as {name} in #{room} after {away:.1} s{anew}, missed {missed}{kept}")
    }

    /// Decides about what was sent and not answered when the connection broke, see [`super::super::outbox::Outbox`].
    pub(super) fn judge(&mut self, said: &[Request], complete: bool) {
        for entry in self.outbox.decide(said, complete) {
            self.failed = true;
            let typed = as_typed(&entry.request);
            self.trouble(format!("the connection broke, this may not have arrived: {typed}"));
        }
    }
}

fn page_after(id: u64) -> Request {
    Request::History { limit: Some(PAGE), before: None, after: Some(id) }
}
