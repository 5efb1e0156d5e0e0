//! What the log tells of those who come from outside, so that they cannot fill a disk with it.
//!
//! Anybody can come, go and be refused thousands of times a second. The first time is told at once; what one address
//! repeats within a second is counted, and told as one line at the end of it. So a kind of line and an address have
//! one line a second at most, and all of them together [`TALLIES_MAX`] and a few.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Millis;
use crate::reactor::{Peer, subscriber_address};

/// For so long, what is repeated is counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Of so many kinds and addresses at once; all others are counted together, by kind.
const TALLIES_MAX: usize = 128;
/// So many of those that are summed up are named.
const NAMED_MAX: usize = 3;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Somebody is let into a room, or into several.
    Join,
    /// A member has another name.
    Nick,
    /// A member is gone, or has left a room.
    Leave,
    /// A connection or a request is refused.
    Refuse,
    /// A connection is closed for what it has sent.
    Close,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Nick => "nick",
            Self::Leave => "leave",
            Self::Refuse => "refuse",
            Self::Close => "close",
        })
    }
}

/// Who is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Subscriber(IpAddr),
    /// Whoever comes by this listener, which is a Unix socket.
    Local(u16),
    /// Those for whom there is no place.
    Others,
}

impl Source {
    fn of(peer: Peer) -> Self {
        peer.ip.map_or(Self::Local(peer.listener), |ip| Self::Subscriber(subscriber_address(ip)))
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscriber(ip @ IpAddr::V4(_)) => ip.fmt(f),
            Self::Subscriber(network @ IpAddr::V6(_)) => write!(f, "{network}/64"),
            Self::Local(_) => f.write_str("local clients"),
            Self::Others => f.write_str("others"),
        }
    }
}

/// What was not told yet of a kind and a source.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    /// The first few of them, each once.
    named: Vec<String>,
    /// There are more than those.
    has_more: bool,
}

impl Tally {
    fn add(&mut self, what: &dyn Display) {
        self.count += 1;
        if self.has_more {
            return;
        }
        let what = what.to_string();
        if self.named.contains(&what) {
            return;
        }
        if self.named.len() < NAMED_MAX {
            self.named.push(what);
        } else {
            self.has_more = true;
        }
    }

    fn sum(&self, (kind, source): Key) -> String {
        let (count, named) = (self.count, self.named.join(", "));
        let more = if self.has_more { ", …" } else { "" };
        format!("{kind}: {count} more from {source} in the last second: {named}{more}")
    }
}

type Key = (Kind, Source);

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Nothing is counted any more.
    has_ended: bool,
    tallies: HashMap<Key, Tally>,
    /// When the second of each tally is over, in that order.
    windows: VecDeque<(Millis, Key)>,
}

impl Journal {
    /// Whether something that happened to `what` is to be logged now.
    pub(super) fn tells(&mut self, kind: Kind, peer: Peer, what: &dyn Display, now: Millis) -> bool {
        // What nobody would read is not counted either.
        log::log_enabled!(log::Level::Info) && self.note(kind, peer, what, now)
    }

    /// Notes that something happened to `what`; returns whether it is to be told now. Otherwise it is counted.
    fn note(&mut self, kind: Kind, peer: Peer, what: &dyn Display, now: Millis) -> bool {
        if self.has_ended {
            return true;
        }
        let mut key = (kind, Source::of(peer));
        if !self.tallies.contains_key(&key) {
            if self.tallies.len() < TALLIES_MAX {
                self.open(key, now);
                return true;
            }
            key.1 = Source::Others;
        }
        if !self.tallies.contains_key(&key) {
            self.open(key, now);
        }
        if let Some(tally) = self.tallies.get_mut(&key) {
            tally.add(what);
        }
        false
    }

    fn open(&mut self, key: Key, now: Millis) {
        self.tallies.insert(key, Tally::default());
        self.windows.push_back((now.after(WINDOW), key));
    }

    /// When the next second is over.
    pub(super) fn deadline(&self) -> Millis {
        self.windows.front().map_or(Millis::NEVER, |&(at, _)| at)
    }

    /// The next sum that is due; call it until there is none. Whoever was summed up is counted for another second:
    /// a line per second is not exceeded where two of them meet.
    pub(super) fn poll_sum(&mut self, now: Millis) -> Option<String> {
        while self.deadline() <= now
            && let Some((_, key)) = self.windows.pop_front()
            && let Some(tally) = self.tallies.remove(&key)
        {
            if tally.count > 0 {
                self.open(key, now);
                return Some(tally.sum(key));
            }
        }
        None
    }

