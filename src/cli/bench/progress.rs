//! Progress on standard error: a bar on a terminal, now and then a plain line elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// One phase of a run: how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    phase: &'static str,
    total: u64,
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
    interval: Duration,
    shown_at: Instant,
}

impl Progress {
    /// Begins `phase`, which is done at `total`.
    pub(super) fn begin(phase: &'static str, total: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:32} {pos}/{len} {msg}");
        let bar = ProgressBar::new(total).with_message(phase);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let interval = if bar.is_hidden() { LINE_INTERVAL } else { BAR_INTERVAL };
        Self { phase, total, bar, interval, shown_at: Instant::now() }
    }

    /// Shows how far the phase is at `now`; `more` is asked only if it is time to show something.
    pub(super) fn show(&mut self, now: Instant, done: u64, more: impl FnOnce() -> String) {
        if now.duration_since(self.shown_at) < self.interval {
            return;
        }
        self.shown_at = now;
        let Self { phase, total, bar, .. } = self;
        if bar.is_hidden() {
            eprintln!("{phase}: {done} of {total}; {}", more());
        } else {
            bar.set_position(done.min(*total));
            bar.set_message(format!("{phase}  {}", more()));
        }
    }

    /// Ends the phase with a line that stays, on a terminal and elsewhere.
    pub(super) fn end(self, sentence: &str) {
        self.bar.finish_and_clear();
        eprintln!("{}: {sentence}", self.phase);
    }
}
