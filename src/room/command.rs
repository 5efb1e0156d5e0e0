//! What members ask of the chat, in any dialect.

use super::{Body, Name, RoomName};

/// One request of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Say something to everybody in the room.
    Say(Body),
    /// Do something in the room (`/me`).
    Act(Body),
    /// Say something to one person, in whatever room.
    Tell {
        /// The person's name, in any way of writing it.
        to: Box<str>,
        /// What is said.
        body: Body,
    },
    /// Who is here?
    Who {
        /// The answer lists at most so many names.
        names_max: usize,
    },
    /// Be called something else.
    Nick(Name),
    /// Be called so, and be there: both parts of a program's introduction.
    Hello {
        /// The name.
        name: Name,
        /// The room; where one is already if there is none.
        room: Option<RoomName>,
        /// The welcome lists at most so many names.
        names_max: usize,
    },
    /// Go to another room, which is made if it is not there.
    Join {
        /// Where to.
        room: RoomName,
        /// The welcome lists at most so many names.
        names_max: usize,
    },
    /// Which rooms are there?
    Rooms,
    /// What was said before?
    History(HistoryQuery),
    /// Are you there?
    Ping,
    /// What can I say?
    Help,
    /// Leave. The caller says good-bye and calls [`Chat::leave`](super::Chat::leave); the chat itself
    /// ignores it.
    Quit,
}

/// Which messages of a room's history are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// At most so many.
    pub limit: usize,
    /// Only those with a smaller id.
    pub before: Option<u64>,
    /// Only those with a greater id; the oldest of them come first if not all fit.
    pub after: Option<u64>,
}
