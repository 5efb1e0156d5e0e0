//! The session on a terminal: rustyline edits the line, everything else is painted around it.
//!
//! The line editor runs in its own thread. Nobody else writes while it edits: what is to be shown
//! goes to the [`Screen`], and the editor paints it in front of its prompt the next time it
//! paints that (see `Helper`). Its external printer is used for one thing only, to wake it so
//! that it does. While the editor waits for its turn the program writes by itself. `Owner` says
//! whose turn it is.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::termios::{self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use rustyline::completion::Completer;
use rustyline::config::{Builder, ColorMode};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, ConditionalEventHandler, Context, Editor, Event, EventContext, EventHandler, ExternalPrinter,
    KeyCode, KeyEvent, Modifiers, Movement, RepeatCount,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::address::Address;
use super::command::too_long;
use super::completion::{Completion, complete, word_start};
use super::connection::quit_now;
use super::display::Line;
use super::event_loop::{EventLoop, Face, Outcome, Wakeup, wall_clock, write_now};
use super::paint::Painter;
use super::screen::{Screen, UNCONFIRMED_MAX};
use super::session::{Input, Prompt, Session};

const CHAT_PROMPT: &str = "> ";
const NAME_PROMPT: &str = "your name? ";
/// Of a screen of older messages these rows are others: what stands above them, their day, where one is, the prompt.
const NOT_OLDER_ROWS: usize = 4;
/// How many typed lines are remembered across sessions.
const HISTORY_LINES: usize = 1000;
/// Makes the editor paint its prompt again and moves nothing: up, and down again by the newline
/// that the external printer insists on.
const WAKE: &str = "\x1b[A\n";
/// Undoes what the editor switched on (bracketed paste), on the way out.
const PASTE_OFF: &str = "\x1b[?2004l\r\n";

/// Who writes to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The program: the editor waits for its turn.
    Program,
    /// The editor, but it is just beginning or ending a line and must not be woken.
    Editor,
    /// The editor; it waits for keys and can be woken.
    Typing,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    owner: Owner,
    screen: Screen,
    /// The editor is being woken.
    waking: bool,
    connected: bool,
    names: BTreeSet<String>,
    /// Rooms one could want to join.
    rooms: BTreeSet<String>,
    /// How many bytes a message may have.
    bytes_max: usize,
    painter: Painter,
}

impl Shared {
    /// Adds a line to what stands above, with the time it is now if it has none.
    fn show(&mut self, line: &Line) {
        let text = self.painter.paint(line, wall_clock());
        self.screen.add(&text);
    }
}

type Handle = Arc<Mutex<Shared>>;

fn lock(shared: &Handle) -> MutexGuard<'_, Shared> {
    // A panic of the other thread leaves a screen that can still be painted.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the session on the terminal.
pub(super) fn run(session: Session, address: Address, painter: Painter) -> Outcome {
    let times = painter.times();
    let mut shared = Shared {
        owner: Owner::Program,
        screen: Screen::default(),
        waking: false,
        connected: true,
        names: BTreeSet::new(),
        rooms: BTreeSet::new(),
        bytes_max: session.bytes_max,
        painter,
    };
    shared.show(&Line::Answer(format!("/help lists the commands, times are {times}")));
    let shared = Arc::new(Mutex::new(shared));
    let (event_loop, wakeups) = EventLoop::new(session, address);
    let modes = Modes::take().map_err(|error| error.to_string())?;
    restore_on_signals(&shared, &modes).map_err(|error| error.to_string())?;
    let mut editor = editor(&shared, &event_loop.inbox).map_err(|error| error.to_string())?;
    let waker = editor.create_external_printer().map_err(|error| error.to_string())?;
    let (wakes, wake) = mpsc::channel();
    let (ticks, waking) = (event_loop.inbox.clone(), Arc::clone(&shared));
    thread::spawn(move || wake_editor(waker, &waking, &wake, &ticks));
    let (turns, turn) = mpsc::channel();
    let (typed, editing) = (event_loop.inbox.clone(), Arc::clone(&shared));
    thread::spawn(move || edit(&mut editor, &editing, &turn, &typed));
    let mut face = Terminal { shared: Arc::clone(&shared), wakes, turns };
    let outcome = event_loop.run(&wakeups, &mut face);
    let mut shared = lock(&shared);
    // If somebody is typing, what is left to say is said below that.
    let below = if shared.owner == Owner::Program { "" } else { PASTE_OFF };
    let text = shared.screen.draw();
    let _ = write_now(&format!("{below}{text}"));
    drop(modes);
    outcome
}

/// Wakes the editor when asked to. A thread of its own, since the printer waits while the editor
/// has not taken its last message, and the editor may be waiting for [`Shared`].
fn wake_editor(
    mut printer: impl ExternalPrinter,
    shared: &Handle,
    wake: &Receiver<()>,
    ticks: &Sender<Wakeup>,
) {
    while wake.recv().is_ok() && printer.print(WAKE.into()).is_ok() {
        lock(shared).waking = false;
        if ticks.send(Wakeup::Typed(Input::Tick)).is_err() {
            return;
        }
    }
}

