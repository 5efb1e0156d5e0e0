//! The dialects: how a client of each kind of server says who it is, sends, and is spoken to.
//!
//! A dialect turns intentions into bytes and a line or frame from the server into a [`Notice`]. It
//! knows nothing of sockets. Messages of the run are recognised before it is asked, by
//! [`Payload::find`](super::payload::Payload::find), alike in all dialects.

use std::fmt;
use std::rc::Rc;

use clap::ValueEnum;

use super::websocket;
use crate::wire::json::RequestDocument;
use crate::wire::{Content, Framing, length};

/// Which protocol the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Dialect {
    /// roomd's text lines, what netcat speaks: a sender does not get its own line back
    Text,
    /// roomd's JSON lines: a sender gets its own message back
    Json,
    /// roomd's text with the length of each line in front, in four bytes
    LengthText,
    /// roomd's JSON with the length of each object in front
    LengthJson,
    /// WebSocket without subprotocol, as hub-style servers speak it: each text frame is a message,
    /// and a sender gets its own back
    WsText,
    /// WebSocket with the subprotocol roomd.json
    WsJson,
    /// IRC: ngircd, InspIRCd
    Irc,
    /// Redis pub/sub: senders only publish
    Redis,
    /// NATS core: senders only publish
    Nats,
    /// The floor of benches/floor.rs: senders only publish
    Floor,
}

/// What a line or frame that is no message of the run means to the client that got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Nothing more to do; the answer, if any, is in the output.
    Idle,
    /// The client is welcome in a room; see [`Dialect::welcomes`].
    Welcome,
    /// The server refused something or says good-bye: the line tells what.
    Refused,
}

/// Who a client is and where it wants to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// 9 characters, the longest nick every IRC server takes.
    pub(super) name: String,
    /// Its rooms, without `#`, in the order of entering them. It speaks in the last one.
    pub(super) rooms: Box<[Rc<str>]>,
    /// How often it was welcome so far.
    pub(super) welcomes: usize,
    /// It subscribes (always, where members and senders are the same kind of client).
    pub(super) listens: bool,
}

impl Entry {
    /// The room that it enters first.
    fn first_room(&self) -> &str {
        self.rooms.first().map_or("", |room| room)
    }

    /// The room that it speaks in.
    fn own_room(&self) -> &str {
        self.rooms.last().map_or("", |room| room)
    }

