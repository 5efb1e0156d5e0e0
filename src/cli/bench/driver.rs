//! The generator's loop: one thread, one poll, all clients.
//!
//! [`Driver`] knows how to open, read, write and close clients and tells the [`Ledger`] what
//! arrives. Which phase a run is in is [`phases`](super::phases)' business. Nothing is kept per
//! client but what is unfinished: all reads go through one buffer, and a delivery is looked at where
//! it lies in it.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use super::client::{Client, ReadOutcome, State};
use super::dialect::{Entry, Notice};
use super::ledger::Ledger;
use super::payload::{Found, Message, Payload};
use super::plan::{Args, Plan};
use super::websocket::{self, Frame};
use crate::wire::Framing;
use crate::wire::length::Lengths;
use crate::wire::line::Found as Unit;

/// One read takes what a member's socket holds after some hundred messages.
const BUFFER_BYTES: usize = 256 * 1024;
/// Few enough that sending what has become due does not wait long behind reading.
const EVENTS_PER_TURN: usize = 128;
/// A line of the server longer than this is cut in sentences.
const FAREWELL_BYTES_MAX: usize = 160;
/// Different reasons kept apart; further ones are counted together.
const REASONS_MAX: usize = 12;
/// Latencies above are counted as this: an hour, the longest run.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// How many addresses of 127.0.0.0/8 are used at most: 2 million connections.
const SOURCES_MAX: u32 = 250;

/// The clients of one run and what they have seen.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) plan: Plan,
    pub(super) clients: Vec<Client>,
    pub(super) ledger: Ledger,
    pub(super) latency_us: Histogram<u64>,
    /// Why connections ended that should not have, and how many did.
    pub(super) closings: BTreeMap<String, u64>,
    /// What the server refused without closing the connection, and how often.
    pub(super) refusals: BTreeMap<String, u64>,
    /// How many clients are in all rooms they are to be in by now.
    pub(super) joined: usize,
    /// How many connections ended, for whatever reason.
    pub(super) closed: usize,
    /// How many connections were begun, churn included.
    pub(super) opened: u32,
    /// When something was last read.
    pub(super) read_at: Instant,
    /// When a message was last delivered.
    pub(super) delivered_at: Instant,
    /// How long the loop polled without sleeping because a message was about to be due.
    pub(super) spun: Duration,
    /// Due times count from here.
    pub(super) epoch: Instant,
    /// In how many rooms everybody is to be by now.
    rooms_each: usize,
    room_names: Vec<Rc<str>>,
    poll: Poll,
    events: Events,
    payload: Payload,
    buffer: Vec<u8>,
    /// How many source addresses ran out of ports.
    sources_used_up: u32,
}

impl Driver {
    /// Enters all clients of `plan`, members first, none of them connected. `slow[m]` says whether
    /// member `m` is one that never reads.
    pub(super) fn new(plan: Plan, slow: &[bool]) -> Result<Self, String> {
        let Args { dialect, rooms, .. } = plan.args;
        let rooms_of_senders: Vec<Vec<usize>> =
            (0..plan.senders).map(|sender| plan.rooms_of(sender)).collect();
        let spoken_in: Vec<usize> =
            rooms_of_senders.iter().filter_map(|rooms| rooms.last()).copied().collect();
        let room_names: Vec<Rc<str>> = (0..rooms).map(|room| plan.room_name(room).into()).collect();
        let mut ledger = Ledger::new(rooms, &spoken_in);
        let mut clients = Vec::with_capacity(plan.connections());
        let mut enter = |rooms: &[usize], sender: Option<usize>, listens: bool, is_slow: bool| {
            ledger.enter(rooms, listens && !is_slow, sender.filter(|_| !dialect.own_comes_back()));
            let rooms = rooms.iter().map(|&room| Rc::clone(&room_names[room])).collect();
            clients.push(Client::new(Entry { rooms, listens, ..Entry::default() }, is_slow));
        };
        for (member, &is_slow) in slow.iter().enumerate() {
            enter(&plan.rooms_of(member), None, true, is_slow);
        }
        for (sender, rooms) in rooms_of_senders.iter().enumerate() {
            enter(rooms, Some(sender), dialect.senders_listen(), false);
        }
        let now = Instant::now();
        Ok(Self {
            payload: Payload::new(plan.run, plan.args.size),
            plan,
            clients,
            ledger,
            latency_us: Histogram::new_with_max(LATENCY_US_MAX, 3)
                .map_err(|error| format!("cannot set up the latency histogram: {error}"))?,
            closings: BTreeMap::new(),
            refusals: BTreeMap::new(),
            joined: 0,
            closed: 0,
            opened: 0,
            read_at: now,
            delivered_at: now,
            spun: Duration::ZERO,
            epoch: now,
            rooms_each: 1,
            room_names,
            poll: Poll::new().map_err(|error| format!("cannot set up polling: {error}"))?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            buffer: vec![0; BUFFER_BYTES],
            sources_used_up: 0,
        })
    }

