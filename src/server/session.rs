//! What the server knows about one connection: how it speaks, who it is, and what is due for it.

use std::net::IpAddr;

use super::browsers::SPARE_CONNECTION_WAIT;
use super::{Config, GREETING_WAIT};
use crate::clock::{Millis, Now};
use crate::reactor::{ConnectionId, Peer};
use crate::room::{Bye, MemberId, Reply};
use crate::wire::line::Lines;
use crate::wire::{Dialect, websocket};

/// How a connection speaks.
#[derive(Debug)]
pub(super) enum Stage {
    /// It has said too little to know.
    Undecided,
    /// Lines, of text or of JSON.
    Lines { lines: Lines, is_json: bool },
    /// One HTTP request, which may turn it into a WebSocket.
    Http,
    /// WebSocket messages. A client that offered no subprotocol gets its own messages back, and may
    /// still choose JSON by its first message.
    WebSocket { decoder: websocket::Decoder, is_json: bool, is_guest: bool, may_switch: bool },
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: ConnectionId,
    pub(super) stage: Stage,
    pub(super) member: Option<MemberId>,
    /// The channel of the member's room.
    pub(super) channel: u32,
    pub(super) peer_ip: Option<IpAddr>,
    pub(super) listener: u16,
    /// Spared by the limits on addresses and rates.
    pub(super) is_exempt: bool,
    pub(super) was_greeted: bool,
    /// It is taken for a browser's spare connection.
    pub(super) is_spare: bool,
    /// A ping was sent after the last thing heard.
    pub(super) was_pinged: bool,
    pub(super) opened_at: Millis,
    pub(super) heard_at: Millis,
    allowance: Allowance,
}

/// What is due for a connection that was woken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Greeting,
    Ping,
    HttpTimeout,
    Nameless,
    Dead,
}

impl Session {
    pub(super) fn new(id: ConnectionId, peer: Peer, is_exempt: bool, now: Millis) -> Self {
        Self {
            id,
            stage: Stage::Undecided,
            member: None,
            channel: 0,
            peer_ip: peer.ip,
            listener: peer.listener as u16,
            is_exempt,
            was_greeted: false,
            was_pinged: false,
            opened_at: now,
            is_spare: false,
            heard_at: now,
            allowance: Allowance::default(),
        }
    }

    /// The dialect it speaks; none while that is not decided, or HTTP.
    pub(super) fn dialect(&self) -> Option<Dialect> {
        match self.stage {
            Stage::Undecided | Stage::Http => None,
            Stage::Lines { is_json: false, .. } => Some(Dialect::TextLines),
            Stage::Lines { is_json: true, .. } => Some(Dialect::JsonLines),
            Stage::WebSocket { is_json: false, .. } => Some(Dialect::TextFrames),
            Stage::WebSocket { is_json: true, .. } => Some(Dialect::JsonFrames),
        }
    }

    /// Whether it gets its own messages back: programs do, people see what they type.
    pub(super) fn echoes(&self) -> bool {
        match self.stage {
            Stage::Lines { is_json, .. } => is_json,
            Stage::WebSocket { is_json, is_guest, .. } => is_json || is_guest,
            Stage::Undecided | Stage::Http => false,
        }
    }

    /// The last thing it hears, in whole frames.
    pub(super) fn last_words(&self, bye: Bye, now: Now) -> Vec<u8> {
        let mut out = Vec::new();
        let dialect = self.dialect().unwrap_or(Dialect::TextLines);
        dialect.encode_reply(&mut out, now.unix_ms, &Reply::Bye(bye), &None);
        if matches!(self.stage, Stage::WebSocket { .. }) {
            let (code, reason) = match bye {
                Bye::Quit => (websocket::NORMAL, ""),
                Bye::Shutdown => (websocket::GOING_AWAY, "the server is shutting down"),
                Bye::Slow => (websocket::SLOW, "slow"),
                Bye::Timeout => (websocket::TIMEOUT, "timeout"),
                Bye::Nameless => (websocket::TIMEOUT, "no name"),
            };
            out.extend(websocket::close(Some(code), reason));
        }
        out
    }

