//! `roomd chat`: the terminal client.
//!
//! It speaks the JSON dialect over TCP. The session itself is a pure state machine; around it are
//! threads that do nothing but move bytes. An error is a sentence for the user.
//!
//! | where do I find | |
//! |---|---|
//! | what the client does, all of it | [`session::Session`] |
//! | the rooms one is in, and which of them is the current one | [`rooms::Rooms`] |
//! | what survives a broken connection, and why nothing is lost or doubled | [`outbox::Outbox`], [`seen::Seen`] |
//! | the requests and events | [`protocol`] |
//! | a typed line | [`command::parse`], [`completion::complete`] |
//! | how lines look, what is painted where | [`paint::Painter`], [`screen::Screen`] |
//! | nothing may drive the terminal | [`sanitize`] |
//! | the loop and the threads | [`event_loop::EventLoop`], [`connection::Connection`], [`terminal`], [`filter`] |

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Instant;

use time::UtcOffset;

mod address;
mod backoff;
mod command;
mod completion;
mod connection;
mod display;
mod event_loop;
mod filter;
mod outbox;
mod paint;
mod protocol;
mod rooms;
mod sanitize;
mod screen;
mod seen;
mod session;
mod terminal;

use crate::chat::RoomName;
use address::Address;
use paint::Painter;
use session::{Mode, Session};

/// The flags of `roomd chat`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the daemon is: HOST, HOST:PORT or unix:PATH
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:8080")]
    address: Address,
    /// The name to be known by; asked for on a terminal if missing
    #[arg(long)]
    name: Option<String>,
    /// The room to enter; given several times, the first one is the current one
    #[arg(long)]
    room: Vec<String>,
    /// Send nothing, print what is heard until the server says good-bye
    #[arg(long)]
    receive: bool,
    /// Print events as they come, one JSON object per line
    #[arg(long)]
    json: bool,
}

/// The exit status of wrong usage, as that of the argument parser.
const USAGE: u8 = 2;

/// Runs the client until the user, the input or the server ends it.
pub(super) fn run(args: &Args) -> Result<ExitCode, String> {
    let mode = mode(args);
    if mode != Mode::Person && args.name.is_none() {
        eprintln!("roomd: a filter cannot ask for a name, give one with --name NAME");
        return Ok(ExitCode::from(USAGE));
    }
    // The offset can be read while there is one thread only.
    let painter = painter(UtcOffset::current_local_offset());
    // As the server will call it; what cannot be a room it refuses.
    let parsed =
        |room: &String| RoomName::parse(room).map_or_else(|_| room.clone(), |room| room.as_str().to_owned());
    let rooms: Vec<_> = args.room.iter().map(parsed).collect();
    let session = Session::new(
        mode,
        args.address.to_string(),
        args.name.clone(),
        &rooms,
        fastrand::u64(..),
        Instant::now(),
    );
    let address = args.address.clone();
    let fine = match mode {
        Mode::Person => terminal::run(session, address, painter),
        Mode::Sender | Mode::Receiver => filter::run(session, address, (mode, args.json, painter)),
    }?;
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mode(args: &Args) -> Mode {
    // Without cursor movement there is no line editor.
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb;
    if args.receive {
        Mode::Receiver
    } else if terminal && !args.json {
        Mode::Person
    } else {
        Mode::Sender
    }
}

/// Colours and short local times for a terminal, plain lines with full times otherwise.
fn painter(offset: Result<UtcOffset, time::error::IndeterminateOffset>) -> Painter {
    if io::stdout().is_terminal() {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let mut painter = Painter::terminal(!no_colour, offset.unwrap_or(UtcOffset::UTC));
        painter.set_columns(terminal::columns());
        painter
    } else {
        Painter::log()
    }
}
