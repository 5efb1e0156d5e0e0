//! The command line: arguments in, exit status out.
//!
//! `roomd` alone is `roomd serve`. Each subcommand has a module with its arguments and a
//! `run(args) -> Result<ExitCode, String>`; the `Err` is a sentence for standard error, printed as
//! `roomd: SENTENCE`, and the exit status is then 1. Wrong usage is exit status 2, by `clap`.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "chat")]
mod client;
mod config;
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
}

/// So many things of a kind.
#[cfg(any(feature = "bench", feature = "chat"))]
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
        Command::Bench(args) => bench::run(&args),
        #[cfg(feature = "chat")]
        Command::Chat(args) => client::run(&args),
    };
    outcome.unwrap_or_else(|sentence| {
        // Standard error may be gone; the status still says it.
        let _ = writeln!(std::io::stderr(), "roomd: {sentence}");
        ExitCode::FAILURE
    })
}
