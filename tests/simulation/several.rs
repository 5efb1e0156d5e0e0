//! Backpressure, for whoever is in several rooms: a room waits for those who hear it beside their current one, and those
//! who have their current room elsewhere wait for it when they want to tell it something, and lose nothing.

use roomd::limits::Limits;

use crate::scene::{EXEMPT, Scene};

const TICK_MS: u64 = 10;

/// A reader whose current room is the lobby, and who hears `dev` besides; somebody who pastes in `dev`, and whom it is
/// all about there; and somebody who is in both rooms and takes everything.
struct Rooms {
    scene: Scene,
    reader: usize,
    paster: usize,
    observer: usize,
    heard: String,
    observed: String,
    pasted: usize,
}

impl Rooms {
    fn new() -> Self {
        let limits =
            Limits { feed_bytes: Some(32 * 1024), slowest: Some(4 * 1024), rate: None, ..Limits::default() };
        let mut scene = Scene::new(1, limits);
        scene.machine.world_mut().wait_max_ms = 0;
        let observer = scene.connect(EXEMPT, usize::MAX / 2, b"observer\n/join dev\n/join lobby\n");
        let reader = scene.connect(EXEMPT, 1000, b"reader\n/join dev\n/join lobby\n");
        let paster = scene.connect(EXEMPT, usize::MAX / 2, b"paster\n/join dev\n/leave lobby\n");
        scene.turns(20);
        let (heard, observed) = (String::new(), String::new());
        let mut rooms = Self { scene, reader, paster, observer, heard, observed, pasted: 0 };
        rooms.pass(5 * TICK_MS, usize::MAX);
        rooms
    }

    /// A program whose current room is the lobby.
    fn program(&mut self, name: &str, rooms: &str) -> usize {
        let hello = format!("{{\"type\":\"hello\",\"name\":\"{name}\",\"rooms\":[{rooms}]}}\n");
        let pipe = self.scene.connect(EXEMPT, usize::MAX / 2, hello.as_bytes());
        self.pass(5 * TICK_MS, usize::MAX);
        pipe
    }

    /// Lets time pass, in which the reader takes so much per tick; everybody else takes everything.
    fn pass(&mut self, ms: u64, per_tick: usize) {
        for _ in 0..ms / TICK_MS {
            self.scene.after_ms(TICK_MS);
            self.heard += &self.take(self.reader, per_tick);
            self.observed += &self.take(self.observer, usize::MAX);
            self.take(self.paster, usize::MAX);
        }
    }

    fn take(&self, pipe: usize, max: usize) -> String {
        String::from_utf8(self.scene.machine.receive(pipe, max)).expect("everything here is ASCII")
    }

    /// The newest id of a room, and how many are there.
    fn state(&self, name: &str) -> (u64, usize) {
        let chat = self.scene.server.handler().chat();
        chat.rooms()
            .find(|room| room.name().as_str() == name)
            .map(|room| (room.newest_id(), room.total()))
            .unwrap()
    }

    fn paste(&mut self) {
        for _ in 0..20 {
            let line = format!("{}-{}\n", self.pasted, "x".repeat(490));
            self.scene.machine.send(self.paster, line.as_bytes());
            self.pasted += 1;
        }
    }

    /// A little more than the minimum.
    fn enough(&self) -> usize {
        self.scene.limits.slowest.unwrap() * TICK_MS as usize / 1000 * 11 / 10
    }

    /// Pastes until `dev` waits for the reader, and this has just begun.
    fn throttle(&mut self) {
        let throttles = self.scene.server.net().counters().throttles;
        while self.scene.server.net().counters().throttles == throttles {
            self.paste();
            self.pass(TICK_MS, self.enough());
        }
        self.paste();
    }

    /// The reader takes everything now, until nothing more is said.
    fn finish(&mut self) {
        self.pass(500 * TICK_MS, usize::MAX);
    }

    /// Everything that was pasted is here once, in order, in front of which is the room.
    fn check_pasted(&self, heard: &str) {
        let numbers = heard.lines().filter_map(|line| line.strip_prefix("#dev paster: ")?.split('-').next());
        let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (0..self.pasted).collect::<Vec<_>>());
    }
}

