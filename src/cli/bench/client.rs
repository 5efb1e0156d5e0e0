//! One connection of the generator: its socket, its entry into its rooms, and its unfinished bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::dialect::Entry;

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Not begun, or closed by either side.
    #[default]
    Closed,
    /// Waiting for TCP.
    Connecting,
    /// Waiting for the answer to the WebSocket upgrade.
    Upgrading,
    /// Saying who it is.
    Entering,
    /// In all rooms it is to be in by now.
    Joined,
}

/// What became of a read.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// So many bytes are there, those left over from before included; `true`: try again after them.
    Bytes(usize, bool),
    /// Nothing more for now.
    Drained,
    /// The connection is over.
    Ended(String),
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Client {
    stream: Option<TcpStream>,
    pub(super) state: State,
    pub(super) entry: Entry,
    /// It stops reading when the load begins.
    pub(super) is_slow: bool,
    /// The peer has closed: read until the end, a short read does not mean drained.
    pub(super) is_read_closed: bool,
    /// What the server said last when it refused something.
    pub(super) farewell: Option<Box<str>>,
    /// The start of a line or frame that is not complete yet.
    rest: Vec<u8>,
    /// To be sent; empty when all is sent.
    pub(super) out: Vec<u8>,
    out_done: usize,
    /// The length of its last message on the wire, in bytes; all of them are as long.
    pub(super) message_bytes: usize,
}

impl Client {
    /// A connection that is not begun yet.
    pub(super) fn new(entry: Entry, is_slow: bool) -> Self {
        Self { entry, is_slow, ..Self::default() }
    }

    /// Begins to connect, from the address `source` if one is given.
    ///
    /// # Errors
    /// What the system says; `AddrNotAvailable` if the source address has no port left.
    pub(super) fn connect(
        &mut self,
        target: SocketAddr,
        source: Option<IpAddr>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        self.state = State::Connecting;
        Ok(())
    }

    /// Whether TCP is connected, asked at the first writable event.
    ///
    /// # Errors
    /// Why it will not be.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let Some(stream) = &self.stream else {
            return Ok(false);
        };
        match stream.take_error()?.map_or_else(|| stream.peer_addr(), Err) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads once into `buffer`, behind what was left over last time.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        let Some(stream) = &mut self.stream else {
            return ReadOutcome::Drained;
        };
        let old = self.rest.len();
        if old >= buffer.len() {
            return ReadOutcome::Ended("sent a line longer than the generator's buffer".into());
        }
        buffer[..old].copy_from_slice(&self.rest);
        let room = buffer.len() - old;
        match stream.read(&mut buffer[old..]) {
            Ok(0) => ReadOutcome::Ended("closed the connection".into()),
            // A short read took all there was; the next byte is a new event.
            Ok(length) => ReadOutcome::Bytes(old + length, length == room || self.is_read_closed),
            Err(error) if error.kind() == ErrorKind::WouldBlock => ReadOutcome::Drained,
            Err(error) if error.kind() == ErrorKind::Interrupted => ReadOutcome::Bytes(old, true),
            Err(error) => ReadOutcome::Ended(broken(&error)),
        }
    }

    /// Keeps `rest`, the unfinished end of what was read, for the next time.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(rest);
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// Why the connection is over.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        while self.out_done < self.out.len() {
            match stream.write(&self.out[self.out_done..]) {
                Ok(length) => self.out_done += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        self.out.clear();
        self.out_done = 0;
        Ok(())
    }

    /// How many bytes are not sent yet.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.out.len() - self.out_done
    }

    /// Stops listening to events, so that the server fills the socket and finds it full.
    pub(super) fn stop_reading(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream.as_mut().map_or(Ok(()), |stream| registry.deregister(stream))
    }

    /// Closes the connection.
    pub(super) fn close(&mut self) {
        *self = Self::new(std::mem::take(&mut self.entry), self.is_slow);
    }
}

/// How a broken connection is told, to go behind "the server".
fn broken(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset => "reset the connection".into(),
        ErrorKind::BrokenPipe => "closed the connection while it was written to".into(),
        ErrorKind::ConnectionRefused => "refused the connection".into(),
        _ => format!("broke the connection: {error}"),
    }
}
