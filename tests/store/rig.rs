//! A store, and how a test waits for it.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roomd::chat::{Body, HistoryQuery, Message, Name, RoomName};
use roomd::store::file::{File, Options};
use roomd::store::{Answer, Ask, Mark, Marked, Restored, SessionId, Store, Ticket};

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Rooms that are restored.
pub(crate) const ROOMS_MAX: usize = 100;

/// Where a store keeps rooms: it can be opened, again and again.
pub(crate) trait Place {
    /// Opens it, to wake `waker`.
    fn open(&mut self, waker: Waker, now_ms: u64) -> (Box<dyn Store>, Restored);
}

/// A file in a folder of its own, which goes with it.
pub(crate) struct InFile {
    pub(crate) folder: PathBuf,
    /// Changes how it is opened.
    pub(crate) options: fn(&mut Options),
}

impl InFile {
    pub(crate) fn new() -> Self {
        Self { folder: folder(), options: |_| {} }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("rooms")
    }
}

/// A new folder of one's own.
pub(crate) fn folder() -> PathBuf {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("roomd-store-{}-{number}", process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

impl Drop for InFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Place for InFile {
    fn open(&mut self, waker: Waker, now_ms: u64) -> (Box<dyn Store>, Restored) {
        let mut options = Options::new(ROOMS_MAX, now_ms, waker);
        (self.options)(&mut options);
        let (file, restored) = File::open(&self.path(), options).unwrap();
        (Box::new(file), restored)
    }
}

/// What a waker rings.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Bell {
    /// Waits until it has rung since the last time.
    pub(crate) fn wait(&self) {
        let rung = self.rung.lock().unwrap();
        let (mut rung, waited) = self.changed.wait_timeout_while(rung, DEADLINE, |rung| !*rung).unwrap();
        assert!(!waited.timed_out(), "the store does not answer");
        *rung = false;
    }
}

/// An open store.
pub(crate) struct Rig {
    pub(crate) store: Box<dyn Store>,
    pub(crate) restored: Restored,
    pub(crate) bell: Arc<Bell>,
    /// Answers that came while another one was waited for.
    early: VecDeque<Answer>,
    tickets: u32,
}

impl Rig {
    pub(crate) fn open(place: &mut dyn Place) -> Self {
        Self::open_at(place, now_ms())
    }

    pub(crate) fn open_at(place: &mut dyn Place, now_ms: u64) -> Self {
        let bell = Arc::new(Bell::default());
        let (store, restored) = place.open(Arc::clone(&bell).into(), now_ms);
        Self { store, restored, bell, early: VecDeque::new(), tickets: 0 }
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket::Room(self.tickets)
    }

    /// Asks; what is answered at once comes first.
    pub(crate) fn ask(&mut self, ask: Ask) {
        let answer = self.store.ask(ask);
        self.store.submit();
        self.early.extend(answer);
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Answer {
        loop {
            let answer = self.early.pop_front().or_else(|| self.store.poll());
            if let Some(answer) = answer {
                return answer;
            }
            self.bell.wait();
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn call(&mut self, ask: Ask) -> Answer {
        self.ask(ask);
        self.answer()
    }

    /// Waits until all that was asked is done.
    pub(crate) fn settle(&mut self) {
        while self.store.load().asks > 0 {
            match self.store.poll() {
                Some(answer) => self.early.push_back(answer),
                None if self.store.load().asks > 0 => self.bell.wait(),
                None => {}
            }
        }
    }

    /// Opens a room; returns its epoch, its newest id and its newest messages.
    pub(crate) fn open_room(&mut self, room: u32, name: &str, newest: usize) -> (u64, u64, Vec<Message>) {
        let ask = self.ask_open(room, name, newest);
        match self.call(ask) {
            Answer::Opened { epoch_ms, newest_id, messages, .. } => (epoch_ms, newest_id, messages),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ask_open(&mut self, room: u32, name: &str, newest: usize) -> Ask {
        let (ticket, name) = (self.ticket(), RoomName::parse(name).unwrap());
        Ask::Open { ticket, room, name, newest, now_ms: now_ms() }
    }

    pub(crate) fn ask_append(&mut self, room: u32, text: &str) -> Ask {
        Ask::Append { ticket: self.ticket(), room, message: message(text), mark: None }
    }

    /// Says something; returns its id.
    pub(crate) fn say(&mut self, room: u32, text: &str) -> u64 {
        let ask = self.ask_append(room, text);
        appended(self.call(ask))
    }

    /// Says something with a mark; returns its id.
    pub(crate) fn say_marked(&mut self, room: u32, text: &str, session: SessionId, number: u64) -> u64 {
        let reference = format!("r{number}").into();
        let mark = Some(Mark { session, number, reference });
        let ticket = self.ticket();
        appended(self.call(Ask::Append { ticket, room, message: message(text), mark }))
    }

    pub(crate) fn read(&mut self, room: u32, query: HistoryQuery, bytes_max: usize) -> (Vec<Message>, bool) {
        let ticket = self.ticket();
        match self.call(Ask::Read { ticket, room, query, since_ms: 0, bytes_max }) {
            Answer::Found { messages, more, ticket: about } => {
                assert_eq!(about, ticket);
                (messages, more)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The ids of all messages that can be read.
    pub(crate) fn ids(&mut self, room: u32) -> Vec<u64> {
        let all = HistoryQuery { limit: usize::MAX, ..HistoryQuery::default() };
        self.read(room, all, usize::MAX).0.iter().map(|message| message.id).collect()
    }

    pub(crate) fn recall(&mut self, session: SessionId) -> Vec<Marked> {
        let ticket = self.ticket();
        match self.call(Ask::Recall { ticket, session }) {
            Answer::Recalled { marks, .. } => marks,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn keep(&mut self, session: SessionId, name: &str, left_ms: Option<u64>) {
        self.ask(Ask::keep(session, Name::parse(name).unwrap(), left_ms));
    }

    /// What it says of its trouble.
    pub(crate) fn trouble(&self) -> Option<Box<str>> {
        self.store.status().unwrap().trouble
    }
}

pub(crate) fn appended(answer: Answer) -> u64 {
    match answer {
        Answer::Appended { message, .. } => message.id,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn refused(answer: Answer) -> Box<str> {
    match answer {
        Answer::Refused { trouble, .. } => trouble,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn message(text: &str) -> Message {
    Message {
        id: 0,
        at_ms: now_ms(),
        from: Name::parse("bob").unwrap(),
        is_action: false,
        body: Body::new(text).unwrap(),
    }
}

pub(crate) fn session(number: u8) -> SessionId {
    SessionId([number; 16])
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Waits for what another thread brings about, in steps that cost nothing.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "it never happens: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// What a `kill -9` leaves behind: a copy of the files as they are. Another process takes it, because whoever closes a
/// file loses SQLite's locks on it.
pub(crate) fn copy_as_killed(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        let copied = process::Command::new("cp").args([name(from), name(to)]).status().unwrap();
        assert!(copied.success() || suffix == "-wal");
    }
}
