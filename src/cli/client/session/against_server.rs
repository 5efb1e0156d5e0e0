//! Several sessions and the real server in one simulation. What is between them tears, is late, or goes silent;
//! the server is killed and stopped, and a room is forgotten and made again.
//!
//! An observer in each room, whose connection never breaks, knows what was said there: all that a session
//! shows is compared with that. `ROOMD_SEED=7 cargo test --lib against_server` runs one seed; `ROOMD_SEEDS` and
//! `ROOMD_STEPS` change how many, and how long. A failure prints its seed.
//!
//! What a client cannot know is not asked of it: of a line that a server took and did not confirm before it
//! was killed (or its room forgotten) there is no record. The session sends it again, and those who were there may
//! see it twice, in two epochs; that ends only with a `ref` that the server remembers. Likewise nobody tells
//! the sender of a private message that the receiver's connection was breaking just then.

#[path = "../../../../tests/sim/mod.rs"]
mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use roomd::chat::RoomView;
use roomd::limits::Limits;
use roomd::reactor::{Platform, Reactor};
use roomd::server::{Config, Server};
use sim::{Machine, Rng, SimPlatform};

use super::*;

/// The last one is forgotten now and then.
const ROOMS: [&str; 2] = ["lobby", "dev"];
/// Longer lines are refused, without a `ref`.
const LINE_BYTES_MAX: usize = 512;
/// An outage lasts up to so long: longer than any session waits for a sign of life.
const OUTAGE_MAX_MS: usize = 60_000;

/// How the client's side of a connection ends, for the server.
#[derive(Clone, Copy)]
enum End {
    Reset,
    Fin,
    /// The client has closed its socket.
    Close,
}

/// A connection, and what is on its way.
struct Link {
    machine: Machine,
    pipe: usize,
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    /// What comes behind the last byte of `up`.
    up_end: Option<End>,
    /// Nothing comes behind the last byte of `down` but the end.
    is_down_cut: bool,
    /// Nothing moves until then.
    up_dark_until: u64,
    down_dark_until: u64,
    /// The beginning of a line, at the client.
    line: Vec<u8>,
}

