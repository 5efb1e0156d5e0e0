//! What others build on the loop, tried on handlers that are no chat: each on the scripted machine, whose readers are
//! of all speeds and whose sockets tear, and on epoll.
//!
//! `ROOMD_SEED=7 cargo test --test building` runs one seed of the random tests; `ROOMD_SEEDS` changes how many.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use roomd::limits::Limits;
use roomd::reactor::epoll::{Epoll, ListenAddr};
use roomd::reactor::simulated::{Machine, Rng};
use roomd::reactor::{ConnectionId, Consumed, Handler, Loss, Net, Peer, Platform, Reactor, Rest, Then};

const UPSTREAM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7);
/// How long anything real may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Does what it is told by the first byte of what a client says, and logs what it is told by the loop.
struct Told {
    log: Vec<String>,
    clients: Vec<ConnectionId>,
    outgoing: Option<ConnectionId>,
    /// So many bytes of a long answer are left to send, by connection.
    bulk: BTreeMap<ConnectionId, usize>,
    from_thread: Option<mpsc::Receiver<String>>,
    upstream: SocketAddr,
}

const PIECE: usize = 64 * 1024;
const BULK: usize = 40 * 1024 * 1024;

/// The byte at a place of a long answer: a repetition or a hole would show.
fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}

impl Told {
    fn new() -> Self {
        let (log, clients, bulk) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { log, clients, outgoing: None, bulk, from_thread: None, upstream: UPSTREAM }
    }

    fn send_piece(&mut self, net: &mut Net, id: ConnectionId) {
        let Some(left) = self.bulk.get_mut(&id) else { return };
        assert_eq!(net.queued_bytes(id), 0);
        let (begin, count) = (BULK - *left, (*left).min(PIECE));
        *left -= count;
        net.send(id, &(begin..begin + count).map(byte_at).collect::<Vec<u8>>());
        assert_eq!(net.queued_bytes(id), count);
        if *left == 0 {
            net.close(id);
        } else {
            net.when_drained(id);
        }
    }

    fn log(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }
}

impl Handler for Told {
    fn started(&mut self, _net: &mut Net) {
        self.log("started");
    }

    fn opened(&mut self, _net: &mut Net, id: ConnectionId, _peer: Peer) {
        self.clients.push(id);
    }

    fn connected(&mut self, net: &mut Net, id: ConnectionId) {
        assert_eq!(Some(id), self.outgoing);
        self.log("connected");
        net.send(id, b"hello");
    }

    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
        match input {
            _ if Some(id) == self.outgoing => self.log(String::from_utf8_lossy(input)),
            b"stop" => net.stop(),
            b"bulk" => {
                self.bulk.insert(id, BULK);
                self.send_piece(net, id);
            }
            b"two at once" => (0..2).for_each(|_| net.send(id, &vec![b'x'; 10 << 20])),
            b"pause" => return Consumed { bytes: 0, then: Then::Pause(roomd::clock::Millis::NEVER) },
            b"drained?" => {
                net.when_drained(id);
                net.when_drained(id);
            }
            b"say and drained?" => {
                net.send(id, &[b'x'; 100]);
                net.when_drained(id);
            }
            b"drained and closed" => {
                net.send(id, &[b'x'; 100]);
                net.when_drained(id);
                net.close(id);
            }
            b"connect" => self.outgoing = Some(net.connect(self.upstream, Duration::from_secs(3))),
            b"connect and close" => {
                let id = net.connect(self.upstream, Duration::from_secs(3));
                net.send(id, b"it is not connected");
                net.keeps(id, 100);
                net.close(id);
                self.outgoing = None;
            }
            b"close" => net.close(self.outgoing.unwrap()),
            other => panic!("{other:?}"),
        }
        Consumed { bytes: input.len(), then: Then::Read }
    }

    fn drained(&mut self, net: &mut Net, id: ConnectionId) {
        match self.bulk.contains_key(&id) {
            true => self.send_piece(net, id),
            false => self.log("drained"),
        }
    }

    fn notified(&mut self, net: &mut Net) {
        self.log("notified");
        for text in self.from_thread.iter().flat_map(mpsc::Receiver::try_iter) {
            self.clients.iter().for_each(|&id| net.send(id, text.as_bytes()));
        }
    }

    fn ended(&mut self, _net: &mut Net, id: ConnectionId, _rest: Rest<'_>) {
        self.log(if Some(id) == self.outgoing { "outgoing ended" } else { "ended" });
    }

    fn lost(&mut self, _net: &mut Net, id: ConnectionId, loss: Loss) -> Vec<u8> {
        assert_eq!(matches!(loss, Loss::NotConnected(_)), Some(id) == self.outgoing);
        self.log(format!("{loss:?}"));
        Vec::new()
    }

    fn stopping(&mut self, net: &mut Net) {
        self.log("stopping");
        for &id in &self.clients {
            net.send(id, b"bye");
            net.close(id);
        }
    }
}

