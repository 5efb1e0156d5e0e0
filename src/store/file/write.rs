//! Asks that change the file, a batch at a time: all of it is committed, or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::open::BUSY_TIME;
use super::read::{Reading, Room};
use super::{number, stored, trouble};
use crate::chat::{Ask, MARKS_MAX, Mark, Message, Name, RoomName, SessionId};

/// What became of an ask.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is done, and nobody waits for an answer.
    Done,
    /// It is saved, with this id.
    Appended(u64),
    /// It is answered when that is read.
    Read(Reading),
    /// It could not be done.
    Refused(&'static str),
}

/// The connection that writes, and what it knows by heart.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) db: Connection,
    /// No epoch is less, in Unix milliseconds.
    epoch_floor_ms: u64,
    /// Open rooms by number. Within a batch they are ahead of the file.
    rooms: Vec<Option<Room>>,
    /// What [`Self::rooms`] held before the batch changed it, the last change last.
    changed: Vec<(u32, Option<Room>)>,
    /// By key: the newest id and the time of rooms that the file does not have yet.
    ahead: BTreeMap<i64, (u64, u64)>,
    owed: Owed,
    /// Transactions that were committed.
    pub(super) commits: u64,
}

/// What nobody waits for and could not be written: it is with the next batch.
#[derive(Debug, Default)]
struct Owed {
    /// Sessions that are there, or over.
    sessions: HashMap<SessionId, Session>,
    /// Keys of rooms that were closed.
    closed: BTreeSet<i64>,
}

#[derive(Debug, Default)]
struct Session {
    is_over: bool,
    /// After that.
    kept: Option<(Option<Name>, Option<u64>)>,
}

impl Writer {
    pub(super) fn new(db: Connection, epoch_floor_ms: u64) -> Self {
        let (rooms, changed, ahead, owed) = (Vec::new(), Vec::new(), BTreeMap::new(), Owed::default());
        Self { db, epoch_floor_ms, rooms, changed, ahead, owed, commits: 0 }
    }

    /// Does what is asked, in order, and commits it.
    ///
    /// # Errors
    /// Nothing has changed; what is to become of the batch says [`Self::refuse`].
    pub(super) fn write(&mut self, batch: &[Ask]) -> rusqlite::Result<Vec<Outcome>> {
        let outcomes = batch.iter().map(|ask| self.apply(ask)).collect::<Result<Vec<_>, _>>();
        let outcomes = outcomes.and_then(|outcomes| self.commit().map(|()| outcomes));
        if outcomes.is_err() {
            self.roll_back();
        }
        self.changed.clear();
        outcomes
    }

    /// Whether a transaction is open, so that there is something to commit.
    fn is_writing(&self) -> bool {
        !self.db.is_autocommit()
    }

    /// What becomes of a batch that cannot be written: what only reads is done, what nobody waits for is owed, all else
    /// is refused.
    pub(super) fn refuse(&mut self, batch: &[Ask], sentence: &'static str) -> Vec<Outcome> {
        let outcomes = batch.iter().map(|ask| match ask {
            Ask::Open { room, name, .. } => match self.find(name) {
                Ok(Some((found, epoch_ms))) => {
                    self.owed.closed.remove(&found.key);
                    self.set(*room, Some(found));
                    opened(ask, found, epoch_ms)
                }
                Ok(None) | Err(_) => {
                    self.set(*room, None);
                    Outcome::Refused(sentence)
                }
            },
            Ask::Append { .. } => Outcome::Refused(sentence),
            Ask::Close { room } => {
                if let Some(closed) = self.set(*room, None).filter(|closed| closed.newest_id == 0) {
                    self.owed.closed.insert(closed.key);
                }
                Outcome::Done
            }
            // Nobody was told of it, and when somebody is, it is kept.
            Ask::Keep { name: None, .. } => Outcome::Done,
            Ask::Keep { session, name, left_ms, .. } => {
                self.owed.sessions.entry(*session).or_default().kept = Some((name.clone(), *left_ms));
                Outcome::Done
            }
            Ask::Forget { session } => {
                // What came and went meanwhile leaves nothing behind.
                if self.is_kept(*session).unwrap_or(true) {
                    self.owed.sessions.insert(*session, Session { is_over: true, kept: None });
                } else {
                    self.owed.sessions.remove(session);
                }
                Outcome::Done
            }
            Ask::Read { .. } | Ask::Recall { .. } => self.reading(ask),
        });
        let outcomes = outcomes.collect();
        self.changed.clear();
        outcomes
    }

