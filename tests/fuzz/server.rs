//! Conversations of several clients, in all dialects at once, with the whole server on a scripted machine.
//!
//! A conversation is a text, so that it can be mutated as one: each line is a step of a client, which comes when it is
//! first named.
//!
//! | step | meaning |
//! |---|---|
//! | `1 bob\r\nhi` | client 1 sends these bytes; escapes are those of Rust |
//! | `1> hi` | a line |
//! | `1= hi` | a WebSocket text frame |
//! | `1.` | the client has said its last |
//! | `1!` | it breaks the connection off |
//! | `1x` | it closes its socket |
//! | `1< 100` | it takes so many bytes, and from now on only those that it asks for |
//! | `+ 500` | so many milliseconds pass |
//! | `% 20` | so many percent of system calls are interrupted or cut short from now on |
//! | `$` | the server is asked to stop |
//! | `text_only` | the listener speaks nothing but text; in front of the other steps |
//! | `max_rooms 1` | a limit, from the beginning |
//! | anything else | client 1 sends it as a line |
//!
//! Clients with even numbers are strangers, whose lines are counted; each comes from an address of its own.

use std::collections::BTreeMap;
use std::rc::Rc;

use roomd::chat::{Name, RoomName};
use roomd::limits::{Limits, TABLE};
use roomd::reactor::{Platform, Reactor};
use roomd::server::{Config, Listener, Server};
use roomd::wire::json::EventDocument;
use roomd::wire::{Sniffed, foreign, sniff};

use crate::engine::{Seen, Target, any, magnitude, pieces, unescaped};
use crate::http::{check_answer, status};
use crate::is_harmless;
use roomd::reactor::simulated::{Machine, Rng};

const CONVERSATIONS: &str = include_str!("../corpus/conversations.txt");

const TOKENS: &[&[u8]] = &[
    b"\n1 ",
    b"\n1> ",
    b"\n1= ",
    b"\n1.\n",
    b"\n1!\n",
    b"\n1x\n",
    b"\n1< 10\n",
    b"\n2 ",
    b"\n2> ",
    b"\n2= ",
    b"\n2.\n",
    b"\n2!\n",
    b"\n2< 0\n",
    b"\n3> ",
    b"\n3= ",
    b"\n4> ",
    b"\n+ 500\n",
    b"\n+ 60000\n",
    b"\n% 20\n",
    b"\n$\n",
    b"\nfeed_bytes 1000\n",
    b"\nmax_buffered_bytes 9000\n",
    b"\nmax_line_bytes 16\n",
    b"\nmax_rooms 1\n",
    b"\nmax_connections 6\n",
    b"\nquiet_above 1\n",
    b"\nhistory_bytes 30\n",
    b"\nhistory none\n",
    b"\nname_wait 100\n",
    b"\nstall 1\n",
    b"\nping_after 10\n",
    b"\ndead_after 5\n",
    b"\nslowest none\n",
    b"\nrate none\n",
    b"\\n",
    b"\\r\\n",
    b"\\xff",
    b"\\0",
    b"/msg ",
    b"/nick ",
    b"/join ",
    b"/quit",
    b"/history",
    b"/who",
    b"/rooms",
    b"bob",
    b"alice",
    b"lobby",
    b"{\"type\":\"",
    b"\",\"ref\":\"r\"}",
    b"GET /ws HTTP/1.1\\r\\n",
    b"\\r\\n\\r\\n",
    b"\\x88\\x80\\0\\0\\0\\0",
    b"\\x01\\x80\\0\\0\\0\\0",
    b"\\u{202e}",
];

/// So many steps of a conversation are taken.
const STEPS_MAX: usize = 60;
/// Steps are repeated with all that they send: no more is sent than this.
const STEP_BYTES_MAX: usize = 20_000;

#[test]
fn no_conversation_confuses_the_server() {
    let corpus = CONVERSATIONS.split("\n\n").filter(|text| !text.starts_with('#'));
    let corpus = corpus.map(|text| text.trim_start().as_bytes().to_vec()).collect();
    Target { corpus, tokens: TOKENS, inputs: 300, bytes_max: 4000, ..Target::default() }.fuzz(
        |input, rng, seen| {
            let text = String::from_utf8_lossy(input);
            let mut limits = Limits::default();
            let steps: Vec<&str> = text.lines().filter(|line| !set(&mut limits, line)).collect();
            let is_text_only = steps.first() == Some(&"text_only");
            let mut scene = Scene::new(limits, is_text_only, rng.next());
            for step in steps.into_iter().skip(is_text_only.into()).take(STEPS_MAX) {
                scene.step(step, rng);
            }
            scene.end(seen);
        },
    );
}

