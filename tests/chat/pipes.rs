//! The filter in pipelines, and what it says when it cannot work.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::fake::{Fake, message};
use crate::{ROOMD, chat};

/// Runs `roomd chat` with this input to its end, while `server` serves it.
fn filter(input: impl AsRef<[u8]>, arguments: &[&str], server: impl FnOnce(Fake) + Send + 'static) -> Output {
    let fake = Fake::new();
    let mut command = chat(&fake.address, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_ref()).unwrap();
    let server = thread::spawn(move || server(fake));
    let output = child.wait_with_output().unwrap();
    server.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_piped_in_is_sent_and_confirmed() {
    let output = filter("hi\n\n/me waves\nlast, no newline", &["--name", "bot"], |fake| {
        let mut peer = fake.welcome(3, 1);
        let request = peer.expect("public");
        assert_eq!(request["body"], "hi");
        peer.said(4, "bob", "hello bot");
        peer.confirm(&request, 5, "bot");
        let request = peer.expect("action");
        peer.send(&json!({"type": "ack", "ref": request["ref"], "ts": 1, "id": 6}));
        let request = peer.expect("public");
        assert_eq!(request["body"], "last, no newline");
        peer.confirm(&request, 7, "bot");
        peer.farewell();
    });
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "2026-01-02T03:04:05Z bob: hello bot\n");
}

#[test]
fn a_refused_line_is_exit_status_1() {
    let output = filter("/msg nobody hi\n/xyz\n", &["--name", "bot"], |fake| {
        let mut peer = fake.welcome(0, 1);
        let request = peer.expect("private");
        peer.send(&json!({"type": "error", "code": "no-such-user", "text": "nobody is not here",
            "ref": request["ref"]}));
        peer.farewell();
    });
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("roomd: nobody is not here – not done: /msg nobody hi\n"), "{stderr}");
    assert!(stderr.contains("roomd: unknown command /xyz: nothing was sent"), "{stderr}");
}

/// It was sent with replacement characters, and the exit status was 0.
#[test]
fn a_line_that_is_not_utf_8_is_not_sent() {
    let output = filter(b"one\n\ncaf\xe9\nfour\n\xff", &["--name", "bot"], |fake| {
        let mut peer = fake.welcome(0, 1);
        for (id, body) in [(1, "one"), (2, "four")] {
            let request = peer.expect("public");
            assert_eq!(request["body"], body);
            peer.confirm(&request, id, "bot");
        }
        peer.farewell();
    });
    assert_eq!(output.status.code(), Some(1));
    let expected = "roomd: line 3 is not UTF-8: not sent\nroomd: line 5 is not UTF-8: not sent\n";
    assert_eq!(text(&output.stderr), expected);
}

/// They were never said, and the exit status was 0.
#[test]
fn lines_after_a_quit_are_counted_and_exit_status_1() {
    let after: String = (1..=1000).map(|n| format!("after {n}\n")).collect();
    for (after, sentence) in [
        ("", ""),
        ("\n \n", ""),
        ("after\n", "roomd: 1 line after /quit was not carried out\n"),
        (&after, "roomd: 1000 lines after /quit were not carried out\n"),
    ] {
        let output = filter(format!("before\n/quit\n{after}"), &["--name", "bot"], |fake| {
            let mut peer = fake.welcome(0, 1);
            let request = peer.expect("public");
            assert_eq!(request["body"], "before");
            peer.confirm(&request, 1, "bot");
            peer.farewell();
        });
        assert_eq!(text(&output.stderr), sentence);
        assert_eq!(output.status.code(), Some(i32::from(!sentence.is_empty())));
    }
}