impl Link {
    fn new(machine: &Machine, capacity: usize) -> Link {
        Link {
            machine: machine.clone(),
            pipe: machine.connect(capacity),
            up: VecDeque::new(),
            down: VecDeque::new(),
            up_end: None,
            is_down_cut: false,
            up_dark_until: 0,
            down_dark_until: 0,
            line: Vec::new(),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.up_end.is_none() {
            self.up.extend(bytes);
        }
    }

    /// Breaks at any byte in either direction; who learns of it, and when, is chance.
    fn cut(&mut self, rng: &mut Rng, now_ms: u64) {
        let later = now_ms + rng.below(OUTAGE_MAX_MS) as u64;
        let kind = rng.below(6);
        match kind {
            0..4 => {
                self.up.truncate(rng.below(self.up.len() + 1));
                self.down.truncate(rng.below(self.down.len() + 1));
                self.up_end.get_or_insert(if rng.chance(50) { End::Reset } else { End::Fin });
                self.is_down_cut = true;
            }
            // Nothing is lost, if nobody loses patience.
            4 => (self.up_dark_until, self.down_dark_until) = (later, later),
            _ => self.down_dark_until = later,
        }
        match kind {
            2 => self.up_dark_until = later,
            3 => self.down_dark_until = later,
            _ => {}
        }
    }

    /// A piece of what was sent arrives at the server; true once everything has, the end too.
    fn flow_up(&mut self, rng: &mut Rng, now_ms: u64) -> bool {
        if now_ms < self.up_dark_until {
            return false;
        }
        let piece = piece(&mut self.up, rng);
        self.machine.send(self.pipe, &piece);
        match self.up_end.filter(|_| self.up.is_empty()) {
            None => return false,
            Some(End::Reset) => self.machine.reset(self.pipe),
            Some(End::Fin) => self.machine.end(self.pipe),
            Some(End::Close) => self.machine.close(self.pipe),
        }
        true
    }

    /// A piece of what the server sent arrives at the client.
    fn flow_down(&mut self, rng: &mut Rng, now_ms: u64) {
        if now_ms < self.down_dark_until {
            return;
        }
        if !self.is_down_cut {
            self.down.extend(self.machine.receive(self.pipe, 1 + rng.below(4000)));
        }
        self.line.extend(piece(&mut self.down, rng));
    }

    /// The next whole line at the client.
    fn next_line(&mut self) -> Option<String> {
        let end = self.line.iter().position(|&b| b == b'\n')?;
        let line: Vec<u8> = self.line.drain(..=end).collect();
        Some(String::from_utf8(line[..end].to_vec()).expect("the server sends UTF-8"))
    }

    fn is_at_end(&self, now_ms: u64) -> bool {
        let is_cut = self.is_down_cut || self.machine.is_at_end(self.pipe);
        is_cut && self.down.is_empty() && now_ms >= self.down_dark_until
    }
}

/// Takes a random piece off the front.
fn piece(bytes: &mut VecDeque<u8>, rng: &mut Rng) -> Vec<u8> {
    let count = if rng.chance(50) { bytes.len() } else { rng.below(bytes.len() + 1) };
    bytes.drain(..count).collect()
}

/// What everybody in a room heard, once, by room and epoch; the place of a message is its id less one.
#[derive(Default)]
struct Record(BTreeMap<(String, u64), Vec<Said>>);

struct Said {
    /// Its place among all that was said.
    order: usize,
    message: Message,
    action: bool,
}

impl Record {
    fn add(&mut self, at: &(String, u64), message: Message, action: bool) {
        let order = self.0.values().map(Vec::len).sum();
        let room = self.0.entry(at.clone()).or_default();
        assert_eq!(message.id, room.len() as u64 + 1, "the observer missed something");
        room.push(Said { order, message, action });
    }

    fn newest(&self, at: &(String, u64)) -> u64 {
        self.0.get(at).map_or(0, |said| said.len() as u64)
    }
}

/// Somebody whose connection never breaks.
struct Observer {
    pipe: usize,
    raw: Vec<u8>,
    at: (String, u64),
}

impl Observer {
    fn hear(&mut self, machine: &Machine, record: &mut Record) {
        self.raw.extend(machine.receive(self.pipe, usize::MAX));
        while let Some(end) = self.raw.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.raw.drain(..=end).collect();
            match protocol::read(str::from_utf8(&line).expect("UTF-8")).expect("an event") {
                Event::Hello { room, epoch, id, .. } => {
                    self.at = (room, epoch);
                    assert_eq!(id, record.newest(&self.at), "something was said that nobody observed");
                }
                Event::Public(message) => record.add(&self.at, message, false),
                Event::Action(message) => record.add(&self.at, message, true),
                Event::Bye { .. } | Event::Join { .. } | Event::Leave { .. } | Event::Nick { .. } => {}
                event => panic!("the observer heard {event:?}"),
            }
        }
    }
}

/// A line that was typed and has a word of its own: `2.17` is the 17th of person 2.
struct Typed {
    word: String,
    /// Whom it was told, and how often that one's connection was in danger before; `None` while it is.
    private: Option<(usize, Option<usize>)>,
    /// The session said that it may not have arrived.
    unknown: bool,
    /// The session said that it was not done.
    refused: bool,
}

/// Where somebody is, and which message comes next. Ids that are skipped have to be accounted for.
#[derive(Default)]
struct Stay {
    at: (String, u64),
    /// `None` before the first one: it may be an older one, but not newer than this.
    next: Option<u64>,
    newest_on_entering: u64,
    /// So many ids were said to be kept no longer.
    gone: u64,
}

