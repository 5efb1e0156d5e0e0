//! A scripted machine for the loop: sockets that block, tear, break and lie as real ones may, and a clock
//! that the test moves. It is a [`Platform`], so that a [`Handler`](super::Handler) runs on it as it does on epoll,
//! in one thread, without a socket and without waiting, and the same way each time.
//!
//! Sockets, edges and errors are those of TCP and epoll on Linux, as `tests/readiness` proves: the same cases
//! run on both. With faults ([`World::fault_percent`]), events also come for no reason or late, and calls are
//! interrupted or cut short.
//!
//! ```
//! use roomd::limits::Limits;
//! use roomd::reactor::simulated::Machine;
//! use roomd::reactor::{ConnectionId, Consumed, Handler, Loss, Net, Reactor, Rest, Then};
//!
//! /// Says everything twice.
//! struct Twice;
//!
//! impl Handler for Twice {
//!     fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
//!         net.send(id, &input.repeat(2));
//!         Consumed { bytes: input.len(), then: Then::Read }
//!     }
//!     fn ended(&mut self, _: &mut Net, _: ConnectionId, _: Rest<'_>) {}
//!     fn lost(&mut self, _: &mut Net, _: ConnectionId, _: Loss) -> Vec<u8> {
//!         Vec::new()
//!     }
//!     fn stopping(&mut self, _: &mut Net) {}
//! }
//!
//! let machine = Machine::new(1);
//! machine.world_mut().fault_percent = 20;
//! let mut reactor = Reactor::new(machine.clone(), Twice, Limits::default());
//! let client = machine.connect(3); // the server's socket buffers 3 bytes for it
//! machine.send(client, b"ho");
//! let mut heard = Vec::new();
//! while heard.len() < 4 {
//!     reactor.turn()?;
//!     reactor.net().check_invariants();
//!     heard.extend(machine.receive(client, 1));
//! }
//! assert_eq!(heard, b"hoho");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::cell::{Ref, RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::{ConnectionId, Event, Peer, Platform, Socket};
use crate::clock::{Millis, Now};
use crate::limits::Limits;

/// Where the fake clock starts: 2026-01-01 00:00 UTC.
const START_UNIX_MS: u64 = 1_767_225_600_000;

/// SplitMix64, a random number generator: small, and the same everywhere. It holds its seed.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "it does not end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Whether something happens that happens so often.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// One TCP connection, both ends of it.
#[derive(Debug, Default)]
pub struct Pipe {
    /// Sent by the client, not read by the server yet.
    to_server: VecDeque<u8>,
    /// Sent by the server, not taken by the client yet: the socket's send buffer.
    to_client: VecDeque<u8>,
    /// So many bytes fit into it.
    pub capacity: usize,
    /// Where the client is; none for a Unix socket.
    ip: Option<IpAddr>,
    /// The server has called, and the client has not answered.
    is_connecting: bool,
    client_has_ended: bool,
    /// The server has closed its side.
    pub server_has_ended: bool,
    /// The client is gone without a good-bye.
    is_reset: bool,
    /// What the next call is told of that, and the one after it is not.
    error: Option<io::ErrorKind>,
    /// The client has closed its socket, and not only its side: it answers whatever it is sent with a reset.
    client_is_gone: bool,
    is_reset_on_drop: bool,
    /// The server has dropped its socket.
    pub is_closed: bool,
    id: Option<ConnectionId>,
    watches_writable: bool,
    has_edge: bool,
    /// A write did not fit, or somebody who asked was told that there is no room: room will be an edge.
    awaits_room: bool,
}

impl Pipe {
    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.to_client.len())
    }

    /// Whether there is room worth waking somebody for: a third of the buffer. Less can be written all the same.
    fn has_room(&self) -> bool {
        self.room() > 0 && self.room() >= self.to_client.len() / 2
    }

    /// The client's side has come to an end, one way or the other.
    fn is_read_closed(&self) -> bool {
        self.client_has_ended || self.is_reset
    }

    fn is_broken(&self) -> bool {
        self.is_reset || (self.client_has_ended && self.server_has_ended)
    }

    /// What there is to report, if anything: all that is so now, whatever the edge was.
    fn poll(&mut self) -> Option<Event> {
        if self.is_connecting {
            return None;
        }
        let has_room = self.server_has_ended || self.has_room();
        self.awaits_room |= !has_room;
        let broken = self.is_broken();
        let read_closed = self.is_read_closed();
        let readable = read_closed || !self.to_server.is_empty();
        let writable = broken || (self.watches_writable && has_room);
        let id = self.id.filter(|_| readable || writable)?;
        Some(Event::Connection { id, readable, writable, read_closed, broken })
    }

    /// The connection is dead.
    fn break_off(&mut self) {
        if !self.is_broken() {
            (self.is_reset, self.is_connecting) = (true, false);
            let is_behind_the_end = self.client_has_ended && !self.server_has_ended;
            self.error = Some(match is_behind_the_end {
                true => io::ErrorKind::BrokenPipe,
                false => io::ErrorKind::ConnectionReset,
            });
            self.to_client.clear();
            self.has_edge = true;
        }
    }
}

