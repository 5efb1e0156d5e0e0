//! A server of the JSON dialect that does exactly what a test says, also the wrong thing.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use crate::DEADLINE;

/// A listening socket.
pub(crate) struct Fake {
    connections: Receiver<TcpStream>,
    pub(crate) address: String,
}

impl Fake {
    pub(crate) fn new() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connected, connections) = mpsc::channel();
        thread::spawn(move || {
            listener.incoming().map_while(Result::ok).all(|stream| connected.send(stream).is_ok())
        });
        Fake { connections, address }
    }

    /// Waits for the client to connect.
    pub(crate) fn accept(&self) -> Peer {
        let stream = self.connections.recv_timeout(DEADLINE).expect("nobody connects");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Peer { stream, reader }
    }

    /// Waits for the client to connect and lets it in, the room's newest id being `newest`.
    pub(crate) fn welcome(&self, newest: u64, epoch: u64) -> Peer {
        let mut peer = self.accept();
        let hello = peer.expect("hello");
        peer.hello(&hello, newest, epoch);
        peer
    }
}

/// One connection of the client.
pub(crate) struct Peer {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Peer {
    pub(crate) fn send(&mut self, event: &Value) {
        self.write(&event.to_string());
    }

    pub(crate) fn write(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next request, `None` if the client has gone.
    pub(crate) fn request(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The next request, which is of this type.
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let request = self.request().expect("the client has gone");
        assert_eq!(request["type"], kind, "{request}");
        request
    }

    pub(crate) fn hello(&mut self, hello: &Value, newest: u64, epoch: u64) {
        self.hello_in("lobby", hello, newest, epoch);
    }

    /// The same for any room; also answers a `join`. In another epoch it is another server, which does not know the
    /// session.
    pub(crate) fn hello_in(&mut self, room: &str, request: &Value, newest: u64, epoch: u64) {
        let name = request["name"].as_str().unwrap_or("alice");
        self.send(&json!({"type": "hello", "name": name, "room": room, "id": newest,
            "users": [name, "bob"], "total": 2, "epoch": epoch, "session": format!("{epoch:032x}"),
            "ref": request["ref"]}));
    }

    /// The client is in this room, too.
    pub(crate) fn room(&mut self, room: &str, newest: u64, epoch: u64) {
        self.send(&json!({"type": "room", "room": room, "name": room, "id": newest,
            "users": ["alice", "bob"], "total": 2, "epoch": epoch}));
    }

    pub(crate) fn said(&mut self, id: u64, from: &str, body: &str) {
        self.send(&message(id, from, body));
    }

    /// Confirms a message: the room hears it, its sender gets the `ack`.
    pub(crate) fn confirm(&mut self, request: &Value, id: u64, from: &str) {
        let (room, body) = (request["room"].as_str().unwrap(), request["body"].as_str().unwrap());
        self.send(&message_in(room, id, from, body));
        self.ack(request, Some(id));
    }

    /// Confirms a message that the room has heard.
    pub(crate) fn ack(&mut self, request: &Value, id: Option<u64>) {
        self.send(&json!({"type": "ack", "ref": request["ref"], "ts": 1, "id": id}));
    }

    /// Answers a request for history.
    pub(crate) fn history(&mut self, request: &Value, events: &[Value]) {
        self.page(request, events, false);
    }

    /// The same; there may be more.
    pub(crate) fn page(&mut self, request: &Value, events: &[Value], more: bool) {
        self.send(&json!({"type": "history", "room": request["room"], "events": events, "more": more,
            "ref": request["ref"]}));
    }

    /// The client says good-bye.
    pub(crate) fn farewell(mut self) {
        self.expect("quit");
        self.send(&json!({"type": "bye", "why": "quit"}));
    }
}

/// A message of the room, said in 2026.
pub(crate) fn message(id: u64, from: &str, body: &str) -> Value {
    message_in("lobby", id, from, body)
}

/// The same in any room.
pub(crate) fn message_in(room: &str, id: u64, from: &str, body: &str) -> Value {
    json!({"type": "public", "id": id, "ts": 1_767_323_045_000_u64 + id, "room": room,
        "from": from, "body": body})
}
