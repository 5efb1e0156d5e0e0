//! A disk that does not answer: the thread of the store is stopped, by a debugger's means (ptrace(2)).

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::common::{Daemon, PATIENCE};
use crate::rig::{Place, Reader, Talker, health, message};

/// Stops a thread until its standard input is closed.
const STOP: &str = "
import ctypes, os, sys
libc, thread = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
ATTACH, DETACH, WALL = 16, 17, 0x40000000
if libc.ptrace(ATTACH, thread, None, None) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, WALL)
print('stopped', flush=True)
sys.stdin.read()
libc.ptrace(DETACH, thread, None, None)
";

/// A store whose thread stands still.
pub(crate) struct Hung(Child);

impl Hung {
    pub(crate) fn stop(daemon: &Daemon) -> Self {
        let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let is_store = |thread: &String| {
            let name = fs::read_to_string(format!("/proc/{}/task/{thread}/comm", daemon.pid()));
            name.is_ok_and(|name| name.trim() == "store")
        };
        let mut threads = threads.map(|thread| thread.unwrap().file_name().into_string().unwrap());
        let thread = threads.find(is_store).expect("a thread that is called so");
        let mut command = Command::new("python3");
        command.args(["-c", STOP, &thread]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "stopped\n", "it may be traced");
        Self(child)
    }

    pub(crate) fn goes_on(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
#[ignore = "needs python3, and ptrace"]
fn more_than_may_be_asked_waits_and_nothing_is_lost_or_refused() {
    const TALKERS: usize = 30;
    const SAID: usize = 60;
    let place = Place::new();
    let daemon = place.daemon(&[]);
    let mut watcher = daemon.enter("watcher");
    let mut talkers: Vec<Talker> =
        (0..TALKERS).map(|i| Talker::enter(&daemon, &format!("talker-{i}"), &format!("room-{i}"))).collect();
    daemon.metric_becomes("roomd_store_asks_waiting", 0);
    let hung = Hung::stop(&daemon);
    for (who, talker) in talkers.iter_mut().enumerate() {
        let said = |i: usize| {
            json!({"type": "public", "body": format!("{who} {i}"), "ref": i.to_string()}).to_string()
        };
        talker.client.say(&(0..SAID).map(said).collect::<Vec<String>>().join("\n"));
    }
    let deadline = Instant::now() + PATIENCE;
    while daemon.metric("roomd_store_asks_waiting") < 100 {
        assert!(Instant::now() < deadline, "nothing is asked");
    }
    // What needs no store is answered as ever.
    watcher.hears_nothing();
    watcher.hears_after("/me waves", &[]);
    watcher.hears_after("/quit", &[]);
    assert!(matches!(health(&daemon).0.as_str(), "200" | "503"));
    let mut late = daemon.connect();
    late.say("late\nfirst words");
    assert!(daemon.metric("roomd_store_asks_waiting") <= 1024);
    hung.goes_on();
    for talker in &mut talkers {
        for i in 0..SAID {
            assert_eq!(talker.answer(&i.to_string())["type"], "ack");
        }
    }
    while watcher.line() != "* bye" {}
    for who in 0..TALKERS {
        let (mut reader, _, newest) =
            Reader::enter(&daemon, &format!("reader-{who}"), &format!("room-{who}"));
        assert_eq!(newest, SAID as u64);
        let said = (0..SAID).map(|i| (i as u64 + 1, format!("{who} {i}")));
        assert!(reader.all(&format!("room-{who}")).iter().map(message).eq(said));
    }
    let mut lobby = Reader::enter(&daemon, "reader", "lobby").0;
    while lobby.all("lobby").len() < 2 {}
    assert_eq!(message(&lobby.all("lobby")[1]).1, "first words");
}

#[test]
#[ignore = "needs python3, and ptrace"]
fn who_stops_a_daemon_whose_disk_does_not_answer_is_waited_for() {
    let place = Place::new();
    let mut daemon = place.daemon(&[]);
    let mut alice = Talker::enter(&daemon, "alice", "lobby");
    let mut bob = Talker::enter(&daemon, "bob", "lobby");
    daemon.metric_becomes("roomd_store_asks_waiting", 0);
    let hung = Hung::stop(&daemon);
    alice.say("said", "r");
    while daemon.metric("roomd_store_asks_waiting") == 0 {}
    daemon.signal("TERM");
    bob.client.is_told(json!({"type": "bye", "why": "shutdown"}));
    hung.goes_on();
    assert_eq!(alice.answer("r")["id"], 1);
    alice.client.is_told(json!({"type": "bye", "why": "shutdown"}));
    let (status, log) = daemon.wait();
    assert!(status.success(), "{log:#?}");
    place.is_sound();
}
