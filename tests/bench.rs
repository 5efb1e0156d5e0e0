//! `roomd bench` from the outside: honest servers pass, and every way of being dishonest is caught.
//!
//! The dishonest server is a hub in this file, which treats exactly one message wrongly.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::Value;

const ROOMD: &str = env!("CARGO_BIN_EXE_roomd");
/// A server that has not said where it listens by then never will.
const START_MAX: Duration = Duration::from_secs(20);

/// Runs `roomd bench` with `flags` and returns its output.
fn bench(address: SocketAddr, flags: &str) -> Output {
    Command::new(ROOMD)
        .args(["bench", &address.to_string(), "--json"])
        .args(flags.split_whitespace())
        .output()
        .unwrap()
}

/// The report that `output` holds.
fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("no report ({error}): {said}")
    })
}

/// Asserts that everything was delivered: so many deliveries, and no fault.
fn assert_all_delivered(output: &Output, deliveries: u64) {
    let report = report(output);
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["traffic"]["deliveries"], deliveries, "{report:#}");
    for fault in ["lost", "doubled", "reordered", "damaged", "strayed"] {
        assert_eq!(report["verdict"][fault], 0, "{report:#}");
    }
    assert_eq!(report["ok"], true);
}

// ---- servers that treat one message wrongly -------------------------------------------------

/// What is wrong with the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Lose,
    Double,
    Reorder,
    Damage,
    HangUp,
    /// It comes as one of another room.
    Mislabel,
    /// It comes without the room in front, or with it to who is there.
    Relabel,
    /// It comes to somebody in other rooms, too.
    Stray,
}

/// Which message is treated wrongly, and for which of those who get it: clients come in in any order,
/// so that the first of all may be the sender.
const FAULTY_MESSAGE: usize = 5;
const FAULTY_CLIENT: usize = 0;

#[derive(Default)]
struct Hub {
    clients: Vec<HubClient>,
    messages: usize,
    held_back: Option<String>,
}

struct HubClient {
    output: TcpStream,
    /// The current one is the last.
    rooms: Vec<String>,
}

/// Starts a hub that speaks the text dialect as far as the bench needs it.
fn hub(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Arc::new(Mutex::new(Hub::default()));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let hub = hub.clone();
            std::thread::spawn(move || serve(stream, &hub, fault));
        }
    });
    address
}

fn serve(stream: TcpStream, hub: &Mutex<Hub>, fault: Fault) {
    let mut output = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    // What is JSON asks who is here, and that is not known.
    let Some(name) = lines.next().filter(|name| !name.starts_with('{')) else { return };
    writeln!(output, "* welcome {name} - #lobby, 1 here: {name}").unwrap();
    let me = {
        let mut hub = hub.lock().unwrap();
        hub.clients.push(HubClient { output, rooms: Vec::new() });
        hub.clients.len() - 1
    };
    for line in lines {
        let mut hub = hub.lock().unwrap();
        if let Some(room) = line.strip_prefix("/join ") {
            let me = &mut hub.clients[me];
            me.rooms.push(room.to_owned());
            writeln!(me.output, "* welcome {name} - #{room}").unwrap();
        } else if line != "/leave lobby" {
            hub.say(me, &format!("{name}: {line}\n"), fault);
        }
    }
}

