//! What readiness-based servers get wrong, one test per row of the list the daemon was designed with.
//!
//! Each test says in one line what happens without its guard, and each was seen to fail once with the
//! guard taken out. Some run the loop on the scripted machine, where readiness comes
//! exactly as the test wants it; the others talk to a real daemon.
//!
//! | row | test |
//! |---|---|
//! | 18, a partial line is scanned once | `framing::line::tests::a_partial_line_is_looked_at_once` |
//! | 27, http that fails to parse | also `tests/real_clients/http.rs`: `http_never_becomes_lines` |
//! | 28, control characters | also `chat::body::tests` |
//! | 29, telnet split across reads | also `framing::line::tests::any_split_of_the_input_gives_the_same_lines` |
//! | 36, totals computed in each turn | `benches/core.rs`: `whole_turn_beside_idle_rooms`; `Net::check_invariants` |
//! | 35, no keepalive | `tests/attacks.rs`: `the_system_asks_whether_a_silent_host_is_still_there` |
//! | 37, logging in the loop | `tests/real_clients/log.rs` |
//! | 38, the server speaks first | `tests/real_clients/text.rs`, and the greeting here |
//! | 42, too long a WebSocket message | `tests/real_clients/websocket.rs`: `a_message_that_is_too_long_is_refused_and_nothing_else` |
//! | all others | `row_NN_…` here |

mod common;

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use common::{Daemon, output_of};
use roomd::clock::{Millis, Now};
use roomd::limits::Limits;
use roomd::reactor::epoll::{Epoll, ListenAddr, Stream};
use roomd::reactor::simulated::{self, Machine};
use roomd::reactor::{
    ChannelId, ConnectionId, Consumed, Event, Handler, Loss, Net, Peer, Platform, Reactor, Rest, Socket, Then,
};
use roomd::server::{Config, Server};

/// Longer than a request may take, and shorter than a name.
const LONG_WAIT: Duration = Duration::from_secs(59);

// ---- the loop on a scripted machine

/// What the test and the platform share besides the machine.
#[derive(Debug, Default)]
struct Script {
    /// How long the loop wanted to wait last; none: for ever.
    asked: Option<Duration>,
    /// How long the next wait takes.
    wait: Duration,
    /// How many events it got.
    events: usize,
    /// Events that come in the next batch besides those of the machine.
    extra: Vec<Event>,
    /// Events say that the peer hung up, and not that there is something to read.
    says_hang_up_only: bool,
    /// Every `write` accepts nothing.
    writes_nothing: bool,
    /// Clients whose connection breaks at the next `write`, before anything else tells of it.
    breaks: Vec<usize>,
    /// In the order in which connections were registered.
    ids: Vec<ConnectionId>,
}

struct Scripted {
    machine: Machine,
    script: Rc<RefCell<Script>>,
}

struct ScriptedSocket {
    socket: simulated::Stream,
    script: Rc<RefCell<Script>>,
    /// How many were accepted before.
    client: usize,
}

impl ScriptedSocket {
    /// What the script has to say about a write; none if it is up to the machine.
    fn scripted_write(&self) -> Option<io::Result<usize>> {
        let script = self.script.borrow();
        if script.breaks.contains(&self.client) {
            Some(Err(io::ErrorKind::BrokenPipe.into()))
        } else {
            script.writes_nothing.then_some(Ok(0))
        }
    }
}

impl Platform for Scripted {
    type Socket = ScriptedSocket;

    fn now(&mut self) -> Now {
        self.machine.now()
    }

    fn busy(&mut self) -> Duration {
        Duration::ZERO
    }

    /// The clock stands still unless the test moves it.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let mut script = self.script.borrow_mut();
        let wait = std::mem::take(&mut script.wait);
        self.machine.world_mut().now_ms += wait.as_millis() as u64;
        self.machine.wait(Some(Duration::ZERO), events)?;
        if script.says_hang_up_only {
            for event in events.iter_mut() {
                if let Event::Connection { readable, read_closed, .. } = event {
                    (*readable, *read_closed) = (false, true);
                }
            }
        }
        events.append(&mut script.extra);
        script.asked = timeout;
        script.events = events.len();
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> io::Result<(ScriptedSocket, Peer)> {
        let (socket, peer) = self.machine.accept(listener)?;
        let client = self.script.borrow().ids.len();
        Ok((ScriptedSocket { socket, script: Rc::clone(&self.script), client }, peer))
    }

    fn close_listeners(&mut self) {
        self.machine.close_listeners();
    }

    fn register(&mut self, socket: &mut ScriptedSocket, id: ConnectionId) -> io::Result<()> {
        self.script.borrow_mut().ids.push(id);
        self.machine.register(&mut socket.socket, id)
    }

    fn reregister(
        &mut self,
        socket: &mut ScriptedSocket,
        id: ConnectionId,
        writable: bool,
    ) -> io::Result<()> {
        self.machine.reregister(&mut socket.socket, id, writable)
    }

    fn deregister(&mut self, socket: &mut ScriptedSocket) {
        self.machine.deregister(&mut socket.socket);
    }
}

impl Read for ScriptedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for ScriptedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.scripted_write().unwrap_or_else(|| self.socket.write(bytes))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.scripted_write().unwrap_or_else(|| self.socket.write_vectored(pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for ScriptedSocket {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    fn reset_on_drop(&mut self) {
        self.socket.reset_on_drop();
    }
}

/// A loop on a machine, and the test's hold on both.
struct House<H: Handler> {
    machine: Machine,
    script: Rc<RefCell<Script>>,
    reactor: Reactor<Scripted, H>,
}

impl<H: Handler> House<H> {
    fn new(handler: H, limits: Limits) -> Self {
        let (machine, script) = (Machine::new(0), Rc::new(RefCell::new(Script::default())));
        let platform = Scripted { machine: machine.clone(), script: Rc::clone(&script) };
        Self { machine, script, reactor: Reactor::new(platform, handler, limits) }
    }

    fn turn(&mut self) {
        self.reactor.turn().expect("the selector works");
    }

    /// Turns until the loop would sleep. The clock does not move.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.turn();
            let script = self.script.borrow();
            if script.events == 0 && script.asked != Some(Duration::ZERO) {
                return;
            }
        }
        panic!("the loop does not come to rest");
    }

    /// The clock moves on, and the loop is awake all the while.
    fn after(&mut self, wait: Duration) {
        let mut left = wait;
        while left > Duration::ZERO {
            let asked = self.script.borrow().asked.unwrap_or(left);
            let step = asked.max(Duration::from_millis(1)).min(left);
            self.script.borrow_mut().wait = step;
            left -= step;
            self.turn();
            self.settle();
        }
    }

    /// A client that takes everything, as far as its system's buffer matters.
    fn connect(&mut self) -> usize {
        self.connect_with_room_for(usize::MAX)
    }

    /// A client whose system buffers so many bytes until it reads.
    fn connect_with_room_for(&mut self, bytes: usize) -> usize {
        let client = self.machine.connect(bytes);
        self.settle();
        client
    }

    fn says(&mut self, client: usize, text: &str) {
        self.machine.send(client, text.as_bytes());
        self.settle();
    }

    /// All that has arrived.
    fn heard(&self, client: usize) -> String {
        String::from_utf8(self.machine.receive(client, usize::MAX)).expect("UTF-8")
    }

    fn is_closed(&self, client: usize) -> bool {
        self.machine.world().pipes[client].is_closed
    }

    fn id(&self, client: usize) -> ConnectionId {
        self.script.borrow().ids[client]
    }
}

