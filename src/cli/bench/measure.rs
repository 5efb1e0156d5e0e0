//! One run from the first connection to the report: the phases, and what is measured around them.

use std::time::Duration;

use procfs::process::Process;

use super::driver::Driver;
use super::phases::{self, Loaded};
use super::plan::{Load, Plan};
use super::process::{Snapshot, Usage, listening_on};
use super::report::{
    Connect, FurtherRooms, Generator, KEPT_WAITING_SHARE_MAX, Latency, Report, Server, Traffic, Verdict,
    Workload,
};

use crate::cli::counted;

/// Descriptors besides the connections: standard streams, epoll, files of `/proc`.
const DESCRIPTORS_RESERVE: u64 = 32;
/// A generator busier than this may have been what limited the result.
const BUSY_SHARE_MAX: f64 = 0.9;
/// A server busier than this was limited by its processor.
const SERVER_BUSY_SHARE: f64 = 0.9;

/// Runs `plan`.
pub(super) fn run(plan: Plan) -> Result<Report, String> {
    reserve_descriptors(plan.connections())?;
    let look = |process: Option<&Process>| process.map(Snapshot::of).unwrap_or_default();
    let generator = Process::myself().ok();
    let server = match plan.args.pid {
        Some(pid) => Process::new(pid as i32).ok(),
        None if plan.target.ip().is_loopback() => listening_on(plan.target),
        None => None,
    };
    let mut slow = vec![false; plan.args.members];
    slow[..plan.slow_members].fill(true);
    fastrand::Rng::with_seed(plan.args.seed).shuffle(&mut slow);
    let mut driver = Driver::new(plan, &slow)?;

    let before_connecting = look(server.as_ref());
    let connecting = phases::connect(&mut driver)?;
    phases::settle(&mut driver)?;
    let connected = look(server.as_ref());
    let mut before_load = connected;
    if phases::enter_others(&mut driver)? {
        phases::settle(&mut driver)?;
        before_load = look(server.as_ref());
    }
    let own_before_load = look(generator.as_ref());
    let loaded = phases::load(&mut driver)?;
    let took = driver.epoch.elapsed();
    let own = look(generator.as_ref()).used_since(own_before_load).unwrap_or_default();
    let after_load = look(server.as_ref());
    phases::linger(&mut driver)?;
    let measured =
        Measured { before_connecting, connected, before_load, after_load, own, connecting, took, loaded };
    Ok(measured.report(&mut driver, server.as_ref()))
}

/// Raises the limit of open files as far as it goes.
fn reserve_descriptors(connections: usize) -> Result<(), String> {
    let needed = connections as u64 + DESCRIPTORS_RESERVE;
    let limit = rlimit::increase_nofile_limit(u64::MAX)
        .map_err(|error| format!("cannot read the limit of open files: {error}"))?;
    if limit >= needed {
        return Ok(());
    }
    Err(format!(
        "{} need {needed} open files, but this process may open {limit}: use \
         fewer members, or raise the hard limit (`ulimit -Hn` as root, LimitNOFILE= in systemd)",
        counted(connections, "connection")
    ))
}

/// What was measured around the phases.
struct Measured {
    /// The server at four moments; nothing if it cannot be seen.
    before_connecting: Snapshot,
    /// Everybody is in its first room; there may be no other.
    connected: Snapshot,
    before_load: Snapshot,
    after_load: Snapshot,
    /// What the generator used up in the load phase.
    own: Usage,
    /// How long it took to let everybody in.
    connecting: Duration,
    /// How long the load phase took.
    took: Duration,
    loaded: Loaded,
}

impl Measured {
    fn report(&self, driver: &mut Driver, server: Option<&Process>) -> Report {
        let slow_closed = driver.closed_slow_members();
        let driver = &*driver;
        let connections = driver.plan.connections();
        let verdict = Verdict {
            faults: driver.ledger.faults(),
            closed: driver.closings.clone(),
            refused: driver.refusals.clone(),
            slow_closed,
        };
        let server = server.and_then(|process| self.server(process, driver));
        let generator = self.generator(driver);
        Report {
            workload: workload(&driver.plan, &self.loaded),
            connect: Connect {
                connections,
                seconds: self.connecting.as_secs_f64(),
                per_second: connections as f64 / self.connecting.as_secs_f64(),
            },
            traffic: (driver.plan.load != Load::Idle).then(|| traffic(driver)),
            notes: notes(driver, server.as_ref(), &generator, &self.loaded),
            ok: verdict.is_ok(),
            verdict,
            server,
            generator,
        }
    }

