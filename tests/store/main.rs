//! The contract of [`roomd::store`], tried on the stores there are; and what a file may meet.
//!
//! `ROOMD_SEED=7 cargo test --test store` runs one seed of the random tests; `ROOMD_SEEDS` changes how many.
//!
//! | where | what |
//! |---|---|
//! | `rig` | a store, and how a test waits for it |
//! | `cases` | what every store does that keeps rooms |
//! | `random` | the same, by chance, against a model of vectors |
//! | `file` | what only a file does: epochs, expiry, two connections |
//! | `trouble` | what is in its way, and how that ends |
//! | `program` | the flags and the subcommands |

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod file;
mod program;
mod random;
mod rig;
mod trouble;
