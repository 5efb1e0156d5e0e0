//! Connections that break at the worst moment.

use serde_json::json;

use crate::fake::{Fake, message};
use crate::pty::Terminal;

/// How many rows show this text.
fn count(rows: &[String], text: &str) -> usize {
    rows.iter().filter(|row| row.contains(text)).count()
}

#[test]
fn a_break_between_write_and_ack_neither_loses_nor_doubles() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(4, 1);
    let request = peer.expect("history");
    peer.history(&request, &[]);
    terminal.wait_prompt("> ");
    for line in ["arrived", "/msg bob arrived, too", "did not"] {
        terminal.enter(line);
    }
    let sent = ["public", "private", "public"].map(|kind| peer.expect(kind));
    drop(peer);
    terminal.wait("the bad news", |rows| count(rows, "connection lost") == 1);
    terminal.enter("typed while away");

    let mut peer = fake.accept();
    let hello = peer.expect("hello");
    assert_eq!(hello["session"], format!("{:032x}", 1));
    peer.hello(&hello, 6, 1);
    let request = peer.expect("history");
    assert_eq!(request["after"], 4);
    let events = [message(5, "bob", "missed"), message(6, "alice", "arrived")];
    peer.history(&request, &events);
    for (request, id) in sent.iter().zip([Some(6), None]) {
        assert_eq!(peer.request().as_ref(), Some(request));
        peer.ack(request, id);
    }
    assert_eq!(peer.request().as_ref(), Some(&sent[2]));
    peer.confirm(&sent[2], 7, "alice");
    let request = peer.expect("public");
    assert_eq!(request["body"], "typed while away");
    peer.confirm(&request, 8, "alice");
    let is_all = |rows: &[String]| count(rows, "alice  typed while away") == 1 && count(rows, "…  ") == 0;
    let rows = terminal.wait("all of it", is_all);
    for text in
        ["bob  missed", "alice  arrived", "you → bob  arrived, too", "alice  did not", "missed 1 message"]
    {
        assert_eq!(count(&rows, text), 1, "{text}: {rows:#?}");
    }
    terminal.enter("/quit");
    peer.farewell();
    assert_eq!(terminal.end(), 0);
}

/// It knows nothing of what was said to the last one.
#[test]
fn after_a_restart_nothing_is_said_that_may_have_been_said_before() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(40, 1);
    let request = peer.expect("history");
    peer.history(&request, &[]);
    terminal.wait_prompt("> ");
    terminal.enter("in doubt");
    terminal.enter("/who");
    peer.expect("public");
    peer.expect("users");
    drop(peer);
    terminal.wait("the bad news", |rows| count(rows, "connection lost") == 1);
    terminal.enter("not in doubt");

    let mut peer = fake.welcome(1, 2);
    let request = peer.expect("history");
    assert_eq!(request["after"], 0);
    peer.history(&request, &[message(1, "bob", "first in the new room")]);
    let request = peer.expect("users");
    peer.send(
        &json!({"type": "users", "room": "lobby", "users": ["alice"], "total": 1, "ref": request["ref"]}),
    );
    let request = peer.expect("public");
    assert_eq!(request["body"], "not in doubt");
    peer.confirm(&request, 2, "alice");
    let rows = terminal.wait_row("alice  not in doubt");
    for text in
        ["this may not have arrived: in doubt", "began anew", "first in the new room", "1 here: alice"]
    {
        assert_eq!(count(&rows, text), 1, "{text}: {rows:#?}");
    }
}

#[test]
fn who_is_taken_over_is_told_and_ends() {
    let fake = Fake::new();
    let terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    peer.send(&json!({"type": "bye", "why": "taken-over"}));
    terminal
        .wait("a last sentence", |rows| count(rows, "!  this session goes on elsewhere, and ends here") == 1);
    assert_eq!(terminal.end(), 0);
}

#[test]
fn many_unconfirmed_lines_are_kept_in_order() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    drop(peer);
    terminal.wait("the bad news", |rows| count(rows, "connection lost") == 1);
    for number in 1..=9 {
        terminal.enter(&format!("line {number}"));
    }
    terminal.wait("five of nine", |rows| count(rows, "(and 4 more)") == 1);
    let mut peer = fake.welcome(0, 1);
    for number in 1..=9 {
        let request = peer.expect("public");
        assert_eq!(request["body"], format!("line {number}"));
        peer.confirm(&request, number, "alice");
    }
    let rows = terminal.wait_row("alice  line 9");
    for number in 1..=9 {
        assert_eq!(count(&rows, &format!("line {number}")), 1, "{rows:#?}");
    }
}