    /// Begins to connect client `index`, under a new name.
    ///
    /// # Errors
    /// A sentence if the system has no descriptor or port left. What the server does is counted.
    pub(super) fn open(&mut self, index: usize) -> Result<(), String> {
        let entry = &mut self.clients[index].entry;
        entry.name = self.plan.name(self.opened);
        entry.welcomes = 0;
        loop {
            let source = source_address(self.plan.target.ip(), self.sources_used_up);
            let registry = self.poll.registry();
            let begun = self.clients[index].connect(self.plan.target, source, registry, Token(index));
            match begun {
                Ok(()) => break,
                Err(error)
                    if error.kind() == ErrorKind::AddrNotAvailable
                        && self.plan.target.ip().is_loopback()
                        && self.sources_used_up < SOURCES_MAX =>
                {
                    self.sources_used_up += 1;
                }
                Err(error) => return Err(self.cannot_connect(&error)),
            }
        }
        self.opened += 1;
        Ok(())
    }

    /// From now on everybody is to be in all of its rooms, and nobody is yet.
    pub(super) fn expect_in_all_rooms(&mut self) {
        self.rooms_each = self.plan.args.joined;
        for client in self.clients.iter_mut().filter(|client| client.state == State::Joined) {
            client.state = State::Entering;
        }
        self.joined = 0;
    }

    /// Client `index`, which is in its first room, enters the others.
    pub(super) fn enter_others(&mut self, index: usize) {
        let client = &mut self.clients[index];
        self.plan.args.dialect.open_others(&client.entry, &mut client.out);
        self.flush(index);
    }

