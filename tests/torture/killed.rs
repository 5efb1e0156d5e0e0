//! The torture.

use std::process::{self, Child};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::common::{Daemon, roomd};
use crate::person::{Hub, Person, intrude};
use crate::proof::prove;
use crate::rig::{Place, Rng};
use crate::wire::Dialect;

/// Who is there, in which dialects and rooms.
const PEOPLE: [(Dialect, usize, &[&str]); 8] = [
    (Dialect::Lines, 3, &["lobby", "dev"]),
    (Dialect::Lines, 3, &["dev"]),
    (Dialect::Frames, 3, &["lobby"]),
    (Dialect::Frames, 2, &["ops", "dev", "lobby"]),
    (Dialect::WebSocket, 3, &["lobby", "ops"]),
    (Dialect::WebSocket, 2, &["dev"]),
    (Dialect::Text, 2, &["lobby"]),
    (Dialect::Text, 2, &["lobby", "dev"]),
];

fn seed() -> u64 {
    let given = std::env::var("ROOMD_SEED").ok();
    given.map_or_else(|| u64::from(process::id()), |seed| seed.parse().expect("ROOMD_SEED is a number"))
}

#[test]
#[ignore = "needs a minute"]
fn killed_fifty_times_it_has_kept_all_that_anybody_saw_once_under_one_id() {
    torture(50, &["KILL"]);
}

#[test]
#[ignore = "needs a minute"]
fn killed_or_stopped_it_has_kept_all_that_anybody_saw_once_under_one_id() {
    torture(20, &["TERM", "TERM", "KILL"]);
}

/// Ends a daemon so many times, with one of these signals.
fn torture(times: usize, signals: &[&str]) {
    let seed = seed();
    println!("ROOMD_SEED={seed} cargo test --test torture -- --ignored killed");
    let mut rng = Rng(seed);
    let place = Place::new();
    let mut flags = vec!["--history", ["40", "1000"][rng.below(2)]];
    flags.extend(rng.once_in(4).then_some("--sync"));
    // An address that nobody else listens on, and that is never the source of a connection: so that the port stays free.
    let ip = format!("127.77.{}.{}:0", 1 + rng.below(250), 1 + process::id() % 250);
    let mut daemon = Some(place.daemon(&[&flags[..], &["--listen", &ip]].concat()));
    let addr = daemon.as_ref().unwrap().addr();
    let hub = Arc::new(Hub::default());
    let mut everybody = Vec::new();
    for (kind, (dialect, count, rooms)) in PEOPLE.into_iter().enumerate() {
        for number in 0..count {
            let name = format!("{}-{kind}{number}", format!("{dialect:?}").to_lowercase());
            let person = Person::new(name.clone(), dialect, rooms.to_vec(), Rng(rng.next()));
            let hub = Arc::clone(&hub);
            everybody.push(thread::Builder::new().name(name).spawn(move || person.live(&hub, addr)).unwrap());
        }
    }
    let intruder = thread::spawn({
        let (hub, rng) = (Arc::clone(&hub), Rng(rng.next()));
        move || intrude(&hub, addr, rng)
    });
    let same = addr.to_string();
    let flags = [&flags[..], &["--listen", &same]].concat();
    let mut heard = Vec::new();
    for _ in 0..times {
        let died_early = daemon.is_none() && rng.once_in(6);
        if died_early {
            kill_at_start(&place, &flags, &hub, &mut rng);
            continue;
        }
        let daemon = daemon.take().unwrap_or_else(|| place.daemon(&flags));
        let signal = signals[rng.below(signals.len())];
        heard.push(end_at_some_moment(daemon, signal, &hub, &mut rng));
    }
    println!("events heard between kills: {heard:?}");
    place.is_sound();
    let mut daemon = place.daemon(&flags);
    hub.begin_run(true);
    let people: Vec<Person> = everybody.into_iter().map(|person| person.join().expect("no faults")).collect();
    let tries = intruder.join().expect("no faults");
    println!("{tries} times somebody wanted a name that was held");
    prove(&daemon, &people);
    daemon.signal("TERM");
    let (status, log) = daemon.wait();
    assert!(status.success(), "{status} {log:#?}");
    assert_quiet(&log);
    place.is_sound();
}

/// Ends a daemon when so much was said, or so much time has passed. Returns how much was said.
fn end_at_some_moment(mut daemon: Daemon, signal: &str, hub: &Hub, rng: &mut Rng) -> u64 {
    hub.begin_run(false);
    let (events, time_max_ms) = match rng.below(4) {
        // While most of them are entering.
        0 => (rng.below(200) as u64, 5 + rng.below(30)),
        _ => (100 + rng.below(20_000) as u64, 20 + rng.below(900)),
    };
    let heard = hub.wait_for(events, Duration::from_millis(time_max_ms as u64));
    assert!(!daemon.has_ended(), "it has ended by itself: {:#?}", daemon.wait());
    daemon.signal(signal);
    let (status, log) = daemon.wait();
    assert!(status.success() || signal == "KILL", "{status} {log:#?}");
    assert_quiet(&log);
    heard
}

/// Kills a daemon that may not have begun to listen.
fn kill_at_start(place: &Place, flags: &[&str], hub: &Hub, rng: &mut Rng) {
    let data = place.data();
    let mut child: Child = roomd(&[&["--data", &data], flags].concat()).spawn().unwrap();
    // Nobody knows of it, so this is only the time.
    hub.wait_for(u64::MAX, Duration::from_millis(rng.below(60) as u64));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Nothing went wrong, as far as the log knows.
fn assert_quiet(log: &[String]) {
    let loud = |line: &&String| line.contains("ERROR") || line.contains("WARN") || line.contains("panicked");
    assert_eq!(log.iter().find(loud), None, "{log:#?}");
}
