//! What the client says and hears: the types of [`wire::json`](crate::wire::json), and events
//! cleaned as they are read.

use serde_json::Value;

use super::sanitize::{clean, clean_body};
use crate::wire::json::{EventDocument, MessageDocument, RequestDocument};

/// What a client can ask for.
pub(super) type Request = RequestDocument;
/// What a server can send.
pub(super) type Event = EventDocument<String>;
/// A message that has an id.
pub(super) type Message = MessageDocument<String>;

/// The room that a request is about, if it says one. That of `join` is none: one is not there yet.
pub(super) fn room_of(request: &Request) -> Option<&str> {
    match request {
        Request::Public { room, .. }
        | Request::Action { room, .. }
        | Request::Users { room }
        | Request::History { room, .. }
        | Request::Leave { room } => room.as_deref(),
        _ => None,
    }
}

/// The same, to be changed.
pub(super) fn room_mut(request: &mut Request) -> Option<&mut Option<String>> {
    match request {
        Request::Public { room, .. }
        | Request::Action { room, .. }
        | Request::Users { room }
        | Request::History { room, .. }
        | Request::Leave { room } => Some(room),
        _ => None,
    }
}

/// Reads one line. `None` if it is not an event object of this protocol at all; an event of a type
/// unknown here is [`Event::Unknown`]. Nothing in its strings can drive a terminal any more.
pub(super) fn read(line: &str) -> Option<Event> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    clean_strings(&mut value);
    serde_json::from_value(value).ok()
}

/// Cleans every string of the value, however deep. Only what is said may have several lines.
fn clean_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(text),
        Value::Array(items) => items.iter_mut().for_each(clean_strings),
        Value::Object(fields) => fields.iter_mut().for_each(|(field, value)| match value {
            Value::String(body) if field == "body" => *body = clean_body(body),
            value => clean_strings(value),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