/// A loop on the scripted machine, whose book-keeping is checked after each turn.
struct Scene<H> {
    machine: Machine,
    reactor: Reactor<Machine, H>,
}

impl<H: Handler> Scene<H> {
    fn new(handler: H, limits: Limits) -> Self {
        let machine = Machine::new(1);
        machine.world_mut().wait_max_ms = 0;
        Self { reactor: Reactor::new(machine.clone(), handler, limits), machine }
    }

    fn turn(&mut self) {
        self.reactor.turn().unwrap();
        self.reactor.net().check_invariants();
    }

    fn says(&mut self, client: usize, text: &str) {
        self.machine.send(client, text.as_bytes());
        (0..4).for_each(|_| self.turn());
    }

    /// Lets time pass, not so much at once that the process seems to have been stopped.
    fn after_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.machine.world_mut().now_ms += 1;
            self.turn();
        }
        (0..4).for_each(|_| self.turn());
    }
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |variable| std::env::var(variable).ok().map(|text| text.parse().expect("a number"));
    match number("ROOMD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROOMD_SEEDS").unwrap_or(count),
    }
}

/// A loop on epoll, in a thread of its own; its address, and how it ends.
fn serve<H: Handler>(
    make: impl FnOnce(Waker) -> H + Send + 'static,
    limits: Limits,
) -> (SocketAddr, thread::JoinHandle<()>) {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut os = Epoll::new().unwrap();
        let ListenAddr::Tcp(addr) =
            os.listen(&ListenAddr::Tcp((Ipv4Addr::LOCALHOST, 0).into()), &limits).unwrap()
        else {
            unreachable!()
        };
        let handler = make(os.waker().unwrap());
        tell.send(addr).unwrap();
        Reactor::new(os, handler, limits).run().unwrap();
    });
    (told.recv().unwrap(), thread)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.set_write_timeout(Some(DEADLINE)).unwrap();
    client
}

// ---- stopping

#[test]
fn a_handler_that_stops_the_loop_says_good_bye_first() {
    let mut scene = Scene::new(Told::new(), Limits::default());
    let (alice, bob) = (scene.machine.connect(100), scene.machine.connect(100));
    scene.turn();
    scene.says(alice, "stop");
    scene.machine.end(alice);
    scene.machine.end(bob);
    while !scene.reactor.is_stopped() {
        scene.turn();
    }
    assert_eq!(scene.reactor.handler().log, ["started", "stopping"]);
    assert_eq!(scene.machine.receive(alice, 10), b"bye");
    assert_eq!(scene.machine.receive(bob, 10), b"bye");
    assert!(!scene.machine.world().is_listening);
}

// ---- long answers

/// It used to be held as a whole, or its reader was closed.
#[test]
fn a_long_answer_arrives_completely_at_readers_of_all_speeds_and_takes_little_memory() {
    for (capacity, per_turn, faults) in
        [(1 << 20, usize::MAX, 0), (128 * 1024, 50_000, 0), (4096, 4000, 0), (128 * 1024, usize::MAX, 30)]
    {
        let limits = Limits { max_buffered_bytes: Some(512 * 1024), ..Limits::default() };
        let mut scene = Scene::new(Told::new(), limits);
        scene.machine.world_mut().fault_percent = faults;
        let client = scene.machine.connect(capacity);
        scene.machine.send(client, b"bulk");
        // As `nc -N` does.
        scene.machine.end(client);
        let (mut count, mut turns) = (0, 0);
        while !scene.machine.is_at_end(client) {
            turns += 1;
            assert!(turns < 100_000, "it comes to nothing after {count} bytes");
            scene.machine.world_mut().now_ms += 1;
            scene.turn();
            for byte in scene.machine.receive(client, per_turn) {
                assert_eq!(byte, byte_at(count), "{count}");
                count += 1;
            }
        }
        assert_eq!(count, BULK);
        assert_eq!(scene.reactor.handler().log, ["started", "ended"]);
        scene.after_ms(1);
        assert_eq!(scene.reactor.net().connections(), 0);
    }
}

