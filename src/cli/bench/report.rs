//! The result of a run: what `--json` prints, and the same for people.

use std::collections::BTreeMap;
use std::fmt;

use bytesize::ByteSize;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::dialect::Dialect;
use super::ledger::Faults;
use crate::cli::counted;

/// A process that waited longer than this for a processor shares it with somebody.
pub(super) const KEPT_WAITING_SHARE_MAX: f64 = 0.1;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// What was loaded, and how.
    pub(super) workload: Workload,
    /// The connect phase.
    pub(super) connect: Connect,
    /// The load phase; absent with `--idle`.
    pub(super) traffic: Option<Traffic>,
    /// What was verified.
    pub(super) verdict: Verdict,
    /// The server process; absent if it is not on this machine or may not be looked at.
    pub(super) server: Option<Server>,
    /// The generator itself.
    pub(super) generator: Generator,
    /// Sentences about what limits the value of the figures.
    pub(super) notes: Vec<String>,
    /// Nothing was lost, doubled, reordered, damaged or closed that should not have been.
    pub(super) ok: bool,
}

/// What was loaded, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Workload {
    pub(super) target: String,
    pub(super) dialect: Dialect,
    pub(super) load: String,
    pub(super) members: usize,
    pub(super) senders: usize,
    pub(super) rooms: usize,
    /// In how many of them each member is.
    pub(super) joined: usize,
    /// The first of them.
    pub(super) room: String,
    pub(super) message_bytes: usize,
    pub(super) slow_members: usize,
    pub(super) churned: u64,
}

/// The connect phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Connect {
    pub(super) connections: usize,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
}

/// The load phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Traffic {
    /// From the first due time to the last delivery.
    pub(super) seconds: f64,
    pub(super) messages: u64,
    pub(super) deliveries: u64,
    pub(super) deliveries_per_second: f64,
    /// From the time a message was due to its arrival at a member.
    pub(super) latency_us: Latency,
}

/// Microseconds that so many percent of the deliveries took at most.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p99_9: u64,
    pub(super) max: u64,
}

/// What was verified.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// In deliveries.
    #[serde(flatten)]
    pub(super) faults: Faults,
    /// Connections that ended without the bench's doing, by reason.
    pub(super) closed: BTreeMap<String, u64>,
    /// What the server refused, by its own words.
    pub(super) refused: BTreeMap<String, u64>,
    /// Members that never read and that the server closed, as it may.
    pub(super) slow_closed: usize,
}

/// The server process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) pid: u32,
    pub(super) name: String,
    /// Of the connect phase and until the arrivals are announced.
    pub(super) cpu_us_per_connection: Option<f64>,
    /// Of the load phase.
    pub(super) cpu_us_per_delivery: Option<f64>,
    /// Processors kept busy in the load phase.
    pub(super) cpu_share: Option<f64>,
    /// Share of the load phase it was ready to run and got no processor.
    pub(super) kept_waiting_share: Option<f64>,
    pub(super) resident_bytes_before: Option<u64>,
    /// With everybody in one room.
    pub(super) resident_bytes_connected: Option<u64>,
    pub(super) resident_bytes_after: Option<u64>,
    pub(super) resident_bytes_per_connection: Option<f64>,
    /// Absent if everybody is in one room.
    pub(super) further_rooms: Option<FurtherRooms>,
    pub(super) switches_voluntary: Option<u64>,
    pub(super) switches_involuntary: Option<u64>,
}

/// What it costs the server that connections are in further rooms besides the first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FurtherRooms {
    /// How many rooms that are for all connections together.
    pub(super) places: usize,
    /// Of entering, and of telling those who were there.
    pub(super) cpu_us_each: f64,
    pub(super) resident_bytes_each: f64,
    /// With everybody in all rooms.
    pub(super) resident_bytes: u64,
}

/// The generator itself, in the load phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Generator {
    /// Share of the time it had something to do: its CPU time, without polling for the next due time.
    pub(super) busy_share: f64,
    /// Share of the time it was ready to run and got no processor.
    pub(super) kept_waiting_share: f64,
    /// Its busy time per delivery.
    pub(super) busy_us_per_delivery: Option<f64>,
}

impl Latency {
    /// The percentiles of `histogram`, which counts microseconds.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows().iter().try_for_each(|(name, value)| writeln!(f, "{name:<12} {value}"))
    }
}

impl Report {
    /// Whether other programs were in the way of the server or of the generator.
    pub(super) fn is_disturbed(&self) -> bool {
        let server = self.server.as_ref().and_then(|server| server.kept_waiting_share);
        server.unwrap_or(0.0).max(self.generator.kept_waiting_share) > KEPT_WAITING_SHARE_MAX
    }

