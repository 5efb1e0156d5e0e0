//! A chat client in each dialect: what it says, and what it is told.

use serde_json::{Value, json};

use roomd::reactor::simulated::Machine;

/// The reference of a `hello` that says all the rooms its sender wants to be in.
const ALL: &str = "all";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Text,
    Json,
    LengthText,
    LengthJson,
    WsText,
    WsJson,
    /// Text on WebSocket for whoever does not say which subprotocol it speaks: it hears its own messages, too.
    WsEcho,
}

/// What kind of client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// Takes everything that it is offered, always; such a client must never be closed.
    Healthy,
    /// As healthy, but it says nothing and does not answer pings.
    Mute,
    /// Takes a part, or sleeps, or breaks off.
    Sick,
}

/// One client: what it does, and what it has been told so far.
pub struct Client {
    pub pipe: usize,
    /// What it came as, and what it wanted to be called later.
    pub names: Vec<String>,
    pub dialect: Dialect,
    pub temper: Temper,
    /// It may say as much as it likes.
    pub is_exempt: bool,
    /// Reads nothing at all until then (step).
    pub asleep_until: usize,
    raw: Vec<u8>,
    pub told: Vec<Told>,
    /// The messages that it has said, by number: each with the room that it named, if it named one.
    pub said: Vec<Option<String>>,
    /// Each question whether the server is there: how many messages it had said before it asked.
    pub pings: Vec<usize>,
    pub has_ended: bool,
    pub has_quit: bool,
    pub was_reset: bool,
    /// It may have been in a room that nobody observes.
    pub went_aside: bool,
    /// Where it has asked to be, and did not leave since.
    pub wants: Vec<&'static str>,
}

/// One thing a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// This is its current room. It is in no other one but those that are listed next, if it has asked for that.
    Welcome {
        room: String,
        newest_id: Option<u64>,
        is_all: bool,
    },
    /// It is in this room, too.
    Also {
        room: String,
        newest_id: Option<u64>,
    },
    /// It is in this room no more.
    Left(String),
    Older(String),
    /// What everybody in a room is told, as it stands: a line, or a document.
    Heard(String),
    Private(String),
    /// What it asked for with this reference was refused.
    Refused {
        text: String,
        reference: String,
    },
    /// What it asked for with this reference was done.
    Done(String),
    Pong,
    Bye(&'static str),
    Other,
}

impl Client {
    pub fn new(pipe: usize, name: String, dialect: Dialect, temper: Temper, is_exempt: bool) -> Self {
        Self {
            pipe,
            names: vec![name],
            dialect,
            temper,
            is_exempt,
            asleep_until: 0,
            raw: Vec::new(),
            told: Vec::new(),
            said: Vec::new(),
            pings: Vec::new(),
            has_ended: false,
            has_quit: false,
            was_reset: false,
            went_aside: false,
            wants: Vec::new(),
        }
    }

    /// Whether it is still there, and may say something.
    pub fn is_up(&self) -> bool {
        !self.has_ended && !self.has_quit && !self.was_reset
    }

    /// What it is called, if it was renamed as it wanted.
    pub fn name(&self) -> &str {
        &self.names[self.names.len() - 1]
    }

    pub fn frame(&self, line: &str) -> Vec<u8> {
        match self.dialect {
            Dialect::Text | Dialect::Json => format!("{line}\n").into_bytes(),
            Dialect::LengthText | Dialect::LengthJson => prefixed(line),
            Dialect::WsText | Dialect::WsJson | Dialect::WsEcho => masked(line),
        }
    }

    /// Who it is; a program says in which rooms it wants to be, too, if there are any.
    pub fn hello(&self, rooms: &[&str]) -> Vec<u8> {
        let json = if rooms.is_empty() { json_hello(self.name()) } else { self.settle_document(rooms) };
        match self.dialect {
            Dialect::Text | Dialect::LengthText => self.frame(self.name()),
            Dialect::Json | Dialect::LengthJson => self.frame(&json),
            // The first frame is glued to the request.
            Dialect::WsText => [upgrade("roomd.text"), self.frame(self.name())].concat(),
            Dialect::WsJson => [upgrade("roomd.json"), self.frame(&json)].concat(),
            Dialect::WsEcho => upgrade_of(&format!("/ws?name={}", self.name()), ""),
        }
    }

    pub fn is_json(&self) -> bool {
        matches!(self.dialect, Dialect::Json | Dialect::LengthJson | Dialect::WsJson)
    }

