//! The text dialect over TCP, as DESIGN.md §6 has it.

use std::os::unix::net::UnixStream;

use crate::common::{Client, Daemon, GREETING, socket_path};

#[test]
fn an_empty_line_is_answered_by_the_greeting() {
    let daemon = Daemon::start();
    for empty in ["\n", "\r\n", "  \n"] {
        let mut bob = daemon.connect();
        bob.send(empty.as_bytes());
        bob.hears(&[GREETING]);
        bob.hears_after("", &[GREETING]);
        bob.hears_after("bob", &["* welcome bob - #lobby, 1 here: bob"]);
        bob.say("");
        bob.hears_nothing();
        bob.hears_after("/quit", &["* bye"]);
        bob.hears_the_end();
    }
}

/// It may be a browser's, which would read what it is told as the answer to its next request.
#[test]
fn who_says_nothing_is_told_nothing() {
    let mut daemon = Daemon::with(&["--name-wait", "300ms"]);
    daemon.connect().hears_the_end();
    let mut bob = daemon.connect();
    daemon.get("/healthz");
    daemon.signal("TERM");
    bob.hears_the_end();
    assert!(daemon.wait().0.success());
}

#[test]
fn a_listener_for_text_greets_at_once_and_speaks_nothing_else() {
    let path = socket_path();
    let unix = format!("text:unix:{}", path.display());
    let daemon =
        Daemon::with(&["--listen", "127.0.0.1:0", "--listen", "text:127.0.0.1:0", "--listen", &unix]);
    assert_eq!(daemon.addrs[2], unix);
    let addr = daemon.addrs[1].strip_prefix("text:").expect("it says so").to_owned();
    let connect = || Client::new(std::net::TcpStream::connect(&addr).expect("the port"));
    let mut alice = daemon.enter("alice");
    let mut bob = connect();
    bob.hears(&[GREETING]);
    bob.hears_after("bob", &["* welcome bob - #lobby, 2 here: alice, bob"]);
    let mut carol = Client::new(UnixStream::connect(&path).expect("the socket"));
    carol.hears(&[GREETING]);
    carol.hears_after("carol", &["* welcome carol - #lobby, 3 here: alice, bob, carol"]);
    let mut browser = connect();
    browser.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    browser.hears(&[GREETING, "! bad-argument: an HTTP request is not chat; the connection is closed"]);
    browser.hears_the_end();
    let mut bot = connect();
    bot.say(r#"{"type":"hello","name":"bot"}"#);
    bot.hears(&[GREETING, "! name-bad: a name has 1 to 32 characters: letters, digits, _ - ."]);
    alice.hears(&["* bob joined", "* carol joined"]);
    alice.hears_nothing();
}

#[test]
fn lines_may_be_glued_and_split_anywhere() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.connect());
    bob.send(b"bob\none\ntwo\nth");
    alice.hears(&["* bob joined", "bob: one", "bob: two"]);
    bob.send(b"ree\n");
    alice.hears(&["bob: three"]);
    for byte in "four: größe\n".bytes() {
        bob.send(&[byte]);
    }
    alice.hears(&["bob: four: größe"]);
}

#[test]
fn both_line_ends_are_taken_and_empty_lines_ignored() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.connect());
    bob.send(b"\r\n\n  \nbob\r\n\r\n\n   \none\r\ntwo\n");
    alice.hears(&["* bob joined", "bob: one", "bob: two"]);
}

#[test]
fn telnet_sequences_are_no_part_of_a_name_or_a_line() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.connect());
    // IAC WILL NAWS, IAC SB NAWS 0 80 0 10 IAC SE: the window has 10 rows, and 10 is a newline.
    bob.send(b"\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x0a\xff\xf0bo\xff\xf1b\nhe\xff\xfd\x0allo\r\n");
    alice.hears(&["* bob joined", "bob: hello"]);
}

#[test]
fn a_line_that_is_not_utf8_is_refused_and_nothing_else() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    bob.send(b"caf\xe9\nhello\n");
    bob.hears(&["! bad-utf8: the line is not UTF-8"]);
    alice.hears(&["bob: hello"]);
}

#[test]
fn a_line_that_is_too_long_is_refused_and_the_next_one_is_heard() {
    let daemon = Daemon::with(&["--max-line-bytes", "512"]);
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    let longest = "é".repeat(256);
    bob.send(format!("{longest}x\n{longest}\r\n{}\nshort\n", "x".repeat(20_000)).as_bytes());
    let error = "! too-long: a message has at most 512 bytes; yours was dropped";
    bob.hears(&[error, error]);
    alice.hears(&[&format!("bob: {longest}"), "bob: short"]);
}