    /// Waits for events, at most `timeout`, and serves them.
    pub(super) fn turn(&mut self, timeout: Duration) -> Result<(), String> {
        let before = Instant::now();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(format!("polling failed: {error}")),
        }
        if timeout.is_zero() && self.events.is_empty() {
            self.spun += before.elapsed();
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(index) = event.token();
            self.clients[index].is_read_closed |= event.is_read_closed();
            if event.is_writable() {
                self.on_writable(index);
            }
            if event.is_readable() || event.is_error() {
                self.on_readable(index);
            }
        }
        self.events = events;
        Ok(())
    }

    /// Sends the next message of `sender`, due at `due_us`, as far as its socket takes it: each with a
    /// write of its own, as a client would. Written together, all messages of a window would stay
    /// together for ever, and the server and the generator would work in turns.
    pub(super) fn send(&mut self, sender: usize, due_us: u32) {
        let index = self.plan.args.members + sender;
        let sequence = self.ledger.send(sender, index);
        let body = self.payload.write(Message { sender: sender as u16, sequence, due_us });
        let client = &mut self.clients[index];
        let unsent_before = client.out.len();
        self.plan.args.dialect.write_message(&client.entry, body, &mut client.out);
        client.message_bytes = client.out.len() - unsent_before;
        self.flush(index);
    }

    /// Hands what client `index` has to say to its socket.
    fn flush(&mut self, index: usize) {
        if let Err(reason) = self.clients[index].flush() {
            self.lose(index, &reason);
        }
    }

    /// Lets client `index`, a member, go and come back.
    pub(super) fn churn(&mut self, index: usize) -> Result<(), String> {
        self.ledger.churn(index);
        self.clients[index].close();
        self.joined -= 1;
        self.open(index)
    }

    /// The slow members stop reading.
    pub(super) fn stop_slow_members(&mut self) -> Result<(), String> {
        let registry = self.poll.registry();
        let mut slow = self.clients.iter_mut().filter(|client| client.is_slow);
        slow.try_for_each(|client| client.stop_reading(registry))
            .map_err(|error| format!("cannot stop listening to a member: {error}"))
    }

    /// How many of the slow members the server has closed. Reads what they did not.
    pub(super) fn closed_slow_members(&mut self) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        let has_ended = |client: &mut Client| {
            // Sockets hold some MiB at most: the bound is for a server that still sends.
            (0..1000).find_map(|_| match client.read(&mut buffer) {
                ReadOutcome::Bytes(..) => None,
                ReadOutcome::Drained => Some(false),
                ReadOutcome::Ended(_) => Some(true),
            })
        };
        let slow = self.clients.iter_mut().filter(|client| client.is_slow);
        let ended = slow.map(has_ended).filter(|ended| *ended == Some(true)).count();
        self.buffer = buffer;
        ended
    }

    /// What client `index` has not handed to its socket will not be sent any more.
    pub(super) fn retract_unsent(&mut self, index: usize) {
        let client = &self.clients[index];
        if let Some(sender) = index.checked_sub(self.plan.args.members) {
            let unsent = client.unsent_bytes().div_ceil(client.message_bytes.max(1));
            self.ledger.retract(sender, unsent as u32);
        }
    }

    fn cannot_connect(&self, error: &io::Error) -> String {
        let advice = match error.kind() {
            ErrorKind::AddrNotAvailable => {
                ": the ports of this machine are used up. Wait a minute for closed connections to \
                 be forgotten, or widen net.ipv4.ip_local_port_range"
            }
            _ if error.to_string().contains("open files") => {
                ": the limit of open files is reached; see `ulimit -n`"
            }
            _ => "",
        };
        format!("cannot open connection number {} to {}: {error}{advice}", self.opened + 1, self.plan.target)
    }

    fn on_writable(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.state != State::Connecting {
            return self.flush(index);
        }
        match client.is_connected() {
            Ok(false) => {}
            Ok(true) => {
                let is_websocket = self.plan.args.dialect.framing() == Framing::WebSocket;
                client.state = if is_websocket { State::Upgrading } else { State::Entering };
                self.plan.args.dialect.open(&client.entry, &self.plan.args.addr, &mut client.out);
                self.flush(index);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.lose(index, "refused the connection");
            }
            Err(error) => self.lose(index, &format!("could not be reached: {error}")),
        }
    }

    /// Reads what there is and looks at it.
    fn on_readable(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let (length, is_more) = match self.clients[index].read(&mut buffer) {
                ReadOutcome::Bytes(length, is_more) => (length, is_more),
                ReadOutcome::Drained => break,
                ReadOutcome::Ended(reason) => break self.lose(index, &reason),
            };
            self.read_at = Instant::now();
            match self.absorb(index, &buffer[..length]) {
                Ok(used) => self.clients[index].keep(&buffer[used..length]),
                Err(reason) => self.lose(index, &reason),
            }
            if !self.clients[index].out.is_empty() {
                self.flush(index);
            }
            if !is_more {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Looks at all complete lines or frames in `bytes` and returns their length together.
    fn absorb(&mut self, index: usize, bytes: &[u8]) -> Result<usize, String> {
        let now_us = self.read_at.duration_since(self.epoch).as_micros() as u64;
        let mut used = 0;
        match self.plan.args.dialect.framing() {
            Framing::Line => {
                for end in memchr::memchr_iter(b'\n', bytes) {
                    let line = &bytes[used..end];
                    self.unit(index, line.strip_suffix(b"\r").unwrap_or(line), now_us);
                    used = end + 1;
                }
            }
            Framing::Length => {
                while let Unit::Line(frame, length) = Lengths::default().next(&bytes[used..], usize::MAX) {
                    self.unit(index, &frame, now_us);
                    used += length;
                }
            }
            Framing::WebSocket => used = self.absorb_websocket(index, bytes, now_us)?,
        }
        Ok(used)
    }

    fn absorb_websocket(&mut self, index: usize, bytes: &[u8], now_us: u64) -> Result<usize, String> {
        let mut used = 0;
        if self.clients[index].state == State::Upgrading {
            let Some(length) = websocket::read_response(bytes)? else {
                return Ok(0);
            };
            used = length;
            let client = &mut self.clients[index];
            client.state = State::Entering;
            if self.plan.args.dialect.open_upgraded(&client.entry, &mut client.out) {
                self.welcome(index);
            }
        }
        while let Some((frame, length)) = websocket::read_frame(&bytes[used..])? {
            used += length;
            match frame {
                Frame::Text(text) => self.unit(index, text, now_us),
                Frame::Ping(payload) => websocket::write_pong(payload, &mut self.clients[index].out),
                Frame::Close(code, reason) => {
                    let reason = String::from_utf8_lossy(reason);
                    return Err(format!("closed the WebSocket: {code} {reason}"));
                }
                Frame::Other => {}
            }
        }
        Ok(used)
    }

    /// Looks at one line or frame.
    fn unit(&mut self, index: usize, unit: &[u8], now_us: u64) {
        if self.plan.args.dialect.is_history(unit) {
            return;
        }
        match self.payload.find(unit) {
            Found::Message(message, at) if !self.is_of_its_room(index, message.sender, &unit[..at]) => {
                self.ledger.strayed();
            }
            Found::Message(message, _) => {
                if self.ledger.deliver(index, message) {
                    self.delivered_at = self.read_at;
                    let latency_us = now_us.saturating_sub(u64::from(message.due_us));
                    self.latency_us.saturating_record(latency_us);
                }
            }
            Found::Damaged => self.ledger.damaged(),
            Found::Nothing => self.notice(index, unit),
        }
    }

    /// Whether what stands `before` a message of `sender` tells client `index` the room it was said in.
    fn is_of_its_room(&self, index: usize, sender: u16, before: &[u8]) -> bool {
        let is_of = |room: usize| {
            let entry = &self.clients[index].entry;
            self.plan.args.dialect.is_of_room(before, &self.room_names[room], entry)
        };
        self.ledger.room_of(sender).is_none_or(is_of)
    }

    fn notice(&mut self, index: usize, line: &[u8]) {
        let client = &mut self.clients[index];
        match self.plan.args.dialect.notice(line, &client.entry, &mut client.out) {
            Notice::Idle => {}
            Notice::Welcome => self.welcome(index),
            Notice::Refused => {
                let line = &line[..line.len().min(FAREWELL_BYTES_MAX)];
                let said = String::from_utf8_lossy(line).replace(&client.entry.name, "NAME");
                client.farewell = Some(said.as_str().into());
                match client.state {
                    State::Joined => count(&mut self.refusals, &said),
                    _ => self.lose(index, "refused to let it in"),
                }
            }
        }
    }

    /// Client `index` is welcome in one more room.
    fn welcome(&mut self, index: usize) {
        let dialect = self.plan.args.dialect;
        let client = &mut self.clients[index];
        if client.state != State::Entering {
            return;
        }
        client.entry.welcomes += 1;
        if client.entry.welcomes == dialect.welcomes(self.rooms_each) {
            client.state = State::Joined;
            self.joined += 1;
        } else if client.entry.welcomes == 1 {
            // It comes back when all others are in all of their rooms.
            dialect.open_others(&client.entry, &mut client.out);
        }
    }

    /// Client `index` is gone, and not by the bench's will.
    fn lose(&mut self, index: usize, reason: &str) {
        if self.clients[index].state == State::Closed {
            return;
        }
        self.retract_unsent(index);
        self.ledger.disconnect(index);
        let client = &mut self.clients[index];
        self.joined -= usize::from(client.state == State::Joined);
        self.closed += 1;
        let sentence = match client.farewell.take() {
            Some(said) => format!("the server {reason}, saying: {said}"),
            None => format!("the server {reason}"),
        };
        client.close();
        count(&mut self.closings, &sentence);
    }
}

/// From which address to connect to `target` when `sources_full` addresses have no port left: `None`,
/// the system's choice, before the first is full and wherever there is only one address.
fn source_address(target: IpAddr, sources_full: u32) -> Option<IpAddr> {
    let can_choose = target.is_loopback() && target.is_ipv4();
    (can_choose && sources_full > 0).then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 1, sources_full as u8)))
}

/// Counts one more of `what`; reasons beyond [`REASONS_MAX`] together.
fn count(counts: &mut BTreeMap<String, u64>, what: &str) {
    let is_known = counts.contains_key(what) || counts.len() < REASONS_MAX;
    let what = if is_known { what } else { "other reasons" };
    *counts.entry(what.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_addresses_spread_when_one_is_full() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let spread = |full| source_address(loopback, full).map(|address| address.to_string());
        assert_eq!(spread(0), None);
        assert_eq!(spread(1).as_deref(), Some("127.0.1.1"));
        assert_eq!(spread(250).as_deref(), Some("127.0.1.250"));
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(source_address(elsewhere, 3), None, "only loopback has addresses to spare");
    }
}
