//! `/metrics`: what is counted, in the Prometheus text format.

use std::fmt::{Display, Write};

use super::session::{Action, Framer, Stage, Subprotocol};
use crate::chat::Chat;
use crate::reactor::{Net, TURN_TIME_BOUNDS_US};
use crate::store::{BATCH_SIZE_BOUNDS, COMMIT_TIME_BOUNDS_US, Load, Status};
use crate::wire::Content;

/// How a connection is called in the metrics.
const STAGES: [&str; 8] =
    ["undecided", "text", "json", "length-text", "length-json", "http", "ws-text", "ws-json"];

/// What the server counts itself; the loop has counters of its own.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Connections by stage, in the order of [`STAGES`].
    connections: [usize; STAGES.len()],
    /// Lines and messages that arrived whole.
    lines_in: u64,
    /// Lines and messages that were refused.
    pub(super) refusals: u64,
}

/// Which of [`STAGES`] a connection is in.
pub(super) fn place(stage: &Stage) -> usize {
    match stage {
        Stage::Undecided { .. } => 0,
        Stage::Stream { content, framer } => {
            1 + 2 * usize::from(matches!(framer, Framer::Lengths(_))) + usize::from(*content == Content::Json)
        }
        Stage::Http { .. } => 5,
        Stage::WebSocket { subprotocol: Subprotocol::Json, .. } => 7,
        Stage::WebSocket { .. } => 6,
    }
}

impl Metrics {
    pub(super) fn add_connection(&mut self, place: usize) {
        self.connections[place] += 1;
    }

    pub(super) fn remove_connection(&mut self, place: usize) {
        self.connections[place] -= 1;
    }

    /// A connection is in another stage now.
    pub(super) fn move_connection(&mut self, from: usize, to: usize) {
        self.remove_connection(from);
        self.add_connection(to);
    }

    /// Takes note of a line or message that arrived whole.
    pub(super) fn count(&mut self, action: &Action) {
        let is_line = matches!(action, Action::Do(_) | Action::Introduce(_) | Action::Refuse(..));
        self.lines_in += u64::from(is_line);
    }

