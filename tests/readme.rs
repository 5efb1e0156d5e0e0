//! The README is true: its transcript, its bots and its tables are checked here.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const README: &str = include_str!("../README.md");
const PATIENCE: Duration = Duration::from_secs(20);

/// A child process, in a group of its own, that does not outlive the test; nor do its children.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// A daemon on a port of the system's choice.
fn daemon() -> (Guard, u16) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_roomd"))
        .args(["--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let port = line.split("127.0.0.1:").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    // The daemon must not be blocked by a log that nobody reads.
    std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
    (Guard(child), port)
}

/// A connection that does not wait for ever.
fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The fenced blocks of the README in this language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// A netcat, or another program, in a terminal: what is typed is seen, and so is what arrives.
struct Terminal {
    _process: Guard,
    stdin: ChildStdin,
    arrived: Receiver<String>,
    screen: String,
}

impl Terminal {
    fn open(port: u16) -> Self {
        Self::run(Command::new("nc").args(["127.0.0.1", &port.to_string()]))
    }

    fn run(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, arrived) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { _process: Guard(child), stdin, arrived, screen: "$ nc localhost 8080\n".into() }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
        self.screen += &format!("{line}\n");
    }

    fn sees(&mut self, expected: &str) {
        let line = self.arrived.recv_timeout(PATIENCE).unwrap();
        assert_eq!(line, expected);
        self.screen += &format!("{line}\n");
    }
}

#[test]
#[ignore = "needs nc"]
fn the_conversation_is_a_real_one() {
    let (_daemon, port) = daemon();
    let mut alice = Terminal::open(port);
    alice.types("");
    alice.sees("* roomd 0.1.0 - your name?");
    alice.types("alice");
    alice.sees("* welcome alice - #lobby, 1 here: alice");
    let mut bob = Terminal::open(port);
    bob.types("bob");
    bob.sees("* welcome bob - #lobby, 2 here: alice, bob");
    alice.sees("* bob joined");
    alice.types("hello bob");
    bob.sees("alice: hello bob");
    bob.types("hi alice, nice and quiet here");
    alice.sees("bob: hi alice, nice and quiet here");
    bob.types("/me looks around");
    alice.sees("** bob looks around");
    alice.types("/msg bob don't tell anybody");
    bob.sees("@alice: don't tell anybody");
    bob.types("/msg alice I won't");
    alice.sees("@bob: I won't");
    alice.types("/mgs bob this one is mistyped");
    alice.sees("! unknown-command: there is no /mgs; /help lists what there is, //mgs says it");
    alice.types("/who");
    alice.sees("* 2 here: alice, bob");
    bob.types("/nick rob");
    bob.sees("* bob is now rob");
    alice.sees("* bob is now rob");
    bob.types("/quit");
    bob.sees("* bye");
    alice.sees("* rob left");
    let shown = blocks("text");
    assert_eq!(shown[0], alice.screen);
    assert_eq!(shown[1], bob.screen);
}

#[test]
#[ignore = "needs nc"]
fn the_conversation_in_two_rooms_is_a_real_one() {
    let (_daemon, port) = daemon();
    let [mut alice, mut carol, mut bob] = [(); 3].map(|()| Terminal::open(port));
    alice.types("alice");
    alice.sees("* welcome alice - #lobby, 1 here: alice");
    carol.types("carol");
    carol.sees("* welcome carol - #lobby, 2 here: alice, carol");
    carol.types("/join dev");
    carol.sees("* welcome carol - #dev, 1 here: carol");
    carol.types("/leave lobby");
    carol.sees("* you left #lobby");
    bob.types("bob");
    bob.sees("* welcome bob - #lobby, 2 here: alice, bob");
    bob.types("/join dev");
    bob.sees("* welcome bob - #dev, 2 here: bob, carol");
    carol.sees("* bob joined");
    bob.types("morning, the build is red");
    carol.sees("bob: morning, the build is red");
    carol.types("on it");
    bob.sees("carol: on it");
    alice.types("coffee?");
    bob.sees("#lobby alice: coffee?");
    alice.types("/me holds up a cup");
    bob.sees("#lobby ** alice holds up a cup");
    let mut dave = Terminal::open(port);
    dave.types("dave");
    bob.sees("#lobby * dave joined");
    bob.types("/rooms");
    bob.sees("* 2 rooms: #dev (2, current), #lobby (3, joined)");
    bob.types("/join lobby");
    bob.sees("* welcome bob - #lobby, 3 here: alice, bob, dave");
    bob.types("coming");
    dave.sees("* welcome dave - #lobby, 3 here: alice, bob, dave");
    for line in ["~", "~", "bob: coming"] {
        assert!(dave.arrived.recv_timeout(PATIENCE).unwrap().starts_with(line));
    }
    carol.types("green again");
    bob.sees("#dev carol: green again");
    bob.types("/leave dev");
    bob.sees("* you left #dev");
    assert_eq!(blocks("text")[2], bob.screen);
}

