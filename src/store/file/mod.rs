//! The store in an SQLite file (`--data`): what was said outlives the daemon.
//!
//! One helper thread owns the file. Asks go to it by a channel, in order; answers come back by another, and the waker
//! is called after them. So nothing here waits for a disk but that thread:
//!
//! ```text
//! ask ─► gather what waits (256 at most) ─► one transaction, in order ─► commit ─► answer, wake ─► one read ─► …
//! ```
//!
//! | where | what |
//! |---|---|
//! | `open` | a path becomes a file that is ours; what was kept is restored |
//! | `schema` | the tables, their versions, and what they need of SQLite |
//! | `thread` | the loop above; what happens while nothing is asked |
//! | `write` | asks that change the file, a batch at a time |
//! | `read` | asks that do not |
//! | `upkeep` | what is too old is deleted, in small bites |
//! | `trouble` | what is in the way, in sentences |
//! | `copies` | `roomd backup` and `roomd check` |
//!
//! # How much survives
//!
//! An answer is given after its commit. A commit survives the end of the process in any way, `kill -9` too. It
//! survives a power failure only with `--sync`; without it, the last seconds may be gone, and ids that somebody has seen
//! would be given out again. So after a power failure all rooms begin a new epoch: the file was not closed in order,
//! and the boot id of the kernel is another one.

mod copies;
mod open;
mod read;
mod schema;
mod thread;
mod trouble;
mod upkeep;
mod write;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, SendError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Answer, Ask, Load, Restored, Status, Store, Ticket};
pub use copies::{Error, Report, backup, check};

/// How a file is to be opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether a commit waits for the disk, so that it survives a power failure.
    pub sync: bool,
    /// Messages older than this are deleted; none are if it is none.
    pub keep: Option<Duration>,
    /// Of each room so many messages are kept; all are if it is none.
    pub keep_messages: Option<u64>,
    /// At most so many rooms are restored.
    pub rooms_max: usize,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Woken when there are answers.
    pub waker: Waker,
    /// Tells this run of the kernel from others; what Linux says if it is none.
    pub boot_id: Option<Box<str>>,
    /// The file has at most so many pages of 4 KiB: a full disk, for tests.
    pub pages_max: Option<u32>,
}

impl Options {
    /// Everything is kept, a power failure may take the last seconds.
    #[must_use]
    pub fn new(rooms_max: usize, now_ms: u64, waker: Waker) -> Self {
        Self {
            sync: false,
            keep: None,
            keep_messages: None,
            rooms_max,
            now_ms,
            waker,
            boot_id: None,
            pages_max: None,
        }
    }
}

/// A file of rooms, open. Dropping it waits until all that was asked is done, and closes the file in order.
#[derive(Debug)]
pub struct File {
    /// None once it is being dropped.
    asks: Option<Sender<Vec<Ask>>>,
    /// What was asked in this turn: the thread is woken once for all of it.
    asked: Vec<Ask>,
    done: Receiver<Done>,
    /// Answers to what the thread did not take.
    refused: VecDeque<Answer>,
    load: Load,
    status: Shared,
    has_new_epoch: bool,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// An ask that was done.
#[derive(Debug)]
struct Done {
    /// None if nobody waits for one.
    answer: Option<Answer>,
    /// Bytes of text in the ask.
    bytes: usize,
}

/// What the thread tells of its work. The lock is held to copy it, never to wait for anything.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Status>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    /// Opens the file at `path`, and makes it if it is not there.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file, and what to do.
    pub fn open(path: &Path, options: Options) -> Result<(Self, Restored), String> {
        open::open(path, options)
    }

    /// Whether the machine stopped the last time, so that rooms begin a new epoch.
    #[must_use]
    pub fn has_new_epoch(&self) -> bool {
        self.has_new_epoch
    }
}

impl Store for File {
    fn ask(&mut self, ask: Ask) -> Option<Answer> {
        if self.asks.is_some() {
            self.load.asks += 1;
            self.load.bytes += text_bytes(&ask);
            self.asked.push(ask);
            return None;
        }
        ticket(&ask).map(|ticket| Answer::Refused { ticket, trouble: trouble::THREAD_GONE.into() })
    }

    fn submit(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let asked = std::mem::take(&mut self.asked);
        let Some(Err(SendError(asked))) = self.asks.as_ref().map(|asks| asks.send(asked)) else { return };
        // The thread is gone.
        self.status.lock().trouble = Some(trouble::THREAD_GONE.into());
        self.asks = None;
        let refused = asked.iter().filter_map(|ask| {
            Some(Answer::Refused { ticket: ticket(ask)?, trouble: trouble::THREAD_GONE.into() })
        });
        self.refused.extend(refused);
        self.load = Load::default();
        self.waker.wake_by_ref();
    }

    fn poll(&mut self) -> Option<Answer> {
        while let Ok(done) = self.done.try_recv() {
            self.load.asks = self.load.asks.saturating_sub(1);
            self.load.bytes = self.load.bytes.saturating_sub(done.bytes);
            if done.answer.is_some() {
                return done.answer;
            }
        }
        self.refused.pop_front()
    }

    fn wake(&self) {
        self.waker.wake_by_ref();
    }

    fn load(&self) -> Load {
        self.load
    }

    fn status(&self) -> Option<Status> {
        Some(self.status.lock().clone())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.submit();
        self.asks = None;
        // It does not panic; what it does by itself then is its own business.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// For whom the answer to an ask is; none if it has none.
fn ticket(ask: &Ask) -> Option<Ticket> {
    match ask {
        Ask::Open { ticket, .. }
        | Ask::Append { ticket, .. }
        | Ask::Read { ticket, .. }
        | Ask::Recall { ticket, .. } => Some(*ticket),
        Ask::Keep { ticket, .. } => *ticket,
        Ask::Close { .. } | Ask::Forget { .. } => None,
    }
}

/// Bytes of text in an ask.
fn text_bytes(ask: &Ask) -> usize {
    match ask {
        Ask::Append { message, mark, .. } => {
            message.body.as_str().len() + mark.as_ref().map_or(0, |mark| mark.reference.len())
        }
        _ => 0,
    }
}

/// A number as SQLite has it. What is beyond its greatest one is that: no id and no time ever is.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column that holds what [`stored`] made.
fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|number: i64| u64::try_from(number).unwrap_or(0))
}
