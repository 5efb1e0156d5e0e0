//! Sessions: a connection broke, and somebody comes back.

use serde_json::{Value, json};

use crate::common::ws::frame;
use crate::common::{Client, Daemon, timeless};

/// Says `hello` with a session, and returns the one of the answer.
fn hello(client: &mut Client, name: &str, session: &str) -> String {
    client.say(&json!({"type": "hello", "name": name, "session": session}).to_string());
    let hello = client.json();
    assert_eq!((&hello["type"], &hello["name"]), (&"hello".into(), &name.into()), "{hello}");
    hello["session"].as_str().expect("a session").to_owned()
}

/// Somebody new who is in a session.
fn begin(daemon: &Daemon, name: &str) -> (Client, String) {
    let mut client = daemon.connect();
    let session = hello(&mut client, name, "");
    (client, session)
}

/// The next line is a refusal with this code.
#[track_caller]
fn is_refused(client: &mut Client, code: &str) -> Value {
    let error = client.json();
    assert_eq!((&error["type"], &error["code"]), (&"error".into(), &code.into()), "{error}");
    error
}

fn public(body: &str, reference: &str) -> Value {
    json!({"type": "public", "body": body, "ref": reference})
}

#[test]
fn what_is_said_again_with_the_same_ref_gets_the_first_ack_and_nobody_hears_it() {
    let daemon = Daemon::start();
    let mut watcher = daemon.enter("watcher");
    let (mut alice, session) = begin(&daemon, "alice");
    watcher.hears(&["* alice joined"]);
    alice.say(&public("one", "r1").to_string());
    alice.is_told(json!({"type": "public", "id": 1, "room": "lobby", "from": "alice", "body": "one"}));
    let first = alice.json();
    // On the same connection, and whatever it says now.
    alice.say(&public("other", "r1").to_string());
    assert_eq!(alice.json(), first);
    drop(alice);
    watcher.hears(&["alice: one", "* alice left"]);
    let mut alice = daemon.connect();
    assert_eq!(hello(&mut alice, "alice", &session), session);
    alice.say(&public("one", "r1").to_string());
    assert_eq!(alice.json(), first, "after the break, too");
    alice.say(&public("two", "r2").to_string());
    alice.is_told(json!({"type": "public", "id": 2, "room": "lobby", "from": "alice", "body": "two"}));
    assert_eq!(alice.json()["id"], 2);
    watcher.hears(&["* alice joined", "alice: two"]);
    watcher.hears_nothing();
}

#[test]
fn private_messages_actions_and_nicks_are_done_once_too() {
    let daemon = Daemon::start();
    let (mut alice, _) = begin(&daemon, "alice");
    let mut bob = daemon.enter("bob");
    assert_eq!(alice.json()["type"], "join");
    let requests = [
        json!({"type": "private", "to": "bob", "body": "psst", "ref": "p"}),
        json!({"type": "action", "body": "waves", "ref": "a"}),
        json!({"type": "nick", "name": "Al", "ref": "n"}),
    ];
    for request in requests {
        alice.say(&request.to_string());
        let event = alice.json();
        assert_ne!(event["type"], "ack");
        let first = alice.json();
        alice.say(&request.to_string());
        assert_eq!(alice.json(), first);
    }
    bob.hears(&["@alice: psst", "** alice waves", "* alice is now Al"]);
    bob.hears_nothing();
    // What was refused was not done.
    let refused = json!({"type": "private", "to": "carol", "body": "psst", "ref": "q"});
    alice.say(&refused.to_string());
    is_refused(&mut alice, "no-such-user");
    let _carol = daemon.enter("carol");
    assert_eq!(alice.json()["type"], "join");
    alice.say(&refused.to_string());
    assert_eq!(alice.json()["type"], "private");
}

#[test]
fn the_last_thousand_refs_are_known() {
    let daemon = Daemon::with(&["--history", "10"]);
    let (mut alice, _) = begin(&daemon, "alice");
    for id in 1..=1001 {
        alice.say(&public("x", &format!("r{id}")).to_string());
        assert_eq!((alice.json()["id"].clone(), alice.json()["id"].clone()), (id.into(), id.into()));
    }
    alice.say(&public("x", "r2").to_string());
    let ack = alice.json();
    assert_eq!((&ack["type"], &ack["id"]), (&"ack".into(), &2.into()));
    alice.say(&public("x", "r1").to_string());
    assert_eq!(alice.json()["type"], "public", "it was forgotten");
}