impl Hub {
    fn say(&mut self, from: usize, said: &str, fault: Fault) {
        let is_faulty = self.messages == FAULTY_MESSAGE;
        self.messages += 1;
        let mut held_back = self.held_back.take();
        let Some(room) = self.clients[from].rooms.last().cloned() else { return };
        if fault == Fault::Stray && is_faulty {
            let outside = self.clients.iter_mut().find(|client| !client.rooms.contains(&room)).unwrap();
            write!(outside.output, "#{room} {said}").unwrap();
        }
        let others = self
            .clients
            .iter_mut()
            .enumerate()
            .filter(|(to, client)| *to != from && client.rooms.contains(&room));
        for (to, (_, HubClient { output: client, rooms })) in others.enumerate() {
            let (plain, labelled) = (said.to_owned(), format!("#{room} {said}"));
            let is_current = rooms.last() == Some(&room);
            let (line, relabelled) = if is_current { (plain, labelled) } else { (labelled, plain) };
            let text = match fault {
                Fault::Lose if is_faulty && to == FAULTY_CLIENT => String::new(),
                Fault::Double if is_faulty && to == FAULTY_CLIENT => line.repeat(2),
                Fault::Damage if is_faulty && to == FAULTY_CLIENT => line.replace("..", ".x"),
                Fault::Reorder if is_faulty && to == FAULTY_CLIENT => {
                    self.held_back = Some(line);
                    String::new()
                }
                Fault::Reorder if to == FAULTY_CLIENT => line + &held_back.take().unwrap_or_default(),
                Fault::HangUp if is_faulty && to == FAULTY_CLIENT => {
                    client.shutdown(std::net::Shutdown::Both).unwrap();
                    String::new()
                }
                Fault::Mislabel if is_faulty && to == FAULTY_CLIENT => format!("#other {said}"),
                Fault::Relabel if is_faulty && to == FAULTY_CLIENT => relabelled,
                _ => line,
            };
            // The one that was hung up on cannot be written to.
            drop(client.write_all(text.as_bytes()));
        }
    }
}

/// 20 messages for 3 members.
const SMALL: &str = "--members 3 --rate 200 --duration 100ms";

#[test]
fn an_honest_hub_passes() {
    assert_all_delivered(&bench(hub(Fault::None), SMALL), 60);
}

#[test]
fn an_honest_hub_passes_with_a_window() {
    let output = bench(hub(Fault::None), "--members 3 --senders 2 --window 8 --duration 100ms --size 200");
    let report = report(&output);
    assert!(output.status.success(), "{report:#}");
    let messages = report["traffic"]["messages"].as_u64().unwrap();
    assert_eq!(report["traffic"]["deliveries"], messages * 4, "3 members and the other sender");
}

/// 20 messages in 6 rooms for 6 members and the other senders: 4 in a room, 3 who hear what one says.
const IN_SEVERAL_ROOMS: &str = "--members 6 --senders 6 --rooms 6 --joined 2 --rate 200 --duration 100ms";

#[test]
fn an_honest_hub_passes_with_everybody_in_several_rooms() {
    let output = bench(hub(Fault::None), IN_SEVERAL_ROOMS);
    assert_all_delivered(&output, 60);
    let workload = &report(&output)["workload"];
    assert_eq!((&workload["rooms"], &workload["joined"]), (&6.into(), &2.into()));
}

#[test]
fn one_wrong_message_in_one_of_several_rooms_is_caught() {
    let cases = [
        (Fault::Lose, [1, 0, 0, 0]),
        (Fault::Double, [0, 1, 0, 0]),
        (Fault::Damage, [1, 0, 1, 0]),
        // It was not heard where it was said.
        (Fault::Mislabel, [1, 0, 0, 1]),
        (Fault::Relabel, [1, 0, 0, 1]),
        (Fault::Stray, [0, 0, 0, 1]),
    ];
    all_at_once(&cases, |(fault, found)| {
        let verdict = caught(fault, IN_SEVERAL_ROOMS);
        let counts = ["lost", "doubled", "damaged", "strayed"].map(|what| verdict[what].as_u64());
        assert_eq!(counts, found.map(Some), "{fault:?}: {verdict:#}");
    });
}

/// Runs `case` for all `cases`, which mostly wait, at the same time.
fn all_at_once<T: Copy + Send>(cases: &[T], case: impl Fn(T) + Sync) {
    let case = &case;
    std::thread::scope(|scope| {
        for &it in cases {
            scope.spawn(move || case(it));
        }
    });
}

/// Runs the load of `flags` against a hub with `fault` and returns the verdict.
fn caught(fault: Fault, flags: &str) -> Value {
    let output = bench(hub(fault), flags);
    let mut report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["ok"], false);
    report["verdict"].take()
}

