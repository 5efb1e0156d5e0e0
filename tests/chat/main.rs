//! `roomd chat` as people use it: the real program in a real pseudo-terminal and in pipelines.
//!
//! * `terminal` – what is seen while typing, colours, completion, wide characters;
//! * `broken` – connections that break at the worst moment, against a scripted server;
//! * `pipes` – the filter;
//! * `rooms` – several rooms at once;
//! * `daemon` – the same against the real daemon, restarts included.
//!
//! No test sleeps: each waits for a condition with a deadline. Ports are given by the kernel.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

mod broken;
mod daemon;
mod fake;
mod pipes;
mod pty;
mod rooms;
mod terminal;

/// How long anything may take on a machine that is busy with something else.
const DEADLINE: Duration = Duration::from_secs(20);

/// The program under test.
const ROOMD: &str = env!("CARGO_BIN_EXE_roomd");

/// A directory of this test's own.
fn directory() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("chat-{}-{count}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

/// `roomd chat ADDRESS ARGUMENTS`, not started yet.
fn chat(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(ROOMD);
    command.arg("chat").arg(address).args(arguments);
    command
}
