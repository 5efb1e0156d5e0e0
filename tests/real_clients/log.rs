//! The log: whatever becomes of it, the daemon serves and stops as usual; and nobody can fill a disk with it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::time::Instant;

use crate::common::{Client, Daemon, PATIENCE, address_in, roomd, socket_path};

const LOST: &str = "roomd_log_lines_lost_total";

/// A daemon on a Unix socket: for those that cannot say which port they have. It listens when it has a client.
fn unix_daemon(command: impl FnOnce(&str) -> Command) -> (Daemon, PathBuf, Client<UnixStream>) {
    let path = socket_path();
    let listen = format!("unix:{}", path.display());
    let child = command(&listen).spawn().expect("roomd starts");
    let mut daemon = Daemon::unheard(child, vec![listen]);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && !daemon.has_ended() {
        if let Ok(stream) = UnixStream::connect(&path) {
            return (daemon, path, Client::new(stream));
        }
        std::thread::yield_now();
    }
    panic!("it does not listen");
}

/// Some come and go while at least so many lines of the log are lost; then the daemon stops as usual.
fn serves_and_stops(daemon: &mut Daemon, path: &Path, mut alice: Client<UnixStream>, lines_lost: u64) {
    alice.send(b"alice\n/ping\n");
    while alice.line() != "* pong" {}
    for name in ["bob", "carol"] {
        let mut guest = Client::new(UnixStream::connect(path).expect("it still listens"));
        guest.send(format!("{name}\n/quit\n").as_bytes());
        alice.hears(&[&format!("* {name} joined"), &format!("* {name} left")]);
        guest.rest();
    }
    let deadline = Instant::now() + PATIENCE;
    while lost(path) < lines_lost {
        assert!(Instant::now() < deadline, "{} are counted, not {lines_lost}", lost(path));
    }
    daemon.signal("TERM");
    alice.hears(&["* server is shutting down"]);
    assert_eq!(daemon.end().code(), Some(0));
}

fn lost(path: &Path) -> u64 {
    let mut reader = Client::new(UnixStream::connect(path).expect("it still listens"));
    reader.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let metrics = reader.rest();
    let line = metrics.lines().find_map(|line| line.strip_prefix(LOST)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {LOST} in {metrics}")).parse().expect("a whole number")
}

/// It ended with status 101 at start.
#[test]
fn a_full_disk_under_the_log_stops_nobody() {
    let (mut daemon, path, alice) = unix_daemon(|listen| {
        let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
        let mut command = roomd(&["--listen", listen]);
        command.stderr(full);
        command
    });
    // Both announcements and the first who joins.
    serves_and_stops(&mut daemon, &path, alice, 3);
}

#[test]
fn a_daemon_without_standard_error_serves() {
    let (mut daemon, path, alice) = unix_daemon(|listen| {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" --listen \"$1\" 2>&-", env!("CARGO_BIN_EXE_roomd"), listen]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    });
    serves_and_stops(&mut daemon, &path, alice, 0);
}

/// `roomd 2>&1 | head -1` ended with status 101 at the second line.
#[test]
fn a_reader_of_the_log_that_is_gone_stops_nobody() {
    for level in ["info", "trace"] {
        let (mut daemon, stderr) = unread(&["--log-level", level]);
        drop(stderr);
        let mut alice = daemon.enter("alice");
        daemon.enter("bob");
        alice.hears(&["* bob joined", "* bob left"]);
        let deadline = Instant::now() + PATIENCE;
        while daemon.metric(LOST) == 0 {
            assert!(Instant::now() < deadline, "nothing is counted as lost");
        }
        daemon.signal("TERM");
        assert_eq!(daemon.end().code(), Some(0));
    }
}

