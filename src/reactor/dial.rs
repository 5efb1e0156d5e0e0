//! Outgoing connections.
//!
//! [`Net::connect`] takes note of the wish, and the phase *accept* begins to connect; from then on readiness says
//! that there is news, and the phase *serve* asks the socket what it is. Once it is connected it is a connection as
//! any other.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::connection::{Deferred, Life, Origin, Reading, Writing};
use super::{ConnectionId, Handler, Loss, Net, Peer, Platform, Reactor, Socket};

impl Net {
    /// Connects to `addr`. [`Handler::connected`] follows, and only then it can be sent to; or [`Handler::lost`] with
    /// [`Loss::NotConnected`], at the latest after `time_max`. [`Net::close`] takes the wish back.
    ///
    /// None of the limits on who is let in counts it, and it takes a descriptor that they do not know of.
    pub fn connect(&mut self, addr: SocketAddr, time_max: Duration) -> ConnectionId {
        let peer = Peer { ip: Some(addr.ip()), port: addr.port(), listener: Peer::NO_LISTENER };
        let id = self.open(peer, Origin::Outgoing);
        let until = self.now.monotonic.after(time_max);
        if let Some(connection) = self.get(id) {
            // It is watched: readiness will tell.
            (connection.life, connection.writing) = (Life::Connecting { until }, Writing::Full);
        }
        self.dials.push((id, addr));
        self.arm(id);
        id
    }
}

impl<P: Platform, H: Handler> Reactor<P, H> {
    /// Begins to connect to those whom the handler wants.
    pub(super) fn dial(&mut self) {
        for (id, addr) in std::mem::take(&mut self.net.dials) {
            let is_wanted = self.net.get(id).is_some_and(|c| matches!(c.life, Life::Connecting { .. }));
            if is_wanted && let Err(error) = self.dial_one(id, addr) {
                self.net.doom(id, Loss::NotConnected(error.kind()));
            }
        }
    }

    fn dial_one(&mut self, id: ConnectionId, addr: SocketAddr) -> io::Result<()> {
        let mut socket = self.platform.connect(addr, &self.net.limits)?;
        self.platform.register(&mut socket, id)?;
        self.net.counters.interest_changes += 1;
        self.platform.reregister(&mut socket, id, true)?;
        self.install(socket, id);
        Ok(())
    }

    /// There is news of a connection that is being made.
    pub(super) fn finish_connecting(&mut self, id: ConnectionId) {
        let Some(Some(socket)) = self.sockets.get_mut(id.index as usize) else { return };
        let is_connected = socket.is_connected();
        let Some(connection) = self.net.get(id) else { return };
        match is_connected {
            // The event came for no reason.
            Ok(false) => connection.writing = Writing::Full,
            Ok(true) => {
                (connection.life, connection.writing) = (Life::Open(Deferred::No), Writing::Ready);
                if connection.reading != Reading::Drained {
                    self.net.note_ready(id);
                }
                self.net.note_unsent(id);
                self.handler.connected(&mut self.net, id);
            }
            Err(error) => self.net.doom(id, Loss::NotConnected(error.kind())),
        }
    }
}
