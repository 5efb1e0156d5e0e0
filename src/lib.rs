//! roomd is a chat-room daemon on one readiness loop.

pub mod cli;
pub mod clock;
pub mod reactor;
pub mod room;
pub mod server;
pub mod wire;