/// A handler of few words: a line goes to everybody else. Some lines are orders.
#[derive(Default)]
struct Relay {
    channel: Option<ChannelId>,
    /// Everybody who ever came.
    guests: Vec<ConnectionId>,
    /// Whoever was lost, ended or woken.
    log: Vec<(ConnectionId, &'static str)>,
}

impl Relay {
    fn house(limits: Limits) -> House<Self> {
        House::new(Self::default(), limits)
    }

    fn line(&mut self, net: &mut Net, id: ConnectionId, line: &str) {
        let (order, size) = line.split_once(' ').unwrap_or((line, ""));
        let bytes = |size: &str| format!("{}\n", "x".repeat(size.parse::<usize>().expect("a size") - 1));
        match order {
            "/quit" => {
                net.send(id, b"bye\n");
                net.close(id);
            }
            "/tell" => net.send(id, bytes(size).as_bytes()),
            "/wake" => net.wake_at(id, net.now().monotonic.after(Duration::from_secs(5))),
            "/to" => {
                let (to, size) = size.split_once(' ').unwrap_or((size, "9"));
                let to = self.guests[to.parse::<usize>().expect("a number")];
                let outcome = net.try_send(to, bytes(size).as_bytes());
                self.log.extend(outcome.is_err().then_some((id, "refused")));
            }
            _ => {
                let channel = self.channel.expect("somebody is here");
                net.publish(channel, Some(id), |_, out| out.extend(format!("{line}\n").bytes()));
            }
        }
    }

    fn count(&self, what: &str) -> usize {
        self.log.iter().filter(|(_, logged)| *logged == what).count()
    }
}

impl Handler for Relay {
    fn opened(&mut self, net: &mut Net, id: ConnectionId, _peer: Peer) {
        let channel = *self.channel.get_or_insert_with(|| net.open_channel());
        net.subscribe(id, channel, 0);
        self.guests.push(id);
    }

    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
        let bytes = input.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        for line in std::str::from_utf8(&input[..bytes]).expect("UTF-8").lines() {
            self.line(net, id, line);
        }
        Consumed { bytes, then: Then::Read }
    }

    fn ended(&mut self, net: &mut Net, id: ConnectionId, rest: Rest<'_>) {
        self.log.push((id, "ended"));
        let Rest::Unfinished(rest) = rest else { return };
        if !rest.is_empty() {
            self.line(net, id, std::str::from_utf8(rest).expect("UTF-8"));
        }
    }

    fn woken(&mut self, net: &mut Net, id: ConnectionId) {
        self.log.push((id, "woken"));
        assert!(self.log.len() < 1000, "the loop stays in its place");
        // As impatient as can be: it must not keep the loop in its place.
        net.wake_at(id, net.now().monotonic);
    }

    fn lost(&mut self, _net: &mut Net, id: ConnectionId, loss: Loss) -> Vec<u8> {
        self.log.push((id, if loss == Loss::Slow { "slow" } else { "broken" }));
        b"bye: slow\n".to_vec()
    }

    fn stopping(&mut self, _net: &mut Net) {}
}

fn text_server() -> House<Server> {
    House::new(Server::new(Config::default(), Now::default()), Limits::default())
}

// ---- the rows

/// Without: the loop belongs to whoever sends fastest, and nobody else is heard.
#[test]
fn row_01_a_firehose_is_read_once_per_turn_and_then_the_others() {
    let mut house = Relay::house(Limits::default());
    let (firehose, alice, bob) = (house.connect(), house.connect(), house.connect());
    house.machine.send(firehose, "x".repeat(1 << 20).as_bytes());
    house.machine.send(alice, b"hello\n");
    house.turn();
    assert_eq!(house.reactor.net().counters().bytes_in, 64 * 1024 + 6);
    assert_eq!(house.heard(bob), "hello\n");
    house.turn();
    assert_eq!(house.script.borrow().asked, Some(Duration::ZERO), "there is work left");
}

/// Without: the edge is gone, and what is left in the socket stays there for ever.
#[test]
fn row_02_what_the_budget_left_unread_is_read_without_another_event() {
    let mut house = Relay::house(Limits::default());
    let (alice, bob) = (house.connect(), house.connect());
    let line = format!("{}\n", "x".repeat(200 * 1024));
    house.says(alice, &line);
    assert_eq!(house.heard(bob), line);
}

/// Without: `printf hi | nc` hangs, because the end is never read.
#[test]
fn row_03_a_fin_that_came_with_the_data_is_seen() {
    let mut house = Relay::house(Limits::default());
    let (alice, bob) = (house.connect(), house.connect());
    house.machine.send(alice, b"hello\n");
    house.machine.end(alice);
    house.settle();
    assert_eq!(house.heard(bob), "hello\n");
    assert_eq!(house.reactor.handler().count("ended"), 1);
    assert!(house.is_closed(alice));
}

/// Without: the last line is lost, or the answers that were still queued.
#[test]
fn row_04_the_end_of_input_comes_after_what_was_said_and_before_what_is_queued() {
    let mut house = Relay::house(Limits::default());
    let (alice, bob) = (house.connect_with_room_for(1000), house.connect());
    house.machine.send(alice, b"/tell 5000\nan unfinished line");
    house.machine.end(alice);
    house.settle();
    assert_eq!(house.heard(bob), "an unfinished line\n");
    let mut heard = String::new();
    while !house.machine.is_at_end(alice) {
        let more = house.heard(alice);
        assert!(!more.is_empty(), "stuck after {} bytes", heard.len());
        heard += &more;
        house.settle();
    }
    assert_eq!(heard.len(), 5000);
}

/// Without: data that arrived together with the hang-up is thrown away unread.
#[test]
fn row_05_a_hang_up_only_causes_a_read() {
    let mut house = Relay::house(Limits::default());
    let (alice, bob) = (house.connect(), house.connect());
    house.machine.send(alice, b"hello\n");
    house.machine.end(alice);
    house.script.borrow_mut().says_hang_up_only = true;
    house.settle();
    assert_eq!(house.heard(bob), "hello\n");
    // And where nobody has hung up, nobody is closed for it.
    house.says(bob, "still here\n");
    assert!(!house.is_closed(bob));
    assert_eq!(house.reactor.handler().count("ended"), 1);
}

/// Without: the system answers unread input with a reset, which destroys the good-bye on its way.
#[test]
fn row_06_a_connection_with_unread_input_lingers_until_the_goodbye_has_arrived() {
    let mut house = Relay::house(Limits::default());
    let alice = house.connect();
    house.says(alice, &format!("/quit\n{}", "x".repeat(200 * 1024)));
    assert_eq!(house.heard(alice), "bye\n");
    assert!(house.machine.is_at_end(alice) && !house.is_closed(alice), "our side is closed, theirs is not");
    // But not for ever, and not for any amount.
    house.after(Duration::from_secs(3));
    assert!(house.is_closed(alice));
    let bob = house.connect();
    house.says(bob, &format!("/quit\n{}", "x".repeat(2 << 20)));
    assert!(house.is_closed(bob));
}

