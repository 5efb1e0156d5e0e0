//! Programs that come back: connections are cut anywhere, the store answers late or refuses, and the server dies between
//! any two steps and begins again with what is on the disk. Nothing that anybody was told is lost, nothing is said twice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use roomd::chat::RoomName;
use roomd::limits::Limits;
use roomd::reactor::simulated::Rng;
use serde_json::{Value, json};

use crate::scene::{EXEMPT, Scene};
use crate::scripted::Disk;

const ROOMS: [&str; 2] = ["lobby", "dev"];

/// A program that says one thing after the other, and again what was not acknowledged.
struct Program {
    name: String,
    pipe: Option<usize>,
    session: Option<String>,
    is_in: bool,
    heard: Vec<u8>,
    /// What it has to say: to which room, and whether that was acknowledged, with which id.
    said: Vec<(usize, Option<u64>)>,
    /// The first of it that was not said on this connection.
    next: usize,
    /// The newest id that it has seen in each room on this connection.
    newest: [u64; ROOMS.len()],
    was_refused: usize,
    was_named_anew: usize,
}

impl Program {
    fn new(number: usize) -> Self {
        Self {
            name: format!("p{number}"),
            pipe: None,
            session: None,
            is_in: false,
            heard: Vec::new(),
            said: Vec::new(),
            next: 0,
            newest: [0; ROOMS.len()],
            was_refused: 0,
            was_named_anew: 0,
        }
    }

    fn has_all_acks(&self) -> bool {
        self.said.iter().all(|(_, id)| id.is_some())
    }

    fn connect(&mut self, scene: &Scene) {
        let mut hello = json!({"type": "hello", "name": self.name, "rooms": ROOMS, "session": self.session});
        if self.session.is_none() {
            hello.as_object_mut().unwrap().remove("session");
        }
        self.pipe = Some(scene.connect(EXEMPT, 1 << 20, format!("{hello}\n").as_bytes()));
        (self.is_in, self.next) = (false, 0);
        self.heard.clear();
    }

    /// Says up to so many things that were not acknowledged.
    fn speak(&mut self, scene: &Scene, count: usize) {
        let Some(pipe) = self.pipe.filter(|_| self.is_in) else { return };
        for _ in 0..count {
            let Some(number) = (self.next..self.said.len()).find(|&n| self.said[n].1.is_none()) else {
                return;
            };
            self.next = number + 1;
            let (room, _) = self.said[number];
            let said = json!({"type": "public", "room": ROOMS[room], "body": format!("{}-{number}", self.name),
                "ref": format!("r{number}")});
            scene.machine.send(pipe, format!("{said}\n").as_bytes());
        }
    }
}

/// All that anybody was ever told: which message has which id.
#[derive(Default)]
struct Seen {
    bodies: BTreeMap<(usize, u64), String>,
    epochs: BTreeMap<usize, u64>,
}

impl Seen {
    fn note(&mut self, room: usize, id: u64, body: &str) {
        let known = self.bodies.entry((room, id)).or_insert_with(|| body.to_owned());
        assert_eq!(known, body, "id {id} of {} is another message now", ROOMS[room]);
    }

    fn note_epoch(&mut self, document: &Value) {
        let room = room_of(document);
        let epoch = document["epoch"].as_u64().unwrap();
        assert_eq!(*self.epochs.entry(room).or_insert(epoch), epoch, "the epoch of {}", ROOMS[room]);
    }
}

fn room_of(document: &Value) -> usize {
    ROOMS.iter().position(|room| document["room"] == **room).expect("a room")
}

