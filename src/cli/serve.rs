//! `roomd serve`: the daemon.

use std::process::ExitCode;

/// The flags of `roomd serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// A sentence that says why the daemon could not start.
pub fn run(_args: &Args) -> Result<ExitCode, String> {
    Err("the daemon is not written yet".into())
}
