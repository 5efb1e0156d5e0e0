//! A real daemon process, and clients with deadlines: what the tests from outside have in common.
//!
//! Nothing here sleeps and no port is fixed: every wait is for an event and gives up after [`PATIENCE`].
// Each test crate uses its own part; and `json!({…})` reads best without a `&`.
#![allow(dead_code, clippy::needless_pass_by_value)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

pub(crate) mod ws;

/// How long anything may take to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What somebody is asked who has said an empty line and no name.
pub(crate) const GREETING: &str = concat!("* roomd ", env!("CARGO_PKG_VERSION"), " - your name?");

/// A running roomd on a port of its own. Dropping it ends the process.
pub(crate) struct Daemon {
    child: Child,
    log: mpsc::Receiver<String>,
    /// Where it listens, in the order of its `--listen`s.
    pub(crate) addrs: Vec<String>,
}

/// `roomd` with `flags`, and without the variables of whoever runs the tests.
pub(crate) fn roomd(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomd"));
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMD_") {
            command.env_remove(name);
        }
    }
    command
}

/// What `roomd` with `flags` says before it ends by itself, and its exit status.
pub(crate) fn output_of(flags: &[&str]) -> (Option<i32>, String) {
    ends(&mut roomd(flags))
}

/// What a command says before it ends by itself, and its exit status.
pub(crate) fn ends(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.spawn().expect("it starts");
    let (sender, texts) = mpsc::channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|out| Box::new(out) as Box<_>),
        child.stderr.take().map(|out| Box::new(out) as Box<_>),
    ];
    for mut output in outputs.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = output.read_to_string(&mut text);
            let _ = sender.send(text);
        });
    }
    drop(sender);
    let deadline = Instant::now() + PATIENCE;
    let mut said = String::new();
    loop {
        match texts.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => said += &text,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return (child.wait().expect("its end").code(), said);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{command:?} does not end; so far: {said}");
            }
        }
    }
}

impl Daemon {
    /// With the default limits.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With `flags`; it listens on a free port unless they say something else.
    pub(crate) fn with(flags: &[&str]) -> Self {
        let mut flags = flags.to_vec();
        if !flags.contains(&"--listen") {
            flags.extend(["--listen", "127.0.0.1:0"]);
        }
        Self::spawn(&mut roomd(&flags))
    }

    /// Runs `command` and waits until it listens.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("roomd starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut daemon = Self::unheard(child, Vec::new());
        // It is read to its end: what a full pipe does to the daemon is another test's business.
        daemon.hear(stderr);
        loop {
            let line = daemon.log_line().expect("a daemon that listens");
            daemon.addrs.extend(address_in(&line));
            if line.starts_with("try it:") {
                return daemon;
            }
        }
    }

    /// A daemon whose log nobody reads.
    pub(crate) fn unheard(child: Child, addrs: Vec<String>) -> Self {
        Self { child, log: mpsc::channel().1, addrs }
    }

    /// Reads the log from here on, to its end.
    pub(crate) fn hear(&mut self, stderr: impl BufRead + Send + 'static) {
        let (sender, log) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        self.log = log;
    }

    /// The next line of the log; none when the daemon has ended.
    pub(crate) fn log_line(&mut self) -> Option<String> {
        match self.log.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the daemon says nothing"),
        }
    }

    /// The next line of the log that contains `text`.
    pub(crate) fn logs(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while let Some(line) = self.log_line() {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no {text:?} in the log: {seen:#?}");
    }

    /// Where it listens first.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addrs[0].parse().expect("a TCP address")
    }

    /// `host:port`, for `Host` fields and URLs.
    pub(crate) fn host(&self) -> String {
        self.addr().to_string()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Somebody connects.
    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.addr()).expect("the daemon's port"))
    }

    /// Somebody connects from another address of this machine: to the daemon it is a subscriber of its own.
    pub(crate) fn stream_from(&self, ip: Ipv4Addr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((ip, 0)).into()).expect("an address of this machine");
        socket.connect(&self.addr().into()).expect("the daemon's port");
        socket.into()
    }

    /// Somebody connects from 127.0.0.`host`, says a name, and is welcome in the lobby.
    pub(crate) fn enter_from(&self, host: u8, name: &str) -> Client {
        let mut client = Client::new(self.stream_from(Ipv4Addr::new(127, 0, 0, host)));
        client.say(name);
        let line = client.line();
        assert!(line.starts_with(&format!("* welcome {name} - #lobby, ")), "{line}");
        client
    }

    /// Somebody connects, says a name, and is welcome in the lobby.
    pub(crate) fn enter(&self, name: &str) -> Client {
        let mut client = self.connect();
        client.say(name);
        let line = client.line();
        assert!(line.starts_with(&format!("* welcome {name} - #lobby, ")), "{line}");
        client
    }

    /// A program connects, says `hello`, and is welcome.
    pub(crate) fn enter_json(&self, name: &str) -> Client {
        let mut client = self.connect();
        client.say(&format!(r#"{{"type":"hello","name":"{name}"}}"#));
        let hello = client.json();
        assert_eq!((&hello["type"], &hello["name"]), (&"hello".into(), &name.into()), "{hello}");
        client
    }

    /// Sends a request as it stands and returns all of the answer.
    pub(crate) fn http(&self, request: &str) -> String {
        let mut client = self.connect();
        client.send(request.as_bytes());
        client.rest()
    }

    /// The head and the body of what is at `path`.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let answer = self.http(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host()));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    /// One number of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, body) = self.get("/metrics");
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {body}")).parse().expect("a whole number")
    }

    /// Asks for a number of `/metrics` until it is `expected`.
    pub(crate) fn metric_becomes(&self, name: &str, expected: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name);
            if value == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{name} stays {value}, not {expected}");
        }
    }

    /// Sends it a signal, as `kill -SIGNAL`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status();
        assert!(status.expect("kill(1)").success());
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Its exit status, when it has ended; its log need not be read for that.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut stdout = self.child.stdout.take().expect("stdout is piped");
        let (sender, ended) = mpsc::channel();
        // Nothing is written there: what arrives is the end.
        thread::spawn(move || sender.send(stdout.read_to_end(&mut Vec::new())));
        assert!(ended.recv_timeout(PATIENCE).is_ok(), "the daemon does not end");
        self.child.wait().expect("its end")
    }

    /// Waits for its end; the rest of its log too.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Vec<String>) {
        let rest = std::iter::from_fn(|| self.log_line()).collect();
        (self.child.wait().expect("its end"), rest)
    }
}

