//! The whole server, epoll aside, under random clients, hostile sockets and a fake clock.
//!
//! `ROOMD_SEED=7 cargo test --test simulation` runs one seed; `ROOMD_SEEDS` and `ROOMD_STEPS` change how
//! many, and how long. A failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "the files are parts of one test")]

mod busy;
mod conspirators;
mod readers;
mod scene;
#[path = "../sim/mod.rs"]
mod sim;

use std::collections::BTreeMap;

use std::rc::Rc;

use roomd::limits::Limits;
use roomd::reactor::Reactor;
use roomd::server::{Config, Server};
use serde_json::Value;
use sim::{Machine, Rng, SimPlatform};

type Loop = Reactor<SimPlatform, Server>;

const ROOMS: [&str; 2] = ["lobby", "dev"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Text,
    Json,
    WsText,
    WsJson,
}

/// One client: what it does, and what it has been told so far.
struct Client {
    pipe: usize,
    name: String,
    dialect: Dialect,
    /// Reads everything at once, always; such a client must never be closed.
    is_healthy: bool,
    /// Reads nothing at all until then (step).
    asleep_until: usize,
    raw: Vec<u8>,
    told: Vec<Told>,
    said: usize,
    has_ended: bool,
    was_reset: bool,
}

/// One thing a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Welcome { room: String, newest_id: Option<u64> },
    Older(String),
    Said { body: String, id: Option<u64> },
    Private(String),
    Gone { name: String, why: Option<String> },
    Refused(String),
    Bye,
    Other,
}

impl Client {
    fn frame(&self, line: &str) -> Vec<u8> {
        match self.dialect {
            Dialect::Text | Dialect::Json => format!("{line}\n").into_bytes(),
            Dialect::WsText | Dialect::WsJson => masked(line),
        }
    }

