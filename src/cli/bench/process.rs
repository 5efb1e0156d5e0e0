//! What Linux says about a process: CPU time, memory, context switches, and who listens on a port.
//!
//! CPU time is the sum of `se.sum_exec_runtime` of all threads from `/proc/PID/task/*/schedstat`: in
//! nanoseconds, where `utime` and `stime` count ticks of 10 ms. Memory is `Rss` of `smaps_rollup`,
//! which is counted page by page, where `VmRSS` is a sum of per-CPU counters that may be off by more
//! than ten thousand connections weigh. Everything is `None` where `/proc` does not tell.

use std::fs;
use std::net::SocketAddr;

/// The state "listening" in `/proc/net/tcp`.
const TCP_LISTEN: &str = "0A";

/// A process of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: u32,
}

/// What a process used up since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Time on a processor, all threads together.
    pub(super) cpu_ns: u64,
    /// Time ready to run without getting a processor.
    pub(super) waited_ns: u64,
    /// How often it waited for something.
    pub(super) switches_voluntary: u64,
    /// How often its processor was taken away.
    pub(super) switches_involuntary: u64,
}

impl Usage {
    /// What was used up between `earlier` and this.
    pub(super) fn since(self, earlier: Self) -> Self {
        let Self { cpu_ns, waited_ns, .. } = self;
        Self {
            cpu_ns: cpu_ns.saturating_sub(earlier.cpu_ns),
            waited_ns: waited_ns.saturating_sub(earlier.waited_ns),
            switches_voluntary: self.switches_voluntary.saturating_sub(earlier.switches_voluntary),
            switches_involuntary: self.switches_involuntary.saturating_sub(earlier.switches_involuntary),
        }
    }
}

impl Process {
    /// This process.
    pub(super) fn this() -> Self {
        Self { pid: std::process::id() }
    }

    /// The process that listens on the port of `address`, if it may be seen.
    pub(super) fn listening_on(address: SocketAddr) -> Option<Self> {
        let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .flat_map(|table| listening_inodes(&table, address.port()))
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        numbers_in("/proc").find_map(|pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
            let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
            targets
                .any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
                .then_some(Self { pid })
        })
    }

    /// Its command name, at most 15 bytes of it.
    pub(super) fn name(self) -> Option<String> {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).ok()?;
        Some(name.trim_end().to_owned())
    }

    /// What it used up so far.
    pub(super) fn usage(self) -> Option<Usage> {
        let mut sum = None;
        for thread in numbers_in(&format!("/proc/{}/task", self.pid)) {
            let path = format!("/proc/{}/task/{thread}", self.pid);
            // A thread that ended in between is left out.
            let (Ok(times), Ok(status)) = (
                fs::read_to_string(format!("{path}/schedstat")),
                fs::read_to_string(format!("{path}/status")),
            ) else {
                continue;
            };
            let sum = sum.get_or_insert_with(Usage::default);
            let mut times = times.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0));
            sum.cpu_ns += times.next().unwrap_or(0);
            sum.waited_ns += times.next().unwrap_or(0);
            sum.switches_voluntary += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            sum.switches_involuntary += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        }
        sum
    }

    /// How much memory of it is resident, in bytes.
    pub(super) fn resident_bytes(self) -> Option<u64> {
        let of = |file: &str, name: &str| {
            let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid)).ok()?;
            Some(field(&text, name)? * 1024)
        };
        of("smaps_rollup", "Rss:").or_else(|| of("status", "VmRSS:"))
    }
}

/// How many ports the kernel hands out by itself.
pub(super) fn ephemeral_ports() -> Option<u32> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = range.split_ascii_whitespace().map(str::parse::<u32>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some(last.checked_sub(first)? + 1)
}

/// The names in `directory` that are numbers.
fn numbers_in(directory: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// The inodes of the sockets that listen on `port`, from a table such as `/proc/net/tcp`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let rows = table.lines().map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&port) && row[3] == TCP_LISTEN)
        .map(|row| row[9].to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(Process::listening_on(address), Some(Process::this()));
        assert!(Process::this().name().is_some());
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let usage = Process::this().usage().unwrap();
        assert_eq!(usage.since(usage), Usage::default());
        assert!(Process::this().resident_bytes().unwrap() > 0);
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
             1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
             2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(listening_inodes(table, 8080), ["111"]);
    }
}
