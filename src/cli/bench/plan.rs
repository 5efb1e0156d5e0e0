//! The flags of `roomd bench`, and the plan they make: one workload against one server, checked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::contender::Against;
use super::dialect::Dialect;
use super::payload::SIZE_MIN;
use crate::chat::RoomName;
use crate::cli::counted;

/// The flags of `roomd bench`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Every message says who sent it, as the how-manieth, and when it was due. Every member must get every \
message of each of its rooms once, in order per sender, and as one of that room. The exit status is 1 \
if one was lost, doubled, reordered, damaged or in the wrong room, or if the server closed a connection \
it should have kept.

CPU time and memory are those of the server process, found by its listening port or named by --pid. \
For figures worth comparing give the server and the generator a processor each:

  taskset -c 0 roomd serve
  taskset -c 1 roomd bench --members 1000 --window 64")]
pub(crate) struct Args {
    /// The server to load
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(super) addr: String,

    /// What the clients speak
    #[arg(long, value_enum, default_value = "text")]
    pub(super) dialect: Dialect,

    /// How many members listen
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) members: usize,

    /// How many more connections send
    ///
    /// Where the server makes no difference between the two (text, JSON, WebSocket, IRC), a sender
    /// is in the room as well and must get the messages of the others.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(super) senders: usize,

    /// Send R messages per second, all senders together [default: 100]
    ///
    /// Messages are due at even intervals, whether or not the server keeps up, and latency counts
    /// from the time a message was due: a stalled server makes all the messages behind it late.
    #[arg(long, value_name = "R", conflicts_with_all = ["window", "idle"])]
    pub(super) rate: Option<f64>,

    /// Saturate the server: W messages are in flight at any time
    ///
    /// A message is in flight until every member got it.
    #[arg(long, value_name = "W", conflicts_with = "idle")]
    pub(super) window: Option<u32>,

    /// Send nothing: connect, stay for the duration, and see what that costs
    #[arg(long)]
    pub(super) idle: bool,

    /// Size of a message in bytes
    #[arg(long, value_name = "B", default_value_t = 64)]
    pub(super) size: usize,

    /// How long to send
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(super) duration: Duration,

    /// Spread members and senders evenly over this many rooms
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) rooms: usize,

    /// Each member is in so many of the rooms
    ///
    /// So is each sender, which speaks in one of them only. A room has J times as many members as it would have
    /// otherwise. Everybody is let into one room first and then into all others, so that the report can tell what
    /// another room costs. For roomd's dialects; a roomd takes 32 rooms for each (--max-joined), and 64 in all
    /// (--max-rooms).
    #[arg(long, value_name = "J", default_value_t = 1)]
    pub(super) joined: usize,

    /// Load this room, not one of its own; with several rooms, ROOM-1 and so on [default: bench-…]
    #[arg(long, value_name = "ROOM", value_parser = parse_room)]
    pub(super) room: Option<String>,

    /// Do not ask whether anybody is there who would be disturbed
    ///
    /// Without it, a roomd with members that the bench did not bring is loaded only if somebody at a terminal agrees;
    /// otherwise the exit status is 2.
    #[arg(long, short)]
    pub(super) yes: bool,

    /// This share of the members never reads a message
    #[arg(long, value_name = "P%", default_value = "0%", value_parser = parse_percent)]
    pub(super) slow: f64,

    /// Every second, this many members leave without a word and come back under another name
    #[arg(long, value_name = "R/s", default_value = "0", value_parser = parse_per_second)]
    pub(super) churn: f64,

    /// Let in so many clients at a time
    ///
    /// More than the server's backlog means that the kernel drops attempts and repeats them after
    /// seconds: ngircd, with a backlog of 10, wants 8.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) connecting: usize,

    /// Decides which members are slow and which are churned
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,

    /// The server process [default: whoever listens on the port of ADDR]
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<u32>,

    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Run the workloads of the README against roomd and the floor, and print their table
    ///
    /// Starts the servers itself, on loopback; ADDR and the flags of a single workload are not
    /// used, except --duration.
    #[arg(long)]
    pub(super) suite: bool,

    /// Suite: repeat every workload so often, interleaved, and show medians
    #[arg(long, value_name = "N", default_value_t = 3, requires = "suite")]
    pub(super) runs: usize,

    /// Suite: the floor program [default: examples/floor beside roomd]
    #[arg(long, value_name = "PATH", requires = "suite")]
    pub(super) floor: Option<std::path::PathBuf>,

    /// Suite: another server to measure beside; repeatable
    ///
    /// SPEC is "NAME DIALECT ADDR COMMAND ARGUMENTS…", separated by blanks, for instance "redis
    /// redis 127.0.0.1:16379 redis-server --port 16379". The command must stay in the foreground.
    /// Flags for the generator go before it: "… 127.0.0.1:6667 --connecting 8 -- ngircd -n".
    /// benches/peers.sh does it for ngircd, InspIRCd, Redis and NATS.
    #[arg(long, value_name = "SPEC", requires = "suite")]
    pub(super) against: Vec<Against>,

    /// Suite: run only the workloads whose name contains this
    #[arg(long, value_name = "WORD", requires = "suite")]
    pub(super) only: Option<String>,
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Load {
    /// So many per second, evenly, whatever the server does.
    RatePerSecond(f64),
    /// So many in flight at any time.
    Window(u32),
    /// None.
    Idle,
}

