//! Names, and what is invisible in messages, from outside.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use crate::common::{Client, Daemon, GREETING};

fn stream_from(daemon: &Daemon, host: u8) -> TcpStream {
    daemon.stream_from(Ipv4Addr::new(127, 0, 0, host))
}

/// What the daemon says to a connection that says this name.
fn first_answer(client: &mut Client, name: &str) -> String {
    client.say(name);
    let line = client.line();
    if line == GREETING { client.line() } else { line }
}

/// Somebody from there who is cut off, not gone in good order, when it is dropped.
fn fragile(daemon: &Daemon, host: u8, name: &str) -> Client {
    let stream = stream_from(daemon, host);
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    let mut client = Client::new(stream);
    assert!(first_answer(&mut client, name).starts_with(&format!("* welcome {name} ")));
    client
}

#[test]
fn names_that_pose_as_the_server_or_as_somebody_are_refused() {
    let daemon = Daemon::start();
    let _others = [daemon.enter("alice"), daemon.enter("bob")];
    let mut eve = daemon.connect();
    let code = |line: String| line.split(": ").next().unwrap_or_default().to_owned();
    for bad in [
        "s\u{435}rver",
        "r\u{43e}\u{43e}md",
        "roornd",
        "ROOMD",
        "\u{420}\u{410}\u{422}\u{421}\u{41d}",
        "rne",
        "\u{410}lice",
        "alice\u{13441}",
        "bob\u{a4fd}",
        "al\u{200b}ice",
        "क\u{94d}\u{200d}ष",
        "i\u{307}da",
        "a\u{301}\u{301}",
        "_\u{301}",
    ] {
        assert_eq!(code(first_answer(&mut eve, bad)), "! name-bad", "{bad:?}");
    }
    for taken in ["ALlCE", "AL1CE", "aIice", "\u{412}\u{41e}\u{412}", "\u{432}\u{43e}\u{432}", "b0b"] {
        assert_eq!(code(first_answer(&mut eve, taken)), "! name-taken", "{taken:?}");
    }
    let mixed = "! name-bad: a name is written in one script; \u{410}lice has Cyrillic and Latin letters";
    eve.hears_after("\u{410}lice", &[mixed]);
    let mut bot = daemon.enter_json("bot");
    for (name, code) in [("ALlCE", "name-taken"), ("roornd", "name-bad"), ("s\u{435}rver", "name-bad")] {
        bot.say(&json!({"type": "nick", "name": name}).to_string());
        assert_eq!(bot.json()["code"], code, "{name}");
    }
    bot.say(&json!({"type": "join", "room": "l\u{43e}bby"}).to_string());
    assert_eq!(bot.json()["code"], "bad-argument");
}

#[test]
fn names_in_the_scripts_of_the_world_are_welcome() {
    let daemon = Daemon::start();
    let mut everybody = Vec::new();
    for name in [
        "李雷",
        "محمد",
        "निशा",
        "Zoë",
        "田中さん",
        "Łukasz",
        "Αλέξης",
        "Иван",
        "김철수",
        "नमस्ते",
        "தமிழ்",
        "שרה",
        "Bob李",
        "Nguyễn",
        "Adébáyọ̀",
        "ไทยนี้",
        "শ্রী",
        "มานี",
        "ユーザー",
        "ኢትዮ",
        "სოფო",
        "Ժան",
    ] {
        everybody.push(daemon.enter(name));
    }
}

#[test]
fn a_name_that_was_just_cut_off_is_its_owners_only() {
    let daemon = Daemon::start();
    let mut bob = daemon.enter("bob");
    drop(fragile(&daemon, 2, "alice"));
    bob.hears(&["* alice joined", "* alice left (reset)"]);

    // Others get neither it nor what looks like it, in whatever way.
    let mut eve = daemon.connect();
    let refusal = first_answer(&mut eve, "alice");
    let why = "! name-taken: alice was just left by a connection that broke; it is free to others in ";
    assert!(refusal.starts_with(why), "{refusal}");
    let refusal = first_answer(&mut eve, "ALlCE");
    assert!(
        refusal.starts_with("! name-taken: ALlCE looks like alice; alice was just left by "),
        "{refusal}"
    );
    for said in ["/nick alice", "/nick Alice"] {
        bob.say(said);
        let refusal = bob.line();
        assert!(refusal.starts_with("! name-taken: "), "{refusal}");
    }
    let mut bot = daemon.connect();
    bot.say(&json!({"type": "hello", "name": "alice"}).to_string());
    assert_eq!(bot.json()["code"], "name-taken");
    let mut guest = daemon.guest("?name=alice");
    let refusal = guest.text();
    assert!(refusal.starts_with(why), "{refusal}");

    // Its owner gets it back at once, and it is free when that says good-bye.
    let mut alice = Client::new(stream_from(&daemon, 2));
    assert!(first_answer(&mut alice, "alice").starts_with("* welcome alice "));
    bob.hears(&["* guest-1 joined", "* alice joined"]);
    alice.say("/quit");
    bob.hears(&["* alice left"]);
    assert!(first_answer(&mut eve, "alice").starts_with("* welcome alice "));
}

#[test]
fn a_name_is_free_at_once_after_a_good_bye() {
    let daemon = Daemon::start();
    let mut bob = daemon.enter("bob");
    let enter = |host| {
        let mut alice = Client::new(stream_from(&daemon, host));
        assert!(first_answer(&mut alice, "alice").starts_with("* welcome alice "));
        alice
    };
    drop(enter(2));
    bob.hears(&["* alice joined", "* alice left"]);
    enter(3).say("/quit");
    bob.hears(&["* alice joined", "* alice left"]);
    let mut browser = daemon.guest("?name=alice");
    bob.hears(&["* alice joined"]);
    browser.0.close(None).expect("a close frame");
    bob.hears(&["* alice left"]);
    enter(4);
}

#[test]
fn what_is_invisible_does_not_pass_in_messages_unless_it_does_something() {
    let daemon = Daemon::start();
    let (mut alice, mut bob) = (daemon.enter("alice"), daemon.enter("bob"));
    alice.hears(&["* bob joined"]);
    for (said, heard) in [
        ("pass\u{200b}word", "password"),
        ("soft\u{ad}hyphen", "softhyphen"),
        ("hi\u{e0068}\u{e0069}\u{e007f}", "hi"),
        ("a\u{2060}b\u{3164}c\u{fe0f}", "abc"),
        (
            "👩🏽\u{200d}❤\u{fe0f}\u{200d}👨 1\u{fe0f}\u{20e3}",
            "👩🏽\u{200d}❤\u{fe0f}\u{200d}👨 1\u{fe0f}\u{20e3}",
        ),
        ("می\u{200c}خواهم", "می\u{200c}خواهم"),
    ] {
        bob.say(said);
        alice.hears(&[&format!("bob: {heard}")]);
    }
    // Nothing that is seen is nothing that is said.
    for empty in ["\u{200b}", "\u{3164}", "\u{2800}", "\u{ad}\u{2060}"] {
        bob.say(empty);
    }
    bob.say("/me \u{200b}");
    bob.hears(&["! bad-argument: say /me TEXT"]);
    let mut bot = daemon.enter_json("bot");
    alice.hears(&["* bot joined"]);
    bot.say(&json!({"type": "public", "body": "\u{3164}"}).to_string());
    assert_eq!(bot.json()["code"], "bad-argument");
    bot.say(&json!({"type": "public", "body": "a\u{200b}b"}).to_string());
    alice.hears(&["bot: ab"]);
}