/// The same from outside.
#[test]
fn row_06_the_goodbye_reaches_whoever_is_still_talking() {
    let daemon = Daemon::start();
    for _ in 0..20 {
        daemon.signal("STOP");
        let mut bob = daemon.connect();
        bob.send(format!("bob\n/quit\n{}", "x".repeat(100_000)).as_bytes());
        daemon.signal("CONT");
        let heard = bob.rest();
        assert!(heard.ends_with("\n* bye\n"), "{heard:?}");
    }
}

/// Without: what was meant for somebody who is gone reaches whoever got the slot next.
#[test]
fn row_07_a_slot_that_is_used_again_belongs_to_the_new_tenant_only() {
    let mut house = Relay::house(Limits::default());
    let (bob, alice) = (house.connect(), house.connect());
    house.says(alice, "/wake\n");
    let old = house.id(alice);
    // Alice leaves and Carol arrives in the same batch.
    house.machine.end(alice);
    house.machine.connect(usize::MAX);
    house.settle();
    let carol = 2;
    let new = house.id(carol);
    assert_eq!((new.index, house.is_closed(alice)), (old.index, true), "the slot is used again");
    assert_ne!(new.generation, old.generation);
    // An event, words and a time-out for Alice come late.
    house.script.borrow_mut().extra.push(Event::Connection {
        id: old,
        readable: true,
        writable: true,
        read_closed: true,
        broken: true,
    });
    house.settle();
    house.says(bob, "/to 1\n");
    house.after(Duration::from_secs(60));
    assert_eq!(house.heard(carol), "");
    assert_eq!(house.reactor.handler().count("woken"), 0);
    assert!(!house.is_closed(carol));
}

/// Without: the loop spins at 100 %, or never accepts again.
#[test]
fn row_08_out_of_descriptors_accepting_rests_and_goes_on_without_another_event() {
    const EMFILE: i32 = 24;
    let mut house = Relay::house(Limits::default());
    house.machine.fail_accept(EMFILE);
    let alice = house.connect();
    assert_eq!(house.reactor.net().counters().accepted, 0);
    assert_eq!(house.script.borrow().asked, Some(Duration::from_millis(100)));
    house.after(Duration::from_millis(100));
    assert_eq!(house.reactor.net().counters().accepted, 1);
    let bob = house.connect();
    house.says(alice, "hello\n");
    assert_eq!(house.heard(bob), "hello\n");
}

/// Without: one connection that failed before it began keeps all others out.
#[test]
fn row_09_an_error_of_one_connection_is_not_one_of_the_listener() {
    // ECONNABORTED, EPROTO, ENETUNREACH, EINTR.
    for errno in [103, 71, 101, 4] {
        let mut house = Relay::house(Limits::default());
        house.machine.fail_accept(errno);
        house.machine.connect(usize::MAX);
        house.turn();
        let counters = house.reactor.net().counters();
        assert_eq!((counters.accept_errors, counters.accepted), (1, 1), "errno {errno}");
    }
}

/// Without: the selector always has something to say, and the loop never sleeps.
#[test]
fn row_10_writability_is_watched_exactly_while_bytes_are_left() {
    let mut house = Relay::house(Limits::default());
    let (alice, bob, slow) = (house.connect(), house.connect(), house.connect_with_room_for(100));
    for _ in 0..5 {
        house.says(alice, "0123456789\n");
    }
    assert_eq!(house.machine.world().reregistrations, 0, "no system call per message");
    assert_eq!(house.script.borrow().asked, None, "nothing is due, so it sleeps for ever");
    for _ in 0..20 {
        house.says(alice, "0123456789\n");
    }
    assert_eq!(house.machine.world().reregistrations, 1, "on, for the one that is behind");
    let mut heard = house.heard(slow);
    while heard.len() < 25 * 11 {
        house.settle();
        let more = house.heard(slow);
        assert!(!more.is_empty(), "stuck");
        heard += &more;
    }
    house.settle();
    assert_eq!(house.machine.world().reregistrations, 2, "and off");
    assert_eq!(house.heard(bob), heard);
}

/// Without: a healthy peer dies of an event that meant nothing.
#[test]
fn row_11_a_writable_event_with_nothing_to_write_is_normal() {
    let mut house = Relay::house(Limits::default());
    let (alice, bob) = (house.connect(), house.connect());
    for _ in 0..3 {
        let event = Event::Connection {
            id: house.id(bob),
            readable: false,
            writable: true,
            read_closed: false,
            broken: false,
        };
        house.script.borrow_mut().extra.extend([event, event]);
        house.settle();
    }
    house.says(alice, "hello\n");
    assert_eq!(house.heard(bob), "hello\n");
    assert_eq!(house.reactor.handler().log, []);
}

/// Without: bytes are lost or doubled when the system takes less than it was offered.
#[test]
fn row_12_short_writes_go_on_where_they_stopped() {
    let mut house = Relay::house(Limits::default());
    let (alice, slow) = (house.connect(), house.connect_with_room_for(1));
    // Own lines are left out and answers put in between: many more pieces than fit into one write.
    let mut expected = String::new();
    let mut said = (String::new(), String::new());
    for i in 0..150 {
        said.0 += &format!("line {i}\n");
        said.1 += "/tell 7\nnot for me\n";
    }
    for i in 0..10 {
        house.says(alice, &format!("line {i}\n"));
        house.says(slow, "/tell 7\nnot for me\n");
        expected += &format!("line {i}\nxxxxxx\n");
    }
    let mut heard = String::new();
    while heard.len() < expected.len() {
        house.settle();
        let more = house.heard(slow);
        assert_eq!(more.len(), 1, "after {heard:?}");
        heard += &more;
    }
    assert_eq!(heard, expected);

    let other = house.connect_with_room_for(10_000);
    house.machine.send(other, said.1.as_bytes());
    house.machine.send(alice, said.0.as_bytes());
    house.settle();
    let heard = house.heard(other);
    assert_eq!(heard.matches("xxxxxx\n").count(), 150);
    let lines: String = heard.replace("xxxxxx\n", "");
    assert_eq!(lines, said.0, "in order, none lost, none doubled");
}

/// Without: a write that accepts nothing is tried again for ever.
#[test]
fn row_12_a_write_of_zero_bytes_is_an_error() {
    let mut house = Relay::house(Limits::default());
    let (alice, _bob) = (house.connect(), house.connect());
    house.script.borrow_mut().writes_nothing = true;
    house.says(alice, "hello\n");
    assert_eq!(house.reactor.handler().count("broken"), 1);
}

