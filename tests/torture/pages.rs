//! History that is longer than the memory, and rooms that nobody was in for a while.

use std::time::Instant;

use serde_json::json;

use crate::common::{Daemon, PATIENCE};
use crate::rig::{Place, Reader, Talker, message};

/// Somebody says so many things in a room.
fn say_many(daemon: &Daemon, room: &str, count: u64) -> Talker {
    let mut talker = Talker::enter(daemon, "talker", room);
    for i in 1..=count {
        talker.say(&format!("said {i}"), &i.to_string());
    }
    for i in 1..=count {
        assert_eq!(talker.answer(&i.to_string())["id"], i);
    }
    talker
}

fn said(ids: impl Iterator<Item = u64>) -> Vec<(u64, String)> {
    ids.map(|id| (id, format!("said {id}"))).collect()
}

fn page(reader: &mut Reader, fields: serde_json::Value) -> (Vec<(u64, String)>, bool) {
    let (events, more) = reader.page(fields);
    (events.iter().map(message).collect(), more)
}

#[test]
fn history_goes_back_to_the_beginning_whatever_is_in_memory() {
    let place = Place::new();
    let mut daemon = place.daemon(&["--history", "20"]);
    let talker = say_many(&daemon, "dev", 300);
    // The same when it is all in the file only.
    for is_again in [false, true] {
        if is_again {
            daemon = place.daemon(&["--history", "20"]);
        }
        let (mut reader, epoch, newest) = Reader::enter(&daemon, &format!("reader-{is_again}"), "dev");
        assert_eq!((epoch, newest), (talker.epoch, 300));
        let mut before = 301;
        while before > 1 {
            let (messages, more) = page(&mut reader, json!({"before": before, "limit": 50}));
            assert_eq!(messages, said(before - 50..before));
            before -= 50;
            assert_eq!(more, before > 1, "before {before}");
        }
        assert_eq!(page(&mut reader, json!({"before": 1, "limit": 50})), (Vec::new(), false));
        assert_eq!(page(&mut reader, json!({"before": 2})), (said(1..2), false));
        for size in [1, 7, 50, 299, 300, 1000] {
            let (mut after, mut more) = (0, true);
            while more {
                let messages;
                (messages, more) = page(&mut reader, json!({"after": after, "limit": size}));
                let end = 301.min(after + 1 + size);
                assert_eq!(messages, said(after + 1..end), "after {after}, {size} at most");
                after = end - 1;
                assert_eq!(more, after < 300);
            }
            assert_eq!(after, 300);
        }
        assert_eq!(page(&mut reader, json!({"after": 300})), (Vec::new(), false));
        assert_eq!(page(&mut reader, json!({"after": 1_000_000})), (Vec::new(), false));
        assert_eq!(page(&mut reader, json!({"after": 100, "before": 111})), (said(101..111), false));
        assert_eq!(
            page(&mut reader, json!({"after": 275, "before": 290, "limit": 10})),
            (said(276..286), true)
        );
        assert_eq!(page(&mut reader, json!({"limit": 30})), (said(271..301), true));
        assert_eq!(page(&mut reader, json!({"before": 1_000_000, "limit": 300})), (said(1..301), false));
        by_text(&daemon, &format!("netcat-{is_again}"));
        drop(reader);
        daemon.signal("TERM");
        assert!(daemon.wait().0.success());
    }
}

/// The same for who reads text.
fn by_text(daemon: &Daemon, name: &str) {
    let mut netcat = daemon.enter(name);
    let lines = |count: u64, skipped: u64| -> Vec<u64> { (301 - skipped - count..301 - skipped).collect() };
    let mut asks = |request: &str| -> Vec<u64> {
        netcat.say(request);
        netcat.say("/ping");
        let lines = std::iter::from_fn(|| Some(netcat.line()).filter(|line| line != "* pong"));
        lines.filter_map(|line| line.strip_prefix("~ ")?.rsplit_once(" said ")?.1.parse().ok()).collect()
    };
    assert_eq!(asks("/join dev"), lines(10, 0));
    assert_eq!(asks("/history 30 250"), lines(30, 250));
    assert_eq!(asks("/history"), lines(20, 0));
    assert_eq!(asks("/history 40"), lines(40, 0));
    assert_eq!(asks("/history 20 10"), lines(20, 10));
    assert_eq!(asks("/history 5 298"), [1, 2]);
    assert!(asks("/history 5 300").is_empty());
    assert_eq!(asks("/history 1000"), lines(300, 0));
}