/// A daemon of whose log the first line was read, and nothing else.
fn unread(flags: &[&str]) -> (Daemon, BufReader<ChildStderr>) {
    let flags = [flags, &["--listen", "127.0.0.1:0"]].concat();
    let mut child = roomd(&flags).spawn().expect("roomd starts");
    let mut stderr = BufReader::with_capacity(1, child.stderr.take().expect("stderr is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a first line");
    let addr = address_in(&line).expect("where it listens, before anything else");
    (Daemon::unheard(child, vec![addr]), stderr)
}

/// A log of which nobody reads more than the first line, with more in it than a pipe and the queue hold.
fn stalled() -> (Daemon, BufReader<ChildStderr>) {
    // Some lines per connection; what comes from outside is summed up below that level.
    let (daemon, stderr) = unread(&["--log-level", "trace"]);
    let deadline = Instant::now() + PATIENCE;
    while daemon.metric(LOST) < 100 {
        assert!(Instant::now() < deadline, "nothing is lost");
    }
    (daemon, stderr)
}

#[test]
fn a_reader_of_the_log_that_stalls_stops_nobody_and_is_told_what_it_missed() {
    let (mut daemon, stderr) = stalled();
    let mut alice = daemon.enter("alice");
    alice.hears_nothing();
    let lost = daemon.metric(LOST);
    daemon.hear(stderr);
    let told = daemon.logs("log lines were lost");
    let count = told.split_whitespace().find_map(|word| word.parse::<u64>().ok()).expect("how many");
    assert!(count >= lost, "{told}; {lost} were");
    // From here on nothing is missing.
    drop(alice);
    daemon.logs(" alice from 127.0.0.1:");
    daemon.signal("TERM");
    let (status, rest) = daemon.wait();
    assert_eq!(status.code(), Some(0));
    assert!(rest.last().is_some_and(|line| line.ends_with(" stopped")), "{rest:?}");
}

#[test]
fn a_reader_of_the_log_that_stalls_does_not_keep_the_daemon_from_stopping() {
    let (mut daemon, stderr) = stalled();
    let mut alice = daemon.enter("alice");
    daemon.signal("TERM");
    alice.hears(&["* server is shutting down"]);
    drop(alice);
    let begun = Instant::now();
    assert_eq!(daemon.end().code(), Some(0));
    assert!(begun.elapsed() < PATIENCE / 3, "{:?}", begun.elapsed());
    drop(stderr);
}

#[test]
fn where_it_listens_is_said_before_anything_else_at_every_level() {
    for level in ["off", "error", "info", "trace"] {
        let (mut daemon, mut stderr) = unread(&["--log-level", level]);
        let mut second = String::new();
        stderr.read_line(&mut second).expect("a second line");
        assert!(second.starts_with("try it:"), "{level}: {second}");
        daemon.signal("TERM");
        assert_eq!(daemon.end().code(), Some(0));
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).expect("the rest");
        assert_eq!(rest.contains(" INFO  [roomd::cli::serve] stopped"), ["info", "trace"].contains(&level));
        assert_eq!(rest.is_empty(), ["off", "error"].contains(&level), "{level}: {rest}");
    }
}

#[test]
fn without_a_log_there_is_one_thread() {
    for (level, expected) in [("off", 1), ("error", 2)] {
        let (daemon, mut stderr) = unread(&["--log-level", level]);
        stderr.read_line(&mut String::new()).expect("a second line");
        let threads = || std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs").count();
        let deadline = Instant::now() + PATIENCE;
        while threads() != expected {
            assert!(Instant::now() < deadline, "{level}: {} threads", threads());
        }
        daemon.enter("alice");
        assert_eq!(threads(), expected, "{level}");
    }
}

// ---- floods

/// The lines of a kind, and how many events they tell of, from `from` only.
fn told(log: &[String], kind: &str, from: &str) -> (usize, usize) {
    let lines: Vec<&str> =
        log.iter().filter_map(|line| line.split_once("] ").map(|(_, text)| text)).collect();
    let sums = lines.iter().filter_map(|text| {
        let rest = text.strip_prefix(kind)?.strip_prefix(": ")?;
        let (count, rest) = rest.split_once(" more from ")?;
        rest.starts_with(from).then(|| count.parse::<usize>().expect("a number"))
    });
    let sums: Vec<usize> = sums.collect();
    let single = format!("{kind} ");
    let singles = lines.iter().filter(|text| text.starts_with(&single)).count();
    (singles + sums.len(), singles + sums.iter().sum::<usize>())
}

/// Whoever has changed names and rooms is found by the number of the connection, and a connection by its port.
#[test]
fn the_log_can_trace_anybody() {
    let mut daemon = Daemon::start();
    let mut evil = daemon.enter("evil");
    let addr = format!("127.0.0.1:{}", evil.port());
    daemon.logs(&format!("join #1 evil #lobby from {addr}"));
    // Each kind is told once a second and address; these are other kinds.
    evil.hears_after("/nick mallory", &["* evil is now mallory"]);
    daemon.logs(&format!("nick #1 evil is now mallory from {addr}"));
    evil.hears_after("/join den", &["* welcome mallory - #den, 1 here: mallory"]);
    daemon.logs("#1 mallory #den");
    evil.hears_after("/quit", &["* bye"]);
    daemon.logs(&format!("leave #1 mallory from {addr}: quit"));
    let mut script = daemon.connect();
    script.send(b"GET\nhello\n");
    script.rest();
    let addr = format!("127.0.0.1:{}", script.port());
    daemon.logs(&format!("close #2 from {addr}: 1 line was not said"));
    // A web page makes its visitor's browser speak.
    let mut daemon = Daemon::with(&["--name-wait", "300ms"]);
    let mut visitor = daemon.enter("visitor");
    visitor.say("GET /x HTTP/1.1");
    daemon.logs("close #1 visitor from 127.0.0.1:");
    let _silent = daemon.connect();
    daemon.logs(": no name in time");
}

