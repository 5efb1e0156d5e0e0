//! What does not happen every day: full houses, refusals in a row, last lines without an end.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Client, Daemon};
use crate::rig::{Place, Talker, becomes_healthy};

/// A program in one room after the other; all of them are empty then.
fn visit(daemon: &Daemon, name: &str, rooms: &[&str]) {
    for room in rooms {
        let mut talker = Talker::enter(daemon, name, room);
        talker.say(&format!("in {room}"), "r");
        assert_eq!(talker.answer("r")["type"], "ack");
        talker.send(json!({"type": "quit"}));
        daemon.metric_becomes("roomd_members", 0);
    }
}

fn rooms(client: &mut Client) -> Vec<String> {
    client.say(r#"{"type":"rooms"}"#);
    let list = client.json()["rooms"].as_array().expect("a list").clone();
    list.iter().map(|room| room["name"].as_str().unwrap().to_owned()).collect()
}

/// All that is answered until the end.
fn answers(mut client: Client) -> Vec<Value> {
    client.end_output();
    client.rest().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_rooms_of_one_hello_do_not_make_place_for_each_other() {
    let place = Place::new();
    let daemon = place.daemon(&["--max-rooms", "3"]);
    visit(&daemon, "alice", &["r0"]);
    let _kept = Talker::enter(&daemon, "kay", "kept");
    let mut bob = daemon.connect();
    bob.say(r#"{"type":"hello","name":"bob","room":"r0","rooms":["r0","r1"]}"#);
    let hello = bob.json();
    assert_eq!((&hello["type"], &hello["room"], &hello["id"]), (&"hello".into(), &"r0".into(), &1.into()));
    assert_eq!(bob.json()["type"], "room");
    let error = bob.json();
    assert_eq!((&error["code"], &error["room"]), (&"full".into(), &"r1".into()), "{error}");
}

#[test]
fn the_room_that_was_used_last_is_the_last_to_make_place() {
    let place = Place::new();
    let daemon = place.daemon(&["--max-rooms", "5"]);
    visit(&daemon, "alice", &["oldest", "middle", "newer", "newest"]);
    daemon.signal("TERM");
    drop(daemon);
    let daemon = place.daemon(&["--max-rooms", "5"]);
    let mut bob = daemon.enter_json("bob");
    bob.say(r#"{"type":"join","room":"brandnew"}"#);
    assert_eq!(bob.json()["type"], "hello");
    assert_eq!(rooms(&mut bob), ["brandnew", "lobby", "middle", "newer", "newest"]);
}

#[test]
fn what_was_refused_in_between_does_not_make_a_ref_forgotten() {
    let place = Place::new();
    let mut daemon = place.daemon(&[]);
    let mut alice = Talker::enter(&daemon, "alice", "lobby");
    alice.say("pay 100", "order-1");
    let first = alice.answer("order-1");
    let aside = place.path("aside");
    fs::rename(place.data(), &aside).unwrap();
    for _ in 0..1000 {
        alice.say("pay 200", "order-2");
        assert_eq!(alice.answer("order-2")["code"], "not-saved");
    }
    fs::rename(&aside, place.data()).unwrap();
    becomes_healthy(&daemon);
    alice.say("pay 200", "order-2");
    assert_eq!(alice.answer("order-2")["id"], 2);
    daemon.signal("KILL");
    daemon.wait();
    daemon = place.daemon(&[]);
    let mut alice = Talker::come_back(&daemon, "alice", "lobby", &alice.session);
    alice.say("pay 100", "order-1");
    assert_eq!(alice.answer("order-1"), first);
}

#[test]
fn a_last_line_without_an_end_is_answered_like_any_other() {
    let place = Place::new();
    let daemon = place.daemon(&["--history", "7"]);
    let mut alice = Talker::enter(&daemon, "alice", "dev");
    for n in 1..=30 {
        alice.say(&format!("{n}"), &format!("r{n}"));
        alice.answer(&format!("r{n}"));
    }
    let mut bob = daemon.connect();
    bob.send(b"{\"type\":\"hello\",\"name\":\"bob\",\"room\":\"dev\"}\n{\"type\":\"history\",\"before\":5,\"ref\":\"q\"}");
    let told = answers(bob);
    let history = told.iter().find(|told| told["type"] == "history").expect("an answer");
    assert_eq!(history["events"].as_array().unwrap().len(), 4, "{history}");
    // A room that has to be opened first.
    let mut carol = daemon.connect();
    carol.send(br#"{"type":"hello","name":"carol","room":"elsewhere","ref":"h"}"#);
    let told = answers(carol);
    assert_eq!((&told[0]["type"], &told[0]["room"]), (&"hello".into(), &"elsewhere".into()), "{told:?}");
}

#[test]
fn what_is_not_kept_is_not_shown_though_the_file_may_have_it_a_while() {
    let place = Place::new();
    let daemon = place.daemon(&["--keep-messages", "5"]);
    let mut alice = Talker::enter(&daemon, "alice", "lobby");
    for n in 1..=50 {
        alice.say(&format!("{n}"), &format!("r{n}"));
        alice.answer(&format!("r{n}"));
    }
    let mut bob = daemon.enter_json("bob");
    for (query, ids) in
        [(json!({}), vec![46, 47, 48, 49, 50]), (json!({"after": 3, "limit": 2}), vec![46, 47])]
    {
        let mut query = query;
        query["type"] = "history".into();
        bob.say(&query.to_string());
        let history = bob.json();
        let events = history["events"].as_array().unwrap();
        let shown: Vec<u64> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
        assert_eq!((shown, &history["more"]), (ids.clone(), &(ids.len() == 2).into()), "{query}");
    }
}

/// A session that is taken over may be all that was in a room: who takes it over is in that room all the same.
#[test]
fn who_takes_a_session_over_is_in_the_room_that_it_names_or_nothing_has_changed() {
    for is_lasting in [false, true] {
        let place = Place::new();
        let flags = ["--exempt", "none", "--room-rate", "none", "--rate", "none"];
        let daemon = if is_lasting { place.daemon(&flags) } else { Daemon::with(&flags) };
        let mia = daemon.stream_from(std::net::Ipv4Addr::new(127, 0, 0, 6));
        let mut mia = Client::new(mia);
        mia.say(r#"{"type":"hello","name":"mia","room":"r"}"#);
        let session = mia.json()["session"].as_str().unwrap().to_owned();
        let mut kay = Client::new(daemon.stream_from(std::net::Ipv4Addr::new(127, 0, 0, 5)));
        let rooms: Vec<String> = (0..16).map(|n| format!("k{n}")).collect();
        kay.say(&json!({"type": "hello", "name": "kay", "rooms": rooms}).to_string());
        assert_eq!(kay.json()["type"], "hello");
        (0..16).for_each(|_| assert_eq!(kay.json()["type"], "room"));
        let hello = json!({"type": "hello", "name": "mia", "session": session, "room": "r", "ref": "H"});
        kay.say(&hello.to_string());
        let answer = loop {
            let told = kay.json();
            if told["ref"] == "H" {
                break told;
            }
        };
        assert_eq!((&answer["type"], &answer["room"]), (&"hello".into(), &"r".into()), "{answer}");
    }
}
