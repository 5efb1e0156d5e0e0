//! Asks that change nothing.

use rusqlite::{Connection, Row, params};

use super::{number, stored};
use crate::chat::{Answer, Body, HistoryQuery, MARKS_MAX, Marked, Message, Name, SessionId, Ticket};

/// A read that waits, bound to a room of the file: its number may be another room's by then.
#[derive(Debug, Clone)]
pub(super) enum Reading {
    /// Of a room that was opened.
    Newest { ticket: Ticket, room: Room, epoch_ms: u64, limit: usize },
    /// Of its history.
    Page { ticket: Ticket, room: Room, query: HistoryQuery, since_ms: u64, bytes_max: usize },
    /// Of a session.
    Marks { ticket: Ticket, session: SessionId },
}

/// A room of the file, as it was when the ask came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) key: i64,
    pub(super) newest_id: u64,
}

impl Reading {
    pub(super) fn ticket(&self) -> Ticket {
        match self {
            Self::Newest { ticket, .. } | Self::Page { ticket, .. } | Self::Marks { ticket, .. } => *ticket,
        }
    }

    /// The answer.
    pub(super) fn answer(&self, db: &Connection) -> rusqlite::Result<Answer> {
        Ok(match *self {
            Self::Newest { ticket, room, epoch_ms, limit } => {
                let messages = newest(db, room, limit)?;
                Answer::Opened { ticket, epoch_ms, newest_id: room.newest_id, messages }
            }
            Self::Page { ticket, room, query, since_ms, bytes_max } => {
                let (messages, more) = page(db, room, query, since_ms, bytes_max)?;
                Answer::Found { ticket, messages, more }
            }
            Self::Marks { ticket, session } => Answer::Recalled { ticket, marks: marks(db, session)? },
        })
    }
}

/// The newest messages of a room, by rising id without holes up to its newest.
fn newest(db: &Connection, room: Room, limit: usize) -> rusqlite::Result<Vec<Message>> {
    let (mut messages, _) = page(db, room, HistoryQuery { limit, ..HistoryQuery::default() }, 0, usize::MAX)?;
    let ids_down = (0..=room.newest_id).rev();
    let whole = messages.iter().rev().zip(ids_down).take_while(|(message, id)| message.id == *id).count();
    messages.drain(..messages.len() - whole);
    Ok(messages)
}

/// See [`HistoryQuery`]: from the end one has, towards the other; and whether there are more that way.
fn page(
    db: &Connection,
    room: Room,
    query: HistoryQuery,
    since_ms: u64,
    bytes_max: usize,
) -> rusqlite::Result<(Vec<Message>, bool)> {
    let mut statement = db.prepare_cached(match query.after {
        Some(_) => {
            "SELECT id, at_ms, sender, is_action, body FROM message
             WHERE room = ?1 AND id > ?2 AND id < ?3 AND at_ms >= ?5 ORDER BY id LIMIT ?4"
        }
        None => {
            "SELECT id, at_ms, sender, is_action, body FROM message
             WHERE room = ?1 AND id > ?2 AND id < ?3 AND at_ms >= ?5 ORDER BY id DESC LIMIT ?4"
        }
    })?;
    let end = room.newest_id.saturating_add(1);
    let (after, before) = (query.after.unwrap_or(0), query.before.unwrap_or(end).min(end));
    let one_more = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows =
        statement.query(params![room.key, stored(after), stored(before), one_more, stored(since_ms)])?;
    let (mut messages, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        let message = message(row)?;
        bytes += message.body.as_str().len();
        more = messages.len() == query.limit || (bytes > bytes_max && !messages.is_empty());
        if more {
            break;
        }
        messages.push(message);
    }
    if query.after.is_none() {
        messages.reverse();
    }
    Ok((messages, more))
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: number(row, 0)?,
        at_ms: number(row, 1)?,
        from: Name::saved(row.get_ref(2)?.as_str()?),
        is_action: row.get(3)?,
        body: Body::saved(row.get_ref(4)?.as_str()?),
    })
}

/// The last marks of a session, by rising number.
fn marks(db: &Connection, session: SessionId) -> rusqlite::Result<Vec<Marked>> {
    let mut statement = db
        .prepare_cached("SELECT number, reference, id, at_ms FROM said WHERE session = ?1 ORDER BY number")?;
    let marked = |row: &Row<'_>| {
        Ok(Marked {
            number: number(row, 0)?,
            reference: row.get(1)?,
            id: number(row, 2)?,
            at_ms: number(row, 3)?,
        })
    };
    let mut marks: Vec<Marked> = statement.query_map([&session.0[..]], marked)?.collect::<Result<_, _>>()?;
    // Slots that were passed over hold what is older.
    if let Some(last) = marks.last().map(|mark| mark.number) {
        marks.retain(|mark| mark.number.saturating_add(MARKS_MAX) > last);
    }
    Ok(marks)
}