#[test]
#[ignore = "needs nc and python3"]
fn the_python_client_cuts_the_stream_by_lengths() {
    let (_daemon, port) = daemon();
    let mut alice = Terminal::open(port);
    alice.types("alice");
    alice.sees("* welcome alice - #lobby, 1 here: alice");
    let script = &blocks("python")[1];
    let address = format!("\"127.0.0.1\", {port}");
    assert!(script.contains("\"localhost\", 8080"));
    let script = script.replace("\"localhost\", 8080", &address);
    let mut pat = Terminal::run(Command::new("/usr/bin/python3").args(["-c", &script]));
    alice.sees("* pat joined");
    alice.sees("pat: one message");
    alice.sees("pat: of two lines");
    pat.sees("* welcome pat - #lobby, 2 here: alice, pat");
    alice.types("hi pat");
    pat.sees("alice: hi pat");
}

/// What is between a bot and the daemon, and can be cut.
struct Cable {
    port: u16,
    plugged: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    fn to(daemon: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let plugged = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::clone(&plugged);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(("127.0.0.1", daemon)).unwrap();
                for (mut from, mut to) in [(&near, &far), (&far, &near)]
                    .map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap()))
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                ends.lock().unwrap().extend([near, far]);
            }
        });
        Self { port, plugged }
    }

    fn cut(&self) {
        for end in self.plugged.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// Runs a bot of the README and says its word; it has to greet us. If it `comes_back`, it does so again after its
/// connection broke; if it even `resumes`, also for a word that was said meanwhile.
fn bot_answers(program: &[&str], script: &str, word: &str, comes_back: bool, resumes: bool) {
    let (_daemon, port) = daemon();
    let cable = Cable::to(port);
    let script = script.replace("localhost:8080", &format!("127.0.0.1:{}", cable.port));
    let script = script.replace("localhost 8080", &format!("127.0.0.1 {}", cable.port));
    let folder = std::env::temp_dir().join(format!("roomd-readme-{port}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let stream = connect(port);
    let say = |line: &str| (&stream).write_all(format!("{line}\n").as_bytes()).unwrap();
    let lines = RefCell::new(BufReader::new(&stream).lines().map(Result::unwrap));
    let hears = |part: &str| lines.borrow_mut().any(|line| line.contains(part));
    say("alice");
    let mut bot = Command::new(program[0]);
    bot.args(&program[1..]).arg(script).current_dir(&folder).process_group(0);
    let _bot = Guard(bot.spawn().unwrap());
    assert!(hears("bot joined"));
    say(word);
    assert!(hears("bot: hello alice"));
    if comes_back {
        cable.cut();
        assert!(hears("bot left"));
        if resumes {
            say(word);
        }
        assert!(hears("bot joined"));
        if !resumes {
            say(word);
        }
        assert!(hears("bot: hello alice"));
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
#[ignore = "needs python3-websockets"]
fn the_python_bot_answers() {
    // Debian's python3 has the package; another python3 in front of it may not.
    bot_answers(&["/usr/bin/python3", "-c"], &blocks("python")[0], "!py", true, true);
}

#[test]
#[ignore = "needs node-ws"]
fn the_node_bot_answers() {
    // Debian's node looks for packages where Debian puts them; another node in front of it may not.
    let script = blocks("javascript")[0].clone();
    let program = ["env", "NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs", "node", "-e"];
    bot_answers(&program, &script, "!node", true, false);
}

#[test]
#[ignore = "needs nc and jq"]
fn the_shell_bot_answers() {
    bot_answers(&["sh", "-c"], &blocks("sh")[1], "!sh", false, false);
}

/// `roomd serve --help`, without its line breaks.
fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_roomd")).args(["serve", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_flag_is_in_the_table_with_its_default_and_its_variable() {
    let help = help();
    let flags: Vec<&str> =
        help.split(" --").skip(1).map(|rest| rest.split([' ', ',']).next().unwrap()).collect();
    let mut seen = 0;
    for flag in flags.iter().filter(|flag| !["help", "version"].contains(flag)) {
        let Some(row) = README.lines().find(|line| line.starts_with(&format!("| `--{flag} "))) else {
            // Texts mention flags too; only one with a row of its own in the help has a variable.
            assert!(!help.contains(&format!("--{flag} <")), "--{flag} is not in the README");
            continue;
        };
        let variable = format!("ROOMD_{}", flag.to_uppercase().replace('-', "_"));
        assert!(help.contains(&format!("[env: {variable}=")), "{variable} is not in the help");
        let default = row.split('|').nth(2).unwrap().trim().trim_matches('`');
        let is_given = help.contains(&format!("[default: {default}]"));
        let are_told = ["max-connections", "allow-origin", "allow-host", "socket-mode", "data"];
        let is_told = are_told.contains(flag);
        assert!(is_given || is_told, "the default of --{flag} is not {default}");
        seen += 1;
    }
    let rows = README.lines().filter(|line| line.starts_with("| `--")).count();
    assert!(seen >= rows && rows > 20, "{seen} flags, {rows} rows");
}

/// One table of limits in the program; the one of the README derives from it.
#[test]
fn the_limits_are_those_of_the_one_table() {
    for row in roomd::limits::TABLE {
        let default = row.show((row.get)(&roomd::limits::Limits::default()));
        let line = format!("| `--{} {}` | `{default}` | {} |", row.flag(), row.unit, row.summary);
        assert!(README.lines().any(|shown| shown == line), "the README lacks\n{line}");
        assert!(help().contains(row.help), "--{} is explained otherwise in the help", row.flag());
    }
}

#[test]
fn every_command_is_in_the_table() {
    let (_daemon, port) = daemon();
    let stream = connect(port);
    (&stream).write_all(b"alice\n/help\n/ping\n").unwrap();
    let lines = BufReader::new(&stream).lines().map(Result::unwrap);
    let help: Vec<String> = lines.take_while(|line| line != "* pong").collect();
    let commands = help.iter().flat_map(|line| line.split(['*', ';'])).map(str::trim);
    let mut seen = 0;
    for command in commands.filter(|line| line.starts_with('/')) {
        let usage = command.split(" - ").next().unwrap();
        assert!(README.contains(&format!("| `{usage}` |")), "{usage} is not in the README");
        seen += 1;
    }
    assert!(seen > 10);
}

const PROTOCOL: &str = include_str!("../PROTOCOL.md");

#[test]
fn every_error_code_is_in_the_protocol() {
    for code in roomd::chat::ErrorCode::ALL {
        assert!(PROTOCOL.contains(&format!("\n| `{}` | ", code.as_str())), "{}", code.as_str());
    }
}

/// A client that asks for everything hears nothing that is not in the tables.
#[test]
fn every_event_and_its_fields_are_in_the_protocol() {
    let (_daemon, port) = daemon();
    let stream = connect(port);
    let (_, events) = PROTOCOL.split_once("### Events").unwrap();
    let requests = [
        r#"{"type":"hello","name":"bot"}"#,
        r#"{"type":"public","body":"hi","ref":"1"}"#,
        r#"{"type":"action","body":"waves"}"#,
        r#"{"type":"private","to":"bot","body":"psst"}"#,
        r#"{"type":"users","ref":"2"}"#,
        r#"{"type":"rooms"}"#,
        r#"{"type":"history"}"#,
        r#"{"type":"nick","name":"robot"}"#,
        r#"{"type":"join","room":"dev"}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"dance","ref":"3"}"#,
        r#"{"type":"quit"}"#,
    ];
    for request in &requests[..10] {
        let kind = request.split('"').nth(3).unwrap();
        assert!(PROTOCOL.contains(&format!("\n| `{kind}` | ")), "{kind} is not in the table of requests");
    }
    (&stream).write_all((requests.join("\n") + "\n").as_bytes()).unwrap();
    let mut seen = 0;
    for line in BufReader::new(&stream).lines().map(Result::unwrap) {
        let document: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        let kind = document["type"].as_str().unwrap();
        let row = events.lines().find(|row| row.starts_with(&format!("| `{kind}` | ")));
        let row = row.unwrap_or_else(|| panic!("{kind} is not in the table of events"));
        for field in document.keys().filter(|field| *field != "type") {
            let shown = [format!("`{field}`"), format!("`[{field}]`")];
            assert!(shown.iter().any(|shown| row.contains(shown)), "{field} of {kind}: {row}");
        }
        seen += 1;
    }
    assert!(seen >= 12, "{seen} events");
}
