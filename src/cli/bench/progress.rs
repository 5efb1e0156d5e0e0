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
    bar: Option<ProgressBar>,
    shown_at: Instant,
}

impl Progress {
    /// Begins `phase`, which is done at `total`.
    pub(super) fn begin(phase: &'static str, total: u64) -> Self {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bar = is_terminal.then(|| {
            let style = ProgressStyle::with_template("{bar:32} {pos}/{len} {msg}");
            let bar = ProgressBar::new(total);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(phase);
            bar
        });
        Self { phase, total, bar, shown_at: Instant::now() }
    }

    /// Shows how far the phase is at `now`; `more` is asked only if it is time to show something.
    pub(super) fn show(&mut self, now: Instant, done: u64, more: impl FnOnce() -> String) {
        let interval = if self.bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL };
        if now.duration_since(self.shown_at) < interval {
            return;
        }
        self.shown_at = now;
        match &self.bar {
            Some(bar) => {
                bar.set_position(done.min(self.total));
                bar.set_message(format!("{}  {}", self.phase, more()));
            }
            None => eprintln!("{}: {done} of {}; {}", self.phase, self.total, more()),
        }
    }

    /// Ends the phase with a line that stays, on a terminal and elsewhere.
    pub(super) fn end(self, sentence: &str) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}: {sentence}", self.phase);
    }
}