/// Sets a limit, if that is what a line says and it may be so.
fn set(limits: &mut Limits, line: &str) -> bool {
    let Some((name, value)) = line.split_once(' ') else { return false };
    let Some(row) = TABLE.iter().find(|row| row.name == name) else { return false };
    match value.parse() {
        Ok(value) if row.bounds.contains(&value) => (row.set)(limits, Some(value)),
        Err(_) if row.may_be_none => (row.set)(limits, None),
        _ => {}
    }
    true
}

/// How the observers speak: they hear the same in all encodings.
const OBSERVERS: [&str; 4] = ["ob-text", "ob-json", "ob-wst", "ob-wsj"];

#[derive(Default)]
struct Client {
    pipe: usize,
    sent: Vec<u8>,
    /// So many bytes were in its first piece, which says how it speaks; none where there is nothing but text.
    first: usize,
    heard: Vec<u8>,
    takes_all: bool,
    /// It was broken off, or closed: what it heard may be cut anywhere.
    is_torn: bool,
}

struct Scene {
    machine: Machine,
    server: Reactor<Machine, Server>,
    clients: BTreeMap<u8, Client>,
    observers: Vec<Client>,
    has_faults: bool,
    is_text_only: bool,
    /// All observers could come in: the limits are not too narrow for that.
    are_observers_in: bool,
}

