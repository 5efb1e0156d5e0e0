//! `roomd bench --suite`: the workloads of the README, side by side, as one table.
//!
//! Every run has a fresh server process and a fresh generator process, each on a processor of its
//! own if there are two. Runs are interleaved (all contenders do a workload once before any does it
//! again), because a machine's speed drifts; a figure is the median of a contender's runs, and what
//! counts is its ratio to the floor's in the same suite.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::contender::{Against, pinned, two_processors};
use super::dialect::Dialect;
use super::plan::Args;
use super::progress::Progress;
use super::report::Report;
use crate::cli::counted;
use Limit::{Amount, TimesFloor, Unlimited};

const ROOMD: &str = "roomd";
const FLOOR: &str = "floor";

/// One way to load a server.
struct Workload {
    name: &'static str,
    /// The same for people.
    title: &'static str,
    flags: &'static [&'static str],
    figures: &'static [Figure],
}

/// One row of the table: what is taken from the report of a workload.
struct Figure {
    title: &'static str,
    unit: &'static str,
    decimals: usize,
    of: fn(&Report) -> Option<f64>,
    /// What roomd sets out to stay below.
    limit: Limit,
}

enum Limit {
    /// So many times the floor's figure.
    TimesFloor(f64),
    /// So much, in the unit of the figure.
    Amount(f64),
    Unlimited,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "paced",
        title: "1000 members, 1 sender, 100 messages/s",
        flags: &["--members", "1000", "--senders", "1", "--rate", "100"],
        figures: &[
            figure("CPU per delivery", "µs", 2, delivery_us, TimesFloor(1.10)),
            figure("latency p99", "ms", 1, p99_ms, TimesFloor(1.10)),
        ],
    },
    Workload {
        name: "saturated",
        title: "1000 members, saturated, window 64",
        flags: &["--members", "1000", "--senders", "1", "--window", "64"],
        figures: &[
            figure("CPU per delivery", "µs", 3, delivery_us, TimesFloor(1.20)),
            figure("million deliveries per second", "M", 2, millions, Unlimited),
        ],
    },
    Workload {
        name: "many-senders",
        title: "100 members and 20 senders, saturated, window 64",
        flags: &["--members", "100", "--senders", "20", "--window", "64"],
        figures: &[figure("CPU per delivery", "µs", 3, delivery_us, TimesFloor(1.25))],
    },
    // These two have the same connections, rooms of the same size, and as many messages on their way to each of
    // them: six or so, which go out in one write. Of 8000 members in one room each, most would be written to for a
    // single message, and the two would differ by what a system call costs.
    Workload {
        name: "in-one-room-of-100",
        title: "1000 members and senders, each in 1 of 10 rooms of 100, saturated, window 64",
        flags: &["--members", "920", "--senders", "80", "--rooms", "10", "--window", "64"],
        figures: &[figure("CPU per delivery", "µs", 3, delivery_us, Unlimited)],
    },
    Workload {
        name: "in-eight-rooms-of-100",
        title: "1000 members and senders, each in 8 of 80 rooms of 100, saturated, window 64",
        flags: &["--members", "920", "--senders", "80", "--rooms", "80", "--joined", "8", "--window", "64"],
        figures: &[figure("CPU per delivery", "µs", 3, delivery_us, Unlimited)],
    },
    Workload {
        name: "idle",
        title: "10 000 idle members",
        flags: &["--members", "10000", "--idle"],
        figures: &[
            figure("resident memory each", "B", 0, member_bytes, Amount(400.0)),
            figure("CPU per connection to let them in", "µs", 1, entry_us, Amount(25.0)),
        ],
    },
    Workload {
        name: "idle-in-eight-rooms",
        title: "10 000 idle members, each in 8 of 800 rooms of 100",
        flags: &["--members", "10000", "--rooms", "800", "--joined", "8", "--idle"],
        figures: &[
            figure("resident memory for each room beyond the first", "B", 0, room_bytes, Amount(48.0)),
            figure("CPU to let them in there", "µs", 1, room_us, Unlimited),
        ],
    },
];

impl Workload {
    /// Whether clients that speak `dialect` can do it.
    fn is_for(&self, dialect: Dialect) -> bool {
        (dialect.has_rooms() || !self.flags.contains(&"--rooms"))
            && (dialect.is_of_roomd() || !self.flags.contains(&"--joined"))
    }
}

const fn figure(
    title: &'static str,
    unit: &'static str,
    decimals: usize,
    of: fn(&Report) -> Option<f64>,
    limit: Limit,
) -> Figure {
    Figure { title, unit, decimals, of, limit }
}

fn delivery_us(report: &Report) -> Option<f64> {
    report.server.as_ref()?.cpu_us_per_delivery
}

fn p99_ms(report: &Report) -> Option<f64> {
    Some(report.traffic.as_ref()?.latency_us.p99 as f64 / 1e3)
}

