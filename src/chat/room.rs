//! One room: who is in it, and what was said in it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::{HistoryQuery, Message, RoomName};
use crate::clock::{Millis, Now};
use crate::limits::Limits;

/// How long joins and leaves of a crowded room are collected before they are told in one line.
const CROWD_NOTICE_INTERVAL: Duration = Duration::from_secs(1);
/// What a kept message costs besides its text, in bytes: its struct, its counters, its slot.
const MESSAGE_OVERHEAD_BYTES: usize = 96;

#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: RoomName,
    /// Keys of the members, in no order.
    pub(super) members: Vec<u32>,
    /// The id of the newest message; 0 before the first.
    pub(super) newest_id: u64,
    /// When the room was made, in Unix milliseconds.
    pub(super) epoch_ms: u64,
    pub(super) history: History,
    pub(super) crowd: Crowd,
    /// Its place among the empty rooms; none while somebody is here, and for the lobby.
    pub(super) empty_place: Option<u64>,
}

impl Room {
    pub(super) fn new(name: RoomName, now: Now) -> Self {
        Self {
            name,
            members: Vec::new(),
            newest_id: 0,
            epoch_ms: now.unix_ms,
            history: History::default(),
            crowd: Crowd::default(),
            empty_place: None,
        }
    }
}

/// Joins and leaves that have not been told yet.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    pub(super) joined: u32,
    pub(super) left: u32,
    /// When they will be; none if there are none.
    due: Option<Millis>,
}

impl Crowd {
    /// Something is to be counted; returns whether it is the first since the last sum.
    pub(super) fn begin(&mut self, now: Millis) -> bool {
        let is_first = self.due.is_none();
        self.due.get_or_insert(now.after(CROWD_NOTICE_INTERVAL));
        is_first
    }

    pub(super) fn due(&self) -> Millis {
        self.due.unwrap_or(Millis::NEVER)
    }
}

/// The newest messages of a room, by rising id without gaps.
#[derive(Debug, Default)]
pub(super) struct History {
    messages: VecDeque<Rc<Message>>,
    bytes: usize,
}

impl History {
    pub(super) fn push(&mut self, message: Rc<Message>, limits: &Limits) {
        self.bytes += cost(&message);
        self.messages.push_back(message);
        while limits.history.is_some_and(|max| self.messages.len() > max)
            || limits.history_bytes.is_some_and(|max| self.bytes > max)
        {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= cost(&oldest);
        }
    }

    /// See [`RoomView::history`](super::RoomView::history).
    pub(super) fn get<'a>(
        &'a self,
        query: HistoryQuery,
        mut fits: impl FnMut(&'a Message) -> bool,
    ) -> (Vec<&'a Message>, bool) {
        let position = |id: u64| self.messages.partition_point(|m| m.id < id);
        let end = query.before.map_or(self.messages.len(), position);
        let start = query.after.map_or(0, |id| position(id.saturating_add(1))).min(end);
        let mut wanted: Vec<&Message> = Vec::new();
        let mut add = |message: &'a Rc<Message>| {
            let is_first = wanted.is_empty();
            let is_wanted = wanted.len() < query.limit && (fits(message) || is_first);
            if is_wanted {
                wanted.push(message);
            }
            is_wanted
        };
        let asked = self.messages.range(start..end);
        // From the end one has, towards the other.
        let has_all =
            if query.after.is_some() { asked.into_iter().all(&mut add) } else { asked.rev().all(&mut add) };
        if query.after.is_none() {
            wanted.reverse();
        }
        (wanted, !has_all)
    }

    pub(super) fn check_invariants(&self, newest_id: u64) {
        let first = newest_id + 1 - self.messages.len() as u64;
        assert!(self.messages.iter().map(|m| m.id).eq(first..=newest_id), "history has a gap");
        assert_eq!(self.bytes, self.messages.iter().map(|m| cost(m)).sum::<usize>());
    }
}

fn cost(message: &Message) -> usize {
    message.body.as_str().len() + MESSAGE_OVERHEAD_BYTES
}
