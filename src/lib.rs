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
//! | [`cli`] | arguments, logging, terminals | |
//! | [`server`] puts the dialects and the rooms on the loop | the four below | sockets |
//! | [`wire`] the dialects: bytes to commands, events to bytes | framing, HTTP, WebSocket, JSON, text | sockets, who is in the room |
//! | [`room`] the chat itself: a pure state machine | names, rooms, members, history | bytes, sockets, clocks |
//! | [`reactor`] the loop | readiness, deadlines, feeds, queues | what a chat is |
//! | [`clock`] time as a parameter | | |
//!
//! The loop is generic over a [`Platform`](reactor::Platform) (epoll, or the scripted machine of the tests)
//! and a [`Handler`](reactor::Handler) (the chat server, or the echo server in `examples/echo.rs`). So the
//! whole server, epoll aside, runs in a deterministic simulation.
//!
//! # One turn of the loop
//!
//! 1. **wait** for readiness, or until the nearest deadline.
//! 2. **note** what is ready. No I/O yet: nothing can invalidate an event that has not been looked at.
//! 3. **serve** each ready connection: one read into the one buffer, then it is the next one's turn.
//! 4. **deliver** what came of it: encode it once per dialect, append it to a feed.
//! 5. **flush**: one write to each member that has something to be sent.
//! 6. **reap** what is closed.
//! 7. **accept** new connections.
//! 8. **expire** the deadlines that are due.
//!
//! # Where do I find …
//!
//! | … | there |
//! |---|---|
//! | the loop, phase by phase | [`reactor::turn`] |
//! | why a slow reader does not slow the others | [`reactor::feed`] |
//! | how a private message gets into a stream that is shared | `reactor::outbound::Outbound` |
//! | why a reader that is behind may hold the producers, and for how long | `reactor::connection::Pace` |
//! | what happens between "closed" and gone | `reactor::connection::Phase` |
//! | how a freed slot cannot receive an old event | [`reactor::ConnectionId`] |
//! | what happens when descriptors run out | [`reactor::acceptor`] |
//! | how the daemon shuts down | [`reactor::Handler::stopping`] |
//! | how lines are cut out of a byte stream | [`wire::line::Lines`] |
//! | how HTTP, JSON, TLS and text are told apart | [`wire::sniff`] |
//! | every line of the text dialect | [`wire::text`] |
//! | every event of the JSON dialect | [`wire::json`] |
//! | what a WebSocket peer may not do | [`wire::websocket::Decoder`] |
//! | which names are the same | [`room::Name`] |
//! | what is removed from messages, and why | [`room::Body`] |
//! | what every command does | [`room::Chat`] |
//! | who may come in from a browser | `server::web` |
//! | rate limiting | `server::session::Session::may_speak` |
//! | every limit, its flag and its default | [`cli::serve::Args`] |

#[cfg(all(test, feature = "chat"))]
extern crate self as roomd; // the simulated machine of tests/ calls us so

pub mod chat;
#[cfg(feature = "daemon")]
pub mod cli;
pub mod clock;
pub mod limits;
pub mod reactor;
pub mod server;
pub mod wire;
