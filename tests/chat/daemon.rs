//! The client and the real daemon.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use crate::pty::Terminal;
use crate::{DEADLINE, ROOMD, chat, directory};

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: String,
}

impl Daemon {
    pub(crate) fn start() -> Daemon {
        Daemon::listen("127.0.0.1:0", &[])
    }

    pub(crate) fn listen(address: &str, flags: &[&str]) -> Daemon {
        let mut command = Command::new(ROOMD);
        command.args(["serve", "--listen", address]).args(flags);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the daemon has ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
        };
        // What it says later must not fill the pipe.
        thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        Daemon { child, address }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    /// Everything that was said in the lobby, asked for by somebody else.
    fn record(&self) -> Vec<String> {
        self.record_of("lobby")
    }

    /// The same of any room.
    pub(crate) fn record_of(&self, room: &str) -> Vec<String> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut events = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut request = json!({"type": "hello", "name": "clerk", "room": room});
        let mut record = Vec::new();
        loop {
            stream.write_all(format!("{request}\n").as_bytes()).unwrap();
            let page = loop {
                let event: Value = serde_json::from_str(&events.next().unwrap().unwrap()).unwrap();
                if event["type"] == "history" || request["type"] == "hello" {
                    break event;
                }
            };
            let said = page["events"].as_array();
            record.extend(said.into_iter().flatten().map(|m| m["body"].as_str().unwrap().to_owned()));
            if page["more"] == false {
                // Or the name would be kept for this session.
                stream.write_all(b"{\"type\":\"quit\"}\n").unwrap();
                events.map_while(Result::ok).for_each(drop);
                return record;
            }
            let last = said.and_then(|said| said.last()).map_or(0, |m| m["id"].as_u64().unwrap());
            request = json!({"type": "history", "limit": 1000, "after": last});
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody with `nc`.
pub(crate) struct Netcat(TcpStream);

impl Netcat {
    pub(crate) fn start(address: &str, name: &str) -> Netcat {
        let mut netcat = Netcat(TcpStream::connect(address).unwrap());
        netcat.say(name);
        netcat
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for a line.
    pub(crate) fn hears(&mut self, wanted: &str) {
        self.0.set_read_timeout(Some(DEADLINE)).unwrap();
        let lines = BufReader::new(self.0.try_clone().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == wanted), "{wanted}");
    }
}

/// `roomd chat --receive`, which is there already, and the lines it prints.
fn witness(daemon: &Daemon) -> (Child, Receiver<String>) {
    let mut command = chat(&daemon.address, &["--name", "witness", "--receive"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (lines, heard) = mpsc::channel();
    thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| lines.send(line).is_ok()));
    while !heard.try_iter().any(|line: String| line.contains("clerk")) {
        daemon.record();
    }
    (child, heard)
}

/// How many rows show this text.
fn count(rows: &[String], text: &str) -> usize {
    rows.iter().filter(|row| row.contains(text)).count()
}

#[test]
fn two_terminals_and_a_netcat_talk() {
    let daemon = Daemon::start();
    let mut alice = Terminal::start(&daemon.address, &["--name", "alice"]);
    alice.wait_prompt("> ");
    let mut yuki = Terminal::start(&daemon.address, &["--name", "ユキ"]);
    yuki.wait_row("·  you are ユキ in #lobby, 2 here: alice, ユキ");
    yuki.wait_prompt("> ");
    alice.wait_row("*  ユキ joined");
    let mut bob = Netcat::start(&daemon.address, "bob");
    alice.wait_row("*  bob joined");

    alice.enter("こんにちは 🎉");
    bob.hears("alice: こんにちは 🎉");
    let rows = yuki.wait_row("alice  こんにちは 🎉");
    assert_eq!(count(&rows, "🎉"), 1, "{rows:#?}");
    let rows = alice.wait_row("alice  こんにちは 🎉");
    assert_eq!(count(&rows, "🎉"), 1, "{rows:#?}");

    bob.say("hi ユキ");
    yuki.wait_row("bob  hi ユキ");
    assert_eq!(yuki.written(b"\x07"), 1);
    assert_eq!(alice.written(b"\x07"), 0);

    yuki.enter("/msg bob psst");
    bob.hears("@ユキ: psst");
    yuki.wait_row("you → bob  psst");
    yuki.enter("/me waves");
    alice.wait_row("**  ユキ waves");
    yuki.enter("/nick alice");
    yuki.wait("a refusal", |rows| count(rows, "not done: /nick alice") == 1);
    yuki.enter("/nick yuki");
    yuki.wait_row("*  you are now yuki");
    alice.wait_row("*  ユキ is now yuki");
    yuki.enter("/join dev");
    yuki.wait_row("·  you are yuki in #dev, 1 here: yuki");
    yuki.enter("/rooms");
    yuki.wait("both rooms", |rows| {
        count(rows, "#dev (1, current)") == 1 && count(rows, "#lobby (3, joined)") == 1
    });
    yuki.enter("/quit");
    assert_eq!(yuki.end(), 0);
}

/// It used to enter the lobby again, with its older messages.
#[test]
fn leaving_the_lobby_says_that_one_is_there() {
    let daemon = Daemon::start();
    let mut bob = Netcat::start(&daemon.address, "bob");
    bob.say("said before");
    bob.say("/ping");
    let mut alice = Terminal::start(&daemon.address, &["--name", "alice"]);
    alice.wait_row("bob  said before");
    for leave in ["/leave", "/part lobby"] {
        alice.enter(leave);
        alice.wait_row("!  you are in the lobby; /quit leaves");
    }
    alice.enter("/leave dev");
    alice.wait_row("!  you are not in #dev");
    alice.enter("/join dev");
    alice.wait_row("·  you are alice in #dev, 1 here: alice");
    alice.enter("/part #DEV");
    let rows = alice.wait_row("·  you left #dev");
    assert_eq!(count(&rows, "said before"), 1, "{rows:#?}");

    // What is typed ahead of an answer is about the room that the answer will lead to.
    let input = "/join dev\n/leave dev\nback\n/leave\n";
    let mut command = chat(&daemon.address, &["--name", "bot"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut bot = command.spawn().unwrap();
    bot.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = bot.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "roomd: you are in the lobby; /quit leaves\n");
    assert_eq!(output.status.code(), Some(1));
    alice.wait_row("bot  back");
}

#[test]
fn several_lines_are_one_message_to_a_terminal_and_as_many_lines_to_a_netcat() {
    let daemon = Daemon::start();
    let mut alice = Terminal::start(&daemon.address, &["--name", "alice"]);
    alice.wait_prompt("> ");
    let bob = Terminal::start(&daemon.address, &["--name", "bob"]);
    alice.wait_row("*  bob joined");
    let mut carol = Netcat::start(&daemon.address, "carol");
    alice.wait_row("*  carol joined");
    alice.paste("if x:\n\tgo()");
    alice.press("\r");
    carol.hears("alice: \tgo()");
    let rows = bob.wait_row("alice  if x:");
    assert_eq!(count(&rows, &format!("{}go()", " ".repeat(24))), 1, "{rows:#?}");
    assert_eq!(daemon.record(), ["if x:\n\tgo()"]);
}

#[test]
fn a_taken_name_is_asked_for_again_and_given_up_by_a_filter() {
    let daemon = Daemon::start();
    let first = Terminal::start(&daemon.address, &["--name", "alice"]);
    first.wait_prompt("> ");
    let mut second = Terminal::start(&daemon.address, &["--name", "alice"]);
    second.wait_row("!  the name alice is taken");
    second.wait_prompt("your name?");
    second.enter("carol");
    second.wait_row("·  you are carol in #lobby, 2 here: alice, carol");
    let output = chat(&daemon.address, &["--name", "alice"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "roomd: the name alice is taken\n");
}

#[test]
fn a_full_server_says_so() {
    let daemon = Daemon::listen("127.0.0.1:0", &["--max-connections", "1"]);
    let alice = Terminal::start(&daemon.address, &["--name", "alice"]);
    alice.wait_prompt("> ");
    let output = chat(&daemon.address, &["--name", "bot"]).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("does not let you in: "), "{stderr}");
}

/// Everything typed around a restart was said once, in order, before it or after it.
#[test]
fn typing_through_a_restart_loses_and_doubles_nothing() {
    const LINES: usize = 40;
    let daemon = Daemon::start();
    let address = daemon.address.clone();
    let (mut witness, heard) = witness(&daemon);
    let mut alice = Terminal::start(&address, &["--name", "alice"]);
    alice.wait_prompt("> ");
    let mut enter = |from, to| (from..=to).for_each(|number| alice.enter(&format!("line {number}")));
    enter(1, LINES / 2);
    daemon.terminate();
    enter(LINES / 2 + 1, LINES * 3 / 4);
    let daemon = Daemon::listen(&address, &[]);
    enter(LINES * 3 / 4 + 1, LINES);
    let rows = alice.wait_row(&format!("alice  line {LINES}"));
    assert_eq!(count(&rows, "…  "), 0, "{rows:#?}");

    witness.wait().unwrap();
    let before = heard.iter().filter_map(|line| Some(line.split_once(" alice: ")?.1.to_owned()));
    let said: Vec<_> = before.chain(daemon.record()).collect();
    let expected: Vec<_> = (1..=LINES).map(|number| format!("line {number}")).collect();
    assert_eq!(said, expected);
}

/// The daemon dies without a word while nothing is in doubt.
#[test]
fn a_killed_daemon_is_waited_for() {
    let daemon = Daemon::start();
    let address = daemon.address.clone();
    let mut alice = Terminal::start(&address, &["--name", "alice"]);
    alice.wait_prompt("> ");
    alice.enter("before");
    alice.wait_row("alice  before");
    drop(daemon);
    alice.wait("the bad news", |rows| count(rows, "connection lost") == 1);
    alice.enter("meanwhile");
    alice.wait_row("…  meanwhile");
    let daemon = Daemon::listen(&address, &[]);
    alice.wait_row("alice  meanwhile");
    alice.enter("after");
    let rows = alice.wait_row("alice  after");
    assert_eq!(count(&rows, "connection lost"), 1, "{rows:#?}");
    assert_eq!(count(&rows, "began anew"), 1, "{rows:#?}");
    assert_eq!(daemon.record(), ["meanwhile", "after"]);
}

/// With a file it knows what it has said, and whose session that was.
#[test]
fn typing_through_a_kill_of_a_daemon_with_a_file_loses_and_doubles_nothing() {
    const LINES: usize = 40;
    let data = directory().join("rooms");
    let flags = ["--data", data.to_str().unwrap()];
    let daemon = Daemon::listen("127.0.0.1:0", &flags);
    let address = daemon.address.clone();
    let mut alice = Terminal::start(&address, &["--name", "alice"]);
    alice.wait_prompt("> ");
    let mut enter = |from, to| (from..=to).for_each(|number| alice.enter(&format!("line {number}")));
    enter(1, LINES / 2);
    drop(daemon);
    enter(LINES / 2 + 1, LINES * 3 / 4);
    let daemon = Daemon::listen(&address, &flags);
    enter(LINES * 3 / 4 + 1, LINES);
    let rows = alice.wait_row(&format!("alice  line {LINES}"));
    assert_eq!(count(&rows, "may not have arrived") + count(&rows, "began anew"), 0, "{rows:#?}");
    let expected: Vec<_> = (1..=LINES).map(|number| format!("line {number}")).collect();
    assert_eq!(daemon.record(), expected);
}

#[test]
fn a_session_that_is_continued_elsewhere_ends_here() {
    let daemon = Daemon::start();
    let mut command = chat(&daemon.address, &["--name", "log", "--receive", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut hello = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut hello).unwrap();
    let hello: Value = serde_json::from_str(&hello).unwrap();
    let mut other = TcpStream::connect(&daemon.address).unwrap();
    let request = json!({"type": "hello", "name": "log", "session": hello["session"]});
    other.write_all(format!("{request}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "roomd: this session goes on elsewhere, and ends here\n");
    assert_eq!(output.status.code(), Some(1));
}

/// A pipe that is full all the time, and a daemon restarted in its middle.
#[test]
fn a_pipeline_through_a_restart_loses_and_doubles_nothing() {
    const LINES: usize = 600;
    let daemon = Daemon::start();
    let address = daemon.address.clone();
    let (mut witness, heard) = witness(&daemon);
    let mut command = chat(&address, &["--name", "bot"]);
    let mut bot = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input: ChildStdin = bot.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        for number in 1..=LINES {
            writeln!(input, "line {number}").unwrap();
        }
    });
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut note = |line: &str| *counts.entry(line.to_owned()).or_default() += 1;
    let bodies = |line: String| Some(line.split_once(" bot: ")?.1.to_owned());
    let mut said = heard.iter().filter_map(bodies);
    for line in said.by_ref().take(LINES / 4) {
        note(&line);
    }
    daemon.terminate();
    witness.wait().unwrap();
    said.for_each(|line| note(&line));
    let daemon = Daemon::listen(&address, &[]);
    let output = bot.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    writer.join().unwrap();
    for line in daemon.record() {
        note(&line);
    }
    let expected = (1..=LINES).map(|number| (format!("line {number}"), 1)).collect();
    assert_eq!(counts, expected);
}
