//! `roomd serve`: the daemon. Its flags are all the limits there are.

use std::io::IsTerminal;
use std::process::ExitCode;

use log::LevelFilter;
use simple_logger::SimpleLogger;

use super::values::{Bytes, Count, Limit, Listen, Networks, Time};
use crate::reactor::acceptor::DESCRIPTORS_RESERVED;
use crate::reactor::os::{ListenAddr, Os, SocketOptions};
use crate::reactor::{self, Platform, Reactor};
use crate::room;
use crate::server::{Config, Server};

/// What `--max-connections` is unless it is given.
const CONNECTIONS_MAX_DEFAULT: usize = 10_000;
/// What `--max-line-bytes` may be at most.
const LINE_BYTES_MAX_MAX: usize = 64 * 1024;
/// What `--max-line-bytes` has to be at least.
const LINE_BYTES_MAX_MIN: usize = 16;

/// What `--rate` may be at most: time is counted in microseconds.
const LINES_PER_SECOND_MAX: usize = 100_000;

/// The flags of `roomd serve`.
///
/// Limits that can be turned off take `none`. Bytes are written as 4096, 64KiB or 1MiB; times as
/// 250ms, 60s or 2min.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to listen: an address and a port, or unix:PATH; may be given several times.
    /// Port 0 lets the system choose. An IPv6 address, in brackets, means IPv6 only
    #[arg(
        long,
        value_name = "ADDR",
        env = "ROOMD_LISTEN",
        default_value = "127.0.0.1:8080",
        value_delimiter = ','
    )]
    pub listen: Vec<Listen>,

    /// What to log on standard error: off, error, warn, info, debug or trace. At info, one line per
    /// join, leave and refusal; never what is said
    #[arg(long, value_name = "LEVEL", env = "ROOMD_LOG_LEVEL", default_value = "info")]
    pub log_level: LevelFilter,

    /// Bytes of a line or message, 16 to 64KiB. At the limit: an error, the line is skipped; the
    /// connection is closed after 64 KiB without a newline
    #[arg(long, value_name = "BYTES", env = "ROOMD_MAX_LINE_BYTES", default_value = "4096")]
    pub max_line_bytes: Bytes,

    /// Time to say a name. At the limit: closed with a line that says why
    #[arg(long, value_name = "TIME", env = "ROOMD_NAME_WAIT", default_value = "60s")]
    pub name_wait: Limit<Time>,

    /// Bytes of the head of an HTTP request. At the limit: status 431
    #[arg(long, value_name = "BYTES", env = "ROOMD_HTTP_HEAD_BYTES", default_value = "8KiB")]
    pub http_head_bytes: Bytes,

    /// Time to send the head of an HTTP request. At the limit: status 408
    #[arg(long, value_name = "TIME", env = "ROOMD_HTTP_WAIT", default_value = "10s")]
    pub http_wait: Limit<Time>,

    /// Silence after which a WebSocket client is sent a ping
    #[arg(long, value_name = "TIME", env = "ROOMD_PING_AFTER", default_value = "54s")]
    pub ping_after: Limit<Time>,

    /// Silence after which a WebSocket client is closed (code 4001)
    #[arg(long, value_name = "TIME", env = "ROOMD_DEAD_AFTER", default_value = "60s")]
    pub dead_after: Limit<Time>,

    /// Bytes that a room keeps, per dialect, for members who are behind, and that a member may have
    /// waiting besides. At the limit: the member is closed as slow, and the room is told
    #[arg(long, value_name = "BYTES", env = "ROOMD_FEED_BYTES", default_value = "256KiB")]
    pub feed_bytes: Limit<Bytes>,

    /// Time that a client may accept no byte while some wait for it. At the limit: closed as slow
    #[arg(long, value_name = "TIME", env = "ROOMD_STALL", default_value = "10s")]
    pub stall: Limit<Time>,

    /// Bytes that wait in all feeds and queues together. At the limit: whoever is furthest behind is
    /// closed as slow
    #[arg(long, value_name = "BYTES", env = "ROOMD_MAX_BUFFERED_BYTES", default_value = "64MiB")]
    pub max_buffered_bytes: Limit<Bytes>,

    /// Connections at once. At the limit: refused with a line that says so. Default: 10000, or what
    /// the limit on file descriptors allows (it is raised as far as possible at start, and 32 are
    /// kept back); none: all that it allows
    #[arg(long, value_name = "COUNT", env = "ROOMD_MAX_CONNECTIONS")]
    pub max_connections: Option<Limit<Count>>,

    /// Connections at once from one IPv4 address or IPv6 /64. At the limit: refused with a line that
    /// says so
    #[arg(long, value_name = "COUNT", env = "ROOMD_MAX_PER_IP", default_value = "32")]
    pub max_per_ip: Limit<Count>,

    /// Lines per second from one connection. At the limit: it is read later, nothing is lost
    #[arg(long, value_name = "COUNT", env = "ROOMD_RATE", default_value = "5")]
    pub rate: Limit<Count>,

    /// Lines at once from one connection, before --rate counts
    #[arg(long, value_name = "COUNT", env = "ROOMD_BURST", default_value = "10")]
    pub burst: Count,

    /// Whom --max-per-ip and --rate spare: addresses and networks, with commas; none spares nobody.
    /// Clients of a Unix socket are always spared
    #[arg(long, value_name = "NETWORKS", env = "ROOMD_EXEMPT", default_value = "127.0.0.0/8,::1")]
    pub exempt: Networks,

    /// Messages that a room remembers. At the limit: the oldest is dropped
    #[arg(long, value_name = "COUNT", env = "ROOMD_HISTORY", default_value = "1000")]
    pub history: Limit<Count>,

    /// Bytes of messages that a room remembers. At the limit: the oldest is dropped
    #[arg(long, value_name = "BYTES", env = "ROOMD_HISTORY_BYTES", default_value = "1MiB")]
    pub history_bytes: Limit<Bytes>,

    /// Messages that whoever enters a room by text is shown; none shows none
    #[arg(long, value_name = "COUNT", env = "ROOMD_HISTORY_ON_JOIN", default_value = "10")]
    pub history_on_join: Limit<Count>,

    /// Rooms at once. At the limit: the room that has been empty for longest makes place; error full
    /// if none is empty
    #[arg(long, value_name = "COUNT", env = "ROOMD_MAX_ROOMS", default_value = "64")]
    pub max_rooms: Limit<Count>,

    /// Members of a room above which joins and leaves are summed up once a second
    #[arg(long, value_name = "COUNT", env = "ROOMD_QUIET_ABOVE", default_value = "256")]
    pub quiet_above: Limit<Count>,

    /// Origin whose web pages may connect, such as `https://chat.example`, besides our own page;
    /// may be given several times. Others: status 403
    #[arg(long, value_name = "ORIGIN", env = "ROOMD_ALLOW_ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,

    /// Who may read /metrics: addresses and networks, with commas, or none. Others: status 403
    #[arg(long, value_name = "NETWORKS", env = "ROOMD_METRICS_FROM", default_value = "127.0.0.0/8,::1")]
    pub metrics_from: Networks,

    /// Connections that may wait to be accepted. At the limit: the system delays or refuses them
    #[arg(long, value_name = "COUNT", env = "ROOMD_BACKLOG", default_value = "1024")]
    pub backlog: Count,

    /// Bytes that the system buffers for a client (SO_SNDBUF); none: as many as it likes
    #[arg(long, value_name = "BYTES", env = "ROOMD_SEND_BUFFER_BYTES", default_value = "128KiB")]
    pub send_buffer_bytes: Limit<Bytes>,
}