fn millions(report: &Report) -> Option<f64> {
    Some(report.traffic.as_ref()?.deliveries_per_second / 1e6)
}

fn member_bytes(report: &Report) -> Option<f64> {
    report.server.as_ref()?.resident_bytes_per_connection
}

fn entry_us(report: &Report) -> Option<f64> {
    report.server.as_ref()?.cpu_us_per_connection
}

fn room_bytes(report: &Report) -> Option<f64> {
    Some(report.server.as_ref()?.further_rooms.as_ref()?.resident_bytes_each)
}

fn room_us(report: &Report) -> Option<f64> {
    Some(report.server.as_ref()?.further_rooms.as_ref()?.cpu_us_each)
}

/// What came out: all reports by workload and contender.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    machine: String,
    runs: usize,
    reports: BTreeMap<&'static str, BTreeMap<String, Vec<Report>>>,
    /// Sentences about runs without a result or with faults.
    failures: Vec<String>,
}

/// Runs the suite and prints its table.
pub(super) fn run(args: &Args) -> Result<ExitCode, String> {
    let contenders = contenders(args)?;
    let workloads: Vec<&Workload> = WORKLOADS
        .iter()
        .filter(|workload| args.only.as_ref().is_none_or(|word| workload.name.contains(word)))
        .collect();
    if workloads.is_empty() {
        let names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
        return Err(format!("no workload has such a name; there are {}", names.join(", ")));
    }
    let outcome = run_all(args, &contenders, &workloads)?;
    if args.json {
        println!("{}", super::to_json(&outcome)?);
    } else {
        print!("{}", table(&outcome, &contenders, &workloads));
    }
    Ok(if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// roomd, the floor, and what else was asked for.
fn contenders(args: &Args) -> Result<Vec<Against>, String> {
    let roomd = this_program()?;
    let floor = args.floor.clone().unwrap_or_else(|| roomd.with_file_name("examples").join(FLOOR));
    if !floor.exists() {
        return Err(format!(
            "there is no floor program at {}: build it with `cargo build --release --example floor`, \
             or say where it is with --floor",
            floor.display()
        ));
    }
    let listen = ["--listen", "127.0.0.1:0"];
    let limits = ["--log-level", "warn", "--max-connections", "15000", "--max-rooms", "none"];
    let serve = [&["serve"], &listen[..], &limits].concat();
    let mut contenders = vec![
        Against::announced(ROOMD, Dialect::Text, &roomd, &serve),
        Against::announced(FLOOR, Dialect::Floor, &floor, &listen),
    ];
    contenders.extend(args.against.iter().cloned());
    Ok(contenders)
}

fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))
}

fn run_all(args: &Args, contenders: &[Against], workloads: &[&Workload]) -> Result<Outcome, String> {
    let processors = two_processors();
    let mut outcome =
        Outcome { machine: machine(processors.is_some()), runs: args.runs, ..Outcome::default() };
    let able = |workload: &Workload| {
        let able = contenders.iter().filter(|contender| workload.is_for(contender.dialect));
        able.collect::<Vec<_>>()
    };
    let total = args.runs * workloads.iter().map(|workload| able(workload).len()).sum::<usize>();
    let mut progress = Progress::begin("suite", total, Some("runs"));
    let generator = this_program()?;
    let mut done = 0;
    for workload in workloads {
        for _ in 0..args.runs {
            for contender in able(workload) {
                progress.show(std::time::Instant::now(), done, || {
                    format!("{}: {}", workload.name, contender.name)
                });
                let result = run_one(args, contender, workload, &generator, processors);
                outcome.take(contender, workload, result);
                done += 1;
            }
        }
    }
    progress.end(&format!("{}, {} failed", counted(done, "run"), outcome.failures.len()));
    Ok(outcome)
}

/// Starts `contender` and a generator that loads it.
fn run_one(
    args: &Args,
    contender: &Against,
    workload: &Workload,
    generator: &Path,
    processors: Option<(u32, u32)>,
) -> Result<Report, String> {
    let server = contender.start(processors.map(|(server, _)| server))?;
    let output = pinned(processors.map(|(_, generator)| generator), generator)
        // Nobody else is there; and to go to another room than the first is no part of what is measured.
        .args(["bench", "--json", "--yes", "--room", "lobby", "--dialect", &contender.dialect.to_string()])
        .args(workload.flags)
        .args(&contender.flags)
        .args(extra_flags(contender.dialect, workload))
        .args(["--duration", &humantime::format_duration(args.duration).to_string()])
        .args(["--pid", &server.child.id().to_string(), &server.address.to_string()])
        .output()
        .map_err(|error| format!("cannot start the generator: {error}"))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        said.lines().last().unwrap_or("the generator said nothing").to_owned()
    })
}

/// An IRC server tells every member of a channel of every arrival: 10 000 in one channel would be 50
/// million lines before anything is measured, so that they get 100 channels.
fn extra_flags(dialect: Dialect, workload: &Workload) -> &'static [&'static str] {
    match (dialect, workload.name) {
        (Dialect::Irc, "idle") => &["--rooms", "100"],
        _ => &[],
    }
}

