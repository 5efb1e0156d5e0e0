//! What is in the way of saving, in sentences: those a daemon ends with at its start, and those it lives with.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Nothing can be asked any more.
pub(super) const THREAD_GONE: &str =
    "the part of the server that saves has failed; whoever runs it has to start it anew";
/// An ask about a room that was refused when it was to be opened.
pub(super) const NOT_OPEN: &str = "the room could not be opened; leave it, and join it again";

/// Why the file at `path` cannot be opened, and what to do.
pub(super) fn cannot_open(path: &Path, error: &io::Error) -> String {
    let help = match error.kind() {
        ErrorKind::NotFound => "the directory is not there; make it, or choose another file",
        ErrorKind::IsADirectory => "it is a directory; name a file in it",
        ErrorKind::NotADirectory => "a part of the path is no directory; choose another file",
        ErrorKind::PermissionDenied => {
            "you may not; run roomd as the user whose file it is, or let its user read and write it"
        }
        ErrorKind::ReadOnlyFilesystem => "nothing can be written there; choose a file on another file system",
        ErrorKind::StorageFull => "the disk is full; make room, or choose a file on another disk",
        ErrorKind::WouldBlock => "another roomd has it open; stop that one, or choose another file",
        _ => return format!("cannot open {}: {error}", path.display()),
    };
    format!("cannot open {}: {help}", path.display())
}

/// Why SQLite cannot work with the file at `path`, and what to do.
pub(super) fn cannot_use(path: &Path, error: &rusqlite::Error) -> String {
    let help = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            "it is not a file of roomd's, or its begin is damaged; choose another file, or \
                                          put a backup there"
        }
        Some(ErrorCode::DatabaseCorrupt) => "it is damaged; see roomd check, and put a backup there",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has locked it; end that one, or choose another file"
        }
        Some(ErrorCode::DiskFull) => "the disk is full; make room, or choose a file on another disk",
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "two files are needed beside it (-wal and -shm), and cannot be written; let roomd's user write to the \
             directory"
        }
        _ => return format!("cannot use {}: {error}", path.display()),
    };
    format!("cannot use {}: {help}", path.display())
}

/// What is in the way while a daemon runs.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The path leads to another file than the one that is open, or to none.
    Moved,
    /// SQLite says so.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Trouble {
    /// A sentence for the people in the rooms, without what is none of their business.
    pub(super) fn sentence(&self) -> &'static str {
        use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_READONLY_DBMOVED};
        let Self::Sqlite(error) = self else { return MOVED };
        // What SQLite found there, and we could not read.
        let Some(cause) = error.sqlite_error() else { return DAMAGED };
        match (cause.code, cause.extended_code) {
            (ErrorCode::DiskFull, _) | (_, SQLITE_IOERR_SHMSIZE) => {
                "the disk is full; it goes on by itself as soon as there is room"
            }
            (_, SQLITE_READONLY_DBMOVED) => MOVED,
            (ErrorCode::SystemIoFailure, _) => "the disk fails; whoever runs this server has to look at it",
            (ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen, _) => {
                "the file of the rooms cannot be written; whoever runs this server has to allow it"
            }
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation, _) => {
                DAMAGED
            }
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
                "another program locks the file of the rooms; try it again in a moment"
            }
            _ => OTHER,
        }
    }

    /// What whoever runs the server needs to know besides.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Moved => "another file, or none, is there now".to_owned(),
            Self::Sqlite(error) => match error.sqlite_error() {
                Some(cause) => format!("SQLite {}: {error}", cause.extended_code),
                None => error.to_string(),
            },
        }
    }
}

const MOVED: &str = "the file of the rooms was moved or deleted; whoever runs this server has to put it back, or start it anew";
const DAMAGED: &str = "the file of the rooms is damaged; whoever runs this server has to put a backup there";
const OTHER: &str = "the file of the rooms cannot be used; whoever runs this server has to look at it";

/// The file that is open, and the one beside it that takes what is written first.
#[derive(Debug)]
pub(super) struct Place {
    /// Absolute, and no symbolic link.
    pub(super) path: PathBuf,
    wal: PathBuf,
    /// What both paths led to when they were opened.
    ids: [(u64, u64); 2],
}

impl Place {
    /// The place of an open file, after SQLite has begun to read.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let mut wal = path.clone().into_os_string();
        wal.push("-wal");
        let wal = PathBuf::from(wal);
        let ids = [id(&path.metadata()?), id(&wal.metadata()?)];
        Ok(Self { path, wal, ids })
    }

    /// The bytes of both, if they are still there: what is written to others, nobody would find.
    pub(super) fn check(&self) -> Result<[u64; 2], Trouble> {
        let look = |path: &Path, open| {
            let found = path.metadata().ok().filter(|found| id(found) == open);
            found.map(|found| found.len()).ok_or(Trouble::Moved)
        };
        Ok([look(&self.path, self.ids[0])?, look(&self.wal, self.ids[1])?])
    }
}

/// The device and the number that tell a file from all others.
fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