/// The least that a feed may keep is twice that.
#[test]
fn the_longest_line_fits_into_the_smallest_feed() {
    let daemon = Daemon::with(&["--feed-bytes", "8KiB"]);
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter(&"b".repeat(32)));
    alice.hears(&[&format!("* {} joined", "b".repeat(32))]);
    let longest = "x".repeat(4096);
    bob.say(&longest);
    alice.hears(&[&format!("{}: {longest}", "b".repeat(32))]);
}

#[test]
fn a_line_without_an_end_closes_the_connection_after_64_kib() {
    let daemon = Daemon::start();
    let mut bob = daemon.enter("bob");
    bob.send(&[b'x'; 66_000]);
    bob.hears(&["! too-long: a message has at most 4096 bytes; yours was dropped"]);
    bob.hears(&["! too-long: a line that does not end is not chat"]);
    bob.hears_the_end();
}

#[test]
fn names_have_rules_and_may_be_tried_again() {
    let daemon = Daemon::start();
    let _alice = daemon.enter("Alice");
    let mut bob = daemon.connect();
    let rule = "! name-bad: a name has 1 to 32 characters: letters, digits, _ - .";
    for bad in ["b o b", &"x".repeat(33), "\u{ff21}lice", "@bob", "bob:", "b\u{202e}ob", "\u{3164}", "*"] {
        bob.hears_after(bad, &[rule]);
    }
    for reserved in ["GET", "server", "Roomd", "me"] {
        bob.hears_after(reserved, &[&format!("! name-bad: {reserved} is a reserved word")]);
    }
    bob.hears_after("Alice", &["! name-taken: Alice is in use"]);
    for alike in ["ALICE", "ALlCE"] {
        bob.hears_after(alike, &[&format!("! name-taken: {alike} looks like Alice, who is here")]);
    }
    bob.hears_after(" 李雷 ", &["* welcome 李雷 - #lobby, 2 here: Alice, 李雷"]);
}

/// Otherwise what a script says becomes its name, and nobody hears it.
#[test]
fn what_came_along_with_a_name_that_is_refused_is_no_name() {
    let daemon = Daemon::start();
    let mut bot = daemon.enter("bot");
    for (said, refused, count) in [
        ("bot\nhello\n", "! name-taken: bot is in use", "1 line was"),
        ("bot\r\nhello\r\nagain", "! name-taken: bot is in use", "2 lines were"),
        ("GET\nhello\n", "! name-bad: GET is a reserved word", "1 line was"),
        ("caf\u{e9} \nhello\n", "", "0"),
    ] {
        let mut script = daemon.connect();
        script.send(said.as_bytes());
        if refused.is_empty() {
            script.hears(&["* welcome café - #lobby, 2 here: bot, café"]);
            drop(script);
            bot.hears(&["* café joined", "café: hello", "* café left"]);
            continue;
        }
        let dropped = format!("! dropped: {count} not said: what came with a name that was refused");
        script.hears(&[refused, &dropped]);
        script.hears_the_end();
    }
    let mut person = daemon.connect();
    person.send(b"bot\n\r\n");
    person.hears(&["! name-taken: bot is in use", GREETING]);
    person.hears_after("bob", &["* welcome bob - #lobby, 2 here: bob, bot"]);
    bot.hears(&["* bob joined"]);
    bot.hears_nothing();
}

#[test]
fn a_name_is_free_again_when_its_owner_is_gone() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    bob.say("/quit");
    alice.hears(&["* bob joined", "* bob left"]);
    let mut other = daemon.enter("bob");
    alice.hears(&["* bob joined"]);
    other.hears_after("/nick rob", &["* bob is now rob"]);
    alice.hears(&["* bob is now rob"]);
    daemon.enter("bob");
}