#[test]
fn whoever_breaks_off_in_the_middle_of_a_long_answer_is_lost_once() {
    for has_ended in [false, true] {
        let mut scene = Scene::new(Told::new(), Limits::default());
        let client = scene.machine.connect(1000);
        scene.machine.send(client, b"bulk");
        if has_ended {
            scene.machine.end(client);
        }
        scene.after_ms(10);
        assert_eq!(scene.reactor.net().connections(), 1);
        scene.machine.reset(client);
        scene.after_ms(10);
        assert_eq!(scene.reactor.handler().log.last().unwrap(), "Broken");
        assert_eq!(scene.reactor.handler().log.len(), if has_ended { 3 } else { 2 });
        assert_eq!(scene.reactor.net().connections(), 0);
    }
}

#[test]
fn whoever_makes_place_in_the_middle_of_a_long_answer_is_lost() {
    let mut scene = Scene::new(Told::new(), Limits { max_connections: Some(1), ..Limits::default() });
    let client = scene.machine.connect(1000);
    scene.says(client, "bulk");
    scene.says(client, "pause");
    let next = scene.machine.connect(1000);
    scene.after_ms(10);
    assert_eq!(scene.reactor.handler().log, ["started", "ended", "Slow"]);
    assert!(scene.machine.world().pipes[client].is_closed && !scene.machine.world().pipes[next].is_closed);
    assert_eq!(scene.reactor.net().connections(), 1);
}

/// Whoever stops reading is closed as slow, and no sooner than `stall`.
#[test]
fn whoever_stops_reading_a_long_answer_is_given_up() {
    let mut scene = Scene::new(Told::new(), Limits::default());
    let client = scene.machine.connect(1000);
    scene.machine.send(client, b"bulk");
    scene.machine.end(client);
    scene.after_ms(9_900);
    assert_eq!(scene.reactor.handler().log, ["started", "ended"]);
    scene.after_ms(200);
    assert_eq!(scene.reactor.handler().log, ["started", "ended", "Slow"]);
}

/// What fits into `max_buffered_bytes` may be queued at once.
#[test]
fn two_long_answers_at_once_arrive_at_a_slow_reader() {
    let mut scene = Scene::new(Told::new(), Limits::default());
    let client = scene.machine.connect(128 * 1024);
    scene.says(client, "two at once");
    let mut count = 0;
    for _ in 0..20_000 {
        scene.after_ms(1);
        count += scene.machine.receive(client, 5000).len();
    }
    assert_eq!(count, 20 << 20);
    assert_eq!(scene.reactor.handler().log, ["started"]);
}

#[test]
fn a_long_answer_arrives_completely_on_epoll() {
    let limits = Limits { max_buffered_bytes: Some(512 * 1024), ..Limits::default() };
    let (addr, server) = serve(|_| Told::new(), limits);
    let readers = [1000, 30_000, 1 << 20].map(|lump| {
        let mut client = connect(addr);
        thread::spawn(move || {
            client.write_all(b"bulk").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let (mut buffer, mut count) = (vec![0; lump], 0);
            loop {
                let read = client.read(&mut buffer).unwrap();
                assert!(buffer[..read].iter().enumerate().all(|(i, &byte)| byte == byte_at(count + i)));
                count += read;
                if read == 0 {
                    return count;
                }
            }
        })
    });
    for reader in readers {
        assert_eq!(reader.join().unwrap(), BULK);
    }
    connect(addr).write_all(b"stop").unwrap();
    server.join().unwrap();
}

