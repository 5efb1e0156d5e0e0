//! The JSON dialect: one object per line on TCP, one object per text frame on WebSocket
//! (subprotocol `roomd.json`). What all requests and events mean stands in `PROTOCOL.md`.

use std::borrow::Cow;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

use super::encoding::Writer;
use super::{Ask, Notice, Request, names, place_in_answer, rooms};
use crate::chat::{
    Body, Bye, Chat, Command, ErrorCode, Event, Hello, HistoryQuery, Message, Name, Reference, Refusal,
    Reply, Resume, RoomName, RoomView, SessionId,
};

/// Objects for programs.
pub(super) const WRITER: Writer = Writer {
    event: |room, at_ms, event, put| put(&self::event(room, at_ms, event)),
    reply: |at_ms, reply, reference, chat, put| put(&self::reply(at_ms, reply, reference, chat)),
    notice: |at_ms, notice, reference, put| {
        self::notice(at_ms, notice, reference).iter().for_each(|document| put(document));
    },
};

/// A reference has at most this many bytes.
const REFERENCE_BYTES_MAX: usize = 64;
/// `hello` and `users` list at most so many names.
const NAMES_MAX: usize = 1000;
/// What the document of a room has besides the name: at most so many bytes.
const ROOM_BYTES: usize = 48;
/// An error says at most this much of what the parser says about a document.
const EXCERPT_BYTES_MAX: usize = 200;
/// `history` without a `limit` gives so many messages.
const HISTORY_DEFAULT: usize = 100;
/// A `hello` names at most so many rooms, whatever `max_joined` is: each of them is answered.
const HELLO_ROOMS_MAX: usize = 256;
/// A `history` gives at most so many messages.
const HISTORY_MAX: usize = 1000;

/// A request as a client writes it and the server reads it: one row of the table of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[allow(missing_docs, reason = "the fields are those of the table")]
pub enum RequestDocument {
    /// "I am `name`", the first request of a connection.
    Hello {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rooms: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// Says `body` to a room.
    Public {
        body: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
    },
    /// Does `body` in a room.
    Action {
        body: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
    },
    /// Tells one member.
    Private { to: String, body: String },
    /// Who is here?
    Users {
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
    },
    /// Which rooms are there?
    Rooms,
    /// What was said before?
    History {
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// Asks for another name.
    Nick { name: String },
    /// Enters one more room.
    Join { room: String },
    /// Leaves a room.
    Leave {
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
    },
    /// Is anybody there?
    Ping,
    /// Good-bye.
    Quit,
}

impl RequestDocument {
    /// The request as one line, newline included, with the `ref` that its answer will carry.
    #[must_use]
    pub fn to_line(&self, reference: Option<&str>) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            request: &'a RequestDocument,
            #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
            reference: Option<&'a str>,
        }
        write(&Line { request: self, reference }) + "\n"
    }
}