    /// Whether it hears its own messages.
    pub fn echoes(&self) -> bool {
        self.is_json() || self.dialect == Dialect::WsEcho
    }

    /// A program that is in these rooms and no others from now on, the first of which is its current one.
    pub fn settle(&self, rooms: &[&str]) -> Vec<u8> {
        self.frame(&self.settle_document(rooms))
    }

    fn settle_document(&self, rooms: &[&str]) -> String {
        let name = self.name();
        match rooms {
            [room] => json!({ "type": "hello", "name": name, "room": room, "ref": ALL }).to_string(),
            rooms => json!({ "type": "hello", "name": name, "rooms": rooms, "ref": ALL }).to_string(),
        }
    }

    /// Says something to its current room; a program may name one.
    pub fn say(&self, body: &str, room: Option<&str>) -> Vec<u8> {
        let (first, _) = body.split_once('\n').unwrap_or((body, ""));
        let (number, _) = first.rsplit_once('-').unwrap_or((first, ""));
        let line = match (self.is_json(), room) {
            (true, Some(room)) => {
                json!({ "type": "public", "body": body, "ref": number, "room": room }).to_string()
            }
            (true, None) => json!({ "type": "public", "body": body, "ref": number }).to_string(),
            (false, _) => body.to_owned(),
        };
        self.frame(&line)
    }

