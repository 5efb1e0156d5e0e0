//! Which silent connections are a browser's.
//!
//! A browser opens a spare connection beside the one it loads a page with, and sends its next request
//! over it, perhaps when the page is reloaded. Greeting it as a person with netcat would spoil the
//! answer to that request: the browser would read the greeting as the beginning of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::session::Session;
use crate::clock::Millis;

/// A spare connection is opened within this time of a request.
const SPARE_CONNECTION_WINDOW: Duration = Duration::from_secs(1);
/// At most so many addresses are remembered.
const ADDRESSES_MAX: usize = 1024;

/// From where browsers have sent requests lately.
#[derive(Debug, Default)]
pub(super) struct Browsers(HashMap<IpAddr, Millis>);

impl Browsers {
    /// A browser has sent a request.
    pub(super) fn note(&mut self, ip: IpAddr, now: Millis) {
        if self.0.len() >= ADDRESSES_MAX {
            self.0.retain(|_, at| now.since(*at) <= SPARE_CONNECTION_WINDOW);
        }
        if self.0.len() < ADDRESSES_MAX {
            self.0.insert(ip, now);
        }
    }

    /// Whether a silent connection was opened when a browser at its address sent a request.
    pub(super) fn opened_too(&self, session: &Session, ip: Option<IpAddr>) -> bool {
        let asked_at = ip.and_then(|ip| self.0.get(&ip));
        asked_at.is_some_and(|&at| session.was_opened_within(SPARE_CONNECTION_WINDOW, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::ConnectionId;

    #[test]
    fn a_connection_beside_a_request_of_the_same_address_is_a_spare_one() {
        let mut browsers = Browsers::default();
        let session = |at| Session::new(ConnectionId { index: 0, generation: 1 }, true, Millis(at));
        browsers.note([10, 0, 0, 1].into(), Millis(5000));
        for (ip, at, expected) in [
            ([10, 0, 0, 1], 5006, true),
            ([10, 0, 0, 1], 4900, true),
            ([10, 0, 0, 1], 6001, false),
            ([10, 0, 0, 1], 3999, false),
            ([10, 0, 0, 2], 5006, false),
        ] {
            assert_eq!(browsers.opened_too(&session(at), Some(IpAddr::from(ip))), expected, "{ip:?} at {at}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut browsers = Browsers::default();
        for i in 0..5000u32 {
            browsers.note(IpAddr::from(i.to_be_bytes()), Millis(u64::from(i)));
        }
        assert!(browsers.0.len() <= ADDRESSES_MAX);
    }
}