/// The face of the session on a terminal.
struct Terminal {
    shared: Handle,
    /// Has the editor woken.
    wakes: Sender<()>,
    /// Gives the editor its turn.
    turns: Sender<Prompt>,
}

impl Face for Terminal {
    fn show(&mut self, line: &Line) -> io::Result<()> {
        let mut shared = lock(&self.shared);
        shared.painter.set_columns(columns());
        shared.show(line);
        Ok(())
    }

    fn settle(&mut self, session: &Session, prompt: Option<Prompt>) -> io::Result<()> {
        let mut shared = lock(&self.shared);
        if shared.names != *session.names() {
            shared.names.clone_from(session.names());
        }
        if shared.rooms != *session.known_rooms() {
            shared.rooms.clone_from(session.known_rooms());
        }
        shared.bytes_max = session.bytes_max;
        let changed = shared.connected != session.is_here();
        shared.connected = session.is_here();
        shared.painter.set_columns(columns());
        let mut rows = unconfirmed_rows(&shared.painter, session);
        rows.extend(session.bar().map(|bar| shared.painter.bar(&bar)));
        shared.screen.set_unconfirmed(rows);
        if let (Some(prompt), Owner::Program) = (prompt, shared.owner) {
            shared.owner = Owner::Editor;
            // Its thread lives as long as we do.
            let _ = self.turns.send(prompt);
            return Ok(());
        }
        match shared.owner {
            // While it is being woken, a newline may come in between: the end of that is a tick.
            _ if shared.waking => {}
            Owner::Program => {
                let text = shared.screen.draw();
                write_now(&text)?;
            }
            Owner::Typing if shared.screen.is_stale() || changed => {
                shared.waking = true;
                let _ = self.wakes.send(());
            }
            // It paints all of it with its next prompt.
            Owner::Typing | Owner::Editor => {}
        }
        Ok(())
    }
}

/// The grey rows: the oldest unconfirmed lines and how many more there are.
fn unconfirmed_rows(painter: &Painter, session: &Session) -> Vec<String> {
    let mut rows: Vec<String> =
        session.unconfirmed().take(UNCONFIRMED_MAX).map(|typed| painter.unconfirmed(&typed)).collect();
    let more = session.unconfirmed().skip(UNCONFIRMED_MAX).count();
    if more > 0 {
        rows.push(painter.unconfirmed(&format!("(and {more} more)")));
    }
    rows
}

/// The editor's thread: takes its turns until there are no more.
fn edit(
    editor: &mut Editor<Helper, FileHistory>,
    shared: &Handle,
    turns: &Receiver<Prompt>,
    typed: &Sender<Wakeup>,
) {
    let history = history_file();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    while let Ok(prompt) = turns.recv() {
        let text = match prompt {
            Prompt::Name => NAME_PROMPT,
            Prompt::Chat => CHAT_PROMPT,
        };
        let line = editor.readline(text);
        let input = match line {
            Ok(line) => {
                if prompt == Prompt::Chat {
                    remember(editor, &line, history.as_ref());
                    lock(shared).screen.wipe_typed(text, &line, columns());
                }
                Input::Typed(line)
            }
            // Ctrl-C is bound to something else; whatever this is, no line comes after it.
            Err(ReadlineError::Eof | _) => {
                lock(shared).screen.wipe_typed(text, "", columns());
                Input::Ended
            }
        };
        lock(shared).owner = Owner::Program;
        if typed.send(Wakeup::Typed(input)).is_err() {
            return;
        }
    }
}

fn remember(editor: &mut Editor<Helper, FileHistory>, line: &str, file: Option<&PathBuf>) {
    let added = editor.add_history_entry(line).unwrap_or(false);
    if let (true, Some(file)) = (added, file) {
        // A disk that is full or read-only must not end the chat.
        let _ = editor.append_history(file);
    }
}

/// `roomd/chat_history` in the XDG state directory, which is made if it is missing.
fn history_file() -> Option<PathBuf> {
    let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
    let state = set("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(set("HOME")?).join(".local/state")))?;
    let directory = state.join("roomd");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).ok()?;
    Some(directory.join("chat_history"))
}

fn editor(shared: &Handle, typed: &Sender<Wakeup>) -> rustyline::Result<Editor<Helper, FileHistory>> {
    let config = Builder::new()
        .max_history_size(HISTORY_LINES)?
        .history_ignore_space(true)
        // Our helper paints through the highlighter, also without colours.
        .color_mode(ColorMode::Forced)
        .build();
    let mut editor = Editor::with_config(config)?;
    let helper = || Helper { shared: Arc::clone(shared), typed: typed.clone() };
    editor.set_helper(Some(helper()));
    let clear = Cmd::Kill(Movement::WholeBuffer);
    editor.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Simple(clear));
    // Alt with a digit would be the obvious key; the editor takes that for itself before it asks us.
    let places = (1..=9).map(|place| KeyEvent(KeyCode::F(place), Modifiers::NONE));
    let page_up = KeyEvent(KeyCode::PageUp, Modifiers::NONE);
    let others = [KeyEvent::ctrl('D'), KeyEvent::alt('n'), KeyEvent::from('\t'), page_up];
    for key in others.into_iter().chain(places) {
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(helper())));
    }
    Ok(editor)
}