/// Without: removing a peer in the midst of a broadcast skips others, or its error hits the sender.
#[test]
fn row_13_a_peer_that_breaks_during_a_broadcast_harms_nobody_else() {
    let mut house = Relay::house(Limits::default());
    let peers: Vec<usize> = (0..9).map(|_| house.connect()).collect();
    house.script.borrow_mut().breaks = vec![2, 3, 7];
    house.machine.send(peers[0], b"hello\n");
    house.settle();
    for &peer in &peers[1..] {
        let is_broken = [peers[2], peers[3], peers[7]].contains(&peer);
        assert_eq!(house.heard(peer), if is_broken { "" } else { "hello\n" }, "peer {peer}");
    }
    assert_eq!(house.reactor.handler().count("broken"), 3);
    house.says(peers[8], "and again\n");
    assert_eq!(house.heard(peers[0]), "and again\n");
}

/// Without: a message slips out after one that was lost: a hole in the stream.
#[test]
fn row_14_nothing_is_queued_for_a_peer_that_is_doomed() {
    for room in 1..60 {
        let mut house = Relay::house(Limits { feed_bytes: Some(1000), slowest: None, ..Limits::default() });
        let (alice, slow) = (house.connect(), house.connect_with_room_for(room));
        house.says(alice, "zero\n/to 1 20\n");
        // Now some frame is under way. The next is too much, those behind it would fit.
        let much = "y".repeat(2000);
        house.says(alice, &format!("{much}\n/to 1 30\none\n"));
        house.says(alice, "/to 1 30\ntwo\n");
        let mut heard = String::new();
        for _ in 0..1000 {
            heard += &house.heard(slow);
            house.settle();
        }
        assert!(house.machine.is_at_end(slow), "room {room}: {heard:?}");
        let whole = format!("zero\n{}\n{much}\n", "x".repeat(19));
        let said = heard.strip_suffix("bye: slow\n").unwrap_or_else(|| panic!("room {room}: {heard:?}"));
        assert!(whole.starts_with(said), "room {room}: a hole in {heard:?}");
        assert!(said.is_empty() || said.ends_with('\n'), "room {room}: half a frame in {heard:?}");
    }
}

/// Without: a healthy peer is given up long after it has caught up, for a stall that is over.
#[test]
fn row_15_the_stall_clock_stops_when_the_queue_drains() {
    let mut house = Relay::house(Limits::default());
    let (alice, slow) = (house.connect(), house.connect_with_room_for(10));
    house.says(alice, "0123456789abcdef\n");
    house.after(Duration::from_secs(9));
    let mut heard = house.heard(slow);
    house.settle();
    heard += &house.heard(slow);
    house.settle();
    assert_eq!(heard, "0123456789abcdef\n");
    house.after(Duration::from_secs(60));
    assert_eq!(house.reactor.handler().log, [], "it has nothing to take");
    // And whoever does stall is given up in time.
    house.says(alice, "0123456789abcdef\n");
    house.after(Duration::from_millis(9_900));
    assert_eq!(house.reactor.handler().log, []);
    house.after(Duration::from_millis(200));
    assert_eq!(house.reactor.handler().log, [(house.id(slow), "slow")]);
}

/// Without: each peer keeps within its limit, and together they take all memory there is.
#[test]
fn row_16_all_queues_together_have_a_limit_too() {
    let mut house = Relay::house(Limits { max_buffered_bytes: Some(40_000), ..Limits::default() });
    let peers: Vec<usize> = (0..3).map(|_| house.connect_with_room_for(1)).collect();
    house.says(peers[0], "/tell 12000\n");
    house.says(peers[1], "/tell 20000\n");
    assert_eq!(house.reactor.handler().log, []);
    house.says(peers[2], "/tell 16000\n");
    assert_eq!(house.reactor.handler().log, [(house.id(peers[1]), "slow")], "who holds most");
    assert!(house.reactor.net().buffered_bytes() < 40_000);
}

/// Without: a stray TLS hello or an endless line costs 100 % CPU, or memory without end.
#[test]
fn row_17_a_full_buffer_without_a_newline_is_an_error_and_no_reason_to_stay_awake() {
    let mut house = text_server();
    let bob = house.connect();
    house.says(bob, "bob\n");
    house.heard(bob);
    house.says(bob, &"x".repeat(10_000));
    assert!(house.heard(bob).starts_with("! too-long"));
    assert_ne!(house.script.borrow().asked, Some(Duration::ZERO));
    assert_eq!(house.reactor.net().buffered_bytes(), 0, "what is too long is not kept");
    house.says(bob, &"x".repeat(60_000));
    assert!(house.heard(bob).starts_with("! too-long: a line that does not end"));
    assert!(house.machine.is_at_end(bob));
}

/// Without: what a hasty client sends behind its upgrade request is lost.
#[test]
fn row_19_frames_glued_to_the_upgrade_request_are_heard() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut hasty = daemon.connect();
    let request = format!(
        "GET /ws?name=hasty HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        daemon.host()
    );
    hasty.send(
        &[request.as_bytes(), &common::ws::frame(0x81, b"one\r\n\r\n"), &common::ws::frame(0x81, b"two")]
            .concat(),
    );
    alice.hears(&["* hasty joined", "hasty: one", "hasty: two"]);
}

/// Without: under load nobody is ever timed out; or one deadline in the past keeps the loop in its place.
#[test]
fn row_20_deadlines_expire_in_every_turn_and_never_twice_in_one() {
    let mut house = Relay::house(Limits::default());
    let (firehose, alice) = (house.connect(), house.connect());
    house.says(alice, "/wake\n");
    house.machine.send(firehose, "x".repeat(10 << 20).as_bytes());
    house.turn();
    for _ in 0..10 {
        // Busy, but never for so long that it could not hear anybody.
        house.machine.world_mut().now_ms += 500;
        house.turn();
    }
    assert_eq!(house.script.borrow().asked, Some(Duration::ZERO), "the loop is busy");
    assert_eq!(house.reactor.handler().count("woken"), 1);
    house.turn();
    assert_eq!(house.reactor.handler().count("woken"), 1, "time has not moved");
    house.machine.world_mut().now_ms += 1;
    house.turn();
    assert_eq!(house.reactor.handler().count("woken"), 2);
}

/// Without: any signal kills the daemon.
#[test]
fn row_21_an_interrupted_wait_is_an_empty_batch() {
    let daemon = Daemon::start();
    let mut bob = daemon.enter("bob");
    for _ in 0..5 {
        // A process that is stopped and continued finds its `epoll_wait` interrupted (signal(7)).
        daemon.signal("STOP");
        daemon.signal("CONT");
        bob.hears_nothing();
    }
}

/// Without: a healthy link looks dead, because its pongs wait for a limit that is about something else.
#[test]
fn row_22_control_frames_are_beyond_the_limit() {
    let mut house = Relay::house(Limits { feed_bytes: Some(1000), slowest: None, ..Limits::default() });
    let slow = house.connect_with_room_for(1);
    house.says(slow, "/tell 999\n/tell 100\n/tell 100\n");
    assert_eq!(house.reactor.handler().log, []);
    let mut heard = String::new();
    while heard.len() < 1199 {
        let more = house.heard(slow);
        assert!(!more.is_empty(), "stuck after {} bytes", heard.len());
        heard += &more;
        house.settle();
    }
    assert_eq!(heard.lines().map(str::len).collect::<Vec<_>>(), [998, 99, 99]);
}

