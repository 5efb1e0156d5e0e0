//! Every limit there is, once: its name, unit, default, bounds, and what happens at it.
//!
//! The flags of `roomd serve`, their `--help`, the variables `ROOMD_…` and the table of the README all
//! derive from [`TABLE`]; the program reads the fields of [`Limits`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// See [`Limits::request_bytes_max`].
const REQUEST_BYTES_MAX: usize = 64 * KIB;
/// See [`Limits::answer_bytes_max`].
const ANSWER_BYTES_MAX: usize = 64 * KIB;

/// What the number of a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Time,
}

/// One limit, as users see it.
#[derive(Debug)]
pub struct Row {
    /// The name of its field; with dashes, the name of its flag.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// What it may be; counted in its unit.
    pub bounds: RangeInclusive<u64>,
    /// Whether it may be `none`.
    pub may_be_none: bool,
    /// What it is, and what happens at it: the text of `--help`.
    pub help: &'static str,
    /// The same in a few words: the text of the README.
    pub summary: &'static str,
    /// Its value, counted in its unit; none if it is off.
    pub get: fn(&Limits) -> Option<u64>,
    /// Sets it; none turns it off, where that may be.
    pub set: fn(&mut Limits, Option<u64>),
}

impl Row {
    /// The name of the flag, without dashes in front.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// A value of this limit, as one would write it: `64KiB`, `250ms`, `none`.
    #[must_use]
    pub fn show(&self, value: Option<u64>) -> String {
        match (value, self.unit) {
            (None, _) => "none".into(),
            (Some(n), Unit::Bytes) if n % MIB as u64 == 0 => format!("{}MiB", n / MIB as u64),
            (Some(n), Unit::Bytes) if n % KIB as u64 == 0 && n > 4096 => format!("{}KiB", n / KIB as u64),
            (Some(n), Unit::Time) if n % 1000 == 0 => format!("{}s", n / 1000),
            (Some(n), Unit::Time) => format!("{n}ms"),
            (Some(n), Unit::Bytes | Unit::Count) => n.to_string(),
        }
    }
}

/// A type that a limit may have. Those in an `Option` may be turned off.
trait Value: Copy {
    const MAY_BE_NONE: bool = false;
    fn get(self) -> Option<u64>;
    fn of(value: Option<u64>) -> Option<Self>;
}

impl Value for usize {
    fn get(self) -> Option<u64> {
        Some(self as u64)
    }

    fn of(value: Option<u64>) -> Option<Self> {
        value.and_then(|n| n.try_into().ok())
    }
}

impl Value for Duration {
    fn get(self) -> Option<u64> {
        self.as_millis().try_into().ok()
    }

    fn of(value: Option<u64>) -> Option<Self> {
        value.map(Self::from_millis)
    }
}

impl<T: Value> Value for Option<T> {
    const MAY_BE_NONE: bool = true;

    fn get(self) -> Option<u64> {
        self.and_then(T::get)
    }

    fn of(value: Option<u64>) -> Option<Self> {
        Some(T::of(value))
    }
}

/// One limit a paragraph: `name: type, unit, default, bounds, "help", "summary";`.
macro_rules! limits {
    ($($name:ident: $type:ty, $unit:ident, $default:expr, $bounds:expr, $help:literal, $summary:literal;)+) => {
        /// What roomd grants. `None` turns a limit off.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $help] pub $name: $type,)+
            /// Networks that `max_per_ip`, `connect_rate` and `rate` spare (`--exempt`); this machine by default.
            pub exempt: Vec<IpNet>,
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ exempt: loopback() }
            }
        }

        /// All limits, in the order in which `--help` lists them.
        pub const TABLE: &[Row] = &[$(Row {
            name: stringify!($name),
            unit: Unit::$unit,
            bounds: $bounds,
            may_be_none: <$type as Value>::MAY_BE_NONE,
            help: $help,
            summary: $summary,
            get: |limits| Value::get(limits.$name),
            set: |limits, value| {
                if let Some(value) = Value::of(value) {
                    limits.$name = value;
                }
            },
        }),+];
    };
}

