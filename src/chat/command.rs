//! What members ask of the chat, in any dialect.

use super::{Body, Name, RoomName, SessionId};

/// What a member asks of the chat. Where a `room` may be missing, it is the member's current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Say something to everybody in a room.
    Say {
        /// Where.
        room: Option<RoomName>,
        /// What.
        body: Body,
    },
    /// Do something in a room (`/me`).
    Act {
        /// Where.
        room: Option<RoomName>,
        /// What.
        body: Body,
    },
    /// Say something to one person, in whatever room.
    Tell {
        /// The person's name, in any way of writing it.
        to: Box<str>,
        /// What is said.
        body: Body,
    },
    /// Who is here?
    Who {
        /// Where.
        room: Option<RoomName>,
    },
    /// Be called something else.
    Nick(Name),
    /// Be called so, and be there.
    Hello(Hello),
    /// Enter one more room, which is made if it is not there, and make it the current one.
    Join(RoomName),
    /// Leave a room; from the last one back to the lobby.
    Leave {
        /// Which.
        room: Option<RoomName>,
    },
    /// Not to hear what somebody says who is called so.
    Ignore(Name),
    /// To hear it again.
    Unignore(Name),
    /// Whom does one ignore?
    Ignored,
    /// Which rooms are there?
    Rooms,
    /// What was said before?
    History {
        /// Where.
        room: Option<RoomName>,
        /// Which of it.
        query: HistoryQuery,
    },
}

/// An introduction: be called so, and be there and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name.
    pub name: Name,
    /// The rooms, each once, the current one first. If there is none: where one is, or the lobby.
    pub rooms: Vec<RoomName>,
    /// Whether to be told of each of them.
    pub lists_rooms: bool,
    /// Which session it continues.
    pub resume: Resume,
}

/// Which session somebody who introduces itself wants to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// None.
    No,
    /// A new one.
    Anew,
    /// This one, or else a new one.
    Session(SessionId),
}

impl Hello {
    /// An introduction in one room, or wherever one is.
    #[must_use]
    pub fn new(name: Name, room: Option<RoomName>) -> Self {
        Self { name, rooms: room.into_iter().collect(), lists_rooms: false, resume: Resume::No }
    }
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
