//! The daemon from outside: a real process, real sockets, and real `nc`.
//!
//! | what | where |
//! |---|---|
//! | text lines: framing, names, commands, errors | [`text`] |
//! | real netcats (`cargo test -- --ignored`, Debian's `netcat-openbsd`) | [`netcat`] |
//! | names, and what is invisible | [`names`] |
//! | JSON lines | [`json`] |
//! | WebSocket: subprotocols, close codes, pings | [`websocket`] |
//! | HTTP: statuses, fields, and what foreign web pages may do | [`http`] |
//! | flags, variables, listeners, limits, signals | [`process`] |

#[path = "../common/mod.rs"]
mod common;

mod http;
mod json;
mod names;
mod netcat;
mod process;
mod text;
mod websocket;
