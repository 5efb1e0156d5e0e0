//! The floor: what fan-out over TCP costs when there is no chat in it.
//!
//! One thread, one epoll loop. A client's first line says what it is: `s` a subscriber, `p` a
//! publisher; it is answered `ok`. From then on whatever publishers send, cut at line ends so that
//! several do not mix inside a line, is written to every subscriber: one `send` per subscriber and
//! batch of readiness events. No names, no rooms, no limits. A chat server cannot do less work
//! than this, so `roomd bench --suite` gives its figures as multiples of it.
//!
//! ```text
//! cargo run --release --example floor -- --listen 127.0.0.1:0
//! roomd bench --dialect floor 127.0.0.1:PORT
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 64 * 1024;
const EVENTS_PER_TURN: usize = 1024;

/// What a client's first line made it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Unknown,
    Publisher,
    Subscriber,
}

struct Client {
    stream: TcpStream,
    role: Role,
    /// A publisher's unfinished line, or what a subscriber's socket would not take yet.
    rest: Vec<u8>,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Slab<Client>,
    scratch: Box<[u8]>,
    /// What the publishers said in this batch of events.
    batch: Vec<u8>,
}

fn main() -> io::Result<()> {
    let mut floor = Floor::listen(listen_address())?;
    eprintln!("floor: listening on {}", floor.listener.local_addr()?);
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    loop {
        if let Err(error) = floor.poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(key) => {
                    if event.is_writable() {
                        floor.flush(key);
                    }
                    if event.is_readable() {
                        floor.read(key, event.is_read_closed());
                    }
                }
            }
        }
        floor.broadcast();
    }
}

/// The address after `--listen`; other arguments are `cargo bench`'s own.
fn listen_address() -> SocketAddr {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--listen");
    let address = arguments.nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    address.parse().expect("--listen takes an address and a port, such as 127.0.0.1:0")
}

impl Floor {
    fn listen(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            clients: Slab::new(),
            scratch: vec![0; SCRATCH_BYTES].into(),
            batch: Vec::new(),
        })
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let entry = self.clients.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(entry.key()), both)?;
            entry.insert(Client { stream, role: Role::Unknown, rest: Vec::new() });
        }
    }

    /// Reads all there is. A read that does not fill the scratch buffer took everything, unless the
    /// peer closed as well.
    fn read(&mut self, key: usize, is_read_closed: bool) {
        while let Some(client) = self.clients.get_mut(key) {
            match client.stream.read(&mut self.scratch) {
                Ok(0) => drop(self.clients.remove(key)),
                Ok(length) => {
                    client.take(&self.scratch[..length], &mut self.batch);
                    if length < self.scratch.len() && !is_read_closed {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => drop(self.clients.remove(key)),
            }
        }
    }

    /// Writes what the publishers said to every subscriber.
    fn broadcast(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        self.clients.retain(|_, client| client.role != Role::Subscriber || client.send(&batch).is_ok());
        self.batch = batch;
        self.batch.clear();
    }

    fn flush(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if client.role == Role::Subscriber && !client.rest.is_empty() {
            let rest = std::mem::take(&mut client.rest);
            if client.send(&rest).is_err() {
                self.clients.remove(key);
            }
        }
    }
}

impl Client {
    /// Takes what was read: a publisher's complete lines go to `batch`.
    fn take(&mut self, mut bytes: &[u8], batch: &mut Vec<u8>) {
        if self.role == Role::Unknown {
            self.role = match bytes[0] {
                b'p' => Role::Publisher,
                _ => Role::Subscriber,
            };
            let line_end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            bytes = &bytes[line_end..];
            // A fresh socket has room for three bytes; if it is gone the next read tells.
            drop(self.stream.write(b"ok\n"));
        }
        if self.role == Role::Publisher
            && let Some(last) = memchr::memrchr(b'\n', bytes)
        {
            batch.append(&mut self.rest);
            batch.extend_from_slice(&bytes[..=last]);
            bytes = &bytes[last + 1..];
        }
        if self.role == Role::Publisher {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Sends `bytes` behind what waits already; what the socket does not take waits.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut taken = 0;
        if self.rest.is_empty() {
            match self.stream.write(bytes) {
                Ok(length) => taken = length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.rest.extend_from_slice(&bytes[taken..]);
        Ok(())
    }
}
