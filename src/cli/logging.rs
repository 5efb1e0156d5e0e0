//! The log, off the loop: lines wait in a bounded queue for a thread that writes them on standard error.
//!
//! Standard error may be anything: a disk that is full, a pipe whose reader has gone, or stalls. Writing to it can
//! fail and can take for ever, and neither is the business of the loop. So the loop only queues; what does not fit,
//! or cannot be written, is counted, and said as soon as there is somebody to read it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

/// How many lines may wait to be written.
const QUEUED_LINES_MAX: usize = 1024;
/// How many bytes they may have together.
const QUEUED_BYTES_MAX: usize = 256 * 1024;
/// How long a line may be, in bytes, without its time and level.
const LINE_BYTES_MAX: usize = 1024;
/// How long the end of the process waits for what is still to be written.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);
/// After this time it is tried again to say how much was lost, if nobody logs meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A line that is written so late says so: its time is that of writing.
const LATE_AFTER: Duration = Duration::from_secs(1);

/// The log, from start to end of the daemon. Dropping it writes what is left, as far as that can be.
#[derive(Debug)]
pub(super) struct Logging {
    queue: Arc<Queue>,
}

impl Logging {
    /// Writes `opening`, and from then on what is logged at `level` and above. At `off` the thread that writes ends
    /// with the opening.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(level: LevelFilter, opening: Vec<String>) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(level));
        for text in opening {
            queue.push(Line::new(Kind::Plain, text));
        }
        let backend = SimpleLogger::new().with_utc_timestamps().with_colors(io::stderr().is_terminal());
        // It looks at standard output otherwise.
        colored::control::set_override(io::stderr().is_terminal());
        let writer = Writer { queue: Arc::clone(&queue), backend, unsaid: 0 };
        if level == LevelFilter::Off {
            queue.close();
        } else if log::set_boxed_logger(Box::new(Arc::clone(&queue))).is_ok() {
            log::set_max_level(level);
        }
        set_panic_hook(Arc::clone(&queue));
        thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok(Self { queue })
    }

    /// How many lines were lost so far.
    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.queue.lost)
    }
}

impl Drop for Logging {
    /// Whoever reads standard error has a moment; then the process ends, and with it the thread, even if that is in
    /// the middle of a write.
    fn drop(&mut self) {
        self.queue.close();
        self.queue.drain(DRAIN_TIME_MAX);
    }
}

// ---- the queue

#[derive(Debug)]
struct Line {
    kind: Kind,
    text: String,
    queued_at: Instant,
    /// How many were lost between the line before and this one.
    lost_before: u64,
}

#[derive(Debug)]
enum Kind {
    /// As it stands.
    Plain,
    /// With a time, a level and where it comes from.
    Logged { level: Level, target: String },
}

impl Line {
    fn new(kind: Kind, text: String) -> Self {
        Self { kind, text, queued_at: Instant::now(), lost_before: 0 }
    }

    fn bytes(&self) -> usize {
        let target = match &self.kind {
            Kind::Plain => 0,
            Kind::Logged { target, .. } => target.capacity(),
        };
        self.text.capacity() + target
    }
}

/// What the loop logs and the writer has not taken yet. The lock is held to move a line, never to write one.
#[derive(Debug)]
struct Queue {
    level: LevelFilter,
    state: Mutex<State>,
    /// There is a line, or the end.
    filled: Condvar,
    drained: Condvar,
    /// All lines that were lost, here or while they were written.
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    /// Of the lines.
    bytes: usize,
    /// How many were lost since the last line that was queued.
    lost: u64,
    /// No line will come any more.
    is_closed: bool,
    /// The writer has nothing to write.
    is_idle: bool,
}

/// What the writer finds.
enum Next {
    Line(Line),
    /// There is no line; so many were lost behind the last one.
    Nothing {
        lost: u64,
    },
    End,
}