/// What other threads ring.
#[derive(Debug, Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Everything the test and the loop share.
#[derive(Debug)]
pub struct World {
    /// What decides on faults, and on the order of events.
    pub rng: Rng,
    /// The monotonic clock.
    pub now_ms: u64,
    /// All connections there ever were.
    pub pipes: Vec<Pipe>,
    /// Connections that wait to be accepted; an error is what the next `accept` returns.
    pub backlog: VecDeque<Result<usize, i32>>,
    backlog_has_edge: bool,
    /// Whom the server calls, and by which connection, before anybody has answered.
    pub calls: VecDeque<(SocketAddr, usize)>,
    /// Until it is taken away, connecting fails at once with this error number.
    pub connect_error: Option<i32>,
    bell: Arc<Bell>,
    /// How often a system call is interrupted or cut short, in percent.
    pub fault_percent: usize,
    /// So many signals come with the next events.
    pub stop_requests: usize,
    /// How far a wait without events moves the clock at most; with 0 only the test moves it.
    pub wait_max_ms: u64,
    /// How often the loop was told to wait for ever and had no event.
    pub idle_waits: usize,
    /// Whether there is a listener; its number is 0.
    pub is_listening: bool,
    /// Where those who connect from now on are.
    pub peer_ip: Option<IpAddr>,
    /// The process is stopped for so long at the end of its next wait.
    pub pause_ms: u64,
    /// Changes of interest so far.
    pub reregistrations: usize,
    /// Calls of `write` so far.
    pub writes: usize,
}

/// The machine, to be shared by the loop and the test. Connections are called by their numbers: 0, 1, 2 …
#[derive(Debug, Clone)]
pub struct Machine(Rc<RefCell<World>>);

impl Machine {
    /// A machine that listens; its clock stands at 1 ms.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(World {
            rng: Rng(seed),
            now_ms: 1,
            pipes: Vec::new(),
            backlog: VecDeque::new(),
            backlog_has_edge: false,
            calls: VecDeque::new(),
            connect_error: None,
            bell: Arc::default(),
            fault_percent: 0,
            stop_requests: 0,
            wait_max_ms: u64::MAX,
            idle_waits: 0,
            is_listening: true,
            peer_ip: Some(Ipv4Addr::LOCALHOST.into()),
            pause_ms: 0,
            reregistrations: 0,
            writes: 0,
        })))
    }

    /// Everything that can be looked at.
    #[must_use]
    pub fn world(&self) -> Ref<'_, World> {
        self.0.borrow()
    }

    /// Everything that can be changed. It must be let go before the next turn.
    #[must_use]
    pub fn world_mut(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    /// A client connects; the server's socket will buffer `capacity` bytes for it.
    pub fn connect(&self, capacity: usize) -> usize {
        let mut world = self.0.borrow_mut();
        let (is_closed, ip) = (!world.is_listening, world.peer_ip);
        world.pipes.push(Pipe { capacity, ip, is_closed, ..Pipe::default() });
        let pipe = world.pipes.len() - 1;
        if !is_closed {
            world.backlog.push_back(Ok(pipe));
            world.backlog_has_edge = true;
        }
        pipe
    }

    /// The next `accept` fails with this error number.
    pub fn fail_accept(&self, errno: i32) {
        let mut world = self.0.borrow_mut();
        world.backlog.push_back(Err(errno));
        world.backlog_has_edge = true;
    }

    /// The client answers the server's call; the server's socket will buffer `capacity` bytes for it.
    pub fn answer(&self, pipe: usize, capacity: usize) {
        let pipe = &mut self.0.borrow_mut().pipes[pipe];
        (pipe.is_connecting, pipe.capacity, pipe.has_edge) = (false, capacity, true);
    }

    /// Nobody is there to answer the server's call.
    pub fn refuse(&self, pipe: usize) {
        let pipe = &mut self.0.borrow_mut().pipes[pipe];
        pipe.break_off();
        pipe.error = Some(io::ErrorKind::ConnectionRefused);
    }

    /// The client sends bytes.
    pub fn send(&self, pipe: usize, bytes: &[u8]) {
        let pipe = &mut self.0.borrow_mut().pipes[pipe];
        if !bytes.is_empty() && !pipe.is_closed && !pipe.is_read_closed() {
            pipe.to_server.extend(bytes);
            pipe.has_edge = true;
        }
    }

    /// The client has said its last.
    pub fn end(&self, pipe: usize) {
        let pipe = &mut self.0.borrow_mut().pipes[pipe];
        if !pipe.is_read_closed() {
            pipe.client_has_ended = true;
            pipe.has_edge = true;
        }
    }

    /// The client breaks the connection off. What it sent before can still be read.
    pub fn reset(&self, pipe: usize) {
        self.0.borrow_mut().pipes[pipe].break_off();
    }

    /// The client closes its socket. The server sees no more than the end of its side, until it writes; but
    /// what the client has not read breaks the connection at once.
    pub fn close(&self, pipe: usize) {
        if !self.0.borrow().pipes[pipe].to_client.is_empty() {
            return self.reset(pipe);
        }
        self.end(pipe);
        self.0.borrow_mut().pipes[pipe].client_is_gone = true;
    }

    /// The client takes up to `max` bytes.
    pub fn receive(&self, pipe: usize, max: usize) -> Vec<u8> {
        let pipe = &mut self.0.borrow_mut().pipes[pipe];
        let count = pipe.to_client.len().min(max);
        let taken = pipe.to_client.drain(..count).collect();
        if pipe.awaits_room && pipe.has_room() {
            pipe.awaits_room = false;
            // Whoever does not watch finds it when it begins to.
            pipe.has_edge |= pipe.watches_writable;
        }
        taken
    }

    /// So many bytes the client has sent, and the server has not read.
    #[must_use]
    pub fn unread(&self, pipe: usize) -> usize {
        self.0.borrow().pipes[pipe].to_server.len()
    }

    /// So many bytes the server has sent, and the client has not taken.
    #[must_use]
    pub fn untaken(&self, pipe: usize) -> usize {
        self.0.borrow().pipes[pipe].to_client.len()
    }

    /// Whether the client would read the end now.
    #[must_use]
    pub fn is_at_end(&self, pipe: usize) -> bool {
        let pipe = &self.0.borrow().pipes[pipe];
        (pipe.server_has_ended || pipe.is_closed) && pipe.to_client.is_empty()
    }
}

