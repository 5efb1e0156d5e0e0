//! A real telnet in a terminal: GNU's, as Debian's `inetutils-telnet` has it.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::common::{Daemon, GREETING, PATIENCE};

/// A running `telnet`. Dropping it ends the process.
struct Telnet {
    child: Box<dyn Child + Send + Sync>,
    _terminal: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    pieces: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Telnet {
    fn to(daemon: &Daemon) -> Self {
        let pair = native_pty_system().openpty(PtySize::default()).expect("a terminal");
        let mut command = CommandBuilder::new("telnet");
        command.args([daemon.addr().ip().to_string(), daemon.addr().port().to_string()]);
        let child = pair.slave.spawn_command(command);
        let child = child.expect("telnet starts: is Debian's inetutils-telnet installed?");
        let mut screen = pair.master.try_clone_reader().expect("its screen");
        let (sender, pieces) = mpsc::channel();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                let _ = sender.send(piece[..count].to_vec());
            }
        });
        let keys = pair.master.take_writer().expect("its keys");
        let mut telnet = Self { child, _terminal: pair.master, keys, pieces, shown: String::new() };
        telnet.shows("Escape character is '^]'.");
        telnet
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("telnet reads");
    }

    /// This comes next, perhaps behind what was typed.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown.contains(text) {
            let piece = self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let Ok(piece) = piece else { panic!("waited for {text:?}; there is {:?}", self.shown) };
            self.shown += &String::from_utf8_lossy(&piece);
        }
        let end = self.shown.find(text).unwrap_or_default() + text.len();
        self.shown.drain(..end);
    }
}

impl Drop for Telnet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without an answer to `IAC DO TIMING-MARK` telnet throws away all that comes after it. It sends that for Ctrl-C, and
/// for letters with the byte 0x83, which it takes for a Ctrl-C with a parity bit.
#[test]
#[ignore = "needs inetutils-telnet"]
fn telnet_goes_on_after_ctrl_c_and_after_letters_that_it_takes_for_it() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    let mut bob = Telnet::to(&daemon);
    bob.types("\r");
    bob.shows(GREETING);
    bob.types("bob\r");
    bob.shows("* welcome bob - #lobby, 2 here: alice, bob");
    alice.hears(&["* bob joined"]);
    bob.types("\u{3}/ping\r");
    bob.shows("* pong");
    bob.types("ユキ\r");
    bob.shows("! bad-utf8: the line is not UTF-8");
    bob.types("größe\r");
    alice.hears(&["bob: größe"]);
    alice.say("hello");
    bob.shows("alice: hello");
    bob.types("/quit\r");
    bob.shows("* bye");
    bob.shows("Connection closed by foreign host.");
    alice.hears(&["* bob left"]);
}
