//! The JSON dialect over TCP: every request and every event of `src/wire/json.rs`.

use serde_json::json;

use crate::common::Daemon;

#[test]
fn hello_says_all_that_a_program_needs_to_know() {
    let daemon = Daemon::start();
    let _alice = daemon.enter("alice");
    let mut bot = daemon.connect();
    bot.say(r#"{"type":"hello","name":"bot","ref":"h"}"#);
    let hello = bot.json();
    let server = concat!("roomd/", env!("CARGO_PKG_VERSION"));
    assert_eq!(hello["server"], server);
    assert!(hello["epoch"].as_u64().is_some_and(|epoch| epoch > 1_700_000_000_000), "{hello}");
    let session = hello["session"].as_str().expect("a session");
    assert!(session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hello}");
    assert_eq!(
        crate::common::timeless(hello),
        json!({"type": "hello", "name": "bot", "room": "lobby", "id": 0, "users": ["alice", "bot"],
               "total": 2, "ref": "h"})
    );
}

#[test]
fn a_message_comes_back_with_its_id_and_the_ack_follows() {
    let daemon = Daemon::start();
    let (mut bot, mut other, mut alice) =
        (daemon.enter_json("bot"), daemon.enter_json("other"), daemon.enter("alice"));
    bot.is_told(json!({"type": "join", "room": "lobby", "name": "other", "total": 2}));
    for client in [&mut bot, &mut other] {
        client.is_told(json!({"type": "join", "room": "lobby", "name": "alice", "total": 3}));
    }
    // The server sets `from`, whatever a client claims; fields it does not know do not matter.
    bot.say(r#"{"type":"public","body":"hi","ref":"c1","from":"mallory","colour":"red"}"#);
    let said = json!({"type": "public", "id": 1, "room": "lobby", "from": "bot", "body": "hi"});
    for client in [&mut bot, &mut other] {
        client.is_told(said.clone());
    }
    bot.is_told(json!({"type": "ack", "ref": "c1", "id": 1}));
    alice.hears(&["bot: hi"]);
    bot.say(r#"{"type":"action","body":"waves"}"#);
    let done = json!({"type": "action", "id": 2, "room": "lobby", "from": "bot", "body": "waves"});
    for client in [&mut bot, &mut other] {
        client.is_told(done.clone());
    }
    alice.hears(&["** bot waves"]);
    // Without a ref there is no ack.
    bot.answers(json!({"type": "ping", "ref": "p"}), json!({"type": "pong", "ref": "p"}));
    bot.answers(json!({"type": "ping"}), json!({"type": "pong"}));
}

#[test]
fn a_private_message_is_seen_by_two() {
    let daemon = Daemon::start();
    let (mut bob, mut bot) = (daemon.enter("bob"), daemon.enter_json("bot"));
    bob.hears(&["* bot joined"]);
    let said = json!({"type": "private", "from": "bot", "to": "bob", "body": "psst"});
    bot.answers(json!({"type": "private", "to": "BOB", "body": "psst", "ref": "7"}), said);
    bot.is_told(json!({"type": "ack", "ref": "7"}));
    bob.hears(&["@bot: psst"]);
    bob.say("/msg bot yes?");
    bot.is_told(json!({"type": "private", "from": "bob", "to": "bot", "body": "yes?"}));
    bot.answers(
        json!({"type": "private", "to": "nobody", "body": "x", "ref": "8"}),
        json!({"type": "error", "code": "no-such-user", "text": "nobody here is called nobody", "ref": "8"}),
    );
}

#[test]
fn who_is_where_and_what_was_said() {
    let daemon = Daemon::start();
    let (mut bot, mut bob) = (daemon.enter_json("bot"), daemon.enter("bob"));
    bot.is_told(json!({"type": "join", "room": "lobby", "name": "bob", "total": 2}));
    bot.answers(
        json!({"type": "users", "ref": "u"}),
        json!({"type": "users", "room": "lobby", "users": ["bob", "bot"], "total": 2, "ref": "u"}),
    );
    bot.answers(
        json!({"type": "rooms"}),
        json!({"type": "rooms", "rooms": [{"name": "lobby", "members": 2, "joined": true}]}),
    );
    let message = |id: u64, kind: &str| {
        let body = format!("line {id}");
        json!({"type": kind, "id": id, "room": "lobby", "from": "bob", "body": body})
    };
    for i in 1..=5 {
        let kind = if i == 3 { "action" } else { "public" };
        bob.say(&format!("{}line {i}", if i == 3 { "/me " } else { "" }));
        bot.is_told(message(i, kind));
    }
    for (query, ids, more) in [
        (json!({}), 1..=5, false),
        (json!({"limit": 2}), 4..=5, true),
        (json!({"before": 4, "limit": 2}), 2..=3, true),
        (json!({"after": 2, "limit": 2}), 3..=4, true),
        (json!({"after": 3}), 4..=5, false),
        (json!({"after": 1, "before": 5}), 2..=4, false),
    ] {
        let mut request = query.clone();
        request["type"] = "history".into();
        bot.say(&request.to_string());
        let mut answer = bot.json();
        let events = answer["events"].as_array_mut().expect("events");
        for event in events.iter_mut() {
            *event = crate::common::timeless(event.take());
        }
        let expected: Vec<_> = ids.map(|id| message(id, if id == 3 { "action" } else { "public" })).collect();
        assert_eq!(
            answer,
            json!({"type": "history", "room": "lobby", "events": expected, "more": more}),
            "{query}"
        );
    }
    for limit in [0, 1001] {
        bot.answers(
            json!({"type": "history", "limit": limit}),
            json!({"type": "error", "code": "bad-argument", "text": "limit is 1 to 1000"}),
        );
    }
}

#[test]
fn names_and_rooms_change_and_everybody_learns_it() {
    let daemon = Daemon::start();
    let (mut bot, mut other) = (daemon.enter_json("bot"), daemon.enter_json("other"));
    bot.is_told(json!({"type": "join", "room": "lobby", "name": "other", "total": 2}));
    other.say(r#"{"type":"nick","name":"Otto","ref":"n"}"#);
    let renamed = json!({"type": "nick", "room": "lobby", "from": "other", "name": "Otto"});
    bot.is_told(renamed.clone());
    other.is_told(renamed);
    other.is_told(json!({"type": "ack", "ref": "n"}));
    bot.say(r##"{"type":"join","room":"#Dev","ref":"j"}"##);
    bot.is_told(json!({"type": "hello", "name": "bot", "room": "dev", "id": 0, "users": ["bot"], "total": 1, "ref": "j"}));
    // `hello` later on changes both: one is where it says, and nowhere else.
    bot.say(r#"{"type":"hello","name":"Bert","room":"lobby"}"#);
    let renamed = json!({"type": "nick", "room": "dev", "from": "bot", "name": "Bert"});
    bot.is_told(renamed);
    bot.is_told(json!({"type": "hello", "name": "Bert", "room": "lobby", "id": 0, "users": ["Bert", "Otto"], "total": 2}));
    other.is_told(json!({"type": "nick", "room": "lobby", "from": "bot", "name": "Bert"}));
    bot.answers(
        json!({"type": "public", "room": "dev", "body": "x"}),
        json!({"type": "error", "code": "not-here", "text": "you are not in #dev"}),
    );
    bot.answers(json!({"type": "quit"}), json!({"type": "bye", "why": "quit"}));
    bot.hears_the_end();
    other.is_told(json!({"type": "leave", "room": "lobby", "name": "Bert", "total": 1}));
}

#[test]
fn the_seed_protocol_works_as_the_very_first_message() {
    let daemon = Daemon::start();
    let mut bob = daemon.enter("bob");
    let mut alice = daemon.connect();
    alice.say(r#"{"type":"private","from":"alice","to":"bob","body":"psst"}"#);
    let hello = alice.json();
    assert_eq!((&hello["type"], &hello["name"]), (&"hello".into(), &"alice".into()), "{hello}");
    alice.is_told(json!({"type": "private", "from": "alice", "to": "bob", "body": "psst"}));
    bob.hears(&["* alice joined", "@alice: psst"]);
    alice.say(r#"{"type":"public","from":"alice","body":"hi all"}"#);
    bob.hears(&["alice: hi all"]);
    // Without a name one is a guest.
    let mut guest = daemon.connect();
    guest.say(r#"{"type":"public","body":"hi"}"#);
    assert_eq!(guest.json()["name"], "guest-1");
    bob.hears(&["* guest-1 joined", "guest-1: hi"]);
}

#[test]
fn a_program_may_send_and_go_as_a_pipe_does() {
    let daemon = Daemon::start();
    let mut bob = daemon.enter("bob");
    let mut bot = daemon.connect();
    bot.send(br#"{"type":"public","from":"bot","body":"from a pipe"}"#);
    bot.end_output();
    bob.hears(&["* bot joined", "bot: from a pipe", "* bot left"]);
    let heard = bot.rest();
    assert!(heard.ends_with('\n') && heard.contains("from a pipe"), "{heard}");
}

#[test]
fn every_refusal_has_a_code_a_sentence_and_the_ref() {
    let daemon = Daemon::with(&["--max-rooms", "1", "--max-line-bytes", "512"]);
    let _alice = daemon.enter("alice");
    // Before the hello as well.
    let mut bot = daemon.connect();
    for (name, code) in [("alice", "name-taken"), ("a b", "name-bad")] {
        bot.say(&json!({"type": "hello", "name": name, "ref": 1.to_string()}).to_string());
        let error = bot.json();
        assert_eq!((&error["code"], &error["ref"]), (&code.into(), &"1".into()), "{error}");
    }
    bot.say(r#"{"type":"hello","name":"bot"}"#);
    assert_eq!(bot.json()["name"], "bot");
    for (line, code, reference) in [
        (r#"{"type":"dance","ref":"a"}"#, "unknown-command", Some("a")),
        (r#"{"ref":"b"}"#, "bad-argument", Some("b")),
        (r#"{"type":"public","ref":"c"}"#, "bad-argument", Some("c")),
        (r#"{"type":"public","body":7,"ref":"d"}"#, "bad-argument", Some("d")),
        (r#"{"type":"public","body":"\u0007","ref":"e"}"#, "bad-argument", Some("e")),
        (r#"{"type":"nick","name":"alice","ref":"f"}"#, "name-taken", Some("f")),
        (r#"{"type":"nick","name":"","ref":"g"}"#, "name-bad", Some("g")),
        (r#"{"type":"join","room":"dev","ref":"h"}"#, "full", Some("h")),
        (r#"{"type":"join","room":"a b","ref":"i"}"#, "bad-argument", Some("i")),
        (r#"{"type":"private","body":"x","ref":"j"}"#, "bad-argument", Some("j")),
        (r#"{"type":"ping","#, "bad-argument", None),
        ("hello", "bad-argument", None),
        ("[]", "bad-argument", None),
        ("7", "bad-argument", None),
    ] {
        bot.say(line);
        let error = bot.json();
        assert_eq!((&error["type"], &error["code"]), (&"error".into(), &code.into()), "{line}: {error}");
        assert_eq!(error["ref"].as_str(), reference, "{line}: {error}");
        assert!(error["text"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    }
    bot.say(&json!({"type": "ping", "ref": "x".repeat(65)}).to_string());
    let error = bot.json();
    assert_eq!((&error["code"], error.get("ref")), (&"bad-argument".into(), None), "{error}");
    let longest = json!({"type": "ping", "ref": "x".repeat(64)});
    bot.answers(longest, json!({"type": "pong", "ref": "x".repeat(64)}));
    bot.send(b"{\"type\":\"public\",\"body\":\"caf\xe9\"}\n");
    assert_eq!(bot.json()["code"], "bad-utf8");
    let longest = json!({"type": "public", "body": "x".repeat(512)});
    bot.answers(
        longest,
        json!({"type": "public", "id": 1, "room": "lobby", "from": "bot", "body": "x".repeat(512)}),
    );
    bot.answers(
        json!({"type": "public", "body": "x".repeat(513), "ref": "k"}),
        json!({"type": "error", "code": "too-long", "ref": "k",
               "text": "a message has at most 512 bytes; yours was dropped"}),
    );
    bot.answers(json!({"type": "ping"}), json!({"type": "pong"}));
}

#[test]
fn whoever_leaves_is_gone_with_the_reason_and_a_crowd_is_summed_up() {
    let daemon = Daemon::with(&["--quiet-above", "3"]);
    let (mut bot, bob) = (daemon.enter_json("bot"), daemon.enter("bob"));
    bot.is_told(json!({"type": "join", "room": "lobby", "name": "bob", "total": 2}));
    drop(bob);
    bot.is_told(json!({"type": "leave", "room": "lobby", "name": "bob", "total": 1}));
    let _crowd: Vec<_> = ["a", "b", "c"].into_iter().map(|name| daemon.enter(name)).collect();
    for (name, total) in [("a", 2), ("b", 3)] {
        bot.is_told(json!({"type": "join", "room": "lobby", "name": name, "total": total}));
    }
    bot.is_told(json!({"type": "presence", "room": "lobby", "joined": 1, "left": 0, "total": 4}));
}

#[test]
fn a_message_may_have_several_lines_and_people_see_who_said_each() {
    let daemon = Daemon::start();
    let (mut bot, mut alice) = (daemon.enter_json("bot"), daemon.enter("alice"));
    bot.is_told(json!({"type": "join", "room": "lobby", "name": "alice", "total": 2}));
    let code = "\r\nfn main() {\r\n\n\tlines\u{2028}and(\"quotes\");\u{1b}[2J\n}\n";
    let clean = "fn main() {\n\n\tlinesand(\"quotes\");[2J\n}";
    bot.say(&json!({"type": "public", "body": code}).to_string());
    bot.is_told(json!({"type": "public", "id": 1, "room": "lobby", "from": "bot", "body": clean}));
    let lines = ["bot: fn main() {", "bot: ", "bot: \tlinesand(\"quotes\");[2J", "bot: }"];
    alice.hears(&lines);
    bot.say(&json!({"type": "private", "to": "alice", "body": "a\nb"}).to_string());
    alice.hears(&["@bot: a", "@bot: b"]);
    bot.say(&json!({"type": "action", "body": "a\nb"}).to_string());
    alice.hears(&["** bot a", "** bot b"]);
    // All of them or none.
    bot.json();
    bot.json();
    bot.answers(
        json!({"type": "public", "body": "x\n".repeat(129), "ref": "n"}),
        json!({"type": "error", "code": "too-long", "ref": "n",
               "text": "a message has at most 128 lines; yours was dropped"}),
    );
    alice.say("/history 5");
    for line in lines {
        assert!(alice.line().ends_with(line));
    }
    // From WebSocket too, and to it: a frame for each line.
    let mut guest = daemon.guest("?name=guest");
    guest.say("one\n  two\n");
    for line in ["guest: one", "guest:   two"] {
        while guest.text() != line {}
    }
}

/// What was meant to be said under one name was said under another, to everybody.
#[test]
fn nothing_is_said_by_a_program_whose_hello_was_refused() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let refused = json!({"type": "error", "code": "bad-argument", "ref": "2",
                         "text": "your name was refused; say hello with another one first"});
    for (hello, code) in [
        (r#"{"type":"hello","name":"alice"}"#, "name-taken"),
        (r#"{"type":"hello","name":"a b"}"#, "name-bad"),
        (r#"{"type":"hello","name":"bot","room":"a b"}"#, "bad-argument"),
        (r#"{"type":"hello"}"#, "bad-argument"),
    ] {
        let mut bot = daemon.connect();
        let secret = r#"{"type":"public","body":"for other ears","ref":"2"}"#;
        bot.send(format!("{hello}\n{secret}\n{{\"type\":\"ping\",\"ref\":\"2\"}}\n").as_bytes());
        assert_eq!(bot.json()["code"], code, "{hello}");
        bot.is_told(refused.clone());
        bot.is_told(refused.clone());
        bot.say(r#"{"type":"hello","name":"bot"}"#);
        assert_eq!(bot.json()["type"], "hello");
        alice.hears(&["* bot joined"]);
        bot.say(r#"{"type":"quit"}"#);
        alice.hears(&["* bot left"]);
    }
    let mut bot = daemon.guest("?json&name=alice");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&bot.text()).expect("JSON")["code"], "name-taken");
    bot.say(r#"{"type":"public","body":"for other ears","ref":"2"}"#);
    bot.is_told(refused);
    alice.hears_nothing();
}

/// An answer to telnet would not be a document.
#[test]
fn telnet_is_not_spoken_to_programs() {
    let daemon = Daemon::start();
    let mut bot = daemon.enter_json("bot");
    bot.send(b"\xff\xf6\xff\xfd\x06{\"type\":\"ping\"}\n");
    assert_eq!(bot.json()["type"], "pong");
}
