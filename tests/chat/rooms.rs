//! Several rooms at once.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::chat;
use crate::daemon::{Daemon, Netcat};
use crate::fake::{Fake, Peer, message, message_in};
use crate::pty::{Terminal, without_time};

/// Waits until the rows above the empty prompt end with this one: where one is, and what is unread.
fn wait_bar(terminal: &Terminal, bar: &str) -> Vec<String> {
    terminal.wait(bar, |rows| rows.ends_with(&[bar.to_owned(), ">".to_owned()]))
}

/// How many rows are this behind their time.
fn count(rows: &[String], text: &str) -> usize {
    rows.iter().filter(|row| without_time(row) == text).count()
}

/// Alice in the lobby and in #dev, which is the current one.
fn in_two() -> (Fake, Terminal, Peer) {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    terminal.enter("/join dev");
    let join = peer.expect("join");
    peer.hello_in("dev", &join, 0, 1);
    wait_bar(&terminal, "#dev");
    (fake, terminal, peer)
}

#[test]
fn what_is_said_elsewhere_is_labelled_and_counted() {
    let (_fake, mut terminal, mut peer) = in_two();
    terminal.press("half a line");
    let ts = 1_767_323_045_000_u64;
    for event in [
        message_in("dev", 1, "bob", "here"),
        message(1, "bob", "there"),
        json!({"type": "action", "id": 2, "ts": ts, "room": "lobby", "from": "bob", "body": "waves"}),
        json!({"type": "join", "ts": ts, "room": "lobby", "name": "carol", "total": 3}),
        message_in("dev", 2, "bob", "#lobby carol  I am in the lobby"),
    ] {
        peer.send(&event);
    }
    let rows = terminal
        .wait("a bar", |rows| rows.ends_with(&["#dev [#lobby 2]".to_owned(), "> half a line".to_owned()]));
    let last: Vec<_> = rows.iter().rev().skip(2).take(5).rev().map(|row| without_time(row)).collect();
    let fake = "bob  #lobby carol  I am in the lobby";
    assert_eq!(
        last,
        ["bob  here", "#lobby bob  there", "#lobby **  bob waves", "#lobby *  carol joined", fake]
    );
    peer.said(3, "bob", "Alice?");
    terminal.wait("a mention", |rows| rows.iter().any(|row| row == "#dev [#lobby 3!]"));
    terminal.wait_screen("a dimmed label", |screen| {
        let row = screen.rows(0, 80).position(|row| row.contains("#lobby bob  Alice?"));
        let dim = |text: &str| {
            let row = row? as u16;
            let column = screen.rows(0, 80).nth(row.into())?.find(text)?;
            Some(screen.cell(row, column as u16)?.dim())
        };
        dim("#lobby") == Some(true) && dim("bob") == Some(false)
    });
}

#[test]
fn keys_turn_to_other_rooms_and_send_nothing() {
    let (_fake, mut terminal, mut peer) = in_two();
    terminal.enter("/join ops");
    let join = peer.expect("join");
    peer.hello_in("ops", &join, 0, 1);
    wait_bar(&terminal, "#ops");
    peer.said(1, "bob", "hi");
    wait_bar(&terminal, "#ops [#lobby 1]");
    terminal.press("\t");
    wait_bar(&terminal, "#lobby");
    terminal.press("\x1bOQ");
    wait_bar(&terminal, "#dev");
    terminal.press("\t");
    wait_bar(&terminal, "#ops");
    // The line stays as it is.
    terminal.press("to the l\x1bOP");
    terminal.wait("the lobby", |rows| rows.ends_with(&["#lobby".into(), "> to the l".into()]));
    terminal.press("\x1bn");
    terminal.wait("the next one", |rows| rows.ends_with(&["#dev".into(), "> to the l".into()]));
    terminal.press("\x1bOP");
    terminal.wait("the lobby", |rows| rows.ends_with(&["#lobby".into(), "> to the l".into()]));
    terminal.press("obby\r");
    let request = peer.expect("public");
    assert_eq!((&request["room"], &request["body"]), (&json!("lobby"), &json!("to the lobby")));
}

