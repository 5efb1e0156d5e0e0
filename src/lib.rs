//! roomd is a chat-room daemon on one readiness loop: netcat, browsers and JSON bots in the same rooms.
//!
//! This page is the map. The program is small enough to be read from here to the end in an evening;
//! begin with [`reactor::turn`], the loop, then [`reactor::feed`], the idea that makes it fast.
//!
//! # The layers
//!
//! Imports point downwards only, and a test sees to it (`tests/layering.rs`).
//!
//! | layer | knows | does not know |
//! |---|---|---|
//! | `cli` | arguments, logging, terminals | |
//! | [`server`] puts the dialects and the rooms on the loop | the five below | sockets |
//! | [`wire`] the dialects: bytes to requests, events to bytes | JSON, text | sockets, who is connected |
//! | [`store`] where rooms are kept | what was said, files | who is here |
//! | [`chat`] the chat itself: a pure state machine | names, rooms, members, history | bytes, sockets, clocks |
//! | [`reactor`] the loop | readiness, backpressure, deadlines, feeds | what a chat is |
//! | [`framing`] bytes to lines, requests, messages | telnet, HTTP, WebSocket | what they say |
//! | [`limits`] every limit, once; [`clock`] time as a parameter; `allowance` and `buffer` | | |
//!
//! Data goes one way: socket → framing → request → session → chat → event → encoding → feed → cursor → socket; between
//! chat and event, what somebody says goes to the store and comes back saved.
//! The loop is generic over a [`Platform`](reactor::Platform) (epoll, or the scripted machine of the simulations)
//! and a [`Handler`](reactor::Handler) (the chat server, or the key/value server in `examples/kv.rs`). So the
//! whole server, epoll aside, runs in a deterministic simulation; and one suite proves that epoll and the
//! scripted machine keep the same contract (`tests/readiness`).
//!
//! # One turn of the loop
//!
//! 1. **wait** for readiness, or until the nearest deadline.
//! 2. **note** what is ready. No I/O yet: nothing can invalidate an event that has not been looked at.
//! 3. **serve** each ready connection: one read into the one buffer, then it is the next one's turn. What it says
//!    is delivered on the spot: encoded once per encoding that somebody reads, and appended to a feed.
//! 4. **flush**: one write to each member that has something to be sent.
//! 5. **reap** what is doomed or gone.
//! 6. **accept** new connections.
//! 7. **expire** the deadlines that are due.
//!
//! # Where do I find …
//!
//! | … | there |
//! |---|---|
//! | the loop, phase by phase | [`reactor::turn`] |
//! | why a slow reader does not slow the others | [`reactor::feed`] |
//! | for whom a room waits, and for how long | `reactor::backpressure` |
//! | how a private message gets into a stream that is shared | `reactor::outbound::Outbound` |
//! | what is known of a connection, and what happens between "closed" and gone | `reactor::connection` |
//! | what happens to the input of a peer that is gone | [`reactor::Rest`] |
//! | how a freed slot cannot receive an old event | [`reactor::ConnectionId`] |
//! | what happens when descriptors run out | [`reactor::acceptor`] |
//! | why a process that was stopped closes nobody | `reactor::turn::Reactor::read_clock` |
//! | how the daemon shuts down | [`reactor::Handler::stopping`] |
//! | how a long answer is sent without being held | [`reactor::Net::when_drained`] |
//! | how another thread wakes the loop | [`reactor::Platform::waker`] |
//! | how the loop calls somebody itself | `reactor::dial` |
//! | the machine that the simulations run on | [`reactor::simulated`] |
//! | how HTTP, JSON, TLS and text are told apart | [`framing::sniff()`] |
//! | what is kept out of the chat because it is another protocol | [`wire::foreign`] |
//! | how lines are cut out of a byte stream | [`framing::line::Lines`] |
//! | the other way, with lengths | [`framing::length::Lengths`] |
//! | every line of the text dialect | [`wire::text`] |
//! | every request and event of the JSON dialect | [`wire::json`]; for users `PROTOCOL.md` |
//! | what a WebSocket peer may not do | [`framing::websocket::Decoder`] |
//! | how many encodings there are | [`wire::encoding`] |
//! | how one connection speaks, and what is due for it | `server::session::Session` |
//! | how much a client may say | `allowance` |
//! | what is logged, and how often | `server::journal` |
//! | what becomes of a line of the log | `cli::logging` |
//! | the web page, and how it becomes one file | `src/page`, `server::web` |
//! | who may come in from a browser | `server::web`, and by which name [`server::Host`] |
//! | what may be a name | [`chat::Name`] |
//! | which names are the same to a reader | `chat::alike` |
//! | why names in all scripts cost the same | `chat::letter` |
//! | who is in which rooms | `chat::places` |
//! | how several rooms become one stream | `reactor::following` |
//! | where lines of other rooms get their `#room` | `wire::text::LABELLED`, for `server::delivery` |
//! | who gets a name back after a connection broke | `chat::sessions`, and without one `chat::holds` |
//! | why nobody says anything twice | `chat::sessions` |
//! | what waits for the store, and for which answers | `chat::saving` |
//! | how a request waits for rooms and for the store | `server::requests` |
//! | what is removed from messages, and why | [`chat::Body`] |
//! | what every command does | [`chat::Chat`] |
//! | how messages get into a file, and how much of it survives what | `store::file` |
//! | what happens when the disk is full, or the file gone | `store::file::trouble` |
//! | every limit, its flag and its default | [`limits::TABLE`] |
//!
//! # What is public
//!
//! What one needs to build on the loop (see `examples/`): [`reactor`] with [`reactor::simulated`] for tests,
//! [`framing`], [`limits`] and [`clock`]; `default-features = false` is just that. The chat itself is nobody's library;
//! the tests and benchmarks of this crate, which look inside, switch on the feature `internals`.

// Without it, what only the tests look at is public within a private module, and unused; that is meant.
#![cfg_attr(not(feature = "internals"), allow(unreachable_pub, dead_code, unused_imports))]

mod allowance;
mod buffer;
#[cfg(feature = "daemon")]
mod cli;
pub mod clock;
pub mod framing;
pub mod limits;
pub mod reactor;

// The chat.
#[cfg(feature = "internals")]
pub mod chat;
#[cfg(all(feature = "server", not(feature = "internals")))]
mod chat;
#[cfg(feature = "internals")]
pub mod server;
#[cfg(all(feature = "server", not(feature = "internals")))]
mod server;
#[cfg(feature = "internals")]
pub mod store;
#[cfg(all(feature = "server", not(feature = "internals")))]
mod store;
#[cfg(feature = "internals")]
pub mod wire;
#[cfg(all(feature = "server", not(feature = "internals")))]
mod wire;

#[cfg(feature = "daemon")]
pub use cli::run;
