//! What the chat wants done: rooms become channels, members listen to them, and what is told is encoded.

use std::fmt::Write;

use super::journal::Kind;
use super::session::{NO_CHANNEL, Session};
use super::{Server, interval};
use crate::chat::{Bye, Output, Reference, Reply};
use crate::reactor::{ConnectionId, Net};
use crate::wire::Encoding;

impl Server {
    /// Carries out what the chat wants done. Called after everything that is asked of it.
    pub(super) fn carry_out(&mut self, net: &mut Net) {
        // Who enters or leaves many rooms at once has a line of the log for all of them.
        let (mut who, mut entered, mut left, mut left_count) = (None, String::new(), String::new(), 0);
        while let Some(output) = self.chat.poll_output() {
            match output {
                Output::RoomOpened { room } => {
                    let slot = room as usize;
                    if self.channels.len() <= slot {
                        self.channels.resize(slot + 1, NO_CHANNEL);
                    }
                    self.channels[slot] = net.open_channel();
                }
                Output::RoomClosed { room } => net.close_channel(self.channels[room as usize]),
                Output::Entered { tag, room, is_current } => {
                    let id = ConnectionId::from_bits(tag);
                    self.listen(net, id, room, is_current);
                    who = Some(id);
                    let _ = write!(entered, " {}", self.chat.room(room).name());
                }
                Output::Turned { tag, room } => self.listen(net, ConnectionId::from_bits(tag), room, true),
                Output::Left { tag, room } => {
                    let id = ConnectionId::from_bits(tag);
                    net.unfollow(id, self.channels[room as usize]);
                    who = Some(id);
                    left_count += 1;
                    let _ = write!(left, " {}", self.chat.room(room).name());
                }
                Output::ToRoom { room, event, author, except } => {
                    let author = author.map(ConnectionId::from_bits);
                    // People see what they type.
                    let author = author.filter(|&id| self.session(id).is_some_and(|s| !s.echoes()));
                    let except = author.into_iter().chain(except.into_iter().map(ConnectionId::from_bits));
                    let (name, at_ms) = (self.chat.room(room).name(), net.now().unix_ms);
                    net.publish(self.channels[room as usize], except, |variant, out| {
                        Encoding::of(variant).event(out, name, at_ms, &event);
                    });
                }
                Output::Ask(ask) => {
                    if let Some(answer) = self.store.ask(ask) {
                        self.chat.answer(answer, net.now());
                    }
                }
                Output::Settled { tag } => self.go_on(net, ConnectionId::from_bits(tag)),
                Output::TakenOver { tag } => {
                    let id = ConnectionId::from_bits(tag);
                    if let Some(session) = self.session(id) {
                        session.member = None;
                    }
                    self.log(net, id, Kind::Close, "", "another connection goes on with its session");
                    self.dismiss(net, id, Bye::TakenOver, None);
                }
                Output::ToMember { tag, reply, reference } => {
                    self.reply(net, ConnectionId::from_bits(tag), &reply, &reference);
                }
            }
        }
        if let Some(id) = who {
            self.charge(net, id, left_count - 1);
        }
        for (kind, rooms) in [(Kind::Join, entered), (Kind::Leave, left)] {
            let session = who.filter(|_| !rooms.is_empty()).and_then(|id| self.session(id));
            if let Some(&Session { id, member: Some(member), .. }) = session.map(|session| &*session) {
                let what = format!("{}{rooms}", self.chat.name(member));
                self.log(net, id, kind, &what, "");
            }
        }
    }

    /// Leaving many rooms at once is told as often as leaving them one by one, and counts as much against the rate.
    fn charge(&mut self, net: &Net, id: ConnectionId, lines: i32) {
        let is_exempt = self.session(id).is_none_or(|session| session.is_exempt);
        if let (Some(rate), Some(peer)) = (self.config.limits.rate.filter(|_| !is_exempt), net.peer(id)) {
            let now = net.now().monotonic;
            let allowance = self.allowances.of(peer.subscriber(), now);
            for _ in 0..lines {
                allowance.reserve(interval(rate), self.config.limits.burst, now);
            }
        }
    }

    /// Lets a connection hear what is said in a room: it is subscribed to its current one, and follows the others.
    pub(super) fn listen(&mut self, net: &mut Net, id: ConnectionId, room: u32, is_current: bool) {
        let channel = self.channels[room as usize];
        let Some(session) = self.session(id) else { return };
        let Some(encoding) = session.encoding() else { return };
        let of_others = encoding.of_other_rooms().variant();
        if !is_current {
            return net.follow(id, channel, of_others);
        }
        let last = std::mem::replace(&mut session.channel, channel);
        net.unfollow(id, channel);
        net.subscribe(id, channel, encoding.variant());
        if last != NO_CHANNEL && last != channel {
            net.follow(id, last, of_others);
        }
    }

    fn reply(&mut self, net: &mut Net, id: ConnectionId, reply: &Reply, reference: &Reference) {
        if matches!(reply, Reply::NotSaved { .. }) {
            self.metrics.refusals += 1;
        }
        let Some(session) = self.session(id) else { return };
        let is_unwanted = matches!(reply, Reply::Welcome { .. }) && session.is_guest();
        let Some(encoding) = session.encoding().filter(|_| !is_unwanted) else { return };
        self.frame.clear();
        encoding.reply(&mut self.frame, net.now().unix_ms, reply, reference, &self.chat);
        if matches!(reply, Reply::Private { .. }) {
            // Whether there is place for it was asked before.
            let _ = net.try_send(id, &self.frame);
        } else {
            net.send(id, &self.frame);
        }
    }
}