#[test]
fn completion_knows_the_people_of_the_current_room_and_the_rooms() {
    let (_fake, mut terminal, mut peer) = in_two();
    for (room, name) in [("lobby", "carol"), ("dev", "caspar")] {
        peer.send(&json!({"type": "join", "ts": 1, "room": room, "name": name, "total": 3}));
        let label = if room == "dev" { "" } else { "#lobby " };
        terminal.wait_row(&format!("{label}*  {name} joined"));
    }
    terminal.press("ca\t");
    terminal.wait_prompt("> caspar:");
    terminal.press("\x03");
    terminal.wait_prompt(">");
    terminal.press("/join lo\t\r");
    wait_bar(&terminal, "#lobby");
    terminal.press("ca\t");
    terminal.wait_prompt("> carol:");
}

#[test]
fn all_rooms_come_back_with_what_was_missed_and_typed() {
    let (fake, mut terminal, mut peer) = in_two();
    terminal.enter("arrived");
    let arrived = peer.expect("public");
    drop(peer);
    terminal.wait("the bad news", |rows| rows.iter().any(|row| row.contains("connection lost")));
    terminal.enter("typed while away");
    let mut peer = fake.accept();
    let hello = peer.expect("hello");
    assert_eq!((&hello["room"], &hello["rooms"]), (&json!("dev"), &json!(["dev", "lobby"])));
    peer.hello_in("dev", &hello, 1, 1);
    peer.room("dev", 1, 1);
    peer.room("lobby", 1, 1);
    let request = peer.expect("history");
    assert_eq!((&request["room"], &request["after"]), (&json!("dev"), &json!(0)));
    peer.history(&request, &[message_in("dev", 1, "alice", "arrived")]);
    let request = peer.expect("history");
    assert_eq!((&request["room"], &request["after"]), (&json!("lobby"), &json!(0)));
    peer.history(&request, &[message(1, "bob", "missed")]);
    assert_eq!(peer.request().as_ref(), Some(&arrived));
    peer.ack(&arrived, Some(1));
    let request = peer.expect("public");
    assert_eq!((&request["room"], &request["body"]), (&json!("dev"), &json!("typed while away")));
    peer.confirm(&request, 2, "alice");
    terminal.wait_row("alice  typed while away");
    let rows = wait_bar(&terminal, "#dev [#lobby 1]");
    for text in ["alice  arrived", "#lobby bob  missed", "alice  typed while away"] {
        // Without colours dimmed, which a mark would say else.
        assert_eq!(count(&rows, text), 1, "{text}: {rows:#?}");
    }

    drop(peer);
    let mut peer = fake.accept();
    let hello = peer.expect("hello");
    peer.hello_in("dev", &hello, 2, 1);
    peer.send(&json!({"type": "error", "code": "full", "text": "there are 100 rooms", "room": "lobby",
        "ref": hello["ref"]}));
    terminal.wait_row("!  you are not in #lobby any more: there are 100 rooms");
    terminal.wait_prompt(">");
}

#[test]
fn a_pipe_in_several_rooms_labels_what_is_said_elsewhere() {
    let fake = Fake::new();
    let mut command = chat(&fake.address, &["--name", "alice", "--room", "#dev", "--room", "ops"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"one\n/join lobby\ntwo\n").unwrap();
    let mut peer = fake.accept();
    let hello = peer.expect("hello");
    assert_eq!((&hello["room"], &hello["rooms"]), (&json!("dev"), &json!(["dev", "ops"])));
    peer.hello_in("dev", &hello, 0, 1);
    peer.room("ops", 0, 1);
    let request = peer.expect("public");
    assert_eq!((&request["room"], &request["body"]), (&json!("dev"), &json!("one")));
    peer.confirm(&request, 1, "alice");
    let join = peer.expect("join");
    peer.hello_in("lobby", &join, 0, 1);
    let request = peer.expect("public");
    assert_eq!((&request["room"], &request["body"]), (&json!("lobby"), &json!("two")));
    for (room, body) in [("lobby", "here"), ("ops", "two\nlines")] {
        peer.send(&message_in(room, 1, "bob", body));
    }
    peer.confirm(&request, 2, "alice");
    peer.farewell();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "2026-01-02T03:04:05Z bob: here\n\
         2026-01-02T03:04:05Z #ops bob: two\n\
         2026-01-02T03:04:05Z #ops bob: lines\n"
    );
}

