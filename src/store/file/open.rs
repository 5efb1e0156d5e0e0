//! A path becomes a file that is ours, and what was kept in it is restored.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::schema::{self, Origin};
use super::thread::{Ends, Thread};
use super::trouble::{Place, cannot_open, cannot_use};
use super::upkeep::Upkeep;
use super::write::Writer;
use super::{File, Load, Options, Shared, number, stored};
use crate::chat::{Name, Restored, RoomName, SESSION_TIME_MS, SessionId};

/// How long one waits for another program that writes to the file: somebody's `sqlite3`, in a transaction.
pub(super) const BUSY_TIME: Duration = Duration::from_secs(1);
/// What a connection caches of the file, in KiB; memory is taken as it is used.
const CACHE_KIB: i64 = 512;
/// The one that writes: all pages that a batch changes fit in, or some would be written several times.
const WRITER_CACHE_KIB: i64 = 4096;
/// Where Linux says which run of it this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// See [`File::open`].
pub(super) fn open(path: &Path, options: Options) -> Result<(File, Restored), String> {
    let (path, lock) = lock(path).map_err(|error| cannot_open(path, &error))?;
    let cannot = |error| cannot_use(&path, &error);
    let mut db = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(cannot)?;
    require(&path, &db, &[Origin::Empty, Origin::Ours])?;
    prepare(&path, &mut db, &options)?;
    let Begin { restored, epoch_floor_ms, has_new_epoch } = begin(&mut db, &options).map_err(cannot)?;
    // That was for the disk; from here on it is as one likes.
    let sync = if options.sync { "FULL" } else { "NORMAL" };
    db.pragma_update(None, "synchronous", sync).map_err(cannot)?;
    let reader = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(cannot)?;
    let place = Place::new(path.clone()).map_err(|error| cannot_open(&path, &error))?;

    let (asks, asked) = mpsc::channel();
    let (answers, done) = mpsc::channel();
    let status = Shared::default();
    let waker = options.waker;
    let ends = Ends { asks: asked, done: answers, waker: waker.clone(), status: status.clone() };
    let upkeep = Upkeep::new(options.keep, options.keep_messages);
    let thread = Thread::new(ends, place, reader, Writer::new(db, epoch_floor_ms), upkeep, lock);
    let thread = thread::Builder::new().name("store".into()).spawn(move || thread.run());
    let thread = thread.map_err(|error| format!("the store cannot start: {error}"))?;
    let (asks, asked, load, thread) = (Some(asks), Vec::new(), Load::default(), Some(thread));
    let refused = VecDeque::new();
    Ok((File { asks, asked, done, refused, load, status, has_new_epoch, waker, thread }, restored))
}

/// Keeps other daemons from a file. To close the file takes SQLite's own locks away, too: it stays open until SQLite is
/// done with it.
#[derive(Debug)]
pub(super) struct Lock(fs::File);

impl Drop for Lock {
    /// A child of this process may still have a copy of the descriptor: to close ours would not be enough.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Makes the file if it is not there, and locks it.
fn lock(path: &Path) -> io::Result<(PathBuf, Lock)> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file; choose another one"));
    }
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        TryLockError::Error(error) => error,
    })?;
    Ok((path.canonicalize()?, Lock(file)))
}

/// One connection to an SQLite file that is there.
pub(super) fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_TIME)?;
    db.set_prepared_statement_cache_capacity(32);
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "trusted_schema", false)?;
    Ok(db)
}

/// Looks whether the file is one of those.
pub(super) fn require(path: &Path, db: &Connection, wanted: &[Origin]) -> Result<(), String> {
    let origin = schema::origin(db).map_err(|error| cannot_use(path, &error))?;
    if wanted.contains(&origin) {
        return Ok(());
    }
    let why = match origin {
        Origin::Newer(version) => format!(
            "a newer roomd has written it (its version is {version}, this program knows {}); use that one, or another \
             file",
            schema::VERSION
        ),
        Origin::Empty => "there is nothing in it; name the file of a roomd".to_owned(),
        Origin::Ours | Origin::Foreign => "it is a file of another program; choose another file".to_owned(),
    };
    Err(format!("cannot use {}: {why}", path.display()))
}