fn hear(program: &mut Program, scene: &Scene, seen: &mut Seen) {
    let Some(pipe) = program.pipe else { return };
    program.heard.extend(scene.machine.receive(pipe, usize::MAX));
    while let Some(end) = program.heard.iter().position(|&byte| byte == b'\n') {
        let line: Vec<u8> = program.heard.drain(..=end).collect();
        let document: Value = serde_json::from_slice(&line).unwrap();
        match document["type"].as_str().unwrap() {
            "hello" => {
                seen.note_epoch(&document);
                let session = document["session"].as_str().unwrap().to_owned();
                if program.session.as_ref().is_some_and(|last| *last != session) {
                    // The server died before it was saved, and so before anything that was said in it.
                    let has_acks = program.said.iter().any(|(_, id)| id.is_some());
                    assert!(!has_acks, "{} is in its session", program.name);
                }
                (program.session, program.is_in) = (Some(session), true);
                program.newest[room_of(&document)] = document["id"].as_u64().unwrap();
            }
            "room" => {
                seen.note_epoch(&document);
                program.newest[room_of(&document)] = document["id"].as_u64().unwrap();
            }
            "public" => {
                let (room, id) = (room_of(&document), document["id"].as_u64().unwrap());
                assert_eq!(id, program.newest[room] + 1, "{} hears all of {}", program.name, ROOMS[room]);
                program.newest[room] = id;
                seen.note(room, id, document["body"].as_str().unwrap());
            }
            "ack" => {
                let number: usize = document["ref"].as_str().unwrap()[1..].parse().unwrap();
                let id = document["id"].as_u64().unwrap();
                let (room, known) = &mut program.said[number];
                assert!(known.is_none_or(|known| known == id), "the first ack");
                *known = Some(id);
                seen.note(*room, id, &format!("{}-{number}", program.name));
            }
            "error" => {
                let code = document["code"].as_str().unwrap();
                match code {
                    "not-saved" => program.was_refused += 1,
                    // The answer to its first hello was lost: nobody knows its session.
                    "name-taken" if program.session.is_none() => {
                        program.was_named_anew += 1;
                        program.name += "x";
                    }
                    _ => panic!("{}: {document}", program.name),
                }
                // Not in all its rooms, it tries again.
                if !program.is_in || document["room"].is_string() {
                    program.pipe = None;
                } else if let Some(number) =
                    document["ref"].as_str().and_then(|r| r[1..].parse::<usize>().ok())
                {
                    program.next = program.next.min(number);
                }
            }
            "bye" => assert_eq!(document["why"], "taken-over", "{}", program.name),
            "join" | "leave" | "nick" | "presence" => {}
            kind => panic!("{kind}"),
        }
    }
    if scene.machine.is_at_end(pipe) {
        program.pipe = None;
    }
}

struct Tally {
    kills: usize,
    cuts: usize,
    refused: usize,
}

fn run(seed: u64) -> Tally {
    let mut rng = Rng(seed);
    let disk: Rc<RefCell<Disk>> = Rc::default();
    let refuses_percent = [0, 0, 5, 20][rng.below(4)];
    let limits = Limits {
        rate: None,
        history: Some(1 + rng.below(20)),
        feed_bytes: Some([8, 256][rng.below(2)] * 1024),
        stall: Some(Duration::from_secs(1000)),
        ..Limits::default()
    };
    let begin = |disk: &_, now_ms, rng: &mut Rng, refuses| {
        Scene::on_disk(rng.next(), limits.clone(), disk, now_ms, refuses)
    };
    let mut scene = begin(&disk, 1, &mut rng, refuses_percent);
    let mut programs: Vec<Program> = (0..2 + rng.below(4)).map(Program::new).collect();
    let mut seen = Seen::default();
    let mut tally = Tally { kills: 0, cuts: 0, refused: 0 };
    let has_kills = rng.chance(70);
    for step in 0..300 {
        let is_late = step > 200;
        if has_kills && !is_late && rng.chance(3) {
            // Nothing of it is left but what is on the disk.
            let now_ms = scene.now_ms() + 10;
            scene = begin(&disk, now_ms, &mut rng, refuses_percent);
            programs.iter_mut().for_each(|program| (program.pipe, program.is_in) = (None, false));
            tally.kills += 1;
        }
        let who = rng.below(programs.len());
        let program = &mut programs[who];
        match (rng.below(10), program.pipe) {
            (_, None) => program.connect(&scene),
            (0..4, _) if !is_late => {
                let count = 1 + rng.below(6);
                program.said.extend((0..count).map(|_| (rng.below(ROOMS.len()), None)));
            }
            (4, Some(pipe)) if !is_late => {
                tally.cuts += 1;
                match rng.below(3) {
                    0 => scene.machine.reset(pipe),
                    1 => scene.machine.end(pipe),
                    // It is not noticed: the next connection takes over.
                    _ => {}
                }
                (program.pipe, program.is_in) = (None, false);
            }
            _ => program.speak(&scene, 1 + rng.below(5)),
        }
        scene.machine.world_mut().now_ms += rng.below(40) as u64;
        scene.turn();
        programs.iter_mut().for_each(|program| hear(program, &scene, &mut seen));
    }
    // Now everybody comes to its end.
    for _ in 0..4000 {
        for program in &mut programs {
            if program.pipe.is_none() {
                program.connect(&scene);
            }
            program.speak(&scene, 3);
        }
        scene.turn();
        programs.iter_mut().for_each(|program| hear(program, &scene, &mut seen));
        if programs.iter().all(|program| program.is_in && program.has_all_acks()) {
            break;
        }
    }
    let disk = disk.borrow();
    for (number, room) in ROOMS.iter().enumerate() {
        let messages = disk.rooms.get(&RoomName::parse(room).unwrap()).map_or(&[][..], |room| &room.messages);
        assert!(messages.iter().map(|message| message.id).eq(1..=messages.len() as u64));
        for (&(_, id), body) in seen.bodies.iter().filter(|((room, _), _)| *room == number) {
            assert_eq!(messages[id as usize - 1].body.as_str(), body, "what anybody has seen is saved");
        }
        let mut bodies: Vec<&str> = messages.iter().map(|message| message.body.as_str()).collect();
        bodies.sort_unstable();
        assert!(bodies.windows(2).all(|pair| pair[0] != pair[1]), "nothing is said twice: {bodies:?}");
    }
    for program in &programs {
        assert!(program.has_all_acks(), "{} waits for an answer: {:?}", program.name, program.said);
        tally.refused += program.was_refused;
    }
    tally
}