#[test]
fn drained_is_told_once_when_nothing_is_queued_and_to_nobody_who_has_closed() {
    let mut scene = Scene::new(Told::new(), Limits::default());
    let client = scene.machine.connect(60);
    scene.says(client, "drained?");
    assert_eq!(scene.reactor.handler().log, ["started", "drained"], "asked for twice, told once");
    scene.says(client, "say and drained?");
    assert_eq!(scene.reactor.handler().log.len(), 2, "40 bytes are left");
    let id = scene.reactor.handler().clients[0];
    assert_eq!(scene.reactor.net().queued_bytes(id), 40);
    scene.machine.receive(client, 60);
    scene.says(client, "say and drained?");
    assert_eq!(scene.reactor.handler().log.len(), 2, "more was queued");
    for _ in 0..3 {
        scene.machine.receive(client, 60);
        scene.after_ms(1);
    }
    assert_eq!(scene.reactor.net().queued_bytes(id), 0);
    assert_eq!(scene.reactor.handler().log.len(), 3);
    scene.says(client, "drained and closed");
    while !scene.machine.is_at_end(client) {
        scene.machine.receive(client, 60);
        scene.after_ms(1);
    }
    assert_eq!(scene.reactor.handler().log.len(), 3);
}

// ---- other threads

#[test]
fn what_another_thread_has_to_say_is_said_in_the_turn_that_it_wakes() {
    let (say, said) = mpsc::channel();
    let mut scene = Scene::new(Told { from_thread: Some(said), ..Told::new() }, Limits::default());
    let client = scene.machine.connect(100);
    scene.turn();
    let waker = scene.reactor.platform().waker().unwrap();
    thread::spawn(move || {
        say.send("from afar".into()).unwrap();
        waker.wake_by_ref();
        waker.wake();
    })
    .join()
    .unwrap();
    scene.turn();
    assert_eq!(scene.machine.receive(client, 100), b"from afar");
    scene.turn();
    assert_eq!(scene.reactor.handler().log, ["started", "notified"]);
}

/// The loop waits for nothing else: a call that is lost is a test that hangs.
#[test]
fn every_call_of_another_thread_is_heard_on_epoll() {
    let (say, said) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let make = move |waker| {
        tell.send(waker).unwrap();
        Told { from_thread: Some(said), ..Told::new() }
    };
    let (addr, server) = serve(make, Limits::default());
    let waker: Waker = told.recv().unwrap();
    let mut client = connect(addr);
    client.write_all(b"drained?").unwrap();
    let mut heard = [0; 4];
    // It may not be known yet who is there.
    client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    while client.read_exact(&mut heard).is_err() {
        say.send("ping".into()).unwrap();
        waker.wake_by_ref();
    }
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    for round in 0..2000 {
        let text = format!("{round:04}");
        say.send(text.clone()).unwrap();
        waker.wake_by_ref();
        while heard != text.as_bytes() {
            client.read_exact(&mut heard).unwrap();
        }
    }
    client.write_all(b"stop").unwrap();
    drop(client);
    server.join().unwrap();
}

// ---- outgoing connections

/// Somebody who has asked for a connection; and the connection, before anybody has answered.
fn calling() -> (Scene<Told>, usize, usize) {
    let mut scene = Scene::new(Told::new(), Limits::default());
    let client = scene.machine.connect(100);
    scene.says(client, "connect");
    let (addr, outgoing) = scene.machine.world_mut().calls.pop_front().expect("it has called");
    assert_eq!(addr, UPSTREAM);
    (scene, client, outgoing)
}

#[test]
fn an_outgoing_connection_is_one_as_any_other() {
    let (mut scene, client, outgoing) = calling();
    assert_eq!(scene.reactor.net().connections(), 2);
    scene.after_ms(2000);
    scene.machine.answer(outgoing, 3);
    scene.turn();
    scene.machine.send(outgoing, b"welcome");
    scene.after_ms(5000);
    assert_eq!(scene.reactor.handler().log, ["started", "connected", "welcome"], "no deadline is left");
    assert_eq!(scene.machine.receive(outgoing, 10), b"hel", "it waits for room as any other");
    scene.turn();
    assert_eq!(scene.machine.receive(outgoing, 10), b"lo");
    scene.machine.end(outgoing);
    scene.after_ms(1);
    assert_eq!(scene.reactor.handler().log[3..], ["outgoing ended"]);
    assert_eq!(scene.reactor.net().connections(), 1, "only the client is left");
    assert!(!scene.machine.is_at_end(client));
}

