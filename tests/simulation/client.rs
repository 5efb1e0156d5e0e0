//! A chat client in each dialect: what it says, and what it is told.

use serde_json::Value;

use roomd::reactor::simulated::Machine;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Text,
    Json,
    LengthText,
    LengthJson,
    WsText,
    WsJson,
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
    pub said: usize,
    pub has_ended: bool,
    pub has_quit: bool,
    pub was_reset: bool,
    /// It may have been in a room that nobody observes.
    pub went_aside: bool,
    /// How many are in its room, by what it was told (JSON).
    pub members: i64,
}

/// One thing a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Welcome { room: String, newest_id: Option<u64> },
    Older(String),
    Said { body: String, id: Option<u64> },
    Private(String),
    Gone { name: String, why: Option<String> },
    Refused(String),
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
            said: 0,
            has_ended: false,
            has_quit: false,
            was_reset: false,
            went_aside: false,
            members: 0,
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
            Dialect::WsText | Dialect::WsJson => masked(line),
        }
    }

    pub fn hello(&self) -> Vec<u8> {
        let json = json_hello(self.name());
        match self.dialect {
            Dialect::Text | Dialect::LengthText => self.frame(self.name()),
            Dialect::Json | Dialect::LengthJson => self.frame(&json),
            // The first frame is glued to the request.
            Dialect::WsText => [upgrade("roomd.text"), self.frame(self.name())].concat(),
            Dialect::WsJson => [upgrade("roomd.json"), self.frame(&json)].concat(),
        }
    }

    pub fn is_json(&self) -> bool {
        matches!(self.dialect, Dialect::Json | Dialect::LengthJson | Dialect::WsJson)
    }

    pub fn say(&self, body: &str) -> Vec<u8> {
        let line = match self.is_json() {
            true => format!(r#"{{"type":"public","body":"{body}"}}"#),
            false => body.to_owned(),
        };
        self.frame(&line)
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
                Frame::Text(line) if self.is_json() => {
                    self.count_members(&line);
                    self.told.push(parse_json(&line, &self.names));
                }
                Frame::Text(line) => self.told.push(parse_text(&line)),
            }
        }
    }

    fn count_members(&mut self, line: &str) {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("this is no JSON: {line:?}"));
        let number = |field: &str| value[field].as_i64().unwrap_or_default();
        match value["type"].as_str() {
            Some("hello") => self.members = number("total"),
            Some("join") => self.members += 1,
            Some("leave") => self.members -= 1,
            Some("presence") => self.members += number("joined") - number("left"),
            _ => {}
        }
    }

    /// How many lines it was told that nobody heard.
    pub fn dropped(&self) -> usize {
        let number = |told: &Told| -> Option<usize> {
            match told {
                Told::Refused(text) => text.strip_prefix("dropped: ")?.split(' ').next()?.parse().ok(),
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
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
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
    if line == "* server is shutting down" {
        return Told::Bye("shutdown");
    }
    if let Some(why) = line.strip_prefix("* bye") {
        return Told::Bye(["slow", "timeout"].into_iter().find(|w| why.contains(w)).unwrap_or("quit"));
    }
    match line.split_once(": ") {
        Some((_, body)) if !line.starts_with('*') => Told::Said { body: body.into(), id: None },
        _ => Told::Other,
    }
}

fn parse_json(line: &str, me: &[String]) -> Told {
    let value: Value = serde_json::from_str(line).expect("the server sends JSON");
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match text("type").as_str() {
        "hello" => Told::Welcome { room: text("room"), newest_id: value["id"].as_u64() },
        "public" => Told::Said { body: text("body"), id: value["id"].as_u64() },
        "private" if !me.contains(&text("from")) => Told::Private(text("body")),
        "leave" => Told::Gone { name: text("name"), why: value["why"].as_str().map(Into::into) },
        "error" => Told::Refused(format!("{}: {}", text("code"), text("text"))),
        "bye" => match text("why").as_str() {
            "slow" => Told::Bye("slow"),
            "timeout" => Told::Bye("timeout"),
            "shutdown" => Told::Bye("shutdown"),
            _ => Told::Bye("quit"),
        },
        _ => Told::Other,
    }
}
