//! The other side of the page: the daemon itself, the people who use `nc`, and the unreliable network between.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use super::{PATIENCE, await_line, lines_of};

/// A running roomd. Dropping it ends the process.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) port: u16,
    /// Where it keeps its rooms.
    data: Option<PathBuf>,
}

impl Daemon {
    pub(crate) fn start() -> Daemon {
        Daemon::listen_on(0, None).expect("a daemon that listens")
    }

    /// Keeps its rooms in a directory of its own, which is removed with it.
    pub(crate) fn start_with_data() -> Daemon {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("roomd-page-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&data).expect("a directory for the rooms");
        Daemon::listen_on(0, Some(data)).expect("a daemon that listens")
    }

    /// `None`: it ended instead of listening, because the port is not free (yet).
    fn listen_on(port: u16, data: Option<PathBuf>) -> Option<Daemon> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_roomd"))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(data.iter().flat_map(|data| ["--data".into(), data.join("rooms.db")]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("roomd starts");
        let lines = lines_of(child.stderr.take().expect("stderr is piped"));
        let mut daemon = Daemon { child, port, data };
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(port) = port_in(&line).filter(|_| line.contains("listening")) {
                daemon.port = port;
                // The rest is read as well, or a full pipe would stop the daemon.
                thread::spawn(move || lines.into_iter().for_each(drop));
                return Some(daemon);
            }
        }
        None
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Ends without a word, as in a power failure.
    pub(crate) fn crash(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends in good order: SIGTERM.
    pub(crate) fn shut_down(&mut self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill(1)");
        assert!(status.success());
        self.child.wait().expect("its end");
    }

    /// Starts again on the same port.
    pub(crate) fn start_again(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Daemon::listen_on(self.port, self.data.clone()) {
                Some(daemon) => {
                    self.data = None; // it goes on there
                    *self = daemon;
                    return;
                }
                None => assert!(Instant::now() < deadline, "port {} does not become free", self.port),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.crash();
        if let Some(data) = &self.data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Somebody with `nc`; where it is not installed, a plain socket takes its place.
pub(crate) struct Netcat {
    nc: Option<Child>,
    input: Box<dyn Write>,
    lines: mpsc::Receiver<String>,
}

impl Netcat {
    /// Connects and enters as `name`.
    pub(crate) fn enter(port: u16, name: &str) -> Netcat {
        let mut netcat = Netcat::connect(port);
        netcat.say(name);
        netcat.hears("* welcome");
        netcat
    }

    pub(crate) fn connect(port: u16) -> Netcat {
        let port_text = port.to_string();
        let nc = Command::new("nc")
            .args(["127.0.0.1", &port_text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        if let Ok(mut nc) = nc {
            let input = Box::new(nc.stdin.take().expect("stdin is piped"));
            let lines = lines_of(nc.stdout.take().expect("stdout is piped"));
            Netcat { nc: Some(nc), input, lines }
        } else {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("the daemon's port");
            let lines = lines_of(stream.try_clone().expect("a second handle"));
            Netcat { nc: None, input: Box::new(stream), lines }
        }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).expect("the connection stands");
        self.input.flush().expect("the connection stands");
    }

    /// The next line that contains the text.
    pub(crate) fn hears(&self, text: &str) -> String {
        await_line(&self.lines, |line| line.contains(text))
    }

    /// All lines up to the one that contains the text.
    pub(crate) fn hears_until(&self, text: &str) -> Vec<String> {
        let heard = std::cell::RefCell::new(Vec::new());
        await_line(&self.lines, |line| {
            heard.borrow_mut().push(line.to_owned());
            line.contains(text)
        });
        heard.into_inner()
    }
}

impl Drop for Netcat {
    fn drop(&mut self) {
        if let Some(nc) = &mut self.nc {
            let _ = nc.kill();
            let _ = nc.wait();
        }
    }
}

/// What the lobby's history says: the bodies of its messages, oldest first.
pub(crate) fn history(port: u16) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the daemon's port");
    let lines = lines_of(stream.try_clone().expect("a second handle"));
    let request = concat!(
        r#"{"type":"hello","name":"historian"}"#,
        "\n",
        r#"{"type":"history","limit":1000,"ref":"h"}"#,
        "\n"
    );
    stream.write_all(request.as_bytes()).expect("the connection stands");
    let line = await_line(&lines, |line| line.contains(r#""ref":"h""#));
    let _ = stream.shutdown(Shutdown::Both); // the reading thread holds a handle too
    let answer: Value = serde_json::from_str(&line).expect("JSON");
    let events = answer["events"].as_array().unwrap_or_else(|| panic!("no history: {answer}"));
    events.iter().map(|event| event["body"].as_str().expect("a body").to_owned()).collect()
}

/// Sends many lines over one connection as fast as the daemon takes them.
pub(crate) fn flood(port: u16, name: &str, count: usize) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the daemon's port");
    let mut text = format!("{}\n", json!({ "type": "hello", "name": name }));
    for i in 1..=count {
        text += &format!("{}\n", json!({ "type": "public", "body": format!("flood {i}") }));
    }
    let mut reader = stream.try_clone().expect("a second handle");
    // It also reads: a writer that never reads would be closed as slow before its last line.
    let reading = thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    stream.write_all(text.as_bytes()).expect("the connection stands");
    stream.write_all(b"{\"type\":\"quit\"}\n").expect("the connection stands");
    reading.join().expect("the daemon closes");
}

/// A network cable between browser and daemon that can be bad in several ways.
pub(crate) struct Cable {
    pub(crate) port: u16,
    state: Arc<AtomicU8>,
    /// The two ends of each connection: the browser's and the daemon's.
    open: Arc<Mutex<Vec<[TcpStream; 2]>>>,
    stranded: Vec<TcpStream>,
}

const SOUND: u8 = 0;
const DEAF: u8 = 1;
const CUT: u8 = 2;
const STRANDED: u8 = 3;

impl Cable {
    pub(crate) fn to(daemon_port: u16) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(AtomicU8::new(SOUND));
        let open = Arc::new(Mutex::new(Vec::new()));
        let cable = Cable { port, state: state.clone(), open: open.clone(), stranded: Vec::new() };
        thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { return };
                if state.load(Ordering::SeqCst) == CUT {
                    continue; // and so it is closed
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", daemon_port)) else { continue };
                let (near2, far2) = (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
                let (near3, far3) = (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
                open.lock().expect("no panic while it is held").push([near2, far2]);
                let (state, state2) = (state.clone(), state.clone());
                thread::spawn(move || carry(near3, far3, &state, false));
                thread::spawn(move || carry(far, near, &state2, true));
            }
        });
        cable
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// From now on nothing that the daemon says arrives; what the browser says does.
    pub(crate) fn deafen(&self) {
        self.state.store(DEAF, Ordering::SeqCst);
    }

    /// Breaks all connections; new ones are closed at once.
    pub(crate) fn cut(&self) {
        self.state.store(CUT, Ordering::SeqCst);
        for stream in self.open.lock().expect("no panic while it is held").drain(..).flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Breaks all connections for the browser, while the daemon does not notice yet; new ones work.
    pub(crate) fn strand(&mut self) {
        self.state.store(STRANDED, Ordering::SeqCst);
        for [near, far] in self.open.lock().expect("no panic while it is held").drain(..) {
            let _ = near.shutdown(Shutdown::Both);
            self.stranded.push(far);
        }
    }

    /// The daemon notices what [`Cable::strand`] did.
    pub(crate) fn notice(&mut self) {
        for far in self.stranded.drain(..) {
            let _ = far.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.state.store(SOUND, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8, to_browser: bool) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let lost = to_browser && state.load(Ordering::SeqCst) == DEAF;
        if !lost && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    if to_browser || state.load(Ordering::SeqCst) != STRANDED {
        let _ = to.shutdown(Shutdown::Write);
    }
}
