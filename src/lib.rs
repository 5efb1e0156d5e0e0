//! roomd is a chat-room daemon on one readiness loop.

pub mod cli;