/// Without: 0 means "unlimited" to who wrote it, and "nothing" to the code.
#[test]
fn row_23_zero_is_refused_and_none_is_no_limit() {
    for flag in ["--max-per-ip", "--max-connections", "--rate", "--feed-bytes", "--stall", "--max-rooms"] {
        let (status, said) = output_of(&[flag, "0", "--listen", "127.0.0.1:0"]);
        assert!(status.is_some_and(|status| status > 0) && said.contains("or none"), "{flag}: {said}");
    }
    let daemon =
        Daemon::with(&["--exempt", "none", "--max-per-ip", "none", "--rate", "none", "--max-rooms", "none"]);
    let _crowd: Vec<_> = (0..40).map(|i| daemon.enter(&format!("user-{i}"))).collect();
}

/// Without: clients that parse one document per message break as soon as the room is busy.
#[test]
fn row_24_each_frame_carries_exactly_one_event() {
    let daemon = Daemon::start();
    let (mut bot, mut guest) =
        (daemon.with_subprotocol("roomd.json", "?name=bot"), daemon.guest("?name=guest"));
    assert_eq!(guest.text(), "* welcome guest - #lobby, 2 here: bot, guest");
    let lines: String = (1..=200).map(|i| format!("line {i}\n")).collect();
    let mut alice = daemon.enter("alice");
    alice.send(lines.as_bytes());
    let mut events = Vec::new();
    while events.len() < 203 {
        let text = bot.text();
        events.push(serde_json::from_str::<serde_json::Value>(&text).expect("one document"));
    }
    assert_eq!(events[202]["body"], "line 200");
    assert_eq!(guest.text(), "* alice joined");
    for i in 1..=200 {
        assert_eq!(guest.text(), format!("alice: line {i}"));
    }
}

/// Without: an idle peer costs a buffer, and ten thousand of them a gigabyte.
#[test]
fn row_25_an_idle_connection_has_no_buffer() {
    let mut house = text_server();
    let peers: Vec<usize> = (0..100).map(|_| house.connect()).collect();
    for &peer in &peers {
        house.says(peer, &format!("user-{peer}\nhalf a "));
    }
    let partial = house.reactor.net().buffered_bytes();
    assert!((700..100 * 128).contains(&partial), "100 times 7 bytes are {partial}");
    for &peer in &peers {
        house.says(peer, "line\n");
    }
    assert_eq!(house.reactor.net().buffered_bytes(), 0);
}

/// Without: a burst of connects is refused, or delayed by seconds.
#[test]
fn row_26_a_burst_of_connects_finds_room_in_the_backlog() {
    let system = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
    let room: usize = system.and_then(|text| text.trim().parse().ok()).unwrap_or(4096);
    let daemon = Daemon::start();
    daemon.signal("STOP");
    let burst: Vec<_> = (0..400.min(room))
        .map(|i| {
            // A connect that finds no room is tried again by the system after a second at the earliest.
            TcpStream::connect_timeout(&daemon.addr(), Duration::from_millis(900))
                .unwrap_or_else(|error| panic!("connection {i}: {error}"))
        })
        .collect();
    daemon.signal("CONT");
    daemon.metric_becomes("roomd_connections{dialect=\"undecided\"}", burst.len() as u64);
}

/// Without: a web page can chat for its visitor.
#[test]
fn row_27_http_that_fails_to_parse_does_not_fall_back_to_lines() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    for request in ["GET nothing\r\n\r\nmallory\nhello\n", "POST / HTTP/1.1\r\n: x\r\n\r\nmallory\nhello\n"] {
        let answer = daemon.http(request);
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    alice.hears_nothing();
}

/// Without: a message drives the reader's terminal, or fakes a line.
#[test]
fn row_28_control_characters_do_not_reach_anybody() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    bob.say("\u{1b}[2Jred\u{9b}31m\u{7}\r* alice left\u{202e}\u{2028}x\ty àĀ\u{80}");
    alice.hears(&["bob: [2Jred31m* alice leftx\ty àĀ"]);
    bob.say("/msg alice \u{1b}]0;title\u{7}");
    alice.hears(&["@bob: ]0;title"]);
    bob.say("/me \u{1b}c waves");
    alice.hears(&["** bob c waves"]);
    let mut bot = daemon.enter_json("bot");
    alice.hears(&["* bot joined"]);
    bot.say(r#"{"type":"public","body":"one\r\n* alice left\u001b[1m\u2066"}"#);
    alice.hears(&["bot: one", "bot: * alice left[1m"]);
}

/// Without: option bytes end up in the name of a telnet user.
#[test]
fn row_29_telnet_sequences_are_removed_however_they_are_split() {
    let input: &[u8] = b"\xff\xfb\x1fbo\xff\xfa\x1f\x00\x0a\xff\xf0\xff\xf9b\n";
    for split in 0..=input.len() {
        let mut house = text_server();
        let (alice, bob) = (house.connect(), house.connect());
        house.says(alice, "alice\n");
        house.machine.send(bob, &input[..split]);
        house.settle();
        house.machine.send(bob, &input[split..]);
        house.settle();
        assert!(house.heard(alice).ends_with("* bob joined\n"), "split at {split}");
    }
}

/// Without: a private message is cut or lost, and its sender believes that it was read.
#[test]
fn row_30_a_private_message_that_cannot_be_delivered_is_refused() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    bob.hears_after("/msg carol hi", &["! no-such-user: nobody here is called carol"]);
    let error = "! too-long: a message has at most 4096 bytes; yours was dropped";
    bob.hears_after(&format!("/msg alice {}", "x".repeat(4097)), &[error]);
    let longest = "x".repeat(4096);
    bob.say(&format!("/msg alice {longest}"));
    alice.hears(&[&format!("@bob: {longest}")]);
}

/// An accepted connection of the real platform.
fn accepted() -> (Stream, TcpStream) {
    let mut os = Epoll::new().expect("a selector");
    let addr = ListenAddr::Tcp("127.0.0.1:0".parse().expect("an address"));
    let Ok(ListenAddr::Tcp(addr)) = os.listen(&addr, &Limits::default()) else { panic!("no listener") };
    let client = TcpStream::connect(addr).expect("the listener");
    let mut events = Vec::new();
    while events.is_empty() {
        os.wait(Some(common::PATIENCE), &mut events).expect("the selector works");
    }
    (os.accept(0).expect("a connection").0, client)
}

/// Without: several senders wait for each other's acknowledgements, 40 ms at a time.
#[test]
fn row_31_nagle_is_off() {
    let (Stream::Tcp(stream), _client) = accepted() else { panic!("not TCP") };
    assert!(stream.nodelay().expect("an option"));
}

/// Without: the system swallows megabytes for a peer that reads nothing before anybody notices.
#[test]
fn row_32_the_send_buffer_is_bounded() {
    let (Stream::Tcp(stream), _client) = accepted() else { panic!("not TCP") };
    let bytes = socket2::SockRef::from(&stream).send_buffer_size().expect("an option");
    // Linux doubles what it is asked for, and counts its own overhead against it (socket(7)).
    assert!((128 * 1024..=256 * 1024).contains(&bytes), "{bytes}");
}

