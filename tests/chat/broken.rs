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
    terminal.enter("arrived");
    terminal.enter("did not");
    peer.expect("public");
    peer.expect("public");
    drop(peer);
    terminal.wait("the bad news", |rows| count(rows, "connection lost") == 1);
    terminal.enter("typed while away");

    let mut peer = fake.welcome(6, 1);
    let request = peer.expect("history");
    assert_eq!(request["after"], 4);
    let events = [message(5, "bob", "missed"), message(6, "alice", "arrived")];
    peer.history(&request, &events);
    for (id, body) in [(7, "did not"), (8, "typed while away")] {
        let request = peer.expect("public");
        assert_eq!(request["body"], body);
        peer.confirm(&request, id, "alice");
    }
    let rows = terminal.wait_row("alice  typed while away");
    for text in ["bob  missed", "alice  arrived", "alice  did not", "missed 1 message"] {
        assert_eq!(count(&rows, text), 1, "{text}: {rows:#?}");
    }
    terminal.enter("/quit");
    peer.farewell();
    assert_eq!(terminal.end(), 0);
}

#[test]
fn after_a_restart_the_new_record_decides() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(40, 1);
    let request = peer.expect("history");
    peer.history(&request, &[]);
    terminal.wait_prompt("> ");
    terminal.enter("in the record");
    terminal.enter("in doubt");
    peer.expect("public");
    peer.expect("public");
    drop(peer);

    let mut peer = fake.welcome(2, 2);
    let request = peer.expect("history");
    assert_eq!(request["after"], 0);
    let events = [message(1, "bob", "first in the new room"), message(2, "alice", "in the record")];
    peer.history(&request, &events);
    let request = peer.expect("public");
    assert_eq!(request["body"], "in doubt");
    peer.confirm(&request, 3, "alice");
    let rows = terminal.wait_row("alice  in doubt");
    for text in ["in doubt", "began anew", "first in the new room", "in the record"] {
        assert_eq!(count(&rows, text), 1, "{text}: {rows:#?}");
    }
}

#[test]
fn the_own_name_is_taken_back_from_the_broken_connection() {
    let fake = Fake::new();
    let terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    drop(fake.welcome(0, 1));
    for _ in 0..2 {
        let mut peer = fake.accept();
        let hello = peer.expect("hello");
        assert_eq!(hello["name"], "alice");
        peer.send(&json!({"type": "error", "code": "name-taken", "text": "in use",
            "ref": hello["ref"]}));
    }
    let _peer = fake.welcome(0, 1);
    terminal.wait("that we are back", |rows| count(rows, "back as alice in #lobby") == 1);
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
