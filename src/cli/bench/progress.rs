//! Progress on standard error: a bar on a terminal, now and then a plain line elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// One phase of a run: how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    phase: &'static str,
    total: usize,
    /// Of what; of milliseconds if it is a time.
    unit: Option<&'static str>,
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
    interval: Duration,
    shown_at: Instant,
}

impl Progress {
    /// Begins `phase`, which is done at `total` of `unit`, or milliseconds.
    pub(super) fn begin(phase: &'static str, total: usize, unit: Option<&'static str>) -> Self {
        let style = ProgressStyle::with_template("{bar:32} {msg}");
        let bar = ProgressBar::new(total as u64).with_message(phase);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let interval = if bar.is_hidden() { LINE_INTERVAL } else { BAR_INTERVAL };
        Self { phase, total, unit, bar, interval, shown_at: Instant::now() }
    }

    /// Shows how far the phase is at `now`; `more` is asked only if it is time to show something.
    pub(super) fn show(&mut self, now: Instant, done: usize, more: impl FnOnce() -> String) {
        if now.duration_since(self.shown_at) < self.interval {
            return;
        }
        self.shown_at = now;
        let Self { phase, total, unit, bar, .. } = self;
        let so_far = match unit {
            Some(unit) => format!("{done} of {total} {unit}"),
            None => format!("{:.1} of {:.1} s", done as f64 / 1e3, *total as f64 / 1e3),
        };
        let more = more();
        let line = format!("{phase}: {so_far}{}{more}", if more.is_empty() { "" } else { "; " });
        if bar.is_hidden() {
            eprintln!("{line}");
        } else {
            bar.set_position(done.min(*total) as u64);
            bar.set_message(line);
        }
    }

    /// Ends the phase with a line that stays, on a terminal and elsewhere.
    pub(super) fn end(self, sentence: &str) {
        self.bar.finish_and_clear();
        eprintln!("{}: {sentence}", self.phase);
    }
}
