//! The machines the contract is tried on, and how a case holds on to them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomd::limits::Limits;
use roomd::reactor::epoll::{self, Epoll, ListenAddr};
use roomd::reactor::{ConnectionId, Event, Platform};

use roomd::reactor::simulated::{self, Machine};

/// How long an event may take on a machine that is busy with something else.
const DEADLINE: Duration = Duration::from_secs(20);
/// The send buffer of the server's sockets: small, so that one is soon full.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// A platform with one listener, and the clients that call there.
pub(crate) trait Rig: Sized {
    type Platform: Platform;
    type Client;

    fn open() -> Self;

    fn platform(&mut self) -> &mut Self::Platform;

    /// A client calls; it need not be accepted to do what follows.
    fn connect(&mut self) -> Self::Client;

    fn send(&mut self, client: &mut Self::Client, bytes: &[u8]);

    /// The client reads once, at most `max` bytes; none is the end. It waits if `waits`.
    fn receive(&mut self, client: &mut Self::Client, max: usize, waits: bool) -> io::Result<Vec<u8>>;

    /// The client closes its side and goes on reading.
    fn end(&mut self, client: &mut Self::Client);

    /// The client closes its socket.
    fn close(&mut self, client: Self::Client);

    /// The client breaks off the connection.
    fn reset(&mut self, client: Self::Client);

    /// The server calls a client, who answers.
    fn call(&mut self) -> (SocketOf<Self>, Self::Client);

    /// The server calls where nobody is.
    fn call_nobody(&mut self) -> io::Result<SocketOf<Self>>;

    /// The server calls somebody who does not answer.
    fn call_the_silent(&mut self) -> SocketOf<Self>;
}

/// What was reported of a connection, whether at once or in several events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) read_closed: bool,
    pub(crate) broken: bool,
}

pub(crate) const NOTHING: Seen = Seen { readable: false, writable: false, read_closed: false, broken: false };
pub(crate) const READABLE: Seen = Seen { readable: true, ..NOTHING };
pub(crate) const WRITABLE: Seen = Seen { writable: true, ..NOTHING };
pub(crate) const ENDED: Seen = Seen { readable: true, read_closed: true, ..NOTHING };
pub(crate) const BROKEN: Seen = Seen { readable: true, writable: true, read_closed: true, broken: true };

impl std::ops::BitOr for Seen {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            readable: self.readable | other.readable,
            writable: self.writable | other.writable,
            read_closed: self.read_closed | other.read_closed,
            broken: self.broken | other.broken,
        }
    }
}

pub(crate) type SocketOf<R> = <<R as Rig>::Platform as Platform>::Socket;

/// The server's end of a connection.
pub(crate) struct Server<R: Rig> {
    pub(crate) socket: SocketOf<R>,
    pub(crate) id: ConnectionId,
}

/// A rig, and what it has reported so far.
pub(crate) struct Stage<R: Rig> {
    pub(crate) rig: R,
    seen: BTreeMap<ConnectionId, Seen>,
    listener_has_news: bool,
    is_notified: bool,
    /// A connection of the stage's own. Whatever happened before a byte is sent on it has been reported when
    /// that byte is: this is how a case knows that nothing comes, without waiting for it not to.
    witness: Option<(R::Client, Server<R>)>,
    ids: u32,
}

impl<R: Rig> Stage<R> {
    pub(crate) fn new() -> Self {
        let mut stage = Self {
            rig: R::open(),
            seen: BTreeMap::new(),
            listener_has_news: false,
            is_notified: false,
            witness: None,
            ids: 0,
        };
        stage.witness = Some(stage.connect());
        stage
    }

    /// A connection that was accepted and registered, with nothing left to be reported.
    pub(crate) fn connect(&mut self) -> (R::Client, Server<R>) {
        let client = self.rig.connect();
        let socket = self.accept();
        let mut server = self.take_in(socket);
        self.register(&mut server);
        (client, server)
    }