/// Brings the file to our version and SQLite to our ways.
fn prepare(path: &Path, db: &mut Connection, options: &Options) -> Result<(), String> {
    let cannot = |error| cannot_use(path, &error);
    db.pragma_update(None, "synchronous", "FULL").map_err(cannot)?;
    schema::migrate(db).map_err(cannot)?;
    let mode = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
    if mode.map_err(cannot)? != "wal" {
        let why = "SQLite cannot share memory there; choose a file on a disk of this machine";
        return Err(format!("cannot use {}: {why}", path.display()));
    }
    db.pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(cannot)?;
    // The thread does it when nobody waits.
    db.pragma_update(None, "wal_autocheckpoint", 0).map_err(cannot)?;
    if let Some(pages) = options.pages_max {
        let set = db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
        set.map_err(cannot)?;
    }
    Ok(())
}

/// What a daemon begins with.
struct Begin {
    restored: Restored,
    /// No room's epoch is less, in Unix milliseconds.
    epoch_floor_ms: u64,
    has_new_epoch: bool,
}

/// Says in the file that a daemon runs, and reads what was kept.
fn begin(db: &mut Connection, options: &Options) -> rusqlite::Result<Begin> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (epoch_floor_ms, has_new_epoch) = begin_epoch(&transaction, options)?;
    let rooms = restore_rooms(&transaction, options.rooms_max, epoch_floor_ms)?;
    let sessions = restore_sessions(&transaction, options.now_ms)?;
    transaction.commit()?;
    Ok(Begin { restored: Restored { rooms, sessions }, epoch_floor_ms, has_new_epoch })
}

/// After a power failure ids may be given out again: all rooms begin a new epoch, greater than all before. Returns the
/// least epoch there may be, and whether it is new.
fn begin_epoch(db: &Connection, options: &Options) -> rusqlite::Result<(u64, bool)> {
    let boot_id = options.boot_id.clone().unwrap_or_else(|| {
        let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_default();
        boot_id.trim().into()
    });
    let (is_whole, mut floor_ms): (bool, u64) = db.query_row(
        "SELECT is_clean OR is_synced OR (boot_id <> '' AND boot_id = ?1), epoch_floor_ms FROM meta",
        [&boot_id],
        |row| Ok((row.get(0)?, number(row, 1)?)),
    )?;
    if !is_whole {
        let select = "SELECT coalesce(max(epoch_ms), 0) FROM room";
        let greatest_ms = db.query_row(select, [], |row| number(row, 0))?;
        floor_ms = options.now_ms.max(greatest_ms.max(floor_ms).saturating_add(1));
    }
    db.execute(
        "UPDATE meta SET boot_id = ?1, is_clean = 0, is_synced = ?2, epoch_floor_ms = ?3",
        params![boot_id, options.sync, stored(floor_ms)],
    )?;
    Ok((floor_ms, !is_whole))
}

fn restore_rooms(
    db: &Connection,
    rooms_max: usize,
    epoch_floor_ms: u64,
) -> rusqlite::Result<Vec<(RoomName, u64, u64)>> {
    let rooms_max = i64::try_from(rooms_max).unwrap_or(i64::MAX);
    // Nobody is in the others, and nothing was ever said there.
    db.execute(
        "DELETE FROM room WHERE newest_id = 0 AND name <> 'lobby'
         AND key NOT IN (SELECT key FROM room ORDER BY used_ms DESC, key DESC LIMIT ?1)",
        [rooms_max],
    )?;
    let mut select =
        db.prepare("SELECT name, epoch_ms, newest_id FROM room ORDER BY used_ms DESC, key DESC LIMIT ?1")?;
    let mut rows = select.query([rooms_max])?;
    let mut rooms = Vec::new();
    while let Some(row) = rows.next()? {
        // What is no name any more, nobody can ask for.
        if let Ok(name) = RoomName::parse(row.get_ref(0)?.as_str()?) {
            rooms.push((name, number(row, 1)?.max(epoch_floor_ms), number(row, 2)?));
        }
    }
    Ok(rooms)
}

fn restore_sessions(db: &Connection, now_ms: u64) -> rusqlite::Result<Vec<(SessionId, Option<Name>, u64)>> {
    // They were connected when it ended.
    db.execute("UPDATE session SET left_ms = ?1 WHERE left_ms IS NULL", [stored(now_ms)])?;
    let mut select =
        db.prepare("SELECT id, name, left_ms FROM session WHERE left_ms >= ?1 ORDER BY left_ms, id")?;
    let sessions = select.query_map([stored(now_ms.saturating_sub(SESSION_TIME_MS))], |row| {
        let name = row.get_ref(1)?.as_str_or_null()?.map(Name::saved);
        Ok((SessionId(row.get(0)?), name, number(row, 2)?))
    })?;
    sessions.collect()
}
