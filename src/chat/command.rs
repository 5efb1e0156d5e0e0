//! What members ask of the chat, in any dialect.

use super::{Body, Name, RoomName};

/// What a member asks of the chat.
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
    Who,
    /// Be called something else.
    Nick(Name),
    /// Be called so, and be there: both parts of a program's introduction.
    Hello {
        /// The name.
        name: Name,
        /// The room; where one is already if there is none.
        room: Option<RoomName>,
    },
    /// Go to another room, which is made if it is not there.
    Join(RoomName),
    /// Go back to the lobby from the room one is in, or from this one.
    Leave(Option<RoomName>),
    /// Not to hear what somebody says who is called so.
    Ignore(Name),
    /// To hear it again.
    Unignore(Name),
    /// Whom does one ignore?
    Ignored,
    /// Which rooms are there?
    Rooms,
    /// What was said before?
    History(HistoryQuery),
}

/// Which messages of a room's history are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistoryQuery {
    /// At most so many.
    pub limit: usize,
    /// Only those with a smaller id.
    pub before: Option<u64>,
    /// Only those with a greater id; the oldest of them come first if not all fit.
    pub after: Option<u64>,
    /// So many of the newest are left out.
    pub skip: usize,
}