#[test]
fn every_command_does_what_the_help_says() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);

    // One's own lines do not come back.
    bob.say("hello");
    alice.hears(&["bob: hello"]);
    bob.hears_nothing();
    bob.say("/me waves");
    alice.hears(&["** bob waves"]);
    bob.say("//shrug");
    alice.hears(&["bob: /shrug"]);

    bob.say("/msg ALICE psst  psst");
    alice.hears(&["@bob: psst  psst"]);
    bob.hears_nothing();
    bob.hears_after("/msg bob note to self", &["@bob: note to self"]);

    bob.hears_after("/who", &["* 2 here: alice, bob"]);
    bob.hears_after("/nick Bob", &["* bob is now Bob"]);
    alice.hears(&["* bob is now Bob"]);
    bob.hears_after("/ping", &["* pong"]);

    bob.say("/history 2");
    let lines = [bob.line(), bob.line()];
    assert!(lines[0].starts_with("~ ") && lines[0].ends_with(" ** bob waves"), "{lines:?}");
    assert!(lines[1].starts_with("~ ") && lines[1].ends_with(" bob: /shrug"), "{lines:?}");

    bob.hears_after("/join #Dev", &["* welcome Bob - #dev, 1 here: Bob"]);
    bob.hears_after("/rooms", &["* 2 rooms: #dev (1, current), #lobby (2, joined)"]);
    bob.hears_after("/history", &["* nothing was said here yet"]);
    bob.hears_after("/who LOBBY", &["* 2 here: Bob, alice"]);
    bob.say("alone");
    bob.say("/msg alice from another room");
    alice.hears(&["@Bob: from another room"]);

    bob.say("/help");
    let help: Vec<String> = (0..13).map(|_| bob.line()).collect();
    for command in [
        "msg", "me", "who", "nick", "join", "leave", "ignore", "unignore", "rooms", "history", "ping",
        "help", "quit",
    ] {
        assert!(help.iter().any(|line| line.contains(&format!("/{command}"))), "{command}: {help:?}");
    }
    assert!(help.iter().all(|line| line.starts_with("* ")), "{help:?}");

    bob.hears_after("/quit", &["* bye"]);
    bob.hears_the_end();
    alice.hears(&["* Bob left"]);
    alice.hears_nothing();
}

#[test]
fn whoever_is_ignored_is_not_heard_under_any_name() {
    let daemon = Daemon::with(&["--history-on-join", "none"]);
    let (mut alice, mut eve, mut carol) = (daemon.enter("alice"), daemon.enter("eve"), daemon.enter("carol"));
    alice.hears(&["* eve joined", "* carol joined"]);
    eve.hears(&["* carol joined"]);
    alice.hears_after("/ignore", &["* you ignore nobody"]);
    alice.hears_after("/Ignore EVE", &["* you ignore EVE"]);
    eve.say("one\n/me waves\n/msg alice two\n/nick mallory\nthree");
    carol.hears(&["eve: one", "** eve waves", "* eve is now mallory", "mallory: three"]);
    alice.hears(&["* eve is now mallory"]);
    carol.say("hello");
    alice.hears(&["carol: hello"]);
    eve.hears(&["* eve is now mallory", "carol: hello"]);
    // Nobody else is ignored for that, and her list is her own.
    let mut other = daemon.enter("Zoe");
    for heard in [&mut alice, &mut carol, &mut eve] {
        heard.hears(&["* Zoe joined"]);
    }
    eve.hears_after("/nick ivy", &["* mallory is now ivy"]);
    other.hears_after("/nick mallory", &["* mallory is now ivy", "* Zoe is now mallory"]);
    other.say("innocent");
    alice.hears(&["* mallory is now ivy", "* Zoe is now mallory", "mallory: innocent"]);
    alice.hears_after("/ignore", &["* you ignore EVE"]);
    alice.hears_after("/unignore eve", &["* you ignore nobody"]);
    eve.say("four");
    alice.hears(&["ivy: four"]);
    other.hears_after("/quit", &["ivy: four", "* bye"]);
    alice.hears(&["* mallory left"]);
    // A room and a name are left by those who say so.
    alice.hears_after("/join den", &["* welcome alice - #den, 1 here: alice"]);
    let welcome = "* welcome alice - #lobby, 3 here: alice, carol, ivy";
    alice.hears_after("/part", &["* you left #den", welcome]);
}

#[test]
fn every_refusal_has_its_code() {
    let daemon = Daemon::with(&["--max-rooms", "1"]);
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    for (line, answer) in [
        ("/nick alice", "! name-taken: alice is in use"),
        ("/nick", "! bad-argument: say /nick NAME"),
        ("/nick bob", "! bad-argument: you are called bob already"),
        ("/leave", "! bad-argument: you are in the lobby; /quit leaves it, and the server"),
        ("/leave dev", "! not-here: you are not in #dev"),
        ("/who dev", "! not-here: you are not in #dev"),
        ("/ignore BOB", "! bad-argument: that is you"),
        ("/unignore carol", "! bad-argument: you do not ignore carol"),
        ("/msg carol hi", "! no-such-user: nobody here is called carol"),
        ("/msg alice", "! bad-argument: say /msg NAME TEXT"),
        ("/me", "! bad-argument: say /me TEXT"),
        (
            "/history all",
            "! bad-argument: say /history, or /history 50, or /history 50 100 for those before the last 100",
        ),
        ("/join a b", "! bad-argument: a room name has 1 to 32 characters: letters, digits, _ - ."),
        ("/join dev", "! full: there is no place for another room; see /rooms"),
        // A mistyped /msg must not leak.
        (
            "/mgs alice secret",
            "! unknown-command: there is no /mgs; /help lists what there is, //mgs says it",
        ),
        ("/ msg", "! unknown-command: there is no /; /help lists what there is, // says it"),
    ] {
        bob.hears_after(line, &[answer]);
    }
    alice.hears_nothing();
}

