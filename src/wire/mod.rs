//! The dialects: bytes to requests, and events to bytes.
//!
//! One port speaks them all; [`sniff()`] tells from the first bytes which one a client speaks. Nothing
//! here knows a socket, or who is connected.
//!
//! | a client speaks | framing | content |
//! |---|---|---|
//! | netcat, telnet | [`mod@line`] (and [`telnet`]) | [`text`] |
//! | programs | [`mod@line`] | [`json`] |
//! | browsers, programs | [`websocket`], after [`http`] | [`text`] or [`json`] |
//!
//! What other programs say is told apart by [`foreign`]. What the server says goes through the one table of [`encoding`].

pub mod encoding;
pub mod foreign;
pub mod http;
pub mod json;
pub mod line;
pub mod sniff;
pub mod telnet;
pub mod text;
pub mod websocket;

pub use encoding::{Content, Encoding, Framing};
pub use sniff::{Sniffed, sniff};

use crate::chat::{Bye, Command, Name, Reference, Refusal, RoomName, RoomView};

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
    /// To be called so, and to be there.
    Hello {
        /// The name.
        name: Name,
        /// The room; the lobby or where one is already, if there is none.
        room: Option<RoomName>,
    },
    /// Anything else that concerns the chat.
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
            Ask::Command(Command::Say(body) | Command::Act(body) | Command::Tell { body, .. }) => {
                body.as_str().len()
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

/// At most `max` names of those in a room, in alphabetic order; `always` is among them.
fn names<'a>(room: RoomView<'a>, always: Option<&'a Name>, max: usize) -> Vec<&'a Name> {
    let others = room.users().filter(|&name| Some(name) != always);
    let mut names: Vec<&Name> = always.into_iter().chain(others).take(max).collect();
    names.sort();
    names
}
