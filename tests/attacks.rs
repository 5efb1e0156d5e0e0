//! What a hostile peer may not do to the others, from outside: each test was an attack that worked once.

mod common;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::{Client, Daemon, PATIENCE};

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

/// Without: one address that connects again and again says as many lines as it likes.
#[test]
fn who_connects_again_has_no_more_to_say_than_before() {
    let daemon = Daemon::with(&["--exempt", "none", "--max-per-ip", "none", "--rate", "1", "--burst", "10"]);
    let listener = daemon.enter("listener");
    for i in 0..40 {
        let mut again = daemon.connect();
        again.send(format!("name{i}\nspam\n").as_bytes());
        again.end_output();
    }
    // Of ten lines the listener's name was the first; each of the others takes two.
    let heard = i32::try_from(daemon.metric("roomd_lines_in_total")).unwrap();
    assert!((10..25).contains(&heard), "{heard} lines");
    drop(listener);
}

/// Without: each connection is a turn of the loop, a log line, and two notices for everybody.
#[test]
fn who_connects_too_often_is_told_and_refused_for_a_moment() {
    let flags = ["--exempt", "none", "--connect-rate", "3"];
    let daemon = Daemon::with(&flags);
    let mut told: Vec<String> = (0..6)
        .map(|_| {
            let mut client = daemon.connect();
            client.end_output();
            client.rest()
        })
        .collect();
    told.retain(|told| !told.is_empty());
    let refusal = "! full: your address connects too often; try again in a moment\n";
    assert!(told.len() >= 2 && told.iter().all(|told| told == refusal), "{told:?}");
    // A third of a second later there is place for one more.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut client = daemon.connect();
        client.say("alice");
        if client.next_line().is_some_and(|line| line.contains("welcome alice")) {
            break;
        }
        assert!(Instant::now() < deadline);
    }
}

/// Without: whoever shares an address with a flood is not heard at all.
#[test]
fn connections_of_an_address_take_turns() {
    let daemon = Daemon::with(&["--exempt", "none", "--rate", "10"]);
    let mut flood = daemon.enter("flood");
    let mut modest = daemon.enter("modest");
    flood.hears(&["* modest joined"]);
    flood.send("spam\n".repeat(2000).as_bytes());
    for _ in 0..5 {
        modest.say("/ping");
        let mut between = 0;
        while modest.line() != "* pong" {
            between += 1;
        }
        // All that the burst allowed may come first; then it is one each.
        assert!(between <= 12, "{between} lines of the flood came before one of the other's");
    }
}

/// Without: what was freed stays in the allocator's heap, and the daemon as large as it ever was.
#[test]
fn memory_comes_back_when_those_who_made_it_are_gone() {
    const PEERS: usize = 500;
    let daemon = Daemon::with(&["--exempt", "none", "--max-per-ip", "none", "--metrics-from", "127.0.0.1"]);
    let before = resident_bytes(&daemon);
    let mut peers: Vec<_> = (0..PEERS).map(|_| daemon.connect()).collect();
    // Far more than they may say in a second: it is kept until it is their turn.
    peers.iter_mut().for_each(|peer| peer.send("\n".repeat(33_000).as_bytes()));
    let deadline = Instant::now() + PATIENCE;
    while daemon.metric("roomd_buffered_bytes") < 30_000 * PEERS as u64 {
        assert!(Instant::now() < deadline);
    }
    let peak = resident_bytes(&daemon);
    drop(peers);
    // The one who asks is left.
    while daemon.metric("roomd_connections{dialect=\"text\"}") > 0 {
        assert!(Instant::now() < deadline);
    }
    let after = resident_bytes(&daemon);
    let (most, left) = (peak - before, after.saturating_sub(before));
    assert!(most > 30_000 * PEERS && left < most / 5, "{left} of {most} bytes were not given back");
}

