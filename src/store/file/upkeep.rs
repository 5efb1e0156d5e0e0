//! What is too old is deleted, and the file made smaller: in bites that are over before anybody notices.
//!
//! A pass goes through sessions, then rooms, then free pages. Messages go from the old end of a room's log only, so that
//! what is left has no holes; the room stays, and its newest id.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::stored;
use crate::chat::SESSION_TIME_MS;

/// A bite deletes about so many rows.
const ROWS: usize = 500;
/// A bite looks at so many rooms.
const ROOMS: i64 = 200;
/// A bite looks at so many sessions.
const SESSIONS: i64 = 50;
/// So much later than for the chat, in milliseconds, a session is over here: it may be continued in the last moment.
const GRACE_MS: u64 = 60_000;
/// A bite gives so many free pages back.
const PAGES: i64 = 128;
/// So many free pages stay for what will be written, and an eighth of the file.
const PAGES_KEPT: i64 = 256;
/// From the end of a pass to the next one, at most.
const PASS_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// And at least.
const PASS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How far a pass is.
#[derive(Debug)]
enum Step {
    /// The next one begins then.
    Resting(Instant),
    /// Marks of no session, behind this one: once, at the start.
    Orphans(Vec<u8>),
    Sessions,
    /// Rooms with a key beyond this.
    Rooms(i64),
    Pages,
}

#[derive(Debug)]
pub(super) struct Upkeep {
    keep_ms: Option<u64>,
    keep_messages: Option<u64>,
    step: Step,
}

impl Upkeep {
    pub(super) fn new(keep: Option<Duration>, keep_messages: Option<u64>) -> Self {
        let keep_ms = keep.map(|keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        Self { keep_ms, keep_messages, step: Step::Orphans(Vec::new()) }
    }

    /// When there is something to do; none if there is now.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.step {
            Step::Resting(until) if until > Instant::now() => Some(until),
            _ => None,
        }
    }

    /// Takes one bite; `now_ms` is in Unix milliseconds. Nothing has changed if it fails.
    pub(super) fn bite(&mut self, db: &mut Connection, now_ms: u64) -> rusqlite::Result<()> {
        if self.due().is_some() {
            return Ok(());
        }
        let bite = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let next = self.step(&bite, now_ms)?;
        bite.commit()?;
        self.step = next;
        Ok(())
    }

    fn step(&self, db: &Connection, now_ms: u64) -> rusqlite::Result<Step> {
        Ok(match &self.step {
            Step::Orphans(session) => delete_orphans(db, session)?.map_or(Step::Sessions, Step::Orphans),
            Step::Resting(_) | Step::Sessions => {
                match expire_sessions(db, now_ms.saturating_sub(SESSION_TIME_MS + GRACE_MS))? {
                    true => Step::Sessions,
                    false if self.keep_ms.is_some() || self.keep_messages.is_some() => Step::Rooms(0),
                    false => Step::Pages,
                }
            }
            Step::Rooms(key) => self.expire_messages(db, *key, now_ms)?.map_or(Step::Pages, Step::Rooms),
            Step::Pages if give_pages_back(db)? => Step::Pages,
            Step::Pages => Step::Resting(Instant::now() + self.interval()),
        })
    }

    fn interval(&self) -> Duration {
        let keep = self.keep_ms.map_or(PASS_INTERVAL_MAX, |keep| Duration::from_millis(keep / 10));
        keep.clamp(PASS_INTERVAL_MIN, PASS_INTERVAL_MAX)
    }

    /// Deletes messages of rooms behind `key`; returns how far it has come, none if that was all.
    fn expire_messages(&self, db: &Connection, key: i64, now_ms: u64) -> rusqlite::Result<Option<i64>> {
        let mut select =
            db.prepare_cached("SELECT key, newest_id FROM room WHERE key > ?1 ORDER BY key LIMIT ?2")?;
        let rooms = select.query_map([key, ROOMS], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rooms: Vec<(i64, i64)> = rooms.collect::<Result<_, _>>()?;
        let (mut last, mut deleted) = (key, 0);
        for &(room, newest_id) in &rooms {
            if let Some(id) = self.last_expired(db, room, newest_id, now_ms)? {
                let mut delete = db.prepare_cached("DELETE FROM message WHERE room = ?1 AND id <= ?2")?;
                deleted += delete.execute([room, id])?;
            }
            if deleted >= ROWS {
                return Ok(Some(last)); // There may be more in this room.
            }
            last = room;
        }
        Ok((rooms.len() == ROOMS as usize).then_some(last))
    }

    /// The last message of a room to be deleted in this bite.
    fn last_expired(
        &self,
        db: &Connection,
        room: i64,
        newest_id: i64,
        now_ms: u64,
    ) -> rusqlite::Result<Option<i64>> {
        let too_many = self.keep_messages.map_or(0, |keep| newest_id.saturating_sub(stored(keep)));
        let too_old_ms = stored(self.keep_ms.map_or(0, |keep| now_ms.saturating_sub(keep)));
        let mut select =
            db.prepare_cached("SELECT id, at_ms FROM message WHERE room = ?1 ORDER BY id LIMIT ?2")?;
        let mut rows = select.query([room, ROWS as i64])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let (id, at_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
            if id > too_many && at_ms >= too_old_ms {
                break;
            }
            last = Some(id);
        }
        Ok(last)
    }
}

/// Deletes the marks of the first session behind `session` that is no more; returns how far it has come, none if that
/// was all.
fn delete_orphans(db: &Connection, session: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut next = db.prepare_cached(
        "SELECT session, EXISTS (SELECT 1 FROM session WHERE id = said.session) FROM said
         WHERE session > ?1 ORDER BY session LIMIT 1",
    )?;
    let mut session = session.to_vec();
    for _ in 0..ROOMS {
        let found = next.query_row([&session], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((id, is_known)) = found else { return Ok(None) };
        session = id;
        let is_known: bool = is_known;
        if !is_known {
            db.execute("DELETE FROM said WHERE session = ?1", [&session])?;
            break;
        }
    }
    Ok(Some(session))
}

/// Deletes sessions that nobody has continued since; returns whether there may be more.
fn expire_sessions(db: &Connection, left_before_ms: u64) -> rusqlite::Result<bool> {
    let mut select = db.prepare_cached("SELECT id FROM session WHERE left_ms < ?1 LIMIT ?2")?;
    let ids = select.query_map([stored(left_before_ms), SESSIONS], |row| row.get(0))?;
    let ids: Vec<Vec<u8>> = ids.collect::<Result<_, _>>()?;
    let mut deleted = 0;
    for id in &ids {
        deleted += db.prepare_cached("DELETE FROM said WHERE session = ?1")?.execute([id])?;
        deleted += db.prepare_cached("DELETE FROM session WHERE id = ?1")?.execute([id])?;
        if deleted >= ROWS {
            break;
        }
    }
    Ok(!ids.is_empty())
}

/// Gives free pages back to the file system; returns whether there are more to give.
fn give_pages_back(db: &Connection) -> rusqlite::Result<bool> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (free, pages) = (pragma("freelist_count")?, pragma("page_count")?);
    let spare = free - PAGES_KEPT.max(pages / 8);
    if spare <= 0 {
        return Ok(false);
    }
    // Each row that one asks for is one page given back.
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({})", spare.min(PAGES)))?;
    let mut rows = vacuum.raw_query();
    while rows.next()?.is_some() {}
    Ok(spare > PAGES)
}
