//! What Linux says about a process: CPU time, memory, context switches, and who listens on a port.
//!
//! CPU time is the sum of `se.sum_exec_runtime` of all threads from `/proc/PID/task/*/schedstat`: in
//! nanoseconds, where `utime` and `stime` count ticks of 10 ms. Memory is `Rss` of `smaps_rollup`,
//! which is counted page by page, where `VmRSS` is a sum of per-CPU counters that may be off by more
//! than ten thousand connections weigh. Everything is `None` where `/proc` does not tell.

use std::net::SocketAddr;

use procfs::net::{TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};

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

/// What a process had used up and how big it was at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Snapshot {
    usage: Option<Usage>,
    /// How much memory of it was resident.
    pub(super) resident_bytes: Option<u64>,
}

impl Snapshot {
    /// Of `process`, now.
    pub(super) fn of(process: &Process) -> Self {
        Self { usage: usage(process), resident_bytes: resident_bytes(process) }
    }

    /// What was used up between `earlier` and this.
    pub(super) fn used_since(self, earlier: Self) -> Option<Usage> {
        let (now, then) = (self.usage?, earlier.usage?);
        Some(Usage {
            cpu_ns: now.cpu_ns.saturating_sub(then.cpu_ns),
            waited_ns: now.waited_ns.saturating_sub(then.waited_ns),
            switches_voluntary: now.switches_voluntary.saturating_sub(then.switches_voluntary),
            switches_involuntary: now.switches_involuntary.saturating_sub(then.switches_involuntary),
        })
    }
}

fn usage(process: &Process) -> Option<Usage> {
    let mut sum = None;
    for thread in process.tasks().ok()?.flatten() {
        // A thread that ended in between is left out.
        let (Ok(times), Ok(status)) = (thread.schedstat(), thread.status()) else {
            continue;
        };
        let sum = sum.get_or_insert_with(Usage::default);
        sum.cpu_ns += times.sum_exec_runtime;
        sum.waited_ns += times.run_delay;
        sum.switches_voluntary += status.voluntary_ctxt_switches.unwrap_or(0);
        sum.switches_involuntary += status.nonvoluntary_ctxt_switches.unwrap_or(0);
    }
    sum
}

fn resident_bytes(process: &Process) -> Option<u64> {
    let exact =
        || process.smaps_rollup().ok()?.memory_map_rollup.0.first()?.extension.map.get("Rss").copied();
    exact().or_else(|| Some(process.status().ok()?.vmrss? * 1024))
}

/// The process that listens on the port of `address`, if it may be seen.
pub(super) fn listening_on(address: SocketAddr) -> Option<Process> {
    let sockets = [tcp(), tcp6()].into_iter().flatten().flatten();
    let listening =
        sockets.filter(|it| it.state == TcpState::Listen && it.local_address.port() == address.port());
    let inodes: Vec<u64> = listening.map(|socket| socket.inode).collect();
    let is_one = |target| matches!(target, FDTarget::Socket(inode) if inodes.contains(&inode));
    let has_one = |process: &Process| {
        process.fd().is_ok_and(|mut fds| fds.any(|fd| fd.is_ok_and(|fd| is_one(fd.target))))
    };
    all_processes().ok()?.flatten().find(has_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(listening_on(address).unwrap().pid as u32, std::process::id());
        let connected = std::net::TcpStream::connect(address).unwrap();
        assert!(listening_on(connected.local_addr().unwrap()).is_none(), "it is connected, no more");
    }
}