#[test]
fn a_lost_message_is_caught() {
    let verdict = caught(Fault::Lose, SMALL);
    assert_eq!(verdict["lost"], 1, "{verdict:#}");
    assert_eq!(verdict["doubled"], 0, "{verdict:#}");
}

#[test]
fn a_doubled_message_is_caught() {
    let verdict = caught(Fault::Double, SMALL);
    assert_eq!(verdict["doubled"], 1, "{verdict:#}");
    assert_eq!(verdict["lost"], 0, "{verdict:#}");
}

#[test]
fn a_reordered_message_is_caught() {
    let verdict = caught(Fault::Reorder, SMALL);
    assert_eq!(verdict["reordered"], 1, "{verdict:#}");
    assert_eq!(verdict["lost"], 0, "{verdict:#}");
}

#[test]
fn a_damaged_message_is_caught() {
    let verdict = caught(Fault::Damage, SMALL);
    assert_eq!(verdict["damaged"], 1, "{verdict:#}");
    assert_eq!(verdict["lost"], 1, "{verdict:#}");
}

#[test]
fn a_hung_up_member_is_caught_with_the_reason() {
    let verdict = caught(Fault::HangUp, SMALL);
    assert_eq!(verdict["lost"], 20 - FAULTY_MESSAGE, "{verdict:#}");
    assert_eq!(verdict["closed"]["the server closed the connection"], 1, "{verdict:#}");
}

// ---- what cannot be run is said ---------------------------------------------------------------

#[test]
fn nobody_listening_is_a_sentence() {
    // Bound, so that nobody else gets the port, but closed again before it is used.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = bench(address, SMALL);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let sentence =
        format!("roomd: 0 of 4 clients came in at {address}: the server refused the connection (4 times)");
    assert!(said.contains(&sentence), "{said}");
}

#[test]
fn too_many_members_for_the_descriptor_limit_is_a_sentence() {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 100 && exec \"$0\" bench 127.0.0.1:1 --members 200", ROOMD])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("201 connections need 233 open files, but this process may open 100"), "{said}");
}

// ---- roomd itself ---------------------------------------------------------------------------------

/// A daemon that is killed when this is dropped.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    fn start() -> Self {
        let mut child = Command::new(ROOMD)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (found, address) = mpsc::channel();
        std::thread::spawn(move || {
            // To the end, so that the daemon never waits for a reader of its log.
            for line in stderr.lines().map_while(Result::ok) {
                let Some((_, rest)) = line.split_once("listening on ") else {
                    continue;
                };
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
                drop(found.send(rest[..end.unwrap_or(rest.len())].parse()));
            }
        });
        let address = address.recv_timeout(START_MAX).unwrap().unwrap();
        Self { child, address }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn roomd_delivers_in_every_dialect() {
    let daemon = Daemon::start();
    // 20 messages from two senders to 10 members and, by dialect, to the other sender or both.
    for (dialect, listeners) in [
        ("text", 11),
        ("json", 12),
        ("length-text", 11),
        ("length-json", 12),
        ("ws-text", 12),
        ("ws-json", 12),
    ] {
        let flags = format!("--members 10 --senders 2 --rate 200 --duration 100ms --dialect {dialect}");
        assert_all_delivered(&bench(daemon.address, &flags), 20 * listeners);
    }
}

/// Somebody in the lobby who speaks JSON, and is there.
fn bob(address: SocketAddr) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(START_MAX)).unwrap();
    stream.write_all(b"{\"type\":\"hello\",\"name\":\"bob\"}\n").unwrap();
    let mut lines = BufReader::new(stream);
    lines.read_line(&mut String::new()).unwrap();
    lines
}