impl Scene {
    fn new(limits: Limits, is_text_only: bool, seed: u64) -> Self {
        let machine = Machine::new(seed);
        machine.world_mut().wait_max_ms = 0;
        let limits = Rc::new(limits);
        let listeners = vec![Listener { ip: None, is_text_only }];
        let config = Config { limits: Rc::clone(&limits), listeners, ..Config::default() };
        let mut platform = machine.clone();
        let server = Server::new(config, platform.now());
        let server = Reactor::new(platform, server, limits);
        let (clients, observers) = (BTreeMap::new(), Vec::new());
        let mut scene = Self {
            machine,
            server,
            clients,
            observers,
            has_faults: false,
            is_text_only,
            are_observers_in: false,
        };
        for name in OBSERVERS {
            let hello = match name {
                "ob-text" => format!("{name}\n").into_bytes(),
                "ob-json" => format!("{{\"type\":\"hello\",\"name\":\"{name}\"}}\n").into_bytes(),
                "ob-wst" => upgrade(name, "roomd.text"),
                _ => upgrade(name, "roomd.json"),
            };
            let pipe = scene.machine.connect(1 << 20);
            scene.machine.send(pipe, &hello);
            scene.observers.push(Client { pipe, takes_all: true, ..Client::default() });
            scene.turns(4);
        }
        let chat = scene.server.handler().chat();
        scene.are_observers_in = OBSERVERS.iter().all(|name| chat.find(name).is_some());
        // They know each other before they compare.
        scene.observers.iter_mut().for_each(|observer| observer.heard.clear());
        scene
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            if self.server.is_stopped() {
                return;
            }
            self.server.turn().expect("the simulated selector does not break");
            self.server.net().check_invariants();
            self.server.handler().chat().check_invariants();
            let Self { machine, clients, observers, .. } = self;
            for client in clients.values_mut().chain(observers).filter(|client| client.takes_all) {
                client.heard.extend(machine.receive(client.pipe, usize::MAX));
            }
        }
    }

    fn client(&mut self, number: u8) -> &mut Client {
        let machine = &self.machine;
        self.clients.entry(number).or_insert_with(|| {
            let is_stranger = number.is_multiple_of(2);
            let ip = if is_stranger { [10, 0, 0, number] } else { [127, 0, 0, 1] };
            machine.world_mut().peer_ip = Some(ip.into());
            Client { pipe: machine.connect(1 << 20), takes_all: true, ..Client::default() }
        })
    }

    fn step(&mut self, step: &str, rng: &mut Rng) {
        let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
        let (number, verb, rest) = match step.as_bytes() {
            [b'+', ..] => {
                self.machine.world_mut().now_ms += number(&step[1..]).min(100_000);
                return self.turns(1);
            }
            [b'%', ..] => {
                let percent = number(&step[1..]).min(60) as usize;
                self.machine.world_mut().fault_percent = percent;
                self.has_faults |= percent > 0;
                return;
            }
            b"$" => {
                self.machine.world_mut().stop_requests = 1;
                return self.turns(1);
            }
            [digit @ b'1'..=b'9', verb @ (b' ' | b'>' | b'=' | b'.' | b'!' | b'x' | b'<'), ..] => {
                (digit - b'0', *verb, &step[2..])
            }
            _ => (1, b'>', step),
        };
        let rest_bytes = unescaped(rest.strip_prefix(' ').filter(|_| verb != b' ').unwrap_or(rest));
        let machine = self.machine.clone();
        let client = self.client(number);
        let sent = match verb {
            b' ' => rest_bytes,
            b'>' => [&rest_bytes[..], b"\n"].concat(),
            b'=' => text_frame(&rest_bytes, rng),
            b'.' => {
                machine.end(client.pipe);
                return self.turns(2);
            }
            b'!' | b'x' => {
                client.is_torn = true;
                if verb == b'!' {
                    machine.reset(client.pipe);
                } else {
                    machine.close(client.pipe);
                }
                return self.turns(2);
            }
            _ => {
                // From now on there is little place for what it does not take.
                client.takes_all = false;
                client.is_torn = true;
                machine.world_mut().pipes[client.pipe].capacity = 1000;
                let max = rest.trim().parse().unwrap_or(0);
                client.heard.extend(machine.receive(client.pipe, max));
                return self.turns(1);
            }
        };
        for piece in pieces(rng, &sent[..sent.len().min(STEP_BYTES_MAX)]).into_iter().take(40) {
            let is_text_only = self.is_text_only;
            let client = self.client(number);
            if client.sent.is_empty() && !is_text_only {
                client.first = piece.len();
            }
            client.sent.extend(piece);
            machine.send(client.pipe, piece);
            self.turns(rng.below(3));
        }
        self.turns(2);
    }

    /// Everybody leaves: what they heard must be sound, and nothing may remain.
    fn end(&mut self, seen: &mut Seen) {
        self.machine.world_mut().fault_percent = 0;
        self.turns(5);
        let counters = *self.server.net().counters();
        seen.note((
            counters.lost_slow,
            counters.lost_broken.min(3),
            counters.throttles > 0,
            counters.pauses > 0,
        ));
        self.compare_observers(seen);
        for client in self.clients.values() {
            check_heard(client, self.has_faults, seen);
        }
        let pipes: Vec<usize> =
            self.clients.values().chain(&self.observers).map(|client| client.pipe).collect();
        pipes.into_iter().for_each(|pipe| self.machine.end(pipe));
        self.machine.world_mut().wait_max_ms = u64::MAX;
        for client in self.clients.values_mut() {
            client.takes_all = true;
        }
        let mut turns = 0;
        while self.server.net().connections() > 0 && !self.server.is_stopped() {
            self.turns(1);
            turns += 1;
            assert!(turns < 3000, "a connection remained");
        }
        // A server that was stopped forgets nobody, and who stops it twice does not want to wait.
        if !self.server.is_stopped() {
            assert_eq!(self.server.net().buffered_bytes(), 0, "bytes remained");
            assert_eq!(self.server.handler().chat().members(), 0, "a member remained");
        }
        seen.note(magnitude(turns));
    }

    /// All observers were told the same, whatever their encoding.
    fn compare_observers(&self, seen: &mut Seen) {
        // They can be asked to leave by what the limits are, and then each hears of it in another moment.
        let has_left = |observer: &Client| self.machine.is_at_end(observer.pipe);
        if self.has_faults || !self.are_observers_in || self.observers.iter().any(has_left) {
            return;
        }
        let told: Vec<Vec<String>> =
            self.observers.iter().map(|observer| told(&observer.heard, seen)).collect();
        for (other, name) in told.iter().zip(OBSERVERS) {
            assert_eq!(*other, told[0], "what {name} heard is not what {} heard", OBSERVERS[0]);
        }
        seen.note(magnitude(told[0].len()));
    }
}

