//! A connection: one thread connects and reads lines, one writes. Blocking sockets, so a server
//! that does not read holds up nothing but the writing thread.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::address::{Address, Socket};
use super::event_loop::Wakeup;
use super::session::Input;

/// The longest line a server may send; a page of history is one line.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// How long the server may leave written bytes untaken.
const WRITE_WAIT: Duration = Duration::from_secs(30);

/// A connection that is there or being made. Dropping it ends it, after what was sent is written.
#[derive(Debug)]
pub(super) struct Connection {
    lines: Sender<String>,
}

impl Connection {
    /// Begins to connect. What happens is told to `inbox`, marked with `number`.
    pub(super) fn open(address: Address, number: u64, inbox: Sender<Wakeup>) -> Connection {
        let (lines, to_write) = mpsc::channel();
        thread::spawn(move || {
            // The inbox is gone when the program is leaving: nobody to tell.
            let tell = |input| inbox.send(Wakeup::Wire(number, input)).is_ok();
            let socket = match address.connect().and_then(|s| split(s).map_err(|e| e.to_string())) {
                Ok(halves) => halves,
                Err(sentence) => {
                    tell(Input::Failed(sentence));
                    return;
                }
            };
            let (socket, writer) = socket;
            tell(Input::Connected);
            thread::spawn(move || write_lines(writer, &to_write));
            let why = read_lines(socket, tell);
            tell(Input::Lost(why));
        });
        Connection { lines }
    }

    /// Queues a line.
    pub(super) fn send(&self, line: String) {
        // An ended connection has told so itself.
        let _ = self.lines.send(line);
    }
}

/// Two handles of the socket, one to read and one to write.
fn split(socket: Socket) -> io::Result<(Socket, Socket)> {
    let other = match &socket {
        Socket::Tcp(stream) => {
            stream.set_write_timeout(Some(WRITE_WAIT))?;
            Socket::Tcp(stream.try_clone()?)
        }
        Socket::Unix(stream) => {
            stream.set_write_timeout(Some(WRITE_WAIT))?;
            Socket::Unix(stream.try_clone()?)
        }
    };
    Ok((socket, other))
}

/// Tells every line that arrives, and returns why there are no more.
fn read_lines(socket: Socket, tell: impl Fn(Input) -> bool) -> String {
    let mut reader = BufReader::new(socket);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return "the server closed it".into(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.to_string(),
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                if !tell(Input::Received(text)) {
                    return String::new();
                }
            }
        }
    }
}

/// Writes lines until there are no more, then ends the connection.
fn write_lines(mut socket: Socket, lines: &Receiver<String>) {
    while let Ok(mut line) = lines.recv() {
        // What waits goes out together.
        line.extend(lines.try_iter());
        if socket.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    socket.shut_down();
}

impl Socket {
    fn shut_down(&self) {
        // It may be gone already, which is as good.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
