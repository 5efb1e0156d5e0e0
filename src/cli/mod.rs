//! The command line: arguments in, exit status out.
//!
//! `roomd` alone is `roomd serve`. Each subcommand has a module with its arguments and a
//! `run(args) -> Result<ExitCode, String>`; the `Err` is a sentence for standard error, printed as
//! `roomd: SENTENCE`, and the exit status is then 1. Wrong usage is exit status 2, by `clap`; so is a file of rooms that
//! cannot be used: those who may meet one return a [`Failure`].

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "chat")]
mod client;
mod config;
#[cfg(feature = "store")]
mod data;
mod logging;
mod serve;
mod values;

/// A chat-room daemon: netcat, browsers and JSON bots in the same rooms, on one readiness loop.
#[derive(Debug, Parser)]
#[command(name = "roomd", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (what `roomd` alone does)
    Serve(Box<serve::Args>),
    /// Load a chat server and verify that every member gets every message
    #[cfg(feature = "bench")]
    Bench(Box<bench::Args>),
    /// Chat: a terminal client, and a filter for pipes
    ///
    /// On a terminal there is a line to type in at the bottom; /help lists the commands. A paste of
    /// several lines is one message, once Enter is pressed. Tab completes commands, names and rooms, Ctrl-C clears the
    /// line, Ctrl-D leaves. In several rooms, Tab on an empty line, Alt+N and F1 to F9 turn to another one. PgUp shows older
    /// messages. Times are local. NO_COLOR turns colours off. A broken connection is made again, and nothing is lost or said
    /// twice.
    ///
    /// Otherwise it is a filter: what is read from standard input is sent line by line, commands,
    /// too; what is heard meanwhile is printed, with times in UTC; when everything is confirmed it
    /// ends. The exit status is 0 if every line was carried out, 1 if not, 2 for wrong usage.
    #[cfg(feature = "chat")]
    Chat(client::Args),
    /// Copy the file of the rooms, while the daemon runs or not
    ///
    /// The copy is what was saved at one moment, in one file that only its owner may read. To go back to it, stop the
    /// daemon and put it in the place of the file, without the -wal and -shm beside that; all rooms begin a new epoch
    /// then, since what was said after it is lost. The exit status is 0 if there is a copy, 1 if not, and 2 if FILE is
    /// not there, is not roomd's or is of a newer one.
    #[cfg(feature = "store")]
    Backup(data::BackupArgs),
    /// Check the file of the rooms, while the daemon runs or not
    ///
    /// Nothing is changed. The exit status is 0 if all is sound, 1 if not, and 2 if FILE is not there, is not roomd's or is
    /// of a newer one.
    #[cfg(feature = "store")]
    Check(data::CheckArgs),
}

/// Why there is nothing to do: a sentence for standard error, and the exit status.
#[derive(Debug)]
struct Failure {
    sentence: String,
    status: u8,
}

impl Failure {
    /// Something is wrong with what was asked for, as with wrong usage.
    #[cfg(feature = "store")]
    fn usage(sentence: String) -> Self {
        Self { sentence, status: 2 }
    }
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self { sentence, status: 1 }
    }
}

/// So many things of a kind.
#[cfg(any(feature = "bench", feature = "chat", feature = "store"))]
fn counted(count: impl std::fmt::Display, what: &str) -> String {
    match (count.to_string().as_str(), what.strip_suffix('y')) {
        ("1", _) => format!("1 {what}"),
        (count, Some(start)) => format!("{count} {start}ies"),
        (count, None) => format!("{count} {what}s"),
    }
}

/// Parses the command line and runs what it asks for.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command.unwrap_or(Command::Serve(Box::new(cli.serve))) {
        Command::Serve(args) => serve::run(&args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => bench::run(&args).map_err(Failure::from),
        #[cfg(feature = "chat")]
        Command::Chat(args) => client::run(&args).map_err(Failure::from),
        #[cfg(feature = "store")]
        Command::Backup(args) => data::backup(&args),
        #[cfg(feature = "store")]
        Command::Check(args) => data::check(&args),
    };
    outcome.unwrap_or_else(|failure| {
        // Standard error may be gone; the status still says it.
        let _ = writeln!(std::io::stderr(), "roomd: {}", failure.sentence);
        ExitCode::from(failure.status)
    })
}
