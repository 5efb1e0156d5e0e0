//! What the parts cost, without a network: `cargo bench --bench core`; and what the worst lines cost:
//! `cargo bench --bench core -- worst`.
//!
//! The machine is noisy: compare figures of one run with each other. For a whole server under load
//! there is `roomd bench`.

use std::io::{self, Read, Write};
use std::time::Duration;

use divan::{Bencher, counter::BytesCount, counter::ItemsCount};
use roomd::chat::{Chat, Hello, Home, Name};
use roomd::clock::{Millis, Now};
use roomd::limits::Limits;
use roomd::reactor::{
    ChannelId, ConnectionId, Consumed, Event, Handler, Loss, Net, Peer, Platform, Reactor, Rest, Socket, Then,
};
use roomd::server::{Config, Server};
use roomd::wire::line::{Found, Lines};

mod worst;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--"));
    if words.next() == Some("worst") {
        return worst::run(arguments.iter().any(|argument| argument == "--test"), words.next());
    }
    divan::main();
}

/// Cutting 64 KiB of 64-byte lines out of a byte stream.
#[divan::bench(args = [1, 64, 1500, 65536])]
fn framing(bencher: Bencher<'_, '_>, read_bytes: usize) {
    let input: Vec<u8> = [&[b'x'; 63][..], b"\n"].concat().repeat(1024);
    bencher.counter(BytesCount::of_slice(&input)).bench_local(|| {
        let (mut lines, mut kept, mut count) = (Lines::default(), Vec::new(), 0);
        for piece in input.chunks(read_bytes) {
            kept.extend_from_slice(piece);
            let mut used = 0;
            while let Found::Line(line, length) = lines.next(&kept[used..], 4096, &mut Vec::new()) {
                count += divan::black_box(line).len();
                used += length;
            }
            kept.drain(..used);
        }
        count
    });
}

/// Deciding whether a text can be a name, and whether somebody has it already.
#[divan::bench(args = ["user1234", "Zoë", "李雷"])]
fn name_checking(bencher: Bencher<'_, '_>, text: &str) {
    let mut chat = Chat::new(Limits::default(), Now::default());
    for tag in 0..1000 {
        let name = Name::parse(&format!("member-{tag}")).expect("a good name");
        chat.enter(tag, Home::default(), Hello::new(name, None), &None, Now::default()).expect("a free name");
    }
    while chat.poll_output().is_some() {}
    bencher.bench_local(|| {
        let name = Name::parse(divan::black_box(text)).expect("a good name");
        let id = chat
            .enter(5000, Home::default(), Hello::new(name, None), &None, Now::default())
            .expect("a free name");
        chat.leave(id, None, Now::default());
        while chat.poll_output().is_some() {}
    });
}

/// A machine without a network: its sockets take everything, and its clients say a name and then,
/// whenever they are read, the same line.
#[derive(Default)]
struct Nowhere {
    arrived: usize,
    arrivals: usize,
    /// All but the first two go to a room of their own.
    has_rooms: bool,
    events: Vec<Event>,
}

struct Sink {
    /// What it says first.
    introduction: String,
    is_introduced: bool,
}

const LINE: &str = "a message of the usual length, which is about sixty-four bytes.";

