//! The process: flags, variables, listeners, limits on connections, signals.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use crate::common::{Client, Daemon, output_of, roomd, socket_path};

/// Every limit, with a value that is right.
const LIMITS: [(&str, &str); 27] = [
    ("--max-line-bytes", "4096"),
    ("--name-wait", "60s"),
    ("--http-head-bytes", "8KiB"),
    ("--http-wait", "10s"),
    ("--ping-after", "54s"),
    ("--dead-after", "60s"),
    ("--feed-bytes", "256KiB"),
    ("--stall", "10s"),
    ("--keepalive", "60s"),
    ("--max-buffered-bytes", "64MiB"),
    ("--max-connections", "100"),
    ("--max-per-ip", "32"),
    ("--connect-rate", "20"),
    ("--rate", "5"),
    ("--burst", "10"),
    ("--exempt", "127.0.0.0/8,::1"),
    ("--history", "1000"),
    ("--history-bytes", "1MiB"),
    ("--history-on-join", "10"),
    ("--max-rooms", "64"),
    ("--max-rooms-per-ip", "16"),
    ("--room-rate", "10"),
    ("--quiet-above", "256"),
    ("--allow-origin", "https://chat.example"),
    ("--metrics-from", "127.0.0.1"),
    ("--backlog", "1024"),
    ("--send-buffer-bytes", "128KiB"),
];

/// Those that `none` does not turn off.
const ALWAYS_LIMITED: [&str; 5] =
    ["--max-line-bytes", "--http-head-bytes", "--burst", "--backlog", "--allow-origin"];

#[test]
fn the_help_names_every_limit_its_variable_and_its_default() {
    let (status, help) = output_of(&["--help"]);
    assert_eq!(status, Some(0));
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, _) in [LIMITS.as_slice(), &[("--listen", ""), ("--log-level", "")]].concat() {
        let variable = format!("ROOMD_{}", flag[2..].replace('-', "_").to_uppercase());
        let (_, rest) =
            words.split_once(&format!(" {flag} <")).unwrap_or_else(|| panic!("no {flag}: {help}"));
        let (about, rest) = rest.split_once("[env: ").expect("a variable");
        assert!(about.split(' ').count() > 3, "{flag}: {about}");
        let (name, rest) = rest.split_once("=]").expect("its name");
        assert_eq!(name, variable);
        let has_default = rest.starts_with(" [default: ");
        assert!(has_default || ["--max-connections", "--allow-origin"].contains(&flag), "{flag}: {rest}");
    }
    // `roomd` is `roomd serve`.
    let flags = |help: &str| -> Vec<String> {
        help.split_whitespace().filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    };
    assert_eq!(flags(&output_of(&["serve", "--help"]).1).len(), flags(&help).len() - 1, "but for --version");
}

#[test]
fn wrong_values_are_refused_with_what_would_be_right() {
    for (flags, sentence) in [
        (&["--rate", "fast"][..], "it takes a whole number from 1, or none"),
        (&["--stall", "10"], "it takes a time, as 60s, 250ms or 2min, or none"),
        (&["--feed-bytes", "much"], "it takes bytes, as 4096, 64KiB or 1MiB, or none"),
        (&["--exempt", "everybody"], "everybody is no address; it takes some, as 127.0.0.0/8,::1, or none"),
        (&["--listen", "8080"], "it takes an address and a port, as 127.0.0.1:8080"),
        (&["--listen", "unix:"], "it takes a path behind unix:"),
        (&["--max-line-bytes", "8"], "it takes 16 to 65536"),
        (&["--log-level", "verbose"], "[possible values: off, error, warn, info, debug, trace]"),
        (&["--max-line-bytes", "1MiB"], "it takes 16 to 65536"),
        (&["--feed-bytes", "4KiB"], "at least twice --max-line-bytes, 8192"),
        (&["--ping-after", "2min"], "--ping-after has to be shorter than --dead-after"),
        (&["--allow-origin", "chat.example"], "it takes a scheme and a host, as https://chat.example"),
        (
            &["--allow-origin", "https://chat.example/"],
            "an origin ends behind its host: https://chat.example",
        ),
        (&["--allow-origin", "http://*.example"], "it takes no patterns"),
        (&["--socket-mode", "rw-"], "it takes octal digits, as 0660"),
        (&["--max-connections", "100000000"], "raise it with ulimit -n, or ask for at most"),
        (&["--no-such-flag"], "unexpected argument"),
    ] {
        let flags = [flags, &["--listen", "127.0.0.1:0"][..]].concat();
        let (status, said) = output_of(if flags[0] == "--listen" { &flags[..2] } else { &flags });
        assert!(status.is_some_and(|status| status != 0), "{flags:?}: {status:?}");
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(sentence), "{flags:?}: {said}");
    }
}

#[test]
fn zero_is_never_unlimited() {
    for (flag, _) in LIMITS {
        if !["--exempt", "--allow-origin", "--metrics-from"].contains(&flag) {
            let (status, said) = output_of(&[flag, "0", "--listen", "127.0.0.1:0"]);
            assert!(status.is_some_and(|status| status != 0) && said.contains("it takes "), "{flag}: {said}");
        }
    }
}

