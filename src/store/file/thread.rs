//! The thread that owns the file.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use super::open::Lock;
use super::read::Reading;
use super::trouble::{Place, THREAD_GONE, Trouble};
use super::upkeep::Upkeep;
use super::write::{Outcome, Writer};
use super::{Done, Shared, text_bytes, ticket};
use crate::chat::{Answer, Ask, Ticket};
use crate::store::{BATCH_SIZE_BOUNDS, COMMIT_TIME_BOUNDS_US};

/// A transaction with so many asks takes no more of them.
const BATCH_MAX: usize = 256;
/// In trouble, so often it is tried again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// When nothing was written for so long, what was is brought to the disk.
const IDLE_TIME: Duration = Duration::from_secs(1);
/// When so many pages wait beside the file, they are brought into it as soon as nobody waits: 16 MiB,
const PAGES_WAITING: u64 = 4096;
/// and when it is so many more, even then.
const PAGES_WAITING_MORE: u64 = 4096;
/// While asks come one behind the other, there is a bite of upkeep after so many batches.
const BATCHES_PER_BITE: u32 = 16;
/// Reads that fail are logged so often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The thread's ends of what leads to it and from it.
#[derive(Debug)]
pub(super) struct Ends {
    /// What is asked, a turn of the loop at a time.
    pub(super) asks: Receiver<Vec<Ask>>,
    pub(super) done: Sender<Done>,
    pub(super) waker: Waker,
    pub(super) status: Shared,
}

/// Fields are dropped in this order: the connection that writes is the last one, and empties the `-wal` file; then others
/// may lock the file.
pub(super) struct Thread {
    ends: Ends,
    place: Place,
    /// What is to be written next.
    batch: Vec<Ask>,
    /// What is to be read.
    reads: VecDeque<Reading>,
    /// What is in the way, and when it is tried again.
    trouble: Option<(&'static str, Instant)>,
    /// Something was written, and is brought to the disk then.
    checkpoint_due: Option<Instant>,
    /// Or when so many pages wait in the `-wal` file.
    pages_max: u64,
    pages: u64,
    /// Since the last bite of upkeep.
    batches: u32,
    /// Nothing was asked when it was last looked.
    is_quiet: bool,
    /// When a read that failed was last logged.
    logged_at: Option<Instant>,
    upkeep: Upkeep,
    reader: Connection,
    writer: Writer,
    _lock: Lock,
}

impl Thread {
    pub(super) fn new(
        ends: Ends,
        place: Place,
        reader: Connection,
        writer: Writer,
        upkeep: Upkeep,
        lock: Lock,
    ) -> Self {
        Self {
            ends,
            place,
            batch: Vec::new(),
            reads: VecDeque::new(),
            trouble: None,
            checkpoint_due: Some(Instant::now() + IDLE_TIME),
            pages_max: PAGES_WAITING,
            pages: 0,
            batches: 0,
            is_quiet: true,
            logged_at: None,
            upkeep,
            reader,
            writer,
            _lock: lock,
        }
    }

    /// Works until nobody can ask any more and all is done.
    pub(super) fn run(mut self) {
        if panic::catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.give_up();
        }
    }

    fn work(&mut self) {
        self.measure();
        while self.gather() {
            self.write();
            self.read();
            self.look_after();
        }
        self.close();
    }

    // ---- asks

