//! A store that answers when it is told to: late, in bursts, or with a refusal. What it has appended outlives the
//! server that asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::Waker;

use roomd::chat::{HistoryQuery, Message, Name, RoomName};
use roomd::reactor::simulated::Rng;
use roomd::store::{Answer, Ask, Load, MARKS_MAX, Mark, Marked, Restored, SessionId, Store};

/// What is on the disk.
#[derive(Debug, Default)]
pub struct Disk {
    pub rooms: BTreeMap<RoomName, Room>,
    /// With the name, and since when it is left.
    sessions: BTreeMap<SessionId, (Option<Name>, Option<u64>)>,
    marks: BTreeMap<SessionId, BTreeMap<u64, Marked>>,
}

#[derive(Debug, Default)]
pub struct Room {
    pub epoch_ms: u64,
    pub messages: Vec<Message>,
}

/// One run of the store, and the end of it that the test holds.
#[derive(Debug, Clone)]
pub struct Scripted(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    disk: Rc<RefCell<Disk>>,
    /// What rooms are called, by their numbers.
    open: BTreeMap<u32, RoomName>,
    asked: VecDeque<Ask>,
    answers: VecDeque<Answer>,
    waker: Waker,
    rng: Rng,
    refuses_percent: usize,
    /// It is no more: all is refused at once.
    is_gone: bool,
}

impl Scripted {
    pub fn new(disk: &Rc<RefCell<Disk>>, waker: Waker, seed: u64, refuses_percent: usize) -> Self {
        Self(Rc::new(RefCell::new(State {
            disk: Rc::clone(disk),
            open: BTreeMap::new(),
            asked: VecDeque::new(),
            answers: VecDeque::new(),
            waker,
            rng: Rng(seed),
            refuses_percent,
            is_gone: false,
        })))
    }

    /// It ends, and refuses whatever was asked, and will be.
    pub fn die(&self) {
        let mut state = self.0.borrow_mut();
        state.is_gone = true;
        let asked = std::mem::take(&mut state.asked);
        state.answers.extend(asked.iter().filter_map(refused));
        state.waker.wake_by_ref();
    }

    /// Answers something, or nothing, as it is drawn.
    pub fn work(&self) {
        let mut state = self.0.borrow_mut();
        let waiting = state.asked.len();
        let count = match state.rng.below(4) {
            0 => 0,
            1 => waiting.min(1),
            2 => state.rng.below(waiting + 1),
            _ => waiting,
        };
        for _ in 0..count {
            let ask = state.asked.pop_front().unwrap();
            let answer = state.carry_out(ask);
            state.answers.extend(answer);
        }
        // Also when it has not answered: it takes some turns, and not the time until the next deadline.
        if waiting > 0 || !state.answers.is_empty() {
            state.waker.wake_by_ref();
        }
    }
}

impl Disk {
    /// What is there when roomd begins.
    pub fn restored(&mut self, now_ms: u64) -> Restored {
        let rooms = self.rooms.iter().map(|(name, room)| (name.clone(), room.epoch_ms, room.newest_id()));
        let sessions = self
            .sessions
            .iter_mut()
            .map(|(&id, (name, left_ms))| (id, name.clone(), *left_ms.get_or_insert(now_ms)));
        Restored { rooms: rooms.collect(), sessions: sessions.collect() }
    }
}

impl Room {
    pub fn newest_id(&self) -> u64 {
        self.messages.last().map_or(0, |message| message.id)
    }

    fn read(&self, query: HistoryQuery) -> (Vec<Message>, bool) {
        assert_eq!(query.skip, 0);
        let before = query.before.unwrap_or(u64::MAX);
        let after = query.after.unwrap_or(0);
        let all: Vec<&Message> = self.messages.iter().filter(|m| m.id > after && m.id < before).collect();
        let count = all.len().min(query.limit);
        let wanted = if query.after.is_some() { &all[..count] } else { &all[all.len() - count..] };
        (wanted.iter().map(|&m| m.clone()).collect(), count < all.len())
    }
}