#[test]
fn none_turns_any_limit_off() {
    let limits = LIMITS.iter().filter(|(flag, _)| !ALWAYS_LIMITED.contains(flag));
    let flags: Vec<&str> = limits.flat_map(|(flag, _)| [*flag, "none"]).collect();
    let daemon = Daemon::with(&flags);
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    bob.say("hello");
    alice.hears(&["* bob joined", "bob: hello"]);
    for flag in ALWAYS_LIMITED {
        let (status, said) = output_of(&[flag, "none", "--listen", "127.0.0.1:0"]);
        assert!(status.is_some_and(|status| status != 0), "{flag}: {said}");
    }
}

#[test]
fn every_limit_is_a_variable_too_and_the_flag_wins() {
    let mut command = roomd(&["--max-line-bytes", "600"]);
    for (flag, value) in LIMITS {
        command.env(format!("ROOMD_{}", flag[2..].replace('-', "_").to_uppercase()), value);
    }
    command.env("ROOMD_LISTEN", "127.0.0.1:0,127.0.0.1:0").env("ROOMD_MAX_ROOMS", "1");
    let daemon = Daemon::spawn(&mut command);
    assert_eq!(daemon.addrs.len(), 2);
    let mut bob = daemon.enter("bob");
    bob.hears_after(&"x".repeat(601), &["! too-long: a message has at most 600 bytes; yours was dropped"]);
    bob.hears_after("/join dev", &["! full: there is no place for another room; see /rooms"]);
}

#[test]
fn a_port_in_use_is_a_sentence_and_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address").to_string();
    let (status, said) = output_of(&["--listen", &addr]);
    assert_eq!(status, Some(1));
    assert_eq!(
        said,
        format!(
            "roomd: cannot listen on {addr}: another program listens there; stop it, or choose another \
             address with --listen\n"
        )
    );
}

#[test]
fn a_descriptor_limit_that_is_too_low_is_a_sentence_and_status_1() {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 20; exec \"$0\" --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_roomd")]);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let (status, said) = crate::common::ends(&mut command);
    assert_eq!(status, Some(1));
    assert!(said.contains("the limit on file descriptors is 20") && said.contains("ulimit -n"), "{said}");
}

#[test]
fn several_listeners_are_one_room() {
    let path = socket_path();
    let listen = format!("unix:{}", path.display());
    let mut daemon = Daemon::with(&["--listen", "127.0.0.1:0", "--listen", &listen, "--listen", "[::1]:0"]);
    let [tcp, unix, tcp6] = &daemon.addrs[..] else { panic!("{:?}", daemon.addrs) };
    assert_eq!(*unix, listen);
    let connect = |addr: &str| Client::new(std::net::TcpStream::connect(addr).expect("a listener"));
    let (mut alice, mut bob) = (connect(tcp), connect(tcp6));
    alice.send(b"alice\n/ping\n");
    while alice.line() != "* pong" {}
    bob.say("bob");
    alice.hears(&["* bob joined"]);
    let mut carol = Client::new(UnixStream::connect(&path).expect("a listener"));
    carol.send(b"carol\nhello\n");
    alice.hears(&["* carol joined", "carol: hello"]);
    daemon.signal("TERM");
    assert_eq!(daemon.wait().0.code(), Some(0));
    assert!(!path.exists(), "the socket is removed");
}

/// Two ways of saying it, and several addresses in one variable.
#[test]
fn a_unix_socket_has_the_mode_that_is_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let paths = [socket_path(), socket_path()];
    let listen = paths.each_ref().map(|path| format!("unix:{}", path.display())).join(",");
    for by_variable in [false, true] {
        let mut command = roomd(&[]);
        if by_variable {
            command.env("ROOMD_LISTEN", &listen).env("ROOMD_SOCKET_MODE", "660");
        } else {
            command.args(["--listen", &listen, "--socket-mode", "0600"]);
        }
        let mode = if by_variable { 0o660 } else { 0o600 };
        let mut daemon = Daemon::spawn(&mut command);
        for path in &paths {
            let meta = std::fs::metadata(path).expect("a socket");
            assert_eq!(meta.permissions().mode() & 0o777, mode);
            let mut bob = Client::new(UnixStream::connect(path).expect("a listener"));
            bob.hears_after("bob", &["* welcome bob - #lobby, 1 here: bob"]);
            bob.hears_after("/quit", &["* bye"]);
            bob.hears_the_end();
        }
        daemon.signal("TERM");
        assert!(daemon.wait().0.success());
    }
}

#[test]
fn a_unix_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
    let path = socket_path();
    let listen = format!("unix:{}", path.display());
    let first = Daemon::with(&["--listen", &listen]);
    let (status, said) = output_of(&["--listen", &listen]);
    assert_eq!(status, Some(1));
    assert!(said.contains("another program listens there"), "{said}");
    drop(first); // killed: the socket stays behind
    assert!(path.exists());
    let mut second = Daemon::with(&["--listen", &listen]);
    let mut bob = Client::new(UnixStream::connect(&path).expect("a listener"));
    bob.send(b"bob\n/ping\n");
    while bob.line() != "* pong" {}
    second.signal("TERM");
    second.wait();
}