    /// Writes what is owed, and a number besides: whether one can.
    pub(super) fn probe(&mut self) -> rusqlite::Result<()> {
        let probed = self.begin().and_then(|()| {
            self.db.prepare_cached("UPDATE meta SET probes = probes + 1")?.execute([])?;
            self.commit()
        });
        if probed.is_err() {
            self.roll_back();
        }
        probed
    }

    /// Writes what is owed, and that the daemon has ended in order: behind all else, and on the disk.
    pub(super) fn close(&mut self) -> rusqlite::Result<()> {
        self.db.pragma_update(None, "synchronous", "FULL")?;
        self.begin()?;
        self.db.execute("UPDATE meta SET is_clean = 1", [])?;
        self.commit()
    }

    /// Pages that are not in the file yet, but beside it.
    pub(super) fn pages_waiting(&self) -> u64 {
        let waiting = self
            .db
            .prepare_cached("PRAGMA wal_checkpoint(NOOP)")
            .and_then(|mut look| look.query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)));
        waiting.map_or(0, |pages| u64::try_from(pages).unwrap_or(0))
    }

    /// Brings pages into the file, without waiting for anybody who reads: all those it can, in this mode of SQLite's.
    pub(super) fn checkpoint(&self, mode: &str) -> rusqlite::Result<()> {
        self.db.busy_timeout(Duration::ZERO)?;
        let done = self.db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
        self.db.busy_timeout(BUSY_TIME)?;
        done
    }

    fn apply(&mut self, ask: &Ask) -> rusqlite::Result<Outcome> {
        Ok(match ask {
            Ask::Open { room, name, now_ms, .. } => {
                self.catch_up()?;
                let found = match self.find(name)? {
                    Some(found) => found,
                    None => self.make(name, *now_ms)?,
                };
                self.owed.closed.remove(&found.0.key);
                self.set(*room, Some(found.0));
                opened(ask, found.0, found.1)
            }
            Ask::Close { room } => {
                let closed = self.set(*room, None);
                if let Some(closed) = closed.filter(|closed| closed.newest_id == 0) {
                    self.begin()?;
                    unmake(&self.db, closed.key)?;
                }
                Outcome::Done
            }
            Ask::Append { room, message, mark, .. } => match self.room(*room) {
                Some(found) => Outcome::Appended(self.append(*room, found, message, mark.as_ref())?),
                None => Outcome::Refused(trouble::NOT_OPEN),
            },
            Ask::Read { .. } | Ask::Recall { .. } => self.reading(ask),
            Ask::Keep { session, name, left_ms, .. } => {
                self.begin()?;
                keep(&self.db, *session, name, *left_ms)?;
                Outcome::Done
            }
            Ask::Forget { session } => {
                self.begin()?;
                forget(&self.db, *session)?;
                Outcome::Done
            }
        })
    }

    /// Begins a transaction with what is owed, if there is none.
    fn begin(&mut self) -> rusqlite::Result<()> {
        if self.is_writing() {
            return Ok(());
        }
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for (id, session) in &self.owed.sessions {
            if session.is_over {
                forget(&self.db, *id)?;
            }
            if let Some((name, left_ms)) = &session.kept {
                keep(&self.db, *id, name, *left_ms)?;
            }
        }
        self.owed.closed.iter().try_for_each(|&key| unmake(&self.db, key))
    }

    fn commit(&mut self) -> rusqlite::Result<()> {
        self.catch_up()?;
        if self.is_writing() {
            self.db.prepare_cached("COMMIT")?.execute([])?;
            self.owed = Owed::default();
            self.commits += 1;
        }
        Ok(())
    }

    /// Back to what the file says.
    fn roll_back(&mut self) {
        if self.is_writing() {
            // If that fails, there was nothing to take back.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        self.ahead.clear();
        while let Some((room, before)) = self.changed.pop() {
            self.rooms[room as usize] = before;
        }
    }

    /// Tells the file the newest ids of rooms that something was appended to.
    fn catch_up(&mut self) -> rusqlite::Result<()> {
        if self.ahead.is_empty() {
            return Ok(());
        }
        let mut update = self
            .db
            .prepare_cached("UPDATE room SET newest_id = ?2, used_ms = max(used_ms, ?3) WHERE key = ?1")?;
        for (key, (newest_id, used_ms)) in &self.ahead {
            update.execute(params![key, stored(*newest_id), stored(*used_ms)])?;
        }
        self.ahead.clear();
        Ok(())
    }

    /// Whether the file knows a session.
    fn is_kept(&self, session: SessionId) -> rusqlite::Result<bool> {
        self.db.prepare_cached("SELECT 1 FROM session WHERE id = ?1")?.exists([&session.0[..]])
    }

    // ---- rooms

    fn room(&self, room: u32) -> Option<Room> {
        *self.rooms.get(room as usize)?
    }

    /// Sets what a number stands for; returns what it stood for.
    fn set(&mut self, room: u32, now: Option<Room>) -> Option<Room> {
        let slot = room as usize;
        if slot >= self.rooms.len() {
            self.rooms.resize(slot + 1, None);
        }
        let before = std::mem::replace(&mut self.rooms[slot], now);
        self.changed.push((room, before));
        before
    }

    /// The room of this name, if there is one, and its epoch.
    fn find(&self, name: &RoomName) -> rusqlite::Result<Option<(Room, u64)>> {
        let mut select =
            self.db.prepare_cached("SELECT key, epoch_ms, newest_id FROM room WHERE name = ?1")?;
        let found = select.query_row([name.as_str()], |row| {
            Ok((Room { key: row.get(0)?, newest_id: number(row, 2)? }, number(row, 1)?))
        });
        Ok(found.optional()?.map(|(room, epoch_ms)| (room, epoch_ms.max(self.epoch_floor_ms))))
    }

    fn make(&mut self, name: &RoomName, now_ms: u64) -> rusqlite::Result<(Room, u64)> {
        self.begin()?;
        let epoch_ms = now_ms.max(self.epoch_floor_ms.saturating_add(1));
        self.db
            .prepare_cached("INSERT INTO room (name, epoch_ms, newest_id, used_ms) VALUES (?1, ?2, 0, ?3)")?
            .execute(params![name.as_str(), stored(epoch_ms), stored(now_ms)])?;
        Ok((Room { key: self.db.last_insert_rowid(), newest_id: 0 }, epoch_ms))
    }

    fn append(
        &mut self,
        number: u32,
        room: Room,
        message: &Message,
        mark: Option<&Mark>,
    ) -> rusqlite::Result<u64> {
        self.begin()?;
        let id = room.newest_id.saturating_add(1);
        self.db
            .prepare_cached(
                "INSERT INTO message (room, id, at_ms, sender, is_action, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                room.key,
                stored(id),
                stored(message.at_ms),
                message.from.as_str(),
                message.is_action,
                message.body.as_str()
            ])?;
        if let Some(mark) = mark {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO said VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params![
                    &mark.session.0[..],
                    stored(mark.number % MARKS_MAX),
                    stored(mark.number),
                    &*mark.reference,
                    room.key,
                    stored(id),
                    stored(message.at_ms)
                ])?;
        }
        self.ahead.insert(room.key, (id, message.at_ms));
        self.set(number, Some(Room { newest_id: id, ..room }));
        Ok(id)
    }

    /// What is only read, with the room that its number stands for now.
    fn reading(&self, ask: &Ask) -> Outcome {
        match *ask {
            Ask::Read { ticket, room, query, since_ms, bytes_max } => match self.room(room) {
                Some(room) => Outcome::Read(Reading::Page { ticket, room, query, since_ms, bytes_max }),
                None => Outcome::Refused(trouble::NOT_OPEN),
            },
            Ask::Recall { ticket, session } => Outcome::Read(Reading::Marks { ticket, session }),
            _ => Outcome::Done,
        }
    }
}