impl Args {
    fn check(&self) -> Result<(), String> {
        let Bytes(line) = self.max_line_bytes;
        if !(LINE_BYTES_MAX_MIN..=LINE_BYTES_MAX_MAX).contains(&line) {
            return Err(format!(
                "--max-line-bytes {line}: it takes {LINE_BYTES_MAX_MIN} to {LINE_BYTES_MAX_MAX}"
            ));
        }
        // The longest message has to fit, in the dialect in which it is longest.
        if let Limit(Some(Bytes(feed))) = self.feed_bytes
            && feed < 2 * line
        {
            return Err(format!(
                "--feed-bytes {feed}: it takes at least twice --max-line-bytes, {}",
                2 * line
            ));
        }
        if let Limit(Some(Count(rate))) = self.rate
            && rate > LINES_PER_SECOND_MAX
        {
            return Err(format!("--rate {rate}: it takes up to {LINES_PER_SECOND_MAX}, or none"));
        }
        if let (Limit(Some(ping)), Limit(Some(dead))) = (self.ping_after, self.dead_after)
            && ping.0 >= dead.0
        {
            return Err("--ping-after has to be shorter than --dead-after, or nobody could answer".into());
        }
        let is_bad = |host: &str| host.is_empty() || host.contains('/');
        let is_origin = |origin: &&String| origin.split_once("://").is_none_or(|(_, host)| is_bad(host));
        if let Some(origin) = self.allow_origin.iter().find(is_origin) {
            return Err(format!(
                "--allow-origin {origin}: it takes a scheme and a host, as https://chat.example"
            ));
        }
        Ok(())
    }

