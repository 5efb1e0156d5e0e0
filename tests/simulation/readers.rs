//! Backpressure: *a room waits for every reader who takes at least `slowest` bytes per second, and for
//! nobody who takes less.*
//!
//! Producers paste as fast as they are read, for minutes of simulated time; readers take what they are sent at
//! all speeds. The sockets are those of [`sim`](crate::sim): room is told when a third of the buffer is free,
//! so what the kernel takes comes in lumps, as on Linux.

use std::collections::HashMap;

use roomd::limits::Limits;

use crate::scene::{EXEMPT, Scene};
use roomd::reactor::simulated::Rng;

/// The body of a pasted line, besides its number.
const FILLER: &str = "The quick brown fox jumps over the lazy dog and says so to everybody in this room.";
/// How often the clock ticks.
const TICK_MS: u64 = 10;
/// How many turns the loop makes at most in one tick.
const TURNS_PER_TICK: usize = 8;

/// Somebody who pastes as fast as it is read, and reads what others say.
struct Producer {
    pipe: usize,
    said: usize,
}

impl Producer {
    /// `ahead` bytes wait to be read.
    fn paste(&mut self, scene: &Scene, ahead: usize) {
        assert!(!scene.machine.is_at_end(self.pipe), "a producer was closed");
        while scene.machine.unread(self.pipe) < ahead {
            scene.machine.send(self.pipe, format!("{} {FILLER}\n", self.said).as_bytes());
            self.said += 1;
        }
    }
}

/// What somebody has been told, as far as it is of interest here: each line of each producer once, in order.
#[derive(Default)]
struct Ear {
    taken: u64,
    /// The unfinished line.
    rest: Vec<u8>,
    /// How many lines of each producer it has heard.
    heard: HashMap<String, usize>,
    last_line: String,
}

impl Ear {
    fn hear(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        self.rest.extend_from_slice(bytes);
        let Some(end) = memchr::memrchr(b'\n', &self.rest) else { return };
        let lines = String::from_utf8(self.rest.drain(..=end).collect()).expect("the server sends UTF-8");
        for line in lines.lines() {
            // Whoever has its current room elsewhere is told which room it was.
            if let Some((name, body)) = line.strip_prefix("#lobby ").unwrap_or(line).split_once(": ")
                && name.starts_with("producer")
            {
                let number: usize = body.split(' ').next().unwrap().parse().unwrap();
                let next = self.heard.entry(name.to_owned()).or_insert(number);
                assert_eq!(number, *next, "a line of {name} was lost or doubled");
                *next += 1;
            }
            self.last_line.clear();
            self.last_line.push_str(line);
        }
    }
}

/// A room with producers in it.
pub struct Room {
    pub scene: Scene,
    producers: Vec<Producer>,
    /// So many bytes of each producer wait to be read, always.
    pub ahead: usize,
    /// Takes everything at once: it sees what is published.
    observer: (usize, Ear),
}

impl Room {
    pub fn new(seed: u64, limits: Limits, producers: usize) -> Self {
        let scene = Scene::new(seed, limits);
        scene.machine.world_mut().wait_max_ms = 0;
        let observer = (scene.connect(EXEMPT, usize::MAX / 2, b"observer\n"), Ear::default());
        let producers = (0..producers)
            .map(|i| {
                let hello = format!("producer{i}\n");
                Producer { pipe: scene.connect(EXEMPT, usize::MAX / 2, hello.as_bytes()), said: 0 }
            })
            .collect();
        Self { scene, producers, ahead: 64 * 1024, observer }
    }

    /// Everybody is let in before anything is said.
    pub fn begin(&mut self) {
        self.scene.turns(20);
    }

    /// Hours ago something was said, and everybody took it: nobody owes anything for the time since.
    pub fn chat_a_little(&mut self, mut drain: impl FnMut(&Scene)) {
        let said = self.producers[0].said;
        self.scene.machine.send(self.producers[0].pipe, format!("{said} hello\n").as_bytes());
        self.producers[0].said += 1;
        self.scene.turns(5);
        self.hear_the_fast();
        drain(&self.scene);
        self.scene.after_ms(3_600_000);
    }

    /// A tick of the clock: the loop turns as long as there is something to say, and the fast read.
    pub fn tick(&mut self, ms: u64, turns: usize) {
        self.scene.machine.world_mut().now_ms += ms;
        for turn in 0..turns {
            let before = self.published();
            self.producers.iter_mut().for_each(|producer| producer.paste(&self.scene, self.ahead));
            match turn {
                0 => self.scene.turn(),
                _ => self.scene.turn_unchecked(),
            }
            self.hear_the_fast();
            if self.published() == before {
                break;
            }
        }
    }

    fn hear_the_fast(&mut self) {
        let bytes = self.scene.machine.receive(self.observer.0, usize::MAX);
        self.observer.1.hear(&bytes);
        for producer in &self.producers {
            self.scene.machine.receive(producer.pipe, usize::MAX);
        }
    }