impl State {
    fn carry_out(&mut self, ask: Ask) -> Option<Answer> {
        let mut disk = self.disk.borrow_mut();
        let is_refused = self.rng.chance(self.refuses_percent);
        let refused = |ticket| Some(Answer::Refused { ticket, trouble: "the disk is full".into() });
        match ask {
            Ask::Open { ticket, .. }
            | Ask::Append { ticket, .. }
            | Ask::Read { ticket, .. }
            | Ask::Recall { ticket, .. }
                if is_refused =>
            {
                refused(ticket)
            }
            Ask::Open { ticket, room, name, newest, now_ms } => {
                assert!(self.open.insert(room, name.clone()).is_none(), "this number is free");
                let log = disk.rooms.entry(name).or_insert(Room { epoch_ms: now_ms, messages: Vec::new() });
                let messages = log.messages[log.messages.len().saturating_sub(newest)..].to_vec();
                let (epoch_ms, newest_id) = (log.epoch_ms, log.newest_id());
                Some(Answer::Opened { ticket, epoch_ms, newest_id, messages })
            }
            Ask::Close { room } => {
                let name = self.open.remove(&room).expect("a room that is open");
                disk.rooms.retain(|other, room| *other != name || !room.messages.is_empty());
                None
            }
            Ask::Append { ticket, room, mut message, mark } => {
                let log = disk.rooms.get_mut(&self.open[&room]).unwrap();
                message.id = log.newest_id() + 1;
                log.messages.push(message.clone());
                if let Some(Mark { session, number, reference }) = mark {
                    let marked = Marked { number, reference, id: message.id, at_ms: message.at_ms };
                    let marks = disk.marks.entry(session).or_default();
                    assert!(marks.insert(number, marked).is_none(), "each mark has a number of its own");
                    marks.retain(|&other, _| other + MARKS_MAX > number);
                }
                Some(Answer::Appended { ticket, message })
            }
            Ask::Read { ticket, room, query, .. } => {
                let (messages, more) = disk.rooms[&self.open[&room]].read(query);
                Some(Answer::Found { ticket, messages, more })
            }
            Ask::Recall { ticket, session } => {
                let marks = disk.marks.get(&session).into_iter().flat_map(|m| m.values().cloned()).collect();
                Some(Answer::Recalled { ticket, marks })
            }
            Ask::Keep { ticket, session, name, left_ms } => {
                disk.sessions.insert(session, (name, left_ms));
                ticket.map(|ticket| Answer::Kept { ticket })
            }
            Ask::Forget { session } => {
                disk.sessions.remove(&session);
                disk.marks.remove(&session);
                None
            }
        }
    }
}

fn refused(ask: &Ask) -> Option<Answer> {
    let ticket = match ask {
        Ask::Open { ticket, .. }
        | Ask::Append { ticket, .. }
        | Ask::Read { ticket, .. }
        | Ask::Recall { ticket, .. } => *ticket,
        Ask::Keep { ticket, .. } => (*ticket)?,
        Ask::Close { .. } | Ask::Forget { .. } => return None,
    };
    Some(Answer::Refused { ticket, trouble: "the store is gone".into() })
}

impl Store for Scripted {
    fn ask(&mut self, ask: Ask) -> Option<Answer> {
        let mut state = self.0.borrow_mut();
        if state.is_gone {
            return refused(&ask);
        }
        state.asked.push_back(ask);
        None
    }

    fn poll(&mut self) -> Option<Answer> {
        self.0.borrow_mut().answers.pop_front()
    }

    fn wake(&self) {
        self.0.borrow().waker.wake_by_ref();
    }

    fn load(&self) -> Load {
        let state = self.0.borrow();
        Load { asks: state.asked.len() + state.answers.len(), bytes: 0 }
    }
}