#[test]
fn a_room_waits_for_whoever_hears_it_beside_another_one_and_no_other_room_does() {
    let mut rooms = Rooms::new();
    let neighbour = rooms.scene.connect(EXEMPT, usize::MAX / 2, b"neighbour\n");
    rooms.throttle();
    let (state, unread) = (rooms.state("dev"), rooms.scene.machine.unread(rooms.paster));
    for i in 0..10 {
        rooms.scene.machine.send(neighbour, format!("hello {i}\n").as_bytes());
        rooms.pass(TICK_MS, rooms.enough());
    }
    assert_eq!(rooms.state("dev"), state, "the room does not wait");
    assert!(rooms.scene.machine.unread(rooms.paster) == unread && unread > 0, "the producer is read");
    assert_eq!(rooms.state("lobby").0, 10, "the other room waits, too");
    // The reader takes enough: it is waited for, for as long as it needs, and hears both rooms in their order.
    for _ in 0..3000 {
        if rooms.scene.machine.unread(rooms.paster) == 0 {
            rooms.paste();
        }
        rooms.pass(TICK_MS, rooms.enough());
    }
    rooms.finish();
    assert_eq!(rooms.scene.lost_slow(), 0);
    rooms.check_pasted(&rooms.observed);
    let of_rooms = |heard: &str| -> Vec<String> {
        let lines =
            heard.lines().filter(|line| line.starts_with("#dev paster: ") || line.starts_with("neighbour: "));
        lines.map(Into::into).collect()
    };
    assert_eq!(of_rooms(&rooms.heard), of_rooms(&rooms.observed));
    assert_eq!(rooms.scene.server.net().feed_bytes(), 0, "everybody has everything, and something is kept");
}

