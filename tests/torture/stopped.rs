//! SIGTERM while something is being saved.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::common::Daemon;
use crate::rig::{Place, Reader, Rng, Talker, message};

/// Says so many things at once.
const SAID: usize = 60;

fn say_all(talker: &mut Talker) {
    let said =
        |i: usize| json!({"type": "public", "body": format!("said {i}"), "ref": i.to_string()}).to_string();
    talker.client.say(&(0..SAID).map(said).collect::<Vec<String>>().join("\n"));
}

/// What is heard until the end: how many acks, from the first on, and then `bye`.
#[track_caller]
fn acks_then_bye(talker: &mut Talker) -> usize {
    let rest = talker.client.rest();
    let rest: Vec<Value> = rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, before) = rest.split_last().expect("a good-bye");
    assert_eq!(*last, json!({"type": "bye", "why": "shutdown"}));
    let acks: Vec<&Value> = before.iter().filter(|document| document["ref"].is_string()).collect();
    for (i, ack) in acks.iter().enumerate() {
        assert_eq!((&ack["type"], &ack["ref"]), (&"ack".into(), &i.to_string().into()), "{ack}");
    }
    talker.heard.extend(before.iter().cloned());
    acks.len()
}

/// It is as it was: what was acknowledged is there, and what was not can be said again.
fn goes_on(place: &Place, before: &Talker, acks: usize) {
    place.is_sound();
    let daemon = place.daemon(&[]);
    let mut after = Talker::come_back(&daemon, "alice", "lobby", &before.session);
    assert_eq!((after.epoch, &after.session), (before.epoch, &before.session));
    let mut reader = Reader::enter(&daemon, "reader", "lobby").0;
    let kept: Vec<(u64, String)> = reader.all("lobby").iter().map(message).collect();
    assert!(kept.len() >= acks, "{acks} were acknowledged, {} are there", kept.len());
    assert!(kept.starts_with(&before.messages()), "what was seen is there");
    say_all(&mut after);
    for i in 0..SAID {
        assert_eq!(after.answer(&i.to_string())["id"], i as u64 + 1);
    }
    let all = |i: usize| (i as u64 + 1, format!("said {i}"));
    assert!(reader.all("lobby").iter().map(message).eq((0..SAID).map(all)), "each is there once");
}

fn ends_well(daemon: &mut Daemon) {
    let (status, log) = daemon.wait();
    assert!(status.success() && !log.iter().any(|line| line.contains("ERROR")), "{status} {log:#?}");
}

#[test]
fn what_is_being_saved_when_it_is_stopped_is_acknowledged_before_the_good_bye() {
    let place = Place::new();
    let mut daemon = place.daemon(&[]);
    let mut alice = Talker::enter(&daemon, "alice", "lobby");
    let mut bob = Talker::enter(&daemon, "bob", "lobby");
    daemon.metric_becomes("roomd_store_asks_waiting", 0);
    let lock = Connection::open(place.data()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    say_all(&mut alice);
    while daemon.metric("roomd_store_asks_waiting") == 0 {}
    daemon.signal("TERM");
    // It has heard that: who is idle is told.
    bob.client.is_told(json!({"type": "bye", "why": "shutdown"}));
    lock.execute_batch("ROLLBACK").unwrap();
    let acks = acks_then_bye(&mut alice);
    ends_well(&mut daemon);
    goes_on(&place, &alice, acks);
}

#[test]
fn stopped_at_any_moment_nothing_that_was_acknowledged_is_lost() {
    let mut rng = Rng(std::process::id().into());
    for _ in 0..12 {
        let place = Place::new();
        let mut daemon = place.daemon(&[]);
        let mut alice = Talker::enter(&daemon, "alice", "lobby");
        say_all(&mut alice);
        let heard_first = rng.below(SAID);
        for i in 0..heard_first {
            alice.answer(&i.to_string());
        }
        daemon.signal("TERM");
        for i in heard_first.. {
            let document = loop {
                let document = alice.client.json();
                if document["ref"].is_string() || document["type"] == "bye" {
                    break document;
                }
                alice.heard.push(document);
            };
            if document["type"] == "bye" {
                alice.client.hears_the_end();
                ends_well(&mut daemon);
                goes_on(&place, &alice, i);
                break;
            }
            assert_eq!((&document["type"], &document["ref"]), (&"ack".into(), &i.to_string().into()));
        }
    }
}
