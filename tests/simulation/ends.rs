//! The end of a peer whose input is deferred, because it has said too much or because its room is throttled.
//!
//! Whoever closes its side is heard for 5 s at its rate, is then told how many lines nobody heard, and is gone;
//! whoever breaks off is gone at once; and both make place for others first.

use roomd::limits::Limits;

use crate::client::{json_hello, masked, upgrade};
use crate::scene::{EXEMPT, Scene, stranger};

/// For how long somebody is heard who has closed its side.
const LAST_INPUT_MS: u64 = 5000;
const TICK_MS: u64 = 10;

fn scene(limits: Limits) -> Scene {
    let scene = Scene::new(1, limits);
    scene.machine.world_mut().wait_max_ms = 0;
    scene
}

/// Lets `ms` pass; returns what everybody has been told meanwhile.
fn pass(scene: &mut Scene, ms: u64, pipes: &[usize]) -> Vec<String> {
    let mut told = vec![Vec::new(); pipes.len()];
    for _ in 0..ms / TICK_MS {
        scene.after_ms(TICK_MS);
        for (pipe, told) in pipes.iter().zip(&mut told) {
            told.extend(scene.machine.receive(*pipe, usize::MAX));
        }
    }
    told.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

/// The number in `! dropped: 7 lines were not said …`, in whatever dialect.
fn dropped(told: &str) -> Option<usize> {
    let (sentence, _) = told.split_once(" not said")?;
    let count = sentence.rsplit(' ').nth(2)?.rsplit([':', '"']).next()?;
    told.contains("dropped").then(|| count.parse().expect(told))
}

fn messages(scene: &Scene) -> usize {
    scene.server.handler().chat().rooms().map(|room| room.newest_id() as usize).sum()
}

/// A paste of so many lines in each dialect, with what goes before it.
fn pastes(lines: usize) -> Vec<(&'static str, Vec<u8>)> {
    let json = |i| format!(r#"{{"type":"public","body":"line {i}"}}"#);
    let all = |one: &dyn Fn(usize) -> Vec<u8>| (0..lines).flat_map(one).collect::<Vec<u8>>();
    vec![
        ("text", [b"ghost\n".to_vec(), all(&|i| format!("line {i}\n").into_bytes())].concat()),
        ("unfinished", {
            let mut paste = [b"ghost\n".to_vec(), all(&|i| format!("line {i}\n").into_bytes())].concat();
            paste.pop();
            paste
        }),
        ("json", {
            let hello = json_hello("ghost") + "\n";
            [hello.into_bytes(), all(&|i| (json(i) + "\n").into_bytes())].concat()
        }),
        ("websocket", {
            let hello = [upgrade("roomd.json"), masked(&json_hello("ghost"))].concat();
            [hello, all(&|i| masked(&json(i)))].concat()
        }),
    ]
}

#[test]
fn who_says_too_much_and_closes_its_side_is_heard_for_5_s_and_told_what_was_dropped() {
    for lines in [9, 34, 200, 5000] {
        for (dialect, paste) in pastes(lines) {
            let mut scene = scene(Limits::default());
            let (rate, burst) = (scene.limits.rate.unwrap(), scene.limits.burst);
            let observer = scene.connect(EXEMPT, 1 << 20, b"observer\n");
            pass(&mut scene, 100, &[observer]);
            let ghost = scene.connect(stranger(1), 1 << 20, &paste);
            scene.machine.end(ghost);
            let early = pass(&mut scene, LAST_INPUT_MS - 2 * TICK_MS, &[ghost, observer]);
            let late = pass(&mut scene, 20 * TICK_MS, &[ghost, observer]);
            let told = [early[0].clone(), late[0].clone()].concat();
            let heard = messages(&scene);
            // Its introduction takes one line, and on WebSocket the request before it another one.
            let introduction = if dialect == "websocket" { 2 } else { 1 };
            let expected = (burst - introduction + rate * LAST_INPUT_MS as usize / 1000).min(lines);
            assert!(heard.abs_diff(expected) <= 1, "{dialect}, {lines}: {heard} were heard, not {expected}");
            assert_eq!(dropped(&told).unwrap_or(0), lines - heard, "{dialect}, {lines}: {told}");
            assert_eq!(dropped(&early[0]), None, "{dialect}: it was dropped before the time");
            assert_eq!(scene.server.handler().chat().members(), 1, "{dialect}: it is still a member");
            assert_eq!(scene.server.net().connections(), 1, "{dialect}: it still has its place");
            assert!(late[1].contains("* ghost left") || early[1].contains("* ghost left"));
            assert_eq!(scene.server.net().buffered_bytes(), 0);
        }
    }
}

#[test]
fn who_says_too_much_and_breaks_off_is_gone_at_once() {
    for (dialect, paste) in pastes(1000) {
        let mut scene = scene(Limits::default());
        let observer = scene.connect(EXEMPT, 1 << 20, b"observer\n");
        let ghost = scene.connect(stranger(1), 1 << 20, &paste);
        pass(&mut scene, 1000, &[observer, ghost]);
        assert_eq!(scene.server.handler().chat().members(), 2, "{dialect}");
        scene.machine.reset(ghost);
        let told = pass(&mut scene, 2 * TICK_MS, &[observer]);
        assert_eq!(scene.server.net().connections(), 1, "{dialect}: it still has its place");
        assert!(told[0].contains("* ghost left (reset)"), "{dialect}: {}", told[0]);
        // The same after it has closed its side: then nobody but an event says so.
        let ghost = scene.connect(stranger(1), 1 << 20, &paste);
        scene.machine.end(ghost);
        pass(&mut scene, 1000, &[observer, ghost]);
        scene.machine.reset(ghost);
        pass(&mut scene, 2 * TICK_MS, &[observer]);
        assert_eq!(scene.server.net().connections(), 1, "{dialect}: after its end, it still has its place");
    }
}

/// A room that waits, for longer than 5 s at a time, for a reader that takes just enough; and a guest in it
/// who has said fifty lines since.
fn throttled_room() -> (Scene, usize, usize) {
    let mut scene = scene(Limits { slowest: Some(4 * 1024), ..Limits::default() });
    let reader = scene.connect(EXEMPT, 1000, b"reader\n");
    let paster = scene.connect(EXEMPT, 1 << 20, b"paster\n");
    let ghost = scene.connect(EXEMPT, 1 << 20, b"ghost\n");
    pass(&mut scene, 100, &[reader, paster, ghost]);
    // Until nothing more is read, and then until the next time that this begins.
    for _ in 0..2 {
        let mut last = usize::MAX;
        while last != messages(&scene) {
            last = messages(&scene);
            scene.machine.send(paster, format!("{}\n", "x".repeat(1000)).repeat(100).as_bytes());
            read_slowly(&mut scene, reader, 10 * TICK_MS);
            scene.machine.receive(ghost, usize::MAX);
        }
    }
    scene.machine.send(ghost, &b"me too\n".repeat(50));
    read_slowly(&mut scene, reader, 3 * TICK_MS);
    scene.machine.receive(ghost, usize::MAX);
    (scene, reader, ghost)
}

/// The reader takes a little more than `slowest`.
fn read_slowly(scene: &mut Scene, reader: usize, ms: u64) {
    let per_tick = scene.limits.slowest.unwrap() * TICK_MS as usize / 1000 * 11 / 10;
    for _ in 0..ms / TICK_MS {
        scene.after_ms(TICK_MS);
        scene.machine.receive(reader, per_tick);
    }
}

#[test]
fn who_is_in_a_throttled_room_and_closes_its_side_is_told_what_was_dropped() {
    let (mut scene, reader, ghost) = throttled_room();
    let before = messages(&scene);
    scene.machine.end(ghost);
    read_slowly(&mut scene, reader, LAST_INPUT_MS - 10 * TICK_MS);
    assert_eq!(messages(&scene), before, "the room was not throttled for long enough to test this");
    assert_eq!(scene.server.net().connections(), 3, "it was given up too early");
    read_slowly(&mut scene, reader, 20 * TICK_MS);
    let told = String::from_utf8(scene.machine.receive(ghost, usize::MAX)).unwrap();
    assert_eq!(dropped(&told), Some(50), "{told}");
    read_slowly(&mut scene, reader, 2 * TICK_MS);
    assert_eq!(scene.server.net().connections(), 2);
    assert_eq!(scene.lost_slow(), 0);
}

#[test]
fn who_is_in_a_throttled_room_and_breaks_off_does_not_stay() {
    let (mut scene, reader, ghost) = throttled_room();
    scene.machine.reset(ghost);
    read_slowly(&mut scene, reader, LAST_INPUT_MS + 2 * TICK_MS);
    assert_eq!(scene.server.net().connections(), 2);
    assert_eq!(scene.server.handler().chat().members(), 2);
}

/// A server that is full of those who say far more than they may.
fn full_of_ghosts(do_end: bool) -> (Scene, usize, Vec<usize>) {
    let mut scene = scene(Limits { max_connections: Some(20), ..Limits::default() });
    let observer = scene.connect(EXEMPT, 1 << 20, b"observer\n");
    pass(&mut scene, 100, &[observer]);
    let ghosts: Vec<usize> = (0..19)
        .map(|i| {
            let paste = format!("ghost{i}\n") + &"boo\n".repeat(1000 + i);
            let ghost = scene.connect(stranger(i), 1 << 20, paste.as_bytes());
            if do_end {
                scene.machine.end(ghost);
            }
            ghost
        })
        .collect();
    pass(&mut scene, 500, &[observer]);
    assert_eq!(scene.server.net().connections(), 20);
    (scene, observer, ghosts)
}

#[test]
fn a_server_that_is_full_of_those_who_say_too_much_makes_place_for_everybody_else() {
    for do_end in [true, false] {
        let (mut scene, observer, ghosts) = full_of_ghosts(do_end);
        let newcomers: Vec<usize> = (0..19)
            .map(|i| scene.connect(stranger(100 + i), 1 << 20, format!("newcomer{i}\n").as_bytes()))
            .collect();
        let told = pass(&mut scene, 200, &newcomers);
        assert!(told.iter().all(|told| told.contains("* welcome newcomer")), "{told:?}");
        for &ghost in &ghosts {
            let told = String::from_utf8(scene.machine.receive(ghost, usize::MAX)).unwrap();
            assert!(scene.machine.is_at_end(ghost) && dropped(&told).is_some(), "{told}");
        }
        let told = pass(&mut scene, 100, &[observer]).remove(0);
        assert_eq!(scene.server.handler().chat().members(), 20, "{told}");
        // They are no ghosts, so nobody makes place for the next one.
        let late = scene.connect(stranger(200), 1 << 20, b"late\n");
        let told = pass(&mut scene, 100, &[late]);
        assert!(told[0].starts_with("! full"), "{}", told[0]);
    }
}

/// Also when each of them has as many connections as one address may have.
#[test]
fn an_address_that_has_all_its_places_taken_by_ghosts_is_let_in_again() {
    let mut scene = scene(Limits { max_per_ip: Some(4), ..Limits::default() });
    let paste = |i| format!("ghost{i}\n") + &"boo\n".repeat(1000);
    let ghosts: Vec<usize> =
        (0..4).map(|i| scene.connect(stranger(1), 1 << 20, paste(i).as_bytes())).collect();
    pass(&mut scene, 500, &ghosts);
    ghosts.iter().for_each(|&ghost| scene.machine.end(ghost));
    let other = scene.connect(stranger(2), 1 << 20, paste(9).as_bytes());
    pass(&mut scene, 100, &[other]);
    let newcomer = scene.connect(stranger(1), 1 << 20, b"newcomer\n");
    // It takes turns with what is left of them.
    let told = pass(&mut scene, 2000, &[newcomer]);
    assert!(told[0].contains("* welcome newcomer"), "{}", told[0]);
    assert!(!scene.machine.is_at_end(other), "somebody of another address made place");
}

/// Otherwise it stays for the whole time that flushing may take, and a shutdown with it.
#[test]
fn a_peer_that_cannot_be_written_to_is_gone_when_it_was_read_to_its_end() {
    let mut scene = scene(Limits::default());
    let observer = scene.connect(EXEMPT, 1 << 20, b"observer\n");
    let quitter = scene.connect(EXEMPT, 1 << 20, b"quitter\n");
    pass(&mut scene, 100, &[observer, quitter]);
    scene.machine.send(quitter, b"/ping\nlast words");
    scene.machine.close(quitter);
    let told = pass(&mut scene, 100, &[observer]);
    assert_eq!(scene.server.net().connections(), 1, "it stayed");
    assert!(told[0].contains("quitter: last words"), "what it said before it went away is lost: {}", told[0]);
}