/// Whoever writes into the pipe may have nothing more to say, and keep it open all the same.
#[test]
fn a_quit_does_not_wait_for_the_end_of_the_input() {
    let fake = Fake::new();
    let mut command = chat(&fake.address, &["--name", "bot"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"/quit\n").unwrap();
    fake.welcome(0, 1).farewell();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
    drop(input);
}

#[test]
fn an_input_that_cannot_be_read_is_exit_status_1() {
    let fake = Fake::new();
    let mut command = chat(&fake.address, &["--name", "bot"]);
    let directory = std::fs::File::open("/").unwrap();
    let child = command.stdin(directory).stderr(Stdio::piped()).spawn().unwrap();
    fake.welcome(0, 1).farewell();
    let output = child.wait_with_output().unwrap();
    assert!(text(&output.stderr).starts_with("roomd: cannot read the input: "), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_long_input_goes_through_a_window() {
    let input: String = (1..=2000).map(|n| format!("line {n}\n")).collect();
    let output = filter(&input, &["--name", "bot"], |fake| {
        let mut peer = fake.welcome(0, 1);
        for number in 1..=2000 {
            let request = peer.expect("public");
            assert_eq!(request["body"], format!("line {number}"));
            peer.confirm(&request, number, "bot");
        }
        peer.farewell();
    });
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_break_in_the_middle_of_an_input_neither_loses_nor_doubles() {
    let input: String = (1..=100).map(|n| format!("line {n}\n")).collect();
    let output = filter(&input, &["--name", "bot"], |fake| {
        let mut record = Vec::new();
        let mut sent = Vec::new();
        let mut peer = fake.welcome(0, 1);
        for id in 1..=20 {
            let request = peer.expect("public");
            record.push(message(id, "bot", request["body"].as_str().unwrap()));
            if id <= 10 {
                peer.confirm(&request, id, "bot");
            } else {
                sent.push(request);
            }
        }
        drop(peer);
        let mut peer = fake.welcome(20, 1);
        let request = peer.expect("history");
        let after = usize::try_from(request["after"].as_u64().unwrap()).unwrap();
        peer.history(&request, &record[after..]);
        // Answers on their way when it broke may have been lost as well.
        let mut request = peer.expect("public");
        while request["ref"] != sent[0]["ref"] {
            peer.ack(&request, None);
            request = peer.expect("public");
        }
        for (id, sent) in (11..=20).zip(&sent) {
            assert_eq!(request, *sent);
            peer.ack(&request, Some(id));
            request = peer.expect("public");
        }
        for id in 21..=100 {
            assert_eq!(request["body"], format!("line {id}"));
            peer.confirm(&request, id, "bot");
            if id < 100 {
                request = peer.expect("public");
            }
        }
        peer.farewell();
    });
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn what_is_in_doubt_or_taken_over_is_exit_status_1() {
    let output = filter("in doubt\n/msg bob psst\n/who\n", &["--name", "bot"], |fake| {
        let mut peer = fake.welcome(0, 1);
        for kind in ["public", "private", "users"] {
            peer.expect(kind);
        }
        drop(peer);
        let mut peer = fake.welcome(0, 2);
        let request = peer.expect("users");
        peer.send(
            &json!({"type": "users", "room": "lobby", "users": ["bot"], "total": 1, "ref": request["ref"]}),
        );
        peer.farewell();
    });
    assert_eq!(output.status.code(), Some(1));
    let doubt = "roomd: the connection broke, this may not have arrived";
    let told = format!("{doubt}: in doubt\n{doubt}: /msg bob psst\n");
    assert!(text(&output.stderr).contains(&told), "{}", text(&output.stderr));

    let output = filter("", &["--name", "log", "--receive"], |fake| {
        fake.welcome(0, 1).send(&json!({"type": "bye", "why": "taken-over"}));
    });
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "roomd: this session goes on elsewhere, and ends here\n");
}

#[test]
fn what_could_not_be_saved_is_told_with_the_text() {
    let output = filter("one\ntwo\n", &["--name", "bot"], |fake| {
        let mut peer = fake.welcome(0, 1);
        let request = peer.expect("public");
        peer.send(
            &json!({"type": "error", "code": "not-saved", "text": "the disk is full", "ref": request["ref"]}),
        );
        let request = peer.expect("public");
        peer.confirm(&request, 1, "bot");
        peer.farewell();
    });
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "roomd: the disk is full – not done: one\n");
}

#[test]
fn a_receiver_prints_what_it_hears_until_the_good_bye() {
    let output = filter("never read\n", &["--name", "log", "--receive"], |fake| {
        let mut peer = fake.welcome(0, 1);
        peer.said(1, "ユキ", "🎉");
        let ts = 1_767_323_045_000_u64;
        peer.send(&json!({"type": "join", "ts": ts, "room": "lobby", "name": "al", "total": 3}));
        peer.send(&json!({"type": "private", "ts": ts, "from": "al", "to": "log", "body": "psst"}));
        peer.send(&json!({"type": "bye", "why": "shutdown"}));
    });
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        "2026-01-02T03:04:05Z ユキ: 🎉\n\
         2026-01-02T03:04:05Z * al joined\n\
         2026-01-02T03:04:05Z @al: psst\n"
    );
    assert_eq!(text(&output.stderr), "roomd: the server is shutting down\n");
}

#[test]
fn json_prints_events_as_they_come() {
    let output = filter("hi\n", &["--name", "bot", "--json"], |fake| {
        let mut peer = fake.welcome(0, 1);
        let request = peer.expect("public");
        peer.confirm(&request, 1, "bot");
        peer.write("{\"type\":\"later\",\"text\":\"a\u{202e}\u{85}b\"}");
        peer.farewell();
    });
    let events: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["hello", "public", "ack", "later", "bye"]);
    assert_eq!(events[3]["text"], "a\u{202e}\u{85}b");
    assert!(!text(&output.stdout).contains(['\u{202e}', '\u{85}']), "it is escaped");
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let fake = Fake::new();
    let mut command = chat(&fake.address, &["--name", "log", "--receive"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut peer = fake.welcome(0, 1);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    peer.said(1, "bob", "first");
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.ends_with("bob: first\n"), "lines are flushed one by one");
    drop(stdout);
    peer.said(2, "bob", "second");
    peer.expect("quit");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn a_filter_that_is_killed_says_good_bye_or_its_name_would_be_kept() {
    use std::os::unix::process::ExitStatusExt;

    let fake = Fake::new();
    let mut command = chat(&fake.address, &["--name", "bot"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut peer = fake.welcome(0, 1);
    writeln!(child.stdin.as_ref().unwrap(), "hi").unwrap();
    peer.expect("public");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    peer.expect("quit");
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn a_shell_pipeline() {
    let fake = Fake::new();
    let script = r#"seq 3 | "$0" chat "$1" --name bot --json | grep -c '"type":"ack"'"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, ROOMD, &fake.address]).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let mut peer = fake.welcome(0, 1);
    for id in 1..=3 {
        let request = peer.expect("public");
        peer.confirm(&request, id, "bot");
    }
    peer.farewell();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), "3\n");
}

#[test]
fn errors_are_sentences() {
    let refused = |output: &Output, sentence: &str| {
        assert_eq!(output.status.code(), Some(1));
        let stderr = text(&output.stderr);
        assert!(stderr.starts_with("roomd: ") && stderr.contains(sentence), "{stderr}");
    };

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = chat(&nobody, &["--name", "bot"]).stdin(Stdio::null()).output().unwrap();
    refused(&output, &format!("nothing is listening on {nobody}"));

    let output = filter("hi\n", &["--name", "bot"], |fake| {
        let mut peer = fake.accept();
        let hello = peer.expect("hello");
        peer.send(&json!({"type": "error", "code": "name-taken", "text": "", "ref": hello["ref"]}));
    });
    refused(&output, "the name bot is taken");

    let output = filter("hi\n", &["--name", "bot"], |fake| {
        fake.accept().write("SSH-2.0-OpenSSH_9.6");
    });
    refused(&output, "is not a roomd: it answered “SSH-2.0-OpenSSH_9.6”");

    let output = filter("hi\n", &["--name", "bot"], |fake| {
        fake.accept().write("! full: 10000 connections are the most I take");
    });
    refused(&output, "does not let you in: full");

    let output = chat("no-such-host.invalid:1", &["--name", "bot"]).stdin(Stdio::null()).output();
    refused(&output.unwrap(), "the address of no-such-host.invalid cannot be found");

    let output = chat(&nobody, &[]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--name NAME"));
}
