//! The book-keeping, counted again: what a sum, a flag or a place in a list says has to be so.

use super::Net;
use super::connection::{Connection, Deferred, Drained, Life};

impl Net {
    /// Panics if the book-keeping contradicts itself between two turns; for tests.
    ///
    /// # Panics
    /// See above.
    pub fn check_invariants(&self) {
        let (mut memory, mut waiting) = (0, 0);
        let mut frames = std::collections::BTreeMap::new();
        for (slot, connection) in &self.connections {
            let id = connection.id;
            memory += connection.memory();
            waiting += usize::from(!matches!(connection.deferred(), Deferred::No | Deferred::Yielded));
            let listed = (connection.is_listed_ready, connection.is_listed_unsent);
            let found = (
                self.ready.iter().filter(|&&i| i == id).count(),
                self.unsent.iter().filter(|&&i| i == id).count(),
            );
            assert_eq!(found, (usize::from(listed.0), usize::from(listed.1)), "list flags of {connection:?}");
            let must_be_told = connection.is_alive() && connection.drained == Drained::Due;
            assert!(!must_be_told || connection.is_listed_ready, "{connection:?}");
            let is_connecting = matches!(connection.life, Life::Connecting { .. });
            assert!(!is_connecting || (self.queued_bytes(id), connection.input_bytes()) == (0, 0));
            let is_ending = matches!(connection.life, Life::Doomed(_) | Life::Gone);
            let endings = self.ending.iter().filter(|&&i| i == id).count();
            assert_eq!(endings, usize::from(is_ending), "{connection:?}");
            assert_eq!(self.deadlines.get(slot as u32), connection.deadline(&self.limits), "{connection:?}");
            if let Some(s) = connection.subscription {
                let feed = self.feeds.feed(s.feed);
                let list = if s.is_leaving { &feed.leaving } else { &feed.subscribers };
                assert_eq!(list[s.position as usize], slot as u32, "{connection:?}");
                assert!(!s.is_leaving || !connection.is_waited_for);
            }
            let follows = connection.outbound.follows();
            for follow in follows {
                assert_eq!(self.feeds.feed(follow.feed).followers[follow.position as usize], slot as u32);
                assert_eq!(follows.iter().filter(|f| f.feed == follow.feed).count(), 1);
            }
            connection.outbound.check_invariants(&mut frames);
        }
        assert_eq!(self.memory, memory, "memory of connections");
        assert_eq!(self.waiting, waiting, "connections that wait to be heard");
        let mut waited_for = std::collections::BTreeMap::new();
        for (key, feed) in self.feeds.iter() {
            let readers: Vec<_> = feed.readers().map(|slot| &self.connections[slot as usize]).collect();
            assert!(!readers.is_empty() || !feed.followers.is_empty(), "a feed that nobody reads");
            let lagging = |c: &&&Connection| c.outbound.lag(&feed.log) > 0;
            if !feed.is_dirty {
                assert_eq!(feed.behind as usize, readers.iter().filter(lagging).count(), "{feed:?}");
            }
            let oldest = readers.iter().filter(lagging).map(|c| c.outbound.cursor()).min();
            assert!(
                feed.wants_trim || oldest.is_some() || feed.is_dirty || feed.log.memory() == 0,
                "{feed:?}"
            );
            if let Some(channel) = feed.channel {
                let of_key = |slot: &u32| {
                    let follows = self.connections[*slot as usize].outbound.follows();
                    follows.iter().any(|follow| follow.feed == key && follow.is_waited_for)
                };
                let count = readers.iter().filter(|c| c.is_waited_for).count()
                    + feed.followers.iter().filter(|slot| of_key(slot)).count();
                *waited_for.entry(channel).or_insert(0) += count;
            }
        }
        for (channel, count) in waited_for {
            assert_eq!(
                self.feeds.throttle(channel).waited_for as usize,
                count,
                "readers that are waited for"
            );
        }
        let logs = self.feeds.iter().map(|(_, feed)| feed.log.memory()).sum::<usize>();
        assert_eq!(self.feeds.memory(), logs + frames.values().sum::<usize>());
    }
}