impl Queue {
    fn new(level: LevelFilter) -> Self {
        let lines = VecDeque::with_capacity(if level == LevelFilter::Off { 0 } else { QUEUED_LINES_MAX });
        Self {
            level,
            state: Mutex::new(State { lines, ..State::default() }),
            filled: Condvar::new(),
            drained: Condvar::new(),
            lost: Arc::default(),
        }
    }

    /// Nothing panics while it holds the lock, and if it did: a queue that misses a line is better than none.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut line: Line) {
        let mut state = self.state();
        if state.lines.len() >= QUEUED_LINES_MAX || state.bytes + line.bytes() > QUEUED_BYTES_MAX {
            state.lost += 1;
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        line.lost_before = std::mem::take(&mut state.lost);
        state.bytes += line.bytes();
        state.lines.push_back(line);
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for the next line, for ever or for `patience`.
    fn next(&self, patience: Option<Duration>) -> Next {
        let mut state = self.state();
        if state.lines.is_empty() && state.lost == 0 {
            state.is_idle = true;
            self.drained.notify_all();
            if state.is_closed {
                return Next::End;
            }
            state = match patience {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    self.filled.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.is_idle = false;
        let Some(line) = state.lines.pop_front() else {
            return Next::Nothing { lost: std::mem::take(&mut state.lost) };
        };
        state.bytes -= line.bytes();
        Next::Line(line)
    }

    fn close(&self) {
        self.state().is_closed = true;
        self.filled.notify_one();
    }

    /// Waits until all is written; returns whether it is.
    fn drain(&self, patience: Duration) -> bool {
        let is_busy = |state: &mut State| !state.is_idle || !state.lines.is_empty() || state.lost > 0;
        let waited = self.drained.wait_timeout_while(self.state(), patience, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn queue_line(&self, level: Level, target: &str, args: fmt::Arguments<'_>) {
        let mut text = Clean(String::new());
        // It fails where the line is full: the rest is cut off.
        let _ = text.write_fmt(args);
        self.push(Line::new(Kind::Logged { level, target: target.to_owned() }, text.0));
    }
}

impl Log for Queue {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.queue_line(record.level(), record.target(), *record.args());
        }
    }

    fn flush(&self) {}
}

/// One line of bounded length: control characters are escaped, whoever may have sent them.
struct Clean(String);

impl fmt::Write for Clean {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let room = LINE_BYTES_MAX - self.0.len();
            if c.is_control() {
                let escaped = c.escape_default();
                if escaped.len() > room {
                    return Err(fmt::Error);
                }
                self.0.extend(escaped);
            } else if c.len_utf8() > room {
                return Err(fmt::Error);
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

// ---- the thread that writes

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// What the writer's panics would say is what cannot be written. All others are told as ever, behind what was logged
/// before; if nobody reads that, the process must not wait for it for ever, or nobody would start it anew.
fn set_panic_hook(queue: Arc<Queue>) {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if IS_WRITER.get() {
            return;
        }
        if queue.drain(DRAIN_TIME_MAX) {
            tell(info);
        } else {
            queue.queue_line(Level::Error, module_path!(), format_args!("{info}"));
        }
    }));
}

struct Writer {
    queue: Arc<Queue>,
    backend: SimpleLogger,
    /// How many lines were lost, and nobody was told.
    unsaid: u64,
}

impl Writer {
    fn run(mut self) {
        IS_WRITER.set(true);
        loop {
            let patience = (self.unsaid > 0).then_some(RETRY_AFTER);
            match self.queue.next(patience) {
                Next::Line(line) => {
                    self.unsaid += line.lost_before;
                    self.say_what_was_lost();
                    if !self.write(&line) {
                        self.queue.lost.fetch_add(1, Ordering::Relaxed);
                        self.unsaid += 1;
                    }
                }
                Next::Nothing { lost } => {
                    self.unsaid += lost;
                    self.say_what_was_lost();
                }
                Next::End => return,
            }
        }
    }

    fn say_what_was_lost(&mut self) {
        let count = self.unsaid;
        let text = match count {
            0 => return,
            1 => "1 log line was lost".to_owned(),
            _ => format!("{count} log lines were lost"),
        };
        let kind = Kind::Logged { level: Level::Warn, target: module_path!().to_owned() };
        if self.write(&Line::new(kind, text)) {
            self.unsaid = 0;
        }
    }

    /// Writes a line; returns whether it could be.
    fn write(&self, line: &Line) -> bool {
        match &line.kind {
            Kind::Plain => io::stderr().lock().write_all(format!("{}\n", line.text).as_bytes()).is_ok(),
            Kind::Logged { level, target } => {
                let late = line.queued_at.elapsed();
                let late =
                    if late < LATE_AFTER { String::new() } else { format!(" ({} s ago)", late.as_secs()) };
                let log = || {
                    self.backend.log(
                        &Record::builder()
                            .level(*level)
                            .target(target)
                            .args(format_args!("{}{late}", line.text))
                            .build(),
                    );
                };
                // It writes by `eprintln!`, which panics if that fails, and that is the only sign of it: to ask the
                // descriptor before would not tell of a disk that is full. No state is left half changed by it.
                panic::catch_unwind(AssertUnwindSafe(log)).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(LevelFilter::Info)
    }

    fn line(text: &str) -> Line {
        Line::new(Kind::Plain, text.to_owned())
    }

    #[test]
    fn what_does_not_fit_is_lost_and_counted_where_it_is_missing() {
        let queue = queue();
        for _ in 0..QUEUED_LINES_MAX + 5 {
            queue.push(line("x"));
        }
        assert_eq!(queue.lost.load(Ordering::Relaxed), 5);
        assert!(matches!(queue.next(None), Next::Line(Line { lost_before: 0, .. })));
        queue.push(line("behind the gap"));
        for _ in 1..QUEUED_LINES_MAX {
            assert!(matches!(queue.next(None), Next::Line(Line { lost_before: 0, .. })));
        }
        assert!(matches!(queue.next(None), Next::Line(Line { lost_before: 5, .. })));
        assert!(matches!(queue.next(Some(Duration::ZERO)), Next::Nothing { lost: 0 }));
    }

    #[test]
    fn the_bytes_of_what_waits_are_bounded_too() {
        let queue = queue();
        let long = "x".repeat(LINE_BYTES_MAX);
        for _ in 0..QUEUED_LINES_MAX {
            queue.push(line(&long));
        }
        let fit = QUEUED_BYTES_MAX / LINE_BYTES_MAX;
        assert_eq!(queue.lost.load(Ordering::Relaxed), (QUEUED_LINES_MAX - fit) as u64);
        for _ in 0..fit {
            assert!(matches!(queue.next(None), Next::Line(_)));
        }
        assert!(
            matches!(queue.next(None), Next::Nothing { lost } if lost as usize == QUEUED_LINES_MAX - fit)
        );
    }

    #[test]
    fn a_closed_queue_is_written_to_its_end() {
        let queue = queue();
        let moment = Duration::ZERO;
        assert!(matches!(queue.next(Some(moment)), Next::Nothing { lost: 0 }));
        queue.push(line("last"));
        queue.close();
        assert!(!queue.drain(moment), "it waits");
        assert!(matches!(queue.next(None), Next::Line(_)));
        assert!(!queue.drain(moment), "it is being written");
        assert!(matches!(queue.next(None), Next::End));
        assert!(queue.drain(moment));
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        let clean = |text: &str| {
            let mut clean = Clean(String::new());
            let _ = clean.write_str(text);
            clean.0
        };
        assert_eq!(clean("a\n\u{1b}[2Jb \u{85}é"), "a\\n\\u{1b}[2Jb \\u{85}é");
        assert_eq!(clean(&"é".repeat(LINE_BYTES_MAX)).len(), LINE_BYTES_MAX);
        assert!(clean(&"\n\t\u{7f}é".repeat(LINE_BYTES_MAX)).len() <= LINE_BYTES_MAX);
    }
}
