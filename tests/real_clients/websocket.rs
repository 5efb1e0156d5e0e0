//! WebSocket, by the client of `tungstenite`: subprotocols, guests, close codes, pings.

use serde_json::json;
use tungstenite::{Bytes, Message};

use crate::common::ws::frame;
use crate::common::{Daemon, GREETING};

#[test]
fn a_guest_is_in_at_once_and_gets_its_own_messages_back() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut guest = daemon.guest("");
    guest.say("hello from a tutorial");
    guest.hears(&["guest-1: hello from a tutorial"]);
    alice.hears(&["* guest-1 joined", "guest-1: hello from a tutorial"]);
    alice.say("welcome");
    guest.hears(&["alice: welcome"]);
    guest.say("/nick gus");
    guest.hears(&["* guest-1 is now gus"]);
    guest.0.close(None).expect("a close frame");
    alice.hears(&["* guest-1 is now gus", "* gus left"]);
}

#[test]
fn name_and_room_may_stand_in_the_url() {
    let daemon = Daemon::start();
    let mut al = daemon.guest("?name=al%C3%A9&room=%23Dev");
    al.hears(&["* welcome alé - #dev, 1 here: alé"]);
    // A name that is taken is refused; a guest is let in all the same.
    let mut other = daemon.guest("?name=al%C3%A9");
    other.hears(&["! name-taken: alé is in use", "* welcome guest-1 - #lobby, 1 here: guest-1"]);
    let mut bot = daemon.with_subprotocol("roomd.json", "?name=bot");
    let users = ["bot", "guest-1"];
    bot.is_told(
        json!({"type": "hello", "name": "bot", "room": "lobby", "id": 0, "users": users, "total": 2}),
    );
}

#[test]
fn the_text_subprotocol_is_what_a_netcat_sees() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bob = daemon.with_subprotocol("roomd.text", "");
    bob.hears(&[GREETING]);
    bob.say("a b");
    bob.hears(&["! name-bad: a name has 1 to 32 characters: letters, digits, _ - ."]);
    bob.say("bob");
    bob.hears(&["* welcome bob - #lobby, 2 here: alice, bob"]);
    bob.say("my own lines do not come back");
    bob.say("/ping");
    bob.hears(&["* pong"]);
    alice.hears(&["* bob joined", "bob: my own lines do not come back"]);
    // `{` says nothing here: the subprotocol is agreed.
    bob.say("{not json}");
    alice.hears(&["bob: {not json}"]);
    bob.say("/quit");
    bob.hears(&["* bye"]);
    assert_eq!(bob.close_code(), 1000);
}

#[test]
fn the_json_subprotocol_is_preferred_and_confirmed() {
    let daemon = Daemon::start();
    let mut bot = daemon.with_subprotocol("chat, roomd.text, roomd.json", "");
    bot.answers(
        json!({"type": "hello", "name": "bot"}),
        json!({"type": "hello", "name": "bot", "room": "lobby", "id": 0, "users": ["bot"], "total": 1}),
    );
    bot.answers(
        json!({"type": "public", "body": "hi", "ref": "1"}),
        json!({"type": "public", "id": 1, "room": "lobby", "from": "bot", "body": "hi"}),
    );
    bot.is_told(json!({"type": "ack", "ref": "1", "id": 1}));
}

#[test]
fn a_guest_whose_first_message_is_an_object_speaks_json() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut seed = daemon.guest("");
    seed.say(r#"{"type":"private","from":"bob","to":"alice","body":"psst"}"#);
    alice.hears(&["* guest-1 joined", "* guest-1 is now bob", "@bob: psst"]);
    seed.is_told(json!({"type": "nick", "room": "lobby", "from": "guest-1", "name": "bob"}));
    seed.is_told(json!({"type": "hello", "name": "bob", "room": "lobby", "id": 0, "users": ["alice", "bob"],
        "total": 2}));
    seed.is_told(json!({"type": "private", "from": "bob", "to": "alice", "body": "psst"}));
    // Only the first message decides.
    let mut guest = daemon.guest("");
    guest.say("plain");
    guest.say("{still plain}");
    guest.hears(&["guest-2: plain", "guest-2: {still plain}"]);
}