#[test]
fn a_403_names_what_it_saw_and_the_flag_that_allows_it() {
    let mut daemon = Daemon::start();
    let head = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = daemon.http(&format!("{head}Host: localhost\r\nOrigin: https://chat.example\r\n\r\n"));
    let told = "the Origin \"https://chat.example\" may not connect, because it is not the Host \"localhost\"; \
                --allow-origin would allow it";
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains(told), "{answer}");
    let line = daemon.logs(told);
    assert!(line.contains("refuse #1 from 127.0.0.1:"), "{line}");
    let answer = daemon.http(&format!("{head}Host: chat.example\r\n\r\n"));
    assert!(
        answer.contains("the Host \"chat.example\"") && answer.contains("--allow-host would"),
        "{answer}"
    );
}

/// It wrote two lines for each: 0.9 MB/s.
#[test]
fn a_flood_of_joins_and_leaves_is_summed_up() {
    let mut daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let begun = Instant::now();
    for _ in 0..300 {
        let mut guest = daemon.enter("bob");
        guest.hears_after("/quit", &["* bye"]);
        alice.hears(&["* bob joined", "* bob left"]);
    }
    let seconds = begun.elapsed().as_secs() as usize + 1;
    daemon.signal("TERM");
    let (_, log) = daemon.wait();
    let (lines, joins) = told(&log, "join", "127.0.0.1");
    assert_eq!(joins, 301, "{log:?}");
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s: {log:?}");
    let (lines, leaves) = told(&log, "leave", "127.0.0.1");
    assert_eq!(leaves, 300, "{log:?}");
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s: {log:?}");
}

#[test]
fn a_flood_of_refusals_is_summed_up_while_it_lasts() {
    let mut daemon = Daemon::with(&["--max-connections", "1"]);
    let alice = daemon.enter("alice");
    for _ in 0..100 {
        daemon.connect().hears(&["! full: the server has as many connections as it takes; try again later"]);
    }
    daemon.logs(": the server has as many connections as it takes");
    let sum = daemon.logs("refuse: ");
    assert!(sum.contains(" more from 127.0.0.1 in the last second"), "{sum}");
    drop(alice);
}

#[test]
fn a_flood_of_bad_requests_is_summed_up() {
    let mut daemon = Daemon::start();
    for _ in 0..100 {
        assert!(daemon.http("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 4"));
        let mut secure = daemon.connect();
        secure.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        secure.rest();
    }
    daemon.signal("TERM");
    let (_, log) = daemon.wait();
    for kind in ["refuse", "close"] {
        let (lines, events) = told(&log, kind, "127.0.0.1");
        assert_eq!(events, 100, "{kind}: {log:?}");
        assert!(lines < 50, "{kind}: {log:?}");
    }
}

/// Addresses are cheap, too: a /48 has as many as one likes.
#[test]
fn a_flood_from_many_addresses_is_summed_up_as_well() {
    let mut daemon = Daemon::start();
    let begun = Instant::now();
    let mut guests: Vec<Client> = Vec::new();
    for i in 0..1000_u16 {
        let [high, low] = i.to_be_bytes();
        let mut guest = Client::new(daemon.stream_from(Ipv4Addr::new(127, 1, high, low)));
        guest.say(&format!("guest{i}"));
        assert!(guest.line().starts_with("* "), "it is welcome");
        guests.push(guest);
    }
    let seconds = begun.elapsed().as_secs() as usize + 1;
    daemon.signal("TERM");
    let (_, log) = daemon.wait();
    let (lines, joins) = told(&log, "join", "");
    assert_eq!(joins, 1000, "{log:?}");
    assert!(lines <= 300 * (seconds + 1), "{lines} lines in {seconds} s");
}

// ---- signals

/// The first one killed it without a word.
#[test]
fn sighup_and_sigpipe_change_nothing() {
    let mut daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    for _ in 0..2 {
        daemon.signal("HUP");
        daemon.logs("SIGHUP: there is nothing to reload");
    }
    daemon.signal("PIPE");
    alice.hears_nothing();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().0.code(), Some(0));
}
