//! The file of the rooms: the flags of `roomd serve` that say which, `roomd backup` and `roomd check`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;

use super::{Failure, counted};
use crate::chat::EMPTY_ROOMS_MAX;
use crate::limits::Limits;
use crate::reactor::Platform;
use crate::reactor::epoll::Epoll;
use crate::store::Restored;
use crate::store::file::{self, File, Options};

/// Where rooms are kept.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DataArgs {
    /// File to keep rooms in, made if it is not there: what was said is still there when the daemon is started anew, and
    /// who was there can go on. Without it, all is over with the daemon. It has to be on a disk of this machine; two more
    /// files are beside it, with -wal and -shm behind its name. A message is saved before anybody sees it, and survives
    /// a kill -9; a power failure may take what was said in the last seconds, unless there is --sync
    #[arg(long, value_name = "FILE", env = "ROOMD_DATA", help_heading = "Rooms in a file")]
    data: Option<PathBuf>,

    /// Wait for the disk before anybody sees a message, so that a power failure takes none
    #[arg(
        long,
        env = "ROOMD_SYNC",
        requires = "data",
        value_parser = BoolishValueParser::new(),
        help_heading = "Rooms in a file"
    )]
    sync: bool,
}

impl DataArgs {
    /// Opens the file, if there is one.
    pub(super) fn open(&self, os: &mut Epoll, limits: &Limits) -> Result<Option<Data>, Failure> {
        let Some(path) = &self.data else { return Ok(None) };
        let waker = os.waker().map_err(|error| format!("the loop cannot be woken: {error}"))?;
        let rooms_max = limits.max_rooms.unwrap_or(EMPTY_ROOMS_MAX);
        let options = Options {
            sync: self.sync,
            keep: limits.keep,
            keep_messages: limits.keep_messages.map(|count| count as u64),
            ..Options::new(rooms_max, os.now().unix_ms, waker)
        };
        let (file, restored) = File::open(path, options).map_err(Failure::usage)?;
        let warning = file.has_new_epoch().then(|| {
            format!(
                "{}: it is a backup, or the machine stopped while roomd ran: what was said last may be lost, and all \
                 rooms begin a new epoch",
                path.display()
            )
        });
        Ok(Some(Data { file, restored, warning }))
    }
}

/// A file that is open, and what was kept in it.
pub(super) struct Data {
    pub(super) file: File,
    pub(super) restored: Restored,
    /// For the log, which begins later.
    pub(super) warning: Option<String>,
}

/// The arguments of `roomd backup`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct BackupArgs {
    /// The file of the rooms
    #[arg(long, value_name = "FILE", env = "ROOMD_DATA")]
    data: PathBuf,

    /// The copy; nothing may be there yet
    to: PathBuf,
}

/// The arguments of `roomd check`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CheckArgs {
    /// The file of the rooms
    #[arg(long, value_name = "FILE", env = "ROOMD_DATA")]
    data: PathBuf,
}

impl From<file::Error> for Failure {
    fn from(error: file::Error) -> Self {
        match error {
            file::Error::NotOurs(sentence) => Self::usage(sentence),
            file::Error::Failed(sentence) => sentence.into(),
        }
    }
}

/// Copies the file.
pub(super) fn backup(args: &BackupArgs) -> Result<ExitCode, Failure> {
    file::backup(&args.data, &args.to)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what is in the file, and what is wrong with it.
pub(super) fn check(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let report = file::check(&args.data)?;
    let sound = if report.faults.is_empty() { "sound" } else { "not sound" };
    let lines = report.faults.iter().map(|fault| format!("  {fault}\n")).collect::<String>();
    let text = format!(
        "{}: {}, {}, {}: {sound}\n{lines}",
        args.data.display(),
        counted(report.rooms, "room"),
        counted(report.messages, "message"),
        counted(report.sessions, "session")
    );
    let is_told = std::io::stdout().write_all(text.as_bytes()).is_ok();
    Ok(if report.faults.is_empty() && is_told { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