/// An event as the server writes it and a client reads it: one row of the table of events. `T` is what
/// holds the text: `&str` where it is written, `String` where it is read.
///
/// Reading is tolerant: what a client can do without may be missing, and an event of a type unknown
/// here is [`Unknown`](Self::Unknown).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[allow(missing_docs, reason = "the fields are those of the table")]
pub enum EventDocument<T> {
    /// You are `name` in `room`.
    Hello {
        name: T,
        #[serde(default)]
        room: T,
        #[serde(default)]
        id: u64,
        #[serde(default)]
        users: Vec<T>,
        #[serde(default)]
        total: usize,
        #[serde(default)]
        epoch: u64,
        #[serde(default)]
        server: T,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<T>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<T>,
    },
    /// You are in this room, too.
    Room {
        room: T,
        #[serde(default)]
        name: T,
        #[serde(default)]
        id: u64,
        #[serde(default)]
        epoch: u64,
        #[serde(default)]
        users: Vec<T>,
        #[serde(default)]
        total: usize,
    },
    /// Somebody said something.
    Public(MessageDocument<T>),
    /// Somebody did something.
    Action(MessageDocument<T>),
    /// Somebody told you something, or you told them.
    Private {
        #[serde(default)]
        ts: u64,
        from: T,
        to: T,
        body: T,
    },
    /// Somebody came in.
    Join {
        #[serde(default)]
        ts: u64,
        #[serde(default)]
        room: T,
        name: T,
        #[serde(default)]
        total: usize,
    },
    /// Somebody has left this room.
    Leave {
        #[serde(default)]
        ts: u64,
        #[serde(default)]
        room: T,
        name: T,
        #[serde(default)]
        total: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<T>,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<T>,
    },
    /// Somebody has another name.
    Nick {
        #[serde(default)]
        ts: u64,
        #[serde(default)]
        room: T,
        from: T,
        name: T,
    },
    /// One second's coming and going in a crowded room.
    Presence {
        #[serde(default)]
        ts: u64,
        #[serde(default)]
        room: T,
        #[serde(default)]
        joined: u32,
        #[serde(default)]
        left: u32,
        #[serde(default)]
        total: usize,
    },
    /// Who is here.
    Users {
        #[serde(default)]
        room: T,
        #[serde(default)]
        users: Vec<T>,
        #[serde(default)]
        total: usize,
        #[serde(default, skip_serializing_if = "Not::not")]
        more: bool,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<T>,
    },
    /// Which rooms there are.
    Rooms {
        #[serde(default)]
        rooms: Vec<RoomDocument<T>>,
        #[serde(default, skip_serializing_if = "Not::not")]
        more: bool,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<T>,
    },
    /// Older messages by rising id; `more` are kept in the direction asked.
    History {
        #[serde(default)]
        room: T,
        #[serde(default)]
        events: Vec<EventDocument<T>>,
        #[serde(default)]
        more: bool,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<T>,
    },
    /// A request was carried out.
    Ack {
        #[serde(rename = "ref")]
        reference: Option<T>,
        #[serde(default)]
        ts: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
    /// The server is there.
    Pong {
        #[serde(default)]
        ts: u64,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<T>,
    },
    /// A request was refused.
    Error {
        #[serde(default)]
        code: T,
        #[serde(default)]
        text: T,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<T>,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<T>,
    },
    /// The last word of the server.
    Bye {
        #[serde(default)]
        why: T,
    },
    /// Something that a newer server says. Never written.
    #[serde(other)]
    Unknown,
}

/// A message that has an id: somebody said or did something in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the table")]
pub struct MessageDocument<T> {
    pub id: u64,
    #[serde(default)]
    pub ts: u64,
    #[serde(default)]
    pub room: T,
    pub from: T,
    pub body: T,
}

/// A room and how many are in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the table")]
pub struct RoomDocument<T> {
    pub name: T,
    #[serde(default)]
    pub members: usize,
    /// You are in it.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub joined: bool,
}

/// The `type`s of requests.
const TYPES: [&str; 12] = [
    "hello", "public", "action", "private", "users", "rooms", "history", "nick", "join", "leave", "ping",
    "quit",
];

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    name: Option<String>,
    room: Option<String>,
    rooms: Option<Vec<String>>,
    session: Option<String>,
    from: Option<String>,
    to: Option<String>,
    body: Option<String>,
    limit: Option<usize>,
    before: Option<u64>,
    after: Option<u64>,
}

/// Which request a text is, whatever its other fields are worth; none if it is no request: a person may begin with a
/// brace, and other programs than ours speak JSON, too.
#[must_use]
pub fn request_type(text: &str) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    let typed: Typed<'_> = text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok())??;
    TYPES.into_iter().find(|kind| *kind == typed.kind)
}

/// What one JSON document asks for.
///
/// # Errors
/// The refusal its sender gets, and the reference to send with it.
pub fn parse(document: &str) -> Result<Request, (Refusal, Reference)> {
    if !document.trim_start().starts_with('{') {
        return Err((bad("a request is a JSON object"), None));
    }
    let fields: Fields = serde_json::from_str(document).map_err(|error| {
        let refusal = bad(format!("this is not a request: {}", excerpt(&error.to_string())));
        (refusal, reference_of(document))
    })?;
    let reference: Reference = fields.reference.as_deref().map(Into::into);
    if fields.reference.as_ref().is_some_and(|r| r.len() > REFERENCE_BYTES_MAX) {
        return Err((bad(format!("a ref has at most {REFERENCE_BYTES_MAX} bytes")), None));
    }
    let from = fields.from.as_deref().map(Into::into);
    match request(fields).and_then(ask) {
        Ok(ask) => Ok(Request { from, reference, ask }),
        Err(refusal) => Err((refusal, reference)),
    }
}

