//! What there is to show, before anything is known about terminals, colours or columns.

use super::protocol::Message;

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Somebody said or did something in the room.
    Said {
        /// The message.
        message: Message,
        /// Done rather than said.
        action: bool,
        /// It is ours.
        own: bool,
        /// Our name is in it.
        mention: bool,
        /// It is from before we came, or from while we were away.
        old: bool,
    },
    /// Somebody told us something, or we told them.
    Private {
        /// When, in Unix milliseconds.
        ts: u64,
        /// Who told.
        from: String,
        /// Who was told.
        to: String,
        /// What.
        body: String,
        /// It is ours.
        own: bool,
    },
    /// Something happened in the room.
    Happened {
        /// When, in Unix milliseconds.
        ts: u64,
        /// What, as a sentence.
        text: String,
    },
    /// One of these in a room that is not the current one.
    Elsewhere(String, Box<Line>),
    /// The answer to something we asked.
    Answer(String),
    /// How the connection is doing.
    Status(String),
    /// Something we asked for was refused, or went wrong.
    Trouble(String),
}

impl Line {
    /// The line without its room.
    pub(super) fn bare(&self) -> &Line {
        if let Line::Elsewhere(_, line) = self { line } else { self }
    }
}