/// Without: a turn that publishes more than the limit costs every subscriber one turn per batch.
#[test]
fn row_33_a_thousand_messages_of_one_turn_cost_each_peer_one_write() {
    let mut house = Relay::house(Limits::default());
    let peers: Vec<usize> = (0..10).map(|_| house.connect()).collect();
    let lines: String = (0..1000).map(|i| format!("line {i}\n")).collect();
    house.machine.send(peers[0], lines.as_bytes());
    house.turn();
    for &peer in &peers[1..] {
        assert_eq!(house.heard(peer), lines);
    }
    assert_eq!(house.machine.world().writes, 9);
}

/// A deadline in the past is due at once, whatever asked for it.
#[test]
fn millis_never_overflow() {
    assert_eq!(Millis::NEVER.after(Duration::from_secs(1)), Millis::NEVER);
}

// ---- later rows

/// A handler whose peers are slowed down: each line is heard a second after the last one.
#[derive(Default)]
struct Patient {
    lines: usize,
    unheard: Vec<usize>,
    next: Millis,
}

impl Handler for Patient {
    fn received(&mut self, net: &mut Net, _id: ConnectionId, input: &[u8]) -> Consumed {
        let now = net.now().monotonic;
        match input.iter().position(|&byte| byte == b'\n') {
            None => Consumed { bytes: 0, then: Then::Read },
            Some(_) if now < self.next => Consumed { bytes: 0, then: Then::Pause(self.next) },
            Some(end) => {
                self.lines += 1;
                self.next = now.after(Duration::from_secs(1));
                Consumed { bytes: end + 1, then: Then::Yield }
            }
        }
    }

    fn ended(&mut self, net: &mut Net, id: ConnectionId, rest: Rest<'_>) {
        if let Rest::Unheard(rest) = rest {
            self.unheard.push(rest.iter().filter(|&&byte| byte == b'\n').count());
            net.send(id, b"some were not heard\n");
        }
    }

    fn lost(&mut self, _net: &mut Net, _id: ConnectionId, _loss: Loss) -> Vec<u8> {
        Vec::new()
    }

    fn stopping(&mut self, _net: &mut Net) {}
}

/// Without: names, descriptors and places are held for hours by peers that are gone.
#[test]
fn row_34_whoever_ends_while_deferred_is_heard_for_5_s_then_told_and_gone() {
    let mut house = House::new(Patient::default(), Limits::default());
    let ghost = house.connect();
    house.machine.send(ghost, "x\n".repeat(100_000).as_bytes());
    house.machine.end(ghost);
    house.settle();
    house.after(Duration::from_millis(4_900));
    assert_eq!(house.reactor.net().connections(), 1, "a script that pipes its lines is honest");
    house.after(Duration::from_millis(200));
    let Patient { lines, unheard, .. } = house.reactor.handler();
    assert_eq!(*lines + unheard[0], 100_000, "every line was heard or is counted");
    assert_eq!(*lines, 5, "one at once, and one a second");
    assert_eq!(house.heard(ghost), "some were not heard\n");
    assert_eq!(house.reactor.net().connections(), 0);
    assert_eq!(house.reactor.net().buffered_bytes(), 0);
}

/// The same for a peer that has broken the connection off: nobody is there to be told anything.
#[test]
fn row_34_whoever_is_reset_while_deferred_is_gone_at_once() {
    let mut house = House::new(Patient::default(), Limits::default());
    let ghost = house.connect();
    house.says(ghost, &"x\n".repeat(100_000));
    house.machine.reset(ghost);
    house.settle();
    assert_eq!(house.reactor.net().connections(), 0);
    assert_eq!(house.reactor.net().counters().lost_broken, 1);
}

/// Without: a few slowed-down peers fill the server, and everybody else hears `full`.
#[test]
fn row_34_whoever_is_gone_or_slowed_down_is_the_first_to_make_place() {
    for limits in [
        Limits { max_connections: Some(3), ..Limits::default() },
        Limits { max_per_ip: Some(3), exempt: Vec::new(), ..Limits::default() },
    ] {
        let mut house = House::new(Patient::default(), limits);
        let (flood, ghost, quiet) = (house.connect(), house.connect(), house.connect());
        house.says(flood, &"x\n".repeat(5000));
        house.says(ghost, &"x\n".repeat(500));
        house.machine.end(ghost);
        house.settle();
        house.connect();
        assert!(house.is_closed(ghost), "who is gone goes first");
        assert_eq!(house.heard(ghost), "some were not heard\n");
        house.connect();
        assert!(house.is_closed(flood) && !house.is_closed(quiet), "then who says far more than it may");
        house.connect();
        assert!(!house.is_closed(quiet), "and nobody who does nothing wrong");
        assert_eq!(house.reactor.net().counters().accepted, 5);
    }
}

/// Without: closing one laggard frees nothing, and each turn closes another one.
#[test]
fn row_40_closing_a_laggard_frees_at_once_what_only_it_held() {
    let limits =
        Limits { feed_bytes: None, slowest: None, max_buffered_bytes: Some(60_000), ..Limits::default() };
    let mut house = Relay::house(limits);
    let alice = house.connect();
    let (stuck, behind) = (house.connect_with_room_for(10), house.connect_with_room_for(80_000));
    for _ in 0..90 {
        house.says(alice, &format!("{}\n", "x".repeat(999)));
    }
    assert_eq!(house.reactor.handler().log, [(house.id(stuck), "slow")], "one was enough");
    assert!(!house.is_closed(behind));
    assert!(house.reactor.net().buffered_bytes() <= 60_000);
}

/// Without: everybody is closed for a silence in which nobody could be heard.
#[test]
fn time_in_which_the_process_was_stopped_is_nobodys_silence() {
    let mut house = Relay::house(Limits::default());
    let (alice, slow) = (house.connect(), house.connect_with_room_for(10));
    house.says(alice, "0123456789 and more than twice as much\n");
    house.script.borrow_mut().wait = Duration::from_secs(3600);
    house.turn();
    house.settle();
    assert_eq!(house.reactor.handler().log, [], "an hour has passed, but nobody could be heard in it");
    assert_eq!(house.heard(slow), "0123456789");
    house.settle();
    house.after(Duration::from_secs(5));
    assert_eq!(house.reactor.handler().log, [], "who answers then was never silent");
    house.after(Duration::from_secs(6));
    assert_eq!(house.reactor.handler().log, [(house.id(slow), "slow")], "but time goes on");
}

/// Without: the kernel is asked once more after every newcomer, for nothing.
#[test]
fn nothing_is_left_to_do_after_accepting_and_closing() {
    let mut house = Relay::house(Limits::default());
    house.machine.connect(usize::MAX);
    house.turn();
    assert_eq!(house.reactor.net().connections(), 1);
    house.turn();
    assert_eq!(house.script.borrow().asked, None, "the turn after an arrival waits");
    house.machine.end(0);
    house.turn();
    house.turn();
    assert!(house.is_closed(0));
    house.turn();
    assert_eq!(house.script.borrow().asked, None, "the turn after a departure waits");
}

