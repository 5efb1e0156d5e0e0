//! The daemon with a file (`--data`), from outside: killed, stopped, hindered, and started again.
//!
//! `cargo test --test torture -- --ignored killed` tortures it for a minute. It prints its seed; `ROOMD_SEED=7` takes one.
//!
//! | where | what |
//! |---|---|
//! | [`rig`] | files, daemons, and what is in a room |
//! | [`killed`] | the torture: `kill -9` at any moment, fifty times, under twenty clients |
//! | [`person`], [`wire`] | those clients, and how each of them speaks |
//! | [`proof`] | what has to be true when it is over |
//! | [`full`] | a disk without room |
//! | [`slow`] | a file that somebody else has locked |
//! | [`hung`] | a disk that does not answer |
//! | [`stopped`] | SIGTERM while something is being saved |
//! | [`pages`] | history that is longer than the memory, and rooms that nobody was in |
//! | [`awkward`] | what does not happen every day |
//! | [`files`] | what cannot be such a file |

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
mod common;

mod awkward;
mod files;
mod full;
mod hung;
mod killed;
mod pages;
mod person;
mod proof;
mod rig;
mod slow;
mod stopped;
mod wire;