    /// Waits until there is something to do, and takes what was asked; returns whether there will ever be more.
    fn gather(&mut self) -> bool {
        let asked = self.ends.asks.recv_timeout(self.patience());
        self.is_quiet = asked.is_err();
        match asked {
            Ok(asked) => {
                self.batches += 1;
                self.batch.extend(asked);
                while self.batch.len() < BATCH_MAX
                    && let Ok(more) = self.ends.asks.try_recv()
                {
                    self.batch.extend(more);
                }
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => !self.reads.is_empty(),
        }
    }

    /// How long one may wait for asks.
    fn patience(&self) -> Duration {
        if !self.reads.is_empty() || self.has_many_pages() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let due = match self.trouble {
            Some((_, probe_due)) => probe_due,
            None => {
                self.upkeep.due().unwrap_or(now).min(self.checkpoint_due.unwrap_or(now + IDLE_TIME * 3600))
            }
        };
        due.saturating_duration_since(now)
    }

    /// One transaction for all that was asked, then the answers.
    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let (begin, commits) = (Instant::now(), self.writer.commits);
        let written = self.place.check().and_then(|_| Ok(self.writer.write(&self.batch)?));
        let outcomes = match written {
            Ok(outcomes) if self.writer.commits == commits => outcomes,
            Ok(outcomes) => {
                self.count_commit(begin.elapsed());
                self.note_written();
                outcomes
            }
            Err(trouble) => {
                let sentence = self.note_trouble(&trouble);
                self.writer.refuse(&self.batch, sentence)
            }
        };
        self.settle(outcomes);
        self.ends.waker.wake_by_ref();
    }

    /// Answers the batch, as far as nothing is still to be read.
    fn settle(&mut self, outcomes: Vec<Outcome>) {
        let (mut saved, mut refused) = (0, 0);
        for (ask, outcome) in self.batch.drain(..).zip(outcomes) {
            let bytes = text_bytes(&ask);
            let answer = match (outcome, ask) {
                (Outcome::Read(reading), _) => {
                    self.reads.push_back(reading);
                    continue;
                }
                (Outcome::Appended(id), Ask::Append { ticket, mut message, .. }) => {
                    message.id = id;
                    saved += 1;
                    Some(Answer::Appended { ticket, message })
                }
                (Outcome::Refused(trouble), ask) => {
                    refused += 1;
                    ticket(&ask).map(|ticket| Answer::Refused { ticket, trouble: trouble.into() })
                }
                (Outcome::Done, Ask::Keep { ticket, .. }) => ticket.map(|ticket| Answer::Kept { ticket }),
                (Outcome::Appended(_) | Outcome::Done, _) => None,
            };
            // Nobody may be there any more.
            let _ = self.ends.done.send(Done { answer, bytes });
        }
        let mut status = self.ends.status.lock();
        status.saved += saved;
        status.refused += refused;
    }

    /// One read, so that what is to be written does not wait for all of them.
    fn read(&mut self) {
        let Some(reading) = self.reads.front() else { return };
        let ticket = reading.ticket();
        let answer = match reading.answer(&self.reader) {
            Ok(answer) => answer,
            Err(error) => self.cannot_read(ticket, &error.into()),
        };
        self.reads.pop_front();
        let _ = self.ends.done.send(Done { answer: Some(answer), bytes: 0 });
        self.ends.waker.wake_by_ref();
    }

    fn cannot_read(&mut self, ticket: Ticket, trouble: &Trouble) -> Answer {
        if self.logged_at.is_none_or(|at| at.elapsed() > LOG_INTERVAL) {
            self.logged_at = Some(Instant::now());
            log::error!("{}: {} ({})", self.place.path.display(), trouble.sentence(), trouble.cause());
        }
        self.ends.status.lock().refused += 1;
        Answer::Refused { ticket, trouble: trouble.sentence().into() }
    }

    // ---- in between

    /// What nobody has asked for: a probe, a checkpoint, or a bite of upkeep.
    fn look_after(&mut self) {
        let now = Instant::now();
        if let Some((_, probe_due)) = self.trouble {
            if now >= probe_due {
                self.probe();
            }
            return;
        }
        if self.is_quiet && self.checkpoint_due.is_some_and(|due| now >= due) {
            self.checkpoint_due = None;
            self.checkpoint("TRUNCATE");
        } else if (self.is_quiet && self.has_many_pages())
            || self.pages >= self.pages_max + PAGES_WAITING_MORE
        {
            // What is written next takes the place of what was: quicker than to make it anew.
            self.checkpoint("PASSIVE");
        } else if (self.is_quiet && self.reads.is_empty()) || self.batches >= BATCHES_PER_BITE {
            self.batches = 0;
            self.bite();
        }
    }

