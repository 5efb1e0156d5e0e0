//! A disk without room, while people talk.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PATIENCE, roomd};
use crate::rig::{Place, Reader, Talker, becomes_healthy, health, message, pipe};

/// So many talk.
const TALKERS: usize = 4;
/// Each of them says so many things at once.
const AT_ONCE: usize = 5;

/// What people said, and what became of it.
#[derive(Default)]
struct Outcomes {
    /// By body: its id.
    saved: BTreeMap<String, u64>,
    /// The bodies, with who said each with which `ref`.
    refused: BTreeMap<String, (usize, String)>,
}

impl Outcomes {
    /// Everybody says some things at once, then hears what became of them.
    fn round(&mut self, talkers: &mut [Talker], round: usize) {
        let said = |who: usize, i: usize| {
            (format!("{who}-{round}-{i}"), format!("{who} {round} {i} {}", "x".repeat(3000)))
        };
        for (who, talker) in talkers.iter_mut().enumerate() {
            for i in 0..AT_ONCE {
                let (reference, body) = said(who, i);
                talker.say(&body, &reference);
            }
        }
        for (who, talker) in talkers.iter_mut().enumerate() {
            for i in 0..AT_ONCE {
                let (reference, body) = said(who, i);
                let answer = talker.answer(&reference);
                if answer["type"] == "ack" {
                    self.saved.insert(body, answer["id"].as_u64().unwrap());
                } else {
                    is_not_saved(&answer);
                    self.refused.insert(body, (who, reference));
                }
            }
        }
    }
}

fn is_not_saved(answer: &Value) {
    assert_eq!((&answer["type"], &answer["code"]), (&"error".into(), &"not-saved".into()), "{answer}");
    assert!(answer["text"].as_str().unwrap().contains("the disk "), "{answer}");
}

/// People talk until the disk is full, and go on when there is room again.
fn refuses_until_there_is_room(daemon: &Daemon, make_room: impl FnOnce()) {
    let mut talkers: Vec<Talker> =
        (0..TALKERS).map(|i| Talker::enter(daemon, &format!("talker-{i}"), "dev")).collect();
    let mut watcher = Talker::enter(daemon, "watcher", "dev");
    let mut netcat = daemon.enter("netcat");
    netcat.hears_after(
        "/join dev",
        &["* welcome netcat - #dev, 6 here: netcat, talker-0, talker-1, talker-2, talker-3, watcher"],
    );
    let mut outcomes = Outcomes::default();
    for round in 0.. {
        outcomes.round(&mut talkers, round);
        // Who does not read is closed as slow.
        watcher.send(json!({"type": "ping", "ref": "ping"}));
        watcher.answer("ping");
        netcat.say("/ping");
        while netcat.line() != "* pong" {}
        // It stays so, and what is short is refused, too.
        if outcomes.refused.len() > 3 * TALKERS * AT_ONCE {
            break;
        }
        assert!(round < 200, "there is always room");
    }
    assert!(outcomes.saved.len() > TALKERS * AT_ONCE, "there was room first");
    says_so_by_text(&mut netcat, &mut outcomes);
    is_full_for_good(daemon);
    the_rest_goes_on(daemon, &mut talkers[0], &mut outcomes);

    make_room();
    becomes_healthy(daemon);
    // What was refused may be said again, with the same `ref`.
    for (body, (who, reference)) in std::mem::take(&mut outcomes.refused) {
        talkers[who].say(&body, &reference);
        let ack = talkers[who].answer(&reference);
        assert_eq!(ack["type"], "ack", "{ack}");
        outcomes.saved.insert(body, ack["id"].as_u64().unwrap());
    }
    outcomes.round(&mut talkers, 1000);
    assert!(outcomes.refused.is_empty());
    let newest = watcher_saw_what_is_saved(daemon, &mut watcher, &outcomes);
    netcat.say("by text");
    assert_eq!(watcher.client.json()["id"], newest + 1);
}

/// What is short may fit for a while. What is said by text has no ack: its id is found later.
fn says_so_by_text(netcat: &mut Client, outcomes: &mut Outcomes) {
    for i in 0.. {
        let body = format!("by text {i} {}", "y".repeat(3000));
        netcat.say(&body);
        netcat.say("/ping");
        let mut lines = std::iter::from_fn(|| Some(netcat.line()).filter(|line| line != "* pong")).fuse();
        let refused = lines.find(|line| line.starts_with('!'));
        lines.for_each(drop);
        if let Some(line) = refused {
            assert!(line.starts_with("! not-saved: the disk "), "{line}");
            return;
        }
        assert!(i < 200, "there is always room");
        outcomes.saved.insert(body, 0);
    }
}

/// While the very last bytes are used up, all may seem well for a moment.
fn is_full_for_good(daemon: &Daemon) {
    let deadline = Instant::now() + PATIENCE;
    while health(daemon).0 != "503" || daemon.metric("roomd_store_healthy") != 0 {
        assert!(Instant::now() < deadline, "{:?}", health(daemon));
    }
    let (status, sentence) = health(daemon);
    assert!(status == "503" && sentence.starts_with("not-saved: the disk "), "{status} {sentence}");
}

