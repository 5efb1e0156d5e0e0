//! The operating system as the loop sees it.
//!
//! Two things implement [`Platform`]: [`Epoll`](super::epoll::Epoll), which is `mio` and real sockets, and the
//! scripted machine of the simulation tests. Everything else in the reactor is the same code in both.
//!
//! # The contract of readiness
//!
//! Readiness is edge-triggered: an event comes when something *changes*, and once. Changes are input, the end
//! of it, a break, room after a write that did not fit, and our own [`Socket::shutdown_write`]; being
//! registered or registered anew reports what is so at that time. What is left unread is no change, nor is a
//! connection left in the backlog.
//!
//! An event says all that is so when it is *fetched*: news of input also tells of room, if that is watched,
//! and of an end that was reported before; what was read in the meantime is not mentioned.
//!
//! It is a hint, never a promise: only a `WouldBlock` proves that a socket is full, only a `WouldBlock` or a
//! read that did not fill its buffer that it is drained (and if the end was reported, that is still to be
//! read), only a read of zero bytes that the peer has closed its side; and an event may come for no reason at
//! all. Room means a good part of the buffer: a socket may take bytes that no event has promised.
//!
//! A socket that is being connected says nothing, until it is connected, which is room, or cannot be, which is a
//! break; [`Socket::is_connected`] tells which. What breaks a connection before that is asked was in the way of it.
//!
//! `tests/readiness` proves all this of epoll and of the scripted machine, with the same cases.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use super::ConnectionId;
use crate::clock::Now;
use crate::limits::Limits;

/// A byte stream that does not block.
pub trait Socket: Read + Write {
    /// Writes `pieces`, or the first part of them, with one system call.
    ///
    /// # Errors
    /// As `write(2)`.
    fn send(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces {
            [one] => self.write(one),
            many => self.write_vectored(many),
        }
    }

    /// Closes our side: the peer reads everything sent so far and then the end.
    ///
    /// # Errors
    /// Whatever the system says; the connection is then beyond help (after a reset: not connected).
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Lets the connection be reset when this is dropped, if the peer has not closed its side by then: it cannot go on
    /// sending to nobody.
    fn reset_on_drop(&mut self) {}

    /// Of one that [`Platform::connect`] has made: whether it is connected by now.
    ///
    /// # Errors
    /// It will not be; as `connect(2)`.
    fn is_connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peer {
    /// Its address; none for a Unix socket.
    pub ip: Option<IpAddr>,
    /// Its port; 0 for a Unix socket.
    pub port: u16,
    /// The listener it came by: its place in the list of listen addresses.
    pub listener: u16,
}

impl Peer {
    /// In place of the listener, for whom we have called ourselves.
    pub const NO_LISTENER: u16 = u16::MAX;

    /// One number for all that one subscriber opens: of its IPv4 address, its IPv6 network (64 bits), or the
    /// listener, if that is a Unix socket.
    #[must_use]
    pub fn subscriber(self) -> u64 {
        match self.ip.map(subscriber_address) {
            Some(IpAddr::V6(v6)) => (u128::from(v6) >> 64) as u64,
            // No network of IPv6 hosts begins with 31 zeros (RFC 4291, section 2.4), so these are others.
            Some(IpAddr::V4(v4)) => u64::from(u32::from(v4)),
            None => 1 << 32 | u64::from(self.listener),
        }
    }
}

/// The address that stands for one subscriber: an IPv4 address, or an IPv6 network of 64 bits, which
/// is what one household or machine is given (RFC 6177).
#[must_use]
pub fn subscriber_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// The address and the port, for the log.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip.to_canonical(), self.port).fmt(f),
            None => f.write_str("a local client"),
        }
    }
}

/// Something the loop has to take note of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection changed.
    Connection {
        /// Which one; perhaps one that is gone already.
        id: ConnectionId,
        /// There may be something to read, or an error or end of input to be found by reading.
        readable: bool,
        /// There may be room to write, and that is watched; or writing will tell what is wrong.
        writable: bool,
        /// The peer seems to have closed its side.
        read_closed: bool,
        /// The connection is dead in both directions: nothing more will come, and nothing can be sent. It is
        /// the one bit that is no hint, and comes with the three others.
        ///
        /// It is not always a failure, and what had arrived before can still be read: besides a reset and a
        /// time-out, the end of both sides says it, whichever came first; and on a Unix socket so does a peer
        /// that has just closed its socket. Nor do reads and writes always say it: the first of them is told
        /// of a reset and the others are not, and a read behind an end returns zero bytes all the same.
        broken: bool,
    },
    /// A listener has connections to accept.
    Listener(usize),
    /// Another thread has called since this was told last, perhaps several times: [`Platform::waker`].
    Notified,
    /// Somebody asks the loop to stop (SIGTERM or SIGINT).
    Stop,
}

/// See the [module documentation](self).
pub trait Platform {
    /// A connection's socket.
    type Socket: Socket;

    /// Both clocks.
    fn now(&mut self) -> Now;

    /// How long it is since the last [`Platform::wait`] returned.
    fn busy(&mut self) -> Duration;

    /// Waits for events, at most `timeout` (none: for ever), and appends them to `events`.
    /// An interrupted wait is an empty batch, not an error.
    ///
    /// # Errors
    /// The selector is broken: the loop cannot go on.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Accepts one connection.
    ///
    /// # Errors
    /// As `accept(2)`; [`super::acceptor::AcceptError`] sorts them.
    fn accept(&mut self, listener: usize) -> io::Result<(Self::Socket, Peer)>;

    /// Begins to connect to `addr`; `limits` say how the socket is set up. It is connected or not when
    /// [`Socket::is_connected`] says so.
    ///
    /// # Errors
    /// As `socket(2)` and `connect(2)`; this platform cannot.
    fn connect(&mut self, _addr: SocketAddr, _limits: &Limits) -> io::Result<Self::Socket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What wakes the loop from any thread, at any time: a call ends the wait, or the next one if there is none
    /// now, with [`Event::Notified`]. Several calls may be told at once, none is lost, and it may be told for no
    /// reason.
    ///
    /// # Errors
    /// The system has no descriptor left; this platform cannot.
    fn waker(&mut self) -> io::Result<Waker> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Closes all listeners, so that new connections are refused by the system.
    fn close_listeners(&mut self);

    /// Begins to watch a socket for readability. What can be read already is reported.
    ///
    /// # Errors
    /// The system has no room for another one.
    fn register(&mut self, socket: &mut Self::Socket, id: ConnectionId) -> io::Result<()>;

    /// Watches a socket for readability, and for writability too if `writable`. What is so already is
    /// reported, again if need be: room that came while nobody watched cannot be missed.
    ///
    /// # Errors
    /// The selector is broken.
    fn reregister(&mut self, socket: &mut Self::Socket, id: ConnectionId, writable: bool) -> io::Result<()>;

    /// No longer watches a socket: nothing of it is fetched any more.
    fn deregister(&mut self, socket: &mut Self::Socket);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_an_ipv4_address_or_64_bits_of_an_ipv6_one() {
        for (ip, address) in [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(subscriber_address(ip.parse().unwrap()), address.parse::<IpAddr>().unwrap());
            let number = |ip: &str| Peer { ip: Some(ip.parse().unwrap()), ..Peer::default() }.subscriber();
            assert_eq!(number(ip), number(address));
            assert_ne!(number(ip), number("2001:db8:1:3::"));
        }
    }
}
