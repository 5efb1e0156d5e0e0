//! Files, daemons, and what is in a room.

use std::fs;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PATIENCE, output_of};

/// A directory that nobody else uses, deleted at the end.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("roomd-torture-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The path of something in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// The file of the rooms.
    pub(crate) fn data(&self) -> String {
        self.path("rooms")
    }

    /// A daemon that keeps its rooms there.
    pub(crate) fn daemon(&self, flags: &[&str]) -> Daemon {
        Daemon::with(&[&["--data", &self.data()], flags].concat())
    }

    /// `roomd check` finds nothing.
    #[track_caller]
    pub(crate) fn is_sound(&self) {
        let (status, said) = output_of(&["check", "--data", &self.data()]);
        assert!(status == Some(0) && said.trim_end().ends_with(": sound"), "{status:?} {said}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Numbers by chance (SplitMix64), the same for the same seed.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Somebody who only looks. What is said meanwhile is passed over.
pub(crate) struct Reader(pub(crate) Client);

impl Reader {
    /// Enters a room; returns its epoch and the id of its newest message, too.
    pub(crate) fn enter(daemon: &Daemon, name: &str, room: &str) -> (Self, u64, u64) {
        let mut client = daemon.connect();
        client.say(&json!({"type": "hello", "name": name, "room": room}).to_string());
        let hello = client.json();
        assert_eq!(hello["type"], "hello", "{hello}");
        (Self(client), hello["epoch"].as_u64().unwrap(), hello["id"].as_u64().unwrap())
    }

    /// The answer to a request.
    pub(crate) fn ask(&mut self, mut request: Value) -> Value {
        request["ref"] = "reader".into();
        self.0.say(&request.to_string());
        loop {
            let answer = self.0.json();
            if answer["ref"] == "reader" {
                return answer;
            }
        }
    }

    /// A page of a room's history, and whether there is more.
    pub(crate) fn page(&mut self, fields: Value) -> (Vec<Value>, bool) {
        let mut request = json!({"type": "history"});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let mut page = self.ask(request);
        assert_eq!(page["type"], "history", "{page}");
        let more = page["more"].as_bool().unwrap();
        let Value::Array(events) = page["events"].take() else { panic!("no events: {page}") };
        (events, more)
    }

    /// All that is in a room, page by page.
    pub(crate) fn all(&mut self, room: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |event| event["id"].as_u64().unwrap());
            let (events, more) = self.page(json!({"room": room, "after": after, "limit": 1000}));
            assert!(!more || !events.is_empty(), "there is more behind {after}, but nothing comes");
            all.extend(events);
            if !more {
                return all;
            }
        }
    }
}

/// Somebody who speaks JSON in a session, and asks for one thing after the other.
pub(crate) struct Talker {
    pub(crate) client: Client,
    pub(crate) session: String,
    pub(crate) epoch: u64,
    /// All events of rooms that it has heard.
    pub(crate) heard: Vec<Value>,
}

impl Talker {
    pub(crate) fn enter(daemon: &Daemon, name: &str, room: &str) -> Self {
        Self::come_back(daemon, name, room, "")
    }

    pub(crate) fn come_back(daemon: &Daemon, name: &str, room: &str, session: &str) -> Self {
        let mut client = daemon.connect();
        client.say(&json!({"type": "hello", "name": name, "room": room, "session": session}).to_string());
        let hello = client.json();
        assert_eq!((&hello["type"], &hello["name"]), (&"hello".into(), &name.into()), "{hello}");
        let session = hello["session"].as_str().unwrap().to_owned();
        assert_eq!(hello["room"], room);
        Self { client, session, epoch: hello["epoch"].as_u64().unwrap(), heard: Vec::new() }
    }

    /// Says something in its room.
    pub(crate) fn say(&mut self, body: &str, reference: &str) {
        self.send(json!({"type": "public", "body": body, "ref": reference}));
    }

    pub(crate) fn send(&mut self, request: Value) {
        self.client.say(&request.to_string());
    }

    /// The next answer, with this `ref`.
    #[track_caller]
    pub(crate) fn answer(&mut self, reference: &str) -> Value {
        loop {
            let document = self.client.json();
            if document["ref"] == reference {
                return document;
            }
            assert_eq!(document["ref"], Value::Null, "not {reference}");
            self.heard.push(document);
        }
    }

    /// The ids and bodies of the messages that it has heard.
    pub(crate) fn messages(&self) -> Vec<(u64, String)> {
        let messages = self.heard.iter().filter(|event| event["id"].is_u64() && event["body"].is_string());
        messages.map(message).collect()
    }
}

/// The id and the body of a message.
pub(crate) fn message(event: &Value) -> (u64, String) {
    (event["id"].as_u64().unwrap(), event["body"].as_str().unwrap().to_owned())
}

/// What `/healthz` says: its status, and the sentence.
pub(crate) fn health(daemon: &Daemon) -> (String, String) {
    let (head, body) = daemon.get("/healthz");
    (head.split(' ').nth(1).unwrap().to_owned(), body.trim_end().to_owned())
}

/// Asks `/healthz` until all is well.
pub(crate) fn becomes_healthy(daemon: &Daemon) {
    let deadline = Instant::now() + PATIENCE;
    while health(daemon) != ("200".into(), "ok".into()) {
        assert!(Instant::now() < deadline, "it stays so: {:?}", health(daemon));
    }
}

/// Standard streams as those of [`crate::common::roomd`].
pub(crate) fn pipe(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())
}
