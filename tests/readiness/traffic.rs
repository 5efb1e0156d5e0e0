//! Who follows the contract misses nothing: random traffic through an echo that latches what events say and
//! believes only what reads and writes return. On the simulation with faults, too: events that come for no
//! reason or late, calls that are interrupted or cut short.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use roomd::reactor::{Event, Platform, Socket};

use crate::rig::{Rig, Server, Sim, Stage, Tcp, Unix};
use roomd::reactor::simulated::Rng;

/// So much may be under way at once: a client that has written it must read before it writes more, or the
/// one thread that plays both sides would block.
const UNDER_WAY_MAX: usize = 40 * 1024;
/// How long one wait is at most while the client has things to do.
const PATIENCE: Duration = Duration::from_millis(5);
/// So many turns without any progress are a hang.
const IDLE_TURNS_MAX: usize = 4000;

/// Sends back what it is sent, and closes its side behind the peer's.
struct Echo<R: Rig> {
    server: Server<R>,
    readable: bool,
    writable: bool,
    watches_writable: bool,
    read_closed: bool,
    has_ended: bool,
    is_closed: bool,
    pending: Vec<u8>,
}

impl<R: Rig> Echo<R> {
    fn new(server: Server<R>) -> Self {
        Self {
            server,
            readable: false,
            writable: true,
            watches_writable: false,
            read_closed: false,
            has_ended: false,
            is_closed: false,
            pending: Vec::new(),
        }
    }

    /// Whether there is something to do without another event.
    fn is_busy(&self) -> bool {
        !self.has_ended && self.readable || self.writable && !self.pending.is_empty()
    }

    fn turn(&mut self, platform: &mut R::Platform, rng: &mut Rng) {
        let mut events = Vec::new();
        let timeout = if self.is_busy() { Duration::ZERO } else { PATIENCE };
        platform.wait(Some(timeout), &mut events).unwrap();
        for event in events {
            if let Event::Connection { id, readable, writable, read_closed, broken } = event
                && id == self.server.id
            {
                self.readable |= readable || read_closed;
                self.read_closed |= read_closed;
                self.writable |= writable;
                assert!(!broken || self.is_closed, "the one bit that is no hint");
            }
        }
        if self.readable && !self.has_ended {
            self.read(rng);
        }
        if self.writable && !self.pending.is_empty() {
            self.write(rng);
        }
        let has_more = !self.pending.is_empty();
        if has_more != self.watches_writable {
            self.watches_writable = has_more;
            platform.reregister(&mut self.server.socket, self.server.id, has_more).unwrap();
        }
        if self.has_ended && !has_more && !self.is_closed {
            self.is_closed = true;
            self.server.socket.shutdown_write().unwrap();
        }
    }

    fn read(&mut self, rng: &mut Rng) {
        let mut buffer = vec![0; 1 + rng.below(3000)];
        match self.server.socket.read(&mut buffer) {
            Ok(0) => self.has_ended = true,
            Ok(count) => {
                self.readable = count == buffer.len() || self.read_closed;
                self.pending.extend(&buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
    }

    fn write(&mut self, rng: &mut Rng) {
        let count = self.pending.len().min(1 + rng.below(5000));
        match self.server.socket.write(&self.pending[..count]) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
    }
}

/// One run: what the client has sent is what it gets, and then the end.
fn runs<R: Rig>(stage: &mut Stage<R>, rng: &mut Rng, bytes: usize) {
    let (mut client, server) = stage.connect();
    let mut echo = Echo::new(server);
    let (mut sent, mut received, mut idle_turns) = (Vec::new(), Vec::new(), 0);
    let mut has_ended = false;
    loop {
        // Now and then the client does not read for so long that the socket is full.
        let reads = sent.len() - received.len() > UNDER_WAY_MAX - 4000 || has_ended || rng.chance(20);
        let before = sent.len() + received.len();
        if sent.len() < bytes {
            let under_way = sent.len() - received.len();
            let count = (1 + rng.below(4000)).min(UNDER_WAY_MAX.saturating_sub(under_way));
            let piece: Vec<u8> = (0..count).map(|_| rng.next() as u8).collect();
            stage.rig.send(&mut client, &piece);
            sent.extend(piece);
        } else if !has_ended {
            has_ended = true;
            stage.rig.end(&mut client);
        }
        echo.turn(stage.rig.platform(), rng);
        if reads {
            match stage.rig.receive(&mut client, 1 + rng.below(8000), false) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => received.extend(bytes),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        idle_turns = if sent.len() + received.len() > before { 0 } else { idle_turns + 1 };
        assert!(idle_turns < IDLE_TURNS_MAX, "stuck after {} of {} bytes", received.len(), sent.len());
    }
    assert!(received == sent, "{} bytes came back of {}, or others", received.len(), sent.len());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Runs so many seeds, or the one that was asked for.
fn for_seeds(count: u64, mut run: impl FnMut(&mut Rng)) {
    let seeds = match number("ROOMD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROOMD_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        // Shown if the test fails.
        println!("ROOMD_SEED={seed} cargo test --test readiness traffic");
        run(&mut Rng(seed));
    }
}

#[test]
fn who_follows_the_contract_misses_nothing_on_tcp() {
    for_seeds(5, |rng| runs(&mut Stage::<Tcp>::new(), rng, 300_000));
}

#[test]
fn who_follows_the_contract_misses_nothing_on_a_unix_socket() {
    for_seeds(5, |rng| runs(&mut Stage::<Unix>::new(), rng, 300_000));
}

#[test]
fn who_follows_the_contract_misses_nothing_on_the_simulation() {
    for_seeds(50, |rng| runs(&mut Stage::<Sim>::new(), rng, 100_000));
}

#[test]
fn who_follows_the_contract_misses_nothing_when_events_lie_and_calls_are_cut() {
    for_seeds(100, |rng| {
        let mut stage = Stage::<Sim>::new();
        let machine = stage.rig.machine.clone();
        machine.world_mut().rng = rng.clone();
        machine.world_mut().fault_percent = 1 + rng.below(60);
        runs(&mut stage, rng, 100_000);
    });
}