/// What the line editor asks us: what to paint, what a word could become, whether to end a line.
struct Helper {
    shared: Handle,
    /// Where keys go that are not for the line.
    typed: Sender<Wakeup>,
}

impl Highlighter for Helper {
    /// Called whenever the prompt is painted, with the cursor at its beginning: here everything
    /// else is painted, too.
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        let mut shared = lock(&self.shared);
        shared.owner = Owner::Typing;
        let above = shared.screen.draw();
        let prompt = shared.painter.prompt(prompt, shared.connected);
        Cow::Owned(above + &prompt)
    }
}

impl Validator for Helper {
    /// Called when Enter was pressed: the editor is about to leave the line, unless that is too long.
    fn validate(&self, line: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let mut shared = lock(&self.shared);
        let Some(sentence) = too_long(line.input(), shared.bytes_max) else {
            shared.owner = Owner::Editor;
            return Ok(ValidationResult::Valid(None));
        };
        shared.show(&Line::Trouble(sentence));
        // Without a message the editor adds a line, and with an empty one it miscounts the rows.
        Ok(ValidationResult::Invalid(Some(" ".into())))
    }
}

impl ConditionalEventHandler for Helper {
    /// Ctrl-D, F1 to F9, Alt-N, PgUp, and Tab.
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, line: &EventContext<'_>) -> Option<Cmd> {
        let mut shared = lock(&self.shared);
        if event.get(0) == Some(&KeyEvent::ctrl('D')) {
            if line.line().is_empty() {
                shared.owner = Owner::Editor;
            }
            return None;
        }
        let turn = match event.get(0) {
            Some(KeyEvent(KeyCode::F(place), _)) => Some(Input::TurnTo(usize::from(*place) - 1)),
            Some(KeyEvent(_, Modifiers::ALT)) => Some(Input::TurnOn),
            Some(KeyEvent(KeyCode::PageUp, _)) => Some(Input::PageUp(rows().saturating_sub(NOT_OLDER_ROWS))),
            _ => line.line().is_empty().then_some(Input::TurnOn),
        };
        if let Some(turn) = turn {
            // Whoever listens lives as long as we do.
            let _ = self.typed.send(Wakeup::Typed(turn));
            return Some(Cmd::Noop);
        }
        match complete(&line.line()[..line.pos()], &shared.names, &shared.rooms) {
            // Asks our completer, whose only candidate is taken without further keys.
            Completion::Word(_) => Some(Cmd::Complete),
            Completion::Choices(choices) => {
                shared.show(&Line::Answer(choices.join("  ")));
                Some(Cmd::Repaint)
            }
            Completion::Nothing => Some(Cmd::Noop),
        }
    }
}

impl Completer for Helper {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..pos];
        let shared = lock(&self.shared);
        Ok(match complete(before, &shared.names, &shared.rooms) {
            Completion::Word(word) => (word_start(before), vec![word]),
            Completion::Choices(_) | Completion::Nothing => (pos, Vec::new()),
        })
    }
}

impl Hinter for Helper {
    type Hint = String;
}

impl rustyline::Helper for Helper {}

/// The terminal's modes as they were before; given back when this is dropped.
struct Modes(Termios);

impl Modes {
    /// Turns off the terminal's own line editing for the whole session, so that keys pressed
    /// while the editor is not looking are neither echoed nor changed.
    fn take() -> io::Result<Modes> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        quiet.input_modes.remove(InputModes::ICRNL);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(io::stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Modes(before))
    }
}

impl Drop for Modes {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// When a signal ends the program, gives the terminal back as it was first.
fn restore_on_signals(shared: &Handle, modes: &Modes) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (shared, modes) = (Arc::clone(shared), Modes(modes.0.clone()));
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Nobody may write any more, so the lock is never given back.
            let shared = lock(&shared);
            if shared.owner != Owner::Program {
                let _ = write_now(PASTE_OFF);
            }
            drop(modes);
            quit_now();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// The width of the terminal.
pub(super) fn columns() -> usize {
    size(|size| size.ws_col).unwrap_or(80)
}

/// Its height.
fn rows() -> usize {
    size(|size| size.ws_row).unwrap_or(24)
}

fn size(side: impl Fn(termios::Winsize) -> u16) -> Option<usize> {
    termios::tcgetwinsize(io::stdout()).ok().map(side).filter(|&side| side > 0).map(usize::from)
}