/// The lines that tell the room something, in the text dialect.
fn told(heard: &[u8], seen: &mut Seen) -> Vec<String> {
    let mut told = Vec::new();
    let contents = contents(heard, false);
    for content in contents {
        match content.strip_prefix('{') {
            Some(_) => {
                let event = check_document(&content, seen);
                told.extend(lines_of(&event));
            }
            None => {
                check_line(&content, seen);
                if !content.starts_with(['@', '!']) {
                    told.push(content);
                }
            }
        }
    }
    told
}

/// The lines of the text dialect that say the same as an event to the room.
pub fn lines_of(event: &EventDocument<String>) -> Vec<String> {
    let line = match event {
        EventDocument::Public(said) => {
            return said.body.split('\n').map(|line| format!("{}: {line}", said.from)).collect();
        }
        EventDocument::Action(said) => {
            return said.body.split('\n').map(|line| format!("** {} {line}", said.from)).collect();
        }
        EventDocument::Join { name, .. } => format!("* {name} joined"),
        EventDocument::Leave { name, why: None, .. } => format!("* {name} left"),
        EventDocument::Leave { name, why: Some(why), .. } => format!("* {name} left ({why})"),
        EventDocument::Nick { from, name, .. } => format!("* {from} is now {name}"),
        EventDocument::Presence { joined, left: 0, total, .. } => format!("* {joined} joined, {total} here"),
        EventDocument::Presence { joined: 0, left, total, .. } => format!("* {left} left, {total} here"),
        EventDocument::Presence { joined, left, total, .. } => {
            format!("* {joined} joined, {left} left, {total} here")
        }
        _ => return Vec::new(),
    };
    vec![line]
}

// ---- what a client heard

/// The contents of all frames that a client was sent, lines or WebSocket; the last may be cut if it `is_torn`.
fn contents(mut heard: &[u8], is_torn: bool) -> Vec<String> {
    let mut contents = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the server sends UTF-8");
    // No letter begins with such a byte.
    let is_websocket = heard.first().is_some_and(|first| (0x80..0xc0).contains(first));
    // Nothing that is told has 16 MiB.
    let is_prefixed = heard.first() == Some(&0);
    while !heard.is_empty() {
        let (content, used) = if is_websocket {
            let Some((opcode, payload, used)) = frame(heard) else { break };
            match opcode {
                0x81 => (Some(text(payload)), used),
                0x88 => {
                    assert_eq!(used, heard.len(), "something follows a close");
                    assert!(payload.is_empty() || payload.len() >= 2);
                    (None, used)
                }
                0x89 | 0x8a => (None, used),
                other => panic!("an unexpected frame {other:#x}"),
            }
        } else if is_prefixed {
            let Some((length, rest)) = heard.split_first_chunk::<4>() else { break };
            let Some(payload) = rest.get(..u32::from_be_bytes(*length) as usize) else { break };
            (Some(text(payload)), 4 + payload.len())
        } else if let [0xff, 0xfb | 0xfc | 0xfe, _, ..] = heard {
            (None, 3) // what telnet is answered
        } else {
            let Some(end) = heard.iter().position(|&byte| byte == b'\n') else { break };
            (Some(text(&heard[..end])), end + 1)
        };
        contents.extend(content);
        heard = &heard[used..];
    }
    assert!(heard.is_empty() || is_torn, "a part of a frame: {:?}", String::from_utf8_lossy(heard));
    contents
}

/// A frame of the server at the front of `bytes`: opcode with flags, payload, and length.
pub fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&opcode, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*length).into(), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).unwrap(), rest)
        }
        length => {
            assert!(length < 126, "a mask");
            (length.into(), rest)
        }
    };
    let payload = rest.get(..length)?;
    Some((opcode, payload, bytes.len() - rest.len() + length))
}