/// The memory of a daemon that is not swapped out (proc(5), status).
fn resident_bytes(daemon: &Daemon) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Without: whoever ends its line by closing its side says as much as it likes.
#[test]
fn a_last_line_without_an_end_counts_too() {
    let flags = ["--exempt", "none", "--max-per-ip", "none", "--rate", "1", "--burst", "5"];
    let daemon = Daemon::with(&flags);
    let mut listener = daemon.enter_from(2, "listener");
    let mut again: Vec<Client> = (0..30)
        .map(|i| {
            let mut again = daemon.connect();
            again.send(format!("name{i}").as_bytes());
            again.end_output();
            again
        })
        .collect();
    let heard = again.iter_mut().map(Client::rest).filter(|told| told.contains("* welcome")).count();
    // Five at once, and one a second while they are listened to.
    assert!((5..15).contains(&heard), "{heard} names were heard");
    listener.say("/who");
}

/// Without: a victim is made to paste, or pastes, and somebody else is called so a moment later.
#[test]
fn who_makes_place_for_others_gets_its_name_back() {
    let daemon = Daemon::with(&["--exempt", "none", "--max-connections", "2", "--burst", "3"]);
    let mut victim = daemon.enter_from(2, "victim");
    let mut other = daemon.enter_from(3, "other");
    victim.send("a long paste\n".repeat(30).as_bytes());
    other.say("/ping");
    while other.line() != "* pong" {}
    // The house is full: who is far over its rate makes place, once the daemon knows that it is.
    let deadline = Instant::now() + PATIENCE;
    let mut thief = loop {
        let mut thief = Client::new(daemon.stream_from(Ipv4Addr::new(127, 0, 0, 4)));
        thief.say("victim");
        let told = thief.line();
        if !told.starts_with("! full") {
            assert_eq!(
                told,
                "! name-taken: victim was just left by a connection that broke; it is free to others in 10 s"
            );
            break thief;
        }
        assert!(Instant::now() < deadline);
    };
    thief.hears_after("a b", &["! name-bad: a name has 1 to 32 characters: letters, digits, _ - ."]);
}

/// A process that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Without: a log that may not grow further ends the daemon (SIGXFSZ).
#[test]
fn a_limit_on_the_size_of_files_is_survived() {
    let log = std::env::temp_dir().join(format!("roomd-test-{}.log", std::process::id()));
    fs::write(&log, [b'x'; 1024]).expect("a file");
    let socket = common::socket_path();
    let exe = env!("CARGO_BIN_EXE_roomd");
    let run = format!("ulimit -f 1; exec {exe} --listen unix:{} 2>>{}", socket.display(), log.display());
    let child = Command::new("bash").args(["-c", &run]).stdout(Stdio::null()).spawn();
    let mut child = Running(child.expect("bash"));
    let deadline = Instant::now() + PATIENCE;
    let stream = loop {
        if let Ok(stream) = UnixStream::connect(&socket) {
            break stream;
        }
        assert!(Instant::now() < deadline && child.0.try_wait().expect("its state").is_none());
    };
    let mut guest = Client::new(stream);
    guest.say("guest");
    assert!(guest.line().starts_with("* welcome guest"));
    guest.hears_nothing();
    assert!(child.0.try_wait().expect("its state").is_none(), "it lives");
    let _ = (fs::remove_file(&log), fs::remove_file(&socket));
}

/// Without: whoever is stopped takes the socket of its successor away.
#[test]
fn a_stopping_daemon_leaves_the_socket_of_another_alone() {
    let path = common::socket_path();
    let addr = format!("unix:{}", path.display());
    let mut first = Daemon::with(&["--listen", &addr]);
    fs::remove_file(&path).expect("its socket");
    let _second = Daemon::with(&["--listen", &addr]);
    first.signal("TERM");
    assert!(first.wait().0.success());
    let mut guest = Client::new(UnixStream::connect(&path).expect("the second one's socket"));
    guest.hears_after("", &[common::GREETING]);
}

// ---- rooms

/// Each says `/join` with a name of its own, and is told this.
fn joins(client: &mut Client, room: &str) -> String {
    client.say(&format!("/join {room}"));
    loop {
        let line = client.line();
        if line.starts_with("* welcome") && line.contains(&format!(" - #{room},")) || line.starts_with("! ") {
            return line;
        }
    }
}

