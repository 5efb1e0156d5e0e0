//! The platform of the daemon: `mio`, real sockets, real signals, real clocks.

use std::fs::Permissions;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, event};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;
use socket2::{Domain, Protocol, SockAddr, SockRef, TcpKeepalive, Type};

use super::{ConnectionId, Event, Peer, Platform, Socket};
use crate::clock::{Millis, Now};
use crate::limits::Limits;

/// How many events one wait brings at most; the rest comes with the next.
const EVENTS_PER_WAIT_MAX: usize = 1024;
/// The tokens of the signals and of other threads. Their generation is 0, so they are no connection's; listeners have
/// the indices below.
const SIGNALS: Token = Token(u32::MAX as usize);
const WAKER: Token = Token(SIGNALS.0 - 1);

// A token holds a whole `ConnectionId`.
const _: () = assert!(usize::BITS >= 64, "roomd needs 64-bit tokens");

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// An IP address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket, which is made at start and removed at the end.
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// See the [module documentation](self).
pub struct Epoll {
    poll: Poll,
    batch: Events,
    signals: Signals,
    listeners: Vec<Listener>,
    socket_mode: Option<u32>,
    /// Made when it is asked for.
    waker: Option<Waker>,
    started: Instant,
    /// When the last wait returned.
    woke_at: Instant,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    /// With its path, and what it is there.
    Unix(UnixListener, PathBuf, Inode),
}

/// The socket of one connection.
#[derive(Debug)]
pub enum Stream {
    /// From a TCP listener.
    Tcp(TcpStream),
    /// From a Unix listener.
    Unix(UnixStream),
}

impl Epoll {
    /// A platform without listeners, which turns SIGTERM and SIGINT into [`Event::Stop`], and lives through SIGHUP.
    ///
    /// # Errors
    /// The system has no selector or no descriptor left.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        Ok(Self {
            poll,
            batch: Events::with_capacity(EVENTS_PER_WAIT_MAX),
            signals,
            listeners: Vec::new(),
            socket_mode: None,
            waker: None,
            started: Instant::now(),
            woke_at: Instant::now(),
        })
    }

    /// The mode of the Unix sockets that are listened on from now on, which they have before anybody can connect.
    /// Without it the umask decides.
    pub fn set_socket_mode(&mut self, mode: u32) {
        self.socket_mode = Some(mode);
    }

    /// Listens on `addr` too; returns the address with the port the system chose.
    ///
    /// # Errors
    /// As `bind(2)`, `chmod(2)` and `listen(2)`.
    pub fn listen(&mut self, addr: &ListenAddr, limits: &Limits) -> io::Result<ListenAddr> {
        let (mut listener, bound) = match addr {
            ListenAddr::Tcp(addr) => {
                let listener = listen_tcp(*addr, limits)?;
                let bound = ListenAddr::Tcp(listener.local_addr()?);
                (Listener::Tcp(listener), bound)
            }
            ListenAddr::Unix(path) => {
                let listener = listen_unix(path, self.socket_mode, limits)?;
                (Listener::Unix(listener, path.clone(), inode(path)?), addr.clone())
            }
        };
        let token = Token(self.listeners.len());
        self.poll.registry().register(listener.source(), token, Interest::READABLE)?;
        self.listeners.push(listener);
        Ok(bound)
    }
}

fn listen_tcp(addr: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // So that 0.0.0.0:PORT and [::]:PORT can be listened on side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    keep_alive(&socket, limits)?;
    prepare(&socket, &addr.into(), limits)?;
    listen(&socket, limits)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn keep_alive(socket: &socket2::Socket, limits: &Limits) -> io::Result<()> {
    let Some(silence) = limits.keepalive else { return Ok(()) };
    // Three questions, so that one that is lost ends nothing.
    let keepalive = TcpKeepalive::new().with_time(silence).with_interval(silence / 3).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(2 * silence))
}

/// A file, whatever it is called: its device and its number there.
type Inode = (u64, u64);

fn inode(path: &PathBuf) -> io::Result<Inode> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

fn listen_unix(path: &PathBuf, mode: Option<u32>, limits: &Limits) -> io::Result<UnixListener> {
    // A socket that nobody listens on is what a daemon that was killed has left behind.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket
        && let Err(error) = std::os::unix::net::UnixStream::connect(path)
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        std::fs::remove_file(path)?;
    }
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    prepare(&socket, &SockAddr::unix(path)?, limits)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    listen(&socket, limits)?;
    Ok(UnixListener::from_std(socket.into()))
}

fn prepare(socket: &socket2::Socket, addr: &SockAddr, limits: &Limits) -> io::Result<()> {
    // Accepted sockets inherit it.
    bound_send_buffer(socket, limits)?;
    socket.set_nonblocking(true)?;
    socket.bind(addr)
}

fn listen(socket: &socket2::Socket, limits: &Limits) -> io::Result<()> {
    socket.listen(i32::try_from(limits.backlog).unwrap_or(i32::MAX))
}