    fn server(&self, process: &Process, driver: &Driver) -> Option<Server> {
        let (connections, deliveries) = (driver.plan.connections() as f64, driver.ledger.deliveries);
        let connecting = self.connected.used_since(self.before_connecting);
        let loading = self.after_load.used_since(self.before_load);
        let before = self.before_connecting.resident_bytes;
        let connected = self.connected.resident_bytes;
        let share = |time_ns: u64| time_ns as f64 / self.took.as_nanos() as f64;
        Some(Server {
            pid: process.pid as u32,
            name: process.stat().ok()?.comm,
            cpu_us_per_connection: connecting.map(|used| used.cpu_ns as f64 / 1e3 / connections),
            cpu_us_per_delivery: loading
                .filter(|_| deliveries > 0)
                .map(|used| used.cpu_ns as f64 / 1e3 / deliveries as f64),
            cpu_share: loading.map(|used| share(used.cpu_ns)),
            kept_waiting_share: loading.map(|used| share(used.waited_ns)),
            resident_bytes_before: before,
            resident_bytes_connected: connected,
            further_rooms: self.further_rooms(driver),
            resident_bytes_after: self.after_load.resident_bytes,
            resident_bytes_per_connection: before
                .zip(connected)
                .map(|(before, connected)| (connected as f64 - before as f64) / connections),
            switches_voluntary: loading.map(|used| used.switches_voluntary),
            switches_involuntary: loading.map(|used| used.switches_involuntary),
        })
    }

    /// What the rooms cost that everybody entered after the first.
    fn further_rooms(&self, driver: &Driver) -> Option<FurtherRooms> {
        let places = driver.plan.connections() * (driver.plan.args.joined - 1);
        let used = self.before_load.used_since(self.connected).filter(|_| places > 0)?;
        let (first, all) = self.connected.resident_bytes.zip(self.before_load.resident_bytes)?;
        Some(FurtherRooms {
            places,
            cpu_us_each: used.cpu_ns as f64 / 1e3 / places as f64,
            resident_bytes_each: (all as f64 - first as f64) / places as f64,
            resident_bytes: all,
        })
    }

    fn generator(&self, driver: &Driver) -> Generator {
        let deliveries = driver.ledger.deliveries;
        let busy = Duration::from_nanos(self.own.cpu_ns).saturating_sub(driver.spun);
        Generator {
            busy_share: busy.as_secs_f64() / self.took.as_secs_f64(),
            kept_waiting_share: self.own.waited_ns as f64 / self.took.as_nanos() as f64,
            busy_us_per_delivery: (deliveries > 0).then(|| busy.as_secs_f64() * 1e6 / deliveries as f64),
        }
    }
}

fn workload(plan: &Plan, loaded: &Loaded) -> Workload {
    let load = match plan.load {
        Load::RatePerSecond(rate) => format!("{rate} messages per second"),
        Load::Window(window) => format!("window {window}"),
        Load::Idle => "idle".into(),
    };
    Workload {
        target: plan.target.to_string(),
        dialect: plan.args.dialect,
        load,
        members: plan.args.members,
        senders: plan.senders,
        rooms: plan.args.rooms,
        joined: plan.args.joined,
        room: plan.room_name(0),
        message_bytes: plan.args.size,
        slow_members: plan.slow_members,
        churned: loaded.churned,
    }
}

fn traffic(driver: &Driver) -> Traffic {
    let seconds = driver.delivered_at.duration_since(driver.epoch).as_secs_f64();
    let deliveries = driver.ledger.deliveries;
    Traffic {
        seconds,
        messages: driver.ledger.sent,
        deliveries,
        deliveries_per_second: if deliveries > 0 { deliveries as f64 / seconds } else { 0.0 },
        latency_us: Latency::of(&driver.latency_us),
    }
}

/// What limits the value of the figures.
fn notes(driver: &Driver, server: Option<&Server>, generator: &Generator, loaded: &Loaded) -> Vec<String> {
    let mut notes = Vec::new();
    let server_share = server.and_then(|server| server.cpu_share);
    let is_server_saturated = server_share.is_some_and(|share| share > SERVER_BUSY_SHARE);
    let server_waited = server.and_then(|server| server.kept_waiting_share).unwrap_or(0.0);
    for (who, share) in [("server", server_waited), ("generator", generator.kept_waiting_share)] {
        if share > KEPT_WAITING_SHARE_MAX {
            notes.push(format!(
                "the {who} was kept waiting for a processor {:.0} % of the time: give server and generator \
                 one each (taskset -c) and let nothing else run, or the figures show the quarrel",
                share * 100.0
            ));
        }
    }
    if notes.is_empty() && generator.busy_share > BUSY_SHARE_MAX && !is_server_saturated {
        notes.push(format!(
            "the generator was busy {:.0} % of the time and the server was not: the generator was the \
             bottleneck, the server can do more than this. CPU per delivery still holds; for throughput \
             run several generators",
            generator.busy_share * 100.0
        ));
    }
    if loaded.is_stalled {
        notes.push("the load was cut short: nothing was delivered any more".into());
    }
    if loaded.unsent > 0 {
        notes.push(format!(
            "of what was due, {} could not be sent, because the server did not take it: the rate is too high for it",
            counted(loaded.unsent, "message")
        ));
    }
    if server.is_none() {
        let target = driver.plan.target;
        notes.push(format!(
            "no figures of the server process: none that listens on {target} can be seen; name it with --pid"
        ));
    }
    notes
}
