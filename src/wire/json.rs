//! The JSON dialect: one object per line on TCP, one object per text frame on WebSocket
//! (subprotocol `roomd.json`).
//!
//! Fields a request does not know are ignored; an unknown `type` is an `error`. Times (`ts`) are
//! Unix milliseconds. Room names are written without `#`. The server sets `from`, always.
//!
//! # Requests
//!
//! Every request may carry `"ref"`, a string of at most 64 bytes. The answer to that request
//! carries the same `ref`: its `ack`, its reply, or its `error`. Answers keep the order of the
//! requests, and those that are due are sent before a `bye`.
//!
//! | `type` | fields (optional ones in brackets) | answered by |
//! |---|---|---|
//! | `hello` | `name`, `[room]` | `hello` |
//! | `public` | `body` | the event to everybody in the room, the sender too; `ack` if `ref` was given |
//! | `action` | `body` | as `public`; what `/me` says in the text dialect |
//! | `private` | `to`, `body` | the event to `to` and a copy to the sender; `ack` if `ref` was given |
//! | `users` | | `users` |
//! | `rooms` | | `rooms` |
//! | `history` | `[limit]` (1 to 1000, else 100), `[before]`, `[after]` (ids, exclusive) | `history` |
//! | `nick` | `name` | the `nick` event, unless that is your name already; `ack` if `ref` was given |
//! | `join` | `room` | `hello` for the new room |
//! | `ping` | | `pong` |
//! | `quit` | | `bye` (without `ref`), then the connection is closed |
//!
//! A connection whose first request is not `hello` is named by that request's `from`, as in the
//! seed protocol `{"type":"private","from":"alice","to":"bob","body":"…"}`, or, without one,
//! `guest-N`; it gets its `hello` first and the answer to its request after it. Later `from`s are
//! ignored.
//!
//! # Events
//!
//! | `type` | fields (optional ones in brackets) | meaning |
//! |---|---|---|
//! | `hello` | `name`, `room`, `id`, `users`, `total`, `epoch`, `server`, `[ref]` | you are `name` in `room`; `id` is that of the room's newest message (0: none yet); `users` are up to 1000 names of `total`, you among them; `epoch` is when this room began to count (it changes with a restart, and when a room was forgotten and made again): ids of another epoch are not comparable |
//! | `public` | `id`, `ts`, `room`, `from`, `body` | somebody said `body`; ids count 1, 2, 3 … per room over `public` and `action` together |
//! | `action` | `id`, `ts`, `room`, `from`, `body` | somebody did `body` |
//! | `private` | `ts`, `from`, `to`, `body` | only the two of you see it |
//! | `join` | `ts`, `room`, `name`, `total` | `name` came in |
//! | `leave` | `ts`, `room`, `name`, `total`, `[why]` | `name` is gone; `why` is `timeout`, `slow`, `reset` or `room NAME`, absent for a plain good-bye |
//! | `nick` | `ts`, `room`, `from`, `name` | `from` is now called `name`; also sent to the one who asked |
//! | `presence` | `ts`, `room`, `joined`, `left`, `total` | the sum of one second's joins and leaves in a crowded room |
//! | `users` | `room`, `users`, `total`, `[ref]` | who is here |
//! | `rooms` | `rooms`: list of `{"name","members"}`, `[ref]` | which rooms there are |
//! | `history` | `room`, `events`: `public` and `action` events by rising id, `more`, `[ref]` | `more`: the room keeps further ones in the direction asked (older, or with `after` newer) |
//! | `ack` | `ref`, `ts`, `[id]` | your request was carried out; `id` if it made a message |
//! | `pong` | `ts`, `[ref]` | |
//! | `error` | `code`, `text`, `[ref]` | your request was refused, nothing else was lost |
//! | `bye` | `why`: `quit`, `shutdown`, `slow`, `timeout` or `nameless` | the last line before the server closes the connection |
//!
//! The `code`s are those of [`ErrorCode`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Dialect;
use crate::room::{
    Body, Bye, Command, ErrorCode, Event, HistoryQuery, Message, Name, Reference, Refusal, Reply, RoomName,
};

/// A reference has at most this many bytes.
const REFERENCE_BYTES_MAX: usize = 64;
/// An error says at most this much of what the parser says about a document.
const EXCERPT_BYTES_MAX: usize = 200;
/// `history` without a `limit` gives so many messages.
const HISTORY_DEFAULT: usize = 100;
/// A `history` gives at most so many messages.
const HISTORY_MAX: usize = 1000;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The name that its `from` claims, in case this is the first request of a connection.
    pub from: Option<Box<str>>,
    /// What to answer with.
    pub reference: Reference,
    /// What is asked.
    pub ask: Ask,
}

/// See [`Request`].
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// `hello`: to be called so, and to be there.
    Hello {
        /// The name.
        name: Name,
        /// The room; the lobby or where one is already, if there is none.
        room: Option<RoomName>,
    },
    /// Anything that needs a member.
    Command(Command),
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    name: Option<String>,
    room: Option<String>,
    from: Option<String>,
    to: Option<String>,
    body: Option<String>,
    limit: Option<usize>,
    before: Option<u64>,
    after: Option<u64>,
}

