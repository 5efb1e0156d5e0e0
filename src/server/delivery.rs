//! What the chat wants done: rooms become channels, members listen to them, and what is told is encoded.

use super::Server;
use super::journal::Kind;
use super::session::NO_CHANNEL;
use crate::chat::{Output, Reference, Reply};
use crate::reactor::{ConnectionId, Net};
use crate::wire::Encoding;

impl Server {
    /// Carries out what the chat wants done. Called after everything that is asked of it.
    pub(super) fn carry_out(&mut self, net: &mut Net) {
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
                    self.log_room(net, id, Kind::Join, room);
                }
                Output::Turned { tag, room } => self.listen(net, ConnectionId::from_bits(tag), room, true),
                Output::Left { tag, room } => {
                    let id = ConnectionId::from_bits(tag);
                    net.unfollow(id, self.channels[room as usize]);
                    self.log_room(net, id, Kind::Leave, room);
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
                Output::ToMember { tag, reply, reference } => {
                    self.reply(net, ConnectionId::from_bits(tag), &reply, &reference);
                }
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

    /// Logs that a member has entered or left a room.
    fn log_room(&mut self, net: &Net, id: ConnectionId, kind: Kind, room: u32) {
        if let Some(member) = self.session(id).and_then(|session| session.member) {
            let what = format!("{} {}", self.chat.name(member), self.chat.room(room).name());
            self.log(net, id, kind, &what, "");
        }
    }

    fn reply(&mut self, net: &mut Net, id: ConnectionId, reply: &Reply, reference: &Reference) {
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