    /// When it is greeted if it has said nothing.
    fn greets_at(&self) -> Millis {
        self.opened_at.after(if self.is_spare { SPARE_CONNECTION_WAIT } else { GREETING_WAIT })
    }

    /// When it has to be woken next, if nothing happens before.
    pub(super) fn wakes_at(&self, config: &Config) -> Millis {
        let after = |at: Millis, wait: Option<_>| wait.map_or(Millis::NEVER, |wait| at.after(wait));
        let name_wait =
            if self.member.is_some() { Millis::NEVER } else { after(self.opened_at, config.name_wait) };
        match self.stage {
            Stage::Undecided if !self.was_greeted => self.greets_at().min(name_wait),
            Stage::Undecided | Stage::Lines { .. } => name_wait,
            Stage::Http => after(self.opened_at, config.http_wait),
            Stage::WebSocket { .. } => {
                let dead = after(self.heard_at, config.dead_after);
                let ping =
                    if self.was_pinged { Millis::NEVER } else { after(self.heard_at, config.ping_after) };
                dead.min(ping).min(name_wait)
            }
        }
    }

    pub(super) fn due(&self, config: &Config, now: Millis) -> Due {
        if self.wakes_at(config) > now {
            return Due::Nothing;
        }
        match self.stage {
            Stage::Undecided if !self.was_greeted && self.greets_at() <= now => Due::Greeting,
            Stage::Http => Due::HttpTimeout,
            Stage::WebSocket { .. } => {
                let is_dead = config.dead_after.is_some_and(|wait| self.heard_at.after(wait) <= now);
                let is_nameless = self.member.is_none()
                    && config.name_wait.is_some_and(|wait| self.opened_at.after(wait) <= now);
                match (is_nameless, is_dead) {
                    (true, _) => Due::Nameless,
                    (false, true) => Due::Dead,
                    (false, false) => Due::Ping,
                }
            }
            Stage::Undecided | Stage::Lines { .. } => Due::Nameless,
        }
    }

    /// Whether it may say something now; if not, when.
    pub(super) fn may_speak(&mut self, config: &Config, now: Millis) -> Result<(), Millis> {
        match config.lines_per_second {
            Some(rate) if !self.is_exempt => self.allowance.check(rate, config.burst, now),
            _ => Ok(()),
        }
    }

    /// It has said something.
    pub(super) fn spoke(&mut self, config: &Config, now: Millis) {
        if let Some(rate) = config.lines_per_second {
            self.allowance.spend(rate, now);
        }
    }
}

/// How much a client may say: the generic cell rate algorithm (ITU-T I.371), a leaky bucket in one number.
#[derive(Debug, Default)]
struct Allowance {
    /// When the bucket will have run empty, in microseconds.
    empty_at_us: u64,
}

impl Allowance {
    /// Whether one more line of `burst` fits into the bucket; if not, when it will.
    fn check(&self, rate: u32, burst: u32, now: Millis) -> Result<(), Millis> {
        let interval_us = 1_000_000 / u64::from(rate.max(1));
        let room_us = interval_us * u64::from(burst.saturating_sub(1));
        let free_at_us = self.empty_at_us.saturating_sub(room_us);
        if free_at_us <= now.0 * 1000 { Ok(()) } else { Err(Millis(free_at_us.div_ceil(1000))) }
    }

    fn spend(&mut self, rate: u32, now: Millis) {
        self.empty_at_us = self.empty_at_us.max(now.0 * 1000) + 1_000_000 / u64::from(rate.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let (mut allowance, mut now, mut passed) = (Allowance::default(), Millis(1000), Vec::new());
        while passed.len() < 14 {
            match allowance.check(5, 10, now) {
                Ok(()) => {
                    allowance.spend(5, now);
                    passed.push(now.0);
                }
                Err(at) => now = at,
            }
        }
        assert_eq!(passed[..10], [1000; 10]);
        assert_eq!(passed[10..], [1200, 1400, 1600, 1800]);
    }
}