    fn has_many_pages(&self) -> bool {
        self.trouble.is_none() && self.pages >= self.pages_max
    }

    /// In trouble: whether it is over.
    fn probe(&mut self) {
        let probed = self.place.check().and_then(|_| Ok(self.writer.probe()?));
        match probed {
            Ok(()) => self.note_written(),
            Err(trouble) => drop(self.note_trouble(&trouble)),
        }
    }

    fn bite(&mut self) {
        if self.upkeep.due().is_some() {
            return;
        }
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        match self.upkeep.bite(&mut self.writer.db, u64::try_from(now_ms).unwrap_or(u64::MAX)) {
            Ok(()) => self.note_written(),
            Err(error) => drop(self.note_trouble(&error.into())),
        }
    }

    /// Brings what was written to the disk, and into the file. If somebody reads from beside it (a backup does), the rest
    /// comes another time.
    fn checkpoint(&mut self, mode: &str) {
        match self.writer.checkpoint(mode) {
            Ok(()) => {
                self.measure();
                self.pages_max = self.pages + PAGES_WAITING;
            }
            Err(error) => drop(self.note_trouble(&error.into())),
        }
    }

    /// The end: all is brought to the disk, and the file says so.
    fn close(&mut self) {
        if let Err(error) = self.writer.close() {
            let trouble = Trouble::from(error);
            log::error!("{}: {} ({})", self.place.path.display(), trouble.sentence(), trouble.cause());
        }
    }

    /// A defect of this program. What is asked is refused, so that nobody waits for it.
    fn give_up(&mut self) {
        self.ends.status.lock().trouble = Some(THREAD_GONE.into());
        let waiting: Vec<Ask> = self.batch.drain(..).collect();
        for reading in self.reads.drain(..) {
            let answer = Answer::Refused { ticket: reading.ticket(), trouble: THREAD_GONE.into() };
            let _ = self.ends.done.send(Done { answer: Some(answer), bytes: 0 });
        }
        for ask in waiting.into_iter().chain(self.ends.asks.iter().flatten()) {
            let answer = ticket(&ask).map(|ticket| Answer::Refused { ticket, trouble: THREAD_GONE.into() });
            let _ = self.ends.done.send(Done { answer, bytes: text_bytes(&ask) });
            self.ends.waker.wake_by_ref();
        }
    }

    // ---- what is told

    /// Something was written: if it could not be before, that is over.
    fn note_written(&mut self) {
        if self.trouble.take().is_some() {
            self.ends.status.lock().trouble = None;
            log::info!("{}: it is saved again", self.place.path.display());
        }
        if self.measure() > 0 {
            self.checkpoint_due = Some(Instant::now() + IDLE_TIME);
        }
    }

    /// Something could not be written; returns what to tell people. The log is told once.
    fn note_trouble(&mut self, trouble: &Trouble) -> &'static str {
        let sentence = trouble.sentence();
        if self.trouble.is_none_or(|(known, _)| known != sentence) {
            log::error!("{}: {sentence} ({})", self.place.path.display(), trouble.cause());
            self.ends.status.lock().trouble = Some(sentence.into());
        }
        self.trouble = Some((sentence, Instant::now() + PROBE_INTERVAL));
        sentence
    }

    /// Looks how much there is; returns the bytes of the `-wal` file.
    fn measure(&mut self) -> u64 {
        self.pages = self.writer.pages_waiting();
        let [file, wal] = self.place.check().unwrap_or_default();
        self.ends.status.lock().file_bytes = file + wal;
        wal
    }

    fn count_commit(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let asks = self.batch.len() as u64;
        let mut status = self.ends.status.lock();
        status.commits += 1;
        status.commit_us += us;
        status.batched += asks;
        if let Some(bucket) = COMMIT_TIME_BOUNDS_US.iter().position(|&bound| us <= bound) {
            status.commit_times[bucket] += 1;
        }
        if let Some(bucket) = BATCH_SIZE_BOUNDS.iter().position(|&bound| asks <= bound) {
            status.batch_sizes[bucket] += 1;
        }
    }
}
