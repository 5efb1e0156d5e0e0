//! A file that somebody else has locked: the store waits, and the loop does not.

use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use socket2::SockRef;
use tungstenite::Message;

use crate::common::{Client, Daemon, PATIENCE};
use crate::rig::{Place, Reader, Talker, becomes_healthy, health, message};

/// Another program writes to the file: nobody else does until it is done.
struct Lock {
    db: Connection,
    since: Instant,
}

impl Lock {
    fn take(place: &Place) -> Self {
        let db = Connection::open(place.data()).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self { db, since: Instant::now() }
    }

    /// Whether the store has waited for all of that time: it does for a second.
    fn release(self) -> bool {
        self.db.execute_batch("ROLLBACK").unwrap();
        self.since.elapsed() < Duration::from_millis(950)
    }
}

/// Tries something that has to be done within the second that a store waits, as often as this machine is too slow.
fn in_time(attempt: impl Fn(&Place, &Daemon) -> bool) {
    for _ in 0..10 {
        let place = Place::new();
        let daemon = place.daemon(&[]);
        if attempt(&place, &daemon) {
            return;
        }
    }
    panic!("this machine is too slow");
}

/// Something is asked of the store, and is not answered.
fn waits(daemon: &Daemon) {
    let deadline = Instant::now() + PATIENCE;
    while daemon.metric("roomd_store_asks_waiting") == 0 {
        assert!(Instant::now() < deadline, "nothing is asked");
    }
}