    /// All that was not told yet. The daemon stops: nobody new comes, so what those who are left do is bounded, and
    /// told at once.
    pub(super) fn end(&mut self) -> impl Iterator<Item = String> + '_ {
        self.has_ended = true;
        let tallies = &mut self.tallies;
        let ended = self.windows.drain(..).filter_map(|(_, key)| Some((key, tallies.remove(&key)?)));
        ended.filter(|(_, tally)| tally.count > 0).map(|(key, tally)| tally.sum(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Peer {
        Peer { ip: Some(ip.parse().unwrap()), ..Peer::default() }
    }

    fn sums(journal: &mut Journal, at: u64) -> Vec<String> {
        std::iter::from_fn(|| journal.poll_sum(Millis(at))).collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_of_its_second_in_one_line() {
        let mut journal = Journal::default();
        let bob = peer("10.1.2.3");
        assert_eq!(journal.deadline(), Millis::NEVER);
        assert!(journal.note(Kind::Join, bob, &"bob", Millis(5000)));
        assert!(journal.note(Kind::Leave, bob, &"bob (slow)", Millis(5000)), "another kind");
        assert!(journal.note(Kind::Join, peer("10.1.2.4"), &"eve", Millis(5000)), "another address");
        for i in 0..37 {
            assert!(!journal.note(Kind::Join, bob, &format!("bob{}", i % 2), Millis(5999)));
        }
        assert!(sums(&mut journal, 5999).is_empty());
        assert_eq!(journal.deadline(), Millis(6000));
        assert_eq!(sums(&mut journal, 6000), ["join: 37 more from 10.1.2.3 in the last second: bob0, bob1"]);
        assert!(journal.note(Kind::Leave, bob, &"bob", Millis(6000)), "its second was a quiet one");
        assert!(!journal.note(Kind::Join, bob, &"bob", Millis(6000)), "there was a line just now");
        assert_eq!(sums(&mut journal, 7000), ["join: 1 more from 10.1.2.3 in the last second: bob"]);
        assert!(sums(&mut journal, 8000).is_empty());
        assert_eq!(journal.deadline(), Millis::NEVER, "nobody is remembered");
        assert!(journal.tallies.is_empty());
    }

    #[test]
    fn a_flood_has_a_line_a_second() {
        let mut journal = Journal::default();
        let mut told = Vec::new();
        for at in 0..10_000 {
            if !sums(&mut journal, at).is_empty() {
                told.push(at);
            }
            if journal.note(Kind::Refuse, peer("10.1.2.3"), &"full", Millis(at)) {
                told.push(at);
            }
        }
        assert_eq!(told, (0..10).map(|second| second * 1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_subscriber_of_ipv6_is_a_network_and_a_unix_socket_is_one_source() {
        let mut journal = Journal::default();
        assert!(journal.note(Kind::Refuse, peer("2001:db8:1:2::3"), &"full", Millis(0)));
        assert!(!journal.note(Kind::Refuse, peer("2001:db8:1:2:3::4"), &"full", Millis(0)));
        assert!(journal.note(Kind::Refuse, Peer { listener: 1, ..Peer::default() }, &"full", Millis(0)));
        assert!(!journal.note(Kind::Refuse, Peer { listener: 1, ..Peer::default() }, &"full", Millis(0)));
        assert!(journal.note(Kind::Refuse, peer("10.1.2.3"), &"full", Millis(0)));
        assert!(!journal.note(Kind::Refuse, peer("::ffff:10.1.2.3"), &"full", Millis(0)), "the same");
        assert_eq!(
            sums(&mut journal, 1000),
            [
                "refuse: 1 more from 2001:db8:1:2::/64 in the last second: full",
                "refuse: 1 more from local clients in the last second: full",
                "refuse: 1 more from 10.1.2.3 in the last second: full"
            ]
        );
    }

    #[test]
    fn many_addresses_have_a_bound_together() {
        let mut journal = Journal::default();
        let mut lines = 0;
        for i in 0..10_000_u64 {
            let [.., high, low] = i.to_be_bytes();
            let address = Peer { ip: Some([10, 0, high, low].into()), ..Peer::default() };
            lines += usize::from(journal.note(Kind::Join, address, &format!("guest{i}"), Millis(i / 10)));
        }
        assert_eq!(lines, TALLIES_MAX);
        assert!(journal.tallies.len() <= TALLIES_MAX + 1);
        let count = 10_000 - TALLIES_MAX;
        assert_eq!(
            sums(&mut journal, 1999),
            [format!("join: {count} more from others in the last second: guest128, guest129, guest130, …")]
        );
    }

    #[test]
    fn at_the_end_all_is_told() {
        let mut journal = Journal::default();
        for _ in 0..3 {
            journal.note(Kind::Leave, peer("10.1.2.3"), &"bob", Millis(0));
            journal.note(Kind::Join, peer("10.1.2.4"), &"eve", Millis(0));
        }
        journal.note(Kind::Close, peer("10.1.2.4"), &"it speaks TLS", Millis(0));
        assert_eq!(
            journal.end().collect::<Vec<_>>(),
            [
                "leave: 2 more from 10.1.2.3 in the last second: bob",
                "join: 2 more from 10.1.2.4 in the last second: eve"
            ]
        );
        assert_eq!(journal.deadline(), Millis::NEVER);
        assert!(journal.note(Kind::Leave, peer("10.1.2.3"), &"bob", Millis(0)));
        assert!(journal.note(Kind::Leave, peer("10.1.2.3"), &"bob", Millis(0)));
    }
}
