//! What the chat tells: events for a whole room, replies for one member, refusals.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use super::{Ask, Body, HistoryQuery, Name, Page, RoomName, SessionId};

/// A message of a room. It has an id and is kept in the room's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// 1, 2, 3 … in each room.
    pub id: u64,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// Who.
    pub from: Name,
    /// Said, or done (`/me`).
    pub is_action: bool,
    /// What.
    pub body: Body,
}

/// Something everybody in a room learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody said or did something.
    Message(Rc<Message>),
    /// Somebody came in.
    Joined {
        /// Who.
        name: Name,
        /// How many are here now.
        total: usize,
    },
    /// Somebody has left this room.
    Left {
        /// Who.
        name: Name,
        /// How many are here now.
        total: usize,
        /// Why, if it was not a plain good-bye.
        why: Option<Why>,
    },
    /// Somebody has another name now.
    Renamed {
        /// The name before.
        from: Name,
        /// The name from now on.
        to: Name,
    },
    /// The sum of what happened in a second in a crowded room.
    Crowd {
        /// How many came in.
        joined: u32,
        /// How many left.
        left: u32,
        /// How many are here now.
        total: usize,
    },
}

/// Why somebody has left, if it was not a plain good-bye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing was heard of them for too long.
    Timeout,
    /// They did not take what was sent to them.
    Slow,
    /// Their connection broke.
    Reset,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "timeout",
            Self::Slow => "slow",
            Self::Reset => "reset",
        })
    }
}

/// Something one member is told. Of a room only the number is given: what is said and who is in it
/// [`Chat::room`](super::Chat::room) tells, so that a list is as long as who writes it wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// You are called `name`, and your current room is `room`.
    Welcome {
        /// Your name.
        name: Name,
        /// The room.
        room: u32,
        /// Which messages before you came you are to be shown.
        history: HistoryQuery,
        /// Your session, if you have just introduced yourself and have one.
        session: Option<SessionId>,
    },
    /// One of the rooms that you are in.
    Room {
        /// Your name.
        name: Name,
        /// The room.
        room: u32,
        /// How many rooms you are told of at once: their lists share what an answer may have.
        rooms: usize,
    },
    /// You could not enter this room.
    NoRoom {
        /// The room.
        room: RoomName,
        /// Why.
        refusal: Refusal,
    },
    /// You have left this room.
    Left {
        /// Your name.
        name: Name,
        /// The room.
        room: u32,
    },
    /// Somebody told you something that nobody else hears.
    Private {
        /// Who.
        from: Name,
        /// You.
        to: Name,
        /// What.
        body: Body,
    },
    /// You told somebody something that nobody else hears.
    PrivateSent {
        /// You.
        from: Name,
        /// Whom.
        to: Name,
        /// What.
        body: Body,
    },
    /// Your request was carried out.
    Ack {
        /// The id of the message it made, if it made one.
        id: Option<u64>,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// What you said could not be saved, so nobody has seen it.
    NotSaved {
        /// Why.
        refusal: Refusal,
    },
    /// Who is here.
    Users {
        /// Where.
        room: u32,
    },
    /// Which rooms there are, and how many are in each.
    Rooms {
        /// Those that you are in, the current one first.
        joined: Vec<u32>,
    },
    /// Whom you do not hear.
    Ignored {
        /// Their names.
        names: Vec<Name>,
    },
    /// What was said before.
    History {
        /// Where.
        room: u32,
        /// Which messages of it were asked for.
        query: HistoryQuery,
        /// Those.
        page: Page,
    },
}

/// Why the server says good-bye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bye {
    /// You asked for it.
    Quit,
    /// The server is shutting down.
    Shutdown,
    /// You did not take what was sent to you.
    Slow,
    /// Nothing was heard of you for too long.
    Timeout,
    /// You did not say a name in time.
    Nameless,
    /// Another connection has continued your session.
    TakenOver,
}

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a sentence for people.
    #[must_use]
    pub fn new(code: ErrorCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Why a request was refused, for programs; [`ErrorCode::as_str`] is what they see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// `name-taken`: somebody has this name, or one that looks the same.
    NameTaken,
    /// `name-bad`: this cannot be a name.
    NameBad,
    /// `no-such-user`: nobody here has this name.
    NoSuchUser,
    /// `too-long`: the line or message is longer than the limit.
    TooLong,
    /// `bad-utf8`: the line is not UTF-8.
    BadUtf8,
    /// `unknown-command`: there is no such command.
    UnknownCommand,
    /// `bad-argument`: the command does not take this.
    BadArgument,
    /// `not-here`: you are not in this room.
    NotHere,
    /// `full`: there is no room for another connection, or no place for another room, or you are in too many.
    Full,
    /// `busy`: the receiver of a private message has not read the last ones.
    Busy,
    /// `not-saved`: the store cannot save it, or read what it has saved.
    NotSaved,
    /// `dropped`: lines that came too fast, from somebody who has closed its side since; or behind a name that was
    /// refused, before its sender could know.
    Dropped,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NameTaken,
        Self::NameBad,
        Self::NoSuchUser,
        Self::TooLong,
        Self::BadUtf8,
        Self::UnknownCommand,
        Self::BadArgument,
        Self::NotHere,
        Self::Full,
        Self::Busy,
        Self::NotSaved,
        Self::Dropped,
    ];

    /// The code as it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NameTaken => "name-taken",
            Self::NameBad => "name-bad",
            Self::NoSuchUser => "no-such-user",
            Self::TooLong => "too-long",
            Self::BadUtf8 => "bad-utf8",
            Self::UnknownCommand => "unknown-command",
            Self::BadArgument => "bad-argument",
            Self::NotHere => "not-here",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::NotSaved => "not-saved",
            Self::Dropped => "dropped",
        }
    }
}

/// A client's own mark on a request, which the answer carries too.
pub type Reference = Option<Box<str>>;

/// What the chat wants done, in order, after each command. Members are named by the tag they came in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A room was made: it has this number from now on.
    RoomOpened {
        /// Its number; small and dense.
        room: u32,
    },
    /// A room is no more; its number may be used again.
    RoomClosed {
        /// Its number.
        room: u32,
    },
    /// From now on this member hears what is said in this room, too.
    Entered {
        /// Who.
        tag: u64,
        /// Where.
        room: u32,
        /// It is the current one now.
        is_current: bool,
    },
    /// This room, which the member is in, is its current one now.
    Turned {
        /// Who.
        tag: u64,
        /// Where to.
        room: u32,
    },
    /// From now on this member does not hear what is said in this room, which is not its current one.
    Left {
        /// Who.
        tag: u64,
        /// Where.
        room: u32,
    },
    /// Tell everybody in a room.
    ToRoom {
        /// Its number.
        room: u32,
        /// What.
        event: Event,
        /// Whose doing it is; the text dialect does not send people what they typed.
        author: Option<u64>,
        /// Who is not told: whoever does not want to hear it, or hears it in another room.
        except: Vec<u64>,
    },
    /// Ask the store; what it answers is for [`Chat::answer`](super::Chat::answer).
    Ask(Ask),
    /// All that this member waited for is answered: see [`Chat::prepare`](super::Chat::prepare).
    Settled {
        /// Who.
        tag: u64,
    },
    /// This member is gone: another connection has continued its session.
    TakenOver {
        /// Who.
        tag: u64,
    },
    /// Tell one member.
    ToMember {
        /// Whom.
        tag: u64,
        /// What.
        reply: Reply,
        /// The mark on the request this answers.
        reference: Reference,
    },
}
