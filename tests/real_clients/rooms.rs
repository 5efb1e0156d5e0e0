//! Several rooms at once, in all dialects.

use serde_json::json;

use crate::common::Daemon;

#[test]
fn lines_of_other_rooms_have_the_room_in_front() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    alice.hears_after("/join dev", &["* welcome alice - #dev, 1 here: alice"]);
    // Who is asked for nothing hears of nothing but rooms.
    bob.hears_after("/join #Dev", &["* welcome bob - #dev, 2 here: alice, bob"]);
    alice.hears(&["* bob joined"]);
    bob.hears_after("/join lobby", &["* welcome bob - #lobby, 2 here: alice, bob"]);
    bob.say("hi");
    bob.say("/me waves");
    alice.hears(&["#lobby bob: hi", "#lobby ** bob waves"]);
    alice.say("and here");
    bob.hears(&["#dev alice: and here"]);
    let _carol = daemon.enter("carol");
    bob.hears(&["* carol joined"]);
    alice.hears(&["#lobby * carol joined"]);
    alice.hears_after("/who", &["* 2 here: alice, bob"]);
    alice.hears_after("/who lobby", &["* 3 here: alice, bob, carol"]);
    alice.hears_after("/rooms", &["* 2 rooms: #dev (2, current), #lobby (3, joined)"]);
    alice.say("/history");
    assert!(alice.line().ends_with(" alice: and here"), "of the current room");
    alice.hears_nothing();
    bob.hears_nothing();
    // Who hears a room beside another one is counted like everybody.
    let deliveries = daemon.metric("roomd_deliveries_total");
    alice.say("counted");
    bob.hears(&["#dev alice: counted"]);
    assert_eq!(daemon.metric("roomd_deliveries_total"), deliveries + 1);
    assert_eq!((daemon.metric("roomd_members"), daemon.metric("roomd_memberships")), (3, 5));
}

/// Otherwise a line that is read as one of another room was said by anybody.
#[test]
fn nobody_can_make_a_line_of_another_room() {
    let daemon = Daemon::with(&["--history-on-join", "none"]);
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter_json("bob"));
    alice.hears(&["* bob joined"]);
    bob.say(r#"{"type":"public","body":"x\n#dev carol: hi"}"#);
    bob.say(r##"{"type":"private","to":"alice","body":"#dev * carol left"}"##);
    alice.hears(&["bob: x", "bob: #dev carol: hi", "@bob: #dev * carol left"]);
    let mut eve = daemon.connect();
    let rule = "! name-bad: a name has 1 to 32 characters: letters, digits, _ - .";
    eve.hears_after("#dev", &[rule]);
    eve.hears_after("eve", &["* welcome eve - #lobby, 3 here: alice, bob, eve"]);
    eve.hears_after("/nick #dev", &[rule]);
    eve.say("#dev carol: hi");
    alice.hears(&["* eve joined", "eve: #dev carol: hi"]);
}

#[test]
fn whoever_leaves_a_room_stays_in_the_others_and_the_last_one_is_left_for_the_lobby() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    bob.hears_after("/join dev", &["* welcome bob - #dev, 1 here: bob"]);
    bob.hears_after("/join ops", &["* welcome bob - #ops, 1 here: bob"]);
    bob.hears_after("/leave lobby", &["* you left #lobby"]);
    alice.hears(&["* bob left"]);
    bob.hears_after("/leave lobby", &["! not-here: you are not in #lobby"]);
    // The one that was current before.
    bob.hears_after("/leave", &["* you left #ops", "* welcome bob - #dev, 1 here: bob"]);
    bob.hears_after("/part #DEV", &["* you left #dev", "* welcome bob - #lobby, 2 here: alice, bob"]);
    alice.hears(&["* bob joined"]);
    bob.hears_after("/leave", &["! bad-argument: you are in the lobby; /quit leaves it, and the server"]);
    alice.say("hi");
    bob.hears(&["alice: hi"]);
    alice.hears_nothing();
}

