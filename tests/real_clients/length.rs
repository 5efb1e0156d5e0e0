//! Frames with their length in front, over TCP: of text and of JSON.

use serde_json::{Value, json};

use crate::common::{Client, Daemon, GREETING, timeless};

/// Somebody who says and hears such frames.
struct Framed(Client);

impl Framed {
    fn connect(daemon: &Daemon) -> Self {
        Self(daemon.connect())
    }

    fn say(&mut self, content: &str) {
        self.0.send(&framed(content));
    }

    fn hear(&mut self) -> String {
        let length = self.0.bytes(4).try_into().expect("four bytes");
        String::from_utf8(self.0.bytes(u32::from_be_bytes(length) as usize)).expect("UTF-8")
    }

    #[track_caller]
    fn hears(&mut self, contents: &[&str]) {
        for content in contents {
            assert_eq!(self.hear(), *content);
        }
    }

    #[track_caller]
    fn is_told(&mut self, document: Value) {
        assert_eq!(timeless(serde_json::from_str(&self.hear()).expect("JSON")), document);
    }
}

fn framed(content: &str) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes()[..], content.as_bytes()].concat()
}

#[test]
fn text_in_frames_is_what_a_netcat_sees_and_may_have_several_lines() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bob = Framed::connect(&daemon);
    bob.say("");
    bob.hears(&[GREETING]);
    bob.say("Alice");
    bob.hears(&["! name-taken: Alice looks like alice, who is here"]);
    for byte in framed("bob") {
        // Split anywhere it is not binary.
        bob.0.send(&[byte]);
        daemon.get("/healthz");
    }
    bob.hears(&["* welcome bob - #lobby, 2 here: alice, bob"]);
    bob.say("fn main() {\n\tprintln!();\n}");
    bob.say("");
    bob.say("/me waves");
    alice.hears(&["* bob joined", "bob: fn main() {", "bob: \tprintln!();", "bob: }", "** bob waves"]);
    alice.say("hi\n/msg bob psst");
    bob.hears(&["alice: hi", "@alice: psst"]);
    bob.say("/quit");
    bob.hears(&["* bye"]);
    bob.0.hears_the_end();
}

#[test]
fn json_in_frames_is_what_json_lines_say() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bot = Framed::connect(&daemon);
    // Split and glued.
    let said =
        [framed(r#"{"type":"hello","name":"bot"}"#), framed(r#"{"type":"public","body":"a\nb","ref":"1"}"#)]
            .concat();
    for byte in said {
        bot.0.send(&[byte]);
    }
    bot.is_told(json!({"type": "hello", "name": "bot", "room": "lobby", "id": 0, "users": ["alice", "bot"],
        "total": 2}));
    bot.is_told(json!({"type": "public", "id": 1, "room": "lobby", "from": "bot", "body": "a\nb"}));
    bot.is_told(json!({"type": "ack", "ref": "1", "id": 1}));
    alice.hears(&["* bot joined", "bot: a", "bot: b"]);
    assert_eq!(daemon.metric("roomd_connections{dialect=\"length-json\"}"), 1);
    bot.say("nonsense");
    bot.is_told(json!({"type": "error", "code": "bad-argument", "text": "a request is a JSON object"}));
    bot.say(r#"{"type":"quit"}"#);
    bot.is_told(json!({"type": "bye", "why": "quit"}));
    bot.0.hears_the_end();
}

#[test]
fn the_limits_and_the_errors_are_those_of_lines() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bob = Framed::connect(&daemon);
    bob.say("bob");
    bob.hear();
    alice.hears(&["* bob joined"]);
    let error = "! too-long: a message has at most 4096 bytes; yours was dropped";
    for length in [4097, 5000, 65536] {
        bob.say(&"x".repeat(length));
        bob.hears(&[error]);
    }
    let longest = "x".repeat(4096);
    bob.say(&longest);
    alice.hears(&[&format!("bob: {longest}")]);
    bob.0.send(b"\0\0\0\x04caf\xe9");
    bob.hears(&["! bad-utf8: the line is not UTF-8"]);
    // What is never finished is never said.
    bob.0.send(b"\0\0\0\x05hell");
    bob.0.end_output();
    bob.0.hears_the_end();
    alice.hears(&["* bob left"]);
    let mut eve = Framed::connect(&daemon);
    eve.say("eve");
    eve.hears(&["* welcome eve - #lobby, 2 here: alice, eve"]);
    assert!(eve.hear().ends_with(&longest), "it was said before");
    eve.0.send(&65537_u32.to_be_bytes());
    eve.hears(&["! too-long: a frame of more than 64 KiB is not chat"]);
    eve.0.hears_the_end();
}

/// Frames that came along with a name that is refused are no name either, and all of them are counted.
#[test]
fn what_came_along_with_a_name_that_is_refused_is_counted() {
    let daemon = Daemon::start();
    let _bot = daemon.enter("bot");
    let mut script = daemon.connect();
    script.send(&[framed("bot"), framed("one\ntwo"), framed("three")].concat());
    let mut script = Framed(script);
    script.hears(&[
        "! name-taken: bot is in use",
        "! dropped: 2 lines were not said: what came with a name that was refused",
    ]);
    script.0.hears_the_end();
}
