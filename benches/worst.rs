//! What the worst line of every command costs, in every dialect: `cargo bench --bench core -- worst`.
//!
//! For each command all fillers are tried, as long as a line may be and short, and the one is shown that costs most:
//! long ones per KiB, short ones per command, of which there is a fixed part. It is the whole server on a machine
//! without a network: framing, parsing, the chat, encoding the answers for readers of all four encodings, and appending
//! them to what twenty-four members are sent. The rate of lines is not limited.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use roomd::clock::{Millis, Now};
use roomd::limits::Limits;
use roomd::reactor::{ConnectionId, Event, Peer, Platform, Reactor, Socket};
use roomd::server::{Config, Server};

/// A line may cost so much for each KiB that it has.
const US_PER_KIB_MAX: f64 = 50.0;
/// As long as a line may be, nearly: some fillers have several bytes.
const LONG_BYTES: usize = 4096;
/// What comes at once: less than the loop reads, so that a read of the shortest lines is done in one turn.
const READ_BYTES_MAX: usize = 8192;
/// How often each input is measured, and how long.
const SLICES: usize = 5;
const SLICE_TIME: Duration = Duration::from_millis(3);
/// Members who say nothing, besides one reader of each encoding.
const LISTENERS: usize = 20;

/// What inputs are made of: each has cost more than plain letters somewhere.
const FILLERS: [(&str, &str); 30] = [
    ("letters", "x"),
    ("spaces", " "),
    ("i", "i"),
    ("controls", "\u{1}"),
    ("quotes", "\""),
    ("tabs", "\t"),
    ("é", "é"),
    ("e, acute", "e\u{301}"),
    ("Greek", "ΐ"),
    ("Cyrillic", "г"),
    ("Hebrew", "ש"),
    ("Arabic, joiners", "م\u{200c}"),
    ("Devanagari, joiners", "क\u{94d}\u{200d}"),
    ("Devanagari, virama", "क\u{94d}"),
    ("Latin, marks", "a\u{331}\u{302}\u{301}\u{30c}"),
    ("Georgian", "ჯ"),
    ("Georgian, capitals", "Ჯ"),
    ("Ethiopic", "ኢ"),
    ("Han", "李"),
    ("Han, variants", "葛\u{e0100}"),
    ("rare Han", "𠮷"),
    ("rare Han, in names", "𠜎"),
    ("Katakana", "ガ"),
    ("Hangul", "꽦"),
    ("jamo", "\u{1101}\u{116b}\u{11b6}"),
    ("U+FDFA", "\u{fdfa}"),
    ("marks", "\u{301}\u{323}"),
    ("zero width", "\u{200b}"),
    ("emoji", "👩🏽\u{200d}❤\u{fe0f}"),
    ("flags", "🏴\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}"),
];

#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Text,
    Json,
    TextWs,
    JsonWs,
}

impl Dialect {
    const ALL: [Self; 4] = [Self::Text, Self::Json, Self::TextWs, Self::JsonWs];

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "JSON",
            Self::TextWs => "text, WebSocket",
            Self::JsonWs => "JSON, WebSocket",
        }
    }

    fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonWs)
    }

    /// How somebody begins; nameless unless there is a name.
    fn introduction(self, name: Option<&str>) -> Vec<u8> {
        let protocol = if self.is_json() { "roomd.json" } else { "roomd.text" };
        let hello = match (name, self.is_json()) {
            (Some(name), true) => format!(r#"{{"type":"hello","name":"{name}"}}"#),
            (Some(name), false) => name.to_owned(),
            (None, true) => r#"{"type":"nothing"}"#.to_owned(),
            (None, false) => "no name".to_owned(),
        };
        match self {
            Self::Text | Self::Json => self.frame(hello.as_bytes()),
            Self::TextWs | Self::JsonWs => {
                let head = format!(
                    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                     Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
                );
                [head.into_bytes(), self.frame(hello.as_bytes())].concat()
            }
        }
    }

    fn frame(self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Text | Self::Json => [content, b"\n"].concat(),
            Self::TextWs | Self::JsonWs => masked(0x81, content),
        }
    }
}

