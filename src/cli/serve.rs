//! `roomd serve`: the daemon.

use std::net::IpAddr;
use std::process::ExitCode;
use std::rc::Rc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use log::LevelFilter;

use super::Failure;
use super::config::LimitArgs;
#[cfg(feature = "store")]
use super::data::{Data, DataArgs};
use super::logging::Logging;
use super::values::{self, Listen, Networks};
use crate::limits::Limits;
use crate::reactor::acceptor::DESCRIPTORS_RESERVED;
use crate::reactor::epoll::{Epoll, ListenAddr};
use crate::reactor::{Platform, Reactor};
use crate::server::{Config, Host, Listener, Origin, Server};

/// The flags of `roomd serve`.
///
/// Limits that can be turned off take `none`. Bytes are written as 4096, 64KiB or 1MiB; times as
/// 250ms, 60s or 2min.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Where to listen: an address and a port, or unix:PATH; may be given several times, or several of
    /// them with commas, as in the variable. Port 0 lets the system choose. An IPv6 address, in brackets, means IPv6
    /// only. All dialects are spoken there, and roomd speaks second: who sends an empty line is asked for a name. With
    /// text: in front of it, as in text:127.0.0.1:2323 or text:unix:PATH, only text is spoken there, neither HTTP nor
    /// JSON, and everybody is asked at once
    #[arg(
        long,
        value_name = "ADDR",
        env = "ROOMD_LISTEN",
        default_value = "127.0.0.1:8080",
        value_delimiter = ','
    )]
    listen: Vec<Listen>,

    /// Who may connect to a Unix socket: its mode in octal digits, as chmod(1) has it, such as 0660 for its user and
    /// group. By default all but those whom the umask keeps out
    #[arg(long, value_name = "MODE", env = "ROOMD_SOCKET_MODE", value_parser = values::mode)]
    socket_mode: Option<u32>,

    /// What to log on standard error. At info, one line per join, leave and refusal, but what an address repeats
    /// within a second is summed up; never what is said. Lines that cannot be written, or that nobody reads in
    /// time, are counted and dropped
    #[arg(
        long,
        value_name = "LEVEL",
        env = "ROOMD_LOG_LEVEL",
        default_value = "info",
        ignore_case = true,
        value_parser = log_levels()
    )]
    log_level: LevelFilter,

    #[command(flatten)]
    limits: LimitArgs,

    /// Addresses and networks that all limits per address spare, with commas, or none
    #[arg(long, value_name = "NETWORKS", env = "ROOMD_EXEMPT", default_value = "127.0.0.0/8,::1")]
    exempt: Networks,

    /// Origin whose web pages may connect, such as `https://chat.example`, besides our own page;
    /// may be given several times. Others: status 403. For tutorials there are null, which is what browsers call the
    /// origin of a page that was opened as a file, and any. Both let every page that somebody looks at chat here with
    /// that person's browser and from that person's address, unseen; any page can make itself null
    #[arg(long, value_name = "ORIGIN", env = "ROOMD_ALLOW_ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<Origin>,

    /// Host that the address of a web page may name, such as chat.example, at any port or at one; may be given
    /// several times. This machine's are allowed: localhost, its host name (alone, and with .local) and its address, or
    /// any address where one listens on all or on unix:PATH; so are those of --allow-origin. Others: status 403, also
    /// for /healthz and /metrics
    #[arg(long, value_name = "HOST", env = "ROOMD_ALLOW_HOST", value_delimiter = ',')]
    allow_host: Vec<Host>,

    /// Who may read /metrics: addresses and networks, with commas, or none. Others: status 403
    #[arg(long, value_name = "NETWORKS", env = "ROOMD_METRICS_FROM", default_value = "127.0.0.0/8,::1")]
    metrics_from: Networks,

    #[cfg(feature = "store")]
    #[command(flatten)]
    data: DataArgs,
}

fn log_levels() -> impl TypedValueParser<Value = LevelFilter> {
    let levels = LevelFilter::iter().map(|level| level.as_str().to_lowercase());
    PossibleValuesParser::new(levels).try_map(|level| level.parse())
}

impl Args {
    /// The limits, checked against each other and against what the system allows.
    fn limits(&self) -> Result<Limits, String> {
        let limits = &self.limits.limits;
        // The longest message has to fit, in the encoding in which it is longest.
        if let Some(feed) = limits.feed_bytes
            && feed < 2 * limits.max_line_bytes
        {
            let needed = 2 * limits.max_line_bytes;
            return Err(format!("--feed-bytes {feed}: it takes at least twice --max-line-bytes, {needed}"));
        }
        if let (Some(ping), Some(dead)) = (limits.ping_after, limits.dead_after)
            && ping >= dead
        {
            return Err("--ping-after has to be shorter than --dead-after, or nobody could answer".into());
        }
        let max_connections = Some(self.max_connections()?);
        // What is for each address is for none of those who come through one proxy, unless it is asked for.
        let is_proxied = limits.max_per_ip.is_none();
        let of_each =
            |limit: Option<usize>, name| limit.filter(|_| !is_proxied || self.limits.is_given(name));
        let connect_rate = of_each(limits.connect_rate, "connect_rate");
        let max_rooms_per_ip = of_each(limits.max_rooms_per_ip, "max_rooms_per_ip");
        let room_rate = of_each(limits.room_rate, "room_rate");
        Ok(Limits {
            max_connections,
            connect_rate,
            max_rooms_per_ip,
            room_rate,
            exempt: self.exempt.0.clone(),
            ..limits.clone()
        })
    }