fn check_heard(client: &Client, has_faults: bool, seen: &mut Seen) {
    // With faults, what arrives first is not what was sent first; and who is closed before all is read loses the rest.
    let is_torn = client.is_torn || has_faults;
    let first = &client.sent[..client.first];
    let is_http = sniff(first) == Sniffed::Http && !first.starts_with(b"\r") && !first.starts_with(b"\n");
    seen.note(("heard", sniff(&client.sent) as u8, magnitude(client.heard.len()) / 3));
    let mut heard = &client.heard[..];
    if heard.starts_with(b"HTTP/") {
        let Some(status) = status(heard) else { return assert!(is_torn, "no status line") };
        seen.note(status);
        if status != 101 {
            if !is_torn {
                let is_head = client.sent.trim_ascii_start().starts_with(b"HEAD ");
                check_answer(heard, is_head);
            }
            return;
        }
        let end = heard.windows(4).position(|end| end == b"\r\n\r\n");
        heard = &heard[end.map_or(heard.len(), |end| end + 4)..];
    } else {
        let is_refused = heard.starts_with(b"! full: ");
        assert!(!is_http || heard.is_empty() || is_refused, "HTTP is answered by something else");
    }
    for content in contents(heard, is_torn) {
        if content.starts_with('{') {
            check_document(&content, seen);
        } else {
            check_line(&content, seen);
        }
    }
}

/// A document of the server: what is read of it is all there is.
fn check_document(document: &str, seen: &mut Seen) -> EventDocument<String> {
    let event: EventDocument<String> =
        serde_json::from_str(document).unwrap_or_else(|e| panic!("{e}: {document}"));
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&serde_json::to_string(&event).unwrap()), value(document), "read and written again");
    assert!(!document.contains('\n') && event != EventDocument::Unknown, "{document}");
    match &event {
        EventDocument::Error { code, .. } => seen.note_next(code),
        event => seen.note_next(std::mem::discriminant(event)),
    }
    lines_of(&event).iter().for_each(|line| check_line(line, seen));
    event
}

/// A line of the server: its first character tells its kind, and nobody can make one of another kind.
fn check_line(line: &str, seen: &mut Seen) {
    assert!(is_harmless(line), "{line:?}");
    let is_name = |name: &str| Name::parse(name).is_ok_and(|parsed| parsed.as_str() == name);
    if let Some((room, line)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) {
        // What is told of a room that is not the current one.
        assert!(RoomName::parse(room).is_ok_and(|parsed| parsed.as_str() == room), "{line:?}");
        assert!(!line.starts_with(['@', '!', '~', '#']), "{line:?} is of no room");
        seen.note_next("#");
        return check_line(line, seen);
    }
    let kind = if let Some(refusal) = line.strip_prefix("! ") {
        refusal.split(':').next()
    } else if let Some(done) = line.strip_prefix("** ") {
        assert!(done.split_once(' ').is_some_and(|(name, _)| is_name(name)), "{line:?}");
        Some("**")
    } else if let Some(news) = line.strip_prefix("* ") {
        const NEWS: [&str; 12] = [
            "welcome", "joined", "left", "now", "nothing", "last", "room", "here", "bye", "pong", "name?",
            "command",
        ];
        NEWS.into_iter().find(|word| news.contains(word))
    } else if line.starts_with("~ ") {
        Some("~")
    } else {
        let said = line.strip_prefix('@').unwrap_or(line);
        assert!(said.split_once(": ").is_some_and(|(name, _)| is_name(name)), "whose line is {line:?}?");
        Some(if said == line { ":" } else { "@" })
    };
    seen.note_next(kind.filter(|kind| kind.is_ascii()));
}

// ---- strangers

const STRANGER_TOKENS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\0",
    b"\0\0\0\x03bob",
    b"\0\0\0\x02hi",
    b"\xff\xfb\x1f",
    b"GET ",
    b"POST / HTTP/1.1\r\n",
    b"bob\nhi\nput /x http/1.0\nhi\n",
    b"Host: a\r\n",
    b"{",
    b"{\"type\":\"public\",\"body\":\"x\"}\n",
    b"bob\n",
    b"hello\n",
    b"/me x\n",
    b"\x16\x03\x01",
    b"EHLO x\r\n",
];

