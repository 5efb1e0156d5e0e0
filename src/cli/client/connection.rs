//! A connection: one thread connects and reads lines, one writes. Blocking sockets, so a server
//! that does not read holds up nothing but the writing thread.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use socket2::Socket;

use super::address::Address;
use super::event_loop::Wakeup;
use super::session::Input;

/// The longest line a server may send; a page of history is one line.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// How long the server may leave written bytes untaken.
const WRITE_WAIT: Duration = Duration::from_secs(30);

/// The connection that was made last, for whoever has to end the program at once.
static LAST: Mutex<Option<Socket>> = Mutex::new(None);

/// Says good-bye, because the program ends now: or the server would keep our name for us.
pub(super) fn quit_now() {
    if let Some(mut socket) = LAST.lock().ok().and_then(|mut last| last.take()) {
        // A server that does not read does not keep us here.
        let _ = socket.set_nonblocking(true).and_then(|()| socket.write_all(b"{\"type\":\"quit\"}\n"));
    }
}

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
            let connected = address.connect().and_then(|socket| {
                let writer = socket.set_write_timeout(Some(WRITE_WAIT)).and_then(|()| socket.try_clone());
                Ok((socket, writer.map_err(|error| error.to_string())?))
            });
            let (socket, writer) = match connected {
                Ok(handles) => handles,
                Err(sentence) => {
                    tell(Input::Failed(sentence));
                    return;
                }
            };
            if let Ok(mut last) = LAST.lock() {
                *last = socket.try_clone().ok();
            }
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
    // It may be gone already, which is as good.
    let _ = socket.shutdown(Shutdown::Both);
}