/// It used to leave its messages in everybody's history.
#[test]
fn a_room_of_its_own_is_loaded_and_nobody_else_hears_of_it() {
    let daemon = Daemon::start();
    let mut bob = bob(daemon.address);
    for dialect in ["json", "length-json", "ws-text", "ws-json", "text"] {
        let output = bench(daemon.address, &format!("{SMALL} --yes --dialect {dialect}"));
        assert!(output.status.success());
        let room = report(&output)["workload"]["room"].as_str().unwrap().to_owned();
        assert!(room.starts_with("bench-"), "{room}");
    }
    let output = bench(daemon.address, &format!("{SMALL} -y --dialect json --room Nook"));
    assert_eq!(report(&output)["workload"]["room"], "nook");
    bob.get_mut().write_all(b"{\"type\":\"history\"}\n").unwrap();
    let mut heard: Vec<String> = Vec::new();
    while heard.last().is_none_or(|line| !line.contains("\"history\"")) {
        heard.push(String::new());
        bob.read_line(heard.last_mut().unwrap()).unwrap();
    }
    let history = heard.pop().unwrap();
    assert!(history.contains("\"events\":[]"), "{history}");
    // By text there is no way past the lobby; nothing is said there.
    let is_passing = |line: &String| {
        ["join", "leave", "presence"].iter().any(|kind| line.contains(&format!("\"type\":\"{kind}\"")))
    };
    assert!(heard.iter().all(is_passing), "{heard:#?}");
    assert_eq!(
        heard.iter().filter(|line| line.contains("\"join\"")).count(),
        4,
        "3 members and a sender: {heard:#?}"
    );
}

#[test]
fn who_is_there_is_not_loaded_unasked() {
    let daemon = Daemon::start();
    let bob = bob(daemon.address);
    let output = bench(daemon.address, SMALL);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("roomd: 1 person is here, so nothing was done; --yes (or -y)"), "{said}");
    assert!(output.stdout.is_empty());
    assert!(bench(daemon.address, &format!("{SMALL} --yes")).status.success());
    drop(bob);
}

#[test]
fn somebody_at_a_terminal_is_asked() {
    let daemon = Daemon::start();
    let _bob = bob(daemon.address);
    for (answer, status) in [("\n", 2), ("y\n", 0)] {
        let pair = native_pty_system().openpty(PtySize::default()).unwrap();
        let mut command = CommandBuilder::new(ROOMD);
        command.args(["bench", &daemon.address.to_string(), "--members", "1", "--duration", "20ms"]);
        let mut child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let mut writer = pair.master.take_writer().unwrap();
        let mut shown = Vec::new();
        let mut buffer = [0; 1024];
        // The end of a pseudo-terminal is an error.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            let was_asked = shown.ends_with(b"[y/N] ");
            shown.extend_from_slice(&buffer[..count]);
            if !was_asked && shown.ends_with(b"1 person is here. Load it all the same? [y/N] ") {
                writer.write_all(answer.as_bytes()).unwrap();
            }
        }
        assert_eq!(child.wait().unwrap().exit_code(), status, "{}", String::from_utf8_lossy(&shown));
    }
}

#[test]
fn the_report_counts_in_words() {
    let daemon = Daemon::start();
    let flags =
        ["bench", &daemon.address.to_string(), "--members", "1", "--duration", "20ms", "--rate", "50"];
    let output = Command::new(ROOMD).args(flags).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    for text in [": 1 member, 1 sender, #bench-", ": 1 message, 1 delivery in ", "connecting: 2 clients in "]
    {
        assert!(shown.contains(text), "{text} is not in\n{shown}");
    }
}

#[test]
fn roomd_keeps_rooms_apart() {
    let daemon = Daemon::start();
    for dialect in ["text", "json", "length-text", "length-json", "ws-text", "ws-json"] {
        let flags =
            format!("--members 9 --senders 3 --rooms 3 --window 6 --duration 100ms --dialect {dialect}");
        let output = bench(daemon.address, &flags);
        let report = report(&output);
        assert!(output.status.success(), "{report:#}");
    }
}