impl Outcome {
    fn take(&mut self, contender: &Against, workload: &Workload, result: Result<Report, String>) {
        let mut fails =
            |why: String| self.failures.push(format!("{}, {}: {why}", workload.name, contender.name));
        match result {
            Ok(report) => {
                if !report.ok {
                    fails(format!("{:?} {:?}", report.verdict.faults, report.verdict.closed));
                    report.notes.iter().cloned().for_each(fails);
                }
                let by_contender = self.reports.entry(workload.name).or_default();
                by_contender.entry(contender.name.clone()).or_default().push(report);
            }
            Err(sentence) => fails(sentence),
        }
    }

    /// How many runs other programs were in the way of, and how many there were.
    fn disturbed(&self) -> (usize, usize) {
        let reports = || self.reports.values().flat_map(BTreeMap::values).flatten();
        (reports().filter(|report| report.is_disturbed()).count(), reports().count())
    }

    /// The median of `figure` over the runs of `contender`.
    fn median(&self, workload: &Workload, contender: &str, figure: &Figure) -> Option<f64> {
        let reports = self.reports.get(workload.name)?.get(contender)?;
        median(reports.iter().filter_map(figure.of).collect())
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The outcome as Markdown.
fn table(outcome: &Outcome, contenders: &[Against], workloads: &[&Workload]) -> String {
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name.as_str()).collect();
    let mut lines = vec![
        format!("| workload | {} | roomd / floor | at most |", names.join(" | ")),
        format!("|---|{}", "---:|".repeat(names.len() + 2)),
    ];
    for workload in workloads {
        for (index, figure) in workload.figures.iter().enumerate() {
            let title = if index == 0 { workload.title } else { "the same" };
            let cells = cells(outcome, workload, figure, &names);
            lines.push(format!("| {title}: {} | {cells} |", figure.title));
        }
    }
    let runs = if outcome.runs == 1 { "One run".into() } else { format!("Medians of {} runs", outcome.runs) };
    lines.push(format!("\n{runs}. {}", outcome.machine));
    let (disturbed, all) = outcome.disturbed();
    if disturbed > 0 {
        lines.push(format!(
            "In {disturbed} of {all} runs other programs kept the server or the generator waiting for a \
             processor: repeat it on an idle machine."
        ));
    }
    lines.push("One by one, against a server of your own:\n".into());
    lines.push("    roomd serve --max-connections 15000 --max-rooms none".into());
    let by_hand =
        |workload: &&Workload| format!("    roomd bench {}    # {}", workload.flags.join(" "), workload.name);
    lines.extend(workloads.iter().map(by_hand));
    lines.extend(outcome.failures.iter().map(|failure| format!("\nFailed: {failure}")));
    lines.join("\n") + "\n"
}

/// What stands behind the title in the row of `figure`.
fn cells(outcome: &Outcome, workload: &Workload, figure: &Figure, names: &[&str]) -> String {
    let Figure { unit, decimals, limit, .. } = figure;
    let amount = |value: f64| format!("{value:.decimals$} {unit}");
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "–".into());
    let median = |name: &str| outcome.median(workload, name, figure);
    let mut cells: Vec<String> = names.iter().map(|name| or_dash(median(name).map(amount))).collect();
    let ratio = median(ROOMD).zip(median(FLOOR)).map(|(roomd, floor)| roomd / floor);
    cells.push(or_dash(ratio.map(|ratio| format!("{ratio:.2}"))));
    cells.push(or_dash(match limit {
        TimesFloor(times) => Some(format!("{times:.2} × floor")),
        Amount(most) => Some(amount(*most)),
        Unlimited => None,
    }));
    cells.join(" | ")
}

/// What the figures were taken on.
fn machine(is_pinned: bool) -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let pinning =
        if is_pinned { "on a processor each" } else { "not pinned, so that they may be in each other's way" };
    format!("{model}, {processors} processors, Linux {}; server and generator {pinning}.", kernel.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn every_workload_is_a_plan() {
        for workload in WORKLOADS {
            crate::cli::bench::plan::tests::plan(&workload.flags.join(" ")).unwrap();
        }
    }

    #[test]
    fn who_has_no_rooms_or_one_at_a_time_is_left_out_where_members_are_in_several() {
        for (dialect, left_out) in [
            (Dialect::Json, &[][..]),
            (Dialect::Redis, &["in-eight-rooms-of-100", "idle-in-eight-rooms"]),
            (Dialect::Floor, &["in-one-room-of-100", "in-eight-rooms-of-100", "idle-in-eight-rooms"]),
        ] {
            let unable = WORKLOADS.iter().filter(|workload| !workload.is_for(dialect));
            assert_eq!(unable.map(|workload| workload.name).collect::<Vec<_>>(), left_out, "{dialect}");
        }
    }
}
