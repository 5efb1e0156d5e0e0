//! Where rooms are kept.
//!
//! A room is a log. The chat asks for a message to be appended ([`Ask`]), the store answers in the order of the log
//! ([`Answer`]), and only then is it delivered and acknowledged: what anybody has seen is saved. Which store there is the
//! chat does not know:
//!
//! | store | answers | keeps |
//! |---|---|---|
//! | [`Memory`] | in the same turn | nothing but how far rooms have counted: what was said is in the rooms themselves |
//! | [`file::File`] (`--data`) | when it is committed, from its own thread | everything, in an SQLite file |

#[cfg(feature = "store")]
pub mod file;
mod memory;

use std::fmt::Debug;

pub use crate::chat::{Answer, Ask, MARKS_MAX, Mark, Marked, Restored, SESSION_TIME_MS, SessionId, Ticket};
pub use memory::Memory;

/// So many asks may be unanswered.
pub const ASKS_MAX: usize = 1024;
/// So many bytes of text may be in them.
pub const ASKED_BYTES_MAX: usize = 1024 * 1024;

/// A store, as the server sees it. None of its functions waits.
pub trait Store: Debug {
    /// Takes an ask. What can be answered at once is; all else comes by [`Store::poll`].
    fn ask(&mut self, ask: Ask) -> Option<Answer>;

    /// All that was asked so far is on its way, at once: to be called at the end of what asks.
    fn submit(&mut self) {}

    /// The next answer that has come since; whoever waits for one is woken by the platform's waker.
    fn poll(&mut self) -> Option<Answer> {
        None
    }

    /// Wakes whoever waits for answers once more: it has not taken all of them.
    fn wake(&self) {}

    /// What is on its way.
    fn load(&self) -> Load {
        Load::default()
    }

    /// What is known of its work; none if it does none.
    fn status(&self) -> Option<Status> {
        None
    }
}

/// What is asked and not answered yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Asks.
    pub asks: usize,
    /// Bytes of text in them.
    pub bytes: usize,
}

impl Load {
    /// Whether nothing more is to be asked for now.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.asks >= ASKS_MAX || self.bytes >= ASKED_BYTES_MAX
    }
}

/// Upper bounds of [`Status::commit_times`], in microseconds; the last bucket is open.
pub const COMMIT_TIME_BOUNDS_US: [u64; 8] = [50, 200, 1000, 5000, 20_000, 100_000, 1_000_000, 5_000_000];
/// Upper bounds of [`Status::batch_sizes`], in asks; the last bucket is open.
pub const BATCH_SIZE_BOUNDS: [u64; 5] = [1, 4, 16, 64, 256];

/// How a store that works is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// What is in the way of saving, and what to do; none if nothing is.
    pub trouble: Option<Box<str>>,
    /// Messages saved.
    pub saved: u64,
    /// Asks refused.
    pub refused: u64,
    /// Commits, each of one batch.
    pub commits: u64,
    /// Time spent in commits, in microseconds.
    pub commit_us: u64,
    /// Commits by the time they took: at most so much of [`COMMIT_TIME_BOUNDS_US`].
    pub commit_times: [u64; COMMIT_TIME_BOUNDS_US.len()],
    /// Asks in all batches.
    pub batched: u64,
    /// Batches by how many asks were in them: at most so many of [`BATCH_SIZE_BOUNDS`].
    pub batch_sizes: [u64; BATCH_SIZE_BOUNDS.len()],
    /// Bytes of the file, and of what belongs to it.
    pub file_bytes: u64,
}