    /// The next connection, which has been made and is not registered yet.
    pub(crate) fn accept(&mut self) -> SocketOf<R> {
        loop {
            match self.rig.platform().accept(0) {
                Ok((socket, _)) => return socket,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            self.wait_for_listener();
        }
    }

    pub(crate) fn take_in(&mut self, socket: SocketOf<R>) -> Server<R> {
        self.ids += 1;
        Server { socket, id: ConnectionId { index: self.ids, generation: 1 } }
    }

    pub(crate) fn register(&mut self, server: &mut Server<R>) {
        self.rig.platform().register(&mut server.socket, server.id).unwrap();
    }

    pub(crate) fn watch_writable(&mut self, server: &mut Server<R>, writable: bool) {
        self.rig.platform().reregister(&mut server.socket, server.id, writable).unwrap();
    }

    pub(crate) fn deregister(&mut self, server: &mut Server<R>) {
        self.rig.platform().deregister(&mut server.socket);
    }

    /// One wait. No batch may hold two events of one source.
    fn wait(&mut self) {
        let mut events = Vec::new();
        self.rig.platform().wait(Some(DEADLINE), &mut events).unwrap();
        let mut batch: Vec<_> = Vec::new();
        for event in events {
            match event {
                Event::Connection { id, readable, writable, read_closed, broken } => {
                    let seen = Seen { readable, writable, read_closed, broken };
                    assert_ne!(seen, NOTHING, "an event that says nothing");
                    assert!(!batch.contains(&id), "told twice in one batch");
                    batch.push(id);
                    let before = self.seen.entry(id).or_default();
                    *before = *before | seen;
                }
                Event::Listener(listener) => {
                    assert_eq!(listener, 0);
                    self.listener_has_news = true;
                }
                Event::Notified => {
                    assert!(!std::mem::replace(&mut self.is_notified, true), "told twice in one batch");
                }
                Event::Stop => panic!("nobody asks for that"),
            }
        }
    }

    fn wait_until<T>(&mut self, what: &str, mut happened: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = self.rig.platform().now().monotonic;
        loop {
            if let Some(found) = happened(self) {
                return found;
            }
            assert!(start.after(DEADLINE) > self.rig.platform().now().monotonic, "{what} is never reported");
            self.wait();
        }
    }

    /// Tries again and again, without fetching an event.
    pub(crate) fn without_waiting<T>(&mut self, mut happened: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = self.rig.platform().now().monotonic;
        loop {
            if let Some(found) = happened(self) {
                return found;
            }
            assert!(start.after(DEADLINE) > self.rig.platform().now().monotonic, "it never happens");
        }
    }

    /// Waits until all of `wanted` was reported of a connection, and takes everything that was.
    pub(crate) fn wait_for(&mut self, server: &Server<R>, wanted: Seen) -> Seen {
        let id = server.id;
        self.wait_until(&format!("{wanted:?}"), |stage| {
            let &seen = stage.seen.get(&id)?;
            (seen | wanted == seen).then(|| stage.seen.remove(&id).expect("it was there"))
        })
    }

    /// Waits until somebody is said to wait at the listener.
    pub(crate) fn wait_for_listener(&mut self) {
        self.wait_until("a connection", |stage| std::mem::take(&mut stage.listener_has_news).then_some(()));
    }

    /// What was reported of a connection since it was last asked, now that all that has happened was.
    pub(crate) fn news(&mut self, server: &Server<R>) -> Seen {
        self.settle();
        self.seen.remove(&server.id).unwrap_or_default()
    }

    /// Waits until it is said that a thread has called.
    pub(crate) fn wait_for_notice(&mut self) {
        self.wait_until("a call", |stage| std::mem::take(&mut stage.is_notified).then_some(()));
    }

    /// Whether that was said since it was last asked.
    pub(crate) fn was_notified(&mut self) -> bool {
        self.settle();
        std::mem::take(&mut self.is_notified)
    }

    /// The same of the listener.
    pub(crate) fn listener_news(&mut self) -> bool {
        self.settle();
        std::mem::take(&mut self.listener_has_news)
    }

    fn settle(&mut self) {
        let (mut client, mut server) = self.witness.take().expect("it is put back below");
        self.rig.send(&mut client, b"!");
        self.wait_for(&server, READABLE);
        assert_eq!(server.socket.read(&mut [0; 2]).unwrap(), 1);
        self.witness = Some((client, server));
    }

    /// The client reads exactly so many bytes.
    pub(crate) fn receive(&mut self, client: &mut R::Client, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let more = self.rig.receive(client, count - bytes.len(), true).unwrap();
            assert!(!more.is_empty(), "the end comes after {} of {count} bytes", bytes.len());
            bytes.extend(more);
        }
        bytes
    }