/// What one JSON document asks for.
///
/// # Errors
/// The refusal its sender gets, and the reference to send with it.
pub fn parse(document: &str) -> Result<Request, (Refusal, Reference)> {
    let fields: Fields = serde_json::from_str(document).map_err(|error| {
        let refusal = bad(format!("this is not a request: {}", excerpt(&error.to_string())));
        (refusal, reference_of(document))
    })?;
    let reference: Reference = fields.reference.as_deref().map(Into::into);
    if fields.reference.as_ref().is_some_and(|r| r.len() > REFERENCE_BYTES_MAX) {
        return Err((bad(format!("a ref has at most {REFERENCE_BYTES_MAX} bytes")), None));
    }
    let from = fields.from.as_deref().map(Into::into);
    match ask(&fields) {
        Ok(ask) => Ok(Request { from, reference, ask }),
        Err(refusal) => Err((refusal, reference)),
    }
}

fn ask(fields: &Fields) -> Result<Ask, Refusal> {
    let kind = fields.kind.as_deref().ok_or_else(|| bad("a request has a type"))?;
    let need = |field: &str, value| Option::ok_or_else(value, || bad(format!("{kind} needs {field}")));
    let body = || Body::new(need("body", fields.body.as_deref())?).ok_or_else(|| bad("the body is empty"));
    let names_max = Dialect::JsonLines.names_max();
    let room = RoomName::parse;
    let command = match kind {
        "hello" => {
            let name = Name::parse(need("name", fields.name.as_deref())?)?;
            return Ok(Ask::Hello { name, room: fields.room.as_deref().map(room).transpose()? });
        }
        "public" => Command::Say(body()?),
        "action" => Command::Act(body()?),
        "private" => Command::Tell { to: need("to", fields.to.as_deref())?.into(), body: body()? },
        "users" => Command::Who { names_max },
        "rooms" => Command::Rooms,
        "history" => Command::History(HistoryQuery {
            limit: match fields.limit {
                None => HISTORY_DEFAULT,
                Some(limit) if (1..=HISTORY_MAX).contains(&limit) => limit,
                Some(_) => return Err(bad(format!("limit is 1 to {HISTORY_MAX}"))),
            },
            before: fields.before,
            after: fields.after,
        }),
        "nick" => Command::Nick(Name::parse(need("name", fields.name.as_deref())?)?),
        "join" => Command::Join { room: room(need("room", fields.room.as_deref())?)?, names_max },
        "ping" => Command::Ping,
        "quit" => Command::Quit,
        _ => {
            let types = "hello, public, action, private, users, rooms, history, nick, join, ping, quit";
            let text = format!("there is no such type; there are {types}");
            return Err(Refusal::new(ErrorCode::UnknownCommand, text));
        }
    };
    Ok(Ask::Command(command))
}

/// The reference of a document whose other fields are wrong, so that its sender knows which one it was.
fn reference_of(document: &str) -> Reference {
    let value: serde_json::Value = serde_json::from_str(document).ok()?;
    value.get("ref")?.as_str().filter(|r| r.len() <= REFERENCE_BYTES_MAX).map(Into::into)
}

/// The beginning of what is wrong with a document: it may quote all of it, and quoted letters grow.
fn excerpt(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    &line[..line.floor_char_boundary(EXCERPT_BYTES_MAX)]
}

fn bad(text: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadArgument, text)
}

