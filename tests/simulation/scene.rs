//! The server on a machine, and what every test here does with it.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use roomd::limits::Limits;
use roomd::reactor::{Platform, Reactor};
use roomd::server::{Config, Server};

use roomd::reactor::simulated::Machine;

use crate::scripted::{Disk, Scripted};

/// An address that `--exempt` spares, as it does by default.
pub const EXEMPT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An address that is not spared, another one for each number.
pub fn stranger(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, (number / 250) as u8, (number % 250) as u8).into()
}

/// A daemon on a scripted machine.
pub struct Scene {
    pub machine: Machine,
    pub server: Reactor<Machine, Server>,
    pub limits: Rc<Limits>,
    /// Its store, if that does not answer at once.
    pub store: Option<Scripted>,
}

impl Scene {
    pub fn new(seed: u64, limits: Limits) -> Self {
        let machine = Machine::new(seed);
        let limits = Rc::new(limits);
        let config = Config { limits: Rc::clone(&limits), ..Config::default() };
        let mut platform = machine.clone();
        let server = Server::new(config, platform.now());
        let server = Reactor::new(platform, server, Rc::clone(&limits));
        Self { machine, server, limits, store: None }
    }

    /// A daemon that begins with what is on a disk, at a time. Its store refuses some of what it is asked.
    pub fn on_disk(
        seed: u64,
        limits: Limits,
        disk: &Rc<RefCell<Disk>>,
        now_ms: u64,
        refuses_percent: usize,
    ) -> Self {
        let machine = Machine::new(seed);
        machine.world_mut().now_ms = now_ms;
        let limits = Rc::new(limits);
        let config = Config { limits: Rc::clone(&limits), ..Config::default() };
        let mut platform = machine.clone();
        let now = platform.now();
        let waker = platform.waker().expect("a simulated one");
        let store = Scripted::new(disk, waker, seed ^ 0x5709e, refuses_percent);
        let restored = disk.borrow_mut().restored(now.unix_ms);
        let server = Server::with_store(config, Box::new(store.clone()), restored, now);
        let server = Reactor::new(platform, server, Rc::clone(&limits));
        Self { machine, server, limits, store: Some(store) }
    }

    /// Somebody connects from `ip`, and says `hello`; the server's socket buffers `capacity` bytes for it.
    pub fn connect(&self, ip: IpAddr, capacity: usize, hello: &[u8]) -> usize {
        self.machine.world_mut().peer_ip = Some(ip);
        let pipe = self.machine.connect(capacity);
        self.machine.send(pipe, hello);
        pipe
    }

    /// A turn of the loop, whose book-keeping must be right after it.
    pub fn turn(&mut self) {
        self.turn_unchecked();
        self.server.net().check_invariants();
        self.server.handler().chat().check_invariants();
    }

    /// A turn of a crowd, for which checking takes long.
    pub fn turn_unchecked(&mut self) {
        if let Some(store) = &self.store {
            store.work();
        }
        self.server.turn().expect("the simulated selector does not break");
    }

    pub fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn();
        }
    }

    /// Lets time pass, and then a turn.
    pub fn after_ms(&mut self, wait: u64) {
        self.machine.world_mut().now_ms += wait;
        self.turn();
    }

    pub fn now_ms(&self) -> u64 {
        self.machine.world().now_ms
    }

    /// How many were closed as slow so far.
    pub fn lost_slow(&self) -> u64 {
        self.server.net().counters().lost_slow
    }
}
