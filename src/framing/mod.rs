//! Framing: how bytes become lines, frames with their length in front, HTTP requests and WebSocket messages; for
//! whatever is said in them.
//!
//! Nothing here knows a socket. Each is given the input that was not consumed so far, from its first byte, and says
//! how much of it belongs to the first line, request or message.

pub mod http;
pub mod length;
pub mod line;
pub mod sniff;
pub(crate) mod telnet;
pub mod websocket;

pub use sniff::{Sniffed, sniff};