/// Of an `Ask::Open`: its newest messages are still to be read.
fn opened(ask: &Ask, room: Room, epoch_ms: u64) -> Outcome {
    match *ask {
        Ask::Open { ticket, newest, .. } => {
            Outcome::Read(Reading::Newest { ticket, room, epoch_ms, limit: newest })
        }
        _ => Outcome::Done,
    }
}

/// Deletes a room that nothing was ever said in. The lobby stays.
fn unmake(db: &Connection, key: i64) -> rusqlite::Result<()> {
    let mut delete =
        db.prepare_cached("DELETE FROM room WHERE key = ?1 AND newest_id = 0 AND name <> 'lobby'")?;
    delete.execute([key]).map(drop)
}

fn keep(
    db: &Connection,
    session: SessionId,
    name: &Option<Name>,
    left_ms: Option<u64>,
) -> rusqlite::Result<()> {
    let mut insert =
        db.prepare_cached("INSERT OR REPLACE INTO session (id, name, left_ms) VALUES (?1, ?2, ?3)")?;
    let name = name.as_ref().map(Name::as_str);
    insert.execute(params![&session.0[..], name, left_ms.map(stored)]).map(drop)
}

fn forget(db: &Connection, session: SessionId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM said WHERE session = ?1")?.execute([&session.0[..]])?;
    db.prepare_cached("DELETE FROM session WHERE id = ?1")?.execute([&session.0[..]]).map(drop)
}
