//! Several sessions and the real server in one simulation. What is between them tears, is late, or goes silent;
//! the server is killed and stopped, and a room is forgotten and made again.
//!
//! An observer in all rooms, whose connection never breaks, knows what was said there: all that a session
//! shows is compared with that. `ROOMD_SEED=7 cargo test --lib against_server` runs one seed; `ROOMD_SEEDS` and
//! `ROOMD_STEPS` change how many, and how long. A failure prints its seed.
//!
//! As long as a server lives, nothing that was said to it is in doubt, and never is anything said twice: its sessions
//! know what they have carried out. What a client cannot know is not asked of it: of a line that a server took and did
//! not confirm before it was killed there is no record, and the session says so. Likewise nobody tells the sender of a
//! private message that the receiver's connection was breaking just then.

mod link;
mod person;

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::json;

use crate::chat::RoomView;
use crate::limits::Limits;
use crate::reactor::simulated::{Machine, Rng};
use crate::reactor::{Platform, Reactor};
use crate::server::{Config, Server};
use link::Link;
use person::{Person, Record, Typed, word_of};

use super::*;

/// The last one is forgotten now and then.
const ROOMS: [&str; 3] = ["lobby", "dev", "ops"];
/// Longer lines are refused, without a `ref`.
const LINE_BYTES_MAX: usize = 512;

/// Somebody in all rooms whose connection never breaks. It hears them in the order in which things were said.
struct Observer {
    pipe: usize,
    raw: Vec<u8>,
    epochs: BTreeMap<String, u64>,
}

impl Observer {
    fn hear(&mut self, machine: &Machine, record: &mut Record) {
        self.raw.extend(machine.receive(self.pipe, usize::MAX));
        while let Some(end) = self.raw.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.raw.drain(..=end).collect();
            let (message, is_action) = match protocol::read(str::from_utf8(&line).expect("UTF-8")) {
                Some(Event::Hello { room, epoch, id, .. } | Event::Room { room, epoch, id, .. }) => {
                    let newest = record.newest(&(room.clone(), epoch));
                    assert_eq!(id, newest, "something was said that nobody observed");
                    self.epochs.insert(room, epoch);
                    continue;
                }
                Some(Event::Public(message)) => (message, false),
                Some(Event::Action(message)) => (message, true),
                Some(Event::Bye { .. } | Event::Join { .. } | Event::Leave { .. } | Event::Nick { .. }) => {
                    continue;
                }
                event => panic!("the observer heard {event:?}"),
            };
            let at = (message.room.clone(), self.epochs[&message.room]);
            record.add(&at, message, is_action);
        }
    }
}

type Loop = Reactor<Machine, Server>;

