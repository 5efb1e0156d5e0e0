//! `roomd backup` and `roomd check`: they look at a file, whether a daemon works with it or not.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::open::{connect, require};
use super::schema::Origin;
use super::trouble::{cannot_open, cannot_use};

/// So many faults are told.
const FAULTS_MAX: usize = 20;

/// Why a file could not be copied or checked: a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The file is not there, is not ours, or is of a newer roomd.
    NotOurs(String),
    /// It is ours, and it did not work.
    Failed(String),
}

/// What a file holds, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rooms.
    pub rooms: u64,
    /// Messages of all rooms.
    pub messages: u64,
    /// Sessions.
    pub sessions: u64,
    /// What is wrong, in sentences: the first ones.
    pub faults: Vec<String>,
}

/// Copies the file at `from` to `to`, which only its owner may read. Where the copy is used, all rooms begin a new epoch:
/// what was said after it is not there.
///
/// # Errors
/// There is something at `to`; the file cannot be read; the copy cannot be written. Then there is no copy.
pub fn backup(from: &Path, to: &Path) -> Result<(), Error> {
    let db = look(from)?;
    let failed = |error: io::Error| Error::Failed(cannot_copy(to, &error));
    if to.symlink_metadata().is_ok() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    // The copy gets its name when it is whole.
    let mut part = to.to_owned().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    let file = file.map_err(|error| Error::Failed(cannot_copy(&part, &error)))?;
    let copied = copy(&db, &part)
        .map_err(|error| Error::Failed(cannot_use(&part, &error)))
        .and_then(|()| file.sync_all().and_then(|()| fs::rename(&part, to)).map_err(failed));
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    }
    copied
}

/// Copies into an empty file.
fn copy(db: &Connection, to: &Path) -> rusqlite::Result<()> {
    let path = to.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(to.to_owned()))?;
    db.execute("VACUUM INTO ?1", [path])?;
    let copy = connect(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    copy.pragma_update(None, "journal_mode", "MEMORY")?;
    copy.execute("UPDATE meta SET boot_id = '', is_clean = 0, is_synced = 0", []).map(drop)
}

fn cannot_copy(to: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("cannot write {}: something is there; remove it, or choose another path", to.display())
        }
        _ => cannot_open(to, error),
    }
}

/// Looks what is in the file at `path`, and whether it is as it should be. It is not changed.
///
/// # Errors
/// It cannot be looked at.
pub fn check(path: &Path) -> Result<Report, Error> {
    let db = look(path)?;
    report(&db).map_err(|error| Error::Failed(cannot_use(path, &error)))
}

/// Opens a file that is ours, to read it.
fn look(path: &Path) -> Result<Connection, Error> {
    let not_ours = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotOurs(format!("there is no file {}", path.display())),
        _ => Error::NotOurs(cannot_open(path, &error)),
    };
    let path = path.canonicalize().map_err(not_ours)?;
    if path.is_dir() {
        return Err(not_ours(io::ErrorKind::IsADirectory.into()));
    }
    // It says more clearly than SQLite what is in the way. To close it takes the locks of this process away, which has
    // none yet.
    drop(fs::File::open(&path).map_err(not_ours)?);
    let db = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let db = db.map_err(|error| Error::NotOurs(cannot_use(&path, &error)))?;
    require(&path, &db, &[Origin::Ours]).map_err(Error::NotOurs)?;
    Ok(db)
}

/// All of it at one moment.
fn report(db: &Connection) -> rusqlite::Result<Report> {
    let moment = db.unchecked_transaction()?;
    let count = |what| moment.query_row(what, [], |row| super::number(row, 0));
    let mut report = Report {
        rooms: count("SELECT count(*) FROM room")?,
        messages: count("SELECT count(*) FROM message")?,
        sessions: count("SELECT count(*) FROM session")?,
        faults: Vec::new(),
    };
    for faults in FAULTS {
        let mut select = moment.prepare(faults)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()?
            && report.faults.len() < FAULTS_MAX
        {
            report.faults.push(row.get(0)?);
        }
    }
    Ok(report)
}

/// Each row of these is a fault, in a sentence.
const FAULTS: [&str; 4] = [
    "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    // Old messages may be gone; behind the oldest none is missing.
    "SELECT format('#%s: its newest message has the id %d, and %d of %d from %d on are there',
                   name, newest_id, count, newest_id - first + 1, first)
     FROM room JOIN (SELECT room, count(*) AS count, min(id) AS first, max(id) AS last FROM message GROUP BY room)
               ON room = key
     WHERE last <> newest_id OR count <> last - first + 1 OR first < 1",
    "SELECT format('%d messages are of a room that is not there', count(*)) FROM message
     WHERE room NOT IN (SELECT key FROM room) HAVING count(*) > 0",
    "SELECT format('#%s: %d marks are of messages that are not there', name, count(*)) FROM said JOIN room ON key = said.room
     WHERE said.id > newest_id
        OR (said.id > (SELECT min(id) FROM message WHERE message.room = key)
            AND NOT EXISTS (SELECT 1 FROM message WHERE message.room = key AND message.id = said.id))
     GROUP BY key",
];