limits! {
    max_line_bytes: usize, Bytes, 4096, 16..=64 * 1024,
        "Bytes of a message, whatever is around it, 16 to 64KiB. At the limit: an error, the message is dropped; the \
         connection is closed after 64 KiB without an end of line (more if a message may have more)",
        "longer: an error, the line is skipped";
    name_wait: Option<Duration>, Time, Some(Duration::from_secs(60)), 1..=u64::MAX,
        "Time to say a name, from the opening of the connection and again from its first byte. At the limit: closed \
         with a line that says why, or silently if not one byte came, for it may be a browser's",
        "to say a name";
    http_head_bytes: usize, Bytes, 8 * KIB, 1..=u64::MAX,
        "Bytes of the head of an HTTP request. At the limit: status 431",
        "more: 431";
    http_wait: Option<Duration>, Time, Some(Duration::from_secs(10)), 1..=u64::MAX,
        "Time to send the head of an HTTP request, from its first byte. At the limit: status 408",
        "longer: 408";
    ping_after: Option<Duration>, Time, Some(Duration::from_secs(54)), 1..=u64::MAX,
        "Silence after which a WebSocket client is sent a ping",
        "of silence of a WebSocket client";
    dead_after: Option<Duration>, Time, Some(Duration::from_secs(60)), 1..=u64::MAX,
        "Silence after which a WebSocket client is closed (code 4001). Time in which roomd itself was stopped or \
         could not read does not count",
        "of silence of a WebSocket client: closed";
    feed_bytes: Option<usize>, Bytes, Some(256 * KIB), 1..=u64::MAX,
        "Bytes that a room keeps, per encoding, for members who are behind, and that others may have waiting for \
         a member besides. Half of it is the high watermark of backpressure, a quarter the low one. At the limit: a \
         member that takes less than --slowest is closed as slow, and the room is told; a private message is refused \
         to its sender (error busy)",
        "how far a member may be behind; more: closed as slow";
    slowest: Option<usize>, Bytes, Some(64 * KIB), 1..=u64::MAX,
        "Bytes per second that a member has to take, of all its rooms together, for them to wait for it. Who takes \
         less while some wait loses that protection, and is closed as slow at --feed-bytes; one that stops holds its \
         rooms for as long as 256 KiB take at this rate, and half a second, at most. None: a room waits for nobody",
        "per second: a room waits for whoever takes as much, and for nobody else";
    stall: Option<Duration>, Time, Some(Duration::from_secs(10)), 1..=u64::MAX,
        "Time that a client may accept no byte while some wait for it. At the limit: closed as slow",
        "without accepting a byte: closed as slow";
    keepalive: Option<Duration>, Time, Some(Duration::from_secs(60)), 1000..=32_767_000,
        "Silence of a TCP peer after which its system is asked whether it is still there (SO_KEEPALIVE). It is given \
         up as broken when nothing of what was sent, these questions included, was confirmed for twice as long \
         (TCP_USER_TIMEOUT). In whole seconds",
        "of TCP silence: is the host there? Twice as long: no";
    max_buffered_bytes: Option<usize>, Bytes, Some(64 * MIB), 1..=u64::MAX,
        "Bytes that all feeds and queues hold together. At the limit: whoever holds most is closed as slow",
        "for all together; more: who holds most is closed";
    max_connections: Option<usize>, Count, Some(10_000), 1..=u64::MAX,
        "Connections at once. At the limit: one whose peer is gone, or that is slowed down for its rate, makes place; \
         else refused with a line that says so. By default at most what the limit on file descriptors allows (it is \
         raised as far as possible at start, and 32 are kept back); none: all that it allows",
        "or what the descriptor limit allows; more: told and refused";
    max_per_ip: Option<usize>, Count, Some(32), 1..=u64::MAX,
        "Connections at once from one IPv4 address or IPv6 /64. At the limit: as above",
        "per IPv4 address or IPv6 /64";
    connect_rate: Option<usize>, Count, Some(100), 1..=100_000,
        "Connections per second from one IPv4 address or IPv6 /64, and as many at once. At the limit: refused with a \
         line that says so. Unless it is given, --max-per-ip none turns it off too: all may come through one proxy",
        "per second and address; more: told and refused";
    rate: Option<usize>, Count, Some(5), 1..=100_000,
        "Lines per second from one IPv4 address or IPv6 /64; its connections take turns. At the limit: \
         they are read later. What one has sent before it closed its \
         side is heard for 5 s, and what is more than 64 KiB ahead of the rate for a minute; then it is told how many \
         lines were dropped (error dropped), and closed",
        "lines per second and address; more are read later";
    burst: usize, Count, 10, 1..=u32::MAX as u64,
        "Lines of an address that may come at once before --rate counts",
        "lines at once";
    history: Option<usize>, Count, Some(1000), 1..=u64::MAX,
        "Messages that a room remembers",
        "messages a room remembers";
    history_bytes: Option<usize>, Bytes, Some(MIB), 1..=u64::MAX,
        "Bytes of messages that a room remembers",
        "and at most so many bytes";
    keep: Option<Duration>, Time, None, 1000..=u64::MAX,
        "Age at which messages are forgotten, in memory and, with --data, in the file",
        "older messages are forgotten";
    keep_messages: Option<usize>, Count, None, 1..=u64::MAX,
        "Messages of a room that are kept; older ones are forgotten, in memory and, with --data, in the file",
        "of a room; older ones are forgotten";
    history_on_join: Option<usize>, Count, Some(10), 1..=u64::MAX,
        "Messages that whoever enters a room by text is shown; none shows none",
        "messages shown to whoever enters by text";
    max_rooms: Option<usize>, Count, Some(64), 1..=u64::MAX,
        "Rooms at once. At the limit: an empty one makes place, first those in which nothing was said, then those of \
         the address that has made most, of these the one that has been empty for longest; error full if none is \
         empty. None: any number in use, and 1024 empty ones are remembered",
        "an empty room makes place";
    max_rooms_per_ip: Option<usize>, Count, Some(16), 1..=u64::MAX,
        "Rooms at once that were made from one IPv4 address or IPv6 /64, or entered from there when others had left \
         them. At the limit: an empty one of them makes place; error full if none is. --exempt spares from it, and \
         unless it is given, --max-per-ip none turns it off too",
        "of one address; an empty one of its own makes place";
    room_rate: Option<usize>, Count, Some(10), 1..=100_000,
        "New rooms per minute from one IPv4 address or IPv6 /64, and as many at once. At the limit: error full. \
         --exempt spares from it, and unless it is given, --max-per-ip none turns it off too",
        "new ones per minute and address";
    max_joined: Option<usize>, Count, Some(32), 1..=u64::MAX,
        "Rooms that a member is in at once. At the limit: error full",
        "rooms of one member; error full";
    quiet_above: Option<usize>, Count, Some(256), 1..=u64::MAX,
        "Members of a room above which joins and leaves are summed up once a second. So are those in a smaller room \
         that come so fast that they take 16 times as many deliveries in a second",
        "members: joins and leaves are summed up once a second";
    backlog: usize, Count, 1024, 1..=i32::MAX as u64,
        "Connections that may wait to be accepted. At the limit: the system delays or refuses them",
        "connections waiting to be accepted";
    send_buffer_bytes: Option<usize>, Bytes, Some(128 * KIB), 1..=i32::MAX as u64,
        "Bytes that the system buffers for a client (SO_SNDBUF); none: as many as it likes",
        "what the system buffers per client";
}