    /// The room that is its current one by text, where every welcome is to the next room.
    fn current_room(&self) -> &str {
        self.rooms.get(self.welcomes.saturating_sub(1)).map_or("", |room| room)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl Dialect {
    /// How what is said is cut into units.
    pub(super) fn framing(self) -> Framing {
        match self {
            Self::LengthText | Self::LengthJson => Framing::Length,
            Self::WsText | Self::WsJson => Framing::WebSocket,
            Self::Text | Self::Json | Self::Irc | Self::Redis | Self::Nats | Self::Floor => Framing::Line,
        }
    }

    /// What roomd's units hold; `None` if roomd does not speak it.
    fn content(self) -> Option<Content> {
        match self {
            Self::Text | Self::LengthText | Self::WsText => Some(Content::Text),
            Self::Json | Self::LengthJson | Self::WsJson => Some(Content::Json),
            Self::Irc | Self::Redis | Self::Nats | Self::Floor => None,
        }
    }

    /// Whether roomd speaks it.
    pub(super) fn is_of_roomd(self) -> bool {
        self.content().is_some()
    }

    /// Whether there is more than one room.
    pub(super) fn has_rooms(self) -> bool {
        self != Self::Floor
    }

    /// Whether a sender gets its own messages back.
    pub(super) fn own_comes_back(self) -> bool {
        self == Self::WsText || self.content() == Some(Content::Json)
    }

    /// Whether senders are members that get the messages of the other senders.
    pub(super) fn senders_listen(self) -> bool {
        !matches!(self, Self::Redis | Self::Nats | Self::Floor)
    }

    /// The largest body one line of the dialect holds, in bytes.
    pub(super) fn body_size_max(self) -> usize {
        match self {
            Self::Irc => 400,
            _ => super::payload::SIZE_MAX,
        }
    }

    /// What a client says as soon as it is connected. For WebSocket that is the HTTP request.
    pub(super) fn open(self, entry: &Entry, host: &str, out: &mut Vec<u8>) {
        let (name, room) = (&entry.name, entry.first_room());
        let text = match self {
            Self::Text | Self::LengthText => return self.frame(&[name.as_bytes()], out),
            Self::Json | Self::LengthJson => return self.hello(entry, false, out),
            Self::WsText => websocket::request(host, &format!("/ws?name={name}&room={room}"), None),
            Self::WsJson => websocket::request(host, "/ws", Some("roomd.json")),
            Self::Irc => format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n"),
            Self::Redis if entry.listens => {
                format!("*2\r\n$9\r\nSUBSCRIBE\r\n{}", redis_room(room))
            }
            Self::Redis => "*1\r\n$4\r\nPING\r\n".into(),
            Self::Nats if entry.listens => format!("{NATS_CONNECT}SUB {room} 1\r\nPING\r\n"),
            Self::Nats => format!("{NATS_CONNECT}PING\r\n"),
            Self::Floor if entry.listens => "s\n".into(),
            Self::Floor => "p\n".into(),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// What a WebSocket client says after the upgrade; says whether it is in its first room already.
    pub(super) fn open_upgraded(self, entry: &Entry, out: &mut Vec<u8>) -> bool {
        if self == Self::WsJson {
            self.hello(entry, false, out);
        }
        self == Self::WsText
    }

    /// What a client says in its first room to get into the others.
    pub(super) fn open_others(self, entry: &Entry, out: &mut Vec<u8>) {
        match self.content() {
            Some(Content::Json) => self.hello(entry, true, out),
            _ => entry.rooms.iter().skip(1).for_each(|room| self.frame(&[b"/join ", room.as_bytes()], out)),
        }
    }

    /// How often a client has been welcome when it is in so many `rooms`.
    pub(super) fn welcomes(self, rooms: usize) -> usize {
        match self.content() {
            // The second `hello` is answered by a `hello`, and by a `room` for each.
            Some(Content::Json) if rooms > 1 => 2 + rooms,
            _ => rooms,
        }
    }

    /// Says in JSON who it is and that it wants to be in its first room, or in all.
    fn hello(self, entry: &Entry, in_all: bool, out: &mut Vec<u8>) {
        let room = if in_all { entry.own_room() } else { entry.first_room() };
        let rooms = in_all.then(|| entry.rooms.iter().map(|room| (**room).to_owned()).collect());
        let hello = RequestDocument::Hello {
            name: entry.name.clone(),
            room: Some(room.to_owned()),
            rooms,
            session: None,
        };
        self.frame(&[hello.to_line(None).trim_end().as_bytes()], out);
    }

    /// Appends the message `body` for the room that the client speaks in.
    pub(super) fn write_message(self, entry: &Entry, body: &[u8], out: &mut Vec<u8>) {
        let (room, size) = (entry.own_room(), body.len());
        let (before, after) = match self {
            Self::Text | Self::LengthText | Self::WsText | Self::Floor => (String::new(), ""),
            Self::Json | Self::LengthJson | Self::WsJson if entry.rooms.len() > 1 => {
                (format!(r#"{{"type":"public","room":"{room}","body":""#), "\"}")
            }
            Self::Json | Self::LengthJson | Self::WsJson => (r#"{"type":"public","body":""#.into(), "\"}"),
            Self::Irc => (format!("PRIVMSG #{room} :"), "\r"),
            Self::Redis => (format!("*3\r\n$7\r\nPUBLISH\r\n{}${size}\r\n", redis_room(room)), "\r"),
            Self::Nats => (format!("PUB {room} {size}\r\n"), "\r"),
        };
        self.frame(&[before.as_bytes(), body, after.as_bytes()], out);
    }

    /// Appends one unit, made of `parts` end to end.
    fn frame(self, parts: &[&[u8]], out: &mut Vec<u8>) {
        match self.framing() {
            Framing::Line => {
                parts.iter().for_each(|part| out.extend_from_slice(part));
                out.push(b'\n');
            }
            Framing::Length => length::frame(out, &parts.concat()),
            Framing::WebSocket => websocket::write_text(parts, out),
        }
    }

    /// Whether `unit` repeats older messages, which are not deliveries.
    pub(super) fn is_history(self, unit: &[u8]) -> bool {
        match self.content() {
            Some(Content::Text) => unit.first() == Some(&b'~'),
            Some(Content::Json) => json_type(unit) == Some(b"history"),
            Some(Content::Labelled) | None => false,
        }
    }

    /// Whether what stands `before` the body of a message says that it is one of `room`.
    pub(super) fn is_of_room(self, before: &[u8], room: &str, entry: &Entry) -> bool {
        match self.content() {
            Some(Content::Text) if room == entry.current_room() => before.first() != Some(&b'#'),
            Some(Content::Text) => {
                let label = before.strip_prefix(b"#").and_then(|rest| rest.strip_prefix(room.as_bytes()));
                label.is_some_and(|rest| rest.first() == Some(&b' '))
            }
            Some(Content::Json) => {
                let end = before.len().saturating_sub(BEHIND_ROOM.len());
                let named = before[..end].strip_suffix(room.as_bytes());
                named.is_some_and(|before| before.ends_with(br#""room":""#))
            }
            // What is heard by others is of the room it was sent to, or there is but one.
            Some(Content::Labelled) | None => true,
        }
    }

    /// What `line`, which is no message of the run, means; an answer to it is appended to `out`.
    pub(super) fn notice(self, line: &[u8], entry: &Entry, out: &mut Vec<u8>) -> Notice {
        match self {
            Self::Text | Self::LengthText => self.text_notice(line, entry, out),
            Self::WsText if line.first() == Some(&b'!') => Notice::Refused,
            // It named its first room in the request, and the upgrade let it in.
            Self::WsText if is_welcome(line, entry.rooms.get(1..).unwrap_or_default()) => Notice::Welcome,
            Self::WsText => Notice::Idle,
            Self::Json | Self::LengthJson | Self::WsJson => match json_type(line) {
                Some(b"hello" | b"room") => Notice::Welcome,
                Some(b"error" | b"bye") => Notice::Refused,
                _ => Notice::Idle,
            },
            Self::Irc => irc_notice(line, entry, out),
            Self::Redis => match line.first() {
                // ":1" ends the answer to SUBSCRIBE; a publisher gets ":N" for each message.
                Some(b':') if entry.listens => Notice::Welcome,
                Some(b'+') => Notice::Welcome,
                Some(b'-') => Notice::Refused,
                _ => Notice::Idle,
            },
            Self::Nats => match line {
                b"PING" => answer(out, "PONG\r\n"),
                b"PONG" => Notice::Welcome,
                _ if line.starts_with(b"-ERR") => Notice::Refused,
                _ => Notice::Idle,
            },
            Self::Floor => Notice::Welcome,
        }
    }

    fn text_notice(self, line: &[u8], entry: &Entry, out: &mut Vec<u8>) -> Notice {
        match line.first() {
            Some(b'!') => return Notice::Refused,
            _ if !line.starts_with(b"* welcome ") => {}
            _ if is_welcome(line, &entry.rooms) => return Notice::Welcome,
            // The first welcome is to the lobby, where it is not to stay.
            _ => {
                self.frame(&[b"/join ", entry.first_room().as_bytes()], out);
                self.frame(&[b"/leave lobby"], out);
            }
        }
        Notice::Idle
    }
}

const NATS_CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"1\"}\r\n";

/// The channel of `room` as a Redis bulk string.
fn redis_room(room: &str) -> String {
    format!("${}\r\n{room}\r\n", room.len())
}

fn answer(out: &mut Vec<u8>, text: &str) -> Notice {
    out.extend_from_slice(text.as_bytes());
    Notice::Idle
}

/// What stands between the room and the body of a JSON event, whoever said it: all names are as long as this.
const BEHIND_ROOM: &[u8] = br#"","from":"b12300001","body":""#;

/// Whether `line` is `* welcome NAME - #ROOM, 1 here: NAME` with one of `rooms`.
fn is_welcome(line: &[u8], rooms: &[Rc<str>]) -> bool {
    let Some(room) = memchr::memmem::find(line, b" - #") else { return false };
    let room = line[room + 4..].split(|&byte| byte == b',').next().unwrap_or_default();
    line.starts_with(b"* welcome ") && rooms.iter().any(|of_client| of_client.as_bytes() == room)
}

/// The `type` of a JSON event, which roomd writes first.
fn json_type(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(br#"{"type":""#)?.split(|&byte| byte == b'"').next()
}

fn irc_notice(line: &[u8], entry: &Entry, out: &mut Vec<u8>) -> Notice {
    if let Some(cookie) = line.strip_prefix(b"PING ") {
        out.extend_from_slice(b"PONG ");
        out.extend_from_slice(cookie);
        return answer(out, "\r\n");
    }
    if line.starts_with(b"ERROR") {
        return Notice::Refused;
    }
    let mut words = line.split(|&byte| byte == b' ');
    match words.nth(1).unwrap_or_default() {
        b"001" => answer(out, &format!("JOIN #{}\r\n", entry.first_room())),
        b"366" => Notice::Welcome,
        // Cannot send, bad nick, nick in use, banned, channel full or forbidden.
        b"404" | b"432" | b"433" | b"465" | b"471" | b"473" | b"474" | b"475" => Notice::Refused,
        _ => Notice::Idle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(room: &str) -> Entry {
        entry_in(&[room])
    }

    fn entry_in(rooms: &[&str]) -> Entry {
        let rooms = rooms.iter().map(|&room| room.into()).collect();
        Entry { name: "b12300001".into(), rooms, listens: true, welcomes: 1 }
    }

    /// Feeds `lines` to a fresh client and returns what they meant and what it answered.
    fn talk(dialect: Dialect, entry: Entry, lines: &[&str]) -> (Vec<Notice>, String) {
        let mut out = Vec::new();
        let meant = lines.iter().map(|line| dialect.notice(line.as_bytes(), &entry, &mut out)).collect();
        (meant, String::from_utf8(out).unwrap())
    }

    fn opening(dialect: Dialect, entry: &Entry) -> String {
        let mut out = Vec::new();
        dialect.open(entry, "127.0.0.1:8080", &mut out);
        String::from_utf8(out).unwrap()
    }

    fn message(dialect: Dialect) -> String {
        let mut out = Vec::new();
        dialect.write_message(&entry("bench3"), b"hello", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_in_the_lobby_after_one_welcome() {
        assert_eq!(opening(Dialect::Text, &entry("lobby")), "b12300001\n");
        let (meant, said) = talk(
            Dialect::Text,
            entry("lobby"),
            &["* roomd 0.1.0 - your name?", "* welcome b12300001 - #lobby, 1 here: b12300001"],
        );
        assert_eq!(meant, [Notice::Idle, Notice::Welcome]);
        assert_eq!(said, "");
    }

    #[test]
    fn by_text_one_passes_through_the_lobby_and_joins_room_after_room() {
        let welcomes = ["lobby", "r1", "r2", "other"]
            .map(|room| format!("* welcome b12300001 - #{room}, 2 here: a, b12300001"));
        let (meant, said) = talk(Dialect::Text, entry_in(&["r1", "r2"]), &[&welcomes[0]]);
        assert_eq!((&meant[..], &*said), (&[Notice::Idle][..], "/join r1\n/leave lobby\n"));
        for (dialect, of_first) in [(Dialect::Text, Notice::Welcome), (Dialect::WsText, Notice::Idle)] {
            let lines = ["* you left #lobby", &*welcomes[1], &*welcomes[2]];
            let meant = talk(dialect, entry_in(&["r1", "r2"]), &lines).0;
            assert_eq!(meant, [Notice::Idle, of_first, Notice::Welcome], "{dialect}");
        }
        let mut out = Vec::new();
        Dialect::Text.open_others(&entry_in(&["r1", "r2", "r3"]), &mut out);
        assert_eq!(out, b"/join r2\n/join r3\n");
        assert_eq!(Dialect::Text.welcomes(3), 3);
    }

    #[test]
    fn by_json_one_hello_is_for_all_rooms() {
        let entry = entry_in(&["r1", "r2"]);
        assert_eq!(
            opening(Dialect::Json, &entry),
            "{\"type\":\"hello\",\"name\":\"b12300001\",\"room\":\"r1\"}\n"
        );
        let mut out = Vec::new();
        Dialect::Json.open_others(&entry, &mut out);
        Dialect::Json.write_message(&entry, b"hi", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"type\":\"hello\",\"name\":\"b12300001\",\"room\":\"r2\",\"rooms\":[\"r1\",\"r2\"]}\n\
             {\"type\":\"public\",\"room\":\"r2\",\"body\":\"hi\"}\n"
        );
        let answers = [r#"{"type":"hello","name":"b12300001"}"#, r#"{"type":"room","room":"r1"}"#];
        assert_eq!(talk(Dialect::Json, entry, &answers).0, [Notice::Welcome; 2]);
        assert_eq!((Dialect::Json.welcomes(1), Dialect::Json.welcomes(2)), (1, 4));
    }

    #[test]
    fn a_message_says_which_room_it_is_of() {
        let mut entry = entry_in(&["r1", "r2"]);
        let json = |room: &str| {
            format!(r#"{{"type":"public","id":9,"ts":1,"room":"{room}","from":"b12300002","body":""#)
        };
        let json_of_r1 = json("r1");
        // While r1 is the current room of the text client, and when r2 is.
        for (welcomes, label_of_r1, label_of_r2) in [(1, "", "#r2 "), (2, "#r1 ", "")] {
            entry.welcomes = welcomes;
            let of_r1 = format!("{label_of_r1}b12300002: ");
            let of_r2 = format!("{label_of_r2}b12300002: ");
            for (dialect, before, room, is_right) in [
                (Dialect::Text, &of_r1, "r1", true),
                (Dialect::Text, &of_r2, "r2", true),
                (Dialect::WsText, &of_r1, "r2", false),
                (Dialect::LengthText, &of_r2, "r1", false),
                (Dialect::Json, &json_of_r1, "r1", true),
                (Dialect::Json, &json_of_r1, "r2", false),
                (Dialect::Json, &json_of_r1, "1", false),
                (Dialect::Irc, &json_of_r1, "r2", true),
            ] {
                let is_of_room = dialect.is_of_room(before.as_bytes(), room, &entry);
                assert_eq!(is_of_room, is_right, "{dialect}: {before} of {room}");
            }
        }
        assert!(!Dialect::Text.is_of_room(b"#r12 b: ", "r1", &entry), "not all of the label");
        assert!(Dialect::WsText.is_of_room(b"", "r2", &entry), "a hub may put nothing in front");
        assert!(!Dialect::Json.is_of_room(b"", "r2", &entry));
    }

    #[test]
    fn refusals_are_noticed() {
        for (dialect, line) in [
            (Dialect::Text, "! name-taken: bob is in use"),
            (Dialect::Json, r#"{"type":"error","code":"full","text":"no"}"#),
            (Dialect::WsJson, r#"{"type":"bye","why":"slow"}"#),
            (Dialect::Irc, ":irc.local 433 * b12300001 :Nickname already in use"),
            (Dialect::Irc, "ERROR :Closing link"),
            (Dialect::Redis, "-ERR max number of clients reached"),
            (Dialect::Nats, "-ERR 'Slow Consumer'"),
        ] {
            assert_eq!(talk(dialect, entry("lobby"), &[line]).0, [Notice::Refused], "{line}");
        }
    }

    #[test]
    fn each_peer_lets_its_client_in() {
        let irc = talk(
            Dialect::Irc,
            entry("bench3"),
            &[":h 001 b12300001 :Welcome", "PING :abc", ":h 366 b12300001 #bench3 :End"],
        );
        assert_eq!(irc.0, [Notice::Idle, Notice::Idle, Notice::Welcome]);
        assert_eq!(irc.1, "JOIN #bench3\r\nPONG :abc\r\n");
        let redis = talk(Dialect::Redis, entry("bench3"), &["*3", "$9", "subscribe", "$6", "bench3", ":1"]);
        assert_eq!(redis.0.last(), Some(&Notice::Welcome));
        let nats = talk(Dialect::Nats, entry("bench3"), &["INFO {}", "PONG", "PING"]);
        assert_eq!(nats, (vec![Notice::Idle, Notice::Welcome, Notice::Idle], "PONG\r\n".into()));
        let json = talk(Dialect::Json, entry("bench3"), &[r#"{"type":"hello","name":"b12300001"}"#]);
        assert_eq!(json.0, [Notice::Welcome]);
    }

    #[test]
    fn a_message_is_what_the_protocol_says() {
        assert_eq!(message(Dialect::LengthJson), "\0\0\0\u{20}{\"type\":\"public\",\"body\":\"hello\"}");
        assert_eq!(message(Dialect::Irc), "PRIVMSG #bench3 :hello\r\n");
        assert_eq!(message(Dialect::Redis), "*3\r\n$7\r\nPUBLISH\r\n$6\r\nbench3\r\n$5\r\nhello\r\n");
        assert_eq!(message(Dialect::Nats), "PUB bench3 5\r\nhello\r\n");
    }

    #[test]
    fn history_is_no_delivery() {
        assert!(Dialect::Text.is_history(b"~ 09:41 bob: #=aaaa"));
        assert!(!Dialect::Text.is_history(b"bob: ~ #=aaaa"));
        assert!(Dialect::Json.is_history(br#"{"type":"history","room":"lobby"}"#));
    }
}
