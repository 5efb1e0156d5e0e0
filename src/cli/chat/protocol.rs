//! What the client says and hears: the JSON dialect from the client's side.
//!
//! The contract is in `wire::json`. Requests are written by [`Request::to_line`]; events are
//! read by [`Event::parse`], which is tolerant (unknown types and missing optional fields are no
//! error) and has removed from every string what could drive a terminal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sanitize::clean;

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Request {
    /// "I am `name`", the first request of a connection.
    Hello {
        /// The name asked for.
        name: String,
        /// The room to enter, without `#`; the server's default without one.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
    },
    /// Says `body` to the room.
    Public {
        /// What is said.
        body: String,
    },
    /// Does `body` in the room.
    Action {
        /// What is done.
        body: String,
    },
    /// Tells one member.
    Private {
        /// Who is told.
        to: String,
        /// What is told.
        body: String,
    },
    /// Who is here?
    Users,
    /// Which rooms are there?
    Rooms,
    /// Older messages.
    History {
        /// How many at most, 1 to 1000.
        limit: u32,
        /// Only those with a smaller id.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        /// Only those with a greater id.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// Asks for another name.
    Nick {
        /// The name asked for.
        name: String,
    },
    /// Goes to another room.
    Join {
        /// The room, without `#`.
        room: String,
    },
    /// Is anybody there?
    Ping,
    /// Good-bye.
    Quit,
}

impl Request {
    /// The request as one line, newline included, with the `ref` its answer will carry.
    pub fn to_line(&self, reference: &str) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            request: &'a Request,
            #[serde(rename = "ref")]
            reference: &'a str,
        }
        let line = Line { request: self, reference };
        let mut text = serde_json::to_string(&line).expect("strings and numbers always serialize");
        text.push('\n');
        text
    }
}

/// A message that has an id: somebody said or did something in a room.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// Its number in the room, counted from 1.
    pub id: u64,
    /// When, in Unix milliseconds.
    #[serde(default)]
    pub ts: i64,
    /// Who.
    pub from: String,
    /// What.
    pub body: String,
}

/// What a server can send.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[expect(missing_docs, reason = "the fields are those of the protocol's table")]
pub enum Event {
    /// You are `name` in `room`.
    Hello {
        name: String,
        #[serde(default)]
        room: String,
        #[serde(default)]
        id: u64,
        #[serde(default)]
        users: Vec<String>,
        #[serde(default)]
        total: u64,
        #[serde(default)]
        epoch: Value,
        #[serde(default)]
        server: Value,
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// Somebody said something.
    Public(Message),
    /// Somebody did something.
    Action(Message),
    /// Somebody told you something, or you told them.
    Private {
        #[serde(default)]
        ts: i64,
        from: String,
        to: String,
        body: String,
    },
    /// Somebody came in.
    Join {
        #[serde(default)]
        ts: i64,
        name: String,
    },
    /// Somebody is gone.
    Leave {
        #[serde(default)]
        ts: i64,
        name: String,
        #[serde(default)]
        why: Option<String>,
    },
    /// Somebody has another name.
    Nick {
        #[serde(default)]
        ts: i64,
        from: String,
        name: String,
    },
    /// One second's coming and going in a crowded room.
    Presence {
        #[serde(default)]
        ts: i64,
        #[serde(default)]
        joined: u64,
        #[serde(default)]
        left: u64,
        #[serde(default)]
        total: u64,
    },
    /// Who is here.
    Users {
        #[serde(default)]
        users: Vec<String>,
        #[serde(default)]
        total: u64,
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// Which rooms there are.
    Rooms {
        #[serde(default)]
        rooms: Vec<Room>,
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// Older messages by rising id; `more` are kept in the direction asked.
    History {
        #[serde(default)]
        events: Vec<Event>,
        #[serde(default)]
        more: bool,
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// A request was carried out.
    Ack {
        #[serde(rename = "ref")]
        reference: String,
        #[serde(default)]
        ts: i64,
        #[serde(default)]
        id: Option<u64>,
    },
    /// The server is there.
    Pong {
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// A request was refused.
    Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        text: String,
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// The last word of the server.
    Bye {
        #[serde(default)]
        why: String,
    },
    /// Something a newer server says.
    #[serde(other)]
    Unknown,
}

/// A room of the server and how many are in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Room {
    /// Its name, without `#`.
    pub name: String,
    /// How many are in it.
    #[serde(default)]
    pub members: u64,
}

impl Event {
    /// Reads one line. `None` if it is not an event object of this protocol at all; an event of a
    /// type unknown here is [`Event::Unknown`].
    pub fn parse(line: &str) -> Option<Event> {
        let mut value: Value = serde_json::from_str(line).ok()?;
        value.get("type")?.as_str()?;
        clean_strings(&mut value);
        serde_json::from_value(value).ok()
    }
}

/// Cleans every string of the value, however deep.
fn clean_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(text),
        Value::Array(items) => items.iter_mut().for_each(clean_strings),
        Value::Object(fields) => fields.values_mut().for_each(clean_strings),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_with_its_ref() {
        let request = Request::Public { body: "two\nlines".into() };
        assert_eq!(request.to_line("c1"), "{\"type\":\"public\",\"body\":\"two\\nlines\",\"ref\":\"c1\"}\n");
        assert_eq!(Request::Ping.to_line("k"), "{\"type\":\"ping\",\"ref\":\"k\"}\n");
    }

    #[test]
    fn an_event_is_cleaned_as_it_is_read() {
        let line = r#"{"type":"public","id":3,"ts":5,"room":"lobby","from":"b\u001bob","body":"\u202ehi"}"#;
        let message = Message { id: 3, ts: 5, from: "bob".into(), body: "hi".into() };
        assert_eq!(Event::parse(line), Some(Event::Public(message)));
    }

    #[test]
    fn what_is_new_is_unknown_and_what_is_foreign_is_nothing() {
        assert_eq!(Event::parse(r#"{"type":"topic","text":"x"}"#), Some(Event::Unknown));
        assert_eq!(Event::parse("SSH-2.0-OpenSSH_9.6"), None);
        assert_eq!(Event::parse(r#"{"jsonrpc":"2.0"}"#), None);
    }
}