    /// The hosts that are ours by name: those of flags, and what this machine calls itself.
    fn allowed_hosts(&self) -> Vec<Host> {
        let of_origins = self.allow_origin.iter().filter_map(Origin::host).map(Host::at_any_port);
        let own = Host::names_of(&rustix::system::uname().nodename().to_string_lossy());
        of_origins.chain(own).chain(self.allow_host.iter().cloned()).collect()
    }

    /// How many connections to let in, under the limit on file descriptors.
    fn max_connections(&self) -> Result<usize, String> {
        let cannot = |error: std::io::Error| format!("the limit on descriptors: {error}");
        let (_, hard) = rlimit::Resource::NOFILE.get().map_err(cannot)?;
        // It may fail where the hard limit is higher than the system allows; what counts is what we have.
        let _ = rlimit::Resource::NOFILE.set(hard, hard);
        let (soft, _) = rlimit::Resource::NOFILE.get().map_err(cannot)?;
        let descriptors = usize::try_from(soft).unwrap_or(usize::MAX);
        let Some(allowed) = descriptors.checked_sub(DESCRIPTORS_RESERVED).filter(|&n| n > 0) else {
            return Err(format!(
                "the limit on file descriptors is {descriptors}, and {DESCRIPTORS_RESERVED} are needed besides \
                 connections; raise it with ulimit -n"
            ));
        };
        match self.limits.limits.max_connections {
            None => Ok(allowed),
            Some(asked) if asked <= allowed => Ok(asked),
            Some(_) if !self.limits.is_given("max_connections") => Ok(allowed),
            Some(asked) => Err(format!(
                "--max-connections {asked} needs {} file descriptors, and the limit is {descriptors}; raise it \
                 with ulimit -n, or ask for at most {allowed}",
                asked.saturating_add(DESCRIPTORS_RESERVED)
            )),
        }
    }
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// A sentence that says why the daemon could not start.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let limits = Rc::new(args.limits()?);
    let mut os = Epoll::new().map_err(|error| format!("the loop cannot start: {error}"))?;
    if let Some(mode) = args.socket_mode {
        os.set_socket_mode(mode);
    }
    #[cfg(feature = "store")]
    let data = args.data.open(&mut os, &limits)?;
    let mut listeners = Vec::new();
    for listen in &args.listen {
        for addr in &listen.addrs {
            let bound = os.listen(addr, &limits).map_err(|error| cannot_listen(addr, &error))?;
            let listener = Listener { ip: only_ip(&bound), is_text_only: listen.is_text_only };
            listeners.push((bound, listener));
        }
    }
    let logging = Logging::start(args.log_level, announcement(&listeners, &limits))
        .map_err(|error| format!("logging: {error}"))?;

    let config = Config {
        limits: Rc::clone(&limits),
        allowed_origins: args.allow_origin.clone(),
        metrics_from: args.metrics_from.0.clone(),
        log_lines_lost: logging.lost(),
        allowed_hosts: args.allowed_hosts(),
        listeners: listeners.iter().map(|&(_, listener)| listener).collect(),
    };
    #[cfg(feature = "store")]
    let server = match data {
        Some(Data { file, restored, warning }) => {
            warning.iter().for_each(|warning| log::warn!("{warning}"));
            Server::with_store(config, Box::new(file), restored, os.now())
        }
        None => Server::new(config, os.now()),
    };
    #[cfg(not(feature = "store"))]
    let server = Server::new(config, os.now());
    if let Err(error) = Reactor::new(os, server, limits).run() {
        // Not on standard error from here: somebody who stalls may keep it locked.
        log::error!("the loop is broken: {error}");
        return Ok(ExitCode::FAILURE);
    }
    log::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The one address at which a listener can be reached, if there is only one.
fn only_ip(addr: &ListenAddr) -> Option<IpAddr> {
    match addr {
        ListenAddr::Tcp(addr) => Some(addr.ip()).filter(|ip| !ip.is_unspecified()),
        ListenAddr::Unix(_) => None,
    }
}

fn cannot_listen(addr: &ListenAddr, error: &std::io::Error) -> String {
    let help = match error.kind() {
        std::io::ErrorKind::AddrInUse => match addr {
            ListenAddr::Tcp(_) => {
                "another program listens there; stop it, or choose another address with --listen"
            }
            ListenAddr::Unix(_) => {
                "another program listens there, or a file is in the way; stop it, or choose another path with --listen"
            }
        },
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

/// Where the daemon can be reached, and how to try it.
fn announcement(listeners: &[(ListenAddr, Listener)], limits: &Limits) -> Vec<String> {
    let connections = limits.max_connections.unwrap_or(usize::MAX);
    let version = env!("CARGO_PKG_VERSION");
    let listens = |(addr, listener): &(ListenAddr, Listener)| {
        let prefix = if listener.is_text_only { "text:" } else { "" };
        format!("roomd {version}: listening on {prefix}{addr}, for up to {connections} connections")
    };
    let mut lines: Vec<String> = listeners.iter().map(listens).collect();
    let Some((addr, listener)) = listeners.first() else { return lines };
    let (netcat, page) = match addr {
        ListenAddr::Tcp(addr) => {
            let (ip, port) = (addr.ip(), addr.port());
            let ip = if ip.is_unspecified() { "localhost".to_owned() } else { ip.to_string() };
            let host = if addr.is_ipv6() && ip != "localhost" { format!("[{ip}]") } else { ip.clone() };
            (format!("nc {ip} {port}"), format!("   or open  http://{host}:{port}/"))
        }
        ListenAddr::Unix(path) => (format!("nc -U {}", path.display()), String::new()),
    };
    lines.push(match listener.is_text_only {
        true => format!("try it:  {netcat}"),
        // It waits for us there, and a prompt is not shown.
        false => format!("try it:  {netcat}   then type a name{page}"),
    });
    lines
}