/// The request that `fields` are, whatever its arguments are worth.
fn request(fields: Fields) -> Result<RequestDocument, Refusal> {
    let Fields { kind, name, room, rooms, session, to, body, limit, before, after, .. } = fields;
    let kind = kind.ok_or_else(|| bad("a request has a type"))?;
    let need = |field: &str, value: Option<String>| value.ok_or_else(|| bad(format!("{kind} needs {field}")));
    Ok(match kind.as_str() {
        "hello" => RequestDocument::Hello { name: need("name", name)?, room, rooms, session },
        "public" => RequestDocument::Public { body: need("body", body)?, room },
        "action" => RequestDocument::Action { body: need("body", body)?, room },
        "private" => RequestDocument::Private { to: need("to", to)?, body: need("body", body)? },
        "users" => RequestDocument::Users { room },
        "rooms" => RequestDocument::Rooms,
        "history" => RequestDocument::History { room, limit, before, after },
        "nick" => RequestDocument::Nick { name: need("name", name)? },
        "join" => RequestDocument::Join { room: need("room", room)? },
        "leave" => RequestDocument::Leave { room },
        "ping" => RequestDocument::Ping,
        "quit" => RequestDocument::Quit,
        _ => {
            let text = format!("there is no such type; there are {}", TYPES.join(", "));
            return Err(Refusal::new(ErrorCode::UnknownCommand, text));
        }
    })
}

fn ask(document: RequestDocument) -> Result<Ask, Refusal> {
    let body = |text: &str| Body::new(text).ok_or_else(|| bad("the body is empty"));
    let room = |room: Option<String>| room.as_deref().map(RoomName::parse).transpose();
    Ok(Ask::Command(match document {
        RequestDocument::Hello { name, room: current, rooms, session } => {
            let (name, lists_rooms) = (Name::parse(&name)?, rooms.is_some());
            let named: Vec<String> = current.into_iter().chain(rooms.into_iter().flatten()).collect();
            if named.len() > HELLO_ROOMS_MAX {
                return Err(Refusal::new(
                    ErrorCode::Full,
                    format!("a hello has at most {HELLO_ROOMS_MAX} rooms"),
                ));
            }
            let mut rooms: Vec<RoomName> = Vec::new();
            for room in &named {
                let room = RoomName::parse(room)?;
                if !rooms.contains(&room) {
                    rooms.push(room);
                }
            }
            // What cannot be a session is none that is known.
            let session = session.as_deref().and_then(SessionId::parse);
            let resume = session.map_or(Resume::Anew, Resume::Session);
            Command::Hello(Hello { name, rooms, lists_rooms, resume })
        }
        RequestDocument::Public { body: text, room: to } => {
            Command::Say { room: room(to)?, body: body(&text)? }
        }
        RequestDocument::Action { body: text, room: to } => {
            Command::Act { room: room(to)?, body: body(&text)? }
        }
        RequestDocument::Private { to, body: text } => Command::Tell { to: to.into(), body: body(&text)? },
        RequestDocument::Users { room: of } => Command::Who { room: room(of)? },
        RequestDocument::Rooms => Command::Rooms,
        RequestDocument::History { room: of, limit, before, after } => {
            let limit = limit.unwrap_or(HISTORY_DEFAULT);
            if !(1..=HISTORY_MAX).contains(&limit) {
                return Err(bad(format!("limit is 1 to {HISTORY_MAX}")));
            }
            let query = HistoryQuery { limit, before, after, skip: 0 };
            Command::History { room: room(of)?, query }
        }
        RequestDocument::Nick { name } => Command::Nick(Name::parse(&name)?),
        RequestDocument::Join { room } => Command::Join(RoomName::parse(&room)?),
        RequestDocument::Leave { room: from } => Command::Leave { room: room(from)? },
        RequestDocument::Ping => return Ok(Ask::Ping),
        RequestDocument::Quit => return Ok(Ask::Quit),
    }))
}

/// The reference of a document whose other fields are wrong, so that its sender knows which one it was.
fn reference_of(document: &str) -> Reference {
    /// Nothing else is kept: whoever sends nonsense does not decide how much of it is built up here.
    #[derive(Deserialize)]
    struct Marked {
        #[serde(rename = "ref")]
        reference: String,
    }
    let Marked { reference } = serde_json::from_str(document).ok()?;
    (reference.len() <= REFERENCE_BYTES_MAX).then(|| reference.into())
}