#[test]
fn the_loop_goes_on_while_the_store_waits_and_answers_keep_their_order() {
    in_time(|place, daemon| {
        let mut alice = Talker::enter(daemon, "alice", "lobby");
        let mut bob = daemon.enter("bob");
        let mut page = daemon.with_subprotocol("roomd.json", "?name=page");
        while !page.text().contains(r#""type":"hello""#) {}
        daemon.metric_becomes("roomd_store_asks_waiting", 0);
        let lock = Lock::take(place);
        let said =
            |i| json!({"type": "public", "body": format!("said {i}"), "ref": format!("r{i}")}).to_string();
        let (ping, users) = (r#"{"type":"ping","ref":"ping"}"#, r#"{"type":"users","ref":"users"}"#);
        alice.client.say(&[&said(1), &said(2), &said(3), ping, users, &said(4)].join("\n"));
        waits(daemon);
        // Everybody else is served.
        assert_eq!(health(daemon), ("200".into(), "ok".into()));
        bob.hears(&["* page joined"]);
        bob.hears_nothing();
        bob.hears_after("/who", &["* 3 here: alice, bob, page"]);
        bob.hears_after("/msg page psst", &["@bob: psst"][..0]);
        page.0.send(Message::Ping("are you there?".into())).unwrap();
        while page.0.read().unwrap() != Message::Pong("are you there?".into()) {}
        let mut late = daemon.enter("late");
        late.hears_nothing();
        bob.hears(&["* late joined"]);
        if !lock.release() {
            return false;
        }
        for i in 1..=3 {
            assert_eq!(alice.answer(&format!("r{i}"))["id"], i);
        }
        assert_eq!(alice.answer("ping")["type"], "pong");
        assert_eq!(alice.answer("users")["total"], 4);
        assert_eq!(alice.answer("r4")["id"], 4);
        let said: Vec<String> = (1..=4).map(|i| format!("alice: said {i}")).collect();
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        bob.hears(&said);
        late.hears(&said);
        true
    });
}

#[test]
fn who_closes_its_side_or_says_quit_is_heard_to_the_end() {
    in_time(|place, daemon| {
        let mut bob = daemon.enter("bob");
        let lock = Lock::take(place);
        // As `printf … | nc -N`.
        let mut piped = daemon.connect();
        piped.send(b"piped\none\ntwo\nthree");
        piped.end_output();
        let mut quits = daemon.connect();
        quits.say("quits\nfour\nfive\n/quit\nnever");
        let mut bot = daemon.connect();
        bot.say(r#"{"type":"hello","name":"bot"}"#);
        for request in [
            json!({"type": "public", "body": "six", "ref": "r6"}),
            json!({"type": "action", "body": "seven", "ref": "r7"}),
            json!({"type": "quit", "ref": "q"}),
            json!({"type": "public", "body": "never"}),
        ] {
            bot.say(&request.to_string());
        }
        let mut page = daemon.with_subprotocol("roomd.text", "?name=page");
        page.say("eight");
        page.0.close(None).unwrap();
        waits(daemon);
        bob.say("/ping");
        let mut before = Vec::new();
        while before.last().is_none_or(|line| line != "* pong") {
            before.push(bob.line());
        }
        // The program is told of its session, which is saved first.
        assert_eq!(before.len(), 4, "three have come, and nothing was said, nobody has left: {before:?}");
        if !lock.release() {
            return false;
        }
        let mut heard: Vec<String> = Vec::new();
        while heard.iter().filter(|line| line.ends_with(" left")).count() < 4 {
            heard.push(bob.line());
        }
        for (name, said) in [
            ("piped", &["piped: one", "piped: two", "piped: three", "* piped left"][..]),
            ("quits", &["quits: four", "quits: five", "* quits left"]),
            ("bot", &["* bot joined", "bot: six", "** bot seven", "* bot left"]),
            ("page", &["page: eight", "* page left"]),
        ] {
            assert!(heard.iter().filter(|line| line.contains(name)).eq(said), "{name} {heard:?}");
        }
        let answers: Vec<Value> =
            bot.rest().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let answers: Vec<&Value> = answers
            .iter()
            .filter(|a| a["ref"].is_string() || a["type"] == "bye")
            .map(|a| if a["type"] == "bye" { &a["type"] } else { &a["ref"] })
            .collect();
        assert_eq!(answers, ["r6", "r7", "bye"], "what is answered comes before the good-bye");
        assert!(quits.rest().ends_with("* bye\n"), "a good-bye");
        drop(piped.rest());
        true
    });
}

#[test]
fn who_resets_its_connection_is_heard_to_the_end_too() {
    in_time(|place, daemon| {
        let mut bob = daemon.enter("bob");
        let stream = TcpStream::connect(daemon.addr()).unwrap();
        // Closed, it is reset.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        let mut lost = Client::new(stream);
        lost.say("lost");
        bob.hears(&["* lost joined"]);
        let lock = Lock::take(place);
        lost.say("last words");
        waits(daemon);
        drop(lost);
        bob.hears_nothing();
        if !lock.release() {
            return false;
        }
        bob.hears(&["lost: last words", "* lost left (reset)"]);
        true
    });
}

#[test]
fn what_a_session_has_said_is_answered_before_it_is_taken_over() {
    in_time(|place, daemon| {
        let mut bob = daemon.enter("bob");
        let mut old = Talker::enter(daemon, "alice", "lobby");
        bob.hears(&["* alice joined"]);
        daemon.metric_becomes("roomd_store_asks_waiting", 0);
        let lock = Lock::take(place);
        old.say("once", "r1");
        waits(daemon);
        let mut new = daemon.connect();
        new.say(&json!({"type": "hello", "name": "alice", "session": old.session, "ref": "h"}).to_string());
        new.say(&json!({"type": "public", "body": "once", "ref": "r1"}).to_string());
        bob.hears_nothing();
        if !lock.release() {
            return false;
        }
        let mut new = Reader(new).0;
        assert_eq!(new.json()["session"], old.session);
        let ack = new.json();
        assert_eq!((&ack["type"], &ack["id"]), (&"ack".into(), &1.into()), "{ack}");
        assert_eq!(old.answer("r1")["id"], 1, "the old connection hears of it, too");
        old.client.is_told(json!({"type": "bye", "why": "taken-over"}));
        bob.hears(&["alice: once", "* alice left", "* alice joined"]);
        bob.hears_nothing();
        true
    });
}

#[test]
fn a_lock_that_stays_is_told_and_nothing_that_was_refused_is_seen() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    let mut alice = Talker::enter(&daemon, "alice", "lobby");
    let mut bob = Talker::enter(&daemon, "bob", "lobby");
    alice.say("before", "r0");
    assert_eq!(alice.answer("r0")["id"], 1);
    let lock = Lock::take(&place);
    for i in 0..20 {
        alice.say(&format!("refused {i}"), &format!("r-{i}"));
    }
    // It waits for a second, for all of them together or a few times; nobody else does.
    let answers: Vec<Value> = (0..20)
        .map(|i| {
            let asked = Instant::now();
            assert!(matches!(health(&daemon).0.as_str(), "200" | "503"));
            assert!(
                asked.elapsed() < Duration::from_millis(900),
                "the loop has waited: {:?}",
                asked.elapsed()
            );
            alice.answer(&format!("r-{i}"))
        })
        .collect();
    for answer in &answers {
        assert_eq!((&answer["type"], &answer["code"]), (&"error".into(), &"not-saved".into()), "{answer}");
    }
    let (status, sentence) = health(&daemon);
    assert!(status == "503" && sentence.starts_with("not-saved: another program locks"), "{sentence}");
    lock.release();
    becomes_healthy(&daemon);
    alice.say("after", "r-0");
    assert_eq!(alice.answer("r-0")["id"], 2);
    bob.send(json!({"type": "ping", "ref": "p"}));
    bob.answer("p");
    assert_eq!(bob.messages(), [(1, "before".to_owned()), (2, "after".to_owned())]);
}

/// Requests that wait do not overtake each other, whatever they ask.
#[test]
fn many_requests_at_once_are_answered_in_their_order_while_the_store_is_hindered_now_and_then() {
    let place = Place::new();
    let daemon = place.daemon(&["--history", "10"]);
    let mut alice = Talker::enter(&daemon, "alice", "lobby");
    let mut lock = None;
    for i in 0..200 {
        match i % 50 {
            10 => lock = Some(Lock::take(&place)),
            40 => drop(lock.take().map(Lock::release)),
            _ => {}
        }
        let request = match i % 7 {
            0 => json!({"type": "history", "limit": 5, "after": 0}),
            1 => json!({"type": "join", "room": format!("r{}", i % 5)}),
            2 => json!({"type": "users"}),
            3 => json!({"type": "ping"}),
            4 => json!({"type": "nick", "name": format!("alice{i}")}),
            _ => json!({"type": "public", "body": format!("said {i}")}),
        };
        let mut request = request;
        request["ref"] = i.to_string().into();
        alice.send(request);
    }
    for i in 0..200 {
        let answer = alice.answer(&i.to_string());
        if answer["type"] == "error" {
            assert_eq!(answer["code"], "not-saved", "{answer}");
        }
    }
    // What was told is what is there.
    let said: Vec<(u64, String)> = alice.messages();
    let mut kept = Vec::new();
    for room in ["lobby", "r0", "r1", "r2", "r3", "r4"] {
        let (mut reader, _, _) = Reader::enter(&daemon, &format!("reader-of-{room}"), room);
        kept.extend(reader.all(room).iter().map(message));
    }
    let sorted = |mut all: Vec<(u64, String)>| {
        all.sort_unstable();
        all
    };
    assert_eq!(sorted(kept), sorted(said));
}

/// The whole of it, with a real half-closed socket: what was said last is not lost, though the lock is long.
#[test]
fn a_sender_that_has_closed_its_side_is_told_what_could_not_be_saved() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    let mut bob = daemon.enter("bob");
    let lock = Lock::take(&place);
    let stream = TcpStream::connect(daemon.addr()).unwrap();
    let mut client = Client::new(stream.try_clone().unwrap());
    client.send(b"piped\none\ntwo\n");
    stream.shutdown(Shutdown::Write).unwrap();
    let rest = client.rest();
    assert_eq!(
        rest.lines().filter(|line| line.starts_with("! not-saved: another program locks")).count(),
        2,
        "{rest}"
    );
    bob.hears(&["* piped joined", "* piped left"]);
    lock.release();
}