#[test]
fn every_violation_has_its_close_code() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let unmasked = vec![0x81, 2, b'h', b'i'];
    for (what, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("a reserved bit", frame(0xc1, b"hi"), 1002),
        ("a reserved opcode", frame(0x83, b"hi"), 1002),
        ("a fragmented ping", frame(0x09, b"hi"), 1002),
        ("a long ping", frame(0x89, &[b'x'; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"hi"), 1002),
        ("a message within another", [frame(0x01, b"h"), frame(0x81, b"i")].concat(), 1002),
        ("half a close code", frame(0x88, &[3]), 1002),
        ("a close code that nobody may send", frame(0x88, &1006u16.to_be_bytes()), 1002),
        ("binary", frame(0x82, b"hi"), 1003),
        ("bad UTF-8", frame(0x81, b"caf\xe9"), 1007),
        ("bad UTF-8 across fragments", [frame(0x01, b"\xc3"), frame(0x80, b"x")].concat(), 1007),
        ("half a letter at the end", frame(0x81, b"\xc3"), 1007),
        ("too long", frame(0x81, &vec![b'x'; 65537]), 1009),
        ("too long in parts", [frame(0x01, &[b'x'; 65000]), frame(0x80, &[b'x'; 537])].concat(), 1009),
        ("two thousand fragments", [frame(0x01, b"x"), frame(0x00, &[b'x'; 15]).repeat(2000)].concat(), 1009),
    ] {
        let mut guest = daemon.guest("?name=mallory");
        guest.hears(&["* welcome mallory - #lobby, 2 here: alice, mallory"]);
        guest.send_raw(&bytes);
        assert_eq!(guest.close_code(), code, "{what}");
        alice.hears(&["* mallory joined", "* mallory left"]);
    }
}

/// It is a tutorial's, with a format of its own; ours has a `type`, and needs it.
#[test]
fn json_that_is_no_request_of_ours_is_a_message() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    for (i, said) in
        [r#"{"username":"al","message":"hi"}"#, r#"{"type":"dance"}"#, r#"["ping"]"#, "{nonsense"]
            .iter()
            .enumerate()
    {
        let mut guest = daemon.guest("");
        let name = format!("guest-{}", i + 1);
        guest.say(said);
        guest.hears(&[&format!("{name}: {said}")]);
        // Its first message has decided.
        guest.say(r#"{"type":"ping"}"#);
        guest.hears(&[&format!("{name}: {{\"type\":\"ping\"}}")]);
        guest.say("/quit");
        guest.hears(&["* bye"]);
        let joined = format!("* {name} joined");
        alice.hears(&[&joined, &format!("{name}: {said}"), &format!("{name}: {{\"type\":\"ping\"}}")]);
        alice.hears(&[&format!("* {name} left")]);
    }
}

#[test]
fn the_url_may_ask_for_json_and_then_there_is_nothing_else() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bob = daemon.guest("?name=bob&json");
    alice.hears(&["* bob joined"]);
    bob.is_told(json!({"type": "hello", "name": "bob", "room": "lobby", "id": 0, "users": ["alice", "bob"],
        "total": 2}));
    alice.say("hi");
    bob.is_told(json!({"type": "public", "id": 1, "room": "lobby", "from": "alice", "body": "hi"}));
    let mut other = daemon.guest("?json=1&name=bob");
    other.is_told(json!({"type": "error", "code": "name-taken", "text": "bob is in use"}));
    other.answers(
        json!({"type": "hello", "name": "carol"}),
        json!({"type": "hello", "name": "carol", "room": "lobby", "id": 1, "users": ["alice", "bob", "carol"],
            "total": 3}),
    );
}

/// It closed the connection, and a page that connects again said it again.
#[test]
fn a_message_that_is_too_long_is_refused_and_nothing_else() {
    let daemon = Daemon::start();
    let mut guest = daemon.guest("?name=bob");
    guest.hears(&["* welcome bob - #lobby, 1 here: bob"]);
    for length in [4097, 5000, 65536] {
        guest.say(&"y".repeat(length));
        guest.hears(&["! too-long: a message has at most 4096 bytes; yours was dropped"]);
    }
    guest.say("short");
    guest.hears(&["bob: short"]);
}

#[test]
fn the_longest_message_passes_in_one_frame_and_in_parts() {
    let daemon = Daemon::start();
    let mut guest = daemon.guest("?name=bob");
    guest.hears(&["* welcome bob - #lobby, 1 here: bob"]);
    let longest = "x".repeat(4096);
    guest.say(&longest);
    guest.hears(&[&format!("bob: {longest}")]);
    let (first, second) = longest.as_bytes().split_at(1000);
    guest.send_raw(&[frame(0x01, first), frame(0x89, b"?"), frame(0x80, second)].concat());
    assert_eq!(
        guest.message(),
        Message::Pong(Bytes::from_static(b"?")),
        "a ping is answered between fragments"
    );
    guest.hears(&[&format!("bob: {longest}")]);
}

#[test]
fn frames_may_be_split_at_every_byte() {
    let daemon = Daemon::start();
    let mut guest = daemon.guest("?name=bob");
    guest.hears(&["* welcome bob - #lobby, 1 here: bob"]);
    for byte in [frame(0x81, "größe".as_bytes()), frame(0x01, b"a"), frame(0x80, b"b")].concat() {
        guest.send_raw(&[byte]);
    }
    guest.hears(&["bob: größe", "bob: ab"]);
}