/// This machine: 127.0.0.0/8 and ::1.
fn loopback() -> Vec<IpNet> {
    let nets = [(Ipv4Addr::LOCALHOST.into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
    nets.into_iter().filter_map(|(ip, prefix)| IpNet::new(ip, prefix).ok()).map(|net| net.trunc()).collect()
}

impl Limits {
    /// How many bytes a request of a program may have, with all that is around the message: 64 KiB, or twice the limit
    /// on messages if that is more.
    #[must_use]
    pub fn request_bytes_max(&self) -> usize {
        REQUEST_BYTES_MAX.max(2 * self.max_line_bytes)
    }

    /// How many bytes one answer may have, as it is sent: 64 KiB, or a quarter of what a feed keeps if that is less.
    /// An answer that would be longer says that there is more.
    #[must_use]
    pub fn answer_bytes_max(&self) -> usize {
        self.feed_bytes.map_or(ANSWER_BYTES_MAX, |max| ANSWER_BYTES_MAX.min(max / 4))
    }

    /// What was said before that is forgotten, in Unix milliseconds.
    #[must_use]
    pub fn keeps_since_ms(&self, now_ms: u64) -> u64 {
        let keeps = |keep: Duration| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        self.keep.map_or(0, |keep| now_ms.saturating_sub(keeps(keep)))
    }

    /// Whether `ip` is on the list of those who are spared.
    #[must_use]
    pub fn is_exempt(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.exempt.iter().any(|net| net.contains(&ip))
    }
}

impl fmt::Display for Unit {
    /// What a value is called in usage texts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "COUNT",
            Self::Bytes => "BYTES",
            Self::Time => "TIME",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_bounds_and_is_written_as_it_is_read() {
        for row in TABLE {
            let default = (row.get)(&Limits::default());
            assert!(default.map_or(row.may_be_none, |default| row.bounds.contains(&default)), "{}", row.name);
            let mut limits = Limits::default();
            (row.set)(&mut limits, Some(7));
            assert_eq!((row.get)(&limits), Some(7), "{}", row.name);
            (row.set)(&mut limits, None);
            assert_eq!((row.get)(&limits).is_none(), row.may_be_none, "{}", row.name);
        }
    }
}