/// What the system holds for a peer that does not read is bounded too, and slowness is seen early.
fn bound_send_buffer(socket: &socket2::Socket, limits: &Limits) -> io::Result<()> {
    limits.send_buffer_bytes.map_or(Ok(()), |bytes| socket.set_send_buffer_size(bytes))
}

impl Platform for Epoll {
    type Socket = Stream;

    fn now(&mut self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: Millis(0).after(self.started.elapsed()), unix_ms: Millis(0).after(unix).0 }
    }

    fn busy(&mut self) -> Duration {
        self.woke_at.elapsed()
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let outcome = self.poll.poll(&mut self.batch, timeout);
        self.woke_at = Instant::now();
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome?,
        }
        for event in &self.batch {
            let token = event.token();
            if token == SIGNALS {
                events.extend(self.signals.pending().filter_map(event_of));
            } else if token == WAKER {
                events.push(Event::Notified);
            } else if token.0 < WAKER.0 {
                events.push(Event::Listener(token.0));
            } else {
                // EPOLLERR, or EPOLLHUP, which is the end of both sides.
                let broken = event.is_error() || (event.is_read_closed() && event.is_write_closed());
                events.push(Event::Connection {
                    id: ConnectionId::from_bits(token.0 as u64),
                    readable: event.is_readable() || broken,
                    writable: event.is_writable() || event.is_write_closed() || broken,
                    read_closed: event.is_read_closed() || broken,
                    broken,
                });
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> io::Result<(Stream, Peer)> {
        let Some(source) = self.listeners.get(listener) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        match source {
            Listener::Tcp(tcp) => {
                let (stream, addr) = tcp.accept()?;
                // The loop coalesces what belongs together; the kernel must not wait for more. A peer
                // that has gone already may refuse this: reading will tell.
                let _ = stream.set_nodelay(true);
                Ok((
                    Stream::Tcp(stream),
                    Peer { ip: Some(addr.ip()), port: addr.port(), listener: listener as u16 },
                ))
            }
            Listener::Unix(unix, ..) => {
                let (stream, _) = unix.accept()?;
                Ok((Stream::Unix(stream), Peer { listener: listener as u16, ..Peer::default() }))
            }
        }
    }

    fn connect(&mut self, addr: SocketAddr, limits: &Limits) -> io::Result<Stream> {
        let stream = TcpStream::connect(addr)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_nodelay(true)?;
        keep_alive(&socket, limits)?;
        bound_send_buffer(&socket, limits)?;
        Ok(Stream::Tcp(stream))
    }

    fn waker(&mut self) -> io::Result<Waker> {
        if let Some(waker) = &self.waker {
            return Ok(waker.clone());
        }
        let waker = Waker::from(Arc::new(Bell(mio::Waker::new(self.poll.registry(), WAKER)?)));
        Ok(self.waker.insert(waker).clone())
    }

    fn close_listeners(&mut self) {
        for mut listener in self.listeners.drain(..) {
            let _ = self.poll.registry().deregister(listener.source());
            // Somebody may have removed it, and another daemon may listen there now.
            if let Listener::Unix(_, path, ours) = listener
                && inode(&path).is_ok_and(|there| there == ours)
            {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn register(&mut self, socket: &mut Stream, id: ConnectionId) -> io::Result<()> {
        self.poll.registry().register(socket.source(), token_of(id), Interest::READABLE)
    }

    fn reregister(&mut self, socket: &mut Stream, id: ConnectionId, writable: bool) -> io::Result<()> {
        let interest = if writable { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.poll.registry().reregister(socket.source(), token_of(id), interest)
    }

    fn deregister(&mut self, socket: &mut Stream) {
        // Closing the descriptor would do it too, but a duplicate of it would keep the events coming.
        let _ = self.poll.registry().deregister(socket.source());
    }
}

/// What other threads ring.
struct Bell(mio::Waker);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It is an eventfd: a write to it cannot fail but for a full counter, which mio empties.
        if let Err(error) = self.0.wake() {
            log::error!("cannot wake the loop: {error}");
        }
    }
}

/// What a signal asks of the loop.
fn event_of(signal: i32) -> Option<Event> {
    match signal {
        SIGHUP => {
            // Who sends it wants a daemon to read its configuration again, not to end it.
            log::info!("SIGHUP: there is nothing to reload");
            None
        }
        // The log has reached the limit on the size of files: the write that failed says so.
        SIGXFSZ => None,
        _ => Some(Event::Stop),
    }
}

fn token_of(id: ConnectionId) -> Token {
    Token(id.to_bits() as usize)
}

impl Listener {
    fn source(&mut self) -> &mut dyn event::Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener, ..) => listener,
        }
    }
}

impl Stream {
    fn source(&mut self) -> &mut dyn event::Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}

impl Socket for Stream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn reset_on_drop(&mut self) {
        if let Self::Tcp(stream) = self {
            // If it cannot be, the peer learns it when it sends something.
            let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
        }
    }

    fn is_connected(&mut self) -> io::Result<bool> {
        let Self::Tcp(stream) = self else { return Ok(true) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(pieces),
            Self::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