#[test]
fn one_talks_in_two_rooms_of_the_daemon() {
    let daemon = Daemon::start();
    let mut bob = Netcat::start(&daemon.address, "bob");
    let mut dan = Netcat::start(&daemon.address, "dan");
    dan.say("/join dev");
    dan.say("/leave lobby");
    dan.hears("* you left #lobby");
    let mut alice =
        Terminal::start(&daemon.address, &["--name", "alice", "--room", "dev", "--room", "lobby"]);
    alice.wait_row("·  you are alice in #lobby, 2 here: alice, bob");
    wait_bar(&alice, "#dev");
    alice.enter("hello dev");
    dan.hears("alice: hello dev");
    bob.say("hello alice");
    alice.wait_row("#lobby bob  hello alice");
    wait_bar(&alice, "#dev [#lobby 1!]");
    assert_eq!(alice.written(b"\x07"), 1);
    alice.press("\t");
    wait_bar(&alice, "#lobby");
    alice.enter("hello bob");
    bob.hears("alice: hello bob");
    dan.say("who is there?");
    alice.wait_row("#dev dan  who is there?");
    alice.enter("/who dev");
    alice.wait_row("#dev ·  2 here: alice, dan");
    alice.enter("/nick al");
    bob.hears("* alice is now al");
    dan.hears("* alice is now al");
    alice.enter("/leave");
    alice.wait_row("·  you left #lobby");
    bob.hears("* al left");
    alice.enter("only dev");
    dan.hears("al: only dev");
    alice.enter("/leave");
    alice.wait_row("·  you are al in #lobby, 2 here: al, bob");
    dan.hears("* al left");
    let rows = alice.wait_prompt("> ");
    assert!(rows.iter().all(|row| !row.ends_with("only dev") || row.contains(" al  only dev")), "{rows:#?}");
}

/// Everything typed around a restart was said once in the room that it was typed for, before it or after it.
#[test]
fn typing_in_two_rooms_through_a_restart_loses_and_doubles_nothing() {
    const LINES: usize = 24;
    let daemon = Daemon::start();
    let address = daemon.address.clone();
    let mut alice = Terminal::start(&address, &["--name", "alice", "--room", "lobby", "--room", "dev"]);
    wait_bar(&alice, "#lobby");
    let mut enter = |from: usize, to: usize| {
        for number in from..=to {
            alice.press("\t");
            alice.enter(&format!("line {number}"));
        }
    };
    enter(1, LINES / 2);
    let mut before = Vec::new();
    let mut said = |daemon: &Daemon| {
        for (room, odd) in [("dev", 1), ("lobby", 0)] {
            let record = daemon.record_of(room);
            let number = |line: &String| line.strip_prefix("line ").unwrap().parse::<usize>().unwrap();
            let numbers: Vec<_> = record.iter().map(number).collect();
            assert!(
                numbers.is_sorted() && numbers.iter().all(|number| number % 2 == odd),
                "{room}: {numbers:?}"
            );
            before.extend(numbers);
        }
    };
    // One is known to have arrived, others may be on their way while it goes.
    alice.wait_row("alice  line 12");
    said(&daemon);
    daemon.terminate();
    let mut enter = |from: usize, to: usize| {
        for number in from..=to {
            alice.press("\t");
            alice.enter(&format!("line {number}"));
        }
    };
    enter(LINES / 2 + 1, LINES * 3 / 4);
    let daemon = Daemon::listen(&address, &[]);
    enter(LINES * 3 / 4 + 1, LINES);
    alice.wait_row(&format!("alice  line {LINES}"));
    wait_bar(&alice, "#lobby");
    said(&daemon);
    before.sort_unstable();
    assert_eq!(before, (1..=LINES).collect::<Vec<_>>());
}

#[test]
fn a_room_that_the_daemon_does_not_give_back_is_told() {
    let daemon = Daemon::start();
    let address = daemon.address.clone();
    let mut alice = Terminal::start(&address, &["--name", "alice", "--room", "lobby", "--room", "dev"]);
    wait_bar(&alice, "#lobby");
    daemon.terminate();
    alice.press("\x1bn");
    let _daemon = Daemon::listen(&address, &["--max-joined", "1"]);
    alice.wait("a line that says so", |rows| {
        rows.iter().any(|row| row.contains("!  you are not in #lobby any more: "))
            && rows.iter().any(|row| row.contains("back as alice in #dev after "))
            && rows.last().is_some_and(|row| row == ">")
    });
    alice.enter("still here");
    alice.wait_row("alice  still here");
    alice.enter("/join ops");
    alice.wait("a refusal", |rows| rows.iter().any(|row| row.ends_with("done: /join ops")));
    alice.enter("here again");
    alice.wait_row("alice  here again");
}