/// A WebSocket frame of a client (RFC 6455, section 5.2).
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        0..126 => frame.push(0x80 | payload.len() as u8),
        _ => {
            frame.push(0x80 | 126);
            frame.extend((payload.len() as u16).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What a client sends: first this, then that again and again.
#[derive(Clone, Default)]
struct Script {
    first: Vec<u8>,
    again: Vec<u8>,
    /// So many bytes come at once.
    piece: usize,
}

struct Client {
    script: Script,
    sent: usize,
    /// Bytes of `again` that all clients have sent.
    total: Rc<Cell<usize>>,
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Script { first, again, piece } = &self.script;
        if self.sent < first.len() {
            let count = buffer.len().min(first.len() - self.sent);
            buffer[..count].copy_from_slice(&first[self.sent..self.sent + count]);
            self.sent += count;
            return Ok(count);
        }
        if again.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut place = (self.sent - first.len()) % again.len();
        let count = buffer.len().min(*piece).min(READ_BYTES_MAX);
        for to in &mut buffer[..count] {
            *to = again[place];
            place = if place + 1 == again.len() { 0 } else { place + 1 };
        }
        self.sent += count;
        self.total.set(self.total.get() + count);
        Ok(count)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(divan::black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Client {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A machine whose clients do what their scripts say, and whose clock stands still.
#[derive(Default)]
struct Scripted {
    arriving: Vec<Script>,
    events: Vec<Event>,
    total: Rc<Cell<usize>>,
    ids: Vec<ConnectionId>,
}

impl Platform for Scripted {
    type Socket = Client;

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

    fn accept(&mut self, listener: usize) -> io::Result<(Client, Peer)> {
        let script = self.arriving.pop().ok_or(io::ErrorKind::WouldBlock)?;
        let client = Client { script, sent: 0, total: Rc::clone(&self.total) };
        Ok((client, Peer { listener: listener as u16, ..Peer::default() }))
    }

    fn close_listeners(&mut self) {}

    fn register(&mut self, _socket: &mut Client, id: ConnectionId) -> io::Result<()> {
        self.ids.push(id);
        Ok(())
    }

    fn reregister(&mut self, _socket: &mut Client, _id: ConnectionId, _writable: bool) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _socket: &mut Client) {}
}

type House = Reactor<Scripted, Server>;

fn readable(id: ConnectionId) -> Event {
    Event::Connection { id, readable: true, writable: false, read_closed: false, broken: false }
}

/// A server with the listeners in it.
fn house() -> House {
    let limits = Rc::new(Limits { rate: None, history: Some(50), ..Limits::default() });
    let config = Config { limits: Rc::clone(&limits), ..Config::default() };
    let mut house =
        Reactor::new(Scripted::default(), Server::new(config, Now::default()), Rc::clone(&limits));
    for dialect in Dialect::ALL {
        let name = format!("reader-{}", dialect as usize);
        come(&mut house, Script { first: dialect.introduction(Some(&name)), ..Script::default() });
    }
    for i in 0..LISTENERS {
        let first = Dialect::Text.introduction(Some(&format!("listener-{i}")));
        come(&mut house, Script { first, ..Script::default() });
    }
    house
}

/// Somebody comes, and is heard once.
fn come(house: &mut House, script: Script) -> ConnectionId {
    house.platform().arriving.push(script);
    house.platform().events = vec![Event::Listener(0)];
    house.turn().expect("nothing can break");
    let id = *house.platform().ids.last().expect("somebody who has come");
    house.platform().events = vec![readable(id)];
    for _ in 0..3 {
        house.turn().expect("nothing can break");
    }
    id
}

/// What an input costs.
struct Cost {
    bytes: usize,
    us: f64,
}

impl Cost {
    fn per_kib(&self) -> f64 {
        self.us * 1024.0 / self.bytes as f64
    }
}

/// Measures one script: bytes and microseconds of one of its `count` commands. Nothing if it is not let go on.
fn measure(script: Script, count: usize, is_test: bool) -> Cost {
    let (mut house, unit) = (house(), script.again.len());
    let closed = Cost { bytes: unit / count, us: 0.0 };
    come(&mut house, script);
    let total = Rc::clone(&house.platform().total);
    // From one read to another: what is between them is done whole.
    let mut next_read = || {
        let before = total.get();
        for turns in 0.. {
            house.turn().expect("nothing can break");
            if total.get() > before {
                break;
            }
            if turns == 10_000 {
                return None;
            }
        }
        Some(before)
    };
    // The best of some: the machine is noisy, and what disturbs is not what is measured.
    let mut us = f64::INFINITY;
    for _ in 0..if is_test { 1 } else { SLICES } {
        let (Some(before), started) = (next_read(), Instant::now()) else { return closed };
        let (read, spent) = loop {
            let Some(until) = next_read() else { return closed };
            let read = until - before;
            if is_test || started.elapsed() > SLICE_TIME {
                break (read, started.elapsed().as_secs_f64() * 1e6);
            }
        };
        us = us.min(spent * unit as f64 / read as f64 / count as f64);
    }
    Cost { bytes: unit / count, us }
}

/// A command: its name, whether only somebody without a name says it, and what it is with a filler in it.
struct Case {
    name: &'static str,
    is_nameless: bool,
    make: fn(&str) -> Vec<String>,
}

const fn case(name: &'static str, make: fn(&str) -> Vec<String>) -> Case {
    Case { name, is_nameless: false, make }
}

const TEXT: [Case; 14] = [
    Case { name: "a name", is_nameless: true, make: |x| vec![format!("{x} ")] },
    case("say", |x| vec![x.into()]),
    case("say, indented", |x| vec![format!("{x}.")]),
    case("/me", |x| vec![format!("/me {x}")]),
    case("/msg to nobody", |x| vec![format!("/msg {x} x")]),
    case("/msg", |x| vec![format!("/msg listener-1 {x}")]),
    case("/nick", |x| vec![format!("/nick {x}"), format!("/nick {x}2")]),
    case("/join", |x| vec![format!("/join {x}"), format!("/join {x}2")]),
    case("/history", |x| vec![format!("/history {x}")]),
    case("/who", |x| vec![format!("/who {x}")]),
    case("/rooms", |x| vec![format!("/rooms {x}")]),
    case("/ping", |x| vec![format!("/ping {x}")]),
    case("/help", |x| vec![format!("/help {x}")]),
    case("unknown", |x| vec![format!("/x{x}")]),
];

fn document(kind: &str, field: &str, value: &str) -> String {
    let value = serde_json::to_string(value).expect("a string");
    format!(r#"{{"type":"{kind}","{field}":{value}}}"#)
}

/// The same with everything escaped that can be.
fn escaped(kind: &str, field: &str, value: &str) -> String {
    let mut text = String::new();
    for unit in value.encode_utf16() {
        let _ = write!(text, "\\u{unit:04x}");
    }
    format!(r#"{{"type":"{kind}","{field}":"{text}"}}"#)
}

const JSON: [Case; 20] = [
    Case {
        name: "hello, nameless",
        is_nameless: true,
        make: |x| vec![document("hello", "name", &format!("{x} "))],
    },
    case("hello", |x| vec![document("hello", "name", x), document("hello", "name", &format!("{x}2"))]),
    case("public", |x| vec![document("public", "body", x)]),
    case("public, escaped", |x| vec![escaped("public", "body", x)]),
    case("action", |x| vec![document("action", "body", x)]),
    case("private to nobody", |x| vec![document("private\",\"body\":\"x", "to", x)]),
    case("private", |x| vec![document("private\",\"to\":\"listener-1", "body", x)]),
    case("nick", |x| vec![document("nick", "name", x), document("nick", "name", &format!("{x}2"))]),
    case("nick, escaped", |x| vec![escaped("nick", "name", x), document("nick", "name", &format!("{x}2"))]),
    case("join", |x| vec![document("join", "room", x), document("join", "room", &format!("{x}2"))]),
    case("history", |x| vec![document("history", "x", x)]),
    case("users", |x| vec![document("users", "x", x)]),
    case("rooms", |x| vec![document("rooms", "x", x)]),
    case("ping, ref", |x| vec![document("ping", "ref", x)]),
    case("unknown type", |x| vec![document(x, "x", "x")]),
    case("not JSON", |x| vec![format!("{{{x}")]),
    case("wrong at its end", |x| vec![document("public", "body", x).replace('}', ",")]),
    case("nested", |x| vec![format!(r#"{{"a":{}"#, "[".repeat(x.len()))]),
    case("many keys", |x| {
        vec![format!("{{{}", (0..x.len() / 6).fold(String::new(), |all, i| all + &format!(r#""{i:x}":0,"#)))]
    }),
    case("a list, wrong", |x| vec![format!(r#"{{"a":[{}0],"type":0}}"#, "0,".repeat(x.len() / 2))]),
];

/// As many fillers as make a line of so many bytes with all that is around them.
fn filled(make: fn(&str) -> Vec<String>, filler: &str, bytes_max: usize) -> Vec<String> {
    let mut count = bytes_max / filler.len();
    loop {
        let lines = make(&filler.repeat(count));
        let longest = lines.iter().map(String::len).max().unwrap_or(0);
        if longest <= bytes_max.max(1) || count <= 1 {
            return lines;
        }
        count -= (count * (longest - bytes_max) / longest).max(1);
    }
}

fn script(dialect: Dialect, is_nameless: bool, contents: &[Vec<u8>]) -> Script {
    let first = dialect.introduction((!is_nameless).then_some("talker"));
    let again = contents.iter().flat_map(|content| dialect.frame(content)).collect();
    Script { first, again, piece: usize::MAX }
}

fn print(dialect: &str, command: &str, input: &str, cost: &Cost) {
    let mark = if cost.bytes >= 1024 && cost.per_kib() > US_PER_KIB_MAX { " !" } else { "" };
    println!(
        "| {dialect:15} | {command:17} | {input:26} | {:6} | {:8.2} | {:8.1}{mark} |",
        cost.bytes,
        cost.us,
        cost.per_kib()
    );
}

/// Prints the table, or the rows of only one dialect. As a test, it only goes through every input once.
pub(crate) fn run(is_test: bool, only: Option<&str>) {
    println!(
        "| dialect         | command           | worst input                | bytes  | µs each  | µs/KiB   |"
    );
    println!("|---|---|---|---|---|---|");
    let is_wanted = |dialect: &str| only.is_none_or(|only| dialect == only);
    for dialect in Dialect::ALL.into_iter().filter(|dialect| is_wanted(dialect.name())) {
        let cases: &[Case] = if dialect.is_json() { &JSON } else { &TEXT };
        for case in cases {
            let of = |bytes_max: usize| {
                let costs = FILLERS.iter().map(|(name, filler)| {
                    let lines: Vec<Vec<u8>> = { filled(case.make, filler, bytes_max) }
                        .into_iter()
                        .map(String::into_bytes)
                        .collect();
                    (*name, measure(script(dialect, case.is_nameless, &lines), lines.len(), is_test))
                });
                costs.collect::<Vec<_>>()
            };
            let long = of(LONG_BYTES);
            let worst = long.iter().max_by(|a, b| a.1.per_kib().total_cmp(&b.1.per_kib()));
            if let Some((name, cost)) = worst {
                print(dialect.name(), case.name, &format!("{name}, long"), cost);
            }
            // Names have 32 characters at most; these are the longest good ones, and shorter than those.
            let mut short = of(24);
            short.extend(of(72));
            short.extend(of(128));
            if let Some((name, cost)) = short.iter().max_by(|a, b| a.1.us.total_cmp(&b.1.us)) {
                print(dialect.name(), case.name, &format!("{name}, short"), cost);
            }
        }
        bytes(dialect, is_test);
    }
    if is_wanted("HTTP") {
        heads(is_test);
    }
}

/// What is not made of text.
fn bytes(dialect: Dialect, is_test: bool) {
    let name = dialect.name();
    let line = |content: &[u8]| script(dialect, false, &[content.to_vec()]);
    let long =
        if dialect.is_json() { document("public", "body", &"x".repeat(4000)) } else { "x".repeat(4096) };
    print(name, "empty", "", &measure(line(b""), 1, is_test));
    if let Dialect::TextWs | Dialect::JsonWs = dialect {
        let with = |frames: Vec<u8>| Script { again: frames, ..line(b"") };
        print(name, "ping frame", "125 bytes", &measure(with(masked(0x89, &[b'x'; 125])), 1, is_test));
        let mut pieces = vec![masked(0x01, &long.as_bytes()[..64])];
        pieces.extend(long.as_bytes()[64..].chunks(64).map(|piece| masked(0x00, piece)));
        pieces.push(masked(0x80, b""));
        print(name, "fragments", "64 bytes each", &measure(with(pieces.concat()), 1, is_test));
    } else {
        print(name, "not UTF-8", "0xC3", &measure(line(&[0xC3; 4096]), 1, is_test));
        print(name, "telnet", "0xFF 0xF1", &measure(line(&[0xFF, 0xF1].repeat(2048)), 1, is_test));
        print(name, "too long", "64 KiB", &measure(line(&[b'x'; 60_000]), 1, is_test));
    }
    let piecemeal = Script { piece: 1, ..line(long.as_bytes()) };
    print(name, "byte by byte", "each read", &per_byte(&measure(piecemeal, 1, is_test)));
}

/// What each byte costs that comes alone: a turn of the loop, whatever is in it.
fn per_byte(cost: &Cost) -> Cost {
    Cost { bytes: 1, us: cost.us / cost.bytes as f64 }
}

/// HTTP, one request per connection.
fn heads(is_test: bool) {
    let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let cases = [
        ("the page", head(""), usize::MAX),
        ("many fields", head(&"a: b\r\n".repeat(60)), usize::MAX),
        ("too many fields", head(&"a:b\r\n".repeat(1500)), usize::MAX),
        ("a long field", head(&format!("a: {}\r\n", "x".repeat(8000))), usize::MAX),
        ("a long path", head("").replace("GET /", &format!("GET /{}", "%41".repeat(2600))), usize::MAX),
        (
            "a long name",
            format!(
                "GET /ws?{} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                "name=%EF%B7%BA&".repeat(480)
            ),
            usize::MAX,
        ),
        ("unfinished", format!("GET /{}", "x".repeat(8000)), 1),
        ("fields, unfinished", format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(60)), 1),
    ];
    for (name, head, piece) in cases {
        let (mut house, times) = (house(), if is_test { 1 } else { 50 });
        let started = Instant::now();
        for _ in 0..times {
            let bytes = head.clone().into_bytes();
            let script = if piece == 1 {
                Script { again: bytes, piece, ..Script::default() }
            } else {
                Script { first: bytes, ..Script::default() }
            };
            come(&mut house, script);
            // Byte by byte, or all at once, and no more than one request.
            for _ in 0..if piece == 1 { head.len().saturating_sub(4) } else { 0 } {
                house.turn().expect("nothing can break");
            }
        }
        let us = started.elapsed().as_secs_f64() * 1e6 / f64::from(times);
        let cost = Cost { bytes: head.len(), us };
        match piece {
            1 => print("HTTP", name, "byte by byte, each read", &per_byte(&cost)),
            _ => print("HTTP", name, "", &cost),
        }
    }
}
