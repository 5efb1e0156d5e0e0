//! What the chat asks of its store, and what the store answers: [`crate::store`].
//!
//! The chat hands out no ids: a room is a log, the store appends to it, and what it has appended is told. So what anybody
//! has seen is saved, and everybody sees it in the order of the log.

use std::fmt;

use super::{HistoryQuery, Message, Name, RoomName};

/// What an answer is about. The store hands it back as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ticket {
    /// What this member has said or asked for: the oldest of that which is not answered yet.
    Member(u32),
    /// This room.
    Room(u32),
    /// This session.
    Session(SessionId),
}

/// What is asked of a store. Asks about a room call it by its number, from `Open` to `Close`.
///
/// The store takes asks in order. It answers each one that has a ticket, once; appends in order, what is only read
/// whenever it likes, but not before what was appended before the ask can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Begin with a room, and make it if it is not there: [`Answer::Opened`].
    Open {
        /// For the answer.
        ticket: Ticket,
        /// What it is called from now on; free until now.
        room: u32,
        /// Its name.
        name: RoomName,
        /// So many of its newest messages are wanted.
        newest: usize,
        /// Its epoch, if it is made: Unix milliseconds.
        now_ms: u64,
    },
    /// Nobody is in this room any more: its number is free. If nothing was ever said in it, it is no more.
    Close {
        /// Its number.
        room: u32,
    },
    /// Put a message at the end of a room's log: [`Answer::Appended`].
    Append {
        /// For the answer.
        ticket: Ticket,
        /// Where.
        room: u32,
        /// What; its id is still to be found.
        message: Message,
        /// The mark that its sender has put on it.
        mark: Option<Mark>,
    },
    /// Which messages are there? [`Answer::Found`].
    Read {
        /// For the answer.
        ticket: Ticket,
        /// Where.
        room: u32,
        /// Which; nothing is left out (`skip` is 0).
        query: HistoryQuery,
        /// Nothing that was said before that, in Unix milliseconds.
        since_ms: u64,
        /// Not more than fit into so many bytes of text, but at least one.
        bytes_max: usize,
    },
    /// Which marks does this session have? [`Answer::Recalled`].
    Recall {
        /// For the answer.
        ticket: Ticket,
        /// Which.
        session: SessionId,
    },
    /// A session is there: [`Answer::Kept`], if there is a ticket.
    Keep {
        /// For the answer.
        ticket: Option<Ticket>,
        /// Which.
        session: SessionId,
        /// Its name; none if nobody was told of the session so far.
        name: Option<Name>,
        /// Since when nobody continues it, in Unix milliseconds; none if somebody is here.
        left_ms: Option<u64>,
    },
    /// A session is over, and its marks with it.
    Forget {
        /// Which.
        session: SessionId,
    },
}

impl Ask {
    /// To keep a session that is known to whoever is in it, or was.
    #[must_use]
    pub fn keep(session: SessionId, name: Name, left_ms: Option<u64>) -> Self {
        Self::Keep { ticket: None, session, name: Some(name), left_ms }
    }
}

/// What a store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This room is open.
    Opened {
        /// Of the ask.
        ticket: Ticket,
        /// When it began to count, in Unix milliseconds.
        epoch_ms: u64,
        /// The id of its newest message; 0 if there was none.
        newest_id: u64,
        /// Its newest messages that are kept, by rising id without holes up to that.
        messages: Vec<Message>,
    },
    /// This message is saved, with its id.
    Appended {
        /// Of the ask.
        ticket: Ticket,
        /// The message.
        message: Message,
    },
    /// These messages are there.
    Found {
        /// Of the ask.
        ticket: Ticket,
        /// By rising id.
        messages: Vec<Message>,
        /// Whether there are more in the direction asked: newer ones if `after` was given, else older ones.
        more: bool,
    },
    /// These marks a session has put on what it has said.
    Recalled {
        /// Of the ask.
        ticket: Ticket,
        /// By rising number; the last ones.
        marks: Vec<Marked>,
    },
    /// This session is saved; or will be as soon as anything is.
    Kept {
        /// Of the ask.
        ticket: Ticket,
    },
    /// It could not be done, and nothing has changed. It may work the next time.
    Refused {
        /// Of the ask.
        ticket: Ticket,
        /// What is in the way, and what to do: a sentence for people.
        trouble: Box<str>,
    },
}

/// A session that can be continued by whoever knows this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// Reads what [`SessionId`] writes: 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let mut id = [0; 16];
        if digits.len() != 2 * id.len() {
            return None;
        }
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// It is worth a name: it is not written to logs.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId")
    }
}

/// The `ref` that a message was said with. Of each session the last [`MARKS_MAX`] are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub session: SessionId,
    /// Which of the session's: 0, 1, 2 …
    pub number: u64,
    /// The `ref`.
    pub reference: Box<str>,
}

/// A mark, and what was said with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Which of the session's.
    pub number: u64,
    /// The `ref`.
    pub reference: Box<str>,
    /// The id of the message.
    pub id: u64,
    /// Its time, in Unix milliseconds.
    pub at_ms: u64,
}

/// So many marks of a session are known.
pub const MARKS_MAX: u64 = 1000;
/// For so long a session can be continued after its connection broke, in milliseconds.
pub const SESSION_TIME_MS: u64 = 10 * 60 * 1000;

/// What a store has kept from the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Rooms, the one that was used last first, with their epochs and the ids of their newest messages.
    pub rooms: Vec<(RoomName, u64, u64)>,
    /// Sessions that can be continued, with their names, and since when nobody does, in Unix milliseconds.
    pub sessions: Vec<(SessionId, Option<Name>, u64)>,
}