/// 30 messages from six senders; 18 + 6 clients are in 3 of 6 rooms each, so that 12 are in a room.
#[test]
fn roomd_delivers_to_everybody_in_several_rooms_in_every_dialect() {
    let daemon = Daemon::start();
    let cases = [
        ("text", 11),
        ("json", 12),
        ("length-text", 11),
        ("length-json", 12),
        ("ws-text", 12),
        ("ws-json", 12),
    ];
    all_at_once(&cases, |(dialect, listeners)| {
        let flags = format!(
            "--members 18 --senders 6 --rooms 6 --joined 3 --rate 300 --duration 100ms --yes \
             --dialect {dialect}"
        );
        assert_all_delivered(&bench(daemon.address, &flags), 30 * listeners);
    });
}

#[test]
fn members_in_several_rooms_stall_and_come_and_go() {
    let daemon = Daemon::start();
    for dialect in ["text", "json"] {
        let flags = format!(
            "--members 40 --senders 8 --rooms 8 --joined 4 --slow 10% --churn 50/s --window 16 \
             --duration 300ms --dialect {dialect}"
        );
        let output = bench(daemon.address, &flags);
        let report = report(&output);
        assert!(output.status.success(), "{report:#}");
        assert!(report["workload"]["churned"].as_u64() > Some(0), "{report:#}");
        assert_eq!(report["verdict"]["refused"], serde_json::json!({}), "{report:#}");
    }
}

#[test]
fn what_cannot_have_several_rooms_is_said() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    for (flags, sentence) in [
        (
            "--members 4 --rooms 2 --joined 3",
            "--joined must be between 1 and 2, the number of --rooms, not 3",
        ),
        (
            "--members 4 --rooms 2 --senders 2 --joined 2 --dialect nats",
            "clients that speak nats enter one room",
        ),
    ] {
        let output = bench(address, flags);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(sentence), "{said}");
    }
}

/// Nobody is let into more rooms than the daemon allows: then there is no run at all.
#[test]
fn who_is_not_let_into_all_rooms_is_said() {
    let daemon = Daemon::start();
    for dialect in ["text", "json"] {
        let flags = format!("--members 40 --rooms 40 --joined 33 --idle --duration 10ms --dialect {dialect}");
        let output = bench(daemon.address, &flags);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("0 of 40 clients came in at"), "{said}");
        assert!(said.contains("full"), "{said}");
    }
}

#[test]
fn a_room_beside_others_has_a_price() {
    let daemon = Daemon::start();
    let output = bench(daemon.address, "--members 40 --rooms 8 --joined 8 --idle --duration 10ms");
    let report = report(&output);
    assert!(output.status.success(), "{report:#}");
    let further = &report["server"]["further_rooms"];
    assert_eq!(further["places"], 40 * 7);
    assert!(further["resident_bytes_each"].is_number(), "{report:#}");
    assert!(further["cpu_us_each"].as_f64() > Some(0.0), "{report:#}");

    let address = daemon.address.to_string();
    let flags = ["bench", &address, "--members", "9", "--rooms", "3", "--joined", "2", "--idle"];
    let output = Command::new(ROOMD).args(flags).args(["--duration", "10ms"]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    for text in [" 3 rooms from #bench-", " and everybody in 2 of them, idle", "\n  more rooms "] {
        assert!(shown.contains(text), "{text} is not in\n{shown}");
    }
}

#[test]
fn roomd_serves_the_others_while_members_stall_and_come_and_go() {
    let daemon = Daemon::start();
    let flags = "--members 40 --slow 10% --churn 50/s --window 8 --duration 300ms --seed 7";
    let output = bench(daemon.address, flags);
    let report = report(&output);
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["workload"]["slow_members"], 4);
    assert!(report["workload"]["churned"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn roomd_lets_idle_members_in() {
    let daemon = Daemon::start();
    let output = bench(daemon.address, "--members 50 --idle --duration 10ms");
    let report = report(&output);
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["connect"]["connections"], 50);
    assert!(report["server"]["resident_bytes_connected"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["traffic"], Value::Null);
    assert_eq!(report["server"]["further_rooms"], Value::Null);
}
