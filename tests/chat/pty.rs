//! The client in a pseudo-terminal whose screen can be read.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::{DEADLINE, ROOMD, directory};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// What the program has written so far.
struct Output {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// `roomd chat` and its terminal.
pub(crate) struct Terminal {
    child: Option<Box<dyn Child + Send + Sync>>,
    writer: Box<dyn Write + Send>,
    master: Box<dyn MasterPty + Send>,
    output: Arc<(Mutex<Output>, Condvar)>,
}

impl Terminal {
    /// Starts `roomd chat ADDRESS ARGUMENTS`.
    pub(crate) fn start(address: &str, arguments: &[&str]) -> Terminal {
        Terminal::start_with(address, arguments, &[], &directory())
    }

    /// The same with these environment variables and this state directory.
    pub(crate) fn start_with(
        address: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
        state: &Path,
    ) -> Terminal {
        let (rows, cols) = (ROWS, COLUMNS);
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(ROOMD);
        command.args(["chat", address]);
        command.args(arguments);
        command.env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color");
        command.env("TZ", "UTC");
        command.env("XDG_STATE_HOME", state);
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = Some(pair.slave.spawn_command(command).unwrap());
        let size = |n| NonZero::new(n).unwrap();
        let parser = vt100::Parser::new(size(ROWS), size(COLUMNS), 1000);
        let bytes = Vec::new();
        let output = Arc::new((Mutex::new(Output { parser, bytes }), Condvar::new()));
        let reader = pair.master.try_clone_reader().unwrap();
        let shown = Arc::clone(&output);
        thread::spawn(move || watch(reader, &shown));
        let writer = pair.master.take_writer().unwrap();
        Terminal { child, writer, master: pair.master, output }
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    /// Types a line and presses Enter.
    pub(crate) fn enter(&mut self, line: &str) {
        self.press(line);
        self.press("\r");
    }

    /// Pastes, as a terminal does that was asked to say so.
    pub(crate) fn paste(&mut self, text: &str) {
        self.press(&format!("\x1b[200~{}\x1b[201~", text.replace('\n', "\r")));
    }

    /// Makes the terminal another size.
    pub(crate) fn resize(&mut self, rows: u16, cols: u16) {
        let size = |n| NonZero::new(n).unwrap();
        self.output.0.lock().unwrap().parser.screen_mut().set_size(size(rows), size(cols));
        self.master.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    /// Waits until the screen is as wanted, and returns its rows.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        self.wait_screen(what, |screen| wanted(&rows(screen)))
    }

    /// Waits until a row is this behind its time, and the last one is a prompt again.
    pub(crate) fn wait_row(&self, text: &str) -> Vec<String> {
        let prompt = |row: &String| row.starts_with('>') || row.starts_with("your name?");
        self.wait(text, |rows| {
            rows.iter().any(|row| without_time(row) == text) && rows.last().is_some_and(prompt)
        })
    }

    /// Waits until the row with the prompt, the last one, is this.
    pub(crate) fn wait_prompt(&self, row: &str) -> Vec<String> {
        self.wait(row, |rows| rows.last().is_some_and(|last| last == row.trim_end()))
    }

    /// As [`wait`](Self::wait), with colours.
    pub(crate) fn wait_screen(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let (output, changed) = &*self.output;
        let mut output = output.lock().unwrap();
        while !wanted(output.parser.screen()) {
            let left = until.saturating_duration_since(Instant::now());
            let contents = || output.parser.screen().contents();
            assert!(!left.is_zero(), "waited for {what:?}; the screen is\n{}", contents());
            output = changed.wait_timeout(output, left).unwrap().0;
        }
        rows(output.parser.screen())
    }

    /// How often these bytes were written so far.
    pub(crate) fn written(&self, bytes: &[u8]) -> usize {
        let output = self.output.0.lock().unwrap();
        output.bytes.windows(bytes.len()).filter(|window| window == &bytes).count()
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().process_id().unwrap()
    }

    /// Waits for the end, and returns the exit status.
    pub(crate) fn end(mut self) -> u32 {
        let mut child = self.child.take().unwrap();
        let mut killer = child.clone_killer();
        let (told, ended) = mpsc::channel();
        thread::spawn(move || told.send(child.wait().unwrap().exit_code()));
        ended.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            killer.kill().unwrap();
            panic!("the client does not end");
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Feeds the screen until the program has ended.
fn watch(mut reader: Box<dyn Read + Send>, (output, changed): &(Mutex<Output>, Condvar)) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        let mut output = output.lock().unwrap();
        output.parser.process(&buffer[..count]);
        output.bytes.extend_from_slice(&buffer[..count]);
        changed.notify_all();
    }
}

/// The rows of the screen that are not empty, without trailing spaces.
fn rows(screen: &vt100::Screen) -> Vec<String> {
    let rows = screen.contents();
    let rows = rows.lines().map(|row| row.trim_end().to_owned());
    rows.filter(|row| !row.is_empty()).collect()
}

/// A row without `HH:MM` in front and spaces around.
pub(crate) fn without_time(row: &str) -> &str {
    let time = |c: char| c.is_ascii_digit() || c == ':' || c == '~';
    match row.split_once(' ') {
        Some((first, rest)) if !first.is_empty() && first.chars().all(time) => rest.trim(),
        _ => row.trim(),
    }
}