    pub(super) fn render(
        &self,
        net: &Net,
        chat: &Chat,
        log_lines_lost: u64,
        saving: Option<&Status>,
        load: Load,
    ) -> String {
        let mut out = Text::default();
        let counters = net.counters();

        out.family("roomd_connections", "gauge", "Open connections by dialect.");
        for (stage, count) in STAGES.iter().zip(self.connections) {
            out.sample(&format!("roomd_connections{{dialect=\"{stage}\"}}"), count);
        }
        out.one("roomd_members", "gauge", "Members, each once.", chat.members());
        let places = chat.rooms().map(|room| room.total()).sum::<usize>();
        out.one("roomd_memberships", "gauge", "Members of all rooms, once for each room.", places);
        out.one("roomd_rooms", "gauge", "Rooms, remembered empty ones included.", chat.rooms().len());

        out.one("roomd_accepted_total", "counter", "Connections let in.", counters.accepted);
        out.family("roomd_refused_total", "counter", "Connections refused, by reason.");
        out.sample("roomd_refused_total{reason=\"full\"}", counters.refused_full);
        out.sample("roomd_refused_total{reason=\"per-ip\"}", counters.refused_per_ip);
        out.sample("roomd_refused_total{reason=\"connect-rate\"}", counters.refused_too_often);
        out.one("roomd_accept_errors_total", "counter", "Errors of accept.", counters.accept_errors);

        out.one("roomd_lines_in_total", "counter", "Lines and messages that arrived.", self.lines_in);
        out.one("roomd_lines_refused_total", "counter", "Lines and messages refused.", self.refusals);
        out.one("roomd_deliveries_total", "counter", "Events times their readers.", counters.deliveries);
        out.one("roomd_bytes_in_total", "counter", "Bytes read.", counters.bytes_in);
        out.one("roomd_bytes_out_total", "counter", "Bytes written.", counters.bytes_out);
        out.one("roomd_writes_total", "counter", "Writes that moved bytes.", counters.writes);
        let help = "Writes that met a full socket.";
        out.one("roomd_blocked_writes_total", "counter", help, counters.blocked_writes);
        let help = "Changes of interest after the first.";
        out.one("roomd_interest_changes_total", "counter", help, counters.interest_changes);

        out.one("roomd_feed_bytes", "gauge", "Bytes kept in feeds.", net.feed_bytes());
        let help = "Bytes kept in feeds and queues.";
        out.one("roomd_buffered_bytes", "gauge", help, net.buffered_bytes());
        out.family("roomd_lost_total", "counter", "Connections given up, by reason.");
        out.sample("roomd_lost_total{reason=\"slow\"}", counters.lost_slow);
        out.sample("roomd_lost_total{reason=\"broken\"}", counters.lost_broken);
        let help = "Times that a room was throttled for a reader.";
        out.one("roomd_throttles_total", "counter", help, counters.throttles);
        let help = "Times that a client was not read for its rate.";
        out.one("roomd_rate_pauses_total", "counter", help, counters.pauses);

        out.one("roomd_log_lines_lost_total", "counter", "Lines of the log that were lost.", log_lines_lost);

        let help = "What one turn of the loop took, without waiting.";
        let turns = (counters.turns, counters.busy_us as f64 / 1e6);
        out.histogram(
            "roomd_turn_seconds",
            help,
            &TURN_TIME_BOUNDS_US.map(seconds),
            &counters.turn_times,
            turns,
        );
        if let Some(saving) = saving {
            out.saving(saving, load);
        }
        out.0
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The Prometheus text format. Writing to a string does not fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// How often something was at most so much, and at all, and the sum of it.
    fn histogram(&mut self, name: &str, help: &str, bounds: &[f64], counts: &[u64], all: (u64, f64)) {
        self.family(name, "histogram", help);
        let mut count = 0;
        for (bound, more) in bounds.iter().zip(counts) {
            count += more;
            self.sample(&format!("{name}_bucket{{le=\"{bound}\"}}"), count);
        }
        let (count, sum) = all;
        self.sample(&format!("{name}_bucket{{le=\"+Inf\"}}"), count);
        self.sample(&format!("{name}_sum"), sum);
        self.sample(&format!("{name}_count"), count);
    }

    /// How a store that keeps something is doing.
    fn saving(&mut self, saving: &Status, load: Load) {
        let is_sound = u64::from(saving.trouble.is_none());
        self.one("roomd_store_healthy", "gauge", "1 if messages are saved, 0 if they are refused.", is_sound);
        self.one("roomd_store_messages_total", "counter", "Messages saved.", saving.saved);
        let help = "What was asked of the store, and refused.";
        self.one("roomd_store_refused_total", "counter", help, saving.refused);
        self.one("roomd_store_commits_total", "counter", "Commits, each of one batch.", saving.commits);
        let commits = (saving.commits, saving.commit_us as f64 / 1e6);
        let times = (COMMIT_TIME_BOUNDS_US.map(seconds), &saving.commit_times);
        let help = "What a commit took.";
        self.histogram("roomd_store_commit_seconds", help, &times.0, times.1, commits);
        let sizes = (BATCH_SIZE_BOUNDS.map(|bound| bound as f64), &saving.batch_sizes);
        let batches = (saving.commits, saving.batched as f64);
        let help = "What was asked in a batch.";
        self.histogram("roomd_store_batch_size", help, &sizes.0, sizes.1, batches);
        self.one("roomd_store_asks_waiting", "gauge", "Asked of the store, and not answered.", load.asks);
        let help = "Bytes of the file, and of what belongs to it.";
        self.one("roomd_store_file_bytes", "gauge", help, saving.file_bytes);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, value);
    }
}