    /// How many connections to let in, under the limit on file descriptors.
    fn connections_max(&self) -> Result<usize, String> {
        let (_, hard) =
            rlimit::Resource::NOFILE.get().map_err(|e| format!("the limit on descriptors: {e}"))?;
        // It may fail where the hard limit is higher than the system allows; what counts is what we have.
        let _ = rlimit::Resource::NOFILE.set(hard, hard);
        let (soft, _) =
            rlimit::Resource::NOFILE.get().map_err(|e| format!("the limit on descriptors: {e}"))?;
        let descriptors = usize::try_from(soft).unwrap_or(usize::MAX);
        let Some(allowed) = descriptors.checked_sub(DESCRIPTORS_RESERVED).filter(|&n| n > 0) else {
            return Err(format!(
                "the limit on file descriptors is {descriptors}, and {DESCRIPTORS_RESERVED} are needed besides \
                 connections; raise it with ulimit -n"
            ));
        };
        match self.max_connections {
            None => Ok(CONNECTIONS_MAX_DEFAULT.min(allowed)),
            Some(Limit(None)) => Ok(allowed),
            Some(Limit(Some(Count(asked)))) if asked <= allowed => Ok(asked),
            Some(Limit(Some(Count(asked)))) => Err(format!(
                "--max-connections {asked} needs {} file descriptors, and the limit is {descriptors}; raise it \
                 with ulimit -n, or ask for at most {allowed}",
                asked + DESCRIPTORS_RESERVED
            )),
        }
    }

    fn loop_limits(&self) -> Result<reactor::Limits, String> {
        Ok(reactor::Limits {
            connections_max: Some(self.connections_max()?),
            per_ip_max: self.max_per_ip.0.map(|Count(n)| n),
            exempt: self.exempt.0.clone(),
            feed_bytes_max: self.feed_bytes.0.map(|Bytes(n)| n as u64),
            buffered_bytes_max: self.max_buffered_bytes.0.map(|Bytes(n)| n),
            stall_time_max: self.stall.0.map(|Time(t)| t),
        })
    }

