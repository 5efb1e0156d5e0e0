//! A connection as the network sees it: what is on its way, and how it breaks.

use std::collections::VecDeque;

use crate::reactor::simulated::{Machine, Rng};

/// An outage lasts up to so long: longer than a session waits for a sign of life, and then for its name.
const OUTAGE_MAX_MS: usize = 120_000;

/// How the client's side of a connection ends, for the server.
#[derive(Clone, Copy)]
pub(super) enum End {
    Reset,
    Fin,
    /// The client has closed its socket.
    Close,
}

/// A connection, and what is on its way.
pub(super) struct Link {
    machine: Machine,
    /// The how manieth server it leads to.
    pub(super) server: usize,
    pipe: usize,
    up: VecDeque<u8>,
    pub(super) down: VecDeque<u8>,
    /// What comes behind the last byte of `up`.
    pub(super) up_end: Option<End>,
    /// Nothing comes behind the last byte of `down` but the end.
    pub(super) is_down_cut: bool,
    /// Nothing moves until then.
    pub(super) up_dark_until: u64,
    pub(super) down_dark_until: u64,
    /// The beginning of a line, at the client.
    line: Vec<u8>,
}

impl Link {
    pub(super) fn new(machine: &Machine, server: usize, capacity: usize) -> Link {
        Link {
            machine: machine.clone(),
            server,
            pipe: machine.connect(capacity),
            up: VecDeque::new(),
            down: VecDeque::new(),
            up_end: None,
            is_down_cut: false,
            up_dark_until: 0,
            down_dark_until: 0,
            line: Vec::new(),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        if self.up_end.is_none() {
            self.up.extend(bytes);
        }
    }

    /// Breaks at any byte in either direction; who learns of it, and when, is chance.
    pub(super) fn cut(&mut self, rng: &mut Rng, now_ms: u64) {
        let later = now_ms + rng.below(OUTAGE_MAX_MS) as u64;
        let kind = rng.below(6);
        match kind {
            0..4 => {
                self.up.truncate(rng.below(self.up.len() + 1));
                self.down.truncate(rng.below(self.down.len() + 1));
                self.up_end.get_or_insert(if rng.chance(50) { End::Reset } else { End::Fin });
                self.is_down_cut = true;
            }
            // Nothing is lost, if nobody loses patience.
            4 => (self.up_dark_until, self.down_dark_until) = (later, later),
            // Only the client can find that out.
            _ => self.down_dark_until = if rng.chance(50) { later } else { u64::MAX },
        }
        match kind {
            2 => self.up_dark_until = later,
            3 => self.down_dark_until = later,
            _ => {}
        }
    }

    /// A piece of what was sent arrives at the server; true once everything has, the end too.
    pub(super) fn flow_up(&mut self, rng: &mut Rng, now_ms: u64) -> bool {
        if now_ms < self.up_dark_until {
            return false;
        }
        let piece = piece(&mut self.up, rng);
        self.machine.send(self.pipe, &piece);
        match self.up_end.filter(|_| self.up.is_empty()) {
            None => return false,
            Some(End::Reset) => self.machine.reset(self.pipe),
            Some(End::Fin) => self.machine.end(self.pipe),
            Some(End::Close) => self.machine.close(self.pipe),
        }
        true
    }

    /// A piece of what the server sent arrives at the client.
    pub(super) fn flow_down(&mut self, rng: &mut Rng, now_ms: u64) {
        if now_ms < self.down_dark_until {
            return;
        }
        if !self.is_down_cut {
            self.down.extend(self.machine.receive(self.pipe, 1 + rng.below(4000)));
        }
        self.line.extend(piece(&mut self.down, rng));
    }

    /// The next whole line at the client.
    pub(super) fn next_line(&mut self) -> Option<String> {
        let end = self.line.iter().position(|&b| b == b'\n')?;
        let line: Vec<u8> = self.line.drain(..=end).collect();
        Some(String::from_utf8(line[..end].to_vec()).expect("the server sends UTF-8"))
    }

    pub(super) fn is_at_end(&self, now_ms: u64) -> bool {
        let is_cut = self.is_down_cut || self.machine.is_at_end(self.pipe);
        is_cut && self.down.is_empty() && now_ms >= self.down_dark_until
    }
}

/// Takes a random piece off the front.
fn piece(bytes: &mut VecDeque<u8>, rng: &mut Rng) -> Vec<u8> {
    let count = if rng.chance(50) { bytes.len() } else { rng.below(bytes.len() + 1) };
    bytes.drain(..count).collect()
}
