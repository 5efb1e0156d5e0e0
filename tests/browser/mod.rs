//! Drives Debian's `chromium` over the DevTools protocol: just enough to use a page as a person
//! does (type, press keys, click) and to ask it questions in JavaScript.
//!
//! Nothing here sleeps for a fixed time: [`Page::until`] polls a condition and gives up at a deadline.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

pub(crate) mod server;
pub(crate) mod stand_in;

/// How long a condition may take to come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A browser is heavy: one test at a time uses any, so that small machines keep the deadlines.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) fn wait_for_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One browser process with a profile of its own. Dropping it ends the process and removes the profile.
pub(crate) struct Browser {
    child: Child,
    profile: PathBuf,
    devtools: String, // host:port
}

impl Browser {
    /// Starts a browser whose user reads `language`.
    pub(crate) fn start(language: &str) -> Browser {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("roomd-browser-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&profile).expect("a profile directory");
        let mut child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--hide-scrollbars", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--lang={language}"))
            .arg(format!("--accept-lang={language}"))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium starts: is Debian's package installed?");
        let lines = lines_of(child.stderr.take().expect("stderr is piped"));
        // Made before the wait, so that a browser that never answers is cleaned up as well.
        let mut browser = Browser { child, profile, devtools: String::new() };
        let line = await_line(&lines, |line| line.contains("DevTools listening on ws://"));
        let (_, address) = line.split_once("ws://").expect("just found");
        browser.devtools = address.split('/').next().expect("split yields one").to_owned();
        browser
    }

    /// Opens `url` in a new page. Its errors are recorded from before its first byte.
    pub(crate) fn open(&self, url: &str) -> Page {
        // The browser itself is asked for a new target over HTTP, which is a PUT without a body.
        let mut http = TcpStream::connect(&self.devtools).expect("the DevTools port");
        http.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let request = format!("PUT /json/new?about:blank HTTP/1.1\r\nHost: {}\r\n\r\n", self.devtools);
        std::io::Write::write_all(&mut http, request.as_bytes()).expect("a request");
        let mut answer = BufReader::new(http);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).expect("an answer");
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut answer, &mut body).expect("the whole answer");
        let target: Value = serde_json::from_slice(&body).expect("JSON");
        let socket = target["webSocketDebuggerUrl"].as_str().expect("the page's socket");

        let stream = TcpStream::connect(&self.devtools).expect("the DevTools port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("an option");
        let (socket, _) = tungstenite::client(socket, stream).expect("a DevTools connection");
        let mut page = Page { socket, last_id: 0, loads: 0, problems: Vec::new() };
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            page.call(domain, &json!({}));
        }
        // So that the focus is drawn although nobody sees the window.
        page.call("Emulation.setFocusEmulationEnabled", &json!({ "enabled": true }));
        page.size(1280, 800);
        page.load("Page.navigate", &json!({ "url": url }));
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to end, a browser ends its children first; killed, it would leave them writing to the profile.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        if !comes_true(|| !matches!(self.child.try_wait(), Ok(None))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        comes_true(|| std::fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists());
    }
}

/// Polls a condition of the operating system, for five seconds.
fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// One page and its DevTools connection.
pub(crate) struct Page {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    /// How many documents were loaded.
    loads: u32,
    /// Uncaught exceptions, console errors, and whatever the browser itself complains about, CSP violations included.
    problems: Vec<String>,
}

impl Page {
    /// Calls a DevTools method and waits for its result.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({ "id": id, "method": method, "params": params });
        self.socket.send(Message::text(request.to_string())).expect("the browser listens");
        loop {
            let message = self.socket.read().unwrap_or_else(|error| panic!("no answer to {method}: {error}"));
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).expect("JSON");
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Page.loadEventFired") => self.loads += 1,
            Some("Runtime.exceptionThrown") => self.problems.push(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.problems.push(params["args"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.problems.push(params["entry"]["text"].to_string());
            }
            _ => {}
        }
    }

