//! The tables, their versions, and what they need of SQLite.

use rusqlite::{Connection, TransactionBehavior};

/// Says that an SQLite file is one of roomd's: `room`.
pub(super) const APPLICATION_ID: i64 = 0x726f_6f6d;
/// What the program knows; greater ones are of newer programs.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// From each version to the next one; the first begins with nothing.
///
/// A room keeps its key and its newest id for as long as it is there, whatever is left of its messages. Marks are a ring
/// of `MARKS_MAX` per session, so that there are never more of them.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        boot_id TEXT NOT NULL,          -- of the kernel that the last daemon ran on
        is_clean INTEGER NOT NULL,      -- it has ended in order
        is_synced INTEGER NOT NULL,     -- it ran with --sync
        epoch_floor_ms INTEGER NOT NULL,-- no epoch is less
        probes INTEGER NOT NULL         -- written to see whether one can
    ) STRICT;
    INSERT INTO meta VALUES (1, '', 1, 0, 0, 0);
    CREATE TABLE room (
        key INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch_ms INTEGER NOT NULL,
        newest_id INTEGER NOT NULL,
        used_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE message (
        room INTEGER NOT NULL,
        id INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        sender TEXT NOT NULL,
        is_action INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (room, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE session (
        id BLOB PRIMARY KEY,
        name TEXT,                      -- none if nobody was told of it
        left_ms INTEGER                 -- none while somebody is here
    ) STRICT;
    CREATE TABLE said (
        session BLOB NOT NULL,
        slot INTEGER NOT NULL,          -- number % MARKS_MAX
        number INTEGER NOT NULL,
        reference TEXT NOT NULL,
        room INTEGER NOT NULL,
        id INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (session, slot)
    ) STRICT, WITHOUT ROWID;
"];

/// Whose an SQLite file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// There is nothing in it.
    Empty,
    /// Ours, of a version we know.
    Ours,
    /// Of a newer roomd.
    Newer(i64),
    /// Of another program.
    Foreign,
}

/// Looks whose a file is.
pub(super) fn origin(db: &Connection) -> rusqlite::Result<Origin> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    Ok(match application {
        APPLICATION_ID if version > VERSION as i64 => Origin::Newer(version),
        APPLICATION_ID => Origin::Ours,
        0 if tables == 0 => Origin::Empty,
        _ => Origin::Foreign,
    })
}

/// Brings a file that is ours, or empty, to [`VERSION`]: all of it, or nothing.
pub(super) fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    // Only a file without tables can be told how it will shrink.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(migration)?;
    }
    if version < VERSION as i64 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION as i64)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_becomes_ours_and_stays_so() {
        let mut db = Connection::open_in_memory().unwrap();
        assert_eq!(origin(&db).unwrap(), Origin::Empty);
        for _ in 0..2 {
            migrate(&mut db).unwrap();
            assert_eq!(origin(&db).unwrap(), Origin::Ours);
        }
        db.pragma_update(None, "user_version", VERSION as i64 + 1).unwrap();
        assert_eq!(origin(&db).unwrap(), Origin::Newer(VERSION as i64 + 1));
        db.pragma_update(None, "application_id", 7).unwrap();
        assert_eq!(origin(&db).unwrap(), Origin::Foreign);
    }
}