#[test]
fn whoever_finds_no_place_is_told_so_and_the_next_one_gets_in() {
    let daemon = Daemon::with(&["--max-connections", "2"]);
    let mut alice = daemon.enter("alice");
    let bob = daemon.enter("bob");
    alice.hears(&["* bob joined"]);
    for _ in 0..40 {
        let mut refused = daemon.connect();
        refused.hears(&["! full: the server has as many connections as it takes; try again later"]);
        refused.hears_the_end();
    }
    drop(bob);
    alice.hears(&["* bob left"]);
    let mut carol = daemon.enter("carol");
    alice.hears(&["* carol joined"]);
    carol.hears_nothing();
}

#[test]
fn whoever_finds_no_place_may_have_spoken_already() {
    let daemon = Daemon::with(&["--max-connections", "1"]);
    let _alice = daemon.enter("alice");
    for _ in 0..10 {
        daemon.signal("STOP");
        let mut refused = daemon.connect();
        refused.send(b"bob\nhello\n");
        daemon.signal("CONT");
        refused.hears(&["! full: the server has as many connections as it takes; try again later"]);
        refused.hears_the_end();
    }
}

#[test]
fn one_address_gets_so_many_connections() {
    let daemon = Daemon::with(&["--exempt", "none", "--max-per-ip", "2"]);
    let mut alice = daemon.enter("alice");
    let bob = daemon.enter("bob");
    alice.hears(&["* bob joined"]);
    let mut refused = daemon.connect();
    refused.hears(&["! full: there are too many connections from your address"]);
    refused.hears_the_end();
    drop(bob);
    alice.hears(&["* bob left"]);
    daemon.enter("carol");
    // Loopback is spared unless somebody says otherwise.
    let daemon = Daemon::with(&["--max-per-ip", "2"]);
    let _all = [daemon.enter("a"), daemon.enter("b"), daemon.enter("c")];
}

#[test]
fn sigterm_says_good_bye_to_everybody() {
    for signal in ["TERM", "INT"] {
        let mut daemon = Daemon::start();
        let (mut alice, mut bot) = (daemon.enter("alice"), daemon.enter_json("bot"));
        let mut silent = daemon.connect();
        alice.hears(&["* bot joined"]);
        // It has been accepted before: somebody who came after it has been answered.
        daemon.get("/healthz");
        daemon.signal(signal);
        alice.hears(&["* server is shutting down"]);
        alice.hears_the_end();
        bot.is_told(serde_json::json!({"type": "bye", "why": "shutdown"}));
        bot.hears_the_end();
        silent.hears_the_end();
        let (status, log) = daemon.wait();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(log.iter().any(|line| line.contains("stopped")), "{log:?}");
    }
}

#[test]
fn a_second_signal_does_not_wait_for_anybody() {
    let mut daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    // It keeps its side open, so that there is somebody to wait for.
    daemon.signal("TERM");
    alice.hears(&["* server is shutting down"]);
    daemon.signal("INT");
    assert_eq!(daemon.wait().0.code(), Some(0));
}

#[test]
fn the_log_has_who_came_and_went_and_never_what_was_said() {
    let mut daemon = Daemon::start();
    let mut bob = daemon.enter("bob");
    bob.say("the secret is 4711");
    bob.hears_after("/msg nobody 4711", &["! no-such-user: nobody here is called nobody"]);
    bob.hears_after("/quit", &["* bye"]);
    daemon.logs("join #1 bob #lobby from 127.0.0.1:");
    daemon.logs("leave #1 bob from 127.0.0.1:");
    daemon.signal("TERM");
    let (_, rest) = daemon.wait();
    assert!(!rest.iter().any(|line| line.contains("4711")), "{rest:?}");
}

/// It would be the end of whatever the operator mistyped.
#[test]
fn a_file_in_the_way_of_a_unix_socket_is_left_alone() {
    let path = socket_path();
    std::fs::write(&path, "dear").expect("a place for files");
    let (status, said) = output_of(&["--listen", &format!("unix:{}", path.display())]);
    assert_eq!(status, Some(1));
    assert!(said.contains("a file is in the way"), "{said}");
    assert_eq!(std::fs::read(&path).expect("it is still there"), b"dear");
    std::fs::remove_file(&path).expect("it is ours");
}

/// A request that was under way when the daemon was told to stop would end without a word.
#[test]
fn a_health_check_under_way_while_stopping_is_told_503() {
    use std::io::{Read, Write};
    let mut daemon = Daemon::start();
    let mut check = std::net::TcpStream::connect(daemon.addr()).expect("a listener");
    check.write_all(b"GET /healthz HTTP/1.1\r\n").expect("it is read");
    daemon.metric_becomes("roomd_connections{dialect=\"http\"}", 2); // this one, and who asks
    daemon.signal("TERM");
    daemon.logs("stopping");
    check.write_all(b"Host: localhost\r\n\r\n").expect("it is still read");
    let mut answer = String::new();
    check.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(daemon.wait().0.success());
}