    /// The value of a JavaScript expression.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &params);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]["exception"]["description"]
        );
        answer["result"]["value"].take()
    }

    /// Waits until the expression is true. One that throws, because its element is not there yet, is not.
    pub(crate) fn until(&mut self, expression: &str) {
        let attempt =
            format!("(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()");
        let deadline = Instant::now() + PATIENCE;
        while self.eval(&attempt) != true {
            if Instant::now() > deadline {
                let text = self.eval("document.body.innerText");
                let text = text.as_str().unwrap_or_default();
                panic!("never true: {expression}\nproblems: {:?}\nthe page reads:\n{text}", self.problems);
            }
            // One frame of the page, so that waiting costs it nothing.
            self.eval("new Promise(done => setTimeout(done, 16))");
        }
    }

    /// Types text where the focus is.
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Presses a key: `Enter`, `Tab`, `Escape`, …, with `Shift+`, `Alt+` or `Alt+Shift+` in front if need be.
    pub(crate) fn press(&mut self, keys: &str) {
        let (modifiers, key) = match keys.rsplit_once('+') {
            Some(("Alt", key)) => (1, key),
            Some(("Shift", key)) => (8, key),
            Some(("Alt+Shift", key)) => (9, key),
            _ => (0, keys),
        };
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "Home" => 36,
            "End" => 35,
            "PageUp" => 33,
            "PageDown" => 34,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => panic!("no code for {key}"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let params = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
                "modifiers": modifiers, "text": if kind == "keyDown" { text } else { "" } });
            self.call("Input.dispatchKeyEvent", &params);
        }
    }

    /// Writes a line into the message field and presses Enter.
    pub(crate) fn say(&mut self, line: &str) {
        self.eval("document.getElementById('entry').focus()");
        self.write(line);
        self.press("Enter");
    }

    /// Clicks the first element that the selector finds and that shows the text.
    pub(crate) fn click(&mut self, selector: &str, text: &str) {
        let found = format!(
            "[...document.querySelectorAll({})].find(e => e.innerText.includes({}))",
            json!(selector),
            json!(text)
        );
        self.until(&found);
        self.eval(&format!("{found}.click()"));
    }

    /// Waits until the messages on show contain the text.
    pub(crate) fn sees(&mut self, text: &str) {
        self.until(&format!("document.getElementById('items').innerText.includes({})", json!(text)));
    }

    /// How many messages on show say exactly this.
    pub(crate) fn count(&mut self, body: &str) -> u64 {
        let all = "[...document.querySelectorAll('.message .body')]";
        self.eval(&format!("{all}.filter(e => e.textContent === {}).length", json!(body)))
            .as_u64()
            .expect("a number")
    }

    /// The person looks at this window or at another one.
    pub(crate) fn look(&mut self, here: bool) {
        // A headless window has the focus always, so the page is told otherwise.
        self.eval(&format!(
            "document.hasFocus = () => {here}; dispatchEvent(new Event({here} ? 'focus' : 'blur'))"
        ));
    }

    /// Loads the page anew, as with F5.
    pub(crate) fn reload(&mut self) {
        self.load("Page.reload", &json!({}));
    }

    /// Calls a method that loads a document, and waits until it is there.
    fn load(&mut self, method: &str, params: &Value) {
        let loads = self.loads;
        self.call(method, params);
        while self.loads == loads {
            let message = self.socket.read().unwrap_or_else(|error| panic!("{method}: {error}"));
            if let Message::Text(text) = message {
                self.note(&serde_json::from_str(&text).expect("JSON"));
            }
        }
    }

    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let phone = width < 600;
        let scale = if phone { 2 } else { 1 };
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone });
        self.call("Emulation.setDeviceMetricsOverride", &params);
    }

    pub(crate) fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] }),
        );
    }

    /// Writes what the page looks like, once it has drawn its last change.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        self.eval(
            "Promise.all(document.getAnimations().map(a => a.finished)) \
             .then(() => new Promise(requestAnimationFrame)).then(() => new Promise(requestAnimationFrame))",
        );
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let png = decode_base64(answer["data"].as_str().expect("a picture"));
        std::fs::write(path, png).expect("the screenshot is written");
    }

    /// Asserts that nothing went wrong in the page: no exception, no console error, no CSP violation. A failed
    /// attempt to connect, or to ask why, is no error in a test that takes the server away.
    pub(crate) fn assert_clean(&mut self) {
        self.eval("0"); // events that happened before now have arrived with this answer
        let is_expected = |problem: &str| {
            problem.contains("WebSocket connection to") || problem.contains("Failed to load resource")
        };
        self.problems.retain(|problem| !is_expected(problem));
        assert!(self.problems.is_empty(), "the page complains: {:#?}", self.problems);
    }
}

/// Reads lines in a thread, to the end, so that the writer never blocks.
pub(crate) fn lines_of(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let _ = sender.send(line);
        }
    });
    lines
}

/// The next line that fits.
pub(crate) fn await_line(lines: &mpsc::Receiver<String>, fits: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if fits(&line) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("the awaited line did not come ({error}); there were: {seen:#?}"),
        }
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for c in text.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break, // the padding
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