    fn config(&self, listeners: &[ListenAddr]) -> Config {
        let is_loopback = |addr: &ListenAddr| match addr {
            ListenAddr::Tcp(addr) => addr.ip().is_loopback(),
            ListenAddr::Unix(_) => false,
        };
        let count = |limit: Limit<Count>| limit.0.map(|Count(n)| n);
        let bytes = |limit: Limit<Bytes>| limit.0.map(|Bytes(n)| n);
        let time = |limit: Limit<Time>| limit.0.map(|Time(t)| t);
        Config {
            room: room::Limits {
                rooms_max: count(self.max_rooms),
                history_messages_max: count(self.history),
                history_bytes_max: bytes(self.history_bytes),
                history_answer_bytes_max: self
                    .feed_bytes
                    .0
                    .map_or(usize::MAX, |Bytes(n)| n / 4)
                    .min(64 * 1024),
                history_on_join: count(self.history_on_join).unwrap_or(0),
                quiet_above: count(self.quiet_above),
            },
            line_bytes_max: self.max_line_bytes.0,
            name_wait: time(self.name_wait),
            http_head_bytes_max: self.http_head_bytes.0,
            http_wait: time(self.http_wait),
            lines_per_second: count(self.rate).map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            burst: u32::try_from(self.burst.0).unwrap_or(u32::MAX),
            ping_after: time(self.ping_after),
            dead_after: time(self.dead_after),
            allowed_origins: self.allow_origin.clone(),
            metrics_from: self.metrics_from.0.clone(),
            loopback_listeners: listeners.iter().map(is_loopback).collect(),
        }
    }
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// A sentence that says why the daemon could not start.
pub fn run(args: &Args) -> Result<ExitCode, String> {
    args.check()?;
    let limits = args.loop_limits()?;
    SimpleLogger::new()
        .with_level(args.log_level)
        .with_utc_timestamps()
        .with_colors(std::io::stderr().is_terminal())
        .init()
        .map_err(|error| format!("logging: {error}"))?;

    let mut os = Os::new().map_err(|error| format!("the loop cannot start: {error}"))?;
    let options = SocketOptions {
        backlog: u32::try_from(args.backlog.0).unwrap_or(u32::MAX),
        send_buffer_bytes: args.send_buffer_bytes.0.map(|Bytes(n)| n),
    };
    let mut listeners = Vec::new();
    for addr in args.listen.iter().flat_map(|listen| &listen.0) {
        let bound = os.listen(addr, &options).map_err(|error| cannot_listen(addr, &error))?;
        listeners.push(bound);
    }
    announce(&listeners, &limits);

    let server = Server::new(args.config(&listeners), &limits, os.now());
    let outcome = Reactor::new(os, server, limits).run();
    outcome.map_err(|error| format!("the loop is broken: {error}"))?;
    log::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn cannot_listen(addr: &ListenAddr, error: &std::io::Error) -> String {
    let help = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there, or a file is in the way; stop it, or choose another address with --listen"
        }
        std::io::ErrorKind::PermissionDenied => {
            "you may not; ports below 1024 need the capability CAP_NET_BIND_SERVICE, a socket needs a \
             directory you may write to"
        }
        std::io::ErrorKind::NotFound => "the directory is not there",
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => return format!("cannot listen on {addr}: {error}"),
    };
    format!("cannot listen on {addr}: {help}")
}

/// Says where the daemon can be reached, and how to try it.
fn announce(listeners: &[ListenAddr], limits: &reactor::Limits) {
    let connections = limits.connections_max.unwrap_or(usize::MAX);
    for addr in listeners {
        eprintln!(
            "roomd {}: listening on {addr}, for up to {connections} connections",
            env!("CARGO_PKG_VERSION")
        );
    }
    match listeners.first() {
        Some(ListenAddr::Tcp(addr)) => {
            let (ip, port) = (addr.ip(), addr.port());
            let ip = if ip.is_unspecified() { "localhost".to_owned() } else { ip.to_string() };
            let host = if addr.is_ipv6() && ip != "localhost" { format!("[{ip}]") } else { ip.clone() };
            eprintln!("try it:  nc {ip} {port}   or open  http://{host}:{port}/");
        }
        Some(ListenAddr::Unix(path)) => eprintln!("try it:  nc -U {}", path.display()),
        None => {}
    }
}
