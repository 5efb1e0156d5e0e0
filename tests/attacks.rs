//! What a hostile peer may not do to the others, from outside: each test was an attack that worked once.

mod common;

use std::fs;
use std::time::Instant;

use common::{Daemon, PATIENCE};

/// The state of the timer that the system keeps for the daemon's side of a connection (proc(5), tcp).
fn timer_of(daemon: &Daemon, client: u16) -> Option<String> {
    let (local, remote) = (format!(":{:04X}", daemon.addr().port()), format!(":{client:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row[1].ends_with(&local) && row[2].ends_with(&remote))?;
    row[5].split(':').next().map(str::to_owned)
}

/// Without: a host that has vanished keeps its name for ever in a quiet room (row 35).
#[test]
fn the_system_asks_whether_a_silent_host_is_still_there() {
    for (flags, timer) in [(&[][..], "02"), (&["--keepalive", "none"], "00")] {
        let daemon = Daemon::with(flags);
        let alice = daemon.enter("alice");
        let deadline = Instant::now() + PATIENCE;
        // While what was sent is not confirmed, another timer runs.
        while timer_of(&daemon, alice.port()).as_deref() != Some(timer) {
            assert!(Instant::now() < deadline, "{flags:?}: {:?}", timer_of(&daemon, alice.port()));
        }
    }
}