#[test]
fn who_comes_back_says_nothing_twice_and_loses_nothing() {
    let (mut kills, mut cuts, mut refused) = (0, 0, 0);
    let seeds = match crate::number("ROOMD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..crate::number("ROOMD_SEEDS").unwrap_or(200),
    };
    for seed in seeds {
        let Ok(tally) = std::panic::catch_unwind(|| run(seed)) else { panic!("failed: ROOMD_SEED={seed}") };
        (kills, cuts, refused) = (kills + tally.kills, cuts + tally.cuts, refused + tally.refused);
    }
    println!("{kills} kills, {cuts} cuts, {refused} refused");
}

/// Takes turns in which the store answers nothing.
fn turns_without_store(scene: &mut Scene, count: usize) {
    let store = scene.store.take();
    scene.turns(count);
    scene.store = store;
}

/// What a program was told, line by line.
fn told(scene: &Scene, pipe: usize) -> Vec<Value> {
    let heard = scene.machine.receive(pipe, usize::MAX);
    heard.split_inclusive(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn types(documents: &[Value]) -> Vec<&str> {
    documents.iter().map(|document| document["type"].as_str().unwrap()).collect()
}

/// Somebody comes in, and the store answers whatever that takes.
fn enters(scene: &mut Scene, name: &str) -> usize {
    let hello = json!({"type": "hello", "name": name});
    let pipe = scene.connect(EXEMPT, 1 << 20, format!("{hello}\n").as_bytes());
    scene.turns(50);
    assert_eq!(types(&told(scene, pipe)).first(), Some(&"hello"));
    pipe
}

#[test]
fn row_43_nothing_is_seen_or_acknowledged_before_it_is_saved() {
    let disk: Rc<RefCell<Disk>> = Rc::default();
    let mut scene = Scene::on_disk(1, Limits::default(), &disk, 1, 0);
    let (alice, bob) = (enters(&mut scene, "alice"), enters(&mut scene, "bob"));
    told(&scene, alice);
    // Three messages go to the store one behind the other; what is asked behind them waits.
    let said =
        |n: u32| format!("{}\n", json!({"type": "public", "body": format!("{n}"), "ref": format!("r{n}")}));
    let asked = (1..=3).map(said).chain(["{\"type\":\"users\"}\n".into(), "{nonsense\n".into()]);
    scene.machine.send(alice, asked.collect::<String>().as_bytes());
    turns_without_store(&mut scene, 20);
    assert!(told(&scene, alice).is_empty() && told(&scene, bob).is_empty(), "nothing is saved so far");
    assert!(disk.borrow().rooms.values().all(|room| room.messages.is_empty()));
    scene.turns(50);
    let answers = told(&scene, alice);
    let expected = ["public", "ack", "public", "ack", "public", "ack", "users", "error"];
    assert_eq!(types(&answers), expected, "answers keep the order of the requests");
    assert_eq!(types(&told(&scene, bob)), ["public"; 3]);
}

#[test]
fn row_44_ids_come_from_the_store_and_are_never_given_twice() {
    let disk: Rc<RefCell<Disk>> = Rc::default();
    let mut scene = Scene::on_disk(1, Limits::default(), &disk, 1, 0);
    let alice = enters(&mut scene, "alice");
    scene.machine.send(alice, b"{\"type\":\"public\",\"body\":\"saved\",\"ref\":\"a\"}\n");
    scene.turns(50);
    assert_eq!(told(&scene, alice)[1]["id"], 1);
    // It dies with this one unsaved: nobody has seen it, and its id is the next one's.
    scene.machine.send(alice, b"{\"type\":\"public\",\"body\":\"lost\",\"ref\":\"b\"}\n");
    turns_without_store(&mut scene, 20);
    assert!(told(&scene, alice).is_empty());
    let epoch = disk.borrow().rooms.values().next().unwrap().epoch_ms;
    let mut scene = Scene::on_disk(2, Limits::default(), &disk, 1000, 0);
    let bob = enters(&mut scene, "bob");
    scene
        .machine
        .send(bob, b"{\"type\":\"history\"}\n{\"type\":\"public\",\"body\":\"next\",\"ref\":\"c\"}\n");
    scene.turns(50);
    let answers = told(&scene, bob);
    assert_eq!((&answers[0]["events"][0]["body"], &answers[0]["more"]), (&"saved".into(), &false.into()));
    assert_eq!((&answers[1]["body"], &answers[1]["id"]), (&"next".into(), &2.into()));
    assert_eq!(disk.borrow().rooms.values().next().unwrap().epoch_ms, epoch);
}

/// Who leaves is told to have left behind its last words; who only closes its side hears their answers.
#[test]
fn nobody_leaves_before_its_last_words_are_answered() {
    let disk: Rc<RefCell<Disk>> = Rc::default();
    let mut scene = Scene::on_disk(3, Limits::default(), &disk, 1, 0);
    let watcher = enters(&mut scene, "watcher");
    type Ends = fn(&Scene, usize);
    let ends: [(&str, Ends, bool); 3] = [
        ("alice", |scene, pipe| scene.machine.end(pipe), true),
        ("bob", |scene, pipe| scene.machine.reset(pipe), false),
        ("carol", |scene, pipe| scene.machine.send(pipe, b"{\"type\":\"quit\"}\n"), true),
    ];
    for (name, end, hears) in ends {
        let pipe = enters(&mut scene, name);
        told(&scene, watcher);
        scene.machine.send(pipe, b"{\"type\":\"public\",\"body\":\"last words\",\"ref\":\"r\"}\n");
        turns_without_store(&mut scene, 3);
        end(&scene, pipe);
        turns_without_store(&mut scene, 20);
        assert!(told(&scene, watcher).is_empty(), "{name} is here until that is saved");
        scene.turns(50);
        assert_eq!(types(&told(&scene, watcher)), ["public", "leave"], "{name}");
        if hears {
            assert_eq!(types(&told(&scene, pipe))[..2], ["public", "ack"], "{name}");
            assert!(scene.machine.is_at_end(pipe), "{name}");
        }
    }
}

#[test]
fn a_shutdown_waits_for_what_is_not_answered() {
    let disk: Rc<RefCell<Disk>> = Rc::default();
    let mut scene = Scene::on_disk(4, Limits::default(), &disk, 1, 0);
    let (alice, bob) = (enters(&mut scene, "alice"), enters(&mut scene, "bob"));
    told(&scene, alice);
    scene.machine.send(alice, b"{\"type\":\"public\",\"body\":\"last words\",\"ref\":\"r\"}\n");
    turns_without_store(&mut scene, 3);
    scene.machine.world_mut().stop_requests = 1;
    turns_without_store(&mut scene, 3);
    assert_eq!(types(&told(&scene, bob)), ["bye"], "who waits for nothing is told at once");
    assert!(told(&scene, alice).is_empty() && !scene.server.is_stopped());
    scene.turns(20);
    assert_eq!(types(&told(&scene, alice)), ["public", "ack", "bye"]);
}

/// Nobody waits for what will never be answered: whoever is here stays, and hears why nothing is saved.
#[test]
fn a_store_that_is_gone_keeps_nobody_waiting() {
    let disk: Rc<RefCell<Disk>> = Rc::default();
    let mut scene = Scene::on_disk(5, Limits::default(), &disk, 1, 0);
    let alice = enters(&mut scene, "alice");
    scene.machine.send(alice, b"{\"type\":\"public\",\"body\":\"on its way\",\"ref\":\"a\"}\n");
    turns_without_store(&mut scene, 3);
    scene.store.as_ref().unwrap().die();
    // Somebody new, somebody from before, a message, a room that is not there.
    let bob = enters(&mut scene, "bob");
    scene.machine.send(
        bob,
        b"{\"type\":\"public\",\"body\":\"x\",\"ref\":\"b\"}\n{\"type\":\"join\",\"room\":\"dev\",\"ref\":\"c\"}\n\
          {\"type\":\"users\",\"ref\":\"d\"}\n",
    );
    scene.turns(20);
    let refused = told(&scene, alice).into_iter().find(|told| told["ref"] == "a").unwrap();
    assert_eq!(refused["code"], "not-saved");
    let answers = told(&scene, bob);
    assert_eq!(types(&answers), ["error", "error", "users"]);
    assert!(answers[..2].iter().all(|error| error["code"] == "not-saved"), "{answers:?}");
}