/// One workload against one server. All numbers are consistent and within limits.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The flags as they were given.
    pub(super) args: Args,
    pub(super) target: SocketAddr,
    pub(super) load: Load,
    /// None if the load is idle.
    pub(super) senders: usize,
    pub(super) slow_members: usize,
    /// Distinguishes the names and messages of this run from those of earlier ones, and its room.
    pub(super) run: u16,
}

/// Due times are 32 bits of microseconds, and a run ends some seconds after its duration.
const DURATION_MAX: Duration = Duration::from_secs(3600);
/// Sender numbers are 16 bits.
const SENDERS_MAX: usize = 1 << 16;
/// Connection numbers in names are 20 bits, and churn needs more of them.
const MEMBERS_MAX: usize = 500_000;
/// Expected sequence numbers, one for each member and sender of a room: 4 bytes each.
const LEDGER_PLACES_MAX: usize = 256 << 20;
const RATE_MAX: f64 = 10_000_000.0;

impl Plan {
    /// Checks the flags of a single workload.
    pub(super) fn new(args: &Args) -> Result<Self, String> {
        let load = match (args.idle, args.window, args.rate) {
            (true, ..) => Load::Idle,
            (_, Some(window), _) => Load::Window(window),
            (.., rate) => Load::RatePerSecond(rate.unwrap_or(100.0)),
        };
        let plan = Self {
            args: args.clone(),
            target: resolve(&args.addr)?,
            load,
            senders: if load == Load::Idle { 0 } else { args.senders },
            run: fastrand::u16(..),
            slow_members: (args.members as f64 * args.slow).round() as usize,
        };
        plan.check()?;
        Ok(plan)
    }

    /// How many connections are open at a time.
    pub(super) fn connections(&self) -> usize {
        self.args.members + self.senders
    }

    /// The rooms of member or sender number `index`, in the order of entering them: all different, and all rooms
    /// about equally full. A sender speaks in the last one, so that every room has its share of the senders.
    pub(super) fn rooms_of(&self, index: usize) -> Vec<usize> {
        let Args { rooms, joined, .. } = self.args;
        (0..joined).rev().map(|nth| (index + nth * rooms / joined) % rooms).collect()
    }

    /// The name of room number `room`, without `#`.
    pub(super) fn room_name(&self, room: usize) -> String {
        let own = || format!("bench-{:04x}", self.run);
        let name = self.args.room.clone().unwrap_or_else(own);
        if self.args.rooms > 1 { format!("{name}-{}", room + 1) } else { name }
    }

    /// The name of connection number `number`.
    pub(super) fn name(&self, number: u32) -> String {
        format!("b{:03x}{:05x}", self.run & 0xfff, number & 0xf_ffff)
    }

    fn check(&self) -> Result<(), String> {
        let Args { members, rooms, joined, dialect, .. } = self.args;
        let range = |flag: &str, value: f64, from: f64, to: f64| {
            if value >= from && value <= to {
                return Ok(());
            }
            Err(format!("{flag} must be between {from} and {to}, not {value}"))
        };
        range("--members", members as f64, 1.0, MEMBERS_MAX as f64)?;
        range("--rooms", rooms as f64, 1.0, members as f64)?;
        if rooms > 1 && !dialect.has_rooms() {
            return Err(format!("there are no rooms by --dialect {dialect}: leave out --rooms"));
        }
        if !(1..=rooms).contains(&joined) {
            return Err(format!(
                "--joined must be between 1 and {rooms}, the number of --rooms, not {joined}"
            ));
        }
        if joined > 1 && !dialect.is_of_roomd() {
            return Err(format!(
                "clients that speak {dialect} enter one room each: --joined is for the dialects of roomd"
            ));
        }
        range("--size", self.args.size as f64, SIZE_MIN as f64, dialect.body_size_max() as f64)?;
        range("--duration in seconds", self.args.duration.as_secs_f64(), 0.01, DURATION_MAX.as_secs_f64())?;
        range("--connecting", self.args.connecting as f64, 1.0, 10_000.0)?;
        range("--churn", self.args.churn, 0.0, 10_000.0)?;
        match self.load {
            Load::RatePerSecond(rate) => range("--rate", rate, 0.001, RATE_MAX)?,
            Load::Window(window) => range("--window", f64::from(window), 1.0, 1_000_000.0)?,
            Load::Idle => return Ok(()),
        }
        range("--senders", self.senders as f64, 1.0, SENDERS_MAX as f64)?;
        if self.senders < rooms {
            return Err(format!(
                "{} cannot serve {rooms} rooms: every room needs one, so say --senders {rooms}",
                counted(self.senders, "sender")
            ));
        }
        let places = self.connections() * joined * self.senders.div_ceil(rooms);
        if places > LEDGER_PLACES_MAX {
            return Err(format!(
                "{} times {} are too many pairs to verify: use fewer senders or more rooms",
                counted(members, "member"),
                counted(self.senders, "sender")
            ));
        }
        Ok(())
    }
}