/// Everything the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said<'a> {
    Hello {
        name: &'a str,
        room: &'a str,
        id: u64,
        users: Vec<&'a str>,
        total: usize,
        epoch: u64,
        server: &'static str,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Public(SaidMessage<'a>),
    Action(SaidMessage<'a>),
    Private {
        ts: u64,
        from: &'a str,
        to: &'a str,
        body: &'a str,
    },
    Join {
        ts: u64,
        room: &'a str,
        name: &'a str,
        total: usize,
    },
    Leave {
        ts: u64,
        room: &'a str,
        name: &'a str,
        total: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    Nick {
        ts: u64,
        room: &'a str,
        from: &'a str,
        name: &'a str,
    },
    Presence {
        ts: u64,
        room: &'a str,
        joined: u32,
        left: u32,
        total: usize,
    },
    Users {
        room: &'a str,
        users: Vec<&'a str>,
        total: usize,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Rooms {
        rooms: Vec<SaidRoom<'a>>,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    History {
        room: &'a str,
        events: Vec<Said<'a>>,
        more: bool,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Ack {
        #[serde(rename = "ref")]
        reference: Option<&'a str>,
        ts: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
    Pong {
        ts: u64,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Error {
        code: &'static str,
        text: &'a str,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    Bye {
        why: &'static str,
    },
}

#[derive(Serialize)]
struct SaidMessage<'a> {
    id: u64,
    ts: u64,
    room: &'a str,
    from: &'a str,
    body: &'a str,
}

#[derive(Serialize)]
struct SaidRoom<'a> {
    name: &'a str,
    members: usize,
}

impl Said<'_> {
    fn write(&self) -> String {
        // Nothing in these types can fail to be written: no maps with odd keys, no I/O.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn message<'a>(room: &'a RoomName, message: &'a Message) -> Said<'a> {
    let said = SaidMessage {
        id: message.id,
        ts: message.at_ms,
        room: room.as_str(),
        from: message.from.as_str(),
        body: message.body.as_str(),
    };
    if message.is_action { Said::Action(said) } else { Said::Public(said) }
}

/// The document of an event.
#[must_use]
pub fn event(room_name: &RoomName, ts: u64, event: &Event) -> String {
    let room = room_name.as_str();
    let said = match event {
        Event::Message(said) => message(room_name, said),
        Event::Joined { name, total } => Said::Join { ts, room, name: name.as_str(), total: *total },
        Event::Left { name, total, why } => {
            let why = why.as_ref().map(ToString::to_string);
            Said::Leave { ts, room, name: name.as_str(), total: *total, why }
        }
        Event::Renamed { from, to } => Said::Nick { ts, room, from: from.as_str(), name: to.as_str() },
        &Event::Crowd { joined, left, total } => Said::Presence { ts, room, joined, left, total },
    };
    said.write()
}

/// The document of a reply; none for those this dialect does not know.
#[must_use]
pub fn reply(ts: u64, reply: &Reply, reference: &Reference) -> Option<String> {
    let reference = reference.as_deref();
    let said = match reply {
        Reply::Welcome { name, room, newest_id, epoch_ms, users, total, .. } => Said::Hello {
            name: name.as_str(),
            room: room.as_str(),
            id: *newest_id,
            users: users.iter().map(Name::as_str).collect(),
            total: *total,
            epoch: *epoch_ms,
            server: concat!("roomd/", env!("CARGO_PKG_VERSION")),
            reference,
        },
        Reply::Private { from, to, body } | Reply::PrivateSent { from, to, body } => {
            Said::Private { ts, from: from.as_str(), to: to.as_str(), body: body.as_str() }
        }
        Reply::Users { room, users, total } => Said::Users {
            room: room.as_str(),
            users: users.iter().map(Name::as_str).collect(),
            total: *total,
            reference,
        },
        Reply::Rooms(rooms) => {
            let rooms =
                rooms.iter().map(|(name, members)| SaidRoom { name: name.as_str(), members: *members });
            Said::Rooms { rooms: rooms.collect(), reference }
        }
        Reply::History { room, messages, has_more } => Said::History {
            room: room.as_str(),
            events: messages.iter().map(|m| message(room, m)).collect(),
            more: *has_more,
            reference,
        },
        Reply::Ack { id } => Said::Ack { reference, ts, id: *id },
        Reply::Pong => Said::Pong { ts, reference },
        Reply::Refused(Refusal { code, text }) => Said::Error { code: code.as_str(), text, reference },
        Reply::Bye(bye) => Said::Bye { why: why(*bye) },
        Reply::Help => return None,
    };
    Some(said.write())
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
        assert_eq!(request.ask, Ask::Command(Command::Say(Body::new("hi").unwrap())));
    }

    #[test]
    fn a_refused_request_gets_its_reference_back() {
        assert_eq!(refused(r#"{"type":"dance","ref":"7"}"#), ("unknown-command", Some("7".into())));
        assert_eq!(refused(r#"{"type":"public","ref":"7"}"#), ("bad-argument", Some("7".into())));
        assert_eq!(refused(r#"{"type":"public","body":7,"ref":"7"}"#), ("bad-argument", Some("7".into())));
        assert_eq!(refused(r#"{"type":"nick","name":"a b","ref":"7"}"#), ("name-bad", Some("7".into())));
        assert_eq!(refused(r#"{"type":"history","limit":0,"ref":"7"}"#), ("bad-argument", Some("7".into())));
        assert_eq!(refused("[1,2]"), ("bad-argument", None));
        assert_eq!(refused("{nonsense"), ("bad-argument", None));
        let odd = format!(r#"{{"limit":"{}","ref":"7"}}"#, "\u{ad}".repeat(1000));
        assert!(parse(&odd).unwrap_err().0.text.len() < 300, "a refusal quotes little");
        let long = format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(65));
        assert_eq!(refused(&long), ("bad-argument", None));
    }

    #[test]
    fn documents_are_one_line_whatever_was_said() {
        let reply = Reply::Private {
            from: Name::parse("bob").unwrap(),
            to: Name::parse("al").unwrap(),
            body: Body::new("a \"quoted\" \\ tab\t").unwrap(),
        };
        let document = super::reply(5, &reply, &None).unwrap();
        assert_eq!(
            document,
            r#"{"type":"private","ts":5,"from":"bob","to":"al","body":"a \"quoted\" \\ tab\t"}"#
        );
    }
}