#[test]
fn a_close_frame_is_answered_with_its_code() {
    let daemon = Daemon::start();
    for (payload, code) in [(&b""[..], 1005), (b"\x03\xe8", 1000), (b"\x0f\xa5bye", 4005)] {
        let mut guest = daemon.guest("");
        guest.send_raw(&frame(0x88, payload));
        assert_eq!(guest.close_code(), code);
    }
}

#[test]
fn a_silent_client_is_asked_for_a_sign_of_life() {
    let daemon = Daemon::with(&["--ping-after", "100ms", "--dead-after", "10min"]);
    let mut guest = daemon.guest("");
    // The client answers each ping when it reads the next message.
    for _ in 0..3 {
        assert_eq!(guest.message(), Message::Ping(Bytes::new()));
    }
}

#[test]
fn a_client_that_gives_no_sign_of_life_is_closed_and_has_timed_out() {
    let daemon = Daemon::with(&["--ping-after", "100ms", "--dead-after", "400ms"]);
    let mut alice = daemon.enter("alice");
    let mut guest = daemon.guest("");
    // It reads nothing, so it answers nothing.
    alice.hears(&["* guest-1 joined", "* guest-1 left (timeout)"]);
    guest.hears(&["* bye: nothing was heard of you for too long (timeout)"]);
    assert_eq!(guest.close_code(), 4001);
}

#[test]
fn shutdown_closes_with_1001() {
    let mut daemon = Daemon::start();
    let (mut guest, mut bot) = (daemon.guest(""), daemon.with_subprotocol("roomd.json", "?name=bot"));
    bot.text();
    guest.hears(&["* bot joined"]);
    daemon.signal("TERM");
    guest.hears(&["* server is shutting down"]);
    bot.is_told(json!({"type": "bye", "why": "shutdown"}));
    assert_eq!((guest.close_code(), bot.close_code()), (1001, 1001));
    assert_eq!(daemon.wait().0.code(), Some(0));
}

/// It used to be subscribed before its welcome was carried out: to the lobby, whatever its room.
#[test]
fn a_first_object_glued_to_the_upgrade_speaks_json_in_the_room_of_the_url() {
    use std::io::Write;
    let daemon = Daemon::start();
    let mut dev = daemon.enter_json("dora");
    dev.answers(
        json!({"type": "join", "room": "dev"}),
        json!({"type": "hello", "name": "dora", "room": "dev", "id": 0, "users": ["dora"], "total": 1}),
    );
    let mut glued = std::net::TcpStream::connect(daemon.addr()).expect("a listener");
    let upgrade = "GET /ws?room=dev HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let hello = crate::common::ws::frame(0x81, br#"{"type":"hello","name":"glue"}"#);
    glued.write_all(&[upgrade.as_bytes(), &hello].concat()).expect("it is read");
    dev.is_told(json!({"type": "join", "room": "dev", "name": "guest-1", "total": 2}));
    dev.is_told(json!({"type": "nick", "room": "dev", "from": "guest-1", "name": "glue"}));
    dev.say(r#"{"type":"public","body":"here"}"#);
    dev.say(r#"{"type":"quit"}"#);
    glued.shutdown(std::net::Shutdown::Write).expect("it is open");
    let mut heard = Vec::new();
    std::io::Read::read_to_end(&mut glued, &mut heard).expect("an end");
    assert!(String::from_utf8_lossy(&heard).contains(r#""room":"dev","from":"dora","body":"here""#));
    assert_eq!(daemon.metric("roomd_connections{dialect=\"ws-text\"}"), 0);
}

/// A guest is not welcomed, but what others tell it arrives.
#[test]
fn a_silent_guest_hears_what_it_is_told_privately() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut guest = daemon.guest("");
    alice.hears(&["* guest-1 joined"]);
    alice.say("/msg guest-1 psst");
    guest.hears(&["@alice: psst"]);
}

/// A ping says nothing that could be lost with a name; a message does, and then the WebSocket ends in good order.
#[test]
fn what_comes_along_with_a_refused_name_over_websocket() {
    let daemon = Daemon::start();
    let _alice = daemon.enter("alice");
    let mut bob = daemon.with_subprotocol("roomd.text", "");
    bob.hears(&[GREETING]);
    bob.send_raw(&[frame(0x81, b"alice"), frame(0x89, b"")].concat());
    bob.hears(&["! name-taken: alice is in use"]);
    assert_eq!(bob.message(), Message::Pong(Bytes::new()));
    bob.send_raw(&[frame(0x81, b"alice"), frame(0x81, b"hello")].concat());
    bob.hears(&[
        "! name-taken: alice is in use",
        "! dropped: 1 line was not said: what came with a name that was refused",
    ]);
    assert_eq!(bob.close_code(), 1000);
}