/// The beginning of what is wrong with a document: it may quote all of it, and quoted letters grow. It speaks of JSON, and
/// not of the types that we happen to read it into.
fn excerpt(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line = &line[..line.floor_char_boundary(EXCERPT_BYTES_MAX)];
    line.replace("expected usize", "expected a whole number")
        .replace("expected u64", "expected a whole number")
        .replace("expected a sequence", "expected a list")
}

fn bad(text: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadArgument, text)
}

fn write(document: &impl Serialize) -> String {
    // Nothing in these types can fail to be written: no maps with odd keys, no I/O.
    serde_json::to_string(document).unwrap_or_default()
}

fn message<'a>(room: &'a RoomName, message: &'a Message) -> EventDocument<&'a str> {
    let said = MessageDocument {
        id: message.id,
        ts: message.at_ms,
        room: room.as_str(),
        from: message.from.as_str(),
        body: message.body.as_str(),
    };
    if message.is_action { EventDocument::Action(said) } else { EventDocument::Public(said) }
}

/// The document of an event.
#[must_use]
pub fn event(room_name: &RoomName, ts: u64, event: &Event) -> String {
    let room = room_name.as_str();
    let why_text;
    let said = match event {
        Event::Message(said) => message(room_name, said),
        Event::Joined { name, total } => EventDocument::Join { ts, room, name: name.as_str(), total: *total },
        Event::Left { name, total, why } => {
            why_text = why.as_ref().map(ToString::to_string);
            EventDocument::Leave {
                ts,
                room,
                name: name.as_str(),
                total: *total,
                why: why_text.as_deref(),
                reference: None,
            }
        }
        Event::Renamed { from, to } => {
            EventDocument::Nick { ts, room, from: from.as_str(), name: to.as_str() }
        }
        &Event::Crowd { joined, left, total } => EventDocument::Presence { ts, room, joined, left, total },
    };
    write(&said)
}

/// The document of a reply.
#[must_use]
pub fn reply<'a>(ts: u64, reply: &'a Reply, reference: &'a Reference, chat: &'a Chat) -> String {
    let reference = reference.as_deref();
    let session_text;
    write(&match reply {
        Reply::Welcome { name, room, session, .. } => {
            let room = chat.room(*room);
            session_text = session.as_ref().map(ToString::to_string);
            EventDocument::Hello {
                name: name.as_str(),
                room: room.name().as_str(),
                id: room.newest_id(),
                users: users(chat, room, Some(name), 1),
                total: room.total(),
                epoch: room.epoch_ms(),
                server: concat!("roomd/", env!("CARGO_PKG_VERSION")),
                session: session_text.as_deref(),
                limit: Some(chat.limits().max_line_bytes)
                    .filter(|&limit| limit != Limits::default().max_line_bytes),
                reference,
            }
        }
        Reply::Room { name, room, rooms } => {
            let room = chat.room(*room);
            EventDocument::Room {
                room: room.name().as_str(),
                name: room.name().as_str(),
                id: room.newest_id(),
                epoch: room.epoch_ms(),
                users: users(chat, room, Some(name), *rooms),
                total: room.total(),
            }
        }
        Reply::NoRoom { room, refusal: Refusal { code, text } } => {
            EventDocument::Error { code: code.as_str(), text, room: Some(room.as_str()), reference }
        }
        Reply::Left { name, room } => {
            let (room, total) = (chat.room(*room).name().as_str(), chat.room(*room).total());
            EventDocument::Leave { ts, room, name: name.as_str(), total, why: None, reference }
        }
        Reply::Private { from, to, body } | Reply::PrivateSent { from, to, body } => {
            EventDocument::Private { ts, from: from.as_str(), to: to.as_str(), body: body.as_str() }
        }
        Reply::Users { room } => {
            let room = chat.room(*room);
            let (name, total, users) = (room.name().as_str(), room.total(), users(chat, room, None, 1));
            let more = users.len() < total;
            EventDocument::Users { room: name, users, total, more, reference }
        }
        Reply::Rooms { joined } => {
            let rooms = rooms(chat, ROOM_BYTES);
            let more = rooms.len() < chat.rooms().len();
            let document = |r: RoomView<'a>| RoomDocument {
                name: r.name().as_str(),
                members: r.total(),
                joined: joined.contains(&r.number()),
            };
            EventDocument::Rooms { rooms: rooms.into_iter().map(document).collect(), more, reference }
        }
        Reply::History { room, page, .. } => {
            let room = chat.room(*room).name();
            let mut fits = place_in_answer(chat, 1);
            let (messages, more) = page.fit(|m| fits(write(&message(room, m)).len() + 1));
            let events = messages.iter().map(|m| message(room, m)).collect();
            EventDocument::History { room: room.as_str(), events, more, reference }
        }
        Reply::NotSaved { refusal: Refusal { code, text } } => {
            EventDocument::Error { code: code.as_str(), text, room: None, reference }
        }
        // Only people ask for that.
        Reply::Ignored { .. } => EventDocument::Ack { reference, ts, id: None },
        &Reply::Ack { id, at_ms } => EventDocument::Ack { reference, ts: at_ms, id },
    })
}

