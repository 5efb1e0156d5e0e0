//! Random clients on a random server: everybody hears everything once and in order.
//!
//! An observer is in all rooms but those that come and go, and hears everything in the order in which it was published;
//! what every other client was told is compared with that.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::client::{Client, Dialect, Temper};
use crate::scene::{EXEMPT, Scene, stranger};
use crate::setting::{JOINED_MAX, Setting};
use roomd::reactor::simulated::{Machine, Rng};

/// The rooms that are observed.
pub const ROOMS: [&str; 6] = ["lobby", "dev", "ops", "art", "den", "hut"];
/// Rooms that come and go.
const SIDE_ROOMS: [&str; 4] = ["north", "east", "south", "west"];
/// The client that observes them.
pub const OBSERVER: usize = 0;

/// An HTTP request, and its answer.
pub struct Request {
    pub pipe: usize,
    pub expected: &'static str,
    pub answer: Vec<u8>,
}

/// One run.
pub struct Run {
    pub scene: Scene,
    /// The machine of the scene.
    pub machine: Machine,
    pub setting: Setting,
    pub clients: Vec<Client>,
    pub requests: Vec<Request>,
    rng: Rng,
    pub privates: Vec<Private>,
    /// The rooms there are, as their numbers tell; and how many there were that made place for others.
    side_rooms: Vec<Option<u32>>,
    pub evicted: usize,
    step: usize,
}

/// A private message: it is number so and so of all.
pub struct Private {
    pub from: usize,
    pub to: usize,
    /// How many messages its sender had said before.
    pub said_before: usize,
}