#[test]
fn whoever_comes_in_is_shown_what_was_said() {
    let daemon = Daemon::with(&["--history", "3", "--history-on-join", "2"]);
    let mut alice = daemon.enter("alice");
    for i in 1..=5 {
        alice.say(&format!("line {i}"));
    }
    alice.hears_nothing();
    let mut bob = daemon.enter("bob");
    for expected in ["alice: line 4", "alice: line 5"] {
        let line = bob.line();
        assert!(line.starts_with("~ ") && line.ends_with(expected), "{line}");
    }
    bob.say("/history 10");
    let lines: Vec<String> = (0..3).map(|_| bob.line()).collect();
    assert!(lines[0].ends_with("line 3") && lines[2].ends_with("line 5"), "{lines:?}");
    bob.hears_nothing();
}

#[test]
fn an_unfinished_last_line_counts_and_what_was_asked_for_arrives_before_the_end() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.connect());
    bob.send(b"bob\n/who\n/ping\nno newline");
    bob.end_output();
    alice.hears(&["* bob joined", "bob: no newline", "* bob left"]);
    let heard = bob.rest();
    assert!(
        heard.ends_with("* welcome bob - #lobby, 2 here: alice, bob\n* 2 here: alice, bob\n* pong\n"),
        "{heard}"
    );
}

#[test]
fn a_name_alone_may_be_the_unfinished_last_line() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.connect());
    // "GET" could still become a request line.
    bob.send(b"gustav");
    bob.end_output();
    alice.hears(&["* gustav joined", "* gustav left"]);
    let heard = bob.rest();
    assert!(heard.ends_with("* welcome gustav - #lobby, 2 here: alice, gustav\n"), "{heard}");
    let mut other = daemon.connect();
    other.send(b"GE");
    other.end_output();
    alice.hears(&["* GE joined", "* GE left"]);
}

#[test]
fn a_private_message_reaches_other_rooms_and_nobody_else() {
    let daemon = Daemon::start();
    let (mut alice, mut bob, mut carol) = (daemon.enter("alice"), daemon.enter("bob"), daemon.enter("carol"));
    alice.hears(&["* bob joined", "* carol joined"]);
    bob.hears(&["* carol joined"]);
    alice.hears_after("/join dev", &["* welcome alice - #dev, 1 here: alice"]);
    alice.hears_after("/leave lobby", &["* you left #lobby"]);
    bob.hears(&["* alice left"]);
    carol.hears(&["* alice left"]);
    bob.say("/msg alice psst");
    alice.hears(&["@bob: psst"]);
    bob.say("not for dev");
    carol.hears(&["bob: not for dev"]);
    alice.hears_nothing();
    carol.hears_nothing();
}

#[test]
fn whoever_does_not_say_a_name_is_told_so_and_closed() {
    let daemon = Daemon::with(&["--name-wait", "300ms"]);
    for start in ["\n", "not a name\n"] {
        let mut stubborn = daemon.connect();
        stubborn.send(start.as_bytes());
        assert!(stubborn.rest().ends_with("* bye: you did not say a name in time (timeout)\n"), "{start:?}");
    }
}

#[test]
fn a_request_line_on_a_text_connection_closes_it() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    bob.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nhello\n");
    bob.hears(&["! bad-argument: an HTTP request is not chat; the connection is closed"]);
    bob.hears_the_end();
    alice.hears(&["* bob joined", "* bob left"]);
    alice.hears_nothing();
}

#[test]
fn a_tls_client_is_closed_with_one_line_in_the_log() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    client.hears_the_end();
    daemon.logs("it speaks TLS");
}

#[test]
fn a_fast_speaker_is_read_later_and_loses_nothing() {
    let daemon = Daemon::with(&["--exempt", "none", "--rate", "50", "--burst", "2"]);
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.connect());
    let lines: String = (1..=20).map(|i| format!("line {i}\n")).collect();
    bob.send(format!("bob\n{lines}").as_bytes());
    bob.end_output();
    alice.hears(&["* bob joined"]);
    for i in 1..=20 {
        alice.hears(&[&format!("bob: line {i}")]);
    }
    alice.hears(&["* bob left"]);
    assert!(daemon.metric("roomd_rate_pauses_total") > 0);
}