/// Who comes and goes, and what was said before, has nothing to do with the disk.
fn the_rest_goes_on(daemon: &Daemon, talker: &mut Talker, outcomes: &mut Outcomes) {
    let mut late = Talker::enter(daemon, "late", "dev");
    late.send(json!({"type": "users", "ref": "u"}));
    assert_eq!(late.answer("u")["total"], 7);
    late.send(json!({"type": "history", "after": 0, "limit": 3, "ref": "h"}));
    assert_eq!(late.answer("h")["events"].as_array().unwrap().len(), 3);
    late.send(json!({"type": "private", "to": "talker-0", "body": "psst", "ref": "p"}));
    assert_eq!(late.answer("p")["type"], "ack");
    late.send(json!({"type": "nick", "name": "later", "ref": "n"}));
    assert_eq!(late.answer("n")["type"], "ack");
    talker.send(json!({"type": "ping", "ref": "ping"}));
    assert_eq!(talker.answer("ping")["type"], "pong");
    assert!(talker.heard.iter().any(|event| event["type"] == "private"));
    // Its session goes on, though nothing can be written.
    let session = late.session.clone();
    drop(late);
    let mut late = Talker::come_back(daemon, "later", "dev", &session);
    assert_eq!(late.session, session);
    // Nothing that was refused is to be found.
    let mut reader = Reader(late.client);
    let kept: BTreeMap<String, u64> =
        reader.all("dev").iter().map(message).map(|(id, body)| (body, id)).collect();
    for (body, id) in outcomes.saved.iter_mut().filter(|(_, id)| **id == 0) {
        *id = kept[body];
    }
    assert_eq!(kept, outcomes.saved);
    late = Talker::enter(daemon, "last", "lobby");
    late.send(json!({"type": "quit"}));
    assert_eq!(late.client.json()["type"], "bye");
}

/// Returns the newest id.
fn watcher_saw_what_is_saved(daemon: &Daemon, watcher: &mut Talker, outcomes: &Outcomes) -> u64 {
    watcher.send(json!({"type": "ping", "ref": "ping"}));
    watcher.answer("ping");
    let mut saved: Vec<(u64, String)> = outcomes.saved.iter().map(|(body, &id)| (id, body.clone())).collect();
    saved.sort_unstable();
    assert_eq!(watcher.messages(), saved, "what was refused, nobody saw");
    assert!(saved.iter().map(|(id, _)| *id).eq(1..=saved.len() as u64), "no holes");
    let (mut reader, _, newest) = Reader::enter(daemon, "reader", "dev");
    assert_eq!(reader.all("dev").iter().map(message).collect::<Vec<_>>(), saved);
    drop(reader);
    while watcher.client.json()["type"] != "leave" {}
    newest
}

#[test]
#[ignore = "needs to mount a small file system"]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let place = Place::new();
    let data = place.data();
    // In a mount namespace of its own: it is gone with the daemon. The ballast is what makes room.
    let script = r#"mount -t tmpfs -o size=12m none "$1" && head -c 10m /dev/zero > "$1/ballast" && shift && exec "$@""#;
    let roomd = roomd(&["--listen", "127.0.0.1:0", "--data", &data]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&place.0)
        .arg(roomd.get_program())
        .args(roomd.get_args());
    let mut daemon = Daemon::spawn(pipe(&mut command));
    let inside = format!("/proc/{}/root{}", daemon.pid(), place.path("ballast"));
    refuses_until_there_is_room(&daemon, || fs::remove_file(inside).unwrap());
    let log = ends(&mut daemon);
    assert!(log.iter().any(|line| line.contains("ERROR") && line.contains("the disk is full")), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("it is saved again")), "{log:#?}");
}

#[test]
fn a_file_that_may_not_grow_refuses_and_goes_on_when_it_may() {
    let place = Place::new();
    let data = place.data();
    let roomd = roomd(&["--listen", "127.0.0.1:0", "--data", &data]);
    let mut command = Command::new("prlimit");
    command.arg("--fsize=600000:unlimited").arg(roomd.get_program()).args(roomd.get_args());
    let mut daemon = Daemon::spawn(pipe(&mut command));
    refuses_until_there_is_room(&daemon, || {
        let pid = daemon.pid().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:unlimited"]).status();
        assert!(status.unwrap().success());
    });
    ends(&mut daemon);
    place.is_sound();
    // What was refused is not there either when it is started again.
    let daemon = place.daemon(&[]);
    let (mut reader, _, newest) = Reader::enter(&daemon, "next-reader", "dev");
    assert!(reader.all("dev").iter().map(message).map(|(id, _)| id).eq(1..=newest));
}

fn ends(daemon: &mut Daemon) -> Vec<String> {
    daemon.signal("TERM");
    let (status, log) = daemon.wait();
    assert!(status.success(), "{status} {log:#?}");
    log
}
