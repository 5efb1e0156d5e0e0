//! Catching up: a few older lines on entering a room, everything missed on coming back.

use std::time::Instant;

use super::phrases::message_of;
use super::{CatchUp, Fetch, Mode, OLD_LINES, OWN_REF, PAGE, Phase, Session, When};
use crate::cli::client::protocol::{Event, Message, Request};
use crate::cli::counted;

impl Session {
    /// We are in this room, whose newest message is `newest`, for the first time or, if `after` says where we stopped,
    /// again: there may be something to fetch.
    pub(super) fn catch_up(&mut self, room: String, after: Option<u64>, newest: u64) {
        let is_person = self.mode == Mode::Person && room == self.rooms.current();
        let next = match after {
            None if newest > 0 && is_person => Some(Request::History {
                room: Some(room.clone()),
                limit: Some(OLD_LINES),
                before: Some(newest + 1),
                after: None,
            }),
            Some(after) if newest > after => Some(page_after(&room, after)),
            _ => None,
        };
        let fetch = Fetch { room, after, newest, next, fetched: Vec::new() };
        if !matches!(self.phase, Phase::CatchingUp(_)) {
            self.phase = Phase::CatchingUp(CatchUp::default());
        }
        if let Phase::CatchingUp(catch_up) = &mut self.phase {
            catch_up.fetches.push(fetch);
        }
    }

    /// Asks for the next page, or goes on where we stopped if there is none and the server has told of all rooms.
    pub(super) fn fetch_on(&mut self, now: Instant) {
        let Phase::CatchingUp(catch_up) = &mut self.phase else { return };
        while !catch_up.is_asking
            && let Some(fetch) = catch_up.fetches.get_mut(catch_up.done)
        {
            match fetch.next.take() {
                None => catch_up.done += 1,
                Some(request) => {
                    catch_up.is_asking = true;
                    return self.send(&request, OWN_REF);
                }
            }
        }
        if !catch_up.is_asking && self.rooms.are_here() {
            let catch_up = std::mem::take(catch_up);
            self.phase = Phase::Here;
            self.caught_up(now, catch_up);
        }
    }

    /// A page of what was asked for.
    pub(super) fn fetched(&mut self, now: Instant, events: Vec<Event>, more: bool) {
        let Phase::CatchingUp(catch_up) = &mut self.phase else { return };
        let Some(fetch) = catch_up.fetches.get_mut(catch_up.done).filter(|_| catch_up.is_asking) else {
            return;
        };
        catch_up.is_asking = false;
        fetch.fetched.extend(events.into_iter().filter_map(message_of));
        let last = fetch.fetched.last().map_or(0, |(message, _)| message.id);
        if fetch.after.is_some() && more && last < fetch.newest && last > 0 {
            fetch.next = Some(page_after(&fetch.room, last));
        }
        self.fetch_on(now);
    }

    /// Shows what was fetched, then goes on where we stopped.
    fn caught_up(&mut self, now: Instant, CatchUp { fetches, held, .. }: CatchUp) {
        let lost_at = self.lost_at.take();
        for (place, Fetch { room: name, after, newest, mut fetched, .. }) in fetches.into_iter().enumerate() {
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            if let (Some(lost_at), Some(after)) = (lost_at, after) {
                // What is newer was heard live as well, and has its place there.
                fetched.retain(|(message, _)| message.id <= newest);
                let gone = newest.saturating_sub(after).saturating_sub(fetched.len() as u64);
                fetched.retain(|(message, _)| room.seen.note(message.id));
                let anew = std::mem::take(&mut room.is_anew);
                let is_missed = |said: &&(Message, bool)| Some(&said.0.from) != self.name.as_ref();
                let missed = fetched.iter().filter(is_missed).count();
                if place == 0 || anew || gone > 0 || missed > 0 {
                    let away = (place == 0).then(|| now.saturating_duration_since(lost_at).as_secs_f64());
                    self.status(self.back(&name, away, anew, missed, gone));
                }
            }
            if after.is_some() {
                fetched
                    .into_iter()
                    .for_each(|(message, action)| self.show_said(message, action, When::Missed));
            } else {
                self.show_older(&name, fetched);
            }
            if let Some(room) = self.rooms.get_mut(&name) {
                room.seen.skip_to(newest);
            }
        }
        held.into_iter().for_each(|event| self.happening(event));
    }

    /// Shows what was said in a room before we came.
    pub(super) fn show_older(&mut self, name: &str, messages: Vec<(Message, bool)>) {
        if let (Some((first, _)), Some((last, _))) = (messages.first(), messages.last())
            && let Some(room) = self.rooms.get_mut(name)
        {
            room.seen.note_older(first.id, last.id);
        }
        messages.into_iter().for_each(|(message, action)| self.show_said(message, action, When::Before));
    }

    /// That we are back in a room, the first one after so many seconds, and what we missed, in words.
    fn back(&self, room: &str, away: Option<f64>, anew: bool, missed: usize, gone: u64) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        let away = away.map_or(String::new(), |away| format!(" after {away:.1} s"));
        let anew = if anew { ", the room began anew" } else { "" };
        let missed = if missed == 0 { "nothing".into() } else { counted(missed, "message") };
        let kept = if gone == 0 { String::new() } else { format!(" ({gone} more are no longer kept)") };
        format!("back as {name} in #{room}{away}{anew}, missed {missed}{kept}")
    }
}

fn page_after(room: &str, id: u64) -> Request {
    Request::History { room: Some(room.to_owned()), limit: Some(PAGE), before: None, after: Some(id) }
}