#[test]
fn a_connection_that_cannot_be_made_is_lost_with_the_reason() {
    for (reason, act) in [
        ("ConnectionRefused", Machine::refuse as fn(&Machine, usize)),
        ("ConnectionReset", |machine, outgoing| {
            machine.answer(outgoing, 100);
            machine.reset(outgoing);
        }),
    ] {
        let (mut scene, _, outgoing) = calling();
        act(&scene.machine, outgoing);
        scene.after_ms(1);
        assert_eq!(scene.reactor.handler().log[1..], [format!("NotConnected({reason})")]);
        assert!(scene.machine.world().pipes[outgoing].is_closed);
        assert_eq!(scene.reactor.net().connections(), 1);
    }
    // Descriptors have run out.
    let mut scene = Scene::new(Told::new(), Limits::default());
    scene.machine.world_mut().connect_error = Some(24);
    let client = scene.machine.connect(100);
    scene.says(client, "connect");
    assert!(scene.reactor.handler().log[1].starts_with("NotConnected("));
    assert_eq!(scene.reactor.net().connections(), 1);
}

#[test]
fn whoever_does_not_answer_in_time_is_lost_then_and_not_sooner() {
    let (mut scene, _, outgoing) = calling();
    scene.after_ms(2999);
    assert_eq!(scene.reactor.handler().log.len(), 1);
    scene.after_ms(1);
    assert_eq!(scene.reactor.handler().log[1..], ["NotConnected(TimedOut)"]);
    assert!(scene.machine.world().pipes[outgoing].is_closed);
}

#[test]
fn a_connection_that_is_closed_before_it_is_made_is_never_heard_of() {
    let (mut scene, client, outgoing) = calling();
    scene.says(client, "close");
    assert!(scene.machine.world().pipes[outgoing].is_closed);
    scene.machine.answer(outgoing, 100);
    // In one turn, that is before anybody was called.
    scene.says(client, "connect and close");
    assert!(scene.machine.world().calls.is_empty());
    scene.after_ms(4000);
    assert_eq!(scene.reactor.handler().log, ["started"]);
    assert_eq!(scene.reactor.net().connections(), 1);
    assert_eq!(scene.reactor.net().buffered_bytes(), 0);
}

/// Passes on what each client says to a connection of its own, and back. Neither side is read while the other has
/// something left to take: nothing is held but what was read at once.
struct Proxy {
    upstream: SocketAddr,
    partners: BTreeMap<ConnectionId, ConnectionId>,
}

impl Proxy {
    fn drop_both(&mut self, net: &mut Net, id: ConnectionId) {
        if let Some(partner) = self.partners.remove(&id) {
            self.partners.remove(&partner);
            net.close(partner);
        }
    }
}

impl Handler for Proxy {
    fn opened(&mut self, net: &mut Net, id: ConnectionId, _peer: Peer) {
        let partner = net.connect(self.upstream, DEADLINE);
        self.partners.extend([(id, partner), (partner, id)]);
    }

    fn connected(&mut self, net: &mut Net, id: ConnectionId) {
        net.resume(self.partners[&id]);
    }

    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
        let Some(&partner) = self.partners.get(&id) else {
            return Consumed { bytes: input.len(), then: Then::Read };
        };
        if !net.is_open(partner) || net.queued_bytes(partner) > 0 {
            net.when_drained(partner);
            return Consumed { bytes: 0, then: Then::Pause(roomd::clock::Millis::NEVER) };
        }
        net.send(partner, input);
        Consumed { bytes: input.len(), then: Then::Read }
    }

    fn drained(&mut self, net: &mut Net, id: ConnectionId) {
        net.resume(self.partners[&id]);
    }

    fn notified(&mut self, net: &mut Net) {
        net.stop();
    }

    fn ended(&mut self, net: &mut Net, id: ConnectionId, _rest: Rest<'_>) {
        self.drop_both(net, id);
    }

    fn lost(&mut self, net: &mut Net, id: ConnectionId, loss: Loss) -> Vec<u8> {
        assert!(matches!(loss, Loss::NotConnected(_)), "{loss:?}");
        self.drop_both(net, id);
        Vec::new()
    }

    fn stopping(&mut self, net: &mut Net) {
        self.partners.keys().for_each(|&id| net.close(id));
    }
}