#[test]
fn only_the_last_messages_are_kept_and_ids_go_on() {
    let place = Place::new();
    let flags = ["--history", "20", "--keep-messages", "100"];
    let daemon = place.daemon(&flags);
    drop(say_many(&daemon, "dev", 300));
    drop(daemon);
    // It looks what is too old when it starts, and at least once a minute from then on.
    let daemon = place.daemon(&flags);
    let (mut reader, epoch, _) = Reader::enter(&daemon, "reader", "dev");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let kept: Vec<(u64, String)> = reader.all("dev").iter().map(message).collect();
        let first = kept[0].0;
        assert!(first <= 201, "{first} is too many deleted");
        assert_eq!(kept, said(first..301), "no holes while they are deleted");
        if first == 201 {
            break;
        }
        assert!(Instant::now() < deadline, "{first} is still there");
    }
    assert_eq!(page(&mut reader, json!({"before": 206, "limit": 50})), (said(201..206), false));
    assert_eq!(page(&mut reader, json!({"before": 201})), (Vec::new(), false));
    assert_eq!(page(&mut reader, json!({"after": 0, "limit": 7})), (said(201..208), true));
    place.is_sound();
    drop(daemon);
    let daemon = place.daemon(&flags);
    let (mut reader, same_epoch, newest) = Reader::enter(&daemon, "reader-2", "dev");
    assert_eq!((same_epoch, newest), (epoch, 300));
    assert_eq!(reader.ask(json!({"type": "public", "body": "said 301"}))["id"], 301);
}

#[test]
fn a_room_that_made_place_for_others_goes_on_where_it_was() {
    let place = Place::new();
    let daemon = place.daemon(&["--max-rooms", "3"]);
    let talker = say_many(&daemon, "dev", 30);
    let epoch = talker.epoch;
    let mut watcher = talker;
    for round in 0..5 {
        watcher.send(json!({"type": "leave", "ref": "l"}));
        watcher.answer("l");
        // All places are for others now.
        for other in ["a", "b", "c", "d"] {
            watcher.send(json!({"type": "join", "room": format!("{other}{round}"), "ref": "j"}));
            assert_eq!(watcher.answer("j")["type"], "hello");
            watcher.say("here", &format!("{other}{round}"));
            assert_eq!(watcher.answer(&format!("{other}{round}"))["id"], 1);
            watcher.send(json!({"type": "leave", "ref": "l"}));
            watcher.answer("l");
        }
        watcher.send(json!({"type": "rooms", "ref": "r"}));
        let rooms = watcher.answer("r")["rooms"].to_string();
        assert!(!rooms.contains("dev"), "it is not in memory: {rooms}");
        watcher.send(json!({"type": "join", "room": "dev", "ref": "j"}));
        let hello = watcher.answer("j");
        assert_eq!((&hello["epoch"], &hello["id"]), (&epoch.into(), &(30 + round).into()), "{hello}");
        watcher.say(&format!("said {}", 31 + round), &format!("n{round}"));
        assert_eq!(watcher.answer(&format!("n{round}"))["id"], 31 + round);
        watcher.send(json!({"type": "history", "limit": 1000, "ref": "h"}));
        let history = watcher.answer("h");
        let kept: Vec<(u64, String)> = history["events"].as_array().unwrap().iter().map(message).collect();
        assert_eq!((kept, &history["more"]), (said(1..32 + round), &false.into()));
    }
    // A ref that was used before it made place is known after it.
    watcher.say("said 7", "7");
    assert_eq!(watcher.answer("7")["id"], 7);
}

#[test]
fn a_room_in_which_nothing_was_said_may_begin_anew_and_others_may_not() {
    let place = Place::new();
    let daemon = place.daemon(&["--max-rooms", "2"]);
    let (mut reader, _, _) = Reader::enter(&daemon, "reader", "lobby");
    for room in ["silent", "loud", "other"] {
        assert_eq!(reader.ask(json!({"type": "join", "room": room}))["id"], 0);
        if room == "loud" {
            assert_eq!(reader.ask(json!({"type": "public", "body": "x"}))["id"], 1);
        }
        reader.ask(json!({"type": "leave"}));
    }
    assert_eq!(reader.ask(json!({"type": "join", "room": "loud"}))["id"], 1);
    place.is_sound();
}
