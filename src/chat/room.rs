//! One room: who is in it, and what was said in it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::{HistoryQuery, Home, Message, RoomName};
use crate::clock::{Millis, Now};
use crate::limits::Limits;

/// How long joins and leaves of a crowded room are collected before they are told in one line; and the time in which
/// those that are told one by one are counted.
const CROWD_NOTICE_INTERVAL: Duration = Duration::from_secs(1);
/// A room of `quiet_above` members is told so many joins and leaves in a second one by one; a smaller one accordingly
/// more.
const FAST_FACTOR: usize = 16;
/// What a kept message costs besides its text, in bytes: its struct, its counters, its slot.
const MESSAGE_OVERHEAD_BYTES: usize = 96;

#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: RoomName,
    /// Who has made it, or has entered it last when it was empty; none for the lobby.
    pub(super) maker: Option<Home>,
    /// Keys of the members, in no order.
    pub(super) members: Vec<u32>,
    /// The id of the newest message; 0 before the first.
    pub(super) newest_id: u64,
    /// When the room was made, in Unix milliseconds.
    pub(super) epoch_ms: u64,
    pub(super) history: History,
    pub(super) crowd: Crowd,
    /// Its number among the empty rooms; none while somebody is here, and for the lobby.
    pub(super) emptied_as: Option<u64>,
}

impl Room {
    pub(super) fn new(name: RoomName, maker: Option<Home>, now: Now) -> Self {
        Self {
            name,
            maker,
            members: Vec::new(),
            newest_id: 0,
            epoch_ms: now.unix_ms,
            history: History::default(),
            crowd: Crowd::default(),
            emptied_as: None,
        }
    }
}

/// Joins and leaves: each is told at once, or counted for a sum that is told later.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    joined: u32,
    left: u32,
    /// When their sum will be told; none if there is nothing to be told.
    due: Option<Millis>,
    /// Deliveries of those that were told at once, in the interval that began then.
    delivered: (usize, Millis),
}

/// What becomes of a join or a leave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// It is told at once.
    Now,
    /// It is the first of a sum.
    Begins,
    /// It is in a sum already.
    Counted,
}

impl Crowd {
    /// Somebody has come in or left, and so many `others` are here: each of them is one more delivery.
    pub(super) fn note(
        &mut self,
        has_joined: bool,
        others: usize,
        max: Option<usize>,
        now: Millis,
    ) -> Notice {
        if now.since(self.delivered.1) >= CROWD_NOTICE_INTERVAL {
            self.delivered = (0, now);
        }
        let is_crowded = |max| others >= max || self.delivered.0 + others > max.saturating_mul(FAST_FACTOR);
        if others == 0 || (self.due.is_none() && !max.is_some_and(is_crowded)) {
            self.delivered.0 += others;
            return Notice::Now;
        }
        *(if has_joined { &mut self.joined } else { &mut self.left }) += 1;
        if self.due.is_some() {
            return Notice::Counted;
        }
        self.due = Some(now.after(CROWD_NOTICE_INTERVAL));
        Notice::Begins
    }

    /// How many have joined and left since the last sum, which is told now.
    pub(super) fn take(&mut self) -> (u32, u32) {
        self.due = None;
        (std::mem::take(&mut self.joined), std::mem::take(&mut self.left))
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

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// See [`RoomView::history`](super::RoomView::history).
    pub(super) fn get<'a>(
        &'a self,
        query: HistoryQuery,
        mut fits: impl FnMut(&'a Message) -> bool,
    ) -> (Vec<&'a Message>, bool) {
        let position = |id: u64| self.messages.partition_point(|m| m.id < id);
        let end = query.before.map_or(self.messages.len(), position);
        let end = end.min(self.messages.len().saturating_sub(query.skip));
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