/// Without: what others send somebody closes it, or keeps it from being heard.
#[test]
fn a_private_message_to_a_full_queue_is_refused_to_its_sender() {
    let mut house = Relay::house(Limits { feed_bytes: Some(1000), ..Limits::default() });
    let (alice, slow) = (house.connect(), house.connect_with_room_for(1));
    for _ in 0..20 {
        house.says(alice, "/to 1 100\n");
    }
    let refused = (house.id(alice), "refused");
    assert_eq!(
        house.reactor.handler().log,
        [refused; 9],
        "as much as a feed keeps, and the one that exceeds it"
    );
    house.says(slow, "I can still speak\n");
    assert_eq!(house.heard(alice), "I can still speak\n");
    let mut heard = String::new();
    while heard.len() < 1100 {
        heard += &house.heard(slow);
        house.settle();
    }
    assert_eq!(heard, format!("{}\n", "x".repeat(99)).repeat(11), "nothing else is lost");
    house.says(alice, "/to 1 100\n");
    assert_eq!(house.reactor.handler().count("refused"), 9, "and there is place again");
}

/// Without: a shutdown with a crowd that lags copies what each of them has still to be sent.
#[test]
fn closing_a_crowd_that_lags_copies_nothing() {
    let mut house = Relay::house(Limits::default());
    let alice = house.connect();
    let crowd: Vec<usize> = (0..50).map(|_| house.connect_with_room_for(5000)).collect();
    house.says(alice, &format!("{}\n", "x".repeat(60_000)));
    let before = house.reactor.net().buffered_bytes();
    for &member in &crowd {
        house.machine.send(member, b"/quit\n");
    }
    house.turn();
    house.turn();
    let after = house.reactor.net().buffered_bytes();
    assert!(after < before + crowd.len() * 400, "{before} bytes became {after}");
    let whole = format!("{}\nbye\n", "x".repeat(60_000));
    for member in crowd {
        let mut heard = String::new();
        while !house.machine.is_at_end(member) {
            heard += &house.heard(member);
            house.settle();
        }
        assert_eq!(heard, whole);
    }
    assert_eq!(house.reactor.net().buffered_bytes(), 0);
}

/// Alice is in a lobby that is throttled for somebody who is slow to read.
fn house_that_waits_for_a_reader() -> (House<Server>, usize, usize) {
    let limits = Rc::new(Limits { feed_bytes: Some(8192), slowest: Some(1), ..Limits::default() });
    let config = Config { limits: Rc::clone(&limits), ..Config::default() };
    let mut house = House::new(Server::new(config, Now::default()), limits.as_ref().clone());
    let (alice, slow) = (house.connect(), house.connect_with_room_for(100));
    house.says(alice, "alice\n");
    house.says(slow, "slow\n");
    for _ in 0..5 {
        house.says(alice, &format!("{}\n", "x".repeat(1000)));
    }
    (house, alice, slow)
}

/// Without: whoever comes in publishes in a room that waits for a reader, and pushes it off the tail.
#[test]
fn whoever_enters_a_throttled_room_waits_until_it_no_longer_is() {
    let (mut house, alice, slow) = house_that_waits_for_a_reader();
    assert_eq!(house.reactor.net().counters().throttles, 1);
    house.heard(alice);
    let upgrade = "GET /ws?name=web HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for says in ["bob\n", "{\"type\":\"public\",\"body\":\"hi\",\"from\":\"bot\"}\n", upgrade] {
        let newcomer = house.connect();
        house.says(newcomer, says);
    }
    assert_eq!(house.heard(alice), "", "nobody is heard to come in");
    assert_eq!(house.reactor.handler().chat().members(), 2);
    for _ in 0..100 {
        house.heard(slow);
        house.settle();
    }
    assert_eq!(house.heard(alice), "* bob joined\n* bot joined\nbot: hi\n* web joined\n", "then they are");
}

/// Without: whoever says nothing and leaves upsets the metrics.
#[test]
fn a_connection_without_a_word_is_counted_out_as_what_it_was() {
    let mut house = text_server();
    let silent = house.connect();
    house.machine.end(silent);
    house.settle();
    assert!(house.is_closed(silent));
}

/// Without: a browser that opens a connection while its user types an address reads `your name?` as the answer to
/// its request, or is told that the request did not arrive in time.
#[test]
fn a_connection_that_was_opened_ahead_of_time_gets_its_page() {
    let mut house = text_server();
    for (silent, between) in
        [(Duration::from_millis(200), Duration::ZERO), (LONG_WAIT, Duration::from_secs(9))]
    {
        let spare = house.connect();
        house.after(silent);
        house.says(spare, "GET / HTTP/1.1\r\n");
        house.after(between);
        assert_eq!(house.heard(spare), "", "after {silent:?}");
        house.says(spare, "Host: localhost\r\n\r\n");
        assert!(house.heard(spare).starts_with("HTTP/1.1 200 OK\r\n"), "after {silent:?}");
    }
    // One that does not need it is no person either.
    let spare = house.connect();
    house.after(Duration::from_secs(61));
    assert_eq!(house.heard(spare), "");
    assert!(house.machine.is_at_end(spare));
}

/// Without: whoever sends a byte when its time is nearly up has no time to say the rest, or has for ever.
#[test]
fn a_request_has_its_time_from_its_first_byte_to_its_last() {
    let mut house = text_server();
    let slow = house.connect();
    house.after(LONG_WAIT);
    for byte in ["G", "E", "T"] {
        house.says(slow, byte);
        house.after(Duration::from_secs(4));
    }
    assert_eq!(house.heard(slow), "", "it may still be a name");
    house.says(slow, " ");
    house.after(Duration::from_millis(1));
    assert!(house.heard(slow).starts_with("HTTP/1.1 408 "));
}

/// Without: a guest who begins with a brace hears the room in text and its answers in JSON.
#[test]
fn a_guest_who_begins_with_a_brace_is_not_a_program() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut guest = daemon.guest("?name=guest");
    assert_eq!(guest.text(), "* welcome guest - #lobby, 2 here: alice, guest");
    guest.say("{smile}");
    alice.hears(&["* guest joined", "guest: {smile}"]);
    assert_eq!(guest.text(), "guest: {smile}");
    guest.say("/ping");
    assert_eq!(guest.text(), "* pong");
    // And one who is a program hears everything in JSON, what it did wrong first.
    let mut program = daemon.guest("?name=program");
    assert!(program.text().starts_with("* welcome program"));
    program.say(r#"{"type":"public"}"#);
    for expected in ["hello", "error", "public"] {
        // What was said before it came was shown to it as to a person.
        let text =
            std::iter::repeat_with(|| program.text()).find(|text| !text.starts_with('~')).expect("an event");
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event["type"], expected, "{event}");
        if expected == "error" {
            alice.say("still in JSON?");
        }
    }
}

/// Without: a room stands still for a reader that is gone.
#[test]
fn a_reader_that_is_waited_for_and_reset_is_gone_at_once() {
    let mut house = Relay::house(Limits { feed_bytes: Some(8192), slowest: Some(1), ..Limits::default() });
    let (alice, slow, bob) = (house.connect(), house.connect_with_room_for(100), house.connect());
    house.says(alice, &format!("{}\n", "x".repeat(5000)));
    house.heard(bob);
    house.says(alice, "wait\n");
    assert_eq!(house.heard(bob), "", "the channel is throttled");
    house.machine.reset(slow);
    house.settle();
    assert!(house.is_closed(slow));
    assert_eq!(house.heard(bob), "wait\n");
}