#[test]
fn a_new_name_is_told_once_to_whoever_shares_a_room() {
    let daemon = Daemon::start();
    let (mut alice, mut bob, mut bot) =
        (daemon.enter("alice"), daemon.enter("bob"), daemon.enter_json("bot"));
    alice.hears(&["* bob joined", "* bot joined"]);
    bob.hears(&["* bot joined"]);
    bot.answers(
        json!({"type": "join", "room": "dev"}),
        json!({"type": "hello", "name": "bot", "room": "dev", "id": 0, "users": ["bot"], "total": 1}),
    );
    for person in [&mut alice, &mut bob] {
        person.say("/join dev");
        assert!(person.line().contains("#dev"));
    }
    alice.hears(&["* bob joined"]);
    bob.hears_after("/join lobby", &["* welcome bob - #lobby, 3 here: alice, bob, bot"]);
    for name in ["alice", "bob"] {
        let total = if name == "alice" { 2 } else { 3 };
        bot.is_told(json!({"type": "join", "room": "dev", "name": name, "total": total}));
    }
    alice.hears_after("/nick ally", &["* alice is now ally"]);
    bob.hears(&["* alice is now ally"]);
    bot.is_told(json!({"type": "nick", "room": "dev", "from": "alice", "name": "ally"}));
    // They share no current room.
    bob.hears_after("/join ops", &["* welcome bob - #ops, 1 here: bob"]);
    bob.say("/leave dev");
    bob.hears(&["* you left #dev"]);
    alice.hears(&["* bob left"]);
    alice.hears_after("/nick alice", &["* ally is now alice"]);
    bob.hears(&["#lobby * ally is now alice"]);
    for person in [&mut alice, &mut bob] {
        person.hears_nothing();
    }
    bot.is_told(json!({"type": "leave", "room": "dev", "name": "bob", "total": 2}));
    bot.is_told(json!({"type": "nick", "room": "dev", "from": "ally", "name": "alice"}));
    bot.answers(json!({"type": "ping"}), json!({"type": "pong"}));
}

#[test]
fn leaving_the_server_is_told_in_each_room() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    for person in [&mut alice, &mut bob] {
        person.say("/join dev");
        assert!(person.line().contains("#dev"));
    }
    alice.hears(&["* bob joined"]);
    bob.hears_after("/quit", &["* bye"]);
    alice.hears(&["* bob left", "#lobby * bob left"]);
    alice.hears_nothing();
}