impl Stay {
    fn next(&self) -> u64 {
        self.next.unwrap_or(self.newest_on_entering + 1)
    }
}

/// Somebody with `roomd chat`.
struct Person {
    number: usize,
    session: Session,
    connecting: bool,
    link: Option<Link>,
    /// What it dropped, and what is still on its way there.
    dropped: Vec<Link>,
    /// How often its connection was cut, or dropped.
    dangers: usize,
    typed: Vec<Typed>,
    stay: Stay,
    /// Id of the newest message, by the last `hello`.
    hello_id: u64,
    /// So many of the next lines were asked for.
    asked_for: usize,
    /// What it was told privately, and what it told.
    privates: BTreeSet<String>,
    /// Own lines that were shown, by any ack, event or history.
    own_shown: BTreeSet<String>,
    /// The last status: how it came back.
    back: String,
    outcome: Option<Result<bool, String>>,
}

impl Person {
    fn new(number: usize, seed: u64, now: Instant) -> Person {
        let name = Some(format!("p{number}"));
        let session = Session::new(Mode::Person, "host:1".into(), name, None, seed, now);
        Person {
            number,
            session,
            connecting: false,
            link: None,
            dropped: Vec::new(),
            dangers: 0,
            typed: Vec::new(),
            stay: Stay::default(),
            hello_id: 0,
            asked_for: 0,
            privates: BTreeSet::new(),
            own_shown: BTreeSet::new(),
            back: String::new(),
            outcome: None,
        }
    }

    fn is_nameless(&self) -> bool {
        matches!(self.session.phase, Phase::Nameless)
    }

    fn drop_link(&mut self) {
        self.connecting = false;
        if let Some(mut link) = self.link.take() {
            link.up_end.get_or_insert(End::Close);
            self.dropped.push(link);
            self.dangers += 1;
        }
    }

    fn input(&mut self, now: Instant, input: Input, record: &Record, history: u64) {
        if let Input::Received(line) = &input
            && let Some(Event::Hello { id, .. }) = protocol::read(line)
        {
            self.hello_id = id;
        }
        self.session.handle(now, input);
        while let Some(output) = self.session.next_output() {
            match output {
                Output::Connect => {
                    self.drop_link();
                    self.connecting = true;
                }
                Output::Disconnect => self.drop_link(),
                Output::Send(line) => {
                    if let Some(link) = &mut self.link {
                        link.send(line.as_bytes());
                    }
                }
                Output::Show(line) => self.shown(line, record, history),
                Output::Prompt(_) => {}
                Output::Leave(outcome) => {
                    self.drop_link();
                    self.outcome = Some(outcome);
                }
            }
        }
    }

    fn shown(&mut self, line: Line, record: &Record, history: u64) {
        match line {
            Line::Said { message, action, old, .. } => self.said(&message, action, old, record, history),
            Line::Private { from, body, own, .. } => {
                let word = word_of(&body);
                let is_own = word.starts_with(&format!("{}.", self.number));
                assert_eq!(own, is_own, "{from} told {body}");
                assert!(self.privates.insert(word.to_owned()), "{word} was shown twice");
            }
            Line::Answer(text) => self.answered(&text),
            Line::Status(text) if text.starts_with("back as ") => self.came_back(text),
            Line::Status(_) | Line::Happened { .. } => {}
            Line::Trouble(text) => self.told_trouble(&text),
        }
    }