/// Without: an honest peer is closed for one who is refused all the same.
#[test]
fn place_is_made_only_for_whom_it_helps() {
    let limits =
        Limits { max_connections: Some(3), max_per_ip: Some(2), exempt: Vec::new(), ..Limits::default() };
    let mut house = House::new(Patient::default(), limits);
    let address = |last| Some(std::net::Ipv4Addr::new(10, 0, 0, last).into());
    house.machine.world_mut().peer_ip = address(1);
    let honest = house.connect();
    house.says(honest, "x\nx\nx\n");
    house.machine.world_mut().peer_ip = address(2);
    for _ in 0..3 {
        house.connect();
    }
    assert!(!house.is_closed(honest));
    assert_eq!(house.reactor.net().counters().refused_per_ip, 1);
}

/// Without: the last line of a script vanishes, if its room is waiting just then.
#[test]
fn a_last_line_into_a_throttled_room_is_said() {
    let (mut house, alice, _slow) = house_that_waits_for_a_reader();
    house.heard(alice);
    let bot = house.connect();
    house.machine.send(bot, br#"{"type":"public","body":"important","from":"bot"}"#);
    house.machine.end(bot);
    house.settle();
    assert_eq!(house.heard(alice), "* bot joined\nbot: important\n* bot left\n");
}

/// Without: one who sends more than the system buffers, and goes, keeps its name for hours: its end is behind all that.
#[test]
fn whoever_is_over_its_rate_for_a_minute_with_more_behind_is_dropped() {
    let limits = Rc::new(Limits { exempt: Vec::new(), ..Limits::default() });
    let config = Config { limits: Rc::clone(&limits), ..Config::default() };
    let mut house = House::new(Server::new(config, Now::default()), limits.as_ref().clone());
    let (ghost, paster) = (house.connect(), house.connect());
    house.says(ghost, &format!("ghost\n{}", "\n".repeat(1 << 20)));
    house.says(paster, &format!("paster\n{}", "a line of a long paste\n".repeat(600)));
    house.after(Duration::from_secs(55));
    assert!(!house.is_closed(ghost));
    house.after(Duration::from_secs(10));
    assert!(house.heard(ghost).contains("! dropped: "));
    assert!(house.machine.is_at_end(ghost));
    house.after(Duration::from_secs(60));
    house.heard(paster);
    assert!(!house.machine.is_at_end(paster), "what one read takes is heard to its end");
}

/// Without: a load-tester cannot tell what was heard from what was refused.
#[test]
fn every_line_is_counted_once_and_every_refusal() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    alice.say("hello");
    alice.hears_after(
        "/nope",
        &["! unknown-command: there is no /nope; /help lists what there is, //nope says it"],
    );
    daemon.metric_becomes("roomd_lines_in_total", 3);
    daemon.metric_becomes("roomd_lines_refused_total", 1);
    let mut program = daemon.guest("?name=program");
    program.say(r#"{"type":"ping"}"#);
    daemon.metric_becomes("roomd_lines_in_total", 4);
}

/// Without: each newcomer of a storm is a system call for each member.
#[test]
fn joins_of_one_turn_are_written_together() {
    let mut house = text_server();
    let members: Vec<usize> = (0..20)
        .map(|i| {
            let member = house.connect();
            house.says(member, &format!("member{i}\n"));
            member
        })
        .collect();
    house.settle();
    let newcomers: Vec<usize> = (0..20).map(|_| house.connect()).collect();
    house.settle();
    let before = house.reactor.net().counters().writes;
    for (i, &newcomer) in newcomers.iter().enumerate() {
        house.machine.send(newcomer, format!("newcomer{i}\n").as_bytes());
    }
    house.settle();
    assert_eq!(house.reactor.net().counters().writes - before, 40, "one to each");
    assert_eq!(house.heard(members[0]).matches("* newcomer").count(), 20);
}

/// Without: whoever waits for its turn among hundreds of its address is kept for as long, with all that it has sent,
/// and though it may have gone.
#[test]
fn whoever_waits_for_its_turn_with_more_behind_is_dropped_after_a_minute_too() {
    let limits =
        Rc::new(Limits { exempt: Vec::new(), max_per_ip: None, connect_rate: None, ..Limits::default() });
    let config = Config { limits: Rc::clone(&limits), ..Config::default() };
    let mut house = House::new(Server::new(config, Now::default()), limits.as_ref().clone());
    for i in 0..500 {
        let ghost = house.connect();
        house.machine.send(ghost, format!("ghost{i}\n{}", "\n".repeat(1 << 17)).as_bytes());
    }
    house.settle();
    assert_eq!(house.reactor.net().connections(), 500);
    // The turns of the last of them would come after 100 s.
    house.after(Duration::from_secs(80));
    assert_eq!(house.reactor.net().connections(), 0);
}

/// Without: `/quit` takes away what somebody is still reading. With nothing to read, it ends half a second later, so
/// that netcat does.
#[test]
fn whoever_quits_while_reading_at_the_minimum_reads_it_all_and_whoever_idles_is_reset() {
    let mut house = text_server();
    let bob = house.connect_with_room_for(256 * 1024);
    house.says(bob, "bob\n");
    for _ in 0..10 {
        house.says(bob, &format!("{}\n", "x".repeat(4000)));
    }
    house.says(bob, "/history 10\n/history 10\n/history 10\n/quit\n");
    let mut heard = Vec::new();
    for _ in 0..100 {
        heard.extend(house.machine.receive(bob, 64 * 1024 / 10));
        if heard.ends_with(b"* bye\n") {
            break;
        }
        house.after(Duration::from_millis(100));
    }
    assert!(heard.len() > 120_000 && heard.ends_with(b"* bye\n"), "{} bytes", heard.len());

    let eve = house.connect();
    house.says(eve, "eve\n");
    house.after(Duration::from_secs(10));
    house.heard(eve);
    house.says(eve, "/quit\n");
    house.after(Duration::from_millis(499));
    assert!(!house.machine.world().pipes[eve].is_closed);
    house.after(Duration::from_millis(200));
    assert!(house.machine.world().pipes[eve].is_closed);
}

/// Without: whoever comes and goes takes the turns of others of its address with it, and they are never used.
#[test]
fn the_turns_of_those_who_have_gone_are_given_back() {
    let limits =
        Rc::new(Limits { exempt: Vec::new(), max_per_ip: None, connect_rate: None, ..Limits::default() });
    let config = Config { limits: Rc::clone(&limits), ..Config::default() };
    let mut house = House::new(Server::new(config, Now::default()), limits.as_ref().clone());
    let ghosts: Vec<usize> = (0..100)
        .map(|i| {
            let ghost = house.connect();
            house.machine.send(ghost, format!("ghost{i}\n").as_bytes());
            ghost
        })
        .collect();
    house.settle();
    ghosts.into_iter().for_each(|ghost| house.machine.reset(ghost));
    house.after(Duration::from_secs(1));
    let bob = house.connect();
    house.says(bob, "bob\n");
    // Their turns would have come after 18 s.
    house.after(Duration::from_secs(1));
    assert!(house.heard(bob).contains("* welcome bob"));
}