#[test]
fn whoever_tells_a_throttled_room_something_from_elsewhere_waits_and_loses_nothing() {
    const LINES: usize = 3000;
    let mut rooms = Rooms::new();
    let program = rooms.program("program", r#""lobby","dev""#);
    rooms.throttle();
    rooms.take(program, usize::MAX);
    let (dev, lobby) = (rooms.state("dev"), rooms.state("lobby"));
    let said = |number: usize| {
        // Every hundredth in the room that waits.
        let room = if number.is_multiple_of(100) { r#","room":"dev""# } else { "" };
        format!("{{\"type\":\"public\",\"body\":\"line {number}\",\"ref\":\"{number}\"{room}}}\n")
    };
    let all: String = (0..LINES).map(said).collect();
    rooms.scene.machine.send(program, all.as_bytes());
    rooms.pass(2 * TICK_MS, rooms.enough());
    let unread = rooms.scene.machine.unread(program);
    rooms.pass(20 * TICK_MS, rooms.enough());
    assert_eq!((rooms.state("dev"), rooms.state("lobby")), (dev, lobby), "it was heard all the same");
    assert!(rooms.scene.machine.unread(program) == unread && unread > all.len() / 2, "it is read: {unread}");
    assert_eq!(rooms.take(program, usize::MAX), "", "it was answered");
    rooms.finish();
    let told = rooms.take(program, usize::MAX);
    let acks =
        told.lines().filter_map(|line| line.strip_prefix(r#"{"type":"ack","ref":""#)?.split('"').next());
    let acks: Vec<usize> = acks.map(|number| number.parse().unwrap()).collect();
    assert_eq!(acks, (0..LINES).collect::<Vec<_>>(), "something was not done, or not in its order");
    for heard in [&rooms.heard, &rooms.observed] {
        let lines = heard.lines().filter_map(|line| line.split_once("program: line "));
        let lines: Vec<(&str, usize)> = lines.map(|(room, number)| (room, number.parse().unwrap())).collect();
        let room = |number: usize| if number.is_multiple_of(100) { "#dev " } else { "" };
        assert_eq!(lines, (0..LINES).map(|number| (room(number), number)).collect::<Vec<_>>());
        rooms.check_pasted(heard);
    }
    assert_eq!(rooms.scene.lost_slow(), 0);
}

/// Each of these tells `dev` something.
#[test]
fn whatever_would_tell_a_throttled_room_something_waits_but_leaving_for_good() {
    let requests = [
        ("join", r#""lobby""#, r#"{"type":"join","room":"dev"}"#),
        ("leave", r#""lobby","dev""#, r#"{"type":"leave","room":"dev"}"#),
        ("nick", r#""lobby","dev""#, r#"{"type":"nick","name":"another"}"#),
        ("enter", r#""lobby""#, r#"{"type":"hello","name":"enter","rooms":["lobby","dev"]}"#),
        ("settle", r#""lobby","dev""#, r#"{"type":"hello","name":"settle","room":"lobby"}"#),
        ("action", r#""lobby","dev""#, r#"{"type":"action","room":"dev","body":"waves"}"#),
    ];
    let mut rooms = Rooms::new();
    let programs = requests.map(|(name, joined, _)| rooms.program(name, joined));
    let quitter = rooms.program("quitter", r#""lobby","dev""#);
    rooms.throttle();
    programs.iter().for_each(|&program| drop(rooms.take(program, usize::MAX)));
    let dev = rooms.state("dev");
    for (&program, (.., request)) in programs.iter().zip(&requests) {
        rooms.scene.machine.send(program, format!("{request}\n{{\"type\":\"ping\"}}\n").as_bytes());
    }
    rooms.pass(10 * TICK_MS, rooms.enough());
    assert_eq!(rooms.state("dev"), dev);
    for (&program, (name, ..)) in programs.iter().zip(&requests) {
        assert_eq!(rooms.take(program, usize::MAX), "", "{name} does not wait");
    }
    rooms.scene.machine.send(quitter, b"{\"type\":\"quit\"}\n");
    rooms.pass(2 * TICK_MS, rooms.enough());
    assert_eq!(rooms.state("dev").1, dev.1 - 1, "whoever has gone is still there");
    rooms.finish();
    for (&program, (name, ..)) in programs.iter().zip(&requests) {
        let told = rooms.take(program, usize::MAX);
        assert!(
            told.lines().any(|line| line.starts_with(r#"{"type":"pong""#)),
            "{name} waits for ever: {told}"
        );
    }
    for line in [
        "#dev * join joined",
        "#dev * leave left",
        "* nick is now another",
        "#dev * enter joined",
        "#dev * settle left",
        "#dev ** action waves",
        "#dev * quitter left",
        "* quitter left",
    ] {
        assert_eq!(rooms.observed.lines().filter(|heard| *heard == line).count(), 1, "{line}");
        assert_eq!(rooms.heard.lines().filter(|heard| *heard == line).count(), 1, "{line}");
    }
    rooms.check_pasted(&rooms.heard);
}

#[test]
fn whoever_does_not_keep_up_with_one_room_is_told_so_once_and_leaves_all() {
    let mut rooms = Rooms::new();
    rooms.scene.machine.send(rooms.reader, b"/join ops\n/join lobby\n");
    rooms.pass(5 * TICK_MS, usize::MAX);
    let (lobby, dev) = (rooms.state("lobby").1, rooms.state("dev").1);
    for _ in 0..300 {
        rooms.paste();
        rooms.pass(TICK_MS, 0);
    }
    assert_eq!(rooms.scene.lost_slow(), 1, "the reader, and nobody else");
    assert_eq!((rooms.state("lobby").1, rooms.state("dev").1), (lobby - 1, dev - 1));
    assert_eq!(rooms.state("ops").1, 0);
    rooms.finish();
    rooms.check_pasted(&rooms.observed);
    let told = |heard: &str, line: &str| heard.lines().filter(|heard| *heard == line).count();
    assert_eq!(told(&rooms.observed, "* reader left (slow)"), 1);
    assert_eq!(told(&rooms.observed, "#dev * reader left (slow)"), 1);
    assert!(rooms.scene.machine.is_at_end(rooms.reader));
    assert!(rooms.heard.ends_with("\n* bye: you did not keep up with the room (slow)\n"), "{}", rooms.heard);
    assert_eq!(rooms.heard.matches("(slow)").count(), 1);
    // Whole lines, of which none is missing before the end.
    let numbers = rooms
        .heard
        .lines()
        .filter_map(|line| line.strip_prefix("#dev paster: ")?.strip_suffix(&"x".repeat(490)));
    let numbers: Vec<String> = numbers.map(Into::into).collect();
    assert_eq!(numbers, (0..numbers.len()).map(|number| format!("{number}-")).collect::<Vec<_>>());
    assert_eq!(rooms.scene.server.net().feed_bytes(), 0);
}

/// What is told of a room that is left is told before the room makes place for others.
#[test]
fn a_room_that_is_left_and_makes_place_at_once_is_still_told_of() {
    let limits = Limits { max_rooms: None, rate: None, ..Limits::default() };
    let mut scene = Scene::new(1, limits);
    let member = scene.connect(EXEMPT, usize::MAX / 2, b"member\n");
    scene.turns(5);
    // So many empty rooms are remembered, all of which are worth more than one in which nothing was said.
    for number in 0..1024 {
        scene.machine.send(member, format!("/join room{number}\nhello\n/leave\n").as_bytes());
        scene.turn_unchecked();
    }
    scene.turns(50);
    assert_eq!(scene.server.handler().chat().rooms().len(), 1025);
    scene.machine.receive(member, usize::MAX);
    scene.machine.send(member, b"/join silent\n/leave silent\n/join silent\n/join other\n/leave silent\n");
    scene.turns(10);
    let told = String::from_utf8(scene.machine.receive(member, usize::MAX)).unwrap();
    assert_eq!(told.lines().filter(|line| *line == "* you left #silent").count(), 2, "{told}");
    assert_eq!(scene.server.handler().chat().rooms().len(), 1026);
}

#[test]
fn whoever_is_ignored_is_heard_in_none_of_the_rooms() {
    let mut rooms = Rooms::new();
    let program = rooms.program("program", r#""lobby","dev""#);
    for (command, is_heard) in [("/ignore program", 0), ("/unignore program", 1)] {
        rooms.scene.machine.send(rooms.reader, format!("{command}\n").as_bytes());
        rooms.pass(2 * TICK_MS, usize::MAX);
        for room in ["lobby", "dev"] {
            let line = format!(r#"{{"type":"public","room":"{room}","body":"{command} {room}"}}"#) + "\n";
            rooms.scene.machine.send(program, line.as_bytes());
        }
        rooms.pass(2 * TICK_MS, usize::MAX);
        for line in [format!("program: {command} lobby\n"), format!("#dev program: {command} dev\n")] {
            assert_eq!(rooms.heard.matches(&line).count(), is_heard, "{line}");
            assert_eq!(rooms.observed.matches(&line).count(), 1, "{line}");
        }
    }
}

/// Who is behind `/leave` in the room that was current before says it there, even in the same breath.
#[test]
fn whoever_turns_to_a_throttled_room_waits_there() {
    let mut rooms = Rooms::new();
    let hello = b"turner\n/join dev\n/join ops\n";
    let turner = rooms.scene.connect(EXEMPT, usize::MAX / 2, hello);
    rooms.pass(5 * TICK_MS, usize::MAX);
    rooms.throttle();
    let dev = rooms.state("dev");
    let lines: String = (0..20).map(|i| format!("line {i}\n")).collect();
    rooms.scene.machine.send(turner, format!("/leave\n{lines}").as_bytes());
    rooms.pass(5 * TICK_MS, rooms.enough());
    assert_eq!(rooms.state("ops").1, 0, "it has left");
    assert_eq!(rooms.state("dev"), dev, "it was heard in a room that waits");
    rooms.finish();
    for heard in [&rooms.heard, &rooms.observed] {
        let said: Vec<&str> = heard.lines().filter_map(|line| line.strip_prefix("#dev turner: ")).collect();
        assert_eq!(said, lines.lines().collect::<Vec<_>>());
    }
}

/// Without: some kilobytes of `/join` hold up everybody for seconds, if much is queued for whoever sends them.
#[test]
fn turning_to_another_room_with_much_unread_is_the_work_of_a_turn() {
    const TURNS: usize = 100;
    let mut scene = Scene::new(1, Limits { rate: None, ..Limits::default() });
    scene.machine.world_mut().wait_max_ms = 0;
    let reader = scene.connect(EXEMPT, 100, b"reader\n/join loud\n/join x\n/join y\n");
    let speaker = scene.connect(EXEMPT, usize::MAX / 2, b"speaker\n/join loud\n");
    scene.turns(20);
    for _ in 0..30 {
        scene.machine.send(speaker, "hello\n".repeat(100).as_bytes());
        scene.turns(2);
    }
    scene.machine.send(reader, ("/join x\n/join y\n".repeat(TURNS / 2) + "/nick turned\n").as_bytes());
    let is_done = |scene: &Scene| scene.server.handler().chat().find("turned").is_some();
    let turns = (0..10 * TURNS).position(|_| {
        scene.turn();
        is_done(&scene)
    });
    assert!(turns.is_some_and(|turns| turns > TURNS / 2), "{turns:?} turns for {TURNS} times as much work");
}

/// Without: whoever wants something of several busy rooms waits until none of them waits for anybody, perhaps for ever.
#[test]
fn a_request_for_several_rooms_waits_for_each_of_them_once() {
    let mut rooms = Rooms::new();
    let second = rooms.scene.connect(EXEMPT, 1000, b"second\n/join ops\n/join lobby\n");
    let other = rooms.scene.connect(EXEMPT, usize::MAX / 2, b"other\n/join ops\n/leave lobby\n");
    let program = rooms.program("program", r#""lobby","dev","ops""#);
    let enough = rooms.enough();
    // Readers of `dev` and of `ops` take so much; something is pasted in the room that is to be throttled.
    let pass = |rooms: &mut Rooms, of_dev: usize, of_ops: usize| {
        rooms.take(second, of_ops);
        rooms.take(other, usize::MAX);
        rooms.pass(TICK_MS, of_dev);
    };
    let throttle = |rooms: &mut Rooms, paster: usize| {
        let throttles = rooms.scene.server.net().counters().throttles;
        while rooms.scene.server.net().counters().throttles == throttles {
            let lines = format!("{}\n", "x".repeat(490)).repeat(20);
            rooms.scene.machine.send(paster, lines.as_bytes());
            pass(rooms, enough, enough);
        }
        rooms.scene.machine.send(paster, b"more\n");
    };
    let dev = rooms.paster;
    throttle(&mut rooms, dev);
    throttle(&mut rooms, other);
    rooms.take(program, usize::MAX);
    rooms.scene.machine.send(program, b"{\"type\":\"nick\",\"name\":\"another\"}\n{\"type\":\"ping\"}\n");
    (0..5).for_each(|_| pass(&mut rooms, enough, enough));
    // First one of them goes on, and then the other one.
    (0..20).for_each(|_| pass(&mut rooms, usize::MAX, enough));
    assert!(!rooms.take(program, usize::MAX).contains("another"), "it did not wait for ops");
    throttle(&mut rooms, dev);
    (0..20).for_each(|_| pass(&mut rooms, enough, usize::MAX));
    assert!(rooms.scene.machine.unread(dev) > 0, "dev does not wait any more");
    let told = rooms.take(program, usize::MAX);
    assert!(
        told.contains(r#""name":"another""#) && told.contains(r#""pong""#),
        "it waits for dev again: {told}"
    );
}

/// Without: all who have waited for a room say what they have to say at once when it goes on, however far behind its
/// readers are.
#[test]
fn what_many_want_to_say_in_a_room_waits_again_when_that_is_throttled_again() {
    let mut rooms = Rooms::new();
    let programs: Vec<usize> =
        (0..150).map(|i| rooms.program(&format!("program{i}"), r#""lobby","dev""#)).collect();
    rooms.throttle();
    let said = format!("{{\"type\":\"public\",\"room\":\"dev\",\"body\":\"{}\"}}\n", "y".repeat(400));
    programs.iter().for_each(|&program| rooms.scene.machine.send(program, said.as_bytes()));
    rooms.pass(5 * TICK_MS, rooms.enough());
    let throttles = rooms.scene.server.net().counters().throttles;
    while rooms.scene.server.net().counters().throttles == throttles {
        rooms.pass(TICK_MS, rooms.enough());
    }
    let dev = rooms.state("dev");
    rooms.pass(10 * TICK_MS, rooms.enough());
    assert_eq!(rooms.state("dev"), dev, "it is throttled, and somebody says something");
    rooms.finish();
    assert_eq!(rooms.observed.lines().filter(|line| line.ends_with("yyy")).count(), programs.len());
}