    /// So many bytes were published, in the encoding of text.
    pub fn published(&self) -> u64 {
        self.observer.1.taken
    }

    /// Nobody says anything more: what is left is read.
    fn finish(&mut self, mut drain: impl FnMut(&Scene)) {
        for _ in 0..1000 {
            self.scene.after_ms(TICK_MS);
            self.hear_the_fast();
            drain(&self.scene);
        }
    }
}

/// A client that takes bytes at a rate.
struct Reader {
    pipe: usize,
    rate: f64,
    /// It takes so many at once.
    lump: usize,
    /// So many more it may take by now.
    allowance: f64,
    ear: Ear,
}

impl Reader {
    fn new(scene: &Scene, hello: &str, capacity: usize, rate: f64, lump: usize) -> Self {
        let pipe = scene.connect(EXEMPT, capacity, hello.as_bytes());
        Self { pipe, rate, lump, allowance: 0.0, ear: Ear::default() }
    }

    fn read(&mut self, scene: &Scene, ms: u64) {
        // Time in which there was nothing to take does not count.
        let max = (self.rate * ms as f64 / 1000.0).max(self.lump as f64) * 2.0;
        self.allowance = (self.allowance + self.rate * ms as f64 / 1000.0).min(max);
        while self.allowance >= self.lump as f64 {
            let bytes = scene.machine.receive(self.pipe, self.lump);
            self.allowance -= bytes.len() as f64;
            self.ear.hear(&bytes);
            if bytes.len() < self.lump {
                self.allowance = self.allowance.min(self.lump as f64);
                break;
            }
        }
    }
}

/// One room with readers of these speeds (in `slowest`): those from 1 on lose nothing, those at 0.8 and below
/// are closed as slow. Behind their names they say `more`.
fn readers_of_all_speeds(
    seed: u64,
    limits: Limits,
    more: &str,
    capacity: usize,
    lump: usize,
    speeds: &[f64],
    seconds: u64,
) {
    let slowest = limits.slowest.unwrap();
    let mut rng = Rng(seed);
    let mut room = Room::new(seed, limits, 2);
    let mut readers: Vec<Reader> = speeds
        .iter()
        .enumerate()
        .map(|(i, speed)| {
            Reader::new(&room.scene, &format!("reader{i}\n{more}"), capacity, speed * slowest as f64, lump)
        })
        .collect();
    room.begin();
    room.chat_a_little(|scene| {
        for reader in &mut readers {
            reader.ear.hear(&scene.machine.receive(reader.pipe, usize::MAX));
        }
    });
    let mut passed = 0;
    while passed < 1000 * seconds {
        let ms = 1 + rng.below(2 * TICK_MS as usize) as u64;
        passed += ms;
        room.tick(ms, TURNS_PER_TICK);
        readers.iter_mut().for_each(|reader| reader.read(&room.scene, ms));
    }
    readers.iter_mut().for_each(|reader| reader.rate = reader.rate.max(1e9));
    room.finish(|scene| readers.iter_mut().for_each(|reader| reader.read(scene, TICK_MS)));
    let published = room.published() as f64 / seconds as f64 / slowest as f64;
    println!("seed {seed}, capacity {capacity}, lump {lump}: {published:.2} slowest");
    let mut slow = 0;
    for (reader, speed) in readers.iter().zip(speeds) {
        let is_closed = room.scene.machine.is_at_end(reader.pipe);
        if *speed >= 1.0 {
            assert!(!is_closed, "seed {seed}: {speed} was closed: {}", reader.ear.last_line);
            assert_eq!(reader.ear.heard, room.observer.1.heard, "seed {seed}: {speed} lost something");
        } else {
            assert!(is_closed, "seed {seed}: {speed} was waited for");
            assert!(reader.ear.last_line.contains("(slow)") || *speed == 0.0, "{}", reader.ear.last_line);
            slow += 1;
        }
    }
    assert_eq!(room.scene.lost_slow(), slow);
    for producer in &room.producers {
        assert!(!room.scene.machine.is_at_end(producer.pipe));
    }
}

const SPEEDS: [f64; 7] = [0.0, 0.3, 0.8, 1.0, 1.05, 2.0, 20.0];

#[test]
fn a_room_waits_for_whoever_takes_the_minimum_and_for_nobody_else() {
    for (seed, capacity) in [128 * 1024, 48 * 1024, 16 * 1024, 4096].into_iter().enumerate() {
        for lump in [1, capacity / 3] {
            readers_of_all_speeds(seed as u64, Limits::default(), "", capacity, lump, &SPEEDS, 40);
        }
    }
}

/// The same for those who hear the room beside their current one.
#[test]
fn a_room_waits_for_whoever_takes_the_minimum_while_its_current_room_is_another_one() {
    for (seed, capacity) in [128 * 1024, 16 * 1024].into_iter().enumerate() {
        for lump in [1, capacity / 3] {
            let more = "/join elsewhere\n";
            readers_of_all_speeds(seed as u64, Limits::default(), more, capacity, lump, &SPEEDS, 20);
        }
    }
}
