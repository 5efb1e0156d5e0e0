//! A server that does what a test tells it to, where the real one would not: it refuses, or it breaks connections.
//! The page itself comes from a real daemon, through a proxy that changes `Host` as badly configured ones do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

/// What becomes of a request for `/ws`.
pub(crate) enum Upgrade {
    /// It goes to the daemon, as all other requests do.
    Forward,
    /// It is answered by this status line and this text.
    Refuse(&'static str, &'static str),
    /// It is accepted, and this answers each request that the page makes.
    Answer(Box<Answer>),
}

type Answer = dyn Fn(&Value) -> Reply + Send + Sync;

impl Upgrade {
    pub(crate) fn answer(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Upgrade {
        Upgrade::Answer(Box::new(answer))
    }
}

/// What the page is told.
pub(crate) enum Reply {
    /// These events.
    Say(Vec<Value>),
    /// Nothing; the connection is closed with this code.
    Close(u16),
    /// That somebody else has continued the session; the connection is closed.
    TakenOver,
}

/// What the page said, and when.
type Heard = Arc<Mutex<Vec<(Instant, Value)>>>;

pub(crate) struct StandIn {
    pub(crate) port: u16,
    heard: Heard,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl StandIn {
    pub(crate) fn before(daemon_port: u16, upgrade: Upgrade) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let stand_in = StandIn { port, heard: Heard::default(), open: Arc::default() };
        let (heard, open, upgrade) = (stand_in.heard.clone(), stand_in.open.clone(), Arc::new(upgrade));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                open.lock().expect("no panic").push(stream.try_clone().expect("a handle"));
                let (heard, upgrade) = (heard.clone(), upgrade.clone());
                // A browser that goes away in the middle is no failure.
                thread::spawn(move || serve(stream, port, daemon_port, &upgrade, &heard));
            }
        });
        stand_in
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The requests of this type, and when they came.
    pub(crate) fn heard(&self, kind: &str) -> Vec<(Instant, Value)> {
        let heard = self.heard.lock().expect("no panic");
        heard.iter().filter(|(_, request)| request["type"] == kind).cloned().collect()
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The answer to `hello`: so many other people are listed.
pub(crate) fn welcome(request: &Value, people: usize, fields: &Value) -> Value {
    let mut users: Vec<_> = (1..=people).map(|i| format!("member{i:04}")).collect();
    users.insert(0, request["name"].as_str().unwrap_or("?").to_owned());
    let mut hello = json!({ "type": "hello", "ref": request["ref"], "name": request["name"], "room": "lobby", "id": 0,
        "total": users.len(), "users": users, "epoch": 1, "server": "stand-in" });
    hello.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    hello
}

/// What a server answers that has nothing to say.
pub(crate) fn nothing(request: &Value) -> Value {
    match request["type"].as_str() {
        Some("history") => {
            json!({ "type": "history", "ref": request["ref"], "room": "lobby", "events": [], "more": false })
        }
        Some("rooms") => json!({ "type": "rooms", "ref": request["ref"], "rooms": [] }),
        _ => json!({ "type": "pong", "ref": request["ref"], "ts": 1 }),
    }
}

fn serve(stream: TcpStream, port: u16, daemon_port: u16, upgrade: &Upgrade, heard: &Heard) -> Option<()> {
    let mut start = [0; 7];
    while stream.peek(&mut start).ok()? < start.len() {
        thread::yield_now();
    }
    match upgrade {
        Upgrade::Answer(answer) if start == *b"GET /ws" => {
            #[expect(clippy::result_large_err, reason = "the library's type")]
            let protocol = |_: &Request, mut response: Response| {
                response
                    .headers_mut()
                    .insert("sec-websocket-protocol", "roomd.json".parse().expect("a value"));
                Ok(response)
            };
            converse(tungstenite::accept_hdr(stream, protocol).ok()?, answer, heard)
        }
        Upgrade::Refuse(status, text) if start == *b"GET /ws" => {
            let mut stream = stream;
            head(&mut stream)?;
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{text}",
                text.len()
            );
            stream.write_all(answer.as_bytes()).ok()
        }
        _ => forward(stream, port, daemon_port),
    }
}

fn converse(mut socket: WebSocket<TcpStream>, answer: &Answer, heard: &Heard) -> Option<()> {
    loop {
        let Message::Text(text) = socket.read().ok()? else { continue };
        let request: Value = serde_json::from_str(&text).ok()?;
        heard.lock().expect("no panic").push((Instant::now(), request.clone()));
        match answer(&request) {
            Reply::Say(events) => {
                for event in events {
                    socket.send(Message::text(event.to_string())).ok()?;
                }
            }
            Reply::Close(code) => close(&mut socket, code)?,
            Reply::TakenOver => {
                socket.send(Message::text(json!({ "type": "bye", "why": "taken-over" }).to_string())).ok()?;
                close(&mut socket, 4002)?;
            }
        }
    }
}

fn close(socket: &mut WebSocket<TcpStream>, code: u16) -> Option<()> {
    socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).ok()
}

/// The head of a request, byte by byte, so that nothing behind it is taken.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn forward(mut near: TcpStream, port: u16, daemon_port: u16) -> Option<()> {
    let head = head(&mut near)?
        .replace(&format!("Host: 127.0.0.1:{port}"), &format!("Host: localhost:{daemon_port}"));
    let mut far = TcpStream::connect(("127.0.0.1", daemon_port)).ok()?;
    far.write_all(head.as_bytes()).ok()?;
    let (mut near2, mut far2) = (near.try_clone().ok()?, far.try_clone().ok()?);
    thread::spawn(move || std::io::copy(&mut near2, &mut far2));
    let copied = std::io::copy(&mut far, &mut near).ok();
    let _ = near.shutdown(Shutdown::Both);
    copied.map(drop)
}