    /// The client reads the end, and nothing before it.
    pub(crate) fn receive_end(&mut self, client: &mut R::Client) {
        assert_eq!(self.rig.receive(client, 100, true).unwrap(), b"");
    }

    /// Writes until the socket is full; how many bytes it took.
    pub(crate) fn fill(&mut self, server: &mut Server<R>) -> usize {
        let mut count = 0;
        loop {
            match server.socket.write(&[b'x'; 1000]) {
                Ok(written) => count += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return count,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Writes and lets time pass until a write fails for good; the error.
    pub(crate) fn write_until_error(&mut self, server: &mut Server<R>) -> io::ErrorKind {
        self.wait_until("the failure of a write", |stage| {
            stage.settle();
            server.socket.write(b"anybody there?").err().map(|error| error.kind())
        })
    }
}

/// Reads once.
pub(crate) fn read<R: Rig>(server: &mut Server<R>, max: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; max];
    let count = server.socket.read(&mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Reads once, and finds nothing.
pub(crate) fn is_drained<R: Rig>(server: &mut Server<R>) -> bool {
    read(server, 1).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// What a read or a write failed with.
pub(crate) fn error_of<T: std::fmt::Debug>(outcome: io::Result<T>) -> io::ErrorKind {
    outcome.unwrap_err().kind()
}

// ---- epoll

/// What real clients have in common.
pub(crate) trait Stream: Read + Write {
    fn wait_for_bytes(&self, waits: bool);
    fn end(&self);
}

impl Stream for TcpStream {
    fn wait_for_bytes(&self, waits: bool) {
        self.set_nonblocking(!waits).unwrap();
        self.set_read_timeout(Some(DEADLINE)).unwrap();
    }

    fn end(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl Stream for UnixStream {
    fn wait_for_bytes(&self, waits: bool) {
        self.set_nonblocking(!waits).unwrap();
        self.set_read_timeout(Some(DEADLINE)).unwrap();
    }

    fn end(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

fn receive(client: &mut impl Stream, max: usize, waits: bool) -> io::Result<Vec<u8>> {
    client.wait_for_bytes(waits);
    let mut buffer = vec![0; max];
    let outcome = client.read(&mut buffer);
    client.wait_for_bytes(true);
    buffer.truncate(outcome?);
    Ok(buffer)
}

fn listen(addr: &ListenAddr) -> (Epoll, ListenAddr) {
    let mut os = Epoll::new().unwrap();
    let limits = Limits { send_buffer_bytes: Some(SEND_BUFFER_BYTES), ..Limits::default() };
    let bound = os.listen(addr, &limits).unwrap();
    (os, bound)
}

/// epoll and TCP.
pub(crate) struct Tcp {
    os: Epoll,
    addr: SocketAddr,
    /// What makes somebody silent.
    busy: Vec<(socket2::Socket, TcpStream)>,
}

fn call(os: &mut Epoll, addr: SocketAddr) -> io::Result<epoll::Stream> {
    let limits = Limits { send_buffer_bytes: Some(SEND_BUFFER_BYTES), ..Limits::default() };
    os.connect(addr, &limits)
}

fn anywhere() -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, 0).into()
}

impl Rig for Tcp {
    type Platform = Epoll;
    type Client = TcpStream;

    fn open() -> Self {
        match listen(&ListenAddr::Tcp(anywhere())) {
            (os, ListenAddr::Tcp(addr)) => Self { os, addr, busy: Vec::new() },
            (_, ListenAddr::Unix(path)) => unreachable!("{path:?}"),
        }
    }

    fn platform(&mut self) -> &mut Epoll {
        &mut self.os
    }

    fn connect(&mut self) -> TcpStream {
        let client = TcpStream::connect(self.addr).unwrap();
        // What is sent is there when the next thing happens.
        client.set_nodelay(true).unwrap();
        client
    }

    fn send(&mut self, client: &mut TcpStream, bytes: &[u8]) {
        client.write_all(bytes).unwrap();
    }

    fn receive(&mut self, client: &mut TcpStream, max: usize, waits: bool) -> io::Result<Vec<u8>> {
        receive(client, max, waits)
    }

    fn end(&mut self, client: &mut TcpStream) {
        Stream::end(client);
    }

    fn close(&mut self, client: TcpStream) {
        drop(client);
    }

    fn reset(&mut self, client: TcpStream) {
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn call(&mut self) -> (epoll::Stream, TcpStream) {
        let listener = TcpListener::bind(anywhere()).unwrap();
        let socket = call(&mut self.os, listener.local_addr().unwrap()).unwrap();
        let (client, _) = listener.accept().unwrap();
        client.set_nodelay(true).unwrap();
        (socket, client)
    }

    fn call_nobody(&mut self) -> io::Result<epoll::Stream> {
        // Bound, so that nobody else listens there meanwhile.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&anywhere().into()).unwrap();
        call(&mut self.os, socket.local_addr().unwrap().as_socket().unwrap())
    }

    fn call_the_silent(&mut self) -> epoll::Stream {
        // Its backlog has place for one.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&anywhere().into()).unwrap();
        socket.listen(0).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        self.busy.push((socket, TcpStream::connect(addr).unwrap()));
        call(&mut self.os, addr).unwrap()
    }
}

/// epoll and a Unix socket.
pub(crate) struct Unix {
    os: Epoll,
    path: PathBuf,
}

impl Rig for Unix {
    type Platform = Epoll;
    type Client = UnixStream;

    fn open() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("readiness-{}-{count}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let (os, _) = listen(&ListenAddr::Unix(path.clone()));
        Self { os, path }
    }

    fn platform(&mut self) -> &mut Epoll {
        &mut self.os
    }

    fn connect(&mut self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    fn send(&mut self, client: &mut UnixStream, bytes: &[u8]) {
        client.write_all(bytes).unwrap();
    }

    fn receive(&mut self, client: &mut UnixStream, max: usize, waits: bool) -> io::Result<Vec<u8>> {
        receive(client, max, waits)
    }

    fn end(&mut self, client: &mut UnixStream) {
        Stream::end(client);
    }

    fn close(&mut self, client: UnixStream) {
        drop(client);
    }

    fn reset(&mut self, _client: UnixStream) {
        unreachable!("a Unix socket has no reset");
    }

    fn call(&mut self) -> (epoll::Stream, UnixStream) {
        unreachable!("outgoing connections are TCP");
    }

    fn call_nobody(&mut self) -> io::Result<epoll::Stream> {
        unreachable!("outgoing connections are TCP");
    }

    fn call_the_silent(&mut self) -> epoll::Stream {
        unreachable!("outgoing connections are TCP");
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        self.os.close_listeners();
    }
}

// ---- the simulation

/// The scripted machine, without faults.
pub(crate) struct Sim {
    pub(crate) machine: Machine,
}

impl Rig for Sim {
    type Platform = Machine;
    type Client = usize;

    fn open() -> Self {
        Self { machine: Machine::new(1) }
    }

    fn platform(&mut self) -> &mut Machine {
        &mut self.machine
    }

    fn connect(&mut self) -> usize {
        self.machine.connect(SEND_BUFFER_BYTES)
    }

    fn send(&mut self, client: &mut usize, bytes: &[u8]) {
        self.machine.send(*client, bytes);
    }

    fn receive(&mut self, client: &mut usize, max: usize, waits: bool) -> io::Result<Vec<u8>> {
        let bytes = self.machine.receive(*client, max);
        if bytes.is_empty() && !self.machine.is_at_end(*client) {
            assert!(!waits, "it would wait for ever");
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(bytes)
    }

    fn end(&mut self, client: &mut usize) {
        self.machine.end(*client);
    }

    fn close(&mut self, client: usize) {
        self.machine.close(client);
    }

    fn reset(&mut self, client: usize) {
        self.machine.reset(client);
    }

    fn call(&mut self) -> (simulated::Stream, usize) {
        let socket = self.call_the_silent();
        let (_, client) = self.machine.world_mut().calls.pop_front().expect("it has called");
        self.machine.answer(client, SEND_BUFFER_BYTES);
        (socket, client)
    }

    fn call_nobody(&mut self) -> io::Result<simulated::Stream> {
        let socket = self.call_the_silent();
        let (_, client) = self.machine.world_mut().calls.pop_front().expect("it has called");
        self.machine.refuse(client);
        Ok(socket)
    }

    fn call_the_silent(&mut self) -> simulated::Stream {
        Platform::connect(&mut self.machine, ([10, 0, 0, 1], 7).into(), &Limits::default()).unwrap()
    }
}