    /// The result for people: what a figure is of, and the figure in words.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let Workload { target, dialect, load, members, senders, rooms, joined, room, message_bytes, .. } =
            &self.workload;
        let (members, senders) = (counted(members, "member"), counted(senders, "sender"));
        let rooms = match (rooms, joined) {
            (1, _) => format!("#{room}"),
            (_, 1) => format!("{rooms} rooms from #{room}"),
            _ => format!("{rooms} rooms from #{room} and everybody in {joined} of them"),
        };
        let Connect { connections, seconds, per_second } = &self.connect;
        let mut rows = vec![
            (
                "workload",
                format!(
                    "{target}, {dialect}: {members}, {senders}, {rooms}, {load}, {message_bytes}-byte messages"
                ),
            ),
            ("connect", format!("{connections} in {seconds:.2} s, {per_second:.0} per second")),
        ];
        if let Some(Traffic { seconds, messages, deliveries, deliveries_per_second, latency_us }) =
            &self.traffic
        {
            let (messages, deliveries) = (counted(messages, "message"), counted(deliveries, "delivery"));
            let sum = format!("{messages}, {deliveries} in {seconds:.2} s");
            rows.push(("deliveries", format!("{deliveries_per_second:.0} per second: {sum}")));
            let Latency { p50, p90, p99, p99_9, max } = *latency_us;
            let [p50, p90, p99, p99_9, max] = [p50, p90, p99, p99_9, max].map(micros);
            rows.push(("latency", format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}, max {max}")));
        }
        rows.extend(self.server.iter().flat_map(Server::rows));
        let Generator { busy_share, busy_us_per_delivery, .. } = self.generator;
        let each =
            busy_us_per_delivery.map_or_else(String::new, |busy| format!(", {busy:.3} µs per delivery"));
        rows.push(("generator", format!("busy {:.0} % of the time{each}", busy_share * 100.0)));
        rows.extend(self.verdict.rows(&self.workload));
        rows.extend(self.notes.iter().map(|note| ("note", note.clone())));
        rows
    }
}

impl Server {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("server", format!("{} (pid {})", self.name, self.pid))];
        if let Some(cpu) = self.cpu_us_per_connection {
            rows.push(("  connecting", format!("{cpu:.1} µs CPU per connection")));
        }
        if let (Some(cpu), Some(share)) = (self.cpu_us_per_delivery, self.cpu_share) {
            let share = share * 100.0;
            rows.push(("  delivering", format!("{cpu:.3} µs CPU per delivery, {share:.0} % of a processor")));
        }
        if let Some((connected, each)) = self.resident_bytes_connected.zip(self.resident_bytes_per_connection)
        {
            let after = self.resident_bytes_after.map(|after| format!(", {} after the run", ByteSize(after)));
            let (connected, after) = (ByteSize(connected), after.unwrap_or_default());
            rows.push((
                "  memory",
                format!("{connected} resident when connected, {each:.0} bytes per connection{after}"),
            ));
        }
        if let Some(FurtherRooms { cpu_us_each: cpu, resident_bytes_each: each, resident_bytes, .. }) =
            self.further_rooms
        {
            let all = ByteSize(resident_bytes);
            let more =
                format!("{each:.0} bytes and {cpu:.1} µs CPU for each beyond the first of a connection");
            rows.push(("  more rooms", format!("{all} resident in all of them, {more}")));
        }
        if let Some((voluntary, involuntary)) = self.switches_voluntary.zip(self.switches_involuntary) {
            rows.push(("  switches", format!("{voluntary} voluntary, {involuntary} involuntary")));
        }
        rows
    }
}

impl Verdict {
    /// Whether everything is as it should be.
    pub(super) fn is_ok(&self) -> bool {
        self.faults == Faults::default() && self.closed.is_empty()
    }

    fn rows(&self, workload: &Workload) -> Vec<(&'static str, String)> {
        let Faults { lost, doubled, reordered, damaged, strayed } = self.faults;
        let faults = format!("{lost} lost, {doubled} doubled, {reordered} reordered, {damaged} damaged");
        let mut rows = vec![("verified", format!("{faults}, {strayed} in the wrong room"))];
        let closed = |(why, count)| ("closed", format!("{}: {why}", counted(count, "connection")));
        rows.extend(self.closed.iter().map(closed));
        let refused = |(said, count)| ("refused", format!("{}: {said}", counted(count, "time")));
        rows.extend(self.refused.iter().map(refused));
        let Workload { slow_members: slow, churned, .. } = workload;
        if *slow > 0 {
            let closed = self.slow_closed;
            let slow = counted(slow, "member");
            rows.push(("slow", format!("{slow} never read; the server closed {closed} of them")));
        }
        if *churned > 0 {
            rows.push(("churn", format!("{} left and came back", counted(churned, "member"))));
        }
        rows
    }
}

/// Microseconds in the unit people read them in.
fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}