/// The first address of `HOST:PORT`.
fn resolve(addr: &str) -> Result<SocketAddr, String> {
    let addresses = addr.to_socket_addrs();
    let first = addresses.map_err(|error| format!("cannot understand the address {addr}: {error}"))?.next();
    first.ok_or_else(|| format!("{addr} has no address"))
}

/// A room as the server calls it.
fn parse_room(text: &str) -> Result<String, String> {
    RoomName::parse(text).map(|room| room.as_str().to_owned()).map_err(|refusal| refusal.text.to_string())
}

/// A share such as `5%`.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
    match number {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("not a share between 0% and 100%".into()),
    }
}

/// A frequency such as `20/s`.
fn parse_per_second(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse::<f64>();
    number.map_err(|_| "not a number of times per second, such as 20/s".into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    /// The plan that the flags in `line` make.
    pub(in crate::cli::bench) fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let parsed = Args::augment_args(clap::Command::new("bench")).try_get_matches_from(words);
        let args = parsed.and_then(|parsed| Args::from_arg_matches(&parsed));
        Plan::new(&args.map_err(|error| error.to_string())?)
    }

    #[test]
    fn flags_make_a_plan() {
        let loaded = plan("127.0.0.1:9 --members 200 --slow 5% --churn 2/s --window 64").unwrap();
        assert_eq!(loaded.slow_members, 10);
        assert_eq!(loaded.args.churn, 2.0);
        assert_eq!(loaded.load, Load::Window(64));
        assert_eq!(loaded.connections(), 201);
        assert_eq!(loaded.target.to_string(), "127.0.0.1:9");
        let idle = plan("--idle --rooms 3").unwrap();
        assert_eq!((idle.load, idle.senders), (Load::Idle, 0), "it needs no senders");
    }

    #[test]
    fn everybody_is_in_so_many_different_rooms_and_the_rooms_are_equally_full() {
        for (members, senders, rooms, joined) in
            [(920, 80, 80, 8), (6, 3, 3, 3), (10, 5, 5, 2), (14, 7, 7, 5), (9, 3, 1, 1), (12, 12, 4, 1)]
        {
            let flags = format!("--members {members} --senders {senders} --rooms {rooms} --joined {joined}");
            let plan = plan(&flags).unwrap();
            let mut of_room = vec![0; rooms];
            for index in (0..members).chain(0..senders) {
                let mut mine = plan.rooms_of(index);
                assert_eq!(mine.last(), Some(&(index % rooms)), "every room has its share of the senders");
                mine.sort_unstable();
                mine.dedup();
                assert_eq!(mine.len(), joined, "{flags}");
                mine.iter().for_each(|&room| of_room[room] += 1);
            }
            let each = (members + senders) * joined / rooms;
            assert!(of_room.iter().all(|&count: &usize| count.abs_diff(each) <= 1), "{flags}: {of_room:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_said_in_a_sentence() {
        for (line, sentence) in [
            ("--members 0", "--members must be between 1 and 500000, not 0"),
            ("--size 10", "--size must be between 26 and 65000, not 10"),
            ("--size 500 --dialect irc", "--size must be between 26 and 400, not 500"),
            ("--rooms 2", "say --senders 2"),
            ("--rooms 2 --dialect floor", "there are no rooms by --dialect floor"),
            ("--joined 0", "--joined must be between 1 and 1, the number of --rooms, not 0"),
            (
                "--rooms 3 --joined 4 --senders 3",
                "--joined must be between 1 and 3, the number of --rooms, not 4",
            ),
            ("--rooms 3 --joined 2 --senders 3 --dialect irc", "clients that speak irc enter one room each"),
            ("--rooms 3 --joined 2 --idle --dialect redis", "clients that speak redis enter one room each"),
            ("--members 50000 --senders 8000 --joined 2 --rooms 2", "too many pairs"),
            ("--rate NaN", "--rate must be between"),
            ("--rate 0", "--rate must be between"),
            ("--window 0", "--window must be between"),
            ("--duration 2h", "--duration in seconds must be between"),
            ("--members 500000 --senders 60000", "too many pairs"),
            ("--slow 101%", "not a share between 0% and 100%"),
            ("--churn often", "not a number of times per second"),
            ("--rate 1 --window 1", "cannot be used with"),
            ("--runs 2", "--suite"),
            ("nowhere", "cannot understand the address nowhere"),
        ] {
            let error = plan(line).unwrap_err();
            assert!(error.contains(sentence), "{line}: {error}");
        }
    }
}