    fn hello(&self) -> Vec<u8> {
        let upgrade = |protocol: &str| {
            format!(
                "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
            )
        };
        let json = format!(r#"{{"type":"hello","name":"{}"}}"#, self.name);
        match self.dialect {
            Dialect::Text => self.frame(&self.name),
            Dialect::Json => self.frame(&json),
            // The first frame is glued to the request.
            Dialect::WsText => [upgrade("roomd.text").into_bytes(), self.frame(&self.name)].concat(),
            Dialect::WsJson => [upgrade("roomd.json").into_bytes(), self.frame(&json)].concat(),
        }
    }

    fn is_json(&self) -> bool {
        matches!(self.dialect, Dialect::Json | Dialect::WsJson)
    }

    fn say(&self, body: &str) -> Vec<u8> {
        let line = match self.is_json() {
            true => format!(r#"{{"type":"public","body":"{body}"}}"#),
            false => body.to_owned(),
        };
        self.frame(&line)
    }

    fn tell(&self, to: &str, body: &str) -> Vec<u8> {
        let line = match self.is_json() {
            true => format!(r#"{{"type":"private","to":"{to}","body":"{body}"}}"#),
            false => format!("/msg {to} {body}"),
        };
        self.frame(&line)
    }

    fn go(&self, room: &str) -> Vec<u8> {
        let line = match self.is_json() {
            true => format!(r#"{{"type":"join","room":"{room}"}}"#),
            false => format!("/join {room}"),
        };
        self.frame(&line)
    }

    /// Takes what arrived, as far as it is whole frames.
    fn hear(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        while let Some((content, used)) = self.next_frame() {
            self.raw.drain(..used);
            let told = match content.as_deref() {
                None => Told::Bye,
                Some(line) if self.is_json() => parse_json(line, &self.name),
                Some(line) => parse_text(line),
            };
            self.told.push(told);
        }
    }

    /// The content of the next frame (none for a close frame) and its length.
    fn next_frame(&self) -> Option<(Option<String>, usize)> {
        let raw = &self.raw[..];
        let text = |bytes: &[u8]| Some(String::from_utf8(bytes.to_vec()).expect("the server sends UTF-8"));
        if matches!(self.dialect, Dialect::Text | Dialect::Json) {
            let end = raw.iter().position(|&b| b == b'\n')?;
            return Some((text(&raw[..end]), end + 1));
        }
        if raw.starts_with(b"HTTP/1.1 ") {
            let end = raw.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
            assert!(raw.starts_with(b"HTTP/1.1 101 "));
            return Some((text(b"* upgraded").filter(|_| !self.is_json()).or(text(b"{}")), end));
        }
        let (&first, &second) = (raw.first()?, raw.get(1)?);
        let (length, start) = match second {
            126 => (usize::from(u16::from_be_bytes([*raw.get(2)?, *raw.get(3)?])), 4),
            small => (usize::from(small), 2),
        };
        let payload = raw.get(start..start + length)?;
        match first {
            0x81 => Some((text(payload), start + length)),
            0x88 => Some((None, start + length)),
            0x89 => Some((text(b"{}"), start + length)),
            other => panic!("an unexpected frame {other:#x}"),
        }
    }
}

fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn parse_text(line: &str) -> Told {
    if let Some(rest) = line.strip_prefix("* welcome ") {
        let room = rest.split_once('#').unwrap().1.split_once(',').unwrap().0;
        return Told::Welcome { room: room.into(), newest_id: None };
    }
    if let Some(rest) = line.strip_prefix("~ ") {
        return Told::Older(rest.rsplit(' ').next().unwrap().into());
    }
    if let Some(rest) = line.strip_prefix("! ") {
        return Told::Refused(rest.into());
    }
    if let Some(rest) = line.strip_prefix('@') {
        return Told::Private(rest.split_once(": ").unwrap().1.into());
    }
    if let Some((name, why)) = line.strip_prefix("* ").and_then(|rest| rest.split_once(" left")) {
        let why = why.strip_prefix(" (").map(|w| w.trim_end_matches(')').to_owned());
        return Told::Gone { name: name.into(), why };
    }
    if line.starts_with("* bye") || line == "* server is shutting down" {
        return Told::Bye;
    }
    match line.split_once(": ") {
        Some((_, body)) if !line.starts_with('*') => Told::Said { body: body.into(), id: None },
        _ => Told::Other,
    }
}

fn parse_json(line: &str, me: &str) -> Told {
    let value: Value = serde_json::from_str(line).expect("the server sends JSON");
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match text("type").as_str() {
        "hello" => Told::Welcome { room: text("room"), newest_id: value["id"].as_u64() },
        "public" => Told::Said { body: text("body"), id: value["id"].as_u64() },
        "private" if text("from") != me => Told::Private(text("body")),
        "leave" => Told::Gone { name: text("name"), why: value["why"].as_str().map(Into::into) },
        "error" => Told::Refused(text("code")),
        "bye" => Told::Bye,
        _ => Told::Other,
    }
}

/// One run.
struct Run {
    machine: Machine,
    server: Loop,
    clients: Vec<Client>,
    rng: Rng,
    /// Private messages: body, sender, receiver.
    privates: Vec<(String, usize, usize)>,
    step: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let machine = Machine::new(seed ^ 0xabcd);
        let limits = Rc::new(Limits {
            feed_bytes: Some(16 * 1024),
            max_line_bytes: 512,
            rate: None,
            // The clients here do not answer pings, and the clock runs fast.
            ping_after: None,
            dead_after: None,
            quiet_above: None,
            ..Limits::default()
        });
        let config = Config { limits: Rc::clone(&limits), ..Config::default() };
        let mut platform = SimPlatform(machine.clone());
        let server = Server::new(config, roomd::reactor::Platform::now(&mut platform));
        let server = Reactor::new(platform, server, limits);
        let mut run =
            Self { machine, server, clients: Vec::new(), rng: Rng(seed), privates: Vec::new(), step: 0 };
        // Two observers see everything there is to see.
        for room in ROOMS {
            let observer = run.connect(Dialect::Json, true);
            if room != ROOMS[0] {
                let go = run.clients[observer].go(room);
                run.machine.send(run.clients[observer].pipe, &go);
            }
            run.settle(5);
        }
        run.machine.world_mut().fault_percent = run.rng.below(30);
        run
    }

    fn connect(&mut self, dialect: Dialect, is_healthy: bool) -> usize {
        let capacity = if is_healthy { 1 << 20 } else { 50 + self.rng.below(3000) };
        let pipe = self.machine.connect(capacity);
        let client = Client {
            pipe,
            name: format!("c{}", self.clients.len()),
            dialect,
            is_healthy,
            asleep_until: 0,
            raw: Vec::new(),
            told: Vec::new(),
            said: 0,
            has_ended: false,
            was_reset: false,
        };
        self.machine.send(pipe, &client.hello());
        self.clients.push(client);
        self.clients.len() - 1
    }

    fn turn(&mut self) {
        self.server.turn().expect("the simulated selector does not break");
        self.server.net().check_invariants();
        self.server.handler().chat().check_invariants();
    }

    /// Everybody who is awake reads.
    fn hear(&mut self) {
        for client in &mut self.clients {
            if client.asleep_until > self.step || client.was_reset {
                continue;
            }
            let max = if client.is_healthy { usize::MAX } else { 1 + self.rng.below(2000) };
            let bytes = self.machine.receive(client.pipe, max);
            client.hear(&bytes);
        }
    }

    fn settle(&mut self, turns: usize) {
        for _ in 0..turns {
            self.turn();
            self.hear();
        }
    }

    fn act(&mut self) {
        let alive: Vec<usize> = (ROOMS.len()..self.clients.len())
            .filter(|&c| !self.clients[c].has_ended && !self.clients[c].was_reset)
            .collect();
        let action = self.rng.below(100);
        if alive.is_empty() || (action < 6 && self.clients.len() < 30) {
            let dialect = [Dialect::Text, Dialect::Json, Dialect::WsText, Dialect::WsJson][self.rng.below(4)];
            let is_healthy = self.rng.chance(50);
            self.connect(dialect, is_healthy);
            return;
        }
        let who = alive[self.rng.below(alive.len())];
        let client = &mut self.clients[who];
        let pipe = client.pipe;
        match action {
            6..75 => {
                let mut bytes = Vec::new();
                for _ in 0..=self.rng.below(if action > 70 { 60 } else { 4 }) {
                    let filler = "x".repeat(self.rng.below(60));
                    bytes.extend(client.say(&format!("{who}-{}-{filler}", client.said)));
                    client.said += 1;
                }
                self.machine.send(pipe, &bytes);
            }
            75..83 => {
                let to = self.rng.below(self.clients.len());
                let body = format!("psst-{}", self.privates.len());
                if to != who {
                    let bytes = self.clients[who].tell(&format!("c{to}"), &body);
                    self.machine.send(pipe, &bytes);
                    self.privates.push((body, who, to));
                }
            }
            83..88 => {
                let bytes = client.go(ROOMS[self.rng.below(2)]);
                self.machine.send(pipe, &bytes);
            }
            88..92 if !client.is_healthy => {
                client.asleep_until = self.step + self.rng.below(400);
            }
            92 if !client.is_healthy => {
                client.has_ended = true;
                client.was_reset = true;
                self.machine.close(pipe);
            }
            92..95 => {
                // The last line has no end; the connection's end is its end.
                if client.dialect == Dialect::Text {
                    let line = format!("{who}-{}-last", client.said);
                    client.said += 1;
                    self.machine.send(pipe, line.as_bytes());
                }
                client.has_ended = true;
                self.machine.end(pipe);
            }
            95..97 if !client.is_healthy => {
                client.was_reset = true;
                self.machine.reset(pipe);
            }
            97 if matches!(client.dialect, Dialect::Text | Dialect::Json) => {
                self.machine.send(pipe, &client.frame("x".repeat(600).as_str()));
            }
            _ => {}
        }
    }

    fn run(&mut self, steps: usize) {
        for step in 0..steps {
            self.step = step;
            for _ in 0..self.rng.below(3) {
                self.act();
            }
            self.machine.world_mut().now_ms += self.rng.below(30) as u64;
            self.turn();
            self.hear();
        }
        // Now everybody is awake and nothing fails any more.
        self.step = usize::MAX;
        self.machine.world_mut().fault_percent = 0;
        let mut written = u64::MAX;
        while written != self.server.net().counters().bytes_out {
            written = self.server.net().counters().bytes_out;
            self.settle(100);
        }
    }

    /// The bodies of all messages of a room, by id, as its observer was told.
    fn transcript(&self, observer: usize) -> Vec<String> {
        let mut transcript = Vec::new();
        let mut room = String::new();
        for told in &self.clients[observer].told {
            match told {
                Told::Welcome { room: entered, .. } => room.clone_from(entered),
                Told::Said { body, id } if room == ROOMS[observer] => {
                    transcript.push(body.clone());
                    assert_eq!(*id, Some(transcript.len() as u64), "ids count 1, 2, 3 …");
                }
                _ => {}
            }
        }
        transcript
    }

    fn check(&self) {
        let transcripts: Vec<Vec<String>> = (0..ROOMS.len()).map(|room| self.transcript(room)).collect();
        let place: BTreeMap<&str, (usize, usize)> = transcripts
            .iter()
            .enumerate()
            .flat_map(|(room, bodies)| bodies.iter().enumerate().map(move |(i, b)| (b.as_str(), (room, i))))
            .collect();
        let count: usize = transcripts.iter().map(Vec::len).sum();
        assert_eq!(place.len(), count, "a message was doubled");
        for (who, client) in self.clients.iter().enumerate() {
            self.check_heard(who, client, &transcripts, &place);
            self.check_said(who, client, &place);
        }
        self.check_privates();
    }

    /// What a client heard is what was said in its rooms, without a hole, a repetition or its own lines.
    fn check_heard(
        &self,
        who: usize,
        client: &Client,
        transcripts: &[Vec<String>],
        place: &BTreeMap<&str, (usize, usize)>,
    ) {
        let own = format!("{who}-");
        let (mut room, mut next) = (0, None);
        // Skips what the text dialect does not send: one's own lines.
        let skip_own = |room: usize, mut at: usize| {
            while !client.is_json() && transcripts[room].get(at).is_some_and(|b| b.starts_with(&own)) {
                at += 1;
            }
            at
        };
        for told in &client.told {
            match told {
                Told::Welcome { room: entered, newest_id } => {
                    room = ROOMS.iter().position(|name| name == entered).unwrap();
                    next = newest_id.map(|id| id as usize);
                }
                Told::Older(body) => next = Some(place[body.as_str()].1 + 1),
                Told::Said { body, id } => {
                    assert!(client.is_json() || !body.starts_with(&own), "{who} got its own line {body}");
                    let &(said_in, at) =
                        place.get(body.as_str()).unwrap_or_else(|| panic!("{body} from nowhere"));
                    assert_eq!(said_in, room, "{who} heard {body} through the wall");
                    if let Some(id) = id {
                        assert_eq!(*id, at as u64 + 1);
                    }
                    if let Some(next) = next {
                        assert_eq!(
                            at,
                            skip_own(room, next),
                            "{who} missed something before {body}, or heard it twice"
                        );
                    }
                    next = Some(at + 1);
                }
                _ => {}
            }
        }
        let stayed = !client.has_ended && !client.was_reset && !self.machine.is_at_end(client.pipe);
        if client.is_healthy {
            assert!(
                stayed || client.has_ended,
                "{who} read everything and was closed all the same: {:?}",
                &client.told[client.told.len().saturating_sub(3)..]
            );
        }
        if stayed && let Some(next) = next {
            assert_eq!(skip_own(room, next), transcripts[room].len(), "{who} stayed and missed the end");
        }
        if !stayed && !client.has_ended && !client.was_reset {
            // Who slept through the time for flushing cannot be told.
            let slept = client.asleep_until > 0;
            assert!(slept || client.told.contains(&Told::Bye), "{who} was closed and not told why");
            assert!(self.was_given_up(client), "{who} was closed and the room was not told");
        }
    }

    /// Whether an observer was told that this client was closed for being slow.
    fn was_given_up(&self, client: &Client) -> bool {
        let is_it = |t: &Told| matches!(t, Told::Gone { name, why: Some(why) } if *name == client.name && why == "slow");
        self.clients[..ROOMS.len()].iter().any(|observer| observer.told.iter().any(is_it))
    }

    /// Everything a client said was heard, in its order, unless its connection broke or was closed.
    fn check_said(&self, who: usize, client: &Client, place: &BTreeMap<&str, (usize, usize)>) {
        let mut heard: Vec<(usize, usize, usize)> = Vec::new();
        for (body, &(room, at)) in place.range(format!("{who}-").as_str()..) {
            let Some(rest) = body.strip_prefix(&format!("{who}-")) else { break };
            heard.push((rest.split('-').next().unwrap().parse().unwrap(), room, at));
        }
        heard.sort_unstable();
        let numbers: Vec<usize> = heard.iter().map(|&(number, ..)| number).collect();
        assert_eq!(numbers, (0..heard.len()).collect::<Vec<_>>(), "{who} said something that was lost");
        for room in 0..ROOMS.len() {
            assert!(heard.iter().filter(|h| h.1 == room).map(|h| h.2).is_sorted(), "{who}'s order");
        }
        if !client.was_reset && !self.was_given_up(client) {
            assert_eq!(heard.len(), client.said, "{who} was not heard to the end");
        }
    }

    fn check_privates(&self) {
        for (body, from, to) in &self.privates {
            let heard = self
                .clients
                .iter()
                .map(|c| c.told.iter().filter(|t| **t == Told::Private(body.clone())).count());
            let heard: Vec<usize> = heard.collect();
            let (from, receiver) = (&self.clients[*from], &self.clients[*to]);
            assert!(
                heard.iter().enumerate().all(|(c, &count)| count == 0 || (c == *to && count == 1)),
                "{body} leaked"
            );
            let arrived = !from.was_reset && !self.was_given_up(from);
            let is_refused = from
                .told
                .iter()
                .any(|t| matches!(t, Told::Refused(text) if text.starts_with("no-such-user")));
            if arrived && receiver.is_healthy && !receiver.has_ended && !is_refused {
                assert_eq!(heard[*to], 1, "{body} was lost");
            }
        }
    }

    /// Everybody leaves: nothing may remain.
    fn check_leaves_nothing(&mut self) {
        for client in &self.clients {
            self.machine.end(client.pipe);
        }
        self.settle(100);
        // A minute, while the loop is awake.
        for _ in 0..120 {
            self.machine.world_mut().now_ms += 500;
            self.settle(1);
        }
        assert_eq!(self.server.net().connections(), 0, "a connection remained");
        assert_eq!(self.server.net().buffered_bytes(), 0, "bytes remained");
        assert_eq!(self.server.handler().chat().members(), 0, "a member remained");
        let idle = self.machine.world().idle_waits;
        self.settle(3);
        assert_eq!(self.machine.world().idle_waits, idle + 3, "the idle loop wakes up for nothing");
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Otherwise it stays for the whole time that flushing may take, and a shutdown with it.
#[test]
fn a_peer_that_cannot_be_written_to_is_gone_when_it_was_read_to_its_end() {
    let mut run = Run::new(1);
    run.machine.world_mut().fault_percent = 0;
    let quitter = run.connect(Dialect::Text, true);
    run.settle(5);
    run.machine.send(run.clients[quitter].pipe, b"/ping\nlast words");
    run.machine.close(run.clients[quitter].pipe);
    let before = run.machine.world().now_ms;
    while run.server.net().connections() > ROOMS.len() {
        run.settle(1);
    }
    assert!(run.machine.world().now_ms - before < 1000, "it stayed");
    let is_heard = |told: &Told| matches!(told, Told::Said { body, .. } if body == "last words");
    assert!(run.clients[0].told.iter().any(is_heard), "what it said before it went away is lost");
}

/// Saying good-bye carries out what waits, in mid-turn. That used to be forgotten when the turn's budget
/// was counted, and a crowd that spoke and left pushed every reader off the tail of its feed.
#[test]
fn a_crowd_that_speaks_and_leaves_in_one_turn_cuts_nobody() {
    let mut run = Run::new(1);
    run.machine.world_mut().fault_percent = 0;
    let leavers: Vec<usize> = (0..60).map(|_| run.connect(Dialect::Text, true)).collect();
    run.settle(10);
    for leaver in leavers {
        let lines: String = (0..9).map(|i| format!("{leaver}-{i}-{}\n", "x".repeat(440))).collect();
        run.machine.send(run.clients[leaver].pipe, format!("{lines}/quit\n").as_bytes());
    }
    run.settle(200);
    assert_eq!(run.server.net().counters().lost_slow, 0);
    let heard = run.clients[0].told.iter().filter(|told| matches!(told, Told::Said { .. })).count();
    assert_eq!(heard, 60 * 9);
}

#[test]
fn everybody_hears_everything_once_and_in_order() {
    let seeds = match number("ROOMD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROOMD_SEEDS").unwrap_or(200),
    };
    let steps = number("ROOMD_STEPS").unwrap_or(400) as usize;
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            run.run(steps);
            run.check();
            run.check_leaves_nothing();
        });
        assert!(
            outcome.is_ok(),
            "failed: ROOMD_SEED={seed} ROOMD_STEPS={steps} cargo test --test simulation"
        );
    }
}