/// One run.
struct Run {
    rng: Rng,
    limits: Rc<Limits>,
    began: Instant,
    now_ms: u64,
    machine: Machine,
    server: Option<Loop>,
    observer: Option<Observer>,
    people: Vec<Person>,
    record: Record,
    capacity: usize,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = Rng(seed);
        let limits = Limits {
            feed_bytes: Some([2048, 8192, 65_536][rng.below(3)]),
            history: Some([5, 30, 1000][rng.below(3)]),
            max_line_bytes: LINE_BYTES_MAX,
            // The rooms of this simulation, and one more: so a room can be forgotten.
            max_rooms: Some(ROOMS.len() + 1),
            rate: rng.chance(50).then_some(5),
            ..Limits::default()
        };
        let began = Instant::now();
        let capacity = [300, 3000, 30_000][rng.below(3)];
        let machine = Machine::new(rng.next());
        let mut run = Run {
            limits: Rc::new(limits),
            began,
            now_ms: 1,
            machine,
            server: None,
            observer: None,
            people: Vec::new(),
            record: Record::default(),
            capacity,
            rng,
        };
        run.start_server();
        for number in 0..3 + run.rng.below(4) {
            let person = Person::new(number, run.rng.next(), run.now());
            run.people.push(person);
            run.input(number, Input::Tick);
        }
        for _ in 0..50 {
            run.pass();
        }
        run
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.now_ms)
    }

    fn start_server(&mut self) {
        self.record.servers += 1;
        self.machine = Machine::new(self.rng.next());
        self.machine.world_mut().wait_max_ms = 0;
        self.machine.world_mut().now_ms = self.now_ms;
        let config = Config { limits: Rc::clone(&self.limits), ..Config::default() };
        let mut platform = self.machine.clone();
        let server = Server::new(config, platform.now());
        self.server = Some(Reactor::new(platform, server, Rc::clone(&self.limits)));
        let pipe = self.machine.connect(usize::MAX);
        let hello = json!({"type": "hello", "name": "observer", "rooms": ROOMS});
        self.machine.send(pipe, format!("{hello}\n").as_bytes());
        self.observer = Some(Observer { pipe, raw: Vec::new(), epochs: BTreeMap::new() });
        self.settle();
        // The observer is from here, and exempt from all limits; people are not.
        self.machine.world_mut().peer_ip = Some([192, 0, 2, 1].into());
    }

    /// The process is gone, and what it had not sent; what was on its way may go with it.
    fn kill_server(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        server.platform().close_listeners();
        drop(server);
        for person in &mut self.people {
            if let Some(link) = person.link.as_mut().filter(|_| self.rng.chance(50)) {
                link.is_down_cut = true;
                link.down.truncate(self.rng.below(link.down.len() + 1));
            }
            person.dangers += 1;
        }
    }

    /// Says good-bye to everybody.
    fn stop_server(&mut self) {
        self.machine.world_mut().stop_requests = 1;
        while self.server.as_ref().is_some_and(|server| !server.is_stopped()) {
            self.turn();
            self.pass_time(50);
            self.flow();
        }
        self.server = None;
        self.people.iter_mut().for_each(|person| person.dangers += 1);
    }

    /// Has the last room forgotten and made again, if only its observer is there.
    fn forget_room(&mut self) {
        // Whoever is about to come has come, or comes afterwards.
        self.pass_time(1);
        self.settle();
        let Some(server) = &self.server else { return };
        let last = ROOMS[ROOMS.len() - 1];
        let is_alone = |room: RoomView<'_>| room.name().as_str() == last && room.total() == 1;
        // What somebody has sent may be read later.
        let may_come = |person: &Person| {
            let session = &person.session;
            (session.rooms.wants(last) || session.outbox.joins(last))
                && (person.link.is_some() || !person.dropped.is_empty())
        };
        if let Some(observer) = &self.observer
            && !self.people.iter().any(may_come)
            && server.handler().chat().rooms().any(is_alone)
        {
            // There is place for one room more, so one that is empty goes.
            let ways = [(last, "nook"), ("nook", "corner"), ("corner", last)].map(|(from, to)| {
                let (join, leave) =
                    (json!({"type": "join", "room": to}), json!({"type": "leave", "room": from}));
                format!("{join}\n{leave}\n")
            });
            self.machine.send(observer.pipe, ways.concat().as_bytes());
            self.settle();
        }
    }

    /// The server does all that there is to do.
    fn settle(&mut self) {
        (0..20).for_each(|_| self.turn());
    }

    fn pass_time(&mut self, ms: u64) {
        self.now_ms += ms;
        self.machine.world_mut().now_ms = self.now_ms;
    }

    fn turn(&mut self) {
        let Some(server) = &mut self.server else { return };
        server.turn().expect("the simulated selector does not break");
        server.handler().chat().check_invariants();
        if let Some(observer) = &mut self.observer {
            observer.hear(&self.machine, &mut self.record);
        }
    }

    fn input(&mut self, who: usize, input: Input) {
        let (now, history) = (self.now(), self.limits.history.unwrap_or_default() as u64);
        self.people[who].input(now, input, &self.record, history);
    }

    /// Bytes move, connections come about and end, sessions hear of it.
    fn flow(&mut self) {
        for who in 0..self.people.len() {
            let (now_ms, rng) = (self.now_ms, &mut self.rng);
            let person = &mut self.people[who];
            person.dropped.retain_mut(|link| !link.flow_up(rng, now_ms));
            if std::mem::take(&mut person.connecting) {
                let input = match &self.server {
                    Some(_) if !person.session.welcomed || rng.chance(90) => {
                        person.link = Some(Link::new(&self.machine, self.record.servers, self.capacity));
                        Input::Connected
                    }
                    _ => Input::Failed("nothing is listening".into()),
                };
                self.input(who, input);
            }
            if let Some(link) = &mut self.people[who].link {
                link.flow_up(&mut self.rng, now_ms);
                link.flow_down(&mut self.rng, now_ms);
            }
            while let Some(line) = self.people[who].link.as_mut().and_then(Link::next_line) {
                self.input(who, Input::Received(line));
            }
            if self.people[who].link.as_ref().is_some_and(|link| link.is_at_end(now_ms)) {
                self.input(who, Input::Lost("it broke".into()));
            }
            if self.people[who].session.deadline().is_some_and(|at| at <= self.now()) {
                self.input(who, Input::Tick);
            }
            if self.people[who].is_nameless() {
                let name = format!("/nick p{who}{}", ["", "x", "y"][self.rng.below(3)]);
                self.input(who, Input::Typed(name));
            }
        }
    }

    fn pass(&mut self) {
        let ms = if self.rng.chance(5) { 500 } else { self.rng.below(30) };
        self.pass_time(ms as u64);
        self.turn();
        self.flow();
    }

    /// Somebody types a line.
    fn type_line(&mut self) {
        let who = self.rng.below(self.people.len());
        let word = format!("{who}.{}", self.people[who].typed.len());
        let filler = ["", " x", " two\n\twords\n ", " \u{1b}[1m\u{202e}evil", " ユキ"][self.rng.below(5)];
        let mut private = None;
        let line = match self.rng.below(100) {
            0..60 => format!("{word}{filler} {}", "z".repeat(self.rng.below(40))),
            60..64 => format!("{word} {}", "long".repeat(LINE_BYTES_MAX / 4)),
            64..74 => format!("/me {word}{filler}"),
            74..90 => {
                let to = (who + 1 + self.rng.below(self.people.len() - 1)) % self.people.len();
                let receiver = &self.people[to];
                let is_sound = receiver.session.is_here() && receiver.dropped.is_empty();
                private = Some((to, is_sound.then_some(receiver.dangers)));
                format!("/msg {} {word}{filler}", receiver.session.name.as_deref().unwrap_or("nobody"))
            }
            other => {
                let room = ROOMS[self.rng.below(ROOMS.len())];
                let line = match other {
                    90 | 91 => format!("/join {room}"),
                    92 => format!("/leave {room}"),
                    93 => "/leave".into(),
                    94..96 => format!("/nick p{who}{}", ["", "x", "y"][self.rng.below(3)]),
                    96 => format!("/history {}", 1 + self.rng.below(20)),
                    97 => format!("/history {} {}", 1 + self.rng.below(20), self.rng.below(20)),
                    98 => "/who".into(),
                    _ => "/ping".into(),
                };
                return self.input(who, Input::Typed(line));
            }
        };
        let room = self.people[who].session.rooms.current().to_owned();
        self.people[who].typed.push(Typed { word, room, private, unknown: false, refused: false });
        self.input(who, Input::Typed(line));
    }

    fn act(&mut self) {
        match self.rng.below(1000) {
            0..350 => {
                for _ in 0..=self.rng.below(4) {
                    self.type_line();
                }
            }
            350..385 => {
                let who = self.rng.below(self.people.len());
                if let Some(link) = &mut self.people[who].link {
                    link.cut(&mut self.rng, self.now_ms);
                    self.people[who].dangers += 1;
                }
            }
            385..387 => self.kill_server(),
            387..389 => self.stop_server(),
            389..410 => self.forget_room(),
            410..450 => {
                let who = self.rng.below(self.people.len());
                let place = self.rng.below(ROOMS.len());
                let turn = if self.rng.chance(50) { Input::TurnOn } else { Input::TurnTo(place) };
                self.input(who, turn);
            }
            450..470 => {
                let who = self.rng.below(self.people.len());
                let count = self.rng.below(8);
                self.input(who, Input::PageUp(count));
            }
            // Nobody types.
            470..474 => (0..120).for_each(|_| {
                self.pass_time(400);
                self.pass();
            }),
            _ => {}
        }
        if self.server.is_none() && self.rng.chance(10) {
            self.start_server();
        }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.act();
            self.pass();
        }
        // Now nothing breaks any more.
        if self.server.is_none() {
            self.start_server();
        }
        for link in self.people.iter_mut().flat_map(|p| p.link.iter_mut().chain(&mut p.dropped)) {
            link.up_dark_until = 0;
            if link.down_dark_until < u64::MAX {
                link.down_dark_until = 0;
            }
        }
        // Longer than a session waits for a sign of life, and than it waits between two attempts.
        let enough_ms = self.now_ms + 180_000;
        while self.now_ms < enough_ms {
            self.pass_time(100);
            self.turn();
            self.flow();
        }
    }

    fn check(&mut self) {
        for who in 0..self.people.len() {
            self.check_is_back(who);
            self.check_said(who);
            self.check_told(who);
        }
        for who in 0..self.people.len() {
            self.input(who, Input::Typed("/quit".into()));
        }
        for _ in 0..50 {
            self.pass();
        }
        for person in &self.people {
            assert_eq!(person.outcome, Some(Ok(true)), "{} could not leave", person.number);
        }
    }

    /// Everybody is there, has heard everything to the end, and knows who else is.
    fn check_is_back(&self, who: usize) {
        let Person { session, stays, outcome, told, privates, .. } = &self.people[who];
        assert!(told.iter().all(|word| privates.contains(word)), "{told:?} came, {privates:?} was shown");
        assert!(matches!(session.phase, Phase::Here), "{who} is {:?}, {outcome:?}", session.phase);
        assert_eq!(session.unconfirmed().collect::<Vec<_>>(), [""; 0]);
        let chat = self.server.as_ref().expect("a server").handler().chat();
        let name = session.name.as_deref().expect("a name");
        for room in chat.rooms() {
            let users: BTreeSet<_> = room.users().map(|name| name.as_str().to_owned()).collect();
            let room_name = room.name().as_str();
            let Some(known) = session.rooms.get(room_name) else {
                assert!(!users.contains(name), "{who} does not know that it is in {room_name}");
                continue;
            };
            assert_eq!(known.names, users, "in {room_name}");
            let stay = &stays[room_name];
            assert_eq!((room.epoch_ms(), room.epoch_ms()), (stay.epoch, known.epoch));
            let newest = self.record.newest(&(room_name.to_owned(), stay.epoch));
            assert_eq!((stay.next(), stay.gone), (newest + 1, 0), "{who} missed the end of {room_name}");
        }
        let rooms: BTreeSet<_> = session.rooms.iter().map(|room| &room.name).collect();
        assert_eq!(stays.keys().collect::<BTreeSet<_>>(), rooms);
        let current = session.rooms.current();
        assert!(
            session.rooms.wants(current) && session.rooms.get(current).is_some(),
            "{who} is not in {current}"
        );
    }

    /// What somebody said is in the record once and in order.
    fn check_said(&self, who: usize) {
        let prefix = format!("{who}.");
        let mut orders: BTreeMap<usize, usize> = BTreeMap::new();
        for (at, said) in &self.record.rooms {
            for said in said {
                let word = word_of(&said.message.body);
                let number = word.strip_prefix(&prefix).and_then(|number| number.parse::<usize>().ok());
                let Some(number) = number else {
                    continue;
                };
                assert_eq!(at.0, self.people[who].typed[number].room, "{who} said {word} in another room");
                assert_eq!(orders.insert(number, said.order), None, "{word} was said twice");
            }
        }
        assert!(orders.values().is_sorted(), "{who} said in another order: {orders:?}");
        for (number, typed) in self.people[who].typed.iter().enumerate() {
            let was_said = orders.contains_key(&number);
            let may_be = !typed.refused && typed.private.is_none();
            assert!(!was_said || may_be, "{} was said", typed.word);
            assert!(was_said || !may_be || typed.unknown, "{} was confirmed and not said", typed.word);
        }
    }

    /// What somebody told was heard by whom it was for, and by nobody else.
    fn check_told(&self, who: usize) {
        for Typed { word, private, unknown, refused, .. } in &self.people[who].typed {
            let mut hearers = self.people.iter().filter(|p| p.number != who && p.privates.contains(word));
            let hearer = hearers.next().map(|person| person.number);
            assert!(hearers.next().is_none(), "{word} was heard by two");
            assert_eq!(hearer, private.map(|(to, _)| to).filter(|_| hearer.is_some()), "{word} leaked");
            let is_confirmed = private.is_some() && !unknown && !refused;
            assert_eq!(self.people[who].privates.contains(word), is_confirmed, "{word} was shown or not");
            if let Some((to, Some(dangers))) = private
                && self.people[*to].dangers == *dangers
            {
                assert!(hearer.is_some() || *unknown || *refused, "{word} was confirmed and not heard");
                assert!(hearer.is_none() || !refused, "{word} was refused and heard");
            }
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn nothing_is_lost_doubled_or_mixed_up_whatever_breaks() {
    let seeds = match number("ROOMD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROOMD_SEEDS").unwrap_or(200),
    };
    let steps = number("ROOMD_STEPS").unwrap_or(400) as usize;
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            run.run(steps);
            run.check();
        });
        assert!(
            outcome.is_ok(),
            "failed: ROOMD_SEED={seed} ROOMD_STEPS={steps} cargo test --lib against_server"
        );
    }
}
