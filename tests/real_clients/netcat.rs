//! Real netcats: OpenBSD's, as Debian's `netcat-openbsd` has it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::common::{Daemon, GREETING, PATIENCE, socket_path};

/// A running `nc`. Dropping it ends the process.
struct Netcat {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Netcat {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new("nc");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("nc starts: is Debian's netcat-openbsd installed?");
        let input = child.stdin.take();
        let lines = lines_of(child.stdout.take().expect("stdout is piped"));
        Self { child, input, lines }
    }

    fn to(daemon: &Daemon, flags: &[&str]) -> Self {
        let (ip, port) = (daemon.addr().ip().to_string(), daemon.addr().port().to_string());
        Self::start(&[flags, &[&ip, &port]].concat())
    }

    fn types(&mut self, text: &str) {
        self.input.as_mut().expect("it is open").write_all(text.as_bytes()).expect("nc reads");
    }

    /// As Ctrl-D, or the end of a pipe.
    fn ends_input(&mut self) {
        self.input = None;
    }

    /// The next lines are these.
    #[track_caller]
    fn shows(&self, lines: &[&str]) {
        for line in lines {
            let shown = self.lines.recv_timeout(PATIENCE);
            assert_eq!(shown.as_deref(), Ok(*line));
        }
    }

    /// It ends by itself and shows nothing more.
    #[track_caller]
    fn ends(&mut self) {
        assert_eq!(self.lines.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
        assert!(self.child.wait().expect("its end").success());
    }
}

impl Drop for Netcat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(output: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

#[test]
#[ignore = "needs nc"]
fn two_people_talk() {
    let daemon = Daemon::start();
    let mut alice = Netcat::to(&daemon, &[]);
    alice.types("\n");
    alice.shows(&[GREETING]);
    alice.types("alice\n");
    alice.shows(&["* welcome alice - #lobby, 1 here: alice"]);
    let mut bob = Netcat::to(&daemon, &[]);
    bob.types("bob\n");
    bob.shows(&["* welcome bob - #lobby, 2 here: alice, bob"]);
    alice.shows(&["* bob joined"]);
    bob.types("hello\n/msg alice psst\n");
    alice.shows(&["bob: hello", "@bob: psst"]);
    alice.types("hi bob\n/quit\n");
    bob.shows(&["alice: hi bob", "* alice left"]);
    alice.shows(&["* bye"]);
    // Its input is open still: the next line that is typed belongs to the shell.
    alice.ends();
}

#[test]
#[ignore = "needs nc"]
fn a_pipe_delivers_and_ends_by_itself() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    // printf 'bot\nhello\n' | nc -N HOST PORT
    let mut bot = Netcat::to(&daemon, &["-N"]);
    bot.types("bot\nhello\n");
    bot.ends_input();
    alice.hears(&["* bot joined", "bot: hello", "* bot left"]);
    let last = std::iter::from_fn(|| bot.lines.recv_timeout(PATIENCE).ok()).last();
    assert_eq!(last.as_deref(), Some("* welcome bot - #lobby, 2 here: alice, bot"));
    bot.ends();
}

#[test]
#[ignore = "needs nc"]
fn a_pipe_without_a_last_newline_delivers_too() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bot = Netcat::to(&daemon, &["-N"]);
    bot.types("bot\nhello");
    bot.ends_input();
    alice.hears(&["* bot joined", "bot: hello", "* bot left"]);
}

#[test]
#[ignore = "needs nc"]
fn a_netcat_that_is_killed_has_left() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bob = Netcat::to(&daemon, &[]);
    bob.types("bob\n");
    alice.hears(&["* bob joined"]);
    drop(bob);
    // If it dies with something unread, the system resets the connection.
    let line = alice.line();
    assert!(["* bob left", "* bob left (reset)"].contains(&&*line), "{line}");
}

#[test]
#[ignore = "needs nc"]
fn telnet_options_and_crlf_of_a_netcat_in_telnet_mode() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bob = Netcat::to(&daemon, &["-C", "-t"]);
    bob.types("bob\nhello\n");
    alice.hears(&["* bob joined", "bob: hello"]);
}

#[test]
#[ignore = "needs nc"]
fn a_netcat_on_the_unix_socket_and_one_on_tcp_meet() {
    let path = socket_path();
    let listen = format!("unix:{}", path.display());
    let daemon = Daemon::with(&["--listen", "127.0.0.1:0", "--listen", &listen]);
    let mut alice = Netcat::to(&daemon, &[]);
    alice.types("alice\nhi\n");
    alice.shows(&["* welcome alice - #lobby, 1 here: alice"]);
    let mut bob = Netcat::start(&["-U", &path.display().to_string()]);
    bob.types("bob\nhello\n");
    alice.shows(&["* bob joined", "bob: hello"]);
}

#[test]
#[ignore = "needs nc"]
fn sigterm_ends_every_netcat_with_a_goodbye() {
    let mut daemon = Daemon::start();
    let mut alice = Netcat::to(&daemon, &["-N"]);
    alice.types("alice\n");
    alice.shows(&["* welcome alice - #lobby, 1 here: alice"]);
    daemon.signal("TERM");
    alice.shows(&["* server is shutting down"]);
    alice.ends_input();
    alice.ends();
    assert_eq!(daemon.wait().0.code(), Some(0));
}
