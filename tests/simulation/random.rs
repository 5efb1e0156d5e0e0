//! Random clients on a random server: everybody hears everything once and in order.
//!
//! Two observers hear all that is said in their rooms; what every other client was told is compared with that.

use crate::client::{Client, Dialect, Temper};
use crate::scene::{EXEMPT, Scene, stranger};
use crate::setting::Setting;
use roomd::reactor::simulated::{Machine, Rng};

/// The rooms that are observed, each by the client of the same number.
pub const ROOMS: [&str; 2] = ["lobby", "dev"];
/// Rooms that come and go.
const SIDE_ROOMS: [&str; 4] = ["north", "east", "south", "west"];

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
    /// Private messages: body, sender, receiver.
    pub privates: Vec<(String, usize, usize)>,
    step: usize,
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

    /// A run with observers, and without faults so far.
    pub fn new(seed: u64, setting: Setting, rng: Rng) -> Self {
        let scene = Scene::new(seed ^ 0xabcd, setting.limits.clone());
        let machine = scene.machine.clone();
        let (clients, requests, privates) = (Vec::new(), Vec::new(), Vec::new());
        let mut run = Self { scene, machine, setting, clients, requests, rng, privates, step: 0 };
        for room in ROOMS {
            let observer = run.connect(Dialect::Json, Temper::Healthy, true);
            if room != ROOMS[0] {
                run.say(observer, |observer| observer.go(room));
            }
            run.settle(5);
        }
        run
    }

    /// Somebody connects, and says who it is.
    pub fn connect(&mut self, dialect: Dialect, temper: Temper, is_exempt: bool) -> usize {
        let number = self.clients.len();
        let capacity = match temper {
            // The observers hold nothing up.
            Temper::Healthy if number < ROOMS.len() => 1 << 20,
            Temper::Healthy | Temper::Mute => self.setting.healthy_capacity,
            Temper::Sick => 50 + self.rng.below(3000),
        };
        let ip = if is_exempt { EXEMPT } else { stranger(number) };
        let pipe = self.scene.connect(ip, capacity, b"");
        self.clients.push(Client::new(pipe, format!("c{number}"), dialect, temper, is_exempt));
        self.say(number, Client::hello);
        number
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

    fn act(&mut self) {
        let alive: Vec<usize> = (ROOMS.len()..self.clients.len())
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
            6..70 if !is_sick && self.setting.limits.max_buffered_bytes.is_some() => self.act_say(who, 4),
            6..70 => self.act_say(who, if action > 65 { 60 } else { 4 }),
            70..78 => self.act_tell(who),
            78..81 => self.act_rename(who),
            81..88 => self.act_go(who),
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
                    let line = format!("{who}-{}-last", client.said);
                    client.said += 1;
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
        ][self.rng.below(6)];
        let temper = match self.rng.below(10) {
            0..5 => Temper::Healthy,
            5 if matches!(dialect, Dialect::WsText | Dialect::WsJson) => Temper::Mute,
            _ => Temper::Sick,
        };
        let is_exempt = self.rng.chance(50);
        self.connect(dialect, temper, is_exempt);
    }

    pub fn request(&mut self, head: &[u8], expected: &'static str) {
        let pipe = self.scene.connect(stranger(1000 + self.requests.len()), 1 << 20, head);
        self.requests.push(Request { pipe, expected, answer: Vec::new() });
    }

    fn act_say(&mut self, who: usize, lines_max: usize) {
        for _ in 0..=self.rng.below(lines_max) {
            let filler = "x".repeat(self.rng.below(60));
            let client = &mut self.clients[who];
            let body = format!("{who}-{}-{filler}", client.said);
            client.said += 1;
            self.say(who, |client| client.say(&body));
        }
    }

    fn act_tell(&mut self, who: usize) {
        let to = self.rng.below(self.clients.len());
        let body = format!("psst-{}", self.privates.len());
        if to != who {
            self.say(who, |client| client.tell(self.clients[to].name(), &body));
            self.privates.push((body, who, to));
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

    fn act_go(&mut self, who: usize) {
        let is_aside = self.setting.has_side_rooms && self.rng.chance(50);
        let rooms: &[&str] = if is_aside { &SIDE_ROOMS } else { &ROOMS };
        let room = rooms[self.rng.below(rooms.len())];
        self.clients[who].went_aside |= is_aside;
        self.say(who, |client| client.go(room));
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
