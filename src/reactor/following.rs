//! Following: a connection gets what is published in other channels besides the one that it is subscribed to.
//!
//! A subscriber is a cursor in its feed. It has one, so that what it is sent next is one piece of memory; the frames of
//! whatever else it follows are put into its queue one by one, where they were published, and each of them is kept once
//! for all who follow. So an order is kept without numbers, and who follows nothing pays nothing.

use std::rc::Rc;

use super::net::find;
use super::outbound::Follow;
use super::{ChannelId, ConnectionId, Net};

impl Net {
    /// Lets a connection follow a channel besides the one that it is subscribed to, in one encoding of its events: it
    /// gets what is published from now on, in the order in which it is published in both. Whoever follows pays for it:
    /// each frame costs a place in its queue, where a subscriber moves a cursor.
    pub fn follow(&mut self, id: ConnectionId, channel: ChannelId, variant: u8) {
        if !self.is_open(id) {
            return;
        }
        self.unfollow(id, channel);
        self.spend_on_queue(id);
        let key = self.feeds.open_feed(channel, variant);
        let followers = &mut self.feeds.feed_mut(key).followers;
        let position = followers.len() as u32;
        followers.push(id.index);
        self.change_outbound(id, |outbound, _| outbound.follow(key, position));
    }

    /// Lets a connection follow a channel no more. What was published before is still sent.
    pub fn unfollow(&mut self, id: ConnectionId, channel: ChannelId) {
        let follows = self.peek(id).map_or(&[][..], |c| c.outbound.follows());
        let followed = follows.iter().find(|follow| self.feeds.feed(follow.feed).channel == Some(channel));
        if let Some(&Follow { feed, .. }) = followed {
            self.unfollow_feed(id.index, feed);
            self.feeds.close_if_unread(feed);
        }
    }

    /// Lets a connection follow nothing any more.
    pub(super) fn unfollow_all(&mut self, id: ConnectionId) {
        while let Some(&Follow { feed, .. }) = self.peek(id).and_then(|c| c.outbound.follows().last()) {
            self.unfollow_feed(id.index, feed);
            self.feeds.close_if_unread(feed);
        }
    }

    /// Takes a connection off the list of those who follow a feed.
    pub(super) fn unfollow_feed(&mut self, slot: u32, key: u32) {
        let id = self.connections[slot as usize].id;
        self.set_followed_waits(id, key, false);
        let mut unfollowed = None;
        self.change_outbound(id, |outbound, _| unfollowed = outbound.unfollow(key));
        let Some(Follow { position, .. }) = unfollowed else { return };
        let followers = &mut self.feeds.feed_mut(key).followers;
        followers.swap_remove(position as usize);
        if let Some(&moved) = followers.get(position as usize)
            && let Some(moved) = self.connections[moved as usize].outbound.follow_of(key)
        {
            moved.position = position;
        }
    }

    /// Gives a frame to those who follow a feed besides their own, but for those in `except`, which is sorted.
    pub(super) fn append_to_followers(&mut self, key: u32, frame: &[u8], except: &[ConnectionId]) {
        if self.feeds.feed(key).followers.is_empty() {
            return;
        }
        let frame = self.feeds.frame(frame);
        for index in 0..self.feeds.feed(key).followers.len() {
            let slot = self.feeds.feed(key).followers[index];
            let connection = &self.connections[slot as usize];
            let id = connection.id;
            if connection.is_open() && except.binary_search(&id).is_err() {
                self.counters.deliveries += 1;
                self.change_outbound(id, |outbound, log| outbound.add_frame(log, key, Rc::clone(&frame)));
                self.note_unsent(id);
            }
        }
    }

    /// Whether a connection has fallen off a feed that it follows: more of it waits than is kept.
    pub(super) fn is_behind_in_followed(&self, id: ConnectionId) -> bool {
        let follows = self.peek(id).map_or(&[][..], |c| c.outbound.follows());
        self.limits.feed_bytes.is_some_and(|max| follows.iter().any(|follow| follow.waiting as usize > max))
    }

    /// Changes whether the channel of a feed that a connection follows waits for it.
    pub(super) fn set_followed_waits(&mut self, id: ConnectionId, feed: u32, is_waited_for: bool) {
        let follow = find(&mut self.connections, id).and_then(|c| c.outbound.follow_of(feed));
        let Some(follow) = follow else { return };
        if std::mem::replace(&mut follow.is_waited_for, is_waited_for) != is_waited_for
            && let Some(channel) = self.feeds.feed(feed).channel
        {
            self.count_waited_for(channel, is_waited_for);
        }
    }
}