impl Read for Sink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = if self.is_introduced { LINE } else { &self.introduction };
        self.is_introduced = true;
        buffer[..line.len()].copy_from_slice(line.as_bytes());
        buffer[line.len()] = b'\n';
        Ok(line.len() + 1)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(divan::black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Sink {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Platform for Nowhere {
    type Socket = Sink;

    fn now(&mut self) -> Now {
        Now { monotonic: Millis(1), unix_ms: 1 }
    }

    fn busy(&mut self) -> Duration {
        Duration::ZERO
    }

    fn wait(&mut self, _timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        events.extend_from_slice(&self.events);
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> io::Result<(Sink, Peer)> {
        if self.arrived == self.arrivals {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.arrived += 1;
        let mut introduction = format!("member-{}", self.arrived);
        if self.has_rooms && self.arrived > 2 {
            introduction += &format!("\n/join room-{}", self.arrived);
        }
        Ok((
            Sink { introduction, is_introduced: false },
            Peer { listener: listener as u16, ..Peer::default() },
        ))
    }

    fn close_listeners(&mut self) {}

    fn register(&mut self, _socket: &mut Sink, _id: ConnectionId) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _socket: &mut Sink, _id: ConnectionId, _writable: bool) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _socket: &mut Sink) {}
}

/// Publishes a batch of 64-byte frames to everybody whenever somebody says something.
struct Publisher {
    channel: Option<ChannelId>,
    batch: usize,
}

impl Handler for Publisher {
    fn opened(&mut self, net: &mut Net, id: ConnectionId, _peer: Peer) {
        let channel = *self.channel.get_or_insert_with(|| net.open_channel());
        net.subscribe(id, channel, 0);
    }

    fn received(&mut self, net: &mut Net, _id: ConnectionId, input: &[u8]) -> Consumed {
        if let Some(channel) = self.channel {
            for _ in 0..self.batch {
                net.publish(channel, None, |_, out| out.extend_from_slice(&[b'x'; 64]));
            }
        }
        Consumed { bytes: input.len(), then: Then::Read }
    }

    fn ended(&mut self, _net: &mut Net, _id: ConnectionId, _rest: Rest<'_>) {}

    fn lost(&mut self, _net: &mut Net, _id: ConnectionId, _loss: Loss) -> Vec<u8> {
        Vec::new()
    }

    fn stopping(&mut self, _net: &mut Net) {}
}

/// A loop with `members` connections, each of which has said its name.
fn filled<H: Handler>(handler: H, members: usize) -> Reactor<Nowhere, H> {
    let platform = Nowhere { arrivals: members, events: vec![Event::Listener(0)], ..Nowhere::default() };
    let mut reactor = Reactor::new(platform, handler, Limits::default());
    while reactor.net().connections() < members {
        reactor.turn().expect("nothing can break");
    }
    reactor.platform().events = (0..members as u32).map(readable).collect();
    reactor.turn().expect("nothing can break");
    reactor.platform().events.clear();
    // A turn publishes so much and no more: the others' names are heard in the next ones.
    for _ in 0..10 {
        reactor.turn().expect("nothing can break");
    }
    reactor
}

/// The connection in this slot has something to say.
fn readable(index: u32) -> Event {
    let id = ConnectionId { index, generation: index + 1 };
    Event::Connection { id, readable: true, writable: false, read_closed: false, broken: false }
}

/// One turn: appending a batch to a feed, and flushing it to 1000 cursors. Per delivery.
#[divan::bench(args = [1, 30, 64, 1000])]
fn append_and_flush_to_1000(bencher: Bencher<'_, '_>, batch: usize) {
    let mut reactor = filled(Publisher { channel: None, batch }, 1000);
    reactor.platform().events = vec![readable(0)];
    bencher.counter(ItemsCount::new(1000 * batch)).bench_local(|| reactor.turn());
}

/// One whole turn of the chat server: one of `members` says a line, the others hear it. Per delivery.
#[divan::bench(args = [10, 100, 1000])]
fn whole_turn(bencher: Bencher<'_, '_>, members: usize) {
    let server = Server::new(Config::default(), Now::default());
    let mut reactor = filled(server, members);
    assert_eq!(reactor.handler().chat().members(), members);
    reactor.platform().events = vec![readable(0)];
    bencher.counter(ItemsCount::new(members)).bench_local(|| reactor.turn());
}

/// The same with two members, while so many other rooms have somebody in them who says nothing. Per turn.
#[divan::bench(args = [1, 100, 10_000])]
fn whole_turn_beside_idle_rooms(bencher: Bencher<'_, '_>, rooms: usize) {
    let limits = std::rc::Rc::new(Limits { max_rooms: None, max_connections: None, ..Limits::default() });
    let config = Config { limits: std::rc::Rc::clone(&limits), ..Config::default() };
    let events = vec![Event::Listener(0)];
    let platform = Nowhere { arrivals: rooms + 1, has_rooms: true, events, ..Nowhere::default() };
    let mut reactor = Reactor::new(platform, Server::new(config, Now::default()), limits);
    while reactor.net().connections() < rooms + 1 {
        reactor.turn().expect("nothing can break");
    }
    reactor.platform().events = (0..=rooms as u32).map(readable).collect();
    while reactor.handler().chat().rooms().len() < rooms {
        reactor.turn().expect("nothing can break");
        // Once is enough: from here on they are served as the turns allow.
        reactor.platform().events.clear();
    }
    reactor.platform().events = vec![readable(0)];
    bencher.bench_local(|| reactor.turn());
}