impl Run {
    /// A run in which everything is drawn.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let setting = Setting::draw(&mut rng);
        let run = Self::new(seed, setting.clone(), rng);
        run.machine.world_mut().fault_percent = setting.fault_percent;
        run
    }

    /// A run with an observer, and without faults so far.
    pub fn new(seed: u64, setting: Setting, rng: Rng) -> Self {
        let scene = match setting.has_disk {
            true => Scene::on_disk(seed ^ 0xabcd, setting.limits.clone(), &Rc::default(), 0, 0),
            false => Scene::new(seed ^ 0xabcd, setting.limits.clone()),
        };
        let machine = scene.machine.clone();
        let (clients, requests, privates) = (Vec::new(), Vec::new(), Vec::new());
        let side_rooms = vec![None; SIDE_ROOMS.len()];
        let mut run = Self {
            scene,
            machine,
            setting,
            clients,
            requests,
            rng,
            privates,
            side_rooms,
            evicted: 0,
            step: 0,
        };
        run.connect(Dialect::Json, Temper::Healthy, true, &ROOMS);
        run.settle(20);
        run
    }

    /// Somebody connects, and says who it is.
    pub fn connect(&mut self, dialect: Dialect, temper: Temper, is_exempt: bool, rooms: &[&'static str]) {
        let number = self.clients.len();
        let capacity = match temper {
            // The observer holds nothing up.
            Temper::Healthy if number == OBSERVER => 1 << 20,
            Temper::Healthy | Temper::Mute => self.setting.healthy_capacity,
            Temper::Sick => 1 + self.rng.below(3000),
        };
        let ip = if is_exempt { EXEMPT } else { stranger(number) };
        let pipe = self.scene.connect(ip, capacity, b"");
        self.clients.push(Client::new(pipe, format!("c{number}"), dialect, temper, is_exempt));
        self.say(number, |client| client.hello(rooms));
        if !self.clients[number].is_json() {
            rooms.iter().skip(1).for_each(|room| self.say(number, |client| client.go(room)));
        }
        self.note_wanted(number, rooms);
    }

    /// A client sends something.
    pub fn say(&self, who: usize, what: impl FnOnce(&Client) -> Vec<u8>) {
        let client = &self.clients[who];
        self.machine.send(client.pipe, &what(client));
    }

    /// Everybody who is awake reads, and answers pings.
    fn hear(&mut self) {
        for client in &mut self.clients {
            if client.asleep_until > self.step || client.was_reset {
                continue;
            }
            let max = if client.temper == Temper::Sick { 1 + self.rng.below(2000) } else { usize::MAX };
            client.hear(&self.machine, max);
        }
        for request in &mut self.requests {
            request.answer.extend(self.machine.receive(request.pipe, usize::MAX));
        }
    }

    pub fn settle(&mut self, turns: usize) {
        for _ in 0..turns {
            self.scene.turn();
            self.check_memory();
            self.note_evicted();
            self.hear();
        }
    }

    /// What all together hold is not much more than it may be: what one turn adds, in all encodings.
    fn check_memory(&self) {
        if let Some(max) = self.setting.limits.max_buffered_bytes {
            let bytes = self.scene.server.net().buffered_bytes();
            assert!(bytes <= max + 64 * 1024, "{bytes} bytes are held, and {max} may be");
        }
    }

    /// A room that is another one than before has made place.
    fn note_evicted(&mut self) {
        let rooms: BTreeMap<&str, u32> = self
            .scene
            .server
            .handler()
            .chat()
            .rooms()
            .map(|room| (room.name().as_str(), room.number()))
            .collect();
        for (name, last) in SIDE_ROOMS.iter().zip(&mut self.side_rooms) {
            let number = rooms.get(name).copied();
            self.evicted += usize::from(last.is_some() && number != *last);
            *last = number;
        }
    }

    fn act(&mut self) {
        let alive: Vec<usize> = (OBSERVER + 1..self.clients.len())
            .filter(|&c| self.clients[c].is_up() && self.clients[c].temper != Temper::Mute)
            .collect();
        let action = self.rng.below(100);
        if alive.is_empty() || (action < 6 && self.clients.len() < 30) {
            return self.act_anew();
        }
        let who = alive[self.rng.below(alive.len())];
        let is_sick = self.clients[who].temper == Temper::Sick;
        let pipe = self.clients[who].pipe;
        match action {
            // What a healthy client has said and nobody has heard is held for it as well.
            6..62 if !is_sick && self.setting.limits.max_buffered_bytes.is_some() => self.act_say(who, 4),
            6..62 => self.act_say(who, if action > 57 { 60 } else { 4 }),
            62..70 => self.act_tell(who),
            70..73 => self.act_rename(who),
            73..85 => self.act_go(who),
            85..88 => self.act_leave(who),
            88..92 if is_sick => {
                self.clients[who].asleep_until = self.step + self.rng.below(400);
            }
            92 if is_sick => {
                let client = &mut self.clients[who];
                (client.has_ended, client.was_reset) = (true, true);
                self.machine.close(pipe);
            }
            92..95 => {
                // The last line has no end; the connection's end is its end.
                let client = &mut self.clients[who];
                client.has_ended = true;
                if client.dialect == Dialect::Text {
                    let line = format!("{who}-{}-last", client.said.len());
                    client.said.push(None);
                    self.machine.send(pipe, line.as_bytes());
                }
                self.machine.end(pipe);
            }
            95..97 if is_sick => {
                self.clients[who].was_reset = true;
                self.machine.reset(pipe);
            }
            97 if matches!(self.clients[who].dialect, Dialect::Text | Dialect::Json) => {
                self.say(who, |client| client.frame("x".repeat(600).as_str()));
            }
            98 => {
                self.say(who, Client::quit);
                self.clients[who].has_quit = true;
            }
            _ => {}
        }
    }

    /// Somebody comes: mostly a chat client.
    fn act_anew(&mut self) {
        if self.rng.chance(10) && self.requests.len() < 10 {
            let has_room = self.setting.limits.max_buffered_bytes.is_none();
            let (path, expected) = match self.rng.below(if has_room { 3 } else { 2 }) {
                0 => ("/healthz", "200 OK"),
                1 => ("/nowhere", "404 Not Found"),
                _ => ("/", "200 OK"),
            };
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            return self.request(head.as_bytes(), expected);
        }
        let dialect = [
            Dialect::Text,
            Dialect::Json,
            Dialect::LengthText,
            Dialect::LengthJson,
            Dialect::WsText,
            Dialect::WsJson,
            Dialect::WsEcho,
        ][self.rng.below(7)];
        let temper = match self.rng.below(10) {
            0..5 => Temper::Healthy,
            5 if matches!(dialect, Dialect::WsText | Dialect::WsJson | Dialect::WsEcho) => Temper::Mute,
            _ => Temper::Sick,
        };
        let is_exempt = self.rng.chance(50);
        let is_in_several = self.rng.chance(50);
        let mut rooms = if is_in_several { self.some_rooms(JOINED_MAX - 1) } else { Vec::new() };
        if is_in_several {
            // There may be no place for another one, and whoever is not let in is not heard.
            rooms.retain(|room| *room != ROOMS[0]);
            rooms.insert(0, ROOMS[0]);
        }
        self.connect(dialect, temper, is_exempt, &rooms);
    }

    /// Between one and `max` rooms.
    fn some_rooms(&mut self, max: usize) -> Vec<&'static str> {
        let mut rooms: Vec<&str> = (0..=self.rng.below(max)).map(|_| self.some_room()).collect();
        let mut seen = BTreeSet::new();
        rooms.retain(|room| seen.insert(*room));
        rooms
    }

    fn some_room(&mut self) -> &'static str {
        match self.setting.has_side_rooms && self.rng.chance(40) {
            true => SIDE_ROOMS[self.rng.below(SIDE_ROOMS.len())],
            false => ROOMS[self.rng.below(ROOMS.len())],
        }
    }

    /// Takes note that a client wants to be in these rooms.
    fn note_wanted(&mut self, who: usize, rooms: &[&'static str]) {
        let client = &mut self.clients[who];
        client.went_aside |= rooms.iter().any(|room| SIDE_ROOMS.contains(room));
        client.wants.extend(rooms);
    }

    /// A room for a client to do something in: mostly one that it is in, if nothing came between.
    fn some_room_of(&mut self, who: usize) -> &'static str {
        let wanted = self.clients[who].wants.len();
        match wanted > 0 && self.rng.chance(80) {
            true => self.clients[who].wants[self.rng.below(wanted)],
            false => self.some_room(),
        }
    }

    pub fn request(&mut self, head: &[u8], expected: &'static str) {
        let pipe = self.scene.connect(stranger(1000 + self.requests.len()), 1 << 20, head);
        self.requests.push(Request { pipe, expected, answer: Vec::new() });
    }

    /// Says something; what a program says in a room that it names may be refused.
    fn act_say(&mut self, who: usize, lines_max: usize) {
        let room = (self.clients[who].is_json() && self.rng.chance(40)).then(|| self.some_room_of(who));
        for _ in 0..=self.rng.below(lines_max) {
            let filler = "x".repeat(self.rng.below(60));
            let client = &mut self.clients[who];
            let mut body = format!("{who}-{}-{filler}", client.said.len());
            if client.is_json() && self.rng.chance(10) {
                // People are told it in two lines.
                body = format!("{body}\n{body}");
            }
            client.said.push(room.map(Into::into));
            self.say(who, |client| client.say(&body, room));
        }
        if self.rng.chance(20) {
            self.act_ping(who);
        }
    }

    fn act_ping(&mut self, who: usize) {
        self.say(who, Client::ping);
        let client = &mut self.clients[who];
        client.pings.push(client.said.len());
    }

    /// Tells somebody something, often between two messages.
    fn act_tell(&mut self, who: usize) {
        let to = self.rng.below(self.clients.len());
        let is_between = self.rng.chance(60);
        if is_between {
            self.act_say(who, 1);
        }
        let body = format!("psst-{}", self.privates.len());
        if to != who {
            self.say(who, |client| client.tell(self.clients[to].name(), &body));
            self.privates.push(Private { from: who, to, said_before: self.clients[who].said.len() });
        }
        if is_between {
            self.act_say(who, 1);
        }
    }

    /// A new name; or that of an observer, which is refused.
    fn act_rename(&mut self, who: usize) {
        if self.rng.chance(30) {
            return self.say(who, |client| client.rename("C0"));
        }
        let name = format!("c{who}v{}", self.clients[who].names.len());
        self.say(who, |client| client.rename(&name));
        self.clients[who].names.push(name);
    }

    /// Enters a room, or turns to it; a program may say all its rooms at once.
    fn act_go(&mut self, who: usize) {
        if self.clients[who].is_json() && self.rng.chance(25) {
            let rooms = self.some_rooms(JOINED_MAX + 1);
            self.clients[who].wants.clear();
            self.note_wanted(who, &rooms);
            return self.say(who, |client| client.settle(&rooms));
        }
        let room = if self.rng.chance(30) { self.some_room_of(who) } else { self.some_room() };
        self.note_wanted(who, &[room]);
        self.say(who, |client| client.go(room));
    }

    /// Leaves the current room, or another one, in which it may not be.
    fn act_leave(&mut self, who: usize) {
        let room = self.rng.chance(70).then(|| self.some_room_of(who));
        self.clients[who].wants.retain(|wanted| Some(*wanted) != room);
        self.say(who, |client| client.leave(room));
    }

    /// The process is stopped for a while, in its wait or outside of it.
    fn pause(&mut self) {
        let ms = 2000 + self.rng.below(600_000) as u64;
        let mut world = self.machine.world_mut();
        match world.rng.chance(50) {
            true => world.now_ms += ms,
            false => world.pause_ms = ms,
        }
    }

    pub fn run(&mut self, steps: usize) {
        for step in 0..steps {
            self.step = step;
            for _ in 0..self.rng.below(3) {
                self.act();
            }
            if self.setting.has_pauses && self.rng.chance(2) {
                self.pause();
            }
            let tick = self.rng.below(self.setting.tick_ms) as u64;
            self.machine.world_mut().now_ms += tick;
            self.settle(1);
        }
        // Now everybody is awake and nothing fails any more.
        self.step = usize::MAX;
        self.machine.world_mut().fault_percent = 0;
        let mut told = usize::MAX;
        while told != self.told() {
            told = self.told();
            self.settle(300);
        }
    }

    /// How much everybody has been told.
    fn told(&self) -> usize {
        self.clients.iter().map(|client| client.told.len()).sum()
    }

    /// Time enough for whoever does not answer pings to be closed.
    pub fn outlast_the_silent(&mut self) {
        let dead_after = self.setting.limits.dead_after.unwrap_or_default().as_millis() as u64;
        let mut left = 3 * dead_after / 20;
        while left > 0 {
            if self.setting.has_pauses && self.rng.chance(2) {
                self.pause();
            }
            self.machine.world_mut().now_ms += 20;
            self.settle(1);
            left -= 1;
        }
    }
}