/// The server's end of a [`Pipe`].
#[derive(Debug)]
pub struct Stream {
    machine: Machine,
    pipe: usize,
}

impl Stream {
    fn fault(&self) -> bool {
        let mut world = self.machine.world_mut();
        let percent = world.fault_percent;
        world.rng.chance(percent)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fault() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let is_short = self.fault();
        let mut world = self.machine.world_mut();
        let short = 1 + world.rng.below(40);
        let pipe = &mut world.pipes[self.pipe];
        assert!(!pipe.is_connecting, "a read before it is connected");
        if pipe.to_server.is_empty() {
            // An end that came before a reset hides it, and an error is told once.
            return if pipe.client_has_ended {
                Ok(0)
            } else if let Some(error) = pipe.error.take() {
                Err(error.into())
            } else if pipe.is_reset {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        let mut count = pipe.to_server.len().min(buffer.len());
        if is_short && count > short {
            // What is left arrives later, as far as the server can tell.
            count = short;
            pipe.has_edge = true;
        }
        for (place, byte) in buffer.iter_mut().zip(pipe.to_server.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.fault() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let is_short = self.fault();
        let mut world = self.machine.world_mut();
        world.writes += 1;
        let short = 1 + world.rng.below(40);
        let pipe = &mut world.pipes[self.pipe];
        assert!(!pipe.is_connecting, "a write before it is connected");
        assert!(!pipe.server_has_ended, "a write after shutdown");
        assert!(!bytes.is_empty(), "a write of nothing");
        if pipe.is_reset {
            return Err(pipe.error.take().unwrap_or(io::ErrorKind::BrokenPipe).into());
        }
        if pipe.client_is_gone {
            pipe.break_off();
            return Ok(bytes.len());
        }
        let mut count = bytes.len().min(pipe.room());
        if is_short {
            count = count.min(short);
        }
        pipe.to_client.extend(&bytes[..count]);
        if count < bytes.len() {
            pipe.awaits_room = true;
            // The system freed some room just after it said there was none.
            pipe.has_edge |= is_short && pipe.watches_writable && pipe.has_room();
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        assert!(pieces.len() <= 64, "more pieces than agreed");
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        self.write(&whole)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Stream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        let pipe = &mut self.machine.world_mut().pipes[self.pipe];
        if pipe.is_reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        pipe.server_has_ended = true;
        // Our own doing is a change as well.
        pipe.has_edge = true;
        Ok(())
    }

    fn reset_on_drop(&mut self) {
        self.machine.world_mut().pipes[self.pipe].is_reset_on_drop = true;
    }

    fn is_connected(&mut self) -> io::Result<bool> {
        let pipe = &mut self.machine.world_mut().pipes[self.pipe];
        match pipe.error.take() {
            Some(error) => Err(error.into()),
            None => Ok(!pipe.is_connecting && !pipe.is_reset),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut world = self.machine.world_mut();
        let pipe = &mut world.pipes[self.pipe];
        pipe.is_closed = true;
        if !pipe.to_server.is_empty() || pipe.is_reset_on_drop {
            // Closing with unread input resets the connection: what was under way is destroyed.
            pipe.to_client.clear();
        }
    }
}

impl Platform for Machine {
    type Socket = Stream;

    fn now(&mut self) -> Now {
        let now_ms = self.world().now_ms;
        Now { monotonic: Millis(now_ms), unix_ms: START_UNIX_MS + now_ms }
    }

    fn busy(&mut self) -> Duration {
        Duration::ZERO
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let world = &mut *self.world_mut();
        let World { pipes, rng, fault_percent, .. } = world;
        let mut is_late = false;
        for pipe in pipes.iter_mut() {
            let Some(id) = pipe.id else { continue };
            let is_spurious = rng.chance(*fault_percent / 4);
            if !(pipe.has_edge || is_spurious) {
                continue;
            }
            if rng.chance(*fault_percent / 2) {
                is_late = true;
                continue;
            }
            pipe.has_edge = false;
            if !is_spurious {
                events.extend(pipe.poll());
            } else {
                let (read_closed, broken) = (pipe.is_read_closed(), pipe.is_broken());
                events.push(Event::Connection { id, readable: true, writable: true, read_closed, broken });
                // The table of connections may have changed meanwhile.
                let id = ConnectionId { generation: id.generation.wrapping_add(1000), ..id };
                events.push(Event::Connection {
                    id,
                    readable: true,
                    writable: true,
                    read_closed: true,
                    broken: true,
                });
            }
        }
        for i in (1..events.len()).rev() {
            events.swap(i, rng.below(i + 1));
        }
        if std::mem::take(&mut world.backlog_has_edge) && !world.backlog.is_empty() {
            events.push(Event::Listener(0));
        }
        let is_spurious = Arc::strong_count(&world.bell) > 1 && world.rng.chance(world.fault_percent / 4);
        if world.bell.0.swap(false, Ordering::Acquire) || is_spurious {
            events.push(Event::Notified);
        }
        events.extend((0..std::mem::take(&mut world.stop_requests)).map(|_| Event::Stop));
        if events.is_empty() && !is_late {
            match timeout {
                Some(wait) => world.now_ms += world.wait_max_ms.min(wait.as_millis() as u64),
                None => world.idle_waits += 1,
            }
        }
        world.now_ms += std::mem::take(&mut world.pause_ms);
        Ok(())
    }

    fn accept(&mut self, _listener: usize) -> io::Result<(Stream, Peer)> {
        let mut world = self.world_mut();
        match world.backlog.pop_front() {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(Err(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Ok(pipe)) => {
                let ip = world.pipes[pipe].ip;
                let socket = Stream { machine: self.clone(), pipe };
                Ok((socket, Peer { ip, ..Peer::default() }))
            }
        }
    }

    fn connect(&mut self, addr: SocketAddr, _limits: &Limits) -> io::Result<Stream> {
        let mut world = self.world_mut();
        if let Some(errno) = world.connect_error {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let number = world.pipes.len();
        world.pipes.push(Pipe { ip: Some(addr.ip()), is_connecting: true, ..Pipe::default() });
        world.calls.push_back((addr, number));
        Ok(Stream { machine: self.clone(), pipe: number })
    }

    fn waker(&mut self) -> io::Result<Waker> {
        Ok(Waker::from(Arc::clone(&self.world().bell)))
    }

    fn close_listeners(&mut self) {
        let mut world = self.world_mut();
        world.is_listening = false;
        // Nobody will ever accept those who wait.
        while let Some(waiting) = world.backlog.pop_front() {
            if let Ok(pipe) = waiting {
                world.pipes[pipe].is_closed = true;
            }
        }
    }

    fn register(&mut self, socket: &mut Stream, id: ConnectionId) -> io::Result<()> {
        let pipe = &mut self.world_mut().pipes[socket.pipe];
        assert!(pipe.id.is_none(), "registered twice");
        pipe.id = Some(id);
        pipe.watches_writable = false;
        pipe.has_edge = pipe.poll().is_some();
        Ok(())
    }

    fn reregister(&mut self, socket: &mut Stream, id: ConnectionId, writable: bool) -> io::Result<()> {
        let mut world = self.world_mut();
        world.reregistrations += 1;
        let pipe = &mut world.pipes[socket.pipe];
        assert_eq!(pipe.id, Some(id));
        assert_ne!(pipe.watches_writable, writable, "a change of interest that changes nothing");
        pipe.watches_writable = writable;
        pipe.has_edge |= pipe.poll().is_some();
        Ok(())
    }

    fn deregister(&mut self, socket: &mut Stream) {
        self.world_mut().pipes[socket.pipe].id = None;
    }
}
