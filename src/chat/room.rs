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
    /// Its number among the empty rooms; none while somebody is here or it is being opened, and for the lobby.
    pub(super) emptied_as: Option<u64>,
    pub(super) opening: Opening,
    /// It was opened for somebody who has not come so far: it does not make place for others.
    pub(super) is_awaited: bool,
}

/// Whether the store has told what there is of a room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It was not asked.
    Closed,
    Asked,
    Open,
    /// It could not, and nobody was told so far.
    Failed {
        trouble: Box<str>,
        at: Millis,
    },
}

impl Room {
    /// Whether it may make place for others.
    pub(super) fn is_empty(&self) -> bool {
        let is_used = !self.members.is_empty() || self.opening == Opening::Asked || self.is_awaited;
        !is_used && self.name != RoomName::lobby()
    }

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
            opening: Opening::Closed,
            is_awaited: false,
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

/// Some messages of a room, by rising id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Rc<Message>>,
    /// Whether there are more in the direction asked.
    pub more: bool,
    /// Whether that is towards the newer ones.
    pub is_forward: bool,
}

impl Page {
    /// Puts what is `older` in front, and leaves out what is more than `limit` then.
    pub(super) fn extend_back(&mut self, older: Vec<Message>, has_more: bool, limit: usize) {
        if self.is_forward && has_more {
            // What is here comes only behind all of that.
            self.messages.clear();
        }
        self.messages.splice(..0, older.into_iter().map(Rc::new));
        let surplus = self.messages.len().saturating_sub(limit);
        self.more |= has_more || surplus > 0;
        if self.is_forward {
            self.messages.truncate(limit);
        } else {
            self.messages.drain(..surplus);
        }
    }

    /// As many as `fit`, from the end one has towards the other (the first one always does), and whether there are more
    /// in that direction.
    pub fn fit<'a>(&'a self, mut fits: impl FnMut(&'a Message) -> bool) -> (&'a [Rc<Message>], bool) {
        let mut is_first = true;
        let mut takes = |message: &&'a Rc<Message>| fits(message) | std::mem::take(&mut is_first);
        let all = self.messages.len();
        let count = match self.is_forward {
            true => self.messages.iter().take_while(&mut takes).count(),
            false => self.messages.iter().rev().take_while(&mut takes).count(),
        };
        let shown = if self.is_forward { &self.messages[..count] } else { &self.messages[all - count..] };
        (shown, self.more || count < all)
    }
}

/// The newest messages of a room, by rising id without gaps.
#[derive(Debug, Default)]
pub(super) struct History {
    messages: VecDeque<Rc<Message>>,
    bytes: usize,
}

impl History {
    pub(super) fn push(&mut self, message: Rc<Message>, limits: &Limits, now_ms: u64) {
        self.bytes += cost(&message);
        self.messages.push_back(message);
        while limits.history.is_some_and(|max| self.messages.len() > max)
            || limits.history_bytes.is_some_and(|max| self.bytes > max)
            || limits.keep_messages.is_some_and(|max| self.messages.len() > max)
        {
            self.pop_oldest();
        }
        self.expire(limits, now_ms);
    }

    /// Forgets what is older than it may be.
    pub(super) fn expire(&mut self, limits: &Limits, now_ms: u64) {
        let oldest_ms = limits.keeps_since_ms(now_ms);
        while self.messages.front().is_some_and(|oldest| oldest.at_ms < oldest_ms) {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) {
        if let Some(oldest) = self.messages.pop_front() {
            self.bytes -= cost(&oldest);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The messages asked for, as far as they are here, and what else would have to be asked of the store: those that are
    /// older, or, to know whether there are more, one of them.
    pub(super) fn look_up(&self, query: HistoryQuery, newest_id: u64) -> (Page, Option<HistoryQuery>) {
        let first = newest_id + 1 - self.messages.len() as u64;
        // Ids have no holes, so that those left out can be counted.
        let end = query.before.unwrap_or(u64::MAX).min((newest_id + 1).saturating_sub(query.skip as u64));
        let start = query.after.map_or(0, |after| after.saturating_add(1));
        let position = |id: u64| (id.clamp(first, newest_id + 1) - first) as usize;
        let here = position(start)..position(end).max(position(start));
        let (is_forward, count) = (query.after.is_some(), here.len().min(query.limit));
        let wanted = if is_forward { here.start..here.start + count } else { here.end - count..here.end };
        let more = count < here.len();
        let messages = self.messages.range(wanted).cloned().collect();
        let page = Page { messages, more, is_forward };
        let may_be_older = start.max(1) < first.min(end) && query.limit > 0;
        let limit = if is_forward { query.limit } else { (query.limit - count).max(1) };
        let older = HistoryQuery { limit, before: Some(end.min(first)), after: query.after, skip: 0 };
        (page, Some(older).filter(|_| may_be_older && (is_forward || !more)))
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