#[test]
fn a_session_keeps_its_name_from_others_until_somebody_continues_it_or_it_is_ended() {
    let daemon = Daemon::start();
    let (alice, session) = begin(&daemon, "alice");
    drop(alice);
    daemon.metric_becomes("roomd_members", 0);
    let mut other = daemon.connect();
    // Nor what looks like it, and not by text either.
    for name in ["alice", "ALICE", "ALlCE"] {
        other.say(&json!({"type": "hello", "name": name}).to_string());
        let error = is_refused(&mut other, "name-taken");
        assert!(error["text"].as_str().is_some_and(|text| text.contains("free to others in ")), "{error}");
    }
    let mut by_text = daemon.connect();
    by_text.say("alice");
    assert!(by_text.line().starts_with("! name-taken: "));
    let mut alice = daemon.connect();
    assert_eq!(hello(&mut alice, "alice", &session), session);
    alice.say(r#"{"type":"quit"}"#);
    assert_eq!(alice.json()["type"], "bye");
    daemon.metric_becomes("roomd_members", 0);
    assert_ne!(hello(&mut other, "alice", &session), session, "it is over, and that is no error");
}

#[test]
fn a_session_goes_on_under_another_name() {
    let daemon = Daemon::start();
    let (alice, session) = begin(&daemon, "alice");
    drop(alice);
    daemon.metric_becomes("roomd_members", 0);
    let mut al = daemon.connect();
    assert_eq!(hello(&mut al, "al", &session), session);
    let (mut alice, _) = begin(&daemon, "alice");
    assert_eq!(timeless(al.json())["type"], "join");
    // A name that cannot be had changes nothing.
    drop(al);
    assert_eq!(alice.json()["type"], "leave");
    let mut al = daemon.connect();
    al.say(&json!({"type": "hello", "name": "alice", "session": session}).to_string());
    is_refused(&mut al, "name-taken");
    assert_eq!(hello(&mut al, "al", &session), session);
}

#[test]
fn a_connection_that_seems_to_live_is_taken_over() {
    let daemon = Daemon::start();
    let mut watcher = daemon.enter("watcher");
    let (mut old, session) = begin(&daemon, "alice");
    old.say(&public("one", "r1").to_string());
    let (_, first) = (old.json(), old.json());
    let mut new = daemon.connect();
    assert_eq!(hello(&mut new, "alice", &session), session);
    old.is_told(json!({"type": "bye", "why": "taken-over"}));
    old.hears_the_end();
    new.say(&public("one", "r1").to_string());
    assert_eq!(new.json(), first);
    watcher.hears(&["* alice joined", "alice: one", "* alice left", "* alice joined"]);
    watcher.hears_nothing();
    daemon.metric_becomes("roomd_members", 2);
    // Its own session is no other one.
    assert_eq!(hello(&mut new, "alice", &session), session);
    assert_eq!(hello(&mut new, "alice", ""), session, "a connection stays in its session");
}

#[test]
fn a_websocket_that_is_taken_over_is_told_so_and_one_that_says_good_bye_ends_its_session() {
    let daemon = Daemon::start();
    let json = |text: String| serde_json::from_str::<Value>(&text).expect("a document");
    let mut page = daemon.with_subprotocol("roomd.json", "");
    page.say(r#"{"type":"hello","name":"alice"}"#);
    let session = json(page.text())["session"].as_str().expect("a session").to_owned();
    let hello_again = json!({"type": "hello", "name": "alice", "session": session}).to_string();
    let mut next = daemon.with_subprotocol("roomd.json", "");
    next.say(&hello_again);
    assert_eq!(json(next.text())["session"], session.as_str());
    assert_eq!(json(page.text()), json!({"type": "bye", "why": "taken-over"}));
    assert_eq!(page.close_code(), 4002);
    next.send_raw(&frame(0x88, &1001_u16.to_be_bytes()));
    daemon.metric_becomes("roomd_members", 0);
    let mut again = daemon.connect();
    assert_eq!(hello(&mut again, "alice", &session), session, "going away is no good-bye");
    let mut last = daemon.with_subprotocol("roomd.json", "");
    last.say(&hello_again);
    assert_eq!(json(last.text())["session"], session.as_str());
    last.send_raw(&frame(0x88, &1000_u16.to_be_bytes()));
    daemon.metric_becomes("roomd_members", 0);
    let mut other = daemon.connect();
    assert_ne!(hello(&mut other, "alice", &session), session);
}

#[test]
fn who_never_says_hello_has_no_session() {
    let daemon = Daemon::start();
    let mut bot = daemon.connect();
    bot.say(r#"{"type":"ping","from":"bot"}"#);
    let hello = bot.json();
    assert_eq!((&hello["type"], &hello["session"]), (&"hello".into(), &Value::Null));
    drop(bot);
    daemon.metric_becomes("roomd_members", 0);
    // As in the seed protocol: its name is free at once.
    let mut bot = daemon.connect();
    bot.say(r#"{"type":"ping","from":"bot"}"#);
    assert_eq!(bot.json()["name"], "bot");
    assert_eq!(bot.json()["type"], "pong");
    // A room that is joined is no introduction.
    bot.say(r#"{"type":"join","room":"dev"}"#);
    assert_eq!(bot.json()["session"], Value::Null);
}