/// Those in a room, as far as they fit into one of so many `parts` of an answer.
fn users<'a>(chat: &Chat, room: RoomView<'a>, always: Option<&'a Name>, parts: usize) -> Vec<&'a str> {
    names(chat, room, always, NAMES_MAX, parts).into_iter().map(Name::as_str).collect()
}

/// The document of a notice; none for what this dialect does not know.
#[must_use]
pub fn notice(ts: u64, notice: &Notice, reference: &Reference) -> Option<String> {
    let reference = reference.as_deref();
    Some(write(&match notice {
        Notice::Pong => EventDocument::Pong { ts, reference },
        Notice::Refused(Refusal { code, text }) => {
            EventDocument::Error { code: code.as_str(), text, room: None, reference }
        }
        Notice::Bye(bye) => EventDocument::Bye { why: why(*bye) },
        Notice::Help => return None,
    }))
}

/// Why the server says good-bye, for programs.
#[must_use]
pub fn why(bye: Bye) -> &'static str {
    match bye {
        Bye::Quit => "quit",
        Bye::Shutdown => "shutdown",
        Bye::Slow => "slow",
        Bye::Timeout => "timeout",
        Bye::Nameless => "nameless",
        Bye::TakenOver => "taken-over",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(document: &str) -> (&'static str, Option<String>) {
        let (refusal, reference) = parse(document).unwrap_err();
        (refusal.code.as_str(), reference.map(Into::into))
    }

    #[test]
    fn requests() {
        let request = parse(r#"{"type":"public","body":"hi","ref":"c1","from":"mallory","x":[1]}"#).unwrap();
        assert_eq!(request.reference.as_deref(), Some("c1"));
        assert_eq!(request.from.as_deref(), Some("mallory"));
        assert_eq!(request.ask, Ask::Command(Command::Say { room: None, body: Body::new("hi").unwrap() }));
    }

    #[test]
    fn a_refused_request_gets_its_reference_back() {
        assert_eq!(refused(r#"{"type":"dance","ref":"7"}"#), ("unknown-command", Some("7".into())));
        assert_eq!(refused(r#"{"type":"public","ref":"7"}"#), ("bad-argument", Some("7".into())));
        assert_eq!(refused(r#"{"type":"public","body":7,"ref":"7"}"#), ("bad-argument", Some("7".into())));
        assert_eq!(refused(r#"{"type":"nick","name":"a b","ref":"7"}"#), ("name-bad", Some("7".into())));
        assert_eq!(refused(r#"{"type":"history","limit":0,"ref":"7"}"#), ("bad-argument", Some("7".into())));
        assert_eq!(refused("[1,2]"), ("bad-argument", None));
        assert_eq!(
            refused(r#"["ping","7",null,null,null,null,null,null,null,null,null]"#),
            ("bad-argument", None)
        );
        assert_eq!(refused("{nonsense"), ("bad-argument", None));
        for wrong in [r#"{"type":"history","limit":"x"}"#, r#"{"type":"history","before":-1}"#] {
            let text = parse(wrong).unwrap_err().0.text;
            assert!(text.contains("expected a whole number at line 1"), "{text}");
        }
        let text = parse(r#"{"type":"hello","name":"al","rooms":"dev"}"#).unwrap_err().0.text;
        assert!(text.contains("expected a list at line 1"), "{text}");
        let odd = format!(r#"{{"limit":"{}","ref":"7"}}"#, "\u{ad}".repeat(1000));
        assert!(parse(&odd).unwrap_err().0.text.len() < 300, "a refusal quotes little");
        let long = format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(65));
        assert_eq!(refused(&long), ("bad-argument", None));
    }

    #[test]
    fn what_a_client_writes_is_what_the_server_reads() {
        let text = || "x".to_owned();
        for request in [
            RequestDocument::Hello {
                name: text(),
                room: Some(text()),
                rooms: Some(vec![text(), "y".into()]),
                session: Some("0123456789abcdef0123456789abcdef".into()),
            },
            RequestDocument::Public { body: text(), room: Some(text()) },
            RequestDocument::Action { body: text(), room: None },
            RequestDocument::Private { to: text(), body: text() },
            RequestDocument::Users { room: Some(text()) },
            RequestDocument::Rooms,
            RequestDocument::History { room: Some(text()), limit: Some(1), before: Some(2), after: Some(3) },
            RequestDocument::Nick { name: text() },
            RequestDocument::Join { room: text() },
            RequestDocument::Leave { room: Some(text()) },
            RequestDocument::Ping,
            RequestDocument::Quit,
        ] {
            let line = request.to_line(Some("c1"));
            assert!(request_type(&line).is_some_and(|kind| line.contains(kind)), "{line}");
            let read = parse(&line).unwrap();
            assert_eq!(read.reference.as_deref(), Some("c1"));
            assert_eq!(read.ask, ask(request).unwrap(), "{line}");
        }
        let body = "two\nlines".to_owned();
        let line = RequestDocument::Public { body, room: None }.to_line(None);
        assert_eq!(line, "{\"type\":\"public\",\"body\":\"two\\nlines\"}\n");
    }

    #[test]
    fn what_the_server_writes_is_what_a_client_reads() {
        let events = [
            r#"{"type":"hello","name":"al","room":"dev","id":1,"users":["al"],"total":1,"epoch":2,"server":"x","session":"0f","limit":512,"ref":"c"}"#,
            r#"{"type":"room","room":"dev","name":"dev","id":1,"epoch":2,"users":["al"],"total":1}"#,
            r#"{"type":"action","id":1,"ts":2,"room":"dev","from":"al","body":"x"}"#,
            r#"{"type":"private","ts":2,"from":"al","to":"bob","body":"x"}"#,
            r#"{"type":"join","ts":2,"room":"dev","name":"al","total":1}"#,
            r#"{"type":"leave","ts":2,"room":"dev","name":"al","total":1,"why":"slow","ref":"c"}"#,
            r#"{"type":"nick","ts":2,"room":"dev","from":"al","name":"bob"}"#,
            r#"{"type":"presence","ts":2,"room":"dev","joined":1,"left":2,"total":3}"#,
            r#"{"type":"users","room":"dev","users":["al"],"total":1,"more":true}"#,
            r#"{"type":"rooms","rooms":[{"name":"dev","members":1,"joined":true}]}"#,
            r#"{"type":"history","room":"dev","events":[{"type":"public","id":1,"ts":2,"room":"dev","from":"al","body":"x"}],"more":false}"#,
            r#"{"type":"ack","ref":"c","ts":2,"id":1}"#,
            r#"{"type":"pong","ts":2}"#,
            r#"{"type":"error","code":"full","text":"no","room":"dev","ref":"c"}"#,
            r#"{"type":"bye","why":"quit"}"#,
        ];
        for document in events {
            let event: EventDocument<String> = serde_json::from_str(document).unwrap();
            assert_eq!(write(&event), document);
        }
        let read = |document| serde_json::from_str::<EventDocument<String>>(document).unwrap();
        assert_eq!(read(r#"{"type":"topic","text":"x"}"#), EventDocument::Unknown);
        assert!(matches!(read(r#"{"type":"join","name":"al"}"#), EventDocument::Join { .. }));
    }

    #[test]
    fn documents_are_one_line_whatever_was_said() {
        let chat = Chat::new(crate::limits::Limits::default(), crate::clock::Now::default());
        let reply = Reply::Private {
            from: Name::parse("bob").unwrap(),
            to: Name::parse("al").unwrap(),
            body: Body::new("a \"quoted\" \\ tab\t").unwrap(),
        };
        let document = super::reply(5, &reply, &None, &chat);
        assert_eq!(
            document,
            r#"{"type":"private","ts":5,"from":"bob","to":"al","body":"a \"quoted\" \\ tab\t"}"#
        );
    }
}