/// Without: one connection's `/join x1`, `/join x2` … makes others' rooms go, with all that was said in them.
#[test]
fn who_makes_many_rooms_loses_its_own_first() {
    let flags = ["--exempt", "none", "--rate", "none", "--max-rooms", "8", "--room-rate", "none"];
    let daemon = Daemon::with(&flags);
    let mut alice = daemon.enter_from(2, "alice");
    joins(&mut alice, "memories");
    alice.say("never forget this");
    alice.say("/leave");
    let mut eve = daemon.enter_from(3, "eve");
    for i in 0..40 {
        assert!(joins(&mut eve, &format!("x{i}")).starts_with("* welcome"), "{i}");
        eve.say("something, or they would go first anyway");
        eve.say("/leave");
    }
    joins(&mut alice, "memories");
    let line = alice.line();
    assert!(line.ends_with("alice: never forget this"), "{line}");
}

/// Without: 63 squatters from two addresses hold all the rooms there can be.
#[test]
fn each_address_has_a_share_of_the_rooms() {
    let daemon = Daemon::with(&["--exempt", "none", "--rate", "none", "--room-rate", "none"]);
    let mut refused = 0;
    let squatters: Vec<Client> = (0..63)
        .map(|i| {
            let mut squatter = daemon.enter_from(2 + i % 2, &format!("squatter{i}"));
            let told = joins(&mut squatter, &format!("x{i}"));
            refused += usize::from(told.starts_with("! full: your address has made as many rooms"));
            squatter
        })
        .collect();
    assert_eq!(refused, 63 - 2 * 16);
    assert!(joins(&mut daemon.enter_from(4, "alice"), "ours").starts_with("* welcome"));
    drop(squatters);
}

/// Without: two connections of one address are in all the rooms there can be, and none makes place any more.
#[test]
fn whoever_enters_rooms_that_others_have_left_has_a_share_of_them() {
    let daemon =
        Daemon::with(&["--exempt", "none", "--rate", "none", "--room-rate", "none", "--max-rooms", "30"]);
    for i in 0..29 {
        let mut maker = daemon.enter_from(2 + i % 4, &format!("maker{i}"));
        assert!(joins(&mut maker, &format!("x{i}")).starts_with("* welcome"), "{i}");
    }
    let mut eve = daemon.enter_from(9, "eve");
    let mut entered = 0;
    for i in 0..29 {
        let told = joins(&mut eve, &format!("x{i}"));
        entered += usize::from(told.starts_with("* welcome"));
        assert!(
            told.contains(&format!("#x{i}")) || told.starts_with("! full: your address has made"),
            "{told}"
        );
    }
    assert_eq!(entered, 16);
    assert!(joins(&mut daemon.enter_from(10, "alice"), "ours").starts_with("* welcome"));
}

/// Without: rooms come and go as fast as somebody can type their names.
#[test]
fn an_address_makes_so_many_rooms_a_minute() {
    let daemon = Daemon::with(&["--exempt", "127.0.0.4", "--rate", "none", "--room-rate", "3"]);
    let mut eve = daemon.enter_from(2, "eve");
    let told: Vec<String> = (0..5).map(|i| joins(&mut eve, &format!("x{i}"))).collect();
    assert!(told[..3].iter().all(|told| told.starts_with("* welcome")), "{told:?}");
    assert!(told[3..].iter().all(|told| told.starts_with("! full: your address makes too many")), "{told:?}");
    assert!(joins(&mut eve, "x0").starts_with("* welcome"), "it is there");
    // Others may, and so may whoever is exempt, as often as it likes.
    assert!(joins(&mut daemon.enter_from(3, "alice"), "y").starts_with("* welcome"));
    let mut admin = daemon.enter_from(4, "admin");
    assert!((0..10).all(|i| joins(&mut admin, &format!("z{i}")).starts_with("* welcome")));
}