    fn said(&mut self, message: &Message, action: bool, old: bool, record: &Record, history: u64) {
        let at = (self.session.room.clone().expect("a room"), self.session.epoch);
        let said = record.0.get(&at).and_then(|said| said.get(message.id as usize - 1));
        let said = said.unwrap_or_else(|| panic!("{at:?} never heard {message:?}"));
        assert_eq!((&message.from, &message.body), (&said.message.from, &said.message.body));
        assert_eq!((&message.room, action), (&at.0, said.action));
        if self.asked_for > 0 {
            self.asked_for -= 1;
            return;
        }
        assert_eq!(at, self.stay.at, "it did not say that it was somewhere else");
        let next = match self.stay.next {
            None if old && message.id <= self.stay.newest_on_entering => message.id,
            _ => self.stay.next(),
        };
        let skipped =
            message.id.checked_sub(next).unwrap_or_else(|| panic!("{message:?} comes after {next}"));
        assert!(skipped <= self.stay.gone, "{message:?} was shown, and {next} never");
        assert!(skipped == 0 || message.id - 1 + history <= record.newest(&at), "{next} was still kept");
        self.stay.gone -= skipped;
        self.stay.next = Some(message.id + 1);
        let word = word_of(&message.body);
        if word.starts_with(&format!("{}.", self.number))
            && self.stay.next() > self.stay.newest_on_entering + 1
        {
            assert!(self.own_shown.insert(word.to_owned()), "{word} was confirmed, and said again");
        }
    }

    fn answered(&mut self, text: &str) {
        if text.starts_with("you are ") {
            assert_eq!(self.stay.gone, 0);
            let at = (self.session.room.clone().expect("a room"), self.session.epoch);
            self.stay = Stay { at, next: None, newest_on_entering: self.hello_id, gone: 0 };
        } else if let Some(count) = text.strip_prefix("the last ") {
            self.asked_for = number_in(count);
        }
    }

    fn came_back(&mut self, text: String) {
        assert_eq!(self.stay.gone, 0, "{} are missing still", self.stay.gone);
        if text.contains("began anew") {
            let at = (self.session.room.clone().expect("a room"), self.session.epoch);
            self.stay = Stay { at, ..Stay::default() };
        }
        self.stay.next = Some(self.stay.next());
        self.stay.gone = text.split_once(" (").map_or(0, |(_, gone)| number_in(gone) as u64);
        self.back = text;
    }

    fn told_trouble(&mut self, text: &str) {
        let typed = self.typed.iter_mut().find(|typed| text.split(' ').any(|word| word == typed.word));
        let Some(typed) = typed else { return };
        if text.contains("this may not have arrived") {
            let is_excused = typed.private.is_some() || self.back.contains("no longer kept");
            assert!(is_excused, "{text}: the history has it, or has it not ({})", self.back);
            typed.unknown = true;
        } else {
            assert!(text.contains("not done"), "{text}");
            typed.refused = true;
        }
    }
}

fn word_of(body: &str) -> &str {
    body.split(' ').next().unwrap_or_default()
}