    pub fn ping(&self) -> Vec<u8> {
        self.frame(if self.is_json() { r#"{"type":"ping"}"# } else { "/ping" })
    }

    pub fn tell(&self, to: &str, body: &str) -> Vec<u8> {
        let line = match self.is_json() {
            true => format!(r#"{{"type":"private","to":"{to}","body":"{body}"}}"#),
            false => format!("/msg {to} {body}"),
        };
        self.frame(&line)
    }

    pub fn go(&self, room: &str) -> Vec<u8> {
        let line = match self.is_json() {
            true => format!(r#"{{"type":"join","room":"{room}"}}"#),
            false => format!("/join {room}"),
        };
        self.frame(&line)
    }

    /// Leaves a room, or its current one.
    pub fn leave(&self, room: Option<&str>) -> Vec<u8> {
        let line = match (self.is_json(), room) {
            (true, Some(room)) => format!(r#"{{"type":"leave","room":"{room}"}}"#),
            (true, None) => r#"{"type":"leave"}"#.to_owned(),
            (false, room) => format!("/leave {}", room.unwrap_or_default()),
        };
        self.frame(&line)
    }

    pub fn rename(&self, to: &str) -> Vec<u8> {
        let line = match self.is_json() {
            true => format!(r#"{{"type":"nick","name":"{to}"}}"#),
            false => format!("/nick {to}"),
        };
        self.frame(&line)
    }

    pub fn quit(&self) -> Vec<u8> {
        self.frame(if self.is_json() { r#"{"type":"quit"}"# } else { "/quit" })
    }

    /// Takes up to `max` bytes of what has arrived, as far as it is whole frames, and answers pings.
    pub fn hear(&mut self, machine: &Machine, max: usize) {
        self.raw.extend_from_slice(&machine.receive(self.pipe, max));
        while let Some((frame, used)) = self.next_frame() {
            self.raw.drain(..used);
            match frame {
                Frame::Ping if self.temper != Temper::Mute => machine.send(self.pipe, &PONG),
                Frame::Ping => {}
                Frame::Close => self.told.push(Told::Other),
                Frame::Text(line) if self.is_json() => self.told.push(parse_json(&line, &self.names)),
                Frame::Text(line) => self.told.push(parse_text(&line)),
            }
        }
    }

    /// Whether it has heard a part of a frame, and not the rest.
    pub fn is_inside_frame(&self) -> bool {
        !self.raw.is_empty()
    }

    /// How many lines it was told that nobody heard.
    pub fn dropped(&self) -> usize {
        let number = |told: &Told| -> Option<usize> {
            match told {
                Told::Refused { text, .. } => text.strip_prefix("dropped: ")?.split(' ').next()?.parse().ok(),
                _ => None,
            }
        };
        self.told.iter().filter_map(number).sum()
    }

    /// The next frame and its length.
    fn next_frame(&self) -> Option<(Frame, usize)> {
        let raw = &self.raw[..];
        let text =
            |bytes: &[u8]| Frame::Text(String::from_utf8(bytes.to_vec()).expect("the server sends UTF-8"));
        if matches!(self.dialect, Dialect::Text | Dialect::Json) {
            let end = raw.iter().position(|&b| b == b'\n')?;
            return Some((text(&raw[..end]), end + 1));
        }
        if matches!(self.dialect, Dialect::LengthText | Dialect::LengthJson) {
            let (length, payload) = raw.split_first_chunk::<4>()?;
            let length = u32::from_be_bytes(*length) as usize;
            return Some((text(payload.get(..length)?), 4 + length));
        }
        if raw.starts_with(b"HTTP/1.1 ") {
            let end = raw.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
            assert!(raw.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(raw));
            return Some((text(if self.is_json() { b"{}" } else { b"* upgraded" }), end));
        }
        let (&first, &second) = (raw.first()?, raw.get(1)?);
        let (length, start) = match second {
            126 => (usize::from(u16::from_be_bytes([*raw.get(2)?, *raw.get(3)?])), 4),
            small => (usize::from(small), 2),
        };
        let payload = raw.get(start..start + length)?;
        let frame = match first {
            0x81 => text(payload),
            0x88 => Frame::Close,
            0x89 => Frame::Ping,
            other => panic!("an unexpected frame {other:#x}"),
        };
        Some((frame, start + length))
    }
}

/// What the server sends.
enum Frame {
    Text(String),
    Ping,
    Close,
}

/// A masked pong without a payload.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// A frame with its length in front.
pub fn prefixed(line: &str) -> Vec<u8> {
    [&(line.len() as u32).to_be_bytes()[..], line.as_bytes()].concat()
}

/// The request that turns a connection into a WebSocket.
pub fn upgrade(protocol: &str) -> Vec<u8> {
    upgrade_of("/ws", &format!("Sec-WebSocket-Protocol: {protocol}\r\n"))
}

fn upgrade_of(target: &str, more: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {more}\r\n"
    )
    .into_bytes()
}

pub fn json_hello(name: &str) -> String {
    format!(r#"{{"type":"hello","name":"{name}"}}"#)
}

/// A text frame as clients send them, with a mask of zeros.
pub fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn parse_text(line: &str) -> Told {
    if let Some(rest) = line.strip_prefix("* welcome ") {
        let room = rest.split_once('#').unwrap().1.split_once(',').unwrap().0;
        return Told::Welcome { room: room.into(), newest_id: None, is_all: false };
    }
    if let Some(room) = line.strip_prefix("* you left #") {
        return Told::Left(room.into());
    }
    if let Some(rest) = line.strip_prefix("~ ") {
        return Told::Older(rest.rsplit(' ').next().unwrap().into());
    }
    if let Some(rest) = line.strip_prefix("! ") {
        return Told::Refused { text: rest.into(), reference: String::new() };
    }
    if let Some(rest) = line.strip_prefix('@') {
        return Told::Private(rest.split_once(": ").unwrap().1.into());
    }
    if let Some(why) = line.strip_prefix("* bye") {
        return Told::Bye(["slow", "timeout"].into_iter().find(|w| why.contains(w)).unwrap_or("quit"));
    }
    match line {
        "* pong" => Told::Pong,
        "* server is shutting down" => Told::Bye("shutdown"),
        "* upgraded" => Told::Other,
        line if line.starts_with("* roomd ") => Told::Other,
        line => Told::Heard(line.into()),
    }
}

fn parse_json(line: &str, me: &[String]) -> Told {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("this is no JSON: {line:?}"));
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let newest_id = value["id"].as_u64();
    match text("type").as_str() {
        "hello" => Told::Welcome { room: text("room"), newest_id, is_all: text("ref") == ALL },
        "room" => Told::Also { room: text("room"), newest_id },
        "leave" if me.contains(&text("name")) => Told::Left(text("room")),
        "public" | "join" | "leave" | "nick" | "presence" => Told::Heard(line.into()),
        "private" if !me.contains(&text("from")) => Told::Private(text("body")),
        "error" => {
            Told::Refused { text: format!("{}: {}", text("code"), text("text")), reference: text("ref") }
        }
        "ack" => Told::Done(text("ref")),
        "pong" => Told::Pong,
        "bye" => Told::Bye(match text("why").as_str() {
            "slow" => "slow",
            "timeout" => "timeout",
            "shutdown" => "shutdown",
            _ => "quit",
        }),
        _ => Told::Other,
    }
}
