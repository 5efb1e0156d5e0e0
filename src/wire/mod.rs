//! The dialects: bytes to requests, and events to bytes.
//!
//! One port speaks them all; [`sniff()`] tells from the first bytes which one a client speaks. Nothing
//! here knows a socket, or who is connected.
//!
//! | a client speaks | framing | content |
//! |---|---|---|
//! | netcat, telnet | [`mod@line`] (with telnet) | [`text`] |
//! | programs | [`mod@line`] or [`length`] | [`json`] or [`text`] |
//! | browsers, programs | [`websocket`], after [`http`] | [`text`] or [`json`] |
//!
//! What other programs say is told apart by [`foreign`]. What the server says goes through the one table of [`encoding`].

pub mod encoding;
pub mod foreign;
pub mod json;
pub mod text;

pub use encoding::{Content, Encoding, Framing};

use crate::chat::{Bye, Chat, Command, Name, Reference, Refusal, RoomName, RoomView};
pub use crate::framing::{Sniffed, http, length, line, sniff, websocket};

/// What an answer holds besides its list: at most so many bytes.
const ENVELOPE_BYTES_MAX: usize = 1024;
/// An answer lists at most so many rooms.
const ROOMS_MAX: usize = 1000;
/// What parts two names of a list, quotation marks included, in bytes.
const SEPARATOR_BYTES: usize = 3;

/// What a client says, in any dialect.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The name that it claims, in case this is the first request of a connection.
    pub from: Option<Box<str>>,
    /// What to answer with.
    pub reference: Reference,
    /// What is asked.
    pub ask: Ask,
}

/// See [`Request`].
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// What concerns the chat.
    Command(Command),
    /// Are you there?
    Ping,
    /// What can I say?
    Help,
    /// Good-bye.
    Quit,
}

impl Request {
    /// How many bytes of text it holds besides names.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let body = match &self.ask {
            Ask::Command(
                Command::Say { body, .. } | Command::Act { body, .. } | Command::Tell { body, .. },
            ) => body.as_str().len(),
            Ask::Command(Command::Hello(hello)) => {
                hello.rooms.iter().map(|room| size_of::<RoomName>() + room.as_str().len()).sum()
            }
            _ => 0,
        };
        body + self.from.as_ref().map_or(0, |from| from.len())
    }
}

impl From<Ask> for Request {
    fn from(ask: Ask) -> Self {
        Self { from: None, reference: None, ask }
    }
}

/// What the server itself says to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// I am here.
    Pong,
    /// What you can say.
    Help,
    /// Your request was refused; nothing else was lost.
    Refused(Refusal),
    /// Good-bye: the last thing you hear.
    Bye(Bye),
}

/// Whether so many bytes more fit into one of so many `parts` of an answer; after what does not, nothing does.
fn place_in_answer(chat: &Chat, parts: usize) -> impl FnMut(usize) -> bool {
    let max = chat.limits().answer_bytes_max() / parts;
    let mut left = max.saturating_sub(ENVELOPE_BYTES_MAX).max(max / 2);
    move |bytes| {
        let fits = bytes <= left;
        left = if fits { left - bytes } else { 0 };
        fits
    }
}

/// At most `max` names of those in a room, and no more than fit into one of so many `parts` of an answer, in alphabetic
/// order; `always` is among them.
fn names<'a>(
    chat: &Chat,
    room: RoomView<'a>,
    always: Option<&'a Name>,
    max: usize,
    parts: usize,
) -> Vec<&'a Name> {
    let mut fits = place_in_answer(chat, parts);
    let others = room.users().filter(|&name| Some(name) != always);
    let all = always.into_iter().chain(others).take(max);
    let mut names: Vec<&Name> = all.take_while(|name| fits(name.as_str().len() + SEPARATOR_BYTES)).collect();
    names.sort();
    names
}

/// At most [`ROOMS_MAX`] rooms, and no more than fit into an answer with `overhead` bytes besides each name, in
/// alphabetic order.
fn rooms(chat: &Chat, overhead: usize) -> Vec<RoomView<'_>> {
    let mut fits = place_in_answer(chat, 1);
    let all = chat.rooms().take(ROOMS_MAX);
    let mut rooms: Vec<_> = all.take_while(|room| fits(room.name().as_str().len() + overhead)).collect();
    rooms.sort_by_key(RoomView::name);
    rooms
}
