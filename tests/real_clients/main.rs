//! The daemon from outside: a real process, real sockets, and real `nc`.
//!
//! | what | where |
//! |---|---|
//! | text lines: framing, names, commands, errors | [`text`] |
//! | real netcats (`cargo test -- --ignored`, Debian's `netcat-openbsd`) | [`netcat`] |
//! | a real telnet (`cargo test -- --ignored`, Debian's `inetutils-telnet`) | [`telnet`] |
//! | what other protocols than ours may do | [`foreign`] |
//! | names, and what is invisible | [`names`] |
//! | JSON lines | [`json`] |
//! | several rooms at once | [`rooms`] |
//! | frames with their length in front | [`length`] |
//! | WebSocket: subprotocols, close codes, pings | [`websocket`] |
//! | HTTP: statuses, fields, and what foreign web pages may do | [`http`] |
//! | behind a real nginx (`cargo test -- --ignored`) | [`proxy`] |
//! | the log: readers that stall or are gone, and floods | [`log`] |
//! | flags, variables, listeners, limits, signals | [`process`] |

#[path = "../common/mod.rs"]
mod common;

mod foreign;
mod http;
mod json;
mod length;
mod log;
mod names;
mod netcat;
mod process;
mod proxy;
mod rooms;
mod sessions;
mod telnet;
mod text;
mod websocket;