/// What somebody sends who is alone with the observers: nothing of it is said if it is HTTP or another protocol, and
/// what is said does not depend on how it was cut on its way.
#[test]
fn nothing_that_begins_as_another_protocol_is_ever_said() {
    use crate::{chat, http, lines};
    let corpus =
        crate::engine::corpus(&[lines::LINES, lines::FOREIGN, http::HTTP, chat::COMMANDS, chat::NAMES]);
    let make = |rng: &mut Rng| {
        any(rng, &["bob\nhi\n/me x\n", "{\"type\":\"hello\",\"name\":\"bob\"}\n", "bob"]).as_bytes().to_vec()
    };
    let target =
        Target { corpus, tokens: STRANGER_TOKENS, make: Some(make), inputs: 200, ..Target::default() };
    target.fuzz(|input, rng, seen| {
        let (heard, told_whole) = said_by(&[input], seen);
        let is_protocol = match sniff(input) {
            Sniffed::Http | Sniffed::Tls => true,
            Sniffed::Json | Sniffed::LengthJson | Sniffed::LengthText | Sniffed::TooLittle => false,
            // The first line that is not empty, and not too long to be looked at.
            Sniffed::Text => {
                let mut lines = input.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
                let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
                first.len() < 4000 && !first.contains(&0xff) && foreign::protocol(first).is_some()
            }
        };
        let is_websocket = told_whole.starts_with(b"HTTP/1.1 101 ");
        assert!(!is_protocol || is_websocket || heard.is_empty(), "it was said: {heard:?}");
        // A request line among those of a member ends the connection, whoever made its browser say it.
        if sniff(input) == Sniffed::Text && !input.contains(&0xff) {
            let mut lines = input.split_inclusive(|&byte| byte == b'\n').scan(0, |end, line| {
                *end += line.len();
                Some((*end - line.len(), line))
            });
            let is_request = |line: &[u8]| line.len() < 4000 && foreign::is_http_request_line(line);
            if let Some((start, _)) = lines.find(|(_, line)| is_request(line)) {
                assert_eq!(
                    said_by(&[&input[..start]], seen).0,
                    heard,
                    "a request line, or what is behind it"
                );
                seen.note(("request line", magnitude(start), heard.is_empty()));
            }
        }
        let is_empty_at_first = input.starts_with(b"\n") || input.starts_with(b"\r");
        let cut = pieces(rng, input);
        let (heard_of_cut, told_of_cut) = said_by(&cut, seen);
        // Whoever is refused before the rest is sent may say another name.
        let is_misnamed =
            |told: &[u8]| memchr::memmem::find(told, b"what came with a name that was refused").is_some();
        // An empty line makes text of what would be HTTP with it.
        let becomes_text = is_empty_at_first && sniff(input) == Sniffed::Http;
        if !(becomes_text || is_misnamed(&told_whole) || is_misnamed(&told_of_cut)) {
            assert_eq!(heard_of_cut, heard, "cut as {cut:?}");
            let is_refused = told_whole.starts_with(b"HTTP/1.1 4") || heard.is_empty();
            assert!(is_refused || told_of_cut == told_whole, "cut as {cut:?}");
        }
    });
}

/// What the room hears of somebody who sends these pieces and ends, and what that one is told.
fn said_by(pieces: &[&[u8]], seen: &mut Seen) -> (Vec<String>, Vec<u8>) {
    let mut scene = Scene::new(Limits::default(), false, 1);
    for piece in pieces {
        let client = scene.client(1);
        let pipe = client.pipe;
        scene.machine.send(pipe, piece);
        scene.turns(1);
    }
    let pipe = scene.client(1).pipe;
    // A turn has a budget.
    scene.turns(10);
    scene.machine.end(pipe);
    scene.turns(5);
    scene.compare_observers(seen);
    let heard = told(&scene.observers[0].heard, seen);
    let mut told = std::mem::take(&mut scene.client(1).heard);
    // Sessions are random.
    const SESSION: &[u8] = b"\"session\":\"";
    let sessions: Vec<usize> = memchr::memmem::find_iter(&told, SESSION).collect();
    for at in sessions {
        told[at + SESSION.len()..][..32].fill(b'0');
    }
    (heard, told)
}

// ---- what clients send

fn upgrade(name: &str, protocol: &str) -> Vec<u8> {
    format!(
        "GET /ws?name={name} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
    )
    .into_bytes()
}

fn text_frame(payload: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mask = (rng.next() as u32).to_be_bytes();
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend((payload.len().min(0xffff) as u16).to_be_bytes());
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}