#[test]
fn a_program_that_comes_back_is_in_all_its_rooms_with_one_request() {
    let daemon = Daemon::with(&["--max-rooms", "3", "--max-joined", "3"]);
    let mut alice = daemon.enter("alice");
    alice.hears_after("/join dev", &["* welcome alice - #dev, 1 here: alice"]);
    alice.say("one");
    let mut bot = daemon.connect();
    let hello = json!({"type": "hello", "name": "bot", "rooms": ["dev", "#Ops", "lobby", "DEV"], "ref": "h"});
    bot.answers(
        hello,
        json!({"type": "hello", "name": "bot", "room": "dev", "id": 1, "users": ["alice", "bot"], "total": 2, "ref": "h"}),
    );
    let room = |name: &str, id, users: &[&str]| json!({"type": "room", "room": name, "name": name, "id": id, "users": users, "total": users.len()});
    for event in
        [room("dev", 1, &["alice", "bot"]), room("ops", 0, &["bot"]), room("lobby", 0, &["alice", "bot"])]
    {
        bot.is_told(event);
    }
    alice.hears(&["* bot joined", "#lobby * bot joined"]);
    // The first is the current one, and others are named.
    bot.say(r#"{"type":"action","body":"beeps"}"#);
    bot.say(r##"{"type":"public","room":"#LOBBY","body":"hi","ref":"p"}"##);
    alice.hears(&["** bot beeps", "#lobby bot: hi"]);
    bot.is_told(json!({"type": "action", "id": 2, "room": "dev", "from": "bot", "body": "beeps"}));
    bot.is_told(json!({"type": "public", "id": 1, "room": "lobby", "from": "bot", "body": "hi"}));
    bot.is_told(json!({"type": "ack", "ref": "p", "id": 1}));
    bot.answers(
        json!({"type": "users", "room": "ops"}),
        json!({"type": "users", "room": "ops", "users": ["bot"], "total": 1}),
    );
    bot.say(r#"{"type":"history","room":"lobby","limit":1}"#);
    assert_eq!(bot.json()["events"][0]["body"], "hi");
    for document in [
        json!({"type": "public", "room": "games", "body": "x"}),
        json!({"type": "action", "room": "games", "body": "x"}),
        json!({"type": "users", "room": "games"}),
        json!({"type": "history", "room": "games"}),
        json!({"type": "leave", "room": "games"}),
    ] {
        bot.answers(document, json!({"type": "error", "code": "not-here", "text": "you are not in #games"}));
    }
    let full = "one is in 3 rooms at most; leave another one first";
    bot.answers(
        json!({"type": "join", "room": "games", "ref": "j"}),
        json!({"type": "error", "code": "full", "text": full, "ref": "j"}),
    );
    // What of it cannot be had is refused, and the rest is done.
    bot.say(r#"{"type":"hello","name":"bot","room":"lobby","rooms":["a","b"]}"#);
    bot.is_told(json!({"type": "hello", "name": "bot", "room": "lobby", "id": 1, "users": ["alice", "bot"], "total": 2}));
    bot.is_told(room("lobby", 1, &["alice", "bot"]));
    for room in ["a", "b"] {
        let text = "there is no place for another room; see /rooms";
        bot.is_told(json!({"type": "error", "code": "full", "room": room, "text": text}));
    }
    alice.hears(&["* bot left"]);
    bot.say(r#"{"type":"hello","name":"bot","rooms":["lobby","dev","ops","a"]}"#);
    let refused =
        std::iter::from_fn(|| Some(bot.json())).find(|event| event["type"] == "error").expect("an error");
    assert_eq!(refused, json!({"type": "error", "code": "full", "room": "a", "text": full}));
    alice.hears(&["* bot joined"]);
    alice.hears_nothing();
}

#[test]
fn a_program_is_told_what_it_left_and_where_it_is_then() {
    let daemon = Daemon::start();
    let mut bot = daemon.connect();
    bot.say(r#"{"type":"hello","name":"bot","rooms":["lobby","dev","ops"]}"#);
    for _ in 0..4 {
        bot.json();
    }
    let left = |room: &str, reference: &str| json!({"type": "leave", "room": room, "name": "bot", "total": 0, "ref": reference});
    let hello = |room: &str| json!({"type": "hello", "name": "bot", "room": room, "id": 0, "users": ["bot"], "total": 1});
    bot.answers(json!({"type": "leave", "room": "dev", "ref": "1"}), left("dev", "1"));
    bot.answers(json!({"type": "leave", "ref": "2"}), left("lobby", "2"));
    bot.is_told(hello("ops"));
    bot.answers(json!({"type": "leave", "room": "ops", "ref": "3"}), left("ops", "3"));
    bot.is_told(hello("lobby"));
    bot.answers(
        json!({"type": "rooms"}),
        json!({"type": "rooms", "rooms": [{"name": "dev", "members": 0}, {"name": "lobby", "members": 1, "joined": true}, {"name": "ops", "members": 0}]}),
    );
}

/// Who speaks text in frames or over WebSocket reads the same.
#[test]
fn all_framings_of_text_have_the_room_in_front() {
    let daemon = Daemon::with(&["--history-on-join", "none"]);
    let mut alice = daemon.enter("alice");
    let mut framed = daemon.connect();
    let frame = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    framed.send(&[frame("bob"), frame("/join dev"), frame("/history")].concat());
    alice.hears(&["* bob joined"]);
    alice.say("hi");
    framed.send(&frame("/quit"));
    let rest = framed.rest();
    assert!(rest.contains("\u{10}#lobby alice: hi"), "{rest:?}");
    alice.hears(&["* bob left"]);

    let mut carol = daemon.with_subprotocol("roomd.text", "?name=carol");
    carol.hears(&["* welcome carol - #lobby, 2 here: alice, carol"]);
    carol.say("/join dev");
    carol.hears(&["* welcome carol - #dev, 1 here: carol"]);
    alice.say("hello");
    carol.hears(&["#lobby alice: hello"]);
}