#[test]
fn in_a_crowd_joins_and_leaves_are_summed_up() {
    let daemon = Daemon::with(&["--quiet-above", "2"]);
    let (mut alice, bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    let _crowd = [daemon.enter("carol"), daemon.enter("dave")];
    drop(bob);
    // What falls into one second is one line; the sums of all lines are what happened.
    let (mut joined, mut left) = (0, 0);
    while (joined, left) != (2, 1) {
        let line = alice.line();
        let (changes, total) = line.strip_prefix("* ").and_then(|l| l.rsplit_once(", ")).expect(&line);
        assert!(total.ends_with(" here"), "{line}");
        for change in changes.split(", ") {
            match change.split_once(' ') {
                Some((count, "joined")) => joined += count.parse::<u32>().expect("a number"),
                Some((count, "left")) => left += count.parse::<u32>().expect("a number"),
                _ => panic!("{line}"),
            }
        }
    }
}

/// `/history` used to be sent whole, and a client that got more than its feed may hold was closed as slow.
#[test]
fn a_long_history_comes_in_parts_and_closes_nobody() {
    let daemon = Daemon::with(&["--feed-bytes", "8KiB"]);
    let mut alice = daemon.enter("alice");
    let mut writer = daemon.enter("writer");
    for i in 0..20 {
        writer.say(&format!("{i:03000}"));
    }
    while !alice.line().ends_with("0019") {}
    // What did not fit is asked for as the answer says.
    let (mut ask, mut parts) = ("/history 50".to_owned(), Vec::new());
    while !ask.is_empty() {
        alice.say(&ask);
        alice.say("/ping");
        let answer: Vec<String> =
            std::iter::from_fn(|| Some(alice.line()).filter(|line| line != "* pong")).collect();
        ask.clear();
        if let Some((told, next)) =
            answer.last().and_then(|line| line.split_once("; for those before them: "))
        {
            let left = 20 - parts.iter().flatten().count();
            assert_eq!(told, format!("* {} of {left} messages", answer.len() - 1));
            next.clone_into(&mut ask);
        }
        parts.insert(0, answer.into_iter().filter(|line| line.starts_with("~ ")).collect::<Vec<_>>());
    }
    assert!(parts.len() > 1, "{parts:?}");
    for (i, line) in parts.iter().flatten().enumerate() {
        assert!(line.ends_with(&format!("{i:03000}")), "{i}");
    }
    assert_eq!(parts.iter().flatten().count(), 20);
    alice.hears_after("/history 5 20", &["* there are no messages before the last 20"]);
    // Nor does the history shown on entering.
    let mut newcomer = daemon.connect();
    newcomer.send(b"late\n/ping\n");
    while newcomer.line() != "* pong" {}
}

#[test]
fn a_space_in_front_of_a_command_does_not_tell_everybody() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears_after(" /msg bob secret", &["* bob joined"]);
    bob.hears(&["@alice: secret"]);
}

#[test]
fn an_http_request_of_any_method_never_becomes_a_name() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut brewer = daemon.connect();
    brewer.send(b"BREW / HTTP/1.1\r\nHost: x\r\n\r\nmallory\r\nhello\r\n");
    assert!(brewer.rest().contains("an HTTP request is not chat"));
    alice.hears_nothing();
}

#[test]
fn before_a_name_there_is_one_command() {
    let daemon = Daemon::start();
    let mut bob = daemon.connect();
    bob.hears_after("/help", &["! name-bad: say a name first: commands work after it; /quit leaves"]);
    bob.hears_after("/Quit", &["* bye"]);
    bob.hears_the_end();
}

/// Whether it has an end does not matter, nor how it is split on its way.
#[test]
fn a_line_of_more_than_64_kib_closes_the_connection() {
    let daemon = Daemon::start();
    for length in [65_537, 70_000, 200_000] {
        let mut bob = daemon.enter("bob");
        bob.send(format!("{}\nnot heard\n", "x".repeat(length)).as_bytes());
        assert!(bob.rest().ends_with("! too-long: a line that does not end is not chat\n"), "{length}");
    }
    let mut bob = daemon.enter("bob");
    bob.send(format!("{}\n/ping\n", "x".repeat(65_536)).as_bytes());
    bob.hears(&["! too-long: a message has at most 4096 bytes; yours was dropped", "* pong"]);
}