/// The address in a line that says where a daemon listens.
pub(crate) fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    Some(rest.split_once(", for up to").expect("its address").0.to_owned())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client needs of a socket.
pub(crate) trait Stream: Read + Write {
    fn time_out_after(&self, wait: Duration);
    fn end_output(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn time_out_after(&self, wait: Duration) {
        self.set_read_timeout(Some(wait)).expect("a time-out");
    }

    fn end_output(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn time_out_after(&self, wait: Duration) {
        self.set_read_timeout(Some(wait)).expect("a time-out");
    }

    fn end_output(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Somebody with a plain socket who speaks lines.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    /// What has arrived and was not looked at.
    heard: Vec<u8>,
}

impl Client {
    /// The port it connects from.
    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().expect("a TCP address").port()
    }
}

impl<S: Stream> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        stream.time_out_after(PATIENCE);
        Self { stream, heard: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the connection stands");
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// The next line; none at the end.
    ///
    /// # Panics
    /// If the connection breaks, or nothing arrives.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                let line = self.heard.drain(..=end).collect::<Vec<u8>>();
                return Some(String::from_utf8(line[..end].to_vec()).expect("UTF-8"));
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    assert!(self.heard.is_empty(), "half a line: {:?}", String::from_utf8_lossy(&self.heard));
                    return None;
                }
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                // As a process is continued that was stopped (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("no line: {error}"),
            }
        }
    }

    /// The next so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut buffer = [0; 16 * 1024];
        while self.heard.len() < count {
            let read = self.stream.read(&mut buffer).expect("more bytes");
            assert!(read > 0, "the end, after {:?}", self.heard);
            self.heard.extend_from_slice(&buffer[..read]);
        }
        self.heard.drain(..count).collect()
    }

    pub(crate) fn line(&mut self) -> String {
        self.next_line().expect("a line, not the end")
    }

    /// The next lines are these.
    #[track_caller]
    pub(crate) fn hears(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line(), *line);
        }
    }

    /// Says something, and the next lines are these.
    #[track_caller]
    pub(crate) fn hears_after(&mut self, said: &str, lines: &[&str]) {
        self.say(said);
        self.hears(lines);
    }

    /// Nothing else has arrived: all that was to be sent before is here now.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self) {
        self.hears_after("/ping", &["* pong"]);
    }

    /// The server has closed the connection in good order, and said nothing else.
    #[track_caller]
    pub(crate) fn hears_the_end(&mut self) {
        assert_eq!(self.next_line(), None);
    }

    /// The next line, as JSON.
    pub(crate) fn json(&mut self) -> serde_json::Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Says something, and the next line is this answer, times and the epoch aside.
    #[track_caller]
    pub(crate) fn answers(&mut self, request: serde_json::Value, answer: serde_json::Value) {
        self.say(&request.to_string());
        self.is_told(answer);
    }

    /// The next line is this document, times and the epoch aside.
    #[track_caller]
    pub(crate) fn is_told(&mut self, document: serde_json::Value) {
        assert_eq!(timeless(self.json()), document);
    }

    /// Our side is closed; the server may still answer.
    pub(crate) fn end_output(&mut self) {
        self.stream.end_output().expect("the connection stands");
    }

    /// All that arrives until the end.
    pub(crate) fn rest(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.heard);
        self.stream.read_to_end(&mut bytes).expect("an end in good order");
        String::from_utf8(bytes).expect("UTF-8")
    }
}

/// A document without the fields whose values a test cannot know: times, and the version.
pub(crate) fn timeless(mut document: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = document.as_object_mut() {
        for name in ["ts", "epoch", "server", "session"] {
            if let Some(value) = fields.remove(name) {
                assert!(value.is_string() || value.as_u64() > Some(1_700_000_000_000), "{name}: {value}");
            }
        }
    }
    document
}

/// A path for a Unix socket that nobody else uses.
pub(crate) fn socket_path() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("roomd-test-{}-{number}.sock", std::process::id()))
}