fn number_in(text: &str) -> usize {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

type Loop = Reactor<SimPlatform, Server>;

/// One run.
struct Run {
    rng: Rng,
    limits: Rc<Limits>,
    began: Instant,
    now_ms: u64,
    machine: Machine,
    server: Option<Loop>,
    observers: Vec<Observer>,
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
            observers: Vec::new(),
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
        self.machine = Machine::new(self.rng.next());
        self.machine.world_mut().wait_max_ms = 0;
        self.machine.world_mut().now_ms = self.now_ms;
        let config = Config { limits: Rc::clone(&self.limits), ..Config::default() };
        let mut platform = SimPlatform(self.machine.clone());
        let server = Server::new(config, platform.now());
        self.server = Some(Reactor::new(platform, server, Rc::clone(&self.limits)));
        self.observers.clear();
        for room in ROOMS {
            let pipe = self.machine.connect(usize::MAX);
            let hello = format!("{{\"type\":\"hello\",\"name\":\"observer-{room}\",\"room\":\"{room}\"}}\n");
            self.machine.send(pipe, hello.as_bytes());
            self.observers.push(Observer { pipe, raw: Vec::new(), at: Default::default() });
        }
        self.settle();
        // The observers are from here, and exempt from all limits; people are not.
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
        let is_alone = |room: RoomView<'_>| room.name().as_str() == ROOMS[1] && room.total() == 1;
        if server.handler().chat().rooms().any(is_alone) {
            let join = |room: &str| format!("{{\"type\":\"join\",\"room\":\"{room}\"}}\n");
            let joins = ["nook", "corner", ROOMS[1]].map(join).concat();
            self.machine.send(self.observers[1].pipe, joins.as_bytes());
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
        for observer in &mut self.observers {
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
                        person.link = Some(Link::new(&self.machine, self.capacity));
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
        let filler = ["", " x", " two\twords ", " \u{1b}[1m\u{202e}evil", " ユキ"][self.rng.below(5)];
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
                let line = match other {
                    90..93 => format!("/join {}", ROOMS[self.rng.below(2)]),
                    93..96 => format!("/nick p{who}{}", ["", "x", "y"][self.rng.below(3)]),
                    96..98 => format!("/history {}", 1 + self.rng.below(20)),
                    98 => "/who".into(),
                    _ => "/ping".into(),
                };
                return self.input(who, Input::Typed(line));
            }
        };
        self.people[who].typed.push(Typed { word, private, unknown: false, refused: false });
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
            // Nobody types.
            410..414 => (0..120).for_each(|_| {
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
            (link.up_dark_until, link.down_dark_until) = (0, 0);
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
        let Person { session, stay, outcome, .. } = &self.people[who];
        assert!(matches!(session.phase, Phase::Here), "{who} is {:?}, {outcome:?}", session.phase);
        assert_eq!(session.unconfirmed().collect::<Vec<_>>(), [""; 0]);
        assert_eq!((stay.next(), stay.gone), (self.record.newest(&stay.at) + 1, 0), "{who} missed the end");
        let chat = self.server.as_ref().expect("a server").handler().chat();
        let mut rooms = chat.rooms();
        let room = rooms.find(|room| room.name().as_str() == stay.at.0).expect("a room");
        assert_eq!(room.epoch_ms(), stay.at.1);
        assert_eq!(session.names, room.users().map(|name| name.as_str().to_owned()).collect());
    }

    /// What somebody said is in the record once and in order; twice only in two epochs.
    fn check_said(&self, who: usize) {
        let prefix = format!("{who}.");
        let mut first: BTreeMap<usize, usize> = BTreeMap::new();
        for (at, said) in &self.record.0 {
            let mine = said.iter().filter_map(|said| {
                let number = word_of(&said.message.body).strip_prefix(&prefix)?.parse::<usize>().ok()?;
                Some((number, said.order))
            });
            let mine: Vec<_> = mine.collect();
            assert!(mine.is_sorted_by(|a, b| a.0 < b.0), "{who} said in {at:?}: {mine:?}");
            for (number, order) in mine {
                let place = first.entry(number).or_insert(order);
                *place = order.min(*place);
            }
        }
        assert!(first.values().is_sorted(), "{who} said in another order: {first:?}");
        for (number, typed) in self.people[who].typed.iter().enumerate() {
            let was_said = first.contains_key(&number);
            let may_be = !typed.refused && typed.private.is_none();
            assert!(!was_said || may_be, "{} was said", typed.word);
            assert!(was_said || !may_be || typed.unknown, "{} was confirmed and not said", typed.word);
        }
    }

    /// What somebody told was heard by whom it was for, and by nobody else.
    fn check_told(&self, who: usize) {
        for Typed { word, private, unknown, refused } in &self.people[who].typed {
            let mut hearers = self.people.iter().filter(|p| p.number != who && p.privates.contains(word));
            let hearer = hearers.next().map(|person| person.number);
            assert!(hearers.next().is_none(), "{word} was heard by two");
            assert_eq!(hearer, private.map(|(to, _)| to).filter(|_| hearer.is_some()), "{word} leaked");
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
        None => 0..number("ROOMD_SEEDS").unwrap_or(100),
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
