//! Programs that have come to the wrong port, or were sent to it: nothing that they say is chat.

use crate::common::{Client, Daemon};

/// What a body, or whatever else follows, would say if it were taken for lines.
const BODY: &str = "\r\nmallory\r\nhello from the body\r\n";

/// Sends `bytes` and what would be chatted behind it: all that comes back until the end.
fn answer(mut client: Client, bytes: &[u8]) -> String {
    client.send(&[bytes, BODY.as_bytes()].concat());
    client.rest()
}

#[test]
fn a_request_line_in_any_shape_is_refused_and_its_body_is_not_chat() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    for line in [
        " POST /evil HTTP/1.1",
        "\t \tPOST\t/evil\tHTTP/1.1",
        "post /evil http/1.1",
        "BREW /evil HTTP/1.1",
        "x-y / HTTP/1.1",
        "\r\n\n POST http://127.0.0.1/ HTTP/1.1",
        " PRI * HTTP/2.0",
        " CONNECT mail.example:25 HTTP/1.1",
        "GET\tnothing HTTP/1.1",
    ] {
        let answer = answer(daemon.connect(), format!("{line}\r\nHost: x\r\n").as_bytes());
        let last = answer.lines().last();
        let expected = "! bad-argument: an HTTP request is not chat; the connection is closed";
        assert_eq!(last, Some(expected), "{line:?}");
        if !line.contains("nothing") {
            let mut bob = daemon.enter("bob");
            bob.send(format!("{line}\r\n{BODY}").as_bytes());
            bob.hears(&[expected]);
            bob.hears_the_end();
            alice.hears(&["* bob joined", "* bob left"]);
        }
    }
    // Too long for a line: what it is cannot be seen, nor what is behind it be said.
    let long = format!("BREW /{} HTTP/1.1\r\nHost: x\r\n", "x".repeat(5000));
    let expected = "! bad-argument: an HTTP request is not chat; the connection is closed\n";
    assert_eq!(answer(daemon.connect(), long.as_bytes()), expected);
    alice.hears_nothing();
}

#[test]
fn who_speaks_another_protocol_does_not_become_a_member() {
    let mut daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    for (bytes, name) in [
        (&b"SSH-2.0-Go\r\n"[..], "SSH"),
        (b"*1\r\n$4\r\nPING\r\n", "Redis"),
        (b"PING\r\n", "Redis"),
        (b"EHLO mail.example\r\n", "SMTP"),
        (b"CAP LS 302\r\nNICK mallory\r\n", "IRC"),
        (b"OPTIONS sip:nm SIP/2.0\r\n", "HTTP/1.1 "), // its method is one of HTTP
        (b"DESCRIBE rtsp://x/ RTSP/1.0\r\n", "RTSP"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "the PROXY protocol"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "a binary protocol"),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", "a binary protocol"),
        (b"\x05\x01\0", "a binary protocol"),
        (b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04mall", "a binary protocol"),
        (b"\0\0\0\x2f\xffSMBr\0", "a binary protocol"),
        (b"0033git-upload-pack /project.git\0host=x\0", "a binary protocol"),
    ] {
        let shown = String::from_utf8_lossy(bytes);
        assert!(answer(daemon.connect(), bytes).contains(name), "{shown:?}");
        if !name.starts_with("HTTP") {
            assert!(daemon.logs("is not chat").contains(name), "{shown:?}");
        }
        // Without a newline, and waiting for an answer.
        if name == "a binary protocol" {
            let mut client = daemon.connect();
            client.send(bytes);
            let told = client.rest();
            let expected = "! bad-argument: a binary protocol is not chat; the connection is closed";
            // In a frame with a length, if it began like one.
            assert!(told.trim_end().ends_with(expected), "{told}");
        }
    }
    // Somebody with another keyboard may try again.
    let mut renee = daemon.connect();
    renee.send(b"ren\xe9e\n");
    renee.hears(&["! bad-utf8: the line is not UTF-8"]);
    alice.hears_nothing();
}

#[test]
fn a_person_may_have_the_name_of_a_command() {
    let daemon = Daemon::start();
    for name in ["ping", "Ping", "help", "user", "nick", "info", "SSH", "git", "stats", "bob\t"] {
        let mut person = daemon.enter(name.trim());
        person.hears_after("/quit", &["* bye"]);
        person.hears_the_end();
    }
    let answer = answer(daemon.connect(), b"PING\n");
    assert_eq!(
        answer,
        "! name-bad: PING is what Redis begins with; as a name, write ping; the connection is closed\n"
    );
    // A program that means it says so.
    let _bot = daemon.enter_json("PING");
    let _page = daemon.guest("?name=QUIT");
}

#[test]
fn telnet_says_control_bytes_and_is_a_person_all_the_same() {
    let daemon = Daemon::start();
    let mut bob = daemon.connect();
    // IAC WILL NAWS, IAC SB NAWS 0 80 0 24 IAC SE, and later the name.
    bob.send(b"\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0bo");
    assert_eq!(bob.bytes(3), b"\xff\xfe\x1f", "IAC DONT NAWS");
    bob.hears_after("b", &["* welcome bob - #lobby, 1 here: bob"]);
}