/// One client of the proxy, and whom it is connected to: an echo.
#[derive(Default)]
struct Pair {
    client: usize,
    upstream: Option<usize>,
    sent: Vec<u8>,
    echo: Vec<u8>,
    heard: Vec<u8>,
}

#[test]
fn a_proxy_passes_everything_on_whatever_tears() {
    const BYTES: usize = 100_000;
    for seed in seeds(60) {
        println!("ROOMD_SEED={seed} cargo test --test building proxy");
        let mut rng = Rng(seed);
        let mut scene =
            Scene::new(Proxy { upstream: UPSTREAM, partners: BTreeMap::new() }, Limits::default());
        scene.machine.world_mut().rng = Rng(seed);
        scene.machine.world_mut().fault_percent = rng.below(60);
        let mut pairs: Vec<Pair> = (0..4)
            .map(|_| Pair { client: scene.machine.connect(1 + rng.below(100_000)), ..Pair::default() })
            .collect();
        let mut to_answer = Vec::new();
        for turn in 0.. {
            assert!(turn < 200_000, "it does not come to an end");
            scene.machine.world_mut().now_ms += 1;
            scene.turn();
            let held = scene.reactor.net().buffered_bytes();
            assert!(held < pairs.len() * 4 * 100_000, "{held} bytes are held");
            to_answer.extend(scene.machine.world_mut().calls.drain(..).map(|(_, outgoing)| outgoing));
            if rng.chance(10)
                && let Some(outgoing) = to_answer.pop()
            {
                scene.machine.answer(outgoing, 1 + rng.below(100_000));
                // Which client's it is, the first byte tells.
                let unclaimed = pairs.iter_mut().find(|pair| pair.upstream.is_none()).unwrap();
                unclaimed.upstream = Some(outgoing);
            }
            for pair in &mut pairs {
                if pair.sent.len() < BYTES && rng.chance(50) {
                    let more: Vec<u8> = (0..rng.below(9000)).map(|_| rng.next() as u8).collect();
                    scene.machine.send(pair.client, &more);
                    pair.sent.extend(more);
                }
                pair.heard.extend(scene.machine.receive(pair.client, 1 + rng.below(20_000)));
                if let Some(upstream) = pair.upstream {
                    let bytes = scene.machine.receive(upstream, 1 + rng.below(20_000));
                    scene.machine.send(upstream, &bytes);
                    pair.echo.extend(bytes);
                }
            }
            if pairs.iter().all(|pair| pair.sent.len() >= BYTES && pair.heard.len() == pair.sent.len()) {
                break;
            }
        }
        for pair in &pairs {
            assert!(pair.heard == pair.sent, "something else came back");
            scene.machine.end(pair.client);
        }
        while scene.reactor.net().connections() > 0 {
            scene.machine.world_mut().now_ms += 100;
            scene.turn();
        }
        assert_eq!(scene.reactor.net().buffered_bytes(), 0);
    }
}

#[test]
fn a_proxy_passes_everything_on_on_epoll() {
    const BYTES: usize = 8 << 20;
    let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let upstream = echo.local_addr().unwrap();
    let echo = thread::spawn(move || {
        let (mut stream, _) = echo.accept().unwrap();
        io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap()
    });
    let (tell, told) = mpsc::channel();
    let limits = Limits { send_buffer_bytes: Some(16 * 1024), ..Limits::default() };
    let make = move |waker| {
        tell.send(waker).unwrap();
        Proxy { upstream, partners: BTreeMap::new() }
    };
    let (addr, server) = serve(make, limits);
    let mut client = connect(addr);
    let mut reader = client.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let bytes: Vec<u8> = (0..BYTES).map(byte_at).collect();
        client.write_all(&bytes).unwrap();
        client
    });
    let (mut buffer, mut count) = (vec![0; 5000], 0);
    while count < BYTES {
        let read = reader.read(&mut buffer).unwrap();
        assert!(read > 0, "the end comes after {count} bytes");
        assert!(buffer[..read].iter().enumerate().all(|(i, &byte)| byte == byte_at(count + i)));
        count += read;
    }
    drop((writer.join().unwrap(), reader));
    assert_eq!(echo.join().unwrap(), BYTES as u64);
    told.recv().unwrap().wake();
    server.join().unwrap();
}
